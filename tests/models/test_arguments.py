"""Layers whose ``call`` takes several tensors, and options, in functional models."""

import json

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import layers


@tc.registry.register("tests")
class Attend(layers.Layer):
    """Weighted mean of values: several tensors, a list of tensors among them, and a setting per call."""

    def __init__(self, units=3, **options):
        super().__init__(**options)
        self.units = units

    def build(self, query_shape, key_shape, values_shape=None):
        self.built_for = query_shape, key_shape, values_shape
        self.query_kernel = self.add_weight((query_shape[-1], self.units), name="query_kernel")
        self.key_kernel = self.add_weight((key_shape[-1], self.units), name="key_kernel")

    def call(self, query, key, values=None, scale=1.0, training=False):
        scores = tc.ops.matmul(query @ self.query_kernel, tc.ops.swapaxes(key @ self.key_kernel, -1, -2)) * scale
        values = [key] if values is None else values
        return [tc.ops.matmul(tc.ops.softmax(scores), v) for v in values] if len(values) > 1 else scores @ values[0]


@tc.registry.register("tests")
class Gate(layers.Layer):
    def call(self, x, gate, training=None):
        self.seen = training
        return x * gate

    def compute_output_shape(self, input_shape):
        return input_shape


def inputs():
    return tc.Input((4, 5), name="q"), tc.Input((6, 2), name="k"), tc.Input((6, 7), name="v")


def data(n=3):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, *shape)).astype("float32") for shape in ((4, 5), (6, 2), (6, 7))]


def model_of(q, k, v, layer=None):
    layer = layer or Attend(name="attend")
    first, second = layer(q, k, values=[k, v], scale=0.5)
    return tc.Model([q, k, v], [first, layers.Dense(1, name="top")(second)])


def check_equal(model, other):
    other.set_weights(model.get_weights())
    for y, z in zip(model(data()), other(data()), strict=True):
        np.testing.assert_array_equal(y, z)


def test_shapes_and_values():
    q, k, v = data()
    layer = Attend()
    first, second = layer(*inputs()[:2], values=[*inputs()[1:]], scale=0.5)
    assert (first.shape, second.shape) == ((None, 4, 2), (None, 4, 7))
    assert layer.built_for == ((None, 4, 5), (None, 6, 2), [(None, 6, 2), (None, 6, 7)])
    a, b = (w.astype("float64") for w in layer.get_weights())
    scores = np.exp(0.5 * (q @ a) @ np.swapaxes(k @ b, 1, 2))
    expected = scores / scores.sum(-1, keepdims=True) @ v
    np.testing.assert_allclose(layer(q, k, values=[k, v], scale=0.5)[1], expected, rtol=1e-4, atol=1e-5)


def test_models_compute_what_layers_do():
    layer = Attend()
    model = model_of(*inputs(), layer)
    np.testing.assert_array_equal(model(data())[0], layer(*data()[:2], values=data()[1:], scale=0.5)[0])
    assert model.output_shape == [(None, 4, 2), (None, 4, 1)]
    assert model.compute_output_shape([(2, 4, 5), (2, 6, 2), (2, 6, 7)]) == [(2, 4, 2), (2, 4, 1)]
    assert [t.name for t in layer.input[:2]] == ["q", "k"]
    assert len(layer.input) == 4  # k twice: as the key and among the values


def test_configuration_file_and_clone(tmp_path):
    model = model_of(*inputs())
    check_equal(model, tc.Model.from_config(json.loads(json.dumps(model.get_config()))))
    check_equal(model, tc.models.model_from_json(model.to_json()))
    check_equal(model, tc.models.clone_model(model))
    model.save(tmp_path / "model.tinyconv")
    for y, z in zip(tc.load_model(tmp_path / "model.tinyconv")(data()), model(data()), strict=True):
        np.testing.assert_array_equal(y, z)


def test_training():
    model = model_of(*inputs())
    model.compile("sgd", "mse")
    y = [np.zeros((3, 4, 2)), np.zeros((3, 4, 1))]
    losses = model.fit(data(), y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    replayed = model_of(*inputs())
    replayed.compile("sgd", "mse", jit_compile=True)
    replayed.set_weights(model.get_weights())
    again = model_of(*inputs())
    again.compile("sgd", "mse", run_eagerly=True)
    again.set_weights(model.get_weights())
    histories = [m.fit(data(), y, epochs=5, verbose=0).history for m in (replayed, again)]
    assert histories[0] == histories[1]


def test_training_is_an_option_of_a_call():
    x, g = tc.Input((2,)), tc.Input((2,))
    gate = Gate()
    model = tc.Model([x, g], gate(x, gate=g, training=True))
    assert model([np.full((1, 2), 3.0), np.full((1, 2), 2.0)]).tolist() == [[6, 6]]
    assert gate.seen is True
    gate(np.ones((1, 2)), np.ones((1, 2)))
    assert gate.seen is False


def test_dropout_that_is_always_on():
    x = tc.Input((100,))
    model = tc.Model(x, layers.Dropout(0.5)(x, training=True))
    y = model(np.ones((1, 100)), training=False).numpy()
    assert 0 < (y == 0).sum() < 100
    again = tc.models.model_from_json(model.to_json())
    assert (again(np.ones((1, 100))).numpy() == 0).any()


def test_all_arguments_by_name():
    gate = Gate()
    assert gate(x=np.full((1, 2), 3.0), gate=np.ones((1, 2))).tolist() == [[3, 3]]
    assert gate(x=tc.Input((2,)), gate=tc.Input((2,))).shape == (None, 2)
    with pytest.raises(TypeError, match="Gate 'gate.*' expected x. Received: \\['gate'\\]"):
        gate(gate=np.ones((1, 2)))


def test_arrays_become_tensors_and_floats_the_dtype_of_the_layer():
    class Look(layers.Layer):
        def call(self, x, other, index=None):
            self.seen = [type(t) for t in (other, index)], [t.dtype.name for t in (other, index)]
            return x

    look = Look()
    look(np.ones((1, 2)), np.ones((1, 2)), index=np.ones((1, 2), int))
    assert look.seen == ([tc.Tensor, tc.Tensor], ["float32", "int64"])


def test_symbolic_and_other_tensors_do_not_mix():
    with pytest.raises(TypeError, match="expected all inputs to be symbolic"):
        Gate()(tc.Input((2,)), np.ones((1, 2)))


def test_summary_names_all_sources():
    lines: list[str] = []
    model_of(*inputs()).summary(print_fn=lines.append)
    assert any("q[0][0], k[0][0], k[0][0], v[0][0]" in line for line in lines)


@tc.registry.register("tests")
class Sum(tc.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.left, self.right = layers.Dense(2), layers.Dense(2)

    def call(self, a, b, c=None):
        return self.left(a) + self.right(b) + (0 if c is None else c["x"])


@pytest.mark.parametrize("given", ["positions", "names", "all names"])
def test_a_model_of_ones_own_with_several_tensors(given, tmp_path):
    """It builds itself in its first call, and is saved and loaded."""
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(4, 3)), rng.normal(size=(4, 5)), {"x": rng.normal(size=(4, 2))}
    args, options = {"positions": ((a, b, c), {}), "names": ((a,), {"c": c, "b": b})}.get(
        given, ((), {"b": b, "a": a, "c": c})
    )
    model = Sum()
    found = model(*args, **options).numpy()
    (left, p), (right, q) = model.left.get_weights(), model.right.get_weights()
    np.testing.assert_allclose(found, a @ left + p + b @ right + q + c["x"], rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "m.tinyconv")
    again = tc.load_model(tmp_path / "m.tinyconv")
    np.testing.assert_array_equal(again(*args, **options).numpy(), found)


def test_every_output_has_its_own_copy_of_a_metric():
    """Also of one around a function that no registry knows."""
    metric = tc.metrics.MeanMetricWrapper(lambda y_true, y_pred: np.abs(y_true - y_pred).max(axis=-1), name="worst")
    inputs = tc.layers.Input((3,))
    outputs = {name: tc.layers.Dense(2, name=name)(inputs) for name in ("a", "b")}
    model = tc.Model(inputs, outputs)
    model.compile("sgd", "mse", metrics=[metric])
    x, y = np.ones((4, 3), "float32"), {"a": np.zeros((4, 2), "float32"), "b": np.ones((4, 2), "float32")}
    results = model.evaluate(x, y, verbose=0, return_dict=True)
    predictions = model.predict(x, verbose=0)
    for name, truth in y.items():
        assert results[f"{name}_worst"] == pytest.approx(np.abs(truth - predictions[name]).max(axis=1).mean(), rel=1e-6)
