"""The list of all commands."""

from __future__ import annotations

from typing import Any

from tinyconv.cli.datasets import add_datasets
from tinyconv.cli.doctor import add_doctor
from tinyconv.cli.files import add_convert, add_info, add_plot, add_summary
from tinyconv.cli.networks import add_evaluate, add_predict, add_train
from tinyconv.cli.warmup import add_warmup


def add_all(commands: Any) -> None:
    """Declare every command, in the order of ``tinyconv --help``."""
    add_train(commands)
    add_evaluate(commands)
    add_predict(commands)
    add_info(commands)
    add_summary(commands)
    add_plot(commands)
    add_convert(commands)
    add_datasets(commands)
    add_warmup(commands)
    add_doctor(commands)
