"""Pooling and its adjoints: one walk over the cells that meet, with the channels in the lanes.

Going forward, an output cell walks over the input cells of its window. Going backward, an input cell walks over the
output cells whose windows hold it. So kernels gather, each writes its own cells, and additions come in the order of
the taps; where windows do not overlap, going backward deals out instead.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
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
from tinyconv.geometry import Window

MAX, SUM, PICK, SCATTER, DEAL = range(5)  # see the functions _emit_max, _emit_sum, ...
INT32 = ir.IntType(32)
UNROLLED = 9  # cells of a window whose walk is written out

Meeting = Callable[[ir.Value, ir.Value, ir.Value], None]


@intrinsic(prefer_literal=True)
def _walk(typingctx: Any, arguments: Any, mode: Any, itemsize: Any, tap_size: Any, rows: Any, columns: Any) -> Any:
    """Let one cell meet ``rows`` x ``columns`` others, all channels; see ``_Walk`` for the arguments."""
    shape = [emit.literal(value) for value in (mode, itemsize, tap_size, rows, columns)]

    def codegen(context, builder, signature, values):
        walk = _Walk(Emitter(builder, shape[1]), shape[2], tuple(shape[3:]), emit.unpack(builder, values[0]))
        walk.channels((_emit_max, _emit_sum, _emit_pick, _emit_scatter, _emit_deal)[shape[0]])
        return context.get_dummy_value()

    return types.void(arguments, mode, itemsize, tap_size, rows, columns), codegen


class _Walk:
    """Loops over channels, and over the cells at start + i * row_step + j * column_step (bytes).

    A cell is met at tap + i * tap_row + j * tap_column of the window. ``window`` is the (rows, columns) of a whole
    window, whose taps are numbered from 0 on, or zeros for any number of them.
    """

    def __init__(self, e: Emitter, tap_size: int, window: tuple[int, ...], arguments: list[ir.Value]):
        self.e, self.tap_size, self.window = e, tap_size, window
        self.bases, self.count, self.steps = arguments[:3], arguments[3], arguments[4:]

    def channels(self, body: Callable[[_Walk], None]) -> None:
        """One vector of channels after the other: sets the pointers ``cells``, ``taps``, ``own`` and the mask."""
        e, builder = self.e, self.e.builder
        whole = builder.sdiv(self.count, const(e.lanes))
        done = builder.mul(whole, const(e.lanes))
        with e.loop(whole) as block:
            self._from(builder.mul(block, const(e.lanes)), None)
            body(self)
        with builder.if_then(builder.icmp_signed("<", done, self.count)):
            self._from(done, e.mask(builder.sub(self.count, done)))
            body(self)

    def _from(self, channel: ir.Value, mask: ir.Value | None) -> None:
        self.mask = mask
        self.cells, self.taps, self.own = (
            self.e.offset(self.e.pointer(base), self.e.builder.mul(channel, const(size)))
            for base, size in zip(self.bases, (self.e.itemsize, self.tap_size, self.e.itemsize))
        )

    def meet(self, body: Meeting, skip: int = 0) -> None:
        """One cell after the other: its pointer, the pointer to taps beside it, and the tap at which it is met.

        The first ``skip`` may be left out.
        """
        e, builder = self.e, self.e.builder
        rows, row_step, columns, column_step, tap, tap_row, tap_column = self.steps

        def cell(i: ir.Value, j: ir.Value, met: ir.Value) -> None:
            distance = builder.add(builder.mul(i, row_step), builder.mul(j, column_step))
            beside = builder.sdiv(distance, const(e.itemsize // self.tap_size))
            body(e.offset(self.cells, distance), e.offset(self.taps, beside), met)

        if any(self.window):
            for number in range(skip, self.window[0] * self.window[1]):
                i, j = divmod(number, self.window[1])
                cell(const(i), const(j), self._constant(number))
            return
        with e.loop(rows) as i, e.loop(columns) as j:
            met = builder.add(tap, builder.add(builder.mul(i, tap_row), builder.mul(j, tap_column)))
            cell(i, j, e.fill(builder.trunc(met, INT32)))

    def first_tap(self) -> ir.Value:
        """The tap at which the first cell is met."""
        return self._constant(0) if any(self.window) else self.e.fill(self.e.builder.trunc(self.steps[4], INT32))

    def _constant(self, tap: int) -> ir.Value:
        return ir.Constant(ir.VectorType(INT32, self.e.lanes), [tap] * self.e.lanes)

    def fetch_next(self, cell: ir.Value, write: bool = False) -> None:
        """Fetch the cell as many rows below as a window has, which the next row of windows meets."""
        if any(self.window):
            below = self.e.builder.mul(self.steps[1], const(self.window[0]))
            self.e.prefetch(self.e.offset(cell, below), write)

    def load(self, pointer: ir.Value) -> ir.Value:
        return self.e.load(pointer, self.mask)

    def store(self, value: ir.Value, pointer: ir.Value) -> None:
        self.e.store(value, pointer, self.mask)

    def load_taps(self, pointer: ir.Value) -> ir.Value:
        taps = self.e.load(pointer, self.mask, ir.IntType(8 * self.tap_size))
        return taps if self.tap_size == 4 else self.e.builder.zext(taps, ir.VectorType(INT32, self.e.lanes))

    def store_taps(self, taps: ir.Value) -> None:
        kind = ir.IntType(8 * self.tap_size)
        taps = taps if self.tap_size == 4 else self.e.builder.trunc(taps, ir.VectorType(kind, self.e.lanes))
        self.e.store(taps, self.taps, self.mask, kind)


def _emit_max(walk: _Walk) -> None:
    """The largest of the cells and its tap: the first among equals, and the first NaN wins over everything."""
    e, builder = walk.e, walk.e.builder
    best, chosen = e.variable(walk.load(walk.cells)), e.variable(walk.first_tap())
    walk.fetch_next(walk.cells)

    def compare(place: ir.Value, _: ir.Value, tap: ir.Value) -> None:
        walk.fetch_next(place)
        cell, old = walk.load(place), builder.load(best)
        better = builder.fcmp_unordered(">", cell, old)
        better = builder.and_(better, builder.fcmp_ordered("ord", old, old))
        builder.store(builder.select(better, cell, old), best)
        builder.store(builder.select(better, tap, builder.load(chosen)), chosen)

    walk.meet(compare, skip=1)
    walk.store(builder.load(best), walk.own)
    walk.store_taps(builder.load(chosen))


def _emit_sum(walk: _Walk) -> None:
    """The sum of the cells."""
    builder = walk.e.builder
    total = walk.e.variable(walk.e.zero)

    def add(place: ir.Value, *_: ir.Value) -> None:
        walk.fetch_next(place)
        builder.store(builder.fadd(builder.load(total), walk.load(place)), total)

    walk.meet(add)
    walk.store(builder.load(total), walk.own)


def _emit_pick(walk: _Walk) -> None:
    """The cell that is met at the own tap."""
    builder = walk.e.builder
    picked, own_tap = walk.e.variable(walk.e.zero), walk.load_taps(walk.taps)

    def pick(place: ir.Value, _: ir.Value, tap: ir.Value) -> None:
        same = builder.icmp_signed("==", own_tap, tap)
        builder.store(builder.select(same, walk.load(place), builder.load(picked)), picked)

    walk.meet(pick)
    walk.store(builder.load(picked), walk.own)


def _emit_scatter(walk: _Walk) -> None:
    """The sum of those cells whose taps name the tap at which they are met."""
    builder = walk.e.builder
    total = walk.e.variable(walk.e.zero)

    def add(place: ir.Value, beside: ir.Value, tap: ir.Value) -> None:
        same = builder.icmp_signed("==", walk.load_taps(beside), tap)
        value = builder.select(same, walk.load(place), walk.e.zero)
        builder.store(builder.fadd(builder.load(total), value), total)

    walk.meet(add)
    walk.store(builder.load(total), walk.own)


def _emit_deal(walk: _Walk) -> None:
    """Write the own value into the cell that is met at the own tap, and zeros into the others."""
    builder = walk.e.builder
    own, own_tap = walk.load(walk.own), walk.load_taps(walk.taps)

    def deal(place: ir.Value, _: ir.Value, tap: ir.Value) -> None:
        walk.fetch_next(place, write=True)
        walk.store(builder.select(builder.icmp_signed("==", own_tap, tap), own, walk.e.zero), place)

    walk.meet(deal)


@functools.cache
def _forward(mode: int, itemsize: int, tap_size: int, rows: int, columns: int) -> int:
    def pool_forward(block, task):
        (
            x, taps, y, height, width, channels, out_rows, out_columns,
            kernel_h, kernel_w, stride_h, stride_w, top, left,
        ) = emit.parameters(block, 14)  # fmt: skip
        image, row = task // out_rows, task % out_rows
        first_row, last_row = _valid(row * stride_h - top, kernel_h, height)
        cell = channels * itemsize
        line = width * cell
        if mode == DEAL:  # the rows from here to the next window's are this task's own
            first = max(0, row * stride_h - top) if row > 0 else 0
            last = height if row == out_rows - 1 else max(0, (row + 1) * stride_h - top)
            tiled = stride_h == kernel_h and stride_w == kernel_w
            if not tiled or out_columns * kernel_w - left < width or (row + 1) * kernel_h - top < last:
                emit.clear(x + (image * height + first) * line, (last - first) * line)
        for column in range(out_columns):
            first, last = _valid(column * stride_w - left, kernel_w, width)
            start = (row * stride_h - top + first_row) * line + (column * stride_w - left + first) * cell
            place = (task * out_columns + column) * channels
            arguments = (
                x + image * height * line + start, taps + place * tap_size, y + place * itemsize, channels,
                last_row - first_row, line, last - first, cell, first_row * kernel_w + first, kernel_w, 1,
            )  # fmt: skip
            if rows > 0 and last_row - first_row == rows and last - first == columns:
                _walk(arguments, mode, itemsize, tap_size, rows, columns)
            else:
                _walk(arguments, mode, itemsize, tap_size, 0, 0)

    return leaf(pool_forward, f"{mode}_f{8 * itemsize}_{tap_size}" + f"_{rows}x{columns}" * (rows > 0))


@numba.njit(error_model="numpy")
def _valid(start, kernel, size):
    """Those taps of a window at ``start`` that lie inside of ``size`` cells: first, last + 1."""
    return max(0, -start), min(kernel, size - start)


@functools.cache
def _backward(mode: int, itemsize: int, tap_size: int) -> int:
    def pool_backward(block, task):
        (
            dy, taps, dx, height, width, channels, out_rows, out_columns,
            kernel_h, kernel_w, stride_h, stride_w, top, left,
        ) = emit.parameters(block, 14)  # fmt: skip
        image, row = task // height, task % height
        first_row, rows = _meeting(row + top, kernel_h, stride_h, out_rows)
        cell = channels * itemsize
        line = out_columns * cell
        for column in range(width):
            first, count = _meeting(column + left, kernel_w, stride_w, out_columns)
            out_row, out_column = (row + top - first_row) // stride_h, (column + left - first) // stride_w
            place = ((image * out_rows + out_row) * out_columns + out_column) * channels
            _walk(
                (
                    dy + place * itemsize, taps + place * tap_size, dx + (task * width + column) * cell, channels,
                    rows, -line, count, -cell, first_row * kernel_w + first, stride_h * kernel_w, stride_w,
                ),
                mode, itemsize, tap_size, 0, 0,
            )  # fmt: skip

    return leaf(pool_backward, f"{mode}_f{8 * itemsize}_{tap_size}")


@numba.njit(error_model="numpy")
def _meeting(position, kernel, stride, size):
    """Taps (first, number) at which windows meet a cell; each next one is a stride further and one window earlier."""
    first = position % stride
    beyond = position // stride - (size - 1)  # the windows are fewer than it takes to meet the cell early
    if beyond > 0:
        first += beyond * stride
    last = min(kernel - 1, position)
    return first, max(0, (last - first) // stride + 1)


def forward(mode: int, x: np.ndarray, taps: np.ndarray | None, y: np.ndarray, window: Window) -> list[Call]:
    """Walk from ``y`` (N, OH, OW, C) over windows of ``x`` (N, H, W, C): MAX, SUM, PICK; or DEAL, into ``x``."""
    n, oh, ow, _ = y.shape
    (top, _), (left, _) = window.padding
    sizes = (*x.shape[1:], oh, ow, *window.kernel, *window.strides, top, left)
    unrolled = window.kernel if window.kernel[0] * window.kernel[1] <= UNROLLED else (0, 0)
    kernel = _forward(mode, x.itemsize, 1 if taps is None else taps.itemsize, *unrolled)
    return [Call(kernel, (x, taps, y), sizes, n * oh, x.nbytes / 8)]


def backward(mode: int, dy: np.ndarray, taps: np.ndarray | None, dx: np.ndarray, window: Window) -> list[Call]:
    """Walk from ``dx`` (N, H, W, C) over cells of ``dy`` (N, OH, OW, C): SCATTER or SUM."""
    if mode == SCATTER and all(s >= k for s, k in zip(window.strides, window.kernel)):
        return forward(DEAL, dx, taps, dy, window)
    n, h, w, c = dx.shape
    (top, _), (left, _) = window.padding
    sizes = (h, w, c, *dy.shape[1:3], *window.kernel, *window.strides, top, left)
    kernel = _backward(mode, dx.itemsize, 1 if taps is None else taps.itemsize)
    return [Call(kernel, (dy, taps, dx), sizes, n * h, dx.nbytes / 8)]
