"""Data sets that are folders of image files, one folder per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def list_classes(directory: str | os.PathLike[str]) -> list[str]:
    """Names of the folders in ``directory``, sorted; hidden ones are left out."""
    if not os.path.isdir(directory):
        raise FileNotFoundError(f"Expected a folder with one folder per class. Received: {os.fspath(directory)}")
    return sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and not entry.name.startswith("."))


def list_images_of_classes(
    directory: str | os.PathLike[str], names: Sequence[str], endings: tuple[str, ...], follow_links: bool
) -> list[list[str]]:
    """Per class the files in its folder, at any depth and sorted, as paths relative to ``directory``."""
    found = []
    for name in names:
        folder = Path(directory, name)
        if not folder.is_dir():
            raise FileNotFoundError(f"Expected a folder for class {name!r}. Received: {folder}, which is none")
        walk = sorted(os.walk(folder, followlinks=follow_links), key=lambda place: place[0])
        paths = [os.path.join(place, file) for place, _, files in walk for file in sorted(files)]
        found.append([os.path.relpath(path, directory) for path in paths if path.lower().endswith(endings)])
    return found
