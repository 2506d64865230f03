"""Activation functions. Those with a formula in other operations are written as that formula.

Sources: D. Clevert et al., arXiv 1511.07289 (ELU); G. Klambauer et al., arXiv 1706.02515 (SELU); D. Hendrycks and
K. Gimpel, arXiv 1606.08415 (GELU); P. Ramachandran et al., arXiv 1710.05941 (swish); D. Misra, arXiv 1908.08681 (mish).
"""

from __future__ import annotations

import math
from typing import Any

from tinyconv.function import Function
from tinyconv.ops.elementwise import (
    absolute,
    as_float,
    clip,
    erf,
    exp,
    expm1,
    greater,
    greater_equal,
    log1p,
    maximum,
    sigmoid,
    tanh,
    where,
)  # fmt: skip
from tinyconv.ops.reduction import logsumexp, sum
from tinyconv.tensor import Tensor

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


class ReLU(Function):
    def forward(self, x: Any) -> Any:
        y = self.backend.maximum(x, 0)
        self.save(y)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        (y,) = self.saved
        return where(greater(y, 0), dy, 0.0)


def relu(x: Any) -> Tensor:
    """``max(0, x)``, elementwise; the derivative at 0 is 0; NaN stays NaN."""
    return ReLU()(as_float(x))


def relu6(x: Any) -> Tensor:
    """``min(max(0, x), 6)``, elementwise."""
    return clip(x, 0.0, 6.0)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """``x`` where x >= 0, else ``negative_slope * x``."""
    x = as_float(x)
    return where(greater_equal(x, 0), x, negative_slope * x)


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """``x`` where x > 0, else ``alpha * (exp(x) - 1)``: the piecewise form, right for every alpha."""
    x = as_float(x)
    positive = greater(x, 0)
    return where(positive, x, alpha * expm1(where(positive, 0.0, x)))  # the inner one keeps expm1 from overflowing


def selu(x: Any) -> Tensor:
    """ELU with the scale and alpha that make activations normalise themselves."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


def softplus(x: Any) -> Tensor:
    """``log(1 + exp(x))`` without overflow."""
    x = as_float(x)
    # The two halves of maximum() and absolute() share their kink at 0, so the derivative there is 1/2, as it should.
    return maximum(x, 0.0) + log1p(exp(-absolute(x)))


def softsign(x: Any) -> Tensor:
    """``x / (1 + |x|)``."""
    x = as_float(x)
    return x / (1 + absolute(x))


def silu(x: Any) -> Tensor:
    """``x * sigmoid(x)``, also called swish."""
    x = as_float(x)
    return x * sigmoid(x)


def gelu(x: Any, approximate: bool = False) -> Tensor:
    """``x * P(X <= x)`` for a standard normal X, by erf, or by tanh with ``approximate``."""
    x = as_float(x)
    if approximate:
        return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def mish(x: Any) -> Tensor:
    """``x * tanh(softplus(x))``."""
    x = as_float(x)
    return x * tanh(softplus(x))


def hard_sigmoid(x: Any) -> Tensor:
    """``clip(x / 6 + 1/2, 0, 1)``, as Keras 3."""
    return clip(as_float(x) / 6 + 0.5, 0.0, 1.0)


def hard_silu(x: Any) -> Tensor:
    """``x * hard_sigmoid(x)``, also called hard swish."""
    x = as_float(x)
    return x * hard_sigmoid(x)


def heaviside(x: Any) -> Tensor:
    """1 where x >= 0, else 0: the threshold unit, with step(0) = 1. No gradient flows."""
    x = as_float(x)
    return greater_equal(x, 0).astype(x.dtype)


class Softmax(Function):
    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        b = self.backend
        e = b.exp(b.subtract(x, b.max(x, self.axis, True)))
        y = b.divide(e, b.sum(e, self.axis, True))
        self.save(y)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        (y,) = self.saved
        return y * (dy - sum(y * dy, self.axis, keepdims=True))


def softmax(x: Any, axis: int = -1) -> Tensor:
    """``exp(x) / sum(exp(x))`` along ``axis``; entries sum to 1.

    Examples
    --------
    >>> import tinyconv as tc
    >>> [round(p, 4) for p in tc.ops.softmax([2.0, 5.0]).tolist()]
    [0.0474, 0.9526]
    """
    x = as_float(x)
    return Softmax(axis)(x) if x.size else x


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """Logarithm of :func:`softmax`, without overflow or loss of small probabilities."""
    x = as_float(x)
    return x - logsumexp(x, axis, keepdims=True) if x.size else x
