"""Limits of gradients: of their elements, of the norm of each, or of the norm of all together."""

from __future__ import annotations

from tinyconv import ops
from tinyconv.tensor import Tensor


def clip(
    grads: list[Tensor], clipvalue: float | None, clipnorm: float | None, global_clipnorm: float | None
) -> list[Tensor]:
    """Gradients within the limit that is given (see :class:`Optimizer`), or as they are."""
    if clipvalue is not None:
        return [ops.clip(g, -clipvalue, clipvalue) for g in grads]
    if clipnorm is not None:
        return [g * (clipnorm / ops.maximum(_norm([g]), clipnorm)) for g in grads]
    if global_clipnorm is not None and grads:
        factor = global_clipnorm / ops.maximum(_norm(grads), global_clipnorm)
        return [g * ops.astype(factor, g.dtype) for g in grads]
    return grads


def _norm(grads: list[Tensor]) -> Tensor:
    """L2 norm of all gradients together."""
    first, *others = (ops.sum(ops.square(g)) for g in grads)
    for other in others:
        first = first + ops.astype(other, first.dtype)
    return ops.sqrt(first)
