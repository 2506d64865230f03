"""Contractions: matrix products and Einstein sums, each other's derivatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv.function import Function
from tinyconv.geometry import normalize_axis
from tinyconv.ops.elementwise import as_tensor, promote, promote_all, sum_to
from tinyconv.ops.shape import broadcast_to, expand_dims, reshape, swapaxes, transpose
from tinyconv.tensor import Tensor


class MatMul(Function):
    """(..., M, K) @ (..., K, N) -> (..., M, N)"""

    def forward(self, x: Any, y: Any) -> Any:
        self.shapes = x.shape, y.shape
        x_wanted, y_wanted = self.needs_input_grad
        self.save(x if y_wanted else None, y if x_wanted else None)
        return self.backend.matmul(x, y)

    def backward(self, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, y = self.saved
        x_wanted, y_wanted = self.needs_input_grad
        # (..., M, N) @ (..., N, K) -> (..., M, K)    and    (..., K, M) @ (..., M, N) -> (..., K, N)
        dx = sum_to(matmul(dz, swapaxes(y, -1, -2)), self.shapes[0]) if x_wanted else None
        dy = sum_to(matmul(swapaxes(x, -1, -2), dz), self.shapes[1]) if y_wanted else None
        return dx, dy


def matmul(x: Any, y: Any) -> Tensor:
    """Matrix product of the last two axes, with NumPy's rules for vectors and broadcast leading axes.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.matmul([[1.0, 2.0]], [3.0, 4.0]).tolist()
    [11.0]
    """
    x, y = promote(as_tensor(x), as_tensor(y))
    if x.ndim == 0 or y.ndim == 0 or x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise ValueError(
            f"matmul expected (..., M, K) and (..., K, N) or vectors of K. Received: {x.shape} and {y.shape}"
        )
    row, column = x.ndim == 1, y.ndim == 1
    z = MatMul()(expand_dims(x, 0) if row else x, expand_dims(y, 1) if column else y)
    if row:
        z = reshape(z, (*z.shape[:-2], z.shape[-1]))
    return reshape(z, z.shape[:-1]) if column else z


def dot(x: Any, y: Any) -> Tensor:
    """Sum product over the last axis of ``x`` and the last but one of ``y``, as ``numpy.dot``."""
    x, y = as_tensor(x), as_tensor(y)
    if x.ndim == 0 or y.ndim == 0:
        return x * y
    return tensordot(x, y, ([x.ndim - 1], [max(y.ndim - 2, 0)]))


def outer(x: Any, y: Any) -> Tensor:
    """All products of an element of ``x`` and one of ``y``: shape (x.size, y.size)."""
    return reshape(x, (-1, 1)) * reshape(y, (1, -1))


def tensordot(x: Any, y: Any, axes: int | tuple[Any, Any] = 2) -> Tensor:
    """Sum of products over the given axes of ``x`` and ``y`` (an integer: the last of ``x``, the first of ``y``)."""
    x, y = as_tensor(x), as_tensor(y)
    if isinstance(axes, int):
        x_axes, y_axes = list(range(x.ndim - axes, x.ndim)), list(range(axes))
    else:
        x_axes, y_axes = (
            [normalize_axis(a, t.ndim) for a in ([given] if isinstance(given, int) else given)]
            for given, t in zip(axes, (x, y), strict=True)
        )
    if [x.shape[a] for a in x_axes] != [y.shape[a] for a in y_axes]:
        raise ValueError(f"tensordot expected equal sizes on axes {axes}. Received: {x.shape} and {y.shape}")
    x_free = [a for a in range(x.ndim) if a not in x_axes]
    y_free = [a for a in range(y.ndim) if a not in y_axes]
    k = math.prod(x.shape[a] for a in x_axes)
    rows, columns = [x.shape[a] for a in x_free], [y.shape[a] for a in y_free]
    x2 = reshape(transpose(x, x_free + x_axes), (math.prod(rows), k))
    y2 = reshape(transpose(y, y_axes + y_free), (k, math.prod(columns)))
    return reshape(matmul(x2, y2), rows + columns)


class Einsum(Function):
    """Sum of products; every operand has distinct letters, each of which is in another operand or in the result."""

    def __init__(self, inputs: tuple[str, ...], output: str) -> None:
        self.inputs, self.output = inputs, output

    def forward(self, *operands: Any) -> Any:
        self.save(*operands)
        return self.backend.einsum(f"{','.join(self.inputs)}->{self.output}", *operands)

    def backward(self, dz: Tensor) -> tuple[Tensor | None, ...]:
        operands = self.saved
        grads: list[Tensor | None] = []
        for i, wanted in enumerate(self.needs_input_grad):
            others = (*self.inputs[:i], *self.inputs[i + 1 :])
            rest = (*operands[:i], *operands[i + 1 :])
            grads.append(Einsum((self.output, *others), self.inputs[i])(dz, *rest) if wanted else None)
        return tuple(grads)


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Sum of products in Einstein's notation, as ``numpy.einsum``: ellipsis, implicit output, repeated letters.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.einsum("ij,jk->ik", [[1.0, 2.0]], [[3.0], [4.0]]).tolist()
    [[11.0]]
    """
    tensors = promote_all([as_tensor(x) for x in operands])
    inputs, output = _parse_einsum(subscripts, [t.ndim for t in tensors])
    sizes: dict[str, int] = {}
    for letters, t in zip(inputs, tensors, strict=True):
        for letter, n in zip(letters, t.shape, strict=True):
            if sizes.setdefault(letter, n) not in (n, 1) and n != 1:
                raise ValueError(f"einsum {subscripts!r}: axis {letter!r} has sizes {sizes[letter]} and {n}")
            sizes[letter] = max(sizes[letter], n)
    terms = [_simplify(t, inputs[i], inputs, output, i) for i, t in enumerate(tensors)]
    # An axis of size 1 broadcasts; letting it grow here keeps every letter's size unique in Einsum.
    terms = [(broadcast_to(t, [sizes[c] for c in letters]), letters) for t, letters in terms]
    return Einsum(tuple(letters for _, letters in terms), output)(*(t for t, _ in terms))


def _simplify(t: Tensor, letters: str, inputs: Sequence[str], output: str, place: int) -> tuple[Tensor, str]:
    """Take diagonals of repeated letters and sum letters that appear nowhere else, by their own operations."""
    for letter in sorted(set(letters)):
        while letters.count(letter) > 1:
            i = letters.index(letter)
            j = letters.index(letter, i + 1)
            t = transpose(t, [i, j, *(a for a in range(t.ndim) if a not in (i, j))])
            diagonal = np.arange(len(t))
            t = t[diagonal, diagonal]
            letters = letter + letters[:i] + letters[i + 1 : j] + letters[j + 1 :]
    others = output + "".join(other for i, other in enumerate(inputs) if i != place)
    lonely = [i for i, letter in enumerate(letters) if letter not in others]
    if lonely:
        t = t.sum(axis=lonely)
        letters = "".join(letter for letter in letters if letter in others)
    return t, letters


def _parse_einsum(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """Letters of every operand and of the result; ``...`` is replaced by unused letters."""
    text = subscripts.replace(" ", "")
    left, arrow, output = text.partition("->")
    inputs = left.split(",")
    unused = [chr(c) for c in range(ord("A"), ord("z") + 1) if chr(c).isalpha() and chr(c) not in text]
    widest = max((n - len(s) + 3 for s, n in zip(inputs, ndims, strict=False) if "..." in s), default=0)
    dots = "".join(unused[:widest])
    if len(inputs) != len(ndims):
        raise ValueError(f"einsum {subscripts!r} names {len(inputs)} operands. Received: {len(ndims)}")
    for i, (s, n) in enumerate(zip(inputs, ndims, strict=True)):
        if "..." in s:
            covered = n - len(s) + 3
            inputs[i] = s.replace("...", dots[len(dots) - covered :])
        if len(inputs[i]) != n or not all(c.isalpha() for c in inputs[i]):
            raise ValueError(f"einsum {subscripts!r}: operand {i} must have {len(s)} axes. Received: {n}")
    letters = "".join(inputs)
    if not arrow:
        singles = sorted(c for c in set(letters) if letters.count(c) == 1 and c not in dots)
        return inputs, dots + "".join(singles)
    output = output.replace("...", dots)
    if len(set(output)) != len(output) or not set(output) <= set(letters):
        raise ValueError(f"einsum {subscripts!r}: the result must use letters of the operands, each once")
    return inputs, output
