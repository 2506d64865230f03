"""Operators and functions of ``tinyconv.ops`` on symbolic tensors.

Oracles: the same expression in NumPy and float64, and models built of layers that say the same.
"""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import tinyconv as tc
from tinyconv import layers, ops
from tinyconv.masking import mask_of
from tinyconv.viz.graph import graph_of

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
C = RNG.normal(size=(3, 4, 2))
ROW = np.array([1.0, 2.0, 4.0, 8.0])

# On symbolic tensors with xp = ops, and on arrays with xp = np.
EXPRESSIONS = {
    "sums": lambda xp, a, b, c: [a + b, 1 + a, a + 1, a - b, 1 - a, ROW - a, a + ROW],
    "products": lambda xp, a, b, c: [a * b, 2 * a, a / b, 1 / a, a // 0.3, 2 // a, a % 0.7, ROW / a],
    "powers": lambda xp, a, b, c: [a**2, abs(a) ** b, 2**a, -a, +a, abs(a)],
    "matrices": lambda xp, a, b, c: [a @ np.ones((4, 3)), xp.transpose(c, (0, 2, 1)) @ c, c.reshape((-1, 8))],
    "comparisons": lambda xp, a, b, c: [a > b, a >= 0, a < b, a <= 0, a != b, (a > 0) & (b > 0), (a > 0) | ~(b > 0)],
    "indices": lambda xp, a, b, c: [c[:, 0], c[:, 1:3, None], c[..., -1], c[:, [0, 2]], c[:, ::-2], c[:, ROW > 2]],
    "the batch axis": lambda xp, a, b, c: [c[0], a[1:], xp.sum(a, axis=0), xp.mean(c), xp.transpose(a), a.T, c.max()],
    "reductions": lambda xp, a, b, c: [xp.mean(c, axis=1), xp.max(c, axis=(1, 2)), c.sum(axis=1, keepdims=True)],
    "joined": lambda xp, a, b, c: [xp.concatenate([a, b], axis=-1), xp.stack([a, b, a], axis=1), *xp.split(a, 2, 1)],
    "chosen": lambda xp, a, b, c: [xp.where(a > 0, a, b), xp.maximum(a, 0.5), xp.clip(a, -0.5, 0.5), xp.argmax(a, 1)],
    "by name": lambda xp, a, b, c: [xp.mean(c, axis=1), xp.stack((a, b), axis=2), xp.where(a > b, -np.inf, 2.0) * a],
    "types": lambda xp, a, b, c: [a.astype(float), c.astype(int), a.astype(bool), a.astype(np.float32), a.astype("i1")],
    "axes": lambda xp, a, b, c: [xp.expand_dims(a, (1, -1)), xp.roll(c, 1, 1), xp.repeat(a, 2, 1), xp.roll(c, 3)],
    "numpy": lambda xp, a, b, c: [np.exp(a), np.square(a), np.sum(c, axis=2), np.einsum("ij,ijk->ik", a, c)],
}  # fmt: skip


@pytest.mark.parametrize("kind", EXPRESSIONS)
def test_expressions(kind):
    symbols = [tc.Input(x.shape[1:], dtype="float64") for x in (A, B, C)]
    outputs = EXPRESSIONS[kind](ops, *symbols)
    model = tc.Model(symbols, outputs)
    expected = EXPRESSIONS[kind](np, A, B, C)
    clone, read = tc.models.clone_model(model), tc.models.model_from_json(model.to_json())
    results = [one([A, B, C]) for one in (model, clone, read, pickle.loads(pickle.dumps(model)))]
    for symbol, e, *found in zip(outputs, expected, *results, strict=True):
        assert symbol.dtype == np.asarray(e).dtype
        assert len(symbol.shape) == np.ndim(e)
        assert all(n in (None, size) for n, size in zip(symbol.shape, np.shape(e), strict=True))
        for y in found:
            np.testing.assert_allclose(y, e, rtol=1e-13)
            assert y.dtype == np.asarray(e).dtype


def test_arguments_by_name():
    x, y = tc.Input((4,), dtype="float64"), tc.Input((4,), dtype="float64")
    outputs = [ops.mean(x=x, axis=1), ops.add(x=x, y=y), ops.subtract(y, y=x), ops.where(x > 0, y=y, x=1.0)]
    expected = [A.mean(1), A + B, B - A, np.where(A > 0, 1, B)]
    for found, e in zip(tc.models.clone_model(tc.Model([x, y], outputs))([A, B]), expected, strict=True):
        np.testing.assert_allclose(found, e, rtol=1e-13)


@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=3), st.sampled_from(["add", "divide", "less"]))
def test_shapes_of_broadcast_operands(shapes, name):
    """Of symbolic tensors, with as many axes after the batch axis as the result; and of one and a constant."""
    operate, dtype = getattr(ops, name), "bool" if name == "less" else "float32"
    first, second = ((1,) * (len(shapes.result_shape) - len(s)) + s for s in shapes.input_shapes)
    x, y, constant = tc.Input(first), tc.Input(second), np.ones(shapes.input_shapes[1], "f4")
    for z in (operate(x, y), operate(y, x), operate(x, constant), operate(constant, x)):
        assert (z.shape, z.dtype) == ((None, *shapes.result_shape), dtype)


def residual(add, multiply, negative, first):
    """A residual network, its arithmetic by operators or by layers."""
    layers_ = [layers.Conv2D(4, 3, padding="same", activation="relu", name=f"conv{i}") for i in range(3)]
    x = inputs = tc.Input((6, 6, 4))
    for layer in layers_:
        x = add(x, layer(x))
    x = multiply(x, layers.Dense(4, activation="sigmoid", name="gate")(layers.GlobalAveragePooling2D(keepdims=True)(x)))
    x = add(negative(x), x, x)
    return tc.Model(inputs, layers.Dense(2, name="top")(layers.Flatten()(first(x))))


def by_operators():
    return residual(lambda x, *ys: sum(ys, x), lambda x, y: x * y, lambda x: -x, lambda x: x[:, :3])


def by_layers():
    return residual(
        lambda *xs: layers.Add()(list(xs)), lambda x, y: layers.Multiply()([x, y]),
        lambda x: layers.Rescaling(-1.0)(x), lambda x: layers.Cropping2D(((0, 3), (0, 0)))(x),
    )  # fmt: skip


@pytest.mark.parametrize("jit_compile", [True, False])
def test_training_is_that_of_the_layers(jit_compile):
    """Recorded steps and others: after some epochs the weights are the same to the last bit."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 6, 6, 4)).astype("f4"), rng.normal(size=(8, 2)).astype("f4")
    models = [by_operators(), by_layers()]
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.compile(tc.optimizers.SGD(0.01, momentum=0.9), "mse", jit_compile=jit_compile)
    histories = [model.fit(x, y, epochs=4, batch_size=4, shuffle=False, verbose=0).history["loss"] for model in models]
    assert histories[0] == histories[1]
    assert histories[0][-1] < histories[0][0]
    for a, b in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


LOAD = """
import sys
import numpy as np
import tinyconv as tc
arrays = np.load(sys.argv[1] + ".npz")
model = tc.load_model(sys.argv[1] + ".tinyconv")
found = model.predict([arrays["a"], arrays["b"]])
print(all(y.tobytes() == arrays[name].tobytes() for name, y in found.items()), list(found))
"""


def test_nested_and_shared_models_in_a_new_process(tmp_path):
    inner_input = tc.Input((4,))
    inner = tc.Model(inner_input, [ops.tanh(inner_input) + 0.5, layers.Dense(3)(inner_input)[:, 1:]], name="inner")
    a, b = tc.Input((4,), name="a"), tc.Input((4,), name="b")
    (first, second), (third, fourth) = inner(a), inner(2 * b - ROW.astype("f4"))
    model = tc.Model([a, b], {"sum": first + third, "pairs": ops.stack([second, fourth], axis=1)})
    x = {"a": A.astype("f4"), "b": B.astype("f4")}
    found = model.predict(list(x.values()))
    kernel, bias = inner.get_weights()
    shifted = 2 * B - ROW
    np.testing.assert_allclose(found["sum"], np.tanh(A) + np.tanh(shifted) + 1, rtol=1e-5)
    pairs = np.stack([(A @ kernel + bias)[:, 1:], (shifted @ kernel + bias)[:, 1:]], axis=1)
    np.testing.assert_allclose(found["pairs"], pairs, rtol=1e-4, atol=1e-5)
    path = str(tmp_path / "m")
    model.save(path + ".tinyconv")
    np.savez(path + ".npz", **x, **found)
    done = subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True)
    assert (done.stdout, done.stderr[-2000:]) == ("True ['sum', 'pairs']\n", "")


def test_operations_stand_in_tables_and_pictures_but_not_among_the_layers():
    x = tc.Input((4,), name="x")
    y = layers.Dense(4, name="d")(x) + x
    model = tc.Model(x, ops.relu(y))
    assert [layer.name for layer in model.layers] == ["x", "d"]
    lines = []
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    add, relu = y.call.layer.name, model.output.call.layer.name
    assert f"{add} (Operation)" in text
    assert "d[0][0], x[0][0]" in text
    graph = graph_of(model)
    assert [node.name for node in graph.nodes] == ["x", "d", add, relu]
    assert graph.edges == [(0, 1), (1, 2), (0, 2), (2, 3)]
    assert model.count_params() == 20


def test_operations_are_cloned_as_layers_are():
    """As in Keras, ``clone_function`` gets them too."""
    x = tc.Input((4,), name="x")
    model, met = tc.Model(x, 2 * layers.Dense(4, name="d")(x + 1)), []

    def clone(layer):
        met.append(type(layer))
        return layers.Rescaling(3.0) if layer.name == "d" else type(layer).from_config(layer.get_config())

    found = tc.models.clone_model(model, clone_function=clone)
    assert met == [layers.Operation, layers.Dense, layers.Operation]
    np.testing.assert_allclose(found(A), 6 * (A + 1), rtol=1e-6)


def test_dtypes_are_foreseen():
    """So that an integer result can be an index, of one's own layers too."""

    class Largest(layers.Layer):
        def call(self, x):
            return ops.argmax(x, axis=-1)

    x = tc.Input((4,))
    table = np.eye(4, dtype="f4")[::-1]
    for index in (Largest()(x), tc.Model(x, Largest()(x))(x), tc.Sequential([Largest()])(x), ops.argmax(x, axis=-1)):
        assert index.dtype == "int64"
        model = tc.Model(x, ops.take(table, index, axis=0))
        np.testing.assert_array_equal(model(A), table[A.argmax(-1)])


def test_operators_go_on_from_a_model_of_a_file():
    """Names in the file were made up in another process; those of new operators are others."""
    x = tc.Input((4,))
    text = tc.Model(x, 2 * (x + 1) + 1).to_json()
    layers.module.reset_names()
    model = tc.models.model_from_json(text)
    longer = tc.Model(model.input, 2 * (model.output + 1))
    np.testing.assert_allclose(longer(A), 2 * (2 * (A + 1) + 2), rtol=1e-6)


def test_inputs_have_the_dtype_that_was_declared():
    """Pixels of ``uint8`` do not wrap around, and float64 does not spread through the model."""
    pixels = np.array([[0, 100, 200, 255]], "uint8")
    x = tc.Input((4,))
    inner = tc.Model(x, x - 128)
    y = tc.Input((4,))
    for model in (inner, tc.Model(y, inner(y)), tc.models.clone_model(inner), pickle.loads(pickle.dumps(inner))):
        for array in (pixels, pixels.astype("float64"), pixels.astype("int64")):
            found = model(array)
            assert found.dtype == "float32"
            np.testing.assert_array_equal(found, pixels.astype("float32") - 128)
        np.testing.assert_array_equal(model.predict(pixels), pixels.astype("float32") - 128)
    assert inner(tc.Input((4,), dtype="uint8")).dtype == "float32"
    whole = tc.Input((4,), dtype="int32")
    np.testing.assert_array_equal(tc.Model(whole, whole // 2)(pixels), [[0, 50, 100, 127]])
    masked = tc.masking.with_mask(tc.Tensor(np.ones((1, 4))), [[True, False, True, True]])
    both = tc.Model(x, [x + 1, layers.Rescaling(2.0)(x)])(masked)
    assert [mask_of(each) is None for each in both] == [True, mask_of(layers.Rescaling(2.0)(masked)) is None]


def test_masks_end_at_operations():
    """As with tensors, and as in Keras 3."""
    x = tc.Input((3,), dtype="int64")
    model = tc.Model(x, 2 * layers.Embedding(5, 2, mask_zero=True)(x))
    assert mask_of(model(np.array([[1, 0, 2]]))) is None


def test_equality_is_identity():
    x, y = tc.Input((2,)), tc.Input((2,))
    assert x == x
    assert x not in [y]
    assert len({x, y}) == 2


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        (lambda x: x + tc.Input((5,)), ValueError, r"add.*of shapes \(None, 4\), \(None, 5\) do not fit"),
        (lambda x: x + "text", TypeError, "unsupported operand"),
        (lambda x: x + object(), TypeError, "take numbers, strings, arrays, .* Received: <object"),
        (lambda x: x * layers.Dense(4)(x).call.layer.weights[0], TypeError, "A weight cannot be a constant"),
        (lambda x: x[:, 9], IndexError, "out of bounds"),
        (lambda x: x & x, TypeError, "& is defined for tensors of booleans"),
        (lambda x: bool(x > 0), TypeError, "has no values yet"),
        (lambda x: list(x), TypeError, "has no values yet"),
        (lambda x: np.asarray(x), TypeError, "has no values yet"),
        (lambda x: np.linalg.norm(x), TypeError, "np.norm is not defined"),
        (lambda x: ops.mean(x, axes=1), TypeError, "unexpected keyword argument 'axes'"),
        (lambda x: layers.Operation("add")([x, x, x]), TypeError, "positional arguments"),
        (lambda x: layers.Operation("add", [{"input": 0}, {"input": 1}])(x), ValueError, "2 tensors. Received: 1"),
    ],
)
def test_mistakes(mistake, error, message):
    with pytest.raises(error, match=message):
        mistake(tc.Input((4,), name="x"))


@pytest.mark.parametrize(
    ("operation", "args", "message"),
    [
        ("eval", None, "must be the name of a function of tinyconv.ops"),
        ("__import__", ["os"], "must be the name of a function of tinyconv.ops"),
        ("methods", None, "must be the name of a function of tinyconv.ops"),
        (["add"], None, "must be the name of a function of tinyconv.ops"),
        ("add", [{"input": 1}, {"input": 2}], r"numbered from 0, without gaps. Received: \[1, 2\]"),
        ("add", [{"input": 0}, {"python": "1"}], "arguments of an operation as data. Received: {'python'"),
        ("add", [{"input": 0}, {"input": "1"}], "as data"),
        ("add", [{"input": 0}, {}], "as data"),
        ("add", [{"input": 0}, {"array": [1], "shape": [2], "dtype": "float32"}], "as data"),
        ("add", [{"input": 0}, {"array": [1], "shape": [1], "dtype": "object"}], "as data"),
        ("add", [{"input": 0}, {"array": [10**9], "shape": [1], "dtype": "int8"}], "as data"),
        ("add", [{"input": 0}, {"array": [], "shape": [-1], "dtype": "int8"}], "as data"),
        ("add", [{"input": 0}, {"array": [1], "shape": [10**9, 0], "dtype": "int8"}], "as data"),
        ("getitem", [{"input": 0}, {"slice": [1, 2]}], "as data"),
        ("getitem", [{"input": 0}, {"slice": [1, "2", None]}], "as data"),
    ],
)
def test_configurations_that_are_refused(operation, args, message):
    config = json.loads(json.dumps({"operation": operation, "args": args, "name": "it"}))
    with pytest.raises(ValueError, match=message):
        layers.deserialize({"class_name": "Operation", "config": config})


def test_inputs_by_name_need_the_others_by_position():
    with pytest.raises(ValueError, match="args must be given where kwargs name inputs"):
        layers.Operation("add", kwargs={"y": {"input": 0}})


def test_sizes_that_nobody_has():
    x = tc.Input((4,))
    config = tc.Model(x, ops.pad(x, ((0, 0), (0, 1)))).get_config()
    config["layers"][0]["config"]["args"][1] = [[0, 0], [0, 10**15]]
    with pytest.raises(ValueError, match="do not fit"):
        tc.Model.from_config(config)
