"""Layers that enlarge or crop images, sequences and volumes.

Shapes below are for ``channels_last``; ``channels_first`` has the channels as axis 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyconv import ops
from tinyconv.layers.base import Shape
from tinyconv.layers.images import ImageLayer, as_interpolation, as_tuple
from tinyconv.ops.resampling import along_axis, resizing_matrix
from tinyconv.tensor import Tensor


class BorderLayer(ImageLayer):
    """A layer that adds or removes cells at the borders."""

    def _as_borders(self, value: Any, name: str) -> Any:
        """Every form of borders as (before, after) for sequences, else as such pairs, one for each axis."""
        rank = len(self.axes)
        if rank == 1:
            return as_tuple(value, name, minimum=0)
        entries = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * rank
        try:
            pairs = tuple(as_tuple(entry, name, minimum=0) for entry in entries)
        except ValueError:
            pairs = ()
        if len(pairs) != rank:
            pair = "((top, bottom), (left, right))" if rank == 2 else "a pair (before, after) for each of them"
            raise ValueError(
                f"{name} must be an integer >= 0, ({', '.join(self.axes)}) or {pair}. Received: {value!r}"
            )
        return pairs

    def _along_axes(self, borders: Any) -> list[tuple[int, int, int]]:
        """Axis, cells before and cells after."""
        pairs = [borders] if len(self.axes) == 1 else borders
        return [(axis, *pair) for axis, pair in zip(self._spatial_axes, pairs, strict=True)]


class ZeroPadding(BorderLayer):
    """What padding with zeros shares."""

    def __init__(self, padding: Any = 1, data_format: str | None = None, **options: Any) -> None:
        super().__init__(data_format, **options)
        self.padding = self._as_borders(padding, "padding")

    def call(self, inputs: Tensor) -> Tensor:
        widths = [(0, 0)] * inputs.ndim
        for axis, before, after in self._along_axes(self.padding):
            widths[axis] = (before, after)
        return ops.pad(inputs, widths)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        for axis, before, after in self._along_axes(self.padding):
            n = shape[axis]
            shape[axis] = None if n is None else n + before + after
        return tuple(shape)


class ZeroPadding2D(ZeroPadding):
    """Surround images with zeros.

    Parameters
    ----------
    padding : int, (int, int) or ((int, int), (int, int))
        Rows and columns on all sides; on (height, width); on ((top, bottom), (left, right)).
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: (N, top + H + bottom, left + W + right, C).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.ZeroPadding2D(3)(np.ones((1, 224, 224, 3))).shape
    (1, 230, 230, 3)
    """


class ZeroPadding1D(ZeroPadding):
    """Zeros at the start and the end of sequences.

    Parameters
    ----------
    padding : int or (int, int)
        At both ends, or (start, end).
    data_format : str, optional
        As for :class:`ZeroPadding2D`.

    Inputs: (N, length, C). Outputs: (N, start + length + end, C).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.ZeroPadding1D((0, 1))([[[5.0]]]).tolist()
    [[[5.0], [0.0]]]
    """

    axes = ("length",)


class ZeroPadding3D(ZeroPadding):
    """Surround volumes with zeros.

    Parameters
    ----------
    padding : int, (int, int, int) or three pairs
        Cells on all sides; on (depth, height, width); (before, after) for each of them.
    data_format : str, optional
        As for :class:`ZeroPadding2D`.

    Inputs: (N, D, H, W, C). Outputs: the same with the padding added to D, H and W.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.ZeroPadding3D((0, 1, 2))(np.ones((1, 4, 5, 6, 1))).shape
    (1, 4, 7, 10, 1)
    """

    axes = ("depth", "height", "width")


class Cropping(BorderLayer):
    """What cropping shares."""

    def __init__(self, cropping: Any = 0, data_format: str | None = None, **options: Any) -> None:
        super().__init__(data_format, **options)
        self.cropping = self._as_borders(cropping, "cropping")

    def call(self, inputs: Tensor) -> Tensor:
        self.compute_output_shape(inputs.shape)  # raises when nothing is left
        index = [slice(None)] * inputs.ndim
        for axis, before, after in self._along_axes(self.cropping):
            index[axis] = slice(before, inputs.shape[axis] - after)
        return inputs[tuple(index)]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        for axis, before, after in self._along_axes(self.cropping):
            n = shape[axis]
            if n is not None and n - before - after < 1:
                raise ValueError(f"cropping {self.cropping} leaves nothing. Received: shape {input_shape}")
            shape[axis] = None if n is None else n - before - after
        return tuple(shape)


class Cropping2D(Cropping):
    """Cut rows and columns off the borders of images.

    Parameters
    ----------
    cropping : int, (int, int) or ((int, int), (int, int))
        From all sides; from (height, width); from ((top, bottom), (left, right)).
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.

    Inputs: (N, H, W, C). Outputs: (N, H - top - bottom, W - left - right, C).

    Raises
    ------
    ValueError
        When nothing would be left.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Cropping2D(((2, 2), (4, 4)))(np.ones((1, 28, 28, 3))).shape
    (1, 24, 20, 3)
    """


class Cropping1D(Cropping):
    """Cut the start and the end off sequences.

    Parameters
    ----------
    cropping : int or (int, int)
        From both ends, or from (start, end).
    data_format : str, optional
        As for :class:`Cropping2D`.

    Inputs: (N, length, C). Outputs: (N, length - start - end, C).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.Cropping1D((1, 0))([[[5.0], [6.0]]]).tolist()
    [[[6.0]]]
    """

    axes = ("length",)

    def __init__(self, cropping: Any = 1, data_format: str | None = None, **options: Any) -> None:
        super().__init__(cropping, data_format, **options)


class Cropping3D(Cropping):
    """Cut cells off the borders of volumes.

    Parameters
    ----------
    cropping : int, (int, int, int) or three pairs
        From all sides; from (depth, height, width); (before, after) for each of them.
    data_format : str, optional
        As for :class:`Cropping2D`.

    Inputs: (N, D, H, W, C). Outputs: the same with D, H and W reduced.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Cropping3D(((0, 1), (1, 1), (2, 2)))(np.ones((1, 4, 5, 6, 1))).shape
    (1, 3, 3, 2, 1)
    """

    axes = ("depth", "height", "width")

    def __init__(self, cropping: Any = 1, data_format: str | None = None, **options: Any) -> None:
        super().__init__(cropping, data_format, **options)


class UpSampling(ImageLayer):
    """What enlarging by whole factors shares."""

    def __init__(
        self, size: Any = 2, data_format: str | None = None, interpolation: str = "nearest", **options: Any
    ) -> None:
        super().__init__(data_format, **options)
        self.size = as_tuple(size, "size", len(self.axes))
        self.interpolation = as_interpolation(interpolation)

    def call(self, inputs: Tensor) -> Tensor:
        for axis, factor in zip(self._spatial_axes, self.size, strict=True):
            if self.interpolation == "nearest":
                inputs = ops.repeat(inputs, factor, axis)
            else:
                n = inputs.shape[axis]
                inputs = along_axis(inputs, resizing_matrix(n, n * factor, self.interpolation), axis)
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        size = [None if n is None else n * k for n, k in zip(self._size(input_shape), self.size, strict=True)]
        return self._layout(input_shape[0], *size, input_shape[self._channel_axis])


class UpSampling2D(UpSampling):
    """Enlarge images by whole factors.

    Parameters
    ----------
    size : int or (int, int)
        Factors for height and width.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.
    interpolation : str
        ``"nearest"`` repeats cells; ``"bilinear"`` interpolates between their centres, as OpenCV's ``INTER_LINEAR``;
        ``"bicubic"``, ``"lanczos3"``, ``"lanczos5"`` as in :func:`tinyconv.ops.resize`.

    Inputs: (N, H, W, C). Outputs: (N, H * size, W * size, C).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.UpSampling2D(2, interpolation="bilinear")([[[[0.0], [4.0]]]])[0, 0, :, 0].tolist()
    [0.0, 1.0, 3.0, 4.0]
    """


class UpSampling1D(UpSampling):
    """Repeat the steps of sequences.

    Parameters
    ----------
    size : int
        How many times.
    data_format, interpolation
        As for :class:`UpSampling2D`.

    Inputs: (N, length, C). Outputs: (N, length * size, C).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.UpSampling1D(2)([[[1.0], [2.0]]]).tolist()
    [[[1.0], [1.0], [2.0], [2.0]]]
    """

    axes = ("length",)


class UpSampling3D(UpSampling):
    """Enlarge volumes by whole factors.

    Parameters
    ----------
    size : int or (int, int, int)
        Factors for depth, height and width.
    data_format, interpolation
        As for :class:`UpSampling2D`.

    Inputs: (N, D, H, W, C). Outputs: (N, D * size, H * size, W * size, C).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.UpSampling3D((1, 2, 3))(np.ones((1, 4, 5, 6, 1))).shape
    (1, 4, 10, 18, 1)
    """

    axes = ("depth", "height", "width")
