"""Latency of a single image, against PyTorch and, where it is installed, ONNX Runtime."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.harness import Settings, Worker, WorkerError, alternate, best, pytorch
from benchmarks.report import Bar, Row, milliseconds, on

ONNX_MISSING = "ONNX Runtime not measured: pip install onnx onnxruntime beside PyTorch"


def rows(settings: Settings) -> Iterator[Row]:
    """One image through the small networks; one and eight through the large ones."""
    cases = [("LeNet", 1), ("MiniVGGNet", 1)]
    if not settings.tiny:
        cases += [(network, batch) for network in ("ResNet50", "VGG16") for batch in (1, 8)]
    for network, batch in cases:
        yield _latency(network, batch, settings)


def _latency(network: str, batch: int, settings: Settings) -> Row:
    threads, case = settings.threads, {"network": network, "batch": batch, "count": 1}
    onnx = Worker("onnxruntime", threads, settings.torch)
    with Worker("ours", threads) as ours, onnx, pytorch(settings, threads) as (theirs, notes):
        workers = {"ours": ours}
        weights = ours.call("prepare", **case)
        for name, (worker, options) in theirs.items():
            theirs_weights = worker.call("prepare", **case, **options)
            if theirs_weights != weights:
                raise RuntimeError(f"{network}: expected {weights} weights, received {theirs_weights} in PyTorch")
            workers[name] = worker
        try:
            onnx.call("prepare", network=network, batch=batch)
            workers["onnxruntime"] = onnx
        except WorkerError:
            notes.append(ONNX_MISSING)
        for name, worker in list(workers.items()):
            try:
                worker.round("predictions", settings)  # warm up
            except WorkerError:
                notes.append(f"{name} failed")
                del workers[name]
        rounds = alternate(
            {name: lambda w=w: w.round("predictions", settings) for name, w in workers.items()}, settings
        )
    own = statistics.median(rounds["ours"])
    what = f"{network}, {batch} image{'s' * (batch > 1)}, {on(threads)}"
    row = Row("inference", what, milliseconds(own), rounds=rounds)
    row.note = "; ".join(notes)
    if others := [name for name in workers if name != "ours"]:
        fastest = best(rounds, *others)
        row.theirs = f"{milliseconds(statistics.median(rounds[fastest]))} ({fastest})"
        row.ratio, row.bar = statistics.median(rounds[fastest]) / own, Bar(1.0)
    return row
