"""Winograd convolution: its matrices, its kernels against the reference in float64, and the rule that chooses it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

import numba

from tinyconv import backends, config
from tinyconv.backends.kernels import conv, launch, winograd
from tinyconv.geometry import Window, make_window

REFERENCE = backends.get("reference")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def all_threads_for_every_size(monkeypatch):
    monkeypatch.setattr(launch, "SMALL", 0)


class Case:
    """Random arrays around one convolution: outputs and gradients are about 1, the weight gradient about 1 too."""

    def __init__(self, n: int, size: tuple[int, int], c: int, o: int, window: Window, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.window = window
        self.x = rng.standard_normal((n, *size, c), dtype="f4")
        self.w = (rng.standard_normal((*window.kernel, c, o)) / np.sqrt(c * window.kernel[0] ** 2)).astype("f4")
        self.b = rng.standard_normal(o, dtype="f4")
        self.dy = rng.standard_normal((n, *window.output_size(size), o), dtype="f4")
        self.scale = np.float32(1 / np.sqrt(n * self.dy.shape[1] * self.dy.shape[2]))

    def results(self, kernels: Any) -> list[np.ndarray]:
        """Output, gradient for the input and gradient for the weights, none of which touches its surroundings."""
        made = []
        for like, call in [
            (self.dy, lambda y: kernels.forward(self.x, self.w, self.b, y, self.window, 1)),
            (self.x, lambda dx: kernels.input_grad(self.dy, self.w, dx, self.window, 1)),
            (self.w, lambda dw: kernels.weight_grad(self.x, self.dy * self.scale, dw, self.window, 1)),
        ]:
            memory = np.full(like.size + 2 * 1024, np.nan, "f4")
            target = memory[1024:-1024].reshape(like.shape)
            launch.run(call(target))
            assert np.isnan(memory[:1024]).all()
            assert np.isnan(memory[-1024:]).all()
            made.append(target)
        return made

    def expected(self) -> list[np.ndarray]:
        """The same by the reference in float64."""
        x, w, b, dy = (a.astype(float) for a in (self.x, self.w, self.b, self.dy))
        return [
            REFERENCE.conv2d(x, w, b, self.window, 1),
            REFERENCE.conv2d_input_grad(dy, w, x.shape, self.window, 1),
            REFERENCE.conv2d_weight_grad(x, dy * float(self.scale), w.shape, self.window, 1),
        ]


def simple(n: int, size: int, c: int, o: int, kernel: int) -> Case:
    return Case(n, (size, size), c, o, make_window((size, size), kernel, 1, "same"))


# --- the mathematics --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [3, 5])
def test_matrices_give_correlations_exactly(kernel):
    rng = np.random.default_rng(0)
    tile = winograd.OUT + kernel - 1
    kinds = (winograd.INPUT, winograd.KERNEL, winograd.OUTPUT, winograd.OUTPUT_GRAD, winograd.KERNEL_GRAD)
    bt, g, at, a, gt = (np.array(winograd.matrix(kind, kernel)) for kind in kinds)
    sizes = (tile, kernel, winograd.OUT)
    d, w, dy = (np.array([Fraction(int(n)) for n in rng.integers(-9, 9, size)]) for size in sizes)
    assert list(at @ ((g @ w) * (bt @ d))) == list(np.correlate(d, w, "valid"))
    assert list(gt @ ((a @ dy) * (bt @ d))) == list(np.correlate(d, dy, "valid"))


# --- the kernels ------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_kernels_agree_with_the_reference(data):
    kernel = data.draw(st.sampled_from((3, 5)))
    n, c, o = (data.draw(st.sampled_from(sizes)) for sizes in ((1, 3, 17, 64), *[(1, 3, 16, 20, 50, 64, 65)] * 2))
    padding = tuple((data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in range(2))
    size = tuple(data.draw(st.integers(max(1, kernel - sum(p)), 9 if n > 3 else 21)) for p in padding)
    case = Case(n, size, c, o, make_window(size, kernel, 1, padding), data.draw(st.integers(0, 2**32)))
    for got, expected in zip(case.results(winograd), case.expected()):
        np.testing.assert_allclose(got, expected, rtol=0, atol=3e-4)


@pytest.mark.parametrize("padding", [3, ((5, 0), (0, 7))])
def test_more_padding_than_the_kernel_reaches(padding):
    case = Case(2, (6, 5), 4, 3, make_window((6, 5), 3, 1, padding))
    for got, expected in zip(case.results(winograd), case.expected()):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kernels", [conv, winograd], ids=["direct", "winograd"])
@pytest.mark.parametrize(("c", "kernel"), [(20, 3), (20, 5), (512, 3)])
def test_relu_in_the_store(kernels, c, kernel):
    case = simple(2, 9, c, 33, kernel)
    plain, clipped = np.empty_like(case.dy), np.empty_like(case.dy)
    launch.run(kernels.forward(case.x, case.w, case.b, plain, case.window, 1))
    launch.run(kernels.forward(case.x, case.w, case.b, clipped, case.window, 1, relu=True))
    np.testing.assert_array_equal(clipped, np.maximum(plain, 0))


@pytest.mark.parametrize(("kernel", "typical", "largest", "ratio"), [(3, 2e-6, 2e-5, 6), (5, 5e-6, 7e-5, 15)])
def test_rounding_errors_are_as_documented(kernel, typical, largest, ratio):
    for case in (simple(8, 16, 64, 64, kernel), simple(16, 14, 20, 50, kernel)):
        for got, direct, exact in zip(case.results(winograd), case.results(conv), case.expected()):
            error, direct_error = (np.sqrt(np.mean((y - exact) ** 2)) for y in (got, direct))
            assert error < typical
            assert error < ratio * direct_error
            assert np.abs(got - exact).max() < largest


def test_results_do_not_depend_on_the_number_of_threads():
    cases = [simple(17, 9, 20, 50, 5), simple(3, 13, 65, 64, 3), simple(1, 6, 130, 200, 3)]
    expected = [result for case in cases for result in case.results(winograd)]
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        single = [result for case in cases for result in case.results(winograd)]
    finally:
        numba.set_num_threads(before)
    for one, other in zip(single, expected):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_spreads_over_the_tiles_that_read_it_and_no_further(value):
    case = simple(2, 16, 16, 16, 3)
    clean = case.results(winograd)[0]
    case.x[1, 6, 9, 5] = value
    y = case.results(winograd)[0]
    assert not np.isfinite(y[1, 5:8, 8:11]).any()  # the windows that cover it
    y[1, 4:8, 8:12] = clean[1, 4:8, 8:12]  # the one tile whose patch holds it: rows 3 to 8, columns 7 to 12
    np.testing.assert_array_equal(y, clean)


@pytest.mark.skipif(not sys.platform.startswith("linux") or os.uname().machine != "x86_64", reason="x86 only")
@pytest.mark.parametrize("cpu", ["haswell", "nehalem"])
def test_older_processors(cpu):
    code = """
        import importlib.util, numpy as np
        spec = importlib.util.spec_from_file_location("cases", "tests/backends/test_winograd.py")
        cases = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(cases)
        for case in (cases.simple(3, 9, 20, 50, 5), cases.simple(2, 10, 65, 3, 3), cases.simple(1, 6, 33, 70, 3)):
            for got, expected in zip(case.results(cases.winograd), case.expected()):
                np.testing.assert_allclose(got, expected, rtol=0, atol=2e-4)
        print("done")
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "done", done.stderr


# --- the choice -------------------------------------------------------------------------------------------------


def chosen(n: int, size: int, c: int, o: int, kernel: int, dtype: Any = np.float32, **options: Any) -> str:
    window = make_window((size, size), kernel, options.get("strides", 1), "same", options.get("dilations", 1))
    return winograd.choose(n, window.output_size((size, size)), c, o, window, options.get("groups", 1), dtype)


@pytest.mark.parametrize(
    "shape", [(64, 32, 32, 32, 3), (64, 16, 32, 64, 3), (64, 16, 64, 64, 3), (64, 14, 20, 50, 5), (1, 56, 64, 64, 3)]
)
def test_winograd_is_chosen_where_it_pays(shape):
    assert chosen(*shape) == "winograd"
    assert chosen(*shape, dtype=np.float64) == "direct"
    assert chosen(*shape, strides=2) == "direct"
    assert chosen(*shape, dilations=2) == "direct"
    assert chosen(*shape, groups=2) == "direct"


@pytest.mark.parametrize("shape", [(64, 32, 3, 32, 3), (64, 28, 1, 20, 5), (1, 7, 512, 512, 3), (64, 14, 64, 64, 1)])
def test_direct_convolution_is_chosen_elsewhere(shape):
    assert chosen(*shape) == "direct"


def test_the_setting_switches_winograd_off():
    case, cpu = simple(8, 16, 32, 32, 3), backends.get("cpu")

    def results() -> list[np.ndarray]:
        return [
            cpu.conv2d(case.x, case.w, case.b, case.window, 1),
            cpu.conv2d_input_grad(case.dy, case.w, case.x.shape, case.window, 1),
            cpu.conv2d_weight_grad(case.x, case.dy * case.scale, case.w.shape, case.window, 1),
        ]

    assert config.convolution_algorithm() == "auto"
    for got, expected in zip(results(), case.results(winograd)):
        np.testing.assert_array_equal(got, expected)
    config.set_convolution_algorithm("direct")
    try:
        assert config.convolution_algorithm() == "direct"
        for got, expected in zip(results(), case.results(conv)):
            np.testing.assert_array_equal(got, expected)
    finally:
        config.set_convolution_algorithm("auto")
    with pytest.raises(ValueError, match="Received: 'fft'"):
        config.set_convolution_algorithm("fft")
