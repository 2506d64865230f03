"""``Model``: a layer of layers that can be trained, summarised and saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyconv import registry
from tinyconv.layers.base import Layer, Shape, Symbolic, _map_shapes
from tinyconv.models.training import Trainer
from tinyconv.tensor import Tensor, no_grad


class Model(Trainer):
    """A trainable network.

    Three ways to make one: ``Sequential([...])`` for a stack; ``Model(inputs, outputs)`` from symbolic tensors, for any
    graph; or a subclass with layers as attributes and ``call``.

    Parameters
    ----------
    inputs, outputs : Symbolic, or list / dict of Symbolic
        What ``Input`` returned, and what layers made of it. ``input`` and ``output`` are accepted too.
    name : str, optional

    Attributes
    ----------
    class_names : list of str or None
        Names of the classes, stored with the model.

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = tc.Input(shape=(4,))
    >>> model = tc.Model(inputs=x, outputs=tc.layers.Dense(2)(x))
    >>> model.output_shape
    (None, 2)
    """

    class_names: list[str] | None = None

    def __new__(cls, *args: Any, **options: Any) -> Model:
        if cls is Model and (args or {"inputs", "outputs", "input", "output"} & set(options)):
            from tinyconv.models.functional import Functional

            return object.__new__(Functional)
        return object.__new__(cls)

    @property
    def layers(self) -> list[Layer]:
        """The model's layers, in order."""
        return self.children

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer called ``name``, or number ``index``."""
        layers = self.layers
        if (name is None) == (index is None):
            raise ValueError(f"get_layer expected either a name or an index. Received: {name!r}, {index!r}")
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(f"get_layer expected an index below {len(layers)}. Received: {index}")
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        raise ValueError(f"Expected one of the layers {[layer.name for layer in layers]}. Received: {name!r}")

    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of ``input_shape``, batch axis first (``None``)."""
        if input_shape is None or self.built or type(self).call is Layer.call:
            return
        trial = _map_shapes(lambda shape: Tensor(np.zeros([n or 1 for n in shape], self.dtype)), input_shape)
        self.built = True  # layers build themselves when the trial run reaches them
        try:
            with no_grad():
                self(trial, training=False)
        except BaseException:
            self.built = False
            raise

    def summary(self, line_length: int = 76, print_fn: Callable[[str], Any] = print) -> None:
        """Print layers, output shapes (batch axis ``None``) and parameter counts."""
        from tinyconv.models.summary import summary

        for line in summary(self, line_length):
            print_fn(line)

    def save(self, path: Any) -> None:
        """Write architecture, weights, optimizer state, compile arguments and class names to one file.

        The file is pure data (safetensors with a JSON header) and is replaced atomically; see ``load_model``.
        """
        from tinyconv.saving import save_model

        save_model(self, path)

    def save_weights(self, path: Any) -> None:
        """Write the weights alone to a file."""
        from tinyconv.saving import save_weights

        save_weights(self, path)

    def load_weights(self, path: Any) -> None:
        """Read weights of an equal architecture from a file; number, order and shapes must match."""
        from tinyconv.saving import load_weights

        load_weights(self, path)

    @property
    def inputs(self) -> list[Symbolic]:
        """Symbolic inputs."""
        raise AttributeError(f"Model {self.name!r} has no symbolic inputs")

    @property
    def outputs(self) -> list[Symbolic]:
        """Symbolic outputs."""
        raise AttributeError(f"Model {self.name!r} has no symbolic outputs")

    @property
    def input(self) -> Any:
        """The symbolic input, or a list of them."""
        return self.inputs[0] if len(self.inputs) == 1 else self.inputs

    @property
    def output(self) -> Any:
        """The symbolic output, or a list of them."""
        return self.outputs[0] if len(self.outputs) == 1 else self.outputs


def serialize_layer(layer: Layer) -> dict[str, Any]:
    """Class name and configuration of a layer or model as plain data."""
    return {"class_name": registry.name_of(type(layer)), "config": layer.get_config()}


def deserialize_layer(data: dict[str, Any]) -> Layer:
    """The layer or model that ``serialize_layer`` described, with fresh weights."""
    from tinyconv import layers

    made = layers.deserialize(data)
    if not isinstance(made, Layer):
        raise ValueError(f"Expected the configuration of a layer. Received: {data.get('class_name')!r}")
    return made


def as_shape(value: Any) -> Shape:
    """A shape from JSON, where tuples became lists."""
    return tuple(None if n is None else int(n) for n in value)
