"""Images on another grid: resizing, adaptive pooling, and sampling at any place, as geometric transforms need it.

Resizing and averaging weigh rows and columns independently, so each is a product with a constant matrix along an axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import config
from tinyconv.geometry import as_pair, check_data_format
from tinyconv.ops.elementwise import (
    as_float,
    as_tensor,
    astype,
    floor,
    greater_equal,
    less,
    logical_and,
    minimum,
    remainder,
    where,
)  # fmt: skip
from tinyconv.ops.linalg import matmul
from tinyconv.ops.pooling import max_pool2d
from tinyconv.ops.reduction import mean
from tinyconv.ops.shape import reshape, take, transpose
from tinyconv.ops.volumes import max_pool3d
from tinyconv.tensor import Tensor

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "area")
FILL_MODES = ("constant", "nearest", "reflect", "wrap")


# --- resizing --------------------------------------------------------------------------------------------------


def resize(
    x: Any, size: Any, interpolation: str = "bilinear", antialias: bool = False, data_format: str | None = None
) -> Tensor:
    """Images in another size; pixels are squares whose centres lie at half integers, as in OpenCV and TensorFlow 2.

    Parameters
    ----------
    x : array_like or Tensor, shape (N, H, W, C), or (N, C, H, W) for ``channels_first``
    size : int or (int, int)
        New height and width.
    interpolation : str
        ``"nearest"``, ``"bilinear"``, ``"bicubic"`` (Keys's kernel, a = -1/2), ``"lanczos3"``, ``"lanczos5"``, or
        ``"area"`` (mean over what a new pixel covers).
    antialias : bool
        Widen the kernel where images shrink, so that no pixel is passed over.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``.

    Returns
    -------
    Tensor, shape (N, OH, OW, C) or (N, C, OH, OW)

    Source: R. Keys, "Cubic convolution interpolation for digital image processing", 1981.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.resize([[[[0.0], [4.0]]]], (1, 4))[0, 0, :, 0].tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    x = as_float(x)
    if x.ndim != 4:
        raise ValueError(f"resize expected images of 4 axes (batch, height, width, channels). Received: {x.shape}")
    first = _spatial_axes(x.ndim, data_format)[0]
    for axis, n in zip((first, first + 1), as_pair(size, "size"), strict=True):
        if n != x.shape[axis]:
            x = along_axis(x, resizing_matrix(x.shape[axis], n, interpolation, antialias), axis)
        elif interpolation not in INTERPOLATIONS:
            raise ValueError(_unknown("interpolation", INTERPOLATIONS, interpolation))
    return x


def along_axis(x: Tensor, matrix: np.ndarray, axis: int) -> Tensor:
    """Every entry along ``axis`` becomes a sum of the old ones, weighed by a row of ``matrix`` (new size, size)."""
    before, after = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    columns = reshape(x, (before, x.shape[axis], after))
    y = matmul(matrix.astype(x.dtype), columns)  # (M, N) @ (before, N, after) -> (before, M, after)
    return reshape(y, (*x.shape[:axis], len(matrix), *x.shape[axis + 1 :]))


def take_cells(x: Tensor, cells: Any, axis: int) -> Tensor:
    """``take(x, cells, axis)`` by whole rows of memory, which are copied in order."""
    before, n, after = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    rows = as_tensor(np.arange(before)[:, None] * n) + cells  # (before, cells)
    y = take(reshape(x, (before * n, after)), reshape(rows, -1), 0)
    return reshape(y, (*x.shape[:axis], len(cells), *x.shape[axis + 1 :]))


def resizing_matrix(n: int, m: int, interpolation: str, antialias: bool = False) -> np.ndarray:
    """Weights (m, n) that make ``m`` pixels of ``n``; every row sums to 1.

    Examples
    --------
    >>> resizing_matrix(2, 4, "bilinear").tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    if n == 0:
        raise ValueError("Images to resize must have at least one row and one column. Received: none")
    centres = (np.arange(m) + 0.5) * n / m  # in units of old pixels
    if interpolation == "nearest":
        return np.eye(n)[np.minimum(np.floor(centres).astype(int), n - 1)]
    if interpolation == "area":
        edges = np.arange(m + 1) * n / m
        covered = np.minimum(edges[1:, None], np.arange(n) + 1) - np.maximum(edges[:-1, None], np.arange(n))
        weights = np.maximum(covered, 0)
    else:
        if interpolation not in _KERNELS:
            raise ValueError(_unknown("interpolation", INTERPOLATIONS, interpolation))
        width = max(n / m, 1) if antialias else 1
        weights = _KERNELS[interpolation](np.abs(centres[:, None] - 0.5 - np.arange(n)) / width)
    return weights / weights.sum(axis=1, keepdims=True)  # beyond the border there is nothing to weigh


def _keys(d: np.ndarray) -> np.ndarray:
    inner, outer = (1.5 * d - 2.5) * d * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, inner, np.where(d < 2, outer, 0))


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda d: np.where(d < radius, np.sinc(d) * np.sinc(d / radius), 0)


_KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # of the distance in pixels
    "bilinear": lambda d: np.maximum(1 - d, 0),
    "bicubic": _keys,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}


# --- adaptive pooling ------------------------------------------------------------------------------------------


def adaptive_avg_pool(x: Any, output_size: Any, data_format: str | None = None) -> Tensor:
    """Means of as many windows as ``output_size`` says: window i of m over n cells is floor(i n/m) .. ceil((i+1) n/m).

    Parameters
    ----------
    x : array_like or Tensor, shape (N, ..., C), or (N, C, ...) for ``channels_first``
        Sequences, images or volumes: one to three axes beside batch and channels.
    output_size : int or one per axis
        Number of windows along each axis; where it divides the size, this is ordinary pooling.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.adaptive_avg_pool([[[1.0], [2.0], [6.0]]], 2)[0, :, 0].tolist()
    [1.5, 4.0]
    """
    x = as_float(x)
    axes, sizes = _adaptive(x, output_size, data_format, "adaptive_avg_pool")
    for axis, m in zip(axes, sizes, strict=True):
        n = x.shape[axis]
        if n % m == 0:
            cells = reshape(x, (*x.shape[:axis], m, n // m, *x.shape[axis + 1 :]))
            x = cells if n == 0 else mean(cells, axis + 1)
        else:
            windows = _adaptive_windows(n, m)
            matrix = np.zeros((m, n))
            for i, (start, stop) in enumerate(windows):
                matrix[i, start:stop] = 1 / (stop - start)
            x = along_axis(x, matrix, axis)
    return x


def adaptive_max_pool(x: Any, output_size: Any, data_format: str | None = None) -> Tensor:
    """Maxima of as many windows as ``output_size`` says; arguments, shapes and windows as :func:`adaptive_avg_pool`.

    Equal values choose the first, NaN is kept.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.adaptive_max_pool([[[1.0], [2.0], [6.0]]], 2)[0, :, 0].tolist()
    [2.0, 6.0]
    """
    x = as_tensor(x)
    axes, sizes = _adaptive(x, output_size, data_format, "adaptive_max_pool")
    pool_size = []
    for axis, m in zip(axes, sizes, strict=True):
        windows = _adaptive_windows(x.shape[axis], m)
        widest = max(stop - start for start, stop in windows)
        if any(stop - start < widest for start, stop in windows) or m * widest != x.shape[axis]:
            # The windows one after the other; a shorter one repeats its last cell, which changes no maximum.
            cells = np.array([min(start + i, stop - 1) for start, stop in windows for i in range(widest)])
            x = take_cells(x, cells, axis)
        pool_size.append(widest)
    if len(axes) == 3:
        return max_pool3d(x, pool_size, data_format=data_format)
    if len(axes) == 2:
        return max_pool2d(x, pool_size, data_format=data_format)
    flat = reshape(x, (*x.shape[: axes[0]], 1, *x.shape[axes[0] :]))  # an image of height 1
    y = max_pool2d(flat, (1, *pool_size), data_format=data_format)
    return reshape(y, (*y.shape[: axes[0]], *y.shape[axes[0] + 1 :]))


def _adaptive_windows(n: int, m: int) -> list[tuple[int, int]]:
    """Start and end of each of ``m`` windows that together cover ``n`` cells."""
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def _adaptive(x: Tensor, output_size: Any, data_format: str | None, name: str) -> tuple[tuple[int, ...], list[int]]:
    """The axes to pool and the number of windows on each."""
    axes = _spatial_axes(x.ndim, data_format)
    sizes = list(output_size) if isinstance(output_size, Sequence) else [output_size] * len(axes)
    whole = all(isinstance(m, int | np.integer) and m >= 1 and not isinstance(m, bool) for m in sizes)
    if not 1 <= len(axes) <= 3 or len(sizes) != len(axes) or not whole or 0 in (x.shape[a] for a in axes):
        raise ValueError(
            f"{name} expected sequences, images or volumes of at least one cell, and a size >= 1 for each of their "
            f"axes. Received: shape {x.shape}, output_size={output_size!r}"
        )
    return axes, sizes


# --- sampling --------------------------------------------------------------------------------------------------


def sample_images(
    x: Any,
    rows: Any,
    columns: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Tensor:
    """Values of images between their pixels; differentiable in the images and, if bilinear, in the places too.

    Parameters
    ----------
    x : array_like or Tensor, shape (N, H, W, C), or (N, C, H, W) for ``channels_first``
    rows, columns : array_like or Tensor, shape (N, OH, OW)
        Where to look in each image; pixel (0, 0) has its centre at row 0, column 0.
    interpolation : str
        ``"bilinear"`` or ``"nearest"``.
    fill_mode : str
        What lies outside: ``"constant"`` (``fill_value``), ``"nearest"`` (a a | a b c | c c), ``"reflect"``
        (b a | a b c | c b) or ``"wrap"`` (b c | a b c | a b).
    fill_value : float
        For ``"constant"``.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``.

    Returns
    -------
    Tensor, shape (N, OH, OW, C) or (N, C, OH, OW)

    Source: M. Jaderberg et al., "Spatial transformer networks", arXiv 1506.02025.

    Examples
    --------
    >>> import tinyconv as tc
    >>> image = [[[[0.0], [4.0]]]]
    >>> tc.ops.sample_images(image, [[[0.0, 0.0]]], [[[0.25, 1.5]]])[0, 0, :, 0].tolist()
    [1.0, 2.0]
    """
    x, rows, columns = as_float(x), as_float(rows), as_float(columns)
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(_unknown("interpolation", ("bilinear", "nearest"), interpolation))
    if fill_mode not in FILL_MODES:
        raise ValueError(_unknown("fill_mode", FILL_MODES, fill_mode))
    if x.ndim != 4 or rows.ndim != 3 or rows.shape != columns.shape or len(rows) != len(x):
        raise ValueError(
            "sample_images expected images of 4 axes, and rows and columns of one shape (batch, height, width). "
            f"Received: {x.shape}, {rows.shape} and {columns.shape}"
        )
    first = _is_first(data_format)
    x = transpose(x, (0, 2, 3, 1)) if first else x
    n, height, width, c = x.shape
    pixels = reshape(x, (n * height * width, c))
    starts = np.arange(n)[:, None, None] * height  # of the images, in rows
    vertical = _neighbours(rows, height, interpolation, fill_mode)
    vertical = [((starts + i) * width, *others) for i, *others in vertical]
    y: Any = 0.0
    for (i, u, above), (j, v, beside) in itertools.product(
        vertical, _neighbours(columns, width, interpolation, fill_mode)
    ):
        value = take(pixels, i + j, 0)  # (N, OH, OW, C)
        if above is not None and beside is not None:
            value = where(_for_channels(logical_and(above, beside)), value, fill_value)
        if u is not None and v is not None:
            value = value * _for_channels(astype(u * v, x.dtype))
        y = y + value
    return transpose(y, (0, 3, 1, 2)) if first else y


def affine_transform(
    x: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Tensor:
    """Turn, shift, shear and scale images: the result at (x, y) is the image at (a0 x + a1 y + a2, b0 x + b1 y + b2).

    Parameters
    ----------
    x : array_like or Tensor, shape (N, H, W, C), or (N, C, H, W) for ``channels_first``
    transform : array_like or Tensor, shape (6,) or (N, 6)
        ``a0 a1 a2 b0 b1 b2`` of all images, or of each; x counts columns and y rows.
    interpolation, fill_mode, fill_value, data_format
        As for :func:`sample_images`.

    Returns
    -------
    Tensor, shape of ``x``

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.affine_transform([[[[1.0], [2.0], [3.0]]]], [1.0, 0.0, -1.0, 0.0, 1.0, 0.0])[0, 0, :, 0].tolist()
    [0.0, 1.0, 2.0]
    """
    x, t = as_float(x), as_float(transform)
    if x.ndim != 4 or t.shape not in ((6,), (len(x), 6)):
        raise ValueError(
            f"affine_transform expected images of 4 axes and 6 numbers, or 6 for each image. Received: {x.shape} "
            f"and {t.shape}"
        )
    axes = _spatial_axes(4, data_format)
    wide = np.promote_types(t.dtype, np.float32)  # float16 cannot count the columns of a large image
    height, width = (x.shape[a] for a in axes)
    across = np.arange(width, dtype=wide)[None, None, :]
    down = np.arange(height, dtype=wide)[None, :, None]
    t = reshape(astype(t, wide), (-1, 6, 1, 1))
    a0, a1, a2, b0, b1, b2 = (t[:, i] for i in range(6))
    zeros = np.zeros((len(x), height, width), wide)  # also where one transform serves the batch
    columns, rows = a0 * across + a1 * down + a2 + zeros, b0 * across + b1 * down + b2 + zeros
    return sample_images(x, rows, columns, interpolation, fill_mode, fill_value, data_format)


def _neighbours(
    place: Tensor, n: int, interpolation: str, fill_mode: str
) -> list[tuple[Tensor, Tensor | None, Tensor | None]]:
    """The cells of an axis of ``n`` that each place mixes: number, weight, and whether it was inside to begin with.

    No weight is 1; with the other fill modes than "constant" every cell stands for one inside.
    """
    if interpolation == "nearest":
        weighed: list[tuple[Tensor, Tensor | None]] = [(floor(place + 0.5), None)]
    else:
        low = floor(place)
        part = place - low
        weighed = [(low, 1 - part), (low + 1, part)]
    found = []
    for cell, weight in weighed:
        is_inside = logical_and(greater_equal(cell, 0), less(cell, n)) if fill_mode == "constant" else None
        found.append((_inside(cell, n, fill_mode), weight, is_inside))
    return found


def _inside(place: Tensor, n: int, fill_mode: str) -> Tensor:
    """Whole places as integers in [0, n): those outside are where the fill mode says their value lies."""
    if fill_mode == "wrap":
        place = remainder(place, float(n))
    elif fill_mode == "reflect":
        place = remainder(place, 2.0 * n)
        place = minimum(place, 2.0 * n - 1 - place)
    place = where(greater_equal(place, 0), place, 0.0)  # NaN too
    return astype(minimum(place, n - 1.0), "int64")


def _for_channels(values: Tensor) -> Tensor:
    """(N, OH, OW) -> (N, OH, OW, 1)"""
    return reshape(values, (*values.shape, 1))


# --- helpers ---------------------------------------------------------------------------------------------------


def _is_first(data_format: str | None) -> bool:
    return check_data_format(data_format or config.image_data_format()) == "channels_first"


def _spatial_axes(ndim: int, data_format: str | None) -> tuple[int, ...]:
    return tuple(range(2, ndim)) if _is_first(data_format) else tuple(range(1, ndim - 1))


def _unknown(name: str, expected: Sequence[str], received: Any) -> str:
    return f"{name} must be {', '.join(map(repr, expected[:-1]))} or {expected[-1]!r}. Received: {received!r}"
