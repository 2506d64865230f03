"""What Keras has in ``keras.utils``, under that name."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.datasets import to_categorical
from tinyconv.preprocessing import array_to_img, image_dataset_from_directory, img_to_array, load_img, save_img
from tinyconv.preprocessing.sequence import PyDataset
from tinyconv.random import set_seed as set_random_seed
from tinyconv.viz import plot_model

__all__ = [
    "PyDataset", "Sequence", "array_to_img", "image_dataset_from_directory", "img_to_array", "load_img", "normalize",
    "plot_model", "save_img", "set_random_seed", "to_categorical",
]  # fmt: skip

Sequence = PyDataset  # its name in Keras 2


def normalize(x: Any, axis: int = -1, order: float = 2) -> np.ndarray:
    """``x`` divided by its norms along an axis; what is zero stays zero.

    Parameters
    ----------
    x : array_like of any shape
    axis : int
        Along which the norm is taken.
    order : float
        Of the norm: 2 is the Euclidean one.

    Returns
    -------
    array of the shape of ``x``

    Examples
    --------
    >>> from tinyconv.utils import normalize
    >>> normalize([[3.0, 4.0], [0.0, 0.0]])
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    norm = np.linalg.norm(x, order, axis, keepdims=True)
    return np.divide(x, np.where(norm == 0, 1, norm))
