"""MNIST and Fashion-MNIST: where the files may come from; the real ones, where they are in the cache."""

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pytest

from tinyconv.datasets import DownloadError, fashion_mnist, mnist, train_test_split
from tinyconv.datasets.idx import write_idx

NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]
SHAPES = [(7, 28, 28), (7,), (3, 28, 28), (3,)]
ARRAYS = [np.random.default_rng(0).integers(0, 10, shape, dtype=np.uint8) for shape in SHAPES]


@pytest.fixture(params=[mnist, fashion_mnist], ids=["mnist", "fashion_mnist"])
def tiny(request, cache, tmp_path, monkeypatch):
    """A module whose data set has 7 + 3 pictures, published (packed) in a folder that stands for a mirror."""
    module, published = request.param, tmp_path / "mirror"
    published.mkdir()
    files = []
    for file, array in zip(module.FILES.files, ARRAYS, strict=True):
        write_idx(published / file.name, array)
        content = (published / file.name).read_bytes()
        (published / f"{file.name}.gz").write_bytes(gzip.compress(content))
        files.append(replace(file, shape=array.shape, sha256=hashlib.sha256(content).hexdigest()))
    mirrors = (f"{published.as_uri()}/", "http://127.0.0.1:9/")
    monkeypatch.setattr(module, "FILES", replace(module.FILES, files=tuple(files), mirrors=mirrors))
    return module


def assert_is_tiny(data):
    (x_train, y_train), (x_test, y_test) = data
    for received, expected in zip((x_train, y_train, x_test, y_test), ARRAYS, strict=True):
        np.testing.assert_array_equal(received, expected)
        assert received.dtype == np.uint8


@pytest.mark.parametrize("variant", ["{}", "{}.gz", "dotted", "dotted.gz"])
def test_every_name_in_the_cache_is_found(tiny, variant):
    tiny.FILES.folder.mkdir(parents=True)
    for name, array in zip(NAMES, ARRAYS, strict=True):
        stored = variant.replace("dotted", name.replace("-idx", ".idx")).format(name)
        write_idx(tiny.FILES.folder / stored, array)
    for source in ("cache", "full", "auto"):
        assert_is_tiny(tiny.load_data(source))


def test_missing_files_are_downloaded_once(tiny, monkeypatch, capsys):
    monkeypatch.delenv("TINYCONV_OFFLINE")
    tiny.FILES.folder.mkdir(parents=True)
    write_idx(tiny.FILES.folder / f"{NAMES[0]}.gz", ARRAYS[0])
    assert_is_tiny(tiny.load_data())
    assert sorted(path.name for path in tiny.FILES.folder.iterdir()) == sorted([f"{NAMES[0]}.gz", *NAMES[1:]])
    monkeypatch.setenv("TINYCONV_OFFLINE", "1")
    assert_is_tiny(tiny.load_data())
    assert capsys.readouterr() == ("", "")


def test_without_network_and_cache(tiny, cache):
    with pytest.raises(FileNotFoundError, match="is not in the cache: put train-images") as caught:
        tiny.load_data("cache")
    assert str(tiny.FILES.folder) in str(caught.value)
    with pytest.raises(DownloadError, match="TINYCONV_OFFLINE is set") as caught:
        tiny.load_data("full")
    assert all(name in str(caught.value) for name in NAMES)
    assert not cache.exists()


def test_a_damaged_cache_is_told_not_replaced(tiny):
    tiny.FILES.folder.mkdir(parents=True)
    for name, array in zip(NAMES, ARRAYS, strict=True):
        write_idx(tiny.FILES.folder / name, array[:-1])
    with pytest.raises(
        ValueError, match=r"train-images-idx3-ubyte: expected an array of shape \(7, 28, 28\)[^\n]*\nRemove that file"
    ):
        tiny.load_data()


@pytest.mark.parametrize("module", [mnist, fashion_mnist])
def test_an_unknown_source(module):
    with pytest.raises(ValueError, match="source: expected one of 'auto', 'full', 'cache'.*Received 'web'"):
        module.load_data("web")


def test_the_subset_steps_in_and_says_so_in_one_line(cache, capsys):
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "5,000 + 1,000 real digits" in said
    assert str(cache / "mnist") in said
    assert (x_train.shape, x_test.shape) == ((5000, 28, 28), (1000, 28, 28))
    # Counts of the digits 0-9 among the first 5,000 and 1,000 labels of the published files.
    assert np.bincount(y_train).tolist() == [479, 563, 488, 493, 535, 434, 501, 550, 462, 495]
    assert np.bincount(y_test).tolist() == [85, 126, 116, 107, 110, 87, 87, 99, 89, 94]
    mnist.load_data("subset")
    assert capsys.readouterr().out == ""


def test_mldata_order_sorts_each_part_stably():
    (x_train, y_train), (x_test, y_test) = mnist.load_data("subset")
    data, target = mnist.load_mldata_order("subset")
    expected = [(y_train == digit).nonzero()[0] for digit in range(10)]
    np.testing.assert_array_equal(data[:5000], x_train[np.concatenate(expected)])
    np.testing.assert_array_equal(target[:5000], np.sort(y_train))
    np.testing.assert_array_equal(target[5000:], np.sort(y_test))
    np.testing.assert_array_equal(data[5000], x_test[(y_test == 0).argmax()])


def in_cache(module):
    return pytest.mark.skipif(
        not all(file.find(module.FILES.folder) for file in module.FILES.files), reason="not in the cache"
    )


@pytest.mark.parametrize(
    "module", [pytest.param(each, marks=in_cache(each)) for each in (mnist, fashion_mnist)]
)
def test_the_real_files(module, tmp_path):
    """The checksums that downloads must meet are those of the real files; each class has its known size."""
    data = module.load_data("cache")
    arrays = [array for pair in data for array in pair]
    for file, array in zip(module.FILES.files, arrays, strict=True):
        write_idx(tmp_path / file.name, array)
        content = (tmp_path / file.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256
        assert len(content) == file.size
    train = (
        [6000] * 10
        if module is fashion_mnist
        else [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    )
    assert np.bincount(arrays[1]).tolist() == train


@in_cache(mnist)
def test_the_subset_is_the_head_of_the_real_files():
    for part, whole in zip(mnist.load_data("subset"), mnist.load_data("cache"), strict=True):
        for some, every in zip(part, whole, strict=True):
            np.testing.assert_array_equal(some, every[: len(some)])


@in_cache(mnist)
def test_the_books_split():
    _, target = mnist.load_mldata_order("cache")
    train, test = train_test_split(target, test_size=0.25, random_state=42)
    assert np.bincount(test).tolist() == [1677, 1935, 1767, 1766, 1691, 1653, 1754, 1846, 1702, 1709]
    assert np.bincount(train).tolist() == [5226, 5942, 5223, 5375, 5133, 4660, 5122, 5447, 5123, 5249]


def test_fashion_class_names():
    assert len(set(fashion_mnist.CLASS_NAMES)) == 10
