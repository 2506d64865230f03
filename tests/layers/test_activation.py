"""Activation functions and layers: vectors of the specification, SciPy and NumPy formulas."""

import json

import numpy as np
import pytest
from scipy import special

import tinyconv as tc
from tinyconv import activations, layers
from tinyconv.testing import assert_close, check_gradients

Z = np.array([-20.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 7.0, 20.0])
SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772

FORMULAS = {
    "linear": Z,
    "relu": np.maximum(Z, 0),
    "relu6": np.clip(Z, 0, 6),
    "leaky_relu": np.where(Z > 0, Z, 0.2 * Z),
    "elu": np.where(Z > 0, Z, np.expm1(Z)),
    "selu": SCALE * np.where(Z > 0, Z, ALPHA * np.expm1(Z)),
    "sigmoid": special.expit(Z),
    "tanh": np.tanh(Z),
    "softplus": np.logaddexp(0, Z),
    "softsign": Z / (1 + np.abs(Z)),
    "silu": Z * special.expit(Z),
    "swish": Z * special.expit(Z),
    "gelu": Z * special.ndtr(Z),
    "mish": Z * np.tanh(np.logaddexp(0, Z)),
    "hard_sigmoid": np.clip(Z / 6 + 0.5, 0, 1),
    "hard_silu": Z * np.clip(Z / 6 + 0.5, 0, 1),
    "hard_swish": Z * np.clip(Z / 6 + 0.5, 0, 1),
    "exponential": np.exp(Z),
    "softmax": special.softmax(Z),
    "log_softmax": special.log_softmax(Z),
    "heaviside": np.heaviside(Z, 1),
    "step": np.heaviside(Z, 1),
    "sgn": np.sign(Z),
    "celu": np.where(Z > 0, Z, np.expm1(Z)),
    "hard_shrink": np.where(np.abs(Z) > 0.5, Z, 0),
    "hard_tanh": np.clip(Z, -1, 1),
    "log_sigmoid": special.log_expit(Z),
    "soft_shrink": np.sign(Z) * np.maximum(np.abs(Z) - 0.5, 0),
    "sparse_plus": np.select([Z <= -1, Z >= 1], [0, Z], (Z + 1) ** 2 / 4),
    "squareplus": (Z + np.hypot(Z, 2)) / 2,
    "tanh_shrink": Z - np.tanh(Z),
}

KERAS = {  # what Keras 3.15.1 gives for these
    "celu": [-0.91791, -0.25918, 0.0, 0.4, 3.0, 7.0], "glu": [-1.49672, -0.28577, 0.0],
    "tanh_shrink": [-1.51339, -0.00869, 0.0, 0.02005, 2.00495, 6.0], "soft_shrink": [-2.0, 0.0, 0.0, 0.0, 2.5, 6.5],
    "hard_shrink": [-2.5, 0.0, 0.0, 0.0, 3.0, 7.0], "hard_tanh": [-1.0, -0.3, 0.0, 0.4, 1.0, 1.0],
    "squareplus": [0.35078, 0.86119, 1.0, 1.2198, 3.30278, 7.14005],
    "sparse_plus": [0.0, 0.1225, 0.25, 0.49, 3.0, 7.0],
    "log_sigmoid": [-2.57889, -0.85436, -0.69315, -0.51302, -0.04859, -0.00091],
}  # fmt: skip


@pytest.mark.parametrize("name", KERAS)
def test_values_and_gradients_of_the_rarer_ones(name):
    z = np.array([[-2.5, -0.3, 0.0, 0.4, 3.0, 7.0]])
    np.testing.assert_allclose(activations.get(name)(z), [KERAS[name]], atol=1e-5)
    assert check_gradients(activations.get(name), [z + 0.01], order=2).checked


def test_settings_of_the_rarer_ones():
    assert_close(activations.celu(Z, 0.5), np.where(Z > 0, Z, 0.5 * np.expm1(2 * Z)), rtol=1e-12)
    assert_close(activations.soft_shrink(Z, 2.0), np.sign(Z) * np.maximum(np.abs(Z) - 2, 0))
    a, b = np.random.default_rng(0).normal(size=(2, 4, 3))
    assert_close(activations.glu(np.concatenate([a, b]), 0), a * special.expit(b))
    with pytest.raises(ValueError, match=r"glu expected an even size on axis -1. Received: shape \(2, 3\)"):
        activations.glu(np.zeros((2, 3)))


@pytest.mark.parametrize("name", FORMULAS)
def test_every_name_is_its_formula(name):
    function = activations.get(name)
    assert_close(function(tc.Tensor(Z)), FORMULAS[name], rtol=1e-9)
    assert activations.get(activations.serialize(function)) is function


def test_every_registered_name_has_a_formula_here():
    known = {registered for registered in activations._registry.names()}
    assert known - set(FORMULAS) == {"identity", "exp", "glu", "logistic", "sign"}
    assert set(activations.__all__) - set(FORMULAS) == {"deserialize", "get", "glu", "serialize"}


@pytest.mark.parametrize(
    ("name", "z", "value"),
    [
        ("sigmoid", 1, 0.7310585786),
        ("sigmoid", -20, 2.0611536e-9),
        ("elu", -2, -0.8646647168),
        ("elu", -1, -0.6321205588),
        ("softplus", -1, 0.3132616875),
        ("step", 0, 1),
        ("sgn", 0, 0),
    ],
)
def test_numbers_of_the_specification(name, z, value):
    assert activations.get(name)(np.float64(z)).item() == pytest.approx(value, rel=1e-7)


def test_softmax_numbers_of_the_specification():
    np.testing.assert_allclose(activations.softmax(np.array([2.0, 5.0])), [0.04742587, 0.95257413], atol=5e-9)
    np.testing.assert_allclose(activations.softmax(np.array([20.0, 21.0])), [0.26894142, 0.73105858], atol=5e-9)


def test_identifiers():
    assert activations.get(None) is activations.linear
    assert activations.get("ReLU") is activations.relu
    assert activations.get(np.tanh) is np.tanh
    assert activations.serialize(tc.ops.tanh) == "tanh"
    with pytest.raises(ValueError, match="Unknown activation. Did you mean 'softmax'.* Received: 'softmaxx'"):
        activations.get("softmaxx")
    with pytest.raises(ValueError, match="Expected an activation"):
        activations.get(3)


def test_a_layer_serves_as_activation():
    layer = layers.Dense(3, activation=layers.PReLU(alpha_initializer=tc.initializers.Constant(0.5)))
    y = layer([[1.0, -2.0]])
    assert [w.name for w in layer.weights] == ["kernel", "bias", "alpha"]
    again = layers.deserialize(json.loads(json.dumps(layers.serialize(layer))))
    again([[1.0, -2.0]])
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again([[1.0, -2.0]]), y)


def test_relu_with_settings():
    x = np.array([-10.0, 0.5, 1.0, 5.0, 9.0])
    y = activations.relu(x, negative_slope=0.5, max_value=6.0, threshold=1.0)
    assert_close(y, [0.5 * -11, 0.5 * -0.5, 1.0, 5.0, 6.0])
    layer = layers.ReLU(negative_slope=0.5, max_value=6.0, threshold=1.0, dtype="float64")
    assert_close(layer(x), y)
    assert layers.ReLU()([-1.0, 3.0]).tolist() == [0.0, 3.0]
    for name in ("negative_slope", "max_value", "threshold"):
        with pytest.raises(ValueError, match=f"{name} must be a number >= 0. Received: -1"):
            layers.ReLU(**{name: -1})


def test_leaky_relu_layer_and_function_have_keras_defaults():
    assert layers.LeakyReLU(dtype="float64")([-1.0]).tolist() == [-0.3]
    assert activations.leaky_relu(np.array([-1.0])).tolist() == [-0.2]
    assert layers.LeakyReLU(alpha=0.01).negative_slope == 0.01


def test_elu_is_piecewise_for_every_alpha():
    y = layers.ELU(3.0, dtype="float64")(Z)
    assert_close(y, np.where(Z > 0, Z, 3 * np.expm1(Z)))


def test_prelu_learns_one_slope_per_cell_or_per_channel():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    layer = layers.PReLU(shared_axes=(1, 2), dtype="float64")
    assert_close(layer(x), np.maximum(x, 0))
    assert layer.alpha.shape == (1, 1, 5)
    slopes = np.arange(5.0).reshape(1, 1, 5)
    layer.set_weights([slopes])
    assert_close(layer(x), np.where(x > 0, x, slopes * x))
    assert layers.PReLU(shared_axes=[1, 2])(tc.Input((None, None, 5))).shape == (None, None, None, 5)
    full = layers.PReLU()
    full(x)
    assert full.count_params() == 60
    with pytest.raises(ValueError, match="PReLU 'p': expected a known size on every axis but shared_axes=None"):
        layers.PReLU(name="p")(tc.Input((None, 5)))


def test_softmax_layer_along_an_axis():
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    assert_close(layers.Softmax(axis=1, dtype="float64")(x), special.softmax(x, axis=1))
