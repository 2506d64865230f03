"""What is imported when, and what is said where OpenCV is missing."""

import subprocess
import sys


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_nothing_heavy_is_imported_before_it_is_used():
    code = "import sys, tinyconv.preprocessing; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in python(code).split()}
    assert not loaded & {"cv2", "scipy", "PIL", "matplotlib", "numba", "sklearn"}


def test_without_opencv():
    """Files and warps say what to install; flips, brightness and statistics do not need it."""
    code = """
import sys; sys.modules["cv2"] = None
import numpy as np
from tinyconv.preprocessing import ImageDataGenerator, SimplePreprocessor, load_img, sort_contours
x = np.ones((4, 5, 5, 1))
plain = ImageDataGenerator(featurewise_center=True, horizontal_flip=True, brightness_range=(1, 2))
plain.fit(x)
next(iter(plain.flow(x)))
needs = [
    lambda: load_img(__import__("io").BytesIO(b"x")), lambda: SimplePreprocessor(3, 3).preprocess(x[0]),
    lambda: ImageDataGenerator(rotation_range=9).random_transform(x[0]), lambda: sort_contours([x]),
]
for need in needs:
    try:
        need()
    except ImportError as error:
        print("pip install opencv-python" in str(error))
"""
    assert python(code).split() == ["True"] * 4
