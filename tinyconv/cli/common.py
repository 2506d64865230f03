"""What the commands share: declaring arguments, errors, output, files."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FAILED, INTERRUPTED = 1, 130
PICTURES = (".png", ".svg", ".pdf")
OF_OTHERS = (".onnx", ".pt", ".pth", ".pb", ".tflite", ".ckpt", ".npz", ".npy", ".pkl", ".json", *PICTURES)

Run = Callable[[argparse.Namespace], int | None]


class UsageError(Exception):
    """Arguments that do not go together; the process ends with exit code 2."""


def add_command(commands: Any, name: str, run: Run, text: str, example: str) -> argparse.ArgumentParser:
    """Declare a command.

    Parameters
    ----------
    commands
        What ``add_subparsers`` returned.
    name : str
    run : callable
        From the parsed arguments to an exit code (``None`` is 0).
    text : str
        What the command does; its first sentence stands in the list of commands.
    example : str
        Command lines, without indentation.
    """
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=re.split(r"\.\s|\.$", text)[0],
        description=text,
        epilog=f"example:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declare ``--json``."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else")


def positive(text: str) -> int:
    """An argument that counts something.

    >>> positive("3")
    3
    """
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, received {text}")
    return int(text)


def rate(text: str) -> float:
    """A number above 0.

    >>> rate("0.01")
    0.01
    """
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"expected a number > 0, received {text}")


# --- output ----------------------------------------------------------------------------------------------------


def print_json(value: Any) -> None:
    """Print one JSON value; numbers that JSON does not know become null."""
    print(json.dumps(_plain(value), indent=2))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def print_facts(facts: dict[str, Any]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


def print_table(heading: list[str], rows: list[list[str]]) -> None:
    """Print columns, each as wide as it needs to be."""
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    for row in (heading, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def as_size(size: int) -> str:
    """A number of bytes as a person reads it.

    >>> as_size(79_397_300_000), as_size(2_540_000), as_size(900)
    ('79.4 GB', '2.5 MB', '0.9 kB')
    """
    factor, unit = next((f, u) for f, u in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if size >= f or u == "kB")
    return f"{size / factor:.1f} {unit}"


@contextlib.contextmanager
def quiet(silent: bool) -> Iterator[None]:
    """Send what is printed meanwhile to stderr, so that stdout holds nothing but JSON."""
    with contextlib.redirect_stdout(sys.stderr) if silent else contextlib.nullcontext():
        yield


def summarize(error: BaseException) -> str:
    """An error as one line.

    >>> summarize(OSError("could not download a.bin:\\n  no network\\n  put the file there by hand"))
    'could not download a.bin: no network; put the file there by hand'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and isinstance(error, OSError | ValueError | ImportError | RuntimeError):
        return "; ".join(lines).replace(":;", ":")
    return " ".join([": ".join([type(error).__name__, *lines]), "(--debug shows where)"])


# --- files -----------------------------------------------------------------------------------------------------


def check_target(path: Path, force: bool = True) -> Path:
    """Raise early unless a file can be written to ``path``; with ``force`` it may exist."""
    if path.is_dir():
        raise ValueError(f"Expected the name of a file to write. Received: {path}, which is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a folder to write to. Received: {path.parent}, which does not exist")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists already; --force replaces it")
    return path


def check_picture(option: str, path: Path) -> None:
    """Raise early unless ``path`` ends in a format of pictures."""
    if path.suffix.lower() not in PICTURES:
        raise UsageError(f"{option} must end in {', '.join(PICTURES)}. Received: {path}")


def check_model_name(option: str, path: Path) -> None:
    """Raise early when ``path`` ends in a format that is not written here, or not without a package that is missing."""
    if path.suffix.lower() in (".h5", ".hdf5", ".keras"):
        from tinyconv.interop import hdf5

        hdf5.require_h5py()
    if path.suffix.lower() in OF_OTHERS:
        raise UsageError(
            f"{option} must end in .safetensors, .weights.h5, .h5, .keras, or in what is no other format's, such as "
            f".tinyconv. Received: {path}"
        )


def load(path: Path) -> Any:
    """A model from a file."""
    import tinyconv as tc

    return tc.load_model(path)
