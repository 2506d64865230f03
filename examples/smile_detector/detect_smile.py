"""Find faces by OpenCV's Haar cascade and label each "Smiling" or "Not Smiling": camera, video or folder of images.

What is drawn is saved: OUTPUT/annotated.avi for a camera or a video (Motion JPEG), OUTPUT/NAME.png for images. No
window is needed; --show opens one, where q ends the program. Without --video and --images the camera is taken.

The cascade's boxes are wider than the faces that the network was trained on: those of SMILES begin at 0.10 of the
box's width and 0.20 of its height, and take 0.77 of it (medians over 365 training faces; see ``check_detector``). So
that part is cut out before it is resized, which the document does not do; --loose takes the whole box, as it does. It
also resizes by area in training and bilinearly here, and fails when the camera gives no picture, which here is the end.

    python -m examples.smile_detector.detect_smile -m runs/smile_detector/smile.tinyconv --video holiday.mp4
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

import tinyconv as tc
from examples import common
from examples.smile_detector.train_model import SIZE, to_input

WIDTH = 300  # of the frames in which faces are searched
RED = (0, 0, 255)
TIGHT = (0.10, 0.20, 0.77)  # of a cascade's box: where the face begins (x, y), and its size

Box = tuple[int, int, int, int]  # x, y, width, height
Detect = Callable[[np.ndarray], list[Box]]  # grey frame (H, W) -> faces
Frames = Iterator[tuple[str, np.ndarray]]  # name and frame (H, W, 3), BGR


class Face(NamedTuple):
    box: Box
    label: str
    smiling: float  # probability


def default_cascade() -> Path:
    """The frontal face cascade that comes with OpenCV."""
    return Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"


def haar_detector(path: Path) -> Detect:
    """Faces by a cascade of Haar features (P. Viola, M. Jones, CVPR 2001)."""
    if not hasattr(cv2, "CascadeClassifier"):
        raise ImportError('Detecting faces needs OpenCV 4, later ones dropped it: pip install "opencv-python<5"')
    if not path.is_file():
        raise FileNotFoundError(f"expected a cascade file. Received {path}, which does not exist")
    try:
        cascade = cv2.CascadeClassifier(str(path))
    except (cv2.error, SystemError):  # OpenCV's Python binding raises either
        cascade = cv2.CascadeClassifier()
    if cascade.empty():
        raise ValueError(f"expected a cascade file. Received {path}, which OpenCV cannot read")

    def detect(gray: np.ndarray) -> list[Box]:
        boxes = cascade.detectMultiScale(
            gray, scaleFactor=1.1, minNeighbors=5, minSize=(30, 30), flags=cv2.CASCADE_SCALE_IMAGE
        )
        return sorted(tuple(int(side) for side in box) for box in boxes)

    return detect


def tighten(box: Box) -> Box:
    """The part of a cascade's box that holds what a SMILES image holds."""
    x, y, width, height = box
    left, top, size = TIGHT
    return round(x + left * width), round(y + top * height), round(size * width), round(size * height)


def load_network(path: Path) -> tc.Model:
    """The model of a file, which must name the two classes."""
    model = common.load_network(path, "smile_detector.train_model")
    if set(model.class_names or ()) != {"not_smiling", "smiling"} or model.input_shape != (None, SIZE, SIZE, 1):
        raise ValueError(f"expected a model of train_model. Received: {path}, which is another")
    return model


def find_faces(frame: np.ndarray, detect: Detect, model: tc.Model, loose: bool = False) -> list[Face]:
    """The faces of a frame (H, W, 3), BGR, and whether they smile."""
    gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    boxes = detect(gray)
    if not boxes:
        return []
    parts = boxes if loose else [tighten(box) for box in boxes]
    inputs = to_input(gray[max(y, 0) : y + height, max(x, 0) : x + width] for x, y, width, height in parts)
    probabilities = model.predict(inputs, batch_size=len(inputs))
    not_smiling, smiling = (probabilities[:, model.class_names.index(name)] for name in ("not_smiling", "smiling"))
    labels = np.where(smiling > not_smiling, "Smiling", "Not Smiling")
    return [Face(box, str(label), float(p)) for box, label, p in zip(boxes, labels, smiling)]


def draw(frame: np.ndarray, faces: list[Face]) -> np.ndarray:
    """A copy of the frame with a red box and the label of each face."""
    picture = frame.copy()
    for (x, y, width, height), label, _ in faces:
        cv2.putText(picture, label, (x, max(y - 10, 12)), cv2.FONT_HERSHEY_SIMPLEX, 0.45, RED, 2)
        cv2.rectangle(picture, (x, y), (x + width, y + height), RED, 2)
    return picture


def video_frames(capture: cv2.VideoCapture) -> Frames:
    """Frames of a camera or a video until there are no more."""
    number = 0
    while True:
        read, frame = capture.read()
        if not read or frame is None:
            return
        yield f"frame {number}", frame
        number += 1


def image_frames(folder: Path) -> Frames:
    """The images of a folder, by sorted path; what is no image is named and left out."""
    for path in sorted(tc.preprocessing.list_images(folder)):
        try:
            frame = common.read_picture(path)
        except (ValueError, OSError) as error:
            print(f"[INFO] skipping image... {error}")
        else:
            yield os.path.relpath(path, folder), frame


def open_capture(video: Path | None, camera: int) -> cv2.VideoCapture:
    """A video file or a camera, ready to be read."""
    if video and not video.is_file():
        raise FileNotFoundError(f"expected a video file. Received: {video}, which is none")
    capture = cv2.VideoCapture(str(video) if video else camera)
    if not capture.isOpened():
        raise ValueError(
            f"expected a video file. Received {video}, which OpenCV cannot read"
            if video
            else f"expected camera {camera}. Received no answer from it; use --video FILE or --images FOLDER"
        )
    return capture


class ImageWriter:
    """Writes each picture as OUTPUT/NAME.png, where NAME keeps another ending: of photo.jpg, photo.jpg.png."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, picture: np.ndarray) -> None:
        common.write_image(self.folder / (name if name.endswith(".png") else f"{name}.png"), picture)

    def close(self) -> str:
        return str(self.folder)


class VideoWriter:
    """Writes the pictures as the frames of a video file, which has its name when it is complete."""

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.part, self.rate = path, path.with_suffix(".part.avi"), rate
        self.writer: cv2.VideoWriter | None = None

    def write(self, name: str, picture: np.ndarray) -> None:
        if self.writer is None:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            size = picture.shape[1::-1]
            self.writer = cv2.VideoWriter(str(self.part), cv2.VideoWriter_fourcc(*"MJPG"), self.rate, size)
            if not self.writer.isOpened():
                raise ValueError(f"expected to write {self.path} as Motion JPEG. Received an OpenCV that cannot")
        self.writer.write(picture)

    def close(self) -> str:
        if self.writer is None:
            return "nothing written, there were no frames"
        self.writer.release()
        os.replace(self.part, self.path)
        return str(self.path)


def show(picture: np.ndarray, milliseconds: int) -> bool:
    """Show a picture; whether to go on."""
    cv2.imshow("Face", picture)
    return cv2.waitKey(milliseconds) & 0xFF != ord("q")


def run(
    frames: Frames, detect: Detect, model: tc.Model, writer: ImageWriter | VideoWriter, args: argparse.Namespace
) -> list[tuple[str, list[Face]]]:
    """Find, label, draw and write; returns the faces of every frame. Ctrl-C ends it as the last frame does."""
    found: list[tuple[str, list[Face]]] = []
    start = time.perf_counter()
    try:
        for name, frame in frames:
            frame = tc.preprocessing.resize(frame, width=WIDTH)
            faces = find_faces(frame, detect, model, args.loose)
            found.append((name, faces))
            said = ", ".join(f"{face.label} ({face.smiling:.2f})" for face in faces)
            print(f"[INFO] {name}: {said or 'no face'}")
            picture = draw(frame, faces)
            writer.write(name, picture)
            if args.show and not show(picture, 0 if args.images else 1):
                break
            if len(found) == args.frames:
                break
    except KeyboardInterrupt:
        print("[INFO] interrupted")
    finally:
        written = writer.close()
    seconds = time.perf_counter() - start
    count, rate = sum(len(faces) for _, faces in found), len(found) / max(seconds, 1e-9)
    print(f"[INFO] {len(found)} frames, {count} faces, {rate:.1f} frames per second")
    print(f"[INFO] annotated: {written}")
    return found


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--cascade", type=Path, help="cascade file (OpenCV's frontal face)")
    parser.add_argument("-m", "--model", type=Path, required=True, help="model file of train_model")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("-v", "--video", type=Path, help="video file")
    source.add_argument("-i", "--images", type=Path, help="folder of images")
    source.add_argument("--camera", type=common.whole, default=0, help="number of the camera (0)")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/smile_detector/found"), help="what is drawn")
    parser.add_argument("--frames", type=common.positive, help="stop after so many")
    parser.add_argument("--loose", action="store_true", help="take the cascade's whole box for the face")
    parser.add_argument("--quick", action="store_true", help="stop after 5 frames")
    parser.add_argument("--show", action=common.ShowByOpenCV, help="open a window; q ends it")
    args = parser.parse_args(arguments)
    if args.images and args.images.resolve() == args.output.resolve():
        parser.error(f"--output expected another folder than --images. Received: {args.output}")
    args.frames = 5 if args.quick else args.frames
    return args


def main(arguments: list[str] | None = None, detect: Detect | None = None) -> list[tuple[str, list[Face]]]:
    """Run the program, with the cascade or another detector; returns name and faces of every frame."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    capture = None
    try:
        with common.user_input():
            detect = detect or haar_detector(args.cascade or default_cascade())
            model = load_network(args.model)
            if args.images:
                frames = image_frames(args.images)
                writer: ImageWriter | VideoWriter = ImageWriter(args.output)
            else:
                capture = open_capture(args.video, args.camera)
                frames = video_frames(capture)
                writer = VideoWriter(args.output / "annotated.avi", capture.get(cv2.CAP_PROP_FPS) or 25.0)
            found = run(frames, detect, model, writer, args)
    finally:
        if capture:
            capture.release()
        if args.show:
            cv2.destroyAllWindows()
    if not found:
        raise SystemExit("[ERROR] expected frames. Received none")
    return found


if __name__ == "__main__":
    common.run(main)
