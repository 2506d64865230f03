"""Xception: separable convolutions throughout, with residual connections."""

from __future__ import annotations

from typing import Any

from tinyconv.applications.common import Options, averaged_classes, batch_norm
from tinyconv.applications.imagenet_utils import decode_predictions
from tinyconv.applications.imagenet_utils import preprocess_tf as preprocess_input
from tinyconv.layers import Activation, Add, Conv2D, MaxPooling2D, SeparableConv2D
from tinyconv.models import Functional

__all__ = ["Xception", "decode_predictions", "preprocess_input"]


def Xception(
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "xception",
) -> Functional:
    """Two convolutions, then 34 separable ones in 13 blocks, all but the last of which are added to their inputs.

    Parameters
    ----------
    include_top, weights, input_tensor, pooling, classes, classifier_activation, name
        As for :func:`VGG16`.
    input_shape : tuple of int, optional
        Of one image, at least 71x71. By default 299x299x3; without the classifier any size.

    Returns
    -------
    Functional
        Not compiled. Its layers are named as in Keras's published files.

    Source: F. Chollet, "Xception: deep learning with depthwise separable convolutions", arXiv 1610.02357.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.Xception(weights=None)
    >>> model.count_params(), model.get_layer("block14_sepconv2_act").output_shape
    (22910480, (None, 10, 10, 2048))
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    file = "xception_weights_tf_dim_ordering_tf_kernels{top}.h5"
    return options.build(_body, averaged_classes, size=299, smallest=71, file=file)


def _body(x: Any) -> Any:
    for number, (filters, strides) in enumerate(((32, 2), (64, 1)), 1):
        name = f"block1_conv{number}"
        x = Conv2D(filters, 3, strides, use_bias=False, name=name)(x)
        x = _relu(batch_norm(f"{name}_bn")(x), name)
    for block, filters in enumerate((128, 256, 728), 2):
        x = _reducing(x, block, filters, filters)
    for block in range(5, 13):
        y = x
        for number in (1, 2, 3):
            y = _separable(_relu(y, f"block{block}_sepconv{number}"), 728, f"block{block}_sepconv{number}")
        x = Add(name=f"add_{block - 1}")([y, x])
    x = _reducing(x, 13, 728, 1024)
    for number, filters in enumerate((1536, 2048), 1):
        name = f"block14_sepconv{number}"
        x = _relu(_separable(x, filters, name), name)
    return x


def _reducing(x: Any, block: int, first: int, second: int) -> Any:
    """Two separable convolutions and pooling, added to a projection of the inputs: half the height and width."""
    place = {2: 1, 3: 2, 4: 3, 13: 4}[block]
    shortcut = Conv2D(second, 1, 2, "same", use_bias=False, name=f"conv2d_{place}")(x)
    shortcut = batch_norm(f"batch_normalization_{place}")(shortcut)
    for number, filters in enumerate((first, second), 1):
        name = f"block{block}_sepconv{number}"
        if (block, number) != (2, 1):  # the first block's inputs went through ReLU already
            x = _relu(x, name)
        x = _separable(x, filters, name)
    x = MaxPooling2D(3, 2, "same", name=f"block{block}_pool")(x)
    return Add(name=f"add_{block - 1}")([x, shortcut])


def _separable(x: Any, filters: int, name: str) -> Any:
    x = SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    return batch_norm(f"{name}_bn")(x)


def _relu(x: Any, name: str) -> Any:
    return Activation("relu", name=f"{name}_act")(x)
