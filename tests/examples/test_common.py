"""What the programs share, and what holds for all of them: help, quiet ends, examples in their docstrings."""

import argparse
import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.model_selection import train_test_split

import tinyconv as tc
from examples import common

ROOT = Path(__file__).parents[2]
PROGRAMS = (
    "augmentation", "batchnorm_mlp", "california_housing", "cifar10_checkpoints", "convolutions", "dogs_and_cats",
    "fashion_mnist_cnn", "imagenet_pretrained", "lenet_mnist", "line_filters", "logic_networks", "minivggnet_cifar10",
    "mnist_mlp", "monitor_training", "multi_label", "perceptron", "reuse_layers", "self_supervised",
    "shallownet_animals", "shallownet_cifar10", "shallownet_load", "visualize_architecture", "what_filters_see",
    "worked_examples",
)  # fmt: skip


def test_every_program_is_in_the_table():
    folder = ROOT / "examples"
    assert {path.stem for path in folder.glob("*.py")} == {*PROGRAMS, "common", "__init__"}
    table = (folder / "README.md").read_text(encoding="utf-8")
    for name in PROGRAMS:
        assert re.search(rf"^\| `{name}[` ]", table, re.MULTILINE), name
    for case in ("captcha_breaker", "smile_detector"):
        programs = [path for path in (folder / case).glob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
        assert len(programs) >= 3
        for path in programs:
            assert f"`{case}.{path.stem}" in table or f"`.{path.stem}`" in table, path


@pytest.mark.parametrize("name", PROGRAMS)
def test_help(name, capsys):
    module = importlib.import_module(f"examples.{name}")
    with pytest.raises(SystemExit) as end:
        module.main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert f"python -m examples.{name}" in text
    for option in ("-o", "--output", "--seed", "--quick", "--show"):
        assert option in text


@pytest.mark.parametrize("name", ["common", *PROGRAMS])
def test_docstrings(name):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(importlib.import_module(f"examples.{name}"), optionflags=flags).failed == 0


def test_missing_data_end_in_a_message(tmp_path):
    environment = {**os.environ, "TINYCONV_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "examples.shallownet_animals", "--output", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "home" / "datasets" / "animals") in done.stderr
    assert "python -m tinyconv datasets" in done.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (tc.datasets.DownloadError("no mirror answers"), "[ERROR] no mirror answers"),
        (ImportError("pip install opencv-python"), "[ERROR] pip install opencv-python"),
        (PermissionError(13, "Permission denied", "runs"), "[ERROR] [Errno 13] Permission denied: 'runs'"),
        (KeyboardInterrupt(), "[INFO] interrupted"),
    ],
)
def test_quiet_ends(error, message):
    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        common.run(main)
    assert str(end.value.code).startswith(message)


def test_only_around_user_input_is_a_value_error_no_bug():
    with pytest.raises(SystemExit, match=r"^\[ERROR\] -3$"), common.user_input():
        raise ValueError(-3)
    with pytest.raises(ValueError, match="invalid literal"):
        common.run(lambda: int("-3x"))


def test_the_hint_on_data_sets_is_for_data_only():
    def fail(error):
        raise error

    for error, about_data in (
        (FileNotFoundError("expected a photo. Received: none.jpg"), False),
        (FileNotFoundError(f"no weights in {tc.datasets.home() / 'models'}"), False),  # not in its list
        (FileNotFoundError(f"no photos in {tc.datasets.home() / 'datasets' / 'animals'}"), True),
        (tc.datasets.DownloadError("no mirror answers"), True),
    ):
        with pytest.raises(SystemExit) as end:
            common.run(lambda error=error: fail(error))
        assert ("python -m tinyconv datasets" in str(end.value.code)) == about_data


def test_bugs_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        common.run(lambda: 1 / 0)


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "many"])
def test_counts(text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"expected a whole number >= 1, received {text}"):
        common.positive(text)
    assert common.positive("7") == 7


@pytest.mark.parametrize("text", ["-1", "4294967296", "1.5", "many"])
def test_seeds(text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"from 0 to 4294967295, received {text}"):
        common.whole(text)
    np.random.RandomState(common.whole("4294967295"))  # what splits are drawn by takes the largest one
    assert common.whole("0") == 0


@pytest.mark.parametrize("text", ["-0.1", "nan", "inf", "fast"])
def test_rates(text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"expected a number >= 0, received {text}"):
        common.not_negative(text)
    assert common.not_negative("0") == 0
    assert common.not_negative("1e-2") == 0.01


def test_generated_cifar10():
    data = common.cifar10(quick=True)
    assert data.x_train.shape == (320, 32, 32, 3)
    assert data.x_test.shape == (80, 32, 32, 3)
    assert data.x_train.dtype == np.float32
    assert 0 <= data.x_train.min() < 0.01 < 0.99 < data.x_train.max() <= 1
    np.testing.assert_array_equal(data.y_train.sum(axis=0), np.full(10, 32))
    np.testing.assert_array_equal(data.y_test.argmax(axis=1), np.arange(80) % 10)
    assert len(data.class_names) == 10
    other = common.cifar10(quick=True, seed=1)
    assert (other.x_train != data.x_train).any()


def test_real_cifar10_is_scaled_and_one_hot(monkeypatch):
    images = np.arange(20 * 4, dtype=np.uint8).reshape(20, 2, 2, 1)
    labels = np.arange(20, dtype=np.uint8)[:, None] % 10
    monkeypatch.setattr(tc.datasets.cifar10, "load_data", lambda: ((images, labels), (images[:5], labels[:5])))
    data = common.cifar10()
    np.testing.assert_array_equal(data.x_test, np.float32(images[:5]) / np.float32(255))
    np.testing.assert_array_equal(data.y_train, np.eye(10)[labels[:, 0]])
    np.testing.assert_array_equal(data.y_test, np.eye(10)[:5])
    assert data.class_names[3] == "cat"


def test_photos_are_split_as_in_the_book(tmp_path):
    """The supports of the book's report, by scikit-learn's split of 1,000 file names of each class."""
    for name in ("cats", "dogs", "panda"):
        (tmp_path / name).mkdir()
        for number in range(1_000):
            (tmp_path / name / f"{number:05d}.jpg").touch()
    paths = common.animal_paths(tmp_path)
    assert paths[0].endswith("00000.jpg")
    _, test = train_test_split([Path(path).parent.name for path in paths], test_size=0.25, random_state=42)
    assert [test.count(name) for name in ("cats", "dogs", "panda")] == [239, 249, 262]


def test_photos_are_resized_by_area_with_blue_first(tmp_path):
    (tmp_path / "cats").mkdir()
    path = tmp_path / "cats" / "1.png"
    photo = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    cv2.imwrite(str(path), photo)
    data, labels = common.read_photos([str(path)])
    np.testing.assert_array_equal(data[0], np.float32(cv2.resize(photo, (32, 32), interpolation=cv2.INTER_AREA)) / 255)
    assert labels.tolist() == ["cats"]


def test_no_photos(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected photos in .* Received: none in panda, dogs, cats"):
        common.animal_paths(tmp_path)
    for name in common.ANIMALS:
        (tmp_path / name).mkdir()
    (tmp_path / "dogs" / "1.jpg").touch()
    with pytest.raises(FileNotFoundError, match="expected photos in .* Received: none in panda, cats"):
        common.animal_paths(tmp_path)


def test_text_files_are_replaced_as_a_whole(tmp_path):
    file = tmp_path / "report.txt"
    common.write_text(file, "old")
    common.write_text(file, "new é")
    assert file.read_text(encoding="utf-8") == "new é"
    with pytest.raises(UnicodeEncodeError):
        common.write_text(file, "broken \ud800")
    assert file.read_text(encoding="utf-8") == "new é"
    assert [each.name for each in tmp_path.iterdir()] == ["report.txt"]


def test_show_is_an_error_at_once_where_there_is_no_display(monkeypatch, capsys):
    parser = common.parser(None, "runs/x")
    monkeypatch.setattr(common, "has_display", lambda: False)
    assert not common.can_plot()
    assert parser.parse_args([]).show is False
    frames = argparse.ArgumentParser()
    frames.add_argument("--show", action=common.ShowByOpenCV)
    for each, package in ((parser, "matplotlib"), (frames, "OpenCV")):
        with pytest.raises(SystemExit) as end:
            each.parse_args(["--show"])
        assert end.value.code == 2
        assert re.search(rf"--show expected a display, and .*{package}", capsys.readouterr().err)
    monkeypatch.setattr(common, "has_display", lambda: True)
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "get_backend", lambda: "Agg")
    assert not common.can_plot()
    monkeypatch.setattr(pyplot, "get_backend", lambda: "QtAgg")
    assert parser.parse_args(["--show"]).show is True


def test_a_file_that_is_no_network(tmp_path):
    (tmp_path / "text.tinyconv").write_text("no network")
    with pytest.raises(SystemExit, match=r"\[ERROR\] .*text.tinyconv is not a tinyconv file"):
        common.load_network(tmp_path / "text.tinyconv")
    tc.applications.ShallowNet.build(4, 4, 3, 2).save(tmp_path / "network.tinyconv")
    assert common.load_network(tmp_path / "network.tinyconv").output_shape == (None, 2)


def test_images_are_written_as_a_whole_and_come_back(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for picture in (image, image[..., 0]):
        common.write_image(tmp_path / "new folder" / "a.png", picture)
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "new folder" / "a.png"), cv2.IMREAD_UNCHANGED), picture)
    assert [file.name for file in (tmp_path / "new folder").iterdir()] == ["a.png"]


@pytest.mark.filterwarnings("ignore:(Precision|Recall) is set")
def test_report_ends_in_the_accuracy(capsys):
    true, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])
    report, accuracy = common.print_report(true, predicted, ["cat", "dog", "fox", "owl"], "test pictures")
    assert accuracy == 0.75
    assert report.splitlines()[-1] == "accuracy on 4 test pictures: 0.7500"
    assert [line.split()[0] for line in report.splitlines()[2:6]] == ["cat", "dog", "fox", "owl"]  # none is an owl's
    assert capsys.readouterr().out == report + "\n"


def test_drawn_pictures(tmp_path):
    """Bytes keep their grey, floats are stretched."""
    dark = np.full((10, 20), 51, np.uint8)
    floats = np.linspace(2, 3, 200).reshape(10, 20)
    common.draw_pictures([dark, floats], ["dark", "floats"], 2, tmp_path / "grid.png")
    drawn = cv2.imread(str(tmp_path / "grid.png"), cv2.IMREAD_GRAYSCALE)
    assert drawn.shape == (240, 800)  # two of 4 inches, half as high, and room for titles
    assert drawn[140, 200] == 51
    right = drawn[60:220, 420:780]
    assert right.min() < 30
    assert right.max() > 225
