"""``save_weights`` and ``load_weights``: by order and by name, with and without mismatches; all or nothing."""

import json
import struct
import tracemalloc

import numpy as np
import pytest

import tinyconv as tc

L = tc.layers
X = np.random.default_rng(0).normal(size=(4, 3)).astype("f4")


def stack(units=2, names=("a", "n", "b")):
    layers = [L.Dense(4, name=names[0]), L.BatchNormalization(name=names[1]), L.Dense(units, name=names[2])]
    return tc.Sequential([tc.Input((3,)), *layers])


def graph(units=2):
    x = y = tc.Input((3,))
    for layer in stack(units).layers:
        y = type(layer).from_config(layer.get_config())(y)
    return tc.Model(x, y)


def filled(model):
    """The model with weights that are all different."""
    numbers = iter(range(10**6))
    model.set_weights([np.array([next(numbers) for _ in range(w.size)]).reshape(w.shape) for w in model.weights])
    return model


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


ENDINGS = [".tinyconv", ".h5", ".weights.h5"]


@pytest.fixture(params=ENDINGS)
def path(tmp_path, request):
    if request.param != ".tinyconv":
        pytest.importorskip("h5py")
    return tmp_path / f"w{request.param}"


@pytest.mark.parametrize(("source", "target"), [(stack, graph), (graph, stack)])
def test_between_a_stack_and_an_equal_graph(source, target, path):
    model, other = filled(source()), target()
    model.save_weights(path)
    other.load_weights(path)
    assert same(other.get_weights(), model.get_weights())
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_by_name_only_layers_of_equal_names_are_filled(path):
    model, other = filled(stack()), stack(names=("a", "m", "b"))
    model.save_weights(path)
    before = other.get_weights()
    other.load_weights(path, by_name=True)
    assert same(other.get_weights()[:2], model.get_weights()[:2])
    assert same(other.get_weights()[2:6], before[2:6]), "the other's normalisation has another name"
    assert same(other.get_weights()[6:], model.get_weights()[6:])


def test_no_equal_names_at_all(path):
    filled(stack()).save_weights(path)
    other = stack(names=("x", "y", "z"))
    before = other.get_weights()
    with pytest.warns(UserWarning, match="no layer of Sequential .* has one of the names in the file: .*a"):
        other.load_weights(path, by_name=True)
    assert same(other.get_weights(), before)


def test_a_layer_that_does_not_fit_is_named_and_nothing_changes(path):
    filled(stack()).save_weights(path)
    other = stack(units=5)
    before = other.get_weights()
    for options in ({}, {"by_name": True}):
        message = r"Dense 'b' expected shape \(4, 5\) for 'kernel'. Received: \(4, 2\), float32"
        with pytest.raises(ValueError, match=message):
            other.load_weights(path, **options)
        assert same(other.get_weights(), before)


def test_what_does_not_fit_can_be_skipped(path):
    model, other = filled(stack()), stack(units=5)
    model.save_weights(path)
    before = other.get_weights()
    with pytest.warns(UserWarning, match=r"not loaded: Dense 'b' expected shape \(4, 5\)") as found:
        other.load_weights(path, skip_mismatch=True)
    assert [w.filename for w in found] == [__file__]
    assert same(other.get_weights()[:6], model.get_weights()[:6])
    assert same(other.get_weights()[6:], before[6:])


def test_another_number_of_layers(path):
    filled(stack()).save_weights(path)
    other = tc.Sequential([tc.Input((3,)), L.Dense(4, name="a")])
    with pytest.raises(ValueError, match="w.* cannot be loaded: .*(Received|no layers)"):
        other.load_weights(path)
    other.load_weights(path, by_name=True)
    assert same(other.get_weights(), filled(stack()).get_weights()[:2])


def test_weights_of_a_whole_model_and_of_a_model_without_a_shape(path):
    model = filled(stack())
    model.save(path)
    other = graph()
    other.load_weights(path)
    assert same(other.get_weights(), model.get_weights())
    with pytest.raises(ValueError, match="no weights yet"):
        tc.Sequential([L.Dense(2)]).load_weights(path)
    with pytest.raises(FileNotFoundError, match="which does not exist"):
        model.load_weights(path.with_name("missing.h5"))


def test_overwriting_can_be_forbidden(path):
    model = stack()
    for save in (model.save, model.save_weights):
        save(path)
        content = path.read_bytes()
        with pytest.raises(FileExistsError, match="overwrite=False"):
            save(path, overwrite=False)
        assert path.read_bytes() == content


def test_a_failing_write_leaves_the_old_file(path, monkeypatch):
    model = stack()
    model.save_weights(path)
    content = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        model.save_weights(path)
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_float64_and_weights_without_axes(path):
    class Scale(L.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight((), "ones", "factor")

        def call(self, x):
            return x * self.factor

    model = tc.Sequential([tc.Input((3,), dtype="float64"), Scale(dtype="float64", name="s")])
    model.set_weights([np.array(1 + 2.0**-40)])
    model.save_weights(path)
    other = tc.Sequential([tc.Input((3,), dtype="float64"), Scale(dtype="float64", name="s")])
    other.load_weights(path)
    assert other.get_weights()[0] == 1 + 2.0**-40


# --- sizes that are only claimed -------------------------------------------------------------------------------


def claim(path, change):
    """Edit the description in a file of the own format."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    description = json.loads(header["__metadata__"]["tinyconv"])
    change(description["model"]["config"]["layers"])
    header["__metadata__"]["tinyconv"] = json.dumps(description)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


@pytest.mark.parametrize("initializer", ["ones", "zeros", "glorot_uniform", "orthogonal", "he_normal"])
def test_no_memory_is_taken_for_sizes_that_the_file_does_not_have(initializer, tmp_path):
    path = tmp_path / "m"
    stack().save(path)

    def grow(layers):
        layers[2]["config"].update(units=20_000_000, kernel_initializer=initializer, bias_initializer=initializer)

    claim(path, grow)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"describes a weight of shape \(4, 20000000\), but it holds 42 numbers"):
            tc.load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


def test_many_small_claims_are_added_up(tmp_path):
    path = tmp_path / "m"
    stack().save(path)
    claim(path, lambda layers: layers.extend(
        {"class_name": "Dense", "config": {"name": f"d{i}", "units": 4}} for i in range(9)))  # fmt: skip
    with pytest.raises(ValueError, match="describes a weight of shape .* but it holds 42 numbers"):
        tc.load_model(path)
