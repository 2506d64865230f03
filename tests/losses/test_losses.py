"""Losses against float64 formulas in NumPy, the documents' vectors, and finite differences."""

import inspect
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv import losses
from tinyconv.registry import serialize
from tinyconv.testing import check_gradients

EPS = 1e-7
CLASSES = {
    name: cls for name, cls in vars(losses).items()
    if inspect.isclass(cls) and issubclass(cls, losses.Loss) and not name.startswith("_")
    and cls not in (losses.Loss, losses.LossFunctionWrapper)
}  # fmt: skip


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def one_hot(rng, *shape):
    return np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]


def mean(x):
    return x.mean(-1) if x.ndim > 1 else x


def clip(p):
    return np.clip(p, EPS, 1 - EPS)


def bce(y, p):
    return -(y * np.log(clip(p)) + (1 - y) * np.log(1 - clip(p)))


def huber(y, p, delta):
    e = np.abs(y - p)
    return mean(np.where(e <= delta, e * e / 2, delta * (e - delta / 2)))


def cosine(y, p):
    return -(y * p).sum(-1) / np.sqrt((y * y).sum(-1) * (p * p).sum(-1))


# name, loss, kinds of labels and predictions, formula in float64
FORMULAS = [
    ("mse", losses.MeanSquaredError(), "real", "real", lambda y, p: mean((y - p) ** 2)),
    ("mae", losses.MeanAbsoluteError(), "real", "real", lambda y, p: mean(abs(y - p))),
    ("mape", losses.MeanAbsolutePercentageError(), "positive", "real", lambda y, p: 100 * mean(abs((y - p) / y))),
    (
        "msle", losses.MeanSquaredLogarithmicError(), "positive", "positive",
        lambda y, p: mean((np.log(1 + y) - np.log(1 + p)) ** 2),
    ),
    ("huber", losses.Huber(0.7), "real", "real", lambda y, p: huber(y, p, 0.7)),
    ("log_cosh", losses.LogCosh(), "real", "real", lambda y, p: mean(np.log(np.cosh(p - y)))),
    ("poisson", losses.Poisson(), "positive", "positive", lambda y, p: mean(p - y * np.log(p + EPS))),
    ("cosine", losses.CosineSimilarity(), "real", "real", cosine),
    (
        "cce", losses.CategoricalCrossentropy(), "one-hot", "probability",
        lambda y, p: -(y * np.log(clip(p / p.sum(-1, keepdims=True)))).sum(-1),
    ),
    (
        "cce logits", losses.CategoricalCrossentropy(from_logits=True), "one-hot", "real",
        lambda y, x: -(y * np.log(softmax(x))).sum(-1),
    ),
    (
        "cce smooth", losses.CategoricalCrossentropy(label_smoothing=0.2), "one-hot", "softmax",
        lambda y, p: -((0.8 * y + 0.2 / y.shape[-1]) * np.log(clip(p))).sum(-1),
    ),
    ("bce", losses.BinaryCrossentropy(), "binary", "probability", lambda y, p: mean(bce(y, p))),
    (
        "bce logits", losses.BinaryCrossentropy(from_logits=True), "binary", "real",
        lambda y, x: mean(-(y * np.log(sigmoid(x)) + (1 - y) * np.log(sigmoid(-x)))),
    ),
    (
        "bce smooth", losses.BinaryCrossentropy(label_smoothing=0.1), "binary", "probability",
        lambda y, p: mean(bce(0.9 * y + 0.05, p)),
    ),
    (
        "focal", losses.CategoricalFocalCrossentropy(0.3, 1.5), "one-hot", "softmax",
        lambda y, p: -(0.3 * (1 - p) ** 1.5 * y * np.log(p)).sum(-1),
    ),
    (
        "focal logits", losses.CategoricalFocalCrossentropy(from_logits=True), "one-hot", "real",
        lambda y, x: -(0.25 * (1 - softmax(x)) ** 2 * y * np.log(softmax(x))).sum(-1),
    ),
    (
        "binary focal", losses.BinaryFocalCrossentropy(True, 0.3, 1.5), "binary", "probability",
        lambda y, p: mean(np.where(y == 1, 0.3 * (1 - p) ** 1.5, 0.7 * p**1.5) * bce(y, p)),
    ),
    (
        "binary focal logits", losses.BinaryFocalCrossentropy(from_logits=True), "binary", "real",
        lambda y, x: mean(np.where(y == 1, sigmoid(-x), sigmoid(x)) ** 2 * bce(y, sigmoid(x))),
    ),
    ("kld", losses.KLDivergence(), "softmax", "softmax", lambda y, p: (y * np.log(y / p)).sum(-1)),
    ("hinge", losses.Hinge(), "sign", "real", lambda y, p: mean(np.maximum(0, 1 - y * p))),
    ("hinge 0/1", losses.Hinge(), "binary", "real", lambda y, p: mean(np.maximum(0, 1 - (2 * y - 1) * p))),
    ("squared_hinge", losses.SquaredHinge(), "sign", "real", lambda y, p: mean(np.maximum(0, 1 - y * p) ** 2)),
    (
        "categorical_hinge", losses.CategoricalHinge(), "one-hot", "real",
        lambda y, p: np.maximum(0, 1 + ((1 - y) * p).max(-1) - (y * p).sum(-1)),
    ),
    (
        "contrastive", losses.ContrastiveLoss(0.8), "binary", "positive",
        lambda y, d: mean(y * d**2 + (1 - y) * np.maximum(0, 0.8 - d) ** 2),
    ),
]  # fmt: skip
IDS = [row[0] for row in FORMULAS]


def draw(kind, rng, shape):
    if kind == "one-hot":
        return one_hot(rng, *shape)
    if kind == "softmax":
        return softmax(rng.normal(size=shape))
    if kind == "probability":
        return rng.uniform(0.01, 0.99, shape)
    if kind == "positive":
        return rng.uniform(0.1, 2.0, shape)
    if kind == "binary":
        return rng.integers(0, 2, shape).astype(float)
    if kind == "sign":
        return rng.integers(0, 2, shape) * 2.0 - 1
    return rng.normal(size=shape)


@pytest.mark.parametrize(("name", "loss", "labels", "predictions", "formula"), FORMULAS, ids=IDS)
@settings(max_examples=12, deadline=None)
@given(outer=st.lists(st.integers(1, 4), min_size=1, max_size=3), classes=st.integers(2, 5), seed=st.integers(0, 999))
def test_values_equal_the_formula(name, loss, labels, predictions, formula, outer, classes, seed):
    rng = np.random.default_rng(seed)
    y, p = draw(labels, rng, (*outer, classes)), draw(predictions, rng, (*outer, classes))
    expected = formula(y, p)
    per_sample = loss.call(y, p)
    assert per_sample.dtype == np.float64
    np.testing.assert_allclose(per_sample.numpy(), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(loss(y, p).item(), expected.mean(), rtol=1e-9, atol=1e-12)
    single = loss(y, p.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single.item(), expected.mean(), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "loss", "labels", "predictions", "formula"), FORMULAS, ids=IDS)
def test_gradients_of_order_1_and_2(name, loss, labels, predictions, formula):
    rng = np.random.default_rng(5)
    y, p = draw(labels, rng, (3, 4)), draw(predictions, rng, (3, 4))
    check_gradients(lambda p: loss.call(y, p), [p], order=2)
    if labels in ("real", "positive", "softmax"):  # soft labels have gradients too
        check_gradients(lambda y, p: loss.call(y, p), [y, p], order=2)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 3, 4)])
@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64", "float32", "float64"])
def test_sparse_equals_one_hot(from_logits, shape, dtype):
    rng = np.random.default_rng(0)
    y = rng.integers(0, shape[-1], shape[:-1])
    p = rng.normal(size=shape) if from_logits else softmax(rng.normal(size=shape))
    dense = losses.categorical_crossentropy(np.eye(shape[-1])[y], p, from_logits).numpy()
    for labels in (y.astype(dtype), y[..., None].astype(dtype)):
        sparse = losses.sparse_categorical_crossentropy(labels, p, from_logits)
        np.testing.assert_allclose(sparse.numpy(), dense, rtol=1e-12)
    check_gradients(lambda p: losses.sparse_categorical_crossentropy(y, p, from_logits), [p], order=2)


def test_sparse_labels_beyond_255_of_a_small_dtype():
    p = np.full((1, 300), 1 / 300)
    np.testing.assert_allclose(losses.sparse_categorical_crossentropy(np.uint8([255]), p).item(), math.log(300))


def test_classes_along_another_axis():
    rng = np.random.default_rng(1)
    y, x = one_hot(rng, 2, 5, 3), rng.normal(size=(2, 5, 3))
    expected = losses.categorical_crossentropy(y, x, from_logits=True).numpy()
    first = losses.CategoricalCrossentropy(from_logits=True, axis=1).call(y.swapaxes(1, 2), x.swapaxes(1, 2))
    np.testing.assert_allclose(first.numpy(), expected)
    sparse = losses.SparseCategoricalCrossentropy(from_logits=True, axis=1).call(y.argmax(-1), x.swapaxes(1, 2))
    np.testing.assert_allclose(sparse.numpy(), expected)


# --- the documents' vectors (numerics 5 and 6) -----------------------------------------------------------------


def test_vectors_of_the_documents():
    assert losses.binary_crossentropy(np.array([[0.0]]), np.array([[0.9]])).item() == pytest.approx(2.302585, abs=1e-6)
    assert losses.mse(np.array([0.0]), np.array([0.9])).item() == pytest.approx(0.81)
    p = np.array([[0.7310585786, 1 - 0.7310585786]])
    for loss in (
        losses.categorical_crossentropy(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]), from_logits=True),
        losses.binary_crossentropy(np.array([[1.0, 0.0]]), p),  # mean element-wise BCE of a 2-unit softmax is its CE
    ):
        assert loss.item() == pytest.approx(0.3132616875, abs=1e-9)
    assert losses.huber(np.zeros(3), np.array([0.5, 1.0, 3.0])).tolist() == [0.125, 0.5, 2.5]


def test_gradients_of_the_documents():
    for function, expected in ((losses.binary_crossentropy, 10.0), (losses.mse, 1.8)):
        p = tc.Tensor(np.array([[0.9]]), requires_grad=True)
        assert tc.grad(function(np.array([[0.0]]), p), p).item() == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 3, 9, 10, 1000])
def test_a_network_that_knows_nothing_gets_ln_of_the_classes(classes):
    p = np.full((4, classes), 1 / classes)
    y = np.eye(classes)[[0, 1, 0, 1]]
    assert losses.get("categorical_crossentropy")(y, p).item() == pytest.approx(math.log(classes))


def test_contrastive_vectors():
    assert losses.contrastive([1, 0], np.array([0.25, 0.25])).tolist() == [0.0625, 0.5625]
    assert losses.triplet(None, np.array([[0.5, 1.0]]), margin=0.2).tolist() == [0.0]
    assert losses.triplet(None, np.array([[0.5, 1.0]]), margin=1.0).tolist() == [0.25]
    assert losses.InfoNCE()([0], np.array([[2.0, 0.0, 1.0]])).item() == pytest.approx(0.4076059645, abs=1e-9)
    assert losses.InfoNCE(0.5)([0], np.array([[1.0, 0.0, 0.5]])).item() == pytest.approx(0.4076059645, abs=1e-9)


def test_contrastive_losses_of_embeddings_equal_those_of_distances():
    rng = np.random.default_rng(2)
    e = rng.normal(size=(6, 3, 4))
    near, far = (np.linalg.norm(e[:, 0] - e[:, i], axis=-1) for i in (1, 2))
    y = rng.integers(0, 2, 6)
    np.testing.assert_allclose(losses.contrastive(y, e[:, :2], 2.0).numpy(), losses.contrastive(y, near, 2.0).numpy())
    distances = np.stack([near, far], -1)
    np.testing.assert_allclose(losses.triplet(None, e).numpy(), losses.triplet(None, distances).numpy())
    check_gradients(lambda e: losses.contrastive(y, e, 2.0), [e[:, :2]], order=2)
    check_gradients(lambda e: losses.triplet(None, e), [e], order=2)
    check_gradients(lambda s: losses.infonce(np.arange(4), s, 0.5), [rng.normal(size=(4, 4))], order=2)


def test_equal_embeddings_have_finite_gradients():
    e = tc.Tensor(np.ones((2, 2, 3)), requires_grad=True)
    assert np.isfinite(tc.grad(losses.ContrastiveLoss()([1, 0], e), e).numpy()).all()


# --- numerics --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", ["bce", "categorical_crossentropy", "kld", "categorical_focal_crossentropy"])
def test_saturated_probabilities_stay_finite(name, dtype):
    y = np.array([[1.0, 0.0], [0.0, 1.0]])
    p = tc.Tensor(np.array([[0.0, 1.0], [0.0, 1.0]], dtype), requires_grad=True)
    loss = losses.get(name)(y, p)
    assert np.isfinite(loss.item())
    assert np.isfinite(tc.grad(loss, p).numpy()).all()


@pytest.mark.parametrize("name", ["BinaryCrossentropy", "CategoricalCrossentropy", "BinaryFocalCrossentropy"])
def test_large_logits_neither_overflow_nor_lose_their_gradient(name):
    x = tc.Tensor(np.array([[1000.0, -1000.0], [-1000.0, 1000.0]], np.float32), requires_grad=True)
    y = np.array([[0.0, 1.0], [0.0, 1.0]])
    loss = CLASSES[name](from_logits=True)(y, x)
    gradient = tc.grad(loss, x).numpy()
    assert 100 < loss.item() < 2000
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[0]).max() > 0.1


def test_impossible_classes_do_not_make_sparse_losses_nan():
    x = tc.Tensor(np.array([[0.0, 0.0, -np.inf]]), requires_grad=True)
    loss = losses.sparse_categorical_crossentropy([1], x, from_logits=True)
    assert loss.item() == pytest.approx(math.log(2))


def test_clip_follows_the_configured_epsilon():
    try:
        tc.config.set_epsilon(1e-3)
        assert losses.binary_crossentropy(np.array([[1.0]]), np.array([[0.0]])).item() == pytest.approx(-math.log(1e-3))
    finally:
        tc.config.set_epsilon(EPS)


# --- reduction and weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3)])
def test_reductions(shape):
    rng = np.random.default_rng(3)
    y, p = rng.normal(size=shape), rng.normal(size=shape)
    each = ((y - p) ** 2).mean(-1)
    np.testing.assert_allclose(losses.MeanSquaredError()(y, p).item(), each.mean())
    np.testing.assert_allclose(losses.MeanSquaredError("sum")(y, p).item(), each.sum())
    for reduction in (None, "none"):
        np.testing.assert_allclose(losses.MeanSquaredError(reduction)(y, p).numpy(), each)


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("dtype", ["int64", "float32", "float64"])
def test_sample_weights_multiply_but_do_not_divide(column, dtype):
    rng = np.random.default_rng(4)
    y, p = rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 2, 3))
    w = np.array([0, 1, 2, 5])
    expected = (((y - p) ** 2).mean(-1) * w[:, None]).sum() / 8
    given_weights = w[:, None].astype(dtype) if column else w.astype(dtype)
    np.testing.assert_allclose(losses.MeanSquaredError()(y, p, given_weights).item(), expected)
    np.testing.assert_allclose(losses.MeanSquaredError()(y, p, np.repeat(w, 2).reshape(4, 2)).item(), expected)


def test_column_weights_of_single_losses():
    y, p, w = np.zeros((3, 1)), np.ones((3, 1)), np.array([[1.0], [2.0], [3.0]])
    assert losses.MeanSquaredError("sum")(y, p, w).item() == 6.0


@pytest.mark.parametrize("weights", [None, [0.0, 1.0, 2.0, 5.0], [[0.0], [1.0], [2.0], [5.0]]])
def test_means_over_the_weights(weights):
    rng = np.random.default_rng(8)
    y, p = rng.normal(size=(4, 3, 2)), rng.normal(size=(4, 3, 2))
    each = ((y - p) ** 2).mean(-1)
    w = np.ones(4) if weights is None else np.ravel(weights)
    expected = np.average(each.mean(1), weights=w)
    assert losses.MeanSquaredError("mean_with_sample_weight")(y, p, weights).item() == pytest.approx(expected)
    assert losses.MeanSquaredError("mean")(y, p, weights).item() == losses.MeanSquaredError()(y, p, weights).item()
    assert losses.MeanSquaredError("mean_with_sample_weight")(y, p, np.zeros(4)).item() == 0.0


@pytest.mark.parametrize("ignored", [-1, 255, 1])
@pytest.mark.parametrize("from_logits", [False, True])
@settings(max_examples=15, deadline=None)
@given(outer=st.lists(st.integers(1, 4), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_ignored_class_numbers_neither_cost_nor_count(ignored, from_logits, outer, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(*outer, 3)), rng.integers(0, 3, outer)
    counts = rng.random(outer) < 0.6
    y = np.where(counts, np.where(y == ignored, 0, y), ignored)
    p = softmax(x)
    each = np.where(counts, -np.log(np.take_along_axis(p, np.where(counts, y, 0)[..., None], -1)[..., 0]), 0.0)
    loss = losses.SparseCategoricalCrossentropy(from_logits, ignored, reduction=None)
    given_predictions = x if from_logits else p
    np.testing.assert_allclose(loss(y, given_predictions).numpy(), each, rtol=1e-9)
    np.testing.assert_allclose(loss(y[..., None], given_predictions).numpy(), each, rtol=1e-9)
    w = rng.random(outer[0])
    weighted = each * w.reshape(-1, *[1] * (len(outer) - 1))
    mean = losses.SparseCategoricalCrossentropy(from_logits, ignored)
    assert mean(y, given_predictions, w).item() == pytest.approx(weighted.sum() / max(counts.sum(), 1))
    check_gradients(lambda p: mean(y, p, w), [given_predictions], order=2)


def test_ignored_class_numbers_are_replayed():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4)).astype("float32"), rng.integers(-1, 3, 40)
    models = []
    for eager in (False, True):
        tc.set_seed(0)
        models.append(tc.Sequential([tc.layers.Dense(3, input_shape=(4,))]))
        models[-1].compile("sgd", losses.SparseCategoricalCrossentropy(True, -1), run_eagerly=eager)
        models[-1].fit(x, y, batch_size=4, epochs=2, verbose=0)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        assert a.tobytes() == b.tobytes()


def example(name, rng, n=4):
    p = softmax(rng.normal(size=(n, 3))) if n else np.zeros((0, 3))
    if name in ("SparseCategoricalCrossentropy", "InfoNCE"):
        return rng.integers(0, 3, n), p
    if name == "TripletLoss":
        return np.zeros(n), p[:, :2]
    return (one_hot(rng, n, 3) if n else np.zeros((0, 3))), p


@pytest.mark.parametrize("name", CLASSES)
def test_half_precision_is_computed_in_float32(name):
    y, p = example(name, np.random.default_rng(7))
    assert CLASSES[name]()(y, p.astype(np.float16)).dtype == np.float32


# --- identifiers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identifier", "cls"),
    [
        ("mse", "MeanSquaredError"), ("MSE", "MeanSquaredError"), ("mean_squared_error", "MeanSquaredError"),
        ("mae", "MeanAbsoluteError"), ("mape", "MeanAbsolutePercentageError"), ("bce", "BinaryCrossentropy"),
        ("categorical_crossentropy", "CategoricalCrossentropy"), ("binary_crossentropy", "BinaryCrossentropy"),
        ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"), ("huber", "Huber"), ("hinge", "Hinge"),
        ("huber_loss", "Huber"), ("kl_divergence", "KLDivergence"), ("kld", "KLDivergence"), ("logcosh", "LogCosh"),
        ("contrastive", "ContrastiveLoss"), ("triplet", "TripletLoss"), ("infonce", "InfoNCE"), ("Huber", "Huber"),
        (losses.mse, "MeanSquaredError"), (losses.categorical_crossentropy, "CategoricalCrossentropy"),
        (losses.Huber, "Huber"), (losses.Huber(3.0), "Huber"),
    ],
)  # fmt: skip
def test_get(identifier, cls):
    assert type(losses.get(identifier)) is CLASSES[cls]


@pytest.mark.parametrize("function", [losses.mse, losses.huber, losses.triplet, losses.binary_focal_crossentropy])
def test_functions_are_saved_by_name(function):
    assert type(losses.get(serialize(function))) is type(losses.get(function))


def test_functions_of_users_are_losses():
    loss = losses.get(lambda y_true, y_pred: tc.ops.mean(abs(y_true - y_pred), -1))
    assert loss([[1.0, 2.0]], [[2.0, 4.0]]).item() == 1.5
    assert loss([[1.0, 2.0]], [[2.0, 4.0]], sample_weight=[2.0]).item() == 3.0
    registered = tc.registry.register("tests")(mean_cubed)
    again = losses.get(json.loads(json.dumps(serialize(losses.get(registered)))))
    assert again([0.0], [2.0]).item() == 8.0
    assert losses.get("tests>mean_cubed")([0.0], [2.0]).item() == 8.0


def mean_cubed(y_true, y_pred):
    return (y_pred - y_true) ** 3


# --- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*CLASSES} - {"TripletLoss", "InfoNCE", "SparseCategoricalCrossentropy"}))
@pytest.mark.parametrize(("y", "p"), [((4,), (4, 2)), ((4, 1), (4,)), ((4, 2), (4, 3)), ((3, 2), (4, 2))])
def test_shapes_must_be_equal(name, y, p):
    with pytest.raises(ValueError, match=r"^[a-z_]+ expected y_true of the shape of y_pred, .*Received: y_true of"):
        CLASSES[name]()(np.zeros(y), np.ones(p))


@pytest.mark.parametrize("name", ["BinaryCrossentropy", "MeanSquaredError", "Hinge"])
def test_labels_of_one_output_may_lack_its_axis(name):
    y, p = np.array([0.0, 1.0, 1.0]), np.array([[0.2], [0.7], [0.4]])
    assert CLASSES[name]()(y, p).item() == CLASSES[name]()(y[:, None], p).item()


def test_class_numbers_for_the_dense_loss_get_a_hint():
    with pytest.raises(ValueError, match="use sparse_categorical_crossentropy"):
        losses.categorical_crossentropy([1, 2], np.ones((2, 3)))


@pytest.mark.parametrize("y", [np.zeros((4, 3)), np.zeros(3), np.zeros((4, 1, 1))])
def test_sparse_labels_must_have_the_outer_shape(y):
    with pytest.raises(ValueError, match="sparse_categorical_crossentropy expected class numbers of shape"):
        losses.sparse_categorical_crossentropy(y, np.ones((4, 3)))


@pytest.mark.parametrize(
    ("labels", "received"),
    [([0.0, np.nan], "nan"), ([0, 3], "3"), ([-1, 0], "-1"), ([0.5, 1], "0.5"), ([np.inf, 0], "inf")],
)
def test_bad_labels(labels, received):
    with pytest.raises(ValueError, match=f"sparse_categorical_crossentropy expected labels .*Received: {received}"):
        losses.SparseCategoricalCrossentropy()(labels, np.full((2, 3), 1 / 3))


def test_one_loss_for_the_whole_batch_has_no_weights():
    """Keras multiplies it by the mean weight, which is not what weights are for."""
    loss = losses.LossFunctionWrapper(lambda y_true, y_pred: tc.ops.mean((y_true - y_pred) ** 2), name="total")
    assert loss([1.0, 2.0], [1.0, 4.0]).item() == 2.0
    with pytest.raises(ValueError, match="total must give one loss per sample where samples have weights. Received"):
        loss([1.0, 2.0], [1.0, 4.0], sample_weight=[1.0, 3.0])


@pytest.mark.parametrize("w", [np.ones(3), np.ones((4, 2, 3)), np.ones((1, 4))])
def test_bad_weights(w):
    with pytest.raises(ValueError, match="mean_squared_error expected sample_weight of shape"):
        losses.MeanSquaredError()(np.zeros((4, 2, 3))[:, 0], np.ones((4, 3)), w)


def test_bad_settings():
    for make in (
        lambda: losses.MeanSquaredError("average"), lambda: losses.Huber(0), lambda: losses.InfoNCE(-1),
        lambda: losses.CategoricalCrossentropy(label_smoothing=2), lambda: losses.ContrastiveLoss(float("nan")),
        lambda: losses.triplet(None, np.ones((4, 5))), lambda: losses.get("categorical_cross"), lambda: losses.get(3),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="Received: "):
            make()


def test_dtype():
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)).astype("float32")
    assert losses.MeanSquaredError()(y, p).dtype == "float32"
    exact = losses.MeanSquaredError(dtype="float64")(y, p)
    assert exact.dtype == "float64"
    assert exact.item() == pytest.approx(((y - p.astype("float64")) ** 2).mean(), rel=1e-14)
    assert losses.MeanSquaredError(dtype="float32")(y, p.astype("float64")).dtype == "float32"
    for loss in (losses.Huber(dtype="float64"), losses.LossFunctionWrapper(losses.mse, dtype="float64")):
        assert type(loss).from_config(loss.get_config()).dtype == "float64"
    with pytest.raises(TypeError):
        losses.MeanSquaredError(dtype="number")


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_focal_losses_of_certain_predictions_have_gradients(gamma, dtype):
    """A power below 1 is infinitely steep at 0. Right logits have no gradient left, wrong ones that of the softmax."""
    z = tc.Tensor(np.array([[200, -200], [-200, 200]], dtype), requires_grad=True)
    loss = losses.CategoricalFocalCrossentropy(1.0, gamma, from_logits=True, reduction="sum")
    (gradient,) = tc.grad(loss([[1, 0], [1, 0]], z), [z])
    np.testing.assert_allclose(gradient.numpy(), [[0, 0], [-1, 1]], atol=1e-6)
    z = tc.Tensor(np.array([[200], [-200]], dtype), requires_grad=True)
    loss = losses.BinaryFocalCrossentropy(gamma=gamma, from_logits=True, reduction="sum")
    (gradient,) = tc.grad(loss([[1], [1]], z), [z])
    np.testing.assert_allclose(gradient.numpy(), [[0], [-1]], atol=1e-6)
