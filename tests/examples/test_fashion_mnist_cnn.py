"""The Fashion-MNIST network: its shapes as in the book's table, its program on generated pictures."""

import re

import numpy as np
import pytest

import tinyconv as tc
from examples import fashion_mnist_cnn as program


def test_layers_and_parameters():
    model = program.build_network()
    assert len(model.layers) == 14
    shapes = [(28, 64), (14, 64), (14, 128), (14, 128), (7, 128), (7, 256), (7, 256), (3, 256)]
    assert [layer.output.shape[1:] for layer in model.layers[:8]] == [(size, size, maps) for size, maps in shapes]
    assert [layer.output.shape[1:] for layer in model.layers[8:]] == [(n,) for n in (2304, 128, 128, 64, 64, 10)]
    counts = [3_200, 73_856, 147_584, 295_168, 590_080, 295_040, 8_256, 650]
    assert [layer.count_params() for layer in model.layers if layer.count_params()] == counts
    assert [layer.rate for layer in model.layers if isinstance(layer, tc.layers.Dropout)] == [0.5, 0.5]
    activations = [layer.activation.__name__ for layer in model.layers if layer.count_params()]
    assert activations == ["relu"] * 7 + ["softmax"]


@pytest.mark.slow
def test_quick(tmp_path, capsys):
    accuracy = program.main(["--quick", "--output", str(tmp_path / "new")])
    printed = capsys.readouterr().out
    assert accuracy > 0.8
    assert f"accuracy on 60 test pictures: {accuracy:.4f}" in printed
    assert re.search(r"^ Ankle boot( +[01]\.\d\d){3} +6$", printed, re.MULTILINE)
    assert (tmp_path / "new" / "fashion_mnist_cnn.png").read_bytes().startswith(b"\x89PNG")
    assert f"{accuracy:.4f}" in (tmp_path / "new" / "fashion_mnist_cnn.txt").read_text()
    model = tc.load_model(tmp_path / "new" / "fashion_mnist_cnn.tinyconv")
    assert model.class_names == list(tc.datasets.fashion_mnist.CLASS_NAMES)
    x, y = program.load_clothes(True, 42)[2]
    assert (model.predict(x, verbose=0).argmax(axis=1) == y).mean() == pytest.approx(accuracy)


def test_generated_parts_are_equal_for_equal_seeds():
    first, second = program.load_clothes(True, 1), program.load_clothes(True, 1)
    assert [len(y) for _, y in first] == [165, 15, 60]
    assert all((a == b).all() for one, two in zip(first, second) for a, b in zip(one, two))
    assert all(x.dtype == np.float32 and x.min() >= 0 and x.max() <= 1 for x, _ in first)
