"""What layers see: feature maps, and the patches of images that excite each filter most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv import ops
from tinyconv.geometry import Window, make_pool_window, make_window
from tinyconv.layers import Operation
from tinyconv.layers.base import Layer
from tinyconv.layers.images import ImageLayer
from tinyconv.tensor import Tensor, no_grad
from tinyconv.viz.graph import Graph, graph_of
from tinyconv.viz.inputs import as_batch, channels_last, find_layer, image_format, walk
from tinyconv.viz.recording import recording


def feature_maps(
    model: Layer, images: Any, layers: Any = None, batch_size: int = 32
) -> dict[str, np.ndarray]:
    """Outputs of layers inside a model for some images.

    Parameters
    ----------
    model : Model
    images : array_like, shape (N, H, W, C)
        As the model takes them; one image or gray images may lack an axis.
    layers : str, int, Layer or list of them, optional
        By name, index, or path through models (``"vgg16/block1_conv1"``). By default all whose outputs are images.
    batch_size : int

    Returns
    -------
    dict of str to array, shape (N, OH, OW, channels)
        In the order of computation; the shape is (N, units) for dense layers. Channels come last for every model. Of a
        layer that is used several times it is the last use.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.applications.LeNet.build(28, 28, 1, 10)
    >>> maps = feature_maps(model, np.zeros((28, 28)), [0, 2])
    >>> [values.shape for values in maps.values()]
    [(1, 28, 28, 20), (1, 14, 14, 20)]
    """
    given = list(layers) if isinstance(layers, list | tuple) else [layers]
    listened = [layer for _, layer in walk(model)] if layers is None else [find_layer(model, one) for one in given]
    names = {id(layer): path for path, layer in [(model.name, model), *walk(model)]}
    batches = as_batch(model, images)
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(batches), batch_size):
        with no_grad(), recording(listened) as calls:
            model(Tensor(batches[start : start + batch_size]), training=False)
        latest = {names[id(call.layer)]: call for call in calls}
        for name, call in latest.items():
            if isinstance(call.outputs, Tensor) and (layers is not None or call.outputs.ndim == 4):
                values = call.outputs.numpy()
                if values.ndim == 4:
                    values = channels_last(values, getattr(call.layer, "data_format", image_format(model)))
                parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


# --- receptive fields --------------------------------------------------------------------------------------------


class Field(NamedTuple):
    """Which pixels a cell of a feature map depends on: along each axis, cell ``i`` on ``i * step + low .. high``.

    Attributes
    ----------
    step, low, high : (int, int)
        For height and width; ``high`` is included. Pixels outside of the image are padding.
    """

    step: tuple[int, int]
    low: tuple[int, int]
    high: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the field in pixels."""
        return self.high[0] - self.low[0] + 1, self.high[1] - self.low[1] + 1

    def at(self, row: int, column: int) -> tuple[slice, slice]:
        """Rows and columns of the pixels; they may begin below 0 and end beyond the image."""
        rows, columns = (
            slice(i * step + low, i * step + high + 1)
            for i, step, low, high in zip((row, column), self.step, self.low, self.high, strict=True)
        )
        return rows, columns


def receptive_field(model: Layer, layer: Any) -> Field:
    """The receptive field of a layer on the model's images.

    Fields grow from layer to layer: a window of extent ``k`` and stride ``s`` that begins ``p`` cells early turns
    (step, low, high) into (step * s, low - p * step, high + (k - 1 - p) * step). Where branches meet it is the smallest
    field that holds both. Behind layers that mix all positions (``Flatten``, global pooling) it is the whole image.

    Parameters
    ----------
    model : Sequential or functional Model
    layer : str, int or Layer
        In the model itself or, by path, in a model inside it.

    Raises
    ------
    ValueError
        Behind layers of which it is unknown what they look at.

    Source: A. Araujo, W. Norris and J. Sim, "Computing receptive fields of convolutional neural networks", 2019.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.LeNet.build(28, 28, 1, 10)
    >>> receptive_field(model, 3)  # the second convolution: 5 + 1 + 4 * 2 pixels
    Field(step=(2, 2), low=(-6, -6), high=(7, 7))
    """
    target = find_layer(model, layer)
    graph = graph_of(model, expand_nested=True)
    size = _image_size(graph, image_format(model))
    found = _search(graph, {i: Field((1, 1), (0, 0), (0, 0)) for i in graph.inputs}, target, size)
    if isinstance(found, Field):
        return found
    raise ValueError(f"Layer {target.name!r} is not on a path from the model's images. Received: {layer!r}")


def _image_size(graph: Graph, data_format: str) -> tuple[int, int]:
    shape: Any = (graph.nodes[graph.inputs[0]].outputs or [()])[0] if graph.inputs else ()
    if len(shape) != 4:
        raise ValueError(f"Receptive fields need a model of images (N, H, W, C). Received: a model of input {shape}")
    return (shape[2], shape[3]) if data_format == "channels_first" else (shape[1], shape[2])


def _search(
    graph: Graph, fields: dict[int, Field], target: Layer, image: tuple[int, int]
) -> Field | dict[int, Field]:
    """The field of ``target``, or those of all nodes when it is not in the graph."""
    for index, node in enumerate(graph.nodes):
        if index not in fields:
            sources = [fields[source] for source in graph.before(index) if source in fields]
            if not sources:
                continue
            entering = _union(sources, image)
            if node.inner is not None:
                below = _search(node.inner, {i: entering for i in node.inner.inputs}, target, image)
                if isinstance(below, Field):
                    return below
                leaving = [below[output] for output in node.inner.outputs if output in below]
                fields[index] = _union(leaving, image) if leaving else entering
            elif node.layer is not None:
                fields[index] = _through(node.layer, entering, image)
        if node.layer is target:
            return fields[index]
    return fields


def _union(fields: Sequence[Field], image: tuple[int, int]) -> Field:
    if len({field.step for field in fields}) > 1:  # a map at one position against one at all: everything
        return _everything(image)
    lows, highs = zip(*(field.low for field in fields)), zip(*(field.high for field in fields))
    (top, left), (bottom, right) = map(min, lows), map(max, highs)
    return Field(fields[0].step, (top, left), (bottom, right))


def _everything(image: tuple[int, int]) -> Field:
    if None in image:
        raise ValueError(f"The field is the whole image, whose size must be known. Received: images of size {image}")
    return Field((0, 0), (0, 0), (image[0] - 1, image[1] - 1))


# Layers that treat every position by itself, and those that mix all positions.
_POINTWISE = {
    "Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "BatchNormalization", "Concatenate",
    "Dense", "DepthMaxPooling2D", "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "Identity", "LeakyReLU",
    "LocalResponseNormalization", "Maximum", "Minimum", "Multiply", "Normalization", "PReLU", "ReLU", "Rescaling",
    "SELU", "Softmax", "SpatialDropout2D", "Subtract", "UnitNormalization",
}  # fmt: skip
_GLOBAL = {
    "AdaptiveAveragePooling2D", "AdaptiveMaxPooling2D", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D",
    "GroupNormalization", "LayerNormalization", "Reshape", "SqueezeExcite",
}  # fmt: skip
_POINTWISE_OPERATIONS = {
    name for module in (ops.activation, ops.elementwise) for name, function in vars(module).items()
    if name in ops.__all__ and function.__module__ == module.__name__
} - {"softmax", "log_softmax"}  # fmt: skip


def _through(layer: Layer, field: Field, image: tuple[int, int]) -> Field:
    """The field behind a layer, from that in front of it."""
    kind, window = type(layer).__name__, _window(layer)
    if field.step == (0, 0) or kind in _GLOBAL:
        return _everything(image)
    if kind in _POINTWISE or (isinstance(layer, Operation) and layer.operation in _POINTWISE_OPERATIONS):
        return field
    if window is None:
        what = f"an operation {layer.operation}" if isinstance(layer, Operation) else f"a layer of class {kind}"
        raise ValueError(f"It is unknown which pixels layer {layer.name!r} looks at. Received: {what}")
    axes = zip(field.step, field.low, field.high, window.extent(), window.strides, window.padding, strict=True)
    parts = [(step * s, low - p * step, high + (k - 1 - p) * step) for step, low, high, k, s, (p, _) in axes]
    (s0, low0, high0), (s1, low1, high1) = parts
    return Field((s0, s1), (low0, low1), (high0, high1))


def _window(layer: Any) -> Window | None:
    """The window that a layer slides over images, ``None`` for other layers."""
    kind = type(layer).__name__
    if kind in ("ZeroPadding2D", "Cropping2D"):
        (top, _), (left, _) = layer.padding if kind == "ZeroPadding2D" else layer.cropping
        early = (top, left) if kind == "ZeroPadding2D" else (-top, -left)
        return Window((1, 1), (1, 1), ((early[0], 0), (early[1], 0)), (1, 1))
    on_images = isinstance(layer, ImageLayer) and len(layer.axes) == 2
    if not on_images or layer._shapes is None or "Transpose" in kind:
        return None
    size = layer._size(layer._shapes[0])
    known = [10_000 if n is None else n for n in size]  # padding "same" depends on the size where strides do not tile
    if hasattr(layer, "kernel_size"):
        return make_window(known, layer.kernel_size, layer.strides, layer.padding, layer.dilation_rate)
    if hasattr(layer, "pool_size"):
        return make_pool_window(known, layer.pool_size, layer.strides, layer.padding)
    return None


# --- patches -----------------------------------------------------------------------------------------------------


class Patches(NamedTuple):
    """For each of F filters its k strongest patches, strongest first.

    Attributes
    ----------
    patches : array, shape (F, k, PH, PW, C)
        Crops of the images; zeros beyond their edges.
    activations : array, shape (F, k)
        The filter's outputs there.
    images : int array, shape (F, k)
        Indices of the images.
    positions : int array, shape (F, k, 2)
        Row and column in the feature map.
    """

    patches: np.ndarray
    activations: np.ndarray
    images: np.ndarray
    positions: np.ndarray


def top_patches(
    model: Layer,
    layer: Any,
    images: Any,
    k: int = 9,
    filters: Sequence[int] | None = None,
    one_per_image: bool = True,
    batch_size: int = 32,
) -> Patches:
    """The patches of images that excite each filter of a layer most.

    Parameters
    ----------
    model : Sequential or functional Model
    layer : str, int or Layer
        A layer whose outputs are feature maps, or units, which see whole images.
    images : array_like, shape (N, H, W, C)
        As the model takes them.
    k : int
        Patches per filter.
    filters : sequence of int, optional
        Which filters (channels of the layer's outputs); all by default.
    one_per_image : bool
        Take the strongest position of every image only, so that patches come from different images.
    batch_size : int

    Returns
    -------
    Patches
        ``k`` is smaller when there are fewer candidates. Of equal activations, the first comes first.

    Source: M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", arXiv 1311.2901 (figure 2).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.applications.LeNet.build(28, 28, 1, 10)
    >>> top_patches(model, 0, np.zeros((4, 28, 28)), k=3).patches.shape
    (20, 3, 5, 5, 1)
    """
    if k < 1:
        raise ValueError(f"k must be at least 1. Received: {k}")
    target = find_layer(model, layer)
    field, batch = receptive_field(model, target), as_batch(model, images)
    if not len(batch):
        raise ValueError("top_patches expected at least one image. Received: none")
    best: list[np.ndarray] | None = None  # values, images, positions: (candidates, F)
    for start in range(0, len(batch), batch_size):
        (maps,) = feature_maps(model, batch[start : start + batch_size], target, batch_size).values()
        chosen = range(maps.shape[-1]) if filters is None else list(filters)
        if not chosen or any(not 0 <= f < maps.shape[-1] for f in chosen):
            raise ValueError(f"filters must be some of 0..{maps.shape[-1] - 1}. Received: {list(chosen)}")
        n, width = len(maps), maps.shape[2] if maps.ndim == 4 else 1
        values: Any = maps[..., list(chosen)].reshape(n, -1, len(chosen))  # (n, OH * OW, F)
        if one_per_image:
            places = values.argmax(axis=1)  # (n, F)
            values = np.max(values, axis=1)
            numbers = np.broadcast_to(start + np.arange(n)[:, None], places.shape)
        else:
            cells, values = values.shape[1], values.reshape(-1, len(chosen))
            places = np.broadcast_to(np.tile(np.arange(cells), n)[:, None], values.shape)
            numbers = np.broadcast_to(start + np.arange(n).repeat(cells)[:, None], values.shape)
        found = [values, numbers, places]
        if best is not None:
            found = [np.concatenate(pair) for pair in zip(best, found, strict=True)]
        order = np.argsort(-found[0], axis=0, kind="stable")[:k]
        best = [np.take_along_axis(part, order, 0) for part in found]
    assert best is not None
    values, numbers, places = (part.T for part in best)  # (F, k)
    positions = np.stack([places // width, places % width], -1)
    crop = _cropper(channels_last(batch, image_format(model)), field)
    patches = [[crop(*where) for where in zip(*row, strict=True)] for row in zip(numbers, positions, strict=True)]
    return Patches(np.array(patches), values, numbers, positions)


def _cropper(images: np.ndarray, field: Field) -> Callable[[int, Any], np.ndarray]:
    """A function that cuts out what a position of a feature map sees."""

    def crop(number: int, position: Any) -> np.ndarray:
        patch = np.zeros((*field.size, images.shape[-1]), images.dtype)
        inside, there = [], []
        for wanted, size in zip(field.at(*map(int, position)), images.shape[1:3], strict=True):
            start, stop = max(wanted.start, 0), min(wanted.stop, size)
            inside.append(slice(start, max(stop, start)))
            there.append(slice(start - wanted.start, max(stop, start) - wanted.start))
        patch[tuple(there)] = images[number][tuple(inside)]
        return patch

    return crop
