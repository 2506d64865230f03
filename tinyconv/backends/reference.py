"""The reference backend: every primitive in plain NumPy, written to be read.

A backend is a flat table of primitives: arrays and numbers in, new arrays out, nothing about tensors or gradients.
This table is the specification. A fast backend derives from it, overrides the hot primitives and inherits the
rest; one parametrised test runs every primitive of every backend against this one. Because all array work goes
through ``self.xp``, the same text runs on another array module with NumPy's interface.

Layouts, the same everywhere: images ``(N, H, W, C)``, kernels ``(KH, KW, C/G, O)`` with ``G`` groups. Primitives
neither modify their inputs (``assign`` apart) nor promise to return fresh memory: a result may be a view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.geometry import Window

Array = Any  # an array of the backend's own module
Axes = int | tuple[int, ...] | None

UNARY = (
    "negative", "absolute", "sign", "exp", "expm1", "log", "log1p", "sqrt", "square", "reciprocal",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
    "floor", "ceil", "rint", "isnan", "isfinite", "isinf", "logical_not",
)  # fmt: skip
BINARY = (
    "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "maximum", "minimum", "arctan2",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or",
)  # fmt: skip


class ReferenceBackend:
    """Table of primitives on NumPy arrays (see the module's docstring)."""

    name = "reference"
    device = "cpu"
    xp: Any = np

    if TYPE_CHECKING:  # the elementwise primitives, attached below

        def __getattr__(self, name: str) -> Callable[..., Array]: ...

    # --- arrays ------------------------------------------------------------------------------------------------

    def asarray(self, data: Any, dtype: Any = None) -> Array:
        """``data`` as an array of this backend, without a copy where possible."""
        return self.xp.asarray(data, dtype=dtype)

    def to_numpy(self, x: Array) -> np.ndarray:
        """``x`` as a NumPy array in host memory."""
        return np.asarray(x)

    def full(self, shape: Sequence[int], value: float, dtype: Any) -> Array:
        """An array of ``shape`` filled with ``value``."""
        return self.xp.full(shape, value, dtype)

    def arange(self, n: int, dtype: Any) -> Array:
        """The numbers 0 .. n-1."""
        return self.xp.arange(n, dtype=dtype)

    def copy(self, x: Array) -> Array:
        """``x`` in fresh, C-contiguous memory."""
        return self.xp.array(x, order="C")

    def astype(self, x: Array, dtype: Any) -> Array:
        """``x`` converted to ``dtype``."""
        return x.astype(dtype, copy=False)

    def assign(self, target: Array, value: Any) -> None:
        """Overwrite ``target`` with ``value``: the only primitive that changes an argument."""
        target[...] = value

    def check(self, x: Array, rule: Callable[..., None], *settings: Any) -> None:
        """Let ``rule(values, *settings)`` look at ``x`` on the host and raise where something is wrong with it.

        Unlike ``to_numpy`` this decides nothing else, so a recorded step can repeat it.
        """
        rule(self.to_numpy(x), *settings)

    # --- elementwise: ``exp(x)``, ``add(x, y)``, ... are attached below from UNARY and BINARY ------------------

    def where(self, condition: Array, x: Any, y: Any) -> Array:
        """``x`` where ``condition`` holds, else ``y``."""
        return self.xp.where(condition, x, y)

    def erf(self, x: Array) -> Array:
        """Gauss error function."""
        from scipy.special import erf

        return self.xp.asarray(erf(x), dtype=x.dtype)

    def sigmoid(self, x: Array) -> Array:
        """``1 / (1 + exp(-x))`` without overflow."""
        xp = self.xp
        z = xp.exp(-xp.absolute(x))
        return xp.where(x >= 0, 1 / (1 + z), z / (1 + z))

    # --- shape -------------------------------------------------------------------------------------------------

    def reshape(self, x: Array, shape: Sequence[int]) -> Array:
        """The elements of ``x``, in C order, as ``shape``."""
        return x.reshape(shape)

    def transpose(self, x: Array, axes: Sequence[int]) -> Array:
        """Permute the axes of ``x``."""
        return x.transpose(axes)

    def broadcast_to(self, x: Array, shape: Sequence[int]) -> Array:
        """``x`` repeated along new and unit axes up to ``shape``."""
        return self.xp.broadcast_to(x, shape)

    def concatenate(self, arrays: Sequence[Array], axis: int) -> Array:
        """Join arrays along an existing axis."""
        return self.xp.concatenate(arrays, axis)

    def pad(self, x: Array, widths: Sequence[tuple[int, int]], value: float) -> Array:
        """Surround ``x`` by ``widths`` cells of ``value``, (before, after) per axis."""
        return self.xp.pad(x, widths, constant_values=value)

    def getitem(self, x: Array, index: Any) -> Array:
        """``x[index]``, basic or advanced."""
        return x[index]

    def scatter_add(self, shape: Sequence[int], index: Any, updates: Array) -> Array:
        """Zeros of ``shape`` with ``updates`` added at ``index``: the adjoint of ``getitem``."""
        out = self.xp.zeros(shape, updates.dtype)
        if _is_basic(index):  # no cell twice
            out[index] = updates
        else:
            self.xp.add.at(out, index, updates)
        return out

    # --- reductions --------------------------------------------------------------------------------------------

    def sum(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        """Sum over ``axis``; small floats are accumulated in float64, then rounded once to their own dtype."""
        if x.dtype.kind == "f":
            total = self.xp.sum(x, axis=axis, dtype=np.float64, keepdims=keepdims)
            return self.xp.asarray(total, dtype=x.dtype)
        return self.xp.asarray(self.xp.sum(x, axis=axis, keepdims=keepdims))

    def prod(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        """Product over ``axis``."""
        return self.xp.asarray(self.xp.prod(x, axis=axis, keepdims=keepdims))

    def max(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        """Largest element; NaN wins."""
        return self.xp.asarray(self.xp.max(x, axis=axis, keepdims=keepdims))

    def min(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        """Smallest element; NaN wins."""
        return self.xp.asarray(self.xp.min(x, axis=axis, keepdims=keepdims))

    def all(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        """Whether every element is true."""
        return self.xp.asarray(self.xp.all(x, axis=axis, keepdims=keepdims))

    def any(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        """Whether some element is true."""
        return self.xp.asarray(self.xp.any(x, axis=axis, keepdims=keepdims))

    def argmax(self, x: Array, axis: int | None = None) -> Array:
        """Index of the largest element, the first among equals."""
        return self.xp.asarray(self.xp.argmax(x, axis=axis))

    def argmin(self, x: Array, axis: int | None = None) -> Array:
        """Index of the smallest element, the first among equals."""
        return self.xp.asarray(self.xp.argmin(x, axis=axis))

    def argsort(self, x: Array, axis: int) -> Array:
        """Indices that sort ``x`` along ``axis``; equal elements keep their order."""
        return self.xp.argsort(x, axis=axis, kind="stable")

    def cumsum(self, x: Array, axis: int) -> Array:
        """Running sum along ``axis``."""
        return self.xp.cumsum(x, axis=axis, dtype=x.dtype if x.dtype.kind == "f" else None)

    # --- contractions ------------------------------------------------------------------------------------------

    def matmul(self, x: Array, y: Array) -> Array:
        """Matrix product of the last two axes, batched over the broadcast leading ones: (..., M, K) @ (..., K, N)."""
        return self.xp.matmul(x, y)

    def einsum(self, subscripts: str, *operands: Array) -> Array:
        """Sum of products in Einstein's notation."""
        return self.xp.einsum(subscripts, *operands, optimize=len(operands) > 2)

    # --- convolution: three members of one family, each linear in both of its arguments ------------------------

    def conv2d(self, x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
        """Cross-correlation of (N, H, W, C) with (KH, KW, C/G, O), plus bias (O,): (N, OH, OW, O)."""
        kh, kw, c, o = w.shape
        columns = self._grouped_columns(x, window, groups)  # (G, N*OH*OW, KH*KW*C/G)
        kernels = w.reshape(kh * kw * c, groups, o // groups).transpose(1, 0, 2)
        y = columns @ kernels  # (G, N*OH*OW, KH*KW*C/G) @ (G, KH*KW*C/G, O/G) -> (G, N*OH*OW, O/G)
        oh, ow = window.output_size(x.shape[1:3])
        y = y.transpose(1, 0, 2).reshape(x.shape[0], oh, ow, o)
        return y if b is None else y + b

    def conv2d_input_grad(
        self, dy: Array, w: Array, input_shape: Sequence[int], window: Window, groups: int
    ) -> Array:
        """Gradient of ``conv2d`` for its input; also the transposed convolution. (N, OH, OW, O) -> (N, H, W, C)."""
        kh, kw, c, o = w.shape
        n, oh, ow, _ = dy.shape
        rows = dy.reshape(n * oh * ow, groups, o // groups).transpose(1, 0, 2)
        kernels = w.reshape(kh * kw * c, groups, o // groups).transpose(1, 2, 0)
        columns = rows @ kernels  # (G, N*OH*OW, O/G) @ (G, O/G, KH*KW*C/G) -> (G, N*OH*OW, KH*KW*C/G)
        columns = columns.reshape(groups, n, oh, ow, kh, kw, c).transpose(1, 2, 3, 4, 5, 0, 6)
        return self._add_windows(columns.reshape(n, oh, ow, kh, kw, groups * c), input_shape, window)

    def conv2d_weight_grad(
        self, x: Array, dy: Array, kernel_shape: Sequence[int], window: Window, groups: int
    ) -> Array:
        """Gradient of ``conv2d`` for its kernel: (N, H, W, C), (N, OH, OW, O) -> (KH, KW, C/G, O)."""
        kh, kw, c, o = kernel_shape
        columns = self._grouped_columns(x, window, groups)
        rows = dy.reshape(-1, groups, o // groups).transpose(1, 0, 2)
        dw = columns.transpose(0, 2, 1) @ rows  # (G, KH*KW*C/G, N*OH*OW) @ (G, N*OH*OW, O/G)
        return dw.transpose(1, 0, 2).reshape(kh, kw, c, o)

    # --- pooling: each with its adjoint ------------------------------------------------------------------------

    def max_pool2d(self, x: Array, window: Window) -> tuple[Array, Array]:
        """Largest cell of each window and its tap ``row * KW + column``; first among equals, NaN wins.

        Returns values (N, OH, OW, C) and taps (N, OH, OW, C), uint8 where they fit. Padding is never chosen.
        """
        xp = self.xp
        lowest = -np.inf if x.dtype.kind == "f" else (np.iinfo(x.dtype).min if x.dtype.kind in "iu" else False)
        columns = self._windows(x, window, lowest)
        n, oh, ow, kh, kw, c = columns.shape
        columns = columns.reshape(n, oh, ow, kh * kw, c)
        taps = xp.argmax(columns, axis=3)
        if any(map(any, window.padding)):  # a window of -inf must not choose its padding
            inside = self._windows(xp.ones((1, *x.shape[1:3], 1), bool), window, False)
            inside = inside.reshape(1, oh, ow, kh * kw, 1)
            chosen_inside = xp.take_along_axis(xp.broadcast_to(inside, columns.shape), taps[:, :, :, None], 3)
            taps = xp.where(chosen_inside[:, :, :, 0], taps, xp.argmax(inside, axis=3))
        y = xp.take_along_axis(columns, taps[:, :, :, None], 3)[:, :, :, 0]
        return y, taps.astype(np.uint8 if kh * kw <= 256 else np.int32)

    def max_pool2d_scatter(self, dy: Array, taps: Array, input_shape: Sequence[int], window: Window) -> Array:
        """Add each value of ``dy`` (N, OH, OW, C) into the input cell that ``taps`` names: (N, H, W, C)."""
        kh, kw = window.kernel
        chosen = taps[:, :, :, None] == self.xp.arange(kh * kw, dtype=taps.dtype)[:, None]
        columns = dy[:, :, :, None] * chosen  # (N, OH, OW, KH*KW, C)
        return self._add_windows(columns.reshape(*dy.shape[:3], kh, kw, dy.shape[3]), input_shape, window)

    def max_pool2d_gather(self, x: Array, taps: Array, window: Window) -> Array:
        """The cell of each window that ``taps`` names, the adjoint of the scatter: (N, OH, OW, C)."""
        columns = self._windows(x, window, 0)
        n, oh, ow, kh, kw, c = columns.shape
        columns = columns.reshape(n, oh, ow, kh * kw, c)
        return self.xp.take_along_axis(columns, taps[:, :, :, None].astype(np.intp), 3)[:, :, :, 0]

    def sum_pool2d(self, x: Array, window: Window) -> Array:
        """Sum of each window, padding counted as 0: (N, OH, OW, C)."""
        return self._windows(x, window, 0).sum(axis=(3, 4), dtype=x.dtype)

    def sum_pool2d_spread(self, dy: Array, input_shape: Sequence[int], window: Window) -> Array:
        """Add each value of ``dy`` into all cells of its window, the adjoint of ``sum_pool2d``: (N, H, W, C)."""
        n, oh, ow, c = dy.shape
        columns = self.xp.broadcast_to(dy[:, :, :, None, None], (n, oh, ow, *window.kernel, c))
        return self._add_windows(columns, input_shape, window)

    # --- image filtering ---------------------------------------------------------------------------------------

    def filter2d(
        self,
        image: Array,
        kernels: Sequence[Array],
        anchor: tuple[int, int],
        delta: float,
        border: str,
        dtype: Any,
        fused: bool,
    ) -> Array:
        """Correlation of (H, W, C) with kernels (KH, KW), one after the other, plus ``delta``: (H, W, C) of ``dtype``.

        ``kernels`` is one kernel, or a row (1, KW) and a column (KH, 1). ``anchor`` is the (row, column) of their
        product that lies over the pixel, ``border`` a mode of ``numpy.pad``. A sum starts with ``delta`` and runs over
        the taps that are not 0 in row-major order, in the kernels' type; ``fused``: each product is added before it is
        rounded. Integer results are rounded half to even and saturate.
        """
        xp = self.xp
        taps = kernels[-1].shape[0], kernels[0].shape[1]
        widths = [(before, k - 1 - before) for before, k in zip(anchor, taps)]
        x = xp.pad(image, (*widths, (0, 0)), mode=border).astype(kernels[0].dtype)
        for kernel in kernels:
            h, w = x.shape[0] - kernel.shape[0] + 1, x.shape[1] - kernel.shape[1] + 1
            start = delta if kernel is kernels[-1] else 0
            total = xp.full((h, w, x.shape[2]), start, kernel.dtype)
            wide = np.float64 if fused else kernel.dtype  # holds products of float32 without rounding
            for i, j in np.argwhere(self.to_numpy(kernel) != 0):
                product = kernel[i, j].astype(wide) * x[i : i + h, j : j + w].astype(wide)
                total = (total + product).astype(kernel.dtype)
            x = total
        if np.dtype(dtype).kind in "iu":
            limits = np.iinfo(dtype)
            x = xp.clip(xp.rint(x), limits.min, limits.max)
        return x.astype(dtype)

    # --- random numbers ----------------------------------------------------------------------------------------

    def random_uniform(self, key: int, shape: Sequence[int], dtype: Any) -> Array:
        """Uniform numbers in [0, 1): element ``i`` is a function of ``key`` and ``i`` alone (Philox4x32-10).

        Counter-based, so every backend and any number of threads gives the same numbers. float64 uses 53 random
        bits, everything smaller 24 (float16 numbers are rounded from them, never up to 1).
        """
        words_each = 2 if np.dtype(dtype) == np.float64 else 1
        count = int(np.prod(shape, dtype=np.int64))
        words = self._philox(key, -(-count * words_each // 4)).reshape(-1)[: count * words_each]
        if words_each == 2:
            high, low = words[0::2] >> np.uint64(5), words[1::2] >> np.uint64(6)
            numbers = (high * 67108864.0 + low) * 2.0**-53
        else:
            bits = 11 if np.dtype(dtype) == np.float16 else 24
            numbers = (words >> np.uint64(32 - bits)) * 2.0**-bits
        return numbers.astype(dtype).reshape(shape)

    def _philox(self, key: int, blocks: int) -> Array:
        """Philox4x32-10 for counters 0 .. blocks-1: (blocks, 4) words of 32 bits, held in uint64.

        Source: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11.
        """
        xp, low32, shift = self.xp, np.uint64(0xFFFFFFFF), np.uint64(32)
        counter = xp.arange(blocks, dtype=np.uint64)
        x0, x1 = counter & low32, counter >> shift
        x2, x3 = xp.zeros_like(x0), xp.zeros_like(x0)
        k0, k1 = key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF
        for _ in range(10):
            p0, p1 = x0 * np.uint64(0xD2511F53), x2 * np.uint64(0xCD9E8D57)
            x0, x1, x2, x3 = (
                (p1 >> shift) ^ x1 ^ np.uint64(k0),
                p1 & low32,
                (p0 >> shift) ^ x3 ^ np.uint64(k1),
                p0 & low32,
            )
            k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
        return xp.stack([x0, x1, x2, x3], axis=1)

    # --- shared by convolution and pooling ---------------------------------------------------------------------

    def _windows(self, x: Array, window: Window, fill: Any) -> Array:
        """All windows of ``x`` (N, H, W, C) as a view (N, OH, OW, KH, KW, C), padding filled with ``fill``."""
        (sh, sw), (dh, dw), (kh, kw) = window.strides, window.dilations, window.extent()
        if any(map(any, window.padding)):
            x = self.xp.pad(x, ((0, 0), *window.padding, (0, 0)), constant_values=fill)
        view = self.xp.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))
        return view[:, ::sh, ::sw, :, ::dh, ::dw].transpose(0, 1, 2, 4, 5, 3)

    def _grouped_columns(self, x: Array, window: Window, groups: int) -> Array:
        """The im2col matrix of each group: (N, H, W, C) -> (G, N*OH*OW, KH*KW*C/G)."""
        columns = self._windows(x, window, 0)
        n, oh, ow, kh, kw, c = columns.shape
        columns = columns.reshape(n * oh * ow, kh * kw, groups, c // groups)
        return columns.transpose(2, 0, 1, 3).reshape(groups, n * oh * ow, kh * kw * (c // groups))

    def _add_windows(self, columns: Array, input_shape: Sequence[int], window: Window) -> Array:
        """Add windows (N, OH, OW, KH, KW, C) back into their places of (N, H, W, C), the adjoint of ``_windows``."""
        n, h, w, c = input_shape
        (top, bottom), (left, right) = window.padding
        (sh, sw), (dh, dw), (kh, kw) = window.strides, window.dilations, window.kernel
        oh, ow = columns.shape[1:3]
        x = self.xp.zeros((n, h + top + bottom, w + left + right, c), columns.dtype)
        for i in range(kh):  # one strided addition per tap: within a tap no two windows share a cell
            for j in range(kw):
                rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)
                cols = slice(j * dw, j * dw + (ow - 1) * sw + 1, sw)
                x[:, rows, cols] += columns[:, :, :, i, j]
        return x[:, top : top + h, left : left + w]


def _is_basic(index: Any) -> bool:
    """Whether ``index`` holds only integers, slices, ``...`` and ``None``."""
    entries = index if isinstance(index, tuple) else (index,)
    return all(
        entry is None or entry is Ellipsis or isinstance(entry, slice | int | np.integer)
        for entry in entries
        if not isinstance(entry, bool)
    ) and not any(isinstance(entry, bool | np.bool_) for entry in entries)


def _elementwise(name: str) -> Callable[..., Array]:
    def primitive(self: ReferenceBackend, *arrays: Any) -> Array:
        return self.xp.asarray(getattr(self.xp, name)(*arrays))  # NumPy gives scalars for arrays without axes

    primitive.__name__ = name
    primitive.__doc__ = f"Elementwise ``{name}``, as in NumPy."
    return primitive


for _name in UNARY + BINARY:
    setattr(ReferenceBackend, _name, _elementwise(_name))
