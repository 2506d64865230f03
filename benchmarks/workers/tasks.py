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
    "VGG16": Task((224, 224, 3), 1000, 0.0, False),
    "ResNet50": Task((224, 224, 3), 1000, 0.0, False),
}


def batches(network: str, size: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images (N, H, W, C) around 0 and labels (N,), the same in every process.

    Each class has its own pattern of large squares, to which every image adds squares and noise of its own. With
    unstructured or positive images, a last bit decides which units a batch leaves without variance: training becomes
    chaotic, and two frameworks cannot agree on its losses.
    """
    (height, width, depth), classes = TASKS[network].shape, TASKS[network].classes
    rng = np.random.default_rng(0)

    def squares(n: int) -> np.ndarray:
        return rng.standard_normal((n, 4, 4, depth), np.float32).repeat(height // 4, 1).repeat(width // 4, 2)

    patterns, result = squares(classes), []
    for _ in range(count):
        labels = rng.integers(0, classes, size)
        noise = rng.standard_normal((size, height, width, depth), np.float32)
        result.append((patterns[labels] + squares(size) + 0.5 * noise, labels))
    return result
