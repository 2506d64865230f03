"""Chains of elementwise operations as one pass over memory, with column sums of what they compute.

An expression is a small program in text, ``"kinds|operations|results|sums"``. Operands come first, numbered from 0, one
letter each: ``f`` as large as the result, ``m`` such a mask of bytes, ``r`` one row for all rows, ``c`` one column for
all columns, ``s`` one number.
Operations follow, one value each, ``name argument argument`` with ``;`` between them. Results are the numbers of the
values that are written, sums those that are added up over all rows. ``"ffs|greater 0 2;where 3 1 2|4|4"`` is the
gradient of ReLU and, of that, the gradient of a bias. The text is a compile-time constant: every expression becomes a
kernel of its own. A result may be written over an operand.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyconv.backends.kernels import emit
from tinyconv.backends.kernels.compiler import leaf
from tinyconv.backends.kernels.elementwise import FUNCTIONS
from tinyconv.backends.kernels.emit import Emitter, const
from tinyconv.backends.kernels.launch import Allocate, Call
from tinyconv.backends.kernels.reduce import add_in_order
from tinyconv.backends.kernels.vector import Vector

CHUNK = 8192  # elements of a task, so that rows walked again for the next columns are still in the L1 cache
PARTS = 64  # rows of partial sums at the most
AHEAD = 8192  # bytes by which memory is fetched ahead of a walk through all of it: processors do so within a page only
BYTE = ir.IntType(8)


class Expression(NamedTuple):
    """The parts of an expression's text."""

    kinds: str
    operations: tuple[str, ...]
    results: tuple[int, ...]
    sums: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Read the text."""
        kinds, operations, results, sums = text.split("|")
        numbers = (tuple(int(n) for n in part.split(",") if n) for part in (results, sums))
        return cls(kinds, tuple(filter(None, operations.split(";"))), *numbers)

    @property
    def arrays(self) -> int:
        """How many arrays the kernel is given."""
        return len(self.kinds) + len(self.results) + len(self.sums)

    def evaluate(self, e: Emitter, operands: Sequence[Any]) -> list[Any]:
        """Emit the operations; returns all values, operands first. A mask counts as 0 and 1 beside numbers."""
        values = list(operands)
        for operation in self.operations:
            name, *arguments = operation.split(" ")
            inputs = [values[int(i)] for i in arguments]
            if name == "where":
                condition, x, y = inputs
                values.append(_number(e, x).where(condition, _number(e, y)))
            else:
                values.append(FUNCTIONS[name](*(_number(e, x) for x in inputs)))
        return values


def _number(e: Emitter, value: Any) -> Vector:
    return value if isinstance(value, Vector) else Vector(e, e.builder.uitofp(value, e.vector))


@intrinsic(prefer_literal=True)
def _run(typingctx: Any, arguments: Any, text: Any, itemsize: Any) -> Any:
    """Evaluate an expression on a rectangle: (block, part, first row, rows, first column, columns).

    At ``block`` stand the addresses of all arrays, then the bytes from row to row of each; for sums, from part to part.
    """
    expression, size = Expression.parse(text.literal_value), emit.literal(itemsize)

    def codegen(context, builder, signature, values):
        block, part, row, rows, column, columns = emit.unpack(builder, values[0])
        _Body(builder, expression, size, block, part, row, rows).columns(column, columns)
        return context.get_dummy_value()

    return types.void(arguments, text, itemsize), codegen


class _Body:
    """Emits the loops: columns outside, rows inside, so that rows and numbers are loaded once."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        expression: Expression,
        itemsize: int,
        block: ir.Value,
        part: ir.Value,
        row: ir.Value,
        rows: ir.Value,
    ) -> None:
        self.builder, self.expression, self.rows = builder, expression, rows
        self.e = Emitter(builder, itemsize)
        self.wide = Emitter(builder, 8, self.e.lanes)
        start = self.e.pointer(block)

        def number(i: int) -> ir.Value:
            return builder.load(builder.gep(start, [const(i)], source_etype=emit.INT), typ=emit.INT, align=8)

        n = expression.arrays
        first = [row] * (n - len(expression.sums)) + [part] * len(expression.sums)
        self.steps = [number(n + i) for i in range(n)]
        self.places = [
            self.e.offset(self.e.pointer(number(i)), builder.mul(index, step))
            for i, (index, step) in enumerate(zip(first, self.steps))
        ]
        kinds = expression.kinds
        self.ahead = 0 if set(kinds) & {"r", "c"} or expression.sums else AHEAD
        self.numbers = {i: Vector(self.e, self.e.broadcast(self.places[i])) for i, k in enumerate(kinds) if k == "s"}

    def columns(self, start: ir.Value, count: ir.Value) -> None:
        """All columns, a vector at a time; the last vector is masked."""
        builder, lanes = self.builder, self.e.lanes
        whole = builder.sdiv(count, const(lanes))
        with self.e.loop(whole) as index:
            self._column(builder.add(start, builder.mul(index, const(lanes))), None)
        done = builder.mul(whole, const(lanes))
        with builder.if_then(builder.icmp_signed("<", done, count)):
            self._column(builder.add(start, done), self.e.mask(builder.sub(count, done)))

    def _column(self, lane: ir.Value, mask: ir.Value | None) -> None:
        e, builder, x = self.e, self.builder, self.expression
        place = builder.mul(lane, const(e.itemsize))
        fixed: dict[int, Any] = dict(self.numbers)
        for i, kind in enumerate(x.kinds):
            if kind == "r":
                fixed[i] = Vector(e, e.load(e.offset(self.places[i], place), mask))
        totals = [e.variable(self.wide.zero) for _ in x.sums]
        with e.loop(self.rows) as row:
            operands = [fixed[i] if i in fixed else self._load(i, row, lane, place, mask) for i in range(len(x.kinds))]
            values = x.evaluate(e, operands)
            for i, number in enumerate(x.results, len(x.kinds)):
                self._store(values[number], i, row, lane, place, mask)
            for total, number in zip(totals, x.sums):
                value = _number(e, values[number]).value
                value = value if e.itemsize == 8 else builder.fpext(value, self.wide.vector)
                builder.store(builder.fadd(builder.load(total), value), total)
        for i, total in enumerate(totals, len(x.kinds) + len(x.results)):
            self.wide.store(builder.load(total), e.offset(self.places[i], builder.mul(lane, const(8))), mask)

    def _load(self, i: int, row: ir.Value, lane: ir.Value, place: ir.Value, mask: ir.Value | None) -> Any:
        e, line = self.e, self.builder.mul(row, self.steps[i])
        if self.expression.kinds[i] == "c":
            return Vector(e, e.broadcast(e.offset(self.places[i], line)))
        if self.expression.kinds[i] == "m":
            value = e.load(e.offset(self.places[i], line, lane), mask, BYTE)
            return self.builder.icmp_unsigned("!=", value, ir.Constant(value.type, None))
        address = e.offset(self.places[i], line, place)
        if self.ahead:
            e.prefetch(e.offset(address, self.ahead), write=False)
        return Vector(e, e.load(address, mask))

    def _store(self, value: Any, i: int, row: ir.Value, lane: ir.Value, place: ir.Value, mask: ir.Value | None) -> None:
        e, line = self.e, self.builder.mul(row, self.steps[i])
        if isinstance(value, Vector):
            address = e.offset(self.places[i], line, place)
            if self.ahead:
                e.prefetch(e.offset(address, self.ahead))
            e.store(value.value, address, mask)
        else:
            bytes_ = self.builder.zext(value, ir.VectorType(BYTE, e.lanes))
            e.store(bytes_, e.offset(self.places[i], line, lane), mask, BYTE)


@functools.cache
def _kernel(text: str, itemsize: int) -> int:
    arrays = Expression.parse(text).arrays

    def fused(block, task):
        rows, columns, rows_each, columns_each, column_parts = emit.parameters(block + 16 * arrays, 5)
        part, column = task // column_parts, task % column_parts * columns_each
        row = part * rows_each
        height, width = min(rows_each, rows - row), min(columns_each, columns - column)
        _run((block, part, row, height, column, width), text, itemsize)

    return leaf(fused, f"f{8 * itemsize}_{hashlib.sha256(text.encode()).hexdigest()[:16]}")


def calls(
    text: str,
    operands: Sequence[np.ndarray],
    results: Sequence[np.ndarray],
    sums: Sequence[np.ndarray],
    dtype: Any,
    empty: Allocate = np.empty,
) -> list[Call]:
    """``results = expression(*operands)`` and column sums, as calls of kernels.

    Parameters
    ----------
    text : str
        The expression.
    operands, results : sequences of contiguous arrays
        Those as large as the result are seen as rows of ``columns`` numbers; floats are of type ``dtype``.
    sums : sequence of arrays of as many numbers as there are columns
    """
    x = Expression.parse(text)
    large = [*results, *(a for a, kind in zip(operands, x.kinds) if kind in "fm")]
    rows_given = [*sums, *(a for a, kind in zip(operands, x.kinds) if kind == "r")]
    columns_given = [a for a, kind in zip(operands, x.kinds) if kind == "c"]
    size = large[0].size
    columns = rows_given[0].size if rows_given else size // columns_given[0].size if columns_given else size
    rows = size // columns
    rows_each, columns_each = max(1, CHUNK // columns), min(columns, CHUNK)
    if sums:
        rows_each = max(rows_each, -(-rows // PARTS))
    parts, column_parts = -(-rows // rows_each), -(-columns // columns_each)
    partial = [empty((parts, columns), np.float64) for _ in sums]
    each = {"r": 0, "s": 0, "c": 1, "f": columns, "m": columns}  # numbers from row to row
    steps = [a.itemsize * each[kind] for a, kind in zip(operands, x.kinds)]
    steps += [a.itemsize * columns for a in results]
    steps += [8 * columns for _ in sums]
    sizes = (*steps, rows, columns, rows_each, columns_each, column_parts)
    work = size * (0.1 * len(large) + 0.05 * len(x.operations))
    kernel = _kernel(text, np.dtype(dtype).itemsize)
    first = Call(kernel, (*operands, *results, *partial), sizes, parts * column_parts, work)
    return [first, *(add_in_order(p, y) for p, y in zip(partial, sums))]
