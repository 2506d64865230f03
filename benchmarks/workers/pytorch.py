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
    if network == "VGG16":
        return vgg16(classes)
    if network == "ResNet50":
        return resnet50(classes)
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


def vgg16(classes: int) -> nn.Sequential:
    """K. Simonyan and A. Zisserman, 2014, configuration D."""
    layers: list[nn.Module] = []
    before = 3
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(before, filters, 3, padding=1), nn.ReLU()]
            before = filters
        layers.append(nn.MaxPool2d(2))
    dense = [nn.Linear(7 * 7 * 512, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, classes)]
    return nn.Sequential(*layers, nn.Flatten(), *dense)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a shortcut; the first one strides, as in the paper."""

    def __init__(self, before: int, filters: int, stride: int) -> None:
        super().__init__()
        sizes = [(before, filters, 1, stride), (filters, filters, 3, 1), (filters, 4 * filters, 1, 1)]
        self.inner = nn.Sequential()
        for i, (c, o, k, s) in enumerate(sizes):
            self.inner.extend([nn.Conv2d(c, o, k, s, k // 2), nn.BatchNorm2d(o, eps=1.001e-5)])
            self.inner.extend([nn.ReLU()] if i < 2 else [])
        self.shortcut = nn.Sequential()
        if before != 4 * filters:
            outer = 4 * filters
            self.shortcut.extend([nn.Conv2d(before, outer, 1, stride), nn.BatchNorm2d(outer, eps=1.001e-5)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.inner(x) + self.shortcut(x))


def resnet50(classes: int) -> nn.Sequential:
    """K. He et al., 2015, with biases as in Keras."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64, eps=1.001e-5), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    before = 64
    for stage, (filters, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for i in range(count):
            layers.append(Bottleneck(before, filters, 2 if i == 0 and stage > 0 else 1))
            before = 4 * filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


@torch.no_grad()
def load_weights(model: nn.Sequential, path: str) -> None:
    """Take weights in Keras's order and layouts: (KH, KW, C, O); (inputs, outputs), images flattened as (H, W, C)."""
    with np.load(path) as file:
        arrays = iter([file[name] for name in _in_order(file.files)])
    channels = 0  # of the last convolution, as long as the first dense layer is still to come
    for layer in model.modules():
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


def _in_order(names: list[str]) -> list[str]:
    """Names of weights in the order of the modules here: a residual block's shortcut, its branch 0, comes last."""
    blocks = [name.rsplit("_", 2)[0] if "_block" in name else name for name in names]
    places = {name: (blocks.index(block), "_0_" in name) for name, block in zip(names, blocks)}
    return sorted(names, key=lambda name: places[name])


def prepare(
    network: str,
    batch: int,
    channels_last: bool = False,
    compiled: bool = False,
    dropout: bool = True,
    weights: str | None = None,
    dtype: str = "float32",
    count: int = 20,
    learning_rate: float | None = None,
) -> int:
    """Build a network, its optimizer and the batches, in one of PyTorch's configurations.

    Returns the number of weights that are trained.
    """
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = build(network, dropout).to(getattr(torch, dtype))
    if weights:
        load_weights(model, weights)
    model = model.to(memory_format=layout)
    task = TASKS[network]
    rate = learning_rate or task.learning_rate
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=task.momentum, nesterov=task.nesterov)
    data = [
        (
            torch.from_numpy(x.astype(dtype)).permute(0, 3, 1, 2).contiguous(memory_format=layout),
            torch.from_numpy(labels),
        )
        for x, labels in batches(network, batch, count)
    ]
    forward = torch.compile(model, dynamic=False) if compiled else model
    _now.update(model=forward, optimizer=optimizer, data=data, turn=itertools.cycle(data))
    return sum(weight.numel() for weight in model.parameters())


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


def outputs() -> list[list[float]]:
    """What the network predicts for the first batch."""
    with torch.inference_mode():
        return _now["model"].eval()(_now["data"][0][0]).softmax(1).tolist()


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
    serve(version, prepare, losses, steps, predictions, outputs, peak_memory)
