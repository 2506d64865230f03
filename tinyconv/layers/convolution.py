"""Convolution layers.

Letters: ``N`` batch, ``H W`` height and width, ``C`` input channels, ``O`` filters, ``KH KW`` kernel, ``G`` groups.
Kernels have Keras's layout in both data formats. Shapes below are for ``channels_last``; ``channels_first`` has the
channels as axis 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.geometry import make_transposed_window, make_window
from tinyconv.layers.base import Parameter, Shape
from tinyconv.layers.core import Affine
from tinyconv.layers.images import ImageLayer, as_count, as_padding, as_tuple, map_sizes
from tinyconv.tensor import Tensor


class WindowLayer(Affine, ImageLayer):
    """A layer with weights that slides a window over images (or over sequences: ``axes`` says which)."""

    def __init__(
        self, kernel_size: Any, strides: Any = 1, padding: Any = "valid", dilation_rate: Any = 1, **options: Any
    ) -> None:
        super().__init__(**options)
        rank = len(self.axes)
        self.kernel_size = as_tuple(kernel_size, "kernel_size", rank)
        self.strides = as_tuple(strides, "strides", rank)
        self.dilation_rate = as_tuple(dilation_rate, "dilation_rate", rank)
        self.padding = self._as_padding(padding)

    def _as_padding(self, padding: Any) -> Any:
        return as_padding(padding)

    def _output_size(self, size: Shape, strict: bool = False) -> Shape:
        """Height and width of the result for those of the input, ``None`` where unknown."""
        strict = strict and None not in size

        def f(known: Sequence[int]) -> Sequence[int]:
            window = make_window(known, self.kernel_size, self.strides, self.padding, self.dilation_rate, strict)
            return window.output_size(known)

        # A window of kernel times dilation cells always fits: it stands for sizes that are not known.
        return map_sizes(f, size, [k * d for k, d in zip(self.kernel_size, self.dilation_rate, strict=True)])


class Convolution(WindowLayer):
    """What Conv1D and Conv2D share."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        strict: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, dilation_rate, data_format=data_format, activation=activation,
            use_bias=use_bias, bias_initializer=bias_initializer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, bias_constraint=bias_constraint, **options,
        )  # fmt: skip
        self._describe("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.filters, self.groups, self.strict = as_count(filters, "filters"), as_count(groups, "groups"), bool(strict)
        if self.filters % self.groups:
            raise ValueError(f"filters must be a multiple of groups={groups}. Received: filters={filters}")

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ValueError(f"input channels must be a multiple of groups={self.groups}. Received: {channels}")
        self.kernel = self._make("kernel", (*self.kernel_size, channels // self.groups, self.filters))
        self._make_bias((self.filters,))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._layout(input_shape[0], *self._output_size(self._size(input_shape), self.strict), self.filters)


class Conv2D(Convolution):
    """2-D convolution: every filter is a window that slides over the image and gives one channel of the result.

    The kernel is not flipped (cross-correlation), as in all deep-learning libraries.

    Parameters
    ----------
    filters : int
        Number of output channels.
    kernel_size : int or (int, int)
        Height and width of the window.
    strides : int or (int, int)
        Step of the window.
    padding : str, int, (int, int) or ((int, int), (int, int))
        ``"valid"`` (none), ``"same"`` (output size input / stride, rounded up; the odd zero at the end),
        ``"same_lower"`` (at the start); or zeros on all sides, on (height, width), on ((top, bottom), (left, right)).
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.
    dilation_rate : int or (int, int)
        Distance between the window's cells.
    groups : int
        Channels and filters fall into that many independent parts.
    activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, \
activity_regularizer, kernel_constraint, bias_constraint
        As for :class:`Dense`.
    strict : bool
        Raise when the strides do not tile the padded input, instead of dropping the surplus cells at the end.
    **options
        ``name``, ``trainable``, ``dtype``, ``input_shape``, as for every layer.

    Inputs: (N, H, W, C). Outputs: (N, OH, OW, filters).
    Weights: kernel (KH, KW, C / groups, filters), bias (filters,).

    Raises
    ------
    ValueError
        For inputs that are not images, a window larger than the padded input, channels that ``groups`` does not
        divide, or another number of channels than the kernel was built for.

    Source: V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> layer = tc.layers.Conv2D(20, 5, padding="same", activation="relu")
    >>> layer(np.zeros((2, 28, 28, 1))).shape, layer.count_params()
    ((2, 28, 28, 20), 520)
    """

    def call(self, inputs: Tensor) -> Tensor:
        return self._finish(
            ops.conv2d(
                inputs, self.kernel, self.bias, self.strides, self.padding, self.dilation_rate, self.groups,
                self.data_format, self.strict,
            )
        )  # fmt: skip


class Conv1D(Convolution):
    """1-D convolution over sequences, computed as a 2-D one of height 1.

    Parameters
    ----------
    filters, kernel_size, strides, dilation_rate, groups
        As for :class:`Conv2D`, each an integer.
    padding : str, int or (int, int)
        As for :class:`Conv2D`, on (start, end); or ``"causal"``: so many zeros at the start that no output depends on
        later inputs.
    data_format, activation, use_bias, kernel_initializer, ...
        As for :class:`Conv2D`.

    Inputs: (N, length, C). Outputs: (N, new length, filters).
    Weights: kernel (K, C / groups, filters), bias (filters,).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Conv1D(8, 3, padding="causal")(np.zeros((2, 10, 4))).shape
    (2, 10, 8)
    """

    axes = ("length",)

    def _as_padding(self, padding: Any) -> Any:
        if isinstance(padding, str) and padding.lower() == "causal":
            return "causal"
        _padding_of_row(padding, 0)
        if isinstance(padding, str):
            return padding.lower()
        return tuple(padding) if isinstance(padding, Sequence) else padding

    def _row(self) -> dict[str, Any]:
        """Arguments of the 2-D convolution of height 1."""
        reach = self.dilation_rate[0] * (self.kernel_size[0] - 1)
        return {
            "strides": (1, *self.strides), "padding": _padding_of_row(self.padding, reach),
            "dilations": (1, *self.dilation_rate), "strict": self.strict,
        }  # fmt: skip

    def call(self, inputs: Tensor) -> Tensor:
        axis = self._spatial_axes[0]
        y = ops.conv2d(
            ops.expand_dims(inputs, axis), ops.expand_dims(self.kernel, 0), self.bias, groups=self.groups,
            data_format=self.data_format, **self._row(),
        )  # fmt: skip
        return self._finish(ops.squeeze(y, axis))

    def _output_size(self, size: Shape, strict: bool = False) -> Shape:
        row = {**self._row(), "strict": strict and None not in size}

        def f(known: tuple[int, ...]) -> Sequence[int]:
            return make_window((1, *known), (1, *self.kernel_size), **row).output_size((1, *known))[1:]

        return map_sizes(f, size, [self.kernel_size[0] * self.dilation_rate[0]])


class DepthwiseConv2D(WindowLayer):
    """Convolve every channel with windows of its own.

    Parameters
    ----------
    kernel_size, strides, padding, data_format, dilation_rate
        As for :class:`Conv2D`.
    depth_multiplier : int
        Number of windows, hence of output channels, per input channel.
    activation, use_bias, depthwise_initializer, bias_initializer, ...
        As for :class:`Dense`.

    Inputs: (N, H, W, C). Outputs: (N, OH, OW, C * depth_multiplier).
    Weights: depthwise_kernel (KH, KW, C, depth_multiplier), bias (C * depth_multiplier,).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> layer = tc.layers.DepthwiseConv2D(3, padding="same", use_bias=False)
    >>> layer(np.zeros((1, 8, 8, 256))).shape, layer.count_params()
    ((1, 8, 8, 256), 2304)
    """

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, dilation_rate, data_format=data_format, activation=activation,
            use_bias=use_bias, bias_initializer=bias_initializer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, bias_constraint=bias_constraint, **options,
        )  # fmt: skip
        self.depth_multiplier = as_count(depth_multiplier, "depth_multiplier")
        self._describe("depthwise", depthwise_initializer, depthwise_regularizer, depthwise_constraint)

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.depthwise_kernel = self._make("depthwise", shape, "depthwise_kernel")
        self._make_bias((channels * self.depth_multiplier,))

    def call(self, inputs: Tensor) -> Tensor:
        return self._finish(
            ops.depthwise_conv2d(
                inputs, self.depthwise_kernel, self.bias, self.strides, self.padding, self.dilation_rate,
                self.data_format,
            )
        )  # fmt: skip

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = input_shape[self._channel_axis]
        filters = None if channels is None else channels * self.depth_multiplier
        return self._layout(input_shape[0], *self._output_size(self._size(input_shape)), filters)


class SeparableConv2D(WindowLayer):
    """A depthwise convolution (every channel by itself), then a 1x1 convolution across channels.

    Parameters
    ----------
    filters : int
        Number of output channels.
    kernel_size, strides, padding, data_format, dilation_rate
        As for :class:`Conv2D`.
    depth_multiplier : int
        Windows per input channel.
    activation, use_bias, depthwise_initializer, pointwise_initializer, bias_initializer, ...
        As for :class:`Dense`.

    Inputs: (N, H, W, C). Outputs: (N, OH, OW, filters).
    Weights: depthwise_kernel (KH, KW, C, M), pointwise_kernel (1, 1, C * M, filters), bias (filters,).

    Source: F. Chollet, "Xception", arXiv 1610.02357.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> layer = tc.layers.SeparableConv2D(256, 3, use_bias=False)
    >>> layer(np.zeros((1, 8, 8, 256))).shape, layer.count_params()
    ((1, 6, 6, 256), 67840)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, dilation_rate, data_format=data_format, activation=activation,
            use_bias=use_bias, bias_initializer=bias_initializer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, bias_constraint=bias_constraint, **options,
        )  # fmt: skip
        self.filters = as_count(filters, "filters")
        self.depth_multiplier = as_count(depth_multiplier, "depth_multiplier")
        self._describe("depthwise", depthwise_initializer, depthwise_regularizer, depthwise_constraint)
        self._describe("pointwise", pointwise_initializer, pointwise_regularizer, pointwise_constraint)

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.depthwise_kernel = self._make("depthwise", shape, "depthwise_kernel")
        shape = (1, 1, channels * self.depth_multiplier, self.filters)
        self.pointwise_kernel = self._make("pointwise", shape, "pointwise_kernel")
        self._make_bias((self.filters,))

    def call(self, inputs: Tensor) -> Tensor:
        return self._finish(
            ops.separable_conv2d(
                inputs, self.depthwise_kernel, self.pointwise_kernel, self.bias, self.strides, self.padding,
                self.dilation_rate, self.data_format,
            )
        )  # fmt: skip

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._layout(input_shape[0], *self._output_size(self._size(input_shape)), self.filters)


class Conv2DTranspose(WindowLayer):
    """Transposed 2-D convolution: the adjoint of :class:`Conv2D`, which grows images by the strides.

    Parameters
    ----------
    filters, kernel_size, strides, data_format, dilation_rate
        As for :class:`Conv2D`; strides multiply the size of the image.
    padding : str, int, (int, int) or ((int, int), (int, int))
        What the adjoint convolution pads: ``"same"`` gives size times stride, ``"valid"`` size * stride +
        max(kernel - stride, 0), numbers (size - 1) * stride + kernel - padding.
    output_padding : int or (int, int), optional
        Cells added at the end; smaller than the strides.
    activation, use_bias, kernel_initializer, bias_initializer, ...
        As for :class:`Dense`.

    Inputs: (N, H, W, C). Outputs: (N, OH, OW, filters).
    Weights: kernel (KH, KW, filters, C), bias (filters,).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Conv2DTranspose(8, 3, strides=2, padding="same")(np.zeros((1, 7, 7, 16))).shape
    (1, 14, 14, 8)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, dilation_rate, data_format=data_format, activation=activation,
            use_bias=use_bias, bias_initializer=bias_initializer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, bias_constraint=bias_constraint, **options,
        )  # fmt: skip
        self._describe("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.filters = as_count(filters, "filters")
        self.output_padding = None if output_padding is None else as_tuple(output_padding, "output_padding", minimum=0)

    def build(self, input_shape: Shape) -> None:
        self.kernel = self._make("kernel", (*self.kernel_size, self.filters, self._channels(input_shape)))
        self._make_bias((self.filters,))

    def call(self, inputs: Tensor) -> Tensor:
        return self._finish(
            ops.conv2d_transpose(
                inputs, self.kernel, self.bias, self.strides, self.padding, self.output_padding, self.dilation_rate,
                self.data_format,
            )
        )  # fmt: skip

    def _output_size(self, size: Shape, strict: bool = False) -> Shape:
        def f(known: Sequence[int]) -> Sequence[int]:
            return make_transposed_window(
                known, self.kernel_size, self.strides, self.padding, self.dilation_rate, self.output_padding
            )[1]

        return map_sizes(f, size, [1000, 1000])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._layout(input_shape[0], *self._output_size(self._size(input_shape)), self.filters)


class LocallyConnected2D(WindowLayer):
    """Like :class:`Conv2D`, but every position of the window has weights of its own.

    Parameters
    ----------
    filters, kernel_size, strides, padding, data_format, activation, use_bias, kernel_initializer, ...
        As for :class:`Conv2D`.

    Inputs: (N, H, W, C). Outputs: (N, OH, OW, filters).
    Weights: kernel (OH * OW, KH * KW * C, filters), bias (OH, OW, filters), as in Keras 2.

    Raises
    ------
    ValueError
        For images of unknown size, or of another size than the weights were built for.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> layer = tc.layers.LocallyConnected2D(8, 3)
    >>> layer(np.zeros((1, 5, 5, 2))).shape, layer.count_params()
    ((1, 3, 3, 8), 1368)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format=data_format, activation=activation, use_bias=use_bias,
            bias_initializer=bias_initializer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, bias_constraint=bias_constraint, **options,
        )  # fmt: skip
        self._describe("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.filters = as_count(filters, "filters")

    def check_input(self, input_shape: Shape) -> None:
        super().check_input(input_shape)
        if self.built and self._size(input_shape) != self._built_size:
            raise ValueError(f"was built for images of size {self._built_size}. Received: shape {input_shape}")

    def build(self, input_shape: Shape) -> None:
        self._built_size = self._size(input_shape)
        oh, ow = self._output_size(self._built_size)
        if oh is None or ow is None:
            raise ValueError(f"the image size must be known. Received: shape {input_shape}")
        cells = self.kernel_size[0] * self.kernel_size[1]
        self.kernel: Parameter = self._make("kernel", (oh * ow, cells * self._channels(input_shape), self.filters))
        self._make_bias((oh, ow, self.filters))

    def call(self, inputs: Tensor) -> Tensor:
        x = ops.transpose(inputs, (0, 2, 3, 1)) if self.data_format == "channels_first" else inputs
        (kh, kw), channels = self.kernel_size, x.shape[3]
        # One depthwise filter per cell of the window copies that cell: (N, OH, OW, C, KH*KW) are the patches.
        pick = np.eye(kh * kw, dtype=x.dtype).reshape(kh, kw, 1, kh * kw).repeat(channels, axis=2)
        cells = ops.depthwise_conv2d(x, pick, None, self.strides, self.padding, data_format="channels_last")
        n, oh, ow, _ = cells.shape
        patches = ops.reshape(cells, (n, oh * ow, channels, kh * kw))
        kernel = ops.reshape(self.kernel, (oh * ow, kh * kw, channels, self.filters))
        y = ops.reshape(ops.einsum("npck,pkco->npo", patches, kernel), (n, oh, ow, self.filters))
        y = y if self.bias is None else y + self.bias
        return self._finish(ops.transpose(y, (0, 3, 1, 2)) if self.data_format == "channels_first" else y)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._layout(input_shape[0], *self._output_size(self._size(input_shape)), self.filters)


def _padding_of_row(padding: Any, reach: int) -> Any:
    """Padding of a sequence as that of an image of height 1."""
    if padding == "causal":
        return (0, 0), (reach, 0)
    if isinstance(padding, str):
        as_padding(padding)
        return padding
    lo, hi = as_tuple(padding, "padding", minimum=0)
    return (0, 0), (lo, hi)
