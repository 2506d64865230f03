"""Normalisation: gradients through mean and variance, moving statistics' formula, constants, windows of channels."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.testing import assert_close, check_gradients


def random(*shape):
    return np.random.default_rng(list(shape)).standard_normal(shape)


@pytest.mark.parametrize("axis", [0, (0, 1, 2), (1, 3), -1, None])
def test_standardize_gradients_through_all_three_outputs(axis):
    x = random(2, 3, 2, 4)
    for outputs in (slice(0, 1), slice(1, 2), slice(2, 3), slice(0, 3)):
        check_gradients(lambda x, outputs=outputs: tc.ops.standardize(x, axis, 1e-2)[outputs], [x], order=2)


def test_standardize_is_the_formula_written_out():
    x = 3 + 2 * random(5, 4)
    y, mean, variance = tc.ops.standardize(x, 0, 1e-3)
    assert_close(mean, x.mean(0, keepdims=True))
    assert_close(variance, ((x - x.mean(0)) ** 2).mean(0, keepdims=True))
    assert_close(y, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3))


def test_standardize_keeps_precision_far_from_zero():
    """In float32 the variance of 1000 + small deviations survives: it is not computed as E[x^2] - E[x]^2."""
    x = (1000 + random(4096, 1)).astype("f4")
    assert_close(tc.ops.standardize(x, 0)[2], x.astype("f8").var(0, keepdims=True), 1e-4)


def test_a_constant_batch_gives_zeros_and_finite_gradients():
    x = tc.Tensor(np.full((8, 2), 3.0), requires_grad=True)
    y, _, variance = tc.ops.standardize(x, 0)
    assert not y.numpy().any()
    assert not variance.numpy().any()
    (y * random(8, 2)).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_a_single_value_per_channel():
    y, mean, variance = tc.ops.standardize(np.array([[3.0, -1.0]]), 0)
    assert (y.tolist(), mean.tolist(), variance.tolist()) == ([[0, 0]], [[3, -1]], [[0, 0]])


def test_standardize_needs_elements():
    with pytest.raises(ValueError, match="at least one element"):
        tc.ops.standardize(np.zeros((0, 3)), 0)


def test_batch_norm_in_training_equals_standardize_and_a_scale():
    x, gamma, beta = random(4, 3, 3, 2), random(2), random(2)
    y, mean, variance = tc.ops.standardize(x, (0, 1, 2), 1e-3)
    inference = tc.ops.batch_norm(x, mean.reshape(2), variance.reshape(2), gamma, beta, 1e-3)
    assert_close(inference, y.numpy() * gamma + beta, 1e-12)


@pytest.mark.parametrize(("gamma", "beta"), [(None, None), (2.0, None), (None, 1.0)])
def test_batch_norm_without_scale_or_shift(gamma, beta):
    x, mean, variance = random(4, 3), random(3), random(3) ** 2
    given = [None if v is None else np.full(3, v) for v in (gamma, beta)]
    expected = (x - mean) / np.sqrt(variance + 1e-3) * (gamma or 1) + (beta or 0)
    assert_close(tc.ops.batch_norm(x, mean, variance, *given), expected)


def test_batch_norm_axis_one():
    x, mean, variance = random(2, 3, 4, 4), random(3), random(3) ** 2
    expected = (x - mean.reshape(3, 1, 1)) / np.sqrt(variance.reshape(3, 1, 1) + 1e-3)
    assert_close(tc.ops.batch_norm(x, mean, variance, axis=1), expected)


def test_local_response_norm_sees_only_its_neighbours():
    x = np.zeros((1, 7))
    x[0, 3] = 2.0
    reached = tc.ops.local_response_norm(x + 1, depth_radius=2, bias=1.0, alpha=1.0, beta=1.0).numpy()[0]
    squares = np.array([1, 1, 1, 9, 1, 1, 1.0])
    sums = [squares[max(0, c - 2) : c + 3].sum() for c in range(7)]
    assert_close(reached, (x + 1)[0] / (1 + np.array(sums)))


def test_local_response_norm_gradients():
    check_gradients(lambda x: tc.ops.local_response_norm(x, 2, 1.5, 0.3, 0.75), [random(2, 2, 2, 6)], order=2)


def test_local_response_norm_along_channels_first():
    x = random(2, 5, 3, 3)
    expected = np.moveaxis(tc.ops.local_response_norm(np.moveaxis(x, 1, 3)).numpy(), 3, 1)
    assert_close(tc.ops.local_response_norm(x, axis=1), expected)


def test_float16_statistics_do_not_overflow_in_their_sums():
    x = np.full((70_000, 1), 30.0, "f2")
    x[::2] = 10.0
    y, mean, variance = tc.ops.standardize(x, 0)
    assert (mean.item(), variance.item(), tc.ops.mean(x).item(), tc.ops.var(x).item()) == (20, 100, 20, 100)
    assert (y.dtype, mean.dtype, tc.ops.mean(x).dtype, tc.ops.std(x).dtype) == (np.float16,) * 4
    assert tc.ops.global_avg_pool2d(x.reshape(1, 700, 100, 1)).item() == 20
