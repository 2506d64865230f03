"""Padding, cropping and enlarging against NumPy and OpenCV."""

import cv2
import numpy as np
import pytest

import tinyconv as tc
from tinyconv import layers
from tinyconv.testing import assert_close

X = np.random.default_rng(0).standard_normal((2, 4, 5, 3))
BORDERS = [(2, ((2, 2), (2, 2))), ((1, 0), ((1, 1), (0, 0))), (((1, 2), (0, 1)), ((1, 2), (0, 1)))]


@pytest.mark.parametrize(("given", "pairs"), BORDERS)
def test_zero_padding(given, pairs):
    expected = np.pad(X, ((0, 0), *pairs, (0, 0)))
    assert_close(layers.ZeroPadding2D(given, dtype="float64")(X), expected)
    assert layers.ZeroPadding2D(given)(tc.Input(X.shape[1:])).shape[1:] == expected.shape[1:]


@pytest.mark.parametrize(("given", "pairs"), [*BORDERS[1:], (1, ((1, 1), (1, 1))), (0, ((0, 0), (0, 0)))])
def test_cropping_undoes_zero_padding(given, pairs):
    padded = np.pad(X, ((0, 0), *pairs, (0, 0)), constant_values=9)
    np.testing.assert_array_equal(layers.Cropping2D(given, dtype="float64")(padded), X)


def test_sizes_of_the_specification():
    assert layers.ZeroPadding2D(3)(tc.Input((100, 100, 1))).shape == (None, 106, 106, 1)
    assert layers.ZeroPadding2D(3)(tc.Input((224, 224, 3))).shape == (None, 230, 230, 3)


@pytest.mark.parametrize("factors", [2, 3, (1, 2), (3, 1)])
def test_nearest_repeats(factors):
    high, wide = (factors, factors) if isinstance(factors, int) else factors
    expected = X.repeat(high, 1).repeat(wide, 2)
    np.testing.assert_array_equal(layers.UpSampling2D(factors, dtype="float64")(X), expected)


@pytest.mark.parametrize("factors", [2, 3, (1, 2), (4, 3)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_bilinear_is_opencvs(factors, data_format):
    high, wide = (factors, factors) if isinstance(factors, int) else factors
    layer = layers.UpSampling2D(factors, data_format, "bilinear", dtype="float64")
    x = X if data_format == "channels_last" else np.moveaxis(X, 3, 1)
    expected = [cv2.resize(image, (5 * wide, 4 * high), interpolation=cv2.INTER_LINEAR) for image in X]
    y = layer(x).numpy()
    y = y if data_format == "channels_last" else np.moveaxis(y, 1, 3)
    np.testing.assert_allclose(y, expected, atol=1e-6)  # OpenCV interpolates with float32 weights


def test_sequences():
    x = X[:, :, 0]
    assert_close(layers.ZeroPadding1D((1, 2), dtype="float64")(x), np.pad(x, ((0, 0), (1, 2), (0, 0))))
    assert_close(layers.ZeroPadding1D(dtype="float64")(x), np.pad(x, ((0, 0), (1, 1), (0, 0))))
    assert_close(layers.Cropping1D((1, 2), dtype="float64")(x), x[:, 1:-2])
    assert_close(layers.Cropping1D(dtype="float64")(x), x[:, 1:-1])
    assert_close(layers.UpSampling1D(3, dtype="float64")(x), x.repeat(3, 1))


def test_errors():
    with pytest.raises(ValueError, match=r"Cropping2D 'c': cropping .* leaves nothing. Received: shape \(2, 4, 5, 3\)"):
        layers.Cropping2D(2, name="c")(X)
    with pytest.raises(ValueError, match="Cropping2D 'c': cropping .* leaves nothing"):
        layers.Cropping2D(2, name="c")(tc.Input((4, 5, 3)))
    for bad in (-1, (1, 2, 3), ((1, 2), 3.5), "same"):
        with pytest.raises(ValueError, match=r"padding must be .*\(top, bottom\).* Received"):
            layers.ZeroPadding2D(bad)
    with pytest.raises(ValueError, match="interpolation must be one of 'nearest', 'bilinear', .*. Received: 'cubic'"):
        layers.UpSampling2D(interpolation="cubic")
    with pytest.raises(ValueError, match="size must be"):
        layers.UpSampling2D(0)


@pytest.mark.parametrize("interpolation", ["bicubic", "lanczos3", "lanczos5"])
def test_other_interpolations_are_those_of_resize(interpolation):
    y = layers.UpSampling2D((2, 3), interpolation=interpolation, dtype="float64")(X)
    assert_close(y, tc.ops.resize(X, (8, 15), interpolation))
