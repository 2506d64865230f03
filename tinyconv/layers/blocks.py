"""Blocks: the units that deep networks repeat, each a layer made of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyconv import initializers, ops, regularizers
from tinyconv.layers.base import Layer, Shape, activation_of
from tinyconv.layers.convolution import Conv2D
from tinyconv.layers.core import Dense
from tinyconv.layers.images import ImageLayer, as_count, as_tuple
from tinyconv.layers.normalization import BatchNormalization
from tinyconv.layers.pooling import MaxPooling2D
from tinyconv.tensor import Tensor


class Block(ImageLayer):
    """What blocks share: their layers have the block's settings, and are built with it."""

    def _convolution(self, name: str, filters: int, kernel_size: int, strides: Any = 1, **options: Any) -> Conv2D:
        return Conv2D(
            filters, kernel_size, strides, "same", self.data_format, name=name, **self._settings(), **options
        )

    def _settings(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "trainable": self.trainable}

    @staticmethod
    def _through(layers: Sequence[Layer], shape: Shape) -> Shape:
        """Build layers one after the other; the shape that comes out."""
        for layer in layers:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        return shape


class ResidualUnit(Block):
    """Two 3x3 convolutions whose result is added to the unit's own inputs: it learns the difference.

    Each convolution, without bias, is followed by batch normalisation. Where the shape changes, a 1x1 convolution and
    batch normalisation lead the inputs to the sum; the activation follows the sum.

    Parameters
    ----------
    filters : int
        Number of output channels.
    strides : int or (int, int)
        Of the first convolution, and of the 1x1 convolution.
    activation : str or callable
        After the first normalisation and after the sum.
    kernel_initializer, kernel_regularizer : str or object
        Of all convolutions.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: (N, OH, OW, filters), OH and OW being H and W over the strides, rounded up.
    Weights: those of conv1, bn1, conv2, bn2, and where the shape changes of skip_conv and skip_bn.

    Source: K. He et al., "Deep residual learning for image recognition", arXiv 1512.03385.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> unit = tc.layers.ResidualUnit(128, strides=2)
    >>> unit(np.zeros((1, 8, 8, 64))).shape, unit.count_params()
    ((1, 4, 4, 128), 230912)
    """

    def __init__(
        self,
        filters: int,
        strides: Any = 1,
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(data_format, **options)
        self.filters, self.strides = as_count(filters, "filters"), as_tuple(strides, "strides")
        self.activation = activation_of(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.conv1, self.bn1 = self._convolve("conv1", 3, self.strides), self._normalize("bn1")
        self.conv2, self.bn2 = self._convolve("conv2", 3, 1), self._normalize("bn2")
        self.skip: list[Layer] = []

    def _convolve(self, name: str, kernel_size: int, strides: Any) -> Conv2D:
        return self._convolution(
            name, self.filters, kernel_size, strides, use_bias=False, kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self.kernel_regularizer,
        )  # fmt: skip

    def _normalize(self, name: str) -> BatchNormalization:
        axis = 1 if self.data_format == "channels_first" else -1
        return BatchNormalization(axis, name=name, **self._settings())

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape)
        self._through([self.conv1, self.bn1, self.conv2, self.bn2], input_shape)
        if channels != self.filters or self.strides != (1, 1):
            self.skip = [self._convolve("skip_conv", 1, self.strides), self._normalize("skip_bn")]
            self._through(self.skip, input_shape)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        y = self.activation(self.bn1(self.conv1(inputs), training=training))
        y = self.bn2(self.conv2(y), training=training)
        for layer in self.skip:
            inputs = layer(inputs, training=training)
        return self.activation(y + inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.conv1.compute_output_shape(input_shape)


class SqueezeExcite(Block):
    """Scale every map by a number in (0, 1) that a small network finds from the means of all maps.

    Parameters
    ----------
    ratio : int
        The network's hidden layer has C // ratio units, at least one.
    activation : str or callable
        Of the hidden layer.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: the same shape.
    Weights: those of the dense layers squeeze (C, C // ratio) and excite (C // ratio, C), with biases.

    Source: J. Hu et al., "Squeeze-and-excitation networks", arXiv 1709.01507.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> block = tc.layers.SqueezeExcite()
    >>> block(np.zeros((1, 8, 8, 256))).shape, block.count_params()
    ((1, 8, 8, 256), 8464)
    """

    def __init__(
        self, ratio: int = 16, activation: Any = "relu", data_format: str | None = None, **options: Any
    ) -> None:
        super().__init__(data_format, **options)
        self.ratio, self.activation = as_count(ratio, "ratio"), activation_of(activation)

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape)
        hidden = max(1, channels // self.ratio)
        self.squeeze = Dense(hidden, self.activation, name="squeeze", **self._settings())
        self.excite = Dense(channels, "sigmoid", name="excite", **self._settings())
        self._through([self.squeeze, self.excite], (None, channels))

    def call(self, inputs: Tensor) -> Tensor:
        scales = self.excite(self.squeeze(ops.mean(inputs, self._spatial_axes)))  # (N, C)
        return inputs * ops.reshape(scales, self._layout(len(inputs), 1, 1, scales.shape[1]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class InceptionModule(Block):
    """Four branches side by side, joined along the channels: 1x1, 1x1 then 3x3, 1x1 then 5x5, pooling then 1x1.

    Parameters
    ----------
    filters : sequence of six int
        Of the convolutions 1x1; 1x1 before 3x3, 3x3; 1x1 before 5x5, 5x5; 1x1 after the 3x3 maximum pooling.
    activation : str or callable
        Of all convolutions.
    kernel_initializer, kernel_regularizer : str or object
        Of all convolutions.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: (N, H, W, sum of the branches' filters).
    Weights: those of conv1, reduce3, conv3, reduce5, conv5, project, with biases.

    Source: C. Szegedy et al., "Going deeper with convolutions", arXiv 1409.4842.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> block = tc.layers.InceptionModule((64, 96, 128, 16, 32, 32))
    >>> block(np.zeros((1, 8, 8, 192))).shape, block.count_params()
    ((1, 8, 8, 256), 163696)
    """

    def __init__(
        self,
        filters: Sequence[int],
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(data_format, **options)
        if not isinstance(filters, Sequence) or len(filters) != 6:
            raise ValueError(f"filters must be six integers, one for each convolution. Received: {filters!r}")
        self.filters = tuple(as_count(n, "filters") for n in filters)
        self.activation = activation_of(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        shared = {
            "activation": self.activation, "kernel_initializer": self.kernel_initializer,
            "kernel_regularizer": self.kernel_regularizer,
        }  # fmt: skip
        names = ("conv1", 1), ("reduce3", 1), ("conv3", 3), ("reduce5", 1), ("conv5", 5), ("project", 1)
        convolutions = [
            self._convolution(name, n, size, **shared) for (name, size), n in zip(names, self.filters, strict=True)
        ]
        one, reduce3, three, reduce5, five, project = convolutions
        pool = MaxPooling2D(3, 1, "same", self.data_format, name="pool", dtype=self.dtype)
        self.branches: list[list[Layer]] = [[one], [reduce3, three], [reduce5, five], [pool, project]]

    def build(self, input_shape: Shape) -> None:
        self._channels(input_shape)
        for branch in self.branches:
            self._through(branch, input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        outputs = []
        for branch in self.branches:
            y = inputs
            for layer in branch:
                y = layer(y)
            outputs.append(y)
        return ops.concatenate(outputs, self._channel_axis)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        one, _, three, _, five, project = self.filters
        return self._layout(input_shape[0], *self._size(input_shape), one + three + five + project)
