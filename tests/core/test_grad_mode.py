"""The switch that turns recording on and off: nesting, errors, decorators, threads, contexts, generators."""

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import tinyconv as tc


@pytest.fixture
def x():
    return tc.Tensor([1.0, 2.0], requires_grad=True)


def records(x):
    return (x * 2).requires_grad


def test_no_grad_and_enable_grad_nest(x):
    assert records(x)
    with tc.no_grad():
        assert not records(x)
        assert not tc.is_grad_enabled()
        with tc.enable_grad():
            assert records(x)
            with tc.no_grad():
                assert not records(x)
            assert records(x)
        assert not records(x)
    assert records(x)
    assert tc.is_grad_enabled()


def test_results_made_without_recording_are_leaves(x):
    with tc.no_grad():
        y = x * 2
    assert (y.is_leaf, y.requires_grad, y.node) == (True, False, None)


def test_leaves_made_without_recording_can_require_gradients():
    with tc.no_grad():
        x = tc.Tensor([1.0], requires_grad=True)
    assert records(x)


def test_an_exception_restores_the_mode(x):
    with pytest.raises(KeyError), tc.no_grad():
        raise KeyError
    assert records(x)


def test_one_manager_can_be_entered_again(x):
    manager = tc.no_grad()
    with manager, manager:
        assert not records(x)
    assert records(x)
    with manager:
        assert not records(x)
    assert records(x)


def test_decorator(x):
    @tc.no_grad()
    def value(depth):
        """Doc."""
        assert not records(x)
        return value(depth - 1) if depth else tc.is_grad_enabled()

    assert value(3) is False
    assert (value.__name__, value.__doc__) == ("value", "Doc.")
    assert records(x)

    @tc.no_grad()
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert records(x)


def test_generators_and_coroutines_cannot_be_decorated():
    """The call only makes them; their body would run with whatever mode the consumer has."""
    with pytest.raises(TypeError, match="with statement"):

        @tc.no_grad()
        def numbers():
            yield 1

    with pytest.raises(TypeError, match="with statement"):

        @tc.no_grad()
        async def work():
            pass


def test_a_generator_restores_the_mode_at_its_end(x):
    def values():
        with tc.no_grad():
            yield records(x)

    assert list(values()) == [False]
    assert records(x)
    suspended = values()
    next(suspended)
    suspended.close()
    assert records(x)


def test_threads_have_a_mode_of_their_own(x):
    inside, outside = threading.Event(), threading.Event()

    def work():
        with tc.no_grad():
            inside.set()
            outside.wait(10)
            return records(x)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(work)
        assert inside.wait(10)
        assert records(x)  # while the other thread is in no_grad
        outside.set()
        assert other.result() is False
    with tc.no_grad(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(records, x).result() is True


def test_many_threads_compute_gradients_at_once():
    def work(seed):
        for _ in range(20):
            x = tc.Tensor([float(seed), 2.0], requires_grad=True)
            with tc.no_grad():
                assert not records(x)
            (x * x * seed).sum().backward()
            assert x.grad.tolist() == [2.0 * seed * seed, 4.0 * seed]
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(1, 17)))


def test_contexts_have_a_mode_of_their_own(x):
    with tc.no_grad():
        frozen = contextvars.copy_context()
    assert records(x)
    assert frozen.run(records, x) is False


def test_tasks_do_not_disturb_each_other(x):
    async def without(turn, answers):
        with tc.no_grad():
            for _ in range(3):
                answers.append(records(x))
                await asyncio.sleep(0)

    async def main():
        answers = []
        task = asyncio.create_task(without(0, answers))
        for _ in range(3):
            await asyncio.sleep(0)
            assert records(x)
        await task
        return answers

    assert asyncio.run(main()) == [False, False, False]


def test_stop_gradient_and_detach(x):
    for stopped in (x.detach(), tc.stop_gradient(x), tc.stop_gradient(x * 1)):
        assert not stopped.requires_grad
    (x * x.detach()).sum().backward()
    assert x.grad.tolist() == [1, 2]
    assert tc.stop_gradient([1.0, 2.0]).tolist() == [1, 2]


def test_detach_shares_memory(x):
    assert x.detach().data is x.data


def test_gradients_are_recorded_only_when_asked(x):
    with tc.no_grad():  # create_graph decides during the sweep, not the mode around it
        pass
    y = (x**3).sum()
    with tc.no_grad():
        g = tc.grad(y, x, create_graph=True)
    assert g.requires_grad
    assert not tc.grad((x**3).sum(), x).requires_grad
