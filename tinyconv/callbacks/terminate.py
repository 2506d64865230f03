"""``TerminateOnNaN``: no more steps once the loss is no number."""

from __future__ import annotations

import math

from tinyconv.callbacks.base import Callback, Logs
from tinyconv.callbacks.progress import announce


class TerminateOnNaN(Callback):
    """Stops training when the loss becomes NaN or infinite.

    Parameters
    ----------
    raise_error : bool
        Raise ``RuntimeError`` instead, at once: no other callback learns that training ended, so backups stay.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse")
    >>> x = np.full((8, 2), np.nan)
    >>> history = model.fit(x, np.ones((8, 1)), epochs=50, callbacks=[tc.callbacks.TerminateOnNaN()], verbose=0)
    Batch 0: Invalid loss, terminating training
    >>> history.epoch
    [0]
    """

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Look at the loss."""
        loss = (logs or Logs()).get("loss")
        if loss is not None and not math.isfinite(loss):
            if self.raise_error:
                what = f"NaN or Inf loss encountered at batch {batch}. Loss value: {loss}"
                raise RuntimeError(f"{what}. Terminating training immediately.")
            announce(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True
