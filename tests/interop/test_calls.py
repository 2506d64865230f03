"""Graphs whose layers are called with several tensors, or with options: the descriptions are copied from what
``keras.saving.serialize_keras_object`` of Keras 3.15.1 gives; the expected values are computed with NumPy.
"""

import json
from pathlib import Path

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


def operation(kind, *nodes, module="numpy", **config):
    described = entry("o", kind, list(nodes), f"keras.src.ops.{module}", kind)
    return {**described, "config": {"name": "o", **config}}


def array(value):
    return {"class_name": "__numpy__", "config": {"value": value, "dtype": "float32"}}


def limits(start, stop, step=None):
    return {"class_name": "__slice__", "config": {"start": start, "stop": stop, "step": step}}


EVERYTHING = {"class_name": "__ellipsis__", "config": {}}
OPERATIONS = {
    "Add": (operation("Add", node(a, b)), A + B),
    "Subtract": (operation("Subtract", node(1, b)), 1 - B),
    "Multiply": (operation("Multiply", node(a, array([1.0, 2.0, 4.0]))), A * [1, 2, 4]),
    "TrueDivide": (operation("TrueDivide", node(a, b)), A / B),
    "Mod": (operation("Mod", node(a, 0.5)), np.mod(A, 0.5)),
    "Power": (operation("Power", node(a, 3)), A**3),
    "Maximum": (operation("Maximum", node(a, b)), np.maximum(A, B)),
    "GetItem": (operation("GetItem", node(a, [EVERYTHING, limits(None, 2), None])), A[:, :2, None]),
    "GetItem of one": (operation("GetItem", node(a, [limits(None, None, None), 1])), A[:, 1]),
    "Mean": (operation("Mean", node(a), axis=1, keepdims=True), A.mean(1, keepdims=True)),
    "Max": (operation("Max", node(a), axis=[1], keepdims=False, initial=None), A.max(1)),
    "Argmax": (operation("Argmax", node(a), axis=-1, keepdims=False), A.argmax(-1)),
    "Reshape": (operation("Reshape", node(a), newshape=[-1, 3, 1]), A[:, :, None]),
    "Clip": (operation("Clip", node(a), x_min=-0.5, x_max=0.25), A.clip(-0.5, 0.25)),
    "Pad": (
        operation("Pad", node(a, constant_values=None), pad_width=[[0, 0], [1, 2]], mode="constant"),
        np.pad(A, [(0, 0), (1, 2)]),
    ),
    "Einsum": (operation("Einsum", node(a, b), subscripts="ij,ij->i"), (A * B).sum(1)),
    "Concatenate": (operation("Concatenate", node([a, b]), axis=-1), np.concatenate([A, B], -1)),
    "Take": (operation("Take", node(a, [2, 0]), axis=1), A[:, [2, 0]]),
    "Round": (operation("Round", node(a), decimals=0), np.round(A)),
    "Relu": (operation("Relu", node(a), module="nn"), A.clip(0)),
    "LeakyRelu": (operation("LeakyRelu", node(a), module="nn", negative_slope=0.1), np.where(A > 0, A, 0.1 * A)),
    "Cast": (operation("Cast", node(a), module="core", dtype="int32"), A.astype("i4")),
}


@pytest.mark.parametrize("kind", OPERATIONS)
def test_operations(kind):
    """``x + y`` of Keras is an operation called with two tensors, not the layer called with a list of them."""
    description, expected = OPERATIONS[kind]
    model = interop.from_keras_config(graph(description, output=["o", 0, 0]))
    np.testing.assert_allclose(model([A, B, C]), expected, rtol=1e-6, atol=1e-7)
    written = next(e for e in interop.to_keras_config(model)["config"]["layers"] if e["name"] == "o")
    for key in ("module", "class_name", "registered_name"):
        assert written[key] == description[key]
    assert written["config"].items() <= description["config"].items()  # what is left out has its default
    if kind != "Pad":
        assert written["inbound_nodes"] == description["inbound_nodes"]
    again = interop.from_keras_config(json.loads(json.dumps(interop.to_keras_config(model))))
    np.testing.assert_array_equal(again([A, B, C]), model([A, B, C]))


def test_a_file_with_operations():
    """Oracle: Keras's predictions (``make_data.py``)."""
    pytest.importorskip("h5py")
    data = Path(__file__).parent / "data"
    expected = np.load(data / "operations.npz")
    model = tc.load_model(data / "operations.keras")
    assert sorted(layer.name for layer in model.layers) == ["a", "b", "d", "e"]
    for found, name in zip(model.predict([expected["a"], expected["b"]]), ("first", "second", "third"), strict=True):
        np.testing.assert_allclose(found, expected[name], atol=2e-6)


def test_operations_in_hdf5_files():
    """There Keras names no modules: an operation is told from the layer of its name by what can be frozen."""
    summed, layer = operation("Add", node(a, b)), entry("l", "Add", [node([tensor("o"), c])])
    for described in (summed, layer):
        del described["module"], described["registered_name"]
    model = interop.from_keras_config(graph(summed, layer, output=["l", 0, 0]))
    assert [type(each).__name__ for each in model.layers] == ["InputLayer", "InputLayer", "InputLayer", "Add"]
    np.testing.assert_allclose(model([A, B, C]), A + B + C, rtol=1e-6)


def test_an_operation_that_is_called_twice():
    summed = operation("Add", node(a, b), node(tensor("o"), c))
    model = interop.from_keras_config(graph(summed, output=["o", 1, 0]))
    np.testing.assert_allclose(model([A, B, C]), A + B + C, rtol=1e-6)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (operation("Unique", node(a)), "the operation keras.src.ops.numpy.Unique, which tinyconv does not have"),
        (operation("Argmax", node(a), axis=1, keepdims=True), "'o' has settings .* argmax does not know: .'keepdims'"),
        (operation("GetItem", node(a, [{"class_name": "__lambda__", "config": {}}])), "called with something unknown"),
        (operation("Add", node(a, {"class_name": "__numpy__", "config": {"value": ["a"], "dtype": "O"}})), "unknown"),
        (operation("Add", node(a, tensor("nobody"))), "calls whose inputs no layer gives: .'o'"),
    ],
)
def test_operations_that_are_refused(described, message):
    with pytest.raises(ValueError, match=message):
        interop.from_keras_config(graph(described, output=["o", 0, 0]))


def test_operations_that_keras_has_no_words_for():
    x, low = tc.Input((3,)), tc.Input((3,))
    for y, message in (
        (tc.ops.relu(tc.ops.heaviside(x)), "no operation like .* tinyconv.ops.heaviside"),
        (tc.ops.clip(x, low), "no tensor as minimum"),
        (tc.ops.std(x, axis=1, ddof=1), "no ddof like that of Operation 'std"),
        (tc.ops.clip(x, maximum=1.0), "no minimum like that of Operation 'clip"),
        (x[:, [0, 2]], "no index like that of Operation 'getitem"),
    ):
        with pytest.raises(ValueError, match=message):
            interop.to_keras_config(tc.Model([x, low], [y, low]))


def test_defaults_that_differ():
    """Keras approximates GELU unless told otherwise."""
    x = tc.Input((3,))
    described = interop.to_keras_config(tc.Model(x, tc.ops.gelu(x)))
    assert described["config"]["layers"][1]["config"]["approximate"] is False
    model = interop.from_keras_config(graph(operation("Gelu", node(a), module="nn"), output=["o", 0, 0]))
    np.testing.assert_allclose(model([A, B, C]), tc.ops.gelu(A, approximate=True), rtol=1e-6)


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
