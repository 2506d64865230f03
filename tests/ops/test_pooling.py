"""Pooling of every geometry against loops; ties, NaN, infinities, padding, and where the gradient goes."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinyconv as tc
from tests.ops import naive
from tinyconv.testing import assert_close, check_gradients

SIDES = st.integers(1, 9)
FORMATS = st.sampled_from(["channels_last", "channels_first"])
LEVELS = st.sampled_from([2, 1000])  # few different values, so that there are ties, or many


def image(*rows):
    """Rows of numbers as a batch of one picture with one channel."""
    return np.array(rows, float)[None, :, :, None]


def plain(tensor):
    return tensor.numpy()[0, :, :, 0].tolist()


@st.composite
def pools(draw, most=9):
    """Shape of the images and options of a pooling whose windows fit and always touch the image."""
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, most)), draw(st.integers(1, most)), draw(st.integers(1, 3)))
    kernel = draw(st.one_of(st.integers(1, 4), st.tuples(st.integers(1, 4), st.integers(1, 3))))
    least = min(naive.pair(kernel)) - 1
    pad = st.integers(0, least)
    named = st.sampled_from(["valid", "same", "same_lower"])
    padding = draw(st.one_of(named, pad, st.tuples(pad, pad), st.tuples(*[st.tuples(pad, pad)] * 2)))
    strides = draw(st.one_of(st.none(), st.integers(1, 3), st.tuples(st.integers(1, 4), st.integers(1, 3))))
    pads = naive.resolve_padding(padding, shape[1:3], naive.pair(kernel), naive.pair(strides or kernel))
    assume(all(n + sum(p) >= k for n, k, p in zip(shape[1:3], naive.pair(kernel), pads, strict=True)))
    return shape, {"pool_size": kernel, "strides": strides, "padding": padding}


def draw_image(shape, levels, data_format, seed=0):
    x = np.random.default_rng([seed, *shape]).integers(-levels, levels, shape) / 7
    return np.moveaxis(x, 3, 1) if data_format == "channels_first" else x


@given(pools(), LEVELS, FORMATS)
def test_max_pool2d_equals_loops(pool, levels, data_format):
    shape, options = pool
    x = draw_image(shape, levels, data_format)
    for dtype in ("float64", "float32"):
        y = tc.ops.max_pool2d(x.astype(dtype), **options, data_format=data_format)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, naive.max_pool2d(x.astype(dtype), **options, data_format=data_format))


@given(pools(), LEVELS, FORMATS, st.booleans())
def test_avg_pool2d_equals_loops(pool, levels, data_format, include):
    shape, options = pool
    options = {**options, "data_format": data_format, "count_include_pad": include}
    x = draw_image(shape, levels, data_format)
    assert_close(tc.ops.avg_pool2d(x, **options), naive.avg_pool2d(x, **options), 1e-12, 1e-12)


@given(pools(most=6), FORMATS, st.booleans())
def test_gradients(pool, data_format, include):
    shape, options = pool
    options["data_format"] = data_format
    x = np.random.default_rng(3).permutation(np.prod(shape)).reshape(shape) / 7.0  # no ties
    x = np.moveaxis(x, 3, 1) if data_format == "channels_first" else x
    check_gradients(lambda x: tc.ops.max_pool2d(x, **options), [x], order=2, directions=1)
    check_gradients(lambda x: tc.ops.avg_pool2d(x, **options, count_include_pad=include), [x], order=2, directions=1)


@given(pools(), st.sampled_from([1, 2]))
def test_the_gradient_of_max_pool2d_goes_to_the_first_maximum_of_each_window(pool, levels):
    shape, options = pool
    x = draw_image(shape, levels, "channels_last")
    kernel, strides = naive.pair(options["pool_size"]), naive.pair(options["strides"] or options["pool_size"])
    (top, _), (left, _) = naive.resolve_padding(options["padding"], shape[1:3], kernel, strides)
    tensor = tc.Tensor(x, requires_grad=True)
    y = tc.ops.max_pool2d(tensor, **options)
    dy = np.random.default_rng(1).integers(1, 9, y.shape).astype(float)
    y.backward(dy)
    expected = np.zeros(shape)
    for n, i, j, c in np.ndindex(y.shape):
        rows = [r for r in range(i * strides[0] - top, i * strides[0] - top + kernel[0]) if 0 <= r < shape[1]]
        cols = [r for r in range(j * strides[1] - left, j * strides[1] - left + kernel[1]) if 0 <= r < shape[2]]
        first = max(((r, s) for r in rows for s in cols), key=lambda cell: x[n, cell[0], cell[1], c])
        expected[n, first[0], first[1], c] += dy[n, i, j, c]
    np.testing.assert_array_equal(tensor.grad, expected)


# --- special values --------------------------------------------------------------------------------------------


def test_ties_go_to_the_first_cell_in_reading_order():
    x = tc.Tensor(image([1, 5, 5], [5, 5, 1], [0, 0, 0]), requires_grad=True)
    tc.ops.max_pool2d(x, 2, 1).sum().backward()
    assert plain(x.grad) == [[0, 2, 0], [1, 1, 0], [0, 0, 0]]


def test_nan_is_kept_and_takes_the_gradient():
    x = tc.Tensor(image([1, np.nan, 0, 0], [2, 3, 0, 7]), requires_grad=True)
    y = tc.ops.max_pool2d(x, 2)
    np.testing.assert_array_equal(y.numpy().ravel(), [np.nan, 7])
    y.sum().backward()
    assert plain(x.grad) == [[0, 1, 0, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("padding", [1, "same", ((1, 0), (0, 1))])
def test_padding_never_wins_not_even_over_minus_infinity(padding):
    x = tc.Tensor(np.full((1, 3, 3, 2), -np.inf), requires_grad=True)
    y = tc.ops.max_pool2d(x, 2, 2, padding)
    assert np.isneginf(y.numpy()).all()
    y.backward(np.ones(y.shape))
    assert x.grad.numpy().sum() == y.size  # every window found a cell of its own, none in the padding


def test_padding_never_wins_over_negative_numbers():
    assert plain(tc.ops.max_pool2d(image([-3, -4], [-5, -6]), 2, 1, 1)) == [[-3, -3, -4], [-3, -3, -4], [-5, -5, -6]]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64"])
def test_integers_can_be_max_pooled(dtype):
    x = np.array([[0, 200, 3], [4, 5, 6], [7, 8, 9]]).astype(dtype)[None, :, :, None]
    y = tc.ops.max_pool2d(x, 2, 1, 1)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, naive.max_pool2d(x, 2, 1, 1))


def test_second_derivative_of_max_pool_follows_the_chosen_cells():
    """y = sum(max^2): the Hessian is 2 at the winners' diagonal entries and 0 elsewhere."""
    x = tc.Tensor(image([1, 4], [3, 2]), requires_grad=True)
    (dx,) = tc.grad(tc.ops.sum(tc.ops.max_pool2d(x) ** 2), [x], create_graph=True)
    assert plain(dx) == [[0, 8], [0, 0]]
    assert plain(tc.grad(dx, x, grad_outputs=np.ones(x.shape))) == [[0, 2], [0, 0]]


def test_overlapping_windows_add_their_gradients():
    x = tc.Tensor(image([0, 0, 0], [0, 9, 0], [0, 0, 0]), requires_grad=True)
    tc.ops.max_pool2d(x, 2, 1).sum().backward()
    assert plain(x.grad) == [[0, 0, 0], [0, 4, 0], [0, 0, 0]]
    x.zero_grad()
    tc.ops.avg_pool2d(x, 2, 1).sum().backward()
    assert plain(x.grad) == [[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]]


def test_average_counts_the_padding_only_when_told():
    x = image([4, 8], [12, 16])
    assert plain(tc.ops.avg_pool2d(x, 2, 2, 1)) == [[4, 8], [12, 16]]
    assert plain(tc.ops.avg_pool2d(x, 2, 2, 1, count_include_pad=True)) == [[1, 2], [3, 4]]
    assert plain(tc.ops.avg_pool2d(x, 3, 1, "same")) == [[10, 10], [10, 10]]


def test_average_keeps_infinities_and_nan():
    y = tc.ops.avg_pool2d(image([np.inf, 1, 2, np.nan], [1, 1, 2, 2]), 2)
    np.testing.assert_array_equal(y.numpy().ravel(), [np.inf, np.nan])


def test_mean_of_bytes_is_a_float():
    assert tc.ops.avg_pool2d(np.full((1, 2, 2, 1), 255, "uint8")).item() == 255.0


# --- whole maps, channels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_global_pooling(data_format, keepdims):
    x = draw_image((2, 3, 4, 5), 1000, data_format)
    axes = (1, 2) if data_format == "channels_last" else (2, 3)
    assert_close(tc.ops.global_avg_pool2d(x, data_format, keepdims), x.mean(axes, keepdims=keepdims), 1e-12)
    assert_close(tc.ops.global_max_pool2d(x, data_format, keepdims), x.max(axes, keepdims=keepdims), 1e-12)


def test_the_gradient_of_global_max_is_shared_by_ties():
    x = tc.Tensor(image([5, 1], [5, 0]), requires_grad=True)
    tc.ops.global_max_pool2d(x).sum().backward()
    assert plain(x.grad) == [[0.5, 0], [0.5, 0]]


def test_depth_max_pool2d_takes_neighbouring_channels():
    x = draw_image((2, 3, 3, 6), 1000, "channels_last")
    expected = np.maximum(x[..., 0::2], x[..., 1::2])
    assert_close(tc.ops.depth_max_pool2d(x, 2), expected)
    first = tc.ops.depth_max_pool2d(np.moveaxis(x, 3, 1), 2, data_format="channels_first")
    assert_close(first, np.moveaxis(expected, 3, 1))


def test_depth_must_divide_the_channels():
    with pytest.raises(ValueError, match="multiple of 3"):
        tc.ops.depth_max_pool2d(np.zeros((1, 2, 2, 20)), 3)


@pytest.mark.parametrize("operation", [tc.ops.max_pool2d, tc.ops.avg_pool2d])
@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 4, 1), {}, "4 axes"),
        ((1, 1, 4, 1), {}, "fit into the padded input"),
        ((1, 4, 4, 1), {"padding": 2}, "padding smaller than the pool size"),
        ((1, 4, 4, 1), {"pool_size": 0}, "pool_size must be"),
        ((1, 4, 4, 1), {"strides": -1}, "strides must be"),
        ((1, 5, 5, 1), {"strict": True}, "must tile"),
        ((1, 5, 5, 1), {"padding": "none"}, "padding must be"),
    ],
)
def test_bad_arguments(operation, shape, options, message):
    with pytest.raises(ValueError, match=message):
        operation(np.zeros(shape), **options)
