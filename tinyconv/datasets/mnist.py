"""MNIST: 60,000 + 10,000 handwritten digits, 28x28 grey, from 0 (background) to 255 (ink).

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits",
http://yann.lecun.com/exdb/mnist/ (Creative Commons Attribution-ShareAlike 3.0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ._mnist_like import Data, IdxFile, Images, Labels, MnistLike
from .download import DownloadError, check_source
from .idx import read_idx

__all__ = ["load_data", "load_mldata_order"]

FILES = MnistLike(
    title="MNIST",
    contents="60,000 + 10,000 handwritten digits, 28x28 grey",
    folder_name="mnist",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
    files=(
        IdxFile(
            "train-images-idx3-ubyte",
            (60_000, 28, 28),
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            (60_000,),
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        IdxFile(
            "t10k-images-idx3-ubyte",
            (10_000, 28, 28),
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            (10_000,),
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
)

SUBSET_FOLDER = Path(__file__).with_name("mnist_subset")
SUBSET_SIZES = (5_000, 1_000)  # so many training and test digits; tools/make_mnist_subset.py made it


def load_data(source: str = "auto") -> Data:
    """Return ``(x_train, y_train), (x_test, y_test)``, as Keras does.

    Parameters
    ----------
    source : {"auto", "full", "cache", "subset"}
        ``"full"``: all digits, from the cache (``datasets/mnist/`` in ``TINYCONV_HOME``, default
        ``~/.cache/tinyconv``) or downloaded into it. ``"auto"``: the same, but where they are not to be had,
        the subset, and a line on stdout says so. ``"cache"``: all digits, never downloaded. ``"subset"``:
        the first 5,000 training and 1,000 test digits, which ship with tinyconv.

    Returns
    -------
    x_train, x_test : ndarray of uint8, (60000, 28, 28) and (10000, 28, 28)
    y_train, y_test : ndarray of uint8, (60000,) and (10000,), digits 0 to 9

    Raises
    ------
    DownloadError
        ``"full"`` where no mirror answers.
    FileNotFoundError
        ``"cache"`` where a file is not there.
    ValueError
        Where a file in the cache is damaged or is not what its name says.

    Examples
    --------
    >>> (x_train, y_train), (x_test, y_test) = load_data("subset")
    >>> x_train.shape, x_test.shape
    ((5000, 28, 28), (1000, 28, 28))
    >>> y_train[:10].tolist()
    [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    """
    check_source(source, ("auto", "full", "cache", "subset"))
    if source == "subset":
        return _load_subset()
    try:
        return FILES.load(may_download=source != "cache")
    except DownloadError:
        if source == "full":
            raise
        train, test = SUBSET_SIZES
        print(
            f"MNIST could not be downloaded: using the {train:,} + {test:,} real digits of tinyconv's own. "
            f"For all 70,000, {FILES.by_hand}, or try again online (load_data('full') says what failed).",
            flush=True,
        )
        return _load_subset()


def _load_subset() -> Data:
    train, test = SUBSET_SIZES
    x_train, y_train, x_test, y_test = (
        read_idx(SUBSET_FOLDER / f"{file.name}.gz", (count, *file.shape[1:]))
        for file, count in zip(FILES.files, (train, train, test, test), strict=True)
    )
    return (x_train, y_train), (x_test, y_test)


def load_mldata_order(source: str = "auto") -> tuple[Images, Labels]:
    """Return all digits in the order of mldata.org's "MNIST original", which older books split themselves.

    That is the training digits sorted by label, then the test digits sorted by label. (OpenML's
    ``mnist_784`` keeps the published order instead.) Splitting it with
    ``train_test_split(data, target, test_size=0.25, random_state=42)`` gives the 52,500 and 17,500 digits on
    which those books report.

    Parameters
    ----------
    source : as for `load_data`.

    Returns
    -------
    data : ndarray of uint8, (70000, 28, 28)
    target : ndarray of uint8, (70000,)

    Examples
    --------
    >>> data, target = load_mldata_order("subset")
    >>> data.shape, target[[0, 4999, 5000, -1]].tolist()
    ((6000, 28, 28), [0, 9, 0, 9])
    """
    parts = load_data(source)
    orders = [np.argsort(labels, kind="stable") for _, labels in parts]
    data = np.concatenate([images[order] for (images, _), order in zip(parts, orders, strict=True)])
    target = np.concatenate([labels[order] for (_, labels), order in zip(parts, orders, strict=True)])
    return data, target
