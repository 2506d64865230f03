"""Layers of several inputs against NumPy."""

from functools import reduce

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import layers
from tinyconv.testing import assert_close

RNG = np.random.default_rng(0)
A, B, C = (RNG.standard_normal((2, 3, 4)) for _ in range(3))

FORMULAS = {
    "Add": lambda *xs: sum(xs),
    "Multiply": lambda *xs: reduce(np.multiply, xs),
    "Average": lambda *xs: np.mean(np.broadcast_arrays(*xs), axis=0),
    "Maximum": lambda *xs: reduce(np.maximum, xs),
    "Minimum": lambda *xs: reduce(np.minimum, xs),
    "Subtract": np.subtract,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_arithmetic(name):
    cls, f = getattr(layers, name), FORMULAS[name]
    layer = cls(dtype="float64")
    cases = [(A, B), (A, A[:, :1]), (A[:, :1], B[:, :, :1])]
    if name != "Subtract":
        cases += [(A, B, C), (A,)]
    for inputs in cases:
        expected = f(*inputs)
        assert_close(layer(list(inputs)), expected)
        assert layer([tc.Input(x.shape[1:]) for x in inputs]).shape == (None, *expected.shape[1:])
    assert_close(getattr(layers, name.lower())([A, B], dtype="float64"), f(A, B))


def test_fewer_axes_are_filled_after_the_batch_axis():
    images, weights = RNG.standard_normal((2, 3, 4, 5)), RNG.standard_normal((2, 5))
    expected = images * weights[:, None, None]
    assert_close(layers.Multiply(dtype="float64")([images, weights]), expected)
    assert layers.Multiply()([tc.Input((3, 4, 5)), tc.Input((5,))]).shape == (None, 3, 4, 5)


def test_unknown_sizes():
    assert layers.Add()([tc.Input((None, 4)), tc.Input((3, 4))]).shape == (None, 3, 4)
    assert layers.Add()([tc.Input((None, 4)), tc.Input((1, 4))]).shape == (None, None, 4)
    assert layers.Concatenate(1)([tc.Input((None, 4)), tc.Input((3, 4))]).shape == (None, None, 4)
    assert layers.Concatenate()([tc.Input((None, 4)), tc.Input((3, 4))]).shape == (None, 3, 8)


@pytest.mark.parametrize("name", FORMULAS)
def test_errors_name_the_layer_and_all_shapes(name):
    layer = getattr(layers, name)(name="m")
    with pytest.raises(ValueError, match=rf"{name} 'm': expected sizes .* 1.*\(None, 3, 4\), \(None, 3, 5\)"):
        layer([tc.Input((3, 4)), tc.Input((3, 5))])
    with pytest.raises(ValueError, match=f"{name} 'm': expected sizes that are equal or 1"):
        layer([A, np.zeros((3, 3, 4))])  # another number of samples
    with pytest.raises(ValueError, match=rf"{name} 'm': expected a list of .* Received: one of shape \(None, 3, 4\)"):
        layer(A)


def test_number_of_inputs():
    with pytest.raises(ValueError, match="Subtract 's': expected a list of 2 tensors. Received: 3, of shapes"):
        layers.Subtract(name="s")([A, B, C])
    with pytest.raises(ValueError, match="Dot 'd': expected a list of 2 tensors. Received: 1"):
        layers.Dot(1, name="d")([A])


@pytest.mark.parametrize("axis", [-1, 1, 2, -2])
def test_concatenate(axis):
    layer = layers.Concatenate(axis, dtype="float64")
    assert_close(layer([A, B, C]), np.concatenate([A, B, C], axis))
    assert_close(layers.concatenate([A, B], axis, dtype="float64"), np.concatenate([A, B], axis))
    with pytest.raises(ValueError, match="Concatenate 'c': .*differ on axis 2 only. Received"):
        layers.Concatenate(name="c")([tc.Input((3, 4)), tc.Input((2, 4))])
    with pytest.raises(ValueError, match="Concatenate 'c': .*differ on axis 2 only. Received"):
        layers.Concatenate(name="c")([A, B[:, :2]])
    with pytest.raises(ValueError, match="Concatenate 'c': axis must lie in"):
        layers.Concatenate(3, name="c")([A, B])
    with pytest.raises(ValueError, match="Concatenate 'c': expected equal numbers of axes"):
        layers.Concatenate(name="c")([tc.Input((3, 4)), tc.Input((4,))])


def test_dot():
    x, y = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((2, 5, 4))
    assert_close(layers.Dot(2, dtype="float64")([x, y]), np.einsum("nij,nkj->nik", x, y))
    assert_close(layers.Dot((2, -1), dtype="float64")([x, y]), np.einsum("nij,nkj->nik", x, y))
    u, v = x[:, 0], y[:, 0]
    assert_close(layers.Dot(1, dtype="float64")([u, v]), (u * v).sum(1, keepdims=True))
    cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    assert_close(layers.dot([u, v], -1, normalize=True, dtype="float64"), cosine[:, None])
    assert layers.Dot(2)([tc.Input((3, 4)), tc.Input((5, 4))]).shape == (None, 3, 5)
    with pytest.raises(ValueError, match=r"Dot 'd': expected equal sizes on axes \(1, 1\). Received"):
        layers.Dot(1, name="d")([x, y])
    with pytest.raises(ValueError, match="axes must be an integer other than 0"):
        layers.Dot(0)


def test_gradients_go_to_every_input():
    x, y = tc.Tensor([[1.0, 5.0]], requires_grad=True), tc.Tensor([[3.0, 5.0]], requires_grad=True)
    layers.Maximum()([x, y]).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([[0.0, 0.5]], [[1.0, 0.5]])
