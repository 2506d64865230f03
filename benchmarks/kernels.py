"""Convolutions and dense layers against the processor's own limit.

GF/s count the multiplications and additions of a direct convolution, whatever the algorithm: Winograd's may exceed the
peak, which is that of multiply-adds in registers, measured in the same process between the rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.harness import Settings, Worker, alternate
from benchmarks.report import Bar, Row, on


class Shape(NamedTuple):
    """A convolution: square images and kernels."""

    name: str
    batch: int
    size: int
    channels: int
    filters: int
    kernel: int
    strides: int = 1
    padding: Any = "same"

    @property
    def suits_winograd(self) -> bool:
        """Whether a fast algorithm for 3x3 is expected to serve it."""
        return self.kernel == 3 and self.strides == 1 and min(self.channels, self.filters) >= 16


SHAPES = (
    Shape("LeNet 1", 64, 28, 1, 20, 5),
    Shape("LeNet 2", 64, 14, 20, 50, 5),
    Shape("MiniVGGNet 1", 64, 32, 3, 32, 3),
    Shape("MiniVGGNet 2", 64, 32, 32, 32, 3),
    Shape("MiniVGGNet 3", 64, 16, 32, 64, 3),
    Shape("MiniVGGNet 4", 64, 16, 64, 64, 3),
    Shape("VGG16 1", 4, 224, 3, 64, 3),
    Shape("VGG16 2", 4, 224, 64, 64, 3),
    Shape("VGG16 4", 4, 112, 128, 128, 3),
    Shape("VGG16 7", 4, 56, 256, 256, 3),
    Shape("VGG16 10", 4, 28, 512, 512, 3),
    Shape("VGG16 13", 4, 14, 512, 512, 3),
    Shape("ResNet-50 stem", 8, 224, 3, 64, 7, 2, 3),
    Shape("ResNet-50 1x1", 8, 56, 64, 256, 1),
    Shape("ResNet-50 3x3", 8, 28, 128, 128, 3),
    Shape("ResNet-50 3x3/2", 8, 28, 256, 256, 3, 2, 1),
    Shape("ResNet-50 1x1/2", 8, 28, 512, 1024, 1, 2, 0),
    Shape("ResNet-50 1x1 last", 8, 7, 512, 2048, 1),
)
DENSE = {  # batch, inputs, outputs
    "LeNet FC 1": (64, 2450, 500),
    "LeNet FC 2": (64, 500, 10),
    "MiniVGGNet FC": (64, 4096, 512),
    "VGG16 FC": (8, 4096, 4096),
}
PASSES = {"forward": "forward", "input": "backward-data", "weight": "backward-weights"}
WINOGRAD, PLAIN, WEIGHTS = 1.7, 0.8, 0.7  # fractions of the peak that the bars ask for
EQUAL = 1e-4  # largest distance from NumPy's result in float64, as a part of its largest number
CACHES = 16 * 1024 * 1024  # bytes of arrays that do not pass from one run to the next in a cache
SHARE = 0.2  # of a round of other subjects, since a kernel takes milliseconds at most


def rows(settings: Settings) -> Iterator[Row]:
    """All kernels, then the limits that they were held against; on all threads, then on one."""
    for threads in settings.pick(dict.fromkeys((settings.threads, 1)), [settings.threads], [settings.threads]):
        yield from _rows(threads, settings)


def _rows(threads: int, settings: Settings) -> Iterator[Row]:
    peaks: list[float] = []
    with Worker("primitives", threads) as worker:
        bandwidth = worker.call("limits")["bandwidth"]
        for shape in SHAPES[:: settings.pick(1, 4, 9)]:
            for kind, name in PASSES.items():
                if kind == "input" and shape.channels < 16:
                    continue  # the first layer's input needs no gradient
                cost = worker.call("prepare", kind=kind, **_arguments(shape, settings))
                bar = WEIGHTS if kind == "weight" else WINOGRAD if kind == "forward" and shape.suits_winograd else PLAIN
                yield _row(worker, f"{_describe(shape)} {name}, {on(threads)}", cost, bandwidth, bar, peaks, settings)
        for name, (batch, inputs, outputs) in list(DENSE.items())[:: settings.pick(1, 2, 3)]:
            for kind, direction in PASSES.items():
                cost = worker.call("prepare_dense", kind=kind, batch=batch, inputs=inputs, outputs=outputs)
                what = f"{name}: dense, batch {batch}, {inputs} -> {outputs}, {direction}, {on(threads)}"
                yield _row(worker, what, cost, bandwidth, PLAIN, peaks, settings)
    yield Row("kernels", f"peak of multiply-adds in registers, {on(threads)}", f"{statistics.median(peaks):.0f} GF/s")
    yield Row("kernels", f"copying memory, {on(threads)}", f"{bandwidth:.1f} GB/s")


def _arguments(shape: Shape, settings: Settings) -> dict[str, Any]:
    arguments = shape._asdict()
    del arguments["name"]
    return {**arguments, "batch": 1} if settings.tiny else arguments


def _describe(shape: Shape) -> str:
    n, size, k = shape.batch, shape.size, shape.kernel
    how = f"{k}x{k} convolution" + f", strides {shape.strides}" * (shape.strides > 1)
    return f"{shape.name}: {how}, {n} x {size}x{size}, {shape.channels} -> {shape.filters},"


def _row(
    worker: Worker,
    what: str,
    cost: tuple[float, int],
    bandwidth: float,
    bar: float,
    peaks: list[float],
    settings: Settings,
) -> Row:
    """One kernel beside the peak; ``cost`` is its flops and the bytes of its arrays."""
    flops, nbytes = cost
    far = worker.call("difference")
    verdict = "compared" if far <= EQUAL else "differs"
    proof = f"NumPy in float64, within {far:.0e} of the largest result"
    worker.round("times", settings, SHARE)  # warm up
    jobs = {
        "seconds": lambda: worker.round("times", settings, SHARE),
        "peak GF/s": lambda: worker.call("limits", bandwidth=False)["flops"],
    }
    rounds = alternate(jobs, settings)
    peaks += rounds["peak GF/s"]
    speeds = [flops / seconds / 1e9 for seconds in rounds["seconds"]]
    ratios = [speed / peak for speed, peak in zip(speeds, rounds["peak GF/s"])]
    ours, theirs = f"{statistics.median(speeds):.0f} GF/s", f"{statistics.median(rounds['peak GF/s']):.0f} GF/s (peak)"
    most = flops / (nbytes / bandwidth) / statistics.median(rounds["peak GF/s"])  # if arrays come from and go to memory
    if most < bar and nbytes > CACHES:
        proof += f"; copying as many bytes would take as long as at {most:.2f}"
    return Row("kernels", what, ours, theirs, bar=Bar(bar), ratios=ratios, rounds=rounds, **{verdict: proof})
