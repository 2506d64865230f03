"""AlexNet, the network that won ImageNet's challenge in 2012."""

from __future__ import annotations

from typing import Any

from tinyconv.applications.common import Options, channel_axis
from tinyconv.applications.imagenet_utils import decode_predictions
from tinyconv.applications.imagenet_utils import preprocess_caffe as preprocess_input
from tinyconv.layers import Conv2D, Dense, Dropout, Flatten, LocalResponseNormalization, MaxPooling2D
from tinyconv.models import Functional

__all__ = ["AlexNet", "decode_predictions", "preprocess_input"]


def AlexNet(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "alexnet",
    groups: int = 1,
) -> Functional:
    """Five convolutions, the first two with local response normalisation, and three dense layers with dropout.

    Pooling follows the first, second and fifth convolution. Without the last of these, as some descriptions have it,
    there would be 202 million parameters, not 62; the 385 filters of the fourth convolution in others are a misprint of
    384. The normalisation has the publication's constants, k = 2 and alpha = 1e-4 over 5 maps, where textbooks have
    others.

    Parameters
    ----------
    include_top, weights, input_tensor, pooling, classes, classifier_activation, name
        As for :func:`VGG16`; no file of weights is published in Keras's formats.
    input_shape : tuple of int, optional
        Of one image, at least 67x67. By default 227x227x3: with the 224 of the publication, steps of 4 would not fit.
    groups : int
        1; or 2 for the second, fourth and fifth convolution in two halves, as the original had them on two devices.

    Returns
    -------
    Functional
        Not compiled.

    Source: A. Krizhevsky, I. Sutskever and G. Hinton, "ImageNet classification with deep convolutional neural
    networks", 2012.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.AlexNet(include_top=False)
    >>> model.count_params(), model.compute_output_shape((None, 227, 227, 3))
    (3747200, (None, 6, 6, 256))
    """
    if groups not in (1, 2):
        raise ValueError(f"groups must be 1 or 2. Received: {groups!r}")

    def body(x: Any) -> Any:
        x = Conv2D(96, 11, 4, activation="relu", name="conv1")(x)
        x = _pooled(_normalized(x, 1), 1)
        x = Conv2D(256, 5, padding="same", groups=groups, activation="relu", name="conv2")(x)
        x = _pooled(_normalized(x, 2), 2)
        x = Conv2D(384, 3, padding="same", activation="relu", name="conv3")(x)
        x = Conv2D(384, 3, padding="same", groups=groups, activation="relu", name="conv4")(x)
        x = Conv2D(256, 3, padding="same", groups=groups, activation="relu", name="conv5")(x)
        return _pooled(x, 5)

    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return options.build(body, _classifier, size=227, smallest=67, fixed_size=True)


def _normalized(x: Any, number: int) -> Any:
    """Local response normalisation with the constants of the publication: n = 5 channels, k = 2."""
    norm = LocalResponseNormalization(2, bias=2.0, alpha=1e-4, beta=0.75, axis=channel_axis(), name=f"norm{number}")
    return norm(x)


def _pooled(x: Any, number: int) -> Any:
    return MaxPooling2D(3, 2, name=f"pool{number}")(x)


def _classifier(x: Any, options: Options) -> Any:
    x = Flatten(name="flatten")(x)
    for number in (6, 7):
        x = Dense(4096, "relu", name=f"fc{number}")(x)
        x = Dropout(0.5, name=f"drop{number}")(x)
    return Dense(options.classes, options.classifier_activation, name="predictions")(x)
