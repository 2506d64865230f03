"""What the networks share: the layout of images, the arguments that all of them have, and files of weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv import config
from tinyconv.layers import (
    BatchNormalization,
    Dense,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Input,
    Symbolic,
)
from tinyconv.layers.base import flatten_structure
from tinyconv.models import Functional, Model

__all__ = [
    "Options", "averaged_classes", "batch_norm", "channel_axis", "image_shape", "image_size", "models_folder",
    "named_height", "published_size", "source_inputs",
]  # fmt: skip


def image_shape(width: int, height: int, depth: int) -> tuple[int, int, int]:
    """Shape of one image in the configured layout."""
    if config.image_data_format() == "channels_first":
        return depth, height, width
    return height, width, depth


def image_size(shape: Sequence[int | None]) -> tuple[int | None, int | None]:
    """Height and width in the shape of a batch or of one image in the configured layout; None where unknown."""
    height, width = shape[-2:] if config.image_data_format() == "channels_first" else shape[-3:-1]
    return height, width


def channel_axis() -> int:
    """Axis of the channels in the configured layout."""
    return 1 if config.image_data_format() == "channels_first" else -1


def batch_norm(name: str, **options: Any) -> BatchNormalization:
    """Batch normalisation over the channels of the configured layout."""
    return BatchNormalization(channel_axis(), name=name, **options)


@dataclass(frozen=True)
class Options:
    """The arguments that all networks for ImageNet have, with the names, order and meaning of Keras.

    Attributes
    ----------
    include_top : bool
        Whether the network ends in its classifier, or in the features before that.
    weights : str, Path or None
        ``"imagenet"``: the published file, which must lie in tinyconv's cache; a path: of a file that
        ``Model.load_weights`` reads; None: random weights.
    input_tensor : symbolic tensor, optional
        What the network shall be applied to, in place of an input of its own.
    input_shape : tuple of int, optional
        Of one image, in the configured layout. By default the size for which the network was designed; without the
        classifier any size, that is (None, None, 3).
    pooling : {None, "avg", "max"}
        Without the classifier: features as maps, or their means or maxima, one number for each map.
    classes : int
        Number of outputs of the classifier.
    classifier_activation : str, callable or None
        Of the classifier; None for logits.
    name : str
        Of the model.
    """

    include_top: bool
    weights: Any
    input_tensor: Any
    input_shape: Any
    pooling: str | None
    classes: int
    classifier_activation: Any
    name: str

    def build(
        self,
        body: Callable[[Any], Any],
        classifier: Callable[[Any, Options], Any],
        *,
        size: int,
        smallest: int,
        file: str | None = None,
        fixed_size: bool = False,
    ) -> Functional:
        """Make the network.

        Parameters
        ----------
        body : function of a symbolic image batch
            Gives the features.
        classifier : function of the features and these options
            Gives the outputs.
        size, smallest : int
            Height and width for which the network was designed, and the least that leave it one feature to compute.
        file : str, optional
            Name of the published file of weights; ``{top}`` in it stands for "" or "_notop".
        fixed_size : bool
            Whether the classifier needs inputs of known size.
        """
        self._check()
        file = file and file.format(top="" if self.include_top else "_notop")
        path = self._weights_path(file)
        inputs, images = self._inputs(size, smallest, fixed_size)
        features = body(images)
        if self.include_top:
            outputs = classifier(features, self)
        elif self.pooling:
            outputs = (GlobalAveragePooling2D if self.pooling == "avg" else GlobalMaxPooling2D)()(features)
        else:
            outputs = features
        model = Model(inputs, outputs, name=self.name)
        if path is not None:
            model.load_weights(path)
        assert isinstance(model, Functional)
        return model

    def _check(self) -> None:
        if self.pooling not in (None, "avg", "max"):
            raise ValueError(f"pooling must be None, 'avg' or 'max'. Received: {self.pooling!r}")
        if isinstance(self.classes, bool) or not isinstance(self.classes, int | np.integer) or self.classes < 1:
            raise ValueError(f"classes must be an integer >= 1. Received: {self.classes!r}")
        if self.weights == "imagenet" and self.include_top:
            if self.classes != 1000:
                raise ValueError(
                    f"With weights='imagenet' and include_top=True, classes must be 1000. Received: {self.classes}"
                )
            if self.classifier_activation not in (None, "softmax"):
                raise ValueError(
                    "With weights='imagenet' and include_top=True, classifier_activation must be None or 'softmax'. "
                    f"Received: {self.classifier_activation!r}"
                )

    def _weights_path(self, file: str | None) -> Path | None:
        """The file that ``weights`` means, which exists."""
        if self.weights is None:
            return None
        if self.weights != "imagenet":
            path = Path(self.weights).expanduser() if isinstance(self.weights, str | os.PathLike) else None
            if path is None or not path.is_file():
                raise ValueError(
                    "weights must be None (random), 'imagenet' or the path of a file of weights. "
                    f"Received: {self.weights!r}, which is no file"
                )
            return path
        if file is None:
            raise ValueError(
                f"No file of ImageNet weights is published for {self.name} in Keras's formats: use weights=None, or "
                "the path of a file that Model.load_weights reads. Received: weights='imagenet'"
            )
        path = models_folder() / file
        if not path.is_file():
            raise FileNotFoundError(
                f"The ImageNet weights of {self.name} are not on this machine. Put Keras's published file {file} into "
                f"the folder {path.parent}, or pass the path of that file as weights=...; weights=None makes the "
                "network with random weights"
            )
        return path

    def _inputs(self, size: int, smallest: int, fixed_size: bool) -> tuple[Any, Symbolic]:
        """The model's inputs, and the images that the network sees: the same but for an ``input_tensor``."""
        shape = None if self.input_shape is None else tuple(self.input_shape)
        if self.input_tensor is not None:
            if not isinstance(self.input_tensor, Symbolic):
                raise TypeError(
                    "input_tensor must be symbolic, made by tinyconv.Input or by layers. "
                    f"Received: {self.input_tensor!r}"
                )
            given = self.input_tensor.shape[1:]
            if shape is not None and shape != given:
                raise ValueError(f"input_shape must be that of input_tensor, {given}. Received: {shape}")
            shape = given
        elif shape is None:
            side: Any = size if self.include_top else None
            shape = image_shape(side, side, 3)
        self._check_shape(shape, size, smallest, fixed_size)
        if self.input_tensor is None:
            images = Input(shape)
            return images, images
        sources = source_inputs(self.input_tensor)
        return sources[0] if len(sources) == 1 else sources, self.input_tensor

    def _check_shape(self, shape: tuple[int | None, ...], size: int, smallest: int, fixed_size: bool) -> None:
        layout = image_shape("width", "height", "channels")  # type: ignore[arg-type]
        if len(shape) != 3:
            raise ValueError(f"input_shape must be ({', '.join(map(str, layout))}). Received: {shape}")
        channels = shape[0 if channel_axis() == 1 else -1]
        if channels is None or channels < 1:
            raise ValueError(f"input_shape must tell the number of channels. Received: {shape}")
        if self.weights == "imagenet" and channels != 3:
            raise ValueError(f"With weights='imagenet' the images must have 3 channels. Received: input_shape={shape}")
        sides = image_size(shape)
        if any(side is not None and side < smallest for side in sides):
            raise ValueError(f"Images must be at least {smallest}x{smallest}. Received: input_shape={shape}")
        if not (self.include_top and fixed_size):
            return
        if None in sides:
            raise ValueError(f"With include_top=True, height and width must be known. Received: input_shape={shape}")
        if self.weights == "imagenet" and sides != (size, size):
            raise ValueError(
                "With weights='imagenet' and include_top=True, input_shape must be "
                f"{image_shape(size, size, 3)}. Received: {shape}"
            )


def averaged_classes(x: Any, options: Options) -> Any:
    """The classifier of most networks: means of all maps, and one dense layer."""
    x = GlobalAveragePooling2D(name="avg_pool")(x)
    return Dense(options.classes, options.classifier_activation, name="predictions")(x)


def models_folder() -> Path:
    """Where published files of weights, and the list of ImageNet's classes, are looked for."""
    from tinyconv.datasets.download import home

    return home() / "models"


def source_inputs(tensor: Symbolic) -> list[Symbolic]:
    """The inputs from which a symbolic tensor is computed, each once."""
    found: dict[int, Symbolic] = {}
    seen: set[int] = set()
    stack = [tensor]
    while stack:
        one = stack.pop()
        if one.call is None:
            found[id(one)] = one
        elif id(one.call) not in seen:
            seen.add(id(one.call))
            stack += reversed(flatten_structure(one.call.inputs))
    return list(found.values())


def published_size(input_shape: Any, input_tensor: Any, sizes: Sequence[int]) -> int:
    """Side of the images of the published weights that suit inputs best: their own side, if it is one of ``sizes``."""
    shape = input_shape if input_tensor is None else getattr(input_tensor, "shape", (None, None, None))
    height, width = (None, None) if shape is None or len(shape) < 3 else image_size(shape)
    return height if height is not None and height == width and height in sizes else sizes[-1]


def named_height(input_shape: Any, include_top: bool, size: int) -> int | None:
    """Height of the images as Keras puts it into the names of models; None where ``input_shape`` leaves it open."""
    if input_shape is None:
        return size if include_top else None
    return image_size(input_shape)[0] if len(input_shape) == 3 else size
