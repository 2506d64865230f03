"""Inception v3: factorised convolutions (1x7 and 7x1 in place of 7x7), each with batch normalisation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from tinyconv.applications.common import Options, averaged_classes, batch_norm, channel_axis
from tinyconv.applications.imagenet_utils import decode_predictions
from tinyconv.applications.imagenet_utils import preprocess_tf as preprocess_input
from tinyconv.layers import Activation, AveragePooling2D, Concatenate, Conv2D, MaxPooling2D
from tinyconv.models import Functional

__all__ = ["InceptionV3", "decode_predictions", "preprocess_input"]


def InceptionV3(
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Any = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "inception_v3",
) -> Functional:
    """Eleven modules of parallel branches, ``mixed0`` to ``mixed10``.

    Parameters
    ----------
    include_top, weights, input_tensor, pooling, classes, classifier_activation, name
        As for :func:`VGG16`.
    input_shape : tuple of int, optional
        Of one image, at least 75x75. By default 299x299x3; without the classifier any size.

    Returns
    -------
    Functional
        Not compiled. Its layers are named as in Keras's published files: ``conv2d_1`` to ``conv2d_94``, and so on.

    Source: C. Szegedy et al., "Rethinking the Inception architecture for computer vision", arXiv 1512.00567.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.applications.InceptionV3(weights=None)
    >>> model.count_params(), model.get_layer("mixed10").output_shape
    (23851784, (None, 8, 8, 2048))
    """
    options = Options(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    file = "inception_v3_weights_tf_dim_ordering_tf_kernels{top}.h5"
    return options.build(lambda x: _Builder().body(x), averaged_classes, size=299, smallest=75, file=file)


class _Builder:
    """Makes the layers in Keras's order, and numbers them as Keras does."""

    def __init__(self) -> None:
        self._convolutions, self._poolings = itertools.count(1), itertools.count(1)

    def body(self, x: Any) -> Any:
        x = self._convolved(x, 32, 3, 2, "valid")
        x = self._convolved(x, 32, 3, 1, "valid")
        x = self._convolved(x, 64, 3)
        x = MaxPooling2D(3, 2, name="max_pooling2d_1")(x)
        x = self._convolved(x, 80, 1, 1, "valid")
        x = self._convolved(x, 192, 3, 1, "valid")
        x = MaxPooling2D(3, 2, name="max_pooling2d_2")(x)
        for number, projected in enumerate((32, 64, 64)):
            x = self._squares(x, projected, f"mixed{number}")
        x = self._reduced_to_17(x, "mixed3")
        for number, filters in enumerate((128, 160, 160, 192), 4):
            x = self._rows_and_columns(x, filters, f"mixed{number}")
        x = self._reduced_to_8(x, "mixed8")
        for number in (0, 1):
            x = self._spread(x, number)
        return x

    def _convolved(self, x: Any, filters: int, kernel_size: Any, strides: int = 1, padding: str = "same") -> Any:
        number = next(self._convolutions)
        x = Conv2D(filters, kernel_size, strides, padding, use_bias=False, name=f"conv2d_{number}")(x)
        x = batch_norm(f"batch_normalization_{number}", scale=False)(x)
        return Activation("relu", name=f"activation_{number}")(x)

    def _averaged(self, x: Any, filters: int) -> Any:
        x = AveragePooling2D(3, 1, "same", name=f"average_pooling2d_{next(self._poolings)}")(x)
        return self._convolved(x, filters, 1)

    def _squares(self, x: Any, projected: int, name: str) -> Any:
        """1x1; 5x5; two 3x3; average pooling."""
        one = self._convolved(x, 64, 1)
        five = self._convolved(self._convolved(x, 48, 1), 64, 5)
        three = self._convolved(self._convolved(self._convolved(x, 64, 1), 96, 3), 96, 3)
        return _joined([one, five, three, self._averaged(x, projected)], name)

    def _reduced_to_17(self, x: Any, name: str) -> Any:
        once = self._convolved(x, 384, 3, 2, "valid")
        twice = self._convolved(self._convolved(x, 64, 1), 96, 3)
        twice = self._convolved(twice, 96, 3, 2, "valid")
        return _joined([once, twice, MaxPooling2D(3, 2, name="max_pooling2d_3")(x)], name)

    def _rows_and_columns(self, x: Any, filters: int, name: str) -> Any:
        """1x1; a row of 7 and a column of 7; two of each; average pooling."""
        row, column = (1, 7), (7, 1)
        one = self._convolved(x, 192, 1)
        once = self._convolved(self._convolved(self._convolved(x, filters, 1), filters, row), 192, column)
        twice = self._convolved(x, filters, 1)
        for kernel_size in (column, row, column):
            twice = self._convolved(twice, filters, kernel_size)
        twice = self._convolved(twice, 192, row)
        return _joined([one, once, twice, self._averaged(x, 192)], name)

    def _reduced_to_8(self, x: Any, name: str) -> Any:
        three = self._convolved(self._convolved(x, 192, 1), 320, 3, 2, "valid")
        seven = self._convolved(self._convolved(self._convolved(x, 192, 1), 192, (1, 7)), 192, (7, 1))
        seven = self._convolved(seven, 192, 3, 2, "valid")
        return _joined([three, seven, MaxPooling2D(3, 2, name="max_pooling2d_4")(x)], name)

    def _spread(self, x: Any, number: int) -> Any:
        """Branches that end in a row of 3 beside a column of 3."""
        one = self._convolved(x, 320, 1)
        three = self._convolved(x, 384, 1)
        three = _joined(self._row_beside_column(three), f"mixed9_{number}")
        twice = self._convolved(self._convolved(x, 448, 1), 384, 3)
        twice = _joined(self._row_beside_column(twice), f"concatenate_{number + 1}")
        return _joined([one, three, twice, self._averaged(x, 192)], f"mixed{9 + number}")

    def _row_beside_column(self, x: Any) -> list[Any]:
        return [self._convolved(x, 384, (1, 3)), self._convolved(x, 384, (3, 1))]


def _joined(branches: Sequence[Any], name: str) -> Any:
    return Concatenate(channel_axis(), name=name)(list(branches))
