"""Running programs of kernels.

A kernel is a serial compiled leaf ``kernel(parameters, task)``: it reads addresses and sizes from a block of 64-bit
integers, does task number ``task``, and writes only what belongs to that task. A program is a table with one row per
call; one compiled function runs it, the tasks of a row in parallel and the rows one after the other. How a call is
split into tasks depends on shapes alone, so results do not depend on the number of threads.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv.backends.kernels import emit, threads
from tinyconv.backends.kernels.compiler import function

SMALL = 40_000  # nanoseconds of work that do not pay for waking the other threads
AWAKE = 6_000  # nanoseconds of work that do not pay for sharing it with threads that are awake


class Call(NamedTuple):
    """One call of a kernel: its parameter block holds the addresses of ``arrays``, then ``sizes``.

    ``work`` estimates the nanoseconds of one thread. ``prepares`` tells that the kernel only brings its first array
    into another form, in its second.
    """

    kernel: int
    arrays: Sequence[np.ndarray | None]
    sizes: Sequence[int]
    tasks: int
    work: float
    prepares: bool = False


Allocate = Callable[[tuple[int, ...], Any], np.ndarray]
"""How a kernel gets memory for itself: ``np.empty``, or that of a plan."""


def address(array: np.ndarray | None) -> int:
    """Where the first element of ``array`` lies; 0 for None."""
    return 0 if array is None else array.__array_interface__["data"][0]


def run(calls: Sequence[Call]) -> None:
    """Run kernels one after the other, each with all its tasks in parallel."""
    prepare(calls)()


def prepare(calls: Sequence[Call]) -> Callable[[], None]:
    """Make calls into a program; what is returned runs it, on the same arrays every time, and keeps them alive."""
    blocks = [np.array([*map(address, call.arrays), *call.sizes], np.int64) for call in calls]
    worth = min(AWAKE, SMALL) if any(call.work > SMALL for call in calls) else SMALL
    program = np.array(
        [(call.kernel, address(block), call.tasks, call.work > worth) for call, block in zip(calls, blocks)],
        np.int64,
    )
    return functools.partial(_execute, program, (blocks, calls))


def take_times(run: Callable[[], None], rounds: int) -> list[tuple[Call, list[float]]]:
    """Seconds that each call of a prepared program takes, one after the other in this thread, in several rounds."""
    program, (_, calls) = run.args  # type: ignore[attr-defined]
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for row, times in enumerate(seconds):
            start = time.thread_time()
            _serial()(program[row : row + 1])
            times.append(time.thread_time() - start)
    return list(zip(calls, seconds))


def _execute(program: np.ndarray, alive: Any) -> None:
    """Run a program: rows of (kernel, address of its parameters, number of tasks, whether to use all threads)."""
    if not (program[:, 3].any() and threads.run(program)):
        _serial()(program)


@functools.cache
def _serial() -> Callable[[np.ndarray], None]:
    def run_serial(program):
        for row in range(program.shape[0]):
            kernel, block, tasks = program[row, 0], program[row, 1], program[row, 2]
            for task in range(tasks):
                emit.call(kernel, (block, task))

    return function(run_serial, "void(int64[:, ::1])")
