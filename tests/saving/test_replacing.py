"""Everything that is written is whole or not there: with a full disk, interrupted, through links, under long names."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.files import replacing

ROOT = Path(__file__).parents[2]
X, Y = np.ones((8, 300), "f4"), np.arange(8) % 2


@pytest.fixture(scope="module")
def model():
    hidden = tc.layers.Dense(60, activation="relu", input_shape=(300,))
    made = tc.Sequential([hidden, tc.layers.Dense(2, activation="softmax")])
    made.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    made.fit(X, Y, verbose=0)
    return made


def fit(model, callback):
    model.fit(X, Y, epochs=2, validation_data=(X, Y), callbacks=[callback], verbose=0)


def back_up(model, folder):
    backup = tc.callbacks.BackupAndRestore(folder)
    backup.set_model(model)
    backup.on_epoch_end(0)


def finder(model):
    found = tc.callbacks.LearningRateFinder()
    found.learning_rates = found.losses = found.smoothed_losses = [0.1, 0.2, 0.3]
    return found


WRITERS = {  # name of the file, how it is written
    "save": ("model.tinyconv", lambda model, path: model.save(path)),
    "save as HDF5": ("model.h5", lambda model, path: model.save(path)),
    "save as .keras": ("model.keras", lambda model, path: model.save(path)),
    "save_weights": ("weights.safetensors", lambda model, path: model.save_weights(path)),
    "save_weights as HDF5": ("model.weights.h5", lambda model, path: model.save_weights(path)),
    "ModelCheckpoint": ("best model.tinyconv", lambda model, path: fit(model, tc.callbacks.ModelCheckpoint(path))),
    "BackupAndRestore": ("backup.safetensors", lambda model, path: back_up(model, path.parent)),
    "TrainingMonitor": ("curves.png", lambda model, path: fit(model, tc.callbacks.TrainingMonitor(path))),
    "plot_model": ("model.svg", lambda model, path: tc.viz.plot_model(model, path)),
    "plot_history": ("curves.pdf", lambda model, path: tc.viz.plot_history({"loss": [2, 1]}, path)),
    "LearningRateFinder": ("rates.png", lambda model, path: finder(model).plot(path)),
    "save_img": ("noise.png", lambda _, path: tc.utils.save_img(path, np.random.default_rng(0).random((99, 99, 3)))),
}


@contextlib.contextmanager
def full_disk(left=2000):
    """No file can become larger: writing fails in the middle, as it does where no space is left."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_no_other(name, model, tmp_path):
    if "HDF5" in name or "keras" in name:
        pytest.importorskip("h5py")
    file, write = WRITERS[name]
    path = tmp_path / "a folder" / file
    path.parent.mkdir()
    write(model, path)
    before = path.read_bytes()
    assert len(before) > 2000
    with full_disk(), pytest.raises(OSError, match=re.escape(f"File too large: '{path}'")):
        write(model, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [file]


@pytest.mark.parametrize("ending", ["h5", "keras", "weights.h5", "tinyconv"])
def test_a_full_disk_does_not_take_the_process_down(ending, tmp_path):
    """HDF5 does so when it cannot write out what it still has in memory."""
    pytest.importorskip("resource")
    pytest.importorskip("h5py")
    code = f"""
import resource, tinyconv as tc
model = tc.applications.LeNet.build(28, 28, 1, 10)
model.compile("adam", "sparse_categorical_crossentropy")
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, -1))
try:
    (model.save_weights if {ending == "weights.h5"} else model.save)("model.{ending}")
except OSError as error:
    print(error.strerror, error.filename)
"""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"File too large {tmp_path / 'model'}.{ending}\n"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(5, "broken", "elsewhere")])
def test_errors_pass_and_leave_nothing(error, tmp_path):
    path = tmp_path / "note.txt"

    def fail():
        with replacing(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert os.listdir(tmp_path) == []


def test_errors_name_the_file_that_was_meant(tmp_path):
    with pytest.raises(IsADirectoryError, match=f"{re.escape(str(tmp_path))}'$"), replacing(tmp_path) as part:
        part.write_text("x")
    assert list(tmp_path.parent.glob(".*part*")) == []
    with pytest.raises(FileNotFoundError, match="nowhere, which does not exist"), replacing(tmp_path / "nowhere" / "a"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
@pytest.mark.parametrize("name", ["pipe", "link"])
def test_what_is_no_file_is_not_displaced(name, tmp_path, model):
    """Whoever may do everything could replace a device by a file: saving to /dev/null would end it."""
    path, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(path)
    link.symlink_to(path)
    with pytest.raises(FileExistsError, match=f"not a device, pipe or socket: '{re.escape(str(path))}'"):
        model.save(tmp_path / name)
    assert path.is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_long_names_and_new_folders(tmp_path):
    name = "ä" * 120 + ".txt"  # 244 bytes of the 255 that a name may have
    path, link = tmp_path / "new" / "er" / name, tmp_path / "link"
    with replacing(path, make_folder=True, sync=True) as part:
        assert part.suffix == ".txt"
        part.write_text("one")
    link.symlink_to(path)
    with replacing(link) as part:
        part.write_text("two")
    assert link.is_symlink()
    assert path.read_text() == "two"
    assert os.listdir(path.parent) == [name]
