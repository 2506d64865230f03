"""Settings that hold for the whole process: default float type, image layout, fuzz factor, algorithms."""

from __future__ import annotations

import os
from typing import Any

from tinyconv.geometry import check_data_format

_FLOATS = ("float16", "float32", "float64")
_ALGORITHMS = ("auto", "direct")
_settings: dict[str, Any] = {"floatx": "float32", "image_data_format": "channels_last", "epsilon": 1e-7}


def floatx() -> str:
    """Float type of new weights and of data given as Python numbers (``"float32"``)."""
    return str(_settings["floatx"])


def set_floatx(dtype: str) -> None:
    """Set :func:`floatx` to ``"float16"``, ``"float32"`` or ``"float64"``."""
    if dtype not in _FLOATS:
        raise ValueError(f"floatx must be one of {', '.join(_FLOATS)}. Received: {dtype!r}")
    _settings["floatx"] = dtype


def image_data_format() -> str:
    """Layout of images where none is given: ``"channels_last"`` (N, H, W, C) or ``"channels_first"`` (N, C, H, W)."""
    return str(_settings["image_data_format"])


def set_image_data_format(data_format: str) -> None:
    """Set :func:`image_data_format`."""
    _settings["image_data_format"] = check_data_format(data_format)


def epsilon() -> float:
    """Distance that probabilities keep from 0 and 1 in logarithms (1e-7)."""
    return float(_settings["epsilon"])


def set_epsilon(value: float) -> None:
    """Set :func:`epsilon`."""
    if not value > 0:
        raise ValueError(f"epsilon must be > 0. Received: {value!r}")
    _settings["epsilon"] = float(value)


def convolution_algorithm() -> str:
    """How convolutions are computed (``"auto"``, or what the environment variable ``TINYCONV_CONVOLUTION`` says)."""
    if "convolution" not in _settings:
        set_convolution_algorithm(os.environ.get("TINYCONV_CONVOLUTION") or "auto")
    return str(_settings["convolution"])


def set_convolution_algorithm(algorithm: str) -> None:
    """Set :func:`convolution_algorithm`.

    Parameters
    ----------
    algorithm : {"auto", "direct"}
        "auto": Winograd's algorithm for 3x3 and 5x5 kernels of stride 1 in float32 where it is faster; its rounding
        errors are 2 to 10 times larger, and a NaN spreads over tiles of 4x4 pixels. "direct": the sum of products as
        it is written, always. Steps of a model that are already compiled keep what they have.
    """
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"The algorithm must be one of {', '.join(_ALGORITHMS)}. Received: {algorithm!r}")
    _settings["convolution"] = algorithm
