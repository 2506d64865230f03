"""Models as scikit-learn estimators: for pipelines, cross-validation and searches over settings.

``TinyConvClassifier`` and ``TinyConvRegressor`` take settings by name (``model__units=30``,
``optimizer__learning_rate=0.01``, ``fit__shuffle=False``); ``KerasClassifier`` and ``KerasRegressor`` are the same with
the names of the old ``keras.wrappers.scikit_learn``. scikit-learn is imported when one of them is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinyconv.wrappers.estimators import KerasClassifier, KerasRegressor, TinyConvClassifier, TinyConvRegressor

__all__ = ["KerasClassifier", "KerasRegressor", "TinyConvClassifier", "TinyConvRegressor"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tinyconv.wrappers' has no attribute {name!r}")
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise ImportError(f"tinyconv.wrappers.{name} needs scikit-learn: pip install 'scikit-learn>=1.6'") from None
    return getattr(importlib.import_module("tinyconv.wrappers.estimators"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
