"""What the pictures of a model's inside need to know: which layer is meant, and how its images are laid out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinyconv import config
from tinyconv.layers.base import Layer


def walk(model: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Every layer and operation in ``model`` with its path, as ``"vgg16/block1_conv1"``: outer before inner."""
    for layer in getattr(model, "_rows", None) or getattr(model, "layers", None) or model.children:
        yield path + layer.name, layer
        yield from walk(layer, f"{path}{layer.name}/")


def find_layer(model: Layer, layer: Any) -> Layer:
    """The layer that is meant by itself, its index, its name, or its path through models (``"vgg16/block1_conv1"``).

    Raises
    ------
    ValueError
        When there is no such layer, or several; the message lists the paths.
    """
    if isinstance(layer, Layer):
        if layer is model or any(layer is other for _, other in walk(model)):
            return layer
        raise ValueError(f"Model {model.name!r} has no such layer. Received: {layer!r}")
    if isinstance(layer, int):
        layers = getattr(model, "layers", [])
        if -len(layers) <= layer < len(layers):
            return layers[layer]
        raise ValueError(f"Model {model.name!r} has {len(layers)} layers. Received: index {layer}")
    paths = dict(walk(model))
    found = [layer] if layer in paths else [path for path in paths if path.endswith(f"/{layer}")]
    if len(found) != 1:
        what = f"several layers of this name: {found}" if found else f"layers {list(paths)}"
        raise ValueError(f"Model {model.name!r} has {what}. Received: {layer!r}")
    return paths[found[0]]


def image_format(model: Layer) -> str:
    """Where the channels of the model's images are: as its first layer on images says."""
    for _, layer in [(model.name, model), *walk(model)]:
        found = getattr(layer, "data_format", None)
        if found is not None:
            return found
    return config.image_data_format()


def as_batch(model: Layer, images: Any, single: bool = False) -> np.ndarray:
    """Images as the model takes them: a batch axis is added where there is none, and to gray ones that of channels.

    Parameters
    ----------
    images : array_like, shape (N, H, W, C), or one image (H, W, C); without C for gray ones; channels first where the
        model wants them so
    single : bool
        Whether there must be exactly one.
    """
    values = np.asarray(images)
    if values.dtype.kind not in "uifb":
        raise TypeError(f"Images must be arrays of numbers. Received: {type(images).__name__} of dtype {values.dtype}")
    shape = model._shapes[0] if model._shapes else None
    if shape is not None and (not isinstance(shape, tuple) or len(shape) != 4):
        raise ValueError(f"This needs a model of one input of images (N, H, W, C). Received: a model of input {shape}")
    channels = 1 if image_format(model) == "channels_first" else -1
    gray = shape is None or shape[channels] == 1
    if values.ndim == 2 and gray:
        values = np.expand_dims(values[None], channels)
    elif values.ndim == 3:
        whole = shape is None or all(m in (None, n) for m, n in zip(shape[1:], values.shape, strict=True))
        values = values[None] if whole or not gray else np.expand_dims(values, channels)
    if values.ndim != 4 or (single and len(values) != 1):
        many = "one image" if single else "images (N, H, W, C)"
        raise ValueError(f"Model {model.name!r} expected {many}. Received: shape {np.shape(images)}")
    return values


def channels_last(values: np.ndarray, data_format: str) -> np.ndarray:
    """Images or feature maps (N, C, H, W) -> (N, H, W, C), where they are not so already."""
    return np.moveaxis(values, 1, -1) if data_format == "channels_first" else values
