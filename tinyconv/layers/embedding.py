"""Layers for sequences: integers become vectors, and steps that only fill up are masked."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import backends, ops
from tinyconv.layers.base import Layer
from tinyconv.layers.graph import Shape
from tinyconv.layers.images import as_count
from tinyconv.tensor import Tensor


class Embedding(Layer):
    """A vector for every integer: row ``i`` of a table.

    Parameters
    ----------
    input_dim : int
        Number of rows; inputs are integers in [0, input_dim).
    output_dim : int
        Length of the vectors.
    embeddings_initializer, embeddings_regularizer, embeddings_constraint : str or object
        Of the table.
    mask_zero : bool
        Whether 0 fills up sequences that are too short: its outputs are masked (see ``tinyconv.masking``).
    **options
        ``name``, ``trainable``, ``dtype``, ``input_shape``, as for every layer; or Keras 2's ``input_length``.

    Inputs: integers (N, ...). Outputs: (N, ..., output_dim). Weights: embeddings (input_dim, output_dim).

    Raises
    ------
    ValueError
        For integers outside [0, input_dim).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.Embedding(1000, 64)([[4, 20, 999]]).shape
    (1, 3, 64)
    """

    autocast = False

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "random_uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        **options: Any,
    ) -> None:
        if "input_length" in options:
            options["input_shape"] = (options.pop("input_length"),)
        super().__init__(**options)
        self.mask_zero = self.supports_masking = bool(mask_zero)
        self.input_dim, self.output_dim = as_count(input_dim, "input_dim"), as_count(output_dim, "output_dim")
        self._describe("embeddings", embeddings_initializer, embeddings_regularizer, embeddings_constraint)

    def build(self, input_shape: Shape) -> None:
        self.embeddings = self._make("embeddings", (self.input_dim, self.output_dim))

    def call(self, inputs: Tensor) -> Tensor:
        return ops.take(self.embeddings, as_indices(inputs, self.input_dim), axis=0)

    def compute_mask(self, inputs: Tensor, mask: Any = None) -> Any:
        """With ``mask_zero``, where inputs are not 0."""
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)


class Masking(Layer):
    """Mask the steps of a sequence at which all features are ``mask_value``, and set them to 0.

    ``tinyconv.masking`` says where masks have an effect.

    Parameters
    ----------
    mask_value : float

    Inputs: (N, steps, features). Outputs: the same shape, with a mask (N, steps).

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = [[[1.0, 2.0], [3.0, -1.0], [-1.0, -1.0]]]
    >>> model = tc.Sequential([tc.layers.Masking(-1.0), tc.layers.GlobalAveragePooling1D()])
    >>> model(x).tolist()
    [[2.0, 0.5]]
    """

    supports_masking = True

    def __init__(self, mask_value: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.mask_value = mask_value

    def check_input(self, input_shape: Shape) -> None:
        if len(input_shape) < 2:
            raise ValueError(f"expected at least 2 axes (batch, ..., features). Received: shape {input_shape}")

    def _kept(self, inputs: Tensor, keepdims: bool) -> Tensor:
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1, keepdims=keepdims)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.where(self._kept(inputs, True), inputs, 0.0)

    def compute_mask(self, inputs: Tensor, mask: Any = None) -> Tensor:
        """Steps whose features are not all ``mask_value``."""
        return self._kept(inputs, False)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


def as_indices(inputs: Tensor, count: int) -> Tensor:
    """Inputs as integers; ``ValueError`` unless all lie in [0, ``count``)."""
    indices = inputs if inputs.dtype.kind in "iu" else ops.astype(inputs, np.int64)
    backends.of(indices.data).check(indices.data, _check_indices, count)
    return indices


def _check_indices(indices: np.ndarray, count: int) -> None:
    """Raise unless all ``indices`` lie in [0, ``count``)."""
    if indices.size and (indices.min() < 0 or indices.max() >= count):
        raise ValueError(
            f"expected integers in [0, {count}). Received: values from {indices.min()} to {indices.max()}"
        )
