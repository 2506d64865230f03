"""Patches that filters like best: on photos in which it is known where they are."""

import cv2
import numpy as np
import pytest

import tinyconv as tc
from examples import what_filters_see as program


def test_quick(tmp_path, capsys):
    found = program.main(["--quick", "--output", str(tmp_path), "--filters", "2", "--photos", "9"])
    assert list(found) == list(program.VGG_LAYERS)
    assert [len(blocks) for blocks in found.values()] == [2] * 5
    said = capsys.readouterr().out
    for name, side in zip(program.VGG_LAYERS, (5, 14, 40, 92, 196), strict=True):  # 3 + 2; (5 + 1) + 2 x 4; ...
        assert f"{name}: patches of {side}x{side} pixels, 2 filters" in said
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "first_layer.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("scaling", ["imagenet", "0..1"])
def test_colours_come_back(scaling):
    photos = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    colours = program.as_colours(program.scaled(photos, scaling), scaling)
    np.testing.assert_allclose(colours, photos / 255, atol=1e-6)


def test_blocks():
    patches = np.arange(9)[None, :, None, None, None] / 10 * np.ones((1, 9, 2, 2, 3))
    (block,) = program.blocks(patches)
    assert block.shape == (9, 9, 3)
    assert block[::3, ::3, 0].ravel().tolist() == [i / 10 for i in range(9)]
    assert (block[2::3] == 1).all()
    few = program.blocks(patches[:, :4])[0]
    assert few[::3, ::3, 0].ravel().tolist() == [0, 0.1, 0.2, 0.3, 1, 1, 1, 1, 1]


def animals(folder):
    """Nine photos of 12x12: black, with one red and one blue spot of 3x3, red spots brighter from photo to photo."""
    for name in ("cats", "dogs", "panda"):
        (folder / name).mkdir()
    for number in range(9):
        photo = np.zeros((12, 12, 3), np.uint8)
        photo[2:5, 6:9, 2] = 20 * number + 50  # BGR
        photo[8:11, 1:4, 0] = 255
        cv2.imwrite(str(folder / ("cats", "dogs", "panda")[number % 3] / f"{number}.png"), photo)
    return folder


def network(path):
    """One convolution of 3x3 that answers to red (filter 0) and to blue (filter 1)."""
    model = tc.Sequential([tc.layers.Input((12, 12, 3)), tc.layers.Conv2D(2, 3, name="spots")])
    kernel = np.zeros((3, 3, 3, 2), np.float32)
    kernel[:, :, 0, 0] = kernel[:, :, 2, 1] = 1
    model.set_weights([kernel, np.zeros(2, np.float32)])
    model.save(path)
    return path


def test_spots_are_found(tmp_path):
    file = network(tmp_path / "spots.tinyconv")
    arguments = ["-d", str(animals(tmp_path)), "-m", str(file), "--scaling", "0..1", "-o", str(tmp_path / "out")]
    red, blue = program.main(arguments)["spots"]
    assert red.shape == (12, 12, 3)  # nine patches of 3x3, with a line of white after each
    np.testing.assert_allclose(red[::4, ::4, 0].ravel() * 255, [20 * n + 50 for n in range(8, -1, -1)], rtol=1e-5)
    assert not red[:3, :3, 1:].any()
    assert (blue[:3, :3] == (0, 0, 1)).all()


def test_first_layer_of_a_network_that_takes_bgr(tmp_path):
    model = tc.load_model(network(tmp_path / "spots.tinyconv"))
    kernel = program.first_layer(model, "imagenet").get_weights()[0]
    np.testing.assert_array_equal(kernel[:, :, ::-1], model.get_weights()[0])
    assert program.first_layer(model, "0..1") is model.layers[0]


def test_wrong_networks(tmp_path):
    gray = tc.applications.LeNet.build(28, 28, 1, 10)
    gray.save(tmp_path / "gray.tinyconv")
    with pytest.raises(SystemExit, match=r"expected a network on colour photos"):
        program.main(["-m", str(tmp_path / "gray.tinyconv"), "-d", str(tmp_path), "-o", str(tmp_path)])
    tc.Sequential([tc.layers.Flatten(input_shape=(4, 4, 3)), tc.layers.Dense(2)]).save(tmp_path / "dense.tinyconv")
    with pytest.raises(SystemExit, match=r"expected a network on colour photos"):
        program.main(["-m", str(tmp_path / "dense.tinyconv"), "-d", str(tmp_path), "-o", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"with nothing. Received: .*block5_conv3"):
        program.main(["--quick", "--layers", "nothing", "-o", str(tmp_path)])
