"""The command ``warmup``: compile the kernels that networks need, before they are needed."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinyconv.cli import kernels
from tinyconv.cli.common import add_command, add_json, as_size, positive, print_json
from tinyconv.cli.networks import NETWORKS, OPTIMIZERS

SHAPES = {"lenet": (28, 28, 1), "minivggnet": (32, 32, 3), "shallownet": (32, 32, 3)}  # H, W, C
SHORT = 64  # images of the largest short batch: how fewer rows are cut into tiles depends on their number
LOSSES = ("categorical_crossentropy", "sparse_categorical_crossentropy")


def add_warmup(commands: Any) -> None:
    """``tinyconv warmup``."""
    parser = add_command(
        commands, "warmup", warmup,
        "Compile the kernels of networks' training, evaluation and prediction steps into the disk cache.\n\n"
        "Later processes load them in milliseconds. Kernels are compiled at first use anyway: this is for machines\n"
        "that must answer at once, and for images of containers. Everything is computed in float32.",
        "tinyconv warmup\ntinyconv warmup --network lenet --batch-size 32 128",
    )  # fmt: skip
    parser.add_argument(
        "--network", nargs="+", choices=NETWORKS, default=["lenet", "minivggnet"], metavar="NAME",
        help=f"some of {', '.join(NETWORKS)} (lenet minivggnet)",
    )  # fmt: skip
    parser.add_argument(
        "-b", "--batch-size", nargs="+", type=positive, default=[64], metavar="N", help="images at a time (64)"
    )
    parser.add_argument(
        "--optimizer", nargs="+", choices=OPTIMIZERS, default=["sgd", "adam"], metavar="NAME",
        help=f"some of {', '.join(OPTIMIZERS)} (sgd adam)",
    )  # fmt: skip
    add_json(parser)


def warmup(args: argparse.Namespace) -> None:
    """Run every kind of step, and tell how long it took and what it compiled."""
    from tinyconv import backends

    if backends.host().name != "cpu":
        print_json([]) if args.json else print("Nothing to do: the reference backend has no kernels to compile")
        return
    if kernels.cache().folder is None:
        raise OSError("The compiled kernels cannot be kept: no folder for them is writable; set NUMBA_CACHE_DIR to one")
    done = []
    for network, batch_size in ((n, b) for n in args.network for b in args.batch_size):
        for name, step in _steps(network, batch_size, args.optimizer):
            found, start = kernels.cache().kernels, time.perf_counter()
            step()
            seconds, compiled = time.perf_counter() - start, kernels.cache().kernels - found
            facts = {"network": network, "batch_size": batch_size, "step": name}
            done.append({**facts, "seconds": seconds, "compiled": compiled})
            if not args.json:
                what = f"{network:<10}  batch {batch_size:<4}  {name:<44}"
                print(f"{what}  {seconds:6.2f} s  {compiled:3} kernels", flush=True)
    if args.json:
        print_json(done)
        return
    _print_total(done, kernels.cache())


def _print_total(done: list[dict[str, Any]], after: kernels.Cache) -> None:
    seconds, compiled = sum(each["seconds"] for each in done), sum(each["compiled"] for each in done)
    holds = f"{after.folder} holds {after.kernels}, {as_size(after.size)}"
    print(f"{compiled} kernels compiled in {seconds:.1f} s; {holds}")


def _steps(network: str, batch_size: int, optimizers: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names of steps and functions that run them."""
    import tinyconv as tc

    height, width, depth = SHAPES[network]
    rng = np.random.default_rng(0)
    x = rng.random((batch_size, height, width, depth), np.float32)
    x = np.moveaxis(x, -1, 1) if tc.config.image_data_format() == "channels_first" else x
    labels = np.arange(batch_size) % 10
    build = getattr(tc.applications, NETWORKS[network]).build
    for loss in LOSSES:
        y = labels if loss.startswith("sparse") else np.eye(10, dtype=np.float32)[labels]
        for optimizer in optimizers:
            model = build(width=width, height=height, depth=depth, classes=10)
            model.compile(optimizer, loss=loss, metrics=["accuracy"])
            yield f"train, {optimizer}, {loss}", _thrice(model.train_on_batch, x, y)
        yield f"evaluate, {loss}", _thrice(model.test_on_batch, x, y)
    yield "predict", _thrice(model.predict_on_batch, x)
    yield "predict one image", _thrice(model.predict_on_batch, x[:1])
    yield f"train and predict batches of 1 to {SHORT}", _short_batches(model, x, y)


def _short_batches(model: Any, x: np.ndarray, y: np.ndarray) -> Callable[[], None]:
    """Runs batches as they are left over at the end of an epoch: matrices of other heights are cut into other tiles."""

    def run() -> None:
        for count in range(1, SHORT + 1):
            places = np.arange(count) % len(x)
            model.train_on_batch(x[places], y[places])
            model.predict_on_batch(x[places])

    return run


def _thrice(step: Callable[..., Any], *arguments: Any) -> Callable[[], None]:
    """Runs a step twice eagerly, when it is recorded, and once as a plan, which has kernels of its own."""

    def run() -> None:
        for _ in range(3):
            step(*arguments)

    return run
