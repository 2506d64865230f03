"""The GPU of these tests: the real one with ``--device cuda``, else the strict stand-in for CuPy's arrays.

On the stand-in, the kernels' own sources run on the host. Products are not rounded to TF32, unless a test asks for it.
"""

import pytest

from tests.cuda import host
from tests.cuda.strict import StrictBackend
from tinyconv import backends


@pytest.fixture
def gpu(request, monkeypatch):
    """The table of the device ``cuda``."""
    monkeypatch.setenv("CUPY_TF32", "0")
    if request.config.getoption("--device") == "cuda":
        return backends.get("cuda")
    if host.COMPILER is None:
        pytest.skip("without a GPU the kernels run on the host, which needs g++")
    monkeypatch.setitem(backends._tables, "cuda", StrictBackend())
    return backends._tables["cuda"]
