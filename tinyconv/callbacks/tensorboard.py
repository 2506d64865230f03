"""``TensorBoard``: event files for the program of that name. The package ``tensorboard`` writes them.

Folders, tags and steps are those of Keras 3: ``train`` and ``validation``; ``epoch_<result>`` by epoch,
``batch_<result>`` by batch, ``evaluation_<result>_vs_iterations`` by update, ``<layer>/<weight>/histogram`` by epoch.
"""

from __future__ import annotations

import importlib
import os
import time
from typing import Any

import numpy as np

from tinyconv.callbacks.base import Callback, Logs
from tinyconv.checks import integer

_BINS = 30


class TensorBoard(Callback):
    """Writes logs that ``tensorboard --logdir logs`` shows: curves, histograms of the weights, the graph of the layers.

    Needs the package ``tensorboard``: ``pip install tensorboard``.

    Parameters
    ----------
    log_dir : str or path
        Its folders ``train`` and ``validation`` are made. Use one ``log_dir`` per run.
    histogram_freq : int
        Histograms of all weights after every so many epochs; 0 for none.
    write_graph : bool
        Write the layers and the connections between them, once.
    write_images : bool
        With ``histogram_freq``, also draw the weights of two and more axes as gray pictures.
    write_steps_per_second : bool
        Write the speed of training, too.
    update_freq : "epoch", "batch" or int
        Also write the results after every batch, or after every so many.
    profile_batch, embeddings_freq, embeddings_metadata
        Of Keras; only their defaults are accepted.

    Raises
    ------
    ImportError
        When training begins and the package is missing.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse")
    >>> folder = tempfile.mkdtemp()
    >>> board = tc.callbacks.TensorBoard(folder, histogram_freq=1)
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> history = model.fit(x, y, validation_data=(x, y), callbacks=[board], verbose=0)
    >>> sorted(os.listdir(folder))
    ['train', 'validation']
    """

    def __init__(
        self,
        log_dir: Any = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        if profile_batch or embeddings_freq or embeddings_metadata:
            raise ValueError(
                "TensorBoard writes no profiles and no embeddings. Received: "
                f"profile_batch={profile_batch!r}, embeddings_freq={embeddings_freq!r}, "
                f"embeddings_metadata={embeddings_metadata!r}"
            )
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = histogram_freq and integer("histogram_freq", histogram_freq)
        self.write_graph, self.write_images = write_graph, write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = update_freq
        self.profile_batch, self.embeddings_freq = profile_batch, embeddings_freq
        self.embeddings_metadata = embeddings_metadata
        if update_freq not in ("epoch", "batch"):
            integer("update_freq", update_freq)
        self._writers: dict[str, Any] = {}
        self._graph_is_due = False
        self._batches = 0
        self._epoch_start = self._last = 0.0, 0  # time and number of batches

    # --- hooks -------------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the log and write the graph."""
        self._batches = 0
        self._writer("train")
        self._graph_is_due = self.write_graph
        if self.model.built:
            self._write_graph()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the clock."""
        if not self._batches:  # since on_train_begin, a backup may have been restored
            self._batches = self.model.optimizer._received
        self._epoch_start = self._last = time.perf_counter(), self._batches

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Write results by batch, if it is time."""
        self._write_graph()
        self._batches += 1
        if self.update_freq == "epoch" or self._batches % (1 if self.update_freq == "batch" else int(self.update_freq)):
            return
        results = dict(logs or {})
        if self.write_steps_per_second:
            results["steps_per_second"] = self._speed(self._last)
            self._last = time.perf_counter(), self._batches
        self._write_scalars("train", {f"batch_{name}": value for name, value in results.items()}, self._batches)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write results by epoch, and the weights if it is time."""
        results = dict(logs or {})
        validation = {name.removeprefix("val_"): results.pop(name) for name in list(results) if name[:4] == "val_"}
        results["learning_rate"] = self.model.optimizer.learning_rate
        if self.write_steps_per_second:
            results["steps_per_second"] = self._speed(self._epoch_start)
        self._write_scalars("train", {f"epoch_{name}": value for name, value in results.items()}, epoch)
        if validation:
            self._write_scalars("validation", {f"epoch_{name}": value for name, value in validation.items()}, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Write the results of an evaluation by the updates before it."""
        results = {f"evaluation_{name}_vs_iterations": value for name, value in (logs or {}).items()}
        self._write_scalars("validation", results, getattr(self.model.optimizer, "iterations", 0))

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the log."""
        self._release()

    def _release(self) -> None:
        while self._writers:
            self._writers.popitem()[1].close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_writers": {}}

    # --- events ------------------------------------------------------------------------------------------------

    def _writer(self, kind: str) -> Any:
        """The writer of a folder, opened at its first use."""
        if kind not in self._writers:
            module = _import("tensorboard.summary.writer.event_file_writer")
            self._writers[kind] = module.EventFileWriter(os.path.join(self.log_dir, kind))
        return self._writers[kind]

    def _write(self, kind: str, **event: Any) -> None:
        self._writer(kind).add_event(_proto("event").Event(wall_time=time.time(), **event))

    def _write_scalars(self, kind: str, results: dict[str, Any], step: int) -> None:
        """Numbers by tag; results that are no single numbers are left out."""
        proto = _proto("summary")
        numbers = {name: np.asarray(value) for name, value in results.items()}
        values = [
            proto.Summary.Value(tag=name, simple_value=float(value))
            for name, value in numbers.items()
            if value.size == 1 and value.dtype.kind in "fiub"
        ]
        self._write(kind, step=step, summary=proto.Summary(value=values))

    def _write_weights(self, epoch: int) -> None:
        from tinyconv.models.weights import weight_names

        proto = _proto("summary")
        values = []
        for name, weight in zip(weight_names(self.model), self.model.weights, strict=True):
            array = np.asarray(weight.numpy(), np.float64)
            if not np.isfinite(array).any():
                continue
            values.append(proto.Summary.Value(tag=f"{name}/histogram", histo=_histogram(array)))
            if self.write_images and array.ndim > 1:
                values.append(proto.Summary.Value(tag=f"{name}/image", image=_picture(array)))
        self._write("train", step=epoch, summary=proto.Summary(value=values))

    def _write_graph(self) -> None:
        if self._graph_is_due:
            self._graph_is_due = False
            graph = _proto("graph").GraphDef(node=_Graph(self.model).nodes)
            self._write("train", graph_def=graph.SerializeToString())

    def _speed(self, since: tuple[float, int]) -> float:
        """Batches per second since a time, when there were so many batches."""
        start, batches = since
        return (self._batches - batches) / max(time.perf_counter() - start, 1e-9)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError("The TensorBoard callback needs the package tensorboard: pip install tensorboard") from error


def _proto(name: str) -> Any:
    """A module of message classes."""
    return _import(f"tensorboard.compat.proto.{name}_pb2")


def _histogram(array: np.ndarray) -> Any:
    """Counts of the finite values in equal bins; the first bucket is empty and ends at the smallest value."""
    values = array[np.isfinite(array)]
    counts, edges = np.histogram(values, _BINS)
    return _proto("summary").HistogramProto(
        min=values.min(),
        max=values.max(),
        num=values.size,
        sum=values.sum(),
        sum_squares=np.square(values).sum(),
        bucket_limit=edges,
        bucket=[0, *counts],
    )


def _picture(array: np.ndarray) -> Any:
    """A weight as a gray picture, black its smallest and white its largest value.

    A kernel is laid out as a grid of its windows, a row for each input channel and a column for each filter.
    """
    import cv2

    if array.ndim == 2:
        gray = array
    else:  # (..., KW, C, O) -> (..., KH, KW, C, O), all but the last four axes in one with the rows
        windows = array.reshape(-1, *array.shape[-3:])  # (KH, KW, C, O)
        height, width, channels, filters = windows.shape
        gray = windows.transpose(2, 0, 3, 1).reshape(channels * height, filters * width)  # (C*KH, O*KW)
    finite = gray[np.isfinite(gray)]
    gray = np.clip(np.nan_to_num(gray), finite.min(), finite.max()) - finite.min()
    pixels = (255 * gray / max(gray.max(), np.finfo(float).tiny)).round().astype(np.uint8)
    png = cv2.imencode(".png", pixels)[1].tobytes()
    height, width = pixels.shape
    return _proto("summary").Summary.Image(height=height, width=width, colorspace=1, encoded_image_string=png)


# --- the graph -------------------------------------------------------------------------------------------------


class _Graph:
    """One node per call of a layer, named ``<inner model>/<layer>``, with the nodes that it takes its inputs from."""

    def __init__(self, model: Any) -> None:
        self.nodes: list[Any] = []
        self._taken: set[str] = set()
        inputs = getattr(model, "inputs", [])  # a subclass has no symbolic inputs
        self._model(model, "", [self._node(t.name or "input", "Input", [], t.shape) for t in inputs])

    def _node(self, name: str, op: str, sources: list[str], shape: Any) -> str:
        """Add a node; returns its name, made unique."""
        unique, n = name, 1
        while unique in self._taken:
            unique, n = f"{name}_{n}", n + 1
        self._taken.add(unique)
        made = _proto("node_def").NodeDef(name=unique, op=op, input=sources)
        if isinstance(shape, tuple):
            made.attr["_output_shapes"].CopyFrom(_shape_attribute(shape))
        self.nodes.append(made)
        return unique

    def _layer(self, layer: Any, scope: str, sources: list[str]) -> list[str]:
        """Add a layer that is called on the outputs of ``sources``; returns the nodes that give its outputs."""
        from tinyconv.models import Model

        if isinstance(layer, Model):
            return self._model(layer, f"{scope}{layer.name}/", sources)
        shape = layer._shapes[1] if layer._shapes else None
        return [self._node(scope + layer.name, type(layer).__name__, sources, shape)]

    def _model(self, model: Any, scope: str, sources: list[str]) -> list[str]:
        from tinyconv.layers.base import flatten_structure
        from tinyconv.models import Functional, Sequential

        if isinstance(model, Functional):
            ends = {_origin(t): [source] for t, source in zip(model.inputs, sources)}
            for call in model._calls:
                before = [name for t in flatten_structure(call.inputs) for name in ends[_origin(t)]]
                ends[id(call)] = self._layer(call.layer, scope, before)
            return [name for t in model.outputs for name in ends[_origin(t)]]
        last = sources
        for layer in model.layers:  # how a subclass connects its layers, only its code knows
            last = self._layer(layer, scope, last if isinstance(model, Sequential) else [])
        return last


def _origin(tensor: Any) -> int:
    """What a symbolic tensor comes from: a call, or itself where it is an input."""
    return id(tensor) if tensor.call is None else id(tensor.call)


def _shape_attribute(shape: tuple[int | None, ...]) -> Any:
    """A shape as an attribute of a node; -1 stands for the batch axis."""
    attributes, shapes = _proto("attr_value"), _proto("tensor_shape")
    sizes = [shapes.TensorShapeProto.Dim(size=-1 if n is None else n) for n in shape]
    return attributes.AttrValue(list=attributes.AttrValue.ListValue(shape=[shapes.TensorShapeProto(dim=sizes)]))
