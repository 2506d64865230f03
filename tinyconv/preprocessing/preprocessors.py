"""The textbooks' chain of small preprocessing steps, and the loader that applies it to a list of files.

Images are as OpenCV reads them: (H, W, 3), uint8, blue first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tinyconv.preprocessing.files import decode, img_to_array
from tinyconv.preprocessing.opencv import opencv
from tinyconv.preprocessing.tools import resize

INTER_AREA = 3  # cv2.INTER_AREA, without importing OpenCV


class Preprocessor(Protocol):
    """What :class:`SimpleDatasetLoader` applies: an object with ``preprocess(image) -> image``."""

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """The image after this step."""


class SimplePreprocessor:
    """Resizes images to a fixed size, whatever their proportions.

    Parameters
    ----------
    width, height : int
    inter : int
        OpenCV's interpolation, by area by default.

    Examples
    --------
    >>> SimplePreprocessor(32, 24).preprocess(np.zeros((100, 80, 3), np.uint8)).shape
    (24, 32, 3)
    """

    def __init__(self, width: int, height: int, inter: int = INTER_AREA) -> None:
        self.width, self.height, self.inter = width, height, inter

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W) or (H, W, C) resized to (height, width) or (height, width, C)."""
        return opencv().resize(image, (self.width, self.height), interpolation=self.inter)


class AspectAwarePreprocessor:
    """Resizes images to a fixed size without changing proportions: what sticks out on two sides is cut off.

    Parameters
    ----------
    width, height : int
    inter : int
        OpenCV's interpolation, by area by default.

    Examples
    --------
    >>> wide = np.repeat(np.arange(100, dtype=np.uint8)[None], 50, axis=0)
    >>> middle = AspectAwarePreprocessor(50, 50).preprocess(wide)
    >>> middle.shape, int(middle.min()), int(middle.max())
    ((50, 50), 25, 74)
    """

    def __init__(self, width: int, height: int, inter: int = INTER_AREA) -> None:
        self.width, self.height, self.inter = width, height, inter

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W) or (H, W, C) as (height, width) or (height, width, C)."""
        height, width = image.shape[:2]
        if width * self.height < height * self.width:  # taller than it should be
            image = resize(image, width=self.width, inter=self.inter)
        else:
            image = resize(image, height=self.height, inter=self.inter)
        top = max(image.shape[0] - self.height, 0) // 2
        left = max(image.shape[1] - self.width, 0) // 2
        image = image[top : image.shape[0] - top, left : image.shape[1] - left]
        return opencv().resize(image, (self.width, self.height), interpolation=self.inter)  # one pixel, or rounding


class ImageToArrayPreprocessor:
    """Orders the axes of images and makes them floats, by :func:`img_to_array`.

    Parameters
    ----------
    dataFormat : {"channels_last", "channels_first"}, optional
        ``config.image_data_format()`` by default.

    Examples
    --------
    >>> array = ImageToArrayPreprocessor("channels_first").preprocess(np.zeros((32, 24, 3), np.uint8))
    >>> array.shape, array.dtype.name
    ((3, 32, 24), 'float32')
    """

    def __init__(self, dataFormat: str | None = None) -> None:
        self.dataFormat = dataFormat

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W) or (H, W, C) as floats (H, W, C) or (C, H, W)."""
        return img_to_array(image, data_format=self.dataFormat)


class SimpleDatasetLoader:
    """Reads image files into one array, through a chain of preprocessors.

    Parameters
    ----------
    preprocessors : list of objects with ``preprocess(image)``, optional
        Applied in this order.

    Examples
    --------
    >>> loader = SimpleDatasetLoader([SimplePreprocessor(32, 32), ImageToArrayPreprocessor()])
    >>> data, labels = loader.load(["animals/cats/1.jpg"])
    Traceback (most recent call last):
    FileNotFoundError: Expected an image file. Received: animals/cats/1.jpg, which does not exist
    """

    def __init__(self, preprocessors: Sequence[Preprocessor] | None = None) -> None:
        self.preprocessors = list(preprocessors or [])

    def load(self, imagePaths: Sequence[str | os.PathLike[str]], verbose: int = -1) -> tuple[np.ndarray, np.ndarray]:
        """Read all files.

        Parameters
        ----------
        imagePaths : list of str or Path
            ``.../class_name/file``: the label is the name of the folder.
        verbose : int
            Print progress after every so many images; silent if not positive.

        Returns
        -------
        data : ndarray, shape (N, ...)
            What the last preprocessor returned; images as OpenCV reads them (BGR, uint8) without one.
        labels : ndarray of str, shape (N,)

        Raises
        ------
        FileNotFoundError, ValueError
            Where a file is missing or is no intact image, or images differ in shape; the message names the file.
        """
        paths = [os.fspath(path) for path in imagePaths]
        data: list[Any] = []
        for i, path in enumerate(paths):
            image = decode(path, opencv().IMREAD_COLOR)
            for step in self.preprocessors:
                image = step.preprocess(image)
            if data and np.shape(image) != np.shape(data[0]):
                raise ValueError(
                    f"{path}: expected images of one shape, {np.shape(data[0])} as the first; a SimplePreprocessor "
                    f"gives them one. Received: {np.shape(image)}"
                )
            data.append(image)
            if verbose > 0 and i > 0 and (i + 1) % verbose == 0:
                print(f"[INFO] processed {i + 1}/{len(paths)}")
        return np.array(data), np.array([os.path.basename(os.path.dirname(path)) for path in paths])


def preprocess(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a picture of a digit to a fixed size without changing its proportions: the missing sides are padded.

    The longer side is brought to its size by area interpolation, the border is repeated on both sides of the shorter
    one, and what rounding leaves is resized. Meant for square sizes: others may not fit.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C)
    width, height : int

    Returns
    -------
    ndarray, shape (height, width) or (height, width, C)

    Raises
    ------
    ValueError
        Where one side would vanish, or sticks out.

    Examples
    --------
    >>> preprocess(np.zeros((30, 20), np.uint8), 28, 28).shape
    (28, 28)
    """
    cv2 = opencv()
    given = image.shape[1::-1]
    image = resize(image, width=width) if given[0] > given[1] else resize(image, height=height)
    left, top = int((width - image.shape[1]) / 2), int((height - image.shape[0]) / 2)
    if min(left, top) < 0:
        raise ValueError(
            f"Expected an image that fits into {width} x {height} pixels, which is certain for square sizes only. "
            f"Received: {given[0]} x {given[1]}, resized to {image.shape[1]} x {image.shape[0]}"
        )
    image = cv2.copyMakeBorder(image, top, top, left, left, cv2.BORDER_REPLICATE)
    return cv2.resize(image, (width, height))
