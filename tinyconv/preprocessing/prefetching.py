"""Making the next batches in threads while the model works on the present one.

Threads never wait for room: the consumer asks for one more batch whenever it takes one, so that there are at most
``buffer_size`` batches in memory, and nothing can hang when it stops asking. What is dropped, by a ``break``, an error
or Ctrl-C, ends its threads as soon as they are done with the batch at hand.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, repeat
from typing import Any, TypeVar

from tinyconv.checks import integer

Item = TypeVar("Item")
Result = TypeVar("Result")

THREAD_NAME = "tinyconv-prefetch"
_END = object()


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = 1, ahead: int = 2
) -> Iterator[Result]:
    """``map(function, items)`` in order, computed by ``workers`` threads up to ``ahead`` items in advance.

    With 0 workers no thread is started. An error in ``function`` is raised where its result would have been. A forked
    process has none of the threads: ``RuntimeError`` where it goes on with a loop that was begun before the fork.

    Examples
    --------
    >>> list(map_ahead(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    if not workers:
        yield from map(function, items)
        return
    left = iter(items)
    pending: deque[Future[Result]] = deque()
    process = os.getpid()
    threads = ThreadPoolExecutor(workers, thread_name_prefix=THREAD_NAME)
    try:
        pending.extend(threads.submit(function, item) for item in islice(left, max(ahead, workers)))
        while pending:
            if os.getpid() != process:
                raise RuntimeError("Expected a loop that this process began: the threads of another do not work in it")
            result = pending.popleft().result()
            pending.extend(threads.submit(function, item) for item in islice(left, 1))
            yield result
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def prefetch(batches: Any, buffer_size: int = 2, workers: int = 1) -> Any:
    """The same batches, made in advance by threads.

    Parameters
    ----------
    batches : iterable, or sequence with ``__len__`` and ``__getitem__``
        What ``fit`` takes: a generator, a data set, a Keras ``Sequence``.
    buffer_size : int
        Most batches to hold in advance.
    workers : int
        Threads; more than one only helps sequences, whose batches can be made independently of each other.

    Returns
    -------
    iterator or Prefetched
        Of an iterator an iterator, of a re-iterable object a re-iterable one that has its length, attributes and
        ``on_epoch_end``. What ``ImageDataGenerator`` and ``image_dataset_from_directory`` make is returned as it is: it
        has threads of its own.

    Examples
    --------
    >>> list(prefetch(x * x for x in range(4)))
    [0, 1, 4, 9]
    >>> squares = prefetch([0, 1, 4])
    >>> len(squares), list(squares), list(squares)
    (3, [0, 1, 4], [0, 1, 4])
    """
    buffer_size, workers = integer("buffer_size", buffer_size), integer("workers", workers)
    if not hasattr(batches, "__iter__") and not hasattr(batches, "__getitem__"):
        raise TypeError(f"Expected an iterable of batches. Received: {type(batches).__name__}")
    if getattr(batches, "_makes_ahead", False):
        return batches
    if hasattr(batches, "__next__") and iter(batches) is batches:
        return _draw_ahead(batches, buffer_size)
    return (_Sized if hasattr(batches, "__len__") else Prefetched)(batches, buffer_size, workers)


def _draw_ahead(batches: Iterator[Any], ahead: int) -> Iterator[Any]:
    drawn = map_ahead(lambda _: next(batches, _END), repeat(None), 1, ahead)
    for batch in drawn:
        if batch is _END:
            return
        yield batch


class Prefetched:
    """A re-iterable source of batches whose every pass runs in threads of its own; see :func:`prefetch`."""

    def __init__(self, source: Any, buffer_size: int, workers: int) -> None:
        self._source, self._buffer_size, self._workers = source, buffer_size, workers

    def __iter__(self) -> Iterator[Any]:
        source = self._source
        if hasattr(source, "__len__") and hasattr(source, "__getitem__") and not hasattr(source, "__next__"):
            return map_ahead(source.__getitem__, range(len(source)), self._workers, self._buffer_size)
        return _draw_ahead(iter(source), self._buffer_size)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # before __init__, as in copying
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._source, name)


class _Sized(Prefetched):
    def __len__(self) -> int:
        return len(self._source)
