"""The CUDA backend: the reference's primitives on CuPy arrays, the hot ones by kernels of its own.

Most of the reference's text runs here as it stands, because CuPy has NumPy's interface. Overridden is what differs:
indices and values may lie on the host, and sums into repeated cells must not depend on the order in which threads
arrive; and what a training step needs that CuPy hands to cuBLAS or cuRAND, which cannot be captured as a CUDA graph.
Neither Numba nor cuDNN is needed. Which products are rounded to TF32 is told in ``contractions``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv.backends.cuda import contractions, elements, launch
from tinyconv.backends.reference import Array, ReferenceBackend, _is_basic
from tinyconv.geometry import Window

INSTALL = 'pip install "tinyconv[cuda12]" (CUDA 12) or pip install "tinyconv[cuda13]" (CUDA 13)'


class CudaBackend(ReferenceBackend):
    """Table of primitives on CuPy arrays.

    Raises
    ------
    ImportError
        When CuPy is not installed, too old, or cannot be loaded; the message holds the install command.
    RuntimeError
        When CuPy finds no GPU or no driver.
    """

    name = "cuda"
    device = "cuda"
    modern = True  # whether the GPU has what products are written for: asynchronous copies and TF32

    def __init__(self) -> None:
        self.xp = _usable_cupy()
        self.modern = int(self.xp.cuda.Device().compute_capability) >= 80
        self._launch = launch.Launcher(self.xp)

    # --- arrays ------------------------------------------------------------------------------------------------

    def to_numpy(self, x: Array) -> np.ndarray:
        """A copy of ``x`` in host memory; waits until it is computed."""
        return self.xp.asnumpy(x)

    def assign(self, target: Array, value: Any) -> None:
        """Overwrite ``target`` with ``value``, which may lie on the host."""
        target[...] = self.xp.asarray(value)

    # --- elementwise -------------------------------------------------------------------------------------------

    def erf(self, x: Array) -> Array:
        """Gauss error function."""
        from cupyx.scipy.special import erf

        return self.xp.asarray(erf(x), dtype=x.dtype)

    # --- shape -------------------------------------------------------------------------------------------------

    def getitem(self, x: Array, index: Any) -> Array:
        """``x[index]``, basic or advanced; index arrays may lie on the host."""
        return x[self._on_device(index)]

    def scatter_add(self, shape: Sequence[int], index: Any, updates: Array) -> Array:
        """Zeros of ``shape`` with ``updates`` added at ``index``, in an order that is always the same.

        Atomic additions would round differently from run to run. Instead the updates are sorted by their cells and
        summed by a segmented scan (G. Blelloch, "Prefix sums and their applications", 1990): after the round with
        distance ``d`` every entry holds the sum of the ``2 d`` entries that end with it and belong to its cell.
        """
        if _is_basic(index):  # no cell twice
            return super().scatter_add(shape, index, updates)
        xp, wide = self.xp, np.dtype(np.float64) if updates.dtype.kind == "f" else updates.dtype
        count = int(np.prod(shape, dtype=np.int64))
        cells = xp.arange(count).reshape(shape)[self._on_device(index)].reshape(-1)
        if not cells.size or not count:
            return xp.zeros(shape, updates.dtype)
        order = xp.argsort(cells)
        cells, sums = cells[order], updates.reshape(-1)[order].astype(wide)
        distance = 1
        while distance < cells.size:
            same = cells[distance:] == cells[:-distance]
            grown = sums[distance:] + xp.where(same, sums[:-distance], wide.type(0))
            sums = xp.concatenate([sums[:distance], grown])
            distance *= 2
        numbers = xp.arange(count)
        last = xp.maximum(xp.searchsorted(cells, numbers, side="right") - 1, 0)  # the last entry of each cell
        return xp.where(cells[last] == numbers, sums[last], wide.type(0)).astype(updates.dtype).reshape(shape)

    def _on_device(self, index: Any) -> Any:
        """An index whose arrays and lists are arrays of this backend."""
        if isinstance(index, tuple):
            return tuple(map(self._on_device, index))
        if isinstance(index, list | np.ndarray):
            values = np.asarray(index)
            return self.xp.asarray(values if values.size or values.dtype == bool else values.astype(np.int64))
        return index

    # --- reductions --------------------------------------------------------------------------------------------

    def argsort(self, x: Array, axis: int) -> Array:
        """Indices that sort ``x`` along ``axis``; CuPy's only kind is stable."""
        return self.xp.argsort(x, axis=axis)

    # --- contractions: kernels for float32, where the GPU is modern enough -------------------------------------

    def matmul(self, x: Array, y: Array) -> Array:
        if not self.modern or min(x.ndim, y.ndim) < 2 or x.shape[-1] != y.shape[-2]:
            return super().matmul(x, y)
        batch = math.prod(np.broadcast_shapes(x.shape[:-2], y.shape[:-2]))
        if batch > contractions.MOST_MATRICES or not _hot("f", x, y, size=batch * x.shape[-2] * y.shape[-1]):
            return super().matmul(x, y)
        return contractions.matmul(self._launch, x, y)

    def conv2d(self, x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
        return self._conv2d(x, w, b, window, groups, clip=False)

    def conv2d_relu(self, x: Array, w: Array, b: Array | None, window: Window, groups: int) -> Array:
        """``maximum(conv2d(...), 0)``, which a plan asks for where nothing else needs the convolution."""
        return self._conv2d(x, w, b, window, groups, clip=True)

    def _conv2d(self, x: Array, w: Array, b: Array | None, window: Window, groups: int, clip: bool) -> Array:
        arrays = (x, w) if b is None else (x, w, b)
        if not self._convolves(*arrays, size=_outputs(x, window, w.shape[3]), groups=groups):
            y = super().conv2d(x, w, b, window, groups)
            return self.maximum(y, 0) if clip else y
        if groups == x.shape[3] == w.shape[3] > 1:
            return elements.depthwise(self._launch, x, w, b, window, clip)
        return contractions.conv2d(self._launch, x, w, b, window, groups, clip)

    def conv2d_input_grad(
        self, dy: Array, w: Array, input_shape: Sequence[int], window: Window, groups: int
    ) -> Array:
        if not self._convolves(dy, w, size=math.prod(input_shape), groups=groups):
            return super().conv2d_input_grad(dy, w, input_shape, window, groups)
        if groups == input_shape[3] == w.shape[3] > 1:
            return elements.depthwise_input_grad(self._launch, dy, w, input_shape, window)
        return contractions.conv2d_input_grad(self._launch, dy, w, input_shape, window, groups)

    def conv2d_weight_grad(
        self, x: Array, dy: Array, kernel_shape: Sequence[int], window: Window, groups: int
    ) -> Array:
        if not self._convolves(x, dy, size=math.prod(kernel_shape), groups=groups):
            return super().conv2d_weight_grad(x, dy, kernel_shape, window, groups)
        if groups == x.shape[3] == kernel_shape[3] > 1:
            return elements.depthwise_weight_grad(self._launch, x, dy, window)
        return contractions.conv2d_weight_grad(self._launch, x, dy, kernel_shape, window, groups)

    def _convolves(self, *arrays: Array, size: int, groups: int) -> bool:
        return self.modern and groups <= contractions.MOST_MATRICES and _hot("f", *arrays, size=size)

    # --- pooling: kernels for float32 and float64 --------------------------------------------------------------

    def max_pool2d(self, x: Array, window: Window) -> tuple[Array, Array]:
        if not _hot("fd", x, size=_outputs(x, window, x.shape[3])):
            return super().max_pool2d(x, window)
        return elements.max_pool2d(self._launch, x, window)

    def max_pool2d_scatter(self, dy: Array, taps: Array, input_shape: Sequence[int], window: Window) -> Array:
        if not _hot("fd", dy, size=math.prod(input_shape)):
            return super().max_pool2d_scatter(dy, taps, input_shape, window)
        return elements.max_pool2d_scatter(self._launch, dy, taps, input_shape, window)

    def max_pool2d_gather(self, x: Array, taps: Array, window: Window) -> Array:
        if not _hot("fd", x, size=taps.size):
            return super().max_pool2d_gather(x, taps, window)
        return elements.max_pool2d_gather(self._launch, x, taps, window)

    def sum_pool2d(self, x: Array, window: Window) -> Array:
        if not _hot("fd", x, size=_outputs(x, window, x.shape[3])):
            return super().sum_pool2d(x, window)
        return elements.sum_pool2d(self._launch, x, window)

    def sum_pool2d_spread(self, dy: Array, input_shape: Sequence[int], window: Window) -> Array:
        if not _hot("fd", dy, size=math.prod(input_shape)):
            return super().sum_pool2d_spread(dy, input_shape, window)
        return elements.sum_pool2d_spread(self._launch, dy, input_shape, window)

    # --- random numbers ----------------------------------------------------------------------------------------

    def random_uniform(self, key: Any, shape: Sequence[int], dtype: Any) -> Array:
        """As the reference's; ``key`` may also be a ``uint64`` array of one number on the device.

        Such a key is read when the numbers are made, so that a captured graph draws new ones when it is overwritten.
        """
        if np.dtype(dtype).name not in elements.RANDOM or 0 in shape:
            return super().random_uniform(key, shape, dtype)
        return elements.random_uniform(self._launch, key, shape, dtype)


def _hot(types: str, *arrays: Array, size: int) -> bool:
    """Whether kernels serve ``arrays`` and a result of ``size``: of one of their types, not empty, not too large."""
    char = arrays[0].dtype.char
    sizes = (size, *(x.size for x in arrays))
    return char in types and all(x.dtype.char == char for x in arrays) and 0 < min(sizes) <= max(sizes) < launch.MOST


def _outputs(x: Array, window: Window, channels: int) -> int:
    """How many numbers a window leaves of ``x`` (N, H, W, C), in ``channels``."""
    return len(x) * math.prod(window.output_size(x.shape[1:3])) * channels


def _usable_cupy() -> Any:
    """The module ``cupy``, when it can be used."""
    try:
        import cupy
    except ImportError as error:
        raise ImportError(f"The device 'cuda' needs CuPy 14 or newer: {INSTALL}. Received: {error}") from error
    if int(cupy.__version__.split(".")[0]) < 14:  # older ones do not have NumPy 2's rules for dtypes
        raise ImportError(f"The device 'cuda' needs CuPy 14 or newer: {INSTALL}. Received: CuPy {cupy.__version__}")
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(_no_gpu(error)) from error
    if not count:
        raise RuntimeError(_no_gpu("no device"))
    return cupy


def _no_gpu(reason: Any) -> str:
    return (
        "The device 'cuda' needs an NVIDIA GPU and its driver, and CuPy found none (does nvidia-smi show one?). "
        f"Received: {reason}"
    )
