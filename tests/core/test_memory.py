"""Graphs have no reference cycles: they vanish with their last tensor, and memory stays flat without the collector."""

import gc
import sys
import weakref
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv as tc
from tests.ops.cases import CASES, calls
from tinyconv import ops


@contextmanager
def collector_off():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def second_order(operation, case, call):
    """Forward, backward and backward of backward."""
    inputs = [
        tc.Tensor(a, requires_grad=True) if getattr(a, "dtype", None) == np.float64 else a for a in call.arrays
    ]
    outputs = [y for y in case.apply(operation, inputs, call.options) if y.requires_grad]
    wanted = [x for x in inputs if isinstance(x, tc.Tensor)]
    if outputs:
        ones = [np.ones(y.shape) for y in outputs]
        grads = tc.grad(outputs, wanted, grad_outputs=ones, create_graph=True, allow_unused=True)
        total = sum((ops.sum(g * g) for g in grads if g is not None), start=tc.Tensor(0.0))
        if total.requires_grad:
            total.backward()


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=1)
@given(st.data())
def test_no_operation_leaves_garbage(name, data):
    case = CASES[name]
    call = data.draw(calls(case, smooth=True))
    operation = getattr(tc.ops, name)
    second_order(operation, case, call)  # what is cached on first use
    with collector_off():
        second_order(operation, case, call)
        assert gc.collect() == 0


def test_tensors_and_nodes_die_with_their_last_reference():
    with collector_off():
        x = tc.Tensor(np.ones((1, 6, 6, 2)), requires_grad=True)
        w = tc.Tensor(np.ones((3, 3, 2, 2)), requires_grad=True)
        y = ops.conv2d(x, w)
        z = ops.max_pool2d(ops.relu(y))
        loss = z.sum()
        watched = [weakref.ref(t) for t in (y, y.node, z, z.node, loss, loss.node)]
        loss.backward(retain_graph=True)
        del y, z
        assert watched[1]() is not None  # the graph keeps its nodes, not the tensors
        assert watched[0]() is None
        del loss
        assert [ref() for ref in watched] == [None] * 6


def test_backward_releases_what_it_saved():
    with collector_off():
        x = tc.Tensor(np.ones(1000), requires_grad=True)
        y = ops.exp(x)
        z = (y * y).sum()
        watched = weakref.ref(y.data)
        del y
        assert watched() is not None
        z.backward()
        assert watched() is None
        assert z.node is not None


def test_an_exception_leaves_no_cycle():
    x = tc.Tensor(np.ones(3), requires_grad=True)
    with collector_off():
        with suppress(ValueError):
            (x * x).backward()
        assert gc.collect() == 0


def step(x, w, b):
    y = ops.max_pool2d(ops.relu(ops.conv2d(x, w, b, padding="same")))
    loss = ops.mean(ops.square(y - 1.0))
    dw, db = tc.grad(loss, [w, b])
    w.assign(w.data - 0.01 * dw.data)
    b.assign(b.data - 0.01 * db.data)
    return loss.item()


def memory_growth(run, steps):
    """Blocks and objects that ``steps`` more steps leave behind, with the collector off."""
    with collector_off():
        for _ in range(500):  # the collector emptied the interpreter's free lists; fill them again
            run()
        blocks, objects = sys.getallocatedblocks(), len(gc.get_objects())
        for _ in range(steps):
            run()
        return sys.getallocatedblocks() - blocks, len(gc.get_objects()) - objects


def test_memory_is_flat_over_10000_small_steps():
    w = tc.Tensor(np.full((8, 4), 0.1), requires_grad=True)
    x, target = np.ones((2, 8)), np.zeros((2, 4))

    def run():
        w.zero_grad()
        ops.sum((ops.tanh(x @ w) - target) ** 2).backward()
        w.assign(w.data - 0.01 * w.grad.data)

    blocks, objects = memory_growth(run, 10_000)
    assert blocks < 500  # one leaked tensor per step would be 10,000
    assert objects < 100


def test_memory_is_flat_over_convolution_steps():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 4, 4, 1))
    w, b = (tc.Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((3, 3, 1, 2), (2,)))
    blocks, objects = memory_growth(lambda: step(x, w, b), 1000)
    assert blocks < 500
    assert objects < 100


def test_memory_is_flat_with_second_derivatives():
    x = tc.Tensor(np.ones(4), requires_grad=True)

    def run():
        g = tc.grad(ops.sum(ops.tanh(x) * x), x, create_graph=True)
        tc.grad(ops.sum(g * g), x)

    blocks, objects = memory_growth(run, 500)
    assert blocks < 500
    assert objects < 100
