"""From an estimator's settings to a compiled model: the default network, routed settings, copies through bytes."""

from __future__ import annotations

import copy
import inspect
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinyconv import losses, optimizers
from tinyconv.layers import Dense, Flatten, Input
from tinyconv.models import Model, Sequential
from tinyconv.saving import load_model

ROUTES = ("model", "loss", "optimizer", "compile", "fit", "predict")  # prefixes, as in model__units


def multilayer_perceptron(
    meta: Mapping[str, Any], hidden_layer_sizes: Sequence[int] = (100,), activation: str = "relu"
) -> Sequential:
    """The network of estimators that were given none.

    Parameters
    ----------
    meta : dict
        Facts about the data; ``X_shape_``, ``n_outputs_expected_`` and ``output_activation_`` are used.
    hidden_layer_sizes : sequence of int
        Units of each hidden layer; set them as ``model__hidden_layer_sizes``.
    activation : str
        Of the hidden layers.

    Returns
    -------
    Sequential
        Not compiled.
    """
    shape = meta["X_shape_"][1:]
    model = Sequential([Input(shape)])
    if len(shape) > 1:
        model.add(Flatten())
    for units in hidden_layer_sizes:
        model.add(Dense(units, activation=activation))
    model.add(Dense(meta["n_outputs_expected_"], activation=meta["output_activation_"]))
    return model


# --- settings by name ------------------------------------------------------------------------------------------


def route(settings: Mapping[str, Any], target: str) -> dict[str, Any]:
    """The settings for ``target``, without their prefix.

    Examples
    --------
    >>> route({"epochs": 3, "model__units": 30, "optimizer__learning_rate": 0.1}, "model")
    {'units': 30}
    """
    prefix = f"{target}__"
    return {name.removeprefix(prefix): value for name, value in settings.items() if name.startswith(prefix)}


def takes(builder: Any, name: str) -> bool:
    """Whether ``builder``, a function or class, accepts a setting called ``name`` (``meta`` is none)."""
    parameters = _parameters(builder)
    return name != "meta" and (name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()))


def is_setting(builder: Any, name: str) -> bool:
    """Whether an estimator with ``builder`` may be given the extra setting ``name``.

    Examples
    --------
    >>> is_setting(None, "optimizer__learning_rate"), is_setting(lambda units: None, "units"), is_setting(None, "size")
    (True, True, False)
    """
    prefix, dunder, rest = name.partition("__")
    return (prefix in ROUTES and bool(rest)) if dunder else takes(builder, name)


def _parameters(builder: Any) -> Mapping[str, inspect.Parameter]:
    builder = multilayer_perceptron if builder is None else builder
    return inspect.signature(builder).parameters if callable(builder) and not isinstance(builder, Model) else {}


# --- building and compiling ------------------------------------------------------------------------------------


def build_model(model: Any, own: Mapping[str, Any], extra: Mapping[str, Any], meta: Mapping[str, Any]) -> Model:
    """A fresh model: a copy of a model, what a function returns, or the default network for ``None``.

    Parameters
    ----------
    model : Model, callable or None
        A callable gets ``meta`` if it takes an argument of that name, those ``own`` settings that are not None and
        whose names it has, and the ``extra`` settings ``model__...`` and without a prefix.
    own, extra : dict
        Settings of the estimator: those in its signature, and all others.
    meta : dict
        Facts about the data.
    """
    if isinstance(model, Model):
        return from_bytes(to_bytes(model))
    builder: Callable[..., Any] = multilayer_perceptron if model is None else model
    if not callable(builder):
        raise TypeError(f"model must be a Model, or a function that returns one. Received: {model!r}")
    known = {**own, "meta": dict(meta)}
    arguments = {name: known[name] for name in _parameters(builder) if known.get(name) is not None}
    arguments.update((name, value) for name, value in extra.items() if "__" not in name)
    built = builder(**arguments, **route(extra, "model"))
    if not isinstance(built, Model):
        raise TypeError(f"model must be a function that returns a Model. Received: one that returned {built!r}")
    return built


def compile_model(model: Model, own: Mapping[str, Any], extra: Mapping[str, Any], default_loss: str) -> None:
    """Compile a model with what the settings say; the rest stays as the model's author compiled it.

    Parameters
    ----------
    model : Model
    own : dict
        ``loss``, ``optimizer`` and ``metrics``, each None where it is left to the author, or else to the default:
        ``default_loss``, Adam, no metrics.
    extra : dict
        ``loss__...``, ``optimizer__...`` and ``compile__...`` are used.
    default_loss : str
    """
    routed = {target: route(extra, target) for target in ("loss", "optimizer", "compile")}
    given = {name: value for name in ("loss", "optimizer", "metrics") if (value := own[name]) is not None}
    before = model.objective
    if before is not None and not given and not any(routed.values()):
        return
    found: dict[str, Any] = {"loss": default_loss, "optimizer": "adam"}
    if before is not None:
        found = {name: getattr(before, name) for name in ("metrics", "weighted_metrics", "loss_weights")}
        found.update(loss=before.loss or default_loss, optimizer=model.optimizer)
    found.update(given)
    found["optimizer"] = _with(optimizers.get(found["optimizer"]), routed["optimizer"])
    if routed["loss"]:
        found["loss"] = _with(losses.get(found["loss"]), routed["loss"])
    found["metrics"] = copy.deepcopy(found.get("metrics"))  # metrics have a state
    model.compile(**{**found, **routed["compile"]})


def _with(part: Any, settings: Mapping[str, Any]) -> Any:
    """A fresh loss or optimizer like ``part``, with other settings."""
    settings = {("learning_rate" if name == "lr" else name): value for name, value in settings.items()}
    return type(part).from_config({**part.get_config(), **settings})


# --- bytes -----------------------------------------------------------------------------------------------------


class Frozen:
    """A model as the bytes of its file, for pickles and copies: data, no code.

    Parameters
    ----------
    data : bytes
        What ``to_bytes`` made of a model.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data


def to_bytes(model: Model) -> bytes:
    """The contents of the file that ``model.save`` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tinyconv")
        model.save(path)
        return path.read_bytes()


def from_bytes(data: bytes) -> Model:
    """The model of :func:`to_bytes`: architecture, weights, optimizer state, compile arguments."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tinyconv")
        path.write_bytes(data)
        return load_model(path)
