"""Changed copies of a photo: their number and files, and a change whose outcome is known."""

import cv2
import numpy as np
import pytest

from examples import augmentation


def test_quick(tmp_path, capsys):
    copies = augmentation.main(["--quick", "--output", str(tmp_path)])
    assert copies.shape == (21, 32, 32, 3)
    assert len(np.unique(copies.reshape(21, -1), axis=0)) == 21
    assert len(list((tmp_path / "preview").glob("*.jpeg"))) == 21
    assert "21 copies" in capsys.readouterr().out
    assert (tmp_path / "augmentation.png").read_bytes().startswith(b"\x89PNG")


def test_a_photo_mirrored_or_not(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), photo[..., ::-1])
    arguments = ["-i", str(tmp_path / "photo.png"), "--only", "horizontal_flip", "-n", "12", "-o", str(tmp_path)]
    copies = augmentation.main(arguments)
    kinds = [np.array_equal(copy, photo[:, ::-1]) for copy in copies]
    assert all(mirrored or np.array_equal(copy, photo) for mirrored, copy in zip(kinds, copies, strict=True))
    assert 0 < sum(kinds) < 12
    np.testing.assert_array_equal(augmentation.main(arguments), copies)
    augmentation.main([*arguments, "-n", "5"])
    assert len(list((tmp_path / "preview").iterdir())) == 5  # those of the first runs are gone


def test_wrong_photos(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(SystemExit, match=r"\[ERROR\] .*text.jpg"):
        augmentation.main(["-i", str(tmp_path / "text.jpg"), "-o", str(tmp_path)])
    with pytest.raises(FileNotFoundError, match=r"none.jpg"):
        augmentation.main(["-i", str(tmp_path / "none.jpg"), "-o", str(tmp_path)])
