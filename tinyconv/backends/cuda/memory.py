"""Memory of the GPU: copies that run while it computes, and what is said when there is none left."""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import numpy as np

from tinyconv.backends.recording import Form
from tinyconv.backends.reference import Array, ReferenceBackend

_ALIGNMENT = 256  # bytes: any vector load, and whole lines of the cache


class Inbox:
    """Fixed device memory that the inputs and random keys of a plan are put into, run after run.

    What lies on the host goes through pinned memory and a stream of its own, all of it in one copy. Two buffers take
    turns: while the device still reads the one, the next run fills the other.

    Attributes
    ----------
    keys : array, shape (keys,), uint64
    arrays : list of arrays
        Of the shapes and types that were asked for, C-contiguous.
    """

    def __init__(self, xp: Any, keys: int, forms: Sequence[Form]) -> None:
        self._xp, self._turn = xp, 0
        forms = [_form((keys,), np.uint64), *forms]
        starts, size = _layout(forms)
        self._ends = [start + _bytes(form) for start, form in zip(starts, forms)]
        self._memory = xp.empty((size,), np.uint8)
        self.keys, *self.arrays = _views(self._memory, starts, forms)
        self._slots = [_Slot(xp, size, starts, forms) for _ in range(2)]
        self._stream = xp.cuda.Stream(non_blocking=True)

    def fill(self, inputs: Sequence[Array], keys: Sequence[int]) -> None:
        """Put new inputs, of host or device, and keys in their places, before what the current stream does next."""
        slot = self._slots[self._turn]
        self._turn = 1 - self._turn
        on_host = [isinstance(array, np.ndarray) for array in inputs]
        count = max([self._ends[i + 1] for i, here in enumerate(on_host) if here], default=self._ends[0])
        if count:
            slot.copied.synchronize()  # the copy of the run before the last one, long done
            slot.keys[...] = np.array(keys, np.uint64)
            for target, source, here in zip(slot.arrays, inputs, on_host):
                if here:
                    np.copyto(target, source)
            stream = self._xp.cuda.get_current_stream()
            self._stream.wait_event(slot.taken)
            slot.device.data.copy_from_host_async(slot.pinned.ctypes.data, count, self._stream)
            self._stream.record(slot.copied)
            stream.wait_event(slot.copied)
            self._memory.data.copy_from_device_async(slot.device.data, count, stream)
            stream.record(slot.taken)
        for target, source, here in zip(self.arrays, inputs, on_host, strict=True):
            if not here:
                target[...] = source


class _Slot:
    """One of the two buffers: its pinned memory, its device memory, and what has happened to them."""

    def __init__(self, xp: Any, size: int, starts: Sequence[int], forms: Sequence[Form]) -> None:
        self.pinned = _pinned(xp, size)
        self.keys, *self.arrays = _views(self.pinned, starts, forms)
        self.device = xp.empty((size,), np.uint8)
        self.copied, self.taken = (xp.cuda.Event(disable_timing=True) for _ in range(2))


class Outbox:
    """Fixed device memory for the outputs of a plan, one after the other, so that one copy takes them all away.

    Parameters
    ----------
    xp : module
    outputs : sequence of arrays
        What ``put`` will be given: arrays of these shapes and types.
    """

    def __init__(self, xp: Any, outputs: Sequence[Array]) -> None:
        self._xp = xp
        self._forms = [_form(array.shape, array.dtype) for array in outputs]
        self._starts, size = _layout(self._forms)
        self._memory = xp.empty((size,), np.uint8)

    def put(self, outputs: Sequence[Array]) -> None:
        """Put the outputs in their places."""
        for target, source in zip(_views(self._memory, self._starts, self._forms), outputs, strict=True):
            target[...] = source

    def take(self) -> list[Array]:
        """Copies of the outputs."""
        memory = self._xp.empty(self._memory.shape, np.uint8)
        memory.data.copy_from_device_async(self._memory.data, self._memory.nbytes, self._xp.cuda.get_current_stream())
        return _views(memory, self._starts, self._forms)


def fetch(xp: Any, arrays: Sequence[Array]) -> Callable[[], list[np.ndarray]]:
    """Begin to copy arrays to the host; the function that is returned waits for the copies and gives their values."""
    stream = xp.cuda.get_current_stream()
    forms = [_form(array.shape, array.dtype) for array in arrays]
    starts, size = _layout(forms)
    memory = _pinned(xp, size)
    for start, array in zip(starts, arrays):
        array = array if array.flags.c_contiguous else xp.array(array, order="C")
        if array.size:
            array.data.copy_to_host_async(memory.ctypes.data + start, array.nbytes, stream)
    done = stream.record(xp.cuda.Event(disable_timing=True))

    def wait() -> list[np.ndarray]:
        done.synchronize()
        return [view.copy() for view in _views(memory, starts, forms)]

    return wait


def _pinned(xp: Any, size: int) -> np.ndarray:
    """Bytes of host memory that the device can read and write by itself, with undefined contents."""
    return np.frombuffer(xp.cuda.alloc_pinned_memory(size), np.uint8, size)


def _form(shape: tuple[int, ...], dtype: Any) -> Form:
    return Form(shape, np.dtype(dtype), ())


def _bytes(form: Form) -> int:
    return form.size * form.dtype.itemsize


def _layout(forms: Sequence[Form]) -> tuple[list[int], int]:
    """Where arrays begin in a block of bytes, and its size, at least 1."""
    ends = list(itertools.accumulate((-(-_bytes(form) // _ALIGNMENT) * _ALIGNMENT for form in forms), initial=0))
    return ends[:-1], max(ends[-1], 1)


def _views(memory: Array, starts: Sequence[int], forms: Sequence[Form]) -> list[Array]:
    """The arrays in a block of bytes."""
    parts = (memory[start : start + _bytes(form)] for start, form in zip(starts, forms))
    return [part.view(form.dtype).reshape(form.shape) for part, form in zip(parts, forms)]


# --- no memory left --------------------------------------------------------------------------------------------


class OutOfMemoryError(MemoryError):
    """The GPU has no memory left; the message says what was asked for, what is in use, and what may help."""


def explain_shortage(table: type[ReferenceBackend]) -> None:
    """Let every primitive of a table turn CuPy's error of missing memory into an ``OutOfMemoryError``."""
    for name, primitive in inspect.getmembers(table, inspect.isfunction):
        if not name.startswith("_"):
            setattr(table, name, explaining(primitive))


def explaining(primitive: Callable[..., Any]) -> Callable[..., Any]:
    """A method of an object with CuPy as ``xp``, that explains a shortage."""

    @functools.wraps(primitive)
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return primitive(self, *arguments, **options)
        except OutOfMemoryError:
            raise
        except MemoryError as error:
            if not isinstance(error, self.xp.cuda.memory.OutOfMemoryError):  # the host's memory
                raise
            raise OutOfMemoryError(_explanation(self.xp, error, primitive.__name__, arguments)) from error

    return call


def _explanation(xp: Any, error: MemoryError, name: str, arguments: Sequence[Any]) -> str:
    shapes = ", ".join(f"{a.dtype} {tuple(a.shape)}" for a in _arrays(arguments)) or "no arrays"
    free, total = xp.cuda.runtime.memGetInfo()
    pool = xp.get_default_memory_pool()
    return (
        f"The GPU has no memory left for {name} of {shapes}{_layer()}. {error} "
        f"CuPy's pool holds {_mib(pool.total_bytes())}, of which {_mib(pool.used_bytes())} are in use; the GPU has "
        f"{_mib(free)} free of {_mib(total)}. A smaller batch_size needs less; so does "
        "cupy.get_default_memory_pool().free_all_blocks() where other programs share the GPU."
    )


def _arrays(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return [array for entry in value for array in _arrays(entry)]
    return [value] if hasattr(value, "dtype") and hasattr(value, "shape") else []


def _layer() -> str:
    """In which layer this happens, if in one: looked up in the calls under way."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        title = getattr(frame.f_locals.get("self"), "_title", None)
        if isinstance(title, str):
            return f" in {title}"
        frame = frame.f_back
    return ""


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
