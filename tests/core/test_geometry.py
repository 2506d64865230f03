"""Output sizes and padding against the documents' tables, closed forms and counting."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.ops import naive
from tinyconv.geometry import (
    as_pair,
    check_data_format,
    conv_output_size,
    make_pool_window,
    make_transposed_window,
    make_window,
    normalize_axis,
)

TABLE = [  # input, filter, stride, padding, output
    (227, 11, 4, 0, 55),
    (224, 11, 4, 0, 54),
    (5, 3, 1, 1, 5),
    (5, 3, 2, 0, 2),
    (5, 3, 1, 0, 3),
    (100, 5, 1, 2, 100),
    (13, 6, 5, "same", 3),
    (13, 6, 5, "valid", 2),
    (5, 3, 2, "same", 3),
    (7, 3, 2, "same", 4),
    (4, 2, 1, "valid", 3),
    (4, 2, 2, "valid", 2),
    (7, 2, 2, "valid", 3),
]


@pytest.mark.parametrize(("n", "k", "s", "padding", "expected"), TABLE)
def test_table_of_sizes(n, k, s, padding, expected):
    assert conv_output_size(n, k, s, padding) == expected


def test_strict_mode():
    with pytest.raises(ValueError, match=r"54\.25"):
        conv_output_size(224, 11, 4, strict=True)
    assert [conv_output_size(*row[:4], strict=True) for row in TABLE if row[0] in (227, 100)] == [55, 100]


def test_same_padding_of_the_documents():
    assert make_window((13, 13), 6, 5, "same").padding == ((1, 2), (1, 2))
    assert make_window((5, 7), 3, 2, "same").padding == ((1, 1), (1, 1))
    assert make_window((5, 7), 3, 2, "same").output_size((5, 7)) == (3, 4)
    assert make_window((13, 13), 6, 5, "same_lower").padding == ((2, 1), (2, 1))


def c(k, s=1, padding="valid"):
    """A convolution or, the same arithmetic, a pooling."""
    return k, s, padding


CHAINS = {
    "LeNet": ([28, 28, 14, 14, 7], [c(5, 1, "same"), c(2, 2), c(5, 1, "same"), c(2, 2)], 50, 2450),
    "MiniVGGNet": ([32, 32, 16, 16, 8], [c(3, 1, "same"), c(2, 2), c(3, 1, "same"), c(2, 2)], 64, 4096),
    "LeNet-5": ([32, 28, 14, 10, 5, 1], [c(5), c(2, 2), c(5), c(2, 2), c(5)], 120, 120),
    "AlexNet": (
        [227, 55, 27, 27, 13, 13, 13, 13, 6],
        [c(11, 4), c(3, 2), c(5, 1, "same"), c(3, 2), *[c(3, 1, "same")] * 3, c(3, 2)], 256, 9216,
    ),
    "dogs/cats": ([150, 148, 74, 72, 36, 34, 17], [c(3), c(2, 2)] * 3, 64, 18496),
    "Fashion-MNIST CNN": ([28, 28, 14, 7, 3], [c(7, 1, "same"), c(2, 2), c(2, 2), c(2, 2)], 256, 2304),
    "VGG16": ([224, 112, 56, 28, 14, 7], [c(2, 2)] * 5, 512, 25088),
    "VGG16 at 150": ([150, 75, 37, 18, 9, 4], [c(2, 2)] * 5, 512, 8192),
    "ResNet50": ([224, 112, 55, 28, 14, 7, 1], [c(7, 2, 3), c(3, 2), *[c(1, 2)] * 3, c(7, 7)], 2048, 2048),
    "Inception V3": (
        [299, 149, 147, 147, 73, 73, 71, 35, 17, 8],
        [c(3, 2), c(3), c(3, 1, "same"), c(3, 2), c(1), c(3), c(3, 2), c(3, 2), c(3, 2)], 1, 64,
    ),
    "Xception": ([299, 149, 147, 74, 37, 19, 10], [c(3, 2), c(3), *[c(3, 2, "same")] * 4], 1, 100),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_spatial_chains_of_networks(name):
    sizes, steps, channels, flat = CHAINS[name]
    computed = sizes[:1]
    for k, s, padding in steps:
        computed.append(conv_output_size(computed[-1], k, s, padding))
    assert computed == sizes
    assert computed[-1] ** 2 * channels == flat


@pytest.mark.parametrize("side", range(150, 158))
def test_any_side_from_150_to_157_gives_17(side):
    for _ in range(3):
        side = conv_output_size(conv_output_size(side, 3), 2, 2)
    assert side == 17


def test_padding_three_makes_a_hundred_a_hundred_and_six():
    (top, bottom), (left, right) = make_window((100, 100), 1, padding=3).padding
    assert (100 + top + bottom, 100 + left + right) == (106, 106)


# --- properties ------------------------------------------------------------------------------------------------

PADS = st.tuples(*[st.tuples(st.integers(0, 4), st.integers(0, 4))] * 2)


@given(*[st.tuples(*[st.integers(1, most)] * 2) for most in (20, 5, 5, 3)], PADS)
def test_windows_are_counted(size, kernel, strides, dilations, pads):
    counts = [
        naive.output_size(n, k, s, d, lo, hi)
        for n, k, s, d, (lo, hi) in zip(size, kernel, strides, dilations, pads, strict=True)
    ]
    if min(counts) == 0:
        with pytest.raises(ValueError, match="must fit into the padded input"):
            make_window(size, kernel, strides, pads, dilations)
        return
    window = make_window(size, kernel, strides, pads, dilations)
    assert window == (kernel, strides, pads, dilations)
    assert window.output_size(size) == tuple(counts)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 5), st.integers(1, 3))
def test_same_padding_is_the_least_that_gives_one_output_per_stride(n, k, s, d):
    for name in ("same", "same_lower", "Same", "SAME_LOWER"):
        window = make_window((n, n), k, s, name, d)
        (lo, hi), _ = window.padding
        assert window.output_size((n, n))[0] == math.ceil(n / s)
        assert 0 <= (hi - lo if name.lower() == "same" else lo - hi) <= 1
        assert lo + hi == 0 or naive.output_size(n, k, s, d, 0, lo + hi - 1) < math.ceil(n / s)


FORMS = st.sampled_from(["valid", "same", "same_lower", 0, 1, (1, 0)])


@given(*[st.integers(1, most) for most in (12, 5, 4, 3)], FORMS)
def test_a_transposed_window_undoes_an_ordinary_one(n, k, s, d, padding):
    """The convolution whose adjoint is taken must turn the output size back into the input size."""
    pads = (padding, padding) if isinstance(padding, tuple) else padding
    try:
        window, output = make_transposed_window((n, n), k, s, pads, d)
    except ValueError:
        assume(False)
    assert window.output_size(output) == (n, n)


@pytest.mark.parametrize(
    ("n", "k", "s", "padding", "output_padding", "expected"),
    [
        (4, 3, 2, "valid", None, 9),
        (4, 3, 2, "same", None, 8),
        (4, 2, 3, "valid", None, 12),
        (4, 3, 1, "valid", None, 6),
        (4, 3, 1, "same", None, 4),
        (4, 3, 2, "valid", 1, 10),
        (4, 3, 2, "same", 0, 7),
        (4, 3, 2, "same", 1, 8),
        (4, 3, 2, 1, None, 7),
        (4, 3, 2, 1, 1, 8),
        (4, 3, 2, ((0, 1), (0, 1)), None, 8),
    ],
)
def test_sizes_of_transposed_convolutions(n, k, s, padding, output_padding, expected):
    assert make_transposed_window((n, n), k, s, padding, 1, output_padding)[1] == (expected, expected)


# --- pairs, axes, forms and errors ------------------------------------------------------------------------------


def test_pairs():
    assert (as_pair(3, "x"), as_pair((1, 2), "x"), as_pair([4, 5], "x")) == ((3, 3), (1, 2), (4, 5))
    for bad in (0, -1, (1, 0), (1, 2, 3), (1,), 1.0, "3", None, True, ((1, 2), 3)):
        with pytest.raises(ValueError, match="x must be an integer >= 1 .* Received"):
            as_pair(bad, "x")


def test_axes():
    assert [normalize_axis(a, 3) for a in (0, 2, -1, -3)] == [0, 2, 2, 0]
    for bad, ndim in ((3, 3), (-4, 3), (0, 0)):
        with pytest.raises(ValueError, match="axis must lie in"):
            normalize_axis(bad, ndim)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, 2], ((1, 1), (2, 2))),
        (((1, 2), (3, 4)), ((1, 2), (3, 4))),
        ([[1, 2], [3, 4]], ((1, 2), (3, 4))),
        ("VALID", ((0, 0), (0, 0))),
    ],
)
def test_forms_of_padding(padding, expected):
    assert make_window((9, 9), 3, padding=padding).padding == expected


@pytest.mark.parametrize("padding", [-1, (1, -1), ((1, 2), (3, -4)), "reflect", None, 1.5, (1, 2, 3), ((1, 2), 3)])
def test_bad_padding(padding):
    with pytest.raises(ValueError, match="padding must be .* Received"):
        make_window((9, 9), 3, padding=padding)


def test_pools_must_not_look_at_padding_alone():
    with pytest.raises(ValueError, match="smaller than the pool size"):
        make_pool_window((4, 4), 2, padding=2)
    assert make_pool_window((4, 4), 2, padding=1).output_size((4, 4)) == (3, 3)
    assert make_pool_window((4, 6), (2, 3)).strides == (2, 3)


def test_data_formats():
    assert check_data_format("channels_first") == "channels_first"
    with pytest.raises(ValueError, match="data_format must be"):
        check_data_format("NCHW")
