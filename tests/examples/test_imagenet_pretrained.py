"""Classification by networks for ImageNet: preparation beside Pillow and the published formulas, output, errors."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

import tinyconv as tc
from examples import imagenet_pretrained as program

COLOURS = np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(COLOURS).save(path)
    return path


@pytest.fixture
def classes(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({str(i): [f"n{i:08d}", f"name{i}"] for i in range(1000)}))
    return path


@pytest.mark.parametrize(("name", "size"), [("vgg16", 224), ("resnet", 224), ("inception", 299), ("xception", 299)])
def test_preparation(name, size, photo):
    resized = np.asarray(Image.open(photo).resize((size, size), Image.Resampling.NEAREST), np.float64)
    expected = resized / 127.5 - 1 if size == 299 else resized[..., ::-1] - [103.939, 116.779, 123.68]
    batch = program.load_photo(photo, program.NETWORKS[name])
    assert batch.shape == (1, size, size, 3)
    np.testing.assert_allclose(batch[0], expected, atol=1e-4)


def test_the_five_best_are_printed_and_drawn(photo, classes, tmp_path, capsys):
    """A network whose classifier sees biases only: probabilities follow from them."""
    model = tc.applications.MobileNet(weights=None)
    kernel, bias = model.get_layer("conv_preds").get_weights()
    bias[[3, 1, 4, 15, 9]] = np.log([4000, 3000, 2000, 1000, 500])
    model.get_layer("conv_preds").set_weights([np.zeros_like(kernel), bias])
    model.save_weights(tmp_path / "mobilenet.weights.tinyconv")
    best = program.main(
        ["-i", str(photo), "-model", "mobilenet", "--weights", str(tmp_path / "mobilenet.weights.tinyconv"),
         "--classes", str(classes), "-o", str(tmp_path / "out")]
    )  # fmt: skip
    total = 4000 + 3000 + 2000 + 1000 + 500 + 995
    assert [(number, label) for number, label, _ in best[:2]] == [("n00000003", "name3"), ("n00000001", "name1")]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "[INFO] loading mobilenet", "[INFO] loading and pre-processing image...",
        "[INFO] classifying image with 'mobilenet'...",
    ]  # fmt: skip
    expected = [(3, 4000), (1, 3000), (4, 2000), (15, 1000), (9, 500)]
    assert lines[3:8] == [f"{i}: name{k}: {100 * n / total:.2f}%" for i, (k, n) in enumerate(expected, 1)]
    drawn = cv2.imread(str(tmp_path / "out" / "photo_mobilenet.png"))
    text = cv2.putText(
        COLOURS[..., ::-1].copy(), "Label: name3", (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 255, 0), 2
    )
    np.testing.assert_array_equal(drawn, text)


def test_quick(tmp_path):
    best = program.main(["--quick", "--model", "mobilenet_v2", "--output", str(tmp_path)])
    assert len(best) == 5
    assert [p for *_, p in best] == sorted((p for *_, p in best), reverse=True)
    assert (tmp_path / "picture_mobilenet_v2.png").is_file()


def test_wrong_arguments(photo, capsys):
    for arguments, message in (([], "expected a photo to classify"), (["--model", "lenet"], "invalid choice: 'lenet'")):
        with pytest.raises(SystemExit) as end:
            program.main(arguments)
        assert end.value.code == 2
        assert message in capsys.readouterr().err


def test_missing_and_wrong_files(photo, classes, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYCONV_HOME", str(tmp_path / "home"))
    output = ["--output", str(tmp_path / "out")]
    with pytest.raises(FileNotFoundError, match="expected a photo for --image. Received: .*none.jpg"):
        program.main(["-i", str(tmp_path / "none.jpg"), *output])
    with pytest.raises(FileNotFoundError, match="resnet50_weights_tf_dim_ordering_tf_kernels.h5"):
        program.main(["-i", str(photo), "--model", "resnet", *output])
    with pytest.raises(SystemExit, match=r"\[ERROR\] weights must be None .*which is no file"):
        program.main(["-i", str(photo), "--model", "mobilenet", "--weights", "none.h5", *output])
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    model = tc.applications.MobileNet(weights=None)
    model.save_weights(tmp_path / "weights.tinyconv")
    weights = ["--model", "mobilenet", "--weights", str(tmp_path / "weights.tinyconv")]
    with pytest.raises(SystemExit, match=r"\[ERROR\] .*broken.jpg"):
        program.main(["-i", str(broken), *weights, *output])
    with pytest.raises(FileNotFoundError, match=r"list of ImageNet's classes.*imagenet_class_index.json"):
        program.main(["-i", str(photo), *weights, *output])
    with pytest.raises(SystemExit, match="cannot be loaded"):
        program.main(["-i", str(photo), "--model", "mobilenet_v2", *weights[2:], *output])
    assert not list((tmp_path / "out").iterdir())
