"""Chains of elementwise operations as one CUDA kernel, with column sums of what they compute.

An expression's text (``fusion`` makes it, ``kernels.fused`` describes it) becomes the body of a loop over rows. Thread
``t`` does column ``t % columns`` of part ``t / columns``, a few rows: without sums, one row. It adds up in float64 and
in the order of the rows; the sums of the parts are then added up by the same kernel, so that results do not depend on
which thread comes first. Products are rounded before they are added (``--fmad=false``), as in eager steps.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv.backends.reference import Array

THREADS = 256  # of a block
PART = 8 * THREADS  # numbers that a block does of one among many arrays
WANTED = 1 << 17  # threads that keep a large GPU busy
LEAST_ROWS, MOST_ROWS = 8, 64  # that one thread adds up: in the first kernel, in the following ones

_OPERATORS = {
    "negative": "-{0}", "square": "{0} * {0}", "reciprocal": "1 / {0}",
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} * {1}", "divide": "{0} / {1}",
    "maximum": "largest({0}, {1})", "minimum": "smallest({0}, {1})", "where": "{0} ? {1} : {2}",
    "sigmoid": "sigmoid({0})",
}  # fmt: skip
_COMPARISONS = {
    "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}  # fmt: skip
_FUNCTIONS = {"absolute": "fabs"}  # where CUDA has another name: float32 functions end in f

_DEVICE_FUNCTIONS = """
typedef {real} real;

__device__ real largest(real x, real y) {{ return x != x ? x : y != y ? y : x > y ? x : y; }}
__device__ real smallest(real x, real y) {{ return x != x ? x : y != y ? y : x < y ? x : y; }}
__device__ real sigmoid(real x) {{
    const real z = exp{f}(-fabs{f}(x));
    return (x >= 0 ? 1 : z) / (1 + z);
}}
"""
_SOURCE = """
typedef {index} Index;

// {text}
extern "C" __global__ void {name}({parameters}, Index rows, Index columns, Index rows_each) {{
    const Index t = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    const Index part = t / columns, column = t % columns;
    const Index begin = part * rows_each, end = begin + rows_each < rows ? begin + rows_each : rows;
    {before}
    #pragma unroll 4
    for (Index row = begin; row < end; ++row) {{
        const Index i = row * columns + column;
        {body}
    }}
    {after}
}}
"""
_SOURCE_OF_MANY = """
// {text}, for many arrays: a block does a part of one, whose addresses and size are a row of the table
extern "C" __global__ void {name}(const long long* table, const int* blocks{numbers}) {{
    const long long* addresses = table + (long long)blocks[2 * blockIdx.x] * {width};
    const long long first = (long long)blocks[2 * blockIdx.x + 1] * {part}, size = addresses[{width} - 1];
    const long long end = first + {part} < size ? first + {part} : size;
    {before}
    for (long long i = first + threadIdx.x; i < end; i += blockDim.x) {{
        {body}
    }}
}}
"""


class Expression(NamedTuple):
    """The parts of an expression's text."""

    kinds: str
    operations: list[list[str]]
    results: list[int]
    sums: list[int]

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Read the text."""
        kinds, operations, results, sums = text.split("|")
        lines = [line.split() for line in operations.split(";") if line]
        return cls(kinds, lines, *([int(n) for n in part.split(",") if n] for part in (results, sums)))


def run(xp: Any, text: str, operands: Sequence[Any], results: Sequence[Array], sums: Sequence[Array]) -> None:
    """``results = expression(*operands)`` and column sums, by kernels on the current stream.

    Parameters
    ----------
    xp : module
        CuPy.
    text : str
        The expression.
    operands : sequence of contiguous arrays and Python numbers
        Those as large as the results are seen as rows of ``columns`` numbers.
    results : sequence of contiguous arrays
        They may be operands as well.
    sums : sequence of contiguous arrays
        As many numbers as there are columns.
    """
    kinds = Expression.parse(text).kinds
    arrays = [x for x in operands if hasattr(x, "dtype")]
    dtype = next(a.dtype for a in (*arrays, *results, *sums) if a.dtype.kind == "f")
    large = [*results, *(a for a, kind in zip(operands, kinds) if kind in "fm")]
    rows_given = [*sums, *(a for a, kind in zip(operands, kinds) if kind == "r")]
    columns_given = [a for a, kind in zip(operands, kinds) if kind == "c"]
    size = large[0].size
    columns = rows_given[0].size if rows_given else size // columns_given[0].size if columns_given else size
    rows = size // columns
    rows_each = max(LEAST_ROWS, -(-size // WANTED)) if sums else 1
    parts = -(-rows // rows_each)
    totals = sums if parts == 1 else [xp.empty((parts, columns), np.float64) for _ in sums]
    _launch(xp, text, dtype, operands, results, totals, (rows, columns, rows_each))
    for part_sums, y in zip(totals, sums) if parts > 1 else ():
        _add(xp, part_sums, y)


def run_many(xp: Any, text: str, numbers: Sequence[float | None], dtype: Any, table: Array, blocks: Array) -> None:
    """One expression of many arrays in one kernel.

    Parameters
    ----------
    xp : module
        CuPy.
    text : str
        The expression: operands of kinds ``f`` and ``s``, no sums.
    numbers : sequence of float or None
        Operands that are Python numbers, the same for all; None in the place of arrays.
    dtype : dtype
        Of all arrays.
    table : array, shape (n, operands that are arrays + results + 1), int64
        Addresses of operands and results, and size; it is read when the kernel runs.
    blocks : array, shape (blocks, 2), int32
        As ``blocks_of`` gives them.
    """
    by_value = "".join("p" if number is None else "v" for number in numbers)
    kernel = _kernel_of_many(xp, text, by_value, np.dtype(dtype).char)
    values = [np.dtype(dtype).type(number) for number in numbers if number is not None]
    kernel((len(blocks),), (THREADS,), (table, blocks, *values))


def blocks_of(sizes: Sequence[int]) -> np.ndarray:
    """For every block which array it works on, and on which part of it.

    Examples
    --------
    >>> blocks_of([5, 3 * PART]).tolist()
    [[0, 0], [1, 0], [1, 1], [1, 2]]
    """
    return np.array([(n, part) for n, size in enumerate(sizes) for part in range(-(-size // PART))], np.int32)


def _add(xp: Any, x: Array, y: Array) -> None:
    """The sum of the rows of ``x`` (parts, columns), float64, rounded once to the type of ``y``."""
    rows, columns = x.shape
    parts = -(-rows // MOST_ROWS)
    total = y if parts == 1 else xp.empty((parts, columns), np.float64)
    _launch(xp, "f|||0", x.dtype, [x], [], [total], (rows, columns, MOST_ROWS))
    if parts > 1:
        _add(xp, total, y)


def _launch(
    xp: Any,
    text: str,
    dtype: Any,
    operands: Sequence[Any],
    results: Sequence[Array],
    sums: Sequence[Array],
    sizes: tuple[int, int, int],
) -> None:
    rows, columns, rows_each = sizes
    index = np.int32 if rows * columns + THREADS < 2**31 else np.int64
    by_value = "".join("v" if not hasattr(x, "dtype") else "p" for x in operands)
    kernel = _kernel(xp, text, by_value, np.dtype(dtype).char, "".join(a.dtype.char for a in sums), index is np.int64)
    numbers = [x if hasattr(x, "dtype") else dtype.type(x) for x in operands]
    threads = -(-rows // rows_each) * columns
    grid = (-(-threads // THREADS),)
    kernel(grid, (THREADS,), (*numbers, *results, *sums, *map(index, sizes)))


@functools.cache
def _kernel(xp: Any, text: str, by_value: str, char: str, sum_chars: str, wide: bool) -> Any:
    code, name = source(text, by_value, char, sum_chars, wide)
    return xp.RawKernel(code, name, options=("--fmad=false",))


@functools.cache
def _kernel_of_many(xp: Any, text: str, by_value: str, char: str) -> Any:
    code, name = source_of_many(text, by_value, char)
    return xp.RawKernel(code, name, options=("--fmad=false",))


def source_of_many(text: str, by_value: str, char: str) -> tuple[str, str]:
    """CUDA C of an expression of many arrays, and the kernel's name; see ``source``."""
    x = Expression.parse(text)
    parts = _parts(x, by_value, char, "")
    pointers = [p for p in parts["parameters"] if "*" in p]
    numbers = "".join(f", {p}" for p in parts["parameters"] if "*" not in p)
    loads = [f"{p} = ({p.rpartition(' ')[0]})addresses[{n}];" for n, p in enumerate(pointers)]
    joined = {"before": "\n    ".join([*loads, *parts["before"]]), "body": "\n        ".join(parts["body"])}
    return _named(_SOURCE_OF_MANY, char, text=text, numbers=numbers, width=len(pointers) + 1, part=PART, **joined)


def source(text: str, by_value: str, char: str, sum_chars: str, wide: bool = False) -> tuple[str, str]:
    """CUDA C of an expression, and the kernel's name.

    Parameters
    ----------
    text : str
        The expression.
    by_value : str
        For each operand ``v``, a number in the call, or ``p``, an array.
    char, sum_chars : str
        Type letters (``f`` float32, ``d`` float64) of the computation, and of each sum.
    wide : bool
        Whether places take 64 bits.

    Examples
    --------
    >>> code, name = source("ffs|greater 0 2;where 3 1 2|4|", "ppv", "f", "")
    >>> print("\\n".join(line.strip() for line in code.splitlines() if "v3" in line or "v4" in line))
    const bool v3 = v0 > v2;
    const real v4 = v3 ? v1 : v2;
    y0[i] = v4;
    """
    parts = _parts(Expression.parse(text), by_value, char, sum_chars)
    parts["before"].insert(0, "if (begin >= rows) return;")
    return _named(_SOURCE, char, text=text, index="long long" if wide else "int", **dict(_joined(parts)))


def _named(template: str, char: str, **parts: Any) -> tuple[str, str]:
    """The text of a kernel that is named by its contents, and the name."""
    functions = _DEVICE_FUNCTIONS.format(real=_c_type(char), f="f" if char == "f" else "")
    name = f"fused_{hashlib.sha256((functions + template.format(name='', **parts)).encode()).hexdigest()[:12]}"
    return functions + template.format(name=name, **parts), name


def _parts(x: Expression, by_value: str, char: str, sum_chars: str) -> dict[str, list[str]]:
    """The parts of a kernel: its parameters, and what comes before, in and after the loop."""
    parts: dict[str, list[str]] = {"parameters": [], "before": [], "body": [], "after": []}
    masks = {i for i, kind in enumerate(x.kinds) if kind == "m"}
    for i, (kind, how) in enumerate(zip(x.kinds, by_value)):
        _declare_operand(i, kind, how, parts)
    for number, (name, *arguments) in enumerate(x.operations, len(x.kinds)):
        values = [f"(real)v{n}" if int(n) in masks and name != "where" else f"v{n}" for n in arguments]
        if name in _COMPARISONS:
            masks.add(number)
        kind = "bool" if name in _COMPARISONS else "real"
        parts["body"].append(f"const {kind} v{number} = {_formula(name, values, char)};")
    for i, number in enumerate(x.results):
        parts["parameters"].append(f"{'bool' if number in masks else 'real'}* y{i}")
        parts["body"].append(f"y{i}[i] = v{number};")
    for i, (number, kind) in enumerate(zip(x.sums, sum_chars)):
        parts["parameters"].append(f"{_c_type(kind)}* total{i}")
        parts["before"].append(f"double sum{i} = 0;")
        parts["body"].append(f"sum{i} += v{number};")
        parts["after"].append(f"total{i}[part * columns + column] = sum{i};")
    return parts


def _declare_operand(i: int, kind: str, how: str, parts: dict[str, list[str]]) -> None:
    """The operand's parameter, and where its value comes from: rows and numbers are loaded once."""
    if how == "v":
        parts["parameters"].append(f"real v{i}")
        return
    parts["parameters"].append(f"const {'bool' if kind == 'm' else 'real'}* x{i}")
    place = {"f": "i", "m": "i", "r": "column", "c": "row", "s": "0"}[kind]
    load = f"const {'bool' if kind == 'm' else 'real'} v{i} = x{i}[{place}];"
    parts["before" if kind in "rs" else "body"].append(load)


def _formula(name: str, values: list[str], char: str) -> str:
    if name in _COMPARISONS:
        return f"{values[0]} {_COMPARISONS[name]} {values[1]}"
    if name in _OPERATORS:
        return _OPERATORS[name].format(*values)
    return f"{_FUNCTIONS.get(name, name)}{'f' if char == 'f' else ''}({values[0]})"


def _joined(parts: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    for name, lines in parts.items():
        indent = "        " if name == "body" else "    "
        yield name, (", " if name == "parameters" else f"\n{indent}").join(lines)


def _c_type(char: str) -> str:
    return {"f": "float", "d": "double"}[char]
