"""What `import tinyconv` pulls in, and that the core works where the optional packages are missing."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("numba", "llvmlite", "scipy", "matplotlib", "cv2", "cupy", "h5py", "sklearn", "safetensors", "tqdm", "PIL")

HIDE = "import sys; sys.modules.update(dict.fromkeys({names!r}))\n"  # None there: as if they were not installed

TRAIN = """
import sys
import numpy as np
import tinyconv as tc
from tinyconv import ops

tc.set_seed(0)
x = np.random.default_rng(0).standard_normal((16, 8, 8, 1)).astype("f4")
labels = np.arange(16) % 4
rng = tc.random.generator()
w, b, v = (
    tc.Tensor((0.3 * rng.standard_normal(shape)).astype("f4"), requires_grad=True)
    for shape in ((3, 3, 1, 4), (4,), (64, 4))
)
losses = []
for _ in range(30):
    y = ops.max_pool2d(ops.relu(ops.conv2d(x, w, b, padding="same")))
    y = ops.reshape(y, (16, -1)) @ v
    loss = -ops.mean(ops.log_softmax(y)[np.arange(16), labels])
    for p, g in zip((w, b, v), tc.grad(loss, [w, b, v])):
        p.assign(p.data - 0.1 * g.data)
    losses.append(loss.item())
assert losses[-1] < 0.5 * losses[0], losses
print(tc.backends.default().name)
"""


def python(code, **environment):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    run = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_import_pulls_in_nothing_heavy():
    code = "import sys; before = set(sys.modules); import tinyconv; print(*set(sys.modules) - before)"
    loaded = {name.partition(".")[0] for name in python(code).split()}
    assert loaded & set(HEAVY) == set()


def test_import_compiles_nothing_and_starts_no_thread():
    code = (
        "import sys, threading, tinyconv\n"
        "assert threading.active_count() == 1\n"
        "assert not any(name.startswith('tinyconv.backends.kernels') for name in sys.modules)"
    )
    python(code)


def test_import_is_quick():
    """0.05 s beyond NumPy on a quiet machine; the bound is generous, since machines that test are busy."""
    code = "import time, numpy; start = time.perf_counter(); import tinyconv; print(time.perf_counter() - start)"
    python(code)  # writes the byte code
    assert statistics.median(float(python(code)) for _ in range(5)) < 1.5


@pytest.mark.parametrize("names", [("numba", "llvmlite", "cv2", "cupy", "h5py", "matplotlib"), HEAVY])
def test_the_core_trains_without_optional_packages(names):
    assert python(HIDE.format(names=names) + TRAIN, TINYCONV_BACKEND="auto") == "reference"


def test_a_backend_that_is_asked_for_and_missing_says_what_to_install():
    code = HIDE.format(names=("numba", "llvmlite")) + (
        "import tinyconv as tc\n"
        "try:\n"
        "    tc.Tensor([1.0]) + 1\n"
        "except ImportError as error:\n"
        "    print(error)"
    )
    assert "pip install numba" in python(code, TINYCONV_BACKEND="cpu")


def test_an_unknown_backend_is_named():
    code = "import tinyconv as tc\ntry:\n    tc.Tensor([1.0])\nexcept ValueError as error:\n    print(error)"
    assert "Received: 'gpu'" in python(code, TINYCONV_BACKEND="gpu")


def test_variables_that_are_set_to_nothing_are_not_set():
    code = "import tinyconv as tc\nprint(tc.ops.conv2d([[[[1.0]]]], [[[[2.0]]]]).tolist())"
    assert python(code, TINYCONV_BACKEND="", TINYCONV_CONVOLUTION="", TINYCONV_DEVICE="") == "[[[[2.0]]]]"
