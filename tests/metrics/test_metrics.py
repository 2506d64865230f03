"""Streaming metrics against scikit-learn, over batches of uneven size, with and without weights."""

import inspect
import json
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

import tinyconv as tc
from tinyconv import losses, metrics
from tinyconv.metrics.crossentropy import resolve_crossentropy
from tinyconv.registry import register, serialize

PRIVATE = (metrics.Metric, metrics.MeanMetricWrapper, metrics.Mean, metrics.Sum, metrics.MeanIoU)
CLASSES = {
    name: cls for name, cls in vars(metrics).items()
    if inspect.isclass(cls) and issubclass(cls, metrics.Metric) and not name.startswith("_") and cls not in PRIVATE
    and "At" not in name
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


@weighted
def test_adjusted_r2(weighted):
    y, p, w = data(kind="real")
    w = w if weighted else None
    n = len(y)
    for ours, theirs in (("uniform_average", "uniform_average"), (None, "raw_values")):
        plain = sk.r2_score(y, p, sample_weight=w, multioutput=theirs)
        found = stream(metrics.R2Score(ours, 3), y, p, w)
        np.testing.assert_allclose(found, 1 - (1 - plain) * (n - 1) / (n - 4), rtol=1e-7)
    # what Keras 3.15 gives
    y, p = np.array([[1.0], [2.0], [4.0], [3.0], [7.0]]), np.array([[1.2], [1.9], [4.1], [2.0], [6.0]])
    assert metrics.R2Score(num_regressors=2)(y, p) == pytest.approx(0.8056603670120239, rel=1e-6)
    for many, reason in ((4, "Division by zero in Adjusted"), (5, "More independent predictors than datapoints")):
        with pytest.warns(UserWarning, match=f"{reason}.*Falling back to standard R2 score"):
            assert metrics.R2Score(num_regressors=many)(y, p) == pytest.approx(0.902830183506012, rel=1e-6)
    with pytest.raises(ValueError, match="num_regressors must be an integer >= 0. Received: -1"):
        metrics.R2Score(num_regressors=-1)


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


@weighted
@pytest.mark.parametrize("labels", [1, 3])
def test_areas_asked_for_after_every_batch(weighted, labels):
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, (60, labels)), np.round(rng.random((60, labels)), 1)  # many equal scores
    y[10], y[11] = 0, 1  # both classes from the start
    w = rng.random(60) if weighted else None
    metric = metrics.AUC(multi_label=labels > 1)
    for end in range(20, 61, 10):
        metric.update_state(y[end - 10 : end], p[end - 10 : end], None if w is None else w[end - 10 : end])
        known = slice(10, end)
        expected = sk.roc_auc_score(y[known], p[known], average="macro", sample_weight=None if w is None else w[known])
        assert metric.result() == metric.result() == pytest.approx(expected, abs=1e-12)


@weighted
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), least=st.sampled_from([0.0, 0.3, 0.62, 0.9, 1.0]))
def test_best_points_of_curves(weighted, seed, least):
    y, p, w = data(seed, kind="binary")
    w = w if weighted else None
    precision, recall, _ = sk.precision_recall_curve(y, p, sample_weight=w)
    precision, recall = precision[:-1], recall[:-1]  # the last point is no threshold
    alarms, hits, _ = sk.roc_curve(y, p, sample_weight=w, drop_intermediate=False)

    least = max(least - 1e-9, 0.0)  # a ratio that equals it to the last digit is not compared

    def best(values, limited):
        enough = limited >= least
        return pytest.approx(values[enough].max() if enough.any() else 0.0, abs=1e-9)

    assert stream(metrics.PrecisionAtRecall(least), y, p, w) == best(precision, recall)
    assert stream(metrics.RecallAtPrecision(least), y, p, w) == best(recall, precision)
    assert stream(metrics.SensitivityAtSpecificity(least), y, p, w) == best(hits, 1 - alarms)
    assert stream(metrics.SpecificityAtSensitivity(least), y, p, w) == best(1 - alarms, hits)


POINTS = {  # of Keras 3.15, whose 200 thresholds tell all of these scores of two decimals apart
    "PrecisionAtRecall": 0.6521739363670349, "RecallAtPrecision": 1.0, "SensitivityAtSpecificity": 0.692307710647583,
    "SpecificityAtSensitivity": 0.6666666865348816,
}  # fmt: skip


@pytest.mark.parametrize("name", POINTS)
def test_best_points_for_one_class(name):
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, (50, 3)), np.round(rng.random((50, 3)), 2)
    metric = getattr(metrics, name)(0.5, 200, 1)
    assert metric(y, p) == pytest.approx(POINTS[name], rel=1e-6)
    again = type(metric).from_config(metric.get_config())
    weights = np.arange(50.0)
    repeated = type(metric)(0.5)(y[:, 1].repeat(np.arange(50)), p[:, 1].repeat(np.arange(50)))
    assert again(y, p, weights) == pytest.approx(repeated)


@pytest.mark.parametrize("make", [metrics.Precision, lambda **options: metrics.PrecisionAtRecall(0.5, **options)])
def test_classes_that_there_are_not(make):
    for class_id, shape in ((3, (4, 3)), (-1, (4, 3)), (0, (4,))):
        with pytest.raises(ValueError, match=rf"that have a class {class_id}. Received: shape {re.escape(str(shape))}"):
            make(class_id=class_id)(np.ones(shape), np.ones(shape))


def test_thresholds_in_an_array():
    y, p, w = data(kind="binary")
    metric = metrics.Recall(np.array([0.2, 0.6]))
    np.testing.assert_array_equal(metric(y, p, w), metrics.Recall([0.2, 0.6])(y, p, w))
    assert metrics.Recall.from_config(json.loads(json.dumps(metric.get_config()))).thresholds == [0.2, 0.6]


def test_no_point_is_good_enough():
    assert metrics.RecallAtPrecision(0.9)([0, 1], [0.9, 0.1]) == 0.0
    assert metrics.PrecisionAtRecall(0.5).result() == 0.0
    with pytest.raises(ValueError, match=r"recall must lie in \[0, 1\]. Received: 2"):
        metrics.PrecisionAtRecall(2)


def test_area_per_label():
    y, p, _ = data()
    expected = sk.roc_auc_score(np.eye(4)[y], p, average="macro")
    assert stream(metrics.AUC(multi_label=True), np.eye(4)[y], p) == pytest.approx(expected)
    each = sk.roc_auc_score(np.eye(4)[y], p, average=None)
    weights = [1.0, 0.0, 2.0, 0.5]
    weighted_mean = stream(metrics.AUC(multi_label=True, label_weights=weights), np.eye(4)[y], p)
    assert weighted_mean == pytest.approx(np.average(each, weights=weights))
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


@weighted
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), classes=st.integers(2, 5))
def test_agreement(weighted, seed, classes):
    y, p, w = data(seed, classes=classes)
    w, guess, one_hot = w if weighted else None, p.argmax(1), np.eye(classes)[y]
    for metric, expected in (
        (metrics.BalancedAccuracy(), sk.balanced_accuracy_score(y, guess, sample_weight=w)),
        (metrics.BalancedAccuracy(adjusted=True), sk.balanced_accuracy_score(y, guess, sample_weight=w, adjusted=True)),
        (metrics.MatthewsCorrelation(), sk.matthews_corrcoef(y, guess, sample_weight=w)),
        *(
            (metrics.CohenKappa(weightage=kind), sk.cohen_kappa_score(y, guess, weights=kind, sample_weight=w))
            for kind in (None, "linear", "quadratic")
        ),
    ):
        for labels, predictions in ((y, p), (one_hot, p), (y, guess)):
            assert stream(metric, labels, predictions, w) == pytest.approx(expected, abs=1e-12)


def test_agreement_on_nothing_and_on_a_single_class():
    for metric in (metrics.BalancedAccuracy(), metrics.CohenKappa(), metrics.MatthewsCorrelation(), metrics.MeanIoU(2)):
        assert metric.result() == 0.0
    assert metrics.MatthewsCorrelation()([0, 0], [0, 0]) == 0.0
    assert metrics.CohenKappa()([0, 0], [0, 0]) == 0.0
    assert metrics.BalancedAccuracy(adjusted=True)([0, 0], [0, 1]) == 0.0


@weighted
@settings(max_examples=20, deadline=None)
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=3), seed=st.integers(0, 999))
def test_mean_intersection_over_union(weighted, shape, seed):
    rng = np.random.default_rng(seed)
    scores, y = rng.normal(size=(*shape, 3)), rng.integers(0, 3, shape)
    w = rng.uniform(0.1, 2, shape) if weighted else None
    guess = scores.argmax(-1)

    def expected(counts):
        found = np.union1d(y[counts], guess[counts])
        flat = None if w is None else w[counts]
        if not len(found):
            return 0.0
        return sk.jaccard_score(y[counts], guess[counts], labels=found, average="macro", sample_weight=flat)

    everything = pytest.approx(expected(np.ones(shape, bool)))
    assert stream(metrics.MeanIoU(3), y, guess, w, ()) == everything
    assert stream(metrics.MeanIoU(3, sparse_y_pred=False), y, scores, w, ()) == everything
    one_hot = metrics.MeanIoU(3, sparse_y_true=False, sparse_y_pred=False, axis=0)
    assert one_hot(np.moveaxis(np.eye(3)[y], -1, 0), np.moveaxis(scores, -1, 0), w) == everything
    assert metrics.MeanIoU(3, ignore_class=1)(y, guess, w) == pytest.approx(expected(y != 1))
    if shape[0] > 1:
        assert stream(metrics.MeanIoU(3), y, guess, w, (1,)) == everything


def test_labels_of_a_segmentation_are_checked():
    with pytest.raises(ValueError, match="expected labels 0 .. 1 for 2 classes. Received: 2"):
        metrics.MeanIoU(2)([[2]], [[0]])
    with pytest.raises(ValueError, match="of one shape. Received: \\(1, 2\\) from y_true"):
        metrics.MeanIoU(2)([[0, 1]], [[0]])


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


@pytest.mark.parametrize(
    ("loss", "shape", "expected"),
    [
        ("binary_crossentropy", (None, 3), "BinaryCrossentropy()"),
        (losses.BinaryCrossentropy(from_logits=True), (None, 1), "BinaryCrossentropy(from_logits=True)"),
        ("mse", (None, 1), "BinaryCrossentropy()"), ("mse", (8, 3), "CategoricalCrossentropy()"),
        (None, (8, 3), "CategoricalCrossentropy()"),
        ("sparse_categorical_crossentropy", (None, 10), "SparseCategoricalCrossentropy()"),
        (losses.SparseCategoricalCrossentropy(True), (None, 9), "SparseCategoricalCrossentropy(from_logits=True)"),
    ],
)  # fmt: skip
def test_crossentropy_follows_the_loss(loss, shape, expected):
    metric = resolve_crossentropy(loss, shape)
    assert repr(metric) == expected
    assert metric.name == "crossentropy"


@pytest.mark.parametrize("name", ["crossentropy", "ce"])
def test_crossentropy_by_its_short_names(name):
    y, p, _ = data()
    model = tc.Sequential([tc.layers.Dense(4, "softmax", input_shape=(4,))])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[name])
    results = model.evaluate(p, y, verbose=0, return_dict=True)
    assert results[name] == pytest.approx(sk.log_loss(y, model.predict(p, verbose=0), labels=range(4)), rel=1e-5)


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


class TruePositivesOfKeras(metrics.Metric):
    """Written as in Keras's guides; the threshold 0.5 makes it equal to TruePositives."""

    def __init__(self, name="tp_of_keras"):
        super().__init__(name=name)
        self.true_positives = self.add_weight(name="tp", initializer="zeros")
        self.calls = self.add_variable(shape=(2,), initializer="ones", dtype="float32", name="calls")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = tc.Tensor(np.asarray(y_true) != 0), tc.Tensor(np.asarray(y_pred) > 0.5)
        values = tc.ops.astype(tc.ops.logical_and(y_true, y_pred), "float64")
        if sample_weight is not None:
            values = values * sample_weight
        self.true_positives.assign(self.true_positives + tc.ops.sum(values))
        self.calls.assign_add([1.0, 2.0])
        self.calls.assign_sub(0.5)

    def result(self):
        return self.true_positives

    def reset_state(self):
        """Keras's guides reset each variable by hand, and Keras calls this only once they are there."""
        self.true_positives.assign(0.0)
        self.calls.assign([1.0, 1.0])


@weighted
def test_variables_of_metrics(weighted):
    y, p, w = data(kind="binary")
    w = w if weighted else None
    metric = TruePositivesOfKeras()
    found = float(stream(metric, y, p, w))
    assert found == pytest.approx(stream(metrics.TruePositives(), y, p, w))
    assert metric.calls.tolist() == [3.0, 7.0]
    assert [v.name for v in metric.variables] == ["tp", "calls"]
    assert [v.dtype.name for v in metric.variables] == ["float64", "float32"]
    metric.reset_state()
    assert metric.result().item() == 0.0
    assert metric.calls.tolist() == [1.0, 1.0]


def test_variables_are_made_anew_by_their_initializers():
    metric = metrics.Metric("plain")
    ones = metric.add_weight((2,), "ones")
    ones.assign_add(3.0)
    metric.reset_state()
    assert ones.tolist() == [1.0, 1.0]


def test_mistakes_in_reset_state_show():
    class Wrong(metrics.Metric):
        def reset_state(self):
            self.totall += 1

        def update_state(self, y_true, y_pred, sample_weight=None):
            pass

        def result(self):
            return 0.0

    model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse", [Wrong("wrong")])
    with pytest.raises(AttributeError, match="totall"):
        model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0)


def test_metrics_of_users_in_training():
    x, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 2
    model = tc.Sequential([tc.layers.Dense(1, "sigmoid", input_shape=(2,))])
    model.compile("sgd", "binary_crossentropy", [TruePositivesOfKeras(), metrics.TruePositives(name="tp")])
    history = model.fit(x, y[:, None], batch_size=8, epochs=3, verbose=0).history
    assert history["tp_of_keras"] == history["tp"]
    assert isinstance(history["tp_of_keras"][0], float)


def test_unknown_names():
    with pytest.raises(ValueError, match="Unknown metric. Did you mean 'BinaryAccuracy'"):
        metrics.get("binary_acuracy")
    for bad in (3, None, {"name": "mse"}):
        with pytest.raises(ValueError, match="Received"):
            metrics.get(bad)


# --- files -----------------------------------------------------------------------------------------------------


def test_wrappers_are_saved_by_the_name_of_their_function():
    y, p, _ = data()
    for function in (metrics.categorical_accuracy, losses.mse, losses.binary_focal_crossentropy, losses.Huber(0.1)):
        wrapper = metrics.MeanMetricWrapper(function, "own")
        again = metrics.get(json.loads(json.dumps(serialize(wrapper))))
        assert again.name == "own"
        assert again(np.eye(4)[y], p) == wrapper(np.eye(4)[y], p)


def test_functions_keep_their_names_in_files(tmp_path):
    """Files say ``package>name``; results are called by the name alone, before and after."""

    @register("tests")
    def own_gap(y_true, y_pred):
        return abs(y_true - y_pred)

    model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse", [own_gap])
    x, y = np.ones((4, 2)), np.ones((4, 1))
    found = model.evaluate(x, y, return_dict=True)
    assert list(found) == ["loss", "own_gap"]
    model.save(tmp_path / "m.tc")
    assert tc.load_model(tmp_path / "m.tc").evaluate(x, y, return_dict=True) == found


LOSSES = {  # as metrics: the loss of the same settings is the oracle
    losses.MeanSquaredError(): losses.MeanSquaredError(), losses.Huber(0.1): losses.Huber(0.1),
    losses.CategoricalFocalCrossentropy(gamma=1.0): losses.CategoricalFocalCrossentropy(gamma=1.0),
    losses.binary_focal_crossentropy: losses.BinaryFocalCrossentropy(), losses.mse: losses.MeanSquaredError(),
    "categorical_focal_crossentropy": losses.CategoricalFocalCrossentropy(),
}  # fmt: skip


@pytest.mark.parametrize("given", LOSSES)
def test_losses_are_metrics_also_from_files(given, tmp_path):
    y, p, _ = data()
    y, expected = np.eye(4)[y], LOSSES[given](np.eye(4)[y], p).item()
    assert stream(metrics.get(given), y, p) == pytest.approx(expected)
    model = tc.Sequential([tc.layers.Rescaling(1.0, input_shape=(4,))])
    model.compile("sgd", "mse", metrics=[given])
    model.save(tmp_path / "model.tinyconv")
    loss, value = tc.load_model(tmp_path / "model.tinyconv").evaluate(p, y)
    assert (loss, value) == (pytest.approx(losses.mse(y, p).numpy().mean()), pytest.approx(expected, rel=1e-5))


def test_a_metric_of_ones_own_may_have_a_reduction():
    @tc.registry.register("tests")
    class Spread(metrics.Metric):
        def __init__(self, reduction="max", name=None):
            self.reduction = reduction
            super().__init__(name)

    again = metrics.get(json.loads(json.dumps(serialize(Spread("min")))))
    assert (type(again), again.reduction) == (Spread, "min")


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
@weighted
def test_ignored_classes_do_not_count(shape, weighted):
    rng = np.random.default_rng(0)
    y, p, w = rng.integers(-1, 3, shape), rng.random((4, 5, 3)), rng.random(4) if weighted else None
    p /= p.sum(-1, keepdims=True)
    counts = (y >= 0).reshape(4, 5)
    expected = sk.log_loss(
        y.ravel()[counts.ravel()], p[counts], labels=[0, 1, 2],
        sample_weight=None if w is None else np.repeat(w, 5)[counts.ravel()],
    )  # fmt: skip
    assert metrics.SparseCategoricalCrossentropy(ignore_class=-1)(y, p, w) == pytest.approx(expected)
    if not weighted:
        assert tc.losses.SparseCategoricalCrossentropy(ignore_class=-1)(y, p).item() == pytest.approx(expected)


def test_arguments_stand_in_keras_s_order():
    area = metrics.AUC(100, "PR", "interpolation", "area", "float32", None, True, 3, [1.0, 2.0, 3.0], False)
    assert (area.num_thresholds, area.curve, area.name, area.dtype, area.multi_label) == (
        100, "PR", "area", "float32", True,
    )  # fmt: skip
    assert (area.num_labels, area.label_weights, area.from_logits) == (3, [1.0, 2.0, 3.0], False)
    with pytest.raises(ValueError, match="summation_method must be one of .* Received: 'trapezoid'"):
        metrics.AUC(summation_method="trapezoid")


@pytest.mark.parametrize("name", ["F1Score", "R2Score", "ConfusionMatrix", "Precision", "AUC", "MeanSquaredError"])
def test_weights_that_do_not_fit_are_named(name):
    y = np.array([0, 1]) if name == "ConfusionMatrix" else np.eye(2)
    with pytest.raises(ValueError, match=r"expected sample_weight of shape \(2,\).*Received: \(3,\)"):
        CLASSES[name]()(y, np.eye(2), [1, 2, 3])


ELEMENTWISE = sorted(
    name for name, cls in CLASSES.items()
    if not name.startswith("Sparse") and not issubclass(cls, metrics.ConfusionMatrix)
)  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_shapes_must_be_equal(name):
    with pytest.raises(ValueError, match="expected y_true of the shape of y_pred"):
        CLASSES[name]().update_state(np.ones(4), np.ones((4, 2)))


@pytest.mark.parametrize("name", ["BinaryAccuracy", "MeanSquaredError", "AUC", "Precision"])
def test_labels_of_one_output_may_lack_its_axis(name):
    y, p = np.array([0.0, 1.0, 1.0, 0.0]), np.array([[0.2], [0.7], [0.4], [0.9]])
    assert CLASSES[name]()(y, p) == CLASSES[name]()(y[:, None], p)


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


def test_dtype_is_that_in_which_predictions_are_compared():
    threshold = 0.1  # which float32 cannot hold: as a float32 it is a little more
    p = np.array([np.float32(0.1)])
    assert metrics.BinaryAccuracy(threshold=threshold)([1], p) == 1.0
    y, p = np.array([1e8, 1e8 + 8]), np.array([1e8 + 1, 1e8 + 9])
    assert metrics.MeanAbsoluteError()(y, p) == 1.0
    assert metrics.MeanAbsoluteError(dtype="float32")(y, p) == 0.0
    metric = metrics.Precision(0.3, dtype="float32")
    assert metrics.Precision.from_config(metric.get_config()).dtype == "float32"
    assert metrics.Mean(dtype=None).dtype == "float64"


def test_variables_have_the_dtype_of_the_metric():
    class Count(metrics.Metric):
        def __init__(self, name="count", dtype=None):
            super().__init__(name=name, dtype=dtype)
            self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    assert Count(dtype="float32").variables[0].dtype == "float32"
    assert Count().variables[0].dtype == "float64"


def test_auc_of_several_labels():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, (30, 3)), rng.random((30, 3))
    expected = sk.roc_auc_score(y, p, average="macro")
    assert metrics.AUC(multi_label=True, num_labels=3)(y, p) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match=r"auc expected num_labels=4 columns. Received: shape \(30, 3\)"):
        metrics.AUC(multi_label=True, num_labels=4)(y, p)
