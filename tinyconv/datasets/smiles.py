"""SMILES: 13,165 faces, 64x64 grey, 9,475 that do not smile and 3,690 that do.

Source: D. Hromada, C. Tijus, S. Poitrenaud, J. Nadel, "Zygomatic Smile Detection: The Semi-Supervised Haar Training of
a Fast and Frugal System", RIVF 2010; https://github.com/hromi/SMILEsmileD.
"""

from __future__ import annotations

import re

from tinyconv.preprocessing.files import check_size

from ._image_folders import Data, ImageFolders, Paths, class_numbers
from ._images import read_images
from .splits import train_test_split

__all__ = ["CLASS_NAMES", "load_data", "load_paths"]

CLASS_NAMES = ("not_smiling", "smiling")

FILES = ImageFolders(
    title="SMILES",
    contents="13,165 faces, 64x64 grey, smiling or not",
    folder_name="smiles",
    places={"not_smiling": "SMILEs/negatives/negatives7", "smiling": "SMILEs/positives/positives7"},
    counts={"not_smiling": 9_475, "smiling": 3_690},
    archives=re.compile(r"SMILE.*\.(zip|tgz|tar|tar\.gz)", re.IGNORECASE),
    members=re.compile(r"(?:.*/)?(SMILEs/(?:negatives/negatives7|positives/positives7)/[^/\\:]+\.jpg)"),
    source='run: git clone https://github.com/hromi/SMILEsmileD "{folder}", or put the ZIP of that repository there',
)


def load_paths() -> Paths:
    """Return the paths of all images in sorted order, and the name of the class of each.

    Returns
    -------
    paths : list of str, 13,165 files
    labels : ndarray of str, (13165,), ``"not_smiling"`` or ``"smiling"``

    Raises
    ------
    FileNotFoundError
        Where the images are not in the cache (``datasets/smiles/`` in ``TINYCONV_HOME``, default
        ``~/.cache/tinyconv``); the message tells the command that gets them.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", TINYCONV_HOME="/nowhere"):
    ...     load_paths()
    Traceback (most recent call last):
    FileNotFoundError: SMILES: expected images in ... Received none. To get them, run: git clone ...
    """
    return FILES.paths()


def load_data(
    image_size: tuple[int, int] | None = None, test_size: float | int = 0.2, seed: int | None = 42
) -> Data:
    """Return ``(x_train, y_train), (x_test, y_test)``: a clean split, stratified by class.

    No image is in both parts, and both have the same share of smiles: 1,895 + 738 of the 2,633 test images with the
    default arguments. (A split that takes the columns of one-hot labels for classes, as an old scikit-learn did,
    puts 1,890 + 743 there, four in ten of which it also trains on.)

    Parameters
    ----------
    image_size : (height, width) to which the images are resized by averaging areas; None keeps (64, 64).
    test_size : fraction of the images (rounded up) or their number, for testing.
    seed : of `train_test_split`; None draws from the generator that ``tinyconv.set_seed`` seeds.

    Returns
    -------
    x_train, x_test : ndarray of uint8, (10532, 64, 64) and (2633, 64, 64)
    y_train, y_test : ndarray of uint8, (10532,) and (2633,), indices into `CLASS_NAMES`

    Raises
    ------
    FileNotFoundError
        Where the images are not in the cache; the message tells the command that gets them.
    ValueError
        Where a file cannot be decoded or an argument is wrong.

    Warns
    -----
    UserWarning
        Where there are more or fewer images than were published.

    Examples
    --------
    >>> load_data(image_size=28)
    Traceback (most recent call last):
    ValueError: image_size must be (height, width), each >= 1. Received: 28
    """
    size = None if image_size is None else check_size("image_size", image_size)
    paths, labels = FILES.paths()
    x, y = read_images(paths, "grayscale", size), class_numbers(labels, CLASS_NAMES)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=test_size, random_state=seed, stratify=y)
    return (x_train, y_train), (x_test, y_test)
