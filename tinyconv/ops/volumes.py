"""Convolution and pooling of volumes, made of the operations on images, so that kernels and derivatives are theirs.

A convolution is one 2-D convolution of all slices at once, in which the slices under the kernel's depth are channels
beside each other (which takes KD times the memory of the input); pooling pools every slice, then along the depth.

Letters: volumes (N, D, H, W, C), kernels (KD, KH, KW, C/G, O), results (N, OD, OH, OW, O).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinyconv import config
from tinyconv.geometry import check_data_format, make_pool_window, make_transposed_window, make_window
from tinyconv.ops.convolution import Conv2D, Conv2DInputGrad, check_channels
from tinyconv.ops.elementwise import as_float, as_tensor, promote
from tinyconv.ops.pooling import avg_pool2d, max_pool2d
from tinyconv.ops.shape import ScatterAdd, concatenate, pad, reshape, transpose
from tinyconv.tensor import Tensor


def conv3d(
    x: Any,
    w: Any,
    b: Any = None,
    strides: Any = 1,
    padding: Any = "valid",
    dilations: Any = 1,
    groups: int = 1,
    data_format: str | None = None,
    strict: bool = False,
) -> Tensor:
    """3-D convolution layer operation (cross-correlation: the kernel is not flipped).

    Parameters
    ----------
    x : array_like or Tensor, shape (N, D, H, W, C), or (N, C, D, H, W) for ``channels_first``
        Volumes.
    w : array_like or Tensor, shape (KD, KH, KW, C/G, O)
        Kernels.
    b : array_like or Tensor, shape (O,), optional
        Bias.
    strides, dilations : int or three of them
        Step of the window, distance of its cells.
    padding : int, three of them, three pairs (before, after), or str
        Zeros around the volume, or ``"valid"``, ``"same"``, ``"same_lower"`` as for :func:`conv2d`.
    groups, data_format, strict
        As for :func:`conv2d`.

    Returns
    -------
    Tensor, shape (N, OD, OH, OW, O), or (N, O, OD, OH, OW) for ``channels_first``

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.ops.conv3d(np.ones((1, 4, 5, 5, 3)), np.ones((2, 3, 3, 3, 8)), strides=(2, 1, 1)).shape
    (1, 2, 3, 3, 8)
    """
    x, w = promote(as_tensor(x), as_tensor(w), floating=True)
    x, first = _volumes(x, data_format, "conv3d")
    _check_kernels(w, "conv3d")
    b = check_channels(x, w, b, groups, "conv3d")
    n, d, height, width, c = x.shape
    kd, *kernel = w.shape[:3]
    (sd, *image_strides), (dd, *image_dilations) = _triple(strides, "strides"), _triple(dilations, "dilations")
    depth_padding, image_padding = split_padding(padding)
    window = make_window((height, width), kernel, image_strides, image_padding, image_dilations, strict)
    with saying_depth():
        depth = make_window((d, 1), (kd, 1), (sd, 1), depth_padding, (dd, 1), strict)
    od, (oh, ow) = depth.output_size((d, 1))[0], window.output_size((height, width))
    x = pad(x, ((0, 0), depth.padding[0], (0, 0), (0, 0), (0, 0))) if any(depth.padding[0]) else x
    starts = [tap * dd for tap in range(kd)]
    slices = [x[:, start : start + (od - 1) * sd + 1 : sd] for start in starts]  # what lies under each tap
    cg, o = w.shape[3:]
    # KD times (N, OD, H, W, C) -> (N, OD, H, W, G, KD, C/G) -> (N*OD, H, W, G*KD*C/G)
    taps = concatenate([reshape(part, (n, od, height, width, groups, 1, cg)) for part in slices], 5)
    images = reshape(taps, (n * od, height, width, kd * c))
    kernels = reshape(transpose(w, (1, 2, 0, 3, 4)), (*kernel, kd * cg, o))  # (KH, KW, KD*C/G, O)
    y = reshape(Conv2D(window, groups)(images, kernels, b), (n, od, oh, ow, o))
    return transpose(y, (0, 4, 1, 2, 3)) if first else y


def conv3d_transpose(
    x: Any,
    w: Any,
    b: Any = None,
    strides: Any = 1,
    padding: Any = "valid",
    output_padding: Any = None,
    dilations: Any = 1,
    data_format: str | None = None,
) -> Tensor:
    """Transposed 3-D convolution: the adjoint of :func:`conv3d`, which grows volumes by the strides.

    Parameters
    ----------
    x : array_like or Tensor, shape (N, D, H, W, C) or (N, C, D, H, W)
    w : array_like or Tensor, shape (KD, KH, KW, O, C)
        Kernels in Keras's layout: output channels before input channels.
    b : array_like or Tensor, shape (O,), optional
    strides, padding, output_padding, dilations, data_format
        As for :func:`conv3d`, sizes as for :func:`conv2d_transpose`.

    Returns
    -------
    Tensor, shape (N, OD, OH, OW, O) or (N, O, OD, OH, OW)

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.ops.conv3d_transpose(np.ones((1, 2, 4, 4, 3)), np.ones((3, 3, 3, 8, 3)), strides=2, padding="same").shape
    (1, 4, 8, 8, 8)
    """
    x, w = promote(as_tensor(x), as_tensor(w), floating=True)
    x, first = _volumes(x, data_format, "conv3d_transpose")
    _check_kernels(w, "conv3d_transpose")
    n, d, height, width, c = x.shape
    kd, kh, kw, o, kernel_channels = w.shape
    if c != kernel_channels:
        raise ValueError(
            f"conv3d_transpose expected {kernel_channels} input channels (kernel axis 4). "
            f"Received: input {x.shape} (channels last)"
        )
    (sd, *image_strides), (dd, *image_dilations) = _triple(strides, "strides"), _triple(dilations, "dilations")
    depth_padding, image_padding = split_padding(padding)
    extra, *image_extra = (None,) * 3 if output_padding is None else _triple(output_padding, "output_padding", 0)
    window, (oh, ow) = make_transposed_window(
        (height, width), (kh, kw), image_strides, image_padding, image_dilations,
        None if extra is None else image_extra,
    )  # fmt: skip
    with saying_depth():
        depth, (od, _) = make_transposed_window(
            (d, 1), (kd, 1), (sd, 1), depth_padding, (dd, 1), None if extra is None else (extra, 0)
        )
    lo, hi = depth.padding[0]
    images = reshape(x, (n * d, height, width, c))
    kernels = reshape(transpose(w, (1, 2, 0, 3, 4)), (kh, kw, kd * o, c))
    grown = Conv2DInputGrad((n * d, oh, ow, kd * o), window, 1)(images, kernels)
    taps = reshape(grown, (n, d, oh, ow, kd, o))
    total: Any = None
    for tap in range(kd):
        start = tap * dd
        rows = slice(None), slice(start, start + (d - 1) * sd + 1, sd)  # where this tap of each window lies
        term = ScatterAdd((n, lo + od + hi, oh, ow, o), rows)(taps[:, :, :, :, tap])
        total = term if total is None else total + term
    y = total[:, lo : lo + od] if lo or hi else total
    if b is not None:
        b = as_tensor(b)
        if b.shape != (o,):
            raise ValueError(f"conv3d_transpose expected a bias of shape ({o},). Received: {b.shape}")
        y = y + b
    return transpose(y, (0, 4, 1, 2, 3)) if first else y


def max_pool3d(
    x: Any,
    pool_size: Any = 2,
    strides: Any = None,
    padding: Any = "valid",
    data_format: str | None = None,
    strict: bool = False,
) -> Tensor:
    """Largest value of each window of a volume; padding never wins, equal values choose the first, NaN is kept.

    Parameters
    ----------
    x : array_like or Tensor, shape (N, D, H, W, C), or (N, C, D, H, W) for ``channels_first``
    pool_size : int or three of them
        Window size.
    strides : int or three of them, optional
        Step; the window size by default.
    padding, data_format, strict
        As for :func:`conv3d`.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.max_pool3d(tc.ops.reshape([1.0, 5.0, 3.0, 2.0, 9.0, 0.0, 0.0, 0.0], (1, 2, 2, 2, 1))).item()
    9.0
    """
    return _pool(max_pool2d, as_tensor(x), pool_size, strides, padding, data_format, "max_pool3d", strict=strict)


def avg_pool3d(
    x: Any,
    pool_size: Any = 2,
    strides: Any = None,
    padding: Any = "valid",
    data_format: str | None = None,
    count_include_pad: bool = False,
    strict: bool = False,
) -> Tensor:
    """Mean of each window of a volume, over its cells inside, or over all of them with ``count_include_pad``.

    Arguments and shapes as :func:`max_pool3d`.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.avg_pool3d(tc.ops.reshape([1.0, 5.0, 3.0, 2.0, 9.0, 0.0, 0.0, 0.0], (1, 2, 2, 2, 1))).item()
    2.5
    """
    return _pool(
        avg_pool2d, as_float(x), pool_size, strides, padding, data_format, "avg_pool3d",
        count_include_pad=count_include_pad, strict=strict,
    )  # fmt: skip


def _pool(
    pool: Callable[..., Tensor],
    x: Tensor,
    pool_size: Any,
    strides: Any,
    padding: Any,
    data_format: str | None,
    name: str,
    **options: Any,
) -> Tensor:
    """Pool each slice, then along the depth: a window's maximum or mean is that of its slices' maxima or means."""
    x, first = _volumes(x, data_format, name)
    n, d, height, width, c = x.shape
    kd, *kernel = _triple(pool_size, "pool_size")
    sd, *image_strides = (kd, *kernel) if strides is None else _triple(strides, "strides")
    depth_padding, image_padding = split_padding(padding)
    options = {**options, "data_format": "channels_last"}
    with saying_depth():  # before any work
        make_pool_window((d, 1), (kd, 1), (sd, 1), depth_padding, options["strict"])
    slices = reshape(x, (n * d, height, width, c))
    slices = pool(slices, kernel, image_strides, image_padding, **options)  # (N*D, OH, OW, C)
    _, oh, ow, _ = slices.shape
    columns = reshape(slices, (n, d, oh * ow, c))
    columns = pool(columns, (kd, 1), (sd, 1), depth_padding, **options)  # (N, OD, OH*OW, C)
    y = reshape(columns, (n, columns.shape[1], oh, ow, c))
    return transpose(y, (0, 4, 1, 2, 3)) if first else y


def split_padding(padding: Any) -> tuple[Any, Any]:
    """The padding of a volume as that of images of (D, 1), and of (H, W).

    Examples
    --------
    >>> split_padding(1), split_padding((1, 2, 3)), split_padding(((0, 1), (2, 2), (3, 4)))
    ((((1, 1), (0, 0)), ((1, 1), (1, 1))), (((1, 1), (0, 0)), ((2, 2), (3, 3))), \
(((0, 1), (0, 0)), ((2, 2), (3, 4))))
    """
    if isinstance(padding, str):
        if padding.lower() in ("valid", "same", "same_lower"):
            return padding, padding
    else:
        try:
            entries = padding if isinstance(padding, Sequence) else (padding,) * 3
            depth, high, wide = (tuple(p) if isinstance(p, Sequence) else (p, p) for p in entries)
            pairs = depth, high, wide
            if all(len(p) == 2 and _whole(p[0]) and _whole(p[1]) for p in pairs):
                return (depth, (0, 0)), (high, wide)
        except ValueError:
            pass
    raise ValueError(
        "padding must be an integer >= 0, (depth, height, width), three pairs (before, after), 'valid', 'same' or "
        f"'same_lower'. Received: {padding!r}"
    )


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 0


def _triple(value: Any, name: str, minimum: int = 1) -> tuple[int, ...]:
    entries = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * 3
    if len(entries) != 3 or not all(_whole(entry) and entry >= minimum for entry in entries):
        raise ValueError(
            f"{name} must be an integer >= {minimum} or three of them (depth, height, width). Received: {value!r}"
        )
    return tuple(int(entry) for entry in entries)


def _volumes(x: Tensor, data_format: str | None, name: str) -> tuple[Tensor, bool]:
    """Volumes with channels last, and whether the result goes back to channels first."""
    if x.ndim != 5:
        raise ValueError(
            f"{name} expected volumes of 5 axes (batch, depth, height, width, channels). Received: shape {x.shape}"
        )
    first = check_data_format(data_format or config.image_data_format()) == "channels_first"
    return (transpose(x, (0, 2, 3, 4, 1)) if first else x), first


def _check_kernels(w: Tensor, name: str) -> None:
    if w.ndim != 5:
        raise ValueError(f"{name} expected kernels of 5 axes. Received: shape {w.shape}")


@contextmanager
def saying_depth() -> Iterator[None]:
    """The depth is the height of a picture of width 1; errors call it by its name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace("height", "depth")) from None
