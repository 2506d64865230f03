"""Generated elementwise kernels: against NumPy, on the GPU or by g++; and through NVRTC for the GPUs that count."""

import re

import numpy as np
import pytest

from tests.cuda import nvrtc
from tinyconv.backends import fusion
from tinyconv.backends.cuda import fused

NUMPY = {"sigmoid": lambda x: 1 / (1 + np.exp(-x))}
UNARY = ("negative", "absolute", "square", "sqrt", "reciprocal", "exp", "expm1", "log", "tanh", "sigmoid")
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", *COMPARISONS)
SPECIAL = [0.0, -0.0, 1.0, -2.5, 3e38, 1e-30, np.inf, -np.inf, np.nan, 0.5]
EXAMPLES = [
    ("ffs|greater 0 2;where 3 1 2|4|4", "ppv", "d"),
    ("frcsmm|add 0 1;multiply 6 2;maximum 7 3;where 4 8 3;divide 9 5;less 10 0|9,11|10,8", "pppvpp", "dd"),
    ("f|||0", "p", "f"),
    ("fs|sigmoid 0;tanh 2;expm1 3;log 4;exp 5;sqrt 6;absolute 7;reciprocal 8;square 9;minimum 10 1|11|", "pp", ""),
]


def run(gpu, text, operands, shape, dtype, sums=()):
    """Results and sums of an expression, on the host."""
    x = fused.Expression.parse(text)
    masks = {len(x.kinds) + i for i, (name, *_) in enumerate(x.operations) if name in COMPARISONS}
    results = [gpu.xp.empty(shape, "?" if n in masks else dtype) for n in x.results]
    totals = [gpu.xp.empty(shape[-1:], dtype) for _ in x.sums]
    given = [gpu.asarray(o) if isinstance(o, np.ndarray) else o for o in operands]
    fused.run(gpu.xp, text, given, results, totals)
    return [gpu.to_numpy(a) for a in (*results, *totals)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_operation_is_numpys(dtype, gpu):
    assert {*UNARY, *BINARY, "where"} == fusion._OPERATIONS
    x, y = (np.array(v, dtype).ravel() for v in np.meshgrid(SPECIAL, SPECIAL))
    with np.errstate(all="ignore"):
        x, y = x.astype(dtype), y.astype(dtype)
        lines = [f"{name} 0" for name in UNARY] + [f"{name} 0 1" for name in BINARY] + ["where 2 0 1"]
        text = f"ffm|{';'.join(lines)}|{','.join(str(3 + i) for i in range(len(lines)))}|"
        found = run(gpu, text, [x, y, x > y], x.shape, dtype)
        expected = [NUMPY.get(name, getattr(np, name, None))(x) for name in UNARY]
        expected += [getattr(np, name)(x, y) for name in BINARY] + [np.where(x > y, x, y)]
    for line, one, other in zip(lines, found, expected, strict=True):
        assert one.dtype == other.dtype, line
        np.testing.assert_allclose(one, other, rtol=3e-6 if dtype == "float32" else 1e-14, atol=1e-38, err_msg=line)


def test_masks_count_as_0_and_1(gpu):
    m, n, one = np.array([True, False, True]), np.array([True, True, False]), np.ones(3, "f4")
    text = "mmf|divide 0 1;negative 0;add 0 1;equal 0 1;where 0 1 2;maximum 0 2|3,4,5,6,7,8|"
    found = run(gpu, text, [m, n, one], (3,), "f4")
    expected = [[1, 0, np.inf], [-1, 0, -1], [2, 1, 1], [True, False, False], [1, 1, 0], [1, 1, 1]]
    for values, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(values, wanted)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 3), (300, 2), (5000, 33), (9, 4096)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_columns_numbers_and_sums(shape, dtype, gpu):
    """All kinds of operands in one expression; sums against exact ones, in however many rounds."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    row, column = rng.standard_normal(shape[-1:]).astype(dtype), rng.standard_normal((shape[0], 1)).astype(dtype)
    mask, number = rng.random(shape) < 0.5, np.array(1.5, dtype)
    text = "ffrcmss|add 0 2;multiply 7 3;where 4 8 1;multiply 9 5;subtract 10 6|11|11,8"
    value = np.where(mask, (x + row) * column, y) * number - dtype_number(0.1, dtype)
    found = run(gpu, text, [x, y, row, column, mask, number, 0.1], shape, dtype)
    np.testing.assert_array_equal(found[0], value)
    for total, terms in zip(found[1:], (value, (x + row) * column), strict=True):
        exact = terms.astype(np.longdouble).sum(0)
        bound = np.abs(terms.astype(np.longdouble)).sum(0) * shape[0] * 1.2e-16
        rounding = np.abs(exact) * (6e-8 if dtype == "float32" else 2.3e-16)
        assert (np.abs(total - exact) <= bound + rounding).all()


def dtype_number(value, dtype):
    return np.dtype(dtype).type(value)


def test_results_may_be_written_over_operands(gpu):
    x = gpu.asarray(np.arange(10.0))
    fused.run(gpu.xp, "fs|multiply 0 1|2|", [x, 2.0], [x], [])
    np.testing.assert_array_equal(gpu.to_numpy(x), 2 * np.arange(10.0))


def test_many_arrays_in_one_kernel(gpu):
    rng = np.random.default_rng(0)
    sizes = [1, 5, fused.PART, fused.PART + 1, 3 * fused.PART - 7]
    pairs = [rng.random((2, size), "f4") for size in sizes]
    on_device = [[gpu.asarray(a) for a in pair] for pair in pairs]
    rate = gpu.asarray(np.array(0.25, "f4"))
    rows = [[rate.data.ptr, x.data.ptr, y.data.ptr, x.data.ptr, x.size] for x, y in on_device]  # over an operand
    table, blocks = gpu.asarray(np.array(rows)), gpu.asarray(fused.blocks_of(sizes))
    fused.run_many(gpu.xp, "sffs|multiply 0 1;add 4 2;multiply 5 3|6|", [None, None, None, 0.5], "f4", table, blocks)
    for (x, y), (written, _) in zip(pairs, on_device, strict=True):
        expected = (np.float32(0.25) * x + y) * np.float32(0.5)
        np.testing.assert_array_equal(gpu.to_numpy(written), expected)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("wide", [False, True])
def test_nvrtc_compiles_what_is_generated(architecture, wide):
    if nvrtc.library() is None:
        pytest.skip("needs pip install nvidia-cuda-nvrtc")
    for text, by_value, sums in EXAMPLES:
        for char in "fd":
            code, name = fused.source(text, by_value, char, sums, wide)
            cubin, _ = nvrtc.compiled(code, [], f"--gpu-architecture={architecture}", "--fmad=false")
            assert name.encode() in cubin
            assert re.fullmatch(r"fused_[0-9a-f]{12}", name)
    code, name = fused.source_of_many("sfsf|multiply 0 1;multiply 2 4;subtract 3 5|6|", "ppvp", "f")
    assert name.encode() in nvrtc.compiled(code, [], f"--gpu-architecture={architecture}")[0]
