"""Tensors as containers: construction, dtypes, indexing, iteration, Python's protocols, immutability, copies."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinyconv as tc
from tinyconv.testing import check_gradients


@pytest.fixture
def x():
    return tc.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)


# --- construction ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        ([1.0, 2.0], "float32"),
        ([1, 2.0], "float32"),
        ([[1.0], [2.0]], "float32"),
        ((), "float32"),
        (3, "int64"),
        ([1, 2], "int64"),
        (True, "bool"),
        ([True, False], "bool"),
        (np.float64(1.5), "float64"),
        (np.float16(1.5), "float16"),
        (np.ones(2), "float64"),
        ([np.ones(2), np.ones(2)], "float64"),
        ([np.float32(1), np.float32(2)], "float32"),
        (np.ones(2, "float16"), "float16"),
        (np.ones(2, "uint8"), "uint8"),
        (range(3), "int64"),
    ],
)
def test_dtype_of_what_is_given(data, dtype):
    assert tc.Tensor(data).dtype == dtype


def test_python_floats_follow_floatx():
    tc.config.set_floatx("float64")
    try:
        assert tc.Tensor([1.0]).dtype == np.float64
        assert tc.ops.exp(1).dtype == np.float64
    finally:
        tc.config.set_floatx("float32")
    with pytest.raises(ValueError, match="floatx must be one of"):
        tc.config.set_floatx("int32")


def test_dtype_can_be_asked_for():
    assert tc.Tensor([1, 2], dtype="float16").dtype == np.float16
    assert tc.Tensor(np.ones(2), dtype=np.int32).dtype == np.int32


def test_arrays_are_not_copied_and_tensors_share():
    array = np.ones(3)
    tensor = tc.Tensor(array)
    assert tensor.data is array
    assert tc.Tensor(tensor).data is array
    assert tensor.numpy() is array


def test_a_tensor_of_a_tensor_has_no_history(x):
    assert not tc.Tensor(x).requires_grad
    assert tc.Tensor(x * 2).is_leaf


@pytest.mark.parametrize("data", [None, "abc", 1j, [1j], ["a"], object(), np.array(["2020-01-01"], "M8[D]"), {1, 2}])
def test_what_no_tensor_can_hold(data):
    with pytest.raises(TypeError, match="Tensors hold numbers or booleans"):
        tc.Tensor(data)


def test_ragged_lists_raise():
    with pytest.raises(ValueError, match="inhomogeneous"):
        tc.Tensor([[1], [2, 3]])


def test_a_list_of_tensors_does_not_lose_gradients_silently(x):
    with pytest.raises(TypeError, match=r"ops\.stack"):
        tc.Tensor([x[0], x[1]])
    with pytest.raises(TypeError, match=r"ops\.stack"):
        tc.ops.add(np.ones(3), [x[0], x[1]])
    assert tc.Tensor([x[0].detach(), x[1].detach()]).shape == (2, 3)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_only_floats_can_require_gradients(dtype):
    with pytest.raises(TypeError, match="floating-point"):
        tc.Tensor(np.ones(2, dtype), requires_grad=True)


def test_facts(x):
    assert (x.shape, x.ndim, x.size, len(x), x.dtype) == ((2, 3), 2, 6, 2, np.dtype("float64"))
    assert (x.is_leaf, (x * 2).is_leaf, x.requires_grad, x.detach().requires_grad) == (True, False, True, False)


# --- Python's protocols ----------------------------------------------------------------------------------------


def test_conversions():
    t = tc.Tensor(2.5)
    assert (float(t), int(t), bool(t), t.item(), t.tolist(), f"{t:.2f}") == (2.5, 2, True, 2.5, 2.5, "2.50")
    assert [10, 20, 30][tc.Tensor(1)] == 20
    with pytest.raises(TypeError, match="Only integer tensors"):
        range(tc.Tensor(1.0))


def test_what_needs_one_element(x):
    for convert in (float, int, bool):
        with pytest.raises(ValueError, match=r"array"):
            convert(x)
    with pytest.raises(TypeError, match="without axes"):
        len(tc.Tensor(1.0))
    with pytest.raises(TypeError, match="without axes"):
        list(tc.Tensor(1.0))


def test_iteration_keeps_gradients(x):
    rows = list(x)
    assert [row.tolist() for row in rows] == [[0, 1, 2], [3, 4, 5]]
    rows[1].sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [1, 1, 1]]
    a, b = x
    assert a.shape == b.shape == (3,)


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (lambda: tc.Tensor([1.0, 2.0]), "Tensor([1., 2.])"),
        (lambda: tc.Tensor([1, 2]), "Tensor([1, 2], dtype=int64)"),
        (lambda: tc.Tensor(1.5, requires_grad=True), "Tensor(1.5, requires_grad=True)"),
        (lambda: tc.Tensor([1.0], name="w"), "Tensor([1.], name='w')"),
        (lambda: tc.ops.relu(tc.Tensor([1.0], requires_grad=True)), "Tensor([1.], from=ReLU)"),
    ],
)
def test_repr(tensor, text):
    assert repr(tensor()) == str(tensor()) == f"{tensor()}" == text


def test_comparison_is_elementwise_and_hash_is_identity(x):
    same = tc.Tensor(x)
    assert (x == same).tolist() == [[True] * 3] * 2
    assert (x != 0).tolist() == [[False, True, True], [True] * 3]
    assert (x < 2).tolist() == (x <= 1).tolist() == [[True, True, False], [False] * 3]
    for larger in (x >= 2, x > 1, np.full((2, 3), 2) <= x):
        assert larger.tolist() == [[False, False, True], [True] * 3]
    assert len({x, same}) == 2
    assert {x: 1}[x] == 1
    assert (x == None) is False  # noqa: E711
    assert (x == "a") is False
    assert not (x > 0).requires_grad


def test_operators_with_what_is_no_number(x):
    for other in (None, "a", {1: 2}):
        with pytest.raises(TypeError, match="unsupported operand"):
            x + other


def test_operators():
    x, y = np.array([4.0, 9.0]), np.array([2.0, 5.0])
    t = tc.Tensor(x)
    for other in (y, tc.Tensor(y), 2.0, [2.0, 5.0]):
        o = np.asarray(other)
        for result, expected in [
            (t + other, x + o), (t - other, x - o), (t * other, x * o), (t / other, x / o), (t // other, x // o),
            (t % other, x % o), (t**other, x**o), (other + t, o + x), (other - t, o - x), (other * t, o * x),
            (other / t, o / x), (other // t, o // x), (other % t, o % x), (other**t, o**x),
        ]:  # fmt: skip
            assert isinstance(result, tc.Tensor)
            np.testing.assert_allclose(result, expected, 1e-14)
    assert ((-t).tolist(), (+t).tolist(), abs(-t).tolist()) == ([-4, -9], [4, 9], [4, 9])
    assert (t @ y).item() == (y @ t).item() == 53


def test_and_or_not_are_for_booleans():
    p, q = np.array([True, True, False]), np.array([True, False, False])
    assert (tc.Tensor(p) & q).tolist() == (p & tc.Tensor(q)).tolist() == [True, False, False]
    assert (tc.Tensor(p) | q).tolist() == (True & tc.Tensor(p)).tolist() == [True, True, False]
    assert (~tc.Tensor(p)).tolist() == [False, False, True]
    for bitwise in (lambda t: t & 1, lambda t: 1 | t, lambda t: ~t, np.invert, lambda t: np.bitwise_or(t, 2)):
        with pytest.raises(TypeError, match="booleans"):
            bitwise(tc.Tensor([1, 2]))


def test_methods_are_the_operations(x):
    array = x.numpy()
    for name in ("sum", "mean", "var", "std", "max", "min", "prod", "argmax", "argmin", "cumsum", "flatten", "squeeze"):
        np.testing.assert_allclose(getattr(x, name)(), getattr(array, name)(), 1e-14, err_msg=name)
    for name in ("sum", "mean", "var", "std", "max", "min", "prod", "argmax", "argsort", "cumsum", "all", "any"):
        np.testing.assert_allclose(getattr(x, name)(axis=-1), getattr(array, name)(axis=-1), 1e-14, err_msg=name)
    assert x.reshape(3, 2).shape == x.reshape((3, 2)).shape == x.reshape(-1, 2).shape == x.T.shape == (3, 2)
    for y in (x.transpose(), x.transpose(1, 0), x.transpose((1, 0)), x.swapaxes(0, 1)):
        assert y.tolist() == array.T.tolist()
    assert x.take([0, 5]).tolist() == [0, 5]
    assert x.clip(1, 2).tolist() == array.clip(1, 2).tolist()
    assert x.astype("float32").dtype == np.float32


# --- indexing --------------------------------------------------------------------------------------------------

INDICES = [
    0, -1, (1, 2), (0, -1), slice(1), slice(None, None, -1), (slice(None), 1), ..., (..., 0), None, (None, 0, None),
    (slice(0), 1), [0, 1, 0], ([0, 1], [2, 0]), (slice(None), [2, 2]), ([[0], [1]], [[0, 2]]), [True, False],
    np.array([[True, False, True], [False, False, True]]), (0, np.array([True, False, True])), np.int64(1), (), [],
    (slice(None), None, [0, 0, 1]), np.array(1), True,
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_indexing_is_numpys_and_differentiable(x, index):
    np.testing.assert_array_equal(x[index], x.numpy()[index])
    check_gradients(lambda t: t[index] * 1.5, [x.numpy()], order=2)


@given(st.data())
def test_any_index(data):
    array = np.arange(24.0).reshape(2, 3, 4)
    index = data.draw(st.one_of(
        hnp.basic_indices(array.shape, allow_newaxis=True),
        hnp.integer_array_indices(array.shape),
        hnp.arrays(bool, array.shape),
    ))  # fmt: skip
    t = tc.Tensor(array, requires_grad=True)
    y = t[index]
    np.testing.assert_array_equal(y, array[index])
    y.backward(np.ones(y.shape))
    expected = np.zeros(array.shape)
    np.add.at(expected, index, 1.0)
    np.testing.assert_array_equal(t.grad, expected)


def test_tensors_as_indices(x):
    assert x[x > 2].tolist() == [3, 4, 5]
    assert x[tc.Tensor([1, 0])].tolist() == [[3, 4, 5], [0, 1, 2]]
    assert x[tc.Tensor([0, 1]), tc.Tensor([2, 0])].tolist() == [2, 3]


def test_an_index_used_twice_adds_its_gradients(x):
    x[[0, 0, 0], [1, 1, 2]].sum().backward()
    assert x.grad.tolist() == [[0, 2, 1], [0, 0, 0]]


@pytest.mark.parametrize("index", [2, (0, 3), (0, 0, 0), 1.5, "a", [5], np.array([True, False, True])])
def test_bad_indices_raise_index_error(x, index):
    with pytest.raises(IndexError):
        x[index]


# --- immutability and copies -----------------------------------------------------------------------------------


def test_tensors_are_immutable(x):
    with pytest.raises(TypeError, match="immutable"):
        x[0] = 1
    with pytest.raises((TypeError, AttributeError)):
        del x[0]
    with pytest.raises(AttributeError):
        x.shape = (3, 2)
    with pytest.raises(AttributeError):
        x.unknown = 1


def test_augmented_assignment_makes_a_new_tensor(x):
    before = x
    x += 1
    assert x is not before
    assert before.tolist() == [[0, 1, 2], [3, 4, 5]]
    x.sum().backward()
    assert before.grad.tolist() == [[1] * 3] * 2


def test_assign_overwrites_in_place(x):
    array = x.data
    x.assign([[1.0, 2, 3]] * 2)
    assert array.tolist() == [[1, 2, 3]] * 2
    x.assign(tc.Tensor(np.zeros((2, 3), "float32")))
    assert (x.dtype, array.sum()) == (np.float64, 0)
    with pytest.raises(ValueError, match="shape"):
        x.assign(np.ones(3))
    with pytest.raises(RuntimeError, match="leaf"):
        (x * 2).assign(np.ones((2, 3)))


def test_deepcopy_is_independent(x):
    x.sum().backward()
    y = copy.deepcopy(x)
    assert (y.requires_grad, y.grad, y.tolist()) == (True, None, x.tolist())
    y.assign(np.ones((2, 3)))
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    twice = copy.deepcopy([x, x])
    assert twice[0] is twice[1]
    with pytest.raises(TypeError, match="leaf"):
        copy.deepcopy(x * 2)


def test_leaves_can_be_pickled_results_cannot():
    x = tc.Tensor([1.0, 2.0], requires_grad=True, name="w")
    y = pickle.loads(pickle.dumps(x))
    assert (y.tolist(), y.requires_grad, y.name, y.dtype) == ([1, 2], True, "w", x.dtype)
    with pytest.raises(TypeError, match="leaf"):
        pickle.dumps(x * 2)
