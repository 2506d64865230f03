"""Training: LeNet and MiniVGGNet against every configuration of PyTorch, and what a step costs besides time."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import PYTORCH_MISSING, Settings, Worker, WorkerError, alternate, best, pytorch, reason
from benchmarks.report import Bar, Row, milliseconds, on

NETWORKS = {"LeNet": 2.5, "MiniVGGNet": 3.0}  # how many times faster than PyTorch a step has to be
LOSS_STEPS = 20


def rows(settings: Settings) -> Iterator[Row]:
    """All rows about training."""
    for network in NETWORKS:
        for threads in settings.pick(dict.fromkeys((settings.threads, 1)), [settings.threads], [settings.threads]):
            yield from _against_pytorch(network, threads, settings)
    for network in NETWORKS:
        yield _epoch(network, settings)
        yield _memory(network, settings)
        yield _batch_sizes(network, settings)
        if settings.threads > 1:
            yield _threads(network, settings)


def _against_pytorch(network: str, threads: int, settings: Settings) -> Iterator[Row]:
    """Equal losses first, so that both sides do the same work; then the steps of each batch size."""
    with Worker("ours", threads) as ours, pytorch(settings, threads) as (theirs, notes):
        for dtype in ("float64", "float32"):
            yield _losses(network, dtype, threads, ours, theirs, notes, settings)
        for batch in settings.pick((64, 128), (64,), (4,)):
            yield _step(network, batch, threads, ours, theirs, notes, settings)


def _losses(
    network: str,
    dtype: str,
    threads: int,
    ours: Worker,
    theirs: dict[str, Any],
    notes: list[str],
    settings: Settings,
) -> Row:
    """Losses from equal weights, without dropout.

    In float64 the mathematics alone is compared, with one of PyTorch's configurations. In float32 the note tells how
    far PyTorch's configurations are from each other.
    """
    case = {"network": network, "batch": settings.pick(64, 64, 4), "dropout": False, "dtype": dtype}
    count, losses = settings.pick(LOSS_STEPS, LOSS_STEPS, 2), {}
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")
        ours.call("prepare", save=weights, **case)
        own = losses["ours"] = ours.call("losses", count=count)
        for name, (worker, options) in list(theirs.items())[: 1 if dtype == "float64" else None]:
            try:
                worker.call("prepare", weights=weights, **case, **options)
                losses[name] = worker.call("losses", count=count)
            except WorkerError as error:  # torch.compile without what it needs
                notes.append(f"{name} left out: {reason(error)}")
                del theirs[name]
    row = Row("training", f"{network} losses of {count} steps, {dtype}, {on(threads)}", f"{own[-1]:.6f}")
    row.rounds, row.note = losses, "; ".join(notes)
    others = [losses[name] for name in losses if name != "ours"]
    if others:
        row.theirs = f"{others[0][-1]:.6f}"
        row.ratio = max(_distance(own, other) for other in others)
        spread = max(_distance(one, other) for one in others for other in others)
        row.bar = Bar(1e-3, at_most=True)
        if len(others) > 1:
            row.note = "; ".join([*notes, f"PyTorch's configurations differ by {spread:.1e}"])
    return row


def _distance(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other))


def _step(
    network: str, batch: int, threads: int, ours: Worker, theirs: dict[str, Any], notes: list[str], settings: Settings
) -> Row:
    ours.call("prepare", network=network, batch=batch)
    workers = {"ours": ours}
    for name, (worker, options) in theirs.items():
        worker.call("prepare", network=network, batch=batch, **options)
        workers[name] = worker
    for worker in workers.values():  # warm up
        worker.round("steps", settings)
    rounds = alternate({name: lambda w=w: w.round("steps", settings) for name, w in workers.items()}, settings)
    own = statistics.median(rounds["ours"])
    row = Row("training", f"{network} step, batch {batch}, {on(threads)}", milliseconds(own), rounds=rounds)
    row.note = "; ".join(notes)
    if theirs:
        fastest = best(rounds, *theirs)
        row.theirs = f"{milliseconds(statistics.median(rounds[fastest]))} ({fastest})"
        row.ratio, row.bar = statistics.median(rounds[fastest]) / own, Bar(NETWORKS[network])
    return row


def _epoch(network: str, settings: Settings) -> Row:
    """One epoch through ``fit``, its progress bar included, against the same steps one by one."""
    count = settings.pick(200, 40, 2)
    with Worker("ours", settings.threads) as ours:
        ours.call("prepare", network=network, batch=settings.pick(64, 64, 4))
        ours.call("epoch", count=2)
        measured = [ours.call("epoch", count=count) for _ in range(settings.rounds)]
    rounds = {name: [one[name] for one in measured] for name in ("fit", "steps")}
    fit, steps = (statistics.median(rounds[name]) for name in ("fit", "steps"))
    what = f"{network} epoch of {count} steps through fit, against its steps"
    return Row("training", what, f"{fit:.3g} s", f"{steps:.3g} s", fit / steps, Bar(1.05, at_most=True), rounds=rounds)


def _memory(network: str, settings: Settings) -> Row:
    """Peak memory of training, in fresh processes: what training with the batch adds to one that knows the network."""
    batch = settings.pick(128, 64, 4)
    measured: dict[str, list[float]] = {}
    variants: dict[str, tuple[str, str | None, dict[str, Any]]] = {"ours": ("ours", None, {})}
    for channels_last in (False, True) if settings.torch else ():
        name = "channels_last" if channels_last else "contiguous"
        variants[name] = ("pytorch", settings.torch, {"channels_last": channels_last})
    for name, (module, python, options) in variants.items():
        with Worker(module, settings.threads, python) as worker:
            measured[name] = [worker.call("peak_memory", network=network, batch=batch, **options) / 2**20]
    row = Row("training", f"{network} peak memory of a step, batch {batch}", f"{measured['ours'][0]:.0f} MiB")
    row.rounds = measured
    if settings.torch is None:
        row.note = PYTORCH_MISSING
        return row
    least = best(measured, "contiguous", "channels_last")
    row.theirs, row.bar = f"{measured[least][0]:.0f} MiB ({least})", Bar(1.0, at_most=True)
    row.ratio = measured["ours"][0] / max(measured[least][0], 1e-3)
    return row


def _batch_sizes(network: str, settings: Settings) -> Row:
    """Time per image: flat or falling while the batch grows."""
    batches = settings.pick((32, 64, 128, 256, 512, 1024), (32, 256), (2, 4))
    with contextlib.ExitStack() as stack:
        workers = {batch: stack.enter_context(Worker("ours", settings.threads)) for batch in batches}
        for batch, worker in workers.items():
            worker.call("prepare", network=network, batch=batch)
            worker.round("steps", settings)
        jobs = {str(b): lambda b=b, w=w: w.round("steps", settings) / b for b, w in workers.items()}
        rounds = alternate(jobs, settings)
    per_image = {batch: statistics.median(rounds[str(batch)]) for batch in batches}
    # the worst rise from any batch to a larger one
    ratio = max(per_image[b] / per_image[a] for a in batches for b in batches if a < b)
    times = ", ".join(f"{1e6 * time:.0f}" for time in per_image.values())
    what = f"{network} us per image, batch {batches[0]}..{batches[-1]}, largest rise"
    return Row("training", what, times, "", ratio, Bar(1.05, at_most=True), rounds=rounds)


def _threads(network: str, settings: Settings) -> Row:
    """What the second core brings."""
    batch = settings.pick(128, 64, 4)
    with Worker("ours", 1) as one, Worker("ours", 2) as two:
        for worker in (one, two):
            worker.call("prepare", network=network, batch=batch)
            worker.round("steps", settings)
        jobs = {"1": lambda: one.round("steps", settings), "2": lambda: two.round("steps", settings)}
        rounds = alternate(jobs, settings)
    slow, fast = (statistics.median(rounds[name]) for name in ("1", "2"))
    what = f"{network} step, batch {batch}, 2 threads against 1"
    return Row("training", what, milliseconds(fast), milliseconds(slow), slow / fast, Bar(1.85), rounds=rounds)
