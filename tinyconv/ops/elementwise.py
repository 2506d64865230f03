"""Elementwise operations: one line each, the value's name beside its derivative.

Both tables work on broadcast operands. In a derivative, ``g`` is the gradient of the result, ``x`` and ``y`` are the
operands and ``z`` is the result; ``saves`` names those that must be kept for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import backends, config
from tinyconv.function import Function, beside, common_backend
from tinyconv.tensor import Tensor

Derivative = Callable[..., Any]


# --- one operand -----------------------------------------------------------------------------------------------


class Unary(Function):
    """``z = primitive(x)`` with ``dx = derivative(g, x, z)``."""

    def __init__(self, primitive: str, derivative: Derivative, saves: str) -> None:
        self.primitive, self.derivative, self.saves = primitive, derivative, saves

    def forward(self, x: Any) -> Any:
        z = getattr(self.backend, self.primitive)(x)
        self.save(x if "x" in self.saves else None, z if "z" in self.saves else None)
        return z

    def backward(self, dz: Tensor) -> Tensor:
        x, z = self.saved
        return self.derivative(dz, x, z)


Operation = Callable[[Any], Tensor]


def _unary(primitive: str, meaning: str, derivative: Derivative, saves: str) -> Operation:
    def operation(x: Any) -> Tensor:
        return Unary(primitive, derivative, saves)(as_float(x))

    operation.__name__ = operation.__qualname__ = primitive
    operation.__doc__ = f"{meaning}, elementwise. Integers become floats of the default type; shape is kept."
    return operation


exp = _unary("exp", "e ** x", lambda g, x, z: g * z, "z")
expm1 = _unary("expm1", "e ** x - 1, exact near 0", lambda g, x, z: g * (z + 1), "z")
log = _unary("log", "Natural logarithm", lambda g, x, z: g / x, "x")
log1p = _unary("log1p", "log(1 + x), exact near 0", lambda g, x, z: g / (1 + x), "x")
sqrt = _unary("sqrt", "Square root", lambda g, x, z: g / (2 * z), "z")
reciprocal = _unary("reciprocal", "1 / x", lambda g, x, z: -g * z * z, "z")
sin: Operation = _unary("sin", "Sine", lambda g, x, z: g * cos(x), "x")
cos: Operation = _unary("cos", "Cosine", lambda g, x, z: -g * sin(x), "x")
tan = _unary("tan", "Tangent", lambda g, x, z: g * (1 + z * z), "z")
arcsin = _unary("arcsin", "Inverse sine", lambda g, x, z: g / sqrt(1 - x * x), "x")
arccos = _unary("arccos", "Inverse cosine", lambda g, x, z: -g / sqrt(1 - x * x), "x")
arctan = _unary("arctan", "Inverse tangent", lambda g, x, z: g / (1 + x * x), "x")
sinh = _unary("sinh", "Hyperbolic sine", lambda g, x, z: g * cosh(x), "x")
cosh: Operation = _unary("cosh", "Hyperbolic cosine", lambda g, x, z: g * sinh(x), "x")
tanh = _unary("tanh", "Hyperbolic tangent", lambda g, x, z: g * (1 - z * z), "z")
sigmoid = _unary("sigmoid", "1 / (1 + e ** -x)", lambda g, x, z: g * z * (1 - z), "z")
erf = _unary(
    "erf", "Gauss error function", lambda g, x, z: g * (2 / math.sqrt(math.pi)) * exp(-x * x), "x"
)


def negative(x: Any) -> Tensor:
    """``-x``, elementwise; dtype and shape are kept."""
    return Unary("negative", lambda g, x, z: -g, "")(as_tensor(x))


def absolute(x: Any) -> Tensor:
    """``|x|``, elementwise; the derivative at 0 is 0."""
    return Unary("absolute", lambda g, x, z: g * sign(x), "x")(as_tensor(x))


def square(x: Any) -> Tensor:
    """``x * x``, elementwise; dtype and shape are kept."""
    return Unary("square", lambda g, x, z: g * (2 * x), "x")(as_tensor(x))


def _flat(primitive: str, meaning: str, rounds: bool = False) -> Callable[[Any], Tensor]:
    """An operation that is piecewise constant, so that its gradient is 0 wherever it has one."""

    def operation(x: Any) -> Tensor:
        x = as_tensor(x)
        if rounds and x.dtype.kind != "f":  # nothing to round, and NumPy would raise integers to float64
            return x
        return Tensor._of(getattr(backends.of(x.data), primitive)(x.data))

    operation.__name__ = operation.__qualname__ = primitive
    operation.__doc__ = f"{meaning}, elementwise; piecewise constant, so no gradient flows."
    return operation


sign = _flat("sign", "-1, 0 or 1")
floor = _flat("floor", "Largest integer not above x", rounds=True)
ceil = _flat("ceil", "Smallest integer not below x", rounds=True)
rint = _flat("rint", "Nearest integer, halves to even", rounds=True)
isnan = _flat("isnan", "Whether x is NaN")
isfinite = _flat("isfinite", "Whether x is neither NaN nor infinite")
isinf = _flat("isinf", "Whether x is infinite")
logical_not = _flat("logical_not", "Not x")


# --- two operands ----------------------------------------------------------------------------------------------


class Binary(Function):
    """``z = primitive(x, y)``, broadcast, with ``dx = dx(g, x, y, z)`` and ``dy = dy(g, x, y, z)``."""

    def __init__(self, primitive: str, dx: Derivative, dy: Derivative, saves: tuple[str, str]) -> None:
        self.primitive, self.derivatives, self.saves = primitive, (dx, dy), saves

    def forward(self, x: Any, y: Any) -> Any:
        z = getattr(self.backend, self.primitive)(x, y)
        self.shapes = np.shape(x), np.shape(y)
        needed = "".join(
            names for names, wanted in zip(self.saves, self.needs_input_grad, strict=True) if wanted
        )
        self.save(*(value if name in needed else None for name, value in (("x", x), ("y", y), ("z", z))))
        return z

    def backward(self, dz: Tensor) -> tuple[Tensor | None, ...]:
        x, y, z = self.saved
        return tuple(
            sum_to(derivative(dz, x, y, z), shape) if wanted else None
            for derivative, shape, wanted in zip(
                self.derivatives, self.shapes, self.needs_input_grad, strict=True
            )
        )


def _binary(
    primitive: str,
    meaning: str,
    dx: Derivative,
    dy: Derivative,
    saves: tuple[str, str],
    floating: bool = False,
) -> Callable[[Any, Any], Tensor]:
    def operation(x: Any, y: Any) -> Tensor:
        return Binary(primitive, dx, dy, saves)(*promote(x, y, floating))

    operation.__name__ = operation.__qualname__ = primitive
    operation.__doc__ = f"{meaning}, elementwise with broadcasting."
    return operation


def _share_of_maximum(g: Tensor, winner: Any, loser: Any) -> Tensor:
    """All of ``g`` where ``winner`` wins, half of it in a tie."""
    return g * (as_tensor(winner) > loser) + g * (as_tensor(winner) == loser) * 0.5


add = _binary("add", "x + y", lambda g, x, y, z: g, lambda g, x, y, z: g, ("", ""))
subtract = _binary("subtract", "x - y", lambda g, x, y, z: g, lambda g, x, y, z: -g, ("", ""))
multiply = _binary("multiply", "x * y", lambda g, x, y, z: g * y, lambda g, x, y, z: g * x, ("y", "x"))
divide = _binary(
    "divide", "x / y", lambda g, x, y, z: g / y, lambda g, x, y, z: -g * z / y, ("y", "yz"), floating=True
)
maximum = _binary(
    "maximum",
    "The larger of x and y; in a tie the gradient is shared equally",
    lambda g, x, y, z: _share_of_maximum(g, x, y),
    lambda g, x, y, z: _share_of_maximum(g, y, x),
    ("xy", "xy"),
)
minimum = _binary(
    "minimum",
    "The smaller of x and y; in a tie the gradient is shared equally",
    lambda g, x, y, z: _share_of_maximum(g, negative(x), negative(y)),
    lambda g, x, y, z: _share_of_maximum(g, negative(y), negative(x)),
    ("xy", "xy"),
)
arctan2 = _binary(
    "arctan2",
    "Angle of the point (y, x): the operands are named as in NumPy's arctan2(x1, x2)",
    lambda g, x, y, z: g * y / (x * x + y * y),
    lambda g, x, y, z: -g * x / (x * x + y * y),
    ("xy", "xy"),
    floating=True,
)
_power = _binary(
    "power",
    "x ** y",
    lambda g, x, y, z: g * where(as_tensor(y) == 0, 0.0, y * power(x, where(as_tensor(y) == 0, 1.0, y - 1))),
    lambda g, x, y, z: g * where(as_tensor(x) == 0, 0.0, z * log(where(as_tensor(x) == 0, 1.0, x))),
    ("xy", "xz"),
)


class ScalarPower(Function):
    """``x ** p`` for a number ``p``, whose gradient is never asked for."""

    def __init__(self, p: float) -> None:
        self.p = p

    def forward(self, x: Any) -> Any:
        self.save(x)
        return self.backend.power(x, self.p)

    def backward(self, dz: Tensor) -> Tensor:
        (x,) = self.saved
        return dz * 0.0 if self.p == 0 else dz * (self.p * power(x, self.p - 1))


def power(x: Any, y: Any) -> Tensor:
    """``x ** y``, elementwise with broadcasting; 0 ** 0 is 1 and has derivative 0 in both operands."""
    y = y.item() if isinstance(y, np.generic) else y
    if isinstance(y, int | float) and not isinstance(y, bool):
        if y == 2:
            return square(x)
        x = as_tensor(x)
        return ScalarPower(y)(x if isinstance(y, int) else as_float(x))
    return _power(x, y)


def _flat_binary(
    primitive: str, meaning: str, floating: bool = False
) -> Callable[[Any, Any], Tensor]:
    def operation(x: Any, y: Any) -> Tensor:
        x, y = (value.data if isinstance(value, Tensor) else value for value in promote(x, y, floating))
        backend = common_backend([x, y])
        return Tensor._of(backend.asarray(getattr(backend, primitive)(x, y)))

    operation.__name__ = operation.__qualname__ = primitive
    operation.__doc__ = f"{meaning}, elementwise with broadcasting; no gradient flows."
    return operation


floor_divide = _flat_binary("floor_divide", "floor(x / y)")
equal = _flat_binary("equal", "x == y")
not_equal = _flat_binary("not_equal", "x != y")
less = _flat_binary("less", "x < y")
less_equal = _flat_binary("less_equal", "x <= y")
greater = _flat_binary("greater", "x > y")
greater_equal = _flat_binary("greater_equal", "x >= y")
logical_and = _flat_binary("logical_and", "x and y")
logical_or = _flat_binary("logical_or", "x or y")


def remainder(x: Any, y: Any) -> Tensor:
    """``x - floor(x / y) * y``, elementwise with broadcasting, the sign of ``y`` (Python's ``%``)."""
    x, y = promote(x, y)
    tensors = [value for value in (x, y) if isinstance(value, Tensor)]
    if any(t.dtype.kind == "f" for t in tensors):
        return x - floor_divide(x, y) * y
    return _integer_remainder(x, y)


_integer_remainder = _flat_binary("remainder", "x % y")


# --- choosing --------------------------------------------------------------------------------------------------


class Where(Function):
    """``condition ? x : y``; each gradient passes where its operand was chosen."""

    def forward(self, condition: Any, x: Any, y: Any) -> Any:
        self.shapes = np.shape(x), np.shape(y)
        self.save(condition)
        return self.backend.where(condition, x, y)

    def backward(self, dz: Tensor) -> tuple[Tensor | None, ...]:
        (condition,) = self.saved
        _, x_wanted, y_wanted = self.needs_input_grad
        dx = sum_to(where(condition, dz, 0.0), self.shapes[0]) if x_wanted else None
        dy = sum_to(where(condition, 0.0, dz), self.shapes[1]) if y_wanted else None
        return None, dx, dy


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """``x`` where ``condition`` holds, else ``y``, elementwise with broadcasting.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.ops.where([True, False], [1.0, 2.0], 0.0).tolist()
    [1.0, 0.0]
    """
    x, y = promote(x, y, numbers=True)
    return Where()(beside(condition, (x, y)), x, y)


def clip(x: Any, minimum: float | None = None, maximum: float | None = None) -> Tensor:
    """``x`` limited to [minimum, maximum]; the gradient is 0 outside and passes at the limits themselves."""
    x = as_tensor(x)
    if minimum is not None:
        x = where(less(x, minimum), minimum, x)
    if maximum is not None:
        x = where(greater(x, maximum), maximum, x)
    return x


class AsType(Function):
    """Another dtype; the gradient comes back in the dtype of the input."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)

    def forward(self, x: Any) -> Any:
        return self.backend.astype(x, self.dtype)

    def backward(self, dz: Tensor) -> Tensor:
        return dz  # the sweep gives every gradient the dtype of its input


def astype(x: Any, dtype: Any) -> Tensor:
    """``x`` converted to ``dtype``; gradients flow between floating-point types."""
    x = as_tensor(x)
    return x if x.dtype == np.dtype(dtype) else AsType(dtype)(x)


# --- operands --------------------------------------------------------------------------------------------------


def as_tensor(x: Any) -> Tensor:
    """``x`` as a tensor; tensors pass through."""
    return x if isinstance(x, Tensor) else Tensor(x)


def as_float(x: Any) -> Tensor:
    """``x`` as a floating-point tensor: integers and booleans become the default float type."""
    x = as_tensor(x)
    return x if x.dtype.kind == "f" else astype(x, config.floatx())


def promote(x: Any, y: Any, floating: bool = False, numbers: bool = False) -> tuple[Any, Any]:
    """Two operands of an operation: tensors, or a tensor and a number that takes the tensor's dtype.

    A float beside an integer tensor decides the type alone: nothing is raised to float64 behind one's back, as
    NumPy would do with int32 and float32. ``floating`` makes integer results floats; ``numbers`` allows two numbers.
    """
    x, y = (v.item() if isinstance(v, np.generic) else v for v in (x, y))
    x, y = (v if isinstance(v, bool | int | float) else beside(v, (x, y)) for v in (x, y))
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        x = as_tensor(x)
        y = as_tensor(y) if numbers else y
    kinds = [v.dtype.kind if isinstance(v, Tensor) else "f" if isinstance(v, float) else "i" for v in (x, y)]
    if floating or "f" in kinds:
        floats = [v.dtype for v in (x, y) if isinstance(v, Tensor) and v.dtype.kind == "f"]
        dtype = floats[0] if floats else config.floatx()
        x, y = (
            astype(v, dtype) if isinstance(v, Tensor) and v.dtype.kind != "f" else v for v in (x, y)
        )
    return x, y


def promote_all(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The rule of :func:`promote` for any number of tensors: integers beside floats take the first float's dtype."""
    floats = [t.dtype for t in tensors if t.dtype.kind == "f"]
    return [astype(t, floats[0]) if floats and t.dtype.kind != "f" else t for t in tensors]


def sum_to(g: Any, shape: tuple[int, ...]) -> Tensor:
    """Sum ``g`` over the axes along which an operand of ``shape`` was broadcast."""
    from tinyconv.ops.reduction import sum
    from tinyconv.ops.shape import reshape

    g = as_tensor(g)
    if g.shape == shape:
        return g
    extra = g.ndim - len(shape)
    axes = (*range(extra), *(extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1))
    return reshape(sum(g, axis=axes), shape)
