"""The GPU of these tests: the real one with ``--device cuda``, else the strict stand-in for CuPy's arrays."""

import pytest

from tests.cuda.strict import StrictBackend
from tinyconv import backends


@pytest.fixture
def gpu(request, monkeypatch):
    """The table of the device ``cuda``."""
    if request.config.getoption("--device") == "cuda":
        return backends.get("cuda")
    monkeypatch.setitem(backends._tables, "cuda", StrictBackend())
    return backends._tables["cuda"]
