"""Lower layers of a trained network at the start of another one: digits 5 to 9 from few examples, after 0 to 4.

LeNet is trained on the digits 0 to 4. Then the digits 5 to 9 are learned from a hundred examples, by three networks
with the same new classifier: one starts from scratch; one starts with copies of the first network's lower layers; in
one the copies are frozen, too, so that only the classifier is trained. The book describes the method (random weights in
the upper layers, those of another network in the lower ones) and gives neither program nor figure.

    python -m examples.reuse_layers --output runs/reuse_layers
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common

REUSED = 9  # layers of LeNet that are copied, in order: convolutions, pooling, and the dense layer of 500 with its ReLU
WAYS = ("from scratch", "copied", "copied and frozen")

Digits = tuple[np.ndarray, np.ndarray]  # images (N, 28, 28, 1) in 0..1, labels 0 to 4


def load_digits(source: str, first: int) -> tuple[Digits, Digits]:
    """Training and test digits from `first` to `first` + 4; labels count from 0."""
    parts = []
    for x, y in tc.datasets.mnist.load_data(source):
        chosen = (y >= first) & (y < first + 5)
        parts.append((common.as_floats(x[chosen])[..., np.newaxis], y[chosen] - first))
    return parts[0], parts[1]


def build_network() -> tc.Sequential:
    """LeNet for five classes, compiled by its user."""
    return tc.applications.LeNet.build(width=28, height=28, depth=1, classes=5)


def copy_lower_layers(source: tc.Sequential, target: tc.Sequential, count: int = REUSED) -> None:
    """Give the first `count` layers of `target` the weights of those of `source`.

    >>> a, b = build_network(), build_network()
    >>> copy_lower_layers(a, b)
    >>> [bool((x == y).all()) for x, y in zip(a.get_weights(), b.get_weights())]  # three kernels and biases; classifier
    [True, True, True, True, True, True, False, True]
    """
    for old, new in zip(source.layers[:count], target.layers[:count], strict=True):
        new.set_weights(old.get_weights())


def train(model: tc.Sequential, digits: Digits, epochs: int, test: Digits) -> list[float]:
    """Compile and train; returns the accuracy on the test digits after each epoch."""
    model.compile(tc.optimizers.SGD(0.02, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(*digits, batch_size=32, epochs=epochs, validation_data=test, verbose=0)
    return history.history["val_accuracy"]


def second_network(way: str, first: tc.Sequential) -> tc.Sequential:
    """A network for the second task, which starts in one of the three ways."""
    model = build_network()
    if way != "from scratch":
        copy_lower_layers(first, model)
    for layer in model.layers[:REUSED]:
        layer.trainable = way != "copied and frozen"
    return model


def plot_accuracies(curves: dict[str, Sequence[float]], path: Path) -> Any:
    """Accuracy on the test digits 5 to 9 against the epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5))
    axes = figure.add_subplot()
    for way, accuracies in curves.items():
        axes.plot(range(1, len(accuracies) + 1), accuracies, label=way)
    axes.set(xlabel="epoch", ylabel="accuracy on test digits", title="Digits 5 to 9 from few examples")
    axes.legend()
    return tc.viz.save(figure, path)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/reuse_layers")
    parser.add_argument("-n", "--examples", type=common.positive, default=100, help="digits 5 to 9 to learn from (100)")
    parser.add_argument("-e", "--epochs", type=common.positive, default=40, help="passes over them (40)")
    parser.add_argument("--first-epochs", type=common.positive, default=3, help="passes over the digits 0 to 4 (3)")
    common.add_mnist_argument(parser)
    args = parser.parse_args(arguments)
    if args.quick:
        args.data, args.epochs, args.first_epochs = "subset", 15, 2
    return args


def main(arguments: list[str] | None = None) -> dict[str, list[float]]:
    """Run the program; returns accuracies on the test digits 5 to 9 after each epoch, by way."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    tc.set_seed(args.seed)
    with common.user_input():
        train_digits, test_digits = load_digits(args.data, 0)
    print(f"[INFO] training LeNet on {len(train_digits[0])} digits 0 to 4...")
    first = build_network()
    accuracy = train(first, train_digits, args.first_epochs, test_digits)[-1]
    print(f"[INFO] accuracy on {len(test_digits[0])} test digits 0 to 4: {accuracy:.4f}")

    (x, y), test_digits = load_digits(args.data, 5)
    few = x[: args.examples], y[: args.examples]
    print(f"[INFO] learning the digits 5 to 9 from {len(few[0])} examples, {args.epochs} epochs...")
    rows: list[tuple[Any, ...]] = [("lower layers", "trained parameters", "accuracy", "best")]
    curves = {}
    for way in WAYS:
        tc.set_seed(args.seed)  # the same classifier at the start
        model = second_network(way, first)
        curves[way] = train(model, few, args.epochs, test_digits)
        trained = sum(weight.size for weight in model.trainable_weights)
        rows.append((way, f"{trained:,}", f"{curves[way][-1]:.4f}", f"{max(curves[way]):.4f}"))
    report = common.table(rows)
    print(f"accuracy on {len(test_digits[0])} test digits 5 to 9, after the last epoch and at best")
    print(report)
    common.write_text(args.output / "reuse_layers.txt", report + "\n")
    picture = args.output / "reuse_layers.png"
    figure = plot_accuracies(curves, picture)
    print(f"[INFO] picture: {picture}")
    if args.show:
        tc.viz.show(figure)
    return curves


if __name__ == "__main__":
    common.run(main)
