"""Replay: a step that is run again and again is recorded from its eager run, then run as a plan.

The step stays what it is, a function of arrays that computes with tensors. Twice it runs eagerly while a recorder looks
on. When both recordings are the same, what the step did depends on nothing but its inputs and the weights, and from
then on a plan (``backends.plan``) does the same without Python. A step that looks at values, draws its own random
numbers or takes different ways stays eager.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv import backends, random
from tinyconv.layers.base import Layer
from tinyconv.tensor import Tensor

MOST_PLANS = 4  # different shapes of one step; more would cost more memory than they save time


class _Known(NamedTuple):
    """What is known of a step for arrays of certain shapes: a first trace, then a plan; None when it stays eager."""

    run: Any
    structure: Any  # of the outputs


class Replay:
    """Calls a step, always the same, by a plan where that gives the same results."""

    def __init__(self) -> None:
        self._known: dict[Hashable, _Known] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Replay, ()  # a copy, also in another process, records anew

    def __call__(self, step: Callable[..., Any], arguments: Sequence[Any], circumstances: Hashable = None) -> Any:
        """Run the step.

        Parameters
        ----------
        step : callable
            From arrays (or None in their place) to tensors in any structure of tuples, lists and dictionaries, with no
            effect but on weights and optimizer slots (by ``assign``). It is given anew in each call, so that a model
            whose method it is can hold its replay without a reference cycle.
        arguments : sequence of arrays, or of lists and dictionaries of arrays; None is allowed too
            The step's arguments.
        circumstances : hashable
            What else the recording depends on, such as which weights are trained.
        """
        arrays = list(_leaves(arguments))
        if backends.host().name != "cpu" or not all(isinstance(array, np.ndarray) for array in arrays):
            return step(*arguments)
        from tinyconv.backends.plan import Plan

        shapes = tuple((array.shape, array.dtype.str) for array in arrays)
        signature = (circumstances, repr(_structure(arguments)), shapes)
        known = self._known.get(signature)
        if known is not None and isinstance(known.run, Plan):
            keys = [random.next_key(source) for source in known.run.sources]
            outputs = (Tensor._of(output) for output in known.run.run(arrays, keys))
            return _fill(known.structure, outputs)
        if (known is None and len(self._known) >= MOST_PLANS) or (known is not None and known.run is None):
            return step(*arguments)
        results, trace = self._record(step, arguments)
        run: Any = trace
        if trace is not None and known is not None:
            run = Plan(trace, arrays) if trace.same_as(known.run) else None
        self._known[signature] = _Known(run, _structure(results))
        return results

    def _record(self, step: Callable[..., Any], arguments: Sequence[Any]) -> tuple[Any, Any]:
        """Run the step eagerly; also returns the trace, or None when it looked at values."""
        from tinyconv.backends.recording import Recorder

        arrays = [np.array(array) for array in _leaves(arguments)]  # of its own: nothing else can be the same array
        recorder = Recorder(backends.host(), arrays)
        with backends.recorded_by(recorder):
            results = step(*_fill(_structure(arguments), iter(arrays)))
        outputs = [output.data for output in _leaves(results)]
        results = _fill(_structure(results), map(Tensor._of, outputs))  # without the graph and all that it keeps
        return results, None if recorder.reads else recorder.finish(outputs)


# --- structures of tensors or arrays ---------------------------------------------------------------------------


def _leaves(structure: Any) -> Iterator[Any]:
    """All that is in tuples, lists and dictionaries, in order, but for None."""
    if isinstance(structure, dict | list | tuple):
        for entry in structure.values() if isinstance(structure, dict) else structure:
            yield from _leaves(entry)
    elif structure is not None:
        yield structure


def _structure(structure: Any) -> Any:
    """The same structure with ``...`` in the place of every leaf."""
    if isinstance(structure, dict):
        return {key: _structure(value) for key, value in structure.items()}
    if isinstance(structure, list | tuple):
        return [_structure(entry) for entry in structure]
    return None if structure is None else ...


def _fill(structure: Any, leaves: Iterator[Any]) -> Any:
    """The structure with leaves in their places."""
    if isinstance(structure, dict):
        return {key: _fill(value, leaves) for key, value in structure.items()}
    if isinstance(structure, list):
        return [_fill(entry, leaves) for entry in structure]
    return None if structure is None else next(leaves)


# --- which models are replayed ---------------------------------------------------------------------------------


def is_own(thing: Any) -> bool:
    """Whether a class, function or object is tinyconv's, so that its behaviour is known to be the same every time."""
    if isinstance(thing, Layer):
        parts = [v for v in vars(thing).values() if callable(v)]
        penalties = [p for w in thing._parameters for p in (w.regularizer, w.constraint) if p is not None]
        return _is_ours(type(thing)) and all(map(is_own, [*thing.children, *parts, *penalties]))
    return _is_ours(thing if hasattr(thing, "__name__") else type(thing))


def _is_ours(definition: Any) -> bool:
    return str(getattr(definition, "__module__", "")).split(".")[0] == "tinyconv"
