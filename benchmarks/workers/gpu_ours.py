"""The networks in tinyconv on a GPU, through its public API; the environment names the device."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import tinyconv as tc
from benchmarks.workers import ours
from benchmarks.workers.serve import serve, timed

STEPS = 20  # between two readings of the loss, as if a bar were drawn now and then
_now: dict[str, Any] = {}


def version() -> str:
    """tinyconv and the device."""
    return f"{ours.version()}, device {tc.Tensor(0.0).device}"


def prepare(network: str, batch: int, dropout: bool = True, save: str | None = None) -> int:
    """Build and compile a network; its batches lie on the device. Returns the number of weights that are trained."""
    count = ours.prepare(network, batch, dropout, save, count=4)
    _now["data"] = [tuple(tc.Tensor(part).data for part in parts) for parts in ours._now["data"]]
    _now["turn"] = 0
    return count


def _step() -> Any:
    _now["turn"] += 1
    return ours._now["model"].train_step(_now["data"][_now["turn"] % len(_now["data"])])


def losses(count: int) -> list[float]:
    """Losses of the next training steps."""
    model, data = ours._now["model"], _now["data"]
    return [float(model.train_on_batch(*data[i % len(data)])[0]) for i in range(count)]


def steps(seconds: float, least: int) -> list[float]:
    """Seconds of each training step: forward, backward, update, running loss and accuracy."""
    count = STEPS if seconds else 2

    def some() -> None:
        for _ in range(count):
            logs = _step()
        float(logs["loss"])  # waits for the device

    return [elapsed / count for elapsed in timed(some, seconds, least)]


def epochs(samples: int, batch: int, count: int) -> list[float]:
    """Seconds of epochs of a classifier of 28 x 28 images through ``fit``, from images in host memory."""
    rng = np.random.default_rng(0)
    x = rng.random((samples, 28, 28, 1), np.float32)
    y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, samples)]
    ours.prepare("LeNet", batch, count=1)
    model, times = ours._now["model"], []
    for _ in range(count):
        start = time.perf_counter()
        model.fit(x, y, batch_size=batch, epochs=1, verbose=1)
        times.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    serve(version, prepare, losses, steps, epochs)
