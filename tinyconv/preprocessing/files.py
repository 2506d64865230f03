"""Image files and arrays: ``load_img``, ``save_img``, ``img_to_array``, ``array_to_img``, with Keras's meaning.

Images are arrays here, where Keras has Pillow's objects: (H, W, C), uint8, red first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv import config
from tinyconv.files import replacing
from tinyconv.geometry import check_data_format
from tinyconv.preprocessing.opencv import opencv
from tinyconv.preprocessing.resampling import PILLOW, centre_box, check_interpolation, resize_image

CHANNELS = {"rgb": 3, "rgba": 4, "grayscale": 1}
_SHORT = {"jpg": "jpeg", "tif": "tiff"}


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> np.ndarray:
    """Read an image file.

    Parameters
    ----------
    path : str, Path or binary file
        A JPEG, PNG, BMP, TIFF, WebP or PNM file, or whatever else OpenCV reads. An orientation in its metadata is
        ignored.
    color_mode : {"rgb", "rgba", "grayscale"}
        Channels of the result; gray is 0.299 R + 0.587 G + 0.114 B.
    target_size : (int, int), optional
        Height and width to resize to; proportions change unless ``keep_aspect_ratio``.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"}
        As Pillow means them: all but "nearest" average over all pixels when the image shrinks.
    keep_aspect_ratio : bool
        Crop the middle to the proportions of ``target_size`` before resizing.

    Returns
    -------
    ndarray, shape (H, W, C), uint8
        An array, where Keras returns a Pillow image; :func:`img_to_array` takes both.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file is not an intact image; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_img(folder + "/red.png", np.full((4, 6, 3), (255, 0, 0)), scale=False)
    ...     image = load_img(folder + "/red.png", target_size=(2, 3))
    >>> image.shape, image.dtype.name, image[0, 0].tolist()
    ((2, 3, 3), 'uint8', [255, 0, 0])
    """
    check_color_mode(color_mode)
    interpolation = check_interpolation(interpolation, PILLOW)
    image = _decode(path, color_mode)
    if target_size is None:
        return image
    size = check_size("target_size", target_size)
    height, width = image.shape[:2]
    box = centre_box((height, width), size) if keep_aspect_ratio else None
    return resize_image(image, size, interpolation, antialias=True, box=box)


def check_color_mode(color_mode: str) -> int:
    """Number of channels of ``color_mode``."""
    if color_mode not in CHANNELS:
        raise ValueError(f"color_mode must be one of {', '.join(CHANNELS)}. Received: {color_mode!r}")
    return CHANNELS[color_mode]


def check_size(name: str, size: Any) -> tuple[int, int]:
    """``size`` as (height, width)."""
    entries = tuple(size) if isinstance(size, tuple | list | np.ndarray) else ()
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 1 for n in entries)
    if len(entries) != 2 or not whole:
        raise ValueError(f"{name} must be (height, width), each >= 1. Received: {size!r}")
    return int(entries[0]), int(entries[1])


def read_bytes(path: Any) -> bytes:
    """All bytes of a file, or of what is left in a binary file object."""
    if hasattr(path, "read"):
        return path.read()
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"Expected an image file. Received: {os.fspath(path)}, which does not exist") from error


def _decode(path: Any, color_mode: str) -> np.ndarray:
    cv2 = opencv()
    flags = {"rgb": cv2.IMREAD_COLOR, "rgba": cv2.IMREAD_UNCHANGED, "grayscale": cv2.IMREAD_ANYCOLOR}[color_mode]
    image = decode(path, flags | (0 if color_mode == "rgba" else cv2.IMREAD_IGNORE_ORIENTATION))
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8:
        raise ValueError(f"{_name(path)}: expected 8 or 16 bits per channel. Received: {image.dtype.name}")
    found = 1 if image.ndim == 2 else image.shape[2]
    code = {
        ("rgb", 3): cv2.COLOR_BGR2RGB,
        ("rgba", 1): cv2.COLOR_GRAY2RGBA,
        ("rgba", 3): cv2.COLOR_BGR2RGBA,
        ("rgba", 4): cv2.COLOR_BGRA2RGBA,
        ("grayscale", 3): cv2.COLOR_BGR2GRAY,
    }.get((color_mode, found))
    image = image if code is None else cv2.cvtColor(image, code)
    return image.reshape(*image.shape[:2], CHANNELS[color_mode])


def decode(path: Any, flags: int) -> np.ndarray:
    """What ``cv2.imread(path, flags)`` gives, with an error for what is missing, damaged or cut short."""
    data = read_bytes(path)
    # OpenCV fills up what a JPEG lacks with gray. The mark of the end cannot occur in compressed data.
    cut_short = data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    image = None
    if data and not cut_short:
        cv2 = opencv()
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error as error:  # more pixels than OpenCV's limit, for one
            raise ValueError(f"{_name(path)}: expected an image that OpenCV reads. Received: {error}") from error
    if image is None:
        what = "an empty file" if not data else "a JPEG that is cut short" if cut_short else f"{len(data)} other bytes"
        raise ValueError(f"{_name(path)}: expected an intact image file. Received: {what}")
    return image


def _name(path: Any) -> str:
    return str(getattr(path, "name", "image")) if hasattr(path, "read") else os.fspath(path)


def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> np.ndarray:
    """An image as an array of floats with three axes.

    Parameters
    ----------
    img : array_like or Pillow image, shape (H, W) or (H, W, C)
        With ``data_format="channels_first"``, an array that is (H, W, C) all the same.
    data_format : {"channels_last", "channels_first"}, optional
        Layout of the result; ``config.image_data_format()`` by default.
    dtype : dtype, optional
        ``config.floatx()`` by default.

    Returns
    -------
    ndarray, shape (H, W, C) or (C, H, W)
        A copy; values are not scaled.

    Examples
    --------
    >>> img_to_array(np.zeros((28, 20), np.uint8)).shape
    (28, 20, 1)
    >>> img_to_array(np.zeros((28, 20, 3), np.uint8), "channels_first").shape
    (3, 28, 20)
    """
    data_format = check_data_format(data_format or config.image_data_format())
    array = np.array(img, dtype=dtype or config.floatx())
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3:
        raise ValueError(f"Expected an image of shape (H, W) or (H, W, C). Received: shape {array.shape}")
    return array if data_format == "channels_last" else np.ascontiguousarray(array.transpose(2, 0, 1))


def array_to_img(x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None) -> np.ndarray:
    """An array of floats as an image.

    Parameters
    ----------
    x : array_like, shape (H, W, C) or (C, H, W)
        1, 3 or 4 channels.
    data_format : {"channels_last", "channels_first"}, optional
        Layout of ``x``; ``config.image_data_format()`` by default.
    scale : bool
        Map the range of ``x``, from its minimum to its maximum, to 0..255; else values are cut off at 0 and 255.
    dtype : dtype, optional
        To compute in; ``config.floatx()`` by default.

    Returns
    -------
    ndarray, shape (H, W, C), uint8
        An array, where Keras returns a Pillow image (``PIL.Image.fromarray`` makes one). Fractions are dropped.

    Examples
    --------
    >>> array_to_img(np.array([[[-1.0], [0.0], [1.0]]])).ravel().tolist()
    [0, 127, 255]
    """
    data_format = check_data_format(data_format or config.image_data_format())
    image = np.array(x, dtype=dtype or config.floatx())
    if image.ndim != 3:
        raise ValueError(f"Expected an image of 3 axes. Received: shape {image.shape}")
    if data_format == "channels_first":
        image = image.transpose(1, 2, 0)
    if image.shape[2] not in (1, 3, 4):
        raise ValueError(f"Expected 1, 3 or 4 channels ({data_format}). Received: shape {np.shape(x)}")
    if scale and image.size:
        image -= image.min()
        image /= image.max() or 1
        image *= 255
    return np.clip(np.nan_to_num(image), 0, 255).astype(np.uint8)


def save_img(
    path: str | os.PathLike[str],
    x: Any,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Write an array as an image file; the file appears under its name only when it is complete.

    Parameters
    ----------
    path : str or Path
        A file that is there is replaced.
    x : array_like, shape (H, W, C) or (C, H, W)
        1, 3 or 4 channels, red first.
    data_format : {"channels_last", "channels_first"}, optional
        Layout of ``x``.
    file_format : str, optional
        "png", "jpeg", ...; by default what the name ends in.
    scale : bool
        As for :func:`array_to_img`.
    quality : int, optional
        Of a JPEG or WebP, 1 to 100.

    Examples
    --------
    >>> save_img("picture", np.zeros((2, 2, 3)))
    Traceback (most recent call last):
    ValueError: Expected a name that ends in a known format, such as .png, or file_format. Received: picture
    """
    cv2 = opencv()
    image = array_to_img(x, data_format, scale)
    ending = "." + file_format.lower() if file_format else Path(path).suffix.lower()
    if ending == "." or not cv2.haveImageWriter("x" + (ending or ".unknown")):
        raise ValueError(
            f"Expected a name that ends in a known format, such as .png, or file_format. Received: "
            f"{file_format or os.fspath(path)}"
        )
    if image.shape[2] == 4 and _SHORT.get(ending[1:], ending[1:]) == "jpeg":
        raise ValueError("Expected 1 or 3 channels for a JPEG, which has no transparency. Received: 4")
    if image.shape[2] > 1:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    data = cv2.imencode(ending, image, _options(cv2, ending, **kwargs))[1]
    with replacing(path) as part:
        part.write_bytes(data)


def _options(cv2: Any, ending: str, quality: int | None = None) -> list[int]:
    if quality is None:
        return []
    return [cv2.IMWRITE_WEBP_QUALITY if ending == ".webp" else cv2.IMWRITE_JPEG_QUALITY, int(quality)]
