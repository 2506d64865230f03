"""Tools for tests: gradients against finite differences, arrays against arrays.

``check_gradients`` treats a function as a black box. It contracts the outputs with random numbers, so that one number
``F(x)`` comes out, and compares ``<grad F, v>`` for random directions ``v`` with ``(F(x + h v) - F(x - h v)) / 2h``.
Source of the extrapolation: L. F. Richardson, "The approximate arithmetical solution by finite differences", 1911.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinyconv.function import grad
from tinyconv.tensor import Tensor

__all__ = ["GradientReport", "assert_close", "check_gradients"]

_ATTEMPTS = 12  # directions tried for each one that is asked for
_STEP = 1e-4


class GradientReport(NamedTuple):
    """How many directions :func:`check_gradients` compared, and how many it gave up because of a kink."""

    checked: int
    skipped: int


def check_gradients(
    f: Callable[..., Any],
    inputs: Sequence[Any],
    order: int = 1,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    directions: int = 2,
    seed: int = 0,
) -> GradientReport:
    """Compare the gradients of ``f`` with central differences, in float64 along random directions.

    A direction along which ``f`` has a kink or a jump within the step is drawn again, sparser and with a smaller
    step; so functions such as relu can be checked at any point at which some of their elements are smooth.

    Parameters
    ----------
    f : callable
        Takes as many arguments as there are ``inputs``; returns a tensor or a tuple of tensors. Outputs that are not
        floating-point are ignored. It must give the same result each time.
    inputs : sequence
        Floating-point tensors, arrays and numbers are converted to float64 tensors and checked one by one;
        everything else (integers, masks, None) is passed on untouched.
    order : int
        1 checks the gradients; 2 also checks the gradients of the gradients, with respect to the inputs and to the
        outputs' gradients.
    rtol, atol : float
        Allowed difference: ``atol + rtol * max(|expected|, scale)``. ``scale`` is the length of the vector of products
        whose sum is compared, so that a sum which cancels is not held against ``f``.
    directions : int
        How many directions are compared for each input.
    seed : int
        Seed of the directions and output gradients.

    Returns
    -------
    GradientReport
        Directions compared and directions given up.

    Raises
    ------
    AssertionError
        Where they differ (the message names the order, the input, what was expected and received), where a value is
        not finite, or where no direction without a kink was found.

    Examples
    --------
    >>> import tinyconv as tc
    >>> from tinyconv.testing import check_gradients
    >>> check_gradients(lambda x, y: tc.ops.tanh(x) * y, [[0.5, -1.0], 3.0], order=2)
    GradientReport(checked=10, skipped=0)
    >>> check_gradients(lambda x: x * tc.stop_gradient(x), [2.0])
    Traceback (most recent call last):
        ...
    AssertionError: check_gradients: wrong gradient of order 1 for input 0 of shape (): expected 2 times as much ...
    """
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2. Received: {order!r}")
    rng = np.random.default_rng(seed)
    values = [_as_float64(value) for value in inputs]
    names = [f"input {i}" for i in range(len(values))]
    report = _check(f, values, names, 1, rtol, atol, directions, rng)
    if order == 2:
        output_grads = [_random_like(output, rng) for output in _outputs(f(*_tensors(values)))]
        names += [f"output gradient {i}" for i in range(len(output_grads))]
        second = _check(_gradient_of(f, len(values)), [*values, *output_grads], names, 2, rtol, atol, directions, rng)
        report = GradientReport(*(a + b for a, b in zip(report, second, strict=True)))
    return report


def assert_close(actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None) -> None:
    """Assert equal shapes and close values; NaN equals NaN.

    Parameters
    ----------
    actual, expected : array_like or Tensor
    rtol : float, optional
        Relative tolerance; by default 1e-10 where ``actual`` is float64, 1e-5 for float32, 4e-3 for float16, and
        0 for integers and booleans.
    atol : float, optional
        Absolute tolerance; ``rtol`` times the largest finite expected magnitude by default.

    Examples
    --------
    >>> import tinyconv as tc
    >>> from tinyconv.testing import assert_close
    >>> assert_close(tc.ops.sqrt([4.0, 9.0]), [2.0, 3.0])
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"expected shape {expected.shape}. Received: {actual.shape}"
    if rtol is None:
        rtol = {"float64": 1e-10, "float32": 1e-5, "float16": 4e-3}.get(actual.dtype.name, 0.0)
    if atol is None:
        finite = np.abs(expected[np.isfinite(expected)].astype(np.float64))
        atol = rtol * float(finite.max()) if finite.size else 0.0
    np.testing.assert_allclose(actual.astype(np.float64), expected.astype(np.float64), rtol, atol)


# --- one order -------------------------------------------------------------------------------------------------


def _check(
    f: Callable[..., Any],
    values: list[Any],
    names: list[str],
    order: int,
    rtol: float,
    atol: float,
    directions: int,
    rng: np.random.Generator,
) -> GradientReport:
    """Compare the gradient of ``f`` at ``values`` with differences, input by input."""
    cotangents = [_random_like(output, rng) for output in _outputs(f(*_tensors(values)))]

    def contracted(i: int, direction: np.ndarray, t: float) -> float:
        moved = [*values[:i], np.asarray(values[i] + t * direction), *values[i + 1 :]]
        products = (c * o.numpy() for c, o in zip(cotangents, _outputs(f(*_tensors(moved))), strict=True))
        return math.fsum(x for product in products for x in product.ravel())

    checked = skipped = 0
    for i, gradient in _gradients(f, values, cotangents):
        where = f"of order {order} for {names[i]} of shape {values[i].shape}"
        assert np.isfinite(gradient).all(), f"check_gradients: the gradient {where} is not finite: {gradient}"
        compared = 0
        for attempt in range(directions * _ATTEMPTS):
            if compared == directions:
                break
            direction = _direction(values[i].shape, attempt - compared, rng)
            step = _STEP / 2 ** min(attempt - compared, 6)
            received, scale = float(np.sum(gradient * direction)), float(np.linalg.norm(gradient * direction))
            expected = _directional_derivative(partial(contracted, i, direction), step, rtol, atol)
            if expected is None:
                skipped += 1
                continue
            compared += 1
            allowed = atol + rtol * max(abs(expected), scale)
            assert abs(received - expected) <= allowed, (
                f"check_gradients: wrong gradient {where}: expected {_ratio(expected, received)} along a random "
                f"direction, {expected:.12g} by central differences. Received: {received:.12g} by backward, which "
                f"differs by {abs(received - expected):.3g} > {allowed:.3g}"
            )
        assert compared, (
            f"check_gradients: nothing could be checked {where}: within every step there was a kink or jump "
            f"({directions * _ATTEMPTS} directions tried), or the function does not give the same result each time"
        )
        checked += compared
    return GradientReport(checked, skipped)


def _directional_derivative(f: Callable[[float], float], step: float, rtol: float, atol: float) -> float | None:
    """Derivative of ``f`` at 0 by central differences at two steps, extrapolated; ``None`` when there is a kink.

    Where ``f`` is smooth, the central differences at ``step`` and ``step / 2`` differ by O(step^2), and the two
    one-sided differences by O(step), half as much at half the step. A kink off the centre breaks the first rule, a
    kink at the centre the second.
    """
    middle = f(0.0)
    (up, down), (near_up, near_down) = ((f(h), f(-h)) for h in (step, step / 2))
    assert math.isfinite(middle), f"check_gradients: the value of the function is not finite: {middle}"
    if not all(map(math.isfinite, (up, down, near_up, near_down))):
        return None
    wide, near = (up - down) / (2 * step), (near_up - near_down) / step
    best = (4 * near - wide) / 3
    noise = 64 * np.finfo(np.float64).eps * max(map(abs, (middle, up, down))) / step
    tolerance = max(10 * (atol + rtol * abs(best)), noise)
    bend, near_bend = (up - 2 * middle + down) / step, (near_up - 2 * middle + near_down) / (step / 2)
    smooth = abs(wide - near) <= tolerance and abs(bend - 2 * near_bend) <= tolerance
    return best if smooth else None


def _direction(shape: tuple[int, ...], retries: int, rng: np.random.Generator) -> np.ndarray:
    """A random direction of unit length; the more retries, the fewer elements move (and may hit a kink)."""
    direction = np.asarray(rng.standard_normal(shape))
    if direction.size and retries:
        moving = max(1, direction.size >> min(retries, 20))
        still = rng.permutation(direction.size)[moving:]
        direction.ravel()[still] = 0
    length = np.linalg.norm(direction)
    return direction / length if length else direction


# --- functions and their gradients -----------------------------------------------------------------------------


def _gradients(f: Callable[..., Any], values: list[Any], cotangents: list[np.ndarray]) -> Iterator[tuple[int, Any]]:
    """Gradient of the contracted outputs with respect to each float input, by backward: (position, array)."""
    tensors = _tensors(values)
    places = [i for i, tensor in enumerate(tensors) if isinstance(tensor, Tensor) and tensor.requires_grad]
    found = _grad_or_zeros(_outputs(f(*tensors)), [tensors[i] for i in places], cotangents, create_graph=False)
    return iter([(i, g.numpy()) for i, g in zip(places, found, strict=True)])


def _gradient_of(f: Callable[..., Any], count: int) -> Callable[..., tuple[Tensor, ...]]:
    """The function (inputs, output gradients) -> gradients of the float inputs, itself differentiable."""

    def gradient(*arguments: Any) -> tuple[Tensor, ...]:
        inputs, output_grads = arguments[:count], arguments[count:]
        wanted = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
        return tuple(_grad_or_zeros(_outputs(f(*inputs)), wanted, output_grads, create_graph=True))

    return gradient


def _grad_or_zeros(outputs: list[Tensor], inputs: list[Tensor], output_grads: Any, create_graph: bool) -> list[Tensor]:
    """``grad``, with zeros for inputs that the outputs do not depend on."""
    pairs = [(y, dy) for y, dy in zip(outputs, output_grads, strict=True) if y.requires_grad]
    if not pairs or not inputs:
        return [Tensor(np.zeros(x.shape)) for x in inputs]
    connected, seeds = zip(*pairs, strict=True)
    found = grad(connected, inputs, create_graph=create_graph, grad_outputs=seeds, allow_unused=True)
    return [Tensor(np.zeros(x.shape)) if g is None else g for x, g in zip(inputs, found, strict=True)]


def _outputs(result: Any) -> list[Tensor]:
    """The floating-point tensors among what a function returned."""
    results = result if isinstance(result, tuple | list) else (result,)
    for output in results:
        assert isinstance(output, Tensor), f"check_gradients: f must return tensors. Received: {type(output).__name__}"
    return [output for output in results if output.dtype.kind == "f"]


def _as_float64(value: Any) -> Any:
    """Floats as a float64 array of its own; everything else as it is."""
    array = np.asarray(value)
    return np.array(array, dtype=np.float64) if array.dtype.kind == "f" else value


def _tensors(values: list[Any]) -> list[Any]:
    return [Tensor(v, requires_grad=True) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for v in values]


def _random_like(output: Tensor, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(rng.standard_normal(output.shape))


def _ratio(expected: float, received: float) -> str:
    return f"{expected / received:.4g} times as much" if received else "another value than 0"
