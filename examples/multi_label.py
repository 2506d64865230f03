"""Several labels for one picture: which digits are in it?

Each picture shows one to four digits of MNIST in the quarters of a 56x56 field, some perhaps twice; its label is a row
of ten zeros and ones. As in the text on classification tasks there is one sigmoid unit for each label and the binary
cross-entropy: the outputs are independent of each other and need not sum to 1. Logits 20 and 21 mean "surely both"; the
softmax would make 0.27 and 0.73 of them, for it can only choose one. The documents name data such as X-rays and scenes,
and give no program and no figure.

Accuracy is told three ways: over all labels (a network that never sees a digit has more than 0.7, so it flatters), over
whole pictures (all ten labels right), and as precision and recall of every digit.

    python -m examples.multi_label --output runs/multi_label
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common
from tinyconv.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D

DIGITS = list("0123456789")
MOST = 4  # digits in a picture


def build_network() -> tc.Sequential:
    """LeNet's layers for pictures (56, 56, 1), with ten independent outputs.

    >>> build_network().output_shape
    (None, 10)
    """
    return tc.Sequential([
        Input((56, 56, 1)),
        Conv2D(20, 5, padding="same", activation="relu"), MaxPooling2D(2),
        Conv2D(50, 5, padding="same", activation="relu"), MaxPooling2D(2),
        Flatten(), Dense(500, activation="relu"), Dense(10, activation="sigmoid"),
    ])  # fmt: skip


def make_pictures(
    digits: np.ndarray, labels: np.ndarray, count: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with one to four digits each.

    Parameters
    ----------
    digits : ndarray, shape (N, 28, 28)
        To draw from, with repetition.
    labels : ndarray of int, shape (N,)
    count : int
        Number M of pictures.
    random : Generator

    Returns
    -------
    pictures : ndarray of the digits' dtype, shape (M, 56, 56)
    present : ndarray of float32, shape (M, 10)
        1 for the digits that are in the picture.

    Examples
    --------
    >>> ones = np.ones((10, 28, 28), np.uint8)  # digit 3 only
    >>> pictures, present = make_pictures(ones, np.full(10, 3), 5, np.random.default_rng(0))
    >>> pictures.shape, present[:, 3].tolist(), present.sum()
    ((5, 56, 56), [1.0, 1.0, 1.0, 1.0, 1.0], np.float32(5.0))
    """
    pictures = np.zeros((count, 2, 28, 2, 28), digits.dtype)  # (M, row of quarters, H, column of quarters, W)
    present = np.zeros((count, 10), np.float32)
    for picture, label in zip(pictures, present):
        quarters = random.permutation(4)[: random.integers(1, MOST + 1)]
        chosen = random.integers(len(digits), size=len(quarters))
        for quarter, i in zip(quarters, chosen):
            picture[quarter // 2, :, quarter % 2] = digits[i]
        label[labels[chosen]] = 1
    return pictures.reshape(count, 56, 56), present  # (M, 2, 28, 2, 28) -> (M, 56, 56)


def load_pictures(args: argparse.Namespace) -> common.Data:
    """Pictures (M, 56, 56, 1) in 0..1 and their labels; no digit is in training and in test pictures."""
    (x, y), (x_test, y_test) = tc.datasets.mnist.load_data(args.data)
    random = np.random.default_rng(args.seed)
    x, y = make_pictures(x, y, args.pictures, random)
    x_test, y_test = make_pictures(x_test, y_test, max(1, args.pictures // 4), random)
    return common.Data(common.as_floats(x)[..., None], y, common.as_floats(x_test)[..., None], y_test, DIGITS)


def label_report(true: np.ndarray, predicted: np.ndarray) -> str:
    """Precision, recall and F1 of every label, and two accuracies; 0 where a ratio is undefined.

    Parameters
    ----------
    true, predicted : ndarray of bool, shape (M, 10)
    """
    right = (true & predicted).sum(axis=0)
    precision = right / np.maximum(predicted.sum(axis=0), 1)
    recall = right / np.maximum(true.sum(axis=0), 1)
    f1 = 2 * right / np.maximum(true.sum(axis=0) + predicted.sum(axis=0), 1)
    rows: list[Any] = [("digit", "precision", "recall", "f1-score", "support")]
    for digit, *ratios, support in zip(DIGITS, precision, recall, f1, true.sum(axis=0)):
        rows.append((digit, *(f"{ratio:.3f}" for ratio in ratios), support))
    never = f"{1 - true.mean():.4f}"
    return "\n".join([
        common.table(rows),
        f"labels right: {(true == predicted).mean():.4f} (with none ever seen: {never})",
        f"whole pictures right: {(true == predicted).all(axis=1).mean():.4f}",
    ])  # fmt: skip


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/multi_label")
    common.add_training_arguments(parser, epochs=8, batch_size=64)
    parser.add_argument("-n", "--pictures", type=common.positive, default=20_000, help="to train with (20000)")
    common.add_mnist_argument(parser)
    args = parser.parse_args(arguments)
    if args.quick:
        args.data, args.epochs, args.pictures, args.batch_size = "subset", 2, 800, 16
    return args


def main(arguments: list[str] | None = None) -> float:
    """Run the program; returns the fraction of test pictures of which all labels are right."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    tc.set_seed(args.seed)
    both = np.array([20.0, 21.0])
    for name, function in (("sigmoid", tc.ops.sigmoid), ("softmax", tc.ops.softmax)):
        print(f"[INFO] logits 20 and 21, {name}: {function(both).numpy().round(4).tolist()}")

    print("[INFO] making pictures...")
    with common.user_input():
        data = load_pictures(args)
    print(f"[INFO] {len(data.x_train)} pictures to train with, {len(data.x_test)} to test")
    model = build_network()
    model.class_names = DIGITS
    model.compile("adam", loss="binary_crossentropy", metrics=["binary_accuracy"])
    start = time.perf_counter()
    history = model.fit(
        data.x_train, data.y_train, args.batch_size, args.epochs, validation_data=(data.x_test, data.y_test)
    )
    print(f"[INFO] trained {args.epochs} epochs in {time.perf_counter() - start:.1f} s")

    true, predicted = data.y_test > 0.5, model.predict(data.x_test) > 0.5
    report = label_report(true, predicted)
    print(report)
    model.save(args.output / "multi_label.tinyconv")
    labels, guesses = ([" ".join(np.flatnonzero(row).astype(str)) for row in rows[:16]] for rows in (true, predicted))
    tc.viz.plot_images(data.x_test[:16], labels, guesses, path=args.output / "multi_label_pictures.png")
    print(f"[INFO] model file and pictures: multi_label.tinyconv, multi_label_pictures.png in {args.output}")
    common.write_results(args.output / "multi_label.png", history, report, "Digits in a picture", args.show)
    return float((true == predicted).all(axis=1).mean())


if __name__ == "__main__":
    common.run(main)
