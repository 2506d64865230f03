"""Masks: which steps of padded sequences count.

A mask is a tensor of booleans, (N, steps) for sequences (N, steps, ...): True where a step counts. ``Embedding`` with
``mask_zero=True`` and ``Masking`` make one, and it travels with their outputs through every layer that says
``supports_masking``. It has an effect in

* ``GlobalAveragePooling1D``: the mean of the steps that count;
* ``BatchNormalization``: the statistics in training are those of the steps that count;
* ``Softmax``: values that do not count get 0;
* ``Lambda`` and layers of one's own whose ``call`` has an argument ``mask``;
* losses: steps that do not count add nothing, nor do they to the number that means are divided by;
* metrics that are the mean of a function, such as accuracies and mean squared errors: the mean is over the steps that
  count.

All other layers compute with all steps, as in Keras 3.
"""

from __future__ import annotations

from typing import Any

from tinyconv import ops
from tinyconv.tensor import Tensor

_PARTS = tuple(name for name in Tensor.__slots__ if name != "__weakref__")


class Masked(Tensor):
    """A tensor that carries a mask. Operations see the tensor alone: their results carry none."""

    __slots__ = ("mask",)

    mask: Tensor


def mask_of(x: Any) -> Tensor | None:
    """The mask that ``x`` carries, if any."""
    return x.mask if isinstance(x, Masked) else None


def with_mask(x: Tensor, mask: Any) -> Tensor:
    """``x`` with ``mask`` (an array_like of booleans) in place of the mask that it carried; with None, ``x`` itself.

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = with_mask(tc.Tensor([[1.0, 2.0, 0.0]]), [[True, True, False]])
    >>> mask_of(x).tolist(), mask_of(2 * x)
    ([[True, True, False]], None)
    """
    if mask is None:
        return x
    if x.node is None and x.requires_grad:  # the gradient belongs to ``x``: what carries the mask is computed from it
        x = ops.multiply(x, 1)
    made = Masked.__new__(Masked)
    for name in _PARTS:
        setattr(made, name, getattr(x, name))
    made.mask = mask if isinstance(mask, Tensor) else Tensor(mask)
    return made
