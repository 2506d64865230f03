"""``CSVLogger`` and ``TrainingMonitor``: what is in their files, also after a restart."""

import csv
import json
import os

import matplotlib.image
import numpy as np
import pytest

import tinyconv as tc
from tinyconv.callbacks import CSVLogger, LambdaCallback, LearningRateScheduler, TrainingMonitor

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), np.eye(2)[RNG.integers(0, 2, 12)]


@pytest.fixture
def model():
    made = tc.Sequential([tc.layers.Dense(2, activation="softmax", input_shape=(3,))])
    made.compile(tc.optimizers.SGD(0.05), "categorical_crossentropy", ["acc"])
    return made


def table(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


# --- CSVLogger -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_line_per_epoch(model, tmp_path, separator):
    path = tmp_path / "folder" / "log.csv"
    logger = CSVLogger(path, separator=separator)
    history = model.fit(X, Y, epochs=3, validation_split=0.25, callbacks=[logger], verbose=0).history
    assert path.read_text().splitlines()[0].split(separator) == ["epoch", "acc", "loss", "val_acc", "val_loss"]
    rows = table(path, separator)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    for name, values in history.items():
        assert [float(row[name]) for row in rows] == values  # repr of a float comes back exactly


def test_each_line_is_there_when_its_epoch_has_ended(model, tmp_path):
    path, seen = tmp_path / "log.csv", []
    look = LambdaCallback(on_epoch_end=lambda *_: seen.append(len(table(path))))
    model.fit(X, Y, epochs=3, callbacks=[CSVLogger(path), look], verbose=0)
    assert seen == [1, 2, 3]


def test_replace_or_append(model, tmp_path):
    path = tmp_path / "log.csv"
    for append, lines in ((True, 2), (True, 4), (False, 2)):
        model.fit(X, Y, epochs=2, callbacks=[CSVLogger(path, append=append)], verbose=0)
        assert len(table(path)) == lines
        assert path.read_text().count("epoch") == 1


@pytest.mark.parametrize("end", ["1,0.5", "1,", "1,0.5,0.1\n", ""])
def test_append_to_a_table_whose_last_line_was_cut_off(model, tmp_path, end):
    """As a killed process leaves it, or an editor."""
    path = tmp_path / "log.csv"
    path.write_text(f"epoch,acc,loss\n0,0.5,0.25\n{end}")
    model.fit(X, Y, epochs=2, callbacks=[CSVLogger(path, append=True)], verbose=0)
    rows = table(path)
    assert [row["epoch"] for row in rows] == ["0", *(["1"] if end else []), "0", "1"]
    assert all(set(row) == {"epoch", "loss", "acc"} and None not in row.values() for row in rows)


def test_append_to_what_a_spreadsheet_program_saved(model, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("\ufeffepoch,loss\n0,0.25\n", encoding="utf-8")
    model.fit(X, Y, callbacks=[CSVLogger(path, append=True)], verbose=0)
    assert [(row["epoch"], "loss" in row) for row in table(path)] == [("0", True), ("0", True)]


def test_append_to_what_is_no_table(model, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"epoch,l\xf6ss\n0,1\n")
    with pytest.raises(ValueError, match=f"{path} must be a table in UTF-8, to be continued. Received: 'utf-8'"):
        model.fit(X, Y, callbacks=[CSVLogger(path, append=True)], verbose=0)
    assert path.read_bytes() == b"epoch,l\xf6ss\n0,1\n"


def test_results_that_come_up_later(model, tmp_path):
    path = tmp_path / "log.csv"
    logger = CSVLogger(path)
    history = model.fit(X, Y, epochs=3, validation_data=(X, Y), validation_freq=2, callbacks=[logger], verbose=0)
    rows = table(path)
    assert [row["val_loss"] for row in rows] == ["NA", str(history.history["val_loss"][0]), "NA"]
    model.fit(X, Y, callbacks=[LearningRateScheduler(lambda e: 0.5), CSVLogger(path, append=True)], verbose=0)
    assert [row["learning_rate"] for row in table(path)] == ["NA"] * 3 + ["0.5"]
    assert table(path)[3]["val_loss"] == "NA"


def test_values_that_are_no_single_numbers(model, tmp_path):
    path = tmp_path / "log.csv"
    put = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(counts=np.array([1, 2]), note='a,"b"'))
    model.fit(X, Y, callbacks=[put, CSVLogger(path)], verbose=0)
    assert table(path)[0]["counts"] == "[1, 2]"
    assert table(path)[0]["note"] == 'a,"b"'


# --- TrainingMonitor -------------------------------------------------------------------------------------------


def run(monitor, model, epochs, **options):
    return model.fit(X, Y, epochs=epochs, callbacks=[monitor], verbose=0, **options).history


def test_curves_and_numbers(model, tmp_path):
    monitor = TrainingMonitor(tmp_path / "out" / "run.png", jsonPath=tmp_path / "out" / "run.json")
    history = run(monitor, model, 3, validation_split=0.25)
    found = json.loads((tmp_path / "out" / "run.json").read_text())
    assert found == history == monitor.H
    assert list(found) == ["loss", "acc", "val_loss", "val_acc"]
    picture = matplotlib.image.imread(tmp_path / "out" / "run.png")
    assert picture.shape[2] == 4
    assert np.ptp(picture[..., :3]) > 0.5
    assert sorted(os.listdir(tmp_path / "out")) == ["run.json", "run.png"]  # no temporary file is left


def test_what_is_drawn(model, tmp_path, monkeypatch):
    from tinyconv import viz

    figures, draw = [], viz.plot_history

    def spy(*arguments, **options):
        figures.append(draw(*arguments, **options))
        return figures[-1]

    monkeypatch.setattr(viz, "plot_history", spy)
    history = run(TrainingMonitor(tmp_path / "a.png"), model, 3, validation_split=0.25)
    assert [figure.axes[0].get_title() for figure in figures] == [
        "Training Loss and Accuracy [Epoch 2]",  # nothing is drawn before
        "Training Loss and Accuracy [Epoch 3]",
    ]
    axes = figures[-1].axes[0]
    assert [line.get_label() for line in axes.lines] == ["train_loss", "val_loss", "train_acc", "val_acc"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Epoch #", "Loss/Accuracy")
    assert axes.get_facecolor()[:3] == pytest.approx((0.898, 0.898, 0.898), abs=1e-3)  # ggplot's gray
    for line, name in zip(axes.lines, ["loss", "val_loss", "acc", "val_acc"], strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2])
        np.testing.assert_array_equal(line.get_ydata(), history[name])


def test_without_validation_and_with_one_epoch(model, tmp_path):
    run(TrainingMonitor(tmp_path / "a.png"), model, 1)
    assert os.listdir(tmp_path) == []
    run(TrainingMonitor(tmp_path / "a.png"), model, 2)
    assert os.listdir(tmp_path) == ["a.png"]


def test_resumes_at_an_epoch(model, tmp_path):
    path = tmp_path / "run.json"
    old = {name: [float(i) for i in range(10)] for name in ("loss", "acc")}
    path.write_text(json.dumps(old))
    monitor = TrainingMonitor(tmp_path / "a.png", path, startAt=4)
    history = run(monitor, model, 5, initial_epoch=4)
    found = json.loads(path.read_text())
    assert found == {name: [0.0, 1.0, 2.0, 3.0, *history[name]] for name in ("loss", "acc")}
    assert len(found["loss"]) == 5


def test_resumes_after_all_of_it_and_in_either_spelling(model, tmp_path):
    path = tmp_path / "run.json"
    path.write_text('{"loss": [3, 2], "accuracy": [0.1, 0.2]}')
    history = run(TrainingMonitor(tmp_path / "a.png", path), model, 1)
    found = json.loads(path.read_text())
    assert found == {"loss": [3, 2, *history["loss"]], "accuracy": [0.1, 0.2, *history["acc"]]}


def test_no_file_yet(model, tmp_path):
    history = run(TrainingMonitor(tmp_path / "a.png", tmp_path / "run.json", startAt=4), model, 1)
    assert json.loads((tmp_path / "run.json").read_text()) == history


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"loss": 3}', '{"loss": [1', '{"loss": ["a"]}', '{"loss": [[1]]}'])
def test_a_file_that_is_something_else(model, tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"run.json must hold a JSON object of lists of numbers.*Received"):
        run(TrainingMonitor(tmp_path / "a.png", path), model, 1)
    assert path.read_text() == text


def test_a_drawing_that_fails_leaves_the_old_picture(model, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "a.png"
    run(TrainingMonitor(path), model, 2)
    before = path.read_bytes()

    def fail(self, file, **options):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(KeyboardInterrupt):
        run(TrainingMonitor(path), model, 2)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]
