"""The documents' worked examples, computed by tinyconv beside the numbers that are printed there.

Convolution with strides and borders, sizes of outputs, parameters and multiplications, pooling, activations, losses and
their slopes, contrastive losses, normalisation, learning rates, steps of optimizers, class weights and reports: small
enough to be followed with pencil and paper. The program ends with an error if anything differs in the digits shown.

Where a document has a wrong number or word, the right one stands here:

- a product of the first example is 2.89, 21.78 or 25.56, not 2.8, 21.7 or 25.5; a window starts at the top left, and
  its nine products, of which eight are printed once, are added: no matrices are multiplied;
- the sigmoid lies between 0 and 1, not -1 and 1; ELU tells negative numbers from others, it is no maximum;
- the slopes of both losses are positive for a prediction that is too large; the triplet loss adds its margin, and
  squares distances once; InfoNCE has an exponential and a temperature;
- batch normalisation adds 0.001 to the variance, not 1e-7, and learns a factor and an offset, which the equations omit;
- decay counts updates and not epochs, and a table of the text (0.01, 0.0099, 0.00971, ...) follows no rule at all;
- in the last epoch of the example of early stopping the training error rises, too;
- the one-hot vector of a digit has 10 entries, not 9;
- never to find a disease of one in a million is right in 99.9999 %, not 99.999; precision is not specificity, which is
  TN / (TN + FP), and recall counts the sick who were found.

    python -m examples.worked_examples
    python -m examples.worked_examples pooling losses
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tinyconv as tc
from examples import common
from tinyconv import layers, losses, ops
from tinyconv.geometry import conv_output_size

Rows = Iterator[tuple[str, Any, Any]]  # what, the document's number or numbers, tinyconv's

PIXELS = [
    [95, 242, 186, 152, 39], [39, 14, 220, 153, 180], [5, 247, 212, 54, 46], [46, 77, 133, 110, 74],
    [156, 35, 74, 93, 116],
]  # fmt: skip
LAPLACIAN = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]


def filtered(image: Any, kernel: Any, operation: Callable[..., Any] = ops.conv2d, **options: Any) -> list[list[float]]:
    """A grey image (H, W) through a kernel (KH, KW).

    >>> filtered(PIXELS, LAPLACIAN, strides=2)
    [[692.0, -6.0], [153.0, -86.0]]
    """
    x, w = (np.array(values, float) for values in (image, kernel))
    return operation(x[None, ..., None], w[..., None, None], **options).numpy()[0, ..., 0].tolist()


def convolution() -> Rows:
    """Cross-correlation, as in every convolution layer, and true convolution, which flips the kernel."""
    patch = [[93, 139, 101], [26, 252, 196], [135, 230, 18]]
    products = ops.multiply(np.array(patch, float), 1 / 9).numpy().round(3).tolist()
    yield "products of a mean of 3x3", [[10.333, 15.444, 11.222], [2.889, 28.0, 21.778], [15.0, 25.556, 2.0]], products
    yield "their sum: one pixel", 132.2222, filtered(patch, np.ones((3, 3)) / 9)[0][0]
    yield "Laplacian", [[692, -315, -6], [-680, -194, 305], [153, -59, -86]], filtered(PIXELS, LAPLACIAN)
    yield "Laplacian, stride 2", [[692, -6], [153, -86]], filtered(PIXELS, LAPLACIAN, strides=2)
    padded = filtered(PIXELS, LAPLACIAN, padding=1)
    yield "Laplacian, one row of zeros around: first row", [-99, -673, -130, -230, 176], padded[0]
    x = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
    k = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]
    yield "another image and kernel", [[12, 12, 17], [10, 17, 19], [9, 6, 14]], filtered(x, k)
    x, k = [[80, 0, 50], [70, 20, 10], [0, 40, 0]], [[0, 1], [0.5, -1]]
    yield "true convolution", [[-10, 45], [-60, 25]], filtered(x, k, ops.true_conv2d)
    yield "the same without flipping", [[15, 50], [-20, 30]], filtered(x, k)


def sizes() -> Rows:
    """(W - F + 2 P) / S + 1, which has to be a whole number."""
    for size, kernel, stride, padding, expected in (
        (227, 11, 4, 0, 55), (5, 3, 1, 1, 5), (5, 3, 2, 0, 2), (100, 5, 1, 2, 100), (13, 6, 5, "same", 3),
        (13, 6, 5, "valid", 2), (4, 2, 1, 0, 3), (4, 2, 2, 0, 2),
    ):  # fmt: skip
        found = conv_output_size(size, kernel, stride, padding)
        yield f"{size} pixels, window {kernel}, stride {stride}, padding {padding}", expected, found
    try:
        conv_output_size(224, 11, 4, strict=True)
    except ValueError as error:
        yield "224 pixels, window 11, stride 4 does not fit", 54.25, float(str(error).split()[-1])


def multiplications(layer: Any) -> int:
    """Of one image going through a convolution or dense layer, biases not counted."""
    positions = np.prod(layer.output_shape[1:-1], dtype=int)  # 1 for dense layers
    return int(positions * layer.kernel.size)


def parameters(layer: Any, *shape: int) -> int:
    """Of a layer on samples of a shape."""
    layer.build((None, *shape))
    return layer.count_params()


def costs() -> Rows:
    """Weights and multiplications of dense, locally connected and convolution layers, and of whole networks."""
    for side, expected in ((32, 3_072), (250, 187_500)):
        found = layers.Flatten().compute_output_shape((None, side, side, 3))[1]
        yield f"numbers in a picture of {side}x{side}, RGB", expected, found
    for channels, expected in ((3, 27), (94, 846)):
        neuron = layers.Conv2D(1, 3, use_bias=False)
        yield f"weights of a neuron that sees 3x3 of {channels} maps", expected, parameters(neuron, 16, 16, channels)
    dense = layers.Dense(1000, use_bias=False)
    yield "dense, 100x100 pixels to 1,000 neurons", 10_000_000, parameters(dense, 10_000)
    for channels, expected in ((1, 25_000), (3, 75_000)):  # 1,000 positions of a 5x5 window
        local = layers.LocallyConnected2D(1, 5, use_bias=False)
        yield f"locally connected 5x5, {channels} channels", expected, parameters(local, 54, 24, channels)
    yield "5x5 convolution, 10 maps, RGB", 760, parameters(layers.Conv2D(10, 5), 32, 32, 3)
    model = tc.Sequential([layers.Input((150, 100, 3)), layers.Conv2D(200, 5, padding="same", name="maps")])
    yield "5x5 convolution, 200 maps of 150x100, RGB", 15_200, model.count_params()
    yield "its multiplications", 225_000_000, multiplications(model.layers[-1])
    outputs = int(np.prod(model.output_shape[1:])) * 4
    yield "its outputs, bytes", 12_000_000, outputs
    yield "of a batch of 100", 1_200_000_000, 100 * outputs
    small = parameters(layers.Dense(15, use_bias=False), 45)  # a thousandth of the outputs and of the inputs
    yield "dense instead, one map only", 675_000_000, 1000 * 1000 * small
    separable = layers.SeparableConv2D(256, 3, use_bias=False)
    yield "separable 3x3 convolution, 256 to 256 maps", 67_840, parameters(separable, 32, 32, 256)
    ordinary = parameters(layers.Conv2D(256, 3, use_bias=False), 32, 32, 256)
    yield "ordinary one", 589_824, ordinary
    yield "two of those", 1_179_648, 2 * ordinary
    bottleneck = ((64, 1, 256), (64, 3, 64), (256, 1, 64))  # maps, kernel, maps before
    found = sum(parameters(layers.Conv2D(n, size, use_bias=False), 32, 32, c) for n, size, c in bottleneck)
    yield "bottleneck of 64, 64 and 256 maps", 69_632, found
    for number, size, expected in ((2, 3, 18), (1, 5, 25)):
        found = number * parameters(layers.Conv2D(1, size, use_bias=False), 32, 32, 1)
        yield f"weights of {number} {size}x{size} from map to map", expected, found
    yield "squeeze and excitation of 256 maps", 8_464, parameters(layers.SqueezeExcite(16), 32, 32, 256)
    nets = tc.applications
    for name, network, expected in (
        ("ShallowNet", nets.ShallowNet.build(32, 32, 3, 10), 1_212_416),
        ("LeNet", nets.LeNet.build(28, 28, 1, 10), 6_522_000),
        ("MiniVGGNet", nets.MiniVGGNet.build(32, 32, 3, 10, batch_norm=False), 26_579_968),
    ):
        found = sum(multiplications(layer) for layer in network.layers if hasattr(layer, "kernel"))
        yield f"multiplications of {name}", expected, found


def pooling() -> Rows:
    """Windows that keep one number."""
    block = np.array([[3.0, 1.0], [3.0, 2.0]])[None, ..., None]
    yield "max of {1, 5, 3, 2}", 5, ops.max_pool2d(np.array([[1.0, 5], [3, 2]])[None, ..., None], 2).item()
    yield "max of [3, 1, 3, 2]", 3, ops.max_pool2d(block, 2).item()
    yield "mean of [3, 1, 3, 2]", 2.25, ops.avg_pool2d(block, 2).item()
    dropped = 1 - ops.max_pool2d(np.zeros((1, 6, 6, 1)), 2).size / 36
    yield "share of numbers that 2x2 windows, stride 2, drop", 0.75, dropped
    places = []  # of a bright pixel in the row 0 0 1 0 0 0 and 1 and 2 pixels to the right
    for column in (2, 3, 4):
        row = np.zeros((1, 2, 6, 1))
        row[:, :, column] = 1
        places.append(int(ops.max_pool2d(row, 2).numpy().argmax()))
    yield "window of a pixel, moved by 0, 1 and 2", [1, 1, 2], places
    yield "over depth, three maps", 7, ops.depth_max_pool2d(np.array([1.0, 7, 3]).reshape(1, 1, 1, 3), 3).item()
    maps = np.arange(8.0).reshape(1, 2, 2, 2)  # 0, 2, 4, 6 and 1, 3, 5, 7
    yield "global mean, two maps", [3, 4], ops.global_avg_pool2d(maps).numpy()[0].tolist()


def activations() -> Rows:
    """Functions of one number, and softmax."""
    for name, z, expected in (
        ("heaviside", 0.0, 1), ("sigmoid", 1.0, 0.7310585786), ("elu", -2.0, -0.8646647168),
        ("elu", -1.0, -0.6321205588), ("softplus", -1.0, 0.3132616875),
    ):  # fmt: skip
        yield f"{name}({z:g})", expected, tc.activations.get(name)(np.array([z])).item()
    yield "sgn of -3, 0 and 2", [-1, 0, 1], ops.sign(np.array([-3.0, 0.0, 2.0])).tolist()
    z = np.array([-2.0, 0.5])
    yield "tanh is 2 sigmoid(2 z) - 1", ops.tanh(z).tolist(), (2 * ops.sigmoid(2 * z) - 1).tolist()
    yield "softmax of [2, 5]", [0.04742587, 0.95257413], ops.softmax(np.array([2.0, 5.0])).tolist()
    yield "softmax of [20, 21]", [0.26894142, 0.73105858], ops.softmax(np.array([20.0, 21.0])).tolist()


def slope(loss: Callable[[Any], Any], at: float) -> float:
    """Derivative of a loss by the prediction."""
    x = tc.Tensor(np.array([[at]]), requires_grad=True)
    return tc.grad(loss(x).sum(), x).item()


def loss_functions() -> Rows:
    """What a prediction of 0.9 costs where 0 is true, and how steeply; contrastive losses."""
    wrong = np.array([[0.9]])
    yield "binary cross-entropy", 2.302585, losses.binary_crossentropy([[0.0]], wrong).item()
    steep = slope(lambda p: losses.binary_crossentropy([[0.0]], p), 0.9)
    flat = slope(lambda p: losses.mean_squared_error([[0.0]], p), 0.9)
    yield "its slope", 10, steep
    yield "slope of the squared error", 1.8, flat
    yield "quotient", 5.56, round(steep / flat, 2)
    errors = losses.huber(np.zeros((3, 1)), [[0.5], [1.0], [3.0]])
    two = ops.softmax(np.array([[1.0, 0.0]]))
    for name in ("binary", "categorical"):
        found = getattr(losses, f"{name}_crossentropy")(np.array([[1.0, 0.0]]), two).item()
        yield f"{name} cross-entropy of two outputs, softmax of 1 and 0", 0.3132616875, found
    yield "Huber for errors 0.5, 1, 3", [0.125, 0.5, 2.5], errors.tolist()
    yield "pair, distance 0.25: alike, different", [0.0625, 0.5625], losses.contrastive([1, 0], [0.25, 0.25]).tolist()
    yield "triplet, 0.5 and 1, margin 0.2", 0, losses.triplet(None, [[0.5, 1.0]], margin=0.2).item()
    yield "triplet, margin 1", 0.25, losses.triplet(None, [[0.5, 1.0]], margin=1.0).item()
    yield "InfoNCE, scores 2, 0, 1", 0.40760596, losses.infonce([0], np.array([[2.0, 0.0, 1.0]])).item()
    for classes, expected in ((2, 0.6931), (3, 1.0986), (9, 2.1972), (10, 2.3026), (1000, 6.9078)):
        even = np.full((1, classes), 1 / classes)
        found = losses.sparse_categorical_crossentropy([0], even).item()
        yield f"before training, {classes} classes", expected, round(found, 4)


def normalisation() -> Rows:
    """Over a batch, and over neighbouring maps."""
    x = np.array([[1.0], [2.0], [3.0], [4.0]])
    norm = layers.BatchNormalization(dtype="float64")
    expected = [-1.34110445, -0.44703482, 0.44703482, 1.34110445]
    yield "batch of 1, 2, 3, 4", expected, norm(x, training=True).numpy()[:, 0].tolist()
    yield "moving mean and variance", [0.025, 1.0025], [norm.moving_mean.item(), norm.moving_variance.item()]
    local = layers.LocalResponseNormalization(1, bias=1.0, alpha=2e-5, beta=0.75, dtype="float64")
    expected = [59.460356, 73.483917, 71.242569, 104.338972]
    found = local(np.array([[100.0, 200.0, 300.0, 400.0]])).numpy()[0]
    yield "neighbouring maps 100, 200, 300, 400", expected, found.tolist()


def learning_rates() -> Rows:
    """Schedules, and the first steps of optimizers for the gradients 1, -2, 3."""
    decay = tc.schedules.InverseTimeDecay(0.01, 1, 0.01 / 40)
    for epoch, expected in ((1, 0.0083647010), (10, 0.0033840948), (40, 0.0011337868)):
        yield f"0.01 / (1 + 0.00025 t) after {epoch} epochs of 782 updates", expected, float(decay(782 * epoch))
    for factor, expected in ((0.25, [0.01, 0.0025, 1.5625e-4]), (0.5, [0.01, 0.005, 1.25e-3])):
        steps = tc.schedules.StepDecay(0.01, factor, drop_every=5)
        yield f"0.01, times {factor} every 5 epochs: epochs 3, 4, 14", expected, [steps(epoch) for epoch in (3, 4, 14)]
    for name, optimizer, expected in (
        ("momentum 0.9, rate 0.1", tc.optimizers.SGD(0.1, momentum=0.9), [-0.1, 0.01, -0.191]),
        ("Nesterov", tc.optimizers.SGD(0.1, momentum=0.9, nesterov=True), [-0.19, 0.109, -0.3719]),
        ("Adam", tc.optimizers.Adam(epsilon=1e-8), [-0.000999999684, -0.000633896209, -0.000977137260]),
    ):
        weight = tc.Tensor(np.zeros(1), requires_grad=True)
        found = []
        for gradient in (1.0, -2.0, 3.0):
            optimizer.apply_gradients([(tc.Tensor(np.array([gradient])), weight)])
            found.append(weight.item())
        yield name, expected, found


def early_stopping() -> Rows:
    """A validation error that falls for seven epochs and then rises: when training ends, by patience."""
    errors = [5.6394, 5.2216, 4.8337, 4.5, 4.1, 3.8324, 3.7215, 3.8337]  # the fourth and fifth are not printed
    for patience, expected in ((1, [8, 7]), (2, [0, 7])):
        model, stop = tc.Sequential([layers.Dense(1)]), tc.callbacks.EarlyStopping(patience=patience)
        stop.set_model(model)
        stop.on_train_begin()
        for epoch, error in enumerate(errors):
            stop.on_epoch_end(epoch, {"val_loss": error})
        ended = stop.stopped_epoch + 1 if model.stop_training else 0
        yield f"patience {patience}: epoch of the end (0: none), best epoch", expected, [ended, stop.best_epoch + 1]


def reports() -> Rows:
    """Accuracy and recall, weights of classes, labels, and the captcha's and the smile's reports from their counts."""
    yield "90 of 100 right", 0.9, tc.metrics.Accuracy()(np.repeat([1, 0], [90, 10]), np.ones(100))
    sick = np.arange(1_000_000) == 0
    never = np.zeros(1_000_000)
    yield "one of a million is sick, none is said to be: accuracy", 0.999999, tc.metrics.Accuracy()(sick, never)
    yield "its recall", 0, tc.metrics.Recall()(sick, never)
    weights = tc.datasets.class_weights(np.repeat([0, 1], [9475, 3690]))
    yield "9,475 and 3,690 faces: weights", [1.0, 2.5677506775], list(weights.values())
    yield "label 3 of ten", [0, 0, 0, 1, 0, 0, 0, 0, 0, 0], tc.datasets.to_categorical([3], 10)[0].tolist()
    true = np.repeat(np.arange(1, 10), [45, 55, 63, 52, 51, 70, 50, 54, 63])
    predicted = true.copy()
    predicted[np.flatnonzero(true == 4)[0]] = 5
    text = tc.metrics.classification_report(true, predicted)
    yield "captcha: line of the 4", "4 1.00 0.98 0.99 52", " ".join(text.splitlines()[5].split())
    yield "its last line", "avg / total 1.00 1.00 1.00 503", " ".join(text.split()[-7:])
    true = np.repeat([0, 0, 1, 1], [1825, 65, 106, 637])
    predicted = np.repeat([0, 1, 0, 1], [1825, 65, 106, 637])
    yield "smile: accuracy", 0.93505507, float((true == predicted).mean())
    text = tc.metrics.classification_report(true, predicted, target_names=["not_smiling", "smiling"])
    yield "its last line", "avg / total 0.93 0.94 0.93 2633", " ".join(text.split()[-7:])


SECTIONS: dict[str, Callable[[], Rows]] = {
    "convolution": convolution, "sizes": sizes, "costs": costs, "pooling": pooling, "activations": activations,
    "losses": loss_functions, "normalisation": normalisation, "learning_rates": learning_rates,
    "early_stopping": early_stopping, "reports": reports,
}  # fmt: skip


def agree(expected: Any, found: Any) -> bool:
    """Whether numbers are equal to 8 digits, and anything else is equal.

    >>> agree(0.25, 0.25 + 1e-12), agree([1, 2], [1, 2.1])
    (True, False)
    """
    if isinstance(expected, str):
        return bool(expected == found)
    return bool(np.allclose(found, expected, rtol=1e-6, atol=1e-9))


def rounded(values: Any) -> str:
    """Numbers as text, at most 9 digits each."""
    if isinstance(values, list):
        return f"[{', '.join(map(rounded, values))}]"
    return values if isinstance(values, str) else f"{values:,}" if isinstance(values, int) else f"{values:.9g}"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = common.parser(__doc__, "runs/worked_examples")
    parser.add_argument("section", nargs="*", help=f"which examples: {', '.join(SECTIONS)} (all)")
    args = parser.parse_args(arguments)
    unknown = [name for name in args.section if name not in SECTIONS]
    if unknown:
        parser.error(f"expected sections out of {', '.join(SECTIONS)}, received {', '.join(unknown)}")
    return args


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns how many examples were computed. Differences are an error in the end."""
    args = parse_arguments(arguments)
    common.make_folder(args.output)
    lines, wrong = [], 0
    count = 0
    for name in args.section or SECTIONS:
        section = SECTIONS[name]
        lines += ["", f"{name.replace('_', ' ')}: {section.__doc__}"]
        for what, expected, found in section():
            right = agree(expected, found)
            wrong, count = wrong + (not right), count + 1
            lines.append(f"  {what}: {rounded(found)}" + ("" if right else f"   DIFFERS from {rounded(expected)}"))
    report = "\n".join(lines[1:])
    print(report)
    common.write_text(args.output / "worked_examples.txt", report + "\n")
    print(f"[INFO] {count} examples, {wrong} of them differ from the documents' numbers")
    if wrong:
        raise SystemExit("[ERROR] expected equal numbers. Received those marked above")
    return count


if __name__ == "__main__":
    common.run(main)
