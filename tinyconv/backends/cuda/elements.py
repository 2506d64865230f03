"""Pooling, depthwise convolution and random numbers by the kernels: one thread for each number of the result."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv.backends.cuda.launch import (
    NULL,
    Call,
    Launcher,
    ceil_div,
    divisor,
    divisors,
    integers,
    one_thread_each,
    struct,
    sum_parts,
)
from tinyconv.backends.reference import Array
from tinyconv.geometry import Window

NUMBERS = {"float32": "float", "float64": "double"}
TAPS = {"uint8": "unsigned char", "int32": "int"}
MANY = 1 << 17  # threads that keep a large GPU busy
RANDOM = {"float16": "unsigned short", "float32": "float", "float64": "double"}  # halves are written as their bits

WINDOW = np.dtype(
    integers("height", "width", "channels", "out_height", "out_width", "kernel_h", "kernel_w", "stride_h", "stride_w")
    + integers("top", "left", "step_h", "step_w")
    + divisors("channel", "out_line", "out_plane", "line", "plane", "by_stride_h", "by_stride_w")
)


def kernels() -> list[tuple[str, str]]:
    """File and expression of every kernel that this module may launch."""
    chosen = [f"{name}<{number}, {tap}>" for name in ("max_pool2d", "max_pool2d_scatter", "max_pool2d_gather")
              for number in NUMBERS.values() for tap in TAPS.values()]  # fmt: skip
    summed = [f"{name}<{number}>" for name in ("sum_pool2d", "sum_pool2d_spread") for number in NUMBERS.values()]
    random = [f"random_uniform<{number}>" for number in RANDOM.values()]
    names = {
        "pooling.cu": [*chosen, *summed],
        "depthwise.cu": ["depthwise", "depthwise_input_grad", "depthwise_weight_grad"],
        "random.cu": random,
    }
    return [(file, name) for file in names for name in names[file]]


def _window(shape: Sequence[int], window: Window) -> np.ndarray:
    """Settings of a window over images of ``shape`` (N, H, W, C)."""
    _, h, w, c = shape
    (oh, ow), (kh, kw), (sh, sw) = window.output_size((h, w)), window.kernel, window.strides
    return struct(
        WINDOW, height=h, width=w, channels=c, out_height=oh, out_width=ow, kernel_h=kh, kernel_w=kw, stride_h=sh,
        stride_w=sw, top=window.padding[0][0], left=window.padding[1][0], step_h=window.dilations[0],
        step_w=window.dilations[1], channel=divisor(c), out_line=divisor(ow), out_plane=divisor(oh), line=divisor(w),
        plane=divisor(h), by_stride_h=divisor(sh), by_stride_w=divisor(sw),
    )  # fmt: skip


# --- pooling ------------------------------------------------------------------------------------------------------


@functools.lru_cache(1024)
def _pooling(name: str, types: tuple[str, ...], shape: tuple[int, ...], window: Window, of_inputs: bool) -> Call:
    """A call for images of ``shape`` (N, H, W, C), with a thread for each input or for each output."""
    count = shape[0] * shape[3] * math.prod(shape[1:3] if of_inputs else window.output_size(shape[1:3]))
    settings = (_window(shape, window), np.int32(count))
    return one_thread_each("pooling.cu", f"{name}<{', '.join(types)}>", count, settings)


def _types(x: Array, taps_dtype: Any = None) -> tuple[str, ...]:
    number = NUMBERS[x.dtype.name]
    return (number,) if taps_dtype is None else (number, TAPS[np.dtype(taps_dtype).name])


def max_pool2d(launch: Launcher, x: Array, window: Window) -> tuple[Array, Array]:
    """Largest numbers (N, OH, OW, C) and their taps."""
    x, shape = launch.xp.ascontiguousarray(x), (len(x), *window.output_size(x.shape[1:3]), x.shape[3])
    y = launch.xp.empty(shape, x.dtype)
    taps = launch.xp.empty(shape, np.uint8 if math.prod(window.kernel) <= 256 else np.int32)
    launch(_pooling("max_pool2d", _types(x, taps.dtype), x.shape, window, False), x, y, taps)
    return y, taps


def max_pool2d_scatter(launch: Launcher, dy: Array, taps: Array, input_shape: Sequence[int], window: Window) -> Array:
    """dy (N, OH, OW, C) at the inputs (N, H, W, C) that the taps name."""
    dy, taps = map(launch.xp.ascontiguousarray, (dy, taps))
    dx = launch.xp.empty(tuple(input_shape), dy.dtype)
    launch(_pooling("max_pool2d_scatter", _types(dy, taps.dtype), tuple(input_shape), window, True), dy, taps, dx)
    return dx


def max_pool2d_gather(launch: Launcher, x: Array, taps: Array, window: Window) -> Array:
    """The inputs that the taps name."""
    x, taps = map(launch.xp.ascontiguousarray, (x, taps))
    y = launch.xp.empty(taps.shape, x.dtype)
    launch(_pooling("max_pool2d_gather", _types(x, taps.dtype), x.shape, window, False), x, taps, y)
    return y


def sum_pool2d(launch: Launcher, x: Array, window: Window) -> Array:
    """Sums (N, OH, OW, C) of the windows."""
    x = launch.xp.ascontiguousarray(x)
    y = launch.xp.empty((len(x), *window.output_size(x.shape[1:3]), x.shape[3]), x.dtype)
    launch(_pooling("sum_pool2d", _types(x), x.shape, window, False), x, y)
    return y


def sum_pool2d_spread(launch: Launcher, dy: Array, input_shape: Sequence[int], window: Window) -> Array:
    """dy (N, OH, OW, C) at all inputs (N, H, W, C) of its window."""
    dy = launch.xp.ascontiguousarray(dy)
    dx = launch.xp.empty(tuple(input_shape), dy.dtype)
    launch(_pooling("sum_pool2d_spread", _types(dy), tuple(input_shape), window, True), dy, dx)
    return dx


# --- depthwise convolution ----------------------------------------------------------------------------------------


@functools.lru_cache(1024)
def _depthwise(name: str, shape: tuple[int, ...], window: Window, size: tuple[int, ...], *more: int) -> Call:
    """A call for images of ``shape`` (N, H, W, C), with a thread for each number of a result of ``size``."""
    count = math.prod(size)
    settings = (_window(shape, window), np.int32(count), *map(np.int32, more))
    return one_thread_each("depthwise.cu", name, count, settings)


def depthwise(launch: Launcher, x: Array, w: Array, b: Array | None, window: Window, clip: bool = False) -> Array:
    """(N, H, W, C), (KH, KW, 1, C) -> (N, OH, OW, C); ``clip``: then ``maximum(y, 0)``."""
    x, w = map(launch.xp.ascontiguousarray, (x, w))
    y = launch.xp.empty((len(x), *window.output_size(x.shape[1:3]), x.shape[3]), x.dtype)
    b = b if b is None else launch.xp.ascontiguousarray(b)
    launch(_depthwise("depthwise", x.shape, window, y.shape, clip), x, w, b, y)
    return y


def depthwise_input_grad(launch: Launcher, dy: Array, w: Array, input_shape: Sequence[int], window: Window) -> Array:
    """(N, OH, OW, C), (KH, KW, 1, C) -> (N, H, W, C)."""
    dy, w = map(launch.xp.ascontiguousarray, (dy, w))
    dx = launch.xp.empty(tuple(input_shape), dy.dtype)
    launch(_depthwise("depthwise_input_grad", dx.shape, window, dx.shape), dy, w, dx)
    return dx


def depthwise_weight_grad(launch: Launcher, x: Array, dy: Array, window: Window) -> Array:
    """(N, H, W, C), (N, OH, OW, C) -> (KH, KW, 1, C)."""
    x, dy = map(launch.xp.ascontiguousarray, (x, dy))
    taps, c = math.prod(window.kernel), x.shape[3]
    pixels = dy.size // c
    part = max(32, ceil_div(pixels, ceil_div(MANY, taps * c)))
    parts = launch.xp.empty((ceil_div(pixels, part), taps, c), x.dtype)
    launch(_depthwise("depthwise_weight_grad", x.shape, window, parts.shape, pixels, part), x, dy, parts)
    dw = launch.xp.empty((*window.kernel, 1, c), x.dtype)
    launch(sum_parts(dw.size, dw.size, c, len(parts), False), parts, None, dw)
    return dw


# --- random numbers -----------------------------------------------------------------------------------------------


def random_uniform(launch: Launcher, key: Any, shape: Sequence[int], dtype: Any) -> Array:
    """Numbers of the key, an integer, or one ``uint64`` in the GPU's memory that is read when the kernel runs."""
    y = launch.xp.empty(tuple(shape), dtype)
    fresh = key if isinstance(key, launch.xp.ndarray) else None
    number, each = RANDOM[y.dtype.name], 2 if y.dtype == np.float64 else 4
    value = NULL if fresh is not None else np.uint64(int(key) % 2**64)
    settings = (np.int64(y.size), value, fresh if fresh is not None else NULL)
    launch(one_thread_each("random.cu", f"random_uniform<{number}>", -(-y.size // each), settings), y)
    return y
