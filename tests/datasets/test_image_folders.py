"""SMILES, animals and captchas: images in the layout in which they are published; the real ones, where in the cache."""

import io
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinyconv.datasets import animals, captchas, smiles
from tinyconv.datasets._images import read_images

cv2 = pytest.importorskip("cv2")

LAYOUT = {  # module -> its folders, a file name, (H, W), channels
    smiles: (["SMILEs/negatives/negatives7", "SMILEs/positives/positives7"], "{}.jpg", (64, 64), 1),
    animals: (["cats", "dogs", "panda"], "x_{:05d}.jpg", (30, 40), 3),
    captchas: ([f"dataset/{digit}" for digit in range(1, 10)], "{:06d}.png", (28, 28), 1),
}
modules = pytest.mark.parametrize("module", LAYOUT, ids=lambda module: module.__name__.split(".")[-1])


def encode(image, name):
    return cv2.imencode(Path(name).suffix, image)[1].tobytes()


def published(module, count=10):
    """Files as published: path below the folder -> content; the numbers are not those of the sorted order."""
    folders, name, size, channels = LAYOUT[module]
    rng = np.random.default_rng(3)
    shape = size if channels == 1 else (*size, channels)
    paths = [f"{folder}/{name.format(7 * number)}" for folder in folders for number in range(1, count + 1)]
    return {path: encode(rng.integers(0, 256, shape, np.uint8), path) for path in paths}


def write(folder, contents):
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def put(cache, monkeypatch):
    """Puts tiny data into the cache; the published number of images is lowered to what is there."""

    def put(module, contents=None, count=10):
        if module.FILES.counts:
            counts = dict.fromkeys(module.FILES.counts, count)
            monkeypatch.setattr(module, "FILES", replace(module.FILES, counts=counts))
        write(module.FILES.folder, published(module, count) if contents is None else contents)
        return module.FILES.folder

    return put


def opened(path, color_mode):
    """OpenCV's own reading of a file, as the books' programs have it."""
    image = cv2.imread(path)
    if color_mode == "bgr":
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if color_mode == "grayscale" else image[:, :, ::-1]


@modules
def test_paths_are_sorted_class_after_class(module, put):
    folder = put(module)
    write(folder, {f"{LAYOUT[module][0][0]}/{name}": b"" for name in ("negatives.zip", "._7.jpg", "Thumbs.db")})
    paths, labels = module.load_paths()
    expected = [
        (str(folder / place / name), class_name)
        for place, class_name in zip(LAYOUT[module][0], module.CLASS_NAMES, strict=True)
        for name in sorted(LAYOUT[module][1].format(7 * number) for number in range(1, 11))
    ]
    assert list(zip(paths, labels.tolist(), strict=True)) == expected
    assert all(type(path) is str for path in paths)


@modules
def test_load_data_is_a_split_of_all_images(module, put):
    put(module)
    color_mode, size = ("rgb", (32, 32)) if module is animals else ("grayscale", None)
    parts = module.load_data()
    paths, labels = module.load_paths()
    images = [opened(path, color_mode) for path in paths]
    if size:
        images = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
    numbers = [module.CLASS_NAMES.index(label) for label in labels]
    expected = sorted((number, image.tobytes()) for number, image in zip(numbers, images, strict=True))
    received = [(int(y), x.tobytes()) for part in parts for x, y in zip(*part, strict=True)]
    assert sorted(received) == expected
    for x, y in parts:
        assert x.dtype == y.dtype == np.uint8
        assert x.shape == (len(y), *images[0].shape)
    assert len(parts[1][1]) == {smiles: 4, animals: 8, captchas: 23}[module]


@modules
def test_the_same_seed_gives_the_same_split_and_another_another(module, put):
    put(module)
    first, again, other = (module.load_data(seed=seed, image_size=(16, 12)) for seed in (1, 1, 2))
    assert first[0][0].shape[1:3] == (16, 12)
    for one, two in zip(first, again, strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (first[1][0] != other[1][0]).any()


def test_the_smiles_split_is_stratified(put):
    put(smiles, count=50)
    (_, y_train), (_, y_test) = smiles.load_data(test_size=0.3)
    assert np.bincount(y_train).tolist() == [35, 35]
    assert np.bincount(y_test).tolist() == [15, 15]


def test_the_animals_are_split_in_the_order_of_the_book(put):
    """Panda, dogs, cats: only that order gives the book's supports."""
    put(animals)
    split = pytest.importorskip("sklearn.model_selection").train_test_split
    numbers, files = np.repeat([2, 1, 0], 10), animals.load_paths(["panda", "dogs", "cats"])[0]
    expected = split(numbers, files, test_size=0.25, random_state=42)
    (x_train, y_train), (x_test, y_test) = animals.load_data()
    assert [y_train.tolist(), y_test.tolist()] == [part.tolist() for part in expected[:2]]
    for images, paths in zip((x_train, x_test), expected[2:], strict=True):
        np.testing.assert_array_equal(images, read_images(paths, "rgb", (32, 32)))


def test_cats_against_dogs(put):
    put(animals)
    paths, labels = animals.load_paths(["dogs", "cats"])
    assert labels.tolist() == ["dogs"] * 10 + ["cats"] * 10
    assert [Path(path).parent.name == "dogs" for path in paths] == [True] * 10 + [False] * 10
    (x_train, y_train), (x_test, y_test) = animals.load_data(
        None, classes=iter(["cats", "dogs"]), test_size=0.2, stratify=True
    )
    assert (x_train.shape, x_test.shape) == ((16, 30, 40, 3), (4, 30, 40, 3))
    assert np.bincount(y_train).tolist() == [8, 8]
    assert np.bincount(y_test).tolist() == [2, 2]
    dogs = {opened(path, "rgb").tobytes() for path in paths[:10]}
    assert [image.tobytes() in dogs for image in x_test] == (y_test == 1).tolist()


@pytest.mark.parametrize("color_mode", ["rgb", "bgr", "grayscale"])
@pytest.mark.parametrize("image_size", [None, (30, 40), (20, 10), [60, 90]])
def test_reading_equals_opencvs_own(put, color_mode, image_size):
    put(animals, count=3)
    paths, _ = animals.load_paths()
    size = None if image_size is None else tuple(image_size)
    received = read_images(paths, color_mode, size)
    for image, path in zip(received, paths, strict=True):
        expected = opened(path, color_mode)
        if size:
            expected = cv2.resize(expected, size[::-1], interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(image, expected)
    (x_train, _), _ = animals.load_data(image_size, color_mode)
    assert x_train.shape[1:3] == (size or (30, 40))


@modules
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_in_the_folder_is_unpacked(module, put, kind):
    contents = published(module)
    whole = encode(np.full((36, 150, 3), 200, np.uint8), "a.jpg")
    if module is captchas:
        contents["downloads/00000.jpg"] = whole
    names = {smiles: "SMILEsmileD-master", animals: "animals", captchas: "captchas"}
    folder = put(module, {})
    folder.mkdir(parents=True)
    archive = folder / f"{names[module]}.{kind}"
    others = {"../evil.jpg": whole, "haarcascades/a.xml": b"<xml/>"}
    with zipfile.ZipFile(archive, "w") if kind == "zip" else tarfile.open(archive, "w:gz") as file:
        for name, content in [*contents.items(), *others.items()]:
            if kind == "zip":
                file.writestr(f"{names[module]}/{name}", content)
            else:
                info = tarfile.TarInfo(f"{names[module]}/{name}")
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    assert module.FILES.missing() == []
    paths, _ = module.load_paths()
    if module is captchas:
        paths = [*paths, *captchas.whole_paths()]
    assert {Path(path).relative_to(folder).as_posix(): Path(path).read_bytes() for path in paths} == contents
    files = {path for path in folder.parent.rglob("*") if path.is_file()}
    assert files == {archive, *map(Path, paths)}


@modules
def test_nothing_there(module, put, cache):
    with pytest.raises(FileNotFoundError, match="To get them, ") as caught:
        module.load_data()
    assert str(cache / module.FILES.folder_name) in str(caught.value)
    assert module.FILES.missing() == LAYOUT[module][0] + (["downloads"] if module is captchas else [])
    assert not cache.exists()
    folder = put(module)
    gone = LAYOUT[module][0][1]
    for path in (folder / gone).iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=f"expected images in {gone} of {folder}. Received none"):
        module.load_paths()


def test_an_archive_without_the_images(put):
    folder = put(animals, {})
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "animals.zip", "w") as file:
        file.writestr("elephants/1.jpg", b"")
    with pytest.raises(FileNotFoundError, match="Received none, nor has animals.zip any"):
        animals.load_paths()


def test_whole_captchas(put):
    folder = put(captchas)
    with pytest.raises(FileNotFoundError, match=f"expected images in downloads of {folder}. Received none"):
        captchas.whole_paths()
    for number in (2, 0, 1):
        write(folder, {f"downloads/{number:05d}.jpg": b"any"})
    assert captchas.whole_paths() == [str(folder / "downloads" / f"0000{number}.jpg") for number in range(3)]


@pytest.mark.parametrize("module", [smiles, animals])
def test_more_or_fewer_images_than_published(module, put):
    folder = put(module)
    place = folder / LAYOUT[module][0][0]
    next(place.iterdir()).unlink()
    with pytest.warns(UserWarning, match=rf"expected the 10 published images in {place}. Received 9") as caught:
        module.load_paths()
    assert caught[0].filename == __file__


@pytest.mark.parametrize("content", [b"", b"no image", 100, -20])
def test_a_file_that_is_no_image(put, content):
    folder = put(animals)
    place = folder / "dogs" / "x_00014.jpg"
    place.write_bytes(place.read_bytes()[:content] if isinstance(content, int) else content)  # OpenCV reads the last
    with pytest.raises(ValueError, match=f"{place}: expected an intact image file. Received: "):
        animals.load_data()


def test_images_of_different_sizes(put):
    folder = put(captchas)
    name = "dataset/5/000014.png"
    write(folder, {name: encode(np.zeros((30, 21), np.uint8), name)})
    with pytest.raises(ValueError, match=r"expected \(height, width\).*Received None, \(28, 28\) in .* \(30, 21\) in"):
        captchas.load_data()
    assert captchas.load_data(image_size=(28, 28))[0][0].shape == (67, 28, 28)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: smiles.load_data(image_size=(28,)), r"image_size must be \(height, width\).* Received: \(28,\)"),
        (lambda: captchas.load_data(image_size=(28, 0)), r"image_size .* Received: \(28, 0\)"),
        (lambda: animals.load_data(image_size=(28, 2.5)), r"image_size .* Received: \(28, 2.5\)"),
        (lambda: animals.load_data(color_mode="rgba"), "color_mode: expected one of 'rgb', .* Received 'rgba'"),
        (lambda: animals.load_data(classes=["cats", "cats"]), "classes: .*each once. Received"),
        (lambda: animals.load_paths([]), "classes: expected some of 'cats', 'dogs', 'panda'"),
        (lambda: animals.load_paths("dogs"), "classes: .* Received 'dogs'"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_read(cache, call, told):
    with pytest.raises(ValueError, match=told):
        call()


def test_without_opencv(put):
    put(smiles)
    code = "from tinyconv.datasets import smiles; assert len(smiles.load_paths()[0]) == 20; smiles.load_data()"
    hidden = f"import sys; sys.modules['cv2'] = None; {code}"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", hidden], capture_output=True, text=True)
    assert "ImportError: Images are read and resized by OpenCV: pip install opencv-python" in done.stderr


def in_cache(module):
    return pytest.mark.skipif(bool(module.FILES.missing()), reason="not in the cache")


@in_cache(smiles)
@pytest.mark.filterwarnings("error")
def test_the_real_smiles():
    paths, labels = smiles.load_paths()
    assert [int((labels == name).sum()) for name in smiles.CLASS_NAMES] == [9_475, 3_690]
    assert paths == sorted(paths)
    (x_train, y_train), (x_test, y_test) = smiles.load_data()
    assert (x_train.shape, x_test.shape) == ((10_532, 64, 64), (2_633, 64, 64))
    assert np.bincount(y_test).tolist() == [1_895, 738]
    assert np.bincount(y_train).tolist() == [7_580, 2_952]


@in_cache(animals)
@pytest.mark.filterwarnings("error")
def test_the_real_animals():
    paths, labels = animals.load_paths()
    assert [int((labels == name).sum()) for name in animals.CLASS_NAMES] == [1_000] * 3
    (x_train, y_train), (x_test, y_test) = animals.load_data()
    assert (x_train.shape, x_test.shape) == ((2_250, 32, 32, 3), (750, 32, 32, 3))
    assert np.bincount(y_test).tolist() == [239, 249, 262]  # the supports that the book reports
    assert np.bincount(y_train).tolist() == [761, 751, 738]
    assert len(paths) == 3_000


@in_cache(captchas)
def test_the_real_captchas():
    (x_train, y_train), (x_test, y_test) = captchas.load_data()
    assert (x_train.shape, x_test.shape) == ((1_514, 28, 28), (505, 28, 28))
    digits = np.bincount(np.concatenate([y_train, y_test]))
    assert digits.sum() == 2_019
    assert digits[0] == 232  # the number of ones that the book states
    assert read_images(captchas.whole_paths()).shape == (505, 36, 150, 3)
