"""Start-up: the import, the first step on a machine that never trained, and the first step of a later process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.harness import ROOT, Settings
from benchmarks.report import Bar, Row

IMPORT = """
import time; start = time.perf_counter()
import tinyconv
print(time.perf_counter() - start)
"""
FIRST_STEP = """
import time; start = time.perf_counter()
import numpy as np
import tinyconv as tc
model = tc.applications.LeNet.build(width=28, height=28, depth=1, classes=10)
model.compile(tc.optimizers.SGD(0.01), loss="categorical_crossentropy", metrics=["accuracy"])
model.train_on_batch(np.zeros((64, 28, 28, 1), np.float32), np.eye(10, dtype=np.float32)[np.arange(64) % 10])
print(time.perf_counter() - start)
"""


def rows(settings: Settings) -> Iterator[Row]:
    """Three rows; every figure comes from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        _seconds(IMPORT, folder)  # so that Python has written its own caches
        imports = [_seconds(IMPORT, folder) for _ in range(settings.rounds)]
        yield _row("import tinyconv", imports, 0.3)
        colds = []
        for turn in range(settings.pick(3, 1, 1)):
            empty = os.path.join(folder, str(turn))
            colds.append(_seconds(FIRST_STEP, empty))
        yield _row("import to first LeNet step, empty cache", colds, 10)
        warms = [_seconds(FIRST_STEP, empty) for _ in range(settings.rounds)]
        yield _row("import to first LeNet step, later process", warms, 1)


def _seconds(program: str, cache: str) -> float:
    """What ``program`` prints in a new process that keeps compiled kernels in the folder ``cache``."""
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise RuntimeError(run.stderr)
    return float(run.stdout)


def _row(what: str, seconds: list[float], limit: float) -> Row:
    ratio, bar = statistics.median(seconds), Bar(limit, at_most=True, unit=" s")
    return Row("startup", what, f"{ratio:.3g} s", "", ratio, bar, rounds={"seconds": seconds})
