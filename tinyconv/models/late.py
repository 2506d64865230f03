"""Results that nobody waits for, and that are worked out only if somebody reads them.

Most batches' results are read by nobody, and those of some metrics take long. Numbers of a batch on the GPU even travel
to the host while it computes the next ones.

A GPU works behind the program that drives it, and to read a number is to wait until it has caught up. So what metrics
look at is fetched batch by batch, but looked at only when someone reads the results, or when more than a few batches
wait: the values are then there already.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinyconv import backends
from tinyconv.callbacks.base import Logs
from tinyconv.tensor import Tensor

MOST_BATCHES = 16  # that wait: so many steps the GPU may be behind
MOST_BYTES = 1 << 26  # of values that wait, in pinned memory


class _Batch(NamedTuple):
    """Values on their way, what looks at them, and where the results go if they are still wanted."""

    values: Callable[[], Any]
    size: int
    look: Callable[[Any], None]
    results: Callable[[], dict[str, Any]]
    logs: weakref.ref[LateLogs]


class Waiting:
    """Batches that were computed, and whose results are still to be worked out, in order."""

    def __init__(self) -> None:
        self._batches: deque[_Batch] = deque()
        self._looking = False

    def __reduce__(self) -> tuple[Any, ...]:
        self.catch_up()
        return Waiting, ()

    def add(self, values: Any, look: Callable[[Any], None], results: Callable[[], dict[str, Any]]) -> LateLogs:
        """Begin to fetch ``values`` (tensors and arrays in any structure); later ``look`` is given them on the host.

        Returns what ``results`` gives right after that, as a dictionary that is filled when it is read.
        """
        logs = LateLogs(self)
        sizes: list[int] = []
        each(lambda leaf: sizes.append(leaf.size * leaf.dtype.itemsize if hasattr(leaf, "dtype") else 0), values)
        # the owner of an array on the host may overwrite it
        values = each(lambda leaf: np.array(leaf) if isinstance(leaf, np.ndarray) else leaf, values)
        self._batches.append(_Batch(fetch(values), sum(sizes), look, results, weakref.ref(logs)))
        while len(self._batches) > MOST_BATCHES or sum(batch.size for batch in self._batches) > MOST_BYTES:
            self._look_at_one()
        return logs

    def ready(self, results: Callable[[], dict[str, Any]]) -> LateLogs:
        """What ``results`` gives, as a dictionary that is filled when it is read.

        Whoever changes what they depend on first lets the results ``catch_up`` that somebody keeps unread.
        """
        logs = LateLogs(self)
        self._batches.append(_Batch(lambda: None, 0, lambda _: None, results, weakref.ref(logs)))
        return logs

    def catch_up(self) -> None:
        """Look at all batches."""
        while self._batches and not self._looking:
            self._look_at_one()

    def _look_at_one(self) -> None:
        batch = self._batches.popleft()
        self._looking = True
        try:
            batch.look(batch.values())
            logs = batch.logs()
            if logs is not None:
                logs.arrive(batch.results())
        finally:
            self._looking = False


class LateLogs(Logs):
    """Results of a batch that are worked out when they are first read."""

    _waiting: Waiting | None = None

    def __init__(self, waiting: Waiting) -> None:
        super().__init__()
        self._waiting = waiting

    def arrive(self, results: dict[str, Any]) -> None:
        """The results are known."""
        self._waiting = None
        self.update(Logs(results))

    def _wait(self) -> None:
        if self._waiting is not None:
            self._waiting.catch_up()

    def __reduce__(self) -> tuple[Any, ...]:
        return Logs, (dict(self.items()),)


def _reading(name: str) -> Callable[..., Any]:
    method = getattr(Logs, name)

    def read(self: LateLogs, *arguments: Any, **options: Any) -> Any:
        self._wait()
        return method(self, *arguments, **options)

    read.__name__, read.__doc__ = name, method.__doc__
    return read


for _name in (
    "__contains__", "__eq__", "__getitem__", "__ior__", "__iter__", "__len__", "__ne__", "__or__", "__repr__",
    "__reversed__", "__ror__", "__setitem__", "__delitem__", "copy", "get", "items", "keys", "pop", "popitem",
    "setdefault", "update", "values",
):  # fmt: skip
    setattr(LateLogs, _name, _reading(_name))


def each(function: Callable[[Any], Any], structure: Any) -> Any:
    """``function`` of all that is in tuples, lists and dictionaries, but for None."""
    if isinstance(structure, dict):
        return {key: each(function, value) for key, value in structure.items()}
    if isinstance(structure, tuple | list):
        return type(structure)(each(function, value) for value in structure)
    return None if structure is None else function(structure)


def fetch(structure: Any) -> Callable[[], Any]:
    """Begin to fetch tensors and arrays in any structure; the function that is returned gives them on the host."""
    arrays: list[Any] = []
    each(lambda leaf: arrays.append(leaf.data if isinstance(leaf, Tensor) else leaf), structure)
    tensors = each(lambda leaf: isinstance(leaf, Tensor), structure)
    wait = backends.fetch(arrays)

    def values() -> Any:
        coming = iter(wait())
        return each(lambda is_tensor: Tensor._of(next(coming)) if is_tensor else next(coming), tensors)

    return values
