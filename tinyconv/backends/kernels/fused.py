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
AHEAD = 8192  # bytes by which memory is fetched before it is needed: processors do so by themselves within a page only
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
        self.numbers = {i: Vector(self.e, self.e.broadcast(self.places[i])) for i, k in enumerate(kinds) if k == "s"}

    def columns(self, start: ir.Value, count: ir.Value) -> None:
        """All columns, two vectors at a time, which keeps the walk down the rows close to one line of memory."""
        builder, lanes = self.builder, self.e.lanes
        pairs = builder.sdiv(count, const(2 * lanes))
        with self.e.loop(pairs) as index:
            first = builder.add(start, builder.mul(index, const(2 * lanes)))
            self._walk(_Column(self, first), _Column(self, builder.add(first, const(lanes))))
        done = builder.mul(pairs, const(2 * lanes))
        first, left = builder.add(start, done), builder.sub(count, done)
        with builder.if_else(builder.icmp_signed(">", left, const(lanes))) as (two, one):
            with two:
                mask = self.e.mask(builder.sub(left, const(lanes)))
                self._walk(_Column(self, first), _Column(self, builder.add(first, const(lanes)), mask))
            with one, builder.if_then(builder.icmp_signed(">", left, const(0))):
                self._walk(_Column(self, first, self.e.mask(left)))

    def _walk(self, *columns: _Column) -> None:
        with self.e.loop(self.rows) as row:
            for column in columns:
                column.meet(row)
        for column in columns:
            column.store_sums()


class _Column:
    """A vector of columns: what it needs before the rows, what is done with each of them, and after them."""

    def __init__(self, body: _Body, lane: ir.Value, mask: ir.Value | None = None) -> None:
        self.body, self.lane, self.mask = body, lane, mask
        self.e, self.builder, self.x = body.e, body.builder, body.expression
        self.place = self.builder.mul(lane, const(self.e.itemsize))
        self.fixed: dict[int, Any] = dict(body.numbers)
        for i, kind in enumerate(self.x.kinds):
            if kind == "r":
                self.fixed[i] = Vector(self.e, self.e.load(self.e.offset(body.places[i], self.place), mask))
        self.totals = [self.e.variable(body.wide.zero) for _ in self.x.sums]

    def meet(self, row: ir.Value) -> None:
        """Evaluate the expression for a row."""
        operands = [self.fixed[i] if i in self.fixed else self._load(i, row) for i in range(len(self.x.kinds))]
        values = self.x.evaluate(self.e, operands)
        for i, number in enumerate(self.x.results, len(self.x.kinds)):
            self._store(values[number], i, row)
        for total, number in zip(self.totals, self.x.sums):
            value = _number(self.e, values[number]).value
            value = value if self.e.itemsize == 8 else self.builder.fpext(value, self.body.wide.vector)
            self.builder.store(self.builder.fadd(self.builder.load(total), value), total)

    def store_sums(self) -> None:
        """Put down what was added up."""
        place = self.builder.mul(self.lane, const(8))
        for i, total in enumerate(self.totals, len(self.x.kinds) + len(self.x.results)):
            self.body.wide.store(self.builder.load(total), self.e.offset(self.body.places[i], place), self.mask)

    def _load(self, i: int, row: ir.Value) -> Any:
        line = self._line(i, row)
        if self.x.kinds[i] == "c":
            return Vector(self.e, self.e.broadcast(line))
        if self.x.kinds[i] == "m":
            value = self.e.load(self.e.offset(line, self.lane), self.mask, BYTE)
            return self.builder.icmp_unsigned("!=", value, ir.Constant(value.type, None))
        address = self.e.offset(line, self.place)
        self.e.prefetch(self.e.offset(address, AHEAD), write=False)
        return Vector(self.e, self.e.load(address, self.mask))

    def _store(self, value: Any, i: int, row: ir.Value) -> None:
        line = self._line(i, row)
        if isinstance(value, Vector):
            address = self.e.offset(line, self.place)
            self.e.prefetch(self.e.offset(address, AHEAD))
            self.e.store(value.value, address, self.mask)
        else:
            bytes_ = self.builder.zext(value, ir.VectorType(BYTE, self.e.lanes))
            self.e.store(bytes_, self.e.offset(line, self.lane), self.mask, BYTE)

    def _line(self, i: int, row: ir.Value) -> ir.Value:
        """Where a row of array ``i`` begins."""
        return self.e.offset(self.body.places[i], self.builder.mul(row, self.body.steps[i]))


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
