"""CUDA's run-time compiler without a GPU, through its C interface: ``pip install nvidia-cuda-nvrtc``."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiler of the newest installed ``nvidia-cuda-nvrtc`` wheel, if there is one."""
    spec = importlib.util.find_spec("nvidia")
    places = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
    found = sorted(path for place in places for path in place.glob("*/lib/libnvrtc.so.*"))
    return ctypes.CDLL(str(found[-1])) if found else None


def compiled(source: str, expressions: list[str], *options: str) -> tuple[bytes, str]:
    """The machine code of a source's kernels, and what the compiler says.

    Raises
    ------
    AssertionError
        With the compiler's messages, where it refuses.
    """
    nvrtc, program = library(), ctypes.c_void_p()
    assert nvrtc is not None
    _succeed(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None))
    for expression in expressions:
        _succeed(nvrtc.nvrtcAddNameExpression(program, expression.encode()))
    settings = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), settings)
    log = _text(nvrtc, program, "ProgramLog").decode().rstrip("\0")
    assert not failed, log
    code = _text(nvrtc, program, "CUBIN")
    _succeed(nvrtc.nvrtcDestroyProgram(ctypes.byref(program)))
    return code, log


def _text(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _succeed(getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _succeed(getattr(nvrtc, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _succeed(result: int) -> None:
    assert result == 0, f"NVRTC error {result}"
