"""The machinery under the CPU backend: vector code, tiles, threads, the disk cache, other processors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

import numba
from numba.np.unsafe.ndarray import to_fixed_tuple

from tinyconv import backends
from tinyconv.backends.kernels import conv, emit, gemm, launch
from tinyconv.backends.kernels.compiler import function
from tinyconv.backends.kernels.tile import ADD, RELU, choose_tiling, tile
from tinyconv.geometry import make_pool_window, make_window

ROOT = Path(__file__).parents[2]


def python(code: str, folder: Path = ROOT, **environment: str) -> str:
    """Run ``code`` in another Python with ``folder`` as its home; its output."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- tiles ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def call_tile():
    def call_leaf(leaf, arguments):
        emit.call(leaf, to_fixed_tuple(arguments, 20))

    compiled = function(call_leaf, "void(int64, int64[::1])")
    return lambda leaf, *arguments: compiled(leaf, np.array(arguments))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "vectors", "lanewise"), [(1, 1, 0), (5, 2, 0), (14, 2, 0), (3, 3, 1), (2, 1, 1)])
def test_tile_contracts_three_levels_and_writes_nothing_else(call_tile, dtype, rows, vectors, lanewise):
    rng = np.random.default_rng(0)
    size, per_vector = np.dtype(dtype).itemsize, emit.vector_bytes() // np.dtype(dtype).itemsize
    p, q, r, width = 2, 3, 4, vectors * per_vector
    a = rng.standard_normal((p, q, r, rows, width if lanewise else 1)).astype(dtype)
    b = rng.standard_normal((p, q, r, width)).astype(dtype)
    bias = rng.standard_normal(width).astype(dtype)
    product = np.einsum("pqrij,pqrj->ij" if lanewise else "pqrix,pqrj->ij", a.astype(float), b.astype(float))
    levels = [number for axis in range(3) for number in (a.shape[axis], a.strides[axis], b.strides[axis])]
    for lanes in {width, width - 1, width - per_vector + 1}:
        for flags, start, skip in ((0, None, 0), (ADD, None, 0), (RELU, bias, 0), (ADD, bias, rows // 2)):
            c = rng.standard_normal((rows + 1, width + 3)).astype(dtype)
            expected = product + (0 if start is None else start) + (c[:rows, :width] if flags == ADD else 0)
            expected = np.maximum(expected, 0) if flags == RELU else expected
            whole = c.astype(float)
            whole[skip:rows, :lanes] = expected[skip:, :lanes]
            call_tile(
                tile(size, rows, vectors, lanewise),
                *map(launch.address, (a, b, c, start)), a.strides[3], c.strides[0], *levels, lanes, skip, flags,
                launch.address(b), 64,
            )  # fmt: skip
            np.testing.assert_allclose(c, whole, rtol=0, atol=50 * np.finfo(dtype).eps)


def test_tilings_fit_the_registers_and_cover_everything():
    for rows in (1, 5, 14, 28, 64, 1000):
        for lanes in (1, 16, 20, 50, 65, 512):
            for lanewise in (False, True):
                tiling = choose_tiling(rows, lanes, 4, lanewise)
                vectors = tiling.width * 4 // emit.vector_bytes()
                assert tiling.rows <= rows
                assert tiling.rows * vectors + vectors < emit.vector_registers()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 500, 130), (3, 650, 20), (49, 800, 65), (130, 33, 300), (1, 1, 1)])
def test_products_with_kept_panels_have_the_same_bits(dtype, shape):
    rows, depth, columns = shape
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((rows, depth)).astype(dtype), rng.standard_normal((depth, columns)).astype(dtype)
    bias, results = rng.standard_normal(columns).astype(dtype), []
    for fixed in (False, True):
        c = np.full((rows, columns), np.nan, dtype)
        calls = gemm.matmul(a, b, c, bias, fixed=fixed)
        launch.run(calls)
        results.append(c)
    assert [call.prepares for call in calls] == [True, False] or b.nbytes <= gemm.SMALL
    assert results[0].tobytes() == results[1].tobytes()
    scale = np.abs(a.astype(float)) @ np.abs(b.astype(float))
    assert (np.abs(results[0] - (a.astype(float) @ b + bias)) <= 4 * np.finfo(dtype).eps * (scale + 10)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 15, 64, 65, 4096, 4097, 10_000])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_parts_are_added_in_their_order(dtype, size, count):
    parts = np.random.default_rng(size).standard_normal((count, size)).astype(dtype)
    total = np.full(size + 1, np.nan, dtype)
    launch.run([conv.add_parts(parts, total[:size])])
    expected = parts[0].copy()
    for part in parts[1:]:
        expected += part
    assert total[:size].tobytes() == expected.tobytes()
    assert np.isnan(total[size])


def test_small_calls_are_shared_where_the_threads_are_awake_anyway():
    calls = [launch.Call(1, (), (), 1, work) for work in (1e3, 1e4, 1e5)]
    assert launch.prepare(calls).args[0][:, 3].tolist() == [0, 1, 1]
    assert launch.prepare(calls[:2]).args[0][:, 3].tolist() == [0, 0]


# --- transcendental functions -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["exp", "expm1", "log", "tanh", "sigmoid"])
def test_functions_are_precise_to_the_last_places(name, dtype):
    rng, limits = np.random.default_rng(0), np.finfo(dtype)
    edge = [0.0, np.inf, np.nan, limits.tiny, limits.smallest_subnormal, limits.max, 1.0, limits.eps, 1e-20]
    largest = np.log(limits.max)
    x = [[*edge, *np.negative(edge)], rng.standard_normal(40_000), rng.standard_normal(20_000) * 1e-3]
    x += [rng.uniform(-1.1 * largest, largest, 40_000), 1 + rng.standard_normal(20_000) * 1e-3]
    x += [np.exp(rng.uniform(-largest, largest, 40_000))]
    x = np.concatenate(x).astype(dtype)
    got = getattr(backends.get("cpu"), name)(x)
    wide = x.astype(np.longdouble)
    exact = 1 / (1 + np.exp(-wide)) if name == "sigmoid" else getattr(np, name)(wide)
    rounded = exact.astype(dtype)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    assert np.all(np.abs(got - exact)[finite] <= 2.6 * np.spacing(np.abs(rounded[finite])))
    number = ~np.isnan(rounded)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(rounded[number]))


# --- threads ----------------------------------------------------------------------------------------------------


def workload() -> list[np.ndarray]:
    """Results of primitives that use all threads."""
    rng, cpu = np.random.default_rng(0), backends.get("cpu")
    x, w = rng.standard_normal((16, 20, 20, 20), dtype="f4"), rng.standard_normal((3, 3, 20, 50), dtype="f4")
    window, pool = make_window((20, 20), 3, 1, "same"), make_pool_window((20, 20), 2)
    y = cpu.conv2d(x, w, None, window, 1)
    values, taps = cpu.max_pool2d(y, pool)
    return [
        y,
        cpu.conv2d_input_grad(y, w, x.shape, window, 1),
        cpu.conv2d_weight_grad(x, y, w.shape, window, 1),
        cpu.matmul(x.reshape(-1, 400), x.reshape(-1, 400)[:200].T),
        values,
        cpu.max_pool2d_scatter(values, taps, y.shape, pool),
        cpu.sum(y, (0, 1, 2)),
        cpu.sum(y),
        cpu.exp(y),
        cpu.add(y, w[0, 0, 0]),
        cpu.random_uniform(1, (100_001,), np.float32),
    ]


def test_results_do_not_depend_on_the_number_of_threads():
    expected = workload()
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        single = workload()
    finally:
        numba.set_num_threads(before)
    for one, other in zip(single, expected):
        np.testing.assert_array_equal(one, other)


def test_python_threads_may_call_at_once():
    expected = workload()
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(lambda _: workload(), range(8)):
            for one, other in zip(results, expected):
                np.testing.assert_array_equal(one, other)


CALL = """
    import numpy as np
    from tinyconv import backends
    from tinyconv.geometry import make_window, make_pool_window
    rng = np.random.default_rng(0)

    def work(name):
        b = backends.get(name)
        x, w = rng.standard_normal((4, 28, 28, 20), "f4"), rng.standard_normal((3, 3, 20, 33), "f4")
        y = b.conv2d(x, w, None, make_window((28, 28), 3), 1)
        return y, b.sum(y), b.exp(y), b.max_pool2d(y, make_pool_window((26, 26), 2))[1]

    def same(one, other):
        return all(np.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(one, other))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_threads_and_forks():
    """Several Python threads at once, then forked children, which work alone, then the parent again."""
    code = """
        import multiprocessing, threading, numba
        results = []

        def compute():
            global rng
            rng = np.random.default_rng(0)
            return work("cpu")

        expected = compute()
        threads = [threading.Thread(target=lambda: results.append(work("cpu"))) for _ in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(results) == 3

        def child(queue):
            queue.put(same(compute(), expected))

        fork = multiprocessing.get_context("fork")
        queue = fork.SimpleQueue()
        process = fork.Process(target=child, args=(queue,))
        process.start()
        process.join(120)
        assert process.exitcode == 0, process.exitcode
        assert queue.get()
        assert same(compute(), expected)
        names = [thread.name for thread in threading.enumerate()]
        print(names.count("tinyconv worker"), "numba.np.ufunc.omppool" in sys.modules)
    """
    output = python(textwrap.dedent(CALL) + "import sys" + textwrap.dedent(code), NUMBA_NUM_THREADS="3")
    assert output.split() == ["2", "False"]


def test_without_more_threads_from_the_system_one_does_all():
    code = """
    import threading
    import numpy as np
    from tinyconv import backends

    class None_(threading.Thread):
        def start(self):
            raise RuntimeError("can't start new thread")

    threading.Thread = None_
    a, b = np.random.default_rng(0).normal(size=(2, 300, 300))
    print(np.allclose(backends.host().matmul(a, b), a @ b))
    """
    assert python(code, NUMBA_NUM_THREADS="2").strip() == "True"


def test_a_fork_before_the_first_program_may_have_workers_of_its_own():
    code = """
        import multiprocessing, threading

        def child(queue):
            work("cpu")
            queue.put([thread.name for thread in threading.enumerate()].count("tinyconv worker"))

        fork = multiprocessing.get_context("fork")
        queue = fork.SimpleQueue()
        process = fork.Process(target=child, args=(queue,))
        process.start()
        process.join(120)
        print(process.exitcode, queue.get())
    """
    assert python(textwrap.dedent(CALL) + textwrap.dedent(code), NUMBA_NUM_THREADS="2").split() == ["0", "1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_another_thread_predicts():
    """The child does not wait for a thread that it does not have."""
    code = """
        import os, signal, threading
        import numpy as np
        import tinyconv as tc

        model = tc.Sequential([tc.layers.Dense(4, input_shape=(3,))])
        x = np.ones((2, 3), "f4")
        expected = [model.predict_on_batch(x) for _ in range(3)][-1]
        (known,) = model._replays["_infer"]._known.values()
        inside, forked = threading.Event(), threading.Event()
        known.run._parts.append(lambda: (inside.set(), forked.wait(60)))
        thread = threading.Thread(target=model.predict_on_batch, args=(x,))
        thread.start()
        inside.wait(60)
        child = os.fork()
        forked.set()
        if not child:
            signal.alarm(60)
            same = (model.predict_on_batch(x) == expected).all()
            os._exit(0 if same else 1)
        thread.join()
        print(os.waitpid(child, 0)[1])
    """
    assert python(code).strip() == "0"


def test_workers_that_fell_asleep_and_a_changing_number_of_threads():
    from tinyconv.backends.kernels import threads

    expected, before = workload(), numba.get_num_threads()
    try:
        for count in (1, before, 1, before):
            numba.set_num_threads(count)
            assert threads.count() == count
            time.sleep(0.05)
            for one, other in zip(workload(), expected):
                np.testing.assert_array_equal(one, other)
    finally:
        numba.set_num_threads(before)


# --- other processors -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux") or os.uname().machine != "x86_64", reason="x86 only")
@pytest.mark.parametrize(("cpu", "features", "width"), [("haswell", "", 32), ("nehalem", "", 16)])
def test_older_processors(cpu, features, width):
    code = """
        import numpy as np
        from tinyconv import backends
        from tinyconv.backends import cpu
        from tinyconv.backends.kernels import emit
        from tinyconv.geometry import make_pool_window, make_window

        cpu.LARGE = 0

        def results(b, dtype):
            rng = np.random.default_rng(0)
            x, w = rng.standard_normal((4, 9, 9, 20)).astype(dtype), rng.standard_normal((3, 3, 20, 33)).astype(dtype)
            dy = rng.standard_normal((4, 7, 7, 33)).astype(dtype)
            window, pool = make_window((9, 9), 3), make_pool_window((9, 9), 2)
            values, taps = b.max_pool2d(x, pool)
            return [
                b.conv2d(x, w, None, window, 1),
                b.conv2d_input_grad(dy, w, x.shape, window, 1),
                b.conv2d_weight_grad(x, dy, w.shape, window, 1),
                b.matmul(x.reshape(-1, 180), dy.reshape(-1, 33)[:180]),
                values,
                taps,
                b.max_pool2d_scatter(values, taps, x.shape, pool),
                b.sum(x, (0, 1, 2)),
                *(function(x) for function in (b.exp, b.tanh, b.sigmoid)),
                b.log(abs(x)),
                b.where(b.greater(b.add(x, w[0, 0, :, 0]), 0), x, 0.0),
            ]

        for dtype in (np.float32, np.float64):
            for got, expected in zip(*(results(backends.get(name), dtype) for name in ("cpu", "reference"))):
                assert got.dtype == expected.dtype
                np.testing.assert_allclose(got, expected, rtol=0, atol=500 * np.finfo(dtype).eps)
        print(emit.vector_bytes())
    """
    environment = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features, "TINYCONV_CONVOLUTION": "direct"}
    assert python(code, **environment).strip() == str(width)


# --- the disk cache ---------------------------------------------------------------------------------------------

COUNT = """
    from numba.core.ccallback import CFunc
    compiled, original = [], CFunc._compile_uncached
    CFunc._compile_uncached = lambda self: (compiled.append(self), original(self))[1]
    work("cpu")
    print(len(compiled))
"""


@pytest.fixture
def installed(tmp_path):
    """A copy of the package without compiled code, in a folder of its own."""
    shutil.copytree(ROOT / "tinyconv", tmp_path / "tinyconv", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def count_compiled(folder: Path, **environment: str) -> int:
    code = textwrap.dedent(CALL) + textwrap.dedent(COUNT)
    return int(python(code, folder, PYTHONDONTWRITEBYTECODE="1", **environment))


def test_second_process_compiles_nothing_until_a_generator_changes(installed):
    assert count_compiled(installed) > 0
    assert count_compiled(installed) == 0
    source = installed / "tinyconv/backends/kernels/emit.py"
    source.write_text(source.read_text() + "\n# changed\n")
    assert count_compiled(installed) > 0


def test_a_cut_off_file_in_the_cache_is_replaced(installed):
    count_compiled(installed)
    for ending in ("nbi", "nbc"):
        for file in (installed / "tinyconv/backends/kernels/__pycache__").glob(f"*.{ending}"):
            file.write_bytes(file.read_bytes()[:20])
        assert count_compiled(installed) > 0
        assert count_compiled(installed) == 0


def test_processes_may_fill_the_cache_at_once(installed):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: count_compiled(installed), range(3)))
    assert count_compiled(installed) == 0


def test_installation_that_cannot_be_written(installed):
    (installed / "tinyconv/backends/kernels/__pycache__").touch()  # no folder can be made of that name
    user = installed / "user"
    assert count_compiled(installed, XDG_CACHE_HOME=str(user), HOME=str(user)) > 0
    assert count_compiled(installed, XDG_CACHE_HOME=str(user), HOME=str(user)) == 0
    nowhere = str(installed / "tinyconv/backends/kernels/__pycache__" / "file")
    assert count_compiled(installed, XDG_CACHE_HOME=nowhere, HOME=nowhere) > 0
    assert count_compiled(installed, XDG_CACHE_HOME=nowhere, HOME=nowhere) > 0


def test_broken_cache_files_are_ignored(installed):
    count_compiled(installed)
    for file in (installed / "tinyconv/backends/kernels/__pycache__").glob("*.nb?"):
        file.write_bytes(file.read_bytes()[:100])
    count_compiled(installed)


def test_importing_the_backend_does_not_import_numba():
    python("import sys, tinyconv.backends.cpu; assert 'numba' not in sys.modules")
