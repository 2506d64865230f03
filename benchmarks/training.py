"""Training: LeNet and MiniVGGNet against every configuration of PyTorch, and what a step costs besides time."""

from __future__ import annotations

import contextlib
import functools
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import PYTORCH_MISSING, Rivals, Settings, Worker, alternate, race
from benchmarks.report import Bar, Row, against, on

NETWORKS = {"LeNet": 2.5, "MiniVGGNet": 3.0}  # how many times faster than PyTorch a step has to be
LOSS_STEPS = 20
# Of 20 steps with batch normalisation in float32, a larger learning rate makes a last bit of the first visible: losses
# of PyTorch's own memory formats differ by 0.02 then.
RATES = {"float64": None, "float32": 1e-5}


def rows(settings: Settings) -> Iterator[Row]:
    """All rows about training."""
    proof: dict[str, dict[str, str]] = {}
    for network in NETWORKS:
        for threads in settings.pick(dict.fromkeys((settings.threads, 1)), [settings.threads], [settings.threads]):
            with Worker("ours", threads) as ours, Rivals(settings, threads) as rivals:
                losses = [_losses(network, dtype, threads, ours, rivals, settings) for dtype in RATES]
                yield from losses
                proof[network] = _proof(losses)
                for batch in settings.pick((64, 128), (64,), (4,)):
                    yield _step(network, batch, threads, ours, rivals, proof[network], settings)
    for network in NETWORKS:
        for row in (_epoch, _memory, _batch_sizes):
            yield row(network, proof[network], settings)
        if settings.threads > 1:
            yield _threads(network, settings)


def _proof(losses: list[Row]) -> dict[str, str]:
    """What the rows of a network say about its results: that they are PyTorch's, or why they do not count."""
    if losses[0].ratio is None:
        return {"differs": "not compared with PyTorch"}
    return {"compared": "losses equal PyTorch's"} if all(row.holds for row in losses) else {"differs": "losses differ"}


def _losses(network: str, dtype: str, threads: int, ours: Worker, rivals: Rivals, settings: Settings) -> Row:
    """Losses from equal weights, without dropout: largest distance from any of PyTorch's configurations."""
    case = {"network": network, "batch": settings.pick(64, 64, 4), "dropout": False, "dtype": dtype}
    case["learning_rate"], count = RATES[dtype], settings.pick(LOSS_STEPS, LOSS_STEPS, 2)
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")
        ours.call("prepare", save=weights, **case)
        own = ours.call("losses", count=count)
        rivals.prepare(weights=weights, **case)
        theirs = rivals.call("losses", count=count)
    row = Row("training", f"{network}: loss after {count} steps from equal weights, {dtype}, {on(threads)}")
    row.ours, row.rounds, row.note = f"{own[-1]:.6f}", {"ours": own, **theirs}, "; ".join(rivals.notes)
    if theirs:
        far = {name: max(abs(a - b) for a, b in zip(own, other)) for name, other in theirs.items()}
        name = max(far, key=lambda name: far[name])
        row.theirs, row.ratio, row.bar = f"{theirs[name][-1]:.6f} ({name})", far[name], Bar(1e-3, at_most=True)
        row.compared = f"largest distance of {count} losses, {len(theirs)} configurations"
    return row


def _step(
    network: str, batch: int, threads: int, ours: Worker, rivals: Rivals, proof: dict[str, str], settings: Settings
) -> Row:
    ours.call("prepare", network=network, batch=batch)
    rivals.prepare(network=network, batch=batch)
    rivals.call("losses", count=1)  # torch.compile fails here, if it does
    rounds = race("steps", {"ours": ours, **rivals.workers}, settings)
    what = f"{network}: training step, batch {batch}, {on(threads)}"
    return against("training", what, rounds, Bar(NETWORKS[network]), note="; ".join(rivals.notes), **proof)


def _epoch(network: str, proof: dict[str, str], settings: Settings) -> Row:
    """One epoch through ``fit``, its progress bar included, against the same steps one by one."""
    count = settings.pick(200, 40, 2)
    with Worker("ours", settings.threads) as ours:
        ours.call("prepare", network=network, batch=settings.pick(64, 64, 4))
        ours.call("epoch", count=2)
        measured = [ours.call("epoch", count=count) for _ in range(settings.rounds)]
    rounds = {name: [one[name] for one in measured] for name in ("fit", "steps")}
    fit, steps = (f"{statistics.median(rounds[name]):.3g} s" for name in ("fit", "steps"))
    what = f"{network}: epoch of {count} steps through fit, over its steps one by one"
    ratios = [one["fit"] / one["steps"] for one in measured]
    bar = Bar(1.05, at_most=True)
    return Row("training", what, fit, f"{steps} (steps)", bar=bar, ratios=ratios, rounds=rounds, **proof)


def _memory(network: str, proof: dict[str, str], settings: Settings) -> Row:
    """Peak memory of training, in fresh processes: what training with the batch adds to one that knows the network."""
    batch = settings.pick(128, 64, 4)
    variants: dict[str, tuple[str, str | None, dict[str, Any]]] = {"ours": ("ours", None, {})}
    for channels_last in (False, True) if settings.torch else ():
        name = f"PyTorch {'channels_last' if channels_last else 'contiguous'}"
        variants[name] = ("pytorch", settings.torch, {"channels_last": channels_last})

    def peak(module: str, python: str | None, options: dict[str, Any]) -> float:
        with Worker(module, settings.threads, python) as worker:
            return worker.call("peak_memory", network=network, batch=batch, **options)

    rounds = alternate({name: lambda v=variant: peak(*v) for name, variant in variants.items()}, settings)
    what = f"{network}: memory that a step adds at its peak, batch {batch}, theirs over ours"
    note = "" if settings.torch else PYTORCH_MISSING
    return against("training", what, rounds, Bar(1.0), lambda size: f"{size / 2**20:.0f} MiB", note=note, **proof)


def _batch_sizes(network: str, proof: dict[str, str], settings: Settings) -> Row:
    """Time per image: flat or falling while the batch grows."""
    batches = settings.pick((32, 64, 128, 256, 512, 1024), (32, 256), (2, 4))
    with contextlib.ExitStack() as stack:
        workers = {str(batch): stack.enter_context(Worker("ours", settings.threads)) for batch in batches}
        for batch, worker in workers.items():
            worker.call("prepare", network=network, batch=int(batch), count=2)
        rounds = race("steps", workers, settings)
    rounds = {batch: [seconds / int(batch) for seconds in times] for batch, times in rounds.items()}
    names = list(rounds)

    def rise(pair: tuple[str, str]) -> float:
        return statistics.median(rounds[pair[1]]) / statistics.median(rounds[pair[0]])

    small, large = max(((a, b) for i, a in enumerate(names) for b in names[i + 1 :]), key=rise)
    times = ", ".join(f"{1e6 * statistics.median(times):.0f}" for times in rounds.values())
    what = f"{network}: us per image at batch {', '.join(names)}; largest rise, from {small} to {large}"
    ratios = [b / a for a, b in zip(rounds[small], rounds[large])]
    return Row("training", what, times, bar=Bar(1.05, at_most=True), ratios=ratios, rounds=rounds, **proof)


def _threads(network: str, settings: Settings) -> Row:
    """What the second core brings."""
    batch = settings.pick(128, 64, 4)
    with Worker("ours", 1) as one, Worker("ours", 2) as two:
        losses = []
        for worker in (one, two):
            worker.call("prepare", network=network, batch=batch)
            losses.append(worker.call("losses", count=3))
        rounds = race("steps", {"ours": two, "1 thread": one}, settings)
    what = f"{network}: training step, batch {batch}, 2 threads against 1"
    if losses[0] != losses[1]:
        return against("training", what, rounds, Bar(1.85), differs="losses differ")
    proof = f"3 losses are the same bits; {_more_with_two(settings)}"
    return against("training", what, rounds, Bar(1.85), compared=proof)


def _more_with_two(settings: Settings) -> str:
    """What the second core brings where nothing is shared, and where everything comes from memory."""
    with Worker("primitives", 1) as one, Worker("primitives", 2) as two:

        def measure(worker: Worker, limit: str) -> float:
            return worker.call("limits")[limit]

        cases = [(worker, limit) for limit in ("flops", "bandwidth") for worker in (one, two)]
        rounds = alternate({str(i): functools.partial(measure, *case) for i, case in enumerate(cases)}, settings)
    compute, memory = (
        statistics.median(b / a for a, b in zip(rounds[first], rounds[second])) for first, second in ("01", "23")
    )
    return f"multiply-adds in registers {compute:.2f}, copying memory {memory:.2f}"
