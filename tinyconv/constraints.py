"""Projections of weights, applied after each update: a constraint is called with a weight and gives its new value.

Norms are taken over ``axis``: 0 for a dense kernel (inputs, units) limits the weights into each unit, and (0, 1, 2)
for a convolution kernel (KH, KW, C, O) those of each filter.

Source: N. Srivastava et al., "Dropout", JMLR 15, 2014 (the max-norm constraint).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinyconv import config, ops
from tinyconv.checks import at_least_0
from tinyconv.registry import Configurable, Registry
from tinyconv.registry import serialize as serialize  # Keras has it here too
from tinyconv.tensor import Tensor

_registry = Registry("constraint")


def get(identifier: Any) -> Callable[[Tensor], Tensor] | None:
    """The constraint that ``identifier`` means: a name, a configuration, a class, any callable(tensor), or None.

    Examples
    --------
    >>> get("max_norm"), get(None)
    (MaxNorm(), None)
    """
    return None if identifier is None else _registry.get(identifier)


deserialize = get


class Constraint(Configurable):
    """Base class: subclasses define ``__call__(self, w)`` and keep their arguments as attributes of the same names."""

    def __call__(self, w: Any) -> Tensor:
        """The new value for ``w``, of the same shape."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, w)")


@_registry.register()
class MinMaxNorm(Constraint):
    """Norms brought into [min_value, max_value], all the way or by the fraction ``rate`` of the way.

    Parameters
    ----------
    min_value, max_value : float
        Limits of the norms.
    rate : float in [0, 1]
        How far norms outside move to the nearest limit.
    axis : int or tuple of int
        Axes of w over which norms are taken.

    Examples
    --------
    >>> MinMaxNorm(1.0, 2.0)([[3.0, 0.6], [4.0, 0.0]]).numpy().round(3).tolist()
    [[1.2000000476837158, 1.0], [1.600000023841858, 0.0]]
    """

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: int | Sequence[int] = 0
    ) -> None:
        if not 0 <= min_value <= max_value or not 0 <= rate <= 1:
            raise ValueError(
                "MinMaxNorm needs 0 <= min_value <= max_value and 0 <= rate <= 1. "
                f"Received: min_value={min_value!r}, max_value={max_value!r}, rate={rate!r}"
            )
        self.min_value, self.max_value, self.rate, self.axis = min_value, max_value, rate, axis

    def __call__(self, w: Any) -> Tensor:
        norms = _norms(w, self.axis)
        wanted = self.rate * ops.clip(norms, self.min_value, self.max_value) + (1 - self.rate) * norms
        return w * (wanted / (norms + config.epsilon()))


@_registry.register()
class MaxNorm(Constraint):
    """Norms greater than ``max_value`` scaled down to it.

    Parameters
    ----------
    max_value : float
        Limit of the norms.
    axis : int or tuple of int
        Axes of w over which norms are taken.

    Examples
    --------
    >>> MaxNorm(1.0)([[3.0, 0.6], [4.0, 0.0]]).numpy().round(3).tolist()
    [[0.6000000238418579, 0.6000000238418579], [0.800000011920929, 0.0]]
    """

    def __init__(self, max_value: float = 2.0, axis: int | Sequence[int] = 0) -> None:
        self.max_value, self.axis = at_least_0("max_value", max_value), axis

    def __call__(self, w: Any) -> Tensor:
        norms = _norms(w, self.axis)
        return w * (ops.clip(norms, 0.0, self.max_value) / (norms + config.epsilon()))


@_registry.register()
class UnitNorm(Constraint):
    """Norms scaled to 1.

    Parameters
    ----------
    axis : int or tuple of int
        Axes of w over which norms are taken.

    Examples
    --------
    >>> UnitNorm()([[3.0], [4.0]]).numpy().round(3).tolist()
    [[0.6000000238418579], [0.800000011920929]]
    """

    def __init__(self, axis: int | Sequence[int] = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Tensor:
        return w / (_norms(w, self.axis) + config.epsilon())


@_registry.register("nonneg", "non_negative")
class NonNeg(Constraint):
    """Negative weights become 0; w may have any shape.

    Examples
    --------
    >>> NonNeg()([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    """

    def __call__(self, w: Any) -> Tensor:
        return ops.maximum(w, 0.0)


min_max_norm, max_norm, unit_norm, non_neg = MinMaxNorm, MaxNorm, UnitNorm, NonNeg  # Keras's other spelling


def _norms(w: Any, axis: int | Sequence[int]) -> Tensor:
    return ops.sqrt(ops.sum(ops.square(w), axis, keepdims=True))
