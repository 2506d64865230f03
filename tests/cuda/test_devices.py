"""``tc.device``, tensors that move, and what is said where there is no GPU."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc
from tests.cuda import runtime
from tests.cuda.strict import FUNCTIONS, MAKERS
from tinyconv import backends

ROOT = Path(__file__).parents[2]
OWN = {"Bytes", "allocate", "refuse", "fetch", "perform", "overwrite", "launch", "later", "run", "flush"}  # its works


def test_the_context_decides_where_tensors_are_made(gpu):
    with tc.device("cpu"):
        with tc.device("cuda") as chosen:
            assert chosen.name == "cuda"
            assert tc.Tensor([1.0]).device == "cuda"
            with tc.device("cpu"):
                assert tc.Tensor([1.0]).device == "cpu"
            assert tc.Tensor(np.ones(2)).device == "cuda"
        assert tc.Tensor([1.0]).device == "cpu"
        tc.device("cuda")  # alone it changes nothing
        assert tc.Tensor([1.0]).device == "cpu"


def test_the_context_is_a_decorator_and_belongs_to_its_thread(gpu):
    @tc.device("cuda")
    def make(depth=0):
        return make(depth - 1) if depth else tc.Tensor(1.0)

    with tc.device("cpu"):
        assert make(3).device == "cuda"
        assert tc.Tensor(1.0).device == "cpu"
    found = []
    process = tc.Tensor(1.0).device
    other = "cpu" if process == "cuda" else "cuda"
    with tc.device(other):
        thread = threading.Thread(target=lambda: found.append(tc.Tensor(1.0).device))
        thread.start()
        thread.join()
    assert found == [process]


@pytest.mark.parametrize("name", ["gpu", "cuda:0", "gpu:0", "auto"])
def test_other_names_of_the_gpu(name, gpu):
    assert tc.device(name).name == "cuda"


@pytest.mark.parametrize("name", ["tpu", "cuda:1", "", None, 0])
def test_unknown_devices_are_refused(name):
    with pytest.raises(ValueError, match=r"device must be 'cpu', 'cuda' or 'auto'.*Received"):
        tc.device(name)


def test_tensors_move_and_keep_values_and_dtype(gpu):
    for dtype in ("float16", "float32", "float64", "int32", "bool"):
        with tc.device("cpu"):
            x = tc.Tensor(np.arange(6).reshape(2, 3).astype(dtype))
        there = x.to("cuda")
        assert (there.device, there.dtype, there.shape) == ("cuda", x.dtype, x.shape)
        assert there.to("cuda") is there
        assert x.to("cpu") is x
        np.testing.assert_array_equal(there.to("cpu").data, x.data)
        assert isinstance(there.numpy(), np.ndarray)
        there.numpy()[...] = 0  # a copy
        np.testing.assert_array_equal(there.numpy(), x.data)


def test_gradients_flow_through_moves(gpu):
    with tc.device("cpu"):
        x = tc.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (x * x).to("cuda")
    (y * y).to("cpu").sum().backward(create_graph=True)
    assert x.grad.device == "cpu"
    np.testing.assert_allclose(x.grad.numpy(), 4 * np.array([1, 2, 3.0]) ** 3)
    np.testing.assert_allclose(tc.grad(x.grad.sum(), x).numpy(), 12 * np.array([1, 2, 3.0]) ** 2)


def test_assign_takes_values_of_either_device(gpu):
    for device in ("cpu", "cuda"):
        with tc.device(device):
            x = tc.Tensor(np.zeros(3, "f4"))
        for values in ([1, 2, 3], np.arange(3.0), gpu.asarray(np.arange(3.0)), tc.Tensor([4.0, 5, 6]).to("cuda")):
            x.assign(values)
            expected = tc.Tensor(values).numpy()
            np.testing.assert_array_equal(x.numpy(), expected)
            assert x.device == device
            assert x.dtype == "float32"


def test_two_devices_in_one_operation_are_an_error(gpu):
    x, y = tc.Tensor(np.ones(3, "f4")).to("cpu"), tc.Tensor(np.ones(3, "f4")).to("cuda")
    for operation in (tc.ops.add, tc.ops.maximum, tc.ops.dot, tc.ops.less, tc.ops.floor_divide):
        with pytest.raises(ValueError, match="must be on one device.*cuda"):
            operation(x, y)
    with pytest.raises(ValueError, match="must be on one device"):
        tc.ops.concatenate([y, x])


def test_printing_and_copying(gpu):
    import copy

    x = tc.Tensor([1.0, 2.0]).to("cuda")
    assert repr(x) == "Tensor([1., 2.])"
    assert float(x.sum()) == 3
    assert x.tolist() == [1, 2]
    assert np.asarray(x).sum() == 3
    other = copy.deepcopy(x)
    other.assign([0.0, 0.0])
    assert x.tolist() == [1, 2]
    assert other.device == "cuda"


# --- without a GPU ----------------------------------------------------------------------------------------------

ASK = """
import sys, tinyconv as tc
assert "cupy" not in sys.modules
for ask in (lambda: tc.device("cuda"), lambda: tc.Tensor([1.0]).to("cuda"), lambda: tc.backends.get("cuda"),
            lambda: tc.Sequential([tc.layers.Dense(1, input_shape=(1,))]).to("gpu")):
    try:
        ask()
    except (ImportError, RuntimeError) as error:
        print(type(error).__name__, error)
assert tc.device("auto").name == "cpu"
print((tc.Tensor([1.0]) + 1).tolist())
"""


def python(code, **environment):
    environment = {**os.environ, "TINYCONV_DEVICE": "", **environment}
    run = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_without_cupy_one_error_says_what_to_install():
    *errors, result = python("import sys; sys.modules['cupy'] = None\n" + ASK.replace('"cupy" not in', '"x" not in'))
    assert result == "[2.0]"
    assert len(errors) == 4
    assert len(set(errors)) == 1
    assert errors[0].startswith("ImportError The device 'cuda' needs CuPy")
    assert 'pip install "tinyconv[cuda12]"' in errors[0]
    assert 'pip install "tinyconv[cuda13]"' in errors[0]


def test_with_cupy_but_without_a_gpu_one_error_says_so():
    pytest.importorskip("cupy")
    *errors, result = python(ASK, CUDA_VISIBLE_DEVICES="")
    assert result == "[2.0]"
    assert len(errors) == 4
    assert len(set(errors)) == 1
    assert errors[0].startswith("RuntimeError The device 'cuda' needs an NVIDIA GPU and its driver")


def test_the_device_of_a_process_is_checked_when_it_is_needed():
    code = "import tinyconv as tc\ntry: tc.Tensor(1.0)\nexcept ValueError as error: print(error)"
    assert "Received: 'abacus'" in python(code, TINYCONV_DEVICE="abacus")[0]


def test_the_stand_in_promises_nothing_that_cupy_lacks():
    cupy = pytest.importorskip("cupy")
    assert [name for name in FUNCTIONS | MAKERS if not hasattr(cupy, name)] == []
    assert callable(cupy.lib.stride_tricks.sliding_window_view)
    for name, ours in vars(runtime).items():  # classes and functions of cupy.cuda, and their methods
        if not name.startswith("_") and getattr(ours, "__module__", "") == runtime.__name__ and name not in OWN:
            theirs = getattr(cupy if name in ("RawKernel", "get_default_memory_pool") else cupy.cuda, name, None)
            theirs = theirs or getattr(cupy.cuda.memory, name)
            methods = set(vars(ours)) - OWN if isinstance(ours, type) else set()
            assert [m for m in methods if not m.startswith("_") and not hasattr(theirs, m)] == [], name


def test_dtypes_of_elementwise_functions_are_numpys():
    """CuPy's tables of loops give the results' dtypes without a GPU."""
    cupy = pytest.importorskip("cupy")
    for name in (*backends.reference.UNARY, *backends.reference.BINARY):
        ours, theirs = getattr(cupy, name), getattr(np, name)
        for kind in "bhilBefd":
            operands = (np.dtype(kind),) * theirs.nin
            try:
                expected = theirs.resolve_dtypes((*operands, None))[-1]
            except TypeError:  # NumPy has none
                continue
            loops = (loop.split("->") for loop in ours.types)
            found = next(out for given, out in loops if all(map(np.can_cast, operands, map(np.dtype, given))))
            assert np.dtype(found) == expected, (name, kind)
