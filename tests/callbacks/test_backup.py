"""``BackupAndRestore``: a process that is killed and started again ends where an undisturbed one ends, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.callbacks import BackupAndRestore, EarlyStopping, History, LambdaCallback

X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.ones((20, 1))

PROGRAM = """
    import json, os, signal, sys
    import numpy as np
    import tinyconv as tc

    folder, save_freq, kill_epoch, kill_batch = sys.argv[1], json.loads(sys.argv[2]), *map(int, sys.argv[3:])
    L, C = tc.layers, tc.callbacks
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 6)), np.eye(3)[rng.integers(0, 3, 50)]
    tc.set_seed(5)
    model = tc.Sequential([
        L.Dense(16, activation="relu", input_shape=(6,)),
        L.BatchNormalization(),
        L.Dropout(0.3),
        L.Dropout(0.3, seed=4),
        L.Dense(3, activation="softmax"),
    ])
    model.compile(tc.optimizers.SGD(0.05, momentum=0.9, decay=0.01), "categorical_crossentropy", ["acc"])

    def kill(epoch, batch):
        if (epoch, batch) == (kill_epoch, kill_batch):
            os.kill(os.getpid(), signal.SIGKILL)

    class Killer(C.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch
        def on_train_batch_end(self, batch, logs=None):
            kill(self.epoch, batch)

    stop = C.EarlyStopping(patience=3, restore_best_weights=True)
    reduce = C.ReduceLROnPlateau(patience=1, factor=0.5, min_delta=0.05)
    table = C.CSVLogger(f"{folder}/log.csv")
    backup = C.BackupAndRestore(f"{folder}/backup", save_freq=save_freq)
    history = model.fit(
        x, y, batch_size=8, epochs=6, validation_split=0.2, verbose=0, callbacks=[backup, stop, reduce, table, Killer()]
    )
    np.savez(f"{folder}/weights.npz", *model.get_weights())
    json.dump({"history": history.history, "epoch": history.epoch, "best": stop.best_epoch}, open(f"{folder}/run.json", "w"))
"""  # noqa: E501


def run(folder, save_freq, *kill):
    """Exit status of a process that trains in ``folder`` and kills itself at ``(epoch, batch)``, if given."""
    folder.mkdir(exist_ok=True)
    arguments = [str(folder), json.dumps(save_freq), *map(str, kill or (-1, -1))]
    return subprocess.run([sys.executable, "-c", textwrap.dedent(PROGRAM), *arguments], check=False).returncode


def results(folder):
    with np.load(folder / "weights.npz") as file:
        weights = [file[name] for name in file.files]
    return weights, json.loads((folder / "run.json").read_text())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder, "epoch") == 0
    return folder


@pytest.mark.parametrize(
    ("save_freq", "kills"),
    [("epoch", [(2, 3)]), (2, [(1, 3), (3, 4)])],  # in the middle of epochs; one process is killed twice
)
def test_killed_and_started_again(undisturbed, tmp_path, save_freq, kills):
    for kill in kills:
        assert run(tmp_path, save_freq, *kill) == -signal.SIGKILL
        assert os.listdir(tmp_path / "backup") == ["backup.safetensors"]
    assert run(tmp_path, save_freq) == 0
    assert not (tmp_path / "backup").exists()
    expected_weights, expected = results(undisturbed)
    weights, found = results(tmp_path)
    for a, b in zip(weights, expected_weights, strict=True):
        assert a.tobytes() == b.tobytes()
    assert (found["epoch"], found["best"]) == (expected["epoch"], expected["best"])
    if save_freq == "epoch":
        assert found == expected
        assert (tmp_path / "log.csv").read_bytes() == (undisturbed / "log.csv").read_bytes()
    else:  # the training results of a resumed epoch cover its last batches
        assert found["history"]["val_loss"] == expected["history"]["val_loss"]
        assert found["history"]["learning_rate"] == expected["history"]["learning_rate"]


# --- within one process ----------------------------------------------------------------------------------------


class Power(Exception):
    """The power fails."""


def make_model(optimizer="adam"):
    model = tc.Sequential([tc.layers.Dense(4, activation="relu", input_shape=(3,)), tc.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


def fail_at(epoch):
    def fail(now, logs):
        if now == epoch:
            raise Power

    return LambdaCallback(on_epoch_begin=fail)


def interrupted(folder, epoch=2, **options):
    """A backup whose training was interrupted before ``epoch``; the backup and its model."""
    model, backup = make_model(), BackupAndRestore(folder, **options)
    with pytest.raises(Power):
        model.fit(X, Y, epochs=4, callbacks=[backup, fail_at(epoch)], verbose=0)
    return model, backup


def test_an_unregistered_model_goes_on_in_another_object(tmp_path):
    class Net(tc.Model):
        def __init__(self):
            super().__init__()
            self.dense = tc.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    def make():
        tc.set_seed(3)
        net = Net()
        net.compile(tc.optimizers.SGD(0.01, momentum=0.9), lambda y, p: tc.ops.mean(tc.ops.square(y - p), axis=-1))
        net(X[:1])
        return net

    whole = make()
    expected = whole.fit(X, Y, batch_size=6, epochs=4, verbose=0).history
    with pytest.raises(Power):
        make().fit(X, Y, 6, epochs=4, callbacks=[BackupAndRestore(tmp_path / "b"), fail_at(3)], verbose=0)
    second = make()
    assert second.fit(X, Y, 6, epochs=4, callbacks=[BackupAndRestore(tmp_path / "b")], verbose=0).history == expected
    np.testing.assert_array_equal(second.get_weights()[0], whole.get_weights()[0])


def test_training_that_had_decided_to_stop_does_not_go_on(tmp_path):
    worse = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_loss=float(epoch)))
    backup, model = BackupAndRestore(tmp_path / "b"), make_model()

    def fail(logs):
        raise Power

    callbacks = [worse, EarlyStopping(patience=1), backup, LambdaCallback(on_train_end=fail)]
    with pytest.raises(Power):
        model.fit(X, Y, epochs=9, verbose=0, callbacks=callbacks)
    stop = EarlyStopping(patience=1)
    history = make_model().fit(X, Y, epochs=9, verbose=0, callbacks=[worse, stop, backup])
    assert history.epoch == [0, 1]
    assert stop.stopped_epoch == 1


def test_the_best_weights_of_early_stopping_survive(tmp_path):
    values, kept = [1.0, 0.5, 2.0, 3.0, 4.0], []
    model, backup = make_model(), BackupAndRestore(tmp_path / "b")
    put = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_loss=values[epoch]))
    remember = LambdaCallback(on_epoch_end=lambda *_: kept.append(model.get_weights()))
    stop = EarlyStopping(patience=9, restore_best_weights=True)
    with pytest.raises(Power):
        model.fit(X, Y, epochs=5, callbacks=[put, remember, stop, backup, fail_at(3)], verbose=0)
    other, stop = make_model(), EarlyStopping(patience=9, restore_best_weights=True)
    other.fit(X, Y, epochs=5, callbacks=[put, stop, backup], verbose=0)
    assert stop.best_epoch == 1
    for found, best in zip(other.get_weights(), kept[1], strict=True):
        np.testing.assert_array_equal(found, best)


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_left_when_training_has_ended(tmp_path, keep):
    backup = BackupAndRestore(tmp_path / "b", delete_checkpoint=not keep)
    make_model().fit(X, Y, epochs=2, callbacks=[backup], verbose=0)
    assert (tmp_path / "b").exists() == keep
    if keep:  # more epochs later
        assert make_model().fit(X, Y, epochs=3, callbacks=[backup], verbose=0).epoch == [0, 1, 2]


def test_what_a_killed_process_was_writing_goes_too(tmp_path):
    folder = tmp_path / "backup"
    folder.mkdir()
    (folder / ".backup.0123abcd.part.safetensors").write_bytes(b"half")
    model = make_model()
    model.fit(X, Y, callbacks=[BackupAndRestore(folder)], verbose=0)
    assert not folder.exists()


def test_other_files_in_the_folder_stay(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    make_model().fit(X, Y, callbacks=[BackupAndRestore(tmp_path)], verbose=0)
    assert os.listdir(tmp_path) == ["note.txt"]


@pytest.mark.parametrize("damage", [b"", b"not a backup", None])
def test_a_damaged_backup_is_refused_and_the_one_before_is_used(tmp_path, damage):
    interrupted(tmp_path, double_checkpoint=True)
    assert sorted(os.listdir(tmp_path)) == ["backup.safetensors", "previous.safetensors"]
    path = tmp_path / "backup.safetensors"
    path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
    model = make_model()
    history = model.fit(X, Y, epochs=4, callbacks=[BackupAndRestore(tmp_path, delete_checkpoint=False)], verbose=0)
    assert history.epoch == [0, 1, 2, 3]
    assert model.optimizer.iterations == 4
    for name in os.listdir(tmp_path):
        (tmp_path / name).write_bytes(b"not a backup")
    with pytest.raises(ValueError, match="cannot go on from the backup .*; remove it to begin anew. Received: "):
        make_model().fit(X, Y, epochs=4, callbacks=[BackupAndRestore(tmp_path)], verbose=0)


def test_a_backup_of_another_model_is_refused(tmp_path):
    _, backup = interrupted(tmp_path)
    model = tc.Sequential([tc.layers.Dense(1, input_shape=(3,))])
    model.compile("adam", "mse")
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"cannot go on from the backup .*expected 2 weights"):
        model.fit(X, Y, callbacks=[backup], verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_a_write_that_fails_leaves_the_last_backup(tmp_path, monkeypatch):
    model, backup = interrupted(tmp_path)
    before = (tmp_path / "backup.safetensors").read_bytes()

    def full(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        model.fit(X, Y, epochs=4, callbacks=[backup], verbose=0)
    assert os.listdir(tmp_path) == ["backup.safetensors"]
    assert (tmp_path / "backup.safetensors").read_bytes() == before


def test_states_are_given_back_by_class_and_number(tmp_path):
    watches = [EarlyStopping("loss", patience=9), EarlyStopping("loss", patience=9, mode="max")]
    model, backup = make_model(), BackupAndRestore(tmp_path / "b")
    with pytest.raises(Power):
        model.fit(X, Y, epochs=4, callbacks=[*watches, backup, fail_at(3)], verbose=0)
    again = [EarlyStopping("loss", patience=9), EarlyStopping("loss", patience=9, mode="max"), EarlyStopping("loss")]
    seen = []
    look = LambdaCallback(on_epoch_begin=lambda *_: seen.append([callback.best for callback in again]))
    history = model.fit(X, Y, epochs=4, callbacks=[look, *again, backup], verbose=0)
    assert seen == [[min(history.history["loss"][:3]), max(history.history["loss"][:3]), np.inf]]
    assert isinstance(history, History)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "backup_dir must name a folder"),
        (("x", "batch"), "save_freq must be 'epoch' or a number of batches. Received: 'batch'"),
        (("x", 0), "save_freq must be an integer >= 1. Received: 0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        BackupAndRestore(*arguments)
