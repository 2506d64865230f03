"""Squeeze-and-excitation residual networks: each block weighs its maps before it adds them to its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyconv.applications.common import Options, averaged_classes
from tinyconv.applications.imagenet_utils import decode_predictions
from tinyconv.applications.imagenet_utils import preprocess_caffe as preprocess_input
from tinyconv.applications.resnet import bottleneck_stages
from tinyconv.layers import SqueezeExcite
from tinyconv.models import Functional

__all__ = ["SEResNet50", "SEResNet101", "SEResNet152", "decode_predictions", "preprocess_input"]


def SEResNet50(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "se_resnet50",
    ratio: int = 16,
) -> Functional:
    """:func:`ResNet50` with squeeze and excitation in every block, and convolutions without biases.

    Parameters
    ----------
    include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
        As for :func:`VGG16`; no file of weights is published in Keras's formats.
    ratio : int
        The hidden layers of :class:`~tinyconv.layers.SqueezeExcite` have a block's number of maps over ``ratio`` units.

    Returns
    -------
    Functional
        Not compiled.

    Source: J. Hu et al., "Squeeze-and-excitation networks", arXiv 1709.01507.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.SEResNet50()
    >>> sum(w.size for w in model.trainable_weights)
    28088024
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _se_resnet(options, (3, 4, 6, 3), ratio)


def SEResNet101(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "se_resnet101",
    ratio: int = 16,
) -> Functional:
    """:func:`SEResNet50` with 3, 4, 23 and 3 blocks; arguments are the same.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.applications.SEResNet101(include_top=False).compute_output_shape((None, 224, 224, 3))
    (None, 7, 7, 2048)
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _se_resnet(options, (3, 4, 23, 3), ratio)


def SEResNet152(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "se_resnet152",
    ratio: int = 16,
) -> Functional:
    """:func:`SEResNet50` with 3, 8, 36 and 3 blocks; arguments are the same.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.applications.SEResNet152(include_top=False).compute_output_shape((None, 224, 224, 3))
    (None, 7, 7, 2048)
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _se_resnet(options, (3, 8, 36, 3), ratio)


def _se_resnet(options: Options, blocks: Sequence[int], ratio: int) -> Functional:
    def excited(x: Any, name: str) -> Any:
        return SqueezeExcite(ratio, name=f"{name}_se")(x)

    return options.build(bottleneck_stages(blocks, False, excited), averaged_classes, size=224, smallest=32)
