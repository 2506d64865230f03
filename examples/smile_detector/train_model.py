"""Train LeNet to tell smiling faces from others: 13,165 faces of SMILES, 28x28, Adam, batches of 64, 15 epochs.

The document reports 0.9351. By all evidence that figure rests on two errors, which are avoided here:

- its split let four in ten test faces also be training faces, as the stratified split of its time took the columns of
  one-hot labels for classes (it shows in the report: 1,890 + 743 test faces in place of 1,895 + 738);
- its class weights were an array, which its Keras ignored without a word. Here they are applied: a smile counts 2.57
  times as much as another face, which trades accuracy for smiles that are found.

On the clean split LeNet reaches about 0.90. With --augment the faces are mirrored, turned, shifted and zoomed at random
by ImageDataGenerator, and the step of Adam falls to 0 along a cosine; --network minivggnet takes the larger network,
--no-class-weights counts all faces alike. The three together reach 0.93 (second command below). They were chosen on a
part of the training faces; the test faces are used once, after the last epoch (the curve shows them, nothing is chosen
by them).

    python -m examples.smile_detector.train_model --output runs/smile_detector
    python -m examples.smile_detector.train_model --augment --network minivggnet --no-class-weights \\
        --epochs 72 --output runs/smile_augmented
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import tinyconv as tc
from examples import common
from examples.smile_detector.faces import write_faces
from tinyconv.preprocessing import ImageDataGenerator, list_images

SIZE = 28
CLASS_NAMES = tc.datasets.smiles.CLASS_NAMES  # not_smiling, smiling
QUICK_COUNTS = {"not_smiling": 150, "smiling": 60}
NETWORKS = {"lenet": tc.applications.LeNet, "minivggnet": tc.applications.MiniVGGNet}

Split = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def to_input(faces: Any) -> np.ndarray:
    """Grey faces of any size -> (N, 28, 28, 1) in 0..1, resized by area, in training and in detection alike."""
    resized = np.stack([cv2.resize(face, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for face in faces])
    return resized[..., np.newaxis].astype(np.float32) / 255


def load_folder(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Faces (N, 28, 28, 1) and classes (N,) of .../positives/ANY/FILE and .../negatives/ANY/FILE, by sorted path."""
    kinds = {path: Path(path).parent.parent.name for path in sorted(list_images(folder))}
    paths = [path for path, kind in kinds.items() if kind in ("positives", "negatives")]
    classes = np.array([int(kinds[path] == "positives") for path in paths])
    if len(set(classes)) < 2:
        raise FileNotFoundError(
            f"expected .../positives/positives7/*.jpg and .../negatives/negatives7/*.jpg in {folder}. Received "
            f'{len(paths)} images. To get them, run: git clone https://github.com/hromi/SMILEsmileD "{folder}"'
        )
    return to_input(common.read_grey(path) for path in paths), classes


def load_faces(args: argparse.Namespace) -> Split:
    """Training and test faces (N, 28, 28, 1) in 0..1 and their classes (N,): 80 and 20 %, stratified by class."""
    if not args.dataset and not args.quick:
        (x_train, y_train), (x_test, y_test) = tc.datasets.smiles.load_data(image_size=(SIZE, SIZE))
        return to_input(x_train), to_input(x_test), y_train, y_test
    if args.dataset:
        x, y = load_folder(args.dataset)
    else:
        with tempfile.TemporaryDirectory() as folder:
            write_faces(Path(folder), QUICK_COUNTS, args.seed)
            x, y = load_folder(Path(folder))
    x_train, x_test, y_train, y_test = tc.datasets.train_test_split(x, y, test_size=0.2, random_state=42, stratify=y)
    return x_train, x_test, y_train, y_test


def augmentation() -> ImageDataGenerator:
    """Changes that leave a smile a smile."""
    return ImageDataGenerator(
        rotation_range=5, width_shift_range=0.05, height_shift_range=0.05, zoom_range=0.05, horizontal_flip=True
    )


def fit(model: tc.Model, data: Split, args: argparse.Namespace) -> Any:
    """Compile and train; returns the history."""
    x_train, x_test, y_train, y_test = data
    train_targets, test_targets = (tc.datasets.to_categorical(y, len(CLASS_NAMES)) for y in (y_train, y_test))
    weights = None if args.no_class_weights else tc.datasets.class_weights(y_train)
    print(f"[INFO] class weights: {weights}")
    steps = -(-len(x_train) // args.batch_size)
    rate = tc.optimizers.schedules.CosineDecay(1e-3, args.epochs * steps) if args.augment else 1e-3
    # the accuracy of this loss counts elements; with two outputs that sum to 1 it is that of the images
    model.compile(optimizer=tc.optimizers.Adam(rate), loss="binary_crossentropy", metrics=["accuracy"])
    options = {"validation_data": (x_test, test_targets), "epochs": args.epochs, "class_weight": weights, "verbose": 2}
    if args.augment:
        return model.fit(augmentation().flow(x_train, train_targets, batch_size=args.batch_size), **options)
    return model.fit(x_train, train_targets, batch_size=args.batch_size, **options)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/smile_detector")
    parser.add_argument("-d", "--dataset", type=Path, help="folder with SMILEs in it (the one in the cache)")
    parser.add_argument("-m", "--model", type=common.file_to_write, help="model file to write (OUTPUT/smile.tinyconv)")
    common.add_training_arguments(parser, epochs=15, batch_size=64)
    parser.add_argument("--network", choices=list(NETWORKS), default="lenet", help="which network (lenet)")
    parser.add_argument("--augment", action="store_true", help="change the training faces at random")
    parser.add_argument("--no-class-weights", action="store_true", help="count all faces alike")
    args = parser.parse_args(arguments)
    if args.quick:
        args.epochs, args.batch_size = 4, 16
    args.model = args.model or args.output / "smile.tinyconv"
    return args


def main(arguments: list[str] | None = None) -> float:
    """Run the program; returns the accuracy on the test faces."""
    args = parse_arguments(arguments)
    tc.set_seed(args.seed)
    print("[INFO] loading faces...")
    with common.user_input():
        data = load_faces(args)
    for folder in (args.output, args.model.parent):
        common.make_folder(folder)
    _, x_test, y_train, y_test = data
    for name, y in ("train", y_train), ("test", y_test):
        print(f"[INFO] {len(y)} faces to {name}: {(y == 0).sum()} {CLASS_NAMES[0]}, {(y == 1).sum()} {CLASS_NAMES[1]}")

    print(f"[INFO] training {args.network}...")
    model = NETWORKS[args.network].build(width=SIZE, height=SIZE, depth=1, classes=len(CLASS_NAMES))
    model.class_names = list(CLASS_NAMES)
    start = time.perf_counter()
    history = fit(model, data, args)
    print(f"[INFO] trained {args.epochs} epochs in {time.perf_counter() - start:.1f} s")

    print("[INFO] evaluating network...")
    predicted = model.predict(x_test, batch_size=args.batch_size).argmax(axis=1)
    report, accuracy = common.print_report(y_test, predicted, CLASS_NAMES, "test faces")

    print("[INFO] serializing network...")
    model.save(args.model)
    print(f"[INFO] model file: {args.model}")
    plot = args.output / "training_curve.png"
    common.write_results(plot, history, report, "Training Loss and Accuracy", args.show)
    return accuracy


if __name__ == "__main__":
    common.run(main, interrupted="[INFO] interrupted: nothing was saved")
