"""Penalties on weights, added to the loss: a regularizer is called with a tensor and gives a scalar.

The penalty is ``l1 * sum(|w|) + l2 * sum(w ** 2)``, without a factor 1/2, as in Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.checks import one_of
from tinyconv.registry import Configurable, Registry
from tinyconv.registry import serialize as serialize  # Keras has it here too
from tinyconv.tensor import Tensor

_registry = Registry("regularizer")


def get(identifier: Any) -> Callable[[Tensor], Tensor] | None:
    """The regularizer that ``identifier`` means: a name, a configuration, a class, any callable(tensor), or None.

    Examples
    --------
    >>> get("l2"), get(None)
    (L2(), None)
    """
    return None if identifier is None else _registry.get(identifier)


deserialize = get


class Regularizer(Configurable):
    """Base class: subclasses define ``__call__(self, w)`` and keep their arguments as attributes of the same names."""

    def __call__(self, w: Any) -> Tensor:
        """The penalty for ``w``, a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, w)")


@_registry.register()
class L1L2(Regularizer):
    """``l1 * sum(|w|) + l2 * sum(w ** 2)``: a weight of any shape -> ().

    Parameters
    ----------
    l1, l2 : float
        Factors >= 0; a term with factor 0 is not computed.

    Examples
    --------
    >>> L1L2(l1=0.5, l2=0.1)([3.0, -4.0]).item()
    6.0
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1, self.l2 = _factor(l1, "l1"), _factor(l2, "l2")

    def __call__(self, w: Any) -> Tensor:
        return _penalty(w, self.l1, self.l2)


@_registry.register()
class L1(Regularizer):
    """``l1 * sum(|w|)``: drives weights to exactly 0; a weight of any shape -> ().

    Examples
    --------
    >>> L1(0.5)([3.0, -4.0]).item()
    3.5
    """

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = _factor(l1, "l1")

    def __call__(self, w: Any) -> Tensor:
        return _penalty(w, self.l1, 0.0)


@_registry.register()
class L2(Regularizer):
    """``l2 * sum(w ** 2)``: weight decay; a weight of any shape -> ().

    Examples
    --------
    >>> L2(0.5)([3.0, -4.0]).item()
    12.5
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _factor(l2, "l2")

    def __call__(self, w: Any) -> Tensor:
        return _penalty(w, 0.0, self.l2)


@_registry.register()
class OrthogonalRegularizer(Regularizer):
    """``factor`` times the mean of |cos| of the angles between all pairs of rows (or columns) of a matrix.

    A weight of shape (m, n) -> ().

    Parameters
    ----------
    factor : float
    mode : {"rows", "columns"}

    Examples
    --------
    >>> round(OrthogonalRegularizer(0.5)([[3.0, 0.0], [3.0, 4.0]]).item(), 6)
    0.3
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor, self.mode = _factor(factor, "factor"), one_of("mode", mode, ("rows", "columns"))

    def __call__(self, w: Any) -> Tensor:
        w = ops.elementwise.as_float(w)
        if w.ndim != 2:
            raise ValueError(f"OrthogonalRegularizer expected a matrix. Received: shape {w.shape}")
        rows = w if self.mode == "rows" else ops.transpose(w)
        rows = rows / ops.sqrt(ops.maximum(ops.sum(rows * rows, axis=1, keepdims=True), 1e-12))
        n = len(rows)
        cosines = ops.absolute(ops.matmul(rows, ops.transpose(rows))) * (1 - np.eye(n, dtype=w.dtype))
        return self.factor * ops.sum(cosines) / max(n * (n - 1), 1)  # each pair counts twice


l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer  # Keras's other spelling


def _factor(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise ValueError(f"{name} must be a finite number >= 0. Received: {value!r}")
    return float(value)


def _penalty(w: Any, l1: float, l2: float) -> Tensor:
    terms = []
    if l1 or not l2:
        terms.append(l1 * ops.sum(ops.absolute(w)))
    if l2:
        terms.append(l2 * ops.sum(ops.square(w)))
    return terms[0] if len(terms) == 1 else terms[0] + terms[1]
