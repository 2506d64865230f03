"""Metrics: what is reported, exact over all samples seen since the last reset, and classification reports.

Metrics are computed by NumPy on the host, with totals in float64, and are not differentiable. Letters: batch ``N``,
classes or values ``C``; ``...`` are further axes.

Sources: names and definitions of Keras 3; reports and confusion matrices as in scikit-learn.
"""

from tinyconv.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    resolve_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from tinyconv.metrics.base import Mean, MeanMetricWrapper, Metric, Sum, deserialize, get, registry
from tinyconv.metrics.confusion import BalancedAccuracy, CohenKappa, ConfusionMatrix, MatthewsCorrelation, MeanIoU
from tinyconv.metrics.counts import (
    F1Score,
    FalseNegatives,
    FalsePositives,
    FBetaScore,
    Precision,
    Recall,
    Specificity,
    TrueNegatives,
    TruePositives,
)
from tinyconv.metrics.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    Hinge,
    KLDivergence,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from tinyconv.metrics.curves import (
    AUC,
    PrecisionAtRecall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
)
from tinyconv.metrics.regression import (
    CosineSimilarity,
    Huber,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    R2Score,
    RootMeanSquaredError,
)
from tinyconv.metrics.report import classification_report, confusion_matrix
from tinyconv.registry import serialize

__all__ = [
    "AUC", "Accuracy", "BalancedAccuracy", "BinaryAccuracy", "BinaryCrossentropy", "CategoricalAccuracy",
    "CategoricalCrossentropy", "CategoricalHinge", "CohenKappa", "ConfusionMatrix", "CosineSimilarity", "F1Score",
    "FBetaScore", "FalseNegatives", "FalsePositives", "Hinge", "Huber", "KLDivergence", "LogCoshError",
    "MatthewsCorrelation", "Mean", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanIoU", "MeanMetricWrapper",
    "MeanSquaredError", "MeanSquaredLogarithmicError", "Metric", "Poisson", "Precision", "PrecisionAtRecall",
    "R2Score", "Recall", "RecallAtPrecision", "RootMeanSquaredError", "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy", "SparseTopKCategoricalAccuracy", "Specificity",
    "SpecificityAtSensitivity", "SquaredHinge", "Sum", "TopKCategoricalAccuracy", "TrueNegatives", "TruePositives",
    "accuracy", "binary_accuracy", "categorical_accuracy", "classification_report", "confusion_matrix", "deserialize",
    "get", "registry", "resolve_accuracy", "serialize", "sparse_categorical_accuracy",
    "sparse_top_k_categorical_accuracy", "top_k_categorical_accuracy",
]  # fmt: skip
