"""Commands about model files: ``info``, ``summary``, ``plot`` and ``convert``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tinyconv.cli.common import (
    UsageError,
    add_command,
    add_json,
    as_size,
    check_model_name,
    check_picture,
    check_target,
    load,
    print_facts,
    print_json,
    print_table,
)


def add_info(commands: Any) -> None:
    """``tinyconv info``."""
    parser = add_command(
        commands, "info", info,
        "Tell what is in a model file or weight file: shapes, sizes, how it was compiled, class names.",
        "tinyconv info lenet.tinyconv\ntinyconv info lenet.tinyconv --json",
    )  # fmt: skip
    parser.add_argument("file", type=Path, metavar="FILE", help="a model file or weight file")
    add_json(parser)


def info(args: argparse.Namespace) -> None:
    """Print the facts about a file."""
    tensors = _weights_only(args.file)
    if tensors is None:
        found = facts(args.file, load(args.file))
        shown = {**found, "size": as_size(found["size"])}
        shown["parameters"] = f"{found['parameters']:,} ({found['trainable parameters']:,} trainable)"
        del shown["trainable parameters"]
        print_json(found) if args.json else print_facts({k: v for k, v in shown.items() if v is not None})
        return
    found = {"file": args.file, "kind": "weights", "size": args.file.stat().st_size, "tensors": tensors}
    if args.json:
        print_json(found)
        return
    print_facts({"file": args.file, "kind": "weights, without an architecture", "size": as_size(found["size"])})
    print_table(["tensor", "shape", "type"], [[t["name"], str(tuple(t["shape"])), t["dtype"]] for t in tensors])


def facts(path: Path, model: Any) -> dict[str, Any]:
    """What there is to know about a model, as data for JSON."""
    objective = model.objective
    return {
        "file": path,
        "kind": "model",
        "size": path.stat().st_size,
        "name": model.name,
        "class": type(model).__name__,
        "layers": len(model.layers),
        "input shape": model.input_shape,
        "output shape": model.output_shape,
        "parameters": model.count_params(),
        "trainable parameters": sum(weight.size for weight in model.trainable_weights),
        "class names": model.class_names,
        "optimizer": None if model.optimizer is None else repr(model.optimizer),
        "updates": None if model.optimizer is None else model.optimizer.iterations,
        "loss": None if objective is None else _named(objective.loss),
        "metrics": None if objective is None else _named(objective.metrics),
    }


def _named(part: Any) -> Any:
    """Losses and metrics as names, or as their representation."""
    if isinstance(part, list | tuple):
        return [_named(entry) for entry in part]
    if isinstance(part, dict) and "class_name" not in part:
        return {key: _named(entry) for key, entry in part.items()}
    if isinstance(part, dict):
        return part["class_name"]
    return part if part is None or isinstance(part, str) else repr(part)


def _weights_only(path: Path) -> list[dict[str, Any]] | None:
    """Names, shapes and types of the tensors in a file that describes no model; None for all other files."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    with open(path, "rb") as start:
        if start.read(8) == b"\x89HDF\r\n\x1a\n":
            return _weights_of_hdf5(path)
    try:
        with safe_open(path, framework="numpy") as file:
            if "model" in json.loads((file.metadata() or {}).get("tinyconv", "{}")):
                return None
            parts = [(name, file.get_slice(name)) for name in file.keys()]  # noqa: SIM118 (not a dictionary)
            return [{"name": name, "shape": part.get_shape(), "dtype": part.get_dtype()} for name, part in parts]
    except (SafetensorError, ValueError, TypeError):
        return None  # load_model says what is wrong


def _weights_of_hdf5(path: Path) -> list[dict[str, Any]] | None:
    """The same of a file of Keras."""
    from tinyconv.interop import hdf5

    h5py = hdf5.require_h5py()
    tensors: list[dict[str, Any]] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.shape is not None:
            tensors.append({"name": name, "shape": list(node.shape), "dtype": str(node.dtype)})

    try:
        with h5py.File(path, "r") as file:
            if "model_config" in file.attrs or "tinyconv" in file.attrs:
                return None
            file.visititems(visit)
    except (OSError, RuntimeError, ValueError, KeyError):
        return None  # load_model says what is wrong
    return tensors


def add_summary(commands: Any) -> None:
    """``tinyconv summary``."""
    parser = add_command(
        commands, "summary", summary,
        "Print the table of a model's layers: output shapes and numbers of parameters.",
        "tinyconv summary lenet.tinyconv",
    )  # fmt: skip
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model file")


def summary(args: argparse.Namespace) -> None:
    """Print the table."""
    load(args.model).summary()


def add_plot(commands: Any) -> None:
    """``tinyconv plot``."""
    parser = add_command(
        commands, "plot", plot,
        "Draw a model's layers and how they are connected.",
        "tinyconv plot lenet.tinyconv --output lenet.png --shapes",
    )  # fmt: skip
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model file")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="PNG, SVG or PDF, by its ending (MODEL with the ending .png)"
    )
    parser.add_argument("--shapes", action="store_true", help="show the shapes of inputs and outputs")
    parser.add_argument("--no-names", action="store_true", help="leave out the names of the layers")


def plot(args: argparse.Namespace) -> None:
    """Draw the model to a file."""
    import tinyconv as tc

    target = args.output or args.model.with_suffix(".png")
    check_picture("--output", target)
    check_target(target)
    model = load(args.model)
    tc.viz.plot_model(model, target, show_shapes=args.shapes, show_layer_names=not args.no_names)
    print(target)


def add_convert(commands: Any) -> None:
    """``tinyconv convert``."""
    parser = add_command(
        commands, "convert", convert,
        "Convert model and weight files between tinyconv's format, safetensors and Keras's HDF5.\n\n"
        "The ending of TARGET decides: .safetensors and .weights.h5 hold weights only, .h5 and .keras are read by\n"
        "Keras too, anything else is tinyconv's own format. A file of weights needs --architecture.",
        "tinyconv convert lenet.tinyconv lenet.safetensors\n"
        "tinyconv convert keras.weights.h5 model.tinyconv --architecture lenet.tinyconv",
    )  # fmt: skip
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a model file, or weights with --architecture")
    parser.add_argument("target", type=Path, metavar="TARGET", help="the file to write")
    parser.add_argument("--architecture", type=Path, metavar="MODEL", help="model file that SOURCE has the weights for")
    parser.add_argument("--weights", action="store_true", help="write weights only, whatever TARGET's ending")
    parser.add_argument("--force", action="store_true", help="replace TARGET if it exists")


def convert(args: argparse.Namespace) -> None:
    """Read one file, write the other."""
    if args.target.resolve() in (args.source.resolve(), args.architecture and args.architecture.resolve()):
        raise UsageError(f"SOURCE and TARGET must be different files. Received: {args.target}")
    check_model_name("TARGET", args.target)
    check_target(args.target, args.force)
    if args.architecture is None:
        if _weights_only(args.source) is not None:
            raise UsageError(f"{args.source} holds weights only: --architecture must name a model file they belong to")
        model = load(args.source)
    else:
        model = load(args.architecture)
        model.load_weights(args.source)
    alone = args.weights or args.target.name.endswith((".safetensors", ".weights.h5"))
    model.save_weights(args.target) if alone else model.save(args.target)
    what = "weights" if alone else "model"
    print(f"{args.target}: {what}, {model.count_params():,} parameters, {as_size(args.target.stat().st_size)}")
