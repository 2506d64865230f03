"""Pooling layers: vectors and sizes of the specification, and loops."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import layers
from tinyconv.testing import assert_close


def image(rows):
    return np.array(rows, "float64")[None, :, :, None]


def pooled(layer, rows):
    return layer(image(rows))[0, :, :, 0].tolist()


def by_loops(x, reduce, size, strides):
    (kh, kw), (sh, sw), (n, h, w, c) = size, strides, x.shape
    oh, ow = (h - kh) // sh + 1, (w - kw) // sw + 1
    y = np.empty((n, oh, ow, c))
    for i, j in np.ndindex(oh, ow):
        y[:, i, j] = reduce(x[:, i * sh : i * sh + kh, j * sw : j * sw + kw], axis=(1, 2))
    return y


@pytest.mark.parametrize(("cls", "reduce"), [(layers.MaxPooling2D, np.max), (layers.AveragePooling2D, np.mean)])
@pytest.mark.parametrize(("size", "strides"), [((2, 2), (2, 2)), ((3, 2), (1, 2)), ((3, 3), (2, 2))])
def test_windows_by_loops(cls, reduce, size, strides):
    x = np.random.default_rng(0).standard_normal((2, 7, 8, 3))
    assert_close(cls(size, strides, dtype="float64")(x), by_loops(x, reduce, size, strides))


def test_vectors_of_the_specification():
    assert pooled(layers.MaxPooling2D(), [[1, 5], [3, 2]]) == [[5.0]]
    assert pooled(layers.MaxPooling2D(), [[3, 1], [3, 2]]) == [[3.0]]
    assert pooled(layers.AveragePooling2D(), [[3, 1], [3, 2]]) == [[2.25]]


def test_padding_never_wins_and_counts_only_where_told():
    rows = [[-1, -2], [-3, -4]]
    assert pooled(layers.MaxPooling2D(3, 1, "same"), rows) == [[-1, -1], [-1, -1]]
    assert pooled(layers.AveragePooling2D(3, 1, "same"), rows) == [[-2.5, -2.5], [-2.5, -2.5]]
    counted = layers.AveragePooling2D(3, 1, "same", count_include_pad=True, dtype="float64")
    assert_close(counted(image(rows))[0, :, :, 0], np.full((2, 2), -10 / 9))


@pytest.mark.parametrize(
    ("size", "pool", "strides", "padding", "expected"),
    [(4, 2, 1, "valid", 3), (4, 2, 2, "valid", 2), (7, 2, None, "valid", 3), (55, 3, 2, "valid", 27),
     (112, 3, 2, "same", 56), (28, 2, None, "SAME", 14), (7, 7, None, "valid", 1), (35, 3, 1, "same", 35)],
)  # fmt: skip
def test_output_sizes(size, pool, strides, padding, expected):
    for cls in (layers.MaxPooling2D, layers.AveragePooling2D):
        assert cls(pool, strides, padding)(tc.Input((size, size, 5))).shape == (None, expected, expected, 5)


def test_ties_choose_the_first_and_nan_is_kept():
    x = tc.Tensor(image([[2, 2], [2, 2]]), requires_grad=True)
    layers.MaxPooling2D(dtype="float64")(x).sum().backward()
    assert x.grad[0, :, :, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert np.isnan(pooled(layers.MaxPooling2D(), [[np.nan, 1], [2, 3]])[0][0])


def test_shift_by_one_may_change_nothing_and_by_two_moves_the_output_by_one():
    x = np.zeros((1, 8, 8, 1))
    x[0, 2, 2] = 1
    pool = layers.MaxPooling2D()
    first = pool(x).numpy()
    np.testing.assert_array_equal(pool(np.roll(x, 1, 2)), first)
    np.testing.assert_array_equal(pool(np.roll(x, 2, 2)), np.roll(first, 1, 2))


def test_global_pooling():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    for keepdims in (False, True):
        mean = layers.GlobalAveragePooling2D(keepdims=keepdims, dtype="float64")
        largest = layers.GlobalMaxPool2D(keepdims=keepdims, dtype="float64")
        assert_close(mean(x), x.mean((1, 2), keepdims=keepdims))
        assert_close(largest(x), x.max((1, 2), keepdims=keepdims))


def test_depthwise_maximum():
    x = np.random.default_rng(0).standard_normal((2, 3, 3, 6))
    expected = x.reshape(2, 3, 3, 2, 3).max(-1)
    assert_close(layers.DepthMaxPooling2D(3, dtype="float64")(x), expected)
    with pytest.raises(ValueError, match="DepthMaxPooling2D 'deep'.* multiple of .*3.* Received"):
        layers.DepthMaxPooling2D(3, name="deep")(tc.Input((5, 5, 20)))
    with pytest.raises(ValueError, match="DepthMaxPooling2D 'deep'.* multiple of 3.* Received"):
        layers.DepthMaxPooling2D(3, name="deep")(np.zeros((1, 5, 5, 20)))


def test_sequences_are_images_of_height_one():
    x = np.random.default_rng(0).standard_normal((2, 9, 3))
    for one, two in [(layers.MaxPool1D, layers.MaxPool2D), (layers.AvgPool1D, layers.AvgPool2D)]:
        for options in ({"pool_size": 3}, {"pool_size": 3, "strides": 2, "padding": "same"}):
            wide = {k: (1, v) if isinstance(v, int) else v for k, v in options.items()}
            expected = two(**wide)(x[:, None]).numpy()[:, 0]
            np.testing.assert_array_equal(one(**options)(x), expected)
    assert_close(layers.GlobalMaxPooling1D(dtype="float64")(x), x.max(1))
    assert_close(layers.GlobalAveragePooling1D(dtype="float64")(x), x.mean(1))


def test_errors():
    with pytest.raises(ValueError, match="MaxPooling2D 'p': The window must fit.* Received: height 1"):
        layers.MaxPooling2D(name="p")(np.zeros((1, 1, 4, 1)))
    with pytest.raises(ValueError, match="MaxPooling2D 'p': The strides must tile"):
        layers.MaxPooling2D(strict=True, name="p")(tc.Input((7, 8, 1)))
    with pytest.raises(ValueError, match="padding smaller than the pool size"):
        layers.MaxPooling2D(2, padding=2)(np.zeros((1, 4, 4, 1)))
    with pytest.raises(ValueError, match="pool_size must be"):
        layers.MaxPooling2D(0)
    with pytest.raises(ValueError, match="padding must be"):
        layers.MaxPooling1D(padding=(1, 2, 3))


def test_aliases():
    assert layers.MaxPool2D is layers.MaxPooling2D
    assert layers.AvgPool2D is layers.AveragePooling2D
    assert layers.GlobalAvgPool2D is layers.GlobalAveragePooling2D
    assert layers.Convolution2D is layers.Conv2D
    assert isinstance(layers.get("MaxPool2D"), layers.MaxPooling2D)
