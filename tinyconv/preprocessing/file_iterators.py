"""Endless batches of transformed images from files: those of a directory, or those that a table names."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv.preprocessing.files import check_color_mode, check_size, img_to_array, load_img
from tinyconv.preprocessing.folders import list_classes, list_images_of_classes
from tinyconv.preprocessing.iterators import ImageIterator, part_of
from tinyconv.preprocessing.resampling import PILLOW, check_interpolation
from tinyconv.preprocessing.standardization import Standardization

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff")


class FileIterator(ImageIterator):
    """Batches from files that threads read in advance; a subclass finds their names and labels.

    Attributes
    ----------
    filenames, filepaths : list of str
        Names as they were given or found, below the directory; paths that can be opened.
    class_indices : dict of str to int
        The label of each class; empty where there are no classes.
    """

    CLASS_MODES: tuple[str | None, ...]
    filenames: list[str]
    filepaths: list[str]
    classes: Any  # the label of each file
    class_indices: dict[str, int]

    def _read_as(
        self,
        generator: Standardization,
        class_mode: str | None,
        target_size: tuple[int, int],
        color_mode: str,
        interpolation: str,
        keep_aspect_ratio: bool,
    ) -> None:
        """Check and keep how files become images; the first thing to be done."""
        if class_mode not in self.CLASS_MODES:
            raise ValueError(f"class_mode must be one of {self.CLASS_MODES}. Received: {class_mode!r}")
        self.class_mode, self.color_mode = class_mode, color_mode
        self.target_size = check_size("target_size", target_size)
        self.interpolation = check_interpolation(interpolation, PILLOW)
        self.keep_aspect_ratio = keep_aspect_ratio
        channels = check_color_mode(color_mode)
        last = generator.data_format == "channels_last"
        self.image_shape = (*self.target_size, channels) if last else (channels, *self.target_size)

    def _begin(self, generator: Standardization, workers: int | None, **options: Any) -> None:
        """The last thing to be done: the files are known."""
        workers = min(4, os.cpu_count() or 1) if workers is None else workers
        super().__init__(len(self.filenames), generator, workers=workers, **options)

    @property
    def samples(self) -> int:
        """Number of images."""
        return self.n

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_indices)

    @property
    def labels(self) -> Any:
        """The label of every file, in the order of ``filenames``."""
        return self.classes

    def _image(self, index: int) -> np.ndarray:
        image = load_img(
            self.filepaths[index], self.color_mode, self.target_size, self.interpolation, self.keep_aspect_ratio
        )
        generator = self.image_data_generator
        return img_to_array(image, generator.data_format, generator.dtype)

    def _with_labels(self, images: np.ndarray, chosen: np.ndarray) -> Any:
        return images if self.class_mode is None else (images, self._targets(images, chosen))

    def _targets(self, images: np.ndarray, chosen: np.ndarray) -> Any:
        """What is to be learned of the chosen files."""
        if self.class_mode == "input":
            return images.copy()
        found = [self.classes[i] for i in chosen]
        if self.class_mode != "categorical":
            return np.array(found, images.dtype)
        rows = np.zeros((len(found), self.num_classes), images.dtype)
        for row, label in zip(rows, found, strict=True):
            row[label] = 1  # also at several places
        return rows


class DirectoryIterator(FileIterator):
    """Batches from files; made by ``ImageDataGenerator.flow_from_directory``, which describes the parameters."""

    CLASS_MODES = ("categorical", "binary", "sparse", "input", None)

    def __init__(
        self,
        directory: str | os.PathLike[str],
        image_data_generator: Standardization,
        *,
        target_size: tuple[int, int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        workers: int | None = None,
        **options: Any,
    ) -> None:
        self._read_as(image_data_generator, class_mode, target_size, color_mode, interpolation, keep_aspect_ratio)
        self.directory, self.subset = directory, subset
        names = list_classes(directory) if classes is None else list(classes)
        self.class_indices = {name: i for i, name in enumerate(names)}
        found = list_images_of_classes(directory, names, ENDINGS, follow_links)
        if subset is not None:
            fraction = image_data_generator.validation_split
            found = [files[part_of(subset, fraction, len(files))] for files in found]
        self.filenames = [file for files in found for file in files]
        self.filepaths = [os.path.join(directory, name) for name in self.filenames]
        self.classes = np.repeat(np.arange(len(names), dtype=np.int32), [len(files) for files in found])
        if not self.filenames:
            raise ValueError(
                f"Expected one folder per class with image files ({', '.join(ENDINGS)}). Received: {directory} "
                f"with {len(names)} folders and no images" + (f" in the {subset} subset" if subset else "")
            )
        if class_mode == "binary" and len(names) > 2:
            raise ValueError(f"class_mode='binary' expects 2 classes. Received: {len(names)}: {names[:10]}")
        print(f"Found {len(self.filenames)} images belonging to {len(names)} classes.")
        self._begin(image_data_generator, workers, **options)


class DataFrameIterator(FileIterator):
    """Batches from the files that a table names; made by ``ImageDataGenerator.flow_from_dataframe``."""

    CLASS_MODES = ("binary", "categorical", "input", "multi_output", "raw", "sparse", None)

    def __init__(
        self,
        dataframe: Any,
        directory: str | os.PathLike[str] | None,
        image_data_generator: Standardization,
        *,
        x_col: Any = "filename",
        y_col: Any = "class",
        weight_col: Any = None,
        target_size: tuple[int, int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        validate_filenames: bool = True,
        workers: int | None = None,
        **options: Any,
    ) -> None:
        self._read_as(image_data_generator, class_mode, target_size, color_mode, interpolation, keep_aspect_ratio)
        self.directory, self.subset = os.fspath(directory or ""), subset
        names = [os.fspath(name) for name in _column(dataframe, x_col, (str, os.PathLike))]
        rows = list(range(len(names)))
        if validate_filenames:
            rows = self._existing(names, x_col)
        labels: Any = None
        self.class_indices = {}
        if class_mode in ("binary", "categorical", "sparse"):
            kinds = (str, list, tuple) if class_mode == "categorical" else (str,)
            labels = _column(dataframe, y_col, kinds)
            rows = self._learn_classes(labels, rows, classes)
        elif classes:
            warnings.warn(f"classes are ignored, given class_mode={class_mode!r}", stacklevel=3)
        if subset is not None:
            rows = rows[part_of(subset, image_data_generator.validation_split, len(rows))]
        if not rows:
            raise ValueError(
                f"Expected names of image files ({', '.join(ENDINGS)}) in the column {x_col!r}, below "
                f"{self.directory or os.getcwd()}. Received: {len(names)} rows, of which none is left"
                + (f" in the {subset} subset" if subset else "")
            )
        self.filenames = [names[row] for row in rows]
        self.filepaths = [os.path.join(self.directory, name) for name in self.filenames]
        self.classes = self._targets_of(dataframe, y_col, labels, rows)
        self.sample_weight = None if weight_col is None else _numbers(dataframe, weight_col)[rows]
        of_classes = f" belonging to {self.num_classes} classes" if self.class_indices else ""
        how = "validated" if validate_filenames else "non-validated"
        print(f"Found {len(rows)} {how} image filenames{of_classes}.")
        self._begin(image_data_generator, workers, **options)

    def _existing(self, names: list[str], x_col: Any) -> list[int]:
        """Rows that name an image file, with a warning about the others."""
        paths = [os.path.join(self.directory, name) for name in names]
        found = [path.lower().endswith(ENDINGS) and os.path.isfile(path) for path in paths]
        if not all(found):
            warnings.warn(
                f"Found {found.count(False)} invalid image filename(s) in x_col={x_col!r}, the first of them "
                f"{names[found.index(False)]!r}. These filename(s) will be ignored.",
                stacklevel=4,
            )
        return [row for row, there in enumerate(found) if there]

    def _learn_classes(self, labels: list[Any], rows: list[int], classes: Sequence[str] | None) -> list[int]:
        """Give every class its index; returns the rows that have a label of one of the classes."""
        if classes:
            known = dict.fromkeys(classes)
            rows = [row for row in rows if not known.keys().isdisjoint(_as_list(labels[row]))]
        else:
            known = dict.fromkeys(sorted({name for row in rows for name in _as_list(labels[row])}))
        if self.class_mode == "binary" and len(known) != 2:
            raise ValueError(f"class_mode='binary' expects 2 classes. Received: {len(known)}: {list(known)[:10]}")
        self.class_indices = {name: i for i, name in enumerate(known)}
        return rows

    def _targets_of(self, dataframe: Any, y_col: Any, labels: list[Any] | None, rows: list[int]) -> Any:
        """What is to be learned of all files: class indices, or columns of the table."""
        if labels is not None:
            index = self.class_indices
            return [
                [index[name] for name in label if name in index] if isinstance(label, list | tuple) else index[label]
                for label in (labels[row] for row in rows)
            ]
        if self.class_mode == "raw":
            columns = [_numbers(dataframe, name)[rows] for name in _as_list(y_col)]
            return np.stack(columns, axis=1) if isinstance(y_col, list | tuple) else columns[0]
        if self.class_mode == "multi_output":
            if not isinstance(y_col, list | tuple):
                raise TypeError(f"class_mode='multi_output' expects a list of columns as y_col. Received: {y_col!r}")
            return [_numbers(dataframe, name)[rows] for name in y_col]
        return None

    def _targets(self, images: np.ndarray, chosen: np.ndarray) -> Any:
        if self.class_mode == "multi_output":
            return [column[chosen] for column in self.classes]
        return self.classes[chosen] if self.class_mode == "raw" else super()._targets(images, chosen)

    def _with_labels(self, images: np.ndarray, chosen: np.ndarray) -> Any:
        batch = super()._with_labels(images, chosen)
        if self.sample_weight is None or self.class_mode is None:
            return batch
        return (*batch, self.sample_weight[chosen])


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _column(table: Any, name: Any, kinds: tuple[type, ...] = (object,)) -> list[Any]:
    """The entries of a column, all of them of one of the given kinds."""
    try:
        entries = list(table[name])
    except (KeyError, IndexError, TypeError) as error:
        known = ", ".join(map(repr, getattr(table, "columns", table)))
        raise ValueError(f"Expected a column {name!r} in the table. Received: columns {known}") from error
    for row, entry in enumerate(entries):
        if not isinstance(entry, kinds):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"Expected {expected} in the column {name!r}. Received: {entry!r} in row {row}")
    return entries


def _numbers(table: Any, name: Any) -> np.ndarray:
    """A column of numbers, or of arrays of them."""
    try:
        numbers = np.array(_column(table, name))
    except ValueError as error:
        raise ValueError(f"Expected numbers, or arrays of one shape, in the column {name!r}. {error}") from error
    if numbers.dtype.kind not in "biuf":
        raise TypeError(f"Expected numbers in the column {name!r}. Received: values of type {numbers.dtype.name}")
    return numbers
