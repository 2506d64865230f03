"""The ready networks against the tables of their source documents."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.applications import LeNet, MiniVGGNet, ShallowNet


@pytest.fixture
def channels_first():
    tc.config.set_image_data_format("channels_first")
    yield
    tc.config.set_image_data_format("channels_last")


@pytest.mark.parametrize(
    ("build", "arguments", "total", "trainable"),
    [
        (LeNet.build, (28, 28, 1, 10), 1_256_080, 1_256_080),
        (LeNet.build, (28, 28, 1, 9), 1_255_579, 1_255_579),
        (LeNet.build, (28, 28, 1, 2), 1_252_072, 1_252_072),
        (ShallowNet.build, (32, 32, 3, 10), 328_586, 328_586),
        (ShallowNet.build, (32, 32, 3, 3), 99_203, 99_203),
        (MiniVGGNet.build, (32, 32, 3, 10), 2_171_178, 2_169_770),
        (MiniVGGNet.build, (32, 32, 3, 10, False), 2_168_362, 2_168_362),
    ],
)
def test_parameter_counts(build, arguments, total, trainable):
    model = build(*arguments)
    assert model.count_params() == total
    assert sum(w.size for w in model.trainable_weights) == trainable
    assert model.optimizer is None, "not compiled"


LENET = [
    ("Conv2D", (None, 28, 28, 1), (None, 28, 28, 20), 520),
    ("Activation", (None, 28, 28, 20), (None, 28, 28, 20), 0),
    ("MaxPooling2D", (None, 28, 28, 20), (None, 14, 14, 20), 0),
    ("Conv2D", (None, 14, 14, 20), (None, 14, 14, 50), 25_050),
    ("Activation", (None, 14, 14, 50), (None, 14, 14, 50), 0),
    ("MaxPooling2D", (None, 14, 14, 50), (None, 7, 7, 50), 0),
    ("Flatten", (None, 7, 7, 50), (None, 2450), 0),
    ("Dense", (None, 2450), (None, 500), 1_225_500),
    ("Activation", (None, 500), (None, 500), 0),
    ("Dense", (None, 500), (None, 10), 5_010),
    ("Activation", (None, 10), (None, 10), 0),
]


def test_lenet_layer_by_layer():
    model = LeNet.build(28, 28, 1, 10)
    found = [(type(x).__name__, x.input_shape, x.output_shape, x.count_params()) for x in model.layers]
    assert found == LENET
    activations = [x.activation.__name__ for x in model.layers if type(x).__name__ == "Activation"]
    assert activations == ["relu", "relu", "relu", "softmax"]


def test_minivggnet_layer_by_layer():
    """Batch normalisation after the activation; a quarter dropped after each pool, half before the classes."""
    block = ["Conv2D", "Activation", "BatchNormalization"] * 2 + ["MaxPooling2D", "Dropout"]
    head = ["Flatten", "Dense", "Activation", "BatchNormalization", "Dropout", "Dense", "Activation"]
    model = MiniVGGNet.build(32, 32, 3, 10)
    assert [type(x).__name__ for x in model.layers] == block * 2 + head
    assert [x.rate for x in model.layers if type(x).__name__ == "Dropout"] == [0.25, 0.25, 0.5]
    shapes = [x.output_shape for x in model.layers if type(x).__name__ in ("MaxPooling2D", "Flatten")]
    assert shapes == [(None, 16, 16, 32), (None, 8, 8, 64), (None, 4096)]
    assert sum(x.count_params() for x in model.layers if type(x).__name__ == "BatchNormalization") == 2_816


@pytest.mark.parametrize("network", [LeNet, ShallowNet, MiniVGGNet])
def test_outputs_are_probabilities(network):
    model = network.build(width=12, height=8, depth=3, classes=5)
    assert model.input_shape == (None, 8, 12, 3)
    p = model.predict(np.random.default_rng(0).random((4, 8, 12, 3)))
    assert p.shape == (4, 5)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert (p > 0).all()


@pytest.mark.parametrize("network", [LeNet, ShallowNet, MiniVGGNet])
@pytest.mark.usefixtures("channels_first")
def test_channels_first_computes_the_same(network):
    first = network.build(12, 8, 3, 5)
    assert first.input_shape == (None, 3, 8, 12)
    tc.config.set_image_data_format("channels_last")
    last = network.build(12, 8, 3, 5)
    assert first.count_params() == last.count_params()
    last.set_weights(first.get_weights())  # as they are: Flatten gives both formats one order
    x = np.random.default_rng(0).random((2, 3, 8, 12)).astype("float32")
    np.testing.assert_allclose(first.predict(x), last.predict(x.transpose(0, 2, 3, 1)), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_lenet_learns_digits():
    (x_train, y_train), (x_test, y_test) = tc.datasets.mnist.load_data("subset")
    x_train, x_test = (x[..., None].astype("float32") / 255 for x in (x_train, x_test))
    tc.set_seed(1)
    model = LeNet.build(28, 28, 1, 10)
    model.compile(tc.optimizers.SGD(0.02, momentum=0.9), "sparse_categorical_crossentropy", ["accuracy"])
    history = model.fit(x_train, y_train, 32, epochs=2, validation_data=(x_test, y_test), verbose=0).history
    assert history["val_acc"][-1] >= 0.93
    assert history["loss"][1] < history["loss"][0] / 3
