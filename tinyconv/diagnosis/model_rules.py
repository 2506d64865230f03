"""Rules about the input of a model, and about the model as a whole: its loss, learning rate and trained weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tinyconv import losses
from tinyconv.diagnosis.findings import SMALLEST_RATE, Finding
from tinyconv.diagnosis.layer_rules import activation_of, size_of, times, window_of
from tinyconv.viz.graph import Graph, Node

USUAL_SIZES = (28, 32, 64, 96, 128, 224, 227, 256, 299)


def input_findings(graph: Graph) -> Iterator[Finding]:
    for index in graph.inputs:
        node = graph.nodes[index]
        below = [graph.nodes[target] for source, target in graph.edges if source == index]
        sizes = [size_of(other) for other in below if other.layer is not None and size_of(other)]
        if not sizes or None in sizes[0]:
            continue
        h, w = sizes[0]
        if h != w:
            advice = "Square inputs are usual: pad or crop images"
            yield Finding("input_not_square", f"Images are {h}x{w}", advice, layer=node.name)
        elif h not in USUAL_SIZES:
            usual = ", ".join(map(str, USUAL_SIZES[1:]))
            yield Finding("input_size", f"Images are {h}x{w}", f"Usual sizes are {usual}", "note", node.name)


def first_layer_findings(graph: Graph) -> Iterator[Finding]:
    """Sizes behind the first convolution should be divisible by two several times, if 2x2 pooling follows."""
    first = next((node for node in graph.nodes if window_of(node) and size_of(node)), None)
    pools = [node.layer for node in graph.nodes if window_of(node, "pool_size") == (2, 2)]
    if first is None or not pools or not first.outputs:
        return
    layer: Any = first.layer
    size = layer._size(first.outputs[0])
    if None not in size and any(n % 4 for n in size):
        yield Finding(
            "input_size",
            f"Behind the first convolution, images of {times(size)} are not divisible by two several times",
            "Choose the input size so that 2x2 pooling never meets an odd size",
            "note",
            first.name,
        )


def whole_model_findings(model: Any, graph: Graph) -> Iterator[Finding]:
    if model.weights and not model.trainable_weights and getattr(model, "optimizer", None) is not None:
        yield Finding(
            "nothing_to_train", f"None of the {len(model.weights)} weights is trainable", "Unfreeze some layers"
        )
    rate = getattr(getattr(model, "optimizer", None), "_rate", None)
    if isinstance(rate, int | float) and rate <= SMALLEST_RATE:
        yield Finding(
            "learning_rate",
            f"A learning rate of {rate:g} is too small to change weights",
            "Fine-tuning uses 1e-4 or so, training from scratch 1e-3 to 1e-2",
        )
    objective = getattr(model, "objective", None)
    if objective is not None:
        nodes = [_deciding(graph, index) for index in graph.outputs]
        for node, loss in zip(nodes, _losses_of(objective.loss, [graph.nodes[i].name for i in graph.outputs])):
            if node is not None and loss is not None:
                yield from _loss_findings(node, loss)


def _deciding(graph: Graph, index: int) -> Node | None:
    """The layer whose activation makes an output: layers that only rearrange, or pass on, are looked through."""
    node = graph.nodes[index]
    while node.kind in ("Flatten", "Reshape", "Dropout", "Permute") or node.inner is not None:
        if node.inner is not None:
            return _deciding(node.inner, node.inner.outputs[0]) if len(node.inner.outputs) == 1 else None
        before = graph.before(index)
        if len(before) != 1:
            return None
        (index,) = before
        node = graph.nodes[index]
    return node


def _losses_of(loss: Any, names: list[str]) -> list[Any]:
    """The loss of each output."""
    if isinstance(loss, Mapping) and "class_name" not in loss:
        parts = [loss.get(name) for name in names]
    elif isinstance(loss, list | tuple):
        parts = list(loss)
    else:
        parts = [loss] * len(names)
    return [None if part is None else losses.get(part) for part in parts]


def _loss_findings(node: Node, loss: Any) -> Iterator[Finding]:
    kind, name = _crossentropy(loss), getattr(loss, "name", type(loss).__name__)
    last = activation_of(node)
    affine = hasattr(node.layer, "use_bias")
    units = node.outputs[0][-1] if node.outputs and node.outputs[0] else None
    if last == "linear" and not affine:
        last = None  # an activation layer that does nothing, behind something unknown
    logits = bool(getattr(loss, "from_logits", False))
    problem = advice = ""
    if last == "softmax" and units == 1:
        problem, advice = "Softmax over a single unit is always 1", "Use sigmoid with binary_crossentropy, or two units"
    elif kind is None:
        if last in ("softmax", "sigmoid") and type(loss).__name__ == "MeanSquaredError":
            text = f"Mean squared error behind {last}"
            advice = "Cross-entropy has larger gradients for wrong answers and learns faster"
            yield Finding("loss_choice", text, advice, "note", node.name)
        return
    elif logits and last in ("softmax", "sigmoid"):
        problem = f"The loss {name} expects scores (from_logits=True), but {last} gives probabilities"
        advice = "Leave out one of them"
    elif not logits and last in ("linear", "relu", "tanh", "elu", "selu", "leaky_relu"):
        right = "sigmoid" if kind == "binary" else "softmax"
        ends = "without activation" if last == "linear" else f"in {last}"
        problem = f"The loss {name} expects probabilities, but the last layer ends {ends}"
        advice = f'End in activation="{right}"' + (", or pass from_logits=True to the loss" if last == "linear" else "")
    elif kind == "binary" and last == "softmax" and isinstance(units, int) and units > 2:
        problem = f"The loss {name} treats {units} classes of a softmax as independent labels"
        advice = "Use categorical_crossentropy (or sigmoid, if several labels may be right)"
    elif kind == "categorical" and last == "sigmoid":
        problem = f"The loss {name} expects probabilities that sum to 1, but sigmoid treats {units} units independently"
        advice = "Use softmax, or binary_crossentropy for labels that may be right together"
    if problem:
        yield Finding("loss_mismatch", problem, advice, layer=node.name)


def _crossentropy(loss: Any) -> str | None:
    """``"binary"``, ``"categorical"`` or ``None`` for other losses."""
    kind = type(loss).__name__
    if "Crossentropy" not in kind:
        return None
    return "binary" if kind.startswith("Binary") else "categorical"
