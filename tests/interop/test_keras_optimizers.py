"""The state of optimizers in Keras's files.

Oracles: the names and the order of what Keras 3.15.1 stores (``optimizer.variables``, listed there and written down
here), and training that was never interrupted. Files in which real Keras trained on are in ``test_keras_files.py``.
"""

import json

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import optimizers, schedules

h5py = pytest.importorskip("h5py")

RNG = np.random.default_rng(0)
X, Y = RNG.random((8, 4), np.float32), RNG.random((8, 2), np.float32)
E = 1e-7
MOMENTS = {"momentum": "m", "velocity": "v", "velocity_hat": "v_max"}
RMSPROP = {"velocity": "square", "momentum": "velocity", "average_gradient": "mean"}

# Optimizer, our names by Keras's, and what Keras stores after iteration (and learning_rate), in its order; w and b are
# the two weights. The orders with a remark follow from the code of earlier versions; all others are listed by 3.15.1.
CASES = {
    "sgd": (lambda: optimizers.SGD(0.1), {}, ""),
    "momentum": (lambda: optimizers.SGD(0.1, momentum=0.9), {"momentum": "velocity"}, "w_momentum b_momentum"),
    "adam": (lambda: optimizers.Adam(0.01), MOMENTS, "w_momentum w_velocity b_momentum b_velocity"),
    "adam, name by name": (lambda: optimizers.Adam(0.01), MOMENTS, "w_momentum b_momentum w_velocity b_velocity"),
    "amsgrad": (
        lambda: optimizers.Adam(0.01, amsgrad=True),
        MOMENTS, "w_momentum w_velocity b_momentum b_velocity w_velocity_hat b_velocity_hat",
    ),
    "adamw, amsgrad": (
        lambda: optimizers.AdamW(0.01, amsgrad=True),
        MOMENTS, "w_momentum w_velocity b_momentum b_velocity w_velocity_hat b_velocity_hat",
    ),
    "nadam": (lambda: optimizers.Nadam(0.01), MOMENTS, "w_momentum w_velocity b_momentum b_velocity variable"),
    "nadam, product first": (
        lambda: optimizers.Nadam(0.01), MOMENTS, "variable w_momentum w_velocity b_momentum b_velocity"
    ),
    "nadam, name by name": (
        lambda: optimizers.Nadam(0.01), MOMENTS, "w_momentum b_momentum w_velocity b_velocity variable"
    ),
    "nadam, schedule": (
        lambda: optimizers.Nadam(schedules.ExponentialDecay(0.01, 2, 0.5)),
        MOMENTS, "w_momentum w_velocity b_momentum b_velocity variable",
    ),
    "adamax": (
        lambda: optimizers.Adamax(0.01), {"momentum": "m", "norm": "u"}, "w_momentum w_norm b_momentum b_norm"
    ),
    "lion": (lambda: optimizers.Lion(0.01), {"momentum": "m"}, "w_momentum b_momentum"),
    "rmsprop": (lambda: optimizers.RMSprop(0.01), RMSPROP, "w_velocity b_velocity"),
    "centered": (
        lambda: optimizers.RMSprop(0.01, centered=True),
        RMSPROP, "w_velocity b_velocity w_average_gradient b_average_gradient",
    ),
    "centered, momentum": (
        lambda: optimizers.RMSprop(0.01, momentum=0.9, centered=True),
        RMSPROP, "w_velocity b_velocity w_momentum b_momentum w_average_gradient b_average_gradient",
    ),
    "adagrad": (lambda: optimizers.Adagrad(0.1), {"accumulator": "accumulator"}, "w_accumulator b_accumulator"),
    "adadelta": (
        lambda: optimizers.Adadelta(0.5),
        {"accumulated_grad": "square", "accumulated_delta_var": "step_square"},
        "w_accumulated_grad w_accumulated_delta_var b_accumulated_grad b_accumulated_delta_var",
    ),
    "ema": (
        lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
        {**MOMENTS, "average": "average"}, "w_average b_average w_momentum w_velocity b_momentum b_velocity",
    ),
    "accumulation": (
        lambda: optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
        {"gradient_accumulator": "gradient_sum", "momentum": "velocity"},
        "w_gradient_accumulator b_gradient_accumulator w_momentum b_momentum",
    ),
}  # fmt: skip


def make_model(optimizer):
    tc.set_seed(1)
    model = tc.Sequential([tc.layers.Dense(2, activation="tanh", input_shape=(4,))])
    model.compile(optimizer, "mse", run_eagerly=True)
    return model


def train(model, steps=3):
    for _ in range(steps):
        model.train_on_batch(X, Y)


def write_as_keras(path, model, arrays, version="3.15.1"):
    """A whole model as Keras writes it: without what tinyconv adds, and with an optimizer whose state is ``arrays``."""
    optimizer = {"class_name": type(model.optimizer).__name__, "config": model.optimizer.get_config()}
    model.save(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["tinyconv"], file["tinyconv_optimizer"]
        file.attrs["keras_version"] = version
        file.attrs["training_config"] = json.dumps({"loss": "mse", "optimizer_config": optimizer})
        group = file.create_group("optimizer_weights")
        for name, array in arrays.items():
            group[name] = array
        group.attrs["weight_names"] = list(arrays)


def stored(optimizer, ours, order):
    """The state of an optimizer under Keras's names, as Keras writes it: rates and numbers in float32."""
    state = optimizer.get_state()
    gradients = optimizer.iterations * (optimizer.gradient_accumulation_steps or 1) + int(state.get("accumulated", 0))
    arrays = {"iteration": np.int64(gradients)}
    if "learning_rate" in state:
        arrays["learning_rate"] = np.float32(state["learning_rate"])
    for name in order.split():
        weight, _, slot = name.partition("_")
        arrays[name] = np.float32(0.5) if name == "variable" else state[f"{ours[slot]}/{'wb'.index(weight)}"]
    return arrays


@pytest.mark.parametrize("name", CASES)
def test_training_goes_on_from_a_file_of_keras(name, tmp_path):
    """Three steps, a file, and three more are six steps."""
    make, ours, order = CASES[name]
    model = make_model(make())
    train(model)
    write_as_keras(tmp_path / "m.h5", model, stored(model.optimizer, ours, order))
    loaded = tc.load_model(tmp_path / "m.h5")
    assert loaded.optimizer.iterations == model.optimizer.iterations
    train(model)
    train(loaded)
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "version"),
    [
        (lambda arrays: arrays, "2.15.0"),
        (lambda arrays: {**arrays, "more": np.zeros(7)}, "3.15.1"),
        (lambda arrays: {n: a for n, a in arrays.items() if n != "b_velocity"}, "3.15.1"),
        (lambda arrays: {**arrays, "w_momentum": np.zeros((5, 2))}, "3.15.1"),
    ],
    ids=["Keras 2", "more", "less", "another shape"],
)
def test_a_state_that_is_not_understood_begins_afresh_with_a_warning(change, version, tmp_path):
    model = make_model(optimizers.Adam(0.01))
    train(model)
    arrays = stored(model.optimizer, *CASES["adam"][1:])
    write_as_keras(tmp_path / "m.h5", model, change(arrays), version)
    with pytest.warns(UserWarning, match="the state of its optimizer is not understood and begins afresh") as caught:
        loaded = tc.load_model(tmp_path / "m.h5")
    assert caught[0].filename == __file__
    assert (loaded.optimizer.iterations, loaded.optimizer.built) == (0, False)


@pytest.mark.parametrize("arrays", [{}, {"iteration": np.int64(0), "learning_rate": np.float32(0.01)}])
@pytest.mark.filterwarnings("error")
def test_there_is_nothing_to_warn_of_before_the_first_step(arrays, tmp_path):
    write_as_keras(tmp_path / "m.h5", make_model(optimizers.Adam(0.01)), arrays)
    assert tc.load_model(tmp_path / "m.h5").optimizer.iterations == 0


@pytest.mark.parametrize(("name", "value"), [("iteration", np.int64(-3)), ("learning_rate", np.float32("nan"))])
def test_nonsense_is_refused(name, value, tmp_path):
    model = make_model(optimizers.SGD(0.1))
    train(model)
    write_as_keras(tmp_path / "m.h5", model, {**stored(model.optimizer, {}, ""), name: value})
    with pytest.raises(ValueError, match=r"m\.h5 cannot be loaded: .*Received: .*(-3|nan)"):
        tc.load_model(tmp_path / "m.h5")
