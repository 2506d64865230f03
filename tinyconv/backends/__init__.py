"""Backends: the one door to the device. See ``reference`` for what a backend is.

``get(name)`` gives a backend's table, ``of(array)`` the table that an array belongs to, ``default()`` the one where
new arrays are put. Which table serves the host is decided once, by ``TINYCONV_BACKEND``: ``auto`` (Numba kernels where
Numba is installed, else NumPy), ``cpu`` or ``reference``.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np

from tinyconv.backends.reference import Array, ReferenceBackend

__all__ = ["Array", "ReferenceBackend", "default", "get", "of"]

_tables: dict[str, ReferenceBackend] = {}


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


def default() -> ReferenceBackend:
    """The backend on which new arrays are made."""
    if "host" not in _tables:
        name = os.environ.get("TINYCONV_BACKEND", "auto")
        if name == "auto":
            name = "reference" if importlib.util.find_spec("numba") is None else "cpu"
        _tables["host"] = get(name)
    return _tables["host"]


def of(array: Any) -> ReferenceBackend:
    """The backend whose arrays ``array`` is one of."""
    if isinstance(array, np.ndarray):
        return default()
    raise TypeError(f"Expected an array of a known backend. Received: {type(array).__name__}")
