"""The worked examples of the textbook: one input, every border, the kernel bank, and ``convolve``'s truncation."""

import numpy as np
import pytest

from tinyconv.vision import convolve, filter2d, kernel_bank

X = np.array([
    [95, 242, 186, 152, 39], [39, 14, 220, 153, 180], [5, 247, 212, 54, 46], [46, 77, 133, 110, 74],
    [156, 35, 74, 93, 116],
])  # fmt: skip
LAPLACIAN = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
INTERIOR = [[692, -315, -6], [-680, -194, 305], [153, -59, -86]]

RAW = {
    "constant": [
        [-99, -673, -130, -230, 176], [-42, 692, -315, -6, -482], [312, -680, -194, 305, 124], [54, 153, -59, -86, -24],
        [-543, 167, -35, -72, -297],
    ],
    "replicate": [
        [91, -431, 56, -78, 254], [-3, 692, -315, -6, -302], [317, -680, -194, 305, 170], [100, 153, -59, -86, 50],
        [-231, 202, 39, 21, -65],
    ],
    "wrap": [
        [96, -638, -56, -137, 387], [138, 692, -315, -6, -443], [358, -680, -194, 305, 129], [128, 153, -59, -86, 22],
        [-332, 409, 151, 80, -102],
    ],
    "reflect101": [
        [182, -659, 90, -77, 508], [-28, 692, -315, -6, -329], [559, -680, -194, 305, 178], [131, 153, -59, -86, 86],
        [-462, 244, 98, 38, -130],
    ],
}  # fmt: skip

BANK_RAW = {
    "sharpen": [
        [4, 673, 130, 230, -215], [42, -678, 535, 159, 482], [-312, 927, 406, -251, -124], [-54, -76, 192, 196, 24],
        [387, -167, 35, 72, 181],
    ],
    "laplacian": RAW["replicate"],
    "sobel_x": [
        [416, 454, -131, -481, -312], [339, 660, -5, -393, -67], [490, 682, -214, -431, -25],
        [183, 299, -69, -242, -57], [-332, -159, 207, 67, 33],
    ],
    "sobel_y": [
        [-396, -478, -159, 177, 424], [-265, -54, -41, -163, -77], [84, 46, -154, -279, -361],
        [241, -411, -449, 10, 249], [288, -33, -177, -51, 109],
    ],
    "emboss": [
        [24, 355, -48, -6, 123], [228, 434, 9, -265, 2], [330, 705, 124, -447, -226], [288, 90, -280, -102, 232],
        [123, -33, 105, 84, 193],
    ],
}  # fmt: skip

BANK_CLIPPED = {
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


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("border", RAW)
def test_laplacian_with_every_border(border, dtype):
    result = filter2d(X.astype(dtype), LAPLACIAN, border=border)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, RAW[border])
    np.testing.assert_array_equal(result[1:-1, 1:-1], INTERIOR)


def test_strided_results_are_every_second_cell():
    full = filter2d(X.astype("float32"), LAPLACIAN, border="constant")
    np.testing.assert_array_equal(full[::2, ::2], [[-99, -130, 176], [312, -194, 124], [-543, -35, -297]])
    np.testing.assert_array_equal(full[1:-1, 1:-1][::2, ::2], [[692, -6], [153, -86]])


def test_average_of_one_patch():
    patch = np.array([[93, 139, 101], [26, 252, 196], [135, 230, 18]])
    assert filter2d(patch.astype("float64"), np.full((3, 3), 1 / 9))[1, 1] == pytest.approx(1190 / 9, abs=1e-12)
    assert filter2d(patch.astype("uint8"), np.full((3, 3), 1 / 9))[1, 1] == 132


def test_bank_holds_seven_kernels_in_order():
    bank = kernel_bank()
    assert list(bank) == ["small_blur", "large_blur", "sharpen", "laplacian", "sobel_x", "sobel_y", "emboss"]
    np.testing.assert_array_equal(bank["small_blur"], np.ones((7, 7)) / 49)
    np.testing.assert_array_equal(bank["large_blur"], np.ones((21, 21)) / 441)
    np.testing.assert_array_equal(bank["sharpen"], [[0, -1, 0], [-1, 5, -1], [0, -1, 0]])
    np.testing.assert_array_equal(bank["laplacian"], LAPLACIAN)
    np.testing.assert_array_equal(bank["sobel_x"], [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    np.testing.assert_array_equal(bank["sobel_y"], [[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
    np.testing.assert_array_equal(bank["emboss"], [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


@pytest.mark.parametrize("name", BANK_RAW)
def test_kernel_bank(name):
    kernel = kernel_bank()[name]
    np.testing.assert_array_equal(filter2d(X.astype("float32"), kernel, border="replicate"), BANK_RAW[name])
    np.testing.assert_array_equal(convolve(X, kernel), BANK_CLIPPED[name])
    np.testing.assert_array_equal(convolve(X.astype("uint8"), kernel), BANK_CLIPPED[name])


def test_convolve_keeps_every_grey_level():
    image = np.arange(256).reshape(16, 16)
    identity = np.zeros((3, 3))
    identity[1, 1] = 1
    result = convolve(image, identity)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, image)


@pytest.mark.parametrize("name", ["small_blur", "large_blur"])
def test_convolve_truncates(name):
    """A blurred constant comes out as v or v - 1, whatever the order of the additions."""
    size = len(kernel_bank()[name])
    for v in range(256):
        result = convolve(np.full((size, size), v, np.uint8), kernel_bank()[name])
        assert set(np.unique(result)) <= {v - 1, v}
    np.testing.assert_array_equal(convolve([[10, 11]], [[0, 0, 0], [0, 0.99, 0], [0, 0, 0]]), [[9, 10]])


@pytest.mark.parametrize("kernel", [np.ones((2, 2)), np.ones((3, 5)), np.ones(3)])
def test_convolve_wants_square_odd_kernels(kernel):
    with pytest.raises(ValueError, match="square kernel of odd size"):
        convolve(X, kernel)


def test_convolve_wants_a_grey_image():
    with pytest.raises(ValueError, match="grey image"):
        convolve(np.zeros((4, 4, 3)), np.ones((3, 3)))
