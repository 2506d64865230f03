"""Optimizers: how gradients change variables.

Each formula is written once, in ``update``, with operations on tensors. What depends on the step number (learning rate,
bias corrections) is computed on the host and put into 0-d tensors before the formulas run, so that the same sequence of
operations serves every step.

Sources: names of Keras 3, formulas of Keras 2; papers are named at each optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from operator import is_
from typing import Any

import numpy as np

from tinyconv import backends, ops, schedules
from tinyconv.ops.elementwise import as_tensor
from tinyconv.registry import Configurable, Registry, arguments_of, serialize
from tinyconv.tensor import Tensor, no_grad

__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Nadam", "Optimizer", "RMSprop", "get", "schedules",
]  # fmt: skip

EPSILON = 1e-8  # what epsilon=None means

Rate = float | Callable[[int], float]


class Optimizer(Configurable):
    """Base of all optimizers: a subclass defines ``update``, and ``slot_names`` where it keeps state.

    Parameters
    ----------
    learning_rate : float, schedule or callable
        A schedule is called with the number of updates already done. ``lr`` is accepted as another name.
    weight_decay : float, optional
        Before each update, variables shrink by the fraction ``learning_rate * weight_decay`` (decoupled decay).
    clipnorm : float, optional
        Each gradient is scaled down to this L2 norm, if it is longer.
    clipvalue : float, optional
        Elements of gradients are limited to [-clipvalue, clipvalue].
    global_clipnorm : float, optional
        All gradients together are scaled down to this L2 norm, if it is exceeded.
    decay : float
        Time decay (Keras 2): the learning rate is divided by ``1 + decay * iterations``.
    name : str, optional

    Attributes
    ----------
    iterations : int
        Number of updates done.

    Examples
    --------
    >>> import tinyconv as tc
    >>> class SignSGD(tc.optimizers.Optimizer):
    ...     def update(self, w, g, slots, scalars):
    ...         return w - scalars[0] * tc.ops.sign(g)
    >>> w = tc.Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SignSGD(learning_rate=0.5)
    >>> optimizer.apply([[0.1, -7.0]], [w])
    >>> w.tolist(), optimizer.iterations
    ([0.5, 2.5], 1)
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        decay: float = 0.0,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        self._rate: Rate = 0.0
        self.learning_rate = unknown.pop("lr", learning_rate)
        if unknown:
            known = [*arguments_of(type(self)), "lr"]
            raise TypeError(f"{type(self).__name__} expected arguments from {known}. Received: {sorted(unknown)}")
        limits = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = {key: value for key, value in limits.items() if value is not None}
        if len(given) > 1 or any(not value > 0 for value in given.values()):
            raise ValueError(f"At most one of {', '.join(limits)} may be given, and must be > 0. Received: {given}")
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.weight_decay = None if weight_decay is None else _at_least_0("weight_decay", weight_decay)
        self.decay = _at_least_0("decay", decay)
        self.name = name or type(self).__name__
        self.iterations = 0
        self._variables: list[Tensor] | None = None
        self._slots: dict[str, list[Tensor]] = {}
        self._scalars: dict[np.dtype, list[Tensor]] = {}

    # --- what subclasses define --------------------------------------------------------------------------------

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Names of the tensors that are kept for each variable, of its shape."""
        return ()

    def slot_start(self, name: str) -> float:
        """Value with which a slot is filled at first."""
        return 0.0

    def scalars(self, rate: float) -> tuple[float, ...]:
        """The numbers of this step that ``update`` gets, from the learning rate and ``self.iterations``."""
        return (rate,)

    def update(self, w: Tensor, g: Tensor, slots: list[Tensor], scalars: list[Tensor]) -> Tensor:
        """The variable's new value, from its value ``w`` and its gradient ``g``; assigns the new values of ``slots``.

        Parameters
        ----------
        w, g : Tensor, of one shape
        slots : list of Tensor, of the same shape
            In the order of ``slot_names``.
        scalars : list of Tensor, shape ()
            What the method ``scalars`` returned.
        """
        raise NotImplementedError(f"{type(self).__name__} must define update")

    # --- learning rate -----------------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> float:
        """The learning rate as it was set, or as the schedule gives it now; time decay is not yet applied."""
        return float(self._rate(self.iterations)) if callable(self._rate) else self._rate

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
            value = _checked_rate(value)
        self._rate = value

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

    # --- updates -----------------------------------------------------------------------------------------------

    @property
    def built(self) -> bool:
        """Whether the optimizer knows its variables."""
        return self._variables is not None

    def build(self, variables: Iterable[Tensor]) -> None:
        """Make the slots for ``variables``, in their order. Called by the first ``apply``."""
        variables = list(variables)
        if self._variables is not None:
            self._places(variables)
            return
        if len({id(v) for v in variables}) != len(variables):
            raise ValueError("An optimizer's variables must differ from each other. Received: one of them twice")
        for variable in variables:
            if not isinstance(variable, Tensor) or variable.dtype.kind != "f" or not variable.is_leaf:
                raise ValueError(f"An optimizer's variables must be leaf tensors of floats. Received: {variable!r}")
        self._variables = variables
        self._slots = {
            name: [_filled(v, v.shape, self.slot_start(name)) for v in variables] for name in self.slot_names
        }
        count = len(self.scalars(0.0)) + 1  # one more for weight decay
        self._scalars = {_compute_dtype(v): [_filled(v, (), 0.0) for _ in range(count)] for v in variables}

    def apply(self, grads: Sequence[Any], variables: Sequence[Tensor] | None = None) -> None:
        """Update ``variables`` once.

        Parameters
        ----------
        grads : sequence of Tensor, array_like or None
            One per variable, of its shape; variables whose gradient is None stay as they are.
        variables : sequence of Tensor, optional
            All variables by default, as given to ``build``.
        """
        if self._variables is None:
            if variables is None:
                raise ValueError(f"{self.name} does not know its variables yet: pass them, or call build first")
            self.build(variables)
        self.set_scalars()
        self.update_variables(grads, variables)
        self.iterations += 1

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Tensor]]) -> None:
        """Update once, from pairs (gradient, variable)."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])

    def set_scalars(self) -> None:
        """Put the numbers of the next update into the 0-d tensors that the formulas read.

        Apart from this and from the count, every update is the same sequence of operations: it can be recorded, and
        replayed after a call of this method.
        """
        rate = self.effective_learning_rate
        values = (*self.scalars(rate), rate * (self.weight_decay or 0.0))
        for tensors in self._scalars.values():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.assign(value)

    def update_variables(self, grads: Sequence[Any], variables: Sequence[Tensor] | None = None) -> None:
        """The part of :meth:`apply` that computes with tensors; ``iterations`` is not counted up."""
        known = self._variables or []
        places = range(len(known)) if variables is None else self._places(variables)
        if len(grads) != len(places):
            raise ValueError(f"Expected {len(places)} gradients, one per variable. Received: {len(grads)}")
        pairs = [(i, self._checked(g, known[i])) for i, g in zip(places, grads, strict=True) if g is not None]
        if places and not pairs:
            raise ValueError(f"{self.name} expected a gradient for at least one variable. Received: None for all")
        with no_grad():
            for (i, _), g in zip(pairs, self._clip([g for _, g in pairs]), strict=True):
                self._update_variable(i, g)

    def _update_variable(self, i: int, g: Tensor) -> None:
        variable = (self._variables or [])[i]
        *scalars, shrinkage = self._scalars[g.dtype]
        w = ops.astype(variable, g.dtype)
        if self.weight_decay:
            w = w - shrinkage * w
        w = self.update(w, g, [slot[i] for slot in self._slots.values()], scalars)
        constraint = getattr(variable, "constraint", None)
        variable.assign(w if constraint is None else constraint(w))

    def _places(self, variables: Sequence[Tensor]) -> Sequence[int]:
        """Positions of ``variables`` among those that the optimizer was built for."""
        known = self._variables or []
        if len(variables) == len(known) and all(map(is_, variables, known)):
            return range(len(known))
        position = {id(v): i for i, v in enumerate(known)}
        unknown = [v for v in variables if id(v) not in position]
        if unknown:
            raise ValueError(
                f"This {self.name} was built for {len(known)} other variables; make a new optimizer (or compile again "
                f"with one) when the set of trainable variables changes. Received: {_title(unknown[0])}"
            )
        return [position[id(v)] for v in variables]

    def _checked(self, gradient: Any, variable: Tensor) -> Tensor:
        gradient = as_tensor(gradient)
        if gradient.shape != variable.shape:
            raise ValueError(
                f"The gradient of {_title(variable)} must have its shape. Received: shape {gradient.shape}"
            )
        return ops.astype(gradient.detach(), _compute_dtype(variable))

    def _clip(self, grads: list[Tensor]) -> list[Tensor]:
        if self.clipvalue is not None:
            return [ops.clip(g, -self.clipvalue, self.clipvalue) for g in grads]
        if self.clipnorm is not None:
            return [g * (self.clipnorm / ops.maximum(_norm([g]), self.clipnorm)) for g in grads]
        if self.global_clipnorm is not None and grads:
            factor = self.global_clipnorm / ops.maximum(_norm(grads), self.global_clipnorm)
            return [g * ops.astype(factor, g.dtype) for g in grads]
        return grads

    # --- configuration and state -------------------------------------------------------------------------------

    @property
    def variables(self) -> list[Tensor]:
        """All slots, in the order of :meth:`get_state`."""
        return [tensor for tensors in self._slots.values() for tensor in tensors]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data: the schedule, or the learning rate as it is now."""
        return {**super().get_config(), "learning_rate": serialize(self._rate)}

    def get_state(self) -> dict[str, np.ndarray]:
        """All that changes during training, as copies by name.

        Returns
        -------
        dict of str to array
            ``iterations``, ``learning_rate`` (unless a schedule gives it) and ``<slot>/<number of the variable>``.
        """
        state = {"iterations": np.asarray(self.iterations, np.int64)}
        if not callable(self._rate):
            state["learning_rate"] = np.asarray(self._rate, np.float64)
        for name, tensor in self._named_slots():
            state[name] = np.array(tensor.numpy())
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`get_state` returned. Nothing changes unless everything fits.

        Raises
        ------
        ValueError
            When the optimizer was not built, or names or shapes differ from its own.
        """
        if self._variables is None:
            raise ValueError(f"{self.name} does not know its variables yet: call build first")
        slots = self._named_slots()
        expected = ["iterations", *(["learning_rate"] if not callable(self._rate) else []), *(n for n, _ in slots)]
        if set(state) != set(expected):
            missing, extra = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
            raise ValueError(f"{self.name} expected the state {expected}. Received: missing {missing}, unknown {extra}")
        for name, tensor in slots:
            if np.shape(state[name]) != tensor.shape:
                raise ValueError(
                    f"{self.name} expected shape {tensor.shape} for {name!r}. Received: {np.shape(state[name])}"
                )
        if "learning_rate" in expected:
            self._rate = _checked_rate(state["learning_rate"])
        self.iterations = int(state["iterations"])
        for name, tensor in slots:
            tensor.assign(np.asarray(state[name], tensor.dtype))

    def _named_slots(self) -> list[tuple[str, Tensor]]:
        return [(f"{name}/{i}", tensor) for name, tensors in self._slots.items() for i, tensor in enumerate(tensors)]

registry = Registry("optimizer", Optimizer)


def get(identifier: Any) -> Optimizer:
    """The optimizer that ``identifier`` means: a name (``"adam"``), a configuration, a class or an optimizer.

    Examples
    --------
    >>> from tinyconv import optimizers
    >>> optimizers.get("sgd")
    SGD()
    >>> optimizers.get({"class_name": "Adam", "config": {"learning_rate": 0.01}})
    Adam(learning_rate=0.01)
    """
    return registry.get(identifier)


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
        self.momentum, self.nesterov = _fraction("momentum", momentum), nesterov

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
        self.beta_1, self.beta_2 = _below_1("beta_1", beta_1), _below_1("beta_2", beta_2)
        self.epsilon, self.amsgrad = _epsilon(epsilon), amsgrad

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
        self.rho, self.momentum = _below_1("rho", rho), _fraction("momentum", momentum)
        self.epsilon, self.centered = _epsilon(epsilon), centered

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
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        initial_accumulator_value: float = 0.0,
        epsilon: float | None = EPSILON,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.initial_accumulator_value = _at_least_0("initial_accumulator_value", initial_accumulator_value)
        self.epsilon = _epsilon(epsilon)

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
    """

    def __init__(
        self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float | None = 1e-7, **settings: Any
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.rho, self.epsilon = _below_1("rho", rho), _epsilon(epsilon)

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
class Adamax(Optimizer):
    """``w -= lr / (1 - beta_1**t) * m / (u + epsilon)``, m the moving mean of g and ``u = max(beta_2 * u, |g|)``.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon, **settings
        As for :class:`Adam`.

    Source: D. Kingma and J. Ba, arXiv 1412.6980, section 7.1.
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
        self.beta_1, self.beta_2 = _below_1("beta_1", beta_1), _below_1("beta_2", beta_2)
        self.epsilon = _epsilon(epsilon)

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
        self.beta_1, self.beta_2 = _below_1("beta_1", beta_1), _below_1("beta_2", beta_2)
        self.epsilon = _epsilon(epsilon)

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


# --- helpers ---------------------------------------------------------------------------------------------------


def _compute_dtype(variable: Tensor) -> np.dtype:
    """Half-precision variables are updated in float32: squares of their gradients would vanish."""
    return np.dtype(np.float32) if variable.dtype == np.float16 else variable.dtype


def _filled(variable: Tensor, shape: tuple[int, ...], value: float) -> Tensor:
    return Tensor._of(backends.of(variable.data).full(shape, value, _compute_dtype(variable)))


def _norm(grads: list[Tensor]) -> Tensor:
    """L2 norm of all gradients together."""
    first, *others = (ops.sum(ops.square(g)) for g in grads)
    for other in others:
        first = first + ops.astype(other, first.dtype)
    return ops.sqrt(first)


def _title(variable: Tensor) -> str:
    return f"variable {variable.name!r} of shape {variable.shape}"


def _checked_rate(value: Any) -> float:
    not_a_number = value is None or isinstance(value, str | bool) or np.ndim(value) != 0
    if not_a_number or not 0 <= float(value) < math.inf:
        raise ValueError(f"learning_rate must be a finite number >= 0, or a schedule. Received: {value!r}")
    return float(value)


def _epsilon(value: float | None) -> float:
    return EPSILON if value is None else _at_least_0("epsilon", value)


def _at_least_0(name: str, value: float) -> float:
    if not value >= 0:
        raise ValueError(f"{name} must be >= 0. Received: {value!r}")
    return value


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1]. Received: {value!r}")
    return value


def _below_1(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1). Received: {value!r}")
    return value
