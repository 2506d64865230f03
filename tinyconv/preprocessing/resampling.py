"""Resizing images: what Pillow computes when it shrinks with a filter, and what TensorFlow computes without one.

Every output pixel is a weighted mean of the input pixels around its centre, along rows and columns one after the
other. With ``antialias`` the filter is stretched by the factor of shrinking, so that no input pixel is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from tinyconv.preprocessing.opencv import opencv

FilterFunction = Callable[[np.ndarray], np.ndarray]
Box = tuple[tuple[int, int], tuple[int, int]]  # rows and columns, each from the first to before the second


def _triangle(t: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(t), 0)


def _box(t: np.ndarray) -> np.ndarray:
    return np.where((t > -0.5) & (t <= 0.5), 1.0, 0.0)


def _hamming(t: np.ndarray) -> np.ndarray:
    return np.where(np.abs(t) < 1, np.sinc(t) * (0.54 + 0.46 * np.cos(np.pi * t)), 0)


def _cubic(b: float, c: float) -> FilterFunction:
    """Cubic of Mitchell and Netravali (1988), "Reconstruction Filters in Computer Graphics", equation 8."""

    def weigh(t: np.ndarray) -> np.ndarray:
        t = np.abs(t)
        near = (12 - 9 * b - 6 * c) * t**3 + (-18 + 12 * b + 6 * c) * t**2 + (6 - 2 * b)
        far = (-b - 6 * c) * t**3 + (6 * b + 30 * c) * t**2 + (-12 * b - 48 * c) * t + (8 * b + 24 * c)
        return np.where(t < 1, near, np.where(t < 2, far, 0)) / 6

    return weigh


def _lanczos(radius: int) -> FilterFunction:
    return lambda t: np.where(np.abs(t) < radius, np.sinc(t) * np.sinc(t / radius), 0)


def _gaussian(t: np.ndarray) -> np.ndarray:
    return np.where(np.abs(t) < 1.5, np.exp(-2 * t**2), 0)  # standard deviation 1/2


_FILTERS: dict[str, FilterFunction] = {
    "bilinear": _triangle,
    "box": _box,
    "hamming": _hamming,
    "bicubic": _cubic(0, 0.5),  # Keys, 1981, with a = -1/2
    "lanczos": _lanczos(3),
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
    "gaussian": _gaussian,
    "mitchellcubic": _cubic(1 / 3, 1 / 3),
}
PILLOW = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
TENSORFLOW = ("nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")


def check_interpolation(interpolation: str, known: tuple[str, ...]) -> str:
    """``interpolation`` in lower case when it is one of ``known``, else ``ValueError``."""
    if str(interpolation).lower() not in known:
        raise ValueError(f"interpolation must be one of {', '.join(known)}. Received: {interpolation!r}")
    return interpolation.lower()


def resize_image(
    image: np.ndarray, size: tuple[int, int], interpolation: str, antialias: bool, box: Box | None = None
) -> np.ndarray:
    """An image, or the part of it in a box, at another size.

    Parameters
    ----------
    image : ndarray, shape (H, W, C)
        uint8, uint16 or floats.
    size : (int, int)
        New height and width.
    interpolation : str
        One of ``PILLOW`` or ``TENSORFLOW``; "nearest" takes the pixel under the centre of the new one.
    antialias : bool
        Whether filters are stretched when the image shrinks, as Pillow does and TensorFlow does not.
    box : ((int, int), (int, int)), optional
        Rows and columns of the part, each from the first to before the second; for the names in ``PILLOW``, whose
        filters reach over its edges.

    Returns
    -------
    ndarray, shape (*size, C)
        Same dtype; integers are rounded.

    Examples
    --------
    >>> ramp = np.arange(8.0).reshape(1, 8, 1)
    >>> resize_image(ramp, (1, 4), "bilinear", antialias=False).ravel().tolist()
    [0.5, 2.5, 4.5, 6.5]
    """
    (top, bottom), (left, right) = box or ((0, image.shape[0]), (0, image.shape[1]))
    if (bottom - top, right - left) == tuple(size):
        return image[top:bottom, left:right]
    if interpolation == "nearest":
        return image[top + _nearest(bottom - top, size[0])[:, None], left + _nearest(right - left, size[1])]
    quick = _flag(image, interpolation, antialias) if box is None else None
    if quick is not None:
        resized = opencv().resize(np.ascontiguousarray(image), size[::-1], interpolation=quick)
        return resized.reshape(*size, image.shape[2])  # OpenCV drops a single channel
    return _resample(image, size, interpolation, antialias, ((top, bottom), (left, right)))


def _flag(image: np.ndarray, interpolation: str, antialias: bool) -> int | None:
    """OpenCV's flag where it computes the same."""
    if interpolation == "area":
        return opencv().INTER_AREA
    if interpolation == "bilinear" and not antialias and image.dtype.kind == "f":  # on uint8 it rounds its weights
        return opencv().INTER_LINEAR
    return None


@lru_cache(maxsize=64)
def _nearest(size: int, new_size: int) -> np.ndarray:
    """Index of the pixel under each new centre: added up as in Pillow, whose rounding decides between two pixels."""
    scale = size / new_size
    centres = np.cumsum(np.concatenate([[scale / 2], np.full(new_size - 1, scale)]))
    return np.minimum(centres.astype(int), size - 1)


def _resample(
    image: np.ndarray, size: tuple[int, int], interpolation: str, antialias: bool, box: Box
) -> np.ndarray:
    (height, width, channels), (new_height, new_width) = image.shape, size
    to_columns = _weights(width, box[1], new_width, interpolation, antialias)
    to_rows = _weights(height, box[0], new_height, interpolation, antialias)
    dtype = np.result_type(image.dtype, np.float32) if image.dtype.kind == "f" else np.dtype("float32")
    rows = image.transpose(0, 2, 1).reshape(height * channels, width).astype(dtype, copy=False)  # (H, W, C) -> (H*C, W)
    rows = _fit(rows @ to_columns.T.astype(dtype), image.dtype)
    columns = rows.reshape(height, channels * new_width)  # (H, C*OW)
    new = to_rows.astype(dtype) @ columns
    new = new.reshape(new_height, channels, new_width).transpose(0, 2, 1)  # -> (OH, OW, C)
    return np.ascontiguousarray(_fit(new, image.dtype), dtype=image.dtype)


def _fit(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values that ``dtype`` can hold: as in Pillow, integers are rounded and overshoots cut off after either pass."""
    return values if dtype.kind == "f" else np.clip(np.floor(values + 0.5), 0, np.iinfo(dtype).max)


@lru_cache(maxsize=64)
def _weights(size: int, part: tuple[int, int], new_size: int, interpolation: str, antialias: bool) -> np.ndarray:
    """Weights (new_size, size) of all input pixels in every output pixel; rows sum to 1."""
    start, kept = part[0], part[1] - part[0]
    old, new = np.arange(size) - start, np.arange(new_size)[:, None]
    distance = (2 * old + 1) * new_size - (2 * new + 1) * kept  # in whole numbers: ends of filters are exact
    weights = _FILTERS[interpolation](distance / (2 * (max(kept, new_size) if antialias else new_size)))
    return weights / weights.sum(axis=1, keepdims=True)


def centre_box(old_size: tuple[int, int], size: tuple[int, int]) -> Box:
    """The largest box in the middle of an image of ``old_size`` that has the proportions of ``size``.

    Examples
    --------
    >>> centre_box((10, 30), (5, 10))
    ((0, 10), (5, 25))
    """
    (height, width), (new_height, new_width) = old_size, size
    kept_height = min(height, max(width * new_height // new_width, 1))
    kept_width = min(width, max(height * new_width // new_height, 1))
    top, left = (height - kept_height) // 2, (width - kept_width) // 2
    return (top, top + kept_height), (left, left + kept_width)
