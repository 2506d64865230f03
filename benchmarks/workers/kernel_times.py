"""The kernels of a recorded training step, timed one by one: the only worker that looks behind the public API."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import machine
from benchmarks.workers import ours
from benchmarks.workers.serve import serve

PRODUCTS = ("matmul", "correlate", "convolve")  # kernels that multiply and add; the others pass over memory
FLOPS = 125  # multiplications and additions that a call reckons to a nanosecond of float32


def version() -> str:
    """tinyconv and what it computes with."""
    return ours.version()


def limits() -> dict[str, float]:
    """GF/s of multiply-adds and GB/s of copying, one thread."""
    return {"flops": machine.fma_peak(1), "bandwidth": machine.bandwidth(1)}


def kernels(network: str, batch: int, rounds: int) -> list[dict[str, Any]]:
    """Name, median seconds, operations and bytes of every kernel of a step, in order."""
    from tinyconv.backends.kernels import compiler, launch

    ours.prepare(network, batch)
    ours.losses(3)
    (known,) = [k for k in ours._now["model"]._replays["_update_weights"]._known.values() if hasattr(k.run, "programs")]
    found = []
    for program in known.run.programs:
        for call, seconds in launch.take_times(program, rounds):
            name = compiler.names[call.kernel]
            arrays = [array for array in call.arrays if array is not None]
            shapes = " ".join("x".join(map(str, array.shape)) or "1" for array in arrays if array.size > 1)
            products = name.startswith(PRODUCTS)
            found.append({
                "name": f"{name}: {shapes}", "seconds": statistics.median(seconds),
                "flops": FLOPS * call.work if products else 0, "bytes": sum(array.nbytes for array in arrays),
            })  # fmt: skip
    return found


if __name__ == "__main__":
    serve(version, limits, kernels)
