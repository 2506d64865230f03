"""The CUDA backend: the reference's primitives on CuPy arrays, and what CuPy lacks or does otherwise.

Most of the reference's text runs here as it stands, because CuPy has NumPy's interface. Overridden is what differs:
indices and values may lie on the host, and sums into repeated cells must not depend on the order in which threads
arrive. Neither Numba nor cuDNN is needed. Matrix products are computed in full
float32 unless the environment variable ``CUPY_TF32=1`` allows TF32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv.backends.reference import Array, ReferenceBackend, _is_basic

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

    def __init__(self) -> None:
        self.xp = _usable_cupy()

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
