"""MobileNet v2: blocks that widen, convolve depthwise, and narrow again, added to their inputs where shapes agree."""

from __future__ import annotations

from typing import Any

from tinyconv.applications.common import Options, batch_norm, channel_axis, image_size, named_height, published_size
from tinyconv.applications.imagenet_utils import decode_predictions
from tinyconv.applications.imagenet_utils import preprocess_tf as preprocess_input
from tinyconv.layers import Add, Conv2D, Dense, DepthwiseConv2D, GlobalAveragePooling2D, ReLU, ZeroPadding2D
from tinyconv.models import Functional

__all__ = ["MobileNetV2", "decode_predictions", "preprocess_input"]

# Filters, strides of the first block, number of blocks.
_STAGES = ((16, 1, 1), (24, 2, 2), (32, 2, 3), (64, 2, 4), (96, 1, 3), (160, 2, 3), (320, 1, 1))
_PUBLISHED = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)  # alphas of which there are weights


def MobileNetV2(
    input_shape: Any = None,
    alpha: float = 1.0,
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str | None = None,
) -> Functional:
    """Seventeen inverted residual blocks, whose narrow ends have no activation.

    Parameters
    ----------
    input_shape : tuple of int, optional
        Of one image, at least 32x32. By default 224x224x3; without the classifier any size.
    alpha : float
        Width: factor of the number of filters, which are rounded to multiples of 8. ImageNet weights: 0.35, 0.5, 0.75,
        1, 1.3 or 1.4.
    include_top, weights, input_tensor, pooling, classes, classifier_activation, name
        As for :func:`VGG16`. ImageNet weights are published for images of 96, 128, 160, 192 and 224 pixels.

    Returns
    -------
    Functional
        Not compiled. Its layers have Keras's names.

    Source: M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", arXiv 1801.04381.

    Examples
    --------
    >>> import tinyconv as tc
    >>> [tc.applications.MobileNetV2(alpha=alpha, weights=None).count_params() for alpha in (1.0, 0.35)]
    [3538984, 1691208]
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be > 0. Received: {alpha!r}")

    def body(x: Any) -> Any:
        x = Conv2D(_rounded(32 * alpha), 3, 2, "same", use_bias=False, name="Conv1")(x)
        x = ReLU(6.0, name="Conv1_relu")(_normalized(x, "bn_Conv1"))
        block = 0
        for filters, first_strides, number in _STAGES:
            for i in range(number):
                x = _block(x, block, _rounded(int(filters * alpha)), first_strides if i == 0 else 1)
                block += 1
        x = Conv2D(_rounded(1280 * max(alpha, 1.0)), 1, use_bias=False, name="Conv_1")(x)
        return ReLU(6.0, name="out_relu")(_normalized(x, "Conv_1_bn"))

    file = None
    size = published_size(input_shape, input_tensor, (96, 128, 160, 192, 224))
    if weights == "imagenet":
        if alpha not in _PUBLISHED:
            raise ValueError(
                f"With weights='imagenet', alpha must be one of {', '.join(map(str, _PUBLISHED))}. Received: {alpha}"
            )
        top = "" if include_top else "_no_top"
        file = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(alpha)}_{size}{top}.h5"
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation,
        name or f"mobilenetv2_{alpha:0.2f}_{named_height(input_shape, include_top, size)}",
    )  # fmt: skip
    return options.build(body, _classifier, size=size, smallest=32, file=file)


def _block(x: Any, block: int, filters: int, strides: int) -> Any:
    """1x1 to six times as many maps (but for the first block), 3x3 depthwise, 1x1 to ``filters`` maps."""
    name = f"block_{block}_" if block else "expanded_conv_"
    inputs, channels = x, x.shape[channel_axis()]
    if block:
        x = Conv2D(6 * channels, 1, padding="same", use_bias=False, name=f"{name}expand")(x)
        x = ReLU(6.0, name=f"{name}expand_relu")(_normalized(x, f"{name}expand_BN"))
    padding = "same"
    if strides == 2:
        x, padding = ZeroPadding2D(_odd_padding(x), name=f"{name}pad")(x), "valid"
    x = DepthwiseConv2D(3, strides, padding, use_bias=False, name=f"{name}depthwise")(x)
    x = ReLU(6.0, name=f"{name}depthwise_relu")(_normalized(x, f"{name}depthwise_BN"))
    x = Conv2D(filters, 1, padding="same", use_bias=False, name=f"{name}project")(x)
    x = _normalized(x, f"{name}project_BN")
    return Add(name=f"{name}add")([inputs, x]) if strides == 1 and channels == filters else x


def _odd_padding(x: Any) -> Any:
    """Padding of a 3x3 window with step 2 as Keras has it: cells before the image only where its size is odd."""
    return tuple((1 if size is None else size % 2, 1) for size in image_size(x.shape))


def _normalized(x: Any, name: str) -> Any:
    return batch_norm(name, epsilon=1e-3, momentum=0.999)(x)


def _rounded(filters: float) -> int:
    """The nearest multiple of 8, at least 8, and not less than nine tenths of ``filters``."""
    nearest = max(8, int(filters + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * filters else nearest


def _classifier(x: Any, options: Options) -> Any:
    x = GlobalAveragePooling2D(name="global_average_pooling2d")(x)
    return Dense(options.classes, options.classifier_activation, name="predictions")(x)
