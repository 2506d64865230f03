"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyconv import config, initializers, ops
from tinyconv.geometry import normalize_axis
from tinyconv.layers.base import Layer, Shape
from tinyconv.layers.images import as_count
from tinyconv.layers.module import Parameter
from tinyconv.tensor import Tensor, no_grad


class ScaleAndShift(Layer):
    """What normalising layers share: a learned scale ``gamma`` and shift ``beta``, and outputs like the inputs."""

    supports_masking = True
    gamma: Parameter | None
    beta: Parameter | None

    def __init__(
        self,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not epsilon >= 0:
            raise ValueError(f"epsilon must be >= 0. Received: {epsilon!r}")
        self.epsilon, self.center, self.scale = epsilon, bool(center), bool(scale)
        self._describe("gamma", gamma_initializer, gamma_regularizer, gamma_constraint)
        self._describe("beta", beta_initializer, beta_regularizer, beta_constraint)

    def _make_scale_and_shift(self, shape: Sequence[int]) -> None:
        self.gamma = self._make("gamma", shape) if self.scale else None
        self.beta = self._make("beta", shape) if self.center else None

    def _scale_and_shift(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """``x * gamma + beta``, both reshaped to broadcast as ``shape``."""
        x = x if self.gamma is None else x * ops.reshape(self.gamma, shape)
        return x if self.beta is None else x + ops.reshape(self.beta, shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class BatchNormalization(ScaleAndShift):
    """Give every channel mean 0 and variance 1 over the batch, then scale by ``gamma`` and shift by ``beta``.

    In training the batch's own mean and biased variance serve, and moving averages of them are kept
    (``moving = moving * momentum + batch * (1 - momentum)``); these serve in inference, and in training too when the
    layer is frozen (``trainable = False``). Of masked sequences, the statistics are those of the steps that count.

    Parameters
    ----------
    axis : int
        The channel axis: -1, or 1 for ``channels_first``.
    momentum : float
        Of the moving averages.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there is a ``beta``, a ``gamma``.
    beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer : str or object
        Initial values.
    beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint : str or object, optional
        Penalties and projections.
    **options
        ``name``, ``trainable``, ``dtype``, ``input_shape``, as for every layer.

    Inputs: (N, ..., C), and a mask (N, ...). Outputs: the same shape.
    Weights, each (C,): gamma, beta, moving_mean, moving_variance; the last two are not trained.

    Raises
    ------
    ValueError
        For an empty batch in training, or another number of channels than the layer was built for.

    Source: S. Ioffe and C. Szegedy, "Batch normalization", arXiv 1502.03167.

    Examples
    --------
    >>> import tinyconv as tc
    >>> layer = tc.layers.BatchNormalization()
    >>> y = layer([[1.0], [2.0], [3.0], [4.0]], training=True)
    >>> [round(value, 4) for value in y[:, 0].tolist()]
    [-1.3411, -0.447, 0.447, 1.3411]
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
            beta_constraint, gamma_constraint, **options,
        )  # fmt: skip
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1]. Received: {momentum!r}")
        self.axis, self.momentum = _as_axis(axis), momentum
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    def check_input(self, input_shape: Shape) -> None:
        _check_axis_exists(input_shape, self.axis)
        if self.built:
            self._check_axis(input_shape, self.axis, self.moving_mean.size)

    def build(self, input_shape: Shape) -> None:
        channels = _known(input_shape, self.axis)
        self._make_scale_and_shift((channels,))
        self.moving_mean = self.add_weight((channels,), self.moving_mean_initializer, "moving_mean", False)
        self.moving_variance = self.add_weight((channels,), self.moving_variance_initializer, "moving_variance", False)

    def call(self, inputs: Tensor, training: bool = False, mask: Any = None) -> Tensor:
        axis = normalize_axis(self.axis, inputs.ndim)
        if not (training and self.trainable):
            return ops.batch_norm(
                inputs, self.moving_mean, self.moving_variance, self.gamma, self.beta, self.epsilon, axis
            )
        others = tuple(i for i in range(inputs.ndim) if i != axis)
        shape = [-1 if i == axis else 1 for i in range(inputs.ndim)]
        if mask is None:
            gamma, beta = (None if w is None else ops.reshape(w, shape) for w in (self.gamma, self.beta))
            y, mean, variance = ops.standardize(inputs, others, self.epsilon, gamma, beta)
        else:
            mean, variance = _masked_moments(inputs, ops.expand_dims(mask, axis), others)
            y = self._scale_and_shift((inputs - mean) / ops.sqrt(variance + self.epsilon), shape)
        with no_grad():
            for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + ops.reshape(now, moving.shape) * (1 - self.momentum))
        return y


def _masked_moments(x: Tensor, counts: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean and biased variance along ``axes``, which stay as axes of size 1, of the values that count."""
    number = ops.sum(ops.astype(counts, x.dtype), axes, keepdims=True) + config.epsilon()  # where there are none: 0
    mean = ops.sum(ops.where(counts, x, 0.0), axes, keepdims=True) / number
    return mean, ops.sum(ops.where(counts, ops.square(x - mean), 0.0), axes, keepdims=True) / number


class LayerNormalization(ScaleAndShift):
    """Give every sample mean 0 and variance 1 over ``axis``, then scale and shift.

    Parameters
    ----------
    axis : int or tuple of int
        Axes to normalise over.
    epsilon : float
        Added to the variance.
    center, scale, beta_initializer, gamma_initializer, ...
        As for :class:`BatchNormalization`.

    Inputs: (N, ..., C). Outputs: the same shape. Weights: gamma and beta, of the sizes along ``axis``.

    Source: J. Ba et al., "Layer normalization", arXiv 1607.06450.

    Examples
    --------
    >>> import tinyconv as tc
    >>> y = tc.layers.LayerNormalization()([[1.0, 2.0, 3.0, 4.0]])
    >>> [round(value, 4) for value in y[0].tolist()]
    [-1.3411, -0.447, 0.447, 1.3411]
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
            beta_constraint, gamma_constraint, **options,
        )  # fmt: skip
        self.axis = tuple(map(_as_axis, axis)) if isinstance(axis, Sequence) else _as_axis(axis)

    def _axes(self, ndim: int) -> list[int]:
        """The axes to normalise over, in order."""
        return sorted(normalize_axis(a, ndim) for a in ([self.axis] if isinstance(self.axis, int) else self.axis))

    def check_input(self, input_shape: Shape) -> None:
        axes = self._axes(len(input_shape))
        for axis in axes:
            _check_axis_exists(input_shape, axis)
        if self.built:
            for axis, size in zip(axes, self._sizes, strict=True):
                self._check_axis(input_shape, axis, size)

    def build(self, input_shape: Shape) -> None:
        self._sizes = tuple(_known(input_shape, axis) for axis in self._axes(len(input_shape)))
        self._make_scale_and_shift(self._sizes)

    def call(self, inputs: Tensor) -> Tensor:
        axes = self._axes(inputs.ndim)
        y = ops.standardize(inputs, axes, self.epsilon)[0]
        return self._scale_and_shift(y, [n if i in axes else 1 for i, n in enumerate(inputs.shape)])


class GroupNormalization(ScaleAndShift):
    """Give every group of channels of every sample mean 0 and variance 1, then scale and shift each channel.

    Parameters
    ----------
    groups : int
        Number of groups; -1 makes every channel a group (instance normalisation).
    axis : int
        The channel axis: -1, or 1 for ``channels_first``.
    epsilon : float
        Added to the variance.
    center, scale, beta_initializer, gamma_initializer, ...
        As for :class:`BatchNormalization`.

    Inputs: (N, ..., C). Outputs: the same shape. Weights, each (C,): gamma, beta.

    Raises
    ------
    ValueError
        When ``groups`` does not divide the number of channels.

    Source: Y. Wu and K. He, "Group normalization", arXiv 1803.08494.

    Examples
    --------
    >>> import tinyconv as tc
    >>> y = tc.layers.GroupNormalization(groups=2)([[1.0, 3.0, 10.0, 30.0]])
    >>> [round(value, 2) for value in y[0].tolist()]
    [-1.0, 1.0, -1.0, 1.0]
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
            beta_constraint, gamma_constraint, **options,
        )  # fmt: skip
        self.groups, self.axis = groups if groups == -1 else as_count(groups, "groups"), _as_axis(axis)

    def check_input(self, input_shape: Shape) -> None:
        _check_axis_exists(input_shape, self.axis)
        if self.built:
            self._check_axis(input_shape, self.axis, self._built_channels)

    def build(self, input_shape: Shape) -> None:
        self._built_channels = channels = _known(input_shape, self.axis)
        if self.groups != -1 and channels % self.groups:
            raise ValueError(f"channels must be a multiple of groups={self.groups}. Received: shape {input_shape}")
        self._make_scale_and_shift((channels,))

    def call(self, inputs: Tensor) -> Tensor:
        axis, shape = normalize_axis(self.axis, inputs.ndim), inputs.shape
        groups = shape[axis] if self.groups == -1 else self.groups
        grouped = ops.reshape(inputs, (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :]))
        others = tuple(i for i in range(1, grouped.ndim) if i != axis)
        y = ops.reshape(ops.standardize(grouped, others, self.epsilon)[0], shape)
        return self._scale_and_shift(y, [-1 if i == axis else 1 for i in range(inputs.ndim)])


class RMSNormalization(Layer):
    """Divide every sample by its root mean square over ``axis``, then scale: half of layer normalisation.

    Parameters
    ----------
    axis : int or tuple of int
        Axes of the mean.
    epsilon : float
        Added to the mean square.

    Inputs: (N, ..., C). Outputs: the same shape. Weights: scale, of the sizes along ``axis``.

    Source: B. Zhang and R. Sennrich, "Root mean square layer normalization", arXiv 1910.07467.

    Examples
    --------
    >>> import tinyconv as tc
    >>> [round(value, 4) for value in tc.layers.RMSNormalization()([[3.0, 4.0]])[0].tolist()]
    [0.8485, 1.1314]
    """

    def __init__(self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, **options: Any) -> None:
        super().__init__(**options)
        if not epsilon >= 0:
            raise ValueError(f"epsilon must be >= 0. Received: {epsilon!r}")
        self.axis = tuple(map(_as_axis, axis)) if isinstance(axis, Sequence) else _as_axis(axis)
        self.epsilon = epsilon

    def _axes(self, ndim: int) -> list[int]:
        return sorted(normalize_axis(a, ndim) for a in ([self.axis] if isinstance(self.axis, int) else self.axis))

    def check_input(self, input_shape: Shape) -> None:
        axes = self._axes(len(input_shape))
        for axis in axes:
            _check_axis_exists(input_shape, axis)
        if self.built:
            for axis, size in zip(axes, self.scale.shape, strict=True):
                self._check_axis(input_shape, axis, size)

    def build(self, input_shape: Shape) -> None:
        self.scale = self.add_weight([_known(input_shape, a) for a in self._axes(len(input_shape))], "ones", "scale")

    def call(self, inputs: Tensor) -> Tensor:
        axes = self._axes(inputs.ndim)
        wide = ops.astype(inputs, "float32") if inputs.dtype == "float16" else inputs  # squares would overflow
        root = ops.sqrt(ops.mean(ops.square(wide), axes, keepdims=True) + self.epsilon)
        y = ops.astype(wide / root, inputs.dtype)
        return y * ops.reshape(self.scale, [n if i in axes else 1 for i, n in enumerate(inputs.shape)])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class UnitNormalization(Layer):
    """Scale every vector along ``axis`` to length 1; a zero vector stays zero.

    Parameters
    ----------
    axis : int or tuple of int

    Inputs: (N, ...). Outputs: the same shape.

    Examples
    --------
    >>> import tinyconv as tc
    >>> [round(value, 3) for value in tc.layers.UnitNormalization()([[3.0, 4.0]])[0].tolist()]
    [0.6, 0.8]
    """

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = tuple(map(_as_axis, axis)) if isinstance(axis, Sequence) else _as_axis(axis)

    def call(self, inputs: Tensor) -> Tensor:
        squares = ops.sum(ops.square(inputs), self.axis, keepdims=True)
        return inputs / ops.sqrt(ops.maximum(squares, 1e-12 if inputs.dtype.itemsize > 2 else 1e-7))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class LocalResponseNormalization(Layer):
    """``x / (bias + alpha * s) ** beta``, s the sum of squares over ``depth_radius`` channels to either side.

    Parameters
    ----------
    depth_radius : int
        Full reach on each side: Krizhevsky's window of n channels is ``depth_radius=n // 2``.
    bias, alpha, beta : float
        As in the formula. AlexNet has depth_radius 2, bias 2, alpha 1e-4, beta 0.75.
    axis : int
        The channel axis: -1, or 1 for ``channels_first``.

    Inputs: (N, ..., C). Outputs: the same shape.

    Source: A. Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012.

    Examples
    --------
    >>> import tinyconv as tc
    >>> y = tc.layers.LocalResponseNormalization(1, alpha=2e-5, beta=0.75)([[100.0, 200.0, 300.0, 400.0]])
    >>> [round(value, 2) for value in y[0].tolist()]
    [59.46, 73.48, 71.24, 104.34]
    """

    def __init__(
        self,
        depth_radius: int = 5,
        bias: float = 1.0,
        alpha: float = 1.0,
        beta: float = 0.5,
        axis: int = -1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.depth_radius, self.axis = as_count(depth_radius, "depth_radius"), _as_axis(axis)
        self.bias, self.alpha, self.beta = bias, alpha, beta

    def check_input(self, input_shape: Shape) -> None:
        _check_axis_exists(input_shape, self.axis)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.local_response_norm(inputs, self.depth_radius, self.bias, self.alpha, self.beta, self.axis)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


def _as_axis(axis: Any) -> int:
    if isinstance(axis, bool) or not isinstance(axis, int) or axis == 0:
        raise ValueError(f"axis must be an integer other than 0, the batch axis. Received: {axis!r}")
    return axis


def _check_axis_exists(input_shape: Shape, axis: int) -> None:
    if normalize_axis(axis, len(input_shape)) == 0:
        raise ValueError(f"axis {axis} must not be the batch axis. Received: shape {input_shape}")


def _known(input_shape: Shape, axis: int) -> int:
    size = input_shape[axis]
    if not size:
        raise ValueError(f"axis {axis} must have a known size of at least 1. Received: shape {input_shape}")
    return size
