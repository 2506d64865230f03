"""``image_dataset_from_directory``: a folder of images as a data set that is read batch by batch, in threads."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from tinyconv import config, random
from tinyconv.checks import integer
from tinyconv.geometry import check_data_format
from tinyconv.losses import check_labels
from tinyconv.preprocessing.files import check_color_mode, check_size, img_to_array, load_img
from tinyconv.preprocessing.folders import list_classes, list_images_of_classes
from tinyconv.preprocessing.prefetching import map_ahead
from tinyconv.preprocessing.resampling import TENSORFLOW, centre_box, check_interpolation, resize_image

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
LABEL_MODES = ("int", "categorical", "binary", None)


class ImageDataset:
    """Batches of images that are read from files as they are needed; every loop over it is one epoch.

    ``len`` is the number of batches. Threads read the next batches while the loop works on one; they end with the
    loop, however it ends, and an error in one of them is raised in the loop. :func:`image_dataset_from_directory`
    makes it.

    Attributes
    ----------
    file_paths : list of str
    labels : ndarray of shape (N,) or (N, classes), or None
    class_names : list of str
    workers : int
        Number of threads; 0 reads in the loop itself.
    """

    def __init__(
        self,
        file_paths: Sequence[str],
        labels: np.ndarray | None,
        class_names: Sequence[str],
        read: Callable[[str], np.ndarray],
        batch_size: int | None = 32,
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        self.file_paths, self.labels, self.class_names = list(file_paths), labels, list(class_names)
        self.batch_size, self.shuffle = batch_size, shuffle
        self.seed = int(random.generator().integers(2**63)) if seed is None else int(seed)
        self.workers = min(4, os.cpu_count() or 1)
        self._read, self._functions, self._limit = read, (), None
        self._epochs = 0  # loops that were begun

    _functions: tuple[Callable[..., Any], ...]
    _limit: int | None
    _makes_ahead = True  # more threads would only wait for its own

    def __len__(self) -> int:
        count = math.ceil(len(self.file_paths) / (self.batch_size or 1))
        return count if self._limit is None else min(count, self._limit)

    def __iter__(self) -> Iterator[Any]:
        order = np.arange(len(self.file_paths))
        if self.shuffle:
            order = np.random.default_rng([self.seed, self._epochs]).permutation(order)
        self._epochs += 1
        size = self.batch_size or 1
        parts = (order[first : first + size] for first in range(0, len(order), size))
        return map_ahead(self._make, islice(parts, self._limit), self.workers, self.workers + 1)

    def _make(self, chosen: np.ndarray) -> Any:
        images = np.stack([self._read(self.file_paths[i]) for i in chosen])
        parts = (images,) if self.labels is None else (images, self.labels[chosen])
        if self.batch_size is None:
            parts = tuple(part[0] for part in parts)
        for function in self._functions:
            result = function(*parts)
            parts = result if isinstance(result, tuple) else (result,)
        return parts if len(parts) > 1 else parts[0]

    def map(self, function: Callable[..., Any]) -> ImageDataset:
        """The data set with ``function(images, labels)``, or ``function(images)``, applied to every batch.

        The function runs in the threads.
        """
        mapped = copy.copy(self)
        mapped._functions = (*self._functions, function)
        return mapped

    def take(self, count: int) -> ImageDataset:
        """The first ``count`` batches of every epoch."""
        taken = copy.copy(self)
        taken._limit = min(integer("count", count, 0), len(self))
        return taken

    def __repr__(self) -> str:
        return (
            f"<ImageDataset: {len(self.file_paths)} images of {len(self.class_names)} classes, {len(self)} batches>"
        )


def image_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: tuple[int, int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    verbose: bool = True,
) -> Any:
    """Make a data set of a folder of image files; nothing but their names is read until the data set is used.

    Parameters
    ----------
    directory : str or Path
        With one folder per class, at any depth within it JPEG, PNG, BMP or GIF files (of which the first picture
        counts).
    labels : "inferred", None or list of int
        From the folders; no labels; or one per file, in the order of their sorted paths.
    label_mode : {"int", "categorical", "binary", None}
        int32 (N,), one-hot float32 (N, classes), 0 or 1 as float32 (N, 1), or no labels.
    class_names : list of str, optional
        The folders' names in the order of their labels; sorted by default.
    color_mode : {"rgb", "rgba", "grayscale"}
    batch_size : int, optional
        ``None`` gives single images.
    image_size : (int, int)
        Height and width that images are resized to.
    shuffle : bool
        New order every epoch; else files come sorted.
    seed : int, optional
        Of the order and of the split; drawn by default.
    validation_split : float, optional
        Fraction of the files, after shuffling them with ``seed``, for ``subset="validation"``.
    subset : {"training", "validation", "both"}, optional
        Needed with ``validation_split``; "both" returns two data sets.
    interpolation : str
        "bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian" or "mitchellcubic", as TensorFlow
        means them: without smoothing when an image shrinks, "area" excepted.
    follow_links : bool
        Whether to look into folders that are symbolic links.
    crop_to_aspect_ratio, pad_to_aspect_ratio : bool
        Keep proportions by cutting the sides off, or by adding black ones.
    data_format : {"channels_last", "channels_first"}, optional
        ``config.image_data_format()`` by default.
    verbose : bool
        Print how many files were found.

    Returns
    -------
    ImageDataset
        Of batches ``(images, labels)``, or ``images`` without labels; images are float32 in 0..255.

    Examples
    --------
    >>> image_dataset_from_directory("no such folder")
    Traceback (most recent call last):
    FileNotFoundError: Expected a folder with one folder per class. Received: no such folder
    """
    check_color_mode(color_mode)
    interpolation = check_interpolation(interpolation, TENSORFLOW)
    size = check_size("image_size", image_size)
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("Expected at most one of crop_to_aspect_ratio and pad_to_aspect_ratio. Received: both")
    data_format = check_data_format(data_format or config.image_data_format())
    _check_labels(labels, label_mode, class_names)
    _check_split(validation_split, subset, shuffle, seed)
    batch_size = None if batch_size is None else integer("batch_size", batch_size)
    seed = None if seed is None else integer("seed", seed, 0)

    paths, classes, names = _index(directory, labels, class_names, follow_links)
    if label_mode == "binary" and len(names) != 2:
        raise ValueError(f"label_mode='binary' expects 2 classes. Received: {len(names)}: {names[:10]}")
    if verbose:
        print(f"Found {len(paths)} files" + (f" belonging to {len(names)} classes." if labels is not None else "."))
    seed = int(random.generator().integers(2**63)) if seed is None else seed
    encoded = None if labels is None else _encode(classes, label_mode, len(names))

    def read(path: str) -> np.ndarray:
        return _read(path, color_mode, size, interpolation, crop_to_aspect_ratio, pad_to_aspect_ratio, data_format)

    parts = []
    for name, rows in _split(len(paths), validation_split, subset, shuffle, seed).items():
        if verbose and name:
            print(f"Using {len(rows)} files for {name}.")
        chosen = None if encoded is None else encoded[rows]
        parts.append(ImageDataset([paths[i] for i in rows], chosen, names, read, batch_size, shuffle, seed))
    return parts[0] if len(parts) == 1 else tuple(parts)


def _read(
    path: str, color_mode: str, size: tuple[int, int], interpolation: str, crop: bool, pad: bool, data_format: str
) -> np.ndarray:
    image = load_img(path, color_mode).astype(np.float32)
    if crop:
        (top, bottom), (left, right) = centre_box((image.shape[0], image.shape[1]), size)
        image = image[top:bottom, left:right]
    elif pad:
        image = _pad(image, size)
    return img_to_array(resize_image(image, size, interpolation, antialias=False), data_format, np.float32)


def _pad(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image (H, W, C) between black bars that give it the proportions of ``size``."""
    height, width = image.shape[:2]
    new_height, new_width = max(height, width * size[0] // size[1]), max(width, height * size[1] // size[0])
    top, left = (new_height - height) // 2, (new_width - width) // 2
    return np.pad(image, ((top, new_height - height - top), (left, new_width - width - left), (0, 0)))


def _check_labels(labels: Any, label_mode: str | None, class_names: Any) -> None:
    if label_mode not in LABEL_MODES:
        raise ValueError(f"label_mode must be one of {LABEL_MODES}. Received: {label_mode!r}")
    if isinstance(labels, str) and labels != "inferred":
        raise ValueError(f"labels must be 'inferred', None or a list of labels. Received: {labels!r}")
    if class_names is not None and not isinstance(labels, str):
        raise ValueError("class_names can be given for labels='inferred' only. Received: other labels beside them")


def _check_split(fraction: float | None, subset: str | None, shuffle: bool, seed: int | None) -> None:
    if subset not in ("training", "validation", "both", None):
        raise ValueError(f"subset must be 'training', 'validation', 'both' or None. Received: {subset!r}")
    if fraction is not None and not 0 < fraction < 1:
        raise ValueError(f"validation_split must lie between 0 and 1. Received: {fraction!r}")
    if (fraction is None) != (subset is None):
        raise ValueError(
            f"Expected both validation_split and subset, or none. Received: validation_split={fraction!r}, "
            f"subset={subset!r}"
        )
    if subset in ("training", "validation") and shuffle and seed is None:
        raise ValueError("validation_split with shuffle needs a seed, so that subsets do not overlap. Received: none")


def _index(
    directory: str | os.PathLike[str], labels: Any, class_names: Sequence[str] | None, follow_links: bool
) -> tuple[list[str], np.ndarray, list[str]]:
    """Paths, class indices and class names."""
    inferred = isinstance(labels, str)
    folders = list_classes(directory)
    if inferred and class_names is not None and sorted(class_names) != folders:
        raise ValueError(
            f"Expected class_names to name the folders of {directory}: {folders}. Received: {list(class_names)}"
        )
    names = list(class_names) if class_names is not None else folders
    found = list_images_of_classes(directory, names if inferred else ["."], ENDINGS, follow_links)
    paths = [os.path.join(directory, os.path.normpath(name)) for files in found for name in files]
    if not paths:
        raise ValueError(f"Expected image files ({', '.join(ENDINGS)}). Received: {directory} without any")
    if inferred:
        return paths, np.repeat(np.arange(len(names)), [len(files) for files in found]), names
    if labels is None:
        return paths, np.zeros(len(paths), int), []
    if len(labels) != len(paths):
        raise ValueError(f"Expected one label for each of {len(paths)} files. Received: {len(labels)} labels")
    own = np.asarray(labels)
    if own.ndim != 1 or own.dtype.kind not in "iub":
        raise ValueError(
            "labels must be integers, one for each file (LabelEncoder turns names into such). "
            f"Received: {own.dtype.name} of shape {own.shape}"
        )
    own = own.astype(np.int64)
    return paths, own, [str(label) for label in np.unique(own).tolist()]


def _encode(classes: np.ndarray, label_mode: str | None, count: int) -> np.ndarray | None:
    if label_mode is None:
        return None
    if label_mode != "int":
        check_labels(classes, count, f"label_mode={label_mode!r}")
    if label_mode == "categorical":
        return np.eye(count, dtype=np.float32)[classes]
    return classes.astype(np.int32) if label_mode == "int" else classes.astype(np.float32)[:, None]


def _split(
    count: int, fraction: float | None, subset: str | None, shuffle: bool, seed: int
) -> dict[str, np.ndarray]:
    """Rows of each part by its name; the last ``fraction`` of the shuffled rows validates."""
    rows = np.arange(count)
    if fraction is None:
        return {"": rows}
    if shuffle:
        rows = np.random.default_rng(seed).permutation(rows)
    cut = count - int(fraction * count)
    parts = {"training": rows[:cut], "validation": rows[cut:]}
    if not all(len(part) for part in parts.values()):
        raise ValueError(f"validation_split={fraction} must leave files on both sides. Received: {count} files")
    return parts if subset == "both" else {subset: parts[subset]}  # type: ignore[index, dict-item]
