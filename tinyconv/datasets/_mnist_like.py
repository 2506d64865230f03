"""What MNIST and Fashion-MNIST share: four IDX files, taken from the cache or fetched into it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .download import DownloadError, download, home, mendable
from .idx import read_idx

Images = NDArray[np.uint8]  # (N, 28, 28)
Labels = NDArray[np.uint8]  # (N,)
Data = tuple[tuple[Images, Labels], tuple[Images, Labels]]


@dataclass(frozen=True)
class IdxFile:
    name: str  # the published one, without .gz
    shape: tuple[int, ...]
    sha256: str  # of the unpacked file, which does not depend on who compressed it

    @property
    def size(self) -> int:
        """Bytes of the unpacked file: header and elements."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)

    def find(self, folder: Path) -> Path | None:
        """Return where the file lies: under its name or the ``.idx`` variant, plain or ``.gz``."""
        names = (self.name, self.name.replace("-idx", ".idx"))
        paths = (folder / (name + ending) for ending in ("", ".gz") for name in names)
        return next((path for path in paths if path.is_file()), None)


@dataclass(frozen=True)
class MnistLike:
    title: str
    contents: str
    folder_name: str
    mirrors: tuple[str, ...]
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]  # x_train, y_train, x_test, y_test

    downloads = True

    @property
    def folder(self) -> Path:
        return home() / "datasets" / self.folder_name

    @property
    def by_hand(self) -> str:
        """How to get the files without the network, in one line."""
        return f"put {', '.join(file.name for file in self.files)} (plain or .gz) into {self.folder}"

    def missing(self) -> list[str]:
        """Names of the files that are not there."""
        return [file.name for file in self.files if not file.find(self.folder)]

    def fetch(self) -> None:
        """Download the files that are not there."""
        for file in self.files:
            self._obtain(file)

    def load(self, *, may_download: bool) -> Data:
        """Read the four files, after fetching the missing ones if that is allowed."""
        if not may_download and self.missing():
            raise FileNotFoundError(f"{self.title} is not in the cache: {self.by_hand}")
        with mendable():
            x_train, y_train, x_test, y_test = (read_idx(self._obtain(file), file.shape) for file in self.files)
        return (x_train, y_train), (x_test, y_test)

    def _obtain(self, file: IdxFile) -> Path:
        if path := file.find(self.folder):
            return path
        urls = [f"{mirror}{file.name}.gz" for mirror in self.mirrors]
        try:
            return download(urls, self.folder / file.name, file.sha256, file.size)
        except DownloadError as error:
            raise DownloadError(f"{error}\nFor all of {self.title}, {self.by_hand}") from error
