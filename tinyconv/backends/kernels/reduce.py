"""Sums in float64, rounded once: over the middle axis of an array seen as (outer, length, inner); maxima of rows.

A first kernel adds up parts that fit into the L1 cache, a second one adds the parts in order.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyconv.backends.kernels import emit
from tinyconv.backends.kernels.compiler import leaf
from tinyconv.backends.kernels.emit import FLOATS, REORDER, Emitter, const
from tinyconv.backends.kernels.launch import Allocate, Call

PART = 16 * 1024  # bytes that stay in the L1 cache while their lanes are walked one vector after the other
RUN = 64 * 1024  # bytes of a part that is one run
WIDTH = 2048  # lanes of a task


@intrinsic(prefer_literal=True)
def _add_rows(typingctx: Any, arguments: Any, itemsize: Any, inner: Any) -> Any:
    """Add up ``rows`` rows of ``lanes`` numbers, ``row_step`` bytes apart, into float64; (source, rows, ...)."""
    shape = emit.literal(itemsize), emit.literal(inner)

    def codegen(context, builder, signature, values):
        emitter = _emit_add_rows if shape[1] else _emit_add_run
        emitter(builder, emit.unpack(builder, values[0]), shape[0])
        return context.get_dummy_value()

    return types.void(arguments, itemsize, inner), codegen


def _widened(e: Emitter, value: ir.Value) -> ir.Value:
    wide = ir.VectorType(FLOATS[8], e.lanes)
    return value if e.itemsize == 8 else e.builder.fpext(value, wide)


def _emit_add_rows(builder: ir.IRBuilder, arguments: list[ir.Value], itemsize: int) -> None:
    """Lanes next to each other stay apart: target[lane] = sum over rows."""
    source, rows, row_step, lanes, target = arguments
    e = Emitter(builder, itemsize)
    wide = Emitter(builder, 8, e.lanes)
    with e.loop(builder.sdiv(builder.add(lanes, const(e.lanes - 1)), const(e.lanes))) as block:
        lane = builder.mul(block, const(e.lanes))
        mask = e.mask(builder.sub(lanes, lane))
        start = e.offset(e.pointer(source), builder.mul(lane, const(itemsize)))
        total = e.variable(wide.zero)
        with e.loop(rows) as row:
            value = _widened(e, e.load(e.offset(start, builder.mul(row, row_step)), mask))
            builder.store(builder.fadd(builder.load(total), value), total)
        wide.store(builder.load(total), e.offset(e.pointer(target), builder.mul(lane, const(8))), mask)


def _emit_add_run(builder: ir.IRBuilder, arguments: list[ir.Value], itemsize: int) -> None:
    """One run of numbers: target[0] = sum over ``lanes`` of them."""
    source, _, _, lanes, target = arguments
    e = Emitter(builder, itemsize)
    wide = Emitter(builder, 8, e.lanes)
    total = e.variable(wide.zero)
    with e.loop(builder.sdiv(builder.add(lanes, const(e.lanes - 1)), const(e.lanes))) as block:
        lane = builder.mul(block, const(e.lanes))
        start = e.offset(e.pointer(source), builder.mul(lane, const(itemsize)))
        value = _widened(e, e.load(start, e.mask(builder.sub(lanes, lane))))
        builder.store(builder.fadd(builder.load(total), value), total)
    reduce = e.function(f"llvm.vector.reduce.fadd.v{e.lanes}f64", FLOATS[8], FLOATS[8], wide.vector)
    result = builder.call(reduce, [ir.Constant(FLOATS[8], -0.0), builder.load(total)], fastmath=REORDER)
    builder.store(result, e.pointer(target), align=8)


@functools.cache
def _add_parts(itemsize: int, inner: int) -> int:
    def add_parts(block, task):
        x, sums, outer, length, lanes, each, parts, outer_each, width, blocks = emit.parameters(block, 10)
        task, lane = task // blocks, task % blocks * width
        group, part = task // parts, task % parts
        first = part * each
        count = min(each, length - first)
        for i in range(group * outer_each, min(outer, (group + 1) * outer_each)):
            source = x + ((i * length + first) * lanes + lane) * itemsize
            target = sums + ((i * parts + part) * lanes + lane) * 8
            if inner:
                used = min(width, lanes - lane)
                _add_rows((source, count, lanes * itemsize, used, target), itemsize, inner)
            else:
                _add_rows((source, 1, 0, count, target), itemsize, inner)

    return leaf(add_parts, f"f{8 * itemsize}_{inner}")


@functools.cache
def _round_parts(itemsize: int) -> int:
    def round_parts(block, task):
        sums, y, size, parts, lanes, each = emit.parameters(block, 6)
        for i in range(task * each, min(size, (task + 1) * each)):
            place = i if parts == 1 else i // lanes * parts * lanes + i % lanes
            start = sums + place * 8
            total = emit.load(start, 8)
            for part in range(1, parts):
                total += emit.load(start + part * lanes * 8, 8)
            emit.store(y + i * itemsize, total, itemsize)

    return leaf(round_parts, f"f{8 * itemsize}")


def total(
    x: np.ndarray, y: np.ndarray, outer: int, length: int, inner: int, empty: Allocate = np.empty
) -> list[Call]:
    """``y[o, i]`` = sum of ``x[o, :, i]``."""
    rows = RUN // x.itemsize if inner == 1 else max(64, PART // (inner * x.itemsize))
    each, width = min(length, rows), min(inner, WIDTH)
    parts, blocks = -(-length // each), -(-inner // width)
    outer_each = max(1, PART // (each * inner * x.itemsize))
    sums = empty((outer * parts * inner,), np.float64)
    sizes = (outer, length, inner, each, parts, outer_each, width, blocks)
    tasks = -(-outer // outer_each) * parts * blocks
    first = Call(_add_parts(x.itemsize, int(inner > 1)), (x, sums), sizes, tasks, x.nbytes / 30)
    return [first, _round_call(sums, y, parts, inner)]


@intrinsic(prefer_literal=True)
def _largest_of(typingctx: Any, arguments: Any, itemsize: Any) -> Any:
    """``target[0]`` = the largest of a run of numbers, NaN if there is one; (source, lanes, target)."""
    size = emit.literal(itemsize)

    def codegen(context, builder, signature, values):
        _emit_largest(Emitter(builder, size), *emit.unpack(builder, values[0]))
        return context.get_dummy_value()

    return types.void(arguments, itemsize), codegen


def _emit_largest(e: Emitter, source: ir.Value, lanes: ir.Value, target: ir.Value) -> None:
    builder = e.builder
    start = e.pointer(source)
    best = e.variable(e.broadcast(start))
    with e.loop(builder.sdiv(builder.add(lanes, const(e.lanes - 1)), const(e.lanes))) as block:
        lane = builder.mul(block, const(e.lanes))
        mask = e.mask(builder.sub(lanes, lane))
        value = e.load(e.offset(start, builder.mul(lane, const(e.itemsize))), mask)
        old = builder.load(best)
        better = builder.fcmp_unordered(">", value, old)
        better = builder.and_(better, builder.and_(mask, builder.fcmp_ordered("ord", old, old)))
        builder.store(builder.select(better, value, old), best)
    found = builder.load(best)
    reduce = e.function(f"llvm.vector.reduce.fmax.{e.suffix}", e.scalar, e.vector)
    result = builder.call(reduce, [found])
    is_nan = builder.fcmp_unordered("uno", found, found)
    any_nan = e.function(f"llvm.vector.reduce.or.v{e.lanes}i1", is_nan.type.element, is_nan.type)
    result = builder.select(builder.call(any_nan, [is_nan]), ir.Constant(e.scalar, float("nan")), result)
    builder.store(result, e.pointer(target), align=e.itemsize)


@functools.cache
def _largest(itemsize: int) -> int:
    def largest(block, task):
        x, y, rows, lanes, each = emit.parameters(block, 5)
        for row in range(task * each, min(rows, (task + 1) * each)):
            _largest_of((x + row * lanes * itemsize, lanes, y + row * itemsize), itemsize)

    return leaf(largest, f"f{8 * itemsize}")


def largest(x: np.ndarray, y: np.ndarray) -> list[Call]:
    """``y`` = largest of the last axis of ``x``."""
    lanes = x.shape[-1]
    each = max(1, PART // x.itemsize // lanes)
    sizes = (y.size, lanes, each)
    return [Call(_largest(x.itemsize), (x, y), sizes, -(-y.size // each), x.nbytes / 30)]


def add_in_order(sums: np.ndarray, y: np.ndarray) -> Call:
    """``y`` = sum over the first axis of float64 partial sums (parts, lanes)."""
    return _round_call(sums, y, *sums.shape)


def _round_call(sums: np.ndarray, y: np.ndarray, parts: int, lanes: int) -> Call:
    sizes = (y.size, parts, lanes, WIDTH)
    return Call(_round_parts(y.itemsize), (sums, y), sizes, -(-y.size // WIDTH), sums.size / 2)
