"""A small vocabulary for writing vector code: explicit LLVM vectors where a compiler's own choice is not enough.

LLVM neither blocks loops for registers nor uses 512-bit vectors by itself, so the innermost loops of the hot kernels
are written with this vocabulary, inside Numba intrinsics. Addresses are plain integers (bytes); lanes beyond ``count``
are masked, so no kernel reads or writes outside its arrays.
"""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

INT = ir.IntType(64)
POINTER = ir.PointerType()
FLOATS = {4: ir.FloatType(), 8: ir.DoubleType()}
NUMBA_FLOATS = {4: types.float32, 8: types.float64}
LINE = 64  # bytes of a cache line
SPINS = 2000  # turns of a waiting loop before the processor is offered to others
AWAKE = 30_000  # turns before a thread without work sleeps: some milliseconds, since waking it up may take as long
FUTEX_WAIT, FUTEX_WAKE = 128, 129  # of Linux, among the threads of one process
IN_REGISTERS = 6  # arguments of a function
# What keeps NaN, infinities and signed results of comparisons intact, and still lets sums be reordered.
REORDER = frozenset({"reassoc", "contract", "nsz"})


def const(value: int) -> ir.Constant:
    """A 64-bit integer constant."""
    return ir.Constant(INT, value)


@functools.cache
def vector_bytes() -> int:
    """Width of the machine's vector registers, as Numba's code generator (and ``NUMBA_CPU_NAME``) sees it.

    The compiler is asked instead of a table of processors: add two 512-bit vectors and look at the registers used.
    """
    module = ir.Module(name="probe")
    vector = ir.VectorType(FLOATS[4], 16)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER]), name="probe")
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block())
    value = builder.load(function.args[0], typ=vector)
    builder.store(builder.fadd(value, value), function.args[0])
    builder.ret_void()
    codegen = cpu_target.target_context.codegen()
    parsed = binding.parse_assembly(str(module))
    parsed.triple = codegen._tm.triple
    assembly = codegen._tm.emit_assembly(parsed)
    return next((size for name, size in (("zmm", 64), ("ymm", 32)) if name in assembly), 16)


def vector_registers() -> int:
    """Number of vector registers: 32 with AVX-512 and on 64-bit ARM, else 16."""
    is_x86 = cpu_target.target_context.codegen()._tm.triple.startswith(("x86", "i386", "i686"))
    return 16 if is_x86 and vector_bytes() < 64 else 32


class Emitter:
    """Writes vector instructions for one float type into an LLVM function.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Where the instructions go.
    itemsize : int
        4 for float32, 8 for float64.
    lanes : int, optional
        Elements of a vector; by default what fills a register.
    """

    def __init__(self, builder: ir.IRBuilder, itemsize: int, lanes: int | None = None):
        self.builder, self.itemsize = builder, itemsize
        self.lanes = lanes or vector_bytes() // itemsize
        self.scalar = FLOATS[itemsize]
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.suffix = f"v{self.lanes}f{8 * itemsize}"
        self.zero = ir.Constant(self.vector, None)

    def function(self, name: str, result: Any, *arguments: Any) -> ir.Function:
        """The LLVM intrinsic ``name``."""
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name)

    def pointer(self, address: ir.Value) -> ir.Value:
        """An integer address as a pointer."""
        return self.builder.inttoptr(address, POINTER)

    def offset(self, pointer: ir.Value, *distances: ir.Value | int) -> ir.Value:
        """``pointer`` moved by bytes."""
        for distance in distances:
            distance = const(distance) if isinstance(distance, int) else distance
            pointer = self.builder.gep(pointer, [distance], source_etype=ir.IntType(8))
        return pointer

    def fill(self, value: ir.Value) -> ir.Value:
        """A vector with ``value`` in every lane."""
        vector = ir.VectorType(value.type, self.lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        first = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        lane_zero = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None)
        return self.builder.shuffle_vector(first, undefined, lane_zero)

    def broadcast(self, pointer: ir.Value) -> ir.Value:
        """A vector filled with the number at ``pointer``."""
        return self.fill(self.builder.load(pointer, typ=self.scalar, align=self.itemsize))

    def mask(self, count: ir.Value) -> ir.Value:
        """The first ``count`` lanes (all when larger, none when negative)."""
        for name, bound in (("smax", 0), ("smin", self.lanes)):
            count = self.builder.call(self.function(f"llvm.{name}.i64", INT, INT, INT), [count, const(bound)])
        indices = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", indices, self.fill(self.builder.trunc(count, ir.IntType(32))))

    def load(self, pointer: ir.Value, mask: ir.Value | None = None, kind: ir.Type | None = None) -> ir.Value:
        """The vector at ``pointer`` (of floats, or of integers ``kind``); masked lanes are not read and give 0."""
        vector, size, suffix = self._memory(kind)
        if mask is None:
            return self.builder.load(pointer, typ=vector, align=size)
        size32 = ir.Constant(ir.IntType(32), size)
        name = f"llvm.masked.load.{suffix}.p0"
        masked = self.function(name, vector, POINTER, ir.IntType(32), mask.type, vector)
        return self.builder.call(masked, [pointer, size32, mask, ir.Constant(vector, None)])

    def store(
        self, value: ir.Value, pointer: ir.Value, mask: ir.Value | None = None, kind: ir.Type | None = None
    ) -> None:
        """Write ``value`` at ``pointer``, except for masked lanes."""
        vector, size, suffix = self._memory(kind)
        if mask is None:
            self.builder.store(value, pointer, align=size)
            return
        size32 = ir.Constant(ir.IntType(32), size)
        name = f"llvm.masked.store.{suffix}.p0"
        masked = self.function(name, ir.VoidType(), vector, POINTER, ir.IntType(32), mask.type)
        self.builder.call(masked, [value, pointer, size32, mask])

    def prefetch(self, pointer: ir.Value, write: bool = True, near: bool = True) -> None:
        """Fetch the cache line at ``pointer`` for writing or reading, should it be memory at all.

        It comes into the first cache, or, not ``near``, into the second.
        """
        kind = ir.IntType(32)
        fetch = self.function("llvm.prefetch.p0", ir.VoidType(), POINTER, kind, kind, kind)
        self.builder.call(fetch, [pointer, *(ir.Constant(kind, n) for n in (int(write), 3 if near else 2, 1))])

    def _memory(self, kind: ir.Type | None) -> tuple[ir.VectorType, int, str]:
        """Vector type, bytes of an element and name in LLVM's intrinsics of floats or of integers ``kind``."""
        if kind is None:
            return self.vector, self.itemsize, self.suffix
        return ir.VectorType(kind, self.lanes), kind.width // 8, f"v{self.lanes}i{kind.width}"

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """``x * y + z``, rounded once where the machine can."""
        fma = self.function(f"llvm.fmuladd.{self.suffix}", *[self.vector] * 4)
        return self.builder.call(fma, [x, y, z])

    def relu(self, x: ir.Value) -> ir.Value:
        """``maximum(x, 0)``; NaN stays NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<", x, self.zero), self.zero, x)

    def variable(self, value: ir.Value) -> ir.Value:
        """A mutable local that starts as ``value``; the compiler keeps it in a register."""
        return cgutils.alloca_once_value(self.builder, value)

    @contextmanager
    def loop(self, count: ir.Value) -> Iterator[ir.Value]:
        """Repeat the body ``count`` times; yields the index."""
        with cgutils.for_range(self.builder, count) as loop:
            yield loop.index


def literal(value: Any) -> int:
    """The compile-time integer behind an argument of an intrinsic, which must be declared with prefer_literal."""
    if not isinstance(value, types.IntegerLiteral):
        raise TypeError(f"Expected a compile-time integer. Received: {value}")
    return value.literal_value


# --- the words that kernels written in Python need --------------------------------------------------------------


def unpack(builder: ir.IRBuilder, values: ir.Value) -> list[ir.Value]:
    """The members of a tuple."""
    return cgutils.unpack_tuple(builder, values)


@intrinsic
def call(typingctx: Any, function: Any, arguments: Any) -> Any:
    """Call the compiled leaf at address ``function`` with a tuple of 64-bit integers.

    More of them than fit into registers come as a block, whose address the leaf is given and which it reads with
    ``parameters``. As arguments Numba would copy them in pairs right after they were written one by one, for which the
    processor waits: as long as a small tile takes.
    """

    def codegen(context, builder, signature, values):
        address, packed = values
        numbers = cgutils.unpack_tuple(builder, packed)
        if len(numbers) > IN_REGISTERS:
            block = cgutils.alloca_once(builder, INT, const(len(numbers)))
            for i, number in enumerate(numbers):
                builder.store(number, builder.gep(block, [const(i)], source_etype=INT))
            numbers = [builder.ptrtoint(block, INT)]
        leaf = ir.FunctionType(ir.VoidType(), [INT] * len(numbers))
        builder.call(builder.inttoptr(address, leaf.as_pointer()), numbers)
        return context.get_dummy_value()

    return types.void(types.int64, types.UniTuple(types.int64, len(arguments))), codegen


@intrinsic(prefer_literal=True)
def parameters(typingctx: Any, block: Any, count: Any) -> Any:
    """The first ``count`` integers at address ``block``, as a tuple."""
    size = literal(count)
    result = types.UniTuple(types.int64, size)

    def codegen(context, builder, signature, values):
        start = builder.inttoptr(values[0], POINTER)
        places = [builder.gep(start, [const(i)], source_etype=INT) for i in range(size)]
        numbers = [builder.load(place, typ=INT, align=8) for place in places]
        return context.make_tuple(builder, result, numbers)

    return result(types.int64, count), codegen


@intrinsic(prefer_literal=True)
def pointer(typingctx: Any, address: Any, itemsize: Any) -> Any:
    """An address as a pointer to floats of ``itemsize`` bytes, for ``numba.carray``."""
    result = types.CPointer(NUMBA_FLOATS[literal(itemsize)])

    def codegen(context, builder, signature, values):
        return builder.inttoptr(values[0], context.get_value_type(result))

    return result(types.int64, itemsize), codegen


@intrinsic
def copy(typingctx: Any, target: Any, source: Any, size: Any) -> Any:
    """Copy ``size`` bytes between addresses that do not overlap."""

    def codegen(context, builder, signature, values):
        target, source, size = values
        cgutils.raw_memcpy(builder, builder.inttoptr(target, POINTER), builder.inttoptr(source, POINTER), size, 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def clear(typingctx: Any, target: Any, size: Any) -> Any:
    """Set ``size`` bytes to zero."""

    def codegen(context, builder, signature, values):
        cgutils.memset(builder, builder.inttoptr(values[0], POINTER), values[1], 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def move(typingctx: Any, target: Any, source: Any, itemsize: Any) -> Any:
    """Copy one number of 4 or 8 bytes."""

    def codegen(context, builder, signature, values):
        target, source = (builder.inttoptr(value, POINTER) for value in values[:2])
        with builder.if_else(builder.icmp_signed("==", values[2], const(4))) as (single, double):
            for case, kind in ((single, ir.IntType(32)), (double, INT)):
                with case:
                    builder.store(builder.load(source, typ=kind, align=4), target, align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def take(typingctx: Any, counter: Any) -> Any:
    """The integer at address ``counter``, which is raised by one; no two threads get the same."""

    def codegen(context, builder, signature, values):
        return builder.atomic_rmw("add", builder.inttoptr(values[0], POINTER), const(1), "monotonic")

    return types.int64(types.int64), codegen


@intrinsic
def finish(typingctx: Any, counter: Any, count: Any) -> Any:
    """Raise the integer at address ``counter`` by ``count``; all that this thread wrote before is visible with it."""

    def codegen(context, builder, signature, values):
        builder.atomic_rmw("add", builder.inttoptr(values[0], POINTER), values[1], "release")
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def add(typingctx: Any, counter: Any, count: Any) -> Any:
    """Raise the integer at address ``counter`` by ``count``, in one order for all threads; returns what it was."""

    def codegen(context, builder, signature, values):
        return builder.atomic_rmw("add", builder.inttoptr(values[0], POINTER), values[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def exchange(typingctx: Any, place: Any, value: Any) -> Any:
    """Put ``value`` at address ``place``, in one order for all threads; returns what was there."""

    def codegen(context, builder, signature, values):
        return builder.atomic_rmw("xchg", builder.inttoptr(values[0], POINTER), values[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def wait(typingctx: Any, counter: Any, count: Any) -> Any:
    """Wait until the integer at address ``counter`` has reached ``count``; lets others run when that takes long."""

    def codegen(context, builder, signature, values):
        _wait_until(builder, values[0], lambda found: builder.icmp_signed(">=", found, values[1]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def wait_for_zero(typingctx: Any, counter: Any) -> Any:
    """Wait until the integer at address ``counter`` is zero; lets others run when that takes long."""

    def codegen(context, builder, signature, values):
        _wait_until(builder, values[0], lambda found: builder.icmp_signed("==", found, const(0)))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def await_change(typingctx: Any, place: Any, sleepers: Any, seen: Any) -> Any:
    """Wait until the integer at address ``place`` is another than ``seen``, which is then returned.

    After a while the thread sleeps in the system until ``wake`` is called; ``sleepers`` counts who does.
    """

    def codegen(context, builder, signature, values):
        place, sleepers, seen = values

        def rest(turn: ir.Value) -> None:
            with builder.if_else(builder.icmp_signed("<", turn, const(AWAKE))) as (awake, asleep):
                with awake:
                    _yield(builder)
                with asleep:
                    counter = builder.inttoptr(sleepers, POINTER)
                    builder.atomic_rmw("add", counter, const(1), "seq_cst")
                    _sleep(builder, place, seen)
                    builder.atomic_rmw("add", counter, const(-1), "seq_cst")

        return _wait_until(builder, place, lambda found: builder.icmp_signed("!=", found, seen), rest)

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def wake(typingctx: Any, place: Any) -> Any:
    """Wake all threads that sleep because of the integer at address ``place``."""

    def codegen(context, builder, signature, values):
        if number := _futex():
            _system_call(builder, number, values[0], const(FUTEX_WAKE), const(1 << 30))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _wait_until(
    builder: ir.IRBuilder,
    address: ir.Value,
    condition: Callable[[ir.Value], ir.Value],
    rest: Callable[[ir.Value], None] | None = None,
) -> ir.Value:
    """A loop that looks at the integer at ``address`` until ``condition`` holds; returns it.

    After a number of turns it does ``rest`` in each, with the turn's number: by default it lets others run.
    """
    place = builder.inttoptr(address, POINTER)
    count = cgutils.alloca_once_value(builder, const(0))
    builder.store(const(0), count)
    check, again, tired, done = (builder.append_basic_block(name) for name in ("check", "again", "tired", "done"))
    builder.branch(check)
    builder.position_at_end(check)
    found = builder.load_atomic(place, "acquire", 8, typ=INT)
    builder.cbranch(condition(found), done, again)
    builder.position_at_end(again)
    turned = builder.add(builder.load(count), const(1))
    builder.store(turned, count)
    _pause(builder)
    builder.cbranch(builder.icmp_signed("<", turned, const(SPINS)), check, tired)
    builder.position_at_end(tired)
    if rest is None:
        _yield(builder)
    else:
        rest(turned)
    builder.branch(check)
    builder.position_at_end(done)
    return found


def _yield(builder: ir.IRBuilder) -> None:
    """Let another thread run, where there is a word for it."""
    if sys.platform != "win32":
        yielding = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, yielding, "sched_yield"), [])


def _sleep(builder: ir.IRBuilder, place: ir.Value, seen: ir.Value) -> None:
    """Sleep until ``wake``, unless the integer at ``place`` has changed; without futexes, for a short while."""
    kind = ir.IntType(32)
    if number := _futex():  # compares the lower half of the integer
        _system_call(builder, number, place, const(FUTEX_WAIT), seen, const(0))
    elif sys.platform == "win32":
        sleep = ir.FunctionType(ir.VoidType(), [kind])
        builder.call(cgutils.get_or_insert_function(builder.module, sleep, "Sleep"), [ir.Constant(kind, 1)])
    else:
        sleep = ir.FunctionType(kind, [kind])
        builder.call(cgutils.get_or_insert_function(builder.module, sleep, "usleep"), [ir.Constant(kind, 200)])


def _futex() -> int:
    """Number of Linux's system call that sleeps until memory changes; 0 elsewhere."""
    numbers = {"x86_64": 202, "aarch64": 98}
    return numbers.get(platform.machine(), 0) if sys.platform == "linux" and sys.byteorder == "little" else 0


def _system_call(builder: ir.IRBuilder, *arguments: int | ir.Value) -> None:
    values = [const(argument) if isinstance(argument, int) else argument for argument in arguments]
    call = ir.FunctionType(INT, [INT], var_arg=True)
    builder.call(cgutils.get_or_insert_function(builder.module, call, "syscall"), values)


def _pause(builder: ir.IRBuilder) -> None:
    """Tell the processor that this is a waiting loop, where there is a word for it."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        pause = ir.FunctionType(ir.VoidType(), [])
        builder.call(cgutils.get_or_insert_function(builder.module, pause, "llvm.x86.sse2.pause"), [])


@intrinsic
def allocate(typingctx: Any, size: Any) -> Any:
    """Address of ``size`` fresh bytes, private to the caller, which must ``release`` them."""

    def codegen(context, builder, signature, values):
        malloc = cgutils.get_or_insert_function(builder.module, ir.FunctionType(POINTER, [INT]), "malloc")
        return builder.ptrtoint(builder.call(malloc, [values[0]]), INT)

    return types.int64(types.int64), codegen


@intrinsic
def release(typingctx: Any, address: Any) -> Any:
    """Give back what ``allocate`` gave."""

    def codegen(context, builder, signature, values):
        free = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [POINTER]), "free")
        builder.call(free, [builder.inttoptr(values[0], POINTER)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic(prefer_literal=True)
def load(typingctx: Any, address: Any, itemsize: Any) -> Any:
    """The float of ``itemsize`` bytes at ``address``."""
    size = literal(itemsize)

    def codegen(context, builder, signature, values):
        return builder.load(builder.inttoptr(values[0], POINTER), typ=FLOATS[size], align=size)

    return NUMBA_FLOATS[size](types.int64, itemsize), codegen


@intrinsic(prefer_literal=True)
def store(typingctx: Any, address: Any, value: Any, itemsize: Any) -> Any:
    """Write the float ``value`` of ``itemsize`` bytes at ``address``."""
    size = literal(itemsize)

    def codegen(context, builder, signature, values):
        builder.store(values[1], builder.inttoptr(values[0], POINTER), align=size)
        return context.get_dummy_value()

    return types.void(types.int64, NUMBA_FLOATS[size], itemsize), codegen
