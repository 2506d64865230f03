"""Callbacks: what happens around training, apart from training itself."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinyconv.models import Model

_ALIASES = {"acc": "accuracy", "accuracy": "acc", "val_acc": "val_accuracy", "val_accuracy": "val_acc"}


class Logs(dict[str, Any]):
    """Results by name; ``acc`` and ``accuracy`` are one name in two spellings, whichever was recorded.

    Examples
    --------
    >>> logs = Logs(accuracy=0.9)
    >>> logs["acc"], "acc" in logs, list(logs)
    (0.9, True, ['accuracy'])
    """

    def __missing__(self, key: str) -> Any:
        other = _ALIASES.get(key)
        if other is None or not dict.__contains__(self, other):
            raise KeyError(key)
        return dict.__getitem__(self, other)

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or dict.__contains__(self, _ALIASES.get(str(key), key))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of ``key`` in either spelling, or ``default``."""
        return self[key] if key in self else default


class Callback:
    """Base class: override the hooks you need.

    Hooks are ``on_train_begin(logs)``, ``on_epoch_begin(epoch, logs)``, ``on_train_batch_begin(batch, logs)``,
    ``on_train_batch_end(batch, logs)``, ``on_epoch_end(epoch, logs)`` and ``on_train_end(logs)``, and the same for
    ``test`` and ``predict``. Epochs and batches count from 0. ``self.model`` is the model; ``self.params`` holds
    ``epochs``, ``steps``, ``samples`` and ``verbose``. Set ``self.model.stop_training = True`` to stop after the epoch.
    """

    model: Model
    params: dict[str, Any]

    def set_model(self, model: Model) -> None:
        """Called once before training with the model."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Called once before training with the facts of the run."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Training starts."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Training ended (not called when it was interrupted by an exception)."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """An epoch starts."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """An epoch ended; ``logs`` has the epoch's results, also those of validation as ``val_...``."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Keras's older name of ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Keras's older name of ``on_train_batch_end``."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A training step starts."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A training step ended; ``logs`` has the epoch's results so far."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Evaluation or validation starts."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Evaluation or validation ended."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """An evaluation step starts."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """An evaluation step ended."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Prediction starts."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Prediction ended."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A prediction step starts."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A prediction step ended."""


class CallbackList:
    """Calls one hook of every callback, in order: ``callbacks.on_epoch_end(3, logs)``."""

    def __init__(self, callbacks: Iterable[Callback], model: Model, params: dict[str, Any]) -> None:
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not hasattr(callback, "on_epoch_end"):
                raise TypeError(f"callbacks must be Callback objects. Received: {callback!r}")
            callback.set_params(params)
            callback.set_model(model)

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def __getattr__(self, hook: str) -> Callable[..., None]:
        if not hook.startswith("on_"):
            raise AttributeError(hook)
        hooks = [getattr(callback, hook) for callback in self.callbacks]

        def call_all(*args: Any) -> None:
            for call in hooks:
                call(*args)

        setattr(self, hook, call_all)
        return call_all


class History(Callback):
    """Records the results of every epoch; ``fit`` returns it.

    Attributes
    ----------
    history : dict of str to list
        One entry per epoch and name: ``loss``, metrics, and both of validation as ``val_...``; ``acc`` and
        ``accuracy`` are the same entry.
    epoch : list of int
        Indices of the recorded epochs, from 0.
    """

    def __init__(self) -> None:
        self.history: Logs = Logs()
        self.epoch: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Append the epoch's results."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class ProgressBar(Callback):
    """Shows training: a bar per epoch in a terminal or notebook (``verbose=1``), one line per epoch elsewhere or for
    ``verbose=2``, with loss and metrics to four decimals.

    ``kind`` is ``"train"``, ``"test"`` or ``"predict"``.
    """

    def __init__(self, kind: str = "train") -> None:
        self.kind = kind
        self._bar: Any = None

    def _begin(self, title: str) -> None:
        self._start = time.perf_counter()
        if self.params["verbose"] == 1 and is_interactive():
            from tqdm.auto import tqdm

            self._bar = tqdm(total=self.params["steps"], desc=title, unit="batch", leave=True, dynamic_ncols=True)

    def _step(self, logs: Logs | None) -> None:
        if self._bar is not None:
            self._bar.update()
            now = time.perf_counter()
            if now - getattr(self, "_shown", 0.0) > 0.1:  # formatting costs more than a small step
                self._shown = now
                self._bar.set_postfix_str(_line(logs), refresh=False)

    def _end(self, title: str, logs: Logs | None) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(_line(logs), refresh=True)
            self.close()
        elif self.params["verbose"]:
            seconds = time.perf_counter() - self._start
            print(f"{title}\n{seconds:.0f}s - {_line(logs)}" if title else _line(logs), flush=True)

    def close(self) -> None:
        """Leave the terminal in order, also when training was interrupted."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _title(self, epoch: int) -> str:
        return f"Epoch {epoch + 1}/{self.params['epochs']}"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Say how many samples there are, where that is known."""
        if self.params["verbose"] and self.params["samples"]:
            validation = self.params["validation_samples"]
            also = f", validate on {validation} samples" if validation else ""
            print(f"Train on {self.params['samples']} samples{also}", flush=True)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the epoch's bar."""
        self._begin(self._title(epoch))

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Advance the bar."""
        self._step(logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Finish the epoch's bar or print its line."""
        self._end(self._title(epoch), logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Start the bar of an evaluation on its own."""
        if self.kind == "test":
            self._begin("Evaluate")

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Advance the bar."""
        if self.kind == "test":
            self._step(logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Print the results of an evaluation on its own."""
        if self.kind == "test":
            self._end("", logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Start the bar of a prediction."""
        self._begin("Predict")

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Advance the bar."""
        self._step(logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Finish the bar."""
        self.close()


class LambdaCallback(Callback):
    """Hooks given as functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: ...)``."""

    def __init__(self, **hooks: Callable[..., None]) -> None:
        for name, hook in hooks.items():
            if not name.startswith("on_") or not hasattr(Callback, name):
                raise TypeError(f"LambdaCallback knows no hook {name!r}")
            setattr(self, name, hook)


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of every epoch to ``schedule(epoch)`` or ``schedule(epoch, current)``.

    Parameters
    ----------
    schedule : callable
        From the epoch, counted from 0 (and the current rate, if it takes two arguments), to a float.
    verbose : int
        1 prints the rate.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the rate of the coming epoch."""
        import inspect

        takes_rate = len(inspect.signature(self.schedule).parameters) > 1
        current = float(self.model.optimizer.learning_rate)
        rate = self.schedule(epoch, current) if takes_rate else self.schedule(epoch)
        if isinstance(rate, bool) or not isinstance(rate, float | int) and not hasattr(rate, "__float__"):
            raise ValueError(f"The schedule must return a float. Received: {rate!r}")
        self.model.optimizer.learning_rate = float(rate)
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {float(rate)}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Record the rate beside the results."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def is_interactive() -> bool:
    """Whether output goes to a terminal or a notebook, where a moving bar makes sense."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def _line(logs: Logs | None) -> str:
    return " - ".join(f"{name}: {_number(value)}" for name, value in (logs or {}).items())


def _number(value: Any) -> str:
    if not isinstance(value, float | int):
        return str(value)
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.4e}"
