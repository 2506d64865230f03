"""``TrainingMonitor``: curves that are redrawn while training goes on."""

from __future__ import annotations

import json
import os
from typing import Any

from tinyconv.callbacks.base import BaseLogger, Logs
from tinyconv.callbacks.history import record
from tinyconv.files import replacing


class TrainingMonitor(BaseLogger):
    """After every epoch, draws loss and accuracy so far, and writes all results so far as JSON.

    Results that are no single numbers are left out. The figure is drawn from the second epoch on. Both files are
    replaced in one step: a reader sees the old or the new.

    Parameters
    ----------
    figPath : str or path
        Picture (PNG, SVG or PDF, by its ending).
    jsonPath : str or path, optional
        Results: an object that maps each name to a list with one number per epoch. A file that is there when training
        starts is continued.
    startAt : int
        When the file is continued, keep the first so many epochs only.

    Attributes
    ----------
    H : dict of str to list
        The results so far.

    Raises
    ------
    ValueError
        When the file at ``jsonPath`` is something else.

    Examples
    --------
    >>> import os, tempfile
    >>> from pathlib import Path
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, kernel_initializer="zeros", input_shape=(2,))])
    >>> model.compile(tc.optimizers.SGD(0.0), "mse")
    >>> folder = tempfile.mkdtemp()
    >>> monitor = tc.callbacks.TrainingMonitor(os.path.join(folder, "run.png"), os.path.join(folder, "run.json"))
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=2, callbacks=[monitor], verbose=0)
    >>> sorted(os.listdir(folder)), Path(monitor.jsonPath).read_text()
    (['run.json', 'run.png'], '{"loss": [1.0, 1.0]}')
    """

    def __init__(self, figPath: Any, jsonPath: Any = None, startAt: int = 0) -> None:
        super().__init__()
        self.figPath = os.fspath(figPath)
        self.jsonPath = None if jsonPath is None else os.fspath(jsonPath)
        self.startAt = startAt
        self.H = Logs()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Read the results of earlier training, if there are any."""
        self.H = Logs()
        if self.jsonPath is not None and os.path.exists(self.jsonPath):
            self.H = _read(self.jsonPath)
            if self.startAt > 0:
                self.H = Logs((name, values[: self.startAt]) for name, values in self.H.items())

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Record, write and draw."""
        record(self.H, Logs((name, value) for name, value in Logs(logs or {}).items() if _is_number(value)))
        if self.jsonPath is not None:
            with replacing(self.jsonPath, make_folder=True) as path:
                path.write_text(json.dumps(self.H), encoding="utf-8")
        epochs = max(map(len, self.H.values()), default=0)
        if epochs > 1:
            from tinyconv.viz import plot_history

            os.makedirs(os.path.dirname(self.figPath) or ".", exist_ok=True)
            plot_history(self.H, self.figPath, title=f"Training Loss and Accuracy [Epoch {epochs}]")

    def get_state(self) -> dict[str, Any]:
        """The results so far."""
        return {"H": dict(self.H)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on after the results so far, which the file may be ahead of."""
        self.H = Logs(state["H"])


def _read(path: str) -> Logs:
    """Results from a file, checked."""
    expected = f"{path} must hold a JSON object of lists of numbers, one per epoch"
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{expected}. Received: {error}") from None
    lists = list(found.values()) if isinstance(found, dict) else [None]
    if not all(isinstance(values, list) and all(map(_is_number, values)) for values in lists):
        raise ValueError(f"{expected}. Received: {type(found).__name__} {str(found)[:80]}")
    return Logs(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
