"""What all losses share: reduction, sample weights, names; and tools for those who write losses."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tinyconv import ops
from tinyconv.masking import mask_of
from tinyconv.ops.elementwise import as_float, as_tensor
from tinyconv.registry import Configurable, Registry, serialize, set_name
from tinyconv.tensor import Tensor

REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None)


class Loss(Configurable):
    """Base of all losses. A subclass defines ``call(y_true, y_pred)``, which gives one loss per sample.

    Parameters
    ----------
    name : str, optional
        Shown in logs.
    reduction : str or None
        ``"sum_over_batch_size"`` or ``"mean"``: (weighted) sum divided by the number of losses;
        ``"mean_with_sample_weight"``: divided by the sum of the weights; ``"sum"``; ``None`` or ``"none"``: all losses.
    dtype : str, optional
        In which the loss is computed; that of the predictions by default.

    Notes
    -----
    Where predictions carry a mask (see ``tinyconv.masking``), losses that do not count are 0, and no mean counts them.

    Examples
    --------
    >>> import tinyconv as tc
    >>> from tinyconv.losses import Loss
    >>> class Distance(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return tc.ops.sum(abs(y_true - y_pred), axis=-1)
    >>> Distance()([[0.0, 0.0], [1.0, 1.0]], [[1.0, 2.0], [1.0, 0.0]]).item()
    2.0
    """

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(map(repr, REDUCTIONS))}. Received: {reduction!r}")
        self.name = name or type(self).__name__
        self.reduction = reduction
        self.dtype = None if dtype is None else np.dtype(dtype).name

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """The loss of a batch.

        Parameters
        ----------
        y_true : array_like or Tensor
            Truth, any dtype; it is cast to the dtype of ``y_pred``.
        y_pred : array_like or Tensor
            Predictions.
        sample_weight : array_like or Tensor, optional
            Factor of each loss: shape (N,) or (N, 1), or the shape of the losses.

        Returns
        -------
        Tensor, shape (), or the shape of the losses for ``reduction=None``
        """
        y_true = None if y_true is None else as_tensor(y_true)
        mask, y_pred = mask_of(y_pred), as_float(y_pred)
        losses = self.call(y_true, y_pred if self.dtype is None else ops.astype(y_pred, self.dtype))
        weights = None if sample_weight is None else _weights(sample_weight, losses, self.name)
        losses = losses if weights is None else losses * weights
        kept = None if mask is None else _weights(mask, losses, self.name)
        losses = losses if kept is None else losses * kept
        if self.reduction in (None, "none"):
            return losses
        total = ops.sum(losses)
        if self.reduction == "sum":
            return total
        counted = self.counted(y_true, losses)
        if kept is not None:
            kept = ops.broadcast_to(kept, losses.shape)
            counted = kept if counted is None else kept * counted
        if self.reduction == "mean_with_sample_weight" and weights is not None:
            weights = ops.broadcast_to(weights, losses.shape)
            counted = weights if counted is None else weights * counted
        if counted is None:
            return total / max(losses.size, 1)
        number = ops.sum(counted)
        return total / ops.where(ops.equal(number, 0), 1.0, number)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """One loss per sample, not weighted: shape (N,) or (N, ...)."""
        raise NotImplementedError(f"{type(self).__name__} must define call(y_true, y_pred)")

    def counted(self, y_true: Any, losses: Tensor) -> Tensor | None:
        """1 for each loss that takes part in a mean and 0 for others, in the shape of ``losses``; None: all do."""
        return None


class FunctionLoss(Loss):
    """A loss whose ``function(y_true, y_pred, ...)`` has as further arguments what the loss keeps as attributes."""

    function: Callable[..., Tensor]
    settings: ClassVar[tuple[str, ...]] = ()  # names of those arguments

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "function" in cls.__dict__:
            cls.settings = tuple(inspect.signature(cls.function).parameters)[2:]

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name or self.function.__name__, reduction, dtype)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return self.function(y_true, y_pred, **{name: getattr(self, name) for name in self.settings})


class LossFunctionWrapper(Loss):
    """A function ``fn(y_true, y_pred, **settings)`` that gives one loss per sample, as a loss object.

    ``y_true`` and ``y_pred`` are tensors (N, ...); the losses are (N,) or (N, ...).

    Examples
    --------
    >>> from tinyconv.losses import LossFunctionWrapper
    >>> LossFunctionWrapper(lambda y_true, y_pred: (y_true - y_pred) ** 4)([1.0, 2.0], [1.0, 4.0]).item()
    8.0
    """

    def __init__(
        self,
        fn: Callable[..., Tensor] | str,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **settings: Any,
    ) -> None:
        found = registry.find(fn) if isinstance(fn, str) else fn
        self.fn = getattr(found, "function", found)  # functions of tinyconv are known by the name of their class
        self.settings = settings
        super().__init__(name or getattr(self.fn, "__name__", None), reduction, dtype)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        return self.fn(y_true, y_pred, **self.settings)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fn": serialize(self.fn), **self.settings}


registry = Registry("loss", Loss)


def get(identifier: Any) -> Loss:
    """The loss that ``identifier`` means.

    Parameters
    ----------
    identifier : str, dict, callable, class or Loss
        A name (``"mse"``, ``"categorical_crossentropy"``, ``"Huber"``), a configuration as ``serialize`` gives it, a
        function ``(y_true, y_pred) -> losses``, or the loss itself.

    Examples
    --------
    >>> import tinyconv as tc
    >>> from tinyconv import losses
    >>> losses.get("mse"), losses.get({"class_name": "Huber", "config": {"delta": 2.0}})
    (MeanSquaredError(), Huber(delta=2.0))
    """
    if callable(identifier) and not isinstance(identifier, type | Loss):
        if str(getattr(identifier, "__module__", None)).startswith("tinyconv.losses."):
            return registry.get(identifier.__name__)  # losses.mse and the like have classes of their own
        return LossFunctionWrapper(identifier)
    if isinstance(identifier, str) and not isinstance(found := registry.find(identifier), type):
        return LossFunctionWrapper(found)  # a function that its author registered
    return registry.get(identifier)


deserialize = get
registry.register()(LossFunctionWrapper)


def known_by_name(*functions: Callable[..., Tensor]) -> None:
    """In files, a function is the class of the same name."""
    for function in functions:
        set_name(function, function.__name__)


# --- tools for losses ------------------------------------------------------------------------------------------


def check_labels(labels: Any, classes: int, name: str = "labels") -> None:
    """Raise unless all ``labels`` are whole numbers in [0, ``classes``)."""
    values = np.asarray(labels)
    if values.dtype.kind == "b" or not values.size:
        return
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        wrong = values[~(np.isfinite(values) & (values == np.rint(values)))]
        raise ValueError(f"{name} expected labels that are whole numbers. Received: {wrong.flat[0]}")
    low, high = values.min(), values.max()
    if low < 0 or high >= classes:
        raise ValueError(
            f"{name} expected labels 0 .. {classes - 1} for {classes} classes. "
            f"Received: {low if low < 0 else high}"
        )


def at_least_float32(y: Any) -> Tensor:
    """Losses of float16 predictions are computed in float32, where 1 - epsilon is not yet 1."""
    y = as_float(y)
    return ops.astype(y, np.float32) if y.dtype == np.float16 else y


def operands(y_true: Any, y_pred: Any, name: str) -> tuple[Tensor, Tensor]:
    """Truth and predictions as tensors of one shape and one floating-point dtype."""
    y_true, y_pred = as_tensor(y_true), at_least_float32(y_pred)
    if y_true.ndim + 1 == y_pred.ndim and y_pred.shape == (*y_true.shape, 1):  # labels (N,) of one output (N, 1)
        y_true = ops.reshape(y_true, y_pred.shape)
    if y_true.shape != y_pred.shape:
        sparse = name == "categorical_crossentropy" and y_true.shape in (y_pred.shape[:-1], (*y_pred.shape[:-1], 1))
        hint = " (for class numbers, use sparse_categorical_crossentropy)" if sparse else ""
        raise ValueError(
            f"{name} expected y_true of the shape of y_pred, {y_pred.shape}{hint}. "
            f"Received: y_true of shape {y_true.shape}"
        )
    return ops.astype(y_true, y_pred.dtype), y_pred


def mean_of_sample(losses: Tensor, axis: int = -1) -> Tensor:
    """Mean over the values of a sample; a single axis is the batch."""
    return ops.mean(losses, axis) if losses.ndim > 1 else losses


def _weights(sample_weight: Any, losses: Tensor, name: str) -> Tensor:
    """Weights with as many axes as the losses, to be broadcast against them."""
    weights = ops.astype(as_tensor(sample_weight), losses.dtype)
    shape = weights.shape
    if len(shape) == losses.ndim + 1 and shape[-1] == 1:
        shape = shape[:-1]
    shape = (*shape, *[1] * (losses.ndim - len(shape)))
    if len(shape) != losses.ndim or any(n not in (1, size) for n, size in zip(shape, losses.shape, strict=True)):
        raise ValueError(
            f"{name} expected sample_weight of shape {losses.shape[:1]} or {losses.shape}. Received: {weights.shape}"
            if losses.shape
            else f"{name} must give one loss per sample where samples have weights. Received: one for the whole batch"
        )
    return ops.reshape(weights, shape)
