"""From a captcha to the pictures of its four digits: Otsu's threshold, external contours, four boxes left to right.

The documents take the four contours of largest area, however many there are, and cut without looking at the edges of
the image. Here fewer than four, boxes of which one is no digit, and digits at the edge are dealt with:

- where a digit touches the edge, to repeat the edge would lengthen it: the ground's grey is put around instead;
- the four tallest boxes are taken, as the outline of a thin "7" encloses less than that of a speck of noise;
- four boxes whose heights differ by a factor of 2, or that overlap, are not four digits;
- the margin is cut where the image ends;
- contours are taken from what any OpenCV returns, while the documents' test for version 2 or 3 fails with 4.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from examples.common import write_text
from tinyconv.preprocessing import grab_contours, preprocess

DIGITS = 4
MARGIN = 5  # pixels around a digit
SIZE = 28  # of the network's input

Box = tuple[int, int, int, int]  # x, y, width, height


class NotFourDigits(ValueError):
    """The captcha does not fall into four digits."""


def find_ink(gray: np.ndarray) -> np.ndarray:
    """255 where a grey image (H, W) is dark by Otsu's threshold, 0 elsewhere."""
    return cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)[1]


def pad(gray: np.ndarray, pixels: int) -> np.ndarray:
    """Repeat the border, so that no digit touches it; where one did, put the ground's grey around."""
    rim = np.ones(gray.shape, bool)
    rim[1:-1, 1:-1] = False
    sides = (pixels,) * 4
    if find_ink(gray)[rim].any():
        return cv2.copyMakeBorder(gray, *sides, cv2.BORDER_CONSTANT, value=float(np.median(gray[rim])))
    return cv2.copyMakeBorder(gray, *sides, cv2.BORDER_REPLICATE)


def find_digits(gray: np.ndarray) -> list[Box]:
    """Boxes of the four digits of a padded captcha (H, W), dark on light, from left to right.

    Raises
    ------
    NotFourDigits
        Where the four tallest boxes cannot be four digits side by side.
    """
    contours = grab_contours(cv2.findContours(find_ink(gray), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE))
    tallest = sorted((cv2.boundingRect(contour) for contour in contours), key=lambda box: box[3], reverse=True)
    boxes = sorted(tuple(box) for box in tallest[:DIGITS])
    if len(boxes) < DIGITS:
        raise NotFourDigits(f"expected {DIGITS} digits. Received {len(boxes)} contours")
    heights = [height for _, _, _, height in boxes]
    if 2 * min(heights) <= max(heights):
        raise NotFourDigits(f"expected digits of about one height. Received boxes of heights {heights}")
    if any(x + width > next_x for (x, _, width, _), (next_x, *_) in pairwise(boxes)):
        raise NotFourDigits(f"expected digits side by side. Received overlapping boxes {boxes}")
    return boxes


def crop(gray: np.ndarray, box: Box, margin: int = MARGIN) -> np.ndarray:
    """The digit with a margin, which ends where the image ends."""
    x, y, width, height = box
    return gray[max(y - margin, 0) : y + height + margin, max(x - margin, 0) : x + width + margin]


def to_input(digits: list[np.ndarray]) -> np.ndarray:
    """Pictures of digits as LeNet takes them: (N, 28, 28, 1) in 0..1, proportions kept, missing sides padded."""
    resized = np.stack([preprocess(digit, SIZE, SIZE) for digit in digits])
    return resized[..., np.newaxis].astype(np.float32) / 255


def read_labels(path: Path) -> dict[str, str]:
    """File name -> digits, from lines "00000.jpg 8657"; lines that begin with # are comments."""
    labels: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, digits = line.strip().rpartition(" ")
        if not name or len(digits) != DIGITS or not set(digits) <= set("123456789") or name.strip() in labels:
            raise ValueError(
                f"{path}, line {number}: expected a new file name and {DIGITS} digits from 1 to 9. Received {line!r}"
            )
        labels[name.strip()] = digits
    return labels


def write_labels(path: Path, labels: dict[str, str]) -> None:
    """Write what `read_labels` reads, whole or not at all."""
    write_text(path, "".join(f"{name} {digits}\n" for name, digits in labels.items()))
