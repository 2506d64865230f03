"""Convolution and matrix products by the kernels: which tile, which part of K for which block, which settings.

The calls of a shape are worked out once and kept. Products run on the tensor cores, whose inputs are rounded to TF32
(10 bits of fraction), or in float32 throughout. As in PyTorch convolutions use TF32 and matrix products do not;
CuPy's variable ``CUPY_TF32`` decides for both: ``1`` allows it everywhere, ``0`` nowhere.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv.backends.cuda.launch import Call, Launcher, ceil_div, divisor, divisors, integers, struct, sum_parts
from tinyconv.backends.reference import Array
from tinyconv.geometry import Pair, Window

DEPTH, STAGES = 16, 4  # as in gemm.cuh
SMALL, NARROW, LARGE = (64, 64), (128, 32), (128, 128)  # tiles of the result
TF32_VARIANTS = [(SMALL, 1), (SMALL, 2), (SMALL, 4), (NARROW, 1), (NARROW, 2), (NARROW, 4), (LARGE, 4)]
STRICT_VARIANTS = [(SMALL, 1), (SMALL, 4), (NARROW, 1), (NARROW, 4)]  # tile, and how many numbers are copied at once
VARIANTS = [(*variant, False) for variant in TF32_VARIANTS] + [(*variant, True) for variant in STRICT_VARIANTS]
BUSY = 132  # blocks that keep a large GPU busy; a number of its own, so that results do not depend on the GPU
LEAST_STEPS = 8  # of DEPTH, that are worth a block of their own
MOST_MATRICES = 65535  # blocks along z

PATCHES = np.dtype(
    integers("height", "width", "pitch", "pixels", "taps")
    + integers("stride_h", "stride_w", "start_h", "start_w", "step_h", "step_w")
    + divisors("plane", "line", "channel", "tap_line")
)
PHASE = np.dtype(
    integers("channels", "pitch", "kernel_width", "tap_h", "tap_w", "next_h", "next_w")
    + integers("start", "image", "line", "cell")
)
STORED = np.dtype([("pitch", "i4"), ("batch", "i8")], align=True)


def kernels() -> list[tuple[str, str]]:
    """File and expression of every kernel that this module may launch."""
    convolutions = [
        ("convolution.cu", _expression(f"conv2d_{name}", *variant))
        for name in ("forward", "input_grad", "weight_grad")
        for variant in VARIANTS
    ]
    products = [
        ("matmul.cu", _expression("matmul", *variant, *rows))
        for rows in ((True, True), (True, False), (False, True))
        for variant in VARIANTS
    ]
    return [*convolutions, *products]


def strict_convolution() -> bool:
    """Whether convolutions are computed in float32 throughout."""
    return os.environ.get("CUPY_TF32") == "0"


def strict_matmul() -> bool:
    """Whether matrix products are computed in float32 throughout."""
    return os.environ.get("CUPY_TF32", "0") == "0"


# --- tiles --------------------------------------------------------------------------------------------------------


class Tiling(NamedTuple):
    """How a product of matrices (M, K) @ (K, N) is shared out."""

    tile: Pair
    grid: tuple[int, int, int]
    part: int  # of K, for each block along y


def tiling(m: int, n: int, k: int, vec: int, strict: bool, batch: int = 1, may_split: bool = True) -> Tiling:
    """Tile and grid; K is split where the tiles alone would leave much of the GPU idle."""

    def blocks(tile: Pair) -> int:
        return ceil_div(m, tile[0]) * ceil_div(n, tile[1])

    tile = NARROW if n <= NARROW[1] else SMALL
    if n > SMALL[1] and (LARGE, vec, strict) in VARIANTS and blocks(LARGE) * batch >= 2 * BUSY:
        tile = LARGE
    steps, parts = ceil_div(k, DEPTH), 1
    if may_split and blocks(tile) * batch < BUSY:
        parts = max(1, min(ceil_div(2 * BUSY, blocks(tile) * batch), steps // LEAST_STEPS))
    part = max(1, ceil_div(steps, parts)) * DEPTH
    return Tiling(tile, (blocks(tile), max(1, ceil_div(k, part)), batch), part)


def _expression(name: str, tile: Sequence[int], vec: int, *flags: bool) -> str:
    parameters = [*map(str, tile), str(vec), *("true" if flag else "false" for flag in flags)]
    return f"{name}<{', '.join(parameters)}>"


def _call(
    file: str, name: str, tiles: Tiling, vec: int, flags: Sequence[bool], depths: tuple[bool, bool], *settings: Any
) -> Call:
    """A call of a kernel of tiles; ``depths``: whether K is the contiguous axis of the left and the right operand."""
    (tile_m, tile_n), grid, part = tiles
    stage = sum(
        rows * (DEPTH + 4) if contiguous else DEPTH * (rows + 8) for rows, contiguous in zip((tile_m, tile_n), depths)
    )
    threads = 128 if tile_m * tile_n < 16384 else 256
    expression = _expression(name, (tile_m, tile_n), vec, *flags)
    return Call(file, expression, grid, threads, STAGES * stage * 4, (*settings, np.int32(part)))


def _vec(strict: bool, arrays: Sequence[Array], *numbers: int) -> int:
    """How many numbers may be copied at once from arrays whose lines begin and end at multiples of ``numbers``."""
    for vec in (4,) if strict else (4, 2):
        if not any(array.data.ptr % (4 * vec) for array in arrays) and not any(number % vec for number in numbers):
            return vec
    return 1


def _run(
    launch: Launcher, call: Call, operands: Sequence[Array], shape: Sequence[int], *finish: Any, batch: int = 1
) -> Array:
    """The result (..., N) of ``call``; where K was split, of the second pass that adds up its parts.

    ``finish``: bias and clip for what is stored last, where the kernel takes them. ``batch``: how many times the parts
    follow each other in memory.
    """
    y, parts = launch.xp.empty(shape, np.float32), call.grid[1]
    if parts == 1:
        launch(call, *operands, *finish[:1], y)
        return y
    partial = launch.xp.empty((batch, parts, y.size // batch), np.float32)
    launch(call, *operands, *(None for _ in finish[:1]), partial)
    bias, clip = finish or (None, False)
    launch(sum_parts(y.size, y.size // batch, shape[-1], parts, clip), partial, bias, y)
    return y


# --- convolution --------------------------------------------------------------------------------------------------


def _patches(
    shape: Sequence[int], groups: int, places: Pair, taps: Pair, stride: Pair, start: Pair, step: Pair
) -> np.ndarray:
    """Settings for the patches of images of ``shape`` (N, H, W, C) at ``places`` (OH, OW) under ``taps`` (KH, KW)."""
    n, h, w, c = shape
    return struct(
        PATCHES, height=h, width=w, pitch=c, pixels=n * places[0] * places[1], taps=taps[0] * taps[1] * (c // groups),
        stride_h=stride[0], stride_w=stride[1], start_h=start[0], start_w=start[1], step_h=step[0], step_w=step[1],
        plane=divisor(places[0] * places[1]), line=divisor(places[1]), channel=divisor(c // groups),
        tap_line=divisor(max(taps[1], 1)),
    )  # fmt: skip


def _window_patches(shape: Sequence[int], window: Window, groups: int) -> tuple[np.ndarray, int, int]:
    """Settings for the patches under a window, and how many pixels and taps there are."""
    start = (-window.padding[0][0], -window.padding[1][0])
    places = window.output_size(shape[1:3])
    patches = _patches(shape, groups, places, window.kernel, window.strides, start, window.dilations)
    return patches, int(patches["pixels"][0]), int(patches["taps"][0])


@functools.lru_cache(1024)
def _forward(
    x: tuple[int, ...], outputs: int, window: Window, groups: int, clip: bool, vec: int, strict: bool
) -> Call:
    patches, pixels, taps = _window_patches(x, window, groups)
    n = outputs // groups
    tiles = tiling(pixels, n, taps, vec, strict, groups)
    settings = (patches, np.int32(n), np.int32(clip and tiles.grid[1] == 1))
    return _call("convolution.cu", "conv2d_forward", tiles, vec, (strict,), (True, False), *settings)


@functools.lru_cache(1024)
def _weight_grad(x: tuple[int, ...], outputs: int, window: Window, groups: int, vec: int, strict: bool) -> Call:
    patches, pixels, taps = _window_patches(x, window, groups)
    n = outputs // groups
    tiles = tiling(taps, n, pixels, vec, strict, groups)
    return _call("convolution.cu", "conv2d_weight_grad", tiles, vec, (strict,), (False, False), patches, np.int32(n))


class _Axis(NamedTuple):
    """The cells ``first + s y`` of one axis, of which ``size`` exist, and the taps that meet them."""

    first: int
    size: int
    tap: int  # the first tap
    next: int  # distance to the next one
    taps: int
    start: int  # place of dy that the first tap brings to the first cell
    step: int  # how far the next tap moves it


def _axis_phases(n: int, kernel: int, stride: int, dilation: int, before: int) -> list[_Axis]:
    """The phases of an axis of ``n`` cells with padding ``before`` it: h + before = stride oh + dilation tap."""
    phases = []
    common = math.gcd(stride, dilation)
    for first in range(min(stride, n)):
        taps = [tap for tap in range(kernel) if (first + before - tap * dilation) % stride == 0]
        tap = taps[0] if taps else 0
        start = (first + before - tap * dilation) // stride
        phases.append(
            _Axis(first, ceil_div(n - first, stride), tap, stride // common, len(taps), start, -(dilation // common))
        )
    return phases


@functools.lru_cache(1024)
def _input_grad(
    dy: tuple[int, ...], dx: tuple[int, ...], window: Window, groups: int, vec: int, strict: bool
) -> list[Call]:
    """A call for each phase of the strides (see convolution.cu)."""
    (height, width, c), before = dx[1:], [widths[0] for widths in window.padding]
    axes = [*map(_axis_phases, (height, width), window.kernel, window.strides, window.dilations, before)]
    calls = []
    for rows, columns in itertools.product(*axes):
        taps = (rows.taps, columns.taps) if rows.taps and columns.taps else (0, 0)
        places = rows.size, columns.size
        patches = _patches(dy, groups, places, taps, (1, 1), (rows.start, columns.start), (rows.step, columns.step))
        phase = struct(
            PHASE, channels=c // groups, pitch=c, kernel_width=window.kernel[1],
            tap_h=rows.tap, tap_w=columns.tap, next_h=rows.next, next_w=columns.next,
            start=rows.first * width + columns.first, image=height * width, line=window.strides[0] * width,
            cell=window.strides[1],
        )  # fmt: skip
        whole = len(axes[0]) == len(axes[1]) == 1  # a part of a phase would have no array of its own
        pixels, depth = int(patches["pixels"][0]), int(patches["taps"][0])
        tiles = tiling(pixels, c // groups, depth, vec, strict, groups, may_split=whole)
        calls.append(_call("convolution.cu", "conv2d_input_grad", tiles, vec, (strict,), (True, True), patches, phase))
    return calls


def conv2d(
    launch: Launcher, x: Array, w: Array, b: Array | None, window: Window, groups: int, clip: bool = False
) -> Array:
    """``conv2d`` of float32; ``clip``: then ``maximum(y, 0)``."""
    x, w = map(launch.xp.ascontiguousarray, (x, w))
    b = b if b is None else launch.xp.ascontiguousarray(b)
    outputs, strict = w.shape[3], strict_convolution()
    vec = _vec(strict, (x, w), x.shape[3] // groups, outputs // groups)
    call = _forward(x.shape, outputs, window, groups, clip, vec, strict)
    return _run(launch, call, (x, w), (len(x), *window.output_size(x.shape[1:3]), outputs), b, clip)


def conv2d_weight_grad(
    launch: Launcher, x: Array, dy: Array, kernel_shape: Sequence[int], window: Window, groups: int
) -> Array:
    """``conv2d_weight_grad`` of float32."""
    x, dy = map(launch.xp.ascontiguousarray, (x, dy))
    outputs, strict = dy.shape[3], strict_convolution()
    vec = _vec(strict, (x, dy), x.shape[3] // groups, outputs // groups)
    call = _weight_grad(x.shape, outputs, window, groups, vec, strict)
    return _run(launch, call, (x, dy), tuple(kernel_shape))


def conv2d_input_grad(
    launch: Launcher, dy: Array, w: Array, input_shape: Sequence[int], window: Window, groups: int
) -> Array:
    """``conv2d_input_grad`` of float32."""
    dy, w = map(launch.xp.ascontiguousarray, (dy, w))
    shape, strict = tuple(input_shape), strict_convolution()
    calls = _input_grad(dy.shape, shape, window, groups, _vec(strict, (dy, w), dy.shape[3] // groups), strict)
    if len(calls) == 1:
        return _run(launch, calls[0], (dy, w), shape)
    dx = launch.xp.empty(shape, np.float32)
    for call in calls:
        launch(call, dy, w, dx)
    return dx


# --- matrix products ----------------------------------------------------------------------------------------------


class _Stack(NamedTuple):
    """Matrices (BATCH, R, C) as the kernels read them."""

    array: Array
    rows: bool  # whether the lines, in which neighbours lie together, are the rows
    pitch: int  # numbers from line to line
    distance: int  # numbers from matrix to matrix, 0 where there is one for all

    def numbers(self) -> tuple[int, int, int]:
        """Where lines begin and end: multiples of these."""
        return self.array.shape[2 if self.rows else 1], self.pitch, self.distance


def _stack(xp: Any, x: Array, batch: tuple[int, ...]) -> _Stack:
    """``x`` (..., R, C), copied only where the kernels cannot read it as it lies."""
    r, c = x.shape[-2:]
    if math.prod(x.shape[:-2]) != 1 and x.shape[:-2] != batch:
        x = xp.ascontiguousarray(xp.broadcast_to(x, (*batch, r, c)))
    x = x.reshape(-1, r, c)
    between, down, across = (stride // 4 for stride in x.strides)
    if any(stride % 4 for stride in x.strides) or (across != 1 != c and down != 1 != r):
        return _stack(xp, xp.ascontiguousarray(x), x.shape[:1])
    rows = across == 1 or c == 1
    pitch = (down if r > 1 else c) if rows else (across if c > 1 else r)
    return _Stack(x, rows, pitch, between if len(x) > 1 else 0)


@functools.lru_cache(1024)
def _matmul(m: int, n: int, k: int, batch: int, a: Any, b: Any, vec: int, strict: bool) -> Call:
    """``a``, ``b``: the stacks without their arrays."""
    tiles = tiling(m, n, k, vec, strict, batch)
    stored = [struct(STORED, pitch=pitch, batch=distance) for _, pitch, distance in (a, b)]
    flags, depths = (strict, a[0], b[0]), (a[0], not b[0])
    return _call("matmul.cu", "matmul", tiles, vec, flags, depths, *stored, *map(np.int32, (m, n, k)))


def matmul(launch: Launcher, x: Array, y: Array) -> Array:
    """(..., M, K) @ (..., K, N) of float32."""
    xp = launch.xp
    m, k, n = x.shape[-2], x.shape[-1], y.shape[-1]
    shape = (*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), m, n)
    if y.ndim == 2 and x.flags.c_contiguous:  # all leading axes of x are rows of one matrix
        x, m = x.reshape(-1, k), math.prod(x.shape[:-1])
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    a, b = _stack(xp, x, batch), _stack(xp, y, batch)
    if not a.rows and not b.rows:  # there is no kernel for both across
        a = _stack(xp, xp.ascontiguousarray(a.array), a.array.shape[:1])
    strict = strict_matmul()
    vec = _vec(strict, (a.array, b.array), *a.numbers(), *b.numbers())
    call = _matmul(m, n, k, math.prod(batch), a[1:], b[1:], vec, strict)
    return _run(launch, call, (a.array, b.array), shape, batch=call.grid[2])
