"""Residual networks, first version: every block learns what to add to its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinyconv.applications.common import Options, averaged_classes, batch_norm
from tinyconv.applications.imagenet_utils import decode_predictions
from tinyconv.applications.imagenet_utils import preprocess_caffe as preprocess_input
from tinyconv.layers import Activation, Add, Conv2D, MaxPooling2D, ResidualUnit, ZeroPadding2D
from tinyconv.models import Functional

__all__ = [
    "ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152", "bottleneck_stages", "decode_predictions",
    "preprocess_input",
]  # fmt: skip

EPSILON = 1.001e-5  # of Keras's residual networks


def ResNet18(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet18",
) -> Functional:
    """:func:`ResNet34` with two units in each of the four stages.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.applications.ResNet18(classes=10).count_params()
    11191242
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _of_units(options, (2, 2, 2, 2))


def ResNet34(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet34",
) -> Functional:
    """3, 4, 6 and 3 units of two 3x3 convolutions each (:class:`~tinyconv.layers.ResidualUnit`), 64 to 512 filters.

    A ReLU follows each sum, and a 1x1 convolution leads past the unit wherever the shape changes: a textbook's unit has
    no ReLU there, and fails where only the number of maps changes.

    Parameters
    ----------
    include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
        As for :func:`VGG16`; no file of weights is published in Keras's formats.

    Returns
    -------
    Functional
        Not compiled.

    Source: K. He et al., "Deep residual learning for image recognition", arXiv 1512.03385.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.applications.ResNet34(classes=10).count_params()
    21306826
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _of_units(options, (3, 4, 6, 3))


def ResNet50(
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet50",
    use_bias: bool = True,
) -> Functional:
    """3, 4, 6 and 3 blocks of three convolutions each: 1x1 to fewer maps, 3x3, 1x1 to 256, 512, 1024 and 2048 maps.

    Parameters
    ----------
    include_top, weights, input_tensor, pooling, classes, classifier_activation, name
        As for :func:`VGG16`.
    input_shape : tuple of int, optional
        Of one image, at least 32x32. By default 224x224x3; without the classifier any size.
    use_bias : bool
        Whether convolutions have biases. Those of Keras, and its published weights, have; the publication's have not,
        for the batch normalisation that follows takes any bias away.

    Returns
    -------
    Functional
        Not compiled. Its layers have Keras's names.

    Source: K. He et al., "Deep residual learning for image recognition", arXiv 1512.03385.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.ResNet50(weights=None)
    >>> model.count_params(), model.get_layer("conv5_block3_out").output_shape
    (25636712, (None, 7, 7, 2048))
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _of_bottlenecks(options, "resnet50", (3, 4, 6, 3), use_bias)


def ResNet101(
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet101",
    use_bias: bool = True,
) -> Functional:
    """:func:`ResNet50` with 3, 4, 23 and 3 blocks; arguments are the same.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.applications.ResNet101(include_top=False, weights=None).count_params()
    42658176
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _of_bottlenecks(options, "resnet101", (3, 4, 23, 3), use_bias)


def ResNet152(
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet152",
    use_bias: bool = True,
) -> Functional:
    """:func:`ResNet50` with 3, 8, 36 and 3 blocks, 152 layers with weights (not 150); arguments are the same.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.applications.ResNet152(weights=None, use_bias=False).count_params()
    60344232
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _of_bottlenecks(options, "resnet152", (3, 8, 36, 3), use_bias)


def _of_units(options: Options, units: Sequence[int]) -> Functional:
    """A network with so many units of two convolutions in its stages."""

    def body(x: Any) -> Any:
        x = Conv2D(64, 7, 2, "same", use_bias=False, name="conv1_conv")(x)
        x = batch_norm("conv1_bn")(x)
        x = Activation("relu", name="conv1_relu")(x)
        x = MaxPooling2D(3, 2, "same", name="pool1_pool")(x)
        for stage, (number, filters) in enumerate(zip(units, (64, 128, 256, 512), strict=True), 2):
            for i in range(1, number + 1):
                strides = 2 if i == 1 and stage > 2 else 1
                x = ResidualUnit(filters, strides, name=f"conv{stage}_unit{i}")(x)
        return x

    return options.build(body, averaged_classes, size=224, smallest=32)


def _of_bottlenecks(options: Options, published: str, blocks: Sequence[int], use_bias: bool) -> Functional:
    """A network with so many blocks of three convolutions in its stages."""
    file = f"{published}_weights_tf_dim_ordering_tf_kernels{{top}}.h5"
    return options.build(bottleneck_stages(blocks, use_bias), averaged_classes, size=224, smallest=32, file=file)


def bottleneck_stages(
    blocks: Sequence[int], use_bias: bool, before_sum: Callable[[Any, str], Any] | None = None
) -> Callable[[Any], Any]:
    """The body of a network with so many ``blocks`` in its four stages.

    ``before_sum`` gets a block's new features and its name, before they are added to the block's inputs.
    """

    def body(x: Any) -> Any:
        x = ZeroPadding2D(3, name="conv1_pad")(x)
        x = Conv2D(64, 7, 2, use_bias=use_bias, name="conv1_conv")(x)
        x = batch_norm("conv1_bn", epsilon=EPSILON)(x)
        x = Activation("relu", name="conv1_relu")(x)
        x = ZeroPadding2D(1, name="pool1_pad")(x)
        x = MaxPooling2D(3, 2, name="pool1_pool")(x)
        for stage, (number, filters) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), 2):
            for i in range(1, number + 1):
                strides = 2 if i == 1 and stage > 2 else 1
                x = _bottleneck(x, f"conv{stage}_block{i}", filters, strides, i == 1, use_bias, before_sum)
        return x

    return body


def _bottleneck(
    x: Any,
    name: str,
    filters: int,
    strides: int,
    projected: bool,
    use_bias: bool,
    before_sum: Callable[[Any, str], Any] | None,
) -> Any:
    """1x1, 3x3 and 1x1 convolutions, added to the inputs, which are projected where the shape changes."""

    def convolved(x: Any, number: int, filters: int, kernel_size: int, strides: int = 1) -> Any:
        x = Conv2D(filters, kernel_size, strides, "same", use_bias=use_bias, name=f"{name}_{number}_conv")(x)
        return batch_norm(f"{name}_{number}_bn", epsilon=EPSILON)(x)

    shortcut = convolved(x, 0, 4 * filters, 1, strides) if projected else x
    x = Activation("relu", name=f"{name}_1_relu")(convolved(x, 1, filters, 1, strides))
    x = Activation("relu", name=f"{name}_2_relu")(convolved(x, 2, filters, 3))
    x = convolved(x, 3, 4 * filters, 1)
    if before_sum is not None:
        x = before_sum(x, name)
    x = Add(name=f"{name}_add")([shortcut, x])
    return Activation("relu", name=f"{name}_out")(x)
