"""Filtering an image with a kernel: band by band, each copied with its border into a patch that stays in the cache.

A patch holds floats, whatever the image's type, and border cells too: the inner loops know neither borders nor types.
A tile of sums stays in registers while the window moves over its rows and columns. Every sum runs over the taps in
row-major order, from ``delta`` on, so that results are those of OpenCV's own loops to the bit. Tall kernels are the
exception: see ``_by_halves``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

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
TALL, LARGE = 16, 130  # rows from which halves pay; taps from which OpenCV, too, gives up exact results for speed
FUSED, SPARSE = 1, 2  # variants of the tile: a product and its sum are rounded once; zero taps are left out


# --- copying a row into the patch -------------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def _convert(typingctx: Any, target: Any, source: Any, count: Any, kind: Any, itemsize: Any) -> Any:
    """Copy ``count`` numbers of type ``KINDS[kind]`` as floats of ``itemsize`` bytes."""
    shape = emit.literal(kind), emit.literal(itemsize)

    def codegen(context, builder, signature, values):
        target, source, count, _, _ = values
        _emit_convert(builder, target, source, count, *shape)
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

    def filter_tile(source, source_row, kernel, taps_h, taps_w, tap, target, target_row, start, start_row, rest, lanes):
        arguments = (source, source_row, kernel, taps_h, taps_w, tap, target, target_row, start, start_row, rest, lanes)
        _tile_body(arguments, itemsize, rows, vectors, kind, variant)

    return leaf(filter_tile, f"f{8 * itemsize}_{rows}x{vectors}_{KINDS[kind].name}_{variant}", 12)


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
    source, source_row, kernel, taps_h, taps_w, tap, target, target_row, start, start_row, rest, lanes = arguments
    e = Emitter(builder, itemsize)
    width = e.lanes * itemsize
    delta = e.broadcast(e.pointer(kernel))  # the taps follow
    sums = [[e.variable(delta) for _ in range(vectors)] for _ in range(rows)]
    with builder.if_then(builder.icmp_signed("!=", start, const(0))):  # go on with sums that begin elsewhere
        for i, row in enumerate(sums):
            for v, total in enumerate(row):
                builder.store(e.load(e.offset(e.pointer(start), builder.mul(start_row, const(i)), v * width)), total)
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
        with builder.if_then(builder.icmp_signed("<", const(i), rest)):
            for v, total in enumerate(row):
                line = e.offset(e.pointer(target), builder.mul(target_row, const(i)))
                place = e.offset(line, v * e.lanes * KINDS[kind].itemsize)
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
def _copy_row(target, row, column, count, itemsize, source):
    """Copy ``count`` cells of one row of the bordered image into the patch."""
    image, image_row, rows, columns, fill, before, width, channels = source
    origin = emit.parameters(rows + row * 8, 1)[0]
    if origin < 0:
        emit.clear(target, count * channels * itemsize)
    else:
        emit.call(fill, (target, image + origin * image_row, columns, column, count, before, width, channels))


@numba.njit(error_model="numpy")
def _sweep(source, kernel, target, start, rows, lanes, tiling):
    """Filter ``rows`` x ``lanes`` numbers, tile by tile. ``source`` and ``target``: address, row, bytes of a number."""
    first, source_row, size = source
    place, target_row, out = target
    tile, high, wide = tiling
    begin, begin_row = start
    for i in range(0, rows, high):
        for lane in range(0, lanes, wide):
            sums = begin + i * begin_row + lane * size if begin != 0 else 0
            emit.call(tile, (
                first + i * source_row + lane * size, source_row, *kernel,
                place + i * target_row + lane * out, target_row, sums, begin_row, rows - i, lanes - lane,
            ))  # fmt: skip


@functools.cache
def _direct(itemsize: int) -> int:
    def filter_direct(block, task):
        (
            image, kernel, rows, columns, y, height, width, channels, image_row, y_row, out, before, fill,
            taps_h, taps_w, band, span, parts, patch_row, tile, high, wide, _, _,
        ) = emit.parameters(block, 24)  # fmt: skip
        top, column = task // parts * band, task % parts * span
        used_rows, used_columns = min(band, height - top), min(span, width - column)
        source = (image, image_row, rows, columns, fill, before, width, channels)
        patch = emit.allocate((band + high + taps_h) * patch_row)
        for r in range(used_rows + taps_h - 1):
            _copy_row(patch + r * patch_row, top + r, column, used_columns + taps_w - 1, itemsize, source)
        _sweep(
            (patch, patch_row, itemsize), (kernel, taps_h, taps_w, channels * itemsize),
            (y + top * y_row + column * channels * out, y_row, out), (0, 0),
            used_rows, used_columns * channels, (tile, high, wide),
        )  # fmt: skip
        emit.release(patch)

    return leaf(filter_direct, f"f{8 * itemsize}")


@functools.cache
def _by_passes(itemsize: int) -> int:
    """A row, then a column: each row of the patch is filtered as soon as it is copied."""

    def filter_by_passes(block, task):
        (
            image, kernel, rows, columns, y, height, width, channels, image_row, y_row, out, before, fill,
            taps_h, taps_w, band, span, parts, patch_row, tile, high, wide, row_tile, row_wide,
        ) = emit.parameters(block, 24)  # fmt: skip
        top, column = task // parts * band, task % parts * span
        used_rows, used_columns = min(band, height - top), min(span, width - column)
        lanes, tap = used_columns * channels, channels * itemsize
        source = (image, image_row, rows, columns, fill, before, width, channels)
        bordered = emit.allocate((1 + band + high + taps_h) * patch_row)
        patch = bordered + patch_row
        for r in range(used_rows + taps_h - 1):
            _copy_row(bordered, top + r, column, used_columns + taps_w - 1, itemsize, source)
            _sweep(
                (bordered, 0, itemsize), (kernel, 1, taps_w, tap), (patch + r * patch_row, 0, itemsize), (0, 0),
                1, lanes, (row_tile, 1, row_wide),
            )  # fmt: skip
        _sweep(
            (patch, patch_row, itemsize), (kernel + (1 + taps_w) * itemsize, taps_h, 1, tap),
            (y + top * y_row + column * channels * out, y_row, out), (0, 0), used_rows, lanes, (tile, high, wide),
        )  # fmt: skip
        emit.release(bordered)

    return leaf(filter_by_passes, f"f{8 * itemsize}")


@numba.njit(error_model="numpy")
def _subtract(target, left, right, count, itemsize):
    x, y = numba.carray(emit.pointer(left, itemsize), count), numba.carray(emit.pointer(right, itemsize), count)
    z = numba.carray(emit.pointer(target, itemsize), count)
    for i in range(count):
        z[i] = x[i] - y[i]


@functools.cache
def _by_halves(itemsize: int) -> int:
    """Three quarters of the multiplications: two rows of results at once, from three kernels of half the height.

    With even and odd rows of the image (E, O) and of the kernel (v, w), the even rows of the result are v*E + w*O and
    the odd ones v*O + w*E', where E' is E moved up by one. With s = (v + w)*O, these are v*(E - O) + s and
    w*(E' - O) + s.

    Source: Z.-J. Mou and P. Duhamel, "Short-length FIR filters and their use in fast nonrecursive filtering", 1991.
    """

    def filter_by_halves(block, task):
        (
            image, kernel, rows, columns, y, height, width, channels, image_row, y_row, out, before, fill,
            taps_h, taps_w, band, span, parts, patch_row, tile, high, wide, sum_tile, _,
        ) = emit.parameters(block, 24)  # fmt: skip
        top, column = task // parts * band, task % parts * span
        used_rows, used_columns = min(band, height - top), min(span, width - column)
        lanes, tap, half = used_columns * channels, channels * itemsize, taps_h // 2
        size = (band + 2 * high + taps_h) * patch_row
        patch = emit.allocate(3 * size)
        even, odd, common = patch + size, patch + size + size // 2, patch + 2 * size
        source, count = (image, image_row, rows, columns, fill, before, width, channels), used_columns + taps_w - 1
        for r in range(used_rows + taps_h - 1):
            _copy_row(patch + r * patch_row, top + r, column, count, itemsize, source)
        for r in range((used_rows + 1) // 2 + half - 1):
            pair = patch + 2 * r * patch_row
            _subtract(even + r * patch_row, pair, pair + patch_row, count * channels, itemsize)
            _subtract(odd + r * patch_row, pair + 2 * patch_row, pair + patch_row, count * channels, itemsize)
        target, step = y + top * y_row + column * channels * out, (1 + half * taps_w) * itemsize
        tiling, start = (tile, high, wide), (common, patch_row)
        _sweep(
            (patch + patch_row, 2 * patch_row, itemsize), (kernel, half, taps_w, tap), (common, patch_row, itemsize),
            (0, 0), (used_rows + 1) // 2, lanes, (sum_tile, high, wide),
        )  # fmt: skip
        _sweep(
            (even, patch_row, itemsize), (kernel + step, half, taps_w, tap), (target, 2 * y_row, out),
            start, (used_rows + 1) // 2, lanes, tiling,
        )  # fmt: skip
        _sweep(
            (odd, patch_row, itemsize), (kernel + 2 * step, half, taps_w, tap), (target + y_row, 2 * y_row, out),
            start, used_rows // 2, lanes, tiling,
        )  # fmt: skip
        emit.release(patch)

    return leaf(filter_by_halves, f"f{8 * itemsize}")


# --- the call ---------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def _border_indices(size: int, before: int, after: int, border: str) -> np.ndarray:
    """Which cell of an axis each cell of the bordered axis repeats, -1 for a constant; and one constant cell more."""
    constant = {"constant_values": -1} if border == "constant" else {}
    indices = np.pad(np.arange(size), (before, after), mode=border, **constant)  # type: ignore[call-overload]
    return np.append(indices, -1).astype(np.int64)


class Method(NamedTuple):
    """One way to filter: the compiled kernel, the weights it takes, and how many rows of results a task should do."""

    kernel: int
    weights: list[np.ndarray]
    band: int


def _choose_method(kernels: Sequence[np.ndarray]) -> Method:
    """Two passes for a row and a column, halves for large, tall and dense kernels, else tap by tap."""
    kernel, itemsize = kernels[-1], kernels[0].itemsize
    if len(kernels) == 2:
        return Method(_by_passes(itemsize), list(kernels), 64)
    if kernel.size < LARGE or len(kernel) < TALL or np.count_nonzero(kernel) < 0.75 * kernel.size:
        return Method(_direct(itemsize), [kernel], max(16, 2 * len(kernel)))
    kernel = np.append(kernel, np.zeros((len(kernel) % 2, kernel.shape[1]), kernel.dtype), 0)
    halves = [kernel[0::2] + kernel[1::2], kernel[0::2], kernel[1::2]]
    return Method(_by_halves(itemsize), halves, 2 * len(kernel))


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
    tables = [
        _border_indices(n, before, k - 1 - before, border)
        for n, before, k in zip((height, width), anchor, (taps_h, taps_w))
    ]
    kernel, taps, band = _choose_method(kernels)
    taps_h += taps_h % 2 if len(taps) == 3 else 0
    high, vectors = _tile_shape(len(taps[-1]))
    first_high, first_vectors = _tile_shape(len(taps[0]))
    lanes = emit.vector_bytes() // itemsize

    band = -(-min(band, height) // (2 * high)) * 2 * high
    span = min(width, max(64, PATCH // ((band + high + taps_h) * channels * itemsize) - taps_w))
    beyond = max(vectors, first_vectors) * lanes  # tiles read a bit further
    patch_row = ((span + taps_w) * channels + beyond) * itemsize
    patch_row = -(-patch_row // 64) * 64 + 64  # not a power of two
    parts = -(-width // span)

    starts = [delta, 0, 0] if len(taps) == 3 else [0, delta][-len(taps) :]
    weights = np.concatenate([np.append(start, part) for start, part in zip(starts, taps)]).astype(taps[0].dtype)
    variants = [fused * FUSED + bool((part == 0).any()) * SPARSE for part in taps]
    sizes = (
        height, width, channels, image.strides[0], y.strides[0], y.itemsize, anchor[1],
        _fill(KINDS.index(image.dtype), itemsize), taps_h, taps_w, band, span, parts, patch_row,
        _tile(itemsize, high, vectors, KINDS.index(y.dtype), variants[-1]), high, vectors * lanes,
        _tile(itemsize, first_high, first_vectors, KINDS.index(weights.dtype), variants[0]), first_vectors * lanes,
    )  # fmt: skip
    work = image.size * (sum(part.size for part in taps) * itemsize / 500 + 0.3)
    return [Call(kernel, (image, weights, *tables, y), sizes, -(-height // band) * parts, work)]
