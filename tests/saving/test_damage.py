"""Files that are damaged, foreign or lie: always a clear ``ValueError``; nothing is imported or evaluated."""

import copy
import json
import pickle
import struct
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc


def make_model():
    model = tc.Sequential(
        [
            tc.layers.Conv2D(2, 3, activation="relu", input_shape=(5, 5, 1), name="conv"),
            tc.layers.BatchNormalization(name="norm"),
            tc.layers.Dropout(0.5, seed=1),
            tc.layers.Flatten(),
            tc.layers.Dense(2, activation="softmax", kernel_regularizer="l2", name="top"),
        ]
    )
    model.compile(tc.optimizers.SGD(0.1, momentum=0.9), "categorical_crossentropy", ["acc"])
    model.fit(np.ones((4, 5, 5, 1)), np.eye(2)[[0, 1, 0, 1]], verbose=0)
    model.class_names = ["a", "b"]
    return model


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "model"
    make_model().save(path)
    return path.read_bytes()


def split(data):
    """JSON header of a safetensors file, and what follows it."""
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def join(header, body):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def with_description(data, change):
    """The file with another description of the model: ``change`` edits it or returns a new one."""
    header, body = split(data)
    description = json.loads(header["__metadata__"]["tinyconv"])
    changed = change(description)
    header["__metadata__"]["tinyconv"] = json.dumps(description if changed is None else changed)
    return join(header, body)


@pytest.fixture
def load(tmp_path):
    def attempt(data):
        path = tmp_path / "model"
        path.write_bytes(data)
        return tc.load_model(path)

    return attempt


def test_the_tools_of_this_test_leave_a_file_whole(whole, load):
    assert load(with_description(whole, lambda description: None)).count_params() == 20 + 8 + 38


@pytest.mark.parametrize("share", [0, 0.0001, 0.01, 0.3, 0.6, 0.9, 0.9999])
def test_truncated(whole, load, share):
    with pytest.raises(ValueError, match="not a tinyconv file, or it is damaged"):
        load(whole[: int(len(whole) * share)])


FOREIGN = {
    "text": b"hello world, this is a text file and no model\n" * 20,
    "png": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(200),
    "zip": b"PK\x03\x04" + bytes(200),
    "pickle": pickle.dumps({"weights": [1, 2, 3]}),
    "header of 2**63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "header of 100 MB in a small file": struct.pack("<Q", 10**8) + b"{}",
    "header that is no JSON": struct.pack("<Q", 4) + b"oops",
    "header that is a list": struct.pack("<Q", 2) + b"[]",
    "empty safetensors": struct.pack("<Q", 2) + b"{}",
    "someone else's safetensors": join({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "description that is no JSON": join({"__metadata__": {"tinyconv": "{"}}, b""),
    "description that is deep": join({"__metadata__": {"tinyconv": "[" * 100_000}}, b""),
    "description that is a number": join({"__metadata__": {"tinyconv": "3"}}, b""),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign(load, kind):
    with pytest.raises(ValueError, match=f"not a {'Keras' if kind in ('hdf5', 'zip') else 'tinyconv'} file"):
        load(FOREIGN[kind])


def test_a_pickle_is_not_unpickled(load):
    class Bomb:
        def __reduce__(self):
            return (sys.exit, ("unpickled",))

    with pytest.raises(ValueError, match="not a tinyconv file"):
        load(pickle.dumps(Bomb()))


def lie(entry, **changes):
    def change(header):
        header[entry].update(changes)

    return change


KERNEL, SLOT = "weights/conv/kernel", "optimizer/velocity/0"  # 3 x 3 x 1 x 2


@pytest.mark.parametrize(
    "change",
    [
        lie(KERNEL, shape=[3, 3, 1, 200]),
        lie(KERNEL, shape=[2**40, 2**40]),
        lie(KERNEL, shape=[3, 3, 2, 1]),
        lie(KERNEL, shape=[18]),
        lie(KERNEL, shape=[-18]),
        lie(KERNEL, dtype="F64"),
        lie(KERNEL, dtype="I32"),
        lie(KERNEL, dtype="BF16", shape=[3, 3, 2, 2]),
        lie(KERNEL, dtype="F16", shape=[3, 3, 1, 4]),
        lie(KERNEL, dtype="object"),
        lie(KERNEL, data_offsets=[0, 2**50]),
        lie(KERNEL, data_offsets=[-72, 0]),
        lie(SLOT, shape=[18]),
        lambda header: header.pop(KERNEL),
        lambda header: header.update({"weights/extra": copy.copy(header[KERNEL])}),
    ],
)  # fmt: skip
def test_lies_about_tensors(whole, load, change):
    header, body = split(whole)
    change(header)
    with pytest.raises(ValueError, match="damaged|cannot be loaded"):
        load(join(header, body))


def at(*keys, value):
    def change(description):
        *outer, last = keys
        place = description
        for key in outer:
            place = place[key]
        place[last] = value

    return change


LAYERS = ("model", "config", "layers")

LIES = {
    "units": at(*LAYERS, 4, "config", "units", value=3),
    "10**12 units": at(*LAYERS, 4, "config", "units", value=10**12),
    "10**12 filters": at(*LAYERS, 0, "config", "filters", value=10**12),
    "vast input": at("model", "config", "input_shape", value=[None, 10**7, 10**7, 1]),
    "many channels": at("model", "config", "input_shape", value=[None, 5, 5, 10**13]),
    "negative units": at(*LAYERS, 4, "config", "units", value=-1),
    "unknown layer": at(*LAYERS, 4, "class_name", value="Densee"),
    "import": at(*LAYERS, 4, "class_name", value="os.system"),
    "builtin": at(*LAYERS, 4, "class_name", value="builtins>eval"),
    "class that is no name": at(*LAYERS, 4, "class_name", value=["Dense"]),
    "class that is no layer": at(*LAYERS, 4, "class_name", value="SGD"),
    "model that is a layer": at("model", value={"class_name": "Dense", "config": {"units": 1}}),
    "unknown activation": at(*LAYERS, 4, "config", "activation", value="__import__('os')"),
    "unknown argument": at(*LAYERS, 4, "config", "colour", value="red"),
    "no configuration": at(*LAYERS, 4, "config", value=None),
    "missing layers": at("model", "config", value={}),
    "layer twice": at(*LAYERS, 4, "config", "name", value="conv"),
    "number as class names": at("class_names", value=3),
    "numbers as class names": at("class_names", value=[1, 2]),
    "unknown optimizer": at("compile", "optimizer", "class_name", value="Adamm"),
    "unknown loss": at("compile", "loss", value="os.system"),
    "unknown argument of compile": at("compile", "colour", value="red"),
    "compile is a list": at("compile", value=[1]),
    "momentum": at("compile", "optimizer", "config", "momentum", value="much"),
    "optimizer of one variable": at("optimizer_variables", value=[0]),
    "optimizer of none": at("optimizer_variables", value=[99]),
    "streams": at("random_streams", value={"0": {"bit_generator": "MT19937"}}),
    "stream of no layer": at("random_streams", value={"77": {}}),
    "no streams": at("random_streams", value=None),
    "order": at("order", value=["weights/a"]),
    "order of numbers": at("order", value=[1, 2]),
    "version": at("version", value=2),
    "version of the future": at("version", value="99"),
}


@pytest.mark.parametrize("kind", LIES)
def test_lies_about_the_model(whole, load, kind):
    modules = set(sys.modules)
    with pytest.raises(ValueError, match=r"model.* (cannot be loaded: |is damaged|has format version)"):
        load(with_description(whole, LIES[kind]))
    assert not {name for name in set(sys.modules) - modules if not name.startswith(("tinyconv", "numpy", "scipy"))}


def test_unknown_classes_are_named_with_the_fix(whole, load):
    with pytest.raises(ValueError, match=r"Unknown layer.*Received: 'Mine>Swish'; pass own classes as custom_objects"):
        load(with_description(whole, at(*LAYERS, 4, "class_name", value="Mine>Swish")))


def places(value, path=()):
    """Where there is something in nested lists and dictionaries."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from places(inner, (*path, key))


JUNK = [None, True, -1, 0, 10**18, 0.5, "", "x", "../../etc/passwd", "\x00", [], [None], [[]], {}, {"class_name": ""}]


def load_or_refuse(path):
    """Load a file, or get a ``ValueError`` that names it; anything else fails the test."""
    try:
        return tc.load_model(path)
    except ValueError as error:
        return str(path) in str(error)


@given(data=st.data())
def test_any_change_of_the_description_loads_or_raises_value_error(whole, tmp_path_factory, data):
    header, body = split(whole)
    description = json.loads(header["__metadata__"]["tinyconv"])
    place = data.draw(st.sampled_from(list(places(description))))
    at(*place, value=data.draw(st.sampled_from(JUNK)))(description)
    header["__metadata__"]["tinyconv"] = json.dumps(description)
    path = tmp_path_factory.getbasetemp() / "junk"
    path.write_bytes(join(header, body))
    assert load_or_refuse(path)


@given(place=st.floats(0, 1), bits=st.integers(1, 255))
def test_any_changed_byte_of_the_header_loads_or_raises_value_error(whole, tmp_path_factory, place, bits):
    size = 8 + struct.unpack("<Q", whole[:8])[0]
    position = min(int(place * size), size - 1)
    data = bytearray(whole)
    data[position] ^= bits
    path = tmp_path_factory.getbasetemp() / "flipped"
    path.write_bytes(data)
    assert load_or_refuse(path)


def test_a_refused_weight_file_changes_nothing(whole, tmp_path):
    model = make_model()
    before = model.get_weights()
    header, body = split(whole)
    lie(KERNEL, shape=[18])(header)
    (tmp_path / "w").write_bytes(join(header, body))
    with pytest.raises(ValueError, match="kernel"):
        model.load_weights(tmp_path / "w")
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
