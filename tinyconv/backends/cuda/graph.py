"""Plans on the GPU: a recorded trace captured once as CUDA graphs, which are then launched step after step.

Planning walks through the trace twice. The first walk computes for real, with the examples and with copies of all that
the trace overwrites: it compiles kernels, and finds how much memory is needed. The second walk captures: its kernels do
not run, but become the nodes of a graph. A primitive that CUDA or CuPy refuse to capture ends the graph before it, runs
eagerly into fixed memory, and a new graph goes on after it. All memory between the steps comes from a pool of the
plan's own, where it is used again as soon as the order of the steps allows; nothing else can be given it.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinyconv.backends.cuda import fused
from tinyconv.backends.cuda.memory import Inbox, Outbox, explaining
from tinyconv.backends.cuda.updates import gather
from tinyconv.backends.fusion import fuse, makes_constant, overwritten_by, used_by
from tinyconv.backends.recording import Form, Ref, Step, Trace, draws_key
from tinyconv.backends.reference import Array
from tinyconv.backends.rewrite import rewrite

_planning = threading.RLock()  # one capture at a time, on one stream: pools keep free memory by stream
_streams: dict[Any, Any] = {}  # by CuPy's module ``cuda``


class GraphPlan:
    """A trace that runs on the GPU without Python in between; the counterpart of ``backends.plan.Plan``.

    Parameters
    ----------
    trace : Trace
        Recorded on ``table``.
    examples : sequence of arrays
        Inputs to plan with, of the shapes and types of the recording; of host or device.
    table : CudaBackend

    Attributes
    ----------
    sources : list
        Where each random key comes from: None is the generator in use, others belong to layers with a seed.
    eager : dict of int to str
        Steps of ``trace`` that could not be captured, and why.

    Notes
    -----
    One run at a time: runs of several threads wait for each other, on the host and, where their streams differ, on the
    device. Weights are read and written where they are, so what else is done with them must be on the current stream.
    """

    def __init__(self, trace: Trace, examples: Sequence[Array], table: Any) -> None:
        self._lock = threading.Lock()
        self._table, self.xp = table, table.xp
        self.trace = trace = gather(fuse(rewrite(trace, clip=hasattr(table, "conv2d_relu"))))
        self._checked, self._last_use = _checks_of_inputs(trace), _last_uses(trace)
        drawn = [step.arguments[0] for step in trace.steps if draws_key(step)]
        self.sources = [None if key.source is trace.generator else key.source for key in drawn]
        cuda = self.xp.cuda
        self.pool = cuda.MemoryPool(cuda.get_allocator())  # takes its blocks from the pool that the user chose
        self.eager = {
            place: "it looks at values"
            for place, step in enumerate(trace.steps)
            if step.primitive == "check" and place not in self._checked
        }
        self._kept: dict[int, tuple[Array, ...]] = {}  # by place of the step: what is the same in every run
        caller = cuda.get_current_stream()
        # uploaded before any capture, in which nothing may come from the host
        self._constants = {n: table.asarray(array) for n, array in trace.constants.items()}
        overwritten = {n for step in trace.steps for n in overwritten_by(step)}
        scratch = {n: table.copy(a) if n in overwritten else a for n, a in self._constants.items()}
        with _planning, _capture_stream(cuda) as stream, cuda.using_allocator(self.pool.malloc):
            stream.wait_event(caller.record())
            self._inbox = Inbox(self.xp, len(drawn), [trace.forms[n] for n in trace.inputs])
            self._inbox.fill(examples, [int(key) for key in drawn])
            self._outbox = Outbox(self.xp, _Walk(self, scratch, None).outputs())
            self._parts = self._captured(stream)
            self._done = stream.record(cuda.Event(disable_timing=True))
            stream.synchronize()

    @explaining
    def run(self, inputs: Sequence[Array], keys: Sequence[int] = ()) -> list[Array]:
        """Run with new inputs, of host or device, and fresh keys, one from each of ``sources``.

        Returns copies of the outputs, without waiting for them.
        """
        with self._lock:
            for place, rule, settings in self._checked.values():
                rule(self._on_host(inputs[place]), *settings)
            stream = self.xp.cuda.get_current_stream()
            stream.wait_event(self._done)
            self._inbox.fill(inputs, keys)
            for part in self._parts:
                part()
            outputs = self._outbox.take()
            stream.record(self._done)
            return outputs

    def _on_host(self, array: Array) -> np.ndarray:
        return array if isinstance(array, np.ndarray) else self._table.to_numpy(array)

    def _captured(self, stream: Any) -> list[Callable[[], None]]:
        """Graphs and eager calls, in order."""
        while True:
            parts = _Parts(stream)
            walk = _Walk(self, self._constants, parts)
            try:
                outputs = walk.outputs()
                parts.begin()
                self._outbox.put(outputs)
                parts.end()
                walk.upload()
                return parts.made
            except _RefusedError as refused:
                self.eager[refused.place] = str(refused)
            finally:
                parts.abandon()


class _RefusedError(Exception):
    """A step that cannot be captured."""

    def __init__(self, place: int, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.place = place


class _Parts:
    """Graphs, and calls between them, in the making."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._capturing = False
        self.made: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Capture what follows, if that is not being done already."""
        if not self._capturing:
            self._stream.begin_capture()
            self._capturing = True

    def look(self) -> None:
        """Raise if the capture has become invalid."""
        self._stream.is_capturing()

    def end(self) -> None:
        """Make a graph of what was captured."""
        if self._capturing:
            self._capturing = False
            self.made.append(self._stream.end_capture().launch)

    def abandon(self) -> None:
        """Forget a capture that goes on; one that has become invalid says so when it ends."""
        with contextlib.suppress(Exception):
            self.end()


class _Walk:
    """One way through the steps: with ``parts`` they are captured, without they are done."""

    def __init__(self, plan: GraphPlan, constants: dict[int, Array], parts: _Parts | None) -> None:
        self._plan, self._table, self._trace, self._parts = plan, plan._table, plan.trace, parts
        self._values = {**constants, **dict(zip(plan.trace.inputs, plan._inbox.arrays, strict=True))}
        self._keys = iter(range(len(plan.sources)))
        self._uploads: list[tuple[Array, np.ndarray]] = []  # which nothing can be during a capture

    def outputs(self) -> list[Array]:
        """Take all steps; returns the outputs."""
        for place, step in enumerate(self._trace.steps):
            if place not in self._plan._checked:
                self._values.update(zip(step.results, self._take(place, step), strict=True))
            for number in self._plan._last_use[place]:
                self._values.pop(number, None)  # its memory may hold something else from here on
        return [self._values[number] for number in self._trace.outputs]

    def _take(self, place: int, step: Step) -> tuple[Array, ...]:
        """The results of a step, or the memory in which they will be."""
        if makes_constant(step):
            return self._prepared(place, lambda: _compute(self._table, step, step.arguments, step.options))
        arguments, options = self._resolve(step.arguments), self._resolve(step.options)
        if draws_key(step):
            number = next(self._keys)
            arguments = (self._plan._inbox.keys[number : number + 1], *arguments[1:])
        if step.primitive in ("getitem", "scatter_add"):  # lists of places come from the host
            index = self._prepared(place, lambda: (self._table._on_device(arguments[1]),))
            arguments = (arguments[0], *index, *arguments[2:])
        if step.primitive == "fused" and type(step.arguments[1][0]) is tuple:
            return self._update_many(place, *arguments)
        forms = [self._trace.forms[n] for n in step.results]
        compute = functools.partial(_compute, self._table, step, arguments, options, forms)
        if self._parts is None:
            return compute()
        if place in self._plan.eager:
            return self._call_between(compute, [self._table.xp.empty(form.shape, form.dtype) for form in forms])
        self._parts.begin()
        try:
            made = compute()
            self._parts.look()
        except MemoryError:
            raise
        except Exception as error:  # of whatever kind: what cannot be done eagerly either says so in a run
            raise _RefusedError(place, error) from error
        return made

    def _update_many(
        self, place: int, text: str, operands: Sequence[Sequence[Any]], targets: Sequence[Sequence[Array]]
    ) -> tuple[Array, ...]:
        """Equal updates of many arrays, by one kernel that finds their addresses in a table."""
        xp = self._table.xp
        arrays = [[*(x for x in own if hasattr(x, "dtype")), *made] for own, made in zip(operands, targets)]
        assert all(a.flags.c_contiguous for each in arrays for a in each)
        sizes = [made[0].size for made in targets]
        table = np.array([[*(a.data.ptr for a in each), n] for each, n in zip(arrays, sizes)], np.int64)
        # made in the first walk: what the capture gives away may be written by earlier kernels of the graph
        prepared = self._prepared(place, lambda: (xp.empty(table.shape, np.int64), xp.asarray(fused.blocks_of(sizes))))
        addresses, blocks = prepared
        self._uploads.append((addresses, table))
        if self._parts is None:
            self.upload()
        else:
            self._parts.begin()
        numbers = [None if hasattr(x, "dtype") else x for x in operands[0]]
        fused.run_many(xp, text, numbers, targets[0][0].dtype, addresses, blocks)
        return ()

    def upload(self) -> None:
        """Bring to the device what the captured kernels will read there."""
        for target, values in self._uploads:
            target[...] = self._table.xp.asarray(values)

    def _prepared(self, place: int, make: Callable[[], tuple[Array, ...]]) -> tuple[Array, ...]:
        """What is the same in every run: made in the first walk, and kept."""
        if self._parts is None:
            self._plan._kept[place] = make()
        return self._plan._kept[place]

    def _call_between(self, compute: Callable[[], tuple[Array, ...]], made: list[Array]) -> tuple[Array, ...]:
        """End the graph, and let every run call a function before the next graph."""

        def call() -> None:
            for target, value in zip(made, compute(), strict=True):
                target[...] = value

        assert self._parts is not None
        self._parts.end()
        self._parts.made.append(call)
        return tuple(made)

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, Ref):
            return self._values[value.number]
        if type(value) in (tuple, list):
            return type(value)(self._resolve(entry) for entry in value)
        return {k: self._resolve(v) for k, v in value.items()} if type(value) is dict else value


def _compute(
    table: Any, step: Step, arguments: Sequence[Any], options: dict[str, Any], forms: Sequence[Form] = ()
) -> tuple[Array, ...]:
    """Carry out a step."""
    if step.primitive == "fused":
        text, operands, targets = arguments
        return _fused(table, text, operands, targets, forms)
    made = getattr(table, step.primitive)(*arguments, **options)
    return () if made is None else made if isinstance(made, tuple) else (made,)


def _fused(
    table: Any, text: str, operands: Sequence[Any], targets: Sequence[Array], forms: Sequence[Form]
) -> tuple[Array, ...]:
    """Elementwise operations in one pass, from the text of their expression."""
    operands = [x if not hasattr(x, "flags") or x.flags.c_contiguous else table.copy(x) for x in operands]
    made = [table.xp.empty(form.shape, form.dtype) for form in forms]
    count = len(made) - len(fused.Expression.parse(text).sums)
    fused.run(table.xp, text, operands, [*made[:count], *targets], made[count:])
    return tuple(made)


def _checks_of_inputs(trace: Trace) -> dict[int, tuple[int, Callable[..., None], list[Any]]]:
    """By place of the step: checks of an input, which can be done before the run; which input, rule and settings."""
    found = {}
    for place, step in enumerate(trace.steps):
        if step.primitive == "check" and step.arguments[0].number in trace.inputs:
            array, rule, *settings = step.arguments
            found[place] = trace.inputs.index(array.number), rule, settings
    return found


def _last_uses(trace: Trace) -> list[list[int]]:
    """For every step the arrays that no later one needs."""
    last: dict[int, int] = {}
    for place, step in enumerate(trace.steps):
        last.update(dict.fromkeys((*used_by(step), *step.results), place))
    numbers: list[list[int]] = [[] for _ in trace.steps]
    for number, place in last.items():
        if number not in trace.outputs:
            numbers[place].append(number)
    return numbers


@contextlib.contextmanager
def _capture_stream(cuda: Any) -> Iterator[Any]:
    """The stream on which everything is planned, as the current one."""
    if cuda not in _streams:
        _streams[cuda] = cuda.Stream(non_blocking=True)
    with _streams[cuda] as stream:
        yield stream
