"""``Model``: a layer of layers that can be trained, summarised and saved."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import backends, registry
from tinyconv.device import device as use_device
from tinyconv.layers.base import Layer
from tinyconv.layers.graph import Shape, Symbolic, flatten_structure, map_shapes
from tinyconv.models.late import each
from tinyconv.models.training import Trainer
from tinyconv.tensor import Tensor, no_grad

_GRAPH = {"inputs", "outputs", "input", "output"}  # arguments of functional models


class Model(Trainer):
    """A trainable network.

    Three ways to make one: ``Sequential([...])`` for a stack; ``Model(inputs, outputs)`` from symbolic tensors, for any
    graph; or a subclass with layers as attributes and ``call``. A subclass may be called with inputs and outputs too:
    so a graph gets a ``train_step`` of its own.

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
    _placed: str | None = None  # device that ``to`` named
    _built_for: tuple[Any, dict[str, Any]] | None = None  # shapes of the first argument and, by name, of others

    def __new__(cls, *args: Any, **options: Any) -> Model:
        if cls is Model and (args or _GRAPH & set(options)):
            from tinyconv.models.functional import Functional

            return object.__new__(Functional)
        return object.__new__(cls)

    def __init__(self, *graph: Any, **options: Any) -> None:
        if graph or _GRAPH & set(options):  # of a subclass: Model itself makes a Functional
            from tinyconv.models.functional import Functional, functional_class

            cls: Any = type(self)
            self.__class__ = functional_class(cls)
            Functional.__init__(self, *graph, **options)  # type: ignore[arg-type]
        else:
            super().__init__(**options)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The model that ``get_config`` described, a graph or the arguments of a constructor, with fresh weights."""
        if cls is Model or {"calls", "outputs"} <= set(config):
            from tinyconv.models.functional import from_graph

            return from_graph(cls, config)
        return super().from_config(config)

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
        if input_shape is not None:
            self._build_by_trial(input_shape, {})

    def _build(self, input_shape: Any, shapes: dict[str, Any]) -> None:
        if shapes and type(self).build is Model.build:
            self._build_by_trial(input_shape, shapes)
        else:
            super()._build(input_shape, shapes)

    def _build_by_trial(self, input_shape: Any, shapes: dict[str, Any]) -> None:
        """Make the weights by a call on zeros; ``shapes`` are those of further arguments, such as ``key_shape``."""
        if self.built or type(self).call is Layer.call:
            return

        def zeros(shape: Shape) -> Tensor:
            return Tensor(np.zeros([n or 1 for n in shape], self.dtype))

        with self._on_device():
            trial = map_shapes(zeros, input_shape)
            others = {name.removesuffix("_shape"): map_shapes(zeros, shape) for name, shape in shapes.items()}
        self.built = True  # layers build themselves when the trial run reaches them
        try:
            with no_grad():
                self(trial, **others, training=False)
        except BaseException:
            self.built = False
            raise
        finally:
            self._forget_losses()
        self._built_for = input_shape, shapes

    # --- device ------------------------------------------------------------------------------------------------

    @property
    def device(self) -> str:
        """Where the weights are: ``"cpu"`` or ``"cuda"``; before they exist, where they will be made."""
        for layer in self._all_layers():
            for parameter in layer._parameters:
                return parameter.device
        return self._placed or backends.current_device()

    def to(self, device: Any) -> Model:
        """Move weights, moving statistics and optimizer state to ``device``, in place; returns the model.

        Parameters
        ----------
        device : {"cpu", "cuda", "auto"}
            ``"auto"`` is the GPU where there is one.

        Notes
        -----
        Data may stay in host memory: ``fit``, ``evaluate`` and ``predict`` move each batch to the model's device.

        Examples
        --------
        >>> import tinyconv as tc
        >>> tc.Sequential([tc.layers.Dense(2, input_shape=(3,))]).to("cpu").device
        'cpu'
        """
        name = backends.device_name(getattr(device, "name", device))
        table = backends.on(name)
        slots = self.optimizer.tensors if self.optimizer is not None and self.optimizer.built else []
        tensors = {id(tensor): tensor for tensor in (*self.weights, *slots)}.values()
        moved = [(t, backends.move(t.data, table)) for t in tensors if t.device != name]  # all fit, or none moves
        for tensor, data in moved:
            tensor.data = data
            tensor.version += 1
            tensor.grad = None if tensor.grad is None else tensor.grad.detach().to(name)
        self._placed = name
        return self

    def _on_device(self) -> Any:
        """A context in which new arrays are put where the model is."""
        if backends.current_device() == "cpu" and not backends.cuda_in_use():
            return contextlib.nullcontext()  # this happens in every step: no walk through the weights
        return use_device(self.device)

    def __call__(self, *args: Any, **options: Any) -> Any:
        with self._on_device():
            return super().__call__(*args, **options)

    def _run(self, step: Any, *arguments: Any) -> Any:
        with self._on_device():
            if backends.current_device() == "cuda" and not self._replayable():  # a replay moves its arguments itself
                table = backends.default()
                arguments = _map_arrays(lambda array: Tensor._of(backends.move(array, table)), arguments)
            return super()._run(step, *arguments)

    def _data(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        def on_host(value: Any) -> Any:
            array = value.data if isinstance(value, Tensor) else value
            return backends.move(array, backends.on("cpu")) if backends.on_gpu(array) else value

        if backends.cuda_in_use() and self.device == "cpu":
            x, y, sample_weight = (each(on_host, part) for part in (x, y, sample_weight))
        return super()._data(x, y, sample_weight)

    def summary(
        self,
        line_length: int | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print layers, output shapes (batch axis ``None``) and numbers of parameters as a table.

        Parameters
        ----------
        line_length : int, optional
            Width of the table; what the contents need by default.
        print_fn : callable, optional
            Called with every line; ``print`` by default.
        expand_nested : bool
            Whether the layers of inner models have rows of their own.
        show_trainable : bool
            Whether a column says which layers are trained.
        layer_range : (str, str), optional
            Names, or regular expressions for their beginning, of the first and of the last layer to list.
        """
        from tinyconv.models.summary import summary

        for line in summary(self, line_length, expand_nested, show_trainable, layer_range):
            (print_fn or print)(line)

    def save(self, filepath: Any, overwrite: bool = True) -> None:
        """Write architecture, weights, optimizer state, compile arguments and class names to one file.

        The file is pure data and is replaced atomically; ``load_model`` reads all formats.

        Parameters
        ----------
        filepath : str or Path
            With the ending ``.h5`` or ``.hdf5``, an HDF5 file that Keras reads too; with ``.keras``, a Keras 3 file
            (both need h5py). With any other ending, tinyconv's own format: safetensors with a JSON header. Keras
            takes architecture and weights from its files; of layers that it does not know, only the weights.
        overwrite : bool
            Whether a file that exists may be replaced; if not, ``FileExistsError`` is raised.
        """
        from tinyconv.saving import save_model

        save_model(self, filepath, overwrite)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Write the weights alone to a file.

        Parameters
        ----------
        filepath : str or Path
            ``.weights.h5``: a Keras 3 weight file; ``.h5``, ``.hdf5``: a Keras 2 weight file (both need h5py); any
            other ending: tinyconv's own format.
        overwrite : bool
            Whether a file that exists may be replaced; if not, ``FileExistsError`` is raised.
        """
        from tinyconv.saving import save_weights

        save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, by_name: bool = False) -> None:
        """Read weights of an equal architecture from a file; nothing changes unless all of them fit.

        Parameters
        ----------
        filepath : str or Path
            A file of tinyconv (weights, or a whole model) or of Keras 1, 2 or 3 (``.h5``, ``.weights.h5``, ``.keras``;
            they need h5py).
        skip_mismatch : bool
            Leave layers alone, with a warning, whose number of weights or shapes differ from those in the file.
        by_name : bool
            Load those layers that the file has under the same name, instead of all layers in order.

        Raises
        ------
        ValueError
            When number, order or shapes differ; the message names the layer, what it expected and what it received.
        """
        from tinyconv.saving import load_weights

        load_weights(self, filepath, skip_mismatch, by_name)

    def to_json(self, **options: Any) -> str:
        """The architecture, without weights, as JSON; ``models.model_from_json`` makes a model of it.

        Parameters
        ----------
        **options
            For ``json.dumps``, such as ``indent``.
        """
        return json.dumps(serialize_layer(self), **options)

    @property
    def inputs(self) -> list[Symbolic]:
        """Symbolic inputs."""
        return flatten_structure(super().input)

    @property
    def outputs(self) -> list[Symbolic]:
        """Symbolic outputs."""
        return flatten_structure(super().output)

    @property
    def input(self) -> Any:
        """The symbolic input, or a list of them."""
        inputs = self.inputs
        return inputs[0] if len(inputs) == 1 else inputs

    @property
    def output(self) -> Any:
        """The symbolic output, or a list of them."""
        outputs = self.outputs
        return outputs[0] if len(outputs) == 1 else outputs


def _map_arrays(function: Callable[[Any], Any], structure: Any) -> Any:
    """``function`` of everything in tuples, lists and dictionaries that has a dtype; the rest as it is."""
    if isinstance(structure, dict):
        return {key: _map_arrays(function, value) for key, value in structure.items()}
    if isinstance(structure, tuple | list):
        return type(structure)(_map_arrays(function, value) for value in structure)
    return function(structure) if hasattr(structure, "dtype") and not isinstance(structure, Tensor) else structure


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
