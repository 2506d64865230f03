"""Every Python block of README.md runs as printed, in order, in one fresh folder; comments `# ...` after print hold."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_readme_has_examples():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1][:30])
def test_block_runs_as_printed(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(block, str(README), "exec"), {"__name__": "readme"})
    printed = output.getvalue().splitlines()
    for line in block.splitlines():
        match = re.match(r"print\(.*\)\s+# (?:.*: )?(\S.*)$", line)
        if match:
            assert match[1] in printed
    accuracy = [float(line.split()[1]) for line in printed if line.startswith("accuracy:")]
    assert all(value > 0.9 for value in accuracy)
