"""What is wrong with files, folders and numbers of the user ends every program with a message, before it trains."""

import importlib
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

import tinyconv as tc
from examples import common
from examples.captcha_breaker import generate_images
from examples.smile_detector import faces
from tests.examples.test_common import PROGRAMS, ROOT

CASE_STUDIES = (
    "captcha_breaker.generate_images", "captcha_breaker.annotate", "captcha_breaker.train_model",
    "captcha_breaker.test_model", "captcha_breaker.break_real", "smile_detector.train_model",
    "smile_detector.detect_smile", "smile_detector.check_detector",
)  # fmt: skip
REQUIRED = {  # arguments without which a program does not start
    "cifar10_checkpoints": ["best"], "dogs_and_cats": ["scratch"], "self_supervised": ["pair"],
    "captcha_breaker.annotate": ["-a", "digits"], "captcha_breaker.test_model": ["-m", "none"],
    "smile_detector.detect_smile": ["-m", "none"], "smile_detector.check_detector": ["-m", "none"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_training(monkeypatch, tmp_path):
    def fit(*args, **options):
        raise AssertionError("expected an error before training")

    monkeypatch.setattr(tc.Model, "fit", fit)
    monkeypatch.chdir(tmp_path)


def end_of(name, *arguments):
    """How a program ends for a person who runs it: the text or the number it exits with. A traceback fails."""
    module = importlib.import_module(f"examples.{name}")
    given = [*REQUIRED.get(name, []), *map(str, arguments)]
    with pytest.raises(SystemExit) as end:
        common.run(lambda: module.main(given))
    return end.value.code


@pytest.mark.parametrize("name", sorted({*PROGRAMS, *CASE_STUDIES} - {"smile_detector.detect_smile"}))
@pytest.mark.parametrize("seed", ["-1", "4294967296", "x"])
def test_seeds(name, seed, capsys):
    assert end_of(name, "--seed", seed) == 2
    assert f"expected a whole number from 0 to 4294967295, received {seed}" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*PROGRAMS, "captcha_breaker.generate_images", "captcha_breaker.train_model",
                                  "captcha_breaker.break_real", "smile_detector.train_model",
                                  "smile_detector.detect_smile", "smile_detector.check_detector"])  # fmt: skip
def test_a_file_where_the_results_should_go(name, tmp_path):
    (tmp_path / "file").write_text("kept")
    assert f"expected a folder for the results. Received: {tmp_path / 'file'}" in end_of(
        name, "--quick", "-o", tmp_path / "file"
    )
    assert (tmp_path / "file").read_text() == "kept"


def test_folders_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    for name in ("lenet_mnist", "captcha_breaker.train_model", "smile_detector.train_model"):
        assert "expected a folder that can be written to" in end_of(name, "--quick", "-o", tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["shallownet_animals", "captcha_breaker.train_model", "smile_detector.train_model", "cifar10_checkpoints"]
)
def test_a_folder_where_the_model_should_go(name, tmp_path, capsys):
    option = "-w" if name == "cifar10_checkpoints" else "-m"
    assert end_of(name, "--quick", "-o", tmp_path / "out", option, tmp_path) == 2
    assert f"expected the name of a file, received the folder {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["convolutions", "shallownet_animals", "captcha_breaker.annotate", "smile_detector.detect_smile"]
)
def test_without_opencv(name, tmp_path):
    """In a process of its own, from which OpenCV is hidden."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "hidden")])
    environment = {**os.environ, "PYTHONPATH": path, "TINYCONV_BACKEND": "reference"}
    command = [sys.executable, "-m", f"examples.{name}", *REQUIRED.get(name, []), "--quick", "-o", str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "[ERROR] this program needs OpenCV: pip install opencv-python\n"


# --- folders of photos -----------------------------------------------------------------------------------------


def photos(folder, what):
    """A folder of ten photos of each animal with one thing wrong."""
    if what == "missing":
        return folder
    common.write_animals(folder, seed=0, count=10)
    cats = folder / "cats"
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    if what == "empty":
        for name in common.ANIMALS:
            shutil.rmtree(folder / name)
    elif what == "no folder":
        shutil.rmtree(cats)
    elif what == "empty folder":
        shutil.rmtree(cats)
        cats.mkdir()
    elif what == "text":
        (cats / "000.jpg").write_text("no photo")
    elif what == "cut short":
        (cats / "000.jpg").write_bytes(whole[: len(whole) // 2])
    elif what == "nothing":
        (cats / "000.jpg").write_bytes(b"")
    elif what == "link":
        (cats / "000.jpg").symlink_to("nowhere.jpg")
    return folder


FOLDERS = {
    "missing": "Received: none in panda, dogs, cats", "empty": "Received: none in panda, dogs, cats",
    "no folder": "Received: none in cats", "empty folder": "Received: none in cats",
    "text": "000.jpg: expected an intact image file. Received: 8 other bytes",
    "cut short": "000.jpg: expected an intact image file. Received: a JPEG that is cut short",
    "nothing": "000.jpg: expected an intact image file. Received: an empty file",
    "link": "Expected an image file. Received:",
}  # fmt: skip


@pytest.mark.parametrize("what", FOLDERS)
@pytest.mark.parametrize("name", ["shallownet_animals", "shallownet_load", "what_filters_see"])
def test_photos(name, what, tmp_path):
    tc.applications.ShallowNet.build(8, 8, 3, 3).save(tmp_path / "net.tinyconv")
    options = {"shallownet_load": ["-n", 300], "what_filters_see": ["-n", 30]}.get(name, [])
    options += ["-m", tmp_path / ("new.tinyconv" if name == "shallownet_animals" else "net.tinyconv")]
    said = end_of(name, "-d", photos(tmp_path / "photos", what), "-o", tmp_path / "out", *options)
    assert said.startswith("[ERROR] ")
    assert FOLDERS[what] in said


@pytest.mark.parametrize("what", FOLDERS)
def test_photos_of_dogs_and_cats(what, tmp_path, monkeypatch):
    """Photos are read while it trains: here the training only reads."""

    def fit(self, train, validation_data, **options):
        for flow in (train, validation_data):
            for number in range(len(flow)):
                flow[number]
        raise AssertionError("expected an error")

    monkeypatch.setattr(tc.Model, "fit", fit)
    expected = {
        "missing": "Expected a folder for class 'cats'", "empty": "Expected a folder for class 'cats'",
        "no folder": "Expected a folder for class 'cats'", "empty folder": "expected photos in cats and dogs",
    }  # fmt: skip
    folder = photos(tmp_path / "photos", what)
    said = end_of("dogs_and_cats", "-d", folder, "-o", tmp_path / "out", "--size", "40", "-b", "4")
    assert said.startswith("[ERROR] ")
    assert expected.get(what, FOLDERS[what]) in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scratch", "--size", "8"], "The window must fit into the padded input"),
        (["bottleneck", "--size", "16"], "Images must be at least 32x32"),
        (["bottleneck", "--weights", "none.h5"], "Received: 'none.h5', which is no file"),
        (["bottleneck", "--weights", "photos/cats/002.png"], "002.png is not a tinyconv file"),
    ],
)
def test_size_and_weights_of_dogs_and_cats(arguments, message, tmp_path, monkeypatch):
    common.write_animals(tmp_path / "photos", seed=0, count=10)
    monkeypatch.setitem(REQUIRED, "dogs_and_cats", [])
    said = end_of("dogs_and_cats", *arguments, "-d", tmp_path / "photos", "-o", tmp_path / "out")
    assert said.startswith("[ERROR] ")
    assert message in said


def test_too_few_photos(tmp_path):
    """One of each kind: the only photo of one kind falls into the test part."""
    common.write_animals(tmp_path / "photos", seed=0, count=1)
    assert "transform: expected the labels" in end_of("shallownet_animals", "-d", tmp_path / "photos", "-o", tmp_path)


# --- single images ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["augmentation", "convolutions", "imagenet_pretrained"])
@pytest.mark.parametrize("what", ["missing", "text", "cut short", "nothing", "folder"])
def test_one_image(name, what, tmp_path):
    if what == "folder":
        path = tmp_path
    else:
        path = photos(tmp_path / "photos", what) / "cats" / "000.jpg"
    options = []
    if name == "imagenet_pretrained":
        weights = tmp_path / "weights.safetensors"
        tc.applications.MobileNet(weights=None).save_weights(weights)
        options = ["--model", "mobilenet", "--weights", weights]
    said = end_of(name, "-i", path, "-o", tmp_path / "out", *options)
    assert said.startswith("[ERROR] ")
    assert str(path) in said


# --- damaged data sets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        *((name, "mnist", "train-images-idx3-ubyte") for name in (
            "lenet_mnist", "mnist_mlp", "batchnorm_mlp", "reuse_layers", "multi_label", "self_supervised",
        )),
        ("fashion_mnist_cnn", "fashion_mnist", "train-images-idx3-ubyte"),
        *((name, "cifar10", "cifar-10-batches-bin/data_batch_1.bin") for name in (
            "shallownet_cifar10", "minivggnet_cifar10", "monitor_training", "cifar10_checkpoints",
        )),
    ],
)  # fmt: skip
def test_damaged_data(name, folder, file, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYCONV_HOME", str(tmp_path))
    place = (tmp_path / "datasets" / folder / file).parent
    place.mkdir(parents=True)
    names = (
        [f"{kind}-{what}" for kind in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]
        if folder != "cifar10"
        else [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    )
    for each in names:
        (place / each).write_text("garbage")
    said = end_of(name, "-o", tmp_path / "out")
    assert said.startswith(f"[ERROR] {tmp_path / 'datasets' / folder / file}: expected ")


# --- captchas and smiles ---------------------------------------------------------------------------------------


def digits(folder, *labels):
    """A folder with eight pictures for each of the labels."""
    for label in labels:
        (folder / label).mkdir(parents=True)
        for number in range(8):
            picture = np.random.default_rng(number).integers(0, 256, (25, 20), dtype=np.uint8)
            cv2.imwrite(str(folder / label / f"{number}.png"), picture)
    return folder


def test_digits(tmp_path, monkeypatch):
    name = "captcha_breaker.train_model"
    monkeypatch.setenv("TINYCONV_HOME", str(tmp_path / "home"))
    assert "Or draw some: python -m examples.captcha_breaker.generate_images" in end_of(name, "-o", tmp_path)
    assert "expected digits in" in end_of(name, "-d", tmp_path / "none", "-o", tmp_path)
    one = digits(tmp_path / "one", "1")
    assert f"one for each, in {one}. Received: 1 only" in end_of(name, "-d", one, "-o", tmp_path)
    broken = digits(tmp_path / "broken", "1", "2")
    (broken / "1" / "0.png").write_text("no digit")
    assert "0.png: expected an intact image file" in end_of(name, "-d", broken, "-o", tmp_path)
    names = ["1"] + ["2"] * 8 + ["3"] * 8  # as the files are listed
    assert "1" in tc.datasets.train_test_split(names, test_size=0.25, random_state=42)[1]
    rare = digits(tmp_path / "rare", "1", "2", "3")
    for number in range(1, 8):
        (rare / "1" / f"{number}.png").unlink()
    assert "expected the labels '2', '3'. Received '1'" in end_of(name, "-d", rare, "-o", tmp_path)


@pytest.mark.filterwarnings("ignore:Precision is set")  # it learns next to nothing
def test_two_kinds_of_digits_are_enough(tmp_path, monkeypatch):
    """`LabelBinarizer` gives two classes one column, and the network has two outputs."""
    monkeypatch.undo()
    program = importlib.import_module("examples.captcha_breaker.train_model")
    two = digits(tmp_path / "two", "4", "7")
    accuracy = program.main(["-d", str(two), "-o", str(tmp_path / "out"), "-e", "1"])
    assert 0 <= accuracy <= 1
    assert tc.load_model(tmp_path / "out" / "captcha_lenet.tinyconv").class_names == ["4", "7"]


def test_captchas(tmp_path, capsys):
    captchas = tmp_path / "captchas"
    generate_images.generate(captchas, 2, seed=0)
    assert end_of("captcha_breaker.generate_images", "--noise", "-1") == 2
    assert "expected a number >= 0, received -1" in capsys.readouterr().err
    name, labels = "captcha_breaker.annotate", tmp_path / "labels.txt"
    assert "generate_images" in end_of(name, "-i", tmp_path / "none")
    labels.write_bytes(b"\x89PNG\xff")
    assert "labels.txt, line 1: expected a new file name" in end_of(name, "-i", captchas, "--labels", labels)
    labels.write_text("00009.jpg 1234")
    assert "labels.txt names. Received: others only" in end_of(name, "-i", captchas, "--labels", labels)
    (tmp_path / "file").write_text("kept")
    said = end_of(name, "-i", captchas, "--labels", captchas / "labels.txt", "-a", tmp_path / "file")
    assert "expected a folder for the results" in said


def test_networks_for_captchas(tmp_path, capsys):
    captchas = tmp_path / "captchas"
    generate_images.generate(captchas, 2, seed=0)
    name, file = "captcha_breaker.test_model", tmp_path / "net.tinyconv"
    network = tc.applications.LeNet.build(28, 28, 3, 2)
    network.class_names = ["1", "2"]
    network.save(file)
    assert f"expected a model of train_model. Received: {file}" in end_of(name, "-i", captchas, "-m", file)
    assert end_of(name, "-i", captchas, "-m", file, "-o", captchas) == 2  # pictures would replace captchas
    assert "expected another folder than --input" in capsys.readouterr().err
    tc.applications.LeNet.build(28, 28, 1, 2).save(file)
    assert "expected a model of train_model" in end_of(name, "-i", captchas, "-m", file)


def test_smiles(tmp_path):
    name = "smile_detector.train_model"
    assert "Expected a folder of images" in end_of(name, "-d", tmp_path / "none", "-o", tmp_path)
    faces.write_image(tmp_path / "here.png", faces.draw_face(True, np.random.default_rng(0)))
    assert "Received 0 images" in end_of(name, "-d", ".", "-o", tmp_path)  # a path of one part
    for folder, counts in (("one", {"not_smiling": 4, "smiling": 0}), ("few", {"not_smiling": 1, "smiling": 1})):
        faces.write_faces(tmp_path / folder, counts)
    assert "Received 4 images" in end_of(name, "-d", tmp_path / "one", "-o", tmp_path)
    assert "expected two rows or more of every class" in end_of(name, "-d", tmp_path / "few", "-o", tmp_path)
    broken = tmp_path / "one" / faces.FOLDERS["smiling"] / "0.jpg"
    broken.parent.mkdir(parents=True)
    broken.write_text("no face")
    assert "0.jpg: expected an intact image file" in end_of(name, "-d", tmp_path / "one", "-o", tmp_path)


def test_networks_and_sources_for_smiles(tmp_path, capsys):
    file, pictures = tmp_path / "net.tinyconv", tmp_path / "pictures"
    network = tc.applications.LeNet.build(28, 28, 3, 2)
    network.class_names = ["not_smiling", "smiling"]
    network.save(file)
    pictures.mkdir()
    for name in ("smile_detector.detect_smile", "smile_detector.check_detector"):
        assert f"expected a model of train_model. Received: {file}, which is another" in end_of(name, "-m", file)
    name = "smile_detector.detect_smile"
    assert end_of(name, "-m", file, "--camera", "-1") == 2  # OpenCV's Qt would end the process
    assert "expected a whole number from 0" in capsys.readouterr().err
    assert end_of(name, "-m", file, "-i", pictures, "-o", pictures) == 2
    assert "expected another folder than --images" in capsys.readouterr().err
    said = end_of(name, "-m", tmp_path / "none.tinyconv")
    assert "none.tinyconv. Received: no file. To get one, run: python -m examples.smile_detector.train_model" in said


def test_images_that_cannot_be_read_are_left_out(tmp_path, capsys):
    program = importlib.import_module("examples.smile_detector.detect_smile")
    photos(tmp_path, "cut short")
    (tmp_path / "cats" / "001.jpg").symlink_to("nowhere.jpg")
    names = [name for name, _ in program.image_frames(tmp_path)]
    assert len(names) == 30
    assert capsys.readouterr().out.count("skipping image...") == 2
