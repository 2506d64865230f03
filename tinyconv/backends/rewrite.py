"""Rewriting: steps of a trace replaced by equal ones that touch less memory.

Each rule is an identity that holds for every input to the last bit, stated where it is applied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv.backends.fusion import used_by
from tinyconv.backends.recording import Form, Ref, Step, Trace

Rule = Callable[["_Rewriter", Step], "list[Step] | None"]


def rewrite(trace: Trace, clip: bool = True) -> Trace:
    """Apply all rules, from the first step to the last; ``clip``: the table has ``conv2d_relu``."""
    return _Rewriter(trace, RULES if clip else RULES[:1]).result()


class _Rewriter:
    def __init__(self, trace: Trace, rules: Sequence[Rule]) -> None:
        self.trace, self.rules = trace, rules
        self.forms = list(trace.forms)
        self.uses = _count_uses(trace)
        self.steps: list[Step] = []
        self.producer: dict[int, Step] = {}
        for step in trace.steps:
            for new in self._apply(step):
                self.steps.append(new)
                self.producer.update((number, new) for number in new.results)

    def result(self) -> Trace:
        """The rewritten trace; what became useless is still in it."""
        return self.trace._replace(steps=self.steps, forms=self.forms)

    def _apply(self, step: Step) -> list[Step]:
        for rule in self.rules:
            replaced = rule(self, step)
            if replaced is not None:
                return replaced
        return [step]

    def made_by(self, value: Any, primitive: str) -> Step | None:
        """The step that made an argument, if it is a ``primitive``."""
        step = self.producer.get(value.number) if isinstance(value, Ref) else None
        return step if step is not None and step.primitive == primitive else None

    def new(self, shape: tuple[int, ...], dtype: Any) -> Ref:
        """A number for a contiguous array that the original trace did not have."""
        dtype = np.dtype(dtype)
        strides = [dtype.itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        self.forms.append(Form(shape, dtype, tuple(strides)))
        return Ref(len(self.forms) - 1)


def _mask_before_scatter(r: _Rewriter, step: Step) -> list[Step] | None:
    """``where(y > 0, scatter(g, taps), 0) = scatter(where(p > 0, g, 0), taps)`` for ``p, taps = max_pool(y)``.

    A scatter puts values only where a window chose its maximum, and there y is p. The mask is then as small as the
    pooled image.
    """
    if step.primitive != "where" or step.arguments[2] != 0:
        return None
    condition = r.made_by(step.arguments[0], "greater")
    scatter = r.made_by(step.arguments[1], "max_pool2d_scatter")
    if condition is None or scatter is None or condition.arguments[1] != 0:
        return None
    g, taps = scatter.arguments[:2]
    pool = r.producer.get(taps.number)
    if pool is None or pool.primitive != "max_pool2d" or pool.arguments[0] != condition.arguments[0]:
        return None
    pooled = r.forms[pool.results[0]]
    mask, masked = r.new(pooled.shape, np.bool_), r.new(pooled.shape, pooled.dtype)
    return [
        Step("greater", (Ref(pool.results[0]), 0), {}, (mask.number,)),
        Step("where", (mask, g, 0.0), {}, (masked.number,)),
        Step("max_pool2d_scatter", (masked, *scatter.arguments[1:]), {}, step.results),
    ]


def _clip_in_store(r: _Rewriter, step: Step) -> list[Step] | None:
    """``maximum(conv2d(...), 0) = conv2d_relu(...)``, which clips before it stores, if nothing else needs the former.

    1x1 convolutions are left alone: they are products of matrices, by another kernel.
    """
    if step.primitive != "maximum" or step.arguments[1] != 0:
        return None
    conv = r.made_by(step.arguments[0], "conv2d")
    if conv is None or r.uses[conv.results[0]] != 1:
        return None
    x, w, _, window, _ = conv.arguments
    kinds = {r.forms[ref.number].dtype for ref in conv.arguments[:3] if ref is not None}
    if window.kernel == (1, 1) or len(kinds) != 1 or not kinds <= {np.dtype("f4"), np.dtype("f8")}:
        return None
    if not r.forms[x.number].size or not r.forms[w.number].size:
        return None
    return [conv._replace(primitive="conv2d_relu", results=step.results)]


RULES: tuple[Rule, ...] = (_mask_before_scatter, _clip_in_store)


def _count_uses(trace: Trace) -> dict[int, int]:
    """How often each array is used, by steps or as an output."""
    counts: dict[int, int] = dict.fromkeys(range(len(trace.forms)), 0)
    for number in [*trace.outputs, *(n for step in trace.steps for n in used_by(step))]:
        counts[number] += 1
    return counts
