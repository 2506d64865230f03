"""Two filters on two photos: a vertical and a horizontal line of 7 pixels, as a convolution layer would apply them.

The book's demonstration: the photos ``china.jpg`` and ``flower.jpg`` of scikit-learn, scaled to 0..1, go through a
convolution of two 7x7 filters over the three colours, stride 1 and padding "same", so that maps have the size of the
photos. A filter is 0 but for its middle column (map 0) or its middle row (map 1), where it is 1. Vertical lines survive
in map 0 and all else is smeared; in map 1 horizontal ones do.

How much survives is measured, too: mean differences between horizontal neighbours (which vertical lines cause) and
between vertical neighbours, and their quotient, which map 0 raises and map 1 lowers.

The book's text speaks of a stride of 2; its program has 1, and so has this one.

    python -m examples.line_filters --output runs/line_filters
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common

PHOTOS = ("china", "flower")
MAPS = ("vertical lines", "horizontal lines")


def line_filters(size: int = 7, channels: int = 3) -> np.ndarray:
    """Two filters (size, size, channels, 2): a column of ones, and a row of ones.

    >>> line_filters(3, 1)[:, :, 0, 0].tolist()
    [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    """
    filters = np.zeros((size, size, channels, 2), np.float32)
    filters[:, size // 2, :, 0] = 1
    filters[size // 2, :, :, 1] = 1
    return filters


def load_photos() -> np.ndarray:
    """Both photos, (2, 427, 640, 3) in 0..1, RGB."""
    try:
        from sklearn.datasets import load_sample_image
    except ImportError:
        raise ImportError("this program needs scikit-learn and its photos: pip install scikit-learn") from None
    return common.as_floats(np.stack([load_sample_image(f"{name}.jpg") for name in PHOTOS]))


def generated_photos(seed: int) -> np.ndarray:
    """Two pictures (2, 60, 80, 3) in 0..1: stripes, upright in one and lying in the other, and noise."""
    y, x = np.mgrid[:60, :80]
    stripes = np.stack([x // 5 % 2, y // 5 % 2])[..., None]
    noise = np.random.default_rng(seed).random((2, 60, 80, 3))
    return (0.5 * stripes + 0.5 * noise).astype(np.float32)


def differences(maps: np.ndarray) -> tuple[float, float]:
    """Mean difference between horizontal and between vertical neighbours of a map (H, W), which has mean 1.

    >>> differences(np.array([[0.0, 2.0], [0.0, 2.0]]))
    (2.0, 0.0)
    """
    scaled = maps / maps.mean()
    return float(np.abs(np.diff(scaled, axis=1)).mean()), float(np.abs(np.diff(scaled, axis=0)).mean())


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    return common.parser(__doc__, "runs/line_filters").parse_args(arguments)


def main(arguments: list[str] | None = None) -> np.ndarray:
    """Run the program; returns the maps, (2, H, W, 2)."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    print("[INFO] loading photos...")
    photos = generated_photos(args.seed) if args.quick else load_photos()
    maps = tc.ops.conv2d(photos, line_filters(), strides=1, padding="same").numpy()
    print(f"[INFO] photos {photos.shape} -> maps {maps.shape}")

    rows: list[tuple[Any, ...]] = [("photo", "", "horizontal neighbours", "vertical neighbours", "quotient")]
    pictures, titles = [], []
    for name, photo, both in zip(("upright", "lying") if args.quick else PHOTOS, photos, maps, strict=True):
        grey = photo.mean(axis=-1)
        for what, image in ("as it is", grey), (MAPS[0], both[..., 0]), (MAPS[1], both[..., 1]):
            across, down = differences(image)
            rows.append((name, what, f"{across:.4f}", f"{down:.4f}", f"{across / down:.2f}"))
            pictures.append(photo if image is grey else image)
            titles.append(f"{name}: {what}")
    report = common.table(rows)
    print(report)
    common.write_text(args.output / "line_filters.txt", report + "\n")
    picture = args.output / "line_filters.png"
    figure = common.draw_pictures(pictures, titles, 3, picture)
    print(f"[INFO] pictures: {picture}")
    if args.show:
        tc.viz.show(figure)
    return maps


if __name__ == "__main__":
    common.run(main)
