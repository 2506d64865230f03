"""Facts about pyproject.toml, the Makefile and .ci/run that would break silently."""

import fnmatch
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()


def test_ci_runs_make_test_and_nothing_else():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "exec make test"]


def test_make_test_covers_the_suite_the_reference_backend_and_missing_packages():
    recipe = MAKEFILE.split("\ntest:")[1].split("\n\n")[0]
    for step in ("ruff check", "mypy", "$(PYTEST)\n", "TINYCONV_BACKEND=reference", "tests/hidden"):
        assert step in recipe


def test_python_versions_agree():
    assert PYPROJECT["project"]["requires-python"] == ">=3.10,<3.14"
    assert "(3, 10) <= sys.version_info < (3, 14)" in MAKEFILE


def test_extras_and_command():
    project = PYPROJECT["project"]
    assert {"cuda12", "cuda13", "test", "bench"} <= project["optional-dependencies"].keys()
    assert project["scripts"] == {"tinyconv": "tinyconv.cli:main"}


def test_every_data_file_is_packaged():
    patterns = [
        f"{package.replace('.', '/')}/{pattern}"
        for package, names in PYPROJECT["tool"]["setuptools"]["package-data"].items()
        for pattern in names
    ]
    files = [
        path for path in (ROOT / "tinyconv").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    data = [path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".py"]
    assert "tinyconv/py.typed" in data
    assert [name for name in data if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []


def test_hidden_packages_cannot_be_imported():
    code = (
        "import importlib.util as u; print([u.find_spec(n) for n in ('numba', 'cv2', 'cupy')]); import numba"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "hidden")}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.stdout == "[None, None, None]\n"
    assert "ModuleNotFoundError" in result.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make(tmp_path):
    """Bare `make` lists the targets; a Python that does not fit is refused in words."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}

    def make(*arguments):
        return subprocess.run(
            ["make", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    assert all(f"make {target}" in make().stdout for target in ("lenet", "test", "bench", "venv", "clean"))
    refused = make("venv", "PYTHON=no-such-python")
    assert refused.returncode != 0
    assert "expected Python 3.10-3.13" in refused.stderr
    assert not (tmp_path / ".venv").exists()
