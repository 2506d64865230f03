import pytest


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no way to the network: the folder where data sets go."""
    monkeypatch.setenv("TINYCONV_HOME", str(tmp_path))
    monkeypatch.setenv("TINYCONV_OFFLINE", "1")
    return tmp_path / "datasets"
