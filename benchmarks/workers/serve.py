"""How a worker talks: one JSON request per line on standard input, one JSON reply per line on standard output."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


def serve(*functions: Callable[..., Any]) -> None:
    """Answer requests for ``functions`` until the input ends; what they print goes to standard error."""
    by_name = {function.__name__: function for function in functions}
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)
        for line in sys.stdin:
            request = json.loads(line)
            try:
                reply = {"result": by_name[request["call"]](**request["arguments"])}
            except Exception:
                reply = {"error": traceback.format_exc()}
            print(json.dumps(reply), file=replies, flush=True)


def timed(step: Callable[[], Any], seconds: float, least: int) -> list[float]:
    """Seconds of each call of ``step``: at least ``least`` calls, and more until ``seconds`` are over."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def peak_rss() -> int:
    """Most bytes of memory that this process has had."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
