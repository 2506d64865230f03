"""Reports: the table of precision, recall and F1 per class, and the matrix of confusions.

Source: scikit-learn, whose layout changed with version 0.20.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyconv.checks import one_of
from tinyconv.metrics.base import host

HEADINGS = ("precision", "recall", "f1-score", "support")


def confusion_matrix(y_true: Any, y_pred: Any, labels: Any = None) -> np.ndarray:
    """Number of samples of each class (row) that were taken for each class (column).

    Parameters
    ----------
    y_true, y_pred : array_like, shape (N,)
        Class numbers or names.
    labels : sequence, optional
        Classes to count, in this order; by default all that occur, sorted.

    Returns
    -------
    array of int, shape (C, C)

    Examples
    --------
    >>> from tinyconv.metrics import confusion_matrix
    >>> confusion_matrix(["cat", "dog", "dog"], ["cat", "dog", "cat"]).tolist()
    [[1, 0], [1, 1]]
    """
    y_true, y_pred, labels = _label_arrays(y_true, y_pred, labels)
    order = np.argsort(labels, kind="stable")
    places = []
    for values in (y_true, y_pred):
        at = np.searchsorted(labels[order], values).clip(0, len(labels) - 1)
        places.append(np.where(labels[order][at] == values, order[at], -1))
    true, predicted = places
    known = (true >= 0) & (predicted >= 0)
    n = len(labels)
    return np.bincount(true[known] * n + predicted[known], minlength=n * n).reshape(n, n)


class _Row(NamedTuple):
    """A line of the report."""

    name: str
    ratios: list[float]  # precision, recall, F1
    support: Any  # number of samples, or sum of their weights


def classification_report(
    y_true: Any,
    y_pred: Any,
    target_names: Sequence[str] | None = None,
    labels: Any = None,
    digits: int = 2,
    sample_weight: Any = None,
    output_dict: bool = False,
    zero_division: Any = "warn",
    layout: str = "old",
) -> Any:
    """Precision, recall, F1 and number of samples of each class, and their means, as a table.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (N,)
        Class numbers or names; of one-hot rows take ``argmax(axis=1)`` first.
    target_names : sequence of str, optional
        Names to print, in the order of ``labels``.
    labels : sequence, optional
        Classes to report, in this order; by default all that occur, sorted.
    digits : int
        Decimals of the ratios.
    sample_weight : array_like, shape (N,), optional
        How much each sample counts.
    output_dict : bool
        Give the numbers as a dictionary, by row and heading, instead of the table.
    zero_division : {"warn", 0, 1}
        What 0/0 shall be; ``"warn"`` is 0 with a warning.
    layout : {"old", "new"}
        The rows below the classes. ``"old"`` (scikit-learn until 0.19): ``avg / total``, means weighted by the number
        of samples. ``"new"``: ``accuracy`` (``micro avg`` if ``labels`` leaves classes out), ``macro avg`` and
        ``weighted avg``.

    Returns
    -------
    str, or dict with ``output_dict``

    Examples
    --------
    >>> from tinyconv.metrics import classification_report
    >>> print(classification_report([0, 0, 1, 1, 1], [0, 1, 1, 1, 1], target_names=["cat", "dog"]))
                 precision    recall  f1-score   support
    <BLANKLINE>
            cat       1.00      0.50      0.67         2
            dog       0.75      1.00      0.86         3
    <BLANKLINE>
    avg / total       0.85      0.80      0.78         5
    <BLANKLINE>
    """
    one_of("layout", layout, ("old", "new"))
    one_of("zero_division", zero_division, ("warn", 0, 1))
    given = labels
    y_true, y_pred, labels = _label_arrays(y_true, y_pred, given)
    partial = given is not None and not set(np.unique([y_true, y_pred]).tolist()) <= set(given)
    names = [str(label) for label in (labels if target_names is None else target_names)]
    if len(names) != len(labels):
        raise ValueError(
            f"classification_report expected one name for each of the {len(labels)} classes {labels.tolist()} (pass "
            f"labels= to report others as well). Received: {len(names)} target_names"
        )
    weights = np.ones(len(y_true), int) if sample_weight is None else host(sample_weight, np.float64)
    if weights.shape != y_true.shape:
        raise ValueError(f"Expected sample_weight of the shape of y_true, {y_true.shape}. Received: {weights.shape}")
    right = np.array([weights[(y_true == label) & (y_pred == label)].sum() for label in labels], weights.dtype)
    predicted = np.array([weights[y_pred == label].sum() for label in labels], weights.dtype)
    support = np.array([weights[y_true == label].sum() for label in labels], weights.dtype)
    table = np.stack(_ratios(right, predicted, support, names, zero_division), 1)  # (C, 3)
    rows = [_Row(*row) for row in zip(names, table.tolist(), support.tolist(), strict=True)]
    total = support.sum().item()
    weighted = np.average(table, 0, support) if total else np.zeros(3)
    if layout == "old":
        means = [_Row("avg / total", weighted.tolist(), total)]
    else:
        hits, guesses, samples = (np.array([counts.sum()]) for counts in (right, predicted, support))
        instead = 0 if zero_division == "warn" else zero_division
        micro = [ratio.item() for ratio in _ratios(hits, guesses, samples, [], instead)]
        macro = table.mean(0) if len(table) else np.zeros(3)
        means = [
            _Row("micro avg" if partial else "accuracy", micro, total),
            _Row("macro avg", macro.tolist(), total),
            _Row("weighted avg", weighted.tolist(), total),
        ]
    return _as_dict([*rows, *means]) if output_dict else _as_text(rows, means, digits)


def _label_arrays(y_true: Any, y_pred: Any, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y_true, y_pred = host(y_true), host(y_pred)
    if y_true.ndim != 1 or y_true.shape != y_pred.shape:
        raise ValueError(
            "Expected y_true and y_pred of one shape (N,), with a class number or name per sample (of rows of "
            f"probabilities take argmax(axis=1)). Received: shapes {y_true.shape} and {y_pred.shape}"
        )
    for name, values in (("y_true", y_true), ("y_pred", y_pred)):
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise ValueError(f"Expected class numbers or names. Received: NaN in {name}")
    found = np.unique(np.concatenate([y_true, y_pred])) if labels is None else np.asarray(labels)
    return y_true, y_pred, found


def _ratios(
    right: np.ndarray, predicted: np.ndarray, support: np.ndarray, names: list[str], zero_division: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 from counts (C,), each (C,)."""
    if zero_division == "warn":
        for what, wholes, reason in (
            ("Precision", predicted, "no predicted samples"),
            ("Recall", support, "no true samples"),
        ):
            undefined = [name for name, whole in zip(names, wholes, strict=True) if not whole]
            if undefined:
                message = f"{what} is set to 0.0 for classes with {reason}: {', '.join(undefined)}"
                warnings.warn(message, stacklevel=3)
    missing = 0.0 if zero_division == "warn" else float(zero_division)

    def divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.where(whole > 0, part / np.where(whole > 0, whole, 1), missing)

    return divided(right, predicted), divided(right, support), divided(2 * right, predicted + support)


def _as_dict(rows: list[_Row]) -> dict[str, Any]:
    table: dict[str, Any] = {
        row.name: dict(zip(HEADINGS, [*row.ratios, row.support], strict=True)) for row in rows
    }
    if "accuracy" in table:
        table["accuracy"] = table["accuracy"]["f1-score"]
    return table


def _as_text(rows: list[_Row], means: list[_Row], digits: int) -> str:
    """Names right-aligned, then columns of 9 characters."""
    width = max(digits, *(len(row.name) for row in [*rows, *means]))

    def line(name: str, *cells: str) -> str:
        return f"{name:>{width}}  " + " ".join(f"{cell:>9}" for cell in cells) + "\n"

    def numbers(row: _Row) -> str:
        ratios = [f"{value:.{digits}f}" for value in row.ratios]
        if row.name == "accuracy":
            ratios[:2] = "", ""
        return line(row.name, *ratios, str(row.support))

    return line("", *HEADINGS) + "\n" + "".join(map(numbers, rows)) + "\n" + "".join(map(numbers, means))
