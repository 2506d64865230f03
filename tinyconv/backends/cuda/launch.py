"""The door to the kernels: finds their sources, compiles one when it is first wanted, and launches it.

A kernel is a file of ``kernels/`` and a C++ expression that names one of its templates with all parameters. CuPy
compiles it for the GPU at hand and keeps the result on disk (``~/.cupy/kernel_cache``). Everything is launched on
CuPy's current stream, with settings that are passed by value, so that it can be captured as a CUDA graph.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyconv.backends.reference import Array

FOLDER = Path(__file__).parent / "kernels"
OPTIONS = ("-std=c++17",)
STATIC_LIMIT = 48 * 1024  # bytes of shared memory that a kernel gets without asking
MOST = 2**31  # numbers of an array: the kernels count with 32 bits
NULL = np.uint64(0)  # a pointer to nothing

# load(file, expression, bytes of shared memory) -> launch(grid, block, arguments, shared_mem=)
Load = Callable[[str, str, int], Callable[..., None]]


class Call(NamedTuple):
    """A launch without its arrays.

    Attributes
    ----------
    file, expression : str
        The kernel: a file of ``kernels/`` and its name in C++.
    grid : tuple of int
        Blocks along x, y, z.
    threads : int
        In a block.
    shared : int
        Bytes of shared memory of a block.
    settings : tuple
        The arguments that follow the arrays, of NumPy's types: they are passed as they lie in memory.
    """

    file: str
    expression: str
    grid: tuple[int, ...]
    threads: int
    shared: int
    settings: tuple[Any, ...]


class Launcher:
    """Launches kernels, each compiled once.

    Parameters
    ----------
    xp : module
        Makes the arrays that the kernels write into.
    load : callable, optional
        Makes a kernel from its file, expression and shared memory; CuPy's compiler by default.
    """

    def __init__(self, xp: Any, load: Load | None = None) -> None:
        self.xp = xp
        self._load = load or _compiled
        self._kernels: dict[str, Callable[..., None]] = {}

    def __call__(self, call: Call, *arrays: Array) -> None:
        """Launch ``call`` on ``arrays``, in the order of the kernel's parameters; ``None`` is a null pointer."""
        kernel = self._kernels.get(call.expression)
        if kernel is None:
            kernel = self._kernels[call.expression] = self._load(call.file, call.expression, call.shared)
        pointers = [NULL if array is None else array for array in arrays]
        kernel(call.grid, (call.threads,), (*pointers, *call.settings), shared_mem=call.shared)


def source(file: str, read: Callable[[str], str] | None = None) -> str:
    """The text of a kernel file with its own headers put in place, each once.

    CuPy's disk cache looks at this text alone: with headers beside it, a changed header would not be noticed.
    """
    read = read or (lambda name: (FOLDER / name).read_text(encoding="utf-8"))
    seen: set[str] = set()

    def expanded(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        text = read(name).replace("#pragma once\n", "\n")
        return re.sub(r'#include "(.+)"', lambda match: expanded(match[1]), text)

    return expanded(file)


def _compiled(file: str, expression: str, shared: int) -> Callable[..., None]:
    import cupy

    module = cupy.RawModule(code=source(file), options=OPTIONS, name_expressions=(expression,))
    kernel = module.get_function(expression)
    if shared > STATIC_LIMIT:
        kernel.max_dynamic_shared_size_bytes = shared
    return kernel


def struct(dtype: np.dtype, **fields: Any) -> np.ndarray:
    """One C struct; fields must be complete."""
    return np.array([tuple(fields[name] for name in dtype.names or ())], dtype)


def divisor(n: int) -> tuple[int, int, int]:
    """What ``Divisor`` of ``divisor.cuh`` holds: n >= 1, and the factor and shift that divide by it."""
    shift = (n - 1).bit_length()
    return n, ((1 << 32) * ((1 << shift) - n)) // n + 1, shift


DIVISOR = np.dtype([("divisor", "u4"), ("magic", "u4"), ("shift", "u4")])


def integers(*names: str) -> list[tuple[str, str]]:
    """Fields of type ``int``."""
    return [(name, "i4") for name in names]


def divisors(*names: str) -> list[tuple[str, np.dtype]]:
    """Fields of type ``Divisor``."""
    return [(name, DIVISOR) for name in names]


def ceil_div(n: int, d: int) -> int:
    """``n / d``, rounded up."""
    return -(-n // d)


def one_thread_each(file: str, expression: str, count: int, settings: tuple[Any, ...]) -> Call:
    """A call with ``count`` threads, for kernels in which each owns one result."""
    return Call(file, expression, (ceil_div(count, 256),), 256, 0, settings)


@functools.lru_cache(1024)
def sum_parts(count: int, size: int, columns: int, parts: int, clip: bool) -> Call:
    """The second pass of a sum that was split: (BATCH, PARTS, SIZE), bias -> (BATCH, SIZE), ``count`` numbers."""
    settings = map(np.int32, (count, size, columns, parts, clip))
    return one_thread_each("split.cu", "sum_parts", count, tuple(settings))
