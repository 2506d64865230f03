"""``tinyconv.vision.filter2d`` against ``cv2.filter2D``: values and time, for every border."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Settings, Worker, WorkerError, alternate
from benchmarks.report import Bar, Row, milliseconds, on
from benchmarks.workers.filters import BORDERS

SIZES = (3, 5, 7, 9, 11, 13, 15, 21, 31)
TRANSFORM = 13  # size from which OpenCV uses a Fourier transform, and results differ in the last digits


def rows(settings: Settings) -> Iterator[Row]:
    """One row per type and kernel, with the border that is worst for us."""
    with Worker("filters", settings.threads) as ours, Worker("filters", settings.threads) as theirs:
        for dtype in ("float32", "uint8"):
            for size in settings.pick(SIZES, (3, 11, 31), (3, 13)):
                for rank_one in (False, True) if size >= TRANSFORM else (False,):
                    yield _row(ours, theirs, dtype, size, rank_one, settings)


def _row(ours: Worker, theirs: Worker, dtype: str, size: int, rank_one: bool, settings: Settings) -> Row:
    shape = settings.pick((1080, 1920), (1080, 1920), (48, 64))
    rounds: dict[str, Any] = {}
    differences, refused = [], []
    for border in settings.pick(BORDERS, ("reflect101",), BORDERS):
        case = {"shape": shape, "dtype": dtype, "size": size, "rank_one": rank_one, "border": border}
        ours.call("prepare", library="ours", **case)
        theirs.call("prepare", library="opencv", **case)
        try:
            differences.append(_difference(ours, theirs))
        except WorkerError:  # "wrap" with a small kernel
            refused.append(border)
            continue
        for worker in (ours, theirs):
            worker.round("times", settings)  # warm up
        jobs = {"ours": lambda: ours.round("times", settings), "theirs": lambda: theirs.round("times", settings)}
        rounds[border] = alternate(jobs, settings)
    medians = {
        border: [statistics.median(both[name]) for name in ("ours", "theirs")] for border, both in rounds.items()
    }
    worst = min(medians, key=lambda border: medians[border][1] / medians[border][0])
    own, other = medians[worst]
    values = "equal" if max(differences) == 0 else f"values within {max(differences):.1g}"
    what = f"filter2d {size}x{size} {'rank-1 ' * rank_one}{dtype}, {on(settings.threads)}, {values}"
    row = Row("filtering", what, f"{milliseconds(own)} ({worst})", milliseconds(other), other / own, rounds=rounds)
    row.bar = Bar(10 if rank_one else 2.5 if size >= TRANSFORM else 1.5 if size > 3 else 1.0)
    row.note = f"OpenCV refuses {', '.join(refused)}" if refused else ""
    return row


def _difference(ours: Worker, theirs: Worker) -> float:
    """Largest difference between the two results."""
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for worker in (ours, theirs):
            path = str(Path(folder) / f"{len(results)}.npy")
            worker.call("save", path=path)
            results.append(np.load(path).astype(np.float64))
    return float(np.abs(results[0] - results[1]).max())
