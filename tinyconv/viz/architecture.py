"""Pictures of a model's architecture: ``plot_model`` and its description for Graphviz, ``to_dot``."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from tinyconv.checks import one_of, positive
from tinyconv.files import replacing
from tinyconv.layers.base import Layer
from tinyconv.viz.boxes import Show
from tinyconv.viz.drawing import draw
from tinyconv.viz.figures import check_ending, save
from tinyconv.viz.graph import graph_of
from tinyconv.viz.graphviz import dot_text, run_dot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_model(
    model: Layer,
    to_file: str | Path | None = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    engine: str = "auto",
) -> Figure | Path:
    """Draw a model: a box per layer, from the inputs at the top to the outputs at the bottom.

    Parameters
    ----------
    model : Model
        A ``Sequential`` or functional model; a model with a ``call`` of its own once it has been called on data.
    to_file : str, Path or None
        Where to save the picture: PNG, SVG or PDF, by its ending. With ``None`` nothing is written.
    show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable : bool
        What a box tells besides the class of the layer. The batch axis of shapes is ``None``.
    rankdir : {"TB", "LR"}
        From top to bottom or from left to right.
    expand_nested : bool
        Draw the layers of models inside the model, in a frame.
    dpi : int
        Pixels per inch of a PNG (fewer if it would become larger than 30,000 pixels).
    engine : {"auto", "graphviz", "matplotlib"}
        What draws a file: the program ``dot`` of Graphviz, or matplotlib. ``"auto"`` takes Graphviz where it is
        installed, and matplotlib, with a warning, where it does not work.

    Returns
    -------
    Path of the file, or matplotlib.figure.Figure for ``to_file=None``

    Raises
    ------
    ValueError
        For another ending or ``rankdir``.
    FileNotFoundError
        When the folder of ``to_file`` does not exist, or for ``engine="graphviz"`` without the program.
    RuntimeError
        For ``engine="graphviz"`` when the program fails, or does not end within a minute.

    Examples
    --------
    >>> import tinyconv as tc
    >>> figure = plot_model(tc.applications.LeNet.build(28, 28, 1, 10), to_file=None, show_shapes=True)
    >>> len(figure.axes[0].texts) > 12
    True
    """
    show = Show(show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable)
    one_of("rankdir", rankdir, ("TB", "LR"))
    one_of("engine", engine, ("auto", "graphviz", "matplotlib"))
    positive("dpi", dpi)
    program = None if engine == "matplotlib" else shutil.which("dot")
    if engine == "graphviz" and program is None:
        raise FileNotFoundError("Graphviz's program 'dot' is not on the PATH: install the package 'graphviz'")
    if to_file is not None:
        ending = check_ending(to_file)
        if program is not None:
            text = dot_text(graph_of(model, expand_nested), show, rankdir)
            try:
                picture = run_dot(program, text, ending, dpi)
            except RuntimeError as error:
                if engine == "graphviz":
                    raise RuntimeError(f"{error}; engine='matplotlib' draws without it") from error
                warnings.warn(f"{error}; matplotlib draws it instead", stacklevel=2)
            else:
                with replacing(to_file) as part:
                    part.write_bytes(picture)
                return Path(to_file)
    figure = draw(graph_of(model, expand_nested), show, rankdir == "LR")
    if to_file is None:
        return figure
    save(figure, to_file, dpi)
    return Path(to_file)


def to_dot(
    model: Layer,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> str:
    """The graph of a model in Graphviz's language; equal models give equal text.

    Parameters
    ----------
    model, show_shapes, show_dtype, show_layer_names, rankdir, expand_nested, show_layer_activations, show_trainable
        As for :func:`plot_model`.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.Sequential([tc.Input((4,), name="x"), tc.layers.Dense(2, name="top")], name="small")
    >>> print(to_dot(model))  # doctest: +ELLIPSIS
    digraph "small" {
      ...
      n0 [label="{x: InputLayer}", fillcolor="#e8e8e8"];
      n1 [label="{top: Dense}", fillcolor="#d9d2e9"];
      n0 -> n1;
    }
    """
    one_of("rankdir", rankdir, ("TB", "LR"))
    show = Show(show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable)
    return dot_text(graph_of(model, expand_nested), show, rankdir)
