"""Augmentation layers against SciPy and formulas; choices, streams, and rest in inference. Replays: test_replayed."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

import tinyconv as tc
from tinyconv import layers
from tinyconv.testing import assert_close

rng = np.random.default_rng(0)
X = rng.uniform(0, 1, (4, 6, 9, 3))
MODES = {"constant": "grid-constant", "nearest": "nearest", "reflect": "reflect", "wrap": "grid-wrap"}
EVERY = [
    layers.RandomFlip(), layers.RandomRotation(0.2), layers.RandomTranslation(0.2, 0.2), layers.RandomZoom(0.2),
    layers.RandomContrast(0.5, (0, 1)), layers.RandomBrightness(0.5, (0, 1)),
]  # fmt: skip


def augmented(layer, x=X):
    return layer(x, training=True).numpy()


@pytest.mark.parametrize("layer", EVERY, ids=lambda layer: type(layer).__name__)
def test_inference_is_the_identity_and_training_is_not(layer):
    x = tc.Tensor(X.astype("float32"))
    assert layer(x) is x
    first, second = (layer(x, training=True).numpy() for _ in range(2))
    assert (first != x.numpy()).any()
    assert (first != second).any()  # every batch is new


@pytest.mark.parametrize("layer", EVERY, ids=lambda layer: type(layer).__name__)
def test_every_image_has_a_choice_of_its_own(layer):
    tc.set_seed(4)
    y = augmented(layer, np.repeat(X[:1], 8, 0).astype("float32"))
    assert any((image != y[0]).any() for image in y[1:])


@pytest.mark.parametrize("cls", [layers.RandomFlip, layers.RandomCrop])
def test_a_seed_gives_a_stream_of_its_own(cls):
    arguments = (3, 4) if cls is layers.RandomCrop else ()
    first, second = (cls(*arguments, seed=7) for _ in range(2))
    tc.set_seed(1)
    key = tc.random.next_key()
    tc.set_seed(1)
    for _ in range(3):
        np.testing.assert_array_equal(augmented(first), augmented(second))
    assert tc.random.next_key() == key  # the global stream is left alone


# --- flips -----------------------------------------------------------------------------------------------------


FLIPS = [("horizontal", [2]), ("vertical", [1]), ("horizontal_and_vertical", [1, 2])]


@pytest.mark.parametrize(("mode", "axes"), FLIPS)
def test_flips_are_exact_and_as_frequent_as_a_coin(mode, axes):
    tc.set_seed(0)
    n = 400
    y = augmented(layers.RandomFlip(mode, dtype="float64"), np.repeat(X[:1], n, 0))
    choices = [X[0]]
    for axis in axes:
        choices += [np.flip(image, axis - 1) for image in choices]
    counts = [(y == image).all((1, 2, 3)).sum() for image in choices]
    assert sum(counts) == n
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


# --- movements -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill_mode", MODES)
@pytest.mark.parametrize("turn", [0.1, -0.2, 0.5])
def test_rotation_is_scipys(fill_mode, turn):
    layer = layers.RandomRotation((turn, turn), fill_mode, fill_value=0.25, dtype="float64")
    expected = scipy.ndimage.rotate(  # counter-clockwise too, when rows count downwards
        X, turn * 360, (1, 2), reshape=False, order=1, mode=MODES[fill_mode], cval=0.25
    )
    assert_close(augmented(layer), expected, 1e-9, 1e-9)


def test_a_quarter_turn_of_a_square_is_rot90():
    y = augmented(layers.RandomRotation((0.25, 0.25), dtype="float64"), X[:, :, :6])
    assert_close(y, np.rot90(X[:, :, :6], 1, (1, 2)), atol=1e-12)


def test_angles_are_uniform_within_the_limits():
    tc.set_seed(0)
    x = np.zeros((2000, 1, 21, 1))
    x[:, 0, :, 0] = np.arange(21)  # values are columns: the middle row shows cos of the angle
    y = augmented(layers.RandomRotation(0.1, "nearest", dtype="float64"), x)
    angle = np.arccos((y[:, 0, 15, 0] - y[:, 0, 5, 0]) / 10)
    assert scipy.stats.kstest(angle / (0.2 * np.pi), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("fill_mode", MODES)
def test_translation_is_scipys_shift(fill_mode):
    layer = layers.RandomTranslation((0.25, 0.25), (-0.3, -0.3), fill_mode, fill_value=-1.0, dtype="float64")
    expected = scipy.ndimage.shift(X, (0, 0.25 * 6, -0.3 * 9, 0), order=1, mode=MODES[fill_mode], cval=-1.0)
    assert_close(augmented(layer), expected, 1e-9, 1e-9)


@pytest.mark.parametrize("fill_mode", MODES)
@pytest.mark.parametrize(("high", "wide"), [(0.3, 0.3), (-0.4, 0.2), (0.25, None)])
def test_zoom_is_scipys_affine_map_about_the_centre(fill_mode, high, wide):
    layer = layers.RandomZoom((high, high), wide and (wide, wide), fill_mode, dtype="float64")
    scale = np.array([1 + high, 1 + (high if wide is None else wide)])  # more than 1 shows more of the image
    centre = (np.array(X.shape[1:3]) - 1) / 2
    expected = np.empty(X.shape)
    for n, c in np.ndindex(len(X), 3):
        expected[n, :, :, c] = scipy.ndimage.affine_transform(
            X[n, :, :, c], scale, centre * (1 - scale), order=1, mode=MODES[fill_mode]
        )
    assert_close(augmented(layer), expected, 1e-9, 1e-9)


def test_nearest_takes_pixels_as_they_are():
    y = augmented(layers.RandomRotation(0.5, interpolation="nearest", dtype="float64"))
    assert set(y.ravel()) <= set(X.ravel())
    # half a pixel goes to the right: floor(x + 1/2)
    half = layers.RandomTranslation(0.0, (-0.5 / 9, -0.5 / 9), "nearest", "nearest", dtype="float64")
    assert_close(augmented(half)[:, :, :-1], X[:, :, 1:])


def test_gradients_of_pixels_that_are_read_several_times_add_up():
    x = tc.Tensor(X[:1], requires_grad=True)
    layers.RandomTranslation(0.0, (0.5, 0.5), "nearest", dtype="float64")(x, training=True).sum().backward()
    assert_close(x.grad[0, 0, :, 0], [5.5, 1, 1, 1, 0.5, 0, 0, 0, 0], atol=1e-9)


# --- colours ---------------------------------------------------------------------------------------------------


def test_contrast_scales_deviations_from_each_channels_mean():
    tc.set_seed(0)
    y = augmented(layers.RandomContrast((0.5, 0.8), (-9, 9), dtype="float64"))
    mean = X.mean((1, 2), keepdims=True)
    factor = (y - mean) / (X - mean)
    assert_close(factor, np.broadcast_to(factor[:, :1, :1, :1], X.shape), 1e-6)
    assert factor.min() >= 0.5
    assert factor.max() <= 1.8
    assert augmented(layers.RandomContrast(0.9, (0.4, 0.6))).max() <= np.float32(0.6)


def test_brightness_adds_a_part_of_the_range():
    y = augmented(layers.RandomBrightness(0.2, (-8, 8), dtype="float64"))
    change = y - X
    assert_close(change, np.broadcast_to(change[:, :1, :1, :1], X.shape), 1e-9)
    assert 0 < np.abs(change).max() <= 0.2 * 16
    limited = augmented(layers.RandomBrightness((0.9, 1.0), (0, 1), dtype="float64"))
    assert limited.max() == 1
    np.testing.assert_array_equal(augmented(layers.RandomBrightness((-1.0, -1.0), (0, 1))), 0)


# --- crops -----------------------------------------------------------------------------------------------------


def test_crops_are_parts_at_every_place():
    tc.set_seed(0)
    layer, found = layers.RandomCrop(4, 8, dtype="float64"), []
    places = {(i, j): X[:, i : i + 4, j : j + 8] for i in range(3) for j in range(2)}
    for _ in range(300):
        y = augmented(layer)
        found += [place for place, part in places.items() if (y == part).all()]
    assert len(found) == 300
    assert scipy.stats.chisquare([found.count(place) for place in places]).pvalue > 1e-3


def test_crops_in_inference_and_of_small_images():
    x = np.arange(24.0).reshape(1, 4, 6, 1)
    np.testing.assert_array_equal(layers.RandomCrop(4, 4)(x), x[:, :, 1:5])  # as large as fits, then resized
    np.testing.assert_array_equal(layers.RandomCrop(4, 6, dtype="float64")(x, training=True), x)
    for training in (False, True):
        small = layers.RandomCrop(8, 8, dtype="float64")(x, training=training)
        assert_close(small, tc.ops.resize(x[:, :, 1:5], 8))


# --- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.RandomFlip("sideways"), "mode must be 'horizontal', .* Received: 'sideways'"),
        (lambda: layers.RandomRotation(-0.1), r"factor must be a number >= 0 or \(lower, upper\). Received: -0.1"),
        (lambda: layers.RandomRotation((0.2, 0.1)), "factor must be"),
        (lambda: layers.RandomRotation("much"), "factor must be"),
        (lambda: layers.RandomRotation(0.1, "mirror"), "fill_mode must be one of .* Received: 'mirror'"),
        (lambda: layers.RandomRotation(0.1, interpolation="cubic"), "interpolation must be one of"),
        (lambda: layers.RandomTranslation(1.5, 0), r"height_factor must be .* in \[-1, 1\]. Received: 1.5"),
        (lambda: layers.RandomTranslation(0.5, (0, 1, 2)), "width_factor must be"),
        (lambda: layers.RandomZoom((-1.0, 0.5)), "greater than -1. Received"),
        (lambda: layers.RandomContrast((1.5, 0)), "factor must be .* Received"),
        (lambda: layers.RandomContrast(0.5, (1, 0)), r"value_range must be \(lowest, highest\). Received: \(1, 0\)"),
        (lambda: layers.RandomBrightness(2), "factor must be"),
        (lambda: layers.RandomCrop(0, 3), "height must be an integer, each >= 1. Received: 0"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
