"""Training on an NVIDIA GPU beside PyTorch: ``python -m benchmarks.gpu``; see the README of this folder."""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, report
from benchmarks.harness import Rounds, Settings, Worker, WorkerError, alternate, best, find_pytorch, reason
from benchmarks.report import Bar, Row, milliseconds

NO_GPU = 2  # exit code
RESULTS = Path(__file__).parent / "results" / "gpu.json"
LOSS_STEPS = 20
SAMPLES = 60_000  # MNIST's training images; random ones cost the same time
CASES = [*((network, batch) for network in ("LeNet", "MiniVGGNet") for batch in (64, 128, 1024)), ("ResNet50", 64)]
ACCURACIES = {"TF32 convolutions": True, "strict float32": False}
Workers = dict[str, tuple[Worker, dict[str, Any]]]  # configuration -> worker, arguments of ``prepare``


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; ``arguments`` as on the command line. Returns the exit code."""
    options = _parser().parse_args(arguments)
    rounds, seconds = (1, 0.0) if options.tiny else (3, 0.3) if options.quick else (7, 1.0)
    settings = Settings(
        options.rounds or rounds, seconds, os.cpu_count() or 1, options.quick, options.tiny, find_pytorch(options.torch)
    )
    problem = _no_gpu()
    if problem:
        print(f"This benchmark needs an NVIDIA GPU. {problem}", file=sys.stderr)
        return NO_GPU
    facts = {**machine.facts(settings.threads), **_gpu_facts()}
    print(report.heading(facts), flush=True)
    rows = []
    for row in _rows(settings, facts):
        rows.append(row)
        print("  " + "  ".join(filter(None, row.cells())), flush=True)
        report.write(options.json, facts, rows)  # what is measured stays, whatever comes
    print("\n" + report.table(rows))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Measure training on a GPU.")
    parser.add_argument("--quick", action="store_true", help="fewer cases, shorter rounds")
    parser.add_argument("--tiny", action="store_true", help="only shows that everything runs")
    parser.add_argument("--json", type=Path, metavar="PATH", default=RESULTS, help="figures; the table goes beside it")
    parser.add_argument("--torch", metavar="PYTHON", help="a Python that has PyTorch (or set TINYCONV_TORCH_PYTHON)")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each comparison")
    return parser


def _no_gpu() -> str:
    """Why there is no GPU to measure; empty if there is one."""
    import tinyconv as tc

    try:
        tc.device("cuda")
    except (ImportError, RuntimeError) as error:
        return str(error)
    return ""


def _gpu_facts() -> dict[str, str]:
    """What the driver's own tool tells, and the versions of CuPy's packages."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version,clocks.max.sm", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.strip()
    except OSError:
        told = ""
    versions = {name: machine._version(name) for name in ("cupy-cuda12x", "cupy-cuda13x")}
    found = {name: version for name, version in versions.items() if version != "not installed"}
    return {"gpu": told or "unknown", "CUPY_TF32": os.environ.get("CUPY_TF32", "not set"), **found}


def _rows(settings: Settings, facts: dict[str, Any]) -> Iterator[Row]:
    for title, tf32 in ACCURACIES.items():
        environment = {"TINYCONV_DEVICE": "cuda"} | ({} if tf32 else {"CUPY_TF32": "0"})
        with Worker("gpu_ours", settings.threads, **environment) as ours, _pytorch(settings, tf32) as (theirs, notes):
            facts["ours"] = ours.call("version")
            for worker, _ in theirs.values():
                facts["theirs"] = worker.call("version")
            for network in settings.pick(("LeNet", "MiniVGGNet"), ("LeNet", "MiniVGGNet"), ("LeNet",)):
                yield _losses(network, title, ours, theirs, notes, settings)
            for network, batch in settings.pick(CASES, CASES[:4], [("LeNet", 4)]):
                yield from _step(network, batch, title, ours, theirs, notes, settings)
            if tf32:
                yield _epoch(ours, theirs, notes, settings)


@contextlib.contextmanager
def _pytorch(settings: Settings, tf32: bool) -> Iterator[tuple[Workers, list[str]]]:
    """PyTorch's configurations that this machine can run, and notes on what is left out."""
    with contextlib.ExitStack() as stack:
        workers: Workers = {}
        notes = [] if settings.torch else ["PyTorch not installed: pip install torch"]
        for graph in (False, True) if settings.torch else ():
            for channels_last in (False, True):
                name = f"{'graph' if graph else 'eager'}, {'channels_last' if channels_last else 'contiguous'}"
                worker = stack.enter_context(Worker("gpu_pytorch", settings.threads, settings.torch))
                try:
                    worker.call("version")
                except WorkerError as error:
                    notes.append(f"PyTorch left out: {reason(error)}")
                    yield {}, notes
                    return
                workers[name] = worker, {"channels_last": channels_last, "graph": graph, "tf32": tf32}
        yield workers, notes


def _prepare(theirs: Workers, notes: list[str], **case: Any) -> dict[str, Worker]:
    """The workers that could get the case ready."""
    ready = {}
    for name, (worker, options) in theirs.items():
        try:
            worker.call("prepare", **case, **options)
            ready[name] = worker
        except WorkerError as error:
            notes.append(f"{name} left out of {case['network']}, batch {case['batch']}: {reason(error)}")
    return ready


def _losses(network: str, title: str, ours: Worker, theirs: Workers, notes: list[str], settings: Settings) -> Row:
    """Losses from equal weights, without dropout: both sides do the same work."""
    case = {"network": network, "batch": settings.pick(64, 64, 4), "dropout": False}
    count, losses = settings.pick(LOSS_STEPS, LOSS_STEPS, 4), {}
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")
        ours.call("prepare", save=weights, **case)
        own = losses["ours"] = ours.call("losses", count=count)
        for name, worker in _prepare(theirs, notes, weights=weights, **case).items():
            losses[name] = worker.call("losses", count=count)
    row = Row("gpu", f"{network} losses of {count} steps, {title}", f"{own[-1]:.6f}", rounds=losses)
    others = [values for name, values in losses.items() if name != "ours"]
    if others:
        row.theirs = f"{others[0][-1]:.6f}"
        row.ratio = max(_distance(own, other) for other in others)
        row.bar = Bar(1e-3, at_most=True)
        spread = max(_distance(one, other) for one in others for other in others)
        row.note = "; ".join([*notes, f"PyTorch's configurations differ by {spread:.1e}"])
    else:
        row.note = "; ".join(notes)
    return row


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other))


def _step(
    network: str, batch: int, title: str, ours: Worker, theirs: Workers, notes: list[str], settings: Settings
) -> Iterator[Row]:
    """A training step with the batches on the GPU: against PyTorch's best eager one, and its best CUDA graph."""
    case = {"network": network, "batch": batch}
    ours.call("prepare", **case)
    workers = {"ours": ours, **_prepare(theirs, notes, **case)}
    for worker in workers.values():  # warm up
        worker.round("steps", settings)
    rounds = alternate({name: lambda w=w: w.round("steps", settings) for name, w in workers.items()}, settings)
    small = batch <= 128 and network != "ResNet50"
    for kind, bar in (("eager", 3.0 if small else 0.7), ("graph", 1.0 if small else 0.7)):
        yield _against(kind, bar, f"{network} step, batch {batch}, {title}, against {kind}", rounds, notes)


def _against(kind: str, bar: float, what: str, rounds: Rounds, notes: list[str]) -> Row:
    own = statistics.median(rounds["ours"])
    shown = {name: times for name, times in rounds.items() if name == "ours" or name.startswith(kind)}
    row = Row("gpu", what, milliseconds(own), bar=Bar(bar), note="; ".join(notes), rounds=shown)
    if len(shown) > 1:
        fastest = best(rounds, *(name for name in shown if name != "ours"))
        row.theirs = f"{milliseconds(statistics.median(rounds[fastest]))} ({fastest})"
        row.ratio = statistics.median(rounds[fastest]) / own
    return row


def _epoch(ours: Worker, theirs: Workers, notes: list[str], settings: Settings) -> Row:
    """LeNet over as many images as MNIST has, from host memory: feed, copies, metrics and progress included."""
    batch, samples = settings.pick(64, 64, 4), settings.pick(SAMPLES, SAMPLES, 16)
    workers: Mapping[str, Worker] = {"ours": ours, **_prepare(theirs, notes, network="LeNet", batch=batch)}
    count = settings.rounds + 1
    times = {name: w.call("epochs", samples=samples, batch=batch, count=count)[1:] for name, w in workers.items()}
    own = statistics.median(times["ours"])
    row = Row("gpu", f"LeNet epoch, {samples} images, batch {batch}", f"{own:.3g} s", ratio=own, rounds=times)
    row.bar, row.note = Bar(1.0, at_most=True, unit=" s"), "; ".join(notes)
    if len(times) > 1:
        fastest = best(times, *(name for name in times if name != "ours"))
        row.theirs = f"{statistics.median(times[fastest]):.3g} s ({fastest})"
    return row


if __name__ == "__main__":
    sys.exit(main())
