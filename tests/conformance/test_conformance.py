"""What holds for every loss, metric, optimizer, initializer, regularizer, constraint and schedule (see ``cases``).

Layers have their own conformance tests in ``tests/layers``.
"""

import doctest
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import losses, metrics, optimizers
from tinyconv.registry import serialize
from tinyconv.testing import check_gradients

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("tinyconv_conformance_cases", HERE / "cases.py")
cases = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = cases  # dataclasses look their module up
spec.loader.exec_module(cases)
CASES, compute, arrays = cases.CASES, cases.compute, cases.arrays
CLASSES = {name.partition("-")[0]: case for name, case in CASES.items()}


def every(kinds=tuple(cases.KINDS), of=CASES):
    chosen = {name: case for name, case in of.items() if case.kind in kinds}
    return pytest.mark.parametrize("case", chosen.values(), ids=chosen)


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


def registry_of(case):
    return getattr(case.module, "registry", None) or case.module._registry


def test_something_of_every_kind_was_found():
    counts = {kind: sum(case.kind == kind for case in CLASSES.values()) for kind in cases.KINDS}
    least = {
        "losses": 20, "metrics": 38, "optimizers": 10, "initializers": 15, "regularizers": 3, "constraints": 4,
        "schedules": 9,
    }  # fmt: skip
    assert all(counts[kind] >= least[kind] for kind in least), counts
    assert set(cases.SETTINGS) <= set(CLASSES)


@every(of=CLASSES)
def test_registered_under_its_name(case):
    assert registry_of(case).find(case.cls.__name__) is case.cls
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", case.cls.__name__).lower()
    assert registry_of(case).find(snake) is case.cls
    if not case.settings:
        assert type(case.module.get(case.cls.__name__)) is case.cls
        assert type(case.module.get(case.cls)) is case.cls


@every()
def test_configuration_round_trip(case):
    thing = case.make()
    text = json.dumps(case.module.serialize(thing))
    assert json.loads(text)["class_name"] == case.cls.__name__
    expected = compute(case, thing, arrays(case))
    if case.kind == "optimizers":
        thing = case.make()
    restored = [
        case.module.deserialize(json.loads(text)),
        case.module.get(json.loads(text)),
        case.cls.from_config(json.loads(json.dumps(thing.get_config()))),
    ]
    for again in restored:
        assert type(again) is case.cls
        assert json.dumps(serialize(again)) == text
        assert repr(again) == repr(thing) or "<function" in repr(again)
        assert_same(compute(case, again, arrays(case)), expected)
    assert case.module.get(thing) is thing


@every(of=CLASSES)
def test_unknown_arguments_are_refused(case):
    if case.cls in (losses.LossFunctionWrapper, metrics.MeanMetricWrapper):
        return  # theirs go to the function
    with pytest.raises(TypeError, match="colour|takes no arguments"):
        case.cls(**case.settings, colour="red")


@every()
def test_repr(case):
    text = repr(case.make())
    assert text.startswith(f"{case.cls.__name__}(")
    assert text.endswith(")")
    assert " object at 0x" not in text
    if not case.settings:
        assert text == f"{case.cls.__name__}()"


# --- documentation ---------------------------------------------------------------------------------------------

SHAPED = ("losses", "metrics", "initializers", "regularizers", "constraints")


@every(of=CLASSES)
def test_docstring_has_an_example_that_runs(case):
    (found,) = (t for t in doctest.DocTestFinder(recurse=False).find(case.cls, case.cls.__name__))
    assert found.examples
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    output: list[str] = []
    runner.run(found, out=output.append)
    assert not output, "".join(output)


@every(SHAPED, of=CLASSES)
def test_docstring_tells_shapes(case):
    assert re.search(r"\(N\b|\bshapes?\b|\baxes\b|\baxis\b", case.cls.__doc__)


# --- behaviour -------------------------------------------------------------------------------------------------


@every()
def test_determinism(case):
    first, second = case.make(), case.make()
    assert_same(compute(case, first, arrays(case)), compute(case, second, arrays(case)))
    if case.kind not in ("optimizers", "initializers"):  # these have a state, or draw anew
        assert_same(compute(case, first, arrays(case)), compute(case, second, arrays(case)))


@every(("losses", "optimizers", "regularizers", "constraints"))
def test_use_is_no_change(case):
    """What counts as a change makes models record their steps anew."""
    thing, given = case.make(), arrays(case)
    variables = cases.variables(case, given[0].dtype) if case.kind == "optimizers" else []
    revisions = []
    for _ in range(3):
        if case.kind == "optimizers":
            thing.apply([gradients[0] for gradients in given], variables)
        else:
            compute(case, thing, given)
        revisions.append(thing.revision)
    assert revisions == revisions[:1] * 3


@every()
def test_inputs_are_not_changed(case):
    given, before = arrays(case), arrays(case)
    for array in given:
        array.setflags(write=False)
    thing = case.make()
    compute(case, thing, given)
    config = thing.get_config()
    assert_same(given, before)
    if case.kind in ("losses", "metrics", "regularizers", "constraints"):
        expected = compute(case, case.make(), before)
        strange = compute(case, case.make(), [np.asfortranarray(array) for array in before])
        for result, other in zip(strange, expected, strict=True):
            np.testing.assert_allclose(result, other, rtol=1e-12)  # sums follow the order in memory
        tensors = [tc.Tensor(array) for array in before]
        if case.kind != "losses":
            assert_same(compute(case, case.make(), tensors), expected)
    assert thing.get_config() == config


@every(("losses", "metrics", "optimizers", "initializers", "regularizers", "constraints"))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(case, dtype):
    given = arrays(case, dtype)
    if case.kind == "initializers":
        assert case.make()((4, 4), dtype).dtype == dtype
        assert case.make()((4, 4)).dtype == tc.config.floatx()
        return
    results = compute(case, case.make(), given)
    if case.kind == "metrics":
        assert {result.dtype.name for result in results} == {"float64"}  # totals are float64, whatever comes in
        return
    if case.kind == "optimizers":
        results = results[: len(given)]
    assert {result.dtype.name for result in results} == {dtype}
    exact = compute(case, case.make(), [array.astype(np.float64) for array in given])
    for result, expected in zip(results, exact, strict=False):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


@every(("losses", "metrics"))
def test_batches_of_one_and_none(case):
    y, p, w = arrays(case)
    if case.kind == "losses":
        thing = case.make()
        each = thing.call(y, p).numpy()
        for i in range(len(y)):
            np.testing.assert_allclose(thing.call(y[i : i + 1], p[i : i + 1]).numpy(), each[i : i + 1], rtol=1e-12)
            assert np.isfinite(thing(y[i : i + 1], p[i : i + 1], w[i : i + 1]).item())
        assert thing(y[:0], p[:0]).item() == 0.0
        assert thing(y[:0], p[:0], w[:0]).item() == 0.0
        return
    single = case.cls in (metrics.Mean, metrics.Sum)

    def feed(metric, part):
        values = (y[part],) if single else (y[part], p[part])
        metric.update_state(*values, sample_weight=w[part])

    whole, split = case.make(), case.make()
    feed(whole, slice(None))
    for i in range(len(y)):
        feed(split, slice(i, i + 1))
        feed(split, slice(0, 0))
    np.testing.assert_allclose(split.result(), whole.result(), rtol=1e-9)
    nothing = case.make()
    feed(nothing, slice(0, 0))
    assert np.isfinite(nothing.result()).all()


@every(("losses", "metrics"))
def test_a_weight_counts_like_so_many_samples(case):
    y, p, _ = arrays(case)
    w = np.array([0, 1, 2, 3, 0, 1])
    many = [np.repeat(a, w, axis=0) for a in (y, p)]
    if case.kind == "losses":
        settings = {**case.settings, "reduction": "mean_with_sample_weight"}
        np.testing.assert_allclose(case.cls(**settings)(y, p, w).item(), case.cls(**settings)(*many).item(), rtol=1e-9)
        return
    count = 1 if case.cls in (metrics.Mean, metrics.Sum) else 2
    weighted, repeated = case.make(), case.make()
    weighted.update_state(*(y, p)[:count], sample_weight=w)
    repeated.update_state(*many[:count])
    np.testing.assert_allclose(weighted.result(), repeated.result(), rtol=1e-9)


@every(("optimizers", "initializers", "regularizers", "constraints"))
def test_empty_and_single_weights(case):
    if case.kind == "optimizers":
        for shape in ((), (0,), (0, 3), (1,)):
            w = tc.Tensor(np.ones(shape), requires_grad=True)
            optimizer = case.make()
            for _ in range(2):
                optimizer.apply([np.ones(shape)], [w])
            assert w.shape == shape
            assert np.isfinite(w.numpy()).all()
        return
    for shape in ((0, 3), (1, 1)):
        if case.kind == "initializers":
            assert case.make()(shape).shape == shape
        else:
            result = case.make()(np.ones(shape))
            assert np.isfinite(result.numpy()).all()
            assert result.shape == (shape if case.kind == "constraints" else ())


@every(("losses", "regularizers"))
def test_gradients_of_order_1_and_2(case):
    thing = case.make()
    if case.kind == "regularizers":
        report = check_gradients(thing, arrays(case), order=2)
    else:
        y, p, w = arrays(case)
        report = check_gradients(lambda p: (thing(y, p, w), thing.call(tc.Tensor(y), p)), [p], order=2)
    assert report.checked


# --- files -----------------------------------------------------------------------------------------------------

CHILD = """
import importlib.util, json, sys
import numpy as np
import tinyconv as tc

spec = importlib.util.spec_from_file_location("tinyconv_conformance_cases", sys.argv[1] + "/cases.py")
cases = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = cases
spec.loader.exec_module(cases)
made = {}
for name, file in json.load(open(sys.argv[2] + "/models.json")).items():
    results = cases.train(tc.load_model(file), cases.CASES[name])
    made.update({f"{name}|trained{i}": np.asarray(result) for i, result in enumerate(results)})
with open(sys.argv[2] + "/objects.json") as file:
    texts = json.load(file)
for name, config in texts.items():
    case = cases.CASES[name]
    results = cases.compute(case, case.module.deserialize(config), cases.arrays(case))
    made.update({f"{name}|{i}": np.asarray(result) for i, result in enumerate(results)})
states = np.load(sys.argv[2] + "/states.npz")
for name, config in texts.items():
    case = cases.CASES[name]
    if case.kind != "optimizers":
        continue
    parts = {key.split("|")[1]: states[key] for key in states.files if key.startswith(name + "|")}
    ws = cases.variables(case, "float64")
    for i, w in enumerate(ws):
        w.assign(parts.pop(f"w{i}"))
    optimizer = case.module.deserialize(config)
    optimizer.build(ws)
    optimizer.set_state(parts)
    for gradients in zip(*cases.arrays(case)):
        optimizer.apply(list(gradients), ws)
    made.update({f"{name}|resumed{i}": w.numpy() for i, w in enumerate(ws)})
np.savez(sys.argv[2] + "/made.npz", **made)
"""


def test_everything_is_bit_equal_in_a_new_process(tmp_path):
    """Objects from their configurations, optimizers that go on from their state, models that use them from files."""
    expected, texts, states, models = {}, {}, {}, {}
    for name, case in CASES.items():
        if case.cls not in (metrics.Mean, metrics.Sum):  # these take values, not labels and predictions
            model = cases.model_with(case)
            cases.train(model, case)
            models[name] = str(tmp_path / f"{name}.model")
            model.save(models[name])
            results = cases.train(model, case)
            expected.update({f"{name}|trained{i}": np.asarray(result) for i, result in enumerate(results)})
        texts[name] = serialize(case.make())
        results = compute(case, case.make(), arrays(case))
        expected.update({f"{name}|{i}": np.asarray(result) for i, result in enumerate(results)})
        if case.kind == "optimizers":
            ws, optimizer = cases.variables(case, "float64"), case.make()
            for part in (slice(0, 3), slice(None)):  # the first three updates before the file is written
                for gradients in zip(*(g[part] for g in arrays(case)), strict=True):
                    optimizer.apply(list(gradients), ws)
                if part.stop:
                    states.update({f"{name}|{key}": value for key, value in optimizer.get_state().items()})
                    states.update({f"{name}|w{i}": w.numpy().copy() for i, w in enumerate(ws)})
            expected.update({f"{name}|resumed{i}": w.numpy() for i, w in enumerate(ws)})
    (tmp_path / "models.json").write_text(json.dumps(models))
    (tmp_path / "objects.json").write_text(json.dumps(texts))
    np.savez(tmp_path / "states.npz", **states)
    subprocess.run([sys.executable, "-c", CHILD, str(HERE), str(tmp_path)], check=True)
    with np.load(tmp_path / "made.npz") as made:
        assert set(made.files) == set(expected)
        for name, value in expected.items():
            assert made[name].dtype == value.dtype, name
            assert made[name].tobytes() == value.tobytes(), name


def test_optimizers_are_found_by_the_names_that_compile_takes():
    for name in ("sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "lion", "ftrl"):
        assert isinstance(optimizers.get(name), optimizers.Optimizer)
