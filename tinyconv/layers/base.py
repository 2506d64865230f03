"""``Layer``: weights, a ``build`` that makes them once shapes are known, and a ``call`` that computes with operations.

A layer keeps every constructor argument in an attribute of the same name; that is all ``get_config`` needs. Weights are
``Parameter`` tensors in the order of their creation. Layers that are attributes of a layer (or lie in its lists and
dictionaries) are its children: their weights are its weights.
"""

from __future__ import annotations

import functools
import inspect
import warnings
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinyconv import activations, backends, config, constraints, initializers, registry, regularizers
from tinyconv.device import device
from tinyconv.layers.graph import (
    Call,
    Shape,
    Symbolic,
    as_shapes,
    flatten_structure,
    holds_tensors,
    map_shapes,
    map_structure,
    map_symbols,
    map_tensors,
    symbols_in,
    tensors_in,
)
from tinyconv.masking import Masked, mask_of, with_mask
from tinyconv.metrics.base import Metric
from tinyconv.registry import snake_case
from tinyconv.tensor import Tensor, no_grad

_snake = snake_case

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
    activity_regularizer : str or object, optional
        Penalty on the outputs, divided by the number of samples.

    Notes
    -----
    Subclasses define ``call(self, inputs)`` (with arguments ``training`` and ``mask`` if they need them), usually
    ``build`` and ``compute_output_shape``, and keep constructor arguments as attributes of the same names.

    ``call`` may have several tensors as arguments: ``call(self, query, key=None)``. ``build`` and
    ``compute_output_shape`` then get the shape of the first, or all by the names ``query_shape`` and ``key_shape``;
    masks arrive as ``query_mask`` and ``key_mask``.

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
    supports_masking = False  # whether masks of inputs may pass on to outputs (see ``tinyconv.masking``)
    _call_arguments: tuple[str, ...] = ("inputs",)  # names of the arguments of ``call``
    _wants_training = _wants_mask = False  # whether these are among them
    _makes_masks = False  # whether ``compute_mask`` does more than to hand masks on

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._call_arguments = tuple(inspect.signature(cls.call).parameters)[1:]
        cls._wants_training, cls._wants_mask = "training" in cls._call_arguments, "mask" in cls._call_arguments
        cls._makes_masks = cls.compute_mask is not Layer.compute_mask
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
        activity_regularizer: Any = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise TypeError(f"{type(self).__name__} got unknown arguments. Received: {', '.join(sorted(unknown))}")
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ValueError(f"name must be a non-empty string without '/'. Received: {name!r}")
        self.name = name or _unique_name(type(self).__name__)
        self.dtype = np.dtype(dtype or config.floatx()).name
        self.input_shape_hint = None if input_shape is None else (None, *input_shape)
        self.activity_regularizer = regularizers.get(activity_regularizer)
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
        return self._try_out((map_shapes(lambda shape: Symbolic(shape, self.dtype), input_shape),), {})

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the outputs, from inputs and their mask: that mask, by default."""
        return mask

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
        self._parameters.append(parameter)
        return parameter

    @property
    def children(self) -> list[Layer]:
        """Layers held in attributes, or in lists, tuples and dictionaries there, each once, in order."""
        return list(_find(Layer, vars(self).values(), {}).values())

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

    # --- calling -----------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, training: bool | None = None, **options: Any) -> Any:
        inputs, *others = args or (self._first_argument(options),)
        more = bool(others or options)
        leaves = flatten_structure(inputs)
        if any(isinstance(x, Symbolic) for x in leaves) or (more and any(symbols_in((others, options)))):
            given = {} if training is None else {"training": training}
            return self._call_symbolic((inputs, *others), {**options, **given})
        inputs = map_structure(self._prepare, inputs)
        input_shape, shapes = map_structure(_shape_of, inputs), {}
        if more:
            others, options = map_tensors(self._prepare_other, others), map_tensors(self._prepare_other, options)
            shapes = self._other_shapes(others, options)
        self._added_losses.clear()
        token = _training.set(_training.get() if training is None else bool(training))
        try:
            self._ensure_built(input_shape, shapes)
            if self._wants_training:
                options["training"] = _training.get()
            mask = self._fill_in_masks(inputs, others, options)
            with _device_of(inputs):
                outputs = self.call(inputs, *others, **options)
            if self.activity_regularizer is not None:
                self.add_loss([self.activity_regularizer(y) / max(len(y), 1) for y in flatten_structure(outputs)])
            if mask is not None or self._makes_masks:
                outputs = self._hand_on_mask(inputs, outputs, mask)
        except LayerError:
            raise
        except ValueError as error:
            raise LayerError(f"{self._title}: {error}") from error
        finally:
            _training.reset(token)
        self._shapes = _together(input_shape, shapes), map_structure(_shape_of, outputs)
        return outputs

    def _first_argument(self, options: dict[str, Any]) -> Any:
        """What ``call`` expects first, taken out of arguments that were all given by name."""
        first = next(iter(self._call_arguments), "inputs")
        if first not in options:
            raise TypeError(f"{self._title} expected {first}. Received: {sorted(options) or 'no argument'}")
        return options.pop(first)

    def _prepare(self, x: Any) -> Tensor:
        tensor = x if isinstance(x, Tensor) else Tensor(x)
        if not self.autocast or tensor.dtype.name == self.dtype:
            return tensor
        return with_mask(tensor.astype(self.dtype), mask_of(x))

    def _prepare_other(self, x: Any) -> Tensor:
        """A tensor that is not the first argument: masks and indices keep their dtype."""
        return self._prepare(x) if x.dtype.kind == "f" else x if isinstance(x, Tensor) else Tensor(x)

    def _other_shapes(self, others: Sequence[Any], options: dict[str, Any]) -> dict[str, Any]:
        """Shapes of the tensors after the first argument, as ``<argument>_shape``; masks do not count."""
        given = {**dict(zip(self._call_arguments[1:], others, strict=False)), **options}
        return {
            f"{name}_shape": map_tensors(_shape_of, value)
            for name, value in given.items()
            if not name.endswith("mask") and holds_tensors(value)
        }

    def _by_shapes(self, method: Callable[..., Any], input_shape: Any, shapes: dict[str, Any]) -> Any:
        """Call ``build`` or ``compute_output_shape`` with the first shape, or with all that it has names for."""
        first, *names = inspect.signature(method).parameters
        if not names:
            return method(input_shape)
        given = {f"{self._call_arguments[0]}_shape": input_shape, **shapes}
        return method(given.get(first, input_shape), **{name: given[name] for name in names if name in given})

    # --- masks -------------------------------------------------------------------------------------------------

    def _fill_in_masks(self, inputs: Any, others: Sequence[Any], options: dict[str, Any]) -> Any:
        """Give ``call`` the masks of its arguments, where it asks for them; returns that of the inputs."""
        mask = mask_of(inputs) if isinstance(inputs, Tensor) else _none_if_all_are(map_structure(mask_of, inputs))
        if options.get("mask") is not None:
            return options["mask"]
        if self._wants_mask:
            options["mask"] = mask
        for name, x in zip(self._call_arguments, (inputs, *others), strict=False):
            if f"{name}_mask" in self._call_arguments and options.get(f"{name}_mask") is None:
                options[f"{name}_mask"] = _none_if_all_are(map_tensors(mask_of, x))
        return mask

    def _hand_on_mask(self, inputs: Any, outputs: Any, mask: Any) -> Any:
        """The outputs with their masks; those that carry one already keep it."""
        if not self.supports_masking:
            if mask is not None and not any(name.endswith("mask") for name in self._call_arguments):
                warnings.warn(
                    f"{self._title} received inputs with a mask, which it does not support: it computes with all "
                    "steps, and its outputs carry no mask. Set supports_masking = True where that is meant",
                    stacklevel=4,
                )
            return outputs
        masks = self.compute_mask(inputs, mask)
        if masks is None or isinstance(outputs, Masked):
            return outputs
        if isinstance(outputs, Tensor):
            return with_mask(outputs, masks)
        remaining = iter(masks if isinstance(masks, list | tuple) else [masks])
        return map_structure(lambda y: y if isinstance(y, Masked) else with_mask(y, next(remaining, None)), outputs)

    # --- symbolic calls ----------------------------------------------------------------------------------------

    def _call_symbolic(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        tensors = [*flatten_structure(args[0]), *tensors_in((args[1:], options))]
        if not all(isinstance(x, Symbolic) for x in tensors):
            raise TypeError(f"{self._title} expected all inputs to be symbolic. Received: {tensors!r}")
        try:
            shapes = self._infer_shapes(args, options)
        except LayerError:
            raise
        except ValueError as error:
            raise LayerError(f"{self._title}: {error}") from error
        call = Call(self, args, options, shapes)
        input_shape = map_structure(_shape_of, args[0])
        self._shapes = _together(input_shape, self._other_shapes(args[1:], options)), shapes
        self._uses = [*(use for use in self._uses if use() is not None), weakref.ref(call)]
        return call.outputs

    def _infer_shapes(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Shapes of the outputs for arguments with symbolic tensors; builds the layer if need be."""
        input_shape, shapes = map_structure(_shape_of, args[0]), self._other_shapes(args[1:], options)
        self._ensure_built(input_shape, shapes)
        if shapes and type(self).compute_output_shape is Layer.compute_output_shape:
            return self._try_out(args, options)
        return as_shapes(self._by_shapes(self.compute_output_shape, input_shape, shapes))

    def _try_out(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Shapes of the outputs of a trial run, with zeros in place of the symbolic tensors in the arguments."""

        def trial(unknown: int) -> Any:
            def zeros(x: Symbolic) -> Tensor:
                sizes = [unknown if n is None else n for n in x.shape[1:]]
                return Tensor(np.zeros([x.shape[0] or 1, *sizes] if x.shape else [], x.dtype))

            inputs, *others = map_symbols(zeros, args)
            further = {"training": False} if self._wants_training else {}
            further.update(map_tensors(self._prepare_other, map_symbols(zeros, options)))
            with no_grad():
                return self.call(
                    map_structure(self._prepare, inputs), *map_tensors(self._prepare_other, others), **further
                )

        symbols = list(symbols_in((args, options)))
        batched = any(not x.shape or x.shape[0] is None for x in symbols)
        outputs = trial(32)
        others = iter(flatten_structure(trial(64) if any(None in x.shape[1:] for x in symbols) else outputs))

        def compare(y: Any) -> Shape:  # sizes that follow an unknown one are unknown
            sizes = (m if m == n else None for m, n in zip(y.shape[1:], next(others).shape[1:], strict=True))
            return (None if batched else y.shape[0], *sizes) if y.ndim else ()

        return map_structure(compare, outputs)

    def _ensure_built(self, input_shape: Any, shapes: dict[str, Any] | None = None) -> None:
        """Check the first argument's shape, and build unless that is done; ``shapes`` are those of other arguments."""
        self.check_input(input_shape)
        if not self.built:
            before = None if self._trainable else self.children
            self._by_shapes(self.build, input_shape, shapes or {})
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
        base: dict[str, Any] = {"name": self.name, "trainable": self.trainable, "dtype": self.dtype}
        if self.input_shape_hint:
            base["input_shape"] = list(self.input_shape_hint[1:])
        if self.activity_regularizer is not None:
            base["activity_regularizer"] = registry.serialize(self.activity_regularizer)
        return {**base, **values}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """Make a layer from what ``get_config`` returned.

        A constructor without ``**options`` need not know of ``name``, ``trainable``, ``dtype`` and so on: they are set
        on the layer that it makes.
        """
        parameters = inspect.signature(cls.__init__).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return cls(**config)
        common = {name: value for name, value in config.items() if name in _COMMON and name not in parameters}
        layer = cls(**{name: value for name, value in config.items() if name not in common})
        plain = Layer(**{"name": "plain", **common})  # which checks them
        for name in common:
            attribute = "input_shape_hint" if name == "input_shape" else name
            setattr(layer, attribute, getattr(plain, attribute))
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


def activation_of(identifier: Any) -> Callable[..., Any]:
    """The activation that a layer is given: a name, any callable(tensor), None, or the configuration of a layer."""
    return LAYERS.get(identifier) if isinstance(identifier, dict) else activations.get(identifier)


# --- helpers ---------------------------------------------------------------------------------------------------


_COMMON = ("name", "trainable", "dtype", "input_shape", "activity_regularizer")  # what every layer takes


def reset_names() -> None:
    """Start the numbering of automatic layer names afresh."""
    _names.clear()


def _unique_name(class_name: str) -> str:
    """``MaxPooling2D`` -> ``max_pooling2d``, ``max_pooling2d_1``, ..."""
    base = snake_case(class_name)
    _names[base] += 1
    return base if _names[base] == 1 else f"{base}_{_names[base] - 1}"


def _once(build: Callable[..., None]) -> Callable[..., None]:
    """``build`` that does nothing on a layer that is built: layers that hold layers may build them early."""

    @functools.wraps(build)
    def build_once(self: Layer, input_shape: Any = None, *args: Any, **shapes: Any) -> None:
        if not self.built:
            build(self, input_shape, *args, **shapes)
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


def _constructor_arguments(cls: type) -> dict[str, Any]:
    """Names and defaults of the constructor arguments that are the layer's own."""
    own = registry.arguments_of(cls, Layer)
    return {name: default for name, default in own.items() if name not in ("name", "trainable", "dtype")}


def _is_default(value: Any, default: Any) -> bool:
    """Whether an argument has its default value; names may have become objects, numbers pairs, and None a choice."""
    if default is None:
        return value is None or getattr(value, "__name__", "") == "linear" or value == config.image_data_format()
    if isinstance(default, str) and not isinstance(value, str):
        return repr(value) == f"{type(value).__name__}()" and snake_case(type(value).__name__) == default
    return bool(np.array_equal(value, default) or np.array_equal(value, (default, default)))


_CONTAINERS = (list, tuple, dict)
_barren: dict[type, set[type]] = defaultdict(set)  # by kind, types that were met and are neither of it nor containers


def _find(kind: type, values: Iterable[Any], found: dict[int, Any]) -> dict[int, Any]:
    """What is of a ``kind`` among values, and in containers there, by id; quick, as every step asks for layers."""
    barren = _barren[kind]
    for value in values:
        if type(value) in barren:
            continue
        if isinstance(value, kind):
            found.setdefault(id(value), value)
        elif not isinstance(value, _CONTAINERS):
            barren.add(type(value))
        elif value:
            _find(kind, value.values() if isinstance(value, dict) else value, found)
    return found


def _device_of(inputs: Any) -> AbstractContextManager[Any]:
    """Where a layer's own new tensors belong (random numbers, masks): to the device of what it is called with."""
    if not backends.cuda_in_use():
        return nullcontext()
    return device(flatten_structure(inputs)[0].device)


def _shape_of(x: Any) -> Shape:
    """The shape of a symbolic tensor, or of a tensor, whose number of samples may be another one next time."""
    return x.shape if isinstance(x, Symbolic) else (None, *x.shape[1:])


def _together(input_shape: Any, shapes: dict[str, Any]) -> Any:
    """The first argument's shape, or a list of it and the shapes of the others."""
    return [input_shape, *shapes.values()] if shapes else input_shape


def _none_if_all_are(masks: Any) -> Any:
    return masks if holds_tensors(masks) else None
