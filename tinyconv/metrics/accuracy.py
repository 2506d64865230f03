"""How often predictions are right; and what ``"accuracy"`` means for a loss and an output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import losses
from tinyconv.metrics.base import MeanMetricWrapper, MeanOf, Metric, class_numbers, labels_of, registry, same_shape
from tinyconv.registry import set_name


def accuracy(y_true: Any, y_pred: Any) -> np.ndarray:
    """Mean over the last axis of ``y_true == y_pred``: (N, ..., C) -> (N, ...), and (N,) stays (N,)."""
    y_true, y_pred = same_shape(y_true, y_pred, "accuracy")
    return _last_mean(y_true == y_pred)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> np.ndarray:
    """Mean over the last axis of ``y_true == (y_pred > threshold)``: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = same_shape(y_true, y_pred, "binary_accuracy")
    return _last_mean(y_true == (y_pred > threshold))


def categorical_accuracy(y_true: Any, y_pred: Any) -> np.ndarray:
    """1 where the largest prediction is at the largest label, else 0: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = same_shape(y_true, y_pred, "categorical_accuracy")
    return (y_true.argmax(-1) == y_pred.argmax(-1)).astype(np.float64)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> np.ndarray:
    """1 where the largest prediction is at the class number ``y_true``: (N, ...), (N, ..., C) -> (N, ...)."""
    labels, y_pred = class_numbers(y_true, y_pred, "sparse_categorical_accuracy")
    return (labels == y_pred.argmax(-1)).astype(np.float64)


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> np.ndarray:
    """1 where the true class (of one-hot rows) is among the ``k`` largest predictions: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = same_shape(y_true, y_pred, "top_k_categorical_accuracy")
    return _in_top_k(y_true.argmax(-1), y_pred, k)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> np.ndarray:
    """1 where the class number is among the ``k`` largest predictions: (N, ...), (N, ..., C) -> (N, ...)."""
    return _in_top_k(*class_numbers(y_true, y_pred, "sparse_top_k_categorical_accuracy"), k)


def _in_top_k(labels: np.ndarray, y_pred: np.ndarray, k: int) -> np.ndarray:
    """Fewer than ``k`` predictions are larger than the true class's; NaN is never right."""
    chosen = np.take_along_axis(y_pred, labels[..., None].astype(np.intp), -1)
    return (((y_pred > chosen).sum(-1) < k) & ~np.isnan(chosen[..., 0])).astype(np.float64)


def _accuracy_by_shape(y_true: Any, y_pred: Any) -> np.ndarray:
    one_hot = np.shape(y_true) == np.shape(y_pred)
    return categorical_accuracy(y_true, y_pred) if one_hot else sparse_categorical_accuracy(y_true, y_pred)


def _last_mean(right: np.ndarray) -> np.ndarray:
    """Share of right values in each sample; a single axis is the batch."""
    return right.mean(-1, dtype=np.float64) if right.ndim > 1 else right.astype(np.float64)


@registry.register()
class Accuracy(MeanOf):
    """How often predictions equal labels: (N, ...), (N, ...) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import Accuracy
    >>> Accuracy()([1, 2, 3, 4], [0, 2, 3, 4])
    0.75
    """

    function = staticmethod(accuracy)


@registry.register()
class BinaryAccuracy(MeanOf):
    """How often predictions above ``threshold`` meet labels 1 and others labels 0, element by element.

    (N, ...), (N, ...) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import BinaryAccuracy
    >>> BinaryAccuracy()([[1], [0], [1], [1]], [[0.9], [0.2], [0.3], [0.6]])
    0.75
    """

    function = staticmethod(binary_accuracy)

    def __init__(self, name: str | None = None, dtype: Any = "float64", threshold: float = 0.5) -> None:
        self.threshold = threshold
        super().__init__(name, dtype)


@registry.register()
class CategoricalAccuracy(MeanOf):
    """How often the largest of C predictions is at the 1 of a one-hot label.

    (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import CategoricalAccuracy
    >>> CategoricalAccuracy()([[0, 0, 1], [0, 1, 0]], [[0.1, 0.6, 0.3], [0.05, 0.95, 0.0]])
    0.5
    """

    function = staticmethod(categorical_accuracy)


@registry.register()
class SparseCategoricalAccuracy(MeanOf):
    """How often the largest of C predictions is at the class number: (N, ...), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import SparseCategoricalAccuracy
    >>> SparseCategoricalAccuracy()([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0.0]])
    0.5
    """

    function = staticmethod(sparse_categorical_accuracy)


@registry.register()
class TopKCategoricalAccuracy(MeanOf):
    """How often the true class (one-hot) is among the ``k`` largest predictions.

    (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import TopKCategoricalAccuracy
    >>> TopKCategoricalAccuracy(k=2)([[0, 0, 1], [0, 1, 0]], [[0.1, 0.6, 0.3], [0.05, 0.0, 0.95]])
    0.5
    """

    function = staticmethod(top_k_categorical_accuracy)

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = "float64") -> None:
        self.k = k
        super().__init__(name, dtype)


@registry.register()
class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """How often the class number is among the ``k`` largest predictions.

    (N, ...), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import SparseTopKCategoricalAccuracy
    >>> SparseTopKCategoricalAccuracy(k=2)([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.0, 0.95]])
    0.5
    """

    function = staticmethod(sparse_top_k_categorical_accuracy)


def resolve_accuracy(loss: Any, output_shape: Sequence[int | None], name: str = "accuracy") -> Metric:
    """The accuracy that Keras means by ``"accuracy"``, from the loss and the shape of the predictions.

    Binary losses and outputs of one unit: element by element (also for two one-hot units). Sparse losses: class numbers
    against the largest output. All others: the largest output against the largest label.

    Parameters
    ----------
    loss : str, Loss, callable or None
    output_shape : tuple
        Of the predictions, batch axis first.
    name : str
        Of the metric: ``"accuracy"`` or ``"acc"``.

    Examples
    --------
    >>> from tinyconv.metrics import resolve_accuracy
    >>> resolve_accuracy("binary_crossentropy", (None, 2)), resolve_accuracy("categorical_crossentropy", (None, 2))
    (BinaryAccuracy(), CategoricalAccuracy())
    """
    loss = None if loss is None else losses.get(loss)
    labels = labels_of(loss, output_shape)
    if labels == "binary":
        return BinaryAccuracy(name, threshold=0.0 if getattr(loss, "from_logits", False) else 0.5)
    if labels == "sparse":
        return SparseCategoricalAccuracy(name)
    if loss is None or isinstance(loss, losses.LossFunctionWrapper):
        return MeanMetricWrapper(_accuracy_by_shape, name)
    return CategoricalAccuracy(name)


for _function in (
    accuracy, binary_accuracy, categorical_accuracy, sparse_categorical_accuracy, top_k_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
):  # fmt: skip
    set_name(_function, _function.__name__)  # in files, a function is the class of the same name
