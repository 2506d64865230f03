"""What every operation owes: right values and dtypes for any input, inputs left alone, gradients of order 1 and 2."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv as tc
from tests.ops.cases import CASES, calls
from tinyconv.testing import assert_close, check_gradients

DIFFERENTIABLE = [name for name, case in CASES.items() if case.differentiable]
LAYOUTS = ("C", "F", "strided", "reversed", "readonly")
FEWER = settings(max_examples=max(4, settings.default.max_examples // 3))  # each example computes many gradients


def lay_out(array, layout):
    """The same values in other memory."""
    if layout == "F":
        return np.array(array, order="F")
    if layout == "strided" and array.ndim:
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
        wide[..., 1::2] = array
        return wide[..., 1::2]
    if layout == "reversed" and array.ndim:
        return np.ascontiguousarray(array[::-1])[::-1]
    if layout == "readonly":
        array = array.copy()
        array.flags.writeable = False
    return array


def is_operand(value):
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def cast(value, dtype):
    """Operands in another dtype; for integers rounded up, which stays in every operation's domain."""
    if not is_operand(value):
        return value
    return np.asarray(np.ceil(value) if np.dtype(dtype).kind == "i" else value).astype(dtype)


def expected_dtype(case, call, dtype, by_numpy):
    if case.dtype == "option":
        return np.dtype(call.options["dtype"])
    if np.dtype(dtype).kind == "i" and case.dtype == "float":
        return np.dtype("float32")
    fixed = {"bool": np.dtype(bool), "index": np.dtype(np.int64)}
    return fixed.get(case.dtype, by_numpy if np.dtype(dtype).kind == "i" else np.dtype(dtype))


def tolerance(dtype, loose):
    return loose * {"float64": 1e-10, "float32": 1e-5, "float16": 1e-2}.get(dtype.name, 0)


def test_the_table_is_complete():
    assert sorted(CASES) == sorted(tc.ops.__all__)


@pytest.mark.parametrize("name", CASES)
@given(st.data())
def test_values_and_dtypes(name, data):
    case, operation = CASES[name], getattr(tc.ops, name)
    call = data.draw(calls(case))
    dtype = data.draw(st.sampled_from(["float64", "float32", "float16", "int32"][: 4 if case.integers else 3]))
    arrays = [lay_out(cast(a, dtype), data.draw(st.sampled_from(LAYOUTS))) if is_operand(a) else a for a in call.arrays]
    before = [np.copy(a) for a in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        results = case.apply(operation, arrays, call.options)
        exact = [a.astype(np.float64) if getattr(a, "dtype", None) in (np.float16, np.float32) else a for a in arrays]
        if name == "dropout":
            exact = arrays  # its random numbers depend on the dtype
        expected = case.apply(case.oracle, exact, call.options)
    assert len(results) == len(expected)
    for result, values in zip(results, expected, strict=True):
        values = np.asarray(values)
        assert isinstance(result, tc.Tensor)
        assert result.dtype == expected_dtype(case, call, dtype, values.dtype)
        largest = np.abs(values[np.isfinite(values)].astype(np.float64)).max(initial=1)
        rtol = tolerance(result.dtype, case.loose)
        assert_close(result, values, rtol, rtol * largest)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@FEWER
@given(st.data())
def test_gradients_of_first_and_second_order(name, data):
    case, operation = CASES[name], getattr(tc.ops, name)
    call = data.draw(calls(case, smooth=True))
    check_gradients(lambda *xs: tuple(case.apply(operation, xs, call.options)), call.arrays, order=2, directions=1)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@settings(max_examples=4)
@given(st.data())
def test_gradients_have_the_dtype_and_shape_of_their_input(name, data):
    case, operation = CASES[name], getattr(tc.ops, name)
    call = data.draw(calls(case, smooth=True))
    dtype = data.draw(st.sampled_from(["float16", "float32"]))
    inputs = [tc.Tensor(cast(a, dtype), requires_grad=True) if is_operand(a) else a for a in call.arrays]
    outputs = case.apply(operation, inputs, call.options)
    wanted = [x for x in inputs if isinstance(x, tc.Tensor)]
    seeds = [np.ones(y.shape) for y in outputs]
    grads = tc.grad(outputs, wanted, grad_outputs=seeds, create_graph=True)
    for x, g in zip(wanted, grads, strict=True):
        assert (g.shape, g.dtype) == (x.shape, x.dtype)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@settings(max_examples=4)
@given(st.data())
def test_each_gradient_alone_is_the_same_as_all_together(name, data):
    case, operation = CASES[name], getattr(tc.ops, name)
    call = data.draw(calls(case, smooth=True))
    operands = [i for i, a in enumerate(call.arrays) if is_operand(a)]

    def gradients(which):
        inputs = [tc.Tensor(a, requires_grad=i in which) if is_operand(a) else a for i, a in enumerate(call.arrays)]
        outputs = case.apply(operation, inputs, call.options)
        assert all(y.requires_grad for y in outputs)
        for y in outputs:
            y.backward(np.ones(y.shape), retain_graph=True)
        return [inputs[i].grad for i in operands]

    together = gradients(operands)
    for i, g in zip(operands, together, strict=True):
        alone = gradients([i])
        np.testing.assert_array_equal(alone[operands.index(i)], g)
        assert all(other is None for j, other in zip(operands, alone, strict=True) if j != i)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.differentiable and name != "astype"])
@settings(max_examples=4)
@given(st.data())
def test_flat_operations_do_not_require_gradients(name, data):
    case = CASES[name]
    call = data.draw(calls(case))
    inputs = [tc.Tensor(a, requires_grad=True) for a in call.arrays]
    assert not any(y.requires_grad for y in case.apply(getattr(tc.ops, name), inputs, call.options))


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=2)
@given(st.data())
def test_nothing_is_recorded_without_gradients(name, data):
    case = CASES[name]
    call = data.draw(calls(case))
    inputs = [tc.Tensor(a, requires_grad=True) if is_operand(a) else a for a in call.arrays]
    with tc.no_grad():
        results = case.apply(getattr(tc.ops, name), inputs, call.options)
    assert all(y.node is None or y is x for y in results for x in inputs[:1])
