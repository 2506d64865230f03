"""Metrics of numbers: means of the losses of the same names, and the share of the variance that is explained."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tinyconv import losses
from tinyconv.checks import integer, one_of
from tinyconv.metrics.base import MeanOf, Metric, host, registry, rows, same_shape, weights_of


@registry.register("mse")
class MeanSquaredError(MeanOf):
    """Mean of :func:`tinyconv.losses.mean_squared_error` over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import MeanSquaredError
    >>> MeanSquaredError()([[0.0], [0.0]], [[1.0], [3.0]])
    5.0
    """

    function = staticmethod(losses.mean_squared_error)


@registry.register("rmse")
class RootMeanSquaredError(MeanOf):
    """Square root of the mean squared error over all samples: (N, ..., C), (N, ..., C) -> float.

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
class MeanAbsoluteError(MeanOf):
    """Mean of :func:`tinyconv.losses.mean_absolute_error` over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import MeanAbsoluteError
    >>> MeanAbsoluteError()([[0.0], [0.0]], [[1.0], [3.0]])
    2.0
    """

    function = staticmethod(losses.mean_absolute_error)


@registry.register("mape")
class MeanAbsolutePercentageError(MeanOf):
    """Mean of :func:`tinyconv.losses.mean_absolute_percentage_error`.

    Over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import MeanAbsolutePercentageError
    >>> MeanAbsolutePercentageError()([[2.0], [4.0]], [[1.0], [5.0]])
    37.5
    """

    function = staticmethod(losses.mean_absolute_percentage_error)


@registry.register("msle")
class MeanSquaredLogarithmicError(MeanOf):
    """Mean of :func:`tinyconv.losses.mean_squared_logarithmic_error`.

    Over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import MeanSquaredLogarithmicError
    >>> round(MeanSquaredLogarithmicError()([[0.0]], [[1.718282]]), 6)
    1.0
    """

    function = staticmethod(losses.mean_squared_logarithmic_error)


@registry.register("log_cosh")
class LogCoshError(MeanOf):
    """Mean of :func:`tinyconv.losses.log_cosh` over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import LogCoshError
    >>> round(LogCoshError()([[0.0]], [[1.0]]), 6)
    0.433781
    """

    function = staticmethod(losses.log_cosh)
    short_name = "logcosh"  # Keras's


@registry.register()
class Huber(MeanOf):
    """Mean of :func:`tinyconv.losses.huber` over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import Huber
    >>> Huber(delta=1.0)([0.0, 0.0], [0.5, 3.0])
    1.3125
    """

    function = staticmethod(losses.huber)

    def __init__(self, delta: float = 1.0, name: str | None = None, dtype: Any = "float64") -> None:
        self.delta = delta
        super().__init__(name, dtype)


@registry.register()
class Poisson(MeanOf):
    """Mean of :func:`tinyconv.losses.poisson` over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import Poisson
    >>> round(Poisson()([[2.0]], [[1.0]]), 6)
    1.0
    """

    function = staticmethod(losses.poisson)


@registry.register("cosine_proximity")
class CosineSimilarity(MeanOf):
    """Mean cosine of the angle between label and prediction (the loss of this name is its negative).

    (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import CosineSimilarity
    >>> round(CosineSimilarity()([[1.0, 0.0]], [[3.0, 4.0]]), 6)
    0.6
    """

    function = staticmethod(losses.cosine_similarity)

    def __init__(self, name: str | None = None, dtype: Any = "float64", axis: int = -1) -> None:
        self.axis = axis
        super().__init__(name, dtype)

    def result(self) -> float:
        return -super().result() if self.count else 0.0


@registry.register("r2")
class R2Score(Metric):
    """``1 - sum((y_true - y_pred)**2) / sum((y_true - mean(y_true))**2)``, the share of the variance that is explained.

    (N, C), (N, C) -> float, or an array (C,) without aggregation; (N,) is one output.

    Parameters
    ----------
    class_aggregation : str or None
        What to do with C outputs: ``"uniform_average"``, ``"variance_weighted_average"``, or ``None`` for all of them.
    num_regressors : int
        p, number of inputs that predictions were made from, for the adjusted score
        ``1 - (1 - R2) * (N - 1) / (N - p - 1)``. 0 gives the plain score, as do p + 1 samples and fewer, with a
        warning.
    name, dtype
        As for :class:`tinyconv.metrics.Metric`.

    Examples
    --------
    >>> from tinyconv.metrics import R2Score
    >>> round(R2Score()([[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]]), 5)
    0.57143
    """

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = "float64",
    ) -> None:
        known = ("uniform_average", "variance_weighted_average", None)
        self.class_aggregation = one_of("class_aggregation", class_aggregation, known)
        self.num_regressors = integer("num_regressors", num_regressors, 0)
        super().__init__(name, dtype)

    def reset_state(self) -> None:
        self.samples = 0
        self.count: Any = 0.0  # sum of the weights
        self.mean: Any = 0.0  # of y_true, per output
        self.spread: Any = 0.0  # sum of squared deviations from the mean
        self.residual: Any = 0.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = same_shape(host(y_true, self.dtype), host(y_pred, self.dtype), self.name)
        y_true, y_pred = rows(y_true), rows(y_pred)
        weights = weights_of(1.0 if sample_weight is None else sample_weight, y_true.shape[:1], self.name)[:, None]
        self.samples += len(y_true)
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
            return self._adjusted(scores)
        weights = spread if self.class_aggregation == "variance_weighted_average" and spread.any() else None
        return float(self._adjusted(np.average(scores, weights=weights)))

    def _adjusted(self, scores: Any) -> Any:
        """The score that takes into account how many inputs there were to predict from."""
        if not self.num_regressors:
            return scores
        left = self.samples - 1 - self.num_regressors
        if left > 0:
            return 1 - (1 - scores) * ((self.samples - 1) / left)
        reason = "More independent predictors than datapoints" if left < 0 else "Division by zero"
        warnings.warn(f"{reason} in Adjusted R2 score. Falling back to standard R2 score.", stacklevel=3)
        return scores
