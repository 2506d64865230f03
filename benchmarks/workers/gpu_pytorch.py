"""The same networks in PyTorch on a GPU: eager, or the whole step captured as a CUDA graph."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from benchmarks.workers.pytorch import build, load_weights
from benchmarks.workers.serve import serve, timed
from benchmarks.workers.tasks import TASKS, batches

STEPS = 20  # between two readings of the loss, as in gpu_ours
DEVICE = "cuda"
_now: dict[str, Any] = {}


def version() -> str:
    """PyTorch, its CUDA and the GPU."""
    return f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}"


def prepare(
    network: str,
    batch: int,
    dropout: bool = True,
    weights: str | None = None,
    channels_last: bool = False,
    graph: bool = False,
    tf32: bool = True,
) -> int:
    """Build a network, its optimizer and batches on the GPU. Returns the number of weights that are trained."""
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    layout = torch.channels_last if channels_last else torch.contiguous_format
    task = TASKS[network]
    model = build(network, dropout).to(DEVICE, memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), task.learning_rate, momentum=task.momentum, nesterov=task.nesterov)
    data = [
        (
            torch.from_numpy(x).to(DEVICE).permute(0, 3, 1, 2).contiguous(memory_format=layout),
            torch.from_numpy(labels).to(DEVICE),
        )
        for x, labels in batches(network, batch, 4)
    ]
    x, labels = (part.clone() for part in data[0])
    totals = torch.zeros(2, device=DEVICE)
    _now.update(model=model, optimizer=optimizer, data=data, turn=0, x=x, labels=labels, totals=totals, replay=None)
    _now["start"] = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(3):
        _eager(x, labels)
    if graph:
        _capture()
    _start_again(weights)
    return sum(weight.numel() for weight in model.parameters())


def _eager(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """One step, which keeps running totals of loss and right answers on the GPU; returns its loss."""
    _now["optimizer"].zero_grad(set_to_none=True)
    logits = _now["model"](x)
    loss = nn.functional.cross_entropy(logits, labels)
    loss.backward()
    _now["optimizer"].step()
    with torch.no_grad():
        _now["totals"] += torch.stack([loss, (logits.argmax(1) == labels).float().mean()])
    return loss.detach()


def _capture() -> None:
    """As PyTorch's documentation has it: warm up on a stream of its own, then capture the step."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            _eager(_now["x"], _now["labels"])
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    _now["optimizer"].zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        _now["loss"] = _eager(_now["x"], _now["labels"])
    _now["replay"] = graph


@torch.no_grad()
def _start_again(weights: str | None) -> None:
    """Back to the weights before warming up, or to those of a file, in the memory that a graph knows."""
    for name, value in _now["model"].state_dict().items():
        value.copy_(_now["start"][name])
    if weights:
        load_weights(_now["model"], weights)
    for state in _now["optimizer"].state.values():
        for value in state.values():
            if isinstance(value, torch.Tensor):
                value.zero_()


def _step(i: int) -> torch.Tensor:
    x, labels = _now["data"][i % len(_now["data"])]
    if _now["replay"] is None:
        return _eager(x, labels)
    _now["x"].copy_(x)
    _now["labels"].copy_(labels)
    _now["replay"].replay()
    return _now["loss"]


def losses(count: int) -> list[float]:
    """Losses of the next training steps."""
    return [_step(i).item() for i in range(count)]


def steps(seconds: float, least: int) -> list[float]:
    """Seconds of each training step: forward, backward, update, running loss and accuracy."""
    count = STEPS if seconds else 2

    def some() -> None:
        for i in range(count):
            _step(i)
        _now["totals"].tolist()  # waits for the device

    return [elapsed / count for elapsed in timed(some, seconds, least)]


def epochs(samples: int, batch: int, count: int) -> list[float]:
    """Seconds of epochs over images in pinned host memory, shuffled, step by step; ``prepare`` comes before."""
    x, labels = torch.rand(samples, 1, 28, 28), torch.randint(0, 10, (samples,))
    times = []
    for _ in range(count):
        start = time.perf_counter()
        order = torch.randperm(samples)
        for i in range(samples // batch):
            chosen = order[i * batch : (i + 1) * batch]
            given = (x[chosen].pin_memory(), labels[chosen].pin_memory())
            moved = [part.to(DEVICE, non_blocking=True) for part in given]
            if _now["replay"] is None:
                _eager(*moved)
            else:
                _now["x"].copy_(moved[0])
                _now["labels"].copy_(moved[1])
                _now["replay"].replay()
        _now["totals"].tolist()
        times.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    serve(version, prepare, losses, steps, epochs)
