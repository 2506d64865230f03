"""Pictures of networks as files: their names, forms and contents."""

import cv2
import pytest

import tinyconv as tc
from examples import visualize_architecture


def test_lenet_by_default(tmp_path, capsys):
    pictures = visualize_architecture.main(["--output", str(tmp_path / "new")])
    assert pictures == [tmp_path / "new" / "lenet.png"]
    assert "1,256,080" in capsys.readouterr().out
    height, width = cv2.imread(str(pictures[0])).shape[:2]
    assert height > 2 * width  # twelve boxes, one below the other


def test_formats_and_direction(tmp_path):
    (drawn,) = visualize_architecture.main(["shallownet", "--left-to-right", "--no-shapes", "--output", str(tmp_path)])
    height, width = cv2.imread(str(drawn)).shape[:2]
    assert width > 2 * height
    (svg,) = visualize_architecture.main(["shallownet", "--format", "svg", "--output", str(tmp_path)])
    assert svg.name == "shallownet.svg"
    assert "<svg" in svg.read_text()


def test_model_files(tmp_path, capsys):
    model = tc.Sequential([tc.layers.Dense(3, input_shape=(4,))])
    model.save(tmp_path / "mine.tinyconv")
    pictures = visualize_architecture.main([str(tmp_path / "mine.tinyconv"), "--output", str(tmp_path)])
    assert pictures == [tmp_path / "mine.png"]
    assert cv2.imread(str(pictures[0])) is not None
    assert " 15 " in capsys.readouterr().out


def test_all_names_every_network():
    args = visualize_architecture.parse_arguments(["all"])
    assert args.network == list(visualize_architecture.NETWORKS)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("lenet5", 61_740), ("minivggnet", 2_171_178), ("minivggnet_without_bn", 2_168_362), ("googlenet", 6_998_552),
        ("resnet34", 21_814_696), ("squeezenet_1.0", 1_248_424), ("squeezenet_1.1", 1_235_496),
    ],
)
def test_networks_are_those_of_the_documents(name, parameters):
    assert visualize_architecture.NETWORKS[name]().count_params() == parameters


def test_every_network_has_a_picture_of_its_own(tmp_path):
    names = ["squeezenet_1.0", "squeezenet_1.1"]
    pictures = visualize_architecture.main([*names, "--no-shapes", "--output", str(tmp_path)])
    assert [path.name for path in pictures] == [f"{name}.png" for name in names]


def test_unknown_network(capsys):
    with pytest.raises(SystemExit) as end:
        visualize_architecture.main(["lenet", "lenet6"])
    assert end.value.code == 2
    assert "or a model file, received lenet6" in capsys.readouterr().err
