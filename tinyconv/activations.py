"""Activation functions by name: what ``activation="relu"`` means.

Most are the operations of ``tinyconv.ops`` themselves. ``get`` accepts a name, any callable, or ``None`` (linear).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyconv import ops, registry
from tinyconv.ops import (
    elu,
    gelu,
    hard_sigmoid,
    hard_silu,
    heaviside,
    leaky_relu,
    log_softmax,
    mish,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    softsign,
    tanh,
)  # fmt: skip
from tinyconv.tensor import Tensor

__all__ = [
    "celu", "deserialize", "elu", "exponential", "gelu", "get", "glu", "hard_shrink", "hard_sigmoid", "hard_silu",
    "hard_swish", "hard_tanh", "heaviside", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu",
    "relu6", "selu", "serialize", "sgn", "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign",
    "sparse_plus", "squareplus", "step", "swish", "tanh", "tanh_shrink",
]  # fmt: skip

_registry = registry.Registry("activation")


def get(identifier: Any) -> Callable[..., Any]:
    """The activation that ``identifier`` means: a name, any callable(tensor), or None for :func:`linear`.

    Layers such as ``LeakyReLU(0.1)`` are callables too.

    Raises
    ------
    ValueError
        For an unknown name; the message lists names that look alike.

    Examples
    --------
    >>> get("relu")([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    >>> get("reluu")
    Traceback (most recent call last):
        ...
    ValueError: Unknown activation. Did you mean 'relu' or 'relu6' or 'elu'? Received: 'reluu'
    """
    return linear if identifier is None else _registry.get(identifier)


deserialize = get


def serialize(activation: Callable[..., Any]) -> Any:
    """Name of a registered activation (or configuration of a layer that serves as one), as files hold it.

    Examples
    --------
    >>> serialize(get("swish"))
    'silu'
    """
    return registry.serialize(activation)


@_registry.register("identity")
def linear(x: Any) -> Tensor:
    """``x`` itself."""
    return ops.elementwise.as_tensor(x)


@_registry.register()
def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Tensor:
    """Rectifier: ``x`` where x >= threshold, else ``negative_slope * (x - threshold)``; at most ``max_value``.

    Parameters
    ----------
    x : array_like or Tensor
    negative_slope : float
        Slope below the threshold.
    max_value : float, optional
        Limit from above.
    threshold : float
        Where the unit begins to fire; the result jumps there unless it is 0.

    Examples
    --------
    >>> relu([-10.0, -1.0, 0.5, 9.0], negative_slope=0.5, max_value=6.0).tolist()
    [-5.0, -0.5, 0.5, 6.0]
    """
    if threshold:
        x = ops.elementwise.as_float(x)
        x = ops.where(ops.greater_equal(x, threshold), x, negative_slope * (x - threshold))
    else:
        x = leaky_relu(x, negative_slope) if negative_slope else ops.relu(x)
    return x if max_value is None else ops.clip(x, maximum=max_value)


@_registry.register("exp")
def exponential(x: Any) -> Tensor:
    """``e ** x``, elementwise."""
    return ops.exp(x)


@_registry.register("sign")
def sgn(x: Any) -> Tensor:
    """-1, 0 or 1, elementwise: a threshold unit. No gradient flows."""
    return ops.sign(ops.elementwise.as_float(x))


@_registry.register()
def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """``x`` where x > 0, else ``alpha * (exp(x / alpha) - 1)``: smooth at 0 for every ``alpha``."""
    return alpha * elu(ops.elementwise.as_float(x) / alpha)


@_registry.register()
def glu(x: Any, axis: int = -1) -> Tensor:
    """``a * sigmoid(b)``, a and b the first and the second half of ``x`` along ``axis``, which halves its size.

    Examples
    --------
    >>> glu([[1.0, 2.0, 0.0, 0.0]]).tolist()
    [[0.5, 1.0]]
    """
    x = ops.elementwise.as_float(x)
    size = x.shape[axis]
    if size % 2:
        raise ValueError(f"glu expected an even size on axis {axis}. Received: shape {x.shape}")
    first, second = (ops.take(x, np.arange(start, start + size // 2), axis=axis) for start in (0, size // 2))
    return first * sigmoid(second)


@_registry.register()
def hard_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """``x`` where |x| > ``threshold``, else 0."""
    x = ops.elementwise.as_float(x)
    return ops.where(ops.greater(ops.absolute(x), threshold), x, 0.0)


@_registry.register()
def hard_tanh(x: Any) -> Tensor:
    """``x`` limited to [-1, 1]."""
    return ops.clip(ops.elementwise.as_float(x), -1.0, 1.0)


@_registry.register()
def log_sigmoid(x: Any) -> Tensor:
    """Logarithm of the logistic function, without overflow: ``-softplus(-x)``."""
    return -softplus(-ops.elementwise.as_float(x))


@_registry.register()
def soft_shrink(x: Any, threshold: float = 0.5) -> Tensor:
    """``x`` moved towards 0 by ``threshold``, and 0 where it is nearer than that."""
    x = ops.elementwise.as_float(x)
    return x - ops.clip(x, -threshold, threshold)


@_registry.register()
def sparse_plus(x: Any) -> Tensor:
    """0 where x <= -1, ``x`` where x >= 1, ``(x + 1) ** 2 / 4`` between: a softplus with true zeros."""
    x = ops.elementwise.as_float(x)
    between = ops.square(ops.clip(x, -1.0, 1.0) + 1.0) / 4
    return ops.where(ops.greater(x, 1.0), x, between)


@_registry.register()
def squareplus(x: Any, b: float = 4.0) -> Tensor:
    """``(x + sqrt(x ** 2 + b)) / 2``: like softplus, without exponentials."""
    x = ops.elementwise.as_float(x)
    return (x + ops.sqrt(ops.square(x) + b)) / 2


@_registry.register()
def tanh_shrink(x: Any) -> Tensor:
    """``x - tanh(x)``."""
    x = ops.elementwise.as_float(x)
    return x - tanh(x)


for _function, _aliases in {
    elu: (), gelu: (), hard_sigmoid: (), hard_silu: ("hard_swish",), heaviside: ("step",), leaky_relu: (),
    log_softmax: (), mish: (), relu6: (), selu: (), sigmoid: ("logistic",), silu: ("swish",), softmax: (),
    softplus: (), softsign: (), tanh: (),
}.items():  # fmt: skip
    _registry.register(*_aliases)(_function)

swish, hard_swish, step = silu, hard_silu, heaviside
registry.set_name(ops.relu, "relu")  # which is the function above, with its defaults
