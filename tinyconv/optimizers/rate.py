"""The learning rate of an optimizer: a number, a schedule or a function, and Keras 2's decay over time."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyconv import schedules
from tinyconv.registry import Configurable


class WithLearningRate(Configurable):
    """What an :class:`Optimizer` knows about its learning rate."""

    unrecorded = frozenset({"iterations", "_gathered", "_put"})
    name: str
    iterations: int  # updates done
    gradient_accumulation_steps: int | None
    _gathered: int  # gradients that wait for their update
    decay: float
    _rate: float | Callable[..., float] = 0.0
    _rate_takes_step = False  # whether a function is called with the number of gradients so far

    @property
    def learning_rate(self) -> float:
        """The learning rate as it was set, or as the schedule gives it now; time decay is not yet applied."""
        if not callable(self._rate):
            return self._rate
        return float(self._rate(self._received) if self._rate_takes_step else self._rate())

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, dict):
            value = schedules.get(value)
        if not callable(value):
            if callable(self._rate):
                raise TypeError(
                    f"The learning rate of this {self.name} is given by a schedule and cannot be set to a number. "
                    f"Received: {value!r}"
                )
            value = checked_rate(value)
        self._rate, self._rate_takes_step = value, callable(value) and _takes_step(value)

    @property
    def _received(self) -> int:
        """Gradients so far: as many as updates, or more where several make one."""
        return self.iterations * (self.gradient_accumulation_steps or 1) + self._gathered

    @property
    def lr(self) -> float:
        """Keras 2's name of :attr:`learning_rate`."""
        return self.learning_rate

    @lr.setter
    def lr(self, value: Any) -> None:
        self.learning_rate = value

    @property
    def effective_learning_rate(self) -> float:
        """The rate of the next update: ``learning_rate / (1 + decay * iterations)``."""
        return self.learning_rate / (1 + self.decay * self.iterations)


def checked_rate(value: Any) -> float:
    """``value`` as a float, where it is a learning rate."""
    not_a_number = value is None or isinstance(value, str | bool) or np.ndim(value) != 0
    if not_a_number or not 0 <= float(value) < math.inf:
        raise ValueError(f"learning_rate must be a finite number >= 0, or a schedule. Received: {value!r}")
    return float(value)


def _takes_step(rate: Callable[..., float]) -> bool:
    """Whether a function can be called with one argument."""
    try:
        inspect.signature(rate).bind(0)
    except TypeError:
        return False
    except ValueError:  # a builtin does not tell
        return True
    return True
