"""``filter2d`` against ``cv2.filter2D``: every pair of types, every border, any anchor, any shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv import backends
from tinyconv.vision import filter2d

cv2 = pytest.importorskip("cv2")

PAIRS = [
    ("uint8", "uint8"), ("uint8", "uint16"), ("uint8", "int16"), ("uint8", "float32"), ("uint8", "float64"),
    ("uint16", "uint16"), ("uint16", "float32"), ("uint16", "float64"),
    ("int16", "int16"), ("int16", "float32"), ("int16", "float64"),
    ("float32", "float32"), ("float64", "float64"),
]  # fmt: skip
BORDERS = {
    "constant": cv2.BORDER_CONSTANT,
    "replicate": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT,
    "reflect101": cv2.BORDER_REFLECT_101,
}
DEPTHS = {"uint8": cv2.CV_8U, "uint16": cv2.CV_16U, "int16": cv2.CV_16S, "float32": cv2.CV_32F, "float64": cv2.CV_64F}
# Whether products are added before they are rounded, as in OpenCV: not where Numba is told to spare the instruction.
ODD = np.float32(1 + 2.0**-12)
FUSED = filter2d(np.full((1, 1), ODD), [[ODD]], delta=-(1 + 2.0**-11)).item() != 0
SIMD = 16  # at most so many numbers in one step of OpenCV's vector loops; columns after the last step round otherwise


def draw_image(rng, shape, dtype):
    if dtype.startswith("float"):
        return rng.standard_normal(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def assert_near(ours, theirs, image, kernel):
    """As close as the condition of the sums allows, integers within 1."""
    assert ours.dtype == theirs.dtype
    if ours.dtype.kind in "iu":
        assert np.abs(ours.astype(float) - theirs).max() <= 1
    else:
        scale = 1 + np.abs(kernel).sum() * max(1.0, np.abs(image.astype(float)).max())
        eps = max(np.finfo(kernel.dtype).eps, np.finfo(ours.dtype).eps)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=20 * eps * scale)


def whole_steps(source, result, columns):
    """How many columns OpenCV's vector loops do, which multiply and add in one step, or all where it has none."""
    vectorised = source == "float32" or result in ("uint8", "uint16", "int16")
    return columns // SIMD * SIMD * FUSED if vectorised else columns


@given(
    pair=st.sampled_from(PAIRS),
    border=st.sampled_from(sorted(BORDERS)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 90)),
    channels=st.sampled_from([None, 1, 3, 4]),
    taps=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    delta=st.sampled_from([0, 1, -3.3, 100.5]),
    sparse=st.booleans(),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_equals_opencv(pair, border, size, channels, taps, delta, sparse, seed, data):
    source, result = pair
    rng = np.random.default_rng(seed)
    image = draw_image(rng, size if channels is None else (*size, channels), source)
    kernel = rng.standard_normal(taps).astype(np.float64 if "float64" in pair else np.float32)
    if sparse:
        kernel *= rng.random(taps) < 0.5
    anchor = data.draw(st.tuples(st.integers(-1, taps[1] - 1), st.integers(-1, taps[0] - 1)), "anchor")
    theirs = cv2.filter2D(image, DEPTHS[result], kernel, anchor=anchor, delta=delta, borderType=BORDERS[border])
    ours = filter2d(image, kernel, result, anchor, delta, border)
    assert ours.shape == image.shape
    ours, theirs = ours.reshape(size[0], -1), theirs.reshape(size[0], -1)
    assert_near(ours, theirs, image, kernel)
    whole = whole_steps(source, result, ours.shape[1])
    np.testing.assert_array_equal(ours[:, :whole], theirs[:, :whole])


@pytest.mark.skipif(not FUSED, reason="no fused multiply-add")
@pytest.mark.parametrize("border", sorted(BORDERS))
@pytest.mark.parametrize(
    "taps", [(3, 3), (5, 5), (7, 7), (11, 11), (1, 9), (9, 1), (4, 6), (25, 5), (100, 1), (1, 100)]
)
def test_float32_is_equal_to_the_bit(taps, border):
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal(taps).astype(np.float32)
    for shape in ((70, 10 * SIMD), (9, SIMD, 3), (130, 47)):
        image = rng.standard_normal(shape).astype(np.float32)
        ours = filter2d(image, kernel, border=border).reshape(shape[0], -1)
        theirs = cv2.filter2D(image, -1, kernel, borderType=BORDERS[border]).reshape(shape[0], -1)
        whole = ours.shape[1] // SIMD * SIMD
        np.testing.assert_array_equal(ours[:, :whole], theirs[:, :whole])


@pytest.mark.parametrize("source", ["uint8", "float32"])
@pytest.mark.parametrize("separable", ["auto", False])
@pytest.mark.parametrize("taps", [(13, 13), (16, 16), (21, 15), (31, 31), (40, 4)])
def test_large_kernels_are_as_near_as_opencvs_transform(taps, separable, source):
    rng = np.random.default_rng(0)
    image = draw_image(rng, (100, 120), source)
    for kernel in (rng.standard_normal(taps), np.full(taps, 1 / np.prod(taps)), np.outer(*map(np.hanning, taps))):
        kernel = (kernel / np.abs(kernel).sum()).astype(np.float32)
        theirs = cv2.filter2D(image, -1, kernel)
        assert_near(filter2d(image, kernel, separable=separable), theirs, image, kernel)


@pytest.mark.parametrize("kind", ["positive", "normal", "sparse"])
@pytest.mark.parametrize("taps", [(16, 16), (31, 31), (21, 15), (15, 40), (64, 5), (70, 90)])
def test_large_kernels_against_float64(taps, kind):
    """An independent sum in float64, since OpenCV's transform is no oracle to the last digits."""
    scipy_signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(0)
    image = 255 * rng.random((150, 110), np.float32)
    kernel = (rng.random(taps) if kind == "positive" else rng.standard_normal(taps)).astype(np.float32)
    if kind == "sparse":
        kernel *= rng.random(taps) < 0.2
    around = [(k // 2, k - 1 - k // 2) for k in taps]
    exact = [array.astype(np.float64) for array in (np.pad(image, around, "reflect"), kernel)]
    expected = scipy_signal.correlate(*exact, "valid", "fft")
    scale = np.abs(kernel).sum() * 255
    np.testing.assert_allclose(filter2d(image, kernel), expected, rtol=0, atol=1e-6 * scale)
    result = filter2d(image.astype(np.float64), kernel)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-14 * scale)


def test_what_a_nan_spoils():
    """A large kernel spoils columns of the window, and rows at most three heights away; a small one its window."""
    rng = np.random.default_rng(0)
    image = np.ones((300, 200), np.float32)
    image[150, 100] = np.nan
    for size, reach in ((9, 4), (31, 3 * 31)):
        rows, columns = np.nonzero(np.isnan(filter2d(image, rng.random((size, size)))))
        assert (columns.min(), columns.max()) == (100 - size // 2, 100 + size // 2)
        assert 150 - reach <= rows.min() <= 150 - size // 2
        assert 150 + size // 2 <= rows.max() <= 150 + reach


@given(
    pair=st.sampled_from(PAIRS),
    border=st.sampled_from(["wrap", *BORDERS]),
    size=st.tuples(st.integers(1, 90), st.integers(1, 150)),
    channels=st.integers(1, 4),
    taps=st.tuples(st.integers(1, 40), st.integers(1, 15)),  # large ones are done by frequencies
    fused=st.booleans(),
    passes=st.sampled_from([1, 2]),
    seed=st.integers(0, 2**31),
)
def test_kernels_equal_the_reference(pair, border, size, channels, taps, fused, passes, seed):
    pytest.importorskip("numba")
    backend = backends.get("cpu")
    source, result = pair
    rng = np.random.default_rng(seed)
    image = draw_image(rng, (*size, channels), source)
    dtype = np.float64 if "float64" in pair else np.float32
    kernel = rng.standard_normal(taps).astype(dtype)
    kernels = [kernel] if passes == 1 else [kernel[:1], kernel[:, :1].copy()]
    anchor = tuple(int(rng.integers(k)) for k in taps)
    pad = {"constant": "constant", "replicate": "edge", "reflect": "symmetric", "reflect101": "reflect", "wrap": "wrap"}
    arguments = (image, kernels, anchor, 0.5, pad[border], np.dtype(result), fused)
    expected = backends.get("reference").filter2d(*arguments)
    whole = np.abs(kernels[0]).sum() * np.abs(kernels[-1]).sum()
    assert_near(backend.filter2d(*arguments), expected, image, np.atleast_1d(whole).astype(dtype))


def test_wrap_continues_on_the_other_side():
    rng = np.random.default_rng(0)
    image, kernel = rng.standard_normal((6, 7)), rng.standard_normal((3, 5))
    expected = sum(kernel[i, j] * np.roll(image, (1 - i, 2 - j), axis=(0, 1)) for i in range(3) for j in range(5))
    np.testing.assert_allclose(filter2d(image, kernel, border="wrap"), expected, rtol=1e-12, atol=1e-12)


def test_integers_round_half_to_even_and_saturate():
    image = np.array([[1, 3, 5, 7, 255, 0]], np.uint8)
    np.testing.assert_array_equal(filter2d(image, [[0.5]]), [[0, 2, 2, 4, 128, 0]])
    np.testing.assert_array_equal(filter2d(image, [[2]], delta=-3), [[0, 3, 7, 11, 255, 0]])
    np.testing.assert_array_equal(filter2d(image, [[-200]], "int16"), [[-200, -600, -1000, -1400, -32768, 0]])
    np.testing.assert_array_equal(filter2d(image, [[1e30]]), [[255] * 5 + [0]])


@pytest.mark.parametrize("ddepth", [np.float32, "float32", np.dtype("float32"), cv2.CV_32F])
def test_ddepth_is_a_dtype_or_a_number_of_opencv(ddepth):
    assert filter2d(np.ones((2, 2), np.uint8), [[1]], ddepth).dtype == np.float32


@pytest.mark.parametrize("border", BORDERS)
def test_border_is_a_name_or_a_number_of_opencv(border):
    image, kernel = np.arange(20.0).reshape(4, 5), np.arange(9).reshape(3, 3)
    for number in (BORDERS[border], BORDERS[border] | cv2.BORDER_ISOLATED):
        np.testing.assert_array_equal(filter2d(image, kernel, border=number), filter2d(image, kernel, border=border))


def test_zero_taps_do_not_touch_nan_and_infinity():
    image = np.array([[np.nan, 1, 2, 3, np.inf, 5, 6, 7]], np.float32)
    np.testing.assert_array_equal(filter2d(image, [[0, 1, 1]], border="constant"), cv2.filter2D(
        image, -1, np.array([[0, 1, 1.0]]), borderType=cv2.BORDER_CONSTANT
    ))  # fmt: skip


@pytest.mark.parametrize("taps", [(3, 5), (20, 17)])
@pytest.mark.parametrize("order", ["strided", "view", "fortran", "read-only", "reversed", "swapped"])
def test_any_memory_layout(order, taps):
    rng = np.random.default_rng(0)
    image, kernel = rng.random((30, 40, 3)).astype(np.float32), rng.random(taps).astype(np.float32)
    variant = {
        "strided": np.repeat(np.repeat(image, 2, 0), 2, 1)[::2, ::2],
        "view": np.pad(image, ((2, 3), (4, 1), (0, 0)), constant_values=np.nan)[2:-3, 4:-1],  # not a region: no outside
        "fortran": np.asfortranarray(image),
        "read-only": image.copy(),
        "reversed": image[::-1, ::-1].copy()[::-1, ::-1],
        "swapped": image.astype(">f4"),
    }[order]
    variant.setflags(write=False)
    np.testing.assert_array_equal(filter2d(variant, kernel[::-1].copy()[::-1]), filter2d(image, kernel))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 40), (40, 1)])
@pytest.mark.parametrize("border", sorted(BORDERS))
def test_kernels_larger_than_the_image(size, border):
    rng = np.random.default_rng(0)
    image = rng.standard_normal(size).astype(np.float32)
    for kernel in (rng.standard_normal((9, 11)), rng.standard_normal((21, 31)), np.outer(*rng.random((2, 25)))):
        kernel = kernel.astype(np.float32)
        around = [(k // 2, k - 1 - k // 2) for k in kernel.shape]
        flag = BORDERS[border]
        padded = cv2.copyMakeBorder(image.astype(np.float64), *around[0], *around[1], flag, value=0)
        expected = [
            [np.sum(padded[i : i + kernel.shape[0], j : j + kernel.shape[1]] * kernel) for j in range(size[1])]
            for i in range(size[0])
        ]
        tolerance = 1e-6 * np.abs(kernel).sum() * np.abs(image).max()
        np.testing.assert_allclose(filter2d(image, kernel, border=border), expected, rtol=0, atol=tolerance)


def test_separable_kernels_are_found():
    rng = np.random.default_rng(0)
    image = rng.standard_normal((50, 60))
    kernel = np.outer(rng.standard_normal(5), rng.standard_normal(6))
    direct, fast = filter2d(image, kernel, separable=False), filter2d(image, kernel, separable=True)
    assert (direct != fast).any()
    np.testing.assert_allclose(fast, direct, rtol=0, atol=1e-13)
    kernel[2, 3] += 1e-9  # not separable any more
    np.testing.assert_array_equal(filter2d(image, kernel, separable=True), filter2d(image, kernel, separable=False))


def test_results_do_not_depend_on_threads():
    numba = pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    image = rng.random((300, 400)).astype(np.float32)
    kernels = [rng.random((9, 9)), rng.random((31, 31)), np.outer(*rng.random((2, 31)))]
    many = [filter2d(image, kernel) for kernel in kernels]
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        np.testing.assert_array_equal([filter2d(image, kernel) for kernel in kernels], many)
    finally:
        numba.set_num_threads(threads)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros(3), [[1]]), ValueError, "shape (H, W)"),
        ((np.zeros((0, 3)), [[1]]), ValueError, "not empty"),
        ((np.zeros((3, 3), np.int32), [[1]]), TypeError, "Received: dtype int32"),
        ((np.zeros((3, 3)), [1]), ValueError, "(KH, KW)"),
        ((np.zeros((3, 3)), np.zeros((0, 1))), ValueError, "(KH, KW)"),
        ((np.zeros((3, 3)), [["a"]]), ValueError, "kernel of numbers"),
        ((np.zeros((3, 3), np.float32), [[1]], "uint8"), ValueError, "ddepth of a float32 image"),
        ((np.zeros((3, 3)), [[1]], 4), ValueError, "Received: 4"),
        ((np.zeros((3, 3), np.uint8), [[1]], None), ValueError, "Received: None"),
        ((np.zeros((3, 3)), np.ones((3, 3)), -1, (0,)), ValueError, "pair (x, y)"),
        ((np.zeros((3, 3)), np.ones((3, 3)), -1, (3, 0)), ValueError, "anchor"),
        ((np.zeros((3, 3)), np.ones((3, 3)), -1, (-2, 0)), ValueError, "anchor"),
        ((np.zeros((3, 3)), [[1]], -1, (-1, -1), 0, "mirror"), ValueError, "reflect101"),
        ((np.zeros((3, 3)), [[1]], -1, (-1, -1), 0, 5), ValueError, "Received: 5"),
        ((np.zeros((3, 3)), [[1]], -1, (-1, -1), 0, 0, "yes"), ValueError, "separable"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error) as caught:
        filter2d(*arguments)
    assert message in str(caught.value)
