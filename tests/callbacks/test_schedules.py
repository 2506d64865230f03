"""Schedules as callbacks: the same training as with the schedule as the optimizer's learning rate."""

import inspect

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import schedules
from tinyconv.callbacks import LambdaCallback, LearningRateScheduler, ScheduleCallback
from tinyconv.registry import arguments_of

X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.ones((20, 1))

ARGUMENTS = {  # by name, of all schedules
    "initial_learning_rate": 0.05, "decay_steps": 5, "decay_rate": 0.5, "first_decay_steps": 4, "boundaries": [2, 5],
    "values": [0.05, 0.02, 0.01], "max_learning_rate": 0.05, "total_steps": 8, "after": 0.05, "warmup_steps": 3,
}  # fmt: skip

KINDS = [kind for kind in map(schedules.registry.find, schedules.registry.names())]


def make(kind):
    needed = [name for name, default in arguments_of(kind).items() if default is inspect.Parameter.empty]
    return kind(**{name: ARGUMENTS[name] for name in needed})


def make_model(rate=0.05, **settings):
    tc.set_seed(0)
    model = tc.Sequential([tc.layers.Dense(1, input_shape=(3,))])
    model.compile(tc.optimizers.SGD(rate, momentum=0.9, **settings), "mse")
    return model


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 3}], ids=["", "accumulating"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_schedule_by_batch(kind, settings):
    direct = make_model(make(kind), **settings)
    expected = direct.fit(X, Y, 5, epochs=2, verbose=0).history["loss"]
    wrapped, rates = make_model(**settings), []
    spy = LambdaCallback(on_train_batch_begin=lambda *_: rates.append(wrapped.optimizer.learning_rate))
    history = wrapped.fit(X, Y, 5, epochs=2, callbacks=[ScheduleCallback(make(kind)), spy], verbose=0).history
    assert rates == [make(kind)(step) for step in range(8)]
    assert history["loss"] == expected
    assert history["learning_rate"] == [rates[3], rates[7]]
    for a, b in zip(wrapped.get_weights(), direct.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_schedule_by_epoch(kind):
    for callback in (ScheduleCallback(make(kind), per="epoch"), LearningRateScheduler(make(kind))):
        history = make_model().fit(X, Y, 5, epochs=9, initial_epoch=1, callbacks=[callback], verbose=0).history
        assert history["learning_rate"] == [make(kind)(epoch) for epoch in range(1, 9)]


def test_updates_of_earlier_training_count():
    model, callback = make_model(), ScheduleCallback(lambda step: 0.01 / (1 + step))
    model.fit(X, Y, 5, epochs=1, callbacks=[callback], verbose=0)
    history = model.fit(X, Y, 5, epochs=1, callbacks=[callback], verbose=0).history
    assert history["learning_rate"] == [0.01 / 8]


def test_a_configuration_and_the_message(capsys):
    config = {"class_name": "StepDecay", "config": {"initial_learning_rate": 0.5, "drop_every": 1}}
    make_model().fit(X, Y, epochs=2, callbacks=[ScheduleCallback(config, per="epoch", verbose=1)], verbose=0)
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 1: ScheduleCallback setting learning rate to 0.25.",
        "Epoch 2: ScheduleCallback setting learning rate to 0.125.",
    ]


def test_wrong_arguments():
    with pytest.raises(ValueError, match="per must be one of 'batch', 'epoch'. Received: 'step'"):
        ScheduleCallback(lambda step: 0.1, per="step")
    for bad in (0.1, tc.schedules.StepDecay):
        with pytest.raises(TypeError, match="schedule must be a schedule, or a function"):
            ScheduleCallback(bad)
    with pytest.raises(TypeError, match="given by a schedule"):
        make_model(make(tc.schedules.StepDecay)).fit(X, Y, callbacks=[ScheduleCallback(lambda step: 0.1)], verbose=0)
