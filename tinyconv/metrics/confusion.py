"""Metrics of the table that counts which class was taken for which."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import losses
from tinyconv.checks import one_of
from tinyconv.metrics.base import Metric, host, registry, weights_of


@registry.register()
class ConfusionMatrix(Metric):
    """Weighted number of samples of each class (row) that were taken for each class (column).

    Parameters
    ----------
    num_classes : int, optional
        By default as many as predictions have columns, or as class numbers occur.
    name, dtype
        As for :class:`tinyconv.metrics.Metric`; class numbers are compared whatever the dtype.

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

    def __init__(
        self, num_classes: int | None = None, name: str | None = None, dtype: Any = "float64"
    ) -> None:
        self.num_classes = num_classes
        super().__init__(name, dtype)

    def reset_state(self) -> None:
        self._counts = np.zeros((self.num_classes or 0, self.num_classes or 0))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = host(y_true), host(y_pred)
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
        weights = None if sample_weight is None else weights_of(sample_weight, true.shape, self.name)
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


@registry.register()
class BalancedAccuracy(ConfusionMatrix):
    """Mean of the classes' recalls, which a large class does not dominate; classes without samples are left out.

    Parameters
    ----------
    num_classes, name, dtype
        As for :class:`ConfusionMatrix`, which also tells the shapes.
    adjusted : bool
        Scale so that guessing gives 0 and only right answers give 1; 0 where there is a single class.

    Examples
    --------
    >>> from tinyconv.metrics import BalancedAccuracy
    >>> BalancedAccuracy()([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """

    def __init__(
        self,
        num_classes: int | None = None,
        adjusted: bool = False,
        name: str | None = None,
        dtype: Any = "float64",
    ) -> None:
        self.adjusted = adjusted
        super().__init__(num_classes, name, dtype)

    def result(self) -> Any:
        support = self._counts.sum(1)
        recalls = np.diag(self._counts)[support > 0] / support[support > 0]
        if not len(recalls):
            return 0.0
        if not self.adjusted:
            return float(recalls.mean())
        chance = 1 / len(recalls)
        return float((recalls.mean() - chance) / (1 - chance)) if len(recalls) > 1 else 0.0


@registry.register()
class CohenKappa(ConfusionMatrix):
    """``1 - sum(w * counts) / sum(w * expected)``: agreement beyond chance; 0 for guessing, 1 for only right answers.

    ``expected`` are the counts that independent labels and predictions of the same frequencies would have. Where all
    is of a single class, the result is 0.

    Parameters
    ----------
    num_classes : int, optional
        As for :class:`ConfusionMatrix`, which also tells the shapes.
    weightage : {None, "linear", "quadratic"}
        How bad it is to take class i for class j: w is 1 for i != j, ``|i - j|`` or ``(i - j)**2``.
    name, dtype
        As for :class:`ConfusionMatrix`.

    Source: J. Cohen, "A coefficient of agreement for nominal scales", 1960.

    Examples
    --------
    >>> from tinyconv.metrics import CohenKappa
    >>> CohenKappa()([0, 0, 1, 1], [0, 1, 1, 1])
    0.5
    """

    def __init__(
        self,
        num_classes: int | None = None,
        weightage: str | None = None,
        name: str | None = None,
        dtype: Any = "float64",
    ) -> None:
        self.weightage = one_of("weightage", weightage, (None, "linear", "quadratic"))
        super().__init__(num_classes, name, dtype)

    def result(self) -> Any:
        counts, classes = self._counts, np.arange(len(self._counts))
        gap = np.abs(classes[:, None] - classes)
        costs = {None: gap > 0, "linear": gap, "quadratic": gap**2}[self.weightage]
        expected = np.outer(counts.sum(1), counts.sum(0)) / max(counts.sum(), 1e-300)
        chance = float((costs * expected).sum())
        return 1 - float((costs * counts).sum()) / chance if chance else 0.0


@registry.register("mcc")
class MatthewsCorrelation(ConfusionMatrix):
    """Correlation of labels and predictions, for any number of classes: 0 for guessing, 1 for only right answers.

    Parameters
    ----------
    num_classes, name, dtype
        As for :class:`ConfusionMatrix`, which also tells the shapes.

    Source: J. Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004.

    Examples
    --------
    >>> from tinyconv.metrics import MatthewsCorrelation
    >>> round(MatthewsCorrelation()([0, 0, 1, 1], [0, 1, 1, 1]), 6)
    0.57735
    """

    def result(self) -> Any:
        true, predicted, total = self._counts.sum(1), self._counts.sum(0), self._counts.sum()
        covariance = np.trace(self._counts) * total - true @ predicted
        spread = (total**2 - true @ true) * (total**2 - predicted @ predicted)
        return float(covariance / np.sqrt(spread)) if spread > 0 else 0.0


@registry.register()
class MeanIoU(Metric):
    """Mean over the classes of intersection over union, ``TP / (TP + FP + FN)``: how well segmentations overlap.

    Classes that occur neither in labels nor in predictions are left out.

    Parameters
    ----------
    num_classes : int
    name, dtype
        As for :class:`ConfusionMatrix`.
    ignore_class : int, optional
        Pixels with this label do not count.
    sparse_y_true, sparse_y_pred : bool
        Whether labels and predictions are class numbers (N, ...), or one-hot or scores with ``num_classes`` values
        along ``axis``.
    axis : int

    Examples
    --------
    >>> from tinyconv.metrics import MeanIoU
    >>> round(MeanIoU(num_classes=2)([[0, 0], [1, 1]], [[0, 1], [1, 1]]), 6)  # (1/2 + 2/3) / 2
    0.583333
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = "float64",
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        self.num_classes, self.ignore_class = num_classes, ignore_class
        self.sparse_y_true, self.sparse_y_pred, self.axis = sparse_y_true, sparse_y_pred, axis
        super().__init__(name, dtype)

    def reset_state(self) -> None:
        self._counts = np.zeros((self.num_classes, self.num_classes))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = host(y_true), host(y_pred)
        true = y_true if self.sparse_y_true else y_true.argmax(self.axis)
        predicted = y_pred if self.sparse_y_pred else y_pred.argmax(self.axis)
        if true.shape != predicted.shape:
            raise ValueError(
                f"{self.name} expected class numbers of one shape. Received: {true.shape} from y_true of shape "
                f"{y_true.shape}, {predicted.shape} from y_pred of shape {y_pred.shape}"
            )
        weights = weights_of(1.0 if sample_weight is None else sample_weight, true.shape, self.name)
        counts = np.ones(true.shape, bool) if self.ignore_class is None else true != self.ignore_class
        true, predicted, weights = true[counts], predicted[counts], weights[counts]
        for classes in (true, predicted):
            losses.check_labels(classes, self.num_classes, self.name)
        places = true.astype(np.int64) * self.num_classes + predicted.astype(np.int64)
        self._counts += np.bincount(places, weights, self.num_classes**2).reshape(self._counts.shape)

    def result(self) -> float:
        right = np.diag(self._counts)
        union = self._counts.sum(0) + self._counts.sum(1) - right
        return float((right[union > 0] / union[union > 0]).mean()) if union.any() else 0.0
