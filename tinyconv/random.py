"""One seed, one generator: every random number of tinyconv comes from here.

``set_seed(n)`` makes everything that follows repeatable: initial weights, shuffling, dropout. Host-side draws use
``generator()``. Draws that happen on a device use ``next_key()``: a 64-bit key from the same generator that seeds a
counter-based stream (``random_uniform`` of the backends), equal on every backend and for any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

_generator = np.random.default_rng()
_override: ContextVar[np.random.Generator | None] = ContextVar("tinyconv_generator", default=None)


def set_seed(seed: int) -> None:
    """Make all following random numbers a function of ``seed``.

    Parameters
    ----------
    seed : int
        Any integer >= 0.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.set_seed(7)
    >>> first = tc.random.next_key()
    >>> tc.set_seed(7)
    >>> first == tc.random.next_key()
    True
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be an integer >= 0. Received: {seed!r}")
    global _generator
    _generator = np.random.default_rng(int(seed))


def generator() -> np.random.Generator:
    """The one generator, or the one that ``use`` put in its place here; its state advances with every draw."""
    return _override.get() or _generator


@contextmanager
def use(source: np.random.Generator) -> Iterator[None]:
    """Draw from ``source`` inside this context: how a model trains from a stream of its own that it can save."""
    token = _override.set(source)
    try:
        yield
    finally:
        _override.reset(token)


class Key(int):
    """A key that was drawn from a generator (``source``) for one use: to repeat the computation, draw a fresh one."""

    source: np.random.Generator | None = None


def next_key(source: np.random.Generator | None = None) -> Key:
    """A fresh 64-bit key for a backend's ``random_uniform``, from ``source`` or from the generator in use here."""
    source = source or generator()
    key = Key(source.integers(0, 2**64, dtype=np.uint64))
    key.source = source
    return key
