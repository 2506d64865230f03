"""Classify photos of animals with the network that ``examples.shallownet_animals`` has saved.

Ten photos are drawn at random, with replacement, and prepared exactly as for training; each is written to the output
folder with its label drawn on it. As in the book, most of them are photos that the network was trained on, which
flatters it: ``--unseen`` draws from the 750 test photos alone. The book expects about 70 % of them to be right.

    python -m examples.shallownet_load --model runs/shallownet_animals/shallownet_animals.tinyconv
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common, shallownet_animals


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/shallownet_load")
    parser.add_argument("-d", "--dataset", type=Path, help="folder with cats, dogs and panda (the one in the cache)")
    parser.add_argument(
        "-m", "--model", type=Path, default=Path("runs/shallownet_animals/shallownet_animals.tinyconv"),
        help="file of the trained network (what shallownet_animals writes)",
    )  # fmt: skip
    parser.add_argument("-n", "--num-images", type=common.positive, default=10, help="how many to classify (10)")
    parser.add_argument("--unseen", action="store_true", help="only photos that were not used for training")
    return parser.parse_args(arguments)


def sample_paths(folder: Path | None, count: int, unseen: bool, seed: int) -> list[str]:
    """Random photos, some of them perhaps twice."""
    paths = common.animal_paths(folder)
    if unseen:
        paths = tc.datasets.train_test_split(paths, test_size=0.25, random_state=42)[1]
    rows = np.random.default_rng(seed).integers(0, len(paths), size=count)
    return [paths[row] for row in rows]


def write_labelled(paths: list[str], labels: list[str], folder: Path) -> list[Path]:
    """Write each photo, in its own size, with its label, as PNG: ``00.png``, ``01.png``, ..."""
    files = [folder / f"{number:02d}.png" for number in range(len(paths))]
    for file, path, label in zip(files, paths, labels, strict=True):
        common.write_image(file, common.draw_label(common.read_picture(path), label, 0.7))
    return files


def main(arguments: list[str] | None = None) -> float:
    """Run the program; returns the share of photos whose label is right."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    if args.quick:  # a network and pictures to try it on
        shallownet_animals.main(["--quick", "--output", str(args.output), "--seed", str(args.seed)])
        args.dataset, args.model = args.output / "generated", args.output / "shallownet_animals.tinyconv"

    print("[INFO] sampling images...")
    with common.user_input():
        paths = sample_paths(args.dataset, args.num_images, args.unseen, args.seed)
        data, true = common.read_photos(paths)

    print("[INFO] loading pre-trained network...")
    model = common.load_network(args.model, "shallownet_animals")
    if set(model.class_names or ()) != set(common.ANIMALS) or model.input_shape != (None, *data.shape[1:]):
        raise SystemExit(f"[ERROR] expected a network of shallownet_animals. Received: {args.model}, which is another")

    print("[INFO] predicting...")
    probabilities = model.predict(data, batch_size=32)
    labels = [model.class_names[row] for row in probabilities.argmax(axis=1)]
    files = write_labelled(paths, labels, args.output)
    rows: list[tuple[Any, ...]] = [("file", "photo", "label", "probability", "")]
    for file, path, label, row, name in zip(files, paths, labels, probabilities, true, strict=True):
        photo = "/".join(Path(path).parts[-2:])
        rows.append((file, photo, label, f"{row.max():.2f}", "" if label == name else "wrong"))
    right = int((np.array(labels) == true).sum())
    report = f"{common.table(rows)}\n{right} of {len(paths)} are right"
    print(report)
    common.write_text(args.output / "shallownet_load.txt", report + "\n")
    if args.show:
        for file in files:
            tc.viz.show(tc.viz.plot_images([tc.preprocessing.load_img(file)]))
    return right / len(paths)


if __name__ == "__main__":
    common.run(main)
