"""Layers that make one tensor of several.

Arithmetic ones broadcast: sizes on an axis are equal or 1, and inputs of fewer axes get axes of size 1 after the batch
axis. Each class has a function of the same name in lower case, as in Keras: ``add([x, y])`` is ``Add()([x, y])``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.geometry import normalize_axis
from tinyconv.layers.base import Layer, Shape
from tinyconv.tensor import Tensor

Shapes = Sequence[Shape]


class Merge(Layer):
    """A layer called on a list of tensors."""

    number: int | None = None  # of inputs, where it is fixed
    supports_masking = True

    def compute_mask(self, inputs: Sequence[Tensor], mask: Any = None) -> Any:
        """Steps that count in one of the inputs; no mask unless all have one."""
        return None if mask is None or any(m is None for m in mask) else reduce(ops.logical_or, mask)

    def check_input(self, input_shape: Any) -> None:
        expected = "at least one tensor" if self.number is None else f"{self.number} tensors"
        if not isinstance(input_shape, list) or not input_shape:
            raise ValueError(f"expected a list of {expected}. Received: one of shape {input_shape}")
        if self.number is not None and len(input_shape) != self.number:
            raise ValueError(f"expected a list of {expected}. Received: {len(input_shape)}, of shapes {input_shape}")
        if () in input_shape:
            raise ValueError(f"expected tensors with a batch axis. Received: shapes {input_shape}")


class Arithmetic(Merge):
    """A merge that works element by element, with broadcasting."""

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        ndim = max(x.ndim for x in inputs)
        aligned = [ops.reshape(x, _aligned(x.shape, ndim)) for x in inputs]
        self.compute_output_shape([x.shape for x in inputs])  # raises for shapes that do not broadcast
        return self._merge(aligned)

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Shapes) -> Shape:
        ndim = max(len(shape) for shape in input_shape)
        merged: list[int | None] = []
        for sizes in zip(*(_aligned(shape, ndim) for shape in input_shape), strict=True):
            fixed = {n for n in sizes if n not in (1, None)}
            if len(fixed) > 1:
                raise ValueError(f"expected sizes that are equal or 1 on each axis. Received: shapes {input_shape}")
            merged.append(fixed.pop() if fixed else None if None in sizes else 1)
        return tuple(merged)


class Add(Arithmetic):
    """Sum of the inputs, as in a residual connection.

    Inputs: a list of tensors (N, ...) that broadcast. Outputs: (N, ...).

    Raises
    ------
    ValueError
        For a single tensor, or shapes that do not broadcast.

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = tc.Tensor([[1.0, 2.0]])
    >>> tc.layers.Add()([x, x, x]).tolist()
    [[3.0, 6.0]]
    """

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return reduce(ops.add, inputs)


class Subtract(Arithmetic):
    """First input minus the second.

    Inputs: a list of two tensors (N, ...) that broadcast. Outputs: (N, ...).

    Examples
    --------
    >>> import tinyconv as tc
    >>> x, y = tc.Tensor([[1.0, 2.0]]), tc.Tensor([[5.0]])
    >>> tc.layers.Subtract()([x, y]).tolist()
    [[-4.0, -3.0]]
    """

    number = 2

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return inputs[0] - inputs[1]


class Multiply(Arithmetic):
    """Product of the inputs, element by element, as in squeeze-and-excitation.

    Inputs: a list of tensors (N, ...) that broadcast. Outputs: (N, ...).

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = tc.Tensor([[1.0, 2.0]])
    >>> tc.layers.Multiply()([x, x]).tolist()
    [[1.0, 4.0]]
    """

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return reduce(ops.multiply, inputs)


class Average(Arithmetic):
    """Mean of the inputs.

    Inputs: a list of tensors (N, ...) that broadcast. Outputs: (N, ...).

    Examples
    --------
    >>> import tinyconv as tc
    >>> x, y = tc.Tensor([[1.0, 2.0]]), tc.Tensor([[3.0, 6.0]])
    >>> tc.layers.Average()([x, y]).tolist()
    [[2.0, 4.0]]
    """

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return reduce(ops.add, inputs) / len(inputs)


class Maximum(Arithmetic):
    """Largest of the inputs, element by element; equal ones share the gradient.

    Inputs: a list of tensors (N, ...) that broadcast. Outputs: (N, ...).

    Examples
    --------
    >>> import tinyconv as tc
    >>> x, y = tc.Tensor([[1.0, 6.0]]), tc.Tensor([[3.0, 2.0]])
    >>> tc.layers.Maximum()([x, y]).tolist()
    [[3.0, 6.0]]
    """

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return reduce(ops.maximum, inputs)


class Minimum(Arithmetic):
    """Smallest of the inputs, element by element; equal ones share the gradient.

    Inputs: a list of tensors (N, ...) that broadcast. Outputs: (N, ...).

    Examples
    --------
    >>> import tinyconv as tc
    >>> x, y = tc.Tensor([[1.0, 6.0]]), tc.Tensor([[3.0, 2.0]])
    >>> tc.layers.Minimum()([x, y]).tolist()
    [[1.0, 2.0]]
    """

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return reduce(ops.minimum, inputs)


class Concatenate(Merge):
    """Inputs one after the other along ``axis``.

    Parameters
    ----------
    axis : int
        -1, or 1 for the channels of ``channels_first``.

    Inputs: a list of tensors of equal shapes but for ``axis``. Outputs: that shape, sizes along ``axis`` added.

    Raises
    ------
    ValueError
        For a single tensor, or shapes that differ on another axis.

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = tc.Tensor([[1.0, 2.0]])
    >>> tc.layers.Concatenate()([x, 3 * x]).tolist()
    [[1.0, 2.0, 3.0, 6.0]]
    """

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return ops.concatenate(inputs, self.axis)

    def compute_mask(self, inputs: Sequence[Tensor], mask: Any = None) -> Any:
        """Steps that count in one of the inputs; along another axis than the last, the masks one after the other."""
        if mask is None:
            return None
        whole = [np.ones(x.shape, bool) if m is None else _over(m, x.shape) for x, m in zip(inputs, mask, strict=True)]
        return ops.any(ops.concatenate(whole, self.axis), axis=-1)

    def compute_output_shape(self, input_shape: Shapes) -> Shape:
        axis = normalize_axis(self.axis, len(input_shape[0]))
        merged: list[int | None] = []
        if len({len(shape) for shape in input_shape}) > 1:
            raise ValueError(f"expected equal numbers of axes. Received: shapes {input_shape}")
        for i, sizes in enumerate(zip(*input_shape, strict=True)):
            known = [n for n in sizes if n is not None]
            if i == axis:
                merged.append(sum(known) if len(known) == len(sizes) else None)
            elif len(set(known)) > 1:
                raise ValueError(f"expected shapes that differ on axis {axis} only. Received: {input_shape}")
            else:
                merged.append(known[0] if known else None)
        return tuple(merged)


class Dot(Merge):
    """Sum of products of two inputs along an axis of each, sample by sample.

    Parameters
    ----------
    axes : int or (int, int)
        Axis of both, or of the first and of the second; not the batch axis.
    normalize : bool
        Scale the inputs to length 1 along their axes first: the result is then the cosine similarity.

    Inputs: a list of two tensors (N, ...). Outputs: (N, other axes of the first, other axes of the second), or (N, 1)
    when there are none.

    Examples
    --------
    >>> import tinyconv as tc
    >>> x, y = tc.Tensor([[1.0, 2.0]]), tc.Tensor([[3.0, 4.0]])
    >>> tc.layers.Dot(axes=1)([x, y]).tolist()
    [[11.0]]
    """

    number = 2

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **options: Any) -> None:
        super().__init__(**options)
        pair = (axes, axes) if isinstance(axes, int) else tuple(axes)
        if len(pair) != 2 or any(isinstance(a, bool) or not isinstance(a, int) or a == 0 for a in pair):
            raise ValueError(f"axes must be an integer other than 0 or a pair of them. Received: {axes!r}")
        self.axes = axes if isinstance(axes, int) else pair
        self.normalize = bool(normalize)

    def _pair(self, ndims: Sequence[int]) -> list[int]:
        axes = [self.axes] * 2 if isinstance(self.axes, int) else self.axes
        return [normalize_axis(axis, ndim) for axis, ndim in zip(axes, ndims, strict=True)]

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        axes = self._pair([x.ndim for x in inputs])
        shape = self.compute_output_shape([x.shape for x in inputs])  # raises for sizes that differ
        if self.normalize:
            inputs = [
                x / ops.sqrt(ops.maximum(ops.sum(x * x, axis, keepdims=True), 1e-12))
                for x, axis in zip(inputs, axes, strict=True)
            ]
        # n: batch, z: the axis summed over; every other axis has a letter of its own.
        letters = [list("abcdefgh"[: x.ndim]) for x in inputs]
        letters[1] = [letter.upper() for letter in letters[1]]
        for own, axis in zip(letters, axes, strict=True):
            own[0], own[axis] = "n", "z"
        rest = "".join(letter for own in letters for letter in own if letter not in "nz")
        y = ops.einsum(f"{''.join(letters[0])},{''.join(letters[1])}->n{rest}", *inputs)
        return ops.reshape(y, [n or 0 for n in shape])

    def compute_output_shape(self, input_shape: Shapes) -> Shape:
        axes = self._pair([len(shape) for shape in input_shape])
        sizes = {shape[axis] for shape, axis in zip(input_shape, axes, strict=True)} - {None}
        if 0 in axes or len(sizes) > 1:
            raise ValueError(f"expected equal sizes on axes {tuple(axes)}. Received: shapes {input_shape}")
        rest = [n for s, axis in zip(input_shape, axes, strict=True) for i, n in enumerate(s) if i not in (0, axis)]
        batch = input_shape[1][0] if input_shape[0][0] is None else input_shape[0][0]
        return (batch, *rest) if rest else (batch, 1)

    def compute_mask(self, inputs: Sequence[Tensor], mask: Any = None) -> None:
        """None: what counted is summed up."""


def add(inputs: Sequence[Any], **options: Any) -> Any:
    """``Add(**options)(inputs)``."""
    return Add(**options)(inputs)


def subtract(inputs: Sequence[Any], **options: Any) -> Any:
    """``Subtract(**options)(inputs)``."""
    return Subtract(**options)(inputs)


def multiply(inputs: Sequence[Any], **options: Any) -> Any:
    """``Multiply(**options)(inputs)``."""
    return Multiply(**options)(inputs)


def average(inputs: Sequence[Any], **options: Any) -> Any:
    """``Average(**options)(inputs)``."""
    return Average(**options)(inputs)


def maximum(inputs: Sequence[Any], **options: Any) -> Any:
    """``Maximum(**options)(inputs)``."""
    return Maximum(**options)(inputs)


def minimum(inputs: Sequence[Any], **options: Any) -> Any:
    """``Minimum(**options)(inputs)``."""
    return Minimum(**options)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **options: Any) -> Any:
    """``Concatenate(axis, **options)(inputs)``."""
    return Concatenate(axis, **options)(inputs)


def dot(inputs: Sequence[Any], axes: int | Sequence[int], normalize: bool = False, **options: Any) -> Any:
    """``Dot(axes, normalize, **options)(inputs)``."""
    return Dot(axes, normalize, **options)(inputs)


def _over(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A mask of steps repeated for every feature of inputs of ``shape``."""
    return mask if mask.ndim == len(shape) else ops.broadcast_to(ops.expand_dims(mask, -1), shape)


def _aligned(shape: Any, ndim: int) -> Any:
    """``shape`` with axes of size 1 inserted after the batch axis, up to ``ndim`` axes."""
    return (shape[0], *(1,) * (ndim - len(shape)), *shape[1:])
