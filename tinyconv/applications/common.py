"""What the networks share."""

from __future__ import annotations

from tinyconv import config


def image_shape(width: int, height: int, depth: int) -> tuple[int, int, int]:
    """Shape of one image in the configured layout."""
    if config.image_data_format() == "channels_first":
        return depth, height, width
    return height, width, depth


def channel_axis() -> int:
    """Axis of the channels in the configured layout."""
    return 1 if config.image_data_format() == "channels_first" else -1
