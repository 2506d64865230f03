"""Models: ``Sequential``, functional graphs and subclasses of ``Model``, with Keras's training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinyconv.models.cloning import clone_model, model_from_config, model_from_json
from tinyconv.models.functional import Functional
from tinyconv.models.model import Model
from tinyconv.models.sequential import Sequential

if TYPE_CHECKING:
    from tinyconv.saving import load_model, save_model

__all__ = [
    "Functional",
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_config",
    "model_from_json",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name in ("load_model", "save_model"):  # files stand above models
        from tinyconv import saving

        return getattr(saving, name)
    raise AttributeError(f"module 'tinyconv.models' has no attribute {name!r}")
