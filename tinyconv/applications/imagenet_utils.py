"""ImageNet's conventions: what networks expect of pixels, and the names of the 1,000 classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv import config
from tinyconv.applications.common import models_folder
from tinyconv.geometry import check_data_format
from tinyconv.tensor import Tensor

__all__ = ["decode_predictions", "preprocess_input"]

CLASS_INDEX = "imagenet_class_index.json"
CLASSES = 1000

# Of ImageNet's training images, RGB.
_MEANS = (123.68, 116.779, 103.939)  # of 0..255, as subtracted by the authors of VGG
_MEANS_TO_ONE, _DEVIATIONS_TO_ONE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of 0..1


def preprocess_input(x: Any, data_format: str | None = None, mode: str = "caffe") -> np.ndarray:
    """Scale images as a network was trained to see them.

    Parameters
    ----------
    x : array_like or Tensor
        One image (H, W, 3) or a batch (N, H, W, 3), channels first for that format: RGB, values 0 to 255, any dtype.
        It is not changed.
    data_format : str, optional
        ``"channels_last"`` or ``"channels_first"``; ``config.image_data_format()`` by default.
    mode : {"caffe", "tf", "torch"}
        ``"caffe"``: RGB becomes BGR, and each channel's mean over ImageNet is subtracted; ``"tf"``: -1 to 1;
        ``"torch"``: 0 to 1, then each channel standardised with its mean and deviation over ImageNet.

    Returns
    -------
    ndarray
        A new array of the same shape; floats keep their dtype, other numbers become ``config.floatx()``.

    Raises
    ------
    ValueError
        For an unknown mode or format, and for arrays that are not images; for other than 3 channels, but in mode "tf".

    Examples
    --------
    >>> pixel = [[[123.68, 116.779, 103.939]]]
    >>> preprocess_input(pixel).tolist()
    [[[0.0, 0.0, 0.0]]]
    >>> preprocess_input([[[0.0, 127.5, 255.0]]], mode="tf").tolist()
    [[[-1.0, 0.0, 1.0]]]
    """
    if mode not in ("caffe", "tf", "torch"):
        raise ValueError(f"mode must be 'caffe', 'tf' or 'torch'. Received: {mode!r}")
    data_format = check_data_format(data_format or config.image_data_format())
    x = np.asarray(x.numpy() if isinstance(x, Tensor) else x)
    if x.ndim not in (3, 4):
        raise ValueError(f"x must be an image or a batch of images, 3 or 4 axes. Received: shape {x.shape}")
    if not np.issubdtype(x.dtype, np.floating):
        x = x.astype(config.floatx())
    if mode == "tf":
        return x / x.dtype.type(127.5) - x.dtype.type(1)
    axis = x.ndim - 3 if data_format == "channels_first" else x.ndim - 1
    if x.shape[axis] != 3:
        raise ValueError(f"x must have 3 channels on axis {axis} in mode {mode!r}. Received: shape {x.shape}")

    def per_channel(values: tuple[float, ...]) -> np.ndarray:
        return np.array(values, x.dtype).reshape([3 if i == axis else 1 for i in range(x.ndim)])

    if mode == "caffe":
        return np.flip(x, axis) - per_channel(_MEANS[::-1])
    return (x / x.dtype.type(255) - per_channel(_MEANS_TO_ONE)) / per_channel(_DEVIATIONS_TO_ONE)


def preprocess_caffe(x: Any, data_format: str | None = None) -> np.ndarray:
    """RGB images, values 0 to 255, as BGR less each channel's mean: :func:`preprocess_input` in mode "caffe".

    Examples
    --------
    >>> preprocess_caffe([[[123.68, 116.779, 113.939]]]).round(3).tolist()
    [[[10.0, 0.0, 0.0]]]
    """
    return preprocess_input(x, data_format, "caffe")


def preprocess_tf(x: Any, data_format: str | None = None) -> np.ndarray:
    """RGB images, values 0 to 255, scaled to -1 to 1: :func:`preprocess_input` in mode "tf".

    Examples
    --------
    >>> preprocess_tf([[[0.0, 127.5, 255.0]]]).tolist()
    [[[-1.0, 0.0, 1.0]]]
    """
    return preprocess_input(x, data_format, "tf")


def decode_predictions(
    preds: Any, top: int = 5, class_index: Any = None
) -> list[list[tuple[str, str, float]]]:
    """Name the most probable of ImageNet's classes.

    Parameters
    ----------
    preds : (N, 1000) array_like or Tensor
        Probabilities, or anything that grows with them.
    top : int
        How many classes are named for each sample.
    class_index : str or Path, optional
        File that lists the classes, JSON ``{"0": ["n01440764", "tench"], ...}``; by default
        ``imagenet_class_index.json`` in tinyconv's cache, in the folder of weights.

    Returns
    -------
    list of list of (str, str, float)
        For each sample (WordNet's number, name, value), highest value first; of equal values the first class first.

    Raises
    ------
    FileNotFoundError
        Where there is no list of classes; the message says which file is missing and where it goes.
    ValueError
        For predictions of another shape, and for a file that is no such list.

    Examples
    --------
    >>> import json, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "classes.json")
    >>> with open(path, "w") as file:
    ...     json.dump({str(i): [f"n{i:08}", f"class {i}"] for i in range(1000)}, file)
    >>> probabilities = np.zeros((1, 1000))
    >>> probabilities[0, [7, 42]] = 0.25, 0.75
    >>> decode_predictions(probabilities, top=2, class_index=path)
    [[('n00000042', 'class 42', 0.75), ('n00000007', 'class 7', 0.25)]]
    """
    preds = np.asarray(preds.numpy() if isinstance(preds, Tensor) else preds)
    if preds.ndim != 2 or preds.shape[1] != CLASSES:
        raise ValueError(f"preds must be a batch of predictions, (N, {CLASSES}). Received: shape {preds.shape}")
    if isinstance(top, bool) or not isinstance(top, int | np.integer) or not 1 <= top <= CLASSES:
        raise ValueError(f"top must be an integer from 1 to {CLASSES}. Received: {top!r}")
    classes = _read_classes(models_folder() / CLASS_INDEX if class_index is None else Path(class_index))
    best = np.argsort(-preds, axis=1, kind="stable")[:, :top]
    return [[(*classes[i], float(row[i])) for i in indices] for row, indices in zip(preds, best, strict=True)]


def _read_classes(path: Path) -> list[tuple[str, str]]:
    """WordNet number and name of every class, in order."""
    if not path.is_file():
        raise FileNotFoundError(
            f"The list of ImageNet's classes is not on this machine. Put Keras's published file {CLASS_INDEX} into the "
            f"folder {models_folder()}, or pass its path as class_index=... Received: {path}, which is no file"
        )
    try:
        entries = json.loads(path.read_text("utf-8"))
        classes = [entries[str(i)] for i in range(CLASSES)]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no list of ImageNet's classes: {type(error).__name__}: {error}") from None
    for entry in classes:
        if not isinstance(entry, list) or len(entry) != 2 or not all(isinstance(text, str) for text in entry):
            raise ValueError(f"{path} is no list of ImageNet's classes: expected [number, name]. Received: {entry!r}")
    return [(number, name) for number, name in classes]
