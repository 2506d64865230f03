"""Read whole captchas with the trained network, and draw what it reads.

Ten captchas are drawn at random from the folder, without replacement, and read; what is drawn on each is saved as
OUTPUT/NAME.png, the first twelve together as OUTPUT/sheet.png. With --labels every captcha that the file names is
read and compared. Digits are named by the model file; the documents add 1 to their numbers, which only fits the nine
digits from 1.

    python -m examples.captcha_breaker.test_model -i runs/captchas/downloads \\
        -m runs/captcha_breaker/captcha_lenet.tinyconv
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import cv2
import numpy as np

import tinyconv as tc
from examples import common
from examples.captcha_breaker.generate_images import LABELS, generate
from examples.captcha_breaker.segmentation import (
    DIGITS,
    SIZE,
    Box,
    crop,
    find_digits,
    pad,
    read_labels,
    to_input,
)

PADDING = 20
GREEN = (0, 255, 0)


def read_captcha(model: tc.Model, gray: np.ndarray) -> tuple[str, np.ndarray]:
    """The digits of a captcha (H, W), and a colour picture of the padded captcha with them."""
    gray = pad(gray, PADDING)
    boxes = find_digits(gray)
    probabilities = model.predict(to_input([crop(gray, box) for box in boxes]), batch_size=DIGITS)
    digits = "".join(model.class_names[number] for number in probabilities.argmax(axis=1))
    return digits, draw(gray, boxes, digits)


def draw(gray: np.ndarray, boxes: list[Box], digits: str) -> np.ndarray:
    """Boxes and digits in green on the captcha."""
    picture = cv2.merge([gray] * 3)
    for (x, y, width, height), digit in zip(boxes, digits):
        cv2.rectangle(picture, (x - 2, y - 2), (x + width + 4, y + height + 4), GREEN, 1)
        cv2.putText(picture, digit, (x - 5, y - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.55, GREEN, 2)
    return picture


def read_all(
    model: tc.Model, paths: list[str], output: Path, labels: dict[str, str] | None = None
) -> tuple[dict[str, str], list[np.ndarray]]:
    """Read captchas, print and draw each; returns file name -> digits ("" for what is no captcha) and the pictures."""
    common.make_folder(output)
    found: dict[str, str] = {}
    pictures = []
    for path in paths:
        name = os.path.basename(path)
        try:
            found[name], picture = read_captcha(model, common.read_grey(path))
        except (ValueError, OSError) as error:
            found[name] = ""
            print(f"[INFO] skipping image... {name}: {error}")
            continue
        shown = labels[name] if labels else found[name]
        print(f"[INFO] captcha: {found[name]}" + ("" if found[name] == shown else f" (it is {shown}: {name})"))
        common.write_image(output / f"{Path(name).stem}.png", picture)
        pictures.append(picture)
    return found, pictures


def write_sheet(pictures: list[np.ndarray], output: Path, columns: int = 4, most: int = 12) -> None:
    """Save the first pictures beside and below each other; white where one is smaller or missing."""
    print(f"[INFO] drawn captchas: {output}")
    pictures = pictures[:most]
    if not pictures:
        return
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    sheet = np.full((-(-len(pictures) // columns) * height, min(columns, len(pictures)) * width, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    common.write_image(output / "sheet.png", sheet)


def score(found: dict[str, str], labels: dict[str, str]) -> tuple[float, float]:
    """Share of whole captchas and of digits that are right; a captcha that was not read has no digit right."""
    whole = sum(found[name] == labels[name] for name in found) / len(found)
    right = sum(a == b for name in found for a, b in zip(found[name], labels[name]))
    return whole, right / (DIGITS * len(found))


def print_score(found: dict[str, str], labels: dict[str, str]) -> None:
    whole, digits = score(found, labels)
    print(f"[INFO] {whole * len(found):.0f} of {len(found)} captchas read correctly: {whole:.4f}")
    print(f"[INFO] {digits * DIGITS * len(found):.0f} of {DIGITS * len(found)} digits read correctly: {digits:.4f}")


def choose(args: argparse.Namespace) -> tuple[list[str], dict[str, str] | None]:
    """Paths of the captchas to read, and their labels where there are some."""
    if args.quick:
        args.input = args.output / "downloads"
        generate(args.input, 10, args.seed)
        args.labels = args.input / LABELS
    paths = sorted(tc.preprocessing.list_images(args.input)) if args.input.is_dir() else []
    if args.labels:
        labels = read_labels(args.labels)
        paths = [path for path in paths if os.path.basename(path) in labels]
        if missing := sorted(set(labels) - {os.path.basename(path) for path in paths}):
            raise FileNotFoundError(
                f"expected the captchas that {args.labels} names in {args.input}. "
                f"Received no {missing[0]}, nor {len(missing) - 1} others"
            )
    if not paths:
        raise FileNotFoundError(
            f"expected captchas in {args.input}. Received none. To get some, run: "
            "python -m examples.captcha_breaker.generate_images"
        )
    if args.labels:
        return paths, labels
    rng = np.random.default_rng(args.seed)
    return list(rng.choice(paths, min(args.number, len(paths)), replace=False)), None


def main(arguments: list[str] | None = None) -> dict[str, str]:
    """Run the program; returns file name -> digits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", "--input", type=Path, default=Path("runs/captchas/downloads"), help="folder of captchas")
    parser.add_argument("-m", "--model", type=Path, required=True, help="model file of train_model")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/captcha_breaker/read"), help="drawn results")
    parser.add_argument("-n", "--number", type=common.positive, default=10, help="captchas to read (10)")
    parser.add_argument("--labels", type=Path, help='file of lines "00000.jpg 8657": read these, and compare')
    parser.add_argument("--seed", type=common.whole, default=None, help="makes the choice repeatable")
    parser.add_argument("--quick", action="store_true", help="ten generated captchas")
    parser.add_argument("--show", action=common.ShowByOpenCV, help="open a window for each; any key goes on")
    args = parser.parse_args(arguments)
    if args.input.resolve() == args.output.resolve():
        parser.error(f"--output expected another folder than --input. Received: {args.output}")
    print("[INFO] loading pre-trained network...")
    with common.user_input():
        model = common.load_network(args.model, "captcha_breaker.train_model")
        if not model.class_names or model.input_shape != (None, SIZE, SIZE, 1):
            raise ValueError(f"expected a model of train_model. Received: {args.model}, which is another")
        paths, labels = choose(args)
    found, pictures = read_all(model, paths, args.output, labels)
    if labels:
        print_score(found, labels)
    write_sheet(pictures, args.output)
    if args.show:
        for picture in pictures:
            cv2.imshow("Output", picture)
            cv2.waitKey(0)
        cv2.destroyAllWindows()
    return found


if __name__ == "__main__":
    common.run(main)
