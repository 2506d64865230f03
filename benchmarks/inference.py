"""Latency of predictions, against PyTorch and ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Rivals, Settings, Worker, WorkerError, race, reason
from benchmarks.report import Bar, Row, against, on

CASES = [("LeNet", 1), ("MiniVGGNet", 1), ("ResNet50", 1), ("ResNet50", 8), ("VGG16", 1), ("VGG16", 8)]
SMALL = ("LeNet", "MiniVGGNet")
ONNX_MISSING = "ONNX Runtime left out, which needs pip install onnx onnxruntime beside PyTorch"
EQUAL = 1e-3  # largest distance of logarithms of probabilities, as a part of their range


def rows(settings: Settings) -> Iterator[Row]:
    """One image through the small networks; one and eight through the large ones."""
    for network, batch in CASES:
        what = f"{network}: prediction of {batch} image{'s' * (batch > 1)}, {on(settings.threads)}"
        if settings.tiny and network not in SMALL:
            yield Row("inference", what, "not measured in this setting")
        else:
            yield _latency(what, network, batch, settings)


def _latency(what: str, network: str, batch: int, settings: Settings) -> Row:
    case = {"network": network, "batch": batch, "count": 1}
    onnx = Worker("onnxruntime", settings.threads, settings.torch)
    with Worker("ours", settings.threads) as ours, onnx, Rivals(settings, settings.threads) as rivals:
        with tempfile.TemporaryDirectory() as folder:
            weights = str(Path(folder) / "weights.npz")
            ours.call("prepare", save=weights, **case)
            rivals.prepare(weights=weights, **case)
            try:
                onnx.call("prepare", network=network, batch=batch, weights=weights)
                rivals.workers["ONNX Runtime"] = onnx
            except WorkerError as error:
                rivals.notes.append(f"{ONNX_MISSING}: {reason(error)}")
        proof = _proof(ours.call("outputs"), rivals.call("outputs"))
        rounds = race("predictions", {"ours": ours, **rivals.workers}, settings)
    return against("inference", what, rounds, Bar(1.0), note="; ".join(rivals.notes), **proof)


def _proof(ours: Any, theirs: dict[str, Any]) -> dict[str, str]:
    """Whether all outputs are the same probabilities."""
    if not theirs:
        return {}
    own = np.log(ours)
    far = max(float(np.abs(np.log(other) - own).max() / np.ptp(own)) for other in theirs.values())
    return {"compared" if far <= EQUAL else "differs": f"log-probabilities within {far:.1g} of their range"}
