"""Elementwise functions of large arrays, all threads and full vectors.

An array is seen as rows of columns. An operand is as large as the result, or one row for all rows (a bias: its row
step is 0), or one number.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyconv.backends.kernels import emit, vector
from tinyconv.backends.kernels.compiler import leaf
from tinyconv.backends.kernels.emit import Emitter, const
from tinyconv.backends.kernels.launch import Call
from tinyconv.backends.kernels.vector import Vector

CHUNK = 8192  # elements of a task


def _maximum(x: Vector, y: Vector) -> Vector:
    return x.where(x.e.builder.or_(x.compare(">", y), x.compare("!=", x)), y)


def _minimum(x: Vector, y: Vector) -> Vector:
    return x.where(x.e.builder.or_(x.compare("<", y), x.compare("!=", x)), y)


def _comparison(operator: str) -> Callable[[Vector, Vector], ir.Value]:
    return lambda x, y: x.compare(operator, y)


FUNCTIONS: dict[str, Callable[..., Vector | ir.Value]] = {
    "negative": lambda x: -x,
    "absolute": lambda x: x.call("fabs"),
    "square": lambda x: x * x,
    "sqrt": lambda x: x.call("sqrt"),
    "reciprocal": lambda x: x.constant(1.0) / x,
    "exp": vector.exp,
    "expm1": vector.expm1,
    "log": vector.log,
    "tanh": vector.tanh,
    "sigmoid": vector.sigmoid,
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "maximum": _maximum,
    "minimum": _minimum,
    "equal": _comparison("=="),
    "not_equal": _comparison("!="),
    "less": _comparison("<"),
    "less_equal": _comparison("<="),
    "greater": _comparison(">"),
    "greater_equal": _comparison(">="),
}
NAMES = tuple(FUNCTIONS)
COSTLY = {"exp", "expm1", "log", "tanh", "sigmoid"}  # pay for a task at a tenth of the size


@intrinsic(prefer_literal=True)
def _apply(typingctx: Any, arguments: Any, name: Any, itemsize: Any, scalars: Any) -> Any:
    """Function number ``name`` on a run: (target, columns, operand, ...); bit i of ``scalars``: i is a number."""
    shape = [emit.literal(value) for value in (name, itemsize, scalars)]

    def codegen(context, builder, signature, values):
        _emit_apply(builder, emit.unpack(builder, values[0]), *shape)
        return context.get_dummy_value()

    return types.void(arguments, name, itemsize, scalars), codegen


def _emit_apply(builder: ir.IRBuilder, arguments: list[ir.Value], name: int, itemsize: int, scalars: int) -> None:
    target, columns, *operands = arguments
    e = Emitter(builder, itemsize)
    operands = [e.pointer(operand) for operand in operands]
    fixed = {i: e.broadcast(p) for i, p in enumerate(operands) if scalars >> i & 1}

    def body(lane: ir.Value, mask: ir.Value | None) -> None:
        place = builder.mul(lane, const(itemsize))
        inputs = [fixed[i] if i in fixed else e.load(e.offset(p, place), mask) for i, p in enumerate(operands)]
        result = FUNCTIONS[NAMES[name]](*[Vector(e, value) for value in inputs])
        if isinstance(result, Vector):
            e.store(result.value, e.offset(e.pointer(target), place), mask)
        else:
            byte = ir.IntType(8)
            e.store(builder.zext(result, ir.VectorType(byte, e.lanes)), e.offset(e.pointer(target), lane), mask, byte)

    whole = builder.sdiv(columns, const(e.lanes))
    with e.loop(whole) as block:
        body(builder.mul(block, const(e.lanes)), None)
    done = builder.mul(whole, const(e.lanes))
    with builder.if_then(builder.icmp_signed("<", done, columns)):
        body(done, e.mask(builder.sub(columns, done)))


@functools.cache
def _map(name: int, itemsize: int, operands: int, scalars: int) -> int:
    def map_one(block, task):
        x, y, rows, columns, x_row, y_row, rows_each, columns_each, parts = emit.parameters(block, 9)
        column = task % parts * columns_each
        count = min(columns_each, columns - column)
        for row in range(task // parts * rows_each, min(rows, (task // parts + 1) * rows_each)):
            target = y + row * y_row + column * (y_row // columns)
            _apply((target, count, x + row * x_row + column * itemsize), name, itemsize, scalars)

    def map_two(block, task):
        a, b, y, rows, columns, a_row, b_row, y_row, rows_each, columns_each, parts = emit.parameters(block, 11)
        column = task % parts * columns_each
        count = min(columns_each, columns - column)
        for row in range(task // parts * rows_each, min(rows, (task // parts + 1) * rows_each)):
            target = y + row * y_row + column * (y_row // columns)
            left = a + row * a_row + (0 if scalars & 1 else column * itemsize)
            right = b + row * b_row + (0 if scalars & 2 else column * itemsize)
            _apply((target, count, left, right), name, itemsize, scalars)

    return leaf(map_one if operands == 1 else map_two, f"{NAMES[name]}_f{8 * itemsize}_{scalars}")


def apply(name: str, operands: list[np.ndarray], y: np.ndarray, columns: int) -> list[Call]:
    """``y = name(*operands)``: each operand is as large as ``y``, a row of ``columns`` numbers, or one number."""
    rows = y.size // columns
    scalars = sum(1 << i for i, x in enumerate(operands) if x.size == 1)
    steps = [x.itemsize * columns if x.size == y.size else 0 for x in operands]
    rows_each, columns_each = max(1, CHUNK // columns), min(columns, CHUNK)
    parts = -(-columns // columns_each)
    sizes = (rows, columns, *steps, y.itemsize * columns, rows_each, columns_each, parts)
    kernel = _map(NAMES.index(name), operands[0].itemsize, len(operands), scalars)
    work = y.size * (1.5 if name in COSTLY else 0.3)
    return [Call(kernel, (*operands, y), sizes, -(-rows // rows_each) * parts, work)]
