"""Weights from a file into layers: everything is compared first, and nothing changes unless all of it fits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tinyconv.layers.base import Layer
from tinyconv.layers.module import Parameter


class Stored(NamedTuple):
    """An array in a file, which is not read before its shape and dtype are known to fit."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


class Transfer:
    """Pairs of weights and stored arrays, put together layer by layer and carried out at once.

    Parameters
    ----------
    skip_mismatch : bool
        Leave out layers that do not fit, with a warning, instead of raising ``ValueError``.
    """

    def __init__(self, skip_mismatch: bool = False) -> None:
        self.skip_mismatch = skip_mismatch
        self._pairs: list[tuple[Parameter, Stored]] = []
        self._skipped: list[str] = []

    def add(self, layer: Layer, weights: Sequence[Parameter], stored: Sequence[Stored]) -> None:
        """Plan to fill ``weights`` of ``layer``, in order."""
        problem = self._problem(layer, weights, stored)
        if problem is None:
            self._pairs += zip(weights, stored, strict=True)
        else:
            self.refuse(problem)

    def refuse(self, problem: str) -> None:
        """Raise; where mismatches are to be skipped, warn of it in the end."""
        if not self.skip_mismatch:
            raise ValueError(problem)
        self._skipped.append(problem)

    def expect_some(self, model: Layer, names: Sequence[str]) -> None:
        """Note, for a warning, that nothing was found by name."""
        if not self._pairs and not self._skipped:
            self._skipped.append(f"no layer of {model._title} has one of the names in the file: {list(names)}")

    def _problem(self, layer: Layer, weights: Sequence[Parameter], stored: Sequence[Stored]) -> str | None:
        if len(weights) != len(stored):
            received = [f"{s.shape} ({s.name})" for s in stored]
            return (
                f"{layer._title} expected {len(weights)} weights: {[f'{w.shape} ({w.name})' for w in weights]}. "
                f"Received: {len(stored)}: {received}"
            )
        for weight, s in zip(weights, stored, strict=True):
            if s.shape != weight.shape or s.dtype.kind != "f":
                return (
                    f"{layer._title} expected shape {weight.shape} for {weight.name!r}. "
                    f"Received: {s.shape}, {s.dtype}, for {s.name!r}"
                )
        return None

    def commit(self) -> None:
        """Read all arrays, then fill all weights."""
        values = [stored.read().astype(weight.dtype, copy=False) for weight, stored in self._pairs]
        for (weight, _), value in zip(self._pairs, values, strict=True):
            weight.assign(value)
        for problem in self._skipped:
            warnings.warn(f"Weights were not loaded: {problem}", stacklevel=5)  # the line that calls load_weights


def owners(layer: Layer) -> dict[int, Layer]:
    """The layer to which each weight belongs, by the weight's identity."""
    found = {id(parameter): layer for parameter in layer._parameters}
    for child in layer.children:
        found = {**owners(child), **found}
    return found


def weight_names(layer: Layer) -> list[str]:
    """A unique name for every weight, in order: layer names and the weight's own name, joined by ``/``."""
    names: dict[int, str] = {}
    taken: set[str] = set()

    def visit(owner: Layer, prefix: str) -> None:
        for parameter in owner._parameters:
            name, n = f"{prefix}{parameter.name}", 1
            while name in taken:
                name, n = f"{prefix}{parameter.name}_{n}", n + 1
            if id(parameter) not in names:
                taken.add(name)
                names[id(parameter)] = name
        for child in owner.children:
            visit(child, f"{prefix}{child.name}/")

    visit(layer, "")
    return [names[id(parameter)] for parameter in layer.weights]
