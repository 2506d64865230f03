"""The threads that share the rows of a program.

Workers are Python's threads, which wait inside compiled code without the interpreter's lock: awake for a moment, since
the next program often comes at once, then asleep in the system. A program that is posted is open to whoever comes; it
is done when its tasks are done, not when all threads have come. A thread that the system keeps from running holds
nobody up unless it is in the middle of a task, which is what a machine with other work on it needs.

One program is shared at a time: a Python thread that finds the workers busy does its work alone. So does a child whose
parent had workers before the fork: threads do not survive it, and a second set of them would fight with the first.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable

import numba
import numpy as np

from tinyconv.backends.kernels import emit
from tinyconv.backends.kernels.compiler import function

LINE = 8  # integers of a cache line: what different threads write does not share one

# Fields of the mailbox, by their place in it
POSTED, OPEN, INSIDE, ASLEEP, PROGRAM, ROWS, COUNTERS, WORKERS, SIZE = (LINE * i for i in range(9))


def count() -> int:
    """How many threads take part: those of Numba, whose settings (``NUMBA_NUM_THREADS``, ``set_num_threads``) hold."""
    pool = sys.modules.get("numba.np.ufunc.parallel")
    if getattr(pool, "_is_initialized", False):
        return numba.get_num_threads()
    return numba.config.NUMBA_NUM_THREADS  # asking Numba would start its own threads


def run(program: np.ndarray) -> bool:
    """Share a program with the workers; False, and nothing done, where that is not possible."""
    workers = count()
    return workers > 1 and _pool.run(program, workers)


class _Pool:
    """The mailbox, and the threads that wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mailbox = np.zeros(SIZE, np.int64)
        self._started = 0
        self._usable = True

    def run(self, program: np.ndarray, workers: int) -> bool:
        if not self._usable or not self._lock.acquire(blocking=False):
            return False
        try:
            while self._started < workers - 1:
                arguments = (self._mailbox, self._started + 1)
                thread = threading.Thread(target=_work(), args=arguments, name="tinyconv worker", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system gives no more of them
                    self._usable = False
                    return False
                self._started += 1
            counters = np.zeros((len(program), workers + 1, LINE), np.int64)  # tasks taken, tasks done
            _share()(self._mailbox, program, counters, workers)
        finally:
            self._lock.release()
        return True

    def after_fork(self) -> None:
        """In a child: the workers are gone, and the lock may have been held."""
        self._lock, self._usable = threading.Lock(), self._usable and not self._started


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.after_fork)


@numba.njit(error_model="numpy")
def _take_part(program, rows, counters, workers, worker):
    """Do what there is to do of every row, then wait until all of its tasks are done."""
    for row in range(rows):
        kernel, block, tasks, shared = emit.parameters(program + row * 32, 4)
        counter = counters + row * (workers + 1) * LINE * 8
        ready = counter + workers * LINE * 8
        finished = np.int64(0)
        if shared == 0:  # too little work for more than one thread
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


@functools.cache
def _share() -> Callable[[np.ndarray, np.ndarray, np.ndarray, int], None]:
    def share(mailbox, program, counters, workers):
        mail = mailbox.ctypes.data
        mailbox[PROGRAM], mailbox[ROWS] = program.ctypes.data, program.shape[0]
        mailbox[COUNTERS], mailbox[WORKERS] = counters.ctypes.data, workers
        emit.exchange(mail + OPEN * 8, 1)
        emit.add(mail + POSTED * 8, 1)
        if emit.add(mail + ASLEEP * 8, 0) > 0:
            emit.wake(mail + POSTED * 8)
        _take_part(program.ctypes.data, program.shape[0], counters.ctypes.data, workers, 0)
        emit.exchange(mail + OPEN * 8, 0)
        emit.wait_for_zero(mail + INSIDE * 8)  # they may look at the program until then

    return function(share, "void(int64[::1], int64[:, ::1], int64[:, :, ::1], int64)")


@functools.cache
def _work() -> Callable[[np.ndarray, int], None]:
    def work(mailbox, worker):
        mail = mailbox.ctypes.data
        seen = np.int64(0)
        while True:
            seen = emit.await_change(mail + POSTED * 8, mail + ASLEEP * 8, seen)
            emit.add(mail + INSIDE * 8, 1)
            if emit.add(mail + OPEN * 8, 0) == 1 and worker < mailbox[WORKERS]:
                _take_part(mailbox[PROGRAM], mailbox[ROWS], mailbox[COUNTERS], mailbox[WORKERS], worker)
            emit.add(mail + INSIDE * 8, -1)

    return function(work, "void(int64[::1], int64)")
