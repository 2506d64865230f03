"""``plot_model``: the graph, its description for Graphviz, its layout, and the picture."""

import itertools
import os
import re
import shutil
import stat

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv as tc
from tests.viz.models import INCEPTION_EDGES, Residual, inception, siamese
from tinyconv.viz.graph import graph_of
from tinyconv.viz.layout import layered

L = tc.layers

LENET = [  # networks.md 3.2: the nodes that the plot must show
    ("InputLayer", (None, 28, 28, 1), (None, 28, 28, 1)),
    ("Conv2D", (None, 28, 28, 1), (None, 28, 28, 20)),
    ("Activation", (None, 28, 28, 20), (None, 28, 28, 20)),
    ("MaxPooling2D", (None, 28, 28, 20), (None, 14, 14, 20)),
    ("Conv2D", (None, 14, 14, 20), (None, 14, 14, 50)),
    ("Activation", (None, 14, 14, 50), (None, 14, 14, 50)),
    ("MaxPooling2D", (None, 14, 14, 50), (None, 7, 7, 50)),
    ("Flatten", (None, 7, 7, 50), (None, 2450)),
    ("Dense", (None, 2450), (None, 500)),
    ("Activation", (None, 500), (None, 500)),
    ("Dense", (None, 500), (None, 10)),
    ("Activation", (None, 10), (None, 10)),
]


def lenet():
    return tc.applications.LeNet.build(28, 28, 1, 10)


def parse(dot):
    """Labels by node, edges between nodes: an independent reading of the text."""
    labels = dict(re.findall(r'^\s*(\w+) \[label="((?:[^"\\]|\\.)*)"', dot, re.M))
    return labels, re.findall(r"^\s*(\w+) -> (\w+)(?: \[l\w+=.*\])?;$", dot, re.M)


def name(label):
    return re.sub(r"\\(.)", r"\1", label.lstrip("{").split(":")[0])


def named_edges(dot):
    labels, edges = parse(dot)
    return {(name(labels[a]), name(labels[b])) for a, b in edges}


# --- graphs as text --------------------------------------------------------------------------------------------


def test_lenet_has_the_twelve_nodes_of_the_book():
    labels, edges = parse(tc.viz.to_dot(lenet(), show_shapes=True))
    assert edges == [(f"n{i}", f"n{i + 1}") for i in range(11)]
    rows = [f": {kind}|{{{{input:|output:}}|{{{before}|{after}}}}}}}" for kind, before, after in LENET]
    for label, row in zip(labels.values(), rows, strict=True):
        assert label.endswith(row), label


def test_edges_of_branches():
    assert named_edges(tc.viz.to_dot(inception())) == INCEPTION_EDGES


def test_nested_models_closed_and_expanded():
    model = siamese()
    rest = {("difference", "both"), ("left", "both"), ("both", "same"), ("both", "kind")}
    closed = named_edges(tc.viz.to_dot(model))
    assert closed == rest | {("left", "encoder"), ("right", "encoder"), ("encoder", "difference")}
    text = tc.viz.to_dot(model, expand_nested=True)
    inside = {("encoder_input", "hidden"), ("hidden", "code"), ("code", "difference")}
    assert named_edges(text) == rest | inside | {("left", "encoder_input"), ("right", "encoder_input")}
    assert text.count("subgraph cluster_") == 1
    assert text.count("{") == text.count("}")


def test_a_model_with_a_call_of_its_own_is_followed():
    model = Residual()
    assert [node.name for node in graph_of(model).nodes] == ["residual"], "nothing is known before the first call"
    model(np.zeros((1, 4, 4, 1)))
    assert named_edges(tc.viz.to_dot(model)) == {
        ("input", "first"), ("first", "drop"), ("drop", "second"), ("first", "pool"), ("second", "pool"),
        ("pool", "top"),
    }  # fmt: skip
    assert "call" not in vars(model.first), "nothing is left behind"


def test_layers_that_are_used_again_and_unbuilt_models():
    x, again = tc.Input((4,), name="x"), L.Dense(4, name="again")
    assert named_edges(tc.viz.to_dot(tc.Model(x, again(again(x))))) == {("x", "again"), ("again", "again")}
    late = tc.Sequential([L.Dense(3, name="one"), L.Dense(2, name="two")])
    assert named_edges(tc.viz.to_dot(late, show_shapes=True)) == {("one", "two")}
    assert "?" in tc.viz.to_dot(late, show_shapes=True)
    assert parse(tc.viz.to_dot(tc.Sequential())) == ({}, [])


def test_what_boxes_tell():
    model = siamese()
    model.get_layer("kind").trainable = False
    model.get_layer("encoder").layers[0].trainable = False
    text = tc.viz.to_dot(model, show_dtype=True, show_layer_activations=True, show_trainable=True)
    labels = {name(label): label for label in parse(text)[0].values()}
    assert labels["same"] == "{same: Dense|{{activation:|dtype:|trainable:}|{sigmoid|float32|yes}}}"
    assert labels["kind"].endswith("{linear|float32|no}}}")
    assert labels["encoder"].endswith("{float32|in part}}}")
    assert labels["left"].endswith("{{dtype:}|{float32}}}")
    assert "{Dense}" in tc.viz.to_dot(model, show_layer_names=False)


def test_text_is_deterministic_and_escaped():
    def model():
        return tc.Sequential([tc.Input((4,), name="x"), L.Dense(2, name='a|b{c}<d> "e" \\f')], name='say "hi"')

    text = tc.viz.to_dot(model())
    assert text == tc.viz.to_dot(model())
    assert 'digraph "say \\"hi\\"" {' in text
    assert 'label="{a\\|b\\{c\\}\\<d\\> \\"e\\" \\\\f: Dense}"' in text


# --- layout ----------------------------------------------------------------------------------------------------


def boxes_overlap(sizes, centers):
    return [
        (i, j)
        for (i, (a, (x, y))), (j, (b, (u, v))) in itertools.combinations(
            enumerate(zip(sizes, centers, strict=True)), 2
        )
        if abs(x - u) < (a[0] + b[0]) / 2 and abs(y - v) < (a[1] + b[1]) / 2
    ]


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 12))
    sizes = [(draw(st.integers(10, 90)), draw(st.integers(10, 40))) for _ in range(n)]
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    return sizes, draw(st.lists(st.sampled_from(pairs), unique=True, max_size=20) if pairs else st.just([]))


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_no_box_covers_another_or_an_arrow(graph):
    sizes, edges = graph
    layout = layered(sizes, edges)
    assert boxes_overlap(sizes, layout.centers) == []
    for (x, y), (w, h) in zip(layout.centers, sizes, strict=True):
        assert -1e-6 <= x - w / 2 <= x + w / 2 <= layout.size[0] + 1e-6
        assert -1e-6 <= y - h / 2 <= y + h / 2 <= layout.size[1] + 1e-6
    assert set(layout.routes) == set(edges)
    for (source, target), points in layout.routes.items():
        ys = [y for _, y in points]
        assert ys == sorted(ys), "downwards"
        assert ys[0] < ys[-1]
        assert ys[0] == pytest.approx(layout.centers[source][1] + sizes[source][1] / 2)
        assert ys[-1] == pytest.approx(layout.centers[target][1] - sizes[target][1] / 2)
        for (x, top), (_, bottom) in zip(points[1:-1:2], points[2:-1:2], strict=True):
            for (u, v), (w, _) in zip(layout.centers, sizes, strict=True):
                assert not (abs(x - u) < w / 2 and top <= v <= bottom), "an arrow passes beside boxes"
    assert layered(sizes, edges) == layout


def test_branches_do_not_cross():
    """Crossings counted segment by segment; the module was given with its branches in a bad order."""
    nodes = ["in", "a1", "b1", "c1", "d1", "c2", "b2", "d2", "out"]
    edges = [("in", "a1"), ("in", "b1"), ("in", "c1"), ("in", "d1"), ("c1", "c2"), ("b1", "b2"), ("d1", "d2"),
             ("a1", "out"), ("b2", "out"), ("c2", "out"), ("d2", "out")]  # fmt: skip
    pairs = [(nodes.index(a), nodes.index(b)) for a, b in edges]
    layout = layered([(40, 20)] * len(nodes), pairs)
    segments = [s for points in layout.routes.values() for s in itertools.pairwise(points)]

    def cross(p, q):
        def side(a, b, c):
            return np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

        return side(*p, q[0]) * side(*p, q[1]) < 0 and side(*q, p[0]) * side(*q, p[1]) < 0

    assert [pair for pair in itertools.combinations(segments, 2) if cross(*pair)] == []
    xs = [x for x, _ in layout.centers]
    assert (xs[2], xs[3], xs[4]) == pytest.approx((xs[6], xs[5], xs[7])), "chains are straight"
    row = sorted(xs[1:5])
    assert xs[0] == pytest.approx((row[1] + row[2]) / 2), "the root is in the middle"


def test_an_input_stands_just_above_where_it_is_needed():
    layout = layered([(10, 10)] * 5, [(0, 1), (1, 2), (2, 4), (3, 4)])
    assert layout.centers[3][1] == layout.centers[2][1]


# --- pictures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lenet, inception, siamese])
@pytest.mark.parametrize("rankdir", ["TB", "LR"])
def test_pictures_by_matplotlib(tmp_path, make, rankdir):
    path = tmp_path / "model.png"
    options = {"show_shapes": True, "rankdir": rankdir, "expand_nested": True}
    model = make()
    assert tc.viz.plot_model(model, path, dpi=50, engine="matplotlib", **options) == path
    figure = tc.viz.plot_model(model, None, **options)
    picture = cv2.imread(str(path))
    assert picture.shape[:2] == tuple(int(side * 50) for side in figure.get_size_inches())[::-1]
    assert picture.std() > 10
    assert (picture[[0, -1]] == 255).all(), "a margin"
    texts = [text.get_text() for text in figure.axes[0].texts]
    graph = graph_of(model, expand_nested=True)
    every = [*graph.nodes, *(node for outer in graph.nodes if outer.inner for node in outer.inner.nodes)]
    assert sum(":" in text and not text.endswith(":") for text in texts) == len(every)
    arrows = [p for p in figure.axes[0].patches if type(p).__name__ == "FancyArrowPatch"]
    assert len(arrows) == len(graph.edges) + sum(len(node.inner.edges) for node in graph.nodes if node.inner)


def test_text_lies_within_its_box():
    """Measured by matplotlib's renderer."""
    figure = tc.viz.plot_model(inception(), None, show_shapes=True, show_layer_activations=True)
    figure.canvas.draw()
    axes = figure.axes[0]
    boxes = [p.get_window_extent() for p in axes.patches if type(p).__name__ == "FancyBboxPatch"]
    for text in axes.texts:
        inside = text.get_window_extent()
        assert any(
            box.x0 <= inside.x0 and inside.x1 <= box.x1 and box.y0 <= inside.y0 and inside.y1 <= box.y1 for box in boxes
        ), text.get_text()


@pytest.mark.parametrize(("ending", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_other_formats(tmp_path, ending, start):
    path = tc.viz.plot_model(lenet(), str(tmp_path / f"model.{ending}"), dpi=40, engine="matplotlib")
    assert path.read_bytes().startswith(start)


def test_loops_and_single_boxes_can_be_drawn(tmp_path):
    x, again = tc.Input((4,)), L.Dense(4)
    for model in (tc.Model(x, again(again(x))), tc.Sequential(), Residual(), tc.Sequential([L.Dense(2)])):
        assert tc.viz.plot_model(model, tmp_path / "m.png", engine="matplotlib").stat().st_size > 100


def test_a_very_deep_model_stays_within_what_viewers_take(tmp_path, monkeypatch):
    monkeypatch.setattr("tinyconv.viz.figures.LARGEST", 1000)
    x = y = tc.Input((2,))
    for _ in range(40):
        y = L.Activation("relu")(y)
    picture = cv2.imread(str(tc.viz.plot_model(tc.Model(x, y), tmp_path / "deep.png", engine="matplotlib")))
    assert 700 < max(picture.shape) <= 1000


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs the program dot of Graphviz")
@pytest.mark.parametrize("make", [lenet, inception, siamese])
def test_pictures_by_graphviz(tmp_path, make):
    path = tc.viz.plot_model(make(), tmp_path / "model.png", show_shapes=True, expand_nested=True, dpi=50)
    assert cv2.imread(str(path)).std() > 10
    svg = tc.viz.plot_model(make(), tmp_path / "model.svg").read_text()
    assert svg.count('class="edge"') == len(graph_of(make()).edges)


def fake_dot(folder, script, monkeypatch):
    """A program ``dot`` that does what ``script`` says: the real one may be missing here."""
    program = folder / "dot"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_graphviz_gets_the_text_and_the_options(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    fake_dot(folder, 'echo "$*"; cat', monkeypatch)
    model = inception()
    path = tc.viz.plot_model(model, tmp_path / "model.png", dpi=70, show_shapes=True)
    options, _, text = path.read_text().partition("\n")
    assert options == "-Tpng -Gdpi=70"
    assert text == tc.viz.to_dot(model, show_shapes=True)
    assert tc.viz.plot_model(model, tmp_path / "own.svg", engine="matplotlib").read_text().startswith("<?xml")


BROKEN = {  # what a broken ``dot`` does -> what is said about it
    "echo 'out of memory' >&2; exit 1": "Graphviz could not draw a model: out of memory",
    "cat > /dev/null": "Graphviz could not draw a model: it gave no picture",
    "exec sleep 1000": "Graphviz could not draw a model: it did not end within 0.2 s",
    "exit 1": "Graphviz could not draw a model: it ended with code 1",  # before it has read the text
}


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
@pytest.mark.parametrize(("script", "reason"), BROKEN.items())
def test_graphviz_that_does_not_work_is_replaced_with_a_warning(tmp_path, monkeypatch, script, reason):
    folder, out = tmp_path / "bin", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    fake_dot(folder, script, monkeypatch)
    monkeypatch.setattr("tinyconv.viz.graphviz.PATIENCE", 0.2)
    with pytest.raises(RuntimeError, match=f"^{re.escape(reason)}; engine='matplotlib' draws without it$"):
        tc.viz.plot_model(lenet(), out / "model.png", engine="graphviz")
    assert list(out.iterdir()) == []
    with pytest.warns(UserWarning, match=f"^{re.escape(reason)}; matplotlib draws it instead$") as caught:
        path = tc.viz.plot_model(lenet(), out / "model.png", dpi=40)
    assert caught[0].filename == __file__
    assert cv2.imread(str(path)).std() > 10


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_graphviz_that_cannot_be_started_is_replaced_with_a_warning(tmp_path, monkeypatch):
    fake_dot(tmp_path, "", monkeypatch)
    (tmp_path / "dot").write_bytes(b"\x7fELF of another processor")
    with pytest.warns(UserWarning, match="could not draw a model: .*Exec format error.*; matplotlib draws it"):
        assert cv2.imread(str(tc.viz.plot_model(lenet(), tmp_path / "model.png", dpi=40))).std() > 10


def test_bad_arguments(tmp_path, monkeypatch):
    for options, message in (
        ({"rankdir": "XY"}, "rankdir must be one of 'TB', 'LR'. Received: 'XY'"),
        ({"engine": "gif"}, "engine must be one of"),
        ({"to_file": tmp_path / "a.gif"}, "must end in .png, .svg, .pdf"),
        ({"dpi": 0}, "dpi must be > 0. Received: 0"),
    ):
        with pytest.raises(ValueError, match=message):
            tc.viz.plot_model(lenet(), **options)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="install the package 'graphviz'"):
        tc.viz.plot_model(lenet(), tmp_path / "a.png", engine="graphviz")
    assert list(tmp_path.iterdir()) == []
