"""Train ShallowNet on photos of cats, dogs and pandas, and save it: two of the book's programs in one.

3,000 photos, resized to 32x32 whatever their proportions, blue first, pixels scaled to 0..1; 25 % of them for testing
(random state 42, listed as panda, dogs, cats, which gives the book's 239 cats, 249 dogs and 262 pandas). SGD with
learning rate 0.005, batches of 32, 100 epochs. The network is saved right after training;
``examples.shallownet_load`` classifies photos with it.

The book's headline of 71 % is the weighted precision; its validation accuracy is 0.6947 (training 0.8707). It fits
one label encoder on the training and another one on the test labels, which goes wrong as soon as a class is missing in
one of them: here the one that was fitted on the training labels serves for both. It names the classes by hand, in
alphabetical order, which fits by chance; here the names are the encoder's. What it calls a file of weights is the whole
network, and its shallownet_save.py is the program shallownet_train.py.

    python -m examples.shallownet_animals --model runs/shallownet_animals.tinyconv
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import tinyconv as tc
from examples import common


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/shallownet_animals")
    parser.add_argument("-d", "--dataset", type=Path, help="folder with cats, dogs and panda (the one in the cache)")
    parser.add_argument("-m", "--model", type=common.file_to_write, help="to write (shallownet_animals.tinyconv there)")
    common.add_training_arguments(parser, epochs=100, batch_size=32, learning_rate=0.005)
    args = parser.parse_args(arguments)
    if args.model is None:
        args.model = args.output / "shallownet_animals.tinyconv"
    if args.quick:  # few pictures: larger steps show soon that it learns
        args.epochs, args.learning_rate = 5, 0.05
    return args


def load_animals(folder: Path | None) -> common.Data:
    """The photos, split as in the book."""
    paths = common.animal_paths(folder)
    data, labels = common.read_photos(paths, verbose=500)
    x_train, x_test, y_train, y_test = tc.datasets.train_test_split(data, labels, test_size=0.25, random_state=42)
    encoder = tc.datasets.LabelBinarizer()
    y_train = encoder.fit_transform(y_train)
    return common.Data(x_train, y_train, x_test, encoder.transform(y_test), encoder.classes_.tolist())


def main(arguments: list[str] | None = None) -> float:
    """Run the program; returns the validation accuracy."""
    args = parse_arguments(arguments)
    for folder in (args.output, args.model.parent):
        common.make_folder(folder)
    tc.set_seed(args.seed)

    print("[INFO] loading images...")
    if args.quick:
        args.dataset = common.write_animals(args.output / "generated", args.seed)
    with common.user_input():
        data = load_animals(args.dataset)

    print("[INFO] compiling model...")
    model = tc.applications.ShallowNet.build(width=32, height=32, depth=3, classes=len(data.class_names))
    optimizer = tc.optimizers.SGD(args.learning_rate)
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    model.class_names = data.class_names

    print("[INFO] training network...")
    start = time.perf_counter()
    history = model.fit(
        data.x_train,
        data.y_train,
        validation_data=(data.x_test, data.y_test),
        batch_size=args.batch_size,
        epochs=args.epochs,
    )
    print(f"[INFO] trained {args.epochs} epochs in {time.perf_counter() - start:.1f} s")

    print("[INFO] serializing network...")
    model.save(args.model)
    print(f"[INFO] model file: {args.model}")

    report, accuracy = common.evaluate(model, data, args.batch_size)
    plot = args.output / "shallownet_animals.png"
    common.write_results(plot, history, report, "Training Loss and Accuracy", args.show)
    return accuracy


if __name__ == "__main__":
    common.run(main)
