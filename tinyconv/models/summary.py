"""The table that ``model.summary()`` prints, laid out as in Keras 3."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tinyconv.layers.base import Layer
from tinyconv.layers.graph import flatten_shapes, flatten_structure
from tinyconv.layers.module import Parameter

_LINES = ("┏━┳┓", "┃ ┃┃", "┡━╇┩", "│ ││", "├─┼┤", "└─┴┘")  # each: left end, filling, between columns, right end
_PLAIN = ("+-++", "| ||", "+=++", "| ||", "+-++", "+-++")


def summary(
    model: Any,
    line_length: int | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> list[str]:
    """Lines of a table: layer and type, output shape, parameters; then totals with their memory.

    Parameters
    ----------
    model : Model
    line_length : int, optional
        Width of the table; what the contents need by default, but not less than 76.
    expand_nested : bool
        Whether the layers of inner models have rows of their own.
    show_trainable : bool
        Whether a column says which layers are trained: Y, N, or - for layers without weights.
    layer_range : (str, str), optional
        Names, or regular expressions for their beginning, of the first and of the last layer to list.
    """
    connections = _connections(model)
    header = ["Layer (type)", "Output Shape", "Param #"]
    header += ["Connected to"] if connections is not None else []
    header += ["Trainable"] if show_trainable else []
    rows = []
    for layer, depth in _walk(_between(_listed(model), layer_range), expand_nested):
        row = [_title(layer, depth), _shape(layer), f"{_size(layer.weights):,}" if layer.built else "0 (unbuilt)"]
        row += [connections.get(id(layer), "-") if depth == 0 else "-"] if connections is not None else []
        row += [("Y" if layer.trainable else "N") if layer.weights else "-"] if show_trainable else []
        rows.append(row)
    return [f'Model: "{model.name}"', *_table(header, rows, line_length), *_totals(model)]


def _listed(model: Any) -> list[Layer]:
    """The layers of a model, and operations between them."""
    return getattr(model, "_rows", model.layers)


def _between(layers: list[Layer], names: Sequence[str] | None) -> list[Layer]:
    """The layers from the first one whose name begins as ``names[0]`` says to the last one for ``names[1]``."""
    if names is None:
        return layers
    found = [[i for i, layer in enumerate(layers) if re.match(name, layer.name)] for name in names]
    if len(found) != 2 or not all(found):
        known = [layer.name for layer in layers]
        raise ValueError(f"layer_range expected two names of layers out of {known}. Received: {names!r}")
    return layers[found[0][0] : found[1][-1] + 1]


def _walk(layers: Iterable[Layer], expand_nested: bool, depth: int = 0) -> Iterator[tuple[Layer, int]]:
    for layer in layers:
        yield layer, depth
        if expand_nested and hasattr(layer, "layers"):
            yield from _walk(_listed(layer), True, depth + 1)


def _title(layer: Layer, depth: int) -> str:
    return f"{'   ' * depth}{'└ ' if depth else ''}{layer.name} ({type(layer).__name__})"


def _shape(layer: Layer) -> str:
    if layer._shapes is None:
        return "?"
    shapes = flatten_shapes(layer._shapes[1])
    return str(shapes[0]) if len(shapes) == 1 else str(layer._shapes[1]).replace("'", "")


def _connections(model: Any) -> dict[int, str] | None:
    """Where each layer's inputs come from, by the layer's identity; None for a plain stack of layers.

    ``name[i][j]`` is output j of the layer's use number i.
    """
    calls = getattr(model, "_calls", None)
    if calls is None:
        return None
    found: dict[int, list[str]] = {}
    uses: Counter[int] = Counter()  # of layers
    places: dict[int, str] = {}
    for call in calls:
        for tensor in flatten_structure(call.inputs):
            place = places.get(id(tensor.call)) or (f"{tensor.source.name}[0]" if tensor.source else None)
            found.setdefault(id(call.layer), []).append(f"{place}[{tensor.index}]" if place else "-")
        places[id(call)] = f"{call.layer.name}[{uses[id(call.layer)]}]"
        uses[id(call.layer)] += 1
    used = [source for sources in found.values() for source in sources]
    stack = len(model.inputs) == len(model.outputs) == 1 and len(set(used)) == len(used) == len(found)
    return None if stack else {key: ", ".join(sources) for key, sources in found.items()}


def _table(header: list[str], rows: list[list[str]], line_length: int | None) -> list[str]:
    """The lines of a table with ``header``; numbers of parameters stand to the right."""
    borders = 3 * len(header) + 1
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    widths[0] += max((line_length or 76) - sum(widths) - borders, 0)
    if line_length is not None:  # columns that are too wide continue in the next line
        while sum(widths) + borders > line_length and max(widths) > 8:
            widths[widths.index(max(widths))] -= 1
    top, head, below, body, rule, bottom = _LINES if _can_print("".join(_LINES)) else _PLAIN

    def line(kind: str, cells: Iterable[str]) -> str:
        left, filling, between, right = tuple(kind)
        return left + between.join(filling + cell + filling for cell in cells) + right

    def full(kind: str) -> str:
        return line(kind, (kind[1] * width for width in widths))

    def content(kind: str, row: list[str]) -> list[str]:
        parts = [[cell[i : i + width] for i in range(0, max(len(cell), 1), width)] for cell, width in zip(row, widths)]
        height = max(map(len, parts))
        lines = [[part[i] if i < len(part) else "" for part in parts] for i in range(height)]
        return [
            line(kind, (c.rjust(w) if i == 2 else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths))))
            for cells in lines
        ]

    lines = [full(top), *content(head, header), full(below)]
    for number, row in enumerate(rows):
        lines += [full(rule)] * (number > 0) + content(body, row)
    return [*lines, full(bottom)]


def _can_print(text: str) -> bool:
    """Whether standard output has the characters of ``text``."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _totals(model: Any) -> list[str]:
    weights, trainable = model.weights, model.trainable_weights
    trained = {id(weight) for weight in trainable}
    frozen = [weight for weight in weights if id(weight) not in trained]
    counts = [("Total", weights), ("Trainable", trainable), ("Non-trainable", frozen)]
    if model.optimizer is not None and model.optimizer.variables:
        counts.append(("Optimizer", model.optimizer.variables))
    return [f" {what} params: {_size(tensors):,} ({_memory(tensors)})" for what, tensors in counts]


def _size(weights: Iterable[Any]) -> int:
    return sum(weight.size for weight in weights)


def _memory(weights: Iterable[Parameter]) -> str:
    """Bytes of all weights, as in ``1.66 MB`` (powers of 1024, as Keras counts)."""
    size = float(sum(weight.size * weight.dtype.itemsize for weight in weights))
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            break
        size, unit = size / 1024, "TB"
    return f"{size:.2f} {unit}"
