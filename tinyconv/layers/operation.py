"""``Operation``: a function of ``tinyconv.ops`` as a layer; operators on symbolic tensors make one.

What the function is called with is part of the layer's configuration, as data that JSON can hold: numbers, strings and
None as they are, lists entry by entry, and dictionaries of one of these forms for everything else:

======================================================  ===========================================
``{"input": i}``                                        tensor number i that the layer is called on
``{"tuple": [...]}``                                    a tuple
``{"slice": [start, stop, step]}``                      a slice
``{"ellipsis": None}``                                  ``...``
``{"array": [...], "shape": [...], "dtype": "int64"}``  an array of constants, in C order
======================================================  ===========================================
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.layers.base import Layer
from tinyconv.layers.graph import Symbolic, flatten_structure, map_structure
from tinyconv.layers.module import free_name
from tinyconv.tensor import Tensor, no_grad


class Operation(Layer):
    """A function of ``tinyconv.ops``, applied to one tensor or a list of them.

    ``x + y`` and ``ops.mean(x, axis=1)`` make one where x is symbolic: ``Operation("add")([x, y])`` and
    ``Operation("mean", kwargs={"axis": 1})(x)``. Files hold the function's name, and only names in ``tinyconv.ops``
    are accepted.

    Parameters
    ----------
    operation : str
        Name of the function, as in ``tinyconv.ops.__all__``.
    args : list, optional
        What it is called with by position, as data (see ``tinyconv.layers.operation``); by default the tensors that
        the layer is called on, in order.
    kwargs : dict, optional
        What it is called with by name, as data too.

    Inputs: a tensor or a list of tensors, of the shapes and dtypes that the function takes; nothing is converted to the
    layer's dtype. Outputs: what the function gives, without a mask.

    Raises
    ------
    ValueError
        For a name that is not one of the functions, or data of another form.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.Operation("clip", kwargs={"maximum": 2.0})(tc.Tensor([[1.0, 3.0]])).tolist()
    [[1.0, 2.0]]
    >>> x = tc.Input((3, 4))
    >>> layer = (x[:, 0] / 2).call.layer
    >>> layer.operation, layer.args
    ('divide', [{'input': 0}, 2])
    """

    autocast = False  # an operation on integers is another one than on floats
    supports_masking = True

    def __init__(
        self, operation: str, args: Sequence[Any] | None = None, kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        if not isinstance(operation, str) or operation not in ops.__all__:
            close = [repr(known) for known in difflib.get_close_matches(str(operation), ops.__all__)]
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise ValueError(f"operation must be the name of a function of tinyconv.ops.{hint} Received: {operation!r}")
        self.operation = operation  # of which the name is made
        super().__init__(**options)
        self.args, self.kwargs = args, kwargs
        places: set[int] = set()
        self._args = None if args is None else _value(list(args), places)
        self._kwargs = {key: _value(entry, places) for key, entry in (kwargs or {}).items()}
        self.count = len(places)
        if places != set(range(len(places))):
            raise ValueError(f"inputs must be numbered from 0, without gaps. Received: {sorted(places)}")
        if args is None and places:
            raise ValueError(f"args must be given where kwargs name inputs. Received: kwargs={kwargs!r:.100}")

    def _new_name(self) -> str:
        return free_name(self.operation)

    @classmethod
    def on(cls, operation: str, args: Sequence[Any], options: dict[str, Any], name: str | None = None) -> Any:
        """The symbolic result of ``operation`` for arguments with symbolic tensors among them."""
        symbols: list[Symbolic] = []
        plain = [_data(value, symbols) for value in args]
        further = {key: _data(value, symbols) for key, value in options.items()}
        in_order = plain == [{"input": i} for i in range(len(symbols))]
        layer = cls(operation, None if in_order else plain, further or None, name=name)
        return layer(symbols[0] if len(symbols) == 1 else symbols)

    def check_input(self, input_shape: Any) -> None:
        """Raise unless there is a tensor for every place in the arguments."""
        count = len(input_shape) if isinstance(input_shape, list) else 1
        if self._args is not None and count != self.count:
            raise ValueError(f"expected {self.count} tensors. Received: {count}, of shapes {input_shape}")

    def call(self, inputs: Any) -> Any:
        args, kwargs = self.arguments(inputs if isinstance(inputs, list | tuple) else [inputs])
        return getattr(ops, self.operation)(*args, **kwargs)

    def arguments(self, tensors: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """What the function is called with, by position and by name, for what the layer is called on."""
        args = list(tensors) if self._args is None else _filled(self._args, tensors)
        return args, {key: _filled(value, tensors) for key, value in self._kwargs.items()}

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None, as for operations on tensors."""

    def _try_out(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """As for other layers, but the batch axis is one like the others: an operation may move or remove it."""
        first, second = (self._on_zeros(args[0], *sizes) for sizes in ((2, 32), (4, 64)))
        others = iter(flatten_structure(second))

        def compare(y: Tensor) -> Symbolic:
            sizes = [m if m == n else None for m, n in zip(y.shape, next(others).shape, strict=True)]
            return Symbolic(tuple(sizes), y.dtype.name)

        return map_structure(compare, first)

    def _on_zeros(self, inputs: Any, batch: int, unknown: int) -> Any:
        def zeros(x: Symbolic) -> Tensor:
            sizes = [unknown if n is None else n for n in x.shape]
            sizes[:1] = [batch if n is None else n for n in x.shape[:1]]
            return Tensor(np.zeros(sizes, x.dtype))

        try:
            with no_grad(), np.errstate(all="ignore"):
                return self.call(map_structure(zeros, inputs))
        except (ValueError, MemoryError) as error:  # the latter for sizes that only a file claims
            shapes = ", ".join(str(x.shape) for x in flatten_structure(inputs))
            raise ValueError(f"tensors of shapes {shapes} do not fit. With sizes for None: {error}") from error


class _Place:
    """Where a tensor that the layer is called on stands among the arguments."""

    def __init__(self, number: int) -> None:
        self.number = number


def _data(value: Any, symbols: list[Symbolic]) -> Any:
    """An argument as data; symbolic tensors in it are added to ``symbols``."""
    if isinstance(value, Symbolic):
        symbols.append(value)
        return {"input": len(symbols) - 1}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        entries = [_data(entry, symbols) for entry in value]
        return entries if isinstance(value, list) else {"tuple": entries}
    if isinstance(value, slice):
        return {"slice": [_data(limit, symbols) for limit in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": None}
    if isinstance(value, Tensor) and value.requires_grad:
        raise TypeError(
            "A weight cannot be a constant of an operation on symbolic tensors, which would not train it: write a "
            f"Layer that owns it. Received: {value!r:.100}"
        )
    if isinstance(value, np.ndarray | Tensor) and value.dtype.kind in "fiub":
        array = np.asarray(value)
        return {"array": array.ravel().tolist(), "shape": list(array.shape), "dtype": array.dtype.name}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, int | float | np.generic)):
        return np.dtype(value).name
    raise TypeError(
        "Operations on symbolic tensors take numbers, strings, arrays, slices, None, and lists and tuples of these: "
        f"what a file can hold. Received: {value!r:.100}"
    )


def _value(data: Any, places: set[int]) -> Any:
    """The argument that :func:`_data` described; numbers of the tensors in it are added to ``places``."""
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if isinstance(data, list):
        return [_value(entry, places) for entry in data]
    try:
        (form, content), *others = data.items()
        return _VALUES[form, len(others)](data, content, places)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"expected the arguments of an operation as data. Received: {data!r:.100}") from error


def _place(_: Any, number: Any, places: set[int]) -> _Place:
    places.add(operator.index(number))
    return _Place(number)


def _array(data: dict[str, Any], values: Any, _: Any) -> np.ndarray:
    dtype, shape = np.dtype(str(data["dtype"])), [operator.index(n) for n in data["shape"]]
    if dtype.kind not in "fiub" or min(shape, default=0) < 0 or len(values) != math.prod(shape):
        raise ValueError(f"{len(values)} values do not make an array of shape {shape} and dtype {dtype}")
    return np.array(values, dtype).reshape(shape)


def _limits(_: Any, limits: Any, places: set[int]) -> slice:
    start, stop, step = (None if n is None else operator.index(n) for n in limits)
    return slice(start, stop, step)


# Which value the dictionaries stand for, by their first key and the number of others.
_VALUES: dict[tuple[str, int], Callable[[dict[str, Any], Any, set[int]], Any]] = {
    ("input", 0): _place,
    ("tuple", 0): lambda _, entries, places: tuple(_value(list(entries), places)),
    ("slice", 0): _limits,
    ("ellipsis", 0): lambda *_: ...,
    ("array", 2): _array,
}


def _filled(value: Any, tensors: Sequence[Any]) -> Any:
    """``value`` with the tensors in their places."""
    if isinstance(value, _Place):
        return tensors[value.number]
    if isinstance(value, list | tuple):
        return type(value)(_filled(entry, tensors) for entry in value)
    return value
