"""Geometric transformations of images by one affine map, and shifts of brightness and colour, as in Keras 2.

Rotation, shift, shear and zoom are multiplied into one matrix that maps every output pixel (row, column) to the point
of the input whose value it takes, so that an image is interpolated once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv.preprocessing.opencv import opencv

FILL_MODES = ("nearest", "constant", "reflect", "wrap")
_LARGEST = 32_766  # rows and columns that OpenCV can warp


def affine_matrix(
    size: tuple[int, int],
    theta: float = 0,
    tx: float = 0,
    ty: float = 0,
    shear: float = 0,
    zx: float = 1,
    zy: float = 1,
) -> np.ndarray:
    """Matrix from output to input coordinates (row, column, 1), about the centre of the image.

    The product of a rotation by ``theta`` degrees, a shift by ``tx`` rows and ``ty`` columns, a shear by ``shear``
    degrees and a scaling of rows by ``zx`` and of columns by ``zy``::

        | cos t  -sin t |  | 1  0  tx |  | 1  -sin s |  | zx  0 |
        | sin t   cos t |  | 0  1  ty |  | 0   cos s |  | 0  zy |

    Parameters
    ----------
    size : (int, int)
        Height and width of the image.

    Returns
    -------
    ndarray, shape (2, 3), float64

    Examples
    --------
    >>> affine_matrix((4, 4), tx=1) @ [0, 0, 1]  # row 0 is taken from row 1: the picture moves up
    array([1., 0.])
    """
    t, s = math.radians(theta), math.radians(shear)
    a, b = math.cos(t) * zx, -math.sin(t + s) * zy
    c, d = math.sin(t) * zx, math.cos(t + s) * zy
    row, column = (size[0] - 1) / 2, (size[1] - 1) / 2
    to_row = row + math.cos(t) * tx - math.sin(t) * ty  # where the centre comes from
    to_column = column + math.sin(t) * tx + math.cos(t) * ty
    return np.array([[a, b, to_row - a * row - b * column], [c, d, to_column - c * row - d * column]])


def warp(
    image: np.ndarray, matrix: np.ndarray, fill_mode: str = "nearest", cval: float = 0.0, order: int = 1
) -> np.ndarray:
    """The image whose pixel at p has the value of ``image`` at ``matrix @ p``.

    Parameters
    ----------
    image : ndarray, shape (H, W, C), floats
    matrix : ndarray, shape (2, 3)
        Acts on (row, column, 1).
    fill_mode : {"nearest", "constant", "reflect", "wrap"}
        What lies outside of the image, as ``scipy.ndimage`` means it: ``aaaa|abcd|dddd``, ``kkkk|abcd|kkkk`` with
        k = ``cval``, ``dcba|abcd|dcba``, or ``bcd|abcd|abc`` (``scipy``'s "wrap": first and last pixel coincide).
    order : int
        Of the spline that interpolates, 0 to 5. 1 (bilinear) is computed by OpenCV with coordinates rounded to 1/32
        pixel; the others by ``scipy.ndimage``, about 20 times slower.

    Returns
    -------
    ndarray, shape (H, W, C)
    """
    height, width = image.shape[:2]
    if order != 1 or max(height, width) > _LARGEST:
        return _spline(image, matrix, fill_mode, cval, order)
    cv2 = opencv()
    if fill_mode == "wrap":
        rows, columns = _coordinates(matrix, height, width)
        rows, columns = _wrap(rows, height), _wrap(columns, width)
        x, y = columns.astype(np.float32), rows.astype(np.float32)
        warped = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return warped.reshape(image.shape)
    border = cv2.BORDER_REFLECT if fill_mode == "reflect" else cv2.BORDER_REPLICATE
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    xy = matrix[[1, 0]][:, [1, 0, 2]]  # OpenCV counts columns first
    warped = cv2.warpAffine(image, xy, (width, height), flags=flags, borderMode=border).reshape(image.shape)
    if fill_mode == "constant":
        warped[_is_outside(matrix, height, width)] = cval
    return warped


def _coordinates(matrix: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (H, W) of the input that the output pixels are taken from."""
    r, c = np.arange(height)[:, None], np.arange(width)
    rows = matrix[0, 0] * r + matrix[0, 1] * c + matrix[0, 2]
    columns = matrix[1, 0] * r + matrix[1, 1] * c + matrix[1, 2]
    return rows, columns


def _is_outside(matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """Output pixels that come from beyond the centres of the outermost input pixels."""
    rows, columns = _coordinates(matrix, height, width)
    slack = 1e-6  # the border itself is inside, whatever rounding does to it
    return (abs(2 * rows - height + 1) > height - 1 + slack) | (abs(2 * columns - width + 1) > width - 1 + slack)


def _wrap(positions: np.ndarray, size: int) -> np.ndarray:
    """Positions outside of [0, size - 1] brought into it by whole periods of size - 1."""
    period = size - 1
    if not period:
        return np.zeros_like(positions)
    inside = (positions >= 0) & (positions <= period)
    return np.where(inside, positions, positions - np.floor(positions / period) * period)


def _spline(image: np.ndarray, matrix: np.ndarray, fill_mode: str, cval: float, order: int) -> np.ndarray:
    from scipy import ndimage

    warped = np.empty_like(image)
    for channel in range(image.shape[2]):
        warped[..., channel] = ndimage.affine_transform(
            image[..., channel], matrix[:, :2], matrix[:, 2], order=order, mode=fill_mode, cval=cval
        )
    return warped


def apply_affine_transform(
    x: Any,
    theta: float = 0,
    tx: float = 0,
    ty: float = 0,
    shear: float = 0,
    zx: float = 1,
    zy: float = 1,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: int = 1,
) -> np.ndarray:
    """Rotate, shift, shear and zoom an image about its centre.

    Parameters
    ----------
    x : array_like of 3 axes
        Of floats; integers become float32.
    theta : float
        Rotation in degrees; positive turns the picture clockwise.
    tx, ty : float
        Shift in pixels along rows and columns; positive moves the picture up and to the left.
    shear : float
        Shear angle in degrees: column c of the output comes from rows that lie sin(shear) c higher.
    zx, zy : float
        Size of the part of the input, along rows and columns, that fills the output; below 1 magnifies.
    row_axis, col_axis, channel_axis : int
        Axes of ``x``: 0, 1, 2 for (H, W, C); the default is (C, H, W).
    fill_mode, cval, order
        See :func:`warp`.

    Returns
    -------
    ndarray
        Of the shape of ``x``; ``x`` itself when nothing is to be done.

    Notes
    -----
    The matrix is that of Keras 2.0, about the exact middle of the image. Later versions of Keras swap its axes at the
    end: there the same angle turns the other way, the shear is along the other axis, and a height shift moves columns.

    Examples
    --------
    >>> apply_affine_transform(np.arange(4.0).reshape(1, 2, 2), theta=90)[0].tolist()
    [[2.0, 0.0], [3.0, 1.0]]
    """
    x = np.asarray(x)
    axes = (row_axis, col_axis, channel_axis)
    if x.ndim != 3 or sorted(axes) != [0, 1, 2]:
        raise ValueError(f"Expected an image of 3 axes, with axes 0, 1 and 2. Received: shape {x.shape}, axes {axes}")
    if (theta, tx, ty, shear, zx, zy) == (0, 0, 0, 0, 1, 1):
        return x
    kind = x.dtype if x.dtype in (np.float32, np.float64) else np.float32
    image = np.ascontiguousarray(x.transpose(axes), dtype=kind)  # -> (H, W, C)
    matrix = affine_matrix(image.shape[:2], theta, tx, ty, shear, zx, zy)
    warped = warp(image, matrix, fill_mode, cval, order)
    back = warped.transpose(np.argsort(axes))
    return back.astype(x.dtype) if x.dtype.kind == "f" else back


def apply_channel_shift(x: Any, intensity: float, channel_axis: int = 0) -> np.ndarray:
    """All values plus ``intensity``, kept within the range of the image; ``channel_axis`` does not matter.

    Examples
    --------
    >>> apply_channel_shift(np.array([[[0.0, 100.0, 250.0]]]), 20).ravel().tolist()
    [20.0, 120.0, 250.0]
    """
    x = np.asarray(x)
    return np.clip(x + intensity, x.min(), x.max()) if x.size else x


def apply_brightness_shift(x: Any, brightness: float, scale: bool = True) -> np.ndarray:
    """An image made brighter (``brightness`` > 1) or darker.

    Parameters
    ----------
    x : array_like
        Values in 0..255, which are multiplied and cut off at 255. Where some lie outside, or with ``scale``, the range
        from minimum to maximum takes the place of 0..255.
    brightness : float
        Factor; 0 gives black, 1 the image itself.
    scale : bool
        Whether to map the range of ``x`` to 0..255 first, and leave it there.

    Returns
    -------
    ndarray
        Of floats. Keras rounds down to whole numbers, which makes images in 0..1 black; here they stay what they are.

    Examples
    --------
    >>> apply_brightness_shift(np.array([0.0, 100.0, 200.0]), 1.5, scale=False).tolist()
    [0.0, 150.0, 255.0]
    """
    x = np.asarray(x)
    x = x if x.dtype.kind == "f" else x.astype(np.float32)
    if not x.size:
        return x
    low, high = x.min(), x.max()
    if scale:
        return np.clip((x - low) * (255 / ((high - low) or 1)) * brightness, 0, 255).astype(x.dtype)
    if low >= 0 and high <= 255:
        return np.clip(x * brightness, 0, 255).astype(x.dtype)
    return (np.clip((x - low) * brightness, 0, high - low) + low).astype(x.dtype)
