"""Dense networks on MNIST: one hidden layer of 300 neurons, and two with the same total, 150 each.

The book's chapter on multilayer perceptrons gives figures without a program: one hidden layer of a few hundred neurons
is right on more than 97 % of the test digits, two layers with as many neurons in total on more than 98 %, in about the
same time. Here: 784 inputs in 0..1, ReLU, softmax; SGD with learning rate 0.1, batches of 32; 55,000 digits to train
with; 5,000 that choose the best epoch, and end training five epochs after it; and the 10,000 test digits, by which
nothing is chosen. Without the full data set the 6,000 digits that ship with tinyconv are used.

    python -m examples.mnist_mlp --output runs/mnist_mlp
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common

NETWORKS = {"one hidden layer of 300": (300,), "two hidden layers of 150": (150, 150)}


def build_network(hidden: Sequence[int]) -> tc.Sequential:
    """784 inputs, ReLU layers with ``hidden`` neurons, 10 outputs.

    >>> build_network((300,)).count_params()  # (784 + 1) 300 + (300 + 1) 10
    238510
    """
    layers: list[Any] = [tc.layers.Input((784,))]
    layers += [tc.layers.Dense(neurons, activation="relu") for neurons in hidden]
    return tc.Sequential([*layers, tc.layers.Dense(10, activation="softmax")])


def load_digits(source: str, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Digits to train with, to choose the epoch by, and to test: rows of 784 numbers in 0..1, and their labels."""
    (x, y), (x_test, y_test) = tc.datasets.mnist.load_data(source)
    x, x_test = (common.as_floats(images).reshape(-1, 784) for images in (x, x_test))
    x_train, x_valid, y_train, y_valid = tc.datasets.train_test_split(
        x, y, test_size=len(x) // 12, random_state=seed, stratify=y
    )
    return (x_train, y_train), (x_valid, y_valid), (x_test, y_test)


def train(model: tc.Sequential, digits: Any, args: argparse.Namespace) -> Any:
    """Train until the digits that choose the epoch show no progress; leaves the weights of the best epoch."""
    optimizer = tc.optimizers.SGD(args.learning_rate)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return common.fit_to_the_best(model, digits[0], digits[1], args)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/mnist_mlp")
    common.add_training_arguments(parser, epochs=40, batch_size=32, learning_rate=0.1)
    parser.add_argument("--patience", type=common.positive, default=5, help="epochs without progress to end after (5)")
    common.add_mnist_argument(parser)
    args = parser.parse_args(arguments)
    if args.quick:
        args.data, args.epochs = "subset", 3
    return args


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Run the program; returns each network's accuracy on the test digits."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    print("[INFO] loading MNIST...")
    with common.user_input():
        digits = load_digits(args.data, args.seed)
    print("[INFO] {} digits to train with, {} to choose the epoch, {} to test".format(*(len(y) for _, y in digits)))
    x_test, y_test = digits[2]
    accuracies = {}
    for name, hidden in NETWORKS.items():
        tc.set_seed(args.seed)
        model = build_network(hidden)
        print(f"[INFO] training {name}: {model.count_params()} parameters...")
        history = train(model, digits, args)
        predicted = model.predict(x_test).argmax(axis=1)
        report, accuracies[name] = common.print_report(y_test, predicted, "0123456789", f"test digits, {name}")
        plot = args.output / f"mnist_mlp_{len(hidden)}.png"
        common.write_results(plot, history, report, f"MNIST, {name}", args.show)
    return accuracies


if __name__ == "__main__":
    common.run(main)
