"""Inputs, dense layers, activations, and layers that only rearrange."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyconv import activations, backends, constraints, initializers, ops, regularizers
from tinyconv.layers.base import Layer, Parameter, activation_of
from tinyconv.layers.graph import Shape, Symbolic
from tinyconv.layers.images import ImageLayer, as_count
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
            batch_size, *sample = batch_shape
            shape = sample
        shape = options.pop("input_shape", None) if shape is None else shape
        super().__init__(dtype=dtype, **options)
        sizes = [batch_size, *shape] if isinstance(shape, Sequence) else ["unknown"]
        if not all(n is None or (isinstance(n, int | np.integer) and n >= 0) for n in sizes) or shape is None:
            raise ValueError(f"Input needs the shape of one sample, a tuple of integers or None. Received: {shape!r}")
        self.shape, self.batch_size = tuple(shape), batch_size
        self.batch_shape: Shape = (batch_size, *self.shape)

    def get_config(self) -> dict[str, Any]:
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

    def _describe(self, weight: str, initializer: Any, regularizer: Any, constraint: Any) -> None:
        """Keep how ``weight`` begins and what holds for it, as ``weight_initializer`` and so on."""
        setattr(self, f"{weight}_initializer", initializers.get(initializer))
        setattr(self, f"{weight}_regularizer", regularizers.get(regularizer))
        setattr(self, f"{weight}_constraint", constraints.get(constraint))

    def _make(self, weight: str, shape: Sequence[int], name: str | None = None) -> Parameter:
        """Create the weight that ``_describe`` told about."""
        how = (getattr(self, f"{weight}_{what}") for what in ("initializer", "regularizer", "constraint"))
        initializer, regularizer, constraint = how
        return self.add_weight(shape, initializer, name or weight, regularizer=regularizer, constraint=constraint)

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
        ``name``, ``trainable``, ``dtype``, ``input_shape``, as for every layer; or Keras 2's ``input_dim``.

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
        if "input_dim" in options:
            options["input_shape"] = (options.pop("input_dim"),)
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


class Flatten(Layer):
    """All values of a sample on one axis.

    Parameters
    ----------
    data_format : str, optional
        With ``"channels_first"`` channels are moved to the end first, so that both formats give the same order.

    Inputs: (N, ...). Outputs: (N, features).

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Flatten()(np.zeros((2, 7, 7, 50))).shape
    (2, 2450)
    """

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = ImageLayer(data_format).data_format

    def check_input(self, input_shape: Shape) -> None:
        if not input_shape:
            raise ValueError("expected at least 1 axis (batch, ...). Received: shape ()")

    def call(self, inputs: Tensor) -> Tensor:
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = ops.moveaxis(inputs, 1, -1)
        return ops.reshape(inputs, (len(inputs), math.prod(inputs.shape[1:])))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], _product(input_shape[1:])


class Reshape(Layer):
    """Samples in another shape, values in the same order.

    Parameters
    ----------
    target_shape : tuple of int
        Shape of one sample of the output; one entry may be -1 and follows from the others.

    Inputs: (N, ...). Outputs: (N, *target_shape).

    Raises
    ------
    ValueError
        When samples do not have as many values as ``target_shape``.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Reshape((2, -1))(np.zeros((5, 12))).shape
    (5, 2, 6)
    """

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        entries: list[int] = [target_shape] if isinstance(target_shape, int) else list(target_shape)
        if any(not isinstance(n, int | np.integer) or n < -1 for n in entries) or entries.count(-1) > 1:
            raise ValueError(
                f"target_shape must hold integers >= 0 and at most one -1. Received: {tuple(target_shape)}"
            )
        self.target_shape = tuple(int(n) for n in entries)

    def call(self, inputs: Tensor) -> Tensor:
        shape = self.compute_output_shape(inputs.shape)
        return ops.reshape(inputs, (len(inputs), *(n or 0 for n in shape[1:])))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        size, known = _product(input_shape[1:]), math.prod(n for n in self.target_shape if n != -1)
        free = -1 in self.target_shape
        if size is None:
            return input_shape[0], *(None if n == -1 else n for n in self.target_shape)
        if (size % known if free and known else size != known):
            raise ValueError(f"target_shape {self.target_shape} needs as many values. Received: shape {input_shape}")
        return input_shape[0], *(size // known if n == -1 else n for n in self.target_shape)


class Permute(Layer):
    """The axes of a sample in another order.

    Parameters
    ----------
    dims : tuple of int
        For each axis of the output the axis of the input, counted from 1 (the batch axis, 0, stays).

    Inputs: (N, ...). Outputs: (N, ...) permuted.

    Examples
    --------
    >>> import numpy as np, tinyconv as tc
    >>> tc.layers.Permute((3, 1, 2))(np.zeros((5, 32, 24, 3))).shape
    (5, 3, 32, 24)
    """

    def __init__(self, dims: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"dims must be a permutation of 1..{len(self.dims)}. Received: {dims!r}")

    def check_input(self, input_shape: Shape) -> None:
        self._check_ndim(input_shape, len(self.dims) + 1, f"(batch and {len(self.dims)} to permute)")

    def call(self, inputs: Tensor) -> Tensor:
        return ops.transpose(inputs, (0, *self.dims))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], *(input_shape[axis] for axis in self.dims)


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


class RepeatVector(Layer):
    """Each sample ``n`` times, along a new axis.

    Parameters
    ----------
    n : int

    Inputs: (N, features). Outputs: (N, n, features).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.RepeatVector(2)([[1.0, 3.0]]).tolist()
    [[[1.0, 3.0], [1.0, 3.0]]]
    """

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(**options)
        self.n = as_count(n, "n")

    def check_input(self, input_shape: Shape) -> None:
        self._check_ndim(input_shape, 2, "(batch, features)")

    def call(self, inputs: Tensor) -> Tensor:
        return ops.repeat(ops.expand_dims(inputs, 1), self.n, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], self.n, input_shape[1]


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
        from tinyconv import registry

        shape = self._shape_given
        return {
            "name": self.name, "trainable": self.trainable, "dtype": self.dtype,
            "function": registry.serialize(self.function), "arguments": registry.serialize(self.arguments),
            "output_shape": registry.serialize(tuple(shape) if isinstance(shape, Sequence) else shape),
            "mask": registry.serialize(self.mask),
        }  # fmt: skip

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        wanted = inspect.signature(self.function).parameters
        offered = {"mask": mask, "training": training}
        return self.function(inputs, **{n: v for n, v in offered.items() if n in wanted} | self.arguments)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

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


class Embedding(Layer):
    """A vector for every integer: row ``i`` of a table.

    Parameters
    ----------
    input_dim : int
        Number of rows; inputs are integers in [0, input_dim).
    output_dim : int
        Length of the vectors.
    embeddings_initializer, embeddings_regularizer, embeddings_constraint : str or object
        Of the table.
    mask_zero : bool
        Whether 0 fills up sequences that are too short: its outputs are masked (see ``tinyconv.masking``).

    Inputs: integers (N, ...). Outputs: (N, ..., output_dim). Weights: embeddings (input_dim, output_dim).

    Raises
    ------
    ValueError
        For integers outside [0, input_dim).

    Examples
    --------
    >>> import tinyconv as tc
    >>> tc.layers.Embedding(1000, 64)([[4, 20, 999]]).shape
    (1, 3, 64)
    """

    autocast = False

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "random_uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.mask_zero = self.supports_masking = bool(mask_zero)
        self.input_dim, self.output_dim = as_count(input_dim, "input_dim"), as_count(output_dim, "output_dim")
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)

    def build(self, input_shape: Shape) -> None:
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            "embeddings",
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
        )

    def call(self, inputs: Tensor) -> Tensor:
        return ops.take(self.embeddings, as_indices(inputs, self.input_dim), axis=0)

    def compute_mask(self, inputs: Tensor, mask: Any = None) -> Any:
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)


class Masking(Layer):
    """Mask the steps of a sequence at which all features are ``mask_value``, and set them to 0.

    ``tinyconv.masking`` says where masks have an effect.

    Parameters
    ----------
    mask_value : float

    Inputs: (N, steps, features). Outputs: the same shape, with a mask (N, steps).

    Examples
    --------
    >>> import tinyconv as tc
    >>> x = [[[1.0, 2.0], [3.0, -1.0], [-1.0, -1.0]]]
    >>> model = tc.Sequential([tc.layers.Masking(-1.0), tc.layers.GlobalAveragePooling1D()])
    >>> model(x).tolist()
    [[2.0, 0.5]]
    """

    supports_masking = True

    def __init__(self, mask_value: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.mask_value = mask_value

    def check_input(self, input_shape: Shape) -> None:
        if len(input_shape) < 2:
            raise ValueError(f"expected at least 2 axes (batch, ..., features). Received: shape {input_shape}")

    def _kept(self, inputs: Tensor, keepdims: bool) -> Tensor:
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1, keepdims=keepdims)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.where(self._kept(inputs, True), inputs, 0.0)

    def compute_mask(self, inputs: Tensor, mask: Any = None) -> Tensor:
        return self._kept(inputs, False)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


def as_indices(inputs: Tensor, count: int) -> Tensor:
    """Inputs as integers; ``ValueError`` unless all lie in [0, ``count``)."""
    indices = inputs if inputs.dtype.kind in "iu" else ops.astype(inputs, np.int64)
    backends.of(indices.data).check(indices.data, _check_indices, count)
    return indices


def _check_indices(indices: np.ndarray, count: int) -> None:
    """Raise unless all ``indices`` lie in [0, ``count``)."""
    if indices.size and (indices.min() < 0 or indices.max() >= count):
        raise ValueError(
            f"expected integers in [0, {count}). Received: values from {indices.min()} to {indices.max()}"
        )


def _product(sizes: Sequence[int | None]) -> int | None:
    """Number of values; unknown when a size is."""
    known = [n for n in sizes if n is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def _function_called(name: str) -> Callable[..., Any]:
    """A function by the name under which it was registered."""
    return activations.get(name)
