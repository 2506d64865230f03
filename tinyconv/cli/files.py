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
    check_target,
    load,
    print_facts,
    print_json,
    print_table,
    replacing,
)

PICTURES = (".png", ".svg", ".pdf")
_OF_KERAS = (".h5", ".hdf5", ".keras")
_OF_OTHERS = (".onnx", ".pt", ".pth", ".pb", ".tflite", ".ckpt", ".npz", ".npy", ".pkl", ".json", *PICTURES)


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
    tensors = None if args.file.suffix in _OF_KERAS else _weights_only(args.file)
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
    """Names, shapes and types of the tensors in a safetensors file that describes no model; else None."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            if "model" in json.loads((file.metadata() or {}).get("tinyconv", "{}")):
                return None
            parts = [(name, file.get_slice(name)) for name in file.keys()]  # noqa: SIM118 (not a dictionary)
            return [{"name": name, "shape": part.get_shape(), "dtype": part.get_dtype()} for name, part in parts]
    except (SafetensorError, ValueError, TypeError):
        return None  # load_model says what is wrong


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
    if target.suffix.lower() not in PICTURES:
        raise UsageError(f"--output must end in {', '.join(PICTURES)}. Received: {target}")
    check_target(target)
    model = load(args.model)
    with replacing(target) as temporary:
        tc.viz.plot_model(model, temporary, show_shapes=args.shapes, show_layer_names=not args.no_names)
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
    if args.target.suffix.lower() in _OF_OTHERS:
        raise UsageError(
            "TARGET must end in .safetensors, .weights.h5, .h5, .keras, or in what is no other format's, such as "
            f".tinyconv. Received: {args.target}"
        )
    check_target(args.target, args.force)
    if args.architecture is None:
        if args.source.suffix not in _OF_KERAS and _weights_only(args.source) is not None:
            raise UsageError(f"{args.source} holds weights only: --architecture must name a model file they belong to")
        model = load(args.source)
    else:
        model = load(args.architecture)
        model.load_weights(args.source)
    alone = args.weights or args.target.name.endswith((".safetensors", ".weights.h5"))
    model.save_weights(args.target) if alone else model.save(args.target)
    what = "weights" if alone else "model"
    print(f"{args.target}: {what}, {model.count_params():,} parameters, {as_size(args.target.stat().st_size)}")
