"""What the commands look up about compiled kernels: where they are kept, how many there are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple


class Cache(NamedTuple):
    """The disk cache of compiled kernels.

    Attributes
    ----------
    folder : Path or None
        Where it lies; None where no folder is writable.
    writable : bool
    kernels, size : int
        Kernels that this version on this processor would load, and their bytes.
    stale, stale_size : int
        Files of other versions, and their bytes: nobody removes them, and they may be removed at any time.
    """

    folder: Path | None
    writable: bool
    kernels: int
    size: int
    stale: int
    stale_size: int


def cache() -> Cache:
    """Look at the disk cache; needs Numba."""
    from tinyconv.backends.kernels import compiler, launch

    serial: Any = launch._serial()
    place = serial.stats.cache_path  # the kernels of this package lie in one folder
    if place is None:
        return Cache(None, False, 0, 0, 0, 0)
    folder, own = Path(place), compiler.fingerprint()
    kernels = size = stale = stale_size = 0
    for entry in os.scandir(folder) if folder.is_dir() else ():
        name = entry.name
        if not name.endswith((".nbi", ".nbc")):
            continue
        try:
            length = entry.stat().st_size
        except OSError:  # another process replaced it
            continue
        if own in name:
            kernels, size = kernels + name.endswith(".nbc"), size + length
        else:
            stale, stale_size = stale + 1, stale_size + length
    return Cache(folder, os.access(folder, os.W_OK), kernels, size, stale, stale_size)
