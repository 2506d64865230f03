"""The contract of ``Layer``: own layers, nesting, names, losses, freezing, errors."""

import copy

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import layers
from tinyconv.layers import module


class Scale(layers.Layer):
    """Multiply by a learned factor per feature."""

    def __init__(self, start=1.0, **options):
        super().__init__(**options)
        self.start = start

    def build(self, input_shape):
        self.factor = self.add_weight((input_shape[-1],), tc.initializers.Constant(self.start), "factor")

    def call(self, x):
        return x * self.factor


class Block(layers.Layer):
    """Layers as attributes, in a list and in a dictionary."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first = layers.Dense(3, kernel_regularizer="l2")
        self.more = [layers.Dense(3), layers.BatchNormalization()]
        self.named = {"last": layers.Dense(2, activity_regularizer="l1")}

    def call(self, x, training=False):
        x = self.first(x)
        for layer in self.more:
            x = layer(x)
        return self.named["last"](x)


def test_own_layer():
    layer = Scale(3.0)
    assert layer([[1.0, 2.0]]).tolist() == [[3.0, 6.0]]
    assert layer.compute_output_shape((None, 2)) == (None, 2)
    assert layer.get_config()["start"] == 3.0
    assert Scale.from_config(layer.get_config()).get_config() == layer.get_config()
    assert repr(Scale(3.0, name="s")) == "Scale(start=3.0, name='s')"
    assert Scale()(tc.Input((4, 5))).shape == (None, 4, 5)
    assert Scale()(tc.Input((None, 5))).shape == (None, None, 5)


def test_children_and_their_weights_in_order():
    block = Block()
    block(np.ones((2, 4)))
    assert block.children == [block.first, *block.more, block.named["last"]]
    names = [w.name for w in block.weights]
    assert names == ["kernel", "bias"] * 2 + ["gamma", "beta", "moving_mean", "moving_variance", "kernel", "bias"]
    assert len(block.trainable_weights) == 8
    assert block.count_params() == 15 + 12 + 12 + 8


def test_training_reaches_children_and_is_put_back():
    block = Block()
    block(np.ones((2, 4)))
    before = block.more[1].moving_mean.numpy().copy()
    block(np.ones((2, 4)))
    np.testing.assert_array_equal(block.more[1].moving_mean, before)
    block(np.ones((2, 4)), training=True)
    assert (block.more[1].moving_mean.numpy() != before).any()
    now = block.more[1].moving_mean.numpy().copy()
    block(np.ones((2, 4)))
    np.testing.assert_array_equal(block.more[1].moving_mean, now)


def test_freezing_reaches_children():
    block = Block()
    block(np.ones((2, 4)))
    block.trainable = False
    assert block.trainable_weights == []
    before = block.get_weights()
    block(np.ones((2, 4)), training=True)
    for now, then in zip(block.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    block.first.trainable = True
    assert [w.name for w in block.first.trainable_weights] == ["kernel", "bias"]
    assert block.trainable_weights == []  # the block is frozen still, as in Keras


def test_losses_of_regularizers_and_of_the_last_call():
    block = Block()
    for _ in range(2):
        y = block(np.ones((2, 4)))
    penalties = [loss.item() for loss in block.losses]
    kernel = block.first.kernel.numpy()
    expected = [0.01 * np.square(kernel).sum(), 0.01 * np.abs(y.numpy()).sum() / 2]
    assert penalties == pytest.approx(expected, rel=1e-5)
    block.first.trainable = False  # a frozen weight costs nothing, as in Keras
    assert len(block.losses) == 1


def test_a_shared_layer_counts_once():
    class Twice(layers.Layer):
        def __init__(self):
            super().__init__()
            shared = layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l2")
            self.one, self.two = Outer(shared), Outer(shared)

        def call(self, x):
            return self.two(self.one(x))

    class Outer(layers.Layer):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def call(self, x):
            return self.inner(x)

    layer = Twice()
    layer(np.ones((2, 4)))
    assert len(layer.weights) == 2
    assert len(layer.losses) == 3  # of the kernel, and of the outputs of both calls, as in Keras


def test_names_are_unique_and_readable():
    module.reset_names()
    assert [layers.MaxPooling2D().name, layers.MaxPooling2D().name] == ["max_pooling2d", "max_pooling2d_1"]
    assert layers.Conv2DTranspose(1, 1).name == "conv2d_transpose"
    assert layers.DepthwiseConv2D(1).name == "depthwise_conv2d"
    assert layers.ReLU().name == "re_lu"
    assert layers.Dense(1, name="mine").name == "mine"
    for bad in ("", "a/b", 3):
        with pytest.raises(ValueError, match="name must be a non-empty string without '/'. Received"):
            layers.Dense(1, name=bad)


def test_a_layer_builds_once():
    class Early(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def build(self, input_shape):
            self.dense.build(input_shape)

        def call(self, x):
            return self.dense(x)

    layer = Early()
    layer(np.ones((1, 3)))
    layer.build((None, 3))
    layer.dense.build((None, 3))
    assert len(layer.weights) == 2
    assert layer.dense.built
    assert layers.Dense.build.__name__ == "build"


def test_before_the_first_call():
    layer = layers.Dense(2, name="top")
    assert layer.weights == []
    with pytest.raises(ValueError, match="Dense 'top' has no weights yet"):
        layer.count_params()
    with pytest.raises(ValueError, match="Dense 'top' has no weights yet"):
        layer.set_weights([])
    with pytest.raises(AttributeError, match="Dense 'top' was never called"):
        _ = layer.output_shape


def test_errors_name_the_innermost_layer_once():
    class Outer(layers.Layer):
        def __init__(self):
            super().__init__(name="outer")
            self.inner = layers.Dense(2, name="inner")

        def call(self, x):
            return self.inner(x)

    with pytest.raises(ValueError, match=r"^Dense 'inner': expected at least 2 axes"):
        Outer()(np.zeros(3))

    class Fails(layers.Layer):
        def call(self, x):
            return tc.ops.reshape(x, (7,))

    with pytest.raises(ValueError, match="^Fails 'f': reshape expected") as error:
        Fails(name="f")(np.zeros(3))
    assert isinstance(error.value.__cause__, ValueError)


def test_call_must_be_defined():
    with pytest.raises(NotImplementedError, match="Layer must define call"):
        layers.Layer()(np.zeros((1, 2)))


@pytest.mark.parametrize("base", [layers.Layer, tc.Model])
def test_a_constructor_that_forgets_its_base(base):
    class Forgetful(base):
        def __init__(self):
            self.inner = layers.Dense(2)

        def call(self, x):
            return self.inner(x)

    layer = Forgetful()
    with pytest.raises(AttributeError, match=r"Forgetful has no .* yet: call super\(\).__init__\(\) first"):
        layer(np.ones((2, 3)))
    with pytest.raises(AttributeError, match="'Scale' object has no attribute 'bias'"):
        Scale().bias  # noqa: B018
    with pytest.raises(AttributeError, match="Scale 'never' was never called"):
        Scale(name="never").output_shape  # noqa: B018
    assert not hasattr(Scale(), "bias")


def test_scalars_have_no_batch_axis():
    for layer in (layers.Flatten(), layers.Dense(2), layers.GlobalAveragePooling1D()):
        with pytest.raises(ValueError, match=r"Received: shape \(\)"):
            layer(3.0)


def test_keras_names_of_the_dtype():
    layer = layers.Dense(2, dtype="float64")
    assert (layer.compute_dtype, layer.variable_dtype) == ("float64", "float64")


def test_symbolic_and_real_inputs_do_not_mix():
    with pytest.raises(TypeError, match="expected all inputs to be symbolic"):
        layers.Add()([tc.Input((2,)), np.zeros((1, 2))])


def test_symbolic_calls_are_remembered():
    x = tc.Input((4,))
    layer = layers.Dropout(0.5)
    y = layer(x, training=True)
    assert y.call.layer is layer
    assert y.call.inputs is x
    assert y.call.options == {"training": True}


def test_a_copy_is_independent():
    layer = layers.Dense(2)
    layer([[1.0]])
    twin = copy.deepcopy(layer)
    twin.set_weights([w + 1 for w in twin.get_weights()])
    assert (layer.kernel.numpy() != twin.kernel.numpy()).all()
    assert twin.kernel is twin.weights[0]


def test_layers_from_names_and_configurations():
    assert isinstance(layers.get("Flatten"), layers.Flatten)
    assert isinstance(layers.get(layers.Flatten), layers.Flatten)
    layer = layers.Dense(2)
    assert layers.get(layer) is layer
    with pytest.raises(ValueError, match="Unknown layer. Did you mean 'Conv2D'.* Received: 'Conv2E'"):
        layers.get("Conv2E")
    with pytest.raises(ValueError, match="Expected a layer"):
        layers.get(3)

    @tc.registry.register("tests")
    class Registered(Scale):
        pass

    again = layers.deserialize(layers.serialize(Registered(2.0)))
    assert type(again) is Registered
    assert again([[1.0]]).item() == 2.0


def test_own_layers_need_not_take_the_common_arguments(tmp_path):
    @tc.registry.register("tests")
    class Power(layers.Layer):
        def __init__(self, exponent):
            super().__init__()
            self.exponent = exponent
            self.inner = layers.Dense(2, name="inner")

        def call(self, x):
            return self.inner(x) ** self.exponent

    @tc.registry.register("tests")
    class Named(layers.Layer):
        def __init__(self, name="named"):
            super().__init__(name=name)

        def call(self, x):
            return x + 1.0

    power = Power(2)
    power.trainable = False
    model = tc.Sequential([tc.Input((3,)), power, Named("plus"), layers.Dense(1)])
    model.save(tmp_path / "model")
    again = tc.load_model(tmp_path / "model")
    x = np.random.default_rng(0).standard_normal((4, 3))
    np.testing.assert_array_equal(again(x), model(x))
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert again.layers[-3].exponent == 2
    assert [w.shape for w in again.trainable_weights] == [w.shape for w in model.trainable_weights] == [(2, 1), (1,)]
    twin = Power.from_config({"exponent": 3, "name": "cube", "dtype": "float64", "input_shape": [2]})
    assert (twin.name, twin.dtype, twin.input_shape_hint) == ("cube", "float64", (None, 2))
    with pytest.raises(TypeError, match="base"):
        Power.from_config({"base": 3})


def test_what_cannot_be_saved_says_so(tmp_path):
    @tc.registry.register("tests")
    class Forgetful(layers.Layer):
        def __init__(self, factor, **options):
            super().__init__(**options)
            self._factor = factor

        def call(self, x):
            return x * self._factor

    model = tc.Sequential([tc.Input((3,)), Forgetful(2.0, name="f")])
    with pytest.raises(ValueError, match=r"Forgetful 'f' cannot be saved: .* get_config.* no attribute 'factor'"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    assert repr(model.layers[-1]) == "Forgetful(name='f')"


def test_a_weight_may_have_a_dtype_of_its_own():
    class Exact(layers.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight(shape=(), initializer="ones", name="factor", dtype="float64")

        def call(self, x):
            return tc.ops.astype(tc.ops.astype(x, "float64") * self.factor, self.dtype)

    layer = Exact()
    assert layer(np.ones((1, 2))).dtype == "float32"
    assert layer.weights[0].dtype == "float64"


def test_trial_runs_for_shapes_change_nothing():
    """Own layers without ``compute_output_shape`` are tried out on zeros, also in the midst of a training step."""

    class Normalized(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.norm = layers.BatchNormalization(momentum=0.5)

        def call(self, x, other=None):
            return self.norm(x)

    x = np.array([[1.0], [3.0]])
    model = tc.Sequential([Normalized()])
    model(x, training=True)
    np.testing.assert_allclose(model.get_weights()[2], [0.5 * x.mean()])  # one update, from x
    np.testing.assert_allclose(model.get_weights()[3], [0.5 + 0.5 * x.var()])
    layer = Normalized()
    symbol = tc.Input((1,))
    assert layer(symbol, symbol, training=True).shape == (None, 1)
    np.testing.assert_array_equal(layer.norm.moving_variance.numpy(), [1])


def test_inner_layers_of_a_frozen_layer_come_back_frozen():
    block = Block()
    block(np.ones((1, 3)))
    block.trainable = False
    again = Block.from_config(block.get_config())
    again(np.ones((1, 3)))
    outer = tc.Sequential([again, layers.Dense(1)])
    outer(np.ones((1, 3)))
    assert not again.trainable
    assert [w.shape for w in outer.trainable_weights] == [(2, 1), (1,)]


@pytest.mark.parametrize("takes_options", [True, False])
def test_what_a_constructor_freezes_stays_frozen_in_copies(takes_options):
    class Backbone(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.base, self.top = layers.Dense(2), layers.Dense(1)
            self.base.trainable = False

        def call(self, x):
            return self.top(self.base(x))

    class Plain(Backbone):
        def __init__(self):
            super().__init__()

    cls = Backbone if takes_options else Plain
    layer = cls.from_config(cls().get_config())
    layer(np.ones((1, 3)))
    assert [w.shape for w in layer.trainable_weights] == [(2, 1), (1,)]


def test_input_dim_of_keras_2():
    """Any layer may be the first one: ``input_dim=3`` is ``input_shape=(3,)``."""
    model = tc.Sequential([layers.Activation("relu", input_dim=3), layers.Dense(2)])
    assert model.input_shape == (None, 3)
    assert model.layers[0].get_config()["input_shape"] == [3]
    assert tc.Sequential([layers.Embedding(7, 2, input_length=5)]).output_shape == (None, 5, 2)
    with pytest.raises(TypeError, match="Dense got unknown arguments. Received: input_shapes"):
        layers.Dense(2, input_shapes=(3,))


def test_losses_of_all_calls_within_a_call_count_and_no_others():
    """Keras 3.15 gives these numbers: a shared layer's penalty counts in every call, none lasts until the next one."""
    shared = layers.Dense(2, kernel_initializer="ones", activity_regularizer="l2")
    a, b = tc.Input((3,)), tc.Input((3,))
    model = tc.Model([a, b], layers.Add()([shared(a), shared(b)]))
    assert model.losses == []
    for _ in range(2):
        model([np.ones((1, 3)), 2 * np.ones((1, 3))])
        np.testing.assert_allclose([loss.item() for loss in model.losses], [0.18, 0.72], rtol=1e-6)

    class Branches(tc.Model):
        def __init__(self):
            super().__init__()
            self.branches = [
                layers.Dense(1, kernel_initializer="ones", activity_regularizer=kind) for kind in ("l2", "l1")
            ]
            self.which = 0

        def call(self, x):
            return self.branches[self.which](x)

    model = Branches()
    for model.which, expected in ((0, 0.09), (1, 0.03), (0, 0.09)):
        model(np.ones((1, 3)))
        np.testing.assert_allclose([loss.item() for loss in model.losses], [expected], rtol=1e-6)


def test_several_tensors_are_not_one():
    """Four images in a list have as many entries as the shape of one."""
    x = np.ones((1, 4, 4, 1))
    with pytest.raises(ValueError, match=r"Conv2D 'c' expected 4 axes .* Received: .*\[\(None, 4, 4, 1\), "):
        layers.Conv2D(1, 2, name="c")([x] * 4)


def test_unknown_dtypes_are_named():
    with pytest.raises(ValueError, match="Dense.*: dtype must be .*. Received: 'float31'"):
        layers.Dense(2, dtype="float31")


def test_a_build_that_fails_leaves_no_weights():
    class Late(layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight((input_shape[-1], 2), name="kernel")
            if input_shape[1] is None:
                raise ValueError("the length must be known")
            self.places = self.add_weight((input_shape[1], 2), name="places")

        def call(self, x):
            return x @ self.kernel + self.places

    layer = Late()
    with pytest.raises(ValueError, match="length must be known"):
        layer(tc.Input((None, 3)))
    assert (layer.built, layer.weights) == (False, [])
    assert layer(np.ones((1, 4, 3))).shape == (1, 4, 2)
    assert [w.name for w in layer.weights] == ["kernel", "places"]


def test_weights_are_set_all_or_none():
    layer = layers.Dense(2, input_shape=(3,))
    layer.build((None, 3))
    before = layer.get_weights()
    with pytest.raises((TypeError, ValueError)):
        layer.set_weights([np.ones((3, 2)), np.array(["a", "b"])])
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])


@pytest.mark.parametrize("shape", [3, "3", [2.5], (-1,)])
def test_shapes_of_inputs_are_checked(shape):
    with pytest.raises(ValueError, match="Dense.*input_shape must be a tuple of integers or None, .* Received"):
        layers.Dense(2, input_shape=shape)


@pytest.mark.parametrize("shape", ["kernel", (3, None), (2.5,), (-1,)])
def test_shapes_of_weights_are_checked(shape):
    layer = Scale(name="s")
    with pytest.raises(ValueError, match="Scale 's' expected the shape of a weight as integers .* Received: "):
        layer.add_weight(shape)


def test_integers_for_those_who_want_them():
    """Without ``autocast``, inputs keep their dtype: a table of one's own takes token numbers."""

    class Table(layers.Layer):
        def __init__(self, **options):
            super().__init__(autocast=False, **options)

        def build(self, input_shape):
            self.rows = self.add_weight((5, 2), name="rows")

        def call(self, tokens):
            return tc.ops.take(self.rows, tokens, axis=0)

    layer = Table()
    np.testing.assert_array_equal(layer(np.array([[4, 1]])), layer.rows.numpy()[[[4, 1]]])
    stack = tc.Sequential([tc.Input((3,), dtype="int32"), Table()])
    assert stack.output_shape == (None, 3, 2)
    x = tc.Input((3,), dtype="int32")
    assert tc.Model(x, stack(x)).predict([[4, 1, 0]]).shape == (1, 3, 2)
    chosen = layers.Lambda(lambda tokens: tc.ops.take(np.eye(4), tokens, axis=0), autocast=False)
    assert chosen(tc.Input((3,), dtype="int64")).shape == (None, 3, 4)
    assert layers.Flatten(autocast=False)(np.array([[7]])).dtype == "int64"
    assert layers.Flatten()(np.array([[7]])).dtype == "float32"


def test_options_of_a_call_decide_on_its_shape():
    class Repeat(layers.Layer):
        def call(self, x, times=1):
            return tc.ops.concatenate([x] * times, axis=-1)

    layer, x = Repeat(), tc.Input((3,))
    assert [layer(x).shape, layer(x, times=2).shape, layer(x, 3).shape] == [(None, 3), (None, 6), (None, 9)]
    assert tc.Model(x, layer(x, times=2)).predict(np.ones((2, 3))).shape == (2, 6)
