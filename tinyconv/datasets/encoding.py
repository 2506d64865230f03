"""Labels to numbers and back: one-hot rows as in Keras, label encoders as in scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["LabelBinarizer", "LabelEncoder", "to_categorical"]


def to_categorical(
    y: ArrayLike, num_classes: int | None = None, dtype: DTypeLike = "float32"
) -> NDArray[Any]:
    """Turn class numbers into one-hot rows.

    Parameters
    ----------
    y : whole numbers from 0, of any shape; a last axis of length 1 is dropped, as in Keras.
    num_classes : length of the rows C; None takes the largest number in `y` plus one.
    dtype : of the result.

    Returns
    -------
    ndarray
        Shape ``y.shape + (C,)``.

    Raises
    ------
    ValueError
        Where a number is not whole, negative or not below `num_classes`.
    TypeError
        Where `y` does not hold numbers (for names there is `LabelBinarizer`).

    Examples
    --------
    >>> to_categorical([3, 0], num_classes=4)
    array([[0., 0., 0., 1.],
           [1., 0., 0., 0.]], dtype=float32)
    """
    labels = np.asarray(y)
    if labels.dtype.kind not in "biuf":
        raise TypeError(
            f"to_categorical: expected whole numbers (LabelBinarizer takes names). Received {labels.dtype}"
        )
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if num_classes is None:
        if not labels.size:
            raise ValueError("to_categorical: expected num_classes, which an empty y does not tell")
        num_classes = int(labels.max()) + 1
    right = (labels >= 0) & (labels < num_classes) & (labels == np.floor(labels))  # False for NaN
    if not right.all():
        raise ValueError(
            f"to_categorical: expected whole numbers from 0 to {num_classes - 1}. "
            f"Received {_some(labels[~right].tolist())}"
        )
    return (labels[..., np.newaxis] == np.arange(num_classes)).astype(dtype)


class LabelEncoder:
    """Labels to the numbers 0 to C-1, in sorted order.

    Attributes
    ----------
    classes_ : ndarray, (C,)
        The sorted labels, after `fit`.

    Examples
    --------
    >>> encoder = LabelEncoder()
    >>> encoder.fit_transform(["panda", "cat", "panda"])
    array([1, 0, 1])
    >>> encoder.inverse_transform([0, 1]).tolist()
    ['cat', 'panda']
    """

    classes_: NDArray[Any]

    def fit(self, y: ArrayLike) -> Self:
        """Learn the labels: (N,) or (N, 1)."""
        labels = self._labels(y)
        if not labels.size:
            raise ValueError(f"{type(self).__name__}.fit: expected at least one label. Received none")
        if labels.dtype.kind == "f" and np.isnan(labels).any():
            raise ValueError(f"{type(self).__name__}.fit: expected labels. Received NaN among them")
        self.classes_ = np.unique(labels)
        return self

    def transform(self, y: ArrayLike) -> NDArray[Any]:
        """Return the number of each label, (N,) of int64; a label that `fit` did not see is a ValueError."""
        return self._numbers(y)

    def fit_transform(self, y: ArrayLike) -> NDArray[Any]:
        """`fit`, then `transform`."""
        return self.fit(y).transform(y)

    def inverse_transform(self, y: ArrayLike) -> NDArray[Any]:
        """Return the label of each number, (N,)."""
        numbers, classes = self._labels(y), self._fitted()
        if not numbers.size:
            return classes[:0]
        if numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= len(classes):
            raise ValueError(
                f"{type(self).__name__}.inverse_transform: expected integers from 0 to {len(classes) - 1}. "
                f"Received {_some(numbers.tolist())}"
            )
        return classes[numbers]

    def _numbers(self, y: ArrayLike) -> NDArray[np.int64]:
        labels, classes = self._labels(y).tolist(), self._fitted().tolist()
        number_of = {label: number for number, label in enumerate(classes)}
        unseen = [label for label in labels if label not in number_of]
        if unseen:
            raise ValueError(
                f"{type(self).__name__}.transform: expected the labels {_some(classes)}. "
                f"Received {_some(unseen)}"
            )
        return np.array([number_of[label] for label in labels], np.int64)

    def _fitted(self) -> NDArray[Any]:
        if not hasattr(self, "classes_"):
            raise ValueError(f"{type(self).__name__} has no classes yet: call fit first")
        return self.classes_

    def _labels(self, y: ArrayLike) -> NDArray[Any]:
        labels = np.asarray(y)
        if labels.ndim != 1 and labels.shape[1:] != (1,):
            raise ValueError(
                f"{type(self).__name__}: expected labels of shape (N,) or (N, 1). Received {labels.shape}"
            )
        return labels.ravel()


class LabelBinarizer(LabelEncoder):
    """Labels to one-hot rows, columns in sorted order; two classes give one column, 1 for the second class.

    Unlike scikit-learn's, it refuses labels that `fit` did not see instead of giving them a row of zeros.

    Attributes
    ----------
    classes_ : ndarray, (C,)
        The sorted labels, after `fit`.

    Examples
    --------
    >>> LabelBinarizer().fit_transform(["panda", "cat", "dog"])
    array([[0, 0, 1],
           [1, 0, 0],
           [0, 1, 0]])
    >>> LabelBinarizer().fit_transform(["no", "yes", "no"])
    array([[0],
           [1],
           [0]])
    """

    def transform(self, y: ArrayLike) -> NDArray[Any]:
        """Return (N, C) of int64, or (N, 1) for one or two classes; an unseen label is a ValueError."""
        count = len(self._fitted())
        rows = to_categorical(self._numbers(y), count, np.int64)
        if count == 1:
            return np.zeros_like(rows)  # the one class is the "no" of a yes-or-no column, as in scikit-learn
        return rows[:, 1:] if count == 2 else rows

    def inverse_transform(self, y: ArrayLike) -> NDArray[Any]:
        """Return the label of each row, (N,), from one-hot rows or scores.

        That is the label of the largest score; of a single column, the second label where it is above 0.5.
        """
        scores, classes = np.asarray(y), self._fitted()
        widths = {1: (1,), 2: (1, 2)}.get(len(classes), (len(classes),))
        if scores.ndim == 1 and 1 in widths:
            scores = scores[:, np.newaxis]
        if scores.ndim != 2 or scores.shape[1] not in widths:
            raise ValueError(
                f"LabelBinarizer.inverse_transform: expected shape (N, {' or '.join(map(str, widths))}) "
                f"for {len(classes)} classes. Received {scores.shape}"
            )
        if len(classes) == 1:
            return np.repeat(classes, len(scores))
        second = scores[:, 0] > 0.5
        return classes[scores.argmax(axis=1) if scores.shape[1] > 1 else second.astype(np.int64)]


def _some(values: list[Any]) -> str:
    """The first few distinct values, for a message."""
    distinct = list(dict.fromkeys(values))
    return ", ".join(map(repr, distinct[:5])) + (", ..." if len(distinct) > 5 else "")
