"""Settings that hold for the whole process: default float type, image layout, fuzz factor (Keras's names)."""

from __future__ import annotations

from typing import Any

from tinyconv.geometry import check_data_format

_FLOATS = ("float16", "float32", "float64")
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
