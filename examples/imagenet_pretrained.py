"""Classify a photo with a network that was trained on ImageNet: the five best of 1,000 classes.

    python -m examples.imagenet_pretrained --image photo.jpg --model vgg16

The book's networks are vgg16, vgg19, inception, xception and resnet. The photo is resized to 224x224 pixels and the
means of ImageNet are subtracted (vgg16, vgg19, resnet), or to 299x299 and scaled to -1..1 (inception, xception). The
label is drawn on the photo, which is written to the output folder.

Nothing is downloaded. Keras's published files of weights and its list of classes, ``imagenet_class_index.json``, must
lie in the folder ``models`` of tinyconv's cache; a missing one is named. ``--weights`` and ``--classes`` take other
files; a file of weights is anything that ``Model.load_weights`` reads.

Where the book errs: it gives 229x229 pixels for inception and xception, and 533 MB for vgg16's file, which has 553; its
line of print has two places for three values: rank, label and probability are what is printed here. (The top-5 error
that another document calls a number of photos is the share of those whose class is not among the five.)
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinyconv as tc
from examples import common

NETS = tc.applications


class Network(NamedTuple):
    build: Callable[..., tc.Model]
    module: Any  # with its preprocess_input
    size: int  # of the images, in pixels


NETWORKS = {
    "vgg16": Network(NETS.VGG16, NETS.vgg16, 224),
    "vgg19": Network(NETS.VGG19, NETS.vgg19, 224),
    "inception": Network(NETS.InceptionV3, NETS.inception_v3, 299),
    "xception": Network(NETS.Xception, NETS.xception, 299),
    "resnet": Network(NETS.ResNet50, NETS.resnet50, 224),
    "resnet101": Network(NETS.ResNet101, NETS.resnet, 224),
    "resnet152": Network(NETS.ResNet152, NETS.resnet, 224),
    "mobilenet": Network(NETS.MobileNet, NETS.mobilenet, 224),
    "mobilenet_v2": Network(NETS.MobileNetV2, NETS.mobilenet_v2, 224),
}


def load_photo(path: Path, network: Network) -> np.ndarray:
    """A photo as the network takes it: a batch of one, (1, size, size, 3)."""
    image = tc.preprocessing.load_img(path, target_size=(network.size, network.size))
    batch = np.expand_dims(tc.preprocessing.img_to_array(image), axis=0)
    return network.module.preprocess_input(batch)


def classify(image: Path, name: str, weights: Any, classes: Path | None) -> list[tuple[str, str, float]]:
    """(WordNet's number, label, probability) of the five best classes."""
    network = NETWORKS[name]
    print(f"[INFO] loading {name}")
    model = network.build(weights=weights)
    print("[INFO] loading and pre-processing image...")
    batch = load_photo(image, network)
    print(f"[INFO] classifying image with '{name}'...")
    return network.module.decode_predictions(model.predict(batch, verbose=0), class_index=classes)[0]


def generated_inputs(folder: Path, seed: int) -> tuple[Path, Path]:
    """A picture and a list of 1,000 made-up classes, as files."""
    common.make_folder(folder)
    image, classes = folder / "picture.png", folder / "classes.json"
    pictures, _ = common.generated_pictures(1, 1, seed, size=240)
    tc.preprocessing.save_img(image, pictures[0], scale=False)
    names = {str(number): [f"n{number:08d}", f"class_{number}"] for number in range(1000)}
    common.write_text(classes, json.dumps(names))
    return image, classes


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/imagenet_pretrained")
    parser.add_argument("-i", "--image", type=Path, help="photo to classify")
    parser.add_argument("-model", "--model", choices=list(NETWORKS), default="vgg16", help="which network (vgg16)")
    parser.add_argument("--weights", default="imagenet", help="file of its weights (Keras's in the cache)")
    parser.add_argument("--classes", type=Path, help="file that lists the classes (Keras's in the cache)")
    args = parser.parse_args(arguments)
    if args.image is None and not args.quick:
        parser.error("expected a photo to classify: --image FILE")
    return args


def main(arguments: list[str] | None = None) -> list[tuple[str, str, float]]:
    """Run the program; returns what `classify` does."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    tc.set_seed(args.seed)
    if args.quick:  # random weights, so that any class may win
        args.weights = None
        args.image, args.classes = generated_inputs(args.output / "generated", args.seed)
    if not args.image.is_file():
        raise FileNotFoundError(f"expected a photo for --image. Received: {args.image}, which does not exist")
    with common.user_input():  # a file that is no photo, no weights of this network or no list of classes
        best = classify(args.image, args.model, args.weights, args.classes)
    lines = [f"{rank}: {label}: {probability:.2%}" for rank, (_, label, probability) in enumerate(best, 1)]
    print("\n".join(lines))

    photo = np.ascontiguousarray(tc.preprocessing.load_img(args.image)[..., ::-1])  # blue first, as OpenCV has it
    file = args.output / f"{args.image.stem}_{args.model}.png"
    common.write_image(file, common.draw_label(photo, best[0][1], 0.8))
    common.write_text(file.with_suffix(".txt"), "\n".join(lines) + "\n")
    print(f"[INFO] labelled image: {file}")
    if args.show:
        tc.viz.show(tc.viz.plot_images([tc.preprocessing.load_img(file)]))
    return best


if __name__ == "__main__":
    common.run(main)
