"""``CSVLogger``: one line per epoch in a table that any program reads."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from typing import Any

from tinyconv.callbacks.base import Callback, Logs
from tinyconv.files import replacing

_MISSING = "NA"


class CSVLogger(Callback):
    """Writes the results of every epoch to a CSV file: ``epoch`` (from 0), then the results by name, sorted.

    A line is written as soon as its epoch ends, and no file stays open in between. Where results come up later, such as
    those of validation with ``validation_freq=2``, the table gets new columns; what is missing is ``NA``.

    Parameters
    ----------
    filename : str or path
        Its folder is made where there is none.
    separator : str
        Between the columns.
    append : bool
        Go on with the table that the file holds, instead of replacing it.

    Raises
    ------
    ValueError
        When training begins and the file that is to be continued is no table.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, tinyconv as tc
    >>> model = tc.Sequential([tc.layers.Dense(1, kernel_initializer="zeros", input_shape=(2,))])
    >>> model.compile(tc.optimizers.SGD(0.0), "mse")
    >>> path = Path(tempfile.mkdtemp(), "log.csv")
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=2, verbose=0,
    ...                     callbacks=[tc.callbacks.CSVLogger(path)])
    >>> print(path.read_text(), end="")
    epoch,loss
    0,1.0
    1,1.0
    """

    def __init__(self, filename: Any, separator: str = ",", append: bool = False) -> None:
        self.filename, self.separator, self.append = os.fspath(filename), separator, append
        self._columns: list[str] | None = None
        self._rows: list[dict[str, Any]] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Read the table that is to be continued."""
        self._columns, self._rows = None, []
        if self.append and os.path.exists(self.filename):
            self._columns, self._rows = _read(self.filename, self.separator)
            self._replace()  # with whole lines: the last may have been cut off

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write a line."""
        row = {"epoch": epoch, **{name: _plain(value) for name, value in (logs or {}).items()}}
        known = self._columns or ["epoch"]
        columns = known + sorted(name for name in row if name not in known)
        self._rows.append(row)
        if self._columns != columns:
            self._columns = columns
            self._replace()
        else:
            self._write(self.filename, "a", [row])

    def _replace(self) -> None:
        """Write the whole table, if there is one."""
        if self._columns:
            with replacing(self.filename, make_folder=True) as path:
                self._write(path, "w", self._rows)

    def _write(self, path: Any, mode: str, rows: Iterable[dict[str, Any]]) -> None:
        """Write or append lines, in one piece."""
        with open(path, mode, newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns or (), restval=_MISSING, delimiter=self.separator)
            if mode == "w":
                writer.writeheader()
            writer.writerows(rows)

    def get_state(self) -> dict[str, Any]:
        """The table."""
        return {"_columns": self._columns, "_rows": self._rows}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on after the table, which the file may be ahead of."""
        super().set_state(state)
        self._replace()


def _read(path: str, separator: str) -> tuple[list[str] | None, list[dict[str, Any]]]:
    """Columns and rows of a table, also of one that a spreadsheet program has marked as UTF-8."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=separator, restval=_MISSING)
            rows = [{name: row[name] for name in row if name is not None} for row in reader]
            return list(reader.fieldnames or ()) or None, rows
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} must be a table in UTF-8, to be continued. Received: {error}") from error


def _plain(value: Any) -> Any:
    """Several values as ``[1.0, 2.0]`` in one cell."""
    return value.tolist() if hasattr(value, "tolist") else value
