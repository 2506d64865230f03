"""Fusion: elementwise steps of a trace that feed one another become one step, so that memory is passed over once.

A group of steps is moved down to the place of its last member. That is allowed as long as nothing in between uses what
the group makes or overwrites what it reads; a group is closed as soon as that happens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyconv.backends.recording import Ref, Step, Trace

VIEWS = ("reshape", "transpose", "broadcast_to", "getitem")
MOST_OPERANDS = 12

_OPERATIONS = {
    "negative", "absolute", "square", "sqrt", "reciprocal", "exp", "expm1", "log", "tanh", "sigmoid", "add", "subtract",
    "multiply", "divide", "maximum", "minimum", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "where",
}  # fmt: skip


def references(value: Any) -> Iterable[int]:
    """Numbers of all arrays that arguments refer to."""
    if isinstance(value, Ref):
        yield value.number
    elif type(value) in (tuple, list):
        for entry in value:
            yield from references(entry)
    elif type(value) is dict:
        yield from references(list(value.values()))


def used_by(step: Step) -> list[int]:
    """Numbers of the arrays that a step reads (and, for ``assign``, the one it writes)."""
    return [*references(step.arguments), *references(step.options)]


def writes(step: Step) -> bool:
    """Whether a step changes an array that it was given."""
    return step.primitive == "assign" or (step.primitive == "fused" and bool(step.arguments[2]))


def without_dead_steps(trace: Trace) -> Trace:
    """The trace less the steps whose results nobody uses."""
    needed = set(trace.outputs)
    kept = []
    for step in reversed(trace.steps):
        if writes(step) or needed.intersection(step.results):
            kept.append(step)
            needed.update(used_by(step))
    return trace._replace(steps=kept[::-1])


def fuse(trace: Trace) -> Trace:
    """Replace elementwise steps by ``fused`` steps: arguments are the expression's text and its operands."""
    return _Fuser(without_dead_steps(trace)).result()


class _Group:
    """Steps that will become one: all elementwise on one shape and float type."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype
        self.members: list[int] = []
        self.operands: dict[Any, str] = {}  # array number, or a Python number, to its kind
        self.operations: list[tuple[str, list[Any], int | None]] = []  # name, arguments, number of the result
        self.targets: dict[int, Any] = {}  # array that is overwritten -> value
        self.made: set[int] = set()
        self.closed = False


class _Fuser:
    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.root = list(range(len(trace.arrays)))
        self.producer: dict[int, Step] = {}
        self.groups: list[_Group] = []
        self.maker: dict[int, _Group] = {}
        for place, step in enumerate(trace.steps):
            if step.primitive in VIEWS:
                for number in step.results:
                    self.root[number] = self.root[step.arguments[0].number]
            self._visit(place, step)
            for number in step.results:
                self.producer[number] = step

    def _visit(self, place: int, step: Step) -> None:
        candidate = self._candidate(step)
        group = None
        if candidate is not None:
            group = self._join(place, candidate)
            self._add(group, place, step, candidate)
        self._close_others(step, group)

    # --- which steps may be fused ------------------------------------------------------------------------------

    def _candidate(self, step: Step) -> _Group | None:
        """A group of this step alone, with its operands, when it is elementwise in a form that the kernel knows."""
        if step.primitive == "assign":
            target, value = step.arguments
            array = self._array(target) if isinstance(target, Ref) else None
            if array is None or not isinstance(value, Ref) or self._array(value).shape != array.shape:
                return None
            shape, arguments = array.shape, [value]
        elif step.primitive in _OPERATIONS and len(step.results) == 1:
            shape, arguments = self.trace.arrays[step.results[0]].shape, list(step.arguments)
        else:
            return None
        numbers = [a.number for a in arguments if isinstance(a, Ref)]
        dtypes = {self.trace.arrays[n].dtype for n in numbers if self.trace.arrays[n].dtype.kind == "f"}
        if step.primitive != "assign" and self.trace.arrays[step.results[0]].dtype.kind == "f":
            dtypes.add(self.trace.arrays[step.results[0]].dtype)
        if step.primitive == "assign":
            dtypes.add(self._array(step.arguments[0]).dtype)
        if len(dtypes) != 1 or not dtypes <= {np.dtype("f4"), np.dtype("f8")} or 0 in shape:
            return None
        group = _Group(shape, dtypes.pop())
        for argument in arguments:
            kind = self._kind(argument, shape)
            if kind is None:
                return None
            group.operands[kind[0]] = kind[1]
        return group

    def _kind(self, argument: Any, shape: tuple[int, ...]) -> tuple[Any, str] | None:
        """What an argument is to the kernel: (array number or Python number, kind), see ``kernels.fused``."""
        if isinstance(argument, bool) or argument is None:
            return None
        if isinstance(argument, int | float):
            return ("number", float(argument)), "s"
        if not isinstance(argument, Ref):
            return None
        number, array = argument.number, self._array(argument)
        maker = self.producer.get(number)
        if maker is not None and maker.primitive == "broadcast_to":
            return self._kind(maker.arguments[0], shape)
        if array.dtype.kind == "b":
            return (number, "m") if array.shape == shape else None
        if array.size == 1 and shape and int(np.prod(shape)) != 1:
            return number, "s"
        if array.shape == shape:
            return number, "f"
        is_row = shape and array.size == shape[-1] and array.shape[-1:] == shape[-1:]
        return (number, "r") if is_row else None

    def _array(self, ref: Ref) -> Any:
        return self.trace.arrays[ref.number]

    # --- joining -----------------------------------------------------------------------------------------------

    def _join(self, place: int, candidate: _Group) -> _Group:
        """The open group that makes one of the operands (several are merged), or a new one."""
        makers = {id(g): g for n in candidate.operands if (g := self.maker.get(n)) is not None and not g.closed}
        fitting = [g for g in makers.values() if g.shape == candidate.shape and g.dtype == candidate.dtype]
        joined: _Group | None = None
        for group in sorted(fitting, key=lambda g: g.members[0]):
            outside = set(candidate.operands) - group.made
            if joined is None:
                if len(set(group.operands) | outside) <= MOST_OPERANDS:
                    joined = group
            elif len(set(joined.operands) | set(group.operands) | outside) <= MOST_OPERANDS:
                self._merge(joined, group)
        if joined is None:
            joined = _Group(candidate.shape, candidate.dtype)
            self.groups.append(joined)
        return joined

    def _merge(self, group: _Group, other: _Group) -> None:
        group.members = sorted([*group.members, *other.members])
        group.operations += other.operations
        group.operands.update(other.operands)
        group.targets.update(other.targets)
        group.made |= other.made
        for number in other.made:
            self.maker[number] = group
        self.groups.remove(other)

    def _add(self, group: _Group, place: int, step: Step, candidate: _Group) -> None:
        group.members.append(place)
        for key, kind in candidate.operands.items():
            if key not in group.made:
                group.operands[key] = kind
        if step.primitive == "assign":
            value = self._kind(step.arguments[1], group.shape)
            group.targets[step.arguments[0].number] = value[0] if value else None
            return
        keys = [kind[0] for a in step.arguments if (kind := self._kind(a, group.shape)) is not None]
        number = step.results[0]
        group.operations.append((step.primitive, keys, number))
        group.made.add(number)
        self.maker[number] = group

    def _close_others(self, step: Step, group: _Group | None) -> None:
        """Close the groups whose results this step uses, or whose memory it writes or sees written."""
        used = {self.root[n] for n in used_by(step)}
        written = {self.root[step.arguments[0].number]} if step.primitive == "assign" else set()
        for other in self.groups:
            if other is group or other.closed:
                continue
            makes = {self.root[n] for n in other.made} | {self.root[n] for n in other.targets}
            reads = {self.root[n] for n in other.operands if isinstance(n, int)}
            if used & makes or written & reads:
                other.closed = True

    # --- the new trace -----------------------------------------------------------------------------------------

    def result(self) -> Trace:
        """The trace with every group in the place of its last member."""
        last = {max(group.members): group for group in self.groups}
        inside = {place for group in self.groups for place in group.members}
        outside: set[int] = set(self.trace.outputs)
        for place, step in enumerate(self.trace.steps):
            if place not in inside:
                outside.update(used_by(step))
        for group in self.groups:  # operands are named by what they show: the views between are not used then
            outside.update(n for n in group.operands if isinstance(n, int) and n not in group.made)
        steps = []
        for place, step in enumerate(self.trace.steps):
            if place in last:
                steps.append(self._fused_step(last[place], outside))
            elif place not in inside:
                steps.append(step)
        return without_dead_steps(self.trace._replace(steps=steps))

    def _fused_step(self, group: _Group, outside: set[int]) -> Step:
        keys = [key for key in group.operands if key not in group.made]
        places = {key: i for i, key in enumerate(keys)}
        lines = []
        for name, arguments, number in group.operations:
            lines.append(" ".join([name, *(str(places[key]) for key in arguments)]))
            places[number] = len(keys) + len(lines) - 1
        results = sorted(group.made & outside)
        written = [places[n] for n in results] + [places[value] for value in group.targets.values()]
        kinds = "".join(group.operands[key] for key in keys)
        text = f"{kinds}|{';'.join(lines)}|{','.join(map(str, written))}"
        operands = tuple(Ref(key) if isinstance(key, int) else float(key[1]) for key in keys)
        targets = tuple(Ref(n) for n in group.targets)
        return Step("fused", (text, operands, targets), {}, tuple(results))
