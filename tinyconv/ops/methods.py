"""What ``Tensor`` owes to the operations: Python operators, methods, and NumPy functions called on tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.tensor import Tensor

_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "matmul": "matmul",
}  # fmt: skip
_COMPARISONS = {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
}  # fmt: skip
_METHODS = (
    "sum", "mean", "var", "std", "max", "min", "prod", "all", "any", "argmax", "argmin", "argsort", "cumsum", "astype",
    "clip", "flatten", "squeeze", "swapaxes", "repeat", "take", "dot", "exp", "log", "sqrt", "abs", "tanh", "sigmoid",
    "relu", "softmax",
)  # fmt: skip

# NumPy functions that answer with facts or plain arrays: tensors are read as arrays, no gradient is lost silently.
_FACTS = (
    np.shape, np.ndim, np.size, np.allclose, np.isclose, np.array_equal, np.array_equiv, np.array2string,
    np.array_repr, np.array_str, np.result_type, np.iscomplexobj, np.isrealobj, np.nonzero, np.count_nonzero, np.unique,
    np.bincount, np.may_share_memory, np.shares_memory, np.savetxt, np.save, np.savez, np.empty_like, np.zeros_like,
    np.ones_like, np.full_like, np.copyto, np.searchsorted, np.digitize, np.histogram,
)  # fmt: skip
_NUMPY_NAMES = (
    "sum", "mean", "var", "std", "max", "min", "prod", "all", "any", "argmax", "argmin", "argsort", "sort", "cumsum",
    "clip", "reshape", "transpose", "swapaxes", "moveaxis", "squeeze", "expand_dims", "broadcast_to", "concatenate",
    "stack", "split", "flip", "roll", "repeat", "tile", "take", "take_along_axis", "where", "dot", "outer", "tensordot",
    "einsum",
)  # fmt: skip


def _on_booleans(operation: Any, symbol: str) -> Any:
    """``&``, ``|`` and ``~`` are bitwise for NumPy's integers; tensors have them for booleans, where both agree."""

    def method(*operands: Any) -> Tensor:
        for x in operands:
            dtype = np.dtype(x.dtype) if hasattr(x, "dtype") else np.asarray(x).dtype
            if dtype.kind != "b":
                raise TypeError(f"{symbol} is defined for tensors of booleans. Received: dtype {dtype}")
        return operation(*operands)

    return method


_and, _or = _on_booleans(ops.logical_and, "&"), _on_booleans(ops.logical_or, "|")
_invert = _on_booleans(ops.logical_not, "~")
_UFUNCS: dict[Any, Any] = {
    np.conjugate: lambda x: x, np.positive: lambda x: x, np.fabs: ops.absolute, np.bitwise_and: _and,
    np.bitwise_or: _or, np.invert: _invert, np.float_power: ops.power,
}  # fmt: skip


def attach(cls: Any) -> None:
    """Give ``Tensor``, or a class that stands for it in operations, operators, methods and NumPy protocols."""
    for short, name in _OPERATORS.items():
        setattr(cls, f"__{short}__", _operator(getattr(ops, name)))
        setattr(cls, f"__r{short}__", _operator(getattr(ops, name), reflected=True))
    for short, name in _COMPARISONS.items():
        setattr(cls, f"__{short}__", _operator(getattr(ops, name)))
    for name in _METHODS:
        setattr(cls, name, getattr(ops, name))
    attributes: dict[str, Any] = {
        "__neg__": ops.negative, "__pos__": lambda x: x, "__abs__": ops.absolute, "__and__": _operator(_and),
        "__or__": _operator(_or), "__rand__": _operator(_and), "__ror__": _operator(_or), "__invert__": _invert,
        "__getitem__": ops.getitem, "__array_ufunc__": _array_ufunc, "__array_function__": _array_function,
        "reshape": _reshape, "transpose": _transpose, "T": property(ops.transpose, doc="Axes reversed."),
    }  # fmt: skip
    for name, value in attributes.items():
        setattr(cls, name, value)


def _operator(operation: Any, reflected: bool = False) -> Any:
    def method(self: Tensor, other: Any) -> Any:
        if other is None or isinstance(other, str | dict | set):
            return NotImplemented
        return operation(other, self) if reflected else operation(self, other)

    return method


def _reshape(self: Tensor, *shape: Any) -> Tensor:
    """``x.reshape(2, 3)`` or ``x.reshape((2, 3))``."""
    return ops.reshape(self, shape[0] if len(shape) == 1 else shape)


def _transpose(self: Tensor, *axes: Any) -> Tensor:
    """``x.transpose()``, ``x.transpose(1, 0)`` or ``x.transpose((1, 0))``."""
    if not axes or axes == (None,):
        return ops.transpose(self)
    return ops.transpose(self, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes)


def _array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """``np.exp(tensor)`` and the like are the differentiable operations of the same name."""
    operation = _UFUNCS.get(ufunc) or getattr(ops, ufunc.__name__, None)
    if method != "__call__" or options or operation is None:
        what = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        raise TypeError(
            f"np.{what}{' with ' + ', '.join(options) if options else ''} is not defined for tensors. Use "
            "tinyconv.ops, or np.asarray(tensor) to leave automatic differentiation."
        )
    return operation(*inputs)


def _array_function(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """``np.sum(tensor)`` and the like are the differentiable operations of the same name, or raise clearly."""
    if function in (np.shape, np.ndim, np.size) and args and not kwargs and len(args) == 1:
        return getattr(args[0], function.__name__)  # without a look at the values
    if function in _FACTS:
        return function(*_plain(args), **{key: _plain(value) for key, value in kwargs.items()})
    name = {"amax": "max", "amin": "min"}.get(function.__name__, function.__name__)
    if name in _NUMPY_NAMES and getattr(np, function.__name__, None) is function:
        return getattr(ops, name)(*args, **{key: value for key, value in kwargs.items() if value is not np._NoValue})
    raise TypeError(
        f"np.{function.__name__} is not defined for tensors. Use tinyconv.ops, or np.asarray(tensor) to leave "
        "automatic differentiation."
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.numpy()
    return type(value)(map(_plain, value)) if isinstance(value, list | tuple) else value
