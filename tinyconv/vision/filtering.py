"""``filter2d``, which gives what ``cv2.filter2D`` gives, and the hand-written ``convolve`` of the textbooks."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import backends

_DEPTHS = {0: "uint8", 2: "uint16", 3: "int16", 5: "float32", 6: "float64"}  # OpenCV's CV_8U, CV_16U, ...
_RESULTS = {  # depth of the image -> depths of the result
    "uint8": ("uint8", "uint16", "int16", "float32", "float64"),
    "uint16": ("uint16", "float32", "float64"),
    "int16": ("int16", "float32", "float64"),
    "float32": ("float32",),
    "float64": ("float64",),
}
_BORDERS = {  # name -> OpenCV's number, NumPy's name
    "constant": (0, "constant"),
    "replicate": (1, "edge"),
    "reflect": (2, "symmetric"),
    "wrap": (3, "wrap"),
    "reflect101": (4, "reflect"),
}
_ISOLATED = 16  # OpenCV's flag "do not look outside of the image", which is what happens here anyway
_SEPARABLE_AREA = 130  # number of taps from which OpenCV, too, gives up exact results for speed


def filter2d(
    image: Any,
    kernel: Any,
    ddepth: Any = -1,
    anchor: Sequence[int] = (-1, -1),
    delta: float = 0,
    border: str | int = "reflect101",
    separable: bool | str = "auto",
) -> np.ndarray:
    """Correlate an image with a kernel: each pixel becomes a weighted sum of its neighbourhood.

    Parameters
    ----------
    image : array_like, shape (H, W) or (H, W, C)
        uint8, uint16, int16, float32 or float64; channels are filtered one by one.
    kernel : array_like, shape (KH, KW)
        Weights; not flipped. Used as float32, or as float64 where image or result is float64.
    ddepth : dtype or int
        Type of the result, as a dtype or as OpenCV's number; -1 for that of the image. Possible are uint8 to any type,
        uint16 and int16 to themselves, float32 and float64, float32 and float64 to themselves.
    anchor : (int, int)
        The kernel's cell (x, y) that lies over the pixel; -1 for the middle.
    delta : float
        Added to every sum.
    border : {"reflect101", "reflect", "replicate", "constant", "wrap"} or int
        What lies outside: ``dcb|abcd|cba``, ``cba|abcd|dcb``, ``aaa|abcd|ddd``, ``000|abcd|000`` or ``bcd|abcd|abc``
        (which OpenCV refuses for most kernels); or OpenCV's number.
    separable : "auto", True or False
        Whether a kernel that is the product of a column and a row is applied in two passes, which is much faster for
        large kernels: "auto" does so from 130 taps on, ``True`` always where possible.

    Returns
    -------
    ndarray
        Of the image's shape. Integers are rounded half to even and saturate.

    Notes
    -----
    Where OpenCV adds up the taps one after the other, results equal its own to the bit: below 130 taps for uint8 to
    uint8 or int16 and for float32, below 50 for all other types. Two exceptions: where its vector loops end, in the
    last columns (W * C mod 8 or less), OpenCV rounds products and sums apart; and sums beyond 2**31 saturate here.

    With more taps OpenCV uses a discrete Fourier transform. Here, from 130 taps on, separable kernels take two passes,
    and others, where that is cheaper, a short transform of the columns alone. Sums in float32, before they are rounded
    to integers, are off by less than 1e-6 times ``sum(abs(kernel)) * max(abs(image))``, as when the taps are added up
    one after the other. A NaN or infinite pixel spoils the columns of its window up to three heights of the kernel
    away.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.array([[0, 0, 0], [0, 9, 0], [0, 0, 0]], np.uint8)
    >>> filter2d(image, np.ones((3, 3)) / 9, border="constant")
    array([[1, 1, 1],
           [1, 1, 1],
           [1, 1, 1]], dtype=uint8)
    """
    image = np.asarray(image)
    source, result = _types(image, ddepth)
    image = image.astype(source, copy=False)  # a foreign byte order
    kernel = _as_kernel(kernel, "float64" if "float64" in (source, result) else "float32")
    kernels = _factors(kernel, separable)
    return backends.default().filter2d(
        image.reshape(*image.shape[:2], -1),
        kernels,
        _as_anchor(anchor, kernel.shape),
        float(delta),
        _as_border(border),
        np.dtype(result),
        fused=source == "float32" or result not in ("float32", "float64"),  # as OpenCV's vector loops do
    ).reshape(image.shape)  # fmt: skip


def _types(image: np.ndarray, ddepth: Any) -> tuple[str, str]:
    """Names of the image's and of the result's dtype; checks the image on the way."""
    if image.ndim not in (2, 3) or not image.size:
        raise ValueError(f"Expected an image of shape (H, W) or (H, W, C), not empty. Received: shape {image.shape}")
    source = image.dtype.name
    if source not in _RESULTS:
        raise TypeError(f"Expected an image of {', '.join(_RESULTS)}. Received: dtype {source}")
    if isinstance(ddepth, int | np.integer) and not isinstance(ddepth, bool):
        result = source if ddepth == -1 else _DEPTHS.get(int(ddepth), str(ddepth))
    else:
        result = str(ddepth) if ddepth is None else np.dtype(ddepth).name  # NumPy takes None for float64
    if result not in _RESULTS[source]:
        raise ValueError(
            f"ddepth of a {source} image must be -1 or {', '.join(_RESULTS[source])}. Received: {ddepth!r}"
        )
    return source, result


def _as_kernel(kernel: Any, dtype: str) -> np.ndarray:
    kernel = np.asarray(kernel)
    if kernel.ndim != 2 or not kernel.size or kernel.dtype.kind not in "fiub":
        raise ValueError(
            f"Expected a kernel of numbers, shape (KH, KW). Received: shape {kernel.shape}, dtype {kernel.dtype}"
        )
    return np.ascontiguousarray(kernel, dtype)


def _as_anchor(anchor: Sequence[int], size: tuple[int, ...]) -> tuple[int, int]:
    """The anchor as (row, column)."""
    if len(anchor) != 2:
        raise ValueError(f"anchor must be a pair (x, y). Received: {anchor!r}")
    x, y = (operator.index(value) for value in anchor)
    row, column = (n // 2 if value == -1 else value for value, n in zip((y, x), size, strict=True))
    if not (0 <= row < size[0] and 0 <= column < size[1]):
        raise ValueError(f"anchor (x, y) must lie in the {size[1]} x {size[0]} kernel or be -1. Received: {anchor!r}")
    return row, column


def _as_border(border: str | int) -> str:
    """The border in NumPy's words."""
    for name, (number, numpy_name) in _BORDERS.items():
        if border == name or (not isinstance(border, str) and int(border) & ~_ISOLATED == number):
            return numpy_name
    raise ValueError(f"border must be one of {', '.join(_BORDERS)} or OpenCV's number. Received: {border!r}")


def _factors(kernel: np.ndarray, separable: bool | str) -> list[np.ndarray]:
    """``[row, column]`` when the kernel is their product and two passes are wanted, else ``[kernel]``."""
    if separable not in ("auto", True, False):
        raise ValueError(f"separable must be 'auto', True or False. Received: {separable!r}")
    large = kernel.size >= _SEPARABLE_AREA if separable == "auto" else separable
    if not large or min(kernel.shape) == 1:
        return [kernel]
    i, j = np.unravel_index(np.argmax(np.abs(kernel)), kernel.shape)
    exact = kernel.astype(np.float64)
    row, column = exact[i : i + 1], exact[:, j : j + 1]  # of rank 1, a matrix is the product of any such cross
    if not kernel[i, j] or not np.isfinite(kernel).all():
        return [kernel]
    column = column / exact[i, j]
    tolerance = max(kernel.shape) * np.finfo(kernel.dtype).eps * abs(exact[i, j])
    if np.abs(column * row - exact).max() > tolerance:
        return [kernel]
    return [row.astype(kernel.dtype), column.astype(kernel.dtype)]


def convolve(image: Any, kernel: Any) -> np.ndarray:
    """The textbook's own convolution of a grey image: replicated border, sums cut to 0..255 and truncated to uint8.

    Parameters
    ----------
    image : array_like, shape (H, W)
        Grey image.
    kernel : array_like, shape (K, K), K odd
        Weights; not flipped.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Truncated, not rounded: a blur of a constant image may come out one grey level darker.

    Examples
    --------
    >>> convolve([[10, 20], [30, 40]], [[0, 0, 0], [0, 1, 1], [0, 0, 0]])
    array([[30, 40],
           [70, 80]], dtype=uint8)
    """
    image, kernel = np.asarray(image, np.float64), np.asarray(kernel, np.float64)
    if image.ndim != 2:
        raise ValueError(f"convolve takes a grey image of shape (H, W). Received: shape {image.shape}")
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        raise ValueError(f"convolve takes a square kernel of odd size. Received: shape {kernel.shape}")
    sums = filter2d(image, kernel, border="replicate", separable=False)
    return (np.clip(sums, 0, 255) / 255 * 255).astype(np.uint8)  # to 0..1 and back, as the textbook does


def kernel_bank() -> dict[str, np.ndarray]:
    """The seven kernels of the textbook, in its order.

    Examples
    --------
    >>> list(kernel_bank())
    ['small_blur', 'large_blur', 'sharpen', 'laplacian', 'sobel_x', 'sobel_y', 'emboss']
    """
    return {
        "small_blur": np.full((7, 7), 1 / 49),
        "large_blur": np.full((21, 21), 1 / 441),
        "sharpen": np.array([[0.0, -1.0, 0.0], [-1.0, 5.0, -1.0], [0.0, -1.0, 0.0]]),
        "laplacian": np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]),
        "sobel_x": np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]),
        "sobel_y": np.array([[-1.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]]),
        "emboss": np.array([[-2.0, -1.0, 0.0], [-1.0, 1.0, 1.0], [0.0, 1.0, 2.0]]),
    }
