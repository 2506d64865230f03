"""Train ShallowNet, a single convolution, on CIFAR-10: the book's program, with its settings and 40 epochs.

50,000 photos for training and 10,000 for testing, pixels scaled to 0..1; SGD with learning rate 0.01, batches of 32.
The book's headline of 60 % is the weighted precision; its validation accuracy after 40 epochs is 0.5890 (training
0.7685). It sees "no significant overfitting"; its own losses, 0.68 in training and 1.24 in validation, show it. For
networks without convolutions it gives 57 % here and 15 % in another chapter. Test photos are also validation photos, as
in the book: they choose nothing, for the figures are those of the last epoch.

    python -m examples.shallownet_cifar10 --output runs/shallownet
"""

from __future__ import annotations

import argparse
import time

import tinyconv as tc
from examples import common


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/shallownet_cifar10")
    common.add_training_arguments(parser, epochs=40, batch_size=32, learning_rate=0.01)
    args = parser.parse_args(arguments)
    if args.quick:  # few pictures: larger steps show soon that it learns
        args.epochs, args.learning_rate = 3, 0.05
    return args


def main(arguments: list[str] | None = None) -> float:
    """Run the program; returns the validation accuracy."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    tc.set_seed(args.seed)

    print("[INFO] loading CIFAR-10 data...")
    data = common.cifar10(args.quick, args.seed)

    print("[INFO] compiling model...")
    model = tc.applications.ShallowNet.build(width=32, height=32, depth=3, classes=10)
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

    report, accuracy = common.evaluate(model, data, args.batch_size)
    file = args.output / "shallownet_cifar10.tinyconv"
    model.save(file)
    print(f"[INFO] model file: {file}")
    plot = args.output / "shallownet_cifar10.png"
    common.write_results(plot, history, report, "Training Loss and Accuracy", args.show)
    return accuracy


if __name__ == "__main__":
    common.run(main)
