"""What all metrics share: names, means over all samples, weights; and tools for those who write metrics."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinyconv import initializers, losses
from tinyconv.masking import mask_of
from tinyconv.registry import Configurable, Registry, serialize, snake_case
from tinyconv.tensor import Tensor, no_grad


class MetricVariable(Tensor):
    """A tensor that a metric keeps from batch to batch."""

    def assign_add(self, values: Any) -> None:
        """Add ``values`` in place."""
        self.assign(self + values)

    def assign_sub(self, values: Any) -> None:
        """Subtract ``values`` in place."""
        self.assign(self - values)


class Metric(Configurable):
    """Base of all metrics: a subclass defines ``update_state`` and ``result``.

    What it keeps from batch to batch are variables made by :meth:`add_variable` after ``super().__init__(name)``, or
    attributes that its own ``reset_state`` fills. A constructor keeps its arguments as attributes, then calls
    ``super().__init__(name)``, which resets the state as far as it is there.

    Parameters
    ----------
    name : str, optional
        Key in logs and in the history; made from the class name by default.
    dtype : str
        In which predictions are compared with the truth, and that of variables; sums are always float64.

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
    >>> class Correct(Metric):  # as Keras's guides do it
    ...     def __init__(self, name="correct"):
    ...         super().__init__(name=name)
    ...         self.count = self.add_variable(shape=(), initializer="zeros", name="count")
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.count.assign_add(np.sum(np.round(y_pred) == y_true))
    ...     def result(self):
    ...         return self.count
    >>> float(Correct()([0, 1, 1], [0.2, 0.7, 0.4]))
    2.0
    """

    short_name: str | None = None  # the default name, where it is not made from the class name

    def __init__(self, name: str | None = None, dtype: Any = "float64") -> None:
        self.dtype = np.dtype(dtype or "float64").name
        self.name = name or type(self).short_name or snake_case(type(self).__name__)
        self._variables: list[tuple[MetricVariable, Any]] = []  # with their initializers
        with contextlib.suppress(AttributeError):  # one that assigns to variables, which are yet to be made
            self.reset_state()

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # state changes all the time, and no recorded step depends on it

    def add_variable(
        self, shape: Sequence[int] = (), initializer: Any = "zeros", dtype: Any = None, name: str | None = None
    ) -> MetricVariable:
        """A variable that ``reset_state`` fills anew, of the metric's dtype by default."""
        initializer = initializers.get(initializer)
        variable = MetricVariable(np.array(initializer(tuple(shape), dtype or self.dtype)), name=name)
        self._variables.append((variable, initializer))
        return variable

    def add_weight(
        self, shape: Sequence[int] = (), initializer: Any = "zeros", dtype: Any = None, name: str | None = None
    ) -> MetricVariable:
        """Keras's other name of :meth:`add_variable`."""
        return self.add_variable(shape, initializer, dtype, name)

    @property
    def variables(self) -> list[MetricVariable]:
        """What :meth:`add_variable` made, in order."""
        return [variable for variable, _ in self._variables]

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
        for variable, initializer in self._variables:
            variable.assign(initializer(variable.shape, variable.dtype))

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
        it; a function ``(y_true, y_pred) -> values``, or a loss, whose mean is meant; or the metric itself. What
        ``"accuracy"`` means depends on the loss: see :func:`resolve_accuracy`.

    Examples
    --------
    >>> from tinyconv import metrics
    >>> metrics.get("mse"), metrics.get("mse").name
    (MeanSquaredError(), 'mse')
    """
    if isinstance(identifier, dict) and "reduction" in (identifier.get("config") or {}):
        with contextlib.suppress(ValueError):  # a user's metric may have such an argument too
            identifier = losses.get(identifier)
    if isinstance(identifier, losses.Loss):
        return MeanMetricWrapper(identifier, identifier.name)
    if callable(identifier) and not isinstance(identifier, type | Metric):
        own = str(getattr(identifier, "__module__", None)).startswith(("tinyconv.metrics.", "tinyconv.losses."))
        found = _find(identifier.__name__) if own else identifier  # the function forms have classes of the same name
        return registry.get(found) if _is_metric(found) else MeanMetricWrapper(identifier)
    if isinstance(identifier, str) and not _is_metric(found := _find(identifier)):
        return MeanMetricWrapper(found, identifier.rpartition(">")[2])  # files say package>name
    metric = registry.get(identifier)
    if isinstance(identifier, str):
        metric.name = identifier.rpartition(">")[2]
    return metric


def _is_metric(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Metric)


def _find(name: str) -> Any:
    """The metric, the function that its author registered, or the loss, that is called ``name``."""
    try:
        return registry.find(name)
    except ValueError:
        with contextlib.suppress(ValueError):
            return losses.registry.find(name)
        raise


deserialize = get


@registry.register()
class Mean(Metric):
    """Weighted mean of all values, of any shape: (N, ...) -> float.

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
        values = host(values, self.dtype)
        if sample_weight is None:
            self.total += float(values.sum(dtype=np.float64))
            self.count += values.size
        else:
            weights = weights_of(sample_weight, values.shape, self.name)
            self.total += float((values * weights).sum())
            self.count += float(weights.sum())

    def _add(self, value: float, weight: float) -> None:
        """Take one number into account: ``update_state(value, sample_weight=weight)`` without checks."""
        self.total += value * weight
        self.count += weight

    def result(self) -> float:
        return self.total / self.count if self.count else 0.0

    def reset_state(self) -> None:
        self.total, self.count = 0.0, 0.0


@registry.register()
class Sum(Mean):
    """Weighted sum of all values, of any shape: (N, ...) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import Sum
    >>> Sum()([1.0, 3.0])
    4.0
    """

    def result(self) -> float:
        return self.total


@registry.register()
class MeanMetricWrapper(Mean):
    """Mean over all samples of a function ``fn(y_true, y_pred, **settings)`` that gives one value per sample.

    The function, or the loss, is called with arrays (N, ...) and gives (N,) or (N, ...).

    Examples
    --------
    >>> from tinyconv.metrics import MeanMetricWrapper
    >>> MeanMetricWrapper(lambda y_true, y_pred: abs(y_true - y_pred), "gap")([1.0, 2.0], [1.0, 4.0])
    1.0
    """

    def __init__(
        self, fn: Callable[..., Any] | str, name: str | None = None, dtype: Any = "float64", **settings: Any
    ) -> None:
        found = _find(fn) if isinstance(fn, str) else losses.get(fn) if isinstance(fn, dict) else fn
        # functions of tinyconv are known by the name of their class
        self.fn = found if isinstance(found, losses.Loss) else getattr(found, "function", found)
        self.settings = settings
        super().__init__(name or getattr(self.fn, "__name__", "").strip("<>"), dtype)  # <lambda>

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        function = self.fn.call if isinstance(self.fn, losses.Loss) else self.fn  # one value per sample
        with no_grad():
            values = function(host(y_true), host(y_pred), **self.settings)
        super().update_state(values, _masked(sample_weight, y_pred))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fn": serialize(self.fn), **self.settings}


class MeanOf(Mean):
    """Mean over all samples of ``function(y_true, y_pred, ...)``; of masked predictions, over those that count.

    Those of the function's further arguments that the constructor takes are kept as attributes of the same names.
    """

    function: Callable[..., Any]
    settings: ClassVar[tuple[str, ...]] = ()  # names of those arguments

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if hasattr(cls, "function"):
            taken = inspect.signature(cls.__init__).parameters
            cls.settings = tuple(name for name in inspect.signature(cls.function).parameters if name in taken)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        settings = {name: getattr(self, name) for name in self.settings}
        with no_grad():
            values = self.function(host(y_true), host(y_pred, self.dtype), **settings)
        super().update_state(values, _masked(sample_weight, y_pred))


# --- tools for metrics -----------------------------------------------------------------------------------------


def host(values: Any, dtype: Any = None) -> np.ndarray:
    """``values`` as a NumPy array in host memory."""
    return np.asarray(values.numpy() if isinstance(values, Tensor) else values, dtype)


def rows(values: np.ndarray) -> np.ndarray:
    """One row per sample: (N,) -> (N, 1), (N, ..., C) -> (N, ... * C)."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def same_shape(y_true: Any, y_pred: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    y_true, y_pred = host(y_true), host(y_pred)
    if y_pred.shape == (*y_true.shape, 1):  # labels (N,) of one output (N, 1)
        y_true = y_true[..., None]
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"{name} expected y_true of the shape of y_pred, {y_pred.shape}. Received: y_true of shape {y_true.shape}"
        )
    return y_true, y_pred


def of_class(class_id: int | None, name: str, *parts: np.ndarray) -> tuple[np.ndarray, ...]:
    """The column of one class of arrays (N, ..., C); the arrays themselves for None."""
    if class_id is None:
        return parts
    shape = parts[0].shape
    if len(shape) < 2 or not 0 <= class_id < shape[-1]:
        raise ValueError(f"{name} expected predictions (N, C) that have a class {class_id}. Received: shape {shape}")
    return tuple(part[..., class_id] for part in parts)


def class_numbers(y_true: Any, y_pred: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers (N, ...) and predictions (N, ..., C)."""
    labels, y_pred = host(y_true), host(y_pred)
    if labels.shape == (*y_pred.shape[:-1], 1):
        labels = labels[..., 0]
    if labels.shape != y_pred.shape[:-1]:
        raise ValueError(
            f"{name} expected class numbers of shape {y_pred.shape[:-1]} for y_pred of shape {y_pred.shape}. "
            f"Received: y_true of shape {labels.shape}"
        )
    losses.check_labels(labels, y_pred.shape[-1], name)
    return labels, y_pred


def labels_of(loss: losses.Loss | None, output_shape: Sequence[int | None]) -> str:
    """What predictions of a shape (batch axis first) are compared with: "binary", "sparse" or "one-hot" labels."""
    if isinstance(loss, losses.BinaryCrossentropy | losses.BinaryFocalCrossentropy):
        return "binary"
    if isinstance(loss, losses.SparseCategoricalCrossentropy | losses.InfoNCE):
        return "sparse"
    return "binary" if len(output_shape) < 2 or output_shape[-1] == 1 else "one-hot"


def weights_of(sample_weight: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Weights of the samples, for each of the values of ``shape``."""
    weights = host(sample_weight, np.float64)
    given = weights.shape
    if len(given) == len(shape) + 1 and given[-1] == 1:
        given = given[:-1]
    given = (*given, *[1] * (len(shape) - len(given)))
    if len(given) != len(shape) or any(n not in (1, size) for n, size in zip(given, shape, strict=True)):
        raise ValueError(f"{name} expected sample_weight of shape {shape[:1]} or {shape}. Received: {weights.shape}")
    return np.broadcast_to(weights.reshape(given), shape)


def _masked(sample_weight: Any, y_pred: Any) -> Any:
    """The weights, 0 where the mask of ``y_pred`` says that a prediction does not count."""
    mask = mask_of(y_pred)
    if mask is None:
        return sample_weight
    counts = host(mask, np.float64)
    if sample_weight is None:
        return counts
    weights = host(sample_weight, np.float64)
    return counts * weights.reshape(*weights.shape, *[1] * (counts.ndim - weights.ndim))
