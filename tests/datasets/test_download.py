"""The downloader against a server on this machine: good, bad, slow and dead mirrors."""

import contextlib
import gzip
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tinyconv.datasets.download import DownloadError, download, home

ROOT = Path(__file__).parents[2]
CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PACKED = gzip.compress(CONTENT)


class Handler(BaseHTTPRequestHandler):
    """Answers by path; a body shorter than its Content-Length is what a broken connection looks like."""

    def do_GET(self):
        self.server.asked.append(self.path)
        bodies = {
            "/good": CONTENT,
            "/good.gz": PACKED,
            "/wrong": CONTENT[::-1],
            "/long": CONTENT + b"!",
            "/truncated": CONTENT[:-1000],
            "/truncated.gz": PACKED[:-1000],
            "/rubbish.gz": b"no gzip at all",
            "/bomb.gz": gzip.compress(bytes(50 << 20)),
        }
        if self.path in bodies:
            length = {"/truncated": len(CONTENT), "/truncated.gz": len(PACKED)}.get(self.path)
            self.answer(bodies[self.path], length)
        elif self.path in ("/cuts", "/cuts.gz"):  # 60,000 bytes at a time, from where it is asked to go on
            body = PACKED if self.path.endswith("gz") else CONTENT
            size = 300 if self.path.endswith("gz") else 60_000
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            self.server.ranges.append(start)
            self.answer(body[start : start + size], len(body) - start, status=206 if start else 200)
        elif self.path == "/stalls":
            self.answer(CONTENT[:1000], len(CONTENT), then_wait=True)
        else:
            self.send_error(404)

    def answer(self, body, length=None, then_wait=False, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the client hangs up when it has seen enough
            self.wfile.write(body)
        if then_wait:
            self.wfile.flush()
            self.server.released.wait(30)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.ranges, server.released = [], [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.delenv("TINYCONV_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def get(path, *urls, timeout=60):
    return download(urls, path, SHA256, len(CONTENT), timeout=timeout)


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYCONV_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.setenv("TINYCONV_HOME", "")
    assert home() == Path.home() / ".cache" / "tinyconv"


@pytest.mark.parametrize("name", ["good", "good.gz"])
def test_a_good_mirror(server, tmp_path, name):
    path = tmp_path / "made" / "on the way"
    assert get(path, f"{server.url}/{name}") == path
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == [path.name]


def test_a_gz_path_keeps_the_file_packed(server, tmp_path):
    path = tmp_path / "good.gz"
    download([f"{server.url}/good.gz"], path, hashlib.sha256(PACKED).hexdigest(), len(PACKED))
    assert path.read_bytes() == PACKED


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("wrong", f"expected SHA-256 {SHA256}. Received [0-9a-f]{{64}}"),
        ("long", "expected 256000 bytes. Received more"),
        ("truncated", "expected 256000 bytes. Received 255000"),
        ("truncated.gz", "expected 256000 bytes. Received"),
        ("rubbish.gz", "incorrect header check"),
        ("bomb.gz", "expected 256000 bytes. Received more"),
        ("missing", "404"),
        ("stalls", "timed out"),
    ],
)
def test_a_bad_mirror_leaves_nothing_and_the_next_one_is_tried(server, tmp_path, name, reason):
    bad = f"{server.url}/{name}"
    with pytest.raises(DownloadError, match=f"{bad}: .*{reason}"):
        get(tmp_path / "file", bad, timeout=0.2 if name == "stalls" else 60)
    assert os.listdir(tmp_path) == []
    # 3 seconds must be enough for the good mirror even on a busy machine
    get(tmp_path / "file", bad, f"{server.url}/good", timeout=3 if name == "stalls" else 60)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(("name", "step"), [("cuts", 60_000), ("cuts.gz", 300)])
def test_a_transfer_that_breaks_off_goes_on(server, tmp_path, name, step):
    server.ranges.clear()
    get(tmp_path / "file", f"{server.url}/{name}")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.ranges == list(range(0, len(PACKED if name.endswith("gz") else CONTENT), step))


def test_a_mirror_that_drips_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr("tinyconv.datasets.download.CONNECTIONS", 3)
    with pytest.raises(DownloadError, match="expected 256000 bytes. Received 180000"):
        get(tmp_path / "file", f"{server.url}/cuts")
    assert os.listdir(tmp_path) == []


def test_the_error_names_every_mirror_and_the_path(server, tmp_path):
    path = tmp_path / "file"
    dead = "http://127.0.0.1:9"  # the discard port: nobody listens
    with pytest.raises(DownloadError) as caught:
        get(path, f"{dead}/a", f"{server.url}/missing", "nonsense")
    lines = str(caught.value).splitlines()
    assert lines[0] == "could not download file:"
    assert [line.split(": ")[0].strip() for line in lines[1:4]] == [
        f"{dead}/a",
        f"{server.url}/missing",
        "nonsense",
    ]
    assert "refused" in lines[1]
    assert lines[4].endswith(str(path))


def test_a_failure_keeps_the_file_that_is_there(server, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    with pytest.raises(DownloadError):
        get(path, f"{server.url}/wrong")
    assert path.read_bytes() == b"precious"


def test_a_folder_that_cannot_be_made_is_a_download_error(server, tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(DownloadError, match="taken"):
        get(tmp_path / "taken" / "file", f"{server.url}/good")


def test_offline_asks_nobody(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYCONV_OFFLINE", "1")
    before = len(server.asked)
    with pytest.raises(DownloadError, match="TINYCONV_OFFLINE is set"):
        get(tmp_path / "file", f"{server.url}/good")
    assert len(server.asked) == before
    monkeypatch.setenv("TINYCONV_OFFLINE", "0")
    get(tmp_path / "file", f"{server.url}/good")


def test_no_bar_outside_a_terminal(server, tmp_path, capfd):
    get(tmp_path / "file", f"{server.url}/good")
    assert capfd.readouterr() == ("", "")


def start(path, url):
    """Another process that downloads."""
    call = f"download([{url!r}], {str(path)!r}, {SHA256!r}, {len(CONTENT)}, timeout=60)"
    code = f"from tinyconv.datasets.download import download; {call}"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_leaves_nothing(server, tmp_path):
    with start(tmp_path / "file", f"{server.url}/stalls") as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".file.*.part")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert list(tmp_path.glob(".file.*.part"))
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=60)[1]
    assert os.listdir(tmp_path) == []


def test_processes_may_fetch_the_same_file_at_once(server, tmp_path):
    processes = [start(tmp_path / "file", f"{server.url}/good.gz") for _ in range(3)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert errors == ["", "", ""]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file"]


def test_threads_may_fetch_the_same_file_at_once(server, tmp_path):
    threads = [threading.Thread(target=get, args=(tmp_path / "file", f"{server.url}/good")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file"]
