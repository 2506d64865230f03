"""Learning rates that follow a plan, epoch by epoch or update by update."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyconv import schedules
from tinyconv.callbacks.base import Callback, Logs
from tinyconv.callbacks.progress import announce
from tinyconv.checks import one_of


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of every epoch to ``schedule(epoch)`` or ``schedule(epoch, current)``.

    The rate of each epoch is recorded as ``learning_rate``.

    Parameters
    ----------
    schedule : callable
        From the epoch, counted from 0 (and the current rate, if it has two arguments without defaults), to a float.
    verbose : int
        1 prints the rate.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse")
    >>> drops = tc.callbacks.LearningRateScheduler(lambda epoch: 0.01 * 0.5**epoch)
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=3, callbacks=[drops], verbose=0)
    >>> history.history["learning_rate"]
    [0.01, 0.005, 0.0025]
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the rate of the coming epoch."""
        current = self.model.optimizer.learning_rate
        rate = self.schedule(epoch, current) if _takes_two(self.schedule) else self.schedule(epoch)
        if not isinstance(rate, float | np.floating):
            raise ValueError(f"The schedule must return a float. Received: {rate!r} for epoch {epoch}")
        self.model.optimizer.learning_rate = float(rate)
        if self.verbose:
            announce(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {float(rate)}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Record the rate beside the results."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class ScheduleCallback(Callback):
    """Sets the learning rate before every batch to ``schedule(batches so far)``, or per epoch.

    Any schedule of ``tinyconv.schedules`` fits. With ``per="batch"`` training is the same as with the schedule as the
    optimizer's ``learning_rate``; but the optimizer keeps a number, which other callbacks may read and files store.
    The rate at the end of each epoch is recorded as ``learning_rate``.

    Parameters
    ----------
    schedule : LearningRateSchedule, its configuration, or callable from int to float
    per : {"batch", "epoch"}
        What the schedule counts: batches (also those of earlier training), or epochs from 0.
    verbose : int
        1 prints the rate at the start of every epoch.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse")
    >>> halve = tc.callbacks.ScheduleCallback(tc.schedules.ExponentialDecay(0.1, decay_steps=2, decay_rate=0.25))
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), 4, epochs=2, callbacks=[halve], verbose=0)
    >>> history.history["learning_rate"]
    [0.05, 0.0125]
    """

    def __init__(self, schedule: Any, per: str = "batch", verbose: int = 0) -> None:
        self.schedule = schedules.get(schedule) if isinstance(schedule, dict) else schedule
        if not callable(self.schedule) or isinstance(self.schedule, type):
            raise TypeError(f"schedule must be a schedule, or a function from int to float. Received: {schedule!r}")
        self.per, self.verbose = one_of("per", per, ("batch", "epoch")), verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the rate of the coming epoch, or of its first batch."""
        rate = self._set(epoch if self.per == "epoch" else self.model.optimizer._received)
        if self.verbose:
            announce(f"Epoch {epoch + 1}: ScheduleCallback setting learning rate to {rate}.")

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Set the rate of the coming batch."""
        if self.per == "batch":
            self._set(self.model.optimizer._received)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Record the rate beside the results."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)

    def _set(self, step: int) -> float:
        rate = float(self.schedule(step))
        self.model.optimizer.learning_rate = rate
        return rate


def _takes_two(schedule: Callable[..., float]) -> bool:
    """Whether a function needs two arguments: the epoch and the current rate."""
    parameters = inspect.signature(schedule).parameters.values()
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(p.default is p.empty for p in places) > 1
