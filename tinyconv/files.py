"""Files that are whole or not there at all: ``replacing``, through which everything is written that is to last."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

__all__ = ["replacing"]

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # such errors name no file


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], make_folder: bool = False, sync: bool = False) -> Iterator[Path]:
    """A name to write to; what was written takes the place of ``path`` in one step when the body ends well.

    Otherwise, also after Ctrl-C or with a full disk, nothing is left behind and ``path`` is what it was. Of a link, the
    file that it points to is replaced.

    Parameters
    ----------
    path : str or path
        The temporary name, in the same folder, has its ending, which may choose a format.
    make_folder : bool
        Make the folder where there is none.
    sync : bool
        Wait until the disk has the contents, so that they also survive a power failure.

    Raises
    ------
    OSError
        Whatever went wrong, with the name ``path`` in it; ``FileExistsError``, before anything is written, where it is
        a device, a pipe or a socket, which a file would displace.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "folder", "note.txt")
    >>> with replacing(path, make_folder=True) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> path.read_text(), os.listdir(path.parent)
    ('whole', ['note.txt'])
    """
    path = Path(os.path.realpath(path))
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a folder to write to. Received: {path.parent}, which does not exist")
    if path.exists() and not path.is_file() and not path.is_dir():
        raise FileExistsError(errno.EEXIST, "Expected a file or a new name, not a device, pipe or socket", str(path))
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.part{path.suffix}")  # names have 255 bytes
    try:
        yield temporary
        if sync:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:  # Ctrl-C too
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and (str(error.filename) == str(temporary) or error.errno in _FULL):
            raise OSError(error.errno, error.strerror, str(path)) from error  # of the subclass that fits the number
        raise
