"""TensorFlow's spellings of low-level operations, for programs written with them: each calls its namesake in ``ops``.

Window sizes and strides are one number, (height, width), or four values, one per axis, of which those of the batch and
the channels are 1; a maximum over channels alone has four values too: ``ksize=(1, 1, 1, 3)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyconv import config
from tinyconv.geometry import check_data_format
from tinyconv.ops import convolution, pooling
from tinyconv.ops.normalization import local_response_norm
from tinyconv.ops.reduction import mean
from tinyconv.ops.shape import Axis, concatenate
from tinyconv.tensor import Tensor

__all__ = ["avg_pool", "concat", "conv2d", "local_response_normalization", "max_pool", "reduce_mean"]

_FORMATS = {"NHWC": "channels_last", "NCHW": "channels_first"}


def conv2d(
    input: Any, filters: Any, strides: Any, padding: Any, data_format: str | None = None, dilations: Any = 1
) -> Tensor:
    """2-D convolution without bias; :func:`tinyconv.ops.conv2d` in TensorFlow's order of arguments.

    Parameters
    ----------
    input : array_like or Tensor, shape (N, H, W, C), or (N, C, H, W) for ``"NCHW"``
    filters : array_like or Tensor, shape (KH, KW, C, O)
    strides, dilations : int, pair or four values
    padding : str or as for :func:`tinyconv.ops.conv2d`
        ``"VALID"`` or ``"SAME"``, in any case.
    data_format : str, optional
        ``"NHWC"`` or ``"NCHW"``, or Keras's names; ``config.image_data_format()`` by default.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.ops.nn.conv2d(np.ones((1, 6, 6, 3)), np.ones((3, 3, 3, 2)), strides=[1, 2, 2, 1], padding="SAME").shape
    (1, 3, 3, 2)
    """
    layout = _layout(data_format)
    steps, distances = _spatial(strides, "strides", layout), _spatial(dilations, "dilations", layout)
    return convolution.conv2d(input, filters, None, steps, padding, distances, data_format=layout)


def max_pool(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = None) -> Tensor:
    """Largest value of each window of height and width, or of neighbouring channels.

    Parameters
    ----------
    input : array_like or Tensor, shape (N, H, W, C), or (N, C, H, W) for ``"NCHW"``
    ksize, strides : int, pair or four values
        Four values may pool over channels, when those of height and width are 1: the size divides the number of
        channels, and the stride is the size.
    padding, data_format
        As for :func:`conv2d`.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> x = np.arange(6.0).reshape(1, 1, 1, 6)
    >>> tc.ops.nn.max_pool(x, ksize=(1, 1, 1, 3), strides=(1, 1, 1, 3), padding="VALID").tolist()
    [[[[2.0, 5.0]]]]
    """
    layout = _layout(data_format)
    place = 1 if layout == "channels_first" else 3
    if isinstance(ksize, Sequence) and len(ksize) == 4 and ksize[place] != 1:
        if list(ksize) != [ksize[place] if axis == place else 1 for axis in range(4)] or list(ksize) != list(strides):
            raise ValueError(
                "max_pool over channels expected a window and strides that are equal, and 1 for batch, height and "
                f"width. Received: ksize={ksize!r}, strides={strides!r}"
            )
        return pooling.depth_max_pool2d(input, ksize[place], layout)
    size, steps = _spatial(ksize, "ksize", layout), _spatial(strides, "strides", layout)
    return pooling.max_pool2d(input, size, steps, padding, layout)


def avg_pool(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = None) -> Tensor:
    """Mean of each window; arguments as for :func:`max_pool`, over height and width only."""
    layout = _layout(data_format)
    size, steps = _spatial(ksize, "ksize", layout), _spatial(strides, "strides", layout)
    return pooling.avg_pool2d(input, size, steps, padding, layout)


def local_response_normalization(
    input: Any, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5
) -> Tensor:
    """:func:`tinyconv.ops.local_response_norm` along the last axis."""
    return local_response_norm(input, depth_radius, bias, alpha, beta)


def reduce_mean(input_tensor: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """:func:`tinyconv.ops.mean`; over axes 1 and 2 it is global average pooling."""
    return mean(input_tensor, axis, keepdims)


def concat(values: Sequence[Any], axis: int) -> Tensor:
    """:func:`tinyconv.ops.concatenate`."""
    return concatenate(values, axis)


def _layout(data_format: str | None) -> str:
    return check_data_format(_FORMATS.get(data_format or "", data_format) or config.image_data_format())


def _spatial(value: Any, name: str, layout: str) -> Any:
    """Height and width of ``value``; what it says of batch and channels must be 1."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 4:
        return value
    first = 2 if layout == "channels_first" else 1
    others = [entry for axis, entry in enumerate(value) if axis not in (first, first + 1)]
    if others != [1, 1]:
        raise ValueError(f"{name} expected 1 for batch and channels. Received: {value!r}")
    return tuple(value[first : first + 2])
