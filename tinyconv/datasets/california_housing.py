"""California Housing: 20,640 block groups of the census of 1990, eight numbers each, and the median price of a house.

Source: R. K. Pace, R. Barry, "Sparse Spatial Autoregressions", Statistics & Probability Letters 33 (1997) 291-297; the
table of StatLib, https://www.dcc.fc.up.pt/~ltorgo/Regression/cal_housing.html. Its copies have the same numbers in
three forms, each of which gives back StatLib's table exactly.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .download import DownloadError, check_source, download, home, mendable

__all__ = ["FEATURE_NAMES", "RAW_NAMES", "load_data", "load_features"]

RAW_NAMES = (
    "longitude",
    "latitude",
    "housing_median_age",
    "total_rooms",
    "total_bedrooms",
    "population",
    "households",
    "median_income",
)
FEATURE_NAMES = (
    "MedInc",
    "HouseAge",
    "AveRooms",
    "AveBedrms",
    "Population",
    "AveOccup",
    "Latitude",
    "Longitude",
)

MAX_BYTES = 8 << 20  # of an unpacked table; the longest has 2.5 million

Floats = NDArray[np.float64]
Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Copy:
    name: str
    read: Callable[[Path], Floats]  # StatLib's table, (N, 9): RAW_NAMES and the price in dollars
    urls: tuple[str, ...] = ()
    sha256: str = ""
    size: int = 0


@dataclass(frozen=True)
class Housing:
    title: str
    contents: str
    folder_name: str
    copies: tuple[Copy, ...]
    rows: int

    downloads = True

    @property
    def folder(self) -> Path:
        return home() / "datasets" / self.folder_name

    @property
    def by_hand(self) -> str:
        """How to get the table without tinyconv's help, in one line."""
        urls = " or ".join(copy.urls[0] for copy in self.copies if copy.urls)
        return f"put {' or '.join(copy.name for copy in self.copies)} into {self.folder}, from {urls}"

    def missing(self) -> list[str]:
        """The names of which one would do, where no copy is there."""
        return [] if self._found() else [" or ".join(copy.name for copy in self.copies)]

    def fetch(self) -> None:
        """Download a copy where none is there."""
        self._obtain(may_download=True)

    def load(self, *, may_download: bool) -> Floats:
        """StatLib's table, (20640, 9), after fetching a copy if none is there and that is allowed."""
        copy = self._obtain(may_download=may_download)
        path = self.folder / copy.name
        with mendable():
            with _intact(path):
                table = copy.read(path)
            if table.shape != (self.rows, 9) or not np.isfinite(table).all():
                raise ValueError(f"{path}: expected {self.rows} rows of 9 finite numbers. Received shape {table.shape}")
        return table

    def _found(self) -> Copy | None:
        return next((copy for copy in self.copies if (self.folder / copy.name).is_file()), None)

    def _obtain(self, *, may_download: bool) -> Copy:
        if found := self._found():
            return found
        if not may_download:
            raise FileNotFoundError(f"{self.title} is not in the cache: {self.by_hand}")
        failures = []
        for copy in self.copies:
            if copy.urls:
                try:
                    download(copy.urls, self.folder / copy.name, copy.sha256, copy.size)
                    return copy
                except DownloadError as error:
                    failures.append(str(error))
        raise DownloadError("\n".join([*failures, f"For {self.title}, {self.by_hand}"]))


def _read_csv(path: Path) -> Floats:
    """scikit-learn's columns and the price in 100,000 dollars, as gzipped text with a line of names."""
    with gzip.open(path) as file:
        table = _parse(file.read(MAX_BYTES), skip=1)
    income, age, rooms, bedrooms, population, occupancy, latitude, longitude, price = table.T
    with np.errstate(divide="ignore", invalid="ignore"):
        households = np.rint(population / occupancy)
    rooms, bedrooms = np.rint(rooms * households), np.rint(bedrooms * households)
    columns = longitude, latitude, age, rooms, bedrooms, population, households, income, np.rint(price * 1e5)
    return np.stack(columns, axis=1)


def _read_npz(path: Path) -> Floats:
    """Keras's copy: ``x`` (N, 8) and ``y`` (N,) of float32, which decimals of the original text give back."""
    with zipfile.ZipFile(path) as packed:
        x, y = _read_npy(packed, "x.npy"), _read_npy(packed, "y.npy")
    if x.ndim != 2 or x.shape[1] != 8 or y.shape != x.shape[:1]:
        raise ValueError(f"expected the shapes (N, 8) and (N,). Received {x.shape} and {y.shape}")
    table = np.concatenate([x, y[:, np.newaxis]], axis=1).astype(np.float64)
    decimals = (2, 2, 0, 0, 0, 0, 0, 4, 0)
    return np.stack([np.round(column, places) for column, places in zip(table.T, decimals)], axis=1)


def _read_npy(packed: zipfile.ZipFile, name: str) -> NDArray[np.floating]:
    """An array of floats; unlike ``np.load``, this takes no memory that the file's header merely claims."""
    if name not in packed.namelist():
        raise ValueError(f"expected the arrays x and y. Received {packed.namelist()}")
    with packed.open(name) as file:
        if (version := np.lib.format.read_magic(file)) != (1, 0):
            raise ValueError(f"expected {name} in version (1, 0) of its format. Received {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.kind != "f":
            raise ValueError(f"expected {name} to hold floats. Received {dtype}")
        return np.frombuffer(file.read(MAX_BYTES), dtype).reshape(shape, order="F" if fortran else "C")


def _read_tgz(path: Path) -> Floats:
    """StatLib's own archive, with the table as text."""
    with gzip.open(path) as packed:
        content = packed.read(MAX_BYTES)  # all of it, for the checksum is at its end
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            if member.name.removeprefix("./") == "CaliforniaHousing/cal_housing.data" and member.isreg():
                file = tar.extractfile(member)
                assert file is not None  # a regular file can be opened
                return _parse(file.read(), skip=0)
    raise ValueError("expected the member CaliforniaHousing/cal_housing.data. Received none")


def _parse(text: bytes, skip: int) -> Floats:
    if text.count(b"\n") <= skip:
        raise ValueError("expected lines of 9 numbers. Received none")
    table = np.loadtxt(io.BytesIO(text), delimiter=",", skiprows=skip, ndmin=2, encoding="ascii")
    if table.shape[1] != 9:
        raise ValueError(f"expected 9 columns. Received {table.shape[1]}")
    return table


@contextlib.contextmanager
def _intact(path: Path) -> Iterator[None]:
    """What the readers raise for damage becomes a ValueError that names the file."""
    try:
        yield
    except (EOFError, OSError, RuntimeError, ValueError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path}: expected an intact copy of the table. Received: {error}") from error


FILES = Housing(
    title="California Housing",
    contents="20,640 block groups, 8 numbers each, and the price of a house",
    folder_name="california_housing",
    copies=(
        Copy("california_housing.csv.gz", _read_csv),
        Copy(
            "california_housing.npz",
            _read_npz,
            ("https://storage.googleapis.com/tensorflow/tf-keras-datasets/california_housing.npz",),
            "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f",
            743_530,
        ),
        Copy(
            "cal_housing.tgz",
            _read_tgz,
            (
                "https://ndownloader.figshare.com/files/5976036",
                "https://www.dcc.fc.up.pt/~ltorgo/Regression/cal_housing.tgz",
            ),
            "aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681",
            441_963,
        ),
    ),
    rows=20_640,
)


def load_features(source: str = "auto") -> tuple[Floats, Floats]:
    """Return ``x, y`` as scikit-learn's ``fetch_california_housing(return_X_y=True)`` does.

    Parameters
    ----------
    source : as for `load_data`.

    Returns
    -------
    x : ndarray of float64, (20640, 8), columns `FEATURE_NAMES`; rooms, bedrooms and occupants are per household
    y : ndarray of float64, (20640,), median price in 100,000 dollars

    Raises
    ------
    As `load_data`.

    Examples
    --------
    >>> FEATURE_NAMES[0], FEATURE_NAMES[-2:]
    ('MedInc', ('Latitude', 'Longitude'))
    """
    check_source(source, ("auto", "full", "cache"))
    table = FILES.load(may_download=source != "cache")
    longitude, latitude, age, rooms, bedrooms, population, households, income, price = table.T
    with np.errstate(divide="ignore", invalid="ignore"):
        per_household = rooms / households, bedrooms / households, population, population / households
    return np.stack([income, age, *per_household, latitude, longitude], axis=1), price / 100_000.0


def load_data(
    version: str = "large",
    path: str = "california_housing.npz",
    test_split: float = 0.2,
    seed: int = 113,
    *,
    source: str = "auto",
) -> tuple[Arrays, Arrays]:
    """Return ``(x_train, y_train), (x_test, y_test)``, row for row and column for column as Keras does.

    Keras's documentation names the columns that `load_features` returns; its data are StatLib's own columns, and so are
    these. Scale them before training: they differ by three orders of magnitude.

    Parameters
    ----------
    version : {"large", "small"}
        All rows, or the first 600 (of the San Francisco Bay area).
    path : without effect: accepted because Keras has it in this place.
    test_split : fraction of the rows for testing, from 0 to below 1.
    seed : of the shuffling that precedes the split.
    source : {"auto", "full", "cache"}
        ``"auto"`` and ``"full"``: from the cache (``datasets/california_housing/`` in ``TINYCONV_HOME``, default
        ``~/.cache/tinyconv``) or downloaded into it, 0.7 MB. ``"cache"``: never downloaded.

    Returns
    -------
    x_train, x_test : ndarray of float32, (16512, 8) and (4128, 8), columns `RAW_NAMES`
    y_train, y_test : ndarray of float32, (16512,) and (4128,), median price in dollars

    Raises
    ------
    DownloadError
        Where no copy of the table is in the cache and no mirror answers.
    FileNotFoundError
        ``"cache"`` where no copy is there.
    ValueError
        Where the copy in the cache is damaged or an argument is wrong.

    Examples
    --------
    >>> RAW_NAMES[:3]
    ('longitude', 'latitude', 'housing_median_age')
    >>> load_data("medium")
    Traceback (most recent call last):
    ValueError: version: expected 'small' or 'large'. Received 'medium'
    """
    if version not in ("small", "large"):
        raise ValueError(f"version: expected 'small' or 'large'. Received {version!r}")
    if not 0 <= test_split < 1:
        raise ValueError(f"test_split: expected a fraction from 0 to below 1. Received {test_split!r}")
    check_source(source, ("auto", "full", "cache"))
    table = FILES.load(may_download=source != "cache").astype(np.float32)
    table = table[: 600 if version == "small" else None]
    order = np.arange(len(table))
    np.random.RandomState(seed).shuffle(order)
    train, test = np.split(table[order], [int(len(table) * (1 - test_split))])
    return (train[:, :8].copy(), train[:, 8].copy()), (test[:, :8].copy(), test[:, 8].copy())
