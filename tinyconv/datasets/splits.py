"""Splitting data into a training and a test set, row for row as scikit-learn does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray

from tinyconv.random import generator

__all__ = ["train_test_split"]

Rows = NDArray[np.intp]


def train_test_split(
    *arrays: ArrayLike | Sequence[Any],
    test_size: float | int | None = None,
    train_size: float | int | None = None,
    random_state: int | RandomState | None = None,
    stratify: ArrayLike | None = None,
    shuffle: bool = True,
) -> list[Any]:
    """Split arrays into random training and test parts; the same seed picks the same rows as scikit-learn.

    Parameters
    ----------
    *arrays : arrays or lists of equal length; lists and tuples give lists, everything else arrays.
    test_size : fraction of the rows (rounded up) or, as an int, number of rows of the test part; None takes what
        `train_size` leaves, or 0.25 where that is None, too.
    train_size : fraction of the rows (rounded down) or number of rows of the training part; None takes what
        `test_size` leaves. Where both are given and do not add up to all rows, some are in neither part.
    random_state : seed or ``numpy.random.RandomState``; None draws from the generator that
        ``tinyconv.set_seed`` seeds.
    stratify : (N,) labels, or (N, C) rows such as one-hot labels, whose proportions both parts shall keep.
        One-hot rows give the split of the labels that they stand for (scikit-learn gives them another one).
    shuffle : False takes the first rows for training and those that follow for the test part.

    Returns
    -------
    list
        ``[train_0, test_0, train_1, test_1, ...]``, two parts (copies) for each of `arrays`.

    Raises
    ------
    ValueError
        Where lengths differ, a part would be empty, or a class has too few rows to be stratified.

    Notes
    -----
    The rules of ``sklearn.model_selection.train_test_split`` 1.x: the first rows of one permutation are the
    test set. Stratified, each class has a permutation and a share of its own; shares are rounded down, and
    what is left goes to the largest remainders, ties by lot.

    Examples
    --------
    >>> x, y = np.arange(8) * 10, list("abcdefgh")
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=42)
    >>> x_test, y_test
    (array([10, 50]), ['b', 'f'])
    >>> x_train, y_train
    (array([ 0, 70, 20, 40, 30, 60]), ['a', 'h', 'c', 'e', 'd', 'g'])
    """
    count = _common_length(arrays)
    train_count, test_count = _counts(count, train_size, test_size)
    if not shuffle:
        if stratify is not None:
            raise ValueError("stratify: expected None with shuffle=False, which takes the rows as they come")
        train, test = np.arange(train_count), np.arange(train_count, train_count + test_count)
    elif stratify is None:
        order = _random_state(random_state).permutation(count)
        test, train = order[:test_count], order[test_count : test_count + train_count]
    else:
        numbers = _class_numbers(stratify, count)
        train, test = _stratified(numbers, train_count, test_count, _random_state(random_state))
    return [part for array in arrays for part in (_take(array, train), _take(array, test))]


def _common_length(arrays: tuple[Any, ...]) -> int:
    if not arrays:
        raise ValueError("expected at least one array to split. Received none")
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"expected arrays of equal length. Received lengths {lengths}")
    return lengths[0]


def _counts(count: int, train_size: float | int | None, test_size: float | int | None) -> tuple[int, int]:
    """Rows of the training and of the test part: fractions are rounded down for training, up for testing."""
    if test_size is None and train_size is None:
        test_size = 0.25
    test_count = None if test_size is None else _rows("test_size", test_size, count, math.ceil)
    train_count = None if train_size is None else _rows("train_size", train_size, count, math.floor)
    if train_count is None:
        train_count = count - (test_count or 0)
    if test_count is None:
        test_count = count - train_count
    if train_count < 1 or test_count < 1 or train_count + test_count > count:
        raise ValueError(
            f"expected at least one row in either part of {count}, and each row in one part at most. "
            f"Received test_size={test_size!r}, train_size={train_size!r}, "
            f"which puts {test_count} into the test part and {train_count} into the training part"
        )
    return train_count, test_count


def _rows(name: str, size: float | int, count: int, rounded: Callable[[float], int]) -> int:
    if isinstance(size, int | np.integer) and not isinstance(size, bool):
        return int(size)
    if not (isinstance(size, float | np.floating) and 0 < size < 1):
        raise ValueError(f"{name}: expected a fraction between 0 and 1, or a number of rows. Received {size!r}")
    return rounded(size * count)


def _random_state(random_state: int | RandomState | None) -> RandomState:
    if random_state is None:
        return RandomState(generator().bit_generator)  # shares the one generator's state
    return random_state if isinstance(random_state, RandomState) else RandomState(random_state)


def _take(array: Any, rows: Rows) -> Any:
    return [array[row] for row in rows] if isinstance(array, list | tuple) else np.asarray(array)[rows]


def _class_numbers(stratify: ArrayLike, count: int) -> Rows:
    """Number the distinct labels, or rows, in ascending order: (N,) or (N, C) -> (N,)."""
    labels = np.asarray(stratify)
    if labels.ndim not in (1, 2) or len(labels) != count:
        raise ValueError(f"stratify: expected shape ({count},) or ({count}, C). Received {labels.shape}")
    if labels.ndim == 1 or labels.shape[1] == 1:
        return np.unique(labels.ravel(), return_inverse=True)[1]
    numbers = np.unique(labels, axis=0, return_inverse=True)[1].ravel()
    return numbers.max() - numbers  # descending, for 1 0 0 is label 0 and 0 0 1 is label 2


def _stratified(numbers: Rows, train_count: int, test_count: int, rng: RandomState) -> tuple[Rows, Rows]:
    sizes = np.bincount(numbers)
    if sizes.min() < 2:
        raise ValueError(
            f"stratify: expected two rows or more of every class. Received class sizes {sizes.tolist()}"
        )
    if min(train_count, test_count) < len(sizes):
        raise ValueError(
            f"stratify: expected room for each of {len(sizes)} classes in either part. "
            f"Received {train_count} training and {test_count} test rows"
        )
    train_shares = _shares(sizes, train_count, rng)
    test_shares = _shares(sizes - train_shares, test_count, rng)
    rows_of_class = np.split(np.argsort(numbers, kind="stable"), np.cumsum(sizes)[:-1])
    train, test = [], []
    for rows, in_train, in_test in zip(rows_of_class, train_shares, test_shares, strict=True):
        shuffled = rows[rng.permutation(len(rows))]
        train.append(shuffled[:in_train])
        test.append(shuffled[in_train : in_train + in_test])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))


def _shares(sizes: Rows, draws: int, rng: RandomState) -> Rows:
    """Share `draws` among classes by size; what rounding down leaves goes to the largest remainders."""
    exact = sizes / sizes.sum() * draws
    shares = np.floor(exact)
    remainders = exact - shares
    left = int(draws - shares.sum())
    for remainder in np.unique(remainders)[::-1]:
        if left <= 0:
            break
        tied = np.flatnonzero(remainders == remainder)
        lucky = rng.choice(tied, size=min(len(tied), left), replace=False)
        shares[lucky] += 1
        left -= len(lucky)
    return shares.astype(np.intp)
