"""The LeNet program as a person runs it: in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinyconv as tc

ROOT = Path(__file__).parents[2]


def run(*arguments, folder=ROOT):
    command = [sys.executable, "-m", "examples.lenet_mnist", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_quick(tmp_path):
    folder = tmp_path / "new" / "results"
    done = run("--quick", "--output", folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for part in ("loading MNIST", "4500 digits to train with, 1500 to test", "compiling", "training", "evaluating"):
        assert any(line.startswith("[INFO]") and part in line for line in lines), part
    assert "Train on 4500 samples, validate on 1500 samples" in lines
    assert sum(bool(re.match(r"\d+s - loss: \d\.\d{4} - accuracy: ", line)) for line in lines) == 1
    assert re.search(r"^ +precision +recall +f1-score +support$", done.stdout, re.MULTILINE)
    assert re.search(r"^avg / total( +\d\.\d\d){3} +1500$", done.stdout, re.MULTILINE)
    accuracy = float(re.search(r"accuracy on 1500 test digits: (\d\.\d{4})", done.stdout).group(1))
    assert accuracy > 0.85
    curve, file = folder / "training_curve.png", folder / "lenet.tinyconv"
    assert curve.read_bytes().startswith(b"\x89PNG")
    assert (folder / "training_curve.txt").read_text() in done.stdout
    assert str(curve) in done.stdout
    assert str(file) in done.stdout
    model = tc.load_model(file)
    assert model.class_names == list("0123456789")
    assert model.optimizer.iterations == 141


def test_help_and_wrong_arguments():
    done = run("--help")
    assert done.returncode == 0
    for part in ("--output", "--epochs", "--batch-size", "--learning-rate", "--data", "--quick", "-e ", "-b ", "-o "):
        assert part in done.stdout
    done = run("--epochs", "0")
    assert done.returncode == 2
    assert "expected a whole number >= 1, received 0" in done.stderr
    assert "Traceback" not in done.stderr
