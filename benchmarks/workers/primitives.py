"""Single primitives of tinyconv's default backend, and the machine's own limits beside them.

A primitive is run as a recorded step runs it: its calls of kernels are made once, with memory for their results, and
then repeated.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.workers.serve import serve, timed
from tinyconv import backends
from tinyconv.backends.cpu import CPUBackend
from tinyconv.geometry import make_window

ALIGNED = 64  # bytes of a cache line
_now: dict[str, Callable[[], np.ndarray]] = {}  # the primitive, and the same from another source


class _Collecting(CPUBackend):
    """The CPU backend, which remembers the calls of kernels that it makes."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def _run(self, calls: Any) -> None:
        super()._run(calls)
        self.calls += calls

    def _empty(self, shape: Any, dtype: Any) -> np.ndarray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = np.empty(size + ALIGNED, np.uint8)
        start = -raw.ctypes.data % ALIGNED
        return raw[start : start + size].view(dtype).reshape(shape)


def _repeatable(primitive: Callable[[Any], np.ndarray]) -> Callable[[], np.ndarray]:
    """Run a primitive of a backend again and again; returns its result."""
    backend = backends.default()
    if backend.name != "cpu":
        return lambda: primitive(backend)
    from tinyconv.backends.kernels import launch

    collecting = _Collecting()
    result = primitive(collecting)
    program = launch.prepare(collecting.calls)

    def run() -> np.ndarray:
        program()
        return result

    return run


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
) -> tuple[float, int]:
    """Get one convolution (``forward``, ``input`` or ``weight``) ready.

    Returns its flops as a direct convolution, and the bytes of what it reads and writes.
    """
    rng = np.random.default_rng(0)
    window = make_window((size, size), kernel, strides, padding)
    x = rng.standard_normal((batch, size, size, channels), np.float32)
    w = rng.standard_normal((kernel, kernel, channels, filters), np.float32)
    dy = rng.standard_normal((batch, *window.output_size((size, size)), filters), np.float32)
    primitives = {
        "forward": lambda backend: backend.conv2d(x, w, None, window, 1),
        "input": lambda backend: backend.conv2d_input_grad(dy, w, x.shape, window, 1),
        "weight": lambda backend: backend.conv2d_weight_grad(x, dy, w.shape, window, 1),
    }
    _now["primitive"] = _repeatable(primitives[kind])
    numpy, exact = backends.get("reference"), w.astype(np.float64)

    def image(i: int) -> tuple[np.ndarray, np.ndarray]:
        return x[i : i + 1].astype(np.float64), dy[i : i + 1].astype(np.float64)

    _now["expected"] = {
        "forward": lambda: numpy.conv2d(image(0)[0], exact, None, window, 1),
        "input": lambda: numpy.conv2d_input_grad(image(0)[1], exact, (1, *x.shape[1:]), window, 1),
        "weight": lambda: sum(numpy.conv2d_weight_grad(*image(i), w.shape, window, 1) for i in range(batch)),
    }[kind]
    return 2.0 * dy.size * kernel * kernel * channels, x.nbytes + w.nbytes + dy.nbytes


def prepare_dense(kind: str, batch: int, inputs: int, outputs: int) -> tuple[float, int]:
    """Get one pass of a dense layer ready; returns its flops and bytes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, inputs), np.float32)
    w = rng.standard_normal((inputs, outputs), np.float32)
    dy = rng.standard_normal((batch, outputs), np.float32)
    primitives = {
        "forward": lambda backend: backend.matmul(x, w),
        "input": lambda backend: backend.matmul(dy, w.T),
        "weight": lambda backend: backend.matmul(x.T, dy),
    }
    _now["primitive"] = _repeatable(primitives[kind])
    x64, w64, dy64 = (array.astype(np.float64) for array in (x, w, dy))
    expected = {"forward": lambda: x64 @ w64, "input": lambda: dy64 @ w64.T, "weight": lambda: x64.T @ dy64}
    _now["expected"] = expected[kind]
    return 2.0 * batch * inputs * outputs, x.nbytes + w.nbytes + dy.nbytes


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
