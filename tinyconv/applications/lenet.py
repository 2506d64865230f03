"""LeNet in its modern form: ReLU in place of tanh, "same" convolutions, max pooling."""

from __future__ import annotations

from tinyconv.applications.common import image_shape
from tinyconv.layers import Activation, Conv2D, Dense, Flatten, MaxPooling2D
from tinyconv.models import Sequential


class LeNet:
    """INPUT => [CONV => RELU => POOL] * 2 => FC => RELU => FC => SOFTMAX.

    The deeper convolution has more filters, 50 after 20 (not more layers, as the book for which it was made says once).

    Source: Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998, with today's activations.
    """

    @staticmethod
    def build(width: int, height: int, depth: int, classes: int) -> Sequential:
        """Make the network.

        Parameters
        ----------
        width, height, depth : int
            Size of the images and their number of channels.
        classes : int
            Number of outputs, which are probabilities.

        Returns
        -------
        Sequential
            Not compiled.

        Examples
        --------
        >>> import tinyconv as tc
        >>> tc.applications.LeNet.build(28, 28, 1, 10).count_params()
        1256080
        """
        return Sequential(
            [
                Conv2D(20, 5, padding="same", input_shape=image_shape(width, height, depth)),
                Activation("relu"),
                MaxPooling2D(2, strides=2),
                Conv2D(50, 5, padding="same"),
                Activation("relu"),
                MaxPooling2D(2, strides=2),
                Flatten(),
                Dense(500),
                Activation("relu"),
                Dense(classes),
                Activation("softmax"),
            ],
            name="lenet",
        )
