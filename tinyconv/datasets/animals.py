"""Animals: 3,000 colour photos of many sizes, 1,000 each of cats, dogs and pandas."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tinyconv.preprocessing.files import check_size

from ._image_folders import Data, ImageFolders, Paths, class_numbers
from ._images import check_color_mode, read_images
from .splits import train_test_split

__all__ = ["CLASS_NAMES", "load_data", "load_paths"]

CLASS_NAMES = ("cats", "dogs", "panda")

FILES = ImageFolders(
    title="animals",
    contents="3,000 colour photos of cats, dogs and pandas",
    folder_name="animals",
    places={name: name for name in CLASS_NAMES},
    counts=dict.fromkeys(CLASS_NAMES, 1_000),
    archives=re.compile(r"(animals|archive).*\.(zip|tgz|tar|tar\.gz)", re.IGNORECASE),
    members=re.compile(r"(?:.*/)?((?:cats|dogs|panda)/[^/\\:]+\.(?:jpg|jpeg|png))"),
    source="put the folders {places} with 1,000 photos each, or an archive of them named animals.zip or "
    "animals.tar.gz, into {folder}; one is at "
    "https://www.kaggle.com/datasets/ashishsaxena2209/animal-image-datasetdog-cat-and-panda",
)


def load_paths(classes: Sequence[str] = CLASS_NAMES) -> Paths:
    """Return the paths of the photos, class after class, and the name of the class of each.

    Parameters
    ----------
    classes : the classes, in the order in which they are listed; the paths of each are sorted.

    Returns
    -------
    paths : list of str, 1,000 files of each class
    labels : ndarray of str, (N,), names from `classes`

    Raises
    ------
    FileNotFoundError
        Where the photos are not in the cache (``datasets/animals/`` in ``TINYCONV_HOME``, default
        ``~/.cache/tinyconv``); the message tells what to put where.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", TINYCONV_HOME="/nowhere"):
    ...     load_paths()
    Traceback (most recent call last):
    FileNotFoundError: animals: expected images in ... Received none. To get them, put the folders ...
    """
    return FILES.paths(classes)


def load_data(
    image_size: tuple[int, int] | None = (32, 32),
    color_mode: str = "rgb",
    classes: Sequence[str] = CLASS_NAMES,
    test_size: float | int = 0.25,
    seed: int | None = 42,
    stratify: bool = False,
) -> Data:
    """Return ``(x_train, y_train), (x_test, y_test)``.

    The defaults give the split of which the textbook example for these photos reports: listed as panda, dogs, cats, not
    stratified, which puts 239 cats, 249 dogs and 262 pandas into the 750 test photos. For cats against dogs,
    ``load_data((150, 150), classes=("cats", "dogs"), test_size=0.2, stratify=True)`` gives 800 + 200 of each.

    Parameters
    ----------
    image_size : (height, width) to which the photos are resized by averaging areas, whatever their aspect.
    color_mode : {"rgb", "bgr", "grayscale"}; OpenCV's own order is ``"bgr"``.
    classes : the classes to load; labels count in this order.
    test_size : fraction of the photos (rounded up) or their number, for testing.
    seed : of `train_test_split`; None draws from the generator that ``tinyconv.set_seed`` seeds.
    stratify : True gives both parts the same share of each class.

    Returns
    -------
    x_train, x_test : ndarray of uint8, (2250, 32, 32, 3) and (750, 32, 32, 3); ``"grayscale"`` has no last axis
    y_train, y_test : ndarray of uint8, (2250,) and (750,), indices into `classes`

    Raises
    ------
    FileNotFoundError
        Where the photos are not in the cache; the message tells what to put where.
    ValueError
        Where a file cannot be decoded or an argument is wrong.

    Warns
    -----
    UserWarning
        Where there are more or fewer than 1,000 photos of a class.

    Examples
    --------
    >>> load_data(classes=("cats", "birds"))
    Traceback (most recent call last):
    ValueError: classes: expected some of 'cats', 'dogs', 'panda', each once. Received ('cats', 'birds')
    """
    check_color_mode(color_mode)
    size = None if image_size is None else check_size("image_size", image_size)
    names = FILES.class_names(classes)
    paths, labels = FILES.paths(names[::-1])
    x, y = read_images(paths, color_mode, size), class_numbers(labels, names)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=test_size, random_state=seed, stratify=y if stratify else None
    )
    return (x_train, y_train), (x_test, y_test)
