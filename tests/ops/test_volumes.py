"""3-D convolution and pooling against SciPy, by adjoints, and at their edges. Loops: see the table."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

import tinyconv as tc
from tinyconv import ops
from tinyconv.testing import assert_close, check_gradients

rng = np.random.default_rng(0)


def correlate(x, w, mode):
    """Sum over channels of SciPy's cross-correlations."""
    y = [[sum(scipy.signal.correlate(x[n, ..., c], w[..., c, o], mode) for c in range(w.shape[3]))
          for o in range(w.shape[4])] for n in range(len(x))]  # fmt: skip
    return np.moveaxis(y, 1, -1)


@pytest.mark.parametrize("kernel", [(1, 1, 1), (2, 3, 2), (3, 3, 3), (4, 1, 5)])
def test_valid_and_full_correlation_are_scipys(kernel):
    x, w = rng.standard_normal((2, 4, 5, 6, 3)), rng.standard_normal((*kernel, 3, 2))
    assert_close(ops.conv3d(x, w), correlate(x, w, "valid"))
    full = [(k - 1, k - 1) for k in kernel]
    assert_close(ops.conv3d(x, w, padding=full), correlate(x, w, "full"))


def test_same_is_scipys_for_odd_kernels():
    x, w = rng.standard_normal((1, 4, 5, 6, 2)), rng.standard_normal((3, 1, 5, 2, 3))
    assert_close(ops.conv3d(x, w, padding="same"), correlate(x, w, "same"))


@pytest.mark.parametrize("padding", ["valid", "same", 1, ((1, 0), (0, 1), (1, 1))])
@pytest.mark.parametrize("strides", [1, (2, 1, 2)])
@pytest.mark.parametrize("dilations", [1, (1, 2, 1)])
def test_the_transposed_one_is_the_adjoint(padding, strides, dilations):
    z, w = rng.standard_normal((2, 3, 3, 3, 2)), rng.standard_normal((2, 3, 2, 4, 2))
    y = ops.conv3d_transpose(z, w, strides=strides, padding=padding, dilations=dilations)
    x = rng.standard_normal(y.shape)
    forward = ops.conv3d(x, w, strides=strides, padding=padding, dilations=dilations)
    if forward.shape == z.shape:  # else "same" or "valid" mean other sizes in this direction
        assert (forward.numpy() * z).sum() == pytest.approx((x * y.numpy()).sum())
    else:
        assert padding == "valid"


def test_one_slice_is_an_image():
    x, w, b = rng.standard_normal((2, 1, 6, 5, 3)), rng.standard_normal((1, 3, 3, 3, 4)), rng.standard_normal(4)
    options = {"strides": 2, "padding": "same"}
    assert_close(ops.conv3d(x, w, b, **options)[:, 0], ops.conv2d(x[:, 0], w[0], b, **options))


@pytest.mark.parametrize("size", [2, 3, (1, 2, 3)])
def test_pooling_is_scipys_filters_at_every_place(size):
    x = rng.standard_normal((2, 5, 6, 4, 2))
    sizes = (size,) * 3 if isinstance(size, int) else size
    inner = tuple(slice(k // 2, n - (k - 1) // 2) for k, n in zip(sizes, x.shape[1:4], strict=True))
    for pool, apply in [(ops.max_pool3d, scipy.ndimage.maximum_filter), (ops.avg_pool3d, scipy.ndimage.uniform_filter)]:
        y = pool(x, size, strides=1)
        for n, c in np.ndindex(2, 2):
            assert_close(y[n, ..., c], apply(x[n, ..., c], sizes)[inner])


def test_equal_values_choose_the_first_in_order_of_depth_height_and_width():
    x = tc.Tensor(np.ones((1, 2, 2, 2, 1)), requires_grad=True)
    ops.max_pool3d(x).sum().backward()
    assert x.grad.numpy().ravel().tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    x = np.full((1, 2, 2, 2, 1), -np.inf)
    assert ops.max_pool3d(x, 3, 1, "same").numpy().max() == -np.inf
    x[0, 1, 0, 1] = np.nan
    assert np.isnan(ops.max_pool3d(x).item())


def test_gradients_with_bias_groups_and_dilation():
    x, w, b = rng.standard_normal((1, 4, 3, 4, 4)), rng.standard_normal((2, 2, 1, 2, 4)), rng.standard_normal(4)
    for options in ({"groups": 2, "dilations": (2, 1, 2)}, {"groups": 2, "strides": (1, 2, 2), "padding": "same"}):
        check_gradients(lambda *args, options=options: ops.conv3d(*args, **options), [x, w, b], order=2)


def test_errors_speak_of_volumes():
    x, w = np.zeros((1, 2, 4, 4, 3)), np.zeros((3, 3, 3, 3, 2))
    with pytest.raises(ValueError, match="expected depth >= 3. Received: depth 2"):
        ops.conv3d(x, w)
    with pytest.raises(ValueError, match="expected height >= 5"):
        ops.conv3d(np.zeros((1, 5, 4, 4, 3)), np.zeros((3, 5, 3, 3, 2)))
    with pytest.raises(ValueError, match=r"conv3d expected 3 input channels to be 2 \(kernel axis 3\)"):
        ops.conv3d(x, np.zeros((1, 1, 1, 2, 2)))
    with pytest.raises(ValueError, match=r"conv3d expected a bias of shape \(2,\)"):
        ops.conv3d(x, w[:1], np.zeros(3))
    with pytest.raises(ValueError, match="conv3d expected volumes of 5 axes"):
        ops.conv3d(x[0], w)
    with pytest.raises(ValueError, match="conv3d expected kernels of 5 axes"):
        ops.conv3d(x, w[0])
    with pytest.raises(ValueError, match="conv3d_transpose expected 2 input channels"):
        ops.conv3d_transpose(x, w)
    for padding in ("full", (1, 2), -1, ((1, 2), (3, 4), (5, 6, 7)), 1.5, True):
        with pytest.raises(ValueError, match=r"padding must be .*\(depth, height, width\).* Received"):
            ops.conv3d(x, w, padding=padding)
    for strides in (0, (1, 2), "2", (1, 1, 1.5)):
        with pytest.raises(ValueError, match="strides must be an integer >= 1 or three of them"):
            ops.conv3d(x, w, strides=strides)
    with pytest.raises(ValueError, match="The strides must tile.*depth"):
        ops.max_pool3d(np.zeros((1, 3, 4, 4, 1)), strict=True)
    with pytest.raises(ValueError, match="padding smaller than the pool size"):
        ops.max_pool3d(x, 2, padding=(2, 0, 0))
