"""The two checkpoint programs on generated pictures, and which epochs improve."""

import re

import pytest

import tinyconv as tc
from examples import cifar10_checkpoints, common

SAID = re.compile(r"^Epoch (\d{5}): val_loss improved from (\S+) to (\d\.\d{5}), saving model to (\S+)$", re.MULTILINE)


def test_improvements(tmp_path, capsys):
    weights = tmp_path / "weights{of}mine"
    options = ["improvements", "--quick", "--output", str(tmp_path), "--weights", str(weights)]
    files = cifar10_checkpoints.main(options)
    said = SAID.findall(capsys.readouterr().out)
    assert said[0][:2] == ("00000", "inf")
    assert [later[1] for later in said[1:]] == [earlier[2] for earlier in said[:-1]]
    assert [str(file) for file in files] == [path for *_, path in said]
    assert sorted(weights.iterdir()) == files
    data = common.cifar10(quick=True, seed=42)
    for file, (epoch, _, loss, _) in zip(files, said, strict=True):
        number, rounded = re.fullmatch(r"weights-(\d{3})-(\d+\.\d{4})\.hdf5", file.name).groups()
        assert int(number) == int(epoch)
        assert float(rounded) == pytest.approx(float(loss), abs=5.6e-5)  # of the same number, to 4 and to 5 digits
        model = tc.load_model(file)
        assert model.evaluate(data.x_test, data.y_test)[0] == pytest.approx(float(loss), abs=1e-5)
        assert model.optimizer.iterations == 5 * (int(epoch) + 1)
    assert (tmp_path / "cifar10_checkpoints_improvements.png").read_bytes().startswith(b"\x89PNG")
    assert f"checkpoints: {len(files)} in {weights}" in (tmp_path / "cifar10_checkpoints_improvements.txt").read_text()
    with pytest.raises(FileExistsError, match="holds checkpoints of an earlier run"):
        cifar10_checkpoints.main(options)


def test_best(tmp_path, capsys):
    file = tmp_path / "weights" / "{epoch}.hdf5"
    file.parent.mkdir()
    file.write_bytes(b"of an earlier run")
    options = ["best", "--quick", "--output", str(tmp_path), "--weights", str(file)]
    assert cifar10_checkpoints.main(options) == [file]
    said = SAID.findall(capsys.readouterr().out)
    assert {path for *_, path in said} == {str(file)}
    assert list(file.parent.iterdir()) == [file]
    model, data = tc.load_model(file), common.cifar10(quick=True, seed=42)
    assert model.evaluate(data.x_test, data.y_test)[0] == pytest.approx(float(said[-1][2]), abs=1e-5)
    config = model.optimizer.get_config()
    assert (config["decay"], config["momentum"], config["nesterov"]) == (0.005, 0.9, True)
    numbers = 4 * (2_171_178 + 2_169_770)  # weights, and a slot of the optimizer for each that is trained
    assert numbers < file.stat().st_size < numbers + 150_000  # the book's file has 68,176 more


def test_epochs_that_improved_in_the_book():
    """Its 18 checkpoints; between them, losses above the best so far."""
    saved = {
        0: 1.2697, 1: 0.9848, 3: 0.8176, 4: 0.7987, 5: 0.7722, 6: 0.6925, 7: 0.6846, 8: 0.6771, 9: 0.6212, 12: 0.6121,
        13: 0.6101, 14: 0.5899, 15: 0.5811, 17: 0.5774, 19: 0.5740, 22: 0.5724, 24: 0.5628, 33: 0.5546,
    }  # fmt: skip
    others = {29: 0.5704, 30: 0.5649, 31: 0.5640, 32: 0.5738, 34: 0.5704, 35: 0.5650, 36: 0.5669, 37: 0.5711,
              38: 0.6066, 39: 0.5707}  # fmt: skip
    losses = [{**saved, **others}.get(epoch, 1.3) for epoch in range(40)]
    assert cifar10_checkpoints.improving_epochs(losses) == list(saved)
    assert cifar10_checkpoints.improving_epochs([float("nan"), 0.5, 0.5, float("nan"), 0.4]) == [1, 4]


def test_messages_of_the_book(capsys):
    """The first lines of its second program, and one where nothing improves."""

    class Network:
        def save(self, path):
            assert path == "best.hdf5"

    network = Network()
    checkpoint = tc.callbacks.ModelCheckpoint("best.hdf5", monitor="val_loss", save_best_only=True, verbose=1)
    checkpoint.set_model(network)
    for epoch, loss in enumerate((1.26677, 1.21923, 1.21923)):
        checkpoint.on_epoch_begin(epoch)
        checkpoint.on_epoch_end(epoch, {"val_loss": loss})
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 00000: val_loss improved from inf to 1.26677, saving model to best.hdf5",
        "Epoch 00001: val_loss improved from 1.26677 to 1.21923, saving model to best.hdf5",
        "Epoch 00002: val_loss did not improve",
    ]


@pytest.mark.parametrize("files", [[], ["weights-000-0.9000.hdf5", "weights-001-0.9500.hdf5"]])
def test_missing_and_superfluous_checkpoints_are_noticed(tmp_path, files):
    for name in files:
        (tmp_path / name).touch()
    args = cifar10_checkpoints.parse_arguments(["improvements", "--weights", str(tmp_path)])
    with pytest.raises(RuntimeError, match="expected a checkpoint for every improvement"):
        cifar10_checkpoints.check_files(args, [0.9, 0.95])


def test_a_checkpoint_that_is_not_the_best_is_noticed(tmp_path):
    data = common.cifar10(quick=True)
    model = tc.Sequential([tc.layers.Flatten(input_shape=(32, 32, 3)), tc.layers.Dense(10, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    model.save(tmp_path / "best.tinyconv")
    loss = model.evaluate(data.x_test, data.y_test)[0]
    said = cifar10_checkpoints.check_best(tmp_path / "best.tinyconv", loss, data, 64)
    assert f"val_loss {loss:.4f}" in said
    with pytest.raises(RuntimeError, match="expected validation loss"):
        cifar10_checkpoints.check_best(tmp_path / "best.tinyconv", loss * 1.01, data, 64)


def test_arguments(capsys):
    args = cifar10_checkpoints.parse_arguments(["best"])
    assert (args.epochs, args.batch_size, args.weights.name) == (40, 64, "best.hdf5")
    with pytest.raises(SystemExit) as end:
        cifar10_checkpoints.main(["all"])
    assert end.value.code == 2
    assert "improvements" in capsys.readouterr().err
