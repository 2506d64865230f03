"""``trainable`` at any depth, changed at any time: what stays really stays, with recorded steps and without."""

import numpy as np
import pytest

import tinyconv as tc

L = tc.layers
RNG = np.random.default_rng(0)
X, Y = RNG.random((16, 6, 6, 2)).astype("f4"), RNG.random((16, 3)).astype("f4")


def make_model():
    base = tc.Sequential(
        [
            L.Conv2D(4, 3, use_bias=False, input_shape=(6, 6, 2), name="conv"),
            L.BatchNormalization(name="norm"),
            tc.Sequential([L.ReLU(), L.Conv2D(3, 3, name="deep")], name="inner"),
        ],
        name="base",
    )
    return tc.Sequential([base, L.Flatten(), L.Dense(3, name="top")])


def compiled(model, jit, optimizer=None):
    model.compile(optimizer or tc.optimizers.SGD(0.1, momentum=0.9), "mse", jit_compile=jit, run_eagerly=not jit)
    return model


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", tc.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1)])
def test_a_frozen_inner_model_stays_to_the_last_bit(jit, optimizer):
    model = make_model()
    base = model.layers[0]
    base.trainable = False
    assert (len(model.trainable_weights), len(model.non_trainable_weights)) == (2, 7)
    optimizer = optimizer if isinstance(optimizer, str) else type(optimizer).from_config(optimizer.get_config())
    compiled(model, jit, optimizer)
    before, top = base.get_weights(), model.layers[2].get_weights()
    model.fit(X, Y, batch_size=4, epochs=3, verbose=0)
    assert same(base.get_weights(), before)
    assert not same(model.layers[2].get_weights(), top)


def test_a_frozen_batch_normalization_infers_also_in_training():
    """Keras: moving statistics are used, and stay, when the layer is frozen, whatever ``training`` says."""
    layer = L.BatchNormalization(epsilon=1e-3, input_shape=(2,))
    layer.build((None, 2))
    mean, variance = np.array([1.0, -2.0]), np.array([4.0, 0.25])
    layer.set_weights([np.array([2.0, 3.0]), np.array([0.5, -0.5]), mean, variance])
    x = RNG.normal(size=(8, 2)).astype("f4")
    trained = layer(x, training=True).numpy()
    batch = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3) * [2, 3] + [0.5, -0.5]
    np.testing.assert_allclose(trained, batch, rtol=1e-4, atol=1e-5)
    layer.set_weights([np.array([2.0, 3.0]), np.array([0.5, -0.5]), mean, variance])
    layer.trainable = False
    frozen = layer(x, training=True).numpy()
    np.testing.assert_allclose(frozen, (x - mean) / np.sqrt(variance + 1e-3) * [2, 3] + [0.5, -0.5], rtol=1e-5)
    np.testing.assert_array_equal(layer.get_weights()[2], mean.astype("f4"))


STEPS = [
    lambda m: None,
    lambda m: setattr(m.layers[0], "trainable", False),
    lambda m: setattr(m.layers[0].get_layer("inner"), "trainable", True),
    lambda m: setattr(m.layers[0], "trainable", True),
    lambda m: setattr(m.layers[0].get_layer("norm"), "trainable", False),
    lambda m: setattr(m, "trainable", True),
]


def test_freezing_and_thawing_in_the_middle_of_training():
    """Without compiling again; recorded steps do the same as eager ones to the last bit."""
    results = []
    for jit in (True, False):
        tc.set_seed(3)
        model = compiled(make_model(), jit)
        base = model.layers[0]
        history = []
        for step in STEPS:
            step(model)
            before = [w.numpy().copy() for w in model.weights]
            statistics = base.get_layer("norm").trainable
            trained = {id(w) for w in model.trainable_weights}
            model.fit(X, Y, batch_size=4, epochs=2, verbose=0, shuffle=False)
            for w, old in zip(model.weights, before, strict=True):
                moves = id(w) in trained or (w.name.startswith("moving") and statistics)
                assert np.array_equal(w.numpy(), old) != moves, (w.name, moves)
            history += model.get_weights()
        results.append(history)
    assert same(*results)


def test_thawing_after_compiling_again():
    model = make_model()
    model.layers[0].trainable = False
    compiled(model, True).fit(X, Y, verbose=0)
    model.layers[0].trainable = True
    compiled(model, True, "adam")
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    assert not any(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


def test_the_top_decides_for_itself_as_in_keras():
    """A frozen model trains nothing, whatever was thawed inside; within another model the thawed layer is trained."""
    base = make_model()
    base.trainable = False
    base.layers[0].get_layer("inner").trainable = True
    assert base.trainable_weights == []
    assert len(base.non_trainable_weights) == 9
    outer = tc.Sequential([base, L.Dense(1)])
    assert [w.shape for w in outer.trainable_weights] == [(3, 3, 4, 3), (3,), (3, 1), (1,)]


def test_layers_that_join_a_frozen_model_are_frozen():
    class Late(L.Layer):
        def build(self, input_shape):
            self.inner = L.Dense(2)

        def call(self, x):
            return self.inner(x)

    late = Late(trainable=False)
    late(np.ones((1, 3)))
    assert late.inner.trainable_weights == []
    stack = tc.Sequential([L.Dense(2, input_shape=(3,))], trainable=False)
    stack.add(L.Dense(4))
    assert [layer.trainable for layer in stack.layers] == [False, False]
    assert len(tc.Sequential([stack, L.Dense(1)]).trainable_weights) == 2
    stack.trainable = True
    assert len(stack.trainable_weights) == 4


def test_what_is_frozen_is_described_and_described_again():
    model = make_model()
    model.layers[0].get_layer("inner").trainable = False
    for made in (tc.models.model_from_json(model.to_json()), tc.models.clone_model(model)):
        assert [w.requires_grad for w in made.weights] == [w.requires_grad for w in model.weights]
        made.trainable = True
        assert len(made.trainable_weights) == 7
