"""Fair comparison: every framework in a process of its own, all of them kept alive, and their rounds alternated."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PYTORCH_MISSING = "PyTorch not installed: pip install torch==2.13.0 in a virtual environment of its own"
Rounds = dict[str, list[float]]  # configuration -> one figure per round


@dataclass(frozen=True)
class Settings:
    """How thoroughly to measure. ``torch`` is the Python that has PyTorch, if any."""

    rounds: int = 5
    seconds: float = 0.7  # of one round
    threads: int = os.cpu_count() or 1
    quick: bool = False
    tiny: bool = False
    torch: str | None = None

    @property
    def least(self) -> int:
        """Fewest calls in a round."""
        return 1 if self.tiny else 3

    def pick(self, full: Any, quick: Any, tiny: Any) -> Any:
        """The value for the chosen thoroughness."""
        return tiny if self.tiny else quick if self.quick else full


class WorkerError(RuntimeError):
    """A worker could not do what it was asked; the message ends with the last line of its traceback."""


class Worker:
    """A process that runs ``benchmarks.workers.<module>`` with so many threads; use it in a ``with`` block.

    Examples
    --------
    >>> with Worker("filters", threads=1) as worker:
    ...     worker.call("version").startswith("OpenCV")
    True
    """

    def __init__(self, module: str, threads: int, python: str | None = None, **environment: str) -> None:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        self.module = module
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        self._process = subprocess.Popen(
            [python or sys.executable, "-m", f"benchmarks.workers.{module}"],
            cwd=ROOT,
            env={**os.environ, **dict.fromkeys(names, str(threads)), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def call(self, function: str, **arguments: Any) -> Any:
        """Run a function of the worker and return its result."""
        requests, replies = self._process.stdin, self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"call": function, "arguments": arguments}), file=requests, flush=True)
        line = replies.readline() if replies else ""
        if not line:
            self._log.seek(0)
            raise WorkerError(f"The worker {self.module} ended:\n{self._log.read().strip()}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"].strip())
        return reply["result"]

    def round(self, function: str, settings: Settings, share: float = 1.0) -> float:
        """Median of the times of one round, or of a ``share`` of one for what takes no time."""
        return statistics.median(self.call(function, seconds=share * settings.seconds, least=settings.least))

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        self._log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def race(function: str, workers: Mapping[str, Worker], settings: Settings, share: float = 1.0) -> Rounds:
    """Warm up, then have workers take turns."""
    for worker in workers.values():
        worker.round(function, settings, share)
    return alternate({name: lambda w=w: w.round(function, settings, share) for name, w in workers.items()}, settings)


def alternate(jobs: Mapping[str, Callable[[], float]], settings: Settings) -> Rounds:
    """Run each job once per round, turn and turn about, and return all figures.

    Between two turns is a pause, in which the threads of the last job stop waiting for more work and fall asleep.
    """
    results: Rounds = {name: [] for name in jobs}
    for _ in range(settings.rounds):
        for name, job in jobs.items():
            time.sleep(0 if settings.tiny else 0.1)
            results[name].append(job())
    return results


def best(rounds: Rounds, *names: str) -> str:
    """The configuration, among ``names``, with the smallest median."""
    return min(names, key=lambda name: statistics.median(rounds[name]))


def reason(error: Exception) -> str:
    """The last line of an error."""
    return str(error).strip().splitlines()[-1][:160]


class Rivals:
    """PyTorch's configurations, each in a process of its own; use it in a ``with`` block.

    One that fails, such as ``torch.compile`` without what it needs, is left out from then on. ``notes`` tell what is
    missing, and why.
    """

    def __init__(self, settings: Settings, threads: int) -> None:
        self.workers: dict[str, Worker] = {}
        self.notes = [] if settings.torch else [PYTORCH_MISSING]
        self._options: dict[str, dict[str, bool]] = {}
        self._stack = contextlib.ExitStack()
        for compiled in (False, True) if settings.torch else ():
            if compiled and (problem := _no_compiler(settings)):
                self.notes.append(f"torch.compile left out: {problem}")
                continue
            for channels_last in (False, True):
                name = f"PyTorch {'channels_last' if channels_last else 'contiguous'}{', compile' * compiled}"
                self.workers[name] = self._stack.enter_context(Worker("pytorch", threads, settings.torch))
                self._options[name] = {"channels_last": channels_last, "compiled": compiled}

    def prepare(self, **case: Any) -> None:
        """Have every configuration get ready for the same case."""
        for name in list(self.workers):
            self._ask(name, "prepare", **case, **self._options[name])

    def call(self, function: str, **arguments: Any) -> dict[str, Any]:
        """What each configuration answers."""
        answers = {name: self._ask(name, function, **arguments) for name in list(self.workers)}
        return {name: answer for name, answer in answers.items() if name in self.workers}

    def _ask(self, name: str, function: str, **arguments: Any) -> Any:
        try:
            return self.workers[name].call(function, **arguments)
        except WorkerError as error:
            self.notes.append(f"{name} left out: {reason(error)}")
            del self.workers[name]

    def __enter__(self) -> Rivals:
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()


def _no_compiler(settings: Settings) -> str:
    if settings.quick or settings.tiny:
        return "compiling takes minutes"
    found = any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))
    return "" if found else "no C++ compiler on the PATH"


def find_pytorch(wanted: str | None) -> str | None:
    """A Python with PyTorch: ``wanted``, else TINYCONV_TORCH_PYTHON, else the running one; None where there is none.

    Raises
    ------
    SystemExit
        When a Python that was asked for by name has no PyTorch.
    """
    named = wanted or os.environ.get("TINYCONV_TORCH_PYTHON")
    python = named or sys.executable
    try:
        check = subprocess.run([python, "-c", "import torch"], capture_output=True, text=True)
        problem = reason(RuntimeError(check.stderr)) if check.returncode else ""
    except OSError as error:
        problem = str(error)
    if problem and named:
        raise SystemExit(f"{named} cannot run PyTorch: {problem}")
    return None if problem else python
