"""The worked examples agree with the documents' numbers, and a number that does not is found."""

import pytest

from examples import worked_examples


def test_all(tmp_path, capsys):
    count = worked_examples.main(["--output", str(tmp_path)])
    out = capsys.readouterr().out
    assert f"{count} examples, 0 of them differ" in out
    assert count >= 94
    assert "DIFFERS" not in out
    assert (tmp_path / "worked_examples.txt").read_text() in out
    for line in (
        "  true convolution: [[-10, 45], [-60, 25]]",
        "  multiplications of MiniVGGNet: 26,579,968",
        "  5x5 convolution, 200 maps of 150x100, RGB: 15,200",
    ):
        assert line in out


def test_a_difference_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(worked_examples.SECTIONS, "pooling", lambda: iter([("a", 2, 2), ("b", [1, 3], [1, 2.999])]))
    with pytest.raises(SystemExit, match=r"\[ERROR\] expected equal numbers"):
        worked_examples.main(["pooling", "--output", str(tmp_path)])
    out = capsys.readouterr().out
    assert "  a: 2\n  b: [1, 2.999]   DIFFERS from [1, 3]\n" in out
    assert "2 examples, 1 of them differ" in out


def test_unknown_section(capsys):
    with pytest.raises(SystemExit) as end:
        worked_examples.main(["pools"])
    assert end.value.code == 2
    assert "received pools" in capsys.readouterr().err
