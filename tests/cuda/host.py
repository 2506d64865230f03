"""The kernels' own sources, compiled by g++ with ``shim/`` in place of the GPU, behind the door of CuPy's compiler.

``load`` takes the place of CuPy's compiler in a ``Launcher``. Each launch works on copies of its arrays that lie
between margins of NaN: what is read outside spoils results, what is written outside is noticed.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import itertools
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tests.cuda import runtime
from tinyconv.backends.cuda import contractions, elements, launch

SHIM = Path(__file__).parent / "shim"
COMPILER = shutil.which("g++")
MARGIN = 1 << 15  # bytes on either side of an array
KERNELS = [*contractions.kernels(), *elements.kernels(), ("split.cu", "sum_parts")]
_one_launch = threading.Lock()  # the libraries share one GPU
late, backwards = True, False  # when copies happen, and in which order threads take turns; see `order`

EXPORTS = """
#include <string>
struct Entry { const char* name; void (*kernel)(void**); };
static const Entry entries[] = {%s};
extern "C" const char* launch(const char* name, const unsigned* grid, unsigned block, size_t shared, void** arguments,
                              const size_t* ranges, int arrays, int late, int backwards) {
    shim::arrays.clear();
    for (int i = 0; i < arrays; ++i) shim::arrays.push_back({ranges[2 * i], ranges[2 * i + 1]});
    for (const Entry& entry : entries)
        if (std::string(entry.name) == name)
            return shim::launch(entry.kernel, grid, block, shared, arguments, late, backwards);
    return "no such kernel";
}
"""


@contextlib.contextmanager
def order(copies_late: bool, threads_backwards: bool) -> Iterator[None]:
    """Two freedoms that a GPU has: a kernel must be right whatever it makes of them."""
    global late, backwards
    before, (late, backwards) = (late, backwards), (copies_late, threads_backwards)
    try:
        yield
    finally:
        late, backwards = before


def text_of(file: str, names: Iterable[str] | None = None) -> str:
    """The host's version of a kernel file, with its kernels, or those of ``names``, in a table."""

    def read(name):
        replaced = SHIM / name
        return (replaced if replaced.exists() else launch.FOLDER / name).read_text(encoding="utf-8")

    if names is None:
        names = [expression for source, expression in KERNELS if source == file]
    return launch.source(file, read) + EXPORTS % ",".join(f'{{"{name}", shim::invoke<{name}>}}' for name in names)


@functools.cache
def library(text: str) -> ctypes.CDLL:
    """The shared library of a text of kernels: built when there is none of the same text."""
    options = ["-std=c++17", "-O2", "-fPIC", "-shared", "-U_FORTIFY_SOURCE", "-Wno-unknown-pragmas"]
    digest = hashlib.sha256("\n".join([text, *options]).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"tinyconv-kernels-{os.getuid()}"
    built = folder / f"{digest}.so"
    if not built.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            (Path(place) / "kernels.cpp").write_text(text, encoding="utf-8")
            command = [COMPILER, *options, "kernels.cpp", "-o", "kernels.so"]
            subprocess.run(command, cwd=place, check=True)
            os.replace(Path(place) / "kernels.so", built)
    loaded = ctypes.CDLL(str(built))
    loaded.launch.restype = ctypes.c_char_p
    return loaded


class Guarded:
    """The memory of a host array, copied between margins of NaN."""

    def __init__(self, array: np.ndarray):
        low, high = np.lib.array_utils.byte_bounds(array)
        self.home, self.size = low, high - low
        self.block = np.full(self.size + 2 * MARGIN + 16, 0xFF, np.uint8)
        self.place = self.block.ctypes.data + MARGIN
        self.place += (low - self.place) % 16  # aligned as the original is
        self.first = self.place + array.ctypes.data - low  # with negative strides not where the memory begins
        ctypes.memmove(self.place, low, self.size)
        self.before = ctypes.string_at(low, self.size)

    def put_back(self) -> None:
        offset = self.place - self.block.ctypes.data
        margins = self.block[:offset], self.block[offset + self.size :]
        assert all((margin == 0xFF).all() for margin in margins), "a write outside of an array"
        if ctypes.string_at(self.place, self.size) != self.before:  # what a kernel only reads, others may be writing
            ctypes.memmove(self.home, self.place, self.size)


def load(file: str, expression: str, shared: int):
    """A kernel on the host, called as CuPy's are."""
    assert (file, expression) in KERNELS, f"{expression} is not among the kernels that are tested"
    return kernel_of(library(text_of(file)), expression, shared)


def kernel_of(built: ctypes.CDLL, expression: str, shared: int):
    """A kernel of a library, which must be launched with as much shared memory as it was loaded with."""

    def kernel(grid, block, arguments, shared_mem=0):
        assert shared_mem == shared
        # an array may be gone when a captured launch is replayed, its memory not
        values = [runtime._place(a._host) if hasattr(a, "_host") else np.asarray(a) for a in arguments]
        runtime.get_current_stream().run(lambda: run_on(grid, block, values))

    def run_on(grid, block, values):
        guards = [Guarded(value()) if callable(value) else None for value in values]
        values = [np.array(guard.first, np.uintp) if guard else value for guard, value in zip(guards, values)]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        sizes = (ctypes.c_uint * 3)(*(*grid, 1, 1)[:3])
        used = [(guard.place, guard.place + guard.size) for guard in guards if guard]
        ranges = (ctypes.c_size_t * (2 * len(used)))(*itertools.chain(*used))
        with _one_launch:
            failure = built.launch(expression.encode(), sizes, ctypes.c_uint(*block), ctypes.c_size_t(shared), pointers,
                                   ranges, len(used), int(late), int(backwards))  # fmt: skip
        assert failure is None, f"{expression}: {failure.decode()}"
        for guard in filter(None, guards):
            guard.put_back()

    return kernel
