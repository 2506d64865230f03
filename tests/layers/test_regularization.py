"""Dropout and noise: fractions, scaling, streams; inference is the identity."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import layers

ONES = np.ones((200, 250), "float32")


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_dropout_drops_the_fraction_and_scales_the_rest(rate):
    tc.set_seed(0)
    y = layers.Dropout(rate)(ONES, training=True).numpy()
    dropped = (y == 0).mean()
    assert abs(dropped - rate) < 5 * np.sqrt(rate * (1 - rate) / y.size)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize("layer", [layers.Dropout(0.5), layers.SpatialDropout2D(0.5), layers.GaussianNoise(1.0),
                                   layers.GaussianDropout(0.5), layers.AlphaDropout(0.5),
                                   layers.Dropout(0.5, seed=1)])  # fmt: skip
def test_inference_is_the_identity(layer):
    x = tc.Tensor(np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("float32"))
    assert layer(x) is x
    assert layer(x, training=True) is not x


@pytest.mark.parametrize("layer", [layers.Dropout(0.0), layers.SpatialDropout2D(0.0), layers.GaussianNoise(0.0),
                                   layers.GaussianDropout(0.0), layers.AlphaDropout(0.0)])  # fmt: skip
def test_nothing_to_drop(layer):
    x = tc.Tensor(np.ones((2, 3, 4, 5), "float32"))
    assert layer(x, training=True) is x


def test_every_batch_is_new_and_a_seed_repeats_the_stream():
    first, second = layers.Dropout(0.5, seed=4), layers.Dropout(0.5, seed=4)
    batches = [first(ONES, training=True).numpy() for _ in range(2)]
    assert (batches[0] != batches[1]).any()
    tc.set_seed(99)  # a layer with a seed does not look at the global stream
    for batch in batches:
        np.testing.assert_array_equal(second(ONES, training=True), batch)


def test_a_seeded_layer_leaves_the_global_stream_alone():
    tc.set_seed(1)
    expected = tc.random.next_key()
    tc.set_seed(1)
    layers.Dropout(0.5, seed=4)(ONES, training=True)
    assert tc.random.next_key() == expected


def test_noise_shape_drops_whole_axes():
    tc.set_seed(0)
    y = layers.Dropout(0.5, noise_shape=(None, 1))(ONES, training=True).numpy()
    assert (y == y[:, :1]).all()
    assert 0.3 < (y[:, 0] == 0).mean() < 0.7
    with pytest.raises(ValueError, match="Dropout 'd': noise_shape .* one entry per axis"):
        layers.Dropout(0.5, noise_shape=(1,), name="d")(ONES, training=True)


def test_the_gradient_passes_where_the_input_did():
    x = tc.Tensor(ONES, requires_grad=True)
    y = layers.Dropout(0.5)(x, training=True)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_spatial_dropout_drops_whole_channels(data_format):
    tc.set_seed(0)
    x = np.ones((20, 4, 5, 50) if data_format == "channels_last" else (20, 50, 4, 5), "float32")
    y = layers.SpatialDropout2D(0.4, data_format)(x, training=True).numpy()
    channels = y if data_format == "channels_last" else np.moveaxis(y, 1, 3)
    assert (channels == channels[:, :1, :1]).all()
    assert abs((channels[:, 0, 0] == 0).mean() - 0.4) < 0.08


def test_gaussian_noise():
    tc.set_seed(0)
    noise = layers.GaussianNoise(0.3, dtype="float64")(0 * ONES, training=True).numpy() / 0.3
    n = noise.size
    assert abs(noise.mean()) < 5 / np.sqrt(n)
    assert abs(noise.std() - 1) < 5 / np.sqrt(2 * n)
    assert abs((noise**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((noise**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert np.abs(noise).max() > 3.5
    assert abs(np.corrcoef(noise.ravel()[:-1], noise.ravel()[1:])[0, 1]) < 5 / np.sqrt(n)


def test_gaussian_dropout_has_dropouts_mean_and_variance():
    tc.set_seed(0)
    y = layers.GaussianDropout(0.2, dtype="float64")(ONES, training=True).numpy()
    assert y.mean() == pytest.approx(1, abs=0.02)
    assert y.std() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance_of_selu_networks(rate):
    tc.set_seed(0)
    x = np.random.default_rng(0).standard_normal((400, 500))
    y = layers.AlphaDropout(rate, dtype="float64")(x, training=True).numpy()
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02
    limit = -1.6732632423543772 * 1.0507009873554805  # of SELU at minus infinity
    a = (1 - rate + limit**2 * rate * (1 - rate)) ** -0.5  # the paper's affine correction
    dropped = a * limit + (-a * limit * rate)
    assert abs((np.abs(y - dropped) < 1e-12).mean() - rate) < 0.01
    kept = np.abs(y - dropped) >= 1e-12
    np.testing.assert_allclose(y[kept], a * x[kept] - a * limit * rate, atol=1e-12)


def test_activity_regularization_adds_to_the_losses_of_the_last_call():
    layer = layers.ActivityRegularization(l1=0.5, l2=0.25)
    x = tc.Tensor([[1.0, -2.0], [3.0, 0.0]], requires_grad=True)
    for _ in range(2):
        assert layer(x) is x
    (loss,) = layer.losses
    assert loss.item() == pytest.approx((0.5 * 6 + 0.25 * 14) / 2)
    loss.backward()
    np.testing.assert_allclose(x.grad, [[0.5, -0.75], [1.0, 0.0]])


@pytest.mark.parametrize("rate", [-0.1, 1.0, "half", None, True])
def test_bad_rates(rate):
    for cls in (layers.Dropout, layers.SpatialDropout2D, layers.GaussianDropout, layers.AlphaDropout):
        with pytest.raises(ValueError, match=r"rate must be a number in \[0, 1\). Received"):
            cls(rate)
    with pytest.raises(ValueError, match="stddev must be >= 0"):
        layers.GaussianNoise(-1.0)
