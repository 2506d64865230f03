"""What the curves of training and validation mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinyconv.diagnosis.findings import SMALLEST_RATE, Finding


class Diagnosis(NamedTuple):
    """What ``diagnose`` found; ``print`` it to read it.

    Attributes
    ----------
    findings : list of Finding
    epochs : int
        Length of the history.
    """

    findings: list[Finding]
    epochs: int

    @property
    def ok(self) -> bool:
        """Whether there is no warning."""
        return all(finding.level != "warning" for finding in self.findings)

    @property
    def names(self) -> list[str]:
        """Names of all findings, in order."""
        return [finding.name for finding in self.findings]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __str__(self) -> str:
        head = f"{self.epochs} epochs: " + ("nothing to object to" if self.ok else "worth a look")
        return "\n".join([head, *(f"  {finding.level}: {finding}" for finding in self.findings)])


class _Curves(NamedTuple):
    """Curves of a history, float64; ``None`` where they are missing. ``n`` epochs, of which ``w`` are "the end"."""

    n: int
    w: int
    loss: np.ndarray
    val_loss: np.ndarray | None
    acc: np.ndarray | None
    val_acc: np.ndarray | None
    rate: np.ndarray | None
    acceptable: float | None

    def end(self, curve: np.ndarray) -> float:
        """Mean of the last epochs, so that a single one decides nothing."""
        return float(curve[-self.w :].mean())

    @property
    def trained_well(self) -> bool:
        """Whether the training result is acceptable (step 1 of the rule)."""
        if self.acc is not None:
            return self.end(self.acc) >= (0.65 if self.acceptable is None else self.acceptable)
        return self.end(self.loss) <= (0.5 * self.loss[0] if self.acceptable is None else self.acceptable)


def diagnose(history: Any, acceptable: float | None = None) -> Diagnosis:
    """Say what the curves of training and validation mean.

    Parameters
    ----------
    history : History or mapping of str to sequence of float
        What ``fit`` returned, its ``history``, or what a JSON file of ``TrainingMonitor`` holds: ``loss``, and if
        possible ``val_loss``, ``acc`` / ``accuracy``, ``val_acc`` / ``val_accuracy``, ``learning_rate`` / ``lr``.
    acceptable : float, optional
        The training accuracy (without accuracies: the training loss) from which on training has succeeded. By default
        0.65, or half of the first epoch's loss.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        Without ``loss``, or for curves of different lengths.

    Notes
    -----
    "The end" is the mean of the last fifth of the epochs (five at most). Rules, in order:

    ============================== ==================================================================================
    not_finite                     a loss is NaN or infinite
    divergence                     training loss drops, then rises dramatically: its end is above 1.5 times its
                                   minimum, and above 90 % of where it began (or rises from the start)
    learning_rate_too_high         quick drop, then a plateau: 90 % of the way down in the first fifth of at least 8
                                   epochs, last half flat within 2 %, though training has not succeeded; or the loss is
                                   lowest in the first fifth of at least 5 epochs, and ends 2 % higher; or spikes: at
                                   least two rises by more than a quarter that take 30 % of the whole way down
    learning_rate_too_low          loss falls about linearly: never further than 10 % of the way from a straight line,
                                   in at least 5 epochs, and still more than half of it is left
    learning_rate_vanished         the rate fell to 2.5e-6 or below, while the loss stands still
    stagnation                     the mean training loss of the last quarter of at least 6 epochs is within 1 % of that
                                   of the quarter before, though training has not succeeded
    underfitting                   training has not succeeded (and the loss did not diverge)
    overfitting                    training has succeeded, but the end of the validation loss is 10 % above its
                                   minimum, 3 epochs or more ago, while the training loss fell; or validation accuracy
                                   is more than 0.1 below training accuracy; or, without accuracies, the validation loss
                                   stands still at 1.5 times the training loss, and that gap is 15 % of the first loss
    validation_better (note)       validation beats training by 0.02 in accuracy or 5 % in loss: normal with dropout and
                                   augmentation
    short (note)                   fewer than 3 epochs: nothing else but the first rule applies
    ============================== ==================================================================================

    The four-step rule behind it: is training acceptable? compare training and validation; poor training is
    underfitting; good training and much worse validation is overfitting. Shapes of the loss curve for learning rates as
    in the notes of CS231n: very high, high, good, low.

    Examples
    --------
    >>> history = {"loss": [1.5, 1.0, 0.7, 0.5, 0.3, 0.2], "val_loss": [1.4, 1.1, 1.0, 1.1, 1.3, 1.6]}
    >>> print(diagnose(history))
    6 epochs: worth a look
      warning: [overfitting] Validation loss rose from 1 (epoch 3) to 1.6 (epoch 6), while training loss fell from 0.7 \
to 0.2. More data, augmentation, weight decay or dropout, early stopping; a smaller network last. Let a run go on for \
10 to 15 epochs before judging.
    """
    curves = _read(history, acceptable)
    findings = list(_not_finite(curves))
    if not findings and curves.n < 3:
        findings.append(Finding("short", f"Only {curves.n} epochs", "Train for longer to tell more", "note"))
    elif not findings:
        for rule in (_divergence, _learning_rate, _stagnation, _underfitting, _overfitting, _validation_better):
            findings += rule(curves, findings)
    return Diagnosis(findings, curves.n)


def _read(history: Any, acceptable: float | None) -> _Curves:
    values = getattr(history, "history", history)
    if not isinstance(values, Mapping):
        raise TypeError(f"history must be what fit returned, or a mapping of curves. Received: {values!r}")

    def curve(*names: str) -> np.ndarray | None:
        for name in names:
            if name in values:
                try:
                    numbers = np.asarray([math.nan if v is None else float(v) for v in values[name]])
                except (TypeError, ValueError):
                    raise ValueError(f"history[{name!r}] must hold numbers. Received: {values[name]!r}") from None
                return numbers
        return None

    loss = curve("loss")
    if loss is None or not len(loss):
        raise ValueError(f"history must have 'loss', with at least one epoch. Received: {list(values)}")
    others = {
        "val_loss": curve("val_loss"),
        "acc": curve("acc", "accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"),
        "val_acc": curve(
            "val_acc", "val_accuracy", "val_binary_accuracy", "val_categorical_accuracy",
            "val_sparse_categorical_accuracy",
        ),
        "rate": curve("learning_rate", "lr"),
    }  # fmt: skip
    for name, found in others.items():
        if found is not None and len(found) != len(loss):
            if name.startswith("val"):  # validated now and then only: such curves tell nothing about single epochs
                others[name] = None
            else:
                raise ValueError(f"Curves must be of one length, {len(loss)}. Received: {len(found)} for {name!r}")
    n = len(loss)
    return _Curves(n, min(max(1, n // 5), 5), loss, **others, acceptable=acceptable)


def _not_finite(c: _Curves) -> Iterator[Finding]:
    for name, curve in (("Training", c.loss), ("Validation", c.val_loss)):
        if curve is not None and not np.isfinite(curve).all():
            epoch = int(np.argmin(np.isfinite(curve)))
            yield Finding(
                "not_finite",
                f"{name} loss is {curve[epoch]:g} in epoch {epoch + 1}",
                "Divide the learning rate by 3 until it stays finite, look for NaN in the data, scale pixels to 0..1, "
                "clip gradients (clipnorm=1.0); the callback TerminateOnNaN ends such runs",
            )
            return


def _divergence(c: _Curves, _: list[Finding]) -> Iterator[Finding]:
    lowest = int(c.loss.argmin())
    low, end = c.loss[lowest], c.end(c.loss)
    scale = max(abs(low), 1e-12)
    if end - low > 0.5 * scale and end - low > 0.9 * (c.loss[0] - low) and end > low + 0.05 * abs(c.loss[0]):
        yield Finding(
            "divergence",
            f"Training loss rose from {low:.4g} (epoch {lowest + 1}) to {end:.4g}",
            "The learning rate is much too high: divide it by 3 until the loss stays down; or is the network too deep "
            "without normalisation",
        )


def _learning_rate(c: _Curves, before: list[Finding]) -> Iterator[Finding]:
    if before:
        return
    first, low, end = c.loss[0], c.loss.min(), c.end(c.loss)
    way = first - low
    if c.rate is not None and c.rate[-1] <= SMALLEST_RATE and c.rate[0] > c.rate[-1]:
        flat = c.loss[c.rate <= SMALLEST_RATE]
        if len(flat) > 1 and np.ptp(flat) <= 0.01 * abs(flat.mean()):
            yield Finding(
                "learning_rate_vanished",
                f"The learning rate fell from {c.rate[0]:.3g} to {c.rate[-1]:.3g}; training loss stands at {end:.4g}",
                "Such steps no longer change the weights: drop the rate less often or by a larger factor",
            )
            return
    fifth = max(1, round(0.2 * (c.n - 1)))
    lowest = int(c.loss.argmin())
    if c.n >= 5 and lowest < fifth and end > low + 0.02 * abs(low) and not c.trained_well:
        yield Finding(
            "learning_rate_too_high",
            f"Training loss was lowest in epoch {lowest + 1}, {low:.4g}, and is {end:.4g} in the end",
            "Lower the learning rate: divide it by 3 until the loss falls",
        )
        return
    if way <= 1e-4 * abs(first):
        return
    progress = (first - c.loss) / way
    if c.n >= 8 and progress[fifth] >= 0.9 and _flat(c.loss, 0.02) and not c.trained_well and end > 0.4 * first:
        yield Finding(
            "learning_rate_too_high",
            f"Training loss dropped quickly, from {first:.4g} to {c.loss[fifth]:.4g} in {fifth} epochs, and has stood "
            f"at {end:.4g} since",
            "Lower the learning rate (divide by 3), or let it decay; if that changes nothing, the network is too small",
        )
    rises = np.diff(c.loss)
    spikes = (rises > 0.25 * c.loss[:-1]) & (rises > 0.05 * way)
    if spikes.sum() >= 2 and rises[spikes].sum() > 0.3 * way:
        epochs = ", ".join(str(i + 2) for i in np.flatnonzero(spikes)[:5])
        yield Finding(
            "learning_rate_too_high",
            f"Training loss jumped up {spikes.sum()} times, by {rises[spikes].max():.4g} at most (epochs {epochs})",
            "Lower the learning rate, or let it decay; larger batches make the loss smoother, too",
        )
    line = np.arange(c.n) / (c.n - 1)
    if c.n >= 5 and np.abs(progress - line).max() <= 0.1 and end > 0.5 * first and not _good_accuracy(c):
        yield Finding(
            "learning_rate_too_low",
            f"Training loss falls about linearly, from {first:.4g} to {c.loss[-1]:.4g} in {c.n} epochs",
            "Raise the learning rate (multiply by 3): the best is about half of the one at which training diverges",
        )


def _flat(curve: np.ndarray, tolerance: float) -> bool:
    """Whether the last half of a curve goes neither up nor down, noise apart."""
    before, after = np.array_split(curve[len(curve) // 2 :], 2)
    return bool(abs(before.mean() - after.mean()) <= tolerance * abs(after.mean()))


def _good_accuracy(c: _Curves) -> bool:
    """Whether accuracies say that training has succeeded, whatever the loss."""
    return c.acc is not None and c.trained_well


def _stagnation(c: _Curves, before: list[Finding]) -> Iterator[Finding]:
    if before or c.n < 6 or c.trained_well or not _flat(c.loss, 0.01):
        return
    tail = c.loss[c.n // 2 :]
    never = abs(tail.mean() - c.loss[0]) <= 0.02 * abs(c.loss[0])
    yield Finding(
        "stagnation",
        f"Training loss has stood at {tail.mean():.4g} " + ("from the start" if never else f"for {len(tail)} epochs"),
        "Nothing is learned: are labels and inputs matched, weights started at random, layers trainable? Try learning "
        "rates ten times larger and smaller" if never else
        "Change the learning rate (a schedule that drops too hard ends learning), then the optimizer, then the network",
    )  # fmt: skip


def _underfitting(c: _Curves, before: list[Finding]) -> Iterator[Finding]:
    if c.trained_well or any(finding.name == "divergence" for finding in before):
        return
    what = f"Training accuracy is {c.end(c.acc):.4g}" if c.acc is not None else f"Training loss is {c.end(c.loss):.4g}"
    what += f" after {c.n} epochs"
    if c.acc is None:
        what += f", {c.end(c.loss) / c.loss[0]:.0%} of the first epoch's"
    together = c.val_loss is not None and c.n >= 5 and _still_falling(c.loss) and _still_falling(c.val_loss)
    rate = any(finding.name.startswith("learning_rate") for finding in before)
    first = "Mend the learning rate first; then add" if rate else "Train for longer; then add" if together else "Add"
    tune = "" if rate else " tune the learning rate,"
    yield Finding(
        "underfitting",
        what + (", and both losses still fall together" if together else ""),
        f"{first} layers or neurons,{tune} clean the data; more data will not help",
    )


def _still_falling(curve: np.ndarray) -> bool:
    """Whether the last quarter of the epochs brought at least a twentieth of the whole way down."""
    quarter = max(1, len(curve) // 4)
    return bool(curve[-1 - quarter] - curve[-1] >= 0.05 * max(curve[0] - curve.min(), 0) > 0)


def _overfitting(c: _Curves, before: list[Finding]) -> Iterator[Finding]:
    if not c.trained_well or any(finding.name == "divergence" for finding in before):
        return
    remedy = "More data, augmentation, weight decay or dropout, early stopping; a smaller network last"
    if c.val_loss is not None:
        best = int(c.val_loss.argmin())
        low, end, since = c.val_loss[best], c.end(c.val_loss), c.n - 1 - best
        fell = c.end(c.loss) < c.loss[best] - 0.01 * abs(c.loss[0])
        if since >= 3 and end > low + 0.1 * abs(low) and end - low > 0.02 * abs(c.val_loss[0]) and fell:
            patience = "" if since >= 10 else ". Let a run go on for 10 to 15 epochs before judging"
            yield Finding(
                "overfitting",
                f"Validation loss rose from {low:.4g} (epoch {best + 1}) to {c.val_loss[-1]:.4g} (epoch {c.n}), while "
                f"training loss fell from {c.loss[best]:.4g} to {c.loss[-1]:.4g}",
                remedy + patience,
            )
            return
    if c.acc is not None and c.val_acc is not None:
        gap = c.end(c.acc) - c.end(c.val_acc)
        if gap > 0.1:
            yield Finding(
                "overfitting",
                f"Training accuracy is {c.end(c.acc):.4g}, validation accuracy {c.end(c.val_acc):.4g}, {gap:.2g} lower",
                remedy,
            )
    elif c.val_loss is not None:
        train, val, quarter = c.end(c.loss), c.end(c.val_loss), max(1, c.n // 4)
        flat = c.val_loss[-1 - quarter] - c.val_loss[-1] <= 0.01 * abs(val)
        if flat and val > 1.5 * train and val - train > 0.15 * abs(c.loss[0]):
            yield Finding(
                "overfitting", f"Training loss is {train:.4g}, validation loss stands still at {val:.4g}", remedy
            )


def _validation_better(c: _Curves, before: list[Finding]) -> Iterator[Finding]:
    if before:
        return
    better = ""
    if c.acc is not None and c.val_acc is not None and c.end(c.val_acc) > c.end(c.acc) + 0.02:
        better = f"Validation accuracy is {c.end(c.val_acc):.4g}, training accuracy {c.end(c.acc):.4g}"
    elif c.val_loss is not None and c.end(c.val_loss) < 0.95 * c.end(c.loss):
        better = f"Validation loss is {c.end(c.val_loss):.4g}, training loss {c.end(c.loss):.4g}"
    if better:
        yield Finding(
            "validation_better",
            better,
            "Normal with dropout, augmentation or other regularisation; without them, the validation data are easier, "
            "or there is room for longer training",
            "note",
        )
