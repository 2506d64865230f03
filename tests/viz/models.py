"""Small models of every kind, for the tests of pictures."""

import tinyconv as tc

L = tc.layers


def inception():
    """Two Inception modules; networks.md 8.1."""
    x = y = tc.Input((8, 8, 4), name="image")
    for tag in ("a", "b"):
        one = L.Conv2D(2, 1, name=f"{tag}_1x1")(y)
        three = L.Conv2D(2, 3, padding="same", name=f"{tag}_3x3")(L.Conv2D(2, 1, name=f"{tag}_3x3_reduce")(y))
        five = L.Conv2D(2, 5, padding="same", name=f"{tag}_5x5")(L.Conv2D(2, 1, name=f"{tag}_5x5_reduce")(y))
        pool = L.Conv2D(2, 1, name=f"{tag}_proj")(L.MaxPooling2D(3, 1, padding="same", name=f"{tag}_pool")(y))
        y = L.Concatenate(name=f"{tag}_concat")([one, three, five, pool])
    return tc.Model(x, L.Dense(3, activation="softmax", name="top")(L.GlobalAveragePooling2D(name="gap")(y)))


INCEPTION_EDGES = {
    edge
    for tag, source in (("a", "image"), ("b", "a_concat"))
    for edge in [
        *((source, f"{tag}_{name}") for name in ("1x1", "3x3_reduce", "5x5_reduce", "pool")),
        (f"{tag}_3x3_reduce", f"{tag}_3x3"), (f"{tag}_5x5_reduce", f"{tag}_5x5"), (f"{tag}_pool", f"{tag}_proj"),
        *((f"{tag}_{name}", f"{tag}_concat") for name in ("1x1", "3x3", "5x5", "proj")),
    ]
} | {("b_concat", "gap"), ("gap", "top")}  # fmt: skip


def siamese():
    """A model inside a model, used twice; two inputs and two outputs."""
    a, b = tc.Input((6,), name="left"), tc.Input((6,), name="right")
    code = [tc.Input((6,), name="encoder_input"), L.Dense(4, name="hidden"), L.Dense(3, name="code")]
    encoder = tc.Sequential(code, name="encoder")
    both = L.Concatenate(name="both")([L.Subtract(name="difference")([encoder(a), encoder(b)]), a])
    return tc.Model([a, b], [L.Dense(1, activation="sigmoid", name="same")(both), L.Dense(2, name="kind")(both)])


class Residual(tc.Model):
    """A model with a call of its own, with operations between the layers."""

    def __init__(self):
        super().__init__(name="residual")
        self.first = L.Conv2D(3, 3, padding="same", name="first")
        self.second = L.Conv2D(3, 3, padding="same", name="second")
        self.drop = L.Dropout(0.5, name="drop")
        self.pool = L.GlobalAveragePooling2D(name="pool")
        self.top = L.Dense(2, name="top")

    def call(self, inputs):
        x = self.first(inputs)
        return self.top(self.pool(tc.ops.relu(x + self.second(self.drop(x)))))


def image_net(data_format="channels_last", dtype="float64", **options):
    """Convolution, pooling, convolution, pooling, dense: everything that attribution goes through."""
    shape = (2, 8, 8) if data_format == "channels_first" else (8, 8, 2)
    o = {"data_format": data_format, "dtype": dtype}
    return tc.Sequential(
        [
            L.Conv2D(3, 3, padding="same", input_shape=shape, name="conv1", **o),
            L.Activation("tanh", name="tanh", dtype=dtype),
            L.AveragePooling2D(2, name="pool", **o),
            L.Conv2D(4, 3, activation="tanh", name="conv2", **o),
            L.Flatten(name="flat", **o),
            L.Dense(3, activation="softmax", name="top", dtype=dtype),
        ],
        **options,
    )
