"""The benchmark suite runs, in a setting so small that its figures mean nothing."""

import json

import pytest

from benchmarks import report
from benchmarks.__main__ import SUBJECTS, main
from benchmarks.harness import PYTORCH_MISSING, Settings, Worker, WorkerError, alternate, find_pytorch


@pytest.mark.slow
@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_subject_runs(subject, tmp_path, capsys):
    path = tmp_path / "results" / "tiny.json"
    rows = main(["--tiny", "--only", subject, "--json", str(path)])
    assert rows
    assert all(row.subject == subject and row.ours for row in rows)
    data = json.loads(path.read_text())
    assert {"cpu", "cores", "threads", "numpy", "load average", "date"} <= set(data["machine"])
    assert [row["what"] for row in data["rows"]] == [row.what for row in rows]
    table = path.with_suffix(".md").read_text()
    assert all(row.what in table for row in rows)
    assert report.table(rows) in capsys.readouterr().out


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
    faster = report.Row("s", "fast", "1 ms", "3 ms", 3.0, report.Bar(2.5))
    slower = report.Row("s", "slow", "2 s", "", 2.0, report.Bar(1.0, at_most=True, unit=" s"), note="why")
    unknown = report.Row("s", "unknown", "1 ms", bar=report.Bar(2.5), note="why")
    assert [row.holds for row in (faster, slower, unknown)] == [True, False, None]
    text = report.table([faster, slower, unknown])
    assert "| fast    | 1 ms | 3 ms   | 3     | >= 2.5 | yes    |" in text
    assert text.endswith("- why (2 rows)")
