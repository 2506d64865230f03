"""``TensorBoard``: what the real TensorBoard reads from the logs."""

import sys
import threading

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.callbacks import LambdaCallback, TensorBoard

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

L = tc.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 6, 6, 1)), np.eye(2)[RNG.integers(0, 2, 12)]


def make_model():
    model = tc.Sequential(
        [
            L.Conv2D(3, 3, activation="relu", input_shape=(6, 6, 1), name="conv"),
            L.Flatten(name="flat"),
            L.Dense(2, activation="softmax", name="top"),
        ]
    )
    model.compile(tc.optimizers.SGD(0.05), "categorical_crossentropy", ["acc"])
    return model


def read(folder):
    accumulator = event_accumulator.EventAccumulator(str(folder), size_guidance={"images": 0, "histograms": 0})
    accumulator.Reload()
    return accumulator


def curve(accumulator, tag):
    events = accumulator.Scalars(tag)
    return [event.step for event in events], [event.value for event in events]


def test_curves_of_training_and_validation(tmp_path):
    model = make_model()
    model.fit(
        X, Y, 4, epochs=3, validation_data=(X, Y), callbacks=[TensorBoard(tmp_path, write_graph=False)], verbose=0
    )
    history = model.history.history
    train, validation = read(tmp_path / "train"), read(tmp_path / "validation")
    assert sorted(train.Tags()["scalars"]) == ["epoch_acc", "epoch_learning_rate", "epoch_loss"]
    for accumulator, prefix in ((train, ""), (validation, "val_")):
        for name in ("loss", "acc"):
            steps, values = curve(accumulator, f"epoch_{name}")
            assert steps == [0, 1, 2]
            np.testing.assert_array_equal(np.float32(values), np.float32(history[prefix + name]))
    assert curve(train, "epoch_learning_rate")[1] == [pytest.approx(0.05)] * 3
    steps, values = curve(validation, "evaluation_loss_vs_iterations")
    assert steps == [3, 6, 9]
    np.testing.assert_array_equal(np.float32(values), np.float32(history["val_loss"]))
    assert not train.Tags()["graph"]
    assert train.Tags()["histograms"] == []


@pytest.mark.parametrize(("update_freq", "expected"), [("batch", [1, 2, 3, 4, 5, 6]), (4, [4]), ("epoch", [])])
def test_results_by_update(tmp_path, update_freq, expected):
    seen = {}
    model = make_model()
    look = LambdaCallback(on_train_batch_end=lambda b, logs: seen.__setitem__(model.optimizer.iterations, logs["loss"]))
    board = TensorBoard(tmp_path, update_freq=update_freq, write_steps_per_second=True)
    model.fit(X, Y, 4, epochs=2, callbacks=[board, look], verbose=0)
    train = read(tmp_path / "train")
    if expected:
        steps, values = curve(train, "batch_loss")
        assert steps == expected
        np.testing.assert_array_equal(np.float32(values), np.float32([seen[step] for step in steps]))
        assert all(value > 0 for value in curve(train, "batch_steps_per_second")[1])
    else:
        assert not any(tag.startswith("batch") for tag in train.Tags()["scalars"])
    assert all(value > 0 for value in curve(train, "epoch_steps_per_second")[1])


def test_batches_are_counted_also_where_they_are_no_updates(tmp_path):
    """With accumulated gradients, also of an earlier fit; and where a ``train_step`` has optimizers of its own."""

    class Own(tc.Sequential):
        def train_step(self, data):
            return {"loss": 0.5}

    own = Own([tc.layers.Dense(1, input_shape=(2,))])
    own.compile()
    several = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    several.compile(tc.optimizers.SGD(gradient_accumulation_steps=2), "mse")
    for name, model, second in (("own", own, [1, 2, 3]), ("several", several, [4, 5, 6])):
        for folder, steps in ((tmp_path / name / "1", [1, 2, 3]), (tmp_path / name / "2", second)):
            model.fit(np.ones((6, 2)), np.ones((6, 1)), 2, callbacks=[TensorBoard(folder, update_freq=1)], verbose=0)
            assert curve(read(folder / "train"), "batch_loss")[0] == steps


def test_histograms_of_the_weights(tmp_path):
    model, kept = make_model(), {}
    remember = LambdaCallback(on_epoch_end=lambda epoch, logs: kept.__setitem__(epoch, model.get_weights()))
    model.fit(X, Y, epochs=3, callbacks=[TensorBoard(tmp_path, histogram_freq=2), remember], verbose=0)
    train = read(tmp_path / "train")
    tags = ["conv/kernel/histogram", "conv/bias/histogram", "top/kernel/histogram", "top/bias/histogram"]
    assert sorted(train.Tags()["histograms"]) == sorted(tags)
    for place, tag in enumerate(tags):
        events = train.Histograms(tag)
        assert [event.step for event in events] == [0, 2]
        for event in events:
            values, found = np.float64(kept[event.step][place]).ravel(), event.histogram_value
            assert (found.min, found.max, found.num) == (values.min(), values.max(), values.size)
            assert found.sum == pytest.approx(values.sum())
            assert found.sum_squares == pytest.approx((values**2).sum())
            assert sum(found.bucket) == values.size
            below = [(values <= limit * (1 + 1e-12 * np.sign(limit))).sum() for limit in found.bucket_limit]
            assert abs(np.cumsum(found.bucket) - below).max() <= 1  # a value on an edge may count on either side


def test_weights_that_are_no_numbers(tmp_path):
    model = make_model()
    model.set_weights([np.full(w.shape, np.nan) if i == 0 else w for i, w in enumerate(model.get_weights())])
    model.optimizer.learning_rate = 0.0
    model.fit(X, Y, callbacks=[TensorBoard(tmp_path, histogram_freq=1, write_images=True)], verbose=0)
    assert "conv/kernel/histogram" not in read(tmp_path / "train").Tags()["histograms"]


def test_pictures_of_the_weights(tmp_path):
    import cv2

    model = make_model()
    model.optimizer.learning_rate = 0.0
    kernel, dense = model.layers[0].get_weights()[0], model.layers[2].get_weights()[0]
    model.fit(X, Y, callbacks=[TensorBoard(tmp_path, histogram_freq=1, write_images=True)], verbose=0)
    train = read(tmp_path / "train")
    assert sorted(train.Tags()["images"]) == ["conv/kernel/image", "top/kernel/image"]
    expected = {"conv/kernel/image": np.hstack([kernel[:, :, 0, i] for i in range(3)]), "top/kernel/image": dense}
    for tag, gray in expected.items():
        image = train.Images(tag)[0]
        pixels = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_UNCHANGED)
        assert pixels.shape == (image.height, image.width) == gray.shape
        assert abs(pixels - 255 * (gray - gray.min()) / np.ptp(gray)).max() <= 0.5001


def edges(folder):
    """Operation and sources of each node."""
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    accumulator = read(folder / "train")
    graph = accumulator.Graph()
    assert isinstance(graph, GraphDef)
    return {node.name: (node.op, list(node.input)) for node in graph.node}, graph


def test_graph_of_a_stack(tmp_path):
    make_model().fit(X, Y, callbacks=[TensorBoard(tmp_path)], verbose=0)
    found, graph = edges(tmp_path)
    (source,) = (name for name, (op, _) in found.items() if op == "Input")
    assert found == {
        source: ("Input", []),
        "conv": ("Conv2D", [source]),
        "flat": ("Flatten", ["conv"]),
        "top": ("Dense", ["flat"]),
    }
    shapes = {n.name: [d.size for d in n.attr["_output_shapes"].list.shape[0].dim] for n in graph.node}
    assert shapes == {source: [-1, 6, 6, 1], "conv": [-1, 4, 4, 3], "flat": [-1, 48], "top": [-1, 2]}


def test_graph_with_branches_inner_models_and_shared_layers(tmp_path):
    a, b = tc.Input((4,), name="a"), tc.Input((4,), name="b")
    inner = tc.Sequential([L.Dense(3, name="one", input_shape=(4,)), L.Dense(3, name="two")], name="inner")
    shared = L.Dense(3, name="shared")
    both = L.Concatenate(name="both")([inner(a), shared(a), shared(b)])
    model = tc.Model([a, b], L.Dense(1, name="out")(both))
    model.compile("sgd", "mse")
    model.fit([np.ones((4, 4)), np.ones((4, 4))], np.ones((4, 1)), callbacks=[TensorBoard(tmp_path)], verbose=0)
    assert edges(tmp_path)[0] == {
        "a": ("Input", []),
        "b": ("Input", []),
        "inner/one": ("Dense", ["a"]),
        "inner/two": ("Dense", ["inner/one"]),
        "shared": ("Dense", ["a"]),
        "shared_1": ("Dense", ["b"]),
        "both": ("Concatenate", ["inner/two", "shared", "shared_1"]),
        "out": ("Dense", ["both"]),
    }


def test_graph_of_a_model_that_is_built_by_its_first_batch(tmp_path):
    class Net(tc.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = L.Flatten(name="first"), L.Dense(2, activation="softmax", name="second")

        def call(self, x):
            return self.second(self.first(x))

    model = Net()
    model.compile("sgd", "categorical_crossentropy")
    model.fit(X, Y, callbacks=[TensorBoard(tmp_path)], verbose=0)
    assert edges(tmp_path)[0] == {"first": ("Flatten", []), "second": ("Dense", [])}


def test_the_log_goes_on_in_the_next_training(tmp_path):
    model, board = make_model(), TensorBoard(tmp_path)
    model.fit(X, Y, epochs=2, callbacks=[board], verbose=0)
    model.fit(X, Y, initial_epoch=2, epochs=3, callbacks=[board], verbose=0)
    assert curve(read(tmp_path / "train"), "epoch_loss")[0] == [0, 1, 2]
    model.evaluate(X, Y, callbacks=[board])
    assert curve(read(tmp_path / "validation"), "evaluation_loss_vs_iterations")[0] == [3]


def test_interrupted_training_leaves_a_whole_log_and_no_thread(tmp_path):
    def interrupt(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        make_model().fit(
            X, Y, epochs=5, callbacks=[TensorBoard(tmp_path), LambdaCallback(on_epoch_begin=interrupt)], verbose=0
        )
    assert threading.active_count() == before
    assert curve(read(tmp_path / "train"), "epoch_loss")[0] == [0, 1]


def test_a_missing_package_is_named_with_the_command(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    model = make_model()
    with pytest.raises(ImportError, match="pip install tensorboard"):
        model.fit(X, Y, callbacks=[TensorBoard(tmp_path)], verbose=0)
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize(
    "options", [{"profile_batch": (1, 2)}, {"embeddings_freq": 1}, {"update_freq": "step"}, {"histogram_freq": -1}]
)
def test_wrong_arguments(options):
    with pytest.raises(ValueError, match="Received: "):
        TensorBoard(**options)
