"""A model drawn by matplotlib: boxes where the layout puts them, and arrows between them."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from tinyconv.viz.boxes import Show, colour_of, rows_of, title_of
from tinyconv.viz.figures import matplotlib, new_figure
from tinyconv.viz.graph import Graph, Node
from tinyconv.viz.layout import Layout, Point, layered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONT = 8.0  # points
LINE = 13.0  # height of a line of text
PAD = 6.0  # between text and border
MARGIN = 10.0  # around the drawing


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
    title = title_of(node, show)
    if node.inner is not None:
        inner = _plan(node.inner, show, sideways)
        w, h = inner.layout.size[::-1] if sideways else inner.layout.size
        return Box(node, title, [], (max(w, _width(title)) + 2 * PAD, h + LINE + 2 * PAD), inner)
    rows = rows_of(node, show)
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


def draw(graph: Graph, show: Show, sideways: bool) -> Figure:
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
    fill = "#fafafa" if box.inner else colour_of(box.node)
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
