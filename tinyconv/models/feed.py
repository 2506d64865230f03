"""What ``fit``, ``evaluate`` and ``predict`` are fed with: batches ``(x, y, sample_weight)``.

``x`` and ``y`` are one array, or a list or dictionary of arrays for models with several inputs or outputs. A model
gives every feed a function ``prepare`` that turns such parts into checked arrays: all samples at once where they are
arrays, batch by batch where an iterable gives them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from tinyconv import backends, random
from tinyconv.layers.base import flatten_structure, map_structure
from tinyconv.preprocessing.prefetching import map_ahead
from tinyconv.preprocessing.sequence import PyDataset
from tinyconv.tensor import Tensor

Batch = tuple[Any, Any, Any]
Prepare = Callable[[Any, Any, Any], Batch]


class Feed:
    """Batches of one epoch at a time; ``steps`` and ``samples`` are ``None`` while unknown."""

    steps: int | None = None
    samples: int | None = None
    used_up = False  # an iterator that has no batch left

    def batches(self) -> Iterator[Batch]:
        """The batches of the next epoch, at most ``steps`` of them."""
        raise NotImplementedError


class ArrayFeed(Feed):
    """Batches cut from arrays; the last, shorter one is kept; shuffled afresh each epoch if asked."""

    samples: int
    steps: int

    def __init__(self, data: Batch, batch_size: int = 32, shuffle: bool = False, steps: int | None = None) -> None:
        self.data, self.shuffle = data, shuffle
        self.batch_size = check_count("batch_size", batch_size)
        self.samples = len(flatten_structure(data[0])[0])
        available = math.ceil(self.samples / self.batch_size)
        self.steps = available if steps is None else min(steps, available)

    def batches(self) -> Iterator[Batch]:
        """The batches of the next epoch, at most ``steps`` of them."""
        order = random.generator().permutation(self.samples) if self.shuffle else None
        for step in range(self.steps):
            chosen = slice(step * self.batch_size, (step + 1) * self.batch_size)
            yield take(self.data, chosen if order is None else order[chosen])


class IterableFeed(Feed):
    """Batches from an iterable of ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.

    A sequence (with ``__len__`` and ``__getitem__``) or any other re-iterable object is one epoch each time. An
    iterator goes on where the last epoch stopped, so it needs ``steps`` unless one epoch uses it up.
    """

    def __init__(
        self, source: Any, prepare: Prepare | None = None, steps: int | None = None, shuffle: bool = False
    ) -> None:
        self.source, self.prepare, self.shuffle = source, prepare, shuffle
        length = len(source) if hasattr(source, "__len__") else None
        self.steps = length if steps is None else steps
        self._given = 0
        self._indexed = length is not None and hasattr(source, "__getitem__") and not hasattr(source, "__next__")

    def batches(self) -> Iterator[Batch]:
        """The batches of the next epoch, at most ``steps`` of them."""
        before = self._given
        for batch in islice(self._one_pass(), self.steps):
            self._given += 1
            parts = unpack(batch)
            yield parts if self.prepare is None else self.prepare(*parts)
        self._check_supply(self._given - before)
        if hasattr(self.source, "on_epoch_end"):
            self.source.on_epoch_end()

    def _one_pass(self) -> Iterator[Any]:
        if not self._indexed:
            return iter(self.source)
        count = len(self.source)
        order = random.generator().permutation(count) if self.shuffle else range(count)
        if isinstance(self.source, PyDataset) and getattr(self.source, "workers", 1) > 1:
            return map_ahead(self._batch, order, self.source.workers, self.source.max_queue_size)
        return map(self._batch, order)

    def _batch(self, index: Any) -> Any:
        return self.source[int(index)]

    def _check_supply(self, count: int) -> None:
        """Learn the number of steps from an epoch of ``count`` batches, and notice when there will be no more."""
        if not self._given:
            raise ValueError(
                f"Expected an iterable with at least one batch. Received: {type(self.source).__name__}, which gave none"
            )
        if not hasattr(self.source, "__next__"):
            self.steps = count if self.steps is None else self.steps
            return
        self.used_up = self.steps is None or count < self.steps


def as_one_array(part: Any, shape: Any, name: str) -> Any:
    """The only input, or the labels of the only output, of ``shape``: a list of samples, or with the array."""
    if not isinstance(part, list | tuple):
        return part
    return part[0] if len(part) == 1 and np.ndim(part[0]) == len(shape) else _as_array(part, name)


def make_feed(
    x: Any, y: Any, sample_weight: Any, batch_size: int | None, shuffle: bool, steps: int | None, prepare: Prepare
) -> Feed:
    """Arrays become an :class:`ArrayFeed`, iterables of batches an :class:`IterableFeed`."""
    if steps is not None:
        check_count("the number of steps", steps)
    if is_array_like(x) and not (y is None and is_list_of_batches(x)):
        size = 32 if batch_size is None else batch_size
        return ArrayFeed(prepare(x, y, sample_weight), size, shuffle, steps)
    if not hasattr(x, "__iter__") and not hasattr(x, "__getitem__"):
        raise TypeError(f"x must be arrays or an iterable of batches. Received: {type(x).__name__}")
    if y is not None or sample_weight is not None:
        raise ValueError("An iterable x must give y and sample_weight in its batches. Received: them beside x")
    return IterableFeed(x, prepare, steps, shuffle)


def is_array_like(x: Any) -> bool:
    """Whether ``x`` is data itself (arrays, lists, dictionaries of arrays) rather than an iterable of batches."""
    return isinstance(x, np.ndarray | Tensor | list | tuple | dict) or hasattr(x, "__array__")


def is_list_of_batches(x: Any) -> bool:
    """Whether ``x`` is a list of tuples ``(x, y)`` or ``(x, y, sample_weight)`` of arrays."""
    return (
        isinstance(x, list)
        and bool(x)
        and all(isinstance(e, tuple) and len(e) in (2, 3) and isinstance(e[0], np.ndarray | Tensor | dict) for e in x)
    )


def unpack(batch: Any) -> Batch:
    """``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)`` as three parts; lists count as tuples, as in Keras."""
    if not isinstance(batch, tuple | list):
        return batch, None, None
    if not 1 <= len(batch) <= 3:
        raise ValueError(f"A batch must be x, (x, y) or (x, y, sample_weight). Received: {len(batch)} parts")
    x, y, weight = (*batch, None, None)[:3]
    return x, y, weight


def take(data: Batch, chosen: Any) -> Batch:
    """The samples ``chosen`` (a slice or indices) of every array."""

    def chosen_of(array: Any) -> Any:
        return backends.of(array).getitem(array, chosen) if backends.on_gpu(array) else array[chosen]

    x, y, weight = (None if part is None else map_structure(chosen_of, part) for part in data)
    return x, y, weight


def split_validation(data: Batch, fraction: float) -> tuple[Batch, Batch]:
    """Training and validation parts: the last ``fraction`` of the samples, before any shuffling, validate."""
    if not 0 < fraction < 1:
        raise ValueError(f"validation_split must lie between 0 and 1. Received: {fraction!r}")
    n = len(flatten_structure(data[0])[0])
    cut = int(round(n * (1 - fraction), 6))  # rounded first: 10 * (1 - 0.9) is a little less than 1
    if cut in (0, n):
        raise ValueError(f"validation_split={fraction} must leave samples on both sides. Received: {n} samples")
    return take(data, slice(cut)), take(data, slice(cut, None))


# --- checks ----------------------------------------------------------------------------------------------------


def as_arrays(x: Any, y: Any, sample_weight: Any) -> Batch:
    """The parts as arrays with a batch axis."""
    x, y, sample_weight = (
        None if part is None else map_structure(partial(_as_array, name=name), part)
        for name, part in (("x", x), ("y", y), ("sample_weight", sample_weight))
    )
    return x, y, sample_weight


def check_samples(data: Batch) -> None:
    """Raise unless all arrays have one number of samples, and labels are not NaN."""
    counts = [
        (len(array), name)
        for name, part in zip(("x", "y", "sample_weight"), data, strict=True)
        for array in flatten_structure(part)
        if array is not None
    ]
    if len({count for count, _ in counts}) != 1:
        received = ", ".join(dict.fromkeys(f"{count} in {name}" for count, name in counts)) or "no arrays"
        raise ValueError(f"Expected arrays with one number of samples. Received: {received}")
    if counts[0][0] == 0:
        raise ValueError("Expected at least one sample. Received: none")
    for labels in flatten_structure(data[1]):
        _check_no_nan(labels)


def _as_array(part: Any, name: str) -> Any:
    """``part`` as an array with a batch axis."""
    try:
        array = part.data if isinstance(part, Tensor) else part
        array = array if backends.on_gpu(array) else np.asarray(array)  # what is on the GPU stays there
    except ValueError:
        raise ValueError(f"Expected {name} of one shape per sample. Received: samples of different shapes") from None
    if array.ndim == 0:
        raise ValueError(f"Expected {name} with a batch axis. Received: {part!r}")
    if array.dtype.kind not in "fiub":
        names = "; turn names into numbers first, by LabelBinarizer for one" if array.dtype.kind in "US" else ""
        raise TypeError(f"Expected {name} of numbers. Received: dtype {array.dtype}{names}")
    return array


def _check_no_nan(labels: Any) -> None:
    if labels is None or labels.dtype.kind != "f":
        return
    table = backends.of(labels)
    wrong = table.to_numpy(table.isnan(labels))
    if wrong.any():
        first = int(wrong.reshape(len(wrong), -1).any(axis=1).argmax())
        raise ValueError(f"Expected labels that are numbers. Received: NaN, first in sample {first}")


def check_shape(array: Any, expected: Any, name: str = "x") -> None:
    """Raise unless ``array`` has the ``expected`` shape, in which ``None`` stands for any size (batch axis first)."""
    shape = tuple(np.shape(array))
    if _fits(shape, expected):
        return
    hints = [
        f"; np.expand_dims(x, {axis}) " + ("makes it a batch of one" if axis == 0 else "adds the missing axis")
        for axis in range(len(expected))
        if _fits((*shape[:axis], 1, *shape[axis:]), expected)
    ]
    hint = hints[0] if hints else ""
    raise ValueError(f"Expected {name} of shape {tuple(expected)}. Received: shape {shape}{hint}")


def _fits(shape: Any, expected: Any) -> bool:
    """Whether a shape agrees with the expected one; the batch axis may have any size."""
    pairs = list(zip(shape, expected, strict=False))[1:]
    return len(shape) == len(expected) and all(n in (size, None) for size, n in pairs)


def check_count(name: str, value: Any, least: int = 1) -> int:
    """``value`` when it is an integer >= ``least``, else raise."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}. Received: {value!r}")
    return int(value)


# --- class weights ---------------------------------------------------------------------------------------------


def class_weights_to_sample_weights(class_weight: Any) -> Callable[[Any], np.ndarray]:
    """A function from labels (integers or one-hot rows) to the weights that ``class_weight`` gives their classes.

    Parameters
    ----------
    class_weight : dict, list or array
        Weight of each class; classes that a dictionary lacks weigh 1.

    Examples
    --------
    >>> class_weights_to_sample_weights({1: 2.5})([[1, 0], [0, 1]]).tolist()
    [1.0, 2.5]
    """
    if isinstance(class_weight, dict):
        table = class_weight
    elif isinstance(class_weight, list | tuple | np.ndarray):
        table = dict(enumerate(np.asarray(class_weight)))
    else:
        raise TypeError(f"class_weight must be a dictionary, list or array. Received: {type(class_weight).__name__}")
    for label, weight in table.items():
        if isinstance(label, bool) or not isinstance(label, int | np.integer) or label < 0:
            raise ValueError(f"class_weight must have class indices >= 0 as keys. Received: {label!r}")
        if isinstance(weight, str) or np.ndim(weight) or not 0 <= weight < math.inf:
            raise ValueError(f"class_weight must hold finite numbers >= 0. Received: {weight!r} for class {label}")
    partial = isinstance(class_weight, dict)

    def weights_of(y: Any) -> np.ndarray:
        if y is None or len(flatten_structure(y)) != 1:
            raise ValueError("class_weight needs the labels of a single output; use sample_weight for several")
        y = np.asarray(backends.move(y, backends.on("cpu")) if backends.on_gpu(y) else y)
        if y.ndim > 2:
            raise ValueError(f"class_weight needs labels of shape (N,), (N, 1) or (N, classes). Received: {y.shape}")
        labels, places = np.unique(y.argmax(1) if y.ndim == 2 and y.shape[1] > 1 else y.ravel(), return_inverse=True)
        unknown = [label for label in labels.tolist() if label not in table]
        if unknown and (not partial or unknown[0] < 0 or any(label % 1 for label in unknown)):
            raise ValueError(f"class_weight has the classes {list(table)}. Received: labels {unknown}")
        return np.array([table.get(label, 1) for label in labels.tolist()], "float32")[places.ravel()]

    return weights_of
