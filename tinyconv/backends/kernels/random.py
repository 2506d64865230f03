"""Philox4x32-10: random numbers that are a function of the key and of their own position."""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyconv.backends.kernels import emit
from tinyconv.backends.kernels.compiler import leaf
from tinyconv.backends.kernels.emit import Emitter, const
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


@intrinsic
def _singles(typingctx: Any, arguments: Any) -> Any:
    """Fill memory with numbers, a vector of blocks at a time: (target, first block, vectors, key low, key high)."""

    def codegen(context, builder, signature, values):
        _emit_singles(builder, *emit.unpack(builder, values[0]))
        return context.get_dummy_value()

    return types.void(arguments), codegen


def _emit_singles(
    builder: ir.IRBuilder, target: ir.Value, first: ir.Value, vectors: ir.Value, low: ir.Value, high: ir.Value
) -> None:
    e = Emitter(builder, 4)
    wide = ir.VectorType(ir.IntType(64), e.lanes)

    def constant(*numbers: int) -> ir.Constant:
        return ir.Constant(wide, list(numbers) * (e.lanes // len(numbers)))

    word, half = constant(0xFFFFFFFF), constant(32)
    with e.loop(vectors) as index:
        block = builder.add(first, builder.mul(index, const(e.lanes)))
        counter = builder.add(e.fill(block), constant(*range(e.lanes)))
        x = [builder.and_(counter, word), builder.lshr(counter, half), constant(0), constant(0)]
        keys = [e.fill(low), e.fill(high)]
        for _ in range(10):
            p0, p1 = builder.mul(x[0], constant(0xD2511F53)), builder.mul(x[2], constant(0xCD9E8D57))
            x = [
                builder.xor(builder.xor(builder.lshr(p1, half), x[1]), keys[0]),
                builder.and_(p1, word),
                builder.xor(builder.xor(builder.lshr(p0, half), x[3]), keys[1]),
                builder.and_(p0, word),
            ]
            weyl = constant(0x9E3779B9), constant(0xBB67AE85)
            keys = [builder.and_(builder.add(key, step), word) for key, step in zip(keys, weyl)]
        place = e.offset(e.pointer(target), builder.mul(index, const(16 * e.lanes)))
        _store_interleaved(e, [_as_single(e, value) for value in x], place)


def _as_single(e: Emitter, words: ir.Value) -> ir.Value:
    """24 bits of every word as a number in [0, 1)."""
    narrow = ir.VectorType(ir.IntType(32), e.lanes)
    bits = e.builder.trunc(e.builder.lshr(words, ir.Constant(words.type, [8] * e.lanes)), narrow)
    return e.builder.fmul(e.builder.sitofp(bits, e.vector), ir.Constant(e.vector, [2.0**-24] * e.lanes))


def _store_interleaved(e: Emitter, values: list[ir.Value], target: ir.Value) -> None:
    """Write lane 0 of all four vectors, then lane 1 of all, and so on."""

    def join(x: ir.Value, y: ir.Value, order: list[int]) -> ir.Value:
        return e.builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order))

    straight = list(range(2 * e.lanes))
    left, right = join(values[0], values[1], straight), join(values[2], values[3], straight)
    mixed = join(left, right, [word * e.lanes + lane for lane in range(e.lanes) for word in range(4)])
    e.builder.store(mixed, target, align=4)


@functools.cache
def _uniform32() -> int:
    lanes = emit.vector_bytes() // 4

    def uniform32(block, task):
        out, key, size = emit.parameters(block, 3)
        low, high = emit.parameters(key, 2)
        first, last = task * EACH, min((size + 3) // 4, (task + 1) * EACH)
        vectors = (min(last, size // 4) - first) // lanes
        _singles((out + 16 * first, first, vectors, low, high))
        numbers = numba.carray(emit.pointer(out, 4), size)
        for i in range(first + vectors * lanes, last):
            words = _philox(np.uint64(i), np.uint64(low), np.uint64(high))
            for j in range(min(4, size - 4 * i)):
                numbers[4 * i + j] = _single(words[j])

    return leaf(uniform32)


@functools.cache
def _uniform64() -> int:
    def uniform64(block, task):
        out, key, size = emit.parameters(block, 3)
        low, high = emit.parameters(key, 2)
        numbers = numba.carray(emit.pointer(out, 8), size)
        k0, k1 = np.uint64(low), np.uint64(high)
        for i in range(task * EACH, min((size + 1) // 2, (task + 1) * EACH)):
            x0, x1, x2, x3 = _philox(np.uint64(i), k0, k1)
            numbers[2 * i] = _double(x0, x1)
            if 2 * i + 1 < size:
                numbers[2 * i + 1] = _double(x2, x3)

    return leaf(uniform64)


def halves(key: int) -> np.ndarray:
    """The low and the high 32 bits of a key, as ``uniform`` takes them."""
    return np.array([key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF], np.int64)


def uniform(key: np.ndarray, out: np.ndarray) -> list[Call]:
    """Fill ``out`` with uniform numbers in [0, 1), from the ``halves`` of a key, which are looked at in every run."""
    kernel = _uniform32() if out.itemsize == 4 else _uniform64()
    blocks = -(-out.nbytes // 16)
    return [Call(kernel, (out, key), (out.size,), -(-blocks // EACH), 10 * blocks)]
