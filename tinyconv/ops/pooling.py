"""Pooling: maxima and sums over windows, each beside its adjoint, which is its derivative.

Letters: images (N, H, W, C), results (N, OH, OW, C).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import config
from tinyconv.function import Function
from tinyconv.geometry import Window, check_data_format, make_pool_window
from tinyconv.ops.elementwise import as_float, as_tensor
from tinyconv.ops.reduction import max, mean
from tinyconv.ops.shape import reshape, transpose
from tinyconv.tensor import Tensor


class MaxPool2D(Function):
    """Largest cell of each window, and which of the window's taps it was (no gradient flows through the taps)."""

    def __init__(self, window: Window) -> None:
        self.window = window

    def forward(self, x: Any) -> Any:
        self.x_shape = x.shape
        y, taps = self.backend.max_pool2d(x, self.window)
        self.save(taps)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        (taps,) = self.saved
        return MaxPool2DScatter(taps, self.x_shape, self.window)(dy)


class MaxPool2DScatter(Function):
    """Send each value to the cell that its window chose: linear, the adjoint of the gather."""

    def __init__(self, taps: Tensor, x_shape: tuple[int, ...], window: Window) -> None:
        self.taps, self.x_shape, self.window = taps, x_shape, window

    def forward(self, dy: Any) -> Any:
        return self.backend.max_pool2d_scatter(dy, self.taps.data, self.x_shape, self.window)

    def backward(self, ddx: Tensor) -> Tensor:
        return MaxPool2DGather(self.taps, self.window)(ddx)


class MaxPool2DGather(Function):
    """Fetch the cell that each window chose: linear, the adjoint of the scatter."""

    def __init__(self, taps: Tensor, window: Window) -> None:
        self.taps, self.window = taps, window

    def forward(self, x: Any) -> Any:
        self.x_shape = x.shape
        return self.backend.max_pool2d_gather(x, self.taps.data, self.window)

    def backward(self, dy: Tensor) -> Tensor:
        return MaxPool2DScatter(self.taps, self.x_shape, self.window)(dy)


class SumPool2D(Function):
    def __init__(self, window: Window) -> None:
        self.window = window

    def forward(self, x: Any) -> Any:
        self.x_shape = x.shape
        return self.backend.sum_pool2d(x, self.window)

    def backward(self, dy: Tensor) -> Tensor:
        return SumPool2DSpread(self.x_shape, self.window)(dy)


class SumPool2DSpread(Function):
    def __init__(self, x_shape: tuple[int, ...], window: Window) -> None:
        self.x_shape, self.window = x_shape, window

    def forward(self, dy: Any) -> Any:
        return self.backend.sum_pool2d_spread(dy, self.x_shape, self.window)

    def backward(self, ddx: Tensor) -> Tensor:
        return SumPool2D(self.window)(ddx)


# --- public forms ----------------------------------------------------------------------------------------------


def max_pool2d(
    x: Any,
    pool_size: Any = 2,
    strides: Any = None,
    padding: Any = "valid",
    data_format: str | None = None,
    strict: bool = False,
) -> Tensor:
    """Largest value of each window; padding never wins, equal values choose the first, NaN is kept.

    Parameters
    ----------
    x : array_like or Tensor, shape (N, H, W, C), or (N, C, H, W) for ``channels_first``
    pool_size : int or pair
        Window size.
    strides : int or pair, optional
        Step; the window size by default.
    padding : int, pair, pair of pairs or str
        As for :func:`conv2d`.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``.
    strict : bool
        Raise when the strides do not tile the padded input.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.max_pool2d(tc.ops.reshape([1.0, 5.0, 3.0, 2.0], (1, 2, 2, 1))).item()
    5.0
    """
    x, window, first = _prepare(as_tensor(x), pool_size, strides, padding, data_format, strict, "max_pool2d")
    y = MaxPool2D(window)(x)
    return transpose(y, (0, 3, 1, 2)) if first else y


def avg_pool2d(
    x: Any,
    pool_size: Any = 2,
    strides: Any = None,
    padding: Any = "valid",
    data_format: str | None = None,
    count_include_pad: bool = False,
    strict: bool = False,
) -> Tensor:
    """Mean of each window, over its cells inside the image, or over all of them with ``count_include_pad``.

    Arguments and shapes as :func:`max_pool2d`.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.avg_pool2d(tc.ops.reshape([3.0, 1.0, 3.0, 2.0], (1, 2, 2, 1))).item()
    2.25
    """
    x, window, first = _prepare(as_float(x), pool_size, strides, padding, data_format, strict, "avg_pool2d")
    total = SumPool2D(window)(x)
    padded = window.padding != ((0, 0), (0, 0))
    if padded and not count_include_pad:
        y = total / _cells_inside(x.shape[1:3], window).astype(x.dtype)
    else:
        y = total / (window.kernel[0] * window.kernel[1])
    return transpose(y, (0, 3, 1, 2)) if first else y


def _cells_inside(size: tuple[int, int], window: Window) -> np.ndarray:
    """How many cells of each window lie inside the image: (OH, OW, 1)."""
    counts = []
    for n, k, s, (lo, hi) in zip(size, window.kernel, window.strides, window.padding, strict=True):
        start = np.arange((n + lo + hi - k) // s + 1) * s - lo
        counts.append(np.minimum(start + k, n) - np.maximum(start, 0))
    return (counts[0][:, None] * counts[1][None, :])[:, :, None]


def global_avg_pool2d(x: Any, data_format: str | None = None, keepdims: bool = False) -> Tensor:
    """Mean over height and width: (N, H, W, C) -> (N, C)."""
    return mean(x, _spatial_axes(data_format), keepdims)


def global_max_pool2d(x: Any, data_format: str | None = None, keepdims: bool = False) -> Tensor:
    """Maximum over height and width: (N, H, W, C) -> (N, C)."""
    return max(x, _spatial_axes(data_format), keepdims)


def depth_max_pool2d(x: Any, depth: int, data_format: str | None = None) -> Tensor:
    """Maximum over groups of ``depth`` neighbouring channels: C channels become C / depth.

    Raises
    ------
    ValueError
        When ``depth`` does not divide the number of channels.
    """
    x = as_tensor(x)
    axis = 1 if check_data_format(data_format or config.image_data_format()) == "channels_first" else 3
    if x.ndim != 4 or depth < 1 or x.shape[axis] % depth:
        raise ValueError(f"depth_max_pool2d expected channels to be a multiple of {depth}. Received: {x.shape}")
    groups = reshape(x, (*x.shape[:axis], x.shape[axis] // depth, depth, *x.shape[axis + 1 :]))
    return max(groups, axis + 1)


def _prepare(
    x: Tensor, pool_size: Any, strides: Any, padding: Any, data_format: str | None, strict: bool, name: str
) -> tuple[Tensor, Window, bool]:
    """Images with channels last, the settled window, and whether the result goes back to channels first."""
    if x.ndim != 4:
        raise ValueError(f"{name} expected images of 4 axes (batch, height, width, channels). Received: {x.shape}")
    first = check_data_format(data_format or config.image_data_format()) == "channels_first"
    x = transpose(x, (0, 2, 3, 1)) if first else x
    return x, make_pool_window(x.shape[1:3], pool_size, strides, padding, strict), first


def _spatial_axes(data_format: str | None) -> tuple[int, int]:
    first = check_data_format(data_format or config.image_data_format()) == "channels_first"
    return (2, 3) if first else (1, 2)
