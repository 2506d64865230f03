"""``Tensor``: an array that remembers how it was computed, and the switch that turns remembering on and off.

A tensor holds ``data`` (an array of some backend) and, when it was computed from tensors that want gradients, the
``Function`` that made it (``node``) and which of its outputs it is (``index``). A function never refers to its
outputs, so graphs have no reference cycles and vanish with their last tensor. Arithmetic and methods such as ``sum``
are attached by ``tinyconv.ops``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv import backends, config

if TYPE_CHECKING:
    from tinyconv.function import Function

_grad_enabled: ContextVar[bool] = ContextVar("tinyconv_grad_enabled", default=True)


class Tensor:
    """An n-dimensional array with automatic differentiation.

    Parameters
    ----------
    data : array_like or Tensor
        Arrays keep their dtype and are not copied. Python floats become ``config.floatx()`` (float32).
    requires_grad : bool
        Whether gradients with respect to this tensor are wanted. Only floating-point tensors can have them.
    dtype : dtype, optional
        Convert ``data`` to this type.
    name : str, optional
        Shown in ``repr`` and in error messages.

    Attributes
    ----------
    data : array
        The values.
    grad : Tensor or None
        Gradient accumulated by :meth:`backward`; same shape and dtype as ``data``.
    requires_grad : bool
        Whether gradients flow to or through this tensor.

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = tc.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.numpy()
    array([2., 4., 6.], dtype=float32)
    """

    __slots__ = ("__weakref__", "data", "grad", "index", "name", "node", "requires_grad", "version")
    __array_priority__ = 100  # ndarray's own operators give way

    data: Any
    grad: Tensor | None
    node: Function | None

    def __init__(
        self, data: Any, requires_grad: bool = False, dtype: Any = None, name: str | None = None
    ) -> None:
        if isinstance(data, Tensor):
            data = data.data
        self.data = _as_array(data, dtype)
        self.node, self.index = None, 0
        self.grad = None
        self.name = name
        self.version = 0  # counts assignments, so that backward can tell that a saved value is gone
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(
                f"Only floating-point tensors can require gradients. Received: dtype {self.data.dtype}"
            )
        self.requires_grad = bool(requires_grad)

    @classmethod
    def _of(cls, data: Any, node: Function | None = None, index: int = 0) -> Tensor:
        """Wrap an array that a backend produced; ``node`` made it."""
        tensor = Tensor.__new__(Tensor)
        tensor.data, tensor.node, tensor.index = data, node, index
        tensor.grad = tensor.name = None
        tensor.version = 0
        tensor.requires_grad = node is not None
        return tensor

    # --- facts -------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        """Element type, a NumPy dtype."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.data.size

    @property
    def device(self) -> str:
        """Where the values are: ``"cpu"`` (host memory) or ``"cuda"`` (GPU)."""
        return backends.of(self.data).device

    def to(self, device: Any) -> Tensor:
        """The values on ``device`` (``"cpu"``, ``"cuda"``, ``"auto"``): this tensor if it is there, else a copy.

        Gradients flow back through the copy. A model and its optimizer are moved by ``model.to``.
        """
        from tinyconv.device import move

        return move(self, device)

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user rather than computed from tensors that require gradients."""
        return self.node is None

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array: on the host the tensor's own memory (do not write to it), else a copy."""
        return backends.of(self.data).to_numpy(self.data)

    def item(self) -> Any:
        """The only element as a Python number."""
        return self.numpy().item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self.numpy().tolist()

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.numpy())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"Only integer tensors can be an index. Received: dtype {self.dtype}")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __hash__(self) -> int:
        return id(self)  # ``==`` compares elements, so identity is the only hash that makes sense

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(")
        notes = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
        if self.requires_grad:
            notes += ", requires_grad=True" if self.node is None else f", from={type(self.node).__name__}"
        return f"Tensor({values}{notes}{f', name={self.name!r}' if self.name else ''})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        values = self.numpy()
        if dtype is not None and values.dtype != dtype:
            if copy is False:
                raise ValueError(f"Converting {values.dtype} to {np.dtype(dtype)} needs a copy")
            return values.astype(dtype)
        return values.copy() if copy else values

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "Tensors are immutable, so that gradients stay right. Use ops.where or ops.concatenate to make a new "
            "one, or tensor.assign(values) to replace all values of a tensor you own."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.node is not None:
            raise TypeError("Only leaf tensors can be copied; use tensor.detach() first")
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        for name in Tensor.__slots__:
            if name not in ("__weakref__", "data", "grad"):
                setattr(copied, name, getattr(self, name))
        if hasattr(self, "__dict__"):
            copied.__dict__.update(self.__dict__)
        copied.data = backends.of(self.data).copy(self.data)
        copied.grad = None
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:  # pickle; a graph is no data
        if self.node is not None:
            raise TypeError("Only leaf tensors can be pickled; use tensor.detach() first")
        return super().__reduce_ex__(protocol)

    # --- gradients ---------------------------------------------------------------------------------------------

    def detach(self) -> Tensor:
        """The same values without their history: gradients do not flow through the result."""
        return Tensor._of(self.data)

    def assign(self, values: Any) -> None:
        """Overwrite all values in place (shape and dtype stay), as an optimizer does.

        Raises
        ------
        ValueError
            When ``values`` has another shape.
        RuntimeError
            When this tensor is the result of a recorded computation.
        """
        if self.node is not None:
            raise RuntimeError("Only leaf tensors can be assigned; this one is the result of a computation")
        backend = backends.of(self.data)
        values = backends.move(values.data if isinstance(values, Tensor) else values, backend)
        if values.shape != self.shape:
            raise ValueError(f"assign expected values of shape {self.shape}. Received: {values.shape}")
        backend.assign(self.data, values)
        self.version += 1

    def zero_grad(self) -> None:
        """Forget the accumulated gradient."""
        self.grad = None

    def backward(
        self, gradient: Any = None, create_graph: bool = False, retain_graph: bool | None = None
    ) -> None:
        """Add the gradient of this tensor to ``grad`` of every leaf that requires it.

        Parameters
        ----------
        gradient : array_like, optional
            Gradient of the final result with respect to this tensor; 1 for a tensor of one element.
        create_graph : bool
            Make the gradients differentiable themselves.
        retain_graph : bool, optional
            Keep what a second ``backward`` needs; defaults to ``create_graph``.
        """
        from tinyconv.function import backward

        backward(self, gradient, create_graph, retain_graph)

    if TYPE_CHECKING:  # attached by tinyconv.ops; declared here for type checkers

        def __getattr__(self, name: str) -> Any: ...

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __getitem__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...


def _as_array(data: Any, dtype: Any) -> Any:
    """``data`` as an array of a backend: arrays as they are, Python floats in the default float type."""
    if dtype is None and not isinstance(data, np.ndarray | np.generic):
        try:
            return backends.of(data).asarray(data)
        except TypeError:  # not an array yet: Python numbers and sequences
            if isinstance(data, list | tuple) and any(getattr(item, "requires_grad", False) for item in data):
                raise TypeError(
                    "A list of tensors that require gradients would lose them. Use ops.stack(list) or detach()"
                ) from None
            values = np.asarray(data)
        dtype = config.floatx() if values.dtype == np.float64 and not _holds_numpy(data) else values.dtype
        data = values
    backend = backends.of(data) if backends.on_gpu(data) else backends.default()  # what is on a device stays there
    array = backend.asarray(data, dtype)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"Tensors hold numbers or booleans. Received: dtype {array.dtype}")
    return array


def _holds_numpy(data: Any) -> bool:
    """Whether nested sequences have NumPy values at the bottom, whose float64 is then meant as such."""
    while isinstance(data, list | tuple) and data:
        data = data[0]
    return isinstance(data, np.ndarray | np.generic) or hasattr(data, "__array__")


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread or context."""
    return _grad_enabled.get()


class set_grad_enabled(ContextDecorator):
    """Context manager and decorator that turns recording on or off for this thread or context.

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = tc.Tensor(2.0, requires_grad=True)
    >>> with tc.no_grad():
    ...     (x * x).requires_grad
    False
    """

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self._tokens: list[Token[bool]] = []

    def __call__(self, function: Any) -> Any:
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise TypeError("A generator or coroutine runs after its call: use no_grad() in a with statement inside it")
        return super().__call__(function)

    def _recreate_cm(self) -> set_grad_enabled:  # each decorated call gets its own state: threads, recursion
        return set_grad_enabled(self.mode)

    def __enter__(self) -> set_grad_enabled:
        self._tokens.append(_grad_enabled.set(self.mode))
        return self

    def __exit__(self, *_: Any) -> None:
        _grad_enabled.reset(self._tokens.pop())


def no_grad() -> set_grad_enabled:
    """Compute without recording: results do not require gradients."""
    return set_grad_enabled(False)


def enable_grad() -> set_grad_enabled:
    """Record again inside :func:`no_grad`."""
    return set_grad_enabled(True)


def stop_gradient(x: Any) -> Tensor:
    """The values of ``x`` as a constant (Keras's name for :meth:`Tensor.detach`)."""
    return x.detach() if isinstance(x, Tensor) else Tensor(x)
