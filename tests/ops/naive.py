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


# --- volumes ---------------------------------------------------------------------------------------------------


def triple(value):
    return (value,) * 3 if value is None or isinstance(value, int | str) else tuple(value)


def pads_of_volume(padding, size, kernel, strides, dilations):
    """((front, back), (top, bottom), (left, right)), axis by axis."""
    settings = zip(triple(padding), size, kernel, strides, dilations, strict=True)
    return [
        resolve_padding(p if isinstance(p, str | int) else (p, p), (n, n), (k, k), (s, s), (d, d))[0]
        for p, n, k, s, d in settings
    ]


def conv3d(x, w, b=None, strides=1, padding="valid", dilations=1, groups=1, data_format="channels_last"):
    if data_format == "channels_first":
        y = conv3d(np.moveaxis(x, 1, 4), w, b, strides, padding, dilations, groups)
        return np.moveaxis(y, 4, 1)
    strides, dilations, kernel, (cg, o) = triple(strides), triple(dilations), w.shape[:3], w.shape[3:]
    pads = pads_of_volume(padding, x.shape[1:4], kernel, strides, dilations)
    sizes = [output_size(*args, *p) for *args, p in zip(x.shape[1:4], kernel, strides, dilations, pads, strict=True)]
    x = np.pad(x.astype(np.float64), ((0, 0), *pads, (0, 0)))
    y = np.zeros((x.shape[0], *sizes, o)) + (0 if b is None else b)
    for place in np.ndindex(*sizes):
        window = [slice(i * s, i * s + (k - 1) * d + 1, d)
                  for i, s, k, d in zip(place, strides, kernel, dilations, strict=True)]  # fmt: skip
        cells = x[(slice(None), *window)]
        for k in range(o):
            group = k // (o // groups)
            part = cells[..., group * cg : (group + 1) * cg] * w[..., k]
            y[(slice(None), *place, k)] += part.sum(axis=(1, 2, 3, 4))
    return y


def conv3d_transpose(
    x, w, b=None, strides=1, padding="valid", output_padding=None, dilations=1, data_format="channels_last"
):
    """Every input cell adds its kernel, times its value, into a big canvas; ``padding`` cells are cut from its rim."""
    if data_format == "channels_first":
        y = conv3d_transpose(np.moveaxis(x, 1, 4), w, b, strides, padding, output_padding, dilations)
        return np.moveaxis(y, 4, 1)
    strides, dilations, kernel, o = triple(strides), triple(dilations), w.shape[:3], w.shape[3]
    kept = [
        transposed_axis(n, k, s, d, p if isinstance(p, str | int) else (p, p), extra, 0)
        for n, k, s, d, p, extra in zip(
            x.shape[1:4], kernel, strides, dilations, triple(padding), triple(output_padding), strict=True
        )
    ]
    wide = [n * s + k * d + s + size for n, k, s, d, (_, size)
            in zip(x.shape[1:4], kernel, strides, dilations, kept, strict=True)]  # fmt: skip
    canvas = np.zeros((x.shape[0], *wide, o))
    for place in np.ndindex(*x.shape[1:4]):
        for tap in np.ndindex(*kernel):
            cell = tuple(i * s + u * d for i, s, u, d in zip(place, strides, tap, dilations, strict=True))
            canvas[(slice(None), *cell)] += x[(slice(None), *place)].astype(np.float64) @ w[tap].T
    y = canvas[(slice(None), *(slice(first, first + size) for first, size in kept))]
    return y if b is None else y + b


def pool3d(reduce, x, pool_size=2, strides=None, padding="valid", data_format="channels_last"):
    """``reduce(cells)`` of the cells (N, number of cells, C) of each window that lie inside the volume."""
    if data_format == "channels_first":
        return np.moveaxis(pool3d(reduce, np.moveaxis(x, 1, 4), pool_size, strides, padding), 4, 1)
    kernel = triple(pool_size)
    strides = kernel if strides is None else triple(strides)
    n, *size, c = x.shape
    pads = pads_of_volume(padding, size, kernel, strides, (1, 1, 1))
    sizes = [output_size(m, k, s, 1, *p) for m, k, s, p in zip(size, kernel, strides, pads, strict=True)]
    y = np.zeros((n, *sizes, c))
    for place in np.ndindex(*sizes):
        starts = [i * s - lo for i, s, (lo, _) in zip(place, strides, pads, strict=True)]
        window = [slice(max(start, 0), max(start + k, 0)) for start, k in zip(starts, kernel, strict=True)]
        cells = x[(slice(None), *window)].astype(np.float64)
        y[(slice(None), *place)] = reduce(cells.reshape(n, int(np.prod(cells.shape[1:4])), c))
    return y


def max_pool3d(x, **options):
    return pool3d(lambda cells: cells.max(axis=1), x, **options).astype(x.dtype)


def avg_pool3d(x, pool_size=2, count_include_pad=False, **options):
    def mean(cells):
        return cells.sum(axis=1) / (np.prod(triple(pool_size)) if count_include_pad else cells.shape[1])

    return pool3d(mean, x, pool_size, **options)


# --- adaptive pooling and resizing -----------------------------------------------------------------------------


def adaptive_pool(reduce, x, output_size, data_format="channels_last"):
    """Window i of m over n cells goes from floor(i n / m) to ceil((i + 1) n / m), as in PyTorch."""
    if data_format == "channels_first":
        return np.moveaxis(adaptive_pool(reduce, np.moveaxis(x, 1, -1), output_size), -1, 1)
    n, *size, c = x.shape
    counts = [output_size] * len(size) if isinstance(output_size, int) else list(output_size)
    y = np.zeros((n, *counts, c), x.dtype if reduce is np.max else np.float64)
    for place in np.ndindex(*counts):
        window = [slice(int(np.floor(i * k / m)), int(np.ceil((i + 1) * k / m)))
                  for i, k, m in zip(place, size, counts, strict=True)]  # fmt: skip
        cells = x[(slice(None), *window)]
        y[(slice(None), *place)] = reduce(cells, axis=tuple(range(1, x.ndim - 1)))
    return y


def resize(x, size, interpolation, antialias=False, data_format="channels_last"):
    """One output cell after the other: weights by the kernel's formula, divided by their sum."""
    if data_format == "channels_first":
        return np.moveaxis(resize(np.moveaxis(x, 1, 3), size, interpolation, antialias), 3, 1)
    x = np.moveaxis(resize_rows(x.astype(np.float64), pair(size)[0], interpolation, antialias), 1, 2)
    return np.moveaxis(resize_rows(x, pair(size)[1], interpolation, antialias), 1, 2)


def resize_rows(x, m, interpolation, antialias):
    n = x.shape[1]
    y = np.zeros((x.shape[0], m, *x.shape[2:]))
    for i in range(m):
        centre, total = (i + 0.5) * n / m, 0.0
        for j in range(n):
            scale = max(n / m, 1) if antialias else 1
            d = abs(centre - (j + 0.5)) / scale
            if interpolation == "nearest":
                weight = float(j == int(centre))
            elif interpolation == "area":
                weight = max(0.0, min((i + 1) * n / m, j + 1) - max(i * n / m, j))
            elif interpolation == "bilinear":
                weight = max(0.0, 1 - d)
            elif interpolation == "bicubic":  # Keys 1981, equation 8
                weight = 1.5 * d**3 - 2.5 * d**2 + 1 if d < 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0
            else:
                a = int(interpolation[-1])
                inner = 0 < d < a
                weight = a * np.sin(np.pi * d) * np.sin(np.pi * d / a) / (np.pi * d) ** 2 if inner else float(d == 0)
            y[:, i] += weight * x[:, j]
            total += weight
        y[:, i] /= total
    return y
