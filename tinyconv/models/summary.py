"""The table that ``model.summary()`` prints."""

from __future__ import annotations

from typing import Any

from tinyconv.layers.base import Layer


def summary(model: Any, line_length: int = 76) -> list[str]:
    """Lines of a table: layer and type, output shape, parameters; then totals."""
    rows = [("Layer (type)", "Output Shape", "Param #")]
    rows += [row for layer in model.layers for row in _rows(layer, "")]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    widths[0] = max(widths[0], line_length - widths[1] - widths[2] - 4)
    lines = ["  ".join((row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]))) for row in rows]
    rule = len(lines[0])
    total, trainable = (sum(p.size for p in ps) for ps in (model.weights, model.trainable_weights))
    return [
        f'Model: "{model.name}"',
        "_" * rule,
        lines[0],
        "=" * rule,
        *lines[1:],
        "=" * rule,
        f"Total params: {total:,}",
        f"Trainable params: {trainable:,}",
        f"Non-trainable params: {total - trainable:,}",
        "_" * rule,
    ]


def _rows(layer: Layer, indent: str) -> list[tuple[str, str, str]]:
    shape = "?" if layer._shapes is None else str(layer._shapes[1])
    count = f"{sum(p.size for p in layer.weights):,}" if layer.built else "?"
    own = (f"{indent}{layer.name} ({type(layer).__name__})", shape, count)
    inner = getattr(layer, "layers", [])
    return [own, *(row for child in inner for row in _rows(child, indent + "  "))]
