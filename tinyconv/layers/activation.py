"""Activations as layers: those with settings, or with weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import activations, ops
from tinyconv.layers.base import Layer, Shape
from tinyconv.tensor import Tensor


class Elementwise(Layer):
    """A layer whose outputs have the shape of its inputs."""

    supports_masking = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class ReLU(Elementwise):
    """Rectifier: ``x`` where x >= threshold, else ``negative_slope * (x - threshold)``; at most ``max_value``.

    Parameters
    ----------
    max_value : float, optional
        Limit from above, >= 0.
    negative_slope : float
        Slope below the threshold, >= 0.
    threshold : float
        Where the unit begins to fire, >= 0.

    Inputs: any shape. Outputs: the same shape.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.ReLU(max_value=6.0)([-1.0, 2.0, 9.0]).tolist()
    [0.0, 2.0, 6.0]
    """

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.max_value = None if max_value is None else _not_negative(max_value, "max_value")
        self.negative_slope = _not_negative(negative_slope, "negative_slope")
        self.threshold = _not_negative(threshold, "threshold")

    def call(self, inputs: Tensor) -> Tensor:
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)


class LeakyReLU(Elementwise):
    """``x`` where x >= 0, else ``negative_slope * x``: units that are not active still learn.

    Parameters
    ----------
    negative_slope : float
        >= 0; Keras 2's ``alpha`` is accepted for it.

    Inputs: any shape. Outputs: the same shape.

    Source: A. Maas et al., "Rectifier nonlinearities improve neural network acoustic models", 2013.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.LeakyReLU(0.5)([-2.0, 2.0]).tolist()
    [-1.0, 2.0]
    """

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        negative_slope = options.pop("alpha", negative_slope)
        super().__init__(**options)
        self.negative_slope = _not_negative(negative_slope, "negative_slope")

    def call(self, inputs: Tensor) -> Tensor:
        return ops.leaky_relu(inputs, self.negative_slope)


class PReLU(Elementwise):
    """``x`` where x >= 0, else ``alpha * x`` with learned slopes ``alpha``.

    Parameters
    ----------
    alpha_initializer, alpha_regularizer, alpha_constraint : str or object
        Of the slopes.
    shared_axes : sequence of int, optional
        Axes along which one slope serves all, such as ``(1, 2)`` for one slope per channel of images.

    Inputs: (N, ...). Outputs: the same shape. Weights: alpha, the shape of a sample, 1 along shared axes.

    Source: K. He et al., "Delving deep into rectifiers", arXiv 1502.01852.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.PReLU(alpha_initializer=tc.initializers.Constant(0.25))([[-2.0, 2.0]]).tolist()
    [[-0.5, 2.0]]
    """

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Sequence[int] | int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._describe("alpha", alpha_initializer, alpha_regularizer, alpha_constraint)
        axes = [shared_axes] if isinstance(shared_axes, int) else shared_axes
        self.shared_axes = None if axes is None else tuple(axes)

    def check_input(self, input_shape: Shape) -> None:
        if self.built:
            self._check_ndim(input_shape, self.alpha.ndim + 1, "as it was built for")
            for axis, size in enumerate(self.alpha.shape, 1):
                if axis not in (self.shared_axes or ()):
                    self._check_axis(input_shape, axis, size)

    def build(self, input_shape: Shape) -> None:
        shared = self.shared_axes or ()
        shape = [1 if axis in shared else n for axis, n in enumerate(input_shape)][1:]
        known = [n for n in shape if n is not None]
        if len(known) < len(shape) or not all(1 <= axis < len(input_shape) for axis in shared):
            raise ValueError(
                f"expected a known size on every axis but shared_axes={self.shared_axes}. Received: shape {input_shape}"
            )
        self.alpha = self._make("alpha", known)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.where(inputs >= 0, inputs, self.alpha * inputs)


class ELU(Elementwise):
    """``x`` where x > 0, else ``alpha * (exp(x) - 1)``.

    Parameters
    ----------
    alpha : float
        Minus the limit for small x.

    Inputs: any shape. Outputs: the same shape.

    Source: D. Clevert et al., arXiv 1511.07289.

    Examples
    --------
    >>> import tinyconv as tc
    >>> [round(value, 4) for value in tc.layers.ELU()([-2.0, 2.0]).tolist()]
    [-0.8647, 2.0]
    """

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = alpha

    def call(self, inputs: Tensor) -> Tensor:
        return ops.elu(inputs, self.alpha)


class SELU(Elementwise):
    """ELU with the scale and alpha that make activations normalise themselves (with LeCun normal kernels).

    Inputs: any shape. Outputs: the same shape.

    Source: G. Klambauer et al., arXiv 1706.02515.

    Examples
    --------
    >>> import tinyconv as tc
    >>> [round(value, 4) for value in tc.layers.SELU()([-1.0, 1.0]).tolist()]
    [-1.1113, 1.0507]
    """

    def call(self, inputs: Tensor) -> Tensor:
        return ops.selu(inputs)


class Softmax(Elementwise):
    """``exp(x) / sum(exp(x))`` along ``axis``: positive, with sum 1.

    Parameters
    ----------
    axis : int or sequence of int
        Several axes share one sum.

    Inputs: (N, ...), and a mask of that shape: values that do not count get 0. Outputs: the same shape.

    Examples
    --------
    >>> import tinyconv as tc
    >>> [round(value, 4) for value in tc.layers.Softmax()([[2.0, 5.0]])[0].tolist()]
    [0.0474, 0.9526]
    """

    def __init__(self, axis: int | Sequence[int] = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis if isinstance(axis, int) else tuple(axis)

    def call(self, inputs: Tensor, mask: Any = None) -> Tensor:
        if mask is None:
            return self._softmax(inputs)
        y = self._softmax(ops.where(mask, inputs, np.finfo(inputs.dtype).min / 2))
        return ops.where(mask, y, 0.0)  # where nothing counts, all is 0

    def _softmax(self, x: Tensor) -> Tensor:
        if isinstance(self.axis, int):
            return ops.softmax(x, self.axis)
        return ops.exp(x - ops.logsumexp(x, self.axis, keepdims=True))


def _not_negative(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{name} must be a number >= 0. Received: {value!r}")
    return float(value)
