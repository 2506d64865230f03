"""Every Python block of README.md and of the guide runs as printed; comments `# ...` after print hold.

Those of the README stand alone, those of the guide follow one another.
"""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

import tinyconv as tc
from tinyconv import cli

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


@pytest.mark.parametrize("name", ["README.md", "docs/guide.md"])
def test_names_in_the_text_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    names = set(re.findall(r"\btc\.([a-zA-Z_][\w.]*\w)", text))
    assert len(names) > 5
    for dotted in names:
        found = tc
        for part in dotted.split("."):
            found = getattr(found, part)


@pytest.mark.slow
def test_command_lines_of_the_guide(tmp_path, monkeypatch, capsys):
    """All of them in order, in the folder in which the guide's blocks have run."""
    monkeypatch.chdir(tmp_path)
    (x, y), _ = tc.datasets.mnist.load_data("subset")
    (tmp_path / "digits" / "odd").mkdir(parents=True)
    tc.utils.save_img("digits/odd/0.png", x[y % 2 == 1][0][..., None], scale=False)
    (block,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/guide.md").read_text(encoding="utf-8"), re.DOTALL)
    commands = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    assert len(commands) == 10
    for command in commands:
        if command[0] == "warmup":  # it compiles for minutes where nothing was compiled before
            cli.build_parser().parse_args(command)
        else:
            assert cli.main(command) == 0, command
    for name in ("lenet.tinyconv", "lenet.json", "lenet.png", "architecture.svg", "lenet.keras"):
        assert (tmp_path / name).stat().st_size > 100
    assert "digits/odd/0.png" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["README.md", "docs/guide.md", "examples/README.md"])
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", (ROOT / "docs/guide.md").read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links or name == "examples/README.md"
    for link in links:
        path, _, anchor = link.partition("#")
        assert ((ROOT / name).parent / path).exists(), link
        assert not anchor or anchor in anchors, link


def test_every_line_of_the_list_of_features_leads_to_a_snippet():
    guide = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", guide, re.MULTILINE | re.DOTALL)
    with_code = {heading.lower().replace(" ", "-") for heading, text in sections if "```" in text}
    features = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What it can do")[2].partition("\n## ")[0]
    lines = re.split(r"^- ", features, flags=re.MULTILINE)[1:]
    assert len(lines) >= 9
    for line in lines:
        assert set(re.findall(r"guide\.md#([\w-]+)", line)) & with_code, line


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
