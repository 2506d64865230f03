"""Checkpoints while MiniVGGNet learns CIFAR-10: a file for every improvement, or the best one only.

The book's two programs: batches of 64, 40 epochs, SGD with learning rate 0.01, decay 0.01/40, momentum 0.9 and
Nesterov's step, and a checkpoint whenever the validation loss falls below its lowest value so far.

    python -m examples.cifar10_checkpoints improvements --weights runs/improvements       # a folder
    python -m examples.cifar10_checkpoints best --weights runs/best.hdf5                  # one file

The first one names its files ``weights-{epoch:03d}-{val_loss:.4f}.hdf5`` with epochs counted from 0; the book gets 18
of them, the best with validation loss 0.5546 at epoch 33, and ends with validation accuracy 0.8190 (the second
program: 0.8250). Its listing of the first one creates SGD with learning rate 0.01/40, but its figures are those of
learning rate 0.01 with decay 0.01/40, which is what happens here. Where its text names the fields of a template
train_loss and train_acc, they are loss and accuracy. Checkpoints are whole models with their optimizer
(``tc.load_model``), although the book calls them weights; Keras reads them too where h5py is installed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import tinyconv as tc
from examples import common

TEMPLATE, CHECKPOINTS = "weights-{epoch:03d}-{val_loss:.4f}.hdf5", "weights-*.hdf5"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/cifar10_checkpoints")
    parser.add_argument("keep", choices=["improvements", "best"], help="a file per improvement, or the best one only")
    parser.add_argument("-w", "--weights", type=Path, help="folder, or file of the best (in output)")
    common.add_training_arguments(parser, epochs=40, batch_size=64)
    args = parser.parse_args(arguments)
    if args.weights is None:
        args.weights = args.output / ("weights" if args.keep == "improvements" else "best.hdf5")
    if args.keep == "best" and args.weights.is_dir():
        parser.error(f"argument -w/--weights: expected the name of a file, received the folder {args.weights}")
    if args.quick:
        args.epochs = 2
    return args


def improving_epochs(losses: list[float]) -> list[int]:
    """Epochs, counted from 0, whose loss is lower than all before.

    Examples
    --------
    >>> improving_epochs([0.9, 0.7, 0.8, 0.7, 0.6])
    [0, 1, 4]
    """
    epochs: list[int] = []
    best = float("inf")
    for epoch, loss in enumerate(losses):
        if loss < best:  # never where one of them is NaN
            epochs, best = [*epochs, epoch], loss
    return epochs


def check_files(args: argparse.Namespace, losses: list[float]) -> list[Path]:
    """The checkpoints: exactly those that training with these validation losses must have written."""
    if args.keep == "best":
        expected, found = [args.weights], [args.weights] if args.weights.is_file() else []
    else:
        names = (f"weights-{epoch:03d}-{losses[epoch]:.4f}.hdf5" for epoch in improving_epochs(losses))
        expected, found = [args.weights / name for name in names], sorted(args.weights.glob(CHECKPOINTS))
    if found != expected or not improving_epochs(losses):
        raise RuntimeError(f"expected a checkpoint for every improvement of {losses}. Received: {found}")
    return found


def check_best(file: Path, best: float, data: common.Data, batch_size: int) -> str:
    """Load the last checkpoint and evaluate it: it must have the lowest validation loss."""
    loss, accuracy = tc.load_model(file).evaluate(data.x_test, data.y_test, batch_size=batch_size)
    if abs(loss - best) > 1e-4 * abs(best):
        raise RuntimeError(f"expected validation loss {best} of {file}. Received: {loss}")
    return f"loaded again, {file.name} has val_loss {loss:.4f} and val_accuracy {accuracy:.4f}"


def main(arguments: list[str] | None = None) -> list[Path]:
    """Run the program; returns the checkpoints that it wrote."""
    args = parse_arguments(arguments)
    folder = args.weights if args.keep == "improvements" else args.weights.parent
    for each in (args.output, folder):
        common.make_folder(each)
    if args.keep == "improvements" and any(folder.glob(CHECKPOINTS)):
        raise FileExistsError(f"{folder} holds checkpoints of an earlier run: remove them, or name another --weights")
    tc.set_seed(args.seed)

    print("[INFO] loading CIFAR-10 data...")
    data = common.cifar10(args.quick, args.seed)

    print("[INFO] compiling model...")
    model = tc.applications.MiniVGGNet.build(width=32, height=32, depth=3, classes=10)
    optimizer = tc.optimizers.SGD(0.01, momentum=0.9, nesterov=True, decay=0.01 / args.epochs)
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    model.class_names = data.class_names
    name = Path(str(args.weights).replace("{", "{{").replace("}", "}}"))  # a template without fields
    name = name / TEMPLATE if args.keep == "improvements" else name
    checkpoint = tc.callbacks.ModelCheckpoint(name, monitor="val_loss", save_best_only=True, verbose=1)

    print("[INFO] training network...")
    history: Any = model.fit(
        data.x_train,
        data.y_train,
        validation_data=(data.x_test, data.y_test),
        batch_size=args.batch_size,
        epochs=args.epochs,
        callbacks=[checkpoint],
        verbose=2,
    )
    losses = history.history["val_loss"]
    files = check_files(args, losses)

    report, _ = common.evaluate(model, data, args.batch_size)
    improved = improving_epochs(losses)
    facts = [
        f"improved in epochs {', '.join(map(str, improved))} (counted from 0)",
        f"checkpoints: {len(files)} in {folder}",
        check_best(files[-1], losses[improved[-1]], data, args.batch_size),
    ]
    for fact in facts:
        print(f"[INFO] {fact}")
    plot = args.output / f"cifar10_checkpoints_{args.keep}.png"
    text = "\n".join([report, *facts])
    common.write_results(plot, history, text, "Training Loss and Accuracy on CIFAR-10", args.show)
    return files


if __name__ == "__main__":
    common.run(main)
