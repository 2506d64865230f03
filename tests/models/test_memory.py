"""No reference cycles: memory is given back by counting alone, with the collector off."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import tinyconv as tc

X = np.random.default_rng(0).random((8, 8, 8, 1)).astype("float32")
Y = np.eye(3)[np.arange(8) % 3]


@pytest.fixture(autouse=True)
def _without_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def make_model():
    model = tc.Sequential(
        [
            tc.layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 1)),
            tc.layers.BatchNormalization(),
            tc.layers.MaxPooling2D(2),
            tc.layers.Dropout(0.25),
            tc.layers.Flatten(),
            tc.layers.Dense(3, activation="softmax", kernel_regularizer="l2"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", ["accuracy"])
    return model


def assert_nothing_stays(step, count):
    """No object more than before; bytes may grow a little, as Python keeps small tuples for later use."""
    for _ in range(20):
        step()
    tracemalloc.start()
    try:
        objects, size = len(gc.get_objects()), tracemalloc.get_traced_memory()[0]
        for _ in range(count):
            step()
        assert len(gc.get_objects()) <= objects + 5
        assert tracemalloc.get_traced_memory()[0] - size < 3_000 * count  # the graph of one step has 50,000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch", "predict_on_batch"])
def test_steps_leave_nothing_behind(method):
    model = make_model()
    arguments = (X,) if method == "predict_on_batch" else (X, Y)
    assert_nothing_stays(lambda: getattr(model, method)(*arguments), 300)


def test_epochs_leave_nothing_behind():
    model = make_model()
    assert_nothing_stays(lambda: model.fit(X, Y, batch_size=4, validation_split=0.25, verbose=0), 40)


def test_a_trained_model_vanishes_with_its_last_name():
    model = make_model()
    history = model.fit(X, Y, verbose=0)
    gone = weakref.ref(model)
    assert history.model is model
    del model
    assert gone() is None
    assert history.model is None
    assert len(history.history["loss"]) == 1


def test_a_functional_model_vanishes_too():
    x = tc.Input((3,))
    model = tc.Model(x, tc.layers.Dense(2)(tc.layers.Dense(4)(x)))
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    gone = weakref.ref(model)
    del model, x
    assert gone() is None
