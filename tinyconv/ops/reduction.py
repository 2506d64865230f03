"""Reductions: sums, extremes and what is made of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv import backends
from tinyconv.function import Function
from tinyconv.geometry import normalize_axis
from tinyconv.ops.elementwise import as_float, as_tensor, astype, equal, exp, isfinite, log, sqrt, square, where
from tinyconv.ops.shape import Axis, as_axes, broadcast_to, concatenate, flip, reshape, take_along_axis, transpose
from tinyconv.tensor import Tensor, stop_gradient


def _kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with size 1 on the reduced axes."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


class Sum(Function):
    def __init__(self, axes: tuple[int, ...], keepdims: bool) -> None:
        self.axes, self.keepdims = axes, keepdims

    def forward(self, x: Any) -> Any:
        self.x_shape = x.shape
        return self.backend.sum(x, self.axes, self.keepdims)

    def backward(self, dy: Tensor) -> Tensor:
        return broadcast_to(reshape(dy, _kept(self.x_shape, self.axes)), self.x_shape)


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over ``axis`` (all axes by default). Floats keep their dtype, rounded once."""
    x = as_tensor(x)
    return Sum(as_axes(axis, x.ndim), keepdims)(x)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean over ``axis``; integers give the default float type."""
    x = as_float(x)
    if x.dtype == np.float16:  # a sum of float16 overflows at 65504 long before its mean does
        return astype(mean(astype(x, "float32"), axis, keepdims), "float16")
    count = math.prod(x.shape[a] for a in as_axes(axis, x.ndim))
    return sum(x, axis, keepdims) / count if count else sum(x, axis, keepdims) * math.nan


def var(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """Variance over ``axis``: mean of squared deviations, with ``count - ddof`` in the denominator."""
    x = as_float(x)
    if x.dtype == np.float16:
        return astype(var(astype(x, "float32"), axis, keepdims, ddof), "float16")
    count = math.prod(x.shape[a] for a in as_axes(axis, x.ndim))
    deviations = square(x - mean(x, axis, keepdims=True))
    return sum(deviations, axis, keepdims) / (count - ddof)


def std(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """Standard deviation over ``axis``."""
    return sqrt(var(x, axis, keepdims, ddof))


class Extreme(Function):
    """Largest or smallest element; the gradient is shared equally by all elements that reach it."""

    def __init__(self, primitive: str, axes: tuple[int, ...], keepdims: bool) -> None:
        self.primitive, self.axes, self.keepdims = primitive, axes, keepdims

    def forward(self, x: Any) -> Any:
        self.x_shape = x.shape
        y = getattr(self.backend, self.primitive)(x, self.axes, self.keepdims)
        self.save(x, y)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        x, y = self.saved
        kept = _kept(self.x_shape, self.axes)
        winners = equal(x, reshape(y, kept)).astype(x.dtype)
        return winners * (reshape(dy, kept) / sum(winners, self.axes, keepdims=True))


def _extreme(primitive: str, x: Any, axis: Axis, keepdims: bool) -> Tensor:
    x = as_tensor(x)
    axes = as_axes(axis, x.ndim)
    if 0 in (x.shape[a] for a in axes):
        raise ValueError(f"{primitive} expected at least one element along axis {axis}. Received: shape {x.shape}")
    return Extreme(primitive, axes, keepdims)(x)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest element over ``axis``; NaN wins; equal winners share the gradient."""
    return _extreme("max", x, axis, keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest element over ``axis``; NaN wins; equal winners share the gradient."""
    return _extreme("min", x, axis, keepdims)


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Product over ``axis``, by halving, so that its derivatives of any order hold at zeros too."""
    x = as_tensor(x)
    axes = as_axes(axis, x.ndim)
    if x.dtype.kind != "f":
        return Tensor._of(backends.of(x.data).prod(x.data, axes, keepdims))
    kept = _kept(x.shape, axes)
    others = [i for i in range(x.ndim) if i not in axes]
    rows, columns = (math.prod(x.shape[a] for a in chosen) for chosen in (axes, others))
    x = reshape(transpose(x, [*axes, *others]), (rows, columns))
    y = _halving_product(x) if rows else sum(x, 0) + 1  # the product of nothing is 1
    return reshape(y, kept if keepdims else [kept[i] for i in others])


def _halving_product(x: Tensor) -> Tensor:
    """Product over the first axis: multiply the two halves until one row is left."""
    while (n := len(x)) > 1:
        half = n // 2
        pairs = x[:half] * x[half : 2 * half]
        x = concatenate([pairs, x[2 * half :]]) if n % 2 else pairs
    return x[0]


class CumSum(Function):
    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return self.backend.cumsum(x, self.axis)

    def backward(self, dy: Tensor) -> Tensor:
        return flip(cumsum(flip(dy, self.axis), self.axis), self.axis)


def cumsum(x: Any, axis: int | None = None) -> Tensor:
    """Running sum along ``axis`` (of the flattened tensor by default)."""
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    return CumSum(normalize_axis(axis, x.ndim))(x)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """``log(sum(exp(x)))`` over ``axis`` without overflow."""
    x = as_float(x)
    peak = stop_gradient(max(x, axis, keepdims=True))
    peak = where(isfinite(peak), peak, 0.0)
    y = log(sum(exp(x - peak), axis, keepdims=True)) + peak
    axes = as_axes(axis, x.ndim)
    return y if keepdims else reshape(y, [n for i, n in enumerate(y.shape) if i not in axes])


# --- facts: no gradient flows ----------------------------------------------------------------------------------


def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether every element over ``axis`` is true."""
    x = as_tensor(x)
    return Tensor._of(backends.of(x.data).all(x.data, as_axes(axis, x.ndim), keepdims))


def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether some element over ``axis`` is true."""
    x = as_tensor(x)
    return Tensor._of(backends.of(x.data).any(x.data, as_axes(axis, x.ndim), keepdims))


def argmax(x: Any, axis: int | None = None) -> Tensor:
    """Index of the largest element along ``axis`` (of the flattened tensor by default), the first among equals."""
    x = as_tensor(x)
    return Tensor._of(backends.of(x.data).argmax(x.data, axis))


def argmin(x: Any, axis: int | None = None) -> Tensor:
    """Index of the smallest element along ``axis`` (of the flattened tensor by default), the first among equals."""
    x = as_tensor(x)
    return Tensor._of(backends.of(x.data).argmin(x.data, axis))


def argsort(x: Any, axis: int = -1) -> Tensor:
    """Indices that sort ``x`` along ``axis``; equal elements keep their order."""
    x = as_tensor(x)
    return Tensor._of(backends.of(x.data).argsort(x.data, normalize_axis(axis, x.ndim)))


def sort(x: Any, axis: int = -1) -> Tensor:
    """``x`` in ascending order along ``axis``; the gradient follows the elements."""
    x = as_tensor(x)
    return take_along_axis(x, argsort(x, axis), axis)
