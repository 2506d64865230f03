"""Operations in Keras's descriptions of graphs (``x + y``, ``ops.mean(x, axis=1)``), both ways.

Keras describes each as an object of a class of its own, made with the settings and called on the tensors: tensors stand
in the call, settings in the configuration. Here both are arguments of one function of ``tinyconv.ops``. The tables
below say which function is which class; others are refused by name.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.layers import Operation
from tinyconv.tensor import Tensor

_MODULE = "keras.src.ops"
_NUMPY = (
    "absolute add all any arccos arcsin arctan arctan2 argmax argmin argsort broadcast_to ceil clip concatenate cos "
    "cosh cumsum dot einsum equal exp expand_dims expm1 flip floor floor_divide greater greater_equal isfinite isinf "
    "isnan less less_equal log log1p logical_and logical_not logical_or matmul max maximum mean min minimum moveaxis "
    "multiply negative not_equal outer pad power prod reciprocal repeat reshape roll sign sin sinh sort split sqrt "
    "square squeeze stack std subtract sum swapaxes take take_along_axis tan tanh tensordot tile transpose var where"
)
_NN = "relu relu6 sigmoid softplus softsign silu leaky_relu hard_sigmoid hard_silu elu selu gelu softmax log_softmax"
_OTHERS = {
    "divide": "numpy.TrueDivide", "getitem": "numpy.GetItem", "remainder": "numpy.Mod", "rint": "numpy.Round",
    "astype": "core.Cast", "stop_gradient": "core.StopGradient",
}  # fmt: skip


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


_CLASSES = {  # function -> module and class of Keras
    **{name: f"numpy.{_camel(name)}" for name in _NUMPY.split()},
    **{name: f"nn.{_camel(name)}" for name in _NN.split()},
    **_OTHERS,
}
_FUNCTIONS = {f"{_MODULE}.{keras}": name for name, keras in _CLASSES.items()} | {f"{_MODULE}.numpy.Divide": "divide"}
_WITHOUT_MODULE = {kind.rpartition(".")[2]: name for kind, name in _FUNCTIONS.items()}  # as HDF5 files have them

_OPERANDS = {"x", "y", "condition", "tensors", "operands", "indices", "index"}  # what Keras has in the call
_SETTINGS = {  # of single functions, where Keras has another word
    ("reshape", "shape"): "newshape", ("clip", "minimum"): "x_min", ("clip", "maximum"): "x_max",
    ("pad", "widths"): "pad_width", ("pad", "value"): "constant_values",
}  # fmt: skip
_DEFAULTS: dict[str, dict[str, Any]] = {  # Keras's, where they are others or there are none
    "gelu": {"approximate": True}, "clip": {"minimum": None, "maximum": None},
}  # fmt: skip
_OF_CALL = {"constant_values"}  # settings that Keras has in the call all the same
_WORDS = {(function, keras): own for (function, own), keras in _SETTINGS.items()}


def is_operation(entry: dict[str, Any]) -> bool:
    """Whether Keras describes an operation, which is no layer."""
    if entry.get("module") is None:  # in an HDF5 file; layers can be frozen, and those of Keras 2 have other nodes
        of_keras_3 = all(isinstance(call, dict) for call in entry.get("inbound_nodes", ()))
        return entry.get("class_name") in _WITHOUT_MODULE and of_keras_3 and "trainable" not in entry["config"]
    return str(entry["module"]).startswith(f"{_MODULE}.")


def function_of(entry: dict[str, Any]) -> str:
    """Name of the function of ``tinyconv.ops`` that an operation of Keras is."""
    if entry.get("module") is None:
        return _WITHOUT_MODULE[entry["class_name"]]
    kind = f"{entry['module']}.{entry['class_name']}"
    if kind not in _FUNCTIONS:
        raise ValueError(f"it holds the operation {kind}, which tinyconv does not have")
    return _FUNCTIONS[kind]


def value(entry: dict[str, Any]) -> Any:
    """The constant of a call that Keras describes so: a slice, ``...`` or an array."""
    kind, config = entry.get("class_name"), entry.get("config")
    if kind == "__ellipsis__":
        return ...
    if kind == "__slice__" and isinstance(config, dict):
        return slice(*(config.get(limit) for limit in ("start", "stop", "step")))
    if kind in ("__numpy__", "__tensor__") and isinstance(config, dict) and np.dtype(config["dtype"]).kind in "fiub":
        return np.array(config["value"], config["dtype"])
    raise ValueError(f"an operation is called with something unknown. Received: {entry!r:.100}")


def operate(function: str, config: dict[str, Any], args: list[Any], options: dict[str, Any]) -> Any:
    """The symbolic result of an operation that Keras made with ``config`` and called with ``args`` and ``options``."""
    parameters = inspect.signature(getattr(ops, function)).parameters
    given = {_WORDS.get((function, key), key): entry for key, entry in {**config, **options}.items()}
    settings = {**_DEFAULTS.get(function, {}), **given}
    name = settings.pop("name", None)
    nothing = {key for key, entry in settings.items() if entry is None or (isinstance(entry, int) and not entry)}
    settings = {key: entry for key, entry in settings.items() if key not in nothing - parameters.keys()}
    if settings.get("value", 0) is None:  # of pad
        del settings["value"]
    unknown = {key: entry for key, entry in settings.items() if key not in parameters}
    if unknown:
        raise ValueError(f"operation {name!r} has settings that tinyconv's {function} does not know: {unknown}")
    if "operands" in parameters:  # any number of them, after the settings
        args, settings = [*settings.values(), *args], {}
    if function == "getitem":
        args = [args[0], tuple(args[1]) if isinstance(args[1], list) else args[1]]
    return Operation.on(function, args, settings, name)


def describe(layer: Operation) -> tuple[str, str, dict[str, Any]]:
    """Module, class and configuration of Keras's operation.

    Raises
    ------
    ValueError
        For functions that Keras does not have in this form.
    """
    if layer.operation not in _CLASSES:
        raise ValueError(f"Keras has no operation like {layer._title}, that is tinyconv.ops.{layer.operation}")
    module, _, name = _CLASSES[layer.operation].partition(".")
    _, settings = _split(layer, [object() for _ in range(layer.count)])
    config = {key: entry for key, entry in settings.items() if key not in _OF_CALL}
    return f"{_MODULE}.{module}", name, {"name": layer.name, **config}


def node(layer: Operation, tensors: list[Any]) -> dict[str, Any]:
    """How Keras describes a call of the operation, ``tensors`` in its words."""
    operands, settings = _split(layer, tensors)
    return {"args": operands, "kwargs": {key: entry for key, entry in settings.items() if key in _OF_CALL}}


def _split(layer: Operation, tensors: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Operands and settings in Keras's words."""
    args, options = layer.arguments(tensors)
    bound = inspect.signature(getattr(ops, layer.operation)).bind_partial(*args, **options)
    for key in _DEFAULTS.get(layer.operation, ()):
        bound.arguments.setdefault(key, bound.signature.parameters[key].default)
    operands: list[Any] = []
    settings = {}
    for key, entry in bound.arguments.items():
        if _is_unknown(key, entry):
            raise ValueError(f"Keras takes no {key} like that of {layer._title}. Received: {entry!r:.100}")
        if key == "operands":
            operands += map(_data, entry)
        elif key in _OPERANDS:
            operands.append(_data(entry))
        elif any(part is tensor for part in (entry if isinstance(entry, list) else [entry]) for tensor in tensors):
            raise ValueError(f"Keras takes no tensor as {key} of {layer._title}")
        else:
            settings[_SETTINGS.get((layer.operation, key), key)] = _data(entry)
    return operands, settings


def _is_unknown(key: str, entry: Any) -> bool:
    """Whether Keras has no such argument: no degrees of freedom, no open side of ``clip``, no arrays as indices."""
    if key == "index":
        return any(map(np.ndim, entry if isinstance(entry, tuple) else (entry,)))
    return key == "ddof" or (key in ("minimum", "maximum") and entry is None)


def _data(entry: Any) -> Any:
    """A constant in Keras's words, as data that JSON can hold."""
    if isinstance(entry, list | tuple):
        return [_data(part) for part in entry]
    if isinstance(entry, np.ndarray | Tensor):
        array = np.asarray(entry)
        return {"class_name": "__numpy__", "config": {"value": array.tolist(), "dtype": array.dtype.name}}
    if isinstance(entry, slice):
        limits = {"start": entry.start, "stop": entry.stop, "step": entry.step}
        return {"class_name": "__slice__", "config": limits}
    return {"class_name": "__ellipsis__", "config": {}} if entry is Ellipsis else entry
