"""Steps captured as CUDA graphs, on the GPU or its stand-in: launched again and again they do what eager steps do."""

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv import ops
from tinyconv.models.replay import Replay

UNARY = (ops.exp, ops.tanh, ops.square, ops.negative, ops.relu, ops.sigmoid, ops.absolute)
BINARY = (ops.add, ops.subtract, ops.multiply, ops.maximum, ops.minimum)
pytestmark = pytest.mark.filterwarnings("error:A step stays eager")
fewer = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(autouse=True)
def on_gpu(gpu):
    with tc.device("cuda"):
        yield


def plans(replay):
    """The plans that a replay has made."""
    replay = getattr(replay, "func", replay)
    return [known.run for known in replay._known.values() if type(known.run).__name__ == "GraphPlan"]


def close(one, other, rtol=2e-6):
    np.testing.assert_allclose(one, other, rtol, rtol * max(1, np.abs(other).max(initial=0)))


def assert_replays(step, draw, runs=5, rtol=2e-6):
    """``step`` gives the same through a ``Replay``, for several inputs; returns the plan."""
    replay = Replay()
    for _ in range(runs):
        arrays = draw()
        for expected, received in zip(step(*arrays), replay(step, arrays), strict=True):
            assert received.device == "cuda"
            close(received.numpy(), expected.numpy(), rtol)
    (plan,) = plans(replay)
    return plan


@st.composite
def programs(draw):
    """Operations on earlier values: (function, places of its operands), over operands of mixed shapes."""
    steps = []
    for count in range(3, 3 + draw(st.integers(2, 12))):
        operations = draw(st.sampled_from(UNARY + BINARY))
        places = draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2))
        steps.append((operations, places[: 1 if operations in UNARY else 2]))
    return steps, draw(st.lists(st.integers(0, len(steps) + 2), min_size=1, max_size=3))


@fewer
@given(programs(), st.sampled_from([(4, 5), (3, 7, 16), (2, 3, 3, 33), (1, 1)]), st.integers(0, 2**31))
def test_any_elementwise_program(program, shape, seed):
    steps, wanted = program
    rng = np.random.default_rng(seed)

    def step(full, row, number):
        values = [tc.Tensor(full), tc.Tensor(row), tc.Tensor(number)]
        for operation, places in steps:
            values.append(ops.clip(operation(*(values[i] for i in places)), -3.0, 3.0))
        return [*(values[i] for i in wanted), values[-1].sum(axis=tuple(range(values[-1].ndim - 1)))]

    def draw():
        return [rng.standard_normal(s).astype("float32") for s in (shape, shape[-1:], ())]

    assert not assert_replays(step, draw).eager


def test_gradients_of_a_small_network():
    rng = np.random.default_rng(0)
    w = [tc.Tensor(0.3 * rng.standard_normal(s, dtype="float32"), True) for s in ((3, 3, 2, 5), (5,), (125, 4))]

    def step(x):
        y = ops.max_pool2d(ops.relu(ops.conv2d(x, w[0], w[1], padding="same")), 2)
        loss = ops.square(ops.matmul(ops.reshape(y, (len(x), -1)), w[2])).mean()
        return [loss, *tc.grad(loss, w)]

    assert_replays(step, lambda: [rng.standard_normal((6, 10, 10, 2), dtype="float32")], rtol=1e-5)


def test_weights_and_slots_change_as_in_eager_steps():
    def make():
        w, v = tc.Tensor(np.ones(5, "float32")), tc.Tensor(np.zeros(5, "float32"))

        def step(g):
            v.assign(0.9 * v - 0.1 * tc.Tensor(g))
            w.assign(w + 0.9 * v - 0.1 * tc.Tensor(g))
            return [w * 2.0]

        return step, w

    (eager, w1), (step, w2) = make(), make()
    replay = functools.partial(Replay(), step)
    rng = np.random.default_rng(2)
    for _ in range(6):
        g = rng.standard_normal(5).astype("float32")
        np.testing.assert_array_equal(replay([g])[0].numpy(), eager(g)[0].numpy())
        np.testing.assert_array_equal(w1.numpy(), w2.numpy())
    assert len(plans(replay)) == 1
    w2.assign(np.zeros(5))  # weights set from outside are seen
    np.testing.assert_allclose(replay([np.zeros(5, "float32")])[0].numpy(), 2 * w2.numpy())


def test_fresh_keys_are_drawn_for_every_run():
    x, given = np.ones((50, 40), "float32"), np.random.default_rng(3)
    results = []
    for replay in (Replay(), lambda step, arguments: step(*arguments)):
        tc.set_seed(4)
        given = np.random.default_rng(3)

        def step(x):
            own = tc.random.next_key(given)  # noqa: B023 - of this turn of the loop
            return [ops.dropout(x, 0.4), ops.dropout(x, 0.7, key=own), ops.random_uniform((9,), key=11) + ops.sum(x)]

        results.append([[y.numpy() for y in replay(step, [x])] for _ in range(5)])
    assert not np.array_equal(results[0][3][0], results[0][4][0])
    for one, other in zip(*results, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_cannot_be_captured_is_called_between_the_graphs(gpu, monkeypatch):
    def refused(x, axis):
        if gpu.xp.cuda.get_current_stream().is_capturing():
            raise NotImplementedError("not while capturing")
        return type(gpu).cumsum(gpu, x, axis)

    monkeypatch.setattr(gpu, "cumsum", refused, raising=False)
    rng = np.random.default_rng(0)

    def step(x):
        y = ops.cumsum(ops.exp(x), 0)
        return [ops.cumsum(y * y, 1) + 1.0, y]

    plan = assert_replays(step, lambda: [rng.standard_normal((4, 3), dtype="float32")])
    assert [plan.trace.steps[place].primitive for place in plan.eager] == ["cumsum"] * 2
    assert all("not while capturing" in reason for reason in plan.eager.values())


def test_labels_are_looked_at_in_every_run_and_without_waiting(gpu):
    def step(y, p):
        return [tc.losses.sparse_categorical_crossentropy(y, p)]

    rng = np.random.default_rng(0)

    def draw():
        return [rng.integers(0, 4, 6), rng.random((6, 4), dtype="float32")]

    plan = assert_replays(step, draw)
    assert not plan.eager
    for labels in (np.full(6, 4), gpu.asarray(np.full(6, -1))):
        with pytest.raises(ValueError, match="expected labels 0 .. 3"):
            plan.run([labels, rng.random((6, 4), dtype="float32")])


def test_inputs_of_the_device_are_taken_from_there(gpu):
    def step(x, y):
        return [ops.exp(x) * y]

    replay, rng = Replay(), np.random.default_rng(0)
    for turn in range(8):
        x, y = rng.standard_normal((2, 7)).astype("float32")
        given = [gpu.asarray(a) if turn & bit else a for a, bit in ((x, 1), (y, 2))]
        close(replay(step, given)[0].numpy(), np.exp(x) * y)
    assert len(plans(replay)) == 1


def test_outputs_are_copies(gpu):
    replay = Replay()
    outputs = [replay(lambda x: [tc.Tensor(x) * 2.0, tc.Tensor(x)], [np.full(3, i, "float32")]) for i in range(6)]
    for i, (y, x) in enumerate(outputs):
        np.testing.assert_array_equal(y.numpy(), np.full(3, 2.0 * i))
        np.testing.assert_array_equal(x.numpy(), np.full(3, i))


def test_lists_of_places_and_embeddings(gpu):
    table = tc.Tensor(np.random.default_rng(0).standard_normal((9, 3)).astype("float32"), True)

    def step(x, places):
        x, y = tc.Tensor(x), table[tc.Tensor(places)]
        return [x[[0, 2]], x[np.array([True, False, True])], *tc.grad((y * y).sum(), [table])]

    rng = np.random.default_rng(0)
    assert_replays(step, lambda: [rng.standard_normal((3, 2), dtype="float32"), rng.integers(0, 9, 5)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_column_sums_are_rounded_once(dtype):
    """Against exact sums: thousands of rows, in several rounds of partial sums."""
    rng = np.random.default_rng(0)

    def step(x):
        return [ops.sum(ops.square(x), axis=(0, 1)), ops.square(x)]

    draw = lambda: [(1000 * rng.standard_normal((40, 500, 7))).astype(dtype)]  # noqa: E731
    assert_replays(step, draw, 3)
    replay, (x,) = Replay(), draw()
    for _ in range(3):
        sums, _ = replay(step, [x])
    exact = np.square(x).astype(np.longdouble).sum((0, 1))
    np.testing.assert_allclose(sums.numpy(), exact.astype(dtype), rtol=6e-8 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_equal_updates_are_made_by_one_kernel(optimizer):
    """Of all weights of a network; and moments and weights are those of eager steps, to the last bit."""
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 6), "f4"), rng.random((40, 2), "f4")
    found = []
    for jit in (False, True):
        tc.set_seed(0)
        model = tc.Sequential([tc.layers.Dense(n, "tanh", input_shape=(6,)) for n in (5, 4, 2)])
        made = tc.optimizers.SGD(0.1, 0.9, nesterov=True) if optimizer == "sgd" else tc.optimizers.Adam(0.01)
        model.compile(made, "mse", jit_compile=jit)
        model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        found.append([*model.get_weights(), *model.optimizer.get_state().values()])
    (plan,) = plans(model._replays["_update_weights"])
    updates = [step for step in plan.trace.steps if step.primitive == "fused" and not step.results]
    assert [len(step.arguments[2]) for step in updates] == [6]
    for one, other in zip(*found, strict=True):
        close(one, other, 1e-5)


def test_updates_wait_for_nothing_that_reads_them():
    """Weights are read after their update, and updated twice: in the order of the program."""
    v, w = (tc.Tensor(np.full(4, n, "f4")) for n in (1, 2))

    def step(g):
        g = tc.Tensor(g)
        v.assign(v - 0.5 * g)
        w.assign(w - 0.5 * g)
        between = ops.sum(w) + ops.sum(v)
        w.assign(w - 0.5 * g)
        v.assign(v - 0.5 * w)
        return [between, v * 1.0]

    host_v, host_w = np.full(4, 1, "f4"), np.full(4, 2, "f4")
    replay, rng = Replay(), np.random.default_rng(0)
    for _ in range(6):
        g = rng.integers(-8, 8, 4).astype("f4")
        between, last = replay(step, [g])
        host_v, host_w = host_v - 0.5 * g, host_w - 0.5 * g
        assert between.item() == (host_v + host_w).sum()
        host_w = host_w - 0.5 * g
        host_v = host_v - 0.5 * host_w
        np.testing.assert_array_equal(last.numpy(), host_v)
        np.testing.assert_array_equal(w.numpy(), host_w)
    assert len(plans(replay)) == 1


def test_computed_labels_are_looked_at_between_graphs():
    def step(y, p):
        return [tc.losses.sparse_categorical_crossentropy(tc.Tensor(y) + 1, p)]

    rng = np.random.default_rng(0)
    plan = assert_replays(step, lambda: [rng.integers(-1, 3, 6), rng.random((6, 4), dtype="float32")])
    assert list(plan.eager.values()) == ["it looks at values"]
    with pytest.raises(ValueError, match="expected labels 0 .. 3"):
        plan.run([np.full(6, 3), rng.random((6, 4), dtype="float32")])


def test_a_capture_that_fails_leaves_nothing_behind(monkeypatch):
    def fail(*_):
        raise ValueError("no such outputs")

    replays, x = [Replay(), Replay()], np.arange(3, dtype="f4")
    with monkeypatch.context() as patch:
        patch.setattr("tinyconv.backends.cuda.memory.Outbox.put", fail)
        replays[0](lambda x: [ops.exp(x)], [x])
        with pytest.warns(RuntimeWarning, match="stays eager.*no such outputs"):
            replays[0](lambda x: [ops.exp(x)], [x])
    for replay in replays:
        for _ in range(3):
            close(replay(lambda x: [ops.exp(x)], [x])[0].numpy(), np.exp(x))
    assert [len(plans(replay)) for replay in replays] == [0, 1]
