"""Each conformance test fails for a class that breaks the promise which it looks at, and passes for its sound twin."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import constraints, initializers, layers, losses, metrics, optimizers, regularizers, schedules
from tinyconv.function import Function
from tinyconv.registry import register

ROOT = Path(__file__).parents[1]


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


of_layers = load("mutants_of_layers", ROOT / "layers/test_conformance.py")
of_others = load("mutants_of_others", ROOT / "conformance/test_conformance.py")
Case, LayerCase = of_others.cases.Case, of_layers.Case

DRAWN = np.random.default_rng(7)  # a stream that no seed of tinyconv's touches


def changed(base, **members):
    """A descendant of ``base`` with other ``members``, registered under a name of its own."""
    name = f"Mutant{DRAWN.integers(2**31)}"
    return register("", name)(type(name, (base,), {"__doc__": base.__doc__, **members}))


def layer(**members):
    """A layer that doubles, but for ``members``."""
    doc = "Inputs: (N, ...). Outputs: the same.\n\n>>> 1\n1"
    body = {"call": lambda self, x: 2.0 * x, "compute_output_shape": lambda self, shape: shape, "__doc__": doc}
    return changed(layers.Layer, **{**body, **members})


class Thrice(Function):
    """2 x, with the gradient of 3 x."""

    def forward(self, x):
        return 2 * x

    def backward(self, dy):
        return 3.0 * dy


def lucky(self, **options):
    layers.Layer.__init__(self, **options)
    self._factor = DRAWN.random()


def writing(self, x):
    if not x.data.flags.writeable:
        raise ValueError("assignment destination is read-only")
    x.data[...] = 0
    return 2.0 * x


def no_empty_batch(self, x):
    if not len(x):
        raise ValueError("nothing")
    return 2.0 * x


LAYERS = {
    "test_docstring_tells_shapes_and_has_an_example": layer(__doc__="Something."),
    "test_config_round_trip": layer(get_config=lambda self: {**layers.Layer.get_config(self), "name": "other"}),
    "test_restored_layer_computes_the_same": layer(__init__=lucky, call=lambda self, x: x * self._factor),
    "test_output_shape": layer(compute_output_shape=lambda self, shape: (*shape[:-1], 7)),
    "test_dtype_is_kept": layer(call=lambda self, x: tc.ops.astype(x, "float32")),
    "test_neither_inputs_nor_weights_are_changed": layer(call=writing),
    "test_batches_of_one_and_none": layer(call=no_empty_batch),
    "test_one_seed_one_result": layer(call=lambda self, x: x * DRAWN.random()),
    "test_inference_is_repeatable_and_training_is_off_by_default": layer(call=lambda self, x: x * DRAWN.random()),
    "test_gradients": layer(call=lambda self, x: Thrice()(x)),
    "test_repr": layer(__repr__=object.__repr__),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    check = getattr(of_layers, name)
    wanted = check.__code__.co_varnames[: check.__code__.co_argcount]
    given = {n: {"case": LayerCase(), "dtype": "float64"}[n] for n in wanted if n != "cls"}
    check(cls=layer(), **given)
    with pytest.raises((AssertionError, ValueError, TypeError)):
        check(cls=LAYERS[name], **given)


def test_layers_from_files(tmp_path, monkeypatch):
    rows = [row for row in of_layers.ROWS if row.values[0] is layers.LeakyReLU]
    monkeypatch.setattr(of_layers, "ROWS", rows)
    of_layers.test_saved_layers_compute_the_same_bits_in_a_new_process(tmp_path)
    monkeypatch.setattr(layers.LeakyReLU, "call", lambda self, x: 1.0000001 * tc.ops.leaky_relu(x, self.negative_slope))
    with pytest.raises(AssertionError):
        of_layers.test_saved_layers_compute_the_same_bits_in_a_new_process(tmp_path)


def kind_of(cls):
    for kind, module in of_others.cases.KINDS.items():
        if issubclass(cls, of_others.cases.BASES[module]):
            return kind
    raise AssertionError(cls)


def drawing(base, method):
    original = getattr(base, method)
    return changed(base, **{method: lambda self, *args, **options: original(self, *args, **options) * DRAWN.random()})


def to_float32(base, method):
    original = getattr(base, method)
    return changed(
        base, **{method: lambda self, *args, **options: tc.ops.astype(original(self, *args, **options), "float32")}
    )


def overwriting(base, method, place):
    """``method`` writes into its argument number ``place``."""
    original = getattr(base, method)

    def broken(self, *args, **options):
        array = args[place] if not isinstance(args[place], list) else args[place][0]
        values = array.data if isinstance(array, tc.Tensor) else array
        values[...] = 0
        return original(self, *args, **options)

    return changed(base, **{method: broken})


def not_for_empty(base, method, place):
    original = getattr(base, method)

    def broken(self, *args, **options):
        if not np.size(args[place]):
            raise ValueError("nothing")
        return original(self, *args, **options)

    return changed(base, **{method: broken})


def narrowing(self, grads, variables=None):
    optimizers.SGD.update_variables(self, grads, variables)
    for w in variables:
        w.data = w.data.astype("float32")


SGD, MSE, MAE = optimizers.SGD, losses.MeanSquaredError, metrics.MeanAbsoluteError
L2, NonNeg, Normal, Step = regularizers.L2, constraints.NonNeg, initializers.RandomNormal, schedules.StepDecay
SETTINGS = {Step: {"initial_learning_rate": 0.1, "drop_every": 5}}
METHODS = {MSE: "call", MAE: "result", L2: "__call__", NonNeg: "__call__", Normal: "__call__", Step: "__call__"}
FORGETTING = {
    MSE: ("reduction", "sum"), losses.Huber: ("delta", 0.3), metrics.Precision: ("thresholds", 0.9),
    SGD: ("momentum", 0.9), L2: ("l2", 0.3), constraints.MaxNorm: ("max_value", 0.1), Normal: ("stddev", 3.0),
    Step: ("factor", 0.1),
}  # fmt: skip

CHECKS = [
    *(("test_configuration_round_trip", changed(base, get_config=lambda self, base=base, name=name: {
        k: v for k, v in base.get_config(self).items() if k != name}), {name: value})
      for base, (name, value) in FORGETTING.items()),
    *(("test_repr", changed(base, __repr__=object.__repr__), {}) for base in (*METHODS, SGD)),
    *(("test_docstring_tells_shapes", changed(base, __doc__="Something."), {})
      for base in (MSE, MAE, L2, NonNeg, Normal)),
    *(("test_docstring_has_an_example_that_runs", changed(base, __doc__=">>> 1\n2\n"), {}) for base in (*METHODS, SGD)),
    *(("test_determinism", drawing(base, method), {}) for base, method in METHODS.items() if base is not Normal),
    ("test_determinism", drawing(SGD, "update"), {}),
    ("test_determinism", changed(Normal, __call__=lambda self, shape, dtype="float32": DRAWN.random(shape)), {}),
    ("test_inputs_are_not_changed", overwriting(MSE, "__call__", 1), {}),
    ("test_inputs_are_not_changed", overwriting(MAE, "update_state", 1), {}),
    ("test_inputs_are_not_changed", overwriting(L2, "__call__", 0), {}),
    ("test_inputs_are_not_changed", overwriting(NonNeg, "__call__", 0), {}),
    ("test_inputs_are_not_changed", overwriting(SGD, "apply", 0), {}),
    *(("test_dtype_is_kept", to_float32(base, METHODS[base]), {}) for base in (MSE, L2, NonNeg)),
    ("test_dtype_is_kept", changed(SGD, update_variables=narrowing), {}),
    ("test_dtype_is_kept", changed(Normal, __call__=lambda self, shape, dtype=None: np.zeros(shape, "float32")), {}),
    ("test_dtype_is_kept", changed(MAE, result=lambda self: np.float32(1)), {}),
    ("test_batches_of_one_and_none", not_for_empty(MSE, "__call__", 1), {}),
    ("test_batches_of_one_and_none", not_for_empty(MAE, "update_state", 1), {}),
    ("test_empty_and_single_weights", not_for_empty(L2, "__call__", 0), {}),
    ("test_empty_and_single_weights", not_for_empty(NonNeg, "__call__", 0), {}),
    ("test_empty_and_single_weights", changed(Normal, __call__=lambda self, shape, dtype=None: np.zeros(3)), {}),
    ("test_empty_and_single_weights", not_for_empty(SGD, "update", 0), {}),
    ("test_gradients_of_order_1_and_2", changed(MSE, call=lambda self, y, p: Thrice()(tc.ops.mean(p, -1))), {}),
    ("test_gradients_of_order_1_and_2", changed(L2, __call__=lambda self, w: Thrice()(tc.ops.sum(w))), {}),
    ("test_a_weight_counts_like_so_many_samples", changed(MAE, update_state=lambda self, y, p, sample_weight=None:
        metrics.MeanAbsoluteError.update_state(self, y, p)), {}),
    ("test_unknown_arguments_are_refused", changed(SGD, __init__=lambda self, **options: SGD.__init__(self)), {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "cls", "settings"), CHECKS, ids=[f"{name}-{kind_of(cls)}-{i}" for i, (name, cls, _) in enumerate(CHECKS)]
)
def test_others(name, cls, settings):
    base = cls.__mro__[1]
    case = Case(kind_of(cls), cls, {**SETTINGS.get(base, {}), **settings})
    sound = Case(case.kind, changed(base), case.settings)
    check = getattr(of_others, name)
    dtype = {"dtype": "float64"} if "dtype" in check.__code__.co_varnames[: check.__code__.co_argcount] else {}
    check(sound, **dtype)
    with pytest.raises((AssertionError, ValueError, TypeError, KeyError, pytest.fail.Exception)):
        check(case, **dtype)


def test_others_from_files(tmp_path, monkeypatch):
    for name in ("losses.MeanSquaredError-0", "optimizers.SGD-0", "initializers.Constant-0"):
        monkeypatch.setattr(of_others, "CASES", {name: of_others.cases.CASES[name]})
        folder = tmp_path / name
        folder.mkdir()
        case = of_others.cases.CASES[name]
        method = "scalars" if case.kind == "optimizers" else "__call__"
        original = getattr(case.cls, method)

        def slightly_wrong(self, *args, original=original, kind=case.kind, **options):
            value = original(self, *args, **options)
            return tuple(1.0001 * v for v in value) if kind == "optimizers" else 1.0001 * value

        with monkeypatch.context() as patch:
            patch.setattr(case.cls, method, slightly_wrong)
            with pytest.raises(AssertionError):
                of_others.test_everything_is_bit_equal_in_a_new_process(folder)
