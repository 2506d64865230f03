"""One step of training, evaluation or prediction: what ``compile`` chose, applied to one batch.

Where possible, a step is recorded and replayed (see ``models.replay``); metrics look at what comes out of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tinyconv import backends, losses, optimizers, random
from tinyconv.function import grad
from tinyconv.layers.base import Layer
from tinyconv.layers.graph import flatten_structure, map_structure
from tinyconv.layers.module import Parameter
from tinyconv.masking import mask_of, with_mask
from tinyconv.models.feed import Batch, unpack
from tinyconv.models.late import Waiting
from tinyconv.models.objective import CompiledMetrics, Objective
from tinyconv.models.replay import Replay, is_own
from tinyconv.revision import Revised
from tinyconv.tensor import Tensor, is_grad_enabled, no_grad


class _Recorded(NamedTuple):
    """What a walk through all parts of a model found, when ``Revised.latest`` was ``latest``."""

    latest: Any
    weights: list[Parameter]
    trainable: tuple[bool, ...]
    revisions: tuple[tuple[int, int], ...]


class Steps(Layer):
    """Adds ``compile`` and single steps to a layer: training, evaluation and prediction are made of them."""

    optimizer: Any = None
    objective: Objective | None = None
    jit_compile: bool | str = "auto"
    _all_own = False  # whether no part comes from elsewhere, so that every change of an attribute is noticed
    unrecorded = frozenset({"_own_metrics", "history", "stop_training"})
    _own_metrics: list[Any] | None = None  # those that were not compiled, known from the first step of an epoch on
    _stream: np.random.Generator | None = None
    _seeded_by: np.random.Generator | None = None  # the global generator when the stream began

    # --- compile -----------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        jit_compile: bool | str = "auto",
    ) -> None:
        """Choose what training minimises, how, and what it reports.

        Parameters
        ----------
        optimizer : str or Optimizer
            ``"sgd"``, ``"adam"``, ..., or an object such as ``optimizers.SGD(0.01, momentum=0.9)``.
        loss : str, Loss or callable
            ``"categorical_crossentropy"``, ``"mse"``, ...; a list or dictionary of them for several outputs. Outputs
            that have None and no metrics need no labels.
        metrics : list or dict
            Names or objects: ``["accuracy"]``; for several outputs, one entry or list for each, or a dictionary. They
            ignore sample weights; ``weighted_metrics`` use them.
        loss_weights : list or dict, optional
            Factor of each output's loss.
        run_eagerly : bool
            Never record steps: for debugging.
        jit_compile : bool or "auto"
            Whether training, evaluation and prediction steps are recorded and replayed (see ``models.replay``).
            ``"auto"``: when every part of the model is tinyconv's own. Call ``compile`` again after changing a setting
            of a layer or of the optimizer, so that it is recorded anew; weights, ``trainable`` and the learning rate
            may change at any time.

        Examples
        --------
        >>> import tinyconv as tc
        >>> model = tc.Sequential([tc.layers.Dense(2, activation="softmax", input_shape=(3,))])
        >>> model.compile("adam", loss="categorical_crossentropy", metrics=["accuracy"])
        """
        if jit_compile not in (True, False, "auto"):
            raise ValueError(f"jit_compile must be True, False or 'auto'. Received: {jit_compile!r}")
        with errors_of(self._title):
            chosen = optimizers.get(optimizer), Objective(loss, metrics, weighted_metrics, loss_weights)
        self.optimizer, self.objective = chosen
        self.jit_compile, self._all_own = False if run_eagerly else jit_compile, False
        self._replays = {}
        if self.built:
            self._warn()

    @property
    def random_stream(self) -> np.random.Generator:
        """The model's own stream of random numbers for shuffling and dropout, started from the global seed.

        It is saved with the model, so that resumed training draws what uninterrupted training would have drawn.
        ``tinyconv.set_seed`` starts it afresh.
        """
        if self._stream is None or self._seeded_by is not random._generator:
            seed = random._generator.integers(0, 2**64, dtype=np.uint64)  # not from a model that is being trained
            self._set_stream(np.random.default_rng(int(seed)))
        return self._stream  # type: ignore[return-value]

    def _set_stream(self, stream: np.random.Generator) -> None:
        self._stream, self._seeded_by = stream, random._generator

    @property
    def compiled(self) -> bool:
        """Whether ``compile`` was called."""
        return self.objective is not None

    @property
    def metrics_names(self) -> list[str]:
        """Names of what ``evaluate`` returns, in order."""
        self._compiled()
        return list(self.get_metrics_result())

    @property
    def metrics(self) -> list[Any]:
        """What is reported: averages of the losses, the compiled metrics, then those that layers hold.

        A ``train_step`` of one's own may update them. The first is called ``"loss"``; all compiled metrics are one
        object with ``update_state(y_true, y_pred)``. Override this property to have other metrics reset and reported.
        """
        self._waiting.catch_up()
        objective = self.objective
        compiled = [] if objective is None else [*objective.loss_means, CompiledMetrics(self, objective)]
        return [*compiled, *self._metrics_held()]

    def reset_metrics(self) -> None:
        """Forget past batches: at the beginning of every epoch and evaluation."""
        self._waiting.catch_up()
        self._own_metrics = None
        if self.objective is not None:
            self.objective.reset()
        for metric in self.metrics:
            metric.reset_state()

    def get_metrics_result(self) -> dict[str, Any]:
        """Current value of the losses and of every metric, by name."""
        self._waiting.catch_up()
        results = {} if self.objective is None else self.objective.results()
        if self._own_metrics is None:  # no walk through the layers in every step
            compiled = [] if self.objective is None else self.objective.loss_means
            others = (m for m in self.metrics if not isinstance(m, CompiledMetrics))
            self._own_metrics = [m for m in others if not any(m is c for c in compiled)]
        for metric in self._own_metrics:
            value = metric.result()
            results.update(value if isinstance(value, dict) else {metric.name: value})
        return {name: float(v) if getattr(v, "ndim", None) == 0 else v for name, v in results.items()}

    def _metrics_held(self) -> list[Any]:
        known, latest = vars(self).get("_held"), Revised.latest
        if known is None or known[0] is not latest or not self._all_own:  # a walk takes longer than a small step
            known = latest, super()._metrics_held()
            vars(self)["_held"] = known
        return known[1]

    def _compiled(self) -> Objective:
        if self.objective is None:
            raise RuntimeError(f"Call compile() of model {self.name!r} before training or evaluating it")
        return self.objective

    @cached_property
    def _replays(self) -> dict[str, Replay]:
        """Recorded steps by name."""
        return {}

    @cached_property
    def _waiting(self) -> Waiting:
        """Batches whose results nobody has read yet."""
        return Waiting()

    def _all_layers(self) -> Iterator[Layer]:
        """The model and every layer in it, at any depth."""
        stack: list[Layer] = [self]
        while stack:
            layer = stack.pop()
            yield layer
            stack.extend(layer.children)

    # --- one step ----------------------------------------------------------------------------------------------

    def train_step(self, data: Batch) -> dict[str, float]:
        """Update the weights with one batch, ``(x, y)`` or ``(x, y, sample_weight)``; returns the results so far.

        Override it for another kind of training; ``fit`` and its callbacks keep working.
        """
        x, y, sample_weight = unpack(data)
        self._ensure_optimizer(x)
        self.optimizer.set_scalars()
        y_pred = self._run(self._update_weights, x, y, sample_weight)
        self.optimizer.advance()
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data: Batch) -> dict[str, float]:
        """Evaluate one batch; returns the results so far."""
        x, y, sample_weight = unpack(data)
        y_pred = self._run(self._compare, x, y, sample_weight)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Batch) -> Any:
        """Outputs for one batch."""
        return self._run(self._infer, unpack(data)[0])

    # What a step does on the device, between its data and its metrics: recorded and replayed where possible.

    def _update_weights(self, x: Any, y: Any, sample_weight: Any) -> tuple[list[Tensor], Any, Any]:
        y_pred = self(x, training=True)
        loss = self.compute_loss(x, y, y_pred, sample_weight)
        variables = self.trainable_weights
        gradients = grad(loss, variables, allow_unused=True) if variables else []
        self.optimizer.update_variables(gradients, variables)
        return self._compiled().latest or [loss], y_pred, _masks(y_pred)  # a compute_loss of one's own: only its total

    def _compare(self, x: Any, y: Any, sample_weight: Any) -> tuple[list[Tensor], Any, Any]:
        y_pred = self(x, training=False)
        loss = self.compute_loss(x, y, y_pred, sample_weight)
        return self._compiled().latest or [loss], y_pred, _masks(y_pred)

    def _infer(self, x: Any) -> tuple[list[Tensor], Any, Any]:
        return [], self(x, training=False), None

    def _run(self, step: Any, *arguments: Any) -> Any:
        """The predictions of a step; its losses go to the objective."""
        if self._replayable():
            circumstances = self._circumstances()
            replay = self._replays.setdefault(step.__name__, Replay())
            with errors_of(self._title):
                found, y_pred, masks = replay(step, arguments, circumstances)
            if masks is not None:  # a replayed step gives plain tensors
                remaining = iter(masks)
                y_pred = map_structure(lambda y: with_mask(y, next(remaining)), y_pred)
        else:
            found, y_pred, _ = step(*arguments)
        if found and self.objective is not None:
            self.objective.latest, self.objective.samples = found, len(flatten_structure(y_pred)[0])
        return y_pred

    def _replayable(self) -> bool:
        """Whether steps are recorded: by default if everything in the model is tinyconv's own."""
        if not self.built:
            return False
        recorded = vars(self).get("_recorded")
        changed = recorded is None or recorded.latest is not Revised.latest  # what was own may be so no longer
        if self.jit_compile == "auto" or (self._all_own and changed):
            objective = self.objective.parts() if self.objective else []
            parts = [self, *map(losses.get, objective), *([self.optimizer] if self.optimizer else [])]
            self.jit_compile = self._all_own = all(map(is_own, parts))
        return bool(self.jit_compile)

    @property
    def run_eagerly(self) -> bool:
        """Whether every step runs operation by operation and none is recorded; may be set at any time."""
        return self.jit_compile is False

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        self.jit_compile, self._all_own = False if value else "auto", False

    def _circumstances(self) -> Hashable:
        """What a recording depends on besides its data: the memory of all weights, and which of them are trained."""
        recorded = vars(self).get("_recorded")
        if recorded is None or recorded.latest is not Revised.latest or not self._all_own:
            recorded = self._look_at_parts(recorded)
        slots = self.optimizer.tensors if self.optimizer is not None and self.optimizer.built else []
        memory = tuple(id(tensor.data) for tensor in (*recorded.weights, *slots))
        trained = tuple(weight.requires_grad for weight in recorded.weights)
        updates = self.optimizer is None or self.optimizer.updates_next
        return is_grad_enabled(), updates, recorded.trainable, memory, trained

    def _look_at_parts(self, before: _Recorded | None) -> _Recorded:
        """Walk through all parts; where one was changed, what is recorded of this model is out of date."""
        latest = Revised.latest
        layers = list(self._all_layers())
        weights = [parameter for layer in layers for parameter in layer._parameters]
        attributes = [value for layer in layers for value in list(vars(layer).values())]  # regularizers and the like
        objective = self.objective.parts() if self.objective else []
        parts = [part for part in (*layers, *attributes, *objective, self.optimizer) if isinstance(part, Revised)]
        revisions = tuple((id(part), part.revision) for part in parts if not isinstance(part, Steps))
        if before is not None and before.revisions != revisions:
            self._replays.clear()
        found = _Recorded(latest, weights, tuple(layer.trainable for layer in layers), revisions)
        vars(self)["_recorded"] = found  # not by assignment, which would count as a change
        return found

    def _ensure_optimizer(self, x: Any) -> None:
        """Make weights and optimizer slots before the first step that needs them."""
        if not self.built:
            with no_grad():
                self(map_structure(lambda part: part[:1], x), training=False)
            self._warn()
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_weights)

    def _warn(self) -> None:
        """Warn of what the documents call mistakes, once."""
        from tinyconv.diagnosis import warn_about

        warn_about(self, 4)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The scalar that training minimises: the compiled losses and the layers' penalties.

        ``x`` and ``training`` are there for those who override it.
        """
        predictions, labels, weights = self._per_output(y_pred, y, sample_weight)
        names, penalties = self._output_names(y_pred), self.losses
        with errors_of(self._title):
            return self._compiled().compute_loss(labels, predictions, weights, names, penalties)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, float]:
        """Feed the metrics with a batch and return all results so far, which are worked out when they are read."""
        objective = self._compiled()
        latest, samples, objective.latest = objective.latest, objective.samples, []

        def look(values: Any) -> None:
            objective.latest, objective.samples = values[0], samples
            objective._average()
            self._update_metrics(*values[1:])

        values = latest, y, y_pred, sample_weight
        if all(backends.on_gpu(p.data) and mask_of(p) is None for p in flatten_structure(y_pred)):
            return self._waiting.add(values, look, self.get_metrics_result)
        self._waiting.catch_up()
        look(values)
        if self._own_metrics != []:  # not known yet, or fed by layers: they would have moved on
            return self.get_metrics_result()
        return self._waiting.ready(self.get_metrics_result)

    def _update_metrics(self, y: Any, y_pred: Any, sample_weight: Any) -> None:
        predictions, labels, weights = self._per_output(y_pred, y, sample_weight)
        self._compiled().update_metrics(labels, predictions, weights, self._output_names(y_pred))

    def _output_names(self, y_pred: Any) -> list[str]:
        if isinstance(y_pred, dict):
            return list(y_pred)
        return [f"output_{i + 1}" for i in range(len(flatten_structure(y_pred)))]

    def _per_output(self, y_pred: Any, y: Any, sample_weight: Any) -> tuple[list[Tensor], list[Any], list[Any]]:
        """Predictions, labels and weights as parallel lists, one entry per output."""
        names = self._output_names(y_pred)
        weights = sample_weight if isinstance(sample_weight, dict | list) else [sample_weight] * len(names)
        labels, weights = self._by_output(y, names, "labels"), self._by_output(weights, names, "sample weights")
        return flatten_structure(y_pred), labels, weights

    def _by_output(self, parts: Any, names: list[str], what: str) -> list[Any]:
        """One entry per output from a single array, a list by position or a dictionary by name.

        Of labels, there may be only those of the outputs that are compared with any.
        """
        given = [None] * len(names) if parts is None else parts if isinstance(parts, dict | list) else [parts]
        if isinstance(given, list) and len(given) == len(names):
            return given
        needed = self._compiled().compared(names) if what == "labels" else []
        if isinstance(given, dict):
            fits, by_name, received = set(needed) <= set(given) <= set(names), given, str(list(given))
        else:
            fits, by_name, received = len(given) == len(needed), dict(zip(needed, given)), f"{len(given)} arrays"
        if not fits:
            raise ValueError(f"{self._title} expected {what} for outputs {names}. Received: {received}")
        return [by_name.get(name) for name in names]


@contextlib.contextmanager
def errors_of(title: str) -> Iterator[None]:
    """Errors in a user's data say which model received it."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if str(error).startswith(title):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{title}: {error}") from error


def _masks(y_pred: Any) -> list[Tensor | None] | None:
    """The masks of all predictions; None where there are none."""
    masks = [mask_of(y) for y in flatten_structure(y_pred)]
    return masks if any(mask is not None for mask in masks) else None
