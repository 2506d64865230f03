"""Optimizers against trajectories of the documents and float64 loops in NumPy."""

import inspect
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv import optimizers, schedules
from tinyconv.optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Ftrl, Lion, Nadam, Optimizer, RMSprop
from tinyconv.registry import serialize

CLASSES = [SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta, Adamax, Nadam, Lion, Ftrl]


def variable(values, dtype="float64", **attributes):
    class Parameter(tc.Tensor):  # a plain Tensor carries no further attributes
        pass

    made = Parameter(np.array(values, dtype), requires_grad=True)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def run(optimizer, gradients, start=0.0):
    w = variable([start])
    path = []
    for g in gradients:
        optimizer.apply([np.array([g], float)], [w])
        path.append(w.item())
    return path


# --- the documents' trajectories (numerics 9.5) ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "gradients", "expected", "tolerance"),
    [
        (SGD(0.1, 0.9), [1, 1, 1], [-0.1, -0.29, -0.561], 1e-15),
        (SGD(0.1, 0.9, nesterov=True), [1, 1, 1], [-0.19, -0.461, -0.8049], 1e-15),
        (SGD(0.1, 0.9), [1, -2, 3], [-0.1, 0.01, -0.191], 1e-15),
        (SGD(0.1, 0.9, True), [1, -2, 3], [-0.19, 0.109, -0.3719], 1e-15),
        (SGD(lr=0.01, decay=0.1), [1, 1, 1], -np.cumsum([0.01, 0.00909091, 0.00833333]), 1e-8),
        (Adam(), [1, 1, 1], [-0.000999999684, -0.001999999460, -0.002999999277], 5e-13),
        (Adam(), [1, -2, 3], [-0.000999999684, -0.000633896209, -0.000977137260], 5e-13),
    ],
)
def test_trajectories_of_the_documents(optimizer, gradients, expected, tolerance):
    np.testing.assert_allclose(run(optimizer, gradients), expected, rtol=0, atol=tolerance)


def test_time_decay_of_40_epochs():
    table = {
        0: 0.01, 782: 0.0083647010, 1564: 0.0071890726, 3910: 0.0050568900, 7820: 0.0033840948, 15640: 0.0020366599,
        23460: 0.0014566642, 31280: 0.0011337868,
    }  # fmt: skip
    optimizer = SGD(0.01, decay=0.01 / 40)
    for updates, rate in table.items():
        optimizer.iterations = updates
        assert optimizer.effective_learning_rate == pytest.approx(rate, abs=5e-11)
        assert optimizer.learning_rate == optimizer.lr == 0.01
    constant = SGD(0.01)
    constant.iterations = 10**6
    assert constant.effective_learning_rate == 0.01


# --- float64 loops ---------------------------------------------------------------------------------------------


def sgd(w, gs, lr, momentum=0.0, nesterov=False):
    v = 0
    for g in gs:
        v = momentum * v - lr * g
        w = w + momentum * v - lr * g if nesterov else w + v
        yield w


def adam(w, gs, lr=0.001, b1=0.9, b2=0.999, eps=1e-8, amsgrad=False, shrink=0.0):
    m = v = top = 0
    for t, g in enumerate(gs, 1):
        w = w * (1 - lr * shrink)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        top = np.maximum(top, v)
        w = w - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(top if amsgrad else v) + eps)
        yield w


def rmsprop(w, gs, lr=0.001, rho=0.9, momentum=0.0, eps=1e-8, centered=False):
    a = mean = v = 0
    for g in gs:
        a, mean = rho * a + (1 - rho) * g * g, rho * mean + (1 - rho) * g
        v = momentum * v + lr * g / (np.sqrt(a - centered * mean**2) + eps)
        w = w - v
        yield w


def adagrad(w, gs, lr=0.01, a=0.0, eps=1e-8):
    for g in gs:
        a = a + g * g
        w = w - lr * g / (np.sqrt(a) + eps)
        yield w


def adadelta(w, gs, lr=0.001, rho=0.95, eps=1e-7):
    a = d = 0
    for g in gs:
        a = rho * a + (1 - rho) * g * g
        u = np.sqrt(d + eps) / np.sqrt(a + eps) * g
        d = rho * d + (1 - rho) * u * u
        w = w - lr * u
        yield w


def adamax(w, gs, lr=0.001, b1=0.9, b2=0.999, eps=1e-7):
    m = u = 0
    for t, g in enumerate(gs, 1):
        m, u = b1 * m + (1 - b1) * g, np.maximum(b2 * u, abs(g))
        w = w - lr / (1 - b1**t) * m / (u + eps)
        yield w


def nadam(w, gs, lr=0.001, b1=0.9, b2=0.999, eps=1e-7):
    def mu(t):
        return b1 * (1 - 0.5 * 0.96**t)

    m = v = 0
    product = 1.0
    for t, g in enumerate(gs, 1):
        product *= mu(t)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        m_hat = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        w = w - lr * m_hat / (np.sqrt(v / (1 - b2**t)) + eps)
        yield w


def lion(w, gs, lr=0.001, b1=0.9, b2=0.99):
    m = 0
    for g in gs:
        w = w - lr * np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g
        yield w


def ftrl(w, gs, lr=0.001, power=-0.5, start=0.1, l1=0.0, l2=0.0, shrinkage=0.0, beta=0.0):
    n, z = start, 0
    for g in gs:  # algorithm 1 of the paper, with G = g + 2 * shrinkage * w
        sigma = ((n + g * g) ** -power - n**-power) / lr
        z = z + g + 2 * shrinkage * w - sigma * w
        n = n + g * g
        w = np.where(abs(z) <= l1, 0.0, -(z - np.sign(z) * l1) / ((beta + n**-power) / lr + 2 * l2))
        yield w


LOOPS = [
    (lambda: SGD(0.05), lambda w, gs: sgd(w, gs, 0.05)),
    (lambda: SGD(0.05, 0.9), lambda w, gs: sgd(w, gs, 0.05, 0.9)),
    (lambda: SGD(0.05, 0.8, True), lambda w, gs: sgd(w, gs, 0.05, 0.8, True)),
    (lambda: Adam(0.01, 0.8, 0.99), lambda w, gs: adam(w, gs, 0.01, 0.8, 0.99)),
    (lambda: Adam(amsgrad=True, beta_2=0.9), lambda w, gs: adam(w, gs, b2=0.9, amsgrad=True)),
    (lambda: AdamW(0.01, 0.1), lambda w, gs: adam(w, gs, 0.01, shrink=0.1)),
    (lambda: Adam(0.01, weight_decay=0.02, epsilon=1e-3), lambda w, gs: adam(w, gs, 0.01, eps=1e-3, shrink=0.02)),
    (lambda: RMSprop(), lambda w, gs: rmsprop(w, gs)),
    (lambda: RMSprop(0.01, 0.8, 0.5), lambda w, gs: rmsprop(w, gs, 0.01, 0.8, 0.5)),
    (lambda: RMSprop(0.01, momentum=0.9, centered=True), lambda w, gs: rmsprop(w, gs, 0.01, 0.9, 0.9, centered=True)),
    (lambda: Adagrad(), lambda w, gs: adagrad(w, gs)),
    (lambda: Adagrad(0.1, 0.1, 1e-7), lambda w, gs: adagrad(w, gs, 0.1, 0.1, 1e-7)),
    (lambda: Adadelta(), lambda w, gs: adadelta(w, gs)),
    (lambda: Adadelta(1.0, 0.9, 1e-6), lambda w, gs: adadelta(w, gs, 1.0, 0.9, 1e-6)),
    (lambda: Adamax(0.01, 0.8, 0.9), lambda w, gs: adamax(w, gs, 0.01, 0.8, 0.9)),
    (lambda: Nadam(0.01, 0.8, 0.95), lambda w, gs: nadam(w, gs, 0.01, 0.8, 0.95)),
    (lambda: Lion(0.01, 0.8, 0.9), lambda w, gs: lion(w, gs, 0.01, 0.8, 0.9)),
    (lambda: Ftrl(0.1), lambda w, gs: ftrl(w, gs, 0.1)),
    (
        lambda: Ftrl(0.05, -0.6, 0.2, 0.3, 0.1, 0.05, 0.7),
        lambda w, gs: ftrl(w, gs, 0.05, -0.6, 0.2, 0.3, 0.1, 0.05, 0.7),
    ),
]


@pytest.mark.parametrize(("make", "loop"), LOOPS)
@settings(max_examples=5, deadline=None)
@given(shape=st.lists(st.integers(1, 3), max_size=3), seed=st.integers(0, 999))
def test_long_trajectories(make, loop, shape, seed):
    rng = np.random.default_rng(seed)
    start, gradients = rng.normal(size=shape), rng.normal(size=(100, *shape)) * rng.lognormal(size=(100, *shape))
    for dtype, tolerance in (("float64", 1e-11), ("float32", 2e-5)):
        optimizer, w = make(), variable(start, dtype)
        for g, expected in zip(gradients, loop(start, gradients), strict=True):
            optimizer.apply([tc.Tensor(g.astype(dtype))], [w])
            np.testing.assert_allclose(w.numpy(), expected, rtol=tolerance, atol=tolerance)
        assert w.dtype == dtype
        assert optimizer.iterations == 100


def test_nadam_does_not_lose_its_momentum_after_the_growth():
    w, gradients = variable([0.5]), np.random.default_rng(0).normal(size=(1500, 1))
    optimizer = Nadam(0.001)
    for g in gradients:
        optimizer.apply([g], [w])
    *_, expected = nadam(np.array([0.5]), gradients)
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-10)


# --- all classes -----------------------------------------------------------------------------------------------


def test_all_classes_are_tested():
    found = {
        cls for cls in vars(optimizers).values()
        if inspect.isclass(cls) and issubclass(cls, Optimizer) and cls is not Optimizer
    }  # fmt: skip
    assert found == set(CLASSES)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_and_zero_gradients(cls, dtype):
    w, still = variable(np.ones(3), dtype), variable(np.ones(3), "float32")
    optimizer = cls(0.1, global_clipnorm=1.0)
    for _ in range(3):
        optimizer.apply([np.zeros(3), np.ones(3)], [w, still])
    assert w.dtype == dtype
    assert np.isfinite(w.numpy()).all()
    if cls is Ftrl:
        assert (w.numpy() == 0).all()  # weights follow from the gradients seen, which are all 0
    elif cls is not AdamW:
        assert (w.numpy() == 1).all()
    assert not w.requires_grad or w.node is None


@pytest.mark.parametrize("cls", CLASSES)
def test_minimises_a_parabola(cls):
    w = variable([3.0, -2.0])
    optimizer = cls(1.0 if cls is Adadelta else 0.1)
    first = float((w * w).sum())
    for _ in range(100):
        optimizer.apply([tc.grad((w * w).sum(), w)], [w])
    assert float((w * w).sum()) < first * (0.99 if cls is Adadelta else 0.5)


# --- state -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make for make, _ in LOOPS])
def test_resuming_from_the_state_equals_going_on(make):
    rng = np.random.default_rng(1)
    gradients = [[rng.normal(size=(2, 2)), rng.normal(size=3)] for _ in range(6)]
    straight, resumed = make(), make()
    whole = [variable(np.ones((2, 2))), variable(np.ones(3))]
    for g in gradients:
        straight.apply(g, whole)
    parts = [variable(np.ones((2, 2))), variable(np.ones(3))]
    for g in gradients[:3]:
        resumed.apply(g, parts)
    resumed.learning_rate = straight.learning_rate
    state = resumed.get_state()
    assert list(state)[:2] == ["iterations", "learning_rate"]
    assert state["iterations"] == 3
    fresh = make()
    fresh.build(parts)
    fresh.set_state(state)
    for g in gradients[3:]:
        fresh.apply(g, parts)
    for a, b in zip(whole, parts, strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_state_is_named_ordered_and_copied():
    optimizer, ws = Adam(), [variable(np.ones(2)), variable(np.ones((1, 3)))]
    optimizer.apply([np.ones(2), np.ones((1, 3))], ws)
    state = optimizer.get_state()
    assert list(state) == ["iterations", "learning_rate", "m/0", "m/1", "v/0", "v/1"]
    assert [v.shape for v in optimizer.variables] == [(2,), (1, 3), (2,), (1, 3)]
    before = state["m/0"].copy()
    optimizer.apply([np.ones(2), np.ones((1, 3))], ws)
    assert (state["m/0"] == before).all()


def test_state_that_does_not_fit_changes_nothing():
    optimizer = SGD(0.1, 0.9)
    with pytest.raises(ValueError, match="call build first"):
        optimizer.set_state({})
    optimizer.build([variable(np.ones(2))])
    good = optimizer.get_state()
    for bad in ({**good, "velocity/1": np.ones(2)}, {"iterations": 3}, {**good, "velocity/0": np.ones(3)}):
        with pytest.raises(ValueError, match="Received"):
            optimizer.set_state({**bad, "iterations": 7})
    optimizer = AdamW(0.1, gradient_accumulation_steps=2)
    optimizer.exclude_from_weight_decay(var_names=["spared"])
    optimizer.build([variable(np.ones(2)), tc.Tensor([1.0], requires_grad=True, name="spared")])
    good, other = optimizer.get_state(), {"decays": np.array([False, True]), "iterations": 7}
    for bad in ({"learning_rate": np.nan}, {"iterations": -1}, {"accumulated": -1}):
        with pytest.raises(ValueError, match="Received"):
            optimizer.set_state({**good, **other, **bad})
        after = optimizer.get_state()
        assert all(np.array_equal(after[name], good[name]) for name in good)


def test_learning_rate_is_part_of_state_and_configuration():
    optimizer = SGD(0.1)
    optimizer.learning_rate = 0.05
    optimizer.build([variable([1.0])])
    other = SGD(0.1)
    other.build([variable([1.0])])
    other.set_state(optimizer.get_state())
    assert other.lr == 0.05
    assert optimizer.get_config()["learning_rate"] == 0.05


# --- learning rates --------------------------------------------------------------------------------------------


def test_rates_can_be_set_between_updates():
    optimizer, w = SGD(lr=1.0), variable([0.0])
    for rate in (1.0, 0.5, 0.25):
        optimizer.lr = rate
        optimizer.apply([np.ones(1)], [w])
    assert w.item() == -1.75


def test_schedules_are_called_with_the_updates_done():
    optimizer = SGD(schedules.PiecewiseConstantDecay([0, 1], [1.0, 0.5, 0.25]))
    assert run(optimizer, [1, 1, 1]) == [-1.0, -1.5, -1.75]
    assert optimizer.learning_rate == 0.25
    assert "learning_rate" not in optimizer.get_state()
    again = optimizers.get(json.loads(json.dumps(serialize(optimizer))))
    assert run(again, [1, 1, 1]) == [-1.0, -1.5, -1.75]
    with pytest.raises(TypeError, match="given by a schedule"):
        optimizer.learning_rate = 0.1
    assert run(SGD(lambda step: 1.0 / (1 + step)), [1, 1]) == [-1.0, -1.5]


def test_functions_without_an_argument_give_rates_too():
    """Keras 3 calls them so."""
    rates = [1.0, 0.5]
    optimizer = SGD(lambda: rates[0])
    assert optimizer.learning_rate == 1.0
    rates[0] = 0.25
    assert run(optimizer, [1, 1]) == [-0.25, -0.5]
    assert run(SGD(lambda factor=0.5: factor), [1, 1]) == [0.0, -1.0], "an argument that it takes is the step"
    assert run(SGD(float), [1, 1]) == [0.0, -1.0]
    assert SGD(np.exp).learning_rate == 1.0, "which does not tell its arguments"


def test_decay_also_divides_schedules():
    optimizer = SGD(schedules.StepDecay(1.0, 0.5, 2), decay=1.0)
    np.testing.assert_allclose(run(optimizer, [1, 1, 1]), -np.cumsum([1.0, 0.5 / 2, 0.5 / 3]))


# --- gradients -------------------------------------------------------------------------------------------------


def test_clipping():
    g = [np.array([3.0, 4.0]), np.array([0.3, 0.4])]
    whole = np.sqrt(25 + 0.25)
    for setting, expected in (
        ({"clipvalue": 0.35}, [[0.35, 0.35], [0.3, 0.35]]),
        ({"clipnorm": 1.0}, [[0.6, 0.8], [0.3, 0.4]]),
        ({"global_clipnorm": 1.0}, [g[0] / whole, g[1] / whole]),
        ({"global_clipnorm": 10.0}, g),
    ):
        ws = [variable(np.zeros(2)), variable(np.zeros(2))]
        SGD(1.0, **setting).apply(g, ws)
        for w, e in zip(ws, expected, strict=True):
            np.testing.assert_allclose(w.numpy(), -np.asarray(e), rtol=1e-12)


def test_variables_without_gradient_are_skipped():
    optimizer = SGD(0.1, 0.9, weight_decay=0.5)
    ws = [variable([1.0]), variable([1.0])]
    optimizer.apply([None, np.ones(1)], ws)
    assert ws[0].item() == 1.0
    assert ws[1].item() == pytest.approx(0.85)
    assert optimizer.get_state()["velocity/0"] == 0
    with pytest.raises(ValueError, match="at least one"):
        optimizer.apply([None, None], ws)


def test_variables_can_be_excluded_from_weight_decay(tmp_path):
    made = [tc.Tensor(np.ones(2), requires_grad=True, name=name) for name in ("kernel", "bias", "gamma", "beta")]
    optimizer = SGD(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay([made[3]])
    optimizer.exclude_from_weight_decay(var_names=["^bi", "gam+a"])
    optimizer.apply([np.zeros(2)] * 4, made)
    assert [w.tolist() for w in made] == [[0.75, 0.75], [1, 1], [1, 1], [1, 1]]
    with pytest.raises(ValueError, match="before this SGD makes its first update"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])
    x, y = samples()
    whole = network(AdamW(0.05, weight_decay=0.3))
    whole.optimizer.exclude_from_weight_decay(var_names=["bias"])
    whole.fit(x, y, verbose=0)
    assert whole.optimizer.get_state()["decays"].tolist() == [True, False, True, False]
    whole.save(tmp_path / "model")
    resumed = tc.load_model(tmp_path / "model")
    for model in (whole, resumed):
        model.fit(x, y, verbose=0)
    assert same_weights(whole, resumed)
    assert resumed.optimizer.get_state()["decays"].tolist() == [True, False, True, False]
    state = whole.optimizer.get_state()
    with pytest.raises(ValueError, match="expected 'decays' for 4 variables"):
        resumed.optimizer.set_state({**state, "decays": np.array([True])})


def test_a_part_of_the_variables_keeps_its_slots():
    ws = [variable([0.0]), variable([0.0]), variable([0.0])]
    optimizer = SGD(0.1, 0.9)
    optimizer.apply([np.ones(1)] * 3, ws)
    optimizer.apply([np.ones(1)] * 2, [ws[2], ws[0]])
    np.testing.assert_allclose([w.item() for w in ws], [-0.29, -0.1, -0.29])


def test_pairs_and_built_variables():
    optimizer, w = SGD(0.5), variable([1.0])
    optimizer.apply_gradients(zip([np.ones(1)], [w], strict=True))
    optimizer.apply([[1]])
    assert w.item() == 0.0


def test_constraints_hold_after_the_update():
    w = variable([0.5, 0.5], constraint=lambda t: tc.ops.maximum(t, 0.0))
    free = variable([0.5, 0.5], constraint=None)
    SGD(1.0).apply([np.array([1.0, 0.1])] * 2, [w, free])
    assert w.tolist() == [0.0, 0.4]
    assert free.tolist() == [-0.5, 0.4]


def test_an_update_is_the_same_sequence_of_operations_each_time():
    gradients = np.random.default_rng(0).normal(size=(5, 3))
    for make, _ in LOOPS:
        whole, parts = variable(np.ones(3)), variable(np.ones(3))
        one, two = make(), make()
        two.build([parts])
        for g in gradients:
            one.apply([g], [whole])
            two.set_scalars()  # all that depends on the step number
            two.update_variables([g])
            two.advance()
        assert whole.numpy().tobytes() == parts.numpy().tobytes()


def test_nothing_is_recorded():
    w = variable([1.0])
    loss = (w * w).sum()
    optimizer = Adam(weight_decay=0.1, clipnorm=1.0)
    optimizer.apply([tc.grad(loss, w, create_graph=True)], [w])
    assert w.node is None
    assert all(v.node is None and not v.requires_grad for v in optimizer.variables)


# --- accumulation and averages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make for make, _ in LOOPS])
@pytest.mark.parametrize("limit", ["clipvalue", "clipnorm", "global_clipnorm"])
def test_accumulated_gradients_are_one_update_with_their_mean(make, limit):
    config = {**make().get_config(), "decay": 0.1, "weight_decay": 0.05, limit: 0.3}
    gradients = np.random.default_rng(0).normal(size=(12, 2, 3))
    plain, several = type(make())(**config), type(make())(**{**config, "gradient_accumulation_steps": 4})
    whole, parts = [variable(np.ones(3)), variable(np.zeros(3))], [variable(np.ones(3)), variable(np.zeros(3))]
    for cycle in gradients.reshape(3, 4, 2, 3):
        before = [w.tolist() for w in parts]
        for g in cycle:
            assert [w.tolist() for w in parts] == before  # nothing moves until the cycle is full
            several.apply(list(g), parts)
        plain.apply(list(cycle.mean(0)), whole)
        assert several.iterations == plain.iterations
        for a, b in zip(whole, parts, strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-12, atol=1e-15)


def test_sums_start_anew_even_after_an_overflow():
    optimizer, w = SGD(1.0, gradient_accumulation_steps=2, clipvalue=1.0), variable([0.0])
    for g in (np.inf, 1.0, 0.25, 0.75):
        optimizer.apply([np.array([g])], [w])
    assert w.item() == -1.5


@pytest.mark.parametrize("period", [None, 1, 3])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_averages(period, dtype):
    gradients, keep = np.random.default_rng(0).normal(size=(10, 4)), 0.7
    optimizer = SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=keep, ema_overwrite_frequency=period)
    w, still = variable(np.ones(4), dtype), variable([5.0])
    expected, average, v = np.ones(4), None, 0
    for step, g in enumerate(gradients, 1):
        optimizer.apply([g, None], [w, still])
        v = 0.9 * v - 0.1 * g
        expected = expected + v
        average = expected if average is None else keep * average + (1 - keep) * expected
        expected = average if period and step % period == 0 else expected
        tolerance = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
        np.testing.assert_allclose(w.numpy(), expected, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(optimizer.get_state()["average/0"], average, rtol=tolerance, atol=tolerance)
    optimizer.finalize_variable_values()
    np.testing.assert_allclose(w.numpy(), average, rtol=tolerance, atol=tolerance)
    assert still.item() == 5.0


def test_averages_of_an_accumulating_optimizer_count_updates():
    gradients = np.random.default_rng(1).normal(size=(6, 3))
    settings = {"learning_rate": 0.5, "use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2}
    plain, several = SGD(**settings), SGD(**settings, gradient_accumulation_steps=2)
    whole, parts = variable(np.ones(3)), variable(np.ones(3))
    for pair in gradients.reshape(3, 2, 3):
        plain.apply([pair.mean(0)], [whole])
        for g in pair:
            several.apply([g], [parts])
    np.testing.assert_allclose(parts.numpy(), whole.numpy(), rtol=1e-12)


def test_nothing_to_finalize():
    w = variable([1.0])
    for optimizer in (SGD(0.1), SGD(0.1, use_ema=True)):
        optimizer.finalize_variable_values()
        optimizer.build([w])
        optimizer.finalize_variable_values()  # no update yet: there is no average
    assert w.item() == 1.0


def test_some_variables_can_be_finalized():
    ws = [variable([0.0]), variable([0.0])]
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.5)
    for _ in range(2):
        optimizer.apply([np.ones(1), np.ones(1)], ws)
    optimizer.finalize_variable_values([ws[1]])
    assert [w.item() for w in ws] == [-2.0, -1.5]


def test_averages_that_overwrite_meet_constraints():
    """The mean of vectors of length 1 is shorter."""
    rng = np.random.default_rng(0)
    kernel = tc.layers.Dense(4, kernel_constraint="unit_norm", input_shape=(6,))
    model = tc.Sequential([kernel])
    model.compile(SGD(0.5, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2), "mse")
    for _ in range(4):
        before = model.get_weights()[0]
        model.train_on_batch(rng.normal(size=(8, 6)), rng.normal(size=(8, 4)))
        assert not np.allclose(before, model.get_weights()[0])
        np.testing.assert_allclose(np.linalg.norm(model.get_weights()[0], axis=0), 1, atol=1e-6)


EXTRAS: dict[str, dict] = {
    "accumulation": {"gradient_accumulation_steps": 3},
    "average": {"use_ema": True, "ema_momentum": 0.8},
    "overwriting": {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3, "clipnorm": 1.0},
    "all": {
        "use_ema": True, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2, "global_clipnorm": 1.0,
        "weight_decay": 0.1, "decay": 0.1,
    },
}  # fmt: skip


def network(optimizer, eager=False):
    tc.set_seed(0)
    model = tc.Sequential([tc.layers.Dense(8, "relu", input_shape=(4,)), tc.layers.Dropout(0.2), tc.layers.Dense(2)])
    model.compile(optimizer, "mse", run_eagerly=eager)
    return model


def samples(n=48):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)).astype("float32"), rng.normal(size=(n, 2)).astype("float32")


def same_weights(first, second):
    return all(a.tobytes() == b.tobytes() for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("cls", "extra"), [*((cls, extra) for cls in (SGD, Adam) for extra in EXTRAS), *((cls, "all") for cls in CLASSES)]
)
def test_replayed_steps_are_bit_equal_to_eager_ones(cls, extra):
    x, y = samples()
    models = []
    for eager in (False, True):
        models.append(network(cls(0.05, **EXTRAS[extra]), eager))
        models[-1].fit(x, y, batch_size=4, epochs=2, verbose=0)
    assert models[0]._replays.keys() == {"_update_weights"}
    assert any(type(known.run).__name__ == "Plan" for known in models[0]._replays["_update_weights"]._known.values())
    assert not models[1]._replays
    assert same_weights(*models)
    states = [model.optimizer.get_state() for model in models]
    assert list(states[0]) == list(states[1])
    for name, value in states[0].items():
        assert value.tobytes() == states[1][name].tobytes(), name
    assert states[0]["iterations"] == 24 // EXTRAS[extra].get("gradient_accumulation_steps", 1)


@pytest.mark.parametrize("extra", EXTRAS)
def test_training_goes_on_where_a_file_stopped_it(extra, tmp_path):
    """Also in the middle of a cycle of accumulation: 7 batches per epoch are no multiple of 3 or 2."""
    x, y = samples(28)
    whole = network(Adam(0.05, **EXTRAS[extra]))
    save = tc.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: whole.save(tmp_path / "model") if epoch == 0 else None
    )
    whole.fit(x, y, batch_size=4, epochs=3, callbacks=[save], verbose=0)
    resumed = tc.load_model(tmp_path / "model")
    assert resumed.optimizer.get_state().keys() == whole.optimizer.get_state().keys()
    resumed.fit(x, y, batch_size=4, initial_epoch=1, epochs=3, verbose=0)
    assert same_weights(resumed, whole)


@pytest.mark.parametrize("period", [None, 1])
def test_averages_leave_frozen_weights_alone(period):
    x, y = samples()
    model = network(SGD(0.05, use_ema=True, ema_overwrite_frequency=period))
    model.fit(x, y, batch_size=8, verbose=0)
    model.layers[0].trainable = False
    before = model.layers[0].get_weights()
    model.fit(x, y, batch_size=8, verbose=0)
    for then, now in zip(before, model.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(then, now)


def test_fit_ends_with_the_averages():
    x, y = samples()
    model = network(SGD(0.05, use_ema=True, ema_momentum=0.9))
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    state = model.optimizer.get_state()
    for i, w in enumerate(model.get_weights()):
        np.testing.assert_array_equal(w, state[f"average/{i}"])


# --- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -0.1, "0.1", None, True, [0.1]])
def test_bad_learning_rates(rate):
    with pytest.raises(ValueError, match="learning_rate must be a finite number"):
        SGD(rate)
    optimizer = SGD(0.1)
    with pytest.raises(ValueError, match="learning_rate must be a finite number"):
        optimizer.learning_rate = rate
    assert optimizer.learning_rate == 0.1


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGD(momentum=1.5), lambda: Adam(beta_1=1.0), lambda: Adam(epsilon=-1), lambda: SGD(decay=-1),
        lambda: SGD(clipnorm=1, clipvalue=1), lambda: SGD(clipnorm=0), lambda: RMSprop(rho=float("nan")),
        lambda: SGD(use_ema=True, ema_momentum=1.5), lambda: SGD(use_ema=True, ema_overwrite_frequency=0),
        lambda: SGD(gradient_accumulation_steps=1), lambda: SGD(gradient_accumulation_steps=2.0),
        lambda: Ftrl(learning_rate_power=0.5), lambda: Ftrl(0.0).apply([np.ones(1)], [variable([0.0])]),
        lambda: SGD(weight_decay=-0.1), lambda: optimizers.get("adm"), lambda: optimizers.get(None),
        lambda: optimizers.get(schedules.StepDecay(0.1)),
    ],
)  # fmt: skip
def test_bad_settings(make):
    with pytest.raises(ValueError, match="Received: "):
        make()


def test_unknown_arguments():
    with pytest.raises(TypeError, match=r"SGD expected arguments from .*'momentum'.* Received: \['momentun'\]"):
        SGD(momentun=0.9)


def test_epsilon_none_is_the_default():
    assert Adam(epsilon=None).get_config() == Adam().get_config()
    assert Adam().epsilon == RMSprop().epsilon == Adagrad().epsilon == 1e-8


def test_gradients_must_fit():
    w = tc.Tensor(np.ones(3), requires_grad=True, name="kernel")
    with pytest.raises(ValueError, match=r"gradient of variable 'kernel' of shape \(3,\).* Received: shape \(2,\)"):
        SGD().apply([np.ones(2)], [w])
    with pytest.raises(ValueError, match="Expected 1 gradients, one per variable. Received: 2"):
        SGD().apply([np.ones(3), np.ones(3)], [w])
    with pytest.raises(ValueError, match="does not know its variables"):
        SGD().apply([np.ones(3)])
    with pytest.raises(ValueError, match="one of them twice"):
        SGD().build([w, w])
    with pytest.raises(ValueError, match="leaf tensors of floats"):
        SGD().build([tc.Tensor([1, 2])])
    optimizer = SGD()
    optimizer.build([w])
    with pytest.raises(ValueError, match="built for 1 other variables.* Received: variable 'b'"):
        optimizer.apply([np.ones(3)], [tc.Tensor(np.ones(3), requires_grad=True, name="b")])
    assert (w.numpy() == 1).all()


def test_updates_are_finite_after_many_iterations():
    for cls in CLASSES:
        optimizer = cls()
        optimizer.iterations = 10**7
        assert all(math.isfinite(value) and value >= 0 for value in optimizer.scalars(0.1) if cls is not Nadam)


@pytest.mark.parametrize(
    "settings",
    [{"weight_decay": "much"}, {"ema_momentum": None}, {"decay": [0.1]}, {"gradient_accumulation_steps": "2"},
     {"clipnorm": 0}, {"clipvalue": "1"}, {"global_clipnorm": -1.0}],
)  # fmt: skip
def test_settings_that_are_no_numbers_are_named(settings):
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=f"^{name} must .* Received: {re.escape(repr(value))}$"):
        SGD(**settings)
