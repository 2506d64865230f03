"""Convolutions of every geometry against loops, SciPy, OpenCV and the adjoint identity."""

import cv2
import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
from tests.ops import naive
from tinyconv.testing import assert_close, check_gradients

SIZES = st.integers(1, 9)
PADDINGS = st.one_of(
    st.sampled_from(["valid", "same", "same_lower"]),
    st.integers(0, 3),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
)
PAIRS = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 4)))
FORMATS = st.sampled_from(["channels_last", "channels_first"])


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def channels_first(x):
    return np.moveaxis(x, 3, 1)


def fits(size, kernel, padding, strides, dilations):
    pads = naive.resolve_padding(padding, size, naive.pair(kernel), naive.pair(strides), naive.pair(dilations))
    return all(
        n + lo + hi > (k - 1) * d
        for n, k, d, (lo, hi) in zip(size, naive.pair(kernel), naive.pair(dilations), pads, strict=True)
    )


@st.composite
def settings_of_a_convolution(draw):
    """Sizes, kernel and options of a convolution whose window fits."""
    size, kernel = draw(st.tuples(SIZES, SIZES)), draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    options = {"strides": draw(PAIRS), "padding": draw(PADDINGS), "dilations": draw(PAIRS)}
    if not fits(size, kernel, options["padding"], options["strides"], options["dilations"]):
        options["dilations"] = 1
    if not fits(size, kernel, options["padding"], options["strides"], 1):
        kernel = (1, 1)
    return size, kernel, options


# --- conv2d ----------------------------------------------------------------------------------------------------


@given(settings_of_a_convolution(), st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), FORMATS, st.booleans())
def test_conv2d_equals_loops(setting, groups, cg, og, data_format, with_bias):
    size, kernel, options = setting
    x, w = random(2, *size, groups * cg), random(*kernel, cg, groups * og)
    b = random(groups * og) if with_bias else None
    x = channels_first(x) if data_format == "channels_first" else x
    options = {**options, "groups": groups, "data_format": data_format}
    assert_close(tc.ops.conv2d(x, w, b, **options), naive.conv2d(x, w, b, **options), 1e-12, 1e-12)


@given(settings_of_a_convolution(), st.integers(1, 2), FORMATS)
def test_conv2d_gradients(setting, groups, data_format):
    (h, w), (kh, kw), options = setting
    x, kernels, b = random(2, h, w, 2 * groups), random(kh, kw, 2, groups), random(groups)
    x = channels_first(x) if data_format == "channels_first" else x
    options = {**options, "groups": groups, "data_format": data_format}
    check_gradients(lambda *xs: tc.ops.conv2d(*xs, **options), [x, kernels, b], order=2, directions=1)


def test_conv2d_equals_five_nested_loops_over_numbers():
    x, w, b = random(2, 5, 6, 3), random(3, 2, 3, 4), random(4)
    expected = np.zeros((2, 3, 5, 4))
    for n, i, j, k in np.ndindex(expected.shape):
        expected[n, i, j, k] = b[k]
        for u, v, c in np.ndindex(3, 2, 3):
            expected[n, i, j, k] += x[n, i + u, j + v, c] * w[u, v, c, k]
    assert_close(tc.ops.conv2d(x, w, b), expected, 1e-12)


@pytest.mark.parametrize(("padding", "mode"), [("valid", "valid"), ("same", "same"), ((2, 4), "full")])
def test_conv2d_equals_scipy(padding, mode):
    x, w = random(9, 11), random(3, 5)
    expected = scipy.signal.correlate(x, w, mode, method="direct")
    assert_close(tc.ops.conv2d(x[None, :, :, None], w[:, :, None, None], padding=padding)[0, :, :, 0], expected, 1e-12)


def test_conv2d_equals_opencv():
    x, w = random(12, 10).astype(np.float32), random(5, 3).astype(np.float32)
    expected = cv2.filter2D(x, cv2.CV_32F, w, borderType=cv2.BORDER_CONSTANT)
    assert_close(tc.ops.conv2d(x[None, :, :, None], w[:, :, None, None], padding="same")[0, :, :, 0], expected, 1e-5)


@pytest.mark.parametrize("border", ["edge", "reflect", "symmetric", "wrap"])
def test_padding_modes_equal_opencv(border):
    code = {"edge": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT_101, "symmetric": cv2.BORDER_REFLECT,
            "wrap": cv2.BORDER_WRAP}[border]  # fmt: skip
    x, w = random(7, 8), random(3, 3)
    expected = scipy.signal.correlate(cv2.copyMakeBorder(x, 1, 1, 1, 1, code), w, "valid", method="direct")
    padded = tc.ops.pad(x, 1, mode=border)
    assert_close(tc.ops.conv2d(padded[None, :, :, None], w[:, :, None, None])[0, :, :, 0], expected, 1e-12)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_named_paddings_have_the_sizes_of_tensorflow(n, k, s, d):
    if n < (k - 1) * d + 1:
        return
    x, w = np.zeros((1, n, n, 1)), np.zeros((k, k, 1, 1))
    same, valid = -(-n // s), -(-(n - (k - 1) * d) // s)
    for padding, size in (("same", same), ("same_lower", same), ("SAME", same), ("valid", valid), ("VALID", valid)):
        assert tc.ops.conv2d(x, w, strides=s, dilations=d, padding=padding).shape == (1, size, size, 1)


def test_the_odd_cell_of_same_padding():
    """One row of 4 cells, window 2: TensorFlow's zero is at the end, the other kind's at the start."""
    x, w = np.array([1.0, 2, 3, 4]).reshape(1, 1, 4, 1), np.array([10.0, 1]).reshape(1, 2, 1, 1)
    assert tc.ops.conv2d(x, w, padding="same").numpy().ravel().tolist() == [12, 23, 34, 40]
    assert tc.ops.conv2d(x, w, padding="same_lower").numpy().ravel().tolist() == [1, 12, 23, 34]
    assert tc.ops.conv2d(x, w, padding=((0, 0), (0, 1))).numpy().ravel().tolist() == [12, 23, 34, 40]


def test_strict_mode_rejects_strides_that_do_not_tile():
    w = np.zeros((11, 11, 1, 1))
    assert tc.ops.conv2d(np.zeros((1, 224, 224, 1)), w, strides=4).shape == (1, 54, 54, 1)
    with pytest.raises(ValueError, match="54.25"):
        tc.ops.conv2d(np.zeros((1, 224, 224, 1)), w, strides=4, strict=True)
    assert tc.ops.conv2d(np.zeros((1, 227, 227, 1)), w, strides=4, strict=True).shape == (1, 55, 55, 1)


def test_surplus_cells_do_not_matter_and_get_no_gradient():
    x = tc.Tensor(random(1, 6, 6, 1), requires_grad=True)
    tc.ops.conv2d(x, random(3, 3, 1, 1), strides=2).sum().backward()
    assert not x.grad.numpy()[:, 5].any()
    assert not x.grad.numpy()[:, :, 5].any()
    assert x.grad.numpy()[:, :5, :5].all()


def test_groups_are_independent_convolutions():
    x, w = random(2, 5, 5, 6), random(3, 3, 2, 9)
    parts = [naive.conv2d(x[..., 2 * g : 2 * g + 2], w[..., 3 * g : 3 * g + 3]) for g in range(3)]
    assert_close(tc.ops.conv2d(x, w, groups=3), np.concatenate(parts, 3), 1e-12)


BAD = [
    ((1, 5, 5), (3, 3, 1, 1), {}, "4 axes"),
    ((1, 5, 5, 1), (3, 3, 1), {}, "4 axes"),
    ((1, 5, 5, 2), (3, 3, 1, 1), {}, "input channels"),
    ((1, 5, 5, 4), (3, 3, 2, 3), {"groups": 2}, "groups"),
    ((1, 5, 5, 1), (3, 3, 1, 1), {"groups": 0}, "groups"),
    ((1, 2, 5, 1), (3, 3, 1, 1), {}, "fit into the padded input"),
    ((1, 5, 5, 1), (3, 3, 1, 1), {"padding": "full"}, "padding must be"),
    ((1, 5, 5, 1), (3, 3, 1, 1), {"padding": -1}, "padding must be"),
    ((1, 5, 5, 1), (3, 3, 1, 1), {"padding": (1, 2, 3)}, "padding must be"),
    ((1, 5, 5, 1), (3, 3, 1, 1), {"strides": 0}, "strides must be"),
    ((1, 5, 5, 1), (3, 3, 1, 1), {"strides": 1.5}, "strides must be"),
    ((1, 5, 5, 1), (3, 3, 1, 1), {"dilations": (1, 0)}, "dilations must be"),
    ((1, 5, 5, 1), (3, 3, 1, 1), {"data_format": "NHWC"}, "data_format must be"),
    ((1, 5, 5, 1), (3, 3, 1, 2), {"b": np.zeros(3)}, r"bias of shape \(2,\)"),
]


@pytest.mark.parametrize(("x", "w", "options", "message"), BAD)
def test_bad_arguments_are_named(x, w, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        tc.ops.conv2d(np.zeros(x), np.zeros(w), **options)
    assert "Received" in str(caught.value)


def test_images_and_kernels_of_different_float_types_are_an_error():
    with pytest.raises(ValueError, match="one dtype"):
        tc.ops.conv2d(np.zeros((1, 3, 3, 1), "f4"), np.zeros((1, 1, 1, 1), "f8"))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_integer_images_take_the_type_of_the_kernel(dtype):
    x, w = random(1, 4, 4, 2).astype(dtype), random(3, 3, 2, 1).astype("f4")
    y = tc.ops.conv2d(x, w)
    assert y.dtype == np.float32
    assert_close(y, naive.conv2d(x, w.astype("f8")), 1e-5)


@pytest.mark.parametrize(
    ("wanted", "unused"),
    [(0, ["conv2d_weight_grad"]), (1, ["conv2d_input_grad"]), (2, ["conv2d_weight_grad", "conv2d_input_grad"])],
)
def test_only_requested_gradients_are_computed(monkeypatch, wanted, unused):
    arguments = [random(1, 5, 5, 2), random(3, 3, 2, 3), random(3)]
    tensors = [tc.Tensor(a, requires_grad=True) for a in arguments]
    table = type(tc.backends.default())
    y = tc.ops.conv2d(*tensors)
    for name in unused:
        monkeypatch.setattr(table, name, lambda *_, name=name: pytest.fail(f"{name} was computed"))
    g = tc.grad(y, tensors[wanted], grad_outputs=np.ones(y.shape))
    assert g.shape == tensors[wanted].shape


@pytest.mark.parametrize("shape", [(0, 5, 5, 2), (2, 5, 5, 0)])
def test_empty_batches_and_channels(shape):
    x, w = tc.Tensor(np.zeros(shape), requires_grad=True), tc.Tensor(random(3, 3, shape[3], 4), requires_grad=True)
    y = tc.ops.conv2d(x, w, np.ones(4))
    assert_close(y, np.ones((shape[0], 3, 3, 4)))
    y.sum().backward()
    assert_close(w.grad, np.zeros(w.shape))
    assert_close(x.grad, np.zeros(x.shape))


# --- its relatives ---------------------------------------------------------------------------------------------


@given(settings_of_a_convolution(), FORMATS)
def test_true_conv2d_flips_the_kernel(setting, data_format):
    size, kernel, options = setting
    x, w = random(1, *size, 2), random(*kernel, 2, 3)
    expected = naive.conv2d(x, w[::-1, ::-1], **options)
    if data_format == "channels_first":
        x, expected = channels_first(x), channels_first(expected)
    assert_close(tc.ops.true_conv2d(x, w, data_format=data_format, **options), expected, 1e-12, 1e-12)


def test_true_conv2d_equals_scipy():
    x, w = random(8, 7), random(3, 2)
    expected = scipy.signal.convolve(x, w, "full", method="direct")
    y = tc.ops.true_conv2d(x[None, :, :, None], w[:, :, None, None], padding=(2, 1))
    assert_close(y[0, :, :, 0], expected, 1e-12)


def test_depthwise_and_separable_are_made_of_plain_convolutions():
    x, depthwise, pointwise, b = random(2, 6, 6, 3), random(3, 3, 3, 2), random(1, 1, 6, 4), random(4)
    channels = [(x[..., c : c + 1], depthwise[:, :, c : c + 1]) for c in range(3)]
    expected = np.concatenate([naive.conv2d(*pair, strides=2, padding="same") for pair in channels], 3)
    assert_close(tc.ops.depthwise_conv2d(x, depthwise, strides=2, padding="same"), expected, 1e-12)
    y = tc.ops.separable_conv2d(x, depthwise, pointwise, b, strides=2, padding="same")
    assert_close(y, expected @ pointwise[0, 0] + b, 1e-12)


@given(settings_of_a_convolution())
def test_transposed_convolution_is_the_adjoint_of_convolution(setting):
    """<conv(x, w), y> = <x, transposed(y, w)>, when the transposed one has explicit padding and tiles x."""
    size, kernel, options = setting
    strides, dilations = naive.pair(options["strides"]), naive.pair(options["dilations"])
    pads = naive.resolve_padding(options["padding"], size, kernel, strides, dilations)
    x, w = random(2, *size, 3), random(*kernel, 3, 4)
    z = naive.conv2d(x, w, **options)
    y = random(*z.shape, seed=1)
    surplus = tuple(
        (n + lo + hi - (k - 1) * d - 1) % s
        for n, k, d, s, (lo, hi) in zip(size, kernel, dilations, strides, pads, strict=True)
    )
    transposed = tc.ops.conv2d_transpose(y, w, None, strides, pads, surplus, dilations)
    assert transposed.shape == x.shape
    assert np.sum(z * y) == pytest.approx(np.sum(x * transposed.numpy()), rel=1e-10, abs=1e-10)


NAMED = st.sampled_from(["valid", "same", "same_lower", "VALID", "SAME"])
EXPLICIT = st.one_of(st.integers(0, 2), st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2))


@given(st.data())
def test_transposed_convolution_equals_scattering(data):
    size, kernel = data.draw(st.tuples(SIZES, SIZES)), data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides, dilations = data.draw(PAIRS), data.draw(st.integers(1, 2))
    padding = data.draw(st.one_of(NAMED, EXPLICIT))
    extra = data.draw(st.one_of(st.none(), st.tuples(*(st.integers(0, s - 1) for s in naive.pair(strides)))))
    x, w, b = random(2, *size, 3), random(*kernel, 2, 3), random(2)
    lower = padding.lower() if isinstance(padding, str) else padding
    rows, cols = (
        naive.transposed_axis(n, k, s, dilations, lower, extra, axis)[1]
        for axis, (n, k, s) in enumerate(zip(size, kernel, naive.pair(strides), strict=True))
    )
    if min(rows, cols) < 1:
        with pytest.raises(ValueError, match="must have an output"):
            tc.ops.conv2d_transpose(x, w, b, strides, padding, extra, dilations)
        return
    y = tc.ops.conv2d_transpose(x, w, b, strides, padding, extra, dilations)
    assert_close(y, naive.conv2d_transpose(x, w, b, strides, lower, extra, dilations), 1e-12, 1e-12)


@pytest.mark.parametrize(("padding", "size"), [("valid", 9), ("same", 8), (0, 9), (1, 7), (((0, 1), (0, 1)), 8)])
def test_sizes_of_transposed_convolution(padding, size):
    y = tc.ops.conv2d_transpose(np.zeros((1, 4, 4, 3)), np.zeros((3, 3, 5, 3)), strides=2, padding=padding)
    assert y.shape == (1, size, size, 5)


def test_transposed_convolution_takes_channels_first():
    x, w, b = random(2, 4, 5, 3), random(3, 2, 4, 3), random(4)
    y = tc.ops.conv2d_transpose(channels_first(x), w, b, 2, data_format="channels_first")
    assert_close(y, channels_first(naive.conv2d_transpose(x, w, b, 2)), 1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"w": np.zeros((3, 3, 1, 2))}, "input channels"),
        ({"output_padding": 2, "strides": 2}, "output_padding must be smaller"),
        ({"padding": "full"}, "padding must be"),
        ({"b": np.zeros(2)}, "bias of shape"),
        ({"padding": 9}, "must have an output"),
    ],
)
def test_bad_arguments_of_transposed_convolution(arguments, message):
    with pytest.raises(ValueError, match=message):
        tc.ops.conv2d_transpose(**{"x": np.zeros((1, 4, 4, 1)), "w": np.zeros((3, 3, 1, 1)), **arguments})


@pytest.mark.parametrize("operation", [tc.ops.conv2d, tc.ops.conv2d_transpose])
def test_the_family_is_closed_under_differentiation(operation):
    """Third derivatives: the gradient of the squared gradient of a convolution."""

    def penalty(x, w):
        y = operation(x, w, strides=2, padding="same")
        dx, dw = tc.grad(tc.ops.sum(y * y * y), [x, w], create_graph=True)
        return tc.ops.sum(dx * dx) + tc.ops.sum(dw * dw)

    check_gradients(penalty, [random(1, 4, 4, 2), random(3, 3, 2, 2)], order=2)


