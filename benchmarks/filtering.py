"""``tinyconv.vision.filter2d`` against ``cv2.filter2D``: values and time, for every border."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Rounds, Settings, Worker, race
from benchmarks.report import Bar, Row, against, on
from benchmarks.workers.filters import BORDERS

SIZES = (3, 5, 7, 9, 11, 13, 15, 21, 31)
TRANSFORM = 13  # size from which OpenCV uses a Fourier transform, and results differ in the last digits
EQUAL = {"float32": 1e-5, "uint8": 1.0}  # how far they may differ, of images from 0 to 1 and from 0 to 255
SHARE = 0.2  # of a round of other subjects, since a filter takes milliseconds


def rows(settings: Settings) -> Iterator[Row]:
    """One row per type and kernel, with the border that is worst for us."""
    with Worker("filters", settings.threads) as ours, Worker("filters", settings.threads) as theirs:
        for dtype in EQUAL:
            for size in settings.pick(SIZES, (3, 5, 11, 13, 31), (3, 5, 13)):
                for rank_one in (False, True) if size >= TRANSFORM else (False,):
                    yield _row(ours, theirs, dtype, size, rank_one, settings)


def _row(ours: Worker, theirs: Worker, dtype: str, size: int, rank_one: bool, settings: Settings) -> Row:
    shape = settings.pick((1080, 1920), (1080, 1920), (48, 64))
    borders: dict[str, Rounds] = {}
    far = 0.0
    for border in BORDERS:
        case = {"shape": shape, "dtype": dtype, "size": size, "rank_one": rank_one, "border": border}
        ours.call("prepare", library="ours", **case)
        theirs.call("prepare", library="opencv", **case)
        far = max(far, _difference(ours, theirs))
        borders[border] = race("times", {"ours": ours, "OpenCV": theirs}, settings, SHARE)
    ratios = {
        border: statistics.median(b / a for a, b in zip(rounds["ours"], rounds["OpenCV"]))
        for border, rounds in borders.items()
    }
    worst = min(ratios, key=lambda border: ratios[border])
    kind = "rank-1 kernel" if rank_one else "any kernel"
    what = f"filter2d {size}x{size}, {kind}, {dtype}, {on(settings.threads)}, border {worst}"
    allowed = EQUAL[dtype] if size >= TRANSFORM else 0
    proof = {"compared" if far <= allowed else "differs": f"values within {far:.1g}" if far else "the same bits"}
    bar = Bar(10 if rank_one else 2.5 if size >= TRANSFORM else 1.5 if size > 3 else 1.0)
    row = against("filtering", what, borders[worst], bar, **proof)
    row.compared += "; " * bool(row.compared) + "borders: " + ", ".join(f"{ratio:.3g}" for ratio in ratios.values())
    row.rounds = {border: dict(rounds) for border, rounds in borders.items()}
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
