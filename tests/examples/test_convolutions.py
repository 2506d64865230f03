"""The convolution by hand beside SciPy's and the worked example's numbers, and the program around it."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import correlate

import tinyconv as tc
from examples import convolutions

X = np.array([
    [95, 242, 186, 152, 39], [39, 14, 220, 153, 180], [5, 247, 212, 54, 46], [46, 77, 133, 110, 74],
    [156, 35, 74, 93, 116],
], np.uint8)  # fmt: skip
CLIPPED = {
    "sharpen": [
        [4, 255, 130, 230, 0], [42, 0, 255, 159, 255], [0, 255, 255, 0, 0], [0, 0, 192, 196, 24], [255, 0, 35, 72, 181],
    ],
    "laplacian": [
        [91, 0, 56, 0, 254], [0, 255, 0, 0, 0], [255, 0, 0, 255, 170], [100, 153, 0, 0, 50], [0, 202, 39, 21, 0],
    ],
    "sobel_x": [
        [255, 255, 0, 0, 0], [255, 255, 0, 0, 0], [255, 255, 0, 0, 0], [183, 255, 0, 0, 0], [0, 0, 207, 67, 33],
    ],
    "sobel_y": [
        [0, 0, 0, 177, 255], [0, 0, 0, 0, 0], [84, 46, 0, 0, 0], [241, 0, 0, 10, 249], [255, 0, 0, 0, 109],
    ],
    "emboss": [
        [24, 255, 0, 0, 123], [228, 255, 9, 0, 2], [255, 255, 124, 0, 0], [255, 90, 0, 0, 232], [123, 0, 105, 84, 193],
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", CLIPPED)
def test_worked_example(name):
    np.testing.assert_array_equal(convolutions.convolve(X, tc.vision.kernel_bank()[name]), CLIPPED[name])


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 5, 7]), st.integers(0, 2**32 - 1))
def test_whole_numbers_give_what_scipy_gives(height, width, size, seed):
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width), dtype=np.uint8)
    kernel = random.integers(-2, 3, (size, size)).astype(float)
    expected = np.clip(correlate(image.astype(float), kernel, mode="nearest"), 0, 255)
    np.testing.assert_array_equal(convolutions.convolve(image, kernel), expected)


def test_blur_truncates():
    for grey in range(0, 256, 5):
        blurred = convolutions.convolve(np.full((3, 4), grey, np.uint8), np.full((7, 7), 1 / 49))
        assert set(blurred.ravel().tolist()) <= {grey, max(grey - 1, 0)}


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (4, 4)])
def test_kernels_without_centre(shape):
    with pytest.raises(ValueError, match="expected a square kernel of odd size"):
        convolutions.convolve(X, np.ones(shape))


def test_quick(tmp_path, capsys):
    results = convolutions.main(["--quick", "--output", str(tmp_path)])
    image = convolutions.generated_image(24, 32, 42)
    assert len(np.unique(image)) > 50
    for result, kernel in zip(results, tc.vision.kernel_bank().values(), strict=True):
        exact = np.clip(correlate(image.astype(float), kernel, mode="nearest"), 0, 255)
        assert np.abs(result - np.floor(exact + 1e-9)).max() <= 1
        assert (result == np.floor(exact + 1e-9)).mean() > 0.9
    text = capsys.readouterr().out
    assert text.index("small_blur") < text.index("large_blur") < text.index("sharpen") < text.index("emboss")
    assert "all results agree with OpenCV's" in text
    report = (tmp_path / "convolutions.txt").read_text()
    assert len(report.splitlines()) == 8
    assert report in text
    assert (tmp_path / "convolutions.png").read_bytes().startswith(b"\x89PNG")


def test_image_of_the_user(tmp_path, capsys):
    colour = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), colour)
    results = convolutions.main(["--image", str(tmp_path / "photo.png"), "--output", str(tmp_path)])
    assert "9 rows and 13 columns" in capsys.readouterr().out
    grey = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    exact = np.clip(correlate(grey.astype(float), tc.vision.kernel_bank()["sobel_x"], mode="nearest"), 0, 255)
    np.testing.assert_array_equal(results[4], exact)


def test_disagreement_is_an_error(monkeypatch):
    monkeypatch.setattr(convolutions, "convolve", lambda image, kernel: image)
    with pytest.raises(AssertionError, match="sharpen: expected results that agree with OpenCV"):
        convolutions.compare("sharpen", X, tc.vision.kernel_bank()["sharpen"])


def test_wrong_images(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(SystemExit, match=r"\[ERROR\] .*text.jpg: expected an intact image file"):
        convolutions.main(["--image", str(tmp_path / "text.jpg"), "--output", str(tmp_path)])
    with pytest.raises(FileNotFoundError, match=r"none.jpg"):
        convolutions.main(["--image", str(tmp_path / "none.jpg"), "--output", str(tmp_path)])
