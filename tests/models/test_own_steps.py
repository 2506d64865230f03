"""What Keras's guides on training do: a train_step of one's own, metrics as attributes, losses added in layers."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import layers, metrics

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)).astype("float32"), RNG.normal(size=(40, 1)).astype("float32")


def functional(cls=tc.Model):
    x = tc.Input((3,))
    return cls(x, layers.Dense(1)(x))


class Guide(tc.models.Functional):
    """The train_step that Keras's guide "Customizing what happens in fit()" shows first."""

    def train_step(self, data):
        x, y = data
        y_pred = self(x, training=True)
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        gradients = tc.grad(loss, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


def test_the_step_of_the_guide_gives_the_history_of_fit():
    model, guide = functional(), functional(Guide)
    guide.set_weights(model.get_weights())
    for one in (model, guide):
        one.compile(tc.optimizers.SGD(0.1), "mse", metrics=["mae", "mape"])
        one.fit(X, Y, batch_size=10, epochs=3, shuffle=False, verbose=0)
    assert set(guide.history.history) == set(model.history.history) == {"loss", "mae", "mape"}
    for name, values in model.history.history.items():
        np.testing.assert_allclose(guide.history.history[name], values, rtol=1e-5)
    np.testing.assert_allclose(guide.get_weights()[0], model.get_weights()[0], rtol=1e-5)
    results = guide.train_on_batch(X[:5], Y[:5], return_dict=True)
    assert set(results) == {"loss", "mae", "mape"}


class OwnMetrics(tc.Model):
    """The guide's second model: nothing but an optimizer is compiled."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)
        self.loss_tracker = metrics.Mean(name="loss")
        self.errors = [metrics.MeanAbsoluteError(name="mae")]

    def call(self, x):
        return self.dense(x)

    def train_step(self, data):
        x, y = data
        y_pred = self(x, training=True)
        loss = tc.ops.mean((y - y_pred) ** 2)
        self.optimizer.apply(tc.grad(loss, self.trainable_weights), self.trainable_weights)
        self.loss_tracker.update_state(loss, sample_weight=len(x))
        self.errors[0].update_state(y, y_pred)
        return {"loss": self.loss_tracker.result(), "mae": self.errors[0].result()}

    def test_step(self, data):
        x, y = data
        self.errors[0].update_state(y, self(x, training=False))
        return {"mae": self.errors[0].result()}

    @property
    def metrics(self):
        return [self.loss_tracker, *self.errors]


def test_metrics_of_a_model_start_anew_in_every_epoch():
    model = OwnMetrics()
    model.compile(optimizer="sgd")
    starts = []
    spy = tc.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: starts.append((logs["mae"], model.errors[0].count))
    )
    history = model.fit(X, Y, batch_size=10, epochs=2, validation_data=(X, Y), callbacks=[spy], verbose=0).history
    assert set(history) == {"loss", "mae", "val_mae"}
    assert [count for _, count in starts] == [10, 20, 30, 40] * 2
    expected = np.abs(model.predict(X) - Y).mean()
    assert history["val_mae"][-1] == pytest.approx(expected, rel=1e-6)
    assert model.evaluate(X, Y) == pytest.approx(expected, rel=1e-6)


class Watching(layers.Layer):
    """A layer that measures what passes through it, and adds a loss."""

    def __init__(self, **options):
        super().__init__(**options)
        self.size = metrics.Mean(name="size")
        self.more = {"largest": [metrics.Sum(name="calls")]}

    def call(self, x):
        self.size.update_state(tc.ops.mean(abs(x)))
        self.more["largest"][0].update_state(1.0)
        self.add_loss(0.1 * tc.ops.mean(x**2))
        return x


def watching_model():
    x = tc.Input((3,))
    inner = tc.Sequential([layers.Dense(2), Watching()])
    return tc.Model(x, layers.Dense(1)(inner(x)))


def test_metrics_of_layers_are_reported_and_reset():
    model = watching_model()
    model.compile(tc.optimizers.SGD(0.0), "mse", metrics=["mae"])
    assert [m.name for m in model.metrics] == ["loss", "compile_metrics", "size", "calls"]
    history = model.fit(X, Y, batch_size=20, epochs=2, validation_data=(X, Y), verbose=0).history
    assert list(history) == ["loss", "mae", "size", "calls", "val_loss", "val_mae", "val_size", "val_calls"]
    assert history["calls"] == [2.0, 2.0]
    hidden = model.layers[1].layers[0](X).numpy()
    assert history["size"][-1] == pytest.approx(np.abs(hidden).mean(), rel=1e-5)
    loss = np.mean((model.predict(X) - Y) ** 2) + 0.1 * np.mean(hidden**2)
    assert history["loss"][-1] == pytest.approx(loss, rel=1e-5)
    results = model.evaluate(X, Y, return_dict=True)
    assert list(results) == ["loss", "mae", "size", "calls"] == model.metrics_names


def test_metrics_of_an_inner_model_that_was_compiled_itself_are_its_own():
    inner = watching_model()
    inner.compile("sgd", "mse", metrics=["mae"])
    x = tc.Input((3,))
    model = tc.Model(x, inner(x))
    model.compile("sgd", "mse")
    assert [m.name for m in model.metrics] == ["loss", "compile_metrics", "size", "calls"]
    results = model.evaluate(X, Y, return_dict=True)
    assert list(results) == ["loss", "size", "calls"]
    assert results["loss"] == pytest.approx(inner.evaluate(X, Y)[0], rel=1e-6)


def test_a_metric_with_several_results():
    class Extremes(metrics.Metric):
        def reset_state(self):
            self.low, self.high = np.inf, -np.inf

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.low, self.high = min(self.low, np.min(y_pred)), max(self.high, np.max(y_pred))

        def result(self):
            return {"low": self.low, "high": self.high}

    model = functional()
    model.compile("sgd", "mse", metrics=[Extremes()])
    results = model.evaluate(X, Y, batch_size=7, return_dict=True)
    predictions = model.predict(X)
    assert results["low"] == pytest.approx(predictions.min())
    assert results["high"] == pytest.approx(predictions.max())


def test_activity_regularizer_of_any_layer():
    layer = layers.Flatten(activity_regularizer="l2")
    layer(np.full((4, 2, 2), 3.0))
    assert layer.losses[0].item() == pytest.approx(0.01 * 16 * 9 / 4)
    again = layers.Flatten.from_config(layer.get_config())
    again(np.full((4, 2, 2), 3.0))
    assert again.losses[0].item() == layer.losses[0].item()


def test_two_metrics_of_one_kind_are_both_reported():
    model = tc.Sequential([layers.Dense(1, "sigmoid", input_shape=(3,))])
    model.set_weights([np.array([[1.0], [-1.0], [0.5]]), np.zeros(1)])
    labels = (Y > 0).astype("float32")
    both = [metrics.Precision(0.2), metrics.Precision(0.8)]
    model.compile("sgd", "binary_crossentropy", metrics=both, weighted_metrics=[metrics.Recall(), metrics.Recall(0.9)])
    found = model.evaluate(X, labels, return_dict=True)
    assert list(found) == ["loss", "precision", "precision_1", "recall", "recall_1"]
    p = model.predict(X)
    for name, threshold in (("precision", 0.2), ("precision_1", 0.8)):
        assert found[name] == pytest.approx(labels[p > threshold].mean())


def test_default_names_of_metrics_are_those_of_keras():
    expected = {  # Keras 3.15.1
        "TopKCategoricalAccuracy": "top_k_categorical_accuracy", "KLDivergence": "kl_divergence",
        "SparseTopKCategoricalAccuracy": "sparse_top_k_categorical_accuracy", "LogCoshError": "logcosh",
        "F1Score": "f1_score", "FBetaScore": "fbeta_score", "R2Score": "r2_score", "AUC": "auc", "Mean": "mean",
        "MeanSquaredError": "mean_squared_error", "RootMeanSquaredError": "root_mean_squared_error",
        "TruePositives": "true_positives", "SquaredHinge": "squared_hinge",
    }  # fmt: skip
    assert {name: getattr(metrics, name)().name for name in expected} == expected


@pytest.mark.parametrize("wrong", [{"loss": "nonsense"}, {"optimizer": "nonsense"}, {"jit_compile": "always"}])
def test_what_cannot_be_compiled_leaves_the_model_as_it_was(wrong):
    model = tc.Sequential([tc.Input((3,)), tc.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    before = model.optimizer, model.objective, model.jit_compile
    with pytest.raises(ValueError, match="nonsense|always"):
        model.compile(**{"optimizer": "adam", "loss": "mae", **wrong})
    assert (model.optimizer, model.objective, model.jit_compile) == before


def two_outputs():
    x = tc.Input((3,))
    return tc.Model(x, [layers.Dense(2, name="a")(x), layers.Dense(1, name="b")(x)])


@pytest.mark.parametrize(
    ("given", "reported"),
    [
        (["accuracy", "mae"], ["a_accuracy", "b_mae"]),  # one for each, as in Keras 3
        ([["accuracy", "mae"], None], ["a_accuracy", "a_mae"]),
        (["mae"], ["a_mae", "b_mae"]),  # of another length: for every output, as in Keras 2
        ({"b": "mae"}, ["b_mae"]),
    ],
)
def test_metrics_of_several_outputs(given, reported):
    model = two_outputs()
    model.compile("sgd", "mse", metrics=given)
    x = np.ones((4, 3))
    found = model.evaluate(x, [np.ones((4, 2)), np.ones((4, 1))], return_dict=True)
    assert list(found) == ["loss", "a_loss", "b_loss", *reported]


def test_a_list_of_lists_for_the_only_output():
    model = tc.Sequential([tc.Input((3,)), layers.Dense(1)])
    model.compile("sgd", ["mse"], metrics=[["mae", "mse"]])
    assert list(model.evaluate(np.ones((4, 3)), np.ones((4, 1)), return_dict=True)) == ["loss", "mae", "mse"]


class ByTheBook(tc.Model):
    """The step of Keras's guide, ``compute_loss`` with names only."""

    def train_step(self, data):
        x, y = data
        y_pred = self(x, training=True)
        loss = self.compute_loss(y=y, y_pred=y_pred, training=True)
        variables = self.trainable_variables
        self.optimizer.apply(tc.grad(loss, variables), variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


def test_the_step_of_keras_guide_trains_as_fit_does():
    x, y = np.random.default_rng(0).normal(size=(2, 12, 3))
    histories = []
    for cls in (tc.Model, ByTheBook):
        tc.set_seed(1)
        inputs = tc.Input((3,))
        model = cls(inputs, layers.Dense(3, kernel_regularizer="l2")(inputs))
        model.compile(tc.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
        histories.append((model.fit(x, y, batch_size=4, epochs=3, verbose=0).history, model.get_weights()))
    assert list(histories[0][0]) == list(histories[1][0]) == ["loss", "mae"]
    for key, values in histories[0][0].items():
        np.testing.assert_allclose(histories[1][0][key], values, rtol=1e-5)
    np.testing.assert_allclose(histories[1][1][0], histories[0][1][0], rtol=1e-5, atol=1e-6)
