"""``ReduceLROnPlateau``: smaller steps once large ones bring nothing."""

from __future__ import annotations

from typing import Any

from tinyconv.callbacks.base import Logs
from tinyconv.callbacks.improvement import MonitorCallback
from tinyconv.callbacks.progress import announce


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate by ``factor`` after ``patience`` epochs without improvement.

    The rate of each epoch is recorded as ``learning_rate``.

    Parameters
    ----------
    monitor, mode, min_delta
        As for :class:`MonitorCallback`. Keras 2's name ``epsilon`` of ``min_delta`` is accepted.
    factor : float in (0, 1)
    patience : int
        Epochs without improvement before the rate is reduced.
    verbose : int
        1 says when it was.
    cooldown : int
        Epochs after a reduction in which nothing is counted.
    min_lr : float
        The rate does not get below this one.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, use_bias=False, kernel_initializer="zeros", input_shape=(2,))])
    >>> model.compile(tc.optimizers.SGD(0.5), "mse")
    >>> reduce = tc.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1)
    >>> history = model.fit(np.zeros((8, 2)), np.ones((8, 1)), epochs=4, callbacks=[reduce], verbose=0)
    >>> history.history["learning_rate"], model.optimizer.learning_rate
    ([0.5, 0.5, 0.25, 0.125], 0.0625)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        epsilon: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, min_delta if epsilon is None else epsilon)
        if not 0 < factor < 1:
            raise ValueError(f"factor must lie between 0 and 1. Received: {factor!r}")
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self._begin()

    def _begin(self) -> None:
        self.wait = self.cooldown_counter = 0
        self.best = self.worst

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget earlier training; complain at once about an optimizer whose rate cannot be set."""
        self._begin()
        self.model.optimizer.learning_rate = self.model.optimizer.learning_rate

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the result, and reduce the rate if it is time."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        current = self.current(logs)
        if current is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.is_improvement(current, self.best):
            self.best, self.wait = current, 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        rate = float(self.model.optimizer.learning_rate)
        if rate <= self.min_lr:
            return
        rate = max(rate * self.factor, self.min_lr)
        self.model.optimizer.learning_rate = rate
        self.wait, self.cooldown_counter = 0, self.cooldown
        if self.verbose:
            announce(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {rate}.")

    def get_state(self) -> dict[str, Any]:
        """The best value and the counts."""
        return {"best": self.best, "wait": self.wait, "cooldown_counter": self.cooldown_counter}
