"""Convolution and its two gradients: a closed family, so that derivatives of any order are convolutions again.

``Conv2D(x, w)`` is linear in both arguments. With its two adjoints ``Conv2DInputGrad(dy, w)`` and
``Conv2DWeightGrad(x, dy)``, every derivative of one of the three is one of the other two.

Letters: images (N, H, W, C), kernels (KH, KW, C/G, O), results (N, OH, OW, O).
"""

from __future__ import annotations

from typing import Any

from tinyconv import config
from tinyconv.function import Function
from tinyconv.geometry import Window, check_data_format, make_transposed_window, make_window
from tinyconv.ops.elementwise import as_tensor, promote
from tinyconv.ops.reduction import sum
from tinyconv.ops.shape import flip, reshape, transpose
from tinyconv.tensor import Tensor


class Conv2D(Function):
    """Cross-correlation of images with kernels, plus a bias where one is given."""

    def __init__(self, window: Window, groups: int) -> None:
        self.window, self.groups = window, groups

    def forward(self, x: Any, w: Any, b: Any) -> Any:
        self.shapes = x.shape, w.shape
        self.save(x if self.needs_input_grad[1] else None, w if self.needs_input_grad[0] else None)
        return self.backend.conv2d(x, w, b, self.window, self.groups)

    def backward(self, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, w = self.saved
        x_wanted, w_wanted, b_wanted = self.needs_input_grad
        x_shape, w_shape = self.shapes
        db = sum(dy, axis=(0, 1, 2)) if b_wanted else None
        dx = Conv2DInputGrad(x_shape, self.window, self.groups)(dy, w) if x_wanted else None
        dw = Conv2DWeightGrad(w_shape, self.window, self.groups)(x, dy) if w_wanted else None
        return dx, dw, db


class Conv2DInputGrad(Function):
    """(N, OH, OW, O), (KH, KW, C/G, O) -> (N, H, W, C): also the transposed convolution."""

    def __init__(self, x_shape: tuple[int, ...], window: Window, groups: int) -> None:
        self.x_shape, self.window, self.groups = x_shape, window, groups

    def forward(self, dy: Any, w: Any) -> Any:
        self.w_shape = w.shape
        self.save(dy if self.needs_input_grad[1] else None, w if self.needs_input_grad[0] else None)
        return self.backend.conv2d_input_grad(dy, w, self.x_shape, self.window, self.groups)

    def backward(self, ddx: Tensor) -> tuple[Tensor | None, ...]:
        dy, w = self.saved
        dy_wanted, w_wanted = self.needs_input_grad
        ddy = Conv2D(self.window, self.groups)(ddx, w, None) if dy_wanted else None
        dw = Conv2DWeightGrad(self.w_shape, self.window, self.groups)(ddx, dy) if w_wanted else None
        return ddy, dw


class Conv2DWeightGrad(Function):
    """(N, H, W, C), (N, OH, OW, O) -> (KH, KW, C/G, O)"""

    def __init__(self, w_shape: tuple[int, ...], window: Window, groups: int) -> None:
        self.w_shape, self.window, self.groups = w_shape, window, groups

    def forward(self, x: Any, dy: Any) -> Any:
        self.x_shape = x.shape
        self.save(x if self.needs_input_grad[1] else None, dy if self.needs_input_grad[0] else None)
        return self.backend.conv2d_weight_grad(x, dy, self.w_shape, self.window, self.groups)

    def backward(self, ddw: Tensor) -> tuple[Tensor | None, ...]:
        x, dy = self.saved
        x_wanted, dy_wanted = self.needs_input_grad
        dx = Conv2DInputGrad(self.x_shape, self.window, self.groups)(dy, ddw) if x_wanted else None
        ddy = Conv2D(self.window, self.groups)(x, ddw, None) if dy_wanted else None
        return dx, ddy


# --- public forms ----------------------------------------------------------------------------------------------


def conv2d(
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
    """2-D convolution layer operation (cross-correlation: the kernel is not flipped).

    Parameters
    ----------
    x : array_like or Tensor, shape (N, H, W, C), or (N, C, H, W) for ``channels_first``
        Images.
    w : array_like or Tensor, shape (KH, KW, C/G, O)
        Kernels.
    b : array_like or Tensor, shape (O,), optional
        Bias.
    strides, dilations : int or pair
        Step of the window, distance of its cells.
    padding : int, pair, pair of pairs or str
        As in :func:`tinyconv.geometry.make_window`: ``"valid"``, ``"same"``, ``"same_lower"``, or numbers of zeros.
    groups : int
        Input and output channels fall into ``groups`` independent parts; ``C`` groups are a depthwise convolution.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.
    strict : bool
        Raise when the strides do not tile the padded input, instead of dropping the surplus at the end.

    Returns
    -------
    Tensor, shape (N, OH, OW, O), or (N, O, OH, OW) for ``channels_first``

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.ops.conv2d(np.ones((1, 5, 5, 3)), np.ones((3, 3, 3, 8)), padding="same").shape
    (1, 5, 5, 8)
    """
    x, w = _operands(x, w, "conv2d")
    first = _is_channels_first(data_format)
    x = transpose(x, (0, 2, 3, 1)) if first else x
    b = check_channels(x, w, b, groups, "conv2d")
    window = make_window(x.shape[1:3], w.shape[:2], strides, padding, dilations, strict)
    y = Conv2D(window, groups)(x, w, b)
    return transpose(y, (0, 3, 1, 2)) if first else y


def conv2d_transpose(
    x: Any,
    w: Any,
    b: Any = None,
    strides: Any = 1,
    padding: Any = "valid",
    output_padding: Any = None,
    dilations: Any = 1,
    data_format: str | None = None,
) -> Tensor:
    """Transposed 2-D convolution: the adjoint of :func:`conv2d`, which grows images by the strides.

    Parameters
    ----------
    x : array_like or Tensor, shape (N, H, W, C) or (N, C, H, W)
    w : array_like or Tensor, shape (KH, KW, O, C)
        Kernels in Keras's layout: output channels before input channels.
    b : array_like or Tensor, shape (O,), optional
    strides, padding, output_padding, dilations, data_format
        Sizes as in :func:`tinyconv.geometry.make_transposed_window`.

    Returns
    -------
    Tensor, shape (N, OH, OW, O) or (N, O, OH, OW)

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.ops.conv2d_transpose(np.ones((1, 4, 4, 3)), np.ones((3, 3, 8, 3)), strides=2, padding="same").shape
    (1, 8, 8, 8)
    """
    x, w = _operands(x, w, "conv2d_transpose")
    first = _is_channels_first(data_format)
    x = transpose(x, (0, 2, 3, 1)) if first else x
    kh, kw, o, c = w.shape
    if x.shape[3] != c:
        raise ValueError(
            f"conv2d_transpose expected {c} input channels (kernel axis 3). Received: input {x.shape} (channels last)"
        )
    window, (oh, ow) = make_transposed_window(
        x.shape[1:3], (kh, kw), strides, padding, dilations, output_padding
    )
    y = Conv2DInputGrad((x.shape[0], oh, ow, o), window, 1)(x, w)
    if b is not None:
        b = as_tensor(b)
        if b.shape != (o,):
            raise ValueError(f"conv2d_transpose expected a bias of shape ({o},). Received: {b.shape}")
        y = y + b
    return transpose(y, (0, 3, 1, 2)) if first else y


def depthwise_conv2d(
    x: Any,
    w: Any,
    b: Any = None,
    strides: Any = 1,
    padding: Any = "valid",
    dilations: Any = 1,
    data_format: str | None = None,
) -> Tensor:
    """Convolve every channel with its own ``M`` kernels (KH, KW, C, M): (N, H, W, C) -> (N, OH, OW, C*M)."""
    x, w = _operands(x, w, "depthwise_conv2d")
    kh, kw, c, m = w.shape
    grouped = reshape(w, (kh, kw, 1, c * m))
    return conv2d(x, grouped, b, strides, padding, dilations, c, data_format)


def separable_conv2d(
    x: Any,
    depthwise: Any,
    pointwise: Any,
    b: Any = None,
    strides: Any = 1,
    padding: Any = "valid",
    dilations: Any = 1,
    data_format: str | None = None,
) -> Tensor:
    """A depthwise convolution (KH, KW, C, M), then a 1x1 convolution (1, 1, C*M, O) across its channels."""
    y = depthwise_conv2d(x, depthwise, None, strides, padding, dilations, data_format)
    return conv2d(y, pointwise, b, data_format=data_format)


def true_conv2d(x: Any, w: Any, b: Any = None, **options: Any) -> Tensor:
    """Convolution as in mathematics: the kernel is flipped on both axes; options as in :func:`conv2d`.

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = tc.ops.reshape([[80.0, 0, 50], [70, 20, 10], [0, 40, 0]], (1, 3, 3, 1))
    >>> tc.ops.true_conv2d(x, tc.ops.reshape([0, 1, 0.5, -1], (2, 2, 1, 1)))[0, :, :, 0].tolist()
    [[-10.0, 45.0], [-60.0, 25.0]]
    """
    return conv2d(x, flip(as_tensor(w), (0, 1)), b, **options)


def _operands(x: Any, w: Any, name: str) -> tuple[Tensor, Tensor]:
    """Images and kernels as tensors of one float type and of four axes."""
    x, w = promote(as_tensor(x), as_tensor(w), floating=True)
    for tensor, meaning in ((x, "images of 4 axes (batch, height, width, channels)"), (w, "kernels of 4 axes")):
        if tensor.ndim != 4:
            raise ValueError(f"{name} expected {meaning}. Received: shape {tensor.shape}")
    if x.dtype != w.dtype:
        raise ValueError(f"{name} expected images and kernels of one dtype. Received: {x.dtype} and {w.dtype}")
    return x, w


def check_channels(x: Tensor, w: Tensor, b: Any, groups: int, name: str) -> Tensor | None:
    """The bias as a tensor; raise unless channels, kernels (..., C/G, O), bias and groups fit together."""
    n_channels, axis, (c, o) = x.shape[-1], w.ndim - 2, w.shape[-2:]
    if groups < 1 or n_channels != c * groups or o % groups:
        raise ValueError(
            f"{name} expected {n_channels} input channels to be {c} (kernel axis {axis}) times groups={groups}, and "
            f"{o} filters to be a multiple of groups. Received: input {x.shape} (channels last), kernel {w.shape}"
        )
    if b is None:
        return None
    bias = promote(x, as_tensor(b))[1]
    if bias.shape != (o,):
        raise ValueError(f"{name} expected a bias of shape ({o},). Received: {bias.shape}")
    return bias


def _is_channels_first(data_format: str | None) -> bool:
    return check_data_format(data_format or config.image_data_format()) == "channels_first"


