"""Every data set that downloads, from a web server on this machine that holds files of the published formats."""

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tinyconv import datasets
from tinyconv.datasets import DownloadError

ROOT = Path(__file__).parents[2]


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; below ``/cut/`` connections break in the middle, below ``/gone/`` there is nothing."""

    def do_GET(self):
        if not self.path.startswith("/cut/"):
            return super().do_GET()
        body = Path(self.directory, self.path.removeprefix("/cut/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def mirror(tmp_path):
    """A folder and its address."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def online(monkeypatch, tmp_path):
    monkeypatch.delenv("TINYCONV_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TINYCONV_HOME", str(tmp_path / "home"))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def mnist_like(module, folder, address):
    """Small data of the published form, and the module's files as they would be described."""
    rng, arrays, files = np.random.default_rng(0), [], []
    for file in module.FILES.files:
        array = rng.integers(0, 10, (6, *file.shape[1:]), np.uint8)
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(idx(array)))
        arrays.append(array)
        files.append(replace(file, shape=array.shape, sha256=sha256(idx(array))))
    return replace(module.FILES, mirrors=tuple(f"{a}/" for a in address), files=tuple(files)), arrays


def cifar(module, folder, address):
    rng, packed, arrays, labels = np.random.default_rng(0), io.BytesIO(), [], []
    names = [*module.FILES.train, *module.FILES.test]
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in names:
            pictures = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
            rows = rng.integers(0, 10, (2, len(module.FILES.classes)), np.uint8)
            content = b"".join(bytes(r) + p.transpose(2, 0, 1).tobytes() for r, p in zip(rows, pictures, strict=True))
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            arrays.append(pictures)
            labels.append(rows[:, -1:])
    (folder / module.FILES.archive).write_bytes(packed.getvalue())
    files = replace(
        module.FILES,
        urls=tuple(f"{a}/{module.FILES.archive}" for a in address),
        sha256=sha256(packed.getvalue()),
        size=len(packed.getvalue()),
        train=dict.fromkeys(module.FILES.train, 2),
        test=dict.fromkeys(module.FILES.test, 2),
    )
    train = len(module.FILES.train)
    parts = (arrays[:train], labels[:train], arrays[train:], labels[train:])
    return files, [np.concatenate(part) for part in parts]


def housing(module, folder, address):
    table = np.random.default_rng(0).integers(1, 99, (7, 9)).astype("f4")
    packed = io.BytesIO()
    np.savez(packed, x=table[:, :8], y=table[:, 8])
    (folder / "california_housing.npz").write_bytes(packed.getvalue())
    copies = [
        replace(
            copy, urls=tuple(f"{a}/{copy.name}" for a in address), sha256=sha256(packed.getvalue()),
            size=len(packed.getvalue()),
        )
        if copy.name.endswith("npz") else replace(copy, urls=())
        for copy in module.FILES.copies
    ]  # fmt: skip
    return replace(module.FILES, copies=tuple(copies), rows=7), table


SETS = {
    "mnist": mnist_like, "fashion_mnist": mnist_like, "cifar10": cifar, "cifar100": cifar,
    "california_housing": housing,
}  # fmt: skip


def flat(data):
    return [part for pair in data for part in pair]


def load(name, expected):
    """What ``load_data`` gives must be what the mirror holds."""
    got = flat(getattr(datasets, name).load_data())
    if name == "california_housing":
        rows = np.concatenate([np.column_stack(got[:2]), np.column_stack(got[2:])])
        np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(expected, axis=0))
        return
    for part, wanted in zip(got, expected, strict=True):
        np.testing.assert_array_equal(part, wanted)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("bad", ["/gone", "/cut", None])
def test_from_the_first_mirror_that_works(name, bad, mirror, monkeypatch, capfd):
    folder, address = mirror
    module = getattr(datasets, name)
    mirrors = [address] if bad is None else [address + bad, address]
    files, expected = SETS[name](module, folder, mirrors)
    monkeypatch.setattr(module, "FILES", files)
    assert datasets.status(name)[0].state == "missing"
    load(name, expected)
    assert datasets.fetch(name).state == "present"
    left = [path.name for path in files.folder.rglob("*") if path.name.endswith(".part") or ".tar." in path.name]
    assert left == []
    monkeypatch.setenv("TINYCONV_OFFLINE", "1")
    load(name, expected)  # from the cache
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", SETS)
def test_other_files_than_those_published_are_refused(name, mirror, monkeypatch):
    folder, address = mirror
    module = getattr(datasets, name)
    files, _ = SETS[name](module, folder, [address])
    monkeypatch.setattr(module, "FILES", files)
    for path in folder.iterdir():  # another last byte: same size, other contents
        content = gzip.decompress(path.read_bytes()) if name.endswith("mnist") else path.read_bytes()
        content = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes(gzip.compress(content) if name.endswith("mnist") else content)
    with pytest.raises(DownloadError, match="expected SHA-256") as caught:
        module.load_data("full") if name == "mnist" else module.load_data()
    assert str(files.folder) in str(caught.value)
    assert [path for path in files.folder.rglob("*") if path.is_file()] == []


def test_several_processes_load_one_set_at_once(mirror, monkeypatch, tmp_path):
    folder, address = mirror
    files, expected = cifar(datasets.cifar10, folder, [address])
    code = f"""
from dataclasses import replace
from tinyconv.datasets import cifar10
cifar10.FILES = replace(
    cifar10.FILES, urls={files.urls!r}, sha256={files.sha256!r}, size={files.size}, train={files.train!r},
    test={files.test!r})
(x, y), _ = cifar10.load_data()
print(int(x.sum()), y.ravel().tolist())
"""
    start = partial(subprocess.Popen, [sys.executable, "-c", code], cwd=ROOT, stdout=-1, stderr=-1, text=True)
    outputs = [process.communicate(timeout=60) for process in [start() for _ in range(4)]]
    assert outputs == [(f"{int(expected[0].sum())} {expected[1].ravel().tolist()}\n", "")] * 4
    assert sorted(os.listdir(tmp_path / "home" / "datasets" / "cifar10")) == ["cifar-10-batches-bin"]
