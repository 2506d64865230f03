"""What batch normalisation does for a dense network: one with and one without it, at three learning rates.

The network of the text: Dense ReLU -> BatchNormalization -> Dropout 0.5 -> Dense ReLU -> BatchNormalization -> Dense 2
softmax, normalisation after the activation, dropout after the normalisation. (The captions beside the text's code are
off by one; the code is right.) Its numbers of units are symbols, there 256 and 128, and it names no data: here odd
against even digits of MNIST, two classes. No figure is given; what is claimed is that normalisation trains faster and
allows higher learning rates, and that can be seen: accuracies after equal numbers of epochs are printed side by side.
Another of the documents would leave out the normalisation right before the softmax, and tinyconv warns of it; here it
stays, as the text has it.

    python -m examples.batchnorm_mlp --output runs/batchnorm_mlp
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common
from tinyconv.layers import BatchNormalization, Dense, Dropout, Input


def build_network(
    inputs: int = 784, hidden_units: int = 256, units: int = 128, normalise: bool = True
) -> tc.Sequential:
    """The network of the text; without ``normalise`` its two normalisations are left out.

    >>> [type(layer).__name__ for layer in build_network().layers]
    ['Dense', 'BatchNormalization', 'Dropout', 'Dense', 'BatchNormalization', 'Dense']
    >>> build_network().count_params() - build_network(normalise=False).count_params()  # 4 for each of 384 units
    1536
    """
    layers = [
        Dense(hidden_units, activation="relu"), BatchNormalization(), Dropout(0.5),
        Dense(units, activation="relu"), BatchNormalization(),
        Dense(2, activation="softmax"),
    ]  # fmt: skip
    kept = [layer for layer in layers if normalise or not isinstance(layer, BatchNormalization)]
    return tc.Sequential([Input((inputs,)), *kept])


def load_digits(source: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test digits as rows of 784 numbers in 0..1, and 1 for odd ones or 0."""
    (x, y), (x_test, y_test) = tc.datasets.mnist.load_data(source)
    x, x_test = (common.as_floats(images).reshape(-1, 784) for images in (x, x_test))
    return x, y % 2, x_test, y_test % 2


def plot_accuracies(curves: dict[tuple[float, bool], list[float]], path: Path) -> Any:
    """Accuracy on the test digits against the epoch: a colour for each learning rate, dashes without normalisation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5))
    axes = figure.add_subplot()
    rates = sorted({rate for rate, _ in curves})
    for (rate, normalise), accuracies in curves.items():
        label = f"rate {rate:g}, {'with' if normalise else 'without'} normalisation"
        style = f"C{rates.index(rate)}{'-' if normalise else '--'}"
        axes.plot(range(1, len(accuracies) + 1), accuracies, style, marker=".", label=label)
    axes.set(xlabel="epoch", ylabel="accuracy on test digits", title="Batch normalisation")
    axes.legend()
    return tc.viz.save(figure, path)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/batchnorm_mlp")
    common.add_training_arguments(parser, epochs=8, batch_size=64)
    parser.add_argument(
        "--learning-rates", type=common.not_negative, nargs="+", default=[0.001, 0.1, 2.0],
        help="steps of descent to compare (0.001 0.1 2)",
    )  # fmt: skip
    common.add_mnist_argument(parser)
    args = parser.parse_args(arguments)
    if args.quick:
        args.data, args.epochs = "subset", 2
    return args


def main(arguments: list[str] | None = None) -> dict[tuple[float, bool], list[float]]:
    """Run the program; returns accuracies after each epoch, by learning rate and whether there was normalisation."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    print("[INFO] loading MNIST...")
    with common.user_input():
        x, y, x_test, y_test = load_digits(args.data)
    print(f"[INFO] odd or even: {len(x)} digits to train with, {len(x_test)} to test")
    curves = {}
    for rate in args.learning_rates:
        for normalise in (True, False):
            tc.set_seed(args.seed)
            model = build_network(normalise=normalise)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", tc.ModelWarning)  # of the normalisation before the softmax
                model.compile(tc.optimizers.SGD(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
            print(f"[INFO] learning rate {rate:g}, {'with' if normalise else 'without'} normalisation...")
            history = model.fit(x, y, args.batch_size, args.epochs, validation_data=(x_test, y_test))
            curves[rate, normalise] = history.history["val_accuracy"]

    rows = [("learning rate", "epoch 1", "last epoch", "epoch 1", "last epoch")]
    for rate in dict.fromkeys(args.learning_rates):
        shown = [f"{curves[rate, normalise][epoch]:.4f}" for normalise in (True, False) for epoch in (0, -1)]
        rows.append((f"{rate:g}", *shown))
    report = f"accuracy on {len(y_test)} test digits; first with, then without normalisation\n{common.table(rows)}"
    print(report)
    common.write_text(args.output / "batchnorm_mlp.txt", report + "\n")
    picture = args.output / "batchnorm_mlp.png"
    figure = plot_accuracies(curves, picture)
    print(f"[INFO] picture: {picture}")
    if args.show:
        tc.viz.show(figure)
    return curves


if __name__ == "__main__":
    common.run(main)
