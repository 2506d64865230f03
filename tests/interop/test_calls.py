"""Graphs whose layers are called with several tensors, or with options: the descriptions are copied from what
``keras.saving.serialize_keras_object`` of Keras 3.15.1 gives; the expected values are computed with NumPy.
"""

import json

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import interop

RNG = np.random.default_rng(0)
A, B, C = RNG.normal(size=(3, 4, 3)).astype("f4")


@tc.registry.register("calls")
class Mix(tc.layers.Layer):
    def call(self, x, y, factor=1.0, mask=None, training=None):
        assert training is not None
        return x + factor * y + (0 if mask is None else 10 * mask)


@tc.registry.register("calls")
class Pairs(tc.layers.Layer):
    def call(self, x, pair, extra=None):
        return x + 2 * pair[0] - pair[1] + (0 if extra is None else extra["k"])


@tc.registry.register("calls")
class Divide(tc.layers.Layer):
    def call(self, x):
        return {"quotient": x // 1, "rest": x - x // 1}


def tensor(layer, output=0, call=0):
    config = {"shape": [None, 3], "dtype": "float32", "keras_history": [layer, call, output]}
    return {"class_name": "__keras_tensor__", "config": config}


def entry(name, class_name, nodes, module=None, registered_name=None, **config):
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
    return {
        "module": module, "class_name": class_name, "inbound_nodes": nodes, "name": name,
        "config": {"name": name, "trainable": True, "dtype": policy, **config}, "registered_name": registered_name,
    }  # fmt: skip


def own(name, class_name, *nodes):
    further = {"activity_regularizer": None, "autocast": True}
    return entry(name, class_name, list(nodes), None, f"calls>{class_name}", **further)


def graph(*entries, output):
    inputs = [
        {
            "module": "keras.layers", "class_name": "InputLayer", "registered_name": None, "name": name,
            "config": {"batch_shape": [None, 3], "dtype": "float32", "sparse": False, "ragged": False, "name": name,
                       "optional": False},
            "inbound_nodes": [],
        }
        for name in "abc"
    ]  # fmt: skip
    config = {
        "name": "m", "trainable": True, "layers": [*inputs, *entries],
        "input_layers": [["a", 0, 0], ["b", 0, 0], ["c", 0, 0]], "output_layers": output,
    }  # fmt: skip
    description = {
        "module": "keras.src.models.functional", "class_name": "Functional", "config": config,
        "registered_name": "Functional", "build_config": {"input_shape": None},
    }  # fmt: skip
    return json.loads(json.dumps(description))


def node(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


a, b, c = map(tensor, "abc")
CALLS = {
    "by position": ("Mix", node(a, b), A + B),
    "by name": ("Mix", node(a, y=b), A + B),
    "all by name": ("Mix", node(x=a, y=b, factor=2.0), A + 2 * B),
    "in another order": ("Mix", node(y=b, x=a), A + B),
    "the same twice": ("Mix", node(a, a), 2 * A),
    "with training": ("Mix", node(a, b, training=True), A + B),
    "without a mask": ("Mix", node(a, b, mask=None), A + B),
    "with a mask": ("Mix", node(a, b, mask=c), A + B + 10 * C),
    "a list": ("Pairs", node(a, [b, c]), A + 2 * B - C),
    "a list by name": ("Pairs", node(a, pair=[b, c], extra={"k": a}), 2 * A + 2 * B - C),
    "a tuple of Keras 3.0": ("Pairs", node(a, {"class_name": "__tuple__", "items": [b, c]}), A + 2 * B - C),
}


@pytest.mark.parametrize("kind", CALLS)
def test_calls_of_keras(kind):
    class_name, call, expected = CALLS[kind]
    model = interop.from_keras_config(graph(own("l", class_name, call), output=["l", 0, 0]))
    np.testing.assert_allclose(model.predict([A, B, C]), expected, rtol=1e-5, atol=1e-6)
    again = interop.from_keras_config(json.loads(json.dumps(interop.to_keras_config(model))))
    np.testing.assert_array_equal(again.predict([A, B, C]), model.predict([A, B, C]))


@pytest.mark.parametrize("kind", CALLS)
def test_calls_are_written_as_keras_writes_them(kind):
    class_name, call, _ = CALLS[kind]
    model = interop.from_keras_config(graph(own("l", class_name, call), output=["l", 0, 0]))
    written = next(e for e in interop.to_keras_config(model)["config"]["layers"] if e["name"] == "l")
    if kind == "a tuple of Keras 3.0":
        call = CALLS["a list"][1]
    elif kind in ("all by name", "in another order"):  # the first argument goes by position
        call = node(a, **{name: value for name, value in call["kwargs"].items() if name != "x"})
    elif kind == "without a mask":
        call = {**call, "kwargs": {"mask": None}}
    assert written["inbound_nodes"] == [call]


def test_a_layer_shared_by_calls_and_several_outputs():
    """Calls may stand before those that they depend on: the shared layer's second call takes what ``d`` gives."""
    first, second = tensor("d", 0), tensor("d", 1)
    description = graph(
        own("l", "Mix", node(a, b), node(first, y=second, factor=3.0)),
        own("d", "Divide", node(tensor("l"))),
        output={"sum": ["l", 1, 0], "rest": ["d", 0, 1]},
    )
    found = interop.from_keras_config(description).predict([A, B, C])
    rest = (A + B) - np.floor(A + B)
    np.testing.assert_allclose(found["rest"], rest, atol=1e-6)
    np.testing.assert_allclose(found["sum"], np.floor(A + B) + 3 * rest, atol=1e-5)


def test_tensors_among_the_options_of_keras_2():
    """tf.keras 2 wrote them as it wrote inputs: ``[layer, call, output]``."""
    description = graph(own("l", "Mix", [["a", 0, 0, {"y": ["b", 0, 0], "factor": 2.0}]]), output=[["l", 0, 0]])
    np.testing.assert_allclose(interop.from_keras_config(description).predict([A, B, C]), A + 2 * B, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("Add", A + B), ("Subtract", A - B), ("Multiply", A * B), ("Maximum", np.maximum(A, B)),
     ("Minimum", np.minimum(A, B))],
)  # fmt: skip
def test_operations_on_two_tensors(kind, expected):
    """``x + y`` of Keras is an operation called with two tensors, not the layer called with a list of them."""
    operation = entry("o", kind, [node(a, b)], "keras.src.ops.numpy", kind)
    operation["config"] = {"name": "o"}
    model = interop.from_keras_config(graph(operation, output=["o", 0, 0]))
    np.testing.assert_array_equal(model.predict([A, B, C]), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (node(a, 2.0), r"Multiply 'l' is called with .*, 2.0. Expected symbolic tensors with equal numbers of axes"),
        (node(a, tensor("w")), r"with .*\(None, 3, 3\).*Expected symbolic tensors with equal numbers of axes"),
    ],
)
def test_operations_that_no_layer_does(call, message):
    """The layer aligns axes after the batch axis, the operation from the end."""
    wide = entry("w", "RepeatVector", [node(b)], "keras.layers", n=3)
    operation = entry("l", "Multiply", [call], "keras.src.ops.numpy", "Multiply")
    with pytest.raises(ValueError, match=message):
        interop.from_keras_config(graph(wide, operation, output=["l", 0, 0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (node(a, b, colour=3), r"Mix 'l' is called with options that it does not know: \['colour'\]"),
        (node(a, tensor("nobody")), "calls whose inputs no layer gives: .'l'"),
        (node(a, tensor("b", output=1)), "calls whose inputs no layer gives: .'l'"),
        (node(a, tensor("l")), "calls whose inputs no layer gives: .'l'"),
        (node(a, {"class_name": "__numpy__", "config": {"value": [1.0, 2.0, 3.0], "dtype": "float32"}}),
         "Mix 'l' is called with an array of constants"),
        (node(), "Mix 'l' expected x. Received: no argument"),
        (node(a), "Mix.call.*missing 1 required positional argument: 'y'"),
    ],
)  # fmt: skip
def test_calls_that_are_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        interop.from_keras_config(graph(own("l", "Mix", call), output=["l", 0, 0]))


def test_arrays_in_descriptions():
    """A constant that is an array: Keras writes it as ``__numpy__``."""
    value = {"class_name": "__numpy__", "config": {"value": [1.0, 2.0, 3.0], "dtype": "float64"}}
    constant = {"module": "keras.initializers", "class_name": "Constant", "config": {"value": value},
                "registered_name": None}  # fmt: skip
    layer = interop.from_keras_config(entry("d", "Dense", [], "keras.layers", units=3, bias_initializer=constant))
    np.testing.assert_array_equal(layer(np.zeros((1, 2))), [[1, 2, 3]])
