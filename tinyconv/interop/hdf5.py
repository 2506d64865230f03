"""HDF5 files through h5py.

They are data that may be damaged or lie: links are not followed, and sizes are checked before anything is read.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import struct
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from tinyconv.models.weights import Stored

_BEST_COMPRESSION = 1032  # deflate packs no better
_HEAP = b"GCOL\x01\0\0\0"  # how a heap of texts begins


def require_h5py() -> Any:
    """The module h5py, or an error that says how to get it."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError("Files in the formats of Keras (.h5, .hdf5, .keras) need h5py: pip install h5py") from error
    return h5py


def is_available() -> bool:
    """Whether h5py can be imported."""
    try:
        require_h5py()
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def reading(source: Any, title: Any) -> Iterator[Any]:
    """An open file (``source``: a path or a file object) as a context; damage is a ``ValueError`` that names it."""
    h5py = require_h5py()
    try:
        _check_heaps(source)
        with h5py.File(source, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, OverflowError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"{title} is not a Keras file, or it is damaged: {error}") from error


def _check_heaps(source: Any) -> None:
    """Refuse a heap of texts that the library would read for ever: one with free space of no length.

    A heap is a list of objects (index, references, length, contents); what has index 0 is free, and as long as it says.
    """
    with contextlib.ExitStack() as opened:
        if isinstance(source, io.BytesIO):
            data: Any = source.getvalue()
        else:
            file = opened.enter_context(open(source, "rb"))
            if not file.seek(0, io.SEEK_END):
                return  # h5py says that an empty file is none
            data = opened.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        heap = data.find(_HEAP)
        while heap >= 0:
            place, end = heap + 16, min(heap + _number(data, heap + 8), len(data))
            while place + 16 <= end:
                length = _number(data, place + 8)
                if data[place : place + 2] != b"\0\0":
                    place += 16 + (length + 7) // 8 * 8
                elif length >= 16:
                    place += length
                else:
                    raise OSError("a heap of texts in it never ends")
            heap = data.find(_HEAP, heap + 1)


def _number(data: Any, place: int) -> int:
    return int(struct.unpack_from("<Q", data, place)[0]) if place + 8 <= len(data) else 0


@contextlib.contextmanager
def writing(target: IO[bytes]) -> Iterator[Any]:
    """A new file as a context, made in memory and in the end written to ``target``.

    HDF5 itself is not let near the disk: where that is full, the library takes the whole process down.
    """
    buffer = io.BytesIO()
    with require_h5py().File(buffer, "w") as file:
        yield file
    target.write(buffer.getvalue())  # not a view: what failed would keep it, and the buffer complain


def child(group: Any, name: str) -> Any:
    """The group or dataset called ``name`` (``/`` separates steps); links to other files and places are refused."""
    h5py = require_h5py()
    node = group
    for step in name.split("/"):
        if not isinstance(node, h5py.Group) or step in ("", ".", ".."):
            raise ValueError(f"expected a group at {node.name!r} with {name!r} in it")
        link = node.get(step, getlink=True)
        if link is None:
            raise ValueError(f"there is no {name!r} in {group.name!r}")
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{name!r} in {group.name!r} is a link, which is not followed")
        node = node[step]
    return node


def stored(group: Any, name: str, title: str | None = None) -> Stored:
    """The array ``name`` in a group, once it is known that the file really holds as much as it claims."""
    h5py = require_h5py()
    data = child(group, name)
    if not isinstance(data, h5py.Dataset) or data.shape is None or data.dtype.kind not in "fiu":
        raise ValueError(f"expected an array of numbers at {name!r} in {group.name!r}")
    if data.is_virtual or data.external:
        raise ValueError(f"{name!r} in {group.name!r} keeps its values in another file, which is not opened")
    if data.nbytes > _BEST_COMPRESSION * (data.id.get_storage_size() + 64):
        raise ValueError(f"{name!r} claims the shape {data.shape}, but holds {data.id.get_storage_size()} bytes")
    return Stored(title or name, tuple(map(int, data.shape)), data.dtype, lambda: np.asarray(data[()]))


def attribute(node: Any, name: str) -> str | None:
    """A text attribute, or None."""
    value = node.attrs.get(name)
    return value.decode() if isinstance(value, bytes) else None if value is None else str(value)


def names(group: Any, key: str) -> list[str]:
    """A list of names in an attribute; Keras spreads long ones over ``key0``, ``key1``, ..."""
    parts, number = [group.attrs.get(key)], 0
    if parts[0] is None:
        parts = []
        while f"{key}{number}" in group.attrs:
            parts.append(group.attrs[f"{key}{number}"])
            number += 1
    return [n.decode() if isinstance(n, bytes) else str(n) for part in parts for n in np.atleast_1d(part).tolist()]


def set_names(group: Any, key: str, values: Sequence[str]) -> None:
    """Write a list of names as Keras reads it."""
    group.attrs.create(key, np.array(list(values), dtype=object), (len(values),), require_h5py().string_dtype())
