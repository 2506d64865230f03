"""Initial values of weights. An initializer is called with a shape and a dtype and gives a NumPy array.

Without ``seed`` the numbers come from the global generator (``tinyconv.set_seed``) and differ from call to call; with
``seed`` every call gives the same numbers. ``get`` accepts an object, a class, a callable, a configuration, or a name
in Keras's spelling: ``"glorot_uniform"``, ``"he_normal"``, ``"zeros"``, ...

Sources: X. Glorot and Y. Bengio, AISTATS 2010 (Glorot); K. He et al., arXiv 1502.01852 (He); Y. LeCun et al.,
"Efficient BackProp", 1998 (LeCun); A. Saxe et al., arXiv 1312.6120 (orthogonal).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import config, random
from tinyconv.checks import one_of, positive
from tinyconv.registry import Configurable, Registry
from tinyconv.registry import serialize as serialize  # Keras has it here too

Shape = Sequence[int]

_registry = Registry("initializer")


def get(identifier: Any) -> Callable[..., Any]:
    """The initializer that ``identifier`` means: a name, a configuration, a class, or any callable(shape, dtype).

    Examples
    --------
    >>> get("he_normal"), get(GlorotUniform(seed=3))
    (HeNormal(), GlorotUniform(seed=3))
    """
    return _registry.get(identifier)


deserialize = get


class Initializer(Configurable):
    """Base class: subclasses define ``__call__`` and keep their arguments as attributes of the same names.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> class Diagonal(tc.initializers.Initializer):
    ...     def __call__(self, shape, dtype=None):
    ...         return np.eye(*shape, dtype=dtype)
    >>> tc.layers.Dense(2, kernel_initializer=Diagonal())([[3.0, 4.0]]).tolist()
    [[3.0, 4.0]]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        """Values for a weight of ``shape``; ``dtype`` defaults to ``config.floatx()``."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, shape, dtype)")


@_registry.register()
class Constant(Initializer):
    """All weights, of any shape, equal ``value``.

    Examples
    --------
    >>> Constant(0.5)((3,)).tolist()
    [0.5, 0.5, 0.5]
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return np.full(shape, self.value, dtype or config.floatx())


@_registry.register("zero")
class Zeros(Initializer):
    """All weights, of any shape, 0: right for biases; kernels of zeros keep all neurons of a layer identical for ever.

    Examples
    --------
    >>> from tinyconv.initializers import Zeros
    >>> Zeros()((2, 3)).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return np.zeros(shape, dtype or config.floatx())


@_registry.register("one")
class Ones(Initializer):
    """All weights, of any shape, 1.

    Examples
    --------
    >>> from tinyconv.initializers import Ones
    >>> Ones()((3,)).tolist()
    [1.0, 1.0, 1.0]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return np.ones(shape, dtype or config.floatx())


@_registry.register("uniform")
class RandomUniform(Initializer):
    """Uniform in [minval, maxval), for weights of any shape.

    Examples
    --------
    >>> from tinyconv.initializers import RandomUniform
    >>> w = RandomUniform(0.0, 2.0, seed=1)((100, 50))
    >>> bool(w.min() >= 0 and w.max() < 2), round(float(w.mean()), 1)
    (True, 1.0)
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return _uniform(shape, self.minval, self.maxval, self.seed, dtype)


@_registry.register("normal")
class RandomNormal(Initializer):
    """Normal with the given mean and standard deviation, for weights of any shape.

    Examples
    --------
    >>> from tinyconv.initializers import RandomNormal
    >>> w = RandomNormal(1.0, 0.5, seed=1)((100, 50))
    >>> round(float(w.mean()), 1), round(float(w.std()), 1)
    (1.0, 0.5)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return _normal(shape, self.mean, self.stddev, self.seed, dtype)


@_registry.register()
class TruncatedNormal(Initializer):
    """Normal, for weights of any shape; values farther than two standard deviations from the mean are drawn again.

    Examples
    --------
    >>> from tinyconv.initializers import TruncatedNormal
    >>> bool(abs(TruncatedNormal(stddev=0.5, seed=1)((100, 50))).max() <= 1)
    True
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return _normal(shape, self.mean, self.stddev, self.seed, dtype, limit=2)


@_registry.register()
class VarianceScaling(Initializer):
    """Random weights of variance ``scale / n``, which keeps the size of signals from layer to layer.

    Parameters
    ----------
    scale : float
        Greater than 0.
    mode : str
        What n is: ``"fan_in"`` (inputs of a neuron), ``"fan_out"`` (its outputs) or ``"fan_avg"`` (their mean). For
        kernels of shape (KH, KW, C, O) these are KH KW C and KH KW O.
    distribution : str
        ``"truncated_normal"``, ``"untruncated_normal"`` or ``"uniform"``.
    seed : int, optional

    Examples
    --------
    >>> w = VarianceScaling(2.0, seed=1)((5, 5, 64, 64))
    >>> round(float(w.var()) * 5 * 5 * 64, 1)
    2.0
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        distribution = "truncated_normal" if distribution == "normal" else distribution
        known = ("truncated_normal", "untruncated_normal", "uniform")
        self.scale, self.mode = positive("scale", scale), one_of("mode", mode, ("fan_in", "fan_out", "fan_avg"))
        self.distribution, self.seed = one_of("distribution", distribution, known), seed

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        fan_in, fan_out = compute_fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return _uniform(shape, -limit, limit, self.seed, dtype)
        if self.distribution == "untruncated_normal":
            return _normal(shape, 0, math.sqrt(variance), self.seed, dtype)
        return _normal(shape, 0, math.sqrt(variance) / _TRUNCATED_STD, self.seed, dtype, limit=2)


class _Seeded(VarianceScaling):
    """A variance scaling that has a name, and nothing to set but the seed."""

    settings: tuple[float, str, str]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self.settings, seed)


@_registry.register()
class GlorotUniform(_Seeded):
    """Uniform in [-limit, limit], limit = sqrt(6 / (fan_in + fan_out)): the default for kernels (Xavier).

    fan_in and fan_out follow from the shape, see :func:`compute_fans`.

    Examples
    --------
    >>> from tinyconv.initializers import GlorotUniform
    >>> bool(abs(GlorotUniform(seed=1)((50, 100))).max() <= (6 / 150) ** 0.5)
    True
    """

    settings = (1.0, "fan_avg", "uniform")


@_registry.register()
class GlorotNormal(_Seeded):
    """Truncated normal of variance 2 / (fan_in + fan_out).

    fan_in and fan_out follow from the shape, see :func:`compute_fans`.

    Examples
    --------
    >>> from tinyconv.initializers import GlorotNormal
    >>> round(float(GlorotNormal(seed=1)((200, 200)).var()) * 400 / 2, 1)
    1.0
    """

    settings = (1.0, "fan_avg", "truncated_normal")


@_registry.register()
class HeUniform(_Seeded):
    """Uniform in [-limit, limit], limit = sqrt(6 / fan_in): for relu.

    fan_in and fan_out follow from the shape, see :func:`compute_fans`.

    Examples
    --------
    >>> from tinyconv.initializers import HeUniform
    >>> bool(abs(HeUniform(seed=1)((50, 100))).max() <= (6 / 50) ** 0.5)
    True
    """

    settings = (2.0, "fan_in", "uniform")


@_registry.register()
class HeNormal(_Seeded):
    """Truncated normal of variance 2 / fan_in: for relu.

    fan_in and fan_out follow from the shape, see :func:`compute_fans`.

    Examples
    --------
    >>> from tinyconv.initializers import HeNormal
    >>> round(float(HeNormal(seed=1)((3, 3, 64, 64)).var()) * 3 * 3 * 64 / 2, 1)
    1.0
    """

    settings = (2.0, "fan_in", "truncated_normal")


@_registry.register()
class LecunUniform(_Seeded):
    """Uniform in [-limit, limit], limit = sqrt(3 / fan_in).

    fan_in and fan_out follow from the shape, see :func:`compute_fans`.

    Examples
    --------
    >>> from tinyconv.initializers import LecunUniform
    >>> bool(abs(LecunUniform(seed=1)((50, 100))).max() <= (3 / 50) ** 0.5)
    True
    """

    settings = (1.0, "fan_in", "uniform")


@_registry.register()
class LecunNormal(_Seeded):
    """Truncated normal of variance 1 / fan_in: for selu.

    fan_in and fan_out follow from the shape, see :func:`compute_fans`.

    Examples
    --------
    >>> from tinyconv.initializers import LecunNormal
    >>> round(float(LecunNormal(seed=1)((200, 200)).var()) * 200, 1)
    1.0
    """

    settings = (1.0, "fan_in", "truncated_normal")


@_registry.register("OrthogonalInitializer")
class Orthogonal(Initializer):
    """A random matrix with orthonormal rows or columns (the fewer of the two), times ``gain``.

    Weights of more than two axes are such a matrix of shape (product of all axes but the last, last axis).

    Examples
    --------
    >>> import numpy as np
    >>> from tinyconv.initializers import Orthogonal
    >>> q = Orthogonal(seed=1)((4, 3), "float64")
    >>> bool(abs(q.T @ q - np.eye(3)).max() < 1e-6)
    True
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain, self.seed = gain, seed

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal expected a shape of at least 2 axes. Received: {tuple(shape)}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = _generator(self.seed).standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(normal)
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the factorisation unique, hence q uniformly distributed
        return _scaled((q if rows >= columns else q.T).reshape(shape), 0, self.gain, dtype)


@_registry.register("IdentityInitializer", "eye")
class Identity(Initializer):
    """The identity matrix times ``gain``; for weights of two axes (rows, columns).

    Examples
    --------
    >>> from tinyconv.initializers import Identity
    >>> Identity(2.0)((2, 3)).tolist()
    [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        if len(shape) != 2:
            raise ValueError(f"Identity expected a shape of 2 axes. Received: {tuple(shape)}")
        return _scaled(np.eye(shape[0], shape[1]), 0, self.gain, dtype)


def compute_fans(shape: Shape) -> tuple[float, float]:
    """Inputs and outputs of one neuron, for a weight of ``shape``: all axes but the last two are the window.

    Examples
    --------
    >>> compute_fans((5, 5, 3, 20)), compute_fans((100, 10))
    ((75, 500), (100, 10))
    """
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


# Standard deviation of a standard normal that is cut off at -2 and 2.
_TRUNCATED_STD = 0.87962566103423978


def _generator(seed: int | None) -> np.random.Generator:
    return random.generator() if seed is None else np.random.default_rng(seed)


def _uniform(shape: Shape, low: float, high: float, seed: int | None, dtype: Any) -> np.ndarray:
    values = _generator(seed).random(shape, _drawn(dtype))
    return _scaled(values, low, high - low, dtype)


def _normal(
    shape: Shape, mean: float, stddev: float, seed: int | None, dtype: Any, limit: float = np.inf
) -> np.ndarray:
    """Normal numbers; those farther than ``limit`` standard deviations from the mean are drawn again."""
    generator = _generator(seed)
    values = np.asarray(generator.standard_normal(shape, _drawn(dtype)))
    while limit < np.inf and (outside := np.abs(values) > limit).any():
        values[outside] = generator.standard_normal(np.count_nonzero(outside), values.dtype)
    return _scaled(values, mean, stddev, dtype)


def _drawn(dtype: Any) -> Any:
    """The type in which random numbers are drawn: float64 only where it is asked for."""
    return np.float64 if np.dtype(dtype or config.floatx()) == np.float64 else np.float32


def _scaled(values: Any, shift: float, scale: float, dtype: Any) -> np.ndarray:
    values = np.asarray(values)
    values *= values.dtype.type(scale)  # in place: a layer's weights may be half of the memory
    values += values.dtype.type(shift)
    return values.astype(dtype or config.floatx(), copy=False)


# Keras's other spelling
zeros, ones, constant = Zeros, Ones, Constant
random_uniform, random_normal, truncated_normal, variance_scaling = (
    RandomUniform, RandomNormal, TruncatedNormal, VarianceScaling,
)  # fmt: skip
glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal = (
    GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal,
)  # fmt: skip
orthogonal, identity = Orthogonal, Identity
