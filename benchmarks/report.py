"""Rows of results, the tables that are printed, and the file that keeps everything."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import Rounds, best

HEAD = ("what", "ours", "theirs", "ratio (least..most)", "bar", "holds?", "results compared")


@dataclass
class Bar:
    """What the median of a row's ratios must be: at least ``value``, or at most."""

    value: float
    at_most: bool = False
    unit: str = ""

    def holds(self, ratio: float) -> bool:
        return ratio <= self.value if self.at_most else ratio >= self.value

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.value:.3g}{self.unit}"


@dataclass
class Row:
    """One line of a table.

    ``ratio`` is the number that the bar speaks of, ``ratios`` the same round by round. ``compared`` tells how results
    were held against each other, ``differs`` why they cannot count as equal: then no bar is held. ``rounds`` keeps the
    raw figures.
    """

    subject: str
    what: str
    ours: str = ""
    theirs: str = ""
    ratio: float | None = None
    bar: Bar | None = None
    note: str = ""
    rounds: dict[str, Any] = field(default_factory=dict)
    ratios: Sequence[float] = ()
    compared: str = ""
    differs: str = ""

    def __post_init__(self) -> None:
        if self.ratios:
            self.ratio = statistics.median(self.ratios)

    @property
    def holds(self) -> bool | None:
        """Whether the bar is reached, with equal results; None without a bar or a figure."""
        return None if self.bar is None or self.ratio is None else self.bar.holds(self.ratio) and not self.differs

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        ratio = ""
        if self.ratio is not None:
            spread = f" ({min(self.ratios):.3g}..{max(self.ratios):.3g})" if len(self.ratios) > 1 else ""
            ratio = f"{self.ratio:.3g}{self.bar.unit if self.bar else ''}{spread}"
        verdict = {None: "", True: "yes", False: "NO"}[self.holds]
        return self.what, self.ours, self.theirs, ratio, str(self.bar or ""), verdict, self.differs or self.compared


def against(
    subject: str,
    what: str,
    rounds: Rounds,
    bar: Bar,
    show: Callable[[float], str] | None = None,
    **more: Any,
) -> Row:
    """A row for ``rounds`` of "ours" and of rivals: how many times longer than ours the fastest rival takes."""
    show = show or milliseconds
    row = Row(subject, what, show(statistics.median(rounds["ours"])), rounds=rounds, **more)
    if rivals := [name for name in rounds if name != "ours"]:
        fastest = best(rounds, *rivals)
        row.theirs, row.bar = f"{show(statistics.median(rounds[fastest]))} ({fastest})", bar
        row.ratios = [theirs / ours for ours, theirs in zip(rounds["ours"], rounds[fastest])]
        row.ratio = statistics.median(row.ratios)
    return row


def milliseconds(seconds: float) -> str:
    """A time for the table."""
    return f"{1000 * seconds:.3g} ms"


def on(threads: int) -> str:
    """How many threads, in words."""
    return f"{threads} thread{'s' * (threads != 1)}"


def sections(rows: Sequence[Row], explanations: dict[str, str]) -> str:
    """A table for each subject, with its explanation above it; then how many bars hold, and which do not."""
    text = []
    for subject in dict.fromkeys(row.subject for row in rows):
        own = [row for row in rows if row.subject == subject]
        text.append(f"## {subject.capitalize()}\n\n{explanations[subject]}\n\n{table(own)}\n")
    barred = [row for row in rows if row.holds is not None]
    missed = [f"- {row.what}: {row.cells()[3]}, bar {row.bar}" for row in barred if not row.holds]
    text.append("\n".join([f"## {len(barred) - len(missed)} of {len(barred)} bars hold", "", *missed]))
    return "\n".join(text)


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, with their notes below; without columns that nothing fills."""
    lines = [HEAD, *(row.cells() for row in rows)]
    used = [i for i in range(len(HEAD)) if any(line[i] for line in lines[1:])]
    widths = [max(len(line[i]) for line in lines) for i in used]
    text = [f"| {' | '.join(line[i].ljust(width) for i, width in zip(used, widths))} |" for line in lines]
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


def write(path: Path, facts: dict[str, Any], rows: Sequence[Row], text: str | None = None) -> None:
    """Write everything as JSON, and heading and ``text``, by default the table, beside it as Markdown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"machine": facts, "rows": [{**asdict(row), "holds": row.holds} for row in rows]}
    path.write_text(json.dumps(data, indent=1) + "\n")
    path.with_suffix(".md").write_text(f"# Benchmark results\n\n{heading(facts)}\n\n{text or table(rows)}\n")
