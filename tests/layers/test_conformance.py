"""What holds for every layer. Layers are found by introspection; each needs a row in ``CASES``."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import backends, layers
from tinyconv.applications import lenet5
from tinyconv.layers import Layer
from tinyconv.layers.base import map_structure
from tinyconv.models.replay import Replay
from tinyconv.testing import assert_close, check_gradients


@dataclass(frozen=True)
class Case:
    """How to make a layer, and shapes (channels last) of inputs for it."""

    kwargs: dict[str, Any] = field(default_factory=dict)
    shape: Any = (3, 5, 6, 4)  # of one input, or a list of them
    integers: bool = False
    order: int = 2


IMAGE, ROW, PAIR, VOLUME = (3, 5, 6, 4), (3, 7, 4), [(3, 5), (3, 5)], (2, 3, 4, 3, 2)
PENALTIES = {"kernel_regularizer": "l2", "bias_constraint": "non_neg", "activity_regularizer": tc.regularizers.L1(0.1)}

CASES: dict[str, list[Case]] = {
    "Activation": [Case({"activation": "tanh"}), Case({"activation": "relu"})],
    "ActivityRegularization": [Case({"l1": 0.1, "l2": 0.2})],
    "AdaptiveAveragePooling1D": [Case({"output_size": 3}, ROW)],
    "AdaptiveAveragePooling2D": [Case({"output_size": (2, 3)}), Case({"output_size": (7, 5)})],
    "AdaptiveAveragePooling3D": [Case({"output_size": (2, 2, 3)}, VOLUME)],
    "AdaptiveMaxPooling1D": [Case({"output_size": 3}, ROW)],
    "AdaptiveMaxPooling2D": [Case({"output_size": (2, 3)}), Case({"output_size": (5, 4)})],
    "AdaptiveMaxPooling3D": [Case({"output_size": (2, 2, 3)}, VOLUME)],
    "Add": [Case({}, PAIR), Case({}, [(3, 4, 5, 2), (3, 1, 1, 2), (3, 2)])],
    "AlphaDropout": [Case({"rate": 0.3}), Case({"rate": 0.3, "noise_shape": (None, 1, 1, None)})],
    "Average": [Case({}, PAIR)],
    "AveragePooling1D": [Case({}, ROW), Case({"pool_size": 3, "strides": 2, "padding": "same"}, ROW)],
    "AveragePooling2D": [
        Case({"pool_size": (2, 3)}),
        Case({"pool_size": 3, "strides": (2, 1), "padding": "SAME"}),
        Case({"pool_size": 3, "padding": ((1, 0), (2, 1)), "count_include_pad": True}),
    ],
    "AveragePooling3D": [
        Case({"pool_size": (2, 3, 1)}, VOLUME),
        Case({"pool_size": 2, "strides": 1, "padding": "same", "count_include_pad": True}, VOLUME),
    ],
    "BatchNormalization": [
        Case({}),
        Case({"scale": False, "momentum": 0.5, "gamma_regularizer": "l1"}, (4, 3)),
        Case({"axis": 1, "center": False, "epsilon": 1e-7}, (3, 4, 2)),
    ],
    "CategoryEncoding": [
        Case({"num_tokens": 7}, (3, 5), integers=True),
        Case({"num_tokens": 7, "output_mode": "one_hot"}, (3, 1), integers=True),
        Case({"num_tokens": 8, "output_mode": "count"}, (3, 4), integers=True),
    ],
    "CenterCrop": [Case({"height": 2, "width": 3}), Case({"height": 8, "width": 4})],
    "Concatenate": [Case({}, [(3, 2, 4), (3, 2, 1)]), Case({"axis": 1}, [(3, 2, 4), (3, 1, 4), (3, 3, 4)])],
    "Conv1D": [
        Case({"filters": 3, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}, ROW),
        Case({"filters": 4, "kernel_size": 2, "strides": 2, "padding": (1, 2), "groups": 2}, ROW),
    ],
    "Conv1DTranspose": [
        Case({"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"}, ROW),
        Case({"filters": 2, "kernel_size": 2, "strides": 3, "output_padding": 1, "padding": (1, 0)}, ROW),
    ],
    "Conv2D": [
        Case({"filters": 3, "kernel_size": 3, "activation": "sigmoid"}),
        Case({"filters": 2, "kernel_size": (3, 2), "strides": (2, 1), "padding": "SAME", **PENALTIES}),
        Case({"filters": 4, "kernel_size": 2, "dilation_rate": 2, "groups": 2, "padding": ((1, 0), (2, 1))}),
        Case({"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same_lower", "use_bias": False}),
    ],
    "Conv2DTranspose": [
        Case({"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"}),
        Case({"filters": 2, "kernel_size": (2, 3), "strides": (2, 3), "output_padding": 1, "padding": 1}),
    ],
    "Conv3D": [
        Case({"filters": 2, "kernel_size": 2, "activation": "tanh", **PENALTIES}, VOLUME),
        Case({"filters": 2, "kernel_size": (3, 2, 1), "strides": (1, 2, 1), "padding": "SAME", "groups": 2}, VOLUME),
        Case({"filters": 1, "kernel_size": 2, "padding": ((1, 0), (0, 1), (2, 0)), "dilation_rate": 2}, VOLUME),
    ],
    "Conv3DTranspose": [
        Case({"filters": 2, "kernel_size": 2, "strides": (1, 2, 1), "padding": "same"}, VOLUME),
        Case({"filters": 1, "kernel_size": 3, "strides": 2, "output_padding": (1, 0, 1), "padding": 1}, VOLUME),
    ],
    "Cropping1D": [Case({"cropping": (1, 2)}, ROW)],
    "Cropping2D": [Case({"cropping": ((1, 0), (2, 1))}), Case({"cropping": 1})],
    "Cropping3D": [Case({"cropping": ((1, 0), (2, 1), (0, 1))}, VOLUME), Case({"cropping": (1, 1, 0)}, VOLUME)],
    "Dense": [Case({"units": 3}, (3, 4)), Case({"units": 2, "activation": "softmax", **PENALTIES}, (3, 5, 4))],
    "DepthMaxPooling2D": [Case({"depth": 2})],
    "DepthwiseConv1D": [
        Case({"kernel_size": 3, "padding": "causal", "dilation_rate": 2}, ROW),
        Case({"kernel_size": 2, "depth_multiplier": 2, "strides": 2, "padding": "same"}, ROW),
    ],
    "DepthwiseConv2D": [Case({"kernel_size": 3}), Case({"kernel_size": 2, "depth_multiplier": 2, "padding": "same"})],
    "Dot": [Case({"axes": 1}, PAIR), Case({"axes": (2, 1), "normalize": True}, [(3, 2, 4), (3, 4, 5)])],
    "Dropout": [Case({"rate": 0.4}), Case({"rate": 0.4, "noise_shape": (None, 1, 1, None)})],
    "ELU": [Case({"alpha": 2.0})],
    "Embedding": [
        Case({"input_dim": 7, "output_dim": 3}, (3, 5), integers=True),
        Case({"input_dim": 7, "output_dim": 3, "mask_zero": True}, (3, 5), integers=True),
    ],
    "Flatten": [Case({}), Case({}, (3, 5))],
    "GaussianDropout": [Case({"rate": 0.3})],
    "GaussianNoise": [Case({"stddev": 0.3})],
    "GlobalAveragePooling1D": [Case({}, ROW)],
    "GlobalAveragePooling2D": [Case({}), Case({"keepdims": True})],
    "GlobalAveragePooling3D": [Case({}, VOLUME), Case({"keepdims": True}, VOLUME)],
    "GlobalMaxPooling1D": [Case({"keepdims": True}, ROW)],
    "GlobalMaxPooling2D": [Case({})],
    "GlobalMaxPooling3D": [Case({}, VOLUME)],
    "GroupNormalization": [Case({"groups": 2}), Case({"groups": -1})],
    "Identity": [Case({})],
    "InceptionModule": [Case({"filters": (1, 2, 1, 1, 2, 1), "activation": "elu", "kernel_regularizer": "l2"})],
    "InputLayer": [Case({"shape": (5, 6, 4)}), Case({"batch_shape": (None, None, 6, 4)})],
    "Lambda": [Case({"function": tc.ops.gelu}), Case({"function": "softmax", "output_shape": (5, 6, 4)})],
    "LayerNormalization": [Case({}), Case({"axis": (1, 2), "scale": False})],
    "LeakyReLU": [Case({"negative_slope": 0.1})],
    "LocalResponseNormalization": [Case({"depth_radius": 1, "alpha": 0.3, "beta": 0.75})],
    "LocallyConnected1D": [Case({"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"}, ROW)],
    "LocallyConnected2D": [Case({"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"})],
    "Masking": [Case({}, ROW), Case({"mask_value": 0.5}, (3, 5))],
    "MaxPooling1D": [Case({"pool_size": 3, "strides": 2, "padding": (1, 0)}, ROW)],
    "MaxPooling2D": [Case({}), Case({"pool_size": 3, "strides": 2, "padding": "SAME"})],
    "MaxPooling3D": [Case({}, VOLUME), Case({"pool_size": 2, "strides": 1, "padding": (1, 0, 1)}, VOLUME)],
    "Maximum": [Case({}, PAIR)],
    "Minimum": [Case({}, PAIR)],
    "Multiply": [Case({}, [(3, 4, 5, 2), (3, 1, 1, 2)])],
    "Normalization": [
        Case({}),
        Case({"axis": (1, -1)}),
        Case({"axis": None, "mean": 0.5, "variance": 4.0, "invert": True}, (3, 4)),
        Case({"mean": [0.5, 1.0, 2.0], "variance": [1.0, 2.0, 4.0]}, (3, 3)),
    ],
    "Operation": [
        Case({"operation": "tanh"}),
        Case({"operation": "divide", "args": [{"input": 0}, {"array": [1, 2, 4, 5], "shape": [4], "dtype": "int8"}]}),
        Case({"operation": "getitem", "args": [{"input": 0}, {"tuple": [{"slice": [0, 9, 1]}, 1]}]}),
        Case(
            {"operation": "concatenate", "args": [[{"input": 1}, {"input": 0}]], "kwargs": {"axis": -1}},
            [(3, 2, 4), (3, 2, 1)],
        ),
    ],
    "PReLU": [Case({"alpha_initializer": tc.initializers.Constant(0.2)}), Case({"shared_axes": (1, 2)})],
    "PartialConv2D": [Case({"connections": ((0, 1), (2, 3), (0, 3)), "kernel_size": 3})],
    "Permute": [Case({"dims": (2, 3, 1)})],
    "RMSNormalization": [Case({}), Case({"axis": (1, 2), "epsilon": 0.1})],
    "RandomBrightness": [Case({"factor": 0.3, "value_range": (-2, 2)})],
    "RandomContrast": [Case({"factor": (0.5, 0.7), "value_range": (-2, 2)})],
    "RandomCrop": [Case({"height": 3, "width": 4}), Case({"height": 8, "width": 4})],
    "RandomFlip": [Case({}), Case({"mode": "vertical"})],
    "RandomRotation": [Case({"factor": 0.3}), Case({"factor": (0, 0.5), "fill_mode": "constant", "fill_value": 0.5})],
    "RandomTranslation": [Case({"height_factor": 0.4, "width_factor": (-0.2, 0.3), "fill_mode": "wrap"})],
    "RandomZoom": [
        Case({"height_factor": 0.4, "width_factor": 0.2, "fill_mode": "nearest"}),
        Case({"height_factor": (-0.3, 0.2), "interpolation": "nearest"}),
    ],
    "ReLU": [Case({}), Case({"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2})],
    "RepeatVector": [Case({"n": 3}, (3, 4))],
    "Rescaling": [Case({"scale": 0.5, "offset": -1.0}), Case({"scale": [1.0, 2.0, 3.0, 4.0]})],
    "Reshape": [Case({"target_shape": (3, -1)}), Case({"target_shape": (120,)})],
    "ResidualUnit": [Case({"filters": 4}), Case({"filters": 3, "strides": (2, 1), "activation": "elu"})],
    "Resizing": [
        Case({"height": 3, "width": 8, "interpolation": "bicubic", "antialias": True}),
        Case({"height": 4, "width": 4, "crop_to_aspect_ratio": True}),
        Case({"height": 4, "width": 7, "pad_to_aspect_ratio": True, "fill_value": 0.5, "interpolation": "area"}),
    ],
    "SELU": [Case({})],
    "SquaredDistance": [Case({"units": 3}, (3, 4))],
    "SeparableConv1D": [
        Case({"filters": 3, "kernel_size": 3, "padding": "causal"}, ROW),
        Case({"filters": 2, "kernel_size": 2, "depth_multiplier": 2, "strides": 2, "activation": "elu"}, ROW),
    ],
    "SeparableConv2D": [
        Case({"filters": 3, "kernel_size": 3, "padding": "same"}),
        Case({"filters": 2, "kernel_size": 2, "depth_multiplier": 2, "strides": 2, "activation": "elu"}),
    ],
    "Softmax": [Case({"axis": (1, 2)}), Case({})],
    "SpatialDropout1D": [Case({"rate": 0.4}, ROW)],
    "SpatialDropout2D": [Case({"rate": 0.4})],
    "SpatialDropout3D": [Case({"rate": 0.4}, VOLUME)],
    "SqueezeExcite": [Case({"ratio": 2, "activation": "tanh"})],
    "Subtract": [Case({}, PAIR)],
    "UnitNormalization": [Case({}), Case({"axis": (1, 2)})],
    "UpSampling1D": [Case({"size": 2}, ROW)],
    "UpSampling2D": [Case({"size": (2, 3)}), Case({"size": 2, "interpolation": "bilinear"})],
    "UpSampling3D": [Case({"size": (2, 1, 3)}, VOLUME), Case({"size": 2, "interpolation": "bilinear"}, VOLUME)],
    "ZeroPadding1D": [Case({"padding": (1, 2)}, ROW)],
    "ZeroPadding2D": [Case({"padding": ((1, 0), (2, 1))}), Case({})],
    "ZeroPadding3D": [Case({"padding": ((1, 0), (2, 1), (0, 1))}, VOLUME), Case({}, VOLUME)],
}  # fmt: skip

FOUND = {
    value.__name__: value
    for module in (layers, lenet5)  # lenet5 has layers of its own
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Layer) and value is not Layer
    and (value.__name__ in layers.__all__ or value.__module__ == module.__name__)
}  # fmt: skip
ROWS = [
    pytest.param(FOUND[name], case, id=f"{name}-{number}")
    for name, cases in CASES.items()
    for number, case in enumerate(cases)
    if name in FOUND
]
every_case = pytest.mark.parametrize(("cls", "case"), ROWS)
every_layer = pytest.mark.parametrize("cls", FOUND.values(), ids=FOUND)


def every_case_where(condition):
    return pytest.mark.parametrize(("cls", "case"), [row for row in ROWS if condition(*row.values)])


def make(cls, case, **options):
    return cls(**{**case.kwargs, "name": "it", **options})


def data(case, dtype="float32", seed=0, batch=None):
    """Random inputs for a case; ``batch`` samples instead of the case's own number."""
    rng = np.random.default_rng(seed)

    def one(shape):
        shape = shape if batch is None else (batch, *shape[1:])
        return rng.integers(0, 7, shape) if case.integers else rng.standard_normal(shape).astype(dtype)

    return [one(shape) for shape in case.shape] if isinstance(case.shape, list) else one(case.shape)


def shapes(case, batch=None):
    """The shapes of a case's inputs, with ``batch`` as batch axis."""
    several = isinstance(case.shape, list)
    return [(batch, *s[1:]) for s in case.shape] if several else (batch, *case.shape[1:])


def symbolic(case):
    several = isinstance(case.shape, list)
    return [tc.Input(s[1:]) for s in case.shape] if several else tc.Input(case.shape[1:])


def test_every_layer_has_a_row():
    assert sorted(CASES) == sorted(FOUND)


def test_every_layer_is_registered_under_its_names():
    for name in layers.__all__:
        value = getattr(layers, name)
        if isinstance(value, type) and issubclass(value, Layer) and value is not Layer:
            assert layers.base.LAYERS.find(name) is value


@every_layer
def test_no_layer_is_a_kind_of_another(cls):
    """``isinstance(layer, MaxPooling2D)`` is false of a ``MaxPooling1D``, as in Keras."""
    assert not any(issubclass(cls, other) for other in FOUND.values() if other is not cls)


@every_layer
def test_docstring_tells_shapes_and_has_an_example(cls):
    assert "Inputs" in cls.__doc__
    assert "utputs:" in cls.__doc__
    assert ">>> " in cls.__doc__


@every_case
def test_config_round_trip(cls, case):
    layer = make(cls, case, trainable=False, dtype="float64")
    config = layer.get_config()
    text = json.dumps(config)
    again = cls.from_config(json.loads(text))
    assert json.dumps(again.get_config()) == text
    assert (again.name, again.trainable, again.dtype) == ("it", False, "float64")
    restored = layers.deserialize(json.loads(json.dumps(layers.serialize(layer))))
    assert type(restored) is cls
    assert json.dumps(restored.get_config()) == text


@every_case
def test_restored_layer_computes_the_same(cls, case):
    layer, x = make(cls, case), data(case)
    expected = layer(x)
    restored = cls.from_config(json.loads(json.dumps(layer.get_config())))
    restored(x)
    restored.set_weights(layer.get_weights())
    np.testing.assert_array_equal(restored(x), expected)


LOAD = """
import sys
import numpy as np
import tinyconv as tc
for path in sys.argv[1:]:
    arrays = np.load(path + ".npz")
    x = [arrays[f"x{i}"] for i in range(len(arrays.files) - 1)]
    y = tc.load_model(path + ".tinyconv")(x if len(x) > 1 else x[0]).numpy()
    if y.dtype != arrays["y"].dtype or y.tobytes() != arrays["y"].tobytes():
        print(path)
"""


def test_saved_layers_compute_the_same_bits_in_a_new_process(tmp_path):
    paths = []
    for cls, case in (row.values for row in ROWS):
        x = symbolic(case)
        model = tc.Model(x, make(cls, case)(x))
        rng = np.random.default_rng(1)
        model.set_weights([w + rng.uniform(0, 0.1, w.shape).astype(w.dtype) for w in model.get_weights()])
        arrays = np_list(data(case))
        paths.append(str(tmp_path / f"{cls.__name__}-{len(paths)}"))
        model.save(paths[-1] + ".tinyconv")
        y = model(arrays if len(arrays) > 1 else arrays[0]).numpy()
        np.savez(paths[-1] + ".npz", y=y, **{f"x{i}": array for i, array in enumerate(arrays)})
    done = subprocess.run([sys.executable, "-c", LOAD, *paths], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr[-2000:]) == (0, "", "")


@every_case
def test_output_shape(cls, case):
    layer = make(cls, case)
    shape = layer.compute_output_shape(shapes(case)) if not layer.weights else None
    inferred = layer(symbolic(case)).shape
    assert inferred[0] is None
    assert shape in (None, inferred)
    y = layer(data(case))
    assert y.shape[1:] == inferred[1:]
    assert layer.compute_output_shape(shapes(case, 3))[1:] == y.shape[1:]
    assert layer.output_shape == inferred
    assert layer.input_shape == shapes(case)


@every_case
def test_unknown_sizes_pass_through(cls, case):
    layer, x = make(cls, case), data(case)
    y = layer(x)
    if isinstance(case.shape, list) or x.ndim < 3 or cls is layers.LocallyConnected2D:
        return
    inferred = layer.compute_output_shape((None, *[None] * (x.ndim - 2), x.shape[-1]))
    for known, n in zip(inferred, y.shape, strict=True):
        assert known in (None, n)


@every_case
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype_is_kept(cls, case, dtype):
    layer = make(cls, case, dtype=dtype)
    for training in (False, True):
        y = layer(data(case, dtype), training=training)
        assert y.dtype == dtype
        assert np.isfinite(y.numpy()).all()
    assert {w.dtype.name for w in layer.weights} <= {dtype}
    assert {loss.dtype.name for loss in layer.losses} <= {dtype}


@every_case_where(lambda cls, case: cls is not layers.Operation)  # which computes as the function does
def test_other_dtypes_are_converted(cls, case):
    layer = make(cls, case, dtype="float32")
    y = layer(data(case, "float64"))
    assert y.dtype == "float32"


@every_case
def test_neither_inputs_nor_weights_are_changed(cls, case):
    layer, x = make(cls, case), data(case)
    layer(x)
    before, weights = map_structure(np.copy, x), layer.get_weights()
    map_structure(lambda a: a.setflags(write=False), x)
    expected = layer(x).numpy()
    layer.trainable = False
    layer(x, training=True)
    for given, copy in zip(np_list(x), np_list(before), strict=True):
        np.testing.assert_array_equal(given, copy)
    for now, then in zip(layer.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)
    strange = map_structure(np.asfortranarray, x)
    assert_close(layer(strange), expected)


@every_case
def test_calls_are_no_change(cls, case):
    """What counts as a change makes models record their steps anew."""
    layer, x = make(cls, case), data(case)
    layer(x, training=True)
    before = [part.revision for part in with_children(layer)]
    layer(x, training=True)
    layer(x)
    assert [part.revision for part in with_children(layer)] == before


@every_case
def test_inputs_may_be_tensors_or_lists(cls, case):
    layer, x = make(cls, case), data(case)
    expected = layer(x)
    np.testing.assert_array_equal(layer(map_structure(tc.Tensor, x)), expected)
    if not isinstance(case.shape, list):
        np.testing.assert_array_equal(layer(x.tolist()), expected)


@every_case
def test_batches_of_one_and_none(cls, case):
    layer, x = make(cls, case), data(case)
    y = layer(x)
    one = layer(map_structure(lambda a: a[1:2], x))
    assert one.shape == (1, *y.shape[1:])
    if not (cls is layers.BatchNormalization and case.kwargs.get("axis") == 1):
        assert_close(one, y.numpy()[1:2], atol=1e-6)
    nothing = layer(data(case, batch=0))
    assert nothing.shape == (0, *y.shape[1:])
    assert nothing.dtype == y.dtype


@every_case_where(lambda cls, case: cls._wants_training)
def test_batches_of_one_and_none_in_training(cls, case):
    layer, x = make(cls, case), data(case)
    expected = layer(x, training=True)
    one = layer(map_structure(lambda a: a[1:2], x), training=True)
    assert (one.shape, one.dtype) == ((1, *expected.shape[1:]), expected.dtype)
    if cls in (layers.BatchNormalization, layers.ResidualUnit):  # there is no mean of nothing
        with pytest.raises(ValueError, match="at least one element"):
            layer(data(case, batch=0), training=True)
    else:
        assert layer(data(case, batch=0), training=True).shape == (0, *expected.shape[1:])


def differentiable(cls, case):
    return cls is not layers.CategoryEncoding


@every_case_where(differentiable)
def test_an_empty_batch_has_empty_gradients(cls, case):
    layer = make(cls, case)
    layer(data(case))
    x = map_structure(lambda a: tc.Tensor(a, requires_grad=not case.integers), data(case, batch=0))
    layer(x).sum().backward()
    for tensor in np_list(x, tc.Tensor):
        assert tensor.grad is None or tensor.grad.shape == tensor.shape
    for weight in layer.trainable_weights:
        assert not weight.grad.numpy().any()


@every_case
def test_one_seed_one_result(cls, case):
    results = []
    for _ in range(2):
        tc.set_seed(5)
        layer = make(cls, case)
        results.append([layer(data(case), training=True).numpy(), *layer.get_weights()])
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


@every_case
def test_inference_is_repeatable_and_training_is_off_by_default(cls, case):
    layer, x = make(cls, case), data(case)
    first = layer(x)
    np.testing.assert_array_equal(layer(x, training=False), first)
    np.testing.assert_array_equal(layer(x), first)


@every_case_where(lambda cls, case: "data_format" in cls(**case.kwargs).get_config())
def test_both_data_formats_agree(cls, case):
    x = data(case)
    last = make(cls, case, data_format="channels_last")
    first = make(cls, case, data_format="channels_first")
    expected = last(x).numpy()
    assert first(tc.Input(channels_first(x).shape[1:])).shape[1:] == channels_first(expected).shape[1:]
    first.set_weights(last.get_weights())
    y = first(channels_first(x))
    if cls is layers.Flatten:
        np.testing.assert_array_equal(y, expected)  # the same order, so that the weights above fit
    else:
        assert_close(y, channels_first(expected))


@pytest.mark.parametrize("name", ["BatchNormalization", "GroupNormalization", "LocalResponseNormalization", "Softmax",
                                  "UnitNormalization", "LayerNormalization", "Concatenate"])  # fmt: skip
def test_channel_axis_1_agrees_with_channels_last(name):
    cls = FOUND[name]
    kwargs = {"GroupNormalization": {"groups": 2}}.get(name, {})
    x = np.random.default_rng(0).standard_normal(IMAGE).astype("float32")
    last, first = cls(**kwargs), cls(axis=1, **kwargs)
    several = (lambda a: [a, 2 * a]) if name == "Concatenate" else lambda a: a
    for training in (True, False):
        expected = last(several(x), training=training).numpy()
        assert_close(first(several(channels_first(x)), training=training), channels_first(expected))


@every_case_where(differentiable)
def test_gradients(cls, case):
    layer = make(cls, case, dtype="float64")
    layer(data(case, "float64"))
    weights = [(owner, *item) for owner in with_children(layer) for item in vars(owner).items()]
    trained = [(owner, name) for owner, name, value in weights if getattr(value, "trainable", 0) is True
               and isinstance(value, layers.Parameter)]  # fmt: skip
    assert len(trained) == len(layer.trainable_weights)
    rng = np.random.default_rng(3)
    values = [value.numpy() + 0.1 * rng.standard_normal(value.shape) for value in (getattr(*t) for t in trained)]
    inputs = np_list(data(case, "float64"))

    for training in (False, True):

        def f(*arguments, training=training):
            tc.set_seed(1)  # dropout drops the same each time
            x, given = arguments[: len(inputs)], arguments[len(inputs) :]
            for (owner, name), value in zip(trained, given, strict=True):
                setattr(owner, name, value)
            y = layer(list(x) if isinstance(case.shape, list) else x[0], training=training)
            return y, *layer._added_losses

        report = check_gradients(f, [*inputs, *values], order=case.order)
        assert report.checked
        if not layer._wants_training:
            break


has_plans = pytest.mark.skipif(backends.host().name != "cpu", reason="plans are made of the CPU backend's kernels")


def check_replays(cls, case, **options):
    """Outputs and gradients of recorded steps are those of eager ones, to the last bit."""
    layer = make(cls, case, **options)
    layout = channels_first if options.get("data_format") == "channels_first" else np.asarray

    def draw(seed):
        return [np.ascontiguousarray(layout(x)) for x in np_list(data(case, seed=seed))]

    def step(*arrays):
        xs = [tc.Tensor(x, requires_grad=not case.integers) for x in arrays]
        y = layer(xs if len(xs) > 1 else xs[0])
        wanted = [*(x for x in xs if x.requires_grad), *layer.trainable_weights]
        return [y, *tc.grad((y * y).sum(), wanted)]

    step(*draw(0))
    replay = Replay()
    for seed in range(4):
        for expected, received in zip(step(*draw(seed)), replay(step, draw(seed)), strict=True):
            np.testing.assert_array_equal(received, expected)


@has_plans
@every_case
def test_recorded_steps_compute_the_same_bits(cls, case):
    check_replays(cls, case)


@has_plans
def test_recorded_steps_compute_the_same_bits_with_channels_first():
    for cls, case in (row.values for row in ROWS):
        if "data_format" in cls(**case.kwargs).get_config():
            check_replays(cls, case, data_format="channels_first")


@every_case
def test_weights_can_be_read_and_written(cls, case):
    layer = make(cls, case)
    layer(data(case))
    weights = [w + 1 for w in layer.get_weights()]
    layer.set_weights(weights)
    for now, given in zip(layer.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, given)
        assert now.base is None  # a copy: changing it does not change the layer
    assert layer.count_params() == sum(w.size for w in weights)
    with pytest.raises(ValueError, match=f"{cls.__name__} 'it' expected .* Received: "):
        layer.set_weights([*weights, np.zeros(2)])


@every_case
def test_freezing(cls, case):
    layer = make(cls, case)
    layer(data(case))
    trained = [w.name for w in layer.trainable_weights]
    layer.trainable = False
    assert layer.trainable_weights == []
    assert len(layer.non_trainable_weights) == len(layer.weights)
    y = layer(data(case), training=True)
    assert not y.requires_grad
    layer.trainable = True
    assert [w.name for w in layer.trainable_weights] == trained
    frozen = make(cls, case, trainable=False)
    frozen(data(case))
    assert frozen.trainable_weights == []


@every_case
def test_repr(cls, case):
    layer = make(cls, case)
    text = repr(layer)
    assert text.startswith(f"{cls.__name__}(")
    assert "name='it'" in text
    assert "initializer=GlorotUniform" not in text  # defaults are left out
    assert "Layer object at" not in text


@every_layer
def test_unknown_arguments_are_refused(cls):
    with pytest.raises(TypeError, match="unknown arguments. Received: colour"):
        make(cls, CASES[cls.__name__][0], colour="red")


PARTICULAR = layers.images.ImageLayer, layers.Dense, layers.merging.Merge, layers.RepeatVector, layers.Permute


@every_case_where(lambda cls, case: issubclass(cls, PARTICULAR))
def test_wrong_rank_names_the_layer(cls, case):
    for bad in (np.zeros(3), tc.Input(())):
        with pytest.raises(ValueError, match=f"{cls.__name__} 'it'.*Received"):
            make(cls, case)(bad)


@every_case_where(lambda cls, case: cls.build is not Layer.build and not case.integers)
def test_wrong_number_of_channels_names_the_layer(cls, case):
    layer = make(cls, case)
    layer(data(case))
    axis = case.kwargs.get("axis", -1)
    if axis is None:  # one statistic, which serves any number
        return
    axis, shape = axis[0] if isinstance(axis, tuple) else axis, list(case.shape)
    shape[axis] += 1
    for bad in (np.zeros(shape), tc.Input(shape[1:])):
        with pytest.raises(ValueError, match=f"{cls.__name__} 'it'.*Received"):
            layer(bad)


def channels_first(x):
    return np.moveaxis(np.asarray(x), -1, 1) if np.ndim(x) > 2 else np.asarray(x)


def with_children(layer):
    """A layer and all that it holds."""
    return [layer, *(inner for child in layer.children for inner in with_children(child))]


def np_list(x, kind=np.ndarray):
    return [x] if isinstance(x, kind) else list(x)
