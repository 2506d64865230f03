"""Pooling layers: no weights, each channel by itself (but for pooling across channels).

Shapes below are for ``channels_last``; ``channels_first`` has the channels as axis 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinyconv import ops
from tinyconv.geometry import make_pool_window
from tinyconv.layers.base import Shape
from tinyconv.layers.images import (
    ImageLayer,
    as_count,
    as_padding,
    as_tuple,
    map_sizes,
    output_sizes,
    padding_of_row,
)
from tinyconv.tensor import Tensor


class Pooling(ImageLayer):
    """What windowed pooling layers share."""

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: Any = "valid",
        data_format: str | None = None,
        strict: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(data_format, **options)
        rank = len(self.axes)
        self.pool_size = as_tuple(pool_size, "pool_size", rank)
        self.strides = self.pool_size if strides is None else as_tuple(strides, "strides", rank)
        self.padding = as_padding(padding, rank)
        self.strict = bool(strict)

    def call(self, inputs: Tensor) -> Tensor:
        if len(self.axes) > 1:
            return self._pool(inputs, self.pool_size, self.strides, self.padding)
        axis = self._spatial_axes[0]  # a sequence is an image of height 1
        window = (1, *self.pool_size), (1, *self.strides), padding_of_row(self.padding)
        return ops.squeeze(self._pool(ops.expand_dims(inputs, axis), *window), axis)

    def _pool(self, inputs: Tensor, pool_size: Any, strides: Any, padding: Any) -> Tensor:
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        size = self._size(input_shape)
        strict = self.strict and None not in size
        padding = padding_of_row(self.padding) if len(size) == 1 else self.padding

        def make(padding: Any, size: Any, pool_size: Any, strides: Any) -> Sequence[int]:
            return make_pool_window(size, pool_size, strides, padding, strict).output_size(size)

        def f(known: Sequence[int]) -> Sequence[int]:
            return output_sizes(make, padding, (known, 1), (self.pool_size, 1), (self.strides, 1))

        # A window of the pool's own size always fits: it stands for sizes that are not known.
        return self._layout(input_shape[0], *map_sizes(f, size, self.pool_size), input_shape[self._channel_axis])


class MaxPooling(Pooling):
    """What pooling by maxima shares."""

    def _pool(self, inputs: Tensor, pool_size: Any, strides: Any, padding: Any) -> Tensor:
        pool = ops.max_pool3d if len(self.axes) == 3 else ops.max_pool2d
        return pool(inputs, pool_size, strides, padding, self.data_format, self.strict)


class MaxPooling2D(MaxPooling):
    """Largest value of each window.

    Padding never wins, equal values choose the first, NaN is kept.

    Parameters
    ----------
    pool_size : int or (int, int)
        Height and width of the window.
    strides : int or (int, int), optional
        Step of the window; its size by default.
    padding : str, int, (int, int) or ((int, int), (int, int))
        As for :class:`Conv2D`; smaller than the window.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.
    strict : bool
        Raise when the strides do not tile the padded input, instead of dropping the surplus cells at the end.

    Inputs: (N, H, W, C). Outputs: (N, OH, OW, C).

    Raises
    ------
    ValueError
        For inputs that are not images, or smaller than the window.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.MaxPooling2D()([[[[1.0], [5.0]], [[3.0], [2.0]]]]).tolist()
    [[[[5.0]]]]
    """


class MaxPooling1D(MaxPooling):
    """Largest value of each window of a sequence.

    Parameters
    ----------
    pool_size, strides : int
        Size and step of the window; the step is the size by default.
    padding : str, int or (int, int)
        As for :class:`Conv1D`.
    data_format, strict
        As for :class:`MaxPooling2D`.

    Inputs: (N, length, C). Outputs: (N, new length, C).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.MaxPooling1D(2)([[[1.0], [3.0], [2.0], [0.0]]]).tolist()
    [[[3.0], [2.0]]]
    """

    axes = ("length",)


class MaxPooling3D(MaxPooling):
    """Largest value of each window of a volume.

    Parameters
    ----------
    pool_size, strides : int or (int, int, int)
        Depth, height and width of the window, and its step, which is its size by default.
    padding : str, int, (int, int, int) or three pairs
        As for :class:`Conv3D`; smaller than the window.
    data_format, strict
        As for :class:`MaxPooling2D`.

    Inputs: (N, D, H, W, C). Outputs: (N, OD, OH, OW, C).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.MaxPooling3D((1, 2, 2))(np.zeros((1, 3, 4, 5, 2))).shape
    (1, 3, 2, 2, 2)
    """

    axes = ("depth", "height", "width")


class AveragePooling(Pooling):
    """What pooling by means shares."""

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: Any = "valid",
        data_format: str | None = None,
        strict: bool = False,
        count_include_pad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, strict, **options)
        self.count_include_pad = bool(count_include_pad)

    def _pool(self, inputs: Tensor, pool_size: Any, strides: Any, padding: Any) -> Tensor:
        pool = ops.avg_pool3d if len(self.axes) == 3 else ops.avg_pool2d
        return pool(inputs, pool_size, strides, padding, self.data_format, self.count_include_pad, self.strict)


class AveragePooling2D(AveragePooling):
    """Mean of each window.

    Parameters
    ----------
    pool_size, strides, padding, data_format, strict
        As for :class:`MaxPooling2D`.
    count_include_pad : bool
        Divide by all cells of the window; by default cells of the padding do not count.

    Inputs: (N, H, W, C). Outputs: (N, OH, OW, C).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.AveragePooling2D()([[[[3.0], [1.0]], [[3.0], [2.0]]]]).tolist()
    [[[[2.25]]]]
    """


class AveragePooling1D(AveragePooling):
    """Mean of each window of a sequence.

    Parameters
    ----------
    pool_size, strides, padding, data_format, strict
        As for :class:`MaxPooling1D`.
    count_include_pad : bool
        As for :class:`AveragePooling2D`.

    Inputs: (N, length, C). Outputs: (N, new length, C).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.AveragePooling1D(2)([[[1.0], [3.0], [2.0], [0.0]]]).tolist()
    [[[2.0], [1.0]]]
    """

    axes = ("length",)


class AveragePooling3D(AveragePooling):
    """Mean of each window of a volume.

    Parameters
    ----------
    pool_size, strides, padding, data_format, strict
        As for :class:`MaxPooling3D`.
    count_include_pad : bool
        As for :class:`AveragePooling2D`.

    Inputs: (N, D, H, W, C). Outputs: (N, OD, OH, OW, C).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.AveragePooling3D(2, padding="same")(np.ones((1, 3, 4, 5, 2))).shape
    (1, 2, 2, 3, 2)
    """

    axes = ("depth", "height", "width")


class GlobalPooling(ImageLayer):
    """What pooling over whole images shares."""

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **options: Any) -> None:
        super().__init__(data_format, **options)
        self.keepdims = bool(keepdims)

    _reduce: Callable[..., Tensor]

    def call(self, inputs: Tensor) -> Tensor:
        return type(self)._reduce(inputs, self._spatial_axes, self.keepdims)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = input_shape[self._channel_axis]
        return self._layout(input_shape[0], *([1] * len(self.axes) if self.keepdims else []), channels)


class GlobalAveragePooling2D(GlobalPooling):
    """Mean over height and width: one number per channel.

    Parameters
    ----------
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.
    keepdims : bool
        Keep height and width as axes of size 1.

    Inputs: (N, H, W, C). Outputs: (N, C), or (N, 1, 1, C) with ``keepdims``.

    Source: M. Lin et al., "Network in network", arXiv 1312.4400.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.GlobalAveragePooling2D()([[[[3.0], [1.0]], [[3.0], [2.0]]]]).tolist()
    [[2.25]]
    """

    _reduce = staticmethod(ops.mean)


class GlobalMaxPooling2D(GlobalPooling):
    """Maximum over height and width: one number per channel.

    Parameters
    ----------
    data_format, keepdims
        As for :class:`GlobalAveragePooling2D`.

    Inputs: (N, H, W, C). Outputs: (N, C), or (N, 1, 1, C) with ``keepdims``.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.GlobalMaxPooling2D()([[[[3.0], [1.0]], [[3.0], [2.0]]]]).tolist()
    [[3.0]]
    """

    _reduce = staticmethod(ops.max)


class GlobalAveragePooling1D(GlobalPooling):
    """Mean over a sequence: one number per channel.

    Parameters
    ----------
    data_format, keepdims
        As for :class:`GlobalAveragePooling2D`.

    Inputs: (N, length, C), and a mask (N, length): only steps that count are averaged (NaN where none does).
    Outputs: (N, C), or (N, 1, C) with ``keepdims``.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.GlobalAveragePooling1D()([[[3.0], [1.0]]]).tolist()
    [[2.0]]
    """

    axes = ("length",)
    _reduce = staticmethod(ops.mean)
    supports_masking = True

    def call(self, inputs: Tensor, mask: Any = None) -> Tensor:
        if mask is None:
            return super().call(inputs)
        counts = ops.expand_dims(mask, self._channel_axis)  # (N, length) -> (N, length, 1)
        total = ops.sum(ops.where(counts, inputs, 0.0), self._spatial_axes, self.keepdims)
        return total / ops.sum(ops.astype(counts, inputs.dtype), self._spatial_axes, self.keepdims)

    def compute_mask(self, inputs: Tensor, mask: Any = None) -> None:
        """None: there are no steps any more."""


class GlobalMaxPooling1D(GlobalPooling):
    """Maximum over a sequence: one number per channel.

    Parameters
    ----------
    data_format, keepdims
        As for :class:`GlobalAveragePooling2D`.

    Inputs: (N, length, C). Outputs: (N, C), or (N, 1, C) with ``keepdims``.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.GlobalMaxPooling1D()([[[3.0], [1.0]]]).tolist()
    [[3.0]]
    """

    axes = ("length",)
    _reduce = staticmethod(ops.max)


class GlobalAveragePooling3D(GlobalPooling):
    """Mean over a volume: one number per channel.

    Parameters
    ----------
    data_format, keepdims
        As for :class:`GlobalAveragePooling2D`.

    Inputs: (N, D, H, W, C). Outputs: (N, C), or (N, 1, 1, 1, C) with ``keepdims``.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.GlobalAveragePooling3D()([[[[[3.0]]], [[[1.0]]]]]).tolist()
    [[2.0]]
    """

    axes = ("depth", "height", "width")
    _reduce = staticmethod(ops.mean)


class GlobalMaxPooling3D(GlobalPooling):
    """Maximum over a volume: one number per channel.

    Parameters
    ----------
    data_format, keepdims
        As for :class:`GlobalAveragePooling2D`.

    Inputs: (N, D, H, W, C). Outputs: (N, C), or (N, 1, 1, 1, C) with ``keepdims``.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.GlobalMaxPooling3D()([[[[[3.0]]], [[[1.0]]]]]).tolist()
    [[3.0]]
    """

    axes = ("depth", "height", "width")
    _reduce = staticmethod(ops.max)


class AdaptivePooling(ImageLayer):
    """What pooling to a given size shares."""

    def __init__(self, output_size: Any, data_format: str | None = None, **options: Any) -> None:
        super().__init__(data_format, **options)
        self.output_size = as_tuple(output_size, "output_size", len(self.axes))

    _pool: Callable[..., Tensor]

    def call(self, inputs: Tensor) -> Tensor:
        return type(self)._pool(inputs, self.output_size, self.data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._layout(input_shape[0], *self.output_size, input_shape[self._channel_axis])


class AdaptiveAveragePooling2D(AdaptivePooling):
    """Means of as many windows as wanted, whatever the size of the inputs.

    Parameters
    ----------
    output_size : int or (int, int)
        Number of windows along height and width. Window i of m over n cells goes from floor(i n / m) to
        ceil((i + 1) n / m), so that neighbours may share a cell.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: (N, OH, OW, C).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.AdaptiveAveragePooling2D((3, 2))(np.zeros((1, 7, 5, 4))).shape
    (1, 3, 2, 4)
    """

    _pool = staticmethod(ops.adaptive_avg_pool)


class AdaptiveAveragePooling1D(AdaptivePooling):
    """Means of as many windows as wanted over sequences, whatever the size of the inputs.

    Parameters
    ----------
    output_size : int
        Number of windows.
    data_format
        As for :class:`AdaptiveAveragePooling2D`, and so are the windows.

    Inputs: (N, length, C). Outputs: (N, output_size, C).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.AdaptiveAveragePooling1D(2)([[[1.0], [2.0], [6.0]]])[0, :, 0].tolist()
    [1.5, 4.0]
    """

    axes = ("length",)
    _pool = staticmethod(ops.adaptive_avg_pool)


class AdaptiveAveragePooling3D(AdaptivePooling):
    """Means of as many windows as wanted over volumes, whatever the size of the inputs.

    Parameters
    ----------
    output_size : int or (int, int, int)
        Number of windows along depth, height and width.
    data_format
        As for :class:`AdaptiveAveragePooling2D`, and so are the windows.

    Inputs: (N, D, H, W, C). Outputs: (N, OD, OH, OW, C).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.AdaptiveAveragePooling3D(2)(np.zeros((1, 3, 7, 5, 4))).shape
    (1, 2, 2, 2, 4)
    """

    axes = ("depth", "height", "width")
    _pool = staticmethod(ops.adaptive_avg_pool)


class AdaptiveMaxPooling2D(AdaptivePooling):
    """Maxima of as many windows as wanted, whatever the size of the inputs.

    Parameters
    ----------
    output_size : int or (int, int)
        Number of windows along height and width.
    data_format
        As for :class:`AdaptiveAveragePooling2D`, and so are the windows.

    Inputs: (N, H, W, C). Outputs: (N, OH, OW, C).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.AdaptiveMaxPooling2D((3, 2))(np.zeros((1, 7, 5, 4))).shape
    (1, 3, 2, 4)
    """

    _pool = staticmethod(ops.adaptive_max_pool)


class AdaptiveMaxPooling1D(AdaptivePooling):
    """Maxima of as many windows as wanted over sequences, whatever the size of the inputs.

    Parameters
    ----------
    output_size : int
        Number of windows.
    data_format
        As for :class:`AdaptiveAveragePooling2D`, and so are the windows.

    Inputs: (N, length, C). Outputs: (N, output_size, C).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.AdaptiveMaxPooling1D(2)([[[1.0], [2.0], [6.0]]])[0, :, 0].tolist()
    [2.0, 6.0]
    """

    axes = ("length",)
    _pool = staticmethod(ops.adaptive_max_pool)


class AdaptiveMaxPooling3D(AdaptivePooling):
    """Maxima of as many windows as wanted over volumes, whatever the size of the inputs.

    Parameters
    ----------
    output_size : int or (int, int, int)
        Number of windows along depth, height and width.
    data_format
        As for :class:`AdaptiveAveragePooling2D`, and so are the windows.

    Inputs: (N, D, H, W, C). Outputs: (N, OD, OH, OW, C).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.AdaptiveMaxPooling3D(2)(np.zeros((1, 3, 7, 5, 4))).shape
    (1, 2, 2, 2, 4)
    """

    axes = ("depth", "height", "width")
    _pool = staticmethod(ops.adaptive_max_pool)


class DepthMaxPooling2D(ImageLayer):
    """Maximum over groups of neighbouring channels at each position.

    Parameters
    ----------
    depth : int
        Channels per group.
    data_format : str, optional
        As for :class:`MaxPooling2D`.

    Inputs: (N, H, W, C). Outputs: (N, H, W, C / depth).

    Raises
    ------
    ValueError
        When ``depth`` does not divide the number of channels.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.DepthMaxPooling2D(3)([[[[1.0, 7.0, 3.0, 4.0, 0.0, 2.0]]]]).tolist()
    [[[[7.0, 4.0]]]]
    """

    def __init__(self, depth: int, data_format: str | None = None, **options: Any) -> None:
        super().__init__(data_format, **options)
        self.depth = as_count(depth, "depth")

    def call(self, inputs: Tensor) -> Tensor:
        return ops.depth_max_pool2d(inputs, self.depth, self.data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = input_shape[self._channel_axis]
        if channels is not None and channels % self.depth:
            raise ValueError(f"channels must be a multiple of depth={self.depth}. Received: shape {input_shape}")
        groups = None if channels is None else channels // self.depth
        return self._layout(input_shape[0], *self._size(input_shape), groups)
