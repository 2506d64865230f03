"""What the programs share: their command line, their data, their reports, and how they end when something is missing.

Every program writes into the folder ``--output``; files are named after the program. ``--quick`` replaces the data by
a few generated pictures, so that it shows within seconds, anywhere, that the program works.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinyconv as tc
from tinyconv.files import replacing
from tinyconv.metrics import classification_report
from tinyconv.preprocessing import ImageToArrayPreprocessor, SimpleDatasetLoader, SimplePreprocessor

ANIMALS = ("panda", "dogs", "cats")  # the order in which the book's split finds its folders
MOST = 2**32 - 1  # of seeds


# --- command line ----------------------------------------------------------------------------------------------


def parser(description: str | None, output: str) -> argparse.ArgumentParser:
    """The arguments of all programs; `description` is the program's docstring, `output` its default folder."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("-o", "--output", type=Path, default=Path(output), help=f"folder for the results ({output})")
    options.add_argument("--seed", type=whole, default=42, help="makes the run repeatable (42)")
    options.add_argument("--quick", action="store_true", help="seconds on a few pictures, to see it work")
    options.add_argument("--show", action=Show, help="open windows with the pictures, too")
    return options


def add_training_arguments(
    options: argparse.ArgumentParser, epochs: int, batch_size: int | None = None, learning_rate: float | None = None
) -> None:
    """The settings of a training, with a program's defaults; those without default are no arguments."""
    help_epochs, help_batch = f"passes over the training data ({epochs})", f"samples per update ({batch_size})"
    options.add_argument("-e", "--epochs", type=positive, default=epochs, help=help_epochs)
    if batch_size is not None:
        options.add_argument("-b", "--batch-size", type=positive, default=batch_size, help=help_batch)
    if learning_rate is not None:
        help_rate = f"step of descent ({learning_rate:g})"
        options.add_argument("--learning-rate", type=not_negative, default=learning_rate, help=help_rate)


def add_mnist_argument(options: argparse.ArgumentParser) -> None:
    """Which digits to take, as ``tc.datasets.mnist.load_data`` names them."""
    options.add_argument(
        "--data", choices=["auto", "full", "cache", "subset"], default="auto",
        help="MNIST's 70,000 digits, downloaded where they are not in the cache (full) or not (cache); the 6,000 that "
        "ship with tinyconv (subset); full where that works, else subset (auto)",
    )  # fmt: skip


def has_display() -> bool:
    """Whether a window can open (OpenCV's ends the process where it cannot)."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def can_show() -> bool:
    """Whether OpenCV can open a window: it needs a display, and to be another package than the "headless" one."""
    import cv2

    return has_display() and not re.search(r"GUI: +NONE", cv2.getBuildInformation())


def can_plot() -> bool:
    """Whether matplotlib can open a window: it needs a display, and a package that draws windows."""
    if not has_display():
        return False
    from matplotlib import pyplot

    return pyplot.get_backend().lower() != "agg"


class Show(argparse.Action):
    """The action of ``--show``: an error at once where no window can open, not after an hour of training."""

    needed = "a package with which matplotlib opens windows (tkinter, or `pip install PyQt6`)"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, nargs=0, default=False, **options)

    def can_open(self) -> bool:
        return can_plot()

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if not self.can_open():
            parser.error(
                f"--show expected a display, and {self.needed}. Received none; pictures are saved without it, too"
            )
        setattr(namespace, self.dest, True)


class ShowByOpenCV(Show):
    """The same for the windows of OpenCV, which show one picture after the other."""

    needed = "OpenCV with windows (`pip install opencv-python`, not opencv-python-headless)"

    def can_open(self) -> bool:
        return can_show()


def positive(text: str) -> int:
    """A command-line argument that counts something."""
    return int(_checked(text, int, 1, "a whole number >= 1"))


def whole(text: str) -> int:
    """A command-line argument that is a seed, as large as NumPy takes them, or the number of a thing."""
    return int(_checked(text, int, 0, f"a whole number from 0 to {MOST}", MOST))


def not_negative(text: str) -> float:
    """A command-line argument such as a learning rate or a decay."""
    return _checked(text, float, 0, "a number >= 0")


def _checked(
    text: str, kind: Callable[[str], float], least: float, expected: str, most: float = sys.float_info.max
) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"expected {expected}, received {text}")
    return number


def file_to_write(text: str) -> Path:
    """A command-line argument that names a file for results."""
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"expected the name of a file, received the folder {text}")
    return Path(text)


def make_folder(folder: Path) -> None:
    """Make a folder for results; an error at once, not after an hour of training, where none can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        message = f"expected a folder for the results. Received: {folder}, where there is a file"
        raise NotADirectoryError(message) from None
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"expected a folder that can be written to. Received: {folder}")


@contextlib.contextmanager
def user_input() -> Iterator[None]:
    """In its body, a ValueError is about files or settings of the user: the program ends with its message."""
    try:
        yield
    except ValueError as error:
        raise SystemExit(f"[ERROR] {error}") from None


def need_opencv() -> None:
    """End the program with a message where OpenCV is not installed."""
    try:
        import cv2  # noqa: F401
    except ImportError:
        raise SystemExit("[ERROR] this program needs OpenCV: pip install opencv-python") from None


def run(main: Callable[[], Any], interrupted: str = "[INFO] interrupted") -> None:
    """Call a program's `main`; end with a line, not a traceback, where data or packages are missing or a file fails."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(interrupted)
    except (OSError, ImportError) as error:
        about_data = isinstance(error, tc.datasets.DownloadError) or str(tc.datasets.home() / "datasets") in str(error)
        hint = "\n[ERROR] `python -m tinyconv datasets` tells which data sets are here, and where"
        sys.exit(f"[ERROR] {error}{hint if about_data else ''}")


# --- training ---------------------------------------------------------------------------------------------------


def fit_to_the_best(model: tc.Model, training: Any, validation: Any, args: argparse.Namespace) -> Any:
    """Train until ``args.patience`` epochs show no progress in validation; leaves the weights of the best epoch."""
    best = tc.callbacks.EarlyStopping("val_accuracy", patience=args.patience, restore_best_weights=True)
    start = time.perf_counter()
    history = model.fit(*training, args.batch_size, args.epochs, validation_data=validation, callbacks=[best])
    seconds = time.perf_counter() - start
    print(f"[INFO] trained {len(history.epoch)} epochs in {seconds:.1f} s, the best was epoch {best.best_epoch + 1}")
    return history


# --- data ------------------------------------------------------------------------------------------------------


class Data(NamedTuple):
    """Pictures in 0..1 and one-hot labels, for training and for testing."""

    x_train: np.ndarray  # (N, H, W, C), float32
    y_train: np.ndarray  # (N, classes)
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: list[str]


def cifar10(quick: bool = False, seed: int = 0) -> Data:
    """CIFAR-10, RGB; with `quick` 320 + 80 generated pictures of the same size and number of classes."""
    names = list(tc.datasets.cifar10.CLASS_NAMES)
    if quick:
        images, labels = generated_pictures(400, len(names), seed)
        x_train, x_test, y_train, y_test = images[:320], images[320:], labels[:320], labels[320:]
    else:
        with user_input():
            (x_train, y_train), (x_test, y_test) = tc.datasets.cifar10.load_data()
    encoder = tc.datasets.LabelBinarizer()
    y_train = encoder.fit_transform(y_train)
    return Data(as_floats(x_train), y_train, as_floats(x_test), encoder.transform(y_test), names)


def as_floats(images: np.ndarray) -> np.ndarray:
    """Pixels 0..255 as float32 in 0..1."""
    return images.astype("float32") / 255


def generated_pictures(count: int, classes: int, seed: int = 0, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures (N, size, size, 3) of uint8 with a bright square, whose place tells the class: up to 16 classes.

    Examples
    --------
    >>> images, labels = generated_pictures(6, classes=3)
    >>> images.shape, labels.tolist()
    ((6, 32, 32, 3), [0, 1, 2, 0, 1, 2])
    """
    random = np.random.default_rng(seed)
    images = random.integers(0, 128, (count, size, size, 3), dtype=np.uint8)
    labels = np.arange(count) % classes
    side = size // 4  # 4 x 4 places
    for image, label in zip(images, labels, strict=True):
        y, x = side * (label // 4), side * (label % 4)
        image[y : y + side, x : x + side] += 128
    return images, labels


def animal_paths(folder: Path | None = None) -> list[str]:
    """Paths of the photos: of the data set in the cache, or of the three folders cats, dogs, panda in `folder`."""
    if folder is None:
        return tc.datasets.animals.load_paths(ANIMALS)[0]
    places = [folder / name for name in ANIMALS]
    paths = [sorted(tc.preprocessing.list_images(place)) if place.is_dir() else [] for place in places]
    if missing := [name for name, found in zip(ANIMALS, paths, strict=True) if not found]:
        raise FileNotFoundError(
            f"expected photos in {', '.join(ANIMALS)} of {folder}. Received: none in {', '.join(missing)}"
        )
    return [path for found in paths for path in found]


def write_animals(folder: Path, seed: int, count: int = 20) -> Path:
    """Write `count` generated pictures of each kind of animal as PNG files, in the data set's layout."""
    need_opencv()
    images, labels = generated_pictures(count * len(ANIMALS), len(ANIMALS), seed)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        write_image(folder / ANIMALS[label] / f"{number:03d}.png", image)
    return folder


def read_photos(paths: Sequence[str], verbose: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """Photos as ShallowNet takes them, (N, 32, 32, 3) in 0..1 with blue first, and the names of their folders."""
    loader = SimpleDatasetLoader(preprocessors=[SimplePreprocessor(32, 32), ImageToArrayPreprocessor()])
    data, labels = loader.load(paths, verbose=verbose)
    return as_floats(data), labels


def read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """An image file, (H, W, 3) of uint8 with blue first; an error that names the file where it is not intact."""
    return np.asarray(SimpleDatasetLoader().load([path])[0][0])


def read_grey(path: str | os.PathLike[str]) -> np.ndarray:
    """An image file in grey, (H, W) of uint8; an error that names the file where it is not intact."""
    import cv2

    return np.asarray(cv2.cvtColor(read_picture(path), cv2.COLOR_BGR2GRAY))


def load_network(path: Path, written_by: str = "") -> Any:
    """The network of a model file; the program ends with a message where the file is none, or is not there.

    The message names the program that writes such files, ``written_by``.
    """
    if written_by and not path.is_file():
        raise FileNotFoundError(
            f"expected a trained network in {path}. Received: no file. To get one, run: python -m examples.{written_by}"
        )
    with user_input():
        return tc.load_model(path)


# --- results ---------------------------------------------------------------------------------------------------


def print_report(true: np.ndarray, predicted: np.ndarray, names: Sequence[str], what: str) -> tuple[str, float]:
    """The classification report, printed, and the accuracy, which is its last line.

    Parameters
    ----------
    true, predicted : ndarray of int, shape (N,)
        Classes by number.
    names : sequence of str
        Of the classes 0, 1, ...
    what : str
        What was classified, such as "test pictures".
    """
    report = classification_report(true, predicted, labels=range(len(names)), target_names=names)
    accuracy = float((predicted == true).mean())
    report = f"{report}\naccuracy on {len(true)} {what}: {accuracy:.4f}"
    print(report)
    return report, accuracy


def evaluate(model: Any, data: Data, batch_size: int) -> tuple[str, float]:
    """What `print_report` returns for the test pictures."""
    print("[INFO] evaluating network...")
    predicted = model.predict(data.x_test, batch_size=batch_size).argmax(axis=1)
    return print_report(data.y_test.argmax(axis=1), predicted, data.class_names, "test pictures")


def write_results(plot: Path, history: Any, report: str, title: str, show: bool) -> None:
    """Save the training curve as `plot`, and the report beside it under the same name, ``.txt``."""
    figure = tc.viz.plot_history(history, plot, title=title)
    write_text(plot.with_suffix(".txt"), report + "\n")
    print(f"[INFO] training curve: {plot}")
    print(f"[INFO] report: {plot.with_suffix('.txt')}")
    if show:
        tc.viz.show(figure)


def draw_pictures(
    pictures: Sequence[Any], titles: Sequence[str], columns: int, path: Path, width: float = 4
) -> Any:
    """Pictures of one size in a grid, each ``width`` inches wide; saved and returned.

    They are (H, W, 3) in 0..1; (H, W) of uint8; or (H, W) of floats, which are stretched to the full range of gray.
    """
    from matplotlib.figure import Figure

    rows = -(-len(pictures) // columns)
    proportion = pictures[0].shape[0] / pictures[0].shape[1]
    figure = Figure(figsize=(width * columns, (width * proportion + 0.4) * rows), layout="constrained")
    for number, (picture, title) in enumerate(zip(pictures, titles, strict=True), 1):
        axes = figure.add_subplot(rows, columns, number)
        limits = {"vmin": 0, "vmax": 255} if picture.dtype == np.uint8 else {}
        axes.imshow(picture, cmap="gray", **limits)
        axes.set_title(title)
        axes.axis("off")
    return tc.viz.save(figure, path)


def draw_label(image: np.ndarray, label: str, size: float) -> np.ndarray:
    """Write a label on an image (H, W, 3) of uint8, in its upper left corner; returns that image."""
    import cv2

    return cv2.putText(image, f"Label: {label}", (10, 30), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 255, 0), 2)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image file, whole or not at all; its folder is made.

    Parameters
    ----------
    path : Path
        Its ending tells the format.
    image : ndarray of uint8, shape (H, W) or (H, W, 3) with blue first
    """
    import cv2

    with replacing(path, make_folder=True) as temporary:
        temporary.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def table(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as text, columns aligned.

    Examples
    --------
    >>> print(table([("kernel", "size"), ("sharpen", 3)]))
    kernel   size
    sharpen  3
    """
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells)
