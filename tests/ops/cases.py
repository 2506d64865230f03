"""The operations test table: how to draw arguments for each operation, and what NumPy or SciPy says it gives.

One row per name of ``tinyconv.ops.__all__``. The oracle is called as the operation is, on float64 arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.ndimage
import scipy.special
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests import philox
from tests.ops import naive


@dataclass(frozen=True)
class Call:
    """Arguments of one call: arrays (the float ones are operands, others indices and masks) and options."""

    arrays: list[Any]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One row: ``draw(pick)`` gives a ``Call``; ``oracle`` what it should return."""

    draw: Callable[[Pick], Call]
    oracle: Callable[..., Any]
    dtype: str = "same"  # of the result: "same" as NumPy gives for these inputs, "float", "bool", "index", "option"
    differentiable: bool = True
    integers: bool = True  # integer operands make sense
    loose: float = 1  # tolerances are multiplied by this (divisions by small numbers, long chains)
    call: Callable[..., Any] = lambda f, arrays, options: f(*arrays, **options)

    def apply(self, function: Callable[..., Any], arrays: Sequence[Any], options: dict[str, Any]) -> list[Any]:
        """Results of the operation or its oracle, as a list."""
        result = self.call(function, arrays, options)
        return list(result) if isinstance(result, list | tuple) else [result]


class Pick:
    """Draws what an operation needs. With ``smooth`` no two values are equal, so that maxima have gradients."""

    def __init__(self, draw: Callable[[Any], Any], smooth: bool) -> None:
        self.draw, self.smooth = draw, smooth
        self.count = 0  # of arrays, so that no two share their values

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> tuple[int, ...]:
        return self.draw(hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side))

    def shapes(self, count: int) -> tuple[tuple[int, ...], ...]:
        """Shapes that broadcast against each other, with axes of size 0 and 1 among them."""
        found = self.draw(hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, min_side=0, max_side=3))
        return found.input_shapes

    def floats(self, shape: Sequence[int], low: float = -3, high: float = 3, ties: bool = False) -> np.ndarray:
        self.count += 1
        rng = np.random.default_rng([self.count, self.draw(st.integers(0, 2**32 - 1))])
        values = rng.uniform(low, high, shape)
        if ties and not self.smooth and self.draw(st.booleans()):
            values = np.rint(values)
        return np.asarray(values)

    def masks(self, shape: Sequence[int]) -> np.ndarray:
        return np.asarray(self.floats(shape, -1, 1) > 0)

    def one_of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def axis(self, ndim: int) -> int:
        return self.integer(-ndim, ndim - 1)

    def axes(self, ndim: int) -> Any:
        """None, one axis or several."""
        if ndim == 0 or self.draw(st.booleans()):
            return None
        if self.draw(st.booleans()):
            return self.axis(ndim)
        return tuple(self.draw(st.permutations(range(ndim)))[: self.integer(1, ndim)])


@st.composite
def calls(draw: Any, case: Case, smooth: bool = False) -> Call:
    return case.draw(Pick(draw, smooth))


# --- rows of one kind ------------------------------------------------------------------------------------------


def unary(oracle: Any, low: float = -3, high: float = 3, dtype: str = "float", **more: Any) -> Case:
    return Case(lambda p: Call([p.floats(p.shape(), low, high)]), oracle, dtype, **more)


def binary(oracle: Any, low: float = -3, high: float = 3, **more: Any) -> Case:
    return Case(lambda p: Call([p.floats(s, low, high, ties=True) for s in p.shapes(2)]), oracle, **more)


def compare(oracle: Any) -> Case:
    return binary(oracle, dtype="bool", differentiable=False)


def flat(oracle: Any, dtype: str = "same") -> Case:
    return unary(oracle, dtype=dtype, differentiable=False)


def reduction(oracle: Any, min_side: int = 0, options: Any = None, **more: Any) -> Case:
    def draw(p: Pick) -> Call:
        x = p.floats(p.shape(min_dims=int(min_side > 1), min_side=min_side), ties=True)
        extra = {} if options is None else options(p)
        return Call([x], {"axis": p.axes(x.ndim), "keepdims": p.one_of(False, True), **extra})

    return Case(draw, oracle, **more)


def along_axis(oracle: Any, min_side: int = 0, **more: Any) -> Case:
    def draw(p: Pick) -> Call:
        x = p.floats(p.shape(min_dims=1, min_side=min_side), ties=True)
        return Call([x], {"axis": p.axis(x.ndim)})

    return Case(draw, oracle, **more)


def piecewise(condition: Any, then: Any, otherwise: Any) -> Any:
    def oracle(x: Any, **options: Any) -> Any:
        with np.errstate(over="ignore"):
            return np.where(condition(x), then(x, **options), otherwise(x, **options))

    return oracle


def moves(draw: Any, oracle: Any, **more: Any) -> Case:
    return Case(draw, oracle, **more)




# --- oracles ---------------------------------------------------------------------------------------------------


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def rounding(function: Any) -> Any:
    """Integers are kept; NumPy before 2.1 made them float64."""
    return lambda x: x if x.dtype.kind == "i" else function(x)


def softplus(x: Any) -> Any:
    return np.logaddexp(0, x)


def normal_cdf(x: Any) -> Any:
    return scipy.special.ndtr(x)


erf = np.vectorize(math.erf, otypes=[np.float64])


def elu(x: Any, alpha: float = 1.0) -> Any:
    return np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1))


def gelu(x: Any, approximate: bool = False) -> Any:
    if approximate:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x * normal_cdf(x)


def softmax(x: Any, axis: int = -1) -> Any:
    return scipy.special.softmax(x, axis) if x.size else x


def log_softmax(x: Any, axis: int = -1) -> Any:
    return scipy.special.log_softmax(x, axis) if x.size else x


def argsort(x: Any, axis: int = -1) -> Any:
    return np.argsort(x, axis, kind="stable")


def standardize(x: Any, axis: Any, epsilon: float = 1e-3) -> Any:
    mean, variance = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon), mean, variance


def layer_norm(x: Any, gamma: Any, beta: Any, axis: int = -1, epsilon: float = 1e-3) -> Any:
    return standardize(x, axis, epsilon)[0] * gamma + beta


def batch_norm(x: Any, mean: Any, variance: Any, gamma: Any, beta: Any, epsilon: float, axis: int) -> Any:
    last = np.moveaxis(x, axis, -1)
    return np.moveaxis(gamma * (last - mean) / np.sqrt(variance + epsilon) + beta, -1, axis)


def local_response_norm(x: Any, depth_radius: int, bias: float, alpha: float, beta: float, axis: int) -> Any:
    last = np.moveaxis(x, axis, -1)
    y = np.empty(last.shape)
    for c in range(last.shape[-1]):
        near = last[..., max(0, c - depth_radius) : c + depth_radius + 1]
        y[..., c] = last[..., c] / (bias + alpha * (near**2).sum(-1)) ** beta
    return np.moveaxis(y, -1, axis)


def dropout(x: Any, rate: float, key: int, dtype: Any = np.float64) -> Any:
    return np.where(philox.uniform(key, x.shape, x.dtype) >= rate, x / (1 - rate), 0)


def depthwise_conv2d(x: Any, w: Any, b: Any, **options: Any) -> Any:
    kh, kw, c, m = w.shape
    return naive.conv2d(x, w.reshape(kh, kw, 1, c * m), b, groups=c, **options)


def separable_conv2d(x: Any, depthwise: Any, pointwise: Any, b: Any, **options: Any) -> Any:
    y = depthwise_conv2d(x, depthwise, None, **options)
    return naive.conv2d(y, pointwise, b, data_format=options.get("data_format", "channels_last"))


def depth_max_pool2d(x: Any, depth: int) -> Any:
    return np.stack([x[..., i : i + depth].max(-1) for i in range(0, x.shape[-1], depth)], -1)


def repeat(x: Any, repeats: int, axis: int | None) -> Any:
    x, axis = (x.ravel(), 0) if axis is None else (x, axis)
    return np.concatenate([x[_at(x, axis, i)] for i in range(x.shape[axis]) for _ in range(repeats)] or [x], axis)


def _at(x: np.ndarray, axis: int, i: int) -> Any:
    return (*(slice(None),) * (axis % x.ndim), slice(i, i + 1))


# --- draws -----------------------------------------------------------------------------------------------------


def draw_clip(p: Pick) -> Call:
    return Call([p.floats(p.shape())], p.one_of({"minimum": -1, "maximum": 1.5}, {"minimum": -0.5}, {"maximum": 0.5}))


def draw_where(p: Pick) -> Call:
    condition, x, y = p.shapes(3)
    return Call([p.masks(condition), p.floats(x), p.floats(y)])


def draw_matmul(p: Pick) -> Call:
    m, k, n = (p.integer(0, 4) for _ in range(3))
    left, right = p.one_of(((), ()), ((2,), (2,)), ((3, 1), (2,)), ((1,), (3, 2)), ((0,), ()))
    x, y = p.floats((*left, m, k)), p.floats((*right, k, n))
    vector = p.one_of("no", "left", "right", "both")
    x = p.floats((k,)) if vector in ("left", "both") else x
    y = p.floats((k,)) if vector in ("right", "both") else y
    return Call([x, y])


def draw_dot(p: Pick) -> Call:
    k = p.integer(1, 3)
    x, y = p.one_of(
        ((k,), (k,)), ((2, k), (k, 3)), ((2, k), (k,)), ((k,), (2, k, 2)), ((2, 1, k), (2, k, 3)), ((), (k,))
    )
    return Call([p.floats(x), p.floats(y)])


EINSUMS = (
    "ij,jk->ik", "ij,jk", "bij,bjk->bik", "...ij,jk->...ik", "ij->ji", "ij->", "ii->i", "ii", "ij,ij->", "i,j->ij",
    "ijk,k->ji", "ij,jk,kl->il", "iij,j->i", "i...,i...->...", "ij,k->i", "nhwc,co->nhwo", "bi,bj,bk->ijk",
)  # fmt: skip


def draw_einsum(p: Pick) -> Call:
    subscripts = p.one_of(*EINSUMS)
    sizes = {letter: p.integer(0 if letter in "bn" else 1, 3) for letter in "bchijklnow"}
    dots = p.one_of((), (2,), (3, 2))
    operands = subscripts.split("->")[0].split(",")
    shapes = [(*dots, *(sizes[c] for c in s.strip("."))) if s.startswith("...") else
              (*(sizes[c] for c in s.strip(".")), *(dots if "..." in s else ())) for s in operands]  # fmt: skip
    return Call([p.floats(shape) for shape in shapes], {"subscripts": subscripts})


def draw_tensordot(p: Pick) -> Call:
    x, y, axes = p.one_of(
        ((2, 3, 4), (3, 4, 2), 2), ((2, 3), (3, 2), 1), ((2, 3), (4,), 0), ((2, 3, 4), (4, 3), ([2, 1], [0, 1])),
        ((2, 3), (2, 3), ([-1], [-1])), ((2, 3), (3, 0), (1, 0)), ((0, 2), (2, 0), ([0, 1], [1, 0])),
    )  # fmt: skip
    return Call([p.floats(x), p.floats(y)], {"axes": axes})


def draw_arg(p: Pick) -> Call:
    x = p.floats(p.shape(min_dims=1, min_side=1), ties=True)
    return Call([x], {"axis": p.one_of(None, p.axis(x.ndim))})


def draw_broadcast(p: Pick) -> Call:
    small, large = p.one_of(
        ((), (2, 3)), ((1,), (4,)), ((3, 1), (3, 2)), ((2, 1, 3), (2, 4, 3)), ((1,), (0,)), ((3,), (2, 3)), ((2,), (2,))
    )
    return Call([p.floats(small)], {"shape": large})


def draw_several(p: Pick, new_axis: bool) -> Call:
    shape = p.shape(min_dims=0 if new_axis else 1)
    axis = p.axis(len(shape) + new_axis)
    shapes = [list(shape) for _ in range(p.integer(1, 3))]
    if not new_axis:
        for s in shapes:
            s[axis] = p.integer(0, 3)
    return Call([p.floats(s) for s in shapes], {"axis": axis})


def draw_getitem(p: Pick) -> Call:
    x = p.floats(p.shape(min_dims=1, min_side=1))
    basic = hnp.basic_indices(x.shape, allow_newaxis=True, allow_ellipsis=True)
    advanced = hnp.integer_array_indices(x.shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3, min_side=0))
    mixed = st.just((slice(None), [0, -1, 0]) if x.ndim > 1 else ([0, -1, 0],))
    index = p.draw(st.one_of(basic, advanced, mixed, st.just(p.masks(x.shape)), st.just(p.masks(x.shape[:1]))))
    return Call([x], {"index": index})


def draw_axis_pair(p: Pick, first: str, second: str) -> Call:
    x = p.floats(p.shape(min_dims=1))
    return Call([x], {first: p.axis(x.ndim), second: p.axis(x.ndim)})


def draw_pad(p: Pick) -> Call:
    mode = p.one_of("constant", "edge", "reflect", "symmetric", "wrap")
    x = p.floats(p.shape(min_dims=1, min_side=0 if mode == "constant" else 1))
    widths = p.one_of(0, 2, (1, 3), [(p.integer(0, 3), p.integer(0, 3)) for _ in x.shape])
    return Call([x], {"widths": widths, "mode": mode})


def draw_repeat(p: Pick) -> Call:
    x = p.floats(p.shape(min_dims=1))
    return Call([x], {"repeats": p.integer(1, 3), "axis": p.one_of(None, p.axis(x.ndim))})


def draw_reshape(p: Pick) -> Call:
    old, new = p.one_of(
        ((2, 6), (3, 4)), ((2, 6), (-1,)), ((2, 6), 12), ((), (1, 1)), ((1,), ()), ((0, 3), (3, 0)), ((2, 3), (2, -1))
    )
    return Call([p.floats(old)], {"shape": new})


def draw_roll(p: Pick) -> Call:
    x = p.floats(p.shape(min_dims=1))
    return Call([x], {"shift": p.integer(-5, 5), "axis": p.one_of(None, p.axis(x.ndim))})


def draw_split(p: Pick) -> Call:
    x = p.floats(p.shape(min_dims=1))
    axis = p.axis(x.ndim)
    n = x.shape[axis]
    sections = p.one_of(*(k for k in range(1, 5) if n % k == 0), [1, 2], [0], [])
    return Call([x], {"indices_or_sections": sections, "axis": axis})


def draw_squeeze(p: Pick) -> Call:
    shape, axis = p.one_of(
        ((1, 2, 1), None), ((1, 2, 1), 0), ((1, 2, 1), -1), ((1, 0, 1), (0, 2)), ((), None), ((1,), 0)
    )
    return Call([p.floats(shape)], {"axis": axis})


def draw_take(p: Pick) -> Call:
    x = p.floats(p.shape(min_dims=1, min_side=1))
    axis = p.axis(x.ndim)
    n = x.shape[axis]
    return Call([x, p.draw(hnp.arrays(np.int64, hnp.array_shapes(max_dims=2, min_side=0, max_side=3),
                                      elements=st.integers(-n, n - 1)))], {"axis": axis})  # fmt: skip


def draw_take_along_axis(p: Pick) -> Call:
    x = p.floats(p.shape(min_dims=1, min_side=1))
    axis = p.axis(x.ndim)
    shape = list(x.shape)
    shape[axis] = p.integer(0, 3)
    n = x.shape[axis]
    return Call([x, p.draw(hnp.arrays(np.int64, tuple(shape), elements=st.integers(-n, n - 1)))], {"axis": axis})


def draw_transpose(p: Pick) -> Call:
    x = p.floats(p.shape())
    return Call([x], {"axes": p.one_of(None, p.draw(st.permutations(range(x.ndim))))})


def draw_batch_norm(p: Pick) -> Call:
    x = p.floats(p.shape(min_dims=1))
    axis = p.axis(x.ndim)
    c = x.shape[axis]
    statistics = [p.floats((c,)), p.floats((c,), 0.1, 3), p.floats((c,)), p.floats((c,))]
    return Call([x, *statistics], {"epsilon": p.one_of(1e-3, 1e-5), "axis": axis})


def draw_layer_norm(p: Pick) -> Call:
    x = p.floats(p.shape(min_dims=1, min_side=1))
    return Call([x, p.floats(x.shape[-1:]), p.floats(x.shape[-1:])], {"epsilon": p.one_of(0.1, 0.01)})


def draw_lrn(p: Pick) -> Call:
    x = p.floats(p.shape(min_dims=1, max_dims=4))
    settings = {"depth_radius": p.integer(0, 3), "bias": 1.5, "alpha": p.one_of(0.5, 2e-5), "beta": p.one_of(0.75, 0.5)}
    return Call([x], {**settings, "axis": p.axis(x.ndim)})


def draw_standardize(p: Pick) -> Call:
    x = p.floats(p.shape(min_dims=1, min_side=1))
    return Call([x], {"axis": p.axes(x.ndim), "epsilon": p.one_of(0.1, 0.01)})


def draw_dropout(p: Pick) -> Call:
    return Call([p.floats(p.shape())], {"rate": p.one_of(0.0, 0.25, 0.5, 0.9), "key": p.integer(0, 2**64 - 1)})


PADDINGS = ("valid", "same", "same_lower", 0, 2, (1, 2), ((0, 1), (2, 0)))


def draw_images(p: Pick, channels: int, data_format: str, **options: Any) -> np.ndarray:
    n, h, w = p.integer(0, 2), p.integer(5, 7), p.integer(5, 7)
    return p.floats((n, h, w, channels) if data_format == "channels_last" else (n, channels, h, w), **options)


def draw_window(p: Pick) -> tuple[tuple[int, int], dict[str, Any]]:
    """A kernel that fits into the smallest images above, and the options of a convolution."""
    kernel = p.integer(1, 3), p.integer(1, 3)
    dilations = p.one_of(1, 2, (1, 2))
    strides = p.one_of(1, 2, (1, 3), (3, 2))
    return kernel, {"strides": strides, "padding": p.one_of(*PADDINGS), "dilations": dilations,
                    "data_format": p.one_of("channels_last", "channels_first")}  # fmt: skip


def draw_conv2d(p: Pick) -> Call:
    kernel, options = draw_window(p)
    groups, cg, og = p.integer(1, 3), p.integer(1, 2), p.integer(1, 2)
    x = draw_images(p, groups * cg, options["data_format"])
    w, b = p.floats((*kernel, cg, groups * og)), p.floats((groups * og,))
    return Call([x, w, b], {**options, "groups": groups})


def draw_true_conv2d(p: Pick) -> Call:
    call = draw_conv2d(p)
    return Call(call.arrays, call.options)


def draw_depthwise(p: Pick) -> Call:
    kernel, options = draw_window(p)
    c, m = p.integer(1, 3), p.integer(1, 2)
    return Call([draw_images(p, c, options["data_format"]), p.floats((*kernel, c, m)), p.floats((c * m,))], options)


def draw_separable(p: Pick) -> Call:
    kernel, options = draw_window(p)
    c, m, o = p.integer(1, 3), p.integer(1, 2), p.integer(1, 3)
    x = draw_images(p, c, options["data_format"])
    return Call([x, p.floats((*kernel, c, m)), p.floats((1, 1, c * m, o)), p.floats((o,))], options)


def draw_conv2d_transpose(p: Pick) -> Call:
    kernel, strides = (p.integer(1, 4), p.integer(1, 3)), p.one_of(1, 2, (2, 3))
    padding = p.one_of("valid", "same", "same_lower", 0, 1, ((0, 1), (1, 0)))
    output_padding = p.one_of(None, 0, 1) if strides != 1 else p.one_of(None, 0)
    c, o = p.integer(1, 3), p.integer(1, 2)
    x = p.floats((p.integer(0, 2), p.integer(3, 5), p.integer(3, 5), c))
    options = {"strides": strides, "padding": padding, "output_padding": output_padding, "dilations": p.one_of(1, 2)}
    return Call([x, p.floats((*kernel, o, c)), p.floats((o,))], options)


def draw_pool(p: Pick) -> Call:
    pool_size = p.one_of(1, 2, 3, (2, 3), (3, 1))
    least = min(naive.pair(pool_size))
    paddings = [q for q in PADDINGS if isinstance(q, str) or np.max(q) < least]
    data_format = p.one_of("channels_last", "channels_first")
    x = draw_images(p, p.integer(0, 3), data_format, ties=True)
    return Call([x], {"pool_size": pool_size, "strides": p.one_of(None, 1, 2, (1, 2)),
                      "padding": p.one_of(*paddings), "data_format": data_format})  # fmt: skip


def draw_avg_pool(p: Pick) -> Call:
    call = draw_pool(p)
    return Call(call.arrays, {**call.options, "count_include_pad": p.one_of(False, True)})


def draw_global_pool(p: Pick) -> Call:
    data_format = p.one_of("channels_last", "channels_first")
    x = draw_images(p, 2, data_format, ties=True)
    return Call([x], {"data_format": data_format, "keepdims": p.one_of(False, True)})


def global_pool(reduce: Any) -> Any:
    def oracle(x: Any, data_format: str, keepdims: bool) -> Any:
        return reduce(x, (2, 3) if data_format == "channels_first" else (1, 2), keepdims=keepdims)

    return oracle


def draw_depth_pool(p: Pick) -> Call:
    return Call([draw_images(p, 6, "channels_last", ties=True)], {"depth": p.one_of(1, 2, 3, 6)})


def draw_volumes(p: Pick, channels: int, data_format: str, **options: Any) -> np.ndarray:
    n, d, h, w = p.integer(0, 2), p.integer(3, 4), p.integer(3, 4), p.integer(3, 5)
    return p.floats((n, d, h, w, channels) if data_format == "channels_last" else (n, channels, d, h, w), **options)


PADDINGS_3D = ("valid", "same", "same_lower", 0, 1, (0, 1, 2), ((0, 1), (1, 0), (2, 1)))


def draw_conv3d(p: Pick) -> Call:
    groups, cg, og = p.integer(1, 2), p.integer(1, 2), p.integer(1, 2)
    kernel, dilations = (p.integer(1, 3), p.integer(1, 2), p.integer(1, 2)), p.one_of(1, (1, 2, 1))
    options = {"strides": p.one_of(1, 2, (2, 1, 3)), "padding": p.one_of(*PADDINGS_3D), "dilations": dilations,
               "data_format": p.one_of("channels_last", "channels_first"), "groups": groups}  # fmt: skip
    x = draw_volumes(p, groups * cg, options["data_format"])
    return Call([x, p.floats((*kernel, cg, groups * og)), p.floats((groups * og,))], options)


def draw_conv3d_transpose(p: Pick) -> Call:
    kernel, strides = (p.integer(2, 3), p.integer(2, 3), p.integer(2, 3)), p.one_of(1, 2, (2, 3, 2))
    padding = p.one_of("valid", "same", "same_lower", 0, 1, ((0, 1), (1, 0), (0, 0)))
    output_padding = p.one_of(None, 0, 1) if strides != 1 else p.one_of(None, 0)
    c, o, data_format = p.integer(1, 2), p.integer(1, 2), p.one_of("channels_last", "channels_first")
    shape = p.integer(0, 2), p.integer(2, 3), p.integer(2, 3), p.integer(2, 3)
    x = p.floats((*shape, c) if data_format == "channels_last" else (shape[0], c, *shape[1:]))
    options = {"strides": strides, "padding": padding, "output_padding": output_padding,
               "dilations": p.one_of(1, (2, 1, 1)), "data_format": data_format}  # fmt: skip
    return Call([x, p.floats((*kernel, o, c)), p.floats((o,))], options)


def draw_pool3d(p: Pick) -> Call:
    pool_size = p.one_of(1, 2, 3, (1, 2, 3), (3, 1, 2))
    least = min(naive.triple(pool_size))
    paddings = [q for q in PADDINGS_3D if isinstance(q, str) or np.max(q) < least]
    data_format = p.one_of("channels_last", "channels_first")
    x = draw_volumes(p, p.integer(0, 2), data_format, ties=True)
    return Call([x], {"pool_size": pool_size, "strides": p.one_of(None, 1, 2, (1, 2, 1)),
                      "padding": p.one_of(*paddings), "data_format": data_format})  # fmt: skip


def draw_avg_pool3d(p: Pick) -> Call:
    call = draw_pool3d(p)
    return Call(call.arrays, {**call.options, "count_include_pad": p.one_of(False, True)})


def draw_adaptive(p: Pick) -> Call:
    data_format, rank = p.one_of("channels_last", "channels_first"), p.integer(1, 3)
    n, c, size = p.integer(0, 2), p.integer(1, 2), [p.integer(1, 5) for _ in range(rank)]
    x = p.floats((n, *size, c) if data_format == "channels_last" else (n, c, *size), ties=True)
    output_size = p.one_of(p.integer(1, 4), [p.integer(1, 6) for _ in range(rank)])
    return Call([x], {"output_size": output_size, "data_format": data_format})


def draw_resize(p: Pick) -> Call:
    data_format = p.one_of("channels_last", "channels_first")
    n, c, h, w = p.integer(0, 2), p.integer(0, 2), p.integer(1, 7), p.integer(1, 7)
    x = p.floats((n, h, w, c) if data_format == "channels_last" else (n, c, h, w))
    interpolation = p.one_of("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "area")
    return Call([x], {"size": p.one_of(p.integer(1, 5), (p.integer(1, 9), p.integer(1, 9))), "data_format": data_format,
                      "interpolation": interpolation, "antialias": p.one_of(False, True)})  # fmt: skip


SCIPY_MODES = {"constant": "grid-constant", "nearest": "nearest", "reflect": "reflect", "wrap": "grid-wrap"}


def draw_sampling(p: Pick) -> dict[str, Any]:
    return {"fill_mode": p.one_of(*SCIPY_MODES), "fill_value": p.one_of(0.0, -1.5),
            "data_format": p.one_of("channels_last", "channels_first")}  # fmt: skip


def draw_sample_images(p: Pick) -> Call:
    n, h, w, c, options = p.integer(0, 2), p.integer(1, 4), p.integer(1, 4), p.integer(1, 2), draw_sampling(p)
    shape = n, p.integer(1, 3), p.integer(0, 3)
    x = p.floats((n, h, w, c) if options["data_format"] == "channels_last" else (n, c, h, w))
    return Call([x, p.floats(shape, -2 * h, 3 * h), p.floats(shape, -2 * w, 3 * w)], options)


def sample_images(x: Any, rows: Any, columns: Any, fill_mode: str, fill_value: float, data_format: str) -> Any:
    if data_format == "channels_last":
        channels_first = sample_images(np.moveaxis(x, 3, 1), rows, columns, fill_mode, fill_value, "channels_first")
        return np.moveaxis(channels_first, 1, 3)
    y = np.zeros((*x.shape[:2], *rows.shape[1:]))
    for n, c in np.ndindex(*x.shape[:2]):
        y[n, c] = scipy.ndimage.map_coordinates(
            x[n, c], [rows[n], columns[n]], np.float64, order=1, mode=SCIPY_MODES[fill_mode], cval=fill_value
        )
    return y


def draw_affine(p: Pick) -> Call:
    n, h, w, c, options = p.integer(0, 2), p.integer(1, 4), p.integer(1, 4), p.integer(1, 2), draw_sampling(p)
    x = p.floats((n, h, w, c) if options["data_format"] == "channels_last" else (n, c, h, w))
    return Call([x, p.floats(p.one_of((6,), (n, 6)))], options)


def affine_transform(x: Any, transform: Any, fill_mode: str, fill_value: float, data_format: str) -> Any:
    if data_format == "channels_last":
        channels_first = affine_transform(np.moveaxis(x, 3, 1), transform, fill_mode, fill_value, "channels_first")
        return np.moveaxis(channels_first, 1, 3)
    y = np.zeros(x.shape)
    for n, c in np.ndindex(*x.shape[:2]):
        a0, a1, a2, b0, b1, b2 = transform if transform.ndim == 1 else transform[n]
        y[n, c] = scipy.ndimage.affine_transform(
            x[n, c], [[b1, b0], [a1, a0]], [b2, a2], output=np.float64, order=1, mode=SCIPY_MODES[fill_mode],
            cval=fill_value,
        )  # fmt: skip
    return y


def draw_uniform(p: Pick) -> Call:
    low, high = p.one_of((0.0, 1.0), (-2.0, 0.5))
    dtype = p.one_of("float64", "float32", "float16")
    return Call([], {"shape": p.shape(), "minval": low, "maxval": high, "dtype": dtype, "key": p.integer(0, 2**64 - 1)})


def random_uniform(shape: Any, minval: float, maxval: float, dtype: str, key: int) -> Any:
    return philox.uniform(key, shape, dtype).astype(np.float64) * (maxval - minval) + minval


def subscripts_first(f: Any, arrays: Any, options: Any) -> Any:
    return f(options["subscripts"], *arrays)


def any_shape(**options: Any) -> Any:
    """Draw one array and these options."""
    return lambda p: Call([p.floats(p.shape())], options)


def sequence(f: Any, arrays: Any, options: Any) -> Any:
    """Call with the arrays as one argument."""
    return f(list(arrays), **options)




# --- the table -------------------------------------------------------------------------------------------------

CASES: dict[str, Case] = {
    # elementwise, one operand
    "abs": unary(np.abs, dtype="same"),
    "absolute": unary(np.abs, dtype="same"),
    "negative": unary(np.negative, dtype="same"),
    "square": unary(np.square, dtype="same"),
    "exp": unary(np.exp),
    "expm1": unary(np.expm1),
    "log": unary(np.log, 0.1, 5),
    "log1p": unary(np.log1p, -0.9, 5),
    "sqrt": unary(np.sqrt, 0.1, 5),
    "reciprocal": unary(lambda x: 1 / x, 0.3, 3),
    "sin": unary(np.sin),
    "cos": unary(np.cos),
    "tan": unary(np.tan, -1.2, 1.2),
    "arcsin": unary(np.arcsin, -0.9, 0.9),
    "arccos": unary(np.arccos, -0.9, 0.9),
    "arctan": unary(np.arctan),
    "sinh": unary(np.sinh),
    "cosh": unary(np.cosh),
    "tanh": unary(np.tanh),
    "sigmoid": unary(sigmoid),
    "erf": unary(erf),
    "sign": flat(np.sign),
    "floor": flat(rounding(np.floor)),
    "ceil": flat(rounding(np.ceil)),
    "rint": flat(rounding(np.rint)),
    "isnan": flat(np.isnan, "bool"),
    "isinf": flat(np.isinf, "bool"),
    "isfinite": flat(np.isfinite, "bool"),
    "logical_not": flat(np.logical_not, "bool"),
    # elementwise, two operands
    "add": binary(np.add),
    "subtract": binary(np.subtract),
    "multiply": binary(np.multiply),
    "divide": binary(np.divide, 0.3, 3, dtype="float"),
    "power": binary(np.power, 0.3, 2.5),
    "pow": binary(np.power, 0.3, 2.5),
    "maximum": binary(np.maximum),
    "minimum": binary(np.minimum),
    "arctan2": binary(np.arctan2, 0.2, 3, dtype="float"),
    "floor_divide": binary(np.floor_divide, 0.3, 9, differentiable=False),
    "remainder": binary(np.remainder, 0.3, 9),
    "equal": compare(np.equal),
    "not_equal": compare(np.not_equal),
    "less": compare(np.less),
    "less_equal": compare(np.less_equal),
    "greater": compare(np.greater),
    "greater_equal": compare(np.greater_equal),
    "logical_and": compare(np.logical_and),
    "logical_or": compare(np.logical_or),
    # choosing and converting
    "where": Case(draw_where, np.where),
    "clip": Case(draw_clip, lambda x, minimum=None, maximum=None: np.clip(x, minimum, maximum), integers=False),
    "astype": Case(
        lambda p: Call([p.floats(p.shape())], {"dtype": p.one_of("float64", "float32", "int32")}),
        lambda x, dtype: x.astype(dtype),
        dtype="option",
        differentiable=False,  # a step in float32 is no difference quotient; see test_elementwise
    ),
    "stop_gradient": unary(lambda x: x, dtype="same", differentiable=False),
    # activations
    "relu": unary(lambda x: np.maximum(x, 0)),
    "relu6": unary(lambda x: np.clip(x, 0, 6), -3, 9),
    "leaky_relu": Case(
        lambda p: Call([p.floats(p.shape())], {"negative_slope": p.one_of(0.2, 0.01)}),
        lambda x, negative_slope: np.where(x >= 0, x, negative_slope * x),
        dtype="float",
    ),
    "elu": Case(lambda p: Call([p.floats(p.shape())], {"alpha": p.one_of(1.0, 0.5, 2.5)}), elu, dtype="float"),
    "selu": unary(lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772)),
    "softplus": unary(softplus),
    "softsign": unary(lambda x: x / (1 + abs(x))),
    "silu": unary(lambda x: x * sigmoid(x)),
    "gelu": Case(lambda p: Call([p.floats(p.shape())], {"approximate": p.one_of(False, True)}), gelu, dtype="float"),
    "mish": unary(lambda x: x * np.tanh(softplus(x))),
    "hard_sigmoid": unary(lambda x: np.clip(x / 6 + 0.5, 0, 1), -6, 6),
    "hard_silu": unary(lambda x: x * np.clip(x / 6 + 0.5, 0, 1), -6, 6),
    "heaviside": unary(lambda x: np.where(x >= 0, 1.0, 0.0), differentiable=False),
    "softmax": along_axis(softmax, dtype="float"),
    "log_softmax": along_axis(log_softmax, dtype="float"),
    # reductions
    "sum": reduction(np.sum),
    "prod": reduction(np.prod),
    "mean": reduction(np.mean, 1, dtype="float"),
    "var": reduction(np.var, 2, lambda p: {"ddof": p.one_of(0, 1)}, dtype="float"),
    "std": reduction(lambda x, **k: np.std(x, **k), 2, lambda p: {"ddof": p.one_of(0, 1)}, dtype="float"),
    "max": reduction(np.max, 1),
    "min": reduction(np.min, 1),
    "logsumexp": reduction(lambda x, **k: np.log(np.sum(np.exp(x), **k)), 1, dtype="float"),
    "all": reduction(np.all, dtype="bool", differentiable=False),
    "any": reduction(np.any, dtype="bool", differentiable=False),
    "argmax": Case(draw_arg, np.argmax, "index", differentiable=False),
    "argmin": Case(draw_arg, np.argmin, "index", differentiable=False),
    "argsort": along_axis(argsort, dtype="index", differentiable=False),
    "sort": along_axis(np.sort),
    "cumsum": along_axis(np.cumsum),
    # contractions
    "matmul": Case(draw_matmul, np.matmul),
    "dot": Case(draw_dot, np.dot),
    "outer": Case(lambda p: Call([p.floats(p.shape(max_dims=2)) for _ in range(2)]), np.outer),
    "tensordot": Case(draw_tensordot, np.tensordot),
    "einsum": Case(draw_einsum, np.einsum, integers=False, call=subscripts_first),
    # shape
    "broadcast_to": Case(draw_broadcast, np.broadcast_to),
    "concatenate": Case(lambda p: draw_several(p, new_axis=False), np.concatenate, call=sequence),
    "stack": Case(lambda p: draw_several(p, new_axis=True), np.stack, call=sequence),
    "expand_dims": Case(
        lambda p: Call([p.floats(p.shape(max_dims=2))], {"axis": p.one_of(0, -1, (0, 1), (-1, 0), [1, -1], ())}),
        np.expand_dims,
    ),
    "flatten": Case(any_shape(), np.ravel),
    "flip": Case(lambda p: (lambda x: Call([x], {"axis": p.axes(x.ndim)}))(p.floats(p.shape())), np.flip),
    "getitem": Case(draw_getitem, lambda x, index: x[index]),
    "moveaxis": Case(lambda p: draw_axis_pair(p, "source", "destination"), np.moveaxis),
    "pad": Case(draw_pad, lambda x, widths, mode: np.pad(x, widths, mode)),
    "repeat": Case(draw_repeat, repeat),
    "reshape": Case(draw_reshape, lambda x, shape: x.reshape(shape)),
    "roll": Case(draw_roll, np.roll),
    "split": Case(draw_split, np.split),
    "squeeze": Case(draw_squeeze, np.squeeze),
    "swapaxes": Case(lambda p: draw_axis_pair(p, "axis1", "axis2"), np.swapaxes),
    "take": Case(draw_take, np.take),
    "take_along_axis": Case(draw_take_along_axis, np.take_along_axis),
    "tile": Case(
        lambda p: Call([p.floats(p.shape(max_dims=2))], {"repeats": p.one_of(2, (2,), (3, 1), (2, 1, 2), (1, 0))}),
        lambda x, repeats: np.tile(x, repeats),
    ),
    "transpose": Case(draw_transpose, np.transpose),
    # networks
    "standardize": Case(draw_standardize, standardize, dtype="float", loose=10),
    "batch_norm": Case(draw_batch_norm, batch_norm, dtype="float", integers=False, loose=10),
    "layer_norm": Case(draw_layer_norm, layer_norm, dtype="float", loose=10),
    "local_response_norm": Case(draw_lrn, local_response_norm, dtype="float", loose=3),
    "dropout": Case(draw_dropout, dropout, dtype="float", integers=False),
    "conv2d": Case(draw_conv2d, naive.conv2d, dtype="float", loose=3),
    "true_conv2d": Case(
        draw_true_conv2d, lambda x, w, b, **o: naive.conv2d(x, w[::-1, ::-1], b, **o), dtype="float", loose=3
    ),
    "depthwise_conv2d": Case(draw_depthwise, depthwise_conv2d, dtype="float", loose=3),
    "separable_conv2d": Case(draw_separable, separable_conv2d, dtype="float", loose=10),
    "conv2d_transpose": Case(draw_conv2d_transpose, naive.conv2d_transpose, dtype="float", loose=3),
    "max_pool2d": Case(draw_pool, naive.max_pool2d),
    "avg_pool2d": Case(draw_avg_pool, naive.avg_pool2d, dtype="float"),
    "global_avg_pool2d": Case(draw_global_pool, global_pool(np.mean), dtype="float"),
    "global_max_pool2d": Case(draw_global_pool, global_pool(np.max)),
    "depth_max_pool2d": Case(draw_depth_pool, depth_max_pool2d),
    # volumes
    "conv3d": Case(draw_conv3d, naive.conv3d, dtype="float", loose=3),
    "conv3d_transpose": Case(draw_conv3d_transpose, naive.conv3d_transpose, dtype="float", loose=3),
    "max_pool3d": Case(draw_pool3d, naive.max_pool3d),
    "avg_pool3d": Case(draw_avg_pool3d, naive.avg_pool3d, dtype="float", loose=3),
    # other grids
    "adaptive_avg_pool": Case(draw_adaptive, lambda x, **o: naive.adaptive_pool(np.mean, x, **o), dtype="float"),
    "adaptive_max_pool": Case(draw_adaptive, lambda x, **o: naive.adaptive_pool(np.max, x, **o)),
    "resize": Case(draw_resize, naive.resize, dtype="float", loose=3),
    "sample_images": Case(draw_sample_images, sample_images, dtype="float", loose=3),
    "affine_transform": Case(draw_affine, affine_transform, dtype="float", integers=False, loose=3),
    "random_uniform": Case(draw_uniform, random_uniform, dtype="option", differentiable=False),
}
