"""Every loss, metric, optimizer, initializer, regularizer, constraint and schedule, found by introspection.

A new class joins by itself; only one that cannot be made without arguments, or has a setting that deserves a second
case, needs a row in ``SETTINGS``.
"""

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv import constraints, initializers, losses, metrics, optimizers, regularizers, schedules

BASES = {
    losses: losses.Loss,
    metrics: metrics.Metric,
    optimizers: optimizers.Optimizer,
    initializers: initializers.Initializer,
    regularizers: regularizers.Regularizer,
    constraints: constraints.Constraint,
    schedules: schedules.LearningRateSchedule,
}
KINDS = {module.__name__.rpartition(".")[2]: module for module in BASES}

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "losses.BinaryCrossentropy": [{}, {"from_logits": True, "label_smoothing": 0.1}],
    "losses.BinaryFocalCrossentropy": [{}, {"apply_class_balancing": True, "gamma": 1.5, "from_logits": True}],
    "losses.CategoricalCrossentropy": [{}, {"from_logits": True, "label_smoothing": 0.1, "reduction": "sum"}],
    "losses.CategoricalFocalCrossentropy": [{}, {"from_logits": True, "label_smoothing": 0.1}],
    "losses.LossFunctionWrapper": [{"fn": losses.huber, "delta": 0.5}],
    "losses.MeanSquaredError": [{}, {"reduction": "mean_with_sample_weight", "name": "error"}],
    "losses.SparseCategoricalCrossentropy": [{}, {"from_logits": True, "ignore_class": 1}],
    "metrics.AUC": [{}, {"curve": "PR", "multi_label": True}],
    "metrics.BinaryCrossentropy": [{}, {"from_logits": True}],
    "metrics.CohenKappa": [{}, {"weightage": "quadratic", "num_classes": 3}],
    "metrics.FBetaScore": [{}, {"average": "weighted", "beta": 2.0, "threshold": 0.4}],
    "metrics.MeanIoU": [{"num_classes": 3, "sparse_y_true": False, "sparse_y_pred": False, "ignore_class": 1}],
    "metrics.MeanMetricWrapper": [{"fn": metrics.categorical_accuracy}, {"fn": losses.huber, "delta": 0.5}],
    "metrics.Precision": [{}, {"thresholds": [0.2, 0.5]}, {"top_k": 1, "class_id": 2}],
    "metrics.PrecisionAtRecall": [{"recall": 0.5}],
    "metrics.RecallAtPrecision": [{"precision": 0.5}],
    "metrics.SensitivityAtSpecificity": [{"specificity": 0.5}],
    "metrics.SpecificityAtSensitivity": [{"sensitivity": 0.5}],
    "metrics.R2Score": [{}, {"class_aggregation": None}],
    "optimizers.Adam": [{}, {"amsgrad": True, "weight_decay": 0.1, "clipnorm": 0.5, "decay": 0.1}],
    "optimizers.RMSprop": [{}, {"centered": True, "momentum": 0.5, "gradient_accumulation_steps": 2}],
    "optimizers.SGD": [
        {},
        {"momentum": 0.9, "nesterov": True, "use_ema": True, "ema_overwrite_frequency": 2, "global_clipnorm": 1.0},
        {"learning_rate": schedules.LinearWarmup(schedules.ExponentialDecay(0.1, 10, 0.5), 2)},
    ],
    "initializers.Constant": [{"value": 0.3}],
    "initializers.RandomUniform": [{}, {"minval": 0.0, "maxval": 2.0, "seed": 3}],
    "initializers.VarianceScaling": [{}, {"scale": 2.0, "mode": "fan_out", "distribution": "uniform", "seed": 3}],
    "regularizers.OrthogonalRegularizer": [{}, {"factor": 0.2, "mode": "columns"}],
    "regularizers.L1L2": [{}, {"l1": 0.1, "l2": 0.2}],
    "constraints.MinMaxNorm": [{}, {"min_value": 0.5, "max_value": 0.9, "rate": 0.7, "axis": [0, 1]}],
    "schedules.CosineDecay": [
        {"initial_learning_rate": 0.0, "decay_steps": 20, "warmup_target": 0.1, "warmup_steps": 5}
    ],
    "schedules.CosineDecayRestarts": [
        {"initial_learning_rate": 0.1, "first_decay_steps": 5, "m_mul": 0.5, "alpha": 0.1}
    ],
    "schedules.ExponentialDecay": [{"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}],
    "schedules.InverseTimeDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": True}
    ],
    "schedules.LinearWarmup": [
        {"after": 0.1, "warmup_steps": 5}, {"after": schedules.StepDecay(0.1), "warmup_steps": 5}
    ],
    "schedules.OneCycle": [{"max_learning_rate": 0.1, "total_steps": 30}],
    "schedules.PiecewiseConstantDecay": [{"boundaries": [5, 9], "values": [0.1, 0.01, 0.001]}],
    "schedules.PolynomialDecay": [{"initial_learning_rate": 0.1, "decay_steps": 10, "cycle": True}],
    "schedules.StepDecay": [{"initial_learning_rate": 0.1, "drop_every": 5}],
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A class and arguments for it."""

    kind: str
    cls: type
    settings: dict[str, Any]

    def make(self) -> Any:
        return self.cls(**self.settings)

    @property
    def module(self) -> Any:
        return KINDS[self.kind]


def found(module: Any) -> dict[str, type]:
    """The public classes of a module, by name."""
    base = BASES[module]
    return {
        cls.__name__: cls for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, base) and cls is not base and not cls.__name__.startswith("_")
    }  # fmt: skip


CASES = {
    f"{kind}.{name}-{number}": Case(kind, cls, settings)
    for kind, module in KINDS.items()
    for name, cls in found(module).items()
    for number, settings in enumerate(SETTINGS.get(f"{kind}.{name}", [{}]))
}


# --- what an object computes -----------------------------------------------------------------------------------


def batch(case: Case, n: int = 6, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions, of ``n`` samples, that suit a loss or a metric."""
    rng = np.random.default_rng(0)
    classes, scores, name = rng.integers(0, 3, n), rng.random((n, 3)) + 0.1, case.cls.__name__
    p = (scores / scores.sum(-1, keepdims=True)).astype(dtype)
    if name.startswith(("Sparse", "InfoNCE")):
        return classes, p
    if name == "TripletLoss":
        return np.zeros(n), p[:, :2]
    return np.eye(3)[classes], p


def arrays(case: Case, dtype: Any = np.float64) -> list[np.ndarray]:
    """What the case's objects are given: labels, predictions and weights, or gradients, or weights."""
    rng = np.random.default_rng(1)
    if case.kind in ("losses", "metrics"):
        y, p = batch(case, dtype=dtype)
        return [y, p, np.arange(1.0, len(y) + 1)]
    if case.kind == "optimizers":
        return [rng.normal(size=(5, 2, 3)).astype(dtype), rng.normal(size=(5, 4)).astype(dtype)]
    return [rng.normal(size=(4, 4)).astype(dtype)]


def variables(case: Case, dtype: Any) -> list[tc.Tensor]:
    return [tc.Tensor(np.ones(g.shape[1:], dtype), requires_grad=True) for g in arrays(case)]


def compute(case: Case, thing: Any, given: list[Any]) -> list[np.ndarray]:
    """All that an object makes of what ``arrays`` gave."""
    if case.kind == "losses":
        y, p, w = given
        return [thing(y, p).numpy(), thing(y, p, w).numpy(), thing.call(tc.Tensor(y), tc.Tensor(p)).numpy()]
    elif case.kind == "metrics":
        values = given[:1] if case.cls in (metrics.Mean, metrics.Sum) else given[:2]
        results = []
        for options in ({}, {"sample_weight": given[2]}):
            thing.update_state(*values, **options)
            results.append(np.asarray(thing.result()))
        thing.reset_state()
        return results
    if case.kind == "optimizers":
        ws = variables(case, given[0].dtype)
        for gradients in zip(*given, strict=True):
            thing.apply(list(gradients), ws)
        return [*(w.numpy() for w in ws), *thing.get_state().values()]
    if case.kind == "initializers":
        tc.set_seed(5)
        return [thing((4, 4)), thing((4, 4), "float64")]
    if case.kind == "schedules":
        return [np.array([thing(step) for step in range(60)])]
    return [thing(given[0]).numpy()]


# --- models that use an object ---------------------------------------------------------------------------------


OF_WEIGHTS = ("initializers", "regularizers", "constraints")


def model_with(case: Case) -> tc.Sequential:
    """A compiled model with the case's object in its place."""
    thing, parts = case.make(), {"loss": "mse", "optimizer": "sgd"}
    options = {f"kernel_{case.kind[:-1]}": thing} if case.kind in OF_WEIGHTS else {}
    if case.kind == "schedules":
        parts["optimizer"] = optimizers.SGD(thing)
    elif case.kind in ("losses", "optimizers"):
        parts["loss" if case.kind == "losses" else "optimizer"] = thing
    elif case.kind == "metrics":
        parts = {"loss": None, "optimizer": "sgd", "metrics": [thing]}
        options["activity_regularizer"] = "l2"  # something to minimise
    units = batch(case)[1].shape[1]
    model = tc.Sequential([tc.layers.Dense(units, "softmax", input_shape=(4,), **options)])
    model.compile(**parts)
    return model


def train(model: tc.Sequential, case: Case) -> list[np.ndarray]:
    """Weights and results after an epoch."""
    y, _ = batch(case, 20)
    x = np.random.default_rng(2).normal(size=(20, 4)).astype("float32")
    model.jit_compile = False  # making plans for a hundred models would take a minute
    history = model.fit(x, y, batch_size=10, verbose=0).history
    return [*model.get_weights(), *(np.asarray(values[0]) for values in history.values())]
