"""The whole case on the 505 real captchas, tested on captchas that nothing was trained on.

1. The captchas are split, not the digits: 378 to train with, 127 held out (`train_test_split`, random state 42).
2. The digits of the 378 are cut out and filed by ``annotate``; what they show is looked up in the 2,019 published
   digits, which are these very cuts, resized to 28x28: a cut is the published one where no pixel differs by more than
   2 of 255 grey values. A captcha with a digit that was never published is left out.
3. LeNet is trained on them by ``train_model``, with the documents' settings, and tested on the digits of the others.
4. ``test_model`` reads the 127 whole captchas. What these show stands in held_out_labels.txt, read off the images
   by looking at them, without the published digits.

The captchas are rendered, so that some held-out digits equal a training digit pixel for pixel although they come from
another captcha; the accuracy on those that do not is printed, too. The documents split digits at random and test on
captchas whose digits were trained on.

    python -m examples.captcha_breaker.break_real --output runs/captcha_real
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np

import tinyconv as tc
from examples import common
from examples.captcha_breaker import annotate, test_model, train_model
from examples.captcha_breaker.generate_images import LABELS, generate
from examples.captcha_breaker.segmentation import (
    SIZE,
    NotFourDigits,
    crop,
    find_digits,
    pad,
    read_labels,
    to_input,
    write_labels,
)

HELD_OUT = Path(__file__).parent / "held_out_labels.txt"
TOLERANCE = 2  # grey values between a published digit and the same cut made here
UNKNOWN = "?"


def cut(path: str, padding: int = annotate.PADDING) -> list[np.ndarray]:
    """The digits of one captcha, left to right, with their margins."""
    gray = pad(common.read_grey(path), padding)
    return [crop(gray, box) for box in find_digits(gray)]


def look_up(digits: list[np.ndarray], published: np.ndarray, labels: np.ndarray) -> str:
    """What digits show, by the published digits (M, 28, 28) and their labels (M,); "?" where none or several fit."""
    found = ""
    for digit in digits:
        resized = cv2.resize(digit, (SIZE, SIZE)).astype(np.int16)
        fits = set(labels[abs(published - resized).max(axis=(1, 2)) <= TOLERANCE])
        found += fits.pop() if len(fits) == 1 else UNKNOWN
    return found


def published_labels(paths: list[str]) -> dict[str, str]:
    """File name -> digits, for the captchas of which all four digits were published."""
    digit_paths, labels = tc.datasets.captchas.load_paths()
    published = np.stack([common.read_grey(path) for path in digit_paths]).astype(np.int16)
    found = {os.path.basename(path): look_up(cut(path), published, labels) for path in paths}
    return {name: digits for name, digits in found.items() if UNKNOWN not in digits}


def is_new(x_test: np.ndarray, x_train: np.ndarray) -> np.ndarray:
    """Which test images (M, ...) equal no training image, bool (M,)."""
    seen = {image.tobytes() for image in x_train}
    return np.array([image.tobytes() not in seen for image in x_test])


def real_captchas() -> tuple[list[str], dict[str, str], list[str], dict[str, str]]:
    """Paths and labels of the captchas to train with, and of those held out."""
    train, held_out = tc.datasets.train_test_split(
        tc.datasets.captchas.whole_paths(), test_size=0.25, random_state=42
    )
    held_out_labels = read_labels(HELD_OUT)
    if {os.path.basename(path) for path in held_out} != set(held_out_labels):
        raise ValueError(f"expected the 505 published captchas, of which {HELD_OUT.name} names 127. Received others")
    return train, published_labels(train), sorted(held_out), held_out_labels


def generated_captchas(folder: Path, seed: int) -> tuple[list[str], dict[str, str], list[str], dict[str, str]]:
    """The same of captchas that are drawn for --quick."""
    labels = generate(folder, 100, seed)
    paths = [str(folder / name) for name in labels]
    held_out = {name: labels[name] for name in list(labels)[75:]}
    return paths[:75], {name: labels[name] for name in list(labels)[:75]}, paths[75:], held_out


def main(arguments: list[str] | None = None) -> float:
    """Run the program; returns the share of held-out captchas that are read whole."""
    args = train_model.parse(train_model.training_parser(__doc__, "runs/captcha_real"), arguments)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        with common.user_input():
            captchas = generated_captchas(folder / "downloads", args.seed) if args.quick else real_captchas()
        train, train_labels, held_out, held_out_labels = captchas
        print(f"[INFO] {len(train)} captchas to train with, {len(train_labels)} of them labelled")
        print(f"[INFO] {len(held_out)} captchas held out")
        write_labels(folder / LABELS, train_labels)
        known = [path for path in train if os.path.basename(path) in train_labels]
        labels = read_labels(folder / LABELS)
        annotate.annotate(known, folder / "dataset", annotate.ask_file(labels), progress=False)
        x_train, y_train = train_model.load_digits(folder / "dataset")
        x_test, y_test = held_out_digits(held_out, held_out_labels)
        print(f"[INFO] {len(x_train)} digits to train with, {len(x_test)} to test")
        model, predicted = train_model.train(x_train, y_train, x_test, y_test, args)
        new = is_new(x_test, x_train)
        accuracy = (predicted == y_test)[new].mean()
        print(f"[INFO] accuracy on the {new.sum()} of them that equal no training digit: {accuracy:.4f}")
        found, pictures = test_model.read_all(model, held_out, args.output / "read", held_out_labels)
    test_model.print_score(found, held_out_labels)
    test_model.write_sheet(pictures, args.output / "read")
    return test_model.score(found, held_out_labels)[0]


def held_out_digits(paths: list[str], labels: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Digits (N, 28, 28, 1) of captchas, and what they are (N,); captchas that do not segment fail in `test_model`."""
    digits: list[np.ndarray] = []
    names = ""
    for path in paths:
        try:
            digits += cut(path, test_model.PADDING)
        except NotFourDigits:
            continue
        names += labels[os.path.basename(path)]
    return to_input(digits), np.array(list(names))


if __name__ == "__main__":
    common.run(main)
