"""``python -m benchmarks.gpu``: without a GPU it says so; on the stand-in it runs, and its figures mean nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu, report

ROOT = Path(__file__).parents[2]
STAND_IN = os.pathsep.join([str(ROOT / "tests/cuda/stand_in"), str(ROOT)])


def run(path, **environment):
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--json", str(path)]
    environment = {**os.environ, "TINYCONV_DEVICE": "", **environment}
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)


def test_without_a_gpu_it_says_so(tmp_path):
    done = run(tmp_path / "gpu.json", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == gpu.NO_GPU
    assert done.stderr.startswith("This benchmark needs an NVIDIA GPU. The device 'cuda' needs")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_everything_runs_on_the_stand_in(tmp_path):
    done = run(tmp_path / "gpu.json", PYTHONPATH=STAND_IN)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "gpu.json").read_text())
    assert data["machine"]["ours"].endswith("device cuda")
    rows = data["rows"]
    assert [row["what"].split(",")[0] for row in rows] == [
        "LeNet losses of 4 steps", "LeNet step", "LeNet step", "LeNet epoch", "LeNet losses of 4 steps", "LeNet step",
        "LeNet step",
    ]  # fmt: skip
    assert all(row["ours"] for row in rows)
    assert len(set(rows[0]["rounds"]["ours"])) == 4  # it learns
    assert "| LeNet epoch, 16 images, batch 4 " in (tmp_path / "gpu.md").read_text()


def test_what_the_rows_say():
    rounds = {"ours": [2.0, 1.0, 3.0], "eager, contiguous": [9.0] * 3, "eager, channels_last": [8.0] * 3}
    row = gpu._against("eager", 3.0, "what", rounds, ["note"])
    assert (row.ratio, row.holds, row.theirs) == (4.0, True, "8e+03 ms (eager, channels_last)")
    assert set(row.rounds) == set(rounds)
    alone = gpu._against("graph", 1.0, "what", rounds, [])
    assert (alone.ratio, alone.holds, alone.ours) == (None, None, "2e+03 ms")
    assert "note" in report.table([row, alone])
