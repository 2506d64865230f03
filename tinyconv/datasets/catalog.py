"""Which data sets there are, which of them are on this machine, and what gets the others here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from . import animals, california_housing, captchas, cifar10, cifar100, fashion_mnist, mnist, smiles

__all__ = ["DatasetStatus", "fetch", "status"]

MODULES: dict[str, ModuleType] = {
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "smiles": smiles,
    "animals": animals,
    "captchas": captchas,
    "california_housing": california_housing,
}


class Files(Protocol):
    """What each module's ``FILES`` can tell and do."""

    @property
    def title(self) -> str: ...
    @property
    def contents(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def downloads(self) -> bool: ...
    @property
    def by_hand(self) -> str: ...
    def missing(self) -> list[str]: ...
    def fetch(self) -> None: ...


@dataclass(frozen=True)
class DatasetStatus:
    """What `status` tells about a data set.

    Attributes
    ----------
    name : str
        As in ``tinyconv.datasets.<name>.load_data()``.
    title, contents : str
        Its published name, and what is in it in a few words.
    folder : Path
        Where its files go, which need not exist.
    state : {"present", "incomplete", "missing"}
        Whether ``load_data`` would find everything; ``"incomplete"`` where the folder holds some of it.
    size : int
        Bytes of all files in the folder.
    missing : tuple of str
        Files or folders that are not there.
    downloads : bool
        Whether `fetch` and ``load_data`` download what is missing.
    by_hand : str
        How to get it without tinyconv's help.
    """

    name: str
    title: str
    contents: str
    folder: Path
    state: str
    size: int
    missing: tuple[str, ...]
    downloads: bool
    by_hand: str

    @property
    def hint(self) -> str:
        """What to do next, in one line; empty where nothing is missing."""
        if self.state == "present":
            return ""
        if self.downloads:
            return f"tinyconv.datasets.fetch({self.name!r}) downloads it; or {self.by_hand}"
        return self.by_hand


def status(name: str | None = None) -> list[DatasetStatus]:
    """Tell of each data set whether it is on this machine, where, and what gets it there.

    Only names and sizes of files are looked at; nothing is read, downloaded or unpacked.

    Parameters
    ----------
    name : one data set; None tells about all of them.

    Returns
    -------
    list of DatasetStatus

    Raises
    ------
    ValueError
        Where there is no data set of that name.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", TINYCONV_HOME="/nowhere"):
    ...     for each in status("cifar10"):
    ...         print(each.name, each.state, each.size, each.folder.as_posix())
    cifar10 missing 0 /nowhere/datasets/cifar10
    """
    names = list(MODULES) if name is None else [name]
    return [_status(each, _files(each)) for each in names]


def fetch(name: str) -> DatasetStatus:
    """Download, or unpack from the archive that lies in its folder, what is missing of a data set.

    Parameters
    ----------
    name : name of the data set.

    Returns
    -------
    DatasetStatus
        What `status` tells afterwards.

    Raises
    ------
    DownloadError
        Where no mirror answers.
    FileNotFoundError
        Where the data set cannot be downloaded; the message tells how to get it.
    ValueError
        Where there is no data set of that name, or an archive is damaged.

    Examples
    --------
    >>> fetch("imagenet")
    Traceback (most recent call last):
    ValueError: name: expected one of mnist, ..., california_housing. Received 'imagenet'
    """
    _files(name).fetch()
    return status(name)[0]


def _files(name: str) -> Files:
    if name not in MODULES:
        raise ValueError(f"name: expected one of {', '.join(MODULES)}. Received {name!r}")
    files: Files = MODULES[name].FILES
    return files


def _status(name: str, files: Files) -> DatasetStatus:
    missing, size = tuple(files.missing()), _size(files.folder)
    return DatasetStatus(
        name=name,
        title=files.title,
        contents=files.contents,
        folder=files.folder,
        state="present" if not missing else "incomplete" if size else "missing",
        size=size,
        missing=missing,
        downloads=files.downloads,
        by_hand=files.by_hand,
    )


def _size(folder: Path) -> int:
    """Bytes of all files below a folder, without following links."""
    return sum(
        os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names
    )
