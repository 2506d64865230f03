"""What a model is compiled with, matched to its outputs: a loss and metrics for each."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

from tinyconv import losses, metrics, registry
from tinyconv.masking import mask_of
from tinyconv.metrics.crossentropy import resolve_crossentropy
from tinyconv.tensor import Tensor


class Objective:
    """Losses and metrics of one or several outputs.

    Parameters
    ----------
    loss : str, callable, Loss, or list / dict of them
        One for all outputs, or one per output, by position or by output name.
    metrics, weighted_metrics : list, or list of lists / dict of lists
        Metrics for the only output, or for each output; of several outputs, each gets all of a list whose length is not
        their number. ``weighted_metrics`` use the sample weights.
    loss_weights : list or dict, optional
        Factor of each output's loss in the total.
    """

    def __init__(
        self, loss: Any, metrics: Any = None, weighted_metrics: Any = None, loss_weights: Any = None
    ) -> None:
        if registry.objects_in_scope():  # load_model's custom_objects: gone when the first batch comes
            loss = _each(losses.get, loss)
            metrics, weighted_metrics = (_each(lambda m: _metric(m) or m, part) for part in (metrics, weighted_metrics))
        self.loss, self.metrics = loss, metrics
        self.weighted_metrics, self.loss_weights = weighted_metrics, loss_weights
        for found, wanted in ((losses.get, [loss]), (_metric, [metrics, weighted_metrics])):
            for name in _leaves(wanted):  # a wrong name shows at once, not in the first step
                found(name)
        self.loss_mean = _mean("loss")
        self._fed = self._total()
        self.latest: list[Tensor] = []  # losses that the averages have not seen yet
        self.samples = 0
        self._outputs: list[_Output] | None = None

    def parts(self) -> list[Any]:
        """Losses of all outputs, as given."""
        return _leaves(self.loss)

    def compared(self, names: list[str]) -> list[str]:
        """Which of the outputs have a loss or metrics, for which labels are needed."""
        parts = [_per_output(getattr(self, key), names, key) for key in ("loss", "metrics", "weighted_metrics")]
        return [name for name, *wanted in zip(names, *parts, strict=True) if any(w not in (None, []) for w in wanted)]

    def _match(self, predictions: list[Tensor], names: list[str]) -> list[_Output]:
        """Losses and metrics of each output, settled when the first predictions show what the outputs are."""
        if self._outputs is None:
            several = len(names) > 1
            parts = {
                key: _per_output(getattr(self, key), names, key)
                for key in ("loss", "metrics", "weighted_metrics", "loss_weights")
            }
            alone = sum(loss is not None for loss in parts["loss"]) < 2  # then it is the total
            self._outputs = [
                _Output(name, prediction, several, alone, *(parts[key][i] for key in parts))
                for i, (name, prediction) in enumerate(zip(names, predictions, strict=True))
            ]
        return self._outputs

    def compute_loss(
        self, y_true: list[Any], y_pred: list[Tensor], weights: list[Any], names: list[str], extra: list[Tensor]
    ) -> Tensor:
        """Weighted sum of the outputs' losses and of ``extra`` penalties; the averages see it with the next results."""
        self._average()
        outputs = self._match(y_pred, names)
        if len(y_true) != len(outputs):
            raise ValueError(f"Expected labels for outputs {names}. Received: {len(y_true)} label arrays")
        total: Tensor | None = None
        values: list[Tensor] = []
        for output, y, p, w in zip(outputs, y_true, y_pred, weights, strict=True):
            if output.loss is None:
                continue
            value = output.compute_loss(y, p, w)
            values.append(value)
            value = value * output.weight if output.weight != 1 else value
            total = value if total is None else total + value
        for penalty in extra:
            total = penalty if total is None else total + penalty
        if total is None:
            raise ValueError("There is nothing to minimise: compile the model with a loss, or call add_loss in a layer")
        self.latest = [total, *values]
        self.samples = len(y_pred[0])
        return total

    @property
    def loss_means(self) -> list[Any]:
        """Averages of the total, then of the outputs' losses where there are several outputs."""
        outputs = (output.loss_mean for output in self._outputs or [])
        return [self.loss_mean, *(mean for mean in outputs if mean is not None)]

    def _average(self) -> None:
        """Feed the averages with the latest losses, total first, then those of the outputs that have one."""
        if self.latest:
            means = [output.loss_mean for output in self._outputs or [] if output.loss is not None]
            total = self.loss_mean if self._fed == self._total() else None  # else a train_step feeds it by itself
            for mean, value in zip([total, *means], self.latest, strict=False):  # the total may be alone
                if mean is not None:
                    mean._add(value.item(), self.samples)
            self.latest = []
        self._fed = self._total()

    def _total(self) -> tuple[float, float]:
        return self.loss_mean.total, self.loss_mean.count

    def update_metrics(self, y_true: list[Any], y_pred: list[Tensor], weights: list[Any], names: list[str]) -> None:
        """Feed every metric with a batch."""
        for output, y, p, w in zip(self._match(y_pred, names), y_true, y_pred, weights, strict=True):
            if y is None:
                continue
            values = p.numpy() if mask_of(p) is None else p
            for metric in output.metrics.values():
                metric.update_state(y, values)
            for metric in output.weighted_metrics.values():
                metric.update_state(y, values, sample_weight=w)

    def results(self) -> dict[str, float]:
        """Current value of the loss and of every metric, by name."""
        self._average()
        found = {"loss": self.loss_mean.result()}
        outputs = self._outputs or []
        for output in outputs:
            if output.loss_mean is not None:
                found[f"{output.name}_loss"] = output.loss_mean.result()
        for output in outputs:
            for name, metric in (*output.metrics.items(), *output.weighted_metrics.items()):
                value = metric.result()
                found.update(value if isinstance(value, dict) else {name: value})
        return {name: float(value) if getattr(value, "ndim", 0) == 0 else value for name, value in found.items()}

    def reset(self) -> None:
        """Forget the past batches."""
        self.latest = []
        self.loss_mean.reset_state()
        self._fed = self._total()
        for output in self._outputs or []:
            for metric in (*output.metrics.values(), *output.weighted_metrics.values(), output.loss_mean):
                if metric is not None:
                    metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        """Arguments as plain data."""
        keys = ("loss", "metrics", "weighted_metrics", "loss_weights")
        return {key: registry.serialize(getattr(self, key)) for key in keys}


class CompiledMetrics:
    """All compiled metrics of a model as one, for a ``train_step`` of one's own: see ``Model.metrics``."""

    name = "compile_metrics"

    def __init__(self, model: Any, objective: Objective) -> None:
        self._model, self._objective = model, objective

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Feed every metric with a batch of labels and predictions, of all outputs."""
        predictions, labels, weights = self._model._per_output(y_pred, y_true, sample_weight)
        self._objective.update_metrics(labels, predictions, weights, self._model._output_names(y_pred))

    def result(self) -> dict[str, Any]:
        """Current value of every metric, by name."""
        losses = {mean.name for mean in self._objective.loss_means}
        return {name: value for name, value in self._objective.results().items() if name not in losses}

    def reset_state(self) -> None:
        """Forget the past batches, those of the losses too."""
        self._objective.reset()


class _Output:
    """Loss and metrics (by the names under which they are reported) of one output."""

    def __init__(
        self, name: str, prediction: Tensor, several: bool, alone: bool, loss: Any, own: Any, weighted: Any, weight: Any
    ) -> None:
        self.name = name
        self.loss = None if loss is None else losses.get(loss)
        self.loss_mean = None if alone or loss is None else _mean(f"{name}_loss")
        self.weight = 1 if weight is None else float(weight)
        prefix = f"{name}_" if several else ""
        self.metrics: dict[str, Any] = {}
        for metric in self._metrics(own, prediction, several):
            self.metrics[_unique(prefix + metric.name, self.metrics)] = metric
        self.weighted_metrics: dict[str, Any] = {}
        for metric in self._metrics(weighted, prediction, several):
            taken = "weighted_" if prefix + metric.name in self.metrics else ""
            self.weighted_metrics[_unique(prefix + taken + metric.name, self.weighted_metrics)] = metric

    def _metrics(self, wanted: Any, prediction: Tensor, several: bool) -> list[Any]:
        made = []
        for metric in _as_list(wanted):
            if isinstance(metric, str) and metric in _RESOLVED:
                made.append(_RESOLVED[metric](self.loss, prediction.shape, metric))
            elif several and isinstance(metric, metrics.Metric):  # every output has a state of its own
                made.append(copy.deepcopy(metric))
                made[-1].reset_state()
            else:
                made.append(metrics.get(metric))
        return made

    def compute_loss(self, y_true: Any, y_pred: Tensor, weights: Any) -> Tensor:
        """The loss of a batch; errors name the output."""
        assert self.loss is not None
        try:
            return self.loss(y_true, y_pred, weights)
        except (ValueError, TypeError) as error:
            problem = "Received: no labels" if y_true is None else error
            raise ValueError(f"Loss {self.loss.name!r} of output {self.name!r}: {problem}") from error


def _unique(name: str, taken: dict[str, Any]) -> str:
    """``precision``, ``precision_1``, ...: two metrics of one kind are both reported."""
    numbers = (f"{name}_{i}" if i else name for i in itertools.count())
    return next(candidate for candidate in numbers if candidate not in taken)


# Which accuracy or cross-entropy is meant depends on the loss and on the output, as in Keras.
_RESOLVED: dict[str, Callable[..., Any]] = {
    "accuracy": metrics.resolve_accuracy,
    "acc": metrics.resolve_accuracy,
    "crossentropy": resolve_crossentropy,
    "ce": resolve_crossentropy,
}


def _metric(identifier: Any) -> Any:
    return None if isinstance(identifier, str) and identifier in _RESOLVED else metrics.get(identifier)


def _leaves(wanted: Any) -> list[Any]:
    """Names, configurations and objects in lists and dictionaries of them."""
    if isinstance(wanted, list | tuple) or (isinstance(wanted, dict) and "class_name" not in wanted):
        entries = wanted.values() if isinstance(wanted, dict) else wanted
        return [leaf for entry in entries for leaf in _leaves(entry)]
    return [] if wanted is None else [wanted]


def _each(function: Callable[[Any], Any], wanted: Any) -> Any:
    """``function`` of every leaf, in the same lists and dictionaries."""
    if isinstance(wanted, list | tuple):
        return [_each(function, entry) for entry in wanted]
    if isinstance(wanted, dict) and "class_name" not in wanted:
        return {key: _each(function, entry) for key, entry in wanted.items()}
    return None if wanted is None else function(wanted)


def _mean(name: str) -> Any:
    return metrics.Mean(name=name)


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _per_output(value: Any, names: list[str], what: str) -> list[Any]:
    """One entry per output from a single value, a list by position or a dictionary by name."""
    if isinstance(value, dict) and "class_name" not in value:
        unknown = sorted(set(value) - set(names))
        if unknown:
            raise ValueError(f"{what} must name outputs {names}. Received: {unknown}")
        return [value.get(name) for name in names]
    if len(names) == 1:
        single = isinstance(value, list | tuple) and len(value) == 1
        return [value[0] if single else value]
    if isinstance(value, list | tuple):
        if len(value) == len(names):
            return list(value)
        if what not in ("loss", "loss_weights") and not _nested(value):
            return [value] * len(names)
        raise ValueError(f"{what} must have one entry per output {names}. Received: {len(value)} entries")
    return [value] * len(names)


def _nested(value: Any) -> bool:
    return any(isinstance(entry, list | tuple) or entry is None for entry in value)
