"""Copied lower layers: equal to their source, and unchanged where they are frozen."""

import numpy as np

import tinyconv as tc
from examples import reuse_layers


def test_digits_are_five_classes():
    (_, y), (_, y_test) = tc.datasets.mnist.load_data("subset")
    for first in (0, 5):
        (x, labels), (_, labels_test) = reuse_layers.load_digits("subset", first)
        assert x.shape == (len(labels), 28, 28, 1)
        assert [np.sum(labels == k) for k in range(5)] == [np.sum(y == k + first) for k in range(5)]
        assert labels_test.tolist() == [k - first for k in y_test if first <= k < first + 5]


def test_copied_layers_equal_their_source_and_frozen_ones_stay_so():
    digits, test = reuse_layers.load_digits("subset", 5)
    few, test = [part[:32] for part in digits], [part[:32] for part in test]
    first = reuse_layers.build_network()
    lower, upper = first.get_weights()[:6], first.get_weights()[6:]
    for way, copied, trained in (
        ("from scratch", False, 1_253_575), ("copied", True, 1_253_575), ("copied and frozen", True, 501 * 5),
    ):  # fmt: skip
        model = reuse_layers.second_network(way, first)
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights()[:6:2], lower[::2], strict=True)) == copied
        assert not np.array_equal(model.get_weights()[6], upper[0])
        assert sum(weight.size for weight in model.trainable_weights) == trained
        reuse_layers.train(model, few, 1, test)
        same = [np.array_equal(a, b) for a, b in zip(model.get_weights()[:6:2], lower[::2], strict=True)]
        assert same == [way == "copied and frozen"] * 3


def test_quick(tmp_path, capsys):
    curves = reuse_layers.main(["--quick", "--output", str(tmp_path), "--examples", "30"])
    assert set(curves) == set(reuse_layers.WAYS)
    assert all(len(accuracies) == 15 for accuracies in curves.values())
    # With few examples the copied features are ahead from the start, and learning goes on from there.
    assert curves["copied and frozen"][2] > curves["from scratch"][2]
    assert curves["copied"][-1] > 0.5
    assert (tmp_path / "reuse_layers.txt").read_text() in capsys.readouterr().out
    assert (tmp_path / "reuse_layers.png").read_bytes().startswith(b"\x89PNG")
