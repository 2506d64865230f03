"""Model files: a safetensors file whose header holds JSON. Pure data: loading imports, evaluates and unpickles nothing.

Tensors are named ``weights/<layer>/<weight>`` and ``optimizer/<slot>``; the header's entry ``tinyconv`` describes
architecture, compile arguments, class names and the state of the random streams. Any safetensors reader can open the
file.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv import random, registry
from tinyconv.layers.base import Layer

if TYPE_CHECKING:
    from tinyconv.models import Model

_ENTRY = "tinyconv"
_VERSION = 1


# --- writing ---------------------------------------------------------------------------------------------------


def save_model(model: Model, path: Any) -> None:
    """Write a whole model (see :meth:`Model.save`).

    Raises
    ------
    ValueError
        When the model has no weights yet, or holds a class or function that is not registered.
    """
    from tinyconv.models.model import serialize_layer

    model._require_built()
    _check_containers(model)
    header = {
        "model": serialize_layer(model),
        "input_shape": model._shapes[0] if model._shapes else None,
        "class_names": None if model.class_names is None else [str(name) for name in model.class_names],
    }
    tensors = _weights(model)
    if model.optimizer is not None and model.objective is not None:
        header["compile"] = {"optimizer": registry.serialize(model.optimizer), **model.objective.get_config()}
        model.random_stream  # noqa: B018 (begins the stream, if it has not begun yet)
        if model.optimizer.built:
            header["optimizer_variables"] = _optimizer_variables(model)
            state = model.optimizer.get_state()
            tensors.update((f"optimizer/{name}", np.asarray(value)) for name, value in state.items())
    header["random_streams"] = {
        str(place): stream.bit_generator.state
        for place, layer in enumerate(_walk(model))
        if (stream := getattr(layer, "_stream", None)) is not None
    }
    _write(path, tensors, header)


def save_weights(model: Layer, path: Any) -> None:
    """Write the weights alone (see :meth:`Model.save_weights`)."""
    model._require_built()
    _write(path, _weights(model), {})


def weight_names(model: Layer) -> list[str]:
    """A unique name for every weight, in order: layer names and the weight's own name, joined by ``/``."""
    names: dict[int, str] = {}
    taken: set[str] = set()

    def visit(layer: Layer, prefix: str) -> None:
        for parameter in layer._parameters:
            name, n = f"{prefix}{parameter.name}", 1
            while name in taken:
                name, n = f"{prefix}{parameter.name}_{n}", n + 1
            if id(parameter) not in names:
                taken.add(name)
                names[id(parameter)] = name
        for child in layer.children:
            visit(child, f"{prefix}{child.name}/")

    visit(model, "")
    return [names[id(parameter)] for parameter in model.weights]


def _weights(model: Layer) -> dict[str, np.ndarray]:
    return {
        f"weights/{name}": np.asarray(parameter.numpy(), order="C")
        for name, parameter in zip(weight_names(model), model.weights, strict=True)
    }


def _walk(layer: Layer) -> list[Layer]:
    """A layer and all that it contains, each once, outer ones first."""
    found = {id(layer): layer}
    for child in layer.children:
        found.update((id(inner), inner) for inner in _walk(child) if id(inner) not in found)
    return list(found.values())


def _check_containers(model: Layer) -> None:
    """Raise when two of the models inside ``model`` share a layer: as data, it would become two layers."""
    from tinyconv.models import Functional, Sequential

    owners: dict[int, Layer] = {}
    for owner in _walk(model):
        for layer in owner.children if isinstance(owner, Functional | Sequential) else ():
            if owners.setdefault(id(layer), owner) is not owner:
                raise ValueError(
                    f"{layer._title} belongs to two models inside {model._title}, {owners[id(layer)].name!r} and "
                    f"{owner.name!r}, which a file cannot tell. Use save_weights, or share a model, not a layer"
                )


def _optimizer_variables(model: Model) -> list[int]:
    """Places among the model's weights of what its optimizer was built for, frozen since or not."""
    places = {id(parameter): place for place, parameter in enumerate(model.weights)}
    variables = model.optimizer._variables
    if not all(id(variable) in places for variable in variables):
        raise ValueError(
            f"The optimizer of {model._title} holds variables of other models. Compile with an optimizer of its own, "
            "or use save_weights"
        )
    return [places[id(variable)] for variable in variables]


def _write(path: Any, tensors: Mapping[str, np.ndarray], header: dict[str, Any]) -> None:
    """Write to a temporary file beside ``path`` and put it in place in one step: no reader sees half a file."""
    from safetensors.numpy import save

    # safetensors sorts by dtype and name, so the order of the weights is kept in the header
    try:
        description = json.dumps({"version": _VERSION, "order": list(tensors), **header})
    except TypeError as error:
        raise ValueError(f"The configuration of a model must be plain data: {error}") from None
    data = save(dict(tensors), {_ENTRY: description})
    path = Path(os.path.realpath(path))  # a link goes on pointing to the file
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a folder to save to. Received: {path.parent}, which does not exist")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too
        temporary.unlink(missing_ok=True)
        raise


# --- reading ---------------------------------------------------------------------------------------------------


def load_model(path: Any, custom_objects: Mapping[str, Any] | None = None, compile: bool = True) -> Model:
    """Read a model that :meth:`Model.save` wrote, ready to predict or to go on training.

    Parameters
    ----------
    path : str or Path
    custom_objects : dict of str to class or function, optional
        Own classes by the name under which the file knows them; alternatively ``registry.register`` them.
    compile : bool
        Restore optimizer (with its state), loss and metrics too.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is not a whole model file, or names classes that are not known.

    Examples
    --------
    >>> import os, tempfile, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(2, input_shape=(3,))])
    >>> path = os.path.join(tempfile.mkdtemp(), "model.tinyconv")
    >>> model.save(path)
    >>> tc.load_model(path).output_shape
    (None, 2)
    """
    tensors, header = _read(path)
    if "model" not in header:
        raise ValueError(f"{path} holds weights only. Build the model and call its load_weights")
    with registry.custom_objects(custom_objects or {}), _refusing_lies(path):
        model = _make_model(header, budget=sum(array.size for array in tensors.values()))
        _assign(model, tensors)
        if compile and "compile" in header:
            _restore_training(model, tensors, header)
        _restore_streams(model, header["random_streams"])
    return model


def load_weights(model: Layer, path: Any) -> None:
    """Read weights into an equal architecture (see :meth:`Model.load_weights`)."""
    tensors, _ = _read(path)
    model._require_built()
    with _refusing_lies(path):
        _assign(model, tensors)


def _read(path: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and header of a file, both checked to be what they claim."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        what = "which is a folder" if path.is_dir() else "which does not exist"
        raise FileNotFoundError(f"Expected a model file. Received: {path}, {what}")
    try:
        with safe_open(path, framework="numpy") as file:  # checks sizes and offsets against the file
            metadata = file.metadata() or {}
            header = json.loads(metadata.get(_ENTRY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not a tinyconv file, or it is damaged: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("order"), list):
        raise ValueError(f"{path} is not a tinyconv file: it has no description of its contents")
    if header.get("version") != _VERSION:
        raise ValueError(f"{path} has format version {header.get('version')!r}. Expected version {_VERSION}")
    if sorted(map(str, header["order"])) != sorted(tensors):
        raise ValueError(f"{path} is damaged: its contents do not match their description")
    return {name: tensors[name] for name in header["order"]}, header


@contextlib.contextmanager
def _refusing_lies(path: Any) -> Iterator[None]:
    """Whatever goes wrong while a file's description is followed is said to be the file's fault."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        own = "; pass own classes as custom_objects, or register them" if str(error).startswith("Unknown") else ""
        raise ValueError(f"{path} cannot be loaded: {error}{own}") from error


class _Blank(np.random.Generator):
    """Stands in for random numbers while a model is made whose weights will come from a file.

    Draws are zeros, and never more of them than the file has numbers, whatever sizes it claims.
    """

    def __init__(self, budget: int) -> None:
        super().__init__(np.random.PCG64(0))
        self.budget = budget

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:  # type: ignore[override]
        """Zeros."""
        if math.prod(np.atleast_1d(size).tolist()) > self.budget:
            raise ValueError(f"it describes a weight of shape {size}, but it holds {self.budget} numbers")
        return np.zeros(size, dtype)

    standard_normal = random  # type: ignore[assignment]


def _make_model(header: dict[str, Any], budget: int) -> Model:
    """The model that the header describes, with blank weights."""
    from tinyconv.models import Model
    from tinyconv.models.model import deserialize_layer

    names = header.get("class_names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"class_names must be a list of strings. Received: {names!r}")
    with random.use(_Blank(budget)):
        model = deserialize_layer(header["model"])
        if not isinstance(model, Model):
            raise ValueError(f"it holds a {type(model).__name__}, not a model")
        if not model.built and header.get("input_shape") is not None:
            model.build(_as_shapes(header["input_shape"]))
    model.class_names = names
    return model


def _as_shapes(value: Any) -> Any:
    """Shapes from JSON, where tuples became lists: one, or a list or dictionary of several."""
    if isinstance(value, dict):
        return {key: _as_shapes(shape) for key, shape in value.items()}
    if value and isinstance(value[0], list):
        return [_as_shapes(shape) for shape in value]
    return tuple(None if n is None else int(n) for n in value)


def _assign(model: Layer, tensors: dict[str, np.ndarray]) -> None:
    """Copy stored weights into the model, by order; nothing changes unless all of them fit."""
    stored = {name: value for name, value in tensors.items() if name.startswith("weights/")}
    own = model.weights
    if len(stored) != len(own):
        raise ValueError(f"{model._title} has {len(own)} weights. Received: {len(stored)}")
    for (name, value), parameter in zip(stored.items(), own, strict=True):
        if value.shape != parameter.shape or value.dtype.kind != "f":
            raise ValueError(
                f"{model._title} expected shape {parameter.shape} for {parameter.name!r}. "
                f"Received: {value.shape}, {value.dtype}, for {name.removeprefix('weights/')!r}"
            )
    for value, parameter in zip(stored.values(), own, strict=True):
        parameter.assign(value.astype(parameter.dtype, copy=False))


def _restore_training(model: Model, tensors: dict[str, np.ndarray], header: dict[str, Any]) -> None:
    """Compile as the saved model was, with the optimizer's state where it stood."""
    model.compile(**header["compile"])
    places = header.get("optimizer_variables")
    if places is None:  # not one update was done
        return
    weights = model.weights
    model.optimizer.build([weights[place] for place in places])
    model.optimizer.set_state(
        {name.removeprefix("optimizer/"): value for name, value in tensors.items() if name.startswith("optimizer/")}
    )


def _restore_streams(model: Model, streams: dict[str, Any]) -> None:
    """Let the model and its layers go on drawing random numbers where they stopped."""
    layers = _walk(model)
    for place, state in streams.items():
        stream = np.random.default_rng(0)
        stream.bit_generator.state = state
        layer = layers[int(place)]
        if layer is model:
            model._set_stream(stream)
        elif getattr(layer, "_stream", None) is not None:
            layer._stream = stream  # type: ignore[attr-defined]
