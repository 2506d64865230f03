"""An array module as strict as CuPy, on the CPU: what runs on it does not lean on NumPy by accident.

Its arrays are no ``numpy.ndarray``. They refuse to become one unasked, to be combined with one, and to be handed to a
function of NumPy; results are always arrays, never scalars. The module has only the functions in ``FUNCTIONS``, each of
which CuPy has too (``test_devices`` looks where CuPy is installed).
"""

from __future__ import annotations

import operator
from types import SimpleNamespace

import numpy as np
from scipy.special import erf

from tinyconv.backends.cuda import CudaBackend
from tinyconv.backends.reference import BINARY, UNARY

FUNCTIONS = {
    *UNARY, *BINARY, "where", "concatenate", "stack", "pad", "broadcast_to", "sum", "prod", "max", "min", "all", "any",
    "argmax", "argmin", "argsort", "cumsum", "matmul", "einsum", "take_along_axis", "clip", "zeros_like",
    "searchsorted",
}  # fmt: skip
MAKERS = {"full", "zeros", "ones", "arange"}
REFUSAL = "Implicit conversion to a NumPy array is not allowed"


class ndarray:
    """An array on the imagined device."""

    __slots__ = ("__weakref__", "_host")
    __hash__ = None

    def __init__(self, host):
        self._host = np.asarray(host)

    def __array__(self, *_, **__):
        raise TypeError(REFUSAL)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        assert method == "__call__", f"CuPy has no ufunc.{method} for all dtypes"
        return _wrap(ufunc(*map(_unwrap, inputs), **{k: _unwrap(v) for k, v in options.items()}))

    def __array_function__(self, function, _, arguments, options):
        if function.__name__ in ("shape", "ndim", "size"):  # CuPy answers these itself
            return function(self._host)
        raise TypeError(f"numpy.{function.__name__} of an array on the device")

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)

    def astype(self, dtype, copy=True):
        return ndarray(self._host.astype(dtype, copy=copy))

    def reshape(self, *shape):
        return ndarray(self._host.reshape(*shape))

    def transpose(self, *axes):
        return ndarray(self._host.transpose(*axes))

    def sum(self, axis=None, dtype=None, keepdims=False):
        return _wrap(self._host.sum(axis=axis, dtype=dtype, keepdims=keepdims))

    def all(self):
        return _wrap(self._host.all())

    def __getitem__(self, index):
        return _wrap(self._host[_unwrap(index)])

    def __setitem__(self, index, value):
        self._host[_unwrap(index)] = _unwrap(value)

    def __len__(self):
        return len(self._host)

    def __bool__(self):
        return bool(self._host)


def _wrap(result):
    return ndarray(result) if isinstance(result, np.ndarray | np.generic) else result


def _unwrap(value):
    """What NumPy computes with, in arrays of the device, sequences of them, and numbers: host arrays are refused."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, tuple | list):
        return type(value)(map(_unwrap, value))
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value


def _function(name):
    def call(*arguments, **options):
        found = getattr(np, name)(*map(_unwrap, arguments), **{k: _unwrap(v) for k, v in options.items()})
        return _wrap(found)

    return staticmethod(call)


def _operator(name, swapped=False):
    def method(self, other=None):
        values = (self,) if other is None else (other, self) if swapped else (self, other)
        return _wrap(getattr(operator, name)(*map(_unwrap, values)))

    return method


ARITHMETIC = "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"
for _name in ARITHMETIC:
    _spelled = {"and": "and_", "or": "or_"}.get(_name, _name)
    setattr(ndarray, f"__{_name}__", _operator(_spelled))
    setattr(ndarray, f"__r{_name}__", _operator(_spelled, swapped=True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "abs", "invert"):
    setattr(ndarray, f"__{_name}__", _operator(_name))


def _from_anything(data, dtype=None, copy=None, order=None):
    host = data._host if isinstance(data, ndarray) else data
    return ndarray(np.array(host, dtype=dtype, copy=copy, order=order))


def sliding_window_view(x, window_shape, axis):
    return ndarray(np.lib.stride_tricks.sliding_window_view(_unwrap(x), window_shape, axis))


class xp:
    """The module: ``ndarray``, conversions, and no function but those listed."""

    ndarray = ndarray
    lib = SimpleNamespace(stride_tricks=SimpleNamespace(sliding_window_view=sliding_window_view))
    array = staticmethod(lambda data, dtype=None, order="K": _from_anything(data, dtype, True, order))
    asarray = staticmethod(lambda data, dtype=None: _from_anything(data, dtype))
    asnumpy = staticmethod(lambda x: _unwrap(x).copy())


for _name in FUNCTIONS | MAKERS:
    setattr(xp, _name, _function(_name))
xp.argsort = staticmethod(lambda x, axis=-1: ndarray(np.argsort(_unwrap(x), axis, kind="stable")))  # as CuPy's is


class StrictBackend(CudaBackend):
    """The CUDA backend's own text on the strict module; only ``erf`` is a function of another package."""

    def __init__(self):
        self.xp = xp

    def erf(self, x):
        return self.xp.asarray(erf(_unwrap(x)), dtype=x.dtype)
