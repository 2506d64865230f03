"""New layers in recorded steps: a plan gives the eager step's results to the last bit, and draws anew each time."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import backends, layers
from tinyconv.models.replay import Replay

pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(backends.host().name != "cpu", reason="plans are made of the CPU backend's kernels")

IMAGES, ROWS, VOLUMES = (4, 9, 8, 3), (4, 9, 3), (2, 4, 5, 6, 2)

LAYERS = [
    (lambda: layers.RandomFlip(), IMAGES),
    (lambda: layers.RandomFlip("horizontal", seed=3), IMAGES),
    (lambda: layers.RandomRotation(0.2), IMAGES),
    (lambda: layers.RandomRotation(0.2, fill_mode="constant", seed=1), IMAGES),
    (lambda: layers.RandomTranslation(0.3, 0.2, fill_mode="wrap"), IMAGES),
    (lambda: layers.RandomZoom(0.3, fill_mode="nearest", interpolation="nearest"), IMAGES),
    (lambda: layers.RandomContrast(0.5, (-2, 2)), IMAGES),
    (lambda: layers.RandomBrightness(0.5, (-2, 2)), IMAGES),
    (lambda: layers.RandomCrop(5, 4), IMAGES),
    (lambda: layers.AlphaDropout(0.4), IMAGES),
    (lambda: layers.SpatialDropout1D(0.4), ROWS),
    (lambda: layers.SpatialDropout3D(0.4), VOLUMES),
    (lambda: layers.GaussianNoise(0.4), IMAGES),
    (lambda: layers.Resizing(5, 12, "bicubic", antialias=True), IMAGES),
    (lambda: layers.Rescaling(0.5, -1.0), IMAGES),
    (lambda: layers.Normalization(), IMAGES),
    (lambda: layers.RMSNormalization(), IMAGES),
    (lambda: layers.Conv3D(4, 3, padding="same", activation="relu"), VOLUMES),
    (lambda: layers.Conv3DTranspose(3, 2, strides=2), VOLUMES),
    (lambda: layers.MaxPooling3D(), VOLUMES),
    (lambda: layers.AveragePooling3D(2, padding="same"), VOLUMES),
    (lambda: layers.AdaptiveAveragePooling2D((4, 3)), IMAGES),
    (lambda: layers.AdaptiveMaxPooling2D((4, 3)), IMAGES),
    (lambda: layers.SeparableConv1D(4, 3, padding="causal"), ROWS),
    (lambda: layers.Conv1DTranspose(4, 3, strides=2, padding="same"), ROWS),
    (lambda: layers.LocallyConnected1D(4, 3), ROWS),
    (lambda: layers.ResidualUnit(5, 2), IMAGES),
    (lambda: layers.SqueezeExcite(2), IMAGES),
    (lambda: layers.InceptionModule((2, 2, 3, 1, 2, 2)), IMAGES),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_plans_do_what_eager_steps_do(make, shape):
    def run(call):
        tc.set_seed(11)
        layer, rng = make(), np.random.default_rng(0)
        layer(np.zeros(shape, "float32"))
        results = []

        def step(x):
            x = tc.Tensor(x, requires_grad=True)
            y = layer(x, training=True)
            return [y, *tc.grad((y * y).sum(), [x, *layer.trainable_weights])]

        for _ in range(5):
            x = rng.standard_normal(shape, dtype="float32")
            results.append([y.numpy() for y in call(step, [x])] + layer.get_weights())
        return results

    replay = Replay()
    for expected, received in zip(run(lambda step, xs: step(*xs)), run(replay), strict=True):
        for one, other in zip(expected, received, strict=True):
            np.testing.assert_array_equal(other, one)
    assert [type(known.run).__name__ for known in replay._known.values()] == ["Plan"]


@pytest.mark.parametrize("seed", [None, 5])
def test_training_with_augmentation_is_the_same_eagerly_and_recorded(seed):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, (48, 10, 9, 2)).astype("float32"), rng.integers(0, 3, 48)

    def train(eagerly):
        tc.set_seed(2)
        model = tc.Sequential([
            tc.Input((10, 9, 2)),
            layers.RandomFlip("horizontal", seed=seed),
            layers.RandomRotation(0.1, seed=seed),
            layers.RandomZoom(0.2),
            layers.RandomTranslation(0.1, 0.1),
            layers.RandomContrast(0.3, (0, 1)),
            layers.RandomBrightness(0.2, (0, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.AdaptiveMaxPooling2D(3),
            layers.Flatten(),
            layers.Dense(3),
        ])  # fmt: skip
        loss = tc.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, run_eagerly=eagerly)
        history = model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        return [*model.get_weights(), history.history["loss"]]

    for one, other in zip(train(True), train(False), strict=True):
        np.testing.assert_array_equal(one, other)


def test_dense_layers_on_permuted_sequences():
    model = tc.Sequential([tc.Input((5, 7)), layers.Permute((2, 1)), layers.Dense(3)])
    x = np.random.default_rng(0).standard_normal((32, 5, 7), dtype="float32")
    expected = x.transpose(0, 2, 1) @ model.get_weights()[0]
    np.testing.assert_allclose(model.predict(x, batch_size=8, verbose=0), expected, atol=1e-5)
