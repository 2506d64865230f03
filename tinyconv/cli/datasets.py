"""The command ``datasets``, and data sets for ``train``, ``evaluate`` and ``predict``."""

from __future__ import annotations

import argparse
import importlib
from typing import Any, NamedTuple

import numpy as np

from tinyconv.cli.common import UsageError, add_command, add_json, as_size, print_json, print_table, quiet

IMAGES = ("mnist", "mnist_subset", "fashion_mnist", "cifar10", "cifar100")  # what networks can be trained on by name


class Images(NamedTuple):
    """Images and labels."""

    x: np.ndarray  # (N, H, W, C) or (N, C, H, W), float32
    y: np.ndarray  # (N,), integers
    class_names: list[str]


def add_datasets(commands: Any) -> None:
    """``tinyconv datasets``."""
    parser = add_command(
        commands, "datasets", show,
        "List the data sets, whether they are on this machine, and what gets the others here.",
        "tinyconv datasets\ntinyconv datasets --fetch fashion_mnist",
    )  # fmt: skip
    parser.add_argument("--fetch", metavar="NAME", help="download NAME first, if it is not there")
    add_json(parser)


def show(args: argparse.Namespace) -> None:
    """Print the state of every data set."""
    from tinyconv import datasets

    if args.fetch is not None:
        if args.fetch not in {entry.name for entry in datasets.status()}:
            names = ", ".join(entry.name for entry in datasets.status())
            raise UsageError(f"--fetch: expected one of {names}. Received: {args.fetch}")
        with quiet(args.json):
            datasets.fetch(args.fetch)
    found = datasets.status()
    if args.json:
        print_json([{**vars(entry), "hint": _hint(entry)} for entry in found])
        return
    rows = [[e.name, e.state, as_size(e.size) if e.size else "", str(e.folder)] for e in found]
    print_table(["name", "state", "size", "folder"], rows)
    for entry in found:
        if entry.hint:
            print(f"\n{entry.name}: {_hint(entry)}")


def _hint(entry: Any) -> str:
    """What to do next, as a command where one does it."""
    fetched = entry.hint and entry.downloads
    return f"tinyconv datasets --fetch {entry.name} downloads it; or {entry.by_hand}" if fetched else entry.hint


def load_images(name: str, split: str, data_format: str, scale: float, limit: int | None = None) -> Images:
    """The training or test part of a data set, scaled; only the first ``limit`` images."""
    (train, test), names = _load(name)
    x, y = train if split == "train" else test
    x, y = x[:limit], np.ravel(y[:limit]).astype(np.int64)
    x = x[..., None] if x.ndim == 3 else x  # (N, H, W) -> (N, H, W, 1)
    if data_format == "channels_first":
        x = np.moveaxis(x, -1, 1)  # (N, H, W, C) -> (N, C, H, W)
    names = names or [str(c) for c in range(int(max(train[1].max(), test[1].max())) + 1)]
    return Images(np.multiply(x, np.float32(scale), dtype=np.float32), y, names)


def _load(name: str) -> tuple[Any, list[str] | None]:
    """Both parts of a data set, and the names of its classes where it has some."""
    from tinyconv import datasets

    if name == "mnist_subset":
        return datasets.mnist.load_data("subset"), None
    module = importlib.import_module(f"tinyconv.datasets.{name}")
    names = getattr(module, "CLASS_NAMES", None)
    return module.load_data(), None if names is None else list(names)
