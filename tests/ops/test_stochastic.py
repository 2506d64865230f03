"""Random numbers against Philox written in Python integers; dropout's statistics, masks and repeatability."""

import numpy as np
import pytest
import scipy.stats

import tinyconv as tc
from tests import philox
from tinyconv import backends, ops
from tinyconv.testing import check_gradients

# Known answers of the Random123 library for philox4x32-10: (counter, key, result).
KNOWN = [
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),  # digits of pi
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
KEYS = [0, 1, 12345, 2**32, 2**63 + 5, 2**64 - 1]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_the_oracle_gives_the_known_answers(counter, key, expected):
    assert philox.philox4x32(counter, key) == expected


def test_the_first_number_of_key_zero_is_a_known_answer():
    assert backends.default().random_uniform(0, (1,), "float32").item() == (0x6627E8D5 >> 8) / 2**24


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (0,), (2, 0, 3)])
def test_random_uniform_is_philox(shape, dtype, key):
    numbers = backends.default().random_uniform(key, shape, dtype)
    assert (numbers.shape, numbers.dtype) == (shape, dtype)
    np.testing.assert_array_equal(numbers, philox.uniform(key, shape, dtype))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_many_numbers_are_the_same_as_few(dtype):
    """Element i depends on the key and i alone: a long run starts as a short one, and ends as the oracle says."""
    numbers = backends.default().random_uniform(99, (5001,), dtype)
    np.testing.assert_array_equal(numbers, philox.uniform(99, (5001,), dtype))
    few = backends.default().random_uniform(99, (10, 100), dtype)
    np.testing.assert_array_equal(numbers[:1000].reshape(10, 100), few)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_numbers_are_uniform(dtype):
    numbers = backends.default().random_uniform(2024, (200_000,), dtype).astype("f8")
    assert numbers.min() >= 0
    assert numbers.max() < 1
    step = {"float64": 2**-53, "float32": 2**-24, "float16": 2**-11}[dtype]
    assert scipy.stats.kstest(numbers + step / 2, "uniform").pvalue > 1e-3
    counts = np.histogram(numbers, 64, (0, 1))[0]
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 4 / np.sqrt(numbers.size)


# --- dropout ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_drops_the_right_share_and_keeps_the_mean(rate, dtype):
    n = 100_000
    y = ops.dropout(np.ones(n, dtype), rate, key=5)
    assert y.dtype == dtype
    dropped = np.count_nonzero(y.numpy() == 0)
    assert abs(dropped - rate * n) < 5 * np.sqrt(n * rate * (1 - rate))
    survivor = np.asarray(1 / (1 - rate), dtype)
    assert set(np.unique(y.numpy())) == {np.asarray(0, dtype).item(), survivor.item()}


def test_every_position_is_dropped_as_often():
    hits = sum(ops.dropout(np.ones(50), 0.3, key=key).numpy() == 0 for key in range(400))
    assert scipy.stats.chisquare(hits).pvalue > 1e-3


def test_dropped_elements_are_the_oracles():
    x = np.arange(1.0, 41).reshape(5, 8)
    expected = np.where(philox.uniform(77, x.shape, "f8") >= 0.4, x / 0.6, 0)
    np.testing.assert_allclose(ops.dropout(x, 0.4, key=77), expected, 1e-15)


def test_the_gradient_uses_the_same_mask():
    x = tc.Tensor(np.ones(100), requires_grad=True)
    y = ops.dropout(x, 0.5)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y)
    check_gradients(lambda x: ops.dropout(x, 0.5, key=3), [np.linspace(-1, 1, 10)], order=2)


def test_noise_shape_drops_whole_maps():
    y = ops.dropout(np.ones((4, 5, 5, 8)), 0.5, key=1, noise_shape=(4, 1, 1, 8)).numpy()
    assert ((y == 0).all((1, 2)) | (y == 2).all((1, 2))).all()
    assert 0 < np.count_nonzero(y[:, 0, 0]) < 32


def test_seed_and_key_repeat_the_choice():
    x = np.ones(64)
    tc.set_seed(3)
    first, second = ops.dropout(x, 0.5).tolist(), ops.dropout(x, 0.5).tolist()
    tc.set_seed(3)
    assert (ops.dropout(x, 0.5).tolist(), ops.dropout(x, 0.5).tolist()) == (first, second)
    assert first != second
    assert ops.dropout(x, 0.5, key=8).tolist() == ops.dropout(x, 0.5, key=8).tolist()


def test_a_key_draws_nothing_from_the_generator():
    tc.set_seed(3)
    expected = tc.random.next_key()
    tc.set_seed(3)
    ops.dropout(np.ones(4), 0.5, key=8)
    ops.dropout(np.ones(4), 0.0)
    assert tc.random.next_key() == expected


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_bad_rates(rate):
    with pytest.raises(ValueError, match="rate must lie in"):
        ops.dropout(np.ones(3), rate)
