"""OpenCV, imported at its first use: it is slow to import, and may be missing."""

from __future__ import annotations

from typing import Any


def opencv() -> Any:
    """The module ``cv2``; ``ImportError`` with the command that installs it where it is missing."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f"Images are read and resized by OpenCV: pip install opencv-python ({error})") from error
    return cv2
