"""Recording: a table that notes every primitive it is asked for, so that a step can be replayed without Python.

While a ``Recorder`` stands in for a backend, an eager computation runs as always and leaves a ``Trace``: its primitives
in order, with arrays replaced by numbers. A trace holds for other data of the same shapes as long as the computation
does not look at values. That is not taken on trust: ``Recorder.reads`` tells of values fetched to the host, and two
recordings, as a rule of different data, must be the same (``Trace.same_as``) before a plan is made of them.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv.backends.reference import Array, ReferenceBackend
from tinyconv.random import Key, generator


class Ref(NamedTuple):
    """Stands for array ``number`` of a trace."""

    number: int


class Step(NamedTuple):
    """One call of a primitive: arrays in arguments are ``Ref``; ``results`` are the numbers of the arrays it made."""

    primitive: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    results: tuple[int, ...]


class Form(NamedTuple):
    """What is known of an array besides its contents."""

    shape: tuple[int, ...]
    dtype: np.dtype
    strides: tuple[int, ...]

    @classmethod
    def of(cls, array: Array) -> Form:
        """The form of an array."""
        return cls(array.shape, array.dtype, array.strides)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie one after the other, the last axis first."""
        step = self.dtype.itemsize
        for count, stride in zip(self.shape[::-1], self.strides[::-1]):
            if count > 1 and stride != step:
                return self.size == 0
            step *= count
        return True


class Trace(NamedTuple):
    """What was recorded.

    Attributes
    ----------
    steps : list of Step
    forms : list of Form
        Of every array of the recording, by number: inputs, constants and results.
    constants : dict of arrays
        By number, all arrays that are neither inputs nor results (weights too: they are changed in place, so their
        memory is the constant).
    inputs, outputs : list of int
        Numbers of the arrays that change from run to run, and of those that are asked for.
    generator : numpy Generator
        The one that was in use.
    """

    steps: list[Step]
    forms: list[Form]
    constants: dict[int, Array]
    inputs: list[int]
    outputs: list[int]
    generator: np.random.Generator

    def same_as(self, other: Trace) -> bool:
        """Whether both recordings asked for the same primitives with the same settings and constants.

        Random numbers drawn by fresh keys may differ: a replay draws fresh ones too.
        """
        if (self.inputs, self.outputs, len(self.steps)) != (other.inputs, other.outputs, len(other.steps)):
            return False
        mine, theirs = self.constants, other.constants
        if list(mine) != list(theirs) or not all(_same_array(mine[n], theirs[n]) for n in mine):
            return False
        return all(map(_same_step, self.steps, other.steps))


class Recorder:
    """Takes the place of a backend's table and notes what it is asked for.

    Parameters
    ----------
    table : ReferenceBackend
        Does the work.
    inputs : sequence of arrays
        What will be different in every replay.
    """

    def __init__(self, table: ReferenceBackend, inputs: Sequence[Array]) -> None:
        self._table, self.device = table, table.device
        self._steps: list[Step] = []
        self._forms: list[Form] = []
        self._constants: dict[int, Array] = {}
        self._alive: dict[int, tuple[int, Any]] = {}  # by id: number, and a weak reference
        self.reads = 0  # values that were fetched to the host, and may have decided something
        self._generator = generator()
        self._inputs = [self._made(array) for array in inputs]

    def finish(self, outputs: Sequence[Array]) -> Trace:
        """The trace, when the computation has come to its outputs."""
        numbers = [self._number(array) for array in outputs]
        self._alive.clear()
        return Trace(self._steps, self._forms, self._constants, self._inputs, numbers, self._generator)

    def to_numpy(self, x: Array) -> np.ndarray:
        """Fetch values to the host: what depends on them cannot be replayed."""
        self.reads += 1
        return self._table.to_numpy(x)

    def __getattr__(self, name: str) -> Any:
        primitive = getattr(self._table, name)
        if not callable(primitive):
            return primitive

        def noted(*arguments: Any, **options: Any) -> Any:
            results = primitive(*arguments, **options)
            self._note(name, arguments, options, results)
            return results

        setattr(self, name, noted)
        return noted

    def _note(self, name: str, arguments: Any, options: dict[str, Any], results: Any) -> None:
        encoded = self._encode(arguments)
        made = () if results is None else results if isinstance(results, tuple) else (results,)
        if made and all(id(array) in self._alive for array in made):
            return  # an argument came back as it was
        named = {key: self._encode(value) for key, value in options.items()}
        self._steps.append(Step(name, encoded, named, tuple(self._made(array) for array in made)))

    def _encode(self, value: Any) -> Any:
        """Arguments with arrays replaced by references, inside tuples and lists too."""
        if isinstance(value, np.ndarray) or hasattr(value, "__cuda_array_interface__"):
            return Ref(self._number(value))
        if type(value) in (tuple, list):
            return type(value)(self._encode(entry) for entry in value)
        return value

    def _number(self, array: Array) -> int:
        """The number of an array; one that no recorded step made is a constant, and kept."""
        if id(array) in self._alive:
            return self._alive[id(array)][0]
        number = self._made(array)
        self._constants[number] = array
        return number

    def _made(self, array: Array) -> int:
        """A number for a new array, which is forgotten when nobody needs the array: its id may then come back."""
        if id(array) in self._alive:
            return self._alive[id(array)][0]
        number, place = len(self._forms), id(array)
        self._alive[place] = number, weakref.ref(array, lambda _: self._alive.pop(place, None))
        self._forms.append(Form.of(array))
        return number


def _same_array(x: Array, y: Array) -> bool:
    if x is y or type(x) is not type(y):
        return x is y
    return x.shape == y.shape and x.dtype == y.dtype and bool((x == y).all())


def _same_step(x: Step, y: Step) -> bool:
    if (x.primitive, x.results) != (y.primitive, y.results):
        return False
    skip = 0
    if draws_key(x) and draws_key(y):
        skip = 1 if x.arguments[0].source is y.arguments[0].source else 0
    return x.arguments[skip:] == y.arguments[skip:] and x.options == y.options


def draws_key(step: Step) -> bool:
    """Whether a step makes random numbers from a key that was drawn for it alone."""
    return step.primitive == "random_uniform" and isinstance(step.arguments[0], Key)
