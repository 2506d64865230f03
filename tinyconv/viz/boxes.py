"""What the box of a layer says in a picture of a model, and its colour."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from tinyconv.layers.base import Layer
from tinyconv.viz.graph import Node

# Fill colours by kind of layer, light enough for black print.
COLOURS = {
    r"Input": "#e8e8e8",
    r"Conv|LocallyConnected": "#cfe2f3",
    r"Pool": "#d9ead3",
    r"Normalization": "#fff2cc",
    r"Dropout|Noise": "#f4e1d2",
    r"^Dense|Embedding": "#d9d2e9",
    r"Activation|LU$|^Softmax|Sigmoid": "#fbe3e3",
    r"^(Add|Subtract|Multiply|Average|Maximum|Minimum|Concatenate|Dot)$": "#d0ebeb",
}


class Show(NamedTuple):
    """What boxes tell besides the class of the layer."""

    shapes: bool = False
    dtype: bool = False
    names: bool = True
    activations: bool = False
    trainable: bool = False


def title_of(node: Node, show: Show) -> str:
    return " ".join((f"{node.name}: {node.kind}" if show.names else node.kind).split())


def rows_of(node: Node, show: Show) -> list[tuple[str, str]]:
    """Further lines of a box: what, and its value."""
    rows = []
    activation = getattr(node.layer, "activation", None)
    if show.activations and activation is not None:
        rows.append(("activation:", str(getattr(activation, "__name__", None) or type(activation).__name__)))
    if show.dtype:
        rows.append(("dtype:", node.dtype))
    if show.trainable and node.layer is not None and node.layer.weights:
        rows.append(("trainable:", _trainable(node.layer)))
    if show.shapes:
        rows += [("input:", _shape_text(node.inputs)), ("output:", _shape_text(node.outputs))]
    return rows


def _trainable(layer: Layer) -> str:
    """Whether weights of the layer are trained: some, where models inside the model are frozen in parts."""
    trained = sum(p.requires_grad for p in layer.weights)
    could = sum(p.trainable for p in layer.weights)
    return "yes" if trained and trained == could else "in part" if trained else "no"


def _shape_text(shapes: list[Any]) -> str:
    return ", ".join(str(tuple(shape)) for shape in shapes) or "?"


def colour_of(node: Node) -> str:
    return next((colour for pattern, colour in COLOURS.items() if re.search(pattern, node.kind)), "#ffffff")
