"""Classification reports, digit for digit as the documents print them, and confusion matrices."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tinyconv.metrics import classification_report, confusion_matrix

CAPTCHA = """\
             precision    recall  f1-score   support

          1       1.00      1.00      1.00        45
          2       1.00      1.00      1.00        55
          3       1.00      1.00      1.00        63
          4       1.00      0.98      0.99        52
          5       0.98      1.00      0.99        51
          6       1.00      1.00      1.00        70
          7       1.00      1.00      1.00        50
          8       1.00      1.00      1.00        54
          9       1.00      1.00      1.00        63

avg / total       1.00      1.00      1.00       503
"""
SMILE = """\
             precision    recall  f1-score   support

not_smiling       0.95      0.97      0.96      1890
    smiling       0.91      0.86      0.88       743

avg / total       0.93      0.94      0.93      2633
"""


def test_captcha_report():
    y_true = np.repeat(np.arange(1, 10), [45, 55, 63, 52, 51, 70, 50, 54, 63])
    y_pred = y_true.copy()
    y_pred[np.flatnonzero(y_true == 4)[0]] = 5
    assert classification_report(y_true, y_pred) == CAPTCHA
    names = [str(digit) for digit in range(1, 10)]
    assert classification_report(y_true - 1, y_pred - 1, target_names=names) == CAPTCHA
    matrix = confusion_matrix(y_true, y_pred)
    assert matrix[3, 4] == 1
    assert np.trace(matrix) == 502


@pytest.mark.parametrize("counts", [(1825, 65, 106, 637), (1824, 66, 105, 638)])
def test_smile_report(counts):
    y_true = np.repeat([0, 0, 1, 1], counts)
    y_pred = np.repeat([0, 1, 0, 1], counts)
    assert classification_report(y_true, y_pred, target_names=["not_smiling", "smiling"]) == SMILE
    assert confusion_matrix(y_true, y_pred).tolist() == [list(counts[:2]), list(counts[2:])]


def test_names_of_classes():
    y_true, y_pred = ["panda", "cat", "dog", "cat"], ["panda", "cat", "cat", "cat"]
    report = classification_report(y_true, y_pred, labels=["cat", "panda"], digits=4)
    assert report.splitlines()[2] == "        cat     0.6667    1.0000    0.8000         2"
    assert report.splitlines()[-1] == "avg / total     0.7778    1.0000    0.8667         3"
    long = classification_report([0, 1], [0, 1], target_names=["a name longer than that", "b"])
    assert long.startswith(" " * len("a name longer than that") + "  precision    recall  f1-score   support\n\n")


def test_zero_divisions_give_0_with_a_warning():
    with pytest.warns(UserWarning, match="Precision is set to 0.0 for classes with no predicted samples: 1"):
        report = classification_report([0, 1], [0, 0])
    assert "          1       0.00      0.00      0.00         1" in report
    with pytest.warns(UserWarning, match="Recall is set to 0.0 for classes with no true samples: b"):
        classification_report([0, 0], [0, 1], target_names=["a", "b"])
    with pytest.warns(UserWarning, match="is set to 0.0"):
        assert "avg / total       0.00      0.00      0.00         0" in classification_report([0], [1], labels=[2])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40), st.integers(2, 5))
def test_report_and_matrix_equal_scikit_learn(pairs, digits):
    y_true, y_pred = np.array(pairs).T
    found = np.unique(np.concatenate([y_true, y_pred]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn on a single class
        expected = sk.confusion_matrix(y_true, y_pred, labels=found)
    np.testing.assert_array_equal(confusion_matrix(y_true, y_pred), expected)
    order = [3, 0, 4, 1]
    if set(order) & set(y_true):
        expected = sk.confusion_matrix(y_true, y_pred, labels=order)
        np.testing.assert_array_equal(confusion_matrix(y_true, y_pred, labels=order), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines = classification_report(y_true, y_pred, digits=digits).splitlines()
    scores = sk.precision_recall_fscore_support(y_true, y_pred, zero_division=0)
    means = sk.precision_recall_fscore_support(y_true, y_pred, average="weighted", zero_division=0)
    rows = [line.split() for line in lines[2:-2]]
    assert [row[0] for row in rows] == [str(c) for c in found]
    for row, *values, support in zip(rows, *scores, strict=True):
        assert [float(cell) for cell in row[1:4]] == pytest.approx(values, abs=0.51 * 10**-digits)
        assert int(row[4]) == support
    assert [float(cell) for cell in lines[-1].split()[3:6]] == pytest.approx(means[:3], abs=0.51 * 10**-digits)


LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(LABELS, st.integers(2, 5), st.booleans(), st.sampled_from([None, [2, 0], [0, 1, 2, 3]]), st.sampled_from([0, 1]))
def test_new_layout_is_scikit_learns(pairs, digits, weighted, labels, zero_division):
    y_true, y_pred = np.array(pairs).T
    w = np.random.default_rng(0).integers(1, 4, len(y_true)) / 2 if weighted else None
    settings = {"labels": labels, "sample_weight": w, "zero_division": zero_division}
    if labels is not None and not set(labels) & set(y_true):
        return
    names = None if labels is None else [f"class {label}" for label in labels]
    expected = sk.classification_report(y_true, y_pred, digits=digits, target_names=names, **settings)
    report = classification_report(y_true, y_pred, digits=digits, target_names=names, layout="new", **settings)
    for ours, theirs in zip(report.splitlines(), expected.splitlines(), strict=True):
        assert len(ours) == len(theirs)
        for cell, other in zip(ours.split(), theirs.split(), strict=True):  # halves may be rounded either way
            assert cell == other or float(cell) == pytest.approx(float(other), abs=1.01 * 10**-digits)
    expected = sk.classification_report(y_true, y_pred, output_dict=True, **settings)
    found = classification_report(y_true, y_pred, output_dict=True, layout="new", **settings)
    assert list(found) == list(expected)
    for name, row in expected.items():
        assert found[name] == pytest.approx(row, abs=1e-12)


def test_new_layout_of_the_smile_report():
    y_true = np.repeat([0, 0, 1, 1], (1825, 65, 106, 637))
    y_pred = np.repeat([0, 1, 0, 1], (1825, 65, 106, 637))
    names = ["not_smiling", "smiling"]
    report = classification_report(y_true, y_pred, target_names=names, layout="new")
    assert report == sk.classification_report(y_true, y_pred, target_names=names)


def test_report_as_a_dictionary():
    report = classification_report(["a", "b", "b"], ["a", "b", "a"], output_dict=True)
    assert report["a"] == {"precision": 0.5, "recall": 1.0, "f1-score": 2 / 3, "support": 1}
    assert report["avg / total"]["recall"] == pytest.approx(2 / 3)
    assert report["avg / total"]["support"] == 3


def test_errors():
    for bad in ({"layout": "newest"}, {"zero_division": "0"}, {"sample_weight": [1.0]}):
        with pytest.raises(ValueError, match="Received: "):
            classification_report([0, 1], [0, 1], **bad)

    with pytest.raises(ValueError, match="one name for each of the 2 classes.* Received: 3 target_names"):
        classification_report([0, 1], [0, 1], target_names=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"take argmax\(axis=1\)"):
        classification_report(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="Received: shapes"):
        confusion_matrix([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="Received: shapes"):
        classification_report([0, 1, 1], [0, 1], labels=[0, 1])


@pytest.mark.parametrize("function", [classification_report, confusion_matrix])
def test_nan_is_no_class(function):
    with pytest.raises(ValueError, match="Received: NaN in y_true"):
        function([0, np.nan], [0, 1])
    with pytest.raises(ValueError, match="Received: NaN in y_pred"):
        function([0, 1], [np.nan, 1])


@pytest.mark.parametrize("layout", ["old", "new"])
def test_report_of_nothing(layout):
    rows = classification_report([], [], layout=layout).splitlines()[3:]
    assert {row.split()[-1] for row in rows} == {"0"}, "a number of samples is whole"
