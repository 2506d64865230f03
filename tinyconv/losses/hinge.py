"""Losses of margins: what is right by a margin costs nothing."""

from __future__ import annotations

from typing import Any

from tinyconv import ops
from tinyconv.losses.base import FunctionLoss, known_by_name, mean_of_sample, operands, registry
from tinyconv.tensor import Tensor


def hinge(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(max(0, 1 - y_true * y_pred))`` over the last axis, labels -1 and 1 (0 counts as -1): (N, C) -> (N,)."""
    y_true, y_pred = operands(y_true, y_pred, "hinge")
    return mean_of_sample(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0))


def squared_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """``mean(max(0, 1 - y_true * y_pred) ** 2)`` over the last axis, labels -1 and 1 (0 counts as -1)."""
    y_true, y_pred = operands(y_true, y_pred, "squared_hinge")
    return mean_of_sample(ops.square(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0)))


def categorical_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """``max(0, 1 + max((1 - y_true) * y_pred) - sum(y_true * y_pred))`` over the classes: (N, C) -> (N,)."""
    y_true, y_pred = operands(y_true, y_pred, "categorical_hinge")
    right = ops.sum(y_true * y_pred, -1)
    wrong = ops.max((1.0 - y_true) * y_pred, -1)
    return ops.maximum(wrong - right + 1.0, 0.0)


@registry.register()
class Hinge(FunctionLoss):
    """:func:`hinge`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Examples
    --------
    >>> from tinyconv.losses import Hinge
    >>> round(Hinge()([[-1.0], [1.0]], [[0.5], [2.0]]).item(), 4)
    0.75
    """

    function = staticmethod(hinge)


@registry.register()
class SquaredHinge(FunctionLoss):
    """:func:`squared_hinge`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Examples
    --------
    >>> from tinyconv.losses import SquaredHinge
    >>> round(SquaredHinge()([[-1.0], [1.0]], [[0.5], [2.0]]).item(), 4)
    1.125
    """

    function = staticmethod(squared_hinge)


@registry.register()
class CategoricalHinge(FunctionLoss):
    """:func:`categorical_hinge`, averaged over the batch: (N, ..., C), (N, ..., C) -> ().

    Examples
    --------
    >>> from tinyconv.losses import CategoricalHinge
    >>> round(CategoricalHinge()([[0.0, 1.0]], [[0.6, 0.4]]).item(), 4)
    1.2
    """

    function = staticmethod(categorical_hinge)


known_by_name(hinge, squared_hinge, categorical_hinge)


def _signs(y_true: Tensor) -> Tensor:
    """Labels 0 and 1 as -1 and 1."""
    return ops.where(ops.equal(y_true, 0), -1.0, y_true)
