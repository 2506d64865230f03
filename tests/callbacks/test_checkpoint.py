"""``ModelCheckpoint``: names, messages and the sequence of a documented training, and what is in the files."""

import math
import os
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv.callbacks import ModelCheckpoint

X, Y = np.random.default_rng(0).normal(size=(12, 3)), np.ones((12, 1))

# Improvements of val_loss in a training of 40 epochs, by index of the epoch; elsewhere it was worse than the best.
IMPROVEMENTS = {
    0: 1.26973, 1: 0.98481, 3: 0.8176, 4: 0.7987, 5: 0.7722, 6: 0.6925, 7: 0.6846, 8: 0.6771, 9: 0.6212, 12: 0.6121,
    13: 0.6101, 14: 0.5899, 15: 0.5811, 17: 0.5774, 19: 0.5740, 22: 0.5724, 24: 0.56279, 33: 0.55456,
}  # fmt: skip
VAL_LOSS = [IMPROVEMENTS.get(epoch, 1.3) for epoch in range(40)]
NAME = "weights-{epoch:03d}-{val_loss:.4f}.tc"


class Saver:
    """Stands in for a model: it remembers what it was asked to save."""

    def __init__(self):
        self.saved, self.weights_saved = [], []

    def save(self, path):
        self.saved.append(path)

    def save_weights(self, path):
        self.weights_saved.append(path)


@pytest.fixture
def model():
    made = tc.Sequential([tc.layers.Dense(1, input_shape=(3,))])
    made.compile(tc.optimizers.SGD(0.05, momentum=0.9), "mse", ["mae"])
    return made


def watch(checkpoint, values, name="val_loss"):
    """Let a checkpoint see one value per epoch."""
    saver = Saver()
    checkpoint.set_model(saver)
    for epoch, value in enumerate(values):
        checkpoint.on_epoch_begin(epoch)
        checkpoint.on_epoch_end(epoch, {name: value})
    return saver


def test_a_file_per_improvement(tmp_path, capsys):
    checkpoint = ModelCheckpoint(
        tmp_path / NAME, monitor="val_loss", mode="min", save_best_only=True, verbose=1
    )
    saver = watch(checkpoint, VAL_LOSS)
    expected = [str(tmp_path / f"weights-{epoch:03d}-{value:.4f}.tc") for epoch, value in IMPROVEMENTS.items()]
    assert saver.saved == expected
    assert len(expected) == 18
    assert "weights-001-0.9848.tc" in expected[1]
    assert "weights-033-0.5546.tc" in expected[-1]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Epoch 00000: val_loss improved from inf to 1.26973, saving model to {expected[0]}"
    assert lines[1] == f"Epoch 00001: val_loss improved from 1.26973 to 0.98481, saving model to {expected[1]}"
    assert lines[33] == f"Epoch 00033: val_loss improved from 0.56279 to 0.55456, saving model to {expected[-1]}"
    assert lines[39] == "Epoch 00039: val_loss did not improve"
    assert len(lines) == 40


def test_one_file_for_the_best(capsys):
    saver = watch(ModelCheckpoint("best.tc", monitor="val_loss", save_best_only=True, verbose=1), VAL_LOSS)
    assert saver.saved == ["best.tc"] * 18
    assert capsys.readouterr().out.startswith("Epoch 00000: val_loss improved from inf to 1.26973, saving model to be")


@pytest.mark.parametrize(("options", "first"), [({}, 0), ({"first_epoch": 1}, 1)])
def test_the_number_of_the_first_epoch(options, first):
    saver = watch(ModelCheckpoint("{epoch}-{val_loss:.2f}.tc", **options), [0.5, 0.25])
    assert saver.saved == [f"{first}-0.50.tc", f"{first + 1}-0.25.tc"]


def test_watching_accuracy():
    values = {29: 0.8175, 33: 0.8218, 37: 0.8219, 38: 0.8096}
    saver = watch(ModelCheckpoint("{epoch}", monitor="val_acc", save_best_only=True), values.values(), "val_acc")
    assert saver.saved == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("monitor", "grows"),
    [
        ("val_loss", False), ("loss", False), ("mae", False), ("val_acc", True), ("val_accuracy", True), ("acc", True),
        ("fmeasure_of_mine", True), ("top_k_categorical_accuracy", True), ("val_auc", True), ("val_precision_2", True),
        ("launch_time", False), ("val_kl_divergence", False),
    ],
)  # fmt: skip
def test_the_mode_follows_from_the_name(monitor, grows):
    checkpoint = ModelCheckpoint("x", monitor=monitor)
    assert checkpoint.best == (-math.inf if grows else math.inf)
    assert checkpoint.is_improvement(2.0, 1.0) is grows
    assert checkpoint.is_improvement(1.0, 2.0) is not grows
    assert not checkpoint.is_improvement(1.0, 1.0)
    assert not checkpoint.is_improvement(math.nan, checkpoint.best)


@given(st.lists(st.floats(0, 9), min_size=1, max_size=20), st.sampled_from(["min", "max"]))
def test_what_is_saved_last_is_the_first_of_the_best(values, mode):
    saver = watch(ModelCheckpoint("{epoch}", mode=mode, save_best_only=True), values)
    assert saver.saved[-1] == str(np.argmin(values) if mode == "min" else np.argmax(values))
    running = (np.minimum if mode == "min" else np.maximum).accumulate(values)
    assert len(saver.saved) == len(np.unique(running))


@pytest.mark.parametrize("period", [1, 2, 3])
def test_period(period):
    saver = watch(ModelCheckpoint("{epoch}", period=period), [1.0] * 7)
    assert saver.saved == [str(epoch) for epoch in range(7) if (epoch + 1) % period == 0]


def test_a_value_to_beat():
    checkpoint = ModelCheckpoint("{epoch}", save_best_only=True, initial_value_threshold=0.6)
    assert watch(checkpoint, [0.9, 0.6, 0.5, 0.55, 0.4]).saved == ["2", "4"]


def test_the_best_is_known_in_the_next_training(model, tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "{epoch}", monitor="loss", save_best_only=True)
    model.fit(X, Y, epochs=3, callbacks=[checkpoint], verbose=0)
    best = checkpoint.best
    model.optimizer.learning_rate = 0.0
    before = os.listdir(tmp_path)
    model.set_weights([w + 5 for w in model.get_weights()])
    model.fit(X, Y, epochs=9, callbacks=[checkpoint], verbose=0)
    assert os.listdir(tmp_path) == before
    assert checkpoint.best == best


def test_a_missing_result_is_told_once_and_nothing_is_saved(model, tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True)
    with pytest.warns(UserWarning, match="metric `val_loss` which is not available.*: loss, mae") as caught:
        model.fit(X, Y, epochs=3, callbacks=[checkpoint], verbose=0)
    assert len(caught) == 1
    assert os.listdir(tmp_path) == []


def test_both_spellings_of_accuracy_in_templates_and_as_monitor():
    checkpoint = ModelCheckpoint("{val_acc:.2f}-{val_accuracy:.2f}", monitor="val_acc", save_best_only=True)
    assert watch(checkpoint, [0.5], "val_accuracy").saved == ["0.50-0.50"]


def test_every_so_many_batches(model, tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "{epoch:02d}-{batch:02d}-{mae:.1e}", save_freq=4)
    model.fit(X, Y, batch_size=4, epochs=3, callbacks=[checkpoint], verbose=0)  # 3 batches per epoch
    assert [name[:5] for name in sorted(os.listdir(tmp_path))] == ["01-01", "02-02"]


def test_the_file_is_the_model_of_that_moment(model, tmp_path):
    kept = []
    remember = tc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(model.get_weights()))
    whole = ModelCheckpoint(tmp_path / "new" / "folder" / "model-{epoch}.tc")
    weights = ModelCheckpoint(tmp_path / "weights-{epoch}.tc", save_weights_only=True)
    model.fit(X, Y, epochs=2, callbacks=[whole, weights, remember], verbose=0)
    for epoch in (0, 1):
        loaded = tc.load_model(tmp_path / "new" / "folder" / f"model-{epoch}.tc")
        assert loaded.optimizer.iterations == epoch + 1
        model.load_weights(tmp_path / f"weights-{epoch}.tc")
        for found in (loaded, model):
            for a, b in zip(found.get_weights(), kept[epoch], strict=True):
                np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="weights only"):
        tc.load_model(tmp_path / "weights-1.tc")


def test_a_failing_write_leaves_the_old_file(model, tmp_path, monkeypatch):
    path = tmp_path / "best.tc"
    model.fit(X, Y, callbacks=[ModelCheckpoint(path)], verbose=0)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        model.fit(X, Y, callbacks=[ModelCheckpoint(path)], verbose=0)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["best.tc"]


def test_a_folder_in_the_place_of_the_file(model, tmp_path):
    (tmp_path / "best.tc").mkdir()
    with pytest.raises(OSError, match=r"best\.tc"):
        model.fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "best.tc")], verbose=0)
    assert os.listdir(tmp_path) == ["best.tc"]
    assert os.listdir(tmp_path / "best.tc") == []


def test_messages_come_before_the_results_of_the_epoch(model, capsys, tmp_path):
    best = ModelCheckpoint(tmp_path / "m.tc", save_best_only=True, verbose=1)
    model.fit(X, Y, validation_data=(X, Y), epochs=1, callbacks=[best], verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Epoch 1/1"
    assert re.fullmatch(r"Epoch 00000: val_loss improved from inf to \d+\.\d{5}, saving model to .*m\.tc", lines[2])
    assert " - val_loss: " in lines[3]


def test_every_epoch_is_announced(capsys):
    watch(ModelCheckpoint("a.tc", verbose=1), [1.0])
    assert capsys.readouterr().out == "Epoch 00000: saving model to a.tc\n"


@pytest.mark.parametrize("template", ["{val_loss}.tc", "{epoch:03d}-{batch}.tc", "{loss:d}.tc", "{}.tc", "{loss.tc"])
def test_a_template_that_cannot_be_filled_in(model, template, tmp_path):
    with pytest.raises(ValueError, match=r"filepath may name loss, mae, epoch, each with.*Received: '.*tc'"):
        model.fit(X, Y, callbacks=[ModelCheckpoint(str(tmp_path / template))], verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "best"}, "mode must be one of 'auto', 'min', 'max'. Received: 'best'"),
        ({"save_freq": "batch"}, "save_freq must be 'epoch' or a number of batches. Received: 'batch'"),
        ({"save_freq": 0}, "save_freq must be an integer >= 1. Received: 0"),
        ({"save_freq": 2.5}, "save_freq must be an integer >= 1. Received: 2.5"),
        ({"period": 0}, "period must be an integer >= 1. Received: 0"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ModelCheckpoint("x", **options)
