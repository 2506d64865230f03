"""Endless batches of transformed images, as ``ImageDataGenerator`` gives them: what they have in common, and arrays.

A batch is a function of the seed and of the number of batches before it, and of nothing else: it is the same whether
threads made it in advance, the loop asked for it, or it was picked by its index.
"""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv import random
from tinyconv.checks import integer
from tinyconv.preprocessing.files import save_img
from tinyconv.preprocessing.prefetching import map_ahead
from tinyconv.preprocessing.standardization import Standardization


class ImageIterator:
    """Batches of ``n`` images, epoch after epoch without end.

    ``len`` is the number of batches in an epoch, ``iterator[i]`` is batch i of the epoch at hand, ``next`` gives the
    batches one by one. ``iter`` begins a new epoch, unless none of the last one's batches was taken, and makes batches
    in advance in ``workers`` threads, which end with the loop. An error in a thread is raised in the loop.

    Parameters
    ----------
    n : int
        Number of images.
    batch_size : int
    shuffle : bool
        New order every epoch.
    seed : int, optional
        Drawn from ``tinyconv``'s generator by default.
    workers : int
        Threads that make batches in advance; 0 for none.
    """

    _makes_ahead = True  # prefetch would take batches that are not given, and each moves the random numbers on

    def __init__(
        self,
        n: int,
        generator: Standardization,
        *,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        workers: int = 1,
    ) -> None:
        self.n, self.batch_size, self.shuffle, self.workers = n, integer("batch_size", batch_size), shuffle, workers
        self.seed = int(random.generator().integers(2**32)) if seed is None else integer("seed", seed, 0)
        self.image_data_generator = generator
        self.save_to_dir, self.save_prefix, self.save_format = save_to_dir, save_prefix, save_format
        self.batch_index = 0  # of the batch that `next` gives
        self._start = 0  # number of batches before the epoch at hand
        self._taken = 0  # batches that were picked from it by index
        self._order: tuple[int, np.ndarray] | None = None
        self._lock = threading.Lock()

    @property
    def total_batches_seen(self) -> int:
        """Number of batches given since the beginning."""
        return self._start + max(self.batch_index, self._taken)

    def __len__(self) -> int:
        return math.ceil(self.n / self.batch_size)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"Expected the index of one of {len(self)} batches. Received: {index}")
        index %= len(self)
        with self._lock:
            start, self._taken = self._start, max(self._taken, index + 1)
        return self._deliver(self._make((start, index)))

    def __next__(self) -> Any:
        with self._lock:
            if self.batch_index == len(self):
                self._begin_epoch()
            place = self._start, self.batch_index
            self.batch_index += 1
        return self._deliver(self._make(place))

    next = __next__  # Keras 2's name

    def __iter__(self) -> Iterator[Any]:
        self.reset()
        return self._epochs()

    def _epochs(self) -> Iterator[Any]:
        while True:  # not further ahead than the epoch: what would be made for the next one is often not wanted
            places = [(self._start, index) for index in range(len(self))]
            for place, made in zip(places, map_ahead(self._make, places, self.workers, self.workers + 1), strict=True):
                with self._lock:
                    self._start, self.batch_index = place[0], place[1] + 1
                yield self._deliver(made)
            self.reset()

    def reset(self) -> None:
        """Go to the beginning of an epoch: of a new one, if batches of the last one were taken."""
        with self._lock:
            self._begin_epoch()

    def on_epoch_end(self) -> None:
        """Begin a new epoch."""
        self.reset()

    def _begin_epoch(self) -> None:
        self._start = self.total_batches_seen
        self.batch_index = self._taken = 0

    def take(self, count: int) -> Iterator[Any]:
        """The first ``count`` batches of a loop."""
        return islice(self, count)

    # --- one batch ---------------------------------------------------------------------------------------------

    def _make(self, place: tuple[int, int]) -> Sequence[Any]:
        """Images, what goes with them, their indices, and the state of the random numbers after them."""
        start, index = place
        draw = np.random.RandomState((self.seed + start + index) % 2**32)
        if index == 0 and self.shuffle:
            draw.permutation(self.n)  # where Keras draws the order of an epoch
        chosen = self._order_of(start)[index * self.batch_size : (index + 1) * self.batch_size]
        generator = self.image_data_generator
        images = np.stack([generator._transform(self._image(int(i)), draw) for i in chosen])
        images = generator._standardize(images)
        return self._with_labels(images, chosen), images, chosen, draw

    def _order_of(self, start: int) -> np.ndarray:
        """Order of the images in the epoch after ``start`` batches."""
        known = self._order
        if known is None or known[0] != start:
            draw = np.random.RandomState((self.seed + start) % 2**32)
            known = start, draw.permutation(self.n) if self.shuffle else np.arange(self.n)
            self._order = known
        return known[1]

    def _image(self, index: int) -> np.ndarray:
        """Image number ``index``, of the dtype of the batches."""
        raise NotImplementedError

    def _with_labels(self, images: np.ndarray, chosen: np.ndarray) -> Any:
        """The batch as it is given."""
        raise NotImplementedError

    def _deliver(self, made: Sequence[Any]) -> Any:
        """The batch, whose images are saved if asked for: only those that are taken, not all that are made."""
        batch, images, chosen, draw = made
        if self.save_to_dir is not None:
            self._save(images, chosen, draw)
        return batch

    def _save(self, images: np.ndarray, chosen: np.ndarray, draw: np.random.RandomState) -> None:
        data_format = self.image_data_generator.data_format
        for image, index in zip(images, chosen, strict=True):
            name = f"{self.save_prefix}_{index}_{draw.randint(10**7)}.{self.save_format}"
            save_img(Path(self.save_to_dir or "", name), image, data_format)


class NumpyArrayIterator(ImageIterator):
    """Batches from arrays; made by ``ImageDataGenerator.flow``, which describes the parameters."""

    def __init__(
        self,
        x: Any,
        y: Any,
        image_data_generator: Standardization,
        *,
        sample_weight: Any = None,
        ignore_class_split: bool = False,
        subset: str | None = None,
        **options: Any,
    ) -> None:
        x, others = x if isinstance(x, tuple | list) and len(x) == 2 and np.ndim(x[0]) == 4 else (x, [])
        arrays = {"x": x, "y": y, "sample_weight": sample_weight}
        others = others if isinstance(others, list | tuple) else [others]
        arrays |= {f"x[1][{i}]": other for i, other in enumerate(others)}
        arrays = {name: None if array is None else np.asarray(array) for name, array in arrays.items()}
        if arrays["x"].ndim != 4:
            layout = image_data_generator._layout
            raise ValueError(f"Expected images of shape (N, {layout}). Received: shape {arrays['x'].shape}")
        counts = {name: len(array) for name, array in arrays.items() if array is not None}
        if len(set(counts.values())) > 1:
            raise ValueError(f"Expected arrays with one number of samples. Received: {counts}")
        if subset is not None:
            fraction = image_data_generator.validation_split
            part = part_of(subset, fraction, len(arrays["x"]))
            if not ignore_class_split:
                _check_classes(arrays["y"], part)
            arrays = {name: None if array is None else array[part] for name, array in arrays.items()}
        self.x, self.y, self.sample_weight = (arrays.pop(name) for name in ("x", "y", "sample_weight"))
        self.x_misc = list(arrays.values())
        if not len(self.x):
            raise ValueError("Expected at least one image. Received: none")
        channels = self.x.shape[image_data_generator.channel_axis]
        if channels not in (1, 3, 4):
            warnings.warn(
                f"Expected 1, 3 or 4 channels ({image_data_generator.data_format}). Received: {channels}, in images of "
                f"shape {self.x.shape}; is data_format as it should be?",
                stacklevel=3,
            )
        super().__init__(len(self.x), image_data_generator, **options)

    def _image(self, index: int) -> np.ndarray:
        return self.x[index].astype(self.image_data_generator.dtype)

    def _with_labels(self, images: np.ndarray, chosen: np.ndarray) -> Any:
        x = [images, *(array[chosen] for array in self.x_misc)] if self.x_misc else images
        labels = [array[chosen] for array in (self.y, self.sample_weight) if array is not None]
        if self.y is None and self.sample_weight is not None:
            return x, None, *labels
        return (x, *labels) if labels else x


def part_of(subset: str, fraction: float, count: int) -> slice:
    """The first ``fraction`` for validation, the rest for training."""
    if subset not in ("training", "validation"):
        raise ValueError(f"subset must be 'training', 'validation' or None. Received: {subset!r}")
    cut = int(count * fraction)
    return slice(cut) if subset == "validation" else slice(cut, None)


def _check_classes(y: np.ndarray | None, part: slice) -> None:
    cut = part.stop if part.start is None else part.start
    if y is None or np.array_equal(np.unique(y[:cut], axis=0), np.unique(y[cut:], axis=0)):
        return
    raise ValueError(
        "Expected the same classes in training and validation subset; shuffle the arrays where they are sorted by "
        f"class, or pass ignore_class_split=True. Received: {len(np.unique(y[cut:], axis=0))} and "
        f"{len(np.unique(y[:cut], axis=0))} classes or different ones"
    )
