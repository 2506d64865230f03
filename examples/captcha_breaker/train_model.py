"""Train LeNet on digits that were cut out of captchas: 28x28, SGD with rate 0.01, batches of 32, 15 epochs.

DATASET is what ``annotate`` writes, a folder 1..9 for each digit. Without it the 2,019 published digits are used
(``tc.datasets.captchas``), a quarter of them for validation (random state 42, not stratified), as the documents do;
they had 2,012 (once "2,000"), and reached 0.9980 (once "100 %"). Those digits are cut out of the 505 published
captchas, so a network that was trained here has seen most of them: ``break_real`` is the honest test on whole captchas.

    python -m examples.captcha_breaker.train_model --output runs/captcha_breaker
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

import tinyconv as tc
from examples import common
from examples.captcha_breaker.annotate import annotate_generated
from examples.captcha_breaker.segmentation import SIZE, to_input

QUICK_CAPTCHAS = 100


def load_digits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Digits (N, 28, 28, 1) in 0..1 of a folder, and their labels (N,): the names of their folders."""
    paths = sorted(tc.preprocessing.list_images(folder)) if folder.is_dir() else []
    if not paths:
        raise FileNotFoundError(
            f"expected digits in {folder}. Received none. To get some, run: python -m examples.captcha_breaker.annotate"
        )
    labels = np.array([os.path.basename(os.path.dirname(path)) for path in paths])
    if len(set(labels)) < 2:
        raise ValueError(f"expected digits of several folders, one for each, in {folder}. Received: {labels[0]} only")
    return to_input([common.read_grey(path) for path in paths]), labels


def train(
    x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, args: argparse.Namespace
) -> tuple[tc.Model, np.ndarray]:
    """Train on digits with their labels, print the report; returns the model and what it reads in `x_test`.

    The model file is saved as ``args.model``, curve and report in ``args.output``.
    """
    encoder = tc.datasets.LabelEncoder().fit(y_train)
    with common.user_input():  # a digit that is in the test part only
        train_targets, test_targets = (
            tc.datasets.to_categorical(encoder.transform(y), len(encoder.classes_)) for y in (y_train, y_test)
        )
    print("[INFO] compiling model...")
    model = tc.applications.LeNet.build(width=SIZE, height=SIZE, depth=1, classes=len(encoder.classes_))
    model.compile(
        optimizer=tc.optimizers.SGD(args.learning_rate), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    model.class_names = [str(name) for name in encoder.classes_]  # not "argmax + 1": a label is what it was called

    print("[INFO] training network...")
    start = time.perf_counter()
    history = model.fit(
        x_train, train_targets, validation_data=(x_test, test_targets), batch_size=32, epochs=args.epochs, verbose=2
    )
    print(f"[INFO] trained {args.epochs} epochs in {time.perf_counter() - start:.1f} s")

    print("[INFO] evaluating network...")
    predicted = model.predict(x_test, batch_size=32).argmax(axis=1)
    report, _ = common.print_report(test_targets.argmax(axis=1), predicted, model.class_names, "digits")

    print("[INFO] serializing network...")
    model.save(args.model)
    print(f"[INFO] model file: {args.model} ({args.model.stat().st_size:,} bytes)")
    plot = args.output / "training_curve.png"
    common.write_results(plot, history, report, "Training Loss and Accuracy", args.show)
    return model, encoder.classes_[predicted]


def training_parser(description: str | None, output: str) -> argparse.ArgumentParser:
    """The arguments that `parse` reads."""
    parser = common.parser(description, output)
    parser.add_argument("-m", "--model", type=common.file_to_write, help="to write (OUTPUT/captcha_lenet.tinyconv)")
    common.add_training_arguments(parser, epochs=15, learning_rate=0.01)
    return parser


def parse(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """What was asked for; the folders for the results are there."""
    args = parser.parse_args(arguments)
    args.model = args.model or args.output / "captcha_lenet.tinyconv"
    if args.quick:  # few digits: more passes and larger steps
        args.epochs, args.learning_rate = 25, 0.05
    for folder in (args.output, args.model.parent):
        common.make_folder(folder)
    tc.set_seed(args.seed)
    return args


def load(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """The digits that the command line asks for, and their labels."""
    if args.quick:
        with tempfile.TemporaryDirectory() as folder:
            annotate_generated(Path(folder), QUICK_CAPTCHAS, args.seed)
            return load_digits(Path(folder))
    if args.dataset:
        return load_digits(args.dataset)
    try:
        paths, labels = tc.datasets.captchas.load_paths()
    except FileNotFoundError as error:
        drawn = "python -m examples.captcha_breaker.generate_images, then --dataset of what annotate makes of them"
        raise FileNotFoundError(f"{error}. Or draw some: {drawn}") from None
    return to_input([common.read_grey(path) for path in paths]), labels


def main(arguments: list[str] | None = None) -> float:
    """Run the program; returns the share of validation digits that are read correctly."""
    parser = training_parser(__doc__, "runs/captcha_breaker")
    parser.add_argument("-d", "--dataset", type=Path, help="folder of digits (the published ones)")
    args = parse(parser, arguments)

    print("[INFO] loading digits...")
    with common.user_input():
        x, y = load(args)
        x_train, x_test, y_train, y_test = tc.datasets.train_test_split(x, y, test_size=0.25, random_state=42)
    _, predicted = train(x_train, y_train, x_test, y_test, args)
    return float((predicted == y_test).mean())


if __name__ == "__main__":
    common.run(main)
