"""A stand-in for ``cupy.cuda`` on the CPU: streams, events, graphs, memory pools, pinned memory, raw kernels.

Work of a stream is done at once, but copies between host and device wait until something that orders them asks for
them: a missing event shows as old data. A captured graph keeps no memory alive, and freed memory is overwritten and
given away again: a pool that is gone, or memory shared by mistake, shows as NaN. What CUDA or CuPy refuse during a
capture is refused here. Raw kernels are compiled by g++ and run thread by thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import itertools
import os
import re
import subprocess
import tempfile
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np

UNIT = 512  # bytes that memory comes in, as in CuPy
capacity = 1 << 30  # bytes of the imagined device
syncs = 0  # how often the host waited for the device


# --- memory ----------------------------------------------------------------------------------------------------


class OutOfMemoryError(MemoryError):
    def __init__(self, size, total, limit=0):
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


class Bytes(np.ndarray):
    """A block in use: arrays in it keep it alive, and when the last one goes it is given back."""

    raw = None


_taken = 0


def _malloc(size):
    """Memory of the device itself."""
    global _taken
    size = -(-size // UNIT) * UNIT
    if _taken + size > capacity:
        raise OutOfMemoryError(size, _taken)
    _taken += size
    return _handle(np.full(size, 0xFF, np.uint8), size, _free)


def _free(raw):
    global _taken
    _taken -= raw.size
    raw[:] = 0xFF


def _handle(raw, size, free):
    block = (ctypes.c_uint8 * size).from_buffer(raw)
    handle = Bytes(size, np.uint8, block)  # its base is no array, so that it is the base of its views
    handle.raw = raw
    weakref.finalize(handle, free, raw).atexit = False
    return handle


class MemoryPool:
    def __init__(self, allocator=None):
        self._allocator, self._limit = allocator or _malloc, 0
        self._free, self._used, self._blocks, self.allocations = {}, 0, {}, 0

    def malloc(self, size):
        size = -(-max(size, 1) // UNIT) * UNIT
        if self._free.get(size):
            raw = self._free[size].pop()
        else:
            if self._limit and self.total_bytes() + size > self._limit:
                raise OutOfMemoryError(size, self.total_bytes())
            try:
                backing = self._allocator(size)
            except OutOfMemoryError:
                self.free_all_blocks()
                backing = self._allocator(size)
            raw = backing.view(np.ndarray)
            self._blocks[id(raw)] = raw, backing
            self.allocations += 1
        self._used += size
        return _handle(raw, size, functools.partial(_give_back, weakref.ref(self)))

    def free_all_blocks(self, stream=None):
        for raws in self._free.values():
            for raw in raws:
                self._blocks.pop(id(raw))
        self._free.clear()

    def used_bytes(self):
        return self._used

    def total_bytes(self):
        return sum(raw.size for raw, _ in self._blocks.values())

    def free_bytes(self):
        return self.total_bytes() - self._used

    def get_limit(self):
        return self._limit

    def set_limit(self, size=None, fraction=None):
        self._limit = size or 0


def _give_back(pool, raw):
    raw[:] = 0xFF
    pool = pool()
    if pool is not None:
        pool._used -= raw.size
        pool._free.setdefault(raw.size, []).append(raw)


_default_pool = MemoryPool()
_allocator = _default_pool.malloc
_local = threading.local()


def get_allocator():
    return getattr(_local, "allocator", None) or _allocator


def set_allocator(allocator=None):
    global _allocator
    _allocator = allocator or _malloc


@contextlib.contextmanager
def using_allocator(allocator=None):
    before, _local.allocator = getattr(_local, "allocator", None), allocator or _malloc
    try:
        yield
    finally:
        _local.allocator = before


def get_default_memory_pool():
    return _default_pool


def allocate(like):
    """Device memory for an array of the shape, dtype and order of axes of ``like``."""
    order = sorted(range(like.ndim), key=lambda axis: -abs(like.strides[axis]))
    shape = [like.shape[axis] for axis in order]
    array = np.ndarray(shape, like.dtype, get_allocator()(like.nbytes))
    return array.transpose([order.index(axis) for axis in range(like.ndim)])


def _place(array):
    """A way to find the same memory again without keeping it alive."""
    handle = array
    while handle is not None and not isinstance(handle, Bytes):
        handle = getattr(handle, "base", None)
    if handle is None:
        return lambda: array  # no memory of the device
    offset = array.ctypes.data - handle.raw.ctypes.data
    settings = array.shape, array.dtype, handle.raw, offset, array.strides
    return lambda: np.ndarray(*settings)


def alloc_pinned_memory(size):
    return np.zeros(max(size, 1), np.uint8)


class MemoryPointer:
    """Where an array lies; the copies are asynchronous."""

    def __init__(self, array):
        self.ptr, self._array = array.ctypes.data, array

    def _copy(self, target, source, size, stream):
        """The device's memory is this array's; all other addresses stay valid, as pinned memory does."""
        keep = self._array
        (stream or get_current_stream()).later(lambda: (ctypes.memmove(target, source, size), keep))

    def copy_from_host_async(self, mem, size, stream=None):
        self._copy(self.ptr, mem, size, stream)

    def copy_to_host_async(self, mem, size, stream=None):
        self._copy(mem, self.ptr, size, stream)

    def copy_from_device_async(self, src, size, stream=None):
        self._copy(self.ptr, src.ptr, size, stream)


# --- streams and graphs ----------------------------------------------------------------------------------------

_numbers = itertools.count(2)


class Graph:
    def __init__(self, work):
        self._work = work
        self.launches = 0

    def launch(self, stream=None):
        self.launches += 1
        (stream or get_current_stream()).run(lambda: [part() for part in self._work])

    def upload(self, stream=None):
        pass


class Stream:
    def __init__(self, null=False, non_blocking=False, ptds=False):
        self.ptr = 0 if null else next(_numbers)
        self._queue, self._done, self._capture, self._valid = [], 0, None, True

    def later(self, work):
        """Work that need not be done before it is waited for."""
        if self._capture is not None:
            self._capture.append(work)
        else:
            self._queue.append(work)

    def run(self, work):
        """Work that comes after all that was asked for before."""
        if self._capture is not None:
            self._capture.append(work)
        else:
            self.flush()
            work()

    def flush(self, until=None):
        """Do what waits, up to a position."""
        count = len(self._queue) if until is None else until - self._done
        for work in self._queue[: max(count, 0)]:
            work()
            self._done += 1
        self._queue = self._queue[max(count, 0) :]

    def begin_capture(self, mode=None):
        if self.ptr in (0, 1):
            raise RuntimeError("cannot capture on the default (legacy) stream")
        assert self._capture is None
        self.flush()
        self._capture, self._valid = [], True

    def end_capture(self):
        work, self._capture = self._capture, None
        if not self._valid:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        return Graph(work)

    def is_capturing(self):
        if self._capture is not None and not self._valid:
            raise RuntimeError("the stream was capturing, but an error has invalidated the capture sequence")
        return self._capture is not None

    def record(self, event=None):
        event = event or Event()
        event._at = self, self._done + len(self._queue)
        return event

    def wait_event(self, event):
        if self._capture is None:
            event._flush()

    def synchronize(self):
        _waits("cudaStreamSynchronize")
        self.flush()

    def __enter__(self):
        _streams().append(self)
        return self

    def __exit__(self, *_):
        _streams().pop()

    def __eq__(self, other):
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self):
        return self.ptr


Stream.null = Stream(null=True)


class Event:
    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self._at = None

    def record(self, stream=None):
        (stream or get_current_stream()).record(self)

    def _flush(self):
        if self._at is not None:
            self._at[0].flush(self._at[1])

    def synchronize(self):
        refuse("cudaEventSynchronize")
        if not self.done:
            _waits("cudaEventSynchronize")
            self._flush()

    @property
    def done(self):
        return self._at is None or self._at[0]._done >= self._at[1]


def _streams():
    if not hasattr(_local, "streams"):
        _local.streams = [Stream.null]
    return _local.streams


def get_current_stream(device_id=-1):
    return _streams()[-1]


def refuse(what, kind=RuntimeError):
    """Raise if the current stream is capturing, and make its capture invalid."""
    stream = get_current_stream()
    if stream._capture is not None:
        stream._valid = kind is NotImplementedError and stream._valid  # CuPy looks before it calls cuBLAS
        raise kind(f"{what}: operation not permitted when stream is capturing")


def _waits(what):
    global syncs
    refuse(what)
    syncs += 1


def fetch(array):
    """The values on the host: waits for the stream."""
    _waits("cudaMemcpy")
    get_current_stream().flush()
    return array.copy()


def perform(function, *arguments):
    """``function`` of host arrays, into memory of the device: done now, or in every launch of the captured graph."""
    stream = get_current_stream()
    stream.flush()
    with np.errstate(all="ignore"):
        found = np.asarray(function(*arguments))
    if any(np.may_share_memory(found, array) for array in _arrays(arguments)):
        return found  # a view
    made = allocate(found)
    if stream._capture is None:
        made[...] = found
        return made
    made.fill(0)
    target, sources = _place(made), _hold(arguments)

    def work():
        with np.errstate(all="ignore"):
            target()[...] = function(*_let_go(sources))

    stream.run(work)
    return made


def overwrite(target, index, value):
    """``target[index] = value``."""
    place, index, value = _place(target), _hold(index), _hold(value)

    def work():
        place()[_let_go(index)] = _let_go(value)

    get_current_stream().run(work)


def _arrays(value):
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | list):
        for entry in value:
            yield from _arrays(entry)


def _hold(value):
    if isinstance(value, tuple | list):
        return type(value)(map(_hold, value))
    return SimpleNamespace(find=_place(value)) if isinstance(value, np.ndarray) else value


def _let_go(value):
    if isinstance(value, tuple | list):
        return type(value)(map(_let_go, value))
    return value.find() if isinstance(value, SimpleNamespace) else value


def launch(kernel, arrays):
    """``kernel(*arrays)``, which writes into them: now, or in every launch of the captured graph."""
    places = [_place(array) for array in arrays]
    get_current_stream().run(lambda: kernel(*(place() for place in places)))


memory = SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
runtime = SimpleNamespace(memGetInfo=lambda: (capacity - _taken, capacity), getDeviceCount=lambda: 1)


# --- kernels ---------------------------------------------------------------------------------------------------

PRELUDE = """
#define __global__
#define __device__ static inline
#define __restrict__
struct Dim3 { unsigned x, y, z; };
static thread_local Dim3 threadIdx, blockIdx, blockDim, gridDim;
extern "C" {
float sqrtf(float); float fabsf(float);
double exp(double); double expm1(double); double log(double); double tanh(double); double sqrt(double);
double fabs(double);
}
static float expf(float x) { return (float)exp((double)x); }  // as the module's exp: rounded once
static float expm1f(float x) { return (float)expm1((double)x); }
static float logf(float x) { return (float)log((double)x); }
static float tanhf(float x) { return (float)tanh((double)x); }
"""
LOOP = """
extern "C" void {name}_all(unsigned grid_, unsigned block_, {parameters}) {{
    gridDim = {{grid_, 1, 1}}; blockDim = {{block_, 1, 1}};
    for (unsigned b_ = 0; b_ < grid_; ++b_)
        for (unsigned t_ = 0; t_ < block_; ++t_) {{
            blockIdx = {{b_, 0, 0}}; threadIdx = {{t_, 0, 0}};
            {name}({names});
        }}
}}
"""


class RawKernel:
    """A kernel without shared memory, its threads one after the other."""

    def __init__(self, code, name, options=(), **_):
        parameters = re.search(rf"void\s+{name}\s*\((.*?)\)", code, re.DOTALL).group(1)
        names = ", ".join(re.findall(r"(\w+)\s*(?:,|$)", parameters))
        self._function = getattr(_library(PRELUDE + code + LOOP.format(**locals())), f"{name}_all")

    def __call__(self, grid, block, arguments, **_):
        assert grid[1:] in ((), (1,), (1, 1)), "one axis of blocks"
        sizes = [ctypes.c_uint(grid[0]), ctypes.c_uint(block[0])]
        numbers = [None if hasattr(a, "_host") else np.ctypeslib.as_ctypes_type(a.dtype)(a.item()) for a in arguments]

        def kernel(*arrays):
            pointers = (ctypes.c_void_p(array.ctypes.data) for array in arrays)
            self._function(*sizes, *(next(pointers) if n is None else n for n in numbers))

        launch(kernel, [a._host for a in arguments if hasattr(a, "_host")])


@functools.cache
def _library(code):
    folder = Path(tempfile.gettempdir()) / f"tinyconv-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{hashlib.sha256(code.encode()).hexdigest()[:24]}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            source, made = Path(work) / "kernel.cpp", Path(work) / "kernel.so"
            source.write_text(code)
            flags = ["-O1", "-w", "-shared", "-fPIC", "-ffp-contract=off", "-fno-builtin"]
            subprocess.run(["g++", *flags, source, "-lm", "-o", made], check=True)
            made.replace(path)
    return ctypes.CDLL(str(path))
