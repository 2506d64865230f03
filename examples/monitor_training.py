"""Watch a training run that goes wrong: MiniVGGNet on CIFAR-10, far too long and without any decay of the rate.

After every epoch the ``TrainingMonitor`` redraws the curves and writes all numbers so far. Both files are named after
the number of the process, so that of several runs a bad one can be told and stopped. The book's settings: SGD with
learning rate 0.01, momentum 0.9, Nesterov's step and, on purpose, no decay; batches of 64, 100 epochs. It sees
overfitting by epoch 25, a rising validation loss by 50, and more than 80 % validation accuracy in the end.

    python -m examples.monitor_training --output runs/monitor

What the curves mean is written by ``tc.diagnose``. Where the book errs: its listing draws the curves only when the
numbers are written too, saves a figure that was not drawn after the first epoch, and fails without validation data;
the callback here depends on neither. The numbers are called loss and accuracy, not train_loss and train_acc.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import tinyconv as tc
from examples import common


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/monitor_training")
    common.add_training_arguments(parser, epochs=100, batch_size=64)
    args = parser.parse_args(arguments)
    if args.quick:
        args.epochs = 2
    return args


def main(arguments: list[str] | None = None) -> tuple[Any, Any]:
    """Run the program; returns the model and the history of its training."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    tc.set_seed(args.seed)
    print(f"[INFO] process ID: {os.getpid()}")
    picture, numbers = args.output / f"{os.getpid()}.png", args.output / f"{os.getpid()}.json"
    numbers.unlink(missing_ok=True)  # of an earlier process with this number

    print("[INFO] loading CIFAR-10 data...")
    data = common.cifar10(args.quick, args.seed)

    print("[INFO] compiling model...")
    model = tc.applications.MiniVGGNet.build(width=32, height=32, depth=3, classes=10)
    optimizer = tc.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    model.class_names = data.class_names

    print("[INFO] training network...")
    history: Any = model.fit(
        data.x_train,
        data.y_train,
        validation_data=(data.x_test, data.y_test),
        batch_size=args.batch_size,
        epochs=args.epochs,
        callbacks=[tc.callbacks.TrainingMonitor(picture, numbers)],
    )
    print(f"[INFO] training curve: {picture}")
    print(f"[INFO] its numbers: {numbers}")
    print(tc.diagnose(history))
    if args.show:
        tc.viz.show(tc.viz.plot_history(history))
    return model, history


if __name__ == "__main__":
    common.run(main)
