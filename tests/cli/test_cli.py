"""The command line as a person or a program uses it: in processes of its own, by exit code, stdout and stderr."""

import json
import os
import platform
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

import tinyconv as tc
from tinyconv.cli import build_parser, doctor, kernels, main

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "train", "evaluate", "predict", "info", "summary", "plot", "convert", "datasets", "warmup", "doctor",
)  # fmt: skip


def environment(**more):
    """For a child: this tinyconv, and one thread, which is enough for little data and leaves the machine to others."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    own = {"PYTHONPATH": path, "COLUMNS": "200", "NUMBA_NUM_THREADS": "1"}
    return {**os.environ, **own, **{name: str(value) for name, value in more.items()}}


def run(*arguments, folder=None, expect=0, **variables):
    """Run ``python -m tinyconv``; errors must be one line, never a traceback."""
    command = [sys.executable, "-m", "tinyconv", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment(**variables), capture_output=True, text=True)
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with what ``train`` wrote, and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    done = run(
        "train", "lenet", "mnist_subset", "--limit", 160, "--epochs", 2, "--batch-size", 32, "--optimizer", "adam",
        "--output", "lenet.tinyconv", "--history", "history.json", "--plot", "curve.png", folder=folder,
    )  # fmt: skip
    return folder, done


@pytest.fixture(scope="module")
def digits():
    _, (x, y) = tc.datasets.mnist.load_data("subset")
    return x, y.astype(int)


def cross_entropy(y, probabilities):
    """In float64, of what sums to 1."""
    return log_loss(y, probabilities / probabilities.sum(1, keepdims=True), labels=range(10))


# --- train, evaluate, predict ----------------------------------------------------------------------------------


def test_train_writes_what_was_asked_for(trained):
    folder, done = trained
    history = json.loads((folder / "history.json").read_text())
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(len(values) == 2 for values in history.values())
    assert f"accuracy on the test images  {history['val_accuracy'][-1]:.4f}" in done.stdout
    assert "Train on 160 samples, validate on 160 samples" in done.stdout
    assert "Epoch 2/2" in done.stdout
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    model = tc.load_model(folder / "lenet.tinyconv")
    assert model.class_names == list("0123456789")
    assert model.optimizer.iterations == 10  # two epochs of five batches
    assert isinstance(model.optimizer, tc.optimizers.Adam)
    assert sorted(path.name for path in folder.iterdir()) == ["curve.png", "history.json", "lenet.tinyconv"]


def test_train_repeats_itself_and_speaks_json(trained):
    folder, _ = trained
    arguments = ("mnist_subset", "--limit", 160, "--epochs", 2, "--batch-size", 32, "--optimizer", "adam", "--json")
    done = run("train", "lenet", *arguments)
    result = json.loads(done.stdout)
    history = json.loads((folder / "history.json").read_text())
    assert (result["network"], result["images"], result["epochs"]) == ("lenet", 160, 2)
    for name, values in history.items():  # the seed is the same
        assert result[name] == values[-1]


def test_evaluate_agrees_with_scikit_learn(trained, digits, capsys):
    folder, _ = trained
    x, y = digits[0][:100], digits[1][:100]
    probabilities = tc.load_model(folder / "lenet.tinyconv").predict(x[..., None].astype("f4") / 255)
    predicted = probabilities.argmax(axis=1)
    done = run("evaluate", folder / "lenet.tinyconv", "mnist_subset", "--limit", 100, "--json")
    result = json.loads(done.stdout)
    assert result["accuracy"] == accuracy_score(y, predicted)
    assert_array_equal(result["confusion_matrix"], confusion_matrix(y, predicted, labels=range(10)))
    assert_allclose(result["loss"], cross_entropy(y, probabilities.astype("f8")), rtol=1e-4)
    assert main(["evaluate", str(folder / "lenet.tinyconv"), "mnist_subset", "--limit", "100"]) == 0
    out, err = capsys.readouterr()
    assert f"accuracy  {result['accuracy']:.4f}" in out
    assert "avg / total" in out
    assert all(line.startswith("tinyconv: warning: ") for line in err.splitlines())


def test_evaluate_makes_one_hot_labels_for_losses_that_want_them(tmp_path, capsys):
    (x, y), _ = tc.datasets.mnist.load_data("subset")
    model = tc.Sequential([tc.layers.Flatten(input_shape=(28, 28, 1)), tc.layers.Dense(10, "softmax")])
    model.compile("sgd", loss="categorical_crossentropy")
    model.save(tmp_path / "model")
    arguments = ["mnist_subset", "--split", "train", "--limit", "64", "--json"]
    assert main(["evaluate", str(tmp_path / "model"), *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    probabilities = model.predict(x[:64, ..., None].astype("f4") / 255).astype("f8")
    assert_allclose(result["loss"], cross_entropy(y[:64], probabilities), rtol=1e-5)


def test_predict_reads_images(trained, digits, tmp_path):
    folder, _ = trained
    x, _ = digits
    model = tc.load_model(folder / "lenet.tinyconv")
    expected = model.predict(x[:3, ..., None].astype("f4") / 255)
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, image in zip(files, x):
        cv2.imwrite(str(file), image)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(files[0].read_bytes()[:40])
    done = run("predict", folder / "lenet.tinyconv", *files, damaged, "--top", 2, "--json", expect=1)
    assert done.stderr == f"tinyconv: error: {damaged}: expected an intact image file. Received: 40 other bytes\n"
    results = json.loads(done.stdout)
    assert [result["source"] for result in results] == [str(file) for file in files]
    for result, p in zip(results, expected, strict=True):
        best = np.argsort(-p)[:2]
        assert [each["class"] for each in result["classes"]] == [str(c) for c in best]
        assert_allclose([each["probability"] for each in result["classes"]], p[best], rtol=1e-5)


def test_predict_inverts_resizes_and_takes_colours(tmp_path, digits, capsys):
    image = digits[0][0]
    names = ["low", "high"]
    dense = tc.layers.Dense(2, "softmax", input_shape=(14 * 14,))
    grey = tc.Sequential([tc.Input((14, 14, 1)), tc.layers.Flatten(), dense])
    grey.class_names = names
    grey.save(tmp_path / "grey")
    cv2.imwrite(str(tmp_path / "digit.png"), 255 - image)
    assert main(["predict", str(tmp_path / "grey"), str(tmp_path / "digit.png"), "--invert", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)[0]["classes"][0]
    halves = np.rint((255.0 - image).reshape(14, 2, 14, 2).mean(axis=(1, 3)))  # mean of 2x2 pixels
    p = grey.predict((255 - halves[None, ..., None]) / 255)[0]
    assert result["class"] == names[p.argmax()]
    assert_allclose(result["probability"], p.max(), atol=2e-3)  # OpenCV rounds halves to even

    colour = tc.Sequential([tc.Input((4, 4, 3)), tc.layers.Flatten(), tc.layers.Dense(1, "sigmoid")])
    colour.save(tmp_path / "colour")
    rgb = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "rgb.png"), rgb[..., ::-1])
    assert main(["predict", str(tmp_path / "colour"), str(tmp_path / "rgb.png"), "--top", "2", "--json"]) == 0
    found = {each["class"]: each["probability"] for each in json.loads(capsys.readouterr().out)[0]["classes"]}
    p = float(colour.predict(rgb[None] / 255)[0, 0])
    assert_allclose([found["1"], found["0"]], [p, 1 - p], rtol=1e-5)


def test_predict_images_of_a_data_set(trained, digits, capsys):
    folder, _ = trained
    assert main(["predict", str(folder / "lenet.tinyconv"), "--dataset", "mnist_subset", "--limit", "5"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["image", "prediction", "truth"]
    assert [line[-1] for line in lines[1:]] == [str(label) for label in digits[1][:5]]
    expected = tc.load_model(folder / "lenet.tinyconv").predict(digits[0][:5, ..., None] / np.float32(255)).argmax(1)
    assert [line[1] for line in lines[1:]] == [str(c) for c in expected]


def test_models_of_channels_first_get_images_so(tmp_path, digits, capsys):
    tc.set_seed(0)
    model = tc.Sequential([
        tc.layers.Conv2D(3, 4, strides=2, data_format="channels_first", input_shape=(1, 28, 28)),
        tc.layers.Flatten(), tc.layers.Dense(10, "softmax"),
    ])  # fmt: skip
    model.compile("sgd", "sparse_categorical_crossentropy")
    path = tmp_path / "first.tinyconv"
    model.save(path)
    x, y = digits
    expected = model.predict(x[:6, None] / np.float32(255))
    assert main(["evaluate", str(path), "mnist_subset", "--limit", "6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(cross_entropy(y[:6], expected), rel=1e-5)
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), x[number])
    for source in (["--dataset", "mnist_subset", "--limit", "2"], [str(tmp_path / f"{n}.png") for n in range(2)]):
        assert main(["predict", str(path), *source, "--top", "10", "--json"]) == 0
        for found, row in zip(json.loads(capsys.readouterr().out), expected, strict=False):
            assert_allclose([c["probability"] for c in found["classes"]], np.sort(row)[::-1], rtol=1e-5)


def test_interrupted_training_saves_nothing(tmp_path):
    command = [sys.executable, "-u", "-m", "tinyconv", "train", "lenet", "mnist_subset", "--epochs", "1000", "-o", "m"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while "Epoch 1/" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "tinyconv: interrupted"
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_interrupted_before_it_has_begun(monkeypatch, capsys):
    """Most of the time of ``tinyconv --help`` goes into imports."""

    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr("tinyconv.cli.build_parser", stop)
    assert main(["info", "model"]) == 130
    assert capsys.readouterr().err == "tinyconv: interrupted\n"
    code = "import sys, tinyconv.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment()).stdout
    assert "tinyconv.cli.networks" not in loaded.split()


# --- model files -----------------------------------------------------------------------------------------------


def test_info_and_summary(trained, capsys):
    folder, _ = trained
    file = folder / "lenet.tinyconv"
    found = json.loads(run("info", file, "--json").stdout)
    parameters = (25 + 1) * 20 + (25 * 20 + 1) * 50 + (49 * 50 + 1) * 500 + (500 + 1) * 10
    assert found["parameters"] == found["trainable parameters"] == parameters
    assert (found["size"], found["updates"], found["layers"]) == (file.stat().st_size, 10, 11)
    assert (found["input shape"], found["output shape"]) == ([None, 28, 28, 1], [None, 10])
    assert (found["loss"], found["metrics"]) == ("sparse_categorical_crossentropy", ["accuracy"])
    assert main(["info", str(file)]) == 0
    assert f"{parameters:,} ({parameters:,} trainable)" in capsys.readouterr().out
    lines = []
    tc.load_model(file).summary(print_fn=lines.append)
    assert main(["summary", str(file)]) == 0
    assert capsys.readouterr().out == "\n".join(lines) + "\n"


def test_convert_there_and_back(trained, tmp_path, capsys, digits):
    folder, _ = trained
    source, weights, back = (str(p) for p in (folder / "lenet.tinyconv", tmp_path / "w.safetensors", tmp_path / "m"))
    assert main(["convert", source, weights]) == 0
    assert main(["info", weights, "--json"]) == 0
    out = capsys.readouterr().out
    tensors = json.loads(out[out.index("\n{") :])["tensors"]
    assert sum(np.prod(tensor["shape"]) for tensor in tensors) == 1_256_080
    assert main(["convert", weights, back, "--architecture", source]) == 0
    x = digits[0][:8, ..., None].astype("f4") / 255
    assert_array_equal(tc.load_model(back).predict(x), tc.load_model(source).predict(x))
    before = Path(back).read_bytes()
    assert main(["convert", source, back]) == 1
    assert f"{back} exists already; --force replaces it" in capsys.readouterr().err
    assert Path(back).read_bytes() == before
    assert main(["convert", source, back, "--force", "--weights"]) == 0
    with pytest.raises(ValueError, match="weights only"):
        tc.load_model(back)
    for arguments in ([weights, str(tmp_path / "n")], [source, source], [source, str(tmp_path / "m.onnx")]):
        with pytest.raises(SystemExit) as stopped:
            main(["convert", *arguments])
        assert stopped.value.code == 2
    assert not (tmp_path / "m.onnx").exists()


def test_convert_to_keras_and_back(trained, tmp_path, digits):
    pytest.importorskip("h5py")
    source = str(trained[0] / "lenet.tinyconv")
    x = digits[0][:8, ..., None].astype("f4") / 255
    expected = tc.load_model(source).predict(x)
    for name in ("model.h5", "model.keras", "only.weights.h5"):
        target, back = str(tmp_path / name), str(tmp_path / f"{name}.tinyconv")
        assert main(["convert", source, target]) == 0
        assert main(["convert", target, back, *(["--architecture", source] if "weights" in name else [])]) == 0
        assert_array_equal(tc.load_model(back).predict(x), expected)
        assert main(["info", target]) == 0


def test_files_of_keras_need_h5py(trained, tmp_path, capsys, monkeypatch):
    """``save`` would write its own format under the name, with a warning: not what was asked for here."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.chdir(tmp_path)
    for command in (["convert", str(trained[0] / "lenet.tinyconv")], ["train", "lenet", "mnist_subset", "--output"]):
        for name in ("m.h5", "m.keras", "m.weights.h5"):
            assert main([*command, name]) == 1
            out, err = capsys.readouterr()
            assert (out, "pip install h5py" in err, list(tmp_path.iterdir())) == ("", True, [])


def test_weights_in_hdf5_are_told_apart_from_models(trained, tmp_path, capsys):
    """By what is in the file, not by its name."""
    h5py = pytest.importorskip("h5py")
    model = tc.load_model(trained[0] / "lenet.tinyconv")
    for name in ("w.weights.h5", "w.H5"):
        path = tmp_path / name
        model.save_weights(path)
        path = path.rename(tmp_path / "some file")
        assert main(["info", str(path), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        with h5py.File(path) as file:
            sizes = []
            file.visititems(lambda _, node, sizes=sizes: sizes.append(node.size) if hasattr(node, "size") else None)
        assert found["kind"] == "weights"
        assert sum(np.prod(tensor["shape"], dtype=int) for tensor in found["tensors"]) == sum(sizes) == 1_256_080
        with pytest.raises(SystemExit) as stopped:
            main(["convert", str(path), str(tmp_path / "m.tinyconv")])
        assert stopped.value.code == 2
        assert "holds weights only: --architecture" in capsys.readouterr().err
    (tmp_path / "half.h5").write_bytes(path.read_bytes()[:3000])
    assert main(["info", str(tmp_path / "half.h5")]) == 1
    assert "half.h5" in capsys.readouterr().err


def test_plot(trained, tmp_path, capsys):
    target = tmp_path / "lenet.png"
    assert main(["plot", str(trained[0] / "lenet.tinyconv"), "--output", str(target), "--shapes"]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert min(cv2.imread(str(target)).shape[:2]) > 200
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(SystemExit) as stopped:
        main(["plot", str(trained[0] / "lenet.tinyconv"), "--output", str(tmp_path / "lenet.gif")])
    assert stopped.value.code == 2


# --- the installation ------------------------------------------------------------------------------------------


def test_datasets(tmp_path, capsys, monkeypatch):
    found = json.loads(run("datasets", "--json", TINYCONV_HOME=tmp_path).stdout)
    assert {entry["name"] for entry in found} >= {"mnist", "fashion_mnist", "cifar10"}
    assert all(entry["state"] == "missing" and entry["hint"] for entry in found)
    hints = {entry["name"]: entry["hint"] for entry in found}
    assert hints["cifar10"].startswith("tinyconv datasets --fetch cifar10 downloads it; or put ")
    monkeypatch.setenv("TINYCONV_HOME", str(tmp_path))
    monkeypatch.setenv("TINYCONV_OFFLINE", "1")
    folder = tmp_path / "datasets" / "fashion_mnist"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(bytes(2_500_000))
    assert main(["datasets"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("fashion_mnist "))
    assert row.split() == ["fashion_mnist", "incomplete", "2.5", "MB", str(folder)]
    assert main(["datasets", "--fetch", "cifar10"]) == 1
    assert "TINYCONV_OFFLINE is set" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["datasets", "--fetch", "imagenet"])
    assert stopped.value.code == 2


def test_doctor_tells_the_facts():
    done = run("doctor", "--json", TINYCONV_BACKEND="auto")
    report = json.loads(done.stdout)
    assert report["problems"] == []
    facts = report["facts"]
    assert facts["versions"]["numpy"] == np.__version__
    assert facts["versions"]["Python"].startswith(platform.python_version())
    assert all(result.startswith("right") for result in facts["self-check"].values())
    assert facts["processor"]["cores"] == os.cpu_count()
    if facts["settings"]["backend"] == "cpu":
        import numba

        assert facts["versions"]["numba"] == numba.__version__
        assert facts["threads"]["threads"] == 1
        usable = facts["threads"]["cores for this process"]
        assert (f"1 of {usable} cores compute" in " ".join(report["warnings"])) == (usable > 1)
        cached = [path for path in Path(facts["kernel cache"]["folder"]).iterdir() if path.suffix == ".nbc"]
        assert 0 < int(facts["kernel cache"]["kernels"].partition(",")[0]) <= len(cached)


def test_doctor_where_packages_are_missing():
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "hidden")])
    report = json.loads(run("doctor", "--json", expect=1, PYTHONPATH=path, TINYCONV_BACKEND="auto").stdout)
    assert report["problems"] == ["cv2 is missing: pip install opencv-python"]
    assert any(line.startswith("Numba is missing") for line in report["warnings"])
    assert report["facts"]["settings"]["backend"] == "reference"
    assert all(result.startswith("right") for result in report["facts"]["self-check"].values())


@pytest.mark.skipif(tc.backends.host().name != "cpu", reason="the reference is what the check compares with")
def test_doctor_finds_what_is_wrong(monkeypatch, capsys):
    host = tc.backends.host()
    right = host.conv2d
    monkeypatch.setattr(host, "conv2d", lambda *arguments: 1.01 * right(*arguments))
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("wrong: Self-check of convolutions: ArithmeticError: a 3x3 conv") for line in lines)
    assert any(line.startswith("wrong: Self-check of gradients: ") for line in lines)  # those of another operation now
    assert lines[-1] == "2 problems"


def test_doctor_warns_of_what_makes_it_slow(monkeypatch):
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    monkeypatch.setattr(doctor, "_quota", lambda: 0.5)
    report = doctor.Report()
    doctor.settings(report)
    assert "NUMBA_BOUNDSCHECK=1 makes kernels slower than they could be; unset it" in report.warnings
    monkeypatch.delenv("NUMBA_BOUNDSCHECK")
    if tc.backends.host().name == "cpu":
        import numba

        doctor.threads(report)
        assert any(f"{numba.get_num_threads()} threads share 0.5 cores" in line for line in report.warnings)
    assert report.problems == []


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_doctor_warns_of_a_graphviz_that_does_not_work(tmp_path, monkeypatch):
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho 'no plugins' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    report = doctor.Report()
    assert doctor.optional_packages(report)["dot (Graphviz)"] == str(program)
    assert report.warnings == [
        "Graphviz could not draw a model: no plugins: plot_model draws with matplotlib instead. "
        f"Mend or remove {program}"
    ]
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    report = doctor.Report()
    assert doctor.optional_packages(report)["dot (Graphviz)"] == "not installed"
    assert report.warnings == []


def test_a_cache_folder_that_cannot_be_used(tmp_path, monkeypatch, capsys):
    pytest.importorskip("numba")
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "folder"  # a folder inside a file
    report = json.loads(run("doctor", "--json", NUMBA_CACHE_DIR=folder, TINYCONV_BACKEND="cpu").stdout)
    assert any(f"NUMBA_CACHE_DIR={folder} cannot be used" in line for line in report["warnings"])
    nowhere = kernels.Cache(None, False, 0, 0, 0, 0)
    monkeypatch.setattr(kernels, "cache", lambda: nowhere)
    monkeypatch.setattr(tc.backends.host(), "name", "cpu")
    for command in ("doctor", "warmup"):
        assert main([command]) == 1
        out, err = capsys.readouterr()
        assert "NUMBA_CACHE_DIR" in out + err


def test_warmup_has_nothing_to_do_without_kernels():
    assert run("warmup", TINYCONV_BACKEND="reference").stdout.startswith("Nothing to do")


def test_warmup_tells_what_it_does(capsys):
    pytest.importorskip("numba")
    assert main(["warmup", "--network", "shallownet", "--batch-size", "2", "--optimizer", "sgd"]) == 0
    *lines, total = capsys.readouterr().out.splitlines()
    if tc.backends.host().name == "cpu":
        assert len(lines) == 7  # training and evaluation with two losses, prediction of 2 and of 1, short batches
        assert all(line.startswith("shallownet  batch 2 ") for line in lines)
        assert sum(int(line.split()[-2]) for line in lines) == int(total.split()[0])


@pytest.mark.slow
def test_after_warmup_training_compiles_nothing(tmp_path):
    pytest.importorskip("numba")
    variables = {"NUMBA_CACHE_DIR": tmp_path, "TINYCONV_BACKEND": "cpu"}
    done = json.loads(run("warmup", "--network", "lenet", "--optimizer", "sgd", "--json", **variables).stdout)
    compiled = {path.name for path in tmp_path.rglob("*.nbc")}
    assert 0 < sum(step["compiled"] for step in done) <= len(compiled)
    assert {step["network"] for step in done} == {"lenet"}
    run("train", "lenet", "mnist_subset", "--limit", 209, "--epochs", 1, "-b", 50, **variables)  # the last batch has 9
    assert {path.name for path in tmp_path.rglob("*.nbc")} == compiled


# --- arguments and errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_parses(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    examples = [line.split() for line in text.partition("example:\n")[2].splitlines()]
    assert examples
    for words in examples:
        assert words[:2] == ["tinyconv", command]
        assert build_parser().parse_args(words[1 : words.index(">") if ">" in words else None]).command == command


def test_the_commands_of_the_guide_work(tmp_path, monkeypatch, capsys, digits):
    """In their order; those that look after the installation have tests of their own, and only have to parse."""
    pytest.importorskip("h5py")
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8").split("## Command line")[1]
    lines = [shlex.split(line, comments=True) for line in text.splitlines() if line.startswith("tinyconv ")]
    assert {words[1] for words in lines} == set(COMMANDS)
    (tmp_path / "digits" / "odd").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "digits" / "odd" / "0.png"), digits[0][0])
    monkeypatch.chdir(tmp_path)
    for words in lines:
        if words[1] in ("doctor", "warmup"):
            build_parser().parse_args(words[1:])
        else:
            assert main(words[1:]) == 0, words
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"digits", "lenet.tinyconv", "lenet.json", "lenet.png", "architecture.svg", "lenet.keras"}


def test_the_list_of_commands(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines if line and line[0] in COMMANDS] == list(COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["trian"],
        ["train", "lenet"],
        ["train", "lenet", "imagenet"],
        ["train", "lenet", "mnist_subset", "--epochs", "0"],
        ["train", "lenet", "mnist_subset", "--learning-rate", "-1"],
        ["train", "lenet", "mnist_subset", "--seed", "-1"],
        ["train", "lenet", "mnist_subset", "--plot", "curve.bmp"],
        ["train", "lenet", "mnist_subset", "--output", "model.onnx"],
        ["predict", "model"],
        ["predict", "model", "image.png", "--dataset", "mnist_subset"],
    ],
)
def test_wrong_arguments_are_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]


def test_damaged_and_missing_files_are_code_1(tmp_path, capsys):
    (tmp_path / "damaged").write_bytes(b"no model at all")
    for command in ("info", "summary", "plot"):
        for name in ("damaged", "missing", "."):
            assert main([command, str(tmp_path / name)]) == 1
            out, err = capsys.readouterr()
            assert out == ""
            assert err.startswith("tinyconv: error: ")
            assert err.count("\n") == 1
    assert main(["train", "lenet", "mnist_subset", "-o", str(tmp_path / "no" / "model")]) == 1
    assert "Expected a folder to write to" in capsys.readouterr().err
    with pytest.raises(ValueError, match="damaged"):
        main(["--debug", "info", str(tmp_path / "damaged")])
    with pytest.raises(ValueError, match="damaged"):
        main(["info", str(tmp_path / "damaged"), "--debug"])


def test_numbers_that_are_none(capsys):
    for option, text, expected in (
        ("--epochs", "many", "a whole number >= 1"),
        ("--limit", "1.5", "a whole number >= 1"),
        ("--learning-rate", "low", "a number > 0"),
        ("--scale", "nan", "a number > 0"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["train", "lenet", "mnist_subset", option, text])
        assert stopped.value.code == 2
        assert capsys.readouterr().err.endswith(f"{option}: expected {expected}, received {text}\n")


def test_one_file_for_two_things(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "lenet", "mnist_subset", "--output", "run", "--history", str(tmp_path / "run")])
    assert stopped.value.code == 2
    assert "--output, --history and --plot must be different files. Received: run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_options_that_images_or_data_sets_do_not_have(capsys):
    for arguments, message in (
        (["image.png", "--limit", "3"], "--limit is for --dataset"),
        (["--dataset", "mnist_subset", "--invert"], "--invert is for image files"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["predict", "model", *arguments])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err


def test_images_that_cannot_be_read(trained, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no image")
    model = str(trained[0] / "lenet.tinyconv")
    assert main(["predict", model, str(tmp_path), str(tmp_path / "text.png"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == []
    assert err.splitlines()[0] == f"tinyconv: error: Expected an image file. Received: {tmp_path}, which is a folder"
    assert len(err.splitlines()) == 2


def test_training_that_fails_is_warned_of(capsys):
    arguments = ["train", "lenet", "mnist_subset", "--limit", "5", "--epochs", "1", "--learning-rate", "1e30", "--json"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["val_loss"] is None
    assert "tinyconv: warning: [not_finite] Validation loss is nan in epoch 1. Divide the learning rate" in err


def test_training_goes_on_when_its_reader_is_gone(tmp_path):
    """As in ``tinyconv train ... | head -1``: what it is to write is written."""
    arguments = ["train", "lenet", "mnist_subset", "--limit", "8", "--epochs", "2", "--optimizer", "adam", "-o", "m"]
    command, pipe = [sys.executable, "-u", "-m", "tinyconv", *arguments], subprocess.PIPE
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=pipe, stderr=pipe, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 0
    process.stderr.close()
    assert tc.load_model(tmp_path / "m").optimizer.iterations == 2


@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix")
@pytest.mark.parametrize(
    ("closed", "code", "expected"),
    [("info m >&-", 0, ""), ("info no 2>&-", 1, ""), ("info m --json >&-", 0, ""), ("--version >&-", 0, "")],
)
def test_streams_that_are_closed(closed, code, expected, trained, tmp_path):
    (tmp_path / "m").write_bytes((trained[0] / "lenet.tinyconv").read_bytes())
    command = f"{shlex.quote(sys.executable)} -m tinyconv {closed}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, expected, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", ["info m", "--version", "info --help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_code_1(arguments, unbuffered, trained, tmp_path):
    (tmp_path / "m").write_bytes((trained[0] / "lenet.tinyconv").read_bytes())
    command = [sys.executable, "-m", "tinyconv", *arguments.split()]
    with open("/dev/full", "w") as full:
        around = {**environment(), "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, cwd=tmp_path, env=around, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "tinyconv: error: [Errno 28] No space left on device\n")


def test_names_that_the_terminal_cannot_show(trained, tmp_path, digits):
    (tmp_path / "m").write_bytes((trained[0] / "lenet.tinyconv").read_bytes())
    (tmp_path / "zw\u00f6lf 12.png").write_bytes(cv2.imencode(".png", digits[0][0])[1].tobytes())
    images = "zw\u00f6lf 12.png", "no\u00ebl.png"
    done = run("predict", "m", *images, folder=tmp_path, expect=1, PYTHONIOENCODING="ascii")
    assert done.stdout.splitlines()[1].startswith("zw?lf 12.png")
    assert "Received: no\\xebl.png, which does not exist" in done.stderr


def test_a_reader_that_stops_early_is_no_error(trained):
    command = [sys.executable, "-m", "tinyconv", "info", str(trained[0] / "lenet.tinyconv")]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 0
    process.stderr.close()


def test_the_installed_command():
    script = Path(sys.executable).with_name("tinyconv.exe" if os.name == "nt" else "tinyconv")
    if not script.exists():
        pytest.skip("tinyconv is not installed beside this Python")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stdout) == (0, f"tinyconv {tc.__version__}\n")


def test_importing_tinyconv_leaves_the_command_line_alone():
    code = "import sys, tinyconv; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert "tinyconv.cli" not in done.stdout
