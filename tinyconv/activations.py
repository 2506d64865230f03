"""Activation functions by name: what ``activation="relu"`` means.

Most are the operations of ``tinyconv.ops`` themselves. ``get`` accepts a name, any callable, or ``None`` (linear).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    "deserialize", "elu", "exponential", "gelu", "get", "hard_sigmoid", "hard_silu", "hard_swish", "heaviside",
    "leaky_relu", "linear", "log_softmax", "mish", "relu", "relu6", "selu", "serialize", "sgn", "sigmoid", "silu",
    "softmax", "softplus", "softsign", "step", "swish", "tanh",
]  # fmt: skip

_registry = registry.Registry("activation")


def get(identifier: Any) -> Callable[..., Any]:
    """The activation that ``identifier`` means: a name, any callable(tensor), or None for :func:`linear`.

    Layers such as ``LeakyReLU(0.1)`` are callables too; their configuration, as files hold it, makes them again.

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
    if isinstance(identifier, dict):
        from tinyconv import layers

        return layers.deserialize(identifier)
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


for _function, _aliases in {
    elu: (), gelu: (), hard_sigmoid: (), hard_silu: ("hard_swish",), heaviside: ("step",), leaky_relu: (),
    log_softmax: (), mish: (), relu6: (), selu: (), sigmoid: ("logistic",), silu: ("swish",), softmax: (),
    softplus: (), softsign: (), tanh: (),
}.items():  # fmt: skip
    _registry.register(*_aliases)(_function)

swish, hard_swish, step = silu, hard_silu, heaviside
