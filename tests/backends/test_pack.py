"""Rearranging copies, maxima of rows and numbers per row, against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv import backends

pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(backends.host().name != "cpu", reason="kernels of the CPU backend")

DTYPES = st.sampled_from([np.float32, np.float64])


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 40), st.integers(1, 70),
    st.permutations(range(5)), st.integers(1, 3), DTYPES, st.integers(0, 2**31),
)  # fmt: skip
def test_panels_of_arrays_in_any_order(groups, kh, kw, channels, lanes, order, vectors, dtype, seed):
    from tinyconv.backends.kernels import emit, launch, pack

    shape = [(groups, kh, kw, channels, lanes)[axis] for axis in order]
    w = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    w = w.transpose([order.index(axis) for axis in range(5)])  # (G, KH, KW, C, O), whatever lies next to each other
    width = vectors * emit.vector_bytes() // w.itemsize
    packed, call = pack.panels(w, width)
    packed.fill(np.nan)
    launch.run([call])
    count = -(-lanes // width)
    # (G, panels, KH, KW, C, width) -> (G, KH, KW, C, panels * width)
    found = packed.reshape(groups, count, kh, kw, channels, width).transpose(0, 2, 3, 4, 1, 5).reshape(*w.shape[:4], -1)
    np.testing.assert_array_equal(found[..., :lanes], w)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), DTYPES, st.data())
def test_largest_of_rows(shape, dtype, data):
    x = np.random.default_rng(data.draw(st.integers(0, 2**31))).integers(-3, 3, shape).astype(dtype)
    flat = x.reshape(-1)
    flat[data.draw(st.integers(0, x.size - 1))] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 7.0]))
    np.testing.assert_array_equal(backends.host().max(x, -1), x.max(-1))
    np.testing.assert_array_equal(backends.host().max(x, x.ndim - 1, True), x.max(-1, keepdims=True))


def test_largest_of_nothing_but_minus_infinity():
    x = np.full((3, 50), -np.inf, np.float32)
    np.testing.assert_array_equal(backends.host().max(x, -1), x.max(-1))


@given(st.integers(1, 70), st.integers(1, 70), DTYPES, st.integers(0, 2**31))
def test_a_number_per_row_in_fused_expressions(rows, columns, dtype, seed):
    from tinyconv.backends.kernels import fused, launch

    rng = np.random.default_rng(seed)
    x, c, r = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, columns), (rows, 1), (columns,)))
    y = np.empty_like(x)
    launch.run(fused.calls("fcr|subtract 0 1;multiply 3 2|4|", [x, c, r], [y], [], dtype))
    np.testing.assert_array_equal(y, (x - c) * r)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "axes"), [((64, 10), 1), ((7, 3, 1000), 2), ((5, 6, 7), (1, 2)), ((40,), 0), ((3, 4), None)]
)
def test_sums_over_trailing_axes_are_rounded_once(shape, axes, dtype):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    exact = x.astype(np.longdouble).sum(axis=axes)
    found = backends.host().sum(x, axes)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, exact.astype(dtype), rtol=2 * np.finfo(dtype).eps, atol=1e-12)
