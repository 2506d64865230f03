"""Dense and the layers that rearrange; inputs; functions as layers; embeddings."""

import json

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import layers, registry
from tinyconv.testing import assert_close

X = np.random.default_rng(0).standard_normal((3, 2, 4))


# --- Input -----------------------------------------------------------------------------------------------------


def test_input_is_symbolic():
    x = tc.Input((28, 28, 1), name="image")
    assert x.shape == (None, 28, 28, 1)
    assert (x.dtype, x.name, x.call) == ("float32", "image", None)
    assert "image" in repr(x)
    with pytest.raises(TypeError, match="no values"):
        np.asarray(x)
    assert tc.Input((4,), batch_size=8).shape == (8, 4)
    assert tc.Input(batch_shape=(2, None, 3)).shape == (2, None, 3)
    assert tc.Input((None,), dtype="int64").dtype == "int64"
    assert tc.Input(shape=()).shape == (None,)


@pytest.mark.parametrize("shape", [None, 5, "28", (3.5,), (-1, 2)])
def test_bad_input_shapes(shape):
    with pytest.raises(ValueError, match="shape must be a tuple of .*, the shape of one sample. Received"):
        tc.Input(shape)


def test_input_layer_states_a_shape():
    for layer in (layers.InputLayer((4, 5)), layers.InputLayer(input_shape=(4, 5))):
        assert layer.batch_shape == (None, 4, 5)
        assert layer.is_input
        np.testing.assert_array_equal(layer(np.ones((2, 4, 5))), np.ones((2, 4, 5)))


# --- Dense -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [X, X[0], X[None]])
def test_dense_formula(x):
    layer = layers.Dense(5, "tanh", dtype="float64")
    layer(x)
    kernel, bias = (w + 0.5 for w in layer.get_weights())
    layer.set_weights([kernel, bias])
    assert_close(layer(x), np.tanh(x @ kernel + bias))


def test_dense_weights_begin_as_glorot_uniform_and_zeros():
    layer = layers.Dense(300)
    layer(tc.Input((200,)))
    kernel, bias = layer.get_weights()
    limit = np.sqrt(6 / 500)
    assert np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    assert not bias.any()
    assert [w.name for w in layer.weights] == ["kernel", "bias"]
    without = layers.Dense(300, use_bias=False)
    without(tc.Input((200,)))
    assert without.count_params() == 60_000


def test_dense_takes_keras_arguments_by_position():
    layer = layers.Dense(3, "relu", False, "ones", "zeros", "l2")
    assert layer([[1.0, 2.0]]).tolist() == [[3.0, 3.0, 3.0]]
    assert layer.losses[0].item() == pytest.approx(0.06)
    assert layers.Dense(3, input_dim=8).input_shape_hint == (None, 8)
    assert layers.Dense(3, input_shape=(8,)).get_config()["input_shape"] == [8]


def test_dense_errors():
    layer = layers.Dense(3, name="top")
    with pytest.raises(ValueError, match=r"Dense 'top': expected at least 2 axes .* Received: shape \(None,\)"):
        layer(np.zeros(4))
    with pytest.raises(ValueError, match="Dense 'top': the number of features must be known"):
        layer(tc.Input((None,)))
    layer(np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"Dense 'top' was built for 4 .*axis -1. Received: shape \(None, 5\)"):
        layer(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="Dense 'two': expected .* Received"):
        layers.Dense(3, name="two")([np.zeros((1, 4)), np.zeros((1, 4))])
    for units in (0, -3, 2.5, "3", True):
        with pytest.raises(ValueError, match="units must be an integer"):
            layers.Dense(units)


def test_activity_penalty_is_a_mean_over_samples():
    layer = layers.Dense(1, kernel_initializer="ones", activity_regularizer=tc.regularizers.L2(0.5))
    layer([[1.0], [3.0]])
    assert [loss.item() for loss in layer.losses] == [pytest.approx(0.5 * 10 / 2)]


# --- rearranging -----------------------------------------------------------------------------------------------


def test_flatten_and_reshape_and_permute_and_repeat():
    assert_close(layers.Flatten(dtype="float64")(X), X.reshape(3, 8))
    assert_close(layers.Flatten(dtype="float64")(X[:, 0, 0]), X[:, 0, 0].reshape(3, 1))
    assert_close(layers.Reshape((4, 2), dtype="float64")(X), X.reshape(3, 4, 2))
    assert_close(layers.Reshape((-1,), dtype="float64")(X), X.reshape(3, 8))
    assert_close(layers.Permute((2, 1), dtype="float64")(X), X.transpose(0, 2, 1))
    assert_close(layers.RepeatVector(3, dtype="float64")(X[0]), np.stack([X[0]] * 3, 1))


def test_flatten_gives_one_order_for_both_data_formats():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("float32")
    first = layers.Flatten(data_format="channels_first")
    np.testing.assert_array_equal(first(np.moveaxis(x, 3, 1)), layers.Flatten()(x))


def test_unknown_sizes():
    assert layers.Flatten()(tc.Input((None, 3))).shape == (None, None)
    assert layers.Reshape((-1, 6))(tc.Input((None, 3))).shape == (None, None, 6)
    assert layers.Permute((2, 1))(tc.Input((None, 3))).shape == (None, 3, None)


@pytest.mark.parametrize("target", [(3, 3), (3, -1), (9,), (0, -1)])
def test_reshape_must_fit(target):
    for x in (X, tc.Input((2, 4))):
        with pytest.raises(ValueError, match=r"Reshape 'r': target_shape .* needs as many values. Received: shape"):
            layers.Reshape(target, name="r")(x)


def test_bad_arguments():
    with pytest.raises(ValueError, match="at most one -1. Received"):
        layers.Reshape((-1, -1))
    with pytest.raises(ValueError, match="dims must be a permutation of 1..2. Received"):
        layers.Permute((0, 1))
    with pytest.raises(ValueError, match="Permute 'p' expected 3 axes"):
        layers.Permute((2, 1), name="p")(np.zeros((2, 3, 4, 5)))
    with pytest.raises(ValueError, match="RepeatVector 'v' expected 2 axes"):
        layers.RepeatVector(2, name="v")(X)
    with pytest.raises(ValueError, match="n must be an integer"):
        layers.RepeatVector(0)


# --- functions as layers ---------------------------------------------------------------------------------------


def test_lambda_calls_its_function():
    layer = layers.Lambda(lambda x, power: x**power, arguments={"power": 2})
    assert layer([[3.0]]).tolist() == [[9.0]]
    told = layers.Lambda(lambda x, training: x * (2.0 if training else 1.0))
    assert told([1.0]).tolist() == [1.0]
    assert told([1.0], training=True).tolist() == [2.0]


def test_lambda_finds_its_output_shape():
    double = layers.Lambda(lambda x: tc.ops.concatenate([x, x], -1))
    assert double(tc.Input((None, 3))).shape == (None, None, 6)
    assert layers.Lambda(lambda x: x[:, 0], output_shape=(3,))(tc.Input((5, 3))).shape == (None, 3)
    assert layers.Lambda(lambda x: x[:, 0], output_shape=lambda s: (s[0], s[2]))(tc.Input((5, 3))).shape == (None, 3)
    halves = layers.Lambda(lambda x: tc.ops.split(x, 2, axis=1))
    assert [y.shape for y in halves(tc.Input((6,)))] == [(None, 3), (None, 3)]
    total = layers.Lambda(lambda xs: xs[0] + xs[1])
    assert total([tc.Input((6,)), tc.Input((6,))]).shape == (None, 6)


def test_lambda_is_stored_only_with_a_registered_function():
    layer = layers.Lambda(lambda x: x + 1)
    with pytest.raises(ValueError, match=r"Only functions with a name .* can be saved.*register"):
        layer.get_config()
    assert "lambda" in repr(layer)

    @registry.register("tests", "plus_one")
    def plus_one(x):
        return x + 1

    config = json.loads(json.dumps(layers.Lambda(plus_one).get_config()))
    assert layers.Lambda.from_config(config)([1.0]).tolist() == [2.0]
    with pytest.raises(TypeError, match="Lambda expected a function"):
        layers.Lambda(3)


def test_activation_by_name_function_and_file():
    x = [[-1.0, 2.0]]
    assert layers.Activation("relu")(x).tolist() == [[0.0, 2.0]]
    assert layers.Activation(lambda t: t * 2)(x).tolist() == [[-2.0, 4.0]]
    assert layers.Activation(tc.activations.get("sigmoid")).get_config()["activation"] == "sigmoid"
    with pytest.raises(ValueError, match="Unknown activation"):
        layers.Activation("rely")


# --- Embedding -------------------------------------------------------------------------------------------------


def test_embedding_takes_rows_and_sends_gradients_to_them():
    layer = layers.Embedding(5, 3)
    indices = np.array([[1, 1], [4, 0]])
    y = layer(indices)
    table = layer.get_weights()[0]
    np.testing.assert_array_equal(y, table[indices])
    assert np.abs(table).max() <= 0.05
    y.sum().backward()
    np.testing.assert_array_equal(layer.embeddings.grad, np.outer([1, 2, 0, 0, 1], [1, 1, 1]))
    np.testing.assert_array_equal(layer(indices.astype("float32")), table[indices])
    assert layer(tc.Input((None,), dtype="int32")).shape == (None, None, 3)


@pytest.mark.parametrize("bad", [-1, 5])
def test_embedding_refuses_integers_outside_the_table(bad):
    layer = layers.Embedding(5, 3, name="words")
    with pytest.raises(ValueError, match=rf"Embedding 'words': expected integers in \[0, 5\). Received: .*{bad}"):
        layer(np.array([[2, bad]]))


def test_a_reshape_to_no_shape_is_named():
    with pytest.raises(ValueError, match=r"at most one -1. Received: -3"):
        layers.Reshape(-3)
    assert layers.Reshape(4)(np.zeros((2, 2, 2))).shape == (2, 4)


def test_a_lambda_keeps_the_settings_of_every_layer():
    settings = {"input_shape": (3,), "activity_regularizer": "l2", "name": "f", "trainable": False, "dtype": "float64"}
    layer = layers.Lambda("relu", **settings)
    again = layers.Lambda.from_config(json.loads(json.dumps(layer.get_config())))
    assert again.input_shape_hint == (None, 3)
    assert again.activity_regularizer.get_config() == layer.activity_regularizer.get_config()
    assert again.get_config() == layer.get_config()
    again([[2.0, -1.0, 0.0]])
    np.testing.assert_allclose([loss.item() for loss in again.losses], [0.01 * 4])
