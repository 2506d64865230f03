"""Pictures of a model's architecture: ``plot_model`` and its description for Graphviz."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tinyconv.layers.base import Layer
from tinyconv.viz.figures import check_ending, matplotlib, new_figure, replacing, save
from tinyconv.viz.graph import Graph, Node, graph_of
from tinyconv.viz.layout import Layout, Point, layered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONT = 8.0  # points
LINE = 13.0  # height of a line of text
PAD = 6.0  # between text and border
MARGIN = 10.0  # around the drawing
LARGEST = 30_000  # pixels of one side: what image viewers and matplotlib still take

# Fill colours by kind of layer, light enough for black print.
COLOURS = {
    r"Input": "#e8e8e8",
    r"Conv|LocallyConnected": "#cfe2f3",
    r"Pool": "#d9ead3",
    r"Normalization": "#fff2cc",
    r"Dropout|Noise": "#f4e1d2",
    r"^Dense|Embedding": "#d9d2e9",
    r"Activation|LU$|^Softmax|Sigmoid": "#fbe3e3",
    r"^(Add|Subtract|Multiply|Average|Maximum|Minimum|Concatenate|Dot)$": "#d0ebeb",
}


class Show(NamedTuple):
    """What boxes tell besides the class of the layer."""

    shapes: bool = False
    dtype: bool = False
    names: bool = True
    activations: bool = False
    trainable: bool = False


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
        What draws a file: the program ``dot`` of Graphviz where it is installed, or matplotlib.

    Returns
    -------
    Path of the file, or matplotlib.figure.Figure for ``to_file=None``

    Raises
    ------
    ValueError
        For another ending or ``rankdir``.
    FileNotFoundError
        When the folder of ``to_file`` does not exist, or for ``engine="graphviz"`` without the program.

    Examples
    --------
    >>> import tinyconv as tc
    >>> figure = plot_model(tc.applications.LeNet.build(28, 28, 1, 10), to_file=None, show_shapes=True)
    >>> len(figure.axes[0].texts) > 12
    True
    """
    show = Show(show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable)
    _check_choice("rankdir", rankdir, ("TB", "LR"))
    _check_choice("engine", engine, ("auto", "graphviz", "matplotlib"))
    if not dpi > 0:
        raise ValueError(f"dpi must be > 0. Received: {dpi}")
    program = None if engine == "matplotlib" else shutil.which("dot")
    if engine == "graphviz" and program is None:
        raise FileNotFoundError("Graphviz's program 'dot' is not on the PATH: install the package 'graphviz'")
    if to_file is not None:
        ending = check_ending(to_file)
        if program is not None:
            with replacing(to_file) as temporary:
                _run_dot(program, _dot(graph_of(model, expand_nested), show, rankdir), ending, dpi, temporary)
            return Path(to_file)
    figure = _draw(graph_of(model, expand_nested), show, rankdir == "LR")
    if to_file is None:
        return figure
    save(figure, to_file, min(dpi, int(LARGEST / max(figure.get_size_inches()))))
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
    >>> model = tc.Sequential([tc.Input((4,)), tc.layers.Dense(2, name="top")], name="small")
    >>> print(to_dot(model))  # doctest: +ELLIPSIS
    digraph "small" {
      ...
      n0 [label="{small_input: InputLayer}", fillcolor="#e8e8e8"];
      n1 [label="{top: Dense}", fillcolor="#d9d2e9"];
      n0 -> n1;
    }
    """
    _check_choice("rankdir", rankdir, ("TB", "LR"))
    show = Show(show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable)
    return _dot(graph_of(model, expand_nested), show, rankdir)


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}. Received: {value!r}")


# --- what a box says ---------------------------------------------------------------------------------------------


def _title(node: Node, show: Show) -> str:
    return " ".join((f"{node.name}: {node.kind}" if show.names else node.kind).split())


def _rows(node: Node, show: Show) -> list[tuple[str, str]]:
    """Further lines of a box: what, and its value."""
    rows = []
    activation = getattr(node.layer, "activation", None)
    if show.activations and activation is not None:
        rows.append(("activation:", str(getattr(activation, "__name__", None) or type(activation).__name__)))
    if show.dtype:
        rows.append(("dtype:", node.dtype))
    if show.trainable and node.layer is not None and node.layer.weights:
        rows.append(("trainable:", _trainable(node.layer)))
    if show.shapes:
        rows += [("input:", _shape_text(node.inputs)), ("output:", _shape_text(node.outputs))]
    return rows


def _trainable(layer: Layer) -> str:
    """Whether weights of the layer are trained: some, where models inside the model are frozen in parts."""
    trained = sum(p.requires_grad for p in layer.weights)
    could = sum(p.trainable for p in layer.weights)
    return "yes" if trained and trained == could else "in part" if trained else "no"


def _shape_text(shapes: list[Any]) -> str:
    return ", ".join(str(tuple(shape)) for shape in shapes) or "?"


def _colour(node: Node) -> str:
    return next((colour for pattern, colour in COLOURS.items() if re.search(pattern, node.kind)), "#ffffff")


# --- Graphviz ----------------------------------------------------------------------------------------------------


def _dot(graph: Graph, show: Show, rankdir: str) -> str:
    lines = [
        f"digraph {_quoted(graph.name)} {{",
        f'  graph [rankdir={rankdir}, ranksep=0.35, nodesep=0.2, fontname="Helvetica", fontsize=10];',
        '  node [shape=record, style=filled, color="#444444", fontname="Helvetica", fontsize=10, height=0.3];',
        '  edge [color="#444444", arrowsize=0.7];',
        *_dot_lines(graph, show, rankdir, "n", "  "),
        "}",
    ]
    return "\n".join(lines)


def _dot_lines(graph: Graph, show: Show, rankdir: str, prefix: str, indent: str) -> list[str]:
    lines = []
    for i, node in enumerate(graph.nodes):
        if node.inner is None:
            label = _record(node, show, rankdir)
            lines.append(f'{indent}{prefix}{i} [label="{label}", fillcolor="{_colour(node)}"];')
        else:
            lines.append(f"{indent}subgraph cluster_{prefix}{i} {{")
            lines.append(f'{indent}  label={_quoted(_title(node, show))}; color="#888888"; style=rounded;')
            lines += [*_dot_lines(node.inner, show, rankdir, f"{prefix}{i}_", indent + "  "), indent + "}"]
    for source, target in graph.edges:
        ends = _gates(graph, source, prefix, False), _gates(graph, target, prefix, True)
        lines += [f"{indent}{a} -> {b};" for a, b in _pairs(*ends)]
    return lines


def _pairs(sources: list[str], targets: list[str]) -> list[tuple[str, str]]:
    """Every source with every target, but several outputs with equally many inputs one by one."""
    if len(sources) == len(targets):
        return list(zip(sources, targets, strict=True))
    return [(a, b) for a in sources for b in targets]


def _gates(graph: Graph, index: int, prefix: str, entering: bool) -> list[str]:
    """Boxes at which arrows to (or from) a node end: of an expanded model, its inputs (or outputs)."""
    inner = graph.nodes[index].inner
    if inner is None:
        return [f"{prefix}{index}"]
    gates = inner.inputs if entering else inner.outputs
    return [name for gate in gates for name in _gates(inner, gate, f"{prefix}{index}_", entering)]


def _record(node: Node, show: Show, rankdir: str) -> str:
    """Label of a record: the title above a column of names and a column of values."""
    rows = _rows(node, show)
    label = _escaped(_title(node, show))
    if rows:
        names, values = ("|".join(map(_escaped, column)) for column in zip(*rows, strict=True))
        label += f"|{{{{{names}}}|{{{values}}}}}"
    return f"{{{label}}}" if rankdir == "TB" else label


def _escaped(text: str) -> str:
    return re.sub(r'([\\{}|<>"])', r"\\\1", text)


def _quoted(text: str) -> str:
    return '"' + " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _run_dot(program: str, text: str, ending: str, dpi: int, path: Path) -> None:
    resolution = [f"-Gdpi={dpi}"] if ending == "png" else []
    run = subprocess.run(
        [program, f"-T{ending}", *resolution, "-o", str(path)], input=text.encode(), capture_output=True, timeout=600
    )
    if run.returncode != 0 or not path.exists():
        reason = run.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"Graphviz could not draw the model: {reason}; engine='matplotlib' draws without it")


# --- matplotlib --------------------------------------------------------------------------------------------------


class Box(NamedTuple):
    """A node with what is written in it, its size in points, and the drawing inside an expanded model."""

    node: Node
    title: str
    rows: list[tuple[str, str]]
    size: tuple[float, float]
    inner: Drawing | None = None


class Drawing(NamedTuple):
    """A graph, ready to be drawn. From left to right, the layout is that of the transposed sizes."""

    boxes: list[Box]
    edges: list[tuple[int, int]]
    layout: Layout


def _plan(graph: Graph, show: Show, sideways: bool) -> Drawing:
    boxes = [_box(node, show, sideways) for node in graph.nodes]
    sizes = [box.size[::-1] if sideways else box.size for box in boxes]
    return Drawing(boxes, graph.edges, layered(sizes, graph.edges))


def _box(node: Node, show: Show, sideways: bool) -> Box:
    title = _title(node, show)
    if node.inner is not None:
        inner = _plan(node.inner, show, sideways)
        w, h = inner.layout.size[::-1] if sideways else inner.layout.size
        return Box(node, title, [], (max(w, _width(title)) + 2 * PAD, h + LINE + 2 * PAD), inner)
    rows = _rows(node, show)
    width = max(_width(title), _columns(rows)[0] if rows else 0.0)
    return Box(node, title, rows, (width + 2 * PAD, LINE * (1 + len(rows)) + PAD))


def _columns(rows: list[tuple[str, str]]) -> list[float]:
    """Width of all rows, and of the names in them."""
    names, values = (max((_width(row[i]) for row in rows), default=0.0) for i in (0, 1))
    return [names + values + 2 * PAD, names]


@lru_cache(maxsize=4096)
def _width(text: str) -> float:
    """Width of a line of text in points."""
    font = matplotlib("font_manager").FontProperties(size=FONT)
    measure = matplotlib("textpath").text_to_path.get_text_width_height_descent
    return float(measure(text, font, False)[0]) + 2


def _draw(graph: Graph, show: Show, sideways: bool) -> Figure:
    drawing = _plan(graph, show, sideways)
    w, h = drawing.layout.size[::-1] if sideways else drawing.layout.size
    w, h = max(w, 1.0) + 2 * MARGIN, max(h, 1.0) + 2 * MARGIN
    figure = new_figure(w / 72, h / 72)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, w), ylim=(h, 0))
    axes.set_axis_off()
    _draw_into(axes, drawing, (MARGIN, MARGIN), sideways)
    return figure


def _draw_into(axes: Axes, drawing: Drawing, corner: Point, sideways: bool) -> None:
    """Draw boxes and arrows, the upper left corner of the layout at ``corner``."""

    def place(point: Point) -> Point:
        x, y = point[::-1] if sideways else point
        return x + corner[0], y + corner[1]

    for box, center in zip(drawing.boxes, map(place, drawing.layout.centers), strict=True):
        _draw_box(axes, box, center, sideways)
    for source, target in drawing.edges:
        if source == target:
            _draw_loop(axes, place(drawing.layout.centers[source]), drawing.boxes[source].size)
        else:
            _draw_arrow(axes, [place(point) for point in drawing.layout.routes[source, target]], sideways)


def _draw_box(axes: Axes, box: Box, center: Point, sideways: bool) -> None:
    (w, h), patches = box.size, matplotlib("patches")
    left, top = center[0] - w / 2, center[1] - h / 2
    style = "round,pad=0,rounding_size=3"
    fill = "#fafafa" if box.inner else _colour(box.node)
    axes.add_patch(patches.FancyBboxPatch((left, top), w, h, boxstyle=style, fc=fill, ec="#444444", lw=0.8, zorder=1))
    text: dict[str, Any] = {"fontsize": FONT, "va": "center", "parse_math": False, "zorder": 3}
    if box.inner is not None:
        axes.text(left + PAD, top + PAD / 2 + LINE / 2, box.title, style="italic", color="#444444", **text)
        inner = box.inner.layout.size[::-1] if sideways else box.inner.layout.size
        _draw_into(axes, box.inner, (center[0] - inner[0] / 2, top + PAD + LINE), sideways)
        return
    axes.text(center[0], top + PAD / 2 + LINE / 2, box.title, ha="center", **text)
    if box.rows:
        rule = top + PAD / 2 + LINE
        axes.plot([left, left + w], [rule, rule], color="#444444", lw=0.5, zorder=2)
        names = _columns(box.rows)[1]
        for i, (name, value) in enumerate(box.rows):
            y = rule + LINE * (i + 0.5) + PAD / 4
            axes.text(left + PAD, y, name, color="#555555", **text)
            axes.text((left + PAD + names + PAD + left + w) / 2, y, value, ha="center", **text)


def _draw_arrow(axes: Axes, points: list[Point], sideways: bool) -> None:
    """A smooth line through ``points`` with a head at its end; straight where it passes a rank."""
    path = matplotlib("path").Path
    vertices, codes = [points[0]], [path.MOVETO]
    for number, (start, end) in enumerate(pairwise(points)):
        if number % 2:  # past a rank
            vertices.append(end)
            codes.append(path.LINETO)
            continue
        if sideways:
            middle = (start[0] + end[0]) / 2
            controls = [(middle, start[1]), (middle, end[1])]
        else:
            middle = (start[1] + end[1]) / 2
            controls = [(start[0], middle), (end[0], middle)]
        vertices += [*controls, end]
        codes += [path.CURVE4] * 3
    _draw_head(axes, path(vertices, codes))


def _draw_loop(axes: Axes, center: Point, size: tuple[float, float]) -> None:
    """An arrow from a box to itself, at its right side."""
    path = matplotlib("path").Path
    x, y = center[0] + size[0] / 2, center[1]
    codes = [path.MOVETO, path.CURVE4, path.CURVE4, path.CURVE4]
    _draw_head(axes, path([(x, y - 4), (x + 14, y - 12), (x + 14, y + 12), (x, y + 4)], codes))


def _draw_head(axes: Axes, path: Any) -> None:
    arrow = matplotlib("patches").FancyArrowPatch(
        path=path, arrowstyle="-|>,head_length=3.5,head_width=1.8", shrinkA=0, shrinkB=0, lw=0.8, color="#444444",
        mutation_scale=1.2, zorder=2, capstyle="butt", joinstyle="miter",
    )  # fmt: skip
    axes.add_patch(arrow)
