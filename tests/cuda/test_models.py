"""Models on the GPU (or its strict stand-in): the same numbers as on the host, whatever memory the data lie in."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import layers

pytestmark = pytest.mark.filterwarnings("ignore::tinyconv.ModelWarning", "error:A step stays eager")


def images(n=12, size=8, classes=4):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, size, size, 1)).astype("f4"), np.eye(classes, dtype="f4")[np.arange(n) % classes]


def small_network():
    return tc.Sequential(
        [
            layers.Conv2D(3, 3, padding="same", activation="relu", input_shape=(8, 8, 1)),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )


def trained(device, optimizer="adam", move_after=0, **data_options):
    """History, weights and predictions of two epochs of a small network."""
    tc.set_seed(1)
    model = small_network()
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    x, y = images()
    if move_after:
        model.fit(x, y, batch_size=5, epochs=move_after, verbose=0)
    model.to(device)
    history = model.fit(x, y, batch_size=5, epochs=2, verbose=0, **data_options).history
    return history, model.get_weights(), model.predict(x), model


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("move_after", [0, 1])
def test_training_gives_the_numbers_of_the_host(optimizer, move_after, gpu):
    on_host, on_gpu = (trained(device, optimizer, move_after) for device in ("cpu", "cuda"))
    assert on_gpu[3].device == "cuda"
    assert {t.device for t in (*on_gpu[3].weights, *on_gpu[3].optimizer.tensors)} == {"cuda"}
    for name, values in on_host[0].items():
        np.testing.assert_allclose(on_gpu[0][name], values, rtol=2e-4, err_msg=name)
    for one, other in zip([*on_gpu[1], on_gpu[2]], [*on_host[1], on_host[2]], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


def test_a_training_step_of_lenet(gpu):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 28, 28, 1)).astype("f4"), np.eye(10, dtype="f4")[[3, 7]]
    weights = []
    for device in ("cpu", "cuda"):
        tc.set_seed(3)
        model = tc.applications.LeNet.build(28, 28, 1, 10).to(device)
        model.compile("sgd", "categorical_crossentropy")
        model.train_on_batch(x, y)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_data_may_lie_on_the_device(gpu):
    x, y = images()
    model = trained("cuda")[3]
    for given in (gpu.asarray(x), tc.Tensor(gpu.asarray(x))):
        np.testing.assert_array_equal(model.predict(given), model.predict(x))
        model.fit(given, gpu.asarray(y), verbose=0, validation_split=0.5)
        assert model.evaluate(given, gpu.asarray(y)) == model.evaluate(x, y)
    assert isinstance(model.predict_on_batch(gpu.asarray(x)), np.ndarray)
    assert model(gpu.asarray(x)).device == model(x).device == "cuda"


def test_a_model_of_the_host_takes_data_of_the_device(gpu):
    x, y = images()
    model = trained("cpu")[3]
    np.testing.assert_array_equal(model.predict(gpu.asarray(x)), model.predict(x))
    with tc.device("cuda"):
        assert model(x).device == "cpu"
        np.testing.assert_allclose(model.train_on_batch(x, y)[0], model.evaluate(x, y)[0], atol=2)


def test_weights_are_made_on_the_device_of_the_context(gpu):
    with tc.device("cuda"):
        model = small_network()
    assert model.device == "cuda"
    lazy = tc.Sequential([layers.Dense(2)]).to("cuda")
    assert lazy.device == "cuda"
    lazy.compile("sgd", "mse")
    lazy.train_on_batch(np.ones((3, 4), "f4"), np.ones((3, 2), "f4"))
    assert {w.device for w in lazy.weights} == {"cuda"}


def test_there_and_back_again(gpu):
    model = trained("cuda")[3]
    before = model.get_weights(), model.optimizer.get_state(), model.predict(images()[0])
    assert model.to("cpu") is model
    assert {w.device for w in model.weights} == {"cpu"}
    for one, other in zip(model.get_weights(), before[0], strict=True):
        np.testing.assert_array_equal(one, other)
    for name, value in model.optimizer.get_state().items():
        np.testing.assert_array_equal(value, before[1][name])
    np.testing.assert_allclose(model.predict(images()[0]), before[2], rtol=1e-5, atol=1e-6)


def test_files_hold_no_device(gpu, tmp_path):
    model = trained("cuda")[3]
    x, _ = images()
    model.save(tmp_path / "model")
    loaded = tc.load_model(tmp_path / "model")
    assert loaded.device == tc.Tensor(0.0).device
    np.testing.assert_allclose(loaded.predict(x), model.predict(x), rtol=1e-5, atol=1e-6)
    model.load_weights(tmp_path / "model")
    assert model.device == "cuda"


def test_class_and_sample_weights_reach_the_device(gpu):
    weights = np.linspace(0.5, 2, 12)
    options = {"class_weight": {0: 2.0, 1: 0.5}, "sample_weight": weights, "shuffle": False}
    on_host, on_gpu = (trained(device, "sgd", **options) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(on_gpu[0]["loss"], on_host[0]["loss"], rtol=2e-4)


def test_several_inputs_and_outputs(gpu):
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((6, 3)).astype("f4"), rng.standard_normal((6, 2)).astype("f4")
    found = []
    for device in ("cpu", "cuda"):
        tc.set_seed(2)
        a, b = tc.Input((3,)), tc.Input((2,))
        joined = layers.Concatenate()([layers.Dense(4)(a), b])
        model = tc.Model([a, b], [layers.Dense(1)(joined), layers.Dense(2)(joined)]).to(device)
        model.compile("adam", ["mse", "mae"])
        losses = model.fit([one, two], [one[:, :1], two], batch_size=4, verbose=0).history["loss"]
        found.append((losses, *model.predict([one, two])))
    for on_host, on_gpu in zip(*found, strict=True):
        np.testing.assert_allclose(on_gpu, on_host, rtol=1e-4, atol=1e-5)


def test_noise_is_drawn_where_the_model_is(gpu):
    """Although new arrays are made on the host: the same noise as there."""
    x, y = images()
    found = []
    for device in ("cpu", "cuda"):
        tc.set_seed(4)
        noise = [layers.AlphaDropout(0.2), layers.GaussianNoise(0.1), layers.GaussianDropout(0.1), layers.Flatten()]
        model = tc.Sequential([tc.Input((8, 8, 1)), *noise, layers.Dense(4, "softmax")]).to(device)
        model.compile("sgd", "categorical_crossentropy")
        with tc.device("cpu"):
            found.append(model.fit(x, y, batch_size=4, epochs=3, verbose=0).history["loss"])
    np.testing.assert_allclose(found[1], found[0], rtol=2e-4)
