"""Errors and corners of moving elements about and of contractions."""

import math

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import ops
from tinyconv.testing import assert_close, check_gradients

X = np.arange(24.0).reshape(2, 3, 4)
BAD = [
    (lambda: ops.reshape(X, (5, 5)), "expected a shape of 24 elements"),
    (lambda: ops.reshape(X, (-1, -1)), "expected a shape of 24 elements"),
    (lambda: ops.transpose(X, (0, 1)), "permutation of the 3 axes"),
    (lambda: ops.transpose(X, (0, 0, 1)), "permutation of the 3 axes"),
    (lambda: ops.squeeze(X, 0), "size 1 on axis 0"),
    (lambda: ops.expand_dims(X, 4), "axis must lie in"),
    (lambda: ops.expand_dims(X, (0, -5)), "twice"),
    (lambda: ops.broadcast_to(X, (3, 3, 4)), "broadcast"),
    (lambda: ops.concatenate([]), "at least one tensor"),
    (lambda: ops.concatenate([X, X[0]]), "differ on axis 0 only"),
    (lambda: ops.concatenate([X, X[:, :2]], 0), "differ on axis 0 only"),
    (lambda: ops.stack([X, X[:1]]), "differ on axis 0 only"),
    (lambda: ops.split(X, 5, 1), "divisor of 3"),
    (lambda: ops.pad(X, -1), "widths >= 0"),
    (lambda: ops.pad(X, 1, mode="mirror"), "mode must be"),
    (lambda: ops.sum(X, 3), "axis must lie in"),
    (lambda: ops.sum(X, (0, 0)), "twice"),
    (lambda: ops.max(X[:0]), "max expected at least one element"),
    (lambda: ops.min(X[:, :0], 1), "min expected at least one element"),
    (lambda: ops.matmul(X, X), "matmul expected"),
    (lambda: ops.matmul(1.0, X), "matmul expected"),
    (lambda: ops.tensordot(X, X, 1), "equal sizes on axes"),
    (lambda: ops.einsum("ij,jk->ik", X[0]), "names 2 operands"),
    (lambda: ops.einsum("ij->i", X), "must have 2 axes"),
    (lambda: ops.einsum("ijk,k->ij", X, np.ones(3)), "axis 'k' has sizes"),
    (lambda: ops.einsum("ijk->il", X), "the result must use letters"),
    (lambda: ops.einsum("ijk->ii", X), "the result must use letters"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_changes_nothing_copies_nothing():
    x = tc.Tensor(X)
    for same in (
        ops.reshape(x, (2, 3, 4)), ops.transpose(x, (0, 1, 2)), ops.broadcast_to(x, (2, 3, 4)), ops.squeeze(x),
        ops.astype(x, "float64"),
    ):  # fmt: skip
        assert same is x


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric", "wrap"])
def test_wide_borders(mode):
    """Wider than the picture itself, where reflections repeat."""
    x = X[0, :, :2]
    assert_close(ops.pad(x, [(4, 5), (3, 0)], mode=mode), np.pad(x, [(4, 5), (3, 0)], mode=mode))
    check_gradients(lambda x: ops.pad(x, [(4, 5), (3, 0)], mode=mode), [x], order=2)


def test_pad_value():
    assert ops.pad([1.0], (1, 2), value=7).tolist() == [7, 1, 7, 7]
    assert ops.pad(np.array([1], "uint8"), 1).dtype == np.uint8


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,ij,ij->i", [(2, 3)] * 3),
        ("ab,bc,cd,de->ae", [(2, 3), (3, 4), (4, 2), (2, 5)]),
        ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 2)]),
        ("i...->...", [(3, 2, 2)]),
        ("iii->i", [(3, 3, 3)]),
        ("iij,jj->", [(2, 2, 3), (3, 3)]),
        ("ij,j", [(2, 3), (3,)]),
        ("ba", [(2, 3)]),
        (" i j , j k -> i k ", [(2, 3), (3, 2)]),
        (",->", [(), ()]),
        ("ij,kj->ik", [(2, 1), (3, 4)]),
        ("nhwc,hwco->no", [(2, 3, 3, 2), (3, 3, 2, 4)]),
    ],
)
def test_einsum(subscripts, shapes):
    rng = np.random.default_rng(0)
    operands = [rng.standard_normal(shape) for shape in shapes]
    assert_close(ops.einsum(subscripts, *operands), np.einsum(subscripts, *operands), 1e-12)
    check_gradients(lambda *xs: ops.einsum(subscripts, *xs), operands, order=2, directions=1)


@pytest.mark.parametrize("wanted", [0, 1])
@pytest.mark.parametrize(
    ("name", "call"), [("matmul", ops.matmul), ("einsum", lambda x, y: ops.einsum("ij,jk->ik", x, y))]
)
def test_only_the_requested_product_is_computed(monkeypatch, name, call, wanted):
    operands = [tc.Tensor(np.ones((3, 3)), requires_grad=True) for _ in range(2)]
    y = call(*operands)
    table = type(tc.backends.default())
    count, primitive = [], getattr(table, name)
    monkeypatch.setattr(table, name, lambda *arguments: count.append(1) or primitive(*arguments))
    tc.grad(y, operands[wanted], grad_outputs=np.ones((3, 3)))
    assert len(count) == 1


def test_contractions_over_nothing_are_zero():
    assert ops.matmul(np.ones((2, 0)), np.ones((0, 3))).tolist() == [[0] * 3] * 2
    assert ops.einsum("ij,ij->", np.ones((0, 2)), np.ones((0, 2))).item() == 0
    assert ops.tensordot(np.ones((2, 0)), np.ones((0, 3)), 1).shape == (2, 3)


def test_reductions_of_nothing():
    empty = np.zeros((0, 3))
    assert ops.sum(empty, 0).tolist() == [0, 0, 0]
    assert ops.prod(empty, 0).tolist() == [1, 1, 1]
    assert ops.all(empty).item() is True
    assert ops.any(empty).item() is False
    assert math.isnan(ops.mean(empty).item())


def test_sums_of_small_floats_are_rounded_once():
    """A hundred thousand times 0.1 in float32: adding one by one would be off by more than 1."""
    x = np.full(100_000, 0.1, "f4")
    assert ops.sum(x).item() == np.float32(np.float64(np.float32(0.1)) * 100_000)


def test_integer_sums_and_products_do_not_overflow_small_types():
    x = np.full(10, 100, "int8")
    assert ops.sum(x).item() == 1000
    assert ops.prod(np.full(8, 10, "int8")).item() == 10**8
    assert ops.cumsum(x)[-1].item() == 1000
    assert ops.sum(np.ones(300, bool)).item() == 300


def test_stable_sorting():
    x = np.array([1.0, 0.0, 1.0, 0.0])
    assert ops.argsort(x).tolist() == [1, 3, 0, 2]
    assert (ops.argmax(x).item(), ops.argmin(x).item()) == (0, 1)
