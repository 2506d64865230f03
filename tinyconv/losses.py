"""Losses: how far predictions are from the truth, as functions per sample and as objects that give one number.

``mean_squared_error(y_true, y_pred)`` gives one loss per sample; ``MeanSquaredError()(y_true, y_pred)`` the mean over
the batch. Everything is made of differentiable operations, so gradients of any order flow. Letters: batch ``N``,
classes or values ``C``; ``...`` are further axes, such as the height and width of a segmentation.

Sources: formulas and names of Keras 3; others are named where they are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyconv import backends, config, ops
from tinyconv.ops.elementwise import as_float, as_tensor
from tinyconv.registry import Configurable, Registry, serialize, set_name
from tinyconv.tensor import Tensor

REDUCTIONS = ("sum_over_batch_size", "sum", "none", None)


class Loss(Configurable):
    """Base of all losses. A subclass defines ``call(y_true, y_pred)``, which gives one loss per sample.

    Parameters
    ----------
    name : str, optional
        Shown in logs.
    reduction : str or None
        ``"sum_over_batch_size"``: (weighted) sum divided by the number of losses; ``"sum"``; ``None``: all of them.

    Examples
    --------
    >>> import tinyconv as tc
    >>> from tinyconv.losses import Loss
    >>> class Distance(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return tc.ops.sum(abs(y_true - y_pred), axis=-1)
    >>> Distance()([[0.0, 0.0], [1.0, 1.0]], [[1.0, 2.0], [1.0, 0.0]]).item()
    2.0
    """

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size") -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(
                f"reduction must be 'sum_over_batch_size', 'sum' or None. Received: {reduction!r}"
            )
        self.name = name or type(self).__name__
        self.reduction = reduction

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """The loss of a batch.

        Parameters
        ----------
        y_true : array_like or Tensor
            Truth, any dtype; it is cast to the dtype of ``y_pred``.
        y_pred : array_like or Tensor
            Predictions.
        sample_weight : array_like or Tensor, optional
            Factor of each loss: shape (N,) or (N, 1), or the shape of the losses.

        Returns
        -------
        Tensor, shape (), or the shape of the losses for ``reduction=None``
        """
        losses = self.call(None if y_true is None else as_tensor(y_true), as_float(y_pred))
        if sample_weight is not None:
            losses = losses * _weights(sample_weight, losses, self.name)
        if self.reduction in (None, "none"):
            return losses
        total = ops.sum(losses)
        return total if self.reduction == "sum" else total / max(losses.size, 1)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """One loss per sample, not weighted: shape (N,) or (N, ...)."""
        raise NotImplementedError(f"{type(self).__name__} must define call(y_true, y_pred)")


class LossFunctionWrapper(Loss):
    """A function ``fn(y_true, y_pred, **settings)`` that gives one loss per sample, as a loss object.

    Examples
    --------
    >>> from tinyconv.losses import LossFunctionWrapper
    >>> LossFunctionWrapper(lambda y_true, y_pred: (y_true - y_pred) ** 4)([1.0, 2.0], [1.0, 4.0]).item()
    8.0
    """

    def __init__(
        self,
        fn: Callable[..., Tensor] | str,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        **settings: Any,
    ) -> None:
        self.fn = registry.find(fn) if isinstance(fn, str) else fn
        self.settings = settings
        super().__init__(name or getattr(self.fn, "__name__", None), reduction)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return self.fn(y_true, y_pred, **self.settings)

    def get_config(self) -> dict[str, Any]:
        return {"fn": serialize(self.fn), "reduction": self.reduction, "name": self.name, **self.settings}


registry = Registry("loss", Loss)


def get(identifier: Any) -> Loss:
    """The loss that ``identifier`` means.

    Parameters
    ----------
    identifier : str, dict, callable, class or Loss
        A name (``"mse"``, ``"categorical_crossentropy"``, ``"Huber"``), a configuration as ``serialize`` gives it, a
        function ``(y_true, y_pred) -> losses``, or the loss itself.

    Examples
    --------
    >>> import tinyconv as tc
    >>> from tinyconv import losses
    >>> losses.get("mse"), losses.get({"class_name": "Huber", "config": {"delta": 2.0}})
    (MeanSquaredError(), Huber(delta=2.0))
    """
    if callable(identifier) and not isinstance(identifier, type | Loss):
        if getattr(identifier, "__module__", None) == __name__:  # losses.mse and the like have classes of their own
            return registry.get(identifier.__name__)
        return LossFunctionWrapper(identifier)
    if isinstance(identifier, str) and not isinstance(found := registry.find(identifier), type):
        return LossFunctionWrapper(found)  # a function that its author registered
    return registry.get(identifier)


# --- regression ------------------------------------------------------------------------------------------------


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """``mean((y_true - y_pred) ** 2)`` over the last axis: (N, ..., C) -> (N, ...); (N,) stays (N,)."""
    y_true, y_pred = _operands(y_true, y_pred, "mean_squared_error")
    return _mean(ops.square(y_pred - y_true))


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(|y_true - y_pred|)`` over the last axis: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = _operands(y_true, y_pred, "mean_absolute_error")
    return _mean(ops.abs(y_pred - y_true))


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Tensor:
    """``100 * mean(|(y_true - y_pred) / y_true|)`` over the last axis: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = _operands(y_true, y_pred, "mean_absolute_percentage_error")
    return 100.0 * _mean(ops.abs((y_true - y_pred) / ops.maximum(ops.abs(y_true), config.epsilon())))


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Tensor:
    """``mean((log(1 + y_true) - log(1 + y_pred)) ** 2)`` over the last axis: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = _operands(y_true, y_pred, "mean_squared_logarithmic_error")
    first, second = (ops.log1p(ops.maximum(y, config.epsilon())) for y in (y_pred, y_true))
    return _mean(ops.square(first - second))


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Tensor:
    """Mean over the last axis of ``e**2 / 2`` where ``|e| <= delta``, else ``delta * (|e| - delta / 2)``.

    Quadratic for small errors, linear for outliers; e = y_pred - y_true. (N, ..., C) -> (N, ...)

    Source: P. Huber, "Robust estimation of a location parameter", 1964.
    """
    y_true, y_pred = _operands(y_true, y_pred, "huber")
    error = y_pred - y_true
    size = ops.abs(error)
    return _mean(ops.where(size <= delta, 0.5 * ops.square(error), delta * size - 0.5 * delta * delta))


def log_cosh(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(log(cosh(y_pred - y_true)))`` over the last axis, without overflow: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = _operands(y_true, y_pred, "log_cosh")
    error = y_pred - y_true
    return _mean(error + ops.softplus(-2.0 * error) - math.log(2.0))


def poisson(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(y_pred - y_true * log(y_pred))`` over the last axis: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = _operands(y_true, y_pred, "poisson")
    return _mean(y_pred - y_true * ops.log(y_pred + config.epsilon()))


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Minus the cosine of the angle between the vectors along ``axis``: -1 is best. (N, ..., C) -> (N, ...)."""
    y_true, y_pred = _operands(y_true, y_pred, "cosine_similarity")
    return -ops.sum(_unit(y_true, axis) * _unit(y_pred, axis), axis)


# --- classification --------------------------------------------------------------------------------------------


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
    y_true, y_pred = _operands(y_true, y_pred, "categorical_crossentropy")
    y_true = _smooth(y_true, label_smoothing, 1.0 / max(y_pred.shape[axis], 1))
    return -ops.sum(y_true * _log_probabilities(y_pred, from_logits, axis), axis)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """Cross-entropy for class numbers: ``-log(y_pred[y_true])``, (N, ..., C) -> (N, ...).

    Parameters
    ----------
    y_true : array_like or Tensor, shape (N, ...) or (N, ..., 1)
        Class numbers 0 .. C-1, of any dtype.
    y_pred : array_like or Tensor, shape (N, ..., C)
        Probabilities, or logits with ``from_logits``.

    Raises
    ------
    ValueError
        When a label is NaN, no whole number, or outside [0, C).

    Examples
    --------
    >>> from tinyconv.losses import sparse_categorical_crossentropy
    >>> [round(loss, 4) for loss in sparse_categorical_crossentropy([1, 0], [[0.5, 0.5], [0.8, 0.2]]).tolist()]
    [0.6931, 0.2231]
    """
    return _sparse(y_true, y_pred, from_logits, axis, "sparse_categorical_crossentropy")


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
    y_true, y_pred = _operands(y_true, y_pred, "binary_crossentropy")
    y_true = _smooth(y_true, label_smoothing, 0.5)
    return _mean(_binary_crossentropies(y_true, y_pred, from_logits), axis)


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

    Source: T.-Y. Lin et al., "Focal loss for dense object detection", arXiv 1708.02002.
    """
    y_true, y_pred = _operands(y_true, y_pred, "categorical_focal_crossentropy")
    y_true = _smooth(y_true, label_smoothing, 1.0 / max(y_pred.shape[axis], 1))
    log_p = _log_probabilities(y_pred, from_logits, axis)
    return -ops.sum(alpha * ops.power(1.0 - ops.exp(log_p), gamma) * y_true * log_p, axis)


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

    Source: T.-Y. Lin et al., "Focal loss for dense object detection", arXiv 1708.02002.
    """
    y_true, y_pred = _operands(y_true, y_pred, "binary_focal_crossentropy")
    y_true = _smooth(y_true, label_smoothing, 0.5)
    p = ops.sigmoid(y_pred) if from_logits else _clipped(y_pred)
    missed = y_true * (1.0 - p) + (1.0 - y_true) * p
    losses = ops.power(missed, gamma) * _binary_crossentropies(y_true, y_pred, from_logits)
    if apply_class_balancing:
        losses = losses * (y_true * alpha + (1.0 - y_true) * (1.0 - alpha))
    return _mean(losses, axis)


def kl_divergence(y_true: Any, y_pred: Any) -> Tensor:
    """``sum(y_true * log(y_true / y_pred))`` over the last axis, both clipped to [epsilon, 1]: (N, C) -> (N,)."""
    y_true, y_pred = _operands(y_true, y_pred, "kl_divergence")
    y_true, y_pred = (ops.clip(y, config.epsilon(), 1.0) for y in (y_true, y_pred))
    return ops.sum(y_true * ops.log(y_true / y_pred), -1)


def hinge(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(max(0, 1 - y_true * y_pred))`` over the last axis, labels -1 and 1 (0 counts as -1): (N, C) -> (N,)."""
    y_true, y_pred = _operands(y_true, y_pred, "hinge")
    return _mean(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0))


def squared_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(max(0, 1 - y_true * y_pred) ** 2)`` over the last axis, labels -1 and 1 (0 counts as -1)."""
    y_true, y_pred = _operands(y_true, y_pred, "squared_hinge")
    return _mean(ops.square(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0)))


def categorical_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """``max(0, 1 + max((1 - y_true) * y_pred) - sum(y_true * y_pred))`` over the classes: (N, C) -> (N,)."""
    y_true, y_pred = _operands(y_true, y_pred, "categorical_hinge")
    right = ops.sum(y_true * y_pred, -1)
    wrong = ops.max((1.0 - y_true) * y_pred, -1)
    return ops.maximum(wrong - right + 1.0, 0.0)


# --- contrastive -----------------------------------------------------------------------------------------------


def contrastive(y_true: Any, y_pred: Any, margin: float = 1.0) -> Tensor:
    """``D**2`` for pairs that belong together, ``max(0, margin - D)**2`` for others; D is their L2 distance.

    Parameters
    ----------
    y_true : array_like or Tensor, shape (N,) or (N, 1)
        1 for a pair that belongs together, else 0.
    y_pred : array_like or Tensor, shape of ``y_true``, or (N, 2, E)
        Distances, or pairs of embeddings of E values.

    Source: R. Hadsell et al., "Dimensionality reduction by learning an invariant mapping", 2006.

    Examples
    --------
    >>> from tinyconv.losses import contrastive
    >>> contrastive([1, 0], [0.25, 0.25]).tolist()
    [0.0625, 0.5625]
    """
    y_true, y_pred = as_tensor(y_true), as_float(y_pred)
    if y_pred.ndim == 3 and y_pred.shape[1] == 2 and y_true.size == len(y_pred):
        squared = _squared_distance(y_pred[:, 0], y_pred[:, 1])
        y_pred = ops.sqrt(ops.maximum(squared, config.epsilon() ** 2))  # a distance of 0 would have no gradient
        y_true = ops.reshape(y_true, y_pred.shape)
    y_true, distance = _operands(y_true, y_pred, "contrastive")
    apart = ops.square(ops.maximum(margin - distance, 0.0))
    return _mean(y_true * ops.square(distance) + (1.0 - y_true) * apart)


def triplet(y_true: Any, y_pred: Any, margin: float = 1.0) -> Tensor:
    """``max(0, Dp**2 - Dn**2 + margin)``: the positive must be nearer to the anchor than the negative.

    Parameters
    ----------
    y_true : ignored
        There are no labels: the order of ``y_pred`` says what is what.
    y_pred : array_like or Tensor, shape (N, 2) or (N, 3, E)
        L2 distances (Dp, Dn) from the anchor, or embeddings of E values (anchor, positive, negative).

    Returns
    -------
    Tensor, shape (N,)

    Source: F. Schroff et al., "FaceNet", arXiv 1503.03832.

    Examples
    --------
    >>> from tinyconv.losses import triplet
    >>> triplet(None, [[0.5, 1.0]], margin=1.0).tolist()
    [0.25]
    """
    y_pred = _at_least_float32(y_pred)
    if y_pred.ndim == 3 and y_pred.shape[1] == 3:
        anchor, positive, negative = (y_pred[:, i] for i in range(3))
        near, far = _squared_distance(anchor, positive), _squared_distance(anchor, negative)
    elif y_pred.ndim == 2 and y_pred.shape[1] == 2:
        near, far = ops.square(y_pred[:, 0]), ops.square(y_pred[:, 1])
    else:
        raise ValueError(
            "triplet expected y_pred to be distances (N, 2) to the positive and the negative, or embeddings "
            f"(N, 3, E) of anchor, positive and negative. Received: {y_pred.shape}"
        )
    return ops.maximum(near - far + margin, 0.0)


def infonce(y_true: Any, y_pred: Any, temperature: float = 1.0) -> Tensor:
    """``-log(exp(s[y_true] / temperature) / sum(exp(s / temperature)))``: the positive must score highest.

    Parameters
    ----------
    y_true : array_like or Tensor, shape (N,) or (N, 1)
        Number of the candidate that belongs to the sample. With ``y_pred = x @ y.T`` for N pairs of embeddings,
        the others of the batch are the negatives and ``y_true`` is ``arange(N)``.
    y_pred : array_like or Tensor, shape (N, K)
        Scores of K candidates, inner products of embeddings.

    Returns
    -------
    Tensor, shape (N,)

    Source: A. van den Oord et al., "Representation learning with contrastive predictive coding", arXiv 1807.03748.

    Examples
    --------
    >>> from tinyconv.losses import infonce
    >>> round(infonce([0], [[2.0, 0.0, 1.0]]).item(), 6)
    0.407606
    """
    return _sparse(y_true, _at_least_float32(y_pred) / temperature, True, -1, "infonce")


# --- the same as objects ---------------------------------------------------------------------------------------


class _PlainLoss(Loss):
    """A loss whose ``function(y_true, y_pred)`` has no settings."""

    function: Callable[[Any, Any], Tensor]

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = None) -> None:
        super().__init__(name or self.function.__name__, reduction)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return self.function(y_true, y_pred)


@registry.register("mse")
class MeanSquaredError(_PlainLoss):
    """:func:`mean_squared_error`, averaged over the batch.

    Examples
    --------
    >>> from tinyconv.losses import MeanSquaredError
    >>> MeanSquaredError()([[0.0], [0.0]], [[1.0], [3.0]]).item()
    5.0
    """

    function = staticmethod(mean_squared_error)


@registry.register("mae")
class MeanAbsoluteError(_PlainLoss):
    """:func:`mean_absolute_error`, averaged over the batch."""

    function = staticmethod(mean_absolute_error)


@registry.register("mape")
class MeanAbsolutePercentageError(_PlainLoss):
    """:func:`mean_absolute_percentage_error`, averaged over the batch."""

    function = staticmethod(mean_absolute_percentage_error)


@registry.register("msle")
class MeanSquaredLogarithmicError(_PlainLoss):
    """:func:`mean_squared_logarithmic_error`, averaged over the batch."""

    function = staticmethod(mean_squared_logarithmic_error)


@registry.register("huber_loss")
class Huber(Loss):
    """:func:`huber`, averaged over the batch.

    Parameters
    ----------
    delta : float
        Error at which the loss turns from quadratic to linear.

    Examples
    --------
    >>> from tinyconv.losses import Huber
    >>> Huber(delta=1.0, reduction=None)([0.0, 0.0, 0.0], [0.5, 1.0, 3.0]).tolist()
    [0.125, 0.5, 2.5]
    """

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
    ) -> None:
        super().__init__(name, reduction)
        self.delta = _positive("delta", delta)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return huber(y_true, y_pred, self.delta)


@registry.register()
class LogCosh(_PlainLoss):
    """:func:`log_cosh`, averaged over the batch."""

    function = staticmethod(log_cosh)


@registry.register()
class Poisson(_PlainLoss):
    """:func:`poisson`, averaged over the batch."""

    function = staticmethod(poisson)


@registry.register("cosine_proximity")
class CosineSimilarity(Loss):
    """:func:`cosine_similarity` (minus the cosine, so that less is better), averaged over the batch."""

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
    ) -> None:
        super().__init__(name, reduction)
        self.axis = axis

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return cosine_similarity(y_true, y_pred, self.axis)


@registry.register()
class CategoricalCrossentropy(Loss):
    """:func:`categorical_crossentropy`, averaged over the batch.

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

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        self.from_logits, self.axis = from_logits, axis
        self.label_smoothing = _fraction("label_smoothing", label_smoothing)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return categorical_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing, self.axis)


@registry.register()
class SparseCategoricalCrossentropy(Loss):
    """:func:`sparse_categorical_crossentropy`, averaged over the batch.

    Parameters
    ----------
    from_logits : bool
        Whether predictions are logits, before softmax, instead of probabilities.
    axis : int
        Where the classes are.

    Examples
    --------
    >>> from tinyconv.losses import SparseCategoricalCrossentropy
    >>> round(SparseCategoricalCrossentropy(from_logits=True)([0], [[1.0, 0.0]]).item(), 6)
    0.313262
    """

    def __init__(
        self,
        from_logits: bool = False,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "sparse_categorical_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        self.from_logits, self.axis = from_logits, axis

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return sparse_categorical_crossentropy(y_true, y_pred, self.from_logits, self.axis)


@registry.register("bce")
class BinaryCrossentropy(Loss):
    """:func:`binary_crossentropy`, averaged over the batch.

    Parameters
    ----------
    from_logits : bool
        Whether predictions are logits, before the sigmoid, instead of probabilities.
    label_smoothing : float in [0, 1]
        Share of ``y_true`` that is replaced by 1/2.
    axis : int
        Axis over which the mean of a sample is taken.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        self.from_logits, self.axis = from_logits, axis
        self.label_smoothing = _fraction("label_smoothing", label_smoothing)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return binary_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing, self.axis)


@registry.register()
class CategoricalFocalCrossentropy(Loss):
    """:func:`categorical_focal_crossentropy`, averaged over the batch.

    Parameters
    ----------
    alpha : float
        Factor of the loss.
    gamma : float
        How strongly samples that are predicted well are discounted; 0 is the plain cross-entropy.
    from_logits, label_smoothing, axis
        As for :class:`CategoricalCrossentropy`.
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        self.alpha, self.gamma, self.from_logits, self.axis = alpha, gamma, from_logits, axis
        self.label_smoothing = _fraction("label_smoothing", label_smoothing)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return categorical_focal_crossentropy(
            y_true, y_pred, self.alpha, self.gamma, self.from_logits, self.label_smoothing, self.axis
        )


@registry.register()
class BinaryFocalCrossentropy(Loss):
    """:func:`binary_focal_crossentropy`, averaged over the batch.

    Parameters
    ----------
    apply_class_balancing : bool
        Multiply by ``alpha`` for class 1 and ``1 - alpha`` for class 0.
    alpha, gamma : float
        Weight of class 1; discount of samples that are predicted well.
    from_logits, label_smoothing, axis
        As for :class:`BinaryCrossentropy`.
    """

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
    ) -> None:
        super().__init__(name, reduction)
        self.apply_class_balancing, self.alpha, self.gamma = apply_class_balancing, alpha, gamma
        self.from_logits, self.axis = from_logits, axis
        self.label_smoothing = _fraction("label_smoothing", label_smoothing)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return binary_focal_crossentropy(
            y_true,
            y_pred,
            self.apply_class_balancing,
            self.alpha,
            self.gamma,
            self.from_logits,
            self.label_smoothing,
            self.axis,
        )


@registry.register("kld", "kullback_leibler_divergence")
class KLDivergence(_PlainLoss):
    """:func:`kl_divergence`, averaged over the batch."""

    function = staticmethod(kl_divergence)


@registry.register()
class Hinge(_PlainLoss):
    """:func:`hinge`, averaged over the batch."""

    function = staticmethod(hinge)


@registry.register()
class SquaredHinge(_PlainLoss):
    """:func:`squared_hinge`, averaged over the batch."""

    function = staticmethod(squared_hinge)


@registry.register()
class CategoricalHinge(_PlainLoss):
    """:func:`categorical_hinge`, averaged over the batch."""

    function = staticmethod(categorical_hinge)


@registry.register("contrastive")
class ContrastiveLoss(Loss):
    """:func:`contrastive`, averaged over the batch.

    Parameters
    ----------
    margin : float
        Distance beyond which pairs that do not belong together cost nothing.
    """

    def __init__(
        self,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "contrastive",
    ) -> None:
        super().__init__(name, reduction)
        self.margin = _positive("margin", margin)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return contrastive(y_true, y_pred, self.margin)


@registry.register("triplet")
class TripletLoss(Loss):
    """:func:`triplet`, averaged over the batch.

    Parameters
    ----------
    margin : float
        How much smaller the squared distance of the positive must be.
    """

    def __init__(
        self,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "triplet",
    ) -> None:
        super().__init__(name, reduction)
        self.margin = margin

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return triplet(y_true, y_pred, self.margin)


@registry.register()
class InfoNCE(Loss):
    """:func:`infonce`, averaged over the batch.

    Parameters
    ----------
    temperature : float
        Scores are divided by it; small values care most about the strongest negatives.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> from tinyconv.losses import InfoNCE
    >>> x, y = tc.Tensor(np.eye(4)), tc.Tensor(np.eye(4))  # embeddings of 4 pairs
    >>> round(InfoNCE(temperature=0.1)(np.arange(4), x @ y.T).item(), 6)
    0.000136
    """

    def __init__(
        self,
        temperature: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "infonce",
    ) -> None:
        super().__init__(name, reduction)
        self.temperature = _positive("temperature", temperature)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return infonce(y_true, y_pred, self.temperature)


registry.register()(LossFunctionWrapper)
for _function in (
    mean_squared_error, mean_absolute_error, mean_absolute_percentage_error, mean_squared_logarithmic_error, huber,
    log_cosh, poisson, cosine_similarity, categorical_crossentropy, sparse_categorical_crossentropy,
    binary_crossentropy, categorical_focal_crossentropy, binary_focal_crossentropy, kl_divergence, hinge, squared_hinge,
    categorical_hinge, contrastive, triplet, infonce,
):  # fmt: skip
    set_name(_function, _function.__name__)  # in files, a function is the class of the same name

mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
bce = BCE = binary_crossentropy
kld = KLD = kullback_leibler_divergence = kl_divergence
logcosh = log_cosh


# --- helpers ---------------------------------------------------------------------------------------------------


def check_labels(labels: Any, classes: int, name: str = "labels") -> None:
    """Raise unless all ``labels`` are whole numbers in [0, ``classes``)."""
    values = np.asarray(labels)
    if values.dtype.kind == "b" or not values.size:
        return
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        wrong = values[~(np.isfinite(values) & (values == np.rint(values)))]
        raise ValueError(f"{name} expected labels that are whole numbers. Received: {wrong.flat[0]}")
    low, high = values.min(), values.max()
    if low < 0 or high >= classes:
        raise ValueError(
            f"{name} expected labels 0 .. {classes - 1} for {classes} classes. "
            f"Received: {low if low < 0 else high}"
        )


def _at_least_float32(y: Any) -> Tensor:
    """Losses of float16 predictions are computed in float32, where 1 - epsilon is not yet 1."""
    y = as_float(y)
    return ops.astype(y, np.float32) if y.dtype == np.float16 else y


def _operands(y_true: Any, y_pred: Any, name: str) -> tuple[Tensor, Tensor]:
    """Truth and predictions as tensors of one shape and one floating-point dtype."""
    y_true, y_pred = as_tensor(y_true), _at_least_float32(y_pred)
    if y_true.shape != y_pred.shape:
        sparse = name == "categorical_crossentropy" and y_true.shape in (y_pred.shape[:-1], (*y_pred.shape[:-1], 1))
        hint = " (for class numbers, use sparse_categorical_crossentropy)" if sparse else ""
        raise ValueError(
            f"{name} expected y_true of the shape of y_pred, {y_pred.shape}{hint}. "
            f"Received: y_true of shape {y_true.shape}"
        )
    return ops.astype(y_true, y_pred.dtype), y_pred


def _sparse(y_true: Any, y_pred: Any, from_logits: bool, axis: int, name: str) -> Tensor:
    """Cross-entropy of class numbers; their place is chosen by comparison, which every device does alike."""
    labels, y_pred = as_tensor(y_true), _at_least_float32(y_pred)
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
    return -ops.sum(ops.where(chosen, _log_probabilities(y_pred, from_logits, -1), 0.0), -1)


def _log_probabilities(y_pred: Tensor, from_logits: bool, axis: int) -> Tensor:
    if from_logits:
        return ops.log_softmax(y_pred, axis)
    return ops.log(_clipped(y_pred / ops.sum(y_pred, axis, keepdims=True)))


def _binary_crossentropies(y_true: Tensor, y_pred: Tensor, from_logits: bool) -> Tensor:
    if from_logits:
        return ops.softplus(y_pred) - y_true * y_pred
    p = _clipped(y_pred)
    return -(y_true * ops.log(p) + (1.0 - y_true) * ops.log(1.0 - p))


def _clipped(p: Tensor) -> Tensor:
    return ops.clip(p, config.epsilon(), 1.0 - config.epsilon())


def _smooth(y_true: Tensor, amount: float, target: float) -> Tensor:
    """``amount`` of the label replaced by ``target``. Source: C. Szegedy et al., arXiv 1512.00567."""
    return y_true * (1.0 - amount) + amount * target if amount else y_true


def _signs(y_true: Tensor) -> Tensor:
    """Labels 0 and 1 as -1 and 1."""
    return ops.where(ops.equal(y_true, 0), -1.0, y_true)


def _mean(losses: Tensor, axis: int = -1) -> Tensor:
    """Mean over the values of a sample; a single axis is the batch."""
    return ops.mean(losses, axis) if losses.ndim > 1 else losses


def _unit(x: Tensor, axis: int) -> Tensor:
    return x / ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis, keepdims=True), 1e-12))


def _squared_distance(x: Tensor, y: Tensor) -> Tensor:
    return ops.sum(ops.square(x - y), -1)


def _weights(sample_weight: Any, losses: Tensor, name: str) -> Tensor:
    """Weights with as many axes as the losses, to be broadcast against them."""
    weights = ops.astype(as_tensor(sample_weight), losses.dtype)
    shape = weights.shape
    if len(shape) == losses.ndim + 1 and shape[-1] == 1:
        shape = shape[:-1]
    shape = (*shape, *[1] * (losses.ndim - len(shape)))
    if len(shape) != losses.ndim or any(n not in (1, size) for n, size in zip(shape, losses.shape, strict=True)):
        raise ValueError(
            f"{name} expected sample_weight of shape {losses.shape[:1]} or {losses.shape}. Received: {weights.shape}"
        )
    return ops.reshape(weights, shape)


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1]. Received: {value!r}")
    return value


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name} must be > 0. Received: {value!r}")
    return value
