"""``EarlyStopping``: no more epochs once they bring nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.callbacks.base import Logs
from tinyconv.callbacks.improvement import MonitorCallback
from tinyconv.callbacks.progress import announce


class EarlyStopping(MonitorCallback):
    """Stops training after ``patience`` epochs without improvement.

    Parameters
    ----------
    monitor, min_delta, mode
        As for :class:`MonitorCallback`.
    patience : int
        Epochs without improvement after which training stops; 0 is like 1.
    verbose : int
        1 says when it stopped.
    baseline : float, optional
        Improvements that do not reach this value do not count for the patience.
    restore_best_weights : bool
        Go back to the weights of the best epoch when training ends.
    start_from_epoch : int
        Epochs before this one, counted from 0, are not looked at: a warm-up.

    Attributes
    ----------
    stopped_epoch : int
        Index of the epoch after which training stopped; 0 if it did not.
    best_epoch : int
        Index of the best epoch.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    >>> model.compile(tc.optimizers.SGD(0.0), "mse")  # learns nothing
    >>> stop = tc.callbacks.EarlyStopping("loss", patience=2, verbose=1)
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=50, callbacks=[stop], verbose=0)
    Epoch 3: early stopping
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self._begin()

    def _begin(self) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = self.worst
        self.best_weights: list[np.ndarray] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget earlier training."""
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the result, and stop training if it is time."""
        current = self.current(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        better = self.is_improvement(current, self.best)
        if self.restore_best_weights and (better or self.best_weights is None):
            self.best_weights = self.model.get_weights()
            self.best_epoch = epoch
        self.wait += 1
        if better:
            self.best, self.best_epoch = current, epoch
            if self.baseline is None or self.is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Restore the best weights, if asked to."""
        if self.stopped_epoch > 0 and self.verbose:
            announce(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                announce(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def get_state(self) -> dict[str, Any]:
        """The best epoch, with its weights, and the epochs since."""
        names = ("best", "wait", "stopped_epoch", "best_epoch", "best_weights")
        return {name: getattr(self, name) for name in names}
