"""Losses of classes and probabilities: cross-entropies, Kullback-Leibler divergence."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import backends, config, ops
from tinyconv.checks import fraction
from tinyconv.losses.base import (
    FunctionLoss,
    at_least_float32,
    check_labels,
    known_by_name,
    mean_of_sample,
    operands,
    registry,
)
from tinyconv.ops.elementwise import as_tensor
from tinyconv.tensor import Tensor


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """``-sum(y_true * log(y_pred))`` over the classes: (N, ..., C) -> (N, ...).

    Parameters
    ----------
    y_true : array_like or Tensor, shape (N, ..., C)
        One-hot rows or probabilities.
    y_pred : array_like or Tensor, shape (N, ..., C)
        Probabilities (scaled to sum 1, then clipped to [epsilon, 1 - epsilon]), or logits with ``from_logits``.
    label_smoothing : float
        Share of each row of ``y_true`` that is spread evenly over the classes.
    axis : int
        Where the classes are.

    Examples
    --------
    >>> from tinyconv.losses import categorical_crossentropy
    >>> round(categorical_crossentropy([[1, 0]], [[1.0, 0.0]], from_logits=True).item(), 6)
    0.313262
    """
    y_true, y_pred = operands(y_true, y_pred, "categorical_crossentropy")
    y_true = smooth(y_true, label_smoothing, 1.0 / max(y_pred.shape[axis], 1))
    return -ops.sum(y_true * log_probabilities(y_pred, from_logits, axis), axis)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Tensor:
    """Cross-entropy for class numbers: ``-log(y_pred[y_true])``, (N, ..., C) -> (N, ...).

    Parameters
    ----------
    y_true : array_like or Tensor, shape (N, ...) or (N, ..., 1)
        Class numbers 0 .. C-1, of any dtype.
    y_pred : array_like or Tensor, shape (N, ..., C)
        Probabilities, or logits with ``from_logits``.
    ignore_class : int, optional
        Where ``y_true`` is this number (often -1 or 255), the loss is 0.
    axis : int
        Where the classes are.

    Raises
    ------
    ValueError
        When a label is NaN, no whole number, or outside [0, C) (``ignore_class`` excepted).

    Examples
    --------
    >>> from tinyconv.losses import sparse_categorical_crossentropy
    >>> [round(loss, 4) for loss in sparse_categorical_crossentropy([1, 0], [[0.5, 0.5], [0.8, 0.2]]).tolist()]
    [0.6931, 0.2231]
    """
    name = "sparse_categorical_crossentropy"
    if ignore_class is None:
        return sparse_crossentropies(y_true, y_pred, from_logits, axis, name)
    y_true = as_tensor(y_true)
    ignored = ops.equal(y_true, ignore_class)
    losses = sparse_crossentropies(ops.where(ignored, 0, y_true), y_pred, from_logits, axis, name)
    return ops.where(ops.reshape(ignored, losses.shape), 0.0, losses)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Tensor:
    """Mean over ``axis`` of ``-(y_true * log(y_pred) + (1 - y_true) * log(1 - y_pred))``: (N, ..., C) -> (N, ...).

    Probabilities are clipped to [epsilon, 1 - epsilon]; ``from_logits`` takes logits, without overflow.

    Examples
    --------
    >>> from tinyconv.losses import binary_crossentropy
    >>> round(binary_crossentropy([[0]], [[0.9]]).item(), 4)
    2.3026
    """
    y_true, y_pred = operands(y_true, y_pred, "binary_crossentropy")
    y_true = smooth(y_true, label_smoothing, 0.5)
    return mean_of_sample(binary_crossentropies(y_true, y_pred, from_logits), axis)


def kl_divergence(y_true: Any, y_pred: Any) -> Tensor:
    """``sum(y_true * log(y_true / y_pred))`` over the last axis, both clipped to [epsilon, 1]: (N, C) -> (N,)."""
    y_true, y_pred = operands(y_true, y_pred, "kl_divergence")
    y_true, y_pred = (ops.clip(y, config.epsilon(), 1.0) for y in (y_true, y_pred))
    return ops.sum(y_true * ops.log(y_true / y_pred), -1)


@registry.register()
class CategoricalCrossentropy(FunctionLoss):
    """:func:`categorical_crossentropy`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Parameters
    ----------
    from_logits : bool
        Whether predictions are logits, before softmax, instead of probabilities.
    label_smoothing : float in [0, 1]
        Share of each row of ``y_true`` that is spread evenly over the classes.
    axis : int
        Where the classes are.

    Examples
    --------
    >>> import numpy as np
    >>> from tinyconv.losses import CategoricalCrossentropy
    >>> loss = CategoricalCrossentropy()(np.eye(10), np.full((10, 10), 0.1))
    >>> round(loss.item(), 4)  # ln(10): what a network that knows nothing gets
    2.3026
    """

    function = staticmethod(categorical_crossentropy)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.from_logits, self.axis = from_logits, axis
        self.label_smoothing = fraction("label_smoothing", label_smoothing)


@registry.register()
class SparseCategoricalCrossentropy(FunctionLoss):
    """:func:`sparse_categorical_crossentropy`, averaged over the batch: (N, ...), (N, ..., C) -> ().

    Parameters
    ----------
    from_logits : bool
        Whether predictions are logits, before softmax, instead of probabilities.
    ignore_class : int, optional
        Labels of this number cost nothing and do not count in the mean.
    reduction, name
        As for :class:`Loss`.
    axis : int
        Where the classes are.

    Examples
    --------
    >>> from tinyconv.losses import SparseCategoricalCrossentropy
    >>> round(SparseCategoricalCrossentropy(from_logits=True)([0], [[1.0, 0.0]]).item(), 6)
    0.313262
    >>> round(SparseCategoricalCrossentropy(ignore_class=-1)([0, -1], [[0.5, 0.5], [0.1, 0.9]]).item(), 4)
    0.6931
    """

    function = staticmethod(sparse_categorical_crossentropy)

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis

    def counted(self, y_true: Any, losses: Tensor) -> Tensor | None:
        if self.ignore_class is None:
            return None
        return ops.reshape(ops.astype(ops.not_equal(y_true, self.ignore_class), losses.dtype), losses.shape)


@registry.register("bce")
class BinaryCrossentropy(FunctionLoss):
    """:func:`binary_crossentropy`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Parameters
    ----------
    from_logits : bool
        Whether predictions are logits, before the sigmoid, instead of probabilities.
    label_smoothing : float in [0, 1]
        Share of ``y_true`` that is replaced by 1/2.
    axis : int
        Axis over which the mean of a sample is taken.

    Examples
    --------
    >>> from tinyconv.losses import BinaryCrossentropy
    >>> round(BinaryCrossentropy()([[1.0], [0.0]], [[0.9], [0.1]]).item(), 4)
    0.1054
    """

    function = staticmethod(binary_crossentropy)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.from_logits, self.axis = from_logits, axis
        self.label_smoothing = fraction("label_smoothing", label_smoothing)


@registry.register("kld", "kullback_leibler_divergence")
class KLDivergence(FunctionLoss):
    """:func:`kl_divergence`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Examples
    --------
    >>> from tinyconv.losses import KLDivergence
    >>> round(KLDivergence()([[0.5, 0.5]], [[0.9, 0.1]]).item(), 4)
    0.5108
    """

    function = staticmethod(kl_divergence)


known_by_name(categorical_crossentropy, sparse_categorical_crossentropy, binary_crossentropy, kl_divergence)
bce = BCE = binary_crossentropy
kld = KLD = kullback_leibler_divergence = kl_divergence


def sparse_crossentropies(y_true: Any, y_pred: Any, from_logits: bool, axis: int, name: str) -> Tensor:
    """Cross-entropy of class numbers; their place is chosen by comparison, which every device does alike."""
    labels, y_pred = as_tensor(y_true), at_least_float32(y_pred)
    if not y_pred.ndim:
        raise ValueError(f"{name} expected y_pred with an axis of classes. Received: shape {y_pred.shape}")
    y_pred = y_pred if axis in (-1, y_pred.ndim - 1) else ops.moveaxis(y_pred, axis, y_pred.ndim - 1)
    *outer, classes = y_pred.shape
    if labels.shape not in (tuple(outer), (*outer, 1)):
        raise ValueError(
            f"{name} expected class numbers of shape {tuple(outer)} or {(*outer, 1)} for y_pred of shape "
            f"{y_pred.shape}. Received: y_true of shape {labels.shape}"
        )
    backends.of(labels.data).check(labels.data, check_labels, classes, name)
    numbers = Tensor._of(backends.of(y_pred.data).arange(classes, np.int64))
    chosen = ops.equal(ops.reshape(ops.astype(labels, np.int64), (*outer, 1)), numbers)  # (N, ..., C)
    return -ops.sum(ops.where(chosen, log_probabilities(y_pred, from_logits, -1), 0.0), -1)


def log_probabilities(y_pred: Tensor, from_logits: bool, axis: int) -> Tensor:
    if from_logits:
        return ops.log_softmax(y_pred, axis)
    return ops.log(clipped(y_pred / ops.sum(y_pred, axis, keepdims=True)))


def binary_crossentropies(y_true: Tensor, y_pred: Tensor, from_logits: bool) -> Tensor:
    if from_logits:
        return ops.softplus(y_pred) - y_true * y_pred
    p = clipped(y_pred)
    return -(y_true * ops.log(p) + (1.0 - y_true) * ops.log(1.0 - p))


def clipped(p: Tensor) -> Tensor:
    return ops.clip(p, config.epsilon(), 1.0 - config.epsilon())


def smooth(y_true: Tensor, amount: float, target: float) -> Tensor:
    """``amount`` of the label replaced by ``target``. Source: C. Szegedy et al., arXiv 1512.00567."""
    return y_true * (1.0 - amount) + amount * target if amount else y_true
