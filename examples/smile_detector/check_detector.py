"""The whole way of a frame, on real faces: the test faces of SMILES, which the network was not trained on.

Each face is enlarged to 128x128 and put into a frame of 300x240 whose ground repeats its border, as the cascade needs
some surroundings. The frame then goes the way of ``detect_smile``: cascade, cut, network. Reported are the share of
faces that are found, and the accuracy of the labels on them: cut as SMILES is, and with the cascade's whole box. The
first frames are drawn with what was found; all of them are written as a video, on which to try ``detect_smile``.

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
    VideoWriter,
    default_cascade,
    draw,
    find_faces,
    haar_detector,
    load_network,
)
from examples.smile_detector.faces import draw_face

FRAME = (240, 300)  # height, width
FACE = 128
DRAWN = 12  # frames


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


def load_faces(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Faces (N, 64, 64) of uint8, and 1 for those that smile or 0, (N,)."""
    rng = np.random.default_rng(args.seed)
    if args.quick:
        smiling = np.arange(20) % 2
        return np.stack([draw_face(bool(truth), rng) for truth in smiling]), smiling
    _, (faces, smiling) = tc.datasets.smiles.load_data()
    chosen = rng.permutation(len(faces))[: args.number]
    return faces[chosen], smiling[chosen]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/smile_detector")
    parser.add_argument("-m", "--model", type=Path, required=True, help="model file of train_model")
    parser.add_argument("-n", "--number", type=common.positive, default=500, help="faces to check (500)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None, detect: Detect | None = None) -> tuple[int, int]:
    """Run the program, with the cascade or another detector; returns the numbers of faces found and labelled right."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    with common.user_input():
        model = load_network(args.model)
        detect = detect or haar_detector(default_cascade())
        faces, smiling = load_faces(args)

    print(f"[INFO] {len(faces)} faces, {int(smiling.sum())} of them smiling")
    found, right = check(faces, smiling, detect, model, loose=False)
    _, right_loose = check(faces, smiling, detect, model, loose=True)
    lines = [f"found: {found} of {len(faces)} ({found / len(faces):.3f})"]
    for how, count in ("cut as SMILES is", right), ("the cascade's whole box", right_loose):
        lines.append(f"labelled right, {how}: {count} of {found} ({count / max(found, 1):.3f})")
    print("\n".join(lines))
    common.write_text(args.output / "check_detector.txt", "\n".join(lines) + "\n")

    video = VideoWriter(args.output / "faces.avi", rate=10)
    for number, face in enumerate(faces):
        video.write(f"frame {number}", frame_of(face))
    print(f"[INFO] video of the frames: {video.close()}")
    frames = [frame_of(face) for face in faces[:DRAWN]]
    drawn = np.stack([draw(frame, find_faces(frame, detect, model)) for frame in frames])
    picture = args.output / "check_detector.png"
    figure = tc.viz.plot_images(drawn[..., ::-1], path=picture)
    print(f"[INFO] picture: {picture}")
    if args.show:
        tc.viz.show(figure)
    return found, right


if __name__ == "__main__":
    common.run(main)
