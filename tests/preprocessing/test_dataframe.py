"""flow_from_dataframe: what a table names, as batches; with tables of pandas and with plain dictionaries."""

import os
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.preprocessing.image import DataFrameIterator, ImageDataGenerator

from .conftest import COUNTS

Image = pytest.importorskip("PIL.Image")

NAMES = [f"{name}/{i:02}.png" for name, count in COUNTS.items() for i in range(count)]
COLOURS = [name for name, count in COUNTS.items() for _ in range(count)]


@pytest.fixture(params=["dict", "pandas"])
def table(request):
    """Makes a table of either kind."""
    if request.param == "dict":
        return dict
    return pytest.importorskip("pandas").DataFrame


def flow(table, folder, shuffle=False, batch_size=32, target_size=(6, 5), **options):
    return ImageDataGenerator(validation_split=options.pop("validation_split", 0.0)).flow_from_dataframe(
        table, folder, shuffle=shuffle, batch_size=batch_size, target_size=target_size, **options
    )


def test_the_same_as_from_the_directory(table, folder, capsys):
    frame = table({"filename": NAMES, "class": COLOURS})
    batches = ImageDataGenerator(rescale=0.5, rotation_range=30).flow_from_dataframe(
        frame, folder, target_size=(8, 6), batch_size=5, seed=3
    )
    assert capsys.readouterr().out == "Found 17 validated image filenames belonging to 2 classes.\n"
    assert isinstance(batches, DataFrameIterator)
    same = ImageDataGenerator(rescale=0.5, rotation_range=30).flow_from_directory(folder, (8, 6), batch_size=5, seed=3)
    assert [os.path.normpath(name) for name in batches.filenames] == same.filenames
    assert [os.path.normpath(path) for path in batches.filepaths] == same.filepaths
    assert (batches.samples, batches.num_classes, len(batches)) == (17, 2, 4)
    assert batches.class_indices == same.class_indices
    assert batches.classes == batches.labels == same.classes.tolist()
    for (x, y), (x_same, y_same) in zip(batches.take(9), same.take(9), strict=True):
        np.testing.assert_array_equal(x, x_same)
        np.testing.assert_array_equal(y, y_same)
        assert y.dtype == y_same.dtype


def test_own_columns_and_whole_paths(table, folder):
    frame = table({"path": [str(Path(folder, name)) for name in NAMES], "kind": COLOURS})
    batches = flow(frame, None, x_col="path", y_col="kind", class_mode="sparse", interpolation="bilinear")
    x, y = next(batches)
    assert y.tolist() == [0] * 7 + [1] * 10
    expected = Image.open(folder / NAMES[3]).convert("RGB").resize((5, 6), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(x[3], np.asarray(expected), atol=1)


def test_several_classes_per_image(table, folder):
    labels = [["sky", "red"], "sky", ("tree",), ["red", "tree", "sky"]]
    frame = table({"filename": NAMES[:4], "class": labels})
    batches = flow(frame, folder)
    assert batches.class_indices == {"red": 0, "sky": 1, "tree": 2}
    assert next(batches)[1].tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]
    some = flow(frame, folder, classes=["sky", "red"])
    assert some.class_indices == {"sky": 0, "red": 1}
    assert some.filenames == [NAMES[0], NAMES[1], NAMES[3]]
    assert next(some)[1].tolist() == [[1, 1], [1, 0], [1, 1]]


def test_classes_choose_rows_and_order(table, folder):
    frame = table({"filename": NAMES[:6], "class": ["a", "b", "c", "a", "b", "c"]})
    batches = flow(frame, folder, classes=["c", "a"], class_mode="binary")
    assert batches.filenames == [NAMES[i] for i in (0, 2, 3, 5)]
    assert next(batches)[1].tolist() == [1, 0, 1, 0]


def test_targets_that_are_numbers(table, folder):
    frame = table({"filename": NAMES[:4], "age": [3.5, 1.0, 2.0, 9.0], "size": [1, 2, 3, 4], "w": [0.5, 1, 2, 1]})
    assert next(flow(frame, folder, y_col="age", class_mode="raw"))[1].tolist() == [3.5, 1, 2, 9]
    both = flow(frame, folder, y_col=["age", "size"], class_mode="raw", weight_col="w", batch_size=3)
    x, y, weights = next(both)
    assert x.shape == (3, 6, 5, 3)
    assert y.tolist() == [[3.5, 1], [1, 2], [2, 3]]
    assert weights.tolist() == [0.5, 1, 2]
    assert [len(part) for part in next(both)] == [1, 1, 1]
    outputs = flow(frame, folder, y_col=["age", "size"], class_mode="multi_output", shuffle=True, seed=0)
    _, (ages, sizes) = next(outputs)
    order = np.random.RandomState(0).permutation(4)
    assert ages.tolist() == [[3.5, 1.0, 2.0, 9.0][i] for i in order]
    assert sizes.tolist() == (order + 1).tolist()


def test_without_labels(table, folder):
    frame = table({"filename": NAMES[:3]})
    assert next(flow(frame, folder, class_mode=None)).shape == (3, 6, 5, 3)
    x, y = next(flow(frame, folder, class_mode="input"))
    np.testing.assert_array_equal(x, y)
    assert x is not y
    with pytest.warns(UserWarning, match="classes are ignored, given class_mode=None") as caught:
        flow(frame, folder, class_mode=None, classes=["a"])
    assert caught[0].filename == __file__


def test_files_that_are_missing_are_left_out_or_told_in_time(table, folder, capsys, no_thread_is_left):
    frame = table({"filename": ["red/00.png", "red/no.png", "red/notes.txt", "red/01.png"], "class": list("abba")})
    with pytest.warns(UserWarning, match=r"Found 2 invalid image filename\(s\) in x_col='filename'.*'red/no.png'"):
        batches = flow(frame, folder)
    assert (batches.filenames, batches.class_indices) == (["red/00.png", "red/01.png"], {"a": 0})
    batches = flow(frame, folder, validate_filenames=False)
    assert capsys.readouterr().out.endswith("Found 4 non-validated image filenames belonging to 2 classes.\n")
    with pytest.raises(FileNotFoundError, match=r"red.no\.png, which does not exist"):
        next(iter(batches))


def test_subsets(table, folder):
    frame = table({"filename": NAMES, "class": COLOURS})
    parts = [flow(frame, folder, subset=name, validation_split=0.3) for name in ("validation", "training")]
    assert [part.filenames for part in parts] == [NAMES[:5], NAMES[5:]]
    assert [part.class_indices for part in parts] == [{"blue": 0, "red": 1}] * 2  # those of all rows


@pytest.mark.parametrize(
    ("columns", "options", "error", "told"),
    [
        ({}, {"x_col": "file"}, ValueError, "a column 'file' in the table. Received: columns 'filename', 'class'"),
        ({}, {"y_col": "kind"}, ValueError, "a column 'kind'"),
        ({}, {"class_mode": "other"}, ValueError, "Received: 'other'"),
        ({"class": [0, 1]}, {}, TypeError, "str or list or tuple in the column 'class'. Received: 0 in row 0"),
        ({"class": ["a", float("nan")]}, {"class_mode": "sparse"}, TypeError, "Received: nan in row 1"),
        ({"class": [["a"], "b"]}, {"class_mode": "binary"}, TypeError, r"Received: \['a'\] in row 0"),
        ({"class": ["a", "a"]}, {"class_mode": "binary"}, ValueError, r"expects 2 classes. Received: 1: \['a'\]"),
        ({"filename": ["a", 3]}, {}, TypeError, "str or PathLike in the column 'filename'. Received: 3 in row 1"),
        ({}, {"weight_col": "class"}, TypeError, "Expected numbers in the column 'class'"),
        ({}, {"class_mode": "raw"}, TypeError, "Expected numbers in the column 'class'"),
        ({"class": [[1], [1, 2]]}, {"class_mode": "raw"}, ValueError, "arrays of one shape, in the column 'class'"),
        ({}, {"class_mode": "multi_output"}, TypeError, "a list of columns as y_col. Received: 'class'"),
        ({}, {"classes": ["c"]}, ValueError, "Received: 2 rows, of which none is left"),
        ({}, {"subset": "validation"}, ValueError, "none is left in the validation subset"),
        ({}, {"target_size": 3}, ValueError, "Received: 3"),
    ],
)
def test_wrong_tables(table, folder, columns, options, error, told):
    frame = table({"filename": NAMES[:2], "class": ["a", "b"], **columns})
    with pytest.raises(error, match=told):
        flow(frame, folder, **options)


def test_training_from_a_table(table, folder, no_thread_is_left):
    """Reddish and bluish images, told apart by a network of two colours' worth of weights."""
    tc.set_seed(0)
    frame = table({"filename": NAMES, "class": COLOURS, "weight": [2.0] * 7 + [1.0] * 10})
    generator = ImageDataGenerator(rescale=1 / 255)
    batches = generator.flow_from_dataframe(
        frame, folder, weight_col="weight", target_size=(8, 8), class_mode="binary", batch_size=4, seed=0
    )
    model = tc.Sequential(
        [tc.layers.GlobalAveragePooling2D(input_shape=(8, 8, 3)), tc.layers.Dense(1, activation="sigmoid")]
    )
    model.compile(tc.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(batches, epochs=20, verbose=0)
    assert history.history["accuracy"][-1] == 1
