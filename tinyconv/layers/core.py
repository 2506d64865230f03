"""The layers that every network has: inputs, dense layers, activations, and functions of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinyconv import activations, ops, registry
from tinyconv.layers.base import Layer, activation_of, as_sizes
from tinyconv.layers.embedding import Embedding as Embedding  # Keras has these here too
from tinyconv.layers.embedding import Masking as Masking
from tinyconv.layers.graph import Shape, Symbolic
from tinyconv.layers.images import as_count
from tinyconv.layers.module import Parameter
from tinyconv.layers.rearranging import Flatten as Flatten
from tinyconv.layers.rearranging import Permute as Permute
from tinyconv.layers.rearranging import RepeatVector as RepeatVector
from tinyconv.layers.rearranging import Reshape as Reshape
from tinyconv.tensor import Tensor


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    name: str | None = None,
    batch_shape: Sequence[int | None] | None = None,
) -> Symbolic:
    """Begin a model: a symbolic tensor that layers can be called on.

    Parameters
    ----------
    shape : tuple of int or None
        Shape of one sample, ``None`` for sizes that may vary.
    batch_size : int, optional
        Number of samples, where it is fixed.
    dtype : str, optional
        ``config.floatx()`` by default.
    name : str, optional
    batch_shape : tuple of int or None, optional
        Shape with the batch axis, in place of ``shape`` and ``batch_size``.

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = tc.Input(shape=(28, 28, 1))
    >>> tc.layers.Flatten()(x).shape
    (None, 784)
    """
    layer = InputLayer(shape, batch_size, dtype, name=name, batch_shape=batch_shape)
    return Symbolic(layer.batch_shape, layer.dtype, layer.name)


class InputLayer(Layer):
    """First layer of a ``Sequential``: states the shape of one sample, and passes inputs through.

    Parameters
    ----------
    shape, batch_size, dtype, batch_shape
        As for :func:`Input`; Keras 2's ``input_shape`` is accepted for ``shape``.

    Inputs and outputs: any shape.

    Examples
    --------
    >>> import tinyconv as tc
    >>> model = tc.Sequential([tc.layers.InputLayer((4,)), tc.layers.Dense(2)])
    >>> model.output_shape
    (None, 2)
    """

    is_input = True
    supports_masking = True

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        batch_shape: Sequence[int | None] | None = None,
        **options: Any,
    ) -> None:
        if batch_shape is not None:
            batch_size, *shape = as_sizes(batch_shape, "batch_shape") or (None,)
        shape = options.pop("input_shape", None) if shape is None else shape
        super().__init__(dtype=dtype, **options)
        self.shape, self.batch_size = as_sizes(shape, "shape"), batch_size
        if batch_size is not None:
            as_count(batch_size, "batch_size")
        self.batch_shape: Shape = (batch_size, *self.shape)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as plain data."""
        return {**super().get_config(), "batch_shape": None}  # follows from the others

    def call(self, inputs: Tensor) -> Tensor:
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class Affine(Layer):
    """What layers with kernels have in common: a bias, an activation, penalties.

    Parameters
    ----------
    activation : str or callable, optional
        Applied to the result; linear by default.
    use_bias : bool
        Whether a bias is added.
    bias_initializer, bias_regularizer, bias_constraint : str or object
        Of the bias.
    activity_regularizer : str or object, optional
        Penalty on the outputs, divided by the number of samples.
    """

    bias: Parameter | None

    def __init__(
        self,
        activation: Any = None,
        use_bias: bool = True,
        bias_initializer: Any = "zeros",
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **options)
        self.activation = activation_of(activation)
        self.use_bias = bool(use_bias)
        self._describe("bias", bias_initializer, bias_regularizer, bias_constraint)

    def _make_bias(self, shape: Sequence[int]) -> None:
        self.bias = self._make("bias", shape) if self.use_bias else None

    def _finish(self, y: Tensor) -> Tensor:
        """Apply the activation."""
        return self.activation(y)


class Dense(Affine):
    """Every output is a weighted sum of all inputs: ``activation(x @ kernel + bias)``.

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str or callable, optional
        Linear by default.
    use_bias : bool
        Whether a bias is added.
    kernel_initializer, bias_initializer : str or object
        Initial values: a name such as ``"glorot_uniform"`` or an initializer.
    kernel_regularizer, bias_regularizer, activity_regularizer : str or object, optional
        Penalties on kernel, bias and outputs.
    kernel_constraint, bias_constraint : str or object, optional
        Projections applied after each update.
    **options
        ``name``, ``trainable``, ``dtype``, ``input_shape``, as for every layer.

    Inputs: (N, ..., features). Outputs: (N, ..., units).
    Weights: kernel (features, units), bias (units,).

    Raises
    ------
    ValueError
        For inputs without a features axis, or with another number of features than the kernel was built for.

    Examples
    --------
    >>> import tinyconv as tc
    >>> layer = tc.layers.Dense(10, activation="softmax")
    >>> layer([[1.0, 2.0, 3.0]]).shape, layer.count_params()
    ((1, 10), 40)
    """

    supports_masking = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            activation, use_bias, bias_initializer, bias_regularizer, activity_regularizer, bias_constraint, **options
        )
        self.units = as_count(units, "units")
        self._describe("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)

    def check_input(self, input_shape: Shape) -> None:
        if isinstance(input_shape, list) or len(input_shape) < 2:
            raise ValueError(f"expected at least 2 axes (batch, ..., features). Received: shape {input_shape}")
        if self.built:
            self._check_axis(input_shape, -1, self.kernel.shape[0])

    def build(self, input_shape: Shape) -> None:
        features = input_shape[-1]
        if not features:
            raise ValueError(f"the number of features must be known and at least 1. Received: shape {input_shape}")
        self.kernel = self._make("kernel", (features, self.units))
        self._make_bias((self.units,))

    def call(self, inputs: Tensor) -> Tensor:
        y = ops.matmul(inputs, self.kernel)
        return self._finish(y if self.bias is None else y + self.bias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)


class Activation(Layer):
    """Apply an activation function.

    Parameters
    ----------
    activation : str or callable
        ``"relu"``, ``"softmax"``, ``"tanh"``, ``"sigmoid"``, ... or a function of a tensor.

    Inputs: any shape. Outputs: the same shape.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.Activation("relu")([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    """

    supports_masking = True

    def __init__(self, activation: Any, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activation_of(activation)

    def call(self, inputs: Tensor) -> Tensor:
        return self.activation(inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class Identity(Layer):
    """Outputs are the inputs: a place in a network where something else may stand.

    Inputs and outputs: any shape.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.Identity()([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """

    supports_masking = True

    def call(self, inputs: Tensor) -> Tensor:
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class Lambda(Layer):
    """Apply a function made of tensor operations.

    Parameters
    ----------
    function : callable
        ``function(inputs, **arguments)``; it may ask for ``training`` and for ``mask``. Functions are not stored in
        files: a model with a Lambda layer can be saved only if its function was registered
        (``tinyconv.registry.register``).
    output_shape : tuple, or callable(input_shape), optional
        Shape of one sample of the output; found by a trial run when not given.
    mask : array_like, or callable(inputs, mask), optional
        Mask of the outputs; they carry none by default.
    arguments : dict, optional
        Further arguments of the function.

    Inputs and outputs: as the function has them.

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.Lambda(lambda x: x / 255)([[255.0]]).tolist()
    [[1.0]]
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.supports_masking = mask is not None
        self.mask = _function_called(mask) if isinstance(mask, str) else mask
        self.function = _function_called(function) if isinstance(function, str) else function
        if not callable(self.function):
            raise TypeError(f"Lambda expected a function. Received: {function!r}")
        self._shape_given = output_shape
        self.arguments = dict(arguments or {})

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as plain data.

        Raises
        ------
        ValueError
            When the function (or the function of shapes) was not registered.
        """
        shape = self._shape_given
        return {
            **self._common_config(),
            "function": registry.serialize(self.function), "arguments": registry.serialize(self.arguments),
            "output_shape": registry.serialize(tuple(shape) if isinstance(shape, Sequence) else shape),
            "mask": registry.serialize(self.mask),
        }  # fmt: skip

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        wanted = inspect.signature(self.function).parameters
        offered = {"mask": mask, "training": training}
        return self.function(inputs, **{n: v for n, v in offered.items() if n in wanted} | self.arguments)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The ``mask`` given to the constructor, or what it returns when it is a function."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def _knows_shapes(self) -> bool:
        return self._shape_given is not None

    def compute_output_shape(self, input_shape: Any) -> Any:
        given = _function_called(self._shape_given) if isinstance(self._shape_given, str) else self._shape_given
        if given is None:
            return super().compute_output_shape(input_shape)
        if callable(given):
            return tuple(given(input_shape))
        batch = input_shape[0] if isinstance(input_shape, tuple) else None
        return batch, *given

    def __repr__(self) -> str:
        return f"Lambda({getattr(self.function, '__name__', repr(self.function))}, name={self.name!r})"


def _function_called(name: str) -> Callable[..., Any]:
    """A function by the name under which it was registered."""
    return activations.get(name)
