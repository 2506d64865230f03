"""Finding image files, and decoding them into one array of uint8 through OpenCV (imported when it is needed)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinyconv.preprocessing.files import decode
from tinyconv.preprocessing.opencv import opencv

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
COLOR_MODES = ("rgb", "bgr", "grayscale")
CHUNK = 64  # images that a thread decodes in one go: a small one takes less time than handing it to a thread


def list_images(folder: Path) -> list[str]:
    """Paths of the image files right in a folder, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    names = (entry.name for entry in folder.iterdir())
    return sorted(str(folder / name) for name in names if Path(name).suffix.lower() in SUFFIXES and name[0] != ".")


def read_image(path: str, color_mode: str = "rgb", image_size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Decode one image: (H, W, 3), or (H, W) for ``"grayscale"``; resized by averaging areas where a size is given."""
    cv2 = opencv()
    image = decode(path, cv2.IMREAD_COLOR)
    if color_mode != "bgr":
        # Grey from colour, not from the decoder: a JPEG's own luminance differs by rounding from what scripts compute.
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB if color_mode == "rgb" else cv2.COLOR_BGR2GRAY)
    if image_size is not None and image.shape[:2] != image_size:
        image = cv2.resize(image, image_size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(image, np.uint8)


def read_images(
    paths: Sequence[str], color_mode: str = "rgb", image_size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Decode images of one size, or resized to one: (N, H, W, 3), or (N, H, W) for ``"grayscale"``."""
    first = read_image(paths[0], color_mode, image_size)
    images = np.empty((len(paths), *first.shape), np.uint8)

    def decode(start: int) -> None:
        for row, path in enumerate(paths[start : start + CHUNK], start):
            image = read_image(path, color_mode, image_size)
            if image.shape != first.shape:
                raise ValueError(
                    f"image_size: expected (height, width) for images of different sizes. Received None, "
                    f"{first.shape[:2]} in {paths[0]} and {image.shape[:2]} in {path}"
                )
            images[row] = image

    pool = ThreadPoolExecutor()  # OpenCV decodes without the interpreter's lock
    try:
        for _ in pool.map(decode, range(0, len(paths), CHUNK)):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    return images


def check_color_mode(color_mode: str) -> None:
    if color_mode not in COLOR_MODES:
        raise ValueError(f"color_mode: expected one of {', '.join(map(repr, COLOR_MODES))}. Received {color_mode!r}")
