"""Single primitives of tinyconv's default backend, and the machine's own limits beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.workers.serve import serve, timed
from tinyconv import backends
from tinyconv.geometry import make_window

_now: dict[str, Callable[[], Any]] = {}


def version() -> str:
    """The backend."""
    return f"backend {backends.default().name}"


def limits() -> dict[str, float]:
    """GF/s of multiply-adds in registers, GB/s of copying memory; with all threads of this process."""
    threads = int(os.environ["OMP_NUM_THREADS"])
    return {"flops": machine.fma_peak(threads), "bandwidth": machine.bandwidth(threads)}


def prepare(
    kind: str, batch: int, size: int, channels: int, filters: int, kernel: int, strides: int, padding: Any
) -> float:
    """Get one convolution (``forward``, ``input`` or ``weight``) ready; returns its flops as a direct convolution."""
    backend, rng = backends.default(), np.random.default_rng(0)
    window = make_window((size, size), kernel, strides, padding)
    x = rng.standard_normal((batch, size, size, channels), np.float32)
    w = rng.standard_normal((kernel, kernel, channels, filters), np.float32)
    dy = rng.standard_normal((batch, *window.output_size((size, size)), filters), np.float32)
    _now["primitive"] = {
        "forward": lambda: backend.conv2d(x, w, None, window, 1),
        "input": lambda: backend.conv2d_input_grad(dy, w, x.shape, window, 1),
        "weight": lambda: backend.conv2d_weight_grad(x, dy, w.shape, window, 1),
    }[kind]
    return 2.0 * dy.size * kernel * kernel * channels


def prepare_dense(kind: str, batch: int, inputs: int, outputs: int) -> float:
    """Get one pass of a dense layer ready; returns its flops."""
    backend, rng = backends.default(), np.random.default_rng(0)
    x = rng.standard_normal((batch, inputs), np.float32)
    w = rng.standard_normal((inputs, outputs), np.float32)
    dy = rng.standard_normal((batch, outputs), np.float32)
    _now["primitive"] = {
        "forward": lambda: backend.matmul(x, w),
        "input": lambda: backend.matmul(dy, w.T),
        "weight": lambda: backend.matmul(x.T, dy),
    }[kind]
    return 2.0 * batch * inputs * outputs


def times(seconds: float, least: int) -> list[float]:
    """Seconds of each run of what was prepared."""
    return timed(_now["primitive"], seconds, least)


if __name__ == "__main__":
    serve(version, limits, prepare, prepare_dense, times)
