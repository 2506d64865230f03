"""Convolution layers.

Letters: ``N`` batch, ``D H W`` depth, height and width, ``C`` input channels, ``O`` filters, ``KD KH KW`` kernel,
``G`` groups. Kernels have Keras's layout in both data formats. Shapes below are for ``channels_last``;
``channels_first`` has the channels as axis 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.geometry import make_transposed_window, make_window
from tinyconv.layers.base import Shape
from tinyconv.layers.core import Affine
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


class WindowLayer(Affine, ImageLayer):
    """A layer with weights that slides a window over images, sequences or volumes: ``axes`` says which.

    Sequences are images of height 1: what computes with images gets them, their kernels and settings lifted.
    """

    causal = False  # whether there is padding="causal"
    filters: int
    strict = False

    def __init__(
        self, kernel_size: Any, strides: Any = 1, padding: Any = "valid", dilation_rate: Any = 1, **options: Any
    ) -> None:
        super().__init__(**options)
        rank = len(self.axes)
        self.kernel_size = as_tuple(kernel_size, "kernel_size", rank)
        self.strides = as_tuple(strides, "strides", rank)
        self.dilation_rate = as_tuple(dilation_rate, "dilation_rate", rank)
        is_causal = self.causal and isinstance(padding, str) and padding.lower() == "causal"
        self.padding = "causal" if is_causal else as_padding(padding, rank)

    @property
    def _is_row(self) -> bool:
        return len(self.axes) == 1

    def _lift(self, inputs: Tensor) -> Tensor:
        return ops.expand_dims(inputs, self._spatial_axes[0]) if self._is_row else inputs

    def _lower(self, outputs: Tensor) -> Tensor:
        return ops.squeeze(outputs, self._spatial_axes[0]) if self._is_row else outputs

    def _lifted(self, kernel: Tensor) -> Tensor:
        return ops.expand_dims(kernel, 0) if self._is_row else kernel

    def _lifted_padding(self) -> Any:
        if not self._is_row:
            return self.padding
        return padding_of_row(self.padding, self.dilation_rate[0] * (self.kernel_size[0] - 1))

    def _slide(self, operation: Callable[..., Tensor], inputs: Tensor, *kernels: Tensor, **settings: Any) -> Tensor:
        """``operation`` on lifted inputs and kernels, lowered, and the activation."""
        y = operation(self._lift(inputs), *map(self._lifted, kernels), self.bias, **self._geometry(), **settings)
        return self._finish(self._lower(y))

    def _geometry(self) -> dict[str, Any]:
        """Strides, padding and dilations of the operation on lifted inputs."""
        one = (1,) if self._is_row else ()
        return {
            "strides": (*one, *self.strides), "padding": self._lifted_padding(),
            "dilations": (*one, *self.dilation_rate), "data_format": self.data_format,
        }  # fmt: skip

    def _output_size(self, size: Shape) -> Shape:
        """Sizes of the result for those of the input, ``None`` where unknown."""
        strict = self.strict and None not in size

        def make(padding: Any, size: Any, kernel: Any, strides: Any, dilations: Any) -> Sequence[int]:
            return make_window(size, kernel, strides, padding, dilations, strict).output_size(size)

        def f(known: tuple[int, ...]) -> Sequence[int]:
            settings = known, self.kernel_size, self.strides, self.dilation_rate
            return output_sizes(make, self._lifted_padding(), *((values, 1) for values in settings))

        # A window of kernel times dilation cells always fits: it stands for sizes that are not known.
        return map_sizes(f, size, [k * d for k, d in zip(self.kernel_size, self.dilation_rate, strict=True)])

    def _output_channels(self, channels: int | None) -> int | None:
        return self.filters

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = self._output_channels(input_shape[self._channel_axis])
        return self._layout(input_shape[0], *self._output_size(self._size(input_shape)), channels)


class Convolution(WindowLayer):
    """What Conv1D, Conv2D and Conv3D share."""

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

    def call(self, inputs: Tensor) -> Tensor:
        convolve = ops.conv3d if len(self.axes) == 3 else ops.conv2d
        return self._slide(convolve, inputs, self.kernel, groups=self.groups, strict=self.strict)


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

    causal = True


class Conv3D(Convolution):
    """3-D convolution: every filter is a window that slides over the volume and gives one channel of the result.

    Parameters
    ----------
    filters : int
        Number of output channels.
    kernel_size, strides, dilation_rate : int or (int, int, int)
        Depth, height and width of the window; its step; distance between its cells.
    padding : str, int, (int, int, int) or three pairs
        ``"valid"``, ``"same"``, ``"same_lower"``, or zeros on all sides, per axis, or (before, after) per axis.
    data_format, groups, activation, use_bias, kernel_initializer, ..., strict
        As for :class:`Conv2D`.

    Inputs: (N, D, H, W, C). Outputs: (N, OD, OH, OW, filters).
    Weights: kernel (KD, KH, KW, C / groups, filters), bias (filters,).

    Source: S. Ji et al., "3D convolutional neural networks for human action recognition", 2013.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> layer = tc.layers.Conv3D(8, 3, strides=(1, 2, 2), padding="same")
    >>> layer(np.zeros((1, 4, 6, 6, 2))).shape, layer.count_params()
    ((1, 4, 3, 3, 8), 440)
    """

    axes = ("depth", "height", "width")


class DepthwiseConvolution(WindowLayer):
    """What depthwise convolutions share."""

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
        return self._slide(ops.depthwise_conv2d, inputs, self.depthwise_kernel)

    def _output_channels(self, channels: int | None) -> int | None:
        return None if channels is None else channels * self.depth_multiplier


class DepthwiseConv2D(DepthwiseConvolution):
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


class DepthwiseConv1D(DepthwiseConvolution):
    """Convolve every channel of sequences with windows of its own.

    Parameters
    ----------
    kernel_size, strides, padding, data_format, dilation_rate
        As for :class:`Conv1D`.
    depth_multiplier, activation, use_bias, depthwise_initializer, bias_initializer, ...
        As for :class:`DepthwiseConv2D`.

    Inputs: (N, length, C). Outputs: (N, new length, C * depth_multiplier).
    Weights: depthwise_kernel (K, C, depth_multiplier), bias (C * depth_multiplier,).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.DepthwiseConv1D(3, depth_multiplier=2, padding="causal")(np.zeros((1, 8, 5))).shape
    (1, 8, 10)
    """

    axes = ("length",)
    causal = True


class SeparableConvolution(WindowLayer):
    """What separable convolutions share."""

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
        shape = (*(1 for _ in self.axes), channels * self.depth_multiplier, self.filters)
        self.pointwise_kernel = self._make("pointwise", shape, "pointwise_kernel")
        self._make_bias((self.filters,))

    def call(self, inputs: Tensor) -> Tensor:
        return self._slide(ops.separable_conv2d, inputs, self.depthwise_kernel, self.pointwise_kernel)


class SeparableConv2D(SeparableConvolution):
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


class SeparableConv1D(SeparableConvolution):
    """A depthwise convolution of sequences, then a convolution of width 1 across channels.

    Parameters
    ----------
    filters, kernel_size, strides, padding, data_format, dilation_rate
        As for :class:`Conv1D`.
    depth_multiplier, activation, use_bias, depthwise_initializer, pointwise_initializer, bias_initializer, ...
        As for :class:`SeparableConv2D`.

    Inputs: (N, length, C). Outputs: (N, new length, filters).
    Weights: depthwise_kernel (K, C, M), pointwise_kernel (1, C * M, filters), bias (filters,).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> layer = tc.layers.SeparableConv1D(16, 3)
    >>> layer(np.zeros((1, 8, 4))).shape, [w.shape for w in layer.weights]
    ((1, 6, 16), [(3, 4, 1), (1, 4, 16), (16,)])
    """

    axes = ("length",)
    causal = True


class TransposedConvolution(WindowLayer):
    """What transposed convolutions share."""

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
        self.output_padding = (
            None if output_padding is None else as_tuple(output_padding, "output_padding", len(self.axes), 0)
        )

    def build(self, input_shape: Shape) -> None:
        self.kernel = self._make("kernel", (*self.kernel_size, self.filters, self._channels(input_shape)))
        self._make_bias((self.filters,))

    def call(self, inputs: Tensor) -> Tensor:
        extra = self.output_padding
        convolve = ops.conv3d_transpose if len(self.axes) == 3 else ops.conv2d_transpose
        return self._slide(
            convolve, inputs, self.kernel, output_padding=(0, *extra) if extra and self._is_row else extra
        )

    def _output_size(self, size: Shape) -> Shape:
        def make(padding: Any, size: Any, kernel: Any, strides: Any, dilations: Any, extra: Any) -> Sequence[int]:
            return make_transposed_window(size, kernel, strides, padding, dilations, extra)[1]

        def f(known: Sequence[int]) -> Sequence[int]:
            settings = known, self.kernel_size, self.strides, self.dilation_rate
            return output_sizes(
                make, self._lifted_padding(), *((values, 1) for values in settings), (self.output_padding, 0)
            )

        return map_sizes(f, size, [1000] * len(size))


class Conv2DTranspose(TransposedConvolution):
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


class Conv1DTranspose(TransposedConvolution):
    """Transposed 1-D convolution: the adjoint of :class:`Conv1D`, which makes sequences longer by the strides.

    Parameters
    ----------
    filters, kernel_size, strides, output_padding, data_format, dilation_rate
        As for :class:`Conv2DTranspose`, each an integer.
    padding : str, int or (int, int)
        As for :class:`Conv2DTranspose`, on (start, end).
    activation, use_bias, kernel_initializer, bias_initializer, ...
        As for :class:`Dense`.

    Inputs: (N, length, C). Outputs: (N, new length, filters).
    Weights: kernel (K, filters, C), bias (filters,).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Conv1DTranspose(8, 3, strides=2, padding="same")(np.zeros((1, 7, 16))).shape
    (1, 14, 8)
    """

    axes = ("length",)


class Conv3DTranspose(TransposedConvolution):
    """Transposed 3-D convolution: the adjoint of :class:`Conv3D`, which grows volumes by the strides.

    Parameters
    ----------
    filters, kernel_size, strides, padding, data_format, dilation_rate
        As for :class:`Conv3D`; sizes as for :class:`Conv2DTranspose`.
    output_padding : int or (int, int, int), optional
        Cells added at the end; smaller than the strides.
    activation, use_bias, kernel_initializer, bias_initializer, ...
        As for :class:`Dense`.

    Inputs: (N, D, H, W, C). Outputs: (N, OD, OH, OW, filters).
    Weights: kernel (KD, KH, KW, filters, C), bias (filters,).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Conv3DTranspose(8, 3, strides=2, padding="same")(np.zeros((1, 2, 3, 3, 16))).shape
    (1, 4, 6, 6, 8)
    """

    axes = ("depth", "height", "width")


class LocallyConnected(WindowLayer):
    """What locally connected layers share."""

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
            raise ValueError(f"was built for inputs of size {self._built_size}. Received: shape {input_shape}")

    def build(self, input_shape: Shape) -> None:
        self._built_size = self._size(input_shape)
        places = self._output_size(self._built_size)
        if None in places:
            size = "length" if self._is_row else "image size"
            raise ValueError(f"the {size} must be known. Received: shape {input_shape}")
        cells = math.prod(self.kernel_size) * self._channels(input_shape)
        self.kernel = self._make("kernel", (math.prod(places), cells, self.filters))  # type: ignore[arg-type]
        self._make_bias((*places, self.filters))  # type: ignore[arg-type]

    def call(self, inputs: Tensor) -> Tensor:
        x = self._lift(inputs)
        x = ops.transpose(x, (0, 2, 3, 1)) if self.data_format == "channels_first" else x
        kernel_size, channels = self.kernel_size, x.shape[3]
        kh, kw = (1, *kernel_size) if self._is_row else kernel_size
        # One depthwise filter per cell of the window copies that cell: (N, OH, OW, C, KH*KW) are the patches.
        pick = np.eye(kh * kw, dtype=x.dtype).reshape(kh, kw, 1, kh * kw).repeat(channels, axis=2)
        cells = ops.depthwise_conv2d(x, pick, None, **{**self._geometry(), "data_format": "channels_last"})
        n, oh, ow, _ = cells.shape
        patches = ops.reshape(cells, (n, oh * ow, channels, kh * kw))
        kernel = ops.reshape(self.kernel, (oh * ow, kh * kw, channels, self.filters))
        y = ops.reshape(ops.einsum("npck,pkco->npo", patches, kernel), (n, oh, ow, self.filters))
        y = y if self.bias is None else y + self.bias
        y = ops.transpose(y, (0, 3, 1, 2)) if self.data_format == "channels_first" else y
        return self._finish(self._lower(y))


class LocallyConnected2D(LocallyConnected):
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


class LocallyConnected1D(LocallyConnected):
    """Like :class:`Conv1D`, but every position of the window has weights of its own.

    Parameters
    ----------
    filters, kernel_size, strides, padding, data_format, activation, use_bias, kernel_initializer, ...
        As for :class:`Conv1D`, without ``padding="causal"``.

    Inputs: (N, length, C). Outputs: (N, new length, filters).
    Weights: kernel (new length, K * C, filters), bias (new length, filters), as in Keras 2.

    Raises
    ------
    ValueError
        For sequences of unknown length, or of another length than the weights were built for.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> layer = tc.layers.LocallyConnected1D(8, 3)
    >>> layer(np.zeros((1, 5, 2))).shape, layer.count_params()
    ((1, 3, 8), 168)
    """

    axes = ("length",)
