"""Compiling leaves with Numba, and keeping the machine code on disk.

Numba's disk cache does not notice a change of compiler flags, of a called function or of a code generator in
another file, and processes that compile different variants of one function at once can overwrite each other's files.
So every variant gets a name of its own, which holds its constants and a fingerprint of all that its code depends on.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import types
from numba.core.caching import FunctionCache
from numba.core.registry import cpu_target

_alive: list[Any] = []  # compiled functions whose addresses may stand in a program
names: dict[int, str] = {}  # of leaves, by address


@functools.cache
def fingerprint() -> str:
    """Hash of what machine code depends on besides its own source: this package, Numba, LLVM and the processor."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    codegen = cpu_target.target_context.codegen()
    flags = [getattr(numba.config, name) for name in ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK")]
    versions = (numba.__version__, llvmlite.__version__, codegen.magic_tuple(), flags)
    digest.update(repr(versions).encode())
    return digest.hexdigest()[:16]


def leaf(function: Callable[..., None], variant: str = "", arguments: int = 2) -> int:
    """Compile ``function`` of 64-bit integers to a serial leaf and return its address.

    Parameters
    ----------
    function : callable
        Its closure holds nothing but integers and module-level functions.
    variant : str
        Tells apart the leaves made from the same source by other constants.
    arguments : int
        How many integers it takes; a kernel takes two, the address of its parameters and its task. What is called with
        more than six takes one, the address of a block of them.
    """
    signature = types.void(*[types.int64] * arguments)
    name = " ".join(filter(None, (function.__name__, variant)))
    address = _compile(numba.cfunc, function, variant, signature, error_model="numpy").address
    names[address] = name
    return address


def function(body: Callable[..., Any], signature: str, **flags: Any) -> Callable[..., Any]:
    """Compile ``body`` to a function that Python calls; it releases the interpreter's lock."""
    variant = "_".join(sorted(flags))
    return _compile(numba.njit, body, variant, signature, nogil=True, error_model="numpy", **flags)


def _compile(decorator: Any, function: Callable[..., Any], variant: str, *arguments: Any, **options: Any) -> Any:
    """Apply a decorator of Numba, with the disk cache where there is a place for it."""
    function.__qualname__ = "_".join(filter(None, (function.__name__, variant, fingerprint())))
    for _ in range(2):
        try:
            compiled = decorator(*arguments, cache=True, **options)(function)
            break
        except Exception:  # no folder, a full disk, a broken file; what is wrong with the code itself comes up again
            with contextlib.suppress(Exception):
                FunctionCache(function).flush()  # a broken file would make every process compile anew
    else:
        compiled = decorator(*arguments, **options)(function)
    _alive.append(compiled)
    return compiled
