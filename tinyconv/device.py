"""``device``: where new arrays are put, and how a tensor moves between the host and the GPU."""

from __future__ import annotations

from contextlib import ContextDecorator
from contextvars import Token
from typing import Any

from tinyconv import backends
from tinyconv.function import Function
from tinyconv.tensor import Tensor


class device(ContextDecorator):
    """Context manager and decorator: new tensors and weights are put on this device.

    Parameters
    ----------
    name : {"cpu", "cuda", "auto"}
        ``"auto"`` is the GPU where there is one, else the CPU. ``"gpu"`` and ``"cuda:0"`` mean ``"cuda"``.

    Attributes
    ----------
    name : str
        ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    ImportError
        When CuPy is missing; the message holds the install command.
    RuntimeError
        When CuPy finds no GPU or no driver.

    Notes
    -----
    Making a ``device`` changes nothing; the ``with`` statement does, for this thread or context, until it ends. The
    environment variable ``TINYCONV_DEVICE`` names the device of a whole process. Operations run where their tensors
    are, also outside of the context; tensors of two devices in one operation are an error.

    Examples
    --------
    >>> import tinyconv as tc
    >>> with tc.device("cpu"):
    ...     x = tc.Tensor([1.0, 2.0])
    >>> x.device
    'cpu'
    """

    name: str

    def __init__(self, name: str | device) -> None:
        self.name = backends.device_name(name.name if isinstance(name, device) else name)
        self._tokens: list[Token[str | None]] = []

    def _recreate_cm(self) -> device:  # each decorated call gets its own state: threads, recursion
        return device(self.name)

    def __enter__(self) -> device:
        self._tokens.append(backends._device.set(self.name))
        return self

    def __exit__(self, *_: Any) -> None:
        backends._device.reset(self._tokens.pop())

    def __repr__(self) -> str:
        return f"device({self.name!r})"


class Move(Function):
    """Copy to another device; the gradient comes back to the device of the input."""

    def __init__(self, target: str) -> None:
        self.target = target

    def forward(self, x: Any) -> Any:
        return backends.move(x, backends.on(self.target))

    def backward(self, dy: Tensor) -> Tensor:
        return move(dy, self.backend.device)


def move(x: Tensor, target: str | device) -> Tensor:
    """``x`` on ``target``: itself where it is there already, else a differentiable copy."""
    name = device(target).name
    return x if x.device == name else Move(name)(x)
