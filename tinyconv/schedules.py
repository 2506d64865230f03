"""Learning-rate schedules: functions of a step number, usable as an optimizer's ``learning_rate``.

An optimizer calls its schedule with the number of gradients it has had: of updates, unless it accumulates gradients.
``schedule(epoch)`` works as well, so that each may be given to ``LearningRateScheduler``, with all lengths in epochs.
All numbers are Python floats (float64).

Sources: names and formulas of Keras 3; I. Loshchilov and F. Hutter, arXiv 1608.03983 (cosine); L. N. Smith,
arXiv 1803.09820 (one cycle); P. Goyal et al., arXiv 1706.02677 (warm-up).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Any

from tinyconv.checks import fraction, positive
from tinyconv.registry import Configurable, Registry, serialize

__all__ = [
    "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "LearningRateSchedule",
    "LinearWarmup", "OneCycle", "PiecewiseConstantDecay", "PolynomialDecay", "StepDecay", "deserialize", "get",
    "registry", "serialize",
]  # fmt: skip


class LearningRateSchedule(Configurable):
    """Base of all schedules: a subclass defines ``__call__(step)`` and keeps its arguments as attributes.

    Examples
    --------
    >>> from tinyconv.schedules import LearningRateSchedule
    >>> class Linear(LearningRateSchedule):
    ...     def __init__(self, slope=0.1):
    ...         self.slope = slope
    ...     def __call__(self, step):
    ...         return self.slope * step
    >>> Linear()(5), Linear().get_config()
    (0.5, {'slope': 0.1})
    """

    def __call__(self, step: int) -> float:
        """The learning rate after ``step`` gradients."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(step)")


registry = Registry("learning-rate schedule", LearningRateSchedule)


def get(identifier: Any) -> LearningRateSchedule:
    """The schedule that a configuration, as ``serialize`` gives it, describes; schedules pass through.

    Examples
    --------
    >>> from tinyconv import schedules
    >>> schedules.get({"class_name": "StepDecay", "config": {"initial_learning_rate": 0.1}})
    StepDecay(initial_learning_rate=0.1)
    """
    return registry.get(identifier)


deserialize = get


@registry.register()
class ExponentialDecay(LearningRateSchedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Steps after which the rate has been multiplied by ``decay_rate``.
    decay_rate : float
    staircase : bool
        Change only every ``decay_steps`` steps: ``step / decay_steps`` is floored.

    Examples
    --------
    >>> from tinyconv.schedules import ExponentialDecay
    >>> [ExponentialDecay(0.1, 10, 0.5)(step) for step in (0, 10, 20)]
    [0.1, 0.05, 0.025]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = None,
    ) -> None:
        self.initial_learning_rate, self.decay_rate = initial_learning_rate, decay_rate
        self.decay_steps = positive("decay_steps", decay_steps)
        self.staircase, self.name = staircase, name

    def __call__(self, step: int) -> float:
        return float(self.initial_learning_rate * self.decay_rate ** _progress(step, self.decay_steps, self.staircase))


@registry.register()
class InverseTimeDecay(LearningRateSchedule):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    With ``decay_steps=1`` this is the time decay that the optimizers' argument ``decay`` applies.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
    staircase : bool
        Change only every ``decay_steps`` steps.

    Examples
    --------
    >>> from tinyconv.schedules import InverseTimeDecay
    >>> [round(InverseTimeDecay(0.01, 1, 0.1)(step), 8) for step in (0, 1, 2)]
    [0.01, 0.00909091, 0.00833333]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = None,
    ) -> None:
        self.initial_learning_rate, self.decay_rate = initial_learning_rate, decay_rate
        self.decay_steps = positive("decay_steps", decay_steps)
        self.staircase, self.name = staircase, name

    def __call__(self, step: int) -> float:
        progress = _progress(step, self.decay_steps, self.staircase)
        return float(self.initial_learning_rate / (1 + self.decay_rate * progress))


@registry.register()
class PolynomialDecay(LearningRateSchedule):
    """From the initial to the end rate along ``(1 - step / decay_steps) ** power``; then constant.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    end_learning_rate : float
    power : float
        1 is a straight line.
    cycle : bool
        Instead of staying at the end rate, stretch ``decay_steps`` to its next multiple.

    Examples
    --------
    >>> from tinyconv.schedules import PolynomialDecay
    >>> [PolynomialDecay(0.5, 4, 0.0)(step) for step in (0, 1, 2, 4, 9)]
    [0.5, 0.375, 0.25, 0.0, 0.0]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str | None = None,
    ) -> None:
        self.initial_learning_rate, self.end_learning_rate = initial_learning_rate, end_learning_rate
        self.decay_steps = positive("decay_steps", decay_steps)
        self.power, self.cycle, self.name = power, cycle, name

    def __call__(self, step: int) -> float:
        steps = self.decay_steps * max(math.ceil(step / self.decay_steps), 1) if self.cycle else self.decay_steps
        left = 1 - min(step / steps, 1)
        return float((self.initial_learning_rate - self.end_learning_rate) * left**self.power + self.end_learning_rate)


@registry.register()
class CosineDecay(LearningRateSchedule):
    """Optional linear warm-up, then half a cosine from the top rate down to ``alpha`` times it; then constant.

    Parameters
    ----------
    initial_learning_rate : float
        Top rate, or the start of the warm-up where ``warmup_target`` is given.
    decay_steps : int
        Length of the cosine, warm-up not counted.
    alpha : float
        Final rate as a fraction of the top rate.
    warmup_target : float, optional
        Top rate at the end of the warm-up.
    warmup_steps : int
        Length of the warm-up.

    Examples
    --------
    >>> from tinyconv.schedules import CosineDecay
    >>> schedule = CosineDecay(0.0, 10, warmup_target=0.1, warmup_steps=2)
    >>> [round(schedule(step), 6) for step in (0, 1, 2, 7, 12, 99)]
    [0.0, 0.05, 0.1, 0.05, 0.0, 0.0]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str | None = None,
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate, self.alpha = initial_learning_rate, alpha
        self.decay_steps = positive("decay_steps", decay_steps)
        self.name, self.warmup_target, self.warmup_steps = name, warmup_target, warmup_steps

    def __call__(self, step: int) -> float:
        top, start = self.initial_learning_rate, 0
        if self.warmup_target is not None:
            top, start = self.warmup_target, self.warmup_steps
        if step < start:
            return float(self.initial_learning_rate + (top - self.initial_learning_rate) * step / start)
        return float(top * _cosine(min((step - start) / self.decay_steps, 1), self.alpha))


@registry.register()
class CosineDecayRestarts(LearningRateSchedule):
    """Half cosines one after the other, each ``t_mul`` times as long and ``m_mul`` times as high as the one before.

    ``initial_learning_rate * ((1 - alpha) * m_mul**i * (1 + cos(pi * progress)) / 2 + alpha)`` in cosine i = 0, 1, ...

    Parameters
    ----------
    initial_learning_rate : float
    first_decay_steps : int
        Length of the first cosine.
    t_mul, m_mul : float
        Factors of length and height from one cosine to the next.
    alpha : float
        Lowest rate as a fraction of ``initial_learning_rate``.

    Examples
    --------
    >>> from tinyconv.schedules import CosineDecayRestarts
    >>> [round(CosineDecayRestarts(0.1, 2)(step), 6) for step in (0, 1, 2, 4, 6)]
    [0.1, 0.05, 0.1, 0.05, 0.1]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str | None = None,
    ) -> None:
        self.initial_learning_rate, self.alpha, self.name = initial_learning_rate, alpha, name
        self.first_decay_steps = positive("first_decay_steps", first_decay_steps)
        if t_mul < 1:
            raise ValueError(f"t_mul must be at least 1. Received: {t_mul!r}")
        self.t_mul, self.m_mul = t_mul, m_mul

    def __call__(self, step: int) -> float:
        height, length, since = 1.0, float(self.first_decay_steps), float(step)
        if self.t_mul == 1:
            height, since = self.m_mul ** (since // length), since % length
        while since >= length:
            since -= length
            height, length = height * self.m_mul, length * self.t_mul
        wave = height * _cosine(since / length, 0.0)
        return float(self.initial_learning_rate * ((1 - self.alpha) * wave + self.alpha))


@registry.register()
class PiecewiseConstantDecay(LearningRateSchedule):
    """``values[i]`` up to and including step ``boundaries[i]``, the last value afterwards.

    Parameters
    ----------
    boundaries : sequence of n increasing numbers
    values : sequence of n + 1 floats

    Examples
    --------
    >>> from tinyconv.schedules import PiecewiseConstantDecay
    >>> [PiecewiseConstantDecay([2, 5], [0.1, 0.01, 0.001])(step) for step in (0, 2, 3, 5, 6)]
    [0.1, 0.1, 0.01, 0.01, 0.001]
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str | None = None) -> None:
        if len(values) != len(boundaries) + 1 or list(boundaries) != sorted(set(boundaries)):
            raise ValueError(
                "PiecewiseConstantDecay expected increasing boundaries and one value more. "
                f"Received: boundaries={list(boundaries)}, values={list(values)}"
            )
        self.boundaries, self.values, self.name = list(boundaries), list(values), name

    def __call__(self, step: int) -> float:
        return float(self.values[bisect.bisect_left(self.boundaries, step)])


@registry.register()
class StepDecay(LearningRateSchedule):
    """``initial_learning_rate * factor ** floor((1 + step) / drop_every)``, usually per epoch, counted from 0.

    Because of the ``1 +``, the first plateau is one step shorter than the others.

    Parameters
    ----------
    initial_learning_rate : float
    factor : float
        Multiplies the rate at each drop.
    drop_every : int
        Steps from drop to drop.

    Examples
    --------
    >>> from tinyconv.schedules import StepDecay
    >>> [StepDecay(0.01, 0.25, 5)(epoch) for epoch in (0, 3, 4, 8, 9)]
    [0.01, 0.01, 0.0025, 0.0025, 0.000625]
    """

    def __init__(
        self, initial_learning_rate: float, factor: float = 0.5, drop_every: int = 10, name: str | None = None
    ) -> None:
        self.initial_learning_rate, self.factor, self.name = initial_learning_rate, factor, name
        self.drop_every = positive("drop_every", drop_every)

    def __call__(self, step: int) -> float:
        return float(self.initial_learning_rate * self.factor ** math.floor((1 + step) / self.drop_every))


@registry.register()
class OneCycle(LearningRateSchedule):
    """Half a cosine up from ``max_learning_rate / div_factor`` to the top, another one down to nearly 0; then constant.

    Parameters
    ----------
    max_learning_rate : float
        Top rate.
    total_steps : int
        Length of the whole cycle.
    pct_start : float in [0, 1]
        Share of the cycle in which the rate rises.
    div_factor : float
        Top rate over first rate.
    final_div_factor : float
        First rate over last rate.

    Examples
    --------
    >>> from tinyconv.schedules import OneCycle
    >>> schedule = OneCycle(1.0, 100, pct_start=0.2, div_factor=10.0, final_div_factor=100.0)
    >>> [round(schedule(step), 6) for step in (0, 10, 20, 60, 100, 999)]
    [0.1, 0.55, 1.0, 0.5005, 0.001, 0.001]
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: float,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        name: str | None = None,
    ) -> None:
        self.max_learning_rate, self.name = max_learning_rate, name
        self.total_steps = positive("total_steps", total_steps)
        self.pct_start = fraction("pct_start", pct_start)
        self.div_factor = positive("div_factor", div_factor)
        self.final_div_factor = positive("final_div_factor", final_div_factor)

    def __call__(self, step: int) -> float:
        top, first = self.max_learning_rate, self.max_learning_rate / self.div_factor
        last, rise = first / self.final_div_factor, self.pct_start * self.total_steps
        if step < rise:
            return float(top + (first - top) * _cosine(step / rise, 0.0))
        if step >= self.total_steps:
            return float(last)
        return float(last + (top - last) * _cosine((step - rise) / (self.total_steps - rise), 0.0))


@registry.register()
class LinearWarmup(LearningRateSchedule):
    """A straight line up to the rate with which another schedule begins, then that schedule, counted from 0.

    Parameters
    ----------
    after : LearningRateSchedule, callable or float
        What follows the warm-up; a number stays as it is.
    warmup_steps : int
        Length of the warm-up.
    initial_learning_rate : float
        Rate in step 0.

    Examples
    --------
    >>> from tinyconv.schedules import ExponentialDecay, LinearWarmup
    >>> schedule = LinearWarmup(ExponentialDecay(0.4, 10, 0.5), warmup_steps=4)
    >>> [schedule(step) for step in (0, 1, 4, 14)]
    [0.0, 0.1, 0.4, 0.2]
    """

    def __init__(
        self,
        after: Callable[[int], float] | float,
        warmup_steps: float,
        initial_learning_rate: float = 0.0,
        name: str | None = None,
    ) -> None:
        self.after = get(after) if isinstance(after, dict) else after
        self.warmup_steps = positive("warmup_steps", warmup_steps)
        self.initial_learning_rate, self.name = initial_learning_rate, name

    def __call__(self, step: int) -> float:
        since = step - self.warmup_steps
        rate = self.after(max(since, 0)) if callable(self.after) else self.after
        if since < 0:
            rate = self.initial_learning_rate + (rate - self.initial_learning_rate) * step / self.warmup_steps
        return float(rate)


def _progress(step: int, decay_steps: float, staircase: bool) -> float:
    return math.floor(step / decay_steps) if staircase else step / decay_steps


def _cosine(progress: float, alpha: float) -> float:
    """From 1 down to ``alpha`` while ``progress`` goes from 0 to 1."""
    return (1 - alpha) * 0.5 * (1 + math.cos(math.pi * progress)) + alpha
