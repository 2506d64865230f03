"""Data sets of one's own: a class that makes batch number ``i`` when it is asked for it."""

from __future__ import annotations

from typing import Any

from tinyconv.checks import integer


class PyDataset:
    """Base class of data sets that make their batches one by one, as ``keras.utils.PyDataset`` (once ``Sequence``).

    A subclass defines ``__len__``, the number of batches, and ``__getitem__(index)``, which returns ``(x, y)`` or
    ``(x, y, sample_weight)``; ``on_epoch_end``, if defined, is called after every epoch.

    Parameters
    ----------
    workers : int
        Threads in which ``fit`` makes batches ahead of time; with 1 they are made when they are needed.
    use_multiprocessing : bool
        Processes instead of threads: not supported.
    max_queue_size : int
        Most batches that are made in advance, with several workers.

    Examples
    --------
    >>> import numpy as np
    >>> import tinyconv as tc
    >>> class Squares(tc.utils.PyDataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, index):
    ...         x = np.full((8, 1), index, "float32")
    ...         return x, x**2
    >>> model = tc.Sequential([tc.layers.Dense(1, input_shape=(1,))])
    >>> model.compile("sgd", "mse")
    >>> len(model.fit(Squares(workers=2), epochs=3, verbose=0).history["loss"])
    3
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        if use_multiprocessing:
            raise ValueError("PyDataset makes batches in threads. Received: use_multiprocessing=True")
        self.workers, self.use_multiprocessing = integer("workers", workers), False
        self.max_queue_size = integer("max_queue_size", max_queue_size)

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__(self), the number of batches")

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(self, index), which makes a batch")

    @property
    def num_batches(self) -> int:
        """How many batches make an epoch."""
        return len(self)

    def on_epoch_end(self) -> None:
        """Called after every epoch."""
