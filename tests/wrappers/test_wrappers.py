"""The scikit-learn estimators: its own checks, searches and pipelines, and numbers that scikit-learn recomputes."""

import copy
import pickle
import subprocess
import sys
import textwrap
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import reciprocal
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification, make_multilabel_classification, make_regression
from sklearn.metrics import accuracy_score, mean_squared_error, r2_score
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

import tinyconv as tc
from tinyconv.wrappers import KerasClassifier, KerasRegressor, TinyConvClassifier, TinyConvRegressor
from tinyconv.wrappers.labels import Labels

# Checks of scikit-learn that are expected to fail, and why.
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "A batch has a number of samples, and its loss is divided by that number, as in Keras: a sample of weight 2 "
        "is one sample of a batch, a repeated one is two. The results agree to about 1e-5, the check asks for 1e-7."
    ),
}


def estimators():
    adam = tc.optimizers.Adam(0.01)
    return [TinyConvClassifier(epochs=40, optimizer=adam), TinyConvRegressor(epochs=60, optimizer=adam)]


@parametrize_with_checks(estimators(), expected_failed_checks=lambda estimator: EXPECTED_FAILURES)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


# --- functions that make models ------------------------------------------------------------------------------------


def network(meta, units=8, activation="relu"):
    """Not compiled; as many outputs as the data want."""
    outputs = meta["n_outputs_expected_"]
    last = "softmax" if outputs > 1 else "sigmoid"
    return tc.Sequential([tc.layers.Dense(units, activation=activation), tc.layers.Dense(outputs, last)])


def linear(outputs=1):
    model = tc.Sequential([tc.layers.Dense(outputs, input_shape=(3,), kernel_initializer="zeros")])
    model.compile(tc.optimizers.SGD(0.05), "mse")
    return model


def build_model(n_hidden=1, n_neurons=30, learning_rate=3e-3, input_shape=(8,)):
    """The book's regression network."""
    model, options = tc.Sequential(), {"input_shape": input_shape}
    for _ in range(n_hidden):
        model.add(tc.layers.Dense(n_neurons, activation="relu", **options))
        options = {}
    model.add(tc.layers.Dense(1, **options))
    model.compile(loss="mse", optimizer=tc.optimizers.SGD(learning_rate))
    return model


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def classifier(**settings):
    defaults = {"epochs": 15, "optimizer__learning_rate": 0.03, "random_state": 0}
    return TinyConvClassifier(network, **{**defaults, **settings})


# --- settings --------------------------------------------------------------------------------------------------


def test_settings_are_found_changed_and_cloned():
    estimator = classifier(model__units=5, fit__shuffle=False)
    assert estimator.get_params()["model__units"] == 5
    estimator.set_params(model__units=7, epochs=2, optimizer__learning_rate=0.5)
    copied = clone(estimator)
    assert copied.get_params() == estimator.get_params()
    assert (copied.model__units, copied.epochs, copied.optimizer__learning_rate) == (7, 2, 0.5)
    with pytest.raises(ValueError, match="Invalid parameter 'unit'"):
        estimator.set_params(unit=7)


def test_settings_reach_their_parts(iris):
    watched = []
    estimator = classifier(
        model__units=5,
        activation="tanh",  # an argument of the function, without a prefix
        optimizer="sgd",
        optimizer__lr=0.5,
        optimizer__momentum=0.9,
        loss="categorical_crossentropy",
        loss__label_smoothing=0.1,
        metrics=["accuracy"],
        fit__callbacks=[tc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: watched.append(epoch))],
        compile__run_eagerly=True,
        epochs=2,
    ).fit(*iris, epochs=3)
    model = estimator.model_
    assert model.layers[0].units == 5
    assert repr(model.layers[0].activation).count("tanh")
    assert isinstance(model.optimizer, tc.optimizers.SGD)
    assert (model.optimizer.learning_rate, model.optimizer.momentum) == (0.5, 0.9)
    assert model.objective.loss.label_smoothing == 0.1
    assert model.jit_compile is False
    assert list(estimator.history_) == ["loss", "accuracy"]
    assert watched == [0, 1, 2]
    assert estimator.epochs == 2


def test_what_the_author_compiled_stays_unless_it_is_overruled():
    X, y = make_regression(40, 3, random_state=0)
    assert TinyConvRegressor(linear).fit(X, y).model_.optimizer.learning_rate == 0.05
    model = TinyConvRegressor(linear, optimizer__learning_rate=0.01).fit(X, y).model_
    assert repr(model.optimizer) == "SGD()"  # 0.01 is SGD's default
    model = TinyConvRegressor(linear, loss="mae").fit(X, y).model_
    assert (model.objective.loss, model.optimizer.learning_rate) == ("mae", 0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unit": 3}, "no setting 'unit'"),
        ({"modl__units": 3}, "no setting 'modl__units'"),
        ({"model": 3}, "a function that returns one. Received: 3"),
        ({"model": lambda: 3}, "Received: one that returned 3"),
        ({"model": partial(linear, outputs=2)}, "needs 3 outputs. Received: one with 2"),
        ({"loss": "crossentropi"}, "Unknown loss"),
    ],
)
def test_wrong_settings_are_told_in_fit(settings, message, iris):
    X, y = iris
    with pytest.raises((TypeError, ValueError), match=message):
        TinyConvClassifier(**settings).fit(X[:, :3], y)


# --- labels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [np.array(["setosa", "versicolor", "virginica"]), np.array([7, -1, 3]), None])
def test_labels_of_any_kind(iris, names):
    X, y = iris
    labels = y if names is None else names[y]
    fitted = classifier().fit(X, labels)
    assert_array_equal(fitted.classes_, np.unique(labels))
    probabilities = fitted.model_.predict(X)
    assert_allclose(fitted.predict_proba(X), probabilities, atol=1e-6)
    assert_array_equal(fitted.predict(X), fitted.classes_[probabilities.argmax(1)])
    assert fitted.score(X, labels) == accuracy_score(labels, fitted.predict(X)) > 0.9


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("logits", [False, True])
def test_two_classes_with_one_or_two_outputs(outputs, logits):
    X, y = make_classification(120, 3, n_informative=3, n_redundant=0, random_state=1)
    activation = None if logits else "sigmoid" if outputs == 1 else "softmax"
    loss = None
    if logits:
        kind = tc.losses.BinaryCrossentropy if outputs == 1 else tc.losses.SparseCategoricalCrossentropy
        loss = kind(from_logits=True)
    build = lambda: tc.Sequential([tc.layers.Dense(outputs, activation)])  # noqa: E731
    estimator = TinyConvClassifier(build, loss=loss, epochs=30, optimizer="sgd", random_state=0)
    fitted = estimator.fit(X, np.array(["no", "yes"])[y])
    z = X @ fitted.model_.get_weights()[0].astype("f8") + fitted.model_.get_weights()[1]
    z = z[:, 0] if outputs == 1 else z[:, 1] - z[:, 0]
    expected = 1 / (1 + np.exp(-z))  # a softmax of two is a sigmoid of the difference
    assert_allclose(fitted.predict_proba(X), np.stack([1 - expected, expected], 1), atol=1e-6)
    assert_array_equal(fitted.predict(X) == "yes", expected > 0.5)


def test_hinge_outputs_lie_between_minus_one_and_one():
    X, y = make_classification(120, 3, n_informative=3, n_redundant=0, random_state=1)
    build = lambda: tc.Sequential([tc.layers.Dense(1, "tanh")])  # noqa: E731
    fitted = TinyConvClassifier(build, loss="hinge", epochs=30, random_state=0).fit(X, y)
    assert_array_equal(fitted.predict(X), fitted.model_.predict(X)[:, 0] > 0)


@pytest.mark.parametrize("loss", [None, "categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_one_hot_labels_give_one_hot_predictions(iris, loss):
    X, y = iris
    one_hot = np.eye(3, dtype=int)[y]
    fitted = classifier(loss=loss).fit(X, one_hot)
    plain = classifier().fit(X, y)  # the same loss by its other name
    assert_allclose(fitted.predict_proba(X), plain.predict_proba(X), atol=1e-5)
    assert_array_equal(fitted.predict(X), np.eye(3)[plain.predict(X)])
    assert fitted.score(X, one_hot) == plain.score(X, y)


def test_several_labels_per_sample():
    X, y = make_multilabel_classification(150, 6, n_classes=4, n_labels=2, random_state=0)
    fitted = TinyConvClassifier(epochs=30, optimizer__learning_rate=0.01, random_state=0).fit(X, y)
    assert fitted.target_type_ == "multilabel-indicator"
    assert_array_equal(fitted.predict(X), fitted.model_.predict(X) > 0.5)
    assert (fitted.predict(X) == y).mean() > 0.8


KINDS = (st.integers(-5, 5), st.text(st.characters(codec="ascii", min_codepoint=32), max_size=3), st.booleans())


@given(labels=st.one_of(*(st.lists(kind, min_size=1) for kind in KINDS)), sparse=st.booleans())
def test_codes_and_labels_are_inverse(labels, sparse):
    y = np.array(labels)
    encoder = Labels(y)
    model = tc.Sequential([tc.layers.Dense(encoder.units, input_shape=(2,))])
    binary = encoder.units == 1
    model.compile(loss="binary_crossentropy" if binary else f"{'sparse_' * sparse}categorical_crossentropy")
    codes = encoder.encode(y, model)
    expected = np.unique(y, return_inverse=True)[1]  # places among the sorted labels
    one_hot = (expected[:, None] == np.arange(len(encoder.classes))).astype(float)
    assert_array_equal(codes, expected[:, None] if binary else expected if sparse else one_hot)
    assert_array_equal(encoder.decode(one_hot), y)


def test_classes_that_the_first_part_lacks(iris):
    X, y = iris
    estimator = classifier()
    for _ in range(3):
        for part in (slice(0, 100), slice(50, 150)):  # classes 0 and 1, then 1 and 2
            estimator.partial_fit(X[part], y[part], classes=[0, 1, 2])
    assert len(estimator.history_["loss"]) == 6
    assert_array_equal(estimator.classes_, [0, 1, 2])
    with pytest.raises(ValueError, match=r"from the classes \[0, 1, 2\]. Received: \[5\]"):
        estimator.partial_fit(X, y + 5 * (y == 0))


# --- training --------------------------------------------------------------------------------------------------


def test_random_state_alone_decides(iris):
    X, y = iris
    first = classifier(random_state=3).fit(X, y).predict_proba(X)
    assert_array_equal(first, classifier(random_state=3).fit(X, y).predict_proba(X))
    assert (first != classifier(random_state=4).fit(X, y).predict_proba(X)).any()
    results = []
    for _ in range(2):
        tc.set_seed(5)
        results.append(classifier(random_state=None).fit(X, y).predict_proba(X))
    assert_array_equal(*results)


def test_a_linear_model_finds_the_least_squares_solution():
    X, y = make_regression(64, 3, noise=1.0, random_state=0)
    y = np.stack([y, -2 * y], 1) / 50
    weights = np.random.default_rng(0).uniform(0.2, 2, 64)
    fitted = TinyConvRegressor(partial(linear, outputs=2), epochs=400, batch_size=64).fit(X, y, sample_weight=weights)
    A = np.c_[X, np.ones(64)] * np.sqrt(weights)[:, None]
    solution = np.linalg.lstsq(A, y * np.sqrt(weights)[:, None], rcond=None)[0]
    assert_allclose(np.vstack(fitted.model_.get_weights()), solution, atol=1e-5)
    assert_allclose(fitted.score(X, y), r2_score(y, np.c_[X, np.ones(64)] @ solution), rtol=1e-6)
    assert fitted.predict(X).shape == (64, 2)


def test_class_weight_is_a_sample_weight_by_label(iris):
    X, y = iris[0][:120], iris[1][:120]
    names = np.array(["a", "b", "c"])[y]
    table = dict(zip("abc", compute_class_weight("balanced", classes=np.unique(names), y=names), strict=True))
    by_sample = classifier().fit(X, names, sample_weight=np.array([table[name] for name in names])).predict_proba(X)
    for settings in ({"class_weight": "balanced"}, {"class_weight": table}, {"fit__class_weight": table}):
        assert_allclose(classifier(**settings).fit(X, names).predict_proba(X), by_sample, rtol=1e-6)
    assert abs(by_sample - classifier().fit(X, names).predict_proba(X)).max() > 1e-3


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 2.0, 2: 5.0}])
def test_class_weights_of_one_hot_rows_are_those_of_their_labels(iris, class_weight):
    X, y = iris
    few = np.r_[0:50, 50:70, 100:108]  # of the three classes
    X, y = X[few], y[few]
    labels, rows = (
        TinyConvClassifier(random_state=0, epochs=2, class_weight=class_weight).fit(X, targets).predict_proba(X)
        for targets in (y, np.eye(3, dtype=int)[y])
    )
    assert_allclose(labels, rows, rtol=1e-5)
    plain = TinyConvClassifier(random_state=0, epochs=2).fit(X, y).predict_proba(X)
    assert not np.allclose(labels, plain, rtol=1e-3)


def test_warm_start_goes_on(iris):
    X, y = iris
    warm = classifier(warm_start=True, epochs=2).fit(X, y).fit(X, y)
    assert_array_equal(warm.predict_proba(X), classifier(epochs=4).fit(X, y).predict_proba(X))
    assert len(warm.history_["loss"]) == 4
    assert len(classifier(epochs=2).fit(X, y).fit(X, y).history_["loss"]) == 2


def test_a_model_is_a_template_and_stays_as_it_is(iris):
    X, y = iris
    model = tc.Sequential([tc.layers.Dense(3, "softmax", input_shape=(4,))])
    model.compile("adam", "sparse_categorical_crossentropy")
    before = model.get_weights()
    scores = cross_val_score(
        TinyConvClassifier(model, epochs=20, optimizer__learning_rate=0.1, random_state=0), X, y, cv=2
    )
    assert scores.min() > 0.8
    for old, new in zip(before, model.get_weights(), strict=True):
        assert_array_equal(old, new)
    untrained = TinyConvClassifier(model, epochs=0).fit(X, y)
    assert_array_equal(untrained.predict_proba(X).argmax(1), model.predict(X).argmax(1))


def test_callbacks_of_the_settings_stay_fresh_and_validation_labels_are_encoded(iris):
    X, y = iris
    names = np.array(["a", "b", "c"])[y]

    class Counter(tc.callbacks.Callback):
        seen = 0

        def on_epoch_end(self, epoch, logs=None):
            self.seen += 1
            assert "val_loss" in logs

    counter = Counter()
    estimator = classifier(callbacks=[counter], epochs=3).fit(X, names, validation_data=(X[::3], names[::3]))
    assert counter.seen == 0
    own = Counter()
    estimator.fit(X, names, validation_data=(X[::3], names[::3]), callbacks=[own])
    assert own.seen == 3
    expected = -np.log(estimator.predict_proba(X[::3])[np.arange(50), y[::3]]).mean()
    assert_allclose(estimator.history_["val_loss"][-1], expected, rtol=1e-5)


def test_the_default_network():
    X, y = make_regression(40, 3, n_targets=2, random_state=0)
    model = TinyConvRegressor(hidden_layer_sizes=(7, 5), model__activation="tanh").fit(X, y).model_
    assert model.count_params() == (3 + 1) * 7 + (7 + 1) * 5 + (5 + 1) * 2
    assert isinstance(model.optimizer, tc.optimizers.Adam)


def test_images(tmp_path):
    (x, y), _ = tc.datasets.mnist.load_data("subset")
    x, y = x[:400, ..., None] / np.float32(255), y[:400]

    def convolutional(meta):
        assert meta["X_shape_"] == (400, 28, 28, 1)
        return tc.applications.ShallowNet.build(28, 28, 1, meta["n_classes_"])

    for model in (convolutional, None):  # the default network flattens images
        assert TinyConvClassifier(model, epochs=4, random_state=0).fit(x, y).score(x, y) > 0.8


# --- pickles ---------------------------------------------------------------------------------------------------


def test_pickles_and_copies_hold_models_as_data(iris, tmp_path):
    X, y = iris
    fitted = classifier(metrics=["accuracy"], warm_start=True, epochs=3).fit(X, y)
    data = pickle.dumps(fitted)
    assert b"tinyconv.models" not in data
    assert b"tinyconv.layers" not in data  # the model is in there as its file, not as objects
    file = tmp_path / "model.tinyconv"
    fitted.model_.save(file)
    assert file.read_bytes()[-1000:] in data  # weights
    expected = fitted.predict_proba(X)
    for other in (pickle.loads(data), copy.deepcopy(fitted)):
        assert_array_equal(other.predict_proba(X), expected)
        assert other.history_ == fitted.history_
        assert other.model_ is not fitted.model_
        other.fit(X, y)  # the optimizer's state and the order of the samples too
    fitted.fit(X, y)
    assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))


# --- searches --------------------------------------------------------------------------------------------------


def test_pipeline_and_grid_search_in_processes(iris):
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), classifier(epochs=6))
    grid = {
        "tinyconvclassifier__model__units": [2, 16],
        "tinyconvclassifier__optimizer__learning_rate": [1e-5, 0.05],
    }
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(X, y)
    alone = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert search.best_params_["tinyconvclassifier__optimizer__learning_rate"] == 0.05
    assert search.score(X, y) > 0.9


def threads_used(estimator, X, y):
    """A score that is really a count."""
    import numba

    estimator.predict(X)
    return numba.get_num_threads()


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_jobs_do_not_hang_and_share_the_threads(backend, iris):
    from joblib import cpu_count, parallel_backend

    expected = cross_val_score(classifier(epochs=2), *iris, cv=2)  # kernels have run: forked children compute serially
    with parallel_backend(backend, n_jobs=2):
        assert_array_equal(cross_val_score(classifier(epochs=2), *iris, cv=2), expected)
        if backend == "loky" and tc.backends.default().name == "cpu":
            counts = cross_val_score(classifier(epochs=1), *iris, cv=2, scoring=threads_used)
            assert counts.max() <= max(1, cpu_count() // 2)


def test_the_books_randomised_search():
    """Program 16.3, smaller: 8 features, keyword arguments of fit are relayed, score is minus the MSE."""
    X, y = make_regression(240, 8, noise=0.1, random_state=0)
    X, y = X.astype("f4"), (y / y.std()).astype("f4")
    X_train, X_valid, X_test, y_train, y_valid, y_test = X[:160], X[160:200], X[200:], y[:160], y[160:200], y[200:]
    np.random.seed(42)  # noqa: NPY002 (as in the book: RandomizedSearchCV without random_state draws from it)
    distributions = {
        "n_hidden": [0, 1, 2, 3],
        "n_neurons": np.arange(1, 100),
        "learning_rate": reciprocal(3e-4, 3e-2),
    }
    search = RandomizedSearchCV(KerasRegressor(build_model, random_state=0), distributions, n_iter=4, cv=3, n_jobs=2)
    ends = []
    watch = tc.callbacks.LambdaCallback(on_epoch_end=partial(_note, ends))
    search.fit(X_train, y_train, epochs=5, validation_data=(X_valid, y_valid), callbacks=[watch])
    assert set(search.best_params_) == set(distributions)
    best = search.best_estimator_
    assert isinstance(best.model, tc.Model)
    assert best.model.optimizer.learning_rate == search.best_params_["learning_rate"]
    assert len(best.model.layers) == search.best_params_["n_hidden"] + 1
    assert set(best.history_) == {"loss", "val_loss"}
    assert ends == [0, 1, 2, 3, 4]  # of the last fit, in this process
    assert search.best_score_ == search.cv_results_["mean_test_score"].max() < 0
    assert_allclose(search.score(X_test, y_test), -mean_squared_error(y_test, best.model.predict(X_test)), rtol=1e-6)


def _note(ends, epoch, logs):
    ends.append(epoch)


def test_the_names_of_keras(iris):
    X, y = iris
    regressor = KerasRegressor(build_fn=build_model, n_neurons=5, input_shape=(4,), epochs=3, random_state=0)
    with pytest.raises(AttributeError, match="no model before fit"):
        _ = regressor.model
    assert clone(regressor).fit(X, y).model.count_params() == 4 * 5 + 5 + 5 + 1
    assert len(regressor.fit(X, y, epochs=4, verbose=0).history_["loss"]) == 4
    weights = np.arange(150.0)
    expected = -mean_squared_error(y, regressor.predict(X), sample_weight=weights)
    assert_allclose(regressor.score(X, y, sample_weight=weights), expected, rtol=1e-12)
    restored = pickle.loads(pickle.dumps(regressor))
    assert_array_equal(restored.predict(X), regressor.predict(X))
    named = KerasClassifier(network, units=4, epochs=2, random_state=0)
    assert named.get_params()["units"] == 4
    assert set(named.fit(X, y).predict(X)) <= {0, 1, 2}
    assert named.model.layers[0].units == 4


# --- without scikit-learn ------------------------------------------------------------------------------------------


def test_scikit_learn_is_imported_at_first_use_only():
    code = """
        import sys
        sys.modules["sklearn"] = None  # as if it were not installed
        import tinyconv, tinyconv.wrappers
        try:
            tinyconv.wrappers.TinyConvClassifier
        except ImportError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout == "tinyconv.wrappers.TinyConvClassifier needs scikit-learn: pip install 'scikit-learn>=1.6'\n"


@pytest.mark.filterwarnings("error")
def test_large_scores_are_certain():
    model = tc.Sequential([tc.layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", tc.losses.BinaryCrossentropy(from_logits=True))
    found = Labels(np.array([0, 1])).probabilities(np.array([[-1000.0], [0.0], [1000.0]], "float32"), model)
    assert_array_equal(found, [[1, 0], [0.5, 0.5], [0, 1]])


def test_logarithms_of_probabilities():
    model = tc.Sequential([tc.layers.Dense(1, input_shape=(1,), kernel_initializer="ones")])
    model.compile("sgd", tc.losses.BinaryCrossentropy(from_logits=True))
    X, y = np.array([[-1000.0], [0.0], [1000.0]]), np.array([0, 1, 1])
    estimator = TinyConvClassifier(model, optimizer__learning_rate=0.0).fit(X, y)
    assert_allclose(estimator.predict_log_proba(X), [[0, -np.inf], [np.log(0.5)] * 2, [-np.inf, 0]])
