"""Operations on what has no values yet: how the symbolic tensors of models take part in ``tinyconv.ops``.

An operation that finds a :class:`Placeholder` among its arguments computes nothing: it asks the placeholder what it
makes of the call, as NumPy asks by ``__array_function__``. Models answer with a node of their graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["Placeholder", "asking_placeholders"]


class Placeholder:
    """Stands for a tensor among the arguments of operations."""

    def operate(self, operation: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """What ``tinyconv.ops.<operation>(*args, **options)`` is, where placeholders stand for tensors."""
        raise NotImplementedError(f"{type(self).__name__} must define operate")


def asking_placeholders(operation: Callable[..., Any]) -> Callable[..., Any]:
    """``operation`` that leaves a call to the first placeholder among its arguments, or in a list or tuple there.

    Examples
    --------
    >>> class Unknown(Placeholder):
    ...     def operate(self, operation, args, options):
    ...         return f"{operation} of {len(args)}"
    >>> asking_placeholders(max)(Unknown(), 3), asking_placeholders(max)(2, 3)
    ('max of 2', 3)
    """

    @functools.wraps(operation)
    def operate(*args: Any, **options: Any) -> Any:
        for value in (*args, *options.values()) if options else args:
            for entry in value if isinstance(value, list | tuple) else (value,):
                if isinstance(entry, Placeholder):
                    return entry.operate(operation.__name__, args, options)
        return operation(*args, **options)

    return operate
