"""Convolution layers against SciPy, OpenCV, loops and the counts and sizes of the specification."""

import cv2
import numpy as np
import pytest
from scipy import signal

import tinyconv as tc
from tinyconv import layers
from tinyconv.testing import assert_close

RNG = np.random.default_rng(0)


def images(*shape, dtype="float64"):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


def with_weights(layer, x, *weights):
    """``layer`` built for ``x``, with the given weights."""
    layer(x)
    layer.set_weights(weights)
    return layer


# --- values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("padding", "mode"), [("valid", "valid"), ("same", "same"), (2, "full")])
def test_conv2d_is_scipys_correlation(padding, mode):
    x, w, b = images(2, 8, 9, 3), images(3, 3, 3, 4), images(4)
    layer = with_weights(layers.Conv2D(4, 3, padding=padding, dtype="float64"), x, w, b)
    expected = np.zeros((2, *signal.correlate2d(x[0, :, :, 0], w[:, :, 0, 0], mode).shape, 4)) + b
    for n, c, o in np.ndindex(2, 3, 4):
        expected[n, :, :, o] += signal.correlate2d(x[n, :, :, c], w[:, :, c, o], mode)
    assert_close(layer(x), expected)


@pytest.mark.parametrize("size", [(3, 3), (5, 3), (1, 7)])
def test_conv2d_is_opencvs_filter(size):
    x, w = images(1, 20, 21, 1), images(*size, 1, 1)
    layer = with_weights(layers.Conv2D(1, size, padding="same", use_bias=False, dtype="float64"), x, w)
    expected = cv2.filter2D(x[0, :, :, 0], -1, w[:, :, 0, 0], borderType=cv2.BORDER_CONSTANT)
    assert_close(layer(x)[0, :, :, 0], expected)


def test_activation_and_bias_are_applied_in_this_order():
    layer = with_weights(layers.Conv2D(1, 1, activation="relu"), np.ones((1, 1, 1, 1)), [[[[-2.0]]]], [3.0])
    assert layer([[[[1.0]]]]).item() == 1.0
    assert layer([[[[2.0]]]]).item() == 0.0


def test_strided_and_dilated_windows_are_parts_of_the_plain_one():
    x, w = images(1, 11, 12, 2), images(3, 3, 2, 2)
    plain = with_weights(layers.Conv2D(2, 3, use_bias=False, dtype="float64"), x, w)
    strided = with_weights(layers.Conv2D(2, 3, (2, 3), use_bias=False, dtype="float64"), x, w)
    assert_close(strided(x), plain(x).numpy()[:, ::2, ::3])
    dilated = with_weights(layers.Conv2D(2, 3, dilation_rate=2, use_bias=False, dtype="float64"), x, w)
    wide = np.zeros((5, 5, 2, 2))
    wide[::2, ::2] = w
    assert_close(dilated(x), with_weights(layers.Conv2D(2, 5, use_bias=False, dtype="float64"), x, wide)(x))


def test_groups_are_convolutions_side_by_side():
    x, w = images(2, 6, 6, 4), images(3, 3, 2, 6)
    grouped = with_weights(layers.Conv2D(6, 3, groups=2, use_bias=False, dtype="float64"), x, w)
    halves = [
        with_weights(layers.Conv2D(3, 3, use_bias=False, dtype="float64"), x[..., part], w[..., filters])(x[..., part])
        for part, filters in ((slice(0, 2), slice(0, 3)), (slice(2, 4), slice(3, 6)))
    ]
    assert_close(grouped(x), np.concatenate(halves, -1))


def test_same_padding_puts_the_odd_zero_at_the_end():
    x = np.arange(4.0).reshape(1, 1, 4, 1)
    w = np.array([1.0, 10.0]).reshape(1, 2, 1, 1)
    end = with_weights(layers.Conv2D(1, (1, 2), padding="SAME", use_bias=False), x, w)
    start = with_weights(layers.Conv2D(1, (1, 2), padding="same_lower", use_bias=False), x, w)
    assert end(x)[0, 0, :, 0].tolist() == [10.0, 21.0, 32.0, 3.0]
    assert start(x)[0, 0, :, 0].tolist() == [0.0, 10.0, 21.0, 32.0]


def test_depthwise_is_one_correlation_per_channel():
    x, w, b = images(1, 7, 7, 3), images(3, 3, 3, 2), images(6)
    layer = with_weights(layers.DepthwiseConv2D(3, depth_multiplier=2, dtype="float64"), x, w, b)
    expected = [
        signal.correlate2d(x[0, :, :, c], w[:, :, c, m], "valid") + b[2 * c + m] for c in range(3) for m in range(2)
    ]
    assert_close(layer(x)[0], np.stack(expected, -1))


def test_separable_is_a_convolution_with_a_kernel_of_rank_one():
    x, depthwise, pointwise, b = images(1, 7, 7, 3), images(3, 3, 3, 2), images(1, 1, 6, 4), images(4)
    layer = layers.SeparableConv2D(4, 3, depth_multiplier=2, padding="same", dtype="float64")
    with_weights(layer, x, depthwise, pointwise, b)
    kernel = np.einsum("hwcm,cmo->hwco", depthwise, pointwise.reshape(3, 2, 4))
    assert_close(layer(x), with_weights(layers.Conv2D(4, 3, padding="same", dtype="float64"), x, kernel, b)(x))


@pytest.mark.parametrize(("strides", "padding"), [(1, "valid"), (2, "same"), ((2, 3), "valid"), (2, ((1, 0), (0, 1)))])
def test_transposed_convolution_is_the_adjoint(strides, padding):
    y, w = images(1, 4, 5, 2), images(3, 2, 3, 2)  # (KH, KW, filters, C): the adjoint maps 3 channels to 2
    layer = layers.Conv2DTranspose(3, (3, 2), strides, padding, use_bias=False, dtype="float64")
    grown = with_weights(layer, y, w)(y).numpy()
    x = images(*grown.shape)
    forward = layers.Conv2D(2, (3, 2), strides, padding, use_bias=False, dtype="float64")
    shrunk = with_weights(forward, x, w)(x).numpy()
    assert shrunk.shape == y.shape
    assert np.vdot(shrunk, y) == pytest.approx(np.vdot(x, grown))


def test_transposed_bias_and_sizes():
    layer = layers.Conv2DTranspose(2, 3, 2, padding="valid", bias_initializer=tc.initializers.Constant(5.0))
    y = layer(np.zeros((1, 4, 4, 1)))
    assert y.shape == (1, 9, 9, 2)
    assert (y.numpy() == 5).all()
    for padding, extra, size in [("valid", None, 9), ("same", None, 8), ("valid", 1, 10), (1, None, 7), (1, 1, 8)]:
        layer = layers.Conv2DTranspose(2, 3, 2, padding, extra)
        assert layer(np.zeros((1, 4, 4, 1))).shape == (1, size, size, 2)


def test_conv1d_is_scipys_correlation():
    x, w, b = images(1, 9, 2), images(3, 2, 2), images(2)
    layer = with_weights(layers.Conv1D(2, 3, dtype="float64"), x, w, b)
    expected = [sum(np.correlate(x[0, :, c], w[:, c, o], "valid") for c in range(2)) + b[o] for o in range(2)]
    assert_close(layer(x)[0], np.stack(expected, -1))


def test_causal_padding_looks_at_the_past_only():
    x = images(1, 10, 1)
    layer = layers.Conv1D(1, 3, padding="CAUSAL", dilation_rate=2, dtype="float64")
    first = layer(x).numpy()
    x[0, 6:] += 1
    changed = layer(x).numpy()
    assert first.shape == (1, 10, 1)
    np.testing.assert_array_equal(changed[0, :6], first[0, :6])
    assert (changed[0, 6:] != first[0, 6:]).all()


@pytest.mark.parametrize("padding", ["valid", "same", ((1, 0), (2, 1))])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_locally_connected_by_loops(padding, data_format):
    x, filters = images(2, 5, 6, 2), 3
    layer = layers.LocallyConnected2D(filters, (2, 3), (2, 1), padding, data_format, dtype="float64")
    given = x if data_format == "channels_last" else np.moveaxis(x, 3, 1)
    layer(given)
    kernel, bias = (images(*w.shape) for w in layer.get_weights())
    layer.set_weights([kernel, bias])
    oh, ow, _ = bias.shape
    pads = {"valid": ((0, 0), (0, 0)), "same": ((0, 1), (1, 1))}.get(padding, padding)
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    expected = np.empty((2, oh, ow, filters))
    for i, j in np.ndindex(oh, ow):
        patch = padded[:, 2 * i : 2 * i + 2, j : j + 3].reshape(2, -1)
        expected[:, i, j] = patch @ kernel[i * ow + j] + bias[i, j]
    y = layer(given).numpy()
    assert_close(y if data_format == "channels_last" else np.moveaxis(y, 1, 3), expected)


def test_locally_connected_with_shared_weights_is_a_convolution():
    x, w = images(1, 6, 6, 2), images(3, 3, 2, 4)
    layer = layers.LocallyConnected2D(4, 3, use_bias=False, dtype="float64")
    with_weights(layer, x, np.tile(w.reshape(1, 18, 4), (16, 1, 1)))
    assert_close(layer(x), with_weights(layers.Conv2D(4, 3, use_bias=False, dtype="float64"), x, w)(x))


# --- numbers of the specification ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        (layers.Conv2D(20, 5), (28, 28, 1), 520),
        (layers.Conv2D(50, 5), (14, 14, 20), 25_050),
        (layers.Conv2D(10, 5), (32, 32, 3), 760),
        (layers.Conv2D(200, 5, padding="same"), (150, 100, 3), 15_200),
        (layers.Conv2D(32, 3), (32, 32, 3), 896),
        (layers.SeparableConv2D(256, 3, use_bias=False), (8, 8, 256), 67_840),
        (layers.Conv2D(256, 3, use_bias=False), (8, 8, 256), 589_824),
        (layers.DepthwiseConv2D(3, use_bias=False), (8, 8, 256), 2_304),
        (layers.Conv2D(256, 5, groups=2), (27, 27, 96), 5 * 5 * 48 * 256 + 256),
        (layers.LocallyConnected2D(1, 5, use_bias=False), (5, 5, 3), 75),
        (layers.Dense(500), (2450,), 1_225_500),
        (layers.Dense(16), (256,), 4_112),
        (layers.BatchNormalization(), (32, 32, 32), 128),
    ],
)
def test_parameter_counts(layer, shape, count):
    layer(tc.Input(shape))
    assert layer.count_params() == count


@pytest.mark.parametrize(
    ("size", "kernel", "strides", "padding", "expected"),
    [
        ((227, 227), 11, 4, 0, (55, 55)),
        ((224, 224), 11, 4, "valid", (54, 54)),
        ((5, 5), 3, 1, 1, (5, 5)),
        ((5, 5), 3, 2, "valid", (2, 2)),
        ((5, 5), 3, 1, "VALID", (3, 3)),
        ((100, 100), 5, 1, 2, (100, 100)),
        ((13, 13), 6, 5, "same", (3, 3)),
        ((13, 13), 6, 5, "valid", (2, 2)),
        ((5, 7), 3, 2, "same", (3, 4)),
        ((299, 299), 3, 2, "valid", (149, 149)),
        ((17, 17), (1, 7), 1, "same", (17, 17)),
        ((None, 100), 3, 2, "same", (None, 50)),
        ((None, None), 3, 2, "valid", (None, None)),
    ],
)
def test_output_sizes(size, kernel, strides, padding, expected):
    layer = layers.Conv2D(4, kernel, strides, padding)
    assert layer(tc.Input((*size, 3))).shape == (None, *expected, 4)


def test_strict_strides():
    strict = layers.Conv2D(96, 11, 4, strict=True, name="conv1")
    with pytest.raises(ValueError, match=r"Conv2D 'conv1': The strides must tile .* Received: height output 54.25"):
        strict(tc.Input((224, 224, 3)))
    with pytest.raises(ValueError, match="must tile"):
        strict(np.zeros((1, 224, 224, 3)))
    assert strict(tc.Input((227, 227, 3))).shape == (None, 55, 55, 96)
    assert strict(tc.Input((None, None, 3))).shape == (None, None, None, 96)


def test_weight_names_and_order():
    x = tc.Input((8, 8, 4))
    for layer, names in [
        (layers.Conv2D(2, 3), ["kernel", "bias"]),
        (layers.Conv2D(2, 3, use_bias=False), ["kernel"]),
        (layers.DepthwiseConv2D(3), ["depthwise_kernel", "bias"]),
        (layers.SeparableConv2D(2, 3), ["depthwise_kernel", "pointwise_kernel", "bias"]),
        (layers.Conv2DTranspose(2, 3), ["kernel", "bias"]),
        (layers.BatchNormalization(), ["gamma", "beta", "moving_mean", "moving_variance"]),
    ]:
        layer(x)
        assert [w.name for w in layer.weights] == names
    assert layers.Conv2D(2, (3, 1)).weights == []


def test_penalties_and_constraints_reach_the_weights():
    layer = layers.SeparableConv2D(2, 3, depthwise_regularizer="l1", pointwise_regularizer=tc.regularizers.L2(0.5),
                                   bias_constraint="non_neg", activity_regularizer="l2")  # fmt: skip
    y = layer(np.ones((2, 5, 5, 3)))
    depthwise, pointwise, _ = layer.get_weights()
    values = [loss.item() for loss in layer.losses]
    expected = [0.01 * np.abs(depthwise).sum(), 0.5 * np.square(pointwise).sum(), 0.01 * np.square(y.numpy()).sum() / 2]
    assert values == pytest.approx(expected, rel=1e-5)
    assert isinstance(layer.bias.constraint, tc.constraints.NonNeg)
    assert layer.depthwise_kernel.constraint is None


# --- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"filters": 0}, "filters must be an integer, each >= 1. Received: 0"),
        ({"filters": 2.5}, "filters"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size must be an integer or a pair .* Received: \\(3, 3, 3\\)"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"strides": -1}, "strides"),
        ({"dilation_rate": 0}, "dilation_rate"),
        ({"padding": "full"}, "padding must be .*'same_lower'. Received: 'full'"),
        ({"padding": -1}, "padding must be"),
        ({"padding": [1, [2, 3]]}, "padding must be"),
        ({"groups": 3}, "filters must be a multiple of groups=3. Received: filters=4"),
        ({"data_format": "NHWC"}, "data_format must be 'channels_last' or 'channels_first'. Received: 'NHWC'"),
        ({"activation": "reluu"}, "Unknown activation. Did you mean 'relu'.* Received: 'reluu'"),
        ({"kernel_initializer": "glorot"}, "Unknown initializer.* Received: 'glorot'"),
        ({"kernel_regularizer": "l3"}, "Unknown regularizer.* Received: 'l3'"),
        ({"bias_constraint": 3}, "Expected a constraint.* Received: 3"),
        ({"dtype": "float33"}, "float33"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises((ValueError, TypeError), match=message):
        layers.Conv2D(**{"filters": 4, "kernel_size": 3, **kwargs})


def test_bad_arguments_name_the_layer():
    with pytest.raises(ValueError, match="^Conv2D 'conv1': Unknown activation.* Received: 'reluu'"):
        layers.Conv2D(4, 3, activation="reluu", name="conv1")
    with pytest.raises(ValueError, match="^Conv2D: name must be"):
        layers.Conv2D(4, 3, name="a/b")


def test_bad_inputs_name_layer_expectation_and_what_came():
    layer = layers.Conv2D(4, 3, name="conv1")
    with pytest.raises(ValueError, match=r"Conv2D 'conv1' expected 4 axes \(batch, height, width, channels\). "
                                         r"Received: shape \(None, 28, 28\)"):  # fmt: skip
        layer(np.zeros((5, 28, 28)))
    with pytest.raises(ValueError, match="Conv2D 'conv1': .*must fit.* height >= 3. Received: height 2 with padding 0"):
        layer(np.zeros((1, 2, 5, 3)))
    with pytest.raises(ValueError, match="Conv2D 'conv1': the number of channels must be known.* Received: shape"):
        layers.Conv2D(4, 3, name="conv1")(tc.Input((8, 8, None)))
    layer(np.zeros((1, 5, 5, 3)))
    with pytest.raises(ValueError, match="Conv2D 'conv1' was built for 3 channels or features on axis 3. Received"):
        layer(np.zeros((1, 5, 5, 1)))
    with pytest.raises(ValueError, match="Conv2D .*multiple of groups=2. Received: 3"):
        layers.Conv2D(4, 3, groups=2)(np.zeros((1, 5, 5, 3)))
    with pytest.raises(ValueError, match=r"LocallyConnected2D .*image size must be known"):
        layers.LocallyConnected2D(4, 3)(tc.Input((None, 8, 3)))
    with pytest.raises(ValueError, match="output_padding must be smaller than strides"):
        layers.Conv2DTranspose(4, 3, 2, output_padding=2)(np.zeros((1, 5, 5, 3)))


def test_default_data_format_is_taken_at_construction():
    tc.config.set_image_data_format("channels_first")
    try:
        layer = layers.Conv2D(4, 3)
    finally:
        tc.config.set_image_data_format("channels_last")
    assert layer(np.zeros((1, 3, 8, 8))).shape == (1, 4, 6, 6)
    assert layer.get_config()["data_format"] == "channels_first"
    assert "data_format='channels_first'" in repr(layer)
