"""Functional models: any graph of layer calls between symbolic inputs and outputs."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from tinyconv import ops, registry
from tinyconv.layers import InputLayer, Operation
from tinyconv.layers.base import Layer, _constructor_arguments
from tinyconv.layers.graph import Call, Symbolic, flatten_shapes, flatten_structure, map_structure, map_symbols
from tinyconv.masking import mask_of, with_mask
from tinyconv.models.feed import check_shape
from tinyconv.models.model import Model, as_shape, deserialize_layer, serialize_layer

Key = tuple[int, int]  # identity of a symbolic tensor: its call and place, or itself for an input


@registry.register
class Functional(Model):
    """A model made of symbolic tensors: ``Model(inputs, outputs)`` (see ``Model``)."""

    autocast = False  # every layer knows its own dtype
    supports_masking = True  # each layer hands on its own
    _has_own_graph = True

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, trainable: bool = True, **keras1: Any
    ) -> None:
        inputs, outputs = keras1.pop("input", inputs), keras1.pop("output", outputs)
        super().__init__(name=name, **keras1)
        self._inputs, self._outputs = inputs, outputs
        for what, structure in (("inputs", inputs), ("outputs", outputs)):
            for tensor in flatten_structure(structure):
                if not isinstance(tensor, Symbolic):
                    raise TypeError(f"{what} must be symbolic tensors, made by Input and layers. Received: {tensor!r}")
        self._calls = _ordered_calls(self.inputs, self.outputs)
        self._layers = _ordered_layers(self.inputs, self.outputs)
        operands = {_key(t) for c in self._calls if isinstance(c.layer, Operation) for t in flatten_structure(c.inputs)}
        self._converted = [_key(t) in operands for t in self.inputs]  # layers convert by themselves
        names = [layer.name for layer in self._layers]
        if len(set(names)) != len(names):
            raise ValueError(f"Layer names must be unique in a model. Received: {sorted(names)}")
        self._shapes = map_structure(lambda t: t.shape, inputs), map_structure(lambda t: t.shape, outputs)
        self.built = True
        if not trainable:
            self.trainable = False

    @property
    def layers(self) -> list[Layer]:
        """The layers, an ``InputLayer`` for each input included; operations such as ``x + y`` are not among them.

        They stand in Keras's order: those farthest from the outputs first; of equally far ones, the one that a walk
        from the outputs to the inputs meets first.
        """
        return [layer for layer in self._layers if not isinstance(layer, Operation)]

    @property
    def _rows(self) -> list[Layer]:
        """What a summary lists: layers and operations."""
        return list(self._layers)

    @property
    def inputs(self) -> list[Symbolic]:
        """Symbolic inputs."""
        return flatten_structure(self._inputs)

    @property
    def outputs(self) -> list[Symbolic]:
        """Symbolic outputs."""
        return flatten_structure(self._outputs)

    @property
    def input(self) -> Any:
        """The symbolic inputs, in the structure with which the model was made (one of them: itself)."""
        return super().input if isinstance(self._inputs, list | tuple) else self._inputs

    @property
    def output(self) -> Any:
        """The symbolic outputs, in the structure with which the model was made (one of them: itself)."""
        return super().output if isinstance(self._outputs, list | tuple) else self._outputs

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, under which losses and metrics of several are told apart.

        Examples
        --------
        >>> import tinyconv as tc
        >>> x = tc.Input((2,))
        >>> tc.Model(x, [tc.layers.Dense(1, name="price")(x), tc.layers.Dense(3, name="kind")(x)]).output_names
        ['price', 'kind']
        """
        return self._output_names(self._outputs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for call in self._calls:
            call.layer._uses.append(weakref.ref(call))
        for tensor in self.inputs:
            if tensor.source is not None:
                tensor.source._uses.append(weakref.ref(tensor))

    def check_input(self, input_shape: Any) -> None:
        """Raise unless the inputs have the shapes with which the model was made; the number of samples is free."""
        for tensor, shape in zip(self.inputs, self._in_order(input_shape, flatten_shapes), strict=True):
            sizes = zip(shape[1:], tensor.shape[1:], strict=False)
            if len(shape) != len(tensor.shape) or not all(m == n or None in (m, n) for m, n in sizes):
                name = f"input {tensor.name!r}" if tensor.name else "an input"
                raise ValueError(f"expected {name} of shape {tensor.shape}. Received: shape {shape}")

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the outputs for ``input_shape``."""
        given = self._in_order(input_shape, flatten_shapes)
        symbols = [Symbolic(shape, t.dtype) for t, shape in zip(self.inputs, given, strict=True)]
        return map_structure(lambda t: t.shape, self._foreseen(symbols))

    def _foresee(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        self._ensure_built(map_structure(lambda t: t.shape, args[0]))
        return self._foreseen(self._in_order(args[0]))

    def _foreseen(self, given: list[Symbolic]) -> Any:
        """The outputs for inputs of other shapes or dtypes, as symbolic tensors that no call gives yet."""
        found = {
            _key(t): Symbolic(x.shape, t.dtype) if converted else x
            for t, x, converted in zip(self.inputs, given, self._converted, strict=True)
        }
        find = lambda t: found[_key(t)]  # noqa: E731
        for call in self._calls:
            result = call.layer._foresee(map_symbols(find, call.args), map_symbols(find, call.options))
            for index, tensor in enumerate(_leaves(result, call.shapes)):
                found[id(call), index] = tensor
        return map_structure(find, self._outputs)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Run every layer call of the graph, each once; ``mask`` is that of the inputs, or one of each.

        Inputs of operations are converted to the dtype of their ``Input`` first.
        """
        given = self._in_order(inputs)
        if mask is not None:
            given = list(map(with_mask, given, self._in_order(mask)))
        for i, tensor in enumerate(self.inputs):
            if self._converted[i]:
                given[i] = with_mask(ops.astype(given[i], tensor.dtype), mask_of(given[i]))
        values: dict[Key, Any] = dict(zip(map(_key, self.inputs), given, strict=True))
        for call in self._calls:
            result = call.run(lambda t: values[_key(t)])
            for index, value in enumerate(_leaves(result, call.shapes)):
                values[id(call), index] = value
        return map_structure(lambda t: values[_key(t)], self._outputs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: outputs carry the masks that the last layers gave them."""

    def _in_order(self, given: Any, flatten: Callable[[Any], list[Any]] = flatten_structure) -> list[Any]:
        """Tensors (or shapes) in the order of the model's inputs: by position, or by name from a dictionary."""
        if not isinstance(given, dict):
            found = flatten(given)
            if len(found) != len(self.inputs):
                raise ValueError(f"{self._title} expected {len(self.inputs)} inputs. Received: {len(found)}")
            return found
        names = list(self._inputs) if isinstance(self._inputs, dict) else [t.name for t in self.inputs]
        if not set(names) <= set(given):
            raise ValueError(f"{self._title} expected inputs named {names}. Received: {sorted(given)}")
        return [given[name] for name in names]

    def _input_shapes(self) -> Any:
        shapes = [tensor.shape for tensor in self.inputs]
        return shapes[0] if len(shapes) == 1 else shapes

    def _check_shapes(self, x: Any, expected: Any) -> None:
        for tensor, array in zip(self.inputs, self._in_order(x), strict=True):
            check_shape(array, tensor.shape, "x" if len(self.inputs) == 1 else f"input {tensor.name!r}")

    def _output_names(self, y_pred: Any) -> list[str]:
        if isinstance(y_pred, dict):
            return list(y_pred)
        names = [t.call.layer.name if t.call else str(t.name) for t in self.outputs]
        return [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]

    def get_config(self) -> dict[str, Any]:
        """Layers and the calls between them as plain data."""
        places: dict[Key, list[Any]] = {
            _key(t): ["input", i] for i, t in enumerate(self.inputs)
        }
        for number, call in enumerate(self._calls):
            for index in range(len(flatten_shapes(call.shapes))):
                places[id(call), index] = [number, index]
        where = lambda t: {"at": places[_key(t)]}  # noqa: E731

        def describe(call: Call) -> dict[str, Any]:
            inputs, *others = map_symbols(where, call.args)
            further = {"args": registry.serialize(others)} if others else {}
            options = registry.serialize(map_symbols(where, call.options))
            return {"layer": call.layer.name, "inputs": inputs, **further, "options": options}

        return {
            "name": self.name,
            "trainable": self._trainable,
            "layers": [serialize_layer(layer) for layer in {id(c.layer): c.layer for c in self._calls}.values()],
            "inputs": map_structure(lambda t: {"shape": list(t.shape), "dtype": t.dtype, "name": t.name}, self._inputs),
            "calls": [describe(call) for call in self._calls],
            "outputs": map_structure(where, self._outputs),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.layers)} layers, name={self.name!r})"


@functools.cache
def functional_class(cls: Any) -> Any:
    """The class, of the same name, of those instances of ``cls``, a subclass of ``Model``, that are given a graph."""
    members = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__reduce_ex__": lambda self, _: (_unpickled, (cls,), self.__getstate__()),
    }
    if cls.__init__ is not Model.__init__:  # a constructor that makes the graph again
        members |= {"get_config": Layer.get_config, "_own_arguments": lambda self: _constructor_arguments(cls)}
    made = type(cls.__name__, (cls, Functional), members)
    with contextlib.suppress(ValueError):
        registry.set_name(made, registry.name_of(cls))
    return made


def _unpickled(cls: Any) -> Any:
    return object.__new__(functional_class(cls))


def from_graph(cls: type[Model], config: dict[str, Any]) -> Any:
    """The model of a class that ``Functional.get_config`` described, with fresh weights."""
    layers = {data["config"]["name"]: deserialize_layer(data) for data in config["layers"]}
    tensors: dict[tuple[Any, int], Symbolic] = {}

    def make_input(data: dict[str, Any]) -> Symbolic:
        tensor = Symbolic(as_shape(data["shape"]), data["dtype"], data["name"])
        tensors["input", sum(place == "input" for place, _ in tensors)] = tensor
        return tensor

    inputs = _map_marked(make_input, config["inputs"], "shape")
    find = lambda data: tensors[data["at"][0], data["at"][1]]  # noqa: E731
    for number, call in enumerate(config["calls"]):
        args = [_map_marked(find, value, "at") for value in (call["inputs"], *call.get("args", ()))]
        result = layers[call["layer"]](*args, **_map_marked(find, call["options"], "at"))
        for index, tensor in enumerate(flatten_structure(result)):
            tensors[number, index] = tensor
    model: Any = cls(inputs, _map_marked(find, config["outputs"], "at"), config.get("name"))
    model._trainable = bool(config.get("trainable", True))
    return model


def _key(tensor: Symbolic) -> Key:
    return (id(tensor), -1) if tensor.call is None else (id(tensor.call), tensor.index)


def _ordered_calls(inputs: list[Symbolic], outputs: list[Symbolic]) -> list[Call]:
    """Calls between inputs and outputs, oldest first, which is an order of computation."""
    given = {_key(t) for t in inputs}
    calls: dict[int, Call] = {}
    stack = list(outputs)
    while stack:
        tensor = stack.pop()
        if _key(tensor) in given:
            continue
        if tensor.call is None:
            raise ValueError(f"The outputs depend on an input that is not among the model's inputs: {tensor!r}")
        if id(tensor.call) not in calls:
            calls[id(tensor.call)] = tensor.call
            stack.extend(flatten_structure(tensor.call.inputs))
    return sorted(calls.values(), key=lambda call: call.age)


def _ordered_layers(inputs: list[Symbolic], outputs: list[Symbolic]) -> list[Layer]:
    """The layers and operations between inputs and outputs, in Keras's order (see ``Functional.layers``)."""
    given = {_key(t): _input_layer(t) for t in inputs}

    def layer_of(tensor: Symbolic) -> Layer:
        return given[_key(tensor)] if _key(tensor) in given or tensor.call is None else tensor.call.layer

    def parents(tensor: Symbolic) -> list[Symbolic]:
        return [] if _key(tensor) in given or tensor.call is None else flatten_structure(tensor.call.inputs)

    def node(tensor: Symbolic) -> int:  # all outputs of a call are one node
        return id(tensor.call) if tensor.call is not None and _key(tensor) not in given else id(layer_of(tensor))

    met: dict[int, int] = {}  # layers, in the order in which a walk from the outputs meets them
    finished: dict[int, Symbolic] = {}  # nodes, those that others depend on first
    for output in outputs:
        path: list[tuple[Symbolic, Iterator[Symbolic]]] = []
        following: Symbolic | None = output
        while following is not None or path:
            if following is not None and node(following) not in finished:
                met.setdefault(id(layer_of(following)), len(met))
                path.append((following, iter(parents(following))))
            elif not path:
                break
            following = next(path[-1][1], None)
            if following is None:
                done, _ = path.pop()
                finished[node(done)] = done
    distance = dict.fromkeys(finished, 0)  # of nodes from the outputs
    farthest: dict[int, tuple[int, Layer]] = {}
    for key, tensor in reversed(finished.items()):
        layer = layer_of(tensor)
        distance[key] = max(distance[key], farthest.get(id(layer), (0, layer))[0])
        farthest[id(layer)] = distance[key], layer
        for parent in parents(tensor):
            distance[node(parent)] = max(distance[node(parent)], distance[key] + 1)
    for layer in given.values():
        farthest.setdefault(id(layer), (0, layer))
    return [layer for _, layer in sorted(farthest.values(), key=lambda f: (-f[0], met.get(id(f[1]), -1)))]


def _input_layer(tensor: Symbolic) -> Layer:
    """The ``InputLayer`` that stands for an input, the same one in all models that begin with it."""
    if tensor.source is None:
        layer = InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)
        layer._shapes, layer.built = (tensor.shape, tensor.shape), True
        layer._uses = [weakref.ref(tensor)]
        tensor.source, tensor.name = layer, layer.name
    return tensor.source


def _leaves(result: Any, shapes: Any) -> list[Any]:
    """What a call returned as a list, in the order of the shapes that were foreseen for it."""
    if isinstance(shapes, dict):
        return [leaf for key, shape in shapes.items() for leaf in _leaves(result[key], shape)]
    if isinstance(shapes, list):
        return [leaf for part, shape in zip(result, shapes, strict=True) for leaf in _leaves(part, shape)]
    return [result]


def _map_marked(f: Any, structure: Any, mark: str) -> Any:
    """Apply ``f`` to every dictionary that holds the key ``mark``, inside lists and other dictionaries."""
    if isinstance(structure, list):
        return [_map_marked(f, entry, mark) for entry in structure]
    if not isinstance(structure, dict):
        return structure
    return f(structure) if mark in structure else {k: _map_marked(f, v, mark) for k, v in structure.items()}
