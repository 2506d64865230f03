"""``Sequential`` and functional models as structures: building, freezing, summaries, weights between the two kinds."""

import numpy as np
import pytest

import tinyconv as tc

L = tc.layers
X = np.random.default_rng(0).random((6, 6, 6, 1)).astype("float32")
Y = np.eye(2)[np.arange(6) % 2]


def layers():
    return [
        L.Conv2D(3, 3, activation="relu", input_shape=(6, 6, 1), name="conv"),
        L.BatchNormalization(name="norm"),
        L.MaxPooling2D(2, name="pool"),
        L.Flatten(name="flat"),
        L.Dense(2, activation="softmax", name="top"),
    ]


def functional():
    x = y = tc.Input((6, 6, 1))
    for layer in layers():
        y = layer(y)
    return tc.Model(x, y)


# --- Sequential ------------------------------------------------------------------------------------------------


def test_four_ways_to_give_the_input_shape():
    stacks = [
        tc.Sequential([L.Dense(3, input_shape=(4,)), L.Dense(2)]),
        tc.Sequential([tc.Input((4,)), L.Dense(3), L.Dense(2)]),
        tc.Sequential([L.InputLayer((4,)), L.Dense(3), L.Dense(2)]),
    ]
    late = tc.Sequential([L.Dense(3), L.Dense(2)])
    assert not late.built
    with pytest.raises(ValueError, match="no weights yet"):
        late.count_params()
    late(np.zeros((1, 4)))
    by_build = tc.Sequential([L.Dense(3), L.Dense(2)])
    by_build.build((None, 4))
    for model in (*stacks, late, by_build):
        assert (model.input_shape, model.output_shape) == ((None, 4), (None, 2))
        assert model.count_params() == 4 * 3 + 3 + 3 * 2 + 2
        assert [type(layer).__name__ for layer in model.layers] == ["Dense", "Dense"]


def test_add_and_pop():
    model = tc.Sequential()
    for layer in layers():
        model.add(layer)
    assert model.output_shape == (None, 2)
    assert model.pop().name == "top"
    assert model.output_shape == (None, 12)
    model.add(L.Dense(5))
    assert model.predict(X).shape == (6, 5)
    while model.layers:
        model.pop()
    with pytest.raises(IndexError):
        model.pop()


def test_functions_become_activation_layers():
    model = tc.Sequential([L.Dense(2, input_shape=(3,)), tc.activations.get("relu"), tc.activations.softmax])
    assert [type(layer).__name__ for layer in model.layers[1:]] == ["Activation", "Activation"]
    np.testing.assert_allclose(model.predict(np.ones((1, 3))).sum(), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("bad", "message"),
    [("dense", "expected layers. Received: 'dense'"), (L.Dense, "make one"), (None, "Received: None")],
)
def test_add_rejects_what_is_no_layer(bad, message):
    with pytest.raises(TypeError, match=message):
        tc.Sequential([bad])


def test_names_and_layers_are_unique():
    dense = L.Dense(4, name="a")
    model = tc.Sequential([tc.Input((4,)), dense])
    with pytest.raises(ValueError, match="'a' is already part"):
        model.add(dense)
    with pytest.raises(ValueError, match="'a' twice"):
        model.add(L.Dense(4, name="a"))
    assert model.get_layer("a") is model.get_layer(index=0) is dense
    with pytest.raises(ValueError, match=r"\['a'\]. Received: 'b'"):
        model.get_layer("b")
    with pytest.raises(ValueError, match="Received: 3"):
        model.get_layer(index=3)


def test_a_layer_that_does_not_fit_leaves_the_stack_as_it_was():
    model = tc.Sequential([tc.Input((6, 6, 1)), L.Conv2D(2, 3)])
    with pytest.raises(ValueError, match="Dense|Conv2D"):
        model.add(L.Conv2D(2, 9))
    assert len(model.layers) == 1
    assert model.output_shape == (None, 4, 4, 2)
    assert model.predict(X).shape == (6, 4, 4, 2)


def test_the_dtype_of_the_layers_counts():
    model = tc.Sequential([L.Dense(1, dtype="float64", kernel_initializer="ones", input_shape=(1,))])
    precise = 1 + 2.0**-40  # lost in float32
    assert model.predict(np.array([[precise]]))[0, 0] == precise
    x = tc.Input((1,), dtype="float64")
    assert tc.Model(x, model.layers[0](x)).predict(np.array([[precise]]))[0, 0] == precise


# --- functional ------------------------------------------------------------------------------------------------


def test_a_graph_with_a_branch_a_shared_layer_and_an_inner_model():
    inner = tc.Sequential([L.Dense(3, input_shape=(4,), name="d")], name="inner")
    shared = L.Dense(4, use_bias=False, name="shared")
    a, b = tc.Input((4,)), tc.Input((4,))
    model = tc.Model([a, b], L.Add()([inner(shared(a)), inner(shared(b))]))
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(5, 4)).astype("float32") for _ in range(2)]
    w, k, bias = shared.get_weights()[0], *inner.get_weights()
    np.testing.assert_allclose(model.predict(x), x[0] @ w @ k + x[1] @ w @ k + 2 * bias, rtol=1e-4, atol=1e-5)
    assert model.count_params() == 16 + 12 + 3
    assert [layer.name for layer in model.layers][2:4] == ["shared", "inner"]  # after the two inputs


def test_two_models_on_one_graph_share_layers():
    x = y = tc.Input((6, 6, 1))
    tensors = [y := layer(y) for layer in layers()]
    lower, whole = tc.Model(x, tensors[2]), tc.Model(x, tensors[-1])
    whole.compile("sgd", "categorical_crossentropy")
    whole.fit(X, Y, verbose=0)
    expected = tc.Sequential(layers()[:3])
    expected.set_weights(whole.get_weights()[:6])
    np.testing.assert_array_equal(lower.predict(X), expected.predict(X))
    assert lower.get_layer("conv") is whole.get_layer("conv")


def test_a_foreign_input_is_noticed():
    a, b = tc.Input((2,)), tc.Input((2,))
    with pytest.raises(ValueError, match="not among the model's inputs"):
        tc.Model(a, L.Add()([a, b]))
    with pytest.raises(TypeError, match="symbolic"):
        tc.Model(a, np.zeros(3))
    with pytest.raises(TypeError, match="unknown arguments"):
        tc.Model(inputs=a, outputs=L.Dense(1)(a), depth=3)


def test_dictionaries_of_inputs_and_outputs():
    inputs = {"left": tc.Input((2,)), "right": tc.Input((3,))}
    joined = L.Concatenate()([inputs["right"], inputs["left"]])
    model = tc.Model(inputs, {"sum": L.Dense(1, name="d")(joined), "all": joined})
    x = {"right": np.ones((4, 3)), "left": np.zeros((4, 2))}
    assert model.predict(x)["all"].tolist() == [[1, 1, 1, 0, 0]] * 4
    assert model.compute_output_shape({"right": (None, 3), "left": (None, 2)})["all"] == (None, 5)


# --- weights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [(tc.Sequential, functional), (functional, tc.Sequential)])
def test_weight_files_between_a_stack_and_an_equal_graph(direction, tmp_path):
    source, target = (functional() if kind is functional else tc.Sequential(layers()) for kind in direction)
    assert not np.array_equal(source.predict(X), target.predict(X))
    source.save_weights(tmp_path / "w")
    target.load_weights(tmp_path / "w")
    np.testing.assert_array_equal(source.predict(X), target.predict(X))
    other = tc.Sequential([*layers()[:-1], L.Dense(3)])
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"expected shape \(12, 3\) for 'kernel'. Received: \(12, 2\)"):
        other.load_weights(tmp_path / "w")
    for a, b in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_set_weights_checks_number_and_shapes():
    model = tc.Sequential(layers())
    with pytest.raises(ValueError, match="expected 8 weights"):
        model.set_weights(model.get_weights()[1:])
    copies = model.get_weights()
    copies[0][:] = 7  # copies indeed
    assert not (model.get_weights()[0] == 7).any()


# --- freezing --------------------------------------------------------------------------------------------------


def nested():
    return tc.Sequential(
        [
            tc.Sequential([tc.Sequential([L.Dense(4, input_shape=(3,), name="deep")], name="inner"),
                           L.BatchNormalization(name="norm")], name="middle"),
            L.Dense(2, name="top"),
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("freeze", "trainable"),
    [
        (lambda m: None, 4 * 3 + 4 + 8 + 10),
        (lambda m: m.layers[0], 10),
        (lambda m: m.layers[0].layers[0], 8 + 10),
        (lambda m: m.layers[0].layers[0].layers[0], 8 + 10),
        (lambda m: m.layers[0].layers[1], 16 + 10),
        (lambda m: m, 0),
    ],
    ids=["nothing", "middle", "inner", "deep", "norm", "all"],
)
def test_freezing_at_any_depth(freeze, trainable):
    model = nested()
    frozen = freeze(model)
    if frozen is not None:
        frozen.trainable = False
    assert sum(w.size for w in model.trainable_weights) == trainable
    assert model.count_params() == 16 + 16 + 10
    model.compile(tc.optimizers.SGD(0.1, momentum=0.5), "mse")
    before = [] if frozen is None else frozen.get_weights()
    start = model.get_weights()
    x = np.random.default_rng(0).normal(size=(8, 3))
    model.fit(x, np.ones((8, 2)), epochs=2, verbose=0)
    for a, b in zip([] if frozen is None else frozen.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)  # moving statistics of frozen normalisation as well
    changed = [not np.array_equal(a, b) for a, b in zip(model.get_weights(), start, strict=True)]
    assert any(changed) == (trainable > 0)


def test_frozen_layers_are_frozen_in_the_file_too(tmp_path):
    model = nested()
    model.layers[0].layers[0].trainable = False
    model.save(tmp_path / "m")
    loaded = tc.load_model(tmp_path / "m")
    assert [w.name for w in loaded.trainable_weights] == [w.name for w in model.trainable_weights]
    loaded.trainable = True
    assert len(loaded.trainable_weights) == 6  # all but the moving statistics


# --- summary ---------------------------------------------------------------------------------------------------


def test_summary_of_nested_frozen_models():
    model = nested()
    model.layers[0].layers[0].trainable = False
    lines = []
    assert model.summary(expand_nested=True, show_trainable=True, print_fn=lines.append) is None
    rows = [[cell.rstrip() for cell in line[2:-2].split(" │ ")] for line in lines if line.startswith("│")]
    assert rows == [
        ["middle (Sequential)", "(None, 4)", "     32", "Y"],
        ["   └ inner (Sequential)", "(None, 4)", "     16", "N"],
        ["      └ deep (Dense)", "(None, 4)", "     16", "N"],
        ["   └ norm (BatchNormalization)", "(None, 4)", "     16", "Y"],
        ["top (Dense)", "(None, 2)", "     10", "Y"],
    ]
    assert [line for line in lines if "params" in line] == [
        " Total params: 42 (168.00 B)",
        " Trainable params: 18 (72.00 B)",
        " Non-trainable params: 24 (96.00 B)",
    ]
    lines.clear()
    model.summary(print_fn=lines.append)
    assert sum(line.startswith("│") for line in lines) == 2, "inner layers only when they are asked for"


@pytest.mark.parametrize("length", [50, 60, 100])
def test_summary_of_a_given_width_loses_nothing(length):
    lines = []
    functional().summary(line_length=length, print_fn=lines.append)
    table = [line for line in lines if line[0] in "│┃┏┡├└"]
    assert {len(line) for line in table} == {length}
    cells = [[cell.strip() for cell in line[2:-2].split(" │ ")] for line in table if line.startswith("│")]
    assert "conv (Conv2D)norm (BatchNormalization)" in "".join(row[0] for row in cells)


def test_summary_of_some_layers():
    def listed(*names):
        lines = []
        functional().summary(layer_range=names, print_fn=lines.append)
        return [line.split()[1] for line in lines if line.startswith("│")]

    assert listed("norm", "flat") == ["norm", "pool", "flat"]
    assert listed("n", ".*") == ["norm", "pool", "flat", "top"]
    for names in (("norm",), ("norm", "nobody")):
        with pytest.raises(ValueError, match="two names of layers out of .*'norm'.* Received: .*'norm'"):
            functional().summary(layer_range=names)


def test_summary_says_what_is_connected_and_what_the_optimizer_keeps():
    a, b = tc.Input((4,), name="a"), tc.Input((4,), name="b")
    shared = L.Dense(4, name="shared")
    model = tc.Model([a, b], L.Add(name="sum")([shared(a), shared(b)]))
    model.compile("adam", "mse")
    model.train_on_batch([np.ones((2, 4)), np.ones((2, 4))], np.ones((2, 4)))
    lines = []
    model.summary(print_fn=lines.append)
    rows = {line.split()[1]: line.split("│")[-2].strip() for line in lines if line.startswith("│")}
    assert rows == {"a": "-", "b": "-", "shared": "a[0][0], b[0][0]", "sum": "shared[0][0], shared[1][0]"}
    assert lines[-1] == " Optimizer params: 40 (160.00 B)", "two slots for 16 + 4 weights"


def test_summary_in_a_terminal_without_line_drawing(monkeypatch):
    import io
    import sys

    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    tc.Sequential([L.Dense(3, input_shape=(2,))]).summary()
    screen.flush()
    assert b"| dense" in screen.buffer.getvalue()


def test_summary_of_a_shared_layer_counts_it_once():
    shared, x = L.Dense(3), tc.Input((3,))
    lines = []
    tc.Model(x, shared(shared(x))).summary(print_fn=lines.append)
    assert " Total params: 12 (48.00 B)" in lines


def test_summary_before_the_shapes_are_known(capsys):
    tc.Sequential([L.Dense(3)]).summary()
    assert "?" in capsys.readouterr().out


@pytest.mark.parametrize("jit", ["auto", True])
def test_a_compute_loss_of_ones_own_is_what_is_reported(jit):
    class Halved(tc.Sequential):
        def compute_loss(self, x, y, y_pred, sample_weight=None):
            return ((y_pred - tc.Tensor(y)) ** 2).mean() / 2

    x, y = np.ones((8, 3), "float32"), np.zeros((8, 1), "float32")
    model = Halved([tc.layers.Dense(1, kernel_initializer="ones", input_shape=(3,))])
    model.compile(tc.optimizers.SGD(0.0), loss="mse", jit_compile=jit)
    history = model.fit(x, y, epochs=4, batch_size=4, verbose=0).history
    assert history["loss"] == pytest.approx([4.5] * 4)
    assert model.evaluate(x, y) == pytest.approx(4.5)


# --- what models know of their shapes ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["functional", "stack", "inner"])
def test_shapes_are_those_of_the_graph_whatever_data_came(kind):
    """As in Keras, where they do not follow the last batch."""
    x = tc.Input((None, None, 3))
    convolution = L.Conv2D(2, 3, name="c")
    model = tc.Sequential([x, convolution]) if kind == "stack" else tc.Model(x, convolution(x))
    if kind == "inner":
        model = tc.Sequential([tc.Input((None, None, 3)), model])
    model(np.zeros((5, 8, 8, 3)))
    model.predict(np.zeros((5, 9, 9, 3)), verbose=0)
    assert model.input_shape == (None, None, None, 3)
    assert model.output_shape == model.layers[-1].output_shape == (None, None, None, 2)
    assert convolution.output_shape == (None, None, None, 2)


def test_a_batch_size_that_is_fixed_stays_known():
    model = tc.Sequential([tc.Input((3,), batch_size=4), L.Dense(2)])
    model(np.zeros((4, 3)))
    assert (model.input_shape, model.output_shape) == ((4, 3), (4, 2))


def test_a_layer_outside_of_graphs_knows_the_shapes_of_its_last_call():
    layer = L.Conv2D(2, 3)
    layer(np.zeros((1, 5, 5, 1)))
    layer(np.zeros((1, 8, 8, 1)))
    assert (layer.input_shape, layer.output_shape) == ((None, 8, 8, 1), (None, 6, 6, 2))


def test_a_stack_keeps_dtype_and_name_of_its_input(tmp_path):
    model = tc.Sequential([tc.Input((4,), dtype="int32", name="tokens"), L.Embedding(5, 2)], name="m")
    model.save(tmp_path / "m.tinyconv")
    for made in (model, tc.models.clone_model(model), tc.load_model(tmp_path / "m.tinyconv")):
        assert (made.input.name, made.input.dtype, made.input.shape) == ("tokens", "int32", (None, 4))
    other = tc.Sequential([L.InputLayer((4,), dtype="int64", name="t"), L.Embedding(5, 2)])
    assert (other.input.name, other.input.dtype) == ("t", "int64")
    config = {**model.get_config(), "layers": [L.serialize(layer) for layer in model.layers]}
    del config["input_name"], config["input_dtype"]  # as files had it before
    assert tc.Sequential.from_config(config).input.dtype == "float32"


def test_data_of_another_shape_is_refused_in_direct_calls_too():
    """Flattened, it would go unnoticed. As in Keras, a stack lets its layers judge sizes, but not numbers of axes."""
    x = tc.Input((4, 4), name="x")
    graph = tc.Model(x, L.Dense(2)(L.Flatten()(x)), name="graph")
    stack = tc.Sequential([tc.Input((4, 4)), L.Flatten(), L.Dense(2)], name="stack")
    for given in (np.ones((2, 16)), np.ones((2, 4, 4, 1)), tc.Input((16,))):
        with pytest.raises(ValueError, match=r"graph.*expected input 'x' of shape \(None, 4, 4\). Received: shape \("):
            graph(given)
        with pytest.raises(ValueError, match=r"stack.*expected 3 axes, as in shape \(None, 4, 4\). Received: shape \("):
            stack(given)
    with pytest.raises(ValueError, match=r"of shape \(None, 4, 4\). Received: shape \(None, 2, 8\)"):
        graph(np.ones((3, 2, 8)))
    assert graph(np.ones((3, 4, 4))).shape == (3, 2)
    assert graph(tc.Input((4, None))).shape == (None, 2)
    pair = tc.Model({"a": tc.Input((3,), name="a"), "b": x}, {"sum": x}, name="pair")
    with pytest.raises(ValueError, match="pair.*input 'a' of shape"):
        pair({"b": np.ones((1, 4, 4)), "a": np.ones((1, 4))})
    wider = tc.Sequential([tc.Input((8, 8, 1)), L.Conv2D(1, 3)])
    assert wider(np.ones((1, 16, 16, 1))).shape == (1, 14, 14, 1)


@pytest.mark.parametrize("loss", [{"y": "mse"}, ["mse", None]], ids=["by name", "by position"])
@pytest.mark.parametrize("outputs", [list, dict])
def test_outputs_without_loss_and_metrics_need_no_labels(loss, outputs):
    """As in Keras; the loss is that of the others, computed here with NumPy."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    inputs = tc.Input((3,))
    features = L.Dense(2, name="y")(inputs)
    norm = tc.ops.sum(features**2, axis=1)
    model = tc.Model(inputs, {"y": features, "norm": norm} if outputs is dict else [features, norm])
    names = model.output_names
    model.compile(tc.optimizers.SGD(0.0), loss, metrics={"y": ["mae"]})
    kernel, bias = model.get_weights()
    wrong = x @ kernel + bias - y
    for labels in (y, [y], {"y": y}, {"y": y, names[1]: np.zeros(4)}, [y, np.zeros(4)]):
        results = model.evaluate(x, labels, return_dict=True)
        assert results == pytest.approx({"loss": (wrong**2).mean(), "y_mae": abs(wrong).mean()}, rel=1e-5)
        assert model.fit(x, labels, verbose=0).history["loss"] == pytest.approx([(wrong**2).mean()], rel=1e-5)
    for labels in ({names[1]: y}, {"y": y, "z": y}, [y, y, y]):
        with pytest.raises(ValueError, match=r"expected labels for outputs \['y', '.*'\]. Received: "):
            model.evaluate(x, labels)
    model.compile("sgd", loss, metrics={names[1]: ["mae"]})
    with pytest.raises(ValueError, match="expected labels for outputs .* Received: 1 arrays"):
        model.evaluate(x, y)


def test_names_of_keras(tmp_path):
    """What programs written for Keras ask a model, and how they name a file."""
    model = functional()
    assert not model.compiled
    model.compile("sgd", "categorical_crossentropy")
    assert model.compiled
    assert model.output_names == ["top"]
    model.save(filepath=tmp_path / "m.tinyconv", overwrite=True)
    model.save_weights(filepath=tmp_path / "w.tinyconv")
    weights = model.get_weights()
    model.set_weights([0 * w for w in weights])
    model.load_weights(filepath=tmp_path / "w.tinyconv")
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
