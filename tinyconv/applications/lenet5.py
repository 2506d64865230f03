"""LeNet-5 as published in 1998: tanh, pooling that learns, maps that see but some maps below, distances as outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import initializers, ops, random, registry
from tinyconv.applications.common import image_shape
from tinyconv.layers import (
    AveragePooling2D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    Input,
    Layer,
    ZeroPadding2D,
)
from tinyconv.layers.base import Shape
from tinyconv.layers.convolution import WindowLayer
from tinyconv.layers.images import as_count, as_tuple
from tinyconv.models import Sequential
from tinyconv.tensor import Tensor

__all__ = ["LeNet5", "PartialConv2D", "SquaredDistance", "distance_loss", "scaled_tanh"]

SIDE = 32  # of the images

# Which of the 6 maps below each of the 16 maps of C3 sees: table 1 of the publication.
C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip


class LeNet5:
    """INPUT => [CONV => TANH => POOL => TANH] * 2 => CONV => TANH => FC => TANH => DISTANCES.

    Source: Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998.
    """

    @staticmethod
    def build(
        width: int,
        height: int,
        depth: int,
        classes: int,
        connections: str = "full",
        output: str = "rbf",
    ) -> Sequential:
        """Make the network.

        Parameters
        ----------
        width, height, depth : int
            Size of the images and their number of channels. Images smaller than 32x32, such as MNIST's, are framed with
            zeros.
        classes : int
            Number of outputs.
        connections : {"full", "table"}
            What the 16 maps of C3 see: all 6 maps below, or 3 to 6 of them as in table 1 of the publication (60
            connections, 900 weights less).
        output : {"rbf", "softmax"}
            Squared distances of the 84 features from one point for each class, of which the least names the class
            (:func:`distance_loss` trains them); or a dense layer with softmax, as is usual today.

        Returns
        -------
        Sequential
            Not compiled. Layers C1 to F6 have the publication's names; S2 and S4 have a coefficient and a bias for each
            map, which start at 1 and 0.

        Examples
        --------
        >>> import tinyconv as tc
        >>> tc.applications.LeNet5.build(28, 28, 1, 10).count_params()
        61740
        >>> tc.applications.LeNet5.build(32, 32, 1, 10, connections="table").get_layer("C3").count_params()
        1516
        """
        if connections not in ("full", "table"):
            raise ValueError(f"connections must be 'full' or 'table'. Received: {connections!r}")
        if output not in ("rbf", "softmax"):
            raise ValueError(f"output must be 'rbf' or 'softmax'. Received: {output!r}")
        settings: dict[str, Any] = {"activation": scaled_tanh, "kernel_initializer": "lecun_uniform"}
        model = Sequential([Input(image_shape(width, height, depth))], name="lenet5")
        if width < SIDE or height < SIDE:
            model.add(ZeroPadding2D((_frame(height), _frame(width)), name="frame"))
        model.add(Conv2D(6, 5, name="C1", **settings))
        _add_pooling(model, "S2")
        if connections == "full":
            model.add(Conv2D(16, 5, name="C3", **settings))
        else:
            model.add(PartialConv2D(C3_TABLE, 5, name="C3", **settings))
        _add_pooling(model, "S4")
        model.add(Conv2D(120, 5, name="C5", **settings))
        model.add(Flatten(name="flatten"))
        model.add(Dense(84, name="F6", **settings))
        if output == "rbf":
            model.add(SquaredDistance(classes, name="output"))
        else:
            model.add(Dense(classes, "softmax", name="output"))
        return model


def _frame(size: int) -> tuple[int, int]:
    """Zeros before and after ``size`` cells that make them 32."""
    missing = max(0, SIDE - size)
    return missing // 2, missing - missing // 2


def _add_pooling(model: Sequential, name: str) -> None:
    """Means of 2x2 cells, times a coefficient, plus a bias, and tanh."""
    model.add(AveragePooling2D(2, name=f"{name}_mean"))
    model.add(DepthwiseConv2D(1, activation=scaled_tanh, depthwise_initializer="ones", name=name))


@registry.register("tinyconv.applications")
def scaled_tanh(x: Any) -> Tensor:
    """``1.7159 tanh(2 x / 3)``, which is 1 at 1 and -1 at -1, where its second derivative is greatest.

    Source: Y. LeCun et al., "Efficient BackProp", 1998.

    Examples
    --------
    >>> [round(y, 4) for y in scaled_tanh([-1.0, 0.0, 1.0]).tolist()]
    [-1.0, 0.0, 1.0]
    """
    return 1.7159 * ops.tanh(ops.elementwise.as_float(x) * (2 / 3))


@registry.register("tinyconv.applications")
class PartialConv2D(WindowLayer):
    """2-D convolution each of whose output maps sees some of the input maps only.

    Parameters
    ----------
    connections : sequence of sequences of int
        For each output map the numbers of the input maps that it sees.
    kernel_size, strides, padding, data_format, activation, use_bias, bias_initializer, ...
        As for :class:`~tinyconv.layers.Conv2D`.
    kernel_initializer : str or object
        Called with shape (KH, KW, C', O), C' the mean number of input maps that an output map sees.

    Inputs: (N, H, W, C). Outputs: (N, OH, OW, O), O the number of output maps.
    Weights: kernel (KH, KW, number of connections), in order of output maps; bias (O,).

    Raises
    ------
    ValueError
        For inputs that have fewer maps than ``connections`` names.

    Examples
    --------
    >>> layer = PartialConv2D(C3_TABLE, 5)
    >>> layer(np.zeros((1, 14, 14, 6))).shape, layer.count_params()
    ((1, 10, 10, 16), 1516)
    """

    def __init__(
        self,
        connections: Sequence[Sequence[int]],
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format=data_format, activation=activation, use_bias=use_bias, **options
        )
        self.connections = tuple(as_tuple(list(seen), "connections", len(seen), minimum=0) for seen in connections)
        if not all(seen and len(set(seen)) == len(seen) for seen in self.connections or [()]):
            raise ValueError(f"connections must name different input maps for each output. Received: {connections!r}")
        self.kernel_initializer = initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        channels, outputs = self._channels(input_shape), len(self.connections)
        pairs = [(seen, o) for o, inputs in enumerate(self.connections) for seen in inputs]
        if max(pairs)[0] >= channels:
            raise ValueError(f"connections names input map {max(pairs)[0]}. Received: shape {input_shape}")
        self._places = np.zeros((len(pairs), channels * outputs), self.dtype)
        for row, (seen, o) in enumerate(pairs):
            self._places[row, seen * outputs + o] = 1

        def initialize(shape: Sequence[int], dtype: Any) -> np.ndarray:
            seen = -(-len(pairs) // outputs)
            values = self.kernel_initializer((*self.kernel_size, seen, outputs), dtype)
            return values.reshape(*self.kernel_size, -1)[..., : len(pairs)]  # (KH, KW, C' O) -> (KH, KW, connections)

        self.kernel = self.add_weight((*self.kernel_size, len(pairs)), initialize, "kernel")
        self._make_bias((outputs,))

    def call(self, inputs: Tensor) -> Tensor:
        outputs = len(self.connections)
        kernel = ops.matmul(self.kernel, self._places)  # (KH, KW, connections) @ (connections, C O) -> (KH, KW, C O)
        kernel = ops.reshape(kernel, (*self.kernel_size, -1, outputs))  # (KH, KW, C O) -> (KH, KW, C, O)
        return self._finish(ops.conv2d(inputs, kernel, self.bias, **self._geometry()))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._layout(input_shape[0], *self._output_size(self._size(input_shape)), len(self.connections))


@registry.register("tinyconv.applications")
class SquaredDistance(Layer):
    """Squared Euclidean distances of the inputs from one point for each output: radial basis functions.

    Parameters
    ----------
    units : int
        Number of outputs.

    Inputs: (N, F). Outputs: (N, units), each at least 0.
    Weights: kernel (F, units), whose columns are the points. They start with coordinates -1 and 1 at random.

    Examples
    --------
    >>> layer = SquaredDistance(2)
    >>> layer.build((None, 3))
    >>> layer.set_weights([[[1.0, 0.0], [1.0, 0.0], [1.0, 2.0]]])
    >>> layer([[1.0, 1.0, 0.0]]).tolist()
    [[1.0, 6.0]]
    """

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = as_count(units, "units")

    def check_input(self, input_shape: Shape) -> None:
        """Raise unless inputs are rows of features."""
        self._check_ndim(input_shape, 2, "(batch, features)")
        if self.built:
            self._check_axis(input_shape, 1, self.kernel.shape[0])

    def build(self, input_shape: Shape) -> None:
        features = input_shape[-1]
        if not features:
            raise ValueError(f"the number of features must be known and at least 1. Received: shape {input_shape}")
        self.kernel = self.add_weight((features, self.units), _signs, "kernel")

    def call(self, inputs: Tensor) -> Tensor:
        differences = ops.expand_dims(inputs, 2) - self.kernel  # (N, F, 1) - (F, units) -> (N, F, units)
        return ops.sum(ops.square(differences), 1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], self.units


def _signs(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """-1 and 1 at random."""
    return np.where(random.generator().random(shape) < 0.5, -1, 1).astype(dtype)


@registry.register("tinyconv.applications")
def distance_loss(y_true: Any, y_pred: Any, ceiling: float = 0.1) -> Tensor:
    """``d + log(exp(-ceiling) + sum(exp(-distances)))``, d the right class's: pulls it near and pushes others away.

    Parameters
    ----------
    y_true : (N,) or (N, 1) class numbers, or (N, C) one-hot rows
    y_pred : (N, C) distances
    ceiling : float
        Distances much greater than this are not pushed any farther.

    Returns
    -------
    Tensor, (N,)

    Source: equation 9 of the publication.

    Examples
    --------
    >>> round(distance_loss([1], [[2.0, 0.0]]).item(), 4)  # log(exp(-0.1) + exp(-2) + exp(0))
    0.713
    """
    distances = ops.elementwise.as_float(y_pred)
    truth = ops.elementwise.as_tensor(y_true)
    if truth.shape != distances.shape:
        numbers = ops.reshape(truth, (len(distances), 1)).astype(distances.dtype)  # (N,) or (N, 1) -> (N, 1)
        truth = ops.equal(numbers, np.arange(distances.shape[1], dtype=distances.dtype))
    right = ops.sum(truth.astype(distances.dtype) * distances, 1)
    floor = ops.minimum(ops.min(distances, 1), ceiling)  # taken out of the sum, so that exp does not vanish
    rest = ops.exp(floor - ceiling) + ops.sum(ops.exp(ops.expand_dims(floor, 1) - distances), 1)
    return right - floor + ops.log(rest)
