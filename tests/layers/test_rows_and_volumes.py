"""Layers on sequences and on volumes against SciPy, loops, and the layers on images that they are made of."""

import numpy as np
import pytest
import scipy.signal

import tinyconv as tc
from tinyconv import layers
from tinyconv.testing import assert_close

rng = np.random.default_rng(0)
ROWS, VOLUMES = rng.standard_normal((2, 9, 3)), rng.standard_normal((2, 4, 5, 6, 3))


def made(layer, x):
    """The layer, built, with weights that are all different."""
    layer(x)
    layer.set_weights([rng.standard_normal(w.shape) for w in layer.get_weights()])
    return layer


def correlate(x, w, mode="valid"):
    return scipy.signal.correlate(x, w, mode)


# --- sequences -------------------------------------------------------------------------------------------------


def test_depthwise_1d_is_one_correlation_per_channel():
    layer = made(layers.DepthwiseConv1D(3, depth_multiplier=2, dtype="float64"), ROWS)
    kernel, bias = layer.get_weights()
    expected = [[correlate(row[:, c], kernel[:, c, m]) for c in range(3) for m in range(2)] for row in ROWS]
    assert_close(layer(ROWS), np.moveaxis(expected, 1, 2) + bias)


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
def test_separable_1d_is_depthwise_then_a_dense_layer_at_every_step(padding):
    layer = made(layers.SeparableConv1D(4, 3, padding=padding, dtype="float64"), ROWS)
    depthwise, pointwise, bias = layer.get_weights()
    x = np.pad(ROWS, ((0, 0), {"valid": (0, 0), "same": (1, 1), "causal": (2, 0)}[padding], (0, 0)))
    y = np.moveaxis([[correlate(row[:, c], depthwise[:, c, 0]) for c in range(3)] for row in x], 1, 2)
    assert_close(layer(ROWS), y @ pointwise[0] + bias)


@pytest.mark.parametrize("cls", [layers.SeparableConv1D, layers.DepthwiseConv1D])
def test_causal_outputs_do_not_depend_on_what_comes_later(cls):
    arguments = (4, 3) if cls is layers.SeparableConv1D else (3,)
    layer = made(cls(*arguments, padding="causal", dilation_rate=2, dtype="float64"), ROWS)
    changed = ROWS.copy()
    changed[:, 5:] += 1
    first, second = layer(ROWS).numpy(), layer(changed).numpy()
    np.testing.assert_array_equal(first[:, :5], second[:, :5])
    assert (first[:, 5:] != second[:, 5:]).all()
    assert layer(tc.Input((None, 3))).shape[1] is None
    assert layer.compute_output_shape((None, 9, 3))[1] == 9


def test_causal_is_for_convolutions_that_go_forward():
    for make in (lambda: layers.Conv1DTranspose(2, 3, padding="causal"), lambda: layers.Conv2D(2, 3, padding="causal"),
                 lambda: layers.LocallyConnected1D(2, 3, padding="causal")):  # fmt: skip
        with pytest.raises(ValueError, match="padding must be .* Received: 'causal'"):
            make()


@pytest.mark.parametrize(
    ("strides", "padding", "length"),
    [(1, "valid", 11), (2, "valid", 19), (2, "same", 18), (3, 1, 25), (4, "valid", 36)],
)
def test_transposed_1d_adds_kernels_into_a_canvas(strides, padding, length):
    layer = made(layers.Conv1DTranspose(2, 3, strides, padding, dtype="float64"), ROWS)
    kernel, bias = layer.get_weights()
    canvas = np.zeros((2, 60, 2))
    for i in range(9):
        canvas[:, i * strides : i * strides + 3] += np.einsum("nc,koc->nko", ROWS[:, i], kernel)
    start = {"valid": 0, "same": 0, 1: 1}[padding]  # 19 - 18 cells are cut, all at the end
    y = layer(ROWS)
    assert y.shape == (2, length, 2) == layer.compute_output_shape((2, 9, 3))
    assert_close(y, canvas[:, start : start + length] + bias)


def test_locally_connected_1d_by_loops():
    layer = made(layers.LocallyConnected1D(4, 3, strides=2, dtype="float64"), ROWS)
    kernel, bias = layer.get_weights()
    assert (kernel.shape, bias.shape) == ((4, 9, 4), (4, 4))
    expected = np.stack([ROWS[:, 2 * i : 2 * i + 3].reshape(2, 9) @ kernel[i] for i in range(4)], 1)
    assert_close(layer(ROWS), expected + bias)
    with pytest.raises(ValueError, match="LocallyConnected1D 'l': the length must be known"):
        layers.LocallyConnected1D(2, 3, name="l")(tc.Input((None, 3)))


# --- volumes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_conv3d_is_scipys_correlation(padding):
    layer = made(layers.Conv3D(2, 3, padding=padding, dtype="float64"), VOLUMES)
    kernel, bias = layer.get_weights()
    expected = [[sum(correlate(x[..., c], kernel[..., c, o], padding) for c in range(3)) for o in range(2)]
                for x in VOLUMES]  # fmt: skip
    assert_close(layer(VOLUMES), np.moveaxis(expected, 1, -1) + bias)


def test_sizes_as_in_keras():
    x = tc.Input((10, 12, 14, 2))
    assert layers.Conv3D(5, 3)(x).shape == (None, 8, 10, 12, 5)
    assert layers.Conv3D(5, 3, strides=2, padding="same")(x).shape == (None, 5, 6, 7, 5)
    assert layers.Conv3D(5, (1, 2, 3), dilation_rate=2)(x).shape == (None, 10, 10, 10, 5)
    assert layers.Conv3DTranspose(5, 3, strides=2)(x).shape == (None, 21, 25, 29, 5)
    assert layers.Conv3DTranspose(5, 3, strides=2, padding="same")(x).shape == (None, 20, 24, 28, 5)
    assert layers.MaxPooling3D()(x).shape == (None, 5, 6, 7, 2)
    assert layers.AveragePooling3D(3, padding="same")(x).shape == (None, 4, 4, 5, 2)
    assert layers.Conv3D(5, 3)(tc.Input((None, 12, None, 2))).shape == (None, None, 10, None, 5)
    assert layers.Conv3D(8, 3)(tc.Input((4, 9, 9, 1))).shape == (None, 2, 7, 7, 8)


def test_pooling_3d_by_loops():
    for cls, reduce in ((layers.MaxPooling3D, np.max), (layers.AveragePooling3D, np.mean)):
        y = cls((2, 2, 3), (1, 2, 3), dtype="float64")(VOLUMES)
        for i, j, k in np.ndindex(3, 2, 2):
            window = VOLUMES[:, i : i + 2, 2 * j : 2 * j + 2, 3 * k : 3 * k + 3]
            assert_close(y[:, i, j, k], reduce(window, (1, 2, 3)))


def test_global_and_adaptive_pooling():
    assert_close(layers.GlobalAveragePooling3D(dtype="float64")(VOLUMES), VOLUMES.mean((1, 2, 3)))
    assert_close(layers.GlobalMaxPool3D(dtype="float64")(VOLUMES), VOLUMES.max((1, 2, 3)))
    whole = layers.AdaptiveAveragePooling3D(1, dtype="float64")(VOLUMES)
    assert_close(whole[:, 0, 0, 0], VOLUMES.mean((1, 2, 3)))
    # Windows over 5 x 6 cells: rows 0-2 and 2-4, columns 0-1, 1-2, 3-4 and 4-5.
    y = layers.AdaptiveMaxPooling2D((2, 4), dtype="float64")(VOLUMES[:, 0])
    assert_close(y[:, 1, 2], VOLUMES[:, 0, 2:5, 3:5].max((1, 2)))
    assert layers.AdaptiveAveragePooling2D(7)(tc.Input((None, None, 5))).shape == (None, 7, 7, 5)


def test_borders_and_upsampling():
    pads = ((1, 2), (0, 1), (3, 0))
    padded = np.pad(VOLUMES, ((0, 0), *pads, (0, 0)))
    assert_close(layers.ZeroPadding3D(pads, dtype="float64")(VOLUMES), padded)
    assert_close(layers.Cropping3D(pads, dtype="float64")(padded), VOLUMES)
    assert_close(layers.Cropping3D(dtype="float64")(VOLUMES), VOLUMES[:, 1:-1, 1:-1, 1:-1])
    repeated = VOLUMES.repeat(2, 1).repeat(3, 3)
    assert_close(layers.UpSampling3D((2, 1, 3), dtype="float64")(VOLUMES), repeated)
    for bad in ((1, 2), ((1, 2), (3, 4)), -1, "same"):
        with pytest.raises(ValueError, match=r"padding must be an integer .*\(depth, height, width\).* Received"):
            layers.ZeroPadding3D(bad)


@pytest.mark.parametrize(("cls", "x"), [(layers.SpatialDropout1D, ROWS), (layers.SpatialDropout3D, VOLUMES)])
def test_spatial_dropout_drops_whole_channels(cls, x):
    tc.set_seed(0)
    x = np.ones((30, *x.shape[1:-1], 50), "float32")
    y = cls(0.4)(x, training=True).numpy()
    flat = y.reshape(30, -1, 50)
    assert (flat == flat[:, :1]).all()
    assert abs((flat[:, 0] == 0).mean() - 0.4) < 5 * np.sqrt(0.24 / 1500)
    np.testing.assert_allclose(flat[flat != 0], 1 / 0.6, rtol=1e-6)


def test_errors_name_axis_and_layer():
    with pytest.raises(ValueError, match=r"Conv3D 'c' expected 5 axes \(batch, depth, height, width, channels\)"):
        layers.Conv3D(2, 3, name="c")(np.zeros((1, 4, 4, 1)))
    for x in (np.zeros((1, 2, 4, 4, 1)), tc.Input((2, 4, 4, 1))):
        with pytest.raises(ValueError, match="Conv3D 'c': .* expected depth >= 3. Received: depth 2"):
            layers.Conv3D(2, 3, name="c")(x)
    with pytest.raises(ValueError, match=r"kernel_size must be an integer or three \(depth, height, width\)"):
        layers.Conv3D(2, (3, 3))
    with pytest.raises(ValueError, match=r"padding must be .*\(depth, height, width\)"):
        layers.Conv3D(2, 3, padding=(1, 1))
