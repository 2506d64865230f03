"""The tile: the register-blocked contraction that dense layers and all convolutions are made of.

For ``rows`` rows i and ``vectors`` vectors of lanes j::

    C[i, j] (+)= bias[j] + sum over p, q, r of A[i*a_row + p*a_p + q*a_q + r*a_r] * B[p*b_p + q*b_q + r*b_r + j]

The sums stay in registers from the first product to the last. Because A has a stride per row and per level, the im2col
matrix of a channels-last image needs no copy: rows are output pixels, p kernel rows, q kernel columns, r channels.
With ``lanewise`` A has lanes too (A[... + j]) instead of being one number for all of them: depthwise convolution.
All strides are bytes. Meanwhile the tile fetches what will be needed next, a cache line with every product of the sums,
``next_step`` bytes after the one before.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyconv.backends.kernels import emit
from tinyconv.backends.kernels.compiler import leaf
from tinyconv.backends.kernels.emit import Emitter, const

MANY = 32  # tasks that share out evenly whatever the number of threads
EVEN = 8  # fewer of them should be a multiple of this
ADD, RELU = 1, 2  # flags: add to what C holds; clip at zero


class Tiling(NamedTuple):
    """How a result of many rows and lanes is cut into tiles: addresses and sizes for a parameter block.

    ``main`` serves full panels of ``width`` lanes and ``tail`` the last, narrower one; both have ``rows`` rows, and
    the last tile of a column is moved up so that it does not stick out (its first ``skip`` rows are not stored).
    """

    main: int
    tail: int
    rows: int
    width: int


@functools.cache
def choose_tiling(
    rows: int, lanes: int, itemsize: int, lanewise: bool = False, blocks: int = MANY, fetch: int = 0, highest: int = 32
) -> Tiling:
    """The fastest tiling for ``rows`` x ``lanes``, by a count of clock cycles.

    ``blocks`` tells into how many tasks a panel can be cut: where panels are few, they should share out evenly.
    ``fetch`` counts the cycles of waiting for a row of a panel that comes from memory. ``highest`` limits the rows.
    """
    per_vector = emit.vector_bytes() // itemsize
    total = -(-lanes // per_vector)  # vectors
    best = (float("inf"), -1, 1)
    for vectors in range(1, min(total, 8) + 1):
        panels, rest = divmod(total, vectors)
        tasks = blocks * (panels + (rest > 0))
        uneven = 1 if tasks >= MANY else -(-tasks // EVEN) * EVEN / tasks
        waiting = fetch * (panels + (rest > 0))
        for height in range(1, min(rows, highest, _most_rows(vectors, lanewise)) + 1):
            cycles = panels * _cycles(height, vectors, lanewise) + (rest > 0) * _cycles(height, rest, lanewise)
            best = min(best, (uneven * (-(-rows // height) * cycles + waiting), -height, vectors))
    height, vectors = -best[1], best[2]
    rest = total % vectors or vectors
    return Tiling(
        tile(itemsize, height, vectors, int(lanewise)),
        tile(itemsize, height, rest, int(lanewise)),
        height,
        vectors * per_vector,
    )


def _most_rows(vectors: int, lanewise: bool) -> int:
    """Most rows whose sums fit into the registers beside the vectors of B and one of A."""
    free = emit.vector_registers() - vectors - (vectors if lanewise else 1)
    return free // vectors


def _cycles(rows: int, vectors: int, lanewise: bool) -> float:
    """Clock cycles of one step of a tile: two multiply-adds or loads each, one broadcast, four of latency.

    Vectors of B come from the L2 cache, which takes longer.
    """
    loads = rows * vectors + vectors if lanewise else rows + vectors
    broadcasts = 0 if lanewise else rows
    return max(rows * vectors / 2, loads / 2, broadcasts, 1.25 * vectors, 4) + 0.5


@functools.cache
def tile(itemsize: int, rows: int, vectors: int, lanewise: int = 0) -> int:
    """Address of the compiled tile with ``rows`` x ``vectors`` registers of sums."""

    def tile(block):
        # a, b, c, bias, a_row, c_row, p, a_p, b_p, q, a_q, b_q, r, a_r, b_r, lanes, skip, flags, next, next_step
        _tile(emit.parameters(block, 20), itemsize, rows, vectors, lanewise)

    return leaf(tile, f"f{8 * itemsize}_{rows}x{vectors}" + "_lanewise" * lanewise, 1)


@intrinsic(prefer_literal=True)
def _tile(typingctx: Any, arguments: Any, itemsize: Any, rows: Any, vectors: Any, lanewise: Any) -> Any:
    """The body of a tile; every argument after the first is a compile-time integer."""
    shape = [emit.literal(value) for value in (itemsize, rows, vectors, lanewise)]

    def codegen(context, builder, signature, values):
        _emit_tile(builder, emit.unpack(builder, values[0]), *shape)
        return context.get_dummy_value()

    return types.void(arguments, itemsize, rows, vectors, lanewise), codegen


def _emit_tile(
    builder: ir.IRBuilder, arguments: list[ir.Value], itemsize: int, rows: int, vectors: int, lanewise: int
) -> None:
    a, b, c, bias, a_row, c_row, *levels = arguments[:15]
    lanes, skip, flags, upcoming, upcoming_step = arguments[15:]
    e = Emitter(builder, itemsize)
    width = e.lanes * itemsize
    tail = e.mask(builder.sub(lanes, const((vectors - 1) * e.lanes)))
    masks = [None] * (vectors - 1) + [tail]

    def lane_vectors(pointer: ir.Value) -> list[ir.Value]:
        return [e.load(e.offset(pointer, j * width), mask) for j, mask in enumerate(masks)]

    sums = [[e.variable(e.zero) for _ in range(vectors)] for _ in range(rows)]
    with builder.if_then(builder.icmp_signed("!=", bias, const(0))):
        for j, start in enumerate(lane_vectors(e.pointer(bias))):
            for row in sums:
                builder.store(start, row[j])

    ahead = e.variable(e.pointer(upcoming))

    def multiply(a: ir.Value, b: ir.Value) -> None:
        if rows > 1:  # one row reads B as fast as it comes
            place = builder.load(ahead)
            e.prefetch(place, write=False, near=False)
            builder.store(e.offset(place, upcoming_step), ahead)
        right = lane_vectors(b)
        for i, row in enumerate(sums):
            start = e.offset(a, builder.mul(a_row, const(i)))
            left = lane_vectors(start) if lanewise else [e.broadcast(start)] * vectors
            for j, total in enumerate(row):
                builder.store(e.fma(left[j], right[j], builder.load(total)), total)

    rows_of_c = [e.offset(e.pointer(c), builder.mul(c_row, const(i))) for i in range(len(sums))]
    for start in rows_of_c:  # C is on its way from memory while the products are computed
        for j in range(vectors):
            e.prefetch(e.offset(start, j * width))

    _nest(e, e.pointer(a), e.pointer(b), levels, multiply)

    with builder.if_then(builder.icmp_signed("!=", builder.and_(flags, const(ADD)), const(0))):
        for start, row in zip(rows_of_c, sums):
            for old, total in zip(lane_vectors(start), row):
                builder.store(builder.fadd(builder.load(total), old), total)
    with builder.if_then(builder.icmp_signed("!=", builder.and_(flags, const(RELU)), const(0))):
        for total in itertools.chain(*sums):
            builder.store(e.relu(builder.load(total)), total)
    for i, (start, row) in enumerate(zip(rows_of_c, sums)):
        with builder.if_then(builder.icmp_signed("<=", skip, const(i))):
            for j, (total, mask) in enumerate(zip(row, masks)):
                e.store(builder.load(total), e.offset(start, j * width), mask)


def _nest(e: Emitter, a: ir.Value, b: ir.Value, levels: list[ir.Value], body: Any) -> None:
    """Loops over (count, stride of A, stride of B), outermost first, with ``body`` inside."""
    if not levels:
        body(a, b)
        return
    count, a_step, b_step, *inner = levels
    left, right = e.variable(a), e.variable(b)
    with e.loop(count):
        a, b = e.builder.load(left), e.builder.load(right)
        _nest(e, a, b, inner, body)
        e.builder.store(e.offset(a, a_step), left)
        e.builder.store(e.offset(b, b_step), right)
