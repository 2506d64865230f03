"""Backends: the one door to the device. See ``reference`` for what a backend is.

``get(name)`` gives a backend's table, ``of(array)`` the table that an array belongs to, ``default()`` the one where
new arrays are put. Which table serves the host is decided once, by ``TINYCONV_BACKEND``: ``auto`` (Numba kernels where
Numba is installed, else NumPy), ``cpu`` or ``reference``. Which device new arrays are put on is decided by
``tinyconv.device`` for a context, by ``TINYCONV_DEVICE`` for the process, and is the host otherwise.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinyconv.backends.reference import Array, ReferenceBackend

__all__ = ["Array", "ReferenceBackend", "default", "get", "of", "recorded_by"]

DEVICES = ("cpu", "cuda")
_ALIASES = {"cpu:0": "cpu", "cuda:0": "cuda", "gpu": "cuda", "gpu:0": "cuda"}

_tables: dict[str, ReferenceBackend] = {}
_device: ContextVar[str | None] = ContextVar("tinyconv_device", default=None)
_recorder: ContextVar[Any] = ContextVar("tinyconv_recorder", default=None)


def get(name: str) -> ReferenceBackend:
    """Return the backend called ``name``: ``"reference"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    ValueError
        For an unknown name.
    ImportError
        When the backend's package is not installed; the message holds the install command.
    RuntimeError
        When CuPy finds no GPU or no driver.
    """
    if name not in _tables:
        _tables[name] = _make(name)
    return _tables[name]


def _make(name: str) -> ReferenceBackend:
    if name == "reference":
        return ReferenceBackend()
    if name == "cpu":
        if importlib.util.find_spec("numba") is None:
            raise ImportError("The 'cpu' backend needs Numba: pip install numba")
        from tinyconv.backends.cpu import CPUBackend

        return CPUBackend()
    if name == "cuda":
        from tinyconv.backends.cuda import CudaBackend

        return CudaBackend()
    raise ValueError(f"Unknown backend: expected 'reference', 'cpu' or 'cuda'. Received: {name!r}")


def host() -> ReferenceBackend:
    """The table that serves NumPy arrays in this process."""
    if "host" not in _tables:
        name = os.environ.get("TINYCONV_BACKEND") or "auto"
        if name == "auto":
            name = "reference" if importlib.util.find_spec("numba") is None else "cpu"
        table = get(name)
        if table.device != "cpu":
            raise ValueError(f"TINYCONV_BACKEND must name a table for NumPy arrays; use TINYCONV_DEVICE={name}")
        _tables["host"] = table
    return _tables["host"]


def device_name(name: str) -> str:
    """``"cpu"`` or ``"cuda"`` for any accepted name of a device, which must be there.

    ``"auto"`` is the GPU where CuPy finds one, else the host; ``"gpu"``, ``"gpu:0"``, ``"cuda:0"`` are the same GPU.
    """
    known = _ALIASES.get(name, name) if isinstance(name, str) else name
    if known == "auto":
        return "cuda" if cuda_is_available() else "cpu"
    if known not in DEVICES:
        raise ValueError(f"device must be 'cpu', 'cuda' or 'auto' (one GPU is used). Received: {name!r}")
    if known == "cuda":
        get("cuda")
    return str(known)


def cuda_is_available() -> bool:
    """Whether CuPy is installed and finds a GPU."""
    if "cuda" not in _tables and importlib.util.find_spec("cupy") is None:
        return False
    try:
        get("cuda")
    except (ImportError, RuntimeError):
        return False
    return True


def cuda_in_use() -> bool:
    """Whether this process has asked for the GPU, or been given arrays on it."""
    return "cuda" in _tables


def current_device() -> str:
    """Name of the device that new arrays are put on: ``"cpu"`` or ``"cuda"``."""
    name = _device.get()
    return _device_of_process() if name is None else name


@functools.cache
def _device_of_process() -> str:
    return device_name(os.environ.get("TINYCONV_DEVICE") or "cpu")


def on(device: str) -> ReferenceBackend:
    """The table that serves the arrays of ``device`` (``"cpu"`` or ``"cuda"``)."""
    recorder = _recorder.get()
    if recorder is not None and recorder.device == device:
        return recorder
    return get("cuda") if device == "cuda" else host()


def default() -> ReferenceBackend:
    """The backend on which new arrays are made."""
    return on(current_device())


def of(array: Any) -> ReferenceBackend:
    """The backend whose arrays ``array`` is one of."""
    if isinstance(array, np.ndarray):
        return on("cpu")
    if on_gpu(array):
        return on("cuda")
    raise TypeError(f"Expected an array of a known backend. Received: {type(array).__name__}")


def on_gpu(value: Any) -> bool:
    """Whether ``value`` is a CuPy array; CuPy itself is not imported to find out."""
    table = _tables.get("cuda")
    if table is not None:
        return isinstance(value, table.xp.ndarray)
    return type(value).__module__.split(".")[0] == "cupy" and hasattr(value, "__cuda_array_interface__")


def move(array: Any, table: ReferenceBackend) -> Array:
    """``array``, of whatever backend, as an array of ``table``."""
    if on_gpu(array) and table.device != "cuda":
        array = get("cuda").to_numpy(array)
    return table.asarray(array)


def fetch(arrays: Sequence[Array]) -> Callable[[], list[np.ndarray]]:
    """Begin to copy to the host what is not there; the function that is returned waits and gives all values."""
    away = [array for array in arrays if on_gpu(array)]
    if not away:
        return lambda: list(arrays)
    from tinyconv.backends.cuda.memory import fetch

    wait = fetch(get("cuda").xp, away)
    here = [None if on_gpu(array) else array for array in arrays]

    def values() -> list[np.ndarray]:
        coming = iter(wait())
        return [next(coming) if array is None else array for array in here]

    return values


@contextmanager
def recorded_by(recorder: Any) -> Iterator[None]:
    """Let ``recorder`` (a ``recording.Recorder``) note all work of this context; ``None`` pauses an outer one."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)
