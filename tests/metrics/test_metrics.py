"""Streaming metrics against scikit-learn, over batches of uneven size, with and without weights."""

import inspect
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

import tinyconv as tc
from tinyconv import losses, metrics
from tinyconv.registry import serialize

PRIVATE = (metrics.Metric, metrics.MeanMetricWrapper, metrics.Mean, metrics.Sum)
CLASSES = {
    name: cls for name, cls in vars(metrics).items()
    if inspect.isclass(cls) and issubclass(cls, metrics.Metric) and not name.startswith("_") and cls not in PRIVATE
}  # fmt: skip


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def stream(metric, y, p, w=None, cuts=(1, 4, 20)):
    """The result after feeding batches of uneven size, and after the same again from a reset."""
    results = []
    for _ in range(2):
        metric.reset_state()
        for i in range(len(cuts) + 1):
            part = slice((0, *cuts)[i], (*cuts, len(y))[i])
            metric.update_state(y[part], p[part], sample_weight=None if w is None else w[part])
        results.append(metric.result())
    np.testing.assert_array_equal(*results)
    return results[0]


def data(seed=0, n=57, classes=4, kind="classes"):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    p = softmax(2 * np.eye(classes)[labels] + rng.normal(size=(n, classes)))
    w = rng.uniform(0.1, 3.0, n)
    if kind == "binary":
        p = np.round(np.clip(0.35 * labels.clip(0, 1) + rng.uniform(0, 0.65, n), 0, 1), 2)  # rounded: scores repeat
        labels = labels.clip(0, 1)
    if kind == "real":
        return rng.normal(5, 2, (n, classes)), rng.normal(5, 2, (n, classes)), w
    return labels, p, w


weighted = pytest.mark.parametrize("weighted", [False, True])


# --- accuracy --------------------------------------------------------------------------------------------------


@weighted
def test_accuracies(weighted):
    y, p, w = data()
    w = w if weighted else None
    one_hot, guess = np.eye(4)[y], p.argmax(1)
    expected = pytest.approx(sk.accuracy_score(y, guess, sample_weight=w), abs=1e-12)
    assert stream(metrics.SparseCategoricalAccuracy(), y, p, w) == expected
    assert stream(metrics.SparseCategoricalAccuracy(), y[:, None].astype("float32"), p, w) == expected
    assert stream(metrics.CategoricalAccuracy(), one_hot, p, w) == expected
    assert stream(metrics.Accuracy(), y, guess, w) == expected
    for k in (1, 2, 3):
        top = pytest.approx(sk.top_k_accuracy_score(y, p, k=k, sample_weight=w, labels=range(4)), abs=1e-12)
        assert stream(metrics.SparseTopKCategoricalAccuracy(k), y, p, w) == top
        assert stream(metrics.TopKCategoricalAccuracy(k), one_hot, p, w) == top


@weighted
@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_binary_accuracy(weighted, threshold):
    y, p, w = data(kind="binary")
    w = w if weighted else None
    expected = pytest.approx(sk.accuracy_score(y, p > threshold, sample_weight=w), abs=1e-12)
    assert stream(metrics.BinaryAccuracy(threshold=threshold), y, p, w) == expected
    assert stream(metrics.BinaryAccuracy(threshold=threshold), y[:, None], p[:, None], w) == expected


def test_binary_accuracy_is_element_wise_and_equals_the_categorical_for_two_units():
    y, p, _ = data(classes=2)
    one_hot = np.eye(2)[y]
    assert stream(metrics.BinaryAccuracy(), one_hot, p) == stream(metrics.CategoricalAccuracy(), one_hot, p)
    assert metrics.BinaryAccuracy()([[1, 0]], [[0.9, 0.9]]) == 0.5


def test_dense_predictions_are_averaged_over_their_pixels():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 3, (4, 5, 5)), rng.normal(size=(4, 5, 5, 3))
    assert metrics.SparseCategoricalAccuracy()(y, p) == pytest.approx((y == p.argmax(-1)).mean())
    weights = np.array([0, 1, 0, 3.0])
    right = (y == p.argmax(-1)).mean((1, 2))
    assert metrics.SparseCategoricalAccuracy()(y, p, weights) == pytest.approx((right * weights).sum() / 4)


def test_nan_is_never_among_the_top():
    assert metrics.SparseTopKCategoricalAccuracy(2)([0], [[np.nan, 1.0, 2.0]]) == 0.0


def test_sums_are_exact_over_an_epoch():
    mean = metrics.Mean()
    for _ in range(20_000):
        mean.update_state(np.float32(0.1), sample_weight=7)
    assert mean.result() == pytest.approx(float(np.float32(0.1)), rel=1e-12)
    accuracy = metrics.SparseCategoricalAccuracy()
    for _ in range(3):
        accuracy.update_state([0, 1, 1], [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
    assert accuracy.result() == 6 / 9


def test_mean_and_sum():
    assert metrics.Mean().result() == 0.0
    for metric, expected in ((metrics.Mean(), 22 / 8), (metrics.Sum(), 22.0)):
        metric.update_state([[1, 2], [3, 4]], sample_weight=[1, 2])
        metric.update_state([1.0, 4.0])
        assert metric.result() == expected


# --- regression and cross-entropy ------------------------------------------------------------------------------


@weighted
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_regression(weighted, offset):
    y, p, w = data(kind="real")
    y, p, w = y + offset, p + offset, w if weighted else None
    close = {"rel": 1e-9}
    for name, expected in (
        ("mse", sk.mean_squared_error(y, p, sample_weight=w)),
        ("mae", sk.mean_absolute_error(y, p, sample_weight=w)),
        ("rmse", sk.mean_squared_error(y, p, sample_weight=w) ** 0.5),
    ):
        assert stream(metrics.get(name), y, p, w) == pytest.approx(expected, **close)
    for ours, theirs in (
        ("uniform_average", "uniform_average"), ("variance_weighted_average", "variance_weighted"),
        (None, "raw_values"),
    ):  # fmt: skip
        expected = sk.r2_score(y, p, sample_weight=w, multioutput=theirs)
        np.testing.assert_allclose(stream(metrics.R2Score(ours), y, p, w), expected, rtol=1e-7)
    one = sk.r2_score(y[:, 0], p[:, 0], sample_weight=w)
    assert stream(metrics.R2Score(), y[:, 0], p[:, 0], w) == pytest.approx(one, rel=1e-7)


def test_r2_of_constant_labels():
    assert metrics.R2Score()([[1.0], [1.0]], [[1.0], [1.0]]) == 1.0
    assert metrics.R2Score()([[1.0], [1.0]], [[1.0], [2.0]]) == 0.0
    assert metrics.R2Score().result() == 0.0


@weighted
def test_cross_entropies(weighted):
    y, p, w = data()
    w = w if weighted else None
    expected = pytest.approx(sk.log_loss(y, p, sample_weight=w), rel=1e-9)
    assert stream(metrics.SparseCategoricalCrossentropy(), y, p, w) == expected
    assert stream(metrics.CategoricalCrossentropy(), np.eye(4)[y], p, w) == expected
    assert stream(metrics.SparseCategoricalCrossentropy(from_logits=True), y, np.log(p), w) == expected
    b, q, w2 = data(kind="binary")
    q = q.clip(0.01, 0.99)
    expected = pytest.approx(sk.log_loss(b, q, sample_weight=w2 if weighted else None), rel=1e-9)
    assert stream(metrics.BinaryCrossentropy(), b, q, w2 if weighted else None) == expected


def test_cosine_similarity_is_the_negative_loss():
    y, p, _ = data(kind="real")
    expected = (y * p).sum(1) / np.linalg.norm(y, axis=1) / np.linalg.norm(p, axis=1)
    assert stream(metrics.CosineSimilarity(), y, p) == pytest.approx(expected.mean())
    assert metrics.CosineSimilarity().result() == 0.0


# --- positives and negatives -----------------------------------------------------------------------------------


@weighted
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), threshold=st.sampled_from([0.2, 0.5, 0.9]))
def test_precision_recall_specificity(weighted, seed, threshold):
    y, p, w = data(seed, kind="binary")
    w, guess = w if weighted else None, p > threshold
    zero = {"sample_weight": w, "zero_division": 0}
    for metric, expected in (
        (metrics.Precision, sk.precision_score(y, guess, **zero)),
        (metrics.Recall, sk.recall_score(y, guess, **zero)),
        (metrics.Specificity, sk.recall_score(1 - y, ~guess, **zero)),
    ):
        assert stream(metric(threshold), y, p, w) == pytest.approx(expected, abs=1e-12)
        assert stream(metric(threshold), y[:, None], p[:, None], w) == pytest.approx(expected, abs=1e-12)
    counts = sk.confusion_matrix(y, guess, sample_weight=w, labels=[0, 1]).ravel()
    for name, expected in zip(("TrueNegatives", "FalsePositives", "FalseNegatives", "TruePositives"), counts):
        assert stream(CLASSES[name](threshold), y, p, w) == pytest.approx(expected, abs=1e-9)
    f1 = sk.f1_score(y, guess, **zero)
    np.testing.assert_allclose(stream(metrics.F1Score(threshold=threshold), y, p, w), [f1], atol=1e-12)


def test_several_thresholds_give_arrays():
    y, p, _ = data(kind="binary")
    levels = [0.1, 0.5, 0.8]
    found = stream(metrics.Precision(levels), y, p)
    np.testing.assert_allclose(found, [sk.precision_score(y, p > t) for t in levels])
    counts = metrics.TruePositives(levels)
    before = counts([1], [0.9])
    counts.update_state([1], [0.9])
    assert before.tolist() == [1, 1, 1]


def test_one_class_and_top_k():
    y, p, _ = data()
    one_hot = np.eye(4)[y]
    guess = p.argmax(1)
    for c in range(4):
        expected = sk.precision_score(y == c, p[:, c] > 0.5, zero_division=0)
        assert stream(metrics.Precision(class_id=c), one_hot, p) == pytest.approx(expected)
        expected = sk.recall_score(y == c, guess == c, zero_division=0)
        assert stream(metrics.Recall(top_k=1, class_id=c), one_hot, p) == pytest.approx(expected)
    assert stream(metrics.Recall(top_k=2), one_hot, p) == pytest.approx(sk.top_k_accuracy_score(y, p, k=2))
    micro = sk.precision_score(one_hot, p > 0.5, average="micro")
    assert stream(metrics.Precision(), one_hot, p) == pytest.approx(micro)


def test_nothing_positive_gives_0():
    for name in ("Precision", "Recall", "Specificity"):
        assert CLASSES[name]().result() == 0.0
    assert metrics.Precision()([1, 1], [0.1, 0.1]) == 0.0


@weighted
@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_f_scores(weighted, average, beta):
    y, p, w = data()
    w = w if weighted else None
    expected = sk.fbeta_score(y, p.argmax(1), beta=beta, average=average, sample_weight=w)
    found = stream(metrics.FBetaScore(average, beta), np.eye(4)[y], p, w)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    if beta == 1:
        np.testing.assert_allclose(stream(metrics.F1Score(average), np.eye(4)[y], p, w), expected, rtol=1e-12)


@weighted
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_areas(weighted, seed):
    y, p, w = data(seed, kind="binary")
    w = w if weighted else None
    roc = sk.roc_auc_score(y, p, sample_weight=w)
    assert stream(metrics.AUC(), y, p, w) == pytest.approx(roc, abs=1e-12)
    precision = sk.average_precision_score(y, p, sample_weight=w)
    assert stream(metrics.AUC(curve="PR"), y, p, w) == pytest.approx(precision, abs=1e-12)


def test_area_per_label():
    y, p, _ = data()
    expected = sk.roc_auc_score(np.eye(4)[y], p, average="macro")
    assert stream(metrics.AUC(multi_label=True), np.eye(4)[y], p) == pytest.approx(expected)
    flat = sk.roc_auc_score(np.eye(4)[y].ravel(), p.ravel())
    assert stream(metrics.AUC(), np.eye(4)[y], p) == pytest.approx(flat)
    assert metrics.AUC().result() == metrics.AUC()([1, 1], [0.2, 0.3]) == 0.0


@weighted
def test_confusion_matrix(weighted):
    y, p, w = data()
    w = w if weighted else None
    expected = sk.confusion_matrix(y, p.argmax(1), sample_weight=w)
    for labels, predictions in ((y, p), (np.eye(4)[y], p), (y[:, None], p.argmax(1))):
        np.testing.assert_allclose(stream(metrics.ConfusionMatrix(), labels, predictions, w), expected)
    b, q, _ = data(kind="binary")
    np.testing.assert_array_equal(stream(metrics.ConfusionMatrix(), b, q[:, None]), sk.confusion_matrix(b, q > 0.5))
    assert metrics.ConfusionMatrix(5).result().shape == (5, 5)
    with pytest.raises(ValueError, match="expected labels 0 .. 1"):
        metrics.ConfusionMatrix(2)([0, 2], [0, 1])


# --- identifiers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "shape", "expected"),
    [
        ("binary_crossentropy", (None, 1), "BinaryAccuracy()"), ("binary_crossentropy", (None, 2), "BinaryAccuracy()"),
        (losses.BinaryCrossentropy(from_logits=True), (None, 1), "BinaryAccuracy(threshold=0.0)"),
        ("mse", (None, 1), "BinaryAccuracy()"), ("mse", (None,), "BinaryAccuracy()"),
        ("mse", (8, 3), "CategoricalAccuracy()"),
        ("categorical_crossentropy", (None, 10), "CategoricalAccuracy()"),
        (losses.categorical_crossentropy, (None, 2), "CategoricalAccuracy()"),
        ("sparse_categorical_crossentropy", (None, 10), "SparseCategoricalAccuracy()"),
        (losses.SparseCategoricalCrossentropy(True), (None, 10), "SparseCategoricalAccuracy()"),
        ("kld", (4, 4, 4, 3), "CategoricalAccuracy()"),
        (losses.BinaryFocalCrossentropy(), (None, 5), "BinaryAccuracy()"),
    ],
)  # fmt: skip
def test_accuracy_follows_the_loss(loss, shape, expected):
    metric = metrics.resolve_accuracy(loss, shape)
    assert repr(metric) == expected
    assert metric.name == "accuracy"
    assert metrics.resolve_accuracy(loss, shape, "acc").name == "acc"


@pytest.mark.parametrize("loss", [None, lambda y_true, y_pred: y_pred[:, 0]])
def test_accuracy_of_an_unknown_loss_goes_by_the_labels(loss):
    y, p, _ = data()
    expected = sk.accuracy_score(y, p.argmax(1))
    for labels in (y, y[:, None], np.eye(4)[y]):
        assert stream(metrics.resolve_accuracy(loss, p.shape), labels, p) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("mse", "mse"), ("MAE", "MAE"), ("AUC", "AUC"), ("auc", "auc"), ("precision", "precision"), ("f1", "f1"),
        ("root_mean_squared_error", "root_mean_squared_error"), (metrics.Recall, "recall"), (metrics.AUC(), "auc"),
        (metrics.categorical_accuracy, "categorical_accuracy"), (losses.mse, "mean_squared_error"),
        ("huber", "huber"), ("categorical_crossentropy", "categorical_crossentropy"), (metrics.R2Score(), "r2_score"),
        (losses.Huber(2.0), "huber_loss"), (metrics.Precision(name="p"), "p"),
    ],
)  # fmt: skip
def test_get_and_names(identifier, name):
    metric = metrics.get(identifier)
    assert isinstance(metric, metrics.Metric)
    assert metric.name == name


def test_functions_of_users_are_metrics():
    def gap(y_true, y_pred):
        return np.abs(y_true - y_pred)

    metric = metrics.get(gap)
    assert metric.name == "gap"
    assert stream(metric, np.arange(30.0), np.arange(30.0) + 2) == 2.0
    tensors = metrics.get(lambda y_true, y_pred: tc.ops.mean(tc.ops.square(y_pred - y_true), -1))
    assert tensors([[0.0, 0.0]], [[1.0, 3.0]]) == 5.0


def test_unknown_names():
    with pytest.raises(ValueError, match="Unknown metric. Did you mean 'BinaryAccuracy'"):
        metrics.get("binary_acuracy")
    for bad in (3, None, {"name": "mse"}):
        with pytest.raises(ValueError, match="Received"):
            metrics.get(bad)


# --- conformance -----------------------------------------------------------------------------------------------


def example(name):
    y, p, _ = data(n=6, classes=3)
    return (y, p) if name.startswith("Sparse") else (np.eye(3)[y], p)


@pytest.mark.parametrize("name", CLASSES)
def test_conformance(name):
    metric = CLASSES[name]()
    y, p = example(name)
    before = y.copy(), p.copy()
    again = metrics.get(json.loads(json.dumps(serialize(metric))))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    assert repr(metric) == f"{name}()"
    results = [m(make(y), make(p)) for m, make in ((metric, np.asarray), (again, tc.Tensor))]
    np.testing.assert_array_equal(*results)
    assert isinstance(results[0], float | np.ndarray)
    assert (y == before[0]).all()
    assert (p == before[1]).all()
    metric.update_state(y[:0], p[:0])  # an empty batch changes nothing
    np.testing.assert_array_equal(metric.result(), results[0])
    metric.reset_state()
    np.testing.assert_array_equal(metric(y, p), results[0])


def test_wrappers_are_saved_by_the_name_of_their_function():
    y, p, _ = data()
    for function in (metrics.categorical_accuracy, losses.mse):
        wrapper = metrics.MeanMetricWrapper(function, "own")
        again = metrics.get(json.loads(json.dumps(serialize(wrapper))))
        assert again.name == "own"
        assert again(np.eye(4)[y], p) == wrapper(np.eye(4)[y], p)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {n for n in CLASSES if n.startswith(("Sparse", "Conf"))}))
def test_shapes_must_be_equal(name):
    with pytest.raises(ValueError, match="expected y_true of the shape of y_pred"):
        CLASSES[name]().update_state(np.ones(4), np.ones((4, 1)))


def test_bad_input():
    for call in (
        lambda: metrics.SparseCategoricalAccuracy()([0, 3], np.ones((2, 3))),
        lambda: metrics.SparseCategoricalAccuracy()([0, np.nan], np.ones((2, 3))),
        lambda: metrics.SparseCategoricalAccuracy()([[0, 1]], np.ones((2, 3))),
        lambda: metrics.Mean().update_state([1, 2], sample_weight=[1, 2, 3]),
        lambda: metrics.AUC(curve="roc"), lambda: metrics.F1Score("mean"), lambda: metrics.R2Score("sum"),
        lambda: metrics.ConfusionMatrix()([0, 1, 1], np.ones((2, 3))),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="Received: "):
            call()


def test_updates_are_fast():
    y, p, _ = data(n=128, classes=10)
    metric, labels, p = metrics.CategoricalAccuracy(), np.eye(10, dtype="float32")[y], p.astype("float32")
    best = np.inf
    for _ in range(200):
        start = time.perf_counter()
        metric.update_state(labels, p)
        best = min(best, time.perf_counter() - start)
    assert best < 100e-6
