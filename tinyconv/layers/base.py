"""``Layer``: a ``Module`` with a ``build`` that makes the weights once shapes are known, and a ``call`` that computes.

A layer keeps every constructor argument in an attribute of the same name; that is all ``get_config`` needs.
"""

from __future__ import annotations

import functools
import inspect
import warnings
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinyconv import activations, backends, config, registry, regularizers
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
from tinyconv.layers.module import Module
from tinyconv.layers.module import Parameter as Parameter
from tinyconv.masking import Masked, mask_of, with_mask
from tinyconv.registry import snake_case
from tinyconv.tensor import Tensor, no_grad

_training: ContextVar[bool | None] = ContextVar("tinyconv_training", default=None)  # None: outside of all calls


class LayerError(ValueError):
    """A ``ValueError`` whose message names the layer in which it arose."""


class Layer(Module):
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
        Shape of one sample, without the batch axis: lets the first layer of a ``Sequential`` build at once. Keras 2's
        ``input_dim=n`` is accepted for ``(n,)``.
    activity_regularizer : str or object, optional
        Penalty on the outputs, divided by the number of samples.
    autocast : bool, optional
        Whether inputs are converted to the layer's dtype, integers too: they are unless the class says otherwise.

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
    _has_own_graph = False  # whether input and output shapes are those of the layer's own graph, not of its calls

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
        autocast: bool | None = None,
        **unknown: Any,
    ) -> None:
        if "input_dim" in unknown:  # of Keras 2
            input_shape = (unknown.pop("input_dim"),)
        if unknown:
            raise TypeError(f"{type(self).__name__} got unknown arguments. Received: {', '.join(sorted(unknown))}")
        super().__init__(name, trainable, dtype)
        self.input_shape_hint = None if input_shape is None else (None, *as_sizes(input_shape, "input_shape"))
        self.activity_regularizer = regularizers.get(activity_regularizer)
        if autocast is not None:
            self.autocast = autocast
        self._shapes: tuple[Any, Any] | None = None  # inputs and outputs, in a graph or else of the last call
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
        outputs = self._try_out((map_shapes(lambda shape: Symbolic(shape, self.dtype), input_shape),), {})
        return map_structure(lambda y: y.shape, outputs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the outputs, from inputs and their mask: that mask, by default."""
        return mask

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
        outer = _training.get()
        if outer is None:
            self._forget_losses()
        token = _training.set(bool(outer if training is None else training))
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
            raise self._named(error) from error
        finally:
            _training.reset(token)
        if not (self._has_own_graph or self._uses):
            self._shapes = _together(input_shape, shapes), map_structure(_shape_of, outputs)
        return outputs

    def _named(self, error: ValueError) -> LayerError:
        """An error that says in which layer it arose."""
        text = str(error)
        return LayerError(text if text.startswith(self._title) else f"{self._title}: {text}")

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
        wanted = self._call_arguments[1 + len(others) :]  # what is not given by position
        by_position = self._wants_mask and "mask" not in wanted
        given = others[self._call_arguments.index("mask") - 1] if by_position else options.get("mask")
        if given is not None:
            return given
        if "mask" in wanted:
            options["mask"] = mask
        for name, x in zip(self._call_arguments, (inputs, *others), strict=False):
            if f"{name}_mask" in wanted and options.get(f"{name}_mask") is None:
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
            call = Call(self, args, options, self._foresee(args, options))
        except LayerError:
            raise
        except ValueError as error:
            raise self._named(error) from error
        if not self._has_own_graph:
            input_shape = map_structure(_shape_of, args[0])
            self._shapes = _together(input_shape, self._other_shapes(args[1:], options)), call.shapes
        self._uses = [*(use for use in self._uses if use() is not None), weakref.ref(call)]
        return call.outputs

    def _foresee(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The outputs for arguments with symbolic tensors, as symbolic tensors that no call gives yet.

        Builds the layer if need be.
        """
        input_shape, shapes = map_structure(_shape_of, args[0]), self._other_shapes(args[1:], options)
        self._ensure_built(input_shape, shapes)
        if not self._knows_shapes():
            return self._try_out(args, options)
        foreseen = as_shapes(self._by_shapes(self.compute_output_shape, input_shape, shapes))
        return map_shapes(lambda shape: Symbolic(shape, self.dtype), foreseen)

    def _knows_shapes(self) -> bool:
        """Whether ``compute_output_shape`` needs no trial run, which here is one with the dtypes and options given."""
        return type(self).compute_output_shape is not Layer.compute_output_shape

    def _try_out(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The outputs of a trial run, with zeros in place of the symbolic tensors in the arguments, symbolic again."""

        def trial(unknown: int) -> Any:
            def zeros(x: Symbolic) -> Tensor:
                sizes = [unknown if n is None else n for n in x.shape[1:]]
                return Tensor(np.zeros([x.shape[0] or 1, *sizes] if x.shape else [], x.dtype))

            inputs, *others = map_symbols(zeros, args)
            further = map_tensors(self._prepare_other, map_symbols(zeros, options))
            further.pop("training", None)
            if self._wants_training:
                further["training"] = False
            token = _training.set(False)  # nothing is learned from zeros
            try:
                with no_grad():
                    return self.call(
                        map_structure(self._prepare, inputs), *map_tensors(self._prepare_other, others), **further
                    )
            finally:
                _training.reset(token)
                self._forget_losses()

        symbols = list(symbols_in((args, options)))
        batched = any(not x.shape or x.shape[0] is None for x in symbols)
        outputs = trial(32)
        others = iter(flatten_structure(trial(64) if any(None in x.shape[1:] for x in symbols) else outputs))

        def compare(y: Any) -> Symbolic:  # sizes that follow an unknown one are unknown
            sizes = (m if m == n else None for m, n in zip(y.shape[1:], next(others).shape[1:], strict=True))
            return Symbolic((None if batched else y.shape[0], *sizes) if y.ndim else (), y.dtype.name)

        return map_structure(compare, outputs)

    def _ensure_built(self, input_shape: Any, shapes: dict[str, Any] | None = None) -> None:
        """Check the first argument's shape, and build unless that is done; ``shapes`` are those of other arguments."""
        self.check_input(input_shape)
        if not self.built:
            before = None if self._trainable else self.children
            self._build(input_shape, shapes or {})
            for child in self.children if before is not None else ():
                if not any(child is old for old in before or ()):  # made by build, after this layer was frozen
                    child.trainable = False
        self.built = True

    def _build(self, input_shape: Any, shapes: dict[str, Any]) -> None:
        self._by_shapes(self.build, input_shape, shapes)

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
        """Shape of the inputs in a graph, else in the last call; ``None`` for sizes that may vary, as of batches."""
        return self._known_shapes()[0]

    @property
    def output_shape(self) -> Any:
        """Shape of the outputs in a graph, else in the last call; ``None`` for sizes that may vary, as of batches."""
        return self._known_shapes()[1]

    def _known_shapes(self) -> tuple[Any, Any]:
        if self._shapes is None:
            raise AttributeError(f"{self._title} was never called, so it has no input and output shape yet")
        return self._shapes

    def _check_ndim(self, input_shape: Shape, ndim: int, meaning: str) -> None:
        """Raise unless inputs have ``ndim`` axes; ``meaning`` names them."""
        if not isinstance(input_shape, tuple) or len(input_shape) != ndim:
            raise LayerError(f"{self._title} expected {ndim} axes {meaning}. Received: shape {input_shape}")

    def _check_axis(self, input_shape: Shape, axis: int, size: int) -> None:
        """Raise unless the inputs still have the ``size`` along ``axis`` that the layer was built for."""
        if input_shape[axis] not in (size, None):
            raise LayerError(
                f"{self._title} was built for {size} channels or features on axis {axis}. Received: shape {input_shape}"
            )

    # --- configuration -----------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as plain data; ``from_config`` makes an equal layer (without its weights)."""
        names = self._own_arguments()
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise LayerError(
                f"{self._title} cannot be saved: expected an attribute for each argument of its constructor, or a "
                f"get_config of its own. Received: no attribute {', '.join(map(repr, missing))}"
            )
        return {**self._common_config(), **{name: registry.serialize(getattr(self, name)) for name in names}}

    def _own_arguments(self) -> dict[str, Any]:
        """Names and defaults of the constructor arguments that describe this layer, beside those of every layer."""
        return _constructor_arguments(type(self))

    def _common_config(self) -> dict[str, Any]:
        """The arguments that every layer takes."""
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable, "dtype": self.dtype}
        if self.autocast != type(self).autocast:
            config["autocast"] = self.autocast
        if self.input_shape_hint:
            config["input_shape"] = list(self.input_shape_hint[1:])
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = registry.serialize(self.activity_regularizer)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """Make a layer from what ``get_config`` returned.

        A constructor without ``**options`` need not know of ``name``, ``trainable``, ``dtype`` and so on: they are set
        on the layer that it makes.
        """
        parameters = inspect.signature(cls.__init__).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            layer = cls(**config)
            if not layer.trainable:
                layer.trainable = False  # its inner layers too, of which the configuration tells nothing
            return layer
        common = {name: value for name, value in config.items() if name in _COMMON and name not in parameters}
        layer = cls(**{name: value for name, value in config.items() if name not in common})
        plain = Layer(**{"name": "plain", **common})  # which checks them
        for name in common:
            attribute = "input_shape_hint" if name == "input_shape" else name
            value = getattr(plain, attribute)
            if value != getattr(layer, attribute):  # what the constructor froze inside stays frozen
                setattr(layer, attribute, value)
        return layer

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_uses": []}  # weak references cannot be pickled

    def __repr__(self) -> str:
        given = [(name, getattr(self, name, default), default) for name, default in self._own_arguments().items()]
        shown = [
            f"{name}={getattr(value, '__name__', None) or repr(value)}"
            for name, value, default in given
            if not _is_default(value, default)
        ]
        return f"{type(self).__name__}({', '.join([*shown, f'name={self.name!r}'])})"


LAYERS = registry.Registry("layer", Layer)


def activation_of(identifier: Any) -> Callable[..., Any]:
    """The activation that a layer is given: a name, any callable(tensor), None, or the configuration of a layer."""
    return LAYERS.get(identifier) if isinstance(identifier, dict) else activations.get(identifier)


# --- helpers ---------------------------------------------------------------------------------------------------


def as_sizes(shape: Any, name: str) -> tuple[int | None, ...]:
    """The shape of one sample as a tuple, else ``ValueError``."""
    whole = isinstance(shape, Sequence) and not isinstance(shape, str)
    if not whole or not all(n is None or (isinstance(n, int | np.integer) and n >= 0) for n in shape):
        raise ValueError(f"{name} must be a tuple of integers or None, the shape of one sample. Received: {shape!r}")
    return tuple(shape)


_COMMON = ("name", "trainable", "dtype", "input_shape", "activity_regularizer", "autocast")  # what every layer takes


def _once(build: Callable[..., None]) -> Callable[..., None]:
    """``build`` that does nothing on a layer that is built: layers that hold layers may build them early."""

    @functools.wraps(build)
    def build_once(self: Layer, input_shape: Any = None, *args: Any, **shapes: Any) -> None:
        if self.built:
            return
        count = len(self._parameters)
        try:
            build(self, input_shape, *args, **shapes)
        except BaseException:
            del self._parameters[count:]  # the next attempt makes them again
            raise
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


def _device_of(inputs: Any) -> AbstractContextManager[Any]:
    """Where a layer's own new tensors belong (random numbers, masks): to the device of what it is called with."""
    if not backends.cuda_in_use():
        return nullcontext()
    return device(flatten_structure(inputs)[0].device)


def _shape_of(x: Any) -> Shape:
    """The shape of a symbolic tensor, or of a tensor, whose number of samples may be another one next time."""
    return x.shape if isinstance(x, Symbolic) or not x.shape else (None, *x.shape[1:])


def _together(input_shape: Any, shapes: dict[str, Any]) -> Any:
    """The first argument's shape, or a list of it and the shapes of the others."""
    return [input_shape, *shapes.values()] if shapes else input_shape


def _none_if_all_are(masks: Any) -> Any:
    return masks if holds_tensors(masks) else None
