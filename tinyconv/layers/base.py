"""``Layer``: weights, a ``build`` that makes them once shapes are known, and a ``call`` that computes with operations.

A layer keeps every constructor argument in an attribute of the same name; that is all ``get_config`` needs. Weights are
``Parameter`` tensors in the order of their creation. Layers that are attributes of a layer (or lie in its lists and
dictionaries) are its children: their weights are its weights.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import re
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinyconv import backends, config, registry
from tinyconv.tensor import Tensor, no_grad

Shape = tuple[int | None, ...]  # None stands for any size, the batch axis first of all

_training: ContextVar[bool] = ContextVar("tinyconv_training", default=False)
_names: Counter[str] = Counter()

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


class Call:
    """One use of a layer on symbolic tensors: an arrow of a model's graph.

    ``shapes`` are those of its outputs: one, or a list or dictionary of several.
    """

    _clock = itertools.count()

    def __init__(self, layer: Layer, inputs: Any, options: dict[str, Any], shapes: Any) -> None:
        self.layer, self.inputs, self.options, self.shapes = layer, inputs, options, shapes
        self.age = next(Call._clock)

    @property
    def outputs(self) -> Any:
        """The symbolic outputs, in the structure of ``shapes``."""
        index = itertools.count()
        return _map_shapes(lambda shape: Symbolic(shape, self.layer.dtype, None, self, next(index)), self.shapes)


class Symbolic:
    """A tensor to be: shape and dtype, and the layer call that will compute it. Made by ``Input`` and by layers.

    Attributes
    ----------
    shape : tuple of int or None
        ``None`` for the batch axis.
    dtype : str
    call : Call or None
        ``None`` for an input of the model.
    index : int
        Which output of the call it is, when all of them stand in one list.
    source : Layer or None
        The ``InputLayer`` that stands for an input in models.
    """

    source: Layer | None = None

    def __init__(
        self, shape: Shape, dtype: str | None = None, name: str | None = None, call: Call | None = None, index: int = 0
    ) -> None:
        self.shape, self.dtype, self.name = tuple(shape), dtype or config.floatx(), name
        self.call, self.index = call, index

    def __repr__(self) -> str:
        origin = self.name or (self.call.layer.name if self.call else "input")
        return f"<Symbolic {origin}: shape={self.shape}, dtype={self.dtype}>"

    def __array__(self, *_: Any) -> np.ndarray:
        raise TypeError(f"{self!r} has no values yet: it can only be passed to layers")


class LayerError(ValueError):
    """A ``ValueError`` whose message names the layer in which it arose."""


class Layer:
    """Base class of layers.

    Parameters
    ----------
    name : str, optional
        Unique within a model; made from the class name by default.
    trainable : bool
        Whether the layer's weights may be trained.
    dtype : str, optional
        Float type of weights and computation; ``config.floatx()`` by default.
    input_shape : tuple of int, optional
        Shape of one sample, without the batch axis: lets the first layer of a ``Sequential`` build at once.

    Notes
    -----
    Subclasses define ``call(self, inputs)`` (with a ``training`` argument if they need it), usually ``build`` and
    ``compute_output_shape``, and keep constructor arguments as attributes of the same names.

    Examples
    --------
    >>> import tinyconv as tc
    >>> class Scale(tc.layers.Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight((input_shape[-1],), "ones", "factor")
    ...     def call(self, x):
    ...         return x * self.factor
    >>> Scale()([[1.0, 2.0]]).tolist()
    [[1.0, 2.0]]
    """

    autocast = True  # whether inputs are converted to the layer's dtype; Embedding wants its integers
    _wants_training = False  # whether ``call`` has that argument

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._wants_training = "training" in inspect.signature(cls.call).parameters
        if "build" in vars(cls):
            cls.build = _once(cls.build)  # type: ignore[method-assign]
        if "__init__" in vars(cls):
            cls.__init__ = _naming_errors(cls.__init__)  # type: ignore[method-assign]

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        input_shape: Sequence[int | None] | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise TypeError(f"{type(self).__name__} got unknown arguments. Received: {', '.join(sorted(unknown))}")
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"name must be a non-empty string without '/'. Received: {name!r}")
        self.name = name or _unique_name(type(self).__name__)
        self.dtype = np.dtype(dtype or config.floatx()).name
        self.input_shape_hint = None if input_shape is None else (None, *input_shape)
        self.built = False
        self._trainable = bool(trainable)
        self._parameters: list[Parameter] = []
        self._added_losses: list[Tensor] = []
        self._shapes: tuple[Any, Any] | None = None  # of the last call: inputs and outputs
        self._uses: list[weakref.ref[Call | Symbolic]] = []  # places in graphs, which own them

    # --- what subclasses define --------------------------------------------------------------------------------

    def check_input(self, input_shape: Any) -> None:
        """Raise ``ValueError`` for inputs that the layer cannot take: runs before ``build`` and before every call."""

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of ``input_shape`` (batch axis ``None``; a list for several inputs)."""

    def call(self, inputs: Any) -> Any:
        """Compute outputs from tensors, by operations."""
        raise NotImplementedError(f"{type(self).__name__} must define call(self, inputs)")

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the outputs for ``input_shape``. By default: of a trial run on one sample of zeros."""
        self._ensure_built(input_shape)

        def trial(unknown: int) -> Any:
            def zeros(shape: Shape) -> Tensor:
                sizes = [unknown if n is None else n for n in shape[1:]]
                return Tensor(np.zeros([shape[0] or 1, *sizes] if shape else [], self.dtype))

            with no_grad():
                return self.call(_map_shapes(zeros, input_shape))

        batched = isinstance(input_shape, list) or not input_shape or input_shape[0] is None
        outputs = trial(32)
        others = iter(flatten_structure(trial(64) if _holds_unknown_sizes(input_shape) else outputs))

        def compare(y: Any) -> Shape:  # sizes that follow an unknown one are unknown
            sizes = (m if m == n else None for m, n in zip(y.shape[1:], next(others).shape[1:], strict=True))
            return (None if batched else y.shape[0], *sizes) if y.ndim else ()

        return map_structure(compare, outputs)

    # --- weights -----------------------------------------------------------------------------------------------

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        name: str = "weight",
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> Parameter:
        """Create a weight of ``shape``; ``initializer`` defaults to Glorot uniform."""
        from tinyconv import constraints, initializers, regularizers

        if (check := before_weight.get()) is not None:
            check(tuple(shape))
        initialize = initializers.get("glorot_uniform" if initializer is None else initializer)
        fresh = type(initialize).__module__ == initializers.__name__  # others may keep the array that they give
        parameter = Parameter(
            np.array(initialize(tuple(shape), self.dtype), dtype=self.dtype, copy=None if fresh else True),
            name,
            trainable,
            regularizers.get(regularizer),
            constraints.get(constraint),
        )
        parameter.requires_grad = trainable and self._trainable
        self._parameters.append(parameter)
        return parameter

    @property
    def children(self) -> list[Layer]:
        """Layers held in attributes, or in lists, tuples and dictionaries there, each once, in order."""
        found: dict[int, Layer] = {}
        _find_layers(list(vars(self).values()), found)
        return list(found.values())

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
        for parameter, values in zip(own, weights, strict=True):
            parameter.assign(np.asarray(values, dtype=parameter.dtype))

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

    # --- calling -----------------------------------------------------------------------------------------------

    def __call__(self, inputs: Any, *args: Any, training: bool | None = None, **options: Any) -> Any:
        if any(isinstance(x, Symbolic) for x in flatten_structure(inputs)):
            return self._call_symbolic(inputs, args, options if training is None else {**options, "training": training})
        inputs = map_structure(self._prepare, inputs)
        input_shape = map_structure(lambda x: (None, *x.shape[1:]), inputs)
        self._added_losses.clear()
        token = _training.set(_training.get() if training is None else bool(training))
        try:
            self._ensure_built(input_shape)
            if self._wants_training:
                options["training"] = _training.get()
            outputs = self.call(inputs, *args, **options)
        except LayerError:
            raise
        except ValueError as error:
            raise LayerError(f"{self._title}: {error}") from error
        finally:
            _training.reset(token)
        self._shapes = input_shape, map_structure(lambda y: (None, *y.shape[1:]), outputs)
        return outputs

    def _prepare(self, x: Any) -> Any:
        x = x if isinstance(x, Tensor) else Tensor(x)
        return x.astype(self.dtype) if self.autocast and x.dtype.name != self.dtype else x

    def _call_symbolic(self, inputs: Any, args: Any, options: dict[str, Any]) -> Any:
        if args or not all(isinstance(x, Symbolic) for x in flatten_structure(inputs)):
            raise TypeError(f"{self._title} expected all inputs to be symbolic. Received: {inputs!r}")
        input_shape = map_structure(lambda x: x.shape, inputs)
        try:
            self._ensure_built(input_shape)
            shapes = _as_shapes(self.compute_output_shape(input_shape))
        except LayerError:
            raise
        except ValueError as error:
            raise LayerError(f"{self._title}: {error}") from error
        call = Call(self, inputs, options, shapes)
        self._shapes = input_shape, shapes
        self._uses = [*(use for use in self._uses if use() is not None), weakref.ref(call)]
        return call.outputs

    def _ensure_built(self, input_shape: Any) -> None:
        self.check_input(input_shape)
        if not self.built:
            before = None if self._trainable else self.children
            self.build(input_shape)
            for child in self.children if before is not None else ():
                if not any(child is old for old in before or ()):  # made by build, after this layer was frozen
                    child.trainable = False
        self.built = True

    def _require_built(self) -> None:
        if not self.built:
            raise ValueError(f"{self._title} has no weights yet: call it on data, or give it an input shape, first")

    @property
    def input(self) -> Any:
        """The symbolic inputs of the layer's first use in a graph: one, or a list or dictionary of several."""
        use = self._first_use()
        return use.inputs if isinstance(use, Call) else use

    @property
    def output(self) -> Any:
        """The symbolic outputs of the layer's first use in a graph: one, or a list or dictionary of several.

        Examples
        --------
        >>> import tinyconv as tc
        >>> model = tc.Sequential([tc.Input((4,)), tc.layers.Dense(3, name="features"), tc.layers.Dense(2)])
        >>> tc.Model(model.input, model.get_layer("features").output).output_shape
        (None, 3)
        """
        use = self._first_use()
        return use.outputs if isinstance(use, Call) else use

    def _first_use(self) -> Call | Symbolic:
        for reference in self._uses:
            if (use := reference()) is not None:
                return use
        raise AttributeError(
            f"{self._title} has no symbolic input and output: it was not called on an Input, or its model is gone"
        )

    @property
    def input_shape(self) -> Any:
        """Shape of the inputs, batch axis ``None``."""
        return self._known_shapes()[0]

    @property
    def output_shape(self) -> Any:
        """Shape of the outputs, batch axis ``None``."""
        return self._known_shapes()[1]

    def _known_shapes(self) -> tuple[Any, Any]:
        if self._shapes is None:
            raise AttributeError(f"{self._title} was never called, so it has no input and output shape yet")
        return self._shapes

    def _check_ndim(self, input_shape: Shape, ndim: int, meaning: str) -> None:
        """Raise unless inputs have ``ndim`` axes; ``meaning`` names them."""
        if len(input_shape) != ndim:
            raise LayerError(f"{self._title} expected {ndim} axes {meaning}. Received: shape {input_shape}")

    def _check_axis(self, input_shape: Shape, axis: int, size: int) -> None:
        """Raise unless the inputs still have the ``size`` along ``axis`` that the layer was built for."""
        if input_shape[axis] not in (size, None):
            raise LayerError(
                f"{self._title} was built for {size} channels or features on axis {axis}. Received: shape {input_shape}"
            )

    @property
    def _title(self) -> str:
        return f"{type(self).__name__} {self.name!r}"

    # --- configuration -----------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as plain data; ``from_config`` makes an equal layer (without its weights)."""
        missing = [name for name in _constructor_arguments(type(self)) if not hasattr(self, name)]
        if missing:
            raise LayerError(
                f"{self._title} cannot be saved: expected an attribute for each argument of its constructor, or a "
                f"get_config of its own. Received: no attribute {', '.join(map(repr, missing))}"
            )
        values = {name: registry.serialize(getattr(self, name)) for name in _constructor_arguments(type(self))}
        hint = self.input_shape_hint
        base = {"name": self.name, "trainable": self.trainable, "dtype": self.dtype}
        return {**base, **({"input_shape": list(hint[1:])} if hint else {}), **values}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """Make a layer from what ``get_config`` returned.

        A constructor without ``**options`` need not know of ``name``, ``trainable`` and ``dtype``: they are set on the
        layer that it makes.
        """
        parameters = inspect.signature(cls.__init__).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return cls(**config)
        common = {name: config[name] for name in ("name", "trainable", "dtype", "input_shape") if name in config}
        common = {name: value for name, value in common.items() if name not in parameters}
        layer = cls(**{name: value for name, value in config.items() if name not in common})
        plain = Layer(**{"name": "plain", **common})  # which checks them
        if "name" in common:
            layer.name = plain.name
        if "dtype" in common:
            layer.dtype = plain.dtype
        if "input_shape" in common:
            layer.input_shape_hint = plain.input_shape_hint
        if not plain.trainable:
            layer.trainable = False
        return layer

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_uses": []}  # weak references cannot be pickled

    def __repr__(self) -> str:
        known = [name for name in _constructor_arguments(type(self)) if hasattr(self, name)]
        arguments = {name: getattr(self, name) for name in known}
        shown = [
            f"{name}={getattr(value, '__name__', None) or repr(value)}"
            for name, value in arguments.items()
            if not _is_default(value, _constructor_arguments(type(self))[name])
        ]
        return f"{type(self).__name__}({', '.join([*shown, f'name={self.name!r}'])})"


LAYERS = registry.Registry("layer", Layer)


# --- helpers ---------------------------------------------------------------------------------------------------


def reset_names() -> None:
    """Start the numbering of automatic layer names afresh."""
    _names.clear()


def _unique_name(class_name: str) -> str:
    """``MaxPooling2D`` -> ``max_pooling2d``, ``max_pooling2d_1``, ..."""
    base = _snake(class_name)
    _names[base] += 1
    return base if _names[base] == 1 else f"{base}_{_names[base] - 1}"


def _once(build: Callable[..., None]) -> Callable[..., None]:
    """``build`` that does nothing on a layer that is built: layers that hold layers may build them early."""

    @functools.wraps(build)
    def build_once(self: Layer, input_shape: Any = None) -> None:
        if not self.built:
            build(self, input_shape)
            self.built = self.built or input_shape is not None

    return build_once


def _naming_errors(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor whose ``ValueError`` says which layer refused its arguments."""

    @functools.wraps(init)
    def named_init(self: Layer, *args: Any, **options: Any) -> None:
        try:
            init(self, *args, **options)
        except LayerError:
            raise
        except ValueError as error:
            title = self._title if hasattr(self, "name") else type(self).__name__
            raise LayerError(f"{title}: {error}") from error

    return named_init


def _snake(class_name: str) -> str:
    return re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", class_name.strip("_")).lower()  # Keras's rule


def _constructor_arguments(cls: type) -> dict[str, Any]:
    """Names and defaults of the constructor arguments that are the layer's own, by inspection."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if issubclass(base, Layer) and base is not Layer and "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters
            named = [p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
            for p in named[1:]:  # all but self
                found.setdefault(p.name, p.default)
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                break
    return {name: default for name, default in found.items() if name not in ("name", "trainable", "dtype")}


def _is_default(value: Any, default: Any) -> bool:
    """Whether an argument has its default value; names may have become objects, numbers pairs, and None a choice."""
    if default is None:
        return value is None or getattr(value, "__name__", "") == "linear" or value == config.image_data_format()
    if isinstance(default, str) and not isinstance(value, str):
        return repr(value) == f"{type(value).__name__}()" and _snake(type(value).__name__) == default
    return bool(np.array_equal(value, default) or np.array_equal(value, (default, default)))


_CONTAINERS = (list, tuple, dict)


def _find_layers(values: Iterable[Any], found: dict[int, Layer]) -> None:
    """Add the layers among values, and in lists, tuples and dictionaries there, by id; quick, as every step asks."""
    for value in values:
        if isinstance(value, Layer):
            found.setdefault(id(value), value)
        elif isinstance(value, _CONTAINERS) and value:
            _find_layers(value.values() if isinstance(value, dict) else value, found)


def flatten_structure(structure: Any) -> list[Any]:
    """Leaves of nested lists, tuples and dictionaries of tensors."""
    if isinstance(structure, dict):
        return [leaf for value in structure.values() for leaf in flatten_structure(value)]
    if isinstance(structure, list | tuple) and _holds_tensors(structure):
        return [leaf for value in structure for leaf in flatten_structure(value)]
    return [structure]


def map_structure(f: Callable[[Any], Any], structure: Any) -> Any:
    """Apply ``f`` to one tensor, or to each of a list or dictionary of tensors (sequences become lists)."""
    if isinstance(structure, dict):
        return {key: map_structure(f, value) for key, value in structure.items()}
    if isinstance(structure, list | tuple) and _holds_tensors(structure):
        return [map_structure(f, value) for value in structure]
    return f(structure)


def _holds_tensors(sequence: Sequence[Any]) -> bool:
    """Whether a sequence is a structure of tensors or arrays, rather than nested numbers that are one array."""
    return any(
        isinstance(x, Tensor | Symbolic | np.ndarray | dict)
        or backends.on_gpu(x)
        or (isinstance(x, list | tuple) and _holds_tensors(x))
        for x in sequence
    )


def _holds_unknown_sizes(shapes: Any) -> bool:
    """Whether a shape, or one of a list or dictionary of them, has an unknown size besides the batch axis."""
    if isinstance(shapes, list | dict):
        return any(_holds_unknown_sizes(shape) for shape in (shapes.values() if isinstance(shapes, dict) else shapes))
    return None in shapes[1:]


def _as_shapes(value: Any) -> Any:
    """What ``compute_output_shape`` returned, in one form: tuples are shapes; several lie in a list or dictionary."""
    if isinstance(value, dict):
        return {key: _as_shapes(shape) for key, shape in value.items()}
    if isinstance(value, list | tuple) and any(isinstance(entry, list | tuple | dict) for entry in value):
        return [_as_shapes(shape) for shape in value]
    return tuple(value)


def flatten_shapes(shapes: Any) -> list[Shape]:
    """One shape, or those in a list or dictionary, as a list."""
    found: list[Shape] = []
    _map_shapes(found.append, shapes)
    return found


def _map_shapes(f: Callable[[Shape], Any], shapes: Any) -> Any:
    """Apply ``f`` to one shape, or to each of a list or dictionary of shapes."""
    if isinstance(shapes, dict):
        return {key: _map_shapes(f, value) for key, value in shapes.items()}
    return [_map_shapes(f, shape) for shape in shapes] if isinstance(shapes, list) else f(shapes)
