"""Fusion: elementwise steps of a trace that feed one another become one step, so that memory is passed over once.

Steps are gathered in groups; a group is carried out at the place of its last member. That is allowed as long as nothing
in between uses what the group makes, or overwrites what it reads: a group is closed as soon as that happens. Sums over
all axes but the last join the group that makes what they add up, or one that reads it anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from tinyconv.backends.recording import Ref, Step, Trace

VIEWS = ("reshape", "transpose", "broadcast_to", "getitem")
CREATION = ("full", "arange", "asarray")
MOST_OPERANDS = 16

_OPERATIONS = {
    "negative", "absolute", "square", "sqrt", "reciprocal", "exp", "expm1", "log", "tanh", "sigmoid", "add", "subtract",
    "multiply", "divide", "maximum", "minimum", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "where",
}  # fmt: skip


_CHEAP = {"add", "subtract", "multiply"}
MOST_AGAIN = 4  # cheap operations that are done again, so as not to keep what they make


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
    """Numbers of the arrays that a step reads or overwrites."""
    return [*references(step.arguments), *references(step.options)]


def overwritten_by(step: Step) -> list[int]:
    """Numbers of the arrays that a step overwrites."""
    if step.primitive == "assign":
        return list(references(step.arguments[0]))
    return list(references(step.arguments[2])) if step.primitive == "fused" else []


def makes_constant(step: Step) -> bool:
    """Whether a step makes the same array in every run."""
    return step.primitive in CREATION and not used_by(step)


def without_dead_steps(trace: Trace) -> Trace:
    """The trace less the steps whose results nobody uses."""
    needed = set(trace.outputs)
    kept = []
    for step in reversed(trace.steps):
        if step.primitive == "check" or overwritten_by(step) or needed.intersection(step.results):
            kept.append(step)
            needed.update(used_by(step))
    return trace._replace(steps=kept[::-1])


def fuse(trace: Trace) -> Trace:
    """Replace elementwise steps by ``fused`` steps.

    Their arguments are the expression's text (see ``kernels.fused``), its operands, and the arrays that are overwritten
    with the last results; their results are the values that are written, then the sums.
    """
    trace = without_dead_steps(trace)
    return with_early_updates(without_dead_steps(_Fuser(trace).result()))


def with_early_updates(trace: Trace) -> Trace:
    """The trace with every update of weights as early as it can be: its gradient is then still in the cache.

    An update can move before all steps that neither make what it reads, nor touch what it overwrites, nor overwrite
    what it reads.
    """
    root = roots(trace)
    steps: list[Step] = []
    for step in trace.steps:
        place = len(steps)
        if overwritten_by(step) and not step.results:
            touched, changed = _memory(step, root)
            while place:
                before = steps[place - 1]
                their_touched, their_changed = _memory(before, root)
                if changed & their_touched or their_changed & touched:
                    break
                place -= 1
        steps.insert(place, step)
    return trace._replace(steps=steps)


def _memory(step: Step, root: list[int]) -> tuple[set[int], set[int]]:
    """Which memory a step reads or writes, and which it writes."""
    changed = {root[n] for n in (*overwritten_by(step), *step.results)}
    return changed | {root[n] for n in used_by(step)}, changed


def roots(trace: Trace) -> list[int]:
    """For every array the one whose memory it shows: itself, unless it is a view."""
    root = list(range(len(trace.forms)))
    for step in trace.steps:
        if step.primitive in VIEWS:
            for number in step.results:
                root[number] = root[step.arguments[0].number]
    return root


class _Operand(NamedTuple):
    """An argument as the kernel sees it: number of an array, or a Python number, and the letter of its kind."""

    key: Any
    kind: str


class _Group:
    """Steps that become one: all elementwise on one shape and one float type."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype
        self.members: list[int] = []
        self.operands: dict[Any, str] = {}  # key -> kind
        self.operations: list[tuple[str, list[Any], Any]] = []  # name, keys of arguments, key of the result
        self.targets: dict[int, Any] = {}  # array that is overwritten -> key of the value
        self.sums: dict[int, Any] = {}  # array of sums -> key of what is added up
        self.made: set[Any] = set()
        self.closed = False

    def read(self, operand: _Operand) -> None:
        """Add an operand, unless the group makes it itself."""
        if operand.key not in self.made:
            self.operands[operand.key] = operand.kind

    def compute_again(self, operations: list[tuple[str, list[Any], Any]]) -> Any:
        """Add operations that another group did already; returns the key of the last one's result here."""
        mine = {key: key if type(key) is tuple else ("again", key) for _, _, key in operations}
        for name, arguments, key in operations:
            if mine[key] not in self.made:
                self.operations.append((name, [mine.get(argument, argument) for argument in arguments], mine[key]))
                self.made.add(mine[key])
        return mine[operations[-1][2]]


class _Fuser:
    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.root = roots(trace)
        self.changing = {self.root[n] for step in trace.steps for n in overwritten_by(step)}
        self.producer: dict[int, Step] = {}
        self.groups: list[_Group] = []
        self.maker: dict[int, _Group] = {}
        self.summed: dict[int, _Group] = {}  # array -> group that does nothing yet but add it up
        self.holds: dict[int, int] = {}  # overwritten array -> array with the same values
        for place, step in enumerate(trace.steps):
            group = self._visit(place, step)
            self._close_others(step, group)
            for number in step.results:
                self.producer[number] = step

    def _visit(self, place: int, step: Step) -> _Group | None:
        described = self._describe(step)
        if described is None:
            return None
        shape, dtype, operands = described
        again = [self._cheap(operand) for operand in operands]
        read = [o for operand, cheap in zip(operands, again) for o in (cheap[1] if cheap else [operand])]
        group = self._join(shape, dtype, read)
        group.members.append(place)
        for operand in read:
            group.read(operand)
        keys = [operand.key for operand in operands]
        for i, cheap in enumerate(again):
            if cheap:
                keys[i] = group.compute_again(cheap[0])
        if step.primitive == "assign":
            target = step.arguments[0].number
            group.targets[target] = keys[0]
            self.holds[target] = operands[0].key
            return group
        number = step.results[0]
        if step.primitive == "sum":
            group.sums[number] = keys[0]
            if not group.operations:
                self.summed[keys[0]] = group
            return group
        group.operations.append((step.primitive, keys, number))
        group.made.add(number)
        self.maker[number] = group
        return group

    # --- which steps may be fused ------------------------------------------------------------------------------

    def _describe(self, step: Step) -> tuple[tuple[int, ...], Any, list[_Operand]] | None:
        """Shape, float type and operands of a step that the kernel can do, else None."""
        forms, arguments = self.trace.forms, list(step.arguments)
        if step.primitive == "assign":
            target, value = arguments
            if not isinstance(value, Ref) or forms[value.number].shape != forms[target.number].shape:
                return None
            if not forms[target.number].contiguous:
                return None
            shape, floats, arguments = forms[target.number].shape, {forms[target.number].dtype}, [value]
        elif step.primitive == "sum" and self._is_column_sum(step):
            shape, floats, arguments = forms[arguments[0].number].shape, set(), arguments[:1]
        elif step.primitive in _OPERATIONS:
            result = forms[step.results[0]]
            if not result.contiguous:
                return None
            shape, floats = result.shape, {result.dtype} if result.dtype.kind == "f" else set()
        else:
            return None
        operands = [self._operand(argument, shape) for argument in arguments]
        floats |= {forms[n].dtype for n in references(arguments) if forms[n].dtype.kind == "f"}
        if None in operands or len(floats) != 1 or not floats <= {np.dtype("f4"), np.dtype("f8")} or 0 in shape:
            return None
        return shape, floats.pop(), [operand for operand in operands if operand is not None]

    def _is_column_sum(self, step: Step) -> bool:
        """Whether a sum leaves just the last axis, and there is something to add."""
        x = self.trace.forms[step.arguments[0].number]
        axes = step.arguments[1] if len(step.arguments) > 1 else step.options.get("axis")
        if x.ndim < 2 or not isinstance(axes, tuple) or x.dtype.kind != "f":
            return False
        return sorted(a % x.ndim for a in axes) == list(range(x.ndim - 1))

    def _operand(self, argument: Any, shape: tuple[int, ...]) -> _Operand | None:
        if isinstance(argument, int | float) and not isinstance(argument, bool):
            return _Operand(("number", float(argument)), "s")
        if not isinstance(argument, Ref):
            return None
        number = self.holds.get(argument.number, argument.number)
        array, maker = self.trace.forms[number], self.producer.get(number)
        if maker is not None and maker.primitive == "broadcast_to":
            return self._operand(maker.arguments[0], shape)
        if array.shape == shape and not array.contiguous:
            return None
        if array.dtype.kind == "b":
            return _Operand(number, "m") if array.shape == shape else None
        if array.dtype.kind != "f":
            return None
        if array.shape == shape:
            return _Operand(number, "f")
        if array.size == 1:
            return _Operand(number, "s")
        if array.shape == (*shape[:-1], 1) and array.contiguous:
            return _Operand(number, "c")
        is_row = array.size == shape[-1] == array.shape[-1]
        return _Operand(number, "r") if is_row else None

    # --- joining and closing -----------------------------------------------------------------------------------

    def _cheap(self, operand: _Operand) -> tuple[list[tuple[str, list[Any], Any]], list[_Operand]] | None:
        """The operations that made an operand and what they read, when doing them again costs no more than reading it.

        That is a few operations on one array and rows or numbers, in a group that is closed, so that the operand would
        have to be written there and read here.
        """
        group = self.maker.get(operand.key) if operand.kind == "f" else None
        if group is None or not group.closed:
            return None
        by_key = {operation[2]: operation for operation in group.operations}
        found: dict[Any, tuple[str, list[Any], Any]] = {}
        leaves: dict[Any, _Operand] = {}
        wanted = [operand.key]
        while wanted:
            key = wanted.pop()
            if key not in by_key:
                leaves[key] = _Operand(key, group.operands[key])
                continue
            found.pop(key, None)  # what several operations read comes before all of them
            found[key] = by_key[key]
            if by_key[key][0] not in _CHEAP or len(found) > MOST_AGAIN:
                return None
            wanted.extend(by_key[key][1])
        kinds = [leaf.kind for leaf in leaves.values()]
        if kinds.count("f") != 1 or "m" in kinds or any(self._changes(key) for key in leaves):
            return None
        return list(found.values())[::-1], list(leaves.values())

    def _changes(self, key: Any) -> bool:
        """Whether an operand is memory that some step overwrites, so that it may mean something else later on."""
        return isinstance(key, int) and self.root[key] in self.changing

    def _join(self, shape: tuple[int, ...], dtype: Any, operands: list[_Operand]) -> _Group:
        """The open group that makes an operand (several become one) or adds one up; else a new group."""
        keys = [operand.key for operand in operands]
        near = [self.maker.get(key) for key in keys]
        near += [self.summed.get(o.key) for o in operands if o.kind == "f"]
        joined: _Group | None = None
        for group in sorted({id(g): g for g in near if g is not None}.values(), key=lambda g: g.members[0]):
            if group.closed or (group.shape, group.dtype) != (shape, dtype):
                continue
            together = {*group.operands, *(joined.operands if joined else ()), *keys} - group.made
            if len(together) > MOST_OPERANDS:
                continue
            joined = group if joined is None else self._merge(joined, group)
        if joined is None:
            joined = _Group(shape, dtype)
            self.groups.append(joined)
        return joined

    def _merge(self, group: _Group, other: _Group) -> _Group:
        group.members = sorted([*group.members, *other.members])
        group.operations += other.operations
        group.operands.update(other.operands)
        group.targets.update(other.targets)
        group.sums.update(other.sums)
        group.made |= other.made
        for table in (self.maker, self.summed):
            table.update({key: group for key, owner in table.items() if owner is other})
        self.groups.remove(other)
        return group

    def _close_others(self, step: Step, group: _Group | None) -> None:
        """Close the groups whose results this step uses, or whose memory it overwrites or sees overwritten."""
        used = {self.root[n] for n in used_by(step)} | {self.root[self.holds.get(n, n)] for n in used_by(step)}
        overwritten = {self.root[n] for n in overwritten_by(step)}
        for other in self.groups:
            if other is group or other.closed:
                continue
            makes = {self.root[n] for n in (*other.made, *other.targets, *other.sums) if isinstance(n, int)}
            reads = {self.root[n] for n in other.operands if isinstance(n, int)}
            other.closed = bool(used & makes or overwritten & reads)

    # --- the new trace -----------------------------------------------------------------------------------------

    def result(self) -> Trace:
        """The trace with every group at the place of its last member."""
        last = {max(group.members): group for group in self.groups}
        inside = {place for group in self.groups for place in group.members}
        used = set(self.trace.outputs)
        for place, step in enumerate(self.trace.steps):
            if place not in inside:
                used.update(used_by(step))
        for group in self.groups:  # operands are named by what they show: the views between are not used then
            used.update(key for key in group.operands if isinstance(key, int) and key not in group.made)
        steps = []
        for place, step in enumerate(self.trace.steps):
            if place in last:
                steps.append(_fused_step(last[place], used))
            elif place not in inside:
                steps.append(step)
        return self.trace._replace(steps=steps)


def _fused_step(group: _Group, used: set[int]) -> Step:
    keys = [key for key in group.operands if key not in group.made]
    places: dict[Any, int] = {key: i for i, key in enumerate(keys)}
    lines = []
    for name, arguments, number in group.operations:
        lines.append(" ".join([name, *(str(places[key]) for key in arguments)]))
        places[number] = len(keys) + len(lines) - 1
    results = sorted(n for n in group.made & used if isinstance(n, int))
    written = [*(places[n] for n in results), *(places[key] for key in group.targets.values())]
    parts = (
        "".join(group.operands[key] for key in keys),
        ";".join(lines),
        ",".join(map(str, written)),
        ",".join(str(places[key]) for key in group.sums.values()),
    )
    operands = tuple(Ref(key) if isinstance(key, int) else key[1] for key in keys)
    targets = tuple(Ref(n) for n in group.targets)
    return Step("fused", ("|".join(parts), operands, targets), {}, (*results, *group.sums))

