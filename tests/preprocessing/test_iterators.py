"""flow and flow_from_directory: order, seeds, labels and subsets; training from them; threads that end."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv.preprocessing.image import ImageDataGenerator, Iterator, img_to_array

from .conftest import COUNTS, prefetching_threads

Image = pytest.importorskip("PIL.Image")

AUGMENT = {"rotation_range": 40, "width_shift_range": 0.2, "zoom_range": 0.2, "horizontal_flip": True}


def numbered(count, channels=1):
    """Images that are their number, so that batches tell which images are in them."""
    return np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None, None], (count, 2, 2, channels)).copy()


def numbers(x):
    return x[:, 0, 0, 0].astype(int).tolist()


# --- order -------------------------------------------------------------------------------------------------------


@given(count=st.integers(1, 30), batch_size=st.integers(1, 12), seed=st.integers(0, 2**40))
def test_order_is_that_of_keras(count, batch_size, seed):
    """Epoch e, which begins after s batches, has the permutation of RandomState(seed + s)."""
    batches = ImageDataGenerator().flow(numbered(count), np.arange(count), batch_size, seed=seed)
    steps = -(-count // batch_size)
    assert len(batches) == steps
    for epoch in range(3):
        taken = [next(batches) for _ in range(steps)]
        order = np.random.RandomState((seed + epoch * steps) % 2**32).permutation(count).tolist()
        assert [number for x, _ in taken for number in numbers(x)] == order
        assert [label for _, y in taken for label in y] == order
        assert all(len(x) == batch_size for x, _ in taken[:-1])


def test_transformations_go_on_with_the_random_state_of_the_batch():
    """As in Keras: the first batch of an epoch draws its order before its transformations."""
    x = np.random.default_rng(0).uniform(0, 255, (5, 6, 7, 3))
    generator = ImageDataGenerator(**AUGMENT)
    batches = generator.flow(x, batch_size=3, seed=9, shuffle=True)
    draw = np.random.RandomState(9)
    order = draw.permutation(5)
    for step, chosen in enumerate((order[:3], order[3:])):
        draw = draw if step == 0 else np.random.RandomState(10)
        got = next(batches)
        for image, i in zip(got, chosen, strict=True):
            parameters = generator._draw_transform((6, 7, 3), draw)
            np.testing.assert_array_equal(image, generator.apply_transform(x[i].astype(np.float32), parameters))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_batches_do_not_depend_on_threads(shuffle, workers, no_thread_is_left):
    x, y = np.random.default_rng(1).uniform(0, 255, (22, 9, 7, 3)), np.arange(22)
    generator = ImageDataGenerator(**AUGMENT, brightness_range=(0.5, 1.5))
    one_by_one, by_index, in_loop = (generator.flow(x, y, 4, shuffle=shuffle, seed=3) for _ in range(3))
    in_loop.workers = workers
    loop = iter(in_loop)
    for _ in range(3):
        for i in range(6):
            batches = next(one_by_one), by_index[i], next(loop)
            for images, labels in batches[1:]:
                np.testing.assert_array_equal(images, batches[0][0])
                np.testing.assert_array_equal(labels, batches[0][1])
        by_index.on_epoch_end()
    if workers:
        assert prefetching_threads()


def test_every_loop_is_another_epoch():
    batches = ImageDataGenerator(**AUGMENT).flow(np.random.default_rng(1).random((6, 8, 8, 1)), batch_size=4, seed=0)
    first, second, third = ([x for x, _ in zip(batches, range(2))] for _ in range(3))
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(second[0], third[0])
    again = ImageDataGenerator(**AUGMENT).flow(np.random.default_rng(1).random((6, 8, 8, 1)), batch_size=4, seed=0)
    np.testing.assert_array_equal(next(again), first[0])


def test_reset_goes_back_to_the_first_image():
    batches = ImageDataGenerator().flow(numbered(5), batch_size=2, shuffle=False)
    assert numbers(next(batches)) == [0, 1]
    batches.reset()
    assert numbers(next(batches)) == [0, 1]
    assert numbers(batches.next()) == [2, 3]
    assert [numbers(x) for x in batches.take(4)] == [[0, 1], [2, 3], [4], [0, 1]]
    assert batches.total_batches_seen == 7
    assert numbers(batches[1]) == numbers(batches[-2]) == [2, 3]
    with pytest.raises(IndexError, match="one of 3 batches. Received: 3"):
        batches[3]


def test_without_a_seed_the_one_seed_decides():
    generator = ImageDataGenerator(**AUGMENT)
    x = np.random.default_rng(0).random((8, 6, 6, 1))
    tc.set_seed(1)
    first, second = next(generator.flow(x)), next(generator.flow(x))
    tc.set_seed(1)
    np.testing.assert_array_equal(next(generator.flow(x)), first)
    assert not np.array_equal(first, second)


def test_images_and_masks_are_transformed_alike():
    x = np.random.default_rng(0).random((10, 9, 9, 1))
    pairs = zip(*(ImageDataGenerator(**AUGMENT).flow(data, batch_size=4, seed=7) for data in (x, 2 * x)), strict=True)
    for image, mask in [next(pairs) for _ in range(5)]:
        np.testing.assert_allclose(mask, 2 * image, rtol=1e-6)


# --- arrays ------------------------------------------------------------------------------------------------------


def test_weights_and_other_inputs_stay_with_their_images():
    x, extra = numbered(7), np.arange(7) * 10
    batches = ImageDataGenerator().flow((x, extra), np.arange(7), 3, sample_weight=np.arange(7) / 2, seed=1)
    for (images, beside), labels, weights in batches.take(6):
        assert numbers(images) == labels.tolist() == (beside // 10).tolist() == (weights * 2).tolist()
    images, labels, weights = next(ImageDataGenerator().flow(x, sample_weight=np.arange(7)))
    assert labels is None
    assert numbers(images) == weights.tolist()
    assert numbers(next(ImageDataGenerator().flow(x, shuffle=False))) == list(range(7))


def test_arrays_keep_their_dtype_until_a_batch_needs_them():
    x = np.full((4, 3, 3, 1), 200, np.uint8)
    batches = ImageDataGenerator(rescale=1 / 255).flow(x)
    assert batches.x is x
    assert next(batches).dtype == np.float32
    assert next(ImageDataGenerator(dtype="float64").flow(x)).dtype == np.float64
    assert x.max() == 200


def test_subsets_of_arrays():
    generator = ImageDataGenerator(validation_split=0.3)
    parts = {
        name: numbers(next(generator.flow(numbered(10), np.arange(10) % 2, subset=name, shuffle=False))[0])
        for name in ("validation", "training")
    }
    assert parts == {"validation": [0, 1, 2], "training": [3, 4, 5, 6, 7, 8, 9]}
    with pytest.raises(ValueError, match="shuffle the arrays"):
        generator.flow(numbered(10), np.arange(10) // 5, subset="training")
    generator.flow(numbered(10), np.arange(10) // 5, subset="training", ignore_class_split=True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"x": np.zeros((3, 4, 4))}, r"shape \(N, H, W, C\). Received: shape \(3, 4, 4\)"),
        ({"x": np.zeros((0, 4, 4, 1))}, "at least one image"),
        ({"x": np.zeros((3, 4, 4, 1)), "y": np.zeros(2)}, "'x': 3, 'y': 2"),
        ({"x": np.zeros((3, 4, 4, 1)), "batch_size": 0}, "batch_size must be an integer >= 1. Received: 0"),
        ({"x": np.zeros((3, 4, 4, 1)), "seed": -1}, "seed must be an integer >= 0. Received: -1"),
        ({"x": np.zeros((3, 4, 4, 1)), "subset": "test"}, "Received: 'test'"),
    ],
)
def test_wrong_arrays(arguments, told):
    with pytest.raises(ValueError, match=told):
        ImageDataGenerator().flow(**arguments)


def test_other_numbers_of_channels_are_transformed_with_a_warning():
    """As Keras: it is most often a wrong data_format, but images of seven bands are images too."""
    x = np.random.default_rng(0).random((4, 9, 8, 7))
    generator = ImageDataGenerator(dtype="float64", fill_mode="reflect", **AUGMENT)
    with pytest.warns(UserWarning, match=r"1, 3 or 4 channels \(channels_last\). Received: 7") as told:
        got = next(generator.flow(x, shuffle=False, seed=3))
    assert told[0].filename == __file__
    bands = [next(generator.flow(x[..., i : i + 1], shuffle=False, seed=3)) for i in range(7)]
    np.testing.assert_array_equal(got, np.concatenate(bands, axis=3))


def test_saved_images_are_those_that_were_taken(tmp_path):
    x = np.random.default_rng(0).uniform(0, 255, (10, 5, 6, 3))
    batches = ImageDataGenerator(horizontal_flip=True, data_format="channels_first").flow(
        x.transpose(0, 3, 1, 2), batch_size=2, seed=2, save_to_dir=tmp_path, save_prefix="cat", save_format="png"
    )
    taken = np.concatenate(list(batches.take(2)))  # although a thread has made more
    files = {int(path.name.split("_")[1]): path for path in tmp_path.iterdir()}
    assert len(files) == 4
    assert all(path.name.startswith("cat_") and path.suffix == ".png" for path in files.values())
    order = np.random.RandomState(2).permutation(10)[:4]
    for i, image in zip(order, taken, strict=True):
        scaled = (image - image.min()) / np.ptp(image) * 255
        np.testing.assert_allclose(np.asarray(Image.open(files[i])), scaled.transpose(1, 2, 0), atol=1)


# --- directories -------------------------------------------------------------------------------------------------


def test_directory(folder, capsys):
    batches = ImageDataGenerator().flow_from_directory(folder, (8, 6), batch_size=5, shuffle=False)
    assert capsys.readouterr().out == "Found 17 images belonging to 2 classes.\n"
    assert isinstance(batches, Iterator)
    assert (batches.samples, batches.num_classes, len(batches), batches.image_shape) == (17, 2, 4, (8, 6, 3))
    assert batches.class_indices == {"blue": 0, "red": 1}
    assert batches.classes.tolist() == batches.labels.tolist() == [0] * 7 + [1] * 10
    names = [os.path.join(name, f"{i:02}.png") for name, count in COUNTS.items() for i in range(count)]
    assert batches.filenames == names
    x, y = (np.concatenate(parts) for parts in zip(*batches.take(4), strict=True))
    np.testing.assert_array_equal(y, np.eye(2)[batches.classes])
    assert (x.dtype, y.dtype) == (np.float32, np.float32)
    for image, path in zip(x, batches.filepaths, strict=True):
        expected = Image.open(path).convert("RGB").resize((6, 8), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(image, np.asarray(expected))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("color_mode", "mode"), [("rgb", "RGB"), ("grayscale", "L"), ("rgba", "RGBA")])
def test_colours_and_layouts(folder, data_format, color_mode, mode):
    generator = ImageDataGenerator(rescale=1 / 255, data_format=data_format, dtype="float64")
    batches = generator.flow_from_directory(
        folder, (7, 9), color_mode, class_mode=None, shuffle=False, batch_size=3, interpolation="bilinear"
    )
    first = Image.open(batches.filepaths[0]).convert(mode).resize((9, 7), Image.Resampling.BILINEAR)
    expected = img_to_array(np.asarray(first), data_format, "float64") / 255
    x = next(batches)
    assert x.shape[1:] == batches.image_shape == expected.shape
    np.testing.assert_allclose(x[0], expected, atol=1.01 / 255)


def test_class_modes(folder):
    def labels(class_mode, **options):
        return next(ImageDataGenerator().flow_from_directory(folder, (4, 4), class_mode=class_mode, **options))

    options = {"shuffle": False, "batch_size": 9}
    assert labels("binary", **options)[1].tolist() == labels("sparse", **options)[1].tolist() == [0] * 7 + [1] * 2
    assert labels("binary", **options, classes=["red", "blue"])[1].tolist() == [0] * 9
    x, same = labels("input", **options)
    np.testing.assert_array_equal(x, same)
    assert x is not same
    assert labels(None, **options).shape == (9, 4, 4, 3)
    assert labels(None, batch_size=99, classes=["red"]).shape == (10, 4, 4, 3)


def test_subsets_of_a_directory(folder):
    generator = ImageDataGenerator(validation_split=0.3)
    parts = [generator.flow_from_directory(folder, (4, 4), subset=subset) for subset in ("validation", "training")]
    assert [part.samples for part in parts] == [2 + 3, 5 + 7]
    assert sorted(parts[0].filenames + parts[1].filenames) == sorted(generator.flow_from_directory(folder).filenames)
    assert parts[0].filenames[:2] == [os.path.join("blue", "00.png"), os.path.join("blue", "01.png")]


def test_follow_links(folder, tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "linked").symlink_to(folder / "red")
    with pytest.raises(ValueError, match="no images"):
        ImageDataGenerator().flow_from_directory(tmp_path)
    assert ImageDataGenerator().flow_from_directory(tmp_path, follow_links=True).samples == 10
    for name in ("here", "again", "once_more"):  # each would double the number of paths, forty levels deep
        (tmp_path / "all" / name).symlink_to(tmp_path / "all")
    other = tmp_path / "all" / "other"
    other.mkdir()
    (other / "back").symlink_to(tmp_path / "all")
    (other / "nowhere.png").symlink_to("missing.png")
    os.mkfifo(other / "pipe.png")  # reading it would never end
    found = ImageDataGenerator().flow_from_directory(tmp_path, follow_links=True).filenames
    expected = [os.path.join("all", "linked", f"{i:02}.png") for i in range(10)]
    assert found == [*expected, os.path.join("all", "other", "nowhere.png")]


def test_a_folder_that_cannot_be_opened_is_told(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("tinyconv.preprocessing.folders.os.scandir", refuse)
    with pytest.raises(PermissionError, match="red"):
        ImageDataGenerator().flow_from_directory(folder, classes=["red"])


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"directory": "nowhere"}, FileNotFoundError, "one folder per class. Received: nowhere"),
        ({"classes": ["green"]}, FileNotFoundError, "a folder for class 'green'"),
        ({"class_mode": "multi"}, ValueError, "Received: 'multi'"),
        ({"class_mode": "binary", "classes": ["red", "blue", "."]}, ValueError, "expects 2 classes. Received: 3"),
        ({"target_size": 28}, ValueError, r"\(height, width\), each >= 1. Received: 28"),
        ({"color_mode": "bgr"}, ValueError, "Received: 'bgr'"),
        ({"interpolation": "cubic"}, ValueError, "Received: 'cubic'"),
        ({"subset": "validation"}, ValueError, "no images in the validation subset"),
    ],
)
def test_wrong_directories(folder, options, error, told):
    with pytest.raises(error, match=told):
        ImageDataGenerator().flow_from_directory(**{"directory": folder, **options})


# --- threads and errors ------------------------------------------------------------------------------------------


def test_a_damaged_file_is_named(tmp_path, no_thread_is_left):
    (tmp_path / "a").mkdir()
    for i in range(6):
        Image.new("RGB", (5, 5)).save(tmp_path / "a" / f"{i}.png")
    (tmp_path / "a" / "4.png").write_bytes(b"not a picture")
    batches = ImageDataGenerator().flow_from_directory(tmp_path, (5, 5), batch_size=2, shuffle=False)
    loop = iter(batches)
    assert len(next(loop)) == len(next(loop)) == 2
    with pytest.raises(ValueError, match=r"a.4\.png: expected an intact image file. Received: 13 other bytes"):
        next(loop)
    with pytest.raises(ValueError, match=r"4\.png"):
        batches[2]


def test_an_error_in_preprocessing_is_raised_in_the_loop(no_thread_is_left):
    def fail(image):
        raise ArithmeticError("that image")

    loop = iter(ImageDataGenerator(preprocessing_function=fail).flow(numbered(4)))
    with pytest.raises(ArithmeticError, match="that image"):
        next(loop)


def test_threads_end_with_the_loop(folder, no_thread_is_left):
    before = threading.active_count()
    for i, _ in enumerate(ImageDataGenerator().flow_from_directory(folder, (16, 16), batch_size=2)):
        if i == 20:
            assert threading.active_count() > before
            break


# --- models ------------------------------------------------------------------------------------------------------


def small_model():
    tc.set_seed(0)
    model = tc.Sequential(
        [tc.layers.Conv2D(4, 3, activation="relu", input_shape=(12, 12, 3)), tc.layers.GlobalAveragePooling2D(),
         tc.layers.Dense(2, activation="softmax")]
    )  # fmt: skip
    model.compile(tc.optimizers.Adam(0.05), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_training_from_a_directory(folder, no_thread_is_left):
    """The two classes differ in colour: the books' small network separates them, augmented or not."""
    augment = ImageDataGenerator(rescale=1 / 255, shear_range=20, **AUGMENT)
    train = augment.flow_from_directory(folder, (12, 12), class_mode="sparse", batch_size=4, seed=1)
    plain = ImageDataGenerator(rescale=1 / 255)
    test = plain.flow_from_directory(folder, (12, 12), class_mode="sparse", batch_size=4, shuffle=False)
    model = small_model()
    history = model.fit(train, epochs=15, validation_data=test, verbose=0)
    assert len(history.history["loss"]) == 15
    assert train.total_batches_seen == 15 * 5
    assert history.history["val_accuracy"][-1] == 1
    next(test)  # a look at a batch does not shift what predict sees
    np.testing.assert_array_equal(model.predict(test).argmax(axis=1), test.classes)
    loss, accuracy = model.evaluate(test)
    assert accuracy == 1
    assert loss == pytest.approx(history.history["val_loss"][-1], rel=1e-5)


def test_steps_as_in_keras_2(folder):
    """More steps than an epoch has batches go on; the features of images come in the order of their files."""
    generator = ImageDataGenerator(rescale=1 / 255)
    train = generator.flow_from_directory(folder, (12, 12), class_mode="sparse", batch_size=4, seed=1)
    model = small_model()
    assert len(model.fit_generator(train, steps_per_epoch=12, epochs=2, verbose=0).history["loss"]) == 2
    assert train.total_batches_seen == 24
    files = generator.flow_from_directory(folder, (12, 12), class_mode=None, batch_size=4, shuffle=False)
    features = [model.predict_generator(files, steps=files.samples // 4) for _ in range(2)]
    assert features[0].shape == (16, 2)
    np.testing.assert_array_equal(*features)


def test_training_makes_no_batch_in_vain(folder):
    seen = []
    count = ImageDataGenerator(preprocessing_function=lambda image: seen.append(1) or image)
    batches = count.flow_from_directory(folder, (12, 12), class_mode="sparse", batch_size=4)
    small_model().fit(batches, epochs=3, verbose=0)
    assert len(seen) == 3 * 17


def test_training_is_reproducible(folder):
    def weights(workers):
        batches = ImageDataGenerator(**AUGMENT).flow_from_directory(folder, (12, 12), class_mode="sparse", seed=4)
        batches.workers = workers
        model = small_model()
        model.fit(batches, epochs=2, verbose=0)
        return model.get_weights()

    for first, second in zip(weights(0), weights(3), strict=True):
        np.testing.assert_array_equal(first, second)
