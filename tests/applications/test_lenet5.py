"""LeNet-5 against the publication's table, and its layers and loss against their formulas in float64."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate2d
from scipy.special import logsumexp

import tinyconv as tc
from tinyconv.applications import LeNet5
from tinyconv.applications.lenet5 import C3_TABLE, PartialConv2D, SquaredDistance, distance_loss, scaled_tanh


@pytest.mark.parametrize(("connections", "c3", "total"), [("full", 2_416, 61_740), ("table", 1_516, 60_840)])
def test_layer_by_layer(connections, c3, total):
    model = LeNet5.build(32, 32, 1, 10, connections=connections)
    found = [(x.output_shape[1:], x.count_params()) for x in model.layers if x.weights]
    assert found == [
        ((28, 28, 6), 156), ((14, 14, 6), 12), ((10, 10, 16), c3), ((5, 5, 16), 32), ((1, 1, 120), 48_120),
        ((84,), 10_164), ((10,), 840),
    ]  # fmt: skip
    assert model.count_params() == total


def test_the_publication_trains_60000_parameters():
    """With the table of connections, and the points of the outputs fixed."""
    model = LeNet5.build(32, 32, 1, 10, connections="table")
    model.get_layer("output").trainable = False
    assert sum(w.size for w in model.trainable_weights) == 60_000


def test_table_of_connections():
    """Six maps see three neighbours, six see four, three see two pairs apart, one sees all; each is used by ten."""
    assert [len(seen) for seen in C3_TABLE] == [3] * 6 + [4] * 9 + [6]
    assert len(set(C3_TABLE)) == 16
    assert [sum(i in seen for seen in C3_TABLE) for i in range(6)] == [10] * 6
    around = lambda seen: {(i + 1) % 6 for i in seen}  # noqa: E731
    assert [set(seen) for seen in C3_TABLE[1:6]] == [around(seen) for seen in C3_TABLE[:5]]
    assert [set(seen) for seen in C3_TABLE[7:12]] == [around(seen) for seen in C3_TABLE[6:11]]


def test_small_images_are_framed():
    model = LeNet5.build(28, 28, 1, 10)
    assert (model.input_shape, model.layers[0].output_shape) == ((None, 28, 28, 1), (None, 32, 32, 1))
    framed = LeNet5.build(32, 32, 1, 10)
    framed.set_weights(model.get_weights())
    x = np.random.default_rng(0).random((2, 28, 28, 1)).astype("float32")
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    np.testing.assert_array_equal(model.predict(x, verbose=0), framed.predict(padded, verbose=0))
    assert LeNet5.build(27, 30, 1, 10).get_layer("C1").input_shape == (None, 32, 32, 1)


def test_pooling_has_a_coefficient_and_a_bias_for_each_map():
    model = LeNet5.build(32, 32, 1, 10)
    x = np.random.default_rng(0).random((1, 28, 28, 6))
    coefficient, bias = np.linspace(0.5, 2, 6), np.linspace(-1, 1, 6)
    model.get_layer("S2").set_weights([coefficient.reshape(1, 1, 6, 1), bias])
    y = model.get_layer("S2")(model.get_layer("S2_mean")(x)).numpy()
    means = x.reshape(1, 14, 2, 14, 2, 6).mean((2, 4))
    np.testing.assert_allclose(y, 1.7159 * np.tanh(2 / 3 * (means * coefficient + bias)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("connections", ["full", "table"])
def test_channels_first_computes_the_same(connections):
    last = LeNet5.build(28, 28, 1, 10, connections)
    tc.config.set_image_data_format("channels_first")
    try:
        first = LeNet5.build(28, 28, 1, 10, connections)
    finally:
        tc.config.set_image_data_format("channels_last")
    first.set_weights(last.get_weights())
    x = np.random.default_rng(0).random((2, 1, 28, 28)).astype("float32")
    expected = last.predict(x.transpose(0, 2, 3, 1), verbose=0)
    np.testing.assert_allclose(first.predict(x, verbose=0), expected, rtol=1e-4)


def test_softmax_output():
    model = LeNet5.build(28, 28, 1, 10, output="softmax")
    assert model.count_params() == 61_740 - 840 + 850
    p = model.predict(np.random.default_rng(0).random((3, 28, 28, 1)), verbose=0)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("options", [{"connections": "half"}, {"output": "linear"}])
def test_unknown_options(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        LeNet5.build(28, 28, 1, 10, **options)


# --- layers ----------------------------------------------------------------------------------------------------


@st.composite
def partial_convolutions(draw):
    channels, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    maps = st.lists(st.integers(0, channels - 1), min_size=1, max_size=channels, unique=True)
    return channels, draw(st.lists(maps, min_size=outputs, max_size=outputs)), draw(st.integers(1, 3))


@given(partial_convolutions())
def test_partial_convolution_against_scipy(drawn):
    channels, connections, size = drawn
    random = np.random.default_rng(0)
    layer = PartialConv2D(connections, size, dtype="float64", activation="tanh")
    x = random.standard_normal((2, 5, 4, channels))
    layer(x)
    kernel, bias = random.standard_normal(layer.kernel.shape), random.standard_normal(len(connections))
    layer.set_weights([kernel, bias])
    y = layer(x).numpy()
    assert y.shape == layer.compute_output_shape((2, 5, 4, channels))
    place = 0
    for o, seen in enumerate(connections):
        expected = np.full((2, 6 - size, 5 - size), bias[o])
        for c in seen:
            for n in range(2):
                expected[n] += correlate2d(x[n, :, :, c], kernel[:, :, place], "valid")
            place += 1
        np.testing.assert_allclose(y[..., o], np.tanh(expected), rtol=1e-9, atol=1e-12)


def test_partial_convolution_with_all_connections_is_a_convolution():
    x = np.random.default_rng(0).random((2, 6, 6, 3))
    partial, whole = PartialConv2D([[0, 1, 2]] * 4, 3), tc.layers.Conv2D(4, 3)
    partial(x), whole(x)
    kernel = whole.get_weights()[0]  # (KH, KW, C, O) -> (KH, KW, O, C) -> (KH, KW, O C)
    partial.set_weights([kernel.transpose(0, 1, 3, 2).reshape(3, 3, 12), whole.get_weights()[1]])
    np.testing.assert_allclose(partial(x).numpy(), whole(x).numpy(), rtol=1e-5, atol=1e-6)


def test_gradients():
    random = np.random.default_rng(0)
    partial = PartialConv2D([[0, 2], [1]], 2, activation=scaled_tanh, dtype="float64")
    distance = SquaredDistance(3, dtype="float64")
    x = random.standard_normal((2, 3, 3, 3))
    partial(x), distance(x[:, 0, 0])

    def outputs(x, kernel, bias, points):
        partial.kernel, partial.bias, distance.kernel = kernel, bias, points
        return distance_loss([0, 2], distance.call(partial.call(x)[:, 0, 0]))

    distance.build((None, 2))
    points = random.standard_normal((2, 3))
    tc.testing.check_gradients(
        outputs, [x, random.standard_normal((2, 2, 3)), random.standard_normal(2), points]
    )


@pytest.mark.parametrize(
    ("connections", "message"),
    [
        ([], "different input maps"),
        ([[0, 0]], "different input maps"),
        ([[-1]], "connections"),
        ([[0], [7]], "connections names input map 7"),
    ],
)
def test_wrong_connections(connections, message):
    with pytest.raises(ValueError, match=message):
        PartialConv2D(connections, 3)(np.zeros((1, 5, 5, 6)))


def test_window_larger_than_the_image():
    with pytest.raises(ValueError, match="window"):
        PartialConv2D([[0]], 3)(tc.Input((2, 5, 1)))


def test_squared_distances():
    layer = SquaredDistance(4, dtype="float64")
    x = np.random.default_rng(0).standard_normal((5, 3))
    layer(x)
    points = layer.kernel.numpy()
    assert set(np.unique(points)) <= {-1.0, 1.0}
    expected = [[np.linalg.norm(row - points[:, k]) ** 2 for k in range(4)] for row in x]
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="features"):
        layer(np.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match="built for 3"):
        layer(np.zeros((2, 4)))


@given(st.integers(0, 1000), st.floats(0.01, 1000), st.floats(-5, 5))
def test_distance_loss_against_scipy(seed, scale, ceiling):
    random = np.random.default_rng(seed)
    distances, labels = random.random((4, 6)) * scale, random.integers(0, 6, 4)
    rows = np.concatenate([np.full((4, 1), ceiling), distances], 1)
    expected = distances[range(4), labels] + logsumexp(-rows, axis=1)
    for truth in (labels, labels[:, None], np.eye(6)[labels]):
        np.testing.assert_allclose(distance_loss(truth, distances, ceiling).numpy(), expected, rtol=1e-9, atol=1e-9)


def test_distance_loss_is_finite_far_away():
    loss = distance_loss([0], np.array([[1e4, 2e4]], "float32")).numpy()
    np.testing.assert_allclose(loss, [1e4 - 0.1], rtol=1e-5)


def test_scaled_tanh():
    x = np.linspace(-3, 3, 13)
    np.testing.assert_allclose(scaled_tanh(x).numpy(), 1.7159 * np.tanh(2 * x / 3), rtol=1e-12)


def test_the_nearest_point_names_the_class_after_training():
    tc.set_seed(0)
    model = LeNet5.build(28, 28, 1, 4, connections="table")
    model.compile(tc.optimizers.SGD(5e-4, momentum=0.9), distance_loss)
    x, y = np.random.default_rng(0).random((8, 28, 28, 1)).astype("float32") / 4, np.arange(8) % 4
    for image, label in zip(x, y, strict=True):  # a light quarter: top left, top right, ...
        image[14 * (label // 2) :, 14 * (label % 2) :][:14, :14] += 0.75
    for _ in range(30):
        model.train_on_batch(x, y)
    np.testing.assert_array_equal(model.predict(x, verbose=0).argmin(axis=1), y)


def test_saved_and_loaded(tmp_path):
    """In another process too, where the module has to be imported for its layers to be known."""
    model = LeNet5.build(28, 28, 1, 10, connections="table")
    model.compile("sgd", distance_loss)
    x, y = np.random.default_rng(0).random((4, 28, 28, 1)).astype("float32"), np.array([0, 1, 2, 3])
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.tinyconv")
    expected = model.predict(x, verbose=0)
    np.testing.assert_array_equal(tc.load_model(tmp_path / "model.tinyconv").predict(x, verbose=0), expected)
    program = "import sys, tinyconv as tc; tc.applications; print(tc.load_model(sys.argv[1]).count_params())"
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "model.tinyconv"], capture_output=True, text=True)
    assert done.stdout.strip() == "60840", done.stderr


def test_a_saved_network_loads_where_nothing_was_imported(tmp_path):
    path = tmp_path / "lenet5.tinyconv"
    tc.applications.LeNet5.build(32, 32, 1, 10).save(path)
    program = f"import tinyconv as tc; print(tc.load_model({str(path)!r}).count_params())"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(tc.applications.LeNet5.build(32, 32, 1, 10).count_params())
