"""Fashion-MNIST: 60,000 + 10,000 pictures of clothes in ten classes, 28x28 grey; the same files as MNIST.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", 2017, https://github.com/zalandoresearch/fashion-mnist (MIT licence).
"""

from __future__ import annotations

from ._mnist_like import Data, IdxFile, MnistLike
from .download import check_source

__all__ = ["CLASS_NAMES", "load_data"]

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

FILES = MnistLike(
    title="Fashion-MNIST",
    contents="60,000 + 10,000 pictures of clothes, 28x28 grey",
    folder_name="fashion_mnist",
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    files=(
        IdxFile(
            "train-images-idx3-ubyte",
            (60_000, 28, 28),
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            (60_000,),
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        IdxFile(
            "t10k-images-idx3-ubyte",
            (10_000, 28, 28),
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            (10_000,),
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
)


def load_data(source: str = "auto") -> Data:
    """Return ``(x_train, y_train), (x_test, y_test)``, as Keras does.

    Parameters
    ----------
    source : {"auto", "full", "cache"}
        ``"auto"`` and ``"full"``: from the cache (``datasets/fashion_mnist/`` in ``TINYCONV_HOME``, default
        ``~/.cache/tinyconv``) or downloaded into it. ``"cache"``: never downloaded.

    Returns
    -------
    x_train, x_test : ndarray of uint8, (60000, 28, 28) and (10000, 28, 28)
    y_train, y_test : ndarray of uint8, (60000,) and (10000,), indices into `CLASS_NAMES`

    Raises
    ------
    DownloadError
        Where a file is not in the cache and no mirror answers.
    FileNotFoundError
        ``"cache"`` where a file is not there.
    ValueError
        Where a file in the cache is damaged or is not what its name says.

    Examples
    --------
    >>> CLASS_NAMES[9]
    'Ankle boot'
    >>> load_data("subset")
    Traceback (most recent call last):
    ValueError: source: expected one of 'auto', 'full', 'cache'. Received 'subset'
    """
    check_source(source, ("auto", "full", "cache"))
    return FILES.load(may_download=source != "cache")
