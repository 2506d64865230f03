"""What checks report."""

from __future__ import annotations

from typing import NamedTuple

SMALLEST_RATE = 2.5e-6  # a step decay that fell to 2.44e-06 no longer changed the weights


class ModelWarning(UserWarning):
    """Something about a model is likely to be a mistake.

    ``warnings.filterwarnings("ignore", category=tinyconv.ModelWarning)`` silences all of them, with
    ``message=".*pool_size"`` those that are called so.
    """


class Finding(NamedTuple):
    """One thing that was noticed.

    Attributes
    ----------
    name : str
        What it is called, such as ``"overfitting"``.
    evidence : str
        What was seen, with numbers.
    advice : str
        What may be done about it.
    level : {"warning", "note"}
    layer : str or None
        The layer in question, for findings about a model.
    """

    name: str
    evidence: str
    advice: str
    level: str = "warning"
    layer: str | None = None

    def __str__(self) -> str:
        where = f" (layer {self.layer!r})" if self.layer else ""
        return f"[{self.name}]{where} {self.evidence}. {self.advice}."
