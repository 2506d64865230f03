"""Replay: a step that is run again and again is recorded from its eager run, then run as a plan.

The step stays what it is, a function of arrays that computes with tensors. Twice it runs eagerly while a recorder looks
on. When both recordings are the same, what the step did depends on nothing but its inputs and the weights (two equal
batches would not show what a step of one's own computes from its arrays outside of tinyconv), and from then on a plan
does the same without Python: a program of kernels (``backends.plan``), or a CUDA graph on the GPU
(``backends.cuda.graph``). A step that looks at values, draws its own random numbers or takes different ways stays
eager.
"""

from __future__ import annotations

import warnings
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
        table = backends.get("cuda") if backends.current_device() == "cuda" else backends.host()
        kinds = (np.ndarray, table.xp.ndarray)  # what is on the host is moved to the GPU, not the other way round
        if table.name not in ("cpu", "cuda") or not all(isinstance(array, kinds) for array in arrays):
            return step(*arguments)
        shapes = tuple((array.shape, array.dtype.str) for array in arrays)
        signature = (table.name, circumstances, repr(_structure(arguments)), shapes)
        known = self._known.get(signature)
        if known is not None and hasattr(known.run, "run"):
            keys = [random.next_key(source) for source in known.run.sources]
            outputs = (Tensor._of(output) for output in known.run.run(arrays, keys))
            return _fill(known.structure, outputs)
        if (known is None and len(self._known) >= MOST_PLANS) or (known is not None and known.run is None):
            return step(*_placed(arguments, arrays, table))
        results, trace = self._record(step, arguments, table)
        run: Any = trace
        if trace is not None and known is not None:
            run = _plan(trace, arrays, table) if trace.same_as(known.run) else None
        self._known[signature] = _Known(run, _structure(results))
        return results

    def _record(self, step: Callable[..., Any], arguments: Sequence[Any], table: Any) -> tuple[Any, Any]:
        """Run the step eagerly; also returns the trace, or None when it looked at values."""
        from tinyconv.backends.recording import Recorder

        arrays = [_own(array, table) for array in _leaves(arguments)]
        recorder = Recorder(table, arrays)
        with backends.recorded_by(recorder):
            results = step(*_placed(arguments, arrays, table))
        outputs = [output.data for output in _leaves(results)]
        results = _fill(_structure(results), map(Tensor._of, outputs))  # without the graph and all that it keeps
        return results, None if recorder.reads else recorder.finish(outputs)


def _own(array: Any, table: Any) -> Any:
    """A copy on the device of ``table``: nothing else can be the same array."""
    return np.array(array) if table.device == "cpu" else table.copy(backends.move(array, table))


def _placed(arguments: Sequence[Any], arrays: Sequence[Any], table: Any) -> Any:
    """The arguments with ``arrays`` in their places: on the GPU as tensors there, whatever memory they come from."""
    if table.device == "cuda":
        arrays = [Tensor._of(backends.move(array, table)) for array in arrays]
    return _fill(_structure(arguments), iter(arrays))


def _plan(trace: Any, examples: Sequence[Any], table: Any) -> Any:
    """The plan of a trace; None where the GPU has none, and the step stays eager."""
    if table.device == "cpu":
        from tinyconv.backends.plan import Plan

        return Plan(trace, examples)
    from tinyconv.backends.cuda.graph import GraphPlan

    try:
        return GraphPlan(trace, examples, table)
    except Exception as error:  # such as no memory for a plan's buffers beside the eager step's
        message = f"A step stays eager, which is slower, because it could not be made a CUDA graph: {error}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return None


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
