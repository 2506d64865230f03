"""Keras's files. Oracles: files that Keras 3.15 wrote, with its predictions (``make_data.py``), VGG16's published
weights, and h5py reading what is written here."""

import io
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import interop

h5py = pytest.importorskip("h5py")

L = tc.layers
DATA = Path(__file__).parent / "data"
EXPECTED = np.load(DATA / "expected.npz")
IMAGES, LABELS = EXPECTED["images"], np.eye(2)[[0, 1, 0, 1]]
VGG16 = (
    Path(os.environ.get("TINYCONV_HOME", Path.home() / ".cache/tinyconv"))
    / "models/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
)


def conv():
    """The same model as in ``make_data.py``."""
    return tc.Sequential(
        [
            tc.Input((8, 8, 3)),
            L.Conv2D(4, 3, padding="same", activation="relu", name="c1"),
            L.BatchNormalization(name="bn"),
            L.Dropout(0.2),
            L.SeparableConv2D(5, 3, name="separable_conv2d"),
            L.MaxPooling2D(2),
            L.Conv2D(3, 2, name="conv2d"),
            L.Flatten(),
            L.Dense(2, activation="softmax", name="dense"),
        ],
        name="conv",
    )


def graph():
    hidden = [L.Dense(3, activation="relu"), L.BatchNormalization(), L.Dense(3), L.BatchNormalization()]
    inner = tc.Sequential([tc.Input((4,)), *hidden], name="inner")
    a, b = tc.Input((4,), name="a"), tc.Input((6,), name="b")
    shared = L.Dense(4, name="shared")
    x = L.Add()([inner(shared(a)), inner(shared(L.Dense(4, name="proj")(b)))])
    kind = L.Dense(2, activation="softmax", name="kind")(L.Concatenate()([x, a]))
    return tc.Model([a, b], [kind, L.Dense(1, name="size")(b)], name="graph")


class Net(tc.Model):
    def __init__(self):
        super().__init__()
        self.conv, self.blocks, self.head = L.Conv2D(2, 3), [L.Dense(3), L.Dense(4)], L.Dense(1)

    def call(self, x):
        x = self.conv(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def assert_predicts(model):
    if model.name == "conv":
        np.testing.assert_allclose(model.predict(IMAGES), EXPECTED["conv"], atol=2e-6)
    else:
        kind, size = model.predict([EXPECTED["a"], EXPECTED["b"]])
        np.testing.assert_allclose(kind, EXPECTED["kind"], atol=2e-6)
        np.testing.assert_allclose(size, EXPECTED["size"], atol=2e-6)


# --- reading what Keras wrote ----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [conv, graph])
@pytest.mark.parametrize("ending", [".weights.h5", ".h5", ".keras"])
def test_weights_of_keras(make, ending):
    model = make()
    model.load_weights(DATA / f"{model.name}{ending}")
    assert_predicts(model)


@pytest.mark.parametrize("kind", ["conv", "graph"])
@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_whole_models_of_keras(kind, ending):
    model = tc.load_model(DATA / f"{kind}{ending}")
    assert_predicts(model)
    if kind == "graph":
        names = ["b", "a", "proj", "shared", "inner", "add", "concatenate", "kind", "size"]
        assert [layer.name for layer in model.layers] == names
    assert isinstance(model.optimizer, tc.optimizers.SGD)
    assert model.optimizer.get_config()["momentum"] == pytest.approx(0.9)
    assert model.optimizer.nesterov
    assert model.optimizer.learning_rate == pytest.approx(0.05)
    assert interop.load_keras(DATA / f"{kind}{ending}", compile=False).optimizer is None


def test_a_compiled_model_of_keras_evaluates_as_there():
    """Cross-entropy and the penalty of the last kernel."""
    model = tc.load_model(DATA / "conv.keras")
    np.testing.assert_allclose(model.evaluate(IMAGES, LABELS), EXPECTED["loss"], rtol=1e-5)
    model.fit(IMAGES, LABELS, verbose=0)


def test_weighted_metrics_of_keras_are_compiled_too(tmp_path):
    (tmp_path / "m.keras").write_bytes(in_config(b'"weighted_metrics": null', b'"weighted_metrics": ["mse"]'))
    model = tc.load_model(tmp_path / "m.keras")
    found = model.evaluate(IMAGES, LABELS, sample_weight=np.array([1, 0, 0, 0]), return_dict=True)
    np.testing.assert_allclose(found["mse"], ((EXPECTED["conv"] - LABELS)[0] ** 2).mean(), rtol=1e-4)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_training_goes_on_where_keras_stopped(kind, ending):
    """Three more steps here give what three more steps of Keras gave: momentum, moments, iterations, statistics."""
    model = tc.load_model(DATA / f"{kind}{ending}")
    assert model.optimizer.iterations == 3
    model.fit(EXPECTED["a"], LABELS, epochs=3, verbose=0)
    np.testing.assert_allclose(model.predict(EXPECTED["a"]), EXPECTED[f"resumed_{kind}"], rtol=1e-4, atol=1e-5)


def test_a_subclassed_model_of_keras():
    model = Net()
    model(IMAGES)
    model.load_weights(DATA / "net.weights.h5")
    np.testing.assert_allclose(model.predict(IMAGES), EXPECTED["net"], atol=2e-6)


def test_layers_of_another_order_are_found_by_name():
    model = tc.Sequential([tc.Input((4, 4, 5)), L.Conv2D(3, 2, name="conv2d"), L.Flatten(), L.Dense(7, name="dense")])
    for ending in (".weights.h5", ".h5"):
        model.layers[0].set_weights([np.zeros((2, 2, 5, 3)), np.zeros(3)])
        before = model.get_weights()[2:]
        message = r"Dense 'dense' expected shape \(27, 7\) for 'kernel'. Received: \(12, 2\)"
        with pytest.raises(ValueError, match=message):
            model.load_weights(DATA / f"conv{ending}", by_name=True)
        assert not model.get_weights()[0].any(), "nothing half loaded"
        with pytest.warns(UserWarning, match="were not loaded: Dense 'dense' expected shape"):
            model.load_weights(DATA / f"conv{ending}", by_name=True, skip_mismatch=True)
        with h5py.File(DATA / "conv.h5") as file:
            kernel = file["model_weights/conv2d/conv/conv2d/kernel"][()]
        np.testing.assert_array_equal(model.get_weights()[0], kernel)
        np.testing.assert_array_equal(model.get_weights()[2], before[0])


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_other_architectures_are_refused(ending):
    model = tc.Sequential([tc.Input((8, 8, 3)), L.Conv2D(4, 3, name="c1"), L.Conv2D(1, 3), L.Flatten(), L.Dense(2)])
    before = model.get_weights()
    with pytest.raises(ValueError, match="conv.*cannot be loaded.*expected"):
        model.load_weights(DATA / f"conv{ending}")
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_file_of_weights_is_no_model():
    with pytest.raises(ValueError, match="holds weights only. Build the model and call its load_weights"):
        tc.load_model(DATA / "conv.weights.h5")


# --- Keras 1 and 2, files made by hand -------------------------------------------------------------------------


def write_keras2(path, groups, version="2.2.4", backend="tensorflow"):
    """A weight file by Keras 2's documented layout: ``groups`` maps layer names to names and arrays."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in groups]
        file.attrs["backend"] = backend.encode()
        if version is not None:
            file.attrs["keras_version"] = version.encode()
        for layer, arrays in groups.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in arrays]
            for name, array in arrays.items():
                group[name] = array


RNG = np.random.default_rng(0)
KERNEL, BIAS = RNG.normal(size=(3, 2, 2, 4)).astype("f4"), RNG.normal(size=4).astype("f4")


def test_a_frozen_inner_model_of_keras_2(tmp_path):
    """Trained weights first, then the others: as an unfrozen and as a frozen inner model are written."""
    inner = [L.Dense(2, name="d", input_shape=(2,)), L.BatchNormalization(name="n"), L.BatchNormalization(name="m")]
    model = tc.Sequential([tc.Sequential(inner, name="inner")])
    arrays = {f"{n}/{w}:0": np.full(2, i, "f4") for i, (n, w) in enumerate(
        (n, w) for n in "nm" for w in ("gamma", "beta", "moving_mean", "moving_variance"))}  # fmt: skip
    dense = {"d/kernel:0": np.eye(2, dtype="f4"), "d/bias:0": np.zeros(2, "f4")}
    moving = {name: array for name, array in arrays.items() if "moving" in name}
    others = {name: array for name, array in arrays.items() if "moving" not in name}
    for order in ({**dense, **others, **moving}, {**dense, **arrays}):
        write_keras2(tmp_path / "w.h5", {"inner": order, "empty": {}})
        model.set_weights([np.ones_like(w) for w in model.get_weights()])
        model.load_weights(tmp_path / "w.h5")
        assert [w.flat[0] for w in model.get_weights()[2:]] == list(range(8))


def test_kernels_of_theano_are_flipped_and_those_of_keras_1_turned(tmp_path):
    """Theano's convolution turns the kernel by 180 degrees; Keras 1 kept (filters, channels, rows, columns)."""
    model = tc.Sequential([L.Conv2D(4, (3, 2), data_format="channels_first", input_shape=(2, 5, 5), name="c")])
    write_keras2(tmp_path / "w.h5", {"c": {"c/kernel:0": KERNEL, "c/bias:0": BIAS}}, backend="theano")
    model.load_weights(tmp_path / "w.h5")
    np.testing.assert_array_equal(model.get_weights()[0], KERNEL[::-1, ::-1])
    turned = KERNEL.transpose(3, 2, 0, 1)
    for version in ("1.2.2", None):
        write_keras2(tmp_path / "w.h5", {"c": {"c_W": turned, "c_b": BIAS}}, version)
        model.load_weights(tmp_path / "w.h5")
        np.testing.assert_array_equal(model.get_weights()[0], KERNEL)
        np.testing.assert_array_equal(model.get_weights()[1], BIAS)


def test_a_model_description_of_keras_2(tmp_path):
    """A graph in the old form, with Keras 2's names of arguments."""
    dense = {"units": 2, "activation": "linear", "use_bias": False, "trainable": True, "dtype": "float32",
             "kernel_initializer": {"class_name": "VarianceScaling", "config": {
                 "scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None}}}  # fmt: skip
    shape = {"batch_input_shape": [None, 3], "dtype": "float32", "sparse": False}
    config = {
        "name": "model_1",
        "layers": [
            {"name": "x", "class_name": "InputLayer", "config": {"name": "x", **shape}, "inbound_nodes": []},
            {"name": "d", "class_name": "Dense", "config": {"name": "d", **dense},
             "inbound_nodes": [[["x", 0, 0, {}]]]},
            {"name": "e", "class_name": "Dense", "config": {"name": "e", **dense},
             "inbound_nodes": [[["d", 0, 0, {}]], [["n", 0, 0, {}]]]},
            {"name": "n", "class_name": "BatchNormalization", "config": {"name": "n", "axis": [-1], "epsilon": 0.5},
             "inbound_nodes": [[["d", 0, 0, {}]]]},
            {"name": "s", "class_name": "Add", "config": {"name": "s"},
             "inbound_nodes": [[["e", 0, 0, {}], ["e", 1, 0, {}]]]},
        ],
        "input_layers": [["x", 0, 0]],
        "output_layers": [["s", 0, 0]],
    }  # fmt: skip
    kernel, square = RNG.normal(size=(3, 2)).astype("f4"), RNG.normal(size=(2, 2)).astype("f4")
    moving = {f"n/{w}:0": np.full(2, v, "f4") for w, v in
              (("gamma", 2), ("beta", 3), ("moving_mean", 1), ("moving_variance", 0.75))}  # fmt: skip
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": config}).encode()
        write_keras2(tmp_path / "w.h5", {"d": {"d/kernel:0": kernel}, "e": {"e/kernel:0": square}, "n": moving})
        with h5py.File(tmp_path / "w.h5") as weights:
            weights.copy(weights["/"], file, "model_weights")
    model = tc.load_model(path)
    x = RNG.normal(size=(5, 3)).astype("f4")
    y = x @ kernel
    np.testing.assert_allclose(model.predict(x), y @ square + (2 * (y - 1) / np.sqrt(1.25) + 3) @ square, rtol=1e-4)
    assert model.optimizer is None


# --- writing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".weights.h5", ".h5", ".hdf5"])
@pytest.mark.parametrize("make", [conv, graph])
def test_weights_come_back(make, ending, tmp_path):
    model, other = make(), make()
    model.save_weights(tmp_path / f"w{ending}")
    other.load_weights(tmp_path / f"w{ending}")
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["conv", "graph"])
def test_weight_files_are_laid_out_as_those_of_keras(kind, tmp_path):
    """The same groups, names of layers, arrays and values as in the files that Keras wrote for the same model."""
    model = conv() if kind == "conv" else graph()
    model.load_weights(DATA / f"{kind}.keras")
    model.save_weights(tmp_path / "own.weights.h5")

    def arrays(path):
        with h5py.File(path) as file:
            found = {}
            file.visititems(
                lambda name, node: found.update({name: node[()] if isinstance(node, h5py.Dataset) else None})
            )
        return {name: value for name, value in found.items() if not name.startswith("optimizer")}

    own, theirs = arrays(tmp_path / "own.weights.h5"), arrays(DATA / f"{kind}.weights.h5")
    assert list(own) == list(theirs)
    for name, value in theirs.items():
        np.testing.assert_array_equal(own[name], value)


def test_h5py_reads_what_is_written_in_the_layout_of_keras_2(tmp_path):
    model = conv()
    model.save_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        assert list(file.attrs["layer_names"]) == [layer.name for layer in model.layers]
        group = file["bn"]
        assert list(group.attrs["weight_names"]) == [
            f"bn/{w}:0" for w in ("gamma", "beta", "moving_mean", "moving_variance")
        ]
        np.testing.assert_array_equal(group["bn/moving_variance:0"][()], model.get_layer("bn").get_weights()[3])
        assert file["c1/c1/kernel:0"].shape == (3, 3, 3, 4)


@pytest.mark.parametrize(
    "layer",
    [
        L.Dense(2, activation="relu", kernel_regularizer="l2", kernel_constraint="max_norm"),
        L.Conv2D(2, (3, 1), strides=2, padding="same", data_format="channels_first", trainable=False),
        L.BatchNormalization(axis=1, momentum=0.5, gamma_regularizer=tc.regularizers.L1(0.5)),
        L.AveragePooling2D((2, 3), padding="same"),
        L.UpSampling1D(3),
        L.ZeroPadding2D(((1, 2), (3, 4))),
        L.Embedding(5, 2),
        L.Dense(1, dtype="float64", bias_initializer=tc.initializers.Constant(0.5)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_descriptions_come_back(layer):
    description = json.loads(json.dumps(interop.to_keras_config(layer)))
    assert description["module"] == "keras.layers"
    assert interop.from_keras_config(description).get_config() == layer.get_config()


@pytest.mark.parametrize("padding", [1, "same_lower"])
def test_padding_that_keras_does_not_have(padding):
    with pytest.raises(ValueError, match="Keras has no padding"):
        interop.to_keras_config(L.Conv2D(1, 3, padding=padding))


@pytest.mark.parametrize("ending", [".hdf5", ".h5", ".keras"])
def test_a_whole_model_with_its_optimizer(ending, tmp_path):
    """programs.md: ``model.save("shallownet_weights.hdf5")``, then ``load_model``; training goes on as if never cut."""
    tc.set_seed(1)
    model = conv()
    model.compile(tc.optimizers.Adam(0.01), "categorical_crossentropy", ["accuracy"])
    model.fit(IMAGES, LABELS, epochs=3, verbose=0)
    model.class_names = ["a", "b"]
    path = tmp_path / f"shallownet_weights{ending}"
    model.save(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    loaded = tc.load_model(path)
    assert loaded.class_names == ["a", "b"]
    assert loaded.optimizer.iterations == 3
    np.testing.assert_array_equal(loaded.predict(IMAGES), model.predict(IMAGES))
    for each in (model, loaded):
        each.fit(IMAGES, LABELS, epochs=2, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = conv()
    other.load_weights(path)
    with pytest.raises(FileExistsError, match="overwrite=False"):
        model.save(path, overwrite=False)


def test_an_own_class_in_every_format(tmp_path):
    @tc.registry.register("interop")
    class Scale(L.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight((), tc.initializers.Constant(3.0), "factor")

        def call(self, x):
            return x * self.factor

    model = tc.Sequential([Scale(input_shape=(2,))])
    for ending in (".h5", ".keras", ".tinyconv"):
        model.save(tmp_path / f"m{ending}")
        assert tc.load_model(tmp_path / f"m{ending}").predict(np.ones((1, 2))).tolist() == [[3, 3]]


def test_what_keras_has_no_words_for_is_saved_all_the_same(tmp_path):
    model = tc.Sequential([L.Conv2D(1, 3, padding=2, input_shape=(4, 4, 1))])
    with pytest.raises(ValueError, match="Keras has no padding"):
        interop.to_keras_config(model)
    for ending in (".h5", ".keras"):
        model.save(tmp_path / f"m{ending}")
        found = tc.load_model(tmp_path / f"m{ending}")
        np.testing.assert_array_equal(found.predict(np.ones((1, 4, 4, 1))), model.predict(np.ones((1, 4, 4, 1))))


def test_without_h5py_the_name_does_not_matter(tmp_path):
    """The own format takes its place, which ``load_model`` knows by its contents; Keras's files say what is missing."""
    program = """
        import sys, warnings
        sys.modules["h5py"] = None
        import numpy as np, tinyconv as tc
        folder, keras = sys.argv[1:]
        model = tc.Sequential([tc.layers.Dense(2, input_shape=(3,))])
        for name in ("a.hdf5", "b.h5", "c.keras"):
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always")
                model.save(f"{folder}/{name}")
            assert "pip install h5py" in str(found[0].message), found
            assert (tc.load_model(f"{folder}/{name}").get_weights()[0] == model.get_weights()[0]).all()
        for kind in (".h5", ".keras"):
            try:
                tc.load_model(keras + kind)
            except ImportError as error:
                assert "pip install h5py" in str(error)
            else:
                raise AssertionError
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), tmp_path, DATA / "conv"], check=True)


# --- files that lie --------------------------------------------------------------------------------------------


def test_lambda_layers_and_unknown_things_are_refused_by_name():
    wrap = lambda kind, **config: {"class_name": kind, "config": config}  # noqa: E731
    wrong = {
        "Lambda layer, that is Python code": wrap("Lambda", function=["marshal", None, None]),
        "Unknown layer.*'LSTMM'": wrap("LSTMM", units=3),
        "Dense 'd' has arguments that tinyconv does not know: .'colour'": wrap("Dense", units=3, name="d", colour=3),
        "mixed_float16": wrap("Dense", units=3, dtype=wrap("DTypePolicy", name="mixed_float16")),
        "class_name and config": {"class_name": 3},
        "no layer gives: .'d'": wrap("Functional", name="m", layers=[{
            **wrap("Dense", units=1, name="d"), "name": "d", "inbound_nodes": [[["e", 0, 0, {}]]]}],
            input_layers=[], output_layers=[]),
    }  # fmt: skip
    for message, config in wrong.items():
        with pytest.raises(ValueError, match=message):
            interop.from_keras_config(config)


def change(source, target, edit):
    """A copy of an HDF5 file with a change."""
    target.write_bytes(source.read_bytes())
    with h5py.File(target, "r+") as file:
        edit(file)


def relink(link):
    def edit(file):
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = link

    return edit


def huge(file):
    del file["layers/conv2d/vars/0"]
    file["layers/conv2d/vars"].create_dataset("0", (10**6, 10**6), "f4", chunks=(1000, 1000))


def loop(file):
    file["layers/conv2d/again"] = file["layers"]


def exponential(file):
    """Two links to the next group in each of forty: a million million paths."""
    group = file["layers"].create_group("more")
    for _ in range(40):
        inner = group.create_group("a")
        group["b"] = inner
        group = inner


def outside(file):
    del file["layers/conv2d/vars/0"]
    file["layers/conv2d/vars"].create_dataset("0", (3, 3, 3, 4), "f4", external=[("/etc/passwd", 0, 432)])


def drop(name):
    def edit(file):
        del file[name]

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        relink(h5py.ExternalLink("/etc/passwd", "/x")),
        relink(h5py.SoftLink("/layers/dense/vars/0")),
        relink(np.array([b"text"])),
        relink(np.zeros((3, 3, 3, 4), "i4")),
        relink(np.zeros((3, 3, 4, 3), "f4")),
        huge,
        loop,
        exponential,
        outside,
        drop("layers/conv2d"),
        drop("layers"),
    ],
)
def test_weight_files_that_lie(edit, tmp_path):
    path = tmp_path / "lie.h5"
    change(DATA / "conv.weights.h5", path, edit)
    model = conv()
    before = model.get_weights()
    with pytest.raises(ValueError, match="lie.h5 (cannot be loaded|is not a Keras file)"):
        model.load_weights(path)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def archive(changes):
    """``conv.keras`` with other members."""
    target = io.BytesIO()
    with zipfile.ZipFile(DATA / "conv.keras") as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for name in source.namelist():
            data = changes(name, source.read(name))
            if data is not None:
                made.writestr(name, data)
    return target.getvalue()


def in_config(old, new):
    return archive(lambda name, data: data.replace(old, new) if name == "config.json" else data)


ARCHIVES = {
    "cut": lambda: (DATA / "conv.keras").read_bytes()[:20_000],
    "no weights": lambda: archive(lambda name, data: None if name.endswith(".h5") else data),
    "no config": lambda: archive(lambda name, data: None if name == "config.json" else data),
    "weights are text": lambda: archive(lambda name, data: b"text" if name.endswith(".h5") else data),
    "a bomb": lambda: archive(lambda name, data: bytes(2**27) if name == "config.json" else data),
    "a bomb of weights": lambda: archive(lambda name, data: data + bytes(2**27) * name.endswith(".h5")),
    "config is a list": lambda: archive(lambda name, data: b"[]" if name == "config.json" else data),
    "config is deep": lambda: archive(lambda name, data: b"[" * 10**5 if name == "config.json" else data),
    "many filters": lambda: in_config(b'"filters": 4', b'"filters": 4000000000'),
    "ones, many": lambda: in_config(b'"units": 2', b'"units": 2000000000'),
    "other units": lambda: in_config(b'"units": 2', b'"units": 3'),
    "import": lambda: in_config(b'"class_name": "Dense"', b'"class_name": "os.system"'),
    "optimizer": lambda: in_config(b'"class_name": "Conv2D"', b'"class_name": "SGD"'),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_that_lie(kind, tmp_path):
    path = tmp_path / "lie.keras"
    path.write_bytes(ARCHIVES[kind]())
    with pytest.raises(ValueError, match="lie.keras"):
        tc.load_model(path)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.8, 0.99])
def test_truncated_hdf5(share, tmp_path):
    data = (DATA / "conv.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match="cut.h5 is not a Keras file, or it is damaged"):
        tc.load_model(tmp_path / "cut.h5")


# --- VGG16 -----------------------------------------------------------------------------------------------------


def vgg16(functional):
    """The convolutional part of VGG16 (networks.md, 7), for images of 32 x 32."""
    layers = []
    for block, (count, filters) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], 1):
        for i in range(count):
            name = f"block{block}_conv{i + 1}"
            layers.append(L.Conv2D(filters, 3, padding="same", activation="relu", name=name))
        layers.append(L.MaxPooling2D(2, name=f"block{block}_pool"))
    if not functional:
        return tc.Sequential([tc.Input((32, 32, 3)), *layers])
    x = y = tc.Input((32, 32, 3))
    for layer in layers:
        y = layer(y)
    return tc.Model(x, y)


@pytest.mark.skipif(not VGG16.is_file(), reason=f"needs VGG16's weights at {VGG16}")
@pytest.mark.parametrize("functional", [False, True])
def test_vgg16s_imagenet_weights(functional):
    model = vgg16(functional)
    assert model.count_params() == 14_714_688
    model.load_weights(VGG16)
    with h5py.File(VGG16) as file:
        for layer in model.layers:
            for weight, kind in zip(layer.get_weights(), ("kernel", "bias"), strict=False):
                np.testing.assert_array_equal(weight, file[f"{layer.name}/{layer.name}/{kind}:0"][()])
    assert model.predict(np.zeros((1, 32, 32, 3))).shape == (1, 1, 1, 512)
    for layer in model.layers:
        layer.trainable = "block5" in layer.name
    assert sum(w.size for w in model.trainable_weights) == 7_079_424, "networks.md, 14.2"
