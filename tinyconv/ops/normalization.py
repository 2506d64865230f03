"""Normalisation: batch, layer and local response."""

from __future__ import annotations

import math
from typing import Any

from tinyconv.function import Function
from tinyconv.geometry import Window, normalize_axis
from tinyconv.ops.elementwise import as_float, power, sqrt, square
from tinyconv.ops.pooling import SumPool2D
from tinyconv.ops.reduction import Axis, as_axes, mean
from tinyconv.ops.shape import moveaxis, reshape
from tinyconv.tensor import Tensor


class Standardize(Function):
    """``(x - mean) / sqrt(var + eps)`` over some axes, with mean and biased variance as further outputs.

    All three outputs are differentiable, and the backward formula uses them, so it can be differentiated again.
    """

    def __init__(self, axes: tuple[int, ...], epsilon: float) -> None:
        self.axes, self.epsilon = axes, epsilon

    def forward(self, x: Any) -> Any:
        b, axes = self.backend, self.axes
        self.count = math.prod(x.shape[a] for a in axes)
        m = b.divide(b.sum(x, axes, True), self.count)
        centred = b.subtract(x, m)
        v = b.divide(b.sum(b.square(centred), axes, True), self.count)
        y = b.multiply(centred, b.divide(1, b.sqrt(b.add(v, self.epsilon))))
        self.save(y, v, x, m)
        return y, m, v

    def backward(self, dy: Tensor, dm: Tensor, dv: Tensor) -> Tensor:
        # y = c r with c = x - m and r = (v + eps)^-1/2; m and v depend on every x:
        # dx = r (dy - mean(dy) - y mean(dy y)) + dm / n + 2 c dv / n
        y, v, x, m = self.saved
        r = 1 / sqrt(v + self.epsilon)
        dx = r * (dy - mean(dy, self.axes, True) - y * mean(dy * y, self.axes, True))
        return dx + (dm + 2 * (x - m) * dv) / self.count


def standardize(x: Any, axis: Axis, epsilon: float = 1e-3) -> tuple[Tensor, Tensor, Tensor]:
    """``x`` with mean 0 and variance 1 over ``axis``, and the mean and biased variance (axes kept with size 1).

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
    return Standardize(axes, epsilon)(x)


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

