"""Adam and its relatives: steps of moving means of the gradient, divided by their size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.checks import below_1
from tinyconv.optimizers.base import EPSILON, Optimizer, epsilon_or_default, registry
from tinyconv.tensor import Tensor


@registry.register()
class Adam(Optimizer):
    """``w -= lr_t * m / (sqrt(v) + epsilon)`` with moving means m of g and v of g**2, corrected for their start at 0.

    ``lr_t = lr * sqrt(1 - beta_2**t) / (1 - beta_1**t)``, t counted from 1.

    Parameters
    ----------
    learning_rate, **settings
        As for :class:`Optimizer`.
    beta_1, beta_2 : float in [0, 1)
        Shares of the old in the moving means.
    epsilon : float
        Keeps the divisor from 0; None is 1e-8.
    amsgrad : bool
        Use the largest v so far.

    Sources: D. Kingma and J. Ba, arXiv 1412.6980 (the form at the end of section 2); S. Reddi et al., arXiv 1904.09237.

    Examples
    --------
    >>> import tinyconv as tc
    >>> w = tc.Tensor([0.0], dtype="float64", requires_grad=True)
    >>> tc.optimizers.Adam().apply([[1.0]], [w])
    >>> round(w.item(), 12)
    -0.000999999684
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = EPSILON,
        amsgrad: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.beta_1, self.beta_2 = below_1("beta_1", beta_1), below_1("beta_2", beta_2)
        self.epsilon, self.amsgrad = epsilon_or_default(epsilon), amsgrad

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("m", "v", "v_max") if self.amsgrad else ("m", "v")

    def scalars(self, rate: float) -> tuple[float, ...]:
        t = self.iterations + 1
        return (rate * math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t),)

    def update(self, w: Tensor, g: Tensor, slots: list[Tensor], scalars: list[Tensor]) -> Tensor:
        m, v = slots[:2]
        m.assign(self.beta_1 * m + (1 - self.beta_1) * g)
        v.assign(self.beta_2 * v + (1 - self.beta_2) * ops.square(g))
        if self.amsgrad:
            slots[2].assign(ops.maximum(slots[2], v))
            v = slots[2]
        return w - scalars[0] * m / (ops.sqrt(v) + self.epsilon)


@registry.register()
class AdamW(Adam):
    """:class:`Adam` with decoupled weight decay: variables shrink by ``learning_rate * weight_decay`` first.

    Parameters
    ----------
    weight_decay : float
    learning_rate, beta_1, beta_2, epsilon, amsgrad, **settings
        As for :class:`Adam`.

    Source: I. Loshchilov and F. Hutter, arXiv 1711.05101.

    Examples
    --------
    >>> import tinyconv as tc
    >>> w = tc.Tensor([0.0], dtype="float64", requires_grad=True)
    >>> optimizer = tc.optimizers.AdamW(0.1)
    >>> for g in (1.0, -2.0):
    ...     optimizer.apply([[g]], [w])
    ...     print(round(w.item(), 9))
    -0.099999968
    -0.063349621
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = EPSILON,
        amsgrad: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **settings)


@registry.register()
class Adamax(Optimizer):
    """``w -= lr / (1 - beta_1**t) * m / (u + epsilon)``, m the moving mean of g and ``u = max(beta_2 * u, |g|)``.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon, **settings
        As for :class:`Adam`.

    Source: D. Kingma and J. Ba, arXiv 1412.6980, section 7.1.

    Examples
    --------
    >>> import tinyconv as tc
    >>> w = tc.Tensor([0.0], dtype="float64", requires_grad=True)
    >>> optimizer = tc.optimizers.Adamax(0.1)
    >>> for g in (1.0, -2.0):
    ...     optimizer.apply([[g]], [w])
    ...     print(round(w.item(), 9))
    -0.09999999
    -0.071052623
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.beta_1, self.beta_2 = below_1("beta_1", beta_1), below_1("beta_2", beta_2)
        self.epsilon = epsilon_or_default(epsilon)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("m", "u")

    def scalars(self, rate: float) -> tuple[float, ...]:
        return (rate / (1 - self.beta_1 ** (self.iterations + 1)),)

    def update(self, w: Tensor, g: Tensor, slots: list[Tensor], scalars: list[Tensor]) -> Tensor:
        m, u = slots
        m.assign(self.beta_1 * m + (1 - self.beta_1) * g)
        u.assign(ops.maximum(self.beta_2 * u, ops.abs(g)))
        return w - scalars[0] * m / (u + self.epsilon)


@registry.register()
class Nadam(Optimizer):
    """:class:`Adam` with Nesterov momentum, whose strength ``mu_t = beta_1 * (1 - 0.96**t / 2)`` grows at first.

    ``w -= lr * m_hat / (sqrt(v / (1 - beta_2**t)) + epsilon)`` with, P_t the product of the mu up to t,
    ``m_hat = mu_{t+1} * m / (1 - P_{t+1}) + (1 - mu_t) * g / (1 - P_t)``.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon, **settings
        As for :class:`Adam`.

    Source: T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.

    Examples
    --------
    >>> import tinyconv as tc
    >>> w = tc.Tensor([0.0], dtype="float64", requires_grad=True)
    >>> optimizer = tc.optimizers.Nadam(0.1)
    >>> for g in (1.0, -2.0):
    ...     optimizer.apply([[g]], [w])
    ...     print(round(w.item(), 9))
    -0.10627877
    -0.018112201
    """

    _growth = np.cumprod(1 - 0.5 * 0.96 ** np.arange(1, 1001))  # constant long before its end

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.beta_1, self.beta_2 = below_1("beta_1", beta_1), below_1("beta_2", beta_2)
        self.epsilon = epsilon_or_default(epsilon)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("m", "v")

    def _momentum(self, t: int) -> tuple[float, float]:
        """Strength of the momentum in step ``t``, and the product of all strengths up to it."""
        product = self.beta_1**t * float(self._growth[min(t, len(self._growth)) - 1])
        return self.beta_1 * (1 - 0.5 * 0.96**t), product

    def scalars(self, rate: float) -> tuple[float, ...]:
        t = self.iterations + 1
        (mu, product), (next_mu, next_product) = self._momentum(t), self._momentum(t + 1)
        old, new = rate * next_mu / (1 - next_product), rate * (1 - mu) / (1 - product)
        return old, new, 1 / math.sqrt(1 - self.beta_2**t)

    def update(self, w: Tensor, g: Tensor, slots: list[Tensor], scalars: list[Tensor]) -> Tensor:
        m, v = slots
        old, new, correction = scalars
        m.assign(self.beta_1 * m + (1 - self.beta_1) * g)
        v.assign(self.beta_2 * v + (1 - self.beta_2) * ops.square(g))
        return w - (old * m + new * g) / (correction * ops.sqrt(v) + self.epsilon)
