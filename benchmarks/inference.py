"""Latency of a single image, against PyTorch and, where it is installed, ONNX Runtime."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.harness import Settings, Worker, WorkerError, alternate, best, pytorch
from benchmarks.report import Bar, Row, milliseconds, on

ONNX_MISSING = "ONNX Runtime not measured: pip install onnx onnxruntime beside PyTorch"


def rows(settings: Settings) -> Iterator[Row]:
    """One row per network."""
    for network in ("LeNet", "MiniVGGNet"):
        yield _latency(network, settings)


def _latency(network: str, settings: Settings) -> Row:
    threads = settings.threads
    onnx = Worker("onnxruntime", threads, settings.torch)
    with Worker("ours", threads) as ours, onnx, pytorch(settings, threads) as (theirs, notes):
        workers = {"ours": ours}
        ours.call("prepare", network=network, batch=1)
        for name, (worker, options) in theirs.items():
            worker.call("prepare", network=network, batch=1, **options)
            workers[name] = worker
        try:
            onnx.call("prepare", network=network, batch=1)
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
    row = Row("inference", f"{network}, one image, {on(threads)}", milliseconds(own), rounds=rounds)
    row.note = "; ".join(notes)
    if others := [name for name in workers if name != "ours"]:
        fastest = best(rounds, *others)
        row.theirs = f"{milliseconds(statistics.median(rounds[fastest]))} ({fastest})"
        row.ratio, row.bar = statistics.median(rounds[fastest]) / own, Bar(1.0)
    return row
