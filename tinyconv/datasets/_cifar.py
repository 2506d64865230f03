"""What CIFAR-10 and CIFAR-100 share: the records of the binary version, in an archive or unpacked from it.

A record is one byte for each of the picture's labels, then 32 x 32 bytes each of red, green and blue, row by row.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html ("Binary version").
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .archives import unpack
from .download import DownloadError, download, home, mendable

Images = NDArray[np.uint8]  # (N, 32, 32, 3)
Labels = NDArray[np.uint8]  # (N, 1)
Data = tuple[tuple[Images, Labels], tuple[Images, Labels]]

PIXELS = 3 * 32 * 32
BLOCK = 10_000  # records that are read at once: 30 MB


@dataclass(frozen=True)
class Cifar:
    title: str
    contents: str
    folder_name: str
    archive: str  # name of the binary version's archive
    urls: tuple[str, ...]
    sha256: str  # of the archive
    size: int  # of the archive
    train: dict[str, int]  # file below the folder -> number of records
    test: dict[str, int]
    classes: tuple[int, ...]  # number of classes of each label, in the order of the bytes of a record

    downloads = True

    @property
    def folder(self) -> Path:
        return home() / "datasets" / self.folder_name

    @property
    def by_hand(self) -> str:
        """How to get the data without tinyconv's help, in one line."""
        return f"put {self.archive} from {self.urls[0]} (the binary version), or what is in it, into {self.folder}"

    @property
    def record(self) -> int:
        """Bytes of a record."""
        return len(self.classes) + PIXELS

    def missing(self) -> list[str]:
        """Files that are neither there nor in an archive that is still to be unpacked."""
        return [] if (self.folder / self.archive).is_file() else self._not_unpacked()

    def fetch(self, *, may_download: bool = True) -> None:
        """Unpack the archive where files are missing, after downloading it if it is not there and that is allowed."""
        if not self._not_unpacked():
            return
        archive = self.folder / self.archive
        own = archive.is_file()
        if not own:
            self._download(archive, may_download)
        names = "|".join(map(re.escape, self.train | self.test))
        sizes = sum((self.train | self.test).values()) * self.record
        with contextlib.suppress(FileNotFoundError):  # another process may have unpacked and removed it
            unpack(archive, self.folder, re.compile(rf"(?:\./)?({names})"), max_bytes=sizes)
        if not own:
            archive.unlink(missing_ok=True)
        if missing := self._not_unpacked():
            raise ValueError(f"{archive}: expected the files of {self.title}. Received none named {', '.join(missing)}")

    def load(self, column: int, *, may_download: bool) -> Data:
        """Read all pictures, with the label in that column, after fetching what is missing."""
        with mendable():
            self.fetch(may_download=may_download)
            return self._read(self.train, column), self._read(self.test, column)

    def _not_unpacked(self) -> list[str]:
        return [name for name in self.train | self.test if not (self.folder / name).is_file()]

    def _download(self, archive: Path, may_download: bool) -> None:
        python = [path.name for path in sorted(self.folder.glob("cifar-*")) if re.search(r"-python|-py$", path.name)]
        hint = f"\n{python[0]} is the Python version, whose pickles could run code: it is not read" if python else ""
        if not may_download:
            missing = ", ".join(self._not_unpacked())
            raise FileNotFoundError(f"{self.title} is not in the cache ({missing}): {self.by_hand}{hint}")
        try:
            download(self.urls, archive, self.sha256, self.size)
        except DownloadError as error:
            raise DownloadError(f"{error}\nFor {self.title}, {self.by_hand}{hint}") from error

    def _read(self, files: dict[str, int], column: int) -> tuple[Images, Labels]:
        images = np.empty((sum(files.values()), 32, 32, 3), np.uint8)
        labels = np.empty((len(images), 1), np.uint8)
        start = 0
        for name, count in files.items():
            for records in self._blocks(self.folder / name, count):
                rows = slice(start, start := start + len(records))
                # (N, 3 * 32 * 32) -> (N, C, H, W) -> (N, H, W, C)
                images[rows] = records[:, len(self.classes) :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
                labels[rows, 0] = records[:, column]
        return images, labels

    def _blocks(self, path: Path, count: int) -> Iterator[NDArray[np.uint8]]:
        """Records of a file, (N, labels + 3072), some at a time."""
        expected, received = count * self.record, path.stat().st_size
        if received != expected:
            raise ValueError(f"{path}: expected {expected} bytes, {count} records. Received {received}")
        with open(path, "rb") as file:
            for start in range(0, count, BLOCK):
                records = np.fromfile(file, np.uint8, min(BLOCK, count - start) * self.record).reshape(-1, self.record)
                for label, classes in zip(records.T, self.classes):
                    if label.max() >= classes:
                        row = start + int(label.argmax())
                        raise ValueError(
                            f"{path}: expected labels below {classes}. Received {label.max()} in record {row}"
                        )
                yield records
