"""The network with and without batch normalisation, on the digits that ship with tinyconv."""

import numpy as np

import tinyconv as tc
from examples import batchnorm_mlp as program


def test_network_is_that_of_the_text():
    model = program.build_network(inputs=4, hidden_units=3, units=2)
    names = [type(layer).__name__ for layer in model.layers]
    assert names == ["Dense", "BatchNormalization", "Dropout", "Dense", "BatchNormalization", "Dense"]
    assert model.count_params() == (4 + 1) * 3 + 4 * 3 + (3 + 1) * 2 + 4 * 2 + (2 + 1) * 2
    assert model.layers[2].rate == 0.5
    plain = program.build_network(inputs=4, hidden_units=3, units=2, normalise=False)
    assert model.count_params() - plain.count_params() == 4 * (3 + 2)


def test_labels_are_odd_or_even():
    x, odd, x_test, odd_test = program.load_digits("subset")
    (_, y), (_, y_test) = tc.datasets.mnist.load_data("subset")
    assert x.shape == (5000, 784)
    assert x_test.max() == 1
    assert odd.tolist() == [digit in (1, 3, 5, 7, 9) for digit in y]
    assert odd_test.tolist() == [digit in (1, 3, 5, 7, 9) for digit in y_test]


def test_quick(tmp_path, capsys):
    arguments = ["--quick", "--output", str(tmp_path / "new"), "--learning-rates", "0.001", "2"]
    curves = program.main(arguments)
    assert set(curves) == {(0.001, True), (0.001, False), (2.0, True), (2.0, False)}
    # What is claimed of normalisation: faster at small steps, still learning at steps that are far too large without.
    assert curves[0.001, True][-1] > curves[0.001, False][-1] + 0.05
    assert curves[2.0, True][-1] > 0.75
    assert curves[2.0, False][-1] < 0.6
    printed = capsys.readouterr().out
    row = next(line.split() for line in printed.splitlines() if line.startswith("2 "))
    shown = [f"{curves[2.0, normalise][epoch]:.4f}" for normalise in (True, False) for epoch in (0, -1)]
    assert row[1:] == shown
    assert (tmp_path / "new" / "batchnorm_mlp.txt").read_text() in printed
    assert (tmp_path / "new" / "batchnorm_mlp.png").read_bytes().startswith(b"\x89PNG")
    assert np.isfinite(curves[2.0, True]).all()
