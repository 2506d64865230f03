"""Functional models: their graphs, what can be taken out of them and made again. Oracles are NumPy formulas."""

import copy
import json
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc

L = tc.layers
RNG = np.random.default_rng(0)


def relu(x):
    return np.maximum(x, 0)


def wide_and_deep():
    """Two inputs, one of which goes around the hidden layers; the main output and one from half way."""
    wide, deep = tc.Input((2,), name="wide"), tc.Input((3,), name="deep")
    first = L.Dense(4, activation="relu", name="first")(deep)
    second = L.Dense(4, activation="relu", name="second")(first)
    main = L.Dense(1, name="main")(L.Concatenate(name="both")([wide, second]))
    return tc.Model(inputs=[wide, deep], outputs=[main, L.Dense(1, name="aux")(second)], name="wide_and_deep")


def expected_of(model, wide, deep):
    weights = {w: model.get_layer(w).get_weights() for w in ("first", "second", "main", "aux")}
    hidden = deep.astype("f8")
    for name in ("first", "second"):
        hidden = relu(hidden @ weights[name][0] + weights[name][1])
    main = np.concatenate([wide, hidden], 1) @ weights["main"][0] + weights["main"][1]
    return [main, hidden @ weights["aux"][0] + weights["aux"][1]]


X = [RNG.normal(size=(6, 2)).astype("f4"), RNG.normal(size=(6, 3)).astype("f4")]


def test_wide_and_deep():
    model = wide_and_deep()
    for found, expected in zip(model.predict(X), expected_of(model, *X), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert [t.name for t in model.inputs] == ["wide", "deep"]
    assert [t.shape for t in model.output] == [(None, 1), (None, 1)]
    assert model.get_layer("second").input is model.get_layer("second")._first_use().inputs
    assert model.get_layer("both").input[0] is model.input[0]
    assert model.get_layer("wide").output is model.input[0]


def test_layers_stand_in_keras_order():
    """As Keras 3 lists the same graph: farthest from the outputs first, an input just before it is needed."""
    names = [layer.name for layer in wide_and_deep().layers]
    assert names == ["deep", "first", "wide", "second", "both", "main", "aux"]
    inner = tc.Sequential([tc.Input((4,)), L.Dense(3)], name="inner")
    a, b = tc.Input((4,), name="a"), tc.Input((6,), name="b")
    shared = L.Dense(4, name="shared")
    x = L.Add(name="add")([inner(shared(a)), inner(shared(L.Dense(4, name="proj")(b)))])
    kind = L.Dense(2, name="kind")(L.Concatenate(name="concatenate")([x, a]))
    model = tc.Model([a, b], [kind, L.Dense(1, name="size")(b)])
    names = [layer.name for layer in model.layers]
    assert names == ["b", "a", "proj", "shared", "inner", "add", "concatenate", "kind", "size"]


def test_the_first_15_of_vgg16s_layers_are_its_first_four_blocks():
    """With the input, 19 layers; freezing ``layers[:15]`` leaves the fifth block (spec: transfer learning)."""
    x = y = tc.Input((32, 32, 3))
    for block, count in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(count):
            y = L.Conv2D(2, 3, padding="same", name=f"block{block}_conv{i + 1}")(y)
        y = L.MaxPooling2D(2, name=f"block{block}_pool")(y)
    model = tc.Model(x, y)
    assert len(model.layers) == 19
    for layer in model.layers[:15]:
        layer.trainable = False
    assert {w.split("/")[0] for w in tc.saving.weight_names(model) if w.startswith("block5")} == {
        layer.name for layer in model.layers if layer.trainable and layer.weights
    }


def test_a_submodel_from_any_layer_shares_the_weights():
    model = wide_and_deep()
    features = tc.Model(model.get_layer("deep").output, model.get_layer("second").output)
    w1, b1, w2, b2 = features.get_weights()
    np.testing.assert_allclose(features.predict(X[1]), relu(relu(X[1] @ w1 + b1) @ w2 + b2), rtol=1e-5, atol=1e-6)
    both = tc.Model(model.input, [layer.output for layer in model.layers if layer.name in ("first", "main")])
    assert [p.shape for p in both.predict(X)] == [(6, 4), (6, 1)]
    model.get_layer("second").set_weights([np.zeros((4, 4)), np.ones(4)])
    np.testing.assert_array_equal(features.predict(X[1]), 1)


def test_a_submodel_of_a_sequential_and_one_from_its_middle_on():
    model = tc.Sequential([tc.Input((3,)), L.Dense(4, name="a"), L.ReLU(name="b"), L.Dense(2, name="c")])
    middle = tc.Model(model.input, model.get_layer("b").output)
    rest = tc.Model(model.get_layer("b").output, model.output)
    np.testing.assert_allclose(rest.predict(middle.predict(X[1])), model.predict(X[1]), rtol=1e-6)
    assert [layer.name for layer in rest.layers][1:] == ["c"]
    made = tc.models.model_from_json(rest.to_json())
    assert made.get_config() == rest.get_config()
    x = X[0].repeat(2, 1)
    np.testing.assert_array_equal(rest.predict({rest.layers[0].name: x}), rest.predict(x))
    x = tc.Input((3,))
    extended = tc.Model(x, L.Dense(5)(middle(x)))
    assert extended.predict(X[1]).shape == (6, 5)
    model.pop()
    assert model.output_shape == (None, 4)
    assert tc.Model(model.input, model.layers[-1].output).predict(X[1]).shape == (6, 4)


def test_a_layer_outside_of_every_graph_has_no_input():
    layer = L.Dense(2, name="alone")
    layer(np.ones((1, 3)))
    with pytest.raises(AttributeError, match="'alone' has no symbolic input"):
        layer.output  # noqa: B018
    late = tc.Sequential([L.Dense(2)], name="late")
    with pytest.raises(AttributeError, match="'late' does not know its input shape yet"):
        late.input  # noqa: B018


@tc.registry.register("graphs")
class Statistics(L.Layer):
    """Several results under names."""

    def call(self, x):
        return {"mean": x.mean(axis=1, keepdims=True), "parts": [x * 2, x * 3]}


def test_dictionaries_of_outputs_inside_a_graph(tmp_path):
    x = tc.Input((3,))
    found = Statistics()(x)
    assert {key: found[key].shape for key in ("mean",)} == {"mean": (None, 1)}
    inner_x = tc.Input((3,))
    inner = tc.Model(inner_x, {"double": inner_x_doubled(inner_x), "same": L.Activation("linear")(inner_x)})
    again = inner(found["parts"][1])
    out = L.Concatenate()([found["mean"], found["parts"][0], again["double"]])
    model = tc.Model(x, {"out": out, "m": found["mean"]})
    expected = np.concatenate([X[1].mean(1, keepdims=True), 2 * X[1], 6 * X[1]], 1)
    np.testing.assert_allclose(model.predict(X[1])["out"], expected, rtol=1e-5)
    assert model.compute_output_shape((5, 3)) == {"out": (5, 7), "m": (5, 1)}
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(tc.load_model(tmp_path / "m").predict(X[1])["out"], model.predict(X[1])["out"])
    clone = tc.models.clone_model(model)
    np.testing.assert_array_equal(clone.predict(X[1])["m"], model.predict(X[1])["m"])


def inner_x_doubled(x):
    return L.Add()([x, x])


def test_dictionary_outputs_are_trained_by_name():
    x = tc.Input((3,))
    y = L.Dense(2, name="shared")(x)
    model = tc.Model(x, {"sum": L.Dense(1, name="s")(y), "kind": L.Dense(2, activation="softmax", name="k")(y)})
    model.compile("sgd", {"sum": "mse", "kind": "sparse_categorical_crossentropy"}, {"kind": ["acc"]})
    labels = {"kind": np.arange(6) % 2, "sum": np.ones((6, 1))}
    history = model.fit(X[1], labels, epochs=30, verbose=0).history
    assert history["sum_loss"][-1] < history["sum_loss"][0]
    assert set(history) == {"loss", "sum_loss", "kind_loss", "kind_acc"}


def test_a_sequential_wants_layers_with_one_output():
    with pytest.raises(ValueError, match="one output. Received: Statistics"):
        tc.Sequential([tc.Input((3,)), Statistics()])


@given(
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    merges=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=4),
)
def test_any_graph_computes_what_its_layers_do_and_can_be_described(widths, merges):
    """Chains of dense layers of various widths, joined at random; NumPy follows along."""
    x = tc.Input((3,))
    rng = np.random.default_rng(len(widths))
    data = rng.normal(size=(4, 3))
    nodes = [(x, data)]
    for width in widths:
        layer = L.Dense(width, activation="tanh", dtype="float64")
        node, value = nodes[-1]
        out = layer(node)
        nodes.append((out, np.tanh(value @ layer.get_weights()[0] + layer.get_weights()[1])))
    for i, j in merges:
        (a, va), (b, vb) = nodes[i % len(nodes)], nodes[j % len(nodes)]
        nodes.append((L.Concatenate(dtype="float64")([a, b]), np.concatenate([va, vb], 1)))
    model = tc.Model(x, nodes[-1][0])
    # Sums of terms of size 1 may come out near 0: what is left of their rounding is an absolute error.
    np.testing.assert_allclose(model(tc.Tensor(data)).numpy(), nodes[-1][1], rtol=1e-12, atol=1e-14)
    made = tc.models.model_from_json(model.to_json())
    made.set_weights(model.get_weights())
    np.testing.assert_array_equal(made(tc.Tensor(data)).numpy(), model(tc.Tensor(data)).numpy())
    assert [type(layer) for layer in made.layers] == [type(layer) for layer in model.layers]


def test_a_graph_of_2000_layers():
    x = y = tc.Input((1,))
    for _ in range(2000):
        y = L.Activation("linear")(y)
    assert len(tc.Model(x, y).layers) == 2001


# --- copies ----------------------------------------------------------------------------------------------------


def test_clone_model_makes_new_layers_with_the_same_names():
    model = wide_and_deep()
    model.get_layer("first").trainable = False
    clone = tc.models.clone_model(model)
    assert [layer.name for layer in clone.layers] == [layer.name for layer in model.layers]
    assert not {id(w) for w in clone.weights} & {id(w) for w in model.weights}
    assert not np.array_equal(clone.get_weights()[2], model.get_weights()[2]), "fresh weights"
    assert [w.requires_grad for w in clone.weights] == [w.requires_grad for w in model.weights]
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone.predict(X)[0], model.predict(X)[0])
    assert clone.optimizer is None


def test_clone_function_may_change_or_share_layers():
    model = tc.Sequential([tc.Input((3,)), L.Dense(4, activation="relu", name="a"), L.Dense(2, name="b")])

    def linear(layer):
        if layer.name == "b":
            return layer
        return L.Dense(layer.units, name=layer.name)

    clone = tc.models.clone_model(model, clone_function=linear)
    assert clone.get_layer("b") is model.get_layer("b")
    clone.get_layer("a").set_weights(model.get_layer("a").get_weights())
    (w1, b1), (w2, b2) = model.layers[0].get_weights(), model.layers[1].get_weights()
    np.testing.assert_allclose(clone.predict(X[1]), (X[1] @ w1 + b1) @ w2 + b2, rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match="clone_function.*Dense 'a'.*Received: 3"):
        tc.models.clone_model(model, clone_function=lambda layer: 3)


def test_clone_on_other_inputs():
    inputs = [tc.Input((2,), batch_size=6, name="w"), tc.Input((3,), batch_size=6, name="d")]
    clone = tc.models.clone_model(wide_and_deep(), input_tensors=inputs)
    assert clone.inputs == inputs
    with pytest.raises(ValueError, match="has 2 inputs. Received: 1"):
        tc.models.clone_model(wide_and_deep(), input_tensors=inputs[:1])
    with pytest.raises(TypeError, match="symbolic"):
        tc.models.clone_model(wide_and_deep(), input_tensors=X)


def test_clone_of_a_subclass():
    @tc.registry.register("graphs")
    class Net(tc.Model):
        def __init__(self, units=2, **options):
            super().__init__(**options)
            self.units, self.dense = units, L.Dense(units)

        def call(self, x):
            return self.dense(x)

    model = Net(5)
    assert tc.models.clone_model(model).units == 5
    with pytest.raises(ValueError, match="a subclass of Model"):
        tc.models.clone_model(model, clone_function=lambda layer: layer)


@pytest.mark.parametrize("make", [wide_and_deep, lambda: tc.Sequential([L.Dense(2, input_shape=(3,)), L.ReLU()])])
def test_json_describes_the_architecture(make):
    model = make()
    text = model.to_json(indent=1)
    assert json.loads(text)["class_name"] in ("Functional", "Sequential")
    made = tc.models.model_from_json(text)
    assert made.get_config() == model.get_config()
    for bad in ("[1]", '{"class_name": "Dense", "config": {"units": 1}}'):
        with pytest.raises(ValueError, match="Expected"):
            tc.models.model_from_json(bad)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_by_python_are_models_of_their_own(copied):
    model = wide_and_deep()
    other = copied(model)
    np.testing.assert_array_equal(other.predict(X)[1], model.predict(X)[1])
    features = tc.Model(other.input, other.get_layer("first").output)
    other.get_layer("first").set_weights([np.zeros((3, 4)), np.ones(4)])
    np.testing.assert_array_equal(features.predict(X), 1)
    assert not np.array_equal(other.predict(X)[1], model.predict(X)[1])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_know_the_outputs_of_their_layers(copied):
    """Those of a stack, of an inner stack, and of the inputs too."""
    inner = tc.Sequential([tc.Input((2,)), L.Dense(3, name="hidden"), L.Dense(4)], name="inner")
    x = tc.Input((2,), name="x")
    model = copied(tc.Model(x, L.Dense(1)(inner(x))))
    assert model.get_layer("x").output is model.input
    assert model.get_layer("inner").output.shape == (None, 4)
    stack = model.get_layer("inner")
    hidden = stack.get_layer("hidden")
    features = tc.Model(stack.input, hidden.output)
    np.testing.assert_allclose(features.predict(X[0]), X[0] @ hidden.get_weights()[0], rtol=1e-5, atol=1e-6)
    assert [layer.input.shape for layer in stack.layers] == [(None, 2), (None, 3)]


def test_add_loss_takes_scalars_and_lists_of_them():
    class Penalised(L.Layer):
        def call(self, x):
            self.add_loss([(x * x).sum(), x.sum() * 0.5])
            return x

    layer = Penalised()
    layer(X[1])
    found = [loss.item() for loss in layer.losses]
    np.testing.assert_allclose(found, [(X[1].astype("f8") ** 2).sum(), X[1].sum() / 2], rtol=1e-5)
    with pytest.raises(ValueError, match="scalar tensor in add_loss"):
        layer.add_loss(tc.Tensor([1.0, 2.0]))


# --- graphs with a class of their own ------------------------------------------------------------------------------


@tc.registry.register("graphs")
class Counting(tc.Model):
    """Keras's way to a ``train_step`` of one's own: any graph, called with its inputs and outputs."""

    def train_step(self, data):
        return {**super().train_step(data), "steps": float(self.optimizer.iterations)}


@tc.registry.register("graphs")
class Classifier(tc.Model):
    """A graph that the constructor makes."""

    def __init__(self, units=2, **options):
        x = tc.Input((3,))
        self_made = L.Dense(units, activation="tanh", name="top")
        super().__init__(inputs=x, outputs=self_made(x), **options)
        self.units = units


@pytest.mark.parametrize("spelling", ["positions", "names", "keras 1"])
def test_a_subclass_is_called_with_inputs_and_outputs(spelling):
    x = tc.Input((3,))
    y = L.Dense(1, name="top")(x)
    model = {
        "positions": lambda: Counting(x, y, name="m"),
        "names": lambda: Counting(inputs=x, outputs=y, name="m"),
        "keras 1": lambda: Counting(input=x, output=y, name="m"),
    }[spelling]()
    assert isinstance(model, Counting)
    assert isinstance(model, tc.models.Functional)
    assert (model.name, type(model).__name__, repr(model)) == ("m", "Counting", "Counting(2 layers, name='m')")
    model.compile("sgd", "mse")
    history = model.fit(X[1], X[1][:, :1], batch_size=2, epochs=2, verbose=0).history
    assert history["steps"] == [3, 6]
    kernel, bias = model.get_layer("top").get_weights()
    np.testing.assert_allclose(model.predict(X[1]), X[1] @ kernel + bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", [Counting, Classifier])
def test_a_graph_of_a_class_is_saved_and_copied_with_its_class(cls, tmp_path):
    x = tc.Input((3,))
    model = Classifier(4, name="m") if cls is Classifier else Counting(x, L.Dense(4, activation="tanh", name="top")(x))
    model.compile("adam", "mse")
    model.fit(X[1], np.ones((6, 4)), verbose=0)
    model.save(tmp_path / "m.tinyconv")
    for made in (tc.load_model(tmp_path / "m.tinyconv"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(made, cls)
        assert type(made) is type(model)
        assert getattr(made, "units", 4) == 4
        np.testing.assert_array_equal(made.predict(X[1]), model.predict(X[1]))
        history = made.fit(X[1], np.ones((6, 4)), verbose=0).history
        assert history.get("steps", [2]) == [2]
    clone = tc.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone.predict(X[1]), model.predict(X[1]))


def test_the_class_itself_stays_as_it_was():
    """Another instance may have layers as attributes and a ``call`` of its own."""

    class Either(tc.Model):
        def __init__(self, *graph):
            super().__init__(*graph)
            self.more = L.Dense(1)

        def call(self, x):
            return self.more(x) if not hasattr(self, "_calls") else self.more(super().call(x))

    x = tc.Input((3,))
    graph, plain = Either(x, L.Dense(2)(x)), Either()
    assert (graph(X[1]).shape, plain(X[1]).shape) == ((6, 1), (6, 1))
    assert not isinstance(plain, tc.models.Functional)
    assert [w.shape for w in graph.weights] == [(3, 2), (2,), (2, 1), (1,)]
    with pytest.raises(TypeError, match="inputs must be symbolic tensors.*Received: 3"):
        Either(3)


def test_a_graph_from_another_process_is_built_upon():
    """What is new there comes after what was unpickled, however many calls the other process had made."""
    program = """
        import pickle, sys, numpy as np, tinyconv as tc
        model = pickle.load(sys.stdin.buffer)
        made = tc.Model(model.input, tc.layers.Dense(1, name="new")(model.output[1]))
        kernel, bias = made.get_layer("new").get_weights()
        x = [np.ones((1, 2)), np.ones((1, 3))]
        np.testing.assert_allclose(made.predict(x), model.predict(x)[1] @ kernel + bias, rtol=1e-5, atol=1e-6)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], input=pickle.dumps(wide_and_deep()), check=True)
