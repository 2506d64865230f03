"""Data sets of one's own, and what else Keras has in ``utils``."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tinyconv as tc


class Lines(tc.utils.PyDataset):
    """Points of a line; notes which batches were asked for, by which threads, and how often an epoch ended."""

    def __init__(self, **options):
        super().__init__(**options)
        self.asked, self.threads, self.epochs = [], set(), 0

    def __len__(self):
        return 6

    def __getitem__(self, index):
        self.asked.append(index)
        self.threads.add(threading.current_thread())
        x = np.linspace(index, index + 1, 8, dtype="float32")[:, None]
        return x, 2 * x + 1

    def on_epoch_end(self):
        self.epochs += 1


def fit(source, **options):
    tc.set_seed(0)
    model = tc.Sequential([tc.layers.Dense(1, input_shape=(1,))])
    model.compile(tc.optimizers.SGD(0.01), "mse")
    history = model.fit(source, epochs=3, verbose=0, **options)
    return history.history["loss"]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("shuffle", [False, True])
def test_fit_takes_every_batch_once_an_epoch(workers, shuffle):
    lines = Lines(workers=workers, max_queue_size=2)
    losses = fit(lines, shuffle=shuffle)
    assert (lines.threads == {threading.main_thread()}) == (workers == 1)
    assert threading.main_thread() not in lines.threads or workers == 1
    assert losses == fit([lines[i] for i in range(6)], shuffle=shuffle)  # the same batches in the same order
    for epoch in range(3):
        assert sorted(lines.asked[6 * epoch : 6 * epoch + 6]) == list(range(6))
    assert lines.epochs == 3
    assert lines.num_batches == 6


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_in_a_batch_arrives(workers):
    class Broken(Lines):
        def __getitem__(self, index):
            if index == 4:
                raise OSError("disk on fire")
            return super().__getitem__(index)

    with pytest.raises(OSError, match="disk on fire"):
        fit(Broken(workers=workers))


def test_what_is_missing_or_wrong_is_named():
    with pytest.raises(NotImplementedError, match="PyDataset must define __len__"):
        len(tc.utils.PyDataset())
    with pytest.raises(NotImplementedError, match="PyDataset must define __getitem__"):
        tc.utils.Sequence()[0]
    with pytest.raises(ValueError, match="workers"):
        Lines(workers=0)
    with pytest.raises(ValueError, match="use_multiprocessing=True"):
        Lines(use_multiprocessing=True)


@given(arrays(np.float64, (3, 4), elements=st.floats(-10, 10)), st.sampled_from([0, 1, -1]), st.sampled_from([1, 2]))
def test_normalize(x, axis, order):
    power = (np.abs(x) ** order).sum(axis=axis, keepdims=True) ** (1 / order)
    expected = np.divide(x, power, out=np.zeros_like(x), where=power > 0)
    np.testing.assert_allclose(tc.utils.normalize(x, axis, order), expected, rtol=1e-12, atol=1e-300)


def test_set_random_seed():
    tc.utils.set_random_seed(3)
    first = tc.random.generator().random()
    tc.set_seed(3)
    assert tc.random.generator().random() == first
