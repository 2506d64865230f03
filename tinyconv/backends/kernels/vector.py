"""Arithmetic on vectors as expressions, and the transcendental functions.

The functions need no table and no branch: a reduction of the argument with a constant split in two, and a Taylor series
long enough for the type (its terms are 1/k! and 1/(2k+1), there is nothing to look up). Errors stay within about two
units in the last place; infinities, NaN, zeros and denormal numbers come out right.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from tinyconv.backends.kernels.emit import Emitter


class Format(NamedTuple):
    """What the functions need to know of a float type."""

    bits: int
    fraction: int  # bits of the fraction
    bias: int
    exp_terms: int
    log_terms: int
    ln2_high: float  # trailing zeros, so that small multiples are exact
    ln2_low: float
    huge: float  # exp overflows above it and underflows below its negative, with room to spare


def _split_ln2(dtype: Any, keep: int) -> tuple[float, float]:
    scale = 2.0**keep
    high = math.floor(math.log(2) * scale) / scale
    # ln 2 = 0.693147180559945309417232121458176568...; the tail beyond double precision
    low = math.log(2) - high + 2.3190468138462996e-17
    return float(dtype(high)), float(dtype(low))


FORMATS = {
    4: Format(32, 23, 127, 7, 5, *_split_ln2(np.float32, 14), 110.0),
    8: Format(64, 52, 1023, 13, 10, *_split_ln2(np.float64, 40), 760.0),
}


class Vector:
    """A vector in a register, with Python's operators."""

    def __init__(self, emitter: Emitter, value: ir.Value):
        self.e, self.value = emitter, value

    @property
    def format(self) -> Format:
        return FORMATS[self.e.itemsize]

    def constant(self, value: float) -> Vector:
        """``value`` in every lane."""
        return Vector(self.e, ir.Constant(self.e.vector, [float(value)] * self.e.lanes))

    def _of(self, other: Vector | float) -> Vector:
        return other if isinstance(other, Vector) else self.constant(other)

    def __add__(self, other: Vector | float) -> Vector:
        return Vector(self.e, self.e.builder.fadd(self.value, self._of(other).value))

    def __sub__(self, other: Vector | float) -> Vector:
        return Vector(self.e, self.e.builder.fsub(self.value, self._of(other).value))

    def __mul__(self, other: Vector | float) -> Vector:
        return Vector(self.e, self.e.builder.fmul(self.value, self._of(other).value))

    def __truediv__(self, other: Vector | float) -> Vector:
        return Vector(self.e, self.e.builder.fdiv(self.value, self._of(other).value))

    def __neg__(self) -> Vector:
        return Vector(self.e, self.e.builder.fneg(self.value))

    def fma(self, factor: Vector | float, addend: Vector | float) -> Vector:
        """``self * factor + addend``."""
        return Vector(self.e, self.e.fma(self.value, self._of(factor).value, self._of(addend).value))

    def compare(self, operator: str, other: Vector | float) -> ir.Value:
        """A mask; a comparison with NaN is false, except for ``!=``."""
        compare = self.e.builder.fcmp_unordered if operator == "!=" else self.e.builder.fcmp_ordered
        return compare(operator, self.value, self._of(other).value)

    def where(self, condition: ir.Value, other: Vector | float) -> Vector:
        """This vector where ``condition`` holds, else ``other``."""
        return Vector(self.e, self.e.builder.select(condition, self.value, self._of(other).value))

    def call(self, name: str, *others: Vector | float) -> Vector:
        """LLVM's intrinsic ``name`` on vectors."""
        values = [self.value, *(self._of(other).value for other in others)]
        function = self.e.function(f"llvm.{name}.{self.e.suffix}", *[self.e.vector] * (len(values) + 1))
        return Vector(self.e, self.e.builder.call(function, values))

    def bits(self) -> ir.Value:
        """The lanes' bit patterns as integers."""
        return self.e.builder.bitcast(self.value, self._integers())

    def from_bits(self, bits: ir.Value) -> Vector:
        """The vector with these bit patterns."""
        return Vector(self.e, self.e.builder.bitcast(bits, self.e.vector))

    def _integers(self) -> ir.VectorType:
        return ir.VectorType(ir.IntType(self.format.bits), self.e.lanes)

    def integer(self, value: int) -> ir.Value:
        """An integer constant in every lane."""
        return ir.Constant(self._integers(), [value] * self.e.lanes)

    def to_integer(self) -> ir.Value:
        """Whole numbers as integers."""
        return self.e.builder.fptosi(self.value, self._integers())

    def from_integer(self, value: ir.Value) -> Vector:
        """Integers as floats."""
        return Vector(self.e, self.e.builder.sitofp(value, self.e.vector))


def _power_of_two(exponent: Vector) -> Vector:
    """``2 ** exponent`` for whole exponents of normal numbers."""
    f, builder = exponent.format, exponent.e.builder
    biased = builder.add(exponent.to_integer(), exponent.integer(f.bias))
    return exponent.from_bits(builder.shl(biased, exponent.integer(f.fraction)))


def _series(x: Vector, coefficients: list[float]) -> Vector:
    """``c[0] + c[1] * x + ...`` by Horner's rule."""
    total = x.constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total.fma(x, coefficient)
    return total


def _reduce(x: Vector) -> tuple[Vector, Vector]:
    """``x = n * ln 2 + r`` with whole n and abs(r) <= ln 2 / 2."""
    n = (x * (1 / math.log(2))).call("rint")
    return n, (n * -1.0).fma(x.format.ln2_low, (n * -1.0).fma(x.format.ln2_high, x))


def exp(x: Vector) -> Vector:
    """e ** x."""
    f = x.format
    bounded = x.call("minnum", f.huge).call("maxnum", -f.huge)  # NaN becomes a number here and is put back below
    n, r = _reduce(bounded)
    value = _series(r, [1 / math.factorial(k) for k in range(f.exp_terms + 1)])
    half = (n * 0.5).call("floor")  # in two steps, because 2 ** n alone may overflow or be denormal
    value = value * _power_of_two(half) * _power_of_two(n - half)
    return value.where(x.compare("==", x), x)


def _expm1(x: Vector) -> Vector:
    """e ** x - 1 for numbers of which e ** x is a normal number."""
    f = x.format
    n, r = _reduce(x)
    tail = _series(r, [1 / math.factorial(k) for k in range(2, f.exp_terms + 2)])
    value = (r * r).fma(tail, r)  # e ** r - 1
    power = _power_of_two(n)
    value = value.fma(power, power - 1.0)  # the difference is exact while it matters
    return x.where(x.call("fabs").compare("<", 2.0**-f.fraction / 4), value)  # keeps -0 and denormal numbers


def expm1(x: Vector) -> Vector:
    """e ** x - 1, precise near 0 too."""
    limit = (x.format.bias - 2) * math.log(2)
    value = _expm1(x.call("minnum", limit).call("maxnum", -limit))
    value = exp(x).where(x.compare(">", limit), value)
    return value.where(x.compare("==", x), x)


def log(x: Vector) -> Vector:
    """Natural logarithm."""
    f, e, builder = x.format, x.e, x.e.builder
    small = x.compare("<", 2.0 ** (1 - f.bias))
    shift = f.fraction + 2
    normal = (x * 2.0**shift).where(small, x)
    # x = 2 ** k * m with sqrt(1/2) <= m < sqrt(2)
    root = int(np.array(math.sqrt(0.5), f"f{e.itemsize}").view(f"i{e.itemsize}"))
    distance = builder.sub(normal.bits(), x.integer(root))
    k = builder.ashr(distance, x.integer(f.fraction))
    m = x.from_bits(builder.sub(normal.bits(), builder.shl(k, x.integer(f.fraction))))
    power = x.from_integer(k)
    power = (power - shift).where(small, power)
    # log(1 + t) = 2 artanh(s) = t - (t*t/2 - s * (t*t/2 + R)), as in fdlibm
    t = m - 1.0
    s = t / (t + 2.0)
    z = s * s
    rest = z * _series(z, [2 / (2 * i + 3) for i in range(f.log_terms)])
    square = t * t * 0.5
    low = s.fma(square + rest, power * f.ln2_low)
    value = power.fma(f.ln2_high, t - (square - low))
    value = value.where(x.compare("<", math.inf), x)  # infinity and NaN
    value = value.where(x.compare("!=", 0.0), -math.inf)
    return x.constant(math.nan).where(x.compare("<", 0.0), value)


def tanh(x: Vector) -> Vector:
    """Hyperbolic tangent."""
    t = _expm1(x.call("fabs").call("minnum", 20.0) * 2.0)  # tanh(20) rounds to 1
    value = (t / (t + 2.0)).call("copysign", x)
    return value.where(x.compare("==", x), x)


def sigmoid(x: Vector) -> Vector:
    """``1 / (1 + exp(-x))`` without overflow."""
    z = exp(-x.call("fabs"))
    return x.constant(1.0).where(x.compare(">=", 0.0), z) / (z + 1.0)
