"""Preprocessing as layers, so that a saved model does it too: size and range of images, standardised features."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.geometry import normalize_axis
from tinyconv.layers.base import Layer, Shape
from tinyconv.layers.embedding import as_indices
from tinyconv.layers.images import ImageLayer, as_count, as_interpolation
from tinyconv.layers.module import Parameter
from tinyconv.tensor import Tensor


class Rescaling(Layer):
    """``inputs * scale + offset``, such as ``scale=1 / 255`` for images of bytes.

    Parameters
    ----------
    scale, offset : float or sequence of float
        For all values, or one for each entry of the last axis.

    Inputs: any shape. Outputs: the same shape.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.Rescaling(1 / 127.5, offset=-1.0)([0.0, 127.5, 255.0]).tolist()
    [-1.0, 0.0, 1.0]
    """

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.scale, self.offset = _as_numbers(scale, "scale"), _as_numbers(offset, "offset")

    def call(self, inputs: Tensor) -> Tensor:
        scale, offset = (np.asarray(value, inputs.dtype) for value in (self.scale, self.offset))
        return inputs * scale + offset

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class Normalization(Layer):
    """Standardise features: ``(inputs - mean) / sqrt(variance)``, with statistics that :meth:`adapt` takes from data.

    Parameters
    ----------
    axis : int, tuple of int or None
        Axes that have statistics of their own; ``None`` for one mean and one variance of everything.
    mean, variance : float or sequence of float, optional
        Known statistics, which take the place of ``adapt``; they are broadcast against ``axis``.
    invert : bool
        Undo the standardisation instead: ``mean + inputs * sqrt(variance)``.

    Inputs: (N, ...). Outputs: the same shape.
    Weights, each of the sizes along ``axis``, not trained: mean, variance; none if they were given.

    Examples
    --------
    >>> import tinyconv as tc
    >>> layer = tc.layers.Normalization()
    >>> layer.adapt([[1.0, 10.0], [3.0, 30.0]])
    >>> layer([[3.0, 20.0]]).tolist(), layer.mean.tolist()
    ([[1.0, 0.0]], [[2.0, 20.0]])
    """

    supports_masking = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        axes = [] if axis is None else [axis] if isinstance(axis, int) else list(axis)
        if not all(isinstance(a, int) and not isinstance(a, bool) and a != 0 for a in axes):
            raise ValueError(f"axis must be None or integers other than 0, the batch axis. Received: {axis!r}")
        if (mean is None) != (variance is None):
            raise ValueError(f"mean and variance go together. Received: mean={mean!r}, variance={variance!r}")
        self.axis = tuple(axes) if isinstance(axis, Sequence) else axis
        self.invert = bool(invert)
        self._given = None if mean is None else (_as_numbers(mean, "mean"), _as_numbers(variance, "variance"))
        self._statistics: tuple[Parameter, Parameter] | None = None

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as plain data; what :meth:`adapt` found is among the weights."""
        mean, variance = self._given or (None, None)
        axis = list(self.axis) if isinstance(self.axis, tuple) else self.axis
        return {**self._common_config(), "axis": axis, "mean": mean, "variance": variance, "invert": self.invert}

    def __repr__(self) -> str:
        given = "" if self._given is None else f"mean={self._given[0]!r}, variance={self._given[1]!r}, "
        invert = "invert=True, " if self.invert else ""
        axis = "" if self.axis == -1 else f"axis={self.axis!r}, "
        return f"Normalization({axis}{given}{invert}name={self.name!r})"

    @property
    def mean(self) -> Any:
        """The mean, shaped to broadcast against inputs; None before the layer is built."""
        return self._broadcast(0)

    @property
    def variance(self) -> Any:
        """The variance, shaped to broadcast against inputs; None before the layer is built."""
        return self._broadcast(1)

    def _broadcast(self, which: int) -> Any:
        if not self.built:
            return None
        if self._statistics is not None:
            return ops.reshape(self._statistics[which], self._kept)
        assert self._given is not None
        return ops.reshape(np.broadcast_to(np.asarray(self._given[which], self.dtype), self._sizes), self._kept)

    def _axes(self, ndim: int) -> list[int]:
        """The axes with statistics of their own, in order."""
        axes = () if self.axis is None else (self.axis,) if isinstance(self.axis, int) else self.axis
        found = sorted(normalize_axis(a, ndim) for a in axes)
        if 0 in found:
            raise ValueError(f"axis {self.axis} must not be the batch axis. Received: {ndim} axes")
        return found

    def check_input(self, input_shape: Shape) -> None:
        axes = self._axes(len(input_shape))
        for axis, size in zip(axes, self._sizes if self.built else (), strict=False):
            self._check_axis(input_shape, axis, size)

    def build(self, input_shape: Shape) -> None:
        axes = self._axes(len(input_shape))
        sizes = [input_shape[a] for a in axes]
        if not all(sizes):
            raise ValueError(f"the sizes along axis {self.axis} must be known, and not 0. Received: {input_shape}")
        self._sizes = tuple(n for n in sizes if n)
        self._kept = tuple((input_shape[i] or 1) if i in axes else 1 for i in range(len(input_shape)))
        if self._given is None:
            mean = self.add_weight(self._sizes, "zeros", "mean", trainable=False)
            self._statistics = mean, self.add_weight(self._sizes, "ones", "variance", trainable=False)
        else:
            for values in self._given:
                np.broadcast_to(values, self._sizes)

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Take mean and variance from data; what an earlier call found is forgotten.

        Parameters
        ----------
        data : array_like or Tensor, or an iterable of them
            Samples, or batches of samples (such as a generator of them).
        batch_size : int, optional
            How many samples of an array are looked at together: a matter of memory only.
        steps : int, optional
            Look at the first ``steps`` batches only.

        Raises
        ------
        ValueError
            Without any samples, or when the statistics were given to the constructor.
        """
        if self._given is not None:
            raise ValueError(f"{self._title} was given its mean and variance and cannot adapt")
        count, mean, squares = 0.0, np.float64(0), np.float64(0)
        for number, batch in enumerate(_batches(data, batch_size or 1024)):
            if steps is not None and number >= steps:
                break
            self._ensure_built((None, *batch.shape[1:]))
            axes = self._axes(batch.ndim)
            others = tuple(i for i in range(batch.ndim) if i not in axes)
            n = float(math.prod(batch.shape[i] for i in others))
            if not n:
                continue
            # Sums of squared deviations of two parts, from those of each (T. Chan et al., 1979).
            here = batch.mean(others, dtype=np.float64)
            deviations = ((batch - here.reshape(self._kept)) ** 2).sum(others)
            squares = squares + deviations + (here - mean) ** 2 * (count * n / (count + n))
            mean = mean + (here - mean) * (n / (count + n))
            count += n
        if not count or self._statistics is None:
            raise ValueError(f"{self._title} expected samples to adapt to. Received: none")
        for weight, value in zip(self._statistics, (mean, squares / count), strict=True):
            weight.assign(np.asarray(value, weight.dtype))

    def call(self, inputs: Tensor) -> Tensor:
        smallest = 1e-7 if self.dtype != "float16" else 1e-4  # a feature that never varies
        deviation = ops.maximum(ops.sqrt(self.variance), smallest)
        if self.invert:
            return self.mean + inputs * deviation
        return (inputs - self.mean) / deviation

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class CategoryEncoding(Layer):
    """Class numbers as rows with a place for each class.

    Parameters
    ----------
    num_tokens : int
        Number of classes; inputs are integers in [0, num_tokens).
    output_mode : {"multi_hot", "one_hot", "count"}
        1 for the classes that occur in a sample; a row of its own for each number; or how often each class occurs, of
        which every occurrence may count by its entry of ``count_weights``, the second argument of a call.

    Inputs: integers (N, k), or (N,) or (N, 1) for ``"one_hot"``; ``count_weights`` of the same shape.
    Outputs: (N, num_tokens); for ``"one_hot"`` and k > 1, (N, k, num_tokens).

    Raises
    ------
    ValueError
        For integers outside [0, num_tokens), or ``count_weights`` in another mode than ``"count"``.

    Examples
    --------
    >>> import tinyconv as tc
    >>> encode = tc.layers.CategoryEncoding(4, output_mode="count")
    >>> encode([[1, 3, 1]]).tolist(), encode([[1, 3, 1]], count_weights=[[0.5, 1.0, 0.25]]).tolist()
    ([[0.0, 2.0, 0.0, 1.0]], [[0.0, 0.75, 0.0, 1.0]])
    """

    autocast = False

    def __init__(self, num_tokens: int, output_mode: str = "multi_hot", **options: Any) -> None:
        super().__init__(**options)
        self.num_tokens = as_count(num_tokens, "num_tokens")
        modes = "multi_hot", "one_hot", "count"
        if output_mode not in modes:
            raise ValueError(f"output_mode must be one of {', '.join(map(repr, modes))}. Received: {output_mode!r}")
        self.output_mode = output_mode

    def call(self, inputs: Tensor, count_weights: Any = None) -> Tensor:
        if count_weights is not None and self.output_mode != "count":
            raise ValueError(f"count_weights are for output_mode='count'. Received: mode {self.output_mode!r}")
        indices = as_indices(inputs, self.num_tokens)
        if self.output_mode == "one_hot" and inputs.ndim > 1 and inputs.shape[-1] == 1:
            indices = ops.squeeze(indices, -1)
        hot = ops.equal(ops.expand_dims(indices, -1), np.arange(self.num_tokens))  # (N, k) -> (N, k, num_tokens)
        if self.output_mode == "multi_hot":
            hot = ops.any(hot, axis=-2)
        counts = ops.astype(hot, self.dtype)
        if count_weights is not None:
            counts = counts * ops.expand_dims(ops.astype(count_weights, self.dtype), -1)
        return ops.sum(counts, axis=-2) if self.output_mode == "count" else counts

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        single = self.output_mode == "one_hot" and (len(input_shape) < 2 or input_shape[-1] != 1)
        return (*(input_shape if single else input_shape[:-1]), self.num_tokens)


class SizedImages(ImageLayer):
    """What layers that give images of a fixed size share."""

    def __init__(self, height: int, width: int, data_format: str | None = None, **options: Any) -> None:
        super().__init__(data_format, **options)
        self.height, self.width = as_count(height, "height"), as_count(width, "width")

    def _window(self, inputs: Tensor, height: int, width: int) -> Tensor:
        """The middle ``height`` x ``width`` of images that are at least as large."""
        index: list[Any] = [slice(None)] * 4
        for axis, n in zip(self._spatial_axes, (height, width), strict=True):
            start = (inputs.shape[axis] - n) // 2
            index[axis] = slice(start, start + n)
        return inputs[tuple(index)]

    def _cropped_to_ratio(self, inputs: Tensor) -> Tensor:
        """The largest part in the middle that has the ratio of the wanted size."""
        h, w = (inputs.shape[a] for a in self._spatial_axes)
        high, wide = w * self.height // self.width, h * self.width // self.height
        return self._window(inputs, max(1, min(h, high)), max(1, min(w, wide)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._layout(input_shape[0], self.height, self.width, input_shape[self._channel_axis])


class Resizing(SizedImages):
    """Images in another size.

    Parameters
    ----------
    height, width : int
        The new size.
    interpolation : str
        ``"bilinear"``, ``"nearest"``, ``"bicubic"``, ``"area"``, ``"lanczos3"`` or ``"lanczos5"``.
    crop_to_aspect_ratio : bool
        Keep the ratio of the sides by cutting off what is too much, the same at both ends.
    pad_to_aspect_ratio : bool
        Keep the ratio of the sides by adding ``fill_value``, the same at both ends.
    fill_mode : str
        ``"constant"``, the only one there is.
    fill_value : float
    antialias : bool
        Look at all pixels where images shrink.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: (N, height, width, C).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Resizing(32, 48, antialias=True)(np.zeros((1, 100, 100, 3))).shape
    (1, 32, 48, 3)
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(height, width, data_format, **options)
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError("crop_to_aspect_ratio and pad_to_aspect_ratio exclude each other. Received: both")
        if fill_mode != "constant":
            raise ValueError(f"fill_mode must be 'constant'. Received: {fill_mode!r}")
        self.interpolation = as_interpolation(interpolation)
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = bool(crop_to_aspect_ratio), bool(pad_to_aspect_ratio)
        self.fill_mode, self.fill_value, self.antialias = fill_mode, fill_value, bool(antialias)

    def call(self, inputs: Tensor) -> Tensor:
        if self.crop_to_aspect_ratio:
            inputs = self._cropped_to_ratio(inputs)
        if self.pad_to_aspect_ratio:
            inputs = self._padded_to_ratio(inputs)
        return ops.resize(inputs, (self.height, self.width), self.interpolation, self.antialias, self.data_format)

    def _padded_to_ratio(self, inputs: Tensor) -> Tensor:
        h, w = (inputs.shape[a] for a in self._spatial_axes)
        widths = [(0, 0)] * 4
        sizes = (h, w * self.height // self.width), (w, h * self.width // self.height)
        for axis, (n, wanted) in zip(self._spatial_axes, sizes, strict=True):
            half = max(wanted - n, 0) // 2
            widths[axis] = half, half
        return ops.pad(inputs, widths, value=self.fill_value)


class CenterCrop(SizedImages):
    """The middle of images; images that are too small are enlarged first, keeping the ratio of their sides.

    Parameters
    ----------
    height, width : int
        The new size.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: (N, height, width, C).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.CenterCrop(1, 2)([[[[1.0], [2.0], [3.0], [4.0]]]])[0, 0, :, 0].tolist()
    [2.0, 3.0]
    """

    def call(self, inputs: Tensor) -> Tensor:
        h, w = (inputs.shape[a] for a in self._spatial_axes)
        if h >= self.height and w >= self.width:
            return self._window(inputs, self.height, self.width)
        size = self.height, self.width
        return ops.resize(self._cropped_to_ratio(inputs), size, data_format=self.data_format)


def _as_numbers(value: Any, name: str) -> Any:
    """A number, or numbers in (nested) lists, as plain data."""
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        numbers = np.asarray(np.nan)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be a finite number, or a sequence of them. Received: {value!r}")
    return numbers.tolist()


def _batches(data: Any, batch_size: int) -> Iterator[np.ndarray]:
    """Batches of an array, or the batches that an iterable gives, as arrays of numbers."""
    is_array = hasattr(data, "__array__") or isinstance(data, list | tuple)
    if not is_array and not isinstance(data, Iterable):
        raise ValueError(f"Expected an array or an iterable of batches. Received: {type(data).__name__}")
    if is_array:
        array = data.numpy() if isinstance(data, Tensor) else np.asarray(data)
        data = (array[i : i + batch_size] for i in range(0, len(array), batch_size)) if array.ndim else [array]
    for batch in data:
        if isinstance(batch, tuple):  # samples with their labels, most likely
            raise ValueError(f"Expected batches of samples alone. Received: a tuple of {len(batch)}")
        values = batch.numpy() if isinstance(batch, Tensor) else np.asarray(batch)
        if values.dtype.kind not in "fiub" or not values.ndim:
            raise ValueError(f"Expected batches of numbers. Received: shape {values.shape}, dtype {values.dtype}")
        yield values
