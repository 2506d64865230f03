"""Losses of pairs and triplets of embeddings: what belongs together must lie close together."""

from __future__ import annotations

from typing import Any

from tinyconv import config, ops
from tinyconv.checks import positive
from tinyconv.losses.base import FunctionLoss, at_least_float32, known_by_name, mean_of_sample, operands, registry
from tinyconv.losses.crossentropy import sparse_crossentropies
from tinyconv.ops.elementwise import as_float, as_tensor
from tinyconv.tensor import Tensor


def contrastive(y_true: Any, y_pred: Any, margin: float = 1.0) -> Tensor:
    """``D**2`` for pairs that belong together, ``max(0, margin - D)**2`` for others; D is their L2 distance.

    Parameters
    ----------
    y_true : array_like or Tensor, shape (N,) or (N, 1)
        1 for a pair that belongs together, else 0.
    y_pred : array_like or Tensor, shape of ``y_true``, or (N, 2, E)
        Distances, or pairs of embeddings of E values.

    Source: R. Hadsell et al., "Dimensionality reduction by learning an invariant mapping", 2006.

    Examples
    --------
    >>> from tinyconv.losses import contrastive
    >>> contrastive([1, 0], [0.25, 0.25]).tolist()
    [0.0625, 0.5625]
    """
    y_true, y_pred = as_tensor(y_true), as_float(y_pred)
    if y_pred.ndim == 3 and y_pred.shape[1] == 2 and y_true.size == len(y_pred):
        squared = _squared_distance(y_pred[:, 0], y_pred[:, 1])
        y_pred = ops.sqrt(ops.maximum(squared, config.epsilon() ** 2))  # a distance of 0 would have no gradient
        y_true = ops.reshape(y_true, y_pred.shape)
    y_true, distance = operands(y_true, y_pred, "contrastive")
    apart = ops.square(ops.maximum(margin - distance, 0.0))
    return mean_of_sample(y_true * ops.square(distance) + (1.0 - y_true) * apart)


def triplet(y_true: Any, y_pred: Any, margin: float = 1.0) -> Tensor:
    """``max(0, Dp**2 - Dn**2 + margin)``: the positive must be nearer to the anchor than the negative.

    Parameters
    ----------
    y_true : ignored
        There are no labels: the order of ``y_pred`` says what is what.
    y_pred : array_like or Tensor, shape (N, 2) or (N, 3, E)
        L2 distances (Dp, Dn) from the anchor, or embeddings of E values (anchor, positive, negative).

    Returns
    -------
    Tensor, shape (N,)

    Source: F. Schroff et al., "FaceNet", arXiv 1503.03832.

    Examples
    --------
    >>> from tinyconv.losses import triplet
    >>> triplet(None, [[0.5, 1.0]], margin=1.0).tolist()
    [0.25]
    """
    y_pred = at_least_float32(y_pred)
    if y_pred.ndim == 3 and y_pred.shape[1] == 3:
        anchor, positive, negative = (y_pred[:, i] for i in range(3))
        near, far = _squared_distance(anchor, positive), _squared_distance(anchor, negative)
    elif y_pred.ndim == 2 and y_pred.shape[1] == 2:
        near, far = ops.square(y_pred[:, 0]), ops.square(y_pred[:, 1])
    else:
        raise ValueError(
            "triplet expected y_pred to be distances (N, 2) to the positive and the negative, or embeddings "
            f"(N, 3, E) of anchor, positive and negative. Received: {y_pred.shape}"
        )
    return ops.maximum(near - far + margin, 0.0)


def infonce(y_true: Any, y_pred: Any, temperature: float = 1.0) -> Tensor:
    """``-log(exp(s[y_true] / temperature) / sum(exp(s / temperature)))``: the positive must score highest.

    Parameters
    ----------
    y_true : array_like or Tensor, shape (N,) or (N, 1)
        Number of the candidate that belongs to the sample. With ``y_pred = x @ y.T`` for N pairs of embeddings,
        the others of the batch are the negatives and ``y_true`` is ``arange(N)``.
    y_pred : array_like or Tensor, shape (N, K)
        Scores of K candidates, inner products of embeddings.

    Returns
    -------
    Tensor, shape (N,)

    Source: A. van den Oord et al., "Representation learning with contrastive predictive coding", arXiv 1807.03748.

    Examples
    --------
    >>> from tinyconv.losses import infonce
    >>> round(infonce([0], [[2.0, 0.0, 1.0]]).item(), 6)
    0.407606
    """
    return sparse_crossentropies(y_true, at_least_float32(y_pred) / temperature, True, -1, "infonce")


@registry.register("contrastive")
class ContrastiveLoss(FunctionLoss):
    """:func:`contrastive`, averaged over the batch: (N,), (N, 2, E) -> ().

    Parameters
    ----------
    margin : float
        Distance beyond which pairs that do not belong together cost nothing.

    Examples
    --------
    >>> from tinyconv.losses import ContrastiveLoss
    >>> ContrastiveLoss(margin=1.0)([1, 0], [0.25, 0.25]).item()
    0.3125
    """

    function = staticmethod(contrastive)

    def __init__(
        self,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "contrastive",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.margin = positive("margin", margin)


@registry.register("triplet")
class TripletLoss(FunctionLoss):
    """:func:`triplet`, averaged over the batch: None, (N, 3, E) -> ().

    Parameters
    ----------
    margin : float
        How much smaller the squared distance of the positive must be.

    Examples
    --------
    >>> from tinyconv.losses import TripletLoss
    >>> TripletLoss(margin=1.0)(None, [[0.5, 1.0]]).item()
    0.25
    """

    function = staticmethod(triplet)

    def __init__(
        self,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "triplet",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.margin = margin


@registry.register()
class InfoNCE(FunctionLoss):
    """:func:`infonce`, averaged over the batch: (N,), (N, K) -> ().

    Parameters
    ----------
    temperature : float
        Scores are divided by it; small values care most about the strongest negatives.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> from tinyconv.losses import InfoNCE
    >>> x, y = tc.Tensor(np.eye(4)), tc.Tensor(np.eye(4))  # embeddings of 4 pairs
    >>> round(InfoNCE(temperature=0.1)(np.arange(4), x @ y.T).item(), 6)
    0.000136
    """

    function = staticmethod(infonce)

    def __init__(
        self,
        temperature: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "infonce",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.temperature = positive("temperature", temperature)


known_by_name(contrastive, triplet, infonce)


def _squared_distance(x: Tensor, y: Tensor) -> Tensor:
    return ops.sum(ops.square(x - y), -1)
