"""Focal losses: cross-entropies in which what is already predicted well counts less.

Source: T.-Y. Lin et al., "Focal loss for dense object detection", arXiv 1708.02002.
"""

from __future__ import annotations

from typing import Any

from tinyconv import config, ops
from tinyconv.checks import fraction
from tinyconv.losses.base import FunctionLoss, known_by_name, mean_of_sample, operands, registry
from tinyconv.losses.crossentropy import binary_crossentropies, clipped, log_probabilities, smooth
from tinyconv.tensor import Tensor


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """``-sum(alpha * (1 - y_pred)**gamma * y_true * log(y_pred))`` over the classes: (N, ..., C) -> (N, ...).

    Like :func:`categorical_crossentropy`, but what is already predicted well counts less.
    """
    y_true, y_pred = operands(y_true, y_pred, "categorical_focal_crossentropy")
    y_true = smooth(y_true, label_smoothing, 1.0 / max(y_pred.shape[axis], 1))
    log_p = log_probabilities(y_pred, from_logits, axis)
    return -ops.sum(alpha * _discount(1.0 - ops.exp(log_p), gamma) * y_true * log_p, axis)


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Mean over ``axis`` of ``(1 - p)**gamma`` times the binary cross-entropy: (N, ..., C) -> (N, ...).

    p is the probability given to the true class. ``apply_class_balancing`` also multiplies by ``alpha`` for class 1
    and ``1 - alpha`` for class 0.
    """
    y_true, y_pred = operands(y_true, y_pred, "binary_focal_crossentropy")
    y_true = smooth(y_true, label_smoothing, 0.5)
    p = ops.sigmoid(y_pred) if from_logits else clipped(y_pred)
    missed = y_true * (1.0 - p) + (1.0 - y_true) * p
    losses = _discount(missed, gamma) * binary_crossentropies(y_true, y_pred, from_logits)
    if apply_class_balancing:
        losses = losses * (y_true * alpha + (1.0 - y_true) * (1.0 - alpha))
    return mean_of_sample(losses, axis)


@registry.register()
class CategoricalFocalCrossentropy(FunctionLoss):
    """:func:`categorical_focal_crossentropy`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Parameters
    ----------
    alpha : float
        Factor of the loss.
    gamma : float
        How strongly samples that are predicted well are discounted; 0 is the plain cross-entropy.
    from_logits, label_smoothing, axis
        As for :class:`CategoricalCrossentropy`.

    Examples
    --------
    >>> from tinyconv.losses import CategoricalFocalCrossentropy
    >>> round(CategoricalFocalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.0433
    """

    function = staticmethod(categorical_focal_crossentropy)

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.alpha, self.gamma, self.from_logits, self.axis = alpha, gamma, from_logits, axis
        self.label_smoothing = fraction("label_smoothing", label_smoothing)


@registry.register()
class BinaryFocalCrossentropy(FunctionLoss):
    """:func:`binary_focal_crossentropy`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Parameters
    ----------
    apply_class_balancing : bool
        Multiply by ``alpha`` for class 1 and ``1 - alpha`` for class 0.
    alpha, gamma : float
        Weight of class 1; discount of samples that are predicted well.
    from_logits, label_smoothing, axis
        As for :class:`BinaryCrossentropy`.

    Examples
    --------
    >>> from tinyconv.losses import BinaryFocalCrossentropy
    >>> loss = BinaryFocalCrossentropy(reduction=None)
    >>> [round(value, 3) for value in loss([[1.0], [1.0]], [[0.9], [0.1]]).tolist()]  # right, wrong
    [0.001, 1.865]
    """

    function = staticmethod(binary_focal_crossentropy)

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.apply_class_balancing, self.alpha, self.gamma = apply_class_balancing, alpha, gamma
        self.from_logits, self.axis = from_logits, axis
        self.label_smoothing = fraction("label_smoothing", label_smoothing)


known_by_name(categorical_focal_crossentropy, binary_focal_crossentropy)


def _discount(missed: Tensor, gamma: float) -> Tensor:
    """``missed**gamma``; not of 0, where powers below 1 are infinitely steep."""
    return ops.power(ops.maximum(missed, config.epsilon()), gamma)
