"""What all frameworks are given: the networks' settings and the batches. Needs NumPy alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Task(NamedTuple):
    """Image shape (H, W, C), number of classes, and the settings of stochastic gradient descent."""

    shape: tuple[int, int, int]
    classes: int
    momentum: float
    nesterov: bool
    learning_rate: float = 0.01


TASKS = {
    "LeNet": Task((28, 28, 1), 10, 0.0, False),
    "MiniVGGNet": Task((32, 32, 3), 10, 0.9, True),
}


def batches(network: str, size: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images (N, H, W, C) in [0, 1) and labels (N,), the same in every process."""
    task, rng = TASKS[network], np.random.default_rng(0)
    return [(rng.random((size, *task.shape), np.float32), rng.integers(0, task.classes, size)) for _ in range(count)]
