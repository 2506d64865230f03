"""Class labels of any kind as what a loss expects, and a model's outputs as probabilities and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, softmax

from tinyconv import losses
from tinyconv.models import Model


class Labels:
    """The classes of a problem.

    Parameters
    ----------
    y : ndarray, shape (N,) or (N, C)
        Labels of any dtype, or a 0/1 matrix: with one 1 in every row one-hot, else several labels per sample.
    classes : array_like, optional
        All classes, where ``y`` may lack some.
    several : bool
        Whether a matrix means several labels per sample in any case.

    Attributes
    ----------
    classes : ndarray, shape (C,)
        Sorted; column numbers for a matrix.
    kind : {"binary", "multiclass", "multiclass-onehot", "multilabel-indicator"}

    Examples
    --------
    >>> Labels(np.array(["dog", "cat", "dog"])).codes(np.array(["cat", "dog"])).tolist()
    [0, 1]
    """

    def __init__(self, y: np.ndarray, classes: Any = None, several: bool = False) -> None:
        if y.ndim == 2:
            self.classes = np.arange(y.shape[1])
            one_hot = not several and bool((y.sum(axis=1) == 1).all())
            self.kind = "multiclass-onehot" if one_hot else "multilabel-indicator"
        else:
            self.classes = np.unique(y if classes is None else np.asarray(classes))
            self.kind = "multiclass" if len(self.classes) > 2 else "binary"

    @property
    def units(self) -> int:
        """Outputs that a model should have: 1 for two classes, else one per class."""
        return 1 if self.kind == "binary" else len(self.classes)

    @property
    def activation(self) -> str:
        """What the last layer of the default network ends in."""
        return "softmax" if self.kind.startswith("multiclass") else "sigmoid"

    def default_loss(self, units: int) -> str:
        """The cross-entropy for a model with ``units`` outputs."""
        if units == 1 or self.kind == "multilabel-indicator":
            return "binary_crossentropy"
        return "categorical_crossentropy" if self.kind == "multiclass-onehot" else "sparse_categorical_crossentropy"

    def codes(self, y: np.ndarray) -> np.ndarray:
        """Places of the labels (N,) in ``classes``."""
        unknown = np.setdiff1d(y, self.classes)
        if len(unknown):
            raise ValueError(f"Expected labels from the classes {self.classes.tolist()}. Received: {unknown.tolist()}")
        return np.searchsorted(self.classes, y)

    def encode(self, y: np.ndarray, model: Model) -> np.ndarray:
        """Labels as the model's loss expects them: (N, 1) for one output, (N,) for sparse losses, else (N, C)."""
        units, count = model.output_shape[-1], len(self.classes)
        if units != self.units and (units == 1 or units < count):
            wanted = f"{count} outputs" if count > 2 else "1 output or 2"
            raise ValueError(f"A model for {count} classes needs {wanted}. Received: one with {units}")
        sparse = isinstance(loss_of(model), losses.SparseCategoricalCrossentropy)
        if y.ndim == 2:
            return y.argmax(axis=1) if sparse else y.astype("float32")
        codes = self.codes(y)
        if units == 1:
            return codes[:, None].astype("float32")
        return codes if sparse else np.eye(units, dtype="float32")[codes]

    def probabilities(self, outputs: np.ndarray, model: Model) -> np.ndarray:
        """A model's outputs (N, units) as probabilities (N, C) in float64."""
        loss, p = loss_of(model), outputs.astype(np.float64)
        if getattr(loss, "from_logits", False):
            p = softmax(p, axis=1) if isinstance(loss, _CATEGORICAL) else expit(p)
        elif isinstance(loss, losses.Hinge | losses.SquaredHinge):  # from -1 to 1
            p = np.clip((p + 1) / 2, 0, 1)
        if p.shape[1] == 1 and self.kind == "binary":
            return np.ones_like(p) if len(self.classes) == 1 else np.hstack([1 - p, p])
        sums = p.sum(axis=1, keepdims=True)
        if self.kind != "multilabel-indicator" and np.allclose(sums, 1, atol=1e-4):
            p /= sums  # without float32's rounding
        return p[:, : len(self.classes)]

    def decode(self, probabilities: np.ndarray) -> np.ndarray:
        """The most probable labels, in the form of ``y``."""
        if self.kind == "multilabel-indicator":
            return (probabilities > 0.5).astype(int)
        best = probabilities.argmax(axis=1)
        return np.eye(len(self.classes), dtype=int)[best] if self.kind == "multiclass-onehot" else self.classes[best]


_CATEGORICAL = (
    losses.CategoricalCrossentropy, losses.SparseCategoricalCrossentropy, losses.CategoricalFocalCrossentropy,
)  # fmt: skip


def loss_of(model: Model) -> Any:
    """The loss of a compiled model's only output, or None."""
    parts = model._compiled().parts()
    return losses.get(parts[0]) if parts else None
