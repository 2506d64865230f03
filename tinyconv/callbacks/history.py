"""``History``: the results of every epoch, which ``fit`` returns."""

from __future__ import annotations

from typing import Any

from tinyconv.callbacks.base import Callback, Logs


class History(Callback):
    """Records the results of every epoch; ``fit`` returns it.

    Attributes
    ----------
    history : dict of str to list
        One entry per epoch and name: ``loss``, metrics, and both of validation as ``val_...``; ``acc`` and
        ``accuracy`` are the same entry.
    epoch : list of int
        Indices of the recorded epochs, from 0.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, kernel_initializer="zeros", input_shape=(2,))])
    >>> model.compile(tc.optimizers.SGD(0.0), "mse")
    >>> model.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=2, verbose=0).history
    {'loss': [1.0, 1.0]}
    """

    def __init__(self) -> None:
        self.history: Logs = Logs()
        self.epoch: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Append the epoch's results."""
        self.epoch.append(epoch)
        record(self.history, logs)

    def get_state(self) -> dict[str, Any]:
        """All that was recorded."""
        return {"history": dict(self.history), "epoch": self.epoch}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on after what was recorded."""
        self.history, self.epoch = Logs(state["history"]), list(state["epoch"])


def record(history: Logs, logs: Logs | None) -> None:
    """Append the results of an epoch to ``history``, in whichever spelling it knows their names."""
    for name, value in (logs or {}).items():
        if name in history:
            history[name].append(value)
        else:
            history[name] = [value]
