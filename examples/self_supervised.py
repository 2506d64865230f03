"""Learning from pictures without labels, on a small scale: pairs, triplets, SimCLR, BYOL and inpainting.

An encoder is trained without labels in one of five ways; then a linear classifier is trained on its features of 1,000
labelled digits, and beside it one on the features of the encoder as it was before (random weights). The difference is
what was learned without labels. The documents describe the methods and give no program and no figure.

pair      two random views of one picture must lie close together, views of two pictures at least a margin apart
triplet   a view of the same picture must be nearer than a view of another one, by a margin
simclr    the other view of a picture must score highest among the views of the whole batch (InfoNCE)
byol      a student predicts what a teacher sees in the other view; the teacher is the moving average of the student,
          and there are no negatives
inpaint   a square is cut out of each picture and must be reconstructed; with --augmented from a picture of changed
          brightness and contrast

Where the text is wrong, the right form is used: the triplet loss adds its margin and squares distances once, InfoNCE
has its exponential and its temperature, and the heads of SimCLR and BYOL have a hidden layer. The networks are small
(the text names ResNet-50); pictures are digits of MNIST, by default 20,000.

    python -m examples.self_supervised simclr --output runs/self_supervised
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common
from tinyconv.layers import (
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Flatten,
    Input,
    MaxPooling2D,
    RandomBrightness,
    RandomContrast,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
    Reshape,
    UnitNormalization,
)

SHAPE = (28, 28, 1)
HOLE = 12  # side of the square to reconstruct, in pixels
LABELLED = 1_000


# --- networks --------------------------------------------------------------------------------------------------


def build_encoder() -> tc.Sequential:
    """Pictures (N, 28, 28, 1) to features (N, 128)."""
    return tc.Sequential([
        Input(SHAPE),
        Conv2D(16, 3, padding="same", activation="relu"), MaxPooling2D(2),
        Conv2D(32, 3, padding="same", activation="relu"), MaxPooling2D(2),
        Flatten(), Dense(128, activation="relu"),
    ])  # fmt: skip


def build_head(inputs: int = 128, outputs: int = 32) -> tc.Sequential:
    """Features to embeddings of length 1; normalisation keeps BYOL from giving all pictures the same embedding."""
    normalisation = BatchNormalization(momentum=0.9, center=False, scale=False)  # nothing in it is trained
    hidden = Dense(128, activation="relu")
    return tc.Sequential([Input((inputs,)), hidden, normalisation, Dense(outputs), UnitNormalization()])


def build_augmentation() -> tc.Sequential:
    """Random views of digits: no flips, for mirrored digits are none."""
    edge: dict[str, Any] = {"fill_mode": "constant"}
    return tc.Sequential([
        Input(SHAPE), RandomTranslation(0.1, 0.1, **edge), RandomRotation(0.05, **edge), RandomZoom(0.2, **edge),
        RandomContrast(0.5, value_range=(0, 1)),
    ])  # fmt: skip


# --- losses of two views ---------------------------------------------------------------------------------------


def pair_loss(z: tc.Tensor, margin: float = 1.0) -> tc.Tensor:
    """Contrastive loss of each picture's two views, and of its first view and the next picture's second one.

    Parameters
    ----------
    z : Tensor, shape (N, 2, E)
        Embeddings of the two views of N pictures, N > 1.
    """
    others = tc.ops.stack([z[:, 0], tc.ops.roll(z[:, 1], 1, 0)], 1)
    together = np.repeat(np.array([1, 0], np.float32), len(z))
    return tc.losses.ContrastiveLoss(margin)(together, tc.ops.concatenate([z, others]))


def triplet_loss(z: tc.Tensor, margin: float = 0.5) -> tc.Tensor:
    """Triplet loss of each picture's two views and the next picture's second one: (N, 2, E) -> ()."""
    return tc.losses.TripletLoss(margin)(None, tc.ops.stack([z[:, 0], z[:, 1], tc.ops.roll(z[:, 1], 1, 0)], 1))


def simclr_loss(z: tc.Tensor, temperature: float = 0.2) -> tc.Tensor:
    """InfoNCE in which every view seeks its picture's other view among all others of the batch: (N, 2, E) -> ()."""
    n = len(z)
    views = tc.ops.concatenate([z[:, 0], z[:, 1]])  # (2N, E)
    scores = views @ views.T - 1e9 * np.eye(2 * n, dtype=np.float32)  # no view seeks itself
    return tc.losses.InfoNCE(temperature)(np.roll(np.arange(2 * n), n), scores)


class TwoViews(tc.Model):
    """Embeds two random views of each picture, (N, 28, 28, 1) -> (N, 2, E), and is trained by a loss of them."""

    def __init__(self, loss_of_views: Callable[[tc.Tensor], tc.Tensor]) -> None:
        super().__init__()
        self.augment, self.encoder, self.head = build_augmentation(), build_encoder(), build_head()
        self.loss_of_views = loss_of_views

    def call(self, x: Any, training: bool = False) -> tc.Tensor:
        views = [self.augment(x, training=True) for _ in range(2)]
        return tc.ops.stack([self.head(self.encoder(view), training=training) for view in views], 1)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> tc.Tensor:
        return self.loss_of_views(y_pred)


class TeacherStudent(tc.Model):
    """BYOL: the student predicts the teacher's embedding of the other view; the teacher follows the student slowly.

    Parameters
    ----------
    momentum : float
        Share a of its own weights that the teacher keeps: t <- a t + (1 - a) s after every update of the student.

    Source: J.-B. Grill et al., "Bootstrap your own latent", arXiv 2006.07733.
    """

    def __init__(self, momentum: float = 0.99) -> None:
        super().__init__()
        self.momentum, self.augment, self.encoder = momentum, build_augmentation(), build_encoder()
        self.student = tc.Sequential([Input(SHAPE), self.encoder, build_head()])
        teacher_head = build_head()
        self.teacher = tc.Sequential([Input(SHAPE), build_encoder(), teacher_head])
        self.predictor = build_head(32)
        self.teacher.set_weights(self.student.get_weights())
        for layer in (self.teacher, *teacher_head.layers):
            layer.trainable = isinstance(layer, BatchNormalization)  # it normalises batches as the student's does

    def call(self, x: Any, training: bool = False) -> tc.Tensor:
        views = [self.augment(x, training=True) for _ in range(2)]
        students = [self.student(view, training=training) for view in views]
        predicted = [self.predictor(student, training=training) for student in students]
        targets = [tc.stop_gradient(self.teacher(view, training=training)) for view in views]
        return tc.ops.stack([*predicted, *targets], 1)  # (N, 4, E)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> tc.Tensor:
        """Squared distance of unit vectors, 2 - 2 cos, from each view to the other; no pictures are compared."""
        cosines = tc.ops.sum(y_pred[:, 0] * y_pred[:, 3] + y_pred[:, 1] * y_pred[:, 2], -1)
        return tc.ops.mean(4.0 - 2.0 * cosines)

    def train_step(self, data: Any) -> dict[str, float]:
        results = super().train_step(data)
        a = self.momentum
        for teacher, student in zip(self.teacher.weights, self.student.weights, strict=True):
            if student.requires_grad:  # not the normalisation's statistics
                teacher.assign(a * teacher.numpy() + (1 - a) * student.numpy())
        return results


def build_inpainter(encoder: tc.Sequential, augmented: bool) -> tc.Model:
    """Pictures with a hole to whole pictures; with ``augmented`` their contrast and brightness change in training."""
    picture = Input(SHAPE)
    x = picture
    if augmented:
        x = RandomContrast(0.5, value_range=(0, 1))(x)
        x = RandomBrightness(0.2, value_range=(0, 1))(x)
    x = encoder(x)
    x = Reshape((7, 7, 32))(Dense(7 * 7 * 32, activation="relu")(x))
    x = Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(x)
    return tc.Model(picture, Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid")(x))


# --- data and what was learned ---------------------------------------------------------------------------------


def load_digits(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Digits (N, 28, 28, 1) in 0..1 and labels; of the training digits as many whole batches as are asked for."""
    (x, y), (x_test, y_test) = tc.datasets.mnist.load_data(args.data)
    order = np.random.default_rng(args.seed).permutation(len(x))[: args.pictures]
    order = order[: max(1, len(order) // args.batch_size) * args.batch_size]
    return common.as_floats(x[order])[..., None], y[order], common.as_floats(x_test)[..., None], y_test


def cut_holes(pictures: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with a black square somewhere, (N, 28, 28, 1), and where it is: 1 in it, else 0, (N, 28, 28)."""
    holes = np.zeros(pictures.shape[:3], np.float32)
    corners = random.integers(0, pictures.shape[1] - HOLE + 1, (len(pictures), 2))
    for hole, (row, column) in zip(holes, corners):
        hole[row : row + HOLE, column : column + HOLE] = 1
    return pictures * (1 - holes[..., None]), holes


def error_in_holes(restored: Any, pictures: np.ndarray, holes: np.ndarray) -> float:
    """Mean squared error of the pixels in the holes."""
    return float(((restored - pictures)[..., 0] ** 2)[holes > 0].mean(dtype=np.float64))


def nearer_to_its_own(model: TwoViews, pictures: np.ndarray) -> float:
    """How often a view's score with its picture's other view is above that with another picture's view."""
    views = [np.asarray(model.augment(pictures, training=True)) for _ in range(2)]
    first, second = (tc.Sequential([model.encoder, model.head]).predict(view, verbose=0) for view in views)
    own, other = (first * second).sum(axis=1), (first * np.roll(second, 1, axis=0)).sum(axis=1)
    return float((own > other).mean())


def linear_probe(encoder: tc.Model, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
    """Accuracy on test pictures of a linear classifier that was trained on the encoder's features of (x, y)."""
    features, test_features = (encoder.predict(part, verbose=0) for part in (x, x_test))
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-3
    probe = tc.Sequential([Input(features.shape[1:]), Dense(10, activation="softmax", kernel_regularizer="l2")])
    probe.compile(tc.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    probe.fit((features - mean) / deviation, y, batch_size=50, epochs=30, verbose=0)
    predictions = probe.predict((test_features - mean) / deviation, verbose=0).argmax(axis=1)
    return float((predictions == y_test).mean())


# --- the program -----------------------------------------------------------------------------------------------


def pretrain_by_views(args: argparse.Namespace, x: np.ndarray, x_test: np.ndarray, model: Any) -> Any:
    """Pair, triplet, SimCLR and BYOL."""
    compared = args.method != "byol"  # its loss says nothing of other pictures
    if compared:
        print(f"[INFO] nearer to the same picture's view, before: {nearer_to_its_own(model, x_test[:1000]):.4f}")
    model.compile(tc.optimizers.Adam(args.learning_rate), jit_compile=True)
    history = model.fit(x, batch_size=args.batch_size, epochs=args.epochs)
    if compared:
        print(f"[INFO] nearer to the same picture's view, after: {nearer_to_its_own(model, x_test[:1000]):.4f}")
    return history


def pretrain_by_inpainting(args: argparse.Namespace, x: np.ndarray, x_test: np.ndarray, encoder: tc.Sequential) -> Any:
    """Only errors in the holes count, as sample weights of single pixels."""
    random = np.random.default_rng(args.seed)
    (cut, holes), (cut_test, test_holes) = cut_holes(x, random), cut_holes(x_test, random)
    model = build_inpainter(encoder, args.augmented)
    model.compile(tc.optimizers.Adam(args.learning_rate), loss="mse")
    history = model.fit(cut, x, args.batch_size, args.epochs, sample_weight=holes)
    restored = model.predict(cut_test, verbose=0)
    mean = x[..., 0][holes > 0].mean(dtype=np.float64)
    print(f"[INFO] squared error in the holes of {len(x_test)} test pictures, filled with the mean colour "
          f"{mean:.3f}: {error_in_holes(np.full_like(x_test, mean), x_test, test_holes):.4f}")  # fmt: skip
    print(f"[INFO] restored: {error_in_holes(restored, x_test, test_holes):.4f}")
    filled = np.where(test_holes[..., None] > 0, restored, cut_test)
    shown = np.concatenate([part[:8] for part in (cut_test, filled, x_test)])
    tc.viz.plot_images(shown, columns=8, path=args.output / "self_supervised_inpainted.png")
    return history


LOSSES = {"pair": pair_loss, "triplet": triplet_loss, "simclr": simclr_loss}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/self_supervised")
    parser.add_argument("method", choices=[*LOSSES, "byol", "inpaint"], help="how to learn without labels")
    common.add_training_arguments(parser, epochs=10, batch_size=200, learning_rate=0.001)
    parser.add_argument("-n", "--pictures", type=common.positive, default=20_000, help="to learn from (20000)")
    common.add_mnist_argument(parser)
    parser.add_argument("--augmented", action="store_true", help="inpaint: from changed brightness and contrast")
    args = parser.parse_args(arguments)
    if args.quick:
        args.data, args.epochs, args.pictures, args.batch_size = "subset", 2, 600, 50
    if args.batch_size < 2:
        parser.error("argument -b/--batch-size: expected at least 2, for pictures are compared with others")
    return args


def main(arguments: list[str] | None = None) -> tuple[float, float]:
    """Run the program; returns the linear classifier's accuracy on features before and after."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    tc.set_seed(args.seed)
    with common.user_input():
        x, y, x_test, y_test = load_digits(args)
    print(f"[INFO] {args.method}: {len(x)} pictures without labels, {len(x_test)} to test")
    by_views = None
    if args.method != "inpaint":
        by_views = TeacherStudent() if args.method == "byol" else TwoViews(LOSSES[args.method])
    encoder = build_encoder() if by_views is None else by_views.encoder
    labelled = x[:LABELLED], y[:LABELLED], x_test, y_test
    before = linear_probe(encoder, *labelled)

    start = time.perf_counter()
    if by_views is None:
        history = pretrain_by_inpainting(args, x, x_test, encoder)
    else:
        history = pretrain_by_views(args, x, x_test, by_views)
    losses = history.history["loss"]
    seconds = time.perf_counter() - start
    print(f"[INFO] {args.epochs} epochs in {seconds:.1f} s, loss {losses[0]:.4f} -> {losses[-1]:.4f}")
    after = linear_probe(encoder, *labelled)
    report = f"linear classifier on features of {len(labelled[0])} labelled digits: "
    report += f"{before:.4f} with random weights, {after:.4f} after training"
    print(report)
    encoder.save(args.output / f"self_supervised_{args.method}.tinyconv")
    print(f"[INFO] encoder: {args.output / 'self_supervised_'}{args.method}.tinyconv")
    title = f"Learning without labels: {args.method}"
    common.write_results(args.output / f"self_supervised_{args.method}.png", history, report, title, args.show)
    return before, after


if __name__ == "__main__":
    common.run(main)
