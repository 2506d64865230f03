"""Record and replay: a plan does what the eager step does, and whatever cannot be replayed stays eager."""

import functools
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv import backends, ops
from tinyconv.models.replay import Replay

pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(backends.host().name != "cpu", reason="plans are made of the CPU backend's kernels")

UNARY = (ops.exp, ops.tanh, ops.square, ops.negative, ops.relu, ops.sigmoid, ops.absolute)
BINARY = (ops.add, ops.subtract, ops.multiply, ops.maximum, ops.minimum)


def state(replay):
    """What became of each signature: "Plan", "Trace" (recorded once) or "NoneType" (eager for good)."""
    replay = getattr(replay, "func", replay)
    return [type(known.run).__name__ for known in replay._known.values()]


def assert_replays(step, draw, runs=5, planned=True):
    """``step`` gives the same through a ``Replay``, to the last bit, for several inputs."""
    replay = Replay()
    for _ in range(runs):
        arrays = draw()
        for expected, received in zip(step(*arrays), replay(step, arrays), strict=True):
            np.testing.assert_array_equal(received.numpy(), expected.numpy())
    assert state(replay) == (["Plan"] if planned else ["NoneType"])
    return next(iter(replay._known.values())).run


@st.composite
def programs(draw):
    """Operations on earlier values: (function, places of its operands), over operands of mixed shapes."""
    steps = []
    for count in range(3, 3 + draw(st.integers(2, 12))):
        operations = draw(st.sampled_from(UNARY + BINARY))
        places = draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2))
        steps.append((operations, places[: 1 if operations in UNARY else 2]))
    return steps, draw(st.lists(st.integers(0, len(steps) + 2), min_size=1, max_size=3))


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

    assert_replays(step, draw)


def test_gradients_of_a_small_network():
    rng = np.random.default_rng(0)
    w = [tc.Tensor(0.3 * rng.standard_normal(s, dtype="float32"), True) for s in ((3, 3, 2, 5), (5,), (125, 4))]

    def step(x):
        y = ops.max_pool2d(ops.relu(ops.conv2d(x, w[0], w[1], padding="same")), 2)
        loss = ops.square(ops.matmul(ops.reshape(y, (len(x), -1)), w[2])).mean()
        return [loss, *tc.grad(loss, w)]

    assert_replays(step, lambda: [rng.standard_normal((6, 10, 10, 2), dtype="float32")])


@pytest.mark.parametrize(("pool", "strides"), [(2, 2), (3, 2), (3, 1)])
def test_gradient_through_relu_and_pooling_with_ties_and_nan(pool, strides):
    rng = np.random.default_rng(1)

    def step(x):
        x = tc.Tensor(x, requires_grad=True)
        y = ops.max_pool2d(ops.relu(x), pool, strides, padding="same")
        dx = tc.grad((y * y).sum(), x)
        return [y, dx, dx.sum(axis=(0, 1, 2))]

    def draw():
        x = rng.integers(-2, 3, (3, 9, 8, 6)).astype("float32")
        x[0, 0, 0, 0] = np.nan
        return [x]

    assert_replays(step, draw)


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
    assert state(replay) == ["Plan"]
    w2.assign(np.zeros(5))  # weights set from outside are seen
    np.testing.assert_allclose(replay([np.zeros(5, "float32")])[0].numpy(), 2 * w2.numpy())


def test_a_value_read_before_it_is_overwritten_keeps_its_old_meaning():
    def step(g):
        old = w * 1.0
        w.assign(w + tc.Tensor(g))
        return [old, w * 1.0]

    w = tc.Tensor(np.zeros(3, "float32"))
    replay = functools.partial(Replay(), step)
    for i in range(1, 6):
        old, new = replay([np.ones(3, "float32")])
        assert (old.numpy() == i - 1).all()
        assert (new.numpy() == i).all()


def test_reading_a_value_keeps_a_step_eager():
    def step(x):
        x = tc.Tensor(x)
        return [x * 2.0 if x.sum().item() > 0 else x * 3.0]

    assert_replays(step, iter([[np.full(3, s, "float32")] for s in (1, 1, 1, -1, -1)]).__next__, planned=False)


def test_a_value_computed_outside_keeps_a_step_eager():
    def step(x):
        return [tc.Tensor(x) * tc.Tensor(np.sort(x))]

    rng = np.random.default_rng(3)
    assert_replays(step, lambda: [rng.standard_normal(4).astype("float32")], planned=False)


def test_python_numbers_that_change_keep_a_step_eager():
    counter = iter(range(100))

    def step(x):
        return [tc.Tensor(x) * float(next(counter))]

    replay = functools.partial(Replay(), step)
    for expected in range(4):
        assert (replay([np.ones(2, "float32")])[0].numpy() == expected).all()
    assert state(replay) == ["NoneType"]


def test_dropout_draws_what_eager_steps_draw():
    def step(x):
        return [ops.dropout(x, 0.5), ops.dropout(x, 0.25)]

    replay = functools.partial(Replay(), step)
    x = np.ones((50, 40), "float32")
    tc.set_seed(3)
    expected = [[y.numpy() for y in step(x)] for _ in range(5)]
    tc.set_seed(3)
    for masks in expected:
        for mask, received in zip(masks, replay([x]), strict=True):
            np.testing.assert_array_equal(mask, received.numpy())
    assert state(replay) == ["Plan"]


def test_dropout_with_a_key_of_ones_own_repeats_it():
    x = np.ones((50, 40), "float32")
    first, *others = assert_plan_outputs(lambda x: [ops.dropout(x, 0.5, key=7)], x)
    assert all((first == other).all() for other in others)


def assert_plan_outputs(step, x):
    replay = functools.partial(Replay(), step)
    found = [replay([x])[0].numpy() for _ in range(5)]
    assert state(replay) == ["Plan"]
    return found


def test_every_shape_has_its_own_plan_up_to_a_limit():
    replay = functools.partial(Replay(), lambda x: [ops.exp(tc.Tensor(x)).sum()])
    for n in (*range(1, 10), *range(1, 10), *range(1, 10)):
        x = np.linspace(0, 1, n, dtype="float32")
        assert replay([x])[0].item() == pytest.approx(np.exp(x.astype("f8")).sum(), rel=1e-6)
    assert state(replay) == ["Plan"] * 4


def test_every_dtype_has_its_own_plan():
    model = small_network()
    x = np.random.default_rng(4).integers(-9, 9, (2, 16, 16, 16))
    for dtype in ("float32", "float64", "int64") * 4:
        np.testing.assert_array_equal(model.predict_on_batch(x.astype(dtype)), model(x.astype(dtype)).numpy())
    assert state(model._replays["_infer"]) == ["Plan"] * 3


def test_outputs_of_a_run_survive_the_next_run():
    replay = functools.partial(Replay(), lambda x: [ops.exp(tc.Tensor(x))])
    runs = [replay([np.full(3, i, "float32")])[0] for i in range(6)]
    for i, y in enumerate(runs):
        np.testing.assert_allclose(y.numpy(), np.exp(i), rtol=1e-6)


def test_buffers_are_used_again():
    def step(x):
        y = tc.Tensor(x)
        for _ in range(10):
            y = ops.matmul(y, y)
        return [y]

    plan = assert_replays(step, lambda: [np.eye(64, dtype="float32")])
    assert plan.bytes <= 5 * 64 * 64 * 4


def test_an_input_may_be_the_same_array_as_another():
    replay = functools.partial(Replay(), lambda x, y: [tc.Tensor(x) - 2.0 * tc.Tensor(y)])
    x = np.arange(4, dtype="float32")
    for _ in range(3):
        assert (replay([x, x])[0].numpy() == -x).all()
    assert (replay([x, x + 1])[0].numpy() == -x - 2).all()


def test_a_failing_step_leaves_recording_off():
    replay = functools.partial(Replay(), lambda x: [tc.Tensor(x) @ tc.Tensor(x)])
    with pytest.raises(ValueError, match="matmul"):
        replay([np.ones((2, 3), "float32")])
    assert backends.default() is backends.host()


def test_layers_with_a_seed_draw_from_their_own_stream():
    def make():
        own = tc.layers.Dropout(0.5, seed=1)
        return lambda x: [own(ops.dropout(x, 0.5), training=True), own(x, training=True)]

    eager, step, replay = make(), make(), Replay()
    x = np.ones((50, 40), "float32")
    tc.set_seed(3)
    expected = [[y.numpy() for y in eager(x)] for _ in range(5)]
    tc.set_seed(3)
    for masks in expected:
        for mask, received in zip(masks, replay(step, [x]), strict=True):
            np.testing.assert_array_equal(mask, received.numpy())
    assert state(replay) == ["Plan"]


def test_checks_are_repeated():
    w = tc.Tensor(np.arange(6, dtype="float32").reshape(3, 2))
    layer = tc.layers.Embedding(3, 2)
    layer(np.zeros((1, 1), "int64"))
    layer.set_weights([w.numpy()])
    replay = functools.partial(Replay(), lambda x: [layer(x)])
    for i in (0, 1, 2, 0):
        np.testing.assert_array_equal(replay([np.array([[i]])])[0].numpy(), ops.take(w, [[i]], axis=0).numpy())
    assert state(replay) == ["Plan"]
    with pytest.raises(ValueError, match=r"expected integers in \[0, 3\)"):
        replay([np.array([[3]])])


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("channels", "filters"), [(1, 20), (20, 50), (32, 32)])
@pytest.mark.parametrize("bias", [False, True])
def test_convolution_and_relu(kernel, channels, filters, bias):
    rng = np.random.default_rng(5)
    w = tc.Tensor(rng.standard_normal((kernel, kernel, channels, filters), dtype="float32"), True)
    b = tc.Tensor(rng.standard_normal(filters, dtype="float32"), True) if bias else None

    def step(x):
        y = ops.relu(ops.conv2d(x, w, b, padding="same"))
        return [y, tc.grad((y * y).mean(), w)]

    assert_replays(step, lambda: [rng.standard_normal((4, 14, 14, channels), dtype="float32")])


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_convolution_and_pooling_in_both_data_formats(data_format):
    rng = np.random.default_rng(7)
    w = tc.Tensor(rng.standard_normal((3, 3, 3, 4), dtype="float32"), True)
    shape = (2, 3, 8, 9) if data_format == "channels_first" else (2, 8, 9, 3)

    def step(x):
        y = ops.max_pool2d(ops.conv2d(x, w, padding="same", data_format=data_format), 2, data_format=data_format)
        return [y, tc.grad((y * y).sum(), w)]

    assert_replays(step, lambda: [rng.standard_normal(shape, dtype="float32")])


def test_products_with_axes_that_cannot_be_joined():
    rng = np.random.default_rng(8)
    w = tc.Tensor(rng.standard_normal((5, 4), dtype="float32"))

    def step(x):
        return [ops.matmul(ops.transpose(tc.Tensor(x), (0, 2, 1)), w)]

    assert_replays(step, lambda: [rng.standard_normal((3, 5, 7), dtype="float32")])


def small_network():
    tc.set_seed(0)
    convolution = tc.layers.Conv2D(32, 3, padding="same", activation="relu", input_shape=(16, 16, 16))
    return tc.Sequential([convolution, tc.layers.Flatten(), tc.layers.Dense(3)])


def with_weights_of(model):
    fresh = small_network()
    fresh.set_weights(model.get_weights())
    return fresh


def plan_of(model):
    """The plan of a model's predictions."""
    (known,) = model._replays["_infer"]._known.values()
    return known.run


def test_predictions_see_weights_that_are_set_or_trained_elsewhere():
    """Predictions keep transformed weights until some weight is overwritten."""
    model, x = small_network(), np.random.default_rng(1).standard_normal((4, 16, 16, 16), dtype="float32")
    head = tc.Sequential([model.layers[0], tc.layers.GlobalAveragePooling2D(), tc.layers.Dense(2)])

    def expected():
        return with_weights_of(model).predict_on_batch(x)

    for _ in range(4):
        received = model.predict_on_batch(x)
    assert plan_of(model)._preparation
    model.layers[0].set_weights([w + 0.5 for w in model.layers[0].get_weights()])
    assert (model.predict_on_batch(x) != received).any()
    np.testing.assert_array_equal(model.predict_on_batch(x), expected())
    head.compile("sgd", "mse")
    for _ in range(4):  # recorded, then replayed: it trains a layer of the other model
        head.train_on_batch(x, np.ones((4, 2)))
        np.testing.assert_array_equal(model.predict_on_batch(x), expected())


def test_an_interrupted_preparation_is_made_up_for(monkeypatch):
    model, x = small_network(), np.random.default_rng(1).standard_normal((4, 16, 16, 16), dtype="float32")
    for _ in range(3):
        model.predict_on_batch(x)
    model.layers[0].set_weights([w + 0.5 for w in model.layers[0].get_weights()])

    def interrupt():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(plan_of(model), "_preparation", [interrupt])
        with pytest.raises(KeyboardInterrupt):
            model.predict_on_batch(x)
    received = model.predict_on_batch(x)  # before any other array is overwritten
    np.testing.assert_array_equal(received, with_weights_of(model).predict_on_batch(x))


def test_predictions_see_what_a_failing_step_has_overwritten():
    model, x = small_network(), np.random.default_rng(1).standard_normal((4, 16, 16, 16), dtype="float32")
    for _ in range(3):
        model.predict_on_batch(x)
    w = model.layers[0].kernel
    embedding = tc.layers.Embedding(3, 2)
    embedding(np.zeros((1, 1), "int64"))

    def step(i):
        w.assign(w * 2.0)
        return [embedding(i)]

    replay = functools.partial(Replay(), step)
    for _ in range(3):
        replay([np.array([[0]])])
        model.predict_on_batch(x)
    assert state(replay) == ["Plan"]
    with pytest.raises(ValueError, match="expected integers"):
        replay([np.array([[3]])])
    received = model.predict_on_batch(x)  # before any other array is overwritten
    np.testing.assert_array_equal(received, with_weights_of(model).predict_on_batch(x))


@pytest.mark.parametrize("jit", [True, False])
def test_several_python_threads_with_one_model(jit):
    """Some record while others run the plan."""
    model = small_network()
    model.compile("sgd", "mse", jit_compile=jit)
    images = np.random.default_rng(2).standard_normal((12, 4, 16, 16, 16), dtype="float32")
    expected = [model(x, training=False).numpy() for x in images]
    with ThreadPoolExecutor(3) as pool:
        for one, other in zip(pool.map(model.predict_on_batch, images), expected, strict=True):
            np.testing.assert_array_equal(one, other)
    for _ in range(2):  # the last thread to write may have come with a first recording
        model.predict_on_batch(images[0])
    assert state(model._replays["_infer"]) == ["Plan"] if jit else not model._replays


def test_a_step_that_predicts_with_its_own_model():
    class Softened(tc.Sequential):
        def train_step(self, data):
            x, y = data
            return super().train_step((x, (y + self.predict_on_batch(x)) / 2))

    def weights(eager):
        tc.set_seed(0)
        model = Softened([tc.layers.Dense(3, activation="softmax", input_shape=(6,))])
        model.compile("sgd", "categorical_crossentropy", run_eagerly=eager, jit_compile=not eager)
        rng = np.random.default_rng(3)
        for _ in range(5):
            model.train_on_batch(rng.random((8, 6), "float32"), np.eye(3, dtype="float32")[rng.integers(0, 3, 8)])
        if not eager:
            assert state(model._replays["_update_weights"]) == ["Plan"]
        return model.get_weights()

    for one, other in zip(weights(True), weights(False), strict=True):
        np.testing.assert_array_equal(one, other)


def test_memory_of_plans_goes_with_their_model():
    model, x = small_network(), np.zeros((4, 16, 16, 16), "float32")
    for _ in range(3):
        model.predict_on_batch(x)
    gone = weakref.ref(plan_of(model))
    gc.collect()
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()


def test_planning_does_not_look_at_what_memory_held_before(monkeypatch):
    """Some layers compute places from constants alone, which a plan prepares once, after planning."""
    from tinyconv.backends.plan import Memory

    def take(self, shape, dtype, original=Memory.take):
        array = original(self, shape, dtype)
        array.view(np.uint8).fill(255)  # NaN
        return array

    monkeypatch.setattr(Memory, "take", take)

    def run(call):
        layer = tc.layers.RandomTranslation(0.3, 0.2, fill_mode="wrap", seed=1)
        rng = np.random.default_rng(0)
        images = [rng.standard_normal((4, 9, 8, 3), dtype="float32") for _ in range(5)]
        return [call(lambda x: [layer(tc.Tensor(x), training=True)], [x])[0].numpy() for x in images]

    replay = Replay()
    np.testing.assert_array_equal(run(replay), run(lambda step, arrays: step(*arrays)))
    assert state(replay) == ["Plan"]
