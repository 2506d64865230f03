"""Prediction in ONNX Runtime; PyTorch writes the network for it. Needs torch, onnx and onnxruntime."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from benchmarks.workers.pytorch import build, load_weights
from benchmarks.workers.serve import serve, timed
from benchmarks.workers.tasks import batches

_now: dict[str, Any] = {}


def version() -> str:
    """ONNX Runtime."""
    return f"ONNX Runtime {onnxruntime.__version__}"


def prepare(network: str, batch: int, weights: str) -> None:
    """Export the network with these weights and open it."""
    x = torch.from_numpy(batches(network, batch, 1)[0][0]).permute(0, 3, 1, 2).contiguous()
    model = build(network)
    load_weights(model, weights)
    model = torch.nn.Sequential(model, torch.nn.Softmax(1)).eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "network.onnx")
        torch.onnx.export(model, (x,), path, input_names=["x"], dynamo=False)
        _now["session"] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    _now["x"] = x.numpy()


def predictions(seconds: float, least: int) -> list[float]:
    """Seconds of each prediction of a batch."""
    session, x = _now["session"], _now["x"]
    return timed(lambda: session.run(None, {"x": x}), seconds, least)


def outputs() -> list[list[float]]:
    """What the network predicts for the first batch."""
    return _now["session"].run(None, {"x": _now["x"]})[0].tolist()


if __name__ == "__main__":
    serve(version, prepare, predictions, outputs)
