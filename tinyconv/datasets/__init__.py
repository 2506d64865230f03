"""Data sets by name (``tc.datasets.mnist.load_data()``), train/test splits and label encodings."""

from . import fashion_mnist, mnist
from .download import DownloadError, home
from .encoding import LabelBinarizer, LabelEncoder, to_categorical
from .splits import train_test_split

__all__ = [
    "DownloadError",
    "LabelBinarizer",
    "LabelEncoder",
    "fashion_mnist",
    "home",
    "mnist",
    "to_categorical",
    "train_test_split",
]
