"""Several labels for one picture: scikit-learn is the oracle of the report."""

import re

import numpy as np
import pytest

from examples import multi_label as program


def test_pictures_show_what_their_labels_say():
    """A digit whose image is constant at 10 times its number can be read from the picture's quarters."""
    digits = np.repeat(np.arange(1, 10, dtype=np.uint8) * 10, 28 * 28).reshape(9, 28, 28)
    pictures, present = program.make_pictures(digits, np.arange(1, 10), 200, np.random.default_rng(0))
    counts = set()
    for picture, label in zip(pictures, present):
        quarters = [picture[i : i + 28, j : j + 28] for i in (0, 28) for j in (0, 28)]
        assert all((quarter == quarter[0, 0]).all() for quarter in quarters)
        shown = [int(quarter[0, 0]) // 10 for quarter in quarters if quarter[0, 0]]
        assert set(np.flatnonzero(label)) == set(shown)
        counts.add(len(shown))
    assert counts == {1, 2, 3, 4}


def test_report():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(1)
    true, predicted = random.random((50, 10)) < 0.3, random.random((50, 10)) < 0.3
    predicted[:, 7] = False  # precision is 0 / 0
    report = program.label_report(true, predicted)
    expected = np.stack(metrics.precision_recall_fscore_support(true, predicted, zero_division=0), axis=1)
    rows = [line.split() for line in report.splitlines()[1:11]]
    assert [row[0] for row in rows] == list("0123456789")
    np.testing.assert_allclose(np.array([row[1:] for row in rows], float), expected, atol=5.1e-4)
    assert f"labels right: {1 - metrics.hamming_loss(true, predicted):.4f}" in report
    assert f"whole pictures right: {metrics.accuracy_score(true, predicted):.4f}" in report


def test_outputs_are_independent():
    model = program.build_network()
    assert model.layers[-1].activation.__name__ == "sigmoid"
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 0, np.full_like(bias, 21)])
    assert (model.predict(np.zeros((1, 56, 56, 1), np.float32), verbose=0) > 0.999).all()


@pytest.mark.slow
def test_quick(tmp_path, capsys):
    whole = program.main(["--quick", "--output", str(tmp_path / "new")])
    printed = capsys.readouterr().out
    assert "logits 20 and 21, sigmoid: [1.0, 1.0]" in printed
    assert "logits 20 and 21, softmax: [0.2689, 0.7311]" in printed
    right, never = map(float, re.search(r"labels right: (0\.\d+) \(with none ever seen: (0\.\d+)\)", printed).groups())
    assert right > never + 0.05
    assert 0 < whole < 1
    for name in ("multi_label.png", "multi_label_pictures.png", "multi_label.tinyconv", "multi_label.txt"):
        assert (tmp_path / "new" / name).stat().st_size > 100
