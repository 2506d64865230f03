"""Every primitive and every operation on arrays of the GPU (or their strict stand-in), against the host's."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinyconv as tc
from tests.backends import test_backends as primitives
from tests.ops import test_every_operation as operations
from tests.ops.cases import CASES, calls
from tinyconv import backends
from tinyconv.backends.reference import ReferenceBackend
from tinyconv.testing import check_gradients

pytestmark = pytest.mark.filterwarnings("ignore:.*(encountered|zero).*:RuntimeWarning")
fewer = settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def on_device(table, value):
    """Arrays, also those in sequences, on the device."""
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(on_device(table, entry) for entry in value)
    return table.asarray(value) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("name", sorted(primitives.TABLE))
def test_primitives_agree_with_the_reference(name, gpu):
    @settings(max_examples=5)
    @given(st.data())
    def test(data):
        arguments = primitives.TABLE[name].draw(primitives.Draw(data))
        expected = getattr(ReferenceBackend(), name)(*arguments)
        got = getattr(gpu, name)(*(on_device(gpu, argument) for argument in arguments))
        pairs = zip(got, expected, strict=True) if isinstance(expected, tuple) else [(got, expected)]
        for one, other in pairs:
            assert one.dtype == other.dtype
            assert isinstance(one, np.ndarray if name == "to_numpy" else gpu.xp.ndarray)
            primitives.check(name, one if name == "to_numpy" else gpu.to_numpy(one), other)

    test()


@pytest.mark.parametrize("name", CASES)
@fewer
@given(data=st.data())
def test_values_of_operations(name, data, gpu):
    case, operation = CASES[name], getattr(tc.ops, name)
    call = data.draw(calls(case))
    dtype = data.draw(st.sampled_from(["float64", "float32", "int32"][: 3 if case.integers else 2]))
    arrays = [operations.cast(a, dtype) for a in call.arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = case.apply(operation, arrays, call.options)
        with tc.device("cuda"):
            results = case.apply(operation, arrays, call.options)
    for one, other in zip(results, expected, strict=True):
        assert one.device == "cuda"
        assert other.device == "cpu"
        assert one.dtype == other.dtype
        rtol = operations.tolerance(one.dtype, case.loose)
        largest = np.abs(np.where(np.isfinite(other.numpy()), other.numpy(), 0)).max(initial=1)
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol, rtol * largest)


@pytest.mark.parametrize("name", operations.DIFFERENTIABLE)
@settings(fewer, max_examples=1)
@given(data=st.data())
def test_gradients_of_operations(name, data, gpu):
    case, operation = CASES[name], getattr(tc.ops, name)
    call = data.draw(calls(case, smooth=True))
    with tc.device("cuda"):
        check_gradients(lambda *xs: tuple(case.apply(operation, xs, call.options)), call.arrays, order=2, directions=1)


@pytest.mark.parametrize("name", CASES)
@settings(fewer, max_examples=1)
@given(data=st.data())
def test_operations_run_where_their_tensors_are(name, data, gpu):
    """Forward and backward, with the host as default device."""
    case, operation = CASES[name], getattr(tc.ops, name)
    call = data.draw(calls(case, smooth=True))
    inputs = [tc.Tensor(gpu.asarray(a), requires_grad=case.differentiable) if operations.is_operand(a) else a
              for a in call.arrays]
    if not any(isinstance(x, tc.Tensor) for x in inputs):
        return  # nothing says where
    for y in case.apply(operation, inputs, call.options):
        assert y.device == "cuda"
        if y.requires_grad:
            y.backward(tc.Tensor(gpu.asarray(np.ones(y.shape, y.dtype))), retain_graph=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_sums_into_repeated_cells_are_rounded_once_and_spread_no_nan(dtype, gpu):
    rng = np.random.default_rng(0)
    cells, updates = rng.integers(0, 7, 10_000), (100 * rng.standard_normal((10_000, 3))).astype(dtype)
    got = gpu.to_numpy(gpu.scatter_add((9, 3), gpu.asarray(cells), gpu.asarray(updates)))
    exact = np.stack([updates[cells == cell].sum(0, dtype=np.longdouble) for cell in range(9)])
    assert got.dtype == dtype
    np.testing.assert_allclose(got, exact.astype(dtype), rtol=1.2e-7 if dtype == "float32" else 1e-13, atol=1e-9)
    if dtype != "int64":
        updates[cells == 3] = np.nan
        got = gpu.to_numpy(gpu.scatter_add((9, 3), gpu.asarray(cells), gpu.asarray(updates)))
        np.testing.assert_array_equal(np.isnan(got), (np.arange(9) == 3)[:, None].repeat(3, 1))


def test_random_numbers_are_those_of_the_host(gpu):
    for dtype in ("float16", "float32", "float64"):
        for key in (0, 1, 2**64 - 1):
            got = gpu.random_uniform(key, (5, 7, 3), dtype)
            np.testing.assert_array_equal(gpu.to_numpy(got), backends.host().random_uniform(key, (5, 7, 3), dtype))
