"""train_test_split: the same rows as scikit-learn, which is the oracle."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.datasets import to_categorical, train_test_split
from tinyconv.random import set_seed

sklearn_split = pytest.importorskip("sklearn.model_selection").train_test_split

seeds = st.integers(0, 2**32 - 1)
fractions = st.floats(0.01, 0.99)


def both(*arrays, **options):
    """Our parts and scikit-learn's, or the test ends where scikit-learn refuses and we must, too."""
    try:
        expected = sklearn_split(*arrays, **options)
    except ValueError:
        with pytest.raises(ValueError):
            train_test_split(*arrays, **options)
        return [], []
    return train_test_split(*arrays, **options), expected


def assert_equal(received, expected):
    assert len(received) == len(expected)
    for ours, theirs in zip(received, expected, strict=True):
        assert type(ours) is type(theirs)
        np.testing.assert_array_equal(ours, theirs)


@given(count=st.integers(2, 200), size=fractions | st.integers(-1, 200), seed=seeds, shuffle=st.booleans())
def test_plain(count, size, seed, shuffle):
    arrays = np.arange(count), [f"path {row}" for row in range(count)], np.ones((count, 2, 3))
    assert_equal(*both(*arrays, test_size=size, random_state=seed, shuffle=shuffle))


sizes = st.none() | fractions | st.integers(1, 60)


@given(count=st.integers(2, 120), test=sizes, train=sizes, seed=seeds, shuffle=st.booleans())
def test_train_size(count, test, train, seed, shuffle):
    options = {"test_size": test, "train_size": train, "random_state": seed, "shuffle": shuffle}
    assert_equal(*both(np.arange(count), **options))


@given(labels=st.lists(st.integers(-3, 3), min_size=2, max_size=120), test=sizes, train=sizes, seed=seeds)
def test_stratified(labels, test, train, seed):
    rows = np.arange(len(labels))
    options = {"test_size": test, "train_size": train, "random_state": seed}
    assert_equal(*both(rows, labels, stratify=labels, **options))


@given(counts=st.lists(st.integers(10, 30), min_size=2, max_size=7), size=st.floats(0.2, 0.8), seed=seeds)
def test_stratified_where_it_can_be(counts, size, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    received, expected = both(labels, test_size=size, random_state=seed, stratify=labels)
    assert len(received) == 2
    assert_equal(received, expected)


@given(counts=st.lists(st.integers(2, 30), min_size=2, max_size=5), size=st.floats(0.2, 0.8), seed=seeds)
def test_one_hot_rows_are_split_as_their_labels(counts, size, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    rows, options = np.arange(len(labels)), {"test_size": size, "random_state": seed}
    if not len(counts) <= math.ceil(size * len(rows)) <= len(rows) - len(counts):
        return
    expected = sklearn_split(rows, stratify=labels, **options)
    assert_equal(train_test_split(rows, stratify=to_categorical(labels), **options), expected)
    assert_equal(train_test_split(rows, stratify=labels[:, None], **options), expected)


def test_the_smile_counts():
    """9,475 and 3,690 pictures, a fifth of them held back: 1,895 and 738, however the labels are given."""
    labels = np.repeat([0, 1], [9475, 3690])
    for stratify in (labels, to_categorical(labels)):
        train, test = train_test_split(np.arange(13165), test_size=0.2, random_state=42, stratify=stratify)
        assert np.bincount(labels[test]).tolist() == [1895, 738]
        assert sorted([*train, *test]) == list(range(13165))


@pytest.mark.parametrize(
    ("count", "fraction", "sizes"),
    [(3000, 0.25, (2250, 750)), (70000, 0.25, (52500, 17500)), (2012, 0.25, (1509, 503))],
)
def test_sizes_in_the_books(count, fraction, sizes):
    train, test = train_test_split(range(count), test_size=fraction, random_state=42)
    assert (len(train), len(test)) == sizes


def test_the_animals_supports():
    """1,000 pictures each, listed panda, dog, cat."""
    _, test = train_test_split(np.repeat(["panda", "dog", "cat"], 1000), test_size=0.25, random_state=42)
    assert [int((test == name).sum()) for name in ("cat", "dog", "panda")] == [239, 249, 262]


def test_without_random_state_the_one_seed_decides():
    set_seed(5)
    first, second = train_test_split(np.arange(100)), train_test_split(np.arange(100))
    set_seed(5)
    assert_equal(train_test_split(np.arange(100)), first)
    assert second[1].tolist() != first[1].tolist()


def test_a_random_state_object_goes_on():
    ours, theirs = np.random.RandomState(3), np.random.RandomState(3)
    for _ in range(2):
        assert_equal(
            train_test_split(np.arange(9), random_state=ours),
            sklearn_split(np.arange(9), random_state=theirs),
        )


@pytest.mark.parametrize(
    ("arrays", "options", "told"),
    [
        ((), {}, "at least one array to split. Received none"),
        (([1, 2], [1, 2, 3]), {}, r"equal length. Received lengths \[2, 3\]"),
        (([1],), {}, "at least one row in either part of 1"),
        (([1, 2],), {"test_size": 1.5}, "a fraction between 0 and 1, or a number of rows. Received 1.5"),
        (([1, 2],), {"test_size": True}, "Received True"),
        (([1, 2],), {"test_size": "half"}, "Received 'half'"),
        (([1, 2],), {"test_size": 2}, "Received test_size=2, .* which puts 2 into the test part and 0 into"),
        (([1, 2],), {"train_size": 1.5}, "train_size: expected a fraction"),
        (([1, 2, 3],), {"train_size": 2, "test_size": 2}, "each row in one part at most"),
        (([1, 2],), {"stratify": [0, 1], "shuffle": False}, "expected None with shuffle=False"),
        ((range(5),), {"stratify": [0, 0, 0, 0, 1]}, r"two rows or more of every class. .* sizes \[4, 1\]"),
        ((range(6),), {"stratify": [0, 0, 1, 1, 2, 2], "test_size": 2}, "room for each of 3 classes"),
        ((range(6),), {"stratify": [0, 1]}, r"expected shape \(6,\) or \(6, C\). Received \(2,\)"),
    ],
)
def test_errors(arrays, options, told):
    with pytest.raises(ValueError, match=told):
        train_test_split(*arrays, **options)
