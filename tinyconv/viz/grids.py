"""Pictures made of many small ones: images, filters, feature maps, strongest patches, and maps over an image."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.layers.base import Layer
from tinyconv.viz.attribution import grad_cam, saliency
from tinyconv.viz.features import feature_maps, top_patches
from tinyconv.viz.figures import as_picture, columns_for, draw_picture, mosaic, new_figure, save, stretch
from tinyconv.viz.inputs import as_batch, channels_last, image_format

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST_LINE = 17  # letters of 9 points that fit above an image 1.5 inches wide


def plot_images(
    images: Any,
    labels: Sequence[Any] | None = None,
    predictions: Sequence[Any] | None = None,
    class_names: Sequence[str] | None = None,
    columns: int | None = None,
    path: str | Path | None = None,
    title: str = "",
) -> Figure:
    """A grid of images, with what they are and what they were taken for.

    Parameters
    ----------
    images : array_like, shape (N, H, W), (N, H, W, C), or a list of images of different sizes
        Channels last: 1 (gray), 3 (RGB) or 4. Integers are taken as 0..255, floats as 0..1.
    labels, predictions : sequence of int or str, optional
        Titles; wrong predictions are red.
    class_names : sequence of str, optional
        What integer labels and predictions mean.
    columns : int, optional
        Images per row; about as many as rows by default.
    path : str or Path, optional
        Where to save the figure (PNG, SVG or PDF, by its ending).
    title : str

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = plot_images(np.zeros((2, 8, 8)), labels=[0, 1], predictions=[0, 0], class_names=["cat", "dog"])
    >>> [axes.get_title() for axes in figure.axes]
    ['cat', 'cat (dog)']
    """
    if isinstance(images, np.ndarray) and images.ndim == 2:
        images = images[None]
    pictures = [as_picture(image) for image in images]
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values is not None and len(values) != len(pictures):
            raise ValueError(f"{name} must be as many as images, {len(pictures)}. Received: {len(values)}")
    titles, wrong = [""] * len(pictures), [False] * len(pictures)
    for i in range(len(pictures)):
        truth, guess = (None if v is None else _class_name(v[i], class_names) for v in (labels, predictions))
        wrong[i] = guess is not None and truth is not None and guess != truth
        titles[i] = textwrap.fill(f"{guess} ({truth})" if wrong[i] else guess or truth or "", _LONGEST_LINE)
    wide = columns_for(len(pictures), columns)
    rows = max(math.ceil(len(pictures) / wide), 1)
    lines = max((text.count("\n") + 1 for text in titles if text), default=0)
    heading = textwrap.wrap(title, _LONGEST_LINE * wide)
    height = (1.5 + 0.25 * min(lines, 1) + 0.14 * max(lines - 1, 0)) * rows + 0.2 * (len(heading) + bool(heading))
    figure = new_figure(1.5 * wide, height)
    for i, picture in enumerate(pictures):
        axes = figure.add_subplot(rows, wide, i + 1)
        draw_picture(axes, picture)
        axes.set_title(titles[i], fontsize=9, parse_math=False, color="#c00000" if wrong[i] else "black")
    figure.suptitle("\n".join(heading), fontsize=10)
    figure.set_layout_engine("constrained")
    return save(figure, path)


def _class_name(label: Any, names: Sequence[str] | None) -> str:
    value = np.asarray(label)
    if value.ndim == 1 and value.size == 1:  # labels of CIFAR-10 have shape (N, 1)
        value = value[0]
    if value.ndim:
        raise ValueError(f"A label must be one integer or name per image. Received: shape {value.shape}")
    if names is None or value.dtype.kind not in "ui":
        return str(label if value is None else value)
    if not 0 <= value < len(names):
        raise ValueError(f"class_names must name class {value}. Received: {len(names)} names")
    return str(names[int(value)])


def plot_filters(
    layer: Layer, max_filters: int = 81, columns: int | None = None, path: str | Path | None = None
) -> Figure:
    """The kernels of a convolution as pictures.

    Kernels on three channels, such as those of a first layer on colour images, are shown in colour, each stretched to
    the full range. Others have a row per filter and a column per channel, all with the same scale of gray, at whose
    middle is 0.

    Parameters
    ----------
    layer : Conv2D, DepthwiseConv2D, SeparableConv2D or another layer with such kernels
    max_filters : int
        How many filters at most, and how many channels of each.
    columns : int, optional
        Filters per row of colour or single-channel kernels.
    path : str or Path, optional
        Where to save the figure (PNG, SVG or PDF, by its ending).

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.LeNet.build(28, 28, 1, 10)
    >>> plot_filters(model.layers[0]).axes[0].get_title()[-19:]
    '20 kernels of 5 x 5'
    """
    kernel = getattr(layer, "depthwise_kernel", None)
    kernel = getattr(layer, "kernel", None) if kernel is None else kernel
    if kernel is None or kernel.ndim != 4:
        what = "it has no weights yet" if not layer.built else f"layer {layer!r}"
        raise ValueError(f"plot_filters expected a layer with 2-D kernels. Received: {what}")
    values = kernel.numpy().astype(float)  # (KH, KW, C, O)
    kh, kw, channels, count = values.shape
    if hasattr(layer, "depthwise_kernel"):
        values, channels, count = values.reshape(kh, kw, 1, -1), 1, channels * count
    values = np.moveaxis(values, 3, 0)[:max_filters]  # (O, KH, KW, C)
    if channels == 3:
        tiles = np.stack([stretch(tile) for tile in values])
        wide = columns_for(len(tiles), columns)
    else:
        values = np.moveaxis(values[..., :max_filters], 3, 1)  # (O, C, KH, KW)
        wide = columns_for(len(values), columns) if channels == 1 else values.shape[1]
        largest = np.abs(values).max() or 1.0
        tiles = (0.5 + 0.5 * values / largest).reshape(-1, kh, kw)
    shown = "" if len(values) == count else f"{len(values)} of "
    return _sheet_figure(mosaic(tiles, wide), f"{layer.name}: {shown}{count} kernels of {kh} x {kw}", path)


def plot_activations(
    model: Layer,
    image: Any,
    layers: Any = None,
    max_maps: int = 64,
    columns: int | None = None,
    path: str | Path | None = None,
) -> Figure:
    """The feature maps that an image calls forth in layers of a model, each map stretched to the full range of gray.

    Parameters
    ----------
    model : Model
    image : array_like, shape (H, W, C) or (1, H, W, C)
        As the model takes it.
    layers : str, int, Layer or list of them, optional
        As for :func:`feature_maps`.
    max_maps : int
        How many maps of each layer at most.
    columns : int, optional
        Maps per row.
    path : str or Path, optional
        Where to save the figure (PNG, SVG or PDF, by its ending).

    Returns
    -------
    matplotlib.figure.Figure
        With a grid per layer, one below the other.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.LeNet.build(28, 28, 1, 10)
    >>> len(plot_activations(model, np.ones((28, 28)), [0, 2]).axes)
    2
    """
    found = feature_maps(model, as_batch(model, image, single=True), layers)
    flat = [name for name, maps in found.items() if maps.ndim != 4]
    if flat or not found:
        raise ValueError(f"plot_activations expected layers whose outputs are images. Received: {flat or layers}")
    sheets = {}
    for name, maps in found.items():
        tiles = np.moveaxis(maps[0, ..., :max_maps], -1, 0)  # (maps, OH, OW)
        wide = columns_for(2 * len(tiles) if columns is None and len(tiles) > 8 else len(tiles), columns)
        gap = max(1, tiles.shape[2] // 14)
        shown = "" if maps.shape[-1] <= max_maps else f"{max_maps} of "
        text = f"{name}: {shown}{maps.shape[-1]} maps of {maps.shape[1]} x {maps.shape[2]}"
        sheets[text] = mosaic([stretch(tile.astype(float)) for tile in tiles], min(wide, len(tiles)), gap)
    return _stacked(sheets, path)


def plot_top_patches(
    model: Layer,
    layer: Any,
    images: Any,
    k: int = 9,
    filters: Sequence[int] | None = None,
    columns: int | None = None,
    path: str | Path | None = None,
) -> Figure:
    """For each filter of a layer a block of the ``k`` patches that excite it most, strongest first.

    Parameters
    ----------
    model, layer, images, k, filters
        As for :func:`top_patches`.
    columns : int, optional
        Blocks per row.
    path : str or Path, optional
        Where to save the figure (PNG, SVG or PDF, by its ending).

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.LeNet.build(28, 28, 1, 10)
    >>> images = np.random.default_rng(0).random((10, 28, 28))
    >>> plot_top_patches(model, 0, images, filters=[0, 5]).axes[0].get_title()[-25:]
    'top 9 patches of 5 x 5 px'
    """
    found = top_patches(model, layer, images, k, filters).patches  # (F, k, PH, PW, C)
    count, k, ph, pw = found.shape[:4]
    values = found.astype(float) / (255 if found.dtype.kind in "ui" else 1)
    values = stretch(values) if values.min() < 0 or values.max() > 1 else values
    values = values.mean(-1) if found.shape[-1] not in (3, 4) else values[..., :3]
    gap = max(1, pw // 12)
    side = math.ceil(math.sqrt(k))
    blocks = np.stack([mosaic(patches, side, gap, between=0.5) for patches in values])
    sheet = mosaic(blocks, columns_for(count, columns), 2 * gap)
    name = layer if isinstance(layer, str) else f"layer {layer}" if isinstance(layer, int) else layer.name
    return _sheet_figure(sheet, f"{name}: top {k} patches of {ph} x {pw} px", path)


def plot_grad_cam(
    model: Layer,
    image: Any,
    class_index: int | None = None,
    layer: Any = None,
    class_names: Sequence[str] | None = None,
    path: str | Path | None = None,
) -> Figure:
    """An image beside itself under its Grad-CAM map.

    Parameters
    ----------
    model, image, class_index, layer
        As for :func:`grad_cam`.
    class_names : sequence of str, optional
        For the title.
    path : str or Path, optional
        Where to save the figure (PNG, SVG or PDF, by its ending).

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.LeNet.build(28, 28, 1, 10)
    >>> len(plot_grad_cam(model, np.ones((28, 28)), class_index=3).axes)
    2
    """
    heat = grad_cam(model, image, class_index, layer)
    return _beside(model, image, heat, f"Grad-CAM{_of_class(class_index, class_names)}", path, over=True)


def plot_saliency(
    model: Layer,
    image: Any,
    class_index: int | None = None,
    class_names: Sequence[str] | None = None,
    path: str | Path | None = None,
) -> Figure:
    """An image beside its saliency map.

    Parameters
    ----------
    model, image, class_index, class_names, path
        As for :func:`plot_grad_cam`.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.LeNet.build(28, 28, 1, 10)
    >>> len(plot_saliency(model, np.ones((28, 28))).axes)
    2
    """
    values = saliency(model, image, class_index)
    heat = values / values.max() if values.max() > 0 else values
    return _beside(model, image, heat, f"saliency{_of_class(class_index, class_names)}", path, over=False)


def _of_class(index: int | None, names: Sequence[str] | None) -> str:
    if index is None:
        return " of the predicted class"
    return f" of {_class_name(index, names)}" if names is not None else f" of class {index}"


def _beside(
    model: Layer, image: Any, heat: np.ndarray, title: str, path: str | Path | None, over: bool
) -> Figure:
    values = channels_last(as_batch(model, image, single=True), image_format(model))[0]
    picture = as_picture(values if values.shape[-1] in (1, 3, 4) else values.mean(-1))
    height, width = heat.shape
    title = textwrap.fill(title, 2 * _LONGEST_LINE)
    figure = new_figure(6.4, min(max(3.2 * height / width, 1.0), 20) + 0.3 + 0.15 * title.count("\n"))
    for i, text in enumerate(("image", title)):
        axes = figure.add_subplot(1, 2, i + 1)
        if i == 0 or over:
            draw_picture(axes, picture, text)
        if i == 1:
            draw_picture(axes, heat, text, cmap="jet" if over else "inferno", alpha=0.45 if over else None)
    figure.set_layout_engine("constrained")
    return save(figure, path)


def _sheet_figure(sheet: np.ndarray, title: str, path: str | Path | None) -> Figure:
    return _stacked({title: sheet}, path)


def _stacked(sheets: dict[str, np.ndarray], path: str | Path | None) -> Figure:
    """Sheets of pictures below each other, all of the same width."""
    width = 7.0
    heights = [max(width * sheet.shape[0] / sheet.shape[1], 0.4) for sheet in sheets.values()]
    figure = new_figure(width, sum(heights) + 0.35 * len(heights))
    parts = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    for i, (title, sheet) in enumerate(sheets.items()):
        draw_picture(figure.add_subplot(parts[i]), sheet, title)
    figure.set_layout_engine("constrained")
    return save(figure, path)
