"""The same networks in PyTorch. Needs NumPy and PyTorch alone, so that an environment of its own can run it."""

from __future__ import annotations

import gc
import itertools
import os
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.workers.serve import peak_rss, serve, timed
from benchmarks.workers.tasks import TASKS, batches

_now: dict[str, Any] = {}
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))


def version() -> str:
    """PyTorch and its threads."""
    return f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"


def build(network: str, dropout: bool = True) -> nn.Sequential:
    """The network of ``tinyconv.applications``, up to the logits."""
    (height, width, depth), classes = TASKS[network].shape, TASKS[network].classes
    if network == "LeNet":
        return nn.Sequential(
            nn.Conv2d(depth, 20, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(height // 4 * (width // 4) * 50, 500), nn.ReLU(), nn.Linear(500, classes),
        )  # fmt: skip
    layers: list[nn.Module] = []
    for before, filters in ((depth, 32), (32, 64)):
        for channels in (before, filters):
            layers += [nn.Conv2d(channels, filters, 3, padding="same"), nn.ReLU()]
            layers += [nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01)]
        layers += [nn.MaxPool2d(2), nn.Dropout(0.25 * dropout)]
    layers += [nn.Flatten(), nn.Linear(height // 4 * (width // 4) * 64, 512), nn.ReLU()]
    layers += [nn.BatchNorm1d(512, eps=1e-3, momentum=0.01), nn.Dropout(0.5 * dropout), nn.Linear(512, classes)]
    return nn.Sequential(*layers)


@torch.no_grad()
def load_weights(model: nn.Sequential, path: str) -> None:
    """Take weights in Keras's order and layouts: (KH, KW, C, O); (inputs, outputs), images flattened as (H, W, C)."""
    with np.load(path) as file:
        arrays = iter([file[name] for name in file.files])
    channels = 0  # of the last convolution, as long as the first dense layer is still to come
    for layer in model:
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_(torch.from_numpy(next(arrays).transpose(3, 2, 0, 1)))
            layer.bias.copy_(torch.from_numpy(next(arrays)))
            channels = layer.out_channels
        elif isinstance(layer, nn.Linear):
            w = next(arrays)
            if channels:
                w = w.reshape(-1, channels, w.shape[1]).swapaxes(0, 1).reshape(w.shape)
            layer.weight.copy_(torch.from_numpy(w.T))
            layer.bias.copy_(torch.from_numpy(next(arrays)))
            channels = 0
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for target in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                target.copy_(torch.from_numpy(next(arrays)))


def prepare(
    network: str,
    batch: int,
    channels_last: bool = False,
    compiled: bool = False,
    dropout: bool = True,
    weights: str | None = None,
    dtype: str = "float32",
) -> None:
    """Build a network, its optimizer and the batches, in one of PyTorch's configurations."""
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = build(network, dropout).to(getattr(torch, dtype))
    if weights:
        load_weights(model, weights)
    model = model.to(memory_format=layout)
    task = TASKS[network]
    optimizer = torch.optim.SGD(model.parameters(), task.learning_rate, momentum=task.momentum, nesterov=task.nesterov)
    data = [
        (
            torch.from_numpy(x.astype(dtype)).permute(0, 3, 1, 2).contiguous(memory_format=layout),
            torch.from_numpy(labels),
        )
        for x, labels in batches(network, batch, 20)
    ]
    forward = torch.compile(model, dynamic=False) if compiled else model
    _now.update(model=forward, optimizer=optimizer, data=data, turn=itertools.cycle(data))


def _step() -> float:
    x, labels = next(_now["turn"])
    _now["optimizer"].zero_grad(set_to_none=True)
    loss = nn.functional.cross_entropy(_now["model"](x), labels)
    loss.backward()
    _now["optimizer"].step()
    return loss.item()


def losses(count: int) -> list[float]:
    """Losses of the next training steps."""
    return [_step() for _ in range(count)]


def steps(seconds: float, least: int) -> list[float]:
    """Seconds of each training step: forward, backward, update, loss read out."""
    return timed(_step, seconds, least)


def predictions(seconds: float, least: int) -> list[float]:
    """Seconds of each prediction of a batch."""
    x, model = _now["data"][0][0], _now["model"].eval()
    with torch.inference_mode():
        return timed(lambda: model(x).softmax(1).numpy(), seconds, least)


def peak_memory(network: str, batch: int, channels_last: bool = False) -> int:
    """Bytes that training with ``batch`` adds to those of a process that has trained with a batch of 2."""
    prepare(network, 2, channels_last)
    losses(2)
    _now.clear()
    gc.collect()
    before = peak_rss()
    prepare(network, batch, channels_last)
    losses(3)
    return peak_rss() - before


if __name__ == "__main__":
    serve(version, prepare, losses, steps, predictions, peak_memory)
