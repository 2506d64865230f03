"""What ``fit``, ``evaluate`` and ``predict`` show on standard output."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from tinyconv.callbacks.base import Callback, Logs


class ProgressBar(Callback):
    """Shows progress on standard output: for each epoch its number, then time, loss and metrics to four decimals.

    With ``verbose=1``, in a terminal or notebook, a bar moves in between while the epoch lasts.

    Parameters
    ----------
    kind : {"train", "test", "predict"}
        What is shown; the epochs of ``fit`` by default.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=2)
    Train on 8 samples
    Epoch 1/1
    0s - loss: ...
    """

    def __init__(self, kind: str = "train") -> None:
        self.kind = kind
        self._bar: Any = None
        self._start = self._shown = 0.0

    def _begin(self) -> None:
        self._start = time.perf_counter()
        if self.params["verbose"] == 1 and is_interactive():
            from tqdm import tqdm  # not tqdm.auto: its widget stays in a saved notebook, stuck at 0, and may be missing

            self._bar = tqdm(
                total=self.params["steps"],
                file=sys.stdout,
                leave=False,  # what stays is the line of results, here as in a file
                dynamic_ncols=True,
                bar_format="{n_fmt}/{total_fmt} |{bar}| {elapsed}<{remaining}{postfix}",
            )

    def _step(self, logs: Logs | None) -> None:
        if self._bar is None:
            return
        now = time.perf_counter()
        if now - self._shown > 0.1:  # formatting costs more than a small step
            self._shown = now
            self._bar.set_postfix_str(_line(logs), refresh=False)
        self._bar.update()

    def _end(self, logs: Logs | None) -> None:
        self.close()
        if self.params["verbose"]:
            print(f"{time.perf_counter() - self._start:.0f}s - {_line(logs)}", flush=True)

    def close(self) -> None:
        """Take the bar away, also when training was interrupted."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    _make_room = _release = close

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Say how many samples there are, where that is known."""
        if self.params["verbose"] and self.params["samples"]:
            validation = self.params.get("validation_samples")
            also = f", validate on {validation} samples" if validation else ""
            print(f"Train on {self.params['samples']} samples{also}", flush=True)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Say which epoch it is, and start its bar."""
        if self.params["verbose"]:
            print(f"Epoch {epoch + 1}/{self.params['epochs']}", flush=True)
        self._begin()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Advance the bar."""
        self._step(logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Print the epoch's results."""
        self._end(logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Start the bar of an evaluation on its own."""
        if self.kind == "test":
            self._begin()

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Advance the bar."""
        if self.kind == "test":
            self._step(logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Print the results of an evaluation on its own."""
        if self.kind == "test":
            self._end(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Start the bar of a prediction."""
        self._begin()

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Advance the bar."""
        self._step(logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Finish the bar."""
        self.close()


def is_interactive() -> bool:
    """Whether output goes to a terminal or a notebook, where a moving bar makes sense."""
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def check_verbose(verbose: Any) -> int:
    """``verbose`` as 0, 1 or 2; ``"auto"`` is 1."""
    if verbose == "auto":
        return 1
    if not isinstance(verbose, bool | int | np.integer) or verbose not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1, 2 or 'auto'. Received: {verbose!r}")
    return int(verbose)


def announce(message: str) -> None:
    """Print a line of its own, also while a bar moves."""
    if sys.modules.get("tqdm"):
        from tqdm import tqdm

        tqdm.write(message, file=sys.stdout)  # takes bars away, and puts them back below
        sys.stdout.flush()
    else:
        print(message, flush=True)


def _line(logs: Logs | None) -> str:
    return " - ".join(f"{name}: {_number(value)}" for name, value in (logs or {}).items())


def _number(value: Any) -> str:
    if not isinstance(value, float | int):
        return str(value)
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.4e}"
