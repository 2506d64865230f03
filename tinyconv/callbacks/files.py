"""Files that are whole or not there at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name to write to; what was written takes the place of ``path`` in one step when the body ends well.

    Folders are made. The temporary name has the ending of ``path``, which chooses the format of pictures.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "folder", "note.txt")
    >>> with replacing(path) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> path.read_text(), os.listdir(path.parent)
    ('whole', ['note.txt'])
    """
    path = Path(os.path.realpath(path))  # a link goes on pointing to the file
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too
        temporary.unlink(missing_ok=True)
        raise
