"""Checks of arguments: ``ValueError`` with the argument's name, what was expected and what was received."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["at_least_0", "below_1", "fraction", "integer", "one_of", "positive"]


def one_of(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """``value``, which must be one of ``choices``.

    Examples
    --------
    >>> one_of("mode", "mix", ("min", "max"))
    Traceback (most recent call last):
    ValueError: mode must be one of 'min', 'max'. Received: 'mix'
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}. Received: {value!r}")
    return value


def integer(name: str, value: Any, least: int = 1) -> int:
    """``value`` as an int, which must be at least ``least``; floats and bools are none.

    Examples
    --------
    >>> integer("patience", 2.0)
    Traceback (most recent call last):
    ValueError: patience must be an integer >= 1. Received: 2.0
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}. Received: {value!r}")
    return int(value)


def positive(name: str, value: Any) -> Any:
    """``value``, which must be greater than 0."""
    if not _holds(lambda number: number > 0, value):
        raise ValueError(f"{name} must be > 0. Received: {value!r}")
    return value


def at_least_0(name: str, value: Any) -> Any:
    """``value``, which must be 0 or greater."""
    if not _holds(lambda number: number >= 0, value):
        raise ValueError(f"{name} must be >= 0. Received: {value!r}")
    return value


def fraction(name: str, value: Any) -> Any:
    """``value``, which must lie between 0 and 1, or be one of them."""
    if not _holds(lambda number: 0 <= number <= 1, value):
        raise ValueError(f"{name} must lie in [0, 1]. Received: {value!r}")
    return value


def below_1(name: str, value: Any) -> Any:
    """``value``, which must be 0, or lie between 0 and 1."""
    if not _holds(lambda number: 0 <= number < 1, value):
        raise ValueError(f"{name} must lie in [0, 1). Received: {value!r}")
    return value


def _holds(condition: Callable[[Any], bool], value: Any) -> bool:
    """Whether a condition holds of a number; it holds of nothing else."""
    try:
        return bool(condition(value))
    except (TypeError, ValueError):
        return False
