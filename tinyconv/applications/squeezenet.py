"""SqueezeNet: AlexNet's accuracy with a fiftieth of its parameters."""

from __future__ import annotations

from typing import Any

from tinyconv.applications.common import Options, channel_axis
from tinyconv.applications.imagenet_utils import decode_predictions
from tinyconv.applications.imagenet_utils import preprocess_caffe as preprocess_input
from tinyconv.layers import (
    Activation,
    Concatenate,
    Conv2D,
    Dropout,
    GlobalAveragePooling2D,
    MaxPooling2D,
    ZeroPadding2D,
)
from tinyconv.models import Functional

__all__ = ["SqueezeNet", "decode_predictions", "preprocess_input"]

# Filters and size of the first kernel, and the fire modules before which maps are pooled.
_VERSIONS = {"1.0": (96, 7, (2, 5, 9)), "1.1": (64, 3, (2, 4, 6))}
_SQUEEZED = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}  # filters of fire module 2, 3, ...


def SqueezeNet(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "squeezenet",
    version: str = "1.1",
) -> Functional:
    """Eight fire modules: a 1x1 convolution to few maps, then 1x1 and 3x3 convolutions side by side.

    Parameters
    ----------
    include_top, weights, input_tensor, pooling, classes, classifier_activation, name
        As for :func:`VGG16`; no file of weights is published in Keras's formats.
    input_shape : tuple of int, optional
        Of one image, at least 32x32. By default 224x224x3; without the classifier any size.
    version : {"1.0", "1.1"}
        As published; or as the authors improved it: as accurate, with less than half of the computations.

    Returns
    -------
    Functional
        Not compiled.

    Source: F. Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", arXiv 1602.07360.

    Examples
    --------
    >>> import tinyconv as tc
    >>> [tc.applications.SqueezeNet(version=version).count_params() for version in ("1.0", "1.1")]
    [1248424, 1235496]
    """
    if version not in _VERSIONS:
        raise ValueError(f"version must be '1.0' or '1.1'. Received: {version!r}")
    filters, kernel_size, pooled_before = _VERSIONS[version]

    def body(x: Any) -> Any:
        x = Conv2D(filters, kernel_size, 2, activation="relu", name="conv1")(x)
        for module, squeezed in _SQUEEZED.items():
            if module in pooled_before:
                # a zero at the end rounds the size up; maps are at least 0 here, so it does not change the maximum
                x = ZeroPadding2D(((0, 1), (0, 1)), name=f"pool{module - 1}_pad")(x)
                x = MaxPooling2D(3, 2, name=f"pool{module - 1}")(x)
            x = _fire(x, squeezed, 4 * squeezed, f"fire{module}")
        return x

    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return options.build(body, _classifier, size=224, smallest=32)


def _fire(x: Any, squeezed: int, expanded: int, name: str) -> Any:
    x = Conv2D(squeezed, 1, activation="relu", name=f"{name}_squeeze1x1")(x)
    one = Conv2D(expanded, 1, activation="relu", name=f"{name}_expand1x1")(x)
    three = Conv2D(expanded, 3, padding="same", activation="relu", name=f"{name}_expand3x3")(x)
    return Concatenate(channel_axis(), name=f"{name}_concat")([one, three])


def _classifier(x: Any, options: Options) -> Any:
    x = Dropout(0.5, name="drop9")(x)
    x = Conv2D(options.classes, 1, activation="relu", name="conv10")(x)
    x = GlobalAveragePooling2D(name="pool10")(x)
    return Activation(options.classifier_activation, name="predictions")(x)
