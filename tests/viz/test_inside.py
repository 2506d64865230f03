"""Feature maps, receptive fields, strongest patches, Grad-CAM and saliency, against NumPy in float64."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv as tc
from tests.viz.models import Residual, image_net, inception
from tinyconv.viz.attribution import resize

L = tc.layers
RNG = np.random.default_rng(7)
IMAGE = RNG.standard_normal((8, 8, 2))


def forward(model, x):
    """``image_net`` in NumPy, image (8, 8, 2): pre-softmax scores, and the maps of all layers on the way."""
    k1, b1 = (w.astype(float) for w in model.get_weights()[:2])
    a1 = convolve(np.pad(x, ((1, 1), (1, 1), (0, 0))), k1) + b1
    a2 = np.tanh(a1)
    a3 = a2.reshape(4, 2, 4, 2, 3).mean((1, 3))
    return {"conv1": a1, "tanh": a2, "pool": a3, **tail(model, a3)}


def tail(model, a3):
    _, _, k2, b2, k3, b3 = (w.astype(float) for w in model.get_weights())
    a4 = np.tanh(convolve(a3, k2) + b2)
    return {"conv2": a4, "scores": a4.reshape(-1) @ k3 + b3}


def convolve(x, k):
    h, w = x.shape[0] - k.shape[0] + 1, x.shape[1] - k.shape[1] + 1
    return np.array(
        [[np.tensordot(x[i : i + k.shape[0], j : j + k.shape[1]], k, 3) for j in range(w)] for i in range(h)]
    )


def differences(f, x, step=1e-6):
    """Gradient of a scalar function by central differences."""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (f(up) - f(down)) / (2 * step)
    return gradient


def turned(image, data_format):
    return np.moveaxis(image, -1, 0) if data_format == "channels_first" else image


# --- feature maps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_feature_maps_as_numpy_computes_them(data_format):
    model = image_net(data_format)
    found = tc.viz.feature_maps(model, turned(IMAGE, data_format))
    assert list(found) == ["conv1", "tanh", "pool", "conv2"], "those that are images, in order"
    for name, expected in forward(model, IMAGE).items():
        if name in found:
            np.testing.assert_allclose(found[name][0], expected, atol=1e-12)
    chosen = tc.viz.feature_maps(model, turned(IMAGE, data_format), ["top", 0, model.layers[2]])
    assert list(chosen) == ["conv1", "pool", "top"]
    assert chosen["top"].shape == (1, 3)


def test_feature_maps_in_batches_leave_no_trace():
    model = image_net()
    images = RNG.standard_normal((5, 8, 8, 2))
    whole, parts = (tc.viz.feature_maps(model, images, "conv2", batch_size=n)["conv2"] for n in (32, 2))
    np.testing.assert_allclose(whole, parts, rtol=1e-12)
    assert not any("call" in vars(layer) for layer in (model, *model.layers))
    with pytest.raises(ValueError, match="axis"):
        tc.viz.feature_maps(model, np.zeros((1, 8, 8, 3)))
    assert not any("call" in vars(layer) for layer in (model, *model.layers)), "nor after an error"


def test_feature_maps_of_nested_functional_and_subclassed_models():
    inner = image_net(name="inner")
    x = tc.Input((8, 8, 2), dtype="float64")
    outer = tc.Model(x, L.Dense(2, dtype="float64")(inner(L.ReLU(name="first", dtype="float64")(x))))
    expected = forward(inner, np.maximum(IMAGE, 0))["conv2"]
    for name in ("conv2", "inner/conv2"):
        (found,) = tc.viz.feature_maps(outer, IMAGE, name).values()
        np.testing.assert_allclose(found[0], expected, atol=1e-12)
    assert list(tc.viz.feature_maps(outer, IMAGE, name)) == ["inner/conv2"]
    own = Residual()
    own(np.zeros((1, 4, 4, 1)))
    gray = RNG.random((4, 4)).astype("float32")
    found = tc.viz.feature_maps(own, gray)
    assert list(found) == ["first", "drop", "second"]
    np.testing.assert_array_equal(found["first"], own.first(gray[None, ..., None]).numpy())


def test_layers_that_cannot_be_found():
    model = image_net()
    with pytest.raises(ValueError, match="has layers \\['conv1', .*Received: 'conv3'"):
        tc.viz.feature_maps(model, IMAGE, "conv3")
    with pytest.raises(ValueError, match="has 6 layers. Received: index 6"):
        tc.viz.feature_maps(model, IMAGE, 6)
    with pytest.raises(ValueError, match="has no such layer"):
        tc.viz.feature_maps(model, IMAGE, L.Dense(1))
    x = tc.Input((8, 8, 2), dtype="float64")
    twice = tc.Model(x, [image_net(name="a")(x), image_net(name="b")(x)])
    with pytest.raises(ValueError, match="several layers of this name: \\['a/conv1', 'b/conv1'\\]"):
        tc.viz.feature_maps(twice, IMAGE, "conv1")


@pytest.mark.parametrize("shape", [(2, 8, 8), (8,), (8, 8)])
def test_bad_images(shape):
    with pytest.raises(ValueError, match="Received: shape"):
        tc.viz.grad_cam(image_net(), np.zeros(shape))
    with pytest.raises(TypeError, match="arrays of numbers"):
        tc.viz.feature_maps(image_net(), "cat.png")


# --- receptive fields ------------------------------------------------------------------------------------------


@st.composite
def stacks(draw):
    """Convolutions and poolings, sometimes in two branches, on images large enough for all of them."""
    x = y = tc.Input((40, 33, 1), dtype="float64")

    def window(y):
        size = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
        kind = draw(st.sampled_from(["conv", "dilated", "average", "pad", "crop", "relu", "operation"]))
        padding = draw(st.sampled_from(["same", "valid"]))
        if kind == "conv":
            return L.Conv2D(1, size, draw(st.integers(1, 2)), padding, kernel_initializer="ones", dtype="float64")(y)
        if kind == "dilated":
            return L.Conv2D(1, size, 1, padding, dilation_rate=2, kernel_initializer="ones", dtype="float64")(y)
        if kind == "average":
            step = draw(st.integers(1, 2))
            return L.AveragePooling2D(size, step, padding, count_include_pad=True, dtype="float64")(y)
        if kind == "pad":
            return L.ZeroPadding2D(((1, 0), (2, 1)), dtype="float64")(y)
        if kind == "operation":
            return 2 * tc.ops.relu(y)
        return L.Cropping2D(((1, 0), (0, 2)), dtype="float64")(y) if kind == "crop" else L.ReLU(dtype="float64")(y)

    for _ in range(draw(st.integers(1, 3))):
        y = window(y)
    if draw(st.booleans()):
        branch = L.Conv2D(1, 3, padding="same", kernel_initializer="ones", dtype="float64")(y)
        y = y + branch if draw(st.booleans()) else L.Add(dtype="float64")([y, branch])
    return tc.Model(x, y)


@settings(max_examples=40, deadline=None)
@given(stacks(), st.data())
def test_receptive_fields_are_the_pixels_with_a_gradient(model, data):
    """All weights are 1 and all inputs positive: exactly the pixels of the field change a cell of the output."""
    rows, columns = model.output_shape[1:3]
    i, j = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    x = tc.Tensor(np.ones((1, 40, 33, 1)), requires_grad=True)
    found = tc.grad(model(x)[0, i, j, 0], [x], allow_unused=True)[0]
    pixels = np.zeros((40, 33)) if found is None else found.numpy()[0, ..., 0]
    field = tc.viz.receptive_field(model, model.output.call.layer)
    inside = np.zeros((40, 33), bool)
    inside[tuple(slice(max(s.start, 0), max(s.stop, 0)) for s in field.at(i, j))] = True
    assert not pixels[~inside].any(), "no pixel outside counts"
    if pixels.any() and not any(isinstance(layer, L.Conv2D) and 2 in layer.dilation_rate for layer in model.layers):
        holes = any(max(np.array(w.strides) - w.window) > 0 for w in map(Holes, model.layers))
        if not holes:
            assert pixels[inside].all(), "and all inside do"


class Holes:
    """Strides beyond the window leave pixels out."""

    def __init__(self, layer):
        self.window = np.array(getattr(layer, "kernel_size", getattr(layer, "pool_size", (9, 9))))
        self.strides = getattr(layer, "strides", (1, 1))


def test_receptive_fields_of_known_networks():
    """AlexNet's and VGG16's fields as published (Araujo et al. 2019, table 1, of the layers before the classifier)."""
    vgg = tc.Sequential([tc.Input((224, 224, 3))])
    for convolutions in (2, 2, 3, 3, 3):
        for _ in range(convolutions):
            vgg.add(L.Conv2D(1, 3, padding="same"))
        vgg.add(L.MaxPooling2D(2))
    assert tc.viz.receptive_field(vgg, -1).size == (212, 212)
    assert tc.viz.receptive_field(vgg, -1).step == (32, 32)
    alexnet = tc.Sequential(
        [tc.Input((227, 227, 3)), L.Conv2D(1, 11, 4), L.MaxPooling2D(3, 2), L.Conv2D(1, 5, padding="same")]
        + [L.MaxPooling2D(3, 2)] + [L.Conv2D(1, 3, padding="same") for _ in range(3)] + [L.MaxPooling2D(3, 2)]
    )  # fmt: skip
    assert tc.viz.receptive_field(alexnet, -1).size == (195, 195)


def test_units_see_everything_and_unknown_layers_say_so():
    assert tc.viz.receptive_field(inception(), "top") == ((0, 0), (0, 0), (7, 7))
    assert tc.viz.receptive_field(inception(), "a_concat").size == (5, 5)
    odd = tc.Sequential([tc.Input((8, 8, 1)), L.UpSampling2D(2, name="up"), L.Conv2D(1, 3)])
    with pytest.raises(ValueError, match="unknown which pixels layer 'up' looks at. Received: a layer of class UpSamp"):
        tc.viz.receptive_field(odd, 1)
    x = tc.Input((8, 8, 1))
    moved = tc.Model(x, L.Conv2D(1, 3, name="behind")(tc.ops.roll(x, 1, axis=1)))
    with pytest.raises(ValueError, match="unknown which pixels layer 'roll.*' looks at. Received: an operation roll"):
        tc.viz.receptive_field(moved, "behind")


# --- patches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_per_image", [True, False])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_patches_by_brute_force(data_format, one_per_image):
    """Every position of every image: its value, and the crop of a generously padded image around it."""
    model = image_net(data_format)
    images = RNG.standard_normal((6, 8, 8, 2))
    k, reach = 4, 6  # a 3x3 window on means of 2x2 of a 3x3 window: pixels 2i - 1 .. 2i + 6
    given_images = np.array([turned(image, data_format) for image in images])
    found = tc.viz.top_patches(model, "conv2", given_images, k, one_per_image=one_per_image, batch_size=4)
    assert found.patches.shape == (4, k, 8, 8, 2)
    maps = np.array([forward(model, image)["conv2"] for image in images])
    padded = np.pad(images, ((0, 0), (1, reach), (1, reach), (0, 0)))
    for f in range(4):
        every = [(maps[n, i, j, f], n, i, j) for n, i, j in np.ndindex(maps.shape[:3])]
        every.sort(key=lambda entry: -entry[0])
        if one_per_image:
            every = [entry for place, entry in enumerate(every) if entry[1] not in {e[1] for e in every[:place]}]
        np.testing.assert_allclose(found.activations[f], [entry[0] for entry in every[:k]], atol=1e-12)
        places = np.column_stack([found.images[f], found.positions[f]])
        np.testing.assert_array_equal(places, [entry[1:] for entry in every[:k]])
        for patch, (_, n, i, j) in zip(found.patches[f], every, strict=False):
            np.testing.assert_array_equal(patch, padded[n, 2 * i : 2 * i + 8, 2 * j : 2 * j + 8])


def test_patches_few_images_chosen_filters_and_ties():
    model = image_net()
    found = tc.viz.top_patches(model, "conv2", np.stack([IMAGE] * 3), filters=[2, 0])
    assert found.images.tolist() == [[0, 1, 2]] * 2, "of equal ones the first comes first"
    assert found.patches.shape == (2, 3, 8, 8, 2)
    units = tc.viz.top_patches(model, "top", np.stack([IMAGE, 2 * IMAGE]), k=2)
    order = np.argsort(-tc.viz.feature_maps(model, np.stack([IMAGE, 2 * IMAGE]), "top")["top"], axis=0).T
    np.testing.assert_array_equal(units.images, order)
    np.testing.assert_array_equal(units.patches, np.stack([IMAGE, 2 * IMAGE])[order], "units see whole images")
    for options, message in (
        ({"k": 0}, "k must be"), ({"filters": [4]}, r"some of 0..3. Received: \[4\]"),
        ({"filters": []}, r"some of 0..3. Received: \[\]"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            tc.viz.top_patches(model, "conv2", IMAGE[None], **options)
    with pytest.raises(ValueError, match="at least one image"):
        tc.viz.top_patches(model, "conv2", np.zeros((0, 8, 8, 2)))


# --- Grad-CAM and saliency -------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("class_index", [0, 2, None])
def test_saliency_by_finite_differences(data_format, class_index):
    model = image_net(data_format)
    index = int(forward(model, IMAGE)["scores"].argmax()) if class_index is None else class_index
    expected = np.abs(differences(lambda x: forward(model, x)["scores"][index], IMAGE)).max(-1)
    found = tc.viz.saliency(model, turned(IMAGE, data_format), class_index)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("layer", ["pool", "conv2", None])
def test_grad_cam_by_finite_differences(data_format, layer):
    """Equations 1 and 2 of the paper in NumPy, enlarged by OpenCV."""
    model = image_net(data_format)
    maps = forward(model, IMAGE)
    for index in range(3):
        if layer == "pool":
            a, gradient = maps["pool"], differences(lambda a, i=index: tail(model, a)["scores"][i], maps["pool"])
        else:
            top = model.get_weights()[4].astype(float)
            a, gradient = maps["conv2"], top[:, index].reshape(maps["conv2"].shape)
        heat = np.maximum(a @ gradient.mean((0, 1)), 0)
        heat = cv2.resize(heat, (8, 8), interpolation=cv2.INTER_LINEAR)
        expected = heat / heat.max() if heat.max() > 0 else heat
        found = tc.viz.grad_cam(model, turned(IMAGE, data_format), index, layer)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_scores_are_those_before_softmax_and_sigmoid():
    """Five ways to end in probabilities, and none: one map."""
    weights = image_net().get_weights()

    def ending(*layers):
        model = tc.Sequential([*image_net().layers[:-1], *layers])
        model.set_weights(weights)
        return model

    def dense(activation=None):
        return L.Dense(3, activation=activation, dtype="float64")

    nested = tc.Sequential([tc.Input((8, 8, 2)), ending(dense("softmax")), L.Dropout(0.5, dtype="float64")])
    x = tc.Input((8, 8, 2), dtype="float64")
    operation = tc.Model(x, tc.ops.softmax(ending(dense())(x), axis=-1))
    models = [
        ending(dense()), ending(dense("softmax")), ending(dense("sigmoid")),
        ending(dense(), L.Activation("softmax", dtype="float64")), ending(dense(), L.Softmax(dtype="float64")), nested,
        operation,
    ]  # fmt: skip
    first, *others = [tc.viz.saliency(model, IMAGE, 1) for model in models]
    assert first.max() > 0
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-10)
    for model in models[1:]:
        assert "call" not in vars(model.layers[-1])
    scores = forward(models[0], IMAGE)["scores"]
    for model in (models[1], *models[3:]):
        softmax = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(model(IMAGE[None]).numpy()[0], softmax, rtol=1e-10, err_msg="as before")
    np.testing.assert_allclose(models[2](IMAGE[None]).numpy()[0], 1 / (1 + np.exp(-scores)), rtol=1e-10)


def test_the_default_layer_is_the_last_convolution_with_its_activation():
    first = [tc.Input((8, 8, 1)), L.Conv2D(2, 3, name="a"), L.Conv2D(3, 3, name="b"), L.BatchNormalization()]
    model = tc.Sequential([*first, L.Activation("relu", name="relu"), L.MaxPooling2D(2), L.Flatten(), L.Dense(2)])
    image = RNG.standard_normal((8, 8)).astype("float32")
    np.testing.assert_array_equal(tc.viz.grad_cam(model, image, 1), tc.viz.grad_cam(model, image, 1, "relu"))
    assert (tc.viz.grad_cam(model, image, 1) != tc.viz.grad_cam(model, image, 1, "a")).any()
    *_, pool, flatten, dense = model.layers
    by_operation = tc.Model(model.input, dense(flatten(pool(tc.ops.relu(model.layers[-5].output)))))
    np.testing.assert_array_equal(tc.viz.grad_cam(by_operation, image, 1), tc.viz.grad_cam(model, image, 1))


def test_frozen_models_no_grad_and_repetition():
    model = image_net()
    free = tc.viz.grad_cam(model, IMAGE, 1), tc.viz.saliency(model, IMAGE, 1)
    model.trainable = False
    with tc.no_grad():
        frozen = tc.viz.grad_cam(model, IMAGE, 1), tc.viz.saliency(model, IMAGE, 1)
    for a, b in zip(free, frozen, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(p.grad is None for p in model.weights)


def test_a_class_that_nothing_speaks_for():
    model = image_net()
    model.layers[-1].set_weights([np.zeros((16, 3)), np.zeros(3)])
    np.testing.assert_array_equal(tc.viz.grad_cam(model, IMAGE, 0), np.zeros((8, 8)))
    np.testing.assert_array_equal(tc.viz.saliency(model, IMAGE, 0), np.zeros((8, 8)))


def test_bad_arguments():
    model = image_net()
    for index in (3, -1, True, 1.0):
        with pytest.raises(ValueError, match="class_index must lie in 0..2. Received"):
            tc.viz.saliency(model, IMAGE, index)
    with pytest.raises(ValueError, match="needs a layer whose outputs are images. Received: layer 'top'"):
        tc.viz.grad_cam(model, IMAGE, 0, "top")
    with pytest.raises(ValueError, match="needs a convolution"):
        tc.viz.grad_cam(tc.Sequential([tc.Input((4, 4, 1)), L.Flatten(), L.Dense(2)]), np.zeros((4, 4)))
    with pytest.raises(ValueError, match="one output \\(N, classes\\). Received: \\(1, 6, 6, 1\\)"):
        tc.viz.saliency(tc.Sequential([tc.Input((8, 8, 1)), L.Conv2D(1, 3)]), np.zeros((8, 8)))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 20), st.integers(1, 20))
def test_resize_as_opencv(h, w, oh, ow):
    values = np.random.default_rng(h * 7 + w).random((h, w))
    np.testing.assert_allclose(
        resize(values, (oh, ow)), cv2.resize(values, (ow, oh), interpolation=cv2.INTER_LINEAR), atol=1e-5
    )
