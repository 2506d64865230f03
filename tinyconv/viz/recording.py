"""Looking at a model from inside while it runs: what each layer receives and returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tinyconv import ops
from tinyconv.layers.base import Layer, map_structure


class LayerCall(NamedTuple):
    """One use of a layer: tensors (or structures of them) that went in and came out."""

    layer: Layer
    inputs: Any
    outputs: Any


@contextmanager
def recording(layers: Iterable[Layer], distinct: bool = False) -> Iterator[list[LayerCall]]:
    """Collect the calls of ``layers`` within the ``with`` block, in the order in which they return.

    Works for every kind of model, since it listens to the layers themselves. Inside models, only eager calls are heard:
    call the model itself, not ``predict``.

    Parameters
    ----------
    layers : iterable of Layer
    distinct : bool
        Make every output a tensor of its own, also where a layer returns its input (dropout outside of training).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(3, input_shape=(4,)), tc.layers.Dense(2)])
    >>> with recording(model.layers) as calls:
    ...     y = model(np.zeros((1, 4)))
    >>> [call.outputs.shape for call in calls]
    [(1, 3), (1, 2)]
    """
    calls: list[LayerCall] = []
    listened = list({id(layer): layer for layer in layers}.values())
    before = {id(layer): vars(layer).get("call") for layer in listened}
    for layer in listened:
        vars(layer)["call"] = _listener(layer, calls, distinct)
    try:
        yield calls
    finally:
        for layer in listened:
            original = before[id(layer)]
            if original is None:
                del vars(layer)["call"]
            else:
                vars(layer)["call"] = original


def _listener(layer: Layer, calls: list[LayerCall], distinct: bool) -> Any:
    call = layer.call

    def listening(inputs: Any, *args: Any, **options: Any) -> Any:
        outputs = call(inputs, *args, **options)
        if distinct:
            outputs = map_structure(lambda y: ops.multiply(y, 1), outputs)
        calls.append(LayerCall(layer, inputs, outputs))
        return outputs

    return listening
