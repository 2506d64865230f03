"""Regularizers and constraints against NumPy formulas."""

import json

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import constraints, registry, regularizers
from tinyconv.testing import assert_close, check_gradients

W = np.random.default_rng(0).standard_normal((4, 3, 2, 5))


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (regularizers.L1(0.3), 0.3 * np.abs(W).sum()),
        (regularizers.L2(0.3), 0.3 * np.square(W).sum()),
        (regularizers.L1L2(0.1, 0.2), 0.1 * np.abs(W).sum() + 0.2 * np.square(W).sum()),
        (regularizers.L1L2(), 0.0),
        (regularizers.l1_l2(l2=0.01), 0.01 * np.square(W).sum()),
        (regularizers.L1(np.float32(0.5)), 0.5 * np.abs(W).sum()),
        (regularizers.L1(np.int64(2)), 2 * np.abs(W).sum()),
        (regularizers.get("l1"), 0.01 * np.abs(W).sum()),
        (regularizers.get("L2"), 0.01 * np.square(W).sum()),
    ],
)
def test_penalties(regularizer, expected):
    assert regularizer(W).item() == pytest.approx(expected)
    assert regularizer(tc.Tensor(W.astype("float32"))).dtype == "float32"
    again = regularizers.get(json.loads(json.dumps(registry.serialize(regularizer))))
    assert again.get_config() == regularizer.get_config()
    assert check_gradients(regularizer, [W]).checked


@pytest.mark.parametrize(("mode", "pairs"), [("rows", [(0, 1), (0, 2), (1, 2)]), ("columns", [(0, 1)])])
def test_orthogonal_regularizer(mode, pairs):
    w = np.random.default_rng(1).standard_normal((3, 2))
    vectors = w if mode == "rows" else w.T
    cosines = [abs(vectors[i] @ vectors[j]) / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j]) for i, j in pairs]
    regularizer = regularizers.OrthogonalRegularizer(0.3, mode)
    assert regularizer(w).item() == pytest.approx(0.3 * np.mean(cosines))
    assert check_gradients(regularizer, [w]).checked
    with pytest.raises(ValueError, match=r"expected a matrix. Received: shape \(4, 3, 2, 5\)"):
        regularizer(W)


def test_regularizer_identifiers():
    assert regularizers.get(None) is None
    assert regularizers.get(len) is len
    assert regularizers.l2 is regularizers.L2
    assert repr(regularizers.L2(0.5)) == "L2(l2=0.5)"
    with pytest.raises(ValueError, match="Unknown regularizer.* Received: 'l7'"):
        regularizers.get("l7")
    for bad in (-1, "0.1", None, True, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="l2 must be a finite number >= 0. Received"):
            regularizers.L2(bad)


def norms(w, axis=0):
    return np.sqrt(np.square(w).sum(axis, keepdims=True))


@pytest.mark.parametrize("axis", [0, (0, 1, 2), [0, 1]])
def test_norm_constraints(axis):
    n = norms(W, tuple(axis) if isinstance(axis, list) else axis)
    limit = float(np.median(n))
    cases = [
        (constraints.MaxNorm(limit, axis), W * np.minimum(1, limit / n)),
        (constraints.UnitNorm(axis), W / n),
        (constraints.MinMaxNorm(0.9 * limit, 1.1 * limit, axis=axis), W * np.clip(n, 0.9 * limit, 1.1 * limit) / n),
        (constraints.MinMaxNorm(0.0, limit, 0.5, axis), W * (0.5 * np.minimum(n, limit) + 0.5 * n) / n),
    ]
    for constraint, expected in cases:
        assert_close(constraint(W), expected, rtol=1e-6)
        again = constraints.get(json.loads(json.dumps(registry.serialize(constraint))))
        assert again.get_config() == constraint.get_config()
        np.testing.assert_array_equal(again(W), constraint(W))
        assert not constraint(np.zeros_like(W)).numpy().any()


def test_non_negative():
    assert_close(constraints.NonNeg()(W), np.maximum(W, 0))
    assert isinstance(constraints.get("non_neg"), constraints.NonNeg)


def test_constraint_identifiers():
    assert constraints.get(None) is None
    assert constraints.get("max_norm").max_value == 2
    with pytest.raises(ValueError, match="Unknown constraint.* Received: 'norm'"):
        constraints.get("norm")
    with pytest.raises(ValueError, match="max_value must be >= 0"):
        constraints.MaxNorm(-1)
    with pytest.raises(ValueError, match="0 <= min_value <= max_value"):
        constraints.MinMaxNorm(2.0, 1.0)
