"""Plans: a recorded trace made into one program of kernels over buffers that are laid out once.

Planning walks through the trace with an example of the inputs: views become views, kernels become rows of a program
instead of being called one by one, and whatever has no kernel becomes a NumPy call into a fixed place. It does so
twice: a first walk learns how long every array is needed, so that in the second one they share one block of memory. A
replay copies the inputs in and runs the program.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv.backends.cpu import CPUBackend
from tinyconv.backends.fusion import VIEWS, fuse, makes_constant, overwritten_by, used_by
from tinyconv.backends.recording import Form, Ref, Step, Trace
from tinyconv.backends.reference import BINARY, UNARY, Array
from tinyconv.backends.rewrite import rewrite
from tinyconv.geometry import Window
from tinyconv.random import Key

_VIEWS = (*VIEWS, "astype")  # which may give its argument back
KEPT = 1 << 26  # bytes of weights in other forms that a plan keeps; for large ones half as many again as they take
_ALIGNMENT = 64  # bytes of a cache line and of the widest vector


class Plan:
    """A trace that runs without Python in between.

    Parameters
    ----------
    trace : Trace
        Recorded on the CPU backend.
    examples : sequence of arrays
        Inputs to plan with, of the same shapes and orders of axes in memory as those of the recording.

    Notes
    -----
    One run at a time: a plan owns its buffers, so runs of several threads wait for each other, and the outputs are
    valid until the next run.
    """

    def __init__(self, trace: Trace, examples: Sequence[Array]) -> None:
        self._lock = threading.Lock()
        trace = fuse(rewrite(trace))
        draft = Draft()
        _Builder(trace, examples, draft)
        builder = _Builder(trace, examples, Memory(draft))
        self.inputs = [builder.values[n] for n in trace.inputs]
        self._parts = _programs(builder.parts)
        self._changes_arrays = any(overwritten_by(step) for step in trace.steps)
        self._preparation = _programs(builder.preparation)
        self._prepared: object = None  # CPUBackend.last_write at that time
        self.programs = [part for part in self._parts if isinstance(part, functools.partial)]
        self._random = builder.random
        # where each key comes from: None is the generator in use, others belong to layers with a seed
        self.sources = [None if key.source is trace.generator else key.source for key in builder.keys]
        self.outputs = [builder.values[n] for n in trace.outputs]
        self.bytes = builder.memory.total
        _plans.add(self)

    def run(self, inputs: Sequence[Array], keys: Sequence[int] = ()) -> list[Array]:
        """Run with new inputs and fresh keys, one from each of ``sources``; returns copies of the outputs."""
        with self._lock:
            for target, source in zip(self.inputs, inputs, strict=True):
                np.copyto(target, source)
            for draw, key in zip(self._random, keys, strict=True):
                draw(key)
            last_write = CPUBackend.last_write
            if self._prepared is not last_write:
                for part in self._preparation:
                    part()
                self._prepared = last_write
            try:
                with np.errstate(all="ignore"):
                    for part in self._parts:
                        part()
            finally:
                if self._changes_arrays:
                    CPUBackend.last_write = object()
            return [np.array(output) for output in self.outputs]


_plans: weakref.WeakSet[Plan] = weakref.WeakSet()


def _after_fork() -> None:
    """In a child: a thread that the parent alone has may have been in the middle of a run."""
    for plan in _plans:
        plan._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Use(NamedTuple):
    """Bytes of an array, and the first and the last step that needs them."""

    size: int
    first: int
    last: int


class Draft:
    """Notes which arrays are asked for, and when each is needed; what it gives are zeros, which no page is spent on."""

    def __init__(self) -> None:
        self.now = 0
        self._uses: list[_Use] = []
        self._numbers: dict[int, tuple[int, np.ndarray]] = {}  # id -> number; an array that is alive keeps its id

    def take(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """An array for a new purpose."""
        array = np.zeros(shape, dtype)
        self._numbers[id(array)] = len(self._uses), array
        self._uses.append(_Use(array.nbytes, self.now, sys.maxsize))
        return array

    def give_back(self, array: np.ndarray) -> None:
        """The array is not needed after the present step."""
        number, _ = self._numbers.pop(id(array))
        self._uses[number] = self._uses[number]._replace(last=self.now)

    def keep(self, array: np.ndarray) -> None:
        """The array is needed all the time."""
        number, _ = self._numbers.pop(id(array))
        self._uses[number] = _Use(array.nbytes, 0, sys.maxsize)

    def layout(self) -> list[int]:
        """Where each array begins: large ones first, each at the lowest place that is free while it is needed."""
        starts = [0] * len(self._uses)
        placed: list[tuple[int, int, _Use]] = []  # begin, end
        for number in sorted(range(len(self._uses)), key=lambda i: -self._uses[i].size):
            use, start = self._uses[number], 0
            size = -(-use.size // _ALIGNMENT) * _ALIGNMENT
            for begin, end, other in sorted(placed):
                if begin < start + size and start < end and use.first <= other.last and other.first <= use.last:
                    start = end
            starts[number] = start
            placed.append((start, start + size, use))
        return starts


class Memory:
    """One block of memory, in which arrays that are not needed at the same time share a place.

    Parameters
    ----------
    draft : Draft
        Has been asked for the same arrays in the same order.
    """

    def __init__(self, draft: Draft) -> None:
        self.now = 0
        uses, starts = draft._uses, draft.layout()
        self.total = max((start + use.size for start, use in zip(starts, uses)), default=0)
        raw = np.empty(self.total + _ALIGNMENT, np.uint8)
        self._block = raw[-raw.ctypes.data % _ALIGNMENT :]
        self._places = iter(zip(starts, uses))

    def take(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """The next array, with undefined contents."""
        start, use = next(self._places)
        return self._block[start : start + use.size].view(dtype).reshape(shape)

    def give_back(self, array: np.ndarray) -> None:
        """The array is not needed after the present step: its place is shared already."""

    def keep(self, array: np.ndarray) -> None:
        """The array is needed all the time: its place is its own already."""


class _Builder(CPUBackend):
    """The CPU backend's table, whose kernels are collected instead of forgotten."""

    def __init__(self, trace: Trace, examples: Sequence[Array], memory: Any) -> None:
        self.trace = trace
        self.memory = memory
        self.random: list[Callable[[int], None]] = []
        self.keys: list[Key] = []
        self.values: list[Any] = [trace.constants.get(n) for n in range(len(trace.forms))]
        self._plain = CPUBackend()
        self.parts: list[Any] = []  # calls of kernels, and functions to call between them
        self.preparation: list[Any] = []  # what is done again only when arrays were overwritten
        changes = any(overwritten_by(step) for step in trace.steps)  # then the next run would have to prepare again
        self._fixed = [] if changes else list(trace.constants.values())
        weights = sum(array.nbytes for array in self._fixed)
        self._left = max(KEPT, 3 * weights // 2)  # bytes that the preparation may still make
        self._fresh: list[Array] = []  # what the step being planned took from memory
        self._owners: dict[int, Array] = {}  # number of a result -> the array of the pool that holds it
        self._last_use = self._last_uses()
        for n, example in zip(trace.inputs, examples, strict=True):
            self.values[n] = self._copied(example)
        for memory.now, step in enumerate(trace.steps, 1):
            self._plan(step)
            for number in self._last_use.get(memory.now, ()):
                if number in self._owners:
                    self.memory.give_back(self._owners.pop(number))

    # --- the walk ----------------------------------------------------------------------------------------------

    def _last_uses(self) -> dict[int, list[int]]:
        """For every step the buffers (by number of their first array) that nothing needs after it."""
        root = list(range(len(self.values)))
        last: dict[int, int] = {}
        for place, step in enumerate(self.trace.steps, 1):
            if step.primitive in _VIEWS:
                for number in step.results:
                    root[number] = root[step.arguments[0].number]
            for number in (*used_by(step), *step.results):
                last[root[number]] = place
        for number in self.trace.outputs:
            last.pop(root[number], None)
        by_place: dict[int, list[int]] = {}
        for number, place in last.items():
            by_place.setdefault(place, []).append(number)
        return by_place

    def _plan(self, step: Step) -> None:
        arguments, options = self._resolve(step.arguments), self._resolve(step.options)
        self._fresh = []
        if makes_constant(step):
            self.values[step.results[0]] = getattr(self._plain, step.primitive)(*arguments, **options)
            return
        if step.primitive == "assign":
            target, value = arguments
            self.parts.append(lambda: np.copyto(target, value))
            return
        if step.primitive == "check":
            check = self._plain.check  # not self, so that a builder is no part of a cycle
            self.parts.append(lambda: check(*arguments))
            return
        if step.primitive == "fused":
            self._plan_fused(step)
            return
        before = len(self.parts)
        with np.errstate(all="ignore"):
            results = getattr(self, step.primitive)(*arguments, **options)
        results = results if isinstance(results, tuple) else (results,)
        if len(self.parts) == before and not self._is_view(step, results, arguments):
            results = self._numpy_call(step.primitive, arguments, options, results)
        for number, result in zip(step.results, results, strict=True):
            self.values[number] = result
        self._claim(step)

    def _plan_fused(self, step: Step) -> None:
        """Elementwise operations in one pass, from the text of their expression (see ``fusion``)."""
        from tinyconv.backends.kernels import fused

        text, operands, targets = step.arguments
        forms = [self.trace.forms[n] for n in (*used_by(step), *step.results)]
        dtype = next(form.dtype for form in forms if form.dtype.kind == "f")
        sums = len(fused.Expression.parse(text).sums)
        given = [self.values[x.number] for x in operands if isinstance(x, Ref)]
        if not targets and not sums and all(x.flags.c_contiguous and self._is_fixed(x) for x in given):
            self._prepare_fused(step, dtype)
            return
        arrays = [self._packed(self.values[x.number]) if isinstance(x, Ref) else np.array(x, dtype) for x in operands]
        for number in step.results:
            self.values[number] = self._result(step, number)
        made = [self.values[n] for n in step.results]
        count = len(made) - sums
        written = [*made[:count], *(self.values[ref.number] for ref in targets)]
        # Not run while planning, as weights must not change; what does run only has to come to the right shapes.
        self.parts.extend(fused.calls(text, arrays, written, made[count:], dtype, self._empty))
        self._claim(step)

    def _prepare_fused(self, step: Step, dtype: Any) -> None:
        """What depends on nothing but weights that stay as they are, such as the factors of a normalisation."""
        from tinyconv.backends.kernels import fused

        text, operands, _ = step.arguments
        arrays = [self.values[x.number] if isinstance(x, Ref) else np.array(x, dtype) for x in operands]
        made = [self._empty(form.shape, form.dtype) for form in (self.trace.forms[n] for n in step.results)]
        for number, array in zip(step.results, made, strict=True):
            self.values[number] = array
            self.memory.keep(array)
            if isinstance(self.memory, Memory):
                array.fill(0)  # later steps may look at it while planning
        self._fixed += made
        self.preparation.extend(fused.calls(text, arrays, made, [], dtype, self._empty))

    def _result(self, step: Step, number: int) -> Array:
        """An array for a result of a fused step, in the place of an operand that nothing needs any more if it can be.

        Memory that was just read need not be fetched to be written.
        """
        form = self.trace.forms[number]
        operands = step.arguments[1]
        for operand in self._last_use.get(self.memory.now, ()):
            array = self._owners.get(operand)
            if array is None or Ref(operand) not in operands or Form.of(array) != form:
                continue
            others = [self.values[ref.number] for ref in operands if isinstance(ref, Ref) and ref.number != operand]
            if not any(np.may_share_memory(array, other) for other in others):
                self._owners[number] = self._owners.pop(operand)
                return array
        array = self._empty(form.shape, form.dtype)
        if isinstance(self.memory, Memory):
            array.fill(0)
        return array

    def _claim(self, step: Step) -> None:
        """Note which buffer holds which result; what holds none was needed by the step alone."""
        for array in self._fresh:
            owners = [n for n in step.results if np.may_share_memory(self.values[n], array)]  # views of it too
            if owners:
                self._owners[owners[0]] = array
            else:
                self.memory.give_back(array)

    def _is_view(self, step: Step, results: Sequence[Array], arguments: Sequence[Any]) -> bool:
        return step.primitive in _VIEWS and (
            results[0].size == 0 or np.may_share_memory(results[0], arguments[0])
        )

    def _numpy_call(self, name: str, arguments: Any, options: Any, results: Sequence[Array]) -> tuple[Array, ...]:
        """A primitive without a kernel: call NumPy at every run, into fixed buffers."""
        targets = tuple(self._copied(np.asarray(result)) for result in results)
        if name in UNARY + BINARY:
            ufunc = getattr(np, name)
            self.parts.append(lambda: ufunc(*arguments, out=targets[0]))
        else:
            primitive = getattr(self._plain, name)

            def call() -> None:
                made = primitive(*arguments, **options)
                for target, value in zip(targets, made if isinstance(made, tuple) else (made,), strict=True):
                    np.copyto(target, value)

            self.parts.append(call)
        return targets

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, Ref):
            return self.values[value.number]
        if type(value) in (tuple, list):
            return type(value)(self._resolve(entry) for entry in value)
        return {k: self._resolve(v) for k, v in value.items()} if type(value) is dict else value

    def _copied(self, array: Array) -> Array:
        """A buffer with the contents and the order of axes in memory of ``array``: kernels may depend on the order."""
        order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
        buffer = self._empty([array.shape[axis] for axis in order], array.dtype)
        buffer = buffer.transpose([order.index(axis) for axis in range(array.ndim)])
        np.copyto(buffer, array)
        return buffer

    # --- what the backend's methods ask for --------------------------------------------------------------------

    def _empty(self, shape: Sequence[int], dtype: Any) -> Array:
        array = self.memory.take(shape, dtype)
        self._fresh.append(array)
        return array

    def _run(self, calls: Iterable[Any]) -> None:
        calls = list(calls)
        for call in calls:
            (self.preparation if self._can_prepare(call) else self.parts).append(call)
        if isinstance(self.memory, Memory):
            super()._run(calls)  # later steps may look at what it makes, such as places of maxima

    def _can_prepare(self, call: Any) -> bool:
        """Whether a kernel brings weights that stay as they are into another form, which may then be kept."""
        if not call.prepares or not self._is_fixed(call.arrays[0]):
            return False
        made = call.arrays[1]
        if made.nbytes > self._left or not any(made is array for array in self._fresh):
            return False
        self._left -= made.nbytes
        self._fresh = [array for array in self._fresh if array is not made]
        self.memory.keep(made)
        return True

    def _is_fixed(self, x: Array) -> bool:
        return x.nbytes <= self._left and any(np.may_share_memory(x, fixed) for fixed in self._fixed)

    def _packed(self, x: Array) -> Array:
        packed = super()._packed(x)
        if packed is x or np.may_share_memory(packed, x):
            return packed
        target = self._copied(packed)
        self.parts.append(lambda: np.copyto(target, x))
        return target

    def conv2d_relu(self, x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
        """What ``rewrite`` makes of a convolution and a ReLU."""
        return self._conv2d(x, w, b, window, groups, relu=True)

    def random_uniform(self, key: int, shape: Sequence[int], dtype: Any) -> Array:
        """Random numbers from a fresh key in every run, or from the same one if it was given by the user."""
        from tinyconv.backends.kernels import random

        out = self._empty(shape, dtype)
        halves = random.halves(key)
        self._run(random.uniform(halves, out))
        if isinstance(key, Key):
            self.keys.append(key)
            self.random.append(lambda fresh: np.copyto(halves, random.halves(fresh)))
        return out


def _programs(parts: Iterable[Any]) -> list[Callable[[], None]]:
    """Calls of kernels made into programs, and the functions that are called between them."""
    from tinyconv.backends.kernels import launch

    made: list[Callable[[], None]] = []
    calls: list[Any] = []
    for part in [*parts, None]:
        if isinstance(part, launch.Call):
            calls.append(part)
            continue
        if calls:
            made.append(launch.prepare(calls))
            calls = []
        if part is not None:
            made.append(part)
    return made
