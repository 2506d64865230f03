"""California Housing: three kinds of copies, one table; the real one, where it is in the cache."""

import csv
import gzip
import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from tinyconv.datasets import DownloadError, california_housing

ROWS = 700
KINDS = ["california_housing.csv.gz", "california_housing.npz", "cal_housing.tgz"]


def some_rows(count=ROWS):
    """Rows of StatLib's table with as many decimals as it has: (count, 9)."""
    rng = np.random.default_rng(8)
    longitude, latitude = -rng.integers(11431, 12436, count) / 100, rng.integers(3254, 4196, count) / 100
    households = rng.integers(1, 6083, count)
    whole = [rng.integers(low, high, count) for low, high in ((1, 53), (2, 39321), (1, 6446), (3, 35683))]
    income, price = rng.integers(4999, 150002, count) / 10_000, rng.integers(14_999, 500_002, count)
    return np.stack([longitude, latitude, *whole, households, income, price], axis=1)


def features(table):
    """scikit-learn's columns, row by row, in Python's own arithmetic, which is double precision."""
    x = [
        (income, age, rooms / homes, bedrooms / homes, people, people / homes, latitude, longitude)
        for longitude, latitude, age, rooms, bedrooms, people, homes, income, _ in table.tolist()
    ]
    return np.array(x), np.array([row[-1] / 100_000.0 for row in table.tolist()])


def copy_of(kind, table):
    """The bytes of a copy in the form of its publisher."""
    packed = io.BytesIO()
    if kind.endswith(".csv.gz"):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*california_housing.FEATURE_NAMES, "MedVal"])
        writer.writerows([*row, price] for row, price in zip(*(part.tolist() for part in features(table)), strict=True))
        return gzip.compress(text.getvalue().encode())
    if kind.endswith(".npz"):
        np.savez(packed, x=np.asfortranarray(table[:, :8], np.float32), y=table[:, 8].astype(np.float32))
        return packed.getvalue()
    lines = "".join(",".join(f"{number:.6f}" for number in row) + "\n" for row in table)
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in (("cal_housing.domain", "longitude: continuous.\n"), ("cal_housing.data", lines)):
            info = tarfile.TarInfo(f"CaliforniaHousing/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.fixture
def put(cache, monkeypatch):
    """Puts a copy into the cache, of a table that has fewer rows than the real one."""

    def put(kind, content):
        monkeypatch.setattr(california_housing, "FILES", replace(california_housing.FILES, rows=ROWS))
        folder = california_housing.FILES.folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / kind).write_bytes(content)
        return folder / kind

    return put


def assert_same(received, expected, dtype):
    np.testing.assert_array_equal(received, expected)
    assert (received.dtype, received.shape) == (dtype, expected.shape)


@pytest.mark.parametrize("kind", KINDS)
def test_every_copy_gives_the_same_features_bit_for_bit(put, kind):
    table = some_rows()
    put(kind, copy_of(kind, table))
    for received, expected in zip(california_housing.load_features("cache"), features(table), strict=True):
        assert_same(received, expected, np.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("version", "count"), [("large", ROWS), ("small", 600)])
@pytest.mark.parametrize(("test_split", "seed"), [(0.2, 113), (0.0, 0), (0.333, 5)])
def test_load_data_shuffles_and_splits_as_keras(put, kind, version, count, test_split, seed):
    table = some_rows()
    put(kind, copy_of(kind, table))
    received = california_housing.load_data(version, test_split=test_split, seed=seed)
    order = list(range(count))
    np.random.RandomState(seed).shuffle(order)
    train = int(count * (1 - test_split))
    for (x, y), rows in zip(received, (order[:train], order[train:]), strict=True):
        assert_same(x, table[rows, :8].astype(np.float32), np.float32)
        assert_same(y, table[rows, 8].astype(np.float32), np.float32)


def test_a_copy_is_downloaded_once(put, tmp_path, monkeypatch):
    put("other", b"")
    content, table = copy_of("cal_housing.tgz", some_rows()), some_rows()
    (tmp_path / "cal_housing.tgz").write_bytes(content)
    copies = [
        replace(each, urls=("http://127.0.0.1:9/",) if each.name.endswith("npz") else each.urls)
        for each in california_housing.FILES.copies
    ]
    url = (tmp_path / "cal_housing.tgz").as_uri()
    copies[2] = replace(copies[2], urls=(url,), sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    monkeypatch.setattr(california_housing, "FILES", replace(california_housing.FILES, copies=tuple(copies)))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("TINYCONV_OFFLINE")
    np.testing.assert_array_equal(california_housing.load_features()[0], features(table)[0])
    assert sorted(path.name for path in california_housing.FILES.folder.iterdir()) == ["cal_housing.tgz", "other"]
    np.testing.assert_array_equal(california_housing.load_features("cache")[0], features(table)[0])


def test_without_network_and_cache(cache):
    with pytest.raises(FileNotFoundError, match="California Housing is not in the cache: put california_housing"):
        california_housing.load_data(source="cache")
    with pytest.raises(DownloadError, match="TINYCONV_OFFLINE is set") as caught:
        california_housing.load_features()
    assert str(cache / "california_housing") in str(caught.value)
    assert not cache.exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.0, 0.4, 0.97])
def test_a_truncated_copy(put, kind, part):
    content = copy_of(kind, some_rows())
    path = put(kind, content[: int(part * len(content))])
    with pytest.raises(ValueError, match=rf"{path}: expected[\s\S]*\nRemove that file"):
        california_housing.load_data()


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_with_other_numbers(put, kind):
    path = put(kind, copy_of(kind, some_rows(ROWS - 1)))
    told = rf"{path}: expected {ROWS} rows of 9 finite numbers. Received shape \({ROWS - 1}, 9\)"
    with pytest.raises(ValueError, match=told):
        california_housing.load_data()
    table = some_rows()
    table[5, 3] = np.nan
    put(kind, copy_of(kind, table))
    with pytest.raises(ValueError, match="finite"):
        california_housing.load_data()


def npz(**arrays):
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


def lying_npz():
    """Arrays whose header claims a terabyte."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, shape in (("x.npy", (1 << 35, 8)), ("y.npy", (1 << 35,))):
            header = io.BytesIO()
            description = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(header, description)
            file.writestr(name, header.getvalue() + bytes(64))
    return packed.getvalue()




@pytest.mark.parametrize(
    ("content", "told"),
    [
        (npz(x=np.zeros((ROWS, 8))), "expected the arrays x and y. Received"),
        (npz(x=np.zeros((ROWS, 7)), y=np.zeros(ROWS)), r"expected the shapes \(N, 8\) and \(N,\)"),
        (npz(x=np.zeros((ROWS, 8)), y=np.zeros(3)), r"expected the shapes \(N, 8\) and \(N,\)"),
        (npz(x=np.zeros((ROWS, 8), np.int64), y=np.zeros(ROWS)), "expected x.npy to hold floats. Received int64"),
        (npz(x=np.array([{"a": 1}]), y=np.zeros(1)), "expected x.npy to hold floats. Received object"),
        (lying_npz(), "expected an intact copy of the table. Received: cannot reshape"),
        (b"PK no zip", "expected an intact copy of the table"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(put, content, told):
    put("california_housing.npz", content)
    with pytest.raises(ValueError, match=told):
        california_housing.load_features()


@pytest.mark.parametrize(
    ("kind", "content", "told"),
    [
        ("california_housing.csv.gz", gzip.compress(b"a,b\n1,2\n"), "expected 9 columns. Received 2"),
        ("california_housing.csv.gz", gzip.compress(b"a\n" + b"1,2,3,4,5,6,7,8,cat\n"), "could not convert"),
        ("california_housing.csv.gz", gzip.compress(bytes(20 << 20)), "expected lines of 9 numbers. Received none"),
        ("california_housing.csv.gz", gzip.compress(b"a,b\n"), "expected lines of 9 numbers. Received none"),
        ("cal_housing.tgz", gzip.compress(bytes(10240)), "expected the member CaliforniaHousing/cal_housing.data"),
    ],
)
def test_text_that_is_no_table(put, kind, content, told):
    put(kind, content)
    with pytest.raises(ValueError, match=told):
        california_housing.load_features()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"version": "tiny"}, "version: expected 'small' or 'large'. Received 'tiny'"),
        ({"test_split": 1.0}, "test_split: expected a fraction from 0 to below 1. Received 1.0"),
        ({"source": "web"}, "source: expected one of 'auto', 'full', 'cache'. Received 'web'"),
    ],
)
def test_wrong_arguments(options, told):
    with pytest.raises(ValueError, match=told):
        california_housing.load_data(**options)


in_cache = pytest.mark.skipif(bool(california_housing.FILES.missing()), reason="not in the cache")


@in_cache
def test_the_real_features():
    x, y = california_housing.load_features("cache")
    assert (x.shape, y.shape) == ((20_640, 8), (20_640,))
    # Published: the first row, and the means, of scikit-learn's fetch_california_housing.
    first = [8.3252, 41.0, 6.98412698, 1.02380952, 322.0, 2.55555556, 37.88, -122.23]
    np.testing.assert_allclose(x[0], first, rtol=1e-8)
    means = [3.870671, 28.639486, 5.429000, 1.096675, 1425.476744, 3.070655, 35.631861, -119.569704]
    np.testing.assert_allclose(x.mean(axis=0), means, atol=6e-7)
    assert (y[0], round(y.mean(), 6)) == (4.526, 2.068558)


@in_cache
def test_the_real_load_data():
    """Published runs of Keras print these prices."""
    (x_train, y_train), (x_test, y_test) = california_housing.load_data("small", "california_housing.npz", 0.2, 113)
    assert (x_train.shape, x_test.shape) == ((480, 8), (120, 8))
    assert y_train[:5].tolist() == [228400, 132900, 60000, 95200, 107000]
    assert y_train[-2:].tolist() == [140500, 217100]
    (x_train, y_train), (x_test, y_test) = california_housing.load_data()
    assert (x_train.shape, x_test.shape) == ((16_512, 8), (4_128, 8))
    assert y_train[:3].tolist() == [252300, 146900, 290900]
    assert y_test.shape == (4_128,)


@in_cache
@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_real_table_survives_every_form(kind, monkeypatch, tmp_path):
    table, expected = california_housing.FILES.load(may_download=False), california_housing.load_features("cache")
    monkeypatch.setenv("TINYCONV_HOME", str(tmp_path))
    california_housing.FILES.folder.mkdir(parents=True)
    content = copy_of(kind, table)
    if kind.endswith("npz"):
        assert len(content) == pytest.approx(743_530, abs=40)  # the published file's size, but for names and padding
    (california_housing.FILES.folder / kind).write_bytes(content)
    for received, known in zip(california_housing.load_features("cache"), expected, strict=True):
        np.testing.assert_array_equal(received, known)
