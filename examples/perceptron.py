"""The perceptron on iris: is a flower an Iris setosa, by the length and width of its petals?

A perceptron is one linear threshold unit. Its rule changes the weights after each flower that is on the wrong side (or
on the line): w <- w + eta * t * x, with t = 1 for Setosa and -1 for the others. That is one step of gradient descent on
the loss max(0, -t * z), z = w x + b, for a batch of one flower, so here it is an ordinary tinyconv model with one dense
unit. Beside it run scikit-learn's ``Perceptron`` and, as the book says the same, its
``SGDClassifier(loss="perceptron", learning_rate="constant", eta0=1, penalty=None)``: with equal order of the flowers
all three end with the same weights.

The book trains on all 150 flowers (columns 2 and 3, no split), predicts for [2, 0.5] and prints nothing. Setosa is
separable on these columns, so every flower must end on its side. ``np.int`` of the original is gone from NumPy.

    python -m examples.perceptron --output runs/perceptron
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common

FLOWER = (2.0, 0.5)  # petal length and width in cm of the flower to classify


class StopWhenSeparated(tc.callbacks.Callback):
    """Ends training after the first epoch with which every sample is on its side of the line."""

    def __init__(self, x: np.ndarray, targets: np.ndarray) -> None:
        self.x, self.signs = x, 2 * targets - 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = bool((self.signs * self.model.predict(self.x, verbose=0) > 0).all())


def perceptron_loss(targets: Any, z: Any) -> tc.Tensor:
    """``max(0, -t z)`` with t = -1 or 1 for targets 0 or 1; on the line (z = 0) its slope is that of a mistake."""
    agreement = (2 * targets - 1) * z
    return tc.ops.sum(tc.ops.where(agreement <= 0, -agreement, 0.0), -1)


def train_perceptron(
    x: np.ndarray, targets: np.ndarray, eta: float = 1.0, epochs: int = 100, shuffle: bool = True
) -> tuple[tc.Sequential, int]:
    """Train one threshold unit for each column of the targets; on data that a line separates it converges.

    Parameters
    ----------
    x : ndarray, shape (N, F)
    targets : ndarray of 0 and 1, shape (N, units)
    eta : float
        Learning rate.
    epochs : int
        Passes over the data after which to give up.
    shuffle : bool
        Whether samples come in a new order in every epoch.

    Returns
    -------
    model : Sequential
        Its outputs are z = w x + b: positive means 1.
    epochs : int
        Passes that it took.
    """
    unit = tc.layers.Dense(targets.shape[1], kernel_initializer="zeros", input_shape=x.shape[1:], dtype="float64")
    model = tc.Sequential([unit])
    model.compile(tc.optimizers.SGD(eta), loss=perceptron_loss)
    stop = StopWhenSeparated(x, targets)
    history = model.fit(x, targets, batch_size=1, epochs=epochs, shuffle=shuffle, callbacks=[stop], verbose=0)
    return model, len(history.epoch)


def load_iris() -> tuple[np.ndarray, np.ndarray]:
    """Petal length and width in cm, (150, 2), and 1 for Setosa or 0 for others, (150, 1)."""
    try:
        from sklearn.datasets import load_iris
    except ImportError:
        raise ImportError("this program needs scikit-learn and its iris data: pip install scikit-learn") from None
    iris = load_iris()
    return iris.data[:, (2, 3)], (iris.target == 0).astype(int)[:, None]


def train_by_scikit_learn(x: np.ndarray, targets: np.ndarray, epochs: int, **options: Any) -> list[tuple[str, Any]]:
    """scikit-learn's two ways to train a perceptron, by name; ``epochs`` are run in any case."""
    from sklearn.linear_model import Perceptron, SGDClassifier

    same = {"max_iter": epochs, "tol": None, **options}
    sgd = SGDClassifier(loss="perceptron", learning_rate="constant", eta0=1, penalty=None, **same)
    trained = [("Perceptron", Perceptron(**same)), ("SGDClassifier", sgd)]
    return [(name, estimator.fit(x, targets.ravel())) for name, estimator in trained]


def plot_line(x: np.ndarray, targets: np.ndarray, weights: np.ndarray, bias: float, path: Path) -> Any:
    """Flowers, the flower to classify, and the line w x + b = 0 between the classes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5))
    axes = figure.add_subplot()
    for target, marker, name in ((0, "bs", "not Setosa"), (1, "yo", "Setosa")):
        axes.plot(*x[targets.ravel() == target].T, marker, label=name)
    axes.plot(*FLOWER, "r*", markersize=12, label="[2, 0.5]")
    lengths = np.array([0.0, 8.0])
    axes.plot(lengths, -(lengths * weights[0] + bias) / weights[1], "k-", label="perceptron")
    axes.set(xlabel="Petal length (cm)", ylabel="Petal width (cm)", xlim=(0, 8), ylim=(0, 3))
    axes.legend()
    return tc.viz.save(figure, path)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    return common.parser(__doc__, "runs/perceptron").parse_args(arguments)


def main(arguments: list[str] | None = None) -> bool:
    """Run the program; returns whether the flower [2, 0.5] is taken for a Setosa."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    tc.set_seed(args.seed)
    print("[INFO] loading iris...")
    x, targets = load_iris()
    print(f"[INFO] {len(x)} flowers, {targets.sum()} of them Setosa; petal length and width")

    print("[INFO] training, flowers in their own order...")
    model, epochs = train_perceptron(x, targets, shuffle=False)
    weights, bias = (w.numpy() for w in model.weights)
    found = [("tinyconv", weights[:, 0], bias)]
    for name, trained in train_by_scikit_learn(x, targets, epochs, shuffle=False):
        found.append((name, trained.coef_[0], trained.intercept_))
    for name, w, b in found:
        print(f"{name:>13}: {w[0]:+.4f} length {w[1]:+.4f} width {b[0]:+.4f} > 0 after {epochs} epochs")
    equal = all(np.allclose(w, weights[:, 0]) and np.allclose(b, bias) for _, w, b in found[1:])
    print(f"[INFO] all three are the same: {'yes' if equal else 'no'}")

    print("[INFO] training, flowers in random order...")
    model, epochs = train_perceptron(x, targets)
    weights, bias = (w.numpy() for w in model.weights)
    errors = int(((model.predict(x, verbose=0) > 0) != targets).sum())
    print(f"[INFO] training errors after {epochs} epochs: {errors} of {len(x)}")
    setosa = bool(model.predict(np.array([FLOWER]), verbose=0)[0, 0] > 0)
    print(f"[INFO] petals of {FLOWER[0]:g} x {FLOWER[1]:g} cm: {'Setosa' if setosa else 'not Setosa'}")
    picture = args.output / "perceptron.png"
    figure = plot_line(x, targets, weights[:, 0], bias[0], picture)
    print(f"[INFO] picture: {picture}")
    if args.show:
        tc.viz.show(figure)
    return setosa


if __name__ == "__main__":
    common.run(main)
