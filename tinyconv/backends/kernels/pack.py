"""Copying matrices into the order in which the tile reads them: row after row of a panel, transposed if need be."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyconv.backends.kernels import emit
from tinyconv.backends.kernels.compiler import leaf
from tinyconv.backends.kernels.emit import Emitter, const
from tinyconv.backends.kernels.launch import Allocate, Call

AHEAD = 16  # rows that are fetched while one is copied: they lie too far apart for the processor to guess the next


@functools.cache
def packer(itemsize: int) -> int:
    """Address of a compiled copy of ``depth`` x ``lanes`` numbers with any strides (bytes) into rows of ``width``."""

    def pack(block):
        target, source, depth, lanes, width, depth_step, lane_step = emit.parameters(block, 7)
        arguments = (target, source, depth, lanes, width * itemsize, depth_step, lane_step)
        if lane_step == itemsize:
            _copy_rows(arguments, itemsize)
        elif depth_step == itemsize:
            _transpose(arguments, itemsize)
        else:
            for k in range(depth):
                for lane in range(lanes):
                    place = source + k * depth_step + lane * lane_step
                    emit.move(target + (k * width + lane) * itemsize, place, itemsize)

    return leaf(pack, f"f{8 * itemsize}", 1)


@intrinsic(prefer_literal=True)
def _copy_rows(typingctx: Any, arguments: Any, itemsize: Any) -> Any:
    """Rows are contiguous in the source."""
    size = emit.literal(itemsize)

    def codegen(context, builder, signature, values):
        _emit_copy_rows(Emitter(builder, size), emit.unpack(builder, values[0]))
        return context.get_dummy_value()

    return types.void(arguments, itemsize), codegen


def _emit_copy_rows(e: Emitter, arguments: list[ir.Value]) -> None:
    target, source, depth, lanes, row, step, _ = arguments
    builder, width = e.builder, e.lanes * e.itemsize
    whole = builder.sdiv(lanes, const(e.lanes))
    rest = e.mask(builder.sub(lanes, builder.mul(whole, const(e.lanes))))
    is_rest = builder.icmp_signed("<", builder.mul(whole, const(e.lanes)), lanes)
    ahead = builder.mul(step, const(AHEAD))

    def move(start: ir.Value, end: ir.Value, index: ir.Value, mask: ir.Value | None) -> None:
        place = e.offset(start, builder.mul(index, const(width)))
        e.prefetch(e.offset(place, ahead), write=False)
        e.store(e.load(place, mask), e.offset(end, builder.mul(index, const(width))), mask)

    with e.loop(depth) as k:
        start = e.offset(e.pointer(source), builder.mul(k, step))
        end = e.offset(e.pointer(target), builder.mul(k, row))
        with e.loop(whole) as index:
            move(start, end, index, None)
        with builder.if_then(is_rest):
            move(start, end, whole, rest)


@intrinsic(prefer_literal=True)
def _transpose(typingctx: Any, arguments: Any, itemsize: Any) -> Any:
    """Columns are contiguous in the source."""
    size = emit.literal(itemsize)

    def codegen(context, builder, signature, values):
        _emit_transpose(Emitter(builder, size), emit.unpack(builder, values[0]))
        return context.get_dummy_value()

    return types.void(arguments, itemsize), codegen


def _emit_transpose(e: Emitter, arguments: list[ir.Value]) -> None:
    target, source, depth, lanes, row, _, step = arguments
    builder, n = e.builder, e.lanes

    def blocks(count: ir.Value) -> ir.Value:
        return builder.sdiv(builder.add(count, const(n - 1)), const(n))

    with e.loop(blocks(lanes)) as lane_block, e.loop(blocks(depth)) as depth_block:
        lane, k = builder.mul(lane_block, const(n)), builder.mul(depth_block, const(n))
        lanes_left, depth_left = builder.sub(lanes, lane), builder.sub(depth, k)
        columns, rows = e.mask(lanes_left), e.mask(depth_left)
        start = e.offset(e.pointer(source), builder.mul(lane, step), builder.mul(k, const(e.itemsize)))
        end = e.offset(e.pointer(target), builder.mul(k, row), builder.mul(lane, const(e.itemsize)))
        square = []
        for i in range(n):
            exists = e.fill(builder.icmp_signed("<", const(i), lanes_left))
            square.append(e.load(e.offset(start, builder.mul(step, const(i))), builder.and_(rows, exists)))
        for i, vector in enumerate(_transposed(e, square)):
            with builder.if_then(builder.icmp_signed("<", const(i), depth_left)):
                e.store(vector, e.offset(end, builder.mul(row, const(i))), columns)


def _transposed(e: Emitter, square: list[ir.Value]) -> list[ir.Value]:
    """Vectors of the columns of a square whose rows are vectors: blocks of 1, 2, 4, ... change places."""
    n = len(square)
    for distance in (1 << i for i in range(n.bit_length() - 1)):
        upper = [lane if not lane & distance else n + lane - distance for lane in range(n)]
        lower = [lane + distance if not lane & distance else n + lane for lane in range(n)]
        exchanged = list(square)
        for i in (i for i in range(n) if not i & distance):
            pair = square[i], square[i + distance]
            exchanged[i], exchanged[i + distance] = (
                e.builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(ir.IntType(32), n), order))
                for order in (upper, lower)
            )
        square = exchanged
    return square


@functools.cache
def _pack_panels(itemsize: int) -> int:
    def pack_panels(block, task):
        (
            w, packed, w_h, w_w, w_c, w_o, w_g, taps_h, taps_w, channels, lanes, width, pack,
        ) = emit.parameters(block, 13)  # fmt: skip
        panels = -(-lanes // width)
        group, panel = task // panels, task % panels
        used = min(width, lanes - panel * width)
        target = packed + task * taps_h * taps_w * channels * width * itemsize
        start = w + group * w_g + panel * width * w_o
        for i in range(taps_h):
            for j in range(taps_w):
                emit.call(pack, (target, start + i * w_h + j * w_w, channels, used, width, w_c, w_o))
                target += channels * width * itemsize

    return leaf(pack_panels, f"f{8 * itemsize}")


def panels(w: np.ndarray, width: int, empty: Allocate = np.empty) -> tuple[np.ndarray, Call]:
    """Panels of ``width`` lanes of ``w`` (G, KH, KW, C, O), of any strides, and the call that fills them.

    They lie one after the other, for each group all panels, in each panel KH x KW x C rows.
    """
    groups, *taps, channels, lanes = w.shape
    w_g, w_h, w_w, w_c, w_o = w.strides
    count = groups * -(-lanes // width)
    packed = empty((count * math.prod(taps) * channels * width,), w.dtype)
    sizes = (w_h, w_w, w_c, w_o, w_g, *taps, channels, lanes, width, packer(w.itemsize))
    return packed, Call(_pack_panels(w.itemsize), (w, packed), sizes, count, w.size / 4, prepares=True)
