"""Drawn faces in the layout of SMILES, for the quick modes: two eyes and a mouth that is bent up or down."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from examples.common import write_image

SIZE = 64
FOLDERS = {"not_smiling": "SMILEs/negatives/negatives7", "smiling": "SMILEs/positives/positives7"}


def draw_face(smiling: bool, rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """A face (size, size), uint8, on a grey ground."""

    def at(x: float, y: float) -> tuple[int, int]:
        return round(x * size), round(y * size)

    ground, skin, dark = rng.integers(90, 160), int(rng.integers(180, 240)), int(rng.integers(10, 70))
    face = np.full((size, size), ground, np.uint8)
    x, y = rng.uniform(0.46, 0.54), rng.uniform(0.46, 0.54)
    cv2.ellipse(face, at(x, y), at(0.42, 0.48), 0, 0, 360, skin, -1, cv2.LINE_AA)
    for side in (-1, 1):
        cv2.circle(face, at(x + side * 0.16, y - 0.12), round(0.05 * size), dark, -1, cv2.LINE_AA)
    depth = rng.uniform(0.08, 0.14)
    start, middle = (0, y + 0.18) if smiling else (180, y + 0.30)
    cv2.ellipse(face, at(x, middle), at(0.2, depth), 0, start, start + 180, dark, max(size // 32, 1), cv2.LINE_AA)
    noisy = face + rng.normal(0, 4, face.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def write_faces(folder: Path, counts: dict[str, int], seed: int | None = 42) -> None:
    """Write so many faces of each class below a folder, where the files of SMILES lie."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        for number in range(count):
            write_image(folder / FOLDERS[name] / f"{number:05d}.jpg", draw_face(name == "smiling", rng))
