"""Metrics of probabilities and margins: means of the losses of the same names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv import losses
from tinyconv.metrics.base import MeanOf, host, labels_of, registry, weights_of


@registry.register("bce")
class BinaryCrossentropy(MeanOf):
    """Mean of :func:`tinyconv.losses.binary_crossentropy` over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import BinaryCrossentropy
    >>> round(BinaryCrossentropy()([[1.0], [0.0]], [[0.9], [0.1]]), 6)
    0.105361
    """

    function = staticmethod(losses.binary_crossentropy)

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = "float64",
        from_logits: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        self.from_logits, self.label_smoothing = from_logits, label_smoothing
        super().__init__(name, dtype)


@registry.register()
class CategoricalCrossentropy(MeanOf):
    """Mean of :func:`tinyconv.losses.categorical_crossentropy` over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import CategoricalCrossentropy
    >>> round(CategoricalCrossentropy()([[0, 1]], [[0.5, 0.5]]), 6)
    0.693147
    """

    function = staticmethod(losses.categorical_crossentropy)

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = "float64",
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis
        super().__init__(name, dtype)


@registry.register()
class SparseCategoricalCrossentropy(MeanOf):
    """Mean of :func:`tinyconv.losses.sparse_categorical_crossentropy`.

    Over all samples: (N, ...), (N, ..., C) -> float. Labels ``ignore_class`` do not count, as in the loss.

    Examples
    --------
    >>> from tinyconv.metrics import SparseCategoricalCrossentropy
    >>> round(SparseCategoricalCrossentropy()([1], [[0.5, 0.5]]), 6)
    0.693147
    """

    function = staticmethod(losses.sparse_categorical_crossentropy)

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = "float64",
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis
        super().__init__(name, dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        if self.ignore_class is not None:
            labels = host(y_true)
            labels = labels[..., 0] if labels.ndim == np.ndim(y_pred) else labels
            weights = weights_of(1.0 if sample_weight is None else sample_weight, labels.shape, self.name)
            sample_weight = weights * (labels != self.ignore_class)
        super().update_state(y_true, y_pred, sample_weight)


@registry.register("kld", "kullback_leibler_divergence")
class KLDivergence(MeanOf):
    """Mean of :func:`tinyconv.losses.kl_divergence` over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import KLDivergence
    >>> round(KLDivergence()([[0.5, 0.5]], [[0.9, 0.1]]), 6)
    0.510826
    """

    function = staticmethod(losses.kl_divergence)


@registry.register()
class Hinge(MeanOf):
    """Mean of :func:`tinyconv.losses.hinge` over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import Hinge
    >>> Hinge()([[-1.0], [1.0]], [[0.5], [2.0]])
    0.75
    """

    function = staticmethod(losses.hinge)


@registry.register()
class SquaredHinge(MeanOf):
    """Mean of :func:`tinyconv.losses.squared_hinge` over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import SquaredHinge
    >>> SquaredHinge()([[-1.0], [1.0]], [[0.5], [2.0]])
    1.125
    """

    function = staticmethod(losses.squared_hinge)


@registry.register()
class CategoricalHinge(MeanOf):
    """Mean of :func:`tinyconv.losses.categorical_hinge` over all samples: (N, ..., C), (N, ..., C) -> float.

    Examples
    --------
    >>> from tinyconv.metrics import CategoricalHinge
    >>> round(CategoricalHinge()([[0.0, 1.0]], [[0.6, 0.4]]), 6)
    1.2
    """

    function = staticmethod(losses.categorical_hinge)


def resolve_crossentropy(loss: Any, output_shape: Sequence[int | None], name: str = "crossentropy") -> MeanOf:
    """The cross-entropy that Keras means by ``"crossentropy"``, from the loss and the shape of the predictions.

    Binary losses and outputs of one unit: element by element; sparse losses: of class numbers; all others: of one-hot
    labels. Predictions are logits where they are to the loss.

    Examples
    --------
    >>> from tinyconv.metrics.crossentropy import resolve_crossentropy
    >>> resolve_crossentropy("sparse_categorical_crossentropy", (None, 10))
    SparseCategoricalCrossentropy()
    """
    loss = None if loss is None else losses.get(loss)
    kinds: dict[str, Any] = {
        "binary": BinaryCrossentropy, "sparse": SparseCategoricalCrossentropy, "one-hot": CategoricalCrossentropy,
    }  # fmt: skip
    return kinds[labels_of(loss, output_shape)](name, from_logits=getattr(loss, "from_logits", False))
