"""Convolution on the tile: forward, gradient for the input and gradient for the weights, with any geometry.

A task copies the part of the padded image that it needs into scratch memory, which stays in the cache; what several
tasks need is copied before; without padding nothing is copied. There the im2col matrix is a strided view, which the
tile multiplies as it is.
The gradient for the input is a forward convolution of ``dy`` with the flipped kernel: one for each residue of the
input position modulo the stride, with those taps that meet it, so no product with an inserted zero is computed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyconv.backends.kernels import emit, pack
from tinyconv.backends.kernels.compiler import leaf
from tinyconv.backends.kernels.emit import LINE, Emitter, const
from tinyconv.backends.kernels.gemm import matmul
from tinyconv.backends.kernels.launch import Allocate, Call
from tinyconv.backends.kernels.tile import ADD, RELU, choose_tiling
from tinyconv.geometry import Window

SCRATCH = 128 * 1024  # bytes of a padded part of an image: it shares the L2 cache with a panel of weights
BATCH = 512 * 1024  # bytes of whole images whose weight gradients are summed in registers
PANEL = 256 * 1024  # bytes of a panel of weights that are used in one pass over the rows
PRODUCT = 256  # channels on both sides from which the weight gradient of a 1x1 kernel is cut by channels, not by images
TASKS = 16  # tasks that a call is cut into where its shape allows
IN_L1 = 48 * 1024  # bytes that stay in the L1 cache
PIXELS = 100  # of dy that make it worth while to add to a tile of a weight gradient
PARTIALS = 4 * 1024 * 1024  # bytes of partial weight gradients


class Correlation(NamedTuple):
    """``y[t] = sum over k of w[k] * x[t * stride - before + k * dilation]``; all fields are (height, width)."""

    taps: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int]
    dilations: tuple[int, int]
    size: tuple[int, int]
    output: tuple[int, int]

    def extent(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of input under ``rows`` x ``columns`` outputs."""
        (kh, kw), (sh, sw), (dh, dw) = self.taps, self.strides, self.dilations
        return (rows - 1) * sh + (kh - 1) * dh + 1, (columns - 1) * sw + (kw - 1) * dw + 1

    def inside(self) -> bool:
        """Whether no position touches padding."""
        extent = self.extent(*self.output)
        return all(b <= 0 and e - b <= n for b, e, n in zip(self.before, extent, self.size))


@numba.njit(error_model="numpy")
def copy_part(target, source, height, width, row_step, cell_step, top, left, rows, columns, cell):
    """Copy ``rows`` x ``columns`` cells of an image, from (top, left) on, with zeros outside of it."""
    first, last = min(max(-left, 0), columns), max(min(width - left, columns), 0)
    last = max(first, last)
    for row in range(rows):
        line = target + row * columns * cell
        if not 0 <= top + row < height:
            emit.clear(line, columns * cell)
            continue
        emit.clear(line, first * cell)
        emit.clear(line + last * cell, (columns - last) * cell)
        start = source + (top + row) * row_step + (left + first) * cell_step
        if cell_step == cell:
            emit.copy(line + first * cell, start, (last - first) * cell)
        else:
            for column in range(last - first):
                emit.copy(line + (first + column) * cell, start + column * cell_step, cell)


@functools.cache
def _correlate(itemsize: int) -> int:
    def correlate(block, task):
        (
            x, packed, bias, y, x_n, x_h, x_w, y_n, y_h, y_w, height, width, out_rows, out_columns,
            taps_h, taps_w, stride_h, stride_w, top, left, dilation_h, dilation_w,
            groups, channels, lanes, lanewise, direct, band, bands, panels_each, parts, pass_rows, runs, run,
            relu, by_panels, main, tail, tile_rows, panel_width,
        ) = emit.parameters(block, 40)  # fmt: skip
        images = by_panels // parts  # tasks that share panels, when these come one after the other
        part, task = (task // images, task % images) if by_panels else (task % parts, task // parts)
        task, first = task // bands, task % bands * band
        image, group = task // groups, task % groups
        last = min(out_rows, first + band)
        panels = -(-lanes // panel_width)
        cell = (lanes if lanewise else channels) * itemsize
        source, line = x + image * x_n + group * cell, x_h
        scratch = 0
        if direct:
            source -= (top - first * stride_h) * x_h + left * x_w
        else:
            rows = (last - first - 1) * stride_h + (taps_h - 1) * dilation_h + 1
            columns = (out_columns - 1) * stride_w + (taps_w - 1) * dilation_w + 1
            scratch = emit.allocate(rows * columns * cell)
            start = first * stride_h - top
            copy_part(scratch, source, height, width, x_h, x_w, start, -left, rows, columns, cell)
            source, line = scratch, columns * cell
        tap = channels * panel_width * itemsize  # bytes of one tap in a packed panel
        for panel in range(part * panels_each, min(panels, (part + 1) * panels_each)):
            used = min(panel_width, lanes - panel * panel_width)
            tile = main if used == panel_width else tail
            column = (group * lanes + panel * panel_width) * itemsize
            for i in range(0, max(taps_h, 1), pass_rows):
                count = min(pass_rows, taps_h - i)
                right = packed + ((group * panels + panel) * taps_h + i) * taps_w * tap
                start = bias + column if bias != 0 and i == 0 else 0
                flags = ADD if i > 0 else 0
                if relu and i + pass_rows >= taps_h:
                    flags += RELU
                levels = (
                    count, dilation_h * line, taps_w * tap, runs, dilation_w * cell, tap,
                    run, itemsize, panel_width * itemsize,
                )  # fmt: skip
                used_bytes = count * taps_w * tap
                ahead, ahead_step = right + used_bytes, LINE
                for row in range(first, last):
                    corner = source + ((row - first) * stride_h + i * dilation_h) * line
                    if lanewise:
                        corner += panel * panel_width * itemsize
                    target = y + image * y_n + row * y_h + column
                    for pixel in range(0, out_columns, tile_rows):
                        moved = min(pixel, out_columns - tile_rows)
                        emit.call(tile, (
                            corner + moved * stride_w * cell, right, target + moved * y_w, start,
                            stride_w * cell, y_w, *levels, used, pixel - moved, flags, ahead, ahead_step,
                        ))  # fmt: skip
                        ahead += count * taps_w * channels * ahead_step
                        if ahead >= right + 2 * used_bytes:
                            ahead_step = 0
        if not direct:
            emit.release(scratch)

    return leaf(correlate, f"f{8 * itemsize}")


def _correlation_calls(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    y: np.ndarray,
    groups: int,
    c: Correlation,
    relu: bool = False,
    empty: Allocate = np.empty,
) -> list[Call]:
    """Correlate ``x`` (N, H, W, G*C) with ``w`` (G, KH, KW, C, O) into ``y`` (N, OH, OW, G*O); w, y of any strides."""
    lanewise = w.shape[0] > 1 and w.shape[3:] == (1, 1)
    if lanewise:  # depthwise: the groups become the lanes
        w, groups = w.transpose(4, 1, 2, 3, 0), 1
    channels, lanes = w.shape[3:]
    n, itemsize = x.shape[0], x.itemsize
    oh, ow = c.output
    tiling = choose_tiling(ow, lanes, itemsize, lanewise)
    panels = -(-lanes // tiling.width)
    packed, first = pack.panels(w, tiling.width, empty)
    work = 2 * n * oh * ow * groups * lanes * channels * math.prod(c.taps) / (500 / itemsize)

    calls = [first]
    direct = (c.inside() and groups == 1) or math.prod(c.taps) == 0
    cell = itemsize * (lanes if lanewise else channels)
    band, panels_each = _cut(n * groups, panels, c, cell, direct)
    if not direct and groups == 1 and panels_each < panels:  # else every task with some of the panels would copy anew
        x, c, call = _with_padding(x, c, empty)
        calls.append(call)
        direct = True
        band, panels_each = _cut(n * groups, panels, c, cell, direct)
    bands, parts = -(-oh // band), -(-panels // panels_each)
    tasks = n * groups * bands * parts
    row_bytes = max(1, c.taps[1] * channels * tiling.width * itemsize)
    runs, run = c.taps[1], channels  # kernel columns and channels, in one contiguous run where they are neighbours
    if c.dilations[1] == 1 and not lanewise:
        runs, run = 1, runs * run
    sizes = (
        *x.strides[:3], *y.strides[:3], *c.size, *c.output, *c.taps, *c.strides, *c.before, *c.dilations,
        groups, channels, lanes, lanewise, direct, band, bands, panels_each, parts,
        max(1, PANEL // row_bytes), runs, run, relu, tasks if packed.nbytes > x.nbytes else 0, *tiling,
    )  # fmt: skip
    return [*calls, Call(_correlate(itemsize), (x, packed, b, y), sizes, tasks, work)]


@functools.cache
def _pad() -> int:
    def pad(block, task):
        x, padded, x_n, x_h, x_w, height, width, top, left, rows, columns, cell = emit.parameters(block, 12)
        image, row = task // rows, task % rows
        target = padded + task * columns * cell
        copy_part(target, x + image * x_n, height, width, x_h, x_w, row - top, -left, 1, columns, cell)

    return leaf(pad)


def pad(x: np.ndarray, padded: np.ndarray, before: tuple[int, int]) -> Call:
    """Copy images (N, H, W, C) into larger ones, ``before`` rows and columns from their corner; zeros around them."""
    n, rows, columns, channels = padded.shape
    sizes = (*x.strides[:3], *x.shape[1:3], *before, rows, columns, channels * x.itemsize)
    return Call(_pad(), (x, padded), sizes, n * rows, padded.nbytes / 10)


def _with_padding(x: np.ndarray, c: Correlation, empty: Allocate) -> tuple[np.ndarray, Correlation, Call]:
    """The part of the padded images that a correlation meets, the correlation there, and the call that copies it."""
    rows, columns = c.extent(*c.output)
    padded = empty((x.shape[0], rows, columns, x.shape[3]), x.dtype)
    return padded, c._replace(before=(0, 0), size=(rows, columns)), pad(x, padded, c.before)


def _cut(images: int, panels: int, c: Correlation, cell: int, direct: bool) -> tuple[int, int]:
    """Output rows and panels of one task: all of an image unless that is too much memory or too few tasks."""
    (oh, ow), sh = c.output, c.strides[0]
    band = oh
    if not direct:
        rows, columns = c.extent(1, ow)
        more = SCRATCH // max(1, columns * cell) - rows
        band = min(oh, max(1, more // sh + 1))
    wanted = -(-TASKS // (images * -(-oh // band)))
    panels_each = max(1, panels // wanted)
    wanted = -(-TASKS // (images * -(-oh // band) * -(-panels // panels_each)))
    return max(1, -(-band // wanted)), panels_each


def forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    y: np.ndarray,
    window: Window,
    groups: int,
    relu: bool = False,
    empty: Allocate = np.empty,
    fixed: bool = False,
) -> list[Call]:
    """Convolution of ``x`` with ``w`` (KH, KW, C/G, O), plus bias, into ``y``; with ``relu`` clipped at zero.

    ``fixed`` tells that the calls are run again and again with the same ``w``.
    """
    if _pointwise(window, groups) and not relu:
        calls, x = _thinned(x, y.shape, window, empty)
        return [*calls, *matmul(x.reshape(-1, x.shape[3]), w[0, 0], y.reshape(-1, y.shape[3]), b, empty, fixed)]
    (top, _), (left, _) = window.padding
    correlation = Correlation(window.kernel, window.strides, (top, left), window.dilations, x.shape[1:3], y.shape[1:3])
    return _correlation_calls(x, _by_group(w, groups), b, y, groups, correlation, relu, empty)


def _pointwise(window: Window, groups: int) -> bool:
    """Whether the convolution is one product of matrices, of the pixels that the strides leave."""
    return window.kernel == (1, 1) and not any(map(any, window.padding)) and groups == 1


@functools.cache
def _thin() -> int:
    def thin(block, task):
        x, thinned, x_n, x_h, x_w, rows, columns, stride_h, stride_w, cell = emit.parameters(block, 10)
        image, row = task // rows, task % rows
        source, target = x + image * x_n + row * stride_h * x_h, thinned + task * columns * cell
        for column in range(columns):
            emit.copy(target + column * cell, source + column * stride_w * x_w, cell)

    return leaf(thin)


@functools.cache
def _spread() -> int:
    def spread(block, task):
        thinned, x, height, width, rows, columns, stride_h, stride_w, cell = emit.parameters(block, 9)
        image, row = task // height, task % height
        line = x + task * width * cell
        emit.clear(line, width * cell)
        if row % stride_h == 0 and row // stride_h < rows:
            source = thinned + (image * rows + row // stride_h) * columns * cell
            for column in range(columns):
                emit.copy(line + column * stride_w * cell, source + column * cell, cell)

    return leaf(spread)


def _thinned(
    x: np.ndarray, output: tuple[int, ...], window: Window, empty: Allocate
) -> tuple[list[Call], np.ndarray]:
    """Those pixels of ``x`` that a kernel of one pixel meets, next to each other."""
    if window.strides == (1, 1):
        return [], x
    n, rows, columns, _ = output
    thinned = empty((n, rows, columns, x.shape[3]), x.dtype)
    sizes = (*x.strides[:3], rows, columns, *window.strides, x.shape[3] * x.itemsize)
    return [Call(_thin(), (x, thinned), sizes, n * rows, thinned.nbytes / 10)], thinned


def _by_group(w: np.ndarray, groups: int) -> np.ndarray:
    """(KH, KW, C/G, O) as a view (G, KH, KW, C/G, O/G)."""
    return w.reshape(*w.shape[:3], groups, -1).transpose(3, 0, 1, 2, 4)


class Phase(NamedTuple):
    """Along one axis: input positions start, start + stride, ... meet taps first, first + step, ... of ``dy``."""

    start: int
    size: int
    first: int
    step: int
    taps: int
    dilation: int
    before: int


def _phases(size: int, kernel: int, stride: int, dilation: int, before: int) -> Iterator[Phase]:
    """One phase for each residue of the input position modulo the stride.

    Input position p (counted in the padded input) gets ``w[k] * dy[(p - k * dilation) / stride]`` from each tap k that
    makes the division come out even: those are ``first + j * step``, a correlation with dilation over dy.
    """
    common = math.gcd(stride, dilation)
    step = stride // common
    for start in range(min(stride, size)):
        position = start + before
        first = next((k for k in range(min(step, kernel)) if (position - k * dilation) % stride == 0), kernel)
        taps = len(range(first, kernel, step))
        origin = (position - first * dilation) // stride  # where tap `first` reads dy for the first position
        reach = (taps - 1) * (dilation // common)
        yield Phase(start, len(range(start, size, stride)), first, step, taps, dilation // common, reach - origin)


def input_grad(
    dy: np.ndarray, w: np.ndarray, dx: np.ndarray, window: Window, groups: int, empty: Allocate = np.empty
) -> list[Call]:
    """Gradient of ``forward`` for its input, into ``dx``."""
    if _pointwise(window, groups):
        n, rows, columns, o = dy.shape
        thinned = dx if window.strides == (1, 1) else empty((n, rows, columns, dx.shape[3]), dx.dtype)
        calls = matmul(dy.reshape(-1, o), w[0, 0].T, thinned.reshape(-1, dx.shape[3]), empty=empty)
        if thinned is not dx:
            sizes = (*dx.shape[1:3], rows, columns, *window.strides, dx.shape[3] * dx.itemsize)
            calls += [Call(_spread(), (thinned, dx), sizes, n * dx.shape[1], dx.nbytes / 10)]
        return calls
    (top, _), (left, _) = window.padding
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilations
    # (G, KH, KW, C/G, O/G) -> (G, KH, KW, O/G, C/G): the roles of the channels are exchanged
    kernels = _by_group(w, groups).transpose(0, 1, 2, 4, 3)
    calls = []
    for v in _phases(dx.shape[1], kh, sh, dh, top):
        for h in _phases(dx.shape[2], kw, sw, dw, left):
            taps = kernels[:, v.first :: v.step, h.first :: h.step][:, ::-1, ::-1]
            correlation = Correlation(
                (v.taps, h.taps), (1, 1), (v.before, h.before), (v.dilation, h.dilation), dy.shape[1:3],
                (v.size, h.size),
            )  # fmt: skip
            target = dx[:, v.start :: sh, h.start :: sw]
            calls += _correlation_calls(dy, taps, None, target, groups, correlation, empty=empty)
    return calls


@functools.cache
def _correlate_weights(itemsize: int) -> int:
    def correlate_weights(block, task):
        (
            x, dy, dw, x_n, x_h, x_w, dy_n, dy_h, dy_w, images, height, width, out_rows, out_columns,
            taps_h, taps_w, stride_h, stride_w, top, left, dilation_h, dilation_w,
            groups, channels, lanes, lanewise, direct, splits, split_bytes, batch, band,
            taps_each, tap_blocks, panels_each, parts, runs, run, run_step, row_step, dw_row,
            gathers, pack, main, tail, tile_rows, panel_width,
        ) = emit.parameters(block, 46)  # fmt: skip
        task, part = task // parts, task % parts
        task, tap_block = task // tap_blocks, task % tap_blocks
        split, group = task // groups, task % groups
        share = -(-images // splits)
        panels = -(-lanes // panel_width)
        cell = (lanes if lanewise else channels) * itemsize
        rows = (band - 1) * stride_h + (taps_h - 1) * dilation_h + 1
        columns = (out_columns - 1) * stride_w + (taps_w - 1) * dilation_w + 1
        scratch_bytes = 0 if direct else batch * rows * columns * cell
        scratch = emit.allocate(scratch_bytes + gathers * batch * band * out_columns * panel_width * itemsize)
        gathered = scratch + scratch_bytes
        flags = 0
        for image in range(split * share, min(images, (split + 1) * share), batch):
            count = min(batch, images - image, (split + 1) * share - image)
            for first in range(0, out_rows, band):
                used_rows = min(band, out_rows - first)
                source, start = x + image * x_n + group * cell, first * stride_h - top
                line, whole = x_h, x_n
                if direct:
                    source += start * x_h - left * x_w
                else:
                    line, whole = columns * cell, rows * columns * cell
                    for i in range(count):
                        copy_part(
                            scratch + i * whole, source + i * x_n, height, width, x_h, x_w, start, -left,
                            (used_rows - 1) * stride_h + (taps_h - 1) * dilation_h + 1, columns, cell,
                        )  # fmt: skip
                    source = scratch
                span = count * dy_n if used_rows == out_rows else used_rows * dy_h
                ahead, ahead_step = dy + image * dy_n + first * dy_h + span, LINE  # what is multiplied next
                enough = ahead + span
                for panel in range(part * panels_each, min(panels, (part + 1) * panels_each)):
                    used = min(panel_width, lanes - panel * panel_width)
                    tile = main if used == panel_width else tail
                    column = (group * lanes + panel * panel_width) * itemsize
                    left_lane = panel * panel_width * itemsize if lanewise else 0
                    right = dy + image * dy_n + first * dy_h + column
                    step_n, step_h, step_w = dy_n, dy_h, dy_w
                    if gathers:
                        emit.call(pack, (
                            gathered, right, count * used_rows * out_columns, used, panel_width, dy_w, itemsize,
                        ))  # fmt: skip
                        right, step_w = gathered, panel_width * itemsize
                        step_h, step_n = out_columns * step_w, used_rows * out_columns * step_w
                    levels = (
                        count, whole, step_n, used_rows, stride_h * line, step_h, out_columns, stride_w * cell, step_w,
                    )  # fmt: skip
                    for i in range(tap_block * taps_each, min(taps_h, (tap_block + 1) * taps_each)):
                        for j in range(runs):
                            corner = source + i * dilation_h * line + j * run_step + left_lane
                            filter_row = dw + split * split_bytes + (i * runs + j) * run * dw_row + column
                            for row in range(0, run, tile_rows):
                                moved = min(row, run - tile_rows)
                                emit.call(tile, (
                                    corner + moved * row_step, right, filter_row + moved * dw_row,
                                    0, row_step, dw_row, *levels, used, row - moved, flags, ahead, ahead_step,
                                ))  # fmt: skip
                                ahead += count * used_rows * out_columns * ahead_step
                                if ahead >= enough:
                                    ahead_step = 0
                flags = ADD
        emit.release(scratch)

    return leaf(correlate_weights, f"f{8 * itemsize}")


@functools.cache
def _add_parts(itemsize: int) -> int:
    def add(block, task):
        parts, total, count, size, chunk = emit.parameters(block, 5)
        first = task * chunk
        distance = first * itemsize
        _sum((parts + distance, total + distance, count, size * itemsize, min(chunk, size - first)), itemsize)

    return leaf(add, f"f{8 * itemsize}")


@intrinsic(prefer_literal=True)
def _sum(typingctx: Any, arguments: Any, itemsize: Any) -> Any:
    """Add ``count`` rows, ``step`` bytes apart, in their order."""
    size = emit.literal(itemsize)

    def codegen(context, builder, signature, values):
        _emit_sum(Emitter(builder, size), emit.unpack(builder, values[0]))
        return context.get_dummy_value()

    return types.void(arguments, itemsize), codegen


def _emit_sum(e: Emitter, arguments: list[ir.Value]) -> None:
    rows, total, count, step, lanes = arguments
    builder, together = e.builder, 4 * e.lanes  # sums that do not wait for each other
    with e.loop(builder.udiv(builder.add(lanes, const(together - 1)), const(together))) as index:
        first = builder.mul(index, const(together))
        starts = [builder.add(first, const(i * e.lanes)) for i in range(4)]
        masks = [e.mask(builder.sub(lanes, start)) for start in starts]
        places = [builder.mul(start, const(e.itemsize)) for start in starts]
        sums = [e.variable(e.load(e.offset(e.pointer(rows), place), mask)) for place, mask in zip(places, masks)]
        with e.loop(builder.sub(count, const(1))) as row:
            start = e.offset(e.pointer(rows), builder.mul(builder.add(row, const(1)), step))
            for value, place, mask in zip(sums, places, masks):
                builder.store(builder.fadd(builder.load(value), e.load(e.offset(start, place), mask)), value)
        for value, place, mask in zip(sums, places, masks):
            e.store(builder.load(value), e.offset(e.pointer(total), place), mask)


def add_parts(parts: np.ndarray, total: np.ndarray) -> Call:
    """``total[...] = parts[0] + parts[1] + ...``, in this order."""
    count, size, chunk = len(parts), total.size, 4096
    sizes = (count, size, chunk)
    return Call(_add_parts(total.itemsize), (parts, total), sizes, -(-size // chunk), count * size / 4)


def weight_grad(
    x: np.ndarray, dy: np.ndarray, dw: np.ndarray, window: Window, groups: int, empty: Allocate = np.empty
) -> list[Call]:
    """Gradient of ``forward`` for its kernel, into ``dw`` (KH, KW, C/G, O)."""
    kh, _, channels, o = dw.shape
    if _pointwise(window, groups) and window.strides != (1, 1):
        calls, x = _thinned(x, dy.shape, window, empty)
        return [*calls, *weight_grad(x, dy, dw, window._replace(strides=(1, 1)), groups, empty)]
    if _pointwise(window, groups) and min(channels, o) >= PRODUCT:
        return matmul(x.reshape(-1, channels).T, dy.reshape(-1, o), dw[0, 0], empty=empty)
    lanewise = groups > 1 and (channels, o) == (1, groups)
    lanes, itemsize = o // groups, x.itemsize
    if lanewise:  # depthwise: the groups become the lanes
        groups, lanes = 1, o
    (top, _), (left, _) = window.padding
    c = Correlation(window.kernel, window.strides, (top, left), window.dilations, x.shape[1:3], dy.shape[1:3])
    cell = itemsize * (lanes if lanewise else channels)
    runs, run, run_step, row_step = _runs(c, channels, itemsize, cell, lanewise)
    tiling = choose_tiling(run, lanes, itemsize, lanewise)
    panels = -(-lanes // tiling.width)

    n, (oh, ow) = x.shape[0], c.output
    direct = c.inside() and groups == 1
    rows, columns = c.extent(oh, ow)
    splits = max(1, min(n, TASKS, PARTIALS // dw.nbytes))
    share = -(-n // splits)
    splits = -(-n // share)  # no split without images
    row = ow * o * itemsize  # bytes of dy, which is read again for every row of the kernel
    batch = max(1, min(share, BATCH // max(1, rows * columns * cell, oh * row)))
    band = min(oh, max(1, (SCRATCH // max(1, columns * cell) - c.extent(1, 1)[0]) // c.strides[0] + 1))
    band = min(band, max(1, BATCH // 2 // max(1, row)))
    blocks = -(-(TASKS // 2) // (splits * groups))  # each of them copies the padded images again
    panels_each = max(1, panels // blocks)
    blocks = -(-blocks // -(-panels // panels_each))
    taps_each = max(1, kh // blocks)
    tap_blocks, parts = -(-kh // taps_each), -(-panels // panels_each)
    partial = dw if splits == 1 else empty((splits, *dw.shape), dw.dtype)
    uses = taps_each * runs * -(-run // tiling.rows)  # of a panel of dy
    gathers = uses >= 5 and run >= 16 and tiling.width < o
    fitting = IN_L1 // (c.strides[0] * columns * cell + ow * tiling.width * itemsize)  # rows of x and of a panel
    if gathers and fitting * ow >= PIXELS:
        batch, band = max(1, min(batch, fitting // oh)), min(band, fitting)
    work = 2 * n * oh * ow * dw.size / (500 / itemsize)
    sizes = (
        *x.strides[:3], *dy.strides[:3], n, *c.size, *c.output, *c.taps, *c.strides, *c.before, *c.dilations,
        groups, channels, lanes, lanewise, direct, splits, dw.nbytes, batch, band if batch == 1 else oh,
        taps_each, tap_blocks, panels_each, parts, runs, run, run_step, row_step, o * itemsize,
        gathers, pack.packer(itemsize), *tiling,
    )  # fmt: skip
    tasks = splits * groups * tap_blocks * parts
    calls = [Call(_correlate_weights(itemsize), (x, dy, partial), sizes, tasks, work)]
    return calls if splits == 1 else [*calls, add_parts(partial, dw)]


def _runs(c: Correlation, channels: int, itemsize: int, cell: int, lanewise: bool) -> tuple[int, int, int, int]:
    """What the rows of a tile are, of one row of the kernel: number and length of runs, bytes from one to the next."""
    columns, step = c.taps[1], c.dilations[1] * cell
    if lanewise:  # kernel columns
        return 1, columns, 0, step
    if c.dilations[1] == 1 or columns == 1:  # kernel columns and channels are one contiguous run
        return 1, columns * channels, 0, itemsize
    return columns, channels, step, itemsize  # the channels of a kernel column
