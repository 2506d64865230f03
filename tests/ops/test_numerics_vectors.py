"""Worked examples of the documents, with their printed numbers. The tables of sizes are in tests/core/test_geometry."""

import math

import numpy as np
import pytest

import tinyconv as tc
from tests.ops import naive
from tinyconv import ops
from tinyconv.testing import assert_close

X = [[95, 242, 186, 152, 39], [39, 14, 220, 153, 180], [5, 247, 212, 54, 46], [46, 77, 133, 110, 74],
     [156, 35, 74, 93, 116]]  # fmt: skip

KERNELS = {
    "small_blur": np.ones((7, 7)) / 49,
    "large_blur": np.ones((21, 21)) / 441,
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "sobel_x": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "sobel_y": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
}


def filtered(x, kernel, border=None, operation=ops.conv2d, **options):
    """One gray picture through one kernel, as nested lists; ``border`` is a mode of ``pad``."""
    image, weights = tc.Tensor(np.array(x, float)), np.array(kernel, float)
    if border:
        image = ops.pad(image, [((k - 1) // 2,) * 2 for k in weights.shape], mode=border)
    return operation(image[None, :, :, None], weights[:, :, None, None], **options)[0, :, :, 0].tolist()


# --- 1 convolution ---------------------------------------------------------------------------------------------


def test_one_pixel_of_an_average():
    patch = [[93, 139, 101], [26, 252, 196], [135, 230, 18]]
    assert filtered(patch, np.ones((3, 3)) / 9)[0][0] == pytest.approx(1190 / 9, rel=1e-14)
    products = ops.multiply(np.array(patch, float), 1 / 9)
    printed = [[10.333, 15.444, 11.222], [2.889, 28.0, 21.778], [15.0, 25.556, 2.0]]
    assert_close(products, np.array(printed), 0, 5e-4)


LAPLACIAN = [
    ("valid, stride 1", None, {}, [[692, -315, -6], [-680, -194, 305], [153, -59, -86]]),
    ("valid, stride 2", None, {"strides": 2}, [[692, -6], [153, -86]]),
    ("zeros, stride 1", None, {"padding": 1},
     [[-99, -673, -130, -230, 176], [-42, 692, -315, -6, -482], [312, -680, -194, 305, 124], [54, 153, -59, -86, -24],
      [-543, 167, -35, -72, -297]]),
    ("zeros, stride 2", None, {"padding": 1, "strides": 2}, [[-99, -130, 176], [312, -194, 124], [-543, -35, -297]]),
    ("replicate", "edge", {},
     [[91, -431, 56, -78, 254], [-3, 692, -315, -6, -302], [317, -680, -194, 305, 170], [100, 153, -59, -86, 50],
      [-231, 202, 39, 21, -65]]),
    ("wrap around", "wrap", {},
     [[96, -638, -56, -137, 387], [138, 692, -315, -6, -443], [358, -680, -194, 305, 129], [128, 153, -59, -86, 22],
      [-332, 409, 151, 80, -102]]),
    ("reflect 101", "reflect", {},
     [[182, -659, 90, -77, 508], [-28, 692, -315, -6, -329], [559, -680, -194, 305, 178], [131, 153, -59, -86, 86],
      [-462, 244, 98, 38, -130]]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "border", "options", "expected"), LAPLACIAN, ids=[row[0] for row in LAPLACIAN])
def test_laplacian_with_strides_and_borders(name, border, options, expected):
    assert filtered(X, KERNELS["laplacian"], border, **options) == expected


def test_same_padding_is_zero_padding_for_a_kernel_of_three():
    assert filtered(X, KERNELS["laplacian"], padding="same") == filtered(X, KERNELS["laplacian"], padding=1)


RAW = {
    "sharpen": [[4, 673, 130, 230, -215], [42, -678, 535, 159, 482], [-312, 927, 406, -251, -124],
                [-54, -76, 192, 196, 24], [387, -167, 35, 72, 181]],
    "sobel_x": [[416, 454, -131, -481, -312], [339, 660, -5, -393, -67], [490, 682, -214, -431, -25],
                [183, 299, -69, -242, -57], [-332, -159, 207, 67, 33]],
    "sobel_y": [[-396, -478, -159, 177, 424], [-265, -54, -41, -163, -77], [84, 46, -154, -279, -361],
                [241, -411, -449, 10, 249], [288, -33, -177, -51, 109]],
    "emboss": [[24, 355, -48, -6, 123], [228, 434, 9, -265, 2], [330, 705, 124, -447, -226], [288, 90, -280, -102, 232],
               [123, -33, 105, 84, 193]],
}  # fmt: skip
CLIPPED = {
    "laplacian": [[91, 0, 56, 0, 254], [0, 255, 0, 0, 0], [255, 0, 0, 255, 170], [100, 153, 0, 0, 50],
                  [0, 202, 39, 21, 0]],
    "sharpen": [[4, 255, 130, 230, 0], [42, 0, 255, 159, 255], [0, 255, 255, 0, 0], [0, 0, 192, 196, 24],
                [255, 0, 35, 72, 181]],
    "sobel_x": [[255, 255, 0, 0, 0], [255, 255, 0, 0, 0], [255, 255, 0, 0, 0], [183, 255, 0, 0, 0],
                [0, 0, 207, 67, 33]],
    "sobel_y": [[0, 0, 0, 177, 255], [0, 0, 0, 0, 0], [84, 46, 0, 0, 0], [241, 0, 0, 10, 249], [255, 0, 0, 0, 109]],
    "emboss": [[24, 255, 0, 0, 123], [228, 255, 9, 0, 2], [255, 255, 124, 0, 0], [255, 90, 0, 0, 232],
               [123, 0, 105, 84, 193]],
}  # fmt: skip


@pytest.mark.parametrize("name", RAW)
def test_kernel_bank(name):
    assert filtered(X, KERNELS[name], "edge") == RAW[name]


@pytest.mark.parametrize("name", CLIPPED)
def test_kernel_bank_clipped_to_bytes(name):
    assert ops.clip(filtered(X, KERNELS[name], "edge"), 0, 255).tolist() == CLIPPED[name]


@pytest.mark.parametrize("name", ["small_blur", "large_blur"])
def test_blurring_a_constant_picture_and_cutting_to_bytes_loses_at_most_one(name):
    kernel = KERNELS[name]
    pictures = np.arange(256.0)[:, None, None, None] * np.ones((1, *kernel.shape, 1))
    greys = ops.floor(ops.clip(ops.conv2d(pictures, kernel[:, :, None, None]), 0, 255)).numpy().ravel()
    assert set(np.arange(256) - greys) <= {0, 1}


def test_true_convolution():
    x, k = [[80, 0, 50], [70, 20, 10], [0, 40, 0]], [[0, 1], [0.5, -1]]
    assert filtered(x, k, operation=ops.true_conv2d) == [[-10, 45], [-60, 25]]
    assert filtered(x, [[-1, 0.5], [1, 0]]) == [[-10, 45], [-60, 25]]
    assert filtered(x, k) == [[15, 50], [-20, 30]]
    assert ops.flip(k).tolist() == [[-1, 0.5], [1, 0]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[12, 12, 17], [10, 17, 19], [9, 6, 14]]),
        ({"operation": ops.true_conv2d}, [[18, 20, 19], [10, 9, 17], [11, 8, 14]]),
        ({"strides": 2}, [[12, 17], [9, 14]]),
        ({"strides": 2, "padding": 1}, [[6, 17, 3], [8, 17, 13], [6, 4, 4]]),
        ({"padding": 1}, [[6, 14, 17, 11, 3], [14, 12, 12, 17, 11], [8, 10, 17, 19, 13], [11, 9, 6, 14, 12],
                          [6, 4, 4, 6, 4]]),
    ],
)  # fmt: skip
def test_layer_convolution(options, expected):
    x = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
    assert filtered(x, [[0, 1, 2], [2, 2, 0], [0, 1, 2]], **options) == expected


def test_several_kernels_give_as_many_maps_and_span_the_full_depth():
    assert ops.conv2d(np.zeros((1, 5, 5, 1)), np.zeros((3, 3, 1, 4))).shape == (1, 3, 3, 4)
    assert ops.conv2d(np.zeros((1, 9, 9, 3)), np.zeros((5, 5, 3, 1))).shape == (1, 5, 5, 1)


def test_line_filters():
    filters = np.zeros((7, 7, 3, 2))
    filters[:, 3, :, 0] = 1
    filters[3, :, :, 1] = 1
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 10, 3)) / 255
    images[1] = 0
    images[1, :, 5] = 1  # a vertical white line
    maps = ops.conv2d(images, filters, padding="same")
    assert maps.shape == (2, 12, 10, 2)
    assert_close(maps, naive.conv2d(images, filters, padding="same"), 1e-12)
    vertical, horizontal = maps.numpy()[1, 6, 5]
    assert (vertical, horizontal) == (21, 3)
    assert not maps.numpy()[1, 6, :5, 0].any()


# --- 3 pooling -------------------------------------------------------------------------------------------------


def test_pooling_one_block():
    assert ops.max_pool2d(np.array([1.0, 5, 3, 2]).reshape(1, 2, 2, 1)).item() == 5
    block = np.array([3.0, 1, 3, 2]).reshape(1, 2, 2, 1)
    assert (ops.max_pool2d(block).item(), ops.avg_pool2d(block).item()) == (3, 2.25)


def test_pooling_two_by_two_drops_three_quarters():
    x = np.zeros((1, 28, 28, 3))
    assert ops.max_pool2d(x).size == x.size / 4


def test_depth_wise_pooling():
    x = np.arange(2 * 2 * 6.0).reshape(1, 2, 2, 6)
    assert ops.depth_max_pool2d(x, 3).tolist() == [[[[2, 5], [8, 11]], [[14, 17], [20, 23]]]]
    with pytest.raises(ValueError, match="multiple of 3"):
        ops.depth_max_pool2d(np.zeros((1, 4, 4, 20)), 3)


def test_global_average_is_one_number_per_map_and_instance():
    x = np.arange(2 * 3 * 3 * 2.0).reshape(2, 3, 3, 2)
    assert ops.global_avg_pool2d(x).tolist() == [[8, 9], [26, 27]]


def test_shifts_and_max_pooling():
    """One bright pixel: moved within its window nothing changes, moved by a window the output moves by one."""
    picture = np.zeros((1, 8, 8, 1))
    picture[0, 2, 2] = 1
    pooled = [ops.max_pool2d(np.roll(picture, shift, 2)).numpy() for shift in (0, 1, 2)]
    np.testing.assert_array_equal(pooled[0], pooled[1])
    np.testing.assert_array_equal(np.roll(pooled[0], 1, 2), pooled[2])


# --- 4 activations ---------------------------------------------------------------------------------------------

Z = np.linspace(-8, 8, 101)


def test_threshold_and_sign():
    assert ops.heaviside([-1.0, 0.0, 2.0]).tolist() == [0, 1, 1]
    assert ops.sign([-3.0, 0.0, 2.0]).tolist() == [-1, 0, 1]


@pytest.mark.parametrize(
    ("operation", "z", "expected", "digits"),
    [
        (ops.sigmoid, 1.0, 0.7310585786, 1e-10),
        (ops.sigmoid, -20.0, 2.0611536e-9, 1e-16),
        (ops.elu, -2.0, -0.8646647168, 1e-10),
        (ops.elu, -1.0, -0.6321205588, 1e-10),
        (ops.softplus, -1.0, 0.3132616875, 1e-10),
        (ops.relu, -3.0, 0, 0),
        (ops.relu, 3.0, 3, 0),
        (lambda z: ops.leaky_relu(z, 0.01), -3.0, -0.03, 1e-15),
        (lambda z: ops.leaky_relu(z, 0.01), 3.0, 3, 0),
        (ops.selu, 1.0, 1.0507, 5e-5),
        (ops.selu, -100.0, -1.0507 * 1.6733, 2e-4),
    ],
)
def test_activation_values(operation, z, expected, digits):
    assert operation(np.array(z)).item() == pytest.approx(expected, rel=0, abs=digits)


def test_tanh_is_a_stretched_sigmoid():
    assert_close(ops.tanh(Z), 2 * ops.sigmoid(2 * Z).numpy() - 1, 0, 1e-12)


def test_elu_with_a_large_alpha_is_piecewise_and_no_maximum():
    """For alpha = 2 the printed formula max(alpha * (e^z - 1), z) would differ at z > 0."""
    assert ops.elu(np.array(0.5), 2.0).item() == 0.5
    assert max(2 * math.expm1(0.5), 0.5) != 0.5


def test_softmax_vectors():
    assert_close(ops.softmax(np.array([2.0, 5.0])), np.array([0.04742587, 0.95257413]), 0, 5e-9)
    assert_close(ops.softmax(np.array([20.0, 21.0])), np.array([0.26894142, 0.73105858]), 0, 5e-9)
    assert_close(ops.sigmoid(np.array([20.0, 21.0])), np.array([1.0, 1.0]), 0, 1e-8)
    assert_close(ops.exp(np.array([2.0, 5.0])), np.array([7.389056, 148.413159]), 0, 5e-7)


# --- 5 losses, 6 contrastive losses: the formulas, written with operations --------------------------------------


def value_and_derivative(loss, at):
    x = tc.Tensor(np.array(at), requires_grad=True)
    y = loss(x)
    y.backward()
    return y.item(), x.grad.item()


def test_cross_entropy_and_squared_error_of_a_confident_mistake():
    entropy, steep = value_and_derivative(lambda p: -(0 * ops.log(p) + (1 - 0) * ops.log(1 - p)), 0.9)
    assert (entropy, steep) == (pytest.approx(2.302585, abs=5e-7), pytest.approx(10, rel=1e-12))
    square, slope = value_and_derivative(lambda p: (0 - p) ** 2, 0.9)
    assert (square, slope) == (pytest.approx(0.81), pytest.approx(1.8))
    assert steep / slope == pytest.approx(5.56, abs=5e-3)


def test_derivative_of_cross_entropy_for_a_positive():
    assert value_and_derivative(lambda p: -ops.log(p), 0.25)[1] == -4  # -y/p, not +y/p


def test_two_unit_softmax():
    logits = np.array([1.0, 0.0])
    p = ops.softmax(logits).numpy()
    assert p[0] == pytest.approx(0.7310585786, abs=5e-11)
    assert -ops.log_softmax(logits)[0].item() == pytest.approx(0.3132616875, abs=5e-11)
    binary = -(np.log(p[0]) + np.log(1 - p[1])) / 2
    assert binary == pytest.approx(0.3132616875, abs=5e-11)


@pytest.mark.parametrize(("error", "expected"), [(0.5, 0.125), (1.0, 0.5), (3.0, 2.5)])
def test_huber(error, expected):
    e = ops.absolute(np.array(error))
    assert ops.where(e <= 1.0, 0.5 * e**2, e - 0.5).item() == expected


@pytest.mark.parametrize(("classes", "expected"), [(2, 0.6931), (3, 1.0986), (9, 2.1972), (10, 2.3026), (1000, 6.9078)])
def test_loss_of_undecided_networks(classes, expected):
    assert -ops.log_softmax(np.zeros(classes))[0].item() == pytest.approx(expected, abs=5e-5)


def test_contrastive_losses():
    def hinge(margin, distance):
        return ops.maximum(0.0, margin - distance)

    assert (ops.square(np.array(0.25)).item(), ops.square(hinge(1, np.array(0.25))).item()) == (0.0625, 0.5625)
    positive, negative = np.array(0.5), np.array(1.0)
    triplet = [ops.maximum(0.0, ops.square(positive) - ops.square(negative) + m).item() for m in (0.2, 1.0)]
    assert triplet == [0, 0.25]
    # printed .4076059645, one too much in the last digit: ln(1 + e^-2 + e^-1) = .40760596444
    assert -ops.log_softmax(np.array([2.0, 0.0, 1.0]))[0].item() == pytest.approx(0.4076059644, abs=5e-11)


def test_teacher_is_a_moving_average_of_the_student():
    teacher, student = tc.Tensor(np.array([1.0, 2.0])), tc.Tensor(np.array([3.0, 6.0]))
    teacher.assign(0.75 * teacher + (1 - 0.75) * student)
    assert teacher.tolist() == [1.5, 3.0]


# --- 7 normalisation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epsilon", "expected"),
    [
        (1e-7, [-1.34164073, -0.44721358, 0.44721358, 1.34164073]),
        (1e-3, [-1.34110445, -0.44703482, 0.44703482, 1.34110445]),
    ],
)
def test_batch_normalisation(epsilon, expected):
    y, mean, variance = ops.standardize(np.array([1.0, 2, 3, 4]), 0, epsilon)
    assert_close(y, np.array(expected), 0, 5e-9)
    moving_mean, moving_variance = 0.99 * 0 + 0.01 * mean.item(), 0.99 * 1 + 0.01 * variance.item()
    assert (moving_mean, moving_variance) == (pytest.approx(0.025), pytest.approx(1.0025))


@pytest.mark.parametrize(
    ("a", "radius", "expected", "digits"),
    [
        ([100, 200, 300, 400], 1, [59.460356, 73.483917, 71.242569, 104.338972], 5e-7),
        ([100, 200, 300, 400], 2, [36.741959, 46.473616, 69.710424, 94.990092], 5e-7),
        ([1, 2, 3, 4], 1, [0.99992501, 1.99958010, 2.99869566, 3.99850066], 5e-9),
    ],
)
def test_local_response_normalisation(a, radius, expected, digits):
    y = ops.local_response_norm(np.array(a, float), radius, bias=1.0, alpha=2e-5, beta=0.75)
    assert_close(y, np.array(expected), 0, digits)


def test_dropout_is_scaled_when_training():
    x = np.full(1000, 3.0)
    assert set(ops.dropout(x, 0.25).tolist()) == {0.0, 4.0}
    assert ops.dropout(x, 0.0).tolist() == x.tolist()
