"""The command line: ``tinyconv COMMAND ...`` or ``python -m tinyconv COMMAND ...``.

A command prints its results on stdout (with ``--json`` as one JSON value) and what goes wrong as one line on stderr.
Exit codes: 0 it worked; 1 a check failed, or a file is missing or damaged; 2 wrong arguments; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import tinyconv
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
    output, errors = _Output(sys.stdout or io.StringIO()), sys.stderr or io.StringIO()  # None: it was closed
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):  # type: ignore[type-var]
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command; what goes wrong is one line on stderr, and an exit code."""
    args = argparse.Namespace(debug=False)
    try:
        try:
            build_parser().parse_args(arguments, args)
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning  # type: ignore[assignment]
                code = args.run(args)
        except UsageError as error:
            args.parser.error(str(error))
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("tinyconv: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if args.debug:
            raise
        print(f"tinyconv: error: {summarize(error)}", file=sys.stderr)
        return FAILED
    return int(code or 0)


class _Output:
    """Standard output whose reader may go away, as in ``tinyconv train ... | head``: the command goes on, unheard.

    Other errors come up again when it is flushed: argparse passes over those of its own writing.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._failure: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # tables have lines that a terminal may lack

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._try(self._stream.flush)

    def _try(self, do: Callable[..., Any], *arguments: str) -> None:
        try:
            do(*arguments)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # where the rest goes, also on exit
            if not isinstance(error, BrokenPipeError):
                self._failure = error
                raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    print(f"tinyconv: warning: {message}", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    from tinyconv.cli import commands  # takes a moment, in which Ctrl-C may come

    parser = argparse.ArgumentParser(
        prog="tinyconv", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"tinyconv {tinyconv.__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    commands.add_all(parser.add_subparsers(dest="command", metavar="COMMAND", required=True))
    return parser
