"""Random transformations of single images: drawing their parameters, in Keras's order, and applying them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import random
from tinyconv.preprocessing.affine import apply_affine_transform, apply_brightness_shift, apply_channel_shift


class RandomTransforms:
    """What ``ImageDataGenerator`` does to single images, by its settings."""

    rotation_range: float
    width_shift_range: Any
    height_shift_range: Any
    brightness_range: tuple[float, float] | None
    shear_range: float
    zoom_range: tuple[float, float]
    channel_shift_range: float
    fill_mode: str
    cval: float
    horizontal_flip: bool
    vertical_flip: bool
    data_format: str
    interpolation_order: int
    dtype: np.dtype

    @property
    def channel_axis(self) -> int:
        """Axis of the channels in a batch."""
        return 3 if self.data_format == "channels_last" else 1

    @property
    def row_axis(self) -> int:
        """Axis of the rows in a batch; columns follow it."""
        return 1 if self.data_format == "channels_last" else 2

    @property
    def _layout(self) -> str:
        return "H, W, C" if self.data_format == "channels_last" else "C, H, W"

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
        return self._draw_transform(img_shape, random_state(seed))

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
        >>> from tinyconv.preprocessing import ImageDataGenerator
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
        return self._transform(np.asarray(x), random_state(seed))

    def _transform(self, x: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
        return self.apply_transform(x, self._draw_transform(x.shape, draw))


def random_state(seed: int | None) -> np.random.RandomState:
    """Keras's random numbers, from a seed or from one that tinyconv's generator draws."""
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
