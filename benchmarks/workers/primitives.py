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

_now: dict[str, Callable[[], np.ndarray]] = {}  # the primitive, and the same from another source


def version() -> str:
    """The backend."""
    return f"backend {backends.default().name}"


def limits(bandwidth: bool = True) -> dict[str, float]:
    """GF/s of multiply-adds in registers, GB/s of copying memory; with all threads of this process."""
    threads = int(os.environ["OMP_NUM_THREADS"])
    found = {"flops": machine.fma_peak(threads)}
    return {**found, "bandwidth": machine.bandwidth(threads)} if bandwidth else found


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
    numpy, exact = backends.get("reference"), w.astype(np.float64)

    def image(i: int) -> tuple[np.ndarray, np.ndarray]:
        return x[i : i + 1].astype(np.float64), dy[i : i + 1].astype(np.float64)

    _now["expected"] = {
        "forward": lambda: numpy.conv2d(image(0)[0], exact, None, window, 1),
        "input": lambda: numpy.conv2d_input_grad(image(0)[1], exact, (1, *x.shape[1:]), window, 1),
        "weight": lambda: sum(numpy.conv2d_weight_grad(*image(i), w.shape, window, 1) for i in range(batch)),
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
    x64, w64, dy64 = (array.astype(np.float64) for array in (x, w, dy))
    expected = {"forward": lambda: x64 @ w64, "input": lambda: dy64 @ w64.T, "weight": lambda: x64.T @ dy64}
    _now["expected"] = expected[kind]
    return 2.0 * batch * inputs * outputs


def difference() -> float:
    """Largest distance from NumPy's result in float64, as a part of its largest number; images: of the first one."""
    expected = _now["expected"]()
    found = _now["primitive"]()[: len(expected)]
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def times(seconds: float, least: int) -> list[float]:
    """Seconds of each run of what was prepared."""
    return timed(_now["primitive"], seconds, least)


if __name__ == "__main__":
    serve(version, limits, prepare, prepare_dense, difference, times)
