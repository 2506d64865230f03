"""What ``fit``, ``evaluate`` and ``predict`` are fed with: batches ``(x, y, sample_weight)`` of arrays or of an iterable.

``x`` and ``y`` are one array, or a list or dictionary of arrays for models with several inputs or outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from tinyconv import random
from tinyconv.layers.base import flatten_structure, map_structure
from tinyconv.tensor import Tensor

Batch = tuple[Any, Any, Any]


class Feed(Protocol):
    """Batches of one epoch at a time; ``steps`` and ``samples`` are ``None`` while unknown."""

    steps: int | None
    samples: int | None

    def batches(self) -> Iterator[Batch]:
        """The batches of the next epoch."""
        ...


class ArrayFeed:
    """Batches cut from arrays; the last, shorter one is kept; shuffled afresh each epoch if asked."""

    def __init__(
        self, x: Any, y: Any = None, sample_weight: Any = None, batch_size: int = 32, shuffle: bool = False
    ) -> None:
        self.x, self.y, self.sample_weight = (map_structure(as_batched_array, part) for part in (x, y, sample_weight))
        self.batch_size, self.shuffle = check_batch_size(batch_size), shuffle
        self.samples = self._count()
        self.steps = -(-self.samples // self.batch_size)

    def _count(self) -> int:
        parts = {"x": self.x, "y": self.y, "sample_weight": self.sample_weight}
        counts = [
            (name, len(array)) for name, part in parts.items() if part is not None for array in flatten_structure(part)
        ]
        if len({n for _, n in counts}) != 1:
            raise ValueError(f"All arrays must hold the same number of samples. Received: {counts}")
        if counts[0][1] == 0:
            raise ValueError("Expected at least one sample. Received: none")
        return counts[0][1]

    def batches(self) -> Iterator[Batch]:
        """The batches of the next epoch."""
        order = random.generator().permutation(self.samples) if self.shuffle else None
        for start in range(0, self.samples, self.batch_size):
            stop = min(start + self.batch_size, self.samples)
            chosen = slice(start, stop) if order is None else order[start:stop]
            yield self._take(self.x, chosen), self._take(self.y, chosen), self._take(self.sample_weight, chosen)

    @staticmethod
    def _take(part: Any, chosen: Any) -> Any:
        return None if part is None else map_structure(lambda array: array[chosen], part)


class IterableFeed:
    """Batches from an iterable of ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

    A sequence (with ``__len__`` and ``__getitem__``) or any other re-iterable object is one epoch each time. An
    iterator goes on where the last epoch stopped, so it needs ``steps`` unless one epoch uses it up.
    """

    def __init__(self, source: Any, steps: int | None = None, shuffle: bool = False) -> None:
        self.source, self.shuffle = source, shuffle
        self.steps = steps if steps is not None else _length(source)
        self.samples = None
        self._endless = iter(source) if iter(source) is source else None

    def batches(self) -> Iterator[Batch]:
        """The batches of the next epoch, at most ``steps`` of them."""
        count = 0
        for batch in self._one_pass():
            yield unpack(batch)
            count += 1
            if count == self.steps:
                break
        if count == 0:
            raise ValueError(
                "The iterable gave no batch. Expected a re-iterable object, or an iterator with enough batches for "
                f"all epochs. Received: {type(self.source).__name__}"
            )
        if self.steps is None and self._endless is None:
            self.steps = count
        if hasattr(self.source, "on_epoch_end"):
            self.source.on_epoch_end()

    def _one_pass(self) -> Iterator[Any]:
        if self._endless is not None:
            return self._endless
        if self.shuffle and _length(self.source) is not None and hasattr(self.source, "__getitem__"):
            order = random.generator().permutation(len(self.source))
            return (self.source[int(i)] for i in order)
        return iter(self.source)


def make_feed(
    x: Any, y: Any, sample_weight: Any, batch_size: int | None, shuffle: bool, steps: int | None
) -> ArrayFeed | IterableFeed:
    """Arrays become an :class:`ArrayFeed`, iterables of batches an :class:`IterableFeed`."""
    if is_array_like(x):
        feed = ArrayFeed(x, y, sample_weight, 32 if batch_size is None else batch_size, shuffle)
        feed.steps = min(feed.steps, steps) if steps is not None else feed.steps
        return feed
    if not hasattr(x, "__iter__") and not hasattr(x, "__getitem__"):
        raise TypeError(f"x must be arrays or an iterable of batches. Received: {type(x).__name__}")
    if y is not None or sample_weight is not None:
        raise ValueError("y and sample_weight must come in the batches when x is an iterable. Received both")
    return IterableFeed(x, steps, shuffle)


def is_array_like(x: Any) -> bool:
    """Whether ``x`` is data itself (arrays, lists, dictionaries of arrays) rather than an iterable of batches."""
    return isinstance(x, np.ndarray | Tensor | list | tuple | dict) or hasattr(x, "__array__")


def as_batched_array(part: Any) -> Any:
    """``part`` as an array with a batch axis; ``None`` stays."""
    if part is None:
        return None
    array = part.numpy() if isinstance(part, Tensor) else np.asarray(part)
    if array.ndim == 0:
        raise ValueError(f"Expected arrays with a batch axis. Received: {part!r}")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"Expected arrays of numbers. Received: dtype {array.dtype}")
    return array


def check_batch_size(batch_size: Any) -> int:
    """``batch_size`` when it is an integer >= 1, else raise."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size must be an integer >= 1. Received: {batch_size!r}")
    return int(batch_size)


def unpack(batch: Any) -> Batch:
    """``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)`` as three parts."""
    if not isinstance(batch, tuple):
        return batch, None, None
    if not 1 <= len(batch) <= 3:
        raise ValueError(f"A batch must be x, (x, y) or (x, y, sample_weight). Received: {len(batch)} parts")
    x, y, weight = (*batch, None, None)[:3]
    return x, y, weight


def split_validation(
    x: Any, y: Any, sample_weight: Any, fraction: float
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """Training and validation parts: the last ``fraction`` of the samples, before any shuffling, validate."""
    if not 0 < fraction < 1:
        raise ValueError(f"validation_split must lie between 0 and 1. Received: {fraction!r}")
    if not is_array_like(x):
        raise ValueError("validation_split needs arrays; give validation_data for an iterable")
    parts = [None if part is None else map_structure(as_batched_array, part) for part in (x, y, sample_weight)]
    n = len(flatten_structure(parts[0])[0])
    cut = int(n * (1 - fraction))
    if cut in (0, n):
        raise ValueError(f"validation_split={fraction} leaves no sample on one side. Received: {n} samples")
    take = lambda chosen: tuple(_slice(part, chosen) for part in parts)  # noqa: E731
    return take(slice(cut)), take(slice(cut, None))  # type: ignore[return-value]


def _slice(part: Any, chosen: slice) -> Any:
    return None if part is None else map_structure(lambda array: array[chosen], part)


def class_weights_to_sample_weights(class_weight: Any) -> Callable[[Any], np.ndarray]:
    """A function from labels (integers or one-hot rows) to the weights that ``class_weight`` gives their classes.

    Parameters
    ----------
    class_weight : dict, list or array
        Weight of each class; classes that a dictionary lacks weigh 1.
    """
    if isinstance(class_weight, dict):
        top = max((int(key) for key in class_weight), default=-1)
        table = np.ones(top + 1, "float32")
        for key, value in class_weight.items():
            if isinstance(key, bool) or not isinstance(key, int | np.integer) or key < 0:
                raise ValueError(f"class_weight must have class indices >= 0 as keys. Received: {key!r}")
            table[int(key)] = value
        rest: float | None = 1.0
    elif isinstance(class_weight, list | tuple | np.ndarray):
        table, rest = np.asarray(class_weight, "float32"), None
    else:
        raise TypeError(f"class_weight must be a dictionary, list or array. Received: {type(class_weight).__name__}")
    if table.ndim != 1 or not np.isfinite(table).all() or (table < 0).any():
        raise ValueError(f"class_weight must hold one finite number >= 0 per class. Received: {class_weight!r}")

    def weights_of(y: Any) -> np.ndarray:
        y = np.asarray(y)
        labels = y.argmax(-1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(len(y), -1)[:, 0].astype(np.int64)
        if labels.size and (labels.max() >= len(table) and rest is None or labels.min() < 0):
            raise ValueError(f"class_weight has {len(table)} classes. Received: label {labels.max()}")
        padded = np.append(table, np.float32(1))  # the last entry serves all classes that a dictionary lacks
        return padded[np.minimum(labels, len(table))]

    return weights_of


def _length(source: Any) -> int | None:
    return len(source) if hasattr(source, "__len__") else None
