"""What all optimizers share: the steps of an update, weight decay, accumulation, averages, state.

Each formula is written once, in ``update``, with operations on tensors. What depends on the step number (learning rate,
bias corrections) is computed on the host and put into 0-d tensors before the formulas run, so that the same sequence of
operations serves every step.

Sources: names of Keras 3, formulas of Keras 2; papers are named at each optimizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import is_
from typing import Any

import numpy as np

from tinyconv import backends, ops
from tinyconv.checks import at_least_0, fraction, integer, positive
from tinyconv.ops.elementwise import as_tensor
from tinyconv.optimizers.clipping import clip
from tinyconv.optimizers.rate import WithLearningRate, checked_rate
from tinyconv.registry import Registry, arguments_of
from tinyconv.tensor import Tensor, no_grad

EPSILON = 1e-8  # what epsilon=None means


class Optimizer(WithLearningRate):
    """Base of all optimizers: a subclass defines ``update``, and ``slot_names`` where it keeps state.

    Parameters
    ----------
    learning_rate : float, schedule or callable
        A schedule is called with the number of gradients so far, a function without arguments with nothing.
        ``lr`` is accepted as another name.
    weight_decay : float, optional
        Before each update, variables shrink by the fraction ``learning_rate * weight_decay`` (decoupled decay).
    clipnorm : float, optional
        Each gradient is scaled down to this L2 norm, if it is longer.
    clipvalue : float, optional
        Elements of gradients are limited to [-clipvalue, clipvalue].
    global_clipnorm : float, optional
        All gradients together are scaled down to this L2 norm, if it is exceeded. At most one of the three limits may
        be given.
    use_ema : bool
        Keep an exponential moving average of every variable: its values after the first update, then, after each
        update, ``average = ema_momentum * average + (1 - ema_momentum) * variable``. ``fit`` ends by replacing the
        variables with their averages (:meth:`finalize_variable_values`).
    ema_momentum : float in [0, 1]
        Share of the old in the average.
    ema_overwrite_frequency : int, optional
        Also replace the variables with their averages after every so many updates.
    gradient_accumulation_steps : int, optional
        Update once for so many gradients (at least 2), with their mean; weights, ``iterations`` and averages change
        only then. Limits apply to the mean. As in Keras, schedules count every gradient.
    decay : float
        Time decay (Keras 2): the learning rate is divided by ``1 + decay * iterations``.
    name : str, optional

    Attributes
    ----------
    iterations : int
        Number of updates done.

    Notes
    -----
    Variables are tensors of any shape; a gradient has the shape of its variable. float16 variables are updated in
    float32. The formulas that subclasses state hold element by element.

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
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        gradient_accumulation_steps: int | None = None,
        decay: float = 0.0,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        self.learning_rate = unknown.pop("lr", learning_rate)
        if unknown:
            known = [*arguments_of(type(self)), "lr"]
            raise TypeError(f"{type(self).__name__} expected arguments from {known}. Received: {sorted(unknown)}")
        limits = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = {key: positive(key, value) for key, value in limits.items() if value is not None}
        if len(given) > 1:
            raise ValueError(f"At most one of {', '.join(limits)} may be given. Received: {given}")
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.weight_decay = None if weight_decay is None else at_least_0("weight_decay", weight_decay)
        self.use_ema, self.ema_momentum = use_ema, fraction("ema_momentum", ema_momentum)
        period, steps = ema_overwrite_frequency, gradient_accumulation_steps
        self.ema_overwrite_frequency = None if period is None else integer("ema_overwrite_frequency", period)
        self.gradient_accumulation_steps = None if steps is None else integer("gradient_accumulation_steps", steps, 2)
        self.decay = at_least_0("decay", decay)
        self.name = name or type(self).__name__
        self.iterations = 0
        self._gathered = 0  # gradients that wait for their update
        self._variables: list[Tensor] | None = None
        self._undecayed: list[Any] = []  # variables and patterns of names
        self._decays: list[bool] = []
        self._slots: dict[str, list[Tensor]] = {}
        self._scalars: dict[np.dtype, list[Tensor]] = {}
        self._put: tuple[float, ...] | None = None  # their values

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
        self._decays = [not any(_matches(variable, what) for what in self._undecayed) for variable in variables]
        starts = {name: self.slot_start(name) for name in self.slot_names}
        if self.gradient_accumulation_steps:
            starts["gradient_sum"] = 0.0
        if self.use_ema:
            starts["average"] = 0.0
        self._slots = {name: [_filled(v, v.shape, start) for v in variables] for name, start in starts.items()}
        for variable, average in zip(variables, self._slots.get("average", ()), strict=False):
            average.assign(variable)
        count = len(self._step_values())
        self._scalars = {_compute_dtype(v): [_filled(v, (), 0.0) for _ in range(count)] for v in variables}
        self._put = None

    def exclude_from_weight_decay(
        self, var_list: Sequence[Tensor] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Spare some variables the weight decay; to be called before the first update. Files remember it.

        Parameters
        ----------
        var_list : sequence of Tensor, optional
            The variables themselves.
        var_names : sequence of str, optional
            Regular expressions, to be found in their names.

        Examples
        --------
        >>> import tinyconv as tc
        >>> w, b = (tc.Tensor([1.0], requires_grad=True, name=name) for name in ("kernel", "bias"))
        >>> optimizer = tc.optimizers.AdamW(0.5, weight_decay=0.5)
        >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
        >>> optimizer.apply([[0.0], [0.0]], [w, b])
        >>> w.item(), b.item()
        (0.75, 1.0)
        """
        if self._variables is not None:
            raise ValueError(f"exclude_from_weight_decay must be called before this {self.name} makes its first update")
        self._undecayed += [*(var_list or []), *(var_names or [])]

    def apply(self, grads: Sequence[Any], variables: Sequence[Tensor] | None = None) -> None:
        """Update ``variables`` once (or add the gradients up, see ``gradient_accumulation_steps``).

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
        self.advance()

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Tensor]]) -> None:
        """Update once, from pairs (gradient, variable)."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])

    def set_scalars(self) -> None:
        """Put the numbers of the next update into the 0-d tensors that the formulas read.

        Apart from this, from :meth:`advance` and from what :attr:`updates_next` tells, every step is the same sequence
        of operations: it can be recorded, and replayed after a call of this method.
        """
        values = self._step_values()
        if values == self._put:
            return
        for tensors in self._scalars.values():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.assign(value)
        self._put = values

    def _step_values(self) -> tuple[float, ...]:
        """For weight decay; the subclass's scalars; for averages: shares of the old and new, whether to overwrite."""
        rate, period = self.effective_learning_rate, self.ema_overwrite_frequency
        values = (rate * (self.weight_decay or 0.0), *self.scalars(rate))
        if not self.use_ema:
            return values
        kept = self.ema_momentum if self.iterations else 0.0  # the first average is the variable itself
        overwrites = period is not None and (self.iterations + 1) % period == 0
        return (*values, kept, 1.0 - kept, float(overwrites))

    @property
    def updates_next(self) -> bool:
        """Whether the next gradients bring an update, instead of only being added up."""
        return self._gathered + 1 == (self.gradient_accumulation_steps or 1)

    def advance(self) -> None:
        """Count a step that was made."""
        if self.updates_next:
            self._gathered = 0
            self.iterations += 1
        else:
            self._gathered += 1

    def update_variables(self, grads: Sequence[Any], variables: Sequence[Tensor] | None = None) -> None:
        """The part of :meth:`apply` that computes with tensors; nothing is counted."""
        known = self._variables or []
        places = range(len(known)) if variables is None else self._places(variables)
        if len(grads) != len(places):
            raise ValueError(f"Expected {len(places)} gradients, one per variable. Received: {len(grads)}")
        pairs = [(i, self._checked(g, known[i])) for i, g in zip(places, grads, strict=True) if g is not None]
        if places and not pairs:
            raise ValueError(f"{self.name} expected a gradient for at least one variable. Received: None for all")
        with no_grad():
            if self.gradient_accumulation_steps:
                pairs = self._accumulate(pairs, self.gradient_accumulation_steps)
            grads = clip([g for _, g in pairs], self.clipvalue, self.clipnorm, self.global_clipnorm)
            for (i, _), g in zip(pairs, grads, strict=True):
                self._update_variable(i, g)
            if self.use_ema and self.updates_next:
                self._average(places)

    def _accumulate(self, pairs: list[tuple[int, Tensor]], steps: int) -> list[tuple[int, Tensor]]:
        """Add gradients to the sums; at the end of a cycle the means of all of them, and sums that start anew."""
        sums = self._slots["gradient_sum"]
        totals = [(i, sums[i] + g) for i, g in pairs]
        for i, total in totals:
            sums[i].assign(_filled(sums[i], sums[i].shape, 0.0) if self.updates_next else total)
        return [(i, total / steps) for i, total in totals] if self.updates_next else []

    def _update_variable(self, i: int, g: Tensor) -> None:
        variable = (self._variables or [])[i]
        shrinkage, *scalars = self._scalars[g.dtype][:-3] if self.use_ema else self._scalars[g.dtype]
        w = ops.astype(variable, g.dtype)
        if self.weight_decay and self._decays[i]:
            w = w - shrinkage * w
        w = self.update(w, g, [self._slots[name][i] for name in self.slot_names], scalars)
        variable.assign(_constrained(variable, w))

    def _average(self, places: Iterable[int]) -> None:
        """Move averages towards their variables, and every so often the variables onto their averages."""
        for i in places:
            variable, average = (self._variables or [])[i], self._slots["average"][i]
            *_, kept, new, overwrites = self._scalars[average.dtype]
            w = ops.astype(variable, average.dtype)
            mean = kept * average + new * w
            average.assign(mean)
            if self.ema_overwrite_frequency:
                variable.assign(ops.where(ops.greater(overwrites, 0.0), _constrained(variable, mean), w))

    def finalize_variable_values(self, var_list: Sequence[Tensor] | None = None) -> None:
        """Replace variables (all by default) with their averages, where ``use_ema`` keeps them; ``fit`` ends with it.

        Examples
        --------
        >>> import tinyconv as tc
        >>> w = tc.Tensor([0.0], dtype="float64", requires_grad=True)
        >>> optimizer = tc.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
        >>> for _ in range(3):
        ...     optimizer.apply([[1.0]], [w])
        >>> optimizer.finalize_variable_values()
        >>> w.tolist()  # of -1, -2, -3: ((-1 - 2) / 2 - 3) / 2
        [-2.25]
        """
        if not self.use_ema or not self.iterations or self._variables is None:
            return
        for i in range(len(self._variables)) if var_list is None else self._places(var_list):
            self._variables[i].assign(self._slots["average"][i])

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

    # --- configuration and state -------------------------------------------------------------------------------

    @property
    def variables(self) -> list[Tensor]:
        """All slots, in the order of :meth:`get_state`."""
        return [tensor for tensors in self._slots.values() for tensor in tensors]

    @property
    def tensors(self) -> list[Tensor]:
        """All that ``update_variables`` reads or writes besides weights and gradients: slots, and this step's rates."""
        return [*self.variables, *(tensor for scalars in self._scalars.values() for tensor in scalars)]

    def _argument(self, name: str) -> Any:
        """The schedule itself, not the rate that it gives now."""
        return self._rate if name == "learning_rate" else super()._argument(name)

    def get_state(self) -> dict[str, np.ndarray]:
        """All that changes during training, as copies by name.

        Returns
        -------
        dict of str to array
            ``iterations``, ``learning_rate`` (unless a schedule gives it), ``accumulated`` (with gradient accumulation:
            how many gradients wait for their update), ``decays`` (which variables do, if some are excluded from weight
            decay) and ``<slot>/<number of the variable>``.
        """
        state = {"iterations": np.asarray(self.iterations, np.int64)}
        if self.gradient_accumulation_steps:
            state["accumulated"] = np.asarray(self._gathered, np.int64)
        if not all(self._decays):
            state["decays"] = np.asarray(self._decays)
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
        decays = np.asarray(state.get("decays", self._decays))
        state = {name: value for name, value in state.items() if name != "decays"}
        expected = [name for name in self.get_state() if name != "decays"]
        if set(state) != set(expected):
            missing, extra = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
            raise ValueError(f"{self.name} expected the state {expected}. Received: missing {missing}, unknown {extra}")
        for name, tensor in slots:
            if np.shape(state[name]) != tensor.shape:
                raise ValueError(
                    f"{self.name} expected shape {tensor.shape} for {name!r}. Received: {np.shape(state[name])}"
                )
        if decays.shape != (len(self._variables),):
            raise ValueError(f"{self.name} expected 'decays' for {len(self._variables)} variables. Received: {decays}")
        rate = checked_rate(state["learning_rate"]) if "learning_rate" in expected else self._rate
        iterations, gathered = (integer(name, int(state.get(name, 0)), 0) for name in ("iterations", "accumulated"))
        self._rate, self.iterations = rate, iterations
        self._gathered = gathered % (self.gradient_accumulation_steps or 1)
        self._decays = decays.astype(bool).tolist()
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


deserialize = get


# --- helpers ---------------------------------------------------------------------------------------------------


def _compute_dtype(variable: Tensor) -> np.dtype:
    """Half-precision variables are updated in float32: squares of their gradients would vanish."""
    return np.dtype(np.float32) if variable.dtype == np.float16 else variable.dtype


def _filled(variable: Tensor, shape: tuple[int, ...], value: float) -> Tensor:
    return Tensor._of(backends.of(variable.data).full(shape, value, _compute_dtype(variable)))


def _constrained(variable: Tensor, w: Tensor) -> Tensor:
    """A new value for a variable, as its constraint wants it."""
    constraint = getattr(variable, "constraint", None)
    return w if constraint is None else constraint(w)


def _matches(variable: Tensor, what: Any) -> bool:
    """Whether ``what`` is the variable, or a pattern that is found in its name."""
    return re.search(what, variable.name or "") is not None if isinstance(what, str) else what is variable


def _title(variable: Tensor) -> str:
    return f"variable {variable.name!r} of shape {variable.shape}"


def epsilon_or_default(value: float | None) -> float:
    return EPSILON if value is None else at_least_0("epsilon", value)
