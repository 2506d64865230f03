"""Matrix product on the tile.

``C = A @ B`` for any strides of A and B: a task takes a block of rows and some panels (as many columns as a tile has
lanes), packs a panel of B into scratch memory where it stays in the cache, and runs the tile down its rows.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from tinyconv.backends.kernels import emit
from tinyconv.backends.kernels.compiler import leaf
from tinyconv.backends.kernels.launch import Call
from tinyconv.backends.kernels.tile import ADD, choose_tiling

DEPTH = 384  # products summed in registers before they are added to C: a panel of this depth stays in the L1 cache
TASK = 25_000  # nanoseconds that are worth a task
ROWS = 256  # rows of a task at most, so that its part of A stays in the L2 cache
FEW_ROWS = 64  # rows of a task at least, so that packing B is little work beside the products


@numba.njit(error_model="numpy")
def pack(target, source, depth, lanes, width, depth_step, lane_step, itemsize):
    """Copy ``depth`` x ``lanes`` numbers with any strides into rows of ``width`` numbers."""
    if lane_step == itemsize:
        for k in range(depth):
            emit.copy(target + k * width * itemsize, source + k * depth_step, lanes * itemsize)
        return
    for first in range(0, depth, 16):  # short runs along the depth: source and target both stay in the L1 cache
        for lane in range(lanes):
            start = source + lane * lane_step
            for k in range(first, min(first + 16, depth)):
                emit.move(target + (k * width + lane) * itemsize, start + k * depth_step, itemsize)


@functools.cache
def _matmul(itemsize: int) -> int:
    def matmul(block, task):
        (
            a, b, bias, c, rows, columns, depth, a_row, a_col, b_row, b_col, c_row, c_col,
            block_rows, row_blocks, panels, step, packed, main, tail, tile_rows, width,
        ) = emit.parameters(block, 22)  # fmt: skip
        first = task % row_blocks * block_rows
        panel_block = task // row_blocks
        transposed = c_col != itemsize  # then a tile is put down in scratch memory and copied from there
        scratch = emit.allocate((step * packed + tile_rows * transposed) * width * itemsize)
        staging = scratch + step * packed * width * itemsize
        for panel in range(panel_block * panels, min((panel_block + 1) * panels, -(-columns // width))):
            column = panel * width
            lanes = min(width, columns - column)
            tile = main if lanes == width else tail
            for k in range(0, depth, step):
                count = min(step, depth - k)
                right, right_row = b + k * b_row + column * b_col, b_row
                if packed:
                    pack(scratch, right, count, lanes, width, b_row, b_col, itemsize)
                    right, right_row = scratch, width * itemsize
                levels = (1, 0, 0, 1, 0, 0, count, a_col, right_row)
                for row in range(first, min(rows, first + block_rows), tile_rows):
                    top = min(row, rows - tile_rows)
                    left, target = a + top * a_row + k * a_col, c + top * c_row + column * c_col
                    if transposed:
                        emit.call(tile, (left, right, staging, 0, a_row, width * itemsize, *levels, lanes, 0, 0))
                        pack(target, staging, lanes, tile_rows, c_col // itemsize, itemsize, width * itemsize, itemsize)
                    else:
                        flags = ADD if k > 0 else 0
                        start = bias + column * itemsize if bias != 0 and k == 0 else 0
                        emit.call(tile, (left, right, target, start, a_row, c_row, *levels, lanes, row - top, flags))
        emit.release(scratch)

    return leaf(matmul, f"f{8 * itemsize}")


def matmul(a: np.ndarray, b: np.ndarray, c: np.ndarray, bias: np.ndarray | None = None) -> list[Call]:
    """``c[...] = a @ b + bias`` for matrices of one float type, as calls of kernels."""
    if bias is None and _transpose_pays(a, b):
        a, b, c = b.T, a.T, c.T
    (rows, depth), columns, itemsize = a.shape, b.shape[1], a.itemsize
    tiling = choose_tiling(rows, columns, itemsize)
    panels = -(-columns // tiling.width)
    work = 2 * rows * columns * depth / (500 / itemsize)  # nanoseconds
    tasks = max(1, min(32, round(work / TASK)))
    block_rows = max(min(rows, FEW_ROWS), min(rows, ROWS, rows * panels // tasks))
    block_rows = -(-block_rows // tiling.rows) * tiling.rows
    row_blocks = -(-rows // block_rows)
    panels_each = max(1, panels * row_blocks // tasks) if row_blocks < tasks else panels
    sizes = (
        rows, columns, depth, *a.strides, *b.strides, *c.strides,
        block_rows, row_blocks, panels_each,
        depth if c.strides[1] != itemsize else min(depth, DEPTH),
        b.strides[1] != itemsize or block_rows > 2 * tiling.rows,
        *tiling,
    )  # fmt: skip
    tasks = row_blocks * -(-panels // panels_each)
    return [Call(_matmul(itemsize), (a, b, bias, c), sizes, tasks, work)]


def _transpose_pays(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether ``C.T = B.T @ A.T`` is cheaper, because it is B that packing would have to transpose."""
    if b.strides[1] == b.itemsize:
        return False
    return a.strides[0] == a.itemsize or a.size < b.size
