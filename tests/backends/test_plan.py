"""Recordings and the memory of plans: what is kept, what shares a place, and in which order updates happen."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv import backends, ops
from tinyconv.backends.fusion import overwritten_by, with_early_updates
from tinyconv.backends.plan import Draft, Memory
from tinyconv.backends.recording import Form, Recorder, Ref, Step, Trace

pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(backends.host().name != "cpu", reason="plans are made of the CPU backend's kernels")


@st.composite
def lifetimes(draw):
    """(size, first step, last step or None) of arrays, in the order in which they are asked for."""
    steps = sorted(draw(st.lists(st.integers(0, 12), min_size=1, max_size=20)))
    sizes = draw(st.lists(st.integers(0, 500), min_size=len(steps), max_size=len(steps)))
    spans = draw(st.lists(st.none() | st.integers(0, 6), min_size=len(steps), max_size=len(steps)))
    return [(n, i, None if span is None else i + span) for n, i, span in zip(sizes, steps, spans, strict=True)]


def ask(memory, arrays):
    """Take and give back arrays as a walk through the steps does; returns them."""
    taken = []
    for now in range(30):
        memory.now = now
        taken += [memory.take((size,), np.uint8) for size, first, _ in arrays if first == now]
        for array, (_, _, last) in zip(taken, arrays, strict=False):
            if last == now:
                memory.give_back(array)
    return taken


@given(lifetimes())
def test_arrays_that_are_needed_at_the_same_time_have_places_of_their_own(arrays):
    draft = Draft()
    ask(draft, arrays)
    memory = Memory(draft)
    taken = ask(memory, arrays)
    for i, (x, (n, first, last)) in enumerate(zip(taken, arrays, strict=True)):
        assert x.nbytes == n
        assert x.ctypes.data % 64 == 0 or not n
        for y, (_, start, end) in zip(taken[:i], arrays[:i], strict=True):
            together = (last is None or start <= last) and (end is None or first <= end)
            assert not (together and np.shares_memory(x, y))
    assert memory.total <= sum(-(-n // 64) * 64 for n, _, _ in arrays)


def test_memory_is_used_again():
    arrays = [(1000, i, i + 1) for i in range(20)]
    draft = Draft()
    ask(draft, arrays)
    assert Memory(draft).total <= 2 * 1024


@given(st.lists(st.integers(0, 4), max_size=4), st.data())
def test_form_of_an_array(shape, data):
    array = np.zeros(shape, np.float32)
    array = array.transpose(data.draw(st.permutations(range(len(shape)))))
    if array.ndim:
        array = array[:: data.draw(st.integers(1, 2))]
    form = Form.of(array)
    assert (form.shape, form.ndim, form.size) == (array.shape, array.ndim, array.size)
    assert form.contiguous == array.flags.c_contiguous


def test_a_recording_keeps_no_results():
    seen = []

    class Watched(tc.Function):
        def forward(self, x):
            y = self.backend.exp(x)
            seen.append(weakref.ref(y))
            return y

    x, w = np.ones((3, 4), "float32"), np.ones(4, "float32")
    recorder = Recorder(backends.host(), [x])
    with backends.recorded_by(recorder), tc.no_grad():
        y = Watched()(tc.Tensor._of(x)) * tc.Tensor._of(w)
    gc.collect()
    assert seen[0]() is None
    trace = recorder.finish([y.data])
    assert [step.primitive for step in trace.steps] == ["exp", "multiply"]
    assert next(iter(trace.constants.values())) is w
    assert trace.forms[trace.outputs[0]].shape == (3, 4)


def test_updates_come_as_early_as_they_can():
    form = Form((4,), np.dtype("f4"), (4,))
    # 0 input, 1 weight; 2 = gradient of 1; 3 reads 1; 4 = something else; then 1 is overwritten with 2
    steps = [
        Step("square", (Ref(0),), {}, (2,)),
        Step("negative", (Ref(1),), {}, (3,)),
        Step("negative", (Ref(3),), {}, (4,)),
        Step("assign", (Ref(1), Ref(2)), {}, ()),
        Step("negative", (Ref(1),), {}, (5,)),
    ]
    trace = Trace(steps, [form] * 6, {1: np.zeros(4, "f4")}, [0], [4, 5], np.random.default_rng(0))
    moved = with_early_updates(trace).steps
    assert moved == [steps[0], steps[1], steps[3], steps[2], steps[4]]
    assert overwritten_by(moved[2]) == [1]


def test_a_plan_needs_less_memory_than_all_results_together():
    def step(x):
        x = tc.Tensor(x)
        for _ in range(20):
            x = ops.matmul(x, w)
        return [x]

    from tinyconv.models.replay import Replay

    w = tc.Tensor(np.eye(64, dtype="float32"))
    replay = Replay()
    for _ in range(3):
        replay(step, [np.ones((64, 64), "float32")])
    (known,) = replay._known.values()
    assert known.run.bytes <= 5 * 64 * 64 * 4
