"""What classifier and regressor share: settings by name, building and training a model, pickling it as data."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from tinyconv import random
from tinyconv.models import Model
from tinyconv.wrappers.building import Frozen, build_model, compile_model, from_bytes, is_setting, route, to_bytes

_FIT = ("epochs", "batch_size", "verbose", "callbacks", "validation_split")


class Estimator(BaseEstimator):
    """Base of the classifier and the regressor, which say how targets are encoded."""

    def __init__(
        self,
        model: Any = None,
        *,
        loss: Any = None,
        optimizer: Any = None,
        metrics: Any = None,
        epochs: int = 1,
        batch_size: int | None = None,
        verbose: int | str = 0,
        callbacks: Any = None,
        validation_split: float = 0.0,
        random_state: Any = None,
        warm_start: bool = False,
        **settings: Any,
    ) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = metrics
        self.epochs = epochs
        self.batch_size = batch_size
        self.verbose = verbose
        self.callbacks = callbacks
        self.validation_split = validation_split
        self.random_state = random_state
        self.warm_start = warm_start
        self.__dict__.update(settings)  # checked in fit, as scikit-learn wants it

    # --- settings ----------------------------------------------------------------------------------------------

    _builder_name = "model"  # the setting that holds the model or the function that makes one

    @property
    def _builder(self) -> Any:
        return self.__dict__[self._builder_name]

    @classmethod
    def _own_names(cls) -> list[str]:
        """Settings in the constructor's signature."""
        found = [p.name for p in inspect.signature(Estimator.__init__).parameters.values() if p.kind != p.VAR_KEYWORD]
        return sorted(cls._builder_name if name == "model" else name for name in found[1:])

    def _own(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self._own_names()}

    def _extra(self) -> dict[str, Any]:
        """Settings that are not in the signature: ``model__units``, arguments of the function that makes the model."""
        own = self._own_names()
        return {
            name: value
            for name, value in sorted(self.__dict__.items())
            if name not in own and not name.startswith("_") and not name.endswith("_")
        }

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All settings by name, the routed ones included."""
        return {**self._own(), **self._extra()}

    def set_params(self, **settings: Any) -> Any:
        """Change settings, also routed ones such as ``optimizer__learning_rate``."""
        builder = settings.get(self._builder_name, self._builder)
        for name in settings:
            if name not in self.get_params() and not is_setting(builder, name):
                raise ValueError(f"Invalid parameter {name!r} for estimator {self}. {self._hint(builder)}")
        for name, value in settings.items():
            setattr(self, name, value)
        return self

    def _hint(self, builder: Any) -> str:
        of_builder = f", {getattr(builder, '__name__', 'model')}'s arguments" if callable(builder) else ""
        own = ", ".join(self._own_names())
        return f"Expected {own}{of_builder}, or model__..., optimizer__..., loss__..., fit__..."

    def __sklearn_clone__(self) -> Any:
        """A new estimator with equal settings. Training never changes a model given as ``model``, so it is shared."""
        settings: dict[str, Any] = self.get_params(deep=False)
        for name, value in settings.items():
            settings[name] = value if isinstance(value, Model) else clone(value, safe=False)
        return type(self)(**settings)

    # --- training ----------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_arguments: Any) -> Any:
        """Build, compile and train a model; with ``warm_start`` go on training the one there is.

        Parameters
        ----------
        X : array_like, shape (N, ...)
            Samples: a table, or images.
        y : array_like, shape (N,) or (N, C)
        sample_weight : array_like, shape (N,), optional
        **fit_arguments
            For the model's ``fit``, before all settings: ``validation_data``, ``callbacks``, ``epochs``, ...
        """
        fresh = not (self.warm_start and hasattr(self, "model_"))
        return self._train(X, y, sample_weight, fit_arguments, fresh)

    def _train(
        self, X: Any, y: Any, sample_weight: Any, arguments: Mapping[str, Any], fresh: bool, classes: Any = None
    ) -> Any:
        for name in self._extra():
            if not is_setting(self._builder, name):
                raise TypeError(f"{type(self).__name__} has no setting {name!r}. {self._hint(self._builder)}")
        X, y = self._checked(X, y, reset=fresh)
        given = {**route(self._extra(), "fit"), **arguments}
        arguments = {**{name: self.__dict__[name] for name in _FIT}, **given}
        if "callbacks" not in given:
            arguments["callbacks"] = copy.deepcopy(self.callbacks)  # they change while they watch, settings do not
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        if fresh:
            self._learn_targets(y, classes)
        sample_weight = self._weights(y, sample_weight, arguments)
        if fresh:
            self.model_ = self._build(X)
            self.history_: dict[str, list[float]] = {}
        if arguments.get("validation_data") is not None:
            arguments["validation_data"] = self._validation(arguments["validation_data"])
        history = self.model_.fit(X, self._encode(y), sample_weight=sample_weight, **arguments).history
        for name, values in history.items():
            self.history_.setdefault(name, []).extend(values)
        return self

    def _build(self, X: Any) -> Model:
        """A fresh compiled model, its weights and its stream of random numbers from ``random_state``."""
        meta = {"n_features_in_": self.n_features_in_, "X_shape_": X.shape, "X_dtype_": X.dtype, **self._facts()}
        seeded = self.random_state is not None
        seeds: list[int] = check_random_state(self.random_state).randint(2**31 - 1, size=2).tolist() if seeded else []
        with random.use(np.random.default_rng(seeds[0]) if seeded else random.generator()):
            model = build_model(self._builder, self._own(), self._extra(), meta)
            if not model.built:
                model.build((None, *X.shape[1:]))
        if not isinstance(model.output_shape, tuple) or len(model.output_shape) != 2:
            raise ValueError(
                f"{type(self).__name__} needs a model with one output of shape (N, units). "
                f"Received: output shape {model.output_shape}"
            )
        compile_model(model, self._own(), self._extra(), self._default_loss(model))
        if seeded:
            model._set_stream(np.random.default_rng(seeds[1]))
        return model

    def _validation(self, data: Any) -> tuple[Any, ...]:
        """Validation data ``(X, y)`` or ``(X, y, sample_weight)`` as the model expects them."""
        if not isinstance(data, tuple | list) or not 2 <= len(data) <= 3:
            expected = "Expected validation_data as (X, y) or (X, y, sample_weight)"
            raise ValueError(f"{expected}. Received: {type(data).__name__}")
        X, y = self._checked(data[0], data[1], reset=False)
        return X, self._encode(y), *data[2:]

    def _outputs(self, X: Any, arguments: Mapping[str, Any]) -> np.ndarray:
        """The model's outputs, (N, units)."""
        check_is_fitted(self, "model_")
        X = validate_data(self, X, reset=False, allow_nd=True)
        settings = {"batch_size": self.batch_size, "verbose": self.verbose, **route(self._extra(), "predict")}
        return self.model_.predict(X, **{**settings, **arguments})

    # --- what a classifier and a regressor do in different ways --------------------------------------------------

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Samples and targets as arrays."""
        raise NotImplementedError

    def _learn_targets(self, y: np.ndarray, classes: Any) -> None:
        """Remember what kind of targets these are."""
        raise NotImplementedError

    def _facts(self) -> dict[str, Any]:
        """What a function that makes a model is told about the targets."""
        raise NotImplementedError

    def _default_loss(self, model: Model) -> str:
        raise NotImplementedError

    def _encode(self, y: np.ndarray) -> np.ndarray:
        """Targets as the model's loss expects them."""
        raise NotImplementedError

    def _weights(self, y: np.ndarray, sample_weight: Any, arguments: dict[str, Any]) -> Any:
        """Sample weights."""
        return sample_weight

    # --- pickling ----------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Attributes, models as the bytes of their files: a pickle holds data and names of functions, no code."""
        state = super().__getstate__()
        return {k: Frozen(to_bytes(v)) if isinstance(v, Model) else v for k, v in state.items()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__({k: from_bytes(v.data) if isinstance(v, Frozen) else v for k, v in state.items()})
