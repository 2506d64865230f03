"""The networks for ImageNet: layer tables, parameter counts, outputs, and the arguments that all of them have.

Counts are those of the publications and of Keras's documentation. ``KERAS`` and the like were computed by Keras 3.15
(on JAX and on PyTorch).
"""

import hashlib
import itertools
import re

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import applications, initializers
from tinyconv.applications.vgg16 import VGG16

# The smallest images, and a network for five classes of them.
NETWORKS = {
    "AlexNet": (67, applications.AlexNet),
    "GoogLeNet": (32, applications.GoogLeNet),
    "InceptionV3": (75, applications.InceptionV3),
    "MobileNet": (32, applications.MobileNet),
    "MobileNetV2": (32, applications.MobileNetV2),
    "ResNet18": (32, applications.ResNet18),
    "ResNet34": (32, applications.ResNet34),
    "ResNet50": (32, applications.ResNet50),
    "ResNet101": (32, applications.ResNet101),
    "ResNet152": (32, applications.ResNet152),
    "SEResNet50": (32, applications.SEResNet50),
    "SEResNet101": (32, applications.SEResNet101),
    "SEResNet152": (32, applications.SEResNet152),
    "SqueezeNet": (32, applications.SqueezeNet),
    "VGG16": (32, applications.VGG16),
    "VGG19": (32, applications.VGG19),
    "Xception": (71, applications.Xception),
}
LARGE = {"AlexNet", "ResNet101", "ResNet152", "SEResNet101", "SEResNet152", "VGG16", "VGG19"}
EACH = [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in NETWORKS]


@pytest.fixture
def channels_first():
    tc.config.set_image_data_format("channels_first")
    yield
    tc.config.set_image_data_format("channels_last")


@pytest.fixture
def no_weights(monkeypatch):
    """Kernels of zeros, for tests that only count."""
    zeros = lambda self, shape, dtype=None: np.zeros(shape, dtype)  # noqa: E731
    monkeypatch.setattr(initializers.VarianceScaling, "__call__", zeros)


def trainable(model):
    return sum(w.size for w in model.trainable_weights)


def parts(model, *names):
    """Parameters of the layers up to each of those named, and the shape there without the batch axis."""
    found, count, left = [], 0, list(names)
    for layer in model.layers:
        count += layer.count_params()
        if left and layer.name == left[0]:
            found.append((layer.output_shape[1:], count))
            count = 0
            left.pop(0)
    assert not left, f"no layers {left}, in this order"
    return found


# --- counts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "options", "total", "trained"),
    [
        ("GoogLeNet", {}, 6_998_552, 6_998_552),
        ("GoogLeNet", {"include_top": False}, 5_973_552, 5_973_552),
        ("InceptionV3", {}, 23_851_784, 23_817_352),
        ("InceptionV3", {"include_top": False}, 21_802_784, 21_768_352),
        ("MobileNet", {}, 4_253_864, 4_231_976),
        ("MobileNet", {"alpha": 0.75}, 2_601_976, 2_585_560),
        ("MobileNet", {"alpha": 0.5}, 1_342_536, 1_331_592),
        ("MobileNet", {"include_top": False}, 3_228_864, 3_206_976),
        ("MobileNetV2", {}, 3_538_984, 3_504_872),
        ("MobileNetV2", {"alpha": 1.4}, 6_156_712, 6_108_776),
        ("MobileNetV2", {"include_top": False}, 2_257_984, 2_223_872),
        ("ResNet18", {}, 11_699_112, 11_689_512),
        ("ResNet34", {}, 21_814_696, 21_797_672),
        ("ResNet34", {"classes": 10}, 21_306_826, 21_289_802),
        ("ResNet50", {}, 25_636_712, 25_583_592),
        ("ResNet50", {"include_top": False}, 23_587_712, 23_534_592),
        ("ResNet101", {}, 44_707_176, 44_601_832),
        ("ResNet152", {}, 60_419_944, 60_268_520),
        ("ResNet152", {"use_bias": False}, 60_344_232, 60_192_808),
        ("SEResNet50", {}, 28_141_144, 28_088_024),
        ("SEResNet101", {}, 49_432_216, 49_326_872),
        ("SEResNet152", {}, 66_973_272, 66_821_848),
        ("SqueezeNet", {"version": "1.0"}, 1_248_424, 1_248_424),
        ("SqueezeNet", {"version": "1.1"}, 1_235_496, 1_235_496),
        ("VGG16", {"include_top": False}, 14_714_688, 14_714_688),
        ("VGG19", {"include_top": False}, 20_024_384, 20_024_384),
        ("Xception", {}, 22_910_480, 22_855_952),
        ("Xception", {"include_top": False}, 20_861_480, 20_806_952),
    ],
)
@pytest.mark.usefixtures("no_weights")
def test_parameter_counts(build, options, total, trained):
    model = getattr(applications, build)(weights=None, **options)
    assert (model.count_params(), trainable(model)) == (total, trained)
    assert model.optimizer is None, "not compiled"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "options", "total"),
    [
        ("AlexNet", {}, 62_378_344),
        ("AlexNet", {"groups": 2}, 60_965_224),
        ("VGG16", {}, 138_357_544),
        ("VGG19", {}, 143_667_240),
    ],
)
@pytest.mark.usefixtures("no_weights")
def test_parameter_counts_of_large_classifiers(build, options, total):
    assert getattr(applications, build)(weights=None, **options).count_params() == total


# --- layer tables ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("no_weights")
def test_alexnet_layer_by_layer():
    names = ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "predictions"]
    model = applications.AlexNet()
    seen, needed = (np.prod(model.get_layer(name).output_shape[1:]) for name in ("conv5", "pool5"))
    assert model.count_params() + 4096 * (seen - needed) == 201_838_952  # without the last pooling
    assert parts(model, *names) == [
        ((55, 55, 96), 34_944), ((27, 27, 96), 0), ((27, 27, 256), 614_656), ((13, 13, 256), 0),
        ((13, 13, 384), 885_120), ((13, 13, 384), 1_327_488), ((13, 13, 256), 884_992), ((6, 6, 256), 0),
        ((4096,), 37_752_832), ((4096,), 16_781_312), ((1000,), 4_097_000),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("no_weights")
def test_vgg16_layer_by_layer():
    model = applications.VGG16(weights=None)
    names = ["block1_pool", "block2_pool", "block3_pool", "block4_pool", "block5_pool", "fc1", "fc2", "predictions"]
    assert parts(model, *names) == [
        ((112, 112, 64), 1_792 + 36_928), ((56, 56, 128), 73_856 + 147_584),
        ((28, 28, 256), 295_168 + 2 * 590_080), ((14, 14, 512), 1_180_160 + 2 * 2_359_808),
        ((7, 7, 512), 3 * 2_359_808), ((4096,), 102_764_544), ((4096,), 16_781_312), ((1000,), 4_097_000),
    ]  # fmt: skip
    convolutions = [x for x in model.layers if type(x).__name__ == "Conv2D"]
    assert len(convolutions) == 13
    assert {(x.kernel_size, x.strides, x.padding, x.activation.__name__) for x in convolutions} == {
        ((3, 3), (1, 1), "same", "relu")
    }


@pytest.mark.usefixtures("no_weights")
def test_vgg_at_150_pixels():
    model = applications.VGG16(include_top=False, weights=None, input_shape=(150, 150, 3))
    assert model.output_shape == (None, 4, 4, 512)
    last = {f"block5_conv{i}" for i in (1, 2, 3)}
    assert sum(x.count_params() for x in model.layers if x.name in last) == 7_079_424


@pytest.mark.usefixtures("no_weights")
def test_googlenet_layer_by_layer():
    modules = [f"inception_{m}" for m in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
    names = ["conv1", "pool1", "conv2_reduce", "conv2", "pool2", *modules, "avg_pool", "predictions"]
    model = applications.GoogLeNet()
    assert parts(model, *names) == [
        ((112, 112, 64), 9_472), ((56, 56, 64), 0), ((56, 56, 64), 4_160), ((56, 56, 192), 110_784),
        ((28, 28, 192), 0), ((28, 28, 256), 163_696), ((28, 28, 480), 388_736), ((14, 14, 512), 376_176),
        ((14, 14, 512), 449_160), ((14, 14, 512), 510_104), ((14, 14, 528), 605_376), ((14, 14, 832), 868_352),
        ((7, 7, 832), 1_043_456), ((7, 7, 1024), 1_444_080), ((1024,), 0), ((1000,), 1_025_000),
    ]  # fmt: skip
    assert sum(type(x).__name__ == "MaxPooling2D" for x in model.layers) == 4
    assert model.get_layer("dropout").rate == 0.4


@pytest.mark.usefixtures("no_weights")
def test_inception_v3_module_by_module():
    """Convolutions are numbered as Keras does; each module holds so many of them, with batch normalisation."""
    model = applications.InceptionV3(weights=None)
    counts = {}
    for layer in model.layers:
        if match := re.fullmatch(r"(?:conv2d|batch_normalization)_(\d+)", layer.name):
            counts[int(match[1])] = counts.get(int(match[1]), 0) + layer.count_params()
    ends = [1, 2, 3, 4, 5, 12, 19, 26, 30, 40, 50, 60, 70, 76, 85, 94]
    found = [sum(counts[i] for i in range(a + 1, b + 1)) for a, b in itertools.pairwise([0, *ends])]
    assert found == [
        960, 9_312, 18_624, 5_360, 138_816, 256_368, 277_968, 285_648, 1_153_920, 1_298_944, 1_692_736, 1_692_736,
        2_143_872, 1_699_584, 5_047_872, 6_080_064,
    ]  # fmt: skip
    shapes = [model.get_layer(name).output_shape[1:] for name in ("conv2d_1", "conv2d_2", "conv2d_3", "conv2d_5")]
    assert shapes == [(149, 149, 32), (147, 147, 32), (147, 147, 64), (71, 71, 192)]
    assert [model.get_layer(f"mixed{i}").output_shape[1:] for i in range(11)] == [
        (35, 35, 256), *[(35, 35, 288)] * 2, *[(17, 17, 768)] * 5, (8, 8, 1280), *[(8, 8, 2048)] * 2,
    ]  # fmt: skip
    norms = [x for x in model.layers if type(x).__name__ == "BatchNormalization"]
    assert {(x.scale, x.epsilon) for x in norms} == {(False, 1e-3)}


@pytest.mark.usefixtures("no_weights")
def test_resnet34_stage_by_stage():
    model = applications.ResNet34()
    ends = ["conv1_relu", "pool1_pool", "conv2_unit3", "conv3_unit4", "conv4_unit6", "conv5_unit3", "predictions"]
    assert parts(model, *ends) == [
        ((112, 112, 64), 9_664), ((56, 56, 64), 0), ((56, 56, 64), 222_720), ((28, 28, 128), 1_118_720),
        ((14, 14, 256), 6_829_056), ((7, 7, 512), 13_121_536), ((1000,), 513_000),
    ]  # fmt: skip
    assert sum(type(x).__name__ == "ResidualUnit" for x in model.layers) == 16


@pytest.mark.parametrize(
    ("build", "biased", "stages"),
    [
        ("ResNet50", True, (220_032, 1_230_336, 7_129_088, 14_998_528)),
        ("ResNet152", False, (218_624, 2_353_152, 40_726_528, 14_987_264)),
    ],
)
@pytest.mark.usefixtures("no_weights")
def test_bottlenecks_stage_by_stage(build, biased, stages):
    model = getattr(applications, build)(weights=None, use_bias=biased)
    counts = [sum(x.count_params() for x in model.layers if x.name.startswith(f"conv{i}_block")) for i in range(2, 6)]
    assert tuple(counts) == stages
    sides = {x.name[:5]: x.output_shape[1:] for x in model.layers if x.name.endswith("_out")}
    assert sides == {
        "conv2": (56, 56, 256), "conv3": (28, 28, 512), "conv4": (14, 14, 1024), "conv5": (7, 7, 2048),
    }  # fmt: skip
    assert sum(type(x).__name__ in ("Conv2D", "Dense") for x in model.layers) - 4 == int(build[6:]), "4 shortcuts"


def test_resnet50_of_keras_2():
    """The definition that the documents describe: no padding around the first pooling, biases, epsilon 1e-3."""
    model = applications.resnet50.ResNet50Keras2()
    assert (model.count_params(), trainable(model)) == (25_636_712, 25_583_592)
    pooled = next(x for x in model.layers if type(x).__name__ == "MaxPooling2D")
    assert pooled.output_shape == (None, 55, 55, 64)
    sums = [x.output_shape[1:] for x in model.layers if type(x).__name__ == "Add"]
    assert sums == [
        *[(55, 55, 256)] * 3, *[(28, 28, 512)] * 4, *[(14, 14, 1024)] * 6, *[(7, 7, 2048)] * 3,
    ]  # fmt: skip
    block = {x.name: x.count_params() for x in model.layers if re.fullmatch(r"(res|bn)2a_branch\d[abc]?", x.name)}
    assert sum(block.values()) == 76_928
    assert sorted(block) == sorted(f"{kind}2a_branch{i}" for kind in ("res", "bn") for i in ("1", "2a", "2b", "2c"))
    assert {x.epsilon for x in model.layers if type(x).__name__ == "BatchNormalization"} == {1e-3}
    assert model.get_layer("avg_pool").output_shape == (None, 1, 1, 2048)


@pytest.mark.usefixtures("no_weights")
def test_xception_block_by_block():
    model = applications.Xception(weights=None)
    ends = [f"add_{i}" for i in range(1, 13)]
    names = ["block1_conv1_bn", "block1_conv2_bn", *ends, "block14_sepconv1_bn", "block14_sepconv2_bn", "predictions"]
    assert parts(model, *names) == [
        ((149, 149, 32), 992), ((147, 147, 64), 18_688), ((74, 74, 128), 36_032), ((37, 37, 256), 137_600),
        ((19, 19, 728), 920_312), *[((19, 19, 728), 1_618_344)] * 8, ((10, 10, 1024), 2_045_136),
        ((10, 10, 1536), 1_588_224), ((10, 10, 2048), 3_167_744), ((1000,), 2_049_000),
    ]  # fmt: skip
    assert sum(type(x).__name__ == "SeparableConv2D" for x in model.layers) == 34


@pytest.mark.parametrize(
    ("version", "stem", "pools", "sides"),
    [
        ("1.0", ((109, 109, 96), 14_208), {1: 54, 4: 27, 8: 13}, (54, 54, 54, 27, 27, 27, 27, 13)),
        ("1.1", ((111, 111, 64), 1_792), {1: 55, 3: 27, 5: 13}, (55, 55, 27, 27, 13, 13, 13, 13)),
    ],
)
@pytest.mark.usefixtures("no_weights")
def test_squeezenet_layer_by_layer(version, stem, pools, sides):
    model = applications.SqueezeNet(version=version)
    counts = [11_920 if version == "1.0" else 11_408, 12_432, 45_344, 49_440, 104_880, 111_024, 188_992, 197_184]
    maps = (128, 128, 256, 256, 384, 384, 512, 512)
    modules = [((side, side, n), count) for side, n, count in zip(sides, maps, counts, strict=True)]
    names = ["conv1", *(f"fire{i}_concat" for i in range(2, 10)), "conv10", "predictions"]
    assert parts(model, *names) == [stem, *modules, ((13, 13, 1000), 513_000), ((1000,), 0)]
    found = {x.name: x.output_shape[1] for x in model.layers if type(x).__name__ == "MaxPooling2D"}
    assert found == {f"pool{i}": side for i, side in pools.items()}


@pytest.mark.usefixtures("no_weights")
def test_squeezenet_pools_round_up():
    """Pooling of 3 with step 2: ceil((n - 3) / 2) + 1 cells of n, at every size."""
    model = applications.SqueezeNet(include_top=False)
    for side in range(32, 48):
        expected = (side - 3) // 2 + 1
        for _ in range(3):
            expected = -(-(expected - 3) // 2) + 1
        assert model.compute_output_shape((None, side, side, 3)) == (None, expected, expected, 512)


# Of each network's layers in Keras 3.15, as `described` tells them: their number, and the sha256 of the lines.
LAYERS_OF_KERAS = {
    "InceptionV3": (313, "47138aeddc666590"),
    "MobileNet": (91, "5c72b4f1ea0c8ace"),
    "MobileNetV2": (156, "8448fc39316d7a63"),
    "ResNet50": (177, "7e92dc19924f04dc"),
    "ResNet101": (347, "4f000fc208540edb"),
    "ResNet152": (517, "01d704b7e1ceb5f0"),
    "VGG16": (19, "855ffc3ec31c4ae2"),
    "VGG19": (22, "8c6707e72c015b39"),
    "Xception": (134, "8a2a70c28729ecbb"),
}


def described(model):
    """Name, class, output shape and shapes of weights of each layer; automatic names without their numbers."""
    numbered = re.compile(
        "(conv2d|batch_normalization|activation|max_pooling2d|average_pooling2d|global_average_pooling2d|add|concatenate|"
        "input_layer)(_[0-9]+)?"
    )

    def described_layer(layer):
        name = match[1] if (match := numbered.fullmatch(layer.name)) else layer.name
        return f"{name} {type(layer).__name__} {layer.output_shape} {[w.shape for w in layer.weights]}"

    return "\n".join(map(described_layer, model.layers))


@pytest.mark.parametrize("name", LAYERS_OF_KERAS)
@pytest.mark.usefixtures("no_weights")
def test_layers_are_those_of_keras_in_its_order(name):
    side, build = NETWORKS[name]
    model = build(include_top=not name.startswith("VGG"), weights=None, input_shape=(side, side, 3))
    digest = hashlib.sha256(described(model).encode()).hexdigest()[:16]
    assert (len(model.layers), digest) == LAYERS_OF_KERAS[name], described(model)


def test_inception_v3_numbers_its_convolutions_in_keras_order():
    """Those of mixed0 in the published summary: 1x1 6, 5x5 7 and 8, 3x3 9 to 11, after pooling 12."""
    model = applications.InceptionV3(include_top=False, weights=None)
    found = {i: model.get_layer(f"conv2d_{i}").weights[0].shape for i in range(6, 13)}
    assert found == {
        6: (1, 1, 192, 64), 7: (1, 1, 192, 48), 8: (5, 5, 48, 64), 9: (1, 1, 192, 64), 10: (3, 3, 64, 96),
        11: (3, 3, 96, 96), 12: (1, 1, 192, 32),
    }  # fmt: skip


# --- values ----------------------------------------------------------------------------------------------------

# Mean, standard deviation and first four of the features of one random image, with the weights of `fill`.
KERAS = {
    "InceptionV3": (0.0806328, 0.114694, 0.212086, 0.304896, 0.0, 0.43857),
    "MobileNet": (0.0859154, 0.124736, 0.217057, 0.0, 0.0, 0.0),
    "MobileNetV2": (0.116112, 0.175657, 0.0, 0.618558, 0.0, 0.0),
    "ResNet50": (0.773134, 0.925359, 1.28458, 0.864271, 2.56073, 0.597212),
    "ResNet101": (2.41043, 3.18588, 0.0, 1.20023, 5.31911, 2.3991),
    "ResNet152": (9.21304, 12.2455, 0.0, 2.57173, 0.462417, 41.8535),
    "VGG16": (0.0879197, 0.0898995, 0.0, 0.0, 0.0442549, 0.105502),
    "VGG19": (0.083163, 0.0890409, 0.148768, 0.135515, 0.0, 0.0),
    "Xception": (0.379405, 0.37044, 0.779821, 0.281627, 0.0619266, 0.0496049),
}

# Of the same image, with a classifier of five classes without softmax.
KERAS_LOGITS = {
    "InceptionV3": (0.1955, 0.1687, -0.00323312, -0.0148548, 0.162712),
    "MobileNet": (0.201426, -0.187748, 0.0651086, -0.216973, 0.146914),
    "MobileNetV2": (0.411652, -0.12289, 0.115726, -0.282552, 0.56935),
    "ResNet50": (1.11712, -0.648308, 1.28894, -1.01818, -1.09155),
    "ResNet101": (-5.23895, -3.12569, 2.58177, -1.74558, 2.08945),
    "ResNet152": (0.207784, 24.6845, 28.0883, 16.9807, 3.77863),
    "VGG16": (0.283155, -0.0779333, 0.270396, 0.113226, -0.189007),
    "VGG19": (0.109585, -0.0142495, 0.243731, 0.159097, 0.0346321),
    "Xception": (0.562264, -0.0981076, -0.256916, -0.307573, -0.0812662),
}

# Of networks that Keras has not: recomputed in float64 with PyTorch's functions, after the publications. Pixels of up
# to 300, where there is local response normalisation, make it count.
RECOMPUTED = [
    ("AlexNet", 67, 300, {}, (-0.524687, 0.321151, 3.76537, 6.44856, -0.57287)),
    ("AlexNet", 67, 300, {"groups": 2}, (2.1366, -0.590879, -6.00503, -5.85583, -1.40281)),
    ("GoogLeNet", 64, 300, {}, (-0.0173328, 0.562427, -0.0822546, 0.19115, -0.0214327)),
    ("GoogLeNet", 64, 300, {"squeeze_excite": True}, (-0.0976573, -0.135819, 0.265701, -0.0301793, 0.196252)),
    ("ResNet18", 64, 1, {}, (1.63364, -0.0279987, -1.14176, -1.55499, -1.63273)),
    ("ResNet34", 64, 1, {}, (4.22389, 3.36314, 3.40974, -4.53621, 5.68134)),
    ("SEResNet50", 64, 1, {}, (-0.364746, -0.29809, -0.297741, -0.168324, 0.575315)),
    ("SqueezeNet", 64, 1, {"version": "1.0"}, (0.0, 0.0483997, 0.0, 0.124802, 0.0)),
    ("SqueezeNet", 64, 1, {"version": "1.1"}, (0.0922217, 0.0, 0.0, 0.0597231, 0.0)),
]


def fill(model):
    """Weights that every program can make: layer by layer, uniform in a range that follows from kind and shape."""
    random = np.random.RandomState(0)
    for layer in model.layers:
        for weight in layer.weights:
            if weight.name.endswith("kernel"):
                separable = type(layer).__name__ == "SeparableConv2D" and weight.name == "depthwise_kernel"
                fan = 9 if separable else np.prod(weight.shape[:-1])
                low, high = -((3 / fan) ** 0.5), (3 / fan) ** 0.5
            else:
                low, high = {"gamma": (0.7, 1.3), "moving_variance": (0.5, 1.5)}.get(weight.name, (-0.2, 0.2))
            weight.assign(random.uniform(low, high, weight.shape).astype("float32"))


@pytest.mark.parametrize("name", [name for name in EACH if name.values[0] in KERAS])
@pytest.mark.usefixtures("no_weights")
def test_features_are_those_of_keras(name):
    side, build = NETWORKS[name]
    model = build(include_top=False, weights=None, input_shape=(side, side, 3), pooling="avg")
    fill(model)
    x = np.random.RandomState(1).uniform(-1, 1, (1, side, side, 3)).astype("float32")
    y = model.predict(x, verbose=0)[0]
    np.testing.assert_allclose([y.mean(), y.std(), *y[:4]], KERAS[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in EACH if name.values[0] in KERAS_LOGITS])
@pytest.mark.usefixtures("no_weights")
def test_classifiers_are_those_of_keras(name):
    side, build = NETWORKS[name]
    model = build(weights=None, input_shape=(side, side, 3), classes=5, classifier_activation=None)
    fill(model)
    x = np.random.RandomState(1).uniform(-1, 1, (1, side, side, 3)).astype("float32")
    y = model.predict(x, verbose=0)[0]
    np.testing.assert_allclose(y, KERAS_LOGITS[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "side", "brightest", "options", "expected"), RECOMPUTED)
@pytest.mark.usefixtures("no_weights")
def test_classifiers_are_those_recomputed(name, side, brightest, options, expected):
    model = getattr(applications, name)(
        weights=None, input_shape=(side, side, 3), classes=5, classifier_activation=None, **options
    )
    fill(model)
    x = np.random.RandomState(1).uniform(-brightest, brightest, (1, side, side, 3)).astype("float32")
    np.testing.assert_allclose(model.predict(x, verbose=0)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_resnet50_of_keras_2_is_that_recomputed():
    model = applications.resnet50.ResNet50Keras2()
    fill(model)
    x = np.random.RandomState(1).uniform(-1, 1, (1, 224, 224, 3)).astype("float32")
    expected = 0.00232868, 4.89035e-07, 9.35531e-05, 1.97683e-07, 0.000193419
    np.testing.assert_allclose(model.predict(x, verbose=0)[0, :5], expected, rtol=1e-3)


@pytest.mark.parametrize("name", EACH)
@pytest.mark.usefixtures("channels_first", "no_weights")
def test_smallest_images_in_both_formats(name):
    side, build = NETWORKS[name]
    first = build(weights=None, input_shape=(3, side, side), classes=5)
    with pytest.raises(ValueError, match=f"at least {side}x{side}"):
        build(weights=None, input_shape=(3, side, side - 1), classes=5)
    tc.config.set_image_data_format("channels_last")
    last = build(weights=None, input_shape=(side, side, 3), classes=5)
    assert [w.shape for w in first.weights] == [w.shape for w in last.weights]
    fill(last)
    first.set_weights(last.get_weights())
    x = np.random.default_rng(0).random((1, 3, side, side)).astype("float32")
    p, q = first.predict(x, verbose=0), last.predict(x.transpose(0, 2, 3, 1), verbose=0)
    assert p.shape == (1, 5)
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
    assert p.std() > 0
    np.testing.assert_allclose(p, q, rtol=1e-3, atol=1e-6)


@pytest.mark.filterwarnings("ignore::tinyconv.ModelWarning")  # images of 65 pixels are small for this network
def test_auxiliary_classifiers(tmp_path):
    """Their losses count 0.3 each; the network without them takes what was trained with them, by name."""
    model = applications.GoogLeNet(classes=3, input_shape=(65, 65, 3), auxiliary=True)
    weight = applications.googlenet.AUXILIARY_WEIGHT
    model.compile("sgd", "sparse_categorical_crossentropy", loss_weights=[1, weight, weight])
    x, y = np.random.default_rng(0).random((2, 65, 65, 3)).astype("float32"), np.array([0, 2])
    outputs = model.predict(x, verbose=0)
    losses = [-np.log(p[[0, 1], y]).mean() for p in outputs]
    total = model.evaluate(x, [y, y, y], verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(total, losses[0] + 0.3 * losses[1] + 0.3 * losses[2], rtol=1e-5)
    model.save_weights(tmp_path / "trained.tinyconv")
    plain = applications.GoogLeNet(classes=3, input_shape=(65, 65, 3))
    plain.load_weights(tmp_path / "trained.tinyconv", by_name=True)
    np.testing.assert_allclose(plain.predict(x, verbose=0), outputs[0], rtol=1e-5)
    with pytest.raises(ValueError, match="auxiliary"):
        applications.GoogLeNet(include_top=False, auxiliary=True)


def test_auxiliary_classifiers_get_what_modules_4a_and_4d_give():
    model = applications.GoogLeNet(auxiliary=True, classes=2)
    names = [x.name for x in model.layers if type(x).__name__ == "AveragePooling2D"]
    assert sorted(names) == ["auxiliary1_pool", "auxiliary2_pool"]
    found = [(model.get_layer(n).input_shape, model.get_layer(n).output_shape) for n in sorted(names)]
    assert found == [((None, 14, 14, 512), (None, 4, 4, 512)), ((None, 14, 14, 528), (None, 4, 4, 528))]
    assert model.get_layer("auxiliary1").count_params() == 1025 * 2


def test_squeeze_and_excitation_weighs_maps_in_every_block():
    """Scales of one half, which all-zero dense layers give, halve what each block adds."""
    model = applications.SEResNet50(include_top=False, input_shape=(32, 32, 3))
    blocks = [x for x in model.layers if type(x).__name__ == "SqueezeExcite"]
    assert [x.output_shape[-1] for x in blocks] == [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    for block in blocks:
        block.set_weights([np.zeros_like(w) for w in block.get_weights()])
    plain = applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3), use_bias=False)
    for layer in (x for x in plain.layers if x.weights):
        layer.set_weights(model.get_layer(layer.name).get_weights())
        if layer.name.endswith("_3_bn"):
            gamma, *others = layer.get_weights()
            layer.set_weights([gamma / 2, *others])
    x = np.random.default_rng(0).random((1, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(model.predict(x, verbose=0), plain.predict(x, verbose=0), rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("no_weights")
def test_squeeze_and_excitation_in_inception_modules():
    """Two dense layers, C -> C / 16 -> C, more for each module."""
    plain, excited = (applications.GoogLeNet(squeeze_excite=value) for value in (False, True))
    maps = (256, 480, 512, 512, 512, 528, 832, 832, 1024)
    assert excited.count_params() - plain.count_params() == sum(c * (c // 16) * 2 + c // 16 + c for c in maps)


@pytest.mark.parametrize("name", ["MobileNetV2", "GoogLeNet"])
def test_saved_and_loaded(name, tmp_path):
    side, build = NETWORKS[name]
    model = build(weights=None, input_shape=(side, side, 3), classes=4)
    x = np.random.default_rng(0).random((2, side, side, 3)).astype("float32")
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.tinyconv")
    loaded = tc.load_model(tmp_path / "model.tinyconv")
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    again = build(weights=tmp_path / "model.tinyconv", input_shape=(side, side, 3), classes=4)
    np.testing.assert_array_equal(again.predict(x, verbose=0), expected)


# --- arguments -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_weights")
def test_pooling_and_unknown_sizes():
    maps = applications.MobileNetV2(include_top=False, weights=None, alpha=0.35)
    assert maps.output_shape == (None, None, None, 1280)
    assert maps.compute_output_shape((None, 96, 65, 3)) == (None, 3, 3, 1280)
    for pooling in ("avg", "max"):
        assert applications.MobileNetV2(include_top=False, weights=None, pooling=pooling).output_shape == (None, 1280)
    with pytest.raises(ValueError, match=r"pooling must be None, 'avg' or 'max'. Received: 'mean'"):
        applications.MobileNetV2(include_top=False, weights=None, pooling="mean")


def test_pooled_features():
    tc.set_seed(1)
    maps = applications.MobileNet(include_top=False, weights=None, alpha=0.25)
    x = np.random.default_rng(0).random((2, 64, 64, 3)).astype("float32")
    expected = maps.predict(x, verbose=0)
    for pooling, reduce in (("avg", np.mean), ("max", np.max)):
        pooled = applications.MobileNet(include_top=False, weights=None, alpha=0.25, pooling=pooling)
        pooled.set_weights(maps.get_weights())
        np.testing.assert_allclose(pooled.predict(x, verbose=0), reduce(expected, (1, 2)), rtol=1e-5, atol=1e-7)


def test_an_input_tensor_takes_the_place_of_the_input():
    inputs = tc.Input((40, 40, 1))
    three = tc.layers.Concatenate()([inputs, inputs, inputs])
    model = applications.MobileNet(input_tensor=three, weights=None, alpha=0.25, classes=2, include_top=True)
    assert model.input_shape == (None, 40, 40, 1)
    same = applications.MobileNet((40, 40, 3), weights=None, alpha=0.25, classes=2)
    same.set_weights(model.get_weights())
    x = np.random.default_rng(0).random((2, 40, 40, 1)).astype("float32")
    np.testing.assert_allclose(model.predict(x, verbose=0), same.predict(np.repeat(x, 3, -1), verbose=0), rtol=1e-5)
    with pytest.raises(ValueError, match=r"input_shape must be that of input_tensor, \(40, 40, 3\)"):
        applications.MobileNet((32, 32, 3), input_tensor=three, weights=None)
    with pytest.raises(TypeError, match="input_tensor must be symbolic"):
        applications.MobileNet(input_tensor=np.zeros((1, 32, 32, 3)), weights=None)


@pytest.mark.usefixtures("no_weights")
def test_logits_and_names():
    model = applications.SqueezeNet(classes=7, classifier_activation=None, name="small", input_shape=(40, 40, 1))
    assert (model.name, model.input_shape, model.output_shape) == ("small", (None, 40, 40, 1), (None, 7))
    assert model.layers[-1].activation.__name__ == "linear"
    assert applications.MobileNetV2(weights=None, alpha=0.5).name == "mobilenetv2_0.50_224"


@pytest.mark.parametrize(
    ("options", "side"),
    [
        ({}, "224"), ({"input_shape": (128, 96, 3)}, "128"), ({"input_shape": (64, 48, 3)}, "64"),
        ({"include_top": False}, "None"), ({"include_top": False, "input_shape": (None, None, 3)}, "None"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("no_weights")
def test_names_tell_the_height_of_images_as_in_keras(options, side):
    assert applications.MobileNet(weights=None, **options).name == f"mobilenet_1.00_{side}"
    assert applications.MobileNetV2(weights=None, **options).name == f"mobilenetv2_1.00_{side}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (None, None, 3)}, "height and width must be known"),
        ({"input_shape": (224, 224)}, r"input_shape must be \(height, width, channels\). Received: \(224, 224\)"),
        ({"input_shape": (32, 32, None)}, "number of channels"),
        ({"input_shape": (31, 32, 3)}, "at least 32x32"),
        ({"classes": 0}, "classes must be an integer >= 1"),
        ({"classes": 2.0}, "classes must be an integer >= 1"),
        ({"weights": "imagnet"}, "weights must be None .*, 'imagenet' or the path .* Received: 'imagnet'"),
        ({"weights": "imagenet", "classes": 10}, "classes must be 1000. Received: 10"),
        ({"weights": "imagenet", "classifier_activation": "relu"}, "classifier_activation must be None or 'softmax'"),
    ],
)
def test_arguments_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        VGG16(**{"weights": None, **options})


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        ("AlexNet", {"groups": 3}, "groups must be 1 or 2. Received: 3"),
        ("SqueezeNet", {"version": "2"}, "version must be '1.0' or '1.1'"),
        ("MobileNet", {"alpha": 0}, "alpha must be > 0"),
        ("MobileNet", {"alpha": 0.3, "weights": "imagenet"}, "alpha must be one of 0.25, 0.5, 0.75, 1.0"),
        ("MobileNetV2", {"alpha": -1}, "alpha must be > 0"),
        ("MobileNetV2", {"alpha": 0.9, "weights": "imagenet"}, "alpha must be one of 0.35"),
        ("AlexNet", {"weights": "imagenet"}, "No file of ImageNet weights is published for alexnet"),
    ],
)
def test_arguments_of_single_networks(build, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(applications, build)(**{"weights": None, **options})


# --- published weights -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "options", "file"),
    [
        ("VGG16", {}, "vgg16_weights_tf_dim_ordering_tf_kernels.h5"),
        ("VGG19", {"include_top": False}, "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("ResNet50", {}, "resnet50_weights_tf_dim_ordering_tf_kernels.h5"),
        ("ResNet101", {"include_top": False}, "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("InceptionV3", {}, "inception_v3_weights_tf_dim_ordering_tf_kernels.h5"),
        ("Xception", {"include_top": False}, "xception_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("MobileNet", {"alpha": 0.75, "input_shape": (160, 160, 3)}, "mobilenet_7_5_160_tf.h5"),
        ("MobileNet", {"include_top": False}, "mobilenet_1_0_224_tf_no_top.h5"),
        ("MobileNetV2", {"alpha": 1.4}, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224.h5"),
    ],
)
def test_missing_weights_are_named(build, options, file, tmp_path, monkeypatch):
    """The published file's name, the folder where it goes, and what else can be done."""
    monkeypatch.setenv("TINYCONV_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        getattr(applications, build)(**options)
    message = str(caught.value)
    assert f" {file} " in message
    assert str(tmp_path / "models") in message
    assert "weights=..." in message


def test_images_for_published_weights_have_three_channels(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYCONV_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"not read")
    with pytest.raises(ValueError, match="must have 3 channels"):
        applications.VGG16(include_top=False, input_shape=(64, 64, 1))
    with pytest.raises(ValueError, match="damaged|not a"):
        applications.VGG16(include_top=False, input_shape=(64, 64, 3))


@pytest.mark.usefixtures("no_weights")
def test_weights_of_another_network_are_refused(tmp_path):
    other = applications.MobileNet((32, 32, 3), alpha=0.5, weights=None, classes=2)
    other.save_weights(tmp_path / "other.tinyconv")
    with pytest.raises(ValueError, match=r"other\.tinyconv cannot be loaded"):
        applications.MobileNet((32, 32, 3), alpha=0.25, weights=tmp_path / "other.tinyconv", classes=2)


def test_hdf5_weights_with_published_names(tmp_path):
    """A file of Keras 2's layout, written layer by layer with h5py, goes in by order and by name."""
    h5py = pytest.importorskip("h5py")
    model = applications.ResNet50(weights=None, classes=2, input_shape=(32, 32, 3))
    random, expected = np.random.default_rng(0), {}
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        names = [layer.name for layer in model.layers]
        file.attrs["layer_names"] = [name.encode() for name in names]
        for layer in model.layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [f"{layer.name}/{w.name}:0".encode() for w in layer.weights]
            for w in layer.weights:
                values = expected[layer.name, w.name] = random.random(w.shape, "float32")
                group.create_dataset(f"{layer.name}/{w.name}:0", data=values)
    loaded = applications.ResNet50(weights=tmp_path / "weights.h5", classes=2, input_shape=(32, 32, 3))
    for layer in loaded.layers:
        for w in layer.weights:
            np.testing.assert_array_equal(w.numpy(), expected[layer.name, w.name])
    features = applications.ResNet50(weights=None, include_top=False)
    features.load_weights(tmp_path / "weights.h5", by_name=True)
    for key in (("conv1_conv", "kernel"), ("conv5_block3_3_bn", "moving_variance")):
        found = {w.name: w for w in features.get_layer(key[0]).weights}[key[1]]
        np.testing.assert_array_equal(found.numpy(), expected[key])


def published_vgg16():
    from tinyconv.applications.common import models_folder

    return models_folder() / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"


@pytest.mark.skipif(not published_vgg16().is_file(), reason="the published weights of VGG16 are not on this machine")
def test_published_vgg16():
    """Features of a random image, computed by Keras 3.15 from the same file."""
    pytest.importorskip("h5py")
    model = applications.VGG16(include_top=False, input_shape=(48, 48, 3), pooling="avg")
    kernel = model.get_layer("block1_conv1").weights[0].numpy()
    np.testing.assert_allclose(kernel[0, 0, :, 0], [0.42947057, 0.55037946, 0.4800154], rtol=1e-7)
    x = np.random.RandomState(1).uniform(0, 255, (1, 48, 48, 3)).astype("float32")
    y = model.predict(applications.vgg16.preprocess_input(x), verbose=0)[0]
    assert y.argmax() == 344
    np.testing.assert_allclose([y.mean(), y.std(), y.max()], [2.16816, 9.37068, 128.911], rtol=1e-4)
