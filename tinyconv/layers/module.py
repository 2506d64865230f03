"""``Module``: what a layer holds - weights, inner layers, penalties and metrics - whatever it computes with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv import config, constraints, initializers, regularizers
from tinyconv.metrics.base import Metric
from tinyconv.registry import snake_case
from tinyconv.revision import Revised
from tinyconv.tensor import Tensor

_names: Counter[str] = Counter()
_given: set[str] = set()  # names that were not made up here

# Called with the shape of every weight before its memory is taken: files that only claim sizes are refused here.
before_weight: ContextVar[Callable[[tuple[int, ...]], None] | None] = ContextVar("tinyconv_before_weight", default=None)


class Parameter(Tensor):
    """A weight: a leaf tensor with a name and what the training loop must know about it.

    Attributes
    ----------
    trainable : bool
        Whether an optimizer may change it (moving statistics are not trainable).
    regularizer, constraint : callable or None
        Penalty added to the loss; projection applied after each update.
    """

    def __init__(
        self,
        data: Any,
        name: str | None = None,
        trainable: bool = True,
        regularizer: Callable[[Tensor], Tensor] | None = None,
        constraint: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(data, requires_grad=trainable, name=name)
        self.trainable = trainable
        self.regularizer = regularizer
        self.constraint = constraint

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array that cannot be written to: ``assign`` does, and tells those who keep copies."""
        values = super().numpy().view()
        values.flags.writeable = False
        return values


class Module(Revised):
    """A tree of weights: its own in the order of their creation, then those of the modules in its attributes.

    Parameters
    ----------
    name : str, optional
        Made from the class name by default.
    trainable : bool
        Whether the weights may be trained.
    dtype : str, optional
        Float type of the weights; ``config.floatx()`` by default.
    """

    def __init__(self, name: str | None = None, trainable: bool = True, dtype: Any = None) -> None:
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"name must be a non-empty string without '/'. Received: {name!r}")
        if name is not None:
            _given.add(name)
        self.name = name or self._new_name()
        try:
            self.dtype = np.dtype(dtype or config.floatx()).name
        except TypeError:
            raise ValueError(f"dtype must be one of NumPy's, such as 'float32'. Received: {dtype!r}") from None
        self.built = False
        self._trainable = bool(trainable)
        self._parameters: list[Parameter] = []
        self._added_losses: list[Tensor] = []

    def _new_name(self) -> str:
        return _unique_name(type(self).__name__)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:  # of what is not there, or whose property raised AttributeError
            if "_parameters" in vars(self):
                return object.__getattribute__(self, name)
            raise AttributeError(
                f"{type(self).__name__} has no {name} yet: call super().__init__() first in its __init__()"
            )

    @property
    def _title(self) -> str:
        return f"{type(self).__name__} {self.name!r}"

    def _require_built(self) -> None:
        if not self.built:
            raise ValueError(f"{self._title} has no weights yet: call it on data, or give it an input shape, first")

    # --- weights -----------------------------------------------------------------------------------------------

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        name: str = "weight",
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        dtype: Any = None,
    ) -> Parameter:
        """Create a weight of ``shape``; ``initializer`` defaults to Glorot uniform, ``dtype`` to the layer's."""
        if isinstance(shape, str) or not all(isinstance(n, int | np.integer) and n >= 0 for n in shape):
            raise ValueError(f"{self._title} expected the shape of a weight as integers >= 0. Received: {shape!r}")
        dtype = self.dtype if dtype is None else np.dtype(dtype).name
        if (check := before_weight.get()) is not None:
            check(tuple(shape))
        initialize = initializers.get("glorot_uniform" if initializer is None else initializer)
        fresh = type(initialize).__module__ == initializers.__name__  # others may keep the array that they give
        parameter = Parameter(
            np.array(initialize(tuple(shape), dtype), dtype=dtype, copy=None if fresh else True),
            name,
            trainable,
            regularizers.get(regularizer),
            constraints.get(constraint),
        )
        parameter.requires_grad = trainable and self._trainable
        self._parameters = [*self._parameters, parameter]
        return parameter

    @property
    def children(self) -> list[Any]:
        """Layers held in attributes, or in lists, tuples and dictionaries there, each once, in order."""
        return list(_find(Module, list(vars(self).values()), {}).values())

    @property
    def weights(self) -> list[Parameter]:
        """All weights: the layer's own in order of creation, then its children's."""
        found = {id(p): p for p in self._parameters}
        for child in self.children:
            found.update((id(p), p) for p in child.weights)
        return list(found.values())

    @property
    def trainable_weights(self) -> list[Parameter]:
        """Weights that training changes: none of them when the layer itself is frozen."""
        return [p for p in self.weights if p.requires_grad] if self._trainable else []

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        """Weights that training leaves alone: frozen ones and moving statistics."""
        return [p for p in self.weights if not p.requires_grad] if self._trainable else self.weights

    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether the weights may be trained; setting it sets all children too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for parameter in self._parameters:
            parameter.requires_grad = self._trainable and parameter.trainable
        for child in self.children:
            child.trainable = value

    def _describe(self, weight: str, initializer: Any, regularizer: Any, constraint: Any) -> None:
        """Keep how ``weight`` begins and what holds for it, as ``weight_initializer`` and so on."""
        setattr(self, f"{weight}_initializer", initializers.get(initializer))
        setattr(self, f"{weight}_regularizer", regularizers.get(regularizer))
        setattr(self, f"{weight}_constraint", constraints.get(constraint))

    def _make(self, weight: str, shape: Sequence[int], name: str | None = None) -> Parameter:
        """Create the weight that ``_describe`` told about."""
        how = (getattr(self, f"{weight}_{what}") for what in ("initializer", "regularizer", "constraint"))
        initializer, regularizer, constraint = how
        return self.add_weight(shape, initializer, name or weight, regularizer=regularizer, constraint=constraint)

    @property
    def compute_dtype(self) -> str:
        """Type in which the layer computes: that of its weights, since there is no mixed precision."""
        return self.dtype

    variable_dtype = compute_dtype

    def count_params(self) -> int:
        """Number of scalars in all weights."""
        self._require_built()
        return sum(p.size for p in self.weights)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights as NumPy arrays, in order."""
        return [p.numpy().copy() for p in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Overwrite all weights with arrays of the same number, order and shapes."""
        self._require_built()
        own = self.weights
        shapes = [np.shape(w) for w in weights]
        if shapes != [p.shape for p in own]:
            raise ValueError(
                f"{self._title} expected {len(own)} weights of shapes {[p.shape for p in own]}. Received: {shapes}"
            )
        arrays = [np.asarray(values, dtype=parameter.dtype) for parameter, values in zip(own, weights, strict=True)]
        for parameter, array in zip(own, arrays, strict=True):
            parameter.assign(array)

    # --- losses ------------------------------------------------------------------------------------------------

    def add_loss(self, loss: Tensor | Sequence[Tensor]) -> None:
        """Add a scalar computed in ``call``, or a list of them, to what training minimises."""
        losses: list[Any] = list(loss) if isinstance(loss, list | tuple) else [loss]
        for one in losses:
            if not isinstance(one, Tensor) or one.shape:
                raise ValueError(f"{self._title} expected a scalar tensor in add_loss. Received: {one!r}")
        self._added_losses += losses

    @property
    def losses(self) -> list[Tensor]:
        """Penalties of this layer and its children: of regularizers, and those of the last call's ``add_loss``."""
        penalties = [p.regularizer(p) for p in self.trainable_weights if p.regularizer is not None]
        return [*penalties, *self._losses_added_below()]

    def _losses_added_below(self) -> list[Tensor]:
        found = {id(loss): loss for loss in self._added_losses}
        for child in self.children:
            found.update((id(loss), loss) for loss in child._losses_added_below())
        return list(found.values())

    def _forget_losses(self) -> None:
        """Drop what was added with ``add_loss``, here and in all inner layers."""
        self._added_losses.clear()
        for child in self.children:
            child._forget_losses()

    @property
    def metrics(self) -> list[Metric]:
        """Metrics held in attributes, or in lists and dictionaries there: this layer's own, then its children's.

        ``fit`` and ``evaluate`` report those that ``call`` updates beside the compiled ones.
        """
        return self._metrics_held()

    def _metrics_held(self) -> list[Metric]:
        found = _find(Metric, list(vars(self).values()), {})
        for child in self.children:
            found.update((id(metric), metric) for metric in child._metrics_held())
        return list(found.values())


def reset_names() -> None:
    """Start the numbering of automatic layer names afresh."""
    _names.clear()
    _given.clear()


def _unique_name(class_name: str) -> str:
    """``MaxPooling2D`` -> ``max_pooling2d``, ``max_pooling2d_1``, ..."""
    base = snake_case(class_name)
    _names[base] += 1
    return base if _names[base] == 1 else f"{base}_{_names[base] - 1}"


def free_name(base: str) -> str:
    """``add``, ``add_1``, ... that was never given to a layer: for operators, whose names nobody can choose."""
    while (name := _unique_name(base)) in _given:
        pass
    return name


_CONTAINERS = (list, tuple, dict)


def _find(kind: type, values: Iterable[Any], found: dict[int, Any]) -> dict[int, Any]:
    """What is of a ``kind`` among values, and in containers there, by id."""
    for value in values:
        if isinstance(value, kind):
            found.setdefault(id(value), value)
        elif isinstance(value, _CONTAINERS) and value:
            _find(kind, value.values() if isinstance(value, dict) else value, found)
    return found
