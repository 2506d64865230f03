"""Metrics of scores at every threshold: areas under curves, and the best point of a curve.

They are exact: every score that occurs is a threshold. All predictions since the last reset are kept, 24 bytes each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv.checks import fraction, one_of
from tinyconv.metrics.base import Metric, host, of_class, registry, same_shape, weights_of


class _Curve(Metric):
    """Keeps scores, and counts what is above each threshold."""

    class_id: int | None = None  # the only column that counts

    def reset_state(self) -> None:
        self._batches: list[tuple[np.ndarray, ...]] = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = same_shape(host(y_true), host(y_pred, self.dtype), self.name)
        weights = weights_of(1.0 if sample_weight is None else sample_weight, y_true.shape, self.name)
        y_true, y_pred, weights = of_class(self.class_id, self.name, y_true, y_pred, weights)
        columns = self._columns(y_true.shape)
        true, false = (y_true != 0) * weights, (y_true == 0) * weights
        scores = y_pred.copy()  # the caller may reuse its array
        self._batches.append(tuple(a.reshape(-1, columns) for a in (scores, true, false)))

    def _columns(self, shape: tuple[int, ...]) -> int:
        """How many curves there are, one for each entry of the last axis, or a single one for all elements."""
        return 1

    def _counts(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each curve, the weights of true and of false positives at all thresholds, from the highest down."""
        if not any(len(scores) for scores, _, _ in self._batches):
            return []
        scores, true, false = (np.concatenate(parts) for parts in zip(*self._batches, strict=True))
        order = np.argsort(-scores, axis=0, kind="stable")  # a merge, where all but the last batch are in order
        columns = [np.take_along_axis(values, order, axis=0) for values in (scores, true, false)]
        self._batches = [tuple(columns)]  # in order, for the next time: fit asks after every batch
        return [_cumulated(*column) for column in zip(*(values.T for values in columns), strict=True)]


def _cumulated(scores: np.ndarray, true: np.ndarray, false: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    last = np.append(np.diff(scores) != 0, True)  # equal scores are one threshold
    hits, alarms = (np.append(0.0, np.cumsum(weights)[last]) for weights in (true, false))
    return hits, alarms


@registry.register()
class AUC(_Curve):
    """Area under the ROC or precision-recall curve, exact: (N, ...), (N, ...) -> float.

    Parameters
    ----------
    num_thresholds, summation_method, thresholds
        Accepted for the sake of Keras, which approximates areas; here every score that occurs is a threshold.
    curve : {"ROC", "PR"}
        True over false positive rate (equal to the chance that a positive sample scores above a negative one), or
        precision over recall, summed without interpolation (average precision).
    name, dtype
        As for :class:`tinyconv.metrics.Metric`.
    multi_label : bool
        Mean of the areas of the C columns of (N, C), instead of one curve for all elements.
    num_labels : int, optional
        C, where it is to be checked.
    label_weights : sequence of float, length C, optional
        Weights of the columns in that mean.
    from_logits : bool
        Accepted for Keras's sake: only the order of the predictions counts.

    Examples
    --------
    >>> from tinyconv.metrics import AUC
    >>> AUC()([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9])
    0.75
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = "auc",
        dtype: Any = "float64",
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        self.num_thresholds, self.thresholds = num_thresholds, thresholds
        self.curve = one_of("curve", curve, ("ROC", "PR"))
        self.summation_method = one_of("summation_method", summation_method, ("interpolation", "majoring", "minoring"))
        self.multi_label, self.num_labels = multi_label, num_labels
        self.label_weights, self.from_logits = label_weights, from_logits
        super().__init__(name, dtype)

    def _columns(self, shape: tuple[int, ...]) -> int:
        columns = shape[-1] if self.multi_label and len(shape) > 1 else 1
        if self.num_labels not in (None, columns):
            raise ValueError(f"{self.name} expected num_labels={self.num_labels} columns. Received: shape {shape}")
        return columns

    def result(self) -> float:
        areas = [self._area(hits, alarms) for hits, alarms in self._counts()]
        return float(np.average(areas, weights=self.label_weights)) if areas else 0.0

    def _area(self, hits: np.ndarray, alarms: np.ndarray) -> float:
        if not hits[-1] or (self.curve == "ROC" and not alarms[-1]):
            return 0.0
        if self.curve == "PR":
            precision = hits[1:] / np.maximum(hits[1:] + alarms[1:], np.finfo(np.float64).tiny)
            return float(np.sum(np.diff(hits) * precision) / hits[-1])
        return float(np.sum(np.diff(alarms) * (hits[1:] + hits[:-1]) / 2) / (hits[-1] * alarms[-1]))


class _BestPoint(_Curve):
    """Largest value of one ratio among the thresholds at which another one is large enough; 0 where there is none."""

    needed: str  # the attribute that says how large
    pair: tuple[str, str]  # the ratio that is maximised, and the one that must be large enough

    def __init__(self, num_thresholds: int, class_id: int | None, name: str | None, dtype: Any) -> None:
        self.num_thresholds, self.class_id = num_thresholds, class_id
        super().__init__(name, dtype)

    def result(self) -> float:
        for hits, alarms in self._counts():
            ratios = {
                "precision": _divided(hits, hits + alarms),
                "sensitivity": _divided(hits, hits[-1]),
                "specificity": _divided(alarms[-1] - alarms, alarms[-1]),
            }
            wanted, limited = (ratios[name] for name in self.pair)
            return float(np.max(wanted, initial=0.0, where=limited >= getattr(self, self.needed)))
        return 0.0


def _divided(part: np.ndarray, whole: Any) -> np.ndarray:
    return part / np.where(whole > 0, whole, 1.0)


@registry.register()
class PrecisionAtRecall(_BestPoint):
    """Best precision among the thresholds with at least the given recall: (N, ...), (N, ...) -> float.

    Parameters
    ----------
    recall : float in [0, 1]
    num_thresholds : int
        Accepted for Keras's sake; there are never too few thresholds here.
    class_id : int, optional
        Count this class only, of predictions (N, C).
    name, dtype
        As for :class:`tinyconv.metrics.Metric`.

    Examples
    --------
    >>> from tinyconv.metrics import PrecisionAtRecall
    >>> PrecisionAtRecall(0.8)([0, 0, 1, 1, 1], [0.0, 0.5, 0.3, 0.7, 0.9])
    0.75
    """

    needed, pair = "recall", ("precision", "sensitivity")

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = "float64",
    ) -> None:
        self.recall = fraction("recall", recall)
        super().__init__(num_thresholds, class_id, name, dtype)


@registry.register()
class RecallAtPrecision(_BestPoint):
    """Best recall among the thresholds with at least the given precision: (N, ...), (N, ...) -> float.

    Parameters
    ----------
    precision : float in [0, 1]
    num_thresholds, class_id, name, dtype
        As for :class:`PrecisionAtRecall`.

    Examples
    --------
    >>> from tinyconv.metrics import RecallAtPrecision
    >>> RecallAtPrecision(0.9)([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9])
    0.5
    """

    needed, pair = "precision", ("sensitivity", "precision")

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = "float64",
    ) -> None:
        self.precision = fraction("precision", precision)
        super().__init__(num_thresholds, class_id, name, dtype)


@registry.register()
class SensitivityAtSpecificity(_BestPoint):
    """Best sensitivity among the thresholds with at least the given specificity: (N, ...), (N, ...) -> float.

    Parameters
    ----------
    specificity : float in [0, 1]
    num_thresholds, class_id, name, dtype
        As for :class:`PrecisionAtRecall`.

    Examples
    --------
    >>> from tinyconv.metrics import SensitivityAtSpecificity
    >>> SensitivityAtSpecificity(0.5)([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9])
    1.0
    """

    needed, pair = "specificity", ("sensitivity", "specificity")

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = "float64",
    ) -> None:
        self.specificity = fraction("specificity", specificity)
        super().__init__(num_thresholds, class_id, name, dtype)


@registry.register()
class SpecificityAtSensitivity(_BestPoint):
    """Best specificity among the thresholds with at least the given sensitivity: (N, ...), (N, ...) -> float.

    Parameters
    ----------
    sensitivity : float in [0, 1]
    num_thresholds, class_id, name, dtype
        As for :class:`PrecisionAtRecall`.

    Examples
    --------
    >>> from tinyconv.metrics import SpecificityAtSensitivity
    >>> SpecificityAtSensitivity(0.9)([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9])
    0.5
    """

    needed, pair = "sensitivity", ("specificity", "sensitivity")

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = "float64",
    ) -> None:
        self.sensitivity = fraction("sensitivity", sensitivity)
        super().__init__(num_thresholds, class_id, name, dtype)
