"""``ModelCheckpoint``: the model in a file, after every epoch or whenever it has become better."""

from __future__ import annotations

import os
from typing import Any

from tinyconv.callbacks.base import Logs
from tinyconv.callbacks.improvement import MonitorCallback
from tinyconv.callbacks.progress import announce
from tinyconv.checks import integer


class ModelCheckpoint(MonitorCallback):
    """Saves the model while it is trained. A file is replaced in one step: there never is half a checkpoint.

    Parameters
    ----------
    filepath : str or path
        A name, or a template for ``str.format`` with ``epoch``, any result (``val_loss``, ``acc``, ...) and, where
        ``save_freq`` counts batches, ``batch``: ``"weights-{epoch:03d}-{val_loss:.4f}.tc"``. Folders are made.
    monitor : str
        The result that ``save_best_only`` watches.
    verbose : int
        1 says what is saved, and why.
    save_best_only : bool
        Save only when ``monitor`` is better than ever before; also across several calls of ``fit``.
    save_weights_only : bool
        The weights alone, for ``load_weights``, instead of the whole model with its optimizer, for ``load_model``.
    mode : {"auto", "min", "max"}
        As for :class:`MonitorCallback`.
    save_freq : "epoch" or int
        At the end of epochs, or after every so many batches.
    initial_value_threshold : float, optional
        The value to beat at first, instead of infinity.
    period : int
        Keras 2: look only at the end of every so many epochs.
    first_epoch : int
        Number of the first epoch in names and messages: 0 as in the documents and in ``initial_epoch``, or 1 as in
        Keras since version 2.0.9 and in the line ``Epoch 1/40``.

    Raises
    ------
    ValueError
        For wrong arguments, and after an epoch whose results lack a name of the template.

    Examples
    --------
    One file per improvement:

    >>> import os, tempfile
    >>> import numpy as np, tinyconv as tc
    >>> tc.set_seed(0)
    >>> model = tc.Sequential([tc.layers.Dense(1, kernel_initializer="zeros", input_shape=(2,))])
    >>> model.compile(tc.optimizers.SGD(0.1), "mse")
    >>> folder = tempfile.mkdtemp()
    >>> checkpoint = tc.callbacks.ModelCheckpoint(
    ...     os.path.join(folder, "weights-{epoch:03d}-{loss:.2f}.tc"), monitor="loss", save_best_only=True)
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=2, callbacks=[checkpoint], verbose=0)
    >>> sorted(os.listdir(folder))
    ['weights-000-1.00.tc', 'weights-001-0.16.tc']
    """

    def __init__(
        self,
        filepath: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
        period: int = 1,
        first_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode)
        self.filepath = os.fspath(filepath)
        self.verbose, self.save_best_only, self.save_weights_only = verbose, save_best_only, save_weights_only
        self.save_freq = check_save_freq(save_freq)
        self.period, self.first_epoch = integer("period", period), first_epoch
        self.initial_value_threshold = initial_value_threshold
        if initial_value_threshold is not None:
            self.best = float(initial_value_threshold)
        self._epoch = self._epochs = self._batches = 0  # the current one, and how many since the last look

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remember the epoch, for the names of files that are saved in its middle."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save, if it is time."""
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches >= int(self.save_freq):
            self._batches = 0
            self._look(self._epoch, logs, batch=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save, if it is time."""
        if self.save_freq != "epoch":
            return
        self._epochs += 1
        if self._epochs >= self.period:
            self._epochs = 0
            self._look(epoch, logs)

    def get_state(self) -> dict[str, Any]:
        """The best value, and how long ago the last look was."""
        return {**super().get_state(), "_epochs": self._epochs, "_batches": self._batches}

    def _look(self, epoch: int, logs: Logs | None, **place: int) -> None:
        """Save the model, if it is to be saved."""
        start = f"Epoch {epoch + self.first_epoch:05d}: "
        reason = ""
        if self.save_best_only:
            current = self.current(logs)
            if current is None:
                return
            if not self.is_improvement(current, self.best):
                self._say(f"{start}{self.monitor} did not improve")
                return
            reason = f"{self.monitor} improved from {self.best:.5f} to {current:.5f}, "
            self.best = current
        path = self._path(epoch, logs, **place)
        self._say(f"{start}{reason}saving model to {path}")
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)

    def _path(self, epoch: int, logs: Logs | None, **place: int) -> str:
        """The template, filled in."""
        values = Logs(logs or {}, epoch=epoch + self.first_epoch, **place)
        try:
            return self.filepath.format_map(values)
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(
                f"filepath may name {', '.join(values)}, each with a format that fits. Received: {self.filepath!r} "
                f"({type(error).__name__}: {error})"
            ) from error

    def _say(self, message: str) -> None:
        if self.verbose:
            announce(message)


def check_save_freq(value: Any) -> str | int:
    """``"epoch"``, or a number of batches."""
    if value == "epoch":
        return "epoch"
    if isinstance(value, str):
        raise ValueError(f"save_freq must be 'epoch' or a number of batches. Received: {value!r}")
    return integer("save_freq", value)
