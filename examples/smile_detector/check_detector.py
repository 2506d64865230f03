"""The whole way of a frame, on real faces: the test faces of SMILES, which the network was not trained on.

Each face is enlarged to 128x128 and put into a frame of 300x240 whose ground repeats its border, as the cascade needs
some surroundings. The frame then goes the way of ``detect_smile``: cascade, cut, network. Reported are the share of
faces that are found, and the accuracy of the labels on them: cut as SMILES is, and with the cascade's whole box.

    python -m examples.smile_detector.check_detector -m runs/smile_detector/smile.tinyconv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

import tinyconv as tc
from examples import common
from examples.smile_detector.detect_smile import (
    Detect,
    Face,
    default_cascade,
    draw,
    find_faces,
    haar_detector,
    load_network,
)
from examples.smile_detector.faces import draw_face

FRAME = (240, 300)  # height, width
FACE = 128


def frame_of(face: np.ndarray) -> np.ndarray:
    """A frame (240, 300, 3), BGR, with a grey face in its middle."""
    face = cv2.resize(face, (FACE, FACE), interpolation=cv2.INTER_CUBIC)
    top, left = (FRAME[0] - FACE) // 2, (FRAME[1] - FACE) // 2
    gray = cv2.copyMakeBorder(
        face, top, FRAME[0] - FACE - top, left, FRAME[1] - FACE - left, cv2.BORDER_REPLICATE
    )
    return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)


def largest(faces: list[Face]) -> Face | None:
    """The face with the widest box."""
    return max(faces, key=lambda face: face.box[2], default=None)


def check(faces: np.ndarray, smiling: np.ndarray, detect: Detect, model: tc.Model, loose: bool) -> tuple[int, int]:
    """How many of the faces (N, H, W) are found, and how many of those are labelled as `smiling` (N,) says."""
    found = right = 0
    for face, truth in zip(faces, smiling):
        answer = largest(find_faces(frame_of(face), detect, model, loose))
        found += answer is not None
        right += answer is not None and (answer.label == "Smiling") == bool(truth)
    return found, right


def main(arguments: list[str] | None = None, detect: Detect | None = None) -> tuple[int, int]:
    """Run the program, with the cascade or another detector; returns the numbers of faces found and labelled right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", type=Path, required=True, help="model file of train_model")
    parser.add_argument("-n", "--number", type=common.positive, default=500, help="faces to check (500)")
    parser.add_argument("--seed", type=common.whole, default=42, help="of the choice of faces (42)")
    parser.add_argument("--quick", action="store_true", help="20 drawn faces")
    parser.add_argument("--show", action="store_true", help="open a window with the last frame")
    args = parser.parse_args(arguments)
    if args.show and not common.can_show():
        parser.error("--show expected a display. Received none")
    rng = np.random.default_rng(args.seed)
    with common.user_input():
        model = load_network(args.model)
        detect = detect or haar_detector(default_cascade())
        if args.quick:
            smiling = np.arange(20) % 2
            faces = np.stack([draw_face(bool(truth), rng) for truth in smiling])
        else:
            _, (faces, smiling) = tc.datasets.smiles.load_data()
            chosen = rng.permutation(len(faces))[: args.number]
            faces, smiling = faces[chosen], smiling[chosen]

    print(f"[INFO] {len(faces)} faces, {int(smiling.sum())} of them smiling")
    found, right = check(faces, smiling, detect, model, loose=False)
    _, right_loose = check(faces, smiling, detect, model, loose=True)
    print(f"[INFO] found: {found} ({found / len(faces):.3f})")
    for how, count in ("cut as SMILES is", right), ("the cascade's whole box", right_loose):
        print(f"[INFO] labelled right, {how}: {count} of {found} ({count / max(found, 1):.3f})")
    if args.show:
        frame = frame_of(faces[-1])
        cv2.imshow("Face", draw(frame, find_faces(frame, detect, model)))
        cv2.waitKey(0)
        cv2.destroyAllWindows()
    return found, right


if __name__ == "__main__":
    common.run(main)
