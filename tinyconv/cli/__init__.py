"""The command line: ``tinyconv COMMAND ...`` or ``python -m tinyconv COMMAND ...``.

A command prints its results on stdout (with ``--json`` as one JSON value) and what goes wrong as one line on stderr.
Exit codes: 0 it worked; 1 a check failed, or a file is missing or damaged; 2 wrong arguments; 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import tinyconv
from tinyconv.cli import commands
from tinyconv.cli.common import FAILED, INTERRUPTED, UsageError, summarize

__all__ = ["main"]

DESCRIPTION = """\
Convolutional networks from the command line: train, look at, use and convert models; look after this installation.

example:
  tinyconv train lenet mnist --epochs 5 --output lenet.tinyconv
  tinyconv predict lenet.tinyconv digit.png
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; ``arguments`` are those of the process by default. Returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # tables have lines that a terminal may lack
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            code = args.run(args)
        sys.stdout.flush()
    except UsageError as error:
        args.parser.error(str(error))
    except BrokenPipeError:  # `tinyconv info model | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("tinyconv: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if args.debug:
            raise
        print(f"tinyconv: error: {summarize(error)}", file=sys.stderr)
        return FAILED
    return int(code or 0)


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    print(f"tinyconv: warning: {message}", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="tinyconv", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"tinyconv {tinyconv.__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    commands.add_all(parser.add_subparsers(dest="command", metavar="COMMAND", required=True))
    return parser
