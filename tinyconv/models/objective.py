"""What a model is compiled with, matched to its outputs: a loss and metrics for each."""

from __future__ import annotations

from typing import Any

from tinyconv import losses, metrics
from tinyconv.tensor import Tensor


class Objective:
    """Losses and metrics of one or several outputs.

    Parameters
    ----------
    loss : str, callable, Loss, or list / dict of them
        One for all outputs, or one per output, by position or by output name.
    metrics, weighted_metrics : list, or list of lists / dict of lists
        Metrics for the only output, or for each output. ``weighted_metrics`` use the sample weights.
    loss_weights : list or dict, optional
        Factor of each output's loss in the total.
    """

    def __init__(
        self, loss: Any, metrics: Any = None, weighted_metrics: Any = None, loss_weights: Any = None
    ) -> None:
        self.loss, self.metrics = loss, metrics
        self.weighted_metrics, self.loss_weights = weighted_metrics, loss_weights
        self.loss_mean = _mean("loss")
        self._outputs: list[_Output] | None = None

    def _match(self, predictions: list[Tensor], names: list[str]) -> list[_Output]:
        """Losses and metrics of each output, settled when the first predictions show what the outputs are."""
        if self._outputs is None:
            several = len(names) > 1
            parts = {
                key: _per_output(getattr(self, key), names, key)
                for key in ("loss", "metrics", "weighted_metrics", "loss_weights")
            }
            self._outputs = [
                _Output(name, prediction, several, *(parts[key][i] for key in parts))
                for i, (name, prediction) in enumerate(zip(names, predictions, strict=True))
            ]
        return self._outputs

    def compute_loss(
        self, y_true: list[Any], y_pred: list[Tensor], weights: list[Any], names: list[str], extra: list[Tensor]
    ) -> Tensor:
        """Weighted sum of the outputs' losses and of ``extra`` penalties; also feeds the loss averages."""
        outputs = self._match(y_pred, names)
        if len(y_true) != len(outputs):
            raise ValueError(f"Expected labels for outputs {names}. Received: {len(y_true)} label arrays")
        total: Tensor | None = None
        for output, y, p, w in zip(outputs, y_true, y_pred, weights, strict=True):
            if output.loss is None:
                continue
            value = output.loss(y, p, w)
            if output.loss_mean is not None:
                output.loss_mean.update_state(value.item(), sample_weight=len(p))
            value = value * output.weight if output.weight != 1 else value
            total = value if total is None else total + value
        for penalty in extra:
            total = penalty if total is None else total + penalty
        if total is None:
            raise ValueError("There is nothing to minimise: compile the model with a loss, or call add_loss in a layer")
        self.loss_mean.update_state(total.item(), sample_weight=len(y_pred[0]))
        return total

    def update_metrics(self, y_true: list[Any], y_pred: list[Tensor], weights: list[Any], names: list[str]) -> None:
        """Feed every metric with a batch."""
        for output, y, p, w in zip(self._match(y_pred, names), y_true, y_pred, weights, strict=True):
            values = p.numpy()
            for metric in output.metrics:
                metric.update_state(y, values)
            for metric in output.weighted_metrics:
                metric.update_state(y, values, sample_weight=w)

    def results(self) -> dict[str, float]:
        """Current value of the loss and of every metric, by name."""
        found = {"loss": self.loss_mean.result()}
        outputs = self._outputs or []
        for output in outputs:
            if output.loss_mean is not None:
                found[f"{output.name}_loss"] = output.loss_mean.result()
        for output in outputs:
            for metric in (*output.metrics, *output.weighted_metrics):
                found[output.prefix + metric.name] = metric.result()
        return {name: float(value) if getattr(value, "ndim", 0) == 0 else value for name, value in found.items()}

    def reset(self) -> None:
        """Forget the past batches."""
        self.loss_mean.reset_state()
        for output in self._outputs or []:
            for metric in (*output.metrics, *output.weighted_metrics, *filter(None, [output.loss_mean])):
                metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        """Arguments as plain data."""
        from tinyconv import registry

        keys = ("loss", "metrics", "weighted_metrics", "loss_weights")
        return {key: registry.serialize(getattr(self, key)) for key in keys}


class _Output:
    """Loss, metrics and their names for one output."""

    def __init__(
        self, name: str, prediction: Tensor, several: bool, loss: Any, own: Any, weighted: Any, weight: Any
    ) -> None:
        self.name = name
        self.prefix = f"{name}_" if several else ""
        self.loss = None if loss is None else losses.get(loss)
        self.loss_mean = _mean(f"{name}_loss") if several and loss is not None else None
        self.weight = 1 if weight is None else float(weight)
        self.metrics = [self._metric(m, prediction) for m in _as_list(own)]
        self.weighted_metrics = [self._metric(m, prediction) for m in _as_list(weighted)]

    def _metric(self, metric: Any, prediction: Tensor) -> Any:
        if metric in ("accuracy", "acc"):  # which accuracy depends on the loss and on the output, as in Keras
            made = metrics.resolve_accuracy(self.loss, prediction.shape)
            made.name = metric
            return made
        return metrics.get(metric)


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
        single = what in ("loss", "loss_weights") and isinstance(value, list | tuple) and len(value) == 1
        return [value[0] if single else value]
    if isinstance(value, list | tuple):
        if len(value) == len(names) and (what in ("loss", "loss_weights") or _nested(value)):
            return list(value)
        if what not in ("loss", "loss_weights") and not _nested(value):
            return [value] * len(names)
        raise ValueError(f"{what} must have one entry per output {names}. Received: {len(value)} entries")
    return [value] * len(names)


def _nested(value: Any) -> bool:
    return any(isinstance(entry, list | tuple) or entry is None for entry in value)
