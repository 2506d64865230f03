"""What every callback promises, found by looking for all of them."""

import copy
import gc
import importlib
import inspect
import os
import pickle
import pkgutil
import subprocess
import sys
import warnings

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import callbacks
from tinyconv.callbacks import Callback
from tinyconv.registry import arguments_of

X, Y = np.random.default_rng(0).normal(size=(12, 3)), np.eye(2)[[0, 1] * 6]


def discover():
    """All callbacks in the files of the package, by name."""
    found = {}
    for info in pkgutil.iter_modules(callbacks.__path__):
        module = importlib.import_module(f"{callbacks.__name__}.{info.name}")
        for name, thing in vars(module).items():
            if inspect.isclass(thing) and issubclass(thing, Callback) and thing.__module__ == module.__name__:
                found[name] = thing
    return found


ALL = discover()
NEEDED = {  # arguments without defaults
    "filepath": "model-{epoch}.tc",
    "filename": "log.csv",
    "figPath": "run.png",
    "backup_dir": "backup",
    "schedule": tc.schedules.StepDecay(0.1),
}


def make(kind):
    needed = [n for n, default in arguments_of(kind).items() if default is inspect.Parameter.empty]
    return kind(**{name: NEEDED[name] for name in needed})


def make_model():
    model = tc.Sequential([tc.layers.Dense(2, activation="softmax", input_shape=(3,))])
    model.compile(tc.optimizers.SGD(0.1, use_ema=True), "categorical_crossentropy", ["acc"])
    return model


def fit(callback, **options):
    model = make_model()
    return model, model.fit(X, Y, 4, epochs=2, validation_split=0.25, callbacks=[callback], verbose=0, **options)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=ALL)
def kind(request):
    if request.param == "TensorBoard":
        pytest.importorskip("tensorboard")
    return ALL[request.param]


def test_all_were_found():
    assert {"Callback", "ModelCheckpoint", "TensorBoard", "History", "LambdaCallback"} <= set(ALL)
    assert {name for name in callbacks.__all__ if inspect.isclass(getattr(callbacks, name))} == {
        *ALL, "CallbackList", "Logs",
    }  # fmt: skip


def test_public_and_documented(kind):
    assert getattr(callbacks, kind.__name__) is kind
    assert kind.__name__ in callbacks.__all__
    assert ">>> " in kind.__doc__
    given = "" if "Parameters" not in kind.__doc__ else kind.__doc__
    for name in inspect.signature(kind).parameters:
        assert name in given or name in ("epsilon", "stateful_metrics"), name
    for name, member in vars(kind).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            assert member.__doc__, name


def test_repr_shows_what_is_not_the_default(kind):
    callback = make(kind)
    needed = [name for name in NEEDED if arguments_of(kind).get(name) is inspect.Parameter.empty]
    shown = ", ".join(f"{name}={getattr(callback, name)!r}" for name in needed)
    assert repr(callback) == f"{kind.__name__}({shown})"


def test_arguments_are_attributes(kind):
    callback = make(kind)
    for name in arguments_of(kind):
        assert hasattr(callback, name) or name == "epsilon"


def open_files():
    return sorted(os.listdir("/proc/self/fd"))


def test_works_in_fit_and_leaves_nothing_open(kind):
    callback = make(kind)
    fit(callback)  # what is imported at the first use may stay
    gc.collect()
    before = open_files() if sys.platform == "linux" else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, history = fit(callback)
        gc.collect()
    assert (open_files() if sys.platform == "linux" else None) == before
    assert history.epoch[-1] <= 1
    assert all(np.isfinite(values).all() for values in history.history.values())
    names = set(history.history) - {"learning_rate"}
    assert names == {"loss", "acc", "val_loss", "val_acc"}
    assert all(type(value) is float for values in history.history.values() for value in values)
    assert not [name for name in os.listdir() if ".part" in name]


def test_works_in_evaluate_and_predict(kind):
    model = make_model()
    for verbose in (0, 1):
        model.evaluate(X, Y, callbacks=[make(kind)], verbose=verbose)
        model.predict(X, callbacks=[make(kind)], verbose=verbose)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_copies_work_on_their_own(kind, duplicate):
    callback = make(kind)
    fit(callback)
    twin = duplicate(callback)
    assert type(twin) is kind
    assert repr(twin) == repr(callback)
    assert twin.model is None
    fit(twin)


def test_state_goes_round(kind):
    callback = make(kind)
    fit(callback)
    twin = make(kind)
    twin.set_state(pickle.loads(pickle.dumps(callback.get_state())))
    assert repr(twin.get_state()) == repr(callback.get_state())


def test_data_stay_as_they_are_and_results_repeat(kind):
    runs = []
    for _ in range(2):
        tc.set_seed(3)
        x, y = X.copy(), Y.copy()
        for array in (x, y):
            array.setflags(write=False)
        model = make_model()
        history = model.fit(x, y, 4, epochs=2, callbacks=[make(kind)], verbose=0).history
        runs.append([*model.get_weights(), *map(np.asarray, history.values())])
        np.testing.assert_array_equal(x, X)
    for first, second in zip(*runs, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_single_sample_is_enough(kind):
    history = make_model().fit(X[:1], Y[:1], 1, epochs=1, callbacks=[make(kind)], verbose=0)
    assert all(np.isfinite(values).all() for values in history.history.values())


def test_importing_is_light():
    program = "import sys, tinyconv.callbacks; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    heavy = {"matplotlib", "tensorboard", "google", "safetensors", "tqdm", "cv2", "numba", "scipy"}
    assert set(done.stdout.split()) & heavy == set()


def test_one_that_keeps_no_attributes_has_a_repr_too():
    class Own(Callback):
        def __init__(self, thing, other=3):
            self.value = thing

    assert "Own(" in repr(Own(5))
