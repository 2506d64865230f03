"""No class of the package escapes the conformance tests."""

import gc
import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path

import pytest

import tinyconv as tc
from tinyconv import callbacks, layers, models

ROOT = Path(__file__).parents[1]
WITHOUT_A_ROW = {models.Sequential, models.Functional}  # they have a folder of tests


def load(name, path):
    """A file of tests as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def classes_with_tests():
    """Every class that some conformance test makes objects of."""
    cases = load("conformance_cases", ROOT / "conformance/cases.py")
    of_layers = load("conformance_of_layers", ROOT / "layers/test_conformance.py")
    of_callbacks = load("conformance_of_callbacks", ROOT / "callbacks/test_conformance.py")
    return {*(case.cls for case in cases.CASES.values()), *of_layers.FOUND.values(), *of_callbacks.ALL.values()}


def everything_is_imported():
    for info in pkgutil.walk_packages(tc.__path__, "tinyconv."):
        if ".cuda" not in info.name and not info.name.endswith("__main__"):
            importlib.import_module(info.name)


def last_descendants(cls):
    """Classes of the package below ``cls`` that no other class of it derives from."""
    below = [c for c in cls.__subclasses__() if c.__module__.partition(".")[0] == "tinyconv"]
    return {last for c in below for last in last_descendants(c)} if below else {cls}


BASES = (
    layers.Layer, tc.losses.Loss, tc.metrics.Metric, tc.optimizers.Optimizer, tc.initializers.Initializer,
    tc.regularizers.Regularizer, tc.constraints.Constraint, tc.schedules.LearningRateSchedule, callbacks.Callback,
)  # fmt: skip


@pytest.fixture(scope="module")
def classes():
    everything_is_imported()
    return classes_with_tests()


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
def test_every_class_is_tested(base, classes):
    assert last_descendants(base) - classes - WITHOUT_A_ROW == set()


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
def test_a_new_class_would_be_missed(base, classes):
    before = last_descendants(base)
    new = type("New", (base,), {"__module__": "tinyconv.new"})
    assert last_descendants(base) - before == {new}
    assert new not in classes
    del new
    gc.collect()
    assert last_descendants(base) == before
