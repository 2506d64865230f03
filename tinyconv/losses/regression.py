"""Losses of numbers: squares, absolute values, logarithms and angles."""

from __future__ import annotations

import math
from typing import Any

from tinyconv import config, ops
from tinyconv.checks import positive
from tinyconv.losses.base import FunctionLoss, known_by_name, mean_of_sample, operands, registry
from tinyconv.tensor import Tensor


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """``mean((y_true - y_pred) ** 2)`` over the last axis: (N, ..., C) -> (N, ...); (N,) stays (N,)."""
    y_true, y_pred = operands(y_true, y_pred, "mean_squared_error")
    return mean_of_sample(ops.square(y_pred - y_true))


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(|y_true - y_pred|)`` over the last axis: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = operands(y_true, y_pred, "mean_absolute_error")
    return mean_of_sample(ops.abs(y_pred - y_true))


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Tensor:
    """``100 * mean(|(y_true - y_pred) / y_true|)`` over the last axis: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = operands(y_true, y_pred, "mean_absolute_percentage_error")
    return 100.0 * mean_of_sample(ops.abs((y_true - y_pred) / ops.maximum(ops.abs(y_true), config.epsilon())))


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Tensor:
    """``mean((log(1 + y_true) - log(1 + y_pred)) ** 2)`` over the last axis: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = operands(y_true, y_pred, "mean_squared_logarithmic_error")
    first, second = (ops.log1p(ops.maximum(y, config.epsilon())) for y in (y_pred, y_true))
    return mean_of_sample(ops.square(first - second))


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Tensor:
    """Mean over the last axis of ``e**2 / 2`` where ``|e| <= delta``, else ``delta * (|e| - delta / 2)``.

    Quadratic for small errors, linear for outliers; e = y_pred - y_true. (N, ..., C) -> (N, ...)

    Source: P. Huber, "Robust estimation of a location parameter", 1964.
    """
    y_true, y_pred = operands(y_true, y_pred, "huber")
    error = y_pred - y_true
    size = ops.abs(error)
    return mean_of_sample(ops.where(size <= delta, 0.5 * ops.square(error), delta * size - 0.5 * delta * delta))


def log_cosh(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(log(cosh(y_pred - y_true)))`` over the last axis, without overflow: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = operands(y_true, y_pred, "log_cosh")
    error = y_pred - y_true
    return mean_of_sample(error + ops.softplus(-2.0 * error) - math.log(2.0))


def poisson(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(y_pred - y_true * log(y_pred))`` over the last axis: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = operands(y_true, y_pred, "poisson")
    return mean_of_sample(y_pred - y_true * ops.log(y_pred + config.epsilon()))


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Minus the cosine of the angle between the vectors along ``axis``: -1 is best. (N, ..., C) -> (N, ...)."""
    y_true, y_pred = operands(y_true, y_pred, "cosine_similarity")
    return -ops.sum(_unit(y_true, axis) * _unit(y_pred, axis), axis)


@registry.register("mse")
class MeanSquaredError(FunctionLoss):
    """:func:`mean_squared_error`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Examples
    --------
    >>> from tinyconv.losses import MeanSquaredError
    >>> MeanSquaredError()([[0.0], [0.0]], [[1.0], [3.0]]).item()
    5.0
    """

    function = staticmethod(mean_squared_error)


@registry.register("mae")
class MeanAbsoluteError(FunctionLoss):
    """:func:`mean_absolute_error`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Examples
    --------
    >>> from tinyconv.losses import MeanAbsoluteError
    >>> MeanAbsoluteError()([[0.0], [0.0]], [[1.0], [3.0]]).item()
    2.0
    """

    function = staticmethod(mean_absolute_error)


@registry.register("mape")
class MeanAbsolutePercentageError(FunctionLoss):
    """:func:`mean_absolute_percentage_error`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Examples
    --------
    >>> from tinyconv.losses import MeanAbsolutePercentageError
    >>> MeanAbsolutePercentageError()([[2.0], [4.0]], [[1.0], [5.0]]).item()
    37.5
    """

    function = staticmethod(mean_absolute_percentage_error)


@registry.register("msle")
class MeanSquaredLogarithmicError(FunctionLoss):
    """:func:`mean_squared_logarithmic_error`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Examples
    --------
    >>> from tinyconv.losses import MeanSquaredLogarithmicError
    >>> round(MeanSquaredLogarithmicError()([[0.0]], [[1.718282]]).item(), 4)
    1.0
    """

    function = staticmethod(mean_squared_logarithmic_error)


@registry.register("huber_loss")
class Huber(FunctionLoss):
    """:func:`huber`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

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

    function = staticmethod(huber)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.delta = positive("delta", delta)


@registry.register()
class LogCosh(FunctionLoss):
    """:func:`log_cosh`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Examples
    --------
    >>> from tinyconv.losses import LogCosh
    >>> round(LogCosh()([[0.0]], [[1.0]]).item(), 4)
    0.4338
    """

    function = staticmethod(log_cosh)


@registry.register()
class Poisson(FunctionLoss):
    """:func:`poisson`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Examples
    --------
    >>> from tinyconv.losses import Poisson
    >>> round(Poisson()([[2.0]], [[1.0]]).item(), 4)
    1.0
    """

    function = staticmethod(poisson)


@registry.register("cosine_proximity")
class CosineSimilarity(FunctionLoss):
    """:func:`cosine_similarity`, minus the cosine, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Examples
    --------
    >>> from tinyconv.losses import CosineSimilarity
    >>> round(CosineSimilarity()([[1.0, 0.0]], [[3.0, 4.0]]).item(), 4)
    -0.6
    """

    function = staticmethod(cosine_similarity)

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.axis = axis


known_by_name(
    mean_squared_error, mean_absolute_error, mean_absolute_percentage_error, mean_squared_logarithmic_error, huber,
    log_cosh, poisson, cosine_similarity,
)  # fmt: skip
mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
logcosh = log_cosh


def _unit(x: Tensor, axis: int) -> Tensor:
    return x / ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis, keepdims=True), 1e-12))
