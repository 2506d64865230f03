"""A folder of small PNG files, written by Pillow: two classes, reddish and bluish, of odd sizes."""

import threading

import numpy as np
import pytest

from tinyconv.preprocessing.prefetching import THREAD_NAME

Image = pytest.importorskip("PIL.Image")

COUNTS = {"blue": 7, "red": 10}


def write_images(folder, counts, channel_of):
    draw = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = draw.integers(0, 100, (9 + i, 14 - i % 3, 3), dtype=np.uint8)
            pixels[..., channel_of[name]] += 120
            Image.fromarray(pixels).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    root = write_images(tmp_path_factory.mktemp("images"), COUNTS, {"red": 0, "blue": 2})
    (root / "red" / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    return root


def prefetching_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]


@pytest.fixture
def no_thread_is_left():
    """The threads that a test has started end by themselves once it has dropped its iterators."""
    before = set(prefetching_threads())
    yield
    for thread in set(prefetching_threads()) - before:
        thread.join(timeout=10)
        assert not thread.is_alive()
