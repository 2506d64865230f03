"""MiniVGGNet's program: the book's variants, on generated pictures."""

import json
import math
import re

import pytest
from sklearn.metrics import accuracy_score

import tinyconv as tc
from examples import common, minivggnet_cifar10


def norms(model):
    return sum(isinstance(layer, tc.layers.BatchNormalization) for layer in model.layers)


def test_with_batch_norm_and_decay(tmp_path, capsys):
    folder = tmp_path / "new" / "runs.png"  # of a picture's name, and yet a folder
    folder.mkdir(parents=True)
    accuracy = minivggnet_cifar10.main(["--quick", "--output", str(folder)])
    text = capsys.readouterr().out
    assert "Train on 320 samples, validate on 80 samples" in text
    assert accuracy > 0.9
    files = {file.suffix: file for file in folder.iterdir()}
    assert set(files) == {".png", ".txt", ".tinyconv"}
    assert files[".png"].read_bytes().startswith(b"\x89PNG")
    assert f"accuracy on 80 test pictures: {accuracy:.4f}" in files[".txt"].read_text()
    assert re.search(r"^avg / total( +\d\.\d\d){3} +80$", files[".txt"].read_text(), re.MULTILINE)
    model = tc.load_model(files[".tinyconv"])
    assert model.count_params() == 2_171_178
    assert norms(model) == 5
    assert model.class_names == list(tc.datasets.cifar10.CLASS_NAMES)
    config = model.optimizer.get_config()
    assert config["momentum"] == 0.9
    assert config["nesterov"] is True
    assert config["decay"] == 0.005
    assert model.optimizer.iterations == 2 * 5
    data = common.cifar10(quick=True, seed=42)
    predicted = model.predict(data.x_test).argmax(axis=1)
    assert accuracy == accuracy_score(data.y_test.argmax(axis=1), predicted)


@pytest.mark.filterwarnings("ignore:Precision is set")  # such a small rate teaches it little
def test_without_batch_norm_with_drops_and_monitor(tmp_path):
    plot = tmp_path / "drops.png"
    plot.with_suffix(".json").write_text('{"loss": [9.0]}')  # of an earlier run, not to be continued
    options = ["--no-batch-norm", "--drop", "0.25", "--monitor"]
    minivggnet_cifar10.main(["--quick", *options, "--output", str(plot)])
    assert {file.name for file in tmp_path.iterdir()} == {"drops.png", "drops.txt", "drops.json", "drops.tinyconv"}
    numbers = json.loads(plot.with_suffix(".json").read_text())
    assert {name.replace("accuracy", "acc") for name in numbers} == {
        "loss", "acc", "val_loss", "val_acc", "learning_rate",
    }  # fmt: skip
    assert len(numbers["loss"]) == len(numbers["val_loss"]) == 2
    assert numbers["learning_rate"] == [0.01 * 0.25, 0.01 * 0.25**2]
    model = tc.load_model(plot.with_suffix(".tinyconv"))
    assert model.count_params() == 2_168_362
    assert norms(model) == 0
    assert model.optimizer.get_config()["decay"] == 0


def test_settings_of_the_book():
    args = minivggnet_cifar10.parse_arguments([])
    assert (args.epochs, args.batch_size, args.learning_rate, args.decay) == (40, 64, 0.01, 0.00025)
    assert minivggnet_cifar10.parse_arguments(["--decay", "0"]).decay == 0


@pytest.mark.parametrize(
    ("factor", "rates"),
    [
        (0.25, {0: 0.01, 3: 0.01, 4: 0.0025, 14: 1.5625e-4, 29: 2.4414e-6, 33: 2.4414e-6}),
        (0.5, {0: 0.01, 3: 0.01, 4: 0.005, 14: 1.25e-3, 29: 1.5625e-4, 33: 1.5625e-4}),
    ],
)
def test_step_decay_of_the_book(factor, rates, tmp_path):
    args = minivggnet_cifar10.parse_arguments(["--drop", str(factor)])
    assert args.decay == 0
    (scheduler,) = minivggnet_cifar10.make_callbacks(args, tmp_path / "plot.png")
    for epoch, rate in rates.items():
        assert math.isclose(scheduler.schedule(epoch), rate, rel_tol=1e-4)


def test_drop_and_decay_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as end:
        minivggnet_cifar10.main(["--drop", "0.5", "--decay", "0.1"])
    assert end.value.code == 2
    assert "give one of them" in capsys.readouterr().err
