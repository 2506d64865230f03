"""ShallowNet: the smallest network with a convolution."""

from __future__ import annotations

from tinyconv.applications.common import image_shape
from tinyconv.layers import Activation, Conv2D, Dense, Flatten
from tinyconv.models import Sequential


class ShallowNet:
    """INPUT => CONV => RELU => FC => SOFTMAX."""

    @staticmethod
    def build(width: int, height: int, depth: int, classes: int) -> Sequential:
        """Make the network; arguments and result as :meth:`LeNet.build`.

        Examples
        --------
        >>> import tinyconv as tc
        >>> tc.applications.ShallowNet.build(32, 32, 3, 10).count_params()
        328586
        """
        return Sequential(
            [
                Conv2D(32, 3, padding="same", input_shape=image_shape(width, height, depth)),
                Activation("relu"),
                Flatten(),
                Dense(classes),
                Activation("softmax"),
            ],
            name="shallownet",
        )
