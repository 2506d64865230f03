"""Model files: a safetensors file whose header holds JSON. Pure data: loading imports, evaluates and unpickles nothing.

Tensors are named ``weights/<layer>/<weight>`` and ``optimizer/<slot>``; the header's entry ``tinyconv`` describes
architecture, compile arguments, class names and the state of the model's random stream. Any safetensors reader can open
the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
    header = {"model": serialize_layer(model), "class_names": model.class_names}
    tensors = _weights(model)
    if model.optimizer is not None and model.objective is not None:
        from tinyconv import registry

        state = {f"optimizer/{name}": np.asarray(value) for name, value in model.optimizer.get_state().items()}
        tensors.update(state)
        header["compile"] = {"optimizer": registry.serialize(model.optimizer), **model.objective.get_config()}
        header["random_stream"] = _plain_state(model.random_stream)
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
        f"weights/{name}": np.ascontiguousarray(parameter.numpy())
        for name, parameter in zip(weight_names(model), model.weights, strict=True)
    }


def _write(path: Any, tensors: Mapping[str, np.ndarray], header: dict[str, Any]) -> None:
    """Write to a temporary file beside ``path`` and put it in place in one step: no reader sees half a file."""
    from safetensors.numpy import save

    # 0-d arrays and order of the weights: safetensors sorts by dtype and name, so the order is kept in the header
    header = {"version": _VERSION, "order": list(tensors), **header}
    data = save(dict(tensors), {_ENTRY: json.dumps(header)})
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _plain_state(stream: np.random.Generator) -> dict[str, Any]:
    return dict(stream.bit_generator.state)


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
    from tinyconv import registry
    from tinyconv.models import Model
    from tinyconv.models.model import deserialize_layer

    tensors, header = _read(path)
    if "model" not in header:
        raise ValueError(f"{path} holds weights only. Build the model and call its load_weights")
    with registry.custom_objects(custom_objects or {}):
        model = deserialize_layer(header["model"])
        if not isinstance(model, Model):
            raise ValueError(f"{path} holds a {type(model).__name__}, not a model")
        _assign(model, tensors, header, path)
        model.class_names = header.get("class_names")
        if compile and "compile" in header:
            _restore_training(model, tensors, header)
    return model


def load_weights(model: Layer, path: Any) -> None:
    """Read weights into an equal architecture (see :meth:`Model.load_weights`)."""
    tensors, header = _read(path)
    model._require_built()
    _assign(model, tensors, header, path)


def _read(path: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and header of a file, both checked to be what they claim."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a model file. Received: {path}, which does not exist")
    try:
        with safe_open(path, framework="numpy") as file:  # checks sizes and offsets against the file
            metadata = file.metadata() or {}
            header = json.loads(metadata.get(_ENTRY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except (SafetensorError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a tinyconv file, or it is damaged: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("order"), list):
        raise ValueError(f"{path} is not a tinyconv file: it has no description of its contents")
    if header.get("version") != _VERSION:
        raise ValueError(f"{path} has format version {header.get('version')!r}. Expected version {_VERSION}")
    if sorted(header["order"]) != sorted(tensors):
        raise ValueError(f"{path} is damaged: its contents do not match their description")
    return {name: tensors[name] for name in header["order"]}, header


def _assign(model: Layer, tensors: dict[str, np.ndarray], header: dict[str, Any], path: Any) -> None:
    """Copy stored weights into the model, by order; nothing changes unless all of them fit."""
    stored = {name: value for name, value in tensors.items() if name.startswith("weights/")}
    own = model.weights
    if len(stored) != len(own):
        raise ValueError(f"{path} holds {len(stored)} weights. Model {model.name!r} has {len(own)}")
    for (name, value), parameter in zip(stored.items(), own, strict=True):
        if value.shape != parameter.shape or value.dtype.kind != "f":
            raise ValueError(
                f"{path}: weight {name.removeprefix('weights/')!r} expected shape {parameter.shape} for "
                f"{parameter.name!r}. Received: {value.shape}, {value.dtype}"
            )
    for value, parameter in zip(stored.values(), own, strict=True):
        parameter.assign(value.astype(parameter.dtype, copy=False))


def _restore_training(model: Model, tensors: dict[str, np.ndarray], header: dict[str, Any]) -> None:
    """Compile as the saved model was, with the optimizer's state and the random stream where they stood."""
    arguments = dict(header["compile"])
    model.compile(**arguments)
    state = {
        name.removeprefix("optimizer/"): value for name, value in tensors.items() if name.startswith("optimizer/")
    }
    model.optimizer.build(model.trainable_weights)
    model.optimizer.set_state(state)
    stream = np.random.default_rng(0)
    stored = header.get("random_stream")
    if not isinstance(stored, dict) or stored.get("bit_generator") != "PCG64":
        raise ValueError(f"Expected the state of a PCG64 generator. Received: {stored!r}")
    stream.bit_generator.state = stored
    model._stream = stream
