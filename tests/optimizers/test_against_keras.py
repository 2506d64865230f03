"""Whole trainings with Keras 3.15.1 (backend torch 2.13.0, floatx float64): last loss, and the biases at the end.

The same data, first weights and settings as below were given to Keras; only the numbers are kept here. ``epsilon`` is
stated where the defaults differ. Not compared: RMSprop (Keras 3 adds epsilon before the root, Keras 2 and tinyconv
after it), and averages together with gradient accumulation (Keras averages between updates too).
"""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import constraints, optimizers, regularizers, schedules
from tinyconv.optimizers import SGD, Adadelta, Adam, Adamax, AdamW, Ftrl, Lion, Nadam

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(32, 4)), np.eye(3)[RNG.integers(0, 3, 32)]
WEIGHTS = [RNG.normal(size=(4, 3)), RNG.normal(size=3)]
E = 1e-7


def train(optimizer, fit=None, **of_the_layer):
    layer = tc.layers.Dense(3, "softmax", dtype="float64", input_shape=(4,), **of_the_layer)
    model = tc.Sequential([layer])
    model.set_weights(WEIGHTS)
    model.compile(optimizer, "categorical_crossentropy", run_eagerly=True)
    history = model.fit(X, LABELS, batch_size=8, epochs=3, shuffle=False, verbose=0, **(fit or {}))
    return history.history["loss"][-1], model.get_weights()[1]


CASES = {
    "sgd": (SGD(0.1), 1.675924, [0.132316, -0.099843, -1.02358]),
    "momentum": (SGD(0.1, momentum=0.9), 1.236179, [-0.39795, -0.130858, -0.4623]),
    "nesterov": (SGD(0.1, momentum=0.9, nesterov=True), 1.19419, [-0.413095, -0.185185, -0.392827]),
    "weight decay": (SGD(0.1, weight_decay=0.1), 1.59089, [0.10973, -0.089351, -0.898882]),
    "adam": (Adam(0.1, epsilon=E), 1.197467, [-0.339258, -0.141615, -0.294689]),
    "amsgrad": (Adam(0.1, epsilon=E, amsgrad=True), 1.197469, [-0.339244, -0.141608, -0.294687]),
    "adamw": (AdamW(0.1, weight_decay=0.05, epsilon=E), 1.173893, [-0.334621, -0.138585, -0.25435]),
    "nadam": (Nadam(0.1, epsilon=E), 1.320151, [-0.189318, -0.16982, -0.480447]),
    "adamax": (Adamax(0.1, epsilon=E), 1.351283, [-0.140763, -0.006412, -0.586297]),
    "adadelta": (Adadelta(0.5, epsilon=E), 1.868402, [0.295477, -0.103908, -1.179339]),
    "lion": (Lion(0.01), 1.75456, [0.180685, -0.066072, -1.06572]),
    "ftrl": (
        Ftrl(0.1, l1_regularization_strength=0.01, l2_regularization_strength=0.01),
        1.024476, [-0.11295, 0.04984, 0.079598],
    ),
    "ftrl beta": (
        Ftrl(0.1, beta=0.5, l2_shrinkage_regularization_strength=0.1), 1.044398, [-0.067768, 0.034547, 0.05524]
    ),
    "clipnorm": (SGD(0.5, clipnorm=0.05), 1.782183, [0.195237, -0.107039, -1.079305]),
    "clipvalue": (SGD(0.5, clipvalue=0.02), 1.793658, [0.240685, -0.080903, -1.123462]),
    "global_clipnorm": (SGD(0.5, global_clipnorm=0.05), 1.800536, [0.245393, -0.100171, -1.136328]),
    "clipnorm and weight decay": (
        Adam(0.1, clipnorm=0.05, weight_decay=0.1, epsilon=E), 1.181378, [-0.193358, -0.235512, -0.346762]
    ),
    "accumulation": (
        SGD(0.1, momentum=0.9, gradient_accumulation_steps=2), 1.632321, [0.022312, -0.076609, -0.936809]
    ),
    "accumulation across epochs": (
        Adam(0.1, gradient_accumulation_steps=3, epsilon=E), 1.527432, [-0.060457, -0.034437, -0.797962]
    ),
    "accumulation and clipnorm": (
        SGD(0.1, clipnorm=0.02, gradient_accumulation_steps=2), 1.870023, [0.293262, -0.106868, -1.177501]
    ),
    "accumulation and a schedule, which counts gradients": (
        SGD(schedules.ExponentialDecay(0.5, 4, 0.5), gradient_accumulation_steps=2),
        1.627986, [0.105211, -0.086985, -1.009332],
    ),
    "accumulation, nadam and a schedule": (
        Nadam(schedules.PolynomialDecay(0.5, 8, 0.01), gradient_accumulation_steps=3),
        1.315729, [-0.185093, 0.107523, -0.596335],
    ),
    "average": (SGD(0.1, use_ema=True, ema_momentum=0.8), 1.675924, [0.176787, -0.093932, -1.073962]),
    "average that overwrites": (
        SGD(0.1, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=3), 1.783205, [0.232721, -0.098735, -1.125093]
    ),
    "exponential": (SGD(schedules.ExponentialDecay(0.5, 4, 0.5)), 1.421634, [-0.065658, -0.102979, -0.822471]),
    "staircase": (
        SGD(schedules.ExponentialDecay(0.5, 4, 0.5, staircase=True)), 1.32774, [-0.108456, -0.160065, -0.722585]
    ),
    "piecewise": (
        SGD(schedules.PiecewiseConstantDecay([3, 6], [0.5, 0.1, 0.01])), 1.433579, [-0.008422, -0.107017, -0.875668]
    ),
    "polynomial": (SGD(schedules.PolynomialDecay(0.5, 8, 0.01)), 1.443283, [-0.028772, -0.085258, -0.877077]),
    "polynomial in cycles": (
        SGD(schedules.PolynomialDecay(0.5, 5, 0.01, power=2.0, cycle=True)), 1.617784, [0.095118, -0.072721, -1.013505]
    ),
    "inverse time": (SGD(schedules.InverseTimeDecay(0.5, 1, 0.25)), 1.414979, [-0.080872, -0.115331, -0.794905]),
    "cosine after warm-up": (
        SGD(schedules.CosineDecay(0.1, 8, alpha=0.1, warmup_target=0.5, warmup_steps=3)),
        1.351652, [-0.089478, -0.149447, -0.752182],
    ),
    "cosine with restarts": (
        SGD(schedules.CosineDecayRestarts(0.5, 3, t_mul=1.5, m_mul=0.8, alpha=0.1)),
        1.397703, [-0.159397, -0.10914, -0.72257],
    ),
}  # fmt: skip


def check(found, loss, biases):
    assert found[0] == pytest.approx(loss, abs=2e-6)
    np.testing.assert_allclose(found[1], biases, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_trajectories(name):
    optimizer, *expected = CASES[name]
    check(train(type(optimizer).from_config(optimizer.get_config())), *expected)


LAYERS = {
    "MaxNorm": ({"kernel_constraint": constraints.MaxNorm(0.8)}, 1.312846, [0.077472, -0.135491, -0.933088]),
    "UnitNorm": ({"kernel_constraint": constraints.UnitNorm(axis=[0, 1])}, 1.282452, [0.06203, -0.114417, -0.93872]),
    "MinMaxNorm": (
        {"kernel_constraint": constraints.MinMaxNorm(0.3, 0.8, rate=0.5)}, 1.327504, [0.081897, -0.132857, -0.940147]
    ),
    "NonNeg": ({"bias_constraint": constraints.NonNeg()}, 1.576022, [0.232675, 0.047057, 0.012433]),
    "penalties": (
        {"kernel_regularizer": regularizers.L1L2(0.01, 0.02), "activity_regularizer": "l1"},
        1.854726, [0.128695, -0.099792, -1.02001],
    ),
    "orthogonal columns": (
        {"kernel_regularizer": regularizers.OrthogonalRegularizer(0.01, "columns")},
        1.678117, [0.132126, -0.099435, -1.023798],
    ),
    "orthogonal rows": (
        {"kernel_regularizer": regularizers.OrthogonalRegularizer(0.01)}, 1.683797, [0.132284, -0.09988, -1.023512]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_constraints_and_penalties(name):
    of_the_layer, *expected = LAYERS[name]
    check(train(SGD(0.1), **of_the_layer), *expected)


@pytest.mark.parametrize(("fit", "loss", "biases"), [
    ({"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}}, 1.441873, [0.114754, 0.180223, -1.286084]),
    ({"sample_weight": np.arange(32.0) / 16}, 1.697867, [0.176363, -0.147695, -1.019774]),
])  # fmt: skip
def test_weights_of_classes_and_samples(fit, loss, biases):
    check(train(SGD(0.1), fit), loss, biases)


def test_time_decay_is_that_of_keras_2_and_of_a_schedule():
    """Keras 2: ``lr * 1 / (1 + decay * iterations)``; Keras 3 has InverseTimeDecay for it, checked above."""
    found, expected = train(SGD(0.5, decay=0.25)), train(SGD(schedules.InverseTimeDecay(0.5, 1, 0.25)))
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12)
    check(found, *CASES["inverse time"][1:])
    assert optimizers.SGD(0.01, decay=0.01 / 40).effective_learning_rate == 0.01
