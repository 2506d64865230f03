"""Draw captchas: four digits from 1 to 9, dark on white, in several styles, with noise.

Takes the place of the documents' download; the images are like theirs (150x36, JPEG, 00000.jpg, 00001.jpg, ...), and
a file labels.txt beside them says what each shows. (Their program stores error pages as images, counts only what
succeeds, so that failures leave fewer than were asked for, and cannot be ended by Ctrl-C.)

    python -m examples.captcha_breaker.generate_images --output runs/captchas/downloads --num-images 500
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from examples import common
from examples.captcha_breaker.segmentation import DIGITS, write_labels

WIDTH, HEIGHT = 150, 36
STEP = 32  # pixels from one digit to the next
FINE = 4  # drawn this many times as large, then averaged: smooth edges
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
LABELS = "labels.txt"


def draw_digit(canvas: np.ndarray, digit: str, left: float, bottom: float, rng: np.random.Generator) -> None:
    """Draw one digit, 15 pixels high, upright or slanted, thin or bold, on the fine canvas."""
    font, thickness = FONTS[rng.integers(len(FONTS))], int(rng.choice([4, 8]))
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, 15 * FINE - thickness, thickness)
    layer = np.full_like(canvas, 255)
    baseline = int(bottom * FINE)
    cv2.putText(layer, digit, (int(left * FINE), baseline), font, scale, 0, thickness, cv2.LINE_AA)
    if rng.random() < 0.5:  # slanted about its foot
        slant = np.array([[1, -0.22, 0.22 * baseline], [0, 1, 0]])
        layer = cv2.warpAffine(layer, slant, layer.shape[::-1], borderValue=255)
    np.minimum(canvas, layer, out=canvas)


def draw_captcha(digits: str, rng: np.random.Generator, noise: float = 4.0) -> np.ndarray:
    """A captcha (36, 150), uint8: the digits at a random place, normal noise, and small specks.

    Parameters
    ----------
    digits : str of four digits
    noise : standard deviation of the noise in grey values of 255; 0 draws no specks, either.
    """
    canvas = np.full((HEIGHT * FINE, WIDTH * FINE), 255, np.uint8)
    left, bottom = rng.uniform(3, WIDTH - (DIGITS - 1) * STEP - 21), rng.uniform(20, HEIGHT - 5)
    for position, digit in enumerate(digits):
        draw_digit(canvas, digit, left + STEP * position, bottom, rng)
    image = cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    if not noise:
        return image
    for _ in range(rng.integers(4)):
        x, y = rng.integers(2, WIDTH - 2), rng.integers(2, HEIGHT - 2)
        image[y, x] = min(int(image[y, x]), int(rng.integers(60, 200)))
    noisy = image + rng.normal(0, noise, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def generate(folder: Path, count: int, seed: int | None = 42, noise: float = 4.0) -> dict[str, str]:
    """Write captchas and their labels into a folder; returns file name -> digits."""
    common.make_folder(folder)
    rng = np.random.default_rng(seed)
    labels = {}
    for number in range(count):
        digits = "".join(rng.choice(list("123456789"), DIGITS))
        path = folder / f"{number:05d}.jpg"
        common.write_image(path, draw_captcha(digits, rng, noise))
        labels[path.name] = digits
    write_labels(folder / LABELS, labels)
    return labels


def main(arguments: list[str] | None = None) -> dict[str, str]:
    """Run the program; returns file name -> digits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/captchas/downloads"), help="folder to fill")
    parser.add_argument("-n", "--num-images", type=common.positive, default=500, help="number of captchas (500)")
    parser.add_argument("--noise", type=common.not_negative, default=4.0, help="standard deviation in grey values (4)")
    parser.add_argument("--seed", type=common.whole, default=42, help="makes the captchas repeatable (42)")
    parser.add_argument("--quick", action="store_true", help="20 captchas")
    args = parser.parse_args(arguments)
    labels = generate(args.output, 20 if args.quick else args.num_images, args.seed, args.noise)
    print(f"[INFO] generated {len(labels)} captchas: {args.output}")
    print(f"[INFO] what they show: {args.output / LABELS}")
    return labels


if __name__ == "__main__":
    common.run(main)
