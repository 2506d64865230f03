"""Updates of many weights as one step: what an optimizer does with each of them is the same expression.

A step that only overwrites arrays may wait until something reads or overwrites what it touches. Steps that wait with
one expression and the same numbers are then done together, by one kernel (``fused.run_many``).
"""

from __future__ import annotations

from typing import Any

from tinyconv.backends.fusion import overwritten_by, roots, used_by
from tinyconv.backends.recording import Ref, Step, Trace


def gather(trace: Trace) -> Trace:
    """The trace with equal updates joined: their ``fused`` steps have tuples of operands and of targets."""
    root = roots(trace)
    steps: list[Step] = []
    waiting: dict[Any, list[Step]] = {}
    for step in trace.steps:
        changed = {root[n] for n in (*overwritten_by(step), *step.results)}
        touched = changed | {root[n] for n in used_by(step)}
        for key, group in list(waiting.items()):
            theirs = {root[n] for other in group for n in overwritten_by(other)}
            read = {root[n] for other in group for n in used_by(other)}
            if theirs & touched or changed & read:
                steps.append(_joined(waiting.pop(key)))
        key = _key(trace, step)
        if key is None:
            steps.append(step)
        else:
            waiting.setdefault(key, []).append(step)
    return trace._replace(steps=[*steps, *map(_joined, waiting.values())])


def _key(trace: Trace, step: Step) -> Any:
    """What updates must have in common to be joined; None for other steps."""
    if step.primitive != "fused" or step.results:
        return None
    text, operands, _ = step.arguments
    kinds = text.split("|")[0]
    if not set(kinds) <= {"f", "s"}:
        return None
    types = {trace.forms[n].dtype for n in used_by(step)}
    if len(types) != 1:
        return None
    return text, *types, tuple(None if isinstance(x, Ref) else x for x in operands)


def _joined(group: list[Step]) -> Step:
    if len(group) == 1:
        return group[0]
    text = group[0].arguments[0]
    operands, targets = (tuple(step.arguments[i] for step in group) for i in (1, 2))
    return Step("fused", (text, operands, targets), {}, ())
