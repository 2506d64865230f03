"""Optimizers in Keras's files: their arguments, and the state from which training goes on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from tinyconv import registry
from tinyconv.interop import hdf5
from tinyconv.models import Model
from tinyconv.models.weights import Stored

# What optimizers keep in Keras 3, by our names and in its order: one group after the other, each weight by weight.
_GROUPS: dict[str, list[tuple[str, ...]]] = {
    "SGD": [("velocity",)], "Adam": [("m", "v"), ("v_max",)], "AdamW": [("m", "v"), ("v_max",)], "Nadam": [("m", "v")],
    "Adamax": [("m", "u")], "Lion": [("m",)], "RMSprop": [("square",), ("velocity",), ("mean",)],
    "Adagrad": [("accumulator",)], "Adadelta": [("square", "step_square")], "Ftrl": [("accumulator", "linear")],
}  # fmt: skip

Layout = list[tuple[str, tuple[int, ...]]]  # name, as in Optimizer.get_state, and shape of each array; "" is not needed


def known_arguments(optimizer: Any) -> Any:
    """An optimizer's configuration without what tinyconv does not know, as far as it has no effect."""
    from tinyconv import optimizers

    if not isinstance(optimizer, dict):
        return optimizer
    known = set(registry.arguments_of(type(optimizers.get(str(optimizer.get("class_name"))))))
    without_effect = {"ema_momentum", "jit_compile", "is_legacy_optimizer", "name"}
    config = optimizer.get("config", {})
    unknown = {k: v for k, v in config.items() if k not in known | without_effect and v not in (None, False, 0, 0.0)}
    if unknown:
        raise ValueError(f"optimizer {optimizer['class_name']} has arguments that tinyconv does not know: {unknown}")
    return {**optimizer, "config": {k: v for k, v in config.items() if k in known and k != "name"}}


def restore_state(model: Model, file: Any) -> None:
    """Let a compiled model's optimizer go on where Keras's stood; with a warning, begin afresh where that is unclear.

    Parameters
    ----------
    model : Model
    file : h5py.File
        The weights of a ``.keras`` file, or a whole model.
    """
    arrays = _state_arrays(file)
    if arrays is not None and (not arrays or arrays[0].shape != () or not arrays[0].read()):
        return  # Keras's had not made a step
    optimizer, weights = model.optimizer, model.trainable_weights
    for layout in _layouts(optimizer, [weight.shape for weight in weights]):
        if arrays is not None and [array.shape for array in arrays] == [shape for _, shape in layout]:
            state = {name: array.read() for (name, _), array in zip(layout, arrays, strict=True) if name}
            if optimizer.gradient_accumulation_steps:  # Keras counts gradients
                steps = optimizer.gradient_accumulation_steps
                state["iterations"], state["accumulated"] = divmod(int(state["iterations"]), steps)
            optimizer.build(weights)
            optimizer.set_state(state)
            return
    warnings.warn(f"{model._title}: the state of its optimizer is not understood and begins afresh", stacklevel=5)


def _state_arrays(file: Any) -> list[Stored] | None:
    """All that Keras 3 stored of an optimizer, in order; None for that of Keras 2, which wrote it otherwise."""
    if "optimizer_weights" in file:
        group = hdf5.child(file, "optimizer_weights")
        names = hdf5.names(group, "weight_names")
        if names and not (hdf5.attribute(file, "keras_version") or "").startswith("3"):
            return None
        return [hdf5.stored(group, name) for name in names]
    if "optimizer" in file and "vars" in file["optimizer"]:
        group = hdf5.child(file, "optimizer/vars")
        return [hdf5.stored(group, name) for name in sorted(group, key=int)]
    return []


def _layouts(optimizer: Any, shapes: list[tuple[int, ...]]) -> Iterator[Layout]:
    """In which order Keras 3 may have stored the state for weights of these ``shapes``: that of version 3.15 first."""
    own = [group for group in _GROUPS.get(type(optimizer).__name__, []) if set(group) <= set(optimizer.slot_names)]
    if sorted(name for group in own for name in group) != sorted(optimizer.slot_names):
        return
    averages, sums = optimizer.use_ema, bool(optimizer.gradient_accumulation_steps)
    groups = [*[("average",)] * averages, *[("gradient_sum",)] * sums, *own]
    head: Layout = [("iterations", ()), *([] if callable(optimizer._rate) else [("learning_rate", ())])]
    product: Layout = [("", ())] * (type(optimizer).__name__ == "Nadam")  # of momenta: follows from the iterations
    # Other versions went through the weights once for each name, or had Nadam's product first.
    for order in (groups, [(name,) for group in groups for name in group]):
        slots = [(f"{name}/{i}", shape) for group in order for i, shape in enumerate(shapes) for name in group]
        yield [*head, *slots, *product]
        yield [*head, *product, *slots]
