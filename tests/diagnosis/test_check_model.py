"""``check_model``: every rule with a network that breaks it and one that does not; warnings, each once."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv.diagnosis import Finding, ModelWarning, check_model, warn_about

L = tc.layers


def stack(*layers, shape=(32, 32, 3)):
    return tc.Sequential([tc.Input(shape), *layers])


def found(model, level="warning"):
    return [(finding.name, finding.layer) for finding in check_model(model) if finding.level == level]


def compiled(model, loss="categorical_crossentropy", optimizer="sgd"):
    model.compile(optimizer, loss)
    return model


# --- rules about layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([L.MaxPooling2D(4, name="p")], [("pool_size", "p")]),
        ([L.AveragePooling2D((2, 4), name="p")], [("pool_size", "p")]),
        ([L.MaxPooling2D(2), L.MaxPooling2D(2)], []),
        ([L.AveragePooling2D(32)], []),  # the whole map: a global mean
        ([L.Conv2D(4, 7, name="c")], [("kernel_size", "c")]),
        ([L.Conv2D(4, 5), L.Conv2D(4, 3)], []),
        ([L.Conv2D(4, 3), L.Conv2D(4, 6, name="c")], [("kernel_size", "c")]),
        ([L.Conv2D(4, 3), L.Conv2D(4, (1, 7)), L.Conv2D(4, (7, 1))], []),
        ([L.Conv2D(4, 3), L.Conv2D(4, 3, strides=3, padding="same", name="c")], [("stride", "c")]),
        ([L.Conv2D(4, 4, strides=4)], []),  # cuts images into patches
        ([L.Conv2D(4, 3, strides=2, padding="same")], []),
        ([L.GlobalAveragePooling2D(), L.Dense(10, name="d"), L.Dense(3)], [("linear_stack", "d")]),
        ([L.Flatten(), L.Dense(10, name="d"), L.Dropout(0.5), L.Dense(3)], [("linear_stack", "d")]),
        ([L.Flatten(), L.Dense(10), L.Activation("relu"), L.Dense(3)], []),
        ([L.Flatten(), L.Dense(10, activation="relu"), L.Dense(3)], []),
        ([L.Flatten(), L.Dense(4, kernel_initializer="zeros", activation="relu", name="d"), L.Dense(3)],
         [("constant_weights", "d")]),
        ([L.Conv2D(4, 3, kernel_initializer=tc.initializers.Constant(0.1), name="c"), L.Flatten(), L.Dense(3)],
         [("constant_weights", "c")]),
        ([L.Flatten(), L.Dense(3, kernel_initializer="zeros")], []),  # a single layer learns from zeros
    ],
)  # fmt: skip
def test_rules_about_layers(layers, expected):
    assert found(stack(*layers)) == expected


def test_images_larger_than_200_pixels_may_begin_coarsely():
    first = L.Conv2D(8, 11, strides=4, name="first")
    assert found(stack(first, shape=(227, 227, 3))) == []
    small = stack(L.Conv2D(8, 11, strides=3, name="first"), shape=(32, 32, 3))
    assert found(small) == [("kernel_size", "first"), ("stride", "first")]
    assert found(stack(L.Conv2D(8, 7), shape=(None, None, 3))) == [], "the size is not known"


def test_trained_weights_are_not_constant():
    layer = L.Dense(4, kernel_initializer="zeros", activation="relu")
    model = stack(L.Flatten(), layer, L.Dense(2))
    layer.set_weights([np.random.default_rng(0).random((3072, 4)), np.zeros(4)])
    assert found(model) == []


@pytest.mark.parametrize("softmax", [[L.Dense(3, activation="softmax")], [L.Dense(3), L.Activation("softmax")],
                                     [L.Dense(3), L.Softmax()], [L.Softmax()], [L.Operation("softmax")],
                                     [L.Dense(3), L.Operation("softmax")]])  # fmt: skip
def test_batch_normalisation_right_before_softmax(softmax):
    copies = [L.deserialize(L.serialize(layer)) for layer in softmax]
    model = stack(L.Flatten(), L.Dense(8, activation="relu"), L.BatchNormalization(name="norm"), *copies)
    assert found(model) == [("batch_norm_before_softmax", "norm")]
    copies = [L.deserialize(L.serialize(layer)) for layer in softmax]
    between = stack(L.Flatten(), L.Dense(8, activation="relu"), L.BatchNormalization(), L.Dropout(0.5), *copies)
    assert found(between) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(6, 40), st.integers(1, 5), st.integers(1, 4), st.sampled_from(["conv", "pool"]))
def test_windows_that_do_not_tile(n, k, s, kind):
    """Counted cell by cell: which rows does no window see?"""
    layer = L.Conv2D(1, k, s, name="w") if kind == "conv" else L.MaxPooling2D(k, s, name="w")
    seen = {row for start in range(0, n - k + 1, s) for row in range(start, start + k)}
    lost = n - 1 - max(seen) if s <= k else 0
    findings = [f for f in check_model(stack(layer, shape=(n, n, 1))) if f.name == "not_tiling"]
    assert [f.layer for f in findings] == (["w"] if lost else [])
    if lost:
        assert f"leaves out {lost} rows and {lost} columns at the end" in findings[0].evidence


def test_padding_may_make_windows_tile():
    assert found(stack(L.MaxPooling2D(2, name="p"), shape=(7, 7, 1))) == [("not_tiling", "p")]
    model = stack(L.MaxPooling2D(2, padding="same"), L.Conv2D(1, 3, 2, padding=((1, 0), (1, 0))), shape=(7, 7, 1))
    assert found(model) == []


def test_alexnet_on_224_pixels():
    """The document's example: (224 - 11) / 4 + 1 = 54.25; 227 is right."""
    wrong = stack(L.Conv2D(96, 11, 4, name="conv1"), shape=(224, 224, 3))
    assert found(wrong) == [("not_tiling", "conv1")]
    right = stack(L.Conv2D(96, 11, 4), L.MaxPooling2D(3, 2), shape=(227, 227, 3))
    assert found(right) == []


def test_channels_first():
    options = {"data_format": "channels_first"}
    model = stack(L.Conv2D(4, 7, name="c", **options), L.MaxPooling2D(4, name="p", **options), shape=(3, 33, 33))
    assert found(model) == [("kernel_size", "c"), ("pool_size", "p"), ("not_tiling", "p")]


def test_inputs_and_notes():
    assert found(stack(L.Conv2D(4, 3, padding="same"), shape=(32, 48, 3)))[0][0] == "input_not_square"
    notes = found(stack(L.Conv2D(4, 3, name="c"), L.MaxPooling2D(2), shape=(50, 50, 3)), "note")
    assert [name for name, _ in notes] == ["input_size", "valid_padding"], "48 is divisible by two several times"
    notes = found(stack(L.Conv2D(4, 3, padding="same", name="c"), L.MaxPooling2D(2), shape=(50, 50, 3)), "note")
    assert [name for name, _ in notes] == ["input_size", "input_size"], "50 is not"
    model = stack(L.Conv2D(4, 3, padding="same"), L.Flatten(), L.Dense(9, activation="relu", name="d"), L.Dense(3))
    assert found(model, "note") == [("no_dropout", "d")]


# --- rules about the whole model -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "loss", "message"),
    [
        (L.Dense(3), "categorical_crossentropy", "The loss categorical_crossentropy expects probabilities, but the"),
        (L.Dense(3, activation="relu"), "sparse_categorical_crossentropy", "ends in relu"),
        (L.Dense(1), "binary_crossentropy", "without activation"),
        (L.Dense(3, activation="softmax"), tc.losses.CategoricalCrossentropy(from_logits=True), "softmax gives prob"),
        (L.Dense(1, activation="sigmoid"), tc.losses.BinaryCrossentropy(from_logits=True), "sigmoid gives prob"),
        (L.Dense(3, activation="softmax"), "binary_crossentropy", "treats 3 classes of a softmax as independent"),
        (L.Dense(3, activation="sigmoid"), "categorical_crossentropy", "sigmoid treats 3 units independently"),
        (L.Dense(1, activation="softmax"), "binary_crossentropy", "a single unit is always 1"),
    ],
)
def test_loss_and_last_activation_do_not_fit(last, loss, message):
    last = L.deserialize(L.serialize(last))
    (finding,) = check_model(compiled(stack(L.Flatten(), last), loss))
    assert (finding.name, finding.layer, finding.level) == ("loss_mismatch", last.name, "warning")
    assert message in finding.evidence


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (L.Dense(3, activation="softmax"), "categorical_crossentropy"),
        (L.Dense(3, activation="softmax"), "sparse_categorical_crossentropy"),
        (L.Dense(2, activation="softmax"), "binary_crossentropy"),  # the smile detector
        (L.Dense(3, activation="sigmoid"), "binary_crossentropy"),
        (L.Dense(3), tc.losses.CategoricalCrossentropy(from_logits=True)),
        (L.Dense(1), tc.losses.BinaryCrossentropy(from_logits=True)),
        (L.Dense(3), "mse"),
        (L.Lambda(lambda x: x), "categorical_crossentropy"),  # unknown
    ],
)
def test_loss_and_last_activation_fit(last, loss):
    layer = last if isinstance(last, L.Lambda) else L.deserialize(L.serialize(last))
    assert check_model(compiled(stack(L.Flatten(), layer), loss)) == []


def test_the_last_activation_of_several_outputs_and_inside_models():
    x = tc.Input((4,))
    y = L.Dense(8, activation="relu")(x)
    outputs = [L.Dense(3, name="kind")(y), L.Dense(1, name="size")(y)]
    model = compiled(tc.Model(x, outputs), {"kind": "categorical_crossentropy", "size": "mse"})
    assert found(model) == [("loss_mismatch", "kind")]
    assert found(compiled(model, ["mse", "binary_crossentropy"])) == [("loss_mismatch", "size")]
    inner = tc.Sequential([tc.Input((4,)), L.Dense(3, name="inside")])
    outer = compiled(tc.Sequential([tc.Input((4,)), inner, L.Reshape((3,))]))
    assert found(outer) == [("loss_mismatch", "inside")]


def test_mean_squared_error_behind_softmax_is_a_note():
    model = compiled(stack(L.Flatten(), L.Dense(3, activation="softmax", name="top")), "mse")
    assert found(model) == []
    assert found(model, "note") == [("loss_choice", "top")]


def test_learning_rate_and_frozen_models():
    model = stack(L.Flatten(), L.Dense(3))
    rate = 0.01 * 0.25**6  # 2.44e-06, as the document says
    assert found(compiled(model, "mse", tc.optimizers.SGD(rate))) == [("learning_rate", None)]
    assert "2.44141e-06" in check_model(model)[0].evidence
    assert found(compiled(model, "mse", tc.optimizers.SGD(1e-5))) == []
    warm_up = tc.schedules.PiecewiseConstantDecay([10], [0.0, 0.1])
    assert found(compiled(model, "mse", tc.optimizers.SGD(warm_up))) == [], "a schedule may begin with 0"
    model.trainable = False
    assert found(compiled(model, "mse")) == [("nothing_to_train", None)]
    assert "None of the 2 weights" in check_model(model)[0].evidence


# --- networks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "arguments"),
    [
        (tc.applications.LeNet, (28, 28, 1, 10)), (tc.applications.LeNet, (28, 28, 1, 9)),
        (tc.applications.MiniVGGNet, (32, 32, 3, 10)), (tc.applications.MiniVGGNet, (32, 32, 3, 10, False)),
        (tc.applications.ShallowNet, (32, 32, 3, 3)),
    ],
)  # fmt: skip
def test_the_networks_of_the_documents_are_fine(network, arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about(compiled(network.build(*arguments), optimizer=tc.optimizers.SGD(0.01, momentum=0.9)))
    smile = compiled(tc.applications.LeNet.build(28, 28, 1, 2), "binary_crossentropy", "adam")
    assert found(smile) == []


def test_residual_and_inception_are_fine():
    from tests.viz.models import Residual, inception

    assert found(compiled(inception())) == []
    model = Residual()
    model(np.zeros((1, 8, 8, 1)))
    assert found(compiled(model, tc.losses.CategoricalCrossentropy(from_logits=True))) == []


def test_models_that_are_not_built_yet():
    assert check_model(tc.Sequential([L.Conv2D(4, 9), L.MaxPooling2D(5, name="p")])) == [
        Finding("pool_size", "Pooling over 5x5 keeps one of 25 values",
                "Pool over 2x2, or 3x3 in large images, several times if need be", "warning", "p")
    ], "what does not depend on sizes"  # fmt: skip
    assert check_model(tc.Sequential()) == []


def test_layers_inside_models_are_checked_once():
    inner = tc.Sequential([tc.Input((8, 8, 1)), L.MaxPooling2D(4, name="inside")])
    a, b = tc.Input((8, 8, 1)), tc.Input((8, 8, 1))
    assert found(tc.Model([a, b], L.Add()([inner(a), inner(b)]))) == [("pool_size", "inside")]


# --- warnings --------------------------------------------------------------------------------------------------


def bad():
    return compiled(stack(L.MaxPooling2D(4, name="pool"), L.Flatten(), L.Dense(3, name="top")))


def test_each_warning_once_per_model_with_reason_and_silence():
    with pytest.warns(ModelWarning) as caught:
        model = bad()  # compiled, which warns
    assert len(caught) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about(model)
    text = str(caught[0].message)
    assert text.startswith(f"{model.name}: [pool_size] (layer 'pool') Pooling over 4x4 keeps one of 16 values. Pool ")
    assert text.endswith('Silence: warnings.filterwarnings("ignore", category=tinyconv.ModelWarning)')
    with pytest.warns(ModelWarning, match="loss_mismatch") as again:
        compiled(stack(L.Flatten(), L.Dense(3)))
    assert len(again) == 1, "another model has its own"
    with pytest.warns(ModelWarning, match="\\[learning_rate\\]") as new:
        model.compile(tc.optimizers.SGD(1e-7), "mse")
    assert len(new) == 1, "what is new after another compile"


def test_silence_by_category_and_by_name():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=ModelWarning)
        warn_about(bad())
    assert caught == []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message=".*pool_size", category=ModelWarning)
        warn_about(bad())
    assert len(caught) == 1
    assert "loss_mismatch" in str(caught[0].message)


def test_a_warned_model_is_saved_and_copied_as_before(tmp_path):
    with pytest.warns(ModelWarning):
        model = bad()
    model.save(tmp_path / "model.tinyconv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copy = tc.load_model(tmp_path / "model.tinyconv")
    assert type(model).from_config(model.get_config()).get_config() == copy.get_config()


def test_warnings_do_not_run_a_model_that_has_a_call_of_its_own():
    class Own(tc.Model):
        runs = 0

        def __init__(self):
            super().__init__()
            self.pool, self.flat = L.MaxPooling2D(4, name="pool"), L.Flatten()
            self.hidden, self.top = L.Dense(4, name="hidden"), L.Dense(2)

        def call(self, x):
            Own.runs += 1
            return self.top(self.hidden(self.flat(self.pool(x))))

    model = Own()
    model(np.zeros((1, 8, 8, 1)))
    before = Own.runs
    with pytest.warns(ModelWarning, match="pool_size") as caught:
        warn_about(model)
    assert len(caught) == 1
    assert Own.runs == before
    assert found(model) == [("pool_size", "pool"), ("linear_stack", "hidden")], "check_model may"


def test_layers_whose_attributes_mean_something_else(recwarn):
    """The axes of Dot, and what other people call the settings of their layers, are no windows over images."""

    class Own(L.Layer):
        axes, kernel_size, pool_size, strides, padding, activation = 1, 3, 4, 2, 0, "softmax"

        def call(self, x):
            return x

    a, b = tc.Input((4,)), tc.Input((4,))
    dot = tc.Model([a, b], L.Dot(axes=1)([a, b]))
    dot.compile("sgd", "mse")
    x = tc.Input((8, 8, 3))
    own = tc.Model(x, L.Dense(2)(L.Flatten()(L.Conv2D(4, 3, padding="same", activation="relu")(Own()(x)))))
    own.compile("sgd", "mse")
    assert found(dot) == found(own) == []
    image = np.ones((8, 8, 3))
    assert tc.viz.grad_cam(own, image, 0).shape == tc.viz.saliency(own, image, 0).shape == (8, 8)
    with pytest.raises(ValueError, match="unknown which pixels"):
        tc.viz.receptive_field(own, 2)


def test_rows_of_padding_may_be_left_out():
    """230 - 7 = 223 is odd: what is left out is one of three rows of zeros. Without them it is a row of the image."""

    def names(*layers):
        return [finding.name for finding in check_model(stack(*layers, shape=(224, 224, 3)))]

    assert "not_tiling" not in names(L.ZeroPadding2D(3), L.Conv2D(4, 7, 2))
    assert "not_tiling" not in names(L.Conv2D(4, 7, 2, padding=3))
    assert "not_tiling" in names(L.Conv2D(4, 7, 2))
    assert "not_tiling" in names(L.ZeroPadding2D(((1, 0), (1, 0))), L.Conv2D(4, 2, 2))


def test_resnets_tile_their_inputs():
    assert "not_tiling" not in [finding.name for finding in check_model(tc.applications.ResNet50(weights=None))]
