"""The loops over batches: ``fit``, ``evaluate``, ``predict``, and their forms for a single batch."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import backends, random
from tinyconv.callbacks import Callback, CallbackList, History, Logs, ProgressBar, check_verbose
from tinyconv.layers.graph import map_structure
from tinyconv.models.feed import (
    Batch,
    Feed,
    as_arrays,
    as_one_array,
    check_count,
    check_samples,
    check_shape,
    class_weights_to_sample_weights,
    is_array_like,
    is_list_of_batches,
    make_feed,
    split_validation,
    unpack,
)
from tinyconv.models.interrupt import postponed_interrupt
from tinyconv.models.late import LateLogs, each, fetch
from tinyconv.models.steps import Steps, errors_of
from tinyconv.tensor import Tensor, no_grad


class Trainer(Steps):
    """Adds training, evaluation and prediction to a layer; ``Model`` derives from it."""

    stop_training = False
    history: History | None = None
    _resume_at: tuple[int, int] | None = None  # epoch and batch, where BackupAndRestore wants fit to go on

    # --- fit ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> History:
        """Train for a number of epochs.

        Parameters
        ----------
        x : array_like, or iterable of batches
            Samples along the first axis (a list or dictionary of arrays for several inputs), or an iterable (a
            generator, a sequence, a list) of tuples ``(x, y)`` or ``(x, y, sample_weight)``.
        y : array_like
            Labels; part of the batches when ``x`` is an iterable.
        batch_size : int
            Samples per update (32 by default); the last batch of an epoch may be smaller.
        epochs : int
            Index of the epoch to stop before; with ``initial_epoch`` 0 the number of epochs.
        verbose : 0, 1, 2 or "auto"
            Silent; a line of results per epoch and, in a terminal or notebook, a bar until then; the line only.
        callbacks : list of Callback
            Called in order at every stage, before the progress is shown and recorded.
        validation_split : float
            Fraction of the samples, from the end and before shuffling, that is kept for validation.
        validation_data : (x, y), (x, y, sample_weight) or iterable of batches
            Evaluated at the end of an epoch.
        shuffle : bool
            New order of the samples (of the batches of a sequence) every epoch.
        class_weight : dict, list or array
            Weight of each class in the loss; classes that a dictionary lacks weigh 1.
        sample_weight : array_like, shape (N,)
            Weight of each sample in the loss.
        initial_epoch : int
            Epoch to start from, when training is resumed.
        steps_per_epoch, validation_steps : int, optional
            Batches per epoch, needed for endless iterators. Of arrays and re-iterable objects, an epoch is the first
            so many batches; iterators go on where they stopped.
        validation_batch_size : int, optional
            ``batch_size`` by default.
        validation_freq : int or list of int
            Validate after every so many epochs, or after those in the list, counted from 1.

        Returns
        -------
        History
            Its ``history`` maps ``loss``, metrics and ``val_...`` to one value per epoch.

        Notes
        -----
        ``KeyboardInterrupt`` arrives between steps: the weights are those of the last whole step, and training can go
        on with another ``fit``.
        """
        epochs, initial_epoch = check_count("epochs", epochs, 0), check_count("initial_epoch", initial_epoch, 0)
        if not isinstance(validation_freq, list | tuple | set):
            check_count("validation_freq", validation_freq)
        self._compiled()
        if validation_split and validation_data is None:
            if not is_array_like(x) or is_list_of_batches(x):
                raise ValueError("validation_split needs arrays. Received: an iterable; give validation_data with it")
            (x, y, sample_weight), validation_data = split_validation(self._data(x, y, sample_weight), validation_split)
        feed = make_feed(x, y, sample_weight, batch_size, shuffle, steps_per_epoch, self._data)
        validation = self._validation_feed(validation_data, validation_batch_size or batch_size, validation_steps)
        weigh = None if class_weight is None else class_weights_to_sample_weights(class_weight)
        self.history = History()
        self.stop_training = False
        facts = {"epochs": epochs, "validation_samples": validation.samples if validation else None}
        hooks = self._hooks(callbacks, ProgressBar(), feed, verbose, **facts)
        hooks.add(self.history)
        with random.use(self.random_stream), hooks:
            hooks.on_train_begin(Logs())
            logs = self._train_epochs(initial_epoch, epochs, feed, weigh, validation, validation_freq, hooks)
            if self.optimizer is not None:
                self.optimizer.finalize_variable_values(self.trainable_weights)
            hooks.on_train_end(logs)
        return self.history

    def fit_generator(
        self, generator: Any, steps_per_epoch: int | None = None, epochs: int = 1, **options: Any
    ) -> History:
        """Keras 2's name of :meth:`fit` for iterables of batches."""
        return self.fit(generator, steps_per_epoch=steps_per_epoch, epochs=epochs, **options)

    def _train_epochs(
        self,
        initial_epoch: int,
        epochs: int,
        feed: Feed,
        weigh: Any,
        validation: Feed | None,
        validation_freq: Any,
        hooks: CallbackList,
    ) -> Logs:
        """Results of the last epoch, validation included."""
        logs = Logs()
        (start, done), self._resume_at = self._resume_at or (initial_epoch, 0), None
        for epoch in range(start, epochs):
            hooks.on_epoch_begin(epoch, Logs())
            self.reset_metrics()
            trained = self._train_epoch(feed, weigh, hooks, done)
            done = 0
            if trained is None:  # an iterator gave its last batch in the epoch before
                _warn_of_early_end(feed, epoch, epochs)
                break
            logs = Logs(trained)
            if validation is not None and _is_due(validation_freq, epoch):
                results = self._evaluate(validation, hooks)
                logs.update((f"val_{name}", value) for name, value in results.items())
            hooks.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
            if feed.used_up and (epoch + 1 < epochs or feed.steps is not None):
                _warn_of_early_end(feed, epoch + 1, epochs)
                break
        return logs

    def _train_epoch(self, feed: Feed, weigh: Any, hooks: CallbackList, done: int = 0) -> Logs | None:
        """Results of an epoch after its first ``done`` batches; ``None`` when the feed had no batch left."""
        logs = None
        for step, batch in enumerate(feed.batches()):
            if step < done:
                continue
            hooks.on_train_batch_begin(step, Logs())
            logs = None  # nobody wants the results of the batch before
            with postponed_interrupt():  # Ctrl-C leaves the weights of a whole number of steps
                logs = _as_logs(self.train_step(_trimmed(batch if weigh is None else _weighted(batch, weigh))))
            hooks.on_train_batch_end(step, logs)
            if self.stop_training:
                break
        hooks.params["steps"] = feed.steps
        return logs

    def _validation_feed(self, data: Any, batch_size: int | None, steps: int | None) -> Feed | None:
        if data is None:
            return None
        parts: Any = data if isinstance(data, tuple | list) and not is_list_of_batches(data) else (data,)
        if isinstance(data, tuple) and not 2 <= len(data) <= 3:
            raise ValueError(f"validation_data must be (x, y) or (x, y, sample_weight). Received: {len(data)} parts")
        x, y, weight = unpack(parts)
        return make_feed(x, y, weight, batch_size, False, steps, self._data)

    def _hooks(self, callbacks: Any, bar: ProgressBar, feed: Feed, verbose: Any, **facts: Any) -> CallbackList:
        callbacks = [callbacks] if isinstance(callbacks, Callback) else callbacks or ()
        facts = {"epochs": 1, **facts, "steps": feed.steps, "samples": feed.samples, "verbose": check_verbose(verbose)}
        return CallbackList([*callbacks, bar], self, facts)

    # --- evaluate and predict ----------------------------------------------------------------------------------

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = 0,
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics over a data set, exact over all of its samples.

        Parameters
        ----------
        x, y, batch_size, verbose, sample_weight, callbacks
            As for :meth:`fit`.
        steps : int, optional
            Batches to look at; needed for endless iterators.
        return_dict : bool
            Whether to return the results by name.

        Returns
        -------
        float, list of float (loss, then metrics; see ``metrics_names``), or dict with ``return_dict``
        """
        self._compiled()
        feed = make_feed(x, y, sample_weight, batch_size, False, steps, self._data)
        hooks = self._hooks(callbacks, ProgressBar("test"), feed, verbose)
        with hooks:
            return _as_result(self._evaluate(feed, hooks), return_dict)

    def evaluate_generator(self, generator: Any, steps: int | None = None, **options: Any) -> Any:
        """Keras 2's name of :meth:`evaluate` for iterables of batches."""
        return self.evaluate(generator, steps=steps, **options)

    def _evaluate(self, feed: Feed, hooks: CallbackList) -> Logs:
        """Results over one pass; the running results of training are not needed any more and are dropped."""
        self._compiled()
        self.reset_metrics()
        hooks.on_test_begin(Logs())
        logs = None
        with no_grad():
            for step, batch in enumerate(feed.batches()):
                hooks.on_test_batch_begin(step, Logs())
                logs = None
                logs = _as_logs(self.test_step(_trimmed(batch)))
                hooks.on_test_batch_end(step, logs)
        if logs is None:
            raise ValueError(f"{self._title} expected data to evaluate. Received: an iterator without a batch left")
        hooks.on_test_end(logs)
        return logs

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
    ) -> Any:
        """Outputs for all samples, as NumPy arrays (a list or dictionary of them for several outputs).

        Parameters
        ----------
        x, batch_size, verbose, callbacks
            As for :meth:`fit`; labels in batches are ignored.
        steps : int, optional
            Batches to look at; needed for endless iterators.

        Raises
        ------
        ValueError
            Also for a single image without a batch axis: pass ``image[None]``.
        """
        feed = make_feed(x, None, None, batch_size, False, steps, lambda x, y, weight: self._data(x))
        hooks = self._hooks(callbacks, ProgressBar("predict"), feed, verbose)
        parts, coming = [], deque()  # type: ignore[var-annotated]
        with hooks, no_grad():
            hooks.on_predict_begin(Logs())
            for step, batch in enumerate(feed.batches()):
                hooks.on_predict_batch_begin(step, Logs())
                outputs = self.predict_step(batch)
                coming.append(fetch(outputs))
                if len(coming) > 2:  # by now it is there
                    parts.append(each(Tensor.numpy, coming.popleft()()))
                hooks.on_predict_batch_end(step, Logs(outputs=outputs))
            parts.extend(each(Tensor.numpy, wait()) for wait in coming)
            hooks.on_predict_end(Logs())
        if not parts:
            raise ValueError(f"{self._title} expected data to predict from. Received: an iterator without a batch left")
        return _concatenate(parts)

    def predict_generator(self, generator: Any, steps: int | None = None, **options: Any) -> Any:
        """Keras 2's name of :meth:`predict` for iterables of batches."""
        return self.predict(generator, steps=steps, **options)

    # --- single batches ----------------------------------------------------------------------------------------

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """One update with one batch; returns the batch's loss, a list of loss and metrics, or a dictionary."""
        self._compiled()
        self.reset_metrics()
        batch = self._data(x, y, sample_weight)
        if class_weight is not None:
            batch = _weighted(batch, class_weights_to_sample_weights(class_weight))
        with random.use(self.random_stream), postponed_interrupt():
            return _as_result(_as_logs(self.train_step(_trimmed(batch))), return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Loss, list of loss and metrics, or dictionary of them, of one batch."""
        self._compiled()
        self.reset_metrics()
        with no_grad():
            return _as_result(_as_logs(self.test_step(_trimmed(self._data(x, y, sample_weight)))), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Outputs for one batch, as NumPy arrays."""
        with no_grad():
            return map_structure(lambda t: t.numpy().copy(), self.predict_step(self._data(x)))

    # --- data --------------------------------------------------------------------------------------------------

    def _data(self, x: Any, y: Any = None, sample_weight: Any = None) -> Batch:
        """The parts of a batch, or of a data set, as arrays that fit the model; errors name the model."""
        with errors_of(self._title):
            inputs = self._input_shapes()
            outputs = self._shapes[1] if self._shapes else None
            if isinstance(inputs, tuple):
                x = as_one_array(x, inputs, "x")
            if isinstance(outputs, tuple):
                y = as_one_array(y, outputs, "y")
            data = as_arrays(x, y, sample_weight)
            if inputs is not None:
                self._check_shapes(data[0], inputs)
            check_samples(data)
        return data

    def _input_shapes(self) -> Any:
        """Shape of the input (a list or dictionary for several), ``None`` for sizes and shapes that are not known."""
        shape = self._shapes[0] if self._shapes else None
        return (None,) * len(shape) if isinstance(shape, tuple) else None  # a subclass may take other sizes

    def _check_shapes(self, x: Any, expected: Any) -> None:
        """Raise unless the inputs have the shapes of the model."""
        check_shape(x, expected)


def _trimmed(batch: Batch) -> tuple[Any, ...]:
    """``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``: without what is not there, as in Keras."""
    x, y, weight = batch
    return batch if weight is not None else (x,) if y is None else (x, y)


def _as_logs(results: dict[str, Any]) -> Logs:
    """What a step returned, the results of metrics that have several by their own names."""
    if isinstance(results, LateLogs):
        return results
    logs = Logs()
    for name, value in results.items():
        logs.update(_as_logs(value) if isinstance(value, dict) else Logs({name: value}))
    return logs


def _weighted(batch: Batch, weigh: Any) -> Batch:
    """The batch with the weights of its samples' classes multiplied into its sample weights."""
    x, y, weight = batch
    by_class = weigh(y)
    weight = backends.move(weight, backends.on("cpu")) if backends.on_gpu(weight) else weight
    if weight is None:
        return x, y, by_class
    return x, y, weight * by_class.reshape(len(by_class), *[1] * (np.ndim(weight) - 1))


def _is_due(frequency: Any, epoch: int) -> bool:
    """Whether to validate after ``epoch``: every so many epochs, or after those in a list, counted from 1."""
    if isinstance(frequency, list | tuple | set):
        return epoch + 1 in frequency
    return (epoch + 1) % frequency == 0


def _warn_of_early_end(feed: Feed, done: int, epochs: int) -> None:
    wanted = "" if feed.steps is None else f" with {feed.steps} batches each"
    warnings.warn(
        f"Training ended early: expected data for {epochs} epochs{wanted}. Received: an iterator that was used up in "
        f"epoch {done}; give a re-iterable object, or an iterator that never ends",
        stacklevel=4,  # the line that calls fit
    )


def _as_result(results: dict[str, float], return_dict: bool) -> Any:
    """Results as Keras returns them: a dictionary, a list, or a single number."""
    values = list(results.values())
    return dict(results) if return_dict else values[0] if len(values) == 1 else values


def _concatenate(parts: list[Any]) -> Any:
    """Join the outputs of batches along the batch axis, for any structure of outputs."""
    if isinstance(parts[0], dict):
        return {key: _concatenate([part[key] for part in parts]) for key in parts[0]}
    if isinstance(parts[0], list):
        return [_concatenate([part[i] for part in parts]) for i in range(len(parts[0]))]
    return np.concatenate(parts)
