"""The CPU backend: Numba kernels for the hot primitives, the reference for the rest.

Importing this module is cheap: Numba is imported, and kernels are compiled or fetched from the disk cache, when a hot
primitive is first called.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv.backends.reference import Array, Axes, ReferenceBackend
from tinyconv.config import convolution_algorithm
from tinyconv.geometry import Window, normalize_axis


class _Kernels:
    """The modules of the kernels room, imported at first use."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        module = importlib.import_module(f"tinyconv.backends.kernels.{name}")
        setattr(self, name, module)
        return module


_kernels: Any = _Kernels()


def _hot(*arrays: Any) -> bool:
    """Whether the kernels serve these arrays: non-empty, of one float type that they know, in native byte order."""
    dtype = arrays[0].dtype
    return dtype in (np.float32, np.float64) and all(x.dtype == dtype and x.size for x in arrays)


LARGE = 65536  # elements from which elementwise kernels and sums pay against NumPy's own


class CPUBackend(ReferenceBackend):
    """Numba kernels on NumPy arrays (see the module's docstring)."""

    name = "cpu"
    last_write = object()  # another one whenever an array was overwritten, by any table

    # --- the ways in which primitives get memory and work done; a planner overrides them ------------------------

    def _run(self, calls: Sequence[Any]) -> None:
        """Run calls of kernels."""
        _kernels.launch.run(calls)

    def _empty(self, shape: Sequence[int], dtype: Any) -> Array:
        """An array for a result, with undefined contents."""
        return np.empty(shape, dtype)

    def _packed(self, x: Array) -> Array:
        """``x`` as a C-contiguous array aligned to its elements."""
        return np.require(x, requirements=["C", "A"])

    def _matrix(self, x: Array) -> Array:
        """``x`` with one contiguous axis, a transposed view included."""
        plain = x.flags.aligned and x.itemsize in x.strides and min(x.strides) > 0
        return x if plain else self._packed(x)

    def _is_fixed(self, x: Array) -> bool:
        """Whether ``x`` stays as it is while the same calls are run again and again."""
        return False

    def assign(self, target: Array, value: Any) -> None:
        super().assign(target, value)
        CPUBackend.last_write = object()

    # --- elementwise: those of _UNARY and _BINARY are attached below ---------------------------------------------

    def sigmoid(self, x: Array) -> Array:
        return self._map(super().sigmoid, "sigmoid", x)

    def _map(self, fallback: Callable[..., Array], name: str, *operands: Any) -> Array:
        """An elementwise kernel on a large contiguous array, with a row or a number beside it; else ``fallback``.

        What NumPy computes with another formula takes the kernel whatever its size, so that it does not depend on it.
        """
        largest = max(operands, key=np.size)
        if name in _APPROXIMATE and isinstance(largest, np.ndarray) and _hot(largest):
            operands = (self._packed(largest),)
        elif np.ndim(largest) == 0 or largest.size < LARGE or not _hot(largest):
            return fallback(*operands)
        dtype, last = largest.dtype, largest.shape[-1] if largest.ndim else 1
        arrays = []
        for x in operands:
            if isinstance(x, (int, float)) and not isinstance(x, bool):
                x = np.array(x, dtype)  # a Python number takes the array's type, as in NumPy
            usable = isinstance(x, np.ndarray) and x.dtype == dtype and x.flags.c_contiguous and x.flags.aligned
            if not usable or not (x.shape == largest.shape or x.size == 1 >= x.ndim or x.shape == (last,)):
                return fallback(*operands)
            arrays.append(x)
        columns = last if any(x.shape == (last,) != largest.shape for x in arrays) else largest.size
        y = self._empty(largest.shape, np.bool_ if name in _COMPARISONS else dtype)
        self._run(_kernels.elementwise.apply(name, arrays, y, columns))
        return y

    # --- shape -------------------------------------------------------------------------------------------------

    def pad(self, x: Array, widths: Sequence[tuple[int, int]], value: float) -> Array:
        sides = [tuple(sides) for sides in widths]
        of_images = x.ndim == 4 and sides[0] == sides[3] == (0, 0) and min(map(min, sides)) >= 0
        if not of_images or value != 0 or x.size < LARGE or not _hot(x):
            return super().pad(x, widths, value)
        y = self._empty([n + sum(pair) for n, pair in zip(x.shape, sides)], x.dtype)
        self._run([_kernels.conv.pad(self._packed(x), y, (sides[1][0], sides[2][0]))])
        return y

    # --- reductions --------------------------------------------------------------------------------------------

    def sum(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        given = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        axes = sorted(normalize_axis(a, x.ndim) for a in given)
        if axes == list(range(x.ndim - 1)) and axes and _hot(x):
            y = self._empty(x.shape[-1:], x.dtype)
            self._run(_kernels.fused.calls("f|||0", [self._packed(x)], [], [y], x.dtype, self._empty))
            return y.reshape([1] * len(axes) + [-1]) if keepdims else y
        adjacent = len(axes) > 0 and axes == list(range(axes[0], axes[-1] + 1))
        shape = x.shape
        outer, inner = math.prod(shape[: axes[0]] if axes else ()), math.prod(shape[axes[-1] + 1 :] if axes else ())
        if not adjacent or not x.flags.c_contiguous or not _hot(x) or (inner > 1 and x.size < LARGE):
            return super().sum(x, axis, keepdims)
        y = self._empty((outer * inner,), x.dtype)
        self._run(_kernels.reduce.total(self._packed(x), y, outer, x.size // y.size, inner, self._empty))
        kept = [1 if a in axes else n for a, n in enumerate(shape)]
        return y.reshape(kept if keepdims else [n for a, n in enumerate(shape) if a not in axes])

    def max(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Array:
        if axis not in (-1, x.ndim - 1) or not _hot(x):
            return super().max(x, axis, keepdims)
        y = self._empty(x.shape[:-1], x.dtype)
        self._run(_kernels.reduce.largest(self._packed(x), y))
        return y[..., None] if keepdims else y

    # --- contractions ------------------------------------------------------------------------------------------

    def matmul(self, x: Array, y: Array) -> Array:
        if min(x.ndim, y.ndim) < 2 or not _hot(x, y) or x.shape[-1] != y.shape[-2]:
            return super().matmul(x, y)
        if y.ndim == 2:  # all leading axes of x are rows of one matrix
            x = x if x.ndim == 2 else self._packed(x)  # where its axes cannot be joined, reshape would copy in passing
            rows = self._matrix(x.reshape(-1, x.shape[-1]))
            z = self._empty((len(rows), y.shape[1]), x.dtype)
            right, fixed = self._matrix(y), self._is_fixed(y)
            self._run(_kernels.gemm.matmul(rows, right, z, empty=self._empty, fixed=fixed))
            return z.reshape(*x.shape[:-1], y.shape[1])
        if x.shape[-2] * x.shape[-1] * y.shape[-1] < 1_000_000:  # NumPy is quick with many small matrices
            return super().matmul(x, y)
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        z = self._empty((*batch, x.shape[-2], y.shape[-1]), x.dtype)
        x, y = np.broadcast_to(x, (*batch, *x.shape[-2:])), np.broadcast_to(y, (*batch, *y.shape[-2:]))
        for i in np.ndindex(batch):
            self._run(_kernels.gemm.matmul(self._matrix(x[i]), self._matrix(y[i]), z[i], empty=self._empty))
        return z

    # --- convolution -------------------------------------------------------------------------------------------

    def conv2d(self, x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
        if not _hot(x, w, *([] if b is None else [b])):
            return super().conv2d(x, w, b, window, groups)
        return self._conv2d(x, w, b, window, groups)

    def _conv2d(
        self, x: Array, w: Array, b: Array | None, window: Window, groups: int, relu: bool = False
    ) -> Array:
        y = self._empty((x.shape[0], *window.output_size(x.shape[1:3]), w.shape[3]), x.dtype)
        b = None if b is None else self._packed(b)
        kernels = _convolution(y.shape, w.shape[2], window, groups, x.dtype)
        x, w, fixed = self._packed(x), self._packed(w), self._is_fixed(w)
        self._run(kernels.forward(x, w, b, y, window, groups, relu, self._empty, fixed))
        return y

    def conv2d_input_grad(self, dy: Array, w: Array, input_shape: Sequence[int], window: Window, groups: int) -> Array:
        if not _hot(dy, w) or 0 in input_shape:
            return super().conv2d_input_grad(dy, w, input_shape, window, groups)
        dx = self._empty(input_shape, dy.dtype)
        kernels = _convolution(dx.shape, w.shape[3], window, groups, dy.dtype)
        self._run(kernels.input_grad(self._packed(dy), self._packed(w), dx, window, groups, self._empty))
        return dx

    def conv2d_weight_grad(
        self, x: Array, dy: Array, kernel_shape: Sequence[int], window: Window, groups: int
    ) -> Array:
        if not _hot(x, dy) or 0 in kernel_shape:
            return super().conv2d_weight_grad(x, dy, kernel_shape, window, groups)
        dw = self._empty(kernel_shape, x.dtype)
        kernels = _convolution(dy.shape, x.shape[3], window, groups, x.dtype, weights=True)
        self._run(kernels.weight_grad(self._packed(x), self._packed(dy), dw, window, groups, self._empty))
        return dw

    # --- pooling -----------------------------------------------------------------------------------------------

    def max_pool2d(self, x: Array, window: Window) -> tuple[Array, Array]:
        if not _hot(x) or window.dilations != (1, 1):
            return super().max_pool2d(x, window)
        y = self._empty((x.shape[0], *window.output_size(x.shape[1:3]), x.shape[3]), x.dtype)
        taps = self._empty(y.shape, np.uint8 if window.kernel[0] * window.kernel[1] <= 256 else np.int32)
        pool = _kernels.pool
        self._run(pool.forward(pool.MAX, self._packed(x), taps, y, window))
        return y, taps

    def max_pool2d_scatter(self, dy: Array, taps: Array, input_shape: Sequence[int], window: Window) -> Array:
        if not _hot(dy) or 0 in input_shape or window.dilations != (1, 1) or not _are_taps(taps):
            return super().max_pool2d_scatter(dy, taps, input_shape, window)
        dx = self._empty(input_shape, dy.dtype)
        pool = _kernels.pool
        self._run(pool.backward(pool.SCATTER, self._packed(dy), self._packed(taps), dx, window))
        return dx

    def max_pool2d_gather(self, x: Array, taps: Array, window: Window) -> Array:
        if not _hot(x) or window.dilations != (1, 1) or not _are_taps(taps):
            return super().max_pool2d_gather(x, taps, window)
        y = self._empty(taps.shape, x.dtype)
        pool = _kernels.pool
        self._run(pool.forward(pool.PICK, self._packed(x), self._packed(taps), y, window))
        return y

    def sum_pool2d(self, x: Array, window: Window) -> Array:
        if not _hot(x) or window.dilations != (1, 1):
            return super().sum_pool2d(x, window)
        y = self._empty((x.shape[0], *window.output_size(x.shape[1:3]), x.shape[3]), x.dtype)
        pool = _kernels.pool
        self._run(pool.forward(pool.SUM, self._packed(x), None, y, window))
        return y

    def sum_pool2d_spread(self, dy: Array, input_shape: Sequence[int], window: Window) -> Array:
        if not _hot(dy) or 0 in input_shape or window.dilations != (1, 1):
            return super().sum_pool2d_spread(dy, input_shape, window)
        dx = self._empty(input_shape, dy.dtype)
        pool = _kernels.pool
        self._run(pool.backward(pool.SUM, self._packed(dy), None, dx, window))
        return dx

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
        filtering = _kernels.filtering
        if len(kernels) > 2 or image.dtype not in filtering.KINDS:
            return super().filter2d(image, kernels, anchor, delta, border, dtype, fused)
        y = self._empty(image.shape, dtype)
        self._run(filtering.filter2d(self._packed(image), kernels, y, anchor, delta, border, fused))
        return y

    # --- random numbers ----------------------------------------------------------------------------------------

    def random_uniform(self, key: int, shape: Sequence[int], dtype: Any) -> Array:
        out = self._empty(shape, dtype)
        if not _hot(out) or out.size < 1024:
            return super().random_uniform(key, shape, dtype)
        self._run(_kernels.random.uniform(_kernels.random.halves(key), out))
        return out


def _convolution(
    shape: Sequence[int], channels: int, window: Window, groups: int, dtype: Any, weights: bool = False
) -> Any:
    """The module with the kernels for a convolution of ``channels`` to ``shape`` (N, H, W, C)."""
    if convolution_algorithm() == "direct":
        return _kernels.conv
    n, h, w, lanes = shape
    chosen = _kernels.winograd.choose(n, (h, w), channels, lanes, window, groups, dtype, weights)
    return _kernels.winograd if chosen == "winograd" else _kernels.conv


def _are_taps(taps: Array) -> bool:
    return taps.dtype in (np.uint8, np.int32)


_APPROXIMATE = ("exp", "expm1", "log", "tanh", "sigmoid")
_COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
_UNARY = ("negative", "absolute", "square", "sqrt", "reciprocal", "exp", "expm1", "log", "tanh")
_BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", *_COMPARISONS)


def _attach(name: str) -> None:
    fallback = getattr(ReferenceBackend, name)

    def primitive(self: CPUBackend, *arrays: Any) -> Array:
        return self._map(functools.partial(fallback, self), name, *arrays)

    primitive.__name__, primitive.__doc__ = name, fallback.__doc__
    setattr(CPUBackend, name, primitive)


for _name in _UNARY + _BINARY:
    _attach(_name)
