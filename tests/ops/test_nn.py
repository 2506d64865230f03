"""TensorFlow's spellings: what the documents' low-level programs call."""

import numpy as np
import pytest

from tests.ops import naive
from tinyconv import ops
from tinyconv.ops import nn
from tinyconv.testing import assert_close

rng = np.random.default_rng(0)
X, W = rng.standard_normal((2, 6, 7, 6)), rng.standard_normal((3, 2, 6, 4))


@pytest.mark.parametrize("strides", [1, 2, (1, 2), [1, 1, 2, 1]])
@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_conv2d(strides, padding):
    plain = tuple(strides[1:3]) if isinstance(strides, list) else strides
    expected = naive.conv2d(X, W, strides=plain, padding=padding.lower())
    assert_close(nn.conv2d(X, W, strides, padding), expected)
    first = [1, 1, *plain] if isinstance(plain, tuple) else plain
    y = nn.conv2d(np.moveaxis(X, 3, 1), W, strides=first, padding=padding, data_format="NCHW")
    assert_close(np.moveaxis(y.numpy(), 1, 3), expected)


def test_pooling():
    assert_close(nn.max_pool(X, 2, 2, "VALID"), naive.max_pool2d(X))
    assert_close(nn.max_pool(X, [1, 3, 2, 1], [1, 2, 1, 1], "SAME"), naive.max_pool2d(X, (3, 2), (2, 1), "same"))
    assert_close(nn.avg_pool(X, (1, 2, 2, 1), (1, 2, 2, 1), "SAME"), naive.avg_pool2d(X, 2, 2, "same"))


def test_pooling_over_depth():
    expected = X.reshape(2, 6, 7, 2, 3).max(-1)
    assert_close(nn.max_pool(X, ksize=(1, 1, 1, 3), strides=(1, 1, 1, 3), padding="VALID"), expected)
    first = nn.max_pool(np.moveaxis(X, 3, 1), (1, 3, 1, 1), (1, 3, 1, 1), "VALID", "NCHW")
    assert_close(np.moveaxis(first.numpy(), 1, 3), expected)


def test_the_others():
    assert_close(nn.reduce_mean(X, axis=[1, 2]), X.mean((1, 2)))
    assert_close(nn.concat([X, X], axis=3), np.concatenate([X, X], 3))
    y = nn.local_response_normalization(X, depth_radius=2, alpha=0.00002, beta=0.75, bias=1)
    assert_close(y, ops.local_response_norm(X, 2, 1.0, 2e-5, 0.75))


def test_errors():
    with pytest.raises(ValueError, match="strides expected 1 for batch and channels. Received"):
        nn.conv2d(X, W, (2, 1, 1, 1), "SAME")
    for ksize, strides in [((1, 2, 1, 3), (1, 2, 1, 3)), ((1, 1, 1, 3), (1, 1, 1, 1))]:
        with pytest.raises(ValueError, match="max_pool over channels expected .* Received: ksize"):
            nn.max_pool(X, ksize, strides, "VALID")
    with pytest.raises(ValueError, match="data_format must be"):
        nn.avg_pool(X, 2, 2, "VALID", "CHWN")
