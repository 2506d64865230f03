"""``fit`` against the same training written out in float64 NumPy: forward, gradients, updates, shuffling, averages."""

import numpy as np
import pytest

import tinyconv as tc

N, FEATURES, HIDDEN, CLASSES = 23, 4, 6, 3


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, FEATURES)), np.eye(CLASSES)[rng.integers(0, CLASSES, N)]


def make_model(optimizer, loss="categorical_crossentropy"):
    layers = [
        tc.layers.Dense(HIDDEN, activation="relu", dtype="float64", input_shape=(FEATURES,)),
        tc.layers.Dense(CLASSES, activation="softmax", dtype="float64"),
    ]
    model = tc.Sequential(layers)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def forward(weights, x):
    w1, b1, w2, b2 = weights
    hidden = np.maximum(x @ w1 + b1, 0)
    scores = hidden @ w2 + b2
    exp = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, exp / exp.sum(axis=1, keepdims=True)


def sample_losses(p, y):
    return -np.log((p * y).sum(axis=1))


def gradients(weights, x, y, sample_weight):
    """Of the mean over the batch of the weighted cross-entropies."""
    hidden, p = forward(weights, x)
    d_scores = (p - y) * sample_weight[:, None] / len(x)
    d_hidden = (d_scores @ weights[2].T) * (hidden > 0)
    return [x.T @ d_hidden, d_hidden.sum(axis=0), hidden.T @ d_scores, d_scores.sum(axis=0)]


def fit_by_hand(weights, x, y, batch_size, epochs, rate, momentum, decay, order, sample_weight=None):
    """Weights after every step, and the loss and accuracy of every epoch, as numpy computes them."""
    sample_weight = np.ones(len(x)) if sample_weight is None else sample_weight
    weights = [w.copy() for w in weights]
    velocity = [np.zeros_like(w) for w in weights]
    steps, losses, accuracies = [], [], []
    for _ in range(epochs):
        chosen_of_epoch = order()
        loss = right = 0.0
        for start in range(0, len(x), batch_size):
            chosen = chosen_of_epoch[start : start + batch_size]
            _, p = forward(weights, x[chosen])
            loss += (sample_losses(p, y[chosen]) * sample_weight[chosen]).sum()
            right += (p.argmax(axis=1) == y[chosen].argmax(axis=1)).sum()
            grads = gradients(weights, x[chosen], y[chosen], sample_weight[chosen])
            step_rate = rate / (1 + decay * len(steps))
            velocity = [momentum * v - step_rate * g for v, g in zip(velocity, grads, strict=True)]
            weights = [w + v for w, v in zip(weights, velocity, strict=True)]
            steps.append([w.copy() for w in weights])
        losses.append(loss / len(x))
        accuracies.append(right / len(x))
    return steps, losses, accuracies


class Recorder(tc.callbacks.Callback):
    def __init__(self):
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.get_weights())


def shuffling_of_seed(seed):
    """The documented rule: the model's stream is seeded by one 64-bit number from the global generator."""
    stream = np.random.default_rng(int(np.random.default_rng(seed).integers(0, 2**64, dtype=np.uint64)))
    return lambda: stream.permutation(N)


def assert_same_steps(recorded, expected):
    assert len(recorded) == len(expected)
    for found, wanted in zip(recorded, expected, strict=True):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_every_step_with_momentum_decay_and_shuffling(data):
    x, y = data
    model = make_model(tc.optimizers.SGD(0.1, momentum=0.9, decay=0.01))
    start, recorder = model.get_weights(), Recorder()
    tc.set_seed(11)
    history = model.fit(x, y, batch_size=5, epochs=3, callbacks=[recorder], verbose=0).history
    steps, losses, accuracies = fit_by_hand(start, x, y, 5, 3, 0.1, 0.9, 0.01, shuffling_of_seed(11))
    assert len(recorder.weights) == 3 * 5  # the last batch of 3 is kept
    assert_same_steps(recorder.weights, steps)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-9)
    np.testing.assert_allclose(history["acc"], accuracies, rtol=1e-12)


def test_without_shuffling_the_order_is_that_of_the_arrays(data):
    x, y = data
    model = make_model(tc.optimizers.SGD(0.1))
    start, recorder = model.get_weights(), Recorder()
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, callbacks=[recorder], verbose=0)
    assert_same_steps(recorder.weights, fit_by_hand(start, x, y, 8, 2, 0.1, 0, 0, lambda: np.arange(N))[0])


@pytest.mark.parametrize("kind", ["dict", "list", "array", "sparse labels"])
def test_class_weights(data, kind):
    x, y = data
    table = [0.5, 2.5677506775, 1.0]
    given = {"dict": {0: 0.5, 1: 2.5677506775}, "list": table, "array": np.array(table)}.get(kind, table)
    sparse = kind == "sparse labels"
    model = make_model(tc.optimizers.SGD(0.1), ("sparse_" if sparse else "") + "categorical_crossentropy")
    start, recorder = model.get_weights(), Recorder()
    labels = y.argmax(axis=1) if sparse else y
    history = model.fit(
        x, labels, 8, epochs=2, shuffle=False, class_weight=given, callbacks=[recorder], verbose=0
    ).history
    weights = np.array(table, "float32")[y.argmax(axis=1)].astype("float64")
    steps, losses, accuracies = fit_by_hand(start, x, y, 8, 2, 0.1, 0, 0, lambda: np.arange(N), weights)
    assert_same_steps(recorder.weights, steps)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-6)
    np.testing.assert_allclose(history["accuracy"], accuracies)  # metrics do not use the weights


def test_sample_weights_are_shuffled_with_the_samples_and_multiply_class_weights(data):
    x, y = data
    sample_weight = np.random.default_rng(1).uniform(0, 2, N)
    model = make_model(tc.optimizers.SGD(0.1))
    start, recorder = model.get_weights(), Recorder()
    tc.set_seed(4)
    model.fit(
        x, y, 5, epochs=2, sample_weight=sample_weight[:, None], class_weight={2: 3.0}, callbacks=[recorder], verbose=0
    )
    both = sample_weight * np.where(y.argmax(axis=1) == 2, 3.0, 1.0)
    assert_same_steps(
        recorder.weights, fit_by_hand(start, x, y, 5, 2, 0.1, 0, 0, shuffling_of_seed(4), both)[0]
    )


def test_validation_split_takes_the_end_and_is_evaluated_after_the_epoch(data):
    x, y = data
    model = make_model(tc.optimizers.SGD(0.1))
    start = model.get_weights()
    history = model.fit(x, y, 8, epochs=2, shuffle=False, validation_split=0.3, verbose=0).history
    cut = 16  # int(23 * 0.7)
    steps, losses, _ = fit_by_hand(start, x[:cut], y[:cut], 8, 2, 0.1, 0, 0, lambda: np.arange(cut))
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-9)
    after_epochs = [forward(steps[1], x[cut:])[1], forward(steps[3], x[cut:])[1]]
    wanted = [sample_losses(p, y[cut:]).mean() for p in after_epochs]
    np.testing.assert_allclose(history["val_loss"], wanted, rtol=1e-9)
    right = [(p.argmax(1) == y[cut:].argmax(1)).mean() for p in after_epochs]
    np.testing.assert_allclose(history["val_acc"], right)


def test_evaluate_is_exact_over_uneven_batches(data):
    x, y = data
    model = make_model("sgd")
    p = forward(model.get_weights(), x)[1]
    weight = np.linspace(0, 2, N)
    np.testing.assert_allclose(
        model.evaluate(x, y, batch_size=9), [sample_losses(p, y).mean(), (p.argmax(1) == y.argmax(1)).mean()]
    )
    found = model.evaluate(x, y, batch_size=9, sample_weight=weight, return_dict=True)
    assert found["loss"] == pytest.approx((sample_losses(p, y) * weight).mean())
    assert model.metrics_names == ["loss", "accuracy"] == list(found)
    np.testing.assert_allclose(model.predict(x, batch_size=9), p, rtol=1e-9)
    assert model.predict(x).dtype == np.float64


def test_regularization_is_part_of_the_loss_and_of_the_gradient(data):
    x, _ = data
    layer = tc.layers.Dense(1, kernel_regularizer=tc.regularizers.l2(0.1), dtype="float64", input_shape=(FEATURES,))
    model = tc.Sequential([layer])
    model.compile(tc.optimizers.SGD(0.05), "mse")
    w, b = model.get_weights()
    y = x.sum(axis=1, keepdims=True)
    error = x @ w + b - y
    loss = model.train_on_batch(x, y)
    assert loss == pytest.approx((error**2).mean() + 0.1 * (w**2).sum())
    np.testing.assert_allclose(model.get_weights()[0], w - 0.05 * (2 * x.T @ error / N + 0.2 * w))
    np.testing.assert_allclose(model.get_weights()[1], b - 0.05 * 2 * error.mean(axis=0))


def test_single_batches(data):
    x, y = data
    model = make_model(tc.optimizers.SGD(0.1))
    start = model.get_weights()
    p = forward(start, x)[1]
    expected = [sample_losses(p, y).mean(), (p.argmax(1) == y.argmax(1)).mean()]
    np.testing.assert_allclose(model.test_on_batch(x, y), expected)
    np.testing.assert_allclose(model.predict_on_batch(x), p)
    np.testing.assert_allclose(model.train_on_batch(x, y), expected)
    assert_same_steps([model.get_weights()], fit_by_hand(start, x, y, N, 1, 0.1, 0, 0, lambda: np.arange(N))[0])
    assert set(model.train_on_batch(x, y, class_weight={0: 2.0}, return_dict=True)) == {"loss", "accuracy"}


def test_weighted_metrics_use_the_weights_and_metrics_do_not(data):
    x, y = data
    model = make_model("sgd")
    model.compile("sgd", "categorical_crossentropy", metrics=["acc"], weighted_metrics=["acc"])
    right = forward(model.get_weights(), x)[1].argmax(1) == y.argmax(1)
    weight = np.linspace(0, 2, N)
    found = model.evaluate(x, y, batch_size=7, sample_weight=weight, return_dict=True)
    assert found["acc"] == pytest.approx(right.mean())
    assert found["weighted_acc"] == pytest.approx((right * weight).sum() / weight.sum())
