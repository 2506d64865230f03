"""``BackupAndRestore``: training that is killed goes on where it was."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv.callbacks import snapshot
from tinyconv.callbacks.base import Callback, Logs
from tinyconv.callbacks.checkpoint import check_save_freq
from tinyconv.callbacks.snapshot import Snapshot
from tinyconv.files import replacing

_VERSION = 1


class BackupAndRestore(Callback):
    """Keeps a backup while training lasts; the same program, started again after a crash, goes on from it.

    The backup holds weights, optimizer, random streams and what other callbacks know (``Callback.get_state``): the best
    value of ``EarlyStopping`` or ``ModelCheckpoint``, the history, ... With data in arrays, weights and history become
    bit for bit those of training that was never interrupted. Its hooks are called after those of all other callbacks,
    wherever it stands in the list. It needs no registered classes: it stores no architecture, only numbers.

    Parameters
    ----------
    backup_dir : str or path
        Folder of the backup, for one model alone. It is made where there is none.
    save_freq : "epoch" or int
        After every epoch, or also after every so many batches within it. When training goes on within an epoch, that
        epoch's training results cover the batches since the backup.
    double_checkpoint : bool
        Also keep the backup before the last, and use it when the last is damaged.
    delete_checkpoint : bool
        Remove the backup when training has ended.

    Raises
    ------
    ValueError
        When training begins and the backup is damaged, or does not fit the model.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, input_shape=(2,))])
    >>> model.compile("sgd", "mse")
    >>> folder = os.path.join(tempfile.mkdtemp(), "backup")
    >>> backup = tc.callbacks.BackupAndRestore(folder)
    >>> def crash(epoch, logs):
    ...     if epoch == 2:
    ...         raise RuntimeError("no power")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> model.fit(x, y, epochs=4, verbose=0, callbacks=[backup, tc.callbacks.LambdaCallback(on_epoch_begin=crash)])
    Traceback (most recent call last):
    RuntimeError: no power
    >>> os.listdir(folder)
    ['backup.safetensors']
    >>> model.fit(x, y, epochs=4, verbose=0, callbacks=[backup]).epoch  # the first two were done before
    [0, 1, 2, 3]
    >>> model.optimizer.iterations, os.path.exists(folder)
    (4, False)
    """

    _goes_last = True  # the others have done their part when it saves, and have begun when it restores

    def __init__(
        self,
        backup_dir: Any,
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        self.backup_dir = os.fspath(backup_dir)
        if not self.backup_dir:
            raise ValueError("backup_dir must name a folder. Received: an empty name")
        self.save_freq = check_save_freq(save_freq)
        self.double_checkpoint, self.delete_checkpoint = double_checkpoint, delete_checkpoint
        self._epoch = self._batches = 0
        self._epoch_streams: dict[str, Any] = {}  # where the random streams were when the epoch began
        self._streams: dict[str, Any] | None = None  # where they are to be when the first batch begins

    @property
    def _path(self) -> Path:
        return Path(self.backup_dir, "backup.safetensors")

    @property
    def _previous(self) -> Path:
        return Path(self.backup_dir, "previous.safetensors")

    # --- hooks -------------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Go on from the backup, if there is one."""
        self._batches, self._streams = 0, None
        found = self._read()
        if found is not None:
            with _blaming(self.backup_dir):
                self._restore(*found)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remember where the epoch began."""
        self._epoch = epoch
        if self.save_freq != "epoch":
            self._epoch_streams = snapshot.streams_of(self.model)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Save between two batches, if it is time."""
        if self._streams is not None:
            snapshot.set_streams(self.model, self._streams)
            self._streams = None
        elif self.save_freq != "epoch" and self._batches >= int(self.save_freq):
            self._batches = 0
            self._save(self._epoch, batch)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Count the batch."""
        self._batches += 1

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save."""
        self._batches = 0
        self._save(epoch + 1, 0)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Remove the backup."""
        if self.delete_checkpoint:
            unfinished = Path(self.backup_dir).glob(".backup.*.part.safetensors")  # of processes that were killed
            for path in (self._path, self._previous, *unfinished):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # other files are in it
                os.rmdir(self.backup_dir)

    # --- files -------------------------------------------------------------------------------------------------

    def _save(self, epoch: int, batch: int) -> None:
        """Write down that training is about to begin batch ``batch`` of epoch ``epoch``."""
        from safetensors.numpy import save

        state = snapshot.take(self.model)
        arrays = {f"weights/{i}": weight for i, weight in enumerate(state.weights)}
        arrays.update((f"optimizer/{name}", np.asarray(value)) for name, value in state.optimizer.items())
        facts = {
            "version": _VERSION,
            "epoch": epoch,
            "batch": batch,
            "stop": self.model.stop_training,
            "weights": len(state.weights),
            "variables": state.variables,
            "streams": state.streams,
            "epoch_streams": self._epoch_streams if batch else state.streams,
            "callbacks": {name: _split(name, callback, arrays) for name, callback in self._others().items()},
        }
        arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        data = save(arrays, {"backup": json.dumps(facts, default=lambda value: value.tolist())})
        if self.double_checkpoint and self._path.exists():
            os.replace(self._path, self._previous)
        with replacing(self._path, make_folder=True, sync=True) as path:
            path.write_bytes(data)

    def _read(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Arrays and facts of the newest backup that is whole."""
        paths = [path for path in (self._path, self._previous) if path.exists()]
        for path in paths:
            try:
                return _read(path)
            except ValueError:
                if path is paths[-1]:
                    raise
        return None

    def _restore(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        weights = [arrays[f"weights/{i}"] for i in range(facts["weights"])]
        optimizer = {n.removeprefix("optimizer/"): a for n, a in arrays.items() if n.startswith("optimizer/")}
        streams = facts["epoch_streams" if facts["batch"] else "streams"]
        self.model._require_built()
        snapshot.put_back(self.model, Snapshot(weights, facts["variables"], optimizer, streams))
        if facts["batch"]:
            self._streams = facts["streams"]
        for name, callback in self._others().items():
            if name in facts["callbacks"]:
                _join(name, callback, facts["callbacks"][name], arrays)
        finished = self.params.get("epochs", 0) if facts["stop"] else 0
        self.model._resume_at = max(int(facts["epoch"]), finished), int(facts["batch"])

    def _others(self) -> dict[str, Callback]:
        """The other callbacks by class name and number."""
        counts: Counter[str] = Counter()
        found = {}
        for callback in self._companions() or ():
            if callback is not self:
                kind = type(callback).__name__
                found[f"{kind}/{counts[kind]}"] = callback
                counts[kind] += 1
        return found


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import safe_open

    with _blaming(path):
        with safe_open(path, framework="numpy") as file:  # checks sizes and offsets against the file
            facts = json.loads((file.metadata() or {})["backup"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        if facts["version"] != _VERSION:
            raise ValueError(f"expected version {_VERSION}, received {facts['version']!r}")
    return arrays, facts


@contextlib.contextmanager
def _blaming(path: Any) -> Iterator[None]:
    """Whatever goes wrong while a backup is followed is said to be its fault."""
    from safetensors import SafetensorError

    misfits = ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError
    try:
        yield
    except (*misfits, SafetensorError, OSError) as error:
        raise ValueError(
            f"Training cannot go on from the backup {path}; remove it to begin anew. Received: {error}"
        ) from error


def _split(name: str, callback: Callback, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The state of a callback as plain data; its lists of arrays go to ``arrays``."""
    state = callback.get_state()
    for key, value in state.items():
        if isinstance(value, list) and value and all(isinstance(entry, np.ndarray) for entry in value):
            arrays.update((f"callbacks/{name}/{key}/{i}", array) for i, array in enumerate(value))
            state[key] = {"arrays": len(value)}
    return state


def _join(name: str, callback: Callback, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Give a callback the state that ``_split`` took apart."""
    if set(state) != set(callback.get_state()):
        raise ValueError(f"the state of {name} has other names: {sorted(state)}")
    for key, value in state.items():
        if isinstance(value, dict) and set(value) == {"arrays"}:
            state[key] = [arrays[f"callbacks/{name}/{key}/{i}"] for i in range(value["arrays"])]
    callback.set_state(state)
