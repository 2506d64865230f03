"""Layers that keep the values of a sample and give them another shape or order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import config, ops
from tinyconv.geometry import check_data_format
from tinyconv.layers.base import Layer
from tinyconv.layers.graph import Shape
from tinyconv.layers.images import as_count
from tinyconv.tensor import Tensor


class Flatten(Layer):
    """All values of a sample on one axis.

    Parameters
    ----------
    data_format : str, optional
        With ``"channels_first"`` channels are moved to the end first, so that both formats give the same order.

    Inputs: (N, ...). Outputs: (N, features).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Flatten()(np.zeros((2, 7, 7, 50))).shape
    (2, 2450)
    """

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = check_data_format(data_format or config.image_data_format())

    def check_input(self, input_shape: Shape) -> None:
        if not input_shape:
            raise ValueError("expected at least 1 axis (batch, ...). Received: shape ()")

    def call(self, inputs: Tensor) -> Tensor:
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = ops.moveaxis(inputs, 1, -1)
        return ops.reshape(inputs, (len(inputs), math.prod(inputs.shape[1:])))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], _product(input_shape[1:])


class Reshape(Layer):
    """Samples in another shape, values in the same order.

    Parameters
    ----------
    target_shape : tuple of int
        Shape of one sample of the output; one entry may be -1 and follows from the others.

    Inputs: (N, ...). Outputs: (N, *target_shape).

    Raises
    ------
    ValueError
        When samples do not have as many values as ``target_shape``.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Reshape((2, -1))(np.zeros((5, 12))).shape
    (5, 2, 6)
    """

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        entries: list[int] = [target_shape] if isinstance(target_shape, int) else list(target_shape)
        if any(not isinstance(n, int | np.integer) or n < -1 for n in entries) or entries.count(-1) > 1:
            raise ValueError(
                f"target_shape must hold integers >= 0 and at most one -1. Received: {target_shape!r}"
            )
        self.target_shape = tuple(int(n) for n in entries)

    def call(self, inputs: Tensor) -> Tensor:
        shape = self.compute_output_shape(inputs.shape)
        return ops.reshape(inputs, (len(inputs), *(n or 0 for n in shape[1:])))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        size, known = _product(input_shape[1:]), math.prod(n for n in self.target_shape if n != -1)
        free = -1 in self.target_shape
        if size is None:
            return input_shape[0], *(None if n == -1 else n for n in self.target_shape)
        if (size % known if free and known else size != known):
            raise ValueError(f"target_shape {self.target_shape} needs as many values. Received: shape {input_shape}")
        return input_shape[0], *(size // known if n == -1 else n for n in self.target_shape)


class Permute(Layer):
    """The axes of a sample in another order.

    Parameters
    ----------
    dims : tuple of int
        For each axis of the output the axis of the input, counted from 1 (the batch axis, 0, stays).

    Inputs: (N, ...). Outputs: (N, ...) permuted.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Permute((3, 1, 2))(np.zeros((5, 32, 24, 3))).shape
    (5, 3, 32, 24)
    """

    def __init__(self, dims: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"dims must be a permutation of 1..{len(self.dims)}. Received: {dims!r}")

    def check_input(self, input_shape: Shape) -> None:
        self._check_ndim(input_shape, len(self.dims) + 1, f"(batch and {len(self.dims)} to permute)")

    def call(self, inputs: Tensor) -> Tensor:
        return ops.transpose(inputs, (0, *self.dims))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], *(input_shape[axis] for axis in self.dims)


class RepeatVector(Layer):
    """Each sample ``n`` times, along a new axis.

    Parameters
    ----------
    n : int

    Inputs: (N, features). Outputs: (N, n, features).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.RepeatVector(2)([[1.0, 3.0]]).tolist()
    [[[1.0, 3.0], [1.0, 3.0]]]
    """

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(**options)
        self.n = as_count(n, "n")

    def check_input(self, input_shape: Shape) -> None:
        self._check_ndim(input_shape, 2, "(batch, features)")

    def call(self, inputs: Tensor) -> Tensor:
        return ops.repeat(ops.expand_dims(inputs, 1), self.n, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], self.n, input_shape[1]


def _product(sizes: Sequence[int | None]) -> int | None:
    """Number of values; unknown when a size is."""
    known = [n for n in sizes if n is not None]
    return math.prod(known) if len(known) == len(sizes) else None
