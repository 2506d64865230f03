"""GoogLeNet (Inception v1): modules of four parallel branches."""

from __future__ import annotations

from typing import Any

from tinyconv.applications.common import Options, channel_axis
from tinyconv.applications.imagenet_utils import decode_predictions
from tinyconv.applications.imagenet_utils import preprocess_caffe as preprocess_input
from tinyconv.layers import (
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    InceptionModule,
    LocalResponseNormalization,
    MaxPooling2D,
    SqueezeExcite,
)
from tinyconv.models import Functional

__all__ = ["AUXILIARY_WEIGHT", "GoogLeNet", "decode_predictions", "preprocess_input"]

AUXILIARY_WEIGHT = 0.3  # of an auxiliary classifier's loss

# Filters of the convolutions 1x1; 1x1 and 3x3; 1x1 and 5x5; 1x1 after pooling.
_MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def GoogLeNet(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "googlenet",
    auxiliary: bool = False,
    squeeze_excite: bool = False,
) -> Functional:
    """Nine inception modules, whose convolutions of 1x1, 3x3 and 5x5 and pooling stand side by side.

    One convolution and four poolings halve the maps, from 224 to 7 pixels: not five poolings, as a textbook counts. The
    largest kernels are 5x5 as published, where torchvision has 3x3.

    Parameters
    ----------
    include_top, weights, input_tensor, pooling, classes, classifier_activation, name
        As for :func:`VGG16`; no file of weights is published in Keras's formats.
    input_shape : tuple of int, optional
        Of one image, at least 32x32, and 65x65 with auxiliary classifiers. By default 224x224x3.
    auxiliary : bool
        Whether there are two more classifiers, on modules 4a and 4d, which send gradients to the early layers. The
        model then has three outputs: ``"predictions"``, ``"auxiliary1"`` and ``"auxiliary2"``. Compile it with
        ``loss_weights=[1, 0.3, 0.3]``; what is trained can be loaded ``by_name`` into the network without them.
    squeeze_excite : bool
        Whether :class:`~tinyconv.layers.SqueezeExcite` follows every module: SE-Inception.

    Returns
    -------
    Functional
        Not compiled.

    Source: C. Szegedy et al., "Going deeper with convolutions", arXiv 1409.4842.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.applications.GoogLeNet().count_params()
    6998552
    >>> tc.applications.GoogLeNet(classes=10, auxiliary=True).output_shape
    [(None, 10), (None, 10), (None, 10)]
    """
    if auxiliary and not include_top:
        raise ValueError("auxiliary classifiers need include_top=True. Received: include_top=False")
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    early: list[Any] = []  # what auxiliary classifiers get

    def body(x: Any) -> Any:
        x = Conv2D(64, 7, 2, "same", activation="relu", name="conv1")(x)
        x = _normalized(_pooled(x, 1), 1)
        x = Conv2D(64, 1, activation="relu", name="conv2_reduce")(x)
        x = Conv2D(192, 3, padding="same", activation="relu", name="conv2")(x)
        x = _pooled(_normalized(x, 2), 2)
        for module, filters in _MODULES.items():
            if module in ("4a", "5a"):
                x = _pooled(x, int(module[0]) - 1)
            x = InceptionModule(filters, name=f"inception_{module}")(x)
            if squeeze_excite:
                x = SqueezeExcite(name=f"inception_{module}_se")(x)
            if module in ("4a", "4d"):
                early.append(x)
        return x

    def classifier(x: Any, options: Options) -> Any:
        x = GlobalAveragePooling2D(name="avg_pool")(x)
        x = Dropout(0.4, name="dropout")(x)
        outputs = Dense(options.classes, options.classifier_activation, name="predictions")(x)
        if not auxiliary:
            return outputs
        return [outputs, *(_auxiliary(x, number, options) for number, x in enumerate(early, 1))]

    smallest = 65 if auxiliary else 32
    return options.build(body, classifier, size=224, smallest=smallest, fixed_size=auxiliary)


def _normalized(x: Any, number: int) -> Any:
    """Local response normalisation of 5 channels: alpha of 1e-4 for the sum of 5 squares is 2e-5 for each."""
    norm = LocalResponseNormalization(2, bias=1.0, alpha=2e-5, beta=0.75, axis=channel_axis(), name=f"norm{number}")
    return norm(x)


def _pooled(x: Any, number: int) -> Any:
    return MaxPooling2D(3, 2, "same", name=f"pool{number}")(x)


def _auxiliary(x: Any, number: int, options: Options) -> Any:
    name = f"auxiliary{number}"
    x = AveragePooling2D(5, 3, name=f"{name}_pool")(x)
    x = Conv2D(128, 1, activation="relu", name=f"{name}_conv")(x)
    x = Flatten(name=f"{name}_flatten")(x)
    x = Dense(1024, "relu", name=f"{name}_fc")(x)
    x = Dropout(0.7, name=f"{name}_dropout")(x)
    return Dense(options.classes, options.classifier_activation, name=name)(x)
