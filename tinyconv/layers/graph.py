"""Graphs of layer calls: symbolic tensors, and structures (lists, dictionaries) of tensors and of shapes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tinyconv import backends, config
from tinyconv.ops import methods
from tinyconv.ops.symbolic import Placeholder
from tinyconv.tensor import Tensor

Shape = tuple[int | None, ...]  # None stands for any size, the batch axis first of all


class Call:
    """One use of a layer on symbolic tensors: an arrow of a model's graph.

    Attributes
    ----------
    layer : Layer
    args, options : tuple, dict
        What the layer is called with, symbolic tensors anywhere in it.
    inputs : Symbolic, or list / dict of Symbolic
        The first argument; a list of all symbolic tensors where there are others besides.
    shapes : tuple, or list / dict of tuples
        Of its outputs.
    dtypes : list of str
        Of its outputs, in order.
    """

    _clock = itertools.count()

    def __init__(self, layer: Any, args: tuple[Any, ...], options: dict[str, Any], foreseen: Any) -> None:
        self.layer, self.args, self.options = layer, args, options
        self.shapes = map_structure(lambda t: t.shape, foreseen)
        self.dtypes = [t.dtype for t in flatten_structure(foreseen)]
        others = [*symbols_in(args[1:]), *symbols_in(options)]
        self.inputs = [*symbols_in(args[:1]), *others] if others else args[0]
        self.age = next(Call._clock)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.age = next(Call._clock)  # that of this process

    @property
    def outputs(self) -> Any:
        """The symbolic outputs, in the structure of ``shapes``."""
        numbered = enumerate(self.dtypes)

        def output(shape: Shape) -> Symbolic:
            index, dtype = next(numbered)
            return Symbolic(shape, dtype, None, self, index)

        return map_shapes(output, self.shapes)

    def run(self, find: Callable[[Symbolic], Any], layer: Any = None) -> Any:
        """Call the layer (or ``layer`` in its place) with what ``find`` gives for each symbolic tensor."""
        args, options = map_symbols(find, self.args), map_symbols(find, self.options)
        return (self.layer if layer is None else layer)(*args, **options)


class Symbolic(Placeholder):
    """A tensor to be: shape and dtype, and the layer call that will compute it. Made by ``Input`` and by layers.

    Operators, methods and ``tinyconv.ops`` work as on tensors: ``x + y``, ``x[:, 0]``, ``ops.mean(x, axis=1)`` are
    layers of the graph too (see ``Operation``). Only ``==`` asks, as in Keras, whether two are the same one.

    Attributes
    ----------
    shape : tuple of int or None
        ``None`` for the batch axis.
    dtype : str
    call : Call or None
        ``None`` for an input of the model.
    index : int
        Which output of the call it is, when all of them stand in one list.
    source : Layer or None
        The ``InputLayer`` that stands for an input in models.

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = tc.Input((2,))
    >>> model = tc.Model(x, 2 * x + tc.ops.max(x, axis=1, keepdims=True))
    >>> model([[1.0, 3.0]]).tolist()
    [[5.0, 9.0]]
    """

    source: Any = None

    def __init__(
        self, shape: Shape, dtype: str | None = None, name: str | None = None, call: Call | None = None, index: int = 0
    ) -> None:
        self.shape, self.dtype, self.name = tuple(shape), dtype or config.floatx(), name
        self.call, self.index = call, index

    def __repr__(self) -> str:
        origin = self.name or (self.call.layer.name if self.call else "input")
        return f"<Symbolic {origin}: shape={self.shape}, dtype={self.dtype}>"

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def operate(self, operation: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The symbolic result of an operation of ``tinyconv.ops``, which becomes a layer of the graph."""
        from tinyconv.layers.operation import Operation  # a layer, which knows of graphs

        return Operation.on(operation, args, options)

    def _has_no_values(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"{self!r} has no values yet: it can be passed to layers and to operations of tinyconv.ops")

    __array__ = __bool__ = __float__ = __int__ = __index__ = __iter__ = __len__ = _has_no_values

    if TYPE_CHECKING:  # attached below

        def __getattr__(self, name: str) -> Any: ...

        def __add__(self, other: Any) -> Any: ...
        def __radd__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __rsub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __rmul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __rtruediv__(self, other: Any) -> Any: ...
        def __pow__(self, other: Any) -> Any: ...
        def __matmul__(self, other: Any) -> Any: ...
        def __lt__(self, other: Any) -> Any: ...
        def __gt__(self, other: Any) -> Any: ...
        def __getitem__(self, index: Any) -> Any: ...
        def __neg__(self) -> Any: ...
        def __abs__(self) -> Any: ...


methods.attach(Symbolic)
Symbolic.__eq__ = object.__eq__  # type: ignore[method-assign]

# --- arguments of calls ----------------------------------------------------------------------------------------


def tensors_in(value: Any) -> Iterator[Any]:
    """Tensors, arrays and symbolic tensors in lists, tuples and dictionaries at any depth, in order."""
    if _is_tensor(value):
        yield value
    elif isinstance(value, dict | list | tuple):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(entry)


def holds_tensors(value: Any) -> bool:
    """Whether there is one of :func:`tensors_in`."""
    return next(tensors_in(value), None) is not None


def symbols_in(value: Any) -> Iterator[Symbolic]:
    """The symbolic tensors among :func:`tensors_in`."""
    return (x for x in tensors_in(value) if isinstance(x, Symbolic))


def map_tensors(f: Callable[[Any], Any], value: Any) -> Any:
    """``value`` with ``f`` of each of its :func:`tensors_in` in their places; all else stays."""
    if isinstance(value, dict):
        return {key: map_tensors(f, entry) for key, entry in value.items()}
    if isinstance(value, list | tuple) and holds_tensors(value):
        entries = [map_tensors(f, entry) for entry in value]
        return entries if isinstance(value, list) else tuple(entries)
    return f(value) if _is_tensor(value) else value


def map_symbols(f: Callable[[Symbolic], Any], value: Any) -> Any:
    """``value`` with ``f`` of each symbolic tensor in its place; all else stays."""
    return map_tensors(lambda x: f(x) if isinstance(x, Symbolic) else x, value)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor | Symbolic | np.ndarray) or backends.on_gpu(value)


# --- structures of tensors -------------------------------------------------------------------------------------


def flatten_structure(structure: Any) -> list[Any]:
    """Leaves of nested lists, tuples and dictionaries of tensors."""
    if isinstance(structure, dict):
        return [leaf for value in structure.values() for leaf in flatten_structure(value)]
    if isinstance(structure, list | tuple) and _holds_tensors(structure):
        return [leaf for value in structure for leaf in flatten_structure(value)]
    return [structure]


def map_structure(f: Callable[[Any], Any], structure: Any) -> Any:
    """Apply ``f`` to one tensor, or to each of a list or dictionary of tensors (sequences become lists)."""
    if isinstance(structure, dict):
        return {key: map_structure(f, value) for key, value in structure.items()}
    if isinstance(structure, list | tuple) and _holds_tensors(structure):
        return [map_structure(f, value) for value in structure]
    return f(structure)


def _holds_tensors(sequence: Sequence[Any]) -> bool:
    """Whether a sequence is a structure of tensors or arrays, rather than nested numbers that are one array."""
    return any(
        _is_tensor(x) or isinstance(x, dict) or (isinstance(x, list | tuple) and _holds_tensors(x)) for x in sequence
    )


# --- structures of shapes --------------------------------------------------------------------------------------


def as_shapes(value: Any) -> Any:
    """What ``compute_output_shape`` returned, in one form: tuples are shapes; several lie in a list or dictionary."""
    if isinstance(value, dict):
        return {key: as_shapes(shape) for key, shape in value.items()}
    if isinstance(value, list | tuple) and any(isinstance(entry, list | tuple | dict) for entry in value):
        return [as_shapes(shape) for shape in value]
    return tuple(value)


def flatten_shapes(shapes: Any) -> list[Shape]:
    """One shape, or those in a list or dictionary, as a list."""
    found: list[Shape] = []
    map_shapes(found.append, shapes)
    return found


def map_shapes(f: Callable[[Shape], Any], shapes: Any) -> Any:
    """Apply ``f`` to one shape, or to each of a list or dictionary of shapes."""
    if isinstance(shapes, dict):
        return {key: map_shapes(f, value) for key, value in shapes.items()}
    return [map_shapes(f, shape) for shape in shapes] if isinstance(shapes, list) else f(shapes)
