"""Convolution and pooling by loops over the output, in float64: an oracle that shares nothing with the library."""

import numpy as np


def resolve_padding(padding, size, kernel, strides, dilations=(1, 1)):
    """Every form of padding as ((top, bottom), (left, right)); SAME as in TensorFlow: the odd cell at the end."""
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding in ("same", "same_lower"):
        pads = []
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
            total = max((int(np.ceil(n / s)) - 1) * s + (k - 1) * d + 1 - n, 0)
            pads.append((total // 2, total - total // 2))
        return tuple(pads) if padding == "same" else tuple((hi, lo) for lo, hi in pads)
    if isinstance(padding, int):
        return ((padding, padding), (padding, padding))
    if isinstance(padding[0], int):
        return tuple((p, p) for p in padding)
    return padding


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def output_size(n, k, s, d, lo, hi):
    """Count the places at which a window of ``k`` cells fits, one by one."""
    return len([start for start in range(0, n + lo + hi, s) if start + (k - 1) * d < n + lo + hi])


def conv2d(x, w, b=None, strides=1, padding="valid", dilations=1, groups=1, data_format="channels_last"):
    if data_format == "channels_first":
        y = conv2d(np.moveaxis(x, 1, 3), w, b, strides, padding, dilations, groups)
        return np.moveaxis(y, 3, 1)
    (sh, sw), (dh, dw), (kh, kw, cg, o) = pair(strides), pair(dilations), w.shape
    pads = resolve_padding(padding, x.shape[1:3], (kh, kw), (sh, sw), (dh, dw))
    oh = output_size(x.shape[1], kh, sh, dh, *pads[0])
    ow = output_size(x.shape[2], kw, sw, dw, *pads[1])
    x = np.pad(x.astype(np.float64), ((0, 0), *pads, (0, 0)))
    y = np.zeros((x.shape[0], oh, ow, o)) + (0 if b is None else b)
    for i, j, u, v, k in np.ndindex(oh, ow, kh, kw, o):
        group = k // (o // groups)
        cells = x[:, i * sh + u * dh, j * sw + v * dw, group * cg : (group + 1) * cg]
        y[:, i, j, k] += (cells * w[u, v, :, k]).sum(axis=1)
    return y


def conv2d_transpose(x, w, b=None, strides=1, padding="valid", output_padding=None, dilations=1):
    """Every input cell adds its kernel, times its value, into a big canvas; ``padding`` cells are cut from its rim."""
    (sh, sw), (dh, dw), (kh, kw, o, _) = pair(strides), pair(dilations), w.shape
    n, h, width, _ = x.shape
    rows = transposed_axis(h, kh, sh, dh, padding, output_padding, 0)
    cols = transposed_axis(width, kw, sw, dw, padding, output_padding, 1)
    canvas = np.zeros((n, h * sh + kh * dh + sh + rows[1], width * sw + kw * dw + sw + cols[1], o))
    for i, j, u, v in np.ndindex(h, width, kh, kw):
        canvas[:, i * sh + u * dh, j * sw + v * dw] += x[:, i, j].astype(np.float64) @ w[u, v].T
    y = canvas[:, rows[0] : rows[0] + rows[1], cols[0] : cols[0] + cols[1]]
    return y if b is None else y + b


def transposed_axis(n, k, s, d, padding, output_padding, axis):
    """(first cell kept, number of cells kept) of one axis of the canvas, by the rules of Keras."""
    extent = (k - 1) * d + 1
    full = (n - 1) * s + extent
    extra = None if output_padding is None else pair(output_padding)[axis]
    if padding == "valid":
        return 0, n * s + max(extent - s, 0) if extra is None else full + extra
    if padding in ("same", "same_lower"):
        size = n * s if extra is None else full - 2 * (extent // 2) + extra
        cut = max(full - size, 0)
        return (cut // 2 if padding == "same" else cut - cut // 2), size
    lo, hi = resolve_padding(padding, None, None, None)[axis]
    return lo, full - lo - hi + (extra or 0)


def pool2d(reduce, x, pool_size=2, strides=None, padding="valid", data_format="channels_last"):
    """``reduce(cells)`` of the cells (N, number of cells, C) of each window that lie inside the image."""
    if data_format == "channels_first":
        return np.moveaxis(pool2d(reduce, np.moveaxis(x, 1, 3), pool_size, strides, padding), 3, 1)
    kernel = pair(pool_size)
    strides = kernel if strides is None else pair(strides)
    n, h, w, c = x.shape
    pads = resolve_padding(padding, (h, w), kernel, strides)
    oh, ow = (output_size(m, k, s, 1, *p) for m, k, s, p in zip((h, w), kernel, strides, pads, strict=True))
    y = np.zeros((n, oh, ow, c))
    for i, j in np.ndindex(oh, ow):
        top, left = i * strides[0] - pads[0][0], j * strides[1] - pads[1][0]
        cells = x[:, max(top, 0) : max(top + kernel[0], 0), max(left, 0) : max(left + kernel[1], 0)]
        y[:, i, j] = reduce(cells.astype(np.float64).reshape(n, cells.shape[1] * cells.shape[2], c))
    return y


def max_pool2d(x, pool_size=2, strides=None, padding="valid", data_format="channels_last"):
    return pool2d(lambda cells: cells.max(axis=1), x, pool_size, strides, padding, data_format).astype(x.dtype)


def avg_pool2d(x, pool_size=2, strides=None, padding="valid", data_format="channels_last", count_include_pad=False):
    kh, kw = pair(pool_size)

    def mean(cells):
        return cells.sum(axis=1) / (kh * kw if count_include_pad else cells.shape[1])

    return pool2d(mean, x, pool_size, strides, padding, data_format)
