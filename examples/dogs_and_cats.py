"""Cats or dogs, learned from 1,600 photos in three ways: from scratch, on VGG16's features, and by fine-tuning VGG16.

``scratch`` trains a small CNN (three convolutions, one dense layer of 64, dropout) on randomly sheared, zoomed and
mirrored photos; ``bottleneck`` computes the features of VGG16's convolutions once, stores them as ``.npy`` files and
trains a small network on them; ``fine-tune`` puts that trained network on top of VGG16, freezes all of VGG16 but its
last block and trains the two together with tiny steps. The slides report 74-78 %, about 90 % and about 95 %.

Photos: the 1,000 cats and 1,000 dogs of the animals data set, the first fifth of either (sorted by name) for
validation; the slides took 1,000 and 200 of either from Kaggle's photos. 150x150 pixels, batches of 16, 50 epochs,
RMSprop (SGD with momentum 0.9 for fine-tuning), binary cross-entropy; 0 is a cat, 1 a dog.

Where the slides go wrong, this program does not follow them:

- they scale pixels to 0..1 for VGG16, whose weights expect BGR less the means of ImageNet (``--scaling`` chooses); its
  features are then a hundred times larger, and with the slides' rate for fine-tuning, 0.0001, the network gives the
  same answer for all photos after one epoch: the rate is a hundredth of it (see ``SLIDES``);
- they freeze ``layers[:25]`` of a model with 3 layers, which freezes everything: here blocks 1 to 4 are frozen by name,
  which leaves 9,177,089 trainable parameters;
- they train the network on the features and do not store its weights, which fine-tuning then loads;
- they write the labels of the features by hand, for two halves of equal size: here the generator tells them.

The slides' exercise is to get above 95 %: ``--exercise`` trains the network on the features with more dropout, a
penalty on its weights and smaller steps, and then tunes on photos that are turned and shifted, too. Of these 400
photos it gets 379 right, 0.9475.

    python -m examples.dogs_and_cats scratch
    python -m examples.dogs_and_cats bottleneck
    python -m examples.dogs_and_cats fine-tune        # after bottleneck, with the same --output

    python -m examples.dogs_and_cats bottleneck --exercise --output runs/exercise
    python -m examples.dogs_and_cats fine-tune --exercise --output runs/exercise

The weights of VGG16 without its top, ``vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5``, must lie in the folder
``models`` of tinyconv's cache; ``--weights`` names another file.
"""

from __future__ import annotations

import argparse
import os
import shlex
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinyconv as tc
from examples import common
from tinyconv.layers import Activation, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D
from tinyconv.preprocessing.image import ImageDataGenerator

CLASSES = ("cats", "dogs")
VALIDATION = 0.2  # of the photos of either class
AUGMENTATION: dict[str, Any] = {"shear_range": 0.2, "zoom_range": 0.2, "horizontal_flip": True}
TURNS_AND_SHIFTS: dict[str, Any] = {"rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 0.2}
TOP_FILE = "dogs_and_cats_top.safetensors"
FEATURES_FILE = {
    "training": "bottleneck_features_train.npy", "validation": "bottleneck_features_validation.npy",
}  # fmt: skip


class Settings(NamedTuple):
    """How VGG16's features are used.

    ``dropout`` and ``penalty`` (L2, of the kernels) are those of the network on the features; ``rate`` is the size of
    its steps, ``fine_rates`` of fine-tuning, by the scaling of pixels; ``augmentation`` changes photos for fine-tuning.
    """

    dropout: float
    penalty: float
    rate: float
    fine_rates: dict[str, float]
    augmentation: dict[str, Any]


SLIDES = Settings(0.5, 0.0, 1e-3, {"slides": 1e-4, "imagenet": 1e-6}, AUGMENTATION)
EXERCISE = Settings(0.8, 0.01, 1e-4, {"slides": 1e-4, "imagenet": 3e-6}, AUGMENTATION | TURNS_AND_SHIFTS)


# --- networks --------------------------------------------------------------------------------------------------


def build_small_network(size: int = 150) -> tc.Sequential:
    """The CNN that is trained from scratch on photos (size, size, 3).

    >>> build_small_network().count_params()
    1212513
    """
    model = tc.Sequential([Input((size, size, 3))])
    for filters in (32, 32, 64):
        model.add(Conv2D(filters, 3))
        model.add(Activation("relu"))
        model.add(MaxPooling2D(2))
    for layer in (Flatten(), Dense(64), Activation("relu"), Dropout(0.5), Dense(1), Activation("sigmoid")):
        model.add(layer)
    return model


def build_top(shape: Sequence[int] = (4, 4, 512), settings: Settings = SLIDES) -> tc.Sequential:
    """The network on VGG16's features of one photo.

    >>> build_top().count_params()
    2097665
    """
    penalty = tc.regularizers.L2(settings.penalty) if settings.penalty else None
    hidden = Dense(256, activation="relu", kernel_regularizer=penalty)
    output = Dense(1, activation="sigmoid", kernel_regularizer=penalty)
    return tc.Sequential([Input(tuple(shape)), Flatten(), hidden, Dropout(settings.dropout), output])


def build_base(size: int, weights: Any) -> tc.Model:
    """VGG16 without its dense layers, for photos (size, size, 3)."""
    return tc.applications.VGG16(include_top=False, weights=weights, input_shape=(size, size, 3))


def compose(base: tc.Model, top: tc.Model, blocks: Sequence[int] = (5,)) -> tc.Model:
    """Base and top as one model, in which only these blocks of the base, and the top, are trained.

    >>> model = compose(build_base(150, None), build_top())
    >>> sum(weight.size for weight in model.trainable_weights), model.count_params()
    (9177089, 16812353)
    """
    trained = tuple(f"block{block}_" for block in blocks)
    for layer in base.layers:
        layer.trainable = layer.name.startswith(trained)
    photo = Input(base.input_shape[1:])
    return tc.Model(photo, top(base(photo)))


# --- photos ----------------------------------------------------------------------------------------------------


def photo_folder(args: argparse.Namespace) -> Path:
    """The folder with the folders cats and dogs."""
    if args.quick:
        return common.write_animals(args.output / "generated", args.seed)
    if args.dataset is None:
        paths, _ = tc.datasets.animals.load_paths(CLASSES)
        return Path(paths[0]).parent.parent
    return args.dataset


def flow(args: argparse.Namespace, subset: str, labels: bool = True, shuffle: bool = False, **options: Any) -> Any:
    """Batches of photos of a subset, "training" or "validation", as the generator ``options`` change them."""
    generator = ImageDataGenerator(validation_split=VALIDATION, **options)
    folder = photo_folder(args)
    photos = generator.flow_from_directory(
        folder, target_size=(args.size, args.size), classes=list(CLASSES), batch_size=args.batch_size,
        class_mode="binary" if labels else None, shuffle=shuffle, seed=args.seed, subset=subset,
        interpolation="bilinear",
    )  # fmt: skip
    if len(set(photos.classes)) < len(CLASSES):
        raise ValueError(f"expected photos in {' and '.join(CLASSES)} of {folder}. Received: none in one of them")
    return photos


def scaling(args: argparse.Namespace) -> dict[str, Any]:
    """Generator options that scale pixels as VGG16 expects them, or as the slides do."""
    if args.scaling == "slides":
        return {"rescale": 1 / 255}
    return {"preprocessing_function": tc.applications.vgg16.preprocess_input}


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a ``.npy`` file, whole or not at all."""
    temporary = path.with_name(f".{path.name}")
    with open(temporary, "wb") as file:
        np.save(file, array)
    os.replace(temporary, path)


# --- the three ways --------------------------------------------------------------------------------------------


def train_from_scratch(args: argparse.Namespace) -> tuple[tc.Model, Any]:
    """Train the small CNN on changing photos."""
    train = flow(args, "training", shuffle=True, rescale=1 / 255, **AUGMENTATION)
    validation = flow(args, "validation", rescale=1 / 255)
    model = build_small_network(args.size)
    print(f"[INFO] training the small network, {model.count_params()} parameters, on {train.samples} photos...")
    return model, fit(model, "rmsprop", args, train, validation_data=validation)


def train_on_features(args: argparse.Namespace) -> tuple[tc.Model, Any]:
    """Store VGG16's features of all photos, then train the top on them and store its weights."""
    base = build_base(args.size, args.weights)
    features, labels = {}, {}
    for subset in ("training", "validation"):
        photos = flow(args, subset, labels=False, **scaling(args))
        print(f"[INFO] VGG16's features of {photos.samples} photos for {subset}...")
        start = time.perf_counter()
        file = args.output / FEATURES_FILE[subset]
        save_array(file, base.predict(photos, verbose=0))
        print(f"[INFO] computed in {time.perf_counter() - start:.1f} s: {file}")
        features[subset], labels[subset] = np.load(file, allow_pickle=False), photos.classes
    top = build_top(base.output_shape[1:], args.settings)
    print(f"[INFO] training the top, {top.count_params()} parameters...")
    validation = features["validation"], labels["validation"]
    optimizer = tc.optimizers.RMSprop(args.settings.rate)
    history = fit(top, optimizer, args, features["training"], labels["training"], args.batch_size,
                  validation_data=validation)  # fmt: skip
    top.save_weights(args.output / TOP_FILE)
    print(f"[INFO] weights of the top: {args.output / TOP_FILE}")
    return top, history


def fine_tune(args: argparse.Namespace) -> tuple[tc.Model, Any]:
    """Train VGG16's last block and the trained top together."""
    file = args.output / TOP_FILE
    if not file.is_file():
        command = f"python -m examples.dogs_and_cats bottleneck --output {shlex.quote(str(args.output))}"
        command += " --exercise" * args.exercise + " --quick" * args.quick
        raise FileNotFoundError(f"expected the weights of a trained top in {file}; run `{command}` first")
    base = build_base(args.size, args.weights)
    top = build_top(base.output_shape[1:], args.settings)
    top.load_weights(file)
    model = compose(base, top, args.blocks)
    train = flow(args, "training", shuffle=True, **scaling(args), **args.settings.augmentation)
    validation = flow(args, "validation", **scaling(args))
    trainable = sum(weight.size for weight in model.trainable_weights)
    print(f"[INFO] training {trainable} of {model.count_params()} parameters on {train.samples} photos...")
    optimizer = tc.optimizers.SGD(args.settings.fine_rates[args.scaling], momentum=0.9)
    return model, fit(model, optimizer, args, train, validation_data=validation)


def fit(model: tc.Model, optimizer: Any, args: argparse.Namespace, *data: Any, **options: Any) -> Any:
    """Compile and train."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tc.ModelWarning)  # of pooling VGG16's maps of 75 and 37 pixels
        model.compile(optimizer, loss="binary_crossentropy", metrics=["accuracy"])
    start = time.perf_counter()
    history = model.fit(*data, epochs=args.epochs, **options)
    print(f"[INFO] trained {args.epochs} epochs in {time.perf_counter() - start:.1f} s")
    return history


WAYS = {"scratch": train_from_scratch, "bottleneck": train_on_features, "fine-tune": fine_tune}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/dogs_and_cats")
    parser.add_argument("way", choices=WAYS, help="how to learn")
    parser.add_argument("-d", "--dataset", type=Path, help="folder with cats and dogs (the cache's animals)")
    parser.add_argument("-e", "--epochs", type=common.positive, default=50, help="passes over the photos (50)")
    parser.add_argument("-b", "--batch-size", type=common.positive, default=16, help="photos per update (16)")
    parser.add_argument("--size", type=common.positive, default=150, help="width and height of photos in pixels (150)")
    parser.add_argument("--weights", default="imagenet", help="file of VGG16's weights (ImageNet's in the cache)")
    parser.add_argument("--scaling", choices=["imagenet", "slides"], default="imagenet", help="of pixels for VGG16")
    parser.add_argument("--blocks", type=int, nargs="+", default=[5], choices=range(1, 6), metavar="BLOCK",
                        help="blocks of VGG16 to fine-tune (5)")  # fmt: skip
    parser.add_argument("--exercise", action="store_true", help="the exercise: more dropout, a penalty, turned photos")
    args = parser.parse_args(arguments)
    args.settings = EXERCISE if args.exercise else SLIDES
    if args.quick:  # small pictures, and VGG16 with random weights
        args.epochs, args.size, args.weights = 4, 32, None
    return args


def main(arguments: list[str] | None = None) -> float:
    """Run the program; returns the accuracy on the validation photos after the last epoch."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    tc.set_seed(args.seed)
    with common.user_input():  # photos, size and weights
        model, history = WAYS[args.way](args)
    name = f"dogs_and_cats_{args.way.replace('-', '_')}"
    model.save(args.output / f"{name}.tinyconv")
    print(f"[INFO] model file: {args.output / name}.tinyconv")
    accuracies = history.history["val_accuracy"]
    report = f"validation accuracy: {accuracies[-1]:.4f} after {len(accuracies)} epochs, best {max(accuracies):.4f}"
    print(report)
    common.write_results(args.output / f"{name}.png", history, report, f"Dogs and cats: {args.way}", args.show)
    return accuracies[-1]


if __name__ == "__main__":
    common.run(main)
