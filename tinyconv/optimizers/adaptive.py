"""Optimizers that divide the gradient by the size of past gradients: RMSprop, Adagrad, Adadelta, Ftrl."""

from __future__ import annotations

from typing import Any

from tinyconv import ops
from tinyconv.checks import at_least_0, below_1, fraction
from tinyconv.optimizers.base import EPSILON, Optimizer, epsilon_or_default, registry
from tinyconv.tensor import Tensor


@registry.register()
class RMSprop(Optimizer):
    """``a = rho * a + (1 - rho) * g**2; w -= lr * g / (sqrt(a) + epsilon)``.

    Parameters
    ----------
    learning_rate, **settings
        As for :class:`Optimizer`.
    rho : float in [0, 1)
        Share of the old in the moving mean of squares.
    momentum : float in [0, 1]
        Share of the last step that is repeated.
    epsilon : float
        Keeps the divisor from 0; None is 1e-8.
    centered : bool
        Divide by the standard deviation: subtract the square of the moving mean of g from a.

    Sources: T. Hinton, "Neural networks for machine learning", lecture 6e, 2012; A. Graves, arXiv 1308.0850 (centered).

    Examples
    --------
    >>> import tinyconv as tc
    >>> w = tc.Tensor([0.0], dtype="float64", requires_grad=True)
    >>> optimizer = tc.optimizers.RMSprop(0.1)
    >>> for g in (1.0, -2.0):
    ...     optimizer.apply([[g]], [w])
    ...     print(round(w.item(), 9))
    -0.316227756
    -0.030513474
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float | None = EPSILON,
        centered: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.rho, self.momentum = below_1("rho", rho), fraction("momentum", momentum)
        self.epsilon, self.centered = epsilon_or_default(epsilon), centered

    @property
    def slot_names(self) -> tuple[str, ...]:
        optional = (("mean", self.centered), ("velocity", bool(self.momentum)))
        return ("square", *(name for name, used in optional if used))

    def update(self, w: Tensor, g: Tensor, slots: list[Tensor], scalars: list[Tensor]) -> Tensor:
        a = slots[0]
        a.assign(self.rho * a + (1 - self.rho) * ops.square(g))
        variance: Any = a
        if self.centered:
            mean = slots[1]
            mean.assign(self.rho * mean + (1 - self.rho) * g)
            variance = ops.maximum(a - ops.square(mean), 0.0)
        step = scalars[0] * g / (ops.sqrt(variance) + self.epsilon)
        if not self.momentum:
            return w - step
        velocity = slots[-1]
        velocity.assign(self.momentum * velocity + step)
        return w - velocity


@registry.register()
class Adagrad(Optimizer):
    """``a += g**2; w -= lr * g / (sqrt(a) + epsilon)``.

    Parameters
    ----------
    learning_rate, **settings
        As for :class:`Optimizer`.
    initial_accumulator_value : float
        First value of a.
    epsilon : float
        Keeps the divisor from 0; None is 1e-8.

    Source: J. Duchi et al., "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 2011.

    Examples
    --------
    >>> import tinyconv as tc
    >>> w = tc.Tensor([0.0], dtype="float64", requires_grad=True)
    >>> optimizer = tc.optimizers.Adagrad(0.1)
    >>> for g in (1.0, -2.0):
    ...     optimizer.apply([[g]], [w])
    ...     print(round(w.item(), 9))
    -0.099999999
    -0.01055728
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        initial_accumulator_value: float = 0.0,
        epsilon: float | None = EPSILON,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.initial_accumulator_value = at_least_0("initial_accumulator_value", initial_accumulator_value)
        self.epsilon = epsilon_or_default(epsilon)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("accumulator",)

    def slot_start(self, name: str) -> float:
        return self.initial_accumulator_value

    def update(self, w: Tensor, g: Tensor, slots: list[Tensor], scalars: list[Tensor]) -> Tensor:
        (a,) = slots
        a.assign(a + ops.square(g))
        return w - scalars[0] * g / (ops.sqrt(a) + self.epsilon)


@registry.register()
class Adadelta(Optimizer):
    """``a = rho * a + (1 - rho) * g**2; u = g * sqrt((d + epsilon) / (a + epsilon)); w -= lr * u``.

    d is the moving mean of ``u**2`` before this step.

    Parameters
    ----------
    learning_rate, **settings
        As for :class:`Optimizer`; 1.0 is the form of the paper.
    rho : float in [0, 1)
        Share of the old in the moving means.
    epsilon : float

    Source: M. Zeiler, arXiv 1212.5701.

    Examples
    --------
    >>> import tinyconv as tc
    >>> w = tc.Tensor([0.0], dtype="float64", requires_grad=True)
    >>> optimizer = tc.optimizers.Adadelta(1.0)
    >>> for g in (1.0, -2.0):
    ...     optimizer.apply([[g]], [w])
    ...     print(round(w.item(), 9))
    -0.001414212
    0.000383653
    """

    def __init__(
        self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float | None = 1e-7, **settings: Any
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.rho, self.epsilon = below_1("rho", rho), epsilon_or_default(epsilon)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("square", "step_square")

    def update(self, w: Tensor, g: Tensor, slots: list[Tensor], scalars: list[Tensor]) -> Tensor:
        a, d = slots
        a.assign(self.rho * a + (1 - self.rho) * ops.square(g))
        u = g * ops.sqrt((d + self.epsilon) / (a + self.epsilon))
        d.assign(self.rho * d + (1 - self.rho) * ops.square(u))
        return w - scalars[0] * u


@registry.register()
class Ftrl(Optimizer):
    """Follow the regularised leader: for sparse features; with L1 regularisation, drives weights to exactly 0.

    ``a_new = a + g**2; z += g' - (a_new**-p - a**-p) / lr * w; a = a_new``, then
    ``w = (clip(z, -l1, l1) - z) / (a**-p / lr + 2 * l2 + beta / lr)``, where ``g' = g + 2 * l2_shrinkage * w``.
    z starts at 0: weights follow from the gradients, not from their first values.

    Parameters
    ----------
    learning_rate, **settings
        As for :class:`Optimizer`; the rate must be greater than 0 in every step.
    learning_rate_power : float
        p, at most 0: how the rate shrinks with the sum of squares; 0 keeps it.
    initial_accumulator_value : float
        First value of a.
    l1_regularization_strength, l2_regularization_strength, l2_shrinkage_regularization_strength, beta : float
        All at least 0.

    Source: H. B. McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013.

    Examples
    --------
    >>> import tinyconv as tc
    >>> w = tc.Tensor([0.0], dtype="float64", requires_grad=True)
    >>> optimizer = tc.optimizers.Ftrl(0.1)
    >>> for g in (1.0, -2.0):
    ...     optimizer.apply([[g]], [w])
    ...     print(round(w.item(), 9))
    -0.095346259
    -0.00678477
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.learning_rate_power = -at_least_0("-learning_rate_power", -learning_rate_power)
        self.initial_accumulator_value = at_least_0("initial_accumulator_value", initial_accumulator_value)
        self.l1_regularization_strength = at_least_0("l1_regularization_strength", l1_regularization_strength)
        self.l2_regularization_strength = at_least_0("l2_regularization_strength", l2_regularization_strength)
        self.l2_shrinkage_regularization_strength = at_least_0(
            "l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength
        )
        self.beta = at_least_0("beta", beta)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("accumulator", "linear")

    def slot_start(self, name: str) -> float:
        return self.initial_accumulator_value if name == "accumulator" else 0.0

    def scalars(self, rate: float) -> tuple[float, ...]:
        if not rate > 0:
            raise ValueError(f"Ftrl expected a learning rate > 0 in every step. Received: {rate!r}")
        return 1 / rate, 2 * self.l2_regularization_strength + self.beta / rate

    def update(self, w: Tensor, g: Tensor, slots: list[Tensor], scalars: list[Tensor]) -> Tensor:
        a, z = slots
        inverse_rate, penalty = scalars
        l1, total = self.l1_regularization_strength, a + ops.square(g)
        old, new = (ops.power(sums, -self.learning_rate_power) * inverse_rate for sums in (a, total))
        g = g + 2 * self.l2_shrinkage_regularization_strength * w
        moved = z + g - (new - old) * w
        a.assign(total)
        z.assign(moved)
        return (ops.clip(moved, -l1, l1) - moved) / (new + penalty)
