"""MiniVGGNet: two blocks of two 3x3 convolutions, the smallest member of the VGG family."""

from __future__ import annotations

from tinyconv.applications.common import channel_axis, image_shape
from tinyconv.layers import Activation, BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, Layer, MaxPooling2D
from tinyconv.models import Sequential


class MiniVGGNet:
    """INPUT => [[CONV => RELU => BN] * 2 => POOL => DROPOUT] * 2 => FC => RELU => BN => DROPOUT => FC => SOFTMAX.

    Batch normalisation stands after the activation, as in the source document. Its text has an epsilon of 1e-7 and
    neither scale nor shift; its figures are those of Keras's layer, with 1e-3 and both of them, which stands here.
    """

    @staticmethod
    def build(width: int, height: int, depth: int, classes: int, batch_norm: bool = True) -> Sequential:
        """Make the network; arguments and result as :meth:`LeNet.build`.

        Parameters
        ----------
        batch_norm : bool
            Whether activations are followed by batch normalisation.

        Examples
        --------
        >>> import tinyconv as tc
        >>> tc.applications.MiniVGGNet.build(32, 32, 3, 10).count_params()
        2171178
        """
        model = Sequential([Input(image_shape(width, height, depth))], name="minivggnet")

        def add(*layers: Layer, axis: int) -> None:
            for layer in layers:
                model.add(layer)
            model.add(Activation("relu"))
            if batch_norm:
                model.add(BatchNormalization(axis=axis))

        for filters in (32, 64):
            add(Conv2D(filters, 3, padding="same"), axis=channel_axis())
            add(Conv2D(filters, 3, padding="same"), axis=channel_axis())
            model.add(MaxPooling2D(2))
            model.add(Dropout(0.25))
        add(Flatten(), Dense(512), axis=-1)
        model.add(Dropout(0.5))
        model.add(Dense(classes))
        model.add(Activation("softmax"))
        return model
