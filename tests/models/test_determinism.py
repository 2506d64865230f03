"""One seed, one result: whatever the hash seed and the number of threads, and again after ``set_seed``."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import tinyconv as tc

PROGRAM = """
    import hashlib
    import numpy as np
    import tinyconv as tc

    tc.set_seed(3)
    L = tc.layers
    layers = [L.Conv2D(4, 3, activation="relu", input_shape=(10, 10, 1)), L.BatchNormalization(), L.MaxPooling2D(2),
              L.Dropout(0.3), L.Flatten(), L.Dense(3, activation="softmax")]
    model = tc.Sequential(layers)
    model.compile("adam", "categorical_crossentropy", ["acc"])
    rng = np.random.default_rng(0)
    x, y = rng.random((50, 10, 10, 1)).astype("float32"), np.eye(3)[rng.integers(0, 3, 50)]
    history = model.fit(x, y, batch_size=16, epochs=2, validation_split=0.2, verbose=0)
    digest = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights()))
    print(digest.hexdigest(), history.history["loss"], history.history["val_acc"])
"""


def run(hash_seed, threads):
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "NUMBA_NUM_THREADS": str(threads)}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_hash_seed_and_threads_do_not_matter():
    assert run(0, 1) == run(123, 2)


def make_model():
    model = tc.Sequential([tc.layers.Dense(4, input_shape=(3,)), tc.layers.Dropout(0.5), tc.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


X, Y = np.random.default_rng(0).normal(size=(30, 3)), np.ones((30, 1))


def test_the_seed_gives_weights_and_training():
    results = []
    for seed in (1, 1, 2):
        tc.set_seed(seed)
        model = make_model()
        start = model.get_weights()[0]
        model.fit(X, Y, epochs=2, verbose=0)
        results.append((start, model.get_weights()[0]))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    assert not np.array_equal(results[0][0], results[2][0])


def test_set_seed_restarts_the_stream_of_a_model_that_has_trained():
    model = make_model()
    start = model.get_weights()
    results = []
    for _ in range(2):
        model.set_weights(start)
        tc.set_seed(9)
        model.fit(X, Y, batch_size=7, epochs=2, verbose=0)
        results.append(model.get_weights()[0])
    np.testing.assert_array_equal(*results)


def test_models_do_not_draw_from_each_others_streams():
    def train(also):
        tc.set_seed(4)
        model, other = make_model(), make_model()
        spy = tc.callbacks.LambdaCallback(on_epoch_end=lambda *_: also(other))
        model.fit(X, Y, epochs=3, callbacks=[spy], verbose=0)
        return model.get_weights()[0]

    np.testing.assert_array_equal(train(lambda other: None), train(lambda other: other.fit(X, Y, verbose=0)))


def test_evaluation_draws_nothing():
    tc.set_seed(4)
    first = make_model()
    first.fit(X, Y, epochs=3, verbose=0)
    tc.set_seed(4)
    second = make_model()
    second.fit(X, Y, epochs=3, validation_data=(X, Y), verbose=0)
    second.evaluate(X, Y)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shuffle", [True, False])
def test_shuffle(shuffle):
    orders = []

    class Spy(tc.Sequential):
        def train_step(self, data):
            orders[-1].extend(data[0][:, 0].tolist())
            return super().train_step(data)

    model = Spy([tc.layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse")
    begin = tc.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: orders.append([]))
    model.fit(np.arange(20.0)[:, None], np.zeros((20, 1)), 6, epochs=3, shuffle=shuffle, callbacks=begin, verbose=0)
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == (3 if shuffle else 1)
