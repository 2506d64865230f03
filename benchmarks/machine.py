"""What the machine is, and what it can do at most: multiply-adds in registers, bytes copied in memory."""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.metadata
import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CHAINS = 12  # independent sums: enough to hide the latency of a multiply-add, few enough for 16 registers


def facts(threads: int, torch: str | None = None) -> dict[str, Any]:
    """Processor, cores, versions, threads, load and date, for the head of a report.

    ``torch`` is the Python that has PyTorch, whose packages are told too.
    """
    packages = ("numpy", "numba", "llvmlite", "opencv-python")
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        **(_versions_of(torch, "torch", "onnxruntime") if torch else {}),
        "load average": round(load(), 2),
    }


def load() -> float:
    """Processes that wanted to run, averaged over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _versions_of(python: str, *packages: str) -> dict[str, str]:
    """Versions of packages of another Python."""
    program = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    found = json.loads(subprocess.run([python, "-c", program], capture_output=True, text=True).stdout or "{}")
    return {name: found.get(name, "not installed") for name in packages}


def _cpu_name() -> str:
    fields: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    return f"{fields['model name']} (family {fields.get('cpu family')}, model {fields.get('model')})"


def fma_peak(threads: int, seconds: float = 0.05) -> float:
    """GF/s of float32 multiply-adds on vectors that never leave their registers."""
    lanes, spin = _fma_loop()
    count = 1 << 16
    while True:  # until one run is long enough for the clock
        elapsed = _together(threads, functools.partial(spin, count))
        if elapsed > seconds:
            return threads * count * 2 * lanes * CHAINS / elapsed / 1e9
        count *= 2


def bandwidth(threads: int, size: int = 1 << 26) -> float:
    """GB/s of copying arrays too large for the caches: bytes read plus bytes written."""
    source = np.ones((threads, size // 4 // threads), np.float32)
    target = np.zeros_like(source)
    copies = iter([*range(threads)] * 4)
    best = min(_together(threads, lambda: np.copyto(target[i := next(copies)], source[i])) for _ in range(4))
    return 2 * source.nbytes / best / 1e9


def _together(threads: int, work: Callable[[], Any]) -> float:
    """Seconds until ``work`` is done in all of so many threads."""
    workers = [threading.Thread(target=work) for _ in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - start


@functools.cache
def _fma_loop() -> tuple[int, Callable[[int], None]]:
    """Lanes of a vector, and a function that does CHAINS vector multiply-adds so many times."""
    import numba
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from tinyconv.backends.kernels import emit

    lanes = emit.vector_bytes() // 4

    @intrinsic
    def multiply_add(typingctx: Any, count: Any, factor: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            e = emit.Emitter(builder, 4)
            sums = [e.variable(e.fill(ir.Constant(e.scalar, i))) for i in range(CHAINS)]
            x = e.fill(values[1])
            with cgutils.for_range(builder, values[0]):
                for total in sums:
                    builder.store(e.fma(builder.load(total), x, x), total)
            result = functools.reduce(builder.fadd, [builder.load(total) for total in sums])
            return builder.extract_element(result, ir.Constant(ir.IntType(32), 0))

        return types.float32(types.int64, types.float32), codegen

    @numba.njit(nogil=True)
    def spin(count: int) -> float:
        return multiply_add(count, np.float32(0.5))

    spin(1)
    return lanes, spin
