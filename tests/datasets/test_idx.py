"""IDX files: every array survives a round trip, every damaged or lying file is refused with its name."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyconv.datasets.idx import read_idx, write_idx

DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]
SMALL = b"\0\0\x08\x02" + struct.pack(">II", 2, 3) + bytes(range(6))  # [[0, 1, 2], [3, 4, 5]]


@given(
    array=st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=5, min_side=0, max_side=4))
    ),
    ending=st.sampled_from(["", ".gz"]),
    order=st.sampled_from(["C", "F"]),
)
def test_round_trip(tmp_path_factory, array, ending, order):
    path = tmp_path_factory.mktemp("idx") / f"array{ending}"
    write_idx(path, np.asarray(array, order=order))
    result = read_idx(path, array.shape)
    np.testing.assert_array_equal(result, array)
    assert result.dtype == array.dtype
    assert result.dtype.isnative
    assert result.flags.writeable


@pytest.mark.parametrize(
    ("code", "layout", "values"),
    [
        (0x08, ">3B", (0, 7, 255)),
        (0x09, ">3b", (-128, 0, 127)),
        (0x0B, ">3h", (-32768, 1, 32767)),
        (0x0C, ">3i", (-(2**31), 1, 2**31 - 1)),
        (0x0D, ">3f", (-1.5, 0.0, 2.0**100)),
        (0x0E, ">3d", (-1.5, 0.1, 1e300)),
    ],
)
def test_the_published_format(tmp_path, code, layout, values):
    path = tmp_path / "values"
    content = struct.pack(">HBBI", 0, code, 1, 3) + struct.pack(layout, *values)
    path.write_bytes(content)
    array = read_idx(path)
    assert array.tolist() == list(values)
    write_idx(tmp_path / "again", array)
    assert (tmp_path / "again").read_bytes() == content


def test_gzip_is_told_by_content_and_written_without_a_time(tmp_path):
    write_idx(tmp_path / "a.gz", np.arange(6, dtype=np.uint8).reshape(2, 3))
    packed = (tmp_path / "a.gz").read_bytes()
    assert gzip.decompress(packed) == SMALL
    assert packed[4:8] == bytes(4)  # mtime
    (tmp_path / "a").write_bytes(packed)
    assert read_idx(tmp_path / "a").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "expected an IDX file.*Received an empty file"),
        (SMALL[:3], "expected an IDX file.*Received 00 00 08"),
        (b"\x80\x04" + SMALL[2:], "expected an IDX file.*Received 80 04 08 02"),  # how a pickle starts
        (b"\0\0\x0a" + SMALL[3:], "expected an IDX file.*Received 00 00 0a 02"),  # no such type
        (b"\0\0\x08\0", "expected 1 to 32 dimensions. Received 0"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "expected 1 to 32 dimensions. Received 255"),
        (SMALL[:9], "expected a header of 12 bytes. Received 9"),
        (SMALL[:-1], r"expected 6 bytes after the header, for shape \(2, 3\) of uint8. Received 5"),
        (SMALL + b"\0", "expected 6 bytes after the header.*Received more"),
        (b"\0\0\x0e\x03" + b"\xff" * 12 + bytes(9), "expected [0-9]+ bytes after the header.*Received 9"),
        (b"\0\0\x08\x03" + bytes(4) + b"\xff" * 8, "expected a shape that NumPy can hold"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, content, told, packed):
    path = tmp_path / "wrong-file"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=f"(?s)wrong-file: {told}"):
        read_idx(path)


def test_another_shape_is_refused(tmp_path):
    (tmp_path / "small").write_bytes(SMALL)
    with pytest.raises(ValueError, match=r"small: expected an array of shape \(3, 2\). Received \(2, 3\)"):
        read_idx(tmp_path / "small", (3, 2))


@given(cut=st.integers(2, 24), flip=st.integers(0, 7))
def test_a_damaged_gzip_file_is_refused(tmp_path_factory, cut, flip):
    path = tmp_path_factory.mktemp("idx") / "damaged.gz"
    packed = bytearray(gzip.compress(SMALL, mtime=0))
    path.write_bytes(packed[: len(packed) - cut])
    with pytest.raises(ValueError, match=r"damaged.gz: expected"):
        read_idx(path)
    packed[-8 + flip] ^= 1  # one bit of the checksum or of the length
    path.write_bytes(packed)
    with pytest.raises(ValueError, match=r"damaged.gz: expected an intact gzip file"):
        read_idx(path)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_lying_header_costs_no_memory(tmp_path, ending):
    path = tmp_path / f"liar{ending}"
    content = b"\0\0\x08\x02" + struct.pack(">II", 1 << 20, 1 << 16) + bytes(1000)  # claims 64 GiB
    path.write_bytes(gzip.compress(content) if ending else content)
    tracemalloc.start()
    with pytest.raises(ValueError, match="expected 68719476736 bytes.*Received 1000"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_writing_refuses_what_the_format_cannot_hold(tmp_path):
    with pytest.raises(TypeError, match="expected one of uint8.*Received int64"):
        write_idx(tmp_path / "a", np.arange(3, dtype=np.int64))
    with pytest.raises(ValueError, match=r"expected 1 to 32 dimensions.*Received shape \(\)"):
        write_idx(tmp_path / "a", np.uint8(3))
    assert not (tmp_path / "a").exists()


def test_an_old_file_survives_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "a-idx1-ubyte"
    write_idx(path, np.arange(3, dtype=np.uint8))

    def full(self, content):
        with open(self, "wb") as file:
            file.write(content[:5])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left on device: .*a-idx1-ubyte"):
        write_idx(path, np.arange(9, dtype=np.uint8))
    assert read_idx(path).tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]
