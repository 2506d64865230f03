"""Label encodings; scikit-learn is the oracle of the encoders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyconv.datasets import LabelBinarizer, LabelEncoder, to_categorical

preprocessing = pytest.importorskip("sklearn.preprocessing")

labels = st.one_of(
    st.lists(st.integers(-5, 5), min_size=1, max_size=30),
    st.lists(st.text("abcäß", max_size=3), min_size=1, max_size=30),
    st.lists(st.booleans(), min_size=1, max_size=30),
)


@given(
    y=hnp.arrays(
        st.sampled_from(["uint8", "int64", "float32"]), hnp.array_shapes(), elements=st.integers(0, 6)
    ),
    extra=st.integers(0, 3) | st.none(),
)
def test_to_categorical(y, extra):
    classes = None if extra is None else int(y.max()) + 1 + extra
    rows = to_categorical(y, classes)
    shape = y.shape[:-1] if y.ndim > 1 and y.shape[-1] == 1 else y.shape
    assert rows.shape == (*shape, classes or int(y.max()) + 1)
    assert rows.dtype == np.float32
    for index in np.ndindex(shape):
        expected = [0.0] * rows.shape[-1]
        expected[int(y.reshape(shape)[index])] = 1.0
        assert rows[index].tolist() == expected


def test_to_categorical_of_the_book():
    assert to_categorical([3], 10, dtype="int32").tolist() == [[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]]
    assert to_categorical([], 4).shape == (0, 4)


@pytest.mark.parametrize(
    ("y", "classes", "error", "told"),
    [
        ([0, 4], 4, ValueError, "whole numbers from 0 to 3. Received 4"),
        ([0, -1], None, ValueError, "whole numbers from 0 to 0. Received -1"),
        ([0.5, 1.0], None, ValueError, "Received 0.5"),
        ([0.0, float("nan")], 2, ValueError, "Received nan"),
        ([], None, ValueError, "expected num_classes"),
        (["cat"], None, TypeError, "LabelBinarizer takes names.*Received <U3"),
    ],
)
def test_to_categorical_errors(y, classes, error, told):
    with pytest.raises(error, match=told):
        to_categorical(y, classes)


@pytest.mark.parametrize("name", ["LabelEncoder", "LabelBinarizer"])
@given(y=labels)
def test_encoders_equal_scikit_learns(name, y):
    ours = {"LabelEncoder": LabelEncoder, "LabelBinarizer": LabelBinarizer}[name]()
    theirs = getattr(preprocessing, name)()
    received, expected = ours.fit_transform(y), theirs.fit_transform(y)
    np.testing.assert_array_equal(received, expected)
    assert (received.dtype, received.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.inverse_transform(received), np.asarray(y))


@given(y=labels, seed=st.integers(0, 100))
def test_binarizer_decodes_scores(y, seed):
    ours, theirs = LabelBinarizer().fit(y), preprocessing.LabelBinarizer().fit(y)
    width = theirs.transform(y).shape[1]
    scores = np.random.default_rng(seed).random((20, width))
    np.testing.assert_array_equal(
        ours.inverse_transform(scores), theirs.inverse_transform(scores, threshold=0.5)
    )


def test_two_classes():
    binarizer = LabelBinarizer().fit(["smile", "not"])
    assert binarizer.transform(["not", "smile"]).tolist() == [[0], [1]]
    assert binarizer.inverse_transform([0.2, 0.9]).tolist() == ["not", "smile"]
    assert binarizer.inverse_transform([[0.6, 0.4], [0.1, 0.9]]).tolist() == ["not", "smile"]


@pytest.mark.parametrize("encoder", [LabelEncoder, LabelBinarizer])
def test_columns_and_empty_input(encoder):
    assert encoder().fit(np.array([[3], [5], [4]])).classes_.tolist() == [3, 4, 5]
    assert len(encoder().fit([1, 2, 3]).transform([])) == 0


@pytest.mark.parametrize("encoder", [LabelEncoder, LabelBinarizer])
def test_errors(encoder):
    name = encoder.__name__
    with pytest.raises(ValueError, match=f"{name} has no classes yet: call fit first"):
        encoder().transform([1])
    with pytest.raises(ValueError, match="at least one label"):
        encoder().fit([])
    with pytest.raises(ValueError, match="Received NaN"):
        encoder().fit([1.0, float("nan")])
    with pytest.raises(ValueError, match=r"shape \(N,\) or \(N, 1\). Received \(2, 2\)"):
        encoder().fit(np.eye(2))
    with pytest.raises(ValueError, match="expected the labels 'cat', 'dog'. Received 'fox'"):
        encoder().fit(["dog", "cat"]).transform(["cat", "fox"])
    with pytest.raises(ValueError, match="expected the labels 1, 2, 3, 4, 5, .... Received 'x'"):
        encoder().fit(range(1, 8)).transform(["x"])


def test_inverse_transform_errors():
    with pytest.raises(ValueError, match="expected integers from 0 to 1. Received -1, 2"):
        LabelEncoder().fit(["a", "b"]).inverse_transform([-1, 2])
    with pytest.raises(ValueError, match=r"expected shape \(N, 3\) for 3 classes. Received \(2, 4\)"):
        LabelBinarizer().fit([1, 2, 3]).inverse_transform(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"expected shape \(N, 1 or 2\) for 2 classes. Received \(2, 3\)"):
        LabelBinarizer().fit([1, 2]).inverse_transform(np.ones((2, 3)))
