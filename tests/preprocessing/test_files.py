"""Reading, resizing and writing image files: Pillow is the oracle, as it is what Keras uses."""

import io
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.preprocessing.image import array_to_img, img_to_array, load_img, save_img
from tinyconv.preprocessing.resampling import TENSORFLOW, resize_image

Image = pytest.importorskip("PIL.Image")
cv2 = pytest.importorskip("cv2")

sizes = st.integers(1, 40)


def pixels(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def as_file(image, file_format="PNG", **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return io.BytesIO(file.getvalue())


# --- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1"])
@pytest.mark.parametrize(("color_mode", "converted"), [("rgb", "RGB"), ("rgba", "RGBA"), ("grayscale", "L")])
def test_colour_modes(mode, color_mode, converted):
    image = Image.fromarray(pixels(7, 9)).convert(mode)
    expected = np.asarray(image.convert(converted)).reshape(7, 9, -1)
    got = load_img(as_file(image), color_mode)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "GIF", "TIFF", "PPM", "JPEG"])
def test_formats(file_format):
    image = Image.fromarray(np.kron(pixels(3, 4), np.ones((16, 16, 1), np.uint8)))
    file = as_file(image, file_format, **({"quality": 95, "subsampling": 0} if file_format == "JPEG" else {}))
    expected = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB")).astype(int)
    np.testing.assert_allclose(load_img(file), expected, atol=2 if file_format == "JPEG" else 0)


def test_the_orientation_in_metadata_is_ignored():
    image, exif = Image.fromarray(pixels(8, 16)), Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    assert load_img(as_file(image, "JPEG", exif=exif)).shape == (8, 16, 3)


def test_16_bits_become_8():
    deep = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    for mode in ("grayscale", "rgb", "rgba"):
        np.testing.assert_array_equal(load_img(as_file(Image.fromarray(deep)), mode)[..., 0], deep // 257)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "GIF", "JPEG", "TIFF"])
@pytest.mark.parametrize("part", [0, 0.4, 0.9])
def test_files_that_are_cut_short(tmp_path, file_format, part):
    content = as_file(Image.fromarray(pixels(50, 60)), file_format).getvalue()
    path = tmp_path / "picture"
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match="picture: expected an intact image file. Received: "):
        load_img(path)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.png, which does not exist"):
        load_img(tmp_path / "no.png")
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(ValueError, match=r"a\.png: expected an intact image file. Received: 4 other bytes"):
        load_img(str(tmp_path / "a.png"))
    bomb = as_file(Image.new("L", (10, 10))).getvalue()
    width = bomb.index(b"IHDR") + 4
    (tmp_path / "b.png").write_bytes(bomb[:width] + b"\x00\x10\x00\x00" * 2 + bomb[width + 8 :])
    with pytest.raises(ValueError, match=r"b\.png"):
        load_img(tmp_path / "b.png")


def ends_on_a_pixel(size, new):
    """Whether a box ends in the middle of a pixel, where rounding decides about it, in Pillow."""
    middles = [Fraction(i) + Fraction(1, 2) for i in range(size)]
    reach = max(Fraction(size, new), Fraction(1)) / 2
    return any((Fraction(2 * i + 1, 2) * size / new + side * reach) in middles for i in range(new) for side in (-1, 1))


# --- resizing ----------------------------------------------------------------------------------------------------


@given(
    height=sizes, width=sizes, size=st.tuples(sizes, sizes), mode=st.sampled_from(["RGB", "L", "RGBA"]),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]),
)  # fmt: skip
def test_resizing_is_pillows(height, width, size, mode, interpolation):
    """Rows, then columns: versions of Pillow differ in the order, and overshoots are cut off after either.

    Pillow's weights have 22 bits: values near .5 may be rounded the other way, by one level in either pass.
    """
    if interpolation == "box" and any(ends_on_a_pixel(*pair) for pair in ((height, size[0]), (width, size[1]))):
        return
    image = Image.fromarray(pixels(height, width, 3)).convert("L" if mode == "L" else "RGB")
    color_mode = {"RGB": "rgb", "L": "grayscale", "RGBA": "rgba"}[mode]
    got = load_img(as_file(image), color_mode, size, interpolation)
    how = Image.Resampling[interpolation.upper()]
    expected = np.asarray(image.convert(mode).resize((size[1], height), how).resize(size[::-1], how))
    assert got.dtype == np.uint8
    limit = 0 if interpolation == "nearest" else 2
    np.testing.assert_allclose(got.astype(int), expected.reshape(got.shape), atol=limit)


@given(height=sizes, width=sizes, size=st.tuples(sizes, sizes))
def test_keep_aspect_ratio(height, width, size):
    """The middle with the proportions of the new size is what is resized."""
    image = pixels(height, width)
    got = load_img(as_file(Image.fromarray(image)), target_size=size, keep_aspect_ratio=True)
    kept_h = max(min(height, width * size[0] // size[1]), 1)
    kept_w = max(min(width, height * size[1] // size[0]), 1)
    top, left = (height - kept_h) // 2, (width - kept_w) // 2
    cut = Image.fromarray(image[top : top + kept_h, left : left + kept_w])
    np.testing.assert_array_equal(got, np.asarray(cut.resize(size[::-1], Image.Resampling.NEAREST)))


@given(height=sizes, width=sizes, size=st.tuples(sizes, sizes), interpolation=st.sampled_from(["bilinear", "lanczos"]))
def test_filters_see_beyond_the_cut(height, width, size, interpolation):
    """As in Keras: Pillow resizes a box of the image, and its filters reach over the edges of the box."""
    image = pixels(height, width, 3)
    got = load_img(as_file(Image.fromarray(image)), "rgb", size, interpolation, keep_aspect_ratio=True)
    kept_h = max(min(height, width * size[0] // size[1]), 1)
    kept_w = max(min(width, height * size[1] // size[0]), 1)
    top, left = (height - kept_h) // 2, (width - kept_w) // 2
    how = Image.Resampling[interpolation.upper()]
    rows = Image.fromarray(image).resize((size[1], height), how, box=(left, 0, left + kept_w, height))
    expected = np.asarray(rows.resize(size[::-1], how, box=(0, top, size[1], top + kept_h)))
    np.testing.assert_allclose(got.astype(int), expected.astype(int), atol=2)


KERNELS = {  # written from the definitions, with their radius
    "bilinear": (1, lambda t: 1 - t),
    "bicubic": (2, lambda t: 1.5 * t**3 - 2.5 * t**2 + 1 if t < 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2),
    "lanczos3": (3, lambda t: 1 if t == 0 else 3 * np.sin(np.pi * t) * np.sin(np.pi * t / 3) / (np.pi * t) ** 2),
    "lanczos5": (5, lambda t: 1 if t == 0 else 5 * np.sin(np.pi * t) * np.sin(np.pi * t / 5) / (np.pi * t) ** 2),
    "gaussian": (1.5, lambda t: np.exp(-(t**2) / (2 * 0.5**2))),
    "mitchellcubic": (
        2,
        lambda t: (7 * t**3 - 12 * t**2 + 16 / 3) / 6 if t < 1 else (-7 / 3 * t**3 + 12 * t**2 - 20 * t + 32 / 3) / 6,
    ),
}


@given(length=st.integers(1, 30), new=st.integers(1, 30), name=st.sampled_from(sorted(KERNELS)))
def test_resizing_without_smoothing(length, new, name):
    """Along one axis, from the definition: pixel i is a mean of its neighbours, weighted by their distance."""
    line = np.random.default_rng(length).uniform(0, 255, length)
    radius, kernel = KERNELS[name]
    expected = []
    for i in range(new):
        centre = Fraction((2 * i + 1) * length, 2 * new) - Fraction(1, 2)
        near = [j for j in range(length) if abs(j - centre) < radius]
        weights = np.array([kernel(float(abs(j - centre))) for j in near])
        expected.append(weights @ line[near] / weights.sum())
    expected = line if length == new else expected  # as TensorFlow, which leaves images of the right size alone
    rows = np.repeat(line[:, None, None], 3, axis=1).astype(np.float32)
    # OpenCV's bilinear weights are those of float32
    np.testing.assert_allclose(resize_image(rows, (new, 3), name, antialias=False)[:, 1, 0], expected, atol=2e-2)
    columns = np.broadcast_to(line[:, None], (3, length, 2))
    got = resize_image(columns, (3, new), name, antialias=False)[2, :, 1]
    np.testing.assert_allclose(got, expected, atol=1e-2 if name == "bilinear" else 1e-9)


def test_area_is_the_mean_of_blocks():
    image = pixels(12, 20, 1).astype(np.float32)
    expected = image.reshape(3, 4, 4, 5, 1).mean((1, 3))
    np.testing.assert_allclose(resize_image(image, (3, 4), "area", antialias=False), expected, rtol=1e-5)


@pytest.mark.parametrize("interpolation", TENSORFLOW)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_shapes(interpolation, channels):
    assert resize_image(pixels(9, 7, channels), (5, 6), interpolation, antialias=False).shape == (5, 6, channels)


# --- arrays ------------------------------------------------------------------------------------------------------


@given(height=sizes, width=sizes, channels=st.sampled_from([None, 1, 3]))
def test_img_to_array(height, width, channels):
    image = pixels(height, width, channels or 1)
    image = image[..., 0] if channels is None else image
    last, first = img_to_array(image, "channels_last"), img_to_array(image, "channels_first", "float64")
    assert (last.dtype, first.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(last, image.reshape(height, width, -1))
    np.testing.assert_array_equal(first, np.moveaxis(last, -1, 0))
    assert not np.shares_memory(img_to_array(last), last)


def test_img_to_array_takes_pillow_images():
    image = pixels(4, 5)
    np.testing.assert_array_equal(img_to_array(Image.fromarray(image)), image)


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3, 4)])
def test_other_ranks_raise(shape):
    with pytest.raises(ValueError, match="Received: shape"):
        img_to_array(np.zeros(shape))
    with pytest.raises(ValueError, match="Received: shape"):
        array_to_img(np.zeros(shape))


def test_unknown_layouts_raise():
    with pytest.raises(ValueError, match="Received: 'first'"):
        img_to_array(np.zeros((2, 2)), data_format="first")


@given(low=st.floats(-1e3, 1e3), width=st.floats(0, 1e3), channels=st.sampled_from([1, 3, 4]))
def test_array_to_img(low, width, channels):
    x = np.random.default_rng(1).uniform(low, low + width, (channels, 5, 6))
    got = array_to_img(x, "channels_first", dtype="float64")
    expected = (x - x.min()) / (np.ptp(x) or 1) * 255
    np.testing.assert_allclose(got, expected.transpose(1, 2, 0), atol=1.0001)
    assert got.dtype == np.uint8
    unscaled = array_to_img(x, "channels_first", scale=False, dtype="float64")
    np.testing.assert_array_equal(unscaled, np.trunc(np.clip(x, 0, 255)).transpose(1, 2, 0))


# --- writing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_saving(tmp_path, channels, data_format):
    image = pixels(6, 7, channels)
    x = image if data_format == "channels_last" else image.transpose(2, 0, 1)
    save_img(tmp_path / "a.png", x, data_format, scale=False)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")).reshape(image.shape), image)
    assert os.listdir(tmp_path) == ["a.png"]


def test_saving_with_a_format_and_a_quality(tmp_path):
    image = np.random.default_rng(0).uniform(0, 1, (60, 60, 3))
    for quality in (10, 95):
        save_img(tmp_path / f"{quality}", image, file_format="jpeg", quality=quality)
    assert (tmp_path / "10").read_bytes()[:2] == b"\xff\xd8"
    assert (tmp_path / "10").stat().st_size < (tmp_path / "95").stat().st_size / 2


def test_saving_refuses_before_it_writes(tmp_path):
    for name, channels in (("a.xyz", 3), ("a", 3), ("a.jpg", 4), ("a.png", 2)):
        with pytest.raises(ValueError, match="Received"):
            save_img(tmp_path / name, pixels(2, 2, channels))
    with pytest.raises(FileNotFoundError):
        save_img(tmp_path / "nowhere" / "a.png", pixels(2, 2))
    assert os.listdir(tmp_path) == []


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    save_img(tmp_path / "a.png", pixels(3, 3))
    before = (tmp_path / "a.png").read_bytes()

    def fail(self, content):
        self.touch()
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_img(tmp_path / "a.png", pixels(3, 3, seed=1))
    assert os.listdir(tmp_path) == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before
