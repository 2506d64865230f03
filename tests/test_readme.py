"""Every Python block of README.md and of the guide runs as printed; comments `# ...` after print hold.

Those of the README stand alone, those of the guide follow one another.
"""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README, GUIDE = (
    re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    for name in ("README.md", "docs/guide.md")
)


def test_there_are_examples():
    assert len(README) >= 3
    assert len(GUIDE) >= 10


@pytest.mark.parametrize("block", README, ids=lambda block: block.strip().splitlines()[-1][:30])
def test_block_runs_as_printed(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = run(block, {"__name__": "readme"})
    accuracy = [float(line.split()[1]) for line in printed if line.startswith("accuracy:")]
    assert all(value > 0.9 for value in accuracy)


@pytest.mark.slow
def test_guide_runs_as_printed(tmp_path, monkeypatch):
    for package in ("sklearn", "matplotlib", "cv2", "tensorboard"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "guide"}
    for block in GUIDE:
        run(block, names)
    text = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
    made = {path.name for path in tmp_path.iterdir()}
    assert set(re.findall(r'"(\w+\.(?:png|json|csv|tinyconv|safetensors))"', text)) <= made


def test_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", (ROOT / "docs/guide.md").read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        assert (ROOT / path).exists(), link
        assert not anchor or anchor in anchors, link


def run(block, names):
    """Execute a block; what it prints must be what its comments say. Returns the lines."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(block, "README", "exec"), names)
    printed = output.getvalue().splitlines()
    for line in block.splitlines():
        match = re.match(r"print\(.*\)\s+# (\S.*)$", line)
        if match:  # perhaps with a formula and a colon before it
            assert match[1] in printed or match[1].split(": ", 1)[-1] in printed, line
    return printed
