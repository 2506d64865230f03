"""Random changes of images in training, on whatever device trains: in inference these layers change nothing.

Every image of a batch gets a choice of its own. The random numbers come from the stream that dropout draws from, so
one seed repeats them, and nothing is read on the host, so a recorded training step draws anew in each replay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.layers.base import Shape
from tinyconv.layers.images import ImageLayer
from tinyconv.layers.preprocessing import SizedImages
from tinyconv.layers.regularization import RandomLayer
from tinyconv.ops.resampling import FILL_MODES, take_cells
from tinyconv.tensor import Tensor


class RandomImageLayer(RandomLayer, ImageLayer):
    """What layers that change images at random share: ``_augment`` is asked in training only."""

    def __init__(self, seed: int | None = None, data_format: str | None = None, **options: Any) -> None:
        super().__init__(seed, data_format=data_format, **options)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training:
            return inputs
        with self._drawing():
            return self._augment(inputs)

    def _augment(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def _draw(self, inputs: Tensor, limits: tuple[float, float] = (0.0, 1.0)) -> Tensor:
        """A random number for each image, within limits: (N,)."""
        return ops.random_uniform((len(inputs),), *limits, dtype=np.promote_types(inputs.dtype, np.float32))

    def _draw_like(self, inputs: Tensor, limits: tuple[float, float]) -> Tensor:
        """A random number for each image, of the images' dtype and shaped to broadcast against them: (N, 1, 1, 1)."""
        return ops.reshape(ops.astype(self._draw(inputs, limits), inputs.dtype), (-1, 1, 1, 1))


class RandomFlip(RandomImageLayer):
    """Mirror each image or not, with even odds.

    Parameters
    ----------
    mode : str
        ``"horizontal"`` (left becomes right), ``"vertical"``, or ``"horizontal_and_vertical"``, each by itself.
    seed : int, optional
        Gives the layer a random stream of its own.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: the same shape; in inference the inputs themselves.

    Examples
    --------
    >>> import tinyconv as tc
    >>> layer = tc.layers.RandomFlip("horizontal", seed=1)
    >>> sorted({tuple(layer([[[[1.0], [2.0]]]], training=True).numpy().ravel().tolist()) for _ in range(20)})
    [(1.0, 2.0), (2.0, 1.0)]
    """

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        if mode not in ("horizontal", "vertical", "horizontal_and_vertical"):
            raise ValueError(
                f"mode must be 'horizontal', 'vertical' or 'horizontal_and_vertical'. Received: {mode!r}"
            )
        self.mode = mode

    def _augment(self, inputs: Tensor) -> Tensor:
        for axis, name in zip(self._spatial_axes, ("vertical", "horizontal"), strict=True):
            if name in self.mode:
                coin = ops.greater_equal(self._draw_like(inputs, (0.0, 1.0)), 0.5)
                inputs = ops.where(coin, ops.flip(inputs, axis), inputs)
        return inputs


class RandomTransform(RandomImageLayer):
    """What layers that move pixels share: what to fill in, and how to read between pixels."""

    def __init__(
        self,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        for name, value, known in (
            ("fill_mode", fill_mode, FILL_MODES), ("interpolation", interpolation, ("bilinear", "nearest")),
        ):  # fmt: skip
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}. Received: {value!r}")
        self.fill_mode, self.interpolation, self.fill_value = fill_mode, interpolation, float(fill_value)

    def _transformed(self, inputs: Tensor, *entries: Any) -> Tensor:
        """Images with the transform of six entries, each a number or one number per image."""
        zeros = np.zeros(len(inputs), np.promote_types(inputs.dtype, np.float32))
        transform = ops.stack([ops.add(zeros, entry) for entry in entries], axis=1)  # (N, 6)
        return ops.affine_transform(
            inputs, transform, self.interpolation, self.fill_mode, self.fill_value, self.data_format
        )

    def _reach(self, inputs: Tensor) -> tuple[int, int]:
        """Largest row and column."""
        h, w = (inputs.shape[axis] for axis in self._spatial_axes)
        return h - 1, w - 1


class RandomRotation(RandomTransform):
    """Turn each image about its centre.

    Parameters
    ----------
    factor : float or (float, float)
        Limits of the angle as a fraction of a full turn, counter-clockwise positive; a number means (-factor, factor).
    fill_mode : str
        What lies outside: ``"reflect"``, ``"wrap"``, ``"nearest"`` or ``"constant"`` (``fill_value``).
    interpolation : str
        ``"bilinear"`` or ``"nearest"``.
    seed : int, optional
        Gives the layer a random stream of its own.
    fill_value : float
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: the same shape; in inference the inputs themselves.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> quarter = tc.layers.RandomRotation((0.25, 0.25))
    >>> quarter([[[[1.0], [2.0]], [[3.0], [4.0]]]], training=True).numpy().round(4)[0, :, :, 0].tolist()
    [[2.0, 4.0], [1.0, 3.0]]
    """

    def __init__(
        self,
        factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)
        self.factor = _as_limits(factor, "factor")

    def _augment(self, inputs: Tensor) -> Tensor:
        low, high = self.factor
        angle = self._draw(inputs, (2 * math.pi * low, 2 * math.pi * high))
        cos, sin = ops.cos(angle), ops.sin(angle)
        y, x = self._reach(inputs)  # the centre, twice, stays where it is
        return self._transformed(
            inputs, cos, -sin, (x - cos * x + sin * y) / 2, sin, cos, (y - sin * x - cos * y) / 2
        )


class RandomTranslation(RandomTransform):
    """Shift each image.

    Parameters
    ----------
    height_factor, width_factor : float or (float, float)
        Limits of the shift as a fraction of the height (positive: down) and of the width (positive: right), in
        [-1, 1]; a number means (-factor, factor).
    fill_mode, interpolation, seed, fill_value, data_format
        As for :class:`RandomRotation`.

    Inputs: (N, H, W, C). Outputs: the same shape; in inference the inputs themselves.

    Examples
    --------
    >>> import tinyconv as tc
    >>> layer = tc.layers.RandomTranslation(0.0, (0.5, 0.5), fill_mode="constant")
    >>> layer([[[[1.0], [2.0]]]], training=True)[0, 0, :, 0].tolist()
    [0.0, 1.0]
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)
        self.height_factor = _as_limits(height_factor, "height_factor", 1)
        self.width_factor = _as_limits(width_factor, "width_factor", 1)

    def _augment(self, inputs: Tensor) -> Tensor:
        h, w = (inputs.shape[axis] for axis in self._spatial_axes)
        down, right = self._draw(inputs, self.height_factor) * h, self._draw(inputs, self.width_factor) * w
        return self._transformed(inputs, 1.0, 0.0, -right, 0.0, 1.0, -down)


class RandomZoom(RandomTransform):
    """Magnify or shrink each image about its centre.

    Parameters
    ----------
    height_factor : float or (float, float)
        Limits of the zoom: 0.2 shows 20 % more of the height (the image shrinks), -0.2 shows 20 % less; greater than
        -1. A number means (-factor, factor).
    width_factor : float or (float, float), optional
        The same for the width; by default the zoom of the height, so that proportions stay.
    fill_mode, interpolation, seed, fill_value, data_format
        As for :class:`RandomRotation`.

    Inputs: (N, H, W, C). Outputs: the same shape; in inference the inputs themselves.

    Examples
    --------
    >>> import tinyconv as tc
    >>> layer = tc.layers.RandomZoom((-0.5, -0.5))
    >>> layer([[[[1.0], [2.0], [3.0]]]], training=True)[0, 0, :, 0].tolist()
    [1.5, 2.0, 2.5]
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **options)
        self.height_factor = _as_limits(height_factor, "height_factor")
        self.width_factor = None if width_factor is None else _as_limits(width_factor, "width_factor")
        for limits in (self.height_factor, self.width_factor):
            if limits is not None and limits[0] <= -1:
                raise ValueError(f"Zoom factors must be greater than -1. Received: {limits}")

    def _augment(self, inputs: Tensor) -> Tensor:
        high = 1 + self._draw(inputs, self.height_factor)
        wide = high if self.width_factor is None else 1 + self._draw(inputs, self.width_factor)
        y, x = self._reach(inputs)
        return self._transformed(inputs, wide, 0.0, (1 - wide) * (x / 2), 0.0, high, (1 - high) * (y / 2))


class RandomContrast(RandomImageLayer):
    """Move each channel of each image away from or towards its mean: ``(x - mean) * factor + mean``.

    Parameters
    ----------
    factor : float or (float, float)
        The contrast's factor lies in [1 - lower, 1 + upper]; a number stands for both.
    value_range : (float, float)
        Results are limited to it.
    seed : int, optional
        Gives the layer a random stream of its own.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: the same shape; in inference the inputs themselves.

    Examples
    --------
    >>> import tinyconv as tc
    >>> layer = tc.layers.RandomContrast((0.0, 1.0), seed=1)
    >>> y = layer([[[[90.0], [110.0]]]], training=True)
    >>> round(y.mean().item(), 3), 80 <= y[0, 0, 0, 0].item() <= 90
    (100.0, True)
    """

    def __init__(
        self,
        factor: Any,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        pair = tuple(factor) if isinstance(factor, Sequence) else (factor, factor)
        if len(pair) != 2 or not all(_is_number(f) and f >= 0 for f in pair) or pair[0] > 1:
            raise ValueError(
                f"factor must be a number or (lower, upper), each >= 0 and the lower one <= 1. Received: {factor!r}"
            )
        self.factor = pair
        self.value_range = _as_range(value_range)

    def _augment(self, inputs: Tensor) -> Tensor:
        lower, upper = self.factor
        factor = self._draw_like(inputs, (1 - lower, 1 + upper))
        mean = ops.mean(inputs, self._spatial_axes, keepdims=True)
        return ops.clip((inputs - mean) * factor + mean, *self.value_range)


class RandomBrightness(RandomImageLayer):
    """Add a number to each image.

    Parameters
    ----------
    factor : float or (float, float)
        Limits of the change as a fraction of the range, in [-1, 1]; a number means (-factor, factor).
    value_range : (float, float)
        Range of the values; results are limited to it.
    seed : int, optional
        Gives the layer a random stream of its own.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: the same shape; in inference the inputs themselves.

    Examples
    --------
    >>> import tinyconv as tc
    >>> layer = tc.layers.RandomBrightness((0.2, 0.2), value_range=(0, 1))
    >>> [round(v, 3) for v in layer([[[[0.5], [0.9]]]], training=True)[0, 0, :, 0].tolist()]
    [0.7, 1.0]
    """

    def __init__(
        self,
        factor: Any,
        value_range: Sequence[float] = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(seed, data_format, **options)
        self.factor = _as_limits(factor, "factor", 1)
        self.value_range = _as_range(value_range)

    def _augment(self, inputs: Tensor) -> Tensor:
        low, high = self.value_range
        return ops.clip(inputs + self._draw_like(inputs, self.factor) * (high - low), low, high)


class RandomCrop(RandomLayer, SizedImages):
    """A part of the images, in training at a random place that all images of a batch share, else the middle.

    Images that are too small are enlarged first, keeping the ratio of their sides; in inference larger ones shrink
    first until one side fits.

    Parameters
    ----------
    height, width : int
        Size of the part.
    seed : int, optional
        Gives the layer a random stream of its own.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: (N, height, width, C).

    Examples
    --------
    >>> import tinyconv as tc
    >>> layer = tc.layers.RandomCrop(1, 1, seed=1)
    >>> sorted({layer([[[[1.0], [2.0], [3.0]]]], training=True).item() for _ in range(50)})
    [1.0, 2.0, 3.0]
    """

    def __init__(
        self, height: int, width: int, seed: int | None = None, data_format: str | None = None, **options: Any
    ) -> None:
        super().__init__(seed, height=height, width=width, data_format=data_format, **options)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        size = self.height, self.width
        spare = [inputs.shape[axis] - n for axis, n in zip(self._spatial_axes, size, strict=True)]
        if not training or min(spare) < 0:
            return ops.resize(self._cropped_to_ratio(inputs), size, data_format=self.data_format)
        with self._drawing():
            for axis, n, room in zip(self._spatial_axes, size, spare, strict=True):
                start = ops.floor(ops.random_uniform((), 0.0, room + 1.0, dtype="float32"))
                rows = ops.clip(start, 0.0, room) + np.arange(n, dtype="float32")  # rounding may reach the limit
                inputs = take_cells(inputs, ops.astype(rows, "int64"), axis)
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return SizedImages.compute_output_shape(self, input_shape)


def _as_limits(factor: Any, name: str, most: float = math.inf) -> tuple[float, float]:
    """``factor`` as (lower, upper); a number stands for itself to either side."""
    pair = tuple(factor) if isinstance(factor, Sequence) else (-factor, factor) if _is_number(factor) else ()
    if len(pair) != 2 or not all(_is_number(f) and abs(f) <= most for f in pair) or pair[0] > pair[1]:
        limits = f" in [-{most:g}, {most:g}]" if most < math.inf else ""
        raise ValueError(f"{name} must be a number >= 0 or (lower, upper){limits}. Received: {factor!r}")
    return float(pair[0]), float(pair[1])


def _as_range(value_range: Any) -> tuple[float, float]:
    pair = tuple(value_range) if isinstance(value_range, Sequence) else ()
    if len(pair) != 2 or not all(map(_is_number, pair)) or pair[0] >= pair[1]:
        raise ValueError(f"value_range must be (lowest, highest). Received: {value_range!r}")
    return pair


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
