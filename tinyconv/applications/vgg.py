"""The VGG family: 3x3 convolutions only, more of them and more filters the smaller the maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyconv.applications.common import Options
from tinyconv.layers import Conv2D, Dense, Flatten, MaxPooling2D
from tinyconv.models import Functional

__all__ = ["VGG16", "VGG19"]


def VGG16(
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "vgg16",
) -> Functional:
    """Thirteen 3x3 convolutions in five blocks, each block followed by pooling, and three dense layers.

    A textbook has 16 convolutions in blocks of two or three; with 16, as in :func:`VGG19`, there are blocks of four.

    Parameters
    ----------
    include_top : bool
        Whether the network ends in its classifier, or in the features before that.
    weights : str, Path or None
        ``"imagenet"``: the published file, which must lie in tinyconv's cache; a path: of a file that
        ``Model.load_weights`` reads; None: random weights.
    input_tensor : symbolic tensor, optional
        What the network shall be applied to, in place of an input of its own.
    input_shape : tuple of int, optional
        Of one image, in the configured layout, at least 32x32. By default 224x224x3; without the classifier any size,
        that is (None, None, 3).
    pooling : {None, "avg", "max"}
        Without the classifier: features as maps, or their means or maxima, one number for each map.
    classes : int
        Number of outputs of the classifier.
    classifier_activation : str, callable or None
        Of the classifier; None for logits.
    name : str
        Of the model.

    Returns
    -------
    Functional
        Not compiled. Its layers have Keras's names.

    Raises
    ------
    FileNotFoundError
        Where the ImageNet weights are not on this machine; the message names the file and its folder.
    ValueError
        For arguments that do not fit together, and for a file of weights that does not fit the network.

    Source: K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image recognition", arXiv
    1409.1556.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.VGG16(include_top=False, weights=None, input_shape=(150, 150, 3))
    >>> model.output_shape, model.count_params()
    ((None, 4, 4, 512), 14714688)
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _vgg(options, "vgg16", (2, 2, 3, 3, 3))


def VGG19(
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "vgg19",
) -> Functional:
    """:func:`VGG16` with four convolutions, not three, in each of the last three blocks; arguments are the same.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.VGG19(include_top=False, weights=None)
    >>> model.output_shape, model.count_params()
    ((None, None, None, 512), 20024384)
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _vgg(options, "vgg19", (2, 2, 4, 4, 4))


def _vgg(options: Options, published: str, convolutions: Sequence[int]) -> Functional:
    """The network with so many ``convolutions`` in its blocks."""

    def body(x: Any) -> Any:
        for block, (number, filters) in enumerate(zip(convolutions, (64, 128, 256, 512, 512), strict=True), 1):
            for i in range(1, number + 1):
                x = Conv2D(filters, 3, padding="same", activation="relu", name=f"block{block}_conv{i}")(x)
            x = MaxPooling2D(2, name=f"block{block}_pool")(x)
        return x

    file = f"{published}_weights_tf_dim_ordering_tf_kernels{{top}}.h5"
    return options.build(body, _classifier, size=224, smallest=32, file=file, fixed_size=True)


def _classifier(x: Any, options: Options) -> Any:
    x = Flatten(name="flatten")(x)
    x = Dense(4096, "relu", name="fc1")(x)
    x = Dense(4096, "relu", name="fc2")(x)
    return Dense(options.classes, options.classifier_activation, name="predictions")(x)
