"""The textbooks' preprocessors, loader and helpers, against OpenCV's own results and the books' tables."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv import config
from tinyconv.preprocessing import (
    AspectAwarePreprocessor,
    ImageToArrayPreprocessor,
    SimpleDatasetLoader,
    SimplePreprocessor,
    grab_contours,
    is_cv2,
    list_images,
    preprocess,
    rescale_intensity,
    resize,
    sort_contours,
)

cv2 = pytest.importorskip("cv2")

sizes = st.integers(1, 70)


def pixels(height, width, channels=3):
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(height).integers(0, 256, shape, dtype=np.uint8)


# --- preprocessors -----------------------------------------------------------------------------------------------


@given(height=sizes, width=sizes, new=st.tuples(sizes, sizes))
def test_simple(height, width, new):
    image = pixels(height, width)
    expected = cv2.resize(image, new, interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(SimplePreprocessor(*new).preprocess(image), expected)
    nearest = SimplePreprocessor(*new, inter=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(nearest.preprocess(image), cv2.resize(image, new, interpolation=cv2.INTER_NEAREST))


@given(height=sizes, width=sizes, new=st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_aspect_aware(height, width, new):
    """A ramp keeps its slope: both axes are scaled alike, to within the rounding of sizes."""
    scale = max(new[0] / width, new[1] / height)
    if min(int(width * scale + 1e-9), int(height * scale + 1e-9)) < 1:
        return
    step = AspectAwarePreprocessor(*new, inter=cv2.INTER_LINEAR)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    got = step.preprocess(np.dstack([x, y]))
    assert got.shape == (new[1], new[0], 2)
    middle = got[new[1] // 2, new[0] // 2]
    assert abs(middle - [(width - 1) / 2, (height - 1) / 2]).max() <= 1.6 / min(scale, 1) + 1


def test_aspect_aware_on_squares():
    """By hand: 90 x 60 becomes 48 x 32, and 8 columns are cut off on either side."""
    image = pixels(60, 90)
    expected = cv2.resize(image, (48, 32), interpolation=cv2.INTER_AREA)[:, 8:40]
    np.testing.assert_array_equal(AspectAwarePreprocessor(32, 32).preprocess(image), expected)
    tall = image.transpose(1, 0, 2)
    np.testing.assert_array_equal(AspectAwarePreprocessor(32, 32).preprocess(tall), expected.transpose(1, 0, 2))


def test_image_to_array():
    image = pixels(4, 5)
    assert ImageToArrayPreprocessor().preprocess(image).shape == (4, 5, 3)
    assert ImageToArrayPreprocessor(dataFormat="channels_first").preprocess(image).shape == (3, 4, 5)
    assert ImageToArrayPreprocessor().preprocess(pixels(4, 5, 0)).shape == (4, 5, 1)
    config.set_image_data_format("channels_first")
    try:
        assert ImageToArrayPreprocessor().preprocess(image).shape == (3, 4, 5)
    finally:
        config.set_image_data_format("channels_last")


@pytest.mark.parametrize(
    ("size", "resized", "pad"),
    [  # (width, height), with target 28 x 28
        ((20, 30), (18, 28), (5, 0)),
        ((30, 20), (28, 18), (0, 5)),
        ((19, 28), (19, 28), (4, 0)),
        ((28, 19), (28, 19), (0, 4)),
        ((17, 33), (14, 28), (7, 0)),
        ((40, 10), (28, 7), (0, 10)),
        ((28, 14), (28, 14), (0, 7)),
        ((28, 28), (28, 28), (0, 0)),
        ((50, 50), (28, 28), (0, 0)),
        ((10, 10), (28, 28), (0, 0)),
    ],
)
def test_the_books_table_of_sizes(size, resized, pad):
    image = pixels(size[1], size[0], 0)
    small = cv2.resize(image, resized, interpolation=cv2.INTER_AREA)
    padded = np.pad(small, ((pad[1],) * 2, (pad[0],) * 2), mode="edge")
    np.testing.assert_array_equal(preprocess(image, 28, 28), cv2.resize(padded, (28, 28)))


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="Received: 0 x 28"):
        preprocess(pixels(40, 1), 28, 28)
    with pytest.raises(ValueError, match="30 x 29, resized to 28 x 27"):
        preprocess(pixels(29, 30), 28, 10)


# --- loader ------------------------------------------------------------------------------------------------------


def test_loader(folder, capsys):
    paths = sorted(list_images(folder))
    steps = [SimplePreprocessor(6, 5), ImageToArrayPreprocessor()]
    data, labels = SimpleDatasetLoader(preprocessors=steps).load(paths, verbose=5)
    assert capsys.readouterr().out.splitlines() == [f"[INFO] processed {i}/17" for i in (5, 10, 15)]
    assert (data.shape, data.dtype) == ((17, 5, 6, 3), np.float32)
    assert labels.tolist() == ["blue"] * 7 + ["red"] * 10
    for image, path in zip(data, paths, strict=True):  # blue first, as OpenCV reads them
        np.testing.assert_array_equal(image, cv2.resize(cv2.imread(path), (6, 5), interpolation=cv2.INTER_AREA))
    raw, _ = SimpleDatasetLoader().load(paths[:1])
    assert raw.dtype == np.uint8
    np.testing.assert_array_equal(raw[0], cv2.imread(paths[0]))
    assert capsys.readouterr().out == ""


def test_preprocessors_are_applied_in_order(folder):
    class Add:
        def preprocess(self, image):
            return image + 1.0

    class Double:
        def preprocess(self, image):
            return image * 2.0

    paths = sorted(list_images(folder))[:1]
    expected = (cv2.imread(paths[0]) + 1.0) * 2
    np.testing.assert_array_equal(SimpleDatasetLoader([Add(), Double()]).load(paths)[0][0], expected)


def test_loader_names_the_file(folder, tmp_path):
    loader, paths = SimpleDatasetLoader(), sorted(list_images(folder))
    with pytest.raises(ValueError, match=r"01\.png: expected images of one shape, .* as the first"):
        loader.load(paths)
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"bad\.png: expected an intact image file. Received: an empty file"):
        loader.load([tmp_path / "bad.png"])
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        loader.load([tmp_path / "none.png"])


# --- helpers -----------------------------------------------------------------------------------------------------


def test_list_images(tmp_path):
    names = ["a.JPG", "b.png", "sub/c.tiff", "sub/deep/d.bmp", "e.txt", "negatives.zip", "f.jpeg", "g.tif", "h.png.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    wanted = [name for name in names if not name.endswith(("txt", "zip"))]
    assert sorted(list_images(tmp_path)) == sorted(str(tmp_path / name) for name in wanted)
    walked = [os.path.join(place, name) for place, _, files in os.walk(tmp_path) for name in files]
    assert list(list_images(str(tmp_path))) == [path for path in walked if not path.endswith(("txt", "zip"))]
    assert list(list_images(tmp_path, contains="b.p")) == [str(tmp_path / "b.png")]
    with pytest.raises(FileNotFoundError, match="a folder of images"):
        list_images(tmp_path / "nowhere")


@given(height=sizes, width=sizes, new=sizes)
def test_resize_keeps_proportions(height, width, new):
    image = pixels(height, width)
    for side, size in (("width", (new, int(height * (new / width)))), ("height", (int(width * (new / height)), new))):
        if min(size) < 1:
            with pytest.raises(ValueError, match="at least 1 x 1"):
                resize(image, **{side: new})
        else:
            expected = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            np.testing.assert_array_equal(resize(image, **{side: new}), expected)
    assert resize(image) is image


def test_contours_from_left_to_right():
    canvas = np.zeros((60, 120), np.uint8)
    boxes = {40: 7, 5: 30, 90: 1, 60: 20}  # x: y
    for x, y in boxes.items():
        canvas[y : y + 10, x : x + 8] = 255
    contours = grab_contours(cv2.findContours(canvas, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE))
    ordered, found = sort_contours(contours)
    assert [box[0] for box in found] == [5, 40, 60, 90]
    assert [cv2.boundingRect(contour) for contour in ordered] == list(found)
    assert [box[0] for box in sort_contours(contours, "right-to-left")[1]] == [90, 60, 40, 5]
    assert [box[1] for box in sort_contours(contours, "top-to-bottom")[1]] == [1, 7, 20, 30]
    assert [box[1] for box in sort_contours(contours, "bottom-to-top")[1]] == [30, 20, 7, 1]
    assert sort_contours([]) == ((), ())
    with pytest.raises(ValueError, match="Received: 'sideways'"):
        sort_contours(contours, "sideways")


def test_the_books_line_with_is_cv2():
    found = cv2.findContours(np.eye(5, dtype=np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    contours = found[0] if is_cv2() else found[1]
    np.testing.assert_array_equal(contours, grab_contours(found))


@given(
    low=st.integers(-300, 300), width=st.integers(1, 400), seed=st.integers(0, 99),
    dtype=st.sampled_from(["float32", "float64", "uint8", "int16"]),
)  # fmt: skip
def test_rescale_intensity(low, width, dtype, seed):
    """A straight line through the ends of the ranges."""
    scale = 255 if dtype == "uint8" else 500
    image = (np.random.default_rng(seed).uniform(0 if dtype == "uint8" else -scale, scale, (5, 6))).astype(dtype)
    high = low + width
    floats = dtype.startswith("f")
    ends = ((-1 if low < 0 else 0), 1) if floats else (np.iinfo(dtype).min if low < 0 else 0, np.iinfo(dtype).max)
    expected = np.interp(image.astype(float), [low, high], ends)
    got = rescale_intensity(image, in_range=(low, high))
    assert got.dtype == dtype
    np.testing.assert_allclose(got.astype(float), expected, rtol=1e-5, atol=1e-5 if floats else 1)
    pair = rescale_intensity(image, in_range=(low, high), out_range=(3, 7))
    assert pair.dtype.kind == "f"
    np.testing.assert_allclose(pair, np.interp(image.astype(float), [low, high], [3, 7]), rtol=1e-5)
    whole = rescale_intensity(image, out_range="uint8")
    assert (whole.dtype, whole.min(), whole.max()) == (np.uint8, 0, 255)


def test_rescale_intensity_of_a_convolution():
    """The convolution demo: values of 0..255, some beyond, become 0..1 and then bytes again."""
    output = np.array([[-40.0, 0.0], [51.0, 400.0]])
    bytes_again = (rescale_intensity(output, in_range=(0, 255)) * 255).astype("uint8")
    np.testing.assert_array_equal(bytes_again, [[0, 0], [51, 255]])
    np.testing.assert_array_equal(rescale_intensity(np.full((2, 2), 0.5)), np.full((2, 2), 0.5))
