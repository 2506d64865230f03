"""Memory of the GPU, or of its stand-in: nothing grows, pools are respected, copies keep order, shortage is told."""

import threading

import numpy as np
import pytest

import tinyconv as tc
from tests.cuda import runtime
from tinyconv import ops
from tinyconv.backends.cuda.memory import Inbox, OutOfMemoryError, fetch
from tinyconv.backends.recording import Form
from tinyconv.models.replay import Replay

pytestmark = pytest.mark.filterwarnings("ignore::tinyconv.ModelWarning", "error:A step stays eager")


@pytest.fixture
def stand_in(request, gpu):
    """For tests of what only the stand-in can do."""
    if request.config.getoption("--device") == "cuda":
        pytest.skip("needs the stand-in for CuPy")
    return gpu


def in_use(gpu, *plans):
    """Bytes that pools hold and that are in use."""
    pools = [gpu.xp.get_default_memory_pool(), *(plan.pool for plan in plans)]
    return [(pool.total_bytes(), pool.used_bytes()) for pool in pools]


def test_nothing_grows_over_10_000_steps(gpu):
    w = tc.Tensor(gpu.asarray(np.zeros(3, "f4")))
    replay, x = Replay(), np.ones((4, 3), "f4")

    def step(x):
        w.assign(w + ops.sum(ops.exp(x), axis=0))
        return [ops.dropout(x, 0.5), ops.sum(w)]

    with tc.device("cuda"):
        for turn in range(10_000):
            outputs = replay(step, [x])
            if turn == 10:
                (plan,) = (known.run for known in replay._known.values())
                before = in_use(gpu, plan)
        assert in_use(gpu, plan) == before
        np.testing.assert_allclose(outputs[1].item(), 3 * 4 * 10_000 * np.exp(1), rtol=1e-3)


def test_training_does_not_grow(gpu):
    tc.set_seed(0)
    model = tc.Sequential([tc.layers.Dense(3, activation="softmax", input_shape=(4,))]).to("cuda")
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    x, y = np.random.default_rng(0).random((320, 4), "f4"), np.eye(3, dtype="f4")[np.arange(320) % 3]
    model.fit(x, y, batch_size=16, epochs=2, verbose=0)
    before = in_use(gpu)
    model.fit(x, y, batch_size=16, epochs=4, verbose=0)
    assert in_use(gpu) == before


def test_a_plan_gives_its_memory_back(gpu):
    """To the pool that the user chose, of which it takes it."""
    pool = gpu.xp.cuda.MemoryPool()
    with tc.device("cuda"), gpu.xp.cuda.using_allocator(pool.malloc):
        replay, x = Replay(), np.ones((64, 64), "f4")
        for _ in range(3):
            outputs = replay(lambda x: [ops.exp(x) * 2.0], [x])
        assert pool.used_bytes() >= 3 * x.nbytes  # the inputs' fixed place and two buffers
        del replay, outputs
        assert pool.used_bytes() == 0


def test_memory_between_steps_is_used_again(gpu):
    """A chain of 20 products needs no more memory than a few of them."""
    w = tc.Tensor(gpu.asarray(np.eye(64, dtype="f4")))

    def step(x):
        for _ in range(20):
            x = ops.matmul(x, w)
        return [x]

    replay, x = Replay(), np.random.default_rng(0).random((64, 64), "f4")
    with tc.device("cuda"):
        for _ in range(4):
            (y,) = replay(step, [x])
    (plan,) = (known.run for known in replay._known.values())
    assert plan.pool.total_bytes() <= 8 * x.nbytes
    np.testing.assert_allclose(y.numpy(), x, rtol=1e-6)


def test_runs_of_several_threads_and_streams_do_not_mix(gpu):
    replay = Replay()

    def work(seed):
        rng = np.random.default_rng(seed)
        with tc.device("cuda"), gpu.xp.cuda.Stream(non_blocking=True):
            for _ in range(50):
                x = rng.random((5, 3), "f4")
                (y,) = replay(lambda x: [tc.Tensor(x) * 3.0], [x])
                found.append(np.array_equal(y.numpy(), x * np.float32(3)))

    found = []
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 200


def test_inbox_takes_turns_and_keeps_order(gpu):
    """Values of every run arrive, whether they come from host or device, while earlier copies are still under way."""
    forms = [Form((3, 5), np.dtype("f4"), (20, 4)), Form((), np.dtype("i8"), ()), Form((7,), np.dtype("?"), (1,))]
    inbox, rng = Inbox(gpu.xp, 2, forms), np.random.default_rng(0)
    for turn in range(9):
        values = [rng.random((3, 5), "f4"), np.array(turn), rng.random(7) < 0.5]
        given = [gpu.asarray(v) if rng.random() < 0.4 else v.copy() for v in values]
        keys = [2**64 - 1 - turn, turn]
        inbox.fill(given, keys)
        for array in given:  # the owner may do with them what he likes
            array[...] = 0
        for array, value in zip(inbox.arrays, values, strict=True):
            np.testing.assert_array_equal(gpu.to_numpy(array), value)
        np.testing.assert_array_equal(gpu.to_numpy(inbox.keys), np.array(keys, np.uint64))


def test_fetched_values_are_those_of_the_moment(gpu):
    x = gpu.asarray(np.arange(12.0).reshape(3, 4))
    waits = [fetch(gpu.xp, [x, x[1:, :0]]), fetch(gpu.xp, [x.transpose(1, 0)]), fetch(gpu.xp, [])]
    x[...] = gpu.asarray(np.zeros((3, 4)))
    whole, empty = waits[0]()
    np.testing.assert_array_equal(whole, np.arange(12.0).reshape(3, 4))
    assert (empty.shape, empty.dtype) == ((2, 0), np.float64)
    np.testing.assert_array_equal(waits[1]()[0], np.arange(12.0).reshape(3, 4).T)
    assert waits[2]() == []


# --- no memory left --------------------------------------------------------------------------------------------


def test_shortage_names_sizes_primitive_and_layer(stand_in, monkeypatch):
    model = tc.Sequential([tc.layers.Dense(8, name="wide", input_shape=(4,))]).to("cuda")
    model.jit_compile = False  # a recording makes a copy of its inputs first
    runtime.get_default_memory_pool().free_all_blocks()
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "capacity", runtime._taken + 4096)
        with pytest.raises(OutOfMemoryError) as caught:
            model.predict_on_batch(np.ones((100_000, 4), "f4"))
    message = str(caught.value)
    assert isinstance(caught.value, MemoryError)
    for part in ("asarray of", "Out of memory allocating 1,600,", "MiB free of", "CuPy's pool holds", "batch_size"):
        assert part in message, message
    expected = r"for matmul of float32 \(100000, 4\), float32 \(4, 8\) in Dense 'wide'"
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "capacity", runtime._taken + 3_000_000)
        with pytest.raises(OutOfMemoryError, match=expected):
            model.predict_on_batch(np.ones((100_000, 4), "f4"))
    assert model.predict_on_batch(np.ones((100_000, 4), "f4")).shape == (100_000, 8)


def test_a_step_without_room_for_a_plan_stays_eager(stand_in, monkeypatch):
    from tinyconv.backends.cuda import graph

    def no_room(*_):
        raise runtime.OutOfMemoryError(1, 2)

    monkeypatch.setattr(graph.GraphPlan, "_captured", no_room)
    replay, x = Replay(), np.ones(3, "f4")
    with tc.device("cuda"):
        replay(lambda x: [ops.exp(x)], [x])
        with pytest.warns(RuntimeWarning, match="stays eager.*Out of memory allocating 1 bytes"):
            replay(lambda x: [ops.exp(x)], [x])
        for _ in range(3):
            np.testing.assert_allclose(replay(lambda x: [ops.exp(x)], [x])[0].numpy(), np.exp(x))


# --- nobody waits for the device -------------------------------------------------------------------------------


def network():
    tc.set_seed(1)
    model = tc.Sequential(
        [tc.layers.Dense(5, activation="relu", input_shape=(4,)), tc.layers.Dropout(0.3), tc.layers.Dense(3, "softmax")]
    )
    return model.to("cuda")


@pytest.mark.parametrize("loss", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
@pytest.mark.parametrize("where", ["host", "device"])
def test_the_host_does_not_wait_for_every_batch(loss, where, stand_in):
    if (loss, where) == ("sparse_categorical_crossentropy", "device"):
        pytest.skip("class numbers on the device are looked at on the host")
    model, counts = network(), []
    model.compile("sgd", loss, metrics=["accuracy"])
    x, labels = np.random.default_rng(0).random((640, 4), "f4"), np.arange(640) % 3
    y = np.eye(3, dtype="f4")[labels] if loss.startswith("cat") else labels
    if where == "device":
        x, y = stand_in.asarray(x), stand_in.asarray(y)
    for samples in (80, 80, 640):
        for call in (model.fit, model.evaluate):
            before = runtime.syncs
            call(x[:samples], y[:samples], batch_size=8, verbose=0)
            counts.append(runtime.syncs - before)
        before = runtime.syncs
        model.predict(x[:samples], batch_size=8)
        counts.append(runtime.syncs - before)
    assert counts[6:] <= [count + 2 for count in counts[3:6]], counts  # 80 batches, 10 batches


def test_late_results_are_those_of_their_batch(gpu):
    """Read at once, at the end, or never: the same numbers, in the same order."""

    class Reader(tc.callbacks.Callback):
        def __init__(self, at_once):
            self.at_once, self.kept, self.seen = at_once, [], []

        def on_train_batch_end(self, batch, logs=None):
            self.kept.append(logs)
            if self.at_once:
                self.seen.append(dict(logs))

    x, y = np.random.default_rng(0).random((330, 4), "f4"), np.eye(3, dtype="f4")[np.arange(330) % 3]
    readers, histories = [Reader(True), Reader(False)], []
    for reader in readers:
        model = network()
        model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
        done = model.fit(x, y, batch_size=8, epochs=2, callbacks=[reader], verbose=0, validation_split=0.1)
        histories.append(done.history)
    assert histories[0] == histories[1]
    assert len(readers[0].seen) == 2 * 38
    for logs, expected in zip(readers[1].kept, readers[0].seen, strict=True):
        assert {name: value for name, value in logs.items() if not name.startswith("val_")} == expected
    assert readers[1].kept[3]["acc"] == readers[0].seen[3]["accuracy"]


def test_labels_of_a_generator_may_be_overwritten(gpu):
    x, y = np.random.default_rng(0).random((8, 4), "f4"), np.empty((8, 3), "f4")

    def batches():
        for turn in range(24):
            y[...] = np.eye(3)[(np.arange(8) + turn) % 3]
            yield x, y

    found = []
    for device in ("cpu", "cuda"):
        model = network().to(device)
        model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
        found.append(model.evaluate(batches()))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_results_asked_for_by_a_program_of_its_own(gpu):
    """``compute_metrics`` takes labels of any kind, and a copy of the model takes its results along."""
    import copy
    import pickle

    model, p = network(), np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], "f4")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = np.ones((2, 4), "f4")
    for labels in ([[0, 1]], np.array([0, 1]), tc.Tensor(np.array([0, 1])), gpu.asarray(np.array([0, 1]))):
        model.reset_metrics()
        logs = model.compute_metrics(x, labels, tc.Tensor(gpu.asarray(p)))
        assert pickle.loads(pickle.dumps(copy.copy(logs)))["accuracy"] == 0.5
    model.compute_metrics(x, [[0, 2]], tc.Tensor(gpu.asarray(p)))
    assert model.get_metrics_result()["accuracy"] == 0.75
    assert copy.deepcopy(model).predict(x).shape == (2, 3)
