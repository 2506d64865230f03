"""Small helpers that the textbooks take from ``imutils`` and ``scikit-image``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinyconv.preprocessing.opencv import opencv

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
_SORTS = {  # method -> (index into a box x, y, width, height; descending)
    "left-to-right": (0, False),
    "right-to-left": (0, True),
    "top-to-bottom": (1, False),
    "bottom-to-top": (1, True),
}


def list_images(basePath: str | os.PathLike[str], contains: str | None = None) -> Iterator[str]:
    """Paths of all image files in a folder and the folders in it.

    Parameters
    ----------
    basePath : str or Path
    contains : str, optional
        Only files whose name contains this.

    Returns
    -------
    iterator of str
        In the order of ``os.walk``, which is not sorted: wrap it in ``sorted`` for an order that is the same
        everywhere. Files that do not end in .jpg, .jpeg, .png, .bmp, .tif or .tiff are skipped.

    Raises
    ------
    FileNotFoundError
        At once, where there is no such folder.

    Examples
    --------
    >>> list_images("no such folder")
    Traceback (most recent call last):
    FileNotFoundError: Expected a folder of images. Received: no such folder
    """
    if not os.path.isdir(basePath):
        raise FileNotFoundError(f"Expected a folder of images. Received: {os.fspath(basePath)}")
    return (
        os.path.join(folder, name)
        for folder, _, names in os.walk(os.fspath(basePath))
        for name in names
        if name.lower().endswith(IMAGE_ENDINGS) and (contains is None or contains in name)
    )


def resize(image: np.ndarray, width: int | None = None, height: int | None = None, inter: int = 3) -> np.ndarray:
    """Resize an image to a width or a height, keeping its proportions.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C)
    width, height : int, optional
        One of them; the other side becomes ``int(side * ratio)``. ``height`` is ignored where both are given, and the
        image is returned as it is where none is.
    inter : int
        OpenCV's interpolation, ``cv2.INTER_AREA`` by default.

    Examples
    --------
    >>> resize(np.zeros((64, 48), np.uint8), width=28).shape
    (37, 28)
    """
    old_height, old_width = image.shape[:2]
    if width is None and height is None:
        return image
    if width is None:
        assert height is not None
        size = int(old_width * (height / float(old_height))), height
    else:
        size = width, int(old_height * (width / float(old_width)))
    if min(size) < 1:
        raise ValueError(f"Expected a size of at least 1 x 1. Received: {size[0]} x {size[1]} for {image.shape}")
    return opencv().resize(image, size, interpolation=inter)


def sort_contours(
    cnts: Sequence[np.ndarray], method: str = "left-to-right"
) -> tuple[tuple[np.ndarray, ...], tuple[tuple[int, int, int, int], ...]]:
    """Contours in the order of their bounding boxes.

    Parameters
    ----------
    cnts : sequence of ndarray
        Contours, as ``cv2.findContours`` gives them.
    method : {"left-to-right", "right-to-left", "top-to-bottom", "bottom-to-top"}
        By the left or the upper edge of the box.

    Returns
    -------
    contours : tuple of ndarray
    boxes : tuple of (x, y, width, height)

    Examples
    --------
    >>> corners = [np.array([[[x, 0]], [[x + 3, 0]], [[x + 3, 5]]], np.int32) for x in (40, 5, 90)]
    >>> [box[0] for box in sort_contours(corners)[1]]
    [5, 40, 90]
    """
    if method not in _SORTS:
        raise ValueError(f"method must be one of {', '.join(_SORTS)}. Received: {method!r}")
    edge, descending = _SORTS[method]
    boxed = [(contour, tuple(opencv().boundingRect(contour))) for contour in cnts]
    boxed.sort(key=lambda pair: pair[1][edge], reverse=descending)
    return tuple(contour for contour, _ in boxed), tuple(box for _, box in boxed)


def grab_contours(found: Sequence[Any]) -> Sequence[np.ndarray]:
    """The contours in what ``cv2.findContours`` returns: (contours, hierarchy), or in OpenCV 3 three parts.

    Examples
    --------
    >>> grab_contours((["a contour"], None)), grab_contours(("the image", ["a contour"], None))
    (['a contour'], ['a contour'])
    """
    if len(found) not in (2, 3):
        raise ValueError(f"Expected what cv2.findContours returns, 2 or 3 parts. Received: {len(found)}")
    return found[-2]


def is_cv2() -> bool:
    """Whether ``cv2.findContours`` returns the contours first, as OpenCV 2 did and every version since 4 does.

    Programs ask it in ``cnts = cnts[0] if is_cv2() else cnts[1]``.
    """
    return not opencv().__version__.startswith("3.")


def rescale_intensity(image: Any, in_range: Any = "image", out_range: Any = "dtype") -> np.ndarray:
    """Stretch or shrink the values of an image to a range.

    Parameters
    ----------
    image : array_like
    in_range, out_range : "image", "dtype", a dtype's name or (float, float)
        ``in_range``: values that become the ends of ``out_range``; what lies outside is cut off. "image": minimum and
        maximum. "dtype": the range of the image's dtype, 0..1 for floats, or -1..1 where ``in_range`` goes below 0.

    Returns
    -------
    ndarray
        Of the image's dtype, or of the dtype that ``out_range`` names; floats for a pair of numbers.

    Examples
    --------
    >>> rescale_intensity(np.array([-20.0, 0.0, 51.0, 300.0]), in_range=(0, 255)).tolist()
    [0.0, 0.0, 0.2, 1.0]
    """
    image = np.asarray(image)
    floats = np.result_type(image.dtype, np.float32) if image.dtype.kind == "f" else np.dtype("float64")
    low, high = _range(image, in_range, negative=True)
    out_low, out_high = _range(image, out_range, negative=low < 0)
    named = isinstance(out_range, str) and out_range not in ("image", "dtype")
    dtype = np.dtype(out_range) if named else image.dtype if isinstance(out_range, str) else floats
    clipped = np.clip(image.astype(floats), low, high)
    if low == high:
        return np.clip(clipped, out_low, out_high).astype(dtype)
    return ((clipped - low) / (high - low) * (out_high - out_low) + out_low).astype(dtype)


def _range(image: np.ndarray, wanted: Any, negative: bool) -> tuple[float, float]:
    if not isinstance(wanted, str):
        low, high = wanted
        return float(low), float(high)
    if wanted == "image":
        return float(image.min()), float(image.max())
    dtype = image.dtype if wanted == "dtype" else np.dtype(wanted)
    if dtype.kind == "f":
        return (-1.0 if negative else 0.0), 1.0
    if dtype.kind == "b":
        return 0.0, 1.0
    limits = np.iinfo(dtype)
    return (float(limits.min) if negative else max(float(limits.min), 0.0)), float(limits.max)
