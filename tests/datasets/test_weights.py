"""Class weights; scikit-learn is the oracle of the balanced ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.datasets import LabelBinarizer, LabelEncoder, class_weights, to_categorical
from tinyconv.models.feed import class_weights_to_sample_weights

numbers = st.lists(st.integers(0, 6), min_size=1, max_size=60)


@given(y=numbers, kind=st.sampled_from(["int64", "uint8", "float32"]))
def test_balanced_equals_scikit_learns(y, kind):
    compute = pytest.importorskip("sklearn.utils.class_weight").compute_class_weight
    classes = np.unique(y)
    received = class_weights(np.array(y, kind), method="balanced")
    assert list(received) == classes.tolist()
    np.testing.assert_array_equal(list(received.values()), compute("balanced", classes=classes, y=y))
    assert sum(received[label] for label in y) == pytest.approx(len(y))


@given(y=numbers)
def test_max_over_count(y):
    received = class_weights(y)
    largest = max(y.count(label) for label in set(y))
    assert received == {label: largest / y.count(label) for label in sorted(set(y))}
    assert {type(key) for key in received} == {int}
    assert {type(weight) for weight in received.values()} == {float}


@given(y=numbers, method=st.sampled_from(["max", "balanced"]))
def test_every_form_of_the_labels(y, method):
    expected = class_weights(y, method)
    assert class_weights(to_categorical(y, 7), method) == expected
    assert class_weights(np.array(y)[:, np.newaxis], method) == expected
    names = np.array(list("abcdefg"))[y]
    assert list(class_weights(names, method).values()) == list(expected.values())
    assert list(class_weights(names, method)) == np.unique(LabelEncoder().fit_transform(names)).tolist()


def test_the_smile_weights():
    labels = np.repeat(["not_smiling", "smiling"], [9475, 3690])
    for form in (labels, LabelBinarizer().fit_transform(labels), to_categorical(labels == "smiling")):
        assert class_weights(form) == pytest.approx({0: 1.0, 1: 2.5677506775}, abs=1e-10)


def test_fit_takes_them():
    labels = [0, 1, 0, 0]
    weigh = class_weights_to_sample_weights(class_weights(labels))
    assert weigh(np.array(labels)).tolist() == [1.0, 3.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("labels", "method", "told"),
    [
        ([0, 1], "mean", "method: expected 'max' or 'balanced'. Received 'mean'"),
        ([], "max", r"labels: expected shape \(N,\), .* Received \(0,\)"),
        (np.zeros((2, 2, 2)), "max", r"Received \(2, 2, 2\)"),
        ([0, -1], "max", "whole numbers from 0. Received -1"),
        ([0, 0.5], "max", "whole numbers from 0. Received 0.5"),
        ([0.0, float("nan")], "max", "whole numbers from 0. Received nan"),
        ([[0.5, 0.5]], "max", r"one-hot rows for shape \(1, 2\)"),
        ([[1, 1], [0, 1]], "max", r"one-hot rows for shape \(2, 2\)"),
    ],
)
def test_errors(labels, method, told):
    with pytest.raises(ValueError, match=told):
        class_weights(labels, method)
