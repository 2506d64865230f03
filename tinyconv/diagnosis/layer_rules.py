"""Rules about single layers: ``rule(graph, index, node)`` yields findings. ``LAYER_RULES`` lists them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tinyconv import activations
from tinyconv.diagnosis.findings import Finding
from tinyconv.geometry import Window, make_window
from tinyconv.layers.images import ImageLayer
from tinyconv.viz.graph import Graph, Node


def size_of(node: Node) -> tuple[int | None, ...]:
    """Height and width of the images that enter a layer; nothing for layers on other data."""
    layer: Any = node.layer
    on_images = isinstance(layer, ImageLayer) and len(layer.axes) == 2 and node.inputs and len(node.inputs[0]) == 4
    return tuple(layer._size(node.inputs[0])) if on_images else ()


def window_of(node: Node, name: str = "kernel_size") -> tuple[int, ...] | None:
    """``kernel_size`` or ``pool_size`` of tinyconv's own layers: in others, such names may mean anything."""
    found = getattr(node.layer, name, None)
    return found if isinstance(node.layer, ImageLayer) and isinstance(found, tuple) else None


def _pool_size(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    pool = window_of(node, "pool_size")
    if pool is not None and max(pool) > 3 and tuple(pool) != size_of(node):  # over the whole map it is a global mean
        yield Finding(
            "pool_size",
            f"Pooling over {times(pool)} keeps one of {math.prod(pool)} values",
            "Pool over 2x2, or 3x3 in large images, several times if need be",
            layer=node.name,
        )


def _tiling(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    layer: Any = node.layer
    kernel = window_of(node) or window_of(node, "pool_size")
    size, named = size_of(node), isinstance(getattr(layer, "padding", None), str)
    if kernel is None or not hasattr(layer, "strides") or not size or "Transpose" in node.kind:
        return
    if named and layer.padding != "valid":
        return
    known = [n for n in size if n is not None]
    if len(known) < 2:
        return
    window = make_window(known, kernel, layer.strides, layer.padding, getattr(layer, "dilation_rate", 1))
    lost = [  # a stride beyond the window leaves cells out everywhere, on purpose
        (n + lo + hi - extent) % step if step <= extent else 0
        for n, extent, step, (lo, hi) in zip(known, window.extent(), window.strides, window.padding, strict=True)
    ]
    zeros = _zeros_at_the_end(graph, index, window)
    lost = [n if n > padded else 0 for n, padded in zip(lost, zeros, strict=True)]
    if any(lost):
        text = " and ".join(f"{n} {what}" for n, what in zip(lost, ("rows", "columns"), strict=True) if n)
        yield Finding(
            "not_tiling",
            f"A window of {times(kernel)} with stride {times(layer.strides)} does not tile inputs of {times(size)}: "
            f"it leaves out {text} at the end",
            'Choose another input size, stride or padding ("same"); strict=True makes it an error',
            layer=node.name,
        )


def _zeros_at_the_end(graph: Graph, index: int, window: Window) -> list[int]:
    """Rows and columns of padding, the layer's own and a ZeroPadding2D's: to leave those out loses nothing."""
    before = [graph.nodes[i] for i in graph.before(index)]
    layer: Any = before[0].layer if [node.kind for node in before] == ["ZeroPadding2D"] else None
    padded = ((0, 0), (0, 0)) if layer is None else layer.padding
    return [own + given for (_, own), (_, given) in zip(window.padding, padded, strict=True)]


def _kernel_size(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    kernel, size = window_of(node), size_of(node)
    if kernel is None or len(kernel) != 2 or not size or min(kernel) == 1 or "Transpose" in node.kind:
        return  # 1x7 and 7x1 are a large kernel in two cheap steps
    if max(kernel) > 5 and not _is_first(graph, index):
        what, advice = "beyond the first layer", "Two 3x3 convolutions see as much as one of 5x5, with fewer weights"
    elif max(kernel) >= 7 and _largest(size) <= 200:
        what, advice = f"on images of {times(size)}", "Up to 200 pixels, use 3x3 or 5x5"
    else:
        return
    yield Finding("kernel_size", f"A kernel of {times(kernel)} {what}", advice, layer=node.name)


def _stride(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    layer: Any = node.layer
    size = size_of(node)
    if not window_of(node) or not size or max(layer.strides) < 3 or "Transpose" in node.kind:
        return
    patches = tuple(layer.strides) == tuple(layer.kernel_size)  # cuts images into patches, on purpose
    if not (_is_first(graph, index) and (patches or _largest(size) > 200)):
        yield Finding(
            "stride",
            f"A convolution with stride {times(layer.strides)} on images of {times(size)}",
            "Strides of 3 and more are for the first layer of networks for large images; pool over 2x2 instead",
            layer=node.name,
        )


def _valid_padding(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    layer: Any = node.layer
    kernel = window_of(node)
    if kernel is None or not size_of(node) or layer.padding != "valid" or max(kernel) == 1 or max(layer.strides) > 1:
        return
    padded = any(graph.nodes[i].kind == "ZeroPadding2D" for i in graph.before(index))
    if not padded and "Transpose" not in node.kind:
        yield Finding(
            "valid_padding",
            f"A convolution of {times(kernel)} without padding shrinks its inputs",
            'padding="same" keeps their size; stacks of padded convolutions are more accurate',
            "note",
            node.name,
        )


def _batch_norm(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    if not _is_softmax(node):
        return
    sources = [graph.nodes[i] for i in graph.before(index)]
    if node.kind != "Dense" and [(s.kind, activation_of(s)) for s in sources] == [("Dense", "linear")]:
        top = graph.nodes.index(sources[0])  # softmax as a layer of its own, behind the dense layer that belongs to it
        sources = [graph.nodes[i] for i in graph.before(top)]
    for source in sources:
        if source.kind == "BatchNormalization":
            yield Finding(
                "batch_norm_before_softmax",
                f"Batch normalisation stands right before the softmax of {node.name!r}",
                "Leave it out there: it rescales the scores of classes by those of the batch",
                layer=source.name,
            )


def _constant_weights(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    layer: Any = node.layer
    initializer = type(getattr(layer, "kernel_initializer", None)).__name__
    if initializer in ("Zeros", "Ones", "Constant") and _after(graph, index, ()) and layer.built:
        kernel = layer.kernel.numpy()
        if kernel.shape[-1] > 1 and layer.trainable and (kernel == kernel.flat[0]).all():
            yield Finding(
                "constant_weights",
                f"All {kernel.size} weights start at {kernel.flat[0]:g}: neurons that start equal stay equal",
                'Start at random: kernel_initializer="glorot_uniform" or "he_normal"',
                layer=node.name,
            )


def _linear_stack(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    if node.kind != "Dense" or activation_of(node) != "linear":
        return
    following = _after(graph, index, skip=("Dropout", "Flatten", "GaussianNoise"))
    if [graph.nodes[i].kind for i in following] == ["Dense"]:
        yield Finding(
            "linear_stack",
            f"No activation between {node.name!r} and {graph.nodes[following[0]].name!r}: both are one linear map",
            'Add activation="relu" to the first, or leave it out',
            layer=node.name,
        )


def _dropout(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    if node.kind != "Dense" or activation_of(node) == "softmax":
        return
    following = _after(graph, index, skip=("Activation", "ReLU", "BatchNormalization", "LeakyReLU", "ELU"))
    convolutional = any(map(window_of, graph.nodes))
    if convolutional and [graph.nodes[i].kind for i in following] == ["Dense"]:
        yield Finding(
            "no_dropout",
            f"No dropout between the dense layers {node.name!r} and {graph.nodes[following[0]].name!r}",
            "Dropout of 0.5 there is usual against overfitting",
            "note",
            node.name,
        )


LAYER_RULES: tuple[Callable[[Any, int, Any], Iterator[Finding]], ...] = (
    _pool_size, _tiling, _kernel_size, _stride, _valid_padding, _batch_norm, _constant_weights, _linear_stack, _dropout,
)  # fmt: skip


def _largest(size: Sequence[int | None]) -> float:
    """The larger of height and width; infinite where they may be anything."""
    return max(math.inf if n is None else n for n in size)


def _is_first(graph: Graph, index: int) -> bool:
    """Whether no other convolution comes before a layer."""
    seen, stack = set(), [index]
    while stack:
        for i in graph.before(stack.pop()):
            if window_of(graph.nodes[i]) or graph.nodes[i].inner is not None:
                return False
            if i not in seen:
                seen.add(i)
                stack.append(i)
    return True


def _after(graph: Graph, index: int, skip: Sequence[str]) -> list[int]:
    """What comes next, beyond layers of the classes ``skip``."""
    found: list[int] = []
    stack = [index]
    while stack:
        here = stack.pop()
        for source, target in graph.edges:
            if source == here:
                (stack if graph.nodes[target].kind in skip else found).append(target)
    return found


def activation_of(node: Node) -> str | None:
    """Name of what a layer applies at its end; ``None`` where that is not known."""
    if node.kind in ("Softmax", "ReLU"):
        return node.kind.lower()
    operation = getattr(node.layer, "operation", None)
    if operation in activations.__all__:  # tinyconv.ops.softmax on a symbolic tensor
        return str(operation)
    activation = getattr(node.layer, "activation", None)
    return getattr(activation, "__name__", "unknown") if activation is not None else None


def _is_softmax(node: Node) -> bool:
    return activation_of(node) == "softmax" or getattr(node.layer, "activation", None) is activations.softmax


def times(numbers: Sequence[Any]) -> str:
    return "x".join("?" if n is None else str(n) for n in numbers)
