"""The test tool is tested: it must fail for wrong gradients, and cope with kinks, integers and several outputs."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import ops
from tinyconv.testing import assert_close, check_gradients


def wrong(factor=1.0, second=1.0):
    """x^3 with its first and second derivative multiplied by the given factors."""

    class Slope(tc.Function):
        def forward(self, x):
            self.save(x)
            return 3 * x**2

        def backward(self, dy):
            (x,) = self.saved
            return second * 6 * x * dy

    class Cube(tc.Function):
        def forward(self, x):
            self.save(x)
            return x**3

        def backward(self, dy):
            (x,) = self.saved
            return factor * Slope()(x) * dy

    return lambda x: Cube()(x)


POINT = np.linspace(0.5, 2, 6).reshape(2, 3)


def test_right_gradients_pass():
    assert check_gradients(wrong(), [POINT], order=2, directions=3) == (9, 0)


@pytest.mark.parametrize("factor", [0.0, -1.0, 2.0, 1 + 1e-4])
def test_wrong_gradients_of_first_order_fail(factor):
    with pytest.raises(AssertionError, match=r"wrong gradient of order 1 for input 0 of shape \(2, 3\): expected"):
        check_gradients(wrong(factor), [POINT])


@pytest.mark.parametrize("second", [0.0, -1.0, 1 + 1e-4])
def test_wrong_gradients_of_second_order_fail_only_in_order_two(second):
    check_gradients(wrong(second=second), [POINT])
    with pytest.raises(AssertionError, match="wrong gradient of order 2 for input 0"):
        check_gradients(wrong(second=second), [POINT], order=2)


def test_the_message_names_the_input():
    message = r"input 1 of shape \(3,\).*central differences\. Received: .* by backward"
    with pytest.raises(AssertionError, match=message):
        check_gradients(lambda x, y: x + y * tc.stop_gradient(y), [np.ones(3), np.ones(3)])


def test_a_lost_gradient_fails():
    with pytest.raises(AssertionError, match="another value than 0"):
        check_gradients(lambda x: tc.stop_gradient(x) * 2, [POINT])


def test_one_wrong_element_among_many_fails():
    mask = np.zeros(200)
    mask[117] = 1
    f = lambda x: x * x * (1 - mask) + x * tc.stop_gradient(x) * mask  # noqa: E731
    with pytest.raises(AssertionError, match="wrong gradient"):
        check_gradients(f, [np.full(200, 2.0)])


def test_a_backward_that_does_not_use_the_output_gradient_fails():
    class Ignores(tc.Function):
        def forward(self, x):
            return 2 * x

        def backward(self, dy):
            return tc.Tensor(np.full(dy.shape, 2.0))

    with pytest.raises(AssertionError, match="wrong gradient of order 1"):
        check_gradients(lambda x: Ignores()(x), [POINT])


def test_a_backward_that_cuts_the_output_gradients_history_fails():
    class Cuts(tc.Function):
        def forward(self, x):
            return 2 * x

        def backward(self, dy):
            return 2 * dy.detach()

    with pytest.raises(AssertionError, match="order 2 for output gradient 0"):
        check_gradients(lambda x: Cuts()(x), [POINT], order=2)


def test_inputs_of_every_kind():
    def f(x, index, number, mask, nothing, y):
        assert isinstance(index, list)
        assert nothing is None
        assert mask.dtype == bool
        assert number.dtype == y.dtype == x.dtype == np.float64
        return ops.where(mask, x[index] * number, y)

    report = check_gradients(f, [np.ones(3, "f4"), [0, 2], 2.5, np.array([True, False]), None, tc.Tensor([1.0, 2.0])])
    assert report.checked == 6


def test_inputs_are_not_changed():
    x = tc.Tensor(POINT.astype("f4"), requires_grad=True)
    check_gradients(lambda t: t * t, [x], order=2)
    assert x.grad is None
    assert x.dtype == np.float32


def test_several_outputs_and_integer_outputs():
    check_gradients(lambda x: (ops.exp(x), x * x, ops.argmax(x)), [POINT], order=2)
    with pytest.raises(AssertionError, match="wrong gradient"):
        check_gradients(lambda x: (ops.exp(x), tc.stop_gradient(x)), [POINT])


def test_linear_constant_and_empty_functions():
    check_gradients(lambda x: 3 * x, [POINT], order=2)
    check_gradients(lambda x: x * 0.0 + 1, [POINT], order=2)
    check_gradients(lambda x: tc.Tensor(np.ones(2)), [POINT], order=2)
    check_gradients(lambda x: x * x, [np.zeros((0, 3))], order=2)


def test_kinks_off_the_point_are_skipped_or_stepped_around():
    x = np.array([1e-5, -1e-5, 3e-6, 1.0, -2.0, 1e-7])
    assert check_gradients(ops.relu, [x], order=2).checked == 6


def test_kinks_at_the_point_are_reported():
    x = np.array([0.0, 1.0, -1.0, 0.0])
    report = check_gradients(ops.relu, [x])
    assert report.checked == 2
    assert report.skipped > 0
    with pytest.raises(AssertionError, match="nothing could be checked"):
        check_gradients(ops.relu, [np.zeros(4)])


def test_wrong_gradients_are_not_mistaken_for_kinks():
    with pytest.raises(AssertionError, match="wrong gradient"):
        check_gradients(lambda x: ops.relu(x) + x * 0.5 - tc.stop_gradient(x) * 0.5, [np.array([1e-5, 1.0, -1.0])])


def test_functions_that_change_their_mind_cannot_be_checked():
    with pytest.raises(AssertionError, match="does not give the same result"):
        check_gradients(lambda x: ops.dropout(x, 0.5), [np.ones(50)])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_not_finite():
    with pytest.raises(AssertionError, match="not finite"):
        check_gradients(ops.sqrt, [np.zeros(2)])
    with pytest.raises(AssertionError, match="not finite"):
        check_gradients(ops.log, [np.array([-1.0])])


def test_bad_arguments():
    with pytest.raises(ValueError, match="order must be 1 or 2"):
        check_gradients(ops.exp, [1.0], order=3)
    with pytest.raises(AssertionError, match="f must return tensors"):
        check_gradients(lambda x: x.numpy(), [1.0])


def test_large_and_small_scales():
    check_gradients(lambda x: 1e6 * ops.exp(x), [POINT], order=2)
    check_gradients(lambda x: 1e-6 * ops.exp(x), [POINT], order=2)
    check_gradients(lambda x: ops.sum(x * x), [1000 * POINT], order=2)


def test_assert_close():
    assert_close(tc.Tensor([1.0, np.nan]), np.array([1.0, np.nan]))
    assert_close(np.float32(1 + 5e-6), np.float64(1))
    assert_close([1e-12, 1.0], [0.0, 1.0])
    for actual, expected in (([1.0], [[1.0]]), ([1.0], [1.0 + 1e-9]), ([1.0], [np.nan]), ([3], [4])):
        with pytest.raises(AssertionError):
            assert_close(np.array(actual), np.array(expected))
