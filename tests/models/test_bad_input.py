"""Bad input: the message names the model or layer, what was expected and what was received. Nothing is trained."""

import numpy as np
import pytest

import tinyconv as tc

L = tc.layers
X = np.random.default_rng(0).random((12, 8, 8, 1)).astype("float32")
Y = np.eye(3)[np.arange(12) % 3]


@pytest.fixture(scope="module")
def model():
    made = tc.Sequential(
        [L.Conv2D(2, 3, input_shape=(8, 8, 1), name="conv"), L.Flatten(), L.Dense(3, activation="softmax", name="top")],
        name="net",
    )
    made.compile("sgd", "categorical_crossentropy", ["accuracy"])
    return made


def with_nan(y, row):
    y = y.copy()
    y[row, 0] = np.nan
    return y


NAMES = np.array(["cat", "dog", "panda"])[np.arange(12) % 3]

# arguments of fit, and what the message must hold
FIT = {
    "un-batched image": ((X[0], Y[:1]), ["net", "(None, 8, 8, 1)", "shape (8, 8, 1)", "np.expand_dims(x, 0)"]),
    "no channel axis": ((X[..., 0], Y), ["net", "shape (12, 8, 8)", "np.expand_dims(x, 3)"]),
    "wrong rank": ((X.reshape(12, 64), Y), ["net", "(None, 8, 8, 1)", "shape (12, 64)"]),
    "wrong channels": ((np.repeat(X, 3, axis=3), Y), ["net", "(None, 8, 8, 1)", "(12, 8, 8, 3)"]),
    "wrong size": ((X[:, :7], Y), ["net", "(12, 7, 8, 1)"]),
    "lengths": ((X, Y[:5]), ["net", "12 in x", "5 in y"]),
    "weights' length": ((X, Y, {"sample_weight": [1, 2]}), ["12 in x", "2 in sample_weight"]),
    "empty": ((X[:0], Y[:0]), ["net", "at least one sample"]),
    "NaN label": ((X, with_nan(Y, 7)), ["net", "NaN", "sample 7"]),
    "NaN label in a batch": (([(X, with_nan(Y, 2))],), ["net", "NaN", "sample 2"]),
    "names as labels": ((X, NAMES), ["net", "numbers", "<U5", "LabelBinarizer"]),
    "names of objects": ((X, NAMES.astype(object)), ["net", "numbers", "object"]),
    "class numbers": ((X, Y.argmax(1)), ["net", "top", "(12, 3)", "(12,)", "sparse_categorical_crossentropy"]),
    "too many classes": ((X, np.eye(4)[np.arange(12) % 3]), ["net", "top", "(12, 3)", "(12, 4)"]),
    "no labels": ((X,), ["net", "top", "no labels"]),
    "different images": (([np.zeros((8, 8, 1)), np.zeros((9, 8, 1))], Y[:2]), ["net", "x", "different shapes"]),
    "a scalar": ((np.float32(3), Y), ["net", "batch axis"]),
    "labels beside an iterable": ((iter([(X, Y)]), Y), ["iterable"]),
    "not data": ((3.5, Y), ["iterable of batches", "float"]),
    "four parts": ((iter([(X, Y, Y, Y)]),), ["4 parts"]),
    "batch of other shape": (([(X[:, :5], Y)],), ["net", "(12, 5, 8, 1)"]),
    "batch_size 0": ((X, Y, {"batch_size": 0}), ["batch_size", ">= 1", "0"]),
    "batch_size 2.5": ((X, Y, {"batch_size": 2.5}), ["batch_size", "2.5"]),
    "epochs -1": ((X, Y, {"epochs": -1}), ["epochs", ">= 0", "-1"]),
    "epochs 1.0": ((X, Y, {"epochs": 1.0}), ["epochs", "1.0"]),
    "initial_epoch -1": ((X, Y, {"initial_epoch": -1}), ["initial_epoch", "-1"]),
    "steps 0": ((X, Y, {"steps_per_epoch": 0}), ["steps", ">= 1", "0"]),
    "verbose 3": ((X, Y, {"verbose": 3}), ["verbose", "3"]),
    "verbose loud": ((X, Y, {"verbose": "loud"}), ["verbose", "'loud'"]),
    "split 1": ((X, Y, {"validation_split": 1.0}), ["validation_split", "1.0"]),
    "split -0.1": ((X, Y, {"validation_split": -0.1}), ["validation_split", "-0.1"]),
    "split of nothing": ((X[:1], Y[:1], {"validation_split": 0.5}), ["validation_split=0.5", "1 samples"]),
    "split of an iterable": (([(X, Y)], None, {"validation_split": 0.2}), ["validation_split", "arrays"]),
    "validation of 4": ((X, Y, {"validation_data": (X, Y, Y, Y)}), ["validation_data", "4 parts"]),
    "validation lengths": ((X, Y, {"validation_data": (X, Y[:3])}), ["net", "12 in x", "3 in y"]),
    "validation_freq 0": ((X, Y, {"validation_data": (X, Y), "validation_freq": 0}), ["validation_freq", "0"]),
    "callback class": ((X, Y, {"callbacks": [tc.callbacks.History]}), ["Callback", "make one"]),
    "no callback": ((X, Y, {"callbacks": ["history"]}), ["Callback", "'history'"]),
    "class_weight kind": ((X, Y, {"class_weight": 3.0}), ["class_weight", "float"]),
    "class_weight key": ((X, Y, {"class_weight": {"cat": 2}}), ["class_weight", "'cat'"]),
    "class_weight value": ((X, Y, {"class_weight": {0: -1}}), ["class_weight", "-1"]),
    "class_weight NaN": ((X, Y, {"class_weight": [1, np.nan, 1]}), ["class_weight", "nan"]),
    "class_weight too short": ((X, Y, {"class_weight": [1.0, 2.0]}), ["class_weight", "[0, 1]", "[2]"]),
}


@pytest.mark.parametrize("case", FIT)
def test_fit(model, case):
    arguments, parts = FIT[case]
    options = arguments[-1] if isinstance(arguments[-1], dict) else {}
    arguments = arguments[:-1] if options else arguments
    before = model.get_weights()
    with pytest.raises((ValueError, TypeError)) as caught:
        model.fit(*arguments, **{"verbose": 0, **options})
    for part in parts:
        assert part in str(caught.value)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("method", ["predict", "evaluate", "train_on_batch", "test_on_batch", "predict_on_batch"])
def test_an_image_without_batch_axis(model, method):
    arguments = (X[0],) if method.startswith("predict") else (X[0], Y[:1])
    with pytest.raises(ValueError, match=r"Sequential 'net': Expected x of shape \(None, 8, 8, 1\).*expand_dims"):
        getattr(model, method)(*arguments)


def test_layers_name_themselves_where_the_model_has_no_input_shape():
    model = tc.Sequential([L.Conv2D(2, 3, name="first"), L.Flatten(), L.Dense(2, name="last")])
    with pytest.raises(ValueError, match="Conv2D 'first' expected 4 axes.*Received: shape"):
        model.predict(X[0])
    model = tc.Sequential([L.Conv2D(2, 3, name="first"), L.Flatten(), L.Dense(2, name="last")])
    model.build((None, 8, 8, 1))
    with pytest.raises(ValueError, match=r"'first'.*1 channels.*Received: shape"):
        model(np.zeros((1, 8, 8, 3)))
    with pytest.raises(ValueError, match=r"'last'.*72.*Received: shape \(None, 98\)"):
        model(np.zeros((1, 9, 9, 1)))


def test_kernel_larger_than_the_input_names_the_layer_at_once():
    with pytest.raises(ValueError, match="Conv2D 'big'.*expected height >= 5.*Received: height 4"):
        tc.Sequential([L.Conv2D(3, 5, input_shape=(4, 4, 1), name="big")])
    with pytest.raises(ValueError, match="MaxPooling2D"):
        tc.applications.LeNet.build(2, 2, 1, 10)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"loss": "categorical_crossentropi"}, ["net", "Unknown loss", "CategoricalCrossentropy"]),
        ({"optimizer": "adamm"}, ["net", "Unknown optimizer", "Adam"]),
        ({"metrics": ["accurracy"]}, ["net", "Unknown metric", "accurracy"]),
        ({"loss": 3}, ["net", "loss", "3"]),
        ({"optimizer": None}, ["net", "optimizer"]),
    ],
)
def test_compile_rejects_wrong_names_at_once(arguments, parts):
    model = tc.Sequential([L.Dense(2, input_shape=(3,))], name="net")
    with pytest.raises((ValueError, TypeError)) as caught:
        model.compile(**{"loss": "mse", **arguments})
    for part in parts:
        assert part in str(caught.value)


def test_training_before_compile():
    model = tc.Sequential([L.Dense(2, input_shape=(3,))], name="net")
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(RuntimeError, match=r"compile\(\).*'net'"):
            call(np.zeros((1, 3)), np.zeros((1, 2)))


def test_nothing_to_minimise():
    model = tc.Sequential([L.Dense(2, input_shape=(3,))], name="net")
    model.compile("sgd")
    with pytest.raises(ValueError, match="net.*nothing to minimise"):
        model.fit(np.zeros((1, 3)), np.zeros((1, 2)), verbose=0)


def test_several_inputs_and_outputs():
    a, b = tc.Input((3,), name="a"), tc.Input((2,), name="b")
    both = L.Concatenate()([a, b])
    model = tc.Model([a, b], [L.Dense(1, name="p")(both), L.Dense(2, name="q")(both)], name="graph")
    model.compile("sgd", "mse")
    x, y = [np.zeros((4, 3)), np.zeros((4, 2))], [np.zeros((4, 1)), np.zeros((4, 2))]
    wrong = {
        "expected 2 inputs. Received: 1": (x[0], y),
        r"named \['a', 'b'\]. Received: \['a'\]": ({"a": x[0]}, y),
        r"input 'b' of shape \(None, 2\). Received: shape \(4, 3\)": ([x[0], x[0]], y),
        r"labels for outputs \['p', 'q'\]. Received: \['p'\]": (x, {"p": y[0]}),
        r"labels for outputs \['p', 'q'\]. Received: 1 arrays": (x, y[0]),
        r"output 'q'.*\(4, 2\). Received: y_true of shape \(4, 1\)": (x, [y[0], y[0]]),
        "4 in x, 4 in y, 3 in y": (x, [y[0], y[1][:3]]),
    }
    for message, (inputs, labels) in wrong.items():
        with pytest.raises(ValueError, match=f"'graph'.*{message}"):
            model.fit(inputs, labels, verbose=0)
    with pytest.raises(ValueError, match="single output"):
        model.fit(x, y, class_weight={0: 1.0}, verbose=0)
    model.compile("sgd", {"r": "mse"})
    with pytest.raises(ValueError, match=r"loss must name outputs \['p', 'q'\]. Received: \['r'\]"):
        model.fit(x, y, verbose=0)


def test_frozen_later_or_thawed_later():
    model = tc.Sequential([L.Dense(2, input_shape=(3,), name="a"), L.Dense(2, name="b")])
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3)), np.ones((4, 2))
    model.fit(x, y, verbose=0)
    model.layers[0].trainable = True
    with pytest.raises(ValueError, match="compile again"):
        model.fit(x, y, verbose=0)
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
