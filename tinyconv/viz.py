"""Pictures of training. Every function returns a figure, and saves it where a path is given; no display is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        What ``fit`` returned, or its ``history``; curves that it lacks are left out.
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
    curves = {label: values[key] for key, label in _CURVES.items() if key in values}
    if not curves:
        raise ValueError(f"history must have some of {list(_CURVES)}. Received: {list(values)}")
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context("ggplot"):
        figure = Figure(figsize=(8, 6))
        axes = figure.add_subplot()
        for label, curve in curves.items():
            axes.plot(range(len(curve)), curve, label=label, marker="o" if len(curve) == 1 else None)
        axes.set(title=title, xlabel="Epoch #", ylabel="Loss/Accuracy")
        axes.legend()
        if path is not None:
            figure.savefig(path)
    return figure


def show(figure: Figure) -> None:
    """Open a window with ``figure`` and wait until it is closed; raises ``RuntimeError`` where there is no display."""
    import matplotlib
    from matplotlib import pyplot

    manager = pyplot.figure().canvas.manager
    if manager is None or matplotlib.get_backend().lower() in ("agg", "svg", "pdf", "ps", "cairo", "template"):
        pyplot.close("all")
        raise RuntimeError("Showing a figure needs a display; give a path to save it to a file instead")
    manager.canvas.figure = figure
    figure.set_canvas(manager.canvas)
    pyplot.show()
