"""The hooks: ``Callback``, the list that calls them in order, and the results (``Logs``) that they are given."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tinyconv.registry import arguments_of

if TYPE_CHECKING:
    from tinyconv.models import Model

Hook = Callable[..., Any]


class Logs(dict[str, Any]):
    """Results by name; ``acc`` and ``accuracy`` are one name in two spellings, whichever was recorded.

    Numbers that arrive as arrays or tensors without axes become Python floats.

    Examples
    --------
    >>> import numpy as np
    >>> from tinyconv.callbacks import Logs
    >>> logs = Logs(accuracy=np.float32(0.5))
    >>> logs["acc"], "acc" in logs, list(logs)
    (0.5, True, ['accuracy'])
    """

    def __init__(self, *args: Any, **results: Any) -> None:
        super().__init__(*args, **results)
        for name, value in self.items():
            if type(value) is not float and getattr(value, "ndim", None) == 0:
                self[name] = value.item()

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
    ``epochs``, ``steps``, ``samples`` and ``verbose``. Set ``self.model.stop_training = True`` to stop after the epoch,
    or ``self.model.optimizer.learning_rate``; ``self.model.optimizer.iterations`` counts the updates.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> class Enough(tc.callbacks.Callback):
    ...     def on_train_batch_end(self, batch, logs=None):
    ...         self.model.stop_training = self.model.optimizer.iterations == 3
    >>> model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), 4, epochs=9, callbacks=[Enough()], verbose=0)
    >>> history.epoch, model.optimizer.iterations
    ([0, 1], 3)
    """

    params: dict[str, Any]
    _model: Callable[[], Any] = staticmethod(lambda: None)
    _companions: Callable[[], Any] = staticmethod(lambda: None)  # the list that the callback is in
    _goes_last = False  # whether its hooks are called after those of all others

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

    def get_state(self) -> dict[str, Any]:
        """What has to be known to go on in another process: plain data, and lists of arrays. See ``BackupAndRestore``.

        Returns
        -------
        dict of str to (what JSON can hold, or list of array)
        """
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`get_state` returned; called after ``on_train_begin``."""
        vars(self).update(state)

    def _make_room(self) -> None:
        """Other callbacks are about to look at the results of an epoch, and may print: a bar goes out of the way."""

    def _release(self) -> None:
        """The run is over, possibly by an exception: give back what is still open."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_model", "_companions")}

    def __repr__(self) -> str:
        """The class and the arguments that differ from their defaults, as far as they are kept as attributes."""
        defaults = arguments_of(type(self))
        given = {name: vars(self).get(name, default) for name, default in defaults.items()}
        shown = [f"{k}={v!r}" for k, v in given.items() if not (type(v) is type(defaults[k]) and v == defaults[k])]
        return f"{type(self).__name__}({', '.join(shown)})"


class BaseLogger(Callback):
    """Keras 2's base class of callbacks that record results. ``fit`` averages by itself, so it adds nothing.

    Examples
    --------
    >>> from tinyconv.callbacks import BaseLogger, Callback
    >>> isinstance(BaseLogger(), Callback)
    True
    """

    def __init__(self, stateful_metrics: Any = None) -> None:
        self.stateful_metrics = stateful_metrics


class CallbackList:
    """Calls one hook of every callback, in order: ``callbacks.on_epoch_end(3, logs)``.

    As a context manager it lets all callbacks close what they opened, also when training was interrupted.

    Parameters
    ----------
    callbacks : iterable of Callback
    model : Model, optional
        What they watch.
    params : dict, optional
        Facts of the run, for their ``set_params``; they may also be given as keywords: ``epochs=3, verbose=1``.
    add_history, add_progbar : bool
        Also record the results, as ``model.history``; also show progress.

    Examples
    --------
    >>> from tinyconv.callbacks import CallbackList, History, Logs
    >>> history = History()
    >>> callbacks = CallbackList([history])
    >>> callbacks.on_epoch_end(0, Logs(loss=0.5))
    >>> history.history
    {'loss': [0.5]}
    """

    def __init__(
        self,
        callbacks: Iterable[Callback] | None = (),
        model: Any = None,
        params: dict[str, Any] | None = None,
        *,
        add_history: bool = False,
        add_progbar: bool = False,
        **facts: Any,
    ) -> None:
        from tinyconv.callbacks.history import History
        from tinyconv.callbacks.progress import ProgressBar

        needed = {"epochs": 1, "steps": None, "samples": None, "verbose": 1} if add_progbar else {}
        self.callbacks: list[Callback] = []
        self.model, self.params = model, {**needed, **(params or {}), **facts}
        for callback in callbacks or ():
            self.add(callback)
        for kind, wanted in ((History, add_history), (ProgressBar, add_progbar)):
            if wanted and not any(isinstance(callback, kind) for callback in self.callbacks):
                self.add(kind())
        if model is not None and add_history:
            model.history = next(callback for callback in self.callbacks if isinstance(callback, History))

    def add(self, callback: Callback) -> None:
        """Put a callback behind the others."""
        if not isinstance(callback, Callback):
            hint = "; make one of this class first" if isinstance(callback, type) else ""
            raise TypeError(f"callbacks must be Callback objects. Received: {callback!r}{hint}")
        callback.set_params(self.params)
        if self.model is not None:
            callback.set_model(self.model)
        callback._companions = weakref.ref(self)
        self.callbacks.append(callback)

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def __enter__(self) -> CallbackList:
        return self

    def __exit__(self, *error: Any) -> None:
        everyone = contextlib.ExitStack()  # gets at all of them, also when one fails
        for callback in reversed(self.callbacks):
            everyone.callback(callback._release)
        everyone.__exit__(*error)

    def __getattr__(self, hook: str) -> Callable[..., None]:
        if not hook.startswith("on_"):
            raise AttributeError(hook)
        hooks = [getattr(callback, hook) for callback in sorted(self.callbacks, key=lambda c: c._goes_last)]
        before = [callback._make_room for callback in self.callbacks] if hook == "on_epoch_end" else []

        def call_all(*args: Any) -> None:
            for call in before:
                call()
            for call in hooks:
                call(*args)

        setattr(self, hook, call_all)
        return call_all


class LambdaCallback(Callback):
    """Hooks given as functions.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end, on_train_batch_begin, on_train_batch_end : callable ``(number, logs)``
    on_train_begin, on_train_end : callable ``(logs)``
    **hooks
        Any other hook of :class:`Callback`.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse")
    >>> hook = tc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print("epoch", epoch))
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=2, callbacks=[hook], verbose=0)
    epoch 0
    epoch 1
    """

    def __init__(
        self,
        on_epoch_begin: Hook | None = None,
        on_epoch_end: Hook | None = None,
        on_train_begin: Hook | None = None,
        on_train_end: Hook | None = None,
        on_train_batch_begin: Hook | None = None,
        on_train_batch_end: Hook | None = None,
        **hooks: Hook,
    ) -> None:
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **hooks,
        }
        for name, hook in given.items():
            if not name.startswith("on_") or not hasattr(Callback, name):
                raise TypeError(f"LambdaCallback knows no hook {name!r}")
            if hook is not None:
                setattr(self, name, hook)
