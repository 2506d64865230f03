"""Settings that all tests share: the hypothesis profile, and the device that tests run on.

``TINYCONV_HYPOTHESIS_EXAMPLES=500`` searches longer. ``pytest --device cuda`` puts all arrays on the GPU and leaves out
the tests of what only the host has.
"""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "tinyconv",
    max_examples=int(os.environ.get("TINYCONV_HYPOTHESIS_EXAMPLES", "25")),
    derandomize=True,  # the same examples in every run and on every machine
    database=None,
    deadline=None,  # the first example may compile a kernel
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tinyconv")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job, and in all that it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)

collect_ignore = ["hidden"]  # its sitecustomize hides packages from the process that imports it

HOST_ONLY = (  # kernels, plans and recordings of NumPy arrays; programs and files that never see a device
    "backends/", "benchmarks/", "cli/", "datasets/", "interop/", "preprocessing/", "vision/", "examples/",
    "models/test_replayed", "test_imports", "test_packaging", "test_public_surface", "test_readme",
)  # fmt: skip
HOST_TESTS = (  # memory shared with NumPy, and operations of the test's own that call NumPy
    "replayed", "test_arrays_are_not_copied_and_tensors_share", "test_assign_overwrites_in_place",
    "test_asarray_shares_memory_and_converts", "test_asarray_without_copy", "test_integer_outputs_carry_no_gradient",
    "test_scalar_results_become_tensors",
)  # fmt: skip


def pytest_addoption(parser):
    parser.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="where the tests put their arrays")


def pytest_configure(config):
    if config.getoption("--device") == "cuda":
        os.environ["TINYCONV_DEVICE"] = "cuda"  # also for the processes that tests start
        os.environ.setdefault("CUPY_TF32", "0")  # full precision, as the tolerances are for it


def pytest_collection_modifyitems(config, items):
    if config.getoption("--device") != "cuda":
        return
    from tinyconv import backends

    try:
        backends.get("cuda")
        missing = ""
    except (ImportError, RuntimeError) as error:
        missing = str(error)
    for item in items:
        where = str(item.path.relative_to(config.rootpath / "tests")) if "tests" in item.path.parts else ""
        if missing:
            item.add_marker(pytest.mark.skip(reason=missing))
        elif where.startswith(HOST_ONLY) or any(name in item.name for name in HOST_TESTS):
            item.add_marker(pytest.mark.skip(reason="a test of the host"))


@pytest.fixture(autouse=True)
def _same_random_numbers_in_every_run():
    """Weights and shuffling of a test do not depend on the clock, nor on the tests before it."""
    from tinyconv import random

    random.set_seed(0)
