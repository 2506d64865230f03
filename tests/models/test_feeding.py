"""What ``fit``, ``evaluate`` and ``predict`` accept as data."""

import warnings

import numpy as np
import pytest

import tinyconv as tc

X = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
Y = (X.sum(axis=1, keepdims=True) > 0).astype("float32")


def make_model():
    tc.set_seed(5)
    model = tc.Sequential([tc.layers.Dense(1, activation="sigmoid", input_shape=(3,))])
    model.compile(tc.optimizers.SGD(0.5), "binary_crossentropy", ["acc"])
    return model


def batches(size=8, weight=None):
    parts = (X, Y) if weight is None else (X, Y, weight)
    return [tuple(part[i : i + size] for part in parts) for i in range(0, len(X), size)]


class Epoch:
    """Re-iterable, of unknown length."""

    def __iter__(self):
        return iter(batches())


class Sequence:
    """Keras's Sequence: a length and items, without an end that iteration could notice."""

    def __init__(self):
        self.asked, self.epochs = [], 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        self.asked.append(index)
        return batches()[index % 3]

    def on_epoch_end(self):
        self.epochs += 1


def endless():
    while True:
        yield from batches()


WEIGHT = np.linspace(0, 2, 20)


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (X.tolist(), {"y": Y.tolist()}),
        (list(X), {"y": list(Y)}),
        ([X], {"y": [Y]}),
        (tc.Tensor(X), {"y": tc.Tensor(Y)}),
        (X.astype("float64"), {"y": Y.astype("int8")}),
        (np.asfortranarray(X), {"y": Y[:, 0][:, None]}),
        (batches(), {}),
        ([list(b) for b in batches()].__iter__, {}),
        (Epoch(), {}),
        (Sequence(), {"shuffle": False}),
        (endless, {"steps_per_epoch": 3}),
    ],
    ids=["lists", "lists of arrays", "one array in a list", "tensors", "other dtypes", "fortran", "list of batches",
         "batches as lists", "re-iterable", "sequence", "endless generator"],
)  # fmt: skip
def test_all_forms_of_the_same_data_train_alike(x, options):
    expected = make_model()
    expected.fit(X, Y, batch_size=8, epochs=1, shuffle=False, verbose=0)
    model = make_model()
    y = options.pop("y", None)
    model.fit(x() if callable(x) else x, y, batch_size=8, verbose=0, **{"shuffle": False, **options})
    for a, b in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_within_batches_equal_weights_beside_arrays():
    first, second = make_model(), make_model()
    first.fit(X, Y, 8, epochs=2, sample_weight=WEIGHT, class_weight={1: 2.0}, shuffle=False, verbose=0)
    second.fit(batches(weight=WEIGHT), epochs=2, class_weight=[1.0, 2.0], shuffle=False, verbose=0)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_generator_goes_on_where_the_last_epoch_stopped():
    seen = []

    def numbered():
        for i, batch in enumerate(endless()):
            seen.append(i)
            yield batch

    history = make_model().fit(numbered(), steps_per_epoch=4, epochs=3, verbose=0)
    assert seen == list(range(12))  # not one more than was asked for
    assert history.epoch == [0, 1, 2]


def test_keras_2_names_for_generators():
    model = make_model()
    history = model.fit_generator(
        endless(), steps_per_epoch=2, epochs=2, validation_data=endless(), validation_steps=1, verbose=0
    )
    assert len(history.history["val_loss"]) == 2
    assert model.predict_generator(endless(), steps=2).shape == (16, 1)
    np.testing.assert_allclose(model.evaluate_generator(endless(), 3), model.evaluate(X, Y))


def test_a_sequence_is_shuffled_by_batches_and_told_of_the_end_of_epochs():
    sequence = Sequence()
    make_model().fit(sequence, epochs=4, verbose=0)
    assert sequence.epochs == 4
    assert [sorted(sequence.asked[i : i + 3]) for i in range(0, 12, 3)] == [[0, 1, 2]] * 4
    assert sequence.asked != [0, 1, 2] * 4


@pytest.mark.parametrize(("epochs", "steps", "trained"), [(3, None, [0]), (3, 2, [0, 1]), (2, 5, [0])])
def test_a_generator_that_ends_early_ends_training_with_a_warning(epochs, steps, trained):
    model = make_model()
    with pytest.warns(UserWarning, match="Training ended early"):
        history = model.fit(iter(batches()), epochs=epochs, steps_per_epoch=steps, verbose=0)
    assert history.epoch == trained
    assert model.optimizer.iterations == 3


def test_a_generator_that_is_used_up_exactly_ends_in_peace():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_model().fit(iter(batches()), verbose=0).epoch == [0]
        assert make_model().fit(iter(batches() * 2), epochs=2, steps_per_epoch=3, verbose=0).epoch == [0, 1]


def test_no_batch_at_all_raises():
    model = make_model()
    with pytest.raises(ValueError, match="at least one batch"):
        model.fit(iter([]), verbose=0)
    used_up = iter(batches())
    model.evaluate(used_up)
    with pytest.raises(ValueError, match="at least one batch"):
        model.predict(used_up)


def test_steps_limit_arrays_and_validation():
    model, seen = make_model(), []
    spy = tc.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    model.fit(X, Y, 8, 2, 0, spy, steps_per_epoch=2, validation_data=(X, Y), validation_steps=1)
    assert seen == [0, 1, 0, 1]
    assert model.predict(X, batch_size=8, steps=2).shape == (16, 1)
    assert model.evaluate(X, Y, batch_size=8, steps=1) == model.evaluate(X[:8], Y[:8])


@pytest.mark.parametrize("data", [(X, Y), [X, Y], (X, Y, WEIGHT), batches(), Epoch()])
def test_forms_of_validation_data(data):
    model = make_model()
    history = model.fit(X, Y, validation_data=data, validation_batch_size=5, verbose=0).history
    weight = WEIGHT if isinstance(data, tuple) and len(data) == 3 else None
    assert history["val_loss"][0] == pytest.approx(model.evaluate(X, Y, sample_weight=weight)[0], rel=1e-6)


@pytest.mark.parametrize(("frequency", "epochs"), [(1, [1, 2, 3, 4]), (2, [2, 4]), ([1, 4], [1, 4]), (9, [])])
def test_validation_frequency(frequency, epochs):
    counted = []
    spy = tc.callbacks.LambdaCallback(on_test_end=lambda logs: counted.append(True))
    history = make_model().fit(
        X, Y, epochs=4, validation_data=(X, Y), validation_freq=frequency, callbacks=[spy], verbose=0
    )
    assert len(counted) == len(epochs) == len(history.history.get("val_loss", []))


@pytest.mark.parametrize(
    ("n", "fraction", "kept"), [(10, 0.9, 1), (10, 0.1, 9), (3, 0.34, 1), (7, 0.5, 3), (100, 0.29, 71)]
)
def test_validation_split_sizes(n, fraction, kept):
    from tinyconv.models.feed import split_validation

    (train, *_), (held_out, *_) = split_validation((np.arange(n), None, None), fraction)
    assert train.tolist() == list(range(kept))
    assert held_out.tolist() == list(range(kept, n))


# numerics 12: samples, batch size, batches per epoch, size of the last batch
@pytest.mark.parametrize(
    ("samples", "size", "count", "last"),
    [
        (2250, 32, 71, 10), (50000, 32, 1563, 16), (10000, 32, 313, 16), (52500, 128, 411, 20), (17500, 128, 137, 92),
        (50000, 64, 782, 16), (10000, 64, 157, 16), (1509, 32, 48, 5), (503, 32, 16, 23), (10532, 64, 165, 36),
        (2633, 64, 42, 9), (2000, 16, 125, 16),
    ],
)  # fmt: skip
def test_batches_per_epoch(samples, size, count, last):
    from tinyconv.models.feed import ArrayFeed

    feed = ArrayFeed((np.arange(samples), None, None), size, shuffle=True)
    found = [x for x, _, _ in feed.batches()]
    assert feed.steps == len(found) == count
    assert len(found[-1]) == last
    assert sorted(np.concatenate(found)) == list(range(samples))


def test_inputs_are_not_changed_and_may_be_read_only():
    x, y = X.copy(), Y.copy()
    x.setflags(write=False), y.setflags(write=False)
    model = make_model()
    model.fit(x, y, validation_split=0.2, verbose=0)
    out = model.predict_on_batch(x)
    out[:] = 0
    np.testing.assert_array_equal(x, X)


def test_predictions_do_not_share_memory_with_the_input():
    model = tc.Sequential([tc.layers.Flatten(input_shape=(3,))])
    for out in (model.predict(X), model.predict_on_batch(X)):
        assert not np.shares_memory(out, X)


def two_by_two():
    a, b = tc.Input((3,), name="a"), tc.Input((2,), name="b")
    both = tc.layers.Concatenate()([a, b])
    outputs = [tc.layers.Dense(1, name="p")(both), tc.layers.Dense(2, name="q")(both)]
    model = tc.Model([a, b], outputs)
    model.compile("sgd", {"p": "mse", "q": "mae"}, metrics={"q": ["mse"]}, loss_weights={"p": 0.5})
    return model


B, P, Q = np.ones((20, 2)), np.zeros((20, 1)), np.ones((20, 2))


@pytest.mark.parametrize("x", [[X, B], (X, B), {"a": X, "b": B}, {"b": B, "a": X}])
@pytest.mark.parametrize("y", [[P, Q], {"q": Q, "p": P}])
def test_several_inputs_and_outputs(x, y):
    model = two_by_two()
    w = dict(zip("kb", model.get_layer("p").get_weights(), strict=True))
    v = dict(zip("kb", model.get_layer("q").get_weights(), strict=True))
    joined = np.concatenate([X, B], axis=1)
    p, q = joined @ w["k"] + w["b"], joined @ v["k"] + v["b"]
    found = model.evaluate(x, y, batch_size=6, return_dict=True)
    parts = {"p_loss": (p**2).mean(), "q_loss": abs(q - 1).mean(), "q_mse": ((q - 1) ** 2).mean()}
    assert found == pytest.approx({"loss": 0.5 * parts["p_loss"] + parts["q_loss"], **parts}, rel=1e-5)
    for given, wanted in zip(model.predict(x), (p, q), strict=True):
        np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-6)
    assert set(model.fit(x, y, verbose=0, validation_split=0.25).history) >= {"loss", "val_q_mse"}


def test_one_metric_object_for_two_outputs_keeps_them_apart():
    model = two_by_two()
    model.compile("sgd", "mse", metrics=[tc.metrics.MeanAbsoluteError(name="gap")])
    found = model.evaluate([X, B], [P, Q], return_dict=True)
    outputs = model.predict([X, B])
    assert found["p_gap"] == pytest.approx(abs(outputs[0]).mean(), rel=1e-5)
    assert found["q_gap"] == pytest.approx(abs(outputs[1] - 1).mean(), rel=1e-5)


def test_a_single_input_with_a_name():
    x = tc.Input((3,), name="features")
    model = tc.Model(input=x, output=tc.layers.Dense(2)(x))  # Keras 1 spelling
    np.testing.assert_array_equal(model.predict({"features": X}), model.predict(X))
    np.testing.assert_array_equal(model.predict([X]), model.predict(X))


def test_a_subclass_trains_from_what_call_makes():
    class Net(tc.Model):
        def __init__(self):
            super().__init__()
            self.norm, self.dense = tc.layers.BatchNormalization(), tc.layers.Dense(1)

        def call(self, inputs, training):
            return self.dense(self.norm(inputs, training=training))

    model = Net()
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=20, verbose=0)
    expected = 0.01 * X.mean(axis=0)  # one update of the moving mean: making the weights was not one
    np.testing.assert_allclose(model.norm.moving_mean.numpy(), expected, rtol=1e-4, atol=1e-7)


def test_train_step_can_be_replaced():
    class Twice(tc.Sequential):
        def train_step(self, data):
            super().train_step(data)
            return {**super().train_step(data), "extra": 1.0}

    model = Twice([tc.layers.Dense(1, input_shape=(3,))])
    model.compile("sgd", "mse")
    assert model.fit(X, Y, batch_size=10, verbose=0).history["extra"] == [1.0]
    assert model.optimizer.iterations == 4
