"""What the filters of a trained network look for: the first layer's kernels, and patches that excite others.

Kernels of the first layer are shown as pictures (at most 81). Of each deeper layer some filters are shown by the nine
patches, out of all photos, for which they answer most, as a 3x3 block; a patch is what the filter sees at that place,
its receptive field, and so grows with depth: edges and colours first, then textures, then parts of animals. What lies
beyond the edge of a photo is brown, ImageNet's mean.

By default the network is VGG16 with the weights of ImageNet, the layers are the last convolutions of its five blocks,
and the photos those of the animals data set. The slides show the same for AlexNet, 81 of whose 96 kernels of 11x11
pixels are drawn; its weights are not published in Keras's formats, but ``--model`` takes the file of any network.

    python -m examples.what_filters_see --output runs/what_filters_see
    python -m examples.what_filters_see --model network.tinyconv --layers conv1 conv2 --scaling 0..1
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common

VGG_LAYERS = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")


def load_network(args: argparse.Namespace) -> tc.Model:
    """The network of the file ``--model``, or VGG16's convolutions."""
    if args.model is not None:
        return common.load_network(args.model)
    weights = None if args.quick else "imagenet"
    return tc.applications.VGG16(include_top=False, weights=weights, input_shape=(args.size, args.size, 3))


def convolutions(model: tc.Model) -> list[Any]:
    """Layers with 2-D kernels, in order."""
    return [layer for layer in model.layers if isinstance(layer, tc.layers.Conv2D)]


def load_photos(args: argparse.Namespace, size: tuple[int, int]) -> np.ndarray:
    """Photos (N, H, W, 3) of uint8, RGB: every so many-th of all, so that each kind of animal has its share."""
    paths = common.animal_paths(args.dataset)
    chosen = paths[:: max(len(paths) // args.photos, 1)][: args.photos]
    return np.stack([tc.preprocessing.load_img(path, target_size=size, interpolation="bilinear") for path in chosen])


def scaled(photos: np.ndarray, scaling: str) -> np.ndarray:
    """Photos as the network takes them."""
    return common.as_floats(photos) if scaling == "0..1" else tc.applications.vgg16.preprocess_input(photos)


def first_layer(model: tc.Model, scaling: str) -> Any:
    """The first convolution; of a network that takes BGR a copy that takes RGB, whose kernels have their colours."""
    layer = convolutions(model)[0]
    if scaling == "0..1":
        return layer
    kernel, *others = layer.get_weights()
    copy = type(layer).from_config(layer.get_config())
    copy.build((None, *model.input_shape[1:]))
    copy.set_weights([kernel[:, :, ::-1], *others])
    return copy


def as_colours(pixels: np.ndarray, scaling: str) -> np.ndarray:
    """What `scaled` made of photos, as RGB in 0..1 again."""
    if scaling == "0..1":
        return pixels
    black = tc.applications.vgg16.preprocess_input(np.zeros((1, 1, 3)))
    return np.clip((pixels - black)[..., ::-1] / 255, 0, 1)


def blocks(patches: np.ndarray) -> np.ndarray:
    """Nine patches of each filter, (F, 9, PH, PW, 3), as blocks of 3x3 with white lines in between.

    >>> blocks(np.zeros((2, 9, 5, 7, 3))).shape
    (2, 18, 24, 3)
    """
    gap = max(1, patches.shape[3] // 20)
    edges = ((0, 0), (0, 9 - patches.shape[1]), (0, gap), (0, gap), (0, 0))
    framed = np.pad(patches, edges, constant_values=1)  # (F, 9, h, w, 3)
    count, _, h, w, _ = framed.shape
    rows = framed.reshape(count, 3, 3, h, w, 3).transpose(0, 1, 3, 2, 4, 5)  # (F, 3, 3, h, w, 3) -> (F, 3, h, 3, w, 3)
    return rows.reshape(count, 3 * h, 3 * w, 3)


def top_nine(model: tc.Model, name: str, inputs: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    """For each of the first filters of a layer the nine patches it likes best, as blocks (F, H, W, 3) in 0..1."""
    filters = range(min(args.filters, model.get_layer(name).filters))
    return blocks(as_colours(tc.viz.top_patches(model, name, inputs, filters=filters).patches, args.scaling))


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/what_filters_see")
    parser.add_argument("-d", "--dataset", type=Path, help="folder with cats, dogs and panda (the one in the cache)")
    parser.add_argument("-m", "--model", type=Path, help="file of a network on colour photos (VGG16 with ImageNet's)")
    parser.add_argument("--layers", nargs="+", help="convolutions to look at (the last of each block of VGG16)")
    parser.add_argument("--scaling", choices=["imagenet", "0..1"], default="imagenet", help="of pixels (imagenet)")
    parser.add_argument("-n", "--photos", type=common.positive, default=300, help="how many to search (300)")
    parser.add_argument("--filters", type=common.positive, default=9, help="of each layer (9)")
    parser.add_argument("--size", type=common.positive, default=224, help="of the photos for VGG16, in pixels (224)")
    args = parser.parse_args(arguments)
    if args.quick:  # VGG16 with random weights
        args.photos, args.size = 12, 64
    return args


def main(arguments: list[str] | None = None) -> dict[str, np.ndarray]:
    """Run the program; returns the blocks of patches of every layer."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    tc.set_seed(args.seed)
    if args.quick:
        args.dataset = common.write_animals(args.output / "generated", args.seed)
    with common.user_input():
        model = load_network(args)
    known = [layer.name for layer in convolutions(model)]
    layers = args.layers or (VGG_LAYERS if args.model is None else known[:5])
    if not known or model.input_shape[-1] != 3 or None in model.input_shape[1:3] or not {*layers} <= {*known}:
        received = f"images of shape {model.input_shape[1:]}, convolutions {', '.join(known)}"
        raise SystemExit(f"[ERROR] expected a network on colour photos, with {', '.join(layers)}. Received: {received}")

    kernels = first_layer(model, args.scaling)
    figures = {"first_layer": tc.viz.plot_filters(kernels, path=args.output / "first_layer.png")}
    with common.user_input():
        photos = load_photos(args, model.input_shape[1:3])
    print(f"[INFO] {len(photos)} photos of {photos.shape[1]}x{photos.shape[2]} pixels")
    inputs, found = scaled(photos, args.scaling), {}
    for name in layers:
        found[name] = top_nine(model, name, inputs, args)
        height, width = tc.viz.receptive_field(model, name).size
        print(f"[INFO] {name}: patches of {height}x{width} pixels, {len(found[name])} filters")
        titles = [f"{name}, filter {number}" for number in range(len(found[name]))]
        figures[name] = common.draw_pictures(found[name], titles, 3, args.output / f"{name}.png")
    print(f"[INFO] pictures: {', '.join(f'{name}.png' for name in figures)} in {args.output}")
    if args.show:
        for figure in figures.values():
            tc.viz.show(figure)
    return found


if __name__ == "__main__":
    common.run(main)
