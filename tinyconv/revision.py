"""Noticing changes: what was recorded of an object is right for as long as the object stays as it is."""

from __future__ import annotations

from typing import Any

_ABSENT = object()
_COMPARED = (bool, int, float, str, type(None))  # types whose equal values are the same


class Revised:
    """Counts how often its public attributes were given other values, in ``revision``.

    ``Revised.latest`` is another object after every change of any attribute of any instance: as long as it is the same
    one, nothing has changed. What changes inside of a list or dictionary is not noticed.

    Examples
    --------
    >>> class Slope(Revised):
    ...     def __init__(self, alpha):
    ...         self.alpha = alpha
    >>> slope = Slope(0.1)
    >>> slope.revision
    0
    >>> slope.alpha = 0.2
    >>> slope.revision
    1
    """

    latest = object()
    revision = 0
    unrecorded: frozenset[str] = frozenset()  # attributes on which nothing that is recorded depends

    def __setattr__(self, name: str, value: Any) -> None:
        old = vars(self).get(name, _ABSENT)
        super().__setattr__(name, value)
        if name in self.unrecorded or old is value or (type(old) is type(value) in _COMPARED and old == value):
            return
        Revised.latest = object()
        if old is not _ABSENT and not name.startswith("_"):
            vars(self)["revision"] = self.revision + 1

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        Revised.latest = object()
