"""The learning-rate finder: its rates and losses, when it stops, and that it leaves no trace."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.callbacks import LambdaCallback, LearningRateFinder, find_learning_rate

L = tc.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(48, 3)), RNG.normal(size=(48, 1))


def linear(rate=0.01, **options):
    model = tc.Sequential([L.Dense(1, use_bias=False, kernel_initializer="zeros", input_shape=(3,))])
    model.compile(tc.optimizers.SGD(rate, **options), "mse")
    return model


def test_rates_and_losses_of_linear_regression():
    """Against gradient descent by hand in float64."""
    trial = {"start_lr": 1e-3, "end_lr": 0.5, "num_steps": 20, "smoothing": 0.9, "stop_factor": 1e9}
    finder = find_learning_rate(linear(decay=0.3), X, Y, 8, **trial, shuffle=False)
    rates, w, losses = np.geomspace(1e-3, 0.5, 20), np.zeros((3, 1)), []
    for step, rate in enumerate(rates):
        batch = slice(step % 6 * 8, step % 6 * 8 + 8)
        error = X[batch] @ w - Y[batch]
        losses.append((error**2).mean())
        w = w - rate * 2 / 8 * X[batch].T @ error
    np.testing.assert_allclose(finder.learning_rates, rates, rtol=1e-12)
    np.testing.assert_allclose(finder.losses, losses, rtol=1e-4)
    for step in range(20):  # the mean by its definition: weights 0.9**age, normed
        weights = 0.9 ** np.arange(step, -1, -1)
        expected = np.average(finder.losses[: step + 1], weights=weights)
        assert finder.smoothed_losses[step] == pytest.approx(expected, rel=1e-12)


def test_stops_when_the_loss_explodes():
    trial = {"start_lr": 1e-3, "end_lr": 1e3, "num_steps": 200, "smoothing": 0.5}
    finder = find_learning_rate(linear(), X, Y, 8, **trial, shuffle=False)
    assert 10 < len(finder.losses) < 200
    *before, last = finder.smoothed_losses
    assert last > 4 * min(before)
    assert all(value <= 4 * min(before[: i + 1]) for i, value in enumerate(before))


def test_stops_at_nan_and_keeps_what_came_before():
    x = X.copy()
    x[20] = np.nan  # in the third batch
    finder = find_learning_rate(linear(), x, Y, 8, shuffle=False)
    assert len(finder.losses) == len(finder.learning_rates) == len(finder.smoothed_losses) == 2
    assert np.isfinite(finder.losses).all()


def deep(optimizer, trained):
    tc.set_seed(1)
    noise = [L.Dropout(0.5), L.Dropout(0.5, seed=3)]
    model = tc.Sequential(
        [L.Dense(8, activation="relu", input_shape=(3,)), L.BatchNormalization(), *noise, L.Dense(1)]
    )
    model.compile(optimizer(), "mse", ["mae"])
    if trained:
        model.fit(X, Y, 8, epochs=2, verbose=0)
    return model


OPTIMIZERS = {
    "adam": lambda: tc.optimizers.Adam(0.01),
    "momentum and decay": lambda: tc.optimizers.SGD(0.02, momentum=0.9, decay=0.1),
    "schedule": lambda: tc.optimizers.SGD(tc.schedules.ExponentialDecay(0.01, 3, 0.5), momentum=0.9),
}


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_leaves_no_trace(kind, trained):
    """Training after a trial is bit for bit the training without one."""
    plain, tried = deep(OPTIMIZERS[kind], trained), deep(OPTIMIZERS[kind], trained)
    tc.set_seed(2)
    expected = plain.fit(X, Y, 8, epochs=2, verbose=0).history
    tc.set_seed(2)
    before, state, history = tried.get_weights(), tried.optimizer.get_state(), tried.history
    finder = find_learning_rate(tried, X, Y, 8, end_lr=0.1, num_steps=15)
    assert len(finder.losses) == 15
    assert tried.history is history
    assert tried.optimizer.built is trained
    assert tried.optimizer.get_config() == plain.optimizer.get_config()
    for a, b in zip(tried.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    for name, value in tried.optimizer.get_state().items():
        np.testing.assert_array_equal(value, state[name])
    assert tried.fit(X, Y, 8, epochs=2, verbose=0).history == expected
    for a, b in zip(tried.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_leaves_no_trace_when_it_is_interrupted():
    def interrupt(batch, logs):
        if batch == 3:
            raise KeyboardInterrupt

    model = deep(OPTIMIZERS["adam"], True)
    before, rate = model.get_weights(), model.optimizer.learning_rate
    finder = LearningRateFinder()
    for hook in ("on_train_batch_begin", "on_train_batch_end"):
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, 8, callbacks=[finder, LambdaCallback(**{hook: interrupt})], verbose=0)
        np.testing.assert_array_equal(model.get_weights()[0], before[0])
        assert model.optimizer.learning_rate == rate
        assert len(finder.learning_rates) == len(finder.losses)


def test_as_a_callback_it_takes_all_batches_of_fit():
    finder = LearningRateFinder(1e-5, 1e-3)
    linear().fit(X, Y, 8, epochs=3, callbacks=[finder], verbose=0)
    np.testing.assert_allclose(finder.learning_rates, np.geomspace(1e-5, 1e-3, 18), rtol=1e-12)
    short = LearningRateFinder(1e-5, 1e-3, num_steps=4)
    assert linear().fit(X, Y, 8, epochs=3, callbacks=[short], verbose=0).epoch == [0]
    np.testing.assert_allclose(short.learning_rates, np.geomspace(1e-5, 1e-3, 4), rtol=1e-12)


def test_a_model_without_weights_and_data_of_unknown_length():
    model = tc.Sequential([L.Dense(1)])
    model.compile("sgd", "mse")
    assert len(find_learning_rate(model, X, Y, 8, num_steps=5).losses) == 5
    batches = ((X[i : i + 8], Y[i : i + 8]) for i in range(0, 48, 8))
    with pytest.raises(ValueError, match="needs num_steps"):
        model.fit(batches, callbacks=[LearningRateFinder()], verbose=0)
    assert len(find_learning_rate(model, batches, end_lr=1e-3, num_steps=5, steps_per_epoch=5).losses) == 5


def curve(losses, first=1e-6, last=1.0):
    finder = LearningRateFinder()
    finder.learning_rates = list(np.geomspace(first, last, len(losses)))
    finder.losses = finder.smoothed_losses = list(losses)
    return finder


def test_suggestions_on_a_curve_whose_slope_is_known():
    decades = np.linspace(-6, 0, 601)
    falling = -1 / (1 + np.exp(-4 * (decades + 3)))  # steepest at 10**-3
    losses = 2 + falling + np.exp(20 * (decades + 0.5))  # and lowest before 10**-0.5
    assert np.log10(curve(losses).suggestion()) == pytest.approx(-3, abs=0.02)
    assert np.log10(curve(losses).suggestion("minimum")) == pytest.approx(decades[losses.argmin()] - 1)


@pytest.mark.parametrize("easy", [1, 5])
def test_easy_first_batches_decide_nothing(easy):
    """The mean of the first few batches is low by chance; then the loss falls from 3 to 2."""
    decades = np.linspace(-6, 0, 101)
    losses = 2 + 1 / (1 + np.exp(4 * (decades + 3))) + np.exp(20 * (decades + 0.5))
    losses[:easy] = 1.5
    assert np.log10(curve(losses).suggestion()) == pytest.approx(-3, abs=0.07)
    lowest = easy + losses[easy:].argmin()
    assert np.log10(curve(losses).suggestion("minimum")) == pytest.approx(decades[lowest] - 1)


@pytest.mark.parametrize("losses", [[], [1.0], [1.0, 0.9], np.linspace(1, 2, 50), np.ones(50)])
def test_no_suggestion_where_the_loss_never_fell(losses):
    with pytest.raises(ValueError, match="must fall for some steps before it explodes.*Received"):
        curve(losses).suggestion()


def test_the_figure(tmp_path):
    finder = curve(np.cos(np.linspace(0, 4, 80)) + 2)
    figure = finder.plot(tmp_path / "finder.png")
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), finder.smoothed_losses)
    assert axes.lines[1].get_xdata()[0] == finder.suggestion()
    assert (tmp_path / "finder.png").read_bytes()[:4] == b"\x89PNG"
    assert len(curve(np.linspace(1, 2, 50)).plot().axes[0].lines) == 1
    with pytest.raises(ValueError, match="nothing to draw"):
        LearningRateFinder().plot()


@pytest.mark.parametrize(
    "options",
    [{"start_lr": 1.0, "end_lr": 0.1}, {"start_lr": 0.0}, {"num_steps": 0}, {"smoothing": 1.0}, {"stop_factor": 1.0}],
)
def test_wrong_arguments(options):
    with pytest.raises(ValueError, match="Received: "):
        LearningRateFinder(**options)
    with pytest.raises(ValueError, match="method must be"):
        LearningRateFinder().suggestion("best")
