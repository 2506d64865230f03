"""What SMILES, animals and captchas share: one folder of image files for each class, put into the cache by the user."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._images import list_images
from .archives import unpack
from .download import home

Paths = tuple[list[str], NDArray[Any]]  # N paths, and the names of their classes, (N,)
Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # images (N, ...), numbers of their classes (N,)
Data = tuple[Arrays, Arrays]
MAX_UNPACKED = 4 << 30  # bytes; the sets hold 0.1 GiB at most, the photos in their first size a few times that


@dataclass(frozen=True)
class ImageFolders:
    title: str
    contents: str
    folder_name: str
    places: dict[str, str]  # class name -> its folder, below the data set's
    counts: dict[str, int]  # class name -> number of images that were published; empty where copies differ
    archives: re.Pattern[str]  # names of the archives that are unpacked
    members: re.Pattern[str]  # names inside of them; the first group is the place below the folder
    source: str  # where to get it, in the imperative
    unlabelled: tuple[str, ...] = ()  # folders of images that belong to no class

    downloads = False

    @property
    def folder(self) -> Path:
        return home() / "datasets" / self.folder_name

    @property
    def by_hand(self) -> str:
        """How to get the images, in one line."""
        return self.source.format(folder=self.folder, places=", ".join(self.places.values()))

    def missing(self) -> list[str]:
        """Folders without any image, where no archive that is still to be unpacked may have them."""
        return [] if self._archive() else self._empty(self._all_places())

    def fetch(self, places: Iterable[str] | None = None) -> None:
        """Unpack the archive that lies in the folder, where images are missing; nothing is downloaded."""
        places, archive = list(places or self._all_places()), None
        if self._empty(places) and (archive := self._archive()):
            unpack(archive, self.folder, self.members, max_bytes=MAX_UNPACKED)
        if empty := self._empty(places):
            received = f"none, nor has {archive.name} any" if archive else "none"
            raise FileNotFoundError(
                f"{self.title}: expected images in {', '.join(empty)} of {self.folder}. "
                f"Received {received}. To get them, {self.by_hand}"
            )

    def class_names(self, classes: Iterable[str] | None) -> list[str]:
        """Some of the classes, or all of them for None; anything else is a ValueError."""
        names = list(self.places) if classes is None else list(classes)
        if not names or len(set(names)) < len(names) or not set(names) <= set(self.places):
            known = ", ".join(map(repr, self.places))
            raise ValueError(f"classes: expected some of {known}, each once. Received {classes!r}")
        return names

    def paths(self, classes: Iterable[str] | None = None) -> Paths:
        """Class after class, in the order of `classes`; the paths of each are sorted."""
        names = self.class_names(classes)
        self.fetch(self.places[name] for name in names)
        paths = {name: list_images(self.folder / self.places[name]) for name in names}
        for name in names:
            if (count := self.counts.get(name, len(paths[name]))) != len(paths[name]):
                place = self.folder / self.places[name]
                warnings.warn(
                    f"{self.title}: expected the {count:,} published images in {place}. Received {len(paths[name]):,}",
                    stacklevel=3,
                )
        return [path for name in names for path in paths[name]], np.repeat(names, [len(paths[name]) for name in names])

    def _all_places(self) -> list[str]:
        return [*self.places.values(), *self.unlabelled]

    def _empty(self, places: Iterable[str]) -> list[str]:
        return [place for place in places if not list_images(self.folder / place)]

    def _archive(self) -> Path | None:
        if not self.folder.is_dir():
            return None
        found = (path for path in sorted(self.folder.iterdir()) if self.archives.fullmatch(path.name))
        return next((path for path in found if path.is_file()), None)


def class_numbers(labels: NDArray[Any], class_names: Sequence[str]) -> NDArray[np.uint8]:
    """Names (N,) -> where they stand in `class_names`, (N,)."""
    return (labels[:, np.newaxis] == np.asarray(class_names)).argmax(axis=1).astype(np.uint8)
