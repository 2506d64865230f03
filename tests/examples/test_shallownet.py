"""ShallowNet's three programs: on CIFAR-10, on animals, and classifying with what was saved."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.model_selection import train_test_split

import tinyconv as tc
from examples import common, shallownet_animals, shallownet_cifar10, shallownet_load


def test_cifar10(tmp_path, capsys):
    accuracy = shallownet_cifar10.main(["--quick", "--output", str(tmp_path)])
    text = capsys.readouterr().out
    assert "Train on 320 samples, validate on 80 samples" in text
    assert f"accuracy on 80 test pictures: {accuracy:.4f}" in (tmp_path / "shallownet_cifar10.txt").read_text()
    assert accuracy > 0.9
    assert (tmp_path / "shallownet_cifar10.png").read_bytes().startswith(b"\x89PNG")
    model = tc.load_model(tmp_path / "shallownet_cifar10.tinyconv")
    assert model.count_params() == 328_586
    assert model.optimizer.iterations == 3 * 10
    data = common.cifar10(quick=True, seed=42)
    assert accuracy == np.mean(model.predict(data.x_test).argmax(axis=1) == np.arange(80) % 10)


def test_settings_of_the_book():
    args = shallownet_cifar10.parse_arguments([])
    assert (args.epochs, args.batch_size, args.learning_rate) == (40, 32, 0.01)
    args = shallownet_animals.parse_arguments([])
    assert (args.epochs, args.batch_size, args.learning_rate) == (100, 32, 0.005)
    assert args.model == Path("runs/shallownet_animals/shallownet_animals.tinyconv")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with 60 generated photos, and the network that the program saved for them."""
    folder = tmp_path_factory.mktemp("animals")
    accuracy = shallownet_animals.main(["--quick", "--output", str(folder), "--model", str(folder / "m" / "net.hdf5")])
    return folder, accuracy


def test_animals(trained):
    folder, accuracy = trained
    report = (folder / "shallownet_animals.txt").read_text()
    assert accuracy > 0.9
    names = ["panda"] * 20 + ["dogs"] * 20 + ["cats"] * 20
    test = train_test_split(names, test_size=0.25, random_state=42)[1]
    for name in ("cats", "dogs", "panda"):
        assert re.search(rf"^ +{name}( +\d\.\d\d){{3}} +{test.count(name)}$", report, re.MULTILINE)
    assert (folder / "shallownet_animals.png").read_bytes().startswith(b"\x89PNG")
    model = tc.load_model(folder / "m" / "net.hdf5")
    assert model.class_names == ["cats", "dogs", "panda"]
    assert model.count_params() == 99_203
    assert model.optimizer.iterations == 5 * 2


def test_animals_are_split_as_in_the_book(trained):
    folder = trained[0] / "generated"
    data = shallownet_animals.load_animals(folder)
    train, test = train_test_split(common.animal_paths(folder), test_size=0.25, random_state=42)
    for x, y, paths in ((data.x_train, data.y_train, train), (data.x_test, data.y_test, test)):
        expected, names = common.read_photos(paths)
        np.testing.assert_array_equal(x, expected)
        assert [data.class_names[k] for k in y.argmax(axis=1)] == names.tolist()


def classify(trained, output, *more):
    options = ["--dataset", trained[0] / "generated", "--model", trained[0] / "m" / "net.hdf5", "--output", output]
    return shallownet_load.main([str(option) for option in (*options, *more)])


def test_load_and_classify(trained, tmp_path, capsys):
    share = classify(trained, tmp_path)
    rows = re.findall(r"^(\S+\.png) +(\w+)/(\S+) +(cats|dogs|panda) +(\d\.\d\d)", capsys.readouterr().out, re.MULTILINE)
    assert len(rows) == 10
    assert sorted(Path(row[0]).name for row in rows) == [f"{number:02d}.png" for number in range(10)]
    model = tc.load_model(trained[0] / "m" / "net.hdf5")
    right = 0
    for drawn, kind, name, label, probability in rows:
        photo = cv2.imread(str(trained[0] / "generated" / kind / name))
        row = model.predict(photo[None].astype("float32") / 255)[0]  # it is 32x32 already
        assert ["cats", "dogs", "panda"][row.argmax()] == label
        assert f"{row.max():.2f}" == probability
        right += label == kind
        expected = cv2.putText(
            photo, f"Label: {label}", (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 255, 0), 2
        )
        np.testing.assert_array_equal(cv2.imread(drawn), expected)
    assert share == right / 10 > 0.8
    assert f"{right} of 10 are right" in (tmp_path / "shallownet_load.txt").read_text()


def test_unseen_photos_only(trained, tmp_path):
    paths = common.animal_paths(trained[0] / "generated")
    test = set(train_test_split(paths, test_size=0.25, random_state=42)[1])
    sampled = shallownet_load.sample_paths(trained[0] / "generated", 50, unseen=True, seed=1)
    assert set(sampled) <= test
    assert len(set(sampled)) < len(sampled) == 50  # with replacement
    assert not set(shallownet_load.sample_paths(trained[0] / "generated", 50, unseen=False, seed=1)) <= test


def test_photos_with_labels_have_their_own_size(tmp_path):
    photo = np.full((60, 200, 3), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), photo)
    (file,) = shallownet_load.write_labelled([str(tmp_path / "photo.png")], ["panda"], tmp_path)
    drawn = cv2.imread(str(file))
    assert file.name == "00.png"
    changed = (drawn != photo).any(axis=2)
    assert drawn.shape == photo.shape
    assert [0, 255, 0] in drawn[changed].tolist()
    assert not changed[45:].any()
    assert changed[10:40, 10:].any()


def test_no_network(tmp_path):
    folder = common.write_animals(tmp_path / "photos", seed=0, count=1)
    with pytest.raises(FileNotFoundError, match="none. Received: no file.*run: python -m examples.shallownet_animals"):
        shallownet_load.main(["-d", str(folder), "-m", str(tmp_path / "none"), "-o", str(tmp_path / "out")])


def test_another_network(trained, tmp_path):
    model = tc.Sequential([tc.layers.Flatten(input_shape=(8, 8, 3)), tc.layers.Dense(3)])
    model.save(tmp_path / "other.tinyconv")
    with pytest.raises(SystemExit, match="expected a network of shallownet_animals"):
        classify(trained, tmp_path, "--model", tmp_path / "other.tinyconv")
