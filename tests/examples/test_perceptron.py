"""The perceptron program: scikit-learn's two perceptrons are the oracle, weight by weight."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc

pytest.importorskip("sklearn")
from sklearn.datasets import load_iris
from sklearn.linear_model import Perceptron, SGDClassifier

from examples import perceptron

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "species"), [("separable", 0), ("not separable", 1)])
def test_weights_are_those_of_scikit_learn(name, species):
    iris = load_iris()
    x, targets = iris.data[:, (2, 3)], (iris.target == species).astype(int)
    model, epochs = perceptron.train_perceptron(x, targets[:, None], epochs=7, shuffle=False)
    assert (epochs == 7) == (name == "not separable")
    kernel, bias = model.get_weights()
    same = {"max_iter": epochs, "tol": None, "shuffle": False}
    sgd = SGDClassifier(loss="perceptron", learning_rate="constant", eta0=1, penalty=None, **same)
    for oracle in (Perceptron(**same), sgd):
        oracle.fit(x, targets)
        np.testing.assert_allclose(kernel.T, oracle.coef_, rtol=0, atol=1e-9)
        np.testing.assert_allclose(bias, oracle.intercept_, rtol=0, atol=1e-9)


def test_units_of_a_layer_learn_by_themselves():
    """A layer with three outputs is three perceptrons (the rule by hand, in NumPy)."""
    random = np.random.default_rng(3)
    x = random.normal(size=(30, 2))
    targets = (x @ random.normal(size=(2, 3)) > 0).astype(int)
    model, epochs = perceptron.train_perceptron(x, targets, epochs=4, shuffle=False)
    weights, bias = np.zeros((2, 3)), np.zeros(3)
    for _ in range(epochs):
        for row, t in zip(x, 2 * targets - 1):
            wrong = t * (row @ weights + bias) <= 0
            weights += np.outer(row, wrong * t)
            bias += wrong * t
    np.testing.assert_allclose(model.get_weights()[0], weights, atol=1e-12)
    np.testing.assert_allclose(model.get_weights()[1], bias, atol=1e-12)


def test_iris_is_separated_and_the_flower_is_a_setosa(tmp_path, capsys):
    assert perceptron.main(["--output", str(tmp_path / "new"), "--quick"])
    printed = capsys.readouterr().out
    assert "150 flowers, 50 of them Setosa" in printed
    assert "all three are the same: yes" in printed
    assert ": 0 of 150" in printed
    assert (tmp_path / "new" / "perceptron.png").read_bytes().startswith(b"\x89PNG")


def test_it_stops_only_when_all_are_on_their_side():
    tc.set_seed(1)
    x = np.array([[0.0], [1.0], [2.0]])
    model, epochs = perceptron.train_perceptron(x, np.array([[0], [1], [0]]), epochs=5)  # no line does that
    assert epochs == 5
    model, epochs = perceptron.train_perceptron(x, np.array([[0], [1], [1]]), epochs=50)
    assert epochs < 50
    assert ((model.predict(x, verbose=0) > 0).ravel() == [False, True, True]).all()


def test_without_scikit_learn():
    code = "import sys; sys.modules['sklearn'] = None; sys.modules['sklearn.datasets'] = None; "
    code += "import runpy; sys.argv = ['x']; runpy.run_module('examples.perceptron', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install scikit-learn" in done.stderr
    assert "Traceback" not in done.stderr
