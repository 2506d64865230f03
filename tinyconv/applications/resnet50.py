"""ResNet50 and what goes with it, under Keras's names; and the definition of Keras 2's first years."""

from __future__ import annotations

from typing import Any

from tinyconv.applications.common import Options, batch_norm
from tinyconv.applications.resnet import ResNet50, decode_predictions, preprocess_input
from tinyconv.layers import Activation, Add, AveragePooling2D, Conv2D, Dense, Flatten, MaxPooling2D, ZeroPadding2D
from tinyconv.models import Functional

__all__ = ["ResNet50", "ResNet50Keras2", "decode_predictions", "preprocess_input"]


def ResNet50Keras2(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet50",
) -> Functional:
    """ResNet50 as Keras 2.0 defined it, with the names of its files: ``res2a_branch2a``, ``bn2a_branch2a``, ...

    It differs from today's :func:`ResNet50` in the first pooling, which has no padding (stage 2 has maps of 55x55 for
    images of 224x224), in the epsilon of the normalisations (1e-3), and in the average pooling of 7x7 at the end.

    Parameters
    ----------
    include_top, weights, input_tensor, pooling, classes, classifier_activation, name
        As for :func:`ResNet50`; ``weights`` is None or a path.
    input_shape : tuple of int, optional
        Of one image, at least 197x197. By default 224x224x3; without the classifier any size.

    Returns
    -------
    Functional
        Not compiled.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.resnet50.ResNet50Keras2()
    >>> model.count_params(), model.get_layer("res2a_branch1").output_shape
    (25636712, (None, 55, 55, 256))
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return options.build(_body, _classifier, size=224, smallest=197, fixed_size=True)


def _body(x: Any) -> Any:
    x = ZeroPadding2D(3, name="conv1_pad")(x)
    x = batch_norm("bn_conv1")(Conv2D(64, 7, 2, name="conv1")(x))
    x = MaxPooling2D(3, 2, name="pool1")(Activation("relu", name="conv1_relu")(x))
    for stage, (number, filters) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 2):
        for block in "abcdef"[:number]:
            strides = 2 if block == "a" and stage > 2 else 1
            x = _block(x, f"{stage}{block}", filters, strides, block == "a")
    return AveragePooling2D(7, name="avg_pool")(x)


def _block(x: Any, name: str, filters: int, strides: int, projected: bool) -> Any:
    """1x1, 3x3 and 1x1 convolutions, added to the inputs, which are projected in a stage's first block."""

    def convolved(x: Any, branch: str, filters: int, kernel_size: int, strides: int = 1) -> Any:
        x = Conv2D(filters, kernel_size, strides, "same", name=f"res{name}_branch{branch}")(x)
        return batch_norm(f"bn{name}_branch{branch}")(x)

    y = Activation("relu", name=f"res{name}_branch2a_relu")(convolved(x, "2a", filters, 1, strides))
    y = Activation("relu", name=f"res{name}_branch2b_relu")(convolved(y, "2b", filters, 3))
    y = convolved(y, "2c", 4 * filters, 1)
    shortcut = convolved(x, "1", 4 * filters, 1, strides) if projected else x
    return Activation("relu", name=f"res{name}_out")(Add(name=f"res{name}_add")([y, shortcut]))


def _classifier(x: Any, options: Options) -> Any:
    x = Flatten(name="flatten")(x)
    return Dense(options.classes, options.classifier_activation, name="fc1000")(x)
