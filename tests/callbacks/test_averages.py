"""``SwapEMAWeights``: the results of averaged weights, against averages computed by hand."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.callbacks import BackupAndRestore, EarlyStopping, LambdaCallback, ModelCheckpoint, SwapEMAWeights

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3))
Y = X @ [[1.0], [-2.0], [0.5]]
KEPT = 0.8


def make_model(**settings):
    model = tc.Sequential([tc.layers.Dense(1, use_bias=False, dtype="float64", input_shape=(3,))])
    model.set_weights([np.array([[0.3], [0.1], [-0.2]])])
    model.compile(tc.optimizers.SGD(0.1, use_ema=True, ema_momentum=KEPT, **settings), "mse")
    return model


def by_hand(epochs):
    """Weights and averages after each epoch of one step."""
    w, average, found = np.array([[0.3], [0.1], [-0.2]]), None, []
    for _ in range(epochs):
        w = w - 0.1 * 2 / len(X) * X.T @ (X @ w - Y)
        average = w if average is None else KEPT * average + (1 - KEPT) * w
        found.append((w, average))
    return found


def loss(w):
    return ((X @ w - Y) ** 2).mean()


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_validation_with_averages_and_training_without(swap_on_epoch):
    model = make_model()
    history = model.fit(
        X, Y, epochs=4, validation_data=(X, Y), callbacks=[SwapEMAWeights(swap_on_epoch)], verbose=0
    ).history
    expected = by_hand(4)
    np.testing.assert_allclose(history["val_loss"], [loss(average) for _, average in expected], rtol=1e-12)
    np.testing.assert_allclose(history["loss"][1:], [loss(w) for w, _ in expected[:-1]], rtol=1e-12)
    np.testing.assert_allclose(model.get_weights()[0], expected[-1][1], rtol=1e-12)  # as fit ends without it too


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_what_the_callbacks_behind_it_save(swap_on_epoch, tmp_path):
    model, save = make_model(), ModelCheckpoint(tmp_path / "{epoch}.tc", save_weights_only=True)
    model.fit(X, Y, epochs=3, callbacks=[SwapEMAWeights(swap_on_epoch), save], verbose=0)
    for epoch, (w, average) in enumerate(by_hand(3)):
        model.load_weights(tmp_path / f"{epoch}.tc")
        np.testing.assert_allclose(model.get_weights()[0], average if swap_on_epoch else w, rtol=1e-12)


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_training_that_stops_early_ends_with_the_averages(swap_on_epoch):
    model = make_model()
    stop = EarlyStopping("loss", patience=1, mode="max")  # a falling loss is no improvement
    history = model.fit(X, Y, epochs=9, callbacks=[SwapEMAWeights(swap_on_epoch), stop], verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], by_hand(len(history.epoch))[-1][1], rtol=1e-12)
    assert len(history.epoch) == 2


def test_evaluation_and_prediction_leave_the_weights_alone():
    model = make_model()
    for _ in range(3):
        model.train_on_batch(X, Y)
    w, average = by_hand(3)[-1]
    assert model.evaluate(X, Y, callbacks=[SwapEMAWeights()]) == pytest.approx(loss(average), rel=1e-12)
    np.testing.assert_allclose(model.predict(X, callbacks=[SwapEMAWeights()]), X @ average, rtol=1e-12)
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-12)


def test_before_the_first_step_there_are_no_averages():
    model = make_model()
    np.testing.assert_allclose(model.predict(X, callbacks=[SwapEMAWeights()]), model.predict(X))


def fail(*_):
    raise RuntimeError("no power")


@pytest.mark.parametrize("hook", ["on_test_batch_end", "on_epoch_end"])
def test_interrupted_it_gives_the_weights_back(hook):
    model, callbacks = make_model(), [SwapEMAWeights(True), LambdaCallback(**{hook: fail})]
    with pytest.raises(RuntimeError, match="no power"):
        model.fit(X, Y, validation_data=(X, Y), callbacks=callbacks, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], by_hand(1)[0][0], rtol=1e-12)


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_a_backup_knows_the_weights(swap_on_epoch, tmp_path):
    def train(*more):
        model = make_model()
        callbacks = [SwapEMAWeights(swap_on_epoch), BackupAndRestore(tmp_path / "b"), *more]
        model.fit(X, Y, epochs=4, callbacks=callbacks, verbose=0)
        return model

    with pytest.raises(RuntimeError, match="no power"):
        train(LambdaCallback(on_epoch_begin=lambda epoch, logs: fail() if epoch == 2 else None))
    model = train()
    np.testing.assert_allclose(model.get_weights()[0], by_hand(4)[-1][1], rtol=1e-12)
    assert model.optimizer.iterations == 4


def test_other_optimizers_are_refused():
    model = make_model()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"needs an optimizer with use_ema=True. Received: SGD\(\)"):
        model.fit(X, Y, callbacks=[SwapEMAWeights()], verbose=0)
