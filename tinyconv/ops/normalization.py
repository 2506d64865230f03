"""Normalisation: batch, layer and local response."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv.function import Function
from tinyconv.geometry import Window, normalize_axis
from tinyconv.ops.elementwise import as_float, astype, power, sqrt, square
from tinyconv.ops.pooling import SumPool2D
from tinyconv.ops.reduction import sum
from tinyconv.ops.shape import Axis, as_axes, broadcast_to, moveaxis, reshape
from tinyconv.tensor import Tensor


class Standardize(Function):
    """``gamma * (x - mean) / sqrt(var + eps) + beta`` over some axes, with mean and biased variance as further outputs.

    ``gamma`` and ``beta`` may be None; else they have size 1 along the axes. All three outputs are differentiable, and
    the backward formula uses them, so it can be differentiated again.
    """

    fill_missing = False  # nothing is computed for mean and variance unless something depends on them

    def __init__(self, axes: tuple[int, ...], epsilon: float) -> None:
        self.axes, self.epsilon = axes, epsilon

    def forward(self, x: Any, gamma: Any, beta: Any) -> Any:
        b, axes = self.backend, self.axes
        self.count = math.prod(x.shape[a] for a in axes)
        # Both sums come from one pass over memory. They are taken of differences from some element, because what is
        # subtracted for the variance is then small (T. Chan, G. Golub and R. LeVeque, "Algorithms for computing the
        # sample variance", 1983).
        start = b.getitem(x, tuple(slice(0, 1) if a in axes else slice(None) for a in range(x.ndim)))
        d = b.subtract(x, start)
        total, squares = b.sum(d, axes, True), b.sum(b.square(d), axes, True)
        distance = b.divide(total, self.count)
        m = b.add(start, distance)
        v = b.maximum(b.subtract(b.divide(squares, self.count), b.square(distance)), 0)
        scale = b.divide(1, b.sqrt(b.add(v, self.epsilon)))
        y = b.multiply(b.subtract(x, m), scale if gamma is None else b.multiply(scale, gamma))
        self.save(x, gamma, m, v)
        return y if beta is None else b.add(y, beta), m, v

    def backward(self, dy: Tensor | None, dm: Tensor | None, dv: Tensor | None) -> tuple[Tensor | None, ...]:
        # y = gamma c r + beta with c = x - m and r = (v + eps)^-1/2, where m and v depend on every x:
        # dx = gamma r (dy - mean(dy) - c r mean(dy c r)) + dm / n + 2 c dv / n
        x, gamma, m, v = self.saved
        dx: Tensor | None = None
        dbeta = dgamma = None
        if dy is not None:
            r = 1 / sqrt(v + self.epsilon)
            standard = (x - m) * r
            dbeta = sum(dy, self.axes, keepdims=True)
            dgamma = sum(dy * standard, self.axes, keepdims=True)
            dx = (dy - dbeta / self.count - standard * (dgamma / self.count)) * (r if gamma is None else r * gamma)
        for term in (dm, None if dv is None else 2 * (x - m) * dv):
            if term is not None:
                dx = term / self.count if dx is None else dx + term / self.count
        dx = None if dx is None else broadcast_to(dx, x.shape)
        return dx, dgamma, dbeta


def standardize(
    x: Any, axis: Axis, epsilon: float = 1e-3, gamma: Any = None, beta: Any = None
) -> tuple[Tensor, Tensor, Tensor]:
    """``x`` with mean 0 and variance 1 over ``axis``, then scaled and shifted, and the mean and biased variance.

    Parameters
    ----------
    x : array_like or Tensor
    axis : int or tuple of int
        Axes over which the statistics are taken; mean and variance keep them with size 1.
    epsilon : float
        Added to the variance.
    gamma, beta : array_like or Tensor, optional
        Scale and shift, with size 1 along ``axis``.

    Source: S. Ioffe and C. Szegedy, "Batch normalization", arXiv 1502.03167.

    Examples
    --------
    >>> import tinyconv as tc
    >>> y, mean, var = tc.ops.standardize([1.0, 2.0, 3.0, 4.0], axis=0)
    >>> mean.tolist(), var.tolist()
    ([2.5], [1.25])
    """
    x = as_float(x)
    axes = as_axes(axis, x.ndim)
    if math.prod(x.shape[a] for a in axes) == 0:
        raise ValueError(f"standardize expected at least one element along axis {axis}. Received: {x.shape}")
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    for name, scale in (("gamma", gamma), ("beta", beta)):
        if scale is not None and as_float(scale).shape != kept:
            raise ValueError(f"standardize expected {name} of shape {kept}. Received: {as_float(scale).shape}")
    if x.dtype == np.float16:  # its sums would overflow
        wide = (None if t is None else astype(as_float(t), "float32") for t in (gamma, beta))
        y, m, v = standardize(astype(x, "float32"), axis, epsilon, *wide)
        return astype(y, "float16"), astype(m, "float16"), astype(v, "float16")
    return Standardize(axes, epsilon)(x, gamma, beta)


def batch_norm(
    x: Any,
    mean: Any,
    variance: Any,
    gamma: Any = None,
    beta: Any = None,
    epsilon: float = 1e-3,
    axis: int = -1,
) -> Tensor:
    """Normalise with given statistics: ``gamma * (x - mean) / sqrt(variance + epsilon) + beta`` along ``axis``.

    Parameters
    ----------
    x : array_like or Tensor
        Any shape with C entries along ``axis``.
    mean, variance, gamma, beta : array_like or Tensor, shape (C,)
        ``gamma`` and ``beta`` may be ``None`` (1 and 0). With the batch's own statistics use :func:`standardize`.
    """
    x = as_float(x)
    shape = [1] * x.ndim
    shape[normalize_axis(axis, x.ndim)] = -1
    scale = 1 / sqrt(as_float(variance) + epsilon)
    if gamma is not None:
        scale = scale * gamma
    shift = -as_float(mean) * scale
    if beta is not None:
        shift = shift + beta
    return x * reshape(scale, shape) + reshape(shift, shape)


def layer_norm(
    x: Any, gamma: Any = None, beta: Any = None, axis: Axis = -1, epsilon: float = 1e-3
) -> Tensor:
    """Standardise each sample over ``axis``, then scale and shift. Source: J. Ba et al., arXiv 1607.06450."""
    y = standardize(x, axis, epsilon)[0]
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


def local_response_norm(
    x: Any,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
    axis: int = -1,
) -> Tensor:
    """``x / (bias + alpha * s) ** beta``, s the sum of squares over ``depth_radius`` channels to either side.

    The formula and its names are TensorFlow's: ``depth_radius`` is the full reach on each side, so Krizhevsky's
    window of n channels is ``depth_radius=n // 2``.

    Source: A. Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012.

    Examples
    --------
    >>> import tinyconv as tc
    >>> y = tc.ops.local_response_norm([[100.0, 200.0, 300.0, 400.0]], 1, alpha=2e-5, beta=0.75)
    >>> [round(value, 2) for value in y[0].tolist()]
    [59.46, 73.48, 71.24, 104.34]
    """
    x = as_float(x)
    axis = normalize_axis(axis, x.ndim)
    if not x.size:
        return x
    last = moveaxis(x, axis, x.ndim - 1)
    channels = last.shape[-1]
    rows = last.size // channels
    window = Window((1, 2 * depth_radius + 1), (1, 1), ((0, 0), (depth_radius, depth_radius)), (1, 1))
    squares = reshape(square(last), (1, rows, channels, 1))  # a picture whose width are the channels
    sums = reshape(SumPool2D(window)(squares), last.shape)
    return moveaxis(last * power(bias + alpha * sums, -float(beta)), x.ndim - 1, axis)

