"""Weights that make up for classes of different sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["class_weights"]


def class_weights(labels: ArrayLike, method: str = "max") -> dict[int, float]:
    """Weigh each class by the inverse of its size, for ``fit(class_weight=...)``.

    Parameters
    ----------
    labels : (N,) or (N, 1) whole numbers from 0, (N, C) one-hot rows, or (N,) names, which count in sorted order as
        `LabelEncoder` numbers them.
    method : {"max", "balanced"}
        ``"max"``: size of the largest class / size of the class, so the largest class weighs 1. ``"balanced"``:
        N / (classes * size of the class), so the weights of all N labels sum to N, as
        ``sklearn.utils.class_weight.compute_class_weight("balanced", ...)`` has it.

    Returns
    -------
    dict
        Number of each class that occurs -> its weight, in ascending order.

    Raises
    ------
    ValueError
        Where there is no label, a number is not whole or negative, a row is not one-hot or `method` is unknown.

    Examples
    --------
    >>> class_weights(np.repeat([0, 1], [9475, 3690]))
    {0: 1.0, 1: 2.567750677506775}
    >>> class_weights(["no", "yes", "no", "no"], method="balanced")
    {0: 0.6666666666666666, 1: 2.0}
    """
    if method not in ("max", "balanced"):
        raise ValueError(f"method: expected 'max' or 'balanced'. Received {method!r}")
    numbers, sizes = np.unique(_numbers(np.asarray(labels)), return_counts=True)
    ours = sizes.max() / sizes if method == "max" else sizes.sum() / (len(sizes) * sizes)
    return {int(number): float(weight) for number, weight in zip(numbers, ours)}


def _numbers(labels: np.ndarray) -> np.ndarray:
    """The class of each row, (N,), from any of the forms."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if not labels.size or labels.ndim not in (1, 2):
        raise ValueError(f"labels: expected shape (N,), (N, 1) or (N, C), N > 0. Received {labels.shape}")
    if labels.ndim == 2:
        if not (((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise ValueError(f"labels: expected one-hot rows for shape {labels.shape}. Received others")
        return labels.argmax(axis=1)
    if labels.dtype.kind not in "biuf":
        return np.unique(labels, return_inverse=True)[1]
    wrong = labels[~((labels >= 0) & (labels == np.floor(labels)))]  # NaN, too
    if wrong.size:
        raise ValueError(f"labels: expected whole numbers from 0. Received {wrong[0]}")
    return labels
