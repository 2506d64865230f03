"""Commands that run networks: ``train``, ``evaluate`` and ``predict``."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv.cli import datasets
from tinyconv.cli.common import (
    FAILED,
    UsageError,
    add_command,
    add_json,
    check_model_name,
    check_picture,
    check_target,
    load,
    positive,
    print_facts,
    print_json,
    print_table,
    quiet,
    rate,
)
from tinyconv.files import replacing
from tinyconv.viz.inputs import image_format

NETWORKS = {"lenet": "LeNet", "minivggnet": "MiniVGGNet", "shallownet": "ShallowNet"}
OPTIMIZERS = ("sgd", "adam", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "adamw")
PIXEL = 1 / 255


def _add_data(parser: argparse.ArgumentParser, limit: str) -> None:
    parser.add_argument("--limit", type=positive, metavar="N", help=f"only the first N {limit}")
    parser.add_argument("--scale", type=rate, default=PIXEL, help="factor of the pixels, which are 0..255 (1/255)")
    parser.add_argument("-b", "--batch-size", type=positive, default=64, metavar="N", help="images at a time (64)")


# --- train -----------------------------------------------------------------------------------------------------


def add_train(commands: Any) -> None:
    """``tinyconv train``."""
    parser = add_command(
        commands, "train", train,
        "Train a network on a data set, with the data set's test images for validation.",
        "tinyconv train lenet mnist --epochs 5 --output lenet.tinyconv --history lenet.json --plot lenet.png\n"
        "tinyconv train minivggnet cifar10 --optimizer adam --learning-rate 0.001 --epochs 20",
    )  # fmt: skip
    parser.add_argument("network", choices=NETWORKS, metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("dataset", choices=datasets.IMAGES, metavar="DATASET", help=", ".join(datasets.IMAGES))
    parser.add_argument("-e", "--epochs", type=positive, default=10, metavar="N", help="passes over the data (10)")
    parser.add_argument(
        "--optimizer", choices=OPTIMIZERS, default="sgd", metavar="NAME", help=f"{', '.join(OPTIMIZERS)} (sgd)"
    )
    parser.add_argument("--learning-rate", type=rate, metavar="RATE", help="step size (the optimizer's default)")
    parser.add_argument("--seed", type=int, default=42, help="makes the run repeatable (42)")
    _add_data(parser, "training and test images")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to save the trained model")
    parser.add_argument("--history", type=Path, metavar="FILE", help="where to write loss and accuracy as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="where to draw the training curve (PNG, SVG, PDF)")
    add_json(parser)


def train(args: argparse.Namespace) -> None:
    """Train, save, report."""
    _check(args)
    import tinyconv as tc

    tc.set_seed(args.seed)
    data_format = tc.config.image_data_format()
    with quiet(args.json):
        data = datasets.load_images(args.dataset, "train", data_format, args.scale, args.limit)
        test = datasets.load_images(args.dataset, "test", data_format, args.scale, args.limit)
    depth, height, width = _depth_height_width(data.x.shape[1:], data_format)
    build = getattr(tc.applications, NETWORKS[args.network]).build
    model = build(width=width, height=height, depth=depth, classes=len(data.class_names))
    model.class_names = data.class_names
    settings = {} if args.learning_rate is None else {"learning_rate": args.learning_rate}
    optimizer = tc.optimizers.get({"class_name": args.optimizer, "config": settings})
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    start = time.perf_counter()
    history = model.fit(
        data.x, data.y, batch_size=args.batch_size, epochs=args.epochs, validation_data=(test.x, test.y),
        verbose=0 if args.json else 1,
    ).history  # fmt: skip
    seconds = time.perf_counter() - start
    files = _write_results(args, model, history)
    for finding in tc.diagnose(history).findings:
        if finding.level == "warning":
            warnings.warn(str(finding), stacklevel=2)
    result = {
        "network": args.network, "dataset": args.dataset, "images": len(data.x), "epochs": args.epochs,
        "seconds": round(seconds, 3), **{name: values[-1] for name, values in history.items()}, **files,
    }  # fmt: skip
    if args.json:
        print_json(result)
        return
    print_facts({"seconds": f"{seconds:.1f}", "accuracy on the test images": f"{result['val_accuracy']:.4f}", **files})


def _check(args: argparse.Namespace) -> None:
    """Raise before the work, not after it."""
    if args.output:
        check_model_name("--output", args.output)
    if args.plot:
        check_picture("--plot", args.plot)
    paths = [path for path in (args.output, args.history, args.plot) if path]
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError(f"--output, --history and --plot must be different files. Received: {paths[0]}")
    for path in paths:
        check_target(path)
    if args.seed < 0:
        raise UsageError(f"--seed must be >= 0. Received: {args.seed}")


def _write_results(args: argparse.Namespace, model: Any, history: dict[str, list[float]]) -> dict[str, Path]:
    """Write the files that were asked for; returns them by what they are."""
    import tinyconv as tc

    if args.output:
        model.save(args.output)
    if args.history:
        with replacing(args.history) as temporary:
            temporary.write_text(json.dumps(history, indent=2) + "\n")
    if args.plot:
        tc.viz.plot_history(history, args.plot)
    named = {"model": args.output, "history": args.history, "curve": args.plot}
    return {name: path for name, path in named.items() if path}


# --- evaluate --------------------------------------------------------------------------------------------------


def add_evaluate(commands: Any) -> None:
    """``tinyconv evaluate``."""
    parser = add_command(
        commands, "evaluate", evaluate,
        "Measure a model on a data set: loss, accuracy and a report per class.",
        "tinyconv evaluate lenet.tinyconv mnist",
    )  # fmt: skip
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model file")
    parser.add_argument("dataset", choices=datasets.IMAGES, metavar="DATASET", help=", ".join(datasets.IMAGES))
    parser.add_argument("--split", choices=("test", "train"), default="test", help="which images (test)")
    _add_data(parser, "images")
    add_json(parser)


def evaluate(args: argparse.Namespace) -> None:
    """Predict all images and compare."""
    from tinyconv.metrics import classification_report, confusion_matrix

    model = load(args.model)
    with quiet(args.json):
        data = datasets.load_images(args.dataset, args.split, image_format(model), args.scale, args.limit)
    outputs = model.predict(data.x, batch_size=args.batch_size)
    names = model.class_names or data.class_names
    if np.ndim(outputs) != 2 or outputs.shape[1] != len(data.class_names) or len(names) != outputs.shape[1]:
        raise ValueError(
            f"{args.dataset} has {len(data.class_names)} classes: expected a model with as many outputs. "
            f"Received: outputs of shape {np.shape(outputs)}"
        )
    predicted = outputs.argmax(axis=1)
    result: dict[str, Any] = {"model": args.model, "dataset": args.dataset, "split": args.split, "images": len(data.x)}
    loss = _loss(model, data, args.batch_size)
    if loss is not None:
        result["loss"] = loss
    result["accuracy"] = float((predicted == data.y).mean())
    if args.json:
        table = confusion_matrix(data.y, predicted, labels=range(len(names)))
        print_json({**result, "class_names": names, "confusion_matrix": table})
        return
    print_facts({name: f"{value:.4f}" if isinstance(value, float) else value for name, value in result.items()})
    present = np.union1d(data.y, predicted)
    print(classification_report(data.y, predicted, target_names=[names[c] for c in present]))


def _loss(model: Any, data: datasets.Images, batch_size: int) -> float | None:
    """The loss with which the model was compiled, if it was; labels as it wants them."""
    from tinyconv import losses

    if model.objective is None:
        return None
    sparse = isinstance(losses.get(model.objective.loss), losses.SparseCategoricalCrossentropy)
    y = data.y if sparse else np.eye(len(data.class_names), dtype=np.float32)[data.y]
    found = model.evaluate(data.x, y, batch_size=batch_size, return_dict=True)
    return float(found["loss"])


# --- predict ---------------------------------------------------------------------------------------------------


def add_predict(commands: Any) -> None:
    """``tinyconv predict``."""
    parser = add_command(
        commands, "predict", predict,
        "Tell which class a model sees in image files, or in images of a data set.\n\n"
        "Images are resized to the model's input, and made grey for models with one channel.",
        "tinyconv predict lenet.tinyconv digit.png --invert\n"
        "tinyconv predict lenet.tinyconv --dataset mnist --limit 10",
    )  # fmt: skip
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model file")
    parser.add_argument("images", type=Path, nargs="*", metavar="IMAGE", help="image files (PNG, JPEG, ...)")
    parser.add_argument("--dataset", choices=datasets.IMAGES, metavar="DATASET", help="test images of a data set")
    parser.add_argument("--top", type=positive, default=1, metavar="K", help="the K most probable classes (1)")
    parser.add_argument("--invert", action="store_true", help="dark on white, for models of white on dark as MNIST's")
    _add_data(parser, "images of the data set")
    add_json(parser)


def predict(args: argparse.Namespace) -> int | None:
    """Print the most probable classes of every image."""
    if bool(args.images) == (args.dataset is not None):
        raise UsageError("expected either image files or --dataset")
    if args.images and args.limit:
        raise UsageError("--limit is for --dataset. Received: image files")
    if args.dataset and args.invert:
        raise UsageError(f"--invert is for image files. Received: --dataset {args.dataset}")
    model = load(args.model)
    if args.dataset is not None:
        with quiet(args.json):
            data = datasets.load_images(args.dataset, "test", image_format(model), args.scale, args.limit)
        sources, x, failed = [f"{args.dataset}[{i}]" for i in range(len(data.x))], data.x, False
        truth = [data.class_names[label] for label in data.y]
    else:
        sources, x = _read_images(args, model)
        failed, truth = len(sources) < len(args.images), []
    if not sources:
        if args.json:
            print_json([])
        return FAILED
    outputs = model.predict(x, batch_size=args.batch_size)
    if np.ndim(outputs) != 2:
        raise ValueError(f"Expected a model with one output per class. Received: outputs of shape {np.shape(outputs)}")
    results = [_result(source, row, model.class_names, args.top) for source, row in zip(sources, outputs, strict=True)]
    if args.json:
        print_json([{**r, **({"truth": truth[i]} if truth else {})} for i, r in enumerate(results)])
    else:
        shown = [" ".join(f"{c['class']} {c['probability']:.4f}" for c in r["classes"]) for r in results]
        columns = [[r["source"], text, *truth[i : i + 1]] for i, (r, text) in enumerate(zip(results, shown))]
        print_table(["image", "prediction", *["truth"] * bool(truth)], columns)
    return FAILED if failed else None


def _result(source: str, outputs: np.ndarray, names: Sequence[str] | None, top: int) -> dict[str, Any]:
    """The most probable classes of one image; one output is the probability of class 1."""
    p = np.array([1 - outputs[0], outputs[0]]) if len(outputs) == 1 else outputs
    best = np.argsort(-p, kind="stable")[:top]
    fits = names is not None and len(names) == len(p)
    classes = [{"class": names[c] if names and fits else str(c), "probability": float(p[c])} for c in best]
    return {"source": source, "classes": classes}


def _read_images(args: argparse.Namespace, model: Any) -> tuple[list[str], np.ndarray]:
    """Names and pixels of the image files that can be read; the others are named on stderr."""
    shape = model.input_shape[1:] if isinstance(model.input_shape, tuple) else ()
    if len(shape) != 3 or None in shape:
        raise ValueError(f"Expected a model for images of a fixed size. Received: input shape {model.input_shape}")
    depth, height, width = _depth_height_width(shape, image_format(model))
    found, images = [], []
    for path in args.images:
        try:
            images.append(_read_image(path, depth, height, width))
            found.append(str(path))
        except (OSError, ValueError) as error:
            print(f"tinyconv: error: {error}", file=sys.stderr)
    x = np.array(images, np.float32).reshape(-1, height, width, depth)
    x = (255 - x if args.invert else x) * np.float32(args.scale)
    return found, np.moveaxis(x, -1, 1) if image_format(model) == "channels_first" else x


def _depth_height_width(shape: Sequence[int], data_format: str) -> tuple[int, int, int]:
    """Of images of a shape without the batch axis."""
    depth, height, width = shape if data_format == "channels_first" else (shape[2], shape[0], shape[1])
    return depth, height, width


def _read_image(path: Path, depth: int, height: int, width: int) -> np.ndarray:
    """Pixels from 0 to 255, (height, width, depth), RGB or grey."""
    import tinyconv as tc
    from tinyconv.preprocessing.opencv import opencv

    if depth not in (1, 3):
        raise ValueError(f"Expected a model for grey or colour images. Received: one with {depth} channels")
    if path.is_dir():
        raise ValueError(f"Expected an image file. Received: {path}, which is a folder")
    cv2 = opencv()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong with a file is said once
    image = tc.preprocessing.load_img(path, "grayscale" if depth == 1 else "rgb")
    if image.shape[:2] != (height, width):
        smaller = image.shape[0] > height and image.shape[1] > width
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return image.reshape(height, width, depth)
