"""``ImageDataGenerator``: endless batches of randomly transformed images, from arrays or from a directory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import config, random
from tinyconv.geometry import check_data_format
from tinyconv.preprocessing.affine import (
    FILL_MODES,
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
)
from tinyconv.preprocessing.iterators import DirectoryIterator, NumpyArrayIterator

_TINY = 1e-6  # added to standard deviations, as Keras does


class ImageDataGenerator:
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
        if fill_mode not in FILL_MODES:
            raise ValueError(f"fill_mode must be one of {', '.join(FILL_MODES)}. Received: {fill_mode!r}")
        self.fill_mode, self.cval = fill_mode, cval
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.rescale, self.preprocessing_function = rescale, preprocessing_function
        self.data_format = check_data_format(data_format or config.image_data_format())
        if not 0 <= validation_split < 1:
            raise ValueError(f"validation_split must be at least 0 and below 1. Received: {validation_split!r}")
        self.validation_split = validation_split
        if interpolation_order not in range(6):
            raise ValueError(f"interpolation_order must be an integer from 0 to 5. Received: {interpolation_order!r}")
        self.interpolation_order = interpolation_order
        self.dtype = np.dtype(dtype or config.floatx())
        if self.dtype.kind != "f":
            raise ValueError(f"dtype must be a float type. Received: {self.dtype.name}")
        self.mean: np.ndarray | None = None
        self.std: np.ndarray | None = None
        self.zca_whitening_matrix: np.ndarray | None = None
        self._settle_dependent_settings()

    def _settle_dependent_settings(self) -> None:
        """Whitening and division by the standard deviation need centred data."""
        if self.zca_whitening and self.featurewise_std_normalization:
            self.featurewise_std_normalization = False
            warnings.warn("zca_whitening switches featurewise_std_normalization off", stacklevel=4)
        if (self.zca_whitening or self.featurewise_std_normalization) and not self.featurewise_center:
            self.featurewise_center = True
            cause = "zca_whitening" if self.zca_whitening else "featurewise_std_normalization"
            warnings.warn(f"{cause} switches featurewise_center on", stacklevel=4)
        if self.samplewise_std_normalization and not self.samplewise_center:
            self.samplewise_center = True
            warnings.warn("samplewise_std_normalization switches samplewise_center on", stacklevel=4)

    @property
    def channel_axis(self) -> int:
        """Axis of the channels in a batch."""
        return 3 if self.data_format == "channels_last" else 1

    @property
    def row_axis(self) -> int:
        """Axis of the rows in a batch; columns follow it."""
        return 1 if self.data_format == "channels_last" else 2

    # --- batches -----------------------------------------------------------------------------------------------

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

    # --- normalisation -----------------------------------------------------------------------------------------

    def fit(self, x: Any, augment: bool = False, rounds: int = 1, seed: int | None = None) -> None:
        """Compute the statistics that feature-wise normalisation and whitening need; other settings need no ``fit``.

        Parameters
        ----------
        x : array_like, shape (N, H, W, C) or (N, C, H, W)
            Images before ``preprocessing_function`` and ``rescale``, which are applied first.
        augment : bool
            Whether to transform the images at random, ``rounds`` times, and take the statistics of the results.
        seed : int, optional
            Of these transformations.
        """
        x = np.asarray(x)
        if x.ndim != 4 or not len(x):
            raise ValueError(f"Expected images of shape (N, {self._layout}), N >= 1. Received: shape {x.shape}")
        if not (self.featurewise_center or self.featurewise_std_normalization or self.zca_whitening):
            return
        if augment:
            draw = _random_state(seed)
            x = np.stack([self._transform(image, draw) for _ in range(rounds) for image in x])
        data = self._prepare(np.array(x, self.dtype))
        axes = (0, self.row_axis, self.row_axis + 1)
        mean = data.mean(axis=axes, keepdims=True, dtype=np.float64)
        self.mean = mean[0].astype(self.dtype)
        if self.featurewise_std_normalization:
            parts = (data[first : first + 256] - mean for first in range(0, len(data), 256))  # little memory
            squares = sum((part**2).sum(axis=axes, keepdims=True)[0] for part in parts)
            self.std = np.sqrt(squares * mean.size / data.size).astype(self.dtype)
        if self.zca_whitening:
            flat = (data - mean).reshape(len(data), -1)  # (N, pixels)
            u, s, _ = np.linalg.svd(flat.T, full_matrices=False)
            scaled = u * (np.sqrt(len(flat)) / (s + self.zca_epsilon))
            self.zca_whitening_matrix = (scaled @ u.T).astype(self.dtype)

    @property
    def _layout(self) -> str:
        return "H, W, C" if self.data_format == "channels_last" else "C, H, W"

    def standardize(self, x: Any) -> np.ndarray:
        """Preprocess, rescale and normalise an image, or a batch of them.

        Parameters
        ----------
        x : array_like of 3 or 4 axes

        Returns
        -------
        ndarray
            A new array of the generator's dtype, unlike Keras's, which works in place.
        """
        return self._standardize(np.array(x, self.dtype))

    def _prepare(self, x: np.ndarray) -> np.ndarray:
        """``preprocessing_function`` and ``rescale``, in place."""
        if self.preprocessing_function is not None:
            for image in x if x.ndim == 4 else x[None]:
                done = np.asarray(self.preprocessing_function(image))
                if done.shape != image.shape:
                    raise ValueError(
                        f"preprocessing_function must keep the shape {image.shape}. Received: shape {done.shape}"
                    )
                image[...] = done
        if self.rescale is not None:
            x *= self.rescale
        return x

    def _standardize(self, x: np.ndarray) -> np.ndarray:
        """``standardize``, in place where possible."""
        x = self._prepare(x)
        each = (-3, -2, -1)
        if self.samplewise_center:
            x -= x.mean(axis=each, keepdims=True)
        if self.samplewise_std_normalization:
            x /= x.std(axis=each, keepdims=True) + _TINY
        if self.featurewise_center and self._is_fitted("featurewise_center", self.mean):
            x -= self.mean
        if self.featurewise_std_normalization and self._is_fitted("featurewise_std_normalization", self.std):
            x /= self.std + _TINY  # type: ignore[operator]
        if self.zca_whitening and self._is_fitted("zca_whitening", self.zca_whitening_matrix):
            flat = x.reshape(-1, np.prod(x.shape[-3:]))  # (N, pixels)
            x = (flat @ self.zca_whitening_matrix).reshape(x.shape)  # type: ignore[operator]
        return x

    def _is_fitted(self, setting: str, statistic: Any) -> bool:
        if statistic is None:
            warnings.warn(f"{setting} does nothing before fit() has seen the data", stacklevel=2)
        return statistic is not None

    # --- transformation ----------------------------------------------------------------------------------------

    def get_random_transform(self, img_shape: Sequence[int], seed: int | None = None) -> dict[str, Any]:
        """Parameters of a random transformation.

        Parameters
        ----------
        img_shape : tuple of 3 int
            Shape of the image.
        seed : int, optional
            By default drawn, so that ``tinyconv.set_seed`` determines it.

        Returns
        -------
        dict
            theta, tx, ty, shear, zx, zy (see :func:`apply_affine_transform`), flip_horizontal, flip_vertical,
            channel_shift_intensity, brightness (``None`` where not asked for).
        """
        return self._draw_transform(img_shape, _random_state(seed))

    def _draw_transform(self, shape: Sequence[int], draw: np.random.RandomState) -> dict[str, Any]:
        """In Keras's order, so that equal seeds give Keras's parameters."""
        row, low, high = self.row_axis - 1, *self.zoom_range
        theta = _symmetric(draw, self.rotation_range)
        tx = _draw_shift(draw, self.height_shift_range, shape[row])
        ty = _draw_shift(draw, self.width_shift_range, shape[row + 1])
        shear = _symmetric(draw, self.shear_range)
        zx, zy = (1.0, 1.0) if low == high == 1 else draw.uniform(low, high, 2).tolist()
        flips = draw.random_sample() < 0.5, draw.random_sample() < 0.5
        shift = _symmetric(draw, self.channel_shift_range) if self.channel_shift_range else None
        return {
            "theta": theta,
            "tx": tx,
            "ty": ty,
            "shear": shear,
            "zx": zx,
            "zy": zy,
            "flip_horizontal": flips[0] and bool(self.horizontal_flip),
            "flip_vertical": flips[1] and bool(self.vertical_flip),
            "channel_shift_intensity": shift,
            "brightness": None if self.brightness_range is None else draw.uniform(*self.brightness_range),
        }

    def apply_transform(self, x: Any, transform_parameters: dict[str, Any]) -> np.ndarray:
        """Transform an image.

        Parameters
        ----------
        x : array_like of 3 axes
        transform_parameters : dict
            As :meth:`get_random_transform` returns them; what is missing does nothing.

        Returns
        -------
        ndarray of the same shape

        Examples
        --------
        >>> image = np.arange(6.0).reshape(1, 6, 1)
        >>> ImageDataGenerator(fill_mode="constant").apply_transform(image, {"ty": 2}).ravel().tolist()
        [2.0, 3.0, 4.0, 5.0, 0.0, 0.0]
        """
        x, given = np.asarray(x), transform_parameters
        row, channel = self.row_axis - 1, self.channel_axis - 1
        geometry = {name: given[name] for name in ("theta", "tx", "ty", "shear", "zx", "zy") if name in given}
        x = apply_affine_transform(
            x if x.dtype.kind == "f" else x.astype(self.dtype), **geometry, row_axis=row, col_axis=row + 1,
            channel_axis=channel, fill_mode=self.fill_mode, cval=self.cval, order=self.interpolation_order,
        )  # fmt: skip
        if given.get("channel_shift_intensity") is not None:
            x = apply_channel_shift(x, given["channel_shift_intensity"], channel)
        if given.get("flip_horizontal"):
            x = np.flip(x, row + 1)
        if given.get("flip_vertical"):
            x = np.flip(x, row)
        if given.get("brightness") is not None:
            x = apply_brightness_shift(x, given["brightness"], scale=False)
        return x

    def random_transform(self, x: Any, seed: int | None = None) -> np.ndarray:
        """:meth:`apply_transform` with parameters from :meth:`get_random_transform`."""
        return self._transform(np.asarray(x), _random_state(seed))

    def _transform(self, x: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
        return self.apply_transform(x, self._draw_transform(x.shape, draw))


def _random_state(seed: int | None) -> np.random.RandomState:
    return np.random.RandomState(random.generator().integers(2**32) if seed is None else seed)


def _symmetric(draw: np.random.RandomState, extent: float) -> float:
    return draw.uniform(-extent, extent) if extent else 0.0


def _draw_shift(draw: np.random.RandomState, extent: Any, size: int) -> float:
    """A shift in pixels along an axis of ``size`` pixels."""
    if isinstance(extent, float):
        return draw.uniform(-extent, extent) * (size if extent < 1 else 1) if extent else 0.0
    if not np.any(extent):
        return 0.0
    shift = draw.choice(extent) * draw.choice([-1, 1])  # one of 0 ... extent - 1, or one of those listed
    return float(shift * size if np.max(extent) < 1 else shift)


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
