"""Image filtering, by tinyconv or by OpenCV."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from benchmarks.workers.serve import serve, timed

BORDERS = {"constant": 0, "replicate": 1, "reflect": 2, "wrap": 3, "reflect101": 4}  # OpenCV's numbers
_now: dict[str, Callable[[], np.ndarray]] = {}


def version() -> str:
    """OpenCV."""
    import cv2

    return f"OpenCV {cv2.__version__}"


def prepare(library: str, shape: tuple[int, int], dtype: str, size: int, rank_one: bool, border: str) -> None:
    """Get a filter ready: a random kernel of ``size`` x ``size`` on a random image."""
    rng = np.random.default_rng(0)
    image = rng.random(shape, np.float32)
    if dtype == "uint8":
        image = (image * 256).astype(np.uint8)
    kernel = np.outer(*rng.random((2, size))) if rank_one else rng.random((size, size))
    _now["filter"] = _filter(library, image, (kernel / kernel.sum()).astype(np.float32), border)


def _filter(library: str, image: np.ndarray, kernel: np.ndarray, border: str) -> Callable[[], np.ndarray]:
    if library == "opencv":
        import cv2

        cv2.setNumThreads(int(os.environ["OMP_NUM_THREADS"]))
        if border == "wrap":  # which cv2.filter2D refuses
            return lambda: _filter_wrapped(image, kernel)
        return lambda: cv2.filter2D(image, -1, kernel, borderType=BORDERS[border])
    from tinyconv.vision import filter2d

    return lambda: filter2d(image, kernel, border=border)


def _filter_wrapped(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What OpenCV's user writes for an image that goes on at its other side."""
    import cv2

    height, width = image.shape
    rows, columns = (size // 2 for size in kernel.shape)
    more = 16  # columns at whose end OpenCV's vector loops may stop
    framed = cv2.copyMakeBorder(image, rows, rows, columns, columns + more, cv2.BORDER_WRAP)
    return cv2.filter2D(framed, -1, kernel)[rows : rows + height, columns : columns + width]


def save(path: str) -> None:
    """Write the result to a file."""
    np.save(path, _now["filter"]())


def times(seconds: float, least: int) -> list[float]:
    """Seconds of each run."""
    return timed(_now["filter"], seconds, least)


if __name__ == "__main__":
    serve(version, prepare, save, times)
