"""Filtering an image with a kernel: band by band, each copied with its border into a patch that stays in the cache.

A patch holds floats, whatever the image's type, and border cells too: the inner loops know neither borders nor types.
A tile of sums stays in registers while the window moves over its rows and columns. Every sum runs over the taps in
row-major order, from ``delta`` on, so that results are those of OpenCV's own loops to the bit. Large kernels are the
exception, which ``_choose_method`` sends other ways.
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
LARGE = 130  # taps from which OpenCV, too, gives up exact results for speed
WORTH = 0.7  # products by frequencies cost more than those tap by tap, since there is more copying between them
MOST_BANDS = 32  # of an image filtered by passes, which filter the rows between two bands twice
# Variants of the tile: a product and its sum are rounded once; zero taps are left out; each row has its own kernel.
FUSED, SPARSE, SEVERAL = 1, 2, 4


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

    def fill(block):
        target, source, columns, first, count, before, width, channels = emit.parameters(block, 8)
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

    return leaf(fill, f"{KINDS[kind].name}_f{8 * itemsize}", 1)


# --- the tile ---------------------------------------------------------------------------------------------------


@functools.cache
def _tile_shape(rows: int) -> tuple[int, int]:
    """Rows and vectors of a tile: rows share what they load, and all sums stay in registers."""
    registers = emit.vector_registers() // 2 if rows > 1 else 8
    return rows, min(8, registers // rows)


@functools.cache
def _tile(itemsize: int, rows: int, vectors: int, kind: int, variant: int) -> int:
    """A leaf that filters ``rows`` x ``vectors`` registers of the patch and stores them as ``KINDS[kind]``."""

    def filter_tile(block):
        _tile_body(emit.parameters(block, 12), itemsize, rows, vectors, kind, variant)

    return leaf(filter_tile, f"f{8 * itemsize}_{rows}x{vectors}_{KINDS[kind].name}_{variant}", 1)


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
    source, source_row, kernel, taps_h, taps_w, tap, target, target_row, start, step, rest, lanes = arguments
    e = Emitter(builder, itemsize)
    width = e.lanes * itemsize
    first = e.broadcast(e.pointer(start))
    sums = [[e.variable(first) for _ in range(vectors)] for _ in range(rows)]
    kernel_row = builder.mul(taps_w, const(itemsize))

    def row_of_taps(r: ir.Value, active: range) -> None:
        """Row ``r`` of the patch meets row ``r - i`` of the kernel, or row r of kernel i, for each active row i."""
        left = e.variable(e.offset(e.pointer(source), builder.mul(r, source_row)))
        right = e.variable(e.offset(e.pointer(kernel), builder.mul(r, kernel_row)))
        with e.loop(taps_w):
            place, taps = builder.load(left), builder.load(right)
            cells = [e.load(e.offset(place, v * width)) for v in range(vectors)]
            for i in active:
                weight = builder.load(e.offset(taps, builder.mul(step, const(i))), typ=e.scalar, align=itemsize)
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

    if variant & SEVERAL:
        with e.loop(taps_h) as r:
            row_of_taps(r, range(rows))
    else:
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
def _sweep(source, kernel, target, rows, lanes, tiling):
    """Filter ``rows`` x ``lanes`` numbers, tile by tile. ``source`` and ``target``: address, row, bytes of a number."""
    first, source_row, size = source
    place, target_row, out = target
    tile, high, wide = tiling
    taps, taps_h, taps_w, tap, start = kernel
    for i in range(0, rows, high):
        for lane in range(0, lanes, wide):
            emit.call(tile, (
                first + i * source_row + lane * size, source_row, taps, taps_h, taps_w, tap,
                place + i * target_row + lane * out, target_row, start, -taps_w * size, rows - i, lanes - lane,
            ))  # fmt: skip


@functools.cache
def _direct(itemsize: int) -> int:
    def filter_direct(block, task):
        (
            image, kernel, rows, columns, y, height, width, channels, image_row, y_row, out, before, fill,
            taps_h, taps_w, band, span, parts, patch_row, tile, high, wide,
        ) = emit.parameters(block, 22)  # fmt: skip
        top, column = task // parts * band, task % parts * span
        used_rows, used_columns = min(band, height - top), min(span, width - column)
        source = (image, image_row, rows, columns, fill, before, width, channels)
        patch = emit.allocate((band + high + taps_h) * patch_row)
        for r in range(used_rows + taps_h - 1):
            _copy_row(patch + r * patch_row, top + r, column, used_columns + taps_w - 1, itemsize, source)
        _sweep(
            (patch, patch_row, itemsize), (kernel + 2 * itemsize, taps_h, taps_w, channels * itemsize, kernel),
            (y + top * y_row + column * channels * out, y_row, out), used_rows, used_columns * channels,
            (tile, high, wide),
        )  # fmt: skip
        emit.release(patch)

    return leaf(filter_direct, f"f{8 * itemsize}")


@functools.cache
def _by_passes(itemsize: int) -> int:
    """A row, then a column: rows are filtered as they are copied, and kept for as long as the column needs them."""

    def filter_by_passes(block, task):
        (
            image, kernel, rows, columns, y, height, width, channels, image_row, y_row, out, before, fill,
            taps_h, taps_w, band, span, parts, patch_row, tile, high, wide, row_tile, _, row_wide,
        ) = emit.parameters(block, 25)  # fmt: skip
        top, column = task // parts * band, task % parts * span
        used_rows, used_columns = min(band, height - top), min(span, width - column)
        lanes, tap, step = used_columns * channels, channels * itemsize, 2 * taps_h
        source = (image, image_row, rows, columns, fill, before, width, channels)
        bordered = emit.allocate((1 + step + high + taps_h) * patch_row)
        patch, row_taps = bordered + patch_row, kernel + 2 * itemsize
        for first in range(0, used_rows, step):
            kept, count = taps_h - 1 if first > 0 else 0, min(step, used_rows - first)
            emit.copy(patch, patch + step * patch_row, kept * patch_row)
            for r in range(kept, count + taps_h - 1):
                _copy_row(bordered, top + first + r, column, used_columns + taps_w - 1, itemsize, source)
                _sweep(
                    (bordered, 0, itemsize), (row_taps, 1, taps_w, tap, kernel + itemsize),
                    (patch + r * patch_row, 0, itemsize), 1, lanes, (row_tile, 1, row_wide),
                )  # fmt: skip
            _sweep(
                (patch, patch_row, itemsize), (row_taps + taps_w * itemsize, taps_h, 1, tap, kernel),
                (y + (top + first) * y_row + column * channels * out, y_row, out), count, lanes, (tile, high, wide),
            )  # fmt: skip
        emit.release(bordered)

    return leaf(filter_by_passes, f"f{8 * itemsize}")


@numba.njit(error_model="numpy")
def _mix(source, kernels, target, rows, lanes, tiling):
    """Give ``rows`` rows of results, each from the same rows of ``source`` by its own one of ``kernels``."""
    first, source_row, size = source
    taps, taps_h, taps_w, tap, start = kernels
    place, target_row, out = target
    tile, high, wide = tiling
    step = taps_h * taps_w * size
    for lane in range(0, lanes, wide):
        for i in range(0, rows, high):
            emit.call(tile, (
                first + lane * size, source_row, taps + i * step, taps_h, taps_w, tap,
                place + i * target_row + lane * out, target_row, start, step, rows - i, lanes - lane,
            ))  # fmt: skip


@functools.cache
def _by_frequencies(itemsize: int) -> int:
    """Columns are transformed, their frequencies filtered along the rows by complex numbers, and transformed back.

    The transform is short enough to be a product with a matrix: see ``_frequencies``.
    """

    def filter_by_frequencies(block, task):
        (
            image, kernel, rows, columns, y, height, width, channels, image_row, y_row, out, before, fill,
            length, taps_w, band, span, parts, patch_row, last_tile, last_high, last_wide, tile, high, wide,
        ) = emit.parameters(block, 25)  # fmt: skip
        top, column = task // parts * band, task % parts * span
        used_rows, used_columns = min(band, height - top), min(span, width - column)
        lanes, tap, count = used_columns * channels, channels * itemsize, used_columns + taps_w - 1
        source = (image, image_row, rows, columns, fill, before, width, channels)
        patch = emit.allocate(3 * length * patch_row)
        spectrum, product = patch + length * patch_row, patch + 2 * length * patch_row
        forward = kernel + 2 * itemsize
        middle = forward + length * length * itemsize
        backward = middle + 2 * length * taps_w * itemsize
        for r in range(length):
            _copy_row(patch + r * patch_row, top + r, column, count, itemsize, source)
        _mix(
            (patch, 0, itemsize), (forward, 1, length, patch_row, kernel + itemsize), (spectrum, patch_row, itemsize),
            length, count * channels, (tile, high, wide),
        )  # fmt: skip
        for r in range(0, length, 2):
            _mix(
                (spectrum + r * patch_row, patch_row, itemsize),
                (middle + 2 * r * taps_w * itemsize, 2, taps_w, tap, kernel + itemsize),
                (product + r * patch_row, patch_row, itemsize), 2, lanes, (tile, high, wide),
            )  # fmt: skip
        _mix(
            (product, 0, itemsize), (backward, 1, length, patch_row, kernel),
            (y + top * y_row + column * channels * out, y_row, out), used_rows, lanes,
            (last_tile, last_high, last_wide),
        )  # fmt: skip
        emit.release(patch)

    return leaf(filter_by_frequencies, f"f{8 * itemsize}")


@functools.lru_cache(maxsize=16)
def _waves(length: int) -> np.ndarray:
    """Complex waves (F, length) of a transform that changes the sign of what it wraps around.

    Its frequencies are the odd multiples of pi / length. Those below pi are enough for real numbers, and none of them
    is real itself, unlike 0 and pi.
    """
    return np.exp(1j * np.pi / length * np.outer(np.arange(1, length, 2), np.arange(length)))


def _frequencies(kernel: np.ndarray, length: int) -> list[np.ndarray]:
    """Weights of ``_by_frequencies``: matrix there, pairs of rows for each frequency, matrix back.

    Rows of results that the transform wraps around are left out, but for one: tiles have two rows.
    """
    waves, taps = _waves(length), len(kernel)
    forward = np.stack([waves.real, -waves.imag], 1)  # (F, 2, length)
    spectrum = waves[:, :taps] @ kernel  # (F, KW), conjugate, since the kernel is not flipped
    re, im = spectrum.real, spectrum.imag
    middle = np.stack([re, -im, im, re], 1)  # (F, 2 * 2, KW): real and imaginary results, each from both
    backward = 2 / length * forward[:, :, : length - taps + 2].transpose(2, 0, 1)  # (rows, F, 2)
    return [forward, middle, backward]


def _best_length(kernel: np.ndarray) -> tuple[float, int]:
    """Multiplications per pixel that frequencies take with the best length of the transform, and that length."""
    taps_h, taps_w = kernel.shape
    lengths = range(taps_h // 4 * 4 + 4, 4 * taps_h + 5, 4)
    return min((n + n * (n + 2 * taps_w) / (n - taps_h + 1), n) for n in lengths)


# --- the call ---------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def _border_indices(size: int, before: int, after: int, border: str, beyond: int) -> np.ndarray:
    """Which cell of an axis each cell of the bordered axis repeats, -1 for a constant; then constants ``beyond`` it."""
    constant = {"constant_values": -1} if border == "constant" else {}
    indices = np.pad(np.arange(size), (before, after), mode=border, **constant)  # type: ignore[call-overload]
    return np.append(indices, np.full(beyond, -1)).astype(np.int64)


class Method(NamedTuple):
    """One way to filter.

    ``tiles`` are those of the last step, and of the first where there are several. ``length`` counts the rows of the
    kernel or of the transform, ``band`` those of a task's results, ``patch`` those of its patch that are in use.
    """

    kernel: int
    products: float  # multiplications per pixel
    weights: list[np.ndarray]
    tiles: list[tuple[int, int]]
    length: int
    band: int
    patch: int
    several: int = 0


def _choose_method(kernels: Sequence[np.ndarray], height: int) -> Method:
    """Two passes for a row and a column; for large kernels frequencies, where they are cheaper; else tap by tap."""
    kernel, itemsize = kernels[-1], kernels[0].itemsize
    taps, tile = len(kernel), _tile_shape(min(4, len(kernel)))
    if len(kernels) == 2:
        band = -(-height // (min(MOST_BANDS, height // (4 * taps) // 2 * 2) or 1))
        sizes, tiles = kernels[0].size + kernel.size, [tile, _tile_shape(1)]
        return Method(_by_passes(itemsize), sizes, list(kernels), tiles, taps, band, 3 * taps)
    if kernel.size >= LARGE:
        products, length = _best_length(kernel)
        if products < WORTH * np.count_nonzero(kernel):
            weights, tiles, band = _frequencies(kernel, length), [_tile_shape(2)] * 2, length - taps + 1
            return Method(_by_frequencies(itemsize), products, weights, tiles, length, band, 3 * length, SEVERAL)
    band = -(-max(16, 2 * taps) // tile[0]) * tile[0]
    return Method(_direct(itemsize), kernel.size, [kernel], [tile], taps, band, 3 * taps)


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
    (height, width, channels), dtype = image.shape, kernels[0].dtype
    taps_h, taps_w = kernels[-1].shape[0], kernels[0].shape[1]
    method, lanes = _choose_method(kernels, height), emit.vector_bytes() // dtype.itemsize
    rows = _border_indices(height, anchor[0], taps_h - 1 - anchor[0], border, method.length)
    columns = _border_indices(width, anchor[1], taps_w - 1 - anchor[1], border, 0)

    span = min(width, max(64, PATCH // (method.patch * channels * dtype.itemsize) - taps_w))
    parts, bands = -(-width // span), -(-height // method.band)
    patch_row = ((span + taps_w) * channels + 8 * lanes) * dtype.itemsize  # tiles read a bit further
    patch_row = -(-patch_row // 128) * 128 + 64  # an odd number of cache lines, so that rows do not evict each other

    weights = np.concatenate([[delta, 0], *(part.ravel() for part in method.weights)]).astype(dtype)
    tiles: list[int] = []
    ends = (method.weights[-1], y.dtype), (method.weights[0], dtype)
    for (high, vectors), (part, kind) in zip(method.tiles, ends):
        variant = method.several or SPARSE * bool((part == 0).any())
        tile = _tile(dtype.itemsize, high, vectors, KINDS.index(kind), variant | FUSED * fused)
        tiles += [tile, high, vectors * lanes]
    parameters = (
        height, width, channels, image.strides[0], y.strides[0], y.itemsize, anchor[1],
        _fill(KINDS.index(image.dtype), dtype.itemsize), method.length, taps_w, method.band, span, parts, patch_row,
        *tiles,
    )  # fmt: skip
    work = image.size * (method.products * dtype.itemsize / 500 + 0.3)
    return [Call(method.kernel, (image, weights, rows, columns, y), parameters, bands * parts, work)]
