"""Random operations: each takes its random numbers from a key, so that a key repeats them on any device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyconv import backends, config, random
from tinyconv.function import Function
from tinyconv.ops.elementwise import as_float
from tinyconv.tensor import Tensor


class Dropout(Function):
    """Inverted dropout; ``noise_shape`` broadcasts against ``x``."""

    def __init__(self, rate: float, key: int, noise_shape: tuple[int, ...] | None) -> None:
        self.rate, self.key, self.noise_shape = rate, key, noise_shape

    def forward(self, x: Any) -> Any:
        b = self.backend
        uniform = b.random_uniform(self.key, self.noise_shape or x.shape, x.dtype)
        mask = b.multiply(b.greater_equal(uniform, self.rate), b.asarray(1 / (1 - self.rate), x.dtype))
        self.save(mask)
        return b.multiply(x, mask)

    def backward(self, dy: Tensor) -> Tensor:
        (mask,) = self.saved
        return dy * mask


def dropout(
    x: Any, rate: float, key: int | None = None, noise_shape: tuple[int, ...] | None = None
) -> Tensor:
    """Set a fraction ``rate`` of the elements to 0 and scale the others by ``1 / (1 - rate)``.

    Parameters
    ----------
    x : array_like or Tensor
    rate : float in [0, 1)
        Probability of dropping an element.
    key : int, optional
        Repeats the same choice; a fresh key of the global generator by default.
    noise_shape : tuple of int, optional
        Shape of the random mask, which is broadcast: axes of size 1 are dropped as a whole.

    Source: N. Srivastava et al., "Dropout", JMLR 15, 2014.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must lie in [0, 1). Received: {rate!r}")
    x = as_float(x)
    return Dropout(rate, random.next_key() if key is None else key, noise_shape)(x) if rate else x


def random_uniform(
    shape: Sequence[int], minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, key: int | None = None
) -> Tensor:
    """Random numbers, equally likely anywhere in [minval, maxval).

    Parameters
    ----------
    shape : tuple of int
    minval, maxval : float
        Limits; the upper one is never reached but by rounding.
    dtype : dtype, optional
        Float type; ``config.floatx()`` by default.
    key : int, optional
        Repeats the same numbers; a fresh key of the global generator by default.

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = tc.ops.random_uniform((2, 3), -1.0, 1.0, key=5)
    >>> x.shape, bool((abs(x) <= 1).all())
    ((2, 3), True)
    """
    key = random.next_key() if key is None else key
    x = Tensor._of(backends.default().random_uniform(key, tuple(shape), dtype or config.floatx()))
    return x if (minval, maxval) == (0.0, 1.0) else x * (maxval - minval) + minval
