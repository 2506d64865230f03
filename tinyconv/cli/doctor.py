"""The command ``doctor``: what tinyconv finds on this machine, whether it computes right, and what slows it down."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv
from tinyconv.cli import kernels
from tinyconv.cli.common import FAILED, add_command, add_json, as_size, print_facts, print_json

NEEDED = {  # module -> distributions that bring it
    "numpy": ("numpy",), "numba": ("numba",), "scipy": ("scipy",), "matplotlib": ("matplotlib",),
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "safetensors": ("safetensors",), "tqdm": ("tqdm",),
}  # fmt: skip
OPTIONAL = {
    "sklearn": ("scikit-learn",), "h5py": ("h5py",), "tensorboard": ("tensorboard",),
    "cupy": ("cupy-cuda12x", "cupy-cuda13x", "cupy"), "threadpoolctl": ("threadpoolctl",),
}  # fmt: skip
SLOWING = ("NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK", "NUMBA_OPT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")
MUCH = 500_000_000  # bytes of old kernels that are worth a word
LITTLE = 100_000_000  # bytes of free space that are


@dataclass
class Report:
    """What was found: facts by section, what is wrong, and what works but could be better."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def add_doctor(commands: Any) -> None:
    """``tinyconv doctor``."""
    parser = add_command(
        commands, "doctor", doctor,
        "Examine this installation: versions, processor, threads, kernel cache, and whether results are right.\n\n"
        "The exit code is 1 if something is wrong; warnings, which tell what could be faster, do not change it.",
        "tinyconv doctor\ntinyconv doctor --json > report.json",
    )  # fmt: skip
    add_json(parser)


def doctor(args: argparse.Namespace) -> int:
    """Examine everything, print the report."""
    report = Report()
    sections: dict[str, Callable[[Report], dict[str, Any]]] = {
        "versions": versions,
        "optional packages": optional_packages,
        "self-check": self_check,  # before the sections that ask about threads and kernels
        "processor": processor,
        "threads": threads,
        "BLAS": blas,
        "kernel cache": kernel_cache,
        "GPU": gpu,
        "settings": settings,
    }
    for name, examine in sections.items():
        try:
            report.facts[name] = examine(report)
        except Exception as error:  # a broken package must not keep the rest from being told
            report.facts[name] = {"failed": f"{type(error).__name__}: {error}"}
            report.problems.append(f"{name} could not be examined: {type(error).__name__}: {error}")
    if args.json:
        print_json(vars(report))
    else:
        _print(report)
    return FAILED if report.problems else 0


def _print(report: Report) -> None:
    for section, facts in report.facts.items():
        print(section)
        print_facts({f"  {name}": value for name, value in facts.items()} or {"  none": ""})
        print()
    for kind, lines in (("wrong", report.problems), ("warning", report.warnings)):
        for line in lines:
            print(f"{kind}: {line}")
    count = len(report.problems)
    print("everything works" if not count else "1 problem" if count == 1 else f"{count} problems")


# --- sections --------------------------------------------------------------------------------------------------


def versions(report: Report) -> dict[str, Any]:
    """Versions of tinyconv, Python and the packages that it needs."""
    python = f"{platform.python_version()} ({sys.executable})"
    found: dict[str, str | None] = {"tinyconv": tinyconv.__version__, "Python": python}
    found.update((name, _version(name, *names)) for name, names in NEEDED.items())
    for name, version in found.items():
        if version is None and name == "numba":
            report.warnings.append("Numba is missing: plain NumPy computes, far slower than kernels: pip install numba")
        elif version is None:
            report.problems.append(f"{name} is missing: pip install {NEEDED[name][0]}")
    if int(np.__version__.split(".")[0]) < 2:
        report.problems.append(f"NumPy >= 2.0 is needed. Received: {np.__version__}: pip install -U numpy")
    return {name: version or "missing" for name, version in found.items()}


def optional_packages(report: Report) -> dict[str, Any]:
    """Versions of packages that some features need, and the program that draws graphs."""
    from tinyconv.viz.graphviz import run_dot

    found = {name: _version(name, *names) or "not installed" for name, names in OPTIONAL.items()}
    program = shutil.which("dot")
    if program is not None:
        try:
            run_dot(program, "digraph { a -> b }", "png", 72)
        except RuntimeError as error:
            report.warnings.append(f"{error}: plot_model draws with matplotlib instead. Mend or remove {program}")
    return {**found, "dot (Graphviz)": program or "not installed"}


def _version(module: str, *distributions: str) -> str | None:
    """The version of the first distribution that is there; None where the module is not."""
    if importlib.util.find_spec(module) is None:
        return None
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "unknown version"


def self_check(report: Report) -> dict[str, Any]:
    """Results of convolutions and gradients against the reference and finite differences."""
    checks = {"convolutions": check_convolutions, "gradients": check_gradients, "training step": check_training}
    found = {}
    for name, check in checks.items():
        try:
            found[name] = check()
        except Exception as error:
            found[name] = "FAILED"
            report.problems.append(f"Self-check of {name}: {type(error).__name__}: {error}")
    return found


def processor(report: Report) -> dict[str, Any]:
    """Name, cores, and the vectors that kernels use."""
    found: dict[str, Any] = {"name": _processor_name(), "system": f"{platform.system()} {platform.machine()}"}
    found["cores"] = os.cpu_count()
    if _has_numba():
        from llvmlite import binding

        from tinyconv.backends.kernels import emit

        width = emit.vector_bytes()
        found["compiled for"] = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
        found["vectors"] = f"{emit.vector_registers()} registers of {width} bytes, {width // 4} float32 each"
    return found


def _processor_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def threads(report: Report) -> dict[str, Any]:
    """How many threads compute, and who runs them."""
    from tinyconv import backends

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found: dict[str, Any] = {"cores for this process": usable}
    quota = _quota()
    if quota is not None:
        found["processor time (cgroup)"] = f"{quota:g} cores"
    if backends.host().name != "cpu":
        return found
    from tinyconv.backends.kernels import threads as workers

    count = workers.count()
    found["threads"] = count
    if count < usable:
        report.warnings.append(f"{count} of {usable} cores compute: NUMBA_NUM_THREADS={usable} would use all of them")
    if count > min(usable, quota or usable):
        report.warnings.append(
            f"{count} threads share {min(usable, quota or usable):g} cores and wait for each other: "
            f"set NUMBA_NUM_THREADS={max(1, int(min(usable, quota or usable)))}"
        )
    return found


def _quota() -> float | None:
    """Cores' worth of time that the process's container may use, where it is limited (cgroup v2)."""
    with contextlib.suppress(OSError, ValueError):
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return int(limit) / int(period)
    return None


def blas(report: Report) -> dict[str, Any]:
    """The library behind NumPy's matrix products, and its threads."""
    build: Any = np.show_config(mode="dicts")
    library = build.get("Build Dependencies", {}).get("blas", {})
    found: dict[str, Any] = {"NumPy's": f"{library.get('name', 'unknown')} {library.get('version', '')}".strip()}
    if importlib.util.find_spec("threadpoolctl") is not None:
        info = importlib.import_module("threadpoolctl").threadpool_info()
        for pool in info:
            name = f"{pool['internal_api']} ({pool.get('prefix') or pool['user_api']})"
            found[name] = f"{pool['num_threads']} threads, version {pool.get('version') or 'unknown'}"
    return found


def kernel_cache(report: Report) -> dict[str, Any]:
    """Where compiled kernels are kept, whether that works, and how full it is."""
    from tinyconv import backends

    if backends.host().name != "cpu":
        return {"state": f"not used by the {backends.host().name} backend"}
    found = kernels.cache()
    wanted = os.environ.get("NUMBA_CACHE_DIR")
    if wanted and found.folder and Path(wanted).resolve() not in found.folder.resolve().parents:
        report.warnings.append(f"NUMBA_CACHE_DIR={wanted} cannot be used: kernels are kept in {found.folder} instead")
    if found.folder is None:
        report.problems.append(
            "Compiled kernels cannot be kept, so every process compiles its own, which takes seconds: "
            "set NUMBA_CACHE_DIR to a folder that can be written"
        )
        return {"folder": "none"}
    free = shutil.disk_usage(found.folder).free
    facts = {
        "folder": found.folder,
        "writable": "yes" if found.writable else "no",
        "kernels": f"{found.kernels}, {as_size(found.size)}",
        "of other versions": f"{found.stale} files, {as_size(found.stale_size)}",
        "free": as_size(free),
    }
    if not found.writable:
        report.warnings.append(
            f"{found.folder} cannot be written: kernels that are not in it are compiled again by every process. "
            "Run `tinyconv warmup` as its owner, or set NUMBA_CACHE_DIR to another folder"
        )
    if not found.kernels:
        report.warnings.append("No kernel is compiled yet: first steps take seconds, or run `tinyconv warmup` first")
    if found.stale_size > MUCH:
        report.warnings.append(f"{found.folder} holds {as_size(found.stale_size)} of other versions: remove them")
    if free < LITTLE:
        report.warnings.append(f"The disk of {found.folder} is nearly full: {as_size(free)} are free")
    return facts


def gpu(report: Report) -> dict[str, Any]:
    """NVIDIA's driver and CuPy, where they are."""
    driver = "none"
    with contextlib.suppress(OSError):
        driver = Path("/proc/driver/nvidia/version").read_text().splitlines()[0].strip()
    if driver == "none" and shutil.which("nvidia-smi"):
        driver = f"found {shutil.which('nvidia-smi')}"
    found: dict[str, Any] = {"NVIDIA driver": driver}
    if importlib.util.find_spec("cupy") is None:
        found["CuPy"] = "not installed"
        return found
    try:
        import cupy

        runtime = cupy.cuda.runtime
        for number in range(runtime.getDeviceCount()):
            facts = runtime.getDeviceProperties(number)
            found[f"device {number}"] = f"{facts['name'].decode()}, {facts['totalGlobalMem'] / 2**30:.0f} GiB"
    except Exception as error:
        found["CuPy"] = f"installed, but it finds no GPU ({type(error).__name__})"
        report.warnings.append(f"CuPy is installed, but it cannot use a GPU: {type(error).__name__}: {error}")
    return found


def settings(report: Report) -> dict[str, Any]:
    """What environment variables change, and the folder of data sets."""
    from tinyconv import backends, config
    from tinyconv.datasets import home

    prefixes = ("TINYCONV_", "NUMBA_", "OMP_", "OPENBLAS_", "MKL_", "CUDA_VISIBLE")
    found: dict[str, Any] = {
        "backend": backends.host().name,
        "convolution algorithm": config.convolution_algorithm(),
        "float type": config.floatx(),
        "folder of data sets": home() / "datasets",
    }
    found.update((name, value) for name, value in sorted(os.environ.items()) if name.startswith(prefixes))
    if backends.host().name == "reference" and _has_numba():
        report.warnings.append("TINYCONV_BACKEND=reference: plain NumPy computes, far slower than the kernels")
    for name in SLOWING:
        if os.environ.get(name, "0") not in ("", "0"):
            report.warnings.append(f"{name}={os.environ[name]} makes kernels slower than they could be; unset it")
    return found


def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


# --- self-checks -----------------------------------------------------------------------------------------------


def check_convolutions() -> str:
    """Convolve with the backend in use in float32, and with the reference in float64; raises where they differ."""
    from tinyconv import backends
    from tinyconv.geometry import make_window

    host, reference = backends.host(), backends.get("reference")
    rng, worst = np.random.default_rng(0), 0.0
    for size, strides, depth, maps in ((3, 1, 16, 32), (5, 1, 3, 20), (3, 2, 5, 7), (1, 1, 8, 8)):
        x = rng.standard_normal((2, 19, 17, depth))  # (N, H, W, C)
        w = rng.standard_normal((size, size, depth, maps))  # (KH, KW, C, O)
        b = rng.standard_normal(maps)
        window = make_window(x.shape[1:3], size, strides, "same")
        expected = reference.conv2d(x, w, b, window, 1)
        single = [a.astype(np.float32) for a in (x, w, b)]
        received = host.conv2d(single[0], single[1], single[2], window, 1)
        error = float(np.abs(received - expected).max() / np.abs(expected).max())
        if not error < 1e-5:
            raise ArithmeticError(f"a {size}x{size} convolution of the {host.name} backend is wrong by {error:.2g}")
        worst = max(worst, error)
    return f"right, to {worst:.1g} of the largest value"


def check_gradients() -> str:
    """Compare the gradients of a small network with finite differences; raises where they differ."""
    from tinyconv import ops
    from tinyconv.testing import check_gradients

    rng = np.random.default_rng(0)
    x, w, v = (rng.standard_normal(shape) for shape in ((2, 6, 6, 2), (3, 3, 2, 3), (27, 4)))

    def network(x: Any, w: Any, v: Any) -> Any:
        maps = ops.max_pool2d(ops.relu(ops.conv2d(x, w, padding="same")))  # (2, 3, 3, 3)
        return ops.log_softmax(ops.reshape(maps, (2, -1)) @ v)

    report = check_gradients(network, [x, w, v])
    return f"right along {report.checked} directions"


def check_training() -> str:
    """Train on a constant task: steps that run eagerly and steps that are replayed must make the loss smaller."""
    import tinyconv as tc

    rng = np.random.default_rng(0)
    x, y = rng.random((32, 8, 8, 1), np.float32), np.arange(32) % 4
    with tc.random.use(rng):
        model = tc.Sequential(
            [tc.layers.Conv2D(8, 3, activation="relu", input_shape=(8, 8, 1), data_format="channels_last"),
             tc.layers.Flatten(), tc.layers.Dense(4, activation="softmax")]
        )  # fmt: skip
        model.compile(tc.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
        losses = [model.train_on_batch(x, y) for _ in range(20)]
    if not losses[-1] < 0.9 * losses[0]:
        raise ArithmeticError(f"20 training steps moved the loss from {losses[0]:.4f} to {losses[-1]:.4f}")
    return f"right, the loss went from {losses[0]:.2f} to {losses[-1]:.2f}"
