"""The dense networks on the 6,000 digits that ship with tinyconv."""

import re
from itertools import pairwise

import numpy as np
import pytest

from examples import mnist_mlp as program


def test_networks_have_the_same_number_of_hidden_neurons():
    assert {sum(hidden) for hidden in program.NETWORKS.values()} == {300}
    for hidden in program.NETWORKS.values():
        sizes = [784, *hidden, 10]
        weights = sum((a + 1) * b for a, b in pairwise(sizes))
        assert program.build_network(hidden).count_params() == weights


def test_parts_share_no_digit():
    parts = program.load_digits("subset", 42)
    assert [len(y) for _, y in parts] == [4584, 416, 1000]
    rows = [row.tobytes() for x, _ in parts[:2] for row in x]
    (x, _), _ = program.tc.datasets.mnist.load_data("subset")
    original = [(image.astype("float32") / 255).tobytes() for image in x]
    assert sorted(rows) == sorted(original)  # each digit of the training file is in one part, once
    assert np.bincount(parts[1][1]).min() >= 416 // 10 - 10  # stratified


def test_quick(tmp_path, capsys):
    accuracies = program.main(["--quick", "--output", str(tmp_path / "new")])
    printed = capsys.readouterr().out
    assert "4584 digits to train with, 416 to choose the epoch, 1000 to test" in printed
    assert len(re.findall(r"^\d+s - loss: ", printed, re.MULTILINE)) == 6
    for name, number in (("one hidden layer of 300", 1), ("two hidden layers of 150", 2)):
        assert accuracies[name] > 0.83
        assert f"accuracy on 1000 test digits, {name}: {accuracies[name]:.4f}" in printed
        assert (tmp_path / "new" / f"mnist_mlp_{number}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "new" / f"mnist_mlp_{number}.txt").read_text() in printed


def test_the_best_epoch_is_kept():
    """What `train` leaves is the best validation accuracy of its history, not the last."""
    args = program.parse_arguments(["--quick", "--learning-rate", "0.9", "--epochs", "6"])
    args.epochs, args.patience = 6, 6
    program.tc.set_seed(5)
    model = program.build_network((20,))
    digits = program.load_digits("subset", 42)
    digits = ((digits[0][0][:600], digits[0][1][:600]), *digits[1:])
    history = program.train(model, digits, args).history["val_accuracy"]
    x, y = digits[1]
    accuracy = (model.predict(x, verbose=0).argmax(axis=1) == y).mean()
    assert accuracy == pytest.approx(max(history), abs=1e-6)
