"""A model in Graphviz's language, and the program ``dot`` that draws it."""

from __future__ import annotations

import re
import subprocess

from tinyconv.viz.boxes import Show, colour_of, rows_of, title_of
from tinyconv.viz.graph import Graph, Node

PATIENCE = 60.0  # seconds; hundreds of layers take one or two


def dot_text(graph: Graph, show: Show, rankdir: str) -> str:
    lines = [
        f"digraph {_quoted(graph.name)} {{",
        f'  graph [rankdir={rankdir}, compound=true, ranksep=0.35, nodesep=0.2, fontname="Helvetica", fontsize=10];',
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
            lines.append(f'{indent}{prefix}{i} [label="{label}", fillcolor="{colour_of(node)}"];')
        else:
            lines.append(f"{indent}subgraph cluster_{prefix}{i} {{")
            lines.append(f'{indent}  label={_quoted(title_of(node, show))}; color="#888888"; style=rounded;')
            lines += [*_dot_lines(node.inner, show, rankdir, f"{prefix}{i}_", indent + "  "), indent + "}"]
    for source, target in graph.edges:
        ends = _gates(graph, source, prefix, False), _gates(graph, target, prefix, True)
        clipped = _clipping(graph, source, target, prefix)
        lines += [f"{indent}{a} -> {b}{clipped};" for a, b in _pairs(*ends)]
    return lines


def _clipping(graph: Graph, source: int, target: int, prefix: str) -> str:
    """Let arrows end at the frame of an expanded model, not cross the name in it."""
    ends = {"ltail": source, "lhead": target} if source != target else {}
    frames = [f"{end}=cluster_{prefix}{index}" for end, index in ends.items() if graph.nodes[index].inner is not None]
    return f" [{', '.join(frames)}]" if frames else ""


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
    rows = rows_of(node, show)
    label = _escaped(title_of(node, show))
    if rows:
        names, values = ("|".join(map(_escaped, column)) for column in zip(*rows, strict=True))
        label += f"|{{{{{names}}}|{{{values}}}}}"
    return f"{{{label}}}" if rankdir == "TB" else label


def _escaped(text: str) -> str:
    return re.sub(r'([\\{}|<>"])', r"\\\1", text)


def _quoted(text: str) -> str:
    return '"' + " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"') + '"'


def run_dot(program: str, text: str, ending: str, dpi: int) -> bytes:
    """The picture that ``dot`` draws; ``RuntimeError``, with the reason, where it draws none."""
    options = [f"-T{ending}", *([f"-Gdpi={dpi}"] if ending == "png" else [])]
    try:
        run = subprocess.run([program, *options], input=text.encode(), capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        reason = f"it did not end within {PATIENCE:g} s"
    except OSError as error:  # a program for another system, for one
        reason = str(error)
    else:
        if run.returncode == 0 and run.stdout:
            return run.stdout
        said = " ".join(run.stderr.decode(errors="replace").split())
        reason = said or (f"it ended with code {run.returncode}" if run.returncode else "it gave no picture")
    raise RuntimeError(f"Graphviz could not draw a model: {reason}")
