"""Unpacking what others packed: the wanted files come out, and nothing else happens."""

import io
import re
import shutil
import tarfile
import zipfile

import pytest

from tinyconv.datasets.archives import unpack

WANTED = re.compile(r"(?:.*/)?((?:cats|dogs)/[^/\\:]+\.jpg)")
PETS = {"pets/cats/1.jpg": b"a cat" * 1000, "pets/dogs/2.jpg": bytes(range(256)), "pets/dogs/3.jpg": b""}
EVIL = ["../outside.jpg", "/etc/passwd", "cats/../../outside.jpg", "cats/sub\\..\\outside.jpg", "cats/c:outside.jpg"]
KINDS = ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"]


def pack(path, members, *, links=()):
    """An archive of the kind that its name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in members:
                file.writestr(name, content)
            for name in links:
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o120777 << 16
                file.writestr(info, "/etc/passwd")
        return path
    with tarfile.open(path, f"w:{path.suffix[1:].replace('tar', '')}") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            file.addfile(info)
    return path


def files_below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


UNPACKED = {name.removeprefix("pets/"): content for name, content in PETS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_wanted_comes_out(tmp_path, kind):
    members = [*PETS.items(), ("pets/readme.txt", b"read me"), *((name, b"evil") for name in EVIL)]
    archive = pack(tmp_path / f"pets.{kind}", members)
    assert unpack(archive, tmp_path / "here" / "it is", WANTED, max_bytes=10_000) == 3
    assert files_below(tmp_path / "here" / "it is") == UNPACKED
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", f"pets.{kind}"]


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
@pytest.mark.parametrize(
    ("members", "links", "told"),
    [
        (PETS.items(), ["pets/dogs/4.jpg"], "expected pets/dogs/4.jpg once, as a regular file. Received a link"),
        ([*PETS.items(), ("cats/1.jpg", b"other")], [], "expected cats/1.jpg once.* Received it twice"),
        ([*PETS.items(), ("dogs/bomb.jpg", bytes(1 << 20))], [], "expected at most 10000 bytes of files"),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path, kind, members, links, told):
    archive = pack(tmp_path / f"pets.{kind}", members, links=links)
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match=told) as caught:
        unpack(archive, tmp_path, WANTED, max_bytes=10_000)
    assert str(archive) in str(caught.value)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9])
def test_a_truncated_archive_leaves_nothing(tmp_path, kind, part):
    noise = bytes((number * number) >> 5 & 255 for number in range(60_000))
    archive = pack(tmp_path / f"pets.{kind}", [*PETS.items(), ("cats/noise.jpg", noise)])
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(part * len(whole))])
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match="expected an intact tar or zip archive. Received"):
        unpack(archive, tmp_path, WANTED, max_bytes=100_000)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_a_flipped_bit_is_noticed(tmp_path, kind):
    archive = pack(tmp_path / f"pets.{kind}", [("cats/1.jpg", bytes(range(256)) * 8)])
    content = bytearray(archive.read_bytes())
    content[80] ^= 16
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=r"pets\..*: expected an intact tar or zip archive"):
        unpack(archive, tmp_path, WANTED, max_bytes=10_000)


def test_a_tar_that_ends_with_a_zip(tmp_path):
    inner = pack(tmp_path / "inner.zip", PETS.items())
    archive = pack(tmp_path / "pets.tar", [*PETS.items(), ("pets/negatives.zip", inner.read_bytes())])
    assert zipfile.is_zipfile(archive)
    unpack(archive, tmp_path / "here", WANTED, max_bytes=10_000)
    assert files_below(tmp_path / "here") == UNPACKED


def test_rubbish_and_absence(tmp_path):
    (tmp_path / "pets.zip").write_bytes(b"no archive at all" * 100)
    with pytest.raises(ValueError, match="expected an intact tar or zip archive"):
        unpack(tmp_path / "pets.zip", tmp_path, WANTED, max_bytes=10_000)
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "none.zip", tmp_path, WANTED, max_bytes=10_000)


def test_what_is_there_is_kept_and_the_rest_filled_in(tmp_path):
    archive = pack(tmp_path / "pets.tar.gz", PETS.items())
    (tmp_path / "dogs").mkdir()
    (tmp_path / "dogs" / "2.jpg").write_bytes(b"my own dog")
    unpack(archive, tmp_path, WANTED, max_bytes=10_000)
    assert (tmp_path / "dogs" / "2.jpg").read_bytes() == b"my own dog"
    assert (tmp_path / "dogs" / "3.jpg").exists()
    assert (tmp_path / "cats" / "1.jpg").read_bytes() == PETS["pets/cats/1.jpg"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing_and_stays_what_it_is(tmp_path, monkeypatch, interruption):
    def interrupted(source, target):
        target.write(b"half a c")
        raise interruption

    archive = pack(tmp_path / "pets.tar.gz", PETS.items())
    monkeypatch.setattr(shutil, "copyfileobj", interrupted)
    with pytest.raises(type(interruption)) as caught:
        unpack(archive, tmp_path, WANTED, max_bytes=10_000)
    assert caught.value is interruption
    assert [path.name for path in tmp_path.iterdir()] == ["pets.tar.gz"]
