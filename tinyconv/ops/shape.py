"""Operations that move elements without computing: each is linear, and its backward is its own adjoint."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv.function import Function
from tinyconv.geometry import normalize_axis
from tinyconv.ops.elementwise import as_tensor, promote_all, sum_to
from tinyconv.tensor import Tensor

Axis = int | Sequence[int] | None


def as_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """``axis`` as a tuple of axes counted from the front; ``None`` is all of them."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(normalize_axis(a, ndim) for a in ([axis] if isinstance(axis, int | np.integer) else axis))
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis must not name an axis twice. Received: {axis}")
    return axes


def _along(axis: int, entry: Any) -> tuple[Any, ...]:
    """The index that applies ``entry`` to ``axis`` and takes all of the axes before it."""
    return (*(slice(None),) * axis, entry)


class Reshape(Function):
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Any) -> Any:
        self.x_shape = x.shape
        return self.backend.reshape(x, self.shape)

    def backward(self, dy: Tensor) -> Tensor:
        return reshape(dy, self.x_shape)


def reshape(x: Any, shape: int | Sequence[int]) -> Tensor:
    """The elements of ``x``, in C order, as ``shape``; one entry may be -1 and follows from the others."""
    x = as_tensor(x)
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(operator.index(n) for n in shape)
    if x.shape == shape:
        return x
    try:
        return Reshape(shape)(x)
    except ValueError:
        raise ValueError(
            f"reshape expected a shape of {x.size} elements for a tensor of shape {x.shape}. Received: {shape}"
        ) from None


class Transpose(Function):
    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Any) -> Any:
        return self.backend.transpose(x, self.axes)

    def backward(self, dy: Tensor) -> Tensor:
        return transpose(dy, tuple(int(i) for i in np.argsort(self.axes)))


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """Permute the axes of ``x``; without ``axes`` reverse them."""
    x = as_tensor(x)
    axes = tuple(range(x.ndim))[::-1] if axes is None else tuple(normalize_axis(a, x.ndim) for a in axes)
    if sorted(axes) != list(range(x.ndim)):
        raise ValueError(f"axes must be a permutation of the {x.ndim} axes. Received: {axes}")
    return x if axes == tuple(range(x.ndim)) else Transpose(axes)(x)


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Exchange two axes."""
    x = as_tensor(x)
    axes = list(range(x.ndim))
    i, j = normalize_axis(axis1, x.ndim), normalize_axis(axis2, x.ndim)
    axes[i], axes[j] = axes[j], axes[i]
    return transpose(x, axes)


def moveaxis(x: Any, source: int, destination: int) -> Tensor:
    """Move one axis to another place; the others keep their order."""
    x = as_tensor(x)
    axes = [axis for axis in range(x.ndim) if axis != normalize_axis(source, x.ndim)]
    axes.insert(normalize_axis(destination, x.ndim), normalize_axis(source, x.ndim))
    return transpose(x, axes)


class BroadcastTo(Function):
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Any) -> Any:
        self.x_shape = x.shape
        return self.backend.broadcast_to(x, self.shape)

    def backward(self, dy: Tensor) -> Tensor:
        return sum_to(dy, self.x_shape)


def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """``x`` repeated along new leading axes and along axes of size 1, up to ``shape``."""
    x, shape = as_tensor(x), tuple(shape)
    return x if x.shape == shape else BroadcastTo(shape)(x)


def expand_dims(x: Any, axis: int | Sequence[int]) -> Tensor:
    """Insert axes of size 1, which are those of ``axis`` in the result."""
    x = as_tensor(x)
    ndim = x.ndim + np.size(axis)
    axes, sizes = as_axes(axis, ndim), iter(x.shape)
    return reshape(x, [1 if i in axes else next(sizes) for i in range(ndim)])


def squeeze(x: Any, axis: Axis = None) -> Tensor:
    """Remove axes of size 1: all of them, or those of ``axis``."""
    x = as_tensor(x)
    axes = as_axes([i for i, n in enumerate(x.shape) if n == 1] if axis is None else axis, x.ndim)
    for a in axes:
        if x.shape[a] != 1:
            raise ValueError(f"squeeze expected size 1 on axis {a}. Received: shape {x.shape}")
    return reshape(x, [n for i, n in enumerate(x.shape) if i not in axes])


class Concatenate(Function):
    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *xs: Any) -> Any:
        self.ends = np.cumsum([x.shape[self.axis] for x in xs]).tolist()
        return self.backend.concatenate(xs, self.axis)

    def backward(self, dy: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(
            dy[_along(self.axis, slice(start, end))] if wanted else None
            for start, end, wanted in zip([0, *self.ends], self.ends, self.needs_input_grad, strict=False)
        )


def concatenate(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors of equal shape, but for ``axis``, along that axis.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.concatenate([[1.0], [2.0, 3.0]]).tolist()
    [1.0, 2.0, 3.0]
    """
    xs = promote_all([as_tensor(x) for x in tensors])
    if not xs:
        raise ValueError("concatenate expected at least one tensor. Received: none")
    axis = normalize_axis(axis, xs[0].ndim)
    for x in xs[1:]:
        if x.ndim != xs[0].ndim or any(
            m != n for i, (m, n) in enumerate(zip(x.shape, xs[0].shape, strict=True)) if i != axis
        ):
            raise ValueError(
                f"concatenate expected shapes that differ on axis {axis} only. Received: {[x.shape for x in xs]}"
            )
    return Concatenate(axis)(*xs)


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors of equal shape along a new axis."""
    return concatenate([expand_dims(x, axis) for x in tensors], axis)


def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Cut ``x`` along ``axis`` into equal sections, or before the given indices."""
    x = as_tensor(x)
    axis = normalize_axis(axis, x.ndim)
    n = x.shape[axis]
    if isinstance(indices_or_sections, int):
        if indices_or_sections < 1 or n % indices_or_sections:
            raise ValueError(f"split expected a divisor of {n} sections. Received: {indices_or_sections}")
        step = n // indices_or_sections
        cuts = list(range(step, n, step)) if step else [0] * (indices_or_sections - 1)
    else:
        cuts = list(indices_or_sections)
    return [x[_along(axis, slice(start, end))] for start, end in zip([0, *cuts], [*cuts, n], strict=True)]


class Pad(Function):
    def __init__(self, widths: tuple[tuple[int, int], ...], value: float) -> None:
        self.widths, self.value = widths, value

    def forward(self, x: Any) -> Any:
        self.x_shape = x.shape
        return self.backend.pad(x, self.widths, self.value)

    def backward(self, dy: Tensor) -> Tensor:
        inner = tuple(
            slice(before, before + n) for (before, _), n in zip(self.widths, self.x_shape, strict=True)
        )
        return dy[inner]


def pad(x: Any, widths: Any, mode: str = "constant", value: float = 0) -> Tensor:
    """Surround ``x`` with cells.

    Parameters
    ----------
    x : array_like or Tensor
    widths : int, pair, or one pair per axis
        Cells (before, after); an integer or a single pair serves every axis.
    mode : str
        ``"constant"`` (``value``), ``"edge"`` (replicate), ``"reflect"`` (reflect-101), ``"symmetric"`` or
        ``"wrap"``, as in ``numpy.pad``.
    value : number
        Fill of ``"constant"``.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.pad([1.0, 2.0, 3.0], 2, mode="reflect").tolist()
    [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]
    """
    x = as_tensor(x)
    pairs = np.broadcast_to(np.asarray(widths, dtype=int), (x.ndim, 2))
    if pairs.size and pairs.min() < 0:
        raise ValueError(f"pad expected widths >= 0. Received: {widths!r}")
    if mode == "constant":
        return Pad(tuple((int(lo), int(hi)) for lo, hi in pairs), value)(x)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(
            f"mode must be 'constant', 'edge', 'reflect', 'symmetric' or 'wrap'. Received: {mode!r}"
        )
    for axis, (lo, hi) in enumerate(pairs):  # every border is a choice of existing rows
        if lo or hi:
            rows = np.pad(np.arange(x.shape[axis]), (lo, hi), mode=mode)  # type: ignore[call-overload]
            x = x[_along(axis, rows)]
    return x


class GetItem(Function):
    def __init__(self, index: Any) -> None:
        self.item = index

    def forward(self, x: Any) -> Any:
        self.x_shape = x.shape
        return self.backend.getitem(x, self.item)

    def backward(self, dy: Tensor) -> Tensor:
        return ScatterAdd(self.x_shape, self.item)(dy)


class ScatterAdd(Function):
    """Zeros with values added at an index: the adjoint of ``GetItem``."""

    def __init__(self, shape: tuple[int, ...], index: Any) -> None:
        self.shape, self.item = shape, index

    def forward(self, updates: Any) -> Any:
        return self.backend.scatter_add(self.shape, self.item, updates)

    def backward(self, dy: Tensor) -> Tensor:
        return GetItem(self.item)(dy)


def getitem(x: Any, index: Any) -> Tensor:
    """``x[index]``: integers, slices, ``...``, ``None``, integer arrays or boolean masks, as in NumPy."""
    entries = index if isinstance(index, tuple) else (index,)
    plain = tuple(entry.data if isinstance(entry, Tensor) else entry for entry in entries)
    return GetItem(plain if isinstance(index, tuple) else plain[0])(as_tensor(x))


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Entries ``indices`` (integers of any shape) along ``axis`` (of the flattened tensor by default)."""
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    return getitem(x, _along(normalize_axis(axis, x.ndim), as_tensor(indices)))


def take_along_axis(x: Any, indices: Any, axis: int) -> Tensor:
    """For each position of ``indices`` the entry of ``x`` that it names along ``axis``."""
    x, chosen = as_tensor(x), as_tensor(indices)
    axis = normalize_axis(axis, x.ndim)
    grid: list[Any] = list(np.ogrid[tuple(slice(n) for n in chosen.shape)])
    grid[axis] = chosen
    return getitem(x, tuple(grid))


def flip(x: Any, axis: Axis = None) -> Tensor:
    """Reverse the order of the elements along ``axis`` (every axis by default)."""
    x = as_tensor(x)
    chosen = as_axes(axis, x.ndim)
    return x[tuple(slice(None, None, -1) if i in chosen else slice(None) for i in range(x.ndim))]


def repeat(x: Any, repeats: int, axis: int | None = None) -> Tensor:
    """Every entry along ``axis`` (of the flattened tensor by default) ``repeats`` times in a row."""
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis = normalize_axis(axis, x.ndim)
    shape = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    y = broadcast_to(expand_dims(x, axis + 1), shape)  # (..., n, repeats, ...)
    return reshape(y, (*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1 :]))


def tile(x: Any, repeats: int | Sequence[int]) -> Tensor:
    """``x`` laid side by side ``repeats`` times along each axis."""
    x = as_tensor(x)
    counts = (repeats,) if isinstance(repeats, int) else tuple(repeats)
    ndim = max(x.ndim, len(counts))
    counts = (1,) * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - x.ndim) + x.shape
    y = reshape(x, [n for size in shape for n in (1, size)])
    y = broadcast_to(y, [n for pair in zip(counts, shape, strict=True) for n in pair])
    return reshape(y, [count * size for count, size in zip(counts, shape, strict=True)])


def roll(x: Any, shift: int, axis: int | None = None) -> Tensor:
    """Shift the elements along ``axis`` (by default in C order); what falls off one end comes back at the other."""
    x = as_tensor(x)
    if axis is None:
        return reshape(roll(reshape(x, -1), shift, 0), x.shape)
    axis = normalize_axis(axis, x.ndim)
    rows = np.roll(np.arange(x.shape[axis]), shift)
    return take(x, rows, axis)


def flatten(x: Any) -> Tensor:
    """All elements of ``x``, in C order, on one axis."""
    return reshape(x, -1)


