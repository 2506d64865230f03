"""Metrics of right and wrong positives: precision, recall, specificity, F scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv.checks import one_of
from tinyconv.metrics.base import Metric, host, of_class, registry, rows, same_shape, weights_of


class _ThresholdCounts(Metric):
    """Weighted numbers of true and false positives and negatives, at one or several ``thresholds``."""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = "float64") -> None:
        self.thresholds = thresholds.tolist() if isinstance(thresholds, np.ndarray) else thresholds
        super().__init__(name, dtype)

    def reset_state(self) -> None:
        n = len(self._levels())
        self.true_positives, self.false_positives = np.zeros(n), np.zeros(n)
        self.true_negatives, self.false_negatives = np.zeros(n), np.zeros(n)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch; ``y_true`` and ``y_pred`` have one shape: (N,), or (N, C) for all classes together."""
        y_true, y_pred = same_shape(host(y_true), host(y_pred, self.dtype), self.name)
        weights = weights_of(1.0 if sample_weight is None else sample_weight, y_true.shape, self.name)
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

    def _select(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, ...]:
        return y_true, y_pred, weights

    def _ratio(self, part: np.ndarray, rest: np.ndarray) -> Any:
        """``part / (part + rest)``, 0 where both are 0."""
        return self._value(part / np.where(part + rest > 0, part + rest, 1))

    def _value(self, values: np.ndarray) -> Any:
        return values.copy() if isinstance(self.thresholds, list | tuple) else float(values[0])


class _ClassCounts(_ThresholdCounts):
    """The same, for one class or for the top predictions; parameters as for :class:`Precision`."""

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = "float64",
    ) -> None:
        self.top_k, self.class_id = top_k, class_id
        super().__init__(thresholds, name, dtype)

    def _levels(self) -> Sequence[float]:
        return [-np.inf] if self.thresholds is None and self.top_k is not None else super()._levels()

    def _select(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, ...]:
        if self.top_k is not None:
            rank = np.argsort(np.argsort(-y_pred, axis=-1, kind="stable"), axis=-1, kind="stable")
            y_pred = np.where(rank < self.top_k, y_pred, -np.inf)
        return of_class(self.class_id, self.name, y_true, y_pred, weights)


@registry.register()
class Precision(_ClassCounts):
    """Share of the positive predictions that are right: ``TP / (TP + FP)``, 0 where there are none.

    (N, ...), (N, ...) -> float, or an array (thresholds,).

    Parameters
    ----------
    thresholds : float or list of float, optional
        Predictions above it are positive; 0.5 by default. A list gives an array of results.
    top_k : int, optional
        Instead of a threshold: the ``k`` largest predictions of each sample are positive.
    class_id : int, optional
        Count this class only, of predictions (N, C).
    name, dtype
        As for :class:`tinyconv.metrics.Metric`.

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

    (N, ...), (N, ...) -> float, or an array (thresholds,).

    Parameters
    ----------
    thresholds, top_k, class_id, name, dtype
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

    (N, ...), (N, ...) -> float, or an array (thresholds,).

    Parameters
    ----------
    thresholds, top_k, class_id, name, dtype
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

    (N, ...), (N, ...) -> float, or an array (thresholds,).

    Parameters
    ----------
    thresholds, name, dtype
        As for :class:`Precision`.

    Examples
    --------
    >>> from tinyconv.metrics import TruePositives
    >>> TruePositives()([0, 1, 1, 1, 0, 0], [0.9, 0.8, 0.2, 0.7, 0.1, 0.3])
    2.0
    """

    def result(self) -> Any:
        return self._value(self.true_positives)


@registry.register()
class FalsePositives(_ThresholdCounts):
    """Weighted number of negative labels that were predicted positive.

    (N, ...), (N, ...) -> float, or an array (thresholds,).

    Parameters
    ----------
    thresholds, name, dtype
        As for :class:`Precision`.

    Examples
    --------
    >>> from tinyconv.metrics import FalsePositives
    >>> FalsePositives()([0, 1, 1, 1, 0, 0], [0.9, 0.8, 0.2, 0.7, 0.1, 0.3])
    1.0
    """

    def result(self) -> Any:
        return self._value(self.false_positives)


@registry.register()
class TrueNegatives(_ThresholdCounts):
    """Weighted number of negative labels that were predicted negative.

    (N, ...), (N, ...) -> float, or an array (thresholds,).

    Parameters
    ----------
    thresholds, name, dtype
        As for :class:`Precision`.

    Examples
    --------
    >>> from tinyconv.metrics import TrueNegatives
    >>> TrueNegatives()([0, 1, 1, 1, 0, 0], [0.9, 0.8, 0.2, 0.7, 0.1, 0.3])
    2.0
    """

    def result(self) -> Any:
        return self._value(self.true_negatives)


@registry.register()
class FalseNegatives(_ThresholdCounts):
    """Weighted number of positive labels that were predicted negative.

    (N, ...), (N, ...) -> float, or an array (thresholds,).

    Parameters
    ----------
    thresholds, name, dtype
        As for :class:`Precision`.

    Examples
    --------
    >>> from tinyconv.metrics import FalseNegatives
    >>> FalseNegatives()([0, 1, 1, 1, 0, 0], [0.9, 0.8, 0.2, 0.7, 0.1, 0.3])
    1.0
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
    name, dtype
        As for :class:`tinyconv.metrics.Metric`.

    Notes
    -----
    ``update_state`` takes labels and predictions of shape (N, C), or (N,) as one class.

    Examples
    --------
    >>> from tinyconv.metrics import FBetaScore
    >>> FBetaScore(average="macro", beta=2.0)([[1, 0], [0, 1], [0, 1]], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    0.6944444444444444
    """

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = "float64",
    ) -> None:
        self.average = one_of("average", average, (None, "micro", "macro", "weighted"))
        self.beta, self.threshold = beta, threshold
        super().__init__(name, dtype)

    def reset_state(self) -> None:
        self.true_positives: Any = np.zeros(1)
        self.false_positives: Any = np.zeros(1)
        self.false_negatives: Any = np.zeros(1)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = same_shape(host(y_true), host(y_pred, self.dtype), self.name)
        y_true, y_pred = rows(y_true), rows(y_pred)
        classes = y_pred.shape[1]
        if self.threshold is None and classes > 1:
            positive = np.arange(classes) == y_pred.argmax(1)[:, None]
        else:
            positive = y_pred > (0.5 if self.threshold is None else self.threshold)
        true = y_true > 0.5
        weights = weights_of(1.0 if sample_weight is None else sample_weight, y_true.shape, self.name)
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
    """``2 * P * R / (P + R)`` per class: :class:`FBetaScore` (which tells the shapes) with ``beta=1``.

    Parameters
    ----------
    average, threshold, name, dtype
        As for :class:`FBetaScore`.

    Examples
    --------
    >>> from tinyconv.metrics import F1Score
    >>> F1Score(average="macro")([[1, 0], [0, 1], [0, 1]], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    0.6666666666666666
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = "float64",
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)
