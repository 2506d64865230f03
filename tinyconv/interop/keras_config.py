"""Keras's descriptions of models (``config.json`` of ``.keras`` files, ``model_config`` of HDF5 files), both ways.

Classes are looked up among tinyconv's layers and the user's registered ones: nothing is imported or evaluated. Both of
Keras's forms of a graph are understood, that of Keras 2 (``[["conv", 0, 0, {}]]``) and that of Keras 3.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from tinyconv import initializers, layers, registry
from tinyconv.interop import keras_operations
from tinyconv.layers.base import Layer, Symbolic, _constructor_arguments, flatten_structure, map_structure
from tinyconv.layers.graph import map_symbols
from tinyconv.models import Functional, Model, Sequential
from tinyconv.models.functional import _key

# Arguments of Keras's layers that change nothing of what a layer computes here, whatever their value.
_WITHOUT_EFFECT = {
    "autocast", "build_input_shape", "fused", "implementation", "lora_alpha", "lora_rank", "optional",
    "quantization_config", "ragged", "renorm_clipping", "renorm_momentum", "sparse", "synchronized",
}  # fmt: skip
_NEUTRAL: tuple[Any, ...] = (None, False, [], {}, "channels_last", "linear")
_RENAMED = {"Input": "InputLayer", "ModelV2": "Functional", "Model": "Functional"}
_BASE = {"name", "trainable", "dtype", "input_shape", "activity_regularizer"}
# Arguments that Keras does not know: of any layer, and of single ones. They can be left out at their defaults.
_OWN = {"strict", "count_include_pad"}
_OWN_OF = {
    "Cropping1D": {"data_format"},
    "UpSampling1D": {"data_format", "interpolation"},
    "UpSampling3D": {"interpolation"},
    "ZeroPadding1D": {"data_format"},
    "SpatialDropout1D": {"trainable", "data_format"},
    "SpatialDropout2D": {"trainable"},
    "SpatialDropout3D": {"trainable"},
}


# --- from Keras ------------------------------------------------------------------------------------------------


def from_keras(data: Any) -> Layer:
    """The layer or model that Keras describes as ``{"class_name": ..., "config": ...}``, with fresh weights.

    Raises
    ------
    ValueError
        For classes and arguments that tinyconv does not have, and for ``Lambda``, whose Python code files must not
        bring along.
    """
    if not isinstance(data, dict) or not isinstance(data.get("class_name"), str) or "config" not in data:
        raise ValueError(f"expected the description of a layer, with class_name and config. Received: {data!r:.200}")
    name = str(_RENAMED.get(data["class_name"], data["class_name"]))
    config = data["config"]
    if name == "Sequential":
        return _sequential(config)
    if not isinstance(config, dict):
        raise ValueError(f"expected the arguments of {name} by name. Received: {config!r:.200}")
    if name == "Functional" or ("input_layers" in config and "output_layers" in config):
        return _functional(config)
    if name == "Lambda":
        raise ValueError("it holds a Lambda layer, that is Python code, which is not run. Build the model in Python")
    found = layers.LAYERS.find(str(data.get("registered_name") or name))
    if not (isinstance(found, type) and issubclass(found, Layer)):
        raise ValueError(f"{name!r} is not a layer")
    return _made(found, _arguments(found, config))


def _made(cls: type[Layer], arguments: dict[str, Any]) -> Layer:
    made = cls.from_config(arguments)
    if not isinstance(made, Layer):
        raise ValueError(f"from_config of {cls.__name__} made no layer. Received: {made!r}")
    return made


def _arguments(cls: type[Layer], config: dict[str, Any]) -> dict[str, Any]:
    """The constructor's arguments for those of Keras."""
    values = {key: plain(value) for key, value in config.items()}
    shape = values.pop("batch_input_shape", None)
    if shape is not None:
        values.update({"batch_shape": shape} if cls is layers.InputLayer else {"input_shape": shape[1:]})
    if isinstance(values.get("axis"), list) and len(values["axis"]) == 1:  # how Keras 2 wrote the axis of a batch norm
        values["axis"] = values["axis"][0]
    known = {*_constructor_arguments(cls), *_BASE}
    takes_all = any(
        p.kind is p.VAR_KEYWORD for p in inspect.signature(cls.__init__).parameters.values()
    ) and not cls.__module__.startswith("tinyconv.")
    unknown = {
        key: value
        for key, value in values.items()
        if key not in known and key not in _WITHOUT_EFFECT and not any(value == neutral for neutral in _NEUTRAL)
    }
    if unknown and not takes_all:
        raise ValueError(f"{cls.__name__} {values.get('name')!r} has arguments that tinyconv does not know: {unknown}")
    return {key: value for key, value in values.items() if key in known or (takes_all and key not in _WITHOUT_EFFECT)}


def plain(value: Any) -> Any:
    """An argument without Keras's wrapping: dtype policies become names, descriptions of objects lose their modules."""
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind in ("DTypePolicy", "Policy") and isinstance(config, dict):
        policy = config.get("name")
        if not isinstance(policy, str) or policy.startswith("mixed"):
            raise ValueError(f"the dtype policy {policy!r} is not supported. Expected a single dtype, as 'float32'")
        return policy
    if kind == "function":  # Keras 3's way of writing functions of its own
        return config
    if kind == "__tuple__":
        return [plain(entry) for entry in value.get("items", [])]
    if kind == "__numpy__":
        return plain((config or {}).get("value"))
    if isinstance(kind, str) and isinstance(config, dict):
        if "inbound_nodes" in value or kind in ("Sequential", "Functional"):
            return from_keras(value)
        inner = {key: plain(entry) for key, entry in config.items()}
        if str(value.get("module", "")).startswith("keras.layers"):
            return from_keras(value)
        known = _initializer_arguments(kind)
        if known is not None:  # Keras adds input_axes and the like
            inner = {key: entry for key, entry in inner.items() if key in known or entry is not None}
        return {"class_name": value.get("registered_name") or kind, "config": inner}
    return {key: plain(entry) for key, entry in value.items()}


def _initializer_arguments(name: str) -> set[str] | None:
    """Names of an initializer's arguments; None when there is no initializer of that name."""
    try:
        found = initializers.get(name)
    except (ValueError, TypeError):
        return None
    return set(registry.arguments_of(type(found)))


def _sequential(config: Any) -> Sequential:
    entries = config.get("layers") if isinstance(config, dict) else config  # Keras 2.0 wrote the list alone
    if not isinstance(entries, list):
        raise ValueError(f"expected the layers of a Sequential as a list. Received: {entries!r:.200}")
    facts = config if isinstance(config, dict) else {}
    made = Sequential(name=facts.get("name"))
    for entry in entries:
        made.add(from_keras(entry))
    if not made.built and facts.get("build_input_shape") is not None:
        made.build(tuple(facts["build_input_shape"]))
    made._trainable = bool(facts.get("trainable", True))
    return made


class _Place(NamedTuple):
    """Where a symbolic tensor comes from: an output of a call of a layer. Stands for it until it is made."""

    layer: str
    call: int
    output: int


class _Pending(NamedTuple):
    """A call of a layer or an operation that waits for its inputs."""

    name: str
    number: int  # which call of the layer it is
    call: Callable[..., Any]
    args: list[Any]
    options: dict[str, Any]


def _functional(config: dict[str, Any]) -> Functional:
    tensors: dict[_Place, Symbolic] = {}
    calls: list[_Pending] = []
    for entry in config["layers"]:
        nodes = enumerate(entry.get("inbound_nodes", []))
        if keras_operations.is_operation(entry):
            calls += [_operation_call(entry, number, node) for number, node in nodes]
            continue
        layer = from_keras(entry)
        if isinstance(layer, layers.InputLayer):
            tensors[_Place(layer.name, 0, 0)] = Symbolic(layer.batch_shape, layer.dtype, layer.name)
        calls += [_Pending(layer.name, number, layer, *_call(node, layer)) for number, node in nodes]
    while calls:
        later = []
        for pending in calls:
            given = pending.args, pending.options
            if not all(place in tensors for place in _places_in(given)):
                later.append(pending)
                continue
            args, options = _map_places(tensors.__getitem__, given)
            for index, tensor in enumerate(flatten_structure(pending.call(*args, **options))):
                tensors[_Place(pending.name, pending.number, index)] = tensor
        if len(later) == len(calls):
            missing = sorted({pending.name for pending in later})
            raise ValueError(f"its graph has calls whose inputs no layer gives: {missing}")
        calls = later
    inputs, outputs = (
        _map_places(tensors.__getitem__, _single(_placed(config[key]))) for key in ("input_layers", "output_layers")
    )
    model = Functional(inputs, outputs, config.get("name"))
    model._trainable = bool(config.get("trainable", True))
    return model


def _operation_call(entry: dict[str, Any], number: int, node: Any) -> _Pending:
    function, config = keras_operations.function_of(entry), plain(entry["config"])
    if number:  # a layer for each call, of which the first has the name
        config = {key: value for key, value in config.items() if key != "name"}

    def call(*args: Any, **options: Any) -> Any:
        return keras_operations.operate(function, config, list(args), options)

    args, options = (_argument(given, keras_operations.value) for given in (node["args"], node["kwargs"]))
    return _Pending(entry["config"]["name"], number, call, args, options)


def _call(node: Any, layer: Layer) -> tuple[list[Any], dict[str, Any]]:
    """Arguments and options of a call, with places for symbolic tensors."""
    args: list[Any]
    options: dict[str, Any]

    def refuse(value: Any) -> NoReturn:
        raise ValueError(f"{layer._title} is called with an array of constants. Expected symbolic tensors")

    if isinstance(node, dict):  # Keras 3
        args, options = (_argument(given, refuse) for given in (node.get("args", []), node.get("kwargs", {})))
    else:  # Keras 2: a list of [layer, call, output, options]
        args = [_single([_Place(*entry[:3]) for entry in node])]
        options = _placed(next((entry[3] for entry in node if len(entry) > 3 and entry[3]), {}))
    known = inspect.signature(layer.call).parameters
    options = {key: value for key, value in options.items() if value is not None or key in known}
    unknown = sorted(set(options) - set(known) - {"training"})
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        raise ValueError(f"{layer._title} is called with options that it does not know: {unknown}")
    return args, options


def _argument(value: Any, constant: Callable[[Any], Any]) -> Any:
    """What Keras 3 wrote of a call's arguments: places for symbolic tensors, ``constant`` of what is none."""
    if isinstance(value, list):
        return [_argument(entry, constant) for entry in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("class_name")
    if kind == "__keras_tensor__":
        return _Place(*value["config"]["keras_history"])
    if kind == "__tuple__":
        return _argument(value["items"], constant)
    if isinstance(kind, str) and kind.startswith("__"):  # of Keras's own: arrays, slices
        return constant(value)
    return {key: _argument(entry, constant) for key, entry in value.items()}


def _single(places: Any) -> Any:
    """The only entry of a list of one: Keras 2 always wrote lists."""
    return places[0] if isinstance(places, list) and len(places) == 1 else places


def _placed(value: Any) -> Any:
    """``value`` with places for all of ``[layer, call, output]`` in it."""
    if isinstance(value, dict):
        return {key: _placed(entry) for key, entry in value.items()}
    if not isinstance(value, list):
        return value
    is_place = len(value) == 3 and isinstance(value[0], str) and all(type(number) is int for number in value[1:])
    return _Place(*value) if is_place else [_placed(entry) for entry in value]


def _map_places(f: Callable[[_Place], Any], value: Any) -> Any:
    """``value`` with ``f`` of every place in lists, tuples and dictionaries."""
    if isinstance(value, _Place):
        return f(value)
    if isinstance(value, dict):
        return {key: _map_places(f, entry) for key, entry in value.items()}
    return [_map_places(f, entry) for entry in value] if isinstance(value, list | tuple) else value


def _places_in(value: Any) -> list[_Place]:
    found: list[_Place] = []
    _map_places(found.append, value)
    return found


# --- to Keras --------------------------------------------------------------------------------------------------


def to_keras(layer: Layer) -> dict[str, Any]:
    """A layer or model as Keras 3 describes it.

    Layers of your own are written under the names under which they are registered; Keras needs them as custom objects.

    Raises
    ------
    ValueError
        For what Keras has no words for, such as padding by numbers.
    """
    if isinstance(layer, Functional):
        return _wrap("Functional", _functional_config(layer), "keras.src.models.functional")
    if isinstance(layer, Sequential):
        entries = [to_keras(entry) for entry in layer.layers]
        if layer._input is not None:
            entries.insert(0, _input(layer._input))
        config = {"name": layer.name, "trainable": layer._trainable, "dtype": layer.dtype, "layers": entries}
        return _wrap("Sequential", config, "keras")
    if isinstance(layer, Model):
        raise ValueError(f"{layer._title} is a class of its own, which Keras cannot know")
    if isinstance(layer, layers.Operation):
        module, name, config = keras_operations.describe(layer)
        return {**_wrap(name, config, module), "registered_name": name}
    defaults = {**_constructor_arguments(type(layer)), "trainable": True, "data_format": "channels_last"}
    own = _OWN | _OWN_OF.get(type(layer).__name__, set())
    config = {}
    for key, value in layer.get_config().items():
        if key in own:
            if value != defaults.get(key) and key != "trainable":
                raise ValueError(f"Keras has no argument {key}={value!r} for {layer._title}")
        elif key == "padding" and not _is_keras_padding(layer, value):
            raise ValueError(f"Keras has no padding {value!r} for {layer._title}")
        elif key == "size" and isinstance(value, list) and len(value) == 1:
            config[key] = value[0]
        elif key != "input_shape":
            config[key] = value
    return _wrap(registry.name_of(type(layer)), config, "keras.layers")


def _is_keras_padding(layer: Layer, padding: Any) -> bool:
    name = type(layer).__name__
    known = ("valid", "same", "causal") if name == "Conv1D" else ("valid", "same")
    return name.startswith("ZeroPadding") or (isinstance(padding, str) and padding.lower() in known)


def _wrap(name: str, config: dict[str, Any], module: str) -> dict[str, Any]:
    own = ">" in name
    return {
        "module": None if own else module,
        "class_name": name.rpartition(">")[2],
        "config": config,
        "registered_name": name if own else None,
    }


def _input(tensor: Symbolic) -> dict[str, Any]:
    config = {"batch_shape": list(tensor.shape), "dtype": tensor.dtype, "name": tensor.name}
    return _wrap("InputLayer", config, "keras.layers")


def _functional_config(model: Functional) -> dict[str, Any]:
    sources = {_key(tensor): tensor.source for tensor in model.inputs}
    places: dict[Any, list[Any]] = {key: [layer.name, 0, 0] for key, layer in sources.items() if layer is not None}
    nodes: dict[int, list[dict[str, Any]]] = {}

    def symbol(tensor: Symbolic) -> dict[str, Any]:
        config = {"shape": list(tensor.shape), "dtype": tensor.dtype, "keras_history": places[_key(tensor)]}
        return {"class_name": "__keras_tensor__", "config": config}

    for call in model._calls:
        calls = nodes.setdefault(id(call.layer), [])
        if isinstance(call.layer, layers.Operation):
            calls.append(keras_operations.node(call.layer, [symbol(t) for t in flatten_structure(call.args[0])]))
        else:
            options = registry.serialize(map_symbols(symbol, call.options))
            calls.append({"args": registry.serialize([map_symbols(symbol, a) for a in call.args]), "kwargs": options})
        for tensor in flatten_structure(call.outputs):
            places[_key(tensor)] = [call.layer.name, len(calls) - 1, tensor.index]
    inputs = {id(tensor.source): tensor for tensor in model.inputs}
    entries = []
    for layer in model._rows:
        entry = _input(inputs[id(layer)]) if id(layer) in inputs else to_keras(layer)
        entry["config"]["name"] = layer.name
        entries.append({**entry, "name": layer.name, "inbound_nodes": nodes.get(id(layer), [])})
    return {
        "name": model.name,
        "trainable": model._trainable,
        "layers": entries,
        "input_layers": map_structure(lambda t: places[_key(t)], model._inputs),
        "output_layers": map_structure(lambda t: places[_key(t)], model._outputs),
    }
