"""All that training changes in a model, copied, so that it can be put back: weights, optimizer and random streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from tinyconv.models import Model


class Snapshot(NamedTuple):
    """The state of a model at one moment.

    Attributes
    ----------
    weights : list of array
        In the order of ``model.weights``.
    variables : list of int, or None
        Places among the weights of what the optimizer was built for; None when it was not built.
    optimizer : dict of str to array
        What its ``get_state`` gave.
    streams : dict of str to dict
        Position of each random stream (the model's, and those of layers with a seed of their own).
    """

    weights: list[np.ndarray]
    variables: list[int] | None
    optimizer: Mapping[str, np.ndarray]
    streams: dict[str, Any]


def take(model: Model) -> Snapshot:
    """Copy the state of a compiled model.

    Raises
    ------
    ValueError
        When the model has no weights yet, or its optimizer holds variables of other models.
    """
    model._require_built()
    optimizer, places = model.optimizer, {id(weight): place for place, weight in enumerate(model.weights)}
    variables = None
    if optimizer.built:
        if not all(id(variable) in places for variable in optimizer._variables):
            raise ValueError("The optimizer holds variables that are not weights of the model")
        variables = [places[id(variable)] for variable in optimizer._variables]
    state = optimizer.get_state() if optimizer.built else {}
    return Snapshot(model.get_weights(), variables, state, streams_of(model))


def put_back(model: Model, snapshot: Snapshot) -> None:
    """Give a model the state of a snapshot: nothing changes unless the weights fit."""
    model.set_weights(snapshot.weights)
    if snapshot.variables is not None:
        weights = model.weights
        model.optimizer.build([weights[place] for place in snapshot.variables])
        model.optimizer.set_state(dict(snapshot.optimizer))
    set_streams(model, snapshot.streams)


def streams_of(model: Model) -> dict[str, Any]:
    """Position of each random stream, by the place of its layer in the model."""
    model.random_stream  # noqa: B018 (begins the stream, if it has not begun yet)
    return {str(place): stream.bit_generator.state for place, stream in _streams(model).items()}


def set_streams(model: Model, states: Mapping[str, Any]) -> None:
    """Move random streams to a position. They stay the same objects: training draws from them already."""
    model.random_stream  # noqa: B018
    for place, stream in _streams(model).items():
        if str(place) in states:
            stream.bit_generator.state = states[str(place)]


def _streams(model: Model) -> dict[int, np.random.Generator]:
    unique = {id(layer): layer for layer in model._all_layers()}  # a shared layer is met several times
    found = {place: getattr(layer, "_stream", None) for place, layer in enumerate(unique.values())}
    return {place: stream for place, stream in found.items() if stream is not None}
