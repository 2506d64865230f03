"""Callbacks: what happens around training, apart from training itself. One file per concept.

Names, arguments and the order of the hooks are those of Keras 3; of Keras 2, ``period`` of ``ModelCheckpoint`` and
``epsilon`` of ``ReduceLROnPlateau`` are accepted.
"""

from tinyconv.callbacks.averages import SwapEMAWeights
from tinyconv.callbacks.backup import BackupAndRestore
from tinyconv.callbacks.base import BaseLogger, Callback, CallbackList, LambdaCallback, Logs
from tinyconv.callbacks.checkpoint import ModelCheckpoint
from tinyconv.callbacks.csv_logger import CSVLogger
from tinyconv.callbacks.early_stopping import EarlyStopping
from tinyconv.callbacks.history import History
from tinyconv.callbacks.improvement import MonitorCallback
from tinyconv.callbacks.learning_rate_finder import LearningRateFinder, find_learning_rate
from tinyconv.callbacks.plateau import ReduceLROnPlateau
from tinyconv.callbacks.progress import ProgressBar, check_verbose, is_interactive
from tinyconv.callbacks.schedules import LearningRateScheduler, ScheduleCallback
from tinyconv.callbacks.tensorboard import TensorBoard
from tinyconv.callbacks.terminate import TerminateOnNaN
from tinyconv.callbacks.training_monitor import TrainingMonitor

__all__ = [
    "BackupAndRestore", "BaseLogger", "CSVLogger", "Callback", "CallbackList", "EarlyStopping", "History",
    "LambdaCallback", "LearningRateFinder", "LearningRateScheduler", "Logs", "ModelCheckpoint", "MonitorCallback",
    "ProgressBar", "ReduceLROnPlateau", "ScheduleCallback", "SwapEMAWeights", "TensorBoard", "TerminateOnNaN",
    "TrainingMonitor", "check_verbose", "find_learning_rate", "is_interactive",
]  # fmt: skip
