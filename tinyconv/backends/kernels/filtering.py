"""Filtering an image with a kernel: band by band, each copied with its border into a patch that stays in the cache.

A patch holds floats, whatever the image's type, and border cells too: the inner loops know neither borders nor types.
A tile of sums stays in registers while the window moves over its rows and columns. Every sum runs over the taps in
row-major order, from ``delta`` on, so that results are those of OpenCV's own loops to the bit.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
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
from tinyconv.backends.kernels.vector import Vector

KINDS = tuple(map(np.dtype, ("uint8", "uint16", "int16", "float32", "float64")))
PATCH = 1024 * 1024  # bytes of a patch: a few of its rows are in use at a time, and narrow patches are slow to fill
FUSED, SPARSE = 1, 2  # variants of the tile: a product and its sum are rounded once; zero taps are left out


# --- copying a row into the patch -------------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def _convert(typingctx: Any, target: Any, source: Any, count: Any, kind: Any, itemsize: Any) -> Any:
    """Copy ``count`` numbers of type ``KINDS[kind]`` as floats of ``itemsize`` bytes."""
    shape = emit.literal(kind), emit.literal(itemsize)

    def codegen(context, builder, signature, values):
        _emit_convert(builder, *values[:3], *shape)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, kind, itemsize), codegen


def _emit_convert(
    builder: ir.IRBuilder, target: ir.Value, source: ir.Value, count: ir.Value, kind: int, itemsize: int
) -> None:
    e, dtype = Emitter(builder, itemsize), KINDS[kind]

    def body(lane: ir.Value, mask: ir.Value | None) -> None:
        place = e.offset(e.pointer(source), builder.mul(lane, const(dtype.itemsize)))
        if dtype.kind == "f":
            value = e.load(place, mask)
        else:
            value = e.load(place, mask, ir.IntType(8 * dtype.itemsize))
            widen = builder.sext if dtype.kind == "i" else builder.zext
            value = builder.sitofp(widen(value, ir.VectorType(ir.IntType(32), e.lanes)), e.vector)
        e.store(value, e.offset(e.pointer(target), builder.mul(lane, const(itemsize))), mask)

    whole = builder.sdiv(count, const(e.lanes))
    with e.loop(whole) as block:
        body(builder.mul(block, const(e.lanes)), None)
    done = builder.mul(whole, const(e.lanes))
    with builder.if_then(builder.icmp_signed("<", done, count)):
        body(done, e.mask(builder.sub(count, done)))


@functools.cache
def _fill(kind: int, itemsize: int) -> int:
    """A leaf that copies columns first .. first + count - 1 of one bordered row into the patch."""
    size = KINDS[kind].itemsize

    def fill(target, source, columns, first, count, before, width, channels):
        cell = channels * size
        left = min(max(before - first, 0), count)  # border cells, image cells, border cells
        middle = min(count - left, max(before + width - first - left, 0))
        inside = first + left - before
        _convert(target + left * channels * itemsize, source + inside * cell, middle * channels, kind, itemsize)
        for i in range(count - middle):
            j = i if i < left else i + middle
            origin = emit.parameters(columns + (first + j) * 8, 1)[0]
            cells = target + j * channels * itemsize
            if origin < 0:
                emit.clear(cells, channels * itemsize)
            else:
                _convert(cells, source + origin * cell, channels, kind, itemsize)

    return leaf(fill, f"{KINDS[kind].name}_f{8 * itemsize}", 8)


# --- the tile ---------------------------------------------------------------------------------------------------


@functools.cache
def _tile_shape(taps: int) -> tuple[int, int]:
    """Rows and vectors of a tile for a kernel of ``taps`` rows: rows share what they load, sums stay in registers."""
    rows = min(4, taps)
    registers = emit.vector_registers() // 2 if rows > 1 else 8
    return rows, min(8, registers // rows)


@functools.cache
def _tile(itemsize: int, rows: int, vectors: int, kind: int, variant: int) -> int:
    """A leaf that filters ``rows`` x ``vectors`` registers of the patch and stores them as ``KINDS[kind]``."""

    def filter_tile(source, source_row, kernel, taps_h, taps_w, tap, target, target_row, used_rows, lanes):
        arguments = (source, source_row, kernel, taps_h, taps_w, tap, target, target_row, used_rows, lanes)
        _tile_body(arguments, itemsize, rows, vectors, kind, variant)

    return leaf(filter_tile, f"f{8 * itemsize}_{rows}x{vectors}_{KINDS[kind].name}_{variant}", 10)


@intrinsic(prefer_literal=True)
def _tile_body(typingctx: Any, arguments: Any, itemsize: Any, rows: Any, vectors: Any, kind: Any, variant: Any) -> Any:
    shape = [emit.literal(value) for value in (itemsize, rows, vectors, kind, variant)]

    def codegen(context, builder, signature, values):
        _emit_tile(builder, emit.unpack(builder, values[0]), *shape)
        return context.get_dummy_value()

    return types.void(arguments, itemsize, rows, vectors, kind, variant), codegen


def _emit_tile(
    builder: ir.IRBuilder, arguments: list[ir.Value], itemsize: int, rows: int, vectors: int, kind: int, variant: int
) -> None:
    source, source_row, kernel, taps_h, taps_w, tap, target, target_row, used_rows, lanes = arguments
    e = Emitter(builder, itemsize)
    width = e.lanes * itemsize
    delta = e.broadcast(e.pointer(kernel))  # the taps follow
    sums = [[e.variable(delta) for _ in range(vectors)] for _ in range(rows)]
    kernel_row = builder.mul(taps_w, const(itemsize))

    def row_of_taps(r: ir.Value, active: range) -> None:
        """Row ``r`` of the patch meets row ``r - i`` of the kernel for each active row i of the tile."""
        left = e.variable(e.offset(e.pointer(source), builder.mul(r, source_row)))
        right = e.variable(e.offset(e.pointer(kernel), itemsize, builder.mul(r, kernel_row)))
        with e.loop(taps_w):
            place, taps = builder.load(left), builder.load(right)
            cells = [e.load(e.offset(place, v * width)) for v in range(vectors)]
            for i in active:
                weight = builder.load(e.offset(taps, builder.mul(kernel_row, const(-i))), typ=e.scalar, align=itemsize)
                if variant & SPARSE:
                    with builder.if_then(builder.fcmp_unordered("!=", weight, ir.Constant(e.scalar, 0.0))):
                        accumulate(sums[i], weight, cells)
                else:
                    accumulate(sums[i], weight, cells)
            builder.store(e.offset(place, tap), left)
            builder.store(e.offset(taps, itemsize), right)

    def accumulate(totals: list[ir.Value], weight: ir.Value, cells: list[ir.Value]) -> None:
        weights = e.fill(weight)
        for total, cell in zip(totals, cells):
            old = builder.load(total)
            new = e.fma(weights, cell, old) if variant & FUSED else builder.fadd(old, builder.fmul(weights, cell))
            builder.store(new, total)

    for r in range(rows - 1):  # the window enters the tile row by row, ...
        row_of_taps(const(r), range(r + 1))
    with e.loop(builder.sub(taps_h, const(rows - 1))) as r:  # ... covers it ...
        row_of_taps(builder.add(r, const(rows - 1)), range(rows))
    for r in range(rows - 1):  # ... and leaves it
        row_of_taps(builder.add(taps_h, const(r)), range(r + 1, rows))

    for i, row in enumerate(sums):
        with builder.if_then(builder.icmp_signed("<", const(i), used_rows)):
            for v, total in enumerate(row):
                start = e.offset(e.pointer(target), builder.mul(target_row, const(i)))
                place = e.offset(start, v * e.lanes * KINDS[kind].itemsize)
                _store(e, Vector(e, builder.load(total)), place, builder.sub(lanes, const(v * e.lanes)), KINDS[kind])


def _store(e: Emitter, value: Vector, place: ir.Value, lanes: ir.Value, dtype: np.dtype) -> None:
    """Store up to ``lanes`` numbers as ``dtype``: integers are rounded half to even and saturate."""
    result, kind = value.value, None
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        kind = ir.IntType(8 * dtype.itemsize)
        value = value.call("rint").call("maxnum", limits.min).call("minnum", limits.max)
        result = e.builder.trunc(value.to_integer(), ir.VectorType(kind, e.lanes))
    with e.builder.if_else(e.builder.icmp_signed(">=", lanes, const(e.lanes))) as (full, partial):
        with full:
            e.store(result, place, None, kind)
        with partial:
            e.store(result, place, e.mask(lanes), kind)


# --- a band of the image ----------------------------------------------------------------------------------------


@numba.njit(error_model="numpy")
def _sweep(
    source, source_row, kernel, taps_h, taps_w, tap, target, target_row, rows, lanes, size, out, tile, high, wide
):
    """Filter ``rows`` x ``lanes`` numbers of ``size`` bytes into numbers of ``out`` bytes, in tiles of high x wide."""
    for i in range(0, rows, high):
        for lane in range(0, lanes, wide):
            emit.call(tile, (
                source + i * source_row + lane * size, source_row, kernel, taps_h, taps_w, tap,
                target + i * target_row + lane * out, target_row, rows - i, lanes - lane,
            ))  # fmt: skip


@functools.cache
def _filter_band(itemsize: int) -> int:
    def filter_band(block, task):
        (
            image, first_kernel, kernel, rows, columns, y, height, width, channels, image_row, y_row, out,
            before, band, span, parts, passes, taps_h, taps_w, patch_row,
            fill, tile, high, wide, first_tile, first_wide,
        ) = emit.parameters(block, 26)  # fmt: skip
        top, column = task // parts * band, task % parts * span
        used_rows, used_columns = min(band, height - top), min(span, width - column)
        lanes, cell = used_columns * channels, channels * itemsize
        patch = emit.allocate((band + high + taps_h) * patch_row)  # the first row is for rows before their own pass
        source, needed = patch + patch_row, used_columns + taps_w - 1
        for r in range(used_rows + taps_h - 1):
            origin = emit.parameters(rows + (top + r) * 8, 1)[0]
            target = source + r * patch_row
            bordered = target if passes == 1 else patch
            if origin < 0:
                emit.clear(bordered, needed * cell)
            else:
                start = image + origin * image_row
                emit.call(fill, (bordered, start, columns, column, needed, before, width, channels))
            if passes == 2:
                _sweep(
                    bordered, 0, first_kernel, 1, taps_w, cell, target, 0,
                    1, lanes, itemsize, itemsize, first_tile, 1, first_wide,
                )  # fmt: skip
        across = taps_w if passes == 1 else 1
        target = y + top * y_row + column * channels * out
        _sweep(
            source, patch_row, kernel, taps_h, across, cell, target, y_row,
            used_rows, lanes, itemsize, out, tile, high, wide,
        )  # fmt: skip
        emit.release(patch)

    return leaf(filter_band, f"f{8 * itemsize}")


@functools.lru_cache(maxsize=64)
def border_indices(size: int, before: int, after: int, border: str) -> np.ndarray:
    """Which cell of an axis each cell of the bordered axis repeats; -1 for the constant border."""
    constant = {"constant_values": -1} if border == "constant" else {}
    indices = np.pad(np.arange(size), (before, after), mode=border, **constant)  # type: ignore[call-overload]
    return indices.astype(np.int64)


def filter2d(
    image: np.ndarray,
    kernels: Sequence[np.ndarray],
    y: np.ndarray,
    anchor: Sequence[int],
    delta: float,
    border: str,
    fused: bool,
) -> list[Call]:
    """Correlate ``image`` (H, W, C) with one kernel, or with a row and then a column, into ``y`` of the same shape."""
    (height, width, channels), itemsize = image.shape, kernels[0].itemsize
    taps_h, taps_w = kernels[-1].shape[0], kernels[0].shape[1]
    weights = [np.append(0.0, kernel).astype(kernel.dtype) for kernel in kernels]
    weights[-1][0] = delta
    high, vectors = _tile_shape(taps_h)
    kind, lanes = KINDS.index(y.dtype), emit.vector_bytes() // itemsize
    variants = [fused * FUSED + bool((kernel == 0).any()) * SPARSE for kernel in kernels]
    first_vectors = _tile_shape(1)[1]

    band = max(16, 2 * taps_h) if len(kernels) == 1 else 64
    band = -(-min(band, height) // high) * high
    rows = band + high + taps_h
    span = min(width, max(64, PATCH // (rows * channels * itemsize) - taps_w))
    widest = max(vectors, first_vectors) * lanes
    patch_row = (span + taps_w) * channels * itemsize + widest * itemsize  # tiles may read beyond the last column
    patch_row = -(-patch_row // 64) * 64 + 64  # not a power of two
    parts = -(-width // span)
    taps = kernels[0].size + (kernels[-1].size if len(kernels) == 2 else 0)
    sizes = (
        height, width, channels, image.strides[0], y.strides[0], y.itemsize,
        anchor[1], band, span, parts, len(kernels), taps_h, taps_w, patch_row,
        _fill(KINDS.index(image.dtype), itemsize), _tile(itemsize, high, vectors, kind, variants[-1]), high,
        vectors * lanes, _tile(itemsize, 1, first_vectors, KINDS.index(kernels[0].dtype), variants[0]),
        first_vectors * lanes,
    )  # fmt: skip
    tables = [
        border_indices(n, before, k - 1 - before, border)
        for n, before, k in zip((height, width), anchor, (taps_h, taps_w))
    ]
    work = image.size * (taps * itemsize / 500 + 0.3)
    arrays = (image, weights[0], weights[-1], *tables, y)
    return [Call(_filter_band(itemsize), arrays, sizes, -(-height // band) * parts, work)]
