"""``Function``: the contract of a differentiable operation, and the backward sweep through recorded ones.

A function is made with its settings, called once on tensors, and is then itself the node of the graph::

    class Exp(Function):
        def forward(self, x):               # arrays in, array out, through self.backend
            y = self.backend.exp(x)
            self.save(y)
            return y

        def backward(self, dy):             # tensors in, tensors out: differentiable again
            (y,) = self.saved
            return dy * y

    y = Exp()(x)

``backward`` gets one gradient per output and returns one per input, in order (``None`` where ``needs_input_grad`` is
false). Because it computes with tensors, second derivatives come for free.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv import backends
from tinyconv.tensor import Tensor, is_grad_enabled, set_grad_enabled

_clock = itertools.count()  # a node is younger than everything that it was computed from


class Edge(NamedTuple):
    """Where the gradient of one input goes: output ``slot`` of the node ``target``, or a leaf tensor."""

    target: Any  # Function or leaf Tensor
    slot: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def key(self) -> tuple[int, int]:
        return id(self.target), self.slot


class _Saved(NamedTuple):
    """A value kept for backward: an input (``tensor``), one of the outputs (``output``), or neither."""

    value: Any
    tensor: Tensor | None
    version: int
    output: int


class Function:
    """Base class of differentiable operations; see the module's docstring for the contract.

    Attributes
    ----------
    backend : ReferenceBackend
        Table of primitives of the device that the inputs live on.
    needs_input_grad : tuple of bool
        Which inputs want a gradient; ``backward`` need not compute the others.
    fill_missing : bool
        Whether an output on which nothing depends has a gradient of zeros, or None.

    Examples
    --------
    >>> import tinyconv as tc
    >>> class Cube(tc.Function):
    ...     def forward(self, x):
    ...         self.save(x)
    ...         return x * x * x
    ...     def backward(self, dy):
    ...         (x,) = self.saved
    ...         return 3 * x * x * dy
    >>> x = tc.Tensor(2.0, requires_grad=True)
    >>> y = Cube()(x)
    >>> (dx,) = tc.grad(y, [x], create_graph=True)
    >>> float(dx), float(tc.grad(dx, x))
    (12.0, 12.0)
    """

    backend: backends.ReferenceBackend
    needs_input_grad: tuple[bool, ...] = ()
    fill_missing = True
    _edges: tuple[Edge | None, ...] | None = None
    _saved: list[Any] | tuple[Any, ...] | None = ()
    _original: Function | None = None  # the node in the graph, when this is a sweep's restricted copy of it

    def forward(self, *inputs: Any) -> Any:
        """Compute the output array (or a tuple of them) from input arrays and Python numbers."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def backward(self, *output_grads: Any) -> Any:
        """Compute the inputs' gradients from the outputs' gradients."""
        raise NotImplementedError(f"{type(self).__name__} must define backward")

    def save(self, *values: Any) -> None:
        """Keep arrays (inputs, outputs or others) or settings from ``forward`` for ``backward``."""
        self._saved = list(values)

    def __call__(self, *inputs: Any) -> Any:
        if self._edges is not None:
            raise RuntimeError(f"A {type(self).__name__} is one node of a graph: make a new one for each call")
        tensors = [value if isinstance(value, Tensor) else _constant(value, inputs) for value in inputs]
        arrays = [value.data if isinstance(value, Tensor) else value for value in tensors]
        self.backend = common_backend(arrays)
        self._edges = tuple(map(_edge_of, tensors)) if is_grad_enabled() else (None,) * len(tensors)
        self.needs_input_grad = tuple(edge is not None for edge in self._edges)
        outputs = self.forward(*arrays)
        several = isinstance(outputs, tuple)
        results = [_as_array(output) for output in (outputs if several else (outputs,))]
        recording = any(self.needs_input_grad)
        if recording:
            self._record(tensors, arrays, results)
        else:
            self._saved = ()
        wrapped = tuple(
            Tensor._of(array, self if recording and array.dtype.kind == "f" else None, index)
            for index, array in enumerate(results)
        )
        return wrapped if several else wrapped[0]

    def _record(self, tensors: list[Any], arrays: list[Any], results: list[Any]) -> None:
        self._output_types = tuple((array.shape, array.dtype) for array in results)
        self._saved = tuple(_identify(value, tensors, arrays, results) for value in self._saved or ())
        self._age = next(_clock)

    @property
    def saved(self) -> tuple[Any, ...]:
        """What ``save`` kept, arrays as tensors that are connected to the graph."""
        if self._saved is None:
            raise RuntimeError(
                f"The graph of this {type(self).__name__} was already used and released. Pass retain_graph=True "
                "to the first backward (or grad) to sweep through it again."
            )
        return tuple(self._unpack(entry) for entry in self._saved)

    @property
    def _node(self) -> Function:
        return self if self._original is None else self._original

    def _unpack(self, entry: Any) -> Any:
        if entry.tensor is not None:
            if entry.tensor.version != entry.version:
                raise RuntimeError(
                    f"A value that {type(self).__name__} needs for its gradient was overwritten by assign() after "
                    "it was used. Compute the gradient first."
                )
            return entry.tensor
        if entry.output >= 0:
            differentiable = entry.value.dtype.kind == "f"
            return Tensor._of(entry.value, self._node if differentiable else None, entry.output)
        return Tensor._of(entry.value) if hasattr(entry.value, "dtype") else entry.value


def _as_array(output: Any) -> Any:
    """Scalars that NumPy returns in place of arrays without axes become such arrays again."""
    return np.asarray(output) if isinstance(output, np.generic | bool | int | float) else output


def _constant(value: Any, others: Sequence[Any]) -> Any:
    """Arrays and sequences become constant tensors; numbers stay numbers, so that they never raise a dtype."""
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, bool | int | float) else beside(value, others)


def beside(value: Any, others: Sequence[Any]) -> Tensor:
    """``value`` as a tensor: data in host memory are put where a tensor among ``others`` is."""
    if isinstance(value, Tensor):
        return value
    tensor = Tensor(value)
    if backends.cuda_in_use() and not backends.on_gpu(value):
        for other in others:
            if isinstance(other, Tensor):
                return Tensor._of(backends.move(tensor.data, backends.of(other.data)))
    return tensor


def common_backend(arrays: Sequence[Any]) -> backends.ReferenceBackend:
    """The one backend that all arrays belong to."""
    found = {id(table): table for table in (backends.of(a) for a in arrays if hasattr(a, "dtype"))}
    if len(found) > 1:
        names = sorted(table.device for table in found.values())
        raise ValueError(
            f"All tensors of an operation must be on one device; tensor.to moves one. Received: {', '.join(names)}"
        )
    return next(iter(found.values())) if found else backends.default()


def _edge_of(tensor: Any) -> Edge | None:
    if not isinstance(tensor, Tensor) or not tensor.requires_grad:
        return None
    return Edge(tensor if tensor.node is None else tensor.node, tensor.index, tensor.shape, tensor.dtype)


def _identify(value: Any, tensors: list[Any], arrays: list[Any], results: list[Any]) -> _Saved:
    for tensor, array in zip(tensors, arrays, strict=True):
        if value is array and isinstance(tensor, Tensor):
            return _Saved(None, tensor, tensor.version, -1)
    for index, array in enumerate(results):
        if value is array:
            return _Saved(value, None, 0, index)
    return _Saved(value, None, 0, -1)


# --- the backward sweep ----------------------------------------------------------------------------------------


def backward(
    output: Tensor, gradient: Any = None, create_graph: bool = False, retain_graph: bool | None = None
) -> None:
    """Accumulate the gradient of ``output`` into ``grad`` of the leaves (see :meth:`Tensor.backward`)."""
    root = _edge_of(output)
    if root is None:
        raise RuntimeError("backward needs a tensor that was computed from one with requires_grad=True")
    seeds = [(root, _seed(output, gradient))]
    keep = create_graph if retain_graph is None else retain_graph
    gradients, leaves = _sweep(seeds, None, create_graph, keep)
    for leaf in leaves:
        g = gradients.get((id(leaf), leaf.index))
        if g is None:  # some backward on the way gave None
            continue
        leaf.grad = g if leaf.grad is None else leaf.grad + g


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    create_graph: bool = False,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> Any:
    """Gradients of (the sum of) ``outputs`` with respect to ``inputs``; nothing else is computed or changed.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
        What is differentiated.
    inputs : Tensor or sequence of Tensor
        Leaves or intermediate results with ``requires_grad``.
    create_graph : bool
        Make the gradients differentiable themselves (second derivatives).
    grad_outputs : array_like or sequence, optional
        Gradient of the final result with respect to each output; 1 for outputs of one element.
    retain_graph : bool, optional
        Keep what another sweep needs; defaults to ``create_graph``.
    allow_unused : bool
        Give ``None`` for an input that the outputs do not depend on, instead of raising.

    Returns
    -------
    Tensor, or list of Tensor for a sequence of inputs

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = tc.Tensor(3.0, requires_grad=True)
    >>> dx = tc.grad(x**3, x, create_graph=True)
    >>> dx.item(), tc.grad(dx, x).item()
    (27.0, 18.0)
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    single_seed = grad_outputs is None or (len(outputs) == 1 and not isinstance(grad_outputs, list | tuple))
    seeds_given = [grad_outputs] * len(outputs) if single_seed else list(grad_outputs)
    if len(seeds_given) != len(outputs):
        raise ValueError(f"Expected {len(outputs)} grad_outputs, one per output. Received: {len(seeds_given)}")
    edges = [_edge_of(tensor) for tensor in wanted]
    if None in edges:
        raise ValueError(f"Every input must require gradients. Received: {wanted[edges.index(None)]!r}")
    seeds = [
        (root, _seed(output, given))
        for output, given in zip(outputs, seeds_given, strict=True)
        if (root := _edge_of(output)) is not None
    ]
    keep = create_graph if retain_graph is None else retain_graph
    keys = {edge.key for edge in edges if edge is not None}
    gradients, _ = _sweep(seeds, keys, create_graph, keep)
    found = [gradients.get(edge.key) for edge in edges if edge is not None]
    if None in [None if g is None else 0 for g in found] and not allow_unused:
        missing = [i for i, g in enumerate(found) if g is None]
        raise ValueError(f"The outputs do not depend on input {missing}; pass allow_unused=True to get None there")
    return found[0] if isinstance(inputs, Tensor) else found


def _seed(output: Tensor, gradient: Any) -> Tensor:
    if gradient is None:
        if output.size != 1:
            raise ValueError(
                f"A gradient must be given for an output of more than one element. Received: shape {output.shape}"
            )
        return Tensor._of(backends.of(output.data).full(output.shape, 1, output.dtype))
    gradient = gradient if isinstance(gradient, Tensor) else Tensor(gradient, dtype=output.dtype)
    if gradient.shape != output.shape:
        raise ValueError(f"The gradient must have the output's shape {output.shape}. Received: {gradient.shape}")
    return gradient


def _sweep(
    seeds: list[tuple[Edge, Tensor]], wanted: set[tuple[int, int]] | None, create_graph: bool, retain_graph: bool
) -> tuple[dict[tuple[int, int], Tensor], list[Tensor]]:
    """Gradients by edge key (of ``wanted``, or of all leaves) and the leaves reached, in a fixed order."""
    nodes, leaves = _reachable([edge for edge, _ in seeds])
    useful = None if wanted is None else _leading_to(nodes, wanted)
    gradients: dict[tuple[int, int], Tensor] = {}
    with set_grad_enabled(create_graph):
        for edge, seed in seeds:
            _accumulate(gradients, edge, seed)
        for node in reversed(nodes):
            if useful is not None and id(node) not in useful:
                continue
            output_grads = _take_output_grads(node, gradients, wanted)
            if output_grads is None:
                continue
            input_grads = _input_grads(node, output_grads, wanted, useful)
            for source, g in zip(node._edges or (), input_grads, strict=True):
                if source is not None and g is not None:
                    _accumulate(gradients, source, g)
            if not retain_graph:
                node._saved = None
    return gradients, leaves


def _reachable(roots: list[Edge]) -> tuple[list[Function], list[Tensor]]:
    """Nodes below ``roots``, oldest first, and leaves in the order of discovery. No recursion: graphs are deep."""
    nodes: dict[int, Function] = {}
    leaves: dict[int, Tensor] = {}
    stack = roots[::-1]
    while stack:
        target = stack.pop().target
        if isinstance(target, Tensor):
            leaves.setdefault(id(target), target)
        elif id(target) not in nodes:
            nodes[id(target)] = target
            stack.extend(edge for edge in target._edges if edge is not None)
    return sorted(nodes.values(), key=lambda node: node._age), list(leaves.values())


def _leading_to(nodes: list[Function], wanted: set[tuple[int, int]]) -> set[int]:
    """Ids of the nodes from which some wanted tensor can be reached."""
    useful: set[int] = set()
    for node in nodes:  # oldest first, so inputs are settled before what was computed from them
        if any(e is not None and (e.key in wanted or id(e.target) in useful) for e in node._edges or ()):
            useful.add(id(node))
    return useful


def _take_output_grads(
    node: Function, gradients: dict[tuple[int, int], Tensor], wanted: set[tuple[int, int]] | None
) -> list[Tensor | None] | None:
    """Gradients of all outputs of ``node``, zeros (or None) where none arrived; ``None`` when none arrived at all."""
    keys = [(id(node), index) for index in range(len(node._output_types))]
    if not any(key in gradients for key in keys):
        return None
    found: list[Tensor | None] = []
    for key, (shape, dtype) in zip(keys, node._output_types, strict=True):
        g = gradients.get(key) if wanted and key in wanted else gradients.pop(key, None)
        found.append(Tensor._of(node.backend.full(shape, 0, dtype)) if g is None and node.fill_missing else g)
    return found


def _input_grads(
    node: Function, output_grads: list[Tensor | None], wanted: set[tuple[int, int]] | None, useful: set[int] | None
) -> Sequence[Tensor | None]:
    """Run ``backward`` of one node, for the inputs that count in this sweep only, and check what it returns."""
    edges = node._edges or ()
    if wanted is not None and useful is not None:
        needs = tuple(e is not None and (e.key in wanted or id(e.target) in useful) for e in edges)
        if needs != node.needs_input_grad:
            original, node = node, copy.copy(node)  # other sweeps through the same graph may want other inputs
            node._original, node.needs_input_grad = original, needs
    result = node.backward(*output_grads)
    grads = result if isinstance(result, tuple | list) else (result,)
    if len(grads) != len(edges):
        raise ValueError(
            f"{type(node).__name__}.backward must return {len(edges)} gradients, one per input. Received: {len(grads)}"
        )
    return [g if needed else None for g, needed in zip(grads, node.needs_input_grad, strict=True)]


def _accumulate(gradients: dict[tuple[int, int], Tensor], edge: Edge, g: Any) -> None:
    g = g if isinstance(g, Tensor) else Tensor(g)
    if g.shape != edge.shape:
        name = type(edge.target).__name__
        raise ValueError(f"A gradient must have its input's shape {edge.shape} ({name}). Received: {g.shape}")
    if g.dtype != edge.dtype:
        g = g.astype(edge.dtype)
    gradients[edge.key] = gradients[edge.key] + g if edge.key in gradients else g
