"""Replay: a step that is run again and again is recorded from its eager run, then run as a plan.

The step stays what it is, a function of arrays that computes with tensors. Twice it runs eagerly while a recorder looks
on. When both recordings are the same, what the step did depends on nothing but its inputs and the weights, and from
then on a plan (``backends.plan``) does the same without Python. A step that looks at values, draws its own random
numbers or takes different ways stays eager.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from tinyconv import backends, random
from tinyconv.tensor import Tensor

MOST_PLANS = 4  # different shapes of one step; more would cost more memory than they save time


class Replay:
    """Calls ``step``, by a plan where that gives the same results.

    Parameters
    ----------
    step : callable
        From arrays to a list of tensors, with no effect but on weights and optimizer slots (by ``assign``).
    """

    def __init__(self, step: Callable[..., list[Tensor]]) -> None:
        self.step = step
        self._known: dict[Hashable, Any] = {}  # signature -> first trace, then plan; None: stays eager

    def __call__(self, arrays: Sequence[np.ndarray], circumstances: Hashable = None) -> list[Tensor]:
        """Run the step.

        Parameters
        ----------
        arrays : sequence of arrays
            The step's arguments.
        circumstances : hashable
            What else the recording depends on, such as which weights are trained.
        """
        table = backends.host()
        if table.name != "cpu":
            return self.step(*arrays)
        from tinyconv.backends.plan import Plan

        signature = (circumstances, *((array.shape, array.dtype.str) for array in arrays))
        known = self._known.get(signature, self)
        if isinstance(known, Plan):
            keys = [random.next_key() for _ in range(known.draws)]
            return [Tensor._of(output) for output in known.run(arrays, keys)]
        if known is None or (known is self and len(self._known) >= MOST_PLANS):
            return self.step(*arrays)
        outputs, trace = self._record(arrays)
        if trace is None:
            self._known[signature] = None
        elif known is self:
            self._known[signature] = trace.without_data()
        else:
            self._known[signature] = Plan(trace) if trace.same_as(known) else None
        return outputs

    def _record(self, arrays: Sequence[np.ndarray]) -> tuple[list[Tensor], Any]:
        """Run the step eagerly; also returns the trace, or None when it looked at values."""
        from tinyconv.backends.recording import Recorder

        arrays = [np.array(array) for array in arrays]  # of its own: nothing else can be the same array
        recorder = Recorder(backends.host(), arrays)
        with backends.recorded_by(recorder):
            outputs = self.step(*arrays)
        return outputs, None if recorder.reads else recorder.finish([output.data for output in outputs])
