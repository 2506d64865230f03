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


def plans(model, step="_update_weights"):
    """How many recordings of a step became plans."""
    known = model._replays[step]._known.values() if step in model._replays else ()
    return sum(hasattr(recording.run, "run") for recording in known)


only_cpu = pytest.mark.skipif(tc.backends.host().name != "cpu", reason="plans are made of the CPU backend's kernels")
X, Y = np.random.default_rng(0).normal(size=(2, 12, 3)).astype("float32")


@only_cpu
def test_a_model_that_is_first_used_unbuilt_is_recorded_later():
    model = tc.Sequential([tc.layers.Dense(3)])
    model.compile("sgd", "mse")
    model.predict(X[:4])
    for _ in range(3):
        model.train_on_batch(X[:4], Y[:4])
    assert plans(model) == 1


@only_cpu
def test_a_function_of_ones_own_that_comes_after_recording_is_called():
    models = []
    for eager in (False, True):
        tc.set_seed(0)
        model = tc.Sequential([tc.layers.Dense(3, activation="relu", input_shape=(3,))])
        model.compile(tc.optimizers.SGD(0.1), "mse", run_eagerly=eager)
        for _ in range(3):
            model.predict_on_batch(X[:4])
        model.layers[0].activation = lambda x: x * tc.Tensor(np.sign(x.numpy().sum()))
        models.append(np.stack([model.predict_on_batch(X[i : i + 4]) for i in (0, 4, 8, 0)]))
    np.testing.assert_array_equal(*models)


@only_cpu
def test_run_eagerly_may_be_set_at_any_time():
    model = trained(tc.optimizers.SGD(0.1))
    assert (plans(model), model.run_eagerly) == (1, False)
    model.run_eagerly = True
    looked = []
    model.layers[0].call = lambda x: looked.append(type(x)) or tc.ops.mean(x, axis=1, keepdims=True)
    for _ in range(4):
        model.test_on_batch(np.ones((2, 3)), np.ones((2, 1)))
    assert len(looked) == 4
    model.run_eagerly = False
    assert model.jit_compile == "auto"


@only_cpu
def test_errors_of_replayed_steps_name_the_model():
    model = tc.Sequential([tc.layers.Dense(3, activation="softmax", input_shape=(3,))], name="named")
    model.compile("sgd", "sparse_categorical_crossentropy")
    for _ in range(3):
        model.train_on_batch(X[:4], np.array([0, 1, 2, 0]))
    assert plans(model) == 1
    with pytest.raises(ValueError, match="^Sequential 'named': "):
        model.train_on_batch(X[:4], np.array([0, 1, 3, 0]))
