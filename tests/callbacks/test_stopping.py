"""``EarlyStopping``, ``ReduceLROnPlateau`` and ``TerminateOnNaN``."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv.callbacks import EarlyStopping, LambdaCallback, ReduceLROnPlateau, TerminateOnNaN

X, Y = np.random.default_rng(0).normal(size=(12, 3)), np.ones((12, 1))


def make_model(rate=0.1):
    model = tc.Sequential([tc.layers.Dense(1, input_shape=(3,))])
    model.compile(tc.optimizers.SGD(rate), "mse")
    return model


def feed(values, name="val_loss"):
    """A callback that puts given results into the logs."""
    return LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update({name: float(values[epoch])}))


def run(callback, values, name="val_loss", model=None):
    model = model or make_model()
    epochs = len(values)
    return model.fit(X, Y, 12, epochs=epochs, callbacks=[feed(values, name), callback], verbose=0)


# --- EarlyStopping ---------------------------------------------------------------------------------------------

# Errors of a training as an example prints them, epochs 1 to 8; 4 and 5 are not printed, and are interpolated.
VALIDATION = [5.6394, 5.2216, 4.8337, 4.4, 4.1, 3.8324, 3.7215, 3.8337]


def test_the_printed_example(capsys):
    stop = EarlyStopping(min_delta=0, patience=1, verbose=1)
    assert run(stop, [*VALIDATION, 3.0]).epoch == list(range(8))
    assert (stop.best, stop.best_epoch, stop.stopped_epoch) == (3.7215, 6, 7)
    assert capsys.readouterr().out == "Epoch 8: early stopping\n"
    assert len(run(EarlyStopping(patience=2), [*VALIDATION, 3.0]).epoch) == 9


def last_epoch(values, patience, min_delta):
    """Where training ends, by the definition: the records are found first, then the first gap that is too long."""
    records = [0]
    for epoch, value in enumerate(values):
        if value < values[records[-1]] - min_delta:
            records.append(epoch)
    for record, following in zip(records, [*records[1:], len(values)], strict=True):
        if following - record > max(patience, 1):
            return record + max(patience, 1)
    return len(values) - 1


class Model:
    stop_training = False


@given(st.lists(st.integers(0, 8), min_size=1, max_size=15), st.integers(0, 4), st.sampled_from([0, 1.5]))
def test_where_training_ends(values, patience, min_delta):
    stop, model, epoch = EarlyStopping(min_delta=min_delta, patience=patience), Model(), -1
    stop.set_model(model)
    stop.on_train_begin()
    for epoch, value in enumerate(values):
        stop.on_epoch_end(epoch, {"val_loss": value})
        if model.stop_training:
            break
    assert epoch == last_epoch(values, patience, min_delta)


def test_larger_is_better_for_accuracy():
    assert len(run(EarlyStopping("val_acc", patience=1), [0.1, 0.2, 0.3, 0.25, 0.5], "val_acc").epoch) == 4
    assert len(run(EarlyStopping("val_acc", patience=1, mode="min"), [0.3, 0.4, 0.1], "val_acc").epoch) == 2


def test_baseline():
    values = [5.0, 4.0, 3.0, 2.0, 1.0]
    assert len(run(EarlyStopping(patience=2, baseline=0.5), values).epoch) == 5  # improvements never stop it
    assert len(run(EarlyStopping(patience=2, baseline=0.5), [5.0, 4.0, 4.5, 4.6, 1.0]).epoch) == 3
    assert len(run(EarlyStopping(patience=2, baseline=4.5), [5.0, 4.0, 4.5, 4.6, 1.0]).epoch) == 4


def test_warm_up_epochs_do_not_count():
    stop = EarlyStopping(patience=1, start_from_epoch=3)
    assert len(run(stop, [0.1, 0.2, 0.3, 5.0, 4.0, 4.5, 1.0]).epoch) == 6
    assert (stop.best, stop.best_epoch) == (4.0, 4)


@pytest.mark.parametrize("stops", [True, False])
def test_restores_the_best_weights(stops, capsys):
    values = [3.0, 1.0, 2.0, 2.5, 2.6]
    model, kept = make_model(), []
    stop = EarlyStopping(patience=2 if stops else 9, restore_best_weights=True, verbose=1)
    remember = LambdaCallback(on_epoch_end=lambda *_: kept.append(model.get_weights()))
    history = model.fit(X, Y, epochs=5, callbacks=[remember, feed(values), stop], verbose=0)
    assert len(history.epoch) == (4 if stops else 5)
    for found, best, last in zip(model.get_weights(), kept[1], kept[-1], strict=True):
        np.testing.assert_array_equal(found, best)
        assert (found != last).any()
    assert "Restoring model weights from the end of the best epoch: 2." in capsys.readouterr().out


def test_weights_stay_without_restoring():
    model, kept = make_model(), []
    remember = LambdaCallback(on_epoch_end=lambda *_: kept.append(model.get_weights()))
    model.fit(X, Y, epochs=3, callbacks=[remember, feed([1.0, 2.0, 3.0]), EarlyStopping(patience=5)], verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], kept[-1][0])


def test_each_training_starts_anew():
    stop, model = EarlyStopping(patience=1), make_model()
    assert len(run(stop, [1.0, 2.0, 0.5], model=model).epoch) == 2
    assert len(run(stop, [9.0, 8.0, 8.5, 1.0], model=model).epoch) == 3


def test_nan_is_no_improvement():
    assert len(run(EarlyStopping(patience=2), [1.0, math.nan, math.nan, 0.1]).epoch) == 3


def test_the_first_epoch_never_stops_training():
    assert len(run(EarlyStopping(patience=0), [math.nan, math.nan, 1.0]).epoch) == 2


def test_a_result_that_is_missing_now_and_then_is_no_reason_to_complain(recwarn):
    stop = EarlyStopping(patience=9)
    due = LambdaCallback(on_epoch_end=lambda epoch, logs: epoch % 2 or logs.update(val_loss=9.0 - epoch))
    make_model().fit(X, Y, epochs=5, callbacks=[due, stop], verbose=0)
    assert stop.best == 5.0
    assert not [w for w in recwarn if "conditioned" in str(w.message)]


def test_an_unknown_result_is_told_once():
    with pytest.warns(UserWarning, match="EarlyStopping is conditioned on metric `val_loss`.*metrics are: loss") as c:
        history = make_model().fit(X, Y, epochs=4, callbacks=[EarlyStopping()], verbose=0)
    assert len(c) == 1
    assert len(history.epoch) == 4


ALWAYS_NEEDED = {
    "mean_iou": {"num_classes": 3}, "precision_at_recall": {"recall": 0.5}, "recall_at_precision": {"precision": 0.5},
    "sensitivity_at_specificity": {"specificity": 0.5}, "specificity_at_sensitivity": {"sensitivity": 0.5},
    "f1score": {"average": "macro"}, "fbetascore": {"average": "macro"}, "f1": {"average": "macro"},
}  # fmt: skip
OF_ONE_VALUE = ("Mean", "Sum", "MeanMetricWrapper", "ConfusionMatrix")


@pytest.mark.parametrize("known", [name for name in tc.metrics.registry.names() if name not in OF_ONE_VALUE])
def test_auto_knows_which_way_every_metric_is_better(known):
    """The oracle: right predictions against wrong ones."""
    kind = tc.metrics.registry.find(known)
    options = next((o for name, o in ALWAYS_NEEDED.items() if name.replace("_", "") == kind.__name__.lower()), {})
    names = {kind(**options).name, known if known.islower() else kind(**options).name}
    classes = np.arange(12) % 3
    right = np.eye(3)[classes] * 0.98 + 0.01
    wrong = np.roll(right, 1, axis=1)
    sparse = kind.__name__.startswith("Sparse") or kind is tc.metrics.MeanIoU
    y = classes if sparse else np.eye(3)[classes]
    if kind is tc.metrics.MeanIoU:
        right, wrong = right.argmax(1), wrong.argmax(1)
    if kind is tc.metrics.Accuracy:
        right, wrong = y, np.roll(y, 1, axis=1)
    if "TopK" in kind.__name__:
        options = {"k": 1}
    good, bad = kind(**options)(y, right), kind(**options)(y, wrong)
    assert good != bad
    for name in names:
        assert (tc.callbacks.MonitorCallback(f"val_{name}").best == -math.inf) == (good > bad), name


@pytest.mark.parametrize("make", [EarlyStopping, ReduceLROnPlateau, partial(tc.callbacks.ModelCheckpoint, "unused")])
def test_a_result_of_several_numbers_cannot_be_watched(make):
    options = {"save_best_only": True} if isinstance(make, partial) else {}
    several = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(f1=np.array([0.5, 0.2])))
    with pytest.raises(ValueError, match=r"a result that is a single number. Received: monitor 'f1' of shape \(2,\)"):
        make_model().fit(X, Y, epochs=2, callbacks=[several, make(monitor="f1", **options)], verbose=0)


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau])
def test_wrong_mode(kind):
    with pytest.raises(ValueError, match="mode must be one of 'auto', 'min', 'max'. Received: 'down'"):
        kind(mode="down")


# --- ReduceLROnPlateau -----------------------------------------------------------------------------------------


def test_patience_and_cooldown(capsys):
    """By hand: a plateau from epoch 0; after each reduction two epochs do not count, but the second ends the pause."""
    model = make_model(1e-3)
    reduce = ReduceLROnPlateau(factor=0.5, patience=2, cooldown=2, verbose=1)
    history = run(reduce, [1.0] * 9, model=model)
    expected = 1e-3 * np.array([1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25])
    np.testing.assert_allclose(history.history["learning_rate"], expected, rtol=1e-15)
    assert model.optimizer.learning_rate == pytest.approx(0.125e-3, rel=1e-15)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Epoch 3: ReduceLROnPlateau reducing learning rate to 0.0005."
    assert len(lines) == 3


def test_nothing_is_reduced_in_a_pause():
    model = make_model(1.0 / 2**6)
    history = run(ReduceLROnPlateau(factor=0.5, patience=1, cooldown=3), [1.0] * 8, model=model)
    exponents = -np.log2(history.history["learning_rate"])  # reduced after epochs 1, 4 and 7
    np.testing.assert_array_equal(exponents, [6, 6, 7, 7, 7, 8, 8, 8])
    assert model.optimizer.learning_rate == 1.0 / 2**9


def test_min_delta_and_its_older_name():
    values = [1.0, 0.95, 0.9, 0.85]  # each better by 0.05; better than the best by 0.1 only after three epochs
    for options in ({"min_delta": 0.12}, {"epsilon": 0.12}):
        model = make_model(0.01)
        run(ReduceLROnPlateau(factor=0.1, patience=2, **options), values, model=model)
        assert model.optimizer.learning_rate == pytest.approx(0.001)
    model = make_model(0.01)
    run(ReduceLROnPlateau(factor=0.1, patience=2), values, model=model)
    assert model.optimizer.learning_rate == 0.01


def test_min_lr_and_factor():
    model = make_model(0.01)
    run(ReduceLROnPlateau(factor=0.1, patience=1, min_lr=0.004), [1.0] * 6, model=model)
    assert model.optimizer.learning_rate == 0.004
    for factor in (1.0, 1.5, 0.0):
        with pytest.raises(ValueError, match=f"factor must lie between 0 and 1. Received: {factor}"):
            ReduceLROnPlateau(factor=factor)


def test_a_rate_given_by_a_schedule_is_refused_at_once():
    model = make_model(tc.schedules.ExponentialDecay(0.1, 10, 0.5))
    with pytest.raises(TypeError, match="given by a schedule"):
        run(ReduceLROnPlateau(), [1.0] * 3, model=model)
    assert model.optimizer.iterations == 0


# --- TerminateOnNaN --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_stops_in_the_middle_of_the_epoch(bad, capsys):
    x = X.copy()
    x[5] = bad  # in the third of six batches
    model = make_model()
    history = model.fit(x, Y, 2, epochs=3, shuffle=False, callbacks=[TerminateOnNaN()], verbose=0)
    assert history.epoch == [0]
    assert model.optimizer.iterations == 3
    assert capsys.readouterr().out == "Batch 2: Invalid loss, terminating training\n"


def test_raises_if_asked_to_and_ends_no_other_callback():
    """Message and behaviour of Keras 3.15, which leaves backups in place so."""
    ended = []
    other = LambdaCallback(on_train_end=ended.append)
    with pytest.raises(RuntimeError, match="NaN or Inf loss encountered at batch 0. Loss value: nan. Terminating"):
        make_model().fit(X * np.nan, Y, 4, callbacks=[TerminateOnNaN(raise_error=True), other], verbose=0)
    assert ended == []


def test_numbers_go_on():
    assert make_model().fit(X, Y, epochs=3, callbacks=[TerminateOnNaN()], verbose=0).epoch == [0, 1, 2]
