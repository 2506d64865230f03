"""Cut captchas into digits, and file each digit under its label.

In a window every digit is shown, enlarged; a key from 1 to 9 (or a letter) is its label, space leaves the digit out,
Esc ends the work. With --labels, a file of lines "00000.jpg 8657" takes the place of the keys and no window opens;
captchas that it does not name are left out. What does not fall into four digits is skipped.

Digits go to ANNOT/LABEL/000001.png and on; the documents start each run at 1 and overwrite earlier work, here the
count goes on after the last file. (They also ignore a "~" in the text and a space in the program: it is the space.)

    python -m examples.captcha_breaker.annotate -i runs/captchas/downloads -a runs/captchas/dataset \\
        --labels runs/captchas/downloads/labels.txt
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

import tinyconv as tc
from examples import common
from examples.captcha_breaker.generate_images import LABELS, generate
from examples.captcha_breaker.segmentation import crop, find_digits, pad, read_labels

PADDING = 8
ESCAPE, IGNORE = "\x1b", " "

Ask = Callable[[str, int, np.ndarray], str]  # name of the captcha, position 0..3, digit (H, W) -> key


def ask_in_window(name: str, position: int, digit: np.ndarray) -> str:
    """Show a digit until a key is pressed that means something."""
    cv2.imshow("ROI", tc.preprocessing.resize(digit, width=28))
    while True:
        key = chr(cv2.waitKey(0) & 0xFF)
        if key in (ESCAPE, IGNORE) or (key.isascii() and key.isalnum()):
            return key


def ask_file(labels: dict[str, str]) -> Ask:
    """Keys that a person would press who reads from a file."""
    return lambda name, position, digit: labels[name][position]


def next_number(folder: Path) -> int:
    """1 after the largest number that names a file of the folder."""
    numbers = [int(path.stem) for path in folder.glob("*.png") if path.stem.isascii() and path.stem.isdigit()]
    return max(numbers, default=0) + 1


def annotate(paths: list[str], folder: Path, ask: Ask, progress: bool = True) -> Counter[str]:
    """File the digits of captchas under the keys that `ask` gives; returns how many each label got."""
    counts: Counter[str] = Counter()
    next_numbers: dict[str, int] = {}
    for number, path in enumerate(paths, 1):
        if progress:
            print(f"[INFO] processing image {number}/{len(paths)}")
        try:
            gray = pad(common.read_grey(path), PADDING)
            boxes = find_digits(gray)
        except (ValueError, OSError) as error:
            print(f"[INFO] skipping image... {os.path.basename(path)}: {error}")
            continue
        for position, box in enumerate(boxes):
            digit = crop(gray, box)
            key = ask(os.path.basename(path), position, digit)
            if key == ESCAPE:
                print("[INFO] manually leaving script")
                return counts
            if key == IGNORE:
                print("[INFO] ignoring character")
                continue
            label = key.upper()
            if label not in next_numbers:
                next_numbers[label] = next_number(folder / label)
            common.write_image(folder / label / f"{next_numbers[label]:06d}.png", digit)
            next_numbers[label] += 1
            counts[label] += 1
    return counts


def annotate_generated(folder: Path, count: int, seed: int) -> Counter[str]:
    """Draw captchas and file their digits: what the quick modes work on."""
    with tempfile.TemporaryDirectory() as downloads:
        labels = generate(Path(downloads), count, seed)
        paths = [os.path.join(downloads, name) for name in labels]
        return annotate(paths, folder, ask_file(labels), progress=False)


def main(arguments: list[str] | None = None) -> Counter[str]:
    """Run the program; returns how many digits each label got."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", "--input", type=Path, help="folder of captchas")
    parser.add_argument("-a", "--annot", type=Path, required=True, help="folder for the digits")
    parser.add_argument("--labels", type=Path, help='file of lines "00000.jpg 8657" in place of keys')
    parser.add_argument("--seed", type=common.whole, default=42, help="of the captchas of --quick (42)")
    parser.add_argument("--quick", action="store_true", help="20 generated captchas, nothing to press")
    args = parser.parse_args(arguments)
    common.make_folder(args.annot)
    if args.quick:
        counts = annotate_generated(args.annot, 20, args.seed)
    else:
        counts = annotate_folder(args.input, args.annot, args.labels)
    print(f"[INFO] {counts.total()} digits filed: {args.annot}")
    print("[INFO] " + ", ".join(f"{label}: {counts[label]}" for label in sorted(counts)))
    return counts


def annotate_folder(folder: Path | None, annot: Path, labels_file: Path | None) -> Counter[str]:
    """What the command line asks for; ends the program with a message where something is missing."""
    paths = sorted(tc.preprocessing.list_images(folder)) if folder and folder.is_dir() else []
    if not folder or not paths:
        raise FileNotFoundError(
            f"expected captchas in the folder --input. Received: none in {folder}. To get some, run: "
            "python -m examples.captcha_breaker.generate_images"
        )
    if labels_file:
        with common.user_input():
            labels = read_labels(labels_file)
        named = [path for path in paths if os.path.basename(path) in labels]
        print(f"[INFO] {labels_file} names {len(named)} of the {len(paths)} captchas")
        if not named:
            raise FileNotFoundError(f"expected captchas in {folder} that {labels_file} names. Received: others only")
        return annotate(named, annot, ask_file(labels))
    if not common.can_show():
        raise SystemExit(f"[ERROR] expected a display, or --labels FILE (such as {folder / LABELS}). Received neither")
    try:
        return annotate(paths, annot, ask_in_window)
    finally:
        cv2.destroyAllWindows()


if __name__ == "__main__":
    common.run(main, interrupted="[INFO] manually leaving script")
