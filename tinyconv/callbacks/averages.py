"""``SwapEMAWeights``: results of the averaged weights, while training goes on with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.callbacks.base import Callback, Logs

if TYPE_CHECKING:
    from tinyconv.models import Model


class SwapEMAWeights(Callback):
    """Evaluates and predicts with the averages that an optimizer with ``use_ema=True`` keeps of the weights.

    Parameters
    ----------
    swap_on_epoch : bool
        Also leave the averages in the model from the end of an epoch to the beginning of the next, for callbacks that
        stand behind this one: ``ModelCheckpoint`` then saves the averages.

    Raises
    ------
    ValueError
        For a model whose optimizer keeps no averages.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, use_bias=False, kernel_initializer="ones", input_shape=(1,))])
    >>> model.compile(tc.optimizers.SGD(0.25, use_ema=True, ema_momentum=0.5), "mse")
    >>> x, y = np.ones((2, 1)), np.zeros((2, 1))  # each step halves the weight: 1/2, 1/4; their averages: 1/2, 3/8
    >>> swap = tc.callbacks.SwapEMAWeights()
    >>> model.fit(x, y, epochs=2, validation_data=(x, y), callbacks=[swap], verbose=0).history["val_loss"]
    [0.25, 0.140625]
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        self.swap_on_epoch = swap_on_epoch
        self._own: list[np.ndarray] | None = None  # the weights, while the averages are in their place

    def set_model(self, model: Model) -> None:
        """Check the optimizer."""
        if not getattr(model.optimizer, "use_ema", False):
            raise ValueError(f"SwapEMAWeights needs an optimizer with use_ema=True. Received: {model.optimizer!r}")
        super().set_model(model)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Train with the weights."""
        self._release()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Let the callbacks behind this one see the averages, if asked to."""
        if self.swap_on_epoch:
            self._swap()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """The averages stay: ``fit`` ends with them."""
        self._own = None

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Evaluate the averages."""
        self._swap()

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Go back to the weights."""
        self._release()

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Predict with the averages."""
        self._swap()

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Go back to the weights."""
        self._release()

    def get_state(self) -> dict[str, Any]:
        """The weights, where the averages are in their place."""
        return {"_own": self._own}

    def _swap(self) -> None:
        optimizer = self.model.optimizer
        if self._own is None and optimizer.built:
            self._own = [np.array(variable.numpy()) for variable in optimizer._variables]
            optimizer.finalize_variable_values()

    def _release(self) -> None:
        if self._own is not None:
            for variable, own in zip(self.model.optimizer._variables, self._own, strict=True):
                variable.assign(own)
            self._own = None
