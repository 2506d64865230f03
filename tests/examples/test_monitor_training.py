"""The monitored training: files named by the process, as many numbers as epochs."""

import json
import os

from examples import monitor_training


def test_quick(tmp_path, capsys):
    (tmp_path / f"{os.getpid()}.json").write_text('{"loss": [9.0]}')  # of an earlier process with this number
    model, history = monitor_training.main(["--quick", "--output", str(tmp_path)])
    text = capsys.readouterr().out
    assert text.splitlines()[0] == f"[INFO] process ID: {os.getpid()}"
    assert {file.name for file in tmp_path.iterdir()} == {f"{os.getpid()}.png", f"{os.getpid()}.json"}
    assert (tmp_path / f"{os.getpid()}.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((tmp_path / f"{os.getpid()}.json").read_text())
    assert numbers == dict(history.history)
    assert all(len(values) == 2 for values in numbers.values())
    assert "2 epochs: " in text
    config = model.optimizer.get_config()
    assert (config["learning_rate"], config["momentum"], config["nesterov"]) == (0.01, 0.9, True)
    assert not config.get("decay")


def test_settings_of_the_book():
    args = monitor_training.parse_arguments([])
    assert (args.epochs, args.batch_size) == (100, 64)
