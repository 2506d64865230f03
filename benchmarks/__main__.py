"""The command line: choose subjects, measure them, print their tables, write JSON."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks import filtering, inference, kernels, machine, profile, report, startup, training
from benchmarks.harness import Settings, find_pytorch

SUBJECTS: dict[str, tuple[Callable[[Settings], Iterable[report.Row]], str]] = {
    "training": (training.rows, "Steps: PyTorch's time over ours, against its fastest configuration on this machine."),
    "kernels": (
        kernels.rows,
        "GF/s of a direct convolution, whatever the algorithm, over the peak of multiply-adds measured beside it.",
    ),
    "startup": (startup.rows, "Seconds of new processes."),
    "filtering": (
        filtering.rows,
        "OpenCV's time over ours on 1920 x 1080 pixels, for the one of five borders that is worst for us.",
    ),
    "inference": (inference.rows, "The fastest rival's time over ours."),
    "profile": (profile.rows, "Where the time of a training step goes, kernel by kernel."),
}


def main(arguments: Sequence[str] | None = None) -> list[report.Row]:
    """Run the suite; ``arguments`` as on the command line."""
    options = _parser().parse_args(arguments)
    settings = _settings(options)
    facts = machine.facts(settings.threads, settings.torch)
    print(report.heading(facts), flush=True)
    if machine.load() > 0.5:
        print("\nWARNING: other programs are at work on this machine; the figures below will not be fair.", flush=True)
    rows: list[report.Row] = []
    for subject in options.only or SUBJECTS:
        print(f"\n{subject}", flush=True)
        for row in SUBJECTS[subject][0](settings):
            rows.append(row)
            print("  " + "  ".join(filter(None, row.cells())), flush=True)
    explanations = {subject: explanation for subject, (_, explanation) in SUBJECTS.items()}
    text = report.sections(rows, explanations)
    print(f"\n{text}")
    if options.json:
        report.write(options.json, facts, rows, text)
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure tinyconv beside its rivals.")
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, metavar="NAME", help=f"some of: {', '.join(SUBJECTS)}")
    parser.add_argument("--quick", action="store_true", help="some minutes: fewer cases, shorter rounds")
    parser.add_argument("--tiny", action="store_true", help="a few seconds: only shows that everything runs")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures here, and the tables beside it")
    parser.add_argument("--torch", metavar="PYTHON", help="a Python that has PyTorch (or set TINYCONV_TORCH_PYTHON)")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each comparison")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N", help="threads on both sides")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    rounds, seconds = (1, 0.0) if options.tiny else (5, 0.1) if options.quick else (5, 0.7)
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
