"""Scaling of pixels and names of classes, against the formulas in float64."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinyconv as tc
from tinyconv import applications
from tinyconv.applications.imagenet_utils import decode_predictions, preprocess_input

MEANS = np.array([123.68, 116.779, 103.939])
FORMULAS = {
    "caffe": lambda x: (x - MEANS)[..., ::-1],
    "tf": lambda x: x / 127.5 - 1,
    "torch": lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
}


def test_documented_vectors():
    np.testing.assert_allclose(preprocess_input(np.array([[[123.68, 116.779, 103.939]]])), np.zeros((1, 1, 3)))
    pixels = np.array([0.0, 127.5, 255.0]).reshape(1, 1, 3)
    np.testing.assert_array_equal(preprocess_input(pixels, mode="tf").ravel(), [-1, 0, 1])
    one = applications.inception_v3.preprocess_input(np.array([[[255.0, 0.0, 51.0]]]))
    np.testing.assert_allclose(one.ravel(), [(v / 255 - 0.5) * 2 for v in (255, 0, 51)])


@given(
    x=hnp.arrays(
        st.sampled_from([np.uint8, np.int32, np.float32, np.float64]),
        st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.just(3)),
        elements=st.integers(0, 255),
    ),
    mode=st.sampled_from(["caffe", "tf", "torch"]),
    batched=st.booleans(),
    first=st.booleans(),
)
def test_modes_against_their_formulas(x, mode, batched, first):
    x = x if batched else x[0]
    expected = FORMULAS[mode](x.astype("float64"))
    if first:
        x, expected = np.moveaxis(x, -1, -3), np.moveaxis(expected, -1, -3)
    before = x.copy()
    y = preprocess_input(x, "channels_first" if first else "channels_last", mode)
    np.testing.assert_array_equal(x, before)
    assert y.shape == x.shape
    assert y.dtype == (x.dtype if x.dtype.kind == "f" else np.float32)
    assert not np.shares_memory(x, y)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("module", "mode"),
    [
        ("vgg16", "caffe"), ("vgg19", "caffe"), ("resnet", "caffe"), ("resnet50", "caffe"), ("senet", "caffe"),
        ("alexnet", "caffe"), ("googlenet", "caffe"), ("squeezenet", "caffe"), ("inception_v3", "tf"),
        ("xception", "tf"), ("mobilenet", "tf"), ("mobilenet_v2", "tf"),
    ],
)  # fmt: skip
def test_each_network_has_its_scaling(module, mode):
    found = getattr(applications, module)
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 3), "uint8")
    np.testing.assert_allclose(found.preprocess_input(x), FORMULAS[mode](x.astype("float64")), rtol=1e-5, atol=2e-5)
    turned = found.preprocess_input(x.transpose(0, 3, 1, 2), data_format="channels_first")
    np.testing.assert_array_equal(turned.transpose(0, 2, 3, 1), found.preprocess_input(x))
    assert found.decode_predictions is decode_predictions


def test_the_configured_format_counts():
    x = np.random.default_rng(0).random((3, 4, 5)) * 255
    tc.config.set_image_data_format("channels_first")
    try:
        y = preprocess_input(x)
    finally:
        tc.config.set_image_data_format("channels_last")
    np.testing.assert_allclose(y, np.moveaxis(FORMULAS["caffe"](np.moveaxis(x, 0, -1)), -1, 0))


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.zeros((4, 4, 3)), {"mode": "keras"}, "mode must be 'caffe', 'tf' or 'torch'. Received: 'keras'"),
        (np.zeros((4, 4)), {}, r"3 or 4 axes. Received: shape \(4, 4\)"),
        (np.zeros((4, 4, 1)), {}, r"3 channels on axis 2 in mode 'caffe'. Received: shape \(4, 4, 1\)"),
        (np.zeros((4, 4, 3)), {"data_format": "channels_first"}, "3 channels on axis 0"),
        (np.zeros((4, 4, 3)), {"data_format": "last"}, "data_format"),
    ],
)
def test_what_is_no_image_is_refused(x, options, message):
    with pytest.raises(ValueError, match=message):
        preprocess_input(x, **options)


def test_tensors_are_welcome():
    x = np.random.default_rng(0).random((2, 2, 3)).astype("float32")
    np.testing.assert_array_equal(preprocess_input(tc.Tensor(x)), preprocess_input(x))


# --- classes ---------------------------------------------------------------------------------------------------


@pytest.fixture
def class_index(tmp_path):
    path = tmp_path / "imagenet_class_index.json"
    path.write_text(json.dumps({str(i): [f"n{i:08}", f"class_{i}"] for i in range(1000)}))
    return path


def test_highest_first(class_index):
    preds = np.random.default_rng(0).random((3, 1000))
    named = decode_predictions(preds, top=4, class_index=class_index)
    for row, found in zip(preds, named, strict=True):
        best = sorted(range(1000), key=lambda i: row[i], reverse=True)[:4]
        assert found == [(f"n{i:08}", f"class_{i}", row[i]) for i in best]
    assert len(decode_predictions(tc.Tensor(preds), class_index=class_index)[0]) == 5


def test_equal_values_in_order_of_classes(class_index):
    (named,) = decode_predictions(np.zeros((1, 1000)), top=3, class_index=str(class_index))
    assert [name for _, name, _ in named] == ["class_0", "class_1", "class_2"]


def test_the_list_in_the_cache_is_found(tmp_path, monkeypatch, class_index):
    monkeypatch.setenv("TINYCONV_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        decode_predictions(np.zeros((1, 1000)))
    message = str(caught.value)
    assert "imagenet_class_index.json" in message
    assert str(tmp_path / "models") in message
    assert "class_index=" in message
    (tmp_path / "models").mkdir()
    class_index.rename(tmp_path / "models" / class_index.name)
    assert decode_predictions(np.eye(1000)[[7]])[0][0] == ("n00000007", "class_7", 1.0)


@pytest.mark.parametrize("shape", [(1000,), (2, 999), (1, 1, 1000)])
def test_predictions_of_another_shape_are_refused(shape, class_index):
    with pytest.raises(ValueError, match=r"\(N, 1000\)"):
        decode_predictions(np.zeros(shape), class_index=class_index)


@pytest.mark.parametrize("top", [0, 1001, True, 2.0])
def test_top_is_a_number_of_classes(top, class_index):
    with pytest.raises(ValueError, match="top must be an integer from 1 to 1000"):
        decode_predictions(np.zeros((1, 1000)), top, class_index)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"0": 1}', json.dumps({str(i): ["n", "a"] for i in range(999)}),
        json.dumps({str(i): ["n", "a", "b"] for i in range(1000)}), json.dumps({str(i): "ab" for i in range(1000)}),
        json.dumps({str(i): ["n", 1] for i in range(1000)}), "[" * 100_000, "\ud800",
    ],
    ids=["empty", "list", "no classes", "number", "999", "three", "string", "not a name", "deep", "not text"],
)  # fmt: skip
def test_damaged_lists_are_refused(text, tmp_path):
    path = tmp_path / "classes.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=r"classes\.json is no list of ImageNet's classes"):
        decode_predictions(np.zeros((1, 1000)), class_index=path)
