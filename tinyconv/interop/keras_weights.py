"""Weights in Keras's two HDF5 layouts.

Keras 1 and 2 (``.h5``, ``.hdf5``): a group per layer, in the order of the attribute ``layer_names``; each lists its
arrays in ``weight_names``. In a whole model, all of this lies in the group ``model_weights``.

Keras 3 (``.weights.h5``): groups nested as the layers are, with arrays ``vars/0``, ``vars/1``, ... The layers of
Sequential and functional models lie in ``layers`` under the names of their classes, ``conv2d``, ``conv2d_1``, ...;
those of other models under the names of their attributes.

Kernels are (KH, KW, C, O); normalisations hold gamma, beta, moving_mean, moving_variance.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv.interop import hdf5
from tinyconv.layers.base import Layer
from tinyconv.layers.module import Parameter
from tinyconv.models import Functional, Sequential
from tinyconv.models.weights import Stored, Transfer, weight_names
from tinyconv.registry import snake_case

WRITTEN_AS = "3.0.0"  # the version of Keras whose layout is written


# --- reading ---------------------------------------------------------------------------------------------------


def load(model: Layer, file: Any, skip_mismatch: bool = False, by_name: bool = False) -> None:
    """Fill a model's weights from an open HDF5 file of either layout; nothing changes unless all of them fit."""
    if "model_weights" in file:
        file = hdf5.child(file, "model_weights")
    transfer = Transfer(skip_mismatch)
    if "layer_names" in file.attrs or "layer_names0" in file.attrs:
        _plan_keras2(transfer, model, file, by_name)
    else:
        _plan_keras3(transfer, model, file, by_name)
    transfer.commit()


# --- Keras 1 and 2 ---------------------------------------------------------------------------------------------


def _plan_keras2(transfer: Transfer, model: Layer, file: Any, by_name: bool) -> None:
    convert = _conversion(hdf5.attribute(file, "keras_version") or "1", hdf5.attribute(file, "backend"))
    found: dict[str, list[Stored]] = {}
    for name in hdf5.names(file, "layer_names"):
        group = hdf5.child(file, name)
        found[name] = [hdf5.stored(group, weight) for weight in hdf5.names(group, "weight_names")]
    full = {name: arrays for name, arrays in found.items() if arrays}
    layers = [layer for layer in _top_layers(model) if layer.weights]
    own = {layer.name: layer for layer in layers}
    if by_name:
        pairs = [(own[name], arrays) for name, arrays in full.items() if name in own]
    elif set(own) == set(full):  # the same names: the order in which branches were written does not matter
        pairs = [(own[name], arrays) for name, arrays in full.items()]
    elif len(layers) == len(full):
        pairs = list(zip(layers, full.values(), strict=True))
    else:
        raise ValueError(
            f"{model._title} expected {len(layers)} layers with weights: {list(own)}. "
            f"Received: {len(full)}: {list(full)}; by_name=True loads those that have the same names"
        )
    for layer, arrays in pairs:
        arrays = [convert(layer, array) for array in _without_count(layer, arrays)]
        transfer.add(layer, _in_stored_order(layer, arrays), arrays)
    if by_name:
        transfer.expect_some(model, list(full))
    if "top_level_model_weights" in file and model._parameters:
        group = hdf5.child(file, "top_level_model_weights")
        arrays = [hdf5.stored(group, weight) for weight in hdf5.names(group, "weight_names")]
        transfer.add(model, _trained_first(model._parameters), arrays)


def _top_layers(model: Layer) -> list[Layer]:
    return list(getattr(model, "layers", model.children))


def _trained_first(weights: Sequence[Parameter]) -> list[Parameter]:
    return [w for w in weights if w.trainable] + [w for w in weights if not w.trainable]


def _in_stored_order(layer: Layer, arrays: Sequence[Stored]) -> list[Parameter]:
    """The layer's weights in the order in which the arrays stand.

    Keras writes an inner model's trained weights first, then the others; which ones are trained depends on what was
    frozen at the time. The order whose names and shapes agree is the right one.
    """
    orders = [_trained_first(layer.weights), [*layer.trainable_weights, *layer.non_trainable_weights], layer.weights]
    shapes = [array.shape for array in arrays]
    fitting = [order for order in orders if [weight.shape for weight in order] == shapes]
    names = [_last(array.name) for array in arrays]
    return next((o for o in fitting if [_last(w.name or "") for w in o] == names), (fitting or orders)[0])


def _last(name: str) -> str:
    """``inner/dense_1/kernel_2:0`` -> ``kernel``."""
    return re.sub(r"(_\d+)?(:\d+)?$", "", name.rpartition("/")[2])


def _conversion(version: str, backend: str | None) -> Callable[[Layer, Stored], Stored]:
    """What to do to kernels of old files: those of Theano are flipped, those of Keras 1 may be (O, C, KH, KW)."""

    def convert(layer: Layer, array: Stored) -> Stored:
        if len(array.shape) < 3 or not type(layer).__name__.startswith("Conv"):
            return array
        if version.startswith("1") and getattr(layer, "data_format", "") == "channels_first":
            axes = (*range(2, len(array.shape)), 1, 0)  # (O, C, KH, KW) -> (KH, KW, C, O)
            shape = tuple(array.shape[axis] for axis in axes)
            array = _changed(array, shape, lambda values: values.transpose(axes))
        if backend == "theano":
            window = tuple(range(len(array.shape) - 2))
            array = _changed(array, array.shape, lambda values: np.flip(values, window))
        return array

    return convert


def _changed(array: Stored, shape: tuple[int, ...], change: Callable[[np.ndarray], np.ndarray]) -> Stored:
    return array._replace(shape=shape, read=lambda: change(array.read()))


# --- Keras 3 ---------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """Where a Keras 3 file keeps a layer's own weights."""

    path: str
    layer: Layer
    weights: list[Parameter]


def _places(model: Layer) -> list[_Place]:
    """The model and all layers in it, each once, with their places."""
    found: list[_Place] = []
    seen: set[int] = set()

    def visit(layer: Layer, path: str) -> None:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        found.append(_Place(path, layer, _trained_first(layer._parameters)))
        if isinstance(layer, Functional | Sequential):
            visit_all(layer.layers, f"{path}layers/")
        for name, value in sorted(vars(layer).items()):
            if isinstance(value, Layer):
                visit(value, f"{path}{name}/")
            elif isinstance(value, list | tuple | dict) and not (name == "_layers" and hasattr(layer, "layers")):
                visit_all(list(value.values()) if isinstance(value, dict) else value, f"{path}{name}/")

    def visit_all(values: Sequence[Any], path: str) -> None:
        counts: Counter[str] = Counter()
        for value in values:
            if isinstance(value, Layer):
                base = snake_case(type(value).__name__)
                visit(value, f"{path}{base}{f'_{counts[base]}' if counts[base] else ''}/")
                counts[base] += 1
            elif isinstance(value, list | tuple | dict):
                base = "container"
                inner = list(value.values()) if isinstance(value, dict) else value
                visit_all(inner, f"{path}{base}{f'_{counts[base]}' if counts[base] else ''}/")
                counts[base] += 1

    visit(model, "")
    return found


def _plan_keras3(transfer: Transfer, model: Layer, file: Any, by_name: bool) -> None:
    found = {path: (name, arrays) for path, name, arrays in _entries(file, "", {file.id})}
    places = [place for place in _places(model) if place.weights]
    if not found:
        raise ValueError("it holds no weights in a layout of Keras")
    if by_name:
        named = {name: arrays for name, arrays in found.values() if arrays and name}
        for place in places:
            if place.layer.name in named:
                transfer.add(place.layer, place.weights, _without_count(place.layer, named[place.layer.name]))
        return transfer.expect_some(model, list(named))
    for place in places:
        _, arrays = found.pop(place.path, ("", []))
        transfer.add(place.layer, place.weights, _without_count(place.layer, arrays))
    left = [path for path, (_, arrays) in found.items() if arrays and not _is_state(path)]
    if left:
        transfer.refuse(f"{model._title} has no layers for {left}, or they have no weights there")


def _without_count(layer: Layer, arrays: list[Stored]) -> list[Stored]:
    """Keras's Normalization keeps a count beside mean and variance, which it does not use."""
    return arrays[:2] if type(layer).__name__ == "Normalization" and len(arrays) == 3 else arrays


def _entries(group: Any, path: str, seen: set[Any]) -> Iterator[tuple[str, str, list[Stored]]]:
    """Path, layer name and arrays of every group with ``vars`` in it."""
    h5py = hdf5.require_h5py()
    for key in group:
        inner = hdf5.child(group, key)
        if not isinstance(inner, h5py.Group):
            continue
        if inner.id in seen:  # loops, and branches that meet again: more paths than time
            raise ValueError(f"the group {inner.name!r} has several places")
        seen.add(inner.id)
        if key == "vars":
            numbers = sorted((k for k in inner if k.isdigit()), key=int)
            arrays = [hdf5.stored(inner, number, f"{path}vars/{number}") for number in numbers]
            yield path, hdf5.attribute(inner, "name") or "", arrays
        else:
            step = "layers" if key == "_layer_checkpoint_dependencies" else key  # its name before Keras 3
            yield from _entries(inner, f"{path}{step}/", seen)


def _is_state(path: str) -> bool:
    """Whether a group holds something else than weights of layers."""
    first, last = path.split("/")[0], path.rstrip("/").rpartition("/")[2]
    return first in ("optimizer", "metrics", "_metrics", "_loss_tracker", "_compile_metrics", "_compile_loss") or (
        "seed_generator" in last
    )


# --- writing ---------------------------------------------------------------------------------------------------


def write_keras2(model: Layer, group: Any) -> None:
    """Write the weights in the layout of Keras 2 into an open file or group."""
    layers = _top_layers(model)
    hdf5.set_names(group, "layer_names", [layer.name for layer in layers])
    group.attrs["backend"], group.attrs["keras_version"] = "tensorflow", WRITTEN_AS
    for layer in layers:
        weights = [*layer.trainable_weights, *layer.non_trainable_weights]
        names = {id(w): f"{layer.name}/{name}:0" for w, name in zip(layer.weights, weight_names(layer), strict=True)}
        _write_arrays(group.create_group(layer.name), weights, [names[id(weight)] for weight in weights])
    own = _trained_first(model._parameters)
    _write_arrays(group.create_group("top_level_model_weights"), own, [f"{weight.name}:0" for weight in own])


def _write_arrays(group: Any, weights: Sequence[Parameter], names: Sequence[str]) -> None:
    hdf5.set_names(group, "weight_names", names)
    for name, weight in zip(names, weights, strict=True):
        group.create_dataset(name, data=weight.numpy())


def write_keras3(model: Layer, file: Any) -> None:
    """Write the weights in the layout of Keras 3 into an open file."""
    for place in _places(model):
        group = file.create_group(f"{place.path}vars")
        group.attrs["name"] = place.layer.name
        for number, weight in enumerate(place.weights):
            group.create_dataset(str(number), data=weight.numpy())
        if type(place.layer).__name__ == "Normalization" and len(place.weights) == 2:
            group.create_dataset("2", data=np.zeros((), "i4"))  # Keras's count
