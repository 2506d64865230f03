"""tinyconv: a convolutional-network engine with automatic differentiation, from scratch, with Keras's names.

The public face: ``Sequential``, ``Model``, ``Input``, ``load_model``; ``layers``, ``optimizers``, ``losses``,
``metrics``, ``callbacks``, ``initializers``, ``regularizers``, ``datasets``, ``applications``, ``vision``; beneath them
``Tensor``, ``ops``, ``grad``, ``no_grad``, ``device``, ``Function``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

from tinyconv import config, ops, random
from tinyconv.device import device
from tinyconv.function import Function, grad
from tinyconv.random import set_seed
from tinyconv.tensor import Tensor, enable_grad, is_grad_enabled, no_grad, stop_gradient

if TYPE_CHECKING:
    from tinyconv import (
        activations,
        applications,
        callbacks,
        constraints,
        datasets,
        diagnosis,
        initializers,
        interop,
        layers,
        losses,
        metrics,
        models,
        optimizers,
        preprocessing,
        registry,
        regularizers,
        schedules,
        testing,
        utils,
        vision,
        viz,
        wrappers,
    )
    from tinyconv.diagnosis import ModelWarning, check_model, diagnose
    from tinyconv.layers import Input
    from tinyconv.models import Model, Sequential
    from tinyconv.saving import load_model

# What is imported at its first use, so that `import tinyconv` stays quick.
_MODULES = (
    "activations", "applications", "callbacks", "constraints", "datasets", "diagnosis", "initializers", "interop",
    "layers", "losses", "metrics", "models", "optimizers", "preprocessing", "registry", "regularizers", "saving",
    "schedules", "testing", "utils", "vision", "viz", "wrappers",
)  # fmt: skip
_NAMES = {
    "Input": "layers", "Model": "models", "ModelWarning": "diagnosis", "Sequential": "models",
    "check_model": "diagnosis", "diagnose": "diagnosis", "load_model": "saving",
}  # fmt: skip

__all__ = [
    "Function", "Input", "Model", "ModelWarning", "Sequential", "Tensor", "activations", "applications", "callbacks",
    "check_model", "config", "constraints", "datasets", "device", "diagnose", "diagnosis", "enable_grad", "grad",
    "initializers", "interop", "is_grad_enabled", "layers", "load_model", "losses", "metrics", "models", "no_grad",
    "ops", "optimizers", "preprocessing", "random", "registry", "regularizers", "schedules", "set_seed",
    "stop_gradient", "testing", "utils", "vision", "viz", "wrappers",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"tinyconv.{name}")
    if name in _NAMES:
        value = getattr(importlib.import_module(f"tinyconv.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'tinyconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
