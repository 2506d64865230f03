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

from tests.cuda import host, runtime
from tinyconv.backends.cuda import CudaBackend
from tinyconv.backends.cuda.launch import Launcher
from tinyconv.backends.reference import BINARY, UNARY

FUNCTIONS = {
    *UNARY, *BINARY, "where", "concatenate", "stack", "pad", "broadcast_to", "sum", "prod", "max", "min", "all", "any",
    "argmax", "argmin", "argsort", "cumsum", "matmul", "einsum", "take_along_axis", "clip", "zeros_like",
    "searchsorted", "ascontiguousarray",
}  # fmt: skip
MAKERS = {"full", "zeros", "ones", "arange"}
TRANSCENDENTAL = {"exp", "expm1", "log", "tanh"}
CUBLAS = {"matmul", "einsum"}  # refused while a graph is captured
REFUSAL = "Implicit conversion to a NumPy array is not allowed"


class ndarray:
    """An array on the imagined device: ``_host`` is memory that ``runtime`` gave, or a view of some."""

    __slots__ = ("__weakref__", "_host")
    __hash__ = None

    def __init__(self, host):
        self._host = host

    def __array__(self, *_, **__):
        raise TypeError(REFUSAL)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        assert method == "__call__", f"CuPy has no ufunc.{method} for all dtypes"
        return _do(ufunc, *inputs, **options)

    def __array_function__(self, function, _, arguments, options):
        if function.__name__ in ("shape", "ndim", "size"):  # CuPy answers these itself
            return function(self._host)
        raise TypeError(f"numpy.{function.__name__} of an array on the device")

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    strides = property(lambda self: self._host.strides)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    flags = property(lambda self: self._host.flags)
    data = property(lambda self: runtime.MemoryPointer(self._host))
    __cuda_array_interface__ = property(lambda self: {"shape": self.shape, "version": 3})

    def astype(self, dtype, copy=True):
        if not copy and self.dtype == dtype:
            return self
        return _do(lambda x: x.astype(dtype), self)

    def view(self, dtype):
        return ndarray(self._host.view(dtype))

    def reshape(self, *shape):
        return _do(lambda x: x.reshape(*shape), self)

    def transpose(self, *axes):
        return _do(lambda x: x.transpose(*axes), self)

    def sum(self, axis=None, dtype=None, keepdims=False):
        return _do(lambda x: x.sum(axis=axis, dtype=dtype, keepdims=keepdims), self)

    def all(self):
        return _do(np.all, self)

    def __getitem__(self, index):
        return _do(operator.getitem, self, index)

    def __setitem__(self, index, value):
        runtime.overwrite(self._host, _unwrap(index), _unwrap(value))

    def __len__(self):
        return len(self._host)

    def __bool__(self):
        return bool(runtime.fetch(self._host))


def _do(function, *arguments, **options):
    """The result of a function of NumPy on arrays of the device; a view where NumPy gives one."""
    found = runtime.perform(lambda *values: function(*values, **options), *map(_unwrap, arguments))
    return ndarray(found)


def _unwrap(value):
    """What NumPy computes with, in arrays of the device, sequences of them, and numbers: host arrays are refused."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, tuple | list):
        return type(value)(map(_unwrap, value))
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value


def _rounded_once(function):
    """A function whose float32 results are those of float64, rounded: eager and fused kernels agree on them."""

    def call(x):
        return function(x.astype("f8")).astype("f4") if x.dtype == "f4" else function(x)

    return call


def _function(name):
    function = getattr(np, name)
    if name in TRANSCENDENTAL:
        function = _rounded_once(function)

    def call(*arguments, **options):
        if name in CUBLAS:
            runtime.refuse("calling cuBLAS API", NotImplementedError)
        return _do(function, *arguments, **{k: _unwrap(v) for k, v in options.items()})

    return staticmethod(call)


def _operator(name, swapped=False):
    def method(self, other=None):
        values = (self,) if other is None else (other, self) if swapped else (self, other)
        if name == "matmul":
            runtime.refuse("calling cuBLAS API", NotImplementedError)
        return _do(getattr(operator, name), *values)

    return method


ARITHMETIC = "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"
for _name in ARITHMETIC:
    _spelled = {"and": "and_", "or": "or_"}.get(_name, _name)
    setattr(ndarray, f"__{_name}__", _operator(_spelled))
    setattr(ndarray, f"__r{_name}__", _operator(_spelled, swapped=True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "abs", "invert"):
    setattr(ndarray, f"__{_name}__", _operator(_name))


def _from_anything(data, dtype=None, copy=None, order=None):
    if isinstance(data, ndarray):
        if not copy and dtype in (None, data.dtype):
            return data
        return _do(lambda x: np.array(x, dtype=dtype, order=order), data)
    runtime.refuse("cudaMemcpy from the host")
    return ndarray(runtime.perform(lambda: np.array(data, dtype=dtype, order=order)))


def _empty(shape, dtype=float):
    return ndarray(runtime.allocate(np.broadcast_to(np.zeros((), dtype), shape)))


def _as_numpy(x):
    return runtime.fetch(_unwrap(x))


def sliding_window_view(x, window_shape, axis):
    return _do(lambda x: np.lib.stride_tricks.sliding_window_view(x, window_shape, axis), x)


class xp:
    """The module: ``ndarray``, conversions, ``cuda``, and no function but those listed."""

    ndarray = ndarray
    cuda = runtime
    RawKernel = runtime.RawKernel
    lib = SimpleNamespace(stride_tricks=SimpleNamespace(sliding_window_view=sliding_window_view))
    array = staticmethod(lambda data, dtype=None, order="K": _from_anything(data, dtype, True, order))
    asarray = staticmethod(lambda data, dtype=None: _from_anything(data, dtype))
    asnumpy = staticmethod(_as_numpy)
    empty = staticmethod(_empty)
    get_default_memory_pool = staticmethod(runtime.get_default_memory_pool)


for _name in FUNCTIONS | MAKERS:
    setattr(xp, _name, _function(_name))
xp.argsort = staticmethod(lambda x, axis=-1: _do(lambda x: np.argsort(x, axis, kind="stable"), x))  # as CuPy's is


def _load(file, expression, shared):
    """A kernel compiled for the host, on the current stream."""
    kernel = host.load(file, expression, shared)

    def launch(grid, block, arguments, shared_mem=0):
        settings = [None if isinstance(a, ndarray) else a for a in arguments]

        def run(*arrays):
            found = map(ndarray, arrays)
            kernel(grid, block, [next(found) if a is None else a for a in settings], shared_mem)

        runtime.launch(run, [a._host for a in arguments if isinstance(a, ndarray)])

    return launch


class StrictBackend(CudaBackend):
    """The CUDA backend's own text on the strict module, and its kernels; only ``erf`` is another package's function."""

    def __init__(self):
        self.xp = xp
        self._launch = Launcher(xp, host.load)
        self._launch = Launcher(xp, _load)

    def erf(self, x):
        return self.xp.asarray(_do(erf, x), dtype=x.dtype)
