"""Model files: ``load_model``, and what ``Model.save``, ``save_weights`` and ``load_weights`` do.

The own format is a safetensors file whose header holds JSON. Pure data: loading imports, evaluates and unpickles
nothing. Tensors are named ``weights/<layer>/<weight>`` and ``optimizer/<slot>``; the header's entry ``tinyconv``
describes architecture, compile arguments, class names and the state of the random streams. Any safetensors reader can
open the file.

Files that end in ``.h5``, ``.hdf5`` or ``.keras`` are written in Keras's formats (see ``interop``). What a file is, its
first bytes say when it is read, not its name.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv import random, registry
from tinyconv.files import replacing
from tinyconv.interop import hdf5, keras_files, keras_weights
from tinyconv.layers.base import Layer
from tinyconv.layers.module import before_weight
from tinyconv.models import Functional, Model, Sequential
from tinyconv.models.model import deserialize_layer, serialize_layer
from tinyconv.models.weights import Stored, Transfer, owners, weight_names

__all__ = ["load_model", "load_weights", "save_model", "save_weights", "weight_names"]

_ENTRY = "tinyconv"
_VERSION = 1
_HDF5_ENDINGS = (".h5", ".hdf5")


# --- writing ---------------------------------------------------------------------------------------------------


def save_model(model: Model, filepath: Any, overwrite: bool = True) -> None:
    """Write a whole model (see :meth:`Model.save`).

    Raises
    ------
    ValueError
        When the model has no weights yet, or holds a class or function that is not registered.
    FileExistsError
        When there is such a file and it must not be replaced.
    """
    model._require_built()
    _check_containers(model)
    input_shape, other_shapes = model._built_for or (model._shapes[0] if model._shapes else None, {})
    header = {
        "model": serialize_layer(model),
        "input_shape": input_shape,
        "other_shapes": other_shapes,
        "class_names": None if model.class_names is None else [str(name) for name in model.class_names],
    }
    state: dict[str, np.ndarray] = {}
    if model.optimizer is not None and model.objective is not None:
        header["compile"] = {"optimizer": registry.serialize(model.optimizer), **model.objective.get_config()}
        model.random_stream  # noqa: B018 (begins the stream, if it has not begun yet)
        if model.optimizer.built:
            header["optimizer_variables"] = _optimizer_variables(model)
            state = {name: np.asarray(value) for name, value in model.optimizer.get_state().items()}
    header["random_streams"] = {
        str(place): stream.bit_generator.state
        for place, layer in enumerate(_walk(model))
        if (stream := getattr(layer, "_stream", None)) is not None
    }
    ending = _keras_ending(filepath)
    if ending:
        text = _as_json({"version": _VERSION, "order": [], **header})
        zipped = ending == ".keras"
        _replace(filepath, overwrite, lambda part: keras_files.write_model(part, model, text, state, zipped))
    else:
        tensors = {**_weights(model), **{f"optimizer/{name}": value for name, value in state.items()}}
        _write(filepath, overwrite, tensors, header)


def save_weights(model: Layer, filepath: Any, overwrite: bool = True) -> None:
    """Write the weights alone (see :meth:`Model.save_weights`)."""
    model._require_built()
    if _keras_ending(filepath) in _HDF5_ENDINGS:
        nested = str(filepath).lower().endswith(".weights.h5")
        _replace(filepath, overwrite, lambda part: keras_files.write_weights(part, model, nested))
    else:
        _write(filepath, overwrite, _weights(model), {})


def _keras_ending(path: Any) -> str | None:
    """``.h5``, ``.hdf5`` or ``.keras`` when the path asks for a file of Keras and there is h5py to write it."""
    ending = Path(path).suffix.lower()
    if ending not in (*_HDF5_ENDINGS, ".keras"):
        return None
    if not hdf5.is_available():
        warnings.warn(
            f"{path} is written in tinyconv's own format, which load_model and load_weights read under any name. "
            "For a file that Keras reads too: pip install h5py",
            stacklevel=4,
        )
        return None
    return ending


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
    holders: dict[int, Layer] = {}
    for owner in _walk(model):
        for layer in owner.children if isinstance(owner, Functional | Sequential) else ():
            if holders.setdefault(id(layer), owner) is not owner:
                raise ValueError(
                    f"{layer._title} belongs to two models inside {model._title}, {holders[id(layer)].name!r} and "
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


def _write(path: Any, overwrite: bool, tensors: Mapping[str, np.ndarray], header: dict[str, Any]) -> None:
    """Write a file of tinyconv's own format."""
    from safetensors.numpy import save

    # safetensors sorts by dtype and name, so the order of the weights is kept in the header
    data = save(dict(tensors), {_ENTRY: _as_json({"version": _VERSION, "order": list(tensors), **header})})
    _replace(path, overwrite, lambda part: part.write_bytes(data))


def _as_json(description: dict[str, Any]) -> str:
    try:
        return json.dumps(description)
    except TypeError as error:
        raise ValueError(f"The configuration of a model must be plain data: {error}") from None


def _replace(path: Any, overwrite: bool, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file that takes the place of ``path``: no reader sees half a file."""
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{path} exists, and overwrite=False")
    with replacing(path, sync=True) as part:
        write(part)


# --- reading ---------------------------------------------------------------------------------------------------


def load_model(filepath: Any, custom_objects: Mapping[str, Any] | None = None, compile: bool = True) -> Model:
    """Read a model that :meth:`Model.save` or Keras wrote, ready to predict or to go on training.

    Of Keras's own files (``.h5``, ``.keras``; they need h5py), architecture, weights and compile arguments are read; of
    the states of optimizers, those of Keras 3 (see :func:`tinyconv.interop.load_keras`).

    Parameters
    ----------
    filepath : str or Path
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
    >>> filepath = os.path.join(tempfile.mkdtemp(), "model.tinyconv")
    >>> model.save(filepath)
    >>> tc.load_model(filepath).output_shape
    (None, 2)
    """
    if _is_keras(filepath):
        return _load_keras_model(filepath, custom_objects or {}, compile)
    tensors, header = _read(filepath)
    if "model" not in header:
        raise ValueError(f"{filepath} holds weights only. Build the model and call its load_weights")
    with registry.custom_objects(custom_objects or {}), _refusing_lies(filepath):
        with _sizes_limited_to(sum(array.size for array in tensors.values())):
            model = _make_model(header)
        _assign(model, tensors)
        if compile and "compile" in header:
            state = {n.removeprefix("optimizer/"): v for n, v in tensors.items() if n.startswith("optimizer/")}
            _restore_training(model, state, header)
        _restore_streams(model, header["random_streams"])
    return model


def _load_keras_model(path: Any, custom_objects: Mapping[str, Any], compile: bool) -> Model:
    """Read a file in one of Keras's formats, written by Keras or by tinyconv."""
    with registry.custom_objects(custom_objects), _refusing_lies(path), keras_files.reading(path) as contents:
        own, file = contents.own, contents.file
        if own is not None and own.get("version") != _VERSION:
            raise ValueError(f"it has format version {own.get('version')!r}. Expected version {_VERSION}")
        with _sizes_limited_to(keras_files.size(file)):
            model = keras_files.make_model(contents) if own is None else _make_model(own)
        keras_weights.load(model, file)
        if own is None:
            if compile:
                keras_files.compile_as_stored(model, contents)
            return model
        if compile and "compile" in own:
            _restore_training(model, keras_files.state(file), own)
        _restore_streams(model, own["random_streams"])
    return model


def load_weights(model: Layer, filepath: Any, skip_mismatch: bool = False, by_name: bool = False) -> None:
    """Read weights into an equal architecture (see :meth:`Model.load_weights`)."""
    model._require_built()
    if _is_keras(filepath):
        with _refusing_lies(filepath), keras_files.reading(filepath) as contents:
            keras_weights.load(model, contents.file, skip_mismatch, by_name)
        return
    tensors, _ = _read(filepath)
    with _refusing_lies(filepath):
        _assign(model, tensors, skip_mismatch, by_name)


def _is_keras(path: Any) -> bool:
    """Whether a file begins as those of Keras do."""
    with open(_existing(path), "rb") as file:
        return file.read(8).startswith((keras_files.HDF5, keras_files.ZIP))


def _existing(path: Any) -> Path:
    path = Path(path)
    if not path.is_file():
        what = "which is a folder" if path.is_dir() else "which does not exist"
        raise FileNotFoundError(f"Expected a model file. Received: {path}, {what}")
    return path


def _read(path: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and header of a file, both checked to be what they claim."""
    from safetensors import SafetensorError, safe_open

    path = _existing(path)
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
    """Stands in for random numbers while a model is made whose weights will come from a file: draws are zeros."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:  # type: ignore[override]
        """Zeros."""
        return np.zeros(size, dtype)

    standard_normal = random  # type: ignore[assignment]


@contextlib.contextmanager
def _sizes_limited_to(budget: int) -> Iterator[None]:
    """Blank weights for the models made in this context, never more of them than the file has numbers."""
    left = budget

    def take(shape: tuple[int, ...]) -> None:
        nonlocal left
        left -= math.prod(shape)
        if left < 0:
            raise ValueError(f"it describes a weight of shape {shape}, but it holds {budget} numbers")

    token = before_weight.set(take)
    try:
        with random.use(_Blank()):
            yield
    finally:
        before_weight.reset(token)


def _make_model(header: dict[str, Any]) -> Model:
    """The model that the header describes."""
    names = header.get("class_names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"class_names must be a list of strings. Received: {names!r}")
    model = deserialize_layer(header["model"])
    if not isinstance(model, Model):
        raise ValueError(f"it holds a {type(model).__name__}, not a model")
    if not model.built and header.get("input_shape") is not None:
        others = {str(name): _as_shapes(shape) for name, shape in header.get("other_shapes", {}).items()}
        model._build(_as_shapes(header["input_shape"]), others)
    model.class_names = names
    return model


def _as_shapes(value: Any) -> Any:
    """Shapes from JSON, where tuples became lists: one, or a list or dictionary of several."""
    if isinstance(value, dict):
        return {key: _as_shapes(shape) for key, shape in value.items()}
    if value and isinstance(value[0], list):
        return [_as_shapes(shape) for shape in value]
    return tuple(None if n is None else int(n) for n in value)


def _assign(
    model: Layer, tensors: dict[str, np.ndarray], skip_mismatch: bool = False, by_name: bool = False
) -> None:
    """Copy stored weights into the model, by order or by name; nothing changes unless all of them fit."""
    found = {name.removeprefix("weights/"): a for name, a in tensors.items() if name.startswith("weights/")}
    stored = {name: Stored(name, array.shape, array.dtype, partial(np.asarray, array)) for name, array in found.items()}
    transfer, owner, own = Transfer(skip_mismatch), owners(model), model.weights
    if by_name:
        pairs = [(w, stored[name]) for w, name in zip(own, weight_names(model), strict=True) if name in stored]
    elif len(stored) == len(own):
        pairs = list(zip(own, stored.values(), strict=True))
    else:
        raise ValueError(
            f"{model._title} has {len(own)} weights: {weight_names(model)}. Received: {len(stored)}: {list(stored)}; "
            "by_name=True loads those that have the same names"
        )
    for _, group in groupby(pairs, lambda pair: id(owner[id(pair[0])])):  # layer by layer
        weights, arrays = zip(*group, strict=True)
        transfer.add(owner[id(weights[0])], weights, arrays)
    if by_name:
        transfer.expect_some(model, list(stored))
    transfer.commit()


def _restore_training(model: Model, state: dict[str, np.ndarray], header: dict[str, Any]) -> None:
    """Compile as the saved model was, with the optimizer's state where it stood."""
    from tinyconv.diagnosis import ModelWarning

    if type(model).compile is not Model.compile:
        warnings.warn(f"{model._title} has a compile of its own, which is to be called by hand", stacklevel=3)
        return
    with warnings.catch_warnings():  # whoever made the model was warned of what is unusual in it
        warnings.simplefilter("ignore", ModelWarning)
        model.compile(**header["compile"])
    places = header.get("optimizer_variables")
    if places is None:  # not one update was done
        return
    weights = model.weights
    model.optimizer.build([weights[place] for place in places])
    model.optimizer.set_state(state)


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
