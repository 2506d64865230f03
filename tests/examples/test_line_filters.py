"""Line filters: maps beside SciPy's, and what they do to upright and to lying lines."""

import numpy as np
import pytest
from scipy.ndimage import correlate

from examples import line_filters


def correlated(photo, filters):
    """The maps (H, W, 2) of one photo, summed over colours, zeros around."""
    return np.stack(
        [sum(correlate(photo[..., c], filters[..., c, k], mode="constant") for c in range(3)) for k in range(2)], -1
    )


def test_filters():
    filters = line_filters.line_filters()
    assert filters.shape == (7, 7, 3, 2)
    assert [filters[..., k].sum() for k in (0, 1)] == [21, 21]
    assert filters[:, 3, :, 0].all()
    assert filters[3, :, :, 1].all()


def test_quick(tmp_path, capsys):
    maps = line_filters.main(["--quick", "--output", str(tmp_path)])
    photos = line_filters.generated_photos(42)
    for photo, found in zip(photos, maps, strict=True):
        np.testing.assert_allclose(found, correlated(photo, line_filters.line_filters()), rtol=1e-4)
    report = (tmp_path / "line_filters.txt").read_text()
    assert report in capsys.readouterr().out
    quotients = [float(line.split()[-1]) for line in report.splitlines()[1:]]
    for plain, vertical, horizontal in (quotients[:3], quotients[3:]):
        assert vertical > plain > horizontal
    assert quotients[0] > 1 > quotients[3]
    assert (tmp_path / "line_filters.png").read_bytes().startswith(b"\x89PNG")


def test_the_photos_of_the_book():
    pytest.importorskip("sklearn")
    photos = line_filters.load_photos()
    assert photos.shape == (2, 427, 640, 3)
    assert photos.max() <= 1
    red, green, blue = photos[0, 10, 10]  # the sky over the temple
    assert blue > green > red


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        line_filters.load_photos()
