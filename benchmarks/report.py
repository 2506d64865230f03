"""Rows of results, the table that is printed, and the file that keeps everything."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HEAD = ("what", "ours", "theirs", "ratio", "bar", "holds?")


@dataclass
class Bar:
    """What a row's ratio must be: at least ``value``, or at most."""

    value: float
    at_most: bool = False
    unit: str = ""

    def holds(self, ratio: float) -> bool:
        return ratio <= self.value if self.at_most else ratio >= self.value

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.value:.3g}{self.unit}"


@dataclass
class Row:
    """One line of the table. ``ratio`` is the number that the bar speaks of; ``rounds`` keeps the raw figures."""

    subject: str
    what: str
    ours: str = ""
    theirs: str = ""
    ratio: float | None = None
    bar: Bar | None = None
    note: str = ""
    rounds: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool | None:
        """Whether the bar is reached; None without a bar or a figure."""
        return None if self.bar is None or self.ratio is None else self.bar.holds(self.ratio)

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        absolute = self.ratio is None or (self.bar is not None and self.bar.unit)  # then `ours` says it already
        ratio = "" if absolute else f"{self.ratio:.3g}"
        verdict = {None: "", True: "yes", False: "NO"}[self.holds]
        return self.what, self.ours, self.theirs, ratio, str(self.bar or ""), verdict


def milliseconds(seconds: float) -> str:
    """A time for the table."""
    return f"{1000 * seconds:.3g} ms"


def on(threads: int) -> str:
    """How many threads, in words."""
    return f"{threads} thread{'s' * (threads != 1)}"


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table, subject by subject, with their notes below."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = [f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines]
    text.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            notes.setdefault(row.note, []).append(row.what)
    remarks = [f"- {note} ({where[0] if len(where) == 1 else f'{len(where)} rows'})" for note, where in notes.items()]
    return "\n".join([*text, *([""] if remarks else []), *remarks])


def heading(facts: dict[str, Any]) -> str:
    """The facts about the machine, one line each."""
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def write(path: Path, facts: dict[str, Any], rows: list[Row]) -> None:
    """Write everything as JSON, and heading and table beside it as Markdown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"machine": facts, "rows": [{**asdict(row), "holds": row.holds} for row in rows]}
    path.write_text(json.dumps(data, indent=1) + "\n")
    path.with_suffix(".md").write_text(f"# Benchmark results\n\n{heading(facts)}\n\n{table(rows)}\n")
