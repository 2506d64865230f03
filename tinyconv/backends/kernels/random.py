"""Philox4x32-10: random numbers that are a function of the key and of their own position."""

from __future__ import annotations

import functools

import numba
import numpy as np

from tinyconv.backends.kernels import emit
from tinyconv.backends.kernels.compiler import leaf
from tinyconv.backends.kernels.launch import Call

EACH = 4096  # blocks of four words in one task


@numba.njit(error_model="numpy", inline="always")
def _philox(counter, k0, k1):
    """The four words of block ``counter``: 32-bit words in 64-bit integers."""
    low32, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    x0, x1, x2, x3 = counter & low32, counter >> shift, np.uint64(0), np.uint64(0)
    for _ in range(10):
        p0, p1 = x0 * np.uint64(0xD2511F53), x2 * np.uint64(0xCD9E8D57)
        x0, x1, x2, x3 = (p1 >> shift) ^ x1 ^ k0, p1 & low32, (p0 >> shift) ^ x3 ^ k1, p0 & low32
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low32, (k1 + np.uint64(0xBB67AE85)) & low32
    return x0, x1, x2, x3


@numba.njit(error_model="numpy", inline="always")
def _single(word):
    return np.float32(np.int32(word >> np.uint64(8))) * np.float32(2.0**-24)


@numba.njit(error_model="numpy", inline="always")
def _double(high, low):
    return (np.int64(high >> np.uint64(5)) * 67108864.0 + np.int64(low >> np.uint64(6))) * 2.0**-53


@functools.cache
def _uniform32() -> int:
    def uniform32(block, task):
        out, low, high, size = emit.parameters(block, 4)
        numbers = numba.carray(emit.pointer(out, 4), size)
        k0, k1 = np.uint64(low), np.uint64(high)
        first, last = task * EACH, min((size + 3) // 4, (task + 1) * EACH)
        whole = min(last, size // 4)
        for i in range(first, whole):
            x0, x1, x2, x3 = _philox(np.uint64(i), k0, k1)
            numbers[4 * i], numbers[4 * i + 1] = _single(x0), _single(x1)
            numbers[4 * i + 2], numbers[4 * i + 3] = _single(x2), _single(x3)
        if whole < last:
            words = _philox(np.uint64(whole), k0, k1)
            for j in range(size - 4 * whole):
                numbers[4 * whole + j] = _single(words[j])

    return leaf(uniform32)


@functools.cache
def _uniform64() -> int:
    def uniform64(block, task):
        out, low, high, size = emit.parameters(block, 4)
        numbers = numba.carray(emit.pointer(out, 8), size)
        k0, k1 = np.uint64(low), np.uint64(high)
        for i in range(task * EACH, min((size + 1) // 2, (task + 1) * EACH)):
            x0, x1, x2, x3 = _philox(np.uint64(i), k0, k1)
            numbers[2 * i] = _double(x0, x1)
            if 2 * i + 1 < size:
                numbers[2 * i + 1] = _double(x2, x3)

    return leaf(uniform64)


def uniform(key: int, out: np.ndarray) -> list[Call]:
    """Fill ``out`` with uniform numbers in [0, 1)."""
    kernel = _uniform32() if out.itemsize == 4 else _uniform64()
    blocks = -(-out.nbytes // 16)
    sizes = (key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF, out.size)
    return [Call(kernel, (out,), sizes, -(-blocks // EACH), 10 * blocks)]
