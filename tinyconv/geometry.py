"""Output sizes and padding: the only place in tinyconv with this arithmetic.

Everything here is about one question: a window of size ``k`` slides over ``n`` cells, where does it stop?
Letters: ``N`` batch, ``H W`` height and width, ``C`` input channels, ``O`` output channels, ``KH KW`` kernel,
``SH SW`` stride, ``DH DW`` dilation, ``OH OW`` output.

Source: (W - F + 2P) / S + 1 and the VALID/SAME rules as in V. Dumoulin and F. Visin, "A guide to convolution
arithmetic for deep learning", arXiv 1603.07285.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

Pair = tuple[int, int]
PadPair = tuple[Pair, Pair]  # ((top, bottom), (left, right))


def as_pair(value: Any, name: str, minimum: int = 1) -> Pair:
    """Return ``value`` as two integers: an integer stands for both axes.

    Parameters
    ----------
    value : int or sequence of two int
        A size for height and width.
    name : str
        What the value is, for the error message.
    minimum : int
        Smallest allowed entry.

    Examples
    --------
    >>> as_pair(3, "kernel_size")
    (3, 3)
    """
    entries = value if isinstance(value, Sequence) and not isinstance(value, str) else (value, value)
    try:
        pair = tuple(operator.index(entry) for entry in entries)
    except TypeError:
        pair = ()
    if len(pair) != 2 or isinstance(value, bool) or min(pair) < minimum:
        raise ValueError(
            f"{name} must be an integer >= {minimum} or a pair of them (height, width). Received: {value!r}"
        )
    return pair


def normalize_axis(axis: int, ndim: int) -> int:
    """Return ``axis`` counted from the front; raise ``ValueError`` when an array of ``ndim`` axes lacks it."""
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis must lie in [{-ndim}, {ndim - 1}] for {ndim} axes. Received: {axis}")
    return axis % ndim


def check_data_format(data_format: str) -> str:
    """Return ``data_format`` when it is ``"channels_last"`` or ``"channels_first"``, else raise."""
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f"data_format must be 'channels_last' or 'channels_first'. Received: {data_format!r}"
        )
    return data_format


class Window(NamedTuple):
    """A sliding window with everything settled: the geometry that backends compute with.

    Examples
    --------
    >>> window = make_window((227, 227), 11, strides=4)
    >>> window.output_size((227, 227))
    (55, 55)
    """

    kernel: Pair
    strides: Pair
    padding: PadPair
    dilations: Pair

    def output_size(self, size: Sequence[int]) -> Pair:
        """Number of window positions (OH, OW) over an input of ``size`` (H, W)."""
        (h, w), (kh, kw), (sh, sw) = size, self.extent(), self.strides
        (top, bottom), (left, right) = self.padding
        return (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1

    def extent(self) -> Pair:
        """Rows and columns that one dilated window spans."""
        (kh, kw), (dh, dw) = self.kernel, self.dilations
        return (kh - 1) * dh + 1, (kw - 1) * dw + 1


def make_window(
    size: Sequence[int],
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    dilations: Any = 1,
    strict: bool = False,
) -> Window:
    """Settle kernel, strides, padding and dilations for an input of ``size`` (H, W).

    Parameters
    ----------
    size : (int, int)
        Height and width of the input.
    kernel, strides, dilations : int or pair of int
        Window size, step, and distance between the window's cells.
    padding : int, pair, pair of pairs, or str
        ``p``; ``(ph, pw)``; ``((top, bottom), (left, right))``; ``"valid"`` (none); ``"same"`` (output
        ``ceil(n / s)``, the odd cell at the end, as TensorFlow and ONNX SAME_UPPER) or ``"same_lower"``
        (the odd cell at the start). Any case.
    strict : bool
        Reject strides that do not tile the padded input instead of dropping the surplus cells at the end.

    Raises
    ------
    ValueError
        For values out of range, a window larger than the padded input, or strides that do not tile with
        ``strict=True``.

    Examples
    --------
    >>> make_window((13, 13), 6, strides=5, padding="same").padding
    ((1, 2), (1, 2))
    """
    kernel = as_pair(kernel, "kernel size")
    strides = as_pair(strides, "strides")
    dilations = as_pair(dilations, "dilations")
    unpadded = Window(kernel, strides, ((0, 0), (0, 0)), dilations)
    window = unpadded._replace(padding=_resolve_padding(padding, size, unpadded.extent(), strides))
    for axis, n, extent, step, (lo, hi) in zip(
        ("height", "width"), size, window.extent(), strides, window.padding, strict=True
    ):
        if n + lo + hi < extent:
            raise ValueError(
                f"The window must fit into the padded input: expected {axis} >= {extent}. "
                f"Received: {axis} {n} with padding {lo} + {hi}"
            )
        if strict and (n + lo + hi - extent) % step:
            raise ValueError(
                f"The strides must tile the input (strict=True): expected ({n} + {lo} + {hi} - {extent}) "
                f"/ {step} + 1 to be an integer. Received: {axis} output "
                f"{(n + lo + hi - extent) / step + 1:g}"
            )
    return window


def _resolve_padding(padding: Any, size: Sequence[int], extent: Pair, strides: Pair) -> PadPair:
    """Every form of padding as ((top, bottom), (left, right))."""
    if isinstance(padding, str):
        mode = padding.lower()
        if mode == "valid":
            return ((0, 0), (0, 0))
        if mode in ("same", "same_lower"):
            odd_first = mode == "same_lower"
            h, w = (_same_padding(n, k, s, odd_first) for n, k, s in zip(size, extent, strides, strict=True))
            return h, w
    try:
        if isinstance(padding, Sequence) and len(padding) == 2 and all(isinstance(p, Sequence) for p in padding):
            top_bottom, left_right = (as_pair(tuple(entry), "padding", 0) for entry in padding)
            return top_bottom, left_right
        high, wide = as_pair(padding, "padding", 0)
        return (high, high), (wide, wide)
    except ValueError:
        raise ValueError(
            "padding must be an integer >= 0, (height, width), ((top, bottom), (left, right)), 'valid', "
            f"'same' or 'same_lower'. Received: {padding!r}"
        ) from None


def _same_padding(n: int, extent: int, stride: int, odd_first: bool) -> Pair:
    total = max((-(-n // stride) - 1) * stride + extent - n, 0)
    half = total // 2
    return (total - half, half) if odd_first else (half, total - half)


def conv_output_size(
    n: int, kernel: int, stride: int = 1, padding: Any = "valid", dilation: int = 1, strict: bool = False
) -> int:
    """Output size of one axis: ``(n + padding - kernel) / stride + 1``, rounded down.

    Examples
    --------
    >>> conv_output_size(227, 11, 4), conv_output_size(13, 6, 5, "same")
    (55, 3)
    >>> conv_output_size(224, 11, 4, strict=True)
    Traceback (most recent call last):
        ...
    ValueError: The strides must tile the input (strict=True): expected (224 + 0 + 0 - 11) / 4 + 1 to be an \
integer. Received: height output 54.25
    """
    return make_window((n, n), kernel, stride, padding, dilation, strict).output_size((n, n))[0]


def make_pool_window(
    size: Sequence[int], pool_size: Any, strides: Any = None, padding: Any = "valid", strict: bool = False
) -> Window:
    """A pooling window: strides default to the pool size; no window may lie in the padding alone.

    Examples
    --------
    >>> make_pool_window((28, 28), 2).output_size((28, 28))
    (14, 14)
    """
    pool_size = as_pair(pool_size, "pool_size")
    window = make_window(size, pool_size, pool_size if strides is None else strides, padding, 1, strict)
    for k, (lo, hi) in zip(pool_size, window.padding, strict=True):
        if max(lo, hi) >= k:
            raise ValueError(
                f"Pooling needs padding smaller than the pool size {pool_size}, or windows would hold nothing "
                f"but padding. Received: padding {window.padding}"
            )
    return window


def make_transposed_window(
    size: Sequence[int],
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    dilations: Any = 1,
    output_padding: Any = None,
) -> tuple[Window, Pair]:
    """Geometry of a transposed convolution over an input of ``size`` (H, W).

    A transposed convolution is the adjoint of an ordinary one, so it is described by that ordinary
    convolution's window and by the size (OH, OW) of *its* input, which is the result here. As in Keras,
    "valid" gives ``n * s + max(k - s, 0)``, "same" gives ``n * s``; explicit padding gives
    ``(n - 1) * s + k - lo - hi``. ``output_padding`` (smaller than the stride) adds cells at the end, and when
    it is given, "valid" and "same" also start from ``(n - 1) * s + k - lo - hi``.

    Returns
    -------
    window : Window
        The window of the convolution whose adjoint is taken.
    output_size : (int, int)

    Examples
    --------
    >>> make_transposed_window((4, 4), 3, strides=2, padding="same")[1]
    (8, 8)
    """
    kernel, strides = as_pair(kernel, "kernel size"), as_pair(strides, "strides")
    window = Window(kernel, strides, ((0, 0), (0, 0)), as_pair(dilations, "dilations"))
    extra = None if output_padding is None else as_pair(output_padding, "output_padding", 0)
    if extra is not None and any(e >= s for e, s in zip(extra, strides, strict=True)):
        raise ValueError(f"output_padding must be smaller than strides {strides}. Received: {output_padding!r}")
    if isinstance(padding, str):
        pads, output = zip(
            *(
                _transposed_axis(n, k, s, padding, None if extra is None else extra[axis])
                for axis, (n, k, s) in enumerate(zip(size, window.extent(), strides, strict=True))
            ),
            strict=True,
        )
    else:
        pads = _resolve_padding(padding, size, window.extent(), strides)
        output = tuple(
            (n - 1) * s + k - lo - hi + (extra[axis] if extra else 0)
            for axis, (n, k, s, (lo, hi)) in enumerate(
                zip(size, window.extent(), strides, pads, strict=True)
            )
        )
    if min(output) < 1:
        raise ValueError(
            f"A transposed convolution must have an output. Expected every size >= 1, received: {tuple(output)}"
        )
    window = window._replace(padding=tuple(pads))
    return window, (output[0], output[1])


def _transposed_axis(n: int, extent: int, stride: int, padding: str, extra: int | None) -> tuple[Pair, int]:
    """Padding (of the ordinary convolution) and output size of one axis for the named paddings."""
    mode = padding.lower()
    if mode not in ("valid", "same", "same_lower"):
        raise ValueError(f"padding must be 'valid', 'same' or 'same_lower'. Received: {padding!r}")
    if mode == "valid":
        output = n * stride + max(extent - stride, 0) if extra is None else (n - 1) * stride + extent + extra
        return (0, 0), output
    if extra is None:
        output = n * stride
    else:
        output = (n - 1) * stride + extent - 2 * (extent // 2) + extra
    # The ordinary convolution must produce n windows over `output` cells.
    total = max((n - 1) * stride + extent - output, 0)
    half = total // 2
    return ((total - half, half) if mode == "same_lower" else (half, total - half)), output
