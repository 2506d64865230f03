"""``check_model`` and ``warn_about``: what in a model goes against the rules for building networks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from tinyconv.diagnosis.findings import Finding, ModelWarning
from tinyconv.diagnosis.layer_rules import LAYER_RULES
from tinyconv.diagnosis.model_rules import first_layer_findings, input_findings, whole_model_findings
from tinyconv.viz.graph import Graph, graph_of


def check_model(model: Any, trace: bool = True) -> list[Finding]:
    """Compare a model with the rules for building networks.

    Parameters
    ----------
    model : Model
        Rules about sizes need a model that knows its input shape; those about loss and learning rate, a compiled one.
    trace : bool
        Whether a model with a ``call`` of its own may be run on zeros, to find out how its layers are connected.

    Returns
    -------
    list of Finding
        In the order of layers; then those about the whole model.

    Notes
    -----
    Warnings: ``pool_size`` (pooling larger than 3 destroys too much), ``not_tiling`` (strides that leave rows or
    columns out: a configuration error), ``kernel_size`` (larger than 5 beyond the first layer; 7 or more on images up
    to 200 pixels), ``stride`` (3 or more but in the first layer of a network for large images),
    ``batch_norm_before_softmax``, ``constant_weights`` (neurons that start equal stay equal), ``linear_stack`` (dense
    layers without activation in between are one linear map), ``input_not_square``, ``loss_mismatch`` (the loss does not
    fit the last activation), ``learning_rate`` (2.5e-6 or less hardly changes weights), ``nothing_to_train``.

    Notes: ``input_size`` (unusual, or not divisible by two several times though 2x2 pooling follows),
    ``valid_padding``, ``no_dropout`` (between dense layers), ``loss_choice`` (cross-entropy learns faster behind
    softmax or sigmoid).

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.Sequential([tc.Input((32, 32, 3)), tc.layers.MaxPooling2D(4, name="pool"), tc.layers.Flatten()])
    >>> [(finding.name, finding.layer) for finding in check_model(model)]
    [('pool_size', 'pool')]
    """
    graph = graph_of(model, expand_nested=True, trace=trace)
    found = list(input_findings(graph))
    for inner in _graphs(graph):
        for index, node in enumerate(inner.nodes):
            if node.layer is not None and node.inner is None:
                for rule in LAYER_RULES:
                    found += rule(inner, index, node)
    found += first_layer_findings(graph)
    found += whole_model_findings(model, graph)
    return list(dict.fromkeys(found))


def warn_about(model: Any, stacklevel: int = 3) -> None:
    """Raise what ``check_model`` objects to as ``ModelWarning``, each finding once per model.

    Parameters
    ----------
    model : Model
    stacklevel : int
        Which caller the warning points to, as for ``warnings.warn``.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.Sequential([tc.Input((32, 32, 3)), tc.layers.MaxPooling2D(4), tc.layers.Flatten()])
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_about(model)
    ...     warn_about(model)
    >>> len(caught)
    1
    """
    warned: set[tuple[str, str | None]] = vars(model).setdefault("_warned_about", set())
    for finding in check_model(model, trace=False):
        key = finding.name, finding.layer
        if finding.level == "warning" and key not in warned:
            warned.add(key)
            silence = 'warnings.filterwarnings("ignore", category=tinyconv.ModelWarning)'
            warnings.warn(f"{model.name}: {finding} Silence: {silence}", ModelWarning, stacklevel)


def _graphs(graph: Graph) -> Iterator[Graph]:
    """A graph and those inside it."""
    yield graph
    for node in graph.nodes:
        if node.inner is not None:
            yield from _graphs(node.inner)
