"""Ctrl-C between steps, never within one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def postponed_interrupt() -> Iterator[None]:
    """Let Ctrl-C wait until the body is done, so that a training step happens as a whole; a second one does not wait.

    Signals reach the main thread only: in other threads, and where a program has no handler of Python's, nothing
    changes.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []

    def remember(number: int, frame: Any) -> None:
        if pressed:
            handler(number, frame)
        pressed.append(number)

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed:
            handler(pressed[0], None)
