"""What is changed after a step was recorded takes effect, as in an eager model; what stays is not recorded again."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.layers import BatchNormalization, Dense, Dropout, LeakyReLU
from tinyconv.revision import Revised

RNG = np.random.default_rng(0)
X, Y = RNG.random((16, 8), "float32"), RNG.random((16, 3), "float32")


def network(eager, **options):
    tc.set_seed(0)
    model = tc.Sequential([
        Dense(32, input_shape=(8,), kernel_regularizer=tc.regularizers.L2(0.1)),
        LeakyReLU(0.1),
        BatchNormalization(),
        Dropout(0.5, seed=1),
        Dense(3, activation="softmax", kernel_constraint=tc.constraints.MaxNorm(1.0)),
    ])  # fmt: skip
    settings = {"optimizer": tc.optimizers.SGD(0.1, momentum=0.9), "loss": tc.losses.CategoricalCrossentropy()}
    model.compile(**{**settings, **options}, run_eagerly=eager)
    return model


CHANGES = {
    "layer": lambda model: setattr(model.layers[1], "negative_slope", 3.0),
    "activation": lambda model: setattr(model.layers[4], "activation", tc.activations.get("sigmoid")),
    "normalisation": lambda model: setattr(model.layers[2], "epsilon", 0.5),
    "regularizer": lambda model: setattr(model.layers[0].kernel_regularizer, "l2", 5.0),
    "constraint": lambda model: setattr(model.layers[4].kernel_constraint, "max_value", 0.1),
    "optimizer": lambda model: setattr(model.optimizer, "momentum", 0.0),
    "limit": lambda model: setattr(model.optimizer, "clipvalue", 1e-3),
    "loss": lambda model: setattr(model.objective.loss, "label_smoothing", 0.5),
    "rate": lambda model: setattr(model.layers[3], "rate", 0.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_after_recording_take_effect(name):
    results = []
    for eager in (True, False):
        model = network(eager)
        for _ in range(4):
            model.train_on_batch(X, Y)
            model.predict_on_batch(X)
        before = model.get_weights()
        CHANGES[name](model)
        for _ in range(3):
            model.train_on_batch(X, Y)
        results.append([*before, *model.get_weights(), model.predict_on_batch(X)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_layer_is_added_after_predictions():
    model = tc.Sequential([Dense(4, input_shape=(8,))])
    for _ in range(4):
        model.predict_on_batch(X)
    model.add(Dense(2))
    assert model.predict_on_batch(X).shape == (16, 2)
    model.pop()
    np.testing.assert_array_equal(model.predict_on_batch(X), model(X).numpy())


def test_steps_are_not_recorded_again_without_need():
    model = network(False)
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    recorded = {name: list(replay._known.values()) for name, replay in model._replays.items()}
    model.optimizer.learning_rate = 0.01
    model.layers[1].negative_slope = 0.1  # the same value
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    for name, plans in recorded.items():
        assert [one.run for one in plans] == [other.run for other in model._replays[name]._known.values()]


def test_equal_values_are_no_change():
    layer = Dropout(0.5)
    latest, revision = Revised.latest, layer.revision
    layer.rate = 0.5
    assert (Revised.latest, layer.revision) == (latest, revision)
    layer.rate = 0.25
    assert Revised.latest is not latest
    assert layer.revision == revision + 1
