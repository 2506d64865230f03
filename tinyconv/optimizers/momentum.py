"""Optimizers that follow the gradient or its sign, with momentum: SGD and Lion."""

from __future__ import annotations

from typing import Any

from tinyconv import ops
from tinyconv.checks import below_1, fraction
from tinyconv.optimizers.base import Optimizer, registry
from tinyconv.tensor import Tensor


@registry.register()
class SGD(Optimizer):
    """Gradient descent: ``v = momentum * v - lr * g; w += v``; with Nesterov ``w += momentum * v - lr * g``.

    Parameters
    ----------
    learning_rate, **settings
        As for :class:`Optimizer`.
    momentum : float in [0, 1]
        Share of the last step that is repeated.
    nesterov : bool
        Look ahead: add the momentum of the new velocity.

    Source: I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.

    Examples
    --------
    >>> import tinyconv as tc
    >>> w = tc.Tensor([0.0], dtype="float64", requires_grad=True)
    >>> optimizer = tc.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    >>> for _ in range(3):
    ...     optimizer.apply([[1.0]], [w])
    ...     print(round(w.item(), 6))
    -0.19
    -0.461
    -0.8049
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, **settings: Any
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.momentum, self.nesterov = fraction("momentum", momentum), nesterov

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def update(self, w: Tensor, g: Tensor, slots: list[Tensor], scalars: list[Tensor]) -> Tensor:
        step = scalars[0] * g
        if not self.momentum:
            return w - step
        (velocity,) = slots
        velocity.assign(self.momentum * velocity - step)
        return w + (self.momentum * velocity - step) if self.nesterov else w + velocity


@registry.register()
class Lion(Optimizer):
    """``w -= lr * sign(beta_1 * m + (1 - beta_1) * g)``, then ``m = beta_2 * m + (1 - beta_2) * g``.

    Every element moves by the learning rate, which should be three to ten times smaller than for :class:`Adam`.

    Parameters
    ----------
    learning_rate, **settings
        As for :class:`Optimizer`.
    beta_1 : float in [0, 1)
        Share of the moving mean in the step.
    beta_2 : float in [0, 1)
        Share of the old in the moving mean.

    Source: X. Chen et al., "Symbolic discovery of optimization algorithms", arXiv 2302.06675.

    Examples
    --------
    >>> import tinyconv as tc
    >>> w = tc.Tensor([0.0], dtype="float64", requires_grad=True)
    >>> optimizer = tc.optimizers.Lion(0.1)
    >>> for g in (1.0, -2.0):
    ...     optimizer.apply([[g]], [w])
    ...     print(round(w.item(), 9))
    -0.1
    0.0
    """

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **settings: Any
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.beta_1, self.beta_2 = below_1("beta_1", beta_1), below_1("beta_2", beta_2)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("m",)

    def update(self, w: Tensor, g: Tensor, slots: list[Tensor], scalars: list[Tensor]) -> Tensor:
        (m,) = slots
        direction = ops.sign(self.beta_1 * m + (1 - self.beta_1) * g)
        m.assign(self.beta_2 * m + (1 - self.beta_2) * g)
        return w - scalars[0] * direction
