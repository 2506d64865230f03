"""The networks in tinyconv, through its public API."""

from __future__ import annotations

import gc
import itertools
import time
from typing import Any

import numpy as np

import tinyconv as tc
from benchmarks.workers.serve import peak_rss, serve, timed
from benchmarks.workers.tasks import TASKS, batches

_now: dict[str, Any] = {}  # the network at work and its batches


def version() -> str:
    """tinyconv and what it computes with."""
    return f"tinyconv {tc.__version__}, NumPy {np.__version__}"


def prepare(
    network: str,
    batch: int,
    dropout: bool = True,
    save: str | None = None,
    dtype: str = "float32",
    count: int = 20,
    learning_rate: float | None = None,
) -> int:
    """Build and compile a network, with ``count`` batches; ``save`` its weights, by name, for the other side.

    Returns the number of weights that are trained.
    """
    task = TASKS[network]
    tc.set_seed(0)
    tc.config.set_floatx(dtype)
    height, width, depth = task.shape
    make = getattr(tc.applications, network)
    if hasattr(make, "build"):
        model = make.build(width=width, height=height, depth=depth, classes=task.classes)
    else:
        model = make(weights=None, input_shape=task.shape, classes=task.classes)
    for layer in model.layers:
        if not dropout and isinstance(layer, tc.layers.Dropout):
            layer.rate = 0.0
    rate = learning_rate or task.learning_rate
    optimizer = tc.optimizers.SGD(rate, momentum=task.momentum, nesterov=task.nesterov)
    model.compile(optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    if save:
        np.savez(save, **{f"{layer.name}.{i}": w for layer in model.layers for i, w in enumerate(layer.get_weights())})
    one_hot = np.eye(task.classes, dtype=dtype)
    data = [(x.astype(dtype), one_hot[labels]) for x, labels in batches(network, batch, count)]
    _now.update(model=model, data=data, turn=itertools.cycle(data))
    return sum(weight.size for weight in model.trainable_weights)


def _step() -> float:
    return _now["model"].train_on_batch(*next(_now["turn"]))[0]


def losses(count: int) -> list[float]:
    """Losses of the next training steps."""
    return [float(_step()) for _ in range(count)]


def steps(seconds: float, least: int) -> list[float]:
    """Seconds of each training step: forward, backward, update, loss read out."""
    return timed(_step, seconds, least)


def predictions(seconds: float, least: int) -> list[float]:
    """Seconds of each prediction of a batch."""
    x = _now["data"][0][0]
    return timed(lambda: _now["model"].predict_on_batch(x), seconds, least)


def outputs() -> list[list[float]]:
    """What the network predicts for the first batch."""
    return np.asarray(_now["model"].predict_on_batch(_now["data"][0][0])).tolist()


def epoch(count: int) -> dict[str, float]:
    """Seconds of one epoch of ``count`` steps through ``fit``, and of the same steps one by one."""
    model, data = _now["model"], _now["data"]
    x, y = (np.concatenate([data[i % len(data)][part] for i in range(count)]) for part in (0, 1))
    size = len(data[0][0])
    start = time.perf_counter()
    for i in range(count):
        model.train_on_batch(x[i * size : (i + 1) * size], y[i * size : (i + 1) * size])
    middle = time.perf_counter()
    model.fit(x, y, batch_size=size, epochs=1, verbose=1)
    return {"steps": middle - start, "fit": time.perf_counter() - middle}


def peak_memory(network: str, batch: int) -> int:
    """Bytes that training with ``batch`` adds to those of a process that has trained with a batch of 2."""
    prepare(network, 2)
    losses(2)
    _now.clear()
    gc.collect()
    before = peak_rss()
    prepare(network, batch)
    losses(3)
    return peak_rss() - before


if __name__ == "__main__":
    serve(version, prepare, losses, steps, predictions, outputs, epoch, peak_memory)
