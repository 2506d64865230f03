"""Metrics: what is reported, exact over all samples seen since the last reset, and classification reports.

Metrics are computed by NumPy on the host, with totals in float64, and are not differentiable. Letters: batch ``N``,
classes or values ``C``; ``...`` are further axes.

Sources: names and definitions of Keras 3; reports and confusion matrices as scikit-learn made them until version 0.19.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import losses
from tinyconv.registry import Configurable, Registry, serialize, set_name
from tinyconv.tensor import Tensor, no_grad


class Metric(Configurable):
    """Base of all metrics: a subclass defines ``update_state``, ``result`` and ``reset_state``.

    A constructor keeps its arguments as attributes, then calls ``super().__init__(name)``, which resets the state.

    Parameters
    ----------
    name : str, optional
        Key in logs and in the history; made from the class name by default.

    Examples
    --------
    >>> import numpy as np
    >>> from tinyconv.metrics import Metric
    >>> class Largest(Metric):
    ...     def reset_state(self):
    ...         self.value = 0.0
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.value = max(self.value, np.max(y_pred))
    ...     def result(self):
    ...         return float(self.value)
    >>> largest = Largest()
    >>> largest.update_state(None, [0.2, 0.7])
    >>> largest.name, largest.result()
    ('largest', 0.7)
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account.

        Parameters
        ----------
        y_true, y_pred : array_like or Tensor
            Truth and predictions.
        sample_weight : array_like, shape (N,), optional
            How much each sample counts.
        """
        raise NotImplementedError(f"{type(self).__name__} must define update_state(y_true, y_pred, sample_weight)")

    def result(self) -> Any:
        """The metric over all batches since the last reset: a float (an array where there are several values)."""
        raise NotImplementedError(f"{type(self).__name__} must define result()")

    def reset_state(self) -> None:
        """Forget all batches."""
        raise NotImplementedError(f"{type(self).__name__} must define reset_state()")

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Take a batch into account and return the result so far."""
        self.update_state(*args, **options)
        return self.result()


registry = Registry("metric", Metric)


def get(identifier: Any) -> Metric:
    """The metric that ``identifier`` means.

    Parameters
    ----------
    identifier : str, dict, callable, class or Metric
        A name (``"mse"``, ``"AUC"``), which also becomes the metric's ``name``; a configuration as ``serialize`` gives
        it; a function ``(y_true, y_pred) -> values`` whose mean is meant; or the metric itself. What ``"accuracy"``
        means depends on the loss: see :func:`resolve_accuracy`.

    Examples
    --------
    >>> from tinyconv import metrics
    >>> metrics.get("mse"), metrics.get("mse").name
    (MeanSquaredError(), 'mse')
    """
    if isinstance(identifier, losses.Loss):
        return MeanMetricWrapper(identifier.call, identifier.name)
    if callable(identifier) and not isinstance(identifier, type | Metric):
        if getattr(identifier, "__module__", None) in (__name__, losses.__name__):
            return registry.get(identifier.__name__)  # the function forms have classes of the same name
        return MeanMetricWrapper(identifier)
    if isinstance(identifier, str) and not isinstance(found := registry.find(identifier), type):
        return MeanMetricWrapper(found, identifier)  # a function that its author registered
    metric = registry.get(identifier)
    if isinstance(identifier, str):
        metric.name = identifier
    return metric


def resolve_accuracy(loss: Any, output_shape: Sequence[int | None], name: str = "accuracy") -> Metric:
    """The accuracy that Keras means by ``"accuracy"``, from the loss and the shape of the predictions.

    Binary losses and outputs of one unit: element by element (also for two one-hot units). Sparse losses: class numbers
    against the largest output. All others: the largest output against the largest label.

    Parameters
    ----------
    loss : str, Loss, callable or None
    output_shape : tuple
        Of the predictions, batch axis first.
    name : str
        Of the metric: ``"accuracy"`` or ``"acc"``.

    Examples
    --------
    >>> from tinyconv.metrics import resolve_accuracy
    >>> resolve_accuracy("binary_crossentropy", (None, 2)), resolve_accuracy("categorical_crossentropy", (None, 2))
    (BinaryAccuracy(), CategoricalAccuracy())
    """
    loss = None if loss is None else losses.get(loss)
    binary = isinstance(loss, losses.BinaryCrossentropy | losses.BinaryFocalCrossentropy)
    sparse = isinstance(loss, losses.SparseCategoricalCrossentropy | losses.InfoNCE)
    if binary or (not sparse and (len(output_shape) < 2 or output_shape[-1] == 1)):
        return BinaryAccuracy(name, threshold=0.0 if getattr(loss, "from_logits", False) else 0.5)
    if sparse:
        return SparseCategoricalAccuracy(name)
    if loss is None or isinstance(loss, losses.LossFunctionWrapper):
        return MeanMetricWrapper(_accuracy_by_shape, name)
    return CategoricalAccuracy(name)


# --- means -----------------------------------------------------------------------------------------------------


@registry.register()
class Mean(Metric):
    """Weighted mean of all values.

    Examples
    --------
    >>> from tinyconv.metrics import Mean
    >>> mean = Mean()
    >>> mean.update_state([1.0, 3.0])
    >>> mean.update_state(8.0, sample_weight=2)
    >>> mean.result()
    5.0
    """

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take values of any shape into account, each with its weight."""
        values = _host(values, np.float64)
        if sample_weight is None:
            self.total += float(values.sum())
            self.count += values.size
        else:
            weights = _weights(sample_weight, values.shape, self.name)
            self.total += float((values * weights).sum())
            self.count += float(weights.sum())

    def result(self) -> float:
        return self.total / self.count if self.count else 0.0

    def reset_state(self) -> None:
        self.total, self.count = 0.0, 0.0


@registry.register()
class Sum(Mean):
    """Weighted sum of all values."""

    def result(self) -> float:
        return self.total


@registry.register()
class MeanMetricWrapper(Mean):
    """Mean over all samples of a function ``fn(y_true, y_pred, **settings)`` that gives one value per sample.

    Examples
    --------
    >>> from tinyconv.metrics import MeanMetricWrapper
    >>> MeanMetricWrapper(lambda y_true, y_pred: abs(y_true - y_pred), "gap")([1.0, 2.0], [1.0, 4.0])
    1.0
    """

    def __init__(self, fn: Callable[..., Any] | str, name: str | None = None, **settings: Any) -> None:
        self.fn = _function_of(fn) if isinstance(fn, str) else fn
        self.settings = settings
        super().__init__(name or getattr(self.fn, "__name__", None))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        with no_grad():
            values = self.fn(_host(y_true), _host(y_pred), **self.settings)
        super().update_state(values, sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {"fn": serialize(self.fn), "name": self.name, **self.settings}


def _function_of(name: str) -> Callable[..., Any]:
    """The function that ``MeanMetricWrapper.get_config`` named."""
    found = registry.find(name)
    return found.function if isinstance(found, type) and issubclass(found, _MeanOf) else found


class _MeanOf(Mean):
    """Mean over all samples of ``function(y_true, y_pred)``, computed in float64."""

    function: Callable[..., Any]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        with no_grad():
            values = self.function(_host(y_true), _host(y_pred, np.float64), **self._settings())
        super().update_state(values, sample_weight)

    def _settings(self) -> dict[str, Any]:
        return {}


# --- accuracy --------------------------------------------------------------------------------------------------


def accuracy(y_true: Any, y_pred: Any) -> np.ndarray:
    """Mean over the last axis of ``y_true == y_pred``: (N, ..., C) -> (N, ...), and (N,) stays (N,)."""
    y_true, y_pred = _same_shape(y_true, y_pred, "accuracy")
    return _last_mean(y_true == y_pred)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> np.ndarray:
    """Mean over the last axis of ``y_true == (y_pred > threshold)``: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = _same_shape(y_true, y_pred, "binary_accuracy")
    return _last_mean(y_true == (y_pred > threshold))


def categorical_accuracy(y_true: Any, y_pred: Any) -> np.ndarray:
    """1 where the largest prediction is at the largest label, else 0: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = _same_shape(y_true, y_pred, "categorical_accuracy")
    return (y_true.argmax(-1) == y_pred.argmax(-1)).astype(np.float64)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> np.ndarray:
    """1 where the largest prediction is at the class number ``y_true``: (N, ...), (N, ..., C) -> (N, ...)."""
    labels, y_pred = _class_numbers(y_true, y_pred, "sparse_categorical_accuracy")
    return (labels == y_pred.argmax(-1)).astype(np.float64)


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> np.ndarray:
    """1 where the true class (of one-hot rows) is among the ``k`` largest predictions: (N, ..., C) -> (N, ...)."""
    y_true, y_pred = _same_shape(y_true, y_pred, "top_k_categorical_accuracy")
    return _in_top_k(y_true.argmax(-1), y_pred, k)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> np.ndarray:
    """1 where the class number is among the ``k`` largest predictions: (N, ...), (N, ..., C) -> (N, ...)."""
    return _in_top_k(*_class_numbers(y_true, y_pred, "sparse_top_k_categorical_accuracy"), k)


def _in_top_k(labels: np.ndarray, y_pred: np.ndarray, k: int) -> np.ndarray:
    """Fewer than ``k`` predictions are larger than the true class's; NaN is never right."""
    chosen = np.take_along_axis(y_pred, labels[..., None].astype(np.intp), -1)
    return (((y_pred > chosen).sum(-1) < k) & ~np.isnan(chosen[..., 0])).astype(np.float64)


def _accuracy_by_shape(y_true: Any, y_pred: Any) -> np.ndarray:
    one_hot = np.shape(y_true) == np.shape(y_pred)
    return categorical_accuracy(y_true, y_pred) if one_hot else sparse_categorical_accuracy(y_true, y_pred)


@registry.register()
class Accuracy(_MeanOf):
    """How often predictions equal labels.

    Examples
    --------
    >>> from tinyconv.metrics import Accuracy
    >>> Accuracy()([1, 2, 3, 4], [0, 2, 3, 4])
    0.75
    """

    function = staticmethod(accuracy)


@registry.register()
class BinaryAccuracy(_MeanOf):
    """How often predictions above ``threshold`` meet labels 1 and others labels 0, element by element.

    Examples
    --------
    >>> from tinyconv.metrics import BinaryAccuracy
    >>> BinaryAccuracy()([[1], [0], [1], [1]], [[0.9], [0.2], [0.3], [0.6]])
    0.75
    """

    function = staticmethod(binary_accuracy)

    def __init__(self, name: str | None = None, threshold: float = 0.5) -> None:
        self.threshold = threshold
        super().__init__(name)

    def _settings(self) -> dict[str, Any]:
        return {"threshold": self.threshold}


@registry.register()
class CategoricalAccuracy(_MeanOf):
    """How often the largest of C predictions is at the 1 of a one-hot label."""

    function = staticmethod(categorical_accuracy)


@registry.register()
class SparseCategoricalAccuracy(_MeanOf):
    """How often the largest of C predictions is at the class number.

    Examples
    --------
    >>> from tinyconv.metrics import SparseCategoricalAccuracy
    >>> SparseCategoricalAccuracy()([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0.0]])
    0.5
    """

    function = staticmethod(sparse_categorical_accuracy)


@registry.register()
class TopKCategoricalAccuracy(_MeanOf):
    """How often the true class (one-hot) is among the ``k`` largest predictions."""

    function = staticmethod(top_k_categorical_accuracy)

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        self.k = k
        super().__init__(name)

    def _settings(self) -> dict[str, Any]:
        return {"k": self.k}


@registry.register()
class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """How often the class number is among the ``k`` largest predictions.

    Examples
    --------
    >>> from tinyconv.metrics import SparseTopKCategoricalAccuracy
    >>> SparseTopKCategoricalAccuracy(k=2)([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.0, 0.95]])
    0.5
    """

    function = staticmethod(sparse_top_k_categorical_accuracy)


# --- losses as metrics -----------------------------------------------------------------------------------------


@registry.register("mse")
class MeanSquaredError(_MeanOf):
    """Mean of :func:`tinyconv.losses.mean_squared_error` over all samples."""

    function = staticmethod(losses.mean_squared_error)


@registry.register("rmse")
class RootMeanSquaredError(_MeanOf):
    """Square root of the mean squared error over all samples.

    Examples
    --------
    >>> from tinyconv.metrics import RootMeanSquaredError
    >>> RootMeanSquaredError()([0.0, 0.0], [1.0, 7.0])
    5.0
    """

    function = staticmethod(losses.mean_squared_error)

    def result(self) -> float:
        return float(np.sqrt(super().result()))


@registry.register("mae")
class MeanAbsoluteError(_MeanOf):
    """Mean of :func:`tinyconv.losses.mean_absolute_error` over all samples."""

    function = staticmethod(losses.mean_absolute_error)


@registry.register("mape")
class MeanAbsolutePercentageError(_MeanOf):
    """Mean of :func:`tinyconv.losses.mean_absolute_percentage_error` over all samples."""

    function = staticmethod(losses.mean_absolute_percentage_error)


@registry.register("msle")
class MeanSquaredLogarithmicError(_MeanOf):
    """Mean of :func:`tinyconv.losses.mean_squared_logarithmic_error` over all samples."""

    function = staticmethod(losses.mean_squared_logarithmic_error)


@registry.register("log_cosh")
class LogCoshError(_MeanOf):
    """Mean of :func:`tinyconv.losses.log_cosh` over all samples."""

    function = staticmethod(losses.log_cosh)


@registry.register()
class Huber(_MeanOf):
    """Mean of :func:`tinyconv.losses.huber` over all samples."""

    function = staticmethod(losses.huber)

    def __init__(self, delta: float = 1.0, name: str | None = None) -> None:
        self.delta = delta
        super().__init__(name)

    def _settings(self) -> dict[str, Any]:
        return {"delta": self.delta}


@registry.register()
class Poisson(_MeanOf):
    """Mean of :func:`tinyconv.losses.poisson` over all samples."""

    function = staticmethod(losses.poisson)


@registry.register("kld", "kullback_leibler_divergence")
class KLDivergence(_MeanOf):
    """Mean of :func:`tinyconv.losses.kl_divergence` over all samples."""

    function = staticmethod(losses.kl_divergence)


@registry.register()
class Hinge(_MeanOf):
    """Mean of :func:`tinyconv.losses.hinge` over all samples."""

    function = staticmethod(losses.hinge)


@registry.register()
class SquaredHinge(_MeanOf):
    """Mean of :func:`tinyconv.losses.squared_hinge` over all samples."""

    function = staticmethod(losses.squared_hinge)


@registry.register()
class CategoricalHinge(_MeanOf):
    """Mean of :func:`tinyconv.losses.categorical_hinge` over all samples."""

    function = staticmethod(losses.categorical_hinge)


@registry.register("cosine_proximity")
class CosineSimilarity(_MeanOf):
    """Mean cosine of the angle between label and prediction (the loss of this name is its negative)."""

    function = staticmethod(losses.cosine_similarity)

    def __init__(self, name: str | None = None, axis: int = -1) -> None:
        self.axis = axis
        super().__init__(name)

    def _settings(self) -> dict[str, Any]:
        return {"axis": self.axis}

    def result(self) -> float:
        return -super().result() if self.count else 0.0


@registry.register("bce")
class BinaryCrossentropy(_MeanOf):
    """Mean of :func:`tinyconv.losses.binary_crossentropy` over all samples."""

    function = staticmethod(losses.binary_crossentropy)

    def __init__(
        self, name: str | None = None, from_logits: bool = False, label_smoothing: float = 0.0
    ) -> None:
        self.from_logits, self.label_smoothing = from_logits, label_smoothing
        super().__init__(name)

    def _settings(self) -> dict[str, Any]:
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}


@registry.register()
class CategoricalCrossentropy(_MeanOf):
    """Mean of :func:`tinyconv.losses.categorical_crossentropy` over all samples."""

    function = staticmethod(losses.categorical_crossentropy)

    def __init__(
        self,
        name: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis
        super().__init__(name)

    def _settings(self) -> dict[str, Any]:
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing, "axis": self.axis}


@registry.register()
class SparseCategoricalCrossentropy(_MeanOf):
    """Mean of :func:`tinyconv.losses.sparse_categorical_crossentropy` over all samples."""

    function = staticmethod(losses.sparse_categorical_crossentropy)

    def __init__(self, name: str | None = None, from_logits: bool = False, axis: int = -1) -> None:
        self.from_logits, self.axis = from_logits, axis
        super().__init__(name)

    def _settings(self) -> dict[str, Any]:
        return {"from_logits": self.from_logits, "axis": self.axis}


@registry.register("r2")
class R2Score(Metric):
    """``1 - sum((y_true - y_pred)**2) / sum((y_true - mean(y_true))**2)``, the share of the variance that is explained.

    Parameters
    ----------
    class_aggregation : str or None
        What to do with C outputs: ``"uniform_average"``, ``"variance_weighted_average"``, or ``None`` for all of them.
    name : str, optional

    Examples
    --------
    >>> from tinyconv.metrics import R2Score
    >>> round(R2Score()([[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]]), 5)
    0.57143
    """

    def __init__(self, class_aggregation: str | None = "uniform_average", name: str | None = "r2_score") -> None:
        _one_of("class_aggregation", class_aggregation, ("uniform_average", "variance_weighted_average", None))
        self.class_aggregation = class_aggregation
        super().__init__(name)

    def reset_state(self) -> None:
        self.count: Any = 0.0
        self.mean: Any = 0.0  # of y_true, per output
        self.spread: Any = 0.0  # sum of squared deviations from the mean
        self.residual: Any = 0.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = _same_shape(_host(y_true, np.float64), _host(y_pred, np.float64), self.name)
        y_true, y_pred = _rows(y_true), _rows(y_pred)
        weights = np.ones((len(y_true), 1)) if sample_weight is None else _host(sample_weight, np.float64)
        weights = weights.reshape(len(y_true), 1)
        added = weights.sum()
        if not added:
            return
        # Two groups are merged without cancellation. Source: T. Chan et al., "Updating formulae ...", 1979
        mean = (weights * y_true).sum(0) / added
        gap, count = mean - self.mean, self.count + added
        self.spread = self.spread + (weights * (y_true - mean) ** 2).sum(0) + gap**2 * (self.count * added / count)
        self.mean, self.count = self.mean + gap * (added / count), count
        self.residual = self.residual + (weights * (y_true - y_pred) ** 2).sum(0)

    def result(self) -> Any:
        spread, residual = np.atleast_1d(self.spread), np.atleast_1d(self.residual)
        scores = np.where(spread > 0, 1 - residual / np.where(spread > 0, spread, 1), np.where(residual > 0, 0.0, 1.0))
        if not self.count:
            return 0.0
        if self.class_aggregation is None:
            return scores
        weights = spread if self.class_aggregation == "variance_weighted_average" and spread.any() else None
        return float(np.average(scores, weights=weights))


# --- right and wrong positives ---------------------------------------------------------------------------------


class _ThresholdCounts(Metric):
    """Weighted numbers of true and false positives and negatives, at one or several ``thresholds``."""

    def __init__(self, thresholds: Any = None, name: str | None = None) -> None:
        self.thresholds = thresholds
        super().__init__(name)

    def reset_state(self) -> None:
        n = len(self._levels())
        self.true_positives, self.false_positives = np.zeros(n), np.zeros(n)
        self.true_negatives, self.false_negatives = np.zeros(n), np.zeros(n)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch; ``y_true`` and ``y_pred`` have one shape: (N,), or (N, C) for all classes together."""
        y_true, y_pred = _same_shape(_host(y_true), _host(y_pred, np.float64), self.name)
        weights = np.ones(y_true.shape)
        if sample_weight is not None:
            weights = np.broadcast_to(_weights(sample_weight, y_true.shape, self.name), y_true.shape)
        y_true, y_pred, weights = self._select(y_true, y_pred, weights)
        positive = y_pred.ravel() > np.asarray(self._levels())[:, None]  # (thresholds, elements)
        true = (weights * (y_true != 0)).ravel()
        false = weights.ravel() - true
        hits, alarms = positive @ true, positive @ false
        self.true_positives += hits
        self.false_positives += alarms
        self.false_negatives += true.sum() - hits
        self.true_negatives += false.sum() - alarms

    def _levels(self) -> Sequence[float]:
        thresholds = 0.5 if self.thresholds is None else self.thresholds
        return thresholds if isinstance(thresholds, list | tuple) else [thresholds]

    def _select(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any, Any]:
        return y_true, y_pred, weights

    def _ratio(self, part: np.ndarray, rest: np.ndarray) -> Any:
        """``part / (part + rest)``, 0 where both are 0."""
        return self._value(part / np.where(part + rest > 0, part + rest, 1))

    def _value(self, values: np.ndarray) -> Any:
        return values.copy() if isinstance(self.thresholds, list | tuple) else float(values[0])


class _ClassCounts(_ThresholdCounts):
    """The same, for one class or for the top predictions; parameters as for :class:`Precision`."""

    def __init__(
        self, thresholds: Any = None, top_k: int | None = None, class_id: int | None = None, name: str | None = None
    ) -> None:
        self.top_k, self.class_id = top_k, class_id
        super().__init__(thresholds, name)

    def _levels(self) -> Sequence[float]:
        return [-np.inf] if self.thresholds is None and self.top_k is not None else super()._levels()

    def _select(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any, Any]:
        if self.top_k is not None:
            rank = np.argsort(np.argsort(-y_pred, axis=-1, kind="stable"), axis=-1, kind="stable")
            y_pred = np.where(rank < self.top_k, y_pred, -np.inf)
        if self.class_id is None:
            return y_true, y_pred, weights
        return y_true[..., self.class_id], y_pred[..., self.class_id], weights[..., self.class_id]


@registry.register()
class Precision(_ClassCounts):
    """Share of the positive predictions that are right: ``TP / (TP + FP)``, 0 where there are none.

    Parameters
    ----------
    thresholds : float or list of float, optional
        Predictions above it are positive; 0.5 by default. A list gives an array of results.
    top_k : int, optional
        Instead of a threshold: the ``k`` largest predictions of each sample are positive.
    class_id : int, optional
        Count this class only, of predictions (N, C).
    name : str, optional

    Examples
    --------
    >>> from tinyconv.metrics import Precision
    >>> Precision()([0, 1, 1, 1], [0.9, 0.8, 0.2, 0.7])
    0.6666666666666666
    """

    def result(self) -> Any:
        return self._ratio(self.true_positives, self.false_positives)


@registry.register("sensitivity")
class Recall(_ClassCounts):
    """Share of the positive labels that are found: ``TP / (TP + FN)``, 0 where there are none.

    Parameters
    ----------
    thresholds, top_k, class_id, name
        As for :class:`Precision`.

    Examples
    --------
    >>> from tinyconv.metrics import Recall
    >>> Recall()([0, 1, 1, 1], [0.9, 0.8, 0.2, 0.7])
    0.6666666666666666
    """

    def result(self) -> Any:
        return self._ratio(self.true_positives, self.false_negatives)


@registry.register()
class Specificity(_ClassCounts):
    """Share of the negative labels that are recognised: ``TN / (TN + FP)``, 0 where there are none.

    Parameters
    ----------
    thresholds, top_k, class_id, name
        As for :class:`Precision`.

    Examples
    --------
    >>> from tinyconv.metrics import Specificity
    >>> Specificity()([0, 0, 1, 1], [0.9, 0.2, 0.8, 0.7])
    0.5
    """

    def result(self) -> Any:
        return self._ratio(self.true_negatives, self.false_positives)


@registry.register()
class TruePositives(_ThresholdCounts):
    """Weighted number of positive labels that were predicted positive.

    Parameters
    ----------
    thresholds, name
        As for :class:`Precision`.
    """

    def result(self) -> Any:
        return self._value(self.true_positives)


@registry.register()
class FalsePositives(_ThresholdCounts):
    """Weighted number of negative labels that were predicted positive.

    Parameters
    ----------
    thresholds, name
        As for :class:`Precision`.
    """

    def result(self) -> Any:
        return self._value(self.false_positives)


@registry.register()
class TrueNegatives(_ThresholdCounts):
    """Weighted number of negative labels that were predicted negative.

    Parameters
    ----------
    thresholds, name
        As for :class:`Precision`.
    """

    def result(self) -> Any:
        return self._value(self.true_negatives)


@registry.register()
class FalseNegatives(_ThresholdCounts):
    """Weighted number of positive labels that were predicted negative.

    Parameters
    ----------
    thresholds, name
        As for :class:`Precision`.
    """

    def result(self) -> Any:
        return self._value(self.false_negatives)


@registry.register()
class FBetaScore(Metric):
    """``(1 + beta**2) * P * R / (beta**2 * P + R)`` per class, P the precision and R the recall; 0 for 0/0.

    Parameters
    ----------
    average : {None, "micro", "macro", "weighted"}
        ``None``: one value per class, an array (C,). ``"macro"``: their mean. ``"weighted"``: their mean by number of
        true labels. ``"micro"``: from the counts of all classes together.
    beta : float
        Weight of recall against precision.
    threshold : float, optional
        Predictions above it are positive; by default the largest of each row is (above 0.5 where C is 1).
    name : str, optional

    Notes
    -----
    ``update_state`` takes labels and predictions of shape (N, C), or (N,) as one class.
    """

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
    ) -> None:
        _one_of("average", average, (None, "micro", "macro", "weighted"))
        self.average, self.beta, self.threshold = average, beta, threshold
        super().__init__(name)

    def reset_state(self) -> None:
        self.true_positives: Any = np.zeros(1)
        self.false_positives: Any = np.zeros(1)
        self.false_negatives: Any = np.zeros(1)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = _same_shape(_host(y_true), _host(y_pred, np.float64), self.name)
        y_true, y_pred = _rows(y_true), _rows(y_pred)
        classes = y_pred.shape[1]
        if self.threshold is None and classes > 1:
            positive = np.arange(classes) == y_pred.argmax(1)[:, None]
        else:
            positive = y_pred > (0.5 if self.threshold is None else self.threshold)
        true = y_true > 0.5
        weights = np.ones((1, 1)) if sample_weight is None else _host(sample_weight, np.float64).reshape(-1, 1)
        self.true_positives = self.true_positives + (weights * (true & positive)).sum(0)
        self.false_positives = self.false_positives + (weights * (~true & positive)).sum(0)
        self.false_negatives = self.false_negatives + (weights * (true & ~positive)).sum(0)

    def result(self) -> Any:
        tp, fp, fn = self.true_positives, self.false_positives, self.false_negatives
        if self.average == "micro":
            tp, fp, fn = (count.sum(keepdims=True) for count in (tp, fp, fn))
        divisor = (1 + self.beta**2) * tp + self.beta**2 * fn + fp
        scores = (1 + self.beta**2) * tp / np.where(divisor > 0, divisor, 1)
        if self.average is None:
            return scores
        weights = tp + fn if self.average == "weighted" and (tp + fn).any() else None
        return float(np.average(scores, weights=weights))


@registry.register("f1")
class F1Score(FBetaScore):
    """``2 * P * R / (P + R)`` per class: :class:`FBetaScore` with ``beta=1``.

    Parameters
    ----------
    average, threshold, name
        As for :class:`FBetaScore`.

    Examples
    --------
    >>> from tinyconv.metrics import F1Score
    >>> F1Score(average="macro")([[1, 0], [0, 1], [0, 1]], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    0.6666666666666666
    """

    def __init__(
        self, average: str | None = None, threshold: float | None = None, name: str | None = "f1_score"
    ) -> None:
        super().__init__(average, 1.0, threshold, name)


@registry.register()
class AUC(Metric):
    """Area under the ROC or precision-recall curve, exact: every score that occurs is a threshold.

    All predictions since the last reset are kept, 24 bytes each.

    Parameters
    ----------
    num_thresholds : int
        Accepted for Keras's sake; there are never too few thresholds here.
    curve : {"ROC", "PR"}
        True over false positive rate (equal to the chance that a positive sample scores above a negative one), or
        precision over recall, summed without interpolation (average precision).
    multi_label : bool
        Mean of the areas of the C columns, instead of one curve for all elements.
    name : str, optional

    Examples
    --------
    >>> from tinyconv.metrics import AUC
    >>> AUC()([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9])
    0.75
    """

    def __init__(
        self, num_thresholds: int = 200, curve: str = "ROC", multi_label: bool = False, name: str | None = "auc"
    ) -> None:
        _one_of("curve", curve, ("ROC", "PR"))
        self.num_thresholds, self.curve, self.multi_label = num_thresholds, curve, multi_label
        super().__init__(name)

    def reset_state(self) -> None:
        self._batches: list[tuple[np.ndarray, ...]] = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = _same_shape(_host(y_true), _host(y_pred, np.float64), self.name)
        weights = 1.0 if sample_weight is None else _weights(sample_weight, y_true.shape, self.name)
        columns = y_true.shape[-1] if self.multi_label and y_true.ndim > 1 else 1
        true = (y_true != 0) * weights
        false = (y_true == 0) * weights
        scores = y_pred.copy()  # the caller may reuse its array
        self._batches.append(tuple(a.reshape(-1, columns) for a in (scores, true, false)))

    def result(self) -> float:
        if not self._batches:
            return 0.0
        scores, true, false = (np.concatenate(parts) for parts in zip(*self._batches, strict=True))
        return float(np.mean([self._area(s, t, f) for s, t, f in zip(scores.T, true.T, false.T, strict=True)]))

    def _area(self, scores: np.ndarray, true: np.ndarray, false: np.ndarray) -> float:
        order = np.argsort(-scores, kind="stable")
        last = np.append(np.diff(scores[order]) != 0, True)  # equal scores are one threshold
        hits, alarms = (np.append(0.0, np.cumsum(weights[order])[last]) for weights in (true, false))
        if not hits[-1] or (self.curve == "ROC" and not alarms[-1]):
            return 0.0
        if self.curve == "PR":
            precision = hits[1:] / np.maximum(hits[1:] + alarms[1:], np.finfo(np.float64).tiny)
            return float(np.sum(np.diff(hits) * precision) / hits[-1])
        return float(np.sum(np.diff(alarms) * (hits[1:] + hits[:-1]) / 2) / (hits[-1] * alarms[-1]))


@registry.register()
class ConfusionMatrix(Metric):
    """Weighted number of samples of each class (row) that were taken for each class (column).

    Parameters
    ----------
    num_classes : int, optional
        By default as many as predictions have columns, or as class numbers occur.
    name : str, optional

    Notes
    -----
    ``update_state`` takes labels as class numbers (N,), (N, 1) or one-hot (N, C), and predictions (N, C), class numbers
    (N,), or probabilities (N,) or (N, 1) of class 1. ``result`` is an array (classes, classes).

    Examples
    --------
    >>> from tinyconv.metrics import ConfusionMatrix
    >>> ConfusionMatrix()([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """

    def __init__(self, num_classes: int | None = None, name: str | None = None) -> None:
        self.num_classes = num_classes
        super().__init__(name)

    def reset_state(self) -> None:
        self._counts = np.zeros((self.num_classes or 0, self.num_classes or 0))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = _host(y_true), _host(y_pred)
        columns = 2 if y_pred.ndim < 2 or y_pred.shape[1] == 1 else y_pred.shape[1]
        true, predicted = _as_classes(y_true), _as_classes(y_pred)
        if true.shape != predicted.shape:
            raise ValueError(
                f"{self.name} expected as many labels as predictions. Received: y_true of shape {y_true.shape}, "
                f"y_pred of shape {y_pred.shape}"
            )
        size = self.num_classes or max(columns, len(self._counts), *(1 + c.max(initial=-1) for c in (true, predicted)))
        for classes in (true, predicted):
            losses.check_labels(classes, size, self.name)
        weights = None if sample_weight is None else _host(sample_weight, np.float64).reshape(true.shape)
        counts = np.bincount(true * size + predicted, weights, size * size).reshape(size, size)
        grown = np.zeros((size, size))
        grown[: len(self._counts), : len(self._counts)] = self._counts
        self._counts = grown + counts

    def result(self) -> np.ndarray:
        return self._counts.copy()


def _as_classes(y: np.ndarray) -> np.ndarray:
    """Class numbers (N,) from class numbers, one-hot rows or scores (N, C), or probabilities of class 1."""
    if y.ndim > 1 and y.shape[-1] > 1:
        return y.argmax(-1).ravel()
    y = y.ravel()
    if y.dtype.kind == "f" and not (y == np.rint(y)).all():
        y = y > 0.5
    return y.astype(np.int64)


# --- reports ---------------------------------------------------------------------------------------------------


def confusion_matrix(y_true: Any, y_pred: Any, labels: Any = None) -> np.ndarray:
    """Number of samples of each class (row) that were taken for each class (column).

    Parameters
    ----------
    y_true, y_pred : array_like, shape (N,)
        Class numbers or names.
    labels : sequence, optional
        Classes to count, in this order; by default all that occur, sorted.

    Returns
    -------
    array of int, shape (C, C)

    Examples
    --------
    >>> from tinyconv.metrics import confusion_matrix
    >>> confusion_matrix(["cat", "dog", "dog"], ["cat", "dog", "cat"]).tolist()
    [[1, 0], [1, 1]]
    """
    y_true, y_pred, labels = _label_arrays(y_true, y_pred, labels)
    order = np.argsort(labels, kind="stable")
    places = []
    for values in (y_true, y_pred):
        at = np.searchsorted(labels[order], values).clip(0, len(labels) - 1)
        places.append(np.where(labels[order][at] == values, order[at], -1))
    true, predicted = places
    known = (true >= 0) & (predicted >= 0)
    n = len(labels)
    return np.bincount(true[known] * n + predicted[known], minlength=n * n).reshape(n, n)


def classification_report(
    y_true: Any, y_pred: Any, target_names: Sequence[str] | None = None, labels: Any = None, digits: int = 2
) -> str:
    """Precision, recall, F1 and number of samples of each class, and their means, as a table.

    The layout is that of scikit-learn until version 0.19, whose last row is ``avg / total``: means weighted by the
    number of samples. What would be 0/0 is 0, with a warning.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (N,)
        Class numbers or names; of one-hot rows take ``argmax(axis=1)`` first.
    target_names : sequence of str, optional
        Names to print, in the order of ``labels``.
    labels : sequence, optional
        Classes to report, in this order; by default all that occur, sorted.
    digits : int
        Decimals of the ratios.

    Examples
    --------
    >>> from tinyconv.metrics import classification_report
    >>> print(classification_report([0, 0, 1, 1, 1], [0, 1, 1, 1, 1], target_names=["cat", "dog"]))
                 precision    recall  f1-score   support
    <BLANKLINE>
            cat       1.00      0.50      0.67         2
            dog       0.75      1.00      0.86         3
    <BLANKLINE>
    avg / total       0.85      0.80      0.78         5
    <BLANKLINE>
    """
    y_true, y_pred, labels = _label_arrays(y_true, y_pred, labels)
    names = [str(label) for label in (labels if target_names is None else target_names)]
    if len(names) != len(labels):
        raise ValueError(
            f"classification_report expected one name for each of the {len(labels)} classes {labels.tolist()} (pass "
            f"labels= to report others as well). Received: {len(names)} target_names"
        )
    right = [int(((y_true == label) & (y_pred == label)).sum()) for label in labels]
    predicted = [int((y_pred == label).sum()) for label in labels]
    support = [int((y_true == label).sum()) for label in labels]
    precision = _quotients(right, predicted, names, "Precision", "no predicted samples")
    recall = _quotients(right, support, names, "Recall", "no true samples")
    f1 = [2 * p * r / (p + r) if p + r else 0.0 for p, r in zip(precision, recall, strict=True)]
    return _table(names, [precision, recall, f1], support, digits)


def _label_arrays(y_true: Any, y_pred: Any, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y_true, y_pred = _host(y_true), _host(y_pred)
    if y_true.ndim != 1 or y_true.shape != y_pred.shape:
        raise ValueError(
            "Expected y_true and y_pred of one shape (N,), with a class number or name per sample (of rows of "
            f"probabilities take argmax(axis=1)). Received: shapes {y_true.shape} and {y_pred.shape}"
        )
    found = np.unique(np.concatenate([y_true, y_pred])) if labels is None else np.asarray(labels)
    return y_true, y_pred, found


def _quotients(
    parts: list[int], wholes: list[int], names: list[str], what: str, reason: str
) -> list[float]:
    undefined = [name for name, whole in zip(names, wholes, strict=True) if not whole]
    if undefined:
        warnings.warn(f"{what} is set to 0.0 for classes with {reason}: {', '.join(undefined)}", stacklevel=3)
    return [part / whole if whole else 0.0 for part, whole in zip(parts, wholes, strict=True)]


def _table(names: list[str], columns: list[list[float]], support: list[int], digits: int) -> str:
    """The report's text: names right-aligned, then columns of 9 characters."""
    last = "avg / total"
    width = max(*map(len, names), len(last), digits) if names else max(len(last), digits)

    def row(name: str, *cells: str) -> str:
        return f"{name:>{width}}  " + " ".join(f"{cell:>9}" for cell in cells) + "\n"

    def numbers(name: str, values: list[float], count: int) -> str:
        return row(name, *(f"{value:.{digits}f}" for value in values), str(count))

    total = sum(support)
    means = [sum(v * n for v, n in zip(column, support, strict=True)) / total if total else 0.0 for column in columns]
    lines = [row("", "precision", "recall", "f1-score", "support"), "\n"]
    lines += [numbers(name, list(values), n) for name, n, *values in zip(names, support, *columns, strict=True)]
    return "".join([*lines, "\n", numbers(last, means, total)])


# --- helpers ---------------------------------------------------------------------------------------------------


for _function in (
    accuracy, binary_accuracy, categorical_accuracy, sparse_categorical_accuracy, top_k_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
):  # fmt: skip
    set_name(_function, _function.__name__)  # in files, a function is the class of the same name


def _host(values: Any, dtype: Any = None) -> np.ndarray:
    """``values`` as a NumPy array in host memory."""
    return np.asarray(values.numpy() if isinstance(values, Tensor) else values, dtype)


def _rows(values: np.ndarray) -> np.ndarray:
    """One row per sample: (N,) -> (N, 1), (N, ..., C) -> (N, ... * C)."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _same_shape(y_true: Any, y_pred: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    y_true, y_pred = _host(y_true), _host(y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"{name} expected y_true of the shape of y_pred, {y_pred.shape}. Received: y_true of shape {y_true.shape}"
        )
    return y_true, y_pred


def _class_numbers(y_true: Any, y_pred: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers (N, ...) and predictions (N, ..., C)."""
    labels, y_pred = _host(y_true), _host(y_pred)
    if labels.shape == (*y_pred.shape[:-1], 1):
        labels = labels[..., 0]
    if labels.shape != y_pred.shape[:-1]:
        raise ValueError(
            f"{name} expected class numbers of shape {y_pred.shape[:-1]} for y_pred of shape {y_pred.shape}. "
            f"Received: y_true of shape {labels.shape}"
        )
    losses.check_labels(labels, y_pred.shape[-1], name)
    return labels, y_pred


def _weights(sample_weight: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Weights of the samples, for each of the values of ``shape``."""
    weights = _host(sample_weight, np.float64)
    given = weights.shape
    if len(given) == len(shape) + 1 and given[-1] == 1:
        given = given[:-1]
    given = (*given, *[1] * (len(shape) - len(given)))
    if len(given) != len(shape) or any(n not in (1, size) for n, size in zip(given, shape, strict=True)):
        raise ValueError(f"{name} expected sample_weight of shape {shape[:1]} or {shape}. Received: {weights.shape}")
    return np.broadcast_to(weights.reshape(given), shape)


def _last_mean(right: np.ndarray) -> np.ndarray:
    """Share of right values in each sample; a single axis is the batch."""
    return right.mean(-1, dtype=np.float64) if right.ndim > 1 else right.astype(np.float64)


def _one_of(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}. Received: {value!r}")
