"""Ctrl-C leaves a usable model."""

import os
import signal
import threading

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.models.interrupt import postponed_interrupt

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


class Pressing(tc.optimizers.SGD):
    """The user presses Ctrl-C while the first of 6 variables is updated, in the third step."""

    def update(self, w, g, slots, scalars):
        new = super().update(w, g, slots, scalars)
        if self.iterations == 2 and w.shape == (3, 5):
            press_ctrl_c()
        return new


def make_model(optimizer):
    tc.set_seed(1)
    layers = [tc.layers.Dense(5, input_shape=(3,)), tc.layers.BatchNormalization(), tc.layers.Dense(1)]
    model = tc.Sequential(layers)
    model.compile(optimizer, "mse")
    return model


@pytest.fixture(autouse=True)
def _same_handler_afterwards():
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def test_the_weights_are_those_of_the_last_whole_step():
    expected = make_model(tc.optimizers.SGD(0.1, momentum=0.9))
    expected.fit(X, Y, batch_size=4, steps_per_epoch=3, verbose=0)
    model = make_model(Pressing(0.1, momentum=0.9))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=4, epochs=5, verbose=0)
    assert model.optimizer.iterations == 3
    for a, b in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_end", "on_test_batch_begin", "on_epoch_end"])
def test_interrupted_anywhere_the_model_goes_on(hook, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    model = make_model("sgd")
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, validation_split=0.2, callbacks=[tc.callbacks.LambdaCallback(**{hook: interrupt})], verbose=0)
    assert model.history.epoch == []
    assert tc.is_grad_enabled()
    history = model.fit(X, Y, epochs=2, validation_split=0.2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(tc.load_model(tmp_path / "model").predict(X), model.predict(X))


def test_the_bar_is_taken_away(monkeypatch, capsys):
    monkeypatch.setattr("tinyconv.callbacks.progress.is_interactive", lambda: True)

    def interrupt(batch, logs):
        if batch == 3:
            raise KeyboardInterrupt

    model = make_model("sgd")
    for kind, call in {
        "train": lambda hook: model.fit(X, Y, batch_size=4, callbacks=[hook]),
        "test": lambda hook: model.evaluate(X, Y, batch_size=4, verbose=1, callbacks=[hook]),
        "predict": lambda hook: model.predict(X, batch_size=4, verbose=1, callbacks=[hook]),
    }.items():
        hook = tc.callbacks.LambdaCallback(**{f"on_{kind}_batch_end": interrupt})
        with pytest.raises(KeyboardInterrupt):
            call(hook)
        assert capsys.readouterr().out.endswith("\r")  # tqdm's last act: the line is blank, the cursor at its start
    from tqdm import tqdm

    assert not tqdm._instances


def test_a_second_ctrl_c_does_not_wait():
    steps = []

    @postponed_interrupt()
    def step():
        press_ctrl_c()
        steps.append("first")
        press_ctrl_c()
        steps.append("second")

    with pytest.raises(KeyboardInterrupt):
        step()
    assert steps == ["first"]


def test_an_error_in_the_step_still_lets_ctrl_c_through():
    @postponed_interrupt()
    def step():
        press_ctrl_c()
        raise ValueError("the step failed")

    with pytest.raises(KeyboardInterrupt) as caught:
        step()
    assert isinstance(caught.value.__context__, ValueError)


def test_other_handlers_and_other_threads_are_respected():
    calls = []
    before = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    try:
        with postponed_interrupt():
            press_ctrl_c()
            assert calls == []
        assert calls == [signal.SIGINT]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with postponed_interrupt():
            press_ctrl_c()
    finally:
        signal.signal(signal.SIGINT, before)
    done = []
    thread = threading.Thread(target=lambda: make_model("sgd").fit(X, Y, verbose=0) and done.append(True))
    thread.start()
    thread.join()
    assert done == [True]
