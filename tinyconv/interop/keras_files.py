"""Whole models in Keras's files: HDF5 (``.h5``, ``.hdf5``) and, since Keras 3, a zip archive (``.keras``).

Files written here carry tinyconv's own description of the model and the optimizer's state as well, which Keras passes
over: they come back with everything, and Keras reads architecture and weights.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyconv.interop import hdf5, keras_config, keras_optimizers, keras_weights
from tinyconv.models import Model

_ENTRY = "tinyconv"  # attribute, or name in the archive, of tinyconv's own description
_STATE = "tinyconv_optimizer"  # group of the optimizer's state
_WEIGHTS, _CONFIG = "model.weights.h5", "config.json"
_MOST_TEXT = 64 * 2**20  # bytes of a description
_BEST_COMPRESSION = 1032
_MOST_PACKED = 20  # times larger than the file that holds them may weights be: Keras does not pack them at all

HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"  # how the files begin


class Contents(NamedTuple):
    """An open Keras file.

    Attributes
    ----------
    file : h5py.File
        Weights.
    own : dict or None
        tinyconv's description.
    config : dict or None
        Keras's description of the model.
    training : dict or None
        Keras's compile arguments.
    """

    file: Any
    own: dict[str, Any] | None
    config: dict[str, Any] | None
    training: dict[str, Any] | None


# --- writing ---------------------------------------------------------------------------------------------------


def write_model(path: Path, model: Model, header: str, state: Mapping[str, np.ndarray], zipped: bool) -> None:
    """Write a model to a new file.

    Parameters
    ----------
    path : Path
    model : Model
    header : str
        tinyconv's description, JSON.
    state : dict of str to array
        The optimizer's state by name.
    zipped : bool
        Whether in Keras 3's form (``.keras``), or as HDF5.
    """
    try:
        config = json.dumps(keras_config.to_keras(model))
    except ValueError as error:  # Keras has no words for it
        config = None
        warnings.warn(f"tinyconv will open this file, Keras will not: {error}", stacklevel=6)
    if not zipped:
        with open(path, "wb") as target, hdf5.writing(target) as file:
            file.attrs[_ENTRY] = header
            file.attrs["keras_version"], file.attrs["backend"] = keras_weights.WRITTEN_AS, "tensorflow"
            if config is not None:
                file.attrs["model_config"] = config
            keras_weights.write_keras2(model, file.create_group("model_weights"))
            _write_state(file, state)
        return
    with zipfile.ZipFile(path, "w") as archive:
        metadata = {"keras_version": keras_weights.WRITTEN_AS, "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S")}
        archive.writestr("metadata.json", json.dumps(metadata))
        if config is not None:
            archive.writestr(_CONFIG, config)
        archive.writestr(f"{_ENTRY}.json", header)
        with archive.open(_WEIGHTS, "w", force_zip64=True) as member, hdf5.writing(member) as file:
            keras_weights.write_keras3(model, file)
            _write_state(file, state)


def _write_state(file: Any, state: Mapping[str, np.ndarray]) -> None:
    group = file.create_group(_STATE)
    for name, value in state.items():
        group.create_dataset(name, data=value)


def write_weights(path: Path, model: Any, nested: bool) -> None:
    """Write the weights alone, in the layout of Keras 3 (``nested``) or in that of Keras 2."""
    with open(path, "wb") as target, hdf5.writing(target) as file:
        (keras_weights.write_keras3 if nested else keras_weights.write_keras2)(model, file)


# --- reading ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Contents]:
    """An open file of either form, as a context; damage is a ``ValueError`` that names it."""
    with open(path, "rb") as start:
        zipped = start.read(len(ZIP)) == ZIP
    if not zipped:
        with hdf5.reading(path, path) as file:
            training = _parsed(hdf5.attribute(file, "training_config"))
            config = _parsed(hdf5.attribute(file, "model_config"))
            yield Contents(file, _parsed(hdf5.attribute(file, _ENTRY)), config, training)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            own = _parsed(_read(archive, f"{_ENTRY}.json", _MOST_TEXT))
            config = _parsed(_read(archive, _CONFIG, _MOST_TEXT))
            weights = _read(archive, _WEIGHTS, max(_MOST_TEXT, _MOST_PACKED * Path(path).stat().st_size))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"{path} is not a Keras file, or it is damaged: {error}") from error
    if weights is None:
        raise ValueError(f"{path} is not a Keras file: there is no {_WEIGHTS} in it")
    with hdf5.reading(io.BytesIO(weights), path) as file:
        yield Contents(file, own, config, (config or {}).get("compile_config"))


def _read(archive: zipfile.ZipFile, name: str, most: int | None = None) -> bytes | None:
    """A member of an archive, if it is there and not absurdly larger than what the archive holds of it."""
    if name not in archive.namelist():
        return None
    info = archive.getinfo(name)
    if info.file_size > _BEST_COMPRESSION * (info.compress_size + 64) or info.file_size > (most or info.file_size):
        raise zipfile.BadZipFile(f"{name} claims {info.file_size} bytes")
    return archive.read(name)


def _parsed(text: str | bytes | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its description is damaged: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"its description is damaged. Expected names and values. Received: {found!r:.100}")
    return found


def size(file: Any) -> int:
    """How many numbers the file holds."""
    h5py = hdf5.require_h5py()
    found: list[int] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            found.append(int(np.prod(hdf5.stored(file, name).shape, dtype=object)))

    file.visititems(visit)
    return sum(found)


def state(file: Any) -> dict[str, np.ndarray]:
    """The optimizer's state that ``write_model`` wrote."""
    h5py = hdf5.require_h5py()
    names: list[str] = []
    group = hdf5.child(file, _STATE)
    group.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
    return {name: hdf5.stored(group, name).read() for name in names}


def make_model(contents: Contents) -> Model:
    """The model that Keras described, with fresh weights."""
    if contents.config is None:
        raise ValueError("it holds weights only. Build the model and call its load_weights")
    model = keras_config.from_keras(contents.config)
    if not isinstance(model, Model):
        raise ValueError(f"it holds a {type(model).__name__}, not a model")
    return model


def compile_as_stored(model: Model, contents: Contents) -> None:
    """Compile with what Keras stored; with a warning, leave the model as it is where that is not understood.

    The state of Keras 3's optimizers is taken over, so that training goes on where it stopped.
    """
    training = contents.training
    if not training:
        return
    try:
        keys = "loss", "metrics", "weighted_metrics", "loss_weights"
        given = {key: keras_config.plain(training.get(key)) for key in keys}
        optimizer = keras_config.plain(training.get("optimizer", training.get("optimizer_config")))
        model.compile(optimizer=keras_optimizers.known_arguments(optimizer), **given)
    except (ValueError, TypeError, KeyError) as error:
        warnings.warn(f"{model._title} was not compiled as in its file, do so by hand: {error}", stacklevel=4)
        return
    keras_optimizers.restore_state(model, contents.file)
