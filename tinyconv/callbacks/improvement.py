"""Watching one result: which way is better, and whether it improved."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import numpy as np

from tinyconv.callbacks.base import Callback, Logs
from tinyconv.checks import one_of

_GROWING = {  # words in names
    "auc", "correlation", "f1", "fbeta", "iou", "kappa", "mcc", "precision", "proximity", "r2", "recall", "sensitivity",
    "similarity", "specificity", "true",
}  # fmt: skip


class MonitorCallback(Callback):
    """Base of callbacks that watch one result.

    Parameters
    ----------
    monitor : str
        Name of the result in the logs: ``"val_loss"``, ``"acc"``, ...
    mode : {"auto", "min", "max"}
        Whether smaller or larger is better. ``"auto"`` knows it of all of tinyconv's metrics by their names: ``"max"``
        for those that contain ``acc``, begin with ``fmeasure``, or contain a word such as auc, precision, f1 or
        similarity; else ``"min"``.
    min_delta : float
        Differences up to this one are no improvement; its sign does not count.

    Attributes
    ----------
    best : float
        The best value so far; infinity (for ``"max"``, minus infinity) before the first.

    Raises
    ------
    ValueError
        For another mode; and at the end of an epoch, when the result is not a single number.

    Examples
    --------
    >>> from tinyconv.callbacks import Logs, MonitorCallback
    >>> watch = MonitorCallback("val_acc")
    >>> watch.best, watch.is_improvement(0.6, 0.5), watch.current(Logs(val_accuracy=0.75))
    (-inf, True, 0.75)
    """

    def __init__(self, monitor: str = "val_loss", mode: str = "auto", min_delta: float = 0.0) -> None:
        self.monitor, self.mode, self.min_delta = monitor, one_of("mode", mode, ("auto", "min", "max")), min_delta
        self._grows = _is_better_large(monitor) if mode == "auto" else mode == "max"
        self._looked = False
        self.best = self.worst

    @property
    def worst(self) -> float:
        """What every number improves on."""
        return -math.inf if self._grows else math.inf

    def is_improvement(self, value: float, reference: float) -> bool:
        """Whether ``value`` is better than ``reference`` by more than ``min_delta``; NaN never is."""
        least = abs(self.min_delta)
        return value - least > reference if self._grows else value + least < reference

    def current(self, logs: Logs | None) -> float | None:
        """The watched result, or ``None`` where it is missing, with one warning that says what there is."""
        logs = Logs(logs or {})
        value = logs.get(self.monitor)
        if value is None and not self._looked:  # later it may be missing because validation is not due
            warnings.warn(
                f"{type(self).__name__} is conditioned on metric `{self.monitor}` which is not available. "
                f"Available metrics are: {', '.join(logs)}",
                stacklevel=4,
            )
        self._looked = True
        if np.ndim(value):
            raise ValueError(
                f"{type(self).__name__} needs a result that is a single number. Received: monitor {self.monitor!r} of "
                f"shape {np.shape(value)}"
            )
        return value

    def get_state(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best}


def _is_better_large(name: str) -> bool:
    words = re.split("[_ ]", name.lower().replace("io_u", "iou"))
    return "acc" in name or name.startswith("fmeasure") or not _GROWING.isdisjoint(words)
