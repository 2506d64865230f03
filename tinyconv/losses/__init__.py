"""Losses: how far predictions are from the truth, as functions per sample and as objects that give one number.

``mean_squared_error(y_true, y_pred)`` gives one loss per sample; ``MeanSquaredError()(y_true, y_pred)`` the mean over
the batch. Everything is made of differentiable operations, so gradients of any order flow. Letters: batch ``N``,
classes or values ``C``; ``...`` are further axes, such as the height and width of a segmentation.

Sources: formulas and names of Keras 3; others are named where they are used.
"""

from tinyconv.losses.base import Loss, LossFunctionWrapper, check_labels, deserialize, get, registry
from tinyconv.losses.contrastive import ContrastiveLoss, InfoNCE, TripletLoss, contrastive, infonce, triplet
from tinyconv.losses.crossentropy import (
    BCE,
    KLD,
    BinaryCrossentropy,
    CategoricalCrossentropy,
    KLDivergence,
    SparseCategoricalCrossentropy,
    bce,
    binary_crossentropy,
    categorical_crossentropy,
    kl_divergence,
    kld,
    kullback_leibler_divergence,
    sparse_categorical_crossentropy,
)
from tinyconv.losses.focal import (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    binary_focal_crossentropy,
    categorical_focal_crossentropy,
)
from tinyconv.losses.hinge import CategoricalHinge, Hinge, SquaredHinge, categorical_hinge, hinge, squared_hinge
from tinyconv.losses.regression import (
    MAE,
    MAPE,
    MSE,
    MSLE,
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    cosine_similarity,
    huber,
    log_cosh,
    logcosh,
    mae,
    mape,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    mse,
    msle,
    poisson,
)
from tinyconv.registry import serialize

__all__ = [
    "BCE", "KLD", "MAE", "MAPE", "MSE", "MSLE", "BinaryCrossentropy", "BinaryFocalCrossentropy",
    "CategoricalCrossentropy", "CategoricalFocalCrossentropy", "CategoricalHinge", "ContrastiveLoss",
    "CosineSimilarity", "Hinge", "Huber", "InfoNCE", "KLDivergence", "LogCosh", "Loss", "LossFunctionWrapper",
    "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredError", "MeanSquaredLogarithmicError", "Poisson",
    "SparseCategoricalCrossentropy", "SquaredHinge", "TripletLoss", "bce", "binary_crossentropy",
    "binary_focal_crossentropy", "categorical_crossentropy", "categorical_focal_crossentropy", "categorical_hinge",
    "check_labels", "contrastive", "cosine_similarity", "deserialize", "get", "hinge", "huber", "infonce",
    "kl_divergence", "kld", "kullback_leibler_divergence", "log_cosh", "logcosh", "mae", "mape",
    "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error", "mean_squared_logarithmic_error",
    "mse", "msle", "poisson", "registry", "serialize", "sparse_categorical_crossentropy", "squared_hinge", "triplet",
]  # fmt: skip
