"""Chains of elementwise operations as one pass over memory.

An expression is a small program in text, ``"kinds|operations|results"``. Operands come first, numbered from 0, one
letter each: ``f`` as large as the result, ``m`` such a mask of bytes, ``r`` one row for all rows, ``s`` one number.
Operations follow, one value each, ``name argument argument`` with ``;`` between them. Results are the numbers of the
values that are written. So ``"ffs|greater 0 2;where 3 1 2|4"`` is the gradient of ReLU. The text is a compile-time
constant: every expression becomes a kernel of its own. A result may be written over an operand.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyconv.backends.kernels import emit
from tinyconv.backends.kernels.compiler import leaf
from tinyconv.backends.kernels.elementwise import FUNCTIONS
from tinyconv.backends.kernels.emit import Emitter, const
from tinyconv.backends.kernels.launch import Call
from tinyconv.backends.kernels.vector import Vector

CHUNK = 8192  # elements of a task
BYTE = ir.IntType(8)


def _where(condition: Any, x: Vector, y: Vector) -> Vector:
    return x.where(condition, y)


def evaluate(e: Emitter, operands: list[Any], operations: str) -> list[Any]:
    """Emit the operations; returns all values, operands first."""
    values = list(operands)
    for operation in filter(None, operations.split(";")):
        name, *arguments = operation.split(" ")
        function = _where if name == "where" else FUNCTIONS[name]
        inputs = [values[int(i)] for i in arguments]
        if name != "where":
            inputs = [_as_float(e, x) for x in inputs]
        else:
            inputs[1:] = [_as_float(e, x) for x in inputs[1:]]
        values.append(function(*inputs))
    return values


def _as_float(e: Emitter, value: Any) -> Vector:
    """A mask counts as 0 and 1 where a number is wanted."""
    if isinstance(value, Vector):
        return value
    return Vector(e, e.builder.uitofp(value, e.vector))


@intrinsic(prefer_literal=True)
def _run(typingctx: Any, addresses: Any, start: Any, count: Any, text: Any, itemsize: Any) -> Any:
    """Evaluate an expression on ``count`` elements of one row, from element ``start`` on."""
    expression, size = text.literal_value, emit.literal(itemsize)

    def codegen(context, builder, signature, values):
        pointers = emit.unpack(builder, values[0])
        _emit_run(builder, pointers, values[1], values[2], expression, size)
        return context.get_dummy_value()

    return types.void(addresses, types.int64, types.int64, text, itemsize), codegen


def _emit_run(
    builder: ir.IRBuilder, addresses: list[ir.Value], start: ir.Value, count: ir.Value, text: str, itemsize: int
) -> None:
    kinds, operations, results = text.split("|")
    e = Emitter(builder, itemsize)
    pointers = [e.pointer(address) for address in addresses]
    fixed = {i: Vector(e, e.broadcast(pointers[i])) for i, kind in enumerate(kinds) if kind == "s"}

    def load(i: int, kind: str, lane: ir.Value, mask: ir.Value | None) -> Any:
        if kind == "s":
            return fixed[i]
        if kind == "m":
            value = e.load(e.offset(pointers[i], lane), mask, BYTE)
            return builder.icmp_unsigned("!=", value, ir.Constant(value.type, None))
        return Vector(e, e.load(e.offset(pointers[i], builder.mul(lane, const(itemsize))), mask))

    def body(lane: ir.Value, mask: ir.Value | None) -> None:
        values = evaluate(e, [load(i, kind, lane, mask) for i, kind in enumerate(kinds)], operations)
        for pointer, number in zip(pointers[len(kinds) :], map(int, results.split(","))):
            value = values[number]
            if isinstance(value, Vector):
                e.store(value.value, e.offset(pointer, builder.mul(lane, const(itemsize))), mask)
            else:
                e.store(builder.zext(value, ir.VectorType(BYTE, e.lanes)), e.offset(pointer, lane), mask, BYTE)

    whole = builder.sdiv(count, const(e.lanes))
    with e.loop(whole) as block:
        body(builder.add(start, builder.mul(block, const(e.lanes))), None)
    done = builder.mul(whole, const(e.lanes))
    with builder.if_then(builder.icmp_signed("<", done, count)):
        body(builder.add(start, done), e.mask(builder.sub(count, done)))


@intrinsic(prefer_literal=True)
def _places(typingctx: Any, block: Any, row: Any, count: Any) -> Any:
    """Addresses of a row: at ``block`` stand ``count`` addresses, then the bytes from row to row of each."""
    size = emit.literal(count)
    result = types.UniTuple(types.int64, size)

    def codegen(context, builder, signature, values):
        start = builder.inttoptr(values[0], emit.POINTER)

        def number(i: int) -> ir.Value:
            return builder.load(builder.gep(start, [const(i)], source_etype=emit.INT), typ=emit.INT, align=8)

        moved = [builder.add(number(i), builder.mul(values[1], number(size + i))) for i in range(size)]
        return context.make_tuple(builder, result, moved)

    return result(types.int64, types.int64, count), codegen


@functools.cache
def _kernel(text: str, itemsize: int) -> int:
    kinds, _, results = text.split("|")
    # Bytes from row to row of every operand and result come after their addresses in the parameters.
    arrays = len(kinds) + len(results.split(","))

    def fused(block, task):
        rows, columns, rows_each, columns_each, parts = emit.parameters(block + 16 * arrays, 5)
        start = task % parts * columns_each
        count = min(columns_each, columns - start)
        for row in range(task // parts * rows_each, min(rows, (task // parts + 1) * rows_each)):
            _run(_places(block, row, arrays), start, count, text, itemsize)

    return leaf(fused, f"f{8 * itemsize}_{hashlib.sha256(text.encode()).hexdigest()[:16]}")


def call(text: str, operands: Sequence[np.ndarray], results: Sequence[np.ndarray], dtype: Any) -> Call:
    """``results = expression(*operands)`` as one call of a kernel.

    Parameters
    ----------
    text : str
        The expression.
    operands, results : sequences of contiguous arrays
        Results are of one shape; floats are of type ``dtype``.
    """
    kinds, operations, _ = text.split("|")
    size = results[0].size
    columns = next((x.size for x, kind in zip(operands, kinds) if kind == "r"), size)
    rows = size // columns
    steps = [0 if kind in "rs" else x.itemsize * columns for x, kind in zip(operands, kinds)]
    steps += [x.itemsize * columns for x in results]
    rows_each, columns_each = max(1, CHUNK // columns), min(columns, CHUNK)
    parts = -(-columns // columns_each)
    kernel = _kernel(text, np.dtype(dtype).itemsize)
    work = size * (0.1 * (len(operands) + len(results)) + 0.05 * operations.count(";"))
    sizes = (*steps, rows, columns, rows_each, columns_each, parts)
    return Call(kernel, (*operands, *results), sizes, -(-rows // rows_each) * parts, work)
