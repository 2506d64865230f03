"""One seed, one stream: the same numbers whatever the hash seed, the number of threads and what ran before."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc

ROOT = Path(__file__).parents[2]
TRAIN = """
import hashlib
import numpy as np
import tinyconv as tc
from tinyconv import ops

tc.set_seed(7)
rng = tc.random.generator()
x = rng.standard_normal((8, 12, 12, 3)).astype("f4")
parameters = {
    name: tc.Tensor((0.1 * rng.standard_normal(shape)).astype("f4"), requires_grad=True)
    for name, shape in {"w1": (3, 3, 3, 8), "b1": (8,), "w2": (3, 3, 8, 4), "w3": (36, 5)}.items()
}
for _ in range(3):
    y = ops.relu(ops.conv2d(x, parameters["w1"], parameters["b1"], padding="same"))
    y = ops.conv2d(ops.max_pool2d(y), parameters["w2"], strides=2, padding="same")
    y = ops.dropout(ops.reshape(y, (8, -1)), 0.25) @ parameters["w3"]
    loss = -ops.mean(ops.log_softmax(y)[np.arange(8), np.arange(8) % 5])
    for w, g in zip(parameters.values(), tc.grad(loss, list(parameters.values()))):
        w.assign(w.data - 0.1 * g.data)
digest = hashlib.sha256(b"".join(w.numpy().tobytes() for w in parameters.values()))
print(digest.hexdigest(), float(loss))
"""


def train(**environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    run = subprocess.run([sys.executable, "-c", TRAIN], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
def test_training_gives_the_same_bits_in_every_process():
    """Hash seeds change the order of sets; threads, with private writes, change nothing."""
    settings = (("0", "1"), ("1", "2"), ("77", "1"))
    results = {train(PYTHONHASHSEED=seed, NUMBA_NUM_THREADS=threads) for seed, threads in settings}
    assert len(results) == 1
    assert np.isfinite(float(results.pop().split()[1]))


def test_set_seed_repeats_everything_that_follows():
    def draws():
        normal = tc.random.generator().standard_normal(3).tolist()
        return normal, tc.random.next_key(), tc.ops.dropout(np.ones(9), 0.5).tolist()

    tc.set_seed(1)
    first = draws()
    tc.set_seed(2)
    other = draws()
    tc.set_seed(1)
    assert draws() == first != other
    assert draws() != first


def test_the_stream_is_numpys_default_generator():
    tc.set_seed(123)
    assert tc.random.generator().random() == np.random.default_rng(123).random()


def test_keys_have_64_bits_and_differ():
    tc.set_seed(0)
    keys = [tc.random.next_key() for _ in range(1000)]
    assert len(set(keys)) == 1000
    assert all(0 <= key < 2**64 for key in keys)
    assert max(keys) > 2**63


def test_numpys_global_state_is_left_alone():
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    tc.set_seed(1)
    tc.ops.dropout(np.ones(10), 0.5)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize("seed", [-1, 1.5, "7", None, True])
def test_bad_seeds(seed):
    with pytest.raises(ValueError, match="seed must be an integer >= 0"):
        tc.set_seed(seed)


def test_numpy_integers_are_seeds():
    tc.set_seed(np.int64(3))
    first = tc.random.next_key()
    tc.set_seed(3)
    assert tc.random.next_key() == first
