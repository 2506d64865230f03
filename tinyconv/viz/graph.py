"""The graph of a model: its layers as boxes, the tensors between them as arrows. No drawing happens here.

``Sequential`` and functional models know their graph. That of a model with a ``call`` of its own is found by running it
on zeros and following each layer's inputs back to the layers that they were computed from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyconv.layers.base import Layer, Symbolic, flatten_structure
from tinyconv.models import Functional, Model, Sequential
from tinyconv.tensor import Tensor, enable_grad
from tinyconv.viz.recording import recording


@dataclass
class Node:
    """A layer (``layer=None`` for an input of the model).

    Attributes
    ----------
    name, kind : str
        The layer's name and its class.
    inputs, outputs : list of tuple
        Shapes; empty where they are not known yet.
    inner : Graph or None
        What is inside, when the layer is a model that is shown expanded.
    """

    name: str
    kind: str
    inputs: list[Any]
    outputs: list[Any]
    dtype: str
    layer: Layer | None = None
    inner: Graph | None = None


@dataclass
class Graph:
    """Nodes in order of computation, and edges as pairs of their indices.

    Attributes
    ----------
    inputs, outputs : list of int
        The nodes at which data enters and leaves.
    """

    name: str
    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def connect(self, source: int, target: int) -> None:
        """Draw an arrow, once."""
        if (source, target) not in self.edges:
            self.edges.append((source, target))

    def before(self, index: int) -> list[int]:
        """Nodes whose results node ``index`` takes."""
        return [source for source, target in self.edges if target == index]


def graph_of(model: Layer, expand_nested: bool = False, trace: bool = True) -> Graph:
    """The graph of ``model``.

    Parameters
    ----------
    model : Model
        A subclassed model must have been called once; otherwise it is a single node, as any other layer.
    expand_nested : bool
        Whether models inside the model get graphs of their own.
    trace : bool
        Whether models with a ``call`` of their own may be run to find their edges; without, they have none.

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = tc.Input((4,), name="x")
    >>> y = tc.layers.Add(name="sum")([x, tc.layers.Dense(4, name="dense")(x)])
    >>> graph = graph_of(tc.Model(x, y))
    >>> [node.name for node in graph.nodes], graph.edges
    (['x', 'dense', 'sum'], [(0, 1), (0, 2), (1, 2)])
    """
    if isinstance(model, Functional):
        return _of_functional(model, expand_nested, trace)
    if isinstance(model, Sequential):
        return _of_sequential(model, expand_nested, trace)
    if isinstance(model, Model) and model.layers and not trace:
        return Graph(model.name, [_layer_node(layer, expand_nested, False) for layer in model.layers])
    if isinstance(model, Model) and model.layers and _traceable(model):
        return _of_trace(model, expand_nested)
    return Graph(model.name, [_layer_node(model, False)], [], [0], [0])


def _of_sequential(model: Sequential, expand: bool, trace: bool) -> Graph:
    graph = Graph(model.name)
    if model.built:
        graph.nodes.append(_input_node(model.inputs[0]))
    graph.nodes += [_layer_node(layer, expand, trace) for layer in model.layers]
    graph.edges = [(i, i + 1) for i in range(len(graph.nodes) - 1)]
    graph.inputs, graph.outputs = ([0], [len(graph.nodes) - 1]) if graph.nodes else ([], [])
    return graph


def _of_functional(model: Functional, expand: bool, trace: bool) -> Graph:
    graph = Graph(model.name, [_input_node(tensor) for tensor in model.inputs])
    graph.inputs = list(range(len(model.inputs)))
    made_by = {_identity(tensor): i for i, tensor in enumerate(model.inputs)}
    index: dict[int, int] = {}  # of a layer's node: a shared layer is one box

    def source(tensor: Symbolic) -> int:
        known = made_by.get(_identity(tensor))
        return index[id(tensor.call.layer)] if known is None and tensor.call else known or 0

    for call in model._calls:
        if id(call.layer) not in index:
            index[id(call.layer)] = len(graph.nodes)
            graph.nodes.append(_layer_node(call.layer, expand, trace))
        here = index[id(call.layer)]
        for tensor in flatten_structure(call.inputs):
            graph.connect(source(tensor), here)
    graph.outputs = list(dict.fromkeys(map(source, model.outputs)))
    return graph


def _identity(tensor: Symbolic) -> tuple[int, int]:
    return (id(tensor), -1) if tensor.call is None else (id(tensor.call), tensor.index)


def _input_node(tensor: Symbolic) -> Node:
    name = tensor.name or (tensor.call.layer.name if tensor.call else "input")
    return Node(name, "InputLayer", [tensor.shape], [tensor.shape], tensor.dtype)


def _layer_node(layer: Layer, expand: bool, trace: bool = True) -> Node:
    inputs, outputs = (_shapes(part) for part in layer._shapes or ([], []))
    inner = graph_of(layer, True, trace) if expand and isinstance(layer, Model) and layer.layers else None
    inner = None if inner is not None and len(inner.nodes) == 1 and inner.nodes[0].layer is layer else inner
    return Node(layer.name, type(layer).__name__, inputs, outputs, layer.dtype, layer, inner)


def _shapes(structure: Any) -> list[Any]:
    if isinstance(structure, dict):
        structure = list(structure.values())
    return list(structure) if isinstance(structure, list) else [structure]


# --- models with a call of their own -----------------------------------------------------------------------------


def _traceable(model: Model) -> bool:
    """Whether a trial run is possible: one input, of known size, and one call after another."""
    shapes = model._shapes
    return bool(model.built and shapes and isinstance(shapes[0], tuple) and None not in shapes[0][1:])


def _of_trace(model: Model, expand: bool) -> Graph:
    assert model._shapes is not None
    shape = model._shapes[0]
    x = Tensor(np.zeros((1, *shape[1:]), model.dtype), requires_grad=True)
    with enable_grad(), recording(model.layers, distinct=True) as calls:
        y = model(x, training=False)
    graph = Graph(model.name, [Node("input", "InputLayer", [shape], [shape], model.dtype)], [], [0])
    made_by = {_origin(x): 0}
    index: dict[int, int] = {}
    for call in calls:
        here = index.setdefault(id(call.layer), len(graph.nodes))
        if here == len(graph.nodes):
            graph.nodes.append(_layer_node(call.layer, expand))
        for tensor in flatten_structure(call.inputs):
            for source in _sources(tensor, made_by):
                graph.connect(source, here)
        made_by.update((_origin(tensor), here) for tensor in flatten_structure(call.outputs))
    graph.outputs = sorted({source for tensor in flatten_structure(y) for source in _sources(tensor, made_by)})
    return graph


def _origin(tensor: Tensor) -> tuple[int, int]:
    return (id(tensor), 0) if tensor.node is None else (id(tensor.node), tensor.index)


def _sources(tensor: Tensor, made_by: dict[tuple[int, int], int]) -> list[int]:
    """Nodes whose results ``tensor`` was computed from, by operations outside of layers."""
    found, seen = [], set()
    stack = [(_origin(tensor), tensor.node)]
    while stack:
        key, node = stack.pop()
        if key in made_by:
            found.append(made_by[key])
        elif node is not None and key not in seen:
            seen.add(key)
            edges = [edge for edge in node._edges or () if edge is not None]
            stack += [(e.key, None if isinstance(e.target, Tensor) else e.target) for e in reversed(edges)]
    return sorted(set(found))
