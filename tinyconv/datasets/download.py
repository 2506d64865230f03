"""Fetching a file from its public mirrors into the cache: checked, atomic, nothing left behind on failure.

The cache is the folder that the environment variable ``TINYCONV_HOME`` names (default ``~/.cache/tinyconv``).
``TINYCONV_OFFLINE=1`` forbids every download.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinyconv.files import replacing

__all__ = ["DownloadError", "download", "home"]

BLOCK = 1 << 16
CONNECTIONS = 20  # to one mirror for one file


class DownloadError(OSError):
    """No mirror delivered the file; the message tells why, and where to put the file by hand."""


def home() -> Path:
    """Return the folder of the cache, which need not exist: ``TINYCONV_HOME``, else ``~/.cache/tinyconv``.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", TINYCONV_HOME="/data/tinyconv"):
    ...     home().as_posix()
    '/data/tinyconv'
    """
    return Path(os.environ.get("TINYCONV_HOME") or "~/.cache/tinyconv").expanduser()


def check_source(source: str, allowed: tuple[str, ...]) -> None:
    """A ValueError for a `source`, which every ``load_data`` has, that is not one of those allowed."""
    if source not in allowed:
        raise ValueError(f"source: expected one of {', '.join(map(repr, allowed))}. Received {source!r}")


@contextlib.contextmanager
def mendable() -> Iterator[None]:
    """Of a damaged file, which a ValueError names, it is also said how to get an intact one."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{error}\nRemove that file, and an intact one is downloaded in its place") from error


def download(
    urls: Sequence[str], path: str | os.PathLike[str], sha256: str, size: int, *, timeout: float = 10.0
) -> Path:
    """Fetch a file from the first mirror that delivers it intact.

    A transfer that breaks off goes on where it stopped, if the mirror can do that.

    A URL that ends in ``.gz`` for a path that does not is unpacked on the way: `sha256` and `size` are those
    of the file as it is stored, and therefore the same whichever mirror compressed it.

    The file appears under its name only when it is complete and right. Until then it is a hidden ``.part``
    file of this process's own in the same folder, which is removed on any failure (Ctrl-C included), so
    several processes may fetch the same file at once. A progress bar is drawn where stderr is a terminal.

    Parameters
    ----------
    urls : mirrors, tried in this order.
    path : where the file goes; its folder is made.
    sha256 : checksum of the stored file, 64 hexadecimal digits.
    size : number of bytes of the stored file; a longer answer is cut off there and refused.
    timeout : seconds of silence after which a mirror is given up.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    DownloadError
        Where no mirror delivered the file, or ``TINYCONV_OFFLINE`` is set.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> with patch.dict("os.environ", TINYCONV_OFFLINE="1"):
    ...     download(["https://example.org/a.bin"], "data/a.bin", sha256="0" * 64, size=3)
    Traceback (most recent call last):
    tinyconv.datasets.download.DownloadError: could not download a.bin:
      TINYCONV_OFFLINE is set, so nothing is downloaded
      To do it by hand, put the file there as data/a.bin
    """
    path = Path(path)
    reasons = []
    if os.environ.get("TINYCONV_OFFLINE", "0") not in ("", "0"):
        urls, reasons = (), ["TINYCONV_OFFLINE is set, so nothing is downloaded"]
    for url in urls:
        try:
            return _fetch(url, path, sha256, size, timeout)
        except _failures() as error:
            reasons.append(f"{url}: {error or type(error).__name__}")
    by_hand = f"To do it by hand, put the file there as {path}"
    raise DownloadError("\n  ".join([f"could not download {path.name}:", *reasons, by_hand]))


def _failures() -> tuple[type[Exception], ...]:
    """What a mirror may do to us: refuse, stall, break off, send rubbish."""
    from http.client import HTTPException

    return OSError, HTTPException, zlib.error, ValueError  # OSError: URLError and timeouts too


def _fetch(url: str, path: Path, sha256: str, size: int, timeout: float) -> Path:
    digest, received = hashlib.sha256(), 0
    with replacing(path, make_folder=True) as part, open(part, "xb") as file:
        for block in _blocks(url, unpack=url.endswith(".gz") and path.suffix != ".gz", timeout=timeout):
            received += len(block)
            if received > size:
                raise ValueError(f"expected {size} bytes. Received more")
            digest.update(block)
            file.write(block)
        if received < size:
            raise ValueError(f"expected {size} bytes. Received {received}")
        if digest.hexdigest() != sha256:
            raise ValueError(f"expected SHA-256 {sha256}. Received {digest.hexdigest()}")
    return path


def _blocks(url: str, *, unpack: bool, timeout: float) -> Iterator[bytes]:
    """The content behind a URL, block by block, with a progress bar on a terminal."""
    # Here, not above: importing this takes longer than importing all of tinyconv.datasets.
    from tqdm import tqdm

    inflater = zlib.decompressobj(wbits=31) if unpack else None  # 31: a gzip header and trailer
    # disable=None: drawn on a terminal only
    with tqdm(desc=url.rsplit("/", 1)[-1], unit="B", unit_scale=True, disable=None) as bar:
        for block, length in _transfer(url, timeout):
            bar.total = length
            bar.update(len(block))
            yield inflater.decompress(block) if inflater else block


def _transfer(url: str, timeout: float) -> Iterator[tuple[bytes, int | None]]:
    """Blocks and the length of the whole; where a connection breaks off, another one goes on from there."""
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    received, length = 0, None
    failure: Exception | None = None
    for _ in range(CONNECTIONS):
        begun = received
        headers = {"User-Agent": "tinyconv", **({"Range": f"bytes={received}-"} if received else {})}
        try:
            with urlopen(Request(url, headers=headers), timeout=timeout) as response:
                if received and response.status != 206:  # it would begin anew
                    break
                length, failure = length or int(response.headers.get("Content-Length") or 0) or None, None
                while block := response.read(BLOCK):
                    received += len(block)
                    yield block, length
        except (OSError, HTTPException) as error:
            if length is None or received == begun:
                raise
            failure = error
        if length is None or received >= length or received == begun:
            break
    try:
        if failure is not None:
            raise failure
    finally:
        failure = None  # it holds this frame, and with it sockets
