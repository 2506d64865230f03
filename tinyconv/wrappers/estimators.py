"""The estimators: a classifier, a regressor, and both with the names of the old ``keras.wrappers.scikit_learn``."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from tinyconv import losses
from tinyconv.models import Model
from tinyconv.wrappers.base import Estimator
from tinyconv.wrappers.labels import Labels


class TinyConvClassifier(ClassifierMixin, Estimator):
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
        Weight of each class in the loss, by label; for one-hot rows by column.
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

    def predict_log_proba(self, X: Any, **predict_arguments: Any) -> np.ndarray:
        """Logarithms of :meth:`predict_proba`; minus infinity where that is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X, **predict_arguments))

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
        own = compute_sample_weight(by_class, y.argmax(axis=1) if self.target_type_ == "multiclass-onehot" else y)
        return own if sample_weight is None else own * sample_weight


class TinyConvRegressor(RegressorMixin, Estimator):
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
    ...     hidden = tc.layers.Dense(n_neurons, activation="relu", input_shape=(8,))
    ...     model = tc.Sequential([hidden, tc.layers.Dense(1)])
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
