"""Optimizers: how gradients change variables.

Formulas are those of Keras 2, names and further arguments those of Keras 3 (:class:`Optimizer` lists them); papers are
named at each optimizer. ``optimizers.schedules`` is :mod:`tinyconv.schedules`.
"""

from tinyconv import schedules
from tinyconv.optimizers.adam import Adam, Adamax, AdamW, Nadam
from tinyconv.optimizers.adaptive import Adadelta, Adagrad, Ftrl, RMSprop
from tinyconv.optimizers.base import Optimizer, deserialize, get, registry
from tinyconv.optimizers.momentum import SGD, Lion
from tinyconv.registry import serialize

__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lion", "Nadam", "Optimizer", "RMSprop",
    "deserialize", "get", "registry", "schedules", "serialize",
]  # fmt: skip
