"""Layers, with Keras's names; ``get`` and ``deserialize`` make them from names and configurations.

Shorter and older spellings (``MaxPool2D``, ``Convolution2D``, ...) are the same classes.
"""

from __future__ import annotations

from typing import Any

from tinyconv import registry
from tinyconv.layers.activation import ELU, SELU, LeakyReLU, PReLU, ReLU, Softmax
from tinyconv.layers.base import LAYERS, Layer, Parameter, Symbolic
from tinyconv.layers.convolution import (
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    DepthwiseConv2D,
    LocallyConnected2D,
    SeparableConv2D,
)
from tinyconv.layers.core import (
    Activation,
    Dense,
    Embedding,
    Flatten,
    Input,
    InputLayer,
    Lambda,
    Permute,
    RepeatVector,
    Reshape,
)
from tinyconv.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from tinyconv.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    LocalResponseNormalization,
    UnitNormalization,
)
from tinyconv.layers.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    DepthMaxPooling2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    MaxPooling1D,
    MaxPooling2D,
)
from tinyconv.layers.regularization import (
    ActivityRegularization,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout2D,
)
from tinyconv.layers.reshaping import Cropping1D, Cropping2D, UpSampling1D, UpSampling2D, ZeroPadding1D, ZeroPadding2D

AvgPool1D = AveragePooling1D
AvgPool2D = AveragePooling2D
MaxPool1D = MaxPooling1D
MaxPool2D = MaxPooling2D
GlobalAvgPool1D = GlobalAveragePooling1D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalMaxPool1D = GlobalMaxPooling1D
GlobalMaxPool2D = GlobalMaxPooling2D
Convolution1D = Conv1D
Convolution2D = Conv2D
Convolution2DTranspose = Conv2DTranspose
Deconvolution2D = Conv2DTranspose
DepthwiseConvolution2D = DepthwiseConv2D
SeparableConvolution2D = SeparableConv2D

__all__ = [
    "ELU",
    "SELU",
    "Activation",
    "ActivityRegularization",
    "Add",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNormalization",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Convolution1D",
    "Convolution2D",
    "Convolution2DTranspose",
    "Cropping1D",
    "Cropping2D",
    "Deconvolution2D",
    "Dense",
    "DepthMaxPooling2D",
    "DepthwiseConv2D",
    "DepthwiseConvolution2D",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "Input",
    "InputLayer",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "LocalResponseNormalization",
    "LocallyConnected2D",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPooling1D",
    "MaxPooling2D",
    "Maximum",
    "Minimum",
    "Multiply",
    "PReLU",
    "Parameter",
    "Permute",
    "ReLU",
    "RepeatVector",
    "Reshape",
    "SeparableConv2D",
    "SeparableConvolution2D",
    "Softmax",
    "SpatialDropout2D",
    "Subtract",
    "Symbolic",
    "UnitNormalization",
    "UpSampling1D",
    "UpSampling2D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "add",
    "average",
    "concatenate",
    "deserialize",
    "dot",
    "get",
    "maximum",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
]  # fmt: skip


def get(identifier: Any) -> Layer:
    """The layer that ``identifier`` means: a configuration, a class, a name (for layers without required arguments).

    Raises
    ------
    ValueError
        For an unknown name; the message lists names that look alike.

    Examples
    --------
    >>> get({"class_name": "Dense", "config": {"units": 3, "name": "top"}})
    Dense(units=3, name='top')
    """
    return LAYERS.get(identifier)


deserialize = get


def serialize(layer: Layer) -> dict[str, Any]:
    """Class name and configuration of a layer as plain data, from which :func:`deserialize` makes an equal one.

    Examples
    --------
    >>> serialize(Flatten(name="flat"))["class_name"]
    'Flatten'
    """
    return registry.serialize(layer)


for _name in __all__:
    _layer = globals()[_name]
    if isinstance(_layer, type) and issubclass(_layer, Layer) and _layer is not Layer:
        LAYERS.register(_name)(_layer)
