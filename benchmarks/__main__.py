"""The command line: choose subjects, measure them, print one table, write JSON."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks import filtering, inference, kernels, machine, profile, report, startup, training
from benchmarks.harness import Settings, find_pytorch

SUBJECTS: dict[str, Callable[[Settings], Iterable[report.Row]]] = {
    "startup": startup.rows,
    "kernels": kernels.rows,
    "training": training.rows,
    "inference": inference.rows,
    "filtering": filtering.rows,
    "profile": profile.rows,
}


def main(arguments: Sequence[str] | None = None) -> list[report.Row]:
    """Run the suite; ``arguments`` as on the command line."""
    options = _parser().parse_args(arguments)
    settings = _settings(options)
    facts = machine.facts(settings.threads)
    print(report.heading(facts), flush=True)
    if machine.load() > 0.5:
        print("\nWARNING: other programs are at work on this machine; the figures below will not be fair.", flush=True)
    rows: list[report.Row] = []
    for subject in options.only or SUBJECTS:
        print(f"\n{subject}", flush=True)
        for row in SUBJECTS[subject](settings):
            rows.append(row)
            print("  " + "  ".join(filter(None, row.cells())), flush=True)
    print("\n" + report.table(rows))
    if options.json:
        report.write(options.json, facts, rows)
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure tinyconv beside its rivals.")
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, metavar="NAME", help=f"some of: {', '.join(SUBJECTS)}")
    parser.add_argument("--quick", action="store_true", help="about two minutes: fewer cases, shorter rounds")
    parser.add_argument("--tiny", action="store_true", help="a few seconds: only shows that everything runs")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures here, and the table beside it")
    parser.add_argument("--torch", metavar="PYTHON", help="a Python that has PyTorch (or set TINYCONV_TORCH_PYTHON)")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each comparison")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N", help="threads on both sides")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    rounds, seconds = (1, 0.0) if options.tiny else (3, 0.15) if options.quick else (7, 1.0)
    return Settings(
        rounds=options.rounds or rounds,
        seconds=seconds,
        threads=options.threads,
        quick=options.quick,
        tiny=options.tiny,
        torch=find_pytorch(options.torch),
    )


if __name__ == "__main__":
    main()
