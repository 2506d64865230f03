"""MobileNet: depthwise convolutions, each followed by a 1x1 convolution."""

from __future__ import annotations

from typing import Any

from tinyconv.applications.common import Options, batch_norm, named_height, published_size
from tinyconv.applications.imagenet_utils import decode_predictions
from tinyconv.applications.imagenet_utils import preprocess_tf as preprocess_input
from tinyconv.layers import (
    Activation,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    ReLU,
    Reshape,
    ZeroPadding2D,
)
from tinyconv.models import Functional

__all__ = ["MobileNet", "decode_predictions", "preprocess_input"]

# Filters and strides of the 13 blocks.
_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
_PUBLISHED = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}  # alphas of which there are weights


def MobileNet(
    input_shape: Any = None,
    alpha: float = 1.0,
    depth_multiplier: int = 1,
    dropout: float = 1e-3,
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str | None = None,
) -> Functional:
    """Thirteen blocks of a depthwise and a 1x1 convolution.

    Parameters
    ----------
    input_shape : tuple of int, optional
        Of one image, at least 32x32. By default 224x224x3; without the classifier any size.
    alpha : float
        Width: factor of the number of filters of every layer. ImageNet weights: 0.25, 0.5, 0.75 or 1.
    depth_multiplier : int
        Windows of the depthwise convolutions per channel. ImageNet weights: 1.
    dropout : float
        Rate of the dropout in the classifier.
    include_top, weights, input_tensor, pooling, classes, classifier_activation, name
        As for :func:`VGG16`. ImageNet weights are published for images of 128, 160, 192 and 224 pixels.

    Returns
    -------
    Functional
        Not compiled. Its layers have Keras's names.

    Source: A. Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications",
    arXiv 1704.04861.

    Examples
    --------
    >>> import tinyconv as tc
    >>> [tc.applications.MobileNet(alpha=alpha, weights=None).count_params() for alpha in (1.0, 0.25)]
    [4253864, 475544]
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be > 0. Received: {alpha!r}")

    def body(x: Any) -> Any:
        x = Conv2D(int(32 * alpha), 3, 2, "same", use_bias=False, name="conv1")(x)
        x = ReLU(6.0, name="conv1_relu")(batch_norm("conv1_bn")(x))
        for block, (filters, strides) in enumerate(_BLOCKS, 1):
            x = _block(x, block, int(filters * alpha), strides, depth_multiplier)
        return x

    def classifier(x: Any, options: Options) -> Any:
        x = GlobalAveragePooling2D(keepdims=True, name="global_average_pooling2d")(x)
        x = Dropout(dropout, name="dropout")(x)
        x = Conv2D(options.classes, 1, padding="same", name="conv_preds")(x)
        x = Reshape((options.classes,), name="reshape_2")(x)
        return Activation(options.classifier_activation, name="predictions")(x)

    file = None
    size = published_size(input_shape, input_tensor, (128, 160, 192, 224))
    if weights == "imagenet":
        if alpha not in _PUBLISHED or depth_multiplier != 1:
            raise ValueError(
                f"With weights='imagenet', alpha must be one of {', '.join(map(str, sorted(_PUBLISHED)))} and "
                f"depth_multiplier 1. Received: alpha={alpha}, depth_multiplier={depth_multiplier}"
            )
        file = f"mobilenet_{_PUBLISHED[alpha]}_{size}_tf{'' if include_top else '_no_top'}.h5"
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation,
        name or f"mobilenet_{alpha:0.2f}_{named_height(input_shape, include_top, size)}",
    )  # fmt: skip
    return options.build(body, classifier, size=size, smallest=32, file=file)


def _block(x: Any, block: int, filters: int, strides: int, depth_multiplier: int) -> Any:
    padding = "same"
    if strides == 2:
        x, padding = ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{block}")(x), "valid"
    name = f"conv_dw_{block}"
    x = DepthwiseConv2D(3, strides, padding, depth_multiplier, use_bias=False, name=name)(x)
    x = ReLU(6.0, name=f"{name}_relu")(batch_norm(f"{name}_bn")(x))
    name = f"conv_pw_{block}"
    x = Conv2D(filters, 1, padding="same", use_bias=False, name=name)(x)
    return ReLU(6.0, name=f"{name}_relu")(batch_norm(f"{name}_bn")(x))
