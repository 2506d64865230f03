"""Pictures of training and of its result: learning curves and the confusion matrix."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.viz.figures import matplotlib, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CURVES = {"loss": "train_loss", "val_loss": "val_loss", "acc": "train_acc", "val_acc": "val_acc"}


def plot_history(
    history: Any, path: str | Path | None = None, title: str = "Training Loss and Accuracy"
) -> Figure:
    """Loss and accuracy of training and validation against the epoch, counted from 0.

    Parameters
    ----------
    history : History or mapping of str to sequence of float
        What ``fit`` returned, or its ``history``; curves that it lacks are left out. ``acc`` and ``accuracy`` mean the
        same. Curves that have no value for some epochs (``validation_freq``) are drawn value by value, from 0 on.
    path : str or Path, optional
        Where to save the figure (PNG, SVG or PDF, by its ending).
    title : str

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = plot_history({"loss": [0.9, 0.4], "val_loss": [0.8, 0.5]})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['train_loss', 'val_loss']
    """
    values: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    found = {key: key if key in values else key.replace("acc", "accuracy") for key in _CURVES}
    curves = {label: values[found[key]] for key, label in _CURVES.items() if found[key] in values}
    if not curves:
        raise ValueError(f"history must have some of {list(_CURVES)}. Received: {list(values)}")
    with matplotlib("style").context("ggplot"):
        figure = new_figure(8, 6)
        axes = figure.add_subplot()
        for label, curve in curves.items():
            axes.plot(range(len(curve)), curve, label=label, marker="o" if len(curve) == 1 else None)
        axes.set(title=textwrap.fill(title, 64), xlabel="Epoch #", ylabel="Loss/Accuracy")
        axes.locator_params(axis="x", integer=True, min_n_ticks=1)
        axes.legend()
        return save(figure, path)


def plot_confusion_matrix(
    matrix: Any,
    class_names: Sequence[str] | None = None,
    normalize: bool = False,
    path: str | Path | None = None,
    title: str = "Confusion matrix",
) -> Figure:
    """How often samples of each class (rows) were taken for each class (columns).

    Parameters
    ----------
    matrix : array_like, shape (K, K)
        ``matrix[i, j]`` counts samples of class ``i`` that were predicted as class ``j``.
    class_names : sequence of str, optional
        ``0``, ``1``, ... by default. Long names are broken into lines, and cut where three do not suffice (one from
        31 classes on).
    normalize : bool
        Show fractions of each row in place of counts; the diagonal is then each class's recall.
    path : str or Path, optional
        Where to save the figure (PNG, SVG or PDF, by its ending).
    title : str

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = plot_confusion_matrix([[8, 2], [1, 9]], ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['8', '2', '1', '9']
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(f"matrix must be square, one row and column per class. Received: shape {counts.shape}")
    if counts.dtype.kind not in "uif" or not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError(f"matrix must hold counts >= 0. Received: {matrix!r}")
    names = [str(i) for i in range(len(counts))] if class_names is None else [str(name) for name in class_names]
    if len(names) != len(counts):
        raise ValueError(f"class_names must name {len(counts)} classes. Received: {len(names)} names")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    few = len(names) <= 30
    names = [_in_lines(name, 24, 3) if few else _in_lines(name, 40, 1) for name in names]
    longest = max(len(line) for name in names for line in name.split("\n"))
    side = min(max(1.8, 0.55 * len(names)), 22) + 0.08 * longest + 1.4  # inches: cells, names, and what is around them
    figure = new_figure(side + 1.0, side)
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)  # shade by row, or the largest class hides the others
    figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.04, label="share of the true class")
    if few:
        for (i, j), share in np.ndenumerate(shares):
            text = f"{share:.2f}" if normalize else f"{counts[i, j]:g}"
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if share > 0.5 else "black")
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if longest > 3 else {}
    axes.set_xticks(range(len(names)), names, parse_math=False, **slanted)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set(title=textwrap.fill(title, int(9 * side)), xlabel="predicted", ylabel="true")
    figure.set_layout_engine("tight")
    return save(figure, path)


def _in_lines(name: str, width: int, lines: int) -> str:
    """A name in lines of at most ``width`` letters; what does not fit becomes an ellipsis."""
    return "\n".join(textwrap.wrap(name, width, max_lines=lines, placeholder=" …"))
