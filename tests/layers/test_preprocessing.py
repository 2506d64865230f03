"""Resizing against OpenCV, crops, rescaling; Normalization against scikit-learn's scaler."""

import cv2
import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

import tinyconv as tc
from tinyconv import layers
from tinyconv.testing import assert_close

rng = np.random.default_rng(0)
X = rng.uniform(0, 255, (2, 6, 10, 3)).astype("float32")


def test_resizing_is_opencvs():
    expected = [cv2.resize(image, (7, 4), interpolation=cv2.INTER_LINEAR) for image in X]
    np.testing.assert_allclose(layers.Resizing(4, 7)(X), expected, rtol=1e-5)
    expected = [cv2.resize(image, (5, 3), interpolation=cv2.INTER_AREA) for image in X]
    np.testing.assert_allclose(layers.Resizing(3, 5, "area")(X), expected, rtol=1e-5)


RATIOS = [((4, 4), slice(0, 6), slice(2, 8)), ((3, 12), slice(2, 4), slice(0, 10))]


@pytest.mark.parametrize(("size", "rows", "columns"), RATIOS)
def test_cropping_to_the_ratio(size, rows, columns):
    part = X[:, rows, columns]
    layer = layers.Resizing(*size, crop_to_aspect_ratio=True)
    np.testing.assert_array_equal(layer(X), layers.Resizing(*size)(part))


@pytest.mark.parametrize(
    ("size", "pads"),
    [((5, 5), ((2, 2), (0, 0))), ((3, 12), ((0, 0), (7, 7))), ((9, 10), ((1, 1), (0, 0))), ((3, 4), ((0, 0), (0, 0)))],
)
def test_padding_to_the_ratio(size, pads):
    """The same at both ends, as Keras 3.15 does it: of an odd number of missing rows, one stays missing."""
    whole = np.pad(X, ((0, 0), *pads, (0, 0)), constant_values=9)
    layer = layers.Resizing(*size, pad_to_aspect_ratio=True, fill_value=9.0)
    np.testing.assert_array_equal(layer(X), layers.Resizing(*size)(whole))


def test_center_crop():
    np.testing.assert_array_equal(layers.CenterCrop(3, 4)(X), X[:, 1:4, 3:7])
    np.testing.assert_array_equal(layers.CenterCrop(6, 10)(X), X)
    np.testing.assert_array_equal(layers.CenterCrop(9, 9)(X), layers.Resizing(9, 9, crop_to_aspect_ratio=True)(X))


def test_bytes_become_floats():
    pixels = X.astype("uint8")
    y = layers.Rescaling(1 / 255)(pixels)
    assert y.dtype == "float32"
    np.testing.assert_allclose(y, pixels / 255, rtol=1e-6)
    means = [123.68, 116.779, 103.939]
    np.testing.assert_allclose(layers.Rescaling(1.0, [-m for m in means])(pixels), pixels - means, rtol=1e-4, atol=1e-4)
    assert layers.Resizing(3, 3)(pixels).dtype == "float32"


# --- Normalization ---------------------------------------------------------------------------------------------

FEATURES = rng.normal([3, -20, 0.1], [1, 5, 0.01], (137, 3))


@pytest.mark.parametrize("batch_size", [None, 1, 10, 200])
def test_adapting_is_what_scikit_learns_scaler_does(batch_size):
    scaler = StandardScaler().fit(FEATURES)
    layer = layers.Normalization(dtype="float64")
    layer.adapt(FEATURES, batch_size)
    assert_close(layer.mean, scaler.mean_[None])
    assert_close(layer.variance, scaler.var_[None])
    assert_close(layer(FEATURES), scaler.transform(FEATURES))
    back = layers.Normalization(mean=scaler.mean_, variance=scaler.var_, invert=True, dtype="float64")
    assert_close(back(scaler.transform(FEATURES)), FEATURES)


def test_numbers_far_from_zero_keep_their_variance():
    layer = layers.Normalization(dtype="float64")
    layer.adapt(1e8 + FEATURES[:, 2:], batch_size=7)
    assert layer.variance.item() == pytest.approx(np.var(1e8 + FEATURES[:, 2]), rel=1e-6)


@pytest.mark.parametrize(("axis", "others"), [(-1, (0, 1, 2)), (1, (0, 2, 3)), ((1, 3), (0, 2)), (None, (0, 1, 2, 3))])
def test_axes(axis, others):
    x = X.astype("float64")
    layer = layers.Normalization(axis, dtype="float64")
    layer.adapt(x)
    assert_close(layer.mean, x.mean(others, keepdims=True))
    assert_close(layer(x), (x - x.mean(others, keepdims=True)) / x.std(others, keepdims=True))
    assert [w.shape for w in layer.weights] == [x.mean(others).shape] * 2
    assert layer.trainable_weights == []


def test_batches_generators_and_steps():
    layer = layers.Normalization(dtype="float64")
    layer.adapt(iter([FEATURES[:50], tc.Tensor(FEATURES[50:60]), FEATURES[60:].tolist()]))
    assert_close(layer.mean, FEATURES.mean(0, keepdims=True))
    layer.adapt(iter([FEATURES[:50], FEATURES[50:]]), steps=1)  # begins afresh
    assert_close(layer.variance, FEATURES[:50].var(0, keepdims=True))
    assert layer.mean.shape == (1, 3)


def test_a_feature_that_never_varies_stays_finite():
    layer = layers.Normalization()
    layer.adapt(np.ones((5, 2)))
    assert layer(np.ones((1, 2))).tolist() == [[0.0, 0.0]]


def test_statistics_are_saved_with_the_model(tmp_path):
    layer = layers.Normalization(name="norm")
    layer.adapt(FEATURES)
    model = tc.Sequential([tc.Input((3,)), layer, layers.Dense(2)])
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(tc.load_model(tmp_path / "model")(FEATURES), model(FEATURES))


def test_errors():
    with pytest.raises(ValueError, match="Normalization .*was given its mean and variance and cannot adapt"):
        layers.Normalization(mean=0.0, variance=1.0).adapt(FEATURES)
    with pytest.raises(ValueError, match="mean and variance go together. Received: mean=1.0, variance=None"):
        layers.Normalization(mean=1.0)
    with pytest.raises(ValueError, match="expected samples to adapt to. Received: none"):
        layers.Normalization().adapt(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="axis must be None or integers other than 0"):
        layers.Normalization(axis=0)
    with pytest.raises(ValueError, match="array or an iterable of batches. Received: int"):
        layers.Normalization().adapt(3)
    with pytest.raises(ValueError, match="batches of numbers. Received: shape .* dtype <U"):
        layers.Normalization().adapt(np.array([["a"]]))
    with pytest.raises(ValueError, match="batches of samples alone. Received: a tuple of 2"):
        layers.Normalization().adapt(iter([(FEATURES, FEATURES)]))
    with pytest.raises(ValueError, match="exclude each other"):
        layers.Resizing(3, 3, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True)
    with pytest.raises(ValueError, match="fill_mode must be 'constant'. Received: 'reflect'"):
        layers.Resizing(3, 3, pad_to_aspect_ratio=True, fill_mode="reflect")
    for scale in ("big", [1, None], np.inf):
        with pytest.raises(ValueError, match="scale must be a finite number, or a sequence of them. Received"):
            layers.Rescaling(scale)


def test_category_encoding():
    x = np.array([[1, 3, 1], [0, 0, 2]])
    hot = np.eye(4)[x]  # (N, k, num_tokens)
    np.testing.assert_array_equal(layers.CategoryEncoding(4)(x), hot.max(1))
    np.testing.assert_array_equal(layers.CategoryEncoding(4, "one_hot")(x), hot)
    np.testing.assert_array_equal(layers.CategoryEncoding(4, "count")(x), hot.sum(1))
    weights = np.array([[0.1, 0.2, 0.3], [1, 2, 3]])
    found = layers.CategoryEncoding(4, "count", dtype="float64")(x, count_weights=weights)
    np.testing.assert_array_equal(found, np.einsum("nkt,nk->nt", hot, weights))
    # Shapes as in Keras 3.15.1
    assert layers.CategoryEncoding(4)([1, 3]).tolist() == [0, 1, 0, 1]
    assert layers.CategoryEncoding(4, "one_hot")([1, 3]).tolist() == np.eye(4)[[1, 3]].tolist()
    assert layers.CategoryEncoding(4, "one_hot")([[1], [3]]).tolist() == np.eye(4)[[1, 3]].tolist()
    for bad in ([[4]], [[-1]]):
        with pytest.raises(ValueError, match=r"CategoryEncoding.* expected integers in \[0, 4\). Received"):
            layers.CategoryEncoding(4)(bad)
    with pytest.raises(ValueError, match="count_weights are for output_mode='count'. Received: mode 'multi_hot'"):
        layers.CategoryEncoding(4)(x, count_weights=weights)
    with pytest.raises(ValueError, match="output_mode must be one of .* Received: 'int'"):
        layers.CategoryEncoding(4, "int")


def test_category_encoding_in_a_model(tmp_path):
    words, weights = tc.Input((3,), dtype="int32"), tc.Input((3,))
    counts = layers.CategoryEncoding(4, "count")(words, count_weights=weights)
    model = tc.Model([words, weights], layers.Dense(2)(counts))
    x = [np.array([[1, 3, 1]]), np.array([[0.5, 1.0, 0.25]], "float32")]
    np.testing.assert_allclose(model(x), np.array([[0, 0.75, 0, 1]]) @ model.get_weights()[0], rtol=1e-6)
    model.save(tmp_path / "model.tinyconv")
    np.testing.assert_array_equal(tc.load_model(tmp_path / "model.tinyconv")(x), model(x))
