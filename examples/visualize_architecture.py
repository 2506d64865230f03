"""Draw networks: a box for each layer, with the shapes that go in and come out.

The book draws LeNet into ``lenet.png``; other networks, or models from files, are drawn when they are named. The
drawing does not need Graphviz, but uses it where it is installed. Networks of hundreds of layers are best drawn as SVG
or PDF: as PNG they are shrunk to the largest possible picture.

Where the documents err about these networks, the function that makes a network says so. One of them takes Inception v3
for the winner of ImageNet's challenge of 2015, which was ResNet.

    python -m examples.visualize_architecture                                # lenet.png
    python -m examples.visualize_architecture minivggnet resnet50 model.tinyconv --format svg
    python -m examples.visualize_architecture all --output runs/networks
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tinyconv as tc
from examples import common

NETS = tc.applications
NETWORKS: dict[str, Callable[[], Any]] = {
    "shallownet": lambda: NETS.ShallowNet.build(32, 32, 3, 10),
    "lenet": lambda: NETS.LeNet.build(28, 28, 1, 10),
    "lenet5": lambda: NETS.LeNet5.build(32, 32, 1, 10),
    "minivggnet": lambda: NETS.MiniVGGNet.build(32, 32, 3, 10),
    "minivggnet_without_bn": lambda: NETS.MiniVGGNet.build(32, 32, 3, 10, batch_norm=False),
    "alexnet": lambda: NETS.AlexNet(weights=None),
    "vgg16": lambda: NETS.VGG16(weights=None),
    "vgg19": lambda: NETS.VGG19(weights=None),
    "googlenet": lambda: NETS.GoogLeNet(weights=None),
    "se_googlenet": lambda: NETS.GoogLeNet(weights=None, squeeze_excite=True),
    "inception_v3": lambda: NETS.InceptionV3(weights=None),
    "resnet18": lambda: NETS.ResNet18(weights=None),
    "resnet34": lambda: NETS.ResNet34(weights=None),
    "resnet50": lambda: NETS.ResNet50(weights=None),
    "resnet101": lambda: NETS.ResNet101(weights=None),
    "resnet152": lambda: NETS.ResNet152(weights=None, use_bias=False),
    "se_resnet50": lambda: NETS.SEResNet50(weights=None),
    "xception": lambda: NETS.Xception(weights=None),
    "squeezenet_1.0": lambda: NETS.SqueezeNet(weights=None, version="1.0"),
    "squeezenet_1.1": lambda: NETS.SqueezeNet(weights=None, version="1.1"),
    "mobilenet": lambda: NETS.MobileNet(weights=None),
    "mobilenet_v2": lambda: NETS.MobileNetV2(weights=None),
}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/architecture")
    names = ", ".join(NETWORKS)
    parser.add_argument("network", nargs="*", default=["lenet"], help=f"{names}, all, or a model file (lenet)")
    parser.add_argument("--format", choices=["png", "svg", "pdf"], default="png", help="of the pictures (png)")
    parser.add_argument("--no-shapes", dest="shapes", action="store_false", help="layers without their shapes")
    parser.add_argument("--left-to-right", action="store_true", help="instead of from top to bottom")
    args = parser.parse_args(arguments)
    if "all" in args.network:
        args.network = list(NETWORKS)
    unknown = [name for name in args.network if name not in NETWORKS and not Path(name).is_file()]
    if unknown:
        parser.error(f"expected {names}, all, or a model file, received {', '.join(unknown)}")
    if args.quick:
        args.network = ["shallownet", "lenet"]
    return args


def main(arguments: list[str] | None = None) -> list[Path]:
    """Run the program; returns the pictures."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    tc.set_seed(args.seed)
    pictures: list[Path] = []
    rows: list[tuple[Any, ...]] = [("network", "layers", "parameters", "picture")]
    for name in args.network:
        model = NETWORKS[name]() if name in NETWORKS else common.load_network(Path(name))
        picture = args.output / f"{name if name in NETWORKS else Path(name).stem}.{args.format}"
        direction = "LR" if args.left_to_right else "TB"
        tc.viz.plot_model(model, to_file=picture, show_shapes=args.shapes, rankdir=direction)
        pictures.append(picture)
        rows.append((name, len(model.layers), f"{model.count_params():,}", picture))
        if args.show:
            figure: Any = tc.viz.plot_model(model, to_file=None, show_shapes=args.shapes, rankdir=direction)
            tc.viz.show(figure)
    print(common.table(rows))
    return pictures


if __name__ == "__main__":
    common.run(main)
