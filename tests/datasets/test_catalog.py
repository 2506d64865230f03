"""What is on this machine, and what gets the rest here."""

import subprocess
import sys

import pytest

import tinyconv.datasets
from tinyconv.datasets import DownloadError, animals, catalog, cifar10, fetch, mnist, status

NAMES = ["mnist", "fashion_mnist", "cifar10", "cifar100", "smiles", "animals", "captchas", "california_housing"]


def test_an_empty_cache(cache):
    told = status()
    assert [each.name for each in told] == NAMES
    for each in told:
        assert each.folder == cache / each.name
        assert (each.state, each.size) == ("missing", 0)
        assert each.missing
        assert str(each.folder) in each.hint
        assert callable(getattr(tinyconv.datasets, each.name).load_data)
        assert each.downloads is (each.name not in ("smiles", "animals", "captchas"))
        assert each.hint.startswith(f"tinyconv.datasets.fetch('{each.name}')") is each.downloads
    assert not cache.exists()


def test_states_and_sizes(cache):
    for name in animals.CLASS_NAMES:
        assert status("animals")[0].state == ("missing" if name == "cats" else "incomplete")
        (cache / "animals" / name).mkdir(parents=True)
        (cache / "animals" / name / "1.jpg").write_bytes(b"four")
    (told,) = status("animals")
    assert (told.state, told.size, told.missing, told.hint) == ("present", 12, (), "")
    first, *rest = cifar10.FILES.train | cifar10.FILES.test
    (cache / "cifar10" / first).parent.mkdir(parents=True)
    (cache / "cifar10" / first).write_bytes(bytes(100))
    (told,) = status("cifar10")
    assert (told.state, told.size, told.missing) == ("incomplete", 100, tuple(rest))
    (cache / "cifar10" / cifar10.FILES.archive).write_bytes(b"unread")
    assert status("cifar10")[0].state == "present"


def test_fetch(cache):
    for name in NAMES:
        told = status(name)[0]
        with pytest.raises(DownloadError if told.downloads else FileNotFoundError) as caught:
            fetch(name)
        assert str(told.folder) in str(caught.value)
    for file in mnist.FILES.files:
        (cache / "mnist").mkdir(parents=True, exist_ok=True)
        (cache / "mnist" / f"{file.name}.gz").write_bytes(b"")
    assert fetch("mnist") == status("mnist")[0]
    assert fetch("mnist").state == "present"


@pytest.mark.parametrize("call", [status, fetch])
def test_an_unknown_name(call):
    with pytest.raises(ValueError, match="name: expected one of mnist, fashion_mnist, .* Received 'imagenet'"):
        call("imagenet")


def test_every_data_set_is_exported():
    assert list(catalog.MODULES) == NAMES
    assert set(NAMES) <= set(tinyconv.datasets.__all__)


def test_what_importing_does_not_import():
    modules = "{'cv2', 'matplotlib', 'numba', 'scipy', 'sklearn', 'tqdm', 'urllib.request'}"
    code = f"import sys, tinyconv.datasets as data; data.status(); print(*(m for m in {modules} if sys.modules.get(m)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
