"""Initializers: published formulas, statistics and bounds."""

import json

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import initializers, registry
from tinyconv.testing import assert_close

SHAPE = (5, 5, 40, 60)  # fan_in 1000, fan_out 1500
FAN_IN, FAN_OUT, COUNT = 1000, 1500, 60_000

# name: variance, bound
RANDOM = {
    "glorot_uniform": (2 / (FAN_IN + FAN_OUT), np.sqrt(6 / (FAN_IN + FAN_OUT))),
    "glorot_normal": (2 / (FAN_IN + FAN_OUT), 2 / 0.8796 * np.sqrt(2 / (FAN_IN + FAN_OUT))),
    "he_uniform": (2 / FAN_IN, np.sqrt(6 / FAN_IN)),
    "he_normal": (2 / FAN_IN, 2 / 0.8796 * np.sqrt(2 / FAN_IN)),
    "lecun_uniform": (1 / FAN_IN, np.sqrt(3 / FAN_IN)),
    "lecun_normal": (1 / FAN_IN, 2 / 0.8796 * np.sqrt(1 / FAN_IN)),
    "random_uniform": (0.1**2 / 12, 0.05),
    "random_normal": (0.05**2, np.inf),
    "truncated_normal": ((0.05 * 0.87962566) ** 2, 0.1),
    "variance_scaling": (1 / FAN_IN, 2 / 0.8796 * np.sqrt(1 / FAN_IN)),
}
CLASSES = {cls.__name__: cls for cls in vars(initializers).values()
           if isinstance(cls, type) and issubclass(cls, initializers.Initializer)
           and not cls.__name__.startswith("_") and cls is not initializers.Initializer}  # fmt: skip


@pytest.mark.parametrize("name", RANDOM)
def test_statistics_and_bounds(name):
    tc.set_seed(0)
    variance, bound = RANDOM[name]
    values = initializers.get(name)(SHAPE).astype("float64")
    assert values.shape == SHAPE
    assert abs(values.mean()) < 5 * np.sqrt(variance / COUNT)
    assert values.var() == pytest.approx(variance, rel=0.03)
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > 0.99 * min(bound, 3 * np.sqrt(variance))


@pytest.mark.parametrize(
    ("mode", "distribution", "variance"),
    [("fan_in", "uniform", 3 / FAN_IN), ("fan_out", "untruncated_normal", 3 / FAN_OUT),
     ("fan_avg", "normal", 6 / (FAN_IN + FAN_OUT))],
)  # fmt: skip
def test_variance_scaling(mode, distribution, variance):
    values = initializers.VarianceScaling(3.0, mode, distribution, seed=2)(SHAPE, "float64")
    assert values.var() == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize(
    ("shape", "fans"),
    [((), (1, 1)), ((7,), (7, 7)), ((3, 5), (3, 5)), ((5, 5, 3, 20), (75, 500)), ((4, 2, 6), (8, 24)),
     ((3, 3, 16, 1), (144, 9))],
)  # fmt: skip
def test_fans(shape, fans):
    assert initializers.compute_fans(shape) == fans


def test_constants():
    assert initializers.Zeros()((2, 3)).tolist() == [[0] * 3] * 2
    assert initializers.Ones()((2,)).tolist() == [1, 1]
    assert initializers.Constant(2.5)((2,)).tolist() == [2.5, 2.5]
    assert initializers.Identity(3.0)((2, 3)).tolist() == [[3, 0, 0], [0, 3, 0]]
    assert initializers.RandomUniform(1.0, 2.0, seed=0)((1000,)).min() >= 1


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (3, 3, 2, 5), (1, 1, 8, 3)])
def test_orthogonal(shape):
    values = initializers.Orthogonal(2.0, seed=1)(shape, "float64").reshape(-1, shape[-1])
    product = values @ values.T if values.shape[0] <= values.shape[1] else values.T @ values
    assert_close(product, 4 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_and_identity_need_matrices():
    with pytest.raises(ValueError, match="Orthogonal expected a shape of at least 2 axes. Received"):
        initializers.Orthogonal()((3,))
    with pytest.raises(ValueError, match="Identity expected a shape of 2 axes. Received"):
        initializers.Identity()((3, 3, 3))


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", None])
def test_every_initializer_conforms(cls, dtype):
    assert cls.__doc__
    initializer = cls()
    values = initializer((4, 3), dtype)
    assert isinstance(values, np.ndarray)
    assert (values.shape, values.dtype) == ((4, 3), np.dtype(dtype or "float32"))
    config = initializer.get_config()
    assert cls.from_config(json.loads(json.dumps(config))).get_config() == config
    restored = initializers.get(json.loads(json.dumps(registry.serialize(initializer))))
    assert type(restored) is cls
    assert repr(initializer) == f"{cls.__name__}()"
    assert initializers.get(cls).__class__ is cls
    if "seed" not in config:
        return
    seeded = cls(seed=3)
    np.testing.assert_array_equal(seeded((4, 3)), seeded((4, 3)))  # a seed repeats itself, as in Keras
    np.testing.assert_array_equal(cls.from_config(seeded.get_config())((4, 3)), seeded((4, 3)))
    tc.set_seed(5)
    first, second = initializer((4, 3)), initializer((4, 3))
    assert (first != second).any()
    tc.set_seed(5)
    np.testing.assert_array_equal(initializer((4, 3)), first)
    tc.set_seed(5)
    seeded((4, 3))
    np.testing.assert_array_equal(initializer((4, 3)), first)  # a seeded one leaves the global stream alone


def test_every_class_is_listed_and_named():
    names = {"glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "zeros",
             "ones", "constant", "random_uniform", "random_normal", "truncated_normal", "variance_scaling",
             "orthogonal", "identity"}  # fmt: skip
    assert {type(initializers.get(name)) for name in names} == set(CLASSES.values())
    for name in names:
        assert getattr(initializers, name) is type(initializers.get(name))


def test_identifiers():
    def custom(shape, dtype=None):
        return np.full(shape, 7.0, dtype)

    layer = tc.layers.Dense(1, kernel_initializer=custom)
    assert layer([[1.0]]).item() == 7
    with pytest.raises(ValueError, match="Unknown initializer. Did you mean .*Glorot.* Received: 'glorot_unifrm'"):
        initializers.get("glorot_unifrm")
    with pytest.raises(ValueError, match="scale must be > 0"):
        initializers.VarianceScaling(0)
    with pytest.raises(ValueError, match="mode must be"):
        initializers.VarianceScaling(mode="fan")
    with pytest.raises(ValueError, match="distribution must be"):
        initializers.VarianceScaling(distribution="cauchy")
