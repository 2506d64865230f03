"""Models: ``Sequential``, functional graphs and subclasses of ``Model``, with Keras's training loop."""

from tinyconv.models.functional import Functional
from tinyconv.models.model import Model
from tinyconv.models.sequential import Sequential

__all__ = ["Functional", "Model", "Sequential"]
