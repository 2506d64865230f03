"""Grids of images, filters, feature maps and patches: what is drawn where, and readable files."""

import cv2
import numpy as np
import pytest

import tinyconv as tc
from tests.viz.models import image_net, inception
from tinyconv.viz.figures import as_picture, mosaic, stretch

L = tc.layers
RNG = np.random.default_rng(3)


def shown(figure, index=0):
    return np.asarray(figure.axes[index].images[0].get_array())


def tile(sheet, row, column, size, gap=1):
    y, x = row * (size[0] + gap) + gap, column * (size[1] + gap) + gap
    return sheet[y : y + size[0], x : x + size[1]]


# --- images ----------------------------------------------------------------------------------------------------


def test_images_with_labels_and_predictions(tmp_path):
    images = RNG.integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
    names = ["cat", "dog", "panda"]
    path = tmp_path / "grid.png"
    figure = tc.viz.plot_images(images, [0, 1, 2, 0, 1], [0, 2, 2, 1, 1], names, columns=3, path=path, title="Animals")
    titles = ["cat", "panda (dog)", "panda", "dog (cat)", "dog"]
    assert [axes.get_title() for axes in figure.axes] == titles
    assert [axes.title.get_color() == "#c00000" for axes in figure.axes] == [" (" in text for text in titles]
    for i, image in enumerate(images):
        np.testing.assert_allclose(shown(figure, i), image / 255)
        spec = figure.axes[i].get_subplotspec()
        assert (spec.rowspan.start, spec.colspan.start) == divmod(i, 3)
    picture = cv2.imread(str(path))
    assert picture.shape[:2] == tuple(round(100 * side) for side in figure.get_size_inches())[::-1]
    assert picture.std() > 10


def test_images_of_different_sizes_names_and_no_labels():
    figure = tc.viz.plot_images([np.zeros((4, 4)), np.ones((2, 5, 1)), np.ones((3, 3, 4))])
    assert [shown(figure, i).shape for i in range(3)] == [(4, 4), (2, 5), (3, 3, 3)]
    assert [axes.get_title() for axes in figure.axes] == ["", "", ""]
    assert tc.viz.plot_images(np.zeros((3, 3)), predictions=["seven"]).axes[0].get_title() == "seven"
    one_hot_free = tc.viz.plot_images(np.zeros((2, 3, 3)), labels=np.array([[1], [0]]), class_names=["a", "b"])
    assert [axes.get_title() for axes in one_hot_free.axes] == ["b", "a"]
    assert tc.viz.plot_images(np.zeros((0, 3, 3))).axes == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [0]}, "labels must be as many as images, 2. Received: 1"),
        ({"labels": [0, 3], "class_names": ["a"]}, "must name class 3. Received: 1 names"),
        ({"labels": np.eye(2)}, "one integer or name per image"),
        ({"columns": 0}, "columns must be at least 1. Received: 0"),
    ],
)
def test_bad_images(options, message):
    with pytest.raises(ValueError, match=message):
        tc.viz.plot_images(np.zeros((2, 4, 4)), **options)
    with pytest.raises(ValueError, match="must have shape.*Received: \\(4, 4, 2\\)"):
        tc.viz.plot_images(np.zeros((1, 4, 4, 2)))


def test_range_of_pictures():
    np.testing.assert_array_equal(as_picture(np.array([[0, 51]], np.uint8)), [[0, 0.2]])
    np.testing.assert_array_equal(as_picture([[0.2, 0.7]]), [[0.2, 0.7]])
    np.testing.assert_array_equal(as_picture([[-2.0, 0.0, 2.0]]), [[0, 0.5, 1]])
    np.testing.assert_array_equal(stretch(np.array([3.0, 3.0])), [0.5, 0.5])
    np.testing.assert_array_equal(stretch(np.array([np.nan, 1.0, 2.0])), [0, 0, 1])
    sheet = mosaic(np.arange(1, 4).reshape(3, 1, 1) / 10, 2, gap=1, between=0)
    np.testing.assert_array_equal(
        sheet, [[0, 0, 0, 0, 0], [0, 0.1, 0, 0.2, 0], [0, 0, 0, 0, 0], [0, 0.3, 0, 0, 0], [0, 0, 0, 0, 0]]
    )


# --- filters, maps, patches ------------------------------------------------------------------------------------


def test_filters_in_colour():
    """AlexNet's first layer, of whose 96 filters the document shows 81."""
    layer = L.Conv2D(96, 11, name="conv1")
    layer(np.zeros((1, 11, 11, 3)))
    figure = tc.viz.plot_filters(layer)
    sheet, kernel = shown(figure), layer.kernel.numpy()
    assert sheet.shape == (9 * 12 + 1, 9 * 12 + 1, 3)
    assert figure.axes[0].get_title() == "conv1: 81 of 96 kernels of 11 x 11"
    for f in (0, 13, 80):
        k = kernel[..., f].astype(float)
        expected = (k - k.min()) / (k.max() - k.min())
        np.testing.assert_allclose(tile(sheet, f // 9, f % 9, (11, 11)), expected)


def test_filters_on_many_channels_and_of_each_channel():
    layer = L.Conv2D(4, (3, 5))
    layer(np.zeros((1, 8, 8, 6)))
    sheet, kernel = shown(tc.viz.plot_filters(layer)), layer.kernel.numpy().astype(float)
    assert sheet.shape == (4 * 4 + 1, 6 * 6 + 1), "a row per filter, a column per channel"
    np.testing.assert_allclose(tile(sheet, 2, 5, (3, 5)), 0.5 + 0.5 * kernel[:, :, 5, 2] / np.abs(kernel).max())
    for each in (L.DepthwiseConv2D(3, depth_multiplier=2), L.SeparableConv2D(7, 3, depth_multiplier=2)):
        each(np.zeros((1, 8, 8, 3)))
        sheet, kernel = shown(tc.viz.plot_filters(each, columns=6)), each.depthwise_kernel.numpy().astype(float)
        assert sheet.shape == (5, 6 * 4 + 1)
        np.testing.assert_allclose(tile(sheet, 0, 5, (3, 3)), 0.5 + 0.5 * kernel[:, :, 2, 1] / np.abs(kernel).max())
    zero = L.Conv2D(1, 3, kernel_initializer="zeros")
    zero(np.zeros((1, 4, 4, 1)))
    assert (tile(shown(tc.viz.plot_filters(zero)), 0, 0, (3, 3)) == 0.5).all()
    for wrong, message in ((L.Conv2D(1, 3), "no weights yet"), (L.Flatten(), "no weights yet|Flatten")):
        with pytest.raises(ValueError, match=message):
            tc.viz.plot_filters(wrong)


def test_activations(tmp_path):
    model, image = image_net(), RNG.standard_normal((8, 8, 2))
    figure = tc.viz.plot_activations(model, image, ["conv1", "conv2"], path=tmp_path / "maps.pdf")
    assert [axes.get_title() for axes in figure.axes] == ["conv1: 3 maps of 8 x 8", "conv2: 4 maps of 2 x 2"]
    maps = tc.viz.feature_maps(model, image, "conv1")["conv1"][0]
    for c in range(3):
        expected = (maps[..., c] - maps[..., c].min()) / np.ptp(maps[..., c])
        np.testing.assert_allclose(tile(shown(figure), c // 2, c % 2, (8, 8)), expected)
    assert (tmp_path / "maps.pdf").read_bytes().startswith(b"%PDF")
    limited = tc.viz.plot_activations(model, image, 3, max_maps=2, columns=1)
    assert limited.axes[0].get_title() == "conv2: 2 of 4 maps of 2 x 2"
    assert shown(limited).shape == (7, 4)
    with pytest.raises(ValueError, match="outputs are images. Received: \\['top'\\]"):
        tc.viz.plot_activations(model, image, "top")
    assert len(tc.viz.plot_activations(inception(), np.zeros((8, 8, 4))).axes) == 16


def test_many_layers_stay_within_what_viewers_take(tmp_path, monkeypatch):
    monkeypatch.setattr("tinyconv.viz.figures.LARGEST", 900)
    model = tc.Sequential([tc.Input((6, 6, 1)), *(L.Conv2D(2, 3, padding="same") for _ in range(8))])
    path = tmp_path / "maps.png"
    figure = tc.viz.plot_activations(model, np.ones((6, 6)), path=path)
    assert max(figure.get_size_inches()) * figure.dpi > 2000
    assert 700 < max(cv2.imread(str(path)).shape) <= 900


def test_top_patches_as_blocks_of_nine():
    model = tc.Sequential([tc.Input((6, 6, 3)), L.Conv2D(4, 3, activation="relu", name="conv")])
    images = RNG.random((12, 6, 6, 3)).astype("float32")
    sheet = shown(tc.viz.plot_top_patches(model, "conv", images, filters=[1, 3]))
    patches = tc.viz.top_patches(model, "conv", images, filters=[1, 3]).patches
    block = 3 * 4 + 1
    for f in range(2):
        for i in range(9):
            own = tile(sheet, 0, f, (block, block), gap=2)
            np.testing.assert_allclose(tile(own, i // 3, i % 3, (3, 3)), patches[f, i])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_maps_over_an_image(tmp_path, data_format):
    shape = (1, 8, 8) if data_format == "channels_first" else (8, 8, 1)
    model = tc.Sequential(
        [L.Conv2D(2, 3, data_format=data_format, input_shape=shape), L.Flatten(), L.Dense(3, activation="softmax")]
    )
    image = RNG.random(shape).astype("float32")
    path = tmp_path / "cam.png"
    figure = tc.viz.plot_grad_cam(model, image, 2, class_names=["a", "b", "c"], path=path)
    assert [axes.get_title() for axes in figure.axes] == ["image", "Grad-CAM of c"]
    np.testing.assert_allclose(shown(figure), image.reshape(8, 8), rtol=1e-6)
    assert len(figure.axes[1].images) == 2, "the map lies over the image"
    np.testing.assert_allclose(figure.axes[1].images[1].get_array(), tc.viz.grad_cam(model, image, 2))
    assert cv2.imread(str(path)).std() > 10
    figure = tc.viz.plot_saliency(model, image)
    assert figure.axes[1].get_title() == "saliency of the predicted class"
    values = tc.viz.saliency(model, image)
    np.testing.assert_allclose(shown(figure, 1), values / values.max())


def test_without_matplotlib_only_drawing_fails(monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    model = image_net()
    assert tc.viz.to_dot(model).startswith("digraph")
    assert tc.viz.saliency(model, np.ones((8, 8, 2)), 0).shape == (8, 8)
    for draw in (
        lambda: tc.viz.plot_images(np.zeros((1, 2, 2))),
        lambda: tc.viz.plot_history({"loss": [1.0]}),
        lambda: tc.viz.plot_model(model, None),
    ):
        with pytest.raises(ModuleNotFoundError, match="pip install matplotlib"):
            draw()


@pytest.mark.parametrize("count", [1, 2, 10])
def test_long_titles_stay_within_their_image(count, tmp_path):
    """As drawn: no title leaves the figure, meets another one, or lies on an image."""
    names = ["a class with a long name", "another class, whose name is still longer", "incomprehensibilities"]
    truth, path = [i % 3 for i in range(count)], tmp_path / "images.png"
    title = "Images with names of classes, some of which are long"
    figure = tc.viz.plot_images(np.zeros((count, 8, 8)), truth, [0] * count, names, path=path, title=title)
    boxes = [text.get_window_extent() for text in (figure._suptitle, *(axes.title for axes in figure.axes))]
    assert max(box.y1 for box in boxes) <= figure.bbox.height
    width = figure.bbox.width
    assert all(box.x0 >= 0 and box.x1 <= width for box in boxes)
    drawn = [axes.get_window_extent() for axes in figure.axes]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in [*boxes[:i], *drawn])


def test_long_names_of_classes_stay_within_a_map(tmp_path):
    name = "a class whose name is so long that it needs more lines than one above its image"
    names, path = ["other", name, "third"], tmp_path / "map.png"
    figure = tc.viz.plot_saliency(image_net(dtype="float32"), np.ones((8, 8, 2)), 1, names, path)
    box = figure.axes[1].title.get_window_extent()
    assert figure.axes[1].get_title().replace("\n", " ") == f"saliency of {name}"
    assert (box.x0 >= 0, box.x1 <= figure.bbox.width, box.y1 <= figure.bbox.height) == (True, True, True)


def test_white_patches_stand_apart():
    """Between the patches of a filter lies gray, so that edges of white ones are seen; between filters, white."""
    figure = tc.viz.plot_top_patches(image_net(dtype="float32"), "conv1", np.ones((9, 8, 8, 2)), filters=[0])
    sheet = shown(figure)
    assert (sheet[0] == 1).all()
    assert (sheet[2, 2:-2] == 0.5).all()
    assert (sheet[4, 3:6] == 1).all()
