"""ImageDataGenerator: statistics against NumPy and scikit-learn, random parameters against Keras's order of drawing."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv.preprocessing.image import ImageDataGenerator

FORMATS = st.sampled_from(["channels_last", "channels_first"])
EVERYTHING = {
    "rotation_range": 40,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "shear_range": 20,
    "zoom_range": 0.2,
    "channel_shift_range": 30,
    "brightness_range": (0.5, 1.5),
    "horizontal_flip": True,
    "vertical_flip": True,
}


def images(count, height, width, channels, data_format="channels_last", seed=0):
    batch = np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    return batch if data_format == "channels_last" else np.ascontiguousarray(batch.transpose(0, 3, 1, 2))


# --- statistics --------------------------------------------------------------------------------------------------


@given(
    count=st.integers(2, 600), height=st.integers(1, 5), width=st.integers(1, 5), channels=st.sampled_from([1, 3]),
    data_format=FORMATS, rescale=st.sampled_from([None, 1 / 255]),
)  # fmt: skip
def test_featurewise(count, height, width, channels, data_format, rescale):
    x = images(count, height, width, channels, data_format)
    generator = ImageDataGenerator(True, False, True, data_format=data_format, rescale=rescale)
    generator.fit(x)
    reference = x.astype(np.float64) * (rescale or 1)
    axes = (0, 1, 2) if data_format == "channels_last" else (0, 2, 3)
    mean, std = reference.mean(axes, keepdims=True), reference.std(axes, keepdims=True)
    np.testing.assert_allclose(generator.mean, mean[0], rtol=1e-5)
    np.testing.assert_allclose(generator.std, std[0], rtol=1e-4, atol=1e-6)
    expected = (reference - mean) / (std + 1e-6)
    for got in (generator.standardize(x), np.stack([generator.standardize(image) for image in x])):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=2e-4)


@given(count=st.integers(1, 5), height=st.integers(1, 6), channels=st.sampled_from([1, 3]), data_format=FORMATS)
def test_samplewise(count, height, channels, data_format):
    x = images(count, height, 4, channels, data_format)
    generator = ImageDataGenerator(
        samplewise_center=True, samplewise_std_normalization=True, data_format=data_format, dtype="float64"
    )
    flat = x.reshape(count, -1).astype(np.float64)
    expected = (flat - flat.mean(1, keepdims=True)) / (flat.std(1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(generator.standardize(x).reshape(count, -1), expected, atol=1e-9)


def test_whitening_is_that_of_scikit_learn():
    """Rotated back to pixels, scikit-learn's whitened principal components are ZCA."""
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = images(200, 3, 2, 3).astype(np.float64)
    x[..., 1] += x[..., 0]
    with pytest.warns(UserWarning, match="featurewise_center on"):
        generator = ImageDataGenerator(zca_whitening=True, dtype="float64")
    generator.fit(x)
    white = generator.standardize(x).reshape(200, -1)

    centred = x - x.mean((0, 1, 2))
    u, s, _ = np.linalg.svd(centred.reshape(200, -1).T, full_matrices=False)
    matrix = u @ np.diag(np.sqrt(200) / (s + 1e-6)) @ u.T
    np.testing.assert_allclose(white, centred.reshape(200, -1) @ matrix, atol=1e-9)

    x -= x.mean(0)  # by pixel, as scikit-learn does
    pca = decomposition.PCA(whiten=True, svd_solver="full").fit(x.reshape(200, -1))
    expected = pca.transform(x.reshape(200, -1)) @ pca.components_ * np.sqrt(200 / 199)
    generator.fit(x)
    np.testing.assert_allclose(generator.standardize(x).reshape(200, -1), expected, atol=1e-6)
    np.testing.assert_allclose(expected.T @ expected / 200, np.eye(18), atol=1e-9)


def test_whitening_with_fewer_images_than_pixels():
    x = images(5, 4, 4, 3)
    generator = ImageDataGenerator(featurewise_center=True, zca_whitening=True)
    generator.fit(x)
    white = generator.standardize(x).reshape(5, -1).astype(np.float64)
    np.testing.assert_allclose(white @ white.T, 5 * np.eye(5), atol=1e-3)  # all singular values are sqrt(5)


def test_fit_sees_what_flow_gives():
    x = images(40, 6, 6, 3)
    generator = ImageDataGenerator(
        featurewise_center=True, preprocessing_function=lambda image: 255 - image, rescale=1 / 255, **EVERYTHING
    )
    generator.fit(x, augment=True, rounds=40, seed=3)
    first = generator.mean
    generator.fit(x, augment=True, rounds=40, seed=3)
    np.testing.assert_array_equal(generator.mean, first)
    given_ = np.concatenate([next(generator.flow(x, batch_size=40, seed=s)) for s in range(40)])
    assert np.abs(given_.mean((0, 1, 2))).max() < 0.02


def test_standardize_leaves_its_input_alone():
    x = images(2, 3, 3, 3).astype(np.float32)
    before = x.copy()
    ImageDataGenerator(rescale=0.5, preprocessing_function=lambda image: image + 1).standardize(x)
    np.testing.assert_array_equal(x, before)


def test_preprocessing_comes_before_rescaling():
    generator = ImageDataGenerator(preprocessing_function=lambda image: image - 5, rescale=0.5)
    np.testing.assert_array_equal(generator.standardize(np.full((2, 2, 1), 25)), np.full((2, 2, 1), 10))
    with pytest.raises(ValueError, match=r"keep the shape \(2, 2, 1\). Received: shape \(2, 2\)"):
        ImageDataGenerator(preprocessing_function=lambda image: image[..., 0]).standardize(np.zeros((2, 2, 1)))


def test_statistics_that_are_missing_are_told():
    generator = ImageDataGenerator(featurewise_center=True)
    with pytest.warns(UserWarning, match="does nothing before fit"):
        np.testing.assert_array_equal(generator.standardize(np.ones((2, 2, 1))), np.ones((2, 2, 1)))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"zca_whitening": True}, "featurewise_center on"),
        ({"featurewise_std_normalization": True}, "featurewise_center on"),
        ({"samplewise_std_normalization": True}, "samplewise_center on"),
        ({"zca_whitening": True, "featurewise_center": True, "featurewise_std_normalization": True}, "tion off"),
    ],
)
def test_settings_that_imply_others(options, told):
    with pytest.warns(UserWarning, match=told):
        ImageDataGenerator(**options)


def test_fit_without_statistics_to_compute_does_nothing():
    generator = ImageDataGenerator(horizontal_flip=True, vertical_flip=True)
    generator.fit(images(3, 4, 4, 1))
    assert (generator.mean, generator.std, generator.zca_whitening_matrix) == (None, None, None)


# --- random parameters -------------------------------------------------------------------------------------------


def keras_parameters(draw, size, width_shift, height_shift):
    """The parameters of EVERYTHING in the order in which Keras draws them, from a legacy random state."""

    def shift(extent, pixels):
        if isinstance(extent, float):
            drawn = draw.uniform(-extent, extent)
        else:
            drawn = draw.choice(extent)
            drawn = drawn * draw.choice([-1, 1])
        return drawn * pixels if np.max(extent) < 1 else drawn

    theta = draw.uniform(-40, 40)
    tx, ty = shift(height_shift, size[0]), shift(width_shift, size[1])
    shear = draw.uniform(-20, 20)
    zx, zy = draw.uniform(0.8, 1.2, 2)
    horizontal, vertical = draw.random_sample() < 0.5, draw.random_sample() < 0.5
    return [theta, tx, ty, shear, zx, zy, horizontal, vertical, draw.uniform(-30, 30), draw.uniform(0.5, 1.5)]


@given(
    seed=st.integers(0, 2**32 - 1),
    shifts=st.tuples(*[st.sampled_from([0.2, 3.0, 4, [-5, 1, 2], [0.1, 0.3]])] * 2),
    data_format=FORMATS,
)
def test_parameters_are_drawn_as_keras_does(seed, shifts, data_format):
    settings = {**EVERYTHING, "width_shift_range": shifts[0], "height_shift_range": shifts[1]}
    generator = ImageDataGenerator(data_format=data_format, **settings)
    shape = (20, 30, 3) if data_format == "channels_last" else (3, 20, 30)
    got = generator.get_random_transform(shape, seed=seed)
    expected = keras_parameters(np.random.RandomState(seed), (20, 30), *shifts)
    np.testing.assert_allclose(list(got.values()), expected, rtol=1e-12)
    assert list(got) == [
        "theta", "tx", "ty", "shear", "zx", "zy", "flip_horizontal", "flip_vertical", "channel_shift_intensity",
        "brightness",
    ]  # fmt: skip


def test_ranges():
    generator = ImageDataGenerator(**{**EVERYTHING, "width_shift_range": 5, "zoom_range": (0.5, 0.75)})
    drawn = [generator.get_random_transform((10, 10, 3), seed=s) for s in range(300)]
    reach = {name: np.ptp([d[name] for d in drawn]) for name in ("theta", "tx", "ty", "shear", "zx", "zy")}
    assert 70 < reach["theta"] <= 80
    assert 3.5 < reach["tx"] <= 4
    assert sorted({d["ty"] for d in drawn}) == list(range(-4, 5))
    assert 35 < reach["shear"] <= 40
    assert all(0.5 <= d["zx"] <= 0.75 and 0.5 <= d["zy"] <= 0.75 for d in drawn)
    assert 100 < sum(d["flip_horizontal"] for d in drawn) < 200
    off = ImageDataGenerator().get_random_transform((10, 10, 3))
    assert off == dict(theta=0, tx=0, ty=0, shear=0, zx=1, zy=1, flip_horizontal=False, flip_vertical=False,
                       channel_shift_intensity=None, brightness=None)  # fmt: skip


def test_random_transform_is_reproducible():
    generator, image = ImageDataGenerator(**EVERYTHING), images(1, 15, 11, 3)[0]
    np.testing.assert_array_equal(generator.random_transform(image, 5), generator.random_transform(image, 5))
    tc.set_seed(8)
    first = generator.random_transform(image)
    assert not np.array_equal(first, generator.random_transform(image))
    tc.set_seed(8)
    np.testing.assert_array_equal(generator.random_transform(image), first)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"fill_mode": "mirror"}, "fill_mode must be one of 'nearest', .*, 'wrap'. Received: 'mirror'"),
        ({"zoom_range": (1, 2, 3)}, "zoom_range must be a number or a pair"),
        ({"brightness_range": 0.5}, "brightness_range must be a pair of numbers. Received: 0.5"),
        ({"validation_split": 1.0}, "Received: 1.0"),
        ({"data_format": "last"}, "Received: 'last'"),
        ({"interpolation_order": 6}, "Received: 6"),
        ({"dtype": "uint8"}, "dtype must be a float type. Received: uint8"),
        ({"width_shift_range": -0.1}, "Received: -0.1"),
        ({"height_shift_range": "much"}, "Received: 'much'"),
    ],
)
def test_wrong_arguments(options, told):
    with pytest.raises(ValueError, match=told):
        ImageDataGenerator(**options)


def test_fit_expects_a_batch():
    with pytest.raises(ValueError, match=r"shape \(N, H, W, C\), N >= 1. Received: shape \(3, 3, 1\)"):
        ImageDataGenerator().fit(np.zeros((3, 3, 1)))


def test_keras_2_positional_order():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator = ImageDataGenerator(
            True, True, True, True, False, 1e-5, 1, 0.1, 0.2, (1, 2), 3, 0.4, 5, "wrap", 6.0, True, False, 0.5, None,
            "channels_first", 0.25, 1, "float64",
        )  # fmt: skip
    assert (generator.rotation_range, generator.shear_range, generator.zoom_range) == (1, 3, (0.6, 1.4))
    assert (generator.fill_mode, generator.cval, generator.rescale, generator.dtype) == ("wrap", 6.0, 0.5, "float64")


@pytest.mark.parametrize("setting", ["zca_whitening", "featurewise_std_normalization", "samplewise_std_normalization"])
def test_warnings_point_to_the_line_that_asked(setting):
    with pytest.warns(UserWarning, match=f"{setting} switches") as caught:
        ImageDataGenerator(**{setting: True})
    assert {warning.filename for warning in caught} == {__file__}
