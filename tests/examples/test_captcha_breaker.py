"""The captcha case: segmentation, annotation, training and reading, on captchas that are drawn for it."""

import importlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import accuracy_score

import tinyconv as tc
from examples import common
from examples.captcha_breaker import annotate, break_real, generate_images, segmentation, test_model, train_model

ROOT = Path(__file__).parents[2]
test_model.__test__ = False


def blank(*boxes, size=(60, 200)):
    """A white image with filled black boxes (x, y, width, height)."""
    image = np.full(size, 255, np.uint8)
    for x, y, width, height in boxes:
        image[y : y + height, x : x + width] = 0
    return image


FOUR = [(90, 20, 10, 15), (40, 22, 9, 15), (150, 19, 11, 15), (5, 20, 4, 14)]


@pytest.fixture(scope="module")
def captchas(tmp_path_factory):
    """A folder of 75 captchas, and what they show."""
    folder = tmp_path_factory.mktemp("captchas")
    return folder, generate_images.generate(folder, 75, seed=3)


@pytest.fixture(scope="module")
def trained(captchas, tmp_path_factory):
    """Folder of digits, folder of results and accuracy of a network that was trained on the captchas' digits."""
    folder, _ = captchas
    digits, output = tmp_path_factory.mktemp("digits"), tmp_path_factory.mktemp("output")
    annotate.main(["-i", str(folder), "-a", str(digits), "--labels", str(folder / "labels.txt")])
    accuracy = train_model.main(
        ["-d", str(digits), "-o", str(output), "--epochs", "25", "--learning-rate", "0.05", "--seed", "1"]
    )
    return digits, output, accuracy


class TestSegmentation:
    def test_boxes_are_those_drawn_from_left_to_right(self):
        assert segmentation.find_digits(blank(*FOUR)) == sorted(FOUR)

    def test_specks_are_left_out_even_where_a_digit_encloses_less(self):
        image = blank(*FOUR[:3], (120, 40, 4, 4), (180, 3, 3, 3))
        cv2.line(image, (8, 20), (8, 34), 0, 1)  # a thin "1": its contour encloses nothing
        assert segmentation.find_digits(image) == sorted([*FOUR[:3], (8, 20, 1, 15)])

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (blank(), "Received 0 contours|one height"),
            (blank(*FOUR[:3]), "expected 4 digits. Received 3 contours"),
            (blank(*FOUR[:3], (5, 20, 4, 7)), "one height.*7"),
            (blank(*FOUR[:3], (85, 40, 10, 15)), "side by side"),
        ],
    )
    def test_what_is_not_four_digits(self, image, message):
        with pytest.raises(segmentation.NotFourDigits, match=message):
            segmentation.find_digits(image)

    def test_padding_repeats_the_border(self):
        image = np.random.default_rng(0).integers(240, 256, (20, 30), dtype=np.uint8)
        image[5:15, 10:13] = 0
        np.testing.assert_array_equal(segmentation.pad(image, 8), np.pad(image, 8, mode="edge"))

    @pytest.mark.parametrize("padding", [8, 20])
    def test_digits_that_touch_the_border_keep_their_size(self, padding):
        boxes = [(0, 20, 4, 14), (40, 0, 9, 15), (90, 45, 10, 15), (189, 19, 11, 15)]  # left, top, bottom and right
        found = segmentation.find_digits(segmentation.pad(blank(*boxes), padding))
        assert found == [(x + padding, y + padding, width, height) for x, y, width, height in boxes]

    def test_crop_ends_where_the_image_ends(self):
        image = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
        np.testing.assert_array_equal(segmentation.crop(image, (10, 8, 4, 3)), image[3:16, 5:19])
        np.testing.assert_array_equal(segmentation.crop(image, (1, 2, 4, 3)), image[0:10, 0:10])

    def test_input_of_the_network(self):
        digit = np.full((30, 20), 51, np.uint8)
        x = segmentation.to_input([digit, digit[:, :10]])
        assert x.shape == (2, 28, 28, 1)
        np.testing.assert_allclose(x, 0.2, rtol=1e-6)

    def test_labels_file(self, tmp_path):
        file = tmp_path / "labels.txt"
        segmentation.write_labels(file, {"a.jpg": "1234", "with space.jpg": "9999"})
        assert segmentation.read_labels(file) == {"a.jpg": "1234", "with space.jpg": "9999"}
        assert list(tmp_path.iterdir()) == [file]

    @pytest.mark.parametrize("line", ["a.jpg 123", "a.jpg 1230", "1234", "a.jpg 12a4", "a.jpg 1234\na.jpg 1234"])
    def test_wrong_labels_file(self, tmp_path, line):
        file = tmp_path / "labels.txt"
        file.write_text("# a comment\n" + line)
        with pytest.raises(ValueError, match=r"labels.txt, line \d: expected a new file name and 4 digits"):
            segmentation.read_labels(file)


class TestGenerate:
    def test_files(self, captchas):
        folder, labels = captchas
        assert sorted(labels) == [f"{number:05d}.jpg" for number in range(75)]
        assert {path.name for path in folder.iterdir()} == {*labels, "labels.txt"}
        assert segmentation.read_labels(folder / "labels.txt") == labels
        assert {common.read_grey(folder / name).shape for name in labels} == {(36, 150)}
        assert set("".join(labels.values())) == set("123456789")

    def test_seed(self, tmp_path, captchas):
        folder, labels = captchas
        again = generate_images.generate(tmp_path, 3, seed=3)
        assert again == {name: labels[name] for name in again}
        for name in again:
            assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()

    def test_without_noise_the_ground_is_white_and_four_digits_are_found(self):
        image = generate_images.draw_captcha("1789", np.random.default_rng(0), noise=0)
        assert (image == 255).mean() > 0.7
        boxes = segmentation.find_digits(segmentation.pad(image, 8))
        assert np.diff([x for x, *_ in boxes]).min() > 20


class TestAnnotate:
    def test_digits_are_filed_under_their_labels(self, captchas, trained):
        _, labels = captchas
        digits, _, _ = trained
        counts = {folder.name: len(list(folder.glob("*.png"))) for folder in digits.iterdir()}
        written = "".join(labels.values())
        assert counts == {digit: written.count(digit) for digit in "123456789"}
        assert (digits / "1" / "000001.png").is_file()

    def test_keys(self, captchas, tmp_path, capsys):
        folder, labels = captchas
        keys = iter(["7", " ", "b", "7", "7", annotate.ESCAPE])
        paths = [str(folder / name) for name in list(labels)[:3]]
        counts = annotate.annotate(paths, tmp_path, lambda *_: next(keys))
        assert counts == {"7": 3, "B": 1}
        assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")) == [
            "7/000001.png", "7/000002.png", "7/000003.png", "B/000001.png",
        ]
        said = capsys.readouterr().out
        assert said.index("processing image 1/3") < said.index("ignoring character") < said.index("image 2/3")
        assert said.endswith("[INFO] manually leaving script\n")
        gray = segmentation.pad(common.read_grey(paths[0]), 8)
        x, y, width, height = segmentation.find_digits(gray)[0]
        first = cv2.imread(str(tmp_path / "7" / "000001.png"), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(first, gray[y - 5 : y + height + 5, x - 5 : x + width + 5])

    def test_a_second_run_goes_on_after_the_last_number(self, captchas, tmp_path):
        folder, labels = captchas
        for name in list(labels)[:2]:
            annotate.annotate([str(folder / name)], tmp_path, lambda *_: "5")
        assert sorted(path.name for path in (tmp_path / "5").iterdir()) == [f"{n:06d}.png" for n in range(1, 9)]

    def test_what_does_not_segment_is_skipped(self, captchas, tmp_path, capsys):
        folder, labels = captchas
        common.write_image(tmp_path / "three.png", blank(*FOUR[:3]))
        (tmp_path / "broken.jpg").write_bytes(b"no image")
        paths = [str(tmp_path / "three.png"), str(tmp_path / "broken.jpg"), str(folder / "00000.jpg")]
        counts = annotate.annotate(paths, tmp_path / "digits", lambda name, position, roi: labels[name][position])
        assert counts.total() == 4
        said = capsys.readouterr().out
        assert "skipping image... three.png: expected 4 digits. Received 3 contours" in said
        assert "skipping image... broken.jpg" in said

    def test_window(self, monkeypatch):
        keys = iter([0xFF, 0x1F, ord("4")])
        shown = []
        monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append((title, image.shape)))
        monkeypatch.setattr(cv2, "waitKey", lambda delay: next(keys))
        assert annotate.ask_in_window("00000.jpg", 0, np.zeros((25, 20), np.uint8)) == "4"
        assert shown == [("ROI", (35, 28))]

    def test_errors(self, captchas, tmp_path, monkeypatch):
        folder, _ = captchas
        with pytest.raises(FileNotFoundError, match="generate_images"):
            annotate.main(["-i", str(tmp_path), "-a", str(tmp_path / "digits")])
        monkeypatch.setattr(common, "has_display", lambda: False)
        with pytest.raises(SystemExit, match=r"expected a display, or --labels FILE"):
            annotate.main(["-i", str(folder), "-a", str(tmp_path / "digits")])


class TestTrainAndRead:
    def test_training(self, trained):
        _, output, accuracy = trained
        assert accuracy > 0.9
        assert (output / "training_curve.png").read_bytes().startswith(b"\x89PNG")
        assert f" digits: {accuracy:.4f}\n" in (output / "training_curve.txt").read_text()
        model = tc.load_model(output / "captcha_lenet.tinyconv")
        assert model.class_names == list("123456789")
        assert model.count_params() == 1_255_579  # the document's number

    def test_reading_new_captchas(self, trained, tmp_path, capsys):
        _, output, _ = trained
        labels = generate_images.generate(tmp_path / "new", 12, seed=99)
        found = test_model.main(
            ["-i", str(tmp_path / "new"), "-m", str(output / "captcha_lenet.tinyconv"), "-o", str(tmp_path / "read"),
             "--labels", str(tmp_path / "new" / "labels.txt")]
        )
        assert list(found) == list(labels)
        right = accuracy_score(list("".join(labels.values())), list("".join(found.values())))
        assert right > 0.85
        whole = sum(found[name] == labels[name] for name in labels)
        said = capsys.readouterr().out
        assert f"{whole} of 12 captchas read correctly: {whole / 12:.4f}" in said
        assert f"of 48 digits read correctly: {right:.4f}" in said
        for name in labels:
            drawn = cv2.imread(str(tmp_path / "read" / name.replace("jpg", "png")))
            assert drawn.shape == (76, 190, 3)
            green = (drawn == (0, 255, 0)).all(axis=2)
            gray = segmentation.pad(common.read_grey(tmp_path / "new" / name), 20)
            assert green.sum() > 4 * 60
            np.testing.assert_array_equal(drawn[~green][:, 0], gray[~green])
        assert cv2.imread(str(tmp_path / "read" / "sheet.png")).shape == (3 * 76, 4 * 190, 3)

    def test_drawing(self):
        """The rectangle from (x-2, y-2) to (x+w+4, y+h+4), and the digit at (x-5, y-5)."""
        x, y, width, height = 40, 50, 11, 15
        drawn = test_model.draw(np.full((90, 80), 200, np.uint8), [(x, y, width, height)], "7")
        green = (drawn == (0, 255, 0)).all(axis=2)
        rows, columns = np.nonzero(green)
        assert green[y - 2, x - 2 : x + width + 5].all()
        assert green[y + height + 4, x - 2 : x + width + 5].all()
        assert green[y - 2 : y + height + 5, [x - 2, x + width + 4]].all()
        assert not green[y - 1 : y + height + 4, x - 1 : x + width + 4].any()
        assert (rows.max(), columns.max()) == (y + height + 4, x + width + 4)
        digit = green[: y - 2]
        (text_width, text_height), _ = cv2.getTextSize("7", cv2.FONT_HERSHEY_SIMPLEX, 0.55, 2)
        rows, columns = np.nonzero(digit)
        assert abs(rows.min() - (y - 5 - text_height)) <= 2
        assert abs(rows.max() - (y - 5)) <= 2
        assert x - 5 <= columns.min() <= columns.max() <= x - 5 + text_width
        assert (drawn[~green] == 200).all()

    def test_ten_without_replacement(self, captchas, trained, tmp_path):
        folder, labels = captchas
        _, output, _ = trained
        command = ["-i", str(folder), "-m", str(output / "captcha_lenet.tinyconv"), "--seed", "5"]
        found = test_model.main([*command, "-o", str(tmp_path)])
        assert len(found) == 10
        assert set(found) < set(labels)
        assert test_model.main([*command, "-o", str(tmp_path)]) == found

    def test_score(self):
        labels = {"a": "1234", "b": "5678", "c": "1111", "d": "9999"}
        found = {"a": "1234", "b": "5671", "c": "", "d": "9199"}
        assert test_model.score(found, labels) == (1 / 4, 10 / 16)

    def test_errors(self, captchas, trained, tmp_path):
        folder, _ = captchas
        model = str(trained[1] / "captcha_lenet.tinyconv")
        with pytest.raises(FileNotFoundError, match=r"missing.tinyconv. Received: no file.*train_model"):
            test_model.main(["-i", str(folder), "-m", str(tmp_path / "missing.tinyconv")])
        tmp_path.joinpath("labels.txt").write_text("99999.jpg 1234\n")
        with pytest.raises(FileNotFoundError, match=r"Received no 99999.jpg"):
            test_model.main(["-i", str(folder), "-m", model, "--labels", str(tmp_path / "labels.txt")])
        with pytest.raises(FileNotFoundError, match=r"examples.captcha_breaker.annotate"):
            train_model.main(["-d", str(tmp_path / "empty"), "-o", str(tmp_path)])


class TestReal:
    def test_held_out_labels_are_127_of_505(self):
        labels = segmentation.read_labels(break_real.HELD_OUT)
        names = [f"{number:05d}.jpg" for number in range(505)]
        _, held_out = tc.datasets.train_test_split(names, test_size=0.25, random_state=42)
        assert set(labels) == set(held_out)
        assert len(labels) == 127

    def test_published_digits_agree_with_the_labels_file(self):
        """Two independent readings of the held-out captchas: the published digits, and the file of labels."""
        if not (tc.datasets.home() / "datasets" / "captchas" / "downloads").is_dir():
            pytest.skip("the real captchas are not in the cache")
        by_eye = segmentation.read_labels(break_real.HELD_OUT)
        paths = [path for path in tc.datasets.captchas.whole_paths() if Path(path).name in by_eye]
        assert break_real.published_labels(paths) == by_eye

    def test_look_up(self):
        rng = np.random.default_rng(0)
        digits = [rng.integers(0, 256, (25, 20), dtype=np.uint8) for _ in range(4)]
        published = np.stack([cv2.resize(digit, (28, 28)) for digit in digits[:3]]).astype(int)
        published[1] = np.clip(published[1] + 2, 0, 255)  # as far off as it may be
        published[2] = np.clip(published[2] + 3, 0, 255)
        assert break_real.look_up(digits, published, np.array(["8", "2", "5"])) == "82??"
        doubled = np.concatenate([published, published[:1]])
        assert break_real.look_up(digits[:1], doubled, np.array(["8", "2", "5", "8"])) == "8"
        assert break_real.look_up(digits[:1], doubled, np.array(["8", "2", "5", "3"])) == "?"

    def test_new_digits(self):
        train = np.zeros((3, 2, 2, 1), np.float32)
        test = np.array([0, 1, 0], np.float32).reshape(3, 1, 1, 1) * np.ones((1, 2, 2, 1), np.float32)
        assert break_real.is_new(test, train).tolist() == [False, True, False]


@pytest.mark.slow
def test_whole_case_on_drawn_captchas(tmp_path):
    assert break_real.main(["--quick", "--output", str(tmp_path), "--seed", "2"]) > 0.7
    for name in ("training_curve.png", "captcha_lenet.tinyconv", "read/sheet.png"):
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize("program", ["generate_images", "annotate", "train_model", "test_model", "break_real"])
def test_help(program, capsys):
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"examples.captcha_breaker.{program}").main(["--help"])
    assert ended.value.code == 0
    assert "--quick" in capsys.readouterr().out


def test_as_a_person_runs_it(tmp_path):
    command = [sys.executable, "-m", "examples.captcha_breaker.annotate", "--quick", "-a", str(tmp_path / "digits")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[INFO] 80 digits filed" in done.stdout
    assert len(list((tmp_path / "digits").rglob("*.png"))) == 80
