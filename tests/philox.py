"""Philox4x32-10 in Python integers, and the uniform numbers made from it: an oracle for ``random_uniform``.

Source: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11, section 4 and table 2.
"""

import math

import numpy as np

MASK = 0xFFFFFFFF


def philox4x32(counter, key):
    """Four words of counter and two of key to four random words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def words(key, count):
    """The first ``count`` words of the stream of a 64-bit key."""
    blocks = (philox4x32((i & MASK, i >> 32, 0, 0), (key & MASK, key >> 32)) for i in range(-(-count // 4)))
    return [word for block in blocks for word in block][:count]


def uniform(key, shape, dtype):
    """Numbers in [0, 1): 53 bits of two words for float64, the upper 24 bits (11 for float16) of one word else."""
    count = math.prod(shape)
    if np.dtype(dtype) == np.float64:
        stream = words(key, 2 * count)
        numbers = [((a >> 5) * 2**26 + (b >> 6)) / 2**53 for a, b in zip(stream[::2], stream[1::2], strict=True)]
    else:
        bits = 11 if np.dtype(dtype) == np.float16 else 24
        numbers = [(word >> (32 - bits)) / 2**bits for word in words(key, count)]
    return np.array(numbers, dtype).reshape(shape)
