"""New models from the description of others: ``clone_model``, ``model_from_config``, ``model_from_json``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tinyconv import registry
from tinyconv.layers.base import Layer
from tinyconv.layers.graph import Symbolic, flatten_structure, map_structure
from tinyconv.models.functional import Functional, _key
from tinyconv.models.model import Model, deserialize_layer
from tinyconv.models.sequential import Sequential


def clone_model(
    model: Model, input_tensors: Any = None, clone_function: Callable[[Layer], Layer] | None = None
) -> Model:
    """A new model of the same architecture, with fresh weights; it is not compiled.

    Parameters
    ----------
    model : Model
    input_tensors : Symbolic, or list of Symbolic, optional
        Inputs to build the new model on, in place of new ones. Not for subclasses of ``Model``.
    clone_function : callable, optional
        Makes the new layer from the old one; called once for every layer but the inputs, operations such as ``x + y``
        included. It may return the old layer, which is then shared, or another kind of layer. By default a new layer
        of the same configuration, layers of an inner model included. Not for subclasses of ``Model``.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(2, input_shape=(3,))])
    >>> clone = tc.models.clone_model(model)
    >>> clone.set_weights(model.get_weights())
    >>> clone.output_shape
    (None, 2)
    """
    if not isinstance(model, Functional | Sequential):
        if input_tensors is not None or clone_function is not None:
            raise ValueError(
                "input_tensors and clone_function are for Sequential and functional models. "
                f"Received: {model._title}, a subclass of Model"
            )
        return _same(model)  # type: ignore[return-value]
    given = None if input_tensors is None else flatten_structure(input_tensors)
    for tensor in given or ():
        if not isinstance(tensor, Symbolic):
            raise TypeError(f"input_tensors must be symbolic tensors, made by Input. Received: {tensor!r}")
    clone = clone_function or _same
    made = _clone_sequential(model, given, clone) if isinstance(model, Sequential) else _clone(model, given, clone)
    made._trainable = model._trainable
    return made


def _same(layer: Layer) -> Layer:
    return type(layer).from_config(layer.get_config())


def _checked(made: Any, layer: Layer) -> Layer:
    if not isinstance(made, Layer):
        raise TypeError(f"clone_function expected to return a layer for {layer._title}. Received: {made!r}")
    return made


def _clone_sequential(
    model: Sequential, given: list[Symbolic] | None, clone: Callable[[Layer], Layer]
) -> Sequential:
    made = Sequential(name=model.name)
    if given is not None and len(given) != 1:
        raise ValueError(f"{model._title} has one input. Received: {len(given)} input_tensors")
    if given is not None:
        made.add(given[0])
    elif model._input is not None:
        made._set_input(model._input.shape, model._input.dtype, model._input.name)
    for layer in model.layers:
        made.add(_checked(clone(layer), layer))
    return made


def _clone(model: Functional, given: list[Symbolic] | None, clone: Callable[[Layer], Layer]) -> Functional:
    if given is None:
        given = [Symbolic(t.shape, t.dtype, t.name) for t in model.inputs]
    if len(given) != len(model.inputs):
        raise ValueError(f"{model._title} has {len(model.inputs)} inputs. Received: {len(given)} input_tensors")
    new = {_key(old): tensor for old, tensor in zip(model.inputs, given, strict=True)}
    layers: dict[int, Layer] = {}
    for call in model._calls:
        if id(call.layer) not in layers:
            layers[id(call.layer)] = _checked(clone(call.layer), call.layer)
        result = call.run(lambda t: new[_key(t)], layers[id(call.layer)])
        for index, tensor in enumerate(flatten_structure(result)):
            new[id(call), index] = tensor
    position = {_key(old): tensor for old, tensor in zip(model.inputs, given, strict=True)}
    inputs = map_structure(lambda t: position[_key(t)], model._inputs)
    return Functional(inputs, map_structure(lambda t: new[_key(t)], model._outputs), model.name)


def model_from_config(config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Model:
    """The model that ``{"class_name": ..., "config": ...}`` describes, with fresh weights.

    Parameters
    ----------
    config : dict
        As ``layers.serialize(model)`` gives it.
    custom_objects : dict of str to class or function, optional
        Own classes by name.
    """
    with registry.custom_objects(custom_objects or {}):
        made = deserialize_layer(config)
    if not isinstance(made, Model):
        raise ValueError(f"Expected the configuration of a model. Received: {config.get('class_name')!r}")
    return made


def model_from_json(text: str, custom_objects: Mapping[str, Any] | None = None) -> Model:
    """The model that ``Model.to_json`` described, with fresh weights.

    Examples
    --------
    >>> import tinyconv as tc
    >>> text = tc.Sequential([tc.layers.Dense(2, input_shape=(3,))]).to_json()
    >>> tc.models.model_from_json(text).output_shape
    (None, 2)
    """
    config = json.loads(text)
    if not isinstance(config, dict):
        raise ValueError(f"Expected JSON of the form {{'class_name': name, 'config': arguments}}. Received: {text:.80}")
    return model_from_config(config, custom_objects)
