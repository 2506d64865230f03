"""Finding a learning rate: a short trial in which it grows from step to step until the loss explodes.

Source: L. Smith, "Cyclical learning rates for training neural networks", arXiv 1506.01186, section 3.3.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv import random
from tinyconv.callbacks import snapshot
from tinyconv.callbacks.base import Callback, Logs
from tinyconv.checks import below_1, integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tinyconv.models import Model


class LearningRateFinder(Callback):
    """Raises the learning rate exponentially, batch by batch, and records the loss of each batch.

    Training stops after ``num_steps`` batches, or when the loss has become ``stop_factor`` times its lowest value, or
    NaN. Then, also when training is interrupted, the model is what it was before: weights, optimizer with its learning
    rate, schedule and decay, and random streams. See :func:`find_learning_rate` for the usual way to use it.

    Parameters
    ----------
    start_lr, end_lr : float
        The first and the last rate of the trial.
    num_steps : int, optional
        Batches from the first rate to the last; by default as many as ``fit`` has.
    smoothing : float in [0, 1)
        Share of the old in the moving mean of the loss, which is corrected for its start at 0.
    stop_factor : float

    Attributes
    ----------
    learning_rates, losses, smoothed_losses : list of float
        One entry per batch; the loss of the batch alone, and the moving mean.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.set_seed(0)
    >>> model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse")
    >>> finder = tc.callbacks.LearningRateFinder(start_lr=1e-4, end_lr=1.0)
    >>> x = np.random.default_rng(0).normal(size=(256, 2))
    >>> history = model.fit(x, x[:, :1] + 1, 8, epochs=4, callbacks=[finder], verbose=0)
    >>> len(finder.losses) <= 4 * 32, model.optimizer.iterations
    (True, 0)
    >>> 0.001 < finder.suggestion() < 1
    True
    """

    def __init__(
        self,
        start_lr: float = 1e-7,
        end_lr: float = 10.0,
        num_steps: int | None = None,
        smoothing: float = 0.98,
        stop_factor: float = 4.0,
    ) -> None:
        if not 0 < start_lr < end_lr < math.inf:
            raise ValueError(f"Expected 0 < start_lr < end_lr. Received: {start_lr!r}, {end_lr!r}")
        if not stop_factor > 1:
            raise ValueError(f"stop_factor must be > 1. Received: {stop_factor!r}")
        self.start_lr, self.end_lr, self.stop_factor = start_lr, end_lr, stop_factor
        self.smoothing = below_1("smoothing", smoothing)
        self.num_steps = None if num_steps is None else integer("num_steps", num_steps)
        self._before: Any = None
        self._clear(0)

    def _clear(self, steps: int) -> None:
        self.learning_rates: list[float] = []
        self.losses: list[float] = []
        self.smoothed_losses: list[float] = []
        self._mean, self._lowest, self._steps = 0.0, math.inf, steps

    # --- the trial ---------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Remember what the model is like."""
        steps = self.num_steps or (self.params.get("steps") or 0) * self.params.get("epochs", 1)
        if not steps:
            raise ValueError("LearningRateFinder needs num_steps for data whose length is not known. Received: None")
        self._clear(steps)
        optimizer = self.model.optimizer
        self._before = snapshot.take(self.model), dict(vars(optimizer))
        optimizer.decay = 0.0

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Raise the rate, and forget the batches before: the results are those of the coming batch alone."""
        share = len(self.losses) / max(self._steps - 1, 1)
        rate = self.start_lr * (self.end_lr / self.start_lr) ** share
        self.model.optimizer._rate = rate  # its property refuses where there is a schedule
        if self.model.objective is not None:
            self.model.objective.reset()
        self.learning_rates.append(rate)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Record the loss, and stop if it explodes."""
        loss = float((logs or Logs())["loss"])
        self._mean = self.smoothing * self._mean + (1 - self.smoothing) * loss
        smoothed = self._mean / (1 - self.smoothing ** (len(self.losses) + 1))
        if not math.isfinite(smoothed):
            self.learning_rates.pop()
            self.model.stop_training = True
            return
        self.losses.append(loss)
        self.smoothed_losses.append(smoothed)
        self._lowest = min(self._lowest, smoothed)
        if len(self.losses) >= self._steps or smoothed > self.stop_factor * self._lowest > 0:
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Put everything back."""
        self._release()

    def _release(self) -> None:
        if self._before is None:
            return
        state, attributes = self._before
        self._before = None
        self.learning_rates = self.learning_rates[: len(self.losses)]  # an interrupted step has a rate only
        vars(self.model.optimizer).clear()
        vars(self.model.optimizer).update(attributes)  # rate, schedule, decay, and whether it was built
        snapshot.put_back(self.model, state)
        if state.variables is None:  # the next training makes other tensors for the rate than recorded steps read
            self.model._replays = {}

    # --- the result --------------------------------------------------------------------------------------------

    def suggestion(self, method: str = "steepest") -> float:
        """A learning rate to train with.

        Parameters
        ----------
        method : {"steepest", "minimum"}
            Where the smoothed loss falls most per decade of the rate, measured over a tenth of the trial; or a tenth of
            the rate with the lowest smoothed loss. Not in the first tenth, where the mean is still noisy.

        Raises
        ------
        ValueError
            Before a trial, when the trial was too short, or when the loss never fell.
        """
        if method not in ("steepest", "minimum"):
            raise ValueError(f"method must be 'steepest' or 'minimum'. Received: {method!r}")
        rates, losses = np.array(self.learning_rates), np.array(self.smoothed_losses)
        half = max(len(losses) // 20, 1)
        first, last = max(len(losses) // 10, half), len(losses) - 1 - half
        lowest = first + int(losses[first:].argmin()) if last >= first else 0
        middles = np.arange(first, min(lowest, last) + 1)
        before, after = middles - half, middles + half
        falls = (losses[after] - losses[before]) / np.log10(rates[after] / rates[before])
        if not (falls < 0).any():
            raise ValueError(
                "The loss must fall for some steps before it explodes: make more steps, or start at a smaller rate. "
                f"Received: {len(losses)} steps, the lowest loss at step {lowest}"
            )
        return float(rates[lowest] / 10 if method == "minimum" else rates[middles[falls.argmin()]])

    def plot(self, path: str | Path | None = None) -> Figure:
        """The smoothed loss against the learning rate, with the suggestion marked where there is one.

        Parameters
        ----------
        path : str or Path, optional
            Where to save the figure (PNG, SVG or PDF, by its ending).

        Returns
        -------
        matplotlib.figure.Figure
        """
        if not self.losses:
            raise ValueError("There is nothing to draw before a trial. Received: no steps")
        from tinyconv.viz.figures import matplotlib, new_figure, save

        with matplotlib("style").context("ggplot"):
            figure = new_figure(8, 6)
            axes = figure.add_subplot()
            axes.plot(self.learning_rates, self.smoothed_losses, label="smoothed loss")
            try:
                rate = self.suggestion()
            except ValueError:
                rate = None
            if rate is not None:
                loss = self.smoothed_losses[self.learning_rates.index(rate)]
                axes.plot([rate], [loss], "o", label=f"suggestion: {rate:.2e}")
            axes.set(title="Learning Rate Finder", xlabel="Learning rate", ylabel="Loss", xscale="log")
            axes.legend()
            return save(figure, path)


def find_learning_rate(
    model: Model,
    x: Any,
    y: Any = None,
    batch_size: int | None = None,
    start_lr: float = 1e-7,
    end_lr: float = 10.0,
    num_steps: int = 100,
    smoothing: float = 0.98,
    stop_factor: float = 4.0,
    **options: Any,
) -> LearningRateFinder:
    """Try learning rates on a compiled model, which is afterwards what it was before.

    Parameters
    ----------
    model : Model
        A model without weights gets them first.
    x, y, batch_size, **options
        As for ``fit`` (``sample_weight``, ``class_weight``, ``steps_per_epoch``, ...); the data are used again when
        they hold fewer than ``num_steps`` batches.
    start_lr, end_lr, num_steps, smoothing, stop_factor
        As for :class:`LearningRateFinder`.

    Returns
    -------
    LearningRateFinder
        Ask it for ``suggestion()`` and ``plot()``.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.set_seed(0)
    >>> model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> finder = tc.callbacks.find_learning_rate(model, x, x[:, :1] + 1, start_lr=1e-4)
    >>> model.optimizer.learning_rate = finder.suggestion()
    >>> figure = finder.plot()
    >>> figure.axes[0].get_xlabel()
    'Learning rate'
    """
    finder = LearningRateFinder(start_lr, end_lr, num_steps, smoothing, stop_factor)
    if not model.built and hasattr(x, "shape"):
        with random.use(model.random_stream):
            model.build((None, *x.shape[1:]))
    history = model.history
    try:
        model.fit(x, y, batch_size, epochs=num_steps, verbose=0, callbacks=[finder], **options)
    finally:
        model.history = history
    return finder
