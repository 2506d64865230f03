"""HDF5 files that are damaged where the library itself does not look."""

import io
import subprocess
import sys

import numpy as np
import pytest

from tinyconv.interop import hdf5

h5py = pytest.importorskip("h5py")

READ = """
import sys
from tinyconv.interop import hdf5
try:
    with hdf5.reading(sys.argv[1], "it") as file:
        print(hdf5.names(file, "names"))
except ValueError as error:
    print(error)
"""


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.fixture
def intact(tmp_path):
    """A file with texts of variable length, which lie in a heap."""
    with h5py.File(tmp_path / "intact.h5", "w") as file:
        hdf5.set_names(file, "names", ["a", "bc", "kernel" * 20])
        file["x"] = np.arange(5)
    return (tmp_path / "intact.h5").read_bytes()


def free_space(content):
    """Where the object of index 0 begins, walking over the objects by the format's description."""
    heap = content.index(b"GCOL")
    place, end = heap + 16, heap + int.from_bytes(content[heap + 8 : heap + 16], "little")
    while place < end and content[place : place + 2] != b"\0\0":
        place += 16 + -(-int.from_bytes(content[place + 8 : place + 16], "little") // 8) * 8
    assert place < end
    return place


def test_texts_of_an_intact_file(tmp_path, intact):
    for source in (write(tmp_path / "it.h5", intact), io.BytesIO(intact)):
        with hdf5.reading(source, "it") as file:
            assert hdf5.names(file, "names") == ["a", "bc", "kernel" * 20]


@pytest.mark.parametrize("length", [0, 8, 15])
def test_free_space_of_no_length_ends_no_heap(tmp_path, intact, length):
    """The library would walk on by ``length`` bytes, for ever by 0; in a process of its own, since nothing stops it."""
    place = free_space(intact) + 8
    damaged = write(tmp_path / "it.h5", intact[:place] + length.to_bytes(8, "little") + intact[place + 8 :])
    found = subprocess.run([sys.executable, "-c", READ, damaged], capture_output=True, text=True, timeout=60)
    assert "never ends" in found.stdout, found
    message = "it is not a Keras file, or it is damaged: a heap of texts in it never ends"
    with pytest.raises(ValueError, match=message), hdf5.reading(io.BytesIO(damaged.read_bytes()), "it"):
        pass


def test_a_heap_cut_off_is_left_to_the_library(tmp_path, intact):
    heap = intact.index(b"GCOL")
    message = "it is not a Keras file, or it is damaged"
    for end in (0, 3, heap + 5, heap + 12, heap + 20):
        damaged = write(tmp_path / "it.h5", intact[:end])
        with pytest.raises(ValueError, match=message), hdf5.reading(damaged, "it") as file:
            hdf5.names(file, "names")

