"""Batches made in advance: order, bounds, errors, interruption; threads end when nobody wants their batches."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv.preprocessing import prefetch
from tinyconv.preprocessing.prefetching import map_ahead

from .conftest import prefetching_threads


@given(count=st.integers(0, 40), buffer_size=st.integers(1, 6), workers=st.integers(1, 4))
def test_same_batches_in_order(count, buffer_size, workers):
    class Squares:
        def __len__(self):
            return count

        def __getitem__(self, i):
            return i * i

    expected = [i * i for i in range(count)]
    ahead = prefetch(Squares(), buffer_size, workers)
    assert len(ahead) == count
    assert list(ahead) == list(ahead) == expected
    assert list(prefetch((i * i for i in range(count)), buffer_size)) == expected


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("ahead", [2, 5])
def test_no_more_is_made_in_advance_than_asked_for(workers, ahead, no_thread_is_left):
    asked = []
    results = map_ahead(abs, (asked.append(i) or i for i in range(100)), workers, ahead)
    for taken in range(5):
        assert next(results) == taken
        assert asked == list(range(ahead + taken + 1))


def test_what_nobody_waits_for_is_not_made(no_thread_is_left):
    begun, go_on, made = threading.Event(), threading.Event(), []

    def make(i):
        made.append(i)
        if i == 1:
            begun.set()
            go_on.wait(timeout=10)

    results = map_ahead(make, range(100), workers=1, ahead=4)
    next(results)
    assert begun.wait(timeout=10)
    results.close()
    go_on.set()
    for thread in prefetching_threads():
        thread.join(timeout=10)
    assert made == [0, 1]


def test_nothing_is_lost_between_epochs():
    """fit asks an endless generator for so many batches per epoch; those made in advance come in the next one."""
    ahead = prefetch(iter(range(10)), 3)
    assert [next(ahead) for _ in range(4)] == [0, 1, 2, 3]
    assert iter(ahead) is ahead
    assert list(ahead) == [4, 5, 6, 7, 8, 9]


def test_an_error_comes_at_its_place(no_thread_is_left):
    def batches():
        yield 1
        yield 2
        raise KeyError("third")

    ahead = prefetch(batches(), 5)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(KeyError, match="third"):
        next(ahead)
    assert list(ahead) == []


def test_threads_work_at_the_same_time():
    """Two items that wait for each other: one thread would never get past the first."""
    meeting = threading.Barrier(2, timeout=10)
    assert list(map_ahead(lambda i: (meeting.wait(), i)[1], range(4), workers=2)) == [0, 1, 2, 3]


@pytest.mark.parametrize("workers", [1, 3])
def test_dropping_the_iterator_ends_the_threads(workers, no_thread_is_left):
    ahead = map_ahead(abs, iter(int, 1), workers=workers, ahead=4)
    next(ahead)
    assert prefetching_threads()
    del ahead


def test_ctrl_c_while_waiting(no_thread_is_left):
    """The signal arrives while the loop waits for a batch that does not come: the loop ends at once."""
    go_on = threading.Event()

    def stuck(_):
        os.kill(os.getpid(), signal.SIGINT)
        go_on.wait(timeout=10)

    with pytest.raises(KeyboardInterrupt):
        next(map_ahead(stuck, range(9)))
    assert not go_on.is_set()
    go_on.set()


def test_the_interpreter_ends_in_the_middle_of_an_epoch():
    code = "from tinyconv.preprocessing import prefetch; b = prefetch(iter(int, 1), 3); next(b); next(b); print('done')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")


FORK = """
import os, signal
from tinyconv.preprocessing import prefetch
batches, again = iter(prefetch([1, 2, 3, 4, 5])), prefetch([6, 7])
next(batches)
if not os.fork():
    signal.alarm(20)
    try:
        next(batches)
    except RuntimeError as error:
        print(error, list(again), flush=True)
    os._exit(0)
os.wait()
print(list(batches))
"""


def test_a_forked_process_has_no_threads_and_says_so():
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    child, parent = done.stdout.splitlines()
    assert child.startswith("Expected a loop that this process began")
    assert child.endswith("[6, 7]")
    assert parent == "[2, 3, 4, 5]"


def test_training_from_a_prefetched_sequence():
    class Batches:
        epochs = 0

        def __len__(self):
            return 5

        def __getitem__(self, i):
            x = np.random.default_rng(i).normal(size=(8, 3))
            return x, x.sum(axis=1, keepdims=True)

        def on_epoch_end(self):
            self.epochs += 1

    def weights(batches):
        tc.set_seed(1)
        model = tc.Sequential([tc.layers.Dense(1, input_shape=(3,))])
        model.compile("sgd", "mse")
        model.fit(batches, epochs=3, verbose=0, shuffle=False)
        return model.get_weights()

    source = Batches()
    for first, second in zip(weights(prefetch(source, 3, workers=2)), weights(Batches()), strict=True):
        np.testing.assert_array_equal(first, second)
    assert source.epochs == 3


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ((5,), TypeError, "iterable of batches. Received: int"),
        (([1], 0), ValueError, "buffer_size must be an integer >= 1. Received: 0"),
        (([1], 1, True), ValueError, "workers must be an integer >= 1. Received: True"),
    ],
)
def test_wrong_arguments(arguments, error, told):
    with pytest.raises(error, match=told):
        prefetch(*arguments)


def test_what_has_threads_of_its_own_gets_no_others(folder):
    """Batches that are made and not given would move the seed on, depending on who is faster."""
    generator = tc.preprocessing.ImageDataGenerator(rotation_range=20)
    flow = generator.flow(np.zeros((9, 4, 4, 1)), np.arange(9), batch_size=2, seed=1)
    assert prefetch(flow) is flow
    data = tc.preprocessing.image_dataset_from_directory(folder, image_size=(4, 4), verbose=False)
    assert prefetch(data) is data
