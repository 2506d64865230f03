"""tinyconv: a small convolutional-network engine with automatic differentiation, written to be read."""

__version__ = "0.1.0"

from tinyconv import config, ops, random
from tinyconv.function import Function, grad
from tinyconv.random import set_seed
from tinyconv.tensor import Tensor, enable_grad, is_grad_enabled, no_grad, stop_gradient

__all__ = ["Function", "Tensor", "config", "enable_grad", "grad", "is_grad_enabled", "no_grad", "ops", "random",
           "set_seed", "stop_gradient"]  # fmt: skip
