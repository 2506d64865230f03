"""Resizing against OpenCV and Pillow; adaptive pooling; sampling at any place. Loops and SciPy: see the table."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tinyconv as tc
from tinyconv import ops
from tinyconv.ops.resampling import INTERPOLATIONS, resizing_matrix
from tinyconv.testing import assert_close

SIZES = [((7, 9), (3, 4)), ((7, 9), (14, 5)), ((5, 7), (9, 13)), ((8, 8), (4, 2)), ((5, 3), (5, 7)), ((1, 6), (3, 1))]
rng = np.random.default_rng(0)


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize(("name", "flag"), [("bilinear", cv2.INTER_LINEAR), ("nearest", cv2.INTER_NEAREST_EXACT)])
def test_opencv(old, new, name, flag):
    x = rng.standard_normal((*old, 3))
    expected = cv2.resize(x, new[::-1], interpolation=flag)
    np.testing.assert_allclose(ops.resize(x[None], new, name)[0], expected, atol=1e-6)


def test_nearest_at_the_border_of_two_pixels_takes_the_second():
    # Pixel 6 of 13 has its centre at 6.5 * 6 / 13 = 3. OpenCV's fixed-point numbers fall just short of it.
    assert ops.resize(np.arange(6.0)[None, None, :, None], (1, 13), "nearest")[0, 0, 6, 0].item() == 3


@pytest.mark.parametrize(("old", "new"), [((7, 9), (3, 4)), ((8, 8), (4, 2)), ((9, 5), (9, 3))])
def test_area_is_opencvs_where_images_shrink(old, new):
    x = rng.standard_normal((*old, 2))
    expected = cv2.resize(x, new[::-1], interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(ops.resize(x[None], new, "area")[0], expected, atol=1e-6)


PILLOW = {
    "bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC, "lanczos3": Image.Resampling.LANCZOS
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize("name", PILLOW)
def test_pillow_always_antialiases(old, new, name):
    x = rng.standard_normal(old).astype("float32")
    expected = np.asarray(Image.fromarray(x).resize(new[::-1], PILLOW[name]))
    y = ops.resize(x[None, :, :, None].astype("float64"), new, name, antialias=True)[0, :, :, 0]
    np.testing.assert_allclose(y, expected, atol=2e-6)


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from(INTERPOLATIONS), st.booleans())
def test_constant_images_stay_constant_and_mirrors_stay_mirrors(n, m, name, antialias):
    weights = resizing_matrix(n, m, name, antialias)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)
    if name != "nearest":  # which rounds halves down
        np.testing.assert_allclose(weights[::-1, ::-1], weights, atol=1e-9)
    if n == m:
        np.testing.assert_allclose(weights, np.eye(n), atol=1e-12)


def test_resizing_errors():
    with pytest.raises(ValueError, match="interpolation must be 'nearest', .*'area'. Received: 'cubic'"):
        ops.resize(np.zeros((1, 2, 2, 1)), 3, "cubic")
    with pytest.raises(ValueError, match="interpolation must be"):
        ops.resize(np.zeros((1, 3, 3, 1)), 3, "cubic")
    with pytest.raises(ValueError, match="resize expected images of 4 axes"):
        ops.resize(np.zeros((2, 2, 1)), 3)
    with pytest.raises(ValueError, match="at least one row"):
        ops.resize(np.zeros((1, 0, 2, 1)), 3)
    with pytest.raises(ValueError, match="size must be"):
        ops.resize(np.zeros((1, 2, 2, 1)), 0)


# --- adaptive pooling ------------------------------------------------------------------------------------------


def test_windows_by_hand():
    x = np.arange(7.0)[None, :, None]  # of 7 cells: 0-2, 2-4, 4-6
    assert ops.adaptive_avg_pool(x, 3)[0, :, 0].tolist() == [1.0, 3.0, 5.0]
    assert ops.adaptive_max_pool(x, 3)[0, :, 0].tolist() == [2.0, 4.0, 6.0]
    assert ops.adaptive_avg_pool(x[:, :2], 4)[0, :, 0].tolist() == [0.0, 0.0, 1.0, 1.0]  # more windows than cells


@pytest.mark.parametrize("m", [1, 2, 4])
def test_where_sizes_divide_it_is_ordinary_pooling(m):
    x = rng.standard_normal((2, 8, 4, 3))
    assert_close(ops.adaptive_avg_pool(x, m), ops.avg_pool2d(x, (8 // m, 4 // m)))
    np.testing.assert_array_equal(ops.adaptive_max_pool(x, m), ops.max_pool2d(x, (8 // m, 4 // m)))


def test_maxima_of_windows_that_share_cells():
    x = tc.Tensor(np.array([1.0, 5.0, 5.0, 2.0, np.nan])[None, :, None], requires_grad=True)  # windows 0-2 and 2-4
    y = ops.adaptive_max_pool(x, 2)
    assert y[0, 0, 0].item() == 5
    assert np.isnan(y[0, 1, 0].item())
    y.sum().backward()
    assert x.grad[0, :, 0].tolist() == [0, 1, 0, 0, 1]  # the first of equals, and NaN


@pytest.mark.parametrize("pool", [ops.adaptive_avg_pool, ops.adaptive_max_pool])
def test_adaptive_errors(pool):
    for shape, size in [((2, 3), 1), ((2, 3, 3, 1), (1, 2, 3)), ((2, 3, 1), 0), ((2, 0, 1), 1), ((2,) * 6, 1)]:
        with pytest.raises(ValueError, match=r"expected sequences, images or volumes .* Received: shape"):
            pool(np.zeros(shape), size)


# --- sampling --------------------------------------------------------------------------------------------------

LINE = np.array([1.0, 2.0, 4.0])[None, None, :, None]


@pytest.mark.parametrize(
    ("fill_mode", "expected"),
    [("constant", [9, 9, 1, 2, 4, 9, 9]), ("nearest", [1, 1, 1, 2, 4, 4, 4]), ("reflect", [2, 1, 1, 2, 4, 4, 2]),
     ("wrap", [2, 4, 1, 2, 4, 1, 2])],
)  # fmt: skip
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_what_lies_outside(fill_mode, expected, interpolation):
    columns = np.arange(-2.0, 5)[None, None]
    y = ops.sample_images(LINE, 0 * columns, columns, interpolation, fill_mode, 9.0)
    assert y[0, 0, :, 0].tolist() == expected


def test_nearest_chooses_the_nearer_pixel():
    columns = np.array([[[0.4, 0.6, 1.4, 1.6, -0.4]]])
    y = ops.sample_images(LINE, 0 * columns, columns, "nearest")
    assert y[0, 0, :, 0].tolist() == [1, 2, 2, 4, 1]


def test_places_have_gradients():
    rows, columns = (tc.Tensor(np.full((1, 1, 1), place), requires_grad=True) for place in (0.25, 0.5))
    image = np.array([[1.0, 2.0], [5.0, 9.0]])[None, :, :, None]
    y = ops.sample_images(image, rows, columns)
    y.backward(np.ones(y.shape))
    assert y.item() == pytest.approx(0.75 * 1.5 + 0.25 * 7)
    assert rows.grad.item() == pytest.approx(7 - 1.5)
    assert columns.grad.item() == pytest.approx(0.75 * 1 + 0.25 * 4)


def test_places_that_are_no_places_read_nothing_foreign():
    columns = np.array([[[np.nan, np.inf, -np.inf, 1e30]]])
    with np.errstate(invalid="ignore"):
        for fill_mode in ("constant", "nearest", "reflect", "wrap"):
            y = ops.sample_images(LINE, 0 * np.ones_like(columns), columns, fill_mode=fill_mode)
            assert y.shape == (1, 1, 4, 1)
            assert np.isnan(y[0, 0, 0, 0].item())


def test_one_transform_serves_the_batch():
    x = rng.standard_normal((3, 4, 5, 2))
    one = [0.9, 0.1, 0.3, -0.2, 1.1, 0.2]
    np.testing.assert_array_equal(ops.affine_transform(x, one), ops.affine_transform(x, [one] * 3))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_identity_gives_the_images_back(dtype):
    x = rng.standard_normal((2, 5, 4, 3)).astype(dtype)
    for fill_mode in ("constant", "nearest", "reflect", "wrap"):
        y = ops.affine_transform(x, [1.0, 0, 0, 0, 1, 0], fill_mode=fill_mode)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, x)


def test_sampling_errors():
    x, places = np.zeros((2, 3, 3, 1)), np.zeros((2, 1, 1))
    with pytest.raises(ValueError, match="fill_mode must be .* Received: 'mirror'"):
        ops.sample_images(x, places, places, fill_mode="mirror")
    with pytest.raises(ValueError, match="interpolation must be 'bilinear' or 'nearest'. Received: 'cubic'"):
        ops.sample_images(x, places, places, "cubic")
    with pytest.raises(ValueError, match=r"rows and columns of one shape .* Received: .*(1, 1, 1)"):
        ops.sample_images(x, places[:1], places[:1])
    with pytest.raises(ValueError, match="6 numbers, or 6 for each image. Received"):
        ops.affine_transform(x, np.zeros((3, 6)))
