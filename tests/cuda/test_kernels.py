"""The CUDA kernels: compiled for the GPUs they are meant for, and run on the host or on the GPU against float64.

Errors are held against bounds, not against habits. A product of numbers rounded to TF32 (10 bits of fraction) is off by
at most 2 * 2^-11 of itself, and a float32 sum of K terms, in any order, by K * 2^-24 of the sum of their magnitudes.
Source: N. Higham, "Accuracy and stability of numerical algorithms", 2002, section 3.1.
"""

import functools
import itertools
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backends import test_backends as primitives
from tests.cuda import host, nvrtc
from tests.cuda.strict import StrictBackend
from tinyconv.backends.cuda import contractions, launch
from tinyconv.backends.reference import ReferenceBackend
from tinyconv.geometry import make_pool_window, make_window

FILES = sorted({file for file, _ in host.KERNELS})
ARCHITECTURES = {"sm_80": 163, "sm_90": 227}  # KiB of shared memory that a block may have
reference = ReferenceBackend()
examples = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


# --- compiled ---------------------------------------------------------------------------------------------------


@functools.cache
def compilations():
    """The compiler's results by file and architecture, worked out side by side."""
    pool = ThreadPoolExecutor(2)

    def compile(file, architecture):
        names = [expression for source, expression in host.KERNELS if source == file]
        options = (*launch.OPTIONS, f"--gpu-architecture={architecture}", "--ptxas-options=-v")
        return nvrtc.compiled(launch.source(file), names, *options)

    pairs = [(file, architecture) for file in FILES for architecture in ARCHITECTURES]
    return {pair: pool.submit(compile, *pair) for pair in pairs}


@pytest.mark.slow
@pytest.mark.skipif(nvrtc.library() is None, reason="needs the compiler: pip install nvidia-cuda-nvrtc")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_every_kernel_compiles_and_keeps_to_its_registers(file, architecture):
    code, log = compilations()[file, architecture].result()
    assert code.startswith(b"\x7fELF")
    count = sum(source == file for source, _ in host.KERNELS)
    registers = [int(number) for number in re.findall(r"Used (\d+) registers", log)]
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert len(registers) == len(spills) == count
    assert set(spills) == {("0", "0", "0")}
    assert max(registers) * 256 <= 65536  # at least one block of 256 threads fits


@pytest.mark.parametrize("tile", [contractions.SMALL, contractions.NARROW, contractions.LARGE])
@pytest.mark.parametrize("depths", [(True, True), (True, False), (False, False), (False, True)])
def test_shared_memory_is_there(tile, depths):
    tiles = contractions.Tiling(tile, (1, 1, 1), contractions.DEPTH)
    call = contractions._call("matmul.cu", "matmul", tiles, 4, (False,), depths)
    assert call.shared <= min(ARCHITECTURES.values()) * 1024 // 2  # two blocks, as promised by the kernels' bounds


def test_cupy_takes_the_arguments_of_the_launches():
    """CuPy looks at them before it looks for a GPU."""
    cupy = pytest.importorskip("cupy")
    if cupy.cuda.is_available():
        pytest.skip("launched for real")
    from cupy.cuda.function import Function

    window = make_window((5, 5), 3)
    calls = [
        contractions._forward((2, 5, 5, 3), 4, window, 1, False, 1, True),
        *contractions._input_grad((2, 3, 3, 4), (2, 5, 5, 3), window, 1, 1, True),
        contractions._matmul(4, 4, 4, 1, (True, 4, 0), (True, 4, 0), 4, True),
        launch.sum_parts(12, 12, 4, 2, False),
    ]
    stream = type("Stream", (), {"ptr": 0})()
    for call in calls:
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError):
            Function.__new__(Function)(call.grid, (call.threads,), (launch.NULL, *call.settings), call.shared, stream)
    with pytest.raises(TypeError):
        Function.__new__(Function)((1,), (1,), (object(),), 0, stream)


def test_what_cupy_is_asked_to_compile(monkeypatch):
    """One kernel of a text that needs no other file, and the right to much shared memory."""
    asked, made = [], []

    class RawModule:
        def __init__(self, **options):
            asked.append(options)

        def get_function(self, name):
            assert asked[-1]["name_expressions"] == (name,)
            made.append(SimpleNamespace(name=name))
            return made[-1]

    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(RawModule=RawModule))
    for file, expression in host.KERNELS:
        for shared in (launch.STATIC_LIMIT, launch.STATIC_LIMIT + 16):
            launch._compiled(file, expression, shared)
    assert all("#include" not in options["code"] for options in asked)
    assert all(options["options"] == ("-std=c++17",) for options in asked)
    assert not any(hasattr(kernel, "max_dynamic_shared_size_bytes") for kernel in made[0::2])
    assert {kernel.max_dynamic_shared_size_bytes for kernel in made[1::2]} == {launch.STATIC_LIMIT + 16}


@given(st.integers(0, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_division_by_multiplication(n, d):
    for dividend in {n, n // d * d, max(n // d * d - 1, 0), 2**31 - 1}:
        divisor, magic, shift = launch.divisor(d)
        assert divisor == d
        assert 0 < magic < 2**32
        total = (dividend * magic >> 32) + dividend
        assert total < 2**32
        assert total >> shift == dividend // d


# --- run --------------------------------------------------------------------------------------------------------


def double(x):
    return None if x is None else np.asarray(x, np.float64)


def check_contraction(gpu, name, arrays, others, terms, strict):
    """A bilinear primitive of float32 arrays (a third is a bias) within the bound for sums of ``terms`` products."""
    expected = getattr(reference, name)(*map(double, arrays), *others)
    magnitude = getattr(reference, name)(*(None if a is None else np.abs(double(a)) for a in arrays), *others)
    got = getattr(gpu, name)(*(None if a is None else gpu.asarray(a) for a in arrays), *others)
    assert got.dtype == np.float32
    got = gpu.to_numpy(got)
    product = 0 if strict else 2.01 * 2.0**-11
    bound = (product + (terms + 2) * 2.0**-24) * magnitude
    assert got.shape == expected.shape
    assert np.isfinite(got).all()
    assert (np.abs(got - expected) <= bound).all()
    return got


@st.composite
def convolutions(draw):
    """Shapes of input and kernel, window, groups."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 20]))
    channels = st.sampled_from([1, 3, 4, 8, 20, 50, 64, 65] if groups == 1 else [1, 3, 4, 8][: 60 // groups])
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 4)))
    strides, dilations = (draw(st.tuples(*[st.integers(1, 3)] * 2)) for _ in range(2))
    padding = tuple(draw(st.tuples(*[st.integers(0, 3)] * 2)) for _ in range(2))
    least = [max(1, (k - 1) * d + 1 - sum(p)) for k, d, p in zip(kernel, dilations, padding)]
    size = tuple(n + draw(st.integers(0, 7)) for n in least)
    c, o = (1, 1) if groups > 1 and draw(st.booleans()) else (draw(channels), draw(channels))
    window = make_window(size, kernel, strides, padding, dilations)
    return (draw(st.integers(1, 3)), *size, c * groups), (*kernel, c, o * groups), window, groups


@pytest.mark.parametrize("tf32", ["0", "1"])
@examples
@given(convolutions(), st.integers(0, 2**31), st.booleans(), st.booleans())
def test_convolutions(gpu, monkeypatch, tf32, shapes, seed, late, backwards):
    monkeypatch.setenv("CUPY_TF32", tf32)
    x_shape, w_shape, window, groups = shapes
    rng = np.random.default_rng(seed)
    y_shape = (x_shape[0], *window.output_size(x_shape[1:3]), w_shape[3])
    x, w, b, dy = (rng.standard_normal(s, "f4") for s in (x_shape, w_shape, w_shape[3:], y_shape))
    taps, strict = w_shape[0] * w_shape[1], tf32 == "0"
    with host.order(late, backwards):
        bias = b if seed % 2 else None
        check_contraction(gpu, "conv2d", (x, w, bias), (window, groups), taps * w_shape[2] + 1, strict)
        check_contraction(gpu, "conv2d_input_grad", (dy, w), (x_shape, window, groups), taps * y_shape[3], strict)
        pixels = y_shape[0] * y_shape[1] * y_shape[2]
        check_contraction(gpu, "conv2d_weight_grad", (x, dy), (w_shape, window, groups), pixels, strict)


@pytest.mark.parametrize("tf32", ["0", "1"])
@examples
@given(st.data())
def test_matrix_products(gpu, monkeypatch, tf32, data):
    monkeypatch.setenv("CUPY_TF32", tf32)
    m, k, n = (data.draw(st.sampled_from([1, 3, 4, 20, 50, 64, 65, 130, 132])) for _ in range(3))
    leads = data.draw(st.sampled_from([((), ()), ((3,), ()), ((), (3,)), ((2, 3), (2, 3)), ((2, 1), (1, 3))]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    operands = []
    for lead, rows, columns in zip(leads, (m, k), (k, n)):
        layout = data.draw(st.sampled_from(["rows", "columns", "wide rows", "wide columns", "every other"]))
        if "columns" in layout:
            shape = (*lead, columns + 2 * ("wide" in layout), rows)
            x = rng.standard_normal(shape, "f4").swapaxes(-1, -2)[..., :columns]
        else:
            stride = 1 + (layout == "every other")
            x = rng.standard_normal((*lead, rows, columns * stride + 4 * ("wide" in layout)), "f4")
            x = x[..., ::stride][..., :columns]
        operands.append(x)
    with host.order(data.draw(st.booleans()), data.draw(st.booleans())):
        check_contraction(gpu, "matmul", operands, (), k, tf32 == "0")


@pytest.mark.parametrize("tf32", ["0", "1"])
@pytest.mark.parametrize("shape", [(20, 5000, 10), (65, 2450, 500), (3, 4099, 3)])
def test_a_long_sum_is_shared_out_and_always_the_same(gpu, monkeypatch, tf32, shape):
    monkeypatch.setenv("CUPY_TF32", tf32)
    m, k, n = shape
    assert contractions.tiling(m, n, k, 1, tf32 == "0").grid[1] > 1
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((m, k), "f4"), rng.standard_normal((k, n), "f4")
    found = []
    for late, backwards in ((True, False), (False, True)):
        with host.order(late, backwards):
            found.append(check_contraction(gpu, "matmul", (x, y), (), k, tf32 == "0"))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("tf32", ["0", "1"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_spread_as_in_the_reference(gpu, monkeypatch, tf32, bad):
    monkeypatch.setenv("CUPY_TF32", tf32)
    rng = np.random.default_rng(0)
    window = make_window((9, 9), 3, 2, "same")
    x, w, dy = (rng.standard_normal(s, "f4") for s in ((2, 9, 9, 20), (3, 3, 20, 17), (2, 5, 5, 17)))
    x[1, 4, 4, 3] = dy[0, 2, 2, 1] = bad
    for name, arrays, others in (
        ("conv2d", (x, w), (None, window, 1)),
        ("conv2d_input_grad", (dy, w), (x.shape, window, 1)),
        ("conv2d_weight_grad", (x, dy), (w.shape, window, 1)),
        ("matmul", (x.reshape(-1, 20), w[0, 0]), ()),
    ):
        expected = getattr(reference, name)(*arrays, *others)
        got = gpu.to_numpy(getattr(gpu, name)(*map(gpu.asarray, arrays), *others))
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected), err_msg=name)
        np.testing.assert_array_equal(np.isinf(got), np.isinf(expected), err_msg=name)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("size", [3, 40])
def test_bias_and_clip_come_after_the_whole_sum(gpu, clip, size):
    """With K in one part and in several; NaN passes the clip."""
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s, "f4") for s in ((1, size, size, 64), (3, 3, 64, 20), (20,)))
    x[0, 0, 0, 0] = np.nan
    window = make_window((size, size), 3)
    expected = reference.conv2d(x, w, b, window, 1)
    got = (gpu.conv2d_relu if clip else gpu.conv2d)(*map(gpu.asarray, (x, w, b)), window, 1)
    np.testing.assert_allclose(gpu.to_numpy(got), np.maximum(expected, 0) if clip else expected, rtol=1e-4, atol=1e-4)


CONTRACTIONS = [expression for file, expression in host.KERNELS if file in ("convolution.cu", "matmul.cu")]
CHANNELS = {(64, 1): 35, (64, 2): 38, (64, 4): 36, (32, 1): 7, (32, 2): 10, (32, 4): 12, (128, 4): 132}


@pytest.mark.parametrize("expression", CONTRACTIONS)
def test_every_kernel_of_products(gpu, monkeypatch, expression):
    """Sizes for which it is chosen, with remainders on all sides; of large tiles, one would do."""
    name, _, tile_n, vec, strict, *rows = re.findall(r"\w+", expression)
    monkeypatch.setenv("CUPY_TF32", "0" if strict == "true" else "1")
    if tile_n == "128":
        monkeypatch.setattr(contractions, "BUSY", 0)
        forget_calls()
    calls = []
    monkeypatch.setattr(gpu, "_launch", record(gpu._launch, calls))
    rng, c = np.random.default_rng(0), CHANNELS[int(tile_n), int(vec)]
    x_shape, w_shape, window = (2, 7, 6, c), (3, 2, c, c), make_window((7, 6), (3, 2), (2, 1), ((1, 0), (0, 1)), (1, 2))
    x, w = rng.standard_normal(x_shape, "f4"), rng.standard_normal(w_shape, "f4")
    dy = rng.standard_normal((2, *window.output_size((7, 6)), c), "f4")
    if name == "matmul":
        operands = [rng.standard_normal((140 + c % 4, c), "f4"), rng.standard_normal((c, c), "f4")]
        operands = [a if lines == "true" else np.asfortranarray(a) for a, lines in zip(operands, rows)]
        check_contraction(gpu, "matmul", operands, (), c, strict == "true")
    else:
        arrays, others, terms = {
            "conv2d_forward": ((x, w, None), (window, 1), 6 * c),
            "conv2d_input_grad": ((dy, w), (x_shape, window, 1), 6 * c),
            "conv2d_weight_grad": ((x, dy), (w_shape, window, 1), dy.size // c),
        }[name]
        check_contraction(gpu, name.replace("_forward", ""), arrays, others, terms, strict == "true")
    forget_calls()
    assert {call.expression for call in calls} - {"sum_parts"} == {expression}


def test_older_gpus_do_without_kernels_for_products(gpu, monkeypatch):
    """They would not compile; pooling and random numbers do."""
    monkeypatch.setattr(gpu, "modern", False)
    calls = []
    monkeypatch.setattr(gpu, "_launch", record(gpu._launch, calls))
    rng = np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(s, "f4") for s in ((2, 5, 5, 3), (3, 3, 3, 4), (2, 3, 3, 4)))
    window = make_window((5, 5), 3)
    check_contraction(gpu, "conv2d", (x, w, None), (window, 1), 27, True)
    check_contraction(gpu, "conv2d_input_grad", (dy, w), (x.shape, window, 1), 36, True)
    check_contraction(gpu, "conv2d_weight_grad", (x, dy), (w.shape, window, 1), 18, True)
    check_contraction(gpu, "matmul", (x.reshape(-1, 3), w[0, 0]), (), 3, True)
    assert not calls
    gpu.max_pool2d(gpu.asarray(x), window)
    assert [call.file for call in calls] == ["pooling.cu"]


def forget_calls():
    for name in ("_forward", "_input_grad", "_weight_grad", "_matmul"):
        getattr(contractions, name).cache_clear()


def record(launcher, calls):
    """A launcher that notes its calls."""

    def noted(call, *arrays):
        calls.append(call)
        launcher(call, *arrays)

    noted.xp = launcher.xp
    return noted


@pytest.mark.parametrize(
    ("setting", "rounded"), [(None, {"conv2d"}), ("0", set()), ("1", {"conv2d", "matmul"})]
)
def test_who_may_round_to_tf32(gpu, monkeypatch, setting, rounded):
    """1 + 2^-12 is a float32 and no TF32."""
    monkeypatch.delenv("CUPY_TF32")
    if setting is not None:
        monkeypatch.setenv("CUPY_TF32", setting)
    x = gpu.asarray(np.full((1, 1, 1, 4), 1 + 2.0**-12, np.float32))
    one = gpu.asarray(np.eye(4, dtype=np.float32))
    results = {
        "conv2d": gpu.conv2d(x, one.reshape(1, 1, 4, 4), None, make_window((1, 1), 1), 1),
        "matmul": gpu.matmul(x.reshape(1, 4), one),
    }
    assert {name for name, y in results.items() if (gpu.to_numpy(y) == 1).all()} == rounded


@pytest.mark.parametrize("name", ["max_pool2d", "max_pool2d_scatter", "max_pool2d_gather", "sum_pool2d",
                                  "sum_pool2d_spread", "random_uniform"])  # fmt: skip
def test_pooling_and_random_numbers(gpu, name):
    @given(st.data())
    def test(data):
        arguments = primitives.TABLE[name].draw(primitives.Draw(data))
        expected = getattr(reference, name)(*arguments)
        with host.order(True, data.draw(st.booleans())):
            got = getattr(gpu, name)(*(gpu.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments))
        pairs = zip(got, expected, strict=True) if isinstance(expected, tuple) else [(got, expected)]
        for one, other in pairs:
            assert one.dtype == other.dtype
            primitives.check(name, gpu.to_numpy(one), other)

    test()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kernel", [(2, 3), (17, 16)])
def test_taps_of_either_width(gpu, dtype, kernel):
    window = make_pool_window((20, 19), kernel, (2, 1), "same")
    x = np.random.default_rng(0).standard_normal((2, 20, 19, 5)).astype(dtype)
    y, taps = reference.max_pool2d(x, window)
    assert taps.dtype == ("u1" if kernel == (2, 3) else "i4")
    there = gpu.asarray(taps)
    for one, other in zip(gpu.max_pool2d(gpu.asarray(x), window), (y, taps), strict=True):
        np.testing.assert_array_equal(gpu.to_numpy(one), other)
    np.testing.assert_array_equal(gpu.to_numpy(gpu.max_pool2d_gather(gpu.asarray(x), there, window)), y)
    got = gpu.max_pool2d_scatter(gpu.asarray(y), there, x.shape, window)
    expected = reference.max_pool2d_scatter(y, taps, x.shape, window)
    np.testing.assert_allclose(gpu.to_numpy(got), expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_random_key_may_lie_on_the_device(gpu, dtype):
    for key in (3, 2**64 - 5):
        there = gpu.asarray(np.array([7, key], np.uint64))[1:]
        got = gpu.to_numpy(gpu.random_uniform(there, (3, 5), dtype))
        np.testing.assert_array_equal(got, reference.random_uniform(key, (3, 5), dtype))


# --- the host's GPU notices what a GPU might pass over ----------------------------------------------------------

KERNEL = "matmul<64, 64, 4, false, true, true>"
MISTAKES = {  # what is replaced, by what, and what is said where it is more than a wrong result
    "no barrier": ("__syncthreads();", "", ""),
    "a copy is not waited for": ("wait_copies<STAGES - 2>()", "wait_copies<STAGES - 1>()", ""),
    "copies into what is being read": ("load((stage + STAGES - 1) % STAGES,", "load(stage,", ""),
    "copies of another step": ("k + (STAGES - 1) * DEPTH", "k + (STAGES - 2) * DEPTH", ""),
    "no rounding": ("to_tf32(a[", "(*(const unsigned*)&a[", "not rounded to TF32"),
    "a fragment turned": ("part % 2 * 8", "part / 2 * 8", ""),
    "rows outside": ("if (row >= result.rows) continue;", "", "outside of an array"),
    "columns outside": ("column < columns", "true", ""),
    "operand's rows outside": ("if (m >= rows) return nullptr;", "", "outside of all arrays"),
    "threads that do not come": ("__syncthreads();", "if (threadIdx.x) __syncthreads();", "wait for each other"),
    "a stage too many": ("STAGES = 4", "STAGES = 5", "beside the shared memory"),
    "copies at odd places": ("PITCH = K_CONTIGUOUS ? DEPTH + 4", "PITCH = K_CONTIGUOUS ? DEPTH + 3", "not aligned"),
}  # fmt: skip


def product_by(text):
    """Check a product by a text's ``KERNEL``, in all orders of threads and copies."""
    gpu = StrictBackend()
    gpu._launch = launch.Launcher(gpu.xp, lambda _, name, shared: host.kernel_of(host.library(text), name, shared))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((70, 96), "f4"), rng.standard_normal((96, 72), "f4")
    for order in itertools.product([True, False], repeat=2):
        with host.order(*order):
            check_contraction(gpu, "matmul", (x, y), (), 96, False)


@pytest.mark.skipif(host.COMPILER is None, reason="needs g++")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_stand_in_notices(mistake, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "1")
    right = host.text_of("matmul.cu", [KERNEL])
    product_by(right)
    old, new, said = MISTAKES[mistake]
    assert old in right
    with pytest.raises(AssertionError, match=said or None):
        product_by(right.replace(old, new))
