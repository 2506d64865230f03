"""Filter an image by hand and by OpenCV: the book's convolution and its seven kernels.

Each kernel is applied to the grey image three times: by `convolve` below, which visits every pixel in Python as the
book does; by ``tc.vision.filter2d``; and by ``cv2.filter2D``, both with replicated borders. What they return must
agree: by hand and by OpenCV within one grey level; by tinyconv and by OpenCV exactly for kernels of fewer than 130
cells, and within one grey level for larger ones, for which OpenCV computes a Fourier transform.

The book calls its results and OpenCV's equal, which they only look: its program truncates to whole grey levels where
OpenCV rounds, and it repeats border pixels where OpenCV mirrors the image without its last row or column unless told
otherwise. The column "default border" counts the pixels that differ by more than one level for that second reason. It
also claims that kernels may be of any size, but reads their width only: here others than square odd ones are an error.
(Its windows are titled "convole"; where its emboss kernel's light comes from, text and caption do not agree.)

    python -m examples.convolutions --image photo.jpg

Without ``--image`` a pattern of 240 x 320 pixels is generated: rings, stripes, a ramp and noise.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The book's convolution: a weighted sum of the neighbourhood of each pixel, one pixel after the other.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W)
    kernel : ndarray, shape (K, K), K odd
        Not flipped: strictly speaking, this is cross-correlation, as in every convolutional network.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        The border is replicated; sums are cut to 0..255 and truncated.

    Examples
    --------
    >>> image = np.array([[10, 20], [30, 40]], np.uint8)
    >>> convolve(image, np.array([[0, 0, 0], [0, 1, 1], [0, 0, 0]])).tolist()
    [[30, 40], [70, 80]]
    """
    size = len(kernel)
    if kernel.shape != (size, size) or size % 2 == 0:
        raise ValueError(f"expected a square kernel of odd size, which has a centre. Received: shape {kernel.shape}")
    height, width = image.shape
    padded = np.pad(image.astype(float), (size - 1) // 2, mode="edge")
    sums = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            sums[y, x] = (padded[y : y + size, x : x + size] * kernel).sum()
    return np.clip(sums, 0, 255).astype(np.uint8)


def generated_image(height: int, width: int, seed: int) -> np.ndarray:
    """A grey image (H, W) of uint8 with edges of all directions, smooth parts and noise."""
    y, x = np.mgrid[:height, :width]
    rings = 128 + 100 * np.sign(np.sin(np.hypot(y - height / 2, x - width / 3) / 6))
    ramp = 255 * x / width
    stripes = np.where((x + y) // 8 % 2, 220, 30)
    image = np.where(x < 2 * width / 3, rings, np.where(y < height / 2, ramp, stripes))
    return np.clip(image + np.random.default_rng(seed).normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/convolutions")
    parser.add_argument("-i", "--image", type=Path, help="image to filter (a generated one)")
    return parser.parse_args(arguments)


def compare(name: str, image: np.ndarray, kernel: np.ndarray) -> tuple[tuple[Any, ...], np.ndarray, np.ndarray]:
    """A row of the table, and the results by hand and by OpenCV; an unexpected difference is an AssertionError."""
    import cv2

    start = time.perf_counter()
    by_hand = convolve(image, kernel)
    seconds = time.perf_counter() - start
    by_opencv = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    by_tinyconv = tc.vision.filter2d(image, kernel, border="replicate")
    by_hand_off, by_tinyconv_off = difference(by_hand, by_opencv), difference(by_tinyconv, by_opencv)
    if by_hand_off.max() > 1 or by_tinyconv_off.max() > (kernel.size >= 130):
        raise AssertionError(
            f"{name}: expected results that agree with OpenCV. Received differences of {by_hand_off.max()} (by hand) "
            f"and {by_tinyconv_off.max()} (tinyconv) grey levels"
        )
    mirrored = difference(by_hand, cv2.filter2D(image, -1, kernel)) > 1
    row = (
        name, f"{len(kernel)}x{len(kernel)}", by_tinyconv_off.max(), by_hand_off.max(),
        f"{(by_hand_off == 0).mean():.2%}", mirrored.sum(), f"{seconds:.2f}",
    )  # fmt: skip
    return row, by_hand, by_opencv


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Grey levels between two images, pixel by pixel."""
    return np.abs(a.astype(int) - b)


def main(arguments: list[str] | None = None) -> np.ndarray:
    """Run the program; returns the results by hand, (7, H, W)."""
    args = parse_arguments(arguments)
    common.need_opencv()
    common.make_folder(args.output)
    if args.image is not None:
        with common.user_input():
            image = common.read_grey(args.image)
    else:
        image = generated_image(*((24, 32) if args.quick else (240, 320)), args.seed)
    print(f"[INFO] a grey image of {image.shape[0]} rows and {image.shape[1]} columns")
    rows: list[tuple[Any, ...]] = [
        ("kernel", "size", "tinyconv off by", "by hand off by", "equal", "default border", "seconds by hand")
    ]
    pictures, results = [], []
    for name, kernel in tc.vision.kernel_bank().items():
        print(f"[INFO] applying {name} kernel")
        row, by_hand, by_opencv = compare(name, image, kernel)
        rows.append(row)
        results.append(by_hand)
        pictures += [("original", image), (f"{name} - convolve", by_hand), (f"{name} - opencv", by_opencv)]
    report = common.table(rows)
    print(report)
    print("[INFO] all results agree with OpenCV's")
    common.write_text(args.output / "convolutions.txt", report + "\n")
    titles, images = zip(*pictures)
    figure = common.draw_pictures(images, titles, 3, args.output / "convolutions.png", 2.5)
    print(f"[INFO] pictures: {args.output / 'convolutions.png'}")
    if args.show:
        tc.viz.show(figure)
    return np.array(results)


if __name__ == "__main__":
    common.run(main)
