"""Data sets that are folders of image files, one folder per class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def list_classes(directory: str | os.PathLike[str]) -> list[str]:
    """Names of the folders in ``directory``, sorted; hidden ones are left out."""
    if not os.path.isdir(directory):
        raise FileNotFoundError(f"Expected a folder with one folder per class. Received: {os.fspath(directory)}")
    return sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and not entry.name.startswith("."))


def list_images_of_classes(
    directory: str | os.PathLike[str], names: Sequence[str], endings: tuple[str, ...], follow_links: bool
) -> list[list[str]]:
    """Per class the files in its folder, at any depth and sorted, as paths relative to ``directory``.

    A link to a folder that it lies in is never followed.
    """
    found = []
    for name in names:
        folder = Path(directory, name)
        if not folder.is_dir():
            raise FileNotFoundError(f"Expected a folder for class {name!r}. Received: {folder}, which is none")
        paths = [os.path.join(*parts) for parts in sorted(_files_below(str(folder), follow_links))]
        found.append([os.path.relpath(path, directory) for path in paths if path.lower().endswith(endings)])
    return found


def _files_below(folder: str, follow_links: bool, above: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Folder and name of every file in ``folder`` and the folders in it; ``above`` are the folders that it lies in."""
    real = os.path.realpath(folder)
    if real in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                if entry.is_file() or entry.is_symlink():  # a link to nowhere is an error when it is read
                    yield folder, entry.name
            elif follow_links or not entry.is_symlink():
                yield from _files_below(entry.path, follow_links, (*above, real))
