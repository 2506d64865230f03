"""``Sequential``: a stack of layers."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from tinyconv import registry
from tinyconv.layers import Activation, InputLayer
from tinyconv.layers.base import Layer
from tinyconv.layers.graph import Shape, Symbolic, map_structure
from tinyconv.masking import with_mask
from tinyconv.models.model import Model, as_shape, deserialize_layer, serialize_layer


@registry.register
class Sequential(Model):
    """Layers one after the other.

    Parameters
    ----------
    layers : sequence of Layer or of functions
        Functions become ``Activation`` layers. The first layer may be ``Input(shape)`` or have an ``input_shape``;
        then weights exist at once, else from the first call on.
    name : str, optional

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.Sequential([tc.Input((8,)), tc.layers.Dense(30, activation="relu"), tc.layers.Dense(1)])
    >>> model.count_params()
    301
    """

    autocast = False  # every layer knows its own dtype
    supports_masking = True  # each layer hands on its own
    _has_own_graph = True

    def __init__(self, layers: Sequence[Any] = (), name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name)
        self._layers: list[Layer] = []
        self._input: Symbolic | None = None
        self._output: Symbolic | None = None
        for layer in layers or ():
            self.add(layer)
        if not trainable:
            self.trainable = False

    @property
    def layers(self) -> list[Layer]:
        """The layers, in order."""
        return list(self._layers)

    def add(self, layer: Any) -> None:
        """Put a layer on top of the stack; on a frozen stack (``trainable = False``), it is frozen too."""
        if isinstance(layer, Symbolic):
            return self._set_input(layer.shape, layer.dtype, layer.name)
        if isinstance(layer, InputLayer):
            return self._set_input(layer.batch_shape, layer.dtype, layer.name)
        if callable(layer) and not isinstance(layer, Layer | type):  # a function such as activations.get("relu")
            layer = Activation(layer)
        if not isinstance(layer, Layer):
            hint = "; make one of this class first" if isinstance(layer, type) else ""
            raise TypeError(f"{self._title} expected layers. Received: {layer!r}{hint}")
        if any(layer is other for other in self._layers):
            raise ValueError(f"Layer {layer.name!r} is already part of this Sequential; make a new one")
        if any(layer.name == other.name for other in self._layers):
            raise ValueError(f"Layer names must be unique in a model. Received: {layer.name!r} twice")
        if not self._layers and self._input is None:
            known = layer.input_shape_hint or (layer._shapes[0] if isinstance(layer, Model) and layer._shapes else None)
            if known is not None:
                self._set_input(known)
        if self._output is not None:
            self._output = self._on_top(layer, self._output)
            self._shapes = self._input_shapes(), self._output.shape
        self._layers = [*self._layers, layer]
        self.built = self._output is not None
        if not self._trainable:
            layer.trainable = False

    def pop(self) -> Layer:
        """Remove and return the topmost layer."""
        if not self._layers:
            raise IndexError("There is no layer left to remove")
        *self._layers, top = self._layers
        if self._output is not None and self._output.call is not None:
            below: Any = self._output.call.inputs  # the graph below stays as it is
            self._output, self._shapes = below, (self._input_shapes(), below.shape)
            self.built = bool(self._layers)
        return top

    def _set_input(self, shape: Shape, dtype: str | None = None, name: str | None = None) -> None:
        """Start the chain of symbolic tensors: every layer builds itself."""
        self._input = self._output = Symbolic(shape, dtype or self.dtype, name or f"{self.name}_input")
        for layer in self._layers:
            self._output = self._on_top(layer, self._output)
        self._shapes = shape, self._output.shape
        self.built = bool(self._layers)

    def _on_top(self, layer: Layer, below: Symbolic) -> Symbolic:
        output = layer(below)
        if not isinstance(output, Symbolic):
            raise ValueError(f"{self._title} expected layers with one output. Received: {layer._title} with {output}")
        return output

    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of ``input_shape``, batch axis first (``None``)."""
        if self._input is None and input_shape is not None:
            self._set_input((None, *input_shape[1:]))

    def _input_shapes(self) -> Any:
        return None if self._input is None else self._input.shape

    def _output_names(self, y_pred: Any) -> list[str]:
        single = self._layers and not isinstance(y_pred, list | dict)
        return [self._layers[-1].name] if single else super()._output_names(y_pred)

    def check_input(self, input_shape: Any) -> None:
        """Raise for inputs with another number of axes than the stack was made for; sizes concern the layers."""
        known = None if self._input is None else self._input.shape
        if known is not None and isinstance(input_shape, tuple) and len(input_shape) != len(known):
            raise ValueError(f"expected {len(known)} axes, as in shape {known}. Received: shape {input_shape}")

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the outputs for ``input_shape``."""
        dtype = self.dtype if self._input is None else self._input.dtype
        return map_structure(lambda t: t.shape, self._foreseen(Symbolic(input_shape, dtype)))

    def _foresee(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        self._ensure_built(args[0].shape)
        return self._foreseen(args[0])

    def _foreseen(self, below: Symbolic) -> Any:
        """The output for an input of another shape or dtype, as a symbolic tensor that no call gives yet."""
        for layer in self._layers:
            below = layer._foresee((below,), {})
        return below

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: the outputs carry the mask that the last layer gave them."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Run the layers in order; ``mask`` is that of the inputs."""
        inputs = with_mask(inputs, mask)
        for layer in self._layers:
            inputs = layer(inputs)
        return inputs

    @property
    def inputs(self) -> list[Symbolic]:
        """The symbolic input, once the input shape is known."""
        if self._input is None:
            raise AttributeError(f"Sequential {self.name!r} does not know its input shape yet")
        return [self._input]

    @property
    def outputs(self) -> list[Symbolic]:
        """The symbolic output, once the input shape is known."""
        if self._output is None:
            raise AttributeError(f"Sequential {self.name!r} does not know its input shape yet")
        return [self._output]

    def get_config(self) -> dict[str, Any]:
        """Layers and input shape as plain data."""
        return {
            "name": self.name,
            "trainable": self._trainable,
            "input_shape": None if self._input is None else list(self._input.shape),
            "input_dtype": None if self._input is None else self._input.dtype,
            "input_name": None if self._input is None else self._input.name,
            "layers": [serialize_layer(layer) for layer in self._layers],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sequential:
        """The model that ``get_config`` described, with fresh weights."""
        model = cls(name=config.get("name"))
        if config.get("input_shape") is not None:
            model._set_input(as_shape(config["input_shape"]), config.get("input_dtype"), config.get("input_name"))
        for data in config["layers"]:
            model.add(deserialize_layer(data))
        model._trainable = bool(config.get("trainable", True))
        return model

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        tensor: Any = self._output
        while tensor is not None and tensor.call is not None:
            tensor.call.layer._uses.append(weakref.ref(tensor.call))
            tensor = tensor.call.inputs

    def __repr__(self) -> str:
        return f"Sequential({', '.join(layer.name for layer in self._layers)}, name={self.name!r})"
