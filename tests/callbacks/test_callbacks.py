"""Hooks and their order, ``Logs``, ``History`` and ``LearningRateScheduler``."""

import json
import pickle

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.callbacks import (
    Callback,
    CallbackList,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    Logs,
)

X, Y = np.random.default_rng(0).normal(size=(10, 3)), np.ones((10, 1))


@pytest.fixture
def model():
    made = tc.Sequential([tc.layers.Dense(1, input_shape=(3,))])
    made.compile(tc.optimizers.SGD(0.1), "mse", ["mae"])
    return made


class Spy(Callback):
    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)

        def record(*arguments):
            self.calls.append((name, *[a for a in arguments if isinstance(a, int)]))
            return getattr(super(Spy, self), name)(*arguments)

        return record


def test_hooks_of_fit_in_keras_s_order(model):
    spy = Spy()
    model.fit(X, Y, batch_size=5, epochs=2, initial_epoch=1, validation_data=(X[:2], Y[:2]), callbacks=[spy], verbose=0)
    step = [
        [("on_train_batch_begin", i), ("on_batch_begin", i), ("on_train_batch_end", i), ("on_batch_end", i)]
        for i in (0, 1)
    ]
    validation = [("on_test_begin",), ("on_test_batch_begin", 0), ("on_test_batch_end", 0), ("on_test_end",)]
    assert spy.calls == [
        ("on_train_begin",), ("on_epoch_begin", 1), *step[0], *step[1], *validation, ("on_epoch_end", 1),
        ("on_train_end",),
    ]  # fmt: skip
    assert spy.params["epochs"] == 2
    assert spy.params["steps"] == 2


def test_hooks_of_evaluate_and_predict(model):
    spy = Spy()
    model.evaluate(X, Y, callbacks=[spy])
    model.predict(X, batch_size=5, callbacks=spy)
    assert [call[0] for call in spy.calls] == [
        "on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end",
        "on_predict_begin", *["on_predict_batch_begin", "on_predict_batch_end"] * 2, "on_predict_end",
    ]  # fmt: skip


class Named(Callback):
    """Appends its name and the hook to a list, for every hook of the base class."""

    def __init__(self, name, calls):
        for hook in dir(Callback):
            if hook.startswith(("on_", "set_p", "set_m")):
                setattr(self, hook, lambda *_, hook=hook: calls.append((hook, name)))


def test_every_hook_goes_to_all_callbacks_in_order_and_the_facts_come_before_the_model(model):
    calls = []
    callbacks = [Named("a", calls), Named("b", calls)]
    model.fit(X, Y, 5, epochs=3, validation_data=(X, Y), validation_freq=2, callbacks=callbacks, verbose=0)
    hooks = [hook for hook, name in calls if name == "a"]
    assert calls[:4] == [("set_params", "a"), ("set_model", "a"), ("set_params", "b"), ("set_model", "b")]
    assert calls[4:] == [(hook, name) for hook in hooks[2:] for name in "ab"]
    step, validation = ["on_train_batch_begin", "on_train_batch_end"], ["on_test_batch_begin", "on_test_batch_end"]
    epoch = ["on_epoch_begin", *step, *step]
    assert hooks[2:] == [
        "on_train_begin", *epoch, "on_epoch_end", *epoch, "on_test_begin", *validation, *validation, "on_test_end",
        "on_epoch_end", *epoch, "on_epoch_end", "on_train_end",
    ]  # fmt: skip


def test_a_training_loop_of_ones_own(capsys):
    """As with Keras 3: ``CallbackList(callbacks, add_history=True, add_progbar=True, model=model, epochs=...)``."""
    tc.set_seed(0)
    model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    stop = EarlyStopping("loss", mode="max", patience=1)  # a falling loss is no improvement
    hooks = CallbackList([stop], add_history=True, add_progbar=True, model=model, epochs=9, steps=1)
    x, y = np.ones((4, 2)), np.ones((4, 1))
    hooks.on_train_begin()
    for epoch in range(9):
        hooks.on_epoch_begin(epoch)
        hooks.on_train_batch_begin(0)
        logs = {"loss": model.train_on_batch(x, y)}
        hooks.on_train_batch_end(0, logs)
        hooks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    hooks.on_train_end(logs)
    assert model.history.epoch == [0, 1]
    assert model.history.history["loss"][1] == logs["loss"]
    assert capsys.readouterr().out.splitlines()[::2] == ["Epoch 1/9", "Epoch 2/9"]
    assert stop.params["epochs"] == 9
    own = History()
    assert list(CallbackList([own], add_history=True)) == [own]
    assert list(CallbackList(None)) == []


def test_a_callback_sets_the_rate_of_the_coming_update_and_reads_the_count():
    """Against gradient descent by hand; the steps are recorded and replayed meanwhile."""
    model = tc.Sequential([tc.layers.Dense(1, use_bias=False, kernel_initializer="zeros", input_shape=(3,))])
    model.compile(tc.optimizers.SGD(0.0), "mse")
    rates = [0.1, 0.2, 0.05, 0.0, 0.3, 0.1]

    class Rates(Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = rates[self.model.optimizer.iterations]

    model.fit(X, Y, 5, epochs=3, shuffle=False, callbacks=[Rates()], verbose=0)
    w = np.zeros((3, 1))
    for step, rate in enumerate(rates):
        x, y = (X[:5], Y[:5]) if step % 2 == 0 else (X[5:], Y[5:])
        w = w - rate * 2 / 5 * x.T @ (x @ w - y)
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-5)
    assert model.optimizer.iterations == 6


def test_logs_are_python_floats_also_of_a_training_step_of_ones_own():
    class Own(tc.Sequential):
        def train_step(self, data):
            super().train_step(data)
            return {"loss": tc.Tensor(0.5), "array": np.float32(0.25), "number": np.ones(()), "several": np.ones(2)}

    model, seen = Own([tc.layers.Dense(1, input_shape=(3,))]), []
    model.compile("sgd", "mse")
    spy = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(dict(logs)))
    model.fit(X, Y, callbacks=[spy], verbose=0)
    assert [type(seen[0][name]) for name in ("loss", "array", "number", "several")] == [float] * 3 + [np.ndarray]
    assert (seen[0]["loss"], seen[0]["array"], seen[0]["number"]) == (0.5, 0.25, 1.0)


def test_a_history_can_be_pickled_and_the_model_is_left_out(model):
    history = model.fit(X, Y, epochs=2, verbose=0)
    twin = pickle.loads(pickle.dumps(history))
    assert (twin.history, twin.epoch, twin.params, twin.model) == (history.history, [0, 1], history.params, None)


def test_logs_of_the_hooks(model):
    seen = {}
    hooks = {
        name: lambda *a, name=name: seen.__setitem__(name, dict(a[-1]))
        for name in ("on_train_batch_end", "on_epoch_end", "on_train_end", "on_test_end")
    }
    history = model.fit(X, Y, validation_data=(X, Y), callbacks=[LambdaCallback(**hooks)], verbose=0)
    assert list(seen["on_train_batch_end"]) == ["loss", "mae"]
    assert list(seen["on_epoch_end"]) == ["loss", "mae", "val_loss", "val_mae"] == list(history.history)
    assert seen["on_train_end"] == seen["on_epoch_end"]
    assert seen["on_test_end"]["loss"] == seen["on_epoch_end"]["val_loss"]


def test_stop_training_ends_the_epoch_and_the_training(model):
    def stop(batch, logs):
        model.stop_training = batch == 1

    history = model.fit(X, Y, batch_size=2, epochs=5, callbacks=[LambdaCallback(on_train_batch_end=stop)], verbose=0)
    assert history.epoch == [0]
    assert model.optimizer.iterations == 2
    assert model.fit(X, Y, epochs=2, verbose=0).epoch == [0, 1]  # it trains again afterwards


def test_what_a_callback_puts_into_the_logs_is_recorded(model):
    double = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(twice=2 * epoch))
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[double])
    assert history.history["twice"] == [0, 2]


def test_both_spellings_of_accuracy():
    logs = Logs(acc=0.5, val_accuracy=0.25, top_accuracy=0.1, loss=1.0)
    assert (logs["accuracy"], logs["val_acc"], logs["top_acc"]) == (0.5, 0.25, 0.1)
    assert "accuracy" in logs
    assert "val_acc" in logs
    assert logs.get("accuracy") == 0.5
    assert logs.get("val_loss", 3) == 3
    assert "accurate" not in logs
    with pytest.raises(KeyError, match="val_loss"):
        logs["val_loss"]
    assert list(logs) == ["acc", "val_accuracy", "top_accuracy", "loss"]
    assert json.loads(json.dumps(logs)) == dict(logs) == pickle.loads(pickle.dumps(logs))


@pytest.mark.parametrize("name", ["acc", "accuracy"])
def test_history_has_the_name_that_was_asked_for_and_answers_to_both(name):
    model = tc.Sequential([tc.layers.Dense(2, activation="softmax", input_shape=(3,))])
    model.compile("sgd", "categorical_crossentropy", [name])
    history = model.fit(X, np.eye(2)[[0, 1] * 5], epochs=2, validation_split=0.5, verbose=0)
    assert list(history.history) == ["loss", name, "val_loss", f"val_{name}"]
    assert history.history["val_acc"] == history.history["val_accuracy"]
    assert history.epoch == [0, 1]
    assert all(type(value) is float for values in history.history.values() for value in values)
    assert model.history is history
    assert isinstance(history, History)


def test_learning_rate_scheduler_counts_from_0_and_sets_the_coming_epoch(model):
    rates, calls = [], []

    def schedule(epoch):
        calls.append(epoch)
        return 0.1 / (1 + epoch)

    spy = LambdaCallback(on_train_batch_begin=lambda *_: rates.append(model.optimizer.learning_rate))
    history = model.fit(X, Y, epochs=3, callbacks=[LearningRateScheduler(schedule), spy], verbose=0)
    assert calls == [0, 1, 2]
    assert rates == pytest.approx([0.1, 0.05, 0.1 / 3])
    assert history.history["learning_rate"] == pytest.approx(rates)


def test_learning_rate_scheduler_passes_the_rate_only_to_those_who_need_it(model, capsys):
    model.fit(X, Y, epochs=2, callbacks=[LearningRateScheduler(lambda epoch, rate: rate / 2, verbose=1)], verbose=0)
    assert model.optimizer.learning_rate == pytest.approx(0.025)
    assert "Epoch 2: LearningRateScheduler setting learning rate to 0.025." in capsys.readouterr().out
    model.fit(X, Y, callbacks=[LearningRateScheduler(lambda epoch, start=0.7: np.float32(start))], verbose=0)
    assert model.optimizer.learning_rate == pytest.approx(0.7)


@pytest.mark.parametrize("bad", [1, True, "0.1", None, [0.1]])
def test_learning_rate_scheduler_rejects_what_is_no_float(model, bad):
    with pytest.raises(ValueError, match="must return a float. Received"):
        model.fit(X, Y, callbacks=[LearningRateScheduler(lambda epoch: bad)], verbose=0)


def test_lambda_callback_takes_hooks_in_keras_s_order(model):
    calls = []
    hooks = [lambda *_, i=i: calls.append(i) for i in range(6)]
    model.fit(X, Y, callbacks=[LambdaCallback(*hooks, on_test_end=lambda logs: calls.append("test"))], verbose=0)
    assert calls == [2, 0, 4, 5, 1, 3]


def test_lambda_callback_rejects_unknown_hooks():
    with pytest.raises(TypeError, match="on_epoch_start"):
        LambdaCallback(on_epoch_start=print)


def test_all_callbacks_close_what_they_opened_though_one_fails(model):
    class Full(Callback):
        def _release(self):
            raise OSError("the disk is full")

    before = model.get_weights()
    finder = tc.callbacks.LearningRateFinder(num_steps=50)
    interrupt = LambdaCallback(on_train_batch_end=lambda batch, logs: 1 / 0)
    with pytest.raises(OSError, match="the disk is full") as caught:
        model.fit(X, Y, callbacks=[Full(), finder, interrupt], verbose=0)
    assert isinstance(caught.value.__context__, ZeroDivisionError), "nothing is lost"
    assert all(map(np.array_equal, before, model.get_weights()))
