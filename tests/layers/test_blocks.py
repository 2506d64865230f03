"""Blocks: parameter counts of the specification, composition from plain layers, and what zero weights mean."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import layers
from tinyconv.testing import assert_close

rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("channels", "filters", "strides", "count"),
    [(64, 64, 1, 74240), (64, 128, 2, 230912), (128, 128, 1, 295936), (128, 256, 2, 920576), (256, 256, 1, 1181696),
     (256, 512, 2, 3676160), (512, 512, 1, 4722688)],
)  # fmt: skip
def test_residual_units_of_resnet34(channels, filters, strides, count):
    unit = layers.ResidualUnit(filters, strides)
    y = unit(tc.Input((8, 8, channels)))
    assert unit.count_params() == count
    assert y.shape == (None, 8 // strides, 8 // strides, filters)


@pytest.mark.parametrize(
    ("channels", "filters", "count"),
    [(192, (64, 96, 128, 16, 32, 32), 163696), (256, (128, 128, 192, 32, 96, 64), 388736),
     (480, (192, 96, 208, 16, 48, 64), 376176), (512, (160, 112, 224, 24, 64, 64), 449160),
     (512, (128, 128, 256, 24, 64, 64), 510104), (512, (112, 144, 288, 32, 64, 64), 605376),
     (528, (256, 160, 320, 32, 128, 128), 868352), (832, (256, 160, 320, 32, 128, 128), 1043456),
     (832, (384, 192, 384, 48, 128, 128), 1444080)],
)  # fmt: skip
def test_inception_modules_of_googlenet(channels, filters, count):
    module = layers.InceptionModule(filters)
    y = module(tc.Input((14, 14, channels)))
    assert module.count_params() == count
    assert y.shape == (None, 14, 14, filters[0] + filters[2] + filters[4] + filters[5])


def test_squeeze_excite_of_the_specification():
    block = layers.SqueezeExcite()
    assert block(tc.Input((7, 7, 256))).shape == (None, 7, 7, 256)
    assert block.count_params() == 8464
    assert layers.SqueezeExcite()(np.ones((1, 2, 2, 3))).shape == (1, 2, 2, 3)  # fewer maps than the ratio


def test_a_unit_with_zero_main_path_is_the_identity_on_what_is_not_negative():
    x = rng.standard_normal((2, 5, 5, 3))
    unit = layers.ResidualUnit(3, dtype="float64")
    unit(x)
    unit.conv2.set_weights([np.zeros((3, 3, 3, 3))])
    assert_close(unit(x), np.maximum(x, 0))
    unit = layers.ResidualUnit(3, dtype="float64")
    unit(x)
    unit.bn2.gamma.assign(np.zeros(3))  # the other way to begin as the identity
    assert_close(unit(x), np.maximum(x, 0))


@pytest.mark.parametrize(("filters", "strides"), [(3, 1), (4, 1), (3, 2)])
@pytest.mark.parametrize("training", [False, True])
def test_the_residual_unit_layer_by_layer(filters, strides, training):
    x = rng.standard_normal((2, 5, 6, 3))
    unit = layers.ResidualUnit(filters, strides, dtype="float64")
    unit(x)
    unit.set_weights([rng.uniform(0.5, 1, w.shape) for w in unit.get_weights()])
    k1, g1, b1, m1, v1, k2, g2, b2, m2, v2, *skip = unit.get_weights()

    def norm(y, gamma, beta, mean, variance):
        if training:
            mean, variance = y.mean((0, 1, 2)), y.var((0, 1, 2))
        return gamma * (y - mean) / np.sqrt(variance + 1e-3) + beta

    def conv(y, kernel, strides=1):
        return tc.ops.conv2d(y, kernel, strides=strides, padding="same").numpy()

    y = norm(conv(np.maximum(norm(conv(x, k1, strides), g1, b1, m1, v1), 0), k2), g2, b2, m2, v2)
    shortcut = norm(conv(x, skip[0], strides), *skip[1:]) if skip else x
    assert bool(skip) == (filters != 3 or strides != 1)
    assert_close(unit(x, training=training), np.maximum(y + shortcut, 0))
    assert (unit.bn1.moving_mean.numpy() != m1).any() == training


def test_squeeze_and_excite_by_hand():
    x = rng.standard_normal((2, 3, 4, 6))
    block = layers.SqueezeExcite(2, dtype="float64")
    block(x)
    w1, b1, w2, b2 = block.get_weights()
    hidden = np.maximum(x.mean((1, 2)) @ w1 + b1, 0)
    scales = 1 / (1 + np.exp(-(hidden @ w2 + b2)))
    assert_close(block(x), x * scales[:, None, None])


def test_the_inception_module_by_hand():
    x = rng.standard_normal((2, 5, 4, 3))
    module = layers.InceptionModule((1, 2, 3, 2, 1, 2), dtype="float64")
    module(x)
    one, _, reduce3, _, three, _, reduce5, _, five, _, project, _ = module.get_weights()

    def conv(y, kernel):
        return np.maximum(tc.ops.conv2d(y, kernel, padding="same").numpy(), 0)  # biases are 0 still

    pooled = tc.ops.max_pool2d(x, 3, 1, "same").numpy()
    branches = [conv(x, one), conv(conv(x, reduce3), three), conv(conv(x, reduce5), five), conv(pooled, project)]
    assert_close(module(x), np.concatenate(branches, 3))


@pytest.mark.parametrize(
    "make", [lambda **o: layers.ResidualUnit(4, 2, **o), lambda **o: layers.SqueezeExcite(2, **o),
             lambda **o: layers.InceptionModule((1, 1, 2, 1, 1, 1), **o)]
)  # fmt: skip
def test_a_frozen_block_stays_as_it_is(make):
    x, y = rng.standard_normal((8, 6, 6, 2)).astype("float32"), rng.standard_normal((8, 1)).astype("float32")
    for frozen in (make(trainable=False), make()):
        model = tc.Sequential([tc.Input((6, 6, 2)), frozen, layers.Flatten(), layers.Dense(1)])
        frozen.trainable = False
        before = frozen.get_weights()
        assert len(model.trainable_weights) == 2
        model.compile("sgd", "mse")
        model.fit(x, y, batch_size=4, epochs=2, verbose=0)
        for now, then in zip(frozen.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, then)


def test_names_of_weights_tell_their_place():
    model = tc.Sequential([tc.Input((4, 4, 2)), layers.ResidualUnit(3, name="unit")])
    names = tc.saving.weight_names(model)
    assert names[0] == "unit/conv1/kernel"
    assert names[-1] == "unit/skip_bn/moving_variance"


def test_errors():
    with pytest.raises(ValueError, match="filters must be six integers, .* Received: .*1, 2, 3"):
        layers.InceptionModule((1, 2, 3))
    with pytest.raises(ValueError, match="filters must be an integer, each >= 1"):
        layers.ResidualUnit(0)
    with pytest.raises(ValueError, match="ratio must be an integer"):
        layers.SqueezeExcite(0.5)
