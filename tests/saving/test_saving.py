"""Whole models in one file: what comes back, in this process and in a new one."""

import json
import os
import stat
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import tinyconv as tc

L = tc.layers
RNG = np.random.default_rng(0)
X = RNG.random((24, 8, 8, 1)).astype("float32")
Y = np.eye(3)[RNG.integers(0, 3, 24)]


def make_model(optimizer="adam"):
    penalty = tc.regularizers.l2(1e-3)
    model = tc.Sequential(
        [
            L.Conv2D(4, 3, padding="same", activation="relu", kernel_regularizer=penalty, input_shape=(8, 8, 1)),
            L.BatchNormalization(),
            L.MaxPooling2D(2),
            L.Dropout(0.25),
            L.Dropout(0.25, seed=3),
            L.Flatten(),
            L.Dense(3, activation="softmax"),
        ],
        name="digits",
    )
    loss = tc.losses.CategoricalCrossentropy(label_smoothing=0.1)
    model.compile(optimizer, loss, ["acc", tc.metrics.AUC(name="area")])
    return model


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.tinyconv"


def test_everything_comes_back(path):
    model = make_model()
    model.fit(X, Y, verbose=0)
    model.class_names = np.array(["a", "b", "c"])
    model.save(path)
    loaded = tc.load_model(path)
    assert type(loaded) is tc.Sequential
    assert loaded.name == "digits"
    assert loaded.class_names == ["a", "b", "c"]
    assert loaded.get_config() == model.get_config()
    assert [w.name for w in loaded.weights] == [w.name for w in model.weights]
    assert loaded.evaluate(X, Y, return_dict=True) == model.evaluate(X, Y, return_dict=True)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for name, value in model.optimizer.get_state().items():
        np.testing.assert_array_equal(loaded.optimizer.get_state()[name], value)
    assert loaded.losses[0].item() == model.losses[0].item() > 0
    assert tc.load_model(path, compile=False).optimizer is None


def test_predictions_are_bit_equal_in_a_new_process(path, tmp_path):
    model = make_model()
    model.fit(X, Y, verbose=0)
    model.save(path)
    np.save(tmp_path / "x.npy", X)
    program = """
        import sys, numpy as np, tinyconv as tc
        path, x, out = sys.argv[1:]
        np.save(out, tc.load_model(path).predict(np.load(x), batch_size=7))
    """
    arguments = [path, tmp_path / "x.npy", tmp_path / "out.npy"]
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)], check=True)
    expected = model.predict(X, batch_size=7)
    assert np.load(tmp_path / "out.npy").tobytes() == expected.tobytes()


OPTIMIZERS = {
    "momentum and decay": lambda: tc.optimizers.SGD(0.05, momentum=0.9, decay=0.01),
    "nesterov": lambda: tc.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "plain": lambda: "sgd",
    "adam": lambda: tc.optimizers.Adam(0.01),
    "rmsprop": lambda: "rmsprop",
    "adagrad": lambda: "adagrad",
    "schedule": lambda: tc.optimizers.SGD(tc.schedules.ExponentialDecay(0.1, 2, 0.5), momentum=0.9),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_interrupted_and_resumed_equals_uninterrupted(kind, path):
    """Weights, moving statistics, momentum, decay, dropout (of the model's stream and seeded) and shuffling."""
    tc.set_seed(1)
    whole = make_model(OPTIMIZERS[kind]())
    expected = whole.fit(X, Y, batch_size=7, epochs=4, validation_split=0.2, verbose=0).history
    tc.set_seed(1)
    first = make_model(OPTIMIZERS[kind]())
    first.fit(X, Y, batch_size=7, epochs=2, validation_split=0.2, verbose=0)
    first.save(path)
    tc.set_seed(99)  # as another process would have another stream
    second = tc.load_model(path)
    found = second.fit(X, Y, batch_size=7, initial_epoch=2, epochs=4, validation_split=0.2, verbose=0).history
    assert same(second, whole)
    assert found == {name: values[2:] for name, values in expected.items()}


def test_saved_by_a_callback_in_the_middle_of_fit(path):
    tc.set_seed(1)
    model = make_model()
    save = tc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: model.save(path) if epoch == 1 else None)
    model.fit(X, Y, batch_size=7, epochs=3, callbacks=[save], verbose=0)
    resumed = tc.load_model(path)
    resumed.fit(X, Y, batch_size=7, initial_epoch=2, epochs=3, verbose=0)
    assert same(resumed, model)


def test_saved_before_training_and_trained_elsewhere(path):
    """An optimizer that has not made an update yet has no state, and the stream has not begun."""
    model = make_model()
    model.save(path)
    loaded = tc.load_model(path)
    assert not loaded.optimizer.built
    for each in (model, loaded):
        each.fit(X, Y, batch_size=7, epochs=2, verbose=0)
    assert same(model, loaded)


def test_a_layer_frozen_after_training_keeps_its_momentum(path):
    model = make_model()
    model.fit(X, Y, verbose=0)
    model.layers[0].trainable = False
    model.save(path)
    loaded = tc.load_model(path)
    assert len(loaded.optimizer.get_state()) == len(model.optimizer.get_state())
    for each in (model, loaded):
        each.fit(X, Y, verbose=0)
    assert same(model, loaded)


def test_loading_leaves_the_global_stream_alone(path):
    make_model().save(path)
    tc.set_seed(5)
    expected = tc.random.next_key()
    tc.set_seed(5)
    tc.load_model(path)
    assert tc.random.next_key() == expected


def test_learning_rate_that_was_changed_by_hand(path):
    model = make_model(tc.optimizers.SGD(0.1))
    model.optimizer.learning_rate = 0.025
    model.save(path)
    assert tc.load_model(path).optimizer.learning_rate == 0.025
    model.fit(X, Y, verbose=0)
    model.optimizer.lr = 0.0125
    model.save(path)
    assert tc.load_model(path).optimizer.learning_rate == 0.0125


def functional_model():
    a, b = tc.Input((8, 8, 1), name="image"), tc.Input((2,), name="facts")
    inner = tc.Sequential([L.Conv2D(2, 3, input_shape=(8, 8, 1)), L.Flatten()], name="inner")
    shared = L.Dense(3, name="shared")
    both = L.Concatenate()([shared(inner(a)), b])
    outputs = {"kind": L.Dense(3, activation="softmax", name="kind")(both), "size": L.Dense(1, name="size")(both)}
    model = tc.Model([a, b], outputs, name="two_headed")
    model.compile(
        tc.optimizers.SGD(0.1, momentum=0.9),
        {"kind": "categorical_crossentropy", "size": tc.losses.Huber(2.0)},
        {"kind": ["acc"], "size": [tc.metrics.MeanAbsoluteError()]},
        loss_weights={"size": 0.5},
    )
    return model


def test_functional_model_with_two_heads(path):
    facts, size = RNG.random((24, 2)), RNG.random((24, 1))
    x, y = [X, facts], {"kind": Y, "size": size}
    model = functional_model()
    model.fit(x, y, verbose=0)
    model.save(path)
    loaded = tc.load_model(path)
    assert loaded.get_config() == model.get_config()
    for each in (model, loaded):
        each.fit(x, y, verbose=0, shuffle=False)
    assert same(model, loaded)
    for name, values in model.predict(x).items():
        np.testing.assert_array_equal(loaded.predict({"facts": facts, "image": X})[name], values)


@tc.registry.register("tests")
class Scale(L.Layer):
    def __init__(self, start=1.0, **options):
        super().__init__(**options)
        self.start = start

    def build(self, input_shape):
        self.factor = self.add_weight((), tc.initializers.Constant(self.start), "factor")  # no axes

    def call(self, x):
        return x * self.factor


@tc.registry.register("tests")
class Net(tc.Model):
    def __init__(self, units=2, **options):
        super().__init__(**options)
        self.units = units
        self.blocks = [Scale(2.0), L.Dense(units)]
        self.norm = L.BatchNormalization()

    def call(self, x, training=False):
        for block in self.blocks:
            x = block(x)
        return self.norm(x, training=training)


def test_a_registered_subclass_with_a_weight_without_axes(path):
    x, y = RNG.random((10, 3)), np.ones((10, 4))
    model = Net(4)
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    model.save(path)
    loaded = tc.load_model(path)
    assert type(loaded) is Net
    assert loaded.units == 4
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    for each in (model, loaded):
        each.fit(x, y, verbose=0, shuffle=False)
    assert same(model, loaded)


def test_float64_stays_float64(path):
    model = tc.Sequential([L.Dense(2, dtype="float64", input_shape=(3,))])
    model.save(path)
    x = RNG.normal(size=(4, 3))
    found = tc.load_model(path).predict(x)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, model.predict(x))


# --- own classes -----------------------------------------------------------------------------------------------


class Halve(L.Layer):
    def call(self, x):
        return x / 2


def halved_difference(y, p):
    return (y - p) ** 2 / 2


def test_what_is_not_registered_is_saved_and_loads_with_custom_objects(path):
    """Also the loss, which the first batch after loading needs."""
    model = tc.Sequential([Halve(input_shape=(3,)), L.Dense(1)])
    model.compile("sgd", halved_difference, metrics=[halved_difference])
    x, y = np.ones((4, 3)), np.zeros((4, 1))
    model.fit(x, y, verbose=0)
    model.save(path)
    with pytest.raises(ValueError, match=r"pass custom_objects=\{'Halve': Halve\}"):
        tc.load_model(path)
    known = {"Halve": Halve, "halved_difference": halved_difference}
    loaded = tc.load_model(path, known)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    assert loaded.fit(x, y, verbose=0).history == model.fit(x, y, verbose=0).history


def test_a_lambda_cannot_be_saved_and_the_message_says_how(path):
    model = tc.Sequential([L.Dense(1, input_shape=(3,))])
    model.compile("sgd", lambda y, p: (y - p) ** 2)
    with pytest.raises(ValueError, match="registry.register.*lambda"):
        model.save(path)
    model.save_weights(path)


def test_custom_objects(path, monkeypatch):
    from tinyconv import registry

    class Double(L.Layer):
        def call(self, x):
            return x * 2

    monkeypatch.setattr(registry, "_names", dict(registry._names))
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    registry.register("mine")(Double)
    tc.Sequential([Double(input_shape=(3,))]).save(path)
    del registry._registered["mine>Double"]  # another program, which has not registered it
    with pytest.raises(ValueError, match=r"Unknown layer.*'mine>Double'.*custom_objects"):
        tc.load_model(path)
    for names in ({"Double": Double}, {"mine>Double": Double}):
        assert tc.load_model(path, custom_objects=names).predict(np.ones((1, 3))).tolist() == [[2, 2, 2]]


# --- the file --------------------------------------------------------------------------------------------------


def test_any_safetensors_reader_opens_it(path):
    from safetensors import safe_open

    model = make_model()
    model.fit(X, Y, verbose=0)
    model.save(path)
    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        description = json.loads(file.metadata()["tinyconv"])
        kernel = file.get_tensor(description["order"][0])
    np.testing.assert_array_equal(kernel, model.get_weights()[0])
    assert {name.split("/")[0] for name in names} == {"weights", "optimizer"}
    assert description["model"]["class_name"] == "Sequential"


def test_equal_names_of_weights_do_not_collide(path):
    inner = [tc.Sequential([L.Dense(2, name="d", input_shape=(2,))], name=name) for name in "ab"]
    model = tc.Sequential(inner)
    model.save(path)
    assert same(tc.load_model(path), model)


def test_fortran_ordered_weights(path):
    model = tc.Sequential([L.Dense(3, input_shape=(2,))])
    model.layers[0].kernel.data = np.asfortranarray(model.layers[0].kernel.numpy())
    model.save(path)
    assert same(tc.load_model(path), model)


def test_a_failing_save_leaves_the_old_file_and_no_rubbish(path, monkeypatch):
    model = make_model()
    model.save(path)
    before = path.read_bytes()
    model.fit(X, Y, verbose=0)
    for function, error in (("replace", OSError("disk full")), ("fsync", KeyboardInterrupt())):

        def fail(*_, error=error):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(os, function, fail)
            with pytest.raises(type(error)):
                model.save(path)
        assert path.read_bytes() == before
        assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_permissions_links_and_folders(path, tmp_path):
    model = make_model()
    mask = os.umask(0o027)
    try:
        model.save(path)
    finally:
        os.umask(mask)
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    link = tmp_path / "latest"
    link.symlink_to(path)
    model.fit(X, Y, verbose=0)
    model.save(str(link))
    assert link.is_symlink()
    assert same(tc.load_model(path), model)
    with pytest.raises(FileNotFoundError, match="nowhere, which does not exist"):
        model.save(tmp_path / "nowhere" / "model")
    with pytest.raises(FileNotFoundError, match="which is a folder"):
        tc.load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match="which does not exist"):
        tc.load_model(tmp_path / "missing")


def test_what_cannot_be_saved_says_why(path):
    with pytest.raises(ValueError, match="'late' has no weights yet"):
        tc.Sequential([L.Dense(2)], name="late").save(path)
    shared = L.Dense(2, name="shared")
    twice = tc.Sequential([tc.Sequential([tc.Input((2,)), shared], name="one"), tc.Sequential([shared], name="two")])
    with pytest.raises(ValueError, match="'shared' belongs to two models.*'one' and 'two'"):
        twice.save(path)
    twice.save_weights(path)
    with pytest.raises(ValueError, match="weights only"):
        tc.load_model(path)


def test_weights_can_be_taken_from_a_whole_model(path):
    model, other = make_model(), make_model()
    model.save(path)
    other.load_weights(path)
    assert same(model, other)


@pytest.mark.parametrize("ending", ["tinyconv", "keras"])
def test_a_compile_of_ones_own_is_left_to_its_author(ending, tmp_path):
    """As in Keras: a file cannot know its arguments."""

    @tc.registry.register("saving")
    class Pair(tc.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.top = L.Dense(2)

        def compile(self, first, second):
            super().compile(first, "mse")
            self.second = second

        def call(self, x):
            return self.top(x)

    model = Pair(name="pair")
    model.compile("sgd", "adam")
    model.fit(X.reshape(24, -1), Y[:, :2], verbose=0)
    path = tmp_path / f"m.{ending}"
    model.save(path)
    with pytest.warns(UserWarning, match="Pair 'pair' has a compile of its own, which is to be called by hand"):
        loaded = tc.load_model(path)
    assert loaded.optimizer is None
    np.testing.assert_array_equal(loaded(X.reshape(24, -1)), model(X.reshape(24, -1)))


@pytest.mark.parametrize("name", ["relu", "tanh", "softmax"])
def test_operations_as_activations_are_saved_by_name(name, tmp_path):
    model = tc.Sequential([tc.layers.Input((3,)), tc.layers.Dense(2, activation=getattr(tc.ops, name))])
    model.save(tmp_path / "m.tinyconv")
    x = np.random.default_rng(0).normal(size=(5, 3))
    loaded = tc.load_model(filepath=tmp_path / "m.tinyconv")
    assert loaded.get_config()["layers"][-1]["config"]["activation"] == name
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
