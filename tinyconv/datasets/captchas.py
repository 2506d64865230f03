"""Captchas: 505 colour images of four digits from 1 to 9, 150x36, and 2,019 single digits cut out of such, grey."""

from __future__ import annotations

import re

from tinyconv.preprocessing.files import check_size

from ._image_folders import Data, ImageFolders, Paths, class_numbers
from ._images import list_images, read_images
from .splits import train_test_split

__all__ = ["CLASS_NAMES", "load_data", "load_paths", "whole_paths"]

CLASS_NAMES = ("1", "2", "3", "4", "5", "6", "7", "8", "9")

FILES = ImageFolders(
    title="captchas",
    contents="505 captchas of four digits, 2,019 single digits",
    folder_name="captchas",
    places={digit: f"dataset/{digit}" for digit in CLASS_NAMES},
    counts={},  # a set that somebody labelled by hand has as many as it has
    archives=re.compile(r"captcha.*\.(zip|tgz|tar|tar\.gz)", re.IGNORECASE),
    members=re.compile(r"(?:.*/)?((?:downloads|dataset/[1-9])/[^/\\:]+\.(?:jpg|jpeg|png))"),
    source="put the whole captchas (downloads/00000.jpg, ...) and the labelled digits ({places}), or an archive of "
    "both named captchas.zip or captchas.tar.gz, into {folder}",
    unlabelled=("downloads",),
)


def load_paths() -> Paths:
    """Return the paths of the single digits, digit after digit, and the label of each.

    Returns
    -------
    paths : list of str, 2,019 files
    labels : ndarray of str, (2019,), ``"1"`` to ``"9"``

    Raises
    ------
    FileNotFoundError
        Where the digits are not in the cache (``datasets/captchas/`` in ``TINYCONV_HOME``, default
        ``~/.cache/tinyconv``); the message tells what to put where.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", TINYCONV_HOME="/nowhere"):
    ...     load_paths()
    Traceback (most recent call last):
    FileNotFoundError: captchas: expected images in ... Received none. To get them, put the whole ...
    """
    return FILES.paths()


def whole_paths() -> list[str]:
    """Return the paths of the whole captchas, sorted: 505 files.

    Raises
    ------
    FileNotFoundError
        Where there is none in ``downloads/`` of the folder that `load_paths` names.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", TINYCONV_HOME="/nowhere"):
    ...     whole_paths()
    Traceback (most recent call last):
    FileNotFoundError: captchas: expected images in downloads of /nowhere/datasets/captchas. Received none. ...
    """
    FILES.fetch(["downloads"])
    return list_images(FILES.folder / "downloads")


def load_data(
    image_size: tuple[int, int] | None = None, test_size: float | int = 0.25, seed: int | None = 42
) -> Data:
    """Return the single digits as ``(x_train, y_train), (x_test, y_test)``, split at random, not stratified.

    Parameters
    ----------
    image_size : (height, width) to which the digits are resized by averaging areas, whatever their aspect; None where
        all have one size, as the published ones have: (28, 28).
    test_size : fraction of the digits (rounded up) or their number, for testing.
    seed : of `train_test_split`; None draws from the generator that ``tinyconv.set_seed`` seeds.

    Returns
    -------
    x_train, x_test : ndarray of uint8, (1514, 28, 28) and (505, 28, 28)
    y_train, y_test : ndarray of uint8, (1514,) and (505,), indices into `CLASS_NAMES`: the digit minus one

    Raises
    ------
    FileNotFoundError
        Where the digits are not in the cache; the message tells what to put where.
    ValueError
        Where a file cannot be decoded, sizes differ or an argument is wrong.

    Examples
    --------
    >>> load_data(image_size=28)
    Traceback (most recent call last):
    ValueError: image_size must be (height, width), each >= 1. Received: 28
    """
    size = None if image_size is None else check_size("image_size", image_size)
    paths, labels = FILES.paths()
    x, y = read_images(paths, "grayscale", size), class_numbers(labels, CLASS_NAMES)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=test_size, random_state=seed)
    return (x_train, y_train), (x_test, y_test)
