"""Threshold units that compute logic: AND, OR, NOT by weights set by hand; XOR by hand, and learned.

The neurons of McCulloch and Pitts (1943) fire when at least two of their input connections are active: A is doubled for
the identity and for OR, an inhibiting connection has weight -1. A single perceptron cannot compute XOR, two layers can:
h1 = step(a + b - 1.5), h2 = step(a + b - 0.5), out = step(-h1 + h2 - 0.5) with step(0) = 1. (The book's figure speaks
of four weights that are not 1; its drawing is lost, these three biases and one -1 are such four.)

A step has no useful slope, so the network that learns XOR has tanh and sigmoid units in place of steps. Two more facts
of the same chapters are shown: linear layers in a chain are one linear layer (f(x) = 2x + 3 after g(x) = 5x - 1 is
10x + 1), and neurons that start with equal weights stay equal, so weights must start at random.

    python -m examples.logic_networks --output runs/logic_networks
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)  # A, B
XOR = np.array([[0], [1], [1], [0]], np.float32)

# Connections from A and from B of a neuron that fires at two or more active ones.
MCCULLOCH_PITTS = {
    "A": (2, 0),
    "A AND B": (1, 1),
    "A OR B": (2, 2),
    "A AND NOT B": (2, -1),
}


def threshold_layer(kernel: Any, bias: Any) -> tc.layers.Dense:
    """A layer of units step(x kernel + bias), where step(0) = 1.

    Parameters
    ----------
    kernel : array_like, shape (inputs, units)
    bias : array_like, shape (units,)
    """
    kernel = np.asarray(kernel, np.float32)
    layer = tc.layers.Dense(kernel.shape[1], activation="heaviside")
    layer.build((None, len(kernel)))
    layer.set_weights([kernel, np.asarray(bias, np.float32)])
    return layer


def mcculloch_pitts(connections: Sequence[int]) -> tc.Sequential:
    """One neuron that fires when its active connections, inhibiting ones subtracted, are two or more.

    >>> mcculloch_pitts((1, 1)).predict(INPUTS, verbose=0).ravel().tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    return tc.Sequential([tc.layers.Input((len(connections),)), threshold_layer(np.transpose([connections]), [-2])])


def xor_by_hand() -> tc.Sequential:
    """The XOR network of the book: one hidden unit is AND, the other OR.

    >>> xor_by_hand().predict(INPUTS, verbose=0).ravel().tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    hidden = threshold_layer([[1, 1], [1, 1]], [-1.5, -0.5])
    return tc.Sequential([tc.layers.Input((2,)), hidden, threshold_layer([[-1], [1]], [-0.5])])


def learn_xor(hidden: int = 4, epochs: int = 500) -> tuple[tc.Sequential, Any]:
    """Train a network with ``hidden`` tanh units on the four cases; 0 of them leave a single unit, which must fail."""
    layers: list[Any] = [tc.layers.Input((2,))]
    if hidden:
        layers.append(tc.layers.Dense(hidden, activation="tanh"))
    model = tc.Sequential([*layers, tc.layers.Dense(1, activation="sigmoid")])
    model.compile(tc.optimizers.Adam(0.05), loss="binary_crossentropy", metrics=["accuracy"])
    history = model.fit(INPUTS, XOR, batch_size=4, epochs=epochs, verbose=0)
    return model, history


def chain() -> tc.Sequential:
    """f(g(x)) for f(x) = 2x + 3 and g(x) = 5x - 1, as two dense layers without activation.

    >>> chain().predict(np.array([[-2.0], [0.0], [7.0]]), verbose=0).ravel().tolist()
    [-19.0, 1.0, 71.0]
    """
    model = tc.Sequential([tc.layers.Dense(1, input_shape=(1,)), tc.layers.Dense(1)])
    model.set_weights([np.array(w, np.float32) for w in ([[5]], [-1], [[2]], [3])])
    return model


def train_from_equal_weights(start: str, epochs: int = 50) -> np.ndarray:
    """Weights of four hidden units, (2, 4), after training on XOR from the initializer ``start``."""
    hidden = tc.layers.Dense(4, activation="sigmoid", kernel_initializer=start, input_shape=(2,))
    model = tc.Sequential([hidden, tc.layers.Dense(1, activation="sigmoid", kernel_initializer=start)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tc.ModelWarning)  # tinyconv warns of just this mistake
        model.compile(tc.optimizers.SGD(0.5), loss="binary_crossentropy")
    model.fit(INPUTS, XOR, batch_size=3, epochs=epochs, verbose=0)
    return hidden.get_weights()[0]


def truth_table(name: str, outputs: np.ndarray) -> str:
    """One line: the outputs for A B = 00, 01, 10, 11."""
    return f"{name:>20}  " + "  ".join(f"{round(float(value), 3):5g}" for value in outputs.ravel())


def plot_outputs(model: tc.Sequential, path: Path) -> Any:
    """What the network that learned XOR says for all inputs between 0 and 1, and around."""
    from matplotlib.figure import Figure

    line = np.linspace(-0.5, 1.5, 81, dtype=np.float32)
    a, b = np.meshgrid(line, line)
    outputs = model.predict(np.stack([a.ravel(), b.ravel()], axis=1), verbose=0).reshape(a.shape)
    figure = Figure(figsize=(6, 5))
    axes = figure.add_subplot()
    figure.colorbar(axes.contourf(a, b, outputs, levels=np.linspace(0, 1, 11), cmap="coolwarm"), label="output")
    axes.scatter(*INPUTS.T, c=XOR.ravel(), cmap="coolwarm", edgecolors="black", s=90)
    axes.set(xlabel="A", ylabel="B", title="XOR, learned")
    return tc.viz.save(figure, path)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    return common.parser(__doc__, "runs/logic_networks").parse_args(arguments)


def main(arguments: list[str] | None = None) -> bool:
    """Run the program; returns whether the network learned XOR."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    tc.set_seed(args.seed)
    print(f"{'A B =':>20}     00     01     10     11")
    for name, connections in MCCULLOCH_PITTS.items():
        print(truth_table(name, mcculloch_pitts(connections).predict(INPUTS, verbose=0)))
    print(truth_table("NOT B (A is 1)", mcculloch_pitts((2, -1)).predict(np.maximum(INPUTS, [1, 0]), verbose=0)))
    print(truth_table("XOR by hand", xor_by_hand().predict(INPUTS, verbose=0)))
    single, _ = learn_xor(hidden=0)
    print(truth_table("XOR, a single unit", single.predict(INPUTS, verbose=0)))
    model, history = learn_xor()
    outputs = model.predict(INPUTS, verbose=0)
    print(truth_table("XOR, learned", outputs))
    learned = bool(((outputs > 0.5) == (XOR > 0.5)).all())
    print(f"[INFO] learned XOR: {'yes' if learned else 'no'}, loss {history.history['loss'][-1]:.4f}")
    print(f"[INFO] 2 (5x - 1) + 3 = 10x + 1 for x = 7: {chain().predict(np.array([[7.0]]), verbose=0).item():g}")
    for start in ("zeros", "glorot_uniform"):
        different = len(np.unique(train_from_equal_weights(start), axis=1).T)
        print(f"[INFO] weights that start as {start}: {different} different of 4 hidden units after training")
    picture = args.output / "xor.png"
    figure = plot_outputs(model, picture)
    print(f"[INFO] picture: {picture}")
    if args.show:
        tc.viz.show(figure)
    return learned


if __name__ == "__main__":
    common.run(main)
