"""ShallowNet: the smallest network with a convolution."""

from __future__ import annotations

from tinyconv.applications.common import image_shape
from tinyconv.layers import Activation, Conv2D, Dense, Flatten
from tinyconv.models import Sequential


class ShallowNet:
    """INPUT => CONV => RELU => FC => SOFTMAX.

    In the source document's pattern, INPUT => [[CONV => RELU] * N => POOL?] * M => [FC => RELU] * K => FC, this is
    N = M = 1 without pooling and K = 0; its text says N = M = K = 0, which has no convolution.
    """

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
