"""Running programs of kernels.

A kernel is a serial compiled leaf ``kernel(parameters, task)``: it reads addresses and sizes from a block of 64-bit
integers, does task number ``task``, and writes only what belongs to that task. A program is a table with one row per
call; one compiled function runs it, the tasks of a row in parallel and the rows one after the other. How a call is
split into tasks depends on shapes alone, so results do not depend on the number of threads.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import prange

from tinyconv.backends.kernels import emit
from tinyconv.backends.kernels.compiler import function

LINE = 8  # integers of a cache line: counters of different threads do not share one
SMALL = 40_000  # nanoseconds of work that do not pay for waking the other threads


class Call(NamedTuple):
    """One call of a kernel: its parameter block holds the addresses of ``arrays``, then ``sizes``.

    ``work`` estimates the nanoseconds of one thread. ``prepares`` tells that the kernel only brings its first array into
    another form, in its second.
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
    program = np.array(
        [(call.kernel, address(block), call.tasks, call.work > SMALL) for call, block in zip(calls, blocks)],
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
    if _pool.usable and program[:, 3].any():
        with _pool.entered():
            workers = numba.get_num_threads()
            counters = np.zeros((len(program), workers + 1, LINE), np.int64)  # tasks taken, tasks done
            _parallel()(program, address(counters), workers)
    else:
        _serial()(program)


class _Pool:
    """What has to be remembered about Numba's threads, which are shared by the whole process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.started = False
        self.usable = True

    @contextlib.contextmanager
    def entered(self):
        """Guard a parallel run: the first one starts the threads, and Numba's own pool takes one caller at a time."""
        if self.started and numba.threading_layer() != "workqueue":
            yield
            return
        with self.lock:
            if not self.started:
                _prefer_openmp()
            yield
            self.started = True

    def after_fork(self) -> None:
        """Threads do not survive a fork, and OpenMP ends a child that asks for them: work serially there."""
        self.lock = threading.Lock()
        self.usable = not self.started


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.after_fork)


def _prefer_openmp() -> None:
    """Choose the layer with the cheapest parallel region, unless the user or another library has chosen."""
    chosen = any(name in os.environ for name in ("NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY"))
    if not chosen and numba.config.THREADING_LAYER == "default":
        numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]


@functools.cache
def _parallel() -> Callable[[np.ndarray, int, int], None]:
    # One parallel region for a whole program. A row is done when its tasks are done, not when all threads have come: a
    # thread that the system keeps from running holds nobody up, unless it is in the middle of a task.
    def run_parallel(program, counters, workers):
        for worker in prange(workers):
            for row in range(program.shape[0]):
                kernel, block, tasks = program[row, 0], program[row, 1], program[row, 2]
                counter = counters + row * (workers + 1) * LINE * 8
                ready = counter + workers * LINE * 8
                finished = np.int64(0)
                if program[row, 3] == 0:  # too little work for more than one thread
                    if emit.take(counter) == 0:
                        for task in range(tasks):
                            emit.call(kernel, (block, task))
                        finished = tasks
                else:
                    # First the own share, so that data stay in one core's cache from row to row; then help others.
                    share = -(-tasks // workers)
                    for distance in range(workers):
                        owner = np.int64((worker + distance) % workers)
                        end = min(tasks, (owner + 1) * share)
                        task = owner * share + emit.take(counter + owner * LINE * 8)
                        while task < end:
                            emit.call(kernel, (block, task))
                            finished += 1
                            task = owner * share + emit.take(counter + owner * LINE * 8)
                if finished > 0:
                    emit.finish(ready, finished)
                emit.wait(ready, tasks)

    return function(run_parallel, "void(int64[:, ::1], int64, int64)", parallel=True)


@functools.cache
def _serial() -> Callable[[np.ndarray], None]:
    def run_serial(program):
        for row in range(program.shape[0]):
            kernel, block, tasks = program[row, 0], program[row, 1], program[row, 2]
            for task in range(tasks):
                emit.call(kernel, (block, task))

    return function(run_serial, "void(int64[:, ::1])")
