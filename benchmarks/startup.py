"""Start-up: the import, the first step on a machine that never trained, and the first step of a later process."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import stat
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Settings
from benchmarks.report import Bar, Row

IMPORT = """
import time; start = time.perf_counter()
import tinyconv
print(time.perf_counter() - start, 0)
"""
FIRST_STEP = """
import time; start = time.perf_counter()
import numpy as np
import tinyconv as tc
model = tc.applications.LeNet.build(width=28, height=28, depth=1, classes=10)
model.compile(tc.optimizers.SGD(0.01), loss="categorical_crossentropy", metrics=["accuracy"])
x, y = np.zeros((64, 28, 28, 1), np.float32), np.eye(10, dtype=np.float32)[np.arange(64) % 10]
loss = float(model.train_on_batch(x, y)[0])
print(time.perf_counter() - start, loss)
"""
LOSS = math.log(10)  # of that first step: without biases, images of zeros make all classes equally likely
STEP = "import tinyconv and first LeNet training step"
NOBODY = 65534  # a user who may write nothing


def rows(settings: Settings) -> Iterator[Row]:
    """Every figure comes from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        cache: dict[str, Any] = {"cwd": ROOT, "environment": {"NUMBA_CACHE_DIR": str(home / "import")}}
        _run(IMPORT, **cache)  # so that Python has written its own caches
        yield _row("import tinyconv", [_run(IMPORT, **cache) for _ in range(settings.rounds)], 0.3)
        colds = []
        for turn in range(settings.pick(3, 1, 1)):
            cache["environment"] = {"NUMBA_CACHE_DIR": str(home / str(turn))}
            colds.append(_run(FIRST_STEP, **cache))
        yield _row(f"{STEP}, empty cache", colds, 10)
        yield _row(f"{STEP}, later process", [_run(FIRST_STEP, **cache) for _ in range(settings.rounds)], 1)
        if hasattr(os, "getuid"):
            yield from _read_only(home / "read-only", settings)


def _read_only(folder: Path, settings: Settings) -> Iterator[Row]:
    """The same where the install folder is read-only: kernels have to be kept elsewhere."""
    install, home = folder / "install", folder / "home"
    home.mkdir(parents=True)
    shutil.copytree(ROOT / "tinyconv", install / "tinyconv", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(install)], check=True)
    variables = {name: str(home) for name in ("HOME", "XDG_CACHE_HOME")}
    where: dict[str, Any] = {"cwd": home, "environment": {**variables, "PYTHONPATH": str(install)}}
    if os.getuid() == 0:  # for whom nothing is read-only
        where["user"] = NOBODY
        os.chown(home, NOBODY, NOBODY)
        for parent in (folder, folder.parent):
            parent.chmod(0o755)
    with _without_writing(install):
        try:
            cold = _run(FIRST_STEP, **where)
        except (RuntimeError, OSError) as error:  # that user may not be allowed to run this Python
            for name in ("empty cache", "later process"):
                what = f"{STEP}, read-only install folder, {name}"
                yield Row("startup", what, ours="not measured", note=f"read-only install folder not measured: {error}")
            return
        yield _row(f"{STEP}, read-only install folder, empty cache", [cold], 10)
        later = [_run(FIRST_STEP, **where) for _ in range(settings.rounds)]
        yield _row(f"{STEP}, read-only install folder, later process", later, 1)
    if any(install.rglob("*.nb?")):
        raise RuntimeError("The install folder was written to, though it was read-only")


@contextlib.contextmanager
def _without_writing(folder: Path) -> Iterator[None]:
    places = [folder, *folder.rglob("*")]
    modes = [(place, place.stat().st_mode) for place in places]
    for place, mode in modes:
        place.chmod(mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) | stat.S_IRGRP | stat.S_IROTH
                    | (stat.S_IXGRP | stat.S_IXOTH) * place.is_dir())  # fmt: skip
    try:
        yield
    finally:
        for place, mode in modes:
            place.chmod(mode)


def _run(program: str, cwd: Path, environment: dict[str, str], user: int | None = None) -> tuple[float, float]:
    """Seconds and loss that ``program`` prints in a new process."""
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=cwd,
        env={**inherited, **environment},
        user=user,
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise RuntimeError(run.stderr.strip().splitlines()[-1] if run.stderr.strip() else f"exit code {run.returncode}")
    seconds, loss = map(float, run.stdout.split())
    return seconds, loss


def _row(what: str, measured: list[tuple[float, float]], limit: float) -> Row:
    seconds, losses = map(list, zip(*measured))
    row = Row("startup", what, f"{statistics.median(seconds):.3g} s", bar=Bar(limit, at_most=True, unit=" s"))
    row.ratios, row.rounds = seconds, {"seconds": seconds}
    row.ratio = statistics.median(seconds)
    if any(losses):
        right = all(abs(loss - LOSS) < 1e-5 for loss in losses)
        row.compared, row.differs = ("loss is log 10", "") if right else ("", f"loss {losses[0]} is not log 10")
    else:
        row.compared = "computes nothing"
    return row
