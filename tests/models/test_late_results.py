"""Results of a batch are worked out when they are read; whoever keeps them finds those of that batch."""

import numpy as np
import pytest

import tinyconv as tc

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 3)).astype("float32"), RNG.normal(size=(60, 1)).astype("float32")


class Counting(tc.metrics.MeanAbsoluteError):
    """Counts how often its result is asked for."""

    asked = 0

    def result(self):
        type(self).asked += 1
        return super().result()


class Keeping(tc.callbacks.Callback):
    """Keeps the results of all batches; reads them at once, or at the end of training."""

    def __init__(self, at_once):
        self.at_once, self.kept = at_once, []

    def on_train_batch_end(self, batch, logs=None):
        self.kept.append(dict(logs) if self.at_once else logs)

    on_test_batch_end = on_train_batch_end


class Held(tc.layers.Layer):
    """A layer with a metric of its own, which it feeds in every call."""

    def __init__(self):
        super().__init__()
        self.largest = tc.metrics.Mean(name="largest")

    def call(self, x):
        self.largest.update_state(np.abs(x.numpy()).max())
        return x


def trained(callbacks=(), metrics=("mae",), before=()):
    model = tc.Sequential([tc.layers.Input((3,)), *before, tc.layers.Dense(1, kernel_initializer="ones")])
    model.compile(tc.optimizers.SGD(0.05), "mse", metrics=list(metrics))
    options = {"batch_size": 10, "shuffle": False, "verbose": 0, "callbacks": list(callbacks)}
    return model.fit(X, Y, epochs=3, validation_data=(X, Y), **options).history


def test_what_nobody_reads_is_not_worked_out():
    Counting.asked = 0
    trained(metrics=[Counting(name="mae")])
    assert Counting.asked <= 3 * 4  # of 3 x (6 + 6) batches: the first and the last of training and of validation


def test_histories_are_those_of_results_that_are_read_at_once():
    assert trained() == trained([Keeping(at_once=True)])


@pytest.mark.parametrize("before", [(), (Held,)], ids=["plain", "with a metric in a layer"])
def test_results_that_are_kept_are_those_of_their_batch(before):
    both = [Keeping(at_once=True), Keeping(at_once=False)]
    for callback in both:
        trained([callback], before=[layer() for layer in before])
    assert len(both[0].kept) == 3 * (6 + 6)
    assert [dict(logs) for logs in both[1].kept] == both[0].kept
    assert len({logs["mae"] for logs in both[0].kept}) > 20  # so that a mix-up would show


def test_losses_are_averaged_over_all_batches():
    """Against the losses by hand, with weights that stay what they are."""
    model = tc.Sequential([tc.layers.Input((3,)), tc.layers.Dense(1, kernel_initializer="ones")])
    model.compile(tc.optimizers.SGD(1e-30), "mse")
    history = model.fit(X, Y, batch_size=16, epochs=2, verbose=0).history
    expected = np.mean((X.astype(np.float64).sum(axis=1, keepdims=True) - Y) ** 2)
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-6)
