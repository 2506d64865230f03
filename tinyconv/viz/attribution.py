"""Which pixels decide: Grad-CAM and saliency maps, by gradients of the score of a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinyconv import activations
from tinyconv.function import grad
from tinyconv.layers import Activation, BatchNormalization, Operation, Softmax
from tinyconv.layers.activation import Elementwise
from tinyconv.layers.base import Layer
from tinyconv.layers.images import ImageLayer
from tinyconv.tensor import Tensor, enable_grad
from tinyconv.viz.inputs import as_batch, find_layer, image_format, walk
from tinyconv.viz.recording import LayerCall, recording


def grad_cam(model: Layer, image: Any, class_index: int | None = None, layer: Any = None) -> np.ndarray:
    """Where in the image a class is seen: Grad-CAM.

    The feature maps of a layer, each weighted with the mean gradient of the class's score with respect to it, are
    added; what is positive is kept, enlarged to the size of the image and scaled to a maximum of 1.

    Parameters
    ----------
    model : Model
        With one output (N, classes). Scores are those before a final softmax or sigmoid.
    image : array_like, shape (H, W, C) or (1, H, W, C)
        As the model takes it.
    class_index : int, optional
        The predicted class by default.
    layer : str, int or Layer, optional
        The last convolution by default, with the activation (and normalisation) that follows it.

    Returns
    -------
    array, shape (H, W)
        Values in [0, 1]; all 0 where nothing speaks for the class.

    Source: R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization",
    arXiv 1610.02391, equations 1 and 2.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.applications.LeNet.build(28, 28, 1, 10)
    >>> grad_cam(model, np.ones((28, 28))).shape
    (28, 28)
    """
    target = None if layer is None else find_layer(model, layer)
    x = _pixels(model, image)
    score, calls = _score(model, x, class_index)
    if target is None:
        target = _last_convolution(model, calls)
    maps = next((call.outputs for call in reversed(calls) if call.layer is target), None)
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise ValueError(f"Grad-CAM needs a layer whose outputs are images. Received: layer {target.name!r}")
    gradient = grad(score, [maps], allow_unused=True)[0]
    first = getattr(target, "data_format", image_format(model)) == "channels_first"
    axes, channel = ((1, 2), 0) if first else ((0, 1), 2)
    a = maps.numpy()[0].astype(float)
    weights = np.zeros(a.shape[channel]) if gradient is None else gradient.numpy()[0].astype(float).mean(axes)
    heat = np.maximum(np.tensordot(a, weights, (channel, 0)), 0)  # (OH, OW)
    heat = resize(heat, x.shape[2:] if image_format(model) == "channels_first" else x.shape[1:3])
    return heat / heat.max() if heat.max() > 0 else heat


def saliency(model: Layer, image: Any, class_index: int | None = None) -> np.ndarray:
    """How much each pixel changes the score of a class: the largest absolute gradient of its channels.

    Parameters
    ----------
    model, image, class_index
        As for :func:`grad_cam`.

    Returns
    -------
    array, shape (H, W)
        Change of the score per change of the pixel, >= 0.

    Source: K. Simonyan, A. Vedaldi and A. Zisserman, "Deep inside convolutional networks: visualising image
    classification models and saliency maps", arXiv 1312.6034, section 3.1.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.applications.LeNet.build(28, 28, 1, 10)
    >>> saliency(model, np.ones((28, 28)), class_index=3).shape
    (28, 28)
    """
    x = _pixels(model, image)
    score, _ = _score(model, x, class_index)
    gradient = grad(score, [x], allow_unused=True)[0]
    values = np.zeros(x.shape[1:]) if gradient is None else np.abs(gradient.numpy()[0])
    return values.max(axis=0 if image_format(model) == "channels_first" else -1).astype(float)


def resize(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A map (H, W) at another size, by bilinear interpolation between centers of cells.

    Examples
    --------
    >>> resize(np.array([[0.0, 1.0]]), (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    for axis, n in enumerate(size):
        old = values.shape[axis]
        at = np.clip((np.arange(n) + 0.5) * old / n - 0.5, 0, old - 1)
        low = np.minimum(at.astype(int), max(old - 2, 0))
        high = np.minimum(low + 1, old - 1)
        share = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
        values = np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share
    return values


def _score(model: Layer, x: Tensor, class_index: int | None) -> tuple[Tensor, list[LayerCall]]:
    """The score of a class for one image, and the calls of all layers on the way to it."""
    everything = [layer for _, layer in [("", model), *walk(model)]]
    with enable_grad():
        with recording(everything) as calls:
            y = model(x, training=False)
        if not isinstance(y, Tensor) or y.ndim != 2:
            shape = y.shape if isinstance(y, Tensor) else "several outputs"
            raise ValueError(f"A class has a score in a model with one output (N, classes). Received: {shape}")
        classes = y.shape[1]
        index = int(y.numpy()[0].argmax()) if class_index is None else class_index
        if isinstance(index, bool) or not isinstance(index, int | np.integer) or not 0 <= index < classes:
            raise ValueError(f"class_index must lie in 0..{classes - 1}. Received: {class_index!r}")
        final = [call.layer for call in calls if call.outputs is y]
        with _without_probabilities(final), recording(everything) as calls:
            return model(x, training=False)[0, int(index)], calls


def _pixels(model: Layer, image: Any) -> Tensor:
    """One image as a tensor that gradients flow to; each layer converts it to its own dtype."""
    values = as_batch(model, image, single=True)
    return Tensor(values, dtype=values.dtype if values.dtype.kind == "f" else model.dtype, requires_grad=True)


_PROBABILITIES = ("softmax", "sigmoid")


@contextmanager
def _without_probabilities(layers: list[Layer]) -> Iterator[None]:
    """Layers whose final softmax or sigmoid is left out meanwhile, so that they give scores."""
    changed: list[tuple[Layer, str, Any]] = []
    for layer in layers:
        if getattr(layer, "activation", None) in [getattr(activations, name) for name in _PROBABILITIES]:
            changed.append((layer, "activation", activations.linear))
        elif isinstance(layer, Softmax) or (isinstance(layer, Operation) and layer.operation in _PROBABILITIES):
            changed.append((layer, "call", lambda inputs, *_, **options: inputs))
    before = [vars(layer).get(name) for layer, name, _ in changed]
    try:
        for layer, name, value in changed:
            vars(layer)[name] = value
        yield
    finally:
        for (layer, name, _), value in zip(changed, before, strict=True):
            if value is None:
                vars(layer).pop(name, None)
            else:
                vars(layer)[name] = value


def _last_convolution(model: Layer, calls: list[LayerCall]) -> Layer:
    """The layer whose outputs are the final feature maps: of the last convolution, after its activation."""
    windows = [
        call for call in calls
        if isinstance(call.layer, ImageLayer) and len(call.layer.axes) == 2 and hasattr(call.layer, "kernel_size")
    ]  # fmt: skip
    if not windows:
        raise ValueError(f"Grad-CAM needs a convolution, or the name of a layer. Received: model {model.name!r}")
    latest = windows[-1]
    for call in calls:
        layer = call.layer
        follows = isinstance(layer, Activation | Elementwise | BatchNormalization) or (
            isinstance(layer, Operation) and layer.operation in activations.__all__
        )
        if call.inputs is latest.outputs and follows:
            latest = call
    return latest.layer
