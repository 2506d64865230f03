"""Every primitive of every backend: the reference against independent oracles, the others against the reference.

One table holds a row per primitive: how to draw its arguments, and what it must return.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.signal
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyconv import backends, config
from tinyconv.backends.reference import BINARY, UNARY, ReferenceBackend
from tinyconv.geometry import Window, make_pool_window, make_window

pytestmark = pytest.mark.filterwarnings("ignore:.*(encountered|zero).*:RuntimeWarning")

FAST = [pytest.param("cpu", marks=pytest.mark.skipif(not importlib.util.find_spec("numba"), reason="no Numba"))]


@pytest.fixture(autouse=True)
def kernels_for_every_size(monkeypatch):
    """Let the CPU backend use its kernels, and all threads, however small the arrays are."""
    if importlib.util.find_spec("numba"):
        from tinyconv.backends import cpu
        from tinyconv.backends.kernels import launch

        monkeypatch.setattr(cpu, "LARGE", 0)
        monkeypatch.setattr(launch, "SMALL", 0)


# --- drawing arguments ------------------------------------------------------------------------------------------


class Draw:
    """Draws arguments: sizes by hypothesis, numbers from a drawn seed."""

    def __init__(self, data: st.DataObject):
        self.data = data
        self.rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        self.dtype = np.dtype(self.one_of("float32", "float64"))

    def one_of(self, *choices: Any) -> Any:
        return self.data.draw(st.sampled_from(choices))

    def integer(self, low: int, high: int) -> int:
        return self.data.draw(st.integers(low, high))

    def shape(self, least: int = 0, most: int = 4) -> tuple[int, ...]:
        sizes = st.sampled_from((0, 1, 2, 3, 5, 16, 17, 33))
        return tuple(self.data.draw(st.lists(sizes, min_size=least, max_size=most)))

    def array(self, shape: tuple[int, ...], special: bool = False) -> np.ndarray:
        """Normal numbers, now and then NaN and infinities, in one of many memory layouts."""
        x = np.asarray(self.rng.standard_normal(shape).astype(self.dtype))
        if special:
            odd = [0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, np.finfo(self.dtype).smallest_subnormal]
            x = np.where(self.rng.random(shape) < 0.2, self.rng.choice(odd, shape).astype(self.dtype), x)
        return self.laid_out(x)

    def laid_out(self, x: np.ndarray) -> np.ndarray:
        layout = self.one_of("plain", "plain", "fortran", "sliced", "reversed", "read-only", "unaligned")
        if layout == "fortran" and x.ndim:
            return np.asfortranarray(x)
        if layout == "sliced" and x.ndim:
            return np.repeat(x, 2, axis=-1)[..., ::2]
        if layout == "reversed" and x.ndim:
            return x[::-1].copy()[::-1]
        if layout == "unaligned":
            memory = np.zeros(x.nbytes + 1, np.uint8)
            moved = memory[1:].view(x.dtype).reshape(x.shape)
            moved[...] = x
            return moved
        if layout == "read-only":
            x = x.copy()
            x.flags.writeable = False
        return x

    def channels(self) -> int:
        return self.one_of(1, 3, 16, 20, 50, 65)

    def convolution(self) -> tuple[tuple[int, ...], tuple[int, ...], Window, int]:
        """Shapes of input and kernel, window, groups."""
        groups = self.one_of(1, 1, 1, 2, 3, 20)
        c, o = (1, 1) if groups == 20 and self.one_of(False, True) else (self.channels(), self.channels())
        if groups > 1:
            c, o = min(c, 20), min(o, 20)
        kernel = (self.integer(1, 5), self.integer(1, 5))
        strides, dilations = ((self.integer(1, 3), self.integer(1, 3)) for _ in range(2))
        padding = tuple((self.integer(0, 3), self.integer(0, 3)) for _ in range(2))
        low = [max(1, (k - 1) * d + 1 - sum(p)) for k, d, p in zip(kernel, dilations, padding)]
        size = tuple(least + self.integer(0, 9) for least in low)
        window = make_window(size, kernel, strides, padding, dilations)
        n = self.one_of(0, 1, 3, 17)
        return (n, *size, c * groups), (*kernel, c, o * groups), window, groups

    def pooling(self) -> tuple[tuple[int, ...], Window]:
        """Shape of the input, window."""
        pool = self.one_of((1, 1), (2, 2), (2, 2), (3, 3), (2, 3), (4, 1), (17, 16))
        padding = tuple((self.integer(0, min(3, k - 1)), self.integer(0, min(3, k - 1))) for k in pool)
        size = tuple(max(1, k - sum(p)) + self.integer(0, 9) for k, p in zip(pool, padding))
        window = make_pool_window(size, pool, (self.integer(1, 4), self.integer(1, 4)), padding)
        return (self.one_of(0, 1, 3, 17), *size, self.channels()), window


# --- oracles ----------------------------------------------------------------------------------------------------


def double(x: Any) -> Any:
    """Floats as float64."""
    return x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def conv2d(x, w, b, window, groups):
    """SciPy's correlation, channel by channel."""
    (sh, sw), (dh, dw), (eh, ew) = window.strides, window.dilations, window.extent()
    c, o = w.shape[2:]
    x = np.pad(double(x), ((0, 0), *window.padding, (0, 0)))
    spread = np.zeros((eh, ew, c, o))
    spread[::dh, ::dw] = w
    y = np.zeros((len(x), (x.shape[1] - eh) // sh + 1, (x.shape[2] - ew) // sw + 1, o))
    for n in range(len(x)):
        for j in range(o):
            for i in range(c):
                plane = x[n, :, :, j // (o // groups) * c + i]
                y[n, :, :, j] += scipy.signal.correlate(plane, spread[:, :, i, j], "valid", "direct")[::sh, ::sw]
    return y if b is None else y + b


def meetings(window, input_shape, output_shape):
    """All (output position, tap, input position) that meet, padding left out."""
    (sh, sw), (dh, dw), (kh, kw) = window.strides, window.dilations, window.kernel
    (top, _), (left, _) = window.padding
    for oh, ow, i, j in np.ndindex(*output_shape[1:3], kh, kw):
        h, w = oh * sh - top + i * dh, ow * sw - left + j * dw
        if 0 <= h < input_shape[1] and 0 <= w < input_shape[2]:
            yield (oh, ow), (i, j), (h, w)


def conv2d_input_grad(dy, w, input_shape, window, groups):
    dx = np.zeros(input_shape)
    c, o = w.shape[2], w.shape[3] // groups
    for (oh, ow), (i, j), (h, v) in meetings(window, input_shape, dy.shape):
        for g in range(groups):
            part = double(dy[:, oh, ow, g * o : (g + 1) * o]) @ double(w[i, j, :, g * o : (g + 1) * o].T)
            dx[:, h, v, g * c : (g + 1) * c] += part
    return dx


def conv2d_weight_grad(x, dy, kernel_shape, window, groups):
    dw = np.zeros(kernel_shape)
    c, o = kernel_shape[2], kernel_shape[3] // groups
    for (oh, ow), (i, j), (h, v) in meetings(window, x.shape, dy.shape):
        for g in range(groups):
            part = double(x[:, h, v, g * c : (g + 1) * c].T) @ double(dy[:, oh, ow, g * o : (g + 1) * o])
            dw[i, j, :, g * o : (g + 1) * o] += part
    return dw


def max_pool2d(x, window):
    """Cell by cell, in the order of the taps."""
    shape = (len(x), *window.output_size(x.shape[1:3]), x.shape[3])
    y, taps = np.zeros(shape, x.dtype), np.full(shape, -1)
    for (oh, ow), (i, j), (h, w) in meetings(window, x.shape, shape):
        cell, best = x[:, h, w], y[:, oh, ow]
        better = (taps[:, oh, ow] < 0) | (cell > best) | (np.isnan(cell) & ~np.isnan(best))
        y[:, oh, ow] = np.where(better, cell, best)
        taps[:, oh, ow] = np.where(better, i * window.kernel[1] + j, taps[:, oh, ow])
    return y, taps.astype(np.uint8 if math.prod(window.kernel) <= 256 else np.int32)


def max_pool2d_scatter(dy, taps, input_shape, window):
    dx = np.zeros(input_shape)
    for (oh, ow), (i, j), (h, w) in meetings(window, input_shape, dy.shape):
        dx[:, h, w] += np.where(taps[:, oh, ow] == i * window.kernel[1] + j, double(dy[:, oh, ow]), 0)
    return dx


def max_pool2d_gather(x, taps, window):
    y = np.zeros(taps.shape)
    for (oh, ow), (i, j), (h, w) in meetings(window, x.shape, taps.shape):
        named = taps[:, oh, ow] == i * window.kernel[1] + j
        y[:, oh, ow] = np.where(named, double(x[:, h, w]), y[:, oh, ow])
    return y


def sum_pool2d(x, window):
    y = np.zeros((len(x), *window.output_size(x.shape[1:3]), x.shape[3]))
    for (oh, ow), _, (h, w) in meetings(window, x.shape, y.shape):
        y[:, oh, ow] += double(x[:, h, w])
    return y


def sum_pool2d_spread(dy, input_shape, window):
    dx = np.zeros(input_shape)
    for (oh, ow), _, (h, w) in meetings(window, input_shape, dy.shape):
        dx[:, h, w] += double(dy[:, oh, ow])
    return dx


def philox_uniform(key, shape, dtype):
    """Word by word in Python integers."""
    words: list[int] = []
    count = math.prod(shape)
    wide = np.dtype(dtype) == np.float64
    for block in range(-(-count * (2 if wide else 1) // 4)):
        x, k = [block & 0xFFFFFFFF, block >> 32, 0, 0], [key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF]
        for _ in range(10):
            p, q = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
            x = [q >> 32 ^ x[1] ^ k[0], q & 0xFFFFFFFF, p >> 32 ^ x[3] ^ k[1], p & 0xFFFFFFFF]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        words += x
    if wide:
        numbers = [((a >> 5) * 2**26 + (b >> 6)) / 2**53 for a, b in zip(words[0::2], words[1::2])]
    else:
        bits = 11 if np.dtype(dtype) == np.float16 else 24
        numbers = [(word >> 32 - bits) / 2**bits for word in words]
    return np.array(numbers[:count]).reshape(shape)


def filter2d(image, kernels, anchor, delta, border, dtype, fused):
    """SciPy's correlation of the padded image with the product of the kernels."""
    kernel = double(kernels[0]) if len(kernels) == 1 else double(kernels[1]) @ double(kernels[0])
    widths = [(before, k - 1 - before) for before, k in zip(anchor, kernel.shape)]
    x = np.pad(image.astype(float), (*widths, (0, 0)), mode=border)
    planes = [scipy.signal.correlate(x[:, :, i], kernel, "valid", "direct") for i in range(x.shape[2])]
    y = np.stack(planes, axis=2) + delta
    return np.clip(np.rint(y), 0, 255) if dtype == np.uint8 else y


# --- the table --------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One primitive: ``draw`` gives its arguments, ``oracle`` what it must return for them."""

    draw: Callable[[Draw], tuple[Any, ...]]
    oracle: Callable[..., Any]


def in_double(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of NumPy in float64."""
    return lambda *args, **kwargs: function(*map(double, args), **kwargs)


def unary(d: Draw) -> tuple[Any, ...]:
    return (d.array(d.shape(), special=True),)


def binary(d: Draw) -> tuple[Any, ...]:
    shape = d.shape()
    other = d.one_of("same", "same", "row", "one", "number", "column")
    y: Any = 1.5
    if other != "number":
        keep = {"same": 0, "one": len(shape), "column": 0}.get(other, len(shape) - 1)
        small = shape[max(keep, 0) :]
        y = d.array((*small[:-1], 1) if other == "column" and small else small, special=True)
    pair = (d.array(shape, special=True), y)
    return pair if d.one_of(True, False) else pair[::-1]


def reduction(d: Draw) -> tuple[Any, ...]:
    shape = tuple(max(1, n) for n in d.shape(1))
    axes = tuple(sorted(d.data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    return d.array(shape), d.one_of(None, axes, axes[0], -1), d.one_of(True, False)


def booleans(d: Draw) -> tuple[Any, ...]:
    x, axis, keepdims = reduction(d)
    return x > 0, axis, keepdims


def one_axis(d: Draw) -> tuple[Any, ...]:
    shape = tuple(max(1, n) for n in d.shape(1))
    return np.round(d.array(shape)), d.integer(-len(shape), len(shape) - 1)


def matrices(d: Draw) -> tuple[Any, ...]:
    m, k, n = (d.one_of(0, 1, 3, 17, 50, 65, 130) for _ in range(3))
    lead_x, lead_y = d.one_of(((), ()), ((), ()), ((3,), ()), ((3,), (3,)), ((2, 1), (1, 3)), ((), (2,)))
    x, y = d.array((*lead_x, m, k)), d.array((*lead_y, k, n))
    if d.one_of(True, False):
        x = np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    if d.one_of(True, False):
        y = np.ascontiguousarray(y.swapaxes(-1, -2)).swapaxes(-1, -2)
    return x, y


def forward(d: Draw) -> tuple[Any, ...]:
    x, w, window, groups = d.convolution()
    return d.array(x), d.array(w), d.one_of(None, d.array(w[3:])), window, groups


def input_grad(d: Draw) -> tuple[Any, ...]:
    x, w, window, groups = d.convolution()
    return d.array((x[0], *window.output_size(x[1:3]), w[3])), d.array(w), x, window, groups


def weight_grad(d: Draw) -> tuple[Any, ...]:
    x, w, window, groups = d.convolution()
    return d.array(x), d.array((x[0], *window.output_size(x[1:3]), w[3])), w, window, groups


def pool_input(d: Draw) -> tuple[Any, ...]:
    x, window = d.pooling()
    return d.array(x, special=True), window


def finite_pool_input(d: Draw) -> tuple[Any, ...]:
    x, window = d.pooling()
    return d.array(x), window


def pool_output(d: Draw) -> tuple[Any, ...]:
    x, window = d.pooling()
    return d.array((x[0], *window.output_size(x[1:3]), x[3])), x, window


def taps_and_input(d: Draw) -> tuple[Any, ...]:
    x, window = d.pooling()
    _, taps = max_pool2d(d.array(x), window)
    return d.array(x), d.laid_out(taps), window


def taps_and_output(d: Draw) -> tuple[Any, ...]:
    x, taps, window = taps_and_input(d)
    return d.array(taps.shape), taps, x.shape, window


def reshaped(d: Draw) -> tuple[Any, ...]:
    shape = d.shape(1)
    return d.array(shape), (*shape[1:], shape[0])


def permuted(d: Draw) -> tuple[Any, ...]:
    shape = d.shape()
    return d.array(shape), tuple(d.data.draw(st.permutations(range(len(shape)))))


def indexed(d: Draw) -> tuple[tuple[int, ...], Any]:
    index = d.one_of(1, slice(0, 2), (slice(None), 1), np.array([2, 0, 2]), (np.array([0, 0]), np.array([1, 1])))
    return (3, 5), index


def getitem(d: Draw) -> tuple[Any, ...]:
    shape, index = indexed(d)
    return d.array(shape), index


def scatter_add(d: Draw) -> tuple[Any, ...]:
    shape, index = indexed(d)
    return shape, index, d.array(np.zeros(shape)[index].shape)


def scatter_add_oracle(shape, index, updates):
    out = np.zeros(shape)
    flat, places = out.reshape(-1), np.arange(out.size).reshape(shape)[index]
    for place, value in zip(np.ravel(places), np.ravel(updates)):
        flat[place] += value
    return out


def padded(d: Draw) -> tuple[Any, ...]:
    shape = d.shape(1, 4)
    widths = [(d.integer(0, 2), d.integer(0, 2)) for _ in shape]
    if len(shape) == 4 and d.one_of(True, True, False):  # images
        widths[0] = widths[3] = (0, 0)
    return d.array(shape), tuple(widths), d.one_of(0, 0.0, 0.5)


def filtering(d: Draw) -> tuple[Any, ...]:
    shape, kh, kw = (d.integer(6, 40), d.integer(6, 70), d.one_of(1, 3)), d.integer(1, 5), d.integer(1, 5)
    border = d.one_of("reflect", "symmetric", "edge", "constant", "wrap")
    shapes = d.one_of([(kh, kw)], [(1, kw), (kh, 1)])
    kernels = [d.rng.integers(-2, 3, shape).astype(d.dtype) for shape in shapes]
    image, dtype = d.array(shape), d.dtype
    if d.dtype == np.float32 and d.one_of(True, False):
        image, dtype = d.laid_out(d.rng.integers(0, 256, shape, np.uint8)), np.dtype(np.uint8)
    anchor = (d.integer(0, kh - 1), d.integer(0, kw - 1))
    return image, kernels, anchor, d.one_of(0.0, 2.0), border, dtype, d.one_of(True, False)


def sized(d: Draw) -> tuple[Any, ...]:
    return d.integer(0, 2**64 - 1), d.shape(), d.one_of("float16", "float32", "float64")


TABLE = {
    **{name: Row(unary, in_double(getattr(np, name))) for name in UNARY},
    **{name: Row(binary, in_double(getattr(np, name))) for name in BINARY},
    "asarray": Row(unary, double),
    "to_numpy": Row(unary, double),
    "copy": Row(unary, double),
    "full": Row(lambda d: (d.shape(), 1.5, d.dtype), lambda shape, value, dtype: np.full(shape, value)),
    "arange": Row(lambda d: (d.integer(0, 9), d.dtype), lambda n, dtype: np.array(range(n), float)),
    "astype": Row(lambda d: (d.array(d.shape()), np.dtype("float32")), lambda x, dtype: double(x)),
    "where": Row(lambda d: (d.array((3, 1)) > 0, d.array((3, 4)), 0.0), lambda c, x, y: np.where(c, double(x), y)),
    "erf": Row(unary, in_double(scipy.special.erf)),
    "sigmoid": Row(unary, in_double(scipy.special.expit)),
    "reshape": Row(reshaped, in_double(np.reshape)),
    "transpose": Row(permuted, in_double(np.transpose)),
    "broadcast_to": Row(lambda d: (d.array((3, 1)), (2, 3, 4)), in_double(np.broadcast_to)),
    "concatenate": Row(
        lambda d: ([d.array((2, 3)), d.array((2, 1))], 1), lambda arrays, axis: np.hstack([*map(double, arrays)])
    ),
    "pad": Row(padded, lambda x, widths, value: np.pad(double(x), widths, constant_values=value)),
    "getitem": Row(getitem, lambda x, index: double(x)[index]),
    "scatter_add": Row(scatter_add, scatter_add_oracle),
    "sum": Row(reduction, lambda x, axis, keepdims: np.sum(double(x), axis, keepdims=keepdims)),
    "prod": Row(reduction, lambda x, axis, keepdims: np.prod(double(x), axis, keepdims=keepdims)),
    "max": Row(reduction, lambda x, axis, keepdims: np.max(double(x), axis, keepdims=keepdims)),
    "min": Row(reduction, lambda x, axis, keepdims: np.min(double(x), axis, keepdims=keepdims)),
    "all": Row(booleans, lambda x, axis, keepdims: np.all(x, axis, keepdims=keepdims)),
    "any": Row(booleans, lambda x, axis, keepdims: np.any(x, axis, keepdims=keepdims)),
    "argmax": Row(one_axis, np.argmax),
    "argmin": Row(one_axis, np.argmin),
    "argsort": Row(one_axis, lambda x, axis: np.argsort(x, axis, kind="mergesort")),
    "cumsum": Row(one_axis, in_double(np.cumsum)),
    "matmul": Row(matrices, in_double(np.matmul)),
    "einsum": Row(lambda d: ("ij,kj->ik", d.array((3, 5)), d.array((4, 5))), lambda _, x, y: double(x) @ double(y).T),
    "conv2d": Row(forward, conv2d),
    "conv2d_input_grad": Row(input_grad, conv2d_input_grad),
    "conv2d_weight_grad": Row(weight_grad, conv2d_weight_grad),
    "max_pool2d": Row(pool_input, max_pool2d),
    "max_pool2d_scatter": Row(taps_and_output, max_pool2d_scatter),
    "max_pool2d_gather": Row(taps_and_input, max_pool2d_gather),
    "sum_pool2d": Row(finite_pool_input, sum_pool2d),
    "sum_pool2d_spread": Row(pool_output, sum_pool2d_spread),
    "filter2d": Row(filtering, filter2d),
    "random_uniform": Row(sized, philox_uniform),
}
EXACT = {"max_pool2d", "max_pool2d_gather", "random_uniform", "max", "min", "argmax", "argmin", "argsort"}
TESTED_BELOW = {"assign", "check"}


def check(name: str, got: Any, expected: Any) -> None:
    """Equal shapes, and values up to the rounding of the primitive's type."""
    if isinstance(expected, tuple):
        assert len(got) == len(expected)
        for one, other in zip(got, expected):
            check(name, one, other)
        return
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    if name in EXACT or got.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected.astype(got.dtype))
        return
    finite = np.abs(expected[np.isfinite(expected)])
    eps = np.finfo(got.dtype).eps
    rounded = expected.astype(got.dtype)  # may overflow to infinity
    np.testing.assert_allclose(got, rounded, rtol=16 * eps, atol=16 * eps * min(finite.max(initial=0), 100))


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_check_lets_a_rule_look_at_the_values(name):
    def at_most(values, limit):
        if values.max() > limit:
            raise ValueError(f"Expected at most {limit}. Received: {values.max()}")

    backend = backends.get(name)
    assert backend.check(np.arange(4.0), at_most, 3) is None
    with pytest.raises(ValueError, match="Received: 3"):
        backend.check(np.arange(4.0), at_most, 2)


def test_every_primitive_has_a_row():
    primitives = {
        name for name in dir(ReferenceBackend) if not name.startswith("_") and callable(getattr(ReferenceBackend, name))
    }
    assert primitives == TABLE.keys() | TESTED_BELOW


@pytest.mark.parametrize("name", sorted(TABLE))
def test_reference_agrees_with_the_oracle(name):
    @given(st.data())
    def test(data):
        arguments = TABLE[name].draw(Draw(data))
        check(name, getattr(backends.get("reference"), name)(*arguments), TABLE[name].oracle(*arguments))

    test()


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("name", sorted(TABLE))
def test_backend_agrees_with_the_reference(backend, name):
    @given(st.data())
    def test(data):
        arguments = TABLE[name].draw(Draw(data))
        before = [np.array(x) for x in arguments if isinstance(x, np.ndarray)]
        expected = getattr(backends.get("reference"), name)(*arguments)
        got = getattr(backends.get(backend), name)(*arguments)
        pairs = zip(got, expected) if isinstance(expected, tuple) else [(got, expected)]
        for one, other in pairs:
            assert one.dtype == other.dtype
            check(name, one, other)
        for x, old in zip((x for x in arguments if isinstance(x, np.ndarray)), before):
            np.testing.assert_array_equal(x, old)  # inputs are left alone

    test()


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("algorithm", ["auto", "direct"])
@settings(max_examples=20)
@given(
    n=st.sampled_from([1, 3, 64, 130]),
    channels=st.tuples(*[st.sampled_from([1, 3, 20, 50, 64, 65])] * 2),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.sampled_from([1, 3, 5]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32),
)
def test_batches_and_channels_of_networks(backend, algorithm, n, channels, size, kernel, dtype, seed):
    """Against the reference in float64, with errors in units of a typical sum."""
    rng, (c, o) = np.random.default_rng(seed), channels
    x, dy, v = (rng.standard_normal((n, *size, k)).astype(dtype) for k in (c, o, c))
    w, b = rng.standard_normal((kernel, kernel, c, o)).astype(dtype), rng.standard_normal(o).astype(dtype)
    window, pool = make_window(size, kernel, 1, "same"), make_pool_window(size, 2, 2, "same")
    taps = backends.get("reference").max_pool2d(x, pool)[1]
    dp = rng.standard_normal(taps.shape).astype(dtype)
    calls = [  # primitive, arguments, products that are added up
        ("conv2d", (x, w, b, window, 1), kernel**2 * c),
        ("conv2d_input_grad", (dy, w, x.shape, window, 1), kernel**2 * o),
        ("conv2d_weight_grad", (x, dy, w.shape, window, 1), n * math.prod(size)),
        ("matmul", (x.reshape(n, -1), v.reshape(n, -1).T), c * math.prod(size)),
        ("matmul", (x.reshape(-1, c), w[0, 0]), c),
        ("max_pool2d", (x, pool), 1),
        ("max_pool2d_scatter", (dp, taps, x.shape, pool), 1),
        ("max_pool2d_gather", (x, taps, pool), 1),
        ("sum_pool2d", (x, pool), 4),
        ("sum_pool2d_spread", (dp, x.shape, pool), 4),
        ("sum", (x, (0, 1, 2)), n * math.prod(size)),
        ("max", (x, -1), 1),
        ("tanh", (x,), 1),
        ("multiply", (x, w[0, 0, :, 0]), 1),
    ]
    before = config.convolution_algorithm()
    config.set_convolution_algorithm(algorithm)
    try:
        found = [getattr(backends.get(backend), name)(*arguments) for name, arguments, _ in calls]
    finally:
        config.set_convolution_algorithm(before)
    for got, (name, arguments, terms) in zip(found, calls):
        expected = getattr(backends.get("reference"), name)(*map(double, arguments))
        if isinstance(expected, tuple):
            (got, places), (expected, right) = got, expected
            np.testing.assert_array_equal(places, right)
        assert got.dtype == dtype
        tolerance = {np.float32: 1e-4, np.float64: 1e-13}[dtype] * math.sqrt(terms)
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("backend", ["reference", *FAST])
def test_assign_overwrites_its_target(backend):
    target = np.zeros((2, 3))
    backends.get(backend).assign(target, np.arange(3.0))
    np.testing.assert_array_equal(target, [[0, 1, 2], [0, 1, 2]])


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_spread_as_in_the_reference(backend, bad):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 9, 9, 20)), rng.standard_normal((3, 3, 20, 17))
    x[1, 4, 4, 3] = bad
    window = make_window((9, 9), 3, 2, "same")
    dy = rng.standard_normal((2, *window.output_size((9, 9)), 17))
    dy[0, 2, 2, 1] = bad
    for name, arguments in (
        ("conv2d", (x, w, None, window, 1)),
        ("conv2d_input_grad", (dy, w, x.shape, window, 1)),
        ("conv2d_weight_grad", (x, dy, w.shape, window, 1)),
        ("matmul", (x.reshape(-1, 20), w[0, 0])),
        ("sum", (x, (0, 1, 2))),
        ("sum_pool2d", (x, make_pool_window((9, 9), 3, 2))),
    ):
        expected = getattr(backends.get("reference"), name)(*arguments)
        got = getattr(backends.get(backend), name)(*arguments)
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected), err_msg=name)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected), err_msg=name)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("shape", [(1, 70_000), (70_000, 1), (64, 33, 65), (3, 40_000)])
def test_large_sums_are_rounded_once(backend, shape):
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32) + 1
    for axis in (None, 0, -1, tuple(range(len(shape) - 1))):
        exact = x.sum(axis, dtype=np.longdouble)
        got = backends.get(backend).sum(x, axis)
        assert np.all(np.abs(got - exact) <= 0.51 * np.spacing(np.abs(got)))
