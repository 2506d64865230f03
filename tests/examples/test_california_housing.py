"""The regression program; scikit-learn's own functions are the oracle for splits, scaling and scores."""

import re
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import tinyconv as tc
from examples import california_housing as program


@pytest.mark.parametrize(("n_hidden", "n_neurons"), [(0, 30), (1, 30), (2, 42), (3, 99)])
def test_build_model(n_hidden, n_neurons):
    model = program.build_model(n_hidden, n_neurons, learning_rate=0.25)
    sizes = [8, *[n_neurons] * n_hidden, 1]
    assert model.count_params() == sum((a + 1) * b for a, b in pairwise(sizes))
    assert [layer.activation.__name__ for layer in model.layers] == ["relu"] * n_hidden + ["linear"]
    assert model.optimizer.learning_rate == 0.25
    assert model.input_shape == (None, 8)


def test_split_and_scaling_are_those_of_scikit_learn(monkeypatch):
    x = np.random.default_rng(0).normal(3, 5, (64, 8))
    y = x.sum(axis=1)
    monkeypatch.setattr(tc.datasets.california_housing, "load_features", lambda: (x, y))
    parts = program.load_housing(False, 42)
    rest, x_test, y_rest, y_test = train_test_split(x, y, random_state=42)
    x_train, x_valid, y_train, y_valid = train_test_split(rest, y_rest, random_state=42)
    scaled = StandardScaler().fit(x_train).transform
    expected = [scaled(x_train), y_train, scaled(x_valid), y_valid, scaled(x_test), y_test]
    assert [len(part) for part in parts[::2]] == [36, 12, 16]
    for part, wanted in zip(parts, expected):
        np.testing.assert_allclose(part, wanted, rtol=1e-5, atol=1e-5)


def test_quick(tmp_path, capsys):
    default, best = program.main(["--quick", "--output", str(tmp_path / "new"), "--seed", "1"])
    printed = capsys.readouterr().out
    assert "Fitting 3 folds for each of 2 candidates, totalling 6 fits" in printed
    assert "default model: 301 parameters" in printed
    rows = re.findall(r"^(\d)  +(\d+)  +(0\.\d{6})  +(-\d+\.\d{4})", printed, re.MULTILINE)
    assert len(rows) == 2
    scores = [float(row[3]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert f"score {scores[0]:.4f}" in printed
    assert (tmp_path / "new" / "california_housing.txt").read_text() in printed
    for layers, neurons, rate, _ in rows:
        assert int(layers) <= 3
        assert 1 <= int(neurons) <= 99
        assert 3e-4 <= float(rate) <= 3e-2
    model = tc.load_model(tmp_path / "new" / "california_housing.tinyconv")
    *_, x_test, y_test = program.load_housing(True, 1)
    assert -mean_squared_error(y_test, model.predict(x_test, verbose=0)) == pytest.approx(best, rel=1e-5)
    assert default < 0
    assert (tmp_path / "new" / "california_housing.png").read_bytes().startswith(b"\x89PNG")


def test_settings_of_the_book():
    args = program.parse_arguments([])
    assert (args.epochs, args.n_iter) == (100, 10)
    (stop,) = program.early_stopping()
    assert (stop.patience, stop.monitor) == (10, "val_loss")
