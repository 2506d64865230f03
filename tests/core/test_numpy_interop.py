"""NumPy functions on tensors: the differentiable operation, the plain fact, or a clear error; never a lost gradient."""

import numpy as np
import pytest
import scipy.special

import tinyconv as tc

ARRAY = np.array([[0.5, 1.5, 1.0], [2.0, 0.25, 3.0]])


@pytest.fixture
def x():
    return tc.Tensor(ARRAY, requires_grad=True)


UFUNCS = (
    "exp", "expm1", "log", "log1p", "sqrt", "square", "abs", "absolute", "fabs", "negative", "positive", "reciprocal",
    "sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh",
)  # fmt: skip
FUNCTIONS = [
    lambda a: np.sum(a), lambda a: np.sum(a, axis=0), lambda a: np.sum(a, 1, keepdims=True),
    lambda a: np.mean(a, (0, 1)), lambda a: np.abs(a).max(), lambda a: np.min(a, 1), lambda a: np.amax(a),
    lambda a: np.var(a, axis=1, ddof=1), lambda a: np.std(a), lambda a: np.max(a, axis=1), lambda a: np.amin(a),
    lambda a: np.prod(a, axis=0), lambda a: np.cumsum(a), lambda a: np.cumsum(a, axis=1), lambda a: np.sort(a),
    lambda a: np.clip(a, 1, 2), lambda a: np.reshape(a, (3, 2)), lambda a: np.reshape(a, -1), lambda a: np.transpose(a),
    lambda a: np.transpose(a, (1, 0)), lambda a: np.swapaxes(a, 0, 1), lambda a: np.moveaxis(a, 0, 1),
    lambda a: np.squeeze(a[:1]), lambda a: np.expand_dims(a, 1), lambda a: np.broadcast_to(a, (4, 2, 3)),
    lambda a: np.expand_dims(a, (0, -1)), lambda a: np.roll(a, 1), lambda a: np.repeat(a, 2),
    lambda a: np.concatenate([a, ARRAY]), lambda a: np.stack([ARRAY, a], axis=1), lambda a: np.split(a, 3, axis=1)[1],
    lambda a: np.flip(a, 1), lambda a: np.roll(a, 1, axis=0), lambda a: np.repeat(a, 2, axis=0),
    lambda a: np.tile(a, (2, 1)), lambda a: np.take(a, [0, 5]), lambda a: np.take(a, [1], axis=1),
    lambda a: np.take_along_axis(a, np.argsort(ARRAY), 1), lambda a: np.where(ARRAY > 1, a, 0.0),
    lambda a: np.dot(a, ARRAY.T), lambda a: np.outer(a, a), lambda a: np.tensordot(a, ARRAY, 2),
    lambda a: np.einsum("ij,kj->ik", a, a), lambda a: np.matmul(ARRAY.T, a), lambda a: np.add(ARRAY, a),
    lambda a: np.multiply(a, a), lambda a: np.maximum(a, 1), lambda a: np.power(a, 3), lambda a: np.arctan2(a, ARRAY),
    lambda a: np.float64(2) * a, lambda a: ARRAY - a, lambda a: ARRAY / a, lambda a: ARRAY.T @ a, lambda a: ARRAY**a,
    lambda a: scipy.special.erf(a), lambda a: a[np.argmax(ARRAY, 0), [0, 1, 2]],
]  # fmt: skip
FACTS = [
    lambda a: np.shape(a), lambda a: np.ndim(a), lambda a: np.size(a), lambda a: np.allclose(a, ARRAY),
    lambda a: np.array_equal(a, ARRAY), lambda a: np.nonzero(a), lambda a: np.zeros_like(a), lambda a: np.unique(a),
    lambda a: np.count_nonzero(a), lambda a: np.result_type(a, np.float32), lambda a: np.array(a), lambda a: list(a[0]),
    lambda a: np.full((2,), a[0, 0]), lambda a: np.float32(a[0, 1]), lambda a: np.argmax(a), lambda a: np.argsort(a, 1),
    lambda a: np.any(a > 2), lambda a: np.all(a > 2, axis=0), lambda a: np.isnan(a), lambda a: np.sign(a),
    lambda a: np.greater(a, 1), lambda a: np.floor(a), lambda a: np.equal(ARRAY, a), lambda a: ARRAY.T < a.T,
]  # fmt: skip


@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs_are_differentiable(x, name):
    ufunc = getattr(np, name)
    y = ufunc(x)
    assert isinstance(y, tc.Tensor)
    np.testing.assert_allclose(y, ufunc(ARRAY), 1e-14)
    if name != "positive":
        assert y.requires_grad
        assert not y.is_leaf


@pytest.mark.parametrize("index", range(len(FUNCTIONS)))
def test_functions_are_differentiable(x, index):
    function = FUNCTIONS[index]
    y, expected = function(x), function(ARRAY)
    assert isinstance(y, tc.Tensor)
    assert y.requires_grad
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y, expected, 1e-13)
    y.backward(np.ones(y.shape))
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("index", range(len(FACTS)))
def test_facts_are_plain(x, index):
    function = FACTS[index]
    result, expected = function(x), function(ARRAY)
    assert not getattr(result, "requires_grad", False)
    assert np.asarray(result).shape == np.asarray(expected).shape
    if not isinstance(expected, type(np.dtype("f8"))):
        np.testing.assert_array_equal(np.asarray(result), expected)


UNDEFINED = [
    lambda a: np.median(a), lambda a: np.linalg.norm(a), lambda a: np.fft.fft(a), lambda a: np.diff(a),
    lambda a: np.pad(a, 1), lambda a: np.add.reduce(a), lambda a: np.maximum.outer(a, a), lambda a: np.add.at(a, 0, 1),
    lambda a: np.add(a, a, out=np.zeros((2, 3))), lambda a: np.exp(a, where=ARRAY > 1), lambda a: np.modf(a),
    lambda a: np.sum(a, dtype="f4"), lambda a: np.mean(a, out=np.zeros(())), lambda a: np.where(a > 1),
    lambda a: np.reshape(a, (3, 2), order="F"), lambda a: np.heaviside(a, 0.5), lambda a: np.clip(a, a_min=0, a_max=1),
    lambda a: np.zeros((2, 3)).__iadd__(a), lambda a: np.logical_xor(a, a), lambda a: np.repeat(a, [1, 2], 0),
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(UNDEFINED)))
def test_what_is_not_defined_raises_instead_of_losing_gradients(x, index):
    with pytest.raises(TypeError):
        UNDEFINED[index](x)


def test_the_error_says_what_to_do(x):
    with pytest.raises(TypeError, match=r"np\.median is not defined for tensors.*np\.asarray"):
        np.median(x)
    with pytest.raises(TypeError, match=r"np\.add\.reduce is not defined"):
        np.add.reduce(x)
    with pytest.raises(TypeError, match=r"np\.exp with where"):
        np.exp(x, where=ARRAY > 1)


def test_asarray_shares_memory_and_converts():
    x = tc.Tensor(np.ones(3, "float32"))
    assert np.asarray(x) is x.data
    assert np.asarray(x, "float64").dtype == np.float64
    assert np.array(x) is not x.data
    assert not np.shares_memory(np.array(x), x.data)
    assert np.asarray([x.detach(), x.detach()]).shape == (2, 3)


@pytest.mark.skipif(np.__version__ < "2", reason="copy= came with NumPy 2")
def test_asarray_without_copy():
    x = tc.Tensor(np.ones(3, "float32"))
    assert np.asarray(x, copy=False) is x.data
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype="float64", copy=False)


def test_filling_arrays_from_tensors(x):
    target = np.zeros((2, 3))
    target[...] = x
    np.testing.assert_array_equal(target, ARRAY)
    np.copyto(target, x * 2)
    np.testing.assert_array_equal(target, 2 * ARRAY)


def test_numpy_keeps_the_tensors_dtype():
    x = tc.Tensor(np.ones(2, "float32"))
    for y in (np.exp(x), np.float64(2) * x, x * np.float64(2), np.add(x, 2.5), np.mean(x), np.int64(2) * x):
        assert y.dtype == np.float32


def test_testing_functions_take_tensors(x):
    np.testing.assert_array_equal(x, ARRAY)
    np.testing.assert_allclose(x, ARRAY)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(x, ARRAY + 1)
