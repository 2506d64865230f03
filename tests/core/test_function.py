"""Custom operations: the contract of Function."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import ops
from tinyconv.testing import check_gradients


class Cube(tc.Function):
    def forward(self, x):
        self.save(x)
        return x**3

    def backward(self, dy):
        (x,) = self.saved
        return 3 * x * x * dy


class Exp(tc.Function):
    """Saves its output."""

    def forward(self, x):
        y = self.backend.exp(x)
        self.save(y)
        return y

    def backward(self, dy):
        (y,) = self.saved
        return dy * y


class SinCos(tc.Function):
    """Two outputs, each the other's derivative, and a setting."""

    def __init__(self, frequency):
        self.frequency = frequency

    def forward(self, x):
        sine, cosine = self.backend.sin(self.frequency * x), self.backend.cos(self.frequency * x)
        self.save(sine, cosine)
        return sine, cosine

    def backward(self, dsine, dcosine):
        sine, cosine = self.saved
        return self.frequency * (dsine * cosine - dcosine * sine)


class Scale(tc.Function):
    """Two inputs, of which only the wanted gradients are computed; saves a setting beside the arrays."""

    def forward(self, x, factor):
        self.save(x if self.needs_input_grad[1] else None, factor, "a setting")
        return x * factor

    def backward(self, dy):
        x, factor, setting = self.saved
        assert setting == "a setting"
        assert x is not None or not self.needs_input_grad[1]
        return (
            dy * factor if self.needs_input_grad[0] else None,
            ops.sum(dy * x) if self.needs_input_grad[1] else None,
        )


def leaf(*values):
    return tc.Tensor(np.array(values), requires_grad=True)


@pytest.mark.parametrize("function", [Cube, Exp, lambda: SinCos(2.0)])
def test_second_order_comes_for_free(function):
    check_gradients(lambda x: function()(x), [[0.5, -1.0, 2.0]], order=2)


def test_one_of_several_outputs():
    x = leaf(0.3, 0.7)
    sine, cosine = SinCos(3.0)(x)
    np.testing.assert_allclose(tc.grad(cosine, x, grad_outputs=np.ones(2)), -3 * np.sin([0.9, 2.1]))
    sine, cosine = SinCos(3.0)(x)
    g = tc.grad([sine, cosine], x, grad_outputs=[np.ones(2), np.ones(2)])
    np.testing.assert_allclose(g, 3 * (np.cos([0.9, 2.1]) - np.sin([0.9, 2.1])))


def test_gradients_with_respect_to_outputs_of_one_node():
    sine, cosine = SinCos(1.0)(leaf(0.3))
    z = sine * sine * cosine
    ds, dc = tc.grad(z, [sine, cosine])
    np.testing.assert_allclose([ds.item(), dc.item()], [2 * np.sin(0.3) * np.cos(0.3), np.sin(0.3) ** 2])


def test_only_wanted_gradients():
    x, factor = leaf(1.0, 2.0), tc.Tensor(3.0, requires_grad=True)
    ones = np.ones(2)
    assert tc.grad(Scale()(x, 3.0), x, grad_outputs=ones).tolist() == [3, 3]
    assert tc.grad(Scale()(x, factor), x, grad_outputs=ones).tolist() == [3, 3]
    assert tc.grad(Scale()(x, factor), factor, grad_outputs=ones).item() == 3
    assert tc.grad(Scale()(x.detach(), factor), factor, grad_outputs=ones).item() == 3
    check_gradients(lambda x, f: Scale()(x, f), [[1.0, 2.0], 3.0], order=2)


def test_numbers_and_arrays_as_inputs():
    x = leaf(1.0, 2.0)
    assert Scale()(x, 3.0).tolist() == [3, 6]
    assert Scale()(np.array([1.0, 2.0], "f4"), 3.0).dtype == np.float32
    assert Scale()([1.0, 2.0], tc.Tensor(2.0, requires_grad=True)).requires_grad
    y = Scale()(x, 3)
    y.backward([1.0, 1.0])
    assert x.grad.tolist() == [3, 3]


def test_integer_outputs_carry_no_gradient():
    class TopTwo(tc.Function):
        def forward(self, x):
            order = np.argsort(-x)[:2]
            self.save(order)
            self.n = x.shape[0]
            return x[order], order

        def backward(self, dy, dorder):
            (order,) = self.saved
            return ops.sum(ops.where(np.arange(self.n)[:, None] == order.numpy(), dy, 0.0), axis=1)

    x = leaf(1.0, 5.0, 3.0)
    values, order = TopTwo()(x)
    assert (order.requires_grad, order.tolist()) == (False, [1, 2])
    values.backward([10.0, 20.0])
    assert x.grad.tolist() == [0, 10, 20]


def test_scalar_results_become_tensors():
    class Total(tc.Function):
        def forward(self, x):
            self.shape = x.shape
            return np.sum(x)  # a NumPy scalar

        def backward(self, dy):
            return ops.broadcast_to(dy, self.shape)

    x = leaf(1.0, 2.0)
    y = Total()(x)
    assert (y.shape, y.item()) == ((), 3)
    y.backward()
    assert x.grad.tolist() == [1, 1]


def test_backward_may_return_arrays_when_not_differentiated_again():
    class Square(tc.Function):
        def forward(self, x):
            self.save(x)
            return x * x

        def backward(self, dy):
            (x,) = self.saved
            return 2 * x.numpy() * dy.numpy()

    x = leaf(3.0, 4.0)
    Square()(x).sum().backward()
    assert x.grad.tolist() == [6, 8]


# --- broken contracts ------------------------------------------------------------------------------------------


def returning(gradients):
    class Broken(tc.Function):
        def forward(self, x, y):
            return x + y

        def backward(self, dz):
            return gradients(dz)

    return Broken


@pytest.mark.parametrize("gradients", [lambda dz: dz, lambda dz: (dz,), lambda dz: (dz, dz, dz)])
def test_wrong_number_of_gradients(gradients):
    x = leaf(1.0)
    with pytest.raises(ValueError, match=r"Broken.backward must return 2 gradients, one per input. Received: [13]"):
        returning(gradients)()(x, x).backward()


def test_wrong_shape_of_a_gradient():
    x, y = leaf(1.0), leaf(1.0)
    with pytest.raises(ValueError, match=r"must have its input's shape \(1,\).*Received: \(3,\)"):
        returning(lambda dz: (np.ones(3), dz))()(x, y).backward()


def test_a_missing_gradient():
    """``None`` for an input that wants a gradient means: no gradient flows there."""
    x, y = leaf(1.0), leaf(1.0)
    z = returning(lambda dz: (None, dz))()(x, y)
    z.backward()
    assert (x.grad, y.grad.item()) == (None, 1)


def test_a_node_is_used_once():
    cube = Cube()
    cube(leaf(1.0))
    with pytest.raises(RuntimeError, match="make a new one for each call"):
        cube(leaf(1.0))


def test_undefined_parts():
    class Nothing(tc.Function):
        pass

    with pytest.raises(NotImplementedError, match="Nothing must define forward"):
        Nothing()(1.0)

    class Forward(tc.Function):
        def forward(self, x):
            return x * 1

    with pytest.raises(NotImplementedError, match="Forward must define backward"):
        Forward()(leaf(1.0)).backward()
    assert Forward()(leaf(1.0)).tolist() == [1]


def test_saved_after_release():
    x = leaf(2.0)
    y = Cube()(x)
    y.backward()
    with pytest.raises(RuntimeError, match="Cube was already used and released"):
        y.backward()


def test_nothing_is_saved_without_recording():
    cube = Cube()
    with tc.no_grad():
        y = cube(leaf(1.0))
    assert y.node is None
    assert cube._saved == ()
    assert cube.needs_input_grad == (False,)


def test_an_error_in_forward_leaves_the_mode_alone():
    class Fails(tc.Function):
        def forward(self, x):
            raise KeyError

    with pytest.raises(KeyError):
        Fails()(leaf(1.0))
    assert tc.is_grad_enabled()

    class FailsBackward(Cube):
        def backward(self, dy):
            raise KeyError

    with pytest.raises(KeyError):
        FailsBackward()(leaf(1.0)).backward()
    assert tc.is_grad_enabled()
