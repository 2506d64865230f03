"""Models whose steps are recorded, when something about them changes from outside."""

import copy
import pickle

import numpy as np
import pytest

import tinyconv as tc


def trained(optimizer):
    tc.set_seed(0)
    model = tc.Sequential([tc.layers.Dense(1, input_shape=(3,))])
    model.compile(optimizer, "mse")
    model.fit(np.ones((8, 3)), np.ones((8, 1)), batch_size=2, epochs=2, verbose=0)
    return model


def test_another_optimizer_without_compile():
    model = trained(tc.optimizers.SGD(0.1))
    model.optimizer = tc.optimizers.SGD(0.0)
    before = model.get_weights()[0].copy()
    model.fit(np.ones((8, 3)), 5 * np.ones((8, 1)), batch_size=2, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_goes_on_training_on_its_own(copied):
    model = trained(tc.optimizers.SGD(0.1, momentum=0.9))
    x, y = np.full((8, 3), 2.0), np.zeros((8, 1))
    other = copied(model)
    before = model.get_weights()[0].copy()
    other.fit(x, y, batch_size=2, epochs=2, verbose=0, shuffle=False)
    np.testing.assert_array_equal(model.get_weights()[0], before)
    model.fit(x, y, batch_size=2, epochs=2, verbose=0, shuffle=False)
    np.testing.assert_array_equal(model.get_weights()[0], other.get_weights()[0])


@pytest.mark.parametrize("shape", [(8,), (8, 1)])
def test_labels_of_one_output_may_lack_its_axis(shape):
    model = tc.Sequential([tc.layers.Dense(1, activation="sigmoid", kernel_initializer="zeros", input_shape=(3,))])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    y = np.arange(8).reshape(shape) % 2
    batches = [(np.ones((4, 3)), y[:4]), (np.ones((4, 3)), y[4:])]
    assert model.evaluate(batches)[0] == pytest.approx(np.log(2), rel=1e-6)
