"""Unpacking the wanted files of a tar or zip archive, which is data from outside: only names that match a pattern, only
regular files, never outside the folder, never more than a stated number of bytes.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import IO

__all__ = ["unpack"]

Opener = Callable[[], "IO[bytes] | None"]  # None where the member is no regular file
BLOCK = 1 << 20
DAMAGE = (EOFError, OSError, RuntimeError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)


def unpack(
    archive: str | os.PathLike[str], folder: str | os.PathLike[str], wanted: re.Pattern[str], *, max_bytes: int
) -> int:
    r"""Unpack the files of a tar (plain, gzip, bzip2, xz) or zip archive whose names match a pattern.

    Everything is unpacked into a hidden folder first and moved into place when the archive proved to be intact, so a
    damaged archive and Ctrl-C leave nothing behind. A file that is in place already is kept as it is.

    Parameters
    ----------
    archive : path of the archive; its kind is told by its content.
    folder : where the files go; it is made.
    wanted : matched against the whole name of each member; its first group is the path below `folder`, and must not be
        able to match ``..``, a drive or a backslash.
    max_bytes : largest sum of the unpacked sizes of all wanted files.

    Returns
    -------
    int
        Number of files that matched.

    Raises
    ------
    ValueError
        Where the archive is damaged, is none, holds a wanted name that is not a regular file or holds it twice, or
        unpacks to more than `max_bytes`.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(folder + "/pets.zip", "w") as file:
    ...         file.writestr("pets-main/cats/1.jpg", b"a cat")
    ...         file.writestr("../../etc/passwd", b"no")
    ...     found = unpack(folder + "/pets.zip", folder, re.compile(r"pets-main/(cats/\w+\.jpg)"), max_bytes=1000)
    ...     found, Path(folder, "cats", "1.jpg").read_bytes()
    (1, b'a cat')
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    inside = Path(tempfile.mkdtemp(prefix=f".{archive.name}.", suffix=".part", dir=folder))
    try:
        with _intact(archive):
            count = _unpack_all(archive, inside, wanted, max_bytes)
        for entry in inside.iterdir():
            _move_in(entry, folder / entry.name)
    finally:
        shutil.rmtree(inside, ignore_errors=True)
    return count


def _unpack_all(archive: Path, inside: Path, wanted: re.Pattern[str], max_bytes: int) -> int:
    count, left = 0, max_bytes
    with contextlib.closing(_members(archive)) as members:
        for name, size, opener in members:
            if not (match := wanted.fullmatch(name)):
                continue
            left -= size
            if left < 0:
                raise ValueError(f"{archive}: expected at most {max_bytes} bytes of files. Received more")
            target = inside / match[1]
            twice = target.exists()
            if twice or (source := opener()) is None:
                received = "it twice" if twice else "a link or a device"
                raise ValueError(f"{archive}: expected {name} once, as a regular file. Received {received}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, open(target, "xb") as file:
                shutil.copyfileobj(source, file)
            count += 1
    return count


def _members(archive: Path) -> Generator[tuple[str, int, Opener]]:
    """Name, unpacked size and a way to open each member, in the archive's order."""
    with open(archive, "rb") as file:
        zipped = file.read(2) == b"PK"  # not zipfile.is_zipfile, which takes a tar with a zip at its end for a zip
    if zipped:
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                link = stat.S_ISLNK(info.external_attr >> 16)
                yield info.filename, info.file_size, (_nothing if link else partial(packed.open, info))
        return
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            yield member.name, member.size, (partial(tar.extractfile, member) if member.isreg() else _nothing)
        assert tar.fileobj is not None  # it is open
        if len(tar.fileobj.read(BLOCK)) == BLOCK:  # the end of the compressed stream has the checksum of all of it
            raise tarfile.ReadError("data after the end of the archive")


def _nothing() -> None:
    return None


@contextlib.contextmanager
def _intact(archive: Path) -> Iterator[None]:
    """What the unpackers raise for damage becomes a ValueError; a full disk or a missing file stays what it is."""
    try:
        yield
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{archive}: expected an intact tar or zip archive. Received: {error}") from error


def _move_in(entry: Path, target: Path) -> None:
    """Rename a file or a whole folder into place; into a folder that is there, only what it lacks."""
    if not entry.is_dir():
        if not target.exists():
            os.replace(entry, target)
        return
    try:
        os.rename(entry, target)
    except OSError:
        if not target.is_dir():
            raise
        for inner in entry.iterdir():
            _move_in(inner, target / inner.name)
