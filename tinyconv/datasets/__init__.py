"""Data sets by name (``tc.datasets.mnist.load_data()``), train/test splits, label encodings and class weights."""

from . import animals, california_housing, captchas, cifar10, cifar100, fashion_mnist, mnist, smiles
from .catalog import DatasetStatus, fetch, status
from .download import DownloadError, home
from .encoding import LabelBinarizer, LabelEncoder, to_categorical
from .splits import train_test_split
from .weights import class_weights

__all__ = [
    "DatasetStatus",
    "DownloadError",
    "LabelBinarizer",
    "LabelEncoder",
    "animals",
    "california_housing",
    "captchas",
    "cifar10",
    "cifar100",
    "class_weights",
    "fashion_mnist",
    "fetch",
    "home",
    "mnist",
    "smiles",
    "status",
    "to_categorical",
    "train_test_split",
]
