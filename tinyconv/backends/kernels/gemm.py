"""Matrix product on the tile.

``C = A @ B`` for any strides of A and B: a task takes a block of rows and some panels (as many columns as a tile has
lanes), packs a panel of B into scratch memory where it stays in the cache, and runs the tile down its rows. A panel
that several tasks need, or the same task every time, is packed before; while one part of it is multiplied, the next is
fetched.
"""

from __future__ import annotations

import functools

import numpy as np

from tinyconv.backends.kernels import emit, pack
from tinyconv.backends.kernels.compiler import leaf
from tinyconv.backends.kernels.emit import LINE
from tinyconv.backends.kernels.launch import Allocate, Call
from tinyconv.backends.kernels.tile import ADD, choose_tiling

DEPTH = 384  # products summed in registers before they are added to C: a panel of this depth stays in the L1 cache
TASK = 25_000  # nanoseconds that are worth a task
ROWS = 256  # rows of a task at most, so that its part of A stays in the L2 cache
FEW_ROWS = 64  # rows of a task at least, so that packing B is little work beside the products
BANDWIDTH = 20  # bytes of memory that one thread reads or writes in a nanosecond
FETCH = 30  # clock cycles of waiting for a row of a panel, whatever its width
SMALL = 32 * 1024  # bytes of B that are quickly brought into panels again and again
FEW_BYTES = 256 * 1024  # bytes of B that stay in the L2 cache from row to row of C
SETS, WAYS = 4096, 12  # of lines whose distance is a multiple of SETS bytes, the L1 cache holds but so many
NOT_PACKED, IN_TASK, BEFORE = range(3)  # where B is brought into panels


@functools.cache
def _matmul(itemsize: int) -> int:
    def matmul(block, task):
        (
            a, b, bias, c, rows, columns, depth, a_row, a_col, b_row, b_col, c_row, c_col,
            block_rows, row_blocks, panels, step, packed, main, tail, tile_rows, width, pack,
        ) = emit.parameters(block, 23)  # fmt: skip
        first = task % row_blocks * block_rows
        panel_block = task // row_blocks
        transposed = c_col != itemsize  # then a tile is put down in scratch memory and copied from there
        line = width * itemsize
        scratch = emit.allocate((step * (packed == IN_TASK) + tile_rows * transposed) * line)
        staging = scratch + step * (packed == IN_TASK) * line
        for panel in range(panel_block * panels, min((panel_block + 1) * panels, -(-columns // width))):
            column = panel * width
            lanes = min(width, columns - column)
            tile = main if lanes == width else tail
            for k in range(0, depth, step):
                count = min(step, depth - k)
                right, right_row = b + k * b_row + column * b_col, b_row
                if packed == IN_TASK:
                    emit.call(pack, (scratch, right, count, lanes, width, b_row, b_col))
                    right, right_row = scratch, line
                elif packed == BEFORE:
                    right, right_row = b + (panel * depth + k) * line, line
                levels = (1, 0, 0, 1, 0, 0, count, a_col, right_row)
                ahead, ahead_step = right + count * right_row, LINE if packed == BEFORE else 0
                for row in range(first, min(rows, first + block_rows), tile_rows):
                    top = min(row, rows - tile_rows)
                    left, target = a + top * a_row + k * a_col, c + top * c_row + column * c_col
                    if transposed:
                        emit.call(tile, (left, right, staging, 0, a_row, line, *levels, lanes, 0, 0, ahead, ahead_step))
                        emit.call(pack, (target, staging, lanes, tile_rows, c_col // itemsize, itemsize, line))
                    else:
                        flags = ADD if k > 0 else 0
                        start = bias + column * itemsize if bias != 0 and k == 0 else 0
                        emit.call(tile, (
                            left, right, target, start, a_row, c_row, *levels, lanes, row - top, flags,
                            ahead, ahead_step,
                        ))  # fmt: skip
                    ahead += count * ahead_step
                    if row - first >= (line // LINE - 1) * tile_rows:
                        ahead_step = 0  # all that the next step needs of B is on its way
        emit.release(scratch)

    return leaf(matmul, f"f{8 * itemsize}")


def matmul(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    bias: np.ndarray | None = None,
    empty: Allocate = np.empty,
    fixed: bool = False,
) -> list[Call]:
    """``c[...] = a @ b + bias`` for matrices of one float type, as calls of kernels.

    ``fixed`` tells that the calls are run again and again with the same B, whose panels are kept.
    """
    if bias is None and _transpose_pays(a, b):
        a, b, c, fixed = b.T, a.T, c.T, False
    (rows, depth), columns, itemsize = a.shape, b.shape[1], a.itemsize
    fixed = fixed and b.strides[1] == itemsize and b.nbytes > SMALL
    fetch = FETCH if rows <= FEW_ROWS else 0
    highest = WAYS if a.strides[0] % SETS == 0 else 32
    tiling = choose_tiling(rows, columns, itemsize, blocks=-(-rows // FEW_ROWS), fetch=fetch, highest=highest)
    panels = -(-columns // tiling.width)
    products = 2 * rows * columns * depth / (500 / itemsize)  # nanoseconds
    work = max(products, (a.nbytes + b.nbytes + c.nbytes) / BANDWIDTH)
    block_rows, panels_each = _cut(rows, panels, tiling.rows, work)
    calls, packed, b_strides = [], NOT_PACKED, b.strides
    if fixed or (block_rows < rows and (block_rows > 2 * tiling.rows or b.strides[1] != itemsize)):
        packed, b_strides = BEFORE, (0, 0)
        b, first = pack.panels(b[None, None, None], tiling.width, empty)
        calls = [first]
        if depth <= DEPTH and c.strides[1] == itemsize and b.nbytes <= FEW_BYTES:
            block_rows, panels_each = tiling.rows, panels
    elif block_rows > 2 * tiling.rows or b.strides[1] != itemsize:
        packed = IN_TASK
    row_blocks = -(-rows // block_rows)
    sizes = (
        rows, columns, depth, *a.strides, *b_strides, *c.strides, block_rows, row_blocks, panels_each,
        depth if c.strides[1] != itemsize else min(depth, DEPTH), packed, *tiling, pack.packer(itemsize),
    )  # fmt: skip
    tasks = row_blocks * -(-panels // panels_each)
    return [*calls, Call(_matmul(itemsize), (a, b, bias, c), sizes, tasks, work)]


def _cut(rows: int, panels: int, tile_rows: int, work: float) -> tuple[int, int]:
    """Rows, a multiple of the tile's, and panels of one task."""
    tasks = max(1, min(32, round(work / TASK)))
    block_rows = max(min(rows, FEW_ROWS), min(rows, ROWS, rows * panels // tasks))
    block_rows = -(-block_rows // tile_rows) * tile_rows
    row_blocks = -(-rows // block_rows)
    return block_rows, max(1, panels * row_blocks // tasks) if row_blocks < tasks else panels


def _transpose_pays(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether ``C.T = B.T @ A.T`` is cheaper, because it is B that packing would have to transpose."""
    if b.strides[1] == b.itemsize:
        return False
    return a.strides[0] == a.itemsize or a.size < b.size
