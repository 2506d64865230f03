"""The estimators; see the package's docstring."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from tinyconv import losses, random
from tinyconv.models import Model
from tinyconv.wrappers.building import Frozen, build_model, compile_model, from_bytes, is_setting, route, to_bytes
from tinyconv.wrappers.labels import Labels

_FIT = ("epochs", "batch_size", "verbose", "callbacks", "validation_split")


class _Estimator(BaseEstimator):
    """What classifier and regressor share: settings, building, training, pickling."""

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
        found = [p.name for p in inspect.signature(_Estimator.__init__).parameters.values() if p.kind != p.VAR_KEYWORD]
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
        sample_weight = self._weights(y, sample_weight, arguments)
        if fresh:
            self._learn_targets(y, classes)
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


class TinyConvClassifier(ClassifierMixin, _Estimator):
    """A network as a scikit-learn classifier.

    Parameters
    ----------
    model : callable, Model or None
        A function that returns a model, compiled or not; a model, of which a copy is trained, from its present
        weights on; ``None``: one hidden layer of 100 units (``model__hidden_layer_sizes``). A function that takes
        ``meta`` gets facts about the data: ``n_features_in_``, ``X_shape_``, ``X_dtype_``, ``target_type_``,
        ``classes_``, ``n_classes_``, ``n_outputs_``, ``n_outputs_expected_``, ``output_activation_``.
    loss, optimizer, metrics : optional
        As for ``compile``. By default those with which the model is compiled; if it is not: the cross-entropy that
        fits the labels and the number of outputs, Adam, none.
    epochs, batch_size, verbose, callbacks, validation_split
        As for the model's ``fit``. Every ``fit`` trains with copies of the callbacks.
    random_state : int, RandomState or None
        Makes weights, shuffling and dropout repeatable; ``None``: tinyconv's own generator (``tc.set_seed``).
    warm_start : bool
        Whether ``fit`` goes on with the model of the last ``fit``.
    class_weight : dict, "balanced" or None
        Weight of each class in the loss, by label.
    **settings
        Routed by prefix: ``model__units=30`` for the function that makes the model, ``optimizer__learning_rate=0.1``,
        ``loss__label_smoothing=0.1``, ``compile__...``, ``fit__...``, ``predict__...``; without a prefix, further
        arguments of the function that makes the model.

    Attributes
    ----------
    model_ : Model
        The trained model.
    history_ : dict of str to list of float
        Loss and metrics of every epoch.
    classes_ : ndarray
        Labels in the order of ``predict_proba``'s columns; column numbers where ``y`` is a 0/1 matrix.
    n_features_in_ : int
        Size of the second axis of ``X``.

    Notes
    -----
    The model gets labels as its loss wants them: 0 and 1 for one output, the places of the labels in ``classes_`` for
    sparse losses, else one-hot vectors.

    Pickles and copies hold models as the bytes of their files, so own layers must be registered
    (``tc.registry.register``). With several processes (``n_jobs``) each computes with its share of the threads; give a
    ``random_state`` to make them repeatable.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from tinyconv.wrappers import TinyConvClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = TinyConvClassifier(epochs=30, optimizer__learning_rate=0.01, random_state=0).fit(X, y)
    >>> classifier.predict_proba(X).shape, bool(classifier.score(X, y) > 0.9)
    ((150, 3), True)
    """

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
        class_weight: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            model, loss=loss, optimizer=optimizer, metrics=metrics, epochs=epochs, batch_size=batch_size,
            verbose=verbose, callbacks=callbacks, validation_split=validation_split, random_state=random_state,
            warm_start=warm_start, **settings,
        )  # fmt: skip
        self.class_weight = class_weight

    @classmethod
    def _own_names(cls) -> list[str]:
        return sorted([*super()._own_names(), "class_weight"])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None, **fit_arguments: Any
    ) -> TinyConvClassifier:
        """Train for one more epoch, with a new model the first time.

        Parameters
        ----------
        X, y, sample_weight, **fit_arguments
            As for ``fit``.
        classes : array_like, optional
            In the first call: all labels, where ``y`` lacks some.
        """
        fresh = not hasattr(self, "model_")
        return self._train(X, y, sample_weight, {"epochs": 1, **fit_arguments}, fresh, classes)

    def predict(self, X: Any, **predict_arguments: Any) -> np.ndarray:
        """The most probable label of each sample; for a 0/1 matrix ``y`` a matrix, (N, C)."""
        probabilities = self.predict_proba(X, **predict_arguments)
        return self.target_encoder_.decode(probabilities)

    def predict_proba(self, X: Any, **predict_arguments: Any) -> np.ndarray:
        """Probabilities of the classes in the order of ``classes_``, (N, C), in float64."""
        outputs = self._outputs(X, predict_arguments)
        return self.target_encoder_.probabilities(outputs, self.model_)

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(self, X, y, reset=reset, allow_nd=True, multi_output=True)
        y = y.toarray() if issparse(y) else y
        check_classification_targets(y)
        if y.ndim == 1 or y.shape[1] == 1:
            return X, column_or_1d(y, warn=True)
        if not np.isin(y, (0, 1)).all():
            raise ValueError(f"Expected labels of shape (N,), or a matrix of 0 and 1. Received: {np.unique(y)} in y")
        return X, y

    def _learn_targets(self, y: np.ndarray, classes: Any) -> None:
        loss = None if self.loss is None else losses.get(self.loss)
        self.target_encoder_ = Labels(y, classes, several=isinstance(loss, losses.BinaryCrossentropy))
        self.classes_ = self.target_encoder_.classes
        self.n_classes_ = len(self.classes_)
        self.target_type_ = self.target_encoder_.kind

    def _facts(self) -> dict[str, Any]:
        return {
            "target_type_": self.target_type_,
            "classes_": self.classes_,
            "n_classes_": self.n_classes_,
            "n_outputs_": 1,
            "n_outputs_expected_": self.target_encoder_.units,
            "output_activation_": self.target_encoder_.activation,
        }

    def _default_loss(self, model: Model) -> str:
        return self.target_encoder_.default_loss(model.output_shape[-1])

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return self.target_encoder_.encode(y, self.model_)

    def _weights(self, y: np.ndarray, sample_weight: Any, arguments: dict[str, Any]) -> Any:
        by_class = arguments.pop("class_weight", self.class_weight)
        if by_class is None:
            return sample_weight
        own = compute_sample_weight(by_class, y)
        return own if sample_weight is None else own * sample_weight


class TinyConvRegressor(RegressorMixin, _Estimator):
    """A network as a scikit-learn regressor; ``score`` is the coefficient of determination R².

    Parameters
    ----------
    model, optimizer, metrics, epochs, batch_size, verbose, callbacks, validation_split, random_state, warm_start
        As for :class:`TinyConvClassifier`; ``meta`` has no ``classes_`` and ``n_classes_``.
    loss : optional
        As for ``compile``; by default that with which the model is compiled, or the mean squared error.
    **settings
        As for :class:`TinyConvClassifier`.

    Attributes
    ----------
    model_ : Model
        The trained model.
    history_ : dict of str to list of float
        Loss and metrics of every epoch.
    n_features_in_, n_outputs_ : int
        Size of the second axis of ``X``; number of targets.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> from tinyconv.wrappers import TinyConvRegressor
    >>> def build(units=10):
    ...     return tc.Sequential([tc.layers.Dense(units, activation="tanh"), tc.layers.Dense(1)])
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> regressor = TinyConvRegressor(build, model__units=20, optimizer__learning_rate=0.03, epochs=60, random_state=0)
    >>> bool(regressor.fit(X, np.sin(3 * X[:, 0])).score(X, np.sin(3 * X[:, 0])) > 0.9)
    True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_arguments: Any) -> TinyConvRegressor:
        """Train for one more epoch, with a new model the first time; arguments as for ``fit``."""
        return self._train(X, y, sample_weight, {"epochs": 1, **fit_arguments}, not hasattr(self, "model_"))

    def predict(self, X: Any, **predict_arguments: Any) -> np.ndarray:
        """Predicted targets, (N,) or (N, targets) as ``y`` was, in float64."""
        outputs = self._outputs(X, predict_arguments).astype(np.float64)
        return outputs[:, 0] if self._one_axis and outputs.shape[1] == 1 else outputs

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        return validate_data(self, X, y, reset=reset, allow_nd=True, multi_output=True, y_numeric=True)

    def _learn_targets(self, y: np.ndarray, classes: Any) -> None:
        self._one_axis = y.ndim == 1
        self.n_outputs_ = 1 if y.ndim == 1 else y.shape[1]

    def _facts(self) -> dict[str, Any]:
        return {
            "target_type_": "continuous" if self._one_axis else "continuous-multioutput",
            "n_outputs_": self.n_outputs_,
            "n_outputs_expected_": self.n_outputs_,
            "output_activation_": None,
        }

    def _default_loss(self, model: Model) -> str:
        return "mean_squared_error"

    def _encode(self, y: np.ndarray) -> np.ndarray:
        y = y.reshape(len(y), -1)
        if y.shape[1] != self.model_.output_shape[-1]:
            raise ValueError(f"The model has {self.model_.output_shape[-1]} outputs. Received: {y.shape[1]} targets")
        return y.astype("float32") if y.dtype != np.float64 else y


class _KerasNames:
    """The names of the old ``keras.wrappers.scikit_learn``: ``build_fn`` makes the model, ``model`` is the result."""

    _builder_name = "build_fn"

    def __init__(self, build_fn: Any = None, **settings: Any) -> None:
        super().__init__(build_fn, **settings)  # type: ignore[call-arg]

    @property
    def model(self) -> Model:
        """The trained model."""
        if "model_" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no model before fit")
        return self.__dict__["model_"]

    @model.setter
    def model(self, build_fn: Any) -> None:
        self.__dict__["build_fn"] = build_fn


class KerasClassifier(_KerasNames, TinyConvClassifier):
    """:class:`TinyConvClassifier` with the names of the old ``keras.wrappers.scikit_learn``.

    Parameters
    ----------
    build_fn : callable
        Makes a compiled model; its arguments are settings of the estimator.
    **settings
        As for :class:`TinyConvClassifier`.

    Attributes
    ----------
    model : Model
        The trained model.

    Examples
    --------
    >>> from tinyconv.wrappers import KerasClassifier
    >>> KerasClassifier(lambda units=5: ..., units=7, epochs=3).get_params()["units"]
    7
    """


class KerasRegressor(_KerasNames, TinyConvRegressor):
    """:class:`TinyConvRegressor` with the names of the old ``keras.wrappers.scikit_learn``; its score is minus the MSE.

    As every scikit-learn estimator ``fit`` returns the estimator; what Keras returned is in ``history_``.

    Parameters
    ----------
    build_fn : callable
        Makes a compiled model; its arguments are settings of the estimator.
    **settings
        As for :class:`TinyConvRegressor`.

    Attributes
    ----------
    model : Model
        The trained model.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> from tinyconv.wrappers import KerasRegressor
    >>> def build_model(n_neurons=30):
    ...     model = tc.Sequential([tc.layers.Dense(n_neurons, input_shape=(8,)), tc.layers.Dense(1)])
    ...     model.compile(loss="mse", optimizer=tc.optimizers.SGD(0.003))
    ...     return model
    >>> regressor = KerasRegressor(build_model, n_neurons=5)
    >>> regressor.fit(np.ones((4, 8)), np.ones(4), epochs=2).model.count_params()
    51
    """

    def score(self, X: Any, y: Any, sample_weight: Any = None, **predict_arguments: Any) -> float:
        """Minus the mean squared error: larger is better, as a search expects."""
        y = np.asarray(y, np.float64)
        errors = (np.asarray(self.predict(X, **predict_arguments), np.float64).reshape(y.shape) - y) ** 2
        return -float(np.average(errors.reshape(len(y), -1).mean(axis=1), weights=sample_weight))
