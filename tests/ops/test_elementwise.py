"""Special values, Python numbers as operands, mixed dtypes, ties: what the table of operations does not draw."""

import math

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import ops
from tinyconv.testing import assert_close

EDGES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e-30, 88.0, -104.0, 1e30])
SAME_NAME = (
    "absolute", "negative", "square", "exp", "expm1", "log", "log1p", "sqrt", "reciprocal", "sin", "cos", "tan",
    "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "sign", "floor", "ceil", "rint", "isnan", "isinf", "isfinite",
)  # fmt: skip
BINARY = (
    "add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "arctan2", "floor_divide", "equal",
    "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or",
)  # fmt: skip


def derivative(operation, at, dtype="float64"):
    x = tc.Tensor(np.array(at, dtype), requires_grad=True)
    operation(x).sum().backward()
    return x.grad.tolist()


# --- special values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SAME_NAME)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_values_are_numpys(name, dtype):
    x = EDGES.astype(dtype)
    assert_close(getattr(ops, name)(x), getattr(np, name)(x), {"float64": 1e-14, "float32": 1e-6}[dtype], 0)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_pairs_are_numpys(name):
    x, y = EDGES[:, None], EDGES[None, :]
    assert_close(getattr(ops, name)(x, y), getattr(np, name)(x, y), 1e-14, 0)


FAR = [
    (ops.sigmoid, [-1000.0, 1000.0, -np.inf, np.inf, -20.0], [0, 1, 0, 1, 2.0611536181902037e-09]),
    (ops.softplus, [-1000.0, 1000.0, -np.inf, np.inf, -40.0], [0, 1000, 0, np.inf, 4.248354255291589e-18]),
    (ops.relu, [-1e30, -0.0, np.inf], [0, 0, np.inf]),
    (ops.elu, [-1000.0, 1000.0, -np.inf], [-1, 1000, -1]),
    (ops.silu, [-1000.0, 1000.0], [0, 1000]),
    (ops.mish, [-1000.0, 1000.0], [0, 1000]),
    (ops.gelu, [-1000.0, 1000.0], [0, 1000]),
    (ops.hard_sigmoid, [-1000.0, -3.0, 0.0, 3.0, 1000.0], [0, 0, 0.5, 1, 1]),
    (ops.relu6, [-1.0, 3.0, 7.0], [0, 3, 6]),
    (ops.softsign, [-1e30, 0.0, 1.0], [-1, 0, 0.5]),
    (ops.erf, [-10.0, 0.0, 10.0], [-1, 0, 1]),
]


@pytest.mark.parametrize(("operation", "x", "expected"), FAR, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_activations_far_from_zero(operation, x, expected):
    assert_close(operation(np.array(x)), np.array(expected, float), 1e-12, 0)
    finite = [v for v in x if math.isfinite(v)]
    assert np.isfinite(derivative(operation, finite)).all()


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "sigmoid", "softplus", "relu6", "gelu", "mish", "tanh"])
def test_nan_stays_nan(name):
    assert np.isnan(getattr(ops, name)(np.array([np.nan])).numpy()).all()


def test_softmax_and_logsumexp_do_not_overflow():
    assert_close(ops.softmax(np.array([1000.0, 1001.0])), [0.2689414213699951, 0.7310585786300049], 1e-12)
    assert_close(ops.log_softmax(np.array([-1000.0, 0.0])), [-1000.0, 0.0])
    assert ops.logsumexp(np.array([1000.0, 1000.0])).item() == pytest.approx(1000 + math.log(2), rel=1e-15)
    assert ops.logsumexp(np.array([-1000.0, -1000.0])).item() == pytest.approx(-1000 + math.log(2), rel=1e-15)
    with np.errstate(divide="ignore"):
        assert ops.logsumexp(np.array([-np.inf, -np.inf])).item() == -np.inf


# --- derivatives where there is none, or where a formula could break ---------------------------------------------


@pytest.mark.parametrize(
    ("operation", "at", "expected"),
    [
        (ops.relu, [-1, 0, 1], [0, 0, 1]),
        (ops.absolute, [-1, 0, 1], [-1, 0, 1]),
        (lambda x: ops.maximum(x, 0.0), [-1, 0, 1], [0, 0.5, 1]),
        (lambda x: ops.minimum(x, 0.0), [-1, 0, 1], [1, 0.5, 0]),
        (lambda x: ops.clip(x, 0, 1), [-1, 0, 0.5, 1, 2], [0, 1, 1, 1, 0]),
        (ops.softplus, [0], [0.5]),
        (ops.elu, [0], [1]),
        (lambda x: x**0, [0, 2], [0, 0]),
        (lambda x: x**1, [0, 2], [1, 1]),
        (lambda x: x**2, [0, 2], [0, 4]),
        (lambda x: x**3, [0, 2], [0, 12]),
        (lambda x: ops.power(x, np.array([0.0, 3.0])), [0, 0], [0, 0]),
        (lambda x: ops.power(np.array([0.0, 2.0]), x), [0, 1], [0, 2 * math.log(2)]),
        (ops.max, [1, 3, 3], [0, 0.5, 0.5]),
        (ops.min, [1, 3, 1], [0.5, 0, 0.5]),
        (ops.prod, [0, 2, 3], [6, 0, 0]),
        (ops.prod, [0, 0, 3], [0, 0, 0]),
        (ops.sort, [2, 1], [1, 1]),
        (lambda x: ops.where(np.isfinite(1 / x.numpy()), 1 / x, 0.0), [2, 4], [-0.25, -0.0625]),
    ],
)
def test_derivatives_at_special_points(operation, at, expected):
    assert derivative(operation, at) == pytest.approx(expected, rel=1e-12)


def test_second_derivative_of_a_product_with_zeros():
    x = tc.Tensor(np.array([0.0, 0.0, 3.0]), requires_grad=True)
    dx = tc.grad(ops.prod(x), x, create_graph=True)
    assert tc.grad(dx[0], x).tolist() == [0, 3, 0]


def test_gradients_flow_between_float_types():
    x = tc.Tensor(np.array([1.5, 2.5]), requires_grad=True)
    y = ops.astype(x, "float32")
    assert (y.dtype, y.astype("float32") is y) == (np.float32, True)
    y.backward(np.array([3.0, 4.0]))
    assert (x.grad.dtype, x.grad.tolist()) == (np.float64, [3, 4])
    assert not x.astype("int32").requires_grad


# --- numbers as operands ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("number", [2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(2)])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (0,)])
def test_numbers_never_change_the_dtype(shape, number, dtype):
    x = tc.Tensor(np.full(shape, 1.5, dtype))
    for name in ("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "remainder", "floor_divide"):
        for arguments in ((x, number), (number, x)):
            y = getattr(ops, name)(*arguments)
            assert (y.dtype, y.shape) == (dtype, shape), name
            numbers = [a.numpy().astype("f8") if isinstance(a, tc.Tensor) else a for a in arguments]
            numpy_function = getattr(np, name)
            assert_close(y, np.asarray(numpy_function(*numbers), "f8"), 4e-3 if dtype == "float16" else 1e-6)
    assert ops.where(x > 0, number, x).dtype == dtype


@pytest.mark.parametrize(
    ("x", "y", "result"),
    [
        ("float32", "float32", "float32"),
        ("float32", "float64", "float64"),
        ("float16", "float32", "float32"),
        ("int32", "float32", "float32"),
        ("int64", "float16", "float16"),
        ("uint8", "float32", "float32"),
        ("bool", "float32", "float32"),
        ("int32", "int64", "int64"),
        ("uint8", "int32", "int32"),
    ],
)
@pytest.mark.parametrize("shape", [(), (2,)])
def test_mixed_dtypes(x, y, result, shape):
    """Among floats the wider wins, a float beats any integer, nothing becomes float64 that was not."""
    a, b = np.ones(shape, x), np.ones(shape, y)
    for first, second in ((a, b), (b, a)):
        for operation in (ops.add, ops.multiply, ops.maximum, lambda p, q: ops.where(True, p, q)):
            assert operation(first, second).dtype == result
        assert ops.concatenate([first.reshape(-1), second.reshape(-1)]).dtype == result
        assert ops.einsum("...,...,...", first, first, second).dtype == result
        assert ops.matmul(np.ones((2, 2), first.dtype), np.ones((2, 2), second.dtype)).dtype == result


def test_integers_divided_are_floats_of_the_default_type():
    x = tc.Tensor(np.array([1, 2]))
    assert (x / 2).tolist() == [0.5, 1.0]
    assert (x / 2).dtype == (x / x).dtype == (1 / x).dtype == (x * 0.5).dtype == ops.mean(x).dtype == np.float32
    assert (x * 2).dtype == (x + True).dtype == (x // 2).dtype == np.int64


def test_bytes_do_not_wrap_around_in_float_operations():
    pixels = np.array([0, 100, 255], "uint8")
    assert_close(ops.divide(pixels, 255), np.array([0, 100 / 255, 1]), 1e-6)
    assert_close(ops.subtract(pixels, 127.5), np.array([-127.5, -27.5, 127.5]))
    assert ops.subtract(pixels, 127.5).dtype == np.float32


@pytest.mark.parametrize("name", ["add", "multiply", "power", "maximum", "divide", "subtract"])
def test_two_numbers_give_a_tensor(name):
    y = getattr(ops, name)(3.0, 2.0)
    assert isinstance(y, tc.Tensor)
    assert y.item() == getattr(np, name)(3.0, 2.0)
    assert y.dtype == np.float32


@pytest.mark.parametrize("x", [-7.5, -7.0, 7.0, 7.5])
@pytest.mark.parametrize("y", [-2.0, 2.0, 2.5])
def test_remainder_has_pythons_sign(x, y):
    assert ops.remainder(np.array(x), y).item() == x % y
    assert ops.floor_divide(np.array(x), y).item() == x // y
    assert derivative(lambda t: t % y, x + 0.25) == 1
    assert derivative(lambda t: x % t, y + 0.125) == -(x // (y + 0.125))


def test_integer_power():
    assert ops.power(np.array([2, 3]), 3).tolist() == [8, 27]
    assert ops.power(np.array([2, 3]), 3).dtype == np.int64
    assert ops.power(np.array([2, 3]), 0.5).dtype == np.float32
    assert_close(ops.power(np.array([2.0, 4.0]), -1), [0.5, 0.25])


# --- broadcasting ----------------------------------------------------------------------------------------------


def test_gradients_of_broadcast_operands_are_summed():
    x, y = tc.Tensor(np.ones((3, 1)), requires_grad=True), tc.Tensor(np.ones(4), requires_grad=True)
    (x * y).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([[4], [4], [4]], [3, 3, 3, 3])


def test_an_operand_used_twice_gets_both_gradients():
    assert derivative(lambda x: x * x + x, [3.0]) == [7]
    assert derivative(lambda x: ops.where(np.array([True, False]), x, 2 * x), [1.0, 1.0]) == [1, 2]


def test_shapes_that_do_not_broadcast_raise():
    with pytest.raises(ValueError, match="shape"):
        ops.add(np.ones(3), np.ones(4))
