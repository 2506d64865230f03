"""Plans: a recorded trace made into one program of kernels over buffers that are laid out once.

Planning walks through the trace once with the example's own data: views become views, kernels become rows of a program
instead of being called one by one, whatever has no kernel becomes a NumPy call into a fixed buffer, and a buffer is
used again as soon as nothing needs its contents any more. A replay copies the inputs in and runs the program.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinyconv.backends.cpu import CPUBackend
from tinyconv.backends.fusion import fuse, used_by
from tinyconv.backends.recording import Ref, Step, Trace
from tinyconv.backends.reference import BINARY, UNARY, Array
from tinyconv.backends.rewrite import rewrite
from tinyconv.geometry import Window
from tinyconv.random import Key

_VIEWS = ("reshape", "transpose", "broadcast_to", "getitem", "astype")
_ALIGNMENT = 64  # bytes of a cache line and of the widest vector


class Plan:
    """A trace that runs without Python in between.

    Parameters
    ----------
    trace : Trace
        Recorded on the CPU backend; its example data are used while planning.

    Notes
    -----
    One run at a time: a plan owns its buffers, so runs of several threads wait for each other, and the outputs are
    valid until the next run.
    """

    def __init__(self, trace: Trace) -> None:
        self._lock = threading.Lock()
        trace = fuse(rewrite(trace))
        builder = _Builder(trace)
        self.inputs = [builder.values[n] for n in trace.inputs]
        self._parts = builder.finish()
        self._random = builder.random
        # where each key comes from: None is the generator in use, others belong to layers with a seed
        self.sources = [None if key.source is trace.generator else key.source for key in builder.keys]
        self.outputs = [builder.values[n] for n in trace.outputs]
        self.bytes = builder.memory.total

    def run(self, inputs: Sequence[Array], keys: Sequence[int] = ()) -> list[Array]:
        """Run with new inputs and fresh keys, one from each of ``sources``; returns copies of the outputs."""
        with self._lock:
            for target, source in zip(self.inputs, inputs, strict=True):
                np.copyto(target, source)
            for draw, key in zip(self._random, keys, strict=True):
                draw(key)
            with np.errstate(all="ignore"):
                for part in self._parts:
                    part()
            return [np.array(output) for output in self.outputs]


class Memory:
    """Aligned buffers, used again when they were given back."""

    def __init__(self) -> None:
        self.total = 0
        self._free: list[np.ndarray] = []
        self._buffers: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def take(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        """An array with undefined contents, in the smallest free buffer that serves."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        fits = [i for i, buffer in enumerate(self._free) if size <= buffer.size <= 2 * size + 4096]
        if fits:
            buffer = self._free.pop(min(fits, key=lambda i: self._free[i].size))
        else:
            raw = np.empty(size + _ALIGNMENT, np.uint8)
            start = -raw.ctypes.data % _ALIGNMENT
            buffer = raw[start : start + size]
            self.total += size
        array = buffer[:size].view(dtype).reshape(shape)
        self._buffers[id(array)] = (array, buffer)
        return array

    def give_back(self, array: np.ndarray) -> None:
        """Let others use the memory of an array that ``take`` gave."""
        self._free.append(self._buffers.pop(id(array))[1])


class _Builder(CPUBackend):
    """The CPU backend's table, whose kernels are collected instead of forgotten."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.memory = Memory()
        self.random: list[Callable[[int], None]] = []
        self.keys: list[Key] = []
        self.values: list[Array] = list(trace.arrays)
        self._plain = CPUBackend()
        self._parts: list[Any] = []  # calls of kernels, and functions to call between them
        self._fresh: list[Array] = []  # what the step being planned took from memory
        self._owners: dict[int, Array] = {}  # number of a result -> the array of the pool that holds it
        last_use = self._last_uses()
        for n in trace.inputs:
            self.values[n] = self._copied(trace.arrays[n])
        for place, step in enumerate(trace.steps):
            self._plan(step)
            for number in last_use.get(place, ()):
                if number in self._owners:
                    self.memory.give_back(self._owners.pop(number))

    # --- the walk ----------------------------------------------------------------------------------------------

    def _last_uses(self) -> dict[int, list[int]]:
        """For every step the buffers (by number of their first array) that nothing needs after it."""
        root = list(range(len(self.values)))
        last: dict[int, int] = {}
        for place, step in enumerate(self.trace.steps):
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
        if step.primitive == "assign":
            target, value = arguments
            self._parts.append(lambda: np.copyto(target, value))
            return
        if step.primitive == "check":
            self._parts.append(lambda: self._plain.check(*arguments))
            return
        if step.primitive == "fused":
            self._plan_fused(step)
            return
        before = len(self._parts)
        with np.errstate(all="ignore"):
            results = getattr(self, step.primitive)(*arguments, **options)
        results = results if isinstance(results, tuple) else (results,)
        if len(self._parts) == before and not self._is_view(step, results, arguments):
            results = self._numpy_call(step.primitive, arguments, options, results)
        for number, result in zip(step.results, results, strict=True):
            self.values[number] = result
        self._claim(step)

    def _plan_fused(self, step: Step) -> None:
        """Elementwise operations in one pass, from the text of their expression (see ``fusion``)."""
        from tinyconv.backends.kernels import fused

        text, operands, targets = step.arguments
        dtype = next(
            a.dtype
            for n in (*used_by(step), *step.results)
            if (a := self.trace.arrays[n]).dtype.kind == "f"
        )
        arrays = [self._packed(self.values[x.number]) if isinstance(x, Ref) else np.array(x, dtype) for x in operands]
        for number in step.results:
            example = self.trace.arrays[number]
            self.values[number] = self._empty(example.shape, example.dtype)
            np.copyto(self.values[number], example)
        made = [self.values[n] for n in step.results]
        count = len(made) - len(fused.Expression.parse(text).sums)
        written = [*made[:count], *(self.values[ref.number] for ref in targets)]
        # Not run while planning: weights must change only once, and the example's results are known.
        self._parts.extend(fused.calls(text, arrays, written, made[count:], dtype))
        self._claim(step)

    def _claim(self, step: Step) -> None:
        """Note which buffer holds which result."""
        for array in self._fresh:
            owners = [n for n in step.results if np.may_share_memory(self.values[n], array)]  # views of it too
            if owners:
                self._owners[owners[0]] = array

    def _is_view(self, step: Step, results: Sequence[Array], arguments: Sequence[Any]) -> bool:
        return step.primitive in _VIEWS and (
            results[0].size == 0 or np.may_share_memory(results[0], arguments[0])
        )

    def _numpy_call(self, name: str, arguments: Any, options: Any, results: Sequence[Array]) -> tuple[Array, ...]:
        """A primitive without a kernel: call NumPy at every run, into fixed buffers."""
        targets = tuple(self._copied(np.asarray(result)) for result in results)
        if name in UNARY + BINARY:
            ufunc = getattr(np, name)
            self._parts.append(lambda: ufunc(*arguments, out=targets[0]))
        else:
            primitive = getattr(self._plain, name)

            def call() -> None:
                made = primitive(*arguments, **options)
                for target, value in zip(targets, made if isinstance(made, tuple) else (made,), strict=True):
                    np.copyto(target, value)

            self._parts.append(call)
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

    def finish(self) -> list[Callable[[], None]]:
        """The parts of a run: programs of kernels, and what is called between them."""
        from tinyconv.backends.kernels import launch

        parts: list[Callable[[], None]] = []
        calls: list[Any] = []
        for part in [*self._parts, None]:
            if isinstance(part, launch.Call):
                calls.append(part)
                continue
            if calls:
                parts.append(launch.prepare(calls))
                calls = []
            if part is not None:
                parts.append(part)
        return parts

    # --- what the backend's methods ask for --------------------------------------------------------------------

    def _empty(self, shape: Sequence[int], dtype: Any) -> Array:
        array = self.memory.take(shape, dtype)
        self._fresh.append(array)
        return array

    def _run(self, calls: Iterable[Any]) -> None:
        calls = list(calls)
        self._parts.extend(calls)
        super()._run(calls)  # with the example's data, which later steps may look at

    def _packed(self, x: Array) -> Array:
        packed = super()._packed(x)
        if packed is x or np.may_share_memory(packed, x):
            return packed
        target = self._copied(x)
        self._parts.append(lambda: np.copyto(target, x))
        return target

    def conv2d_relu(self, x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
        """What ``rewrite`` makes of a convolution and a ReLU."""
        return self._conv2d(x, w, b, window, groups, relu=True)

    def random_uniform(self, key: int, shape: Sequence[int], dtype: Any) -> Array:
        """Random numbers from a fresh key in every run, or from the same one if it was given by the user."""
        out = self._empty(shape, dtype)
        current = [key]

        def fill() -> None:
            np.copyto(out, self._plain.random_uniform(current[0], shape, dtype))

        fill()
        self._parts.append(fill)
        if isinstance(key, Key):
            self.keys.append(key)
            self.random.append(lambda fresh: current.__setitem__(0, fresh))
        return out
