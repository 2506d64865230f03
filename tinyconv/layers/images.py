"""What layers on images, sequences and volumes share: where the channels are, and windows that slide over the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import config
from tinyconv.geometry import check_data_format, make_window
from tinyconv.layers.base import Layer, Shape
from tinyconv.ops.resampling import INTERPOLATIONS
from tinyconv.ops.volumes import saying_depth, split_padding


class ImageLayer(Layer):
    """A layer on images (N, H, W, C), or (N, C, H, W) for ``data_format="channels_first"``.

    Parameters
    ----------
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.
    """

    axes: tuple[str, ...] = ("height", "width")  # those that are neither batch nor channels

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = check_data_format(data_format or config.image_data_format())

    def check_input(self, input_shape: Shape) -> None:
        """Raise unless inputs are images."""
        layout = ", ".join(self._layout("batch", *self.axes, "channels"))
        self._check_ndim(input_shape, 2 + len(self.axes), f"({layout})")
        if self.built and self._built_channels is not None:
            self._check_axis(input_shape, self._channel_axis, self._built_channels)

    _built_channels: int | None = None  # set by ``build`` where weights depend on the number of channels

    def _channels(self, input_shape: Shape) -> int:
        """Number of input channels, which weights depend on: it must be known and stays fixed."""
        channels = input_shape[self._channel_axis]
        if not channels:
            raise ValueError(f"the number of channels must be known and at least 1. Received: shape {input_shape}")
        self._built_channels = channels
        return channels

    @property
    def _channel_axis(self) -> int:
        return 1 if self.data_format == "channels_first" else 1 + len(self.axes)

    @property
    def _spatial_axes(self) -> tuple[int, ...]:
        first = 2 if self.data_format == "channels_first" else 1
        return tuple(range(first, first + len(self.axes)))

    def _size(self, shape: Shape) -> Shape:
        """Height and width, or length."""
        return tuple(shape[axis] for axis in self._spatial_axes)

    def _layout(self, batch: Any, *rest: Any) -> tuple[Any, ...]:
        """Batch, sizes and channels in the order of the data format."""
        *size, channels = rest
        return (batch, channels, *size) if self.data_format == "channels_first" else (batch, *size, channels)


def as_count(value: Any, name: str) -> int:
    """``value`` when it is an integer >= 1, else ``ValueError``."""
    return as_tuple(value, name, 1)[0]


def as_tuple(value: Any, name: str, length: int = 2, minimum: int = 1) -> tuple[int, ...]:
    """``value`` as a tuple of ``length`` integers; an integer stands for all.

    Examples
    --------
    >>> as_tuple(3, "pool_size"), as_tuple([5], "kernel_size", 1)
    ((3, 3), (5,))
    """
    entries = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * length
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= minimum for n in entries)
    if len(entries) != length or not whole:
        forms = "an integer", "an integer or a pair (height, width)", "an integer or three (depth, height, width)"
        raise ValueError(f"{name} must be {forms[length - 1]}, each >= {minimum}. Received: {value!r}")
    return tuple(int(n) for n in entries)


def as_padding(padding: Any, rank: int = 2) -> Any:
    """``padding`` in its final spelling: lower case, tuples; ``ValueError`` for what is no padding.

    Parameters
    ----------
    padding : str, int or tuple
    rank : int
        1 for sequences (an integer or (start, end)), 2 for images, 3 for volumes.

    Examples
    --------
    >>> as_padding("SAME"), as_padding([1, [2, 3]])
    Traceback (most recent call last):
        ...
    ValueError: padding must be an integer >= 0, (height, width), ((top, bottom), (left, right)), 'valid', 'same' or \
'same_lower'. Received: [1, [2, 3]]
    """
    if rank == 3:
        split_padding(padding)
    elif rank == 2 or isinstance(padding, str):
        make_window((1, 1), 1, padding=padding)
    else:
        as_tuple(padding, "padding", minimum=0)
    if isinstance(padding, str):
        return padding.lower()
    if isinstance(padding, Sequence):
        return tuple(tuple(p) if isinstance(p, Sequence) else p for p in padding)
    return padding


def padding_of_row(padding: Any, reach: int = 0) -> Any:
    """Padding of a sequence as that of an image of height 1; ``reach`` cells before the start for ``"causal"``.

    Examples
    --------
    >>> padding_of_row((1, 2)), padding_of_row("same"), padding_of_row("causal", 4)
    (((0, 0), (1, 2)), 'same', ((0, 0), (4, 0)))
    """
    if padding == "causal":
        return (0, 0), (reach, 0)
    return padding if isinstance(padding, str) else ((0, 0), as_tuple(padding, "padding", minimum=0))


def output_sizes(
    make: Callable[..., Sequence[int]], padding: Any, *settings: tuple[Sequence[int] | None, int]
) -> tuple[int, ...]:
    """Output sizes of a window over sequences, images or volumes, from those of windows over images.

    Parameters
    ----------
    make : callable
        ``make(padding, *settings)`` gives (OH, OW) for settings of height and width.
    padding : str or tuple
        Of a sequence, as :func:`padding_of_row` gives it.
    settings : pairs (values, filling)
        Size, kernel and so on, a value per axis; ``filling`` stands for an axis of size 1 that is added.
    """
    rank = len(settings[0][0] or ())
    if rank == 1:
        rows = ([fill, *values] if values is not None else None for values, fill in settings)
        return tuple(make(padding, *rows))[1:]
    if rank == 2:
        return tuple(make(padding, *(values for values, _ in settings)))
    depth_padding, image_padding = split_padding(padding)
    with saying_depth():
        columns = ([values[0], fill] if values is not None else None for values, fill in settings)
        depth, _ = make(depth_padding, *columns)
    images = (values[1:] if values is not None else None for values, _ in settings)
    return depth, *make(image_padding, *images)


def as_interpolation(interpolation: Any) -> str:
    """``interpolation`` when it is one that :func:`tinyconv.ops.resize` knows, else ``ValueError``."""
    if interpolation not in INTERPOLATIONS:
        names = ", ".join(map(repr, INTERPOLATIONS))
        raise ValueError(f"interpolation must be one of {names}. Received: {interpolation!r}")
    return interpolation


def map_sizes(f: Callable[[tuple[int, ...]], Sequence[int]], size: Shape, stand_in: Sequence[int]) -> Shape:
    """``f(size)``, where each unknown size stays unknown; ``f`` sees ``stand_in`` in its place.

    Examples
    --------
    >>> map_sizes(lambda hw: [n // 2 for n in hw], (28, None), (2, 2))
    (14, None)
    """
    known = tuple(fit if n is None else n for n, fit in zip(size, stand_in, strict=True))
    return tuple(None if n is None else out for n, out in zip(size, f(known), strict=True))
