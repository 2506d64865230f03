"""Convolution with fewer multiplications: Winograd's F(4x4, 3x3) and F(4x4, 5x5), for stride 1 and float32.

A tile of 4 x 4 outputs is ``Y = A^T [sum over c of (G g G^T) * (B^T d B)] A`` with a patch d of P x P inputs
(P = 4 + K - 1) and a kernel g. At each of the P * P points the sum over channels is a product of matrices,
(tiles, C) @ (C, O), for the register tile: 36 multiplications where a 3x3 kernel takes 144 directly, and 64 instead of
400 for a 5x5 kernel. The transforms are additions and products with constants, with channels in the lanes.

The gradient for the input is a forward convolution of ``dy`` with the flipped kernel. The gradient for the kernel is
taken at the points too: ``dg = G^T [sum over tiles of (B^T d B) * (A dy A^T)] G``.

Precision: what the transforms add up is larger than what comes out, so rounding errors grow. For numbers of size 1 and
32 to 256 channels the error against float64 is typically 2e-6 and at most 2e-5 for 3x3 kernels, 5e-6 and 7e-5 for 5x5
kernels (direct convolution: 1e-6 and 1e-5); the gradients for the weights suffer most, some 3 and 10 times the direct
error.

A NaN or an infinity in the input makes NaN of every output tile whose patch it lies in, and not only of the windows
that cover it.
"""

from __future__ import annotations

import functools
import itertools
import math
from fractions import Fraction
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyconv.backends.kernels import emit
from tinyconv.backends.kernels.compiler import leaf
from tinyconv.backends.kernels.conv import PARTIALS, add_parts
from tinyconv.backends.kernels.emit import LINE, Emitter, const
from tinyconv.backends.kernels.launch import Allocate, Call
from tinyconv.backends.kernels.pack import packer
from tinyconv.backends.kernels.tile import _cycles, _most_rows
from tinyconv.geometry import Window

OUT = 4  # rows and columns of an output tile
ITEM = 4  # bytes of a float32
SCRATCH = 384 * 1024  # bytes of transformed tiles of one task: they share the L2 cache with the transformed kernel
TASKS = 16  # tasks that a call is cut into where its shape allows
MANY = 1000  # tiles that are cut into blocks as large as the registers allow
LARGE = 8 * 1024 * 1024  # bytes of a transformed kernel that is too large to be read again for every few tiles
PART = 10 * 1024 * 1024  # bytes of the part of such a kernel that stays in the last cache while all tiles pass
LANES = 64  # output channels of the block of the weight gradient that one task computes
SUMS = 320 * 1024  # bytes of the sums at all points of such a block, which decide about its input channels

# --- the choice -------------------------------------------------------------------------------------------------


def choose(
    images: int,
    output: tuple[int, int],
    channels: int,
    lanes: int,
    window: Window,
    groups: int,
    dtype: Any,
    weights: bool = False,
) -> str:
    """Which algorithm a convolution takes: ``"winograd"`` where it pays by a count of clock cycles, else ``"direct"``.

    ``channels`` are summed over and ``lanes`` result, at ``output`` (height, width) pixels; ``weights`` tells that the
    gradient for the weights is wanted, where no kernel has to be transformed first.
    """
    kernel = window.kernel[0]
    fits = window.kernel == (kernel, kernel) and kernel in POINTS and dtype == np.float32
    if not fits or window.strides != (1, 1) or window.dilations != (1, 1) or groups != 1:
        return "direct"
    lanes = _padded(lanes)
    cut, points = _cut(MANY, lanes), (OUT + kernel - 1) ** 2
    tiles = images * math.prod(-(-n // OUT) for n in output)
    product = channels * cut.cycles(lanes) / cut.rows  # cycles for one pixel and tap, or one tile and point
    direct = images * math.prod(output) * kernel**2 * product
    numbers = points * channels * lanes  # of the transformed kernel
    preparation = 0 if weights else numbers * (0.5 if numbers * ITEM < LARGE else 2.5)
    transforms = tiles * (points * (_padded(channels) + lanes) * 0.25 + 200)
    return "winograd" if 1.15 * tiles * points * product + transforms + preparation < 0.9 * direct else "direct"


# --- the transforms ---------------------------------------------------------------------------------------------

# Where polynomials are evaluated, and infinity. Pairs of opposite points share work; with (0, 1, -1, 2, -2) for 3x3
# kernels everything is 1 to 3 % faster, and errors are three times as large.
HALF = Fraction(1, 2)
POINTS = {3: (0, 1, -1, HALF, -2), 5: (0, 1, -1, 2, -2, HALF, -HALF)}

INPUT, KERNEL, OUTPUT_GRAD, OUTPUT, KERNEL_GRAD = range(5)  # B^T, G and A go to the points, A^T and G^T come back

Matrix = list[list[Fraction]]


@functools.cache
def matrix(kind: int, kernel: int) -> Matrix:
    """The matrix of a transform, made from its points as Toom and Cook multiply polynomials.

    Examples
    --------
    >>> for row in matrix(OUTPUT, 3):
    ...     print(*row)
    1 1 1 1 1 0
    0 1 -1 1/2 -2 0
    0 1 1 1/4 4 0
    0 1 -1 1/8 -8 1
    """
    points = [Fraction(point) for point in POINTS[kernel]]
    others = [[q for q in points if q != p] for p in points]
    if kind == INPUT:
        return [[*_with_roots(roots), Fraction(0)] for roots in others] + [_with_roots(points)]
    if kind == KERNEL:
        scales = [math.prod(p - q for q in roots) for p, roots in zip(points, others)]
        rows = [[p**j / scale for j in range(kernel)] for p, scale in zip(points, scales)]
        return [*rows, [Fraction(j == kernel - 1) for j in range(kernel)]]
    if kind == OUTPUT:
        return [[*(p**i for p in points), Fraction(i == OUT - 1)] for i in range(OUT)]
    return [list(column) for column in zip(*matrix({OUTPUT_GRAD: OUTPUT, KERNEL_GRAD: KERNEL}[kind], kernel))]


def _with_roots(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the polynomial with these roots, lowest first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *coefficients], [*(root * c for c in coefficients), Fraction(0)]
        coefficients = [a - b for a, b in zip(shifted, scaled)]
    return coefficients


def _product(e: Emitter, matrix: Matrix, values: list[ir.Value]) -> list[ir.Value]:
    """``matrix @ values``; rows or columns that differ in signs alone, as those of opposite points do, share work."""
    b = e.builder
    columns = list(zip(*matrix))
    for i, j in _alike(columns):
        rest = [k for k in range(len(columns)) if k not in (i, j)]
        even, odd = _even_odd(columns[i], columns[j])
        reduced = [list(row) for row in zip(*(columns[k] for k in rest), even, odd)]
        sums = [b.fadd(values[i], values[j]), b.fsub(values[i], values[j])]
        return _product(e, reduced, [*(values[k] for k in rest), *sums])
    for i, j in _alike(matrix):
        even, odd = _even_odd(matrix[i], matrix[j])
        scale = next(c for c in reversed(odd) if c)
        reduced = list(matrix)
        reduced[i], reduced[j] = even, [c / scale for c in odd]
        results = _product(e, reduced, values)
        pair = results[i], results[j]
        results[i], results[j] = (_combine(e, [Fraction(1), s], pair) for s in (scale, -scale))
        return results
    return [_combine(e, row, values) for row in matrix]


def _alike(rows: Any) -> list[tuple[int, int]]:
    """The first pair of rows that differ in some signs alone."""
    for i, j in itertools.combinations(range(len(rows)), 2):
        if rows[i] != rows[j] and all(abs(a) == abs(b) for a, b in zip(rows[i], rows[j])):
            return [(i, j)]
    return []


def _even_odd(x: Any, y: Any) -> tuple[list[Fraction], list[Fraction]]:
    """What two rows have in common, and what has opposite signs."""
    return [(a + b) / 2 for a, b in zip(x, y)], [(a - b) / 2 for a, b in zip(x, y)]


def _combine(e: Emitter, coefficients: Any, values: Any) -> ir.Value:
    """The sum of ``coefficients * values``."""
    terms = [(c, value) for c, value in zip(coefficients, values) if c]
    terms.sort(key=lambda term: (term[0] != 1, abs(term[0]) != 1))
    total = None
    for c, value in terms:
        factor = ir.Constant(e.vector, [ir.Constant(e.scalar, float(np.float32(float(c))))] * e.lanes)
        if total is None:
            total = value if c == 1 else e.builder.fmul(factor, value)
        elif abs(c) == 1:
            total = (e.builder.fadd if c == 1 else e.builder.fsub)(total, value)
        else:
            total = e.fma(factor, value, total)
    return e.zero if total is None else total


@functools.cache
def transform(kind: int, kernel: int, relu: int = 0) -> int:
    """Address of a compiled transform of one square of pixels, all its channels, to the points or back.

    Pixels outside of the image (``height``, ``width``) are read as zeros or not written: their place is taken by
    ``spare``, which is as large as a pixel, and zero where it is read. On the way back ``bias`` is added, and with
    ``relu`` numbers below zero become zero. Towards the points ``padded`` channels are written, those from ``channels``
    on with zeros.
    """

    def transform(block):
        # image, row_step, column_step, top, left, height, width, spare, points, step, channels, padded, bias
        _transform(emit.parameters(block, 13), kind, kernel, relu)

    return leaf(transform, f"{kind}_{kernel}" + "_relu" * relu, 1)


@intrinsic(prefer_literal=True)
def _transform(typingctx: Any, arguments: Any, kind: Any, kernel: Any, relu: Any) -> Any:
    """The body of a transform; every argument after the first is a compile-time integer."""
    shape = [emit.literal(value) for value in (kind, kernel, relu)]

    def codegen(context, builder, signature, values):
        _emit_transform(builder, emit.unpack(builder, values[0]), *shape)
        return context.get_dummy_value()

    return types.void(arguments, kind, kernel, relu), codegen


def _emit_transform(b: ir.IRBuilder, arguments: list[ir.Value], kind: int, kernel: int, relu: int) -> None:
    image, row_step, column_step, top, left, height, width, spare, points, step, channels, padded, bias = arguments
    e = Emitter(b, ITEM)
    m = matrix(kind, kernel)
    returning = kind in (OUTPUT, KERNEL_GRAD)
    side, n = (len(m), len(m[0])) if returning else (len(m[0]), len(m))

    # addresses of all pixels, a vector of them for each row of the square
    wide = ir.VectorType(emit.INT, 8)
    lanes = Emitter(b, 8, 8)
    places = b.add(lanes.fill(left), ir.Constant(wide, list(range(8))))
    inside = b.icmp_unsigned("<", places, lanes.fill(width))
    offsets = b.mul(places, lanes.fill(column_step))
    table = e.pointer(b.ptrtoint(cgutils.alloca_once(b, ir.ArrayType(wide, side)), emit.INT))
    for i in range(side):
        row = b.add(top, const(i))
        chosen = b.and_(inside, lanes.fill(b.icmp_unsigned("<", row, height)))
        addresses = b.add(offsets, lanes.fill(b.add(image, b.mul(row, row_step))))
        line = b.gep(table, [const(i)], source_etype=wide)
        b.store(b.select(chosen, addresses, lanes.fill(spare)), line, align=8)

    def pixel(i: int, j: int) -> ir.Value:
        return e.pointer(b.load(b.gep(table, [const(8 * i + j)], source_etype=emit.INT), typ=emit.INT, align=8))

    steps = [b.mul(step, const(i)) for i in range(n)]
    with e.loop(b.udiv(b.add(padded, const(e.lanes - 1)), const(e.lanes))) as index:
        first = b.mul(index, const(e.lanes))
        distance, mask = b.mul(first, const(ITEM)), e.mask(b.sub(channels, first))
        start = e.load(e.offset(e.pointer(bias), distance), mask) if returning else None
        # one address for each row of points: as many as there are points would not fit into the registers
        rows = [e.offset(e.pointer(points), distance, b.mul(step, const(i * n))) for i in range(n)]
        places = [[e.offset(row, step) for step in steps] for row in rows]
        pixels = [[e.offset(pixel(i, j), distance) for j in range(side)] for i in range(side)]
        sources, targets = (places, pixels) if returning else (pixels, places)
        reads = None if returning else mask
        # M @ X, column by column: all columns at once would not fit into the registers
        half = [_product(e, m, [e.load(place, reads) for place in column]) for column in zip(*sources)]
        for row, places_of_row in zip(zip(*half), targets):
            for target, value in zip(places_of_row, _product(e, m, list(row))):
                value = b.fadd(value, start) if returning else value
                value = e.relu(value) if relu else value
                e.store(value, target, mask if returning else None)


@intrinsic
def _prefetch(typingctx: Any, address: Any) -> Any:
    """Fetch the cache line at ``address`` for writing."""

    def codegen(context, builder, signature, values):
        Emitter(builder, ITEM).prefetch(builder.inttoptr(values[0], emit.POINTER))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


# --- the products -----------------------------------------------------------------------------------------------


class Cut(NamedTuple):
    """How the products at each point are cut into blocks of ``rows`` x ``vectors`` registers of sums."""

    rows: int
    vectors: int

    @property
    def width(self) -> int:
        """Lanes of a panel, which is as wide as a block."""
        return self.vectors * _padded(1)

    def cycles(self, lanes: int) -> float:
        """Clock cycles of one step of the sums for ``rows`` x ``lanes``."""
        panels, rest = divmod(lanes // _padded(1), self.vectors)
        return panels * _cycles(self.rows, self.vectors, False) + (rest > 0) * _cycles(self.rows, rest, False)

    def kernels(self, lanes: int) -> tuple[int, int, int]:
        """Width of a panel; what serves full panels, and what serves the last, narrower one."""
        rest = lanes // _padded(1) % self.vectors or self.vectors
        return self.width, products(self.rows, self.vectors), products(self.rows, rest)


@functools.cache
def _cut(rows: int, lanes: int) -> Cut:
    """The fastest cut for ``rows`` x ``lanes``, by a count of clock cycles."""
    cuts = []
    for vectors in range(1, min(lanes // _padded(1), 4) + 1):
        blocks = -(-rows // _most_rows(vectors, False))
        cut = Cut(-(-rows // blocks), vectors)
        cuts.append((blocks * cut.cycles(lanes), cut))
    return min(cuts)[1]


@functools.cache
def products(rows: int, vectors: int) -> int:
    """Address of compiled products at all points: ``C[i, j] (+)= sum over k of A[i, k] * B[k, j]``.

    ``blocks`` times ``rows`` rows i, ``vectors`` vectors of lanes j; all steps are bytes, ``add`` is 0 or 1. Every
    block fetches ``x_lines`` more cache lines from ``x`` on, and ``y_lines`` from ``y`` on: products need nothing from
    memory, so that what comes next can come meanwhile.
    """

    def products(block):
        # a, a_step, a_row, a_k, b, b_step, b_k, c, c_step, c_row, depth, points, blocks, add, x, x_lines, y, y_lines
        _products(emit.parameters(block, 18), rows, vectors)

    return leaf(products, f"{rows}x{vectors}", 1)


@intrinsic(prefer_literal=True)
def _products(typingctx: Any, arguments: Any, rows: Any, vectors: Any) -> Any:
    """The body of products; every argument after the first is a compile-time integer."""
    shape = [emit.literal(value) for value in (rows, vectors)]

    def codegen(context, builder, signature, values):
        _emit_products(builder, emit.unpack(builder, values[0]), *shape)
        return context.get_dummy_value()

    return types.void(arguments, rows, vectors), codegen


def _emit_products(builder: ir.IRBuilder, arguments: list[ir.Value], rows: int, vectors: int) -> None:
    a, a_step, a_row, a_k, b, b_step, b_k, c, c_step, c_row, depth, points, blocks, add, *fetched = arguments
    e = Emitter(builder, ITEM)
    width = e.lanes * ITEM
    adds = builder.icmp_signed("!=", add, const(0))
    sums = [[e.variable(e.zero) for _ in range(vectors)] for _ in range(rows)]
    fetched = [(e.variable(e.pointer(start)), lines) for start, lines in zip(fetched[::2], fetched[1::2])]
    with e.loop(points) as point, e.loop(blocks) as block:
        first = builder.mul(block, const(rows))
        corner = e.offset(e.pointer(c), builder.mul(point, c_step), builder.mul(first, c_row))
        target_rows = [e.offset(corner, builder.mul(c_row, const(i))) for i in range(rows)]
        targets = [[e.offset(row, j * width) for j in range(vectors)] for row in target_rows]
        for place, lines in fetched:
            with e.loop(lines):
                e.prefetch(builder.load(place), write=False)
                builder.store(e.offset(builder.load(place), LINE), place)
        for total in itertools.chain(*sums):
            builder.store(e.zero, total)
        with builder.if_then(adds):
            for total, target in zip(itertools.chain(*sums), itertools.chain(*targets)):
                builder.store(e.load(target), total)
        left = e.variable(e.offset(e.pointer(a), builder.mul(point, a_step), builder.mul(first, a_row)))
        right = e.variable(e.offset(e.pointer(b), builder.mul(point, b_step)))
        with e.loop(depth):
            here, there = builder.load(left), builder.load(right)
            lanes = [e.load(e.offset(there, j * width)) for j in range(vectors)]
            for i, row in enumerate(sums):
                factor = e.broadcast(e.offset(here, builder.mul(a_row, const(i))))
                for total, value in zip(row, lanes):
                    builder.store(e.fma(factor, value, builder.load(total)), total)
            builder.store(e.offset(here, a_k), left)
            builder.store(e.offset(there, b_k), right)
        for total, target in zip(itertools.chain(*sums), itertools.chain(*targets)):
            e.store(builder.load(total), target)


# --- forward ----------------------------------------------------------------------------------------------------


@numba.njit(error_model="numpy")
def to_points(
    spread, image, image_step, row_step, column_step, top, left, height, width, spare,
    points, step, tile_step, channels, padded, first, count, tiles_w, per_image,
):  # fmt: skip
    """Transform tiles ``first`` to ``first + count``, which lie 4 pixels apart, all images in a row."""
    for i in range(count):
        tile = first + i
        n, place = tile // per_image, tile % per_image
        row, column = place // tiles_w * OUT, place % tiles_w * OUT
        emit.call(spread, (
            image + n * image_step, row_step, column_step, row - top, column - left, height, width, spare,
            points + i * tile_step, step, channels, padded, 0,
        ))  # fmt: skip


@numba.njit(error_model="numpy")
def upcoming(image, image_step, per_image, tile, count, blocks):
    """Where ``count`` tiles from ``tile`` on lie in memory, and how many cache lines to fetch in each of ``blocks``.

    Images lie row by row, not tile by tile: the place is that of a whole row of tiles, and near it in between.
    """
    size = image_step // per_image
    return image + tile * size, -(-count * size // (LINE * blocks))


@functools.cache
def _transform_kernel() -> int:
    def transform_kernel(block, task):
        (
            w, u, w_h, w_w, w_k, w_o, taps, depth, lanes, width, step, rows, blocks, spread, pack,
        ) = emit.parameters(block, 15)  # fmt: skip
        panel, first = task // blocks, task % blocks * rows
        rows = min(rows, depth - first)
        used = min(width, lanes - panel * width)
        row = width * ITEM
        tap = rows * row
        scratch = emit.allocate(taps * taps * tap)
        if used < width:
            emit.clear(scratch, taps * taps * tap)
        for i in range(taps):
            for j in range(taps):
                start = w + i * w_h + j * w_w + first * w_k + panel * width * w_o
                emit.call(pack, (scratch + (i * taps + j) * tap, start, rows, used, width, w_k, w_o))
        for k in range(rows):
            emit.call(spread, (
                scratch + k * row, taps * tap, tap, 0, 0, taps, taps, scratch,
                u + (panel * depth + first + k) * row, step, width, width, 0,
            ))  # fmt: skip
        emit.release(scratch)

    return leaf(transform_kernel)


@functools.cache
def _convolve() -> int:
    def convolve(block, task):
        (
            x, u, bias, y, x_n, x_h, x_w, y_n, y_h, y_w, height, width, out_rows, out_columns, top, left,
            tiles_w, per_image, tiles, each, panels_each, blocks, depth, lanes, lane_bytes,
            side, u_step, v_step, v_row, m_step, m_row, spare_bytes, spread, gather,
            block_rows, panel_width, main, tail,
        ) = emit.parameters(block, 38)  # fmt: skip
        points = side * side
        part, first = task // blocks, task % blocks * each
        count = min(each, tiles - first)
        column = part * panels_each * panel_width * ITEM
        m_used = min(m_row, lane_bytes - column)
        scratch = emit.allocate(points * (v_step + m_step) + 2 * spare_bytes + LINE)
        zeros = -(-scratch // LINE) * LINE
        v = zeros + 2 * spare_bytes
        m = v + points * v_step
        emit.clear(zeros, spare_bytes)
        for i in range(count):
            to_points(
                spread, x, x_n, x_h, x_w, top, left, height, width, zeros,
                v + i * v_row, v_step, v_row, depth, v_row // ITEM, first + i, 1, tiles_w, per_image,
            )  # fmt: skip
            n, place = (first + i) // per_image, (first + i) % per_image
            corner = y + n * y_n + place // tiles_w * OUT * y_h + place % tiles_w * OUT * y_w + column
            for row in range(OUT):
                for pixel in range(OUT):
                    for line in range(0, m_used, LINE):
                        _prefetch(corner + row * y_h + pixel * y_w + line)
        # The next task of this thread takes the next tiles. A row of tiles is fetched ahead, as one may have begun.
        panels, turns = -(-m_used // (panel_width * ITEM)), side * -(-count // block_rows)
        x_next, x_lines = upcoming(x, x_n, per_image, first + each + tiles_w, each, side * panels * turns)
        for point in range(0, points, side):  # few enough for their part of V to stay in the cache from panel to panel
            for start in range(0, m_used, panel_width * ITEM):
                emit.call(main if start + panel_width * ITEM <= m_used else tail, (
                    v + point * v_step, v_step, v_row, ITEM,
                    u + point * u_step + (column + start) * depth, u_step, panel_width * ITEM,
                    m + point * m_step + start, m_step, m_row, depth, side, -(-count // block_rows), 0,
                    x_next, x_lines, 0, 0,
                ))  # fmt: skip
                x_next += turns * x_lines * LINE
        for i in range(count):
            n, place = (first + i) // per_image, (first + i) % per_image
            emit.call(gather, (
                y + n * y_n + column, y_h, y_w, place // tiles_w * OUT, place % tiles_w * OUT, out_rows, out_columns,
                zeros + spare_bytes, m + i * m_row, m_step, min(lanes - column // ITEM, m_row // ITEM), m_used // ITEM,
                bias + column if bias != 0 else zeros,
            ))  # fmt: skip
        emit.release(scratch)

    return leaf(convolve)


def _step(size: int) -> int:
    """Bytes between points: an odd number of cache lines, so that the points do not fall on few sets of the cache."""
    return (-(-size // LINE) | 1) * LINE


def _padded(channels: int) -> int:
    """Channels filled up to whole vectors."""
    lanes = emit.vector_bytes() // ITEM
    return -(-channels // lanes) * lanes


def _correlation_calls(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    y: np.ndarray,
    before: tuple[int, int],
    relu: bool,
    empty: Allocate,
) -> list[Call]:
    """Correlate ``x`` (N, H, W, C), of which ``before`` rows and columns are padding, with ``w`` (K, K, C, O)."""
    kernel, _, depth, lanes = w.shape
    n, out_rows, out_columns, _ = y.shape
    points = (OUT + kernel - 1) ** 2
    tiles_h, tiles_w = -(-out_rows // OUT), -(-out_columns // OUT)
    tiles = n * tiles_h * tiles_w
    cut = _cut(MANY, _padded(lanes))
    if tiles < cut.rows:
        cut = _cut(tiles, _padded(lanes))
    each = min(SCRATCH // (points * (_padded(depth) + _padded(lanes)) * ITEM), -(-tiles // TASKS))
    if points * depth * lanes * ITEM > LARGE:
        each = min(tiles, 4 * cut.rows)
    each = max(1, each // cut.rows) * cut.rows
    panels = -(-_padded(lanes) // cut.width)
    blocks = -(-tiles // each)
    panels_each = max(1, min(panels // -(-TASKS // blocks), PART // (points * depth * cut.width * ITEM)))
    parts = -(-panels // panels_each)
    v_row = _padded(depth) * ITEM
    m_row = min(_padded(lanes), panels_each * cut.width) * ITEM
    u_step = _step(panels * depth * cut.width * ITEM)
    u = empty((points * u_step // ITEM,), x.dtype)
    work = 2 * tiles * points * depth * _padded(lanes) / 125
    rows = max(1, min(depth, 16))
    row_blocks = -(-depth // rows)
    sizes = (*w.strides, kernel, depth, lanes, cut.width, u_step, rows, row_blocks, transform(KERNEL, kernel),
             packer(ITEM))
    calls = [Call(_transform_kernel(), (w, u), sizes, panels * row_blocks, u.size / 4, prepares=True)]
    sizes = (
        *x.strides[:3], *y.strides[:3], *x.shape[1:3], out_rows, out_columns, *before,
        tiles_w, tiles_h * tiles_w, tiles, each, panels_each, blocks, depth, lanes, _padded(lanes) * ITEM,
        OUT + kernel - 1, u_step, _step(each * v_row), v_row, _step(each * m_row), m_row, max(v_row, m_row),
        transform(INPUT, kernel), transform(OUTPUT, kernel, int(relu)), cut.rows,
        *cut.kernels(_padded(lanes)),
    )  # fmt: skip
    return [*calls, Call(_convolve(), (x, u, b, y), sizes, blocks * parts, work)]


def forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    y: np.ndarray,
    window: Window,
    groups: int,
    relu: bool = False,
    empty: Allocate = np.empty,
    fixed: bool = False,  # the transformed kernel is kept whenever it can be
) -> list[Call]:
    """Convolution of ``x`` with ``w`` (K, K, C, O), plus bias, into ``y``; with ``relu`` clipped at zero."""
    (top, _), (left, _) = window.padding
    return _correlation_calls(x, w, b, y, (top, left), relu, empty)


def input_grad(
    dy: np.ndarray, w: np.ndarray, dx: np.ndarray, window: Window, groups: int, empty: Allocate = np.empty
) -> list[Call]:
    """Gradient of ``forward`` for its input, into ``dx``."""
    (top, _), (left, _) = window.padding
    reach = w.shape[0] - 1
    flipped = w[::-1, ::-1].transpose(0, 1, 3, 2)
    return _correlation_calls(dy, flipped, None, dx, (reach - top, reach - left), False, empty)


# --- weight gradient --------------------------------------------------------------------------------------------


@functools.cache
def _correlate_weights() -> int:
    def correlate_weights(block, task):
        (
            x, dy, dw, x_n, x_h, x_w, dy_n, dy_h, dy_w, height, width, out_rows, out_columns, top, left,
            tiles_w, per_image, tiles, each, share, split_bytes, channels, channels_each, channel_blocks,
            lanes, lanes_each, lane_blocks, kernel, points, v_step, v_row, d_step, d_row, s_step,
            spread, spread_dy, gather, row_blocks, panel_width, main, tail,
        ) = emit.parameters(block, 41)  # fmt: skip
        task, lane = task // lane_blocks, task % lane_blocks * lanes_each
        split, channel = task // channel_blocks, task % channel_blocks * channels_each
        channels_here, lanes_here = min(channels_each, channels - channel), min(lanes_each, lanes - lane)
        spare_bytes = max(v_row, d_row)
        scratch = emit.allocate(points * (v_step + d_step + s_step) + spare_bytes + LINE)
        zeros = -(-scratch // LINE) * LINE
        v = zeros + spare_bytes
        d = v + points * v_step
        sums = d + points * d_step
        emit.clear(zeros, spare_bytes)
        flags = 0
        for first in range(split * share, min(tiles, (split + 1) * share), each):
            count = min(each, tiles - first, (split + 1) * share - first)
            to_points(
                spread, x + channel * ITEM, x_n, x_h, x_w, top, left, height, width, zeros,
                v, v_step, v_row, channels_here, v_row // ITEM, first, count, tiles_w, per_image,
            )  # fmt: skip
            to_points(
                spread_dy, dy + lane * ITEM, dy_n, dy_h, dy_w, 0, 0, out_rows, out_columns, zeros,
                d, d_step, d_row, lanes_here, d_row // ITEM, first, count, tiles_w, per_image,
            )  # fmt: skip
            blocks, ahead = points * row_blocks * -(-d_row // (panel_width * ITEM)), first + each + tiles_w
            x_next, x_lines = upcoming(x, x_n, per_image, ahead, each, blocks)
            dy_next, dy_lines = upcoming(dy, dy_n, per_image, ahead, each, blocks)
            for start in range(0, d_row, panel_width * ITEM):
                emit.call(main if start + panel_width * ITEM <= d_row else tail, (
                    v, v_step, ITEM, v_row, d + start, d_step, d_row,
                    sums + start, s_step, d_row, count, points, row_blocks, flags,
                    x_next, x_lines, dy_next, dy_lines,
                ))  # fmt: skip
                x_next += points * row_blocks * x_lines * LINE
                dy_next += points * row_blocks * dy_lines * LINE
            flags = 1
        pixel = channels * lanes * ITEM
        for row in range(channels_here):
            emit.call(gather, (
                dw + split * split_bytes + ((channel + row) * lanes + lane) * ITEM, kernel * pixel, pixel, 0, 0,
                kernel, kernel, zeros, sums + row * d_row, s_step, lanes_here, lanes_here, zeros,
            ))  # fmt: skip
        emit.release(scratch)

    return leaf(correlate_weights)


def weight_grad(
    x: np.ndarray, dy: np.ndarray, dw: np.ndarray, window: Window, groups: int, empty: Allocate = np.empty
) -> list[Call]:
    """Gradient of ``forward`` for its kernel, into ``dw`` (K, K, C, O)."""
    (top, _), (left, _) = window.padding
    kernel, _, channels, lanes = dw.shape
    n, out_rows, out_columns, _ = dy.shape
    points = (OUT + kernel - 1) ** 2
    tiles_h, tiles_w = -(-out_rows // OUT), -(-out_columns // OUT)
    tiles = n * tiles_h * tiles_w
    lane_blocks = -(-_padded(lanes) // LANES)
    lanes_each = _padded(-(-lanes // lane_blocks))
    channel_blocks = -(-channels // max(16, SUMS // (points * lanes_each * ITEM)))
    channels_each = -(-channels // channel_blocks)
    cut = _cut(channels_each, lanes_each)
    row_blocks = -(-channels_each // cut.rows)
    v_row, d_row = _padded(channels_each) * ITEM, lanes_each * ITEM
    each = max(24, min(96, SCRATCH // (points * (v_row + d_row))))
    splits = max(1, min(TASKS // (lane_blocks * channel_blocks), tiles // each, PARTIALS // dw.nbytes))
    share = -(-tiles // splits)
    each = -(-share // -(-share // each))
    splits = -(-tiles // share)
    partial = dw if splits == 1 else empty((splits, *dw.shape), dw.dtype)
    work = 2 * tiles * points * channels * lanes / 125
    sizes = (
        *x.strides[:3], *dy.strides[:3], *x.shape[1:3], out_rows, out_columns, top, left,
        tiles_w, tiles_h * tiles_w, tiles, each, share, dw.nbytes, channels, channels_each, channel_blocks,
        lanes, lanes_each, lane_blocks, kernel, points, _step(each * v_row), v_row, _step(each * d_row), d_row,
        _step(row_blocks * cut.rows * d_row), transform(INPUT, kernel), transform(OUTPUT_GRAD, kernel),
        transform(KERNEL_GRAD, kernel), row_blocks, *cut.kernels(lanes_each),
    )  # fmt: skip
    calls = [Call(_correlate_weights(), (x, dy, partial), sizes, splits * channel_blocks * lane_blocks, work)]
    return calls if splits == 1 else [*calls, add_parts(partial, dw)]
