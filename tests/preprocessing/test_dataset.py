"""image_dataset_from_directory: files, labels, splits, resizing, threads, and training from it."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv.preprocessing import image_dataset_from_directory

from .conftest import COUNTS, prefetching_threads

Image = pytest.importorskip("PIL.Image")
cv2 = pytest.importorskip("cv2")

SORTED = [os.path.join(name, f"{i:02}.png") for name, count in COUNTS.items() for i in range(count)]


def dataset(folder, **options):
    return image_dataset_from_directory(folder, **{"image_size": (8, 6), "batch_size": 4, "verbose": False, **options})


def joined(data):
    return [np.concatenate(parts) for parts in zip(*data, strict=True)]


def test_files_in_order(folder, capsys):
    data = image_dataset_from_directory(folder, image_size=(8, 6), batch_size=4, shuffle=False)
    assert capsys.readouterr().out == "Found 17 files belonging to 2 classes.\n"
    assert data.class_names == ["blue", "red"]
    assert [os.path.relpath(path, folder) for path in data.file_paths] == SORTED
    assert len(data) == len(list(data)) == 5
    x, y = joined(data)
    assert (x.shape, x.dtype, y.dtype) == ((17, 8, 6, 3), np.float32, np.int32)
    np.testing.assert_array_equal(y, [0] * 7 + [1] * 10)
    for image, path in zip(x, data.file_paths, strict=True):
        pixels = np.asarray(Image.open(path)).astype(np.float32)
        np.testing.assert_allclose(image, cv2.resize(pixels, (6, 8), interpolation=cv2.INTER_LINEAR), rtol=1e-6)


def test_shuffling(folder):
    data = dataset(folder, seed=3)
    first, second = joined(data), joined(data)
    assert not np.array_equal(first[1], second[1])
    again = dataset(folder, seed=3)
    again.workers = 0
    for epoch in (first, second):
        for expected, got in zip(epoch, joined(again), strict=True):
            np.testing.assert_array_equal(got, expected)
    everything = np.sort(joined(dataset(folder, shuffle=False))[0].sum((1, 2, 3)))
    np.testing.assert_allclose(np.sort(first[0].sum((1, 2, 3))), everything, rtol=1e-6)
    tc.set_seed(5)
    one = joined(dataset(folder))[1]
    tc.set_seed(5)
    np.testing.assert_array_equal(joined(dataset(folder))[1], one)


@pytest.mark.parametrize("mode", ["int", "categorical", "binary"])
def test_labels_stay_with_their_images(folder, mode):
    for x, y in dataset(folder, label_mode=mode, seed=1, class_names=["red", "blue"]):
        is_blue = x[..., 2].mean((1, 2)) > x[..., 0].mean((1, 2))
        expected = {"int": is_blue, "categorical": np.eye(2)[is_blue.astype(int)], "binary": is_blue[:, None]}[mode]
        np.testing.assert_array_equal(y, expected)
        assert y.dtype == (np.int32 if mode == "int" else np.float32)


def test_no_labels_and_own_labels(folder):
    for options in ({"labels": None}, {"label_mode": None}):
        assert [x.shape for x in dataset(folder, **options)] == [(4, 8, 6, 3)] * 4 + [(1, 8, 6, 3)]
    data = dataset(folder, labels=list(range(17)), shuffle=False)
    np.testing.assert_array_equal(joined(data)[1], np.arange(17))
    assert data.class_names == [str(i) for i in range(17)]
    truth = np.arange(17) % 3 > 0
    rows = joined(dataset(folder, labels=truth.tolist(), label_mode="categorical", shuffle=False))[1]
    np.testing.assert_array_equal(rows, np.stack([~truth, truth], 1))


@given(fraction=st.floats(0.06, 0.94), seed=st.integers(0, 2**32), shuffle=st.booleans())
def test_subsets_are_complementary(folder, fraction, seed, shuffle):
    options = {"validation_split": fraction, "seed": seed, "shuffle": shuffle}
    train, test = (dataset(folder, subset=subset, **options) for subset in ("training", "validation"))
    assert len(test.file_paths) == int(17 * fraction)
    assert sorted(train.file_paths + test.file_paths) == [os.path.join(folder, name) for name in SORTED]
    if not shuffle:
        assert train.file_paths + test.file_paths == sorted(train.file_paths + test.file_paths)
    both = dataset(folder, subset="both", **options)
    assert [part.file_paths for part in both] == [train.file_paths, test.file_paths]


def test_verbose_names_the_subset(folder, capsys):
    image_dataset_from_directory(folder, validation_split=0.3, subset="training", seed=1)
    assert capsys.readouterr().out == "Found 17 files belonging to 2 classes.\nUsing 12 files for training.\n"


@pytest.mark.parametrize(("keep", "inside"), [("crop", (255, 255)), ("pad", (0, 255)), ("", (170, 170))])
def test_proportions(tmp_path, keep, inside):
    """A wide picture with black ends: cropping loses them, padding adds more, plain resizing squeezes everything."""
    picture = np.zeros((30, 90), np.uint8)
    picture[:, 15:75] = 255
    (tmp_path / "a").mkdir()
    Image.fromarray(picture).save(tmp_path / "a" / "a.png")
    options = {f"{keep}_to_aspect_ratio": True} if keep else {}
    (x, _), *_ = dataset(tmp_path, image_size=(30, 30), color_mode="grayscale", interpolation="area", **options)
    assert x.shape == (1, 30, 30, 1)
    image = x[0, ..., 0]
    assert (image[0].max(), image[15].max()) == ((0, 255) if keep == "pad" else (255, 255))
    assert image.mean() == pytest.approx({"crop": 255, "pad": 255 * 2 / 9, "": 170}[keep], abs=1)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("color_mode", "channels"), [("rgb", 3), ("grayscale", 1), ("rgba", 4)])
def test_layouts(folder, data_format, color_mode, channels):
    x, _ = next(iter(dataset(folder, data_format=data_format, color_mode=color_mode)))
    assert x.shape == ((4, 8, 6, channels) if data_format == "channels_last" else (4, channels, 8, 6))


def test_map_take_and_single_images(folder):
    data = dataset(folder, shuffle=False)
    scaled = data.map(lambda x, y: (x / 255, y)).map(lambda x, y: (x, 1 - y))
    for (x, y), (half, other) in zip(data, scaled, strict=True):
        np.testing.assert_array_equal(x / 255, half)
        np.testing.assert_array_equal(other, 1 - y)
    assert len(scaled.take(2)) == len(list(scaled.take(2))) == 2
    assert [x.shape for x in data.take(1).map(lambda x, y: x[:1])] == [(1, 8, 6, 3)]
    singles = dataset(folder, batch_size=None, shuffle=False)
    assert len(singles) == 17
    image, label = next(iter(singles))
    assert (image.shape, label.shape) == ((8, 6, 3), ())
    assert repr(data) == "<ImageDataset: 17 images of 2 classes, 5 batches>"


def test_threads_end_and_errors_name_the_file(tmp_path, folder, no_thread_is_left):
    for _ in dataset(folder):
        assert prefetching_threads()
        break
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.jpg").write_bytes(b"\xff\xd8\xff\xda\x00")
    with pytest.raises(ValueError, match=r"bad\.jpg: expected an intact image file. Received: a JPEG that is cut"):
        list(dataset(tmp_path))


def test_training(folder, no_thread_is_left):
    options = {"image_size": (10, 10), "label_mode": "binary", "validation_split": 0.3, "seed": 2}
    train, test = dataset(folder, subset="both", **options)
    tc.set_seed(0)
    model = tc.Sequential(
        [tc.layers.Rescaling(1 / 255), tc.layers.GlobalAveragePooling2D(), tc.layers.Dense(1, activation="sigmoid")]
    )
    model.compile(tc.optimizers.Adam(0.3), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(train, epochs=10, validation_data=test, verbose=0)
    assert history.history["val_accuracy"][-1] == 1
    assert model.evaluate(test)[1] == 1
    images = dataset(folder, image_size=(10, 10), label_mode=None, shuffle=False)
    np.testing.assert_array_equal(model.predict(images).round()[:, 0], [0] * 7 + [1] * 10)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"directory": "nowhere"}, FileNotFoundError, "Received: nowhere"),
        ({"labels": "none"}, ValueError, "'inferred', None or a list"),
        ({"labels": [1, 2]}, ValueError, "each of 17 files. Received: 2 labels"),
        ({"labels": ["a"] * 17}, ValueError, r"must be integers, one for each file .*Received: str32 of shape \(17,\)"),
        ({"labels": [0.5] * 17}, ValueError, r"must be integers, one for each file .*Received: float64"),
        ({"labels": [[1, 2]] * 17}, ValueError, r"must be integers, one for each file .*Received: int64 of shape"),
        ({"labels": [0, 2] * 8 + [0], "label_mode": "categorical"}, ValueError, "labels 0 .. 1 for 2 .*Received: 2"),
        ({"labels": [-1, 0] * 8 + [0], "label_mode": "categorical"}, ValueError, "labels 0 .. 1 .*Received: -1"),
        ({"labels": [1, 2] * 8 + [1], "label_mode": "binary"}, ValueError, "labels 0 .. 1 for 2 .*Received: 2"),
        ({"seed": -1}, ValueError, "seed must be an integer >= 0. Received: -1"),
        ({"seed": 1.5}, ValueError, "seed must be an integer >= 0. Received: 1.5"),
        ({"label_mode": "sparse"}, ValueError, "Received: 'sparse'"),
        ({"class_names": ["red"]}, ValueError, r"\['blue', 'red'\]. Received: \['red'\]"),
        ({"labels": None, "class_names": ["red"]}, ValueError, "for labels='inferred' only"),
        ({"validation_split": 0.5}, ValueError, "both validation_split and subset"),
        ({"validation_split": 0.5, "subset": "training"}, ValueError, "needs a seed"),
        ({"validation_split": 0.01, "subset": "both"}, ValueError, "leave files on both sides. Received: 17"),
        ({"validation_split": 2, "subset": "both"}, ValueError, "between 0 and 1. Received: 2"),
        ({"subset": "test"}, ValueError, "Received: 'test'"),
        ({"interpolation": "cubic"}, ValueError, "Received: 'cubic'"),
        ({"batch_size": 0}, ValueError, "Received: 0"),
        ({"image_size": 32}, ValueError, "Received: 32"),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, ValueError, "at most one"),
    ],
)
def test_wrong_arguments(folder, options, error, told):
    with pytest.raises(error, match=told):
        dataset(**{"folder": options.pop("directory", folder), **options})


def test_an_empty_folder(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match="without any"):
        dataset(tmp_path)


def test_take_counts_batches(folder):
    assert list(dataset(folder).take(0)) == []
    with pytest.raises(ValueError, match="count must be an integer >= 0. Received: -1"):
        dataset(folder).take(-1)
