"""Backends: the one door to the device. See ``reference`` for what a backend is.

``get(name)`` gives a backend's table, ``of(array)`` the table that an array belongs to, ``default()`` the one where
new arrays are put. Which table serves the host is decided once, by ``TINYCONV_BACKEND``: ``auto`` (Numba kernels where
Numba is installed, else NumPy), ``cpu`` or ``reference``.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinyconv.backends.reference import Array, ReferenceBackend

__all__ = ["Array", "ReferenceBackend", "default", "get", "of", "recorded_by"]

_tables: dict[str, ReferenceBackend] = {}
_recorder: ContextVar[Any] = ContextVar("tinyconv_recorder", default=None)


def get(name: str) -> ReferenceBackend:
    """Return the backend called ``name``: ``"reference"`` or ``"cpu"``.

    Raises
    ------
    ValueError
        For an unknown name.
    ImportError
        When the backend's package is not installed; the message holds the install command.
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
    raise ValueError(f"Unknown backend: expected 'reference' or 'cpu'. Received: {name!r}")


def host() -> ReferenceBackend:
    """The table that serves NumPy arrays in this process."""
    if "host" not in _tables:
        name = os.environ.get("TINYCONV_BACKEND", "auto")
        if name == "auto":
            name = "reference" if importlib.util.find_spec("numba") is None else "cpu"
        _tables["host"] = get(name)
    return _tables["host"]


def default() -> ReferenceBackend:
    """The backend on which new arrays are made."""
    return _recorder.get() or host()


def of(array: Any) -> ReferenceBackend:
    """The backend whose arrays ``array`` is one of."""
    if isinstance(array, np.ndarray):
        return _recorder.get() or host()
    raise TypeError(f"Expected an array of a known backend. Received: {type(array).__name__}")


@contextmanager
def recorded_by(recorder: Any) -> Iterator[None]:
    """Let ``recorder`` (a ``recording.Recorder``) note all work of this context; ``None`` pauses an outer one."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)
