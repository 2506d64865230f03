"""The benchmark suite runs, in a setting so small that its figures mean nothing."""

import json
import re

import pytest

from benchmarks import filtering, kernels, report, training
from benchmarks.__main__ import SUBJECTS, main
from benchmarks.harness import PYTORCH_MISSING, Settings, Worker, WorkerError, alternate, find_pytorch
from benchmarks.workers import filters

NETWORKS, LARGE = ("LeNet", "MiniVGGNet"), ("ResNet50", "VGG16")
BARS = {  # subject -> what its rows must begin with: every line of the list of bars
    "training": [
        *[f"{n}: {what}" for n in NETWORKS for what in (
            "loss after .* float64", "loss after .* float32", "training step, batch .*, 2 threads$", "epoch of ",
            "memory that a step adds", "us per image at batch", "training step, .* 2 threads against 1",
        )],
    ],
    "kernels": [
        f"{layer}.*{direction}, 2 threads" for layer in (".*3x3 convolution", ".*[57]x[57] convolution", ".*: dense")
        for direction in ("forward", "backward-weights")
    ] + [".*convolution.*backward-data", ".*dense.*backward-data", "peak of multiply-adds"],
    "startup": ["import tinyconv$"] + [
        f"import tinyconv and first LeNet training step, {where}{which}"
        for where in ("", "read-only install folder, ") for which in ("empty cache", "later process")
    ],
    "filtering": [
        rf"filter2d {size}, {dtype}" for dtype in ("float32", "uint8")
        for size in ("3x3, any kernel", "5x5, any kernel", "13x13, any kernel", "13x13, rank-1 kernel")
    ],
    "inference": [f"{n}: prediction of 1 image," for n in NETWORKS + LARGE] + [
        f"{n}: prediction of 8 images," for n in LARGE
    ],
    "profile": [f"{n} step" for n in NETWORKS],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_bar_has_a_row(subject, tmp_path, capsys):
    path = tmp_path / "results" / "tiny.json"
    rows = main(["--tiny", "--threads", "2", "--only", subject, "--json", str(path)])
    assert all(row.subject == subject and row.ours for row in rows)
    for bar in BARS[subject]:
        assert any(re.match(bar, row.what) for row in rows), bar
    assert all(row.compared or row.differs for row in rows if row.holds is not None)
    data = json.loads(path.read_text())
    assert {"cpu", "cores", "threads", "numpy", "load average", "date"} <= set(data["machine"])
    assert [row["what"] for row in data["rows"]] == [row.what for row in rows]
    text = path.with_suffix(".md").read_text()
    assert all(row.what in text for row in rows)
    assert report.table(rows) in text
    assert report.table(rows) in capsys.readouterr().out


def test_all_sizes_and_networks_are_measured():
    assert filtering.SIZES == (3, 5, 7, 9, 11, 13, 15, 21, 31)
    assert len(filters.BORDERS) == 5
    assert set(training.NETWORKS) == set(NETWORKS)
    for network in ("LeNet", "MiniVGGNet", "VGG16", "ResNet-50"):
        assert any(shape.name.startswith(network) for shape in kernels.SHAPES)
    assert len(kernels.PASSES) == 3


def test_alternating_takes_turns():
    turns = []
    jobs = {"a": lambda: turns.append("a") or 1.0, "b": lambda: turns.append("b") or 2.0}
    assert alternate(jobs, Settings(rounds=3, tiny=True)) == {"a": [1.0] * 3, "b": [2.0] * 3}
    assert turns == ["a", "b"] * 3


def test_a_workers_error_is_told():
    with Worker("filters", threads=1) as worker:
        with pytest.raises(WorkerError, match="KeyError"):
            worker.call("times", seconds=0, least=1)  # nothing was prepared
        worker.call("prepare", library="ours", shape=[8, 9], dtype="uint8", size=3, rank_one=False, border="wrap")
        assert len(worker.call("times", seconds=0, least=2)) == 2  # it goes on working


def test_a_worker_that_ends_is_told():
    with Worker("no_such_worker", threads=1) as worker, pytest.raises(WorkerError, match="no_such_worker"):
        worker.call("version")


def test_missing_pytorch_is_said(monkeypatch):
    monkeypatch.setenv("TINYCONV_TORCH_PYTHON", "/no/such/python")
    with pytest.raises(SystemExit, match="cannot run PyTorch"):
        find_pytorch(None)
    assert "pip install torch==2.13.0" in PYTORCH_MISSING


def test_bars_and_table():
    faster = report.Row("s", "fast", "1 ms", "3 ms", bar=report.Bar(2.5), ratios=[3.0, 2.0, 4.0], compared="equal")
    slower = report.Row("s", "slow", "2 s", "", 2.0, report.Bar(1.0, at_most=True, unit=" s"), note="why")
    unknown = report.Row("s", "unknown", "1 ms", bar=report.Bar(2.5), note="why")
    wrong = report.Row("s", "wrong", "1 ms", "3 ms", 3.0, report.Bar(2.5), differs="by 7")
    assert [row.holds for row in (faster, slower, unknown, wrong)] == [True, False, None, False]
    text = report.table([faster, slower, unknown, wrong])
    assert "| fast    | 1 ms | 3 ms   | 3 (2..4)            | >= 2.5 | yes    | equal            |" in text
    assert "| wrong   | 1 ms | 3 ms   | 3                   | >= 2.5 | NO     | by 7             |" in text
    assert text.endswith("- why (2 rows)")
    whole = report.sections([faster, slower, unknown, wrong], {"s": "Why."})
    assert whole.startswith("## S\n\nWhy.\n\n| what")
    assert "## 1 of 3 bars hold\n\n- slow: 2 s, bar <= 1 s\n- wrong: 3, bar >= 2.5" in whole


def test_the_fastest_rival_counts_round_by_round():
    rounds = {"ours": [2.0, 1.0, 4.0], "slow": [9.0, 9.0, 9.0], "quick": [4.0, 3.0, 20.0]}
    row = report.against("s", "what", rounds, report.Bar(2.5), lambda seconds: f"{seconds:g} s", compared="equal")
    assert (row.ours, row.theirs, row.ratio, row.holds) == ("2 s", "4 s (quick)", 3.0, True)
    assert row.ratios == [2.0, 3.0, 5.0]
    alone = report.against("s", "what", {"ours": [1.0]}, report.Bar(2.5))
    assert (alone.ours, alone.ratio, alone.holds) == ("1e+03 ms", None, None)
