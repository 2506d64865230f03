"""Schedules against the tables of the documents and formulas written anew."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv import schedules

EXAMPLES = {
    "ExponentialDecay": (0.1, 100, 0.9),
    "InverseTimeDecay": (0.1, 100, 0.5, True),
    "PolynomialDecay": (0.1, 100, 0.01, 2.0, True),
    "CosineDecay": (0.0, 100, 0.1, None, 0.2, 10),
    "CosineDecayRestarts": (0.1, 10, 2.0, 0.5),
    "PiecewiseConstantDecay": ([10, 20], [0.1, 0.01, 0.001]),
    "StepDecay": (0.01, 0.25, 5),
    "OneCycle": (0.1, 150, 0.25, 10.0, 100.0),
    "LinearWarmup": (schedules.CosineDecay(0.1, 100), 10, 0.01),
}


def test_every_schedule_has_an_example():
    found = {
        name for name, cls in vars(schedules).items()
        if inspect.isclass(cls) and issubclass(cls, schedules.LearningRateSchedule)
    }  # fmt: skip
    assert found - {"LearningRateSchedule"} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_rates_are_finite_floats(name):
    schedule = getattr(schedules, name)(*EXAMPLES[name])
    assert all(isinstance(rate, float) and math.isfinite(rate) for rate in map(schedule, range(200)))


WHOLE = [  # whole numbers as arguments, and the rate after one step
    (schedules.ExponentialDecay(3, 5, 1, staircase=True), 3), (schedules.InverseTimeDecay(4, 1, 1), 2),
    (schedules.PolynomialDecay(2, 1, 1, 1), 1), (schedules.CosineDecay(2, 1), 0), (schedules.StepDecay(1, 2, 2), 2),
    (schedules.CosineDecayRestarts(3, 1), 3), (schedules.PiecewiseConstantDecay([0], [1, 2]), 2),
    (schedules.OneCycle(50, 1, 0, 25, 2), 1), (schedules.LinearWarmup(2, 2), 1),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "rate"), WHOLE)
@pytest.mark.parametrize("step", [1, np.int64(1), 1.0])
def test_rates_are_python_s_floats_whatever_the_arguments(schedule, rate, step):
    """``LearningRateScheduler`` rejects whole numbers."""
    assert type(schedule(step)) is float
    assert schedule(step) == rate


# --- the documents' tables (numerics 9.2 and 9.3) --------------------------------------------------------------


@pytest.mark.parametrize(
    ("update", "rate"),
    [
        (0, 0.01), (782, 0.0083647010), (1564, 0.0071890726), (3910, 0.0050568900), (7820, 0.0033840948),
        (15640, 0.0020366599), (23460, 0.0014566642), (31280, 0.0011337868),
    ],
)  # fmt: skip
def test_time_decay_per_update(update, rate):
    assert schedules.InverseTimeDecay(0.01, 1, 0.01 / 40)(update) == pytest.approx(rate, abs=5e-11)


STEPS = [
    (range(4), 0.01, 0.01), (range(4, 9), 0.0025, 0.005), (range(9, 14), 6.25e-4, 2.5e-3),
    (range(14, 19), 1.5625e-4, 1.25e-3), (range(19, 24), 3.90625e-5, 6.25e-4), (range(24, 29), 9.765625e-6, 3.125e-4),
    (range(29, 34), 2.44140625e-6, 1.5625e-4), (range(34, 39), 6.103515625e-7, 7.8125e-5),
    (range(39, 40), 1.52587890625e-7, 3.90625e-5),
]  # fmt: skip


@pytest.mark.parametrize(("epochs", "quarter", "half"), STEPS)
def test_step_decay(epochs, quarter, half):
    for epoch in epochs:
        assert schedules.StepDecay(0.01, 0.25, 5)(epoch) == pytest.approx(quarter, rel=1e-12)
        assert schedules.StepDecay(0.01, factor=0.5, drop_every=5)(epoch) == pytest.approx(half, rel=1e-12)


# --- formulas --------------------------------------------------------------------------------------------------


def close(value):
    return pytest.approx(value, rel=1e-9, abs=1e-15)


@settings(max_examples=30, deadline=None)
@given(
    step=st.integers(0, 300), start=st.floats(1e-4, 1), steps=st.integers(1, 100), rate=st.floats(0.1, 1),
    end=st.floats(0, 0.1), power=st.sampled_from([0.5, 1.0, 2.0]),
)  # fmt: skip
def test_formulas(step, start, steps, rate, end, power):
    x, floor, done = step / steps, step // steps, min(step / steps, 1)
    assert schedules.ExponentialDecay(start, steps, rate)(step) == close(start * rate**x)
    assert schedules.ExponentialDecay(start, steps, rate, staircase=True)(step) == close(start * rate**floor)
    assert schedules.InverseTimeDecay(start, steps, rate)(step) == close(start / (1 + rate * x))
    assert schedules.InverseTimeDecay(start, steps, rate, True)(step) == close(start / (1 + rate * floor))
    assert schedules.PolynomialDecay(start, steps, end, power)(step) == close(end + (start - end) * (1 - done) ** power)
    stretched = steps * max(1, -(-step // steps))
    cycling = schedules.PolynomialDecay(start, steps, end, power, cycle=True)(step)
    assert cycling == close(end + (start - end) * (1 - step / stretched) ** power)
    cosine = (1 - end) * (1 + math.cos(math.pi * done)) / 2 + end
    assert schedules.CosineDecay(start, steps, alpha=end)(step) == close(start * cosine)


def test_warm_up_is_linear_and_continuous():
    schedule = schedules.CosineDecay(0.01, 90, alpha=0.1, warmup_target=0.1, warmup_steps=10)
    np.testing.assert_allclose([schedule(s) for s in range(11)], np.linspace(0.01, 0.1, 11))
    np.testing.assert_allclose(
        [schedule(10 + s) for s in range(91)], 0.1 * (0.9 * (1 + np.cos(np.pi * np.arange(91) / 90)) / 2 + 0.1)
    )
    assert schedule(1000) == pytest.approx(0.01)
    assert schedules.CosineDecay(0.3, 10, warmup_target=0.1)(0) == pytest.approx(0.1)


def test_restarts():
    schedule = schedules.CosineDecayRestarts(1.0, 10, t_mul=2, m_mul=0.5, alpha=0.1)
    expected = []
    for height, length in ((1.0, 10), (0.5, 20), (0.25, 40)):
        expected += [0.9 * height * (1 + math.cos(math.pi * i / length)) / 2 + 0.1 for i in range(length)]
    np.testing.assert_allclose([schedule(step) for step in range(70)], expected)


@pytest.mark.parametrize("m_mul", [1.0, 0.5])
def test_restarts_of_equal_lengths_are_not_counted_one_by_one(m_mul):
    schedule = schedules.CosineDecayRestarts(1.0, 10, t_mul=1, m_mul=m_mul)
    expected = [m_mul ** (step // 10) * (1 + math.cos(math.pi * (step % 10) / 10)) / 2 for step in range(100)]
    np.testing.assert_allclose([schedule(step) for step in range(100)], expected)
    assert schedule(10**15 + 5) == pytest.approx(0.5 * m_mul ** (10**14))  # a loop would not end


@settings(max_examples=30, deadline=None)
@given(top=st.floats(1e-3, 1), total=st.integers(2, 100), share=st.floats(0, 1), first=st.floats(2, 50))
def test_one_cycle(top, total, share, first):
    schedule = schedules.OneCycle(top, total, share, first, 1000.0)
    steps = np.arange(total + 5)
    rates = np.array([schedule(step) for step in steps])
    rise = share * total
    up = top / first + (top - top / first) * (1 - np.cos(np.pi * steps / max(rise, 1e-9))) / 2
    end = top / first / 1000
    down = end + (top - end) * (1 + np.cos(np.pi * np.clip((steps - rise) / max(total - rise, 1e-9), 0, 1))) / 2
    np.testing.assert_allclose(rates, np.where(steps < rise, up, np.where(steps >= total, end, down)), rtol=1e-9)
    assert rates.max() <= top * (1 + 1e-12)


def test_warm_up_of_other_schedules():
    cosine = schedules.CosineDecay(0.3, 50, alpha=0.1)
    built_in = schedules.CosineDecay(0.02, 50, alpha=0.1, warmup_target=0.3, warmup_steps=7)
    wrapped = schedules.LinearWarmup(cosine, 7, 0.02)
    for step in range(80):
        assert wrapped(step) == close(built_in(step))
    constant = schedules.LinearWarmup(0.5, 4)
    assert [constant(step) for step in (0, 2, 4, 100)] == [0.0, 0.25, 0.5, 0.5]
    function = schedules.LinearWarmup(lambda step: 1 / (1 + step), 2)
    assert [function(step) for step in (0, 1, 2, 3)] == [0.0, 0.5, 1.0, 0.5]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_schedule_serves_optimizers_and_callbacks(name):
    schedule = getattr(schedules, name)(*EXAMPLES[name])
    w = tc.Tensor([0.0], dtype="float64", requires_grad=True)
    optimizer = tc.optimizers.SGD(schedule)
    for _ in range(15):
        optimizer.apply([[1.0]], [w])
    assert w.item() == close(-sum(schedule(step) for step in range(15)))
    model = tc.Sequential([tc.layers.Dense(1, input_shape=(1,))])
    model.compile(tc.optimizers.SGD(0.5), "mse")
    scheduler = tc.callbacks.LearningRateScheduler(schedule)
    seen = []
    note = tc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(model.optimizer.learning_rate))
    model.fit([[1.0]], [[1.0]], epochs=12, callbacks=[scheduler, note], verbose=0)
    assert seen == [schedule(epoch) for epoch in range(12)]


def test_boundaries_belong_to_the_earlier_value():
    schedule = schedules.PiecewiseConstantDecay([100, 150], [1.0, 0.5, 0.25])
    assert [schedule(step) for step in (0, 100, 101, 150, 151, 9999)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.ExponentialDecay(0.1, 0, 0.5), lambda: schedules.StepDecay(0.1, 0.5, -1),
        lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2]), lambda: schedules.CosineDecayRestarts(1, 5, 0.5),
        lambda: schedules.OneCycle(0.1, 10, 1.5), lambda: schedules.OneCycle(0.1, 0),
        lambda: schedules.LinearWarmup(1, 0),
        lambda: schedules.PiecewiseConstantDecay([2, 1], [1, 2, 3]), lambda: schedules.get("StepDacay"),
    ],
)  # fmt: skip
def test_errors(make):
    with pytest.raises(ValueError, match="Received: "):
        make()
