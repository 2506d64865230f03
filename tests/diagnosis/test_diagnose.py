"""``diagnose``: the right verdict on made curves and on the runs that the documents report; no false alarm."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyconv.diagnosis import diagnose

EPOCHS = np.arange(40)


def falling(start, end, tau, n=40):
    return end + (start - end) * np.exp(-np.arange(n) / tau)


def rising(start, end, tau, n=40):
    return falling(start, end, tau, n)


# --- every rule ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
@pytest.mark.parametrize("key", ["loss", "val_loss"])
def test_not_finite(bad, key):
    history = {"loss": [1.0, 0.8, 0.7], "val_loss": [1.0, 0.8, 0.7]}
    history[key] = [1.0, bad, 0.7]
    found = diagnose(history)
    assert found.names == ["not_finite"]
    assert not found.ok
    what = "Training" if key == "loss" else "Validation"
    assert found.findings[0].evidence == f"{what} loss is {'inf' if bad == math.inf else 'nan'} in epoch 2"


def test_divergence_drops_then_rises_dramatically():
    loss = [2.3, 1.2, 0.9, 1.1, 2.0, 4.5, 9.0]
    assert diagnose({"loss": loss}).names == ["divergence"]
    assert "from 0.9 (epoch 3) to 9" in diagnose({"loss": loss}).findings[0].evidence
    assert diagnose({"loss": [2.3, 3.0, 4.1, 6.0], "acc": [0.1] * 4}).names == ["divergence"], "rises from the start"


def test_high_rate_drops_quickly_then_stays():
    loss = np.concatenate([[2.3, 1.6], 1.5 + 0.005 * np.sin(np.arange(18))])
    found = diagnose({"loss": loss, "val_loss": loss + 0.05, "acc": np.full(20, 0.45), "val_acc": np.full(20, 0.44)})
    assert "learning_rate_too_high" in found
    assert "from 2.3 to 1.5" in found.findings[0].evidence
    assert "in 4 epochs" in found.findings[0].evidence


def test_high_rate_that_never_gets_below_the_first_epoch():
    """A real run: the small network on MNIST, SGD with momentum 0.9 and a rate of 0.5."""
    loss = [2.046, 2.381, 2.331, 2.317, 2.315, 2.32, 2.314, 2.317, 2.316, 2.323, 2.323, 2.322]
    found = diagnose({"loss": loss, "acc": [0.2] + [0.107] * 11})
    assert found.names == ["learning_rate_too_high", "underfitting"]
    assert found.findings[0].evidence == "Training loss was lowest in epoch 1, 2.046, and is 2.322 in the end"


def test_spikes_of_the_loss():
    """As ShallowNet on Animals, whose loss spikes near epochs 20 and 60."""
    loss = falling(1.03, 0.34, 30, 100)
    loss[[19, 59]] += 0.4
    found = diagnose({"loss": loss, "acc": rising(0.45, 0.87, 30, 100)})
    assert found.names == ["learning_rate_too_high"]
    assert "jumped up 2 times" in found.findings[0].evidence
    assert "(epochs 20, 60)" in found.findings[0].evidence


def test_low_rate_falls_linearly():
    loss = np.linspace(2.3, 1.9, 20)
    found = diagnose({"loss": loss, "val_loss": loss + 0.01, "acc": np.linspace(0.1, 0.3, 20)})
    assert found.names == ["learning_rate_too_low", "underfitting"]
    assert "from 2.3 to 1.9 in 20 epochs" in found.findings[0].evidence
    assert "both losses still fall together" in found.findings[1].evidence


def test_low_rate_that_hardly_moves_the_loss():
    """A real run with a rate of 1e-5: 0.2 % in 12 epochs, but steadily."""
    loss = [2.296, 2.2956, 2.2952, 2.2948, 2.2944, 2.294, 2.2937, 2.2933, 2.2929, 2.2926, 2.2922, 2.2918]
    assert diagnose({"loss": loss, "acc": [0.14] * 12}).names == ["learning_rate_too_low", "underfitting"]


def test_rate_that_vanished():
    """The factor 0.25 every 5 epochs from 0.01 ends at 2.44e-06 (numerics 9), and the network stops learning."""
    rate = 0.01 * 0.25 ** np.floor((1 + EPOCHS) / 5)
    loss = np.maximum(falling(1.6, 0.54, 4), 0.5423)
    found = diagnose({"loss": loss, "acc": rising(0.45, 0.81, 5), "learning_rate": rate})
    assert found.names == ["learning_rate_vanished"]
    assert "from 0.01 to 1.53e-07" in found.findings[0].evidence
    gentle = 0.01 * 0.5 ** np.floor((1 + EPOCHS) / 5)
    assert diagnose({"loss": loss, "acc": rising(0.45, 0.81, 5), "lr": gentle}).ok


def test_a_rate_that_vanished_was_not_too_high():
    """A real run: SGD from 0.05 on, a tenth of it in every epoch. The loss stands because the rate is gone."""
    loss = [0.7222, 0.6872, 0.6849, 0.6847, 0.6846, *[0.6846] * 15]
    found = diagnose({"loss": loss, "acc": [0.5667] * 20, "learning_rate": 0.05 * 0.1 ** np.arange(20)})
    assert found.names == ["learning_rate_vanished", "underfitting"]


def test_the_learning_rate_comes_before_the_network():
    """Whoever trains with a wrong rate learns nothing about the size of the network."""
    for loss in (np.linspace(2.3, 1.9, 20), [2.046, 2.381, 2.331, 2.317, 2.315, 2.32, 2.314]):
        found = diagnose({"loss": loss, "acc": [0.1] * len(loss)})
        assert found.names[-1] == "underfitting"
        assert found.findings[-1].advice.startswith("Mend the learning rate first; then add layers or neurons")
    alone = diagnose({"loss": falling(2.3, 1.5, 8), "acc": rising(0.1, 0.45, 8)})
    assert alone.findings[-1].advice.startswith("Add layers or neurons, tune the learning rate")


def test_stagnation():
    never = {"loss": [2.303, 2.302, 2.303, 2.302, 2.303, 2.302, 2.303], "acc": [0.1] * 7}
    assert diagnose(never).names == ["stagnation", "underfitting"]
    assert "from the start" in diagnose(never).findings[0].evidence
    noisy = {"loss": [2.46, 2.4, 2.42, 2.37, 2.4, 2.37, 2.41, 2.39, 2.36, 2.4, 2.38], "acc": [0.1] * 11}
    assert diagnose(noisy).names == ["stagnation", "underfitting"], "noise apart"
    later = np.concatenate([np.linspace(2.3, 1.7, 8), np.full(12, 1.7)])
    found = diagnose({"loss": later, "acc": np.full(20, 0.4)})
    assert found.names == ["stagnation", "underfitting"]
    assert "stood at 1.7 for 10 epochs" in found.findings[0].evidence


def test_underfitting():
    """Poor on training data: more data do not help."""
    found = diagnose({"loss": falling(2.3, 1.5, 8), "val_loss": falling(2.3, 1.52, 8), "acc": rising(0.1, 0.45, 8)})
    assert found.names == ["underfitting"]
    assert "more data will not help" in found.findings[0].advice
    assert diagnose({"loss": falling(1.0, 0.6, 8)[:12]}).names == ["underfitting"], "by the loss alone"
    assert diagnose({"loss": falling(1.0, 0.8, 8)}).names == ["stagnation", "underfitting"]


def test_acceptable_is_the_users_decision():
    history = {"loss": falling(2.3, 0.5, 6), "acc": rising(0.1, 0.8, 6)}
    assert diagnose(history).ok
    assert diagnose(history, acceptable=0.95).names == ["underfitting"]
    assert diagnose({"loss": falling(1.0, 0.8, 8)}, acceptable=0.9).ok


def test_overfitting_by_rising_validation_loss():
    val = np.concatenate([falling(1.6, 0.6, 4, 15), 0.62 + 0.03 * np.arange(25)])
    found = diagnose({"loss": falling(1.7, 0.05, 8), "val_loss": val})
    assert found.names == ["overfitting"]
    assert "from 0.62 (epoch 16)" in found.findings[0].evidence
    assert "to 1.34 (epoch 40)" in found.findings[0].evidence
    assert "10 to 15 epochs" not in found.findings[0].advice, "it has gone on for long enough"
    young = diagnose({"loss": falling(1.7, 0.05, 8)[:20], "val_loss": val[:20]})
    assert young.names == ["overfitting"]
    assert "10 to 15 epochs before judging" in young.findings[0].advice


def test_overfitting_by_the_gap():
    found = diagnose({"loss": falling(2, 0.1, 6), "acc": rising(0.3, 0.97, 6), "val_acc": rising(0.3, 0.7, 3)})
    assert found.names == ["overfitting"]
    assert "0.27 lower" in found.findings[0].evidence
    flat = diagnose({"loss": falling(1.6, 0.05, 8), "val_loss": falling(1.6, 0.8, 3)})
    assert flat.names == ["overfitting"]
    assert "stands still at 0.8" in flat.findings[0].evidence


def test_validation_better_is_normal_with_dropout():
    found = diagnose({"loss": falling(2, 0.5, 6), "val_loss": falling(2, 0.4, 6)})
    assert found.names == ["validation_better"]
    assert found.ok
    assert "dropout" in found.findings[0].advice
    accuracy = diagnose({"loss": falling(2, 0.5, 6), "acc": rising(0.3, 0.8, 6), "val_acc": rising(0.3, 0.85, 6)})
    assert accuracy.names == ["validation_better"]
    assert accuracy.ok


def test_short_histories():
    found = diagnose({"loss": [1.0, 5.0]})
    assert found.names == ["short"]
    assert found.ok


# --- runs that the documents report (programs.md) --------------------------------------------------------------


def run(first, second, last, n):
    """Curves through the reported first two and last epochs: an exponential from the second on."""
    curves = {}
    for key, a, b, c in zip(("loss", "acc", "val_loss", "val_acc"), first, second, last, strict=True):
        t = np.arange(n - 1)
        curves[key] = [a, *(c + (b - c) * (np.exp(-t / (n / 5)) - math.exp(-5)) / (1 - math.exp(-5)))]
    return curves


REPORTED = {  # loss, acc, val_loss, val_acc of epochs 1 and 2 and of the last; epochs; nothing to object to
    "MiniVGGNet with BN": (
        (1.6001, 0.4691, 1.3851, 0.5234),
        (1.1237, 0.6079, 1.1925, 0.6139),
        (0.2557, 0.9087, 0.5634, 0.8236),
        40, True,
    ),
    "LeNet, MNIST": (
        (1.097, 0.6976, 0.5348, 0.8228),
        (0.42, 0.88, 0.33, 0.9),
        (0.0411, 0.9877, 0.0576, 0.9837),
        20, True,
    ),
    "captcha digits": (
        (2.1606, 0.1895, 2.1553, 0.2266),
        (2.0877, 0.3565, 2.0874, 0.1769),
        (0.0152, 0.9993, 0.0261, 0.998),
        15, True,
    ),
    "smiles": (
        (0.397, 0.8161, 0.2771, 0.8872),
        (0.2572, 0.8919, 0.262, 0.8899),
        (0.0791, 0.9716, 0.2148, 0.9351),
        15, True,
    ),
    "step decay, F=.5": (
        (1.6733, 0.4402, 1.2024, 0.5771),
        (1.1868, 0.5898, 0.9651, 0.6643),
        (0.3562, 0.8742, 0.5452, 0.8177),
        40, True,
    ),
    "ShallowNet, Animals": (
        (1.029, 0.456, 0.9602, 0.516),
        (0.9289, 0.5431, 1.0345, 0.4933),
        (0.3442, 0.8707, 0.689, 0.6947),
        100, False,
    ),
    "ShallowNet, CIFAR-10": (
        (1.8087, 0.3653, 1.6558, 0.4282),
        (1.5669, 0.4583, 1.4903, 0.4724),
        (0.6768, 0.7685, 1.2418, 0.589),
        40, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTED)
def test_reported_runs(name):
    *points, n, ok = REPORTED[name]
    found = diagnose(run(*points, n))
    assert (found.ok, found.names) == (ok, [] if ok else ["overfitting"])


# --- no false alarm --------------------------------------------------------------------------------------------


@st.composite
def healthy(draw):
    """Both losses fall faster than linearly to a small value, with a little noise; accuracies rise likewise."""
    n = draw(st.integers(3, 100))
    start, tau = draw(st.floats(0.3, 5)), n * draw(st.floats(0.05, 0.3))
    end = start * draw(st.floats(0.005, 0.2))
    gap = 1 + draw(st.floats(0, 0.25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def noise():
        return 1 + draw(st.floats(0, 0.03)) * rng.uniform(-1, 1, n)

    loss = falling(start, end, tau, n)
    history = {"loss": loss * noise()}
    if draw(st.booleans()):
        history["val_loss"] = (loss * gap) * noise()
    if draw(st.booleans()):
        top = draw(st.floats(0.85, 1.0))
        history["accuracy"] = np.minimum(rising(0.1, top, tau, n), 1)
        history["val_accuracy"] = history["accuracy"] - draw(st.floats(0, 0.08))
    if draw(st.booleans()):
        history["learning_rate"] = 0.01 / (1 + 0.1 * np.arange(n))
    return {key: list(curve) for key, curve in history.items()}


@settings(max_examples=200, deadline=None)
@given(healthy())
def test_healthy_runs_raise_no_alarm(history):
    found = diagnose(history)
    assert found.ok, str(found)
    assert found == diagnose(history), "and always the same"


@settings(max_examples=50, deadline=None)
@given(healthy(), st.floats(0.01, 100))
def test_the_verdict_does_not_depend_on_the_unit_of_the_loss(history, factor):
    scaled = {key: [factor * v for v in curve] if "loss" in key else curve for key, curve in history.items()}
    assert diagnose(scaled).names == diagnose(history).names


# --- input and output ------------------------------------------------------------------------------------------


def test_from_fit_and_from_a_json_file(tmp_path):
    import tinyconv as tc

    x = np.random.default_rng(0).standard_normal((64, 3)).astype("float32")
    model = tc.Sequential([tc.Input((3,)), tc.layers.Dense(1)])
    model.compile(tc.optimizers.SGD(0.1), "mse", ["mae"])
    history = model.fit(x, x @ [[1.0], [2.0], [3.0]], epochs=10, verbose=0)
    assert diagnose(history).ok
    assert diagnose(history).epochs == 10
    (tmp_path / "run.json").write_text(json.dumps({"loss": [2.0, math.nan], "lr": [0.1, 0.1]}))
    assert diagnose(json.loads((tmp_path / "run.json").read_text())).names == ["not_finite"]


def test_it_can_be_read():
    found = diagnose({"loss": [2.3, 3.0, 4.1, 6.0]})
    assert str(found).splitlines()[0] == "4 epochs: worth a look"
    assert "warning: [divergence] Training loss rose from 2.3 (epoch 1) to 6. The learning rate is" in str(found)
    assert str(diagnose({"loss": falling(1, 0.1, 5)})) == "40 epochs: nothing to object to"


@pytest.mark.parametrize(
    ("history", "error", "message"),
    [
        ([0.1], TypeError, "must be what fit returned, or a mapping of curves"),
        ({"val_loss": [1.0]}, ValueError, "must have 'loss'.*Received: \\['val_loss'\\]"),
        ({"loss": []}, ValueError, "at least one epoch"),
        ({"loss": ["high"]}, ValueError, "must hold numbers"),
        ({"loss": [1.0, 0.5], "acc": [0.1]}, ValueError, "of one length, 2. Received: 1 for 'acc'"),
    ],
)
def test_bad_histories(history, error, message):
    with pytest.raises(error, match=message):
        diagnose(history)


def test_validation_now_and_then_tells_nothing_about_epochs():
    assert diagnose({"loss": falling(2, 0.1, 6), "val_loss": [1.0, 2.0, 9.0]}).ok
