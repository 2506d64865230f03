"""Layers that disturb or penalise what passes through them, in training only; in inference they change nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from tinyconv import ops, random, regularizers
from tinyconv.layers.base import Layer, Shape
from tinyconv.layers.images import ImageLayer
from tinyconv.ops.activation import SELU_ALPHA, SELU_SCALE
from tinyconv.tensor import Tensor


class RandomLayer(Layer):
    """A layer that draws random numbers: from the global stream, or from its own where a ``seed`` is given."""

    supports_masking = True

    def __init__(self, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.seed = seed
        self._stream = None if seed is None else np.random.default_rng(seed)

    def _drawing(self) -> AbstractContextManager[None]:
        return nullcontext() if self._stream is None else random.use(self._stream)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class Dropout(RandomLayer):
    """Set a fraction ``rate`` of the inputs to 0, anew for each batch, and scale the others by ``1 / (1 - rate)``.

    Parameters
    ----------
    rate : float
        Probability of dropping an input, in [0, 1).
    noise_shape : tuple of int or None, optional
        Shape of the random mask, which is broadcast: axes of size 1 are dropped as a whole; ``None`` entries take the
        size of the inputs.
    seed : int, optional
        Gives the layer a random stream of its own.

    Inputs: any shape. Outputs: the same shape; in inference the inputs themselves.

    Source: N. Srivastava et al., "Dropout", JMLR 15, 2014.

    Examples
    --------
    >>> import tinyconv as tc
    >>> layer = tc.layers.Dropout(0.5, seed=1)
    >>> layer([[1.0, 1.0, 1.0, 1.0]], training=True).tolist(), layer([[1.0]]).tolist()
    ([[2.0, 0.0, 2.0, 2.0]], [[1.0]])
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, **options)
        self.rate = _as_rate(rate)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training or not self.rate:
            return inputs
        with self._drawing():
            return ops.dropout(inputs, self.rate, noise_shape=_mask_shape(self.noise_shape, inputs.shape))


class SpatialDropout(RandomLayer, ImageLayer):
    """What dropout of whole channels shares."""

    def __init__(
        self, rate: float, data_format: str | None = None, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(seed, data_format=data_format, **options)
        self.rate = _as_rate(rate)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training or not self.rate:
            return inputs
        mask_shape = tuple(1 if axis in self._spatial_axes else n for axis, n in enumerate(inputs.shape))
        with self._drawing():
            return ops.dropout(inputs, self.rate, noise_shape=mask_shape)


class SpatialDropout2D(SpatialDropout):
    """Drop whole channels: neighbouring cells of one channel tell much the same.

    Parameters
    ----------
    rate : float
        Probability of dropping a channel, in [0, 1).
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.
    seed : int, optional
        Gives the layer a random stream of its own.

    Inputs: (N, H, W, C). Outputs: the same shape; in inference the inputs themselves.

    Source: J. Tompson et al., arXiv 1411.4280.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> y = tc.layers.SpatialDropout2D(0.5, seed=3)(np.ones((1, 4, 4, 100)), training=True)
    >>> bool((y == y[:, :1, :1]).all())
    True
    """


class SpatialDropout1D(SpatialDropout):
    """Drop whole channels of sequences.

    Parameters
    ----------
    rate, data_format, seed
        As for :class:`SpatialDropout2D`.

    Inputs: (N, length, C). Outputs: the same shape; in inference the inputs themselves.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> y = tc.layers.SpatialDropout1D(0.5, seed=3)(np.ones((1, 4, 100)), training=True)
    >>> bool((y == y[:, :1]).all())
    True
    """

    axes = ("length",)

    def __init__(
        self, rate: float, seed: int | None = None, data_format: str | None = None, **options: Any
    ) -> None:
        super().__init__(rate, data_format, seed, **options)


class SpatialDropout3D(SpatialDropout):
    """Drop whole channels of volumes.

    Parameters
    ----------
    rate, data_format, seed
        As for :class:`SpatialDropout2D`.

    Inputs: (N, D, H, W, C). Outputs: the same shape; in inference the inputs themselves.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> y = tc.layers.SpatialDropout3D(0.5, seed=3)(np.ones((1, 2, 4, 4, 100)), training=True)
    >>> bool((y == y[:, :1, :1, :1]).all())
    True
    """

    axes = ("depth", "height", "width")


class AlphaDropout(RandomLayer):
    """Dropout for SELU networks: keeps mean and variance of standardised inputs.

    Dropped inputs become SELU's limit for very negative ones, and the result is scaled and shifted.

    Parameters
    ----------
    rate : float
        Probability of dropping an input, in [0, 1).
    noise_shape : tuple of int or None, optional
        As for :class:`Dropout`.
    seed : int, optional
        Gives the layer a random stream of its own.

    Inputs: any shape. Outputs: the same shape; in inference the inputs themselves.

    Source: G. Klambauer et al., "Self-normalizing neural networks", arXiv 1706.02515, section "alpha dropout".

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> y = tc.layers.AlphaDropout(0.3, seed=1)(np.random.default_rng(0).normal(size=(300, 300)), training=True)
    >>> abs(float(y.mean())) < 0.02, abs(float(y.std()) - 1) < 0.02
    (True, True)
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, **options)
        self.rate = _as_rate(rate)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training or not self.rate:
            return inputs
        limit = -SELU_ALPHA * SELU_SCALE
        scale = ((1 - self.rate) * (1 + self.rate * limit**2)) ** -0.5
        with self._drawing():
            shape = _mask_shape(self.noise_shape, inputs.shape) or inputs.shape
            kept = ops.greater_equal(ops.random_uniform(shape, dtype=inputs.dtype), self.rate)
        return scale * ops.where(kept, inputs, limit) - scale * limit * self.rate


class GaussianNoise(RandomLayer):
    """Add normal noise of mean 0.

    Parameters
    ----------
    stddev : float
        Standard deviation, >= 0.
    seed : int, optional
        Gives the layer a random stream of its own.

    Inputs: any shape. Outputs: the same shape; in inference the inputs themselves.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> y = tc.layers.GaussianNoise(0.5, seed=1)(np.zeros((100, 100)), training=True)
    >>> round(float(y.std()), 2)
    0.5
    """

    def __init__(self, stddev: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed, **options)
        if not stddev >= 0:
            raise ValueError(f"stddev must be >= 0. Received: {stddev!r}")
        self.stddev = stddev

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training or not self.stddev:
            return inputs
        with self._drawing():
            return inputs + self.stddev * _standard_normal_like(inputs)


class GaussianDropout(RandomLayer):
    """Multiply by normal noise of mean 1 and standard deviation ``sqrt(rate / (1 - rate))``, as dropout has.

    Parameters
    ----------
    rate : float
        In [0, 1).
    seed : int, optional
        Gives the layer a random stream of its own.

    Inputs: any shape. Outputs: the same shape; in inference the inputs themselves.

    Source: N. Srivastava et al., "Dropout", JMLR 15, 2014, section 10.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> y = tc.layers.GaussianDropout(0.2, seed=1)(np.ones((100, 100)), training=True)
    >>> round(float(y.std()), 2)
    0.5
    """

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed, **options)
        self.rate = _as_rate(rate)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training or not self.rate:
            return inputs
        with self._drawing():
            return inputs * (1 + math.sqrt(self.rate / (1 - self.rate)) * _standard_normal_like(inputs))


class ActivityRegularization(Layer):
    """Add ``(l1 * sum(|x|) + l2 * sum(x ** 2)) / N`` to the loss; the inputs pass through.

    Parameters
    ----------
    l1, l2 : float
        Factors >= 0.

    Inputs: any shape. Outputs: the inputs themselves.

    Examples
    --------
    >>> import tinyconv as tc
    >>> layer = tc.layers.ActivityRegularization(l2=0.5)
    >>> y = layer([[3.0, 4.0]])
    >>> layer.losses[0].item()
    12.5
    """

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self._penalty = regularizers.L1L2(l1, l2)
        self.l1, self.l2 = self._penalty.l1, self._penalty.l2

    def call(self, inputs: Tensor) -> Tensor:
        self.add_loss(self._penalty(inputs) / max(len(inputs), 1))
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


def _as_rate(rate: Any) -> float:
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise ValueError(f"rate must be a number in [0, 1). Received: {rate!r}")
    return float(rate)


def _mask_shape(noise_shape: Shape | None, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """``noise_shape`` with the inputs' sizes in place of None; None where none is given."""
    if noise_shape is None:
        return None
    if len(noise_shape) != len(shape):
        raise ValueError(f"noise_shape {noise_shape} must have one entry per axis. Received: shape {shape}")
    return tuple(n if wanted is None else wanted for wanted, n in zip(noise_shape, shape, strict=True))


def _standard_normal_like(x: Tensor) -> Tensor:
    """Normal random numbers of the shape and dtype of ``x``, from two uniform ones each.

    Source: G. Box and M. Muller, "A note on the generation of random normal deviates", 1958.
    """
    dtype = np.promote_types(x.dtype, np.float32)
    u, v = (ops.random_uniform(x.shape, dtype=dtype) for _ in range(2))
    return ops.astype(ops.sqrt(-2 * ops.log(1 - u)) * ops.cos(2 * math.pi * v), x.dtype)
