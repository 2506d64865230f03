"""Makes the files in ``data`` with the real Keras, beside what its models predict: the oracle of the tests here.

It needs ``pip install keras jax`` and is not run by the tests: ``KERAS_BACKEND=jax python tests/interop/make_data.py``.
The files here were written by Keras 3.15.1.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

FOLDER = Path(__file__).parent / "data"


def conv():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="c1"),
            layers.BatchNormalization(name="bn"),
            layers.Dropout(0.2),
            layers.SeparableConv2D(5, 3),
            layers.MaxPooling2D(2),
            layers.Conv2D(3, 2),
            layers.Flatten(),
            layers.Dense(2, activation="softmax", kernel_regularizer="l2"),
        ],
        name="conv",
    )


def graph():
    hidden = [layers.Dense(3, activation="relu"), layers.BatchNormalization(), layers.Dense(3)]
    inner = keras.Sequential([keras.Input((4,)), *hidden, layers.BatchNormalization()], name="inner")
    a, b = keras.Input((4,), name="a"), keras.Input((6,), name="b")
    shared = layers.Dense(4, name="shared")
    x = layers.Add()([inner(shared(a)), inner(shared(layers.Dense(4, name="proj")(b)))])
    kind = layers.Dense(2, activation="softmax", name="kind")(layers.Concatenate()([x, a]))
    return keras.Model([a, b], [kind, layers.Dense(1, name="size")(b)], name="graph")


def operations():
    a, b = keras.Input((4,), name="a"), keras.Input((6, 5), name="b")
    x = layers.Dense(5, name="d")(a)
    x = ops.relu(x - 0.5) + 2 * ops.flip(x, axis=-1) ** 2 + x[:, ..., :1] - 3 / (1 + abs(x)) * np.arange(5, dtype="f4")
    y = ops.mean(b, axis=1) * x + ops.max(b[:, 1:4], axis=1) @ np.eye(5, dtype="f4")[::-1]
    z = ops.where(y > x, ops.clip(y, -1, 1), -x) % 1.5
    w = ops.concatenate([x, ops.squeeze(ops.expand_dims(y, 1), 1)], axis=-1)
    first, second = ops.split(ops.reshape(w, (-1, 2, 5)), 2, axis=1)
    return keras.Model([a, b], [layers.Dense(2, name="e")(z), first // 0.5, ops.einsum("nij,nj->n", second, x)])


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv, self.blocks, self.head = layers.Conv2D(2, 3), [layers.Dense(3), layers.Dense(4)], layers.Dense(1)

    def call(self, x):
        x = self.conv(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def main():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    images, labels = rng.random((4, 8, 8, 3)).astype("f4"), np.eye(2)[[0, 1, 0, 1]]
    a, b = rng.random((4, 4)).astype("f4"), rng.random((4, 6)).astype("f4")
    expected = {"images": images, "a": a, "b": b}
    one, two, net = conv(), graph(), Net()
    for model, x, y, loss in (
        (one, images, labels, "categorical_crossentropy"),
        (two, [a, b], [labels, a[:, :1]], ["categorical_crossentropy", "mse"]),
    ):
        model.compile(keras.optimizers.SGD(0.1), loss)
        model.fit(x, y, epochs=3, verbose=0)
        metrics = ["accuracy"] if model is one else None
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True), loss, metrics=metrics)
        for ending in (".keras", ".h5", ".weights.h5"):
            save = model.save_weights if ending == ".weights.h5" else model.save
            save(FOLDER / f"{model.name}{ending}")
    expected["conv"], expected["loss"] = one.predict(images, verbose=0), one.evaluate(images, labels, verbose=0)
    expected["kind"], expected["size"] = two.predict([a, b], verbose=0)
    for kind, optimizer in {
        "sgd": keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        "adam": keras.optimizers.Adam(0.01),
    }.items():  # training that stops after three steps, is saved, and goes on
        stack = [keras.Input((4,)), layers.Dense(3, activation="tanh"), layers.BatchNormalization(), layers.Dense(2)]
        model = keras.Sequential(stack, name=kind)
        model.compile(optimizer, "mse")
        model.fit(a, labels, epochs=3, verbose=0)
        model.save(FOLDER / f"{kind}.keras")
        model.save(FOLDER / f"{kind}.h5")
        model.fit(a, labels, epochs=3, verbose=0)
        expected[f"resumed_{kind}"] = model.predict(a, verbose=0)
    expected["net"] = net.predict(images, verbose=0)
    net.save_weights(FOLDER / "net.weights.h5")
    np.savez(FOLDER / "expected.npz", **expected)
    main_operations()


def main_operations():
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    a, b = rng.random((4, 4)).astype("f4"), rng.random((4, 6, 5)).astype("f4")
    model = operations()
    model.save(FOLDER / "operations.keras")
    first, second, third = model.predict([a, b], verbose=0)
    np.savez(FOLDER / "operations.npz", a=a, b=b, first=first, second=second, third=third)


if __name__ == "__main__":
    main()
