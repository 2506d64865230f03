"""Masks: who makes them, where they go, and what they change.

Numbers marked "Keras" are what Keras 3.15.1 (backend torch 2.13.0) gives for the same weights and inputs.
"""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv import layers
from tinyconv.masking import mask_of, with_mask
from tinyconv.testing import check_gradients

IDS = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [2, 1, 3, 1]])
TABLE = (np.arange(12).reshape(4, 3) / 10).astype("float32")
KERNEL = np.array([[1, -1], [0.5, 2], [0, 1]], "float32")
WEIGHTS = [TABLE, KERNEL, np.zeros(2, "float32")]
LABELS = np.array([[[1, 0]] * 4, [[0, 1]] * 4, [[0.5, 0.5]] * 4])
PER_STEP = np.repeat([[1.0], [2.0], [0.5]], 4, axis=1)


def per_step(**compiled):
    """A model of sequences of words with an output at each step."""
    words = tc.Input((4,), dtype="int32")
    model = tc.Model(words, layers.Dense(2)(layers.Embedding(4, 3, mask_zero=True)(words)))
    model.set_weights(WEIGHTS)
    if compiled:
        model.compile(**compiled)
    return model


def masked(x):
    """``x`` with the mask that ``Masking()`` makes."""
    return layers.Masking()(np.asarray(x, "float32"))


def values(mask):
    return None if mask is None else mask.tolist()


# --- making and handing on -------------------------------------------------------------------------------------


def test_embedding_masks_zeros():
    y = layers.Embedding(4, 2, mask_zero=True)(IDS)
    np.testing.assert_array_equal(mask_of(y), IDS != 0)
    assert mask_of(layers.Embedding(4, 2)(IDS)) is None


def test_masking():
    x = np.array([[[1.0, -1], [-1, -1], [0, 0]]])
    y = layers.Masking(-1.0)(x)
    assert y.tolist() == [[[1, -1], [0, 0], [0, 0]]]
    assert values(mask_of(y)) == [[True, False, True]]


HANDING_ON = [
    layers.Dense(2), layers.Activation("relu"), layers.ReLU(), layers.Dropout(0.5), layers.BatchNormalization(),
    layers.LayerNormalization(), layers.Identity(), layers.GaussianNoise(0.1), layers.ActivityRegularization(l2=0.1),
    layers.SpatialDropout1D(0.5), layers.Rescaling(2.0), layers.PReLU(), layers.UnitNormalization(),
    layers.Normalization(mean=0.0, variance=1.0), layers.GroupNormalization(2),
]  # fmt: skip


@pytest.mark.parametrize("layer", HANDING_ON, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("training", [False, True])
def test_layers_that_hand_masks_on(layer, training):
    y = layer(masked([[[1, 2], [0, 0], [3, 4]]]), training=training)
    assert values(mask_of(y)) == [[True, False, True]]


@pytest.mark.parametrize("layer", [layers.Conv1D(2, 1), layers.Flatten(), layers.MaxPooling1D(2)], ids=repr)
def test_other_layers_drop_masks_and_say_so(layer):
    with pytest.warns(UserWarning, match=f"{type(layer).__name__} '{layer.name}' received inputs with a mask"):
        assert mask_of(layer(masked([[[1, 2], [0, 0], [3, 4]]]))) is None


def test_operations_drop_masks_silently():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mask_of(2 * masked([[[1, 2], [0, 0]]])) is None


def test_merging():
    a, b, plain = masked([[[1, 1], [0, 0]]]), masked([[[0, 0], [0, 0]]]), np.ones((1, 2, 2), "float32")
    assert values(mask_of(layers.Add()([a, b]))) == [[True, False]]
    assert mask_of(layers.Add()([a, plain])) is None
    assert values(mask_of(layers.Concatenate()([a, b]))) == [[True, False]]
    assert values(mask_of(layers.Concatenate(axis=1)([a, b]))) == [[True, False, False, False]]
    assert values(mask_of(layers.Concatenate(axis=1)([b, plain]))) == [[False, False, True, True]]
    assert mask_of(layers.Dot(axes=2)([a, b])) is None


def test_masks_pass_through_models():
    inner = tc.Sequential([layers.Dense(3), layers.Dropout(0.5), layers.Dense(2)])
    x = tc.Input((4,))
    model = tc.Model(x, inner(layers.Embedding(4, 3, mask_zero=True)(x)))
    np.testing.assert_array_equal(mask_of(model(IDS)), IDS != 0)
    assert values(mask_of(inner(np.ones((1, 2, 3)), mask=[[True, False]]))) == [[True, False]]


def test_masks_of_several_inputs():
    a, b = tc.Input((2, 2), name="a"), tc.Input((2, 2), name="b")
    pooled = layers.Subtract()([layers.GlobalAveragePooling1D()(a), layers.GlobalAveragePooling1D()(b)])
    model = tc.Model({"a": a, "b": b}, pooled)
    x, y = masked([[[4, 4], [0, 0]]]), np.array([[[1.0, 1], [3, 3]]], "float32")
    assert model({"b": y, "a": x}).tolist() == [[2, 2]]
    assert model({"b": x, "a": y}).tolist() == [[-2, -2]]
    assert model({"a": y, "b": y}, mask={"a": None, "b": np.array([[False, True]])}).tolist() == [[-1, -1]]


def test_own_layers():
    class Total(layers.Layer):
        def call(self, x, mask=None):
            return tc.ops.sum(x if mask is None else tc.ops.where(mask[..., None], x, 0.0), axis=1)

    class Both(layers.Layer):
        def call(self, query, key, query_mask=None, key_mask=None):
            self.seen = query_mask, key_mask
            return query

    class First(layers.Layer):
        supports_masking = True

        def compute_mask(self, x, mask=None):
            return None if mask is None else mask[:, :1]

        def call(self, x):
            return x[:, :1]

    x = with_mask(tc.Tensor(np.ones((1, 3, 2))), [[True, False, True]])
    assert Total()(x).tolist() == [[2, 2]]
    assert Total()(np.ones((1, 3, 2))).tolist() == [[3, 3]]
    assert Total()(np.ones((1, 3, 2)), mask=np.array([[True, False, False]])).tolist() == [[1, 1]]
    both = Both()
    both(x, np.ones((1, 3, 2)))
    assert (values(both.seen[0]), both.seen[1]) == ([[True, False, True]], None)
    assert values(mask_of(First()(x))) == [[True]]


def test_lambda():
    x = masked([[[1, 2], [0, 0]]])
    seen = layers.Lambda(lambda x, mask=None: x if mask is None else tc.ops.where(mask[..., None], 5.0, 7.0))(x)
    assert seen.tolist() == [[[5], [7]]]
    kept = layers.Lambda(lambda x: x + 1, mask=lambda x, mask: mask)
    assert values(mask_of(kept(x))) == [[True, False]]
    assert values(mask_of(layers.Lambda(lambda x: x, mask=[[False, True]])(np.ones((1, 2, 2))))) == [[False, True]]


def test_gradients_reach_a_leaf_that_is_given_a_mask():
    x = tc.Tensor(np.ones((1, 2, 2)), requires_grad=True)
    y = layers.GlobalAveragePooling1D(dtype="float64")(layers.Identity(dtype="float64")(with_mask(x, [[True, False]])))
    y.sum().backward()
    assert x.grad.tolist() == [[[1, 1], [0, 0]]]


# --- layers that masks have an effect on -----------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), st.integers(0, 2**31), st.booleans())
@settings(max_examples=30, deadline=None)
def test_average_pooling(n, steps, channels, seed, first):
    rng = np.random.default_rng(seed)
    x, counts = rng.normal(size=(n, steps, channels)), rng.random((n, steps)) < 0.5
    counts[:, 0] = True
    expected = np.array([row[keep].mean(0) for row, keep in zip(x, counts, strict=True)])
    layer = layers.GlobalAveragePooling1D("channels_first" if first else "channels_last", dtype="float64")
    y = layer(np.moveaxis(x, -1, 1) if first else x, mask=counts)
    np.testing.assert_allclose(y, expected, rtol=1e-12)


def test_average_pooling_of_nothing_is_nan():  # as in Keras
    with np.errstate(invalid="ignore"):
        assert np.isnan(layers.GlobalAveragePooling1D()(np.ones((1, 2, 1)), mask=np.zeros((1, 2), bool)).item())


def test_pooled_model():
    words = tc.Input((4,), dtype="int32")
    x = layers.Dropout(0.5)(layers.Dense(2)(layers.Embedding(4, 3, mask_zero=True)(words)))
    model = tc.Model(words, layers.GlobalAveragePooling1D()(x))
    model.set_weights(WEIGHTS)
    np.testing.assert_allclose(model(IDS), [[0.725, 1.3], [1.4, 2.2], [0.8375, 1.45]], rtol=1e-6)  # Keras


@pytest.mark.parametrize("axis", [-1, 1])
def test_batch_normalization(axis):
    rng = np.random.default_rng(0)
    x, counts = rng.normal(size=(3, 5, 2)), rng.random((3, 5)) < 0.6
    layer = layers.BatchNormalization(axis, momentum=0.5, dtype="float64")
    layout = np.asarray if axis == -1 else lambda x: np.moveaxis(x, -1, 1)
    y = layer(layout(x), mask=counts, training=True)
    mean, variance = x[counts].mean(0), x[counts].var(0)
    np.testing.assert_allclose(y, layout((x - mean) / np.sqrt(variance + 1e-3)), rtol=1e-6)
    np.testing.assert_allclose(layer.moving_mean, 0.5 * mean, rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, 0.5 + 0.5 * variance, rtol=1e-6)
    np.testing.assert_array_equal(layer(layout(x), mask=counts), layer(layout(x)))  # no effect in inference
    check_gradients(lambda x: layer(x, mask=counts, training=True), [layout(x)], order=2)


def test_softmax():
    mask = np.array([[True, True, False], [False] * 3])
    y = layers.Softmax()(np.array([[1.0, 2, 3], [1, 1, 1]]), mask=mask)
    np.testing.assert_allclose(y, [[0.268941, 0.731059, 0], [0, 0, 0]], atol=1e-6)  # Keras
    both = layers.Softmax(axis=(1, 2))(np.arange(8.0).reshape(2, 2, 2))
    np.testing.assert_allclose(both.numpy()[0], [[0.032059, 0.087144], [0.236883, 0.643914]], atol=1e-6)  # Keras


# --- losses and metrics ----------------------------------------------------------------------------------------


def test_losses_count_only_what_is_not_masked():
    rng = np.random.default_rng(1)
    y, p, counts = rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 4, 2)), rng.random((3, 4)) < 0.6
    each = ((y - p) ** 2).mean(-1)
    weights = rng.random((3, 4))
    given = with_mask(tc.Tensor(p), counts)
    expected = {
        "sum_over_batch_size": (each[counts].mean(), (each * weights)[counts].sum() / counts.sum()),
        "sum": (each[counts].sum(), (each * weights)[counts].sum()),
        "mean_with_sample_weight": (each[counts].mean(), np.average(each[counts], weights=weights[counts])),
        "none": (each * counts, each * counts * weights),
    }
    for reduction, (plain, weighted) in expected.items():
        loss = tc.losses.MeanSquaredError(reduction)
        np.testing.assert_allclose(loss(y, given), plain, rtol=1e-12)
        np.testing.assert_allclose(loss(y, given, weights), weighted, rtol=1e-12)
    assert tc.losses.MeanSquaredError()(y, with_mask(tc.Tensor(p), np.zeros((3, 4), bool))).item() == 0.0


def test_masks_and_ignored_classes():
    loss = tc.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1)
    model = per_step(optimizer="sgd", loss=loss, metrics=["accuracy"])
    found = model.evaluate(IDS, np.array([[0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]]))
    np.testing.assert_allclose(found, [1.072589, 0.428571], atol=1e-6)  # Keras


@pytest.mark.parametrize(("reduction", "loss", "weighted", "losses", "table"), [
    ("sum_over_batch_size", 1.035243, 1.296094, [0.916071, 0.436307], [0.358645, 0.326881, 0.459643]),
    ("sum", 3.339583, 4.005208, [6.4125, 13.937752], [-0.110632, 0.828759, 0.451999]),
    ("mean_with_sample_weight", 1.035243, 1.118229, [0.916071, 0.436307], [0.358645, 0.326881, 0.459643]),
])  # fmt: skip
@pytest.mark.parametrize("eager", [False, True])
def test_training(reduction, loss, weighted, losses, table, eager):  # all numbers: Keras
    parts = {"loss": tc.losses.MeanSquaredError(reduction), "metrics": ["mae"], "weighted_metrics": ["mse"]}
    model = per_step(optimizer=tc.optimizers.SGD(0.1), run_eagerly=eager, **parts)
    plain = model.evaluate(IDS, LABELS, batch_size=2)
    np.testing.assert_allclose(plain, [loss, 0.778571, 0.916071], atol=2e-6)
    found = model.evaluate(IDS, LABELS, sample_weight=PER_STEP, batch_size=2)
    np.testing.assert_allclose(found, [weighted, 0.778571, 1.118229], atol=2e-6)
    history = model.fit(IDS, LABELS, batch_size=3, epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], losses, atol=2e-6)
    np.testing.assert_allclose(model.get_weights()[0][1], table, atol=2e-6)
    np.testing.assert_array_equal(model.get_weights()[0][0], TABLE[0])  # what is masked is not trained


def test_replayed_steps_keep_masks():
    histories = []
    for eager in (False, True):
        model = per_step(optimizer="sgd", loss="mse", weighted_metrics=["mae"], run_eagerly=eager)
        histories.append(model.fit(IDS, LABELS, batch_size=3, epochs=6, shuffle=False, verbose=0).history)
    assert histories[0] == histories[1]


def test_masks_after_saving(tmp_path):
    words = tc.Input((4,), dtype="int32")
    x = layers.Lambda(tc.ops.gelu, mask=[[True] * 4])(layers.Embedding(4, 3, mask_zero=True)(words))
    model = tc.Model(words, layers.Masking(0.5)(x))
    again = tc.models.model_from_json(model.to_json())
    assert (again.layers[1].mask_zero, again.layers[-1].mask_value) == (True, 0.5)
    model = per_step(optimizer="sgd", loss="mse")
    model.save(tmp_path / "model.tinyconv")
    again = tc.load_model(tmp_path / "model.tinyconv")
    np.testing.assert_array_equal(mask_of(again(IDS)), IDS != 0)
    assert again.evaluate(IDS, LABELS) == model.evaluate(IDS, LABELS)


def test_a_mask_given_by_position():
    """Keras allows it: ``Softmax()(x, mask)``."""
    x, mask = np.array([[1.0, 2.0, 3.0]]), np.array([[True, False, True]])
    expected = np.exp([[1, -np.inf, 3]]) / (np.exp(1) + np.exp(3))
    np.testing.assert_allclose(tc.layers.Softmax()(x, mask), expected, rtol=1e-5)
    a, b = tc.Input((3,)), tc.Input((3,), dtype="bool")
    np.testing.assert_allclose(tc.Model([a, b], tc.layers.Softmax()(a, b)).predict([x, mask]), expected, rtol=1e-5)
    masked = tc.masking.with_mask(tc.Tensor(x), ~mask)  # what is given goes before what is carried
    np.testing.assert_allclose(tc.layers.Softmax()(masked, mask), expected, rtol=1e-5)
