"""Where the time of a training step goes: every kernel by itself, beside what the machine can do at most."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Settings, Worker
from benchmarks.report import Row, on

LEAST = 0.02  # fraction of the step from which a kernel has a row of its own


def rows(settings: Settings) -> Iterator[Row]:
    """The kernels of both networks from the slowest on, after the limits of one thread."""
    for network in ("LeNet", "MiniVGGNet"):
        with Worker("kernel_times", threads=1) as worker:
            limits = worker.call("limits")
            batch = settings.pick(64, 64, 2)
            kernels = worker.call("kernels", network=network, batch=batch, rounds=settings.pick(15, 7, 1))
        total = sum(kernel["seconds"] for kernel in kernels)
        what = f"{network} step, batch {batch}, kernels one by one, {on(1)}"
        peak, bandwidth = f"{limits['flops']:.0f} GF/s", f"{limits['bandwidth']:.0f} GB/s"
        yield Row("profile", what, f"{1000 * total:.2f} ms", f"peak {peak}, copying {bandwidth}")
        shown = [kernel for kernel in kernels if kernel["seconds"] >= LEAST * total]
        for kernel in sorted(shown, key=lambda kernel: -kernel["seconds"]):
            yield Row("profile", f"{network}: {kernel['name']}", _time(kernel, total), _speed(kernel, limits))
        rest = total - sum(kernel["seconds"] for kernel in shown)
        yield Row("profile", f"{network}: {len(kernels) - len(shown)} smaller kernels", f"{rest / total:.1%}")


def _time(kernel: dict, total: float) -> str:
    return f"{1e6 * kernel['seconds']:.0f} us, {kernel['seconds'] / total:.1%}"


def _speed(kernel: dict, limits: dict[str, float]) -> str:
    """Speed by the kernel's own count of multiplications and additions, or by the memory that it touches once."""
    bytes_ = kernel["bytes"] / kernel["seconds"] / 1e9
    if not kernel["flops"]:
        return f"{bytes_:.0f} GB/s"
    flops = kernel["flops"] / kernel["seconds"] / 1e9
    return f"{flops:.0f} GF/s = {flops / limits['flops']:.0%} of the peak; {bytes_:.0f} GB/s"
