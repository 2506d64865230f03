"""The training loop: ``compile``, ``fit``, ``evaluate``, ``predict`` and their single-batch forms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinyconv import optimizers, random
from tinyconv.callbacks import Callback, CallbackList, History, Logs, ProgressBar
from tinyconv.function import grad
from tinyconv.layers.base import Layer, Shape, flatten_structure, map_structure
from tinyconv.models.feed import (
    ArrayFeed,
    Batch,
    Feed,
    class_weights_to_sample_weights,
    is_array_like,
    make_feed,
    split_validation,
    unpack,
)
from tinyconv.models.objective import Objective
from tinyconv.tensor import Tensor, no_grad


class Trainer(Layer):
    """Adds training, evaluation and prediction to a layer; ``Model`` derives from it."""

    optimizer: Any = None
    objective: Objective | None = None
    stop_training = False
    history: History | None = None
    _stream: np.random.Generator | None = None

    # --- compile -----------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
    ) -> None:
        """Choose what training minimises, how, and what it reports.

        Parameters
        ----------
        optimizer : str or Optimizer
            ``"sgd"``, ``"adam"``, ..., or an object such as ``optimizers.SGD(0.01, momentum=0.9)``.
        loss : str, Loss or callable
            ``"categorical_crossentropy"``, ``"mse"``, ...; a list or dictionary of them for several outputs.
        metrics : list
            Names or objects: ``["accuracy"]``. They ignore sample weights; ``weighted_metrics`` use them.
        loss_weights : list or dict, optional
            Factor of each output's loss.

        Examples
        --------
        >>> import tinyconv as tc
        >>> model = tc.Sequential([tc.layers.Dense(2, activation="softmax", input_shape=(3,))])
        >>> model.compile("adam", loss="categorical_crossentropy", metrics=["accuracy"])
        """
        self.optimizer = optimizers.get(optimizer)
        self.objective = Objective(loss, metrics, weighted_metrics, loss_weights)

    @property
    def random_stream(self) -> np.random.Generator:
        """The model's own stream of random numbers for shuffling and dropout, started from the global seed.

        It is saved with the model, so that resumed training draws what uninterrupted training would have drawn.
        """
        if self._stream is None:
            self._stream = np.random.default_rng(random.next_key())
        return self._stream

    @property
    def metrics_names(self) -> list[str]:
        """Names of what ``evaluate`` returns, in order."""
        return list(self._compiled().results())

    def _compiled(self) -> Objective:
        if self.objective is None:
            raise RuntimeError(f"Call compile() of model {self.name!r} before training or evaluating it")
        return self.objective

    # --- one step ----------------------------------------------------------------------------------------------

    def train_step(self, data: Batch) -> dict[str, float]:
        """Update the weights with one batch ``(x, y, sample_weight)``; returns the results so far.

        Override it for another kind of training; ``fit`` and its callbacks keep working.
        """
        x, y, sample_weight = unpack(data)
        y_pred = self(x, training=True)
        loss = self.compute_loss(x, y, y_pred, sample_weight)
        variables = self.trainable_weights
        gradients = grad(loss, variables, allow_unused=True) if variables else []
        self.optimizer.apply(gradients, variables)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data: Batch) -> dict[str, float]:
        """Evaluate one batch; returns the results so far."""
        x, y, sample_weight = unpack(data)
        y_pred = self(x, training=False)
        self.compute_loss(x, y, y_pred, sample_weight)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Batch) -> Any:
        """Outputs for one batch."""
        return self(unpack(data)[0], training=False)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """The scalar that training minimises: the compiled losses and the layers' penalties."""
        predictions, labels, weights = self._per_output(y_pred, y, sample_weight)
        return self._compiled().compute_loss(labels, predictions, weights, self._output_names(y_pred), self.losses)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, float]:
        """Feed the metrics with a batch and return all results so far."""
        predictions, labels, weights = self._per_output(y_pred, y, sample_weight)
        objective = self._compiled()
        objective.update_metrics(labels, predictions, weights, self._output_names(y_pred))
        return objective.results()

    def _output_names(self, y_pred: Any) -> list[str]:
        if isinstance(y_pred, dict):
            return list(y_pred)
        return [f"output_{i + 1}" for i in range(len(flatten_structure(y_pred)))]

    def _per_output(self, y_pred: Any, y: Any, sample_weight: Any) -> tuple[list[Tensor], list[Any], list[Any]]:
        """Predictions, labels and weights as parallel lists, one entry per output."""
        names = self._output_names(y_pred)
        predictions = flatten_structure(y_pred)
        labels = [y[name] for name in names] if isinstance(y, dict) else flatten_structure(y)
        if len(names) == 1 and len(labels) > 1:
            labels = [np.asarray(y)]
        if isinstance(sample_weight, dict):
            weights = [sample_weight.get(name) for name in names]
        else:
            weights = [sample_weight] * len(names) if not isinstance(sample_weight, list) else list(sample_weight)
        return predictions, labels, weights

    # --- fit ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> History:
        """Train for a number of epochs.

        Parameters
        ----------
        x : array_like, or iterable of batches
            Samples along the first axis (a list or dictionary of arrays for several inputs), or an iterable that
            yields ``(x, y)`` or ``(x, y, sample_weight)``.
        y : array_like
            Labels; part of the batches when ``x`` is an iterable.
        batch_size : int
            Samples per update (32 by default); the last batch of an epoch may be smaller.
        epochs : int
            Index of the epoch to stop before; with ``initial_epoch`` 0 the number of epochs.
        verbose : 0, 1, 2 or "auto"
            Silent; a progress bar (one line per epoch when the output is no terminal); one line per epoch.
        callbacks : list of Callback
            Called in order at every stage.
        validation_split : float
            Fraction of the samples, from the end and before shuffling, that is kept for validation.
        validation_data : (x, y), (x, y, sample_weight) or iterable of batches
            Evaluated after every ``validation_freq`` epochs.
        shuffle : bool
            New order of the samples every epoch.
        class_weight : dict, list or array
            Weight of each class in the loss.
        sample_weight : array_like, shape (N,)
            Weight of each sample in the loss.
        initial_epoch : int
            Epoch to start from, when training is resumed.
        steps_per_epoch, validation_steps : int, optional
            Batches per epoch; needed for endless iterators.

        Returns
        -------
        History
            Its ``history`` maps ``loss``, metrics and ``val_...`` to one value per epoch.
        """
        objective = self._compiled()
        if is_array_like(x) and (validation_split and validation_data is None):
            (x, y, sample_weight), validation_data = split_validation(x, y, sample_weight, validation_split)
        x = self._check_input(x)
        self._check_labels(y)
        feed = make_feed(x, y, sample_weight, batch_size, shuffle, steps_per_epoch)
        validation = self._validation_feed(validation_data, validation_batch_size or batch_size, validation_steps)
        params = {
            "epochs": epochs,
            "steps": feed.steps,
            "samples": feed.samples,
            "validation_samples": validation.samples if validation else None,
            "verbose": 1 if verbose == "auto" else int(verbose),
        }
        self.history = History()
        hooks = CallbackList([*(callbacks or ()), ProgressBar(), self.history], self, params)
        weigh = None if class_weight is None else class_weights_to_sample_weights(class_weight)
        self.stop_training = False
        with random.use(self.random_stream):
            hooks.on_train_begin(Logs())
            try:
                logs = Logs()
                for epoch in range(initial_epoch, epochs):
                    hooks.on_epoch_begin(epoch, Logs())
                    objective.reset()
                    logs = self._train_epoch(feed, weigh, hooks, params)
                    if validation is not None and (epoch + 1) % validation_freq == 0:
                        results = self._evaluate(validation, hooks)
                        logs.update((f"val_{name}", value) for name, value in results.items())
                    hooks.on_epoch_end(epoch, logs)
                    if self.stop_training:
                        break
                hooks.on_train_end(logs)
            finally:  # also after Ctrl-C: the weights are those of the last finished step
                for callback in hooks:
                    if isinstance(callback, ProgressBar):
                        callback.close()
        return self.history

    def _train_epoch(self, feed: Feed, weigh: Any, hooks: CallbackList, params: dict[str, Any]) -> Logs:
        logs = Logs()
        for step, (x, y, weight) in enumerate(feed.batches()):
            if params["steps"] is not None and step >= params["steps"]:
                break
            if weigh is not None:
                class_weight = weigh(y)
                weight = class_weight if weight is None else np.asarray(weight) * class_weight
            hooks.on_train_batch_begin(step, Logs())
            logs = Logs(self.train_step((x, y, weight)))
            hooks.on_train_batch_end(step, logs)
        params["steps"] = feed.steps
        return logs

    def _validation_feed(self, data: Any, batch_size: int | None, steps: int | None) -> Any:
        if data is None:
            return None
        if isinstance(data, tuple):
            if not 2 <= len(data) <= 3:
                raise ValueError(
                    f"validation_data must be (x, y) or (x, y, sample_weight). Received: {len(data)} parts"
                )
            x, y, weight = unpack(data)
            self._check_labels(y)
            return make_feed(self._check_input(x), y, weight, batch_size, False, steps)
        return make_feed(data, None, None, batch_size, False, steps)

    # --- evaluate and predict ----------------------------------------------------------------------------------

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = 0,
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics over a data set, exact over all of its samples.

        Returns
        -------
        float, list of float (loss, then metrics; see ``metrics_names``), or dict with ``return_dict``
        """
        self._compiled()
        self._check_labels(y)
        feed = make_feed(self._check_input(x), y, sample_weight, batch_size, False, steps)
        hooks = self._hooks(callbacks, "test", feed, verbose)
        results = self._evaluate(feed, hooks)
        values = list(results.values())
        return dict(results) if return_dict else values[0] if len(values) == 1 else values

    def _evaluate(self, feed: Feed, hooks: CallbackList) -> Logs:
        """Results over one pass; the running results of training are not needed any more and are dropped."""
        objective = self._compiled()
        objective.reset()
        hooks.on_test_begin(Logs())
        logs = Logs()
        with no_grad():
            for step, batch in enumerate(feed.batches()):
                if feed.steps is not None and step >= feed.steps:
                    break
                hooks.on_test_batch_begin(step, Logs())
                logs = Logs(self.test_step(batch))
                hooks.on_test_batch_end(step, logs)
        hooks.on_test_end(logs)
        return logs

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        steps: int | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> Any:
        """Outputs for all samples, as NumPy arrays (a list or dictionary of them for several outputs).

        Raises
        ------
        ValueError
            Also for a single image without a batch axis: pass ``image[None]``.
        """
        feed = make_feed(self._check_input(x), None, None, batch_size, False, steps)
        hooks = self._hooks(callbacks, "predict", feed, verbose)
        hooks.on_predict_begin(Logs())
        parts = []
        with no_grad():
            for step, batch in enumerate(feed.batches()):
                if feed.steps is not None and step >= feed.steps:
                    break
                hooks.on_predict_batch_begin(step, Logs())
                parts.append(map_structure(lambda t: t.numpy(), self.predict_step(batch)))
                hooks.on_predict_batch_end(step, Logs())
        hooks.on_predict_end(Logs())
        return _concatenate(parts)

    def _hooks(self, callbacks: Iterable[Callback] | None, kind: str, feed: Feed, verbose: int | str) -> CallbackList:
        verbose = 1 if verbose == "auto" else int(verbose)
        params = {"steps": feed.steps, "samples": feed.samples, "verbose": verbose, "epochs": 1}
        return CallbackList([*(callbacks or ()), ProgressBar(kind)], self, params)

    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None) -> Any:
        """One update with one batch; returns the batch's loss, or a list of loss and metrics."""
        self._compiled().reset()
        if class_weight is not None:
            by_class = class_weights_to_sample_weights(class_weight)(y)
            sample_weight = by_class if sample_weight is None else np.asarray(sample_weight) * by_class
        self._check_labels(y)
        with random.use(self.random_stream):
            results = list(self.train_step(next(ArrayFeed(x, y, sample_weight, 2**31 - 1).batches())).values())
        return results[0] if len(results) == 1 else results

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Loss, or a list of loss and metrics, of one batch."""
        self._compiled().reset()
        self._check_labels(y)
        with no_grad():
            results = list(self.test_step(next(ArrayFeed(x, y, sample_weight, 2**31 - 1).batches())).values())
        return results[0] if len(results) == 1 else results

    def predict_on_batch(self, x: Any) -> Any:
        """Outputs for one batch, as NumPy arrays."""
        with no_grad():
            return map_structure(lambda t: t.numpy(), self.predict_step((self._check_input(x), None, None)))

    # --- checks ------------------------------------------------------------------------------------------------

    def _expected_input(self) -> Shape | None:
        """Shape of the only input, batch axis ``None``; ``None`` when unknown or when there are several."""
        shape = self._shapes[0] if self._shapes is not None else None
        return shape if isinstance(shape, tuple) else None

    def _check_input(self, x: Any) -> Any:
        """Arrays for a model with one input, with a clear word to the one who forgot the batch axis."""
        expected = self._expected_input()
        if expected is None or not is_array_like(x) or isinstance(x, dict):
            return x
        if isinstance(x, list | tuple):
            x = np.asarray(x)
        shape = np.shape(x)
        if len(shape) == len(expected) - 1:
            raise ValueError(
                f"Model {self.name!r} expected a batch of shape {expected}. Received: one sample of shape {shape}; "
                "pass x[None] for a batch of one"
            )
        return x

    @staticmethod
    def _check_labels(y: Any) -> None:
        for part in flatten_structure(y):
            values = part.numpy() if isinstance(part, Tensor) else np.asarray(part) if is_array_like(part) else None
            if values is not None and values.dtype.kind == "f" and np.isnan(values).any():
                first = int(np.argmax(np.isnan(values).reshape(len(values), -1).any(axis=1))) if values.ndim else 0
                raise ValueError(f"Labels must be numbers. Received: NaN, first in sample {first}")


def _concatenate(parts: list[Any]) -> Any:
    """Join the outputs of batches along the batch axis, for any structure of outputs."""
    if isinstance(parts[0], dict):
        return {key: _concatenate([part[key] for part in parts]) for key in parts[0]}
    if isinstance(parts[0], list):
        return [_concatenate([part[i] for part in parts]) for i in range(len(parts[0]))]
    return np.concatenate(parts)
