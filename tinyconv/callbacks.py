"""Callbacks: what happens around training, apart from training itself."""

from __future__ import annotations

import inspect
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tinyconv.models import Model


class Logs(dict[str, Any]):
    """Results by name; ``acc`` and ``accuracy`` are one name in two spellings, whichever was recorded.

    Examples
    --------
    >>> logs = Logs(accuracy=0.9)
    >>> logs["acc"], "acc" in logs, list(logs)
    (0.9, True, ['accuracy'])
    """

    def __missing__(self, key: str) -> Any:
        other = _other_spelling(key)
        if not dict.__contains__(self, other):
            raise KeyError(key)
        return dict.__getitem__(self, other)

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or dict.__contains__(self, _other_spelling(key))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of ``key`` in either spelling, or ``default``."""
        try:
            return self[key]
        except KeyError:
            return default


def _other_spelling(name: Any) -> Any:
    """``val_acc`` for ``val_accuracy`` and the other way round; other names as they are."""
    head, bar, last = str(name).rpartition("_")
    return head + bar + {"acc": "accuracy", "accuracy": "acc"}[last] if last in ("acc", "accuracy") else name


class Callback:
    """Base class: override the hooks you need.

    Hooks are ``on_train_begin(logs)``, ``on_epoch_begin(epoch, logs)``, ``on_train_batch_begin(batch, logs)``,
    ``on_train_batch_end(batch, logs)``, ``on_epoch_end(epoch, logs)`` and ``on_train_end(logs)``, and the same for
    ``test`` and ``predict``. Epochs and batches count from 0. ``self.model`` is the model; ``self.params`` holds
    ``epochs``, ``steps``, ``samples`` and ``verbose``. Set ``self.model.stop_training = True`` to stop after the epoch.
    """

    params: dict[str, Any]
    _model: Callable[[], Any] = staticmethod(lambda: None)

    @property
    def model(self) -> Model:
        """The model; the callback alone does not keep it alive."""
        return self._model()

    @model.setter
    def model(self, model: Model) -> None:
        self._model = weakref.ref(model)  # the model holds its history: no cycle

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
    """Calls one hook of every callback, in order: ``callbacks.on_epoch_end(3, logs)``.

    As a context manager it puts the terminal in order at the end, also when training was interrupted.
    """

    def __init__(self, callbacks: Iterable[Callback], model: Any, params: dict[str, Any]) -> None:
        self.callbacks: list[Callback] = []
        self.model, self.params = model, params
        for callback in callbacks:
            self.add(callback)

    def add(self, callback: Callback) -> None:
        """Put a callback behind the others."""
        if not isinstance(callback, Callback):
            hint = "; make one of this class first" if isinstance(callback, type) else ""
            raise TypeError(f"callbacks must be Callback objects. Received: {callback!r}{hint}")
        callback.set_params(self.params)
        callback.set_model(self.model)
        self.callbacks.append(callback)

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def __enter__(self) -> CallbackList:
        return self

    def __exit__(self, *_: Any) -> None:
        for callback in self.callbacks:
            if isinstance(callback, ProgressBar):
                callback.close()

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
    """Shows progress on standard output: for each epoch its number, then time, loss and metrics to four decimals.

    With ``verbose=1``, in a terminal or notebook, a bar moves in between while the epoch lasts.

    Parameters
    ----------
    kind : {"train", "test", "predict"}
        What is shown; the epochs of ``fit`` by default.
    """

    def __init__(self, kind: str = "train") -> None:
        self.kind = kind
        self._bar: Any = None
        self._start = self._shown = 0.0

    def _begin(self) -> None:
        self._start = time.perf_counter()
        if self.params["verbose"] == 1 and is_interactive():
            from tqdm.auto import tqdm

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
        current = self.model.optimizer.learning_rate
        rate = self.schedule(epoch, current) if _takes_two(self.schedule) else self.schedule(epoch)
        if not isinstance(rate, float | np.floating):
            raise ValueError(f"The schedule must return a float. Received: {rate!r} for epoch {epoch}")
        self.model.optimizer.learning_rate = float(rate)
        if self.verbose:
            print(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {float(rate)}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Record the rate beside the results."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


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


def _takes_two(schedule: Callable[..., float]) -> bool:
    """Whether a function needs two arguments: the epoch and the current rate."""
    parameters = inspect.signature(schedule).parameters.values()
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(p.default is p.empty for p in places) > 1


def _line(logs: Logs | None) -> str:
    return " - ".join(f"{name}: {_number(value)}" for name, value in (logs or {}).items())


def _number(value: Any) -> str:
    if not isinstance(value, float | int):
        return str(value)
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.4e}"
