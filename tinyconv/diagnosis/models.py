"""Rules for building networks, and what in a model goes against them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tinyconv import activations, losses
from tinyconv.diagnosis.findings import SMALLEST_RATE, Finding, ModelWarning
from tinyconv.geometry import make_window
from tinyconv.viz.graph import Graph, Node, graph_of

USUAL_SIZES = (28, 32, 64, 96, 128, 224, 227, 256, 299)


def check_model(model: Any, trace: bool = True) -> list[Finding]:
    """Compare a model with the rules for building networks.

    Parameters
    ----------
    model : Model
        Rules about sizes need a model that knows its input shape; those about loss and learning rate, a compiled one.
    trace : bool
        Whether a model with a ``call`` of its own may be run on zeros, to find out how its layers are connected.

    Returns
    -------
    list of Finding
        In the order of layers; then those about the whole model.

    Notes
    -----
    Warnings: ``pool_size`` (pooling larger than 3 destroys too much), ``not_tiling`` (strides that leave rows or
    columns out: a configuration error), ``kernel_size`` (larger than 5 beyond the first layer; 7 or more on images up
    to 200 pixels), ``stride`` (3 or more but in the first layer of a network for large images),
    ``batch_norm_before_softmax``, ``constant_weights`` (neurons that start equal stay equal), ``linear_stack`` (dense
    layers without activation in between are one linear map), ``input_not_square``, ``loss_mismatch`` (the loss does not
    fit the last activation), ``learning_rate`` (2.5e-6 or less hardly changes weights), ``nothing_to_train``.

    Notes: ``input_size`` (unusual, or not divisible by two several times though 2x2 pooling follows),
    ``valid_padding``, ``no_dropout`` (between dense layers), ``loss_choice`` (cross-entropy learns faster behind
    softmax or sigmoid).

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.Sequential([tc.Input((32, 32, 3)), tc.layers.MaxPooling2D(4, name="pool"), tc.layers.Flatten()])
    >>> [(finding.name, finding.layer) for finding in check_model(model)]
    [('pool_size', 'pool')]
    """
    graph = graph_of(model, expand_nested=True, trace=trace)
    found = list(_input_findings(graph))
    for inner in _graphs(graph):
        for index, node in enumerate(inner.nodes):
            if node.layer is not None and node.inner is None:
                for rule in _LAYER_RULES:
                    found += rule(inner, index, node)
    found += _first_layer(graph)
    found += _whole_model(model, graph)
    return list(dict.fromkeys(found))


def warn_about(model: Any, stacklevel: int = 3) -> None:
    """Raise what ``check_model`` objects to as ``ModelWarning``, each finding once per model.

    Parameters
    ----------
    model : Model
    stacklevel : int
        Which caller the warning points to, as for ``warnings.warn``.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.Sequential([tc.Input((32, 32, 3)), tc.layers.MaxPooling2D(4), tc.layers.Flatten()])
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_about(model)
    ...     warn_about(model)
    >>> len(caught)
    1
    """
    warned: set[tuple[str, str | None]] = vars(model).setdefault("_warned_about", set())
    for finding in check_model(model, trace=False):
        key = finding.name, finding.layer
        if finding.level == "warning" and key not in warned:
            warned.add(key)
            silence = 'warnings.filterwarnings("ignore", category=tinyconv.ModelWarning)'
            warnings.warn(f"{model.name}: {finding} Silence: {silence}", ModelWarning, stacklevel)


def _graphs(graph: Graph) -> Iterator[Graph]:
    """A graph and those inside it."""
    yield graph
    for node in graph.nodes:
        if node.inner is not None:
            yield from _graphs(node.inner)


# Rules about one layer: ``rule(graph, index, node)`` yields findings.


def _size(node: Node) -> tuple[int | None, ...]:
    """Height and width of the images that enter a layer; nothing for layers on other data."""
    layer: Any = node.layer
    on_images = len(getattr(layer, "axes", ())) == 2 and node.inputs and len(node.inputs[0]) == 4
    return tuple(layer._size(node.inputs[0])) if on_images else ()


def _pool_size(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    pool = getattr(node.layer, "pool_size", None)
    if pool is not None and max(pool) > 3 and tuple(pool) != _size(node):  # over the whole map it is a global mean
        yield Finding(
            "pool_size",
            f"Pooling over {_times(pool)} keeps one of {math.prod(pool)} values",
            "Pool over 2x2, or 3x3 in large images, several times if need be",
            layer=node.name,
        )


def _tiling(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    layer: Any = node.layer
    kernel = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
    size, named = _size(node), isinstance(getattr(layer, "padding", None), str)
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
    if any(lost):
        text = " and ".join(f"{n} {what}" for n, what in zip(lost, ("rows", "columns"), strict=True) if n)
        yield Finding(
            "not_tiling",
            f"A window of {_times(kernel)} with stride {_times(layer.strides)} does not tile inputs of {_times(size)}: "
            f"it leaves out {text} at the end",
            'Choose another input size, stride or padding ("same"); strict=True makes it an error',
            layer=node.name,
        )


def _kernel_size(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    kernel, size = getattr(node.layer, "kernel_size", None), _size(node)
    if kernel is None or len(kernel) != 2 or not size or min(kernel) == 1 or "Transpose" in node.kind:
        return  # 1x7 and 7x1 are a large kernel in two cheap steps
    if max(kernel) > 5 and not _is_first(graph, index):
        what, advice = "beyond the first layer", "Two 3x3 convolutions see as much as one of 5x5, with fewer weights"
    elif max(kernel) >= 7 and _largest(size) <= 200:
        what, advice = f"on images of {_times(size)}", "Up to 200 pixels, use 3x3 or 5x5"
    else:
        return
    yield Finding("kernel_size", f"A kernel of {_times(kernel)} {what}", advice, layer=node.name)


def _stride(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    layer: Any = node.layer
    size = _size(node)
    if not hasattr(layer, "kernel_size") or not size or max(layer.strides) < 3 or "Transpose" in node.kind:
        return
    patches = tuple(layer.strides) == tuple(layer.kernel_size)  # cuts images into patches, on purpose
    if not (_is_first(graph, index) and (patches or _largest(size) > 200)):
        yield Finding(
            "stride",
            f"A convolution with stride {_times(layer.strides)} on images of {_times(size)}",
            "Strides of 3 and more are for the first layer of networks for large images; pool over 2x2 instead",
            layer=node.name,
        )


def _valid_padding(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    layer: Any = node.layer
    kernel = getattr(layer, "kernel_size", None)
    if kernel is None or not _size(node) or layer.padding != "valid" or max(kernel) == 1 or max(layer.strides) > 1:
        return
    padded = any(graph.nodes[i].kind == "ZeroPadding2D" for i in graph.before(index))
    if not padded and "Transpose" not in node.kind:
        yield Finding(
            "valid_padding",
            f"A convolution of {_times(kernel)} without padding shrinks its inputs",
            'padding="same" keeps their size; stacks of padded convolutions are more accurate',
            "note",
            node.name,
        )


def _batch_norm(graph: Graph, index: int, node: Node) -> Iterator[Finding]:
    if not _is_softmax(node):
        return
    sources = [graph.nodes[i] for i in graph.before(index)]
    if node.kind != "Dense" and [(s.kind, _activation(s)) for s in sources] == [("Dense", "linear")]:
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
    if node.kind != "Dense" or _activation(node) != "linear":
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
    if node.kind != "Dense" or _activation(node) == "softmax":
        return
    following = _after(graph, index, skip=("Activation", "ReLU", "BatchNormalization", "LeakyReLU", "ELU"))
    convolutional = any(hasattr(other.layer, "kernel_size") for other in graph.nodes)
    if convolutional and [graph.nodes[i].kind for i in following] == ["Dense"]:
        yield Finding(
            "no_dropout",
            f"No dropout between the dense layers {node.name!r} and {graph.nodes[following[0]].name!r}",
            "Dropout of 0.5 there is usual against overfitting",
            "note",
            node.name,
        )


_LAYER_RULES: tuple[Callable[[Any, int, Any], Iterator[Finding]], ...] = (
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
            if hasattr(graph.nodes[i].layer, "kernel_size") or graph.nodes[i].inner is not None:
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


def _activation(node: Node) -> str | None:
    """Name of what a layer applies at its end; ``None`` where that is not known."""
    if node.kind in ("Softmax", "ReLU"):
        return node.kind.lower()
    activation = getattr(node.layer, "activation", None)
    return getattr(activation, "__name__", "unknown") if activation is not None else None


def _is_softmax(node: Node) -> bool:
    return node.kind == "Softmax" or getattr(node.layer, "activation", None) is activations.softmax


def _times(numbers: Sequence[Any]) -> str:
    return "x".join("?" if n is None else str(n) for n in numbers)


# Rules about the input, and about the model as a whole.


def _input_findings(graph: Graph) -> Iterator[Finding]:
    for index in graph.inputs:
        node = graph.nodes[index]
        below = [graph.nodes[target] for source, target in graph.edges if source == index]
        sizes = [_size(other) for other in below if other.layer is not None and _size(other)]
        if not sizes or None in sizes[0]:
            continue
        h, w = sizes[0]
        if h != w:
            advice = "Square inputs are usual: pad or crop images"
            yield Finding("input_not_square", f"Images are {h}x{w}", advice, layer=node.name)
        elif h not in USUAL_SIZES:
            usual = ", ".join(map(str, USUAL_SIZES[1:]))
            yield Finding("input_size", f"Images are {h}x{w}", f"Usual sizes are {usual}", "note", node.name)


def _first_layer(graph: Graph) -> Iterator[Finding]:
    """Sizes behind the first convolution should be divisible by two several times, if 2x2 pooling follows."""
    first = next((node for node in graph.nodes if hasattr(node.layer, "kernel_size") and _size(node)), None)
    pools = [node.layer for node in graph.nodes if getattr(node.layer, "pool_size", None) == (2, 2)]
    if first is None or not pools or not first.outputs:
        return
    layer: Any = first.layer
    size = layer._size(first.outputs[0])
    if None not in size and any(n % 4 for n in size):
        yield Finding(
            "input_size",
            f"Behind the first convolution, images of {_times(size)} are not divisible by two several times",
            "Choose the input size so that 2x2 pooling never meets an odd size",
            "note",
            first.name,
        )


def _whole_model(model: Any, graph: Graph) -> Iterator[Finding]:
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
    last = _activation(node)
    affine = hasattr(node.layer, "use_bias")
    units = node.outputs[0][-1] if node.outputs and node.outputs[0] else None
    if last == "linear" and not affine:
        last = None  # an activation layer that does nothing, behind something unknown
    logits = bool(getattr(loss, "from_logits", False))
    problem = advice = ""
    if last == "softmax" and units == 1:
        problem, advice = "softmax over a single unit is always 1", "Use sigmoid with binary_crossentropy, or two units"
    elif kind is None:
        if last in ("softmax", "sigmoid") and type(loss).__name__ == "MeanSquaredError":
            text = f"Mean squared error behind {last}"
            advice = "Cross-entropy has larger gradients for wrong answers and learns faster"
            yield Finding("loss_choice", text, advice, "note", node.name)
        return
    elif logits and last in ("softmax", "sigmoid"):
        problem = f"{name} expects scores (from_logits=True), but {last} gives probabilities"
        advice = "Leave out one of them"
    elif not logits and last in ("linear", "relu", "tanh", "elu", "selu", "leaky_relu"):
        right = "sigmoid" if kind == "binary" else "softmax"
        ends = "without activation" if last == "linear" else f"in {last}"
        problem = f"{name} expects probabilities, but the last layer ends {ends}"
        advice = f'End in activation="{right}"' + (", or pass from_logits=True to the loss" if last == "linear" else "")
    elif kind == "binary" and last == "softmax" and isinstance(units, int) and units > 2:
        problem = f"{name} treats {units} classes of a softmax as independent labels"
        advice = "Use categorical_crossentropy (or sigmoid, if several labels may be right)"
    elif kind == "categorical" and last == "sigmoid":
        problem = f"{name} expects probabilities that sum to 1, but sigmoid treats {units} units independently"
        advice = "Use softmax, or binary_crossentropy for labels that may be right together"
    if problem:
        yield Finding("loss_mismatch", problem[0].upper() + problem[1:], advice, layer=node.name)


def _crossentropy(loss: Any) -> str | None:
    """``"binary"``, ``"categorical"`` or ``None`` for other losses."""
    kind = type(loss).__name__
    if "Crossentropy" not in kind:
        return None
    return "binary" if kind.startswith("Binary") else "categorical"
