"""Normalisation layers: vectors of the specification and NumPy formulas."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import layers
from tinyconv.testing import assert_close

X = np.random.default_rng(0).standard_normal((4, 3, 5, 6)) * 3 + 2


def normal(x, axes, epsilon=1e-3):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


@pytest.mark.parametrize(
    ("epsilon", "expected"),
    [
        (1e-7, [-1.34164073, -0.44721358, 0.44721358, 1.34164073]),
        (1e-3, [-1.34110445, -0.44703482, 0.44703482, 1.34110445]),
    ],
)
def test_batch_normalization_vectors(epsilon, expected):
    layer = layers.BatchNormalization(epsilon=epsilon, dtype="float64")
    y = layer([[1.0], [2.0], [3.0], [4.0]], training=True)
    np.testing.assert_allclose(y[:, 0].numpy(), expected, atol=5e-9)
    _, _, mean, variance = layer.get_weights()
    assert mean[0] == pytest.approx(0.025, abs=1e-12)
    assert variance[0] == pytest.approx(1.0025, abs=1e-12)


def test_batch_normalization_in_training_and_inference():
    layer = layers.BatchNormalization(momentum=0.9, dtype="float64")
    layer(X)
    gamma, beta = np.arange(1.0, 7), np.arange(6.0)
    layer.set_weights([gamma, beta, np.zeros(6), np.ones(6)])
    assert_close(layer(X, training=True), gamma * normal(X, (0, 1, 2)) + beta)
    mean, variance = 0.1 * X.mean((0, 1, 2)), 0.9 + 0.1 * X.var((0, 1, 2))
    assert_close(layer.moving_mean, mean)
    assert_close(layer.moving_variance, variance)
    assert_close(layer(X), gamma * (X - mean) / np.sqrt(variance + 1e-3) + beta)
    assert_close(layer.moving_mean, mean)  # inference changes nothing


def test_batch_normalization_of_a_constant_batch_is_beta():
    layer = layers.BatchNormalization()
    y = layer(np.full((8, 3), 1e4, "float32"), training=True).numpy()
    np.testing.assert_allclose(y, 0, atol=1e-3)


def test_frozen_batch_normalization_is_in_inference():
    layer = layers.BatchNormalization()
    expected = layer(X).numpy()
    layer.trainable = False
    before = layer.get_weights()
    np.testing.assert_array_equal(layer(X, training=True), expected)
    for now, then in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_moving_statistics_are_not_trained_and_keep_no_graph():
    layer = layers.BatchNormalization()
    y = layer(X, training=True)
    assert [w.name for w in layer.trainable_weights] == ["gamma", "beta"]
    assert [w.name for w in layer.non_trainable_weights] == ["moving_mean", "moving_variance"]
    y.sum().backward()
    assert layer.moving_mean.grad is None
    assert layer.moving_mean.node is None
    assert layer.gamma.grad.shape == (6,)


@pytest.mark.parametrize(("options", "names"), [({"scale": False}, ["beta"]), ({"center": False}, ["gamma"]),
                                                ({"scale": False, "center": False}, [])])  # fmt: skip
def test_batch_normalization_without_scale_or_shift(options, names):
    layer = layers.BatchNormalization(**options)
    for training in (True, False):
        layer(X, training=training)
    assert [w.name for w in layer.weights] == [*names, "moving_mean", "moving_variance"]


def test_batch_normalization_errors():
    layer = layers.BatchNormalization(name="bn")
    with pytest.raises(ValueError, match=r"BatchNormalization 'bn'.*at least one element.* Received: \(0, 3\)"):
        layer(np.zeros((0, 3)), training=True)
    with pytest.raises(ValueError, match="BatchNormalization 'bn' was built for 3 channels"):
        layer(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="BatchNormalization 'bn2'.*axis 1 must have a known size"):
        layers.BatchNormalization(axis=1, name="bn2")(tc.Input((None, 3)))
    with pytest.raises(ValueError, match="axis must be an integer other than 0"):
        layers.BatchNormalization(axis=0)
    with pytest.raises(ValueError, match="axis must lie in"):
        layers.BatchNormalization(axis=3)(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="momentum must lie in"):
        layers.BatchNormalization(momentum=1.5)


@pytest.mark.parametrize("axis", [-1, 1, (1, 2), (-1, 1)])
def test_layer_normalization(axis):
    layer = layers.LayerNormalization(axis, dtype="float64")
    layer(X)
    axes = sorted(a % 4 for a in ([axis] if isinstance(axis, int) else axis))
    shape = [X.shape[a] for a in axes]
    gamma, beta = np.random.default_rng(1).standard_normal((2, *shape))
    layer.set_weights([gamma, beta])
    spread = [X.shape[a] if a in axes else 1 for a in range(4)]
    expected = normal(X, tuple(axes)) * gamma.reshape(spread) + beta.reshape(spread)
    assert_close(layer(X), expected)
    assert_close(layer(X, training=True), expected)


@pytest.mark.parametrize("groups", [1, 2, 3, 6, -1])
def test_group_normalization(groups):
    layer = layers.GroupNormalization(groups, dtype="float64")
    layer(X)
    gamma, beta = np.random.default_rng(1).standard_normal((2, 6))
    layer.set_weights([gamma, beta])
    n = 6 if groups == -1 else groups
    parts = [normal(part, (1, 2, 3)) for part in np.split(X, n, axis=3)]
    assert_close(layer(X), np.concatenate(parts, axis=3) * gamma + beta)
    with pytest.raises(ValueError, match="GroupNormalization 'g'.* multiple of groups=4"):
        layers.GroupNormalization(4, name="g")(X)


def test_unit_normalization():
    assert_close(layers.UnitNormalization(dtype="float64")(X), X / np.linalg.norm(X, axis=-1, keepdims=True))
    lengths = np.sqrt(np.square(X).sum((1, 2), keepdims=True))
    assert_close(layers.UnitNormalization((1, 2), dtype="float64")(X), X / lengths)
    assert layers.UnitNormalization()([[0.0, 0.0]]).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("radius", "x", "expected"),
    [
        (1, [100, 200, 300, 400], [59.460356, 73.483917, 71.242569, 104.338972]),
        (2, [100, 200, 300, 400], [36.741959, 46.473616, 69.710424, 94.990092]),
        (1, [1, 2, 3, 4], [0.99992501, 1.99958010, 2.99869566, 3.99850066]),
    ],
)
def test_local_response_vectors(radius, x, expected):
    layer = layers.LocalResponseNormalization(radius, bias=1.0, alpha=2e-5, beta=0.75, dtype="float64")
    y = layer(np.array(x, "float64").reshape(1, 1, 1, 4))
    np.testing.assert_allclose(y.numpy().ravel(), expected, rtol=2e-8)


def test_local_response_by_loops():
    layer = layers.LocalResponseNormalization(2, bias=2.0, alpha=0.1, beta=0.75, dtype="float64")
    expected = np.empty_like(X)
    for c in range(6):
        squares = np.square(X[..., max(0, c - 2) : c + 3]).sum(-1)
        expected[..., c] = X[..., c] / (2 + 0.1 * squares) ** 0.75
    assert_close(layer(X), expected)


@pytest.mark.parametrize("axis", [-1, 1, (1, 2), (-1, 1)])
def test_rms_normalization_is_the_formula(axis):
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 2))
    layer = layers.RMSNormalization(axis, epsilon=0.01, dtype="float64")
    layer(x)
    (scale,) = layer.get_weights()
    scale = np.random.default_rng(1).standard_normal(scale.shape)
    layer.set_weights([scale])
    axes = sorted(a % 4 for a in ([axis] if isinstance(axis, int) else axis))
    root = np.sqrt((x**2).mean(tuple(axes), keepdims=True) + 0.01)
    assert_close(layer(x), x / root * scale.reshape([n if i in axes else 1 for i, n in enumerate(x.shape)]))


def test_rms_normalization_of_large_float16():
    y = layers.RMSNormalization(dtype="float16")(np.full((1, 4), 3000.0, "float16"))
    np.testing.assert_array_equal(y, np.ones((1, 4)))
