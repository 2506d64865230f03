"""Reading and writing IDX files, the format in which MNIST and its relatives are published.

An IDX file is a header and an array, all big-endian::

    2 bytes   zero
    1 byte    type of the elements (see `TYPES`)
    1 byte    number of dimensions D
    D x 4     size of each dimension, unsigned
    rest      the elements in C order

Source: http://yann.lecun.com/exdb/mnist/ ("The IDX file format").
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tinyconv.files import replacing

__all__ = ["read_idx", "write_idx"]

TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
MAX_DIMENSIONS = 32  # what every supported NumPy can hold
BLOCK = 1 << 20


def read_idx(path: str | os.PathLike[str], shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Read an IDX file, plain or compressed with gzip (told by its first bytes, not by its name).

    The header is not trusted: memory grows with what the file really holds, never with what it claims.

    Parameters
    ----------
    path : path of the file.
    shape : the shape that the file must have; another one is refused before the elements are read.

    Returns
    -------
    ndarray
        Writable, in the machine's byte order, of dtype uint8, int8, int16, int32, float32 or float64.

    Raises
    ------
    ValueError
        Where the file is not an IDX file, is truncated, is longer than its header says, is damaged or has
        another shape; the message names the file, what was expected and what was received.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_idx(folder + "/digits-idx1-ubyte", np.array([7, 2, 1], np.uint8))
    ...     read_idx(folder + "/digits-idx1-ubyte")
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            if not packed:
                return _read(file, path, shape)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(unpacked, path, shape)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: expected an intact gzip file. Received: {error}") from error


def _read(file: IO[bytes] | gzip.GzipFile, path: Path, shape: tuple[int, ...] | None) -> NDArray[Any]:
    dtype, found = _read_header(file, path)
    if shape is not None and found != tuple(shape):
        raise ValueError(f"{path}: expected an array of shape {tuple(shape)}. Received {found}")
    expected = math.prod(found) * dtype.itemsize
    data = _read_at_most(file, expected + 1)  # one byte more shows that there is more (and checks gzip's CRC)
    if len(data) != expected:
        received = len(data) if len(data) < expected else "more"
        raise ValueError(
            f"{path}: expected {expected} bytes after the header, for shape {found} of {dtype.name}. "
            f"Received {received}"
        )
    try:
        array = np.ndarray(found, dtype, buffer=data)
    except ValueError as error:  # such as (0, 2**32 - 1, 2**32 - 1): no bytes, and yet too big for NumPy
        raise ValueError(f"{path}: expected a shape that NumPy can hold. Received {found}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(file: IO[bytes] | gzip.GzipFile, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES:
        types = ", ".join(f"{code:02x}" for code in TYPES)
        raise ValueError(
            f"{path}: expected an IDX file, which starts with the bytes 00 00 TT DD (type TT one of {types}; "
            f"DD dimensions). Received {magic.hex(' ') or 'an empty file'}"
        )
    dimensions = magic[3]
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise ValueError(f"{path}: expected 1 to {MAX_DIMENSIONS} dimensions. Received {dimensions}")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError(
            f"{path}: expected a header of {4 + 4 * dimensions} bytes. Received {4 + len(sizes)}"
        )
    return TYPES[magic[2]], struct.unpack(f">{dimensions}I", sizes)


def _read_at_most(file: IO[bytes] | gzip.GzipFile, limit: int) -> bytearray:
    data = bytearray()
    while block := file.read(min(BLOCK, limit - len(data))):
        data += block
    return data


def write_idx(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write an array as an IDX file; compressed where the name ends in ``.gz``.

    Parameters
    ----------
    path : path of the file; a file that is there is replaced.
    array : array of 1 to 32 dimensions, dtype uint8, int8, int16, int32, float32 or float64.

    Raises
    ------
    TypeError
        Where the format has no such element type.
    ValueError
        Where the format cannot hold the shape.

    Examples
    --------
    >>> write_idx("a.gz", np.array([1.5 + 2j]))
    Traceback (most recent call last):
    TypeError: a.gz: expected one of uint8, int8, int16, int32, float32, float64. Received complex128
    """
    array = np.asarray(array)
    codes = {dtype.name: code for code, dtype in TYPES.items()}
    if array.dtype.name not in codes:
        raise TypeError(f"{path}: expected one of {', '.join(codes)}. Received {array.dtype.name}")
    if not 1 <= array.ndim <= MAX_DIMENSIONS or max(array.shape) >= 1 << 32:
        raise ValueError(
            f"{path}: expected 1 to {MAX_DIMENSIONS} dimensions below 2**32. Received shape {array.shape}"
        )
    code = codes[array.dtype.name]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    content = header + array.astype(TYPES[code]).tobytes()
    if str(path).endswith(".gz"):
        content = gzip.compress(content, compresslevel=9, mtime=0)  # no time: equal arrays make equal files
    with replacing(path) as part:
        part.write_bytes(content)
