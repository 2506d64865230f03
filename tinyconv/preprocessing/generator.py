"""``ImageDataGenerator``: its settings, and endless batches of randomly transformed images, from arrays or files.

What it does to single images is in ``random_transforms`` and ``standardization``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import config
from tinyconv.checks import below_1, one_of
from tinyconv.geometry import check_data_format
from tinyconv.preprocessing.affine import FILL_MODES
from tinyconv.preprocessing.file_iterators import DataFrameIterator, DirectoryIterator
from tinyconv.preprocessing.iterators import NumpyArrayIterator
from tinyconv.preprocessing.standardization import Standardization


class ImageDataGenerator(Standardization):
    """Transforms images at random, normalises them and gives them in batches, as Keras 2's class of this name.

    Parameters
    ----------
    featurewise_center, featurewise_std_normalization : bool
        Subtract the mean, divide by the standard deviation, of each channel over the data set: call :meth:`fit`.
    samplewise_center, samplewise_std_normalization : bool
        The same with each image's own mean and standard deviation.
    zca_whitening : bool
        Decorrelate the pixels: call :meth:`fit`. Memory grows with the square of the number of pixels.
    zca_epsilon : float
        Added to the singular values.
    rotation_range : float
        Largest angle in degrees, in both directions.
    width_shift_range, height_shift_range : float, int or 1-D array_like
        Largest shift. A float below 1 is a fraction of the width or height, other floats are pixels; an integer n
        means a whole number of pixels below n; an array lists the shifts that may occur, with either sign.
    brightness_range : (float, float)
        Range of the factor for brightness (see :func:`apply_brightness_shift`).
    shear_range : float
        Largest shear angle in degrees.
    zoom_range : float or (float, float)
        Range of the zoom along either axis, [1 - z, 1 + z] for a single number; below 1 magnifies.
    channel_shift_range : float
        Largest number added to all values.
    fill_mode : {"nearest", "constant", "reflect", "wrap"}
        What comes in from outside the image; ``cval`` for "constant".
    horizontal_flip, vertical_flip : bool
        Mirror every other image, at random.
    rescale : float, optional
        Factor for all values, such as 1/255; applied after the transformation.
    preprocessing_function : callable, optional
        From one image (floats, three axes) to an image of the same shape; applied after the transformation and before
        ``rescale``.
    data_format : {"channels_last", "channels_first"}, optional
        ``config.image_data_format()`` by default.
    validation_split : float
        Fraction of the images, from the front, that is ``subset="validation"``.
    interpolation_order : int
        Of the spline between pixels, 0 to 5; only 1 is fast.
    dtype : dtype, optional
        Of the batches; ``config.floatx()`` by default.

    Notes
    -----
    With equal seeds the random parameters are those that Keras draws, batch for batch. Two generators with equal
    settings and seeds transform images and masks alike. For how angles and shifts are meant see
    :func:`apply_affine_transform`.

    Examples
    --------
    >>> images, labels = np.random.rand(10, 8, 8, 3), np.arange(10)
    >>> augment = ImageDataGenerator(rotation_range=40, width_shift_range=0.2, zoom_range=0.2, horizontal_flip=True)
    >>> batches = augment.flow(images, labels, batch_size=4, seed=1)
    >>> len(batches), [x.shape for x, y in batches.take(3)]
    (3, [(4, 8, 8, 3), (4, 8, 8, 3), (2, 8, 8, 3)])
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: Any = 0.0,
        height_shift_range: Any = 0.0,
        brightness_range: Sequence[float] | None = None,
        shear_range: float = 0.0,
        zoom_range: float | Sequence[float] = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[np.ndarray], Any] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: Any = None,
    ) -> None:
        self.featurewise_center, self.samplewise_center = featurewise_center, samplewise_center
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening, self.zca_epsilon = zca_whitening, zca_epsilon
        self.rotation_range, self.shear_range = rotation_range, shear_range
        self.width_shift_range = _check_shift("width_shift_range", width_shift_range)
        self.height_shift_range = _check_shift("height_shift_range", height_shift_range)
        self.brightness_range = None if brightness_range is None else _pair("brightness_range", brightness_range)
        single = isinstance(zoom_range, float | int | np.number)
        self.zoom_range = _pair("zoom_range", [1 - zoom_range, 1 + zoom_range] if single else zoom_range)  # type: ignore[operator]
        self.channel_shift_range = channel_shift_range
        self.fill_mode, self.cval = one_of("fill_mode", fill_mode, FILL_MODES), cval
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.rescale, self.preprocessing_function = rescale, preprocessing_function
        self.data_format = check_data_format(data_format or config.image_data_format())
        self.validation_split = below_1("validation_split", validation_split)
        if interpolation_order not in range(6):
            raise ValueError(f"interpolation_order must be an integer from 0 to 5. Received: {interpolation_order!r}")
        self.interpolation_order = interpolation_order
        self.dtype = np.dtype(dtype or config.floatx())
        if self.dtype.kind != "f":
            raise ValueError(f"dtype must be a float type. Received: {self.dtype.name}")
        self._settle_dependent_settings()

    def _settle_dependent_settings(self) -> None:
        """Whitening and division by the standard deviation need centred data."""
        if self.zca_whitening and self.featurewise_std_normalization:
            self.featurewise_std_normalization = False
            warnings.warn("zca_whitening switches featurewise_std_normalization off", stacklevel=3)
        if (self.zca_whitening or self.featurewise_std_normalization) and not self.featurewise_center:
            self.featurewise_center = True
            cause = "zca_whitening" if self.zca_whitening else "featurewise_std_normalization"
            warnings.warn(f"{cause} switches featurewise_center on", stacklevel=3)
        if self.samplewise_std_normalization and not self.samplewise_center:
            self.samplewise_center = True
            warnings.warn("samplewise_std_normalization switches samplewise_center on", stacklevel=3)

    def flow(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: Any = None,
        seed: int | None = None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> NumpyArrayIterator:
        """Endless batches from arrays.

        Parameters
        ----------
        x : array_like, shape (N, H, W, C) or (N, C, H, W)
            Or a tuple of it and other arrays (a list for several), which are passed on as they are.
        y : array_like, optional
            Labels; without them batches are images only.
        shuffle : bool
            New order every epoch.
        sample_weight : array_like, shape (N,), optional
        seed : int, optional
            Of shuffling and transformations; by default it is drawn, so that ``tinyconv.set_seed`` determines it.
        save_to_dir : str or Path, optional
            Folder for the images of all batches that are taken, for a look at them: ``<save_prefix>_<index>_<random
            number>.<save_format>``, each from its minimum (black) to its maximum (white).
        ignore_class_split : bool
            Allow subsets that differ in their classes.
        subset : {"training", "validation"}, optional
            Part of the data, by ``validation_split``.

        Returns
        -------
        NumpyArrayIterator
            Gives ``x``, ``(x, y)`` or ``(x, y, sample_weight)``; for ``fit``, ``evaluate`` and ``predict``.
        """
        return NumpyArrayIterator(
            x, y, self, batch_size=batch_size, shuffle=shuffle, sample_weight=sample_weight, seed=seed,
            save_to_dir=save_to_dir, save_prefix=save_prefix, save_format=save_format,
            ignore_class_split=ignore_class_split, subset=subset,
        )  # fmt: skip

    def flow_from_directory(
        self,
        directory: str | os.PathLike[str],
        target_size: tuple[int, int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> DirectoryIterator:
        """Endless batches from image files, which threads read in advance.

        Parameters
        ----------
        directory : str or Path
            With one folder per class, at any depth within it PNG, JPEG, BMP, PPM or TIFF files.
        target_size : (int, int)
            Height and width that images are resized to.
        color_mode, interpolation, keep_aspect_ratio
            As for :func:`load_img`.
        classes : list of str, optional
            Names of the folders, in the order of their labels; by default all, sorted.
        class_mode : {"categorical", "binary", "sparse", "input", None}
            Labels: one-hot rows, 0 or 1, class indices, the images themselves, or none.
        shuffle : bool
            New order every epoch; without it files come sorted, class by class.
        seed, save_to_dir, save_prefix, save_format
            As for :meth:`flow`.
        follow_links : bool
            Whether to look into folders that are symbolic links.
        subset : {"training", "validation"}, optional
            Part of every class, by ``validation_split``.

        Returns
        -------
        DirectoryIterator
            With ``samples``, ``classes`` (the label of each file), ``class_indices``, ``filenames`` and ``filepaths``.
        """
        return DirectoryIterator(
            directory, self, target_size=target_size, color_mode=color_mode, classes=classes, class_mode=class_mode,
            batch_size=batch_size, shuffle=shuffle, seed=seed, save_to_dir=save_to_dir, save_prefix=save_prefix,
            save_format=save_format, follow_links=follow_links, subset=subset, interpolation=interpolation,
            keep_aspect_ratio=keep_aspect_ratio,
        )  # fmt: skip

    def flow_from_dataframe(
        self,
        dataframe: Any,
        directory: str | os.PathLike[str] | None = None,
        x_col: Any = "filename",
        y_col: Any = "class",
        weight_col: Any = None,
        target_size: tuple[int, int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        validate_filenames: bool = True,
        keep_aspect_ratio: bool = False,
    ) -> DataFrameIterator:
        """Endless batches from the image files that a table names, which threads read in advance.

        Parameters
        ----------
        dataframe : DataFrame of pandas, or mapping of str to sequence
            Columns by name, with a row for each image.
        directory : str or Path, optional
            Where names of files begin; by default they are paths.
        x_col, y_col : str
            Columns of the names and of what is to be learned; ``y_col`` is a list of columns for "multi_output", and
            may be one for "raw".
        weight_col : str, optional
            Column of the weights of samples.
        classes : list of str, optional
            Names of the classes, in the order of their labels; rows of other classes are left out. By default all that
            occur, sorted.
        class_mode : {"categorical", "binary", "sparse", "raw", "multi_output", "input", None}
            Labels: rows with a 1 for each class in ``y_col`` (a str, or a list of them for several classes per image),
            0 or 1, class indices, the numbers in ``y_col``, an array of numbers for each column, the images themselves,
            or none.
        validate_filenames : bool
            Leave out rows whose file is missing or has another ending, with one warning; without it, names are not
            looked at before their batch is made.
        subset : {"training", "validation"}, optional
            Part of the rows, by ``validation_split``.
        target_size, color_mode, batch_size, shuffle, seed, save_to_dir, save_prefix, save_format, interpolation, \
        keep_aspect_ratio
            As for :meth:`flow_from_directory`; without ``shuffle`` files come in the order of the rows.

        Returns
        -------
        DataFrameIterator
            Like that of :meth:`flow_from_directory`. With ``weight_col`` it gives ``(x, y, sample_weight)``.

        Examples
        --------
        >>> import tempfile
        >>> from tinyconv.preprocessing import save_img
        >>> folder = tempfile.mkdtemp()
        >>> for name in ("a.png", "b.png", "c.png"):
        ...     save_img(os.path.join(folder, name), np.zeros((4, 4, 3)))
        >>> table = {"filename": ["a.png", "b.png", "c.png"], "class": ["cat", "dog", "cat"]}
        >>> flow = ImageDataGenerator().flow_from_dataframe(table, folder, target_size=(4, 4), shuffle=False)
        Found 3 validated image filenames belonging to 2 classes.
        >>> next(flow)[1].tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
        """
        return DataFrameIterator(
            dataframe, directory, self, x_col=x_col, y_col=y_col, weight_col=weight_col, target_size=target_size,
            color_mode=color_mode, classes=classes, class_mode=class_mode, batch_size=batch_size, shuffle=shuffle,
            seed=seed, save_to_dir=save_to_dir, save_prefix=save_prefix, save_format=save_format, subset=subset,
            interpolation=interpolation, validate_filenames=validate_filenames, keep_aspect_ratio=keep_aspect_ratio,
        )  # fmt: skip


def _check_shift(name: str, extent: Any) -> Any:
    array = np.asarray(extent)
    if array.ndim > 1 or array.dtype.kind not in "iuf" or not array.size:
        raise ValueError(f"{name} must be a number or a 1-D array of numbers. Received: {extent!r}")
    if not array.ndim and extent < 0:
        raise ValueError(f"{name} must be at least 0. Received: {extent!r}")
    return array if array.ndim else array.item()


def _pair(name: str, value: Any) -> tuple[float, float]:
    numbers = list(value) if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) else []
    if len(numbers) != 2 or not all(isinstance(n, float | int | np.number) for n in numbers):
        expected = "a number or a pair of numbers" if name == "zoom_range" else "a pair of numbers"
        raise ValueError(f"{name} must be {expected}. Received: {value!r}")
    return numbers[0], numbers[1]
