"""Geometric transformations: scipy.ndimage in float64 is the oracle, its matrices written down by coordinates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.preprocessing.affine import FILL_MODES
from tinyconv.preprocessing.image import (
    ImageDataGenerator,
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
)

ndimage = pytest.importorskip("scipy.ndimage")

sizes = st.integers(1, 24)
parameters = st.fixed_dictionaries(
    {
        "theta": st.floats(-180, 180),
        "tx": st.floats(-9, 9),
        "ty": st.floats(-9, 9),
        "shear": st.floats(-40, 40),
        "zx": st.floats(0.5, 1.6),
        "zy": st.floats(0.5, 1.6),
    }
)


def source(size, theta, tx, ty, shear, zx, zy):
    """Where output pixel (r, c) comes from: zoom, then shear, then shift, then rotation, about the centre."""
    height, width = size
    r, c = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    y, x = (r - (height - 1) / 2) * zx, (c - (width - 1) / 2) * zy
    s, t = np.radians(shear), np.radians(theta)
    y, x = y - np.sin(s) * x, np.cos(s) * x
    y, x = y + tx, x + ty
    y, x = np.cos(t) * y - np.sin(t) * x, np.sin(t) * y + np.cos(t) * x
    return y + (height - 1) / 2, x + (width - 1) / 2


def expect(image, given, **options):
    """The transformed image (H, W, C) in float64."""
    places = source(image.shape[:2], **given)
    channels = [ndimage.map_coordinates(image[..., i].astype(float), places, **options) for i in range(image.shape[2])]
    return np.stack(channels, -1)


@given(
    height=sizes, width=sizes, channels=st.sampled_from([1, 3, 5]), given_=parameters, mode=st.sampled_from(FILL_MODES)
)  # fmt: skip
def test_bilinear(height, width, channels, given_, mode):
    """OpenCV rounds coordinates to 1/32 pixel: an error of at most 1/64 of the largest step along either axis.

    Where a place lies on the border to within that rounding, "constant" and "wrap" may decide either way: those few
    pixels are left out.
    """
    image = np.random.default_rng(height).uniform(0, 255, (height, width, channels)).astype(np.float32)
    got = apply_affine_transform(image, **given_, row_axis=0, col_axis=1, channel_axis=2, fill_mode=mode, cval=7.0)
    expected = expect(image, given_, order=1, mode=mode, cval=7.0)
    assert got.shape == image.shape
    assert got.dtype == np.float32
    y, x = source((height, width), **given_)
    clear = np.ones((height, width), bool)
    if mode in ("constant", "wrap"):
        for place, size in ((y, height), (x, width)):
            period = max(size - 1, 1)
            clear &= np.abs(place - np.round(place / period) * period) > 1e-5
    steps = [np.abs(np.diff(image, axis=axis, append=np.take(image, [0], axis))).max(initial=0) for axis in (0, 1)]
    limit = sum(steps) / 64 * 1.05 + 1e-3
    np.testing.assert_allclose(got[clear], expected[clear], rtol=0, atol=limit)


@given(height=sizes, width=sizes, given_=parameters, mode=st.sampled_from(FILL_MODES), order=st.sampled_from([0, 2, 3]))
def test_other_orders_are_exact(height, width, given_, mode, order):
    image = np.random.default_rng(width).uniform(0, 1, (height, width, 2))
    got = apply_affine_transform(image, **given_, row_axis=0, col_axis=1, channel_axis=2, fill_mode=mode, order=order)
    y, x = source((height, width), **given_)
    clear = np.ones((height, width), bool)
    for place in (y, x):  # not where two pixels are equally near, nor on the border
        clear &= np.abs(place * 2 - np.round(place * 2)) > 1e-9
    np.testing.assert_allclose(got[clear], expect(image, given_, order=order, mode=mode)[clear], atol=1e-7)


@given(height=sizes, width=sizes, given_=parameters, flips=st.tuples(st.booleans(), st.booleans()))
def test_channels_first_is_the_transpose(height, width, given_, flips):
    image = np.random.default_rng(0).uniform(0, 1, (height, width, 3))
    every = {**given_, "flip_horizontal": flips[0], "flip_vertical": flips[1]}
    last = ImageDataGenerator(data_format="channels_last").apply_transform(image, every)
    first = ImageDataGenerator(data_format="channels_first").apply_transform(image.transpose(2, 0, 1), every)
    np.testing.assert_array_equal(first.transpose(1, 2, 0), last)


def test_directions():
    """Positive: clockwise, up, left, a smaller part seen larger for zoom < 1; a shift moves all by whole pixels."""
    image = np.arange(15.0).reshape(3, 5, 1)
    square = np.arange(9.0).reshape(3, 3, 1)
    transform = ImageDataGenerator(fill_mode="constant", cval=-1).apply_transform
    np.testing.assert_array_equal(transform(square, {"theta": 90}), np.rot90(square, -1))
    np.testing.assert_array_equal(transform(image, {"theta": 180}), image[::-1, ::-1])
    np.testing.assert_array_equal(transform(image, {"tx": 1}), np.concatenate([image[1:], np.full((1, 5, 1), -1)]))
    np.testing.assert_array_equal(transform(image, {"ty": -2})[:, 2:], image[:, :-2])
    np.testing.assert_array_equal(transform(image, {"zx": 1, "zy": 0.5})[0, :, 0], [1, 1.5, 2, 2.5, 3])
    np.testing.assert_array_equal(transform(image, {"flip_horizontal": True}), image[:, ::-1])
    np.testing.assert_array_equal(transform(image, {"flip_vertical": True}), image[::-1])
    np.testing.assert_array_equal(transform(image, {}), image)


def test_shear_is_in_degrees():
    image = np.zeros((101, 101, 1), np.float32)
    image[50] = 1  # a horizontal line becomes one of slope sin(30) / cos(30)
    sheared = ImageDataGenerator().apply_transform(image, {"shear": 30})
    rows = sheared[..., 0].argmax(axis=0)
    assert rows[90] - rows[10] == pytest.approx(80 * np.sin(np.radians(30)), abs=1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_dtype(dtype):
    image = np.random.default_rng(0).uniform(0, 200, (8, 9, 3)).astype(dtype)
    before = image.copy()
    got = ImageDataGenerator().apply_transform(image, {"theta": 20, "brightness": 1.2, "channel_shift_intensity": 9.0})
    assert got.dtype == ("float32" if dtype == "uint8" else dtype)
    np.testing.assert_array_equal(image, before)


@given(low=st.floats(-300, 200), width=st.floats(1, 400), brightness=st.floats(0, 3))
def test_brightness_is_pillows(low, width, brightness):
    """Pillow works on whole numbers: it rounds down before and after, two levels of the range at most."""
    enhance = pytest.importorskip("PIL.ImageEnhance")
    from PIL import Image

    image = np.random.default_rng(3).uniform(low, low + width, (6, 7, 3))
    within = image.min() >= 0 and image.max() <= 255
    start, span = (0, 255) if within else (image.min(), image.max() - image.min())
    levels = ((image - start) / span * 255).astype(np.uint8)
    enhanced = np.asarray(enhance.Brightness(Image.fromarray(levels)).enhance(brightness))
    expected = enhanced / 255 * span + start
    got = apply_brightness_shift(image, brightness, scale=False)
    np.testing.assert_allclose(got, expected, atol=span / 255 * (1 + brightness) * 1.01)


def test_channel_shift_stays_in_the_range_of_the_image():
    image = np.array([[[10.0, 20.0, 250.0], [0.0, 5.0, 100.0]]])
    np.testing.assert_array_equal(apply_channel_shift(image, 30), np.minimum(image + 30, 250))
    np.testing.assert_array_equal(apply_channel_shift(image, -30), np.maximum(image - 30, 0))


@pytest.mark.parametrize("axes", [(0, 1, 1), (0, 1, 3), (-1, 0, 1)])
def test_wrong_axes(axes):
    with pytest.raises(ValueError, match="Received: shape"):
        apply_affine_transform(np.zeros((3, 3, 3)), 1, row_axis=axes[0], col_axis=axes[1], channel_axis=axes[2])
