"""CIFAR-10 and CIFAR-100: the binary version wherever it may lie; the real one, where it is in the cache."""

import hashlib
import io
import tarfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tinyconv.datasets import DownloadError, cifar10, cifar100

MODULES = {"cifar10": cifar10, "cifar100": cifar100}


def picture(rng):
    return rng.integers(0, 256, (32, 32, 3), np.uint8)


def record(labels, image):
    """Labels, then the red, the green and the blue plane, each row by row."""
    return bytes(labels) + b"".join(bytes(image[row, :, plane]) for plane in range(3) for row in range(32))


class Tiny:
    """A data set of two or three pictures a file, its contents as arrays and as files."""

    def __init__(self, module, monkeypatch, tmp_path):
        self.module, files, rng = module, module.FILES, np.random.default_rng(1)
        self.contents, self.pictures, self.labels = {}, {}, {}
        for number, name in enumerate(files.train | files.test):
            pictures = [picture(rng) for _ in range(2 + number % 2)]
            labels = [[int(rng.integers(classes)) for classes in files.classes] for _ in pictures]
            self.contents[name] = b"".join(map(record, labels, pictures))
            self.pictures[name], self.labels[name] = pictures, labels
        self.archive = self.pack()
        published = tmp_path / "mirror" / files.archive
        published.parent.mkdir()
        published.write_bytes(self.archive)
        counts = {name: len(pictures) for name, pictures in self.pictures.items()}
        tiny = replace(
            files,
            urls=("http://127.0.0.1:9/", published.as_uri()),
            sha256=hashlib.sha256(self.archive).hexdigest(),
            size=len(self.archive),
            train={name: counts[name] for name in files.train},
            test={name: counts[name] for name in files.test},
        )
        monkeypatch.setattr(module, "FILES", tiny)

    @property
    def files(self):
        return self.module.FILES

    def pack(self, prefix="", skip=()):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, content in [("../evil.bin", b"evil"), *self.contents.items(), ("readme.html", b"<p>")]:
                if name not in skip:
                    info = tarfile.TarInfo(prefix + name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        return packed.getvalue()

    def write(self):
        for name, content in self.contents.items():
            (self.files.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.files.folder / name).write_bytes(content)

    def check(self, data, column=0):
        for part, files in zip(data, (self.files.train, self.files.test), strict=True):
            images = np.stack([image for name in files for image in self.pictures[name]])
            labels = np.array([[labels[column]] for name in files for labels in self.labels[name]])
            for received, expected in zip(part, (images, labels), strict=True):
                np.testing.assert_array_equal(received, expected)
                assert received.dtype == np.uint8
                assert received.flags.c_contiguous
                assert received.flags.writeable


@pytest.fixture(params=MODULES)
def tiny(request, cache, monkeypatch, tmp_path):
    return Tiny(MODULES[request.param], monkeypatch, tmp_path)


@pytest.mark.parametrize("source", ["auto", "full", "cache"])
def test_unpacked_files(tiny, source):
    tiny.write()
    tiny.check(tiny.module.load_data(source=source), column=len(tiny.files.classes) - 1)


def test_label_modes(cache, monkeypatch, tmp_path):
    tiny = Tiny(cifar100, monkeypatch, tmp_path)
    tiny.write()
    tiny.check(cifar100.load_data("coarse"), column=0)
    tiny.check(cifar100.load_data("fine"), column=1)
    tiny.check(cifar100.load_data(), column=1)


@pytest.mark.parametrize("prefix", ["", "./"])
def test_an_archive_in_the_folder_is_unpacked_once_and_kept(tiny, prefix):
    tiny.files.folder.mkdir(parents=True)
    archive = tiny.files.folder / tiny.files.archive
    archive.write_bytes(tiny.pack(prefix))
    assert tiny.files.missing() == []
    for _ in range(2):
        tiny.check(tiny.module.load_data(source="cache"), column=-1)
    top = next(iter(tiny.contents)).split("/")[0]
    assert sorted(path.name for path in tiny.files.folder.iterdir()) == sorted([archive.name, top])
    assert {path.name for path in (tiny.files.folder / top).iterdir()} == {name.split("/")[1] for name in tiny.contents}
    assert not list(tiny.files.folder.parent.rglob("evil*"))


def test_what_is_downloaded_is_unpacked_and_the_archive_removed(tiny, monkeypatch, capfd):
    monkeypatch.delenv("TINYCONV_OFFLINE")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    tiny.check(tiny.module.load_data(), column=-1)
    assert [path.name for path in tiny.files.folder.iterdir()] == [next(iter(tiny.contents)).split("/")[0]]
    monkeypatch.setenv("TINYCONV_OFFLINE", "1")
    tiny.check(tiny.module.load_data(), column=-1)
    assert capfd.readouterr() == ("", "")


def test_threads_may_fetch_at_once(tiny, monkeypatch):
    monkeypatch.delenv("TINYCONV_OFFLINE")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadPoolExecutor(6) as pool:
        for data in pool.map(lambda _: tiny.module.load_data(), range(6)):
            tiny.check(data, column=-1)
    assert [path.name for path in tiny.files.folder.iterdir()] == [next(iter(tiny.contents)).split("/")[0]]


def test_a_missing_file_is_filled_in_from_the_archive(tiny):
    tiny.write()
    gone = list(tiny.contents)[1]
    (tiny.files.folder / gone).unlink()
    with pytest.raises(FileNotFoundError, match=rf"is not in the cache \({gone}\): put cifar-100?-binary.tar.gz from"):
        tiny.module.load_data(source="cache")
    (tiny.files.folder / tiny.files.archive).write_bytes(tiny.archive)
    tiny.check(tiny.module.load_data(source="cache"), column=-1)


def test_without_network_and_cache(tiny, cache):
    with pytest.raises(FileNotFoundError, match="is not in the cache") as caught:
        tiny.module.load_data(source="cache")
    assert str(tiny.files.folder) in str(caught.value)
    with pytest.raises(DownloadError, match="TINYCONV_OFFLINE is set") as caught:
        tiny.module.load_data()
    assert str(tiny.files.folder) in str(caught.value)
    assert not cache.exists()


def test_the_python_version_is_not_read_but_pointed_out(tiny):
    name = tiny.files.archive.replace("binary", "python")
    tiny.files.folder.mkdir(parents=True)
    (tiny.files.folder / name).write_bytes(b"pickles")
    for source, error in (("cache", FileNotFoundError), ("full", DownloadError)):
        with pytest.raises(error, match=f"{name} is the Python version, whose pickles could run code"):
            tiny.module.load_data(source=source)


@pytest.mark.parametrize("change", [-1, 1, -3072])
def test_a_file_of_the_wrong_size(tiny, change):
    tiny.write()
    name, content = list(tiny.contents.items())[-1]
    (tiny.files.folder / name).write_bytes((content + b"!")[: len(content) + change])
    records = len(tiny.pictures[name])
    told = rf"{name}: expected {len(content)} bytes, {records} records. Received {len(content) + change}\nRemove that"
    with pytest.raises(ValueError, match=told):
        tiny.module.load_data()


def test_a_label_that_no_class_has(tiny):
    tiny.write()
    name, content = next(iter(tiny.contents.items()))
    size, last = len(content) // len(tiny.pictures[name]), tiny.files.classes[-1]
    damaged = bytearray(content)
    damaged[size + len(tiny.files.classes) - 1] = last  # of the second record
    (tiny.files.folder / name).write_bytes(damaged)
    with pytest.raises(ValueError, match=f"{name}: expected labels below {last}. Received {last} in record 1"):
        tiny.module.load_data()


def test_damaged_and_foreign_archives(tiny):
    tiny.files.folder.mkdir(parents=True)
    archive = tiny.files.folder / tiny.files.archive
    archive.write_bytes(tiny.archive[:-100])
    with pytest.raises(ValueError, match=f"{archive}: expected an intact tar or zip archive"):
        tiny.module.load_data()
    gone = list(tiny.contents)[-1]
    archive.write_bytes(tiny.pack(skip=[gone]))
    with pytest.raises(ValueError, match=f"expected the files of {tiny.files.title}. Received none named {gone}"):
        tiny.module.load_data()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: cifar10.load_data("web"), "source: expected one of 'auto', 'full', 'cache'. Received 'web'"),
        (lambda: cifar100.load_data("fine", "web"), "source: expected one of .* Received 'web'"),
        (lambda: cifar100.load_data("fein"), "label_mode: expected 'fine' or 'coarse'. Received 'fein'"),
    ],
)
def test_wrong_arguments(call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_class_names():
    assert len(set(cifar10.CLASS_NAMES)) == 10
    assert len(set(cifar100.CLASS_NAMES)) == 100
    assert len(set(cifar100.SUPERCLASS_NAMES)) == 20
    for names in (cifar10.CLASS_NAMES, cifar100.CLASS_NAMES, cifar100.SUPERCLASS_NAMES):
        assert list(names) == sorted(names)  # the order of all three, and of the numbers in the files


def in_cache(module):
    return pytest.mark.skipif(bool(module.FILES.missing()), reason="not in the cache")


@in_cache(cifar10)
def test_the_real_cifar10():
    tracemalloc.start()
    (x_train, y_train), (x_test, y_test) = cifar10.load_data("cache")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6  # the arrays have 184 million bytes, a file 31 million: nothing was converted to float
    assert (x_train.shape, y_train.shape) == ((50_000, 32, 32, 3), (50_000, 1))
    assert (x_test.shape, y_test.shape) == ((10_000, 32, 32, 3), (10_000, 1))
    assert np.bincount(y_train[:, 0]).tolist() == [5_000] * 10
    assert np.bincount(y_test[:, 0]).tolist() == [1_000] * 10
    # Published: the first labels as Keras gives them, and mean and deviation of each channel of the training photos.
    assert y_train[:5, 0].tolist() == [6, 9, 9, 4, 1]
    assert y_test[:5, 0].tolist() == [3, 8, 8, 0, 6]
    levels = np.arange(256) / 255.0
    for channel, (mean, deviation) in enumerate([(0.4914, 0.2470), (0.4822, 0.2435), (0.4465, 0.2616)]):
        shares = np.bincount(x_train[..., channel].ravel(), minlength=256) / 51_200_000
        received = shares @ levels
        assert received == pytest.approx(mean, abs=6e-5)
        assert np.sqrt(shares @ levels**2 - received**2) == pytest.approx(deviation, abs=6e-5)


@in_cache(cifar100)
@pytest.mark.parametrize(("label_mode", "classes"), [("fine", 100), ("coarse", 20)])
def test_the_real_cifar100(label_mode, classes):
    (x_train, y_train), (x_test, y_test) = cifar100.load_data(label_mode, "cache")
    assert x_train.shape[0] + x_test.shape[0] == 60_000
    assert np.bincount(y_train[:, 0]).tolist() == [50_000 // classes] * classes
    assert np.bincount(y_test[:, 0]).tolist() == [10_000 // classes] * classes
