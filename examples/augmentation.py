"""See what an image generator makes of one photo: 21 changed copies of it, written as JPEG files.

The generator and the settings of the slides: turned by up to 40 degrees, shifted by up to a fifth of width and height,
sheared by 0.2, zoomed by up to a fifth, mirrored; pixels that come in from outside repeat the nearest ones. Copies are
written to the folder ``preview`` of the output folder by ``flow(save_to_dir=...)``, and drawn side by side.

``--only`` shows one of the changes alone. The slides name their generator ``datagen`` and use it as ``train_datagen``,
and leave open that ``target_size`` means height before width. Their ``rescale=1/255`` is left out here: it changes
numbers, not pictures.

    python -m examples.augmentation --image photo.jpg --output runs/augmentation
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common
from tinyconv.preprocessing.image import ImageDataGenerator

CHANGES: dict[str, Any] = {
    "rotation_range": 40,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "shear_range": 0.2,
    "zoom_range": 0.2,
    "horizontal_flip": True,
}


def load_photo(args: argparse.Namespace) -> np.ndarray:
    """The photo as a batch of one, (1, H, W, 3), values 0 to 255."""
    if args.quick:
        return common.generated_pictures(1, 1, args.seed)[0].astype("float32")
    path = args.image or common.animal_paths()[-1]
    print(f"[INFO] photo: {path}")
    return tc.preprocessing.img_to_array(tc.preprocessing.load_img(path))[np.newaxis]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/augmentation")
    parser.add_argument("-i", "--image", type=Path, help="photo to change (a cat of the animals data set)")
    parser.add_argument("-n", "--count", type=common.positive, default=21, help="how many copies (21)")
    parser.add_argument("--only", choices=list(CHANGES), help="one kind of change instead of all")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> np.ndarray:
    """Run the program; returns the copies, (N, H, W, 3) of floats from 0 to 255."""
    args = parse_arguments(arguments)
    preview = args.output / "preview"
    common.make_folder(preview)
    with common.user_input():
        photo = load_photo(args)
    for old in preview.glob("copy_*.jpeg"):  # of an earlier run
        old.unlink()

    changes = {args.only: CHANGES[args.only]} if args.only else CHANGES
    generator = ImageDataGenerator(fill_mode="nearest", **changes)
    flow = generator.flow(
        photo, batch_size=1, seed=args.seed, save_to_dir=str(preview), save_prefix="copy", save_format="jpeg"
    )  # fmt: skip
    copies = np.concatenate([next(flow) for _ in range(args.count)])
    print(f"[INFO] {len(list(preview.glob('*.jpeg')))} copies in {preview}, changed by {', '.join(changes)}")

    pictures = [*photo, *copies]
    titles = ["as it is", *(f"copy {number}" for number in range(1, len(copies) + 1))]
    picture = args.output / "augmentation.png"
    figure = common.draw_pictures([image / 255 for image in pictures], titles, min(len(pictures), 6), picture, 1.5)
    print(f"[INFO] picture: {picture}")
    if args.show:
        tc.viz.show(figure)
    return copies


if __name__ == "__main__":
    common.run(main)
